package push_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/carillonpush/carillon/internal/push"
)

func TestWebhookValidation(t *testing.T) {
	for _, tt := range []struct {
		name, url string
		events    []string
		field     string
	}{
		{"https", "https://example.com/hook?a=b", nil, ""},
		{"http, with a port", "http://example.com:8080/", []string{"delivered", "opened"}, ""},
		{"an address", "https://[2001:db8::1]:443/", nil, ""}, // whether it may be called is found out when it is
		{"nothing", "", nil, "url"},
		{"no scheme", "example.com/hook", nil, "url"},
		{"another scheme", "ftp://example.com/", nil, "url"},
		{"a file", "file:///etc/passwd", nil, "url"},
		{"no host", "https:///hook", nil, "url"},
		{"only a port", "https://:443/", nil, "url"},
		{"credentials", "https://user:secret@example.com/", nil, "url"},
		{"a user", "https://user@example.com/", nil, "url"},
		{"a fragment", "https://example.com/#a", nil, "url"},
		{"a line break", "https://example.com/\r\nX: y", nil, "url"},
		{"a port that is none", "https://example.com:65536/", nil, "url"},
		{"port 0", "https://example.com:0/", nil, "url"},
		{"not UTF-8", "https://example.com/\xff", nil, "url"},
		{"too long", "https://example.com/" + strings.Repeat("a", 2048), nil, "url"},
		{"all events", "https://example.com/", push.EventNames(), ""},
		{"an event that does not exist", "https://example.com/", []string{"exploded"}, "events"},
		{"an event twice", "https://example.com/", []string{"opened", "opened"}, "events"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := (push.Webhook{URL: tt.url, Events: tt.events}).Validate(); fieldOf(err) != tt.field || (err == nil) != (tt.field == "") {
				t.Errorf("got %v (field %q), want field %q", err, fieldOf(err), tt.field)
			}
		})
	}
}

func TestWhatAWebhookWants(t *testing.T) {
	all, some := push.Webhook{}, push.Webhook{Events: []string{"opened", "dropped"}}
	for _, name := range push.EventNames() {
		if !all.Wants(name) {
			t.Errorf("one of all events does not want %s", name)
		}
		if want := name == "opened" || name == "dropped"; some.Wants(name) != want {
			t.Errorf("%s: got %v, want %v", name, some.Wants(name), want)
		}
	}
}

func TestMarksAreEvents(t *testing.T) {
	if !slices.IsSorted(push.EventNames()) {
		t.Error("names are not in order")
	}
	made := map[string]bool{"token_invalid": true} // of no push
	for m := range push.Mark(32) {
		name := m.EventName()
		if name != "" && !slices.Contains(push.EventNames(), name) {
			t.Errorf("mark %d makes %q, which nobody knows", m, name)
		}
		if (m.Reason() != "") != (name == "dropped") {
			t.Errorf("mark %d drops under %q, and makes %q", m, m.Reason(), name)
		}
		made[name] = true
	}
	for _, name := range push.EventNames() {
		if !made[name] {
			t.Errorf("no mark makes %s", name)
		}
	}
	for _, m := range []push.Mark{push.MarkUnconfirmed, push.MarkTold, push.MarkTargeted} {
		if name := m.EventName(); name != "" {
			t.Errorf("mark %d makes %q", m, name)
		}
	}
	for name, m := range push.Events() {
		if m.EventName() != name {
			t.Errorf("what devices call %s is told as %q", name, m.EventName())
		}
	}
}

func TestPublicAddresses(t *testing.T) {
	for text, want := range map[string]bool{
		"8.8.8.8": true, "1.1.1.1": true, "2606:4700::1111": true, "::ffff:8.8.8.8": true, "172.15.0.1": true, "172.32.0.1": true,
		"100.128.0.1": true, "192.0.1.1": true, "11.0.0.1": true, "2400::1": true, "2606:4700::1%eth0": true,
		// This machine, and none.
		"127.0.0.1": false, "127.255.255.254": false, "::1": false, "0.0.0.0": false, "::": false, "0.1.2.3": false,
		"::ffff:127.0.0.1": false, "::127.0.0.1": false,
		// Private, shared, link-local: 169.254.169.254 is where clouds keep secrets.
		"10.0.0.1": false, "172.16.0.1": false, "172.31.255.255": false, "192.168.1.1": false, "::ffff:192.168.1.1": false,
		"100.64.0.1": false, "100.127.255.255": false, "169.254.169.254": false, "fd00::1": false, "fc00::1": false, "fe80::1": false,
		"fe80::1%eth0": false, "fec0::1": false, "fd00:ec2::254": false,
		// Many.
		"224.0.0.1": false, "239.255.255.255": false, "255.255.255.255": false, "ff02::1": false,
		// Reserved, documentation, measurement.
		"192.0.0.1": false, "192.0.2.1": false, "198.51.100.1": false, "203.0.113.1": false, "198.18.0.1": false, "198.19.255.255": false,
		"240.0.0.1": false, "192.88.99.1": false, "2001:db8::1": false, "2001:db8::1%eth0": false, "3fff::1": false, "5f00::1": false, "100::1": false,
		// Ways to an IPv4 address inside.
		"64:ff9b::7f00:1": false, "64:ff9b:1::7f00:1": false, "2002:7f00:1::": false, "2001::1": false,
	} {
		if got := push.PublicAddress(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: got public %v, want %v", text, got, want)
		}
	}
	if push.PublicAddress(netip.Addr{}) {
		t.Error("no address is public")
	}
}
