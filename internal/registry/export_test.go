package registry

import (
	"context"
	"net/netip"
	"time"

	"github.com/carillonpush/carillon/internal/push"
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

// Save writes the snapshot, as Run does every hour.
func (r *Registry) Save(ctx context.Context) {
	if r.flush(ctx) {
		r.save(ctx)
	}
}

// Flush writes last active days and what is counted by days, as Run does every minute.
func (r *Registry) Flush(ctx context.Context) {
	r.flush(ctx)
	r.flushDays(ctx)
}

// Settle does again what is unsure, as Run does every minute.
func (r *Registry) Settle(ctx context.Context) { r.makeSure(ctx) }

// Lose has the index forget what it knows of a device, or think that one is there that never was.
func (r *Registry) Lose(row push.IndexRow) { r.index.Apply(row) }
