package sqlstore

import (
	"context"
	"testing"
)

// SetVFS makes Open use a file system of SQLite that a test has registered.
func (o *Options) SetVFS(name string) { o.vfs = name }

// The stored forms, for fuzzing.
var (
	PackReceipts   = packReceipts
	UnpackReceipts = unpackReceipts
	PackOrdinals   = packOrdinals
	UnpackOrdinals = unpackOrdinals
)

// Hold keeps commits waiting until the returned function is called.
func (s *Store) Hold() (release func()) {
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
