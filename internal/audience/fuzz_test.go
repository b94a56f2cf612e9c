package audience_test

import (
	"bytes"
	"testing"

	"github.com/carillonpush/carillon/internal/audience"
	"github.com/carillonpush/carillon/internal/push"
)

// FuzzReadSnapshot reads what may be no snapshot, with the right checksums, so that what is behind them is reached. What is
// read is an index whose sets agree with its columns, and can be written again.
func FuzzReadSnapshot(f *testing.F) {
	for _, n := range []uint32{0, 3, 70} {
		f.Add(snapshot(f, crowd(n, n).index, audience.Head{Seq: int64(n)}))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		b = bytes.Clone(b)
		audience.Reseal(b)
		w := newWorld()
		if w.index.ReadSnapshot(bytes.NewReader(b), anyHead) != nil {
			if n := w.index.All(1).Len(); n != 0 {
				t.Fatalf("the index has %d devices after an error", n)
			}
			return
		}
		for _, app := range w.index.Apps() {
			if err := w.index.Verify(app); err != nil {
				t.Fatal(err)
			}
			where := push.Or(push.Is(push.WhereTag("vip")), push.Is(push.WhereAttr{Name: "age", Op: push.OpAbove, Values: []string{"6"}}))
			if _, err := w.index.Select(query(app, where)); err != nil && !refused(err, "or[1].attr") {
				t.Fatal(err)
			}
			r := device(app, 3, push.Web)
			r.Attributes, r.Tags = have("age", "new"), []push.TagID{1}
			w.index.Apply(r)
			if agrees, known := w.index.Agrees(r); !agrees || !known {
				t.Fatalf("agrees %t, known %t after a row was applied", agrees, known)
			}
			if err := w.index.Verify(app); err != nil {
				t.Fatal(err)
			}
		}
		again := snapshot(t, w.index, audience.Head{})
		if err := new(audience.Index).ReadSnapshot(bytes.NewReader(again), anyHead); err != nil {
			t.Fatalf("what was read cannot be read again: %v", err)
		}
	})
}

// FuzzDecodeChunk decodes what may be no chunk.
func FuzzDecodeChunk(f *testing.F) {
	for _, n := range []uint32{1, 60, 300} {
		for _, b := range audience.Payloads(snapshot(f, crowd(n, n).index, audience.Head{})) {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		again, err := audience.DecodeChunk(b)
		if again == nil {
			return
		}
		if err != nil {
			t.Fatalf("sets do not agree with what was decoded: %v", err)
		}
		if more, err := audience.DecodeChunk(again); err != nil || more == nil {
			t.Fatalf("what was decoded cannot be decoded again: %v", err)
		}
	})
}
