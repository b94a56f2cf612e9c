package sqlstore_test

import (
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/jackc/pgx/v5"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/sqlstore"
	"github.com/carillonpush/carillon/internal/testpg"
)

// marked returns a push whose payload has a mark of its own.
func markedPush(i int64, now time.Time) (*push.Acceptance, string) {
	a := benchPush(i, 256, now)
	m := fmt.Sprintf("mark-%016x", i)
	a.Payload = []byte(`{"id":"1","data":"` + m + `"}`)
	return a, m
}

// An answer of SQLite's record is never given before the sync of the log that holds its commit has ended.
func TestSQLiteAnswersAfterSync(t *testing.T) {
	registerVFS(t)
	opts := &sqlstore.Options{}
	opts.SetVFS(watchVFS)
	s := open(t, filepath.Join(t.TempDir(), "carillon.db"), opts)
	now := time.Now()
	for i := range int64(50) {
		a, m := markedPush(i, now)
		if _, _, err := s.Accept(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		if written, synced, clean := answered(m); !written || !synced || !clean {
			t.Fatalf("answer %d: written %v, synced since %v, nothing unsynced %v; want all", i, written, synced, clean)
		}
		if err := s.Receive(t.Context(), push.Receipt{App: 1, Push: a.Push.ID, Mark: push.MarkSent}); err != nil {
			t.Fatal(err)
		}
		if _, _, clean := answered(m); !clean {
			t.Fatalf("receipt %d was answered before its sync", i)
		}
	}
	var failed atomic.Int64
	var callers sync.WaitGroup
	for c := range int64(64) {
		callers.Go(func() {
			for i := range int64(20) {
				a, m := markedPush(1000*(c+1)+i, now)
				if _, _, err := s.Accept(t.Context(), a); err != nil {
					t.Error(err)
					return
				}
				if written, synced, _ := answered(m); !written || !synced {
					failed.Add(1)
				}
			}
		})
	}
	callers.Wait()
	if n := failed.Load(); n > 0 {
		t.Errorf("%d of 1280 concurrent answers came before the sync of their commit", n)
	}
}

// The shim can tell: without synchronous=FULL it sees writes that no sync follows.
func TestSQLiteShimSeesAMissingSync(t *testing.T) {
	registerVFS(t)
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "x.db")+"?vfs="+watchVFS+
		"&_pragma=journal_mode(wal)&_pragma=synchronous(normal)&_pragma=wal_autocheckpoint(0)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	m := "mark-00000000000000ff"
	for _, statement := range []string{"CREATE TABLE x (v TEXT)", "INSERT INTO x VALUES ('" + m + "')"} {
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	if written, synced, clean := answered(m); !written || synced || clean {
		t.Errorf("written %v, synced since %v, nothing unsynced %v; want written only", written, synced, clean)
	}
}

// countSyncs is a library that counts how often a process of PostgreSQL has synced a file of the write-ahead log, in a
// file that all of them and the test share. It counts when the kernel has answered.
const countSyncs = `
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static unsigned long *count;

__attribute__((constructor)) static void start(void) {
	const char *dir = getenv("` + testpg.EnvDir + `");
	char path[4096];
	if (!dir) return;
	snprintf(path, sizeof path, "%s/syncs", dir);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	if (fd < 0) return;
	fchmod(fd, 0666);
	if (ftruncate(fd, sizeof *count) == 0) {
		void *p = mmap(0, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (p != MAP_FAILED) count = p;
	}
	close(fd);
}

static int counted(int fd, long rc) {
	char link[64], path[4096];
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, path, sizeof path - 1);
	if (n > 0 && rc == 0 && count) {
		path[n] = 0;
		if (strstr(path, "/pg_wal/")) __atomic_add_fetch(count, 1, __ATOMIC_SEQ_CST);
	}
	return rc;
}

int fsync(int fd) { return counted(fd, syscall(SYS_fsync, fd)); }
int fdatasync(int fd) { return counted(fd, syscall(SYS_fdatasync, fd)); }
`

// countingServer starts a server with that library, and returns how to read the counter.
func countingServer(t *testing.T) (url string, syncs func() uint64) {
	t.Helper()
	dir := t.TempDir()
	source, library := filepath.Join(dir, "syncs.c"), filepath.Join(dir, "syncs.so")
	if err := os.WriteFile(source, []byte(countSyncs), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("gcc", "-shared", "-fPIC", "-O1", "-o", library, source).CombinedOutput(); err != nil {
		t.Fatalf("gcc, which this test needs (`make deps` installs it): %v\n%s", err, out)
	}
	server := testpg.Start(t, testpg.Options{Preload: library, Settings: map[string]string{"wal_sync_method": "fdatasync"}})
	f, err := os.Open(filepath.Join(server.Dir(), "syncs"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	shared, err := syscall.Mmap(int(f.Fd()), 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Munmap(shared); err != nil {
			t.Error(err)
		}
	})
	if binary.NativeEndian.Uint64(shared) == 0 {
		t.Fatal("the server has started and synced nothing: the library does not count")
	}
	counter := (*atomic.Uint64)(unsafe.Pointer(&shared[0]))
	return server.Database(t), counter.Load
}

// An answer of PostgreSQL's record is never given before a sync of the log that began after it was asked for.
func TestPostgresAnswersAfterSync(t *testing.T) {
	url, syncs := countingServer(t)
	s := open(t, url, nil)
	now := time.Now()
	for i := range int64(50) {
		before := syncs()
		if _, _, err := s.Accept(t.Context(), benchPush(i, 256, now)); err != nil {
			t.Fatal(err)
		}
		if after := syncs(); after == before {
			t.Fatalf("answer %d came without a sync", i)
		}
	}
	var failed atomic.Int64
	var callers sync.WaitGroup
	for c := range int64(64) {
		callers.Go(func() {
			for i := range int64(20) {
				before := syncs()
				if _, _, err := s.Accept(t.Context(), benchPush(1000*(c+1)+i, 256, now)); err != nil {
					t.Error(err)
					return
				}
				if syncs() == before {
					failed.Add(1)
				}
			}
		})
	}
	callers.Wait()
	if n := failed.Load(); n > 0 {
		t.Errorf("%d of 1280 concurrent answers came without a sync since they were asked for", n)
	}

	// The counter can tell: a commit that does not wait is answered before any sync, at least once in many.
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), "SET synchronous_commit = off"); err != nil {
		t.Fatal(err)
	}
	early := 0
	for range 50 {
		before := syncs()
		if _, err := conn.Exec(t.Context(), "INSERT INTO meta (key, value) VALUES (md5(random()::text), '')"); err != nil {
			t.Fatal(err)
		}
		if syncs() == before {
			early++
		}
	}
	if early == 0 {
		t.Error("50 commits that wait for no sync all came after one: the counter counts something else")
	}
}
