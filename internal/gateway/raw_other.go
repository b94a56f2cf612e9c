//go:build !unix

package gateway

import "errors"

// canTry says that sockets cannot be tried here without waiting: all writing is the writer's.
const canTry = false

func writeFD(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }

func readFD(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }

func (c *conn) try(item) bool { return false }
