package registry_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// based returns a house with a snapshot file, some devices, and a second app.
func based(t testing.TB) (*house, push.AppCard, []push.Registered) {
	h := newHouse(t)
	h.snapshot = filepath.Join(t.TempDir(), "index.snapshot")
	h.restart(t)
	card, other := h.app(t, "demo"), h.app(t, "other")
	var all []push.Registered
	for i := range 20 {
		all = append(all, h.device(t, card, strconv.Itoa(i)))
		e := push.LabelEdit{Op: push.Add, Tags: []string{fmt.Sprint("t", i%3)}, Attributes: map[string]string{"city": fmt.Sprint(i % 4)}}
		if _, err := h.EditLabels(t.Context(), all[i].Ref, e); err != nil {
			t.Fatal(err)
		}
	}
	h.device(t, other, "x")
	return h, card, all
}

// states are questions that tell apart what the tests below do.
var states = []push.Where{
	push.Is(push.WhereTag("t1")),
	push.Is(push.WhereTag("new")),
	push.Is(push.WhereAttr{Name: "city", Op: push.OpIs, Values: []string{"1"}}),
	push.Is(push.WhereWithin{Event: push.EventActive, For: time.Hour}),
	flag(push.FlagTest),
	push.Not(flag(push.FlagTest)),
}

func (h *house) answers(t testing.TB) (all [][]push.Ordinal) {
	t.Helper()
	for _, w := range states {
		all = append(all, h.everybody(t, w))
	}
	return all
}

// started restarts h, and fails t if it did not start as it should, or says something else than before.
func (h *house) started(t testing.TB, fromSnapshot bool) {
	t.Helper()
	want := h.answers(t)
	h.store.scans = 0
	h.restart(t)
	if got := h.store.scans == 0; got != fromSnapshot {
		t.Errorf("started from the snapshot %v, want %v", got, fromSnapshot)
	}
	if got := h.answers(t); !slices.EqualFunc(got, want, slices.Equal[[]push.Ordinal]) {
		t.Errorf("answers are %v, want %v", got, want)
	}
	check, err := h.CheckIndex(t.Context(), 0, false)
	if err != nil || check.Wrong+check.Missing+check.Surplus != 0 {
		t.Errorf("the doctor says %+v, %v", check, err)
	}
}

func TestStartFromTheSnapshot(t *testing.T) {
	h, card, all := based(t)
	h.started(t, false)
	h.Save(t.Context())
	h.started(t, true)

	// What changed since: everything that can.
	if _, err := h.Patch(t.Context(), all[3].Ref, push.DevicePatch{Test: ptr(true)}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.EditLabels(t.Context(), all[4].Ref, push.LabelEdit{Op: push.Put, Tags: []string{"new"}}); err != nil {
		t.Fatal(err)
	}
	if err := h.RemoveTag(t.Context(), 1, "t1"); err != nil {
		t.Fatal(err)
	}
	if err := h.Remove(t.Context(), all[5].Ref); err != nil {
		t.Fatal(err)
	}
	again, err := h.Register(t.Context(), registration(card, "6"), "", home) // another epoch
	if err != nil {
		t.Fatal(err)
	}
	added := h.device(t, card, "added")
	h.imports(t, push.Import{PreviousID: "old", Tags: []string{"new"}, Attributes: map[string]string{"city": "1"}})
	h.pass(24 * time.Hour)
	h.Presence(all[7].Ref, true)
	h.Flush(t.Context())
	if got := h.everybody(t, states[3]); !slices.Equal(got, []push.Ordinal{7}) {
		t.Errorf("active today are %v, want 7: the index follows", got)
	}
	if err := h.DeleteApp(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	h.started(t, true)
	if n := len(h.Platforms(2)); n != 0 {
		t.Error("the deleted app has devices")
	}
	for _, d := range []push.Registered{again, added} {
		if _, err := h.Authenticate(string(d.DeviceID), d.Secret); err != nil {
			t.Errorf("Authenticate = %v", err)
		}
	}
	if _, err := h.Authenticate(string(all[6].DeviceID), all[6].Secret); err == nil {
		t.Error("a secret of before the snapshot opens")
	}
	if next := h.device(t, card, "next"); next.Ref.Ordinal != 22 {
		t.Errorf("the next device is %d, want 22", next.Ref.Ordinal)
	}
}

func TestSnapshotsOfNoUse(t *testing.T) {
	for _, tt := range []struct {
		name string
		harm func(t *testing.T, h *house)
	}{
		{"none", func(t *testing.T, h *house) { remove(t, h.snapshot) }},
		{"a damaged one", func(t *testing.T, h *house) {
			b, err := os.ReadFile(h.snapshot)
			if err != nil {
				t.Fatal(err)
			}
			b[len(b)*2/3] ^= 1
			write(t, h.snapshot, b)
		}},
		{"half of one", func(t *testing.T, h *house) {
			b, err := os.ReadFile(h.snapshot)
			if err != nil {
				t.Fatal(err)
			}
			write(t, h.snapshot, b[:len(b)/2])
		}},
		{"something else", func(t *testing.T, h *house) { write(t, h.snapshot, bytes.Repeat([]byte("text\n"), 100)) }},
		{"a folder", func(t *testing.T, h *house) {
			remove(t, h.snapshot)
			if err := os.Mkdir(h.snapshot, 0o700); err != nil {
				t.Fatal(err)
			}
		}},
		{"of another record", func(_ *testing.T, h *house) { h.store.id = [16]byte{2} }},
		{"of a later time: the record came from a copy", func(_ *testing.T, h *house) { h.store.feed, h.store.seq = h.store.feed[:5], 5 }},
		{"of another history: the record came from a copy, and went on", func(_ *testing.T, h *house) {
			last := &h.store.feed[len(h.store.feed)-1]
			last.At = last.At.Add(time.Second)
		}},
		{"older than the feed", func(t *testing.T, h *house) {
			ref, _ := h.Find(1, 0)
			for i := range 3 {
				if _, err := h.Patch(t.Context(), ref, push.DevicePatch{Badge: ptr(i + 1)}); err != nil {
					t.Fatal(err)
				}
			}
			h.store.feed = h.store.feed[len(h.store.feed)-2:]
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, _, _ := based(t)
			h.Save(t.Context())
			tt.harm(t, h)
			h.started(t, false)
			if info, err := os.Stat(h.snapshot); err == nil && info.Mode().IsRegular() {
				t.Error("what is of no use is still there")
			}
		})
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A snapshot that cannot be written leaves the one before, and no litter.
func TestSnapshotStays(t *testing.T) {
	h, card, _ := based(t)
	h.Save(t.Context())
	before, err := os.ReadFile(h.snapshot)
	if err != nil {
		t.Fatal(err)
	}
	unchanged := func(when string) {
		t.Helper()
		after, err := os.ReadFile(h.snapshot)
		if err != nil || !bytes.Equal(after, before) {
			t.Errorf("%s: another snapshot, %v", when, err)
		}
		entries, err := os.ReadDir(filepath.Dir(h.snapshot))
		if err != nil || len(entries) != 1 {
			t.Errorf("%s: %d files, %v, want the one", when, len(entries), err)
		}
	}
	info, err := os.Stat(h.snapshot)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("its mode is %v, %v", info.Mode(), err)
	}
	h.Save(t.Context())
	unchanged("nothing changed")

	// The index does not say what the record says: nobody knows what came of a write.
	broken := false
	h.store.fail = func(op string) (error, bool) {
		if op == "ChangeDevices" {
			broken = true
		}
		if !broken {
			return nil, false
		}
		return &push.Error{Kind: push.Unavailable}, true
	}
	if _, err := h.Register(t.Context(), registration(card, "unsure"), "", home); err == nil {
		t.Fatal("registered")
	}
	h.store.fail = nil
	h.Save(t.Context())
	unchanged("one device is unsure")
	h.Settle(t.Context())
	h.Save(t.Context())
	if after, err := os.ReadFile(h.snapshot); err != nil || bytes.Equal(after, before) {
		t.Errorf("still the snapshot of before, %v", err)
	}
	h.started(t, true)
	if len(h.everybody(t)) != 21 {
		t.Error("the device that was unsure is not there")
	}

	// What noted activity came to is not known either.
	if before, err = os.ReadFile(h.snapshot); err != nil {
		t.Fatal(err)
	}
	h.pass(24 * time.Hour)
	ref, _ := h.Find(1, 1)
	h.Presence(ref, true)
	h.store.fail = func(string) (error, bool) { return &push.Error{Kind: push.Unavailable}, true }
	h.Save(t.Context())
	unchanged("a day that is unsure")
	h.store.fail = nil
	h.Save(t.Context())
	h.started(t, true)
}

// Run writes the snapshot at its end, and once an hour.
func TestRunSaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, card, all := based(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- h.Run(ctx) }()
		minutes := func(n int) {
			for range n {
				h.pass(time.Minute)
				time.Sleep(time.Minute) // ok: synctest turns the clock
			}
			synctest.Wait()
		}
		minutes(59)
		if _, err := os.Stat(h.snapshot); !os.IsNotExist(err) {
			t.Errorf("a snapshot after 59 minutes: %v", err)
		}
		minutes(3)
		if _, err := os.Stat(h.snapshot); err != nil {
			t.Errorf("no snapshot after an hour: %v", err)
		}
		h.device(t, card, "late")
		h.Presence(all[0].Ref, true)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
		h.store.reads = 0
		h.started(t, true)
	})
}

// A snapshot that is taken while devices change is whole, with what the feed has since.
func TestSnapshotWhileDevicesChange(t *testing.T) {
	h, card, all := based(t)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			e := push.LabelEdit{Op: push.Put, Tags: []string{fmt.Sprint("t", i%3)}, Attributes: map[string]string{"city": strconv.Itoa(i % 5)}}
			if _, err := h.EditLabels(context.Background(), all[i%len(all)].Ref, e); err != nil {
				t.Error(err)
			}
			if i < 50 {
				h.device(t, card, fmt.Sprint("more", i))
			}
		}
	}()
	for range 20 {
		h.Save(t.Context())
	}
	close(stop)
	<-done
	h.started(t, true)
}

func TestDoctor(t *testing.T) {
	h, _, all := based(t)
	if err := h.Remove(t.Context(), all[9].Ref); err != nil {
		t.Fatal(err)
	}
	check := func(app push.AppID, repair bool, want push.IndexCheck) {
		t.Helper()
		want.Repaired = repair
		got, err := h.CheckIndex(t.Context(), app, repair)
		if err != nil || got != want {
			t.Errorf("CheckIndex = %+v, %v, want %+v", got, err, want)
		}
	}
	check(0, false, push.IndexCheck{Devices: 21})
	want := h.answers(t)
	row := push.IndexRow{Ref: all[1].Ref, Registered: 1, Attributes: []push.Attribute{{Name: "city", Value: "9"}}}
	h.Lose(row)                                                                                          // wrong
	h.Lose(push.IndexRow{Ref: all[2].Ref, Removed: true})                                                // missing
	h.Lose(push.IndexRow{Ref: push.Ref{App: 1, Ordinal: 5000, Generation: 1, Platform: push.Web}})       // surplus
	h.Lose(push.IndexRow{Ref: all[9].Ref, Registered: 1})                                                // surplus: it was removed
	h.Lose(push.IndexRow{Ref: push.Ref{App: 2, Ordinal: 70_000, Generation: 1, Platform: push.Android}}) // surplus of another app
	check(0, false, push.IndexCheck{Devices: 21, Wrong: 1, Missing: 1, Surplus: 3})
	check(1, true, push.IndexCheck{Devices: 20, Wrong: 1, Missing: 1, Surplus: 2})
	check(1, false, push.IndexCheck{Devices: 20})
	check(2, true, push.IndexCheck{Devices: 1, Surplus: 1})
	check(0, false, push.IndexCheck{Devices: 21})
	if got := h.answers(t); !slices.EqualFunc(got, want, slices.Equal[[]push.Ordinal]) {
		t.Errorf("answers are %v, want %v", got, want)
	}
	if _, err := h.Authenticate(string(all[2].DeviceID), all[2].Secret); err != nil {
		t.Errorf("a device that was missing: %v", err)
	}
	_, err := h.CheckIndex(t.Context(), 9, false)
	fails(t, "no app", err, push.NotFound, "app")
}
