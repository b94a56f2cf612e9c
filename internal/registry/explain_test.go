package registry_test

import (
	"strings"
	"testing"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

func TestExplain(t *testing.T) {
	h, all := crowd(t)
	h.pushes = map[push.ID]*ordset.Set{7: ordset.Of(1)}
	h.Presence(all[1].Ref, true)
	file := func(lines ...string) string {
		f, err := h.AddFile(t.Context(), 1, strings.NewReader(strings.Join(lines, "\n")))
		if err != nil {
			t.Fatal(err)
		}
		return string(f.ID)
	}
	where := func(expr string) push.Audience {
		w, err := push.ParseWhere([]byte(expr))
		if err != nil {
			t.Fatal(err)
		}
		return push.Audience{Where: &w}
	}
	devices, uids := &push.FileOf{Devices: true}, &push.FileOf{Alias: "uid"}
	ids := file("x", string(all[0].DeviceID), "333")
	aliases := file("shared", "y")
	android := []push.Platform{push.Android}
	for _, tt := range []struct {
		name string
		a    push.Audience
		o    push.Ordinal
		want string // the leaf, "" if it holds
	}{
		{"everybody", push.Audience{All: true}, 0, ""},
		{"everybody of another platform", push.Audience{All: true, Platforms: android}, 3, "platforms"},
		{"everybody of the platform", push.Audience{All: true, Platforms: android}, 0, ""},
		{"a device", push.Audience{Devices: []string{"333", string(all[1].ChannelID)}}, 1, ""},
		{"a device by its earlier id", push.Audience{Devices: []string{"333", string(all[1].ChannelID)}}, 3, ""},
		{"another device", push.Audience{Devices: []string{"333", string(all[1].ChannelID), "nobody"}}, 0, "devices"},
		{"a device of another platform", push.Audience{Devices: []string{"333"}, Platforms: android}, 3, "platforms"},
		{"an alias", push.Audience{Aliases: &push.Aliases{Type: "uid", Values: []string{"nobody", "one"}}}, 1, ""},
		{"an alias of another type", push.Audience{Aliases: &push.Aliases{Type: "uid", Values: []string{"shared"}}}, 0, "aliases"},
		{"an account", push.Audience{Accounts: []string{"eve", "ann"}}, 3, ""},
		{"another account", push.Audience{Accounts: []string{"eve", "ann"}}, 0, "accounts"},
		{"in a file of devices", push.Audience{File: ids, Of: devices}, 0, ""},
		{"in a file of devices by its earlier id", push.Audience{File: ids, Of: devices}, 3, ""},
		{"in no line of the file", push.Audience{File: ids, Of: devices}, 1, "file"},
		{"in a file of aliases", push.Audience{File: aliases, Of: uids}, 1, ""},
		{"in a file of aliases of another type", push.Audience{File: aliases, Of: uids}, 0, "file"},
		{"a tag", where(`{"tag": "vip"}`), 1, ""},
		{"no tag", where(`{"tag": "vip"}`), 0, "where.tag"},
		{"an alias in an expression", where(`{"and": [{"tag": "vip"}, {"alias": {"type": "uid", "values": ["one"]}}]}`), 1, ""},
		{"an account in an expression", where(`{"and": [{"account": ["bob"]}, {"not": {"account": ["bob"]}}]}`), 0, "where.and[1].not.account"},
		{"in a push's target", where(`{"targeted": "7"}`), 1, ""},
		{"not in a push's target", where(`{"or": [{"sent": "7"}, {"reached": "7"}]}`), 0, "where.or[0].sent"},
		{"opened", where(`{"and": [{"reached": "7"}, {"opened": "7"}]}`), 1, "where.and[1].opened"},
		{"online", where(`{"online": true}`), 1, ""},
		{"not online", where(`{"not": {"online": false}}`), 0, "where.not.online"},
		{"an expression that holds on another platform", push.Audience{Where: where(`{"account": ["ann"]}`).Where, Platforms: android}, 3, "platforms"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			holds, leaf, err := h.Explain(t.Context(), 1, tt.a, tt.o)
			if err != nil || leaf != tt.want || holds != (tt.want == "") {
				t.Errorf("got %t at %q, %v; want %q", holds, leaf, err, tt.want)
			}
			set, _, err := h.Target(t.Context(), 1, tt.a)
			if err != nil || set.Has(tt.o) != holds {
				t.Errorf("Target says %t, %v", set.Has(tt.o), err)
			}
		})
	}
	if holds, leaf, err := h.Explain(t.Context(), 1, push.Audience{}, 0); holds || leaf != "" || err != nil {
		t.Errorf("nobody yet: got %t, %q, %v", holds, leaf, err)
	}
	for _, tt := range []struct {
		name  string
		a     push.Audience
		o     push.Ordinal
		field string
	}{
		{"no device", push.Audience{All: true}, 77, "device"},
		{"no file", push.Audience{File: "nothing", Of: devices}, 0, "file"},
		{"no push", where(`{"and": [{"tag": "vip"}, {"not": {"targeted": "8"}}]}`), 1, "where.and[1].not.targeted"},
	} {
		_, _, err := h.Explain(t.Context(), 1, tt.a, tt.o)
		fails(t, tt.name, err, push.NotFound, tt.field)
	}
	h.store.fail = func(op string) (error, bool) { return &push.Error{Kind: push.Unavailable}, false }
	_, _, err := h.Explain(t.Context(), 1, push.Audience{File: ids, Of: devices}, 0)
	fails(t, "a record that fails", err, push.Unavailable, "")
}
