package webhook

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// A guard says which addresses may be called: those of the public internet, and those of some networks.
type guard []netip.Prefix

func newGuard(allow []netip.Prefix) guard {
	g := make(guard, 0, len(allow))
	for _, p := range allow {
		if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 { // as addresses are compared
			p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
		}
		g = append(g, p.Masked())
	}
	return g
}

func (g guard) allows(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if push.PublicAddress(a) {
		return true
	}
	for _, p := range g {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// A privateError says that an address may not be called.
type privateError struct{ addr string }

func (e *privateError) Error() string { return e.addr + " is not an address of the public internet" }

// control is asked for every connection, after the name was resolved and before anything is sent, so that no name and no
// change of one leads past it.
func (g guard) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil || !g.allows(to.Addr()) {
		return &privateError{address}
	}
	return nil
}

const (
	callTimeout   = 10 * time.Second // of a whole call
	headerBytes   = 16 << 10         // of an answer
	answerBytes   = 64 << 10         // that are read of an answer, so that its connection may be used again
	idleFor       = 30 * time.Second
	idlePerServer = 2
)

// newClient returns the client of all calls. It asks no proxy, since that would resolve names itself, and follows no redirect.
func newClient(g guard, config *tls.Config, timeout time.Duration) *http.Client {
	dialer := &net.Dialer{Timeout: timeout, ControlContext: g.control}
	return &http.Client{
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext:            dialer.DialContext,
			TLSClientConfig:        config,
			TLSHandshakeTimeout:    timeout,
			ForceAttemptHTTP2:      true,
			MaxIdleConnsPerHost:    idlePerServer,
			IdleConnTimeout:        idleFor,
			MaxResponseHeaderBytes: headerBytes,
			DisableCompression:     true,
		},
	}
}
