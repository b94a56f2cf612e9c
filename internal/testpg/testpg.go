// Package testpg gives a test a PostgreSQL database of its own.
//
// The databases live on the server that the environment variable CARILLON_TEST_POSTGRES names, or, without it, on one
// that the test process starts when the first test asks. That server writes as durably as one in production does
// (fsync and synchronous_commit are on), listens on a free port of 127.0.0.1, and is gone with its files when the
// test process is, however that ends. A package that asks for databases runs its tests through Main.
//
// A machine without PostgreSQL fails the tests, it does not skip them: half a test run must not look like a whole one.
package testpg

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// EnvURL names the environment variable with the URL of a server to use instead of starting one. Its user must be
// allowed to create databases.
const EnvURL = "CARILLON_TEST_POSTGRES"

// statementTimeout bounds each thing testpg asks of a server. CREATE DATABASE writes and syncs some 8 MB, which a
// busy two-core machine with a slow disk has been seen to take seconds for.
const statementTimeout = time.Minute

// shared is the server that all tests of a process use. mu guards every field.
var shared struct {
	mu     sync.Mutex
	server *Server // nil until the first test asks, and after Main
	err    error   // why starting failed; kept, so that a thousand tests do not each try again
}

// Main runs the tests of a package and then stops the server that they started, if they did. It returns the exit code:
//
//	func TestMain(m *testing.M) { os.Exit(testpg.Main(m)) }
func Main(m *testing.M) int {
	code := m.Run()
	if err := stopShared(); err != nil {
		fmt.Fprintln(os.Stderr, "testpg:", err)
		return max(code, 1)
	}
	return code
}

// URL returns the URL of a new, empty database, which is dropped when t and its subtests have ended, with whatever is
// still connected to it. It fails t if there is no server to be had. URL may be called by several tests at once.
func URL(t testing.TB) string {
	t.Helper()
	server, err := serverURL()
	if err != nil {
		t.Fatalf("testpg: %v", err)
	}
	return database(t, server)
}

// serverURL returns the URL of the server's maintenance database, starting the shared server on first use.
func serverURL() (string, error) {
	if given := os.Getenv(EnvURL); given != "" {
		return given, nil
	}
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.server == nil && shared.err == nil {
		shared.server, shared.err = start(Options{})
	}
	if shared.err != nil {
		return "", shared.err
	}
	return shared.server.url, nil
}

// stopShared stops the shared server. A later URL starts another.
func stopShared() error {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.server == nil {
		return nil
	}
	err := shared.server.stop()
	shared.server = nil
	return err
}

// database creates a database on server and has it dropped when t ends.
func database(t testing.TB, server string) string {
	t.Helper()
	suffix := make([]byte, 8)
	rand.Read(suffix) // never fails: crypto/rand ends the process instead
	name := "carillon_test_" + hex.EncodeToString(suffix)
	own, err := withDatabase(server, name)
	if err != nil {
		t.Fatalf("testpg: %v", err)
	}
	// template0 holds what PostgreSQL ships and nothing that somebody added to a server of their own.
	if err := execute(server, "CREATE DATABASE "+name+" TEMPLATE template0"); err != nil {
		t.Fatalf("testpg: create a database: %v", err)
	}
	t.Cleanup(func() {
		if err := execute(server, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err != nil {
			t.Errorf("testpg: drop the database: %v", err)
		}
	})
	return own
}

// withDatabase returns server with its path replaced by the database name.
func withDatabase(server, name string) (string, error) {
	u, err := url.Parse(server)
	if err != nil {
		// The parser's text repeats the URL, and with it a password.
		return "", errors.New(EnvURL + " is not a URL")
	}
	if u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return "", fmt.Errorf("%s begins with %q, want postgres://", EnvURL, u.Scheme)
	}
	u.Path = "/" + name
	return u.String(), nil
}

// execute connects to server, runs one statement and disconnects.
func execute(server, statement string) error {
	// Not the test's context: that one has ended when cleanups run.
	ctx, cancel := context.WithTimeout(context.Background(), statementTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statement)
	return errors.Join(err, conn.Close(ctx))
}
