package sqlstore_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/sqlstore"
	"github.com/carillonpush/carillon/internal/testpg"
)

// execute runs a statement on a connection of its own.
func execute(t *testing.T, url, statement string) {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(context.Background(), statement); err != nil {
		t.Fatal(err)
	}
}

// terminate ends all other connections to the database at url, and returns when they have ended on the server.
func terminate(t *testing.T, url string) {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	eventually(t, "the connections end", func() bool {
		n := 0
		err := conn.QueryRow(context.Background(), `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
			WHERE datname = current_database() AND pid <> pg_backend_pid()`).Scan(&n)
		if err != nil {
			t.Fatal(err)
		}
		return n == 0
	})
}

// database returns the name of the database at url.
func database(url string) string {
	_, name, _ := strings.Cut(strings.TrimPrefix(url, "postgres://"), "/")
	name, _, _ = strings.Cut(name, "?")
	return name
}

func TestServerThatAnswersTooEarlyIsRefused(t *testing.T) {
	url := testpg.URL(t)
	execute(t, url, "ALTER DATABASE "+database(url)+" SET synchronous_commit = off")
	_, err := sqlstore.Open(t.Context(), url, nil)
	if !errors.Is(err, push.Invalid) || !strings.Contains(err.Error(), "synchronous_commit is off") {
		t.Errorf("synchronous_commit off: got %v, want it refused by name", err)
	}
	for _, enough := range []string{"on", "local", "remote_write"} {
		execute(t, url, "ALTER DATABASE "+database(url)+" SET synchronous_commit = "+enough)
		s, err := sqlstore.Open(t.Context(), url, nil)
		if err != nil {
			t.Fatalf("synchronous_commit %s: %v", enough, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}

	server := testpg.Start(t, testpg.Options{Settings: map[string]string{"fsync": "off"}})
	if _, err := sqlstore.Open(t.Context(), server.URL(), nil); !errors.Is(err, push.Invalid) || !strings.Contains(err.Error(), "fsync is off") {
		t.Errorf("fsync off: got %v, want it refused by name", err)
	}
}

// Who switches it off while Carillon runs is found out at the next connection, before anything is accepted on it.
func TestServerThatBeginsToAnswerTooEarly(t *testing.T) {
	url := testpg.URL(t)
	s := open(t, url, nil)
	execute(t, url, "ALTER DATABASE "+database(url)+" SET synchronous_commit = off")
	terminate(t, url)
	for range 5 {
		if err := s.PutMeta(t.Context(), "k", nil); !errors.Is(err, push.Unavailable) && !errors.Is(err, push.Invalid) {
			t.Errorf("a write: got %v, want it refused", err)
		}
	}
}

func TestPasswordIsNotInErrors(t *testing.T) {
	for _, url := range []string{
		"postgres://user:sesame@127.0.0.1:notaport/db",
		"postgres://user:sesame@127.0.0.1:1/db?connect_timeout=1",
	} {
		_, err := sqlstore.Open(t.Context(), url, nil)
		if err == nil || strings.Contains(err.Error(), "sesame") {
			t.Errorf("got %v, want an error without the password", err)
		}
	}
}
