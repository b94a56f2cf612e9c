//go:build unix

package gateway

import (
	"sync"
	"syscall"
)

// canTry says that a socket can be tried without waiting for it.
const canTry = true

// writeFD writes to a socket that does not block.
func writeFD(fd uintptr, p []byte) (int, error) {
	for {
		n, err := syscall.Write(int(fd), p)
		if err != syscall.EINTR {
			return max(n, 0), err
		}
	}
}

// readFD reads from a socket that does not block.
func readFD(fd uintptr, p []byte) (int, error) {
	for {
		n, err := syscall.Read(int(fd), p)
		if err != syscall.EINTR {
			return max(n, 0), err
		}
	}
}

// A try is one attempt to write an item without waiting. Its function is made once and used again.
type try struct {
	c    *conn
	it   item
	done bool
	fn   func(fd uintptr) bool
}

var tries = sync.Pool{New: func() any {
	t := new(try)
	t.fn = func(fd uintptr) bool {
		t.c.lane.RLock()
		defer t.c.lane.RUnlock()
		t.done = t.c.emit(&t.it, fd)
		return true
	}
	return t
}}

// try writes an item from the caller's goroutine. It reports false if something of it is left: all, or c.out.rest. c.mu is
// held, and there is no writer, or this could wait for it.
func (c *conn) try(it item) bool {
	t := tries.Get().(*try)
	t.c, t.it, t.done = c, it, false
	err := c.raw.Write(t.fn)
	done := t.done
	t.c, t.it = nil, item{}
	tries.Put(t)
	if err != nil {
		c.kill() // somebody has closed it
	}
	return done || c.out.dead
}
