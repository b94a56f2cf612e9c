package sqlstore_test

import (
	"regexp"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// watchVFS is the name of a file system of SQLite that does what the usual one does, and keeps account of what is written
// to write-ahead logs and when that is synced.
const watchVFS = "carillon-watch"

// walEvents is the account. Places in it are numbered from 1.
var walEvents struct {
	sync.Mutex
	on      bool
	fail    bool           // the next sync of a log fails
	n       int            // events so far
	written map[string]int // where a mark was first written to a log
	dirty   int            // the last write that no sync has followed, 0 if there is none
	syncs   []syncEvent
}

// A syncEvent is one sync of a log, from its call to its return.
type syncEvent struct{ begin, end int }

// watched are the addresses of the usual file system's functions. They do not change once it is registered.
var watched struct {
	once                sync.Once
	open, write, syncFn uintptr
	methods             uintptr // the methods of logs, with write and sync replaced
}

// mark is what the test's payloads carry so that they are recognised in a page.
var mark = regexp.MustCompile(`mark-[0-9a-f]{16}`)

// registerVFS registers watchVFS and starts an empty account.
func registerVFS(t *testing.T) {
	t.Helper()
	watched.once.Do(func() {
		tls := libc.NewTLS()
		usual := sqlite3.Xsqlite3_vfs_find(tls, 0)
		if usual == 0 {
			t.Fatal("SQLite has no file system")
		}
		mine := libc.Xmalloc(tls, libc.Tsize_t(unsafe.Sizeof(sqlite3.Tsqlite3_vfs{})))
		name, err := libc.CString(watchVFS)
		if err != nil || mine == 0 {
			t.Fatalf("no memory: %v", err)
		}
		vfs := at[sqlite3.Tsqlite3_vfs](mine)
		*vfs = *at[sqlite3.Tsqlite3_vfs](usual)
		watched.open = vfs.FxOpen
		vfs.FpNext, vfs.FzName, vfs.FxOpen = 0, name, address(watchOpen)
		if rc := sqlite3.Xsqlite3_vfs_register(tls, mine, 0); rc != sqlite3.SQLITE_OK {
			t.Fatalf("register the file system: code %d", rc)
		}
	})
	walEvents.Lock()
	walEvents.on, walEvents.n, walEvents.dirty, walEvents.written, walEvents.syncs = true, 0, 0, map[string]int{}, nil
	walEvents.fail = false
	walEvents.Unlock()
	t.Cleanup(func() {
		walEvents.Lock()
		walEvents.on = false
		walEvents.Unlock()
	})
}

// at returns the thing at an address of SQLite's memory, which is not the garbage collector's.
func at[T any](address uintptr) *T { return *(**T)(unsafe.Pointer(&address)) }

// address returns the address of a function of this file as SQLite keeps it, and function the function at one.
func address(f any) uintptr {
	type words [2]uintptr
	return (*words)(unsafe.Pointer(&f))[1]
}

func function[F any](address uintptr) F {
	return *(*F)(unsafe.Pointer(&struct{ uintptr }{address}))
}

func watchOpen(tls *libc.TLS, vfs, name, file uintptr, flags int32, out uintptr) int32 {
	open := function[func(*libc.TLS, uintptr, uintptr, uintptr, int32, uintptr) int32](watched.open)
	rc := open(tls, vfs, name, file, flags, out)
	if rc != sqlite3.SQLITE_OK || flags&sqlite3.SQLITE_OPEN_WAL == 0 {
		return rc
	}
	f := at[sqlite3.Tsqlite3_file](file)
	walEvents.Lock()
	defer walEvents.Unlock()
	if watched.methods == 0 {
		watched.methods = libc.Xmalloc(tls, libc.Tsize_t(unsafe.Sizeof(sqlite3.Tsqlite3_io_methods{})))
		methods := at[sqlite3.Tsqlite3_io_methods](watched.methods)
		*methods = *at[sqlite3.Tsqlite3_io_methods](f.FpMethods)
		watched.write, watched.syncFn = methods.FxWrite, methods.FxSync
		methods.FxWrite, methods.FxSync = address(watchWrite), address(watchSync)
	}
	f.FpMethods = watched.methods
	return rc
}

func watchWrite(tls *libc.TLS, file, buf uintptr, n int32, offset sqlite3.Tsqlite3_int64) int32 {
	marks := mark.FindAllString(strings.Clone(unsafe.String(at[byte](buf), n)), -1)
	write := function[func(*libc.TLS, uintptr, uintptr, int32, sqlite3.Tsqlite3_int64) int32](watched.write)
	rc := write(tls, file, buf, n, offset)
	walEvents.Lock()
	defer walEvents.Unlock()
	walEvents.n++
	walEvents.dirty = walEvents.n
	for _, m := range marks {
		if _, ok := walEvents.written[m]; !ok {
			walEvents.written[m] = walEvents.n
		}
	}
	return rc
}

func watchSync(tls *libc.TLS, file uintptr, flags int32) int32 {
	walEvents.Lock()
	walEvents.n++
	begin, fail := walEvents.n, walEvents.fail
	walEvents.fail = false
	walEvents.Unlock()
	if fail {
		return sqlite3.SQLITE_IOERR_FSYNC
	}
	sync := function[func(*libc.TLS, uintptr, int32) int32](watched.syncFn)
	rc := sync(tls, file, flags)
	walEvents.Lock()
	defer walEvents.Unlock()
	if rc == sqlite3.SQLITE_OK {
		walEvents.n++
		walEvents.syncs = append(walEvents.syncs, syncEvent{begin, walEvents.n})
		if walEvents.dirty < begin {
			walEvents.dirty = 0
		}
	}
	return rc
}

// failSync makes the next sync of a log fail.
func failSync() {
	walEvents.Lock()
	defer walEvents.Unlock()
	walEvents.fail = true
}

// answered reports whether, now, a sync has ended that began after mark m was written to the log; and whether the log holds
// anything that no sync has followed.
func answered(m string) (written, synced, clean bool) {
	walEvents.Lock()
	defer walEvents.Unlock()
	at, written := walEvents.written[m]
	for _, s := range walEvents.syncs {
		synced = synced || written && s.begin > at
	}
	return written, synced, walEvents.dirty == 0
}
