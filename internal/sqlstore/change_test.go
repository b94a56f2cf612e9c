package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/sqlstore"
)

// What is new waits below the disk's reserve; what changes or goes does not.
func TestReserve(t *testing.T) {
	databases(t, func(t *testing.T, url string) {
		s := open(t, url, &sqlstore.Options{Reserve: -1})
		newApp(t, s)
		ctx := t.Context()
		if err := s.ChangeDevices(ctx, push.DeviceChange{App: 1, Add: []push.DeviceRow{benchDevice(1)}}); err != nil {
			t.Fatal(err)
		}
		if err := s.AddFilePart(ctx, 1, "f", 0, []byte("a\n"), time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		s.SetLow(true)
		_, _, accept := s.Accept(ctx, benchPush(1, 256, time.Now()))
		for what, err := range map[string]error{
			"a push":           accept,
			"a device":         s.ChangeDevices(ctx, push.DeviceChange{App: 1, Add: []push.DeviceRow{benchDevice(2)}}),
			"a part of a file": s.AddFilePart(ctx, 1, "f", 1, []byte("b\n"), time.Now().Add(time.Hour)),
		} {
			if !errors.Is(err, push.Unavailable) || !errors.Is(err, push.ErrNotQueued) {
				t.Errorf("%s: got %v, want unavailable and not queued", what, err)
			}
		}
		if err := s.ChangeDevices(ctx, push.DeviceChange{App: 1, Save: []push.DeviceRow{benchDevice(1)}}); err != nil {
			t.Errorf("a device that is there: %v", err)
		}
		if err := s.AddFile(ctx, push.File{App: 1, ID: "f", Lines: 1, Created: time.Now(), Expires: time.Now().Add(time.Hour)}, 0); err != nil {
			t.Errorf("a file whose parts are there: %v", err)
		}
		s.SetLow(false)
		if err := s.ChangeDevices(ctx, push.DeviceChange{App: 1, Add: []push.DeviceRow{benchDevice(2)}}); err != nil {
			t.Errorf("a device when there is room again: %v", err)
		}
	})
}

// A write that shares its commit with the end of its app comes before it, or is refused.
func TestWritesAroundTheEndOfAnApp(t *testing.T) {
	databases(t, func(t *testing.T, url string) {
		s := open(t, url, nil)
		newApp(t, s)
		release := s.HoldCommits()
		queued := 0
		queue := func(do func(ctx context.Context) error) chan error {
			done := make(chan error, 1)
			go func() { done <- do(t.Context()) }()
			queued++
			eventually(t, "it is queued", func() bool { return s.Depth() == queued })
			return done
		}
		tag := func(id push.TagID) func(context.Context) error {
			return func(ctx context.Context) error {
				return s.AddTag(ctx, push.Tag{App: 1, ID: id, Name: fmt.Sprint(id)})
			}
		}
		first := queue(func(ctx context.Context) error { return s.PutMeta(ctx, "k", nil) }) // a commit of its own
		before := queue(tag(1))
		end := queue(func(ctx context.Context) error { return s.DeleteApp(ctx, 1) })
		after := queue(tag(2))
		release()
		for what, done := range map[string]chan error{"the first": first, "a tag before": before, "the end": end} {
			if err := <-done; err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		if err := <-after; !errors.Is(err, push.NotFound) {
			t.Errorf("a tag after: got %v, want not found", err)
		}
	})
}

// What a change says twice is found out by its caller, and not while all others wait for the commit.
func TestTagsThatAreNotDistinctAreNotQueued(t *testing.T) {
	databases(t, func(t *testing.T, url string) {
		s := open(t, url, nil)
		newApp(t, s)
		defer s.HoldCommits()()
		for name, last := range map[string]push.Tag{
			"one name twice": {App: 1, ID: 3, Name: "a"},
			"one id twice":   {App: 1, ID: 1, Name: "c"},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			tags := []push.Tag{{App: 1, ID: 1, Name: "a"}, {App: 1, ID: 2, Name: "b"}, last}
			if err := s.ChangeDevices(ctx, push.DeviceChange{App: 1, Tags: tags}); !errors.Is(err, push.Conflict) || s.Depth() != 0 {
				t.Errorf("%s: got %v and %d writes queued, want conflict and none", name, err, s.Depth())
			}
		}
	})
}

// The limits of a commit count all that a change brings.
func TestSizeOfAChange(t *testing.T) {
	databases(t, func(t *testing.T, url string) {
		seen := make(chan sqlstore.Commit, 10)
		s := open(t, url, &sqlstore.Options{Observe: func(c sqlstore.Commit) { seen <- c }})
		newApp(t, s)
		<-seen
		const long = 500
		name := func(c byte) string { return fmt.Sprintf("%0*d", long, c) }
		change := push.DeviceChange{App: 1, Add: []push.DeviceRow{benchDevice(1)}}
		for i := range byte(4) {
			change.Tags = append(change.Tags, push.Tag{App: 1, ID: push.TagID(i + 1), Name: name(i)})
			change.Aliases = append(change.Aliases, push.AliasEdit{Ordinal: 1, Op: push.Add, Alias: push.Alias{Type: name(1), Value: name(i)}})
		}
		if err := s.ChangeDevices(t.Context(), change); err != nil {
			t.Fatal(err)
		}
		if c := <-seen; c.Rows != 9 || c.Bytes < 12*long || c.Bytes > 24*long {
			t.Errorf("got %d rows of %d bytes, want 9 of about %d", c.Rows, c.Bytes, 12*long)
		}
	})
}

// The committer has no time for work that grows with the square of what changes.
func TestAliasPlanIsLinear(t *testing.T) {
	const n = 200_000
	alias := push.Alias{Value: "x"}
	owners := make([]push.AliasEdit, 2*n)
	for i := range owners { // half are devices that have the alias, the others aliases that one device has
		owners[i] = push.AliasEdit{Ordinal: push.Ordinal(i), Alias: alias}
		if i >= n {
			owners[i] = push.AliasEdit{Ordinal: n, Alias: push.Alias{Value: fmt.Sprint(i)}}
		}
	}
	for _, tt := range []struct {
		name   string
		limits push.AliasLimits
		edit   push.AliasEdit
		want   int // devices whose aliases change
	}{
		{"put", push.AliasLimits{}, push.AliasEdit{Ordinal: n + 1, Op: push.Put, Alias: alias}, n + 1},
		{"put by an owner", push.AliasLimits{}, push.AliasEdit{Ordinal: n / 2, Op: push.Put, Alias: alias}, n - 1},
		{"a limit that has become less", push.AliasLimits{Devices: 2, Evict: true}, push.AliasEdit{Ordinal: n + 1, Op: push.Add, Alias: alias}, n},
		{"delete all of a device", push.AliasLimits{}, push.AliasEdit{Ordinal: n, Op: push.Delete}, 1},
		{"a limit of a device that has become less", push.AliasLimits{PerDevice: 2, Evict: true}, push.AliasEdit{Ordinal: n, Op: push.Add, Alias: alias}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			start := time.Now()
			changed, err := sqlstore.PlanAliases(tt.limits, owners, []push.AliasEdit{tt.edit})
			if err != nil || len(changed) != tt.want {
				t.Errorf("got %d devices, %v, want %d", len(changed), err, tt.want)
			}
			if took := time.Since(start); took > 10*time.Second { // by the square it would be minutes
				t.Errorf("took %v", took)
			}
		})
	}
	// Many edits of one alias that has many owners.
	edits := make([]push.AliasEdit, n/2)
	for i := range edits {
		edits[i] = push.AliasEdit{Ordinal: push.Ordinal(i), Op: push.Delete, Alias: alias}
	}
	start := time.Now()
	changed, err := sqlstore.PlanAliases(push.AliasLimits{}, owners, edits)
	if took := time.Since(start); err != nil || len(changed) != n/2 || took > 10*time.Second {
		t.Errorf("many edits: got %d devices, %v, after %v, want %d at once", len(changed), err, took, n/2)
	}
}
