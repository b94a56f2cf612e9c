package storetest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// device returns a device with something in every part.
func device(app push.AppID, o push.Ordinal) push.DeviceRow {
	d := push.DeviceRow{Epoch: 3, TagIDs: []push.TagID{1, 7, 7000}}
	d.Ref = push.Ref{App: app, Ordinal: o, Generation: 1, Platform: push.IOS}
	d.App, d.Platform = app, push.IOS
	d.Attributes = map[string]string{"app_version": "2.1.0", "city": "杭州", "my.own": "x"}
	d.Tokens = map[string]push.Token{"apns": {Token: "t", Env: "sandbox"}}
	d.Phone, d.Network, d.Account = "+8613800000000", push.WiFi, "ann"
	d.PreviousID = fmt.Sprintf("old %d of %d", o, app)
	d.Marks = push.Marks{Test: true, Badge: 4, Reset: true}
	d.Registered, d.LastActive, d.Bound = noon, noon, noon.Add(-time.Hour)
	d.Changed = noon.Truncate(time.Second)
	copy(d.Install[:], fmt.Sprintf("install %d of %d", o, app))
	return d
}

// add stores new devices, in one change.
func add(t *testing.T, p *Ports, rows ...push.DeviceRow) {
	t.Helper()
	if err := p.Devices.ChangeDevices(t.Context(), push.DeviceChange{App: rows[0].App, Add: rows, What: "register"}); err != nil {
		t.Fatalf("add devices: %v", err)
	}
}

// addSome stores n devices of app, with ordinals from 0 on.
func addSome(t *testing.T, p *Ports, app push.AppID, n push.Ordinal) {
	t.Helper()
	var rows []push.DeviceRow
	for o := range n {
		rows = append(rows, device(app, o))
	}
	add(t, p, rows...)
}

// save changes devices, in one change.
func save(t *testing.T, p *Ports, rows ...push.DeviceRow) error {
	return p.Devices.ChangeDevices(t.Context(), push.DeviceChange{App: rows[0].App, Save: rows, What: "attributes"})
}

// find returns devices by ordinal.
func find(t *testing.T, p *Ports, app push.AppID, ordinals ...push.Ordinal) []push.DeviceRow {
	t.Helper()
	all, err := p.Devices.FindDevices(t.Context(), app, ordinals)
	if err != nil {
		t.Fatalf("find devices: %v", err)
	}
	return all
}

func testDevices(t *testing.T, p *Ports) {
	ctx := t.Context()
	d, other := device(1, 10), device(1, 70_000)
	other.Phone, other.Account, other.PreviousID, other.Network = "", "", "", ""
	other.Attributes, other.Tokens, other.TagIDs = nil, nil, nil
	other.Bound, other.Unbound = time.Time{}, noon
	add(t, p, other, d)
	same(t, "in order of ordinals, each once", find(t, p, 1, 70_000, 10, 11, 10), []push.DeviceRow{d, other})
	same(t, "of another app", len(find(t, p, 2, 10)), 0)
	same(t, "none", len(find(t, p, 1)), 0)
	got, err := p.Devices.FindInstall(ctx, 1, d.Install)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "by install", got, d)
	_, err = p.Devices.FindInstall(ctx, 2, d.Install)
	fails(t, "the install in another app", err, push.NotFound, "")

	// A row replaces all that was known, apart from a day that is later.
	d.Attributes, d.Tokens, d.TagIDs = map[string]string{"channel": "c"}, map[string]push.Token{"fcm": {Token: "f"}}, []push.TagID{2}
	d.Epoch, d.Marks, d.Account, d.Phone, d.PreviousID = 9, push.Marks{Blacklisted: true}, "bob", "123456", "older"
	d.Install, d.Unbound = [32]byte{1}, noon.Add(time.Hour)
	if err := save(t, p, d); err != nil {
		t.Fatal(err)
	}
	same(t, "once saved", find(t, p, 1, 10), []push.DeviceRow{d})
	d.Attributes["channel"], d.Badge = "d", 7 // and with the same names
	if err := save(t, p, d); err != nil {
		t.Fatal(err)
	}
	same(t, "once saved again", find(t, p, 1, 10), []push.DeviceRow{d})

	gone := d
	gone.Removed, gone.Account, gone.Phone, gone.PreviousID = noon.Add(time.Hour), "", "", ""
	if err := save(t, p, gone); err != nil {
		t.Fatal(err)
	}
	same(t, "once removed", find(t, p, 1, 10), []push.DeviceRow{gone})
	_, err = p.Devices.FindInstall(ctx, 1, d.Install)
	fails(t, "the install of a removed device", err, push.NotFound, "")
	twin := device(1, 11)
	twin.Install, twin.PreviousID = d.Install, d.PreviousID
	add(t, p, twin)
	next := device(1, 10)
	next.Ref.Generation, next.Install = 2, [32]byte{8}
	next.LastActive = noon.Add(-48 * time.Hour)
	add(t, p, next)
	same(t, "a later generation of the ordinal", find(t, p, 1, 10), []push.DeviceRow{next})
}

func testChangeRefused(t *testing.T, p *Ports) {
	ctx := t.Context()
	addSome(t, p, 1, 3)
	removed := device(1, 3)
	removed.Removed, removed.PreviousID = noon, ""
	removed.Ref.Generation = 5
	add(t, p, removed)
	if err := p.Labels.AddTag(ctx, push.Tag{App: 1, ID: 1, Name: "taken", Created: noon}); err != nil {
		t.Fatal(err)
	}
	with := func(o push.Ordinal, f func(*push.DeviceRow)) []push.DeviceRow {
		d := device(1, o)
		f(&d)
		return []push.DeviceRow{d}
	}
	nothing := func(*push.DeviceRow) {}
	before, feed := find(t, p, 1, 0, 1, 2, 3, 50), changes(t, p)
	// Each of these is refused for its one fault. What is well in each is the device 50, a tag and an alias.
	for _, tt := range []struct {
		name  string
		c     push.DeviceChange
		kind  push.Kind
		field string
	}{
		{"an install that is registered", push.DeviceChange{Add: with(51, func(d *push.DeviceRow) { d.Install = device(1, 1).Install })}, push.Conflict, "install_id"},
		{"one install twice", push.DeviceChange{Add: with(51, func(d *push.DeviceRow) { d.Install = device(1, 50).Install })}, push.Conflict, "install_id"},
		{"a saved device with an install that is registered", push.DeviceChange{Save: with(0, func(d *push.DeviceRow) { d.Install = device(1, 1).Install })}, push.Conflict, "install_id"},
		{"an ordinal that is taken", push.DeviceChange{Add: with(1, func(d *push.DeviceRow) { d.Ref.Generation, d.Install, d.PreviousID = 2, [32]byte{9}, "" })}, push.Conflict, "ordinal"},
		{"an earlier generation of a removed device", push.DeviceChange{Add: with(3, nothing)}, push.Conflict, "ordinal"},
		{"the same generation of a removed device", push.DeviceChange{Add: with(3, func(d *push.DeviceRow) { d.Ref.Generation = 5 })}, push.Conflict, "ordinal"},
		{"one device twice", push.DeviceChange{Save: with(50, nothing)}, push.Invalid, "ordinal"},
		{"a device that is not there", push.DeviceChange{Save: with(9, nothing)}, push.NotFound, ""},
		{"a device of another app", push.DeviceChange{Save: []push.DeviceRow{device(2, 1)}}, push.Invalid, "app"},
		{"an earlier id that is another's", push.DeviceChange{Previous: []push.Previous{{ID: device(1, 2).PreviousID, Ordinal: 50}}}, push.Conflict, "previous_id"},
		{"an earlier id of a saved device that is another's", push.DeviceChange{Save: with(0, func(d *push.DeviceRow) { d.PreviousID = device(1, 2).PreviousID })}, push.Conflict, "previous_id"},
		{"one earlier id twice", push.DeviceChange{Add: with(51, func(d *push.DeviceRow) { d.PreviousID = device(1, 50).PreviousID })}, push.Conflict, "previous_id"},
		{"an earlier id of nobody", push.DeviceChange{Previous: []push.Previous{{ID: "x", Ordinal: 77}}}, push.Invalid, "previous_id"},
		{"a tag's name that is taken", push.DeviceChange{Tags: []push.Tag{{App: 1, ID: 3, Name: "taken"}}}, push.Conflict, "tags"},
		{"a tag's id that is taken", push.DeviceChange{Tags: []push.Tag{{App: 1, ID: 1, Name: "other"}}}, push.Conflict, "tags"},
		{"one tag twice", push.DeviceChange{Tags: []push.Tag{{App: 1, ID: 3, Name: "new"}}}, push.Conflict, "tags"},
		{"a tag of another app", push.DeviceChange{Tags: []push.Tag{{App: 2, ID: 3, Name: "x"}}}, push.Invalid, "tags[1]"},
		{"an alias of nobody", push.DeviceChange{Aliases: []push.AliasEdit{{Ordinal: 77, Op: push.Add, Alias: push.Alias{Value: "a"}}}}, push.NotFound, "aliases[1]"},
		{"an alias of a removed device", push.DeviceChange{Aliases: []push.AliasEdit{{Ordinal: 3, Op: push.Put, Alias: push.Alias{Value: "a"}}}}, push.NotFound, "aliases[1]"},
		{"an alias of a device that is being removed", push.DeviceChange{
			Save:    with(2, func(d *push.DeviceRow) { d.Removed = noon }),
			Aliases: []push.AliasEdit{{Ordinal: 1, Op: push.Add, Alias: push.Alias{Value: "a"}}, {Ordinal: 2, Op: push.Add, Alias: push.Alias{Value: "a"}}},
		}, push.NotFound, "aliases[2]"},
		{"an alias that is none", push.DeviceChange{Aliases: []push.AliasEdit{{Ordinal: 1, Op: push.Add, Alias: push.Alias{Value: "\xff"}}}}, push.Invalid, "aliases[1]"},
		{"an alias too many", push.DeviceChange{
			Limits:  push.AliasLimits{PerDevice: 1},
			Aliases: []push.AliasEdit{{Ordinal: 1, Op: push.Add, Alias: push.Alias{Value: "a"}}, {Ordinal: 50, Op: push.Add, Alias: push.Alias{Value: "b"}}},
		}, push.TooMany, "aliases[2]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := tt.c
			c.App, c.What = 1, "refused"
			c.Add = append([]push.DeviceRow{device(1, 50)}, c.Add...)
			c.Tags = append([]push.Tag{{App: 1, ID: 2, Name: "new", Created: noon}}, c.Tags...)
			c.Aliases = append([]push.AliasEdit{{Ordinal: 50, Op: push.Add, Alias: push.Alias{Value: "well"}}}, c.Aliases...)
			fails(t, "the change", p.Devices.ChangeDevices(ctx, c), tt.kind, tt.field)
			same(t, "devices", find(t, p, 1, 0, 1, 2, 3, 50), before)
			same(t, "the feed", changes(t, p), feed)
			tags, err := p.Labels.Tags(ctx)
			if err != nil || len(tags) != 1 {
				t.Errorf("tags: got %v, %v, want the one before", tags, err)
			}
			same(t, "holders of the alias", holders(t, p, 1, push.Names{Kind: push.ByAlias, Values: []string{"well"}}), nil)
		})
	}
	// Without a fault it is done: the above were not refused for something else.
	err := p.Devices.ChangeDevices(ctx, push.DeviceChange{
		App: 1, Add: []push.DeviceRow{device(1, 50)}, Tags: []push.Tag{{App: 1, ID: 2, Name: "new", Created: noon}}, What: "register",
		Aliases:  []push.AliasEdit{{Ordinal: 50, Op: push.Add, Alias: push.Alias{Value: "well"}}},
		Previous: []push.Previous{{ID: "another name", Ordinal: 50}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := device(1, 50)
	want.PreviousID = "another name"
	same(t, "the device", find(t, p, 1, 50), []push.DeviceRow{want})
	same(t, "its rows of the feed", changes(t, p)[len(feed):], []string{"1/50 register"})
}

// testHandOver has devices take over what is unique from each other.
func testHandOver(t *testing.T, p *Ports) {
	addSome(t, p, 1, 4)
	// An import is taken over by an install that has a device of its own, which goes.
	own, imported := device(1, 0), device(1, 1)
	imported.Install = own.Install
	imported.Epoch++
	own.Removed, own.PreviousID = noon, ""
	if err := save(t, p, imported, own); err != nil {
		t.Fatalf("an import is taken over: %v", err)
	}
	got, err := p.Devices.FindInstall(t.Context(), 1, imported.Install)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "the device of the install", got, imported)

	// Two swap all that they have.
	a, b := device(1, 2), device(1, 3)
	a.Install, b.Install = b.Install, a.Install
	a.PreviousID, b.PreviousID = b.PreviousID, a.PreviousID
	if err := save(t, p, a, b); err != nil {
		t.Fatalf("two swap: %v", err)
	}
	same(t, "both", find(t, p, 1, 2, 3), []push.DeviceRow{a, b})
	same(t, "by earlier id", holders(t, p, 1, push.Names{Kind: push.ByPrevious, Values: []string{a.PreviousID, b.PreviousID}}),
		[]push.Holder{{Value: a.PreviousID, Ordinal: 2}, {Value: b.PreviousID, Ordinal: 3}})
}

// testChangesAtOnce has many callers want the same, so that their changes share commits.
func testChangesAtOnce(t *testing.T, p *Ports) {
	const callers = 40
	var won atomic.Int32
	var done sync.WaitGroup
	alias := push.Alias{Type: "uid", Value: "1"}
	for o := range push.Ordinal(callers) {
		done.Go(func() {
			d := device(1, o)
			d.Install = [32]byte{7}
			err := p.Devices.ChangeDevices(t.Context(), push.DeviceChange{App: 1, Add: []push.DeviceRow{d}, What: "register"})
			if err == nil {
				won.Add(1)
			} else if !errors.Is(err, push.Conflict) {
				t.Errorf("one install: got %v, want conflict", err)
			}
			d.Ref.Ordinal += callers
			d.Install, d.PreviousID = device(1, d.Ref.Ordinal).Install, ""
			err = p.Devices.ChangeDevices(t.Context(), push.DeviceChange{
				App: 1, Add: []push.DeviceRow{d}, What: "register",
				Aliases: []push.AliasEdit{{Ordinal: d.Ref.Ordinal, Op: push.Put, Alias: alias}},
			})
			if err != nil {
				t.Errorf("one alias: %v", err)
			}
		})
	}
	done.Wait()
	if won.Load() != 1 {
		t.Errorf("devices of one install: got %d, want 1", won.Load())
	}
	if got := holders(t, p, 1, push.Names{Kind: push.ByAlias, Type: "uid", Values: []string{"1"}}); len(got) != 1 {
		t.Errorf("owners of an alias that each put: got %v, want one", got)
	}
	if got := len(changes(t, p)); got != 1+callers+callers-1 {
		t.Errorf("rows of the feed: got %d, want one a device, and one for each that lost the alias", got)
	}
}

// scanIndex returns what ScanIndex yields, in order of devices.
func scanIndex(t *testing.T, p *Ports, app push.AppID) []push.IndexRow {
	t.Helper()
	var mu sync.Mutex
	var all []push.IndexRow
	err := p.Devices.ScanIndex(t.Context(), app, func(r push.IndexRow) error {
		r.Attributes, r.Tags = slices.Clone(r.Attributes), slices.Clone(r.Tags)
		mu.Lock()
		defer mu.Unlock()
		all = append(all, r)
		return nil
	})
	if err != nil {
		t.Fatalf("scan the index: %v", err)
	}
	slices.SortFunc(all, func(a, b push.IndexRow) int {
		return cmp.Or(cmp.Compare(a.Ref.App, b.Ref.App), cmp.Compare(a.Ref.Ordinal, b.Ref.Ordinal))
	})
	return all
}

func testScan(t *testing.T, p *Ports) {
	const n = 5000 // more than one read takes
	for _, app := range []push.AppID{1, 2} {
		var rows []push.DeviceRow
		for o := range push.Ordinal(n) {
			d := device(app, o)
			d.Attributes = map[string]string{"city": fmt.Sprint(o % 300), "channel": "c", "model": fmt.Sprint(o)}
			d.Account, d.TagIDs = "", []push.TagID{push.TagID(o%50 + 1)}
			rows = append(rows, d)
		}
		far := device(app, 200_000) // some chunks on
		far.Unbound, far.Blacklisted, far.Phone, far.Tokens = noon, true, "", nil
		far.Bound, far.Test, far.Epoch = time.Time{}, false, 0
		gone := device(app, 1<<32-1)
		gone.Removed, gone.Account, gone.Phone, gone.PreviousID = noon, "", "", ""
		add(t, p, append(rows, far, gone)...)
	}
	want := func(apps ...push.AppID) (all []push.IndexRow) {
		t.Helper()
		for _, app := range apps {
			ordinals := []push.Ordinal{200_000, 1<<32 - 1}
			for o := range push.Ordinal(n) {
				ordinals = append(ordinals, o)
			}
			for _, d := range find(t, p, app, ordinals...) {
				row := d.Index()
				if row.Removed {
					row = push.IndexRow{Ref: row.Ref, Epoch: row.Epoch, Removed: true}
				}
				slices.SortFunc(row.Attributes, func(a, b push.Attribute) int { return cmp.Compare(a.Name, b.Name) })
				all = append(all, row)
			}
		}
		return all
	}
	scan := func(app push.AppID) []push.IndexRow {
		t.Helper()
		all := scanIndex(t, p, app)
		for i, r := range all {
			if r.Removed { // of those nothing else counts
				all[i] = push.IndexRow{Ref: r.Ref, Epoch: r.Epoch, Removed: true}
			}
		}
		return all
	}
	same(t, "all apps", scan(0), want(1, 2))
	same(t, "one app", scan(2), want(2))
	same(t, "an app without devices", len(scan(3)), 0)

	enough := errors.New("enough")
	var yielded atomic.Int32
	err := p.Devices.ScanIndex(t.Context(), 0, func(push.IndexRow) error {
		if yielded.Add(1) > 100 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || yielded.Load() > n {
		t.Errorf("until yield fails: got %v after %d devices, want the error soon after 100", err, yielded.Load())
	}
}

// changes returns the feed as texts, and fails t if its sequences do not grow.
func changes(t *testing.T, p *Ports) []string {
	t.Helper()
	all, err := p.Feed.Changes(t.Context(), 0, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	var feed []string
	last := int64(0)
	for _, c := range all {
		if c.Seq <= last {
			t.Errorf("sequence %d after %d", c.Seq, last)
		}
		last = c.Seq
		feed = append(feed, fmt.Sprintf("%d/%d %s", c.App, c.Ordinal, c.What))
	}
	return feed
}

func testChanges(t *testing.T, p *Ports) {
	ctx := t.Context()
	last, before, err := p.Feed.LastChange(ctx)
	if err != nil || last != 0 || before != 0 {
		t.Errorf("the ends of an empty feed: got %d, %d, %v, want 0", last, before, err)
	}
	addSome(t, p, 1, 3)
	if err := save(t, p, device(1, 1)); err != nil {
		t.Fatal(err)
	}
	if err := p.Devices.ChangeDevices(ctx, push.DeviceChange{App: 1, Add: []push.DeviceRow{device(1, 1)}}); err == nil {
		t.Fatal("a device twice: got no error")
	}
	// An alias moves: its loser has a row too, and an edit that changes nothing has none.
	for _, e := range []push.AliasEdit{
		{Ordinal: 0, Op: push.Add, Alias: push.Alias{Value: "a"}},
		{Ordinal: 0, Op: push.Add, Alias: push.Alias{Value: "a"}},
		{Ordinal: 2, Op: push.Put, Alias: push.Alias{Value: "a"}},
		{Ordinal: 1, Op: push.Delete, Alias: push.Alias{Value: "a"}},
	} {
		if err := p.Devices.ChangeDevices(ctx, push.DeviceChange{App: 1, Aliases: []push.AliasEdit{e}, What: "edit"}); err != nil {
			t.Fatal(err)
		}
	}
	// A device that changes in several ways has one.
	err = p.Devices.ChangeDevices(ctx, push.DeviceChange{
		App: 1, Save: []push.DeviceRow{device(1, 2)}, Aliases: []push.AliasEdit{{Ordinal: 2, Op: push.Delete}}, What: "both",
	})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "the feed", changes(t, p), []string{
		"1/0 register", "1/1 register", "1/2 register", "1/1 attributes", "1/0 edit", "1/0 aliases", "1/2 edit", "1/2 both",
	})
	all, err := p.Feed.Changes(ctx, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	rest, err := p.Feed.Changes(ctx, all[1].Seq, 1)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "one after the second", rest, all[2:3])
	last, before, err = p.Feed.LastChange(ctx)
	if err != nil || last != all[len(all)-1].Seq || before != 0 {
		t.Errorf("the ends: got %d, %d, %v, want %d, 0", last, before, err, all[len(all)-1].Seq)
	}
}

// testChangesBytes reads rows that say much one page after another.
func testChangesBytes(t *testing.T, p *Ports) {
	ctx := t.Context()
	const n, size = 40, 2000 // each in a chunk of its own: 40 KB a row
	var rows []push.DeviceRow
	var ordinals []push.Ordinal
	for i := range push.Ordinal(size) {
		d := device(1, i<<16+7)
		rows, ordinals = append(rows, d), append(ordinals, d.Ref.Ordinal)
	}
	add(t, p, rows...)
	last, _, err := p.Feed.LastChange(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i := range push.Day(n) {
		if err := p.Activity.Touch(ctx, 1, push.DayOf(noon)+1+i, ordinals); err != nil {
			t.Fatal(err)
		}
	}
	if err := save(t, p, rows[0]); err != nil {
		t.Fatal(err)
	}
	var all []push.Change
	pages := 0
	for {
		page, err := p.Feed.Changes(ctx, last, 4096)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		bytes := 0
		for _, c := range page {
			for _, chunk := range c.Devices {
				bytes += len(chunk.Bits)
			}
		}
		if bytes > 1<<20 {
			t.Errorf("a page of %d rows has %d bytes, want at most 1 MiB", len(page), bytes)
		}
		pages++
		all, last = append(all, page...), page[len(page)-1].Seq
	}
	if len(all) != n+1 || pages < 2 || pages > 5 {
		t.Fatalf("got %d rows in %d pages, want %d in few", len(all), pages, n+1)
	}
	for i, c := range all[:n] {
		set, err := ordset.FromChunks(c.Devices)
		if err != nil || c.What != "active" || c.Day != push.DayOf(noon)+1+push.Day(i) || set.Len() != size {
			t.Errorf("row %d: got %q of day %d with %d devices, %v", i, c.What, c.Day, set.Len(), err)
		}
	}
	same(t, "the row after them", all[n].What, "attributes")
}

// testChangesOver follows the feed to its end. Changes are made at the time of the machine's clock.
func testChangesOver(t *testing.T, p *Ports) {
	ctx := t.Context()
	addSome(t, p, 1, 700) // more than one commit removes
	made := time.Now()
	feed := func(when string, want int) []push.Change {
		t.Helper()
		all, err := p.Feed.Changes(ctx, 0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		same(t, when, len(all), want)
		return all
	}
	sweep := func(now time.Time) {
		t.Helper()
		if _, err := p.Inbox.Sweep(ctx, now, 10); err != nil {
			t.Fatal(err)
		}
	}
	sweep(made.Add(29 * 24 * time.Hour))
	old := feed("after 29 days", 700)
	sweep(made.Add(31 * 24 * time.Hour))
	feed("after 31 days", 0)
	newest := old[len(old)-1].Seq
	ends := func(when string, wantLast, wantBefore int64) {
		t.Helper()
		last, before, err := p.Feed.LastChange(ctx)
		if err != nil || last != wantLast || before != wantBefore {
			t.Errorf("the ends %s: got %d, %d, %v, want %d, %d", when, last, before, err, wantLast, wantBefore)
		}
	}
	ends("of what has gone", newest, newest)
	// A sequence is never used again, also when all rows have gone.
	p = p.Reopen(t)
	ends("after a restart", newest, newest)
	add(t, p, device(1, 9999))
	got := feed("after one more change", 1)
	if len(got) == 1 && got[0].Seq <= newest {
		t.Errorf("sequence %d after %d", got[0].Seq, newest)
	}
	ends("after one more change", got[0].Seq, newest)
}

func testTouch(t *testing.T, p *Ports) {
	ctx := t.Context()
	addSome(t, p, 1, 3)
	gone := device(1, 3)
	gone.Removed, gone.PreviousID = noon, ""
	add(t, p, gone, device(1, 100_000))
	tomorrow := push.DayOf(noon) + 1
	before := len(changes(t, p))
	if err := p.Activity.Touch(ctx, 1, tomorrow, []push.Ordinal{0, 2, 2, 3, 77, 100_000}); err != nil {
		t.Fatal(err)
	}
	for _, day := range []push.Day{tomorrow - 3, tomorrow} { // no news
		if err := p.Activity.Touch(ctx, 1, day, []push.Ordinal{0, 2}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Activity.Touch(ctx, 1, tomorrow, nil); err != nil {
		t.Fatal(err)
	}
	// A save with an older time does not take the day back.
	if err := save(t, p, device(1, 2)); err != nil {
		t.Fatal(err)
	}
	at := time.Unix(int64(tomorrow)*24*60*60, 0).UTC()
	for i, want := range []time.Time{at, noon, at, noon, at} {
		if d := find(t, p, 1, 0, 1, 2, 3, 100_000)[i]; !d.LastActive.Equal(want) {
			t.Errorf("device %d: last active %v, want %v", d.Ref.Ordinal, d.LastActive, want)
		}
	}
	for _, r := range scanIndex(t, p, 1) {
		want := tomorrow
		if r.Ref.Ordinal == 1 || r.Removed {
			want--
		}
		same(t, fmt.Sprintf("day of %d in the index", r.Ref.Ordinal), r.Active, want)
	}
	all, err := p.Feed.Changes(ctx, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != before+2 {
		t.Fatalf("rows of the feed: got %d, want one for the first touch and one for the save", len(all)-before)
	}
	row := all[before]
	set, err := ordset.FromChunks(row.Devices)
	if err != nil || row.What != "active" || row.Day != tomorrow || row.App != 1 {
		t.Fatalf("the row: got %+v, %v, want active on day %d", row, err, tomorrow)
	}
	same(t, "its devices", slices.Collect(set.All()), []push.Ordinal{0, 2, 100_000})
}
