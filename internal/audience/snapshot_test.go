package audience_test

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/carillonpush/carillon/internal/audience"
	"github.com/carillonpush/carillon/internal/push"
)

var anyHead = func(audience.Head) bool { return true }

func snapshot(t failer, x *audience.Index, head audience.Head) []byte {
	var b bytes.Buffer
	if err := x.WriteSnapshot(&b, head); err != nil {
		t.Fatalf("WriteSnapshot: %v", err)
	}
	return b.Bytes()
}

// reopen returns a world whose index has been written and read again.
func (w world) reopen(t failer) world {
	b := snapshot(t, w.index, audience.Head{})
	again := world{new(audience.Index), w.models}
	for app, m := range w.models {
		for id, name := range m.tags {
			again.index.AddTag(app, id, name)
		}
	}
	if err := again.index.ReadSnapshot(bytes.NewReader(b), anyHead); err != nil {
		t.Fatalf("ReadSnapshot: %v", err)
	}
	return again
}

func TestASnapshotHoldsEverything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		for _, r := range rapid.SliceOfN(rows(), 0, 60).Draw(t, "rows") {
			w.apply(r)
		}
		if rapid.Bool().Draw(t, "a tag is removed") {
			w.index.RemoveTag(1, 2)
			delete(w.models[1].tags, 2)
		}
		again := w.reopen(t)
		for _, where := range rapid.SliceOfN(wheres(2), 1, 4).Draw(t, "questions") {
			again.ask(t, 1, where)
		}
		for _, r := range rapid.SliceOfN(rows(), 0, 20).Draw(t, "changes") {
			again.apply(r)
		}
		again.ask(t, 1, wheres(2).Draw(t, "question"))
		again.compare(t, 1)
		again.compare(t, 2)
	})
}

func TestASnapshotOfACrowd(t *testing.T) {
	w := crowd(9, 80_000)
	again := w.reopen(t)
	for _, name := range attributeNames {
		for _, value := range attributes[name] {
			again.ask(t, 1, push.Is(push.WhereAttr{Name: name, Op: push.OpIs, Values: []string{value}}))
		}
	}
	for _, name := range tagNames[1:] {
		again.ask(t, 1, push.And(push.Is(push.WhereTag(name)), push.Not(push.Is(push.WhereHas(push.HasPhone)))))
	}
	for _, r := range w.models[1].rows {
		if agrees, known := again.index.Agrees(r); !agrees || !known {
			t.Fatalf("device %d: agrees %t, known %t", r.Ref.Ordinal, agrees, known)
		}
	}
	// It has no room to spare, so it takes no more memory than the index that it was made of.
	if was, is := w.index.Bytes(1), again.index.Bytes(1); is > was {
		t.Errorf("%d bytes, want at most %d", is, was)
	}
}

// A snapshot is taken while devices change. With what changed since applied again, it is the index.
func TestASnapshotWhileDevicesChange(t *testing.T) {
	w := crowd(2, 80_000)
	pr, changed := &bytes.Buffer{}, make([]push.IndexRow, 0, 1000)
	slow := writeFunc(func(b []byte) (int, error) { // between the frames
		for i := range 50 {
			r := device(1, push.Ordinal((len(changed)*7919+i*13)%80_000), push.IOS)
			r.Attributes = have("age", string(rune('a'+len(changed)%26)), "added", "later")
			r.Tags = []push.TagID{4}
			w.apply(r)
			changed = append(changed, r)
		}
		return pr.Write(b)
	})
	if err := w.index.WriteSnapshot(slow, audience.Head{}); err != nil {
		t.Fatal(err)
	}
	again := world{new(audience.Index), w.models}
	for id, name := range w.models[1].tags {
		again.index.AddTag(1, id, name)
	}
	if err := again.index.ReadSnapshot(pr, anyHead); err != nil {
		t.Fatal(err)
	}
	for _, r := range changed {
		again.index.Apply(r)
	}
	for _, r := range w.models[1].rows {
		if agrees, known := again.index.Agrees(r); !agrees || !known {
			t.Fatalf("device %d: agrees %t, known %t", r.Ref.Ordinal, agrees, known)
		}
	}
}

type writeFunc func([]byte) (int, error)

func (f writeFunc) Write(b []byte) (int, error) { return f(b) }

func TestASnapshotOfAnotherRecord(t *testing.T) {
	head := audience.Head{Record: [16]byte{1, 2, 3}, Seq: 77}
	b := snapshot(t, crowd(1, 100).index, head)
	var x audience.Index
	var got audience.Head
	err := x.ReadSnapshot(bytes.NewReader(b), func(h audience.Head) bool { got = h; return false })
	if err == nil || got != head {
		t.Errorf("got %v of %+v, want a refusal of %+v", err, got, head)
	}
	if n := x.All(1).Len(); n != 0 {
		t.Errorf("the index has %d devices", n)
	}
}

func TestDamagedSnapshots(t *testing.T) {
	w := crowd(1, 2000)
	whole := snapshot(t, w.index, audience.Head{Seq: 5})
	try := func(b []byte) error {
		var x audience.Index
		err := x.ReadSnapshot(bytes.NewReader(b), anyHead)
		if err != nil && x.All(1).Len() != 0 {
			t.Fatalf("%v, and the index has %d devices", err, x.All(1).Len())
		}
		return err
	}
	if err := try(whole); err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len(whole); n += 1 + n/50 {
		if try(whole[:n]) == nil {
			t.Fatalf("a snapshot that ends after %d of %d bytes was read", n, len(whole))
		}
		damaged := bytes.Clone(whole)
		damaged[n] ^= 4
		if try(damaged) == nil {
			t.Fatalf("a snapshot with byte %d changed was read", n)
		}
	}
	if try(append(bytes.Clone(whole), 0)) == nil {
		t.Fatal("a snapshot with something after its end was read")
	}
	if try(nil) == nil {
		t.Fatal("an empty file was read")
	}
}

func TestASnapshotThatCannotBeWritten(t *testing.T) {
	full := errors.New("disk full")
	err := crowd(1, 100).index.WriteSnapshot(writeFunc(func([]byte) (int, error) { return 0, full }), audience.Head{})
	if !errors.Is(err, full) {
		t.Errorf("got %v, want %v", err, full)
	}
}
