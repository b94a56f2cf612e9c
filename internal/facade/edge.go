package facade

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/carillonpush/carillon/internal/push"
)

// An Edge is what an operator says of the way between clients and this server. The zero Edge trusts nobody and knows no
// public address. It is not changed once requests are served.
type Edge struct {
	// Trusted are the proxies whose X-Forwarded-For, -Host and -Proto are believed.
	Trusted []netip.Prefix
	// Public are the URLs under which clients know this server, with the path that a proxy strips:
	// "https://push.example.com/umeng". Signatures that cover a URL are tried with them.
	Public []string
}

// Client returns the address that r came from: the peer's, or, if that is a trusted proxy, the last address of
// X-Forwarded-For that is not one. It is the zero Addr if the peer has no IP address.
func (e Edge) Client(r *http.Request) netip.Addr {
	at := peer(r)
	if !e.trusts(at) {
		return at
	}
	// Each proxy appends the address that it was called from, so the list is read from its end, as far as it was written by
	// proxies that are trusted. What stands before may be anybody's invention.
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		addr, ok := parseHop(hop)
		if !ok {
			break
		}
		if at = addr; !e.trusts(at) {
			break
		}
	}
	return at
}

// Host returns the host that the client called, as a trusted proxy reports it in X-Forwarded-Host; "" if none does.
func (e Edge) Host(r *http.Request) string { return e.forwarded(r, "X-Forwarded-Host") }

// Scheme returns "http" or "https", the client's side of the connection: what a trusted proxy reports in
// X-Forwarded-Proto, else what r itself came by.
func (e Edge) Scheme(r *http.Request) string {
	switch proto := strings.ToLower(e.forwarded(r, "X-Forwarded-Proto")); {
	case proto == "http" || proto == "https":
		return proto
	case r.TLS != nil:
		return "https"
	default:
		return "http"
	}
}

// forwarded returns the first item of a header that proxies set: the one nearest to the client.
func (e Edge) forwarded(r *http.Request, header string) string {
	if !e.trusts(peer(r)) {
		return ""
	}
	first, _, _ := strings.Cut(r.Header.Get(header), ",")
	return strings.TrimSpace(first)
}

func (e Edge) trusts(a netip.Addr) bool {
	return slices.ContainsFunc(e.Trusted, func(p netip.Prefix) bool { return p.Contains(a) })
}

// Allowed reports whether app's setting ip_allow lets a sender at addr in. An empty setting lets everybody in, any other
// keeps a sender without an address out.
func Allowed(app push.App, addr netip.Addr) bool {
	allow := app.Settings.Get(push.SettingIPAllow)
	if allow == "" {
		return true
	}
	prefixes, err := push.ParsePrefixes(allow)
	return err == nil && slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// peer returns the address at the other end of r's connection, the zero Addr if it has none (a Unix socket).
func peer(r *http.Request) netip.Addr {
	a, ok := parseHop(r.RemoteAddr)
	if !ok {
		return netip.Addr{}
	}
	return a
}

// parseHop reads an address with or without a port. An IPv4 address in IPv6 clothes is an IPv4 address, and a zone, which
// means nothing to prefixes, is dropped.
func parseHop(s string) (netip.Addr, bool) {
	s = strings.TrimSpace(s)
	a, err := netip.ParseAddr(strings.Trim(s, "[]"))
	if err != nil {
		ap, err := netip.ParseAddrPort(s)
		if err != nil {
			return netip.Addr{}, false
		}
		a = ap.Addr()
	}
	return a.Unmap().WithZone(""), true
}
