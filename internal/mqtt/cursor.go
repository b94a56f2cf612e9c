package mqtt

import (
	"encoding/binary"
	"strings"
	"unicode/utf8"
)

// maxString is the greatest length in bytes of a string or of binary data: its length has two bytes.
const maxString = 65535

// A cursor reads the body of a packet from front to back. The first read past the end sets bad and leaves nothing more to
// read, so that a packet can be read without a check after every field, and end tells how it went.
type cursor struct {
	b   []byte
	bad bool
}

// take returns the next n bytes. They cannot be appended to without a copy.
func (c *cursor) take(n int) []byte {
	if n > len(c.b) {
		c.b, c.bad = nil, true
		return nil
	}
	p := c.b[:n:n]
	c.b = c.b[n:]
	return p
}

func (c *cursor) byte() byte {
	if p := c.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (c *cursor) uint16() uint16 {
	if p := c.take(2); p != nil {
		return binary.BigEndian.Uint16(p)
	}
	return 0
}

func (c *cursor) uint32() uint32 {
	if p := c.take(4); p != nil {
		return binary.BigEndian.Uint32(p)
	}
	return 0
}

// varint reads a variable byte integer, which must be in its shortest form.
func (c *cursor) varint() int {
	n, used := readVarint(c.b)
	if used < 1 || used != varintLen(n) {
		c.b, c.bad = nil, true
		return 0
	}
	c.b = c.b[used:]
	return n
}

// binary reads data with a two-byte length. It is never nil unless the cursor is bad.
func (c *cursor) binary() []byte { return c.take(int(c.uint16())) }

// string reads a string. Whether it is UTF-8 is for the packet's own check, which writing needs as well.
func (c *cursor) string() string { return string(c.binary()) }

// rest reads all that is left. It is never nil unless the cursor is bad.
func (c *cursor) rest() []byte { return c.take(len(c.b)) }

// end returns the error of a body that was too short, or that has bytes left over.
func (c *cursor) end() error {
	if c.bad {
		return errTruncated()
	}
	if len(c.b) > 0 {
		return malformed("bytes are left over after the last field")
	}
	return nil
}

func errTruncated() error { return malformed("a field is cut off or its length is not well formed") }

func appendString(dst []byte, s string) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(s)))
	return append(dst, s...)
}

func appendBinary(dst, b []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(b)))
	return append(dst, b...)
}

// checkString refuses what cannot be a UTF-8 encoded string of MQTT: more than 65,535 bytes, ill-formed UTF-8 (a
// surrogate is) and U+0000 [MQTT-1.5.4-1, MQTT-1.5.4-2].
func checkString(s string) error {
	switch {
	case len(s) > maxString:
		return malformed("string is longer than 65535 bytes")
	case !utf8.ValidString(s):
		return malformed("string is not UTF-8")
	case strings.IndexByte(s, 0) >= 0:
		return malformed("string contains U+0000")
	}
	return nil
}

func checkBinary(b []byte) error {
	if len(b) > maxString {
		return malformed("binary data is longer than 65535 bytes")
	}
	return nil
}

// checkPacketID refuses the packet identifier 0 [MQTT-2.2.1-3, MQTT-2.2.1-4].
func checkPacketID(id uint16) error {
	if id == 0 {
		return protocolError("packet identifier is 0")
	}
	return nil
}
