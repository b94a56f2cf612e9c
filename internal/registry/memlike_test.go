package registry_test

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/registry"
	"github.com/carillonpush/carillon/internal/sqlstore/storetest"
)

// A recordState is what a record answers.
type recordState struct {
	Devices []push.DeviceRow
	Index   []push.IndexRow
	Holders map[string][]push.Holder
	Aliases map[push.Ordinal][]push.Alias
	Tags    []push.Tag
	Days    []push.DeviceDay
	Peak    int
	Active  []push.Ordinal // on the last of Days
	Feed    []string       // since the last look, sorted: the rows of one commit have no order
}

const (
	memDevices = 5
	someDay    = push.Day(20_780)
)

func look(t *rapid.T, s registry.Stores, app push.AppID, since *int64) recordState {
	t.Helper()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	state := recordState{Holders: map[string][]push.Holder{}}
	var ordinals []push.Ordinal
	for o := range push.Ordinal(memDevices) {
		ordinals = append(ordinals, o)
	}
	var err error
	state.Devices, err = s.Devices.FindDevices(ctx, app, ordinals)
	must(err)
	var mu sync.Mutex
	must(s.Devices.ScanIndex(ctx, app, func(row push.IndexRow) error {
		if row.Removed {
			row = push.IndexRow{Ref: row.Ref, Epoch: row.Epoch, Removed: true}
		}
		row.Attributes, row.Tags = slices.Clone(row.Attributes), slices.Clone(row.Tags)
		slices.SortFunc(row.Attributes, func(a, b push.Attribute) int { return cmp.Compare(a.Name, b.Name) })
		mu.Lock()
		defer mu.Unlock()
		state.Index = append(state.Index, row)
		return nil
	}))
	slices.SortFunc(state.Index, func(a, b push.IndexRow) int { return cmp.Compare(a.Ref.Ordinal, b.Ref.Ordinal) })
	for kind := push.ByAlias; kind <= push.ByPrevious; kind++ {
		state.Holders[fmt.Sprint(kind)], err = s.Devices.Holders(ctx, app, push.Names{Kind: kind, Values: []string{"b", "a", "", "c", "b"}}, 0)
		must(err)
	}
	state.Aliases, err = s.Labels.Aliases(ctx, app, ordinals)
	must(err)
	tags, err := s.Labels.Tags(ctx)
	must(err)
	for _, tag := range tags {
		if tag.App == app {
			state.Tags = append(state.Tags, tag)
		}
	}
	state.Days, err = s.Activity.DeviceDays(ctx, app, someDay-1, someDay+3)
	must(err)
	peak, chunks, err := s.Activity.ActiveOn(ctx, app, someDay+3)
	must(err)
	active, err := ordset.FromChunks(chunks)
	must(err)
	state.Peak, state.Active = peak, slices.Collect(active.All())
	feed, err := s.Feed.Changes(ctx, *since, 10_000)
	must(err)
	for _, c := range feed {
		set, err := ordset.FromChunks(c.Devices)
		must(err)
		state.Feed = append(state.Feed, fmt.Sprint(c.Ordinal, c.What, c.Day, slices.Collect(set.All())))
		*since = c.Seq
	}
	slices.Sort(state.Feed)
	return state
}

// drawChange returns a change that may well be refused.
func drawChange(t *rapid.T, app push.AppID) push.DeviceChange {
	name := rapid.SampledFrom([]string{"", "a", "b", "c"})
	ordinal := rapid.Map(rapid.IntRange(0, memDevices-1), func(n int) push.Ordinal { return push.Ordinal(n) })
	at := time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)
	row := func(o push.Ordinal) push.DeviceRow {
		d := push.DeviceRow{Epoch: uint32(rapid.IntRange(0, 2).Draw(t, "epoch")), Install: [32]byte{byte(rapid.IntRange(1, 5).Draw(t, "install"))}}
		d.Ref = push.Ref{App: app, Ordinal: o, Generation: uint8(rapid.IntRange(1, 3).Draw(t, "generation")), Platform: push.Android}
		d.App, d.Platform = app, push.Android
		d.Account, d.Phone, d.PreviousID = name.Draw(t, "account"), name.Draw(t, "phone"), name.Draw(t, "previous")
		d.Network = rapid.SampledFrom([]push.Network{"", push.WiFi, push.Mobile}).Draw(t, "network")
		d.Registered, d.LastActive = at, at.Add(time.Duration(rapid.IntRange(-2, 2).Draw(t, "day"))*24*time.Hour)
		if v := name.Draw(t, "city"); v != "" {
			d.Attributes = map[string]string{"city": v}
		}
		if rapid.Bool().Draw(t, "tagged") {
			d.TagIDs = []push.TagID{2, 3}
		}
		if rapid.IntRange(0, 4).Draw(t, "removed") == 0 {
			d.Removed = at
			d.Account, d.Phone, d.PreviousID, d.Network, d.Attributes, d.TagIDs = "", "", "", "", nil, nil
		}
		return d
	}
	c := push.DeviceChange{App: app, What: "change", Today: day(t, 0), Limits: push.AliasLimits{
		PerDevice: rapid.IntRange(0, 2).Draw(t, "per device"), Devices: rapid.IntRange(0, 2).Draw(t, "devices"), Evict: rapid.Bool().Draw(t, "evict"),
	}}
	for _, o := range rapid.SliceOfNDistinct(ordinal, 0, 3, rapid.ID).Draw(t, "rows") {
		if rapid.Bool().Draw(t, "add") {
			c.Add = append(c.Add, row(o))
		} else {
			c.Save = append(c.Save, row(o))
		}
	}
	for range rapid.IntRange(0, 3).Draw(t, "aliases") {
		e := push.AliasEdit{Ordinal: ordinal.Draw(t, "of"), Op: push.EditOp(rapid.IntRange(1, 3).Draw(t, "op")), Alias: push.Alias{Value: name.Draw(t, "alias")}}
		if e.Alias.Value != "" || e.Op == push.Delete {
			c.Aliases = append(c.Aliases, e)
		}
	}
	if rapid.IntRange(0, 3).Draw(t, "with a tag") == 0 {
		c.Tags = []push.Tag{{App: app, ID: push.TagID(rapid.IntRange(1, 9).Draw(t, "id")), Name: name.Filter(func(n string) bool { return n != "" }).Draw(t, "tag"), Created: at}}
	}
	return c
}

// day draws a day; with least 0 it may be none.
func day(t *rapid.T, least push.Day) push.Day {
	if d := push.Day(rapid.IntRange(-1, 3).Draw(t, "counted on")); d >= 0 || least > 0 {
		return someDay + max(d, 0)
	}
	return 0
}

// The record in memory that the tests of this package use answers as the real one does.
func TestMemStoreIsLikeTheRecord(t *testing.T) {
	p := storetest.Open(t, filepath.Join(t.TempDir(), "record.db"), nil)
	real := registry.Stores{Apps: p.Apps, Devices: p.Devices, Labels: p.Labels, Feed: p.Feed, Files: p.Files, Activity: p.Activity}
	var realSeq int64
	tries, done, refused := 0, 0, 0
	rapid.Check(t, func(t *rapid.T) {
		tries++ // an app of its own for each
		made, err := real.Apps.CreateApp(t.Context(), push.App{Name: fmt.Sprint("app-", tries), TimeZone: "UTC"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		app := made.ID
		mem := newMemStore()
		mem.apps[app] = made
		fake := mem.all()
		var fakeSeq int64
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			var got, want error
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			case 0:
				day := someDay + push.Day(rapid.IntRange(0, 6).Draw(t, "touched"))
				ordinals := []push.Ordinal{0, 3, 3, 77}
				got, want = fake.Activity.Touch(t.Context(), app, day, ordinals), real.Activity.Touch(t.Context(), app, day, ordinals)
			case 1:
				on, peak := day(t, 1), rapid.IntRange(0, 9).Draw(t, "peak")
				set := ordset.Of(push.Ordinal(rapid.IntRange(0, 9).Draw(t, "active")), push.Ordinal(rapid.IntRange(0, 1<<17).Draw(t, "active")))
				chunks, err := set.Chunks()
				if err != nil {
					t.Fatal(err)
				}
				got, want = fake.Activity.PutDeviceDay(t.Context(), app, on, peak, set.Len(), chunks), real.Activity.PutDeviceDay(t.Context(), app, on, peak, set.Len(), chunks)
			case 2:
				id := push.TagID(rapid.IntRange(1, 9).Draw(t, "removed tag"))
				at := time.Date(2026, 11, 25, 1, 0, 0, 0, time.UTC)
				got, want = fake.Labels.RemoveTag(t.Context(), app, id, at), real.Labels.RemoveTag(t.Context(), app, id, at)
			default:
				c := drawChange(t, app)
				got, want = fake.Devices.ChangeDevices(t.Context(), c), real.Devices.ChangeDevices(t.Context(), c)
			}
			// A change with several faults may be refused for any of them.
			if (got == nil) != (want == nil) || got != nil && !refusal(got) || want != nil && !refusal(want) {
				t.Fatalf("got %v, want as the record: %v", got, want)
			}
			if want == nil {
				done++
			} else {
				refused++
			}
			if diff := gocmp.Diff(look(t, real, app, &realSeq), look(t, fake, app, &fakeSeq), cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("record and fake (-record +fake):\n%s", diff)
			}
		}
	})
	if done < refused/20 || refused < done/20 {
		t.Errorf("%d done, %d refused: no test of both", done, refused)
	}
}

func refusal(err error) bool {
	return slices.Contains([]push.Kind{push.Conflict, push.NotFound, push.TooMany}, push.KindOf(err))
}
