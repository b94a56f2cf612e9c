package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/sqlstore"
	"github.com/carillonpush/carillon/internal/testpg"
)

// A listener notes what a store tells of receipts.
type listener struct {
	mu   sync.Mutex // guards told
	told []push.Logged
}

func listen(s *sqlstore.Store) *listener {
	l := &listener{}
	s.OnReceipts(func(row push.Logged) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.told = append(l.told, row)
	})
	return l
}

// wantLog fails t if what was told is not what the log holds, in its order, or is not want.
func (l *listener) wantLog(t *testing.T, s *sqlstore.Store, want ...push.Receipt) {
	t.Helper()
	var log []push.Logged
	if err := s.Unfolded(t.Context(), func(row push.Logged) error { log = append(log, row); return nil }); err != nil {
		t.Fatal(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if diff := cmp.Diff(l.told, log); diff != "" {
		t.Errorf("told of %d rows, the log has %d (-told +log):\n%s", len(l.told), len(log), diff)
	}
	var got []push.Receipt
	for _, row := range log {
		got = append(got, row.Receipts...)
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("receipts in the log (-got +want):\n%s", diff)
	}
}

func unavailable(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, push.Unavailable) {
		t.Errorf("%s: got %v, want unavailable", what, err)
	}
}

// The receipts of a commit whose outcome is unknown are told of if it happened, before those that come later.
func TestReceiptsOfACommitWithoutAnswer(t *testing.T) {
	for _, tt := range []struct {
		name     string
		cut      cut
		happened bool
		settle   func(t *testing.T, s *sqlstore.Store) error
	}{
		{"the answer is lost", onceDone, true, nil},
		{"the answer is lost, and only the sweep comes", onceDone, true, func(t *testing.T, s *sqlstore.Store) error {
			_, err := s.Sweep(t.Context(), time.Now(), 10)
			return err
		}},
		{"COMMIT is lost", beforeAsked, false, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newProxy(t, testpg.URL(t))
			s := open(t, p.url, nil)
			told := listen(s)
			now := time.Now()
			a := benchPush(1, 256, now)
			if _, _, err := s.Accept(t.Context(), a); err != nil {
				t.Fatal(err)
			}
			d := push.Delivery{ID: a.Push.ID, App: 1, Kind: push.Direct, Expires: a.Push.Expires}
			lost, later := d.Receipt(a.Targets[0], push.MarkDelivered), d.Receipt(a.Targets[0], push.MarkOpened)

			p.next.Store(int32(tt.cut))
			unavailable(t, "a receipt", s.Receive(t.Context(), lost))
			want := []push.Receipt{lost}
			if !tt.happened {
				want = nil
			}
			if tt.settle != nil {
				if err := tt.settle(t, s); err != nil {
					t.Fatal(err)
				}
				told.wantLog(t, s, want...)
			}
			if err := s.Receive(t.Context(), later); err != nil {
				t.Fatal(err)
			}
			told.wantLog(t, s, append(want, later)...)
			if got, want := s.InboxRows(), int64(owed(t, s, a.Targets[0])); got != want || want == 1 == tt.happened {
				t.Errorf("inbox rows: counted %d, there are %d", got, want)
			}
		})
	}
}

// A push of a commit whose outcome is unknown is counted and swept like any other.
func TestPushOfACommitWithoutAnswer(t *testing.T) {
	p := newProxy(t, testpg.URL(t))
	s := open(t, p.url, nil)
	now := time.Now()
	if _, _, err := s.Accept(t.Context(), benchPush(1, 256, now)); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Sweep(t.Context(), now.Add(72*time.Hour), 10); err != nil || n != 1 {
		t.Fatalf("the first sweep: got %d, %v, want 1", n, err)
	}
	p.next.Store(int32(onceDone))
	a := benchPush(2, 256, now)
	a.Push.Expires = now.Add(72*time.Hour - time.Minute)
	_, _, err := s.Accept(t.Context(), a)
	unavailable(t, "accept", err)
	if err := s.PutMeta(t.Context(), "next", nil); err != nil {
		t.Fatal(err)
	}
	if n := s.InboxRows(); n != 1 {
		t.Errorf("inbox rows: got %d, want 1", n)
	}
	if n, err := s.Sweep(t.Context(), now.Add(72*time.Hour), 10); err != nil || n != 1 {
		t.Errorf("the sweep after it: got %d, %v, want 1", n, err)
	}
}

// A server may be at a COMMIT still when its client has gone. It is stopped before the next commit, and does not happen
// later, when its row of the log would be between those that were told of.
func TestCommitDoesNotHappenLate(t *testing.T) {
	url := testpg.URL(t)
	p := newProxy(t, url)
	s := open(t, p.url, nil)
	told := listen(s)
	// The first COMMIT of receipts waits for a lock that this test holds.
	execute(t, url, `CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$
			BEGIN IF NEW.seq = 1 THEN PERFORM pg_advisory_xact_lock(4711); END IF; RETURN NULL; END $$;
		CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON receipt_log DEFERRABLE INITIALLY DEFERRED
			FOR EACH ROW EXECUTE FUNCTION wait()`)
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), "SELECT pg_advisory_lock(4711)"); err != nil {
		t.Fatal(err)
	}
	first := push.Receipt{App: 1, Push: 1, Ordinal: 1, Mark: push.MarkSent}
	second := push.Receipt{App: 1, Push: 1, Ordinal: 2, Mark: push.MarkSent}
	p.next.Store(int32(onceAsked))
	unavailable(t, "the first", s.Receive(t.Context(), first))
	if err := s.Receive(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "SELECT pg_advisory_unlock(4711)"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nothing is under way on the server", func() bool {
		n := 0
		err := conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND state = 'active' AND pid <> pg_backend_pid()`).Scan(&n)
		if err != nil {
			t.Fatal(err)
		}
		return n == 0
	})
	told.wantLog(t, s, second)
}

// A commit whose log cannot be synced has an unknown outcome; the store finds out by itself.
func TestSyncThatFails(t *testing.T) {
	registerVFS(t)
	opts := &sqlstore.Options{Reserve: -1}
	opts.SetVFS(watchVFS)
	s := open(t, filepath.Join(t.TempDir(), "carillon.db"), opts)
	told := listen(s)
	var want []push.Receipt
	failed := 0
	for i := push.Ordinal(0); failed < 5 && i < 100; i++ {
		r := push.Receipt{App: 1, Push: 1, Ordinal: i, Mark: push.MarkSent}
		if i%3 == 1 {
			failSync()
		}
		switch err := s.Receive(t.Context(), r); {
		case err == nil: // also if it was a checkpoint's sync that failed
			want = append(want, r)
		case errors.Is(err, push.Unavailable):
			failed++
		default:
			t.Fatal(err)
		}
	}
	if failed == 0 {
		t.Error("no sync of a commit failed")
	}
	told.wantLog(t, s, want...)
}

// What another process has left in the log is told of before what comes after it.
func TestRowOfAnotherProcess(t *testing.T) {
	databases(t, func(t *testing.T, url string) {
		driver := "pgx"
		if !strings.HasPrefix(url, "postgres") {
			driver = "sqlite"
		}
		s := open(t, url, nil)
		told := listen(s)
		r := func(o push.Ordinal) push.Receipt {
			return push.Receipt{App: 1, Push: 1, Ordinal: o, Mark: push.MarkSent}
		}
		if err := s.Receive(t.Context(), r(1)); err != nil {
			t.Fatal(err)
		}
		db, err := sql.Open(driver, url)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.Exec("INSERT INTO receipt_log (packed) VALUES ($1)", sqlstore.PackReceipts([]push.Receipt{r(2)})); err != nil {
			t.Fatal(err)
		}
		if err := s.Receive(t.Context(), r(3)); err != nil {
			t.Fatal(err)
		}
		told.wantLog(t, s, r(1), r(2), r(3))
	})
}
