package testpg

import (
	"bufio"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startTimeout is how long a server may take to be ready; a second is usual.
const startTimeout = time.Minute

// EnvDir names the environment variable in which a server's processes, and with them a preloaded library, find the
// directory of Server.Dir.
const EnvDir = "CARILLON_TESTPG_DIR"

// Options changes how Start runs a server. The zero value is how the shared server runs.
type Options struct {
	// Preload is the path of a shared library that is loaded into every process of the server (LD_PRELOAD); "" is
	// none. It is copied first, so the server's user need not be able to read it where it is.
	Preload string

	// Env is added to the server's environment, as "NAME=value".
	Env []string

	// Settings are added to those of testpg, and win over them: "max_connections": "10".
	Settings map[string]string
}

// A Server is a PostgreSQL server of one test. Its methods may be called at any time, but not at the same time.
type Server struct {
	url   string
	dir   string
	guard *exec.Cmd
	leash *os.File // closing it tells the guard to stop the server
}

// Start starts a server that is stopped and removed when t ends. It fails t if it cannot, and never uses the server
// that EnvURL names.
func Start(t testing.TB, opts Options) *Server {
	t.Helper()
	s, err := start(opts)
	if err != nil {
		t.Fatalf("testpg: %v", err)
	}
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Errorf("testpg: %v", err)
		}
	})
	return s
}

// URL returns the URL of the server's own database "postgres", as its superuser.
func (s *Server) URL() string { return s.url }

// Database returns the URL of a new, empty database, as the function URL does.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	return database(t, s.url)
}

// Dir returns the server's directory. The server's user owns it, so a preloaded library can leave a file there for
// the test to read; it finds the path in EnvDir.
func (s *Server) Dir() string { return s.dir }

// Stop stops the server as a restart would: connections are closed, work under way is rolled back, and what was
// committed is on disk. It returns when the server has gone and its directory is removed. Stopping again does nothing.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	if err := s.stop(); err != nil {
		t.Fatalf("testpg: %v", err)
	}
}

// guardScript starts a server, says so on standard output, and waits for the end of its standard input: that comes
// when the test process closes the other end, or when the kernel does because the process is no more (a panic,
// os.Exit, SIGKILL). Then it stops the server and removes its directory. It has a process group of its own, so that
// an interrupt typed at the terminal reaches the test process only, and the guard after it.
//
// The server's environment (a preloaded library above all) is not the guard's.
const guardScript = `
bin=$1 dir=$2 preload=$3
[ -z "$preload" ] || export LD_PRELOAD="$preload"
if "$bin/pg_ctl" start -D "$dir/data" -l "$dir/log" -w -t 60 >"$dir/pg_ctl.log" 2>&1; then
	echo ready
else
	echo failed
fi
unset LD_PRELOAD
exec >/dev/null
while read -r _; do :; done
[ ! -e "$dir/data/postmaster.pid" ] ||
	"$bin/pg_ctl" stop -D "$dir/data" -m fast -w -t 30 ||
	"$bin/pg_ctl" stop -D "$dir/data" -m immediate -w -t 30
status=$?
rm -rf "$dir" 2>/dev/null
exit $status
`

// start starts a server and returns when it takes connections.
func start(opts Options) (*Server, error) {
	inst, err := findInstallation()
	if err != nil {
		return nil, err
	}
	dir, err := inst.makeDir()
	if err != nil {
		return nil, fmt.Errorf("make a directory for PostgreSQL: %w", err)
	}
	s, err := inst.startIn(dir, opts)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

// startIn makes a cluster in dir and starts a server on it.
func (inst installation) startIn(dir string, opts Options) (*Server, error) {
	password, err := inst.cluster(filepath.Join(dir, "data"))
	if err != nil {
		return nil, fmt.Errorf("make a PostgreSQL cluster: %w", err)
	}
	port, err := freePort()
	if err != nil {
		return nil, fmt.Errorf("find a port for PostgreSQL: %w", err)
	}
	preload := ""
	if opts.Preload != "" {
		preload = filepath.Join(dir, filepath.Base(opts.Preload))
		if err := inst.copyFile(preload, opts.Preload, 0o700); err != nil {
			return nil, fmt.Errorf("copy the library to preload: %w", err)
		}
	}
	if err := configure(dir, port, opts.Settings); err != nil {
		return nil, fmt.Errorf("configure PostgreSQL: %w", err)
	}
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(superuser, password),
		Host:     net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
		Path:     "/postgres",
		RawQuery: "sslmode=disable",
	}
	s := &Server{url: u.String(), dir: dir}
	if err := s.run(inst, preload, opts.Env); err != nil {
		return nil, err
	}
	if preload != "" {
		if err := s.hasLoaded(preload); err != nil {
			return nil, errors.Join(err, s.stop())
		}
	}
	return s, nil
}

// run starts the guard and waits until it says that the server is ready.
func (s *Server) run(inst installation, preload string, env []string) error {
	leashEnd, leash, err := os.Pipe()
	if err != nil {
		return err
	}
	defer leashEnd.Close()
	said, say, err := os.Pipe()
	if err != nil {
		leash.Close()
		return err
	}
	defer said.Close()
	defer say.Close()

	cmd := inst.command("/bin/sh", "-c", guardScript, "testpg-guard", inst.bin, s.dir, preload)
	cmd.Dir = s.dir
	cmd.Env = append(cmd.Environ(), append(env, EnvDir+"="+s.dir)...)
	// Files, not readers and writers: os/exec then needs no goroutine, and a leak test in the caller sees none.
	cmd.Stdin, cmd.Stdout = leashEnd, say
	cmd.SysProcAttr.Setpgid = true
	if err := cmd.Start(); err != nil {
		leash.Close()
		return fmt.Errorf("start PostgreSQL's guard: %w", err)
	}
	s.guard, s.leash = cmd, leash
	say.Close() // the guard holds the only other end: its death is the end of the file

	err = said.SetReadDeadline(time.Now().Add(startTimeout + 5*time.Second))
	if err != nil {
		return errors.Join(err, s.stop())
	}
	line, err := bufio.NewReader(said).ReadString('\n')
	if err == nil && line == "ready\n" {
		return nil
	}
	err = fmt.Errorf("PostgreSQL in %s did not start (%q, %w):\n%s%s", inst.bin, strings.TrimSpace(line), err,
		tail(filepath.Join(s.dir, "pg_ctl.log")), tail(filepath.Join(s.dir, "log")))
	return errors.Join(err, s.stop())
}

// stop lets go of the leash, waits for the guard to have stopped the server, and removes what is left.
func (s *Server) stop() error {
	if s.guard == nil {
		return nil
	}
	err := s.leash.Close()
	if waitErr := s.guard.Wait(); waitErr != nil {
		err = errors.Join(err, fmt.Errorf("stop PostgreSQL: %w", waitErr))
	}
	s.guard = nil
	return errors.Join(err, os.RemoveAll(s.dir))
}

// hasLoaded checks that the server runs with the library: the dynamic linker only warns when it cannot load one, and
// a test that counts what a library saw would count nothing and pass.
func (s *Server) hasLoaded(library string) error {
	pidFile, err := os.ReadFile(filepath.Join(s.dir, "data", "postmaster.pid"))
	if err != nil {
		return err
	}
	pid, _, _ := strings.Cut(string(pidFile), "\n")
	loaded, err := os.ReadFile(filepath.Join("/proc", pid, "maps"))
	if err != nil {
		return err
	}
	if !strings.Contains(string(loaded), library) {
		return fmt.Errorf("PostgreSQL runs without %s:\n%s", filepath.Base(library), tail(filepath.Join(s.dir, "log")))
	}
	return nil
}

// configure adds to the cluster's configuration in dir/data.
func configure(dir string, port int, extra map[string]string) error {
	settings := map[string]string{
		"listen_addresses":        "127.0.0.1",
		"port":                    strconv.Itoa(port),
		"unix_socket_directories": dir,
		"max_connections":         "200",
		// What Carillon promises about durability rests on these two, so no test runs without them.
		"fsync":              "on",
		"synchronous_commit": "on",
		// A small server: several may run at once, and test data fits in little.
		"shared_buffers": "32MB",
		"max_wal_size":   "256MB",
		"jit":            "off",
		"log_timezone":   "UTC",
		"timezone":       "UTC",
	}
	maps.Copy(settings, extra)
	f, err := os.OpenFile(filepath.Join(dir, "data", "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(f, "%s = '%s'\n", name, strings.ReplaceAll(settings[name], "'", "''"))
	}
	return f.Close()
}

// freePort returns a port of 127.0.0.1 that was free a moment ago. Nothing holds it until the server does; the kernel
// hands ports out in an order that makes a collision within that moment unlikely, and then the start fails by name.
func freePort() (int, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// tail returns the last lines of a log, or why there are none.
func tail(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error() + "\n"
	}
	lines := strings.SplitAfter(string(b), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "")
}

// serverUser returns the user that a server started by this process runs as: nil is the process's own. PostgreSQL
// refuses to run as root, so for root it is the user that the distribution's package made.
func serverUser() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL does not run as root, and %w; `make deps` installs it", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}
