package registry

import (
	"net/netip"
	"sync"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// maxBuckets is how many addresses one generation of a limiter remembers; there are two of them.
const maxBuckets = 1 << 15

// A limiter bounds registrations by app and address: a token bucket each, of a minute's worth. Its memory is bounded by
// two generations of buckets: when the younger is full it becomes the older, and what was the older is forgotten. The
// zero limiter is ready to use.
type limiter struct {
	// mu guards all.
	mu         sync.Mutex
	young, old map[bucketKey]bucket
}

type bucketKey struct {
	app push.AppID
	net netip.Prefix
}

type bucket struct {
	tokens float64
	at     time.Time
}

// take takes a token of addr's bucket and returns 0, or how long it is until there is one. perMinute 0 is no limit. One
// IPv6 customer has a /64, so that counts as one address.
func (l *limiter) take(app push.AppID, addr netip.Addr, perMinute int, now time.Time) time.Duration {
	if perMinute == 0 {
		return 0
	}
	addr = addr.Unmap()
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	net, _ := addr.Prefix(bits) // an unknown address is an address like others
	key, full := bucketKey{app, net}, float64(perMinute)

	l.mu.Lock()
	defer l.mu.Unlock()
	b, ok := l.young[key]
	if !ok {
		if b, ok = l.old[key]; !ok {
			b = bucket{tokens: full, at: now}
		}
		if l.young == nil || len(l.young) >= maxBuckets {
			l.old, l.young = l.young, make(map[bucketKey]bucket)
		}
	}
	if gone := now.Sub(b.at); gone > 0 {
		b.tokens = min(full, b.tokens+gone.Minutes()*full)
		b.at = now
	}
	wait := time.Duration(0)
	if b.tokens < 1 {
		wait = max(time.Millisecond, time.Duration((1-b.tokens)/full*float64(time.Minute)))
	} else {
		b.tokens--
	}
	l.young[key] = b
	return wait
}
