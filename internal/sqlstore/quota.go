package sqlstore

import (
	"database/sql"
	"encoding/binary"
	"log/slog"
	"math"
	"slices"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// A quota is what an app has used of one limit: on a calendar day, or in a window that slides.
type quota struct {
	day     int64 // when the calendar day began, in milliseconds
	used    int   // on it
	buckets []bucket
	changed bool // and is to be written
}

// A bucket is uses that were near one another in time. It counts until the last of them leaves the window, so that no window
// ever has more than the limit; a use that stands alone leaves it exactly when it should.
type bucket struct {
	first, last int64 // milliseconds
	n           int
}

// quotaBuckets is into how many parts a sliding window is divided.
const quotaBuckets = 60

// roll forgets what does not count for c any more at now, in milliseconds.
func (q *quota) roll(c *push.Charge, now int64) {
	if !c.Since.IsZero() {
		// A push that was made before midnight may be committed after one that was made after it: it counts in the new day.
		if began := millis(c.Since); q.day < began || q.day > millis(c.Until) {
			q.day, q.used = began, 0
		}
		return
	}
	window := c.Window.Milliseconds()
	for i := range q.buckets {
		if b := &q.buckets[i]; b.last > now { // the clock was set back: what it had promised for later counts from now
			b.first, b.last, q.changed = min(b.first, now), now, true
		}
	}
	q.buckets = slices.DeleteFunc(q.buckets, func(b bucket) bool { return b.last+window <= now })
}

// wait returns how long it is at now until c fits, 0 if it does. q has been rolled.
func (q *quota) wait(c *push.Charge, now int64) time.Duration {
	if !c.Since.IsZero() {
		if c.N <= c.Limit-q.used {
			return 0
		}
		return max(time.Millisecond, time.Duration(millis(c.Until)-now)*time.Millisecond)
	}
	over := c.N - c.Limit
	for _, b := range q.buckets {
		over += b.n
	}
	if over <= 0 {
		return 0
	}
	for _, b := range q.buckets {
		if over -= b.n; over <= 0 {
			return time.Duration(b.last+c.Window.Milliseconds()-now) * time.Millisecond
		}
	}
	return c.Window // more at once than the limit: it never fits
}

// use counts c at now.
func (q *quota) use(c *push.Charge, now int64) {
	q.changed = true
	if !c.Since.IsZero() {
		q.used += c.N
		return
	}
	if n := len(q.buckets); n > 0 && now-q.buckets[n-1].first < c.Window.Milliseconds()/quotaBuckets {
		b := &q.buckets[n-1]
		b.last, b.n = max(b.last, now), b.n+c.N
		return
	}
	q.buckets = append(q.buckets, bucket{now, now, c.N})
}

const packedQuota = 1

// pack returns q as the table keeps it: a version, the day and what was used on it, then of each bucket how long after the one
// before it began and how long it is, and its uses.
func (q *quota) pack() []byte {
	b := binary.AppendVarint([]byte{packedQuota}, q.day)
	b = binary.AppendUvarint(b, uint64(q.used))
	last := int64(0)
	for _, u := range q.buckets {
		b = binary.AppendVarint(b, u.first-last)
		b = binary.AppendUvarint(b, uint64(u.last-u.first))
		b = binary.AppendUvarint(b, uint64(u.n))
		last = u.first
	}
	return b
}

// unpackQuota undoes pack.
func unpackQuota(b []byte) (*quota, error) {
	if len(b) == 0 || b[0] != packedQuota {
		return nil, errPacked
	}
	in := varints{b: b[1:]}
	q := &quota{day: in.signed(), used: int(in.unsigned(math.MaxInt))}
	last := int64(0)
	for len(in.b) > 0 && !in.bad {
		first := last + in.signed()
		u := bucket{first, first + int64(in.unsigned(math.MaxInt32)), int(in.unsigned(math.MaxInt))}
		q.buckets, last = append(q.buckets, u), first
	}
	if in.bad {
		return nil, errPacked
	}
	return q, nil
}

// A quotaKey names a quota.
type quotaKey struct {
	app  push.AppID
	name string
}

// quotas are those that a commit has to do with: each is read once and written once.
type quotas struct {
	log *slog.Logger
	all map[quotaKey]*quota
}

// get returns one, from the record if it is asked for the first time.
func (q *quotas) get(t *tx, k quotaKey) (*quota, error) {
	if one := q.all[k]; one != nil {
		return one, nil
	}
	one := &quota{}
	err := t.each("SELECT packed FROM quota WHERE app = ?1 AND name = ?2", func(rows *sql.Rows) error {
		var packed sql.RawBytes
		if err := rows.Scan(&packed); err != nil {
			return err
		}
		read, err := unpackQuota(packed)
		if err != nil { // it must not keep others from being written
			q.log.Error("a quota cannot be read and begins anew", "app", k.app, "quota", k.name, "err", err)
			return nil
		}
		one = read
		return nil
	}, int64(k.app), k.name)
	q.all[k] = one
	return one, err
}

// charge uses charges at now, all of them or, if one does not fit, none: then it returns the error that says so. err is of
// the database.
func (q *quotas) charge(t *tx, app push.AppID, charges []push.Charge, now int64) (refused, err error) {
	for i := range charges {
		c := &charges[i]
		one, err := q.get(t, quotaKey{app, c.Name})
		if err != nil {
			return nil, err
		}
		one.roll(c, now)
		if wait := one.wait(c, now); wait > 0 {
			return c.Refusal(wait), nil
		}
	}
	for i := range charges {
		q.all[quotaKey{app, charges[i].Name}].use(&charges[i], now)
	}
	return nil, nil
}

// store writes those that have changed.
func (q *quotas) store(t *tx) error {
	cols := []column{{name: "app", ints: []int64{}}, {name: "name", texts: []string{}}, {name: "packed", blobs: [][]byte{}}}
	for k, one := range q.all {
		if !one.changed {
			continue
		}
		cols[0].ints = append(cols[0].ints, int64(k.app))
		cols[1].texts = append(cols[1].texts, k.name)
		cols[2].blobs = append(cols[2].blobs, one.pack())
	}
	return t.insert("quota", "ON CONFLICT (app, name) DO UPDATE SET packed = excluded.packed", cols...)
}

// chargesOf returns charges with one for each name. Invalid if one cannot be counted.
func chargesOf(charges []push.Charge) ([]push.Charge, error) {
	var all []push.Charge
	for _, c := range charges {
		if c.Name == "" || c.N < 1 || c.Since.IsZero() && c.Window <= 0 {
			return nil, &push.Error{Kind: push.Invalid, Field: "charges", Msg: "have a name, a number and a window"}
		}
		same := func(b push.Charge) bool { return b.Name == c.Name }
		if i := slices.IndexFunc(all, same); i >= 0 {
			all[i].N += c.N
			continue
		}
		all = append(all, c)
	}
	return all, nil
}
