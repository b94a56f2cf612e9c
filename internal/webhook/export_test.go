package webhook

import "net/netip"

// Allows reports whether an address may be called when allow are networks that may.
func Allows(allow []netip.Prefix, a netip.Addr) bool { return newGuard(allow).allows(a) }
