package identity

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"

	"github.com/carillonpush/carillon/internal/push"
)

// secretSize is the length of a device secret before it is written as text: the key's number and the code.
const secretSize = 1 + sha256.Size

// DeviceSecret returns the secret of a device at an epoch: 44 characters of base64url. It is an HMAC-SHA256 of both
// under the newest `secret` key, after that key's number, so nothing has to be stored but an epoch that is not 0.
func (k *Keyring) DeviceSecret(id push.DeviceID, epoch uint32) string {
	return base64.RawURLEncoding.EncodeToString(k.code(k.current, id, epoch))
}

// VerifySecret reports whether secret is the one of a device at an epoch, under any key of the ring. It takes the same
// time wherever the two differ.
func (k *Keyring) VerifySecret(id push.DeviceID, epoch uint32, secret string) bool {
	var b [secretSize]byte
	if len(secret) != base64.RawURLEncoding.EncodedLen(secretSize) {
		return false
	}
	if _, err := base64.RawURLEncoding.Strict().Decode(b[:], []byte(secret)); err != nil || k.secret[b[0]] == nil {
		return false
	}
	return hmac.Equal(b[:], k.code(b[0], id, epoch))
}

func (k *Keyring) code(key uint8, id push.DeviceID, epoch uint32) []byte {
	mac := hmac.New(sha256.New, k.secret[key])
	mac.Write([]byte(id))
	mac.Write(binary.BigEndian.AppendUint32(nil, epoch))
	return mac.Sum([]byte{key})
}

// Seal encrypts plain (AES-256-GCM) under the newest `store` key. label says what the value is of, "1/umeng.ios/…":
// Open needs the same, so that a sealed value cannot be moved to another row.
func (k *Keyring) Seal(label string, plain []byte) []byte {
	aead := k.store[k.current]
	out := make([]byte, 1+aead.NonceSize(), 1+aead.NonceSize()+len(plain)+aead.Overhead())
	out[0] = k.current
	nonce := out[1:]
	rand.Read(nonce) // never fails: it stops the program instead
	return aead.Seal(out, nonce, plain, []byte(label))
}

// Open decrypts what Seal returned for the same label. Internal if it was changed, moved, or sealed under a key that
// the ring does not hold.
func (k *Keyring) Open(label string, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 || k.store[sealed[0]] == nil {
		return nil, &push.Error{Op: "identity.Open", Kind: push.Internal, Err: fmt.Errorf("sealed under a key that the keyring does not hold")}
	}
	aead := k.store[sealed[0]]
	if len(sealed) < 1+aead.NonceSize() {
		return nil, &push.Error{Op: "identity.Open", Kind: push.Internal, Err: fmt.Errorf("sealed value is cut short")}
	}
	plain, err := aead.Open(nil, sealed[1:1+aead.NonceSize()], sealed[1+aead.NonceSize():], []byte(label))
	if err != nil {
		return nil, &push.Error{Op: "identity.Open", Kind: push.Internal, Err: err}
	}
	return plain, nil
}
