package testpg

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// superuser is the name of the role that initdb makes.
const superuser = "carillon"

// passwordFile is the file of a cluster with the superuser's password: a server on a loopback port can be reached by
// everybody on the machine.
const passwordFile = "testpg-password"

// initdbArgs make a cluster that sorts and compares alike on every machine. (The directory and the password come
// with the call.)
var initdbArgs = []string{
	"--username=" + superuser, "--auth-local=trust", "--auth-host=scram-sha-256",
	"--encoding=UTF8", "--locale=C",
}

// An installation is where PostgreSQL's programs are, and whom they run as.
type installation struct {
	bin  string              // directory of initdb, pg_ctl and postgres
	user *syscall.Credential // nil is this process's user
}

// findInstallation returns the newest PostgreSQL of the machine.
func findInstallation() (installation, error) {
	bin, err := findBin("/usr/lib/postgresql")
	if err != nil {
		return installation{}, err
	}
	cred, err := serverUser()
	return installation{bin: bin, user: cred}, err
}

// findBin returns the directory of the newest server's programs: root/VERSION/bin is where Debian and its kin put
// them; other systems have them, or a link to pg_ctl's directory, on the PATH.
func findBin(root string) (string, error) {
	bin, newest := "", 0
	found, err := filepath.Glob(filepath.Join(root, "*", "bin", "initdb"))
	if err != nil {
		return "", err
	}
	for _, initdb := range found {
		dir := filepath.Dir(initdb)
		if version, err := strconv.Atoi(filepath.Base(filepath.Dir(dir))); err == nil && version > newest {
			bin, newest = dir, version
		}
	}
	if bin != "" {
		return bin, nil
	}
	initdb, err := exec.LookPath("initdb")
	if err != nil {
		return "", fmt.Errorf("no PostgreSQL server here: neither %s nor PATH has initdb. `make deps` installs it; "+
			"or let %s name a server that is running", filepath.Join(root, "*", "bin"), EnvURL)
	}
	return filepath.Dir(initdb), nil
}

// command returns a command that runs as the server's user.
func (inst installation) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: inst.user}
	return cmd
}

// makeDir makes a directory of the server's user. Its path is short, because a Unix socket's may have 107 bytes only.
func (inst installation) makeDir() (string, error) {
	dir, err := os.MkdirTemp("", "carillon-pg-")
	if err != nil {
		return "", err
	}
	return dir, inst.own(dir)
}

// own gives a file of this process to the server's user.
func (inst installation) own(path string) error {
	if inst.user == nil {
		return nil
	}
	return os.Lchown(path, int(inst.user.Uid), int(inst.user.Gid))
}

// cluster makes a cluster in the directory data, which does not exist yet, and returns its superuser's password.
//
// initdb takes a second, and every package's test process needs a cluster, so one is kept as a template in the user's
// cache directory and copied, which takes a tenth of that. Without a cache directory each is made anew.
func (inst installation) cluster(data string) (string, error) {
	template, err := inst.templatePath()
	if err != nil {
		return inst.initdb(data)
	}
	if _, err := os.Stat(filepath.Join(template, passwordFile)); errors.Is(err, fs.ErrNotExist) {
		password, err := inst.initdb(data)
		if err == nil {
			// A template saves time and nothing else: where it cannot be kept (a home that is read-only, or that does
			// not exist), the cluster at hand is as good.
			_ = keepTemplate(template, data)
		}
		return password, err
	}
	if err := inst.copyTree(data, template); err != nil {
		return "", fmt.Errorf("copy the template %s: %w", template, err)
	}
	password, err := os.ReadFile(filepath.Join(data, passwordFile))
	return string(password), err
}

// templatePath returns where the template of this installation belongs: another release, another build of one, or
// other arguments have another.
func (inst installation) templatePath() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	initdb, err := os.Stat(filepath.Join(inst.bin, "initdb"))
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%d\n%d\n%q", inst.bin, initdb.Size(), initdb.ModTime().UnixNano(), initdbArgs))
	return filepath.Join(cache, "carillon-testpg", hex.EncodeToString(sum[:8])), nil
}

// initdb makes a cluster in data and returns its superuser's password.
func (inst installation) initdb(data string) (string, error) {
	secret := make([]byte, 16)
	rand.Read(secret) // never fails: crypto/rand ends the process instead
	password := hex.EncodeToString(secret)
	handOver := data + ".password"
	if err := os.WriteFile(handOver, []byte(password), 0o600); err != nil {
		return "", err
	}
	if err := inst.own(handOver); err != nil {
		return "", err
	}
	cmd := inst.command(filepath.Join(inst.bin, "initdb"),
		append([]string{"--pgdata=" + data, "--pwfile=" + handOver}, initdbArgs...)...)
	cmd.Dir = filepath.Dir(data)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("initdb: %w\n%s", err, out)
	}
	kept := filepath.Join(data, passwordFile)
	return password, errors.Join(os.Rename(handOver, kept), inst.own(kept))
}

// keepTemplate copies the cluster in data, which no server has run on yet, to template. It appears there whole or not
// at all: processes that do this at the same time each make a copy, and the first to rename wins.
func keepTemplate(template, data string) error {
	if err := os.MkdirAll(filepath.Dir(template), 0o700); err != nil {
		return err
	}
	half, err := os.MkdirTemp(filepath.Dir(template), "new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(half) // empty after the rename
	whole := filepath.Join(half, "data")
	if err := (installation{}).copyTree(whole, data); err != nil {
		return err
	}
	err = os.Rename(whole, template)
	if errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.ENOTEMPTY) {
		return nil
	}
	return err
}

// copyTree copies the directory from, which holds directories and files only, to the new directory to, and gives the
// copies to the server's user.
func (inst installation) copyTree(to, from string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := to + strings.TrimPrefix(path, from)
		if !d.IsDir() {
			return inst.copyFile(target, path, 0o600)
		}
		if err := os.Mkdir(target, 0o700); err != nil {
			return err
		}
		return inst.own(target)
	})
}

// copyFile copies a small file and gives the copy to the server's user.
func (inst installation) copyFile(to, from string, mode fs.FileMode) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.WriteFile(to, b, mode); err != nil {
		return err
	}
	return inst.own(to)
}
