package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
)

// The headers of a call.
const (
	headerSignature = "Carillon-Signature"
	headerTimestamp = "Carillon-Timestamp"
	headerBatch     = "Carillon-Batch"
)

// version is in front of a signature, so that another way to sign can be added beside it.
const version = "v1="

// Sign returns the value of Carillon-Signature for a call: "v1=" and 64 lower-case hex digits of HMAC-SHA256 under secret over
// the timestamp in decimal, as Carillon-Timestamp has it, a full stop, and the body as it is sent. timestamp is Unix seconds.
// secret is the bytes that the base64url text stands for which was shown when the webhook was made.
//
// Source: docs/pushes.md, "Webhooks"; vectors in testdata/sign.txt.
func Sign(secret []byte, timestamp int64, body []byte) string {
	return version + hex.EncodeToString(sum(secret, timestamp, body))
}

// Verify reports, in a time that does not depend on where they differ, whether signature is that of a call. It may hold
// several, separated by commas: one that is right is enough. Whether the timestamp is recent is for the receiver to judge, who
// should refuse what is more than five minutes off.
func Verify(secret []byte, timestamp int64, body []byte, signature string) bool {
	want := sum(secret, timestamp, body)
	right := false
	for part := range strings.SplitSeq(signature, ",") {
		digits, ok := strings.CutPrefix(strings.TrimSpace(part), version)
		got, err := hex.DecodeString(digits)
		right = right || ok && err == nil && hmac.Equal(got, want)
	}
	return right
}

func sum(secret []byte, timestamp int64, body []byte) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write(strconv.AppendInt(nil, timestamp, 10))
	mac.Write([]byte{'.'})
	mac.Write(body)
	return mac.Sum(nil)
}
