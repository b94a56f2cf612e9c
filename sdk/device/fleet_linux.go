package device

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// An epoll owns the sockets of one loop of a Fleet. Only its own goroutine touches it; what wakes it from outside is an
// eventfd.
type epoll struct {
	worker
	fd, wake   int
	socks      []sock // of the devices first, first+step, …
	first      int
	step       int
	handshakes int // how many devices may be between away and ready
	busy       int // how many are
	waiting    []int32
	later      delays
	readBuf    []byte
}

// A sock is one device's socket and what is to be written to it.
type sock struct {
	peer
	fd    int32
	gen   uint32 // counts the sockets of this device, so that an event of an old one is known
	wrote int64  // Unix seconds: when something was last written, or the connection was begun
	out   []byte // what the socket did not take; nil mostly
}

// loop runs the devices i with i % loops == first until ctx ends.
func (f *Fleet) loop(ctx context.Context, first, loops int) error {
	e, err := newEpoll(f, first, loops)
	if err != nil {
		return err
	}
	defer e.close()
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(woken)
		unix.Write(e.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}) //nolint:errcheck // an eventfd takes a 1
	})
	defer func() {
		if !stop() {
			<-woken // it must not write to a descriptor that is somebody else's by then
		}
	}()
	tick := time.Now()
	events := make([]unix.EpollEvent, 512)
	for ctx.Err() == nil {
		now := time.Now()
		if now.Sub(tick) >= time.Second {
			tick = now
			e.sweep(now)
		}
		e.start(now)
		n, err := unix.EpollWait(e.fd, events, e.timeout(now))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("device: epoll: %w", err)
		}
		for _, ev := range events[:max(n, 0)] {
			if ev.Fd != -1 {
				e.event(ev)
			}
		}
	}
	return nil
}

func newEpoll(f *Fleet, first, loops int) (*epoll, error) {
	e := &epoll{
		worker: worker{fleet: f}, first: first, step: loops, fd: -1, wake: -1,
		handshakes: max(1, f.opts.Handshakes/loops), readBuf: make([]byte, 64<<10),
	}
	n := (len(f.ids) - first + loops - 1) / loops
	e.socks = make([]sock, n)
	e.waiting = make([]int32, n)
	for i := range e.socks {
		e.socks[i].fd = -1
		e.waiting[i] = int32(i)
	}
	var err error
	if e.fd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("device: epoll: %w", err)
	}
	if e.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err == nil {
		err = unix.EpollCtl(e.fd, unix.EPOLL_CTL_ADD, e.wake, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: -1})
	}
	if err != nil {
		e.close()
		return nil, fmt.Errorf("device: epoll: %w", err)
	}
	return e, nil
}

// close disconnects every device and frees all descriptors.
func (e *epoll) close() {
	for i := range e.socks {
		s := &e.socks[i]
		if s.phase == ready && len(s.out) == 0 {
			unix.Write(int(s.fd), []byte{0xe0, 0}) //nolint:errcheck // DISCONNECT, as a courtesy
			e.fleet.count.connected.Add(-1)
		}
		if s.fd >= 0 {
			unix.Close(int(s.fd)) //nolint:errcheck // there is nothing to do about it
		}
	}
	for _, fd := range []int{e.wake, e.fd} {
		if fd >= 0 {
			unix.Close(fd) //nolint:errcheck // as above
		}
	}
}

// index returns the fleet's number of slot i.
func (e *epoll) index(i int32) int { return e.first + int(i)*e.step }

// timeout returns how long to wait for events, in milliseconds: up to the next connection that is due, and at most one
// second because of the sweep.
func (e *epoll) timeout(now time.Time) int {
	if len(e.later) == 0 || e.busy >= e.handshakes {
		return 1000
	}
	return int(min(max(e.later[0].at.Sub(now), 0)/time.Millisecond+1, 1000))
}

// start begins connections while there is room for handshakes.
func (e *epoll) start(now time.Time) {
	for len(e.later) > 0 && !e.later[0].at.After(now) {
		e.waiting = append(e.waiting, heap.Pop(&e.later).(delayed).slot)
	}
	for e.busy < e.handshakes && len(e.waiting) > 0 {
		i := e.waiting[0]
		e.waiting = e.waiting[1:]
		e.busy++
		s := &e.socks[i]
		s.phase = dialling
		s.wrote = now.Unix()
		if err := e.dial(i); err != nil {
			e.drop(i, err)
		}
	}
}

// dial opens a non-blocking socket and begins to connect it.
func (e *epoll) dial(i int32) error {
	to := e.fleet.address
	family := unix.AF_INET
	if !to.Addr().Unmap().Is4() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	s := &e.socks[i]
	s.fd = int32(fd)
	s.gen++
	if from := e.fleet.source(e.index(i)); from.IsValid() {
		// The port is chosen at connect, when both ends are known; otherwise 28,000 ports would do for all servers together.
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
			return err
		}
		if err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(from, 0))); err != nil {
			return err
		}
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return err
	}
	if err := unix.Connect(fd, sockaddr(to)); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return err
	}
	return e.watch(unix.EPOLL_CTL_ADD, i, unix.EPOLLOUT)
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if ip := a.Addr().Unmap(); ip.Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: ip.As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// watch tells epoll what to report of slot i, in one of 2³¹ slots and with the generation of its socket.
func (e *epoll) watch(op int, i int32, events uint32) error {
	s := &e.socks[i]
	return unix.EpollCtl(e.fd, op, int(s.fd), &unix.EpollEvent{Events: events, Fd: i, Pad: int32(s.gen)})
}

// event handles what epoll has reported.
func (e *epoll) event(ev unix.EpollEvent) {
	i := ev.Fd
	s := &e.socks[i]
	if s.fd < 0 || int32(s.gen) != ev.Pad {
		return // of a socket that is closed
	}
	if s.phase == dialling {
		if err := e.connected(i); err != nil {
			e.drop(i, err)
		}
		return
	}
	if ev.Events&unix.EPOLLOUT != 0 {
		if err := e.write(i, nil); err != nil {
			e.drop(i, err)
			return
		}
	}
	if ev.Events&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		if err := e.read(i); err != nil {
			e.drop(i, err)
		}
	}
}

// connected sends CONNECT on a socket that has connected, or says why it did not.
func (e *epoll) connected(i int32) error {
	s := &e.socks[i]
	errno, err := unix.GetsockoptInt(int(s.fd), unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return err
	}
	if errno != 0 {
		return unix.Errno(errno)
	}
	packet, err := e.connectPacket(e.out[:0], e.index(i))
	if err != nil {
		return err
	}
	e.out = packet
	s.phase = connecting
	if err := e.watch(unix.EPOLL_CTL_MOD, i, unix.EPOLLIN); err != nil {
		return err
	}
	return e.write(i, packet)
}

// read takes what has arrived, at most one buffer full: epoll reports the rest again, after the others had their turn.
func (e *epoll) read(i int32) error {
	s := &e.socks[i]
	n, err := unix.Read(int(s.fd), e.readBuf)
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return nil
	case err != nil:
		return err
	case n == 0:
		return errors.New("the server has closed the connection")
	}
	before := s.phase
	out, err := e.feed(&s.peer, e.index(i), e.readBuf[:n])
	if before != ready && s.phase == ready {
		e.busy--
	}
	if len(out) > 0 {
		err = errors.Join(err, e.write(i, out))
	}
	return err
}

// write sends b after what was left over, and keeps what the socket does not take.
func (e *epoll) write(i int32, b []byte) error {
	s := &e.socks[i]
	if len(s.out) > 0 {
		s.out = append(s.out, b...)
		b = s.out
	}
	if len(b) > maxFleetPacket {
		return errors.New("the server does not read")
	}
	had := len(s.out) > 0
	n := 0
	if len(b) > 0 {
		var err error
		n, err = unix.Write(int(s.fd), b)
		if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			return err
		}
		n = max(n, 0)
		s.wrote = time.Now().Unix()
	}
	if n == len(b) {
		s.out = nil
	} else {
		s.out = append([]byte(nil), b[n:]...)
	}
	if has := len(s.out) > 0; has != had {
		events := uint32(unix.EPOLLIN)
		if has {
			events |= unix.EPOLLOUT
		}
		return e.watch(unix.EPOLL_CTL_MOD, i, events)
	}
	return nil
}

// drop closes slot i's socket and plans the next connection.
func (e *epoll) drop(i int32, cause error) {
	s := &e.socks[i]
	if s.phase != ready && s.phase != away && s.phase != refused {
		e.busy--
	}
	if s.fd >= 0 {
		unix.Close(int(s.fd)) //nolint:errcheck // there is nothing to do about it
		s.fd = -1
	}
	s.out = nil
	if delay, ok := e.lost(&s.peer, cause); ok {
		heap.Push(&e.later, delayed{time.Now().Add(delay), i})
	}
}

// sweep sends PINGREQ where nothing was written for half a keep-alive, and gives up handshakes that take too long.
func (e *epoll) sweep(now time.Time) {
	idle := now.Add(-e.fleet.opts.KeepAlive / 2).Unix()
	tooLong := now.Add(-handshakeTimeout).Unix()
	for i := range e.socks {
		s := &e.socks[i]
		var err error
		switch {
		case s.phase == ready && s.wrote <= idle && len(s.out) == 0:
			err = e.write(int32(i), []byte{0xc0, 0}) // PINGREQ
		case s.phase != ready && s.phase != away && s.phase != refused && s.wrote < tooLong:
			err = errors.New("the handshake takes too long")
		}
		if err != nil {
			e.drop(int32(i), err)
		}
	}
}

// A delayed slot connects again at a time.
type delayed struct {
	at   time.Time
	slot int32
}

// delays is a heap of delayed slots, the earliest first.
type delays []delayed

func (d delays) Len() int           { return len(d) }
func (d delays) Less(i, j int) bool { return d[i].at.Before(d[j].at) }
func (d delays) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }

// Push implements heap.Interface.
func (d *delays) Push(x any) { *d = append(*d, x.(delayed)) }

// Pop implements heap.Interface.
func (d *delays) Pop() any {
	last := (*d)[len(*d)-1]
	*d = (*d)[:len(*d)-1]
	return last
}
