package device_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/carillonpush/carillon/internal/mqtt"
	"github.com/carillonpush/carillon/sdk/device"
)

func TestLabels(t *testing.T) {
	b := newBroker(t)
	d := device.New(phone, func(context.Context, device.Message) error { return nil }, &device.Options{Address: b.address()})
	if err := d.AddTags(t.Context(), "vip"); !errors.Is(err, device.ErrNotConnected) {
		t.Errorf("before Connect: got %v, want ErrNotConnected", err)
	}
	if err := d.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	start(t, d)
	for _, tt := range []struct {
		name string
		say  func(context.Context) error
		want string // what is published; "" is nothing
	}{
		{"an alias of its own", func(c context.Context) error { return d.SetAlias(c, "uid", "42") }, `device/alias {"op":"put","type":"uid","value":"42"}`},
		{"an alias without a type", func(c context.Context) error { return d.SetAlias(c, "", "42") }, `device/alias {"op":"put","type":"","value":"42"}`},
		{"an alias of several", func(c context.Context) error { return d.AddAlias(c, "uid", "42") }, `device/alias {"op":"add","type":"uid","value":"42"}`},
		{"one alias less", func(c context.Context) error { return d.RemoveAlias(c, "uid", "42") }, `device/alias {"op":"delete","type":"uid","value":"42"}`},
		{"an empty alias is not all", func(c context.Context) error { return d.RemoveAlias(c, "", "") }, `device/alias {"op":"delete","type":"","value":""}`},
		{"all aliases less", d.RemoveAliases, `device/alias {"op":"delete"}`},
		{"the only tags", func(c context.Context) error { return d.SetTags(c, "vip", "北京") }, `device/tags {"op":"put","tags":["vip","北京"]}`},
		{"no tags at all", func(c context.Context) error { return d.SetTags(c) }, `device/tags {"op":"put","tags":[]}`},
		{"more tags", func(c context.Context) error { return d.AddTags(c, "vip") }, `device/tags {"op":"add","tags":["vip"]}`},
		{"no more tags", func(c context.Context) error { return d.AddTags(c) }, ``},
		{"fewer tags", func(c context.Context) error { return d.RemoveTags(c, "vip") }, `device/tags {"op":"delete","tags":["vip"]}`},
		{"no fewer tags is not all", func(c context.Context) error { return d.RemoveTags(c) }, ``},
		{"a login", func(c context.Context) error { return d.Login(c, "ann") }, `device/account {"op":"put","account":"ann"}`},
		{"a logout", d.Logout, `device/account {"op":"delete"}`},
		{
			"attributes", func(c context.Context) error {
				return d.SetAttributes(c, map[string]string{"language": "zh", "city": ""})
			},
			`device/attributes {"op":"add","attributes":{"city":"","language":"zh"}}`,
		},
		{"no attributes", func(c context.Context) error { return d.SetAttributes(c, nil) }, ``},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.say(t.Context()); err != nil {
				t.Fatal(err)
			}
			var got string
			select { // the broker noted it before it answered
			case got = <-b.events:
			default:
			}
			if got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestLabelsAreRefused(t *testing.T) {
	for _, tt := range []struct {
		name    string
		reason  mqtt.ReasonCode
		version int
		want    error // nil for any
		says    string
	}{
		{"what cannot be read", mqtt.PayloadFormatInvalid, 5, device.ErrInvalid, "payload format invalid: the server's words"},
		{"too many", mqtt.QuotaExceeded, 5, device.ErrTooMany, "quota exceeded: the server's words"},
		{"removed", mqtt.NotAuthorized, 5, nil, "tags refused: not authorized: the server's words"},
		{"MQTT 3.1.1 closes", mqtt.QuotaExceeded, 4, device.ErrUnavailable, "not answered"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBroker(t, func(b *broker) {
				b.judge = func(string) mqtt.ReasonCode { return tt.reason }
				b.why = "the server's words"
			})
			d := device.New(phone, func(context.Context, device.Message) error { return nil }, &device.Options{Address: b.address(), Version: tt.version})
			if err := d.Connect(t.Context()); err != nil {
				t.Fatal(err)
			}
			start(t, d)
			err := d.AddTags(t.Context(), "vip")
			if err == nil || !strings.Contains(err.Error(), tt.says) || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v, %q", err, tt.want, tt.says)
			}
		})
	}
}
