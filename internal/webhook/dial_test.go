package webhook_test

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/webhook"
)

func TestAddresses(t *testing.T) {
	for _, tt := range []struct {
		addr  string
		allow string
		want  bool
	}{
		{"93.184.216.34", "", true},
		{"2606:2800:220:1::1", "", true},
		{"::ffff:93.184.216.34", "", true},
		{"10.1.2.3", "", false},
		{"172.16.0.1", "", false},
		{"192.168.1.1", "", false},
		{"127.0.0.1", "", false},
		{"127.255.255.254", "", false},
		{"0.0.0.0", "", false},
		{"100.64.0.1", "", false},
		{"169.254.169.254", "", false},
		{"224.0.0.1", "", false},
		{"255.255.255.255", "", false},
		{"::", "", false},
		{"::1", "", false},
		{"fe80::1", "", false},
		{"fe80::1%eth0", "", false},
		{"fd00::1", "", false},
		{"ff02::1", "", false},
		{"::ffff:10.1.2.3", "", false},
		{"::ffff:127.0.0.1", "", false},
		{"::ffff:169.254.169.254", "", false},
		{"64:ff9b::7f00:1", "", false},
		{"2002:7f00:1::", "", false},
		{"10.1.2.3", "10.1.0.0/16", true},
		{"10.2.2.3", "10.1.0.0/16", false},
		{"::ffff:10.1.2.3", "10.1.0.0/16", true},
		{"10.1.2.3", "::ffff:10.1.0.0/112", true},
		{"fe80::1%eth0", "fe80::/10", true},
		{"127.0.0.1", "::1/128", false},
	} {
		t.Run(tt.addr+" with "+tt.allow, func(t *testing.T) {
			var allow []netip.Prefix
			if tt.allow != "" {
				allow = append(allow, netip.MustParsePrefix(tt.allow))
			}
			if got := webhook.Allows(allow, netip.MustParseAddr(tt.addr)); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

// What an address is written as is refused when it is given; what a name leads to, when it is called.
func TestPrivateAddressesAreNotCalled(t *testing.T) {
	listening, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	reached := make(chan struct{}, 10)
	server := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached <- struct{}{} })}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listening) }()
	defer func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		<-served
	}()
	_, port, err := net.SplitHostPort(listening.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{
		"127.0.0.1", "10.0.0.1", "192.168.0.1", "169.254.169.254", "[::1]", "[fe80::1]", "[::ffff:127.0.0.1]", "[::ffff:10.0.0.1]", "0.0.0.0",
	} {
		h := newHouse(t, new(memStore), func(o *webhook.Options) { o.Allow = nil })
		_, err := h.AddWebhook(t.Context(), push.Webhook{App: 1, URL: "http://" + host + ":" + port})
		var e *push.Error
		if !errors.As(err, &e) || e.Kind != push.Invalid || e.Field != "url" {
			t.Errorf("%s: got %v, want invalid url", host, err)
		}
	}
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:"+port) // would reach anything
	t.Setenv("http_proxy", "http://127.0.0.1:"+port)
	for _, host := range []string{"localhost", "127.1", "2130706433"} {
		h := newHouse(t, new(memStore), func(o *webhook.Options) { o.Allow = nil })
		w := h.add("http://" + host + ":" + port + "/")
		h.fold(w, happened(1, push.MarkSent))
		h.run(noon.Add(time.Second))
		info := h.list(w, false)
		if len(info) != 1 || info[0].Attempts != 1 {
			t.Errorf("%s: %+v, want one attempt", host, info)
		}
		if host == "localhost" && !strings.Contains(info[0].Error, "is not an address of the public internet") {
			t.Errorf("%s: %q", host, info[0].Error)
		}
	}
	if n := len(reached); n != 0 {
		t.Errorf("the server of this machine was called %d times", n)
	}
	// The same name is called when its network is allowed: what was refused above is the address.
	h := newHouse(t, new(memStore), nil)
	h.fold(h.add("http://localhost:"+port+"/"), happened(1, push.MarkSent))
	h.run(noon.Add(time.Second))
	if n := len(reached); n != 1 {
		t.Errorf("with its network allowed it was called %d times, want once", n)
	}
}
