package identity

import "encoding/binary"

// The permutation of channel ids is an alternating Feistel network over 31 and 32 bits: each round adds (by exclusive
// or) a function of one half to the other half. Such a round undoes itself whatever its function is, so the whole is a
// permutation of exactly 63 bits, and no number has to be tried twice. Ten rounds are what NIST SP 800-38G uses for
// small domains; the round function is an AES block of the round's number and the half, cut to size.
const (
	rounds    = 10
	rightBits = 32
	leftMask  = 1<<31 - 1
	rightMask = 1<<32 - 1
)

// permute maps a number below 2^63 to another, one to one.
func (k *Keyring) permute(x uint64) uint64 {
	left, right := x>>rightBits, x&rightMask
	for i := range rounds {
		left, right = k.round(i, left, right)
	}
	return left<<rightBits | right
}

// invert undoes permute.
func (k *Keyring) invert(x uint64) uint64 {
	left, right := x>>rightBits, x&rightMask
	for i := rounds - 1; i >= 0; i-- {
		left, right = k.round(i, left, right)
	}
	return left<<rightBits | right
}

func (k *Keyring) round(i int, left, right uint64) (l, r uint64) {
	if i%2 == 0 {
		return left ^ k.mix(i, right)&leftMask, right
	}
	return left, right ^ k.mix(i, left)&rightMask
}

func (k *Keyring) mix(i int, half uint64) uint64 {
	var b [16]byte
	b[0] = byte(i)
	binary.BigEndian.PutUint64(b[8:], half)
	k.channel.Encrypt(b[:], b[:])
	return binary.BigEndian.Uint64(b[:8])
}
