package server

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// A dirLock keeps a second process out of a data directory. The lock is the kernel's, so it ends with the process.
type dirLock struct{ file *os.File }

// lockDir makes dir if it is missing, readable by its owner only, and locks it.
func lockDir(dir string) (*dirLock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("server: data directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("server: data directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("server: another process uses the data directory %s", dir)
		}
		return nil, fmt.Errorf("server: lock %s: %w", dir, err)
	}
	return &dirLock{file: f}, nil
}

// Close gives the directory free.
func (l *dirLock) Close() error { return l.file.Close() }
