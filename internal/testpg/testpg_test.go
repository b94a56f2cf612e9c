package testpg_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/carillonpush/carillon/internal/testpg"
)

// envEnding makes this test binary start a server, print where it is, and end in the way named.
const envEnding = "CARILLON_TESTPG_ENDING"

func TestMain(m *testing.M) {
	os.Exit(testpg.Main(m))
}

// connect returns a connection that is closed when t ends.
func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// one returns the single text value that query selects.
func one(t *testing.T, conn *pgx.Conn, query string) string {
	t.Helper()
	var value string
	if err := conn.QueryRow(t.Context(), query).Scan(&value); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return value
}

func TestURLGivesEachTestAnEmptyDatabase(t *testing.T) {
	first, second := testpg.URL(t), testpg.URL(t)
	if first == second {
		t.Fatal("got the same database twice")
	}
	if _, err := connect(t, first).Exec(t.Context(), "CREATE TABLE devices (ordinal bigint)"); err != nil {
		t.Fatal(err)
	}
	const tables = "SELECT count(*)::text FROM pg_tables WHERE schemaname = 'public'"
	if got := one(t, connect(t, second), tables); got != "0" {
		t.Errorf("got %s tables in the second database, want 0", got)
	}
}

func TestURLDropsTheDatabaseAfterTheTest(t *testing.T) {
	watch := connect(t, testpg.URL(t))
	var name string
	t.Run("while the test runs", func(t *testing.T) {
		// Stays connected until the database is dropped, as a test that failed half-way would.
		conn, err := pgx.Connect(t.Context(), testpg.URL(t))
		if err != nil {
			t.Fatal(err)
		}
		name = one(t, conn, "SELECT current_database()")
	})
	const count = "SELECT count(*)::text FROM pg_database WHERE datname = '%s'"
	if got := one(t, watch, fmt.Sprintf(count, name)); got != "0" {
		t.Errorf("got %s databases named %s after its test, want 0", got, name)
	}
}

func TestURLUsesTheServerThatIsGiven(t *testing.T) {
	given := testpg.Start(t, testpg.Options{Settings: map[string]string{"cluster_name": "given"}})
	t.Setenv(testpg.EnvURL, given.URL())
	if got := one(t, connect(t, testpg.URL(t)), "SHOW cluster_name"); got != "given" {
		t.Errorf("got a database on the server %q, want given", got)
	}
}

func TestServerIsDurable(t *testing.T) {
	conn := connect(t, testpg.Start(t, testpg.Options{}).URL())
	for _, setting := range []string{"fsync", "synchronous_commit"} {
		if got := one(t, conn, "SHOW "+setting); got != "on" {
			t.Errorf("%s: got %s, want on", setting, got)
		}
	}
}

func TestStartTakesSettings(t *testing.T) {
	s := testpg.Start(t, testpg.Options{Settings: map[string]string{
		"max_connections": "17", "application_name": "it's quoted",
	}})
	conn := connect(t, s.Database(t))
	if got := one(t, conn, "SHOW max_connections"); got != "17" {
		t.Errorf("max_connections: got %s, want 17", got)
	}
	if got := one(t, conn, "SHOW application_name"); got != "it's quoted" {
		t.Errorf("application_name: got %s, want it's quoted", got)
	}
}

func TestStopLeavesNothing(t *testing.T) {
	s := testpg.Start(t, testpg.Options{})
	s.Stop(t)
	s.Stop(t) // again, and once more when t ends
	if _, err := os.Stat(s.Dir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory: got %v, want that it does not exist", err)
	}
	if conn, err := pgx.Connect(t.Context(), s.URL()); err == nil {
		conn.Close(t.Context())
		t.Error("the server still takes connections")
	}
}

func TestStartPreloadsALibrary(t *testing.T) {
	// Counts by leaving a mark: the library's constructor makes a file in the server's directory, named by Env.
	const source = `
		#include <fcntl.h>
		#include <stdio.h>
		#include <stdlib.h>
		#include <unistd.h>
		__attribute__((constructor)) static void mark(void) {
			char path[4096];
			snprintf(path, sizeof path, "%s/%s", getenv("CARILLON_TESTPG_DIR"), getenv("MARK"));
			int fd = open(path, O_CREAT | O_WRONLY, 0600);
			if (fd >= 0) close(fd);
		}`
	dir := t.TempDir()
	code, library := filepath.Join(dir, "mark.c"), filepath.Join(dir, "mark.so")
	if err := os.WriteFile(code, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "cc", "-shared", "-fPIC", "-o", library, code).CombinedOutput(); err != nil {
		t.Fatalf("cc: %v\n%s", err, out)
	}
	s := testpg.Start(t, testpg.Options{Preload: library, Env: []string{"MARK=seen"}})
	if _, err := os.Stat(filepath.Join(s.Dir(), "seen")); err != nil {
		t.Errorf("the library left no mark: %v", err)
	}
}

// TestServerEndsWithItsProcess lets a process that has a server end in ways that no defer sees.
func TestServerEndsWithItsProcess(t *testing.T) {
	for _, ending := range []string{"panic", "exit", "kill", "main"} {
		t.Run(ending, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestEnding$", "-test.count=1")
			cmd.Env = append(os.Environ(), envEnding+"="+ending, testpg.EnvURL+"=")
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			dir, url := "", ""
			for lines := bufio.NewScanner(out); lines.Scan(); {
				if d, u, ok := strings.Cut(lines.Text(), " postgres://"); ok {
					dir, url = d, "postgres://"+u
				}
			}
			err = cmd.Wait() // its exit code is the ending's, and not what is tested
			if dir == "" {
				t.Fatalf("the process started no server: %v", err)
			}
			gone := func() bool {
				_, err := os.Stat(dir)
				return errors.Is(err, fs.ErrNotExist)
			}
			for deadline := time.Now().Add(30 * time.Second); !gone(); time.Sleep(20 * time.Millisecond) { // ok: polls a foreign process, with a deadline
				if time.Now().After(deadline) {
					t.Fatalf("%s is still there 30 s after its process ended", dir)
				}
			}
			if conn, err := pgx.Connect(t.Context(), url); err == nil {
				conn.Close(t.Context())
				t.Error("the server still takes connections")
			}
		})
	}
}

// TestEnding is the process that TestServerEndsWithItsProcess watches; by itself it tests that a server starts.
func TestEnding(t *testing.T) {
	s := testpg.Start(t, testpg.Options{})
	ending := os.Getenv(envEnding)
	if ending == "" {
		return
	}
	fmt.Println(s.Dir(), s.URL())
	switch ending {
	case "panic":
		panic("a test panics")
	case "exit":
		os.Exit(3)
	case "kill":
		self, err := os.FindProcess(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if err := self.Kill(); err != nil {
			t.Fatal(err)
		}
		<-t.Context().Done() // SIGKILL comes first
	}
}

func TestFindBin(t *testing.T) {
	t.Run("takes the newest, by number", func(t *testing.T) {
		root := t.TempDir()
		for _, version := range []string{"9", "15", "16", "old"} {
			bin := filepath.Join(root, version, "bin")
			if err := os.MkdirAll(bin, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(bin, "initdb"), nil, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		got, err := testpg.FindBin(root)
		if want := filepath.Join(root, "16", "bin"); got != want || err != nil {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	})
	t.Run("names the way out where there is none", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		_, err := testpg.FindBin(t.TempDir())
		if err == nil || !strings.Contains(err.Error(), "make deps") {
			t.Errorf("got %v, want an error that names make deps", err)
		}
	})
}

func TestWithDatabase(t *testing.T) {
	for _, tt := range []struct {
		name, server, want string
	}{
		{"keeps user and parameters", "postgres://u:p@h:1/postgres?sslmode=disable", "postgres://u:p@h:1/x?sslmode=disable"},
		{"takes a URL without database", "postgresql://h", "postgresql://h/x"},
		{"refuses another scheme", "mysql://h/d", ""},
		{"refuses what is no URL", "postgres://h:secret@%zz/", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := testpg.WithDatabase(tt.server, "x")
			if got != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error repeats the password: %v", err)
			}
		})
	}
}
