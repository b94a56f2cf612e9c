package sqlstore

import (
	"context"
	"strings"
	"testing"

	"github.com/carillonpush/carillon/internal/push"
)

// SetVFS makes Open use a file system of SQLite that a test has registered.
func (o *Options) SetVFS(name string) { o.vfs = name }

// The stored forms, for fuzzing.
var (
	PackReceipts   = packReceipts
	UnpackReceipts = unpackReceipts
	PackOrdinals   = packOrdinals
	UnpackOrdinals = unpackOrdinals
	PackDevice     = packDevice
	PackActive     = packActive
	UnpackActive   = unpackActive
	PackHappened   = packHappened
	UnpackHappened = unpackHappened
	PackTimes      = packTimes
	UnpackTimes    = unpackTimes
	AppendTrail    = appendTrail
	EachTrail      = eachTrail
)

// RepackQuota unpacks a quota and packs it again.
func RepackQuota(b []byte) ([]byte, error) {
	q, err := unpackQuota(b)
	if err != nil {
		return nil, err
	}
	return q.pack(), nil
}

// A DeviceReader unpacks devices one after another, as a scan does.
type DeviceReader struct {
	u     unpacked
	known interner
}

// Device returns what the packed form says of a device, and what it says for the index.
func (r *DeviceReader) Device(b []byte) (push.DeviceRow, push.IndexRow, error) {
	var d push.DeviceRow
	err := unpackDevice(b, &r.u, &r.known)
	if err == nil {
		r.u.device(&d)
	}
	return d, r.u.row, err
}

// Lookups returns what follows FROM in the queries that find rows by lists of values, as the database of s writes it, by the
// index that each needs.
func (s *Store) Lookups() map[string]string {
	all := map[string]string{
		"device by ordinal": s.lookup("device", "app = ?1", "ordinal", "?2", ints),
		"device by install": s.lookup("device", "app = ?1 AND removed = 0", "install", "?2", blobs),
		"alias by ordinal":  s.lookup("alias", "app = ?1", "ordinal", "?2", ints) + " ORDER BY ordinal, at",
		"tag by id":         s.lookup("tag", "app = ?1", "id", "?2", ints),
		"tag by name":       s.lookup("tag", "app = ?1 AND removed = 0", "name", "?2", texts),
	}
	for _, n := range namings {
		// A parameter less: the type of an alias is as good as any.
		n.where = strings.ReplaceAll(n.where, "?3", "'x'")
		_, all[n.table+" by "+n.column], _ = strings.Cut(n.ofMany(s.dialect), " FROM ")
	}
	for name, from := range all {
		all[name] = s.dialect.rebind(from)
	}
	return all
}

// NextHolders returns the queries for the next holders of one name, by the name's column.
func (s *Store) NextHolders() map[string]string {
	all := map[string]string{}
	for _, n := range namings {
		all[n.column] = s.dialect.rebind(n.ofOne())
	}
	return all
}

// PlanAliases does edits on the owners of aliases, in memory, and returns whose aliases change.
func PlanAliases(limits push.AliasLimits, owners, edits []push.AliasEdit) ([]push.Ordinal, error) {
	rows := make([]aged, len(owners))
	for i, e := range owners {
		rows[i] = aged{owning{e.Alias, e.Ordinal}, int64(i + 1)}
	}
	p := newAliasPlan(limits, rows)
	for i, e := range edits {
		if err := p.edit(e, int64(len(owners)+i+1)); err != nil {
			return nil, err
		}
	}
	return p.changed(), nil
}

// SetLow says that the disk's reserve is reached, or is not.
func (s *Store) SetLow(low bool) { s.low.Store(low) }

// HoldCommits keeps commits waiting until the returned function is called.
func (s *Store) HoldCommits() (release func()) {
	s.commit.hold.Lock()
	return s.commit.hold.Unlock
}

// PanicWrite queues a write that panics, and BadWrite one whose statement the database refuses.
func (s *Store) PanicWrite() *Waiter { return s.queueWrite(func(*tx) error { panic("on purpose") }) }

// BadWrite queues a write whose statement the database refuses after another has changed something.
func (s *Store) BadWrite(key string) *Waiter {
	return s.queueWrite(func(t *tx) error {
		if _, err := t.exec("INSERT INTO meta (key, value) VALUES (?, ?)", key, []byte("bad")); err != nil {
			return err
		}
		_, err := t.exec("INSERT INTO meta (key, value) VALUES (?, ?)", key, []byte("again"))
		return err
	})
}

// A Waiter is a write that is queued.
type Waiter struct {
	w   *write
	err error
}

// Wait waits for the write's commit and returns what became of it.
func (w *Waiter) Wait() error {
	if w.err != nil {
		return w.err
	}
	<-w.w.done
	return w.w.err
}

func (s *Store) queueWrite(f func(*tx) error) *Waiter {
	w := &write{do: f, rows: 1, done: make(chan struct{})}
	return &Waiter{w: w, err: s.commit.queue.put(context.Background(), w)}
}

// Tables returns the names of all tables by day that the store knows.
func (s *Store) Tables() []string {
	var all []string
	for kind := range shapes {
		for _, day := range s.days.from(kind, 0) {
			all = append(all, kind.of(day))
		}
	}
	return all
}

// ReadAtOnce takes n of the connections for reading, which are there afterwards, until the returned function is called.
func (s *Store) ReadAtOnce(t *testing.T, n int) (release func()) {
	t.Helper()
	var all []func() error
	for range n {
		conn, err := s.read.db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, conn.Close)
	}
	return func() {
		for _, f := range all {
			if err := f(); err != nil {
				t.Error(err)
			}
		}
	}
}
