package registry

import (
	"net/netip"
	"time"
)

// MaxBuckets is how many addresses a generation of a Limiter remembers.
const MaxBuckets = maxBuckets

// A Limiter shows what bounds registrations.
type Limiter struct{ l limiter }

// Take takes a token of an address.
func (l *Limiter) Take(addr netip.Addr, perMinute int, now time.Time) time.Duration {
	return l.l.take(1, addr, perMinute, now)
}

// Len returns how many buckets are remembered.
func (l *Limiter) Len() int { return len(l.l.young) + len(l.l.old) }
