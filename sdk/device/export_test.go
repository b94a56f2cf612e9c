package device

import (
	"unsafe"

	"github.com/carillonpush/carillon/internal/mqtt"
)

var Backoff = backoff

// PeerSize is what a fleet keeps of one device, in bytes, without the ids of its messages.
const PeerSize = unsafe.Sizeof(peer{})

// Feed gives chunks, one after another, to a new peer of f that has sent CONNECT, and returns all that it writes.
func Feed(f *Fleet, chunks ...[]byte) (out []byte, err error) {
	w := &worker{fleet: f}
	p := &peer{phase: connecting}
	for _, b := range chunks {
		o, err := w.feed(p, 0, b)
		out = append(out, o...)
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

// Append encodes packets one after another.
func Append(v mqtt.Version, packets ...mqtt.Packet) (b []byte, err error) {
	for _, p := range packets {
		if b, err = p.Append(b, v); err != nil {
			return nil, err
		}
	}
	return b, nil
}
