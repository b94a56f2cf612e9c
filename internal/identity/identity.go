// Package identity holds the keyring: it names devices without a look-up, makes and verifies their secrets, seals what
// has to be kept secret in the record, and gives pushes their ids.
//
// A keyring is one or more numbered root keys, from which separate keys are derived by label (HKDF with SHA-256). The
// key `id`, and with it the one that hashes, comes from root 1 and is never replaced: names that were given out stay
// valid. The keys `secret` and `store` come from every root; new values are made under the newest, and each value
// carries the number of its own, so that a line added to the file replaces a key without breaking what is older.
package identity

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"

	"github.com/carillonpush/carillon/internal/push"
)

// RootSize is the length of a root key in bytes.
const RootSize = 32

// A Keyring is the keys of one installation. It is safe for concurrent use and never changes.
type Keyring struct {
	id      cipher.Block // names devices, and nothing else
	channel cipher.Block // round function of the second name
	hash    []byte
	secret  map[uint8][]byte
	store   map[uint8]cipher.AEAD
	current uint8 // the newest root
	checks  map[string]string
}

// New returns the keyring of the given roots, by number. Root 1 must be there, and each has RootSize bytes.
func New(roots map[uint8][]byte) (*Keyring, error) {
	k := &Keyring{secret: map[uint8][]byte{}, store: map[uint8]cipher.AEAD{}, checks: map[string]string{}}
	if len(roots[1]) == 0 {
		return nil, fmt.Errorf("identity: root key 1 is missing")
	}
	for n, root := range roots {
		if n == 0 || len(root) != RootSize {
			return nil, fmt.Errorf("identity: root key %d is not %d bytes, or has no number from 1 to 255", n, RootSize)
		}
		k.current = max(k.current, n)
		num := "." + strconv.Itoa(int(n))
		k.secret[n] = k.derive(root, "secret"+num, 32)
		store, err := newAEAD(k.derive(root, "store"+num, 32))
		if err != nil {
			return nil, err
		}
		k.store[n] = store
	}
	var err error
	if k.id, err = aes.NewCipher(k.derive(roots[1], "id", 16)); err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	if k.channel, err = aes.NewCipher(k.derive(roots[1], "id.channel", 16)); err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	k.hash = k.derive(roots[1], "hash", 32)
	return k, nil
}

// derive returns n bytes of root for label, and notes the check value of that key: something that tells two keys apart
// and says nothing about either.
func (k *Keyring) derive(root []byte, label string, n int) []byte {
	key := expand(root, "carillon "+label, n)
	k.checks[label] = hex.EncodeToString(expand(root, "carillon check "+label, 16))
	return key
}

func expand(root []byte, label string, n int) []byte {
	key, err := hkdf.Key(sha256.New, root, nil, label, n)
	if err != nil { // only for lengths above 255 hashes
		panic("identity: " + err.Error())
	}
	return key
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	return aead, nil
}

// Hash returns the keyed hash under which the record keeps something that it need not know: an API key, an install id.
// The purpose, and the app where the value is only unique inside one (0 where not), are part of it.
func (k *Keyring) Hash(purpose string, app push.AppID, value string) [32]byte {
	mac := hmac.New(sha256.New, k.hash)
	mac.Write([]byte(purpose))
	mac.Write([]byte{0})
	mac.Write(binary.BigEndian.AppendUint32(nil, uint32(app)))
	mac.Write([]byte(value))
	return [32]byte(mac.Sum(nil))
}
