package registry_test

import (
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// When audiences would find something else of a device, it has changed; its own activity is nothing to them.
func TestChanged(t *testing.T) {
	h := newHouse(t)
	card := h.app(t, "demo")
	dev, other := h.device(t, card, "one"), h.device(t, card, "other")
	changed := func(o push.Ordinal) time.Time {
		h.store.mu.Lock()
		defer h.store.mu.Unlock()
		return h.store.devices[key(1, o)].Changed
	}
	if got := changed(0); !got.Equal(h.clock()) {
		t.Errorf("new: changed %v, want %v", got, h.clock())
	}
	edit := func(ref push.Ref, e push.LabelEdit) func() error {
		return func() error { return h.Relabel(t.Context(), ref, e) }
	}
	patch := func(p push.DevicePatch) func() error {
		return func() error { _, err := h.Patch(t.Context(), dev.Ref, p); return err }
	}
	alias := func(op push.EditOp, values ...string) push.LabelEdit {
		e := push.LabelEdit{Op: op}
		for _, v := range values {
			e.Aliases = append(e.Aliases, push.Alias{Type: "uid", Value: v})
		}
		return e
	}
	evict := alias(push.Add, "c")
	evict.Limits = &push.AliasLimits{Devices: 1, Evict: true}
	for _, tt := range []struct {
		name       string
		do         func() error
		one, other bool // who changed
	}{
		{"attributes", patch(push.DevicePatch{Attributes: map[string]string{"city": "杭州"}}), true, false},
		{"the same attributes", patch(push.DevicePatch{Attributes: map[string]string{"city": "杭州"}}), false, false},
		{"a token", patch(push.DevicePatch{Tokens: map[string]push.Token{"hms": {Token: "t"}}}), true, false},
		{"a phone", patch(push.DevicePatch{Phone: ptr("13800000000")}), true, false},
		{"an account", patch(push.DevicePatch{Account: ptr("ann")}), true, false},
		{"a mark", patch(push.DevicePatch{Test: ptr(true)}), true, false},
		{"the black list", patch(push.DevicePatch{Blacklisted: ptr(true)}), true, false},
		{"a badge", patch(push.DevicePatch{Badge: ptr(3)}), false, false},
		{"a network", patch(push.DevicePatch{Network: ptr(push.WiFi)}), false, false},
		{"a tag", edit(dev.Ref, push.LabelEdit{Op: push.Add, Tags: []string{"vip"}}), true, false},
		{"the same tag", edit(dev.Ref, push.LabelEdit{Op: push.Add, Tags: []string{"vip"}}), false, false},
		{"a tag of several", func() error {
			_, _, err := h.TagDevices(t.Context(), 1, "gold", push.Add, []string{string(dev.DeviceID), string(other.DeviceID)})
			return err
		}, true, true},
		{"an alias", edit(dev.Ref, alias(push.Add, "a", "c")), true, false},
		{"the same alias", edit(dev.Ref, alias(push.Put, "a")), false, false},
		{"one more owner", edit(other.Ref, alias(push.Add, "a")), false, true},
		{"an alias that another had", edit(other.Ref, alias(push.Put, "b", "a")), true, true},
		{"an alias for which the other gives way", edit(other.Ref, evict), true, true},
		{"an alias that it has not", edit(dev.Ref, alias(push.Delete, "c")), false, false},
		{"all aliases, of none", edit(dev.Ref, push.LabelEdit{Op: push.Delete, All: push.AllAliases}), false, false},
		{"all aliases", edit(other.Ref, push.LabelEdit{Op: push.Delete, All: push.AllAliases}), false, true},
		{"phones", func() error {
			return h.SetPhones(t.Context(), 1, []push.PhoneBind{{Ref: other.Ref, Phone: "13800000000"}}, true)
		}, true, true},
		{"activity", func() error { h.Presence(dev.Ref, true); h.Flush(t.Context()); return nil }, false, false},
		{"registering again", func() error {
			_, err := h.Register(t.Context(), registration(card, "one"), dev.Secret, home)
			return err
		}, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h.pass(25*time.Hour + 700*time.Millisecond)
			one, two := changed(0), changed(1)
			if err := tt.do(); err != nil {
				t.Fatal(err)
			}
			now := h.clock().Truncate(time.Second)
			for i, changes := range []bool{tt.one, tt.other} {
				was := []time.Time{one, two}[i]
				if changes {
					was = now
				}
				if got := changed(push.Ordinal(i)); !got.Equal(was) {
					t.Errorf("device %d: changed %v, want %v (now %v)", i, got, was, now)
				}
			}
		})
	}
}

func TestImportedDevicesChange(t *testing.T) {
	h := newHouse(t)
	h.app(t, "demo")
	line := push.Import{PreviousID: "old", Aliases: []push.Alias{{Value: "a"}}, Tags: []string{"vip"}}
	h.imports(t, line)
	first := h.clock()
	for _, tt := range []struct {
		name    string
		change  func()
		changes bool
	}{
		{"the same again", func() {}, false},
		{"another alias", func() { line.Aliases = append(line.Aliases, push.Alias{Value: "b"}) }, true},
		{"another tag", func() { line.Tags = append(line.Tags, "gold") }, true},
		{"all of that again", func() {}, false},
	} {
		h.pass(time.Hour)
		tt.change()
		h.imports(t, line)
		if tt.changes {
			first = h.clock()
		}
		if got := h.store.devices[key(1, 0)].Changed; !got.Equal(first) {
			t.Errorf("%s: changed %v, want %v", tt.name, got, first)
		}
	}
}
