package gateway

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gobwas/ws"
)

// subprotocol is what MQTT over WebSocket is called [MQTT-6.0.0-3].
const subprotocol = "mqtt"

// A framing is what goes around packets on a wire.
type framing uint8

const (
	plain     framing = iota // nothing
	websocket                // each in a binary frame
)

// head appends what goes before n bytes.
func (f framing) head(dst []byte, n int) []byte {
	if f == plain {
		return dst
	}
	return appendHead(dst, ws.OpBinary, n)
}

// frame returns a packet with what goes around it.
func (f framing) frame(packet []byte) []byte {
	if f == plain {
		return packet
	}
	return append(f.head(nil, len(packet)), packet...)
}

// appendHead appends the header of a whole frame of a server, which has no mask [RFC 6455 section 5.2].
func appendHead(dst []byte, op ws.OpCode, n int) []byte {
	dst = append(dst, 0x80|byte(op))
	switch {
	case n < 126:
		return append(dst, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, 126), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, 127), uint64(n))
}

// ServeHTTP upgrades a request to a WebSocket that carries MQTT. It returns when the connection has ended. The origin is
// not looked at: a device proves itself by its secret, not by a cookie.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if g.closing() || g.crowded() {
		http.Error(w, "no more devices are taken", http.StatusServiceUnavailable)
		return
	}
	if !slices.ContainsFunc(r.Header.Values("Sec-Websocket-Protocol"), hasSubprotocol) {
		http.Error(w, "the sub-protocol is mqtt", http.StatusBadRequest)
		return
	}
	u := ws.HTTPUpgrader{
		Timeout:  g.opt.ConnectTimeout,
		Protocol: func(name string) bool { return name == subprotocol },
	}
	nc, rw, _, err := u.Upgrade(r, w)
	if err != nil {
		return // the upgrader has answered
	}
	defer nc.Close()
	if nc.SetDeadline(time.Time{}) != nil { // the HTTP server may have set one
		return
	}
	// The HTTP server's buffers are large. What they hold already is taken out, and they go.
	early, _ := rw.Reader.Peek(rw.Reader.Buffered())
	early = append([]byte(nil), early...)
	c := newConn(g, nc, websocket)
	c.attach(nc)
	if !g.admit(c) {
		return
	}
	c.serve(nc, &wsReader{src: bufio.NewReaderSize(io.MultiReader(&once{early}, nc), 256), c: c})
}

// hasSubprotocol reports whether a comma-separated list names the sub-protocol.
func hasSubprotocol(list string) bool {
	for name := range strings.SplitSeq(list, ",") {
		if strings.TrimSpace(name) == subprotocol {
			return true
		}
	}
	return false
}

// once reads its bytes and is empty then.
type once struct{ b []byte }

func (o *once) Read(p []byte) (int, error) {
	if len(o.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p, o.b)
	o.b = o.b[n:]
	return n, nil
}

// A wsReader is the bytes in the binary frames of a client. It answers control frames itself. After a time-out reading
// goes on where it was, also inside a header.
type wsReader struct {
	src *bufio.Reader
	c   *conn

	head    [14]byte // of the frame that is read
	have    int      // bytes of head
	left    int64    // bytes of the payload that are to come
	pos     int      // bytes of the payload that came, for the mask
	op      ws.OpCode
	mask    [4]byte
	inside  bool   // a message has begun and is not complete
	control []byte // payload of the control frame that is read
}

var errWebSocket = errors.New("gateway: connection ended by a WebSocket frame")

// Read reads payload.
func (r *wsReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for r.left == 0 || r.op.IsControl() {
		if r.have < 2 || r.left == 0 {
			if err := r.header(); err != nil {
				return 0, err
			}
		}
		if r.op.IsControl() {
			if err := r.answer(); err != nil {
				return 0, err
			}
		}
	}
	n, err := r.src.Read(p[:min(int64(len(p)), r.left)])
	ws.Cipher(p[:n], r.mask, r.pos)
	r.pos += n
	if r.left -= int64(n); r.left == 0 {
		r.have = 0
	}
	return n, err
}

// header reads a frame's header to its end.
func (r *wsReader) header() error {
	need := 2
	for r.have < need || need == 2 {
		if r.have < need {
			b, err := r.src.ReadByte()
			if err != nil {
				return err
			}
			r.head[r.have] = b
			r.have++
		}
		if r.have >= 2 {
			if r.head[1]&0x80 == 0 {
				return r.fail(ws.StatusProtocolError) // a client masks, always [RFC 6455 section 5.1]
			}
			need = 2 + 4
			switch r.head[1] & 0x7f {
			case 126:
				need += 2
			case 127:
				need += 8
			}
		}
	}
	r.op, r.pos = ws.OpCode(r.head[0]&0x0f), 0
	switch n := r.head[1] & 0x7f; n {
	case 126:
		r.left = int64(binary.BigEndian.Uint16(r.head[2:]))
	case 127:
		r.left = int64(binary.BigEndian.Uint64(r.head[2:]) & (1<<63 - 1))
	default:
		r.left = int64(n)
	}
	copy(r.mask[:], r.head[need-4:need])
	return r.check()
}

// check refuses what RFC 6455 does, and text, which MQTT does not have [MQTT-6.0.0-1].
func (r *wsReader) check() error {
	fin := r.head[0]&0x80 != 0
	switch {
	case r.head[0]&0x70 != 0:
		return r.fail(ws.StatusProtocolError)
	case r.op.IsControl():
		if !fin || r.left > 125 || r.op > ws.OpPong {
			return r.fail(ws.StatusProtocolError)
		}
		r.control = r.control[:0]
		return nil
	case r.op == ws.OpText:
		return r.fail(ws.StatusUnsupportedData)
	case r.op.IsReserved(), (r.op == ws.OpContinuation) != r.inside:
		return r.fail(ws.StatusProtocolError)
	case r.left > int64(r.c.g.lim.maxPacket):
		return r.fail(ws.StatusMessageTooBig)
	}
	r.inside = !fin
	if r.left == 0 {
		r.have = 0
	}
	return nil
}

// answer reads a control frame to its end and does what it asks for.
func (r *wsReader) answer() error {
	for r.left > 0 {
		b, err := r.src.ReadByte()
		if err != nil {
			return err
		}
		r.control = append(r.control, b^r.mask[r.pos&3])
		r.pos++
		r.left--
	}
	r.have = 0
	op := r.op
	r.op = ws.OpContinuation // done with
	switch op {
	case ws.OpPing:
		r.write(ws.OpPong, r.control)
	case ws.OpClose:
		return r.end(r.control[:min(2, len(r.control))])
	}
	return nil
}

func (r *wsReader) write(op ws.OpCode, payload []byte) {
	r.c.mu.Lock()
	r.c.controlBytes(append(appendHead(nil, op, len(payload)), payload...))
	r.c.unlock()
}

// fail closes the connection with a status.
func (r *wsReader) fail(code ws.StatusCode) error {
	r.c.g.stats.violations.Add(1)
	return r.end(ws.NewCloseFrameBody(code, ""))
}

// end closes the connection with a close frame.
func (r *wsReader) end(body []byte) error {
	r.write(ws.OpClose, body)
	r.c.mu.Lock()
	r.c.s.phase = closed
	r.c.finish()
	r.c.unlock()
	return errWebSocket
}
