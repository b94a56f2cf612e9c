package registry_test

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/carillonpush/carillon/internal/push"
)

// A run is random steps on five installs of one app, three of which were imported before or after they came.
type run struct {
	t    *testing.T
	rt   *rapid.T
	h    *house
	card push.AppCard
	have [installs]push.Registered
}

const installs = 5

// allowed fails if err is none of what a step may end with.
func (r *run) allowed(what string, err error, kinds ...push.Kind) {
	r.rt.Helper()
	for _, k := range append(kinds, push.Unavailable) {
		if errors.Is(err, k) {
			return
		}
	}
	if err != nil {
		r.rt.Fatalf("%s = %v", what, err)
	}
}

func (r *run) pick(what string, from ...string) string {
	return rapid.SampledFrom(from).Draw(r.rt, what)
}

// fail has the record fail at some of what follows, until the next step: in half of the cases the write happens all the same.
func (r *run) fail() {
	r.h.store.fail = nil
	if rapid.IntRange(0, 5).Draw(r.rt, "fails") == 0 {
		done := rapid.Bool().Draw(r.rt, "happens all the same")
		reads := rapid.Bool().Draw(r.rt, "reads fail too")
		writes := 0
		r.h.store.fail = func(op string) (error, bool) {
			if op == "FindDevices" || op == "Tags" {
				if !reads || writes == 0 {
					return nil, false
				}
			} else {
				writes++
			}
			return &push.Error{Kind: push.Unavailable}, done
		}
	}
}

// earlier is the id of install i at the earlier provider.
func earlier(i int) string { return "old-" + strconv.Itoa(i%3) }

func (r *run) register(i int) {
	reg := registration(r.card, strconv.Itoa(i))
	auth := ""
	if rapid.Bool().Draw(r.rt, "with secret") {
		auth = r.have[i].Secret
	}
	if rapid.Bool().Draw(r.rt, "with previous id") {
		reg.PreviousID = earlier(i)
		if rapid.Bool().Draw(r.rt, "with proof") {
			reg.PreviousProof = proofOf(r.card.Native.APIKey, reg.PreviousID)
		}
	}
	got, err := r.h.Register(r.rt.Context(), reg, auth, home)
	r.allowed("Register", err, push.Denied, push.Conflict)
	if err == nil {
		r.have[i] = got
	}
}

func (r *run) patch(i int) {
	patch := push.DevicePatch{Test: ptr(rapid.Bool().Draw(r.rt, "test")), Blacklisted: ptr(rapid.Bool().Draw(r.rt, "blacklisted"))}
	if rapid.Bool().Draw(r.rt, "with a phone") {
		patch.Phone = ptr(r.pick("phone", "", "10001", "10002"))
	}
	patch.Tokens = map[string]push.Token{"hms": {Token: r.pick("token", "", "t")}}
	_, err := r.h.Patch(r.rt.Context(), r.have[i].Ref, patch)
	r.allowed("Patch", err, push.NotFound)
}

func (r *run) edit(i int) {
	e := push.LabelEdit{Op: push.EditOp(rapid.IntRange(1, 3).Draw(r.rt, "edit"))}
	if rapid.Bool().Draw(r.rt, "tags") {
		e.Tags = []string{r.pick("tag", "a", "b", "c"), r.pick("tag", "d", "e")}
	}
	if rapid.Bool().Draw(r.rt, "aliases") {
		e.Aliases = []push.Alias{{Type: r.pick("type", "", "uid"), Value: r.pick("alias", "x", "y", "z")}}
	}
	if rapid.Bool().Draw(r.rt, "attributes") {
		e.Attributes = map[string]string{r.pick("attribute", "city", "brand"): r.pick("value", "", "1", "2")}
	}
	if rapid.Bool().Draw(r.rt, "account") {
		e.Account = ptr(r.pick("account", "ann", "bob"))
	}
	if e.Op == push.Delete && rapid.Bool().Draw(r.rt, "all") {
		e.All = push.AllAliases
	}
	_, err := r.h.EditLabels(r.rt.Context(), r.have[i].Ref, e)
	r.allowed("EditLabels", err, push.NotFound, push.TooMany)
}

func (r *run) tagDevices(i int) {
	op := push.Add
	if rapid.Bool().Draw(r.rt, "untag") {
		op = push.Delete
	}
	names := []string{string(r.have[i].DeviceID), string(r.have[(i+1)%installs].ChannelID), earlier(i), "nobody"}
	names = slices.DeleteFunc(names, func(n string) bool { return n == "" })
	_, _, err := r.h.TagDevices(r.rt.Context(), 1, r.pick("tag", "a", "b", "c"), op, names)
	r.allowed("TagDevices", err, push.NotFound, push.TooMany)
}

func (r *run) importSome(i int) {
	var all []push.Import
	for n := range rapid.IntRange(1, 4).Draw(r.rt, "imports") {
		all = append(all, push.Import{
			PreviousID: earlier(i + n), Account: r.pick("account", "", "ann", "bob"), Phone: r.pick("phone", "", "10001"),
			Tags: []string{r.pick("tag", "a", "b", "c", "d")}, Aliases: []push.Alias{{Value: r.pick("alias", "x", "y", "z")}},
			Platform: push.Platform(rapid.IntRange(0, 2).Draw(r.rt, "platform")),
		})
	}
	answers, err := r.h.Import(r.rt.Context(), 1, all)
	r.allowed("Import", err)
	for _, a := range answers {
		r.allowed("an import", a.Err, push.TooMany, push.Conflict)
	}
}

func (r *run) setPhones(i int) {
	binds := []push.PhoneBind{
		{Ref: r.have[i].Ref, Phone: r.pick("phone", "", "10001", "10002")},
		{Ref: r.have[(i+1)%installs].Ref, Phone: r.pick("phone", "10001", "10002")},
	}
	err := r.h.SetPhones(r.rt.Context(), 1, binds, true)
	r.allowed("SetPhones", err, push.NotFound)
	if err == nil {
		seen := map[string]bool{}
		for _, row := range r.h.store.devices {
			if row.Phone != "" && (row.Phone == binds[0].Phone || row.Phone == binds[1].Phone) {
				if seen[row.Phone] {
					r.rt.Fatalf("two devices have the phone %s", row.Phone)
				}
				seen[row.Phone] = true
			}
		}
	}
}

// step does one thing.
func (r *run) step(i int) {
	r.fail()
	switch rapid.IntRange(0, 11).Draw(r.rt, "op") {
	case 0, 1, 2:
		r.register(i)
	case 3:
		r.patch(i)
	case 4, 5:
		r.edit(i)
	case 6:
		r.tagDevices(i)
	case 7:
		r.importSome(i)
	case 8:
		r.setPhones(i)
	case 9:
		r.allowed("Remove", r.h.Remove(r.rt.Context(), r.have[i].Ref), push.NotFound)
	case 10:
		name := r.pick("tag", "a", "b", "c")
		if rapid.Bool().Draw(r.rt, "remove the tag") {
			r.allowed("RemoveTag", r.h.RemoveTag(r.rt.Context(), 1, name), push.NotFound)
		} else {
			_, err := r.h.AddTag(r.rt.Context(), 1, name)
			r.allowed("AddTag", err, push.Conflict, push.TooMany)
		}
	case 11:
		r.h.store.fail = nil
		if rapid.Bool().Draw(r.rt, "with a snapshot") {
			r.h.Save(r.rt.Context())
		}
		r.h.restart(r.t)
	}
}

// Whatever happens to devices, in whatever order, with restarts and failing writes between, record and memory agree in
// the end, and the newest secret that a device was given is the only one that opens.
func TestMemoryFollowsTheRecord(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := newHouse(t)
		h.snapshot = filepath.Join(t.TempDir(), "index.snapshot")
		h.restart(t)
		card := h.app(t, "demo")
		app := card.App
		app.Settings = push.Settings{push.SettingTags: "4", push.SettingDeviceTags: "3", push.SettingDeviceAliases: "2", push.SettingAliasDevices: "2"}
		if rapid.Bool().Draw(rt, "open to previous ids") {
			app.Settings[push.SettingAdoptPrevious] = "open"
		}
		if _, err := h.UpdateApp(t.Context(), app); err != nil {
			t.Fatal(err)
		}
		r := &run{t: t, rt: rt, h: h, card: card}
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			r.step(rapid.IntRange(0, installs-1).Draw(rt, "install"))
		}
		h.store.fail = nil
		h.Settle(rt.Context())
		agree(rt, h)
		r.secrets()
		agree(rt, h)
		h.Save(rt.Context())
		h.restart(t)
		if h.store.scans = 0; len(h.store.feed) > 0 {
			h.restart(t)
			if h.store.scans != 0 {
				rt.Fatal("the snapshot was not read")
			}
		}
		agree(rt, h)
		h.snapshot = ""
		h.restart(t)
		agree(rt, h)
	})
}

// secrets registers every install without its secret.
func (r *run) secrets() {
	for i := range r.have {
		old := r.have[i]
		reg := registration(r.card, strconv.Itoa(i))
		if old.Ref.Platform != 0 {
			reg.Platform = old.Ref.Platform
		}
		got, err := r.h.Register(r.rt.Context(), reg, "", home)
		if err != nil {
			r.rt.Fatal(err)
		}
		if ref, err := r.h.Authenticate(string(got.DeviceID), got.Secret); err != nil || ref != got.Ref {
			r.rt.Fatalf("Authenticate = %+v, %v, want %+v", ref, err, got.Ref)
		}
		if _, err := r.h.Authenticate(string(old.DeviceID), old.Secret); !errors.Is(err, push.Unauthenticated) {
			r.rt.Fatalf("the secret before: %v, want Unauthenticated", err)
		}
	}
}

// agree compares what the memory answers with the record, and has the doctor compare.
func agree(t *rapid.T, h *house) {
	t.Helper()
	h.store.mu.Lock()
	want := map[string][]push.Ordinal{}
	names := map[push.TagID]string{}
	var tags []string
	for _, tag := range h.store.tags {
		if tag.Removed.IsZero() {
			names[tag.ID] = tag.Name
			tags = append(tags, tag.Name)
		}
	}
	for _, row := range h.store.sorted(1) {
		if !row.Removed.IsZero() {
			continue
		}
		in := func(question string, holds bool) {
			if holds {
				want[question] = append(want[question], row.Ref.Ordinal)
			}
		}
		in("all", true)
		in("test", row.Test)
		in("blacklisted", row.Blacklisted)
		in("phone", row.Phone != "")
		in("token", len(row.Tokens) > 0)
		in("bound", row.Account != "")
		in("account", row.Account == "ann")
		in("alias", h.store.has(row.Ref.Ordinal, push.Alias{Value: "x"}))
		in("city", row.Attributes["city"] == "1")
		for _, id := range row.TagIDs {
			in("tag "+names[id], names[id] != "")
		}
	}
	h.store.mu.Unlock()
	got := map[string][]push.Ordinal{}
	ask := func(question string, w push.Where) {
		set, err := h.Select(t.Context(), 1, w)
		if err != nil {
			t.Fatalf("%s: %v", question, err)
		}
		if !set.Empty() {
			got[question] = slices.Collect(set.All())
		}
	}
	ask("all", push.Or(flag(push.FlagTest), push.Not(flag(push.FlagTest))))
	ask("test", flag(push.FlagTest))
	ask("blacklisted", flag(push.FlagBlacklisted))
	ask("phone", push.Is(push.WhereHas(push.HasPhone)))
	ask("token", push.Is(push.WhereHas("token.hms")))
	ask("bound", push.Is(push.WhereWithin{Event: push.EventBound, For: 24 * 60 * 60 * 1e9}))
	ask("account", push.Is(push.WhereAccount{"ann"}))
	ask("alias", push.Is(push.WhereAlias{Values: []string{"x"}}))
	ask("city", push.Is(push.WhereAttr{Name: "city", Op: push.OpIs, Values: []string{"1"}}))
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		ask("tag "+name, push.Is(push.WhereTag(name)))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("record and memory (-want +got):\n%s", diff)
	}
	if listed := listTags(t, h); !slices.Equal(slices.Sorted(slices.Values(tags)), slices.Sorted(maps.Keys(listed))) {
		t.Fatalf("tags: got %v, want %v", listed, tags)
	}
	check, err := h.CheckIndex(t.Context(), 1, false)
	if err != nil || check.Wrong+check.Missing+check.Surplus != 0 {
		t.Fatalf("the doctor says %+v, %v", check, err)
	}
}

func (m *memStore) has(o push.Ordinal, a push.Alias) bool {
	return slices.Contains(m.owners, owning{1, a, o})
}

// listTags returns the tags of app 1 and how many carry each.
func listTags(t interface{ Fatal(...any) }, h *house) map[string]int {
	all := map[string]int{}
	for cursor := ""; ; {
		page, next, err := h.Tags(1, cursor, 2)
		if err != nil || len(page) > 2 {
			t.Fatal(fmt.Sprint(len(page), err))
		}
		for _, tag := range page {
			all[tag.Tag] = tag.Devices
		}
		if cursor = next; cursor == "" {
			return all
		}
	}
}
