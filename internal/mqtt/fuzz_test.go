package mqtt_test

import (
	"bytes"
	"io"
	"reflect"
	"testing"
	"testing/iotest"

	"github.com/carillonpush/carillon/internal/mqtt"
)

// addVectors seeds f with all vectors, good and bad, beside the corpus in testdata/fuzz.
func addVectors(f *testing.F, add func(v vector)) {
	for _, file := range []string{"packets.txt", "malformed.txt"} {
		for _, v := range readVectors(f, file) {
			add(v)
		}
	}
}

// FuzzDecode: no bytes make Decode panic, and what it accepts is written and read back as the same packet.
func FuzzDecode(f *testing.F) {
	addVectors(f, func(v vector) { f.Add(byte(v.version), v.frame) })
	f.Fuzz(func(t *testing.T, level byte, frame []byte) {
		v := mqtt.Version(level)
		mqtt.ConnectVersion(frame)
		p, err := mqtt.Decode(v, frame)
		if err != nil {
			if _, ok := err.(*mqtt.Error); !ok || !mqtt.ReasonOf(err).Failed() {
				t.Fatalf("Decode: got %v, want an *Error with a failure", err)
			}
			return
		}
		if c, ok := p.(*mqtt.Connect); ok {
			v = c.Version
		}
		written, err := p.Append(nil, v)
		if err != nil {
			t.Fatalf("Append of %+v: %v", p, err)
		}
		if len(written) > len(frame) {
			t.Fatalf("written longer than it was read: got %x, want at most %x", written, frame)
		}
		again, err := mqtt.Decode(v, written)
		if err != nil || !reflect.DeepEqual(again, p) {
			t.Fatalf("read back: got %+v, %v, want %+v", again, err, p)
		}
	})
}

// FuzzReader: a Reader gives the same packets as Frame on the whole input, however the bytes arrive, and ends for the same
// reason; its buffer never grows beyond twice what has arrived.
func FuzzReader(f *testing.F) {
	addVectors(f, func(v vector) { f.Add(v.frame, 64) })
	for _, v := range []mqtt.Version{mqtt.V311, mqtt.V5} {
		data, _ := stream(f, v)
		f.Add(data, 0)
	}
	f.Fuzz(func(t *testing.T, data []byte, limit int) {
		for _, wrap := range []func(io.Reader) io.Reader{
			iotest.OneByteReader, iotest.HalfReader, func(r io.Reader) io.Reader { return r },
		} {
			r := mqtt.NewReader(wrap(bytes.NewReader(data)), limit)
			rest := data
			for {
				h, want := mqtt.Frame(rest, limit)
				frame, err := r.ReadFrame()
				if got, most := r.BufferSize(), max(512, 2*len(data)); got > most {
					t.Fatalf("buffer: got %d, want at most %d", got, most)
				}
				if want == nil {
					if err != nil || !bytes.Equal(frame, rest[:h.Size()]) {
						t.Fatalf("packet: got %x, %v, want %x", frame, err, rest[:h.Size()])
					}
					rest = rest[h.Size():]
					continue
				}
				if want == mqtt.ErrShort {
					if want = io.ErrUnexpectedEOF; len(rest) == 0 {
						want = io.EOF
					}
				}
				if err == nil || err.Error() != want.Error() {
					t.Fatalf("end: got %v, want %v", err, want)
				}
				break
			}
		}
	})
}

// FuzzFrame: Frame never claims more than it was given, and every prefix of a packet is short of it.
func FuzzFrame(f *testing.F) {
	addVectors(f, func(v vector) { f.Add(v.frame, 0) })
	f.Fuzz(func(t *testing.T, buf []byte, limit int) {
		h, err := mqtt.Frame(buf, limit)
		if err != nil {
			return
		}
		if h.Size() < 2 || h.Size() > len(buf) || limit > 0 && h.Size() > limit {
			t.Fatalf("size: got %d of %d bytes with limit %d", h.Size(), len(buf), limit)
		}
		for n := range min(h.Size(), 64) {
			if _, err := mqtt.Frame(buf[:n], limit); err != mqtt.ErrShort {
				t.Fatalf("first %d bytes: got %v, want %v", n, err, mqtt.ErrShort)
			}
		}
	})
}
