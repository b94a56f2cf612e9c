package mqtt_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"reflect"
	"testing"
	"testing/iotest"

	"github.com/carillonpush/carillon/internal/mqtt"
)

// stream returns all packets of version v of packets.txt in one piece, and what they decode to.
func stream(tb testing.TB, v mqtt.Version) (data []byte, want []mqtt.Packet) {
	tb.Helper()
	for _, vec := range readVectors(tb, "packets.txt") {
		if vec.version != v {
			continue
		}
		p, err := mqtt.Decode(v, vec.frame)
		if err != nil {
			tb.Fatal(err)
		}
		data, want = append(data, vec.frame...), append(want, p)
	}
	return data, want
}

func TestReaderCutsStreams(t *testing.T) {
	large := &mqtt.Publish{Topic: "t", Payload: bytes.Repeat([]byte("0123456789"), 1000)}
	for _, tt := range []struct {
		name string
		wrap func(io.Reader) io.Reader
	}{
		{"at once", func(r io.Reader) io.Reader { return r }},
		{"byte by byte", iotest.OneByteReader},
		{"in halves", iotest.HalfReader},
		{"with the end beside the last bytes", iotest.DataErrReader},
	} {
		t.Run(tt.name, func(t *testing.T) {
			data, want := stream(t, mqtt.V5)
			data, err := large.Append(data, mqtt.V5)
			if err != nil {
				t.Fatal(err)
			}
			tail, more := stream(t, mqtt.V5)
			data, want = append(data, tail...), append(append(want, large), more...)
			r := mqtt.NewReader(tt.wrap(bytes.NewReader(data)), 0)
			for i, w := range want {
				if p, err := r.ReadPacket(mqtt.V5); err != nil || !reflect.DeepEqual(p, w) {
					t.Fatalf("packet %d: got %+v, %v, want %+v", i, p, err, w)
				}
			}
			for range 2 {
				if _, err := r.ReadPacket(mqtt.V5); err != io.EOF {
					t.Errorf("at the end: got %v, want %v", err, io.EOF)
				}
			}
		})
	}
}

func TestReaderErrors(t *testing.T) {
	broken := errors.New("line is dead")
	for _, tt := range []struct {
		name   string
		src    io.Reader
		want   error
		reason mqtt.ReasonCode
	}{
		{name: "ends within a header", src: bytes.NewReader([]byte{0x30}), want: io.ErrUnexpectedEOF},
		{name: "ends within a body", src: bytes.NewReader([]byte{0x30, 3, 0}), want: io.ErrUnexpectedEOF},
		{name: "source fails", src: iotest.ErrReader(broken), want: broken},
		{name: "source gives nothing for ever", src: idle{}, want: io.ErrNoProgress},
		{name: "packet above the limit", src: bytes.NewReader([]byte{0x30, 0xff, 1}), reason: mqtt.PacketTooLarge},
		{name: "no packet", src: bytes.NewReader([]byte("GET /")), reason: mqtt.MalformedPacket},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := mqtt.NewReader(tt.src, 100)
			for range 2 { // errors stay
				_, err := r.ReadFrame()
				if tt.want != nil && err != tt.want {
					t.Errorf("got %v, want %v", err, tt.want)
				}
				if tt.want == nil && mqtt.ReasonOf(err) != tt.reason {
					t.Errorf("got %v, want %v", err, tt.reason)
				}
			}
		})
	}
}

// idle is a source that breaks the advice not to return 0 and nil.
type idle struct{}

func (idle) Read([]byte) (int, error) { return 0, nil }

func TestReaderGoesOnAfterTimeout(t *testing.T) {
	r := mqtt.NewReader(io.MultiReader(
		bytes.NewReader([]byte{0x40, 2}), &once{err: os.ErrDeadlineExceeded}, bytes.NewReader([]byte{0, 1}),
	), 0)
	if _, err := r.ReadFrame(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("first read: got %v, want %v", err, os.ErrDeadlineExceeded)
	}
	if frame, err := r.ReadFrame(); err != nil || !bytes.Equal(frame, []byte{0x40, 2, 0, 1}) {
		t.Fatalf("second read: got %x, %v, want the whole packet", frame, err)
	}
}

// once fails one time and is then at its end.
type once struct{ err error }

func (o *once) Read([]byte) (int, error) {
	err := o.err
	o.err = io.EOF
	return 0, err
}

func TestReaderLimitCanChange(t *testing.T) {
	r := mqtt.NewReader(bytes.NewReader([]byte("\x40\x02\x00\x01\x30\x08\x00\x01tabcde")), 4)
	if _, err := r.ReadFrame(); err != nil {
		t.Fatal(err)
	}
	r.SetLimit(10)
	if frame, err := r.ReadFrame(); err != nil || len(frame) != 10 {
		t.Fatalf("got %x, %v, want 10 bytes", frame, err)
	}
}

func TestReaderMemoryFollowsBytesNotPromises(t *testing.T) {
	// A header that announces the greatest packet, and 3,000 bytes of it.
	r := mqtt.NewReader(bytes.NewReader(append([]byte{0x30, 0xff, 0xff, 0xff, 0x7f}, make([]byte, 3000)...)), 0)
	if r.BufferSize() != 0 {
		t.Errorf("before the first read: got %d bytes, want 0", r.BufferSize())
	}
	if _, err := r.ReadFrame(); err != io.ErrUnexpectedEOF {
		t.Fatalf("got %v, want %v", err, io.ErrUnexpectedEOF)
	}
	if got, most := r.BufferSize(), 2*3005; got > most {
		t.Errorf("after 3,005 bytes: got a buffer of %d, want at most %d", got, most)
	}

	large, err := (&mqtt.Publish{Topic: "t", Payload: make([]byte, 100_000)}).Append(nil, mqtt.V311)
	if err != nil {
		t.Fatal(err)
	}
	r = mqtt.NewReader(iotest.HalfReader(bytes.NewReader(append(large, 0xd0, 0, 0xd0, 0))), 0)
	if _, err := r.ReadFrame(); err != nil {
		t.Fatal(err)
	}
	if got := r.BufferSize(); got != len(large) {
		t.Errorf("with the large packet: got a buffer of %d, want %d", got, len(large))
	}
	if _, err := r.ReadFrame(); err != nil {
		t.Fatal(err)
	}
	if got := r.BufferSize(); got > 512 {
		t.Errorf("after it: got a buffer of %d, want at most 512", got)
	}
}
