package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

func testApps(t *testing.T, p *Ports) {
	ctx := t.Context()
	want := push.App{
		Name: "demo", TimeZone: "Asia/Shanghai", Created: noon,
		Packages: map[push.Platform]string{push.Android: "com.example"}, Settings: push.Settings{push.SettingInboxLimit: "7"},
	}
	creds := []push.Credential{
		{Service: "native", Key: "n1", Sealed: []byte{1, 2}},
		{Service: "aliyun", Key: "shared", Shared: true, Sealed: []byte{3}, Expires: noon.Add(time.Hour)},
	}
	got, err := p.Apps.CreateApp(ctx, want, creds)
	if err != nil {
		t.Fatal(err)
	}
	want.ID = got.ID
	same(t, "the app", got, want)
	for i := range creds {
		creds[i].App = got.ID
	}
	_, err = p.Apps.CreateApp(ctx, push.App{Name: "demo"}, nil)
	fails(t, "a name that is taken", err, push.Conflict, "name")
	_, err = p.Apps.CreateApp(ctx, push.App{Name: "other"}, []push.Credential{{Service: "device", Key: "d"}, {Service: "native", Key: "n1"}})
	fails(t, "a key that is taken", err, push.Conflict, "native")
	_, err = p.Apps.CreateApp(ctx, push.App{Name: "other"}, []push.Credential{{Service: "aliyun", Key: "shared"}})
	fails(t, "a shared key, not shared", err, push.Conflict, "aliyun")

	// What the refused app had brought is not there: its name and the other key are free.
	other, err := p.Apps.CreateApp(ctx, push.App{Name: "other", Created: noon}, []push.Credential{
		{Service: "device", Key: "d", Sealed: []byte{8}}, {Service: "aliyun", Key: "shared", Shared: true, Sealed: []byte{9}},
	})
	if err != nil || other.ID <= got.ID {
		t.Fatalf("the second app: got %d, %v, want an id above %d", other.ID, err, got.ID)
	}
	fails(t, "a name that is taken", p.Apps.UpdateApp(ctx, push.App{ID: other.ID, Name: "demo"}), push.Conflict, "name")
	fails(t, "no such app", p.Apps.UpdateApp(ctx, push.App{ID: 99, Name: "x"}), push.NotFound, "")
	want.Name, want.Settings = "renamed", push.Settings{push.SettingDisabled: "true"}
	if err := p.Apps.UpdateApp(ctx, want); err != nil {
		t.Fatal(err)
	}
	creds[0].Sealed = []byte{7, 7}
	added := push.Credential{App: got.ID, Service: "native", Key: "n2", Sealed: []byte{5}}
	if err := p.Apps.PutCredentials(ctx, []push.Credential{creds[0], added}); err != nil {
		t.Fatal(err)
	}
	err = p.Apps.PutCredentials(ctx, []push.Credential{{App: other.ID, Service: "umeng.android", Key: "u"}, {App: other.ID, Service: "native", Key: "n2"}})
	fails(t, "credentials of another app", err, push.Conflict, "native")
	err = p.Apps.PutCredentials(ctx, []push.Credential{{App: 99, Service: "native", Key: "z"}})
	fails(t, "credentials of no app", err, push.NotFound, "")

	apps, all, err := p.Apps.Apps(ctx)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "apps", apps, []push.App{want, other})
	same(t, "credentials", all, []push.Credential{
		creds[1], creds[0], added,
		{App: other.ID, Service: "aliyun", Key: "shared", Shared: true, Sealed: []byte{9}},
		{App: other.ID, Service: "device", Key: "d", Sealed: []byte{8}},
	})

	// A key that has expired gives way to another app's.
	old := push.Credential{App: got.ID, Service: "native", Key: "old", Sealed: []byte{5}, Expires: noon.Add(-time.Hour)}
	if err := p.Apps.PutCredentials(ctx, []push.Credential{old}); err != nil {
		t.Fatal(err)
	}
	if err := p.Apps.PutCredentials(ctx, []push.Credential{{App: other.ID, Service: "native", Key: "old"}}); err != nil {
		t.Errorf("a key that has expired: %v", err)
	}
}

func testDeleteApp(t *testing.T, p *Ports) {
	ctx := t.Context()
	app, err := p.Apps.CreateApp(ctx, push.App{Name: "gone"}, []push.Credential{{Service: "native", Key: "k"}})
	if err != nil {
		t.Fatal(err)
	}
	stays, err := p.Apps.CreateApp(ctx, push.App{Name: "stays"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	gone, kept := direct(app.ID, 24*time.Hour, 1, 2), direct(stays.ID, 24*time.Hour, 1)
	all := bulk(app.ID, push.Accepted, 24*time.Hour)
	accept(t, p, gone, kept, all)
	for _, id := range []push.AppID{app.ID, stays.ID} {
		if err := p.Devices.AddDevice(ctx, device(id, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Apps.DeleteApp(ctx, app.ID); err != nil {
		t.Fatal(err)
	}
	fails(t, "delete again", p.Apps.DeleteApp(ctx, app.ID), push.NotFound, "")
	for _, id := range []push.ID{gone.Push.ID, all.Push.ID} {
		_, err := p.Record.Find(ctx, app.ID, id)
		fails(t, "its push", err, push.NotFound, "")
	}
	_, err = p.Devices.FindDevice(ctx, app.ID, 1)
	fails(t, "its device", err, push.NotFound, "")
	same(t, "what its device is owed", owed(t, p, app.ID, 1, noon), []push.ID{})
	same(t, "live pushes", live(t, p), nil)
	// Receipts that were under way are folded when nothing is there to count them for.
	if err := p.Report.Fold(ctx, push.Fold{Chunks: []push.FoldedChunk{{Push: all.Push.ID, Mark: push.MarkSent, Chunk: chunks(t, 1)[0]}}}); err != nil {
		t.Fatal(err)
	}
	sets, err := p.Report.Sets(ctx, all.Push.ID)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "sets of its push", len(sets), 0)
	same(t, "what the other app's device is owed", owed(t, p, stays.ID, 1, noon), []push.ID{kept.Push.ID})
	if _, err := p.Devices.FindDevice(ctx, stays.ID, 1); err != nil {
		t.Errorf("the other app's device: %v", err)
	}
	// Its name and key are free; its id is not, since ids of devices hold it.
	again, err := p.Apps.CreateApp(ctx, push.App{Name: "gone"}, []push.Credential{{Service: "native", Key: "k"}})
	if err != nil || again.ID <= stays.ID {
		t.Errorf("the same again: got id %d, %v, want one above %d", again.ID, err, stays.ID)
	}
}

// device returns a device with something in every part.
func device(app push.AppID, o push.Ordinal) push.DeviceRow {
	d := push.DeviceRow{Epoch: 3}
	d.Ref = push.Ref{App: app, Ordinal: o, Generation: 1, Platform: push.IOS}
	d.App, d.Platform = app, push.IOS
	d.Attributes = map[string]string{"app_version": "2.1.0", "city": "杭州"}
	d.Tokens = map[string]push.Token{"apns": {Token: "t", Env: "sandbox"}}
	d.Phone, d.Network = "+8613800000000", push.WiFi
	d.Marks = push.Marks{Test: true, Badge: 4}
	d.Registered, d.LastActive = noon, noon
	copy(d.Install[:], fmt.Sprintf("install %d of %d", o, app))
	return d
}

func testDevices(t *testing.T, p *Ports) {
	ctx := t.Context()
	d := device(1, 10)
	if err := p.Devices.AddDevice(ctx, d); err != nil {
		t.Fatal(err)
	}
	got, err := p.Devices.FindDevice(ctx, 1, 10)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "the device", got, d)
	got, err = p.Devices.FindInstall(ctx, 1, d.Install)
	if err != nil || got.Ref != d.Ref {
		t.Errorf("by install: got %v, %v, want %v", got.Ref, err, d.Ref)
	}
	_, err = p.Devices.FindInstall(ctx, 2, d.Install)
	fails(t, "the install in another app", err, push.NotFound, "")
	_, err = p.Devices.FindDevice(ctx, 1, 11)
	fails(t, "another ordinal", err, push.NotFound, "")

	twin := device(1, 11)
	twin.Install = d.Install
	fails(t, "an install that is registered", p.Devices.AddDevice(ctx, twin), push.Conflict, "install_id")
	taken := device(1, 10)
	taken.Install = [32]byte{9}
	fails(t, "an ordinal that is taken", p.Devices.AddDevice(ctx, taken), push.Conflict, "ordinal")
	fails(t, "save what is not there", p.Devices.SaveDevice(ctx, device(1, 12), "tokens"), push.NotFound, "")

	d.Attributes, d.Tokens, d.Phone, d.Network = nil, nil, "", ""
	d.Marks, d.Epoch = push.Marks{Blacklisted: true, Reset: true}, 4
	d.LastActive = noon.Add(time.Hour)
	if err := p.Devices.SaveDevice(ctx, d, "attributes"); err != nil {
		t.Fatal(err)
	}
	if got, err = p.Devices.FindDevice(ctx, 1, 10); err != nil {
		t.Fatal(err)
	}
	same(t, "once saved", got, d)

	d.Removed = noon.Add(2 * time.Hour)
	if err := p.Devices.SaveDevice(ctx, d, "remove"); err != nil {
		t.Fatal(err)
	}
	_, err = p.Devices.FindInstall(ctx, 1, d.Install)
	fails(t, "the install of a removed device", err, push.NotFound, "")
	if got, err = p.Devices.FindDevice(ctx, 1, 10); err != nil {
		t.Fatal(err)
	}
	same(t, "once removed", got, d)
	if err := p.Devices.AddDevice(ctx, twin); err != nil {
		t.Errorf("the install again, once it is free: %v", err)
	}
	d.Removed = time.Time{}
	fails(t, "back while the install is another's", p.Devices.SaveDevice(ctx, d, "register"), push.Conflict, "install_id")
	next := device(1, 10)
	next.Ref.Generation, next.Install = 2, [32]byte{8}
	next.LastActive = d.LastActive
	if err := p.Devices.AddDevice(ctx, next); err != nil {
		t.Errorf("a later generation of a removed device's ordinal: %v", err)
	}
	if got, err = p.Devices.FindDevice(ctx, 1, 10); err != nil {
		t.Fatal(err)
	}
	same(t, "the later generation", got, next)
}

func testScan(t *testing.T, p *Ports) {
	ctx := t.Context()
	const n = 1500 // more than one read takes
	failed := make(chan error, 2*n)
	for _, app := range []push.AppID{1, 2} {
		for o := range push.Ordinal(n) {
			go func() { failed <- p.Devices.AddDevice(ctx, device(app, o)) }()
		}
	}
	for range 2 * n {
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
	}
	scan := func(app push.AppID, from push.Ordinal, most int) (all []push.DeviceRow) {
		t.Helper()
		err := p.Devices.ScanDevices(ctx, app, from, true, func(d push.DeviceRow) bool {
			all = append(all, d)
			return len(all) < most
		})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	for _, tt := range []struct {
		name        string
		app         push.AppID
		from        push.Ordinal
		most        int
		want        int
		first, last push.Ref
	}{
		{"all apps", 0, 0, 9999, 2 * n, device(1, 0).Ref, device(2, n-1).Ref},
		{"one app", 2, 0, 9999, n, device(2, 0).Ref, device(2, n-1).Ref},
		{"from an ordinal on", 1, 1400, 9999, 100, device(1, 1400).Ref, device(1, n-1).Ref},
		{"until yield says no", 1, 0, 3, 3, device(1, 0).Ref, device(1, 2).Ref},
	} {
		t.Run(tt.name, func(t *testing.T) {
			all := scan(tt.app, tt.from, tt.most)
			if len(all) != tt.want || all[0].Ref != tt.first || all[len(all)-1].Ref != tt.last {
				t.Errorf("got %d devices, want %d from %v to %v", len(all), tt.want, tt.first, tt.last)
			}
		})
	}
	lean := device(1, 7)
	lean.Attributes, lean.Tokens, lean.Phone = nil, nil, ""
	same(t, "a lean device", scan(1, 7, 1)[0], lean)
}

func testChanges(t *testing.T, p *Ports) {
	ctx := t.Context()
	for o := range push.Ordinal(3) {
		if err := p.Devices.AddDevice(ctx, device(1, o)); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Devices.SaveDevice(ctx, device(1, 1), "tokens"); err != nil {
		t.Fatal(err)
	}
	if err := p.Devices.AddDevice(ctx, device(1, 1)); err == nil {
		t.Fatal("a device twice: got no error")
	}
	all, err := p.Changes(ctx, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	last := int64(0)
	for _, c := range all {
		if c.Seq <= last {
			t.Errorf("sequence %d after %d", c.Seq, last)
		}
		last = c.Seq
		got = append(got, fmt.Sprintf("%d/%d %s", c.App, c.Ordinal, c.What))
	}
	same(t, "the feed", got, []string{"1/0 register", "1/1 register", "1/2 register", "1/1 tokens"})
	rest, err := p.Changes(ctx, all[1].Seq, 1)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "one after the second", rest, all[2:3])
}

// testChangesOver follows the feed to its end. Changes are made at the time of the machine's clock.
func testChangesOver(t *testing.T, p *Ports) {
	ctx := t.Context()
	for o := range push.Ordinal(3) {
		if err := p.Devices.AddDevice(ctx, device(1, o)); err != nil {
			t.Fatal(err)
		}
	}
	made := time.Now()
	feed := func(when string, want int) []push.Change {
		t.Helper()
		all, err := p.Changes(ctx, 0, 100)
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
	old := feed("after 29 days", 3)
	sweep(made.Add(31 * 24 * time.Hour))
	feed("after 31 days", 0)
	// A sequence is never used again, also when all rows have gone.
	p = p.Reopen(t)
	if err := p.Devices.AddDevice(ctx, device(1, 3)); err != nil {
		t.Fatal(err)
	}
	if got := feed("after one more change", 1); len(got) == 1 && got[0].Seq <= old[2].Seq {
		t.Errorf("sequence %d after %d", got[0].Seq, old[2].Seq)
	}
}

func testTouch(t *testing.T, p *Ports) {
	ctx := t.Context()
	for o := range push.Ordinal(3) {
		if err := p.Devices.AddDevice(ctx, device(1, o)); err != nil {
			t.Fatal(err)
		}
	}
	tomorrow := push.DayOf(noon) + 1
	if err := p.Activity.Touch(ctx, 1, tomorrow, []push.Ordinal{0, 2, 77}); err != nil {
		t.Fatal(err)
	}
	if err := p.Activity.Touch(ctx, 1, tomorrow-3, []push.Ordinal{0, 1}); err != nil {
		t.Fatal(err)
	}
	// A save with an older time does not take the day back.
	if err := p.Devices.SaveDevice(ctx, device(1, 2), "marks"); err != nil {
		t.Fatal(err)
	}
	at := time.Unix(int64(tomorrow)*24*60*60, 0).UTC()
	for o, want := range []time.Time{at, noon, at} {
		d, err := p.Devices.FindDevice(ctx, 1, push.Ordinal(o))
		if err != nil || !d.LastActive.Equal(want) {
			t.Errorf("device %d: last active %v, %v, want %v", o, d.LastActive, err, want)
		}
	}
}

func testMeta(t *testing.T, p *Ports) {
	ctx := t.Context()
	_, err := p.Meta.Meta(ctx, "k")
	fails(t, "a key that is not there", err, push.NotFound, "")
	for _, v := range []string{"one", "two", ""} {
		if err := p.Meta.PutMeta(ctx, "k", []byte(v)); err != nil {
			t.Fatal(err)
		}
		got, err := p.Meta.Meta(ctx, "k")
		if err != nil || string(got) != v {
			t.Errorf("value: got %q, %v, want %q", got, err, v)
		}
	}
	if empty, err := p.Meta.Empty(ctx); err != nil || !empty {
		t.Errorf("empty: got %v, %v, want true", empty, err)
	}
	if _, err := p.Apps.CreateApp(ctx, push.App{Name: "a"}, nil); err != nil {
		t.Fatal(err)
	}
	if empty, err := p.Meta.Empty(ctx); err != nil || empty {
		t.Errorf("empty with an app: got %v, %v, want false", empty, err)
	}
}

func testRestart(t *testing.T, p *Ports) {
	ctx := t.Context()
	app, err := p.Apps.CreateApp(ctx, push.App{Name: "a", Settings: push.Settings{push.SettingInboxLimit: "3"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Devices.AddDevice(ctx, device(app.ID, 1)); err != nil {
		t.Fatal(err)
	}
	one, two := direct(app.ID, 24*time.Hour, 1, 2), direct(app.ID, 72*time.Hour, 1)
	accept(t, p, one, two, bulk(app.ID, push.Scheduled, time.Hour))
	if err := p.Receipts.Receive(ctx, push.Receipt{App: app.ID, Push: one.Push.ID, Ordinal: 1, Mark: push.MarkDelivered, Day: push.DayOf(one.Push.Expires)}); err != nil {
		t.Fatal(err)
	}
	type state struct {
		Owed1, Owed2 []push.ID
		Live         []push.Live
		Log          []push.Logged
		Device       push.DeviceRow
		Newest       push.ID
	}
	look := func(p *Ports) state {
		t.Helper()
		s := state{Owed1: owed(t, p, app.ID, 1, noon), Owed2: owed(t, p, app.ID, 2, noon), Live: live(t, p), Log: unfolded(t, p)}
		var err error
		if s.Device, err = p.Devices.FindDevice(ctx, app.ID, 1); err != nil {
			t.Fatal(err)
		}
		if s.Newest, err = p.Record.Newest(ctx); err != nil {
			t.Fatal(err)
		}
		return s
	}
	before := look(p)
	same(t, "owed", before.Owed1, []push.ID{two.Push.ID})
	p = p.Reopen(t)
	same(t, "after a restart", look(p), before)

	// The limit of inboxes is known again, before anything is accepted.
	for range 3 {
		a := direct(app.ID, 24*time.Hour, 1)
		a.Limit = 0
		accept(t, p, a)
	}
	if n := len(owed(t, p, app.ID, 1, noon)); n != 3 {
		t.Errorf("owed with a limit of 3: got %d", n)
	}
}
