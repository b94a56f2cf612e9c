package mqtt

import "errors"

const (
	// maxRemaining is the greatest remaining length: four bytes of seven bits [MQTT-1.5.5].
	maxRemaining = 268_435_455
	// MaxPacketSize is the size in bytes, fixed header included, of the greatest packet that can be written at all.
	MaxPacketSize = 1 + 4 + maxRemaining
)

// ErrShort says that a buffer does not hold a whole packet yet. It is no fault of the peer: read more and try again.
var ErrShort = errors.New("mqtt: packet is not complete yet")

// A Header is a packet's fixed header.
type Header struct {
	Type      Type
	Flags     byte // lower four bits of the first byte
	HeaderLen int  // bytes of the fixed header itself: 2 to 5
	BodyLen   int  // bytes that follow it
}

// Size returns the size of the whole packet in bytes.
func (h Header) Size() int { return h.HeaderLen + h.BodyLen }

// checkMinimal refuses a remaining length that takes more bytes than it needs. Only 5.0 demands that [MQTT-1.5.5-1].
func (h Header) checkMinimal() error {
	if h.HeaderLen-1 != varintLen(h.BodyLen) {
		return malformed("remaining length is not in its shortest form")
	}
	return nil
}

// Frame looks for one packet at the start of buf. It consumes and keeps nothing: when err is nil the packet is
// buf[:h.Size()], and what follows it is the next one.
//
// When buf ends early err is ErrShort. If the fixed header was complete, h is set all the same, so that h.Size() tells
// how much will be needed; otherwise h is zero. limit is the greatest size accepted, in bytes, header included; zero or
// less means MaxPacketSize. A packet above it is refused with PacketTooLarge as soon as its header is there; then h is set
// too. Every other violation of the fixed header is MalformedPacket, and there is no way to find the next packet after it.
func Frame(buf []byte, limit int) (h Header, err error) {
	if len(buf) == 0 {
		return Header{}, ErrShort
	}
	t, flags := Type(buf[0]>>4), buf[0]&0x0f
	switch {
	case t == 0:
		return Header{}, malformed("packet type 0 is reserved")
	case t == TypePublish:
		if flags>>1&3 == 3 {
			return Header{}, malformed("PUBLISH with QoS 3") // [MQTT-3.3.1-4]
		}
	case flags != t.flags():
		return Header{}, malformed("reserved flags of the fixed header are set") // [MQTT-2.1.3-1]
	}
	n, used := readVarint(buf[1:])
	if used == 0 {
		return Header{}, ErrShort
	}
	if used < 0 {
		return Header{}, malformed("remaining length takes more than four bytes")
	}
	h = Header{Type: t, Flags: flags, HeaderLen: 1 + used, BodyLen: n}
	if limit > 0 && h.Size() > limit {
		return h, &Error{Reason: PacketTooLarge, Msg: "packet is larger than the limit"}
	}
	if h.Size() > len(buf) {
		return h, ErrShort
	}
	return h, nil
}

// readVarint reads a variable byte integer. used is the number of its bytes, 0 when b ends before it does and -1 when it
// takes more than four.
func readVarint(b []byte) (n, used int) {
	for i := range 4 {
		if i == len(b) {
			return 0, 0
		}
		n |= int(b[i]&0x7f) << (7 * i)
		if b[i] < 0x80 {
			return n, i + 1
		}
	}
	return 0, -1
}

// varintLen returns how many bytes appendVarint takes for n.
func varintLen(n int) int {
	switch {
	case n < 1<<7:
		return 1
	case n < 1<<14:
		return 2
	case n < 1<<21:
		return 3
	}
	return 4
}

// appendVarint appends n, which is at most maxRemaining, in its shortest form.
func appendVarint(dst []byte, n int) []byte {
	for n >= 0x80 {
		dst = append(dst, byte(n)|0x80)
		n >>= 7
	}
	return append(dst, byte(n))
}

// insertVarint writes n before the bytes from at on, moving them up. Writing a length after what it counts spares every
// packet a second function that only adds up sizes; what moves is small, because PUBLISH appends its payload afterwards.
func insertVarint(dst []byte, at, n int) []byte {
	k, end := varintLen(n), len(dst)
	dst = append(dst, "    "[:k]...)
	copy(dst[at+k:], dst[at:end])
	appendVarint(dst[:at], n)
	return dst
}

// finish puts the remaining length into a packet whose first byte is at start, and which lacks extra more bytes.
func finish(dst []byte, start, extra int) ([]byte, error) {
	n := len(dst) - start - 1 + extra
	if n > maxRemaining {
		return dst[:start], &Error{Reason: PacketTooLarge, Msg: "packet is larger than a remaining length can say"}
	}
	return insertVarint(dst, start+1, n), nil
}
