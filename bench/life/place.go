package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/testpg"
)

// A place is where a record is, with what belongs to it: a folder, and on PostgreSQL a database.
type place struct {
	dir   string // of the record, the keyring, the jobs and the snapshot
	url   string // of the database; "" is SQLite, in dir
	files string // what the record's size is the size of
}

// record returns what sqlstore opens.
func (p *place) record() string {
	if p.url != "" {
		return p.url
	}
	return filepath.Join(p.dir, "carillon.db")
}

// jobs returns what jobs opens: beside the record on PostgreSQL, in a file of their own else.
func (p *place) jobs() string {
	if p.url != "" {
		return p.url
	}
	return filepath.Join(p.dir, "jobs.db")
}

// withPlace calls f with a new and empty place, which is gone when f returns. A PostgreSQL server is started for it.
func withPlace(o options, database string, f func(*place) error) (err error) {
	dir, err := os.MkdirTemp(o.dir, "carillon-life-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if database == "sqlite" {
		return f(&place{dir: dir, files: filepath.Join(dir, "carillon.db")})
	}
	err = errors.New("no server could be started")
	var once sync.Once
	// testpg starts servers for whatever has the life of a test, and outside of tests a benchmark has.
	testing.Benchmark(func(t *testing.B) {
		once.Do(func() {
			server := testpg.Start(t, testpg.Options{Settings: map[string]string{
				"shared_buffers": "512MB", "max_wal_size": "4GB", "checkpoint_timeout": "30min",
				"autovacuum": "off", // it would change the size of the record while that is measured
			}})
			err = f(&place{dir: dir, url: server.Database(t), files: filepath.Join(server.Dir(), "data", "base")})
		})
	})
	return err
}

// size returns how many bytes the record has on disk: the database file, or the files of all databases of the server, of
// which only one changes.
func (p *place) size() (int64, error) {
	n := int64(0)
	err := filepath.WalkDir(p.files, func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // it went while it was looked at
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			n += info.Size()
		}
		return err
	})
	return n, err
}

// wal returns how long SQLite's write-ahead log is; on PostgreSQL, which keeps and uses again what it had, 0.
func (p *place) wal() int64 {
	if p.url != "" {
		return 0
	}
	info, err := os.Stat(p.files + "-wal")
	if err != nil {
		return 0 // there is none
	}
	return info.Size()
}

// A noise tells how many processors were busy with others while something was measured.
type noise struct {
	began time.Time
	all   float64 // seconds that all processors were busy, since the machine was started
	own   float64 // and for this process
}

func listen() noise { return noise{time.Now(), busy(), own()} }

// others returns how many processors others kept busy since n, on average, and how many seconds this process took.
func (n noise) others() (processors, cpu float64) {
	elapsed, mine := time.Since(n.began).Seconds(), own()-n.own
	if elapsed <= 0 {
		return 0, mine
	}
	return round(max(0, busy()-n.all-mine)/elapsed, 2), round(mine, 3)
}

// own returns the CPU seconds of this process.
func own() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // it is this process that is asked about
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// busy returns the CPU seconds of all processors that were not idle. Linux only, as the rest of bench.
func busy() float64 {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		panic(err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	total := 0.0
	for i, field := range strings.Fields(line)[1:] {
		ticks, err := strconv.ParseFloat(field, 64)
		if err != nil {
			panic(fmt.Sprintf("/proc/stat: %v", err))
		}
		if i != 3 && i != 4 && i < 8 { // idle and waiting for a disk; guests are counted in user
			total += ticks / 100
		}
	}
	return total
}
