package storetest

import (
	"context"
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
	for _, id := range []push.AppID{stays.ID, app.ID} {
		err := p.Devices.ChangeDevices(ctx, push.DeviceChange{
			App: id, Add: []push.DeviceRow{device(id, 1)}, Tags: []push.Tag{{App: id, ID: 1, Name: "tag"}}, What: "register",
			Aliases: []push.AliasEdit{edit(push.Add, 1, "", "alias")},
		})
		if err != nil {
			t.Fatal(err)
		}
		upload(t, p, id, "file", noon.Add(time.Hour), "a\n")
		upload(t, p, id, "never", noon.Add(time.Hour), "b\n")
		if err := p.Files.AddFile(ctx, push.File{App: id, ID: "file", Expires: noon.Add(time.Hour)}, 0); err != nil {
			t.Fatal(err)
		}
	}
	feed := changes(t, p)
	if err := p.Apps.DeleteApp(ctx, app.ID); err != nil {
		t.Fatal(err)
	}
	fails(t, "delete again", p.Apps.DeleteApp(ctx, app.ID), push.NotFound, "")
	for _, id := range []push.ID{gone.Push.ID, all.Push.ID} {
		_, err := p.Record.Find(ctx, app.ID, id)
		fails(t, "its push", err, push.NotFound, "")
	}
	same(t, "its device", len(find(t, p, app.ID, 1)), 0)
	same(t, "its aliases", len(aliases(t, p, app.ID, 1)), 0)
	tags, err := p.Labels.Tags(ctx)
	if err != nil || len(tags) != 1 || tags[0].App != stays.ID {
		t.Errorf("tags: got %v, %v, want the other app's", tags, err)
	}
	_, err = parts(t, p, app.ID, "file")
	fails(t, "its file", err, push.NotFound, "")
	if n, err := p.Files.SweepFiles(ctx, noon.Add(time.Hour), 100); err != nil || n != 2 {
		t.Errorf("parts of files that are left: got %d, %v, want the other app's 2", n, err)
	}
	same(t, "the feed", changes(t, p), feed)
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
	same(t, "the other app's device", len(find(t, p, stays.ID, 1)), 1)
	same(t, "its aliases", aliases(t, p, stays.ID, 1), map[push.Ordinal][]string{1: {":alias"}})
	// Its name and key are free; its id is not, since ids of devices hold it.
	again, err := p.Apps.CreateApp(ctx, push.App{Name: "gone"}, []push.Credential{{Service: "native", Key: "k"}})
	if err != nil || again.ID <= stays.ID {
		t.Errorf("the same again: got id %d, %v, want one above %d", again.ID, err, stays.ID)
	}
}

// testNoApp has rows come for an app that was deleted meanwhile, and for one that never was.
func testNoApp(t *testing.T, p *Ports) {
	ctx := t.Context()
	gone, err := p.Apps.CreateApp(ctx, push.App{Name: "gone"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	add(t, p, device(gone.ID, 1))
	if err := p.Apps.DeleteApp(ctx, gone.ID); err != nil {
		t.Fatal(err)
	}
	feed := changes(t, p)
	for _, app := range []push.AppID{gone.ID, 77} {
		tag := push.Tag{App: app, ID: 1, Name: "x"}
		for what, err := range map[string]error{
			"a device":          p.Devices.ChangeDevices(ctx, push.DeviceChange{App: app, Add: []push.DeviceRow{device(app, 2)}, Tags: []push.Tag{tag}}),
			"an alias":          p.Devices.ChangeDevices(ctx, push.DeviceChange{App: app, Aliases: []push.AliasEdit{edit(push.Delete, 1, "", "a")}}),
			"a tag":             p.Labels.AddTag(ctx, tag),
			"a part of a file":  p.Files.AddFilePart(ctx, app, "f", 0, []byte("a\n"), noon.Add(time.Hour)),
			"a file":            p.Files.AddFile(ctx, push.File{App: app, ID: "f", Created: noon, Expires: noon.Add(time.Hour)}, 0),
			"a file in a limit": p.Files.AddFile(ctx, push.File{App: app, ID: "g", Created: noon, Expires: noon.Add(time.Hour)}, 1),
		} {
			fails(t, what, err, push.NotFound, "app")
		}
		same(t, "devices", len(find(t, p, app, 1, 2)), 0)
	}
	same(t, "devices of all apps", len(scanIndex(t, p, 0)), 0)
	same(t, "the feed", changes(t, p), feed)
	tags, err := p.Labels.Tags(ctx)
	if err != nil || len(tags) != 0 {
		t.Errorf("tags: got %v, %v, want none", tags, err)
	}
	if n, err := p.Files.SweepFiles(ctx, noon.Add(24*time.Hour), 10); err != nil || n != 0 {
		t.Errorf("parts of files: got %d, %v, want 0", n, err)
	}
}

func testRecordID(t *testing.T, p *Ports) {
	ids := make(chan [16]byte, 8)
	for range 8 { // the first calls may come together
		go func() {
			id, err := p.Feed.RecordID(context.Background())
			if err != nil {
				t.Errorf("the record's id: %v", err)
			}
			ids <- id
		}()
	}
	first := <-ids
	for range 7 {
		same(t, "the id at another call", <-ids, first)
	}
	if first == [16]byte{} {
		t.Error("the id is zero")
	}
	again, err := p.Reopen(t).Feed.RecordID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	same(t, "the id after a restart", again, first)
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
	add(t, p, device(app.ID, 1))
	one, two := direct(app.ID, 24*time.Hour, 1, 2), direct(app.ID, 72*time.Hour, 1)
	accept(t, p, one, two, bulk(app.ID, push.Scheduled, time.Hour))
	if err := p.Receipts.Receive(ctx, push.Receipt{App: app.ID, Push: one.Push.ID, Ordinal: 1, Mark: push.MarkDelivered, Day: push.DayOf(one.Push.Expires)}); err != nil {
		t.Fatal(err)
	}
	type state struct {
		Owed1, Owed2 []push.ID
		Live         []push.Live
		Log          []push.Logged
		Devices      []push.DeviceRow
		Newest       push.ID
	}
	look := func(p *Ports) state {
		t.Helper()
		s := state{Owed1: owed(t, p, app.ID, 1, noon), Owed2: owed(t, p, app.ID, 2, noon), Live: live(t, p), Log: unfolded(t, p)}
		var err error
		s.Devices = find(t, p, app.ID, 1)
		if s.Newest, err = p.Pushes.Newest(ctx); err != nil {
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
