package identity

import (
	"encoding/binary"
	"encoding/hex"
	"strconv"

	"github.com/carillonpush/carillon/internal/push"
)

// version is the first byte of a device id's plain text.
const version = 1

// maxChannelApp is the greatest app that fits into a channel id.
const maxChannelApp = 1<<23 - 1

// complete reports whether ref can be named by a device id.
func complete(ref push.Ref) bool { return ref.App != 0 && ref.Generation != 0 && ref.Platform.Valid() }

// DeviceID returns the name of a device: 32 lower-case hex digits. It is "" for a ref without app, generation or
// platform.
//
// It is one AES-128 block of version 8 bits, platform 4, generation 8, app 32, ordinal 32 and zeros 44. The zeros are
// what tells a made-up id from one of ours.
func (k *Keyring) DeviceID(ref push.Ref) push.DeviceID {
	if !complete(ref) {
		return ""
	}
	// The fields are not aligned to bytes: after version and platform everything is shifted by four bits.
	var b [16]byte
	high := uint64(version)<<56 | uint64(ref.Platform)<<52 | uint64(ref.Generation)<<44 | uint64(ref.App)<<12 | uint64(ref.Ordinal)>>20
	low := uint64(ref.Ordinal) << 44
	binary.BigEndian.PutUint64(b[:8], high)
	binary.BigEndian.PutUint64(b[8:], low)
	k.id.Encrypt(b[:], b[:])
	return push.DeviceID(hex.EncodeToString(b[:]))
}

// ChannelID returns the second name of a device: 1 to 19 decimal digits without leading zeros. It is "" for a ref
// without app or generation, and for apps above 8,388,607, whose devices have no second name.
//
// The number is a keyed permutation of 63 bits: app 23, generation 8, ordinal 32.
func (k *Keyring) ChannelID(ref push.Ref) push.ChannelID {
	if ref.App == 0 || ref.App > maxChannelApp || ref.Generation == 0 {
		return ""
	}
	plain := uint64(ref.App)<<40 | uint64(ref.Generation)<<32 | uint64(ref.Ordinal)
	return push.ChannelID(strconv.FormatUint(k.permute(plain), 10))
}

// Parse returns what a device id or a channel id stands for. NotFound for anything else: wrong length, upper-case hex,
// leading zeros, or a made-up id.
//
// A device id that parses was made under this keyring. A channel id has no redundancy: nearly every number of 63 bits
// stands for some ref, without platform, and only the set of registered devices knows whether it exists. So whoever
// calls must look the ref up, and compare app and generation.
func (k *Keyring) Parse(name string) (push.Ref, error) {
	if len(name) == 32 {
		return k.parseDevice(name)
	}
	return k.parseChannel(name)
}

func (k *Keyring) parseDevice(name string) (push.Ref, error) {
	var b [16]byte
	for i := range len(name) { // hex.Decode takes upper case, and then a device would have many names
		if c := name[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return push.Ref{}, unknown()
		}
	}
	if _, err := hex.Decode(b[:], []byte(name)); err != nil {
		return push.Ref{}, unknown()
	}
	k.id.Decrypt(b[:], b[:])
	high, low := binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
	ref := push.Ref{
		App:        push.AppID(high >> 12),
		Ordinal:    push.Ordinal(high<<20 | low>>44),
		Generation: uint8(high >> 44),
		Platform:   push.Platform(high >> 52 & 0xf),
	}
	if high>>56 != version || low<<20 != 0 || !complete(ref) {
		return push.Ref{}, unknown()
	}
	return ref, nil
}

func (k *Keyring) parseChannel(name string) (push.Ref, error) {
	if len(name) == 0 || len(name) > 19 || name[0] == '0' && len(name) > 1 {
		return push.Ref{}, unknown()
	}
	for i := range len(name) {
		if name[i] < '0' || name[i] > '9' {
			return push.Ref{}, unknown()
		}
	}
	n, err := strconv.ParseInt(name, 10, 64) // 63 bits: above is out of range
	if err != nil {
		return push.Ref{}, unknown()
	}
	plain := k.invert(uint64(n))
	ref := push.Ref{App: push.AppID(plain >> 40), Generation: uint8(plain >> 32), Ordinal: push.Ordinal(plain)}
	if ref.App == 0 || ref.Generation == 0 {
		return push.Ref{}, unknown()
	}
	return ref, nil
}

func unknown() error {
	return &push.Error{Kind: push.NotFound, Field: "device", Msg: "no such device"}
}
