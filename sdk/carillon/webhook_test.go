package carillon_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/carillonpush/carillon/sdk/carillon"
)

// The vector's signature was computed with `openssl dgst -sha256 -mac HMAC -macopt hexkey:…`, not with this package.
func TestVerifyWebhook(t *testing.T) {
	b, err := os.ReadFile("testdata/webhook.txt")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitN(strings.TrimSuffix(string(b), "\n"), "\n", 4)
	secret, timestamp, signature, body := lines[0], lines[1], lines[2], []byte(lines[3])
	at := time.Unix(1795568400, 0)
	header := func(timestamp, signature string) http.Header {
		h := http.Header{}
		h.Set("Carillon-Timestamp", timestamp)
		h.Set("Carillon-Signature", signature)
		return h
	}
	good := header(timestamp, signature)
	flipped := strings.Replace(signature, "v1="+signature[3:4], "v1="+string("0123456789abcdef"[(strings.IndexByte("0123456789abcdef", signature[3])+1)%16]), 1)
	wrong, late := carillon.ErrWebhookSignature, carillon.ErrWebhookTime
	for _, tt := range []struct {
		name   string
		secret string
		header http.Header
		body   []byte
		now    time.Time
		want   error
	}{
		{"as it was signed", secret, good, body, at, nil},
		{"with a padded secret", secret + "=", good, body, at, nil},
		{"five minutes late", secret, good, body, at.Add(5 * time.Minute), nil},
		{"five minutes early", secret, good, body, at.Add(-5 * time.Minute), nil},
		{"among others", secret, header(timestamp, "v0=00, "+signature+",v1=00"), body, at, nil},
		{"in upper case", secret, header(timestamp, "v1="+strings.ToUpper(signature[3:])), body, at, nil},
		{"too late", secret, good, body, at.Add(5*time.Minute + time.Second), late},
		{"too early", secret, good, body, at.Add(-5*time.Minute - time.Second), late},
		{"with a newer time", secret, header("1795568401", signature), body, at, wrong},
		{"with a time that is none", secret, header("soon", signature), body, at, wrong},
		{"without a time", secret, header("", signature), body, at, wrong},
		{"without a signature", secret, header(timestamp, ""), body, at, wrong},
		{"without headers", secret, nil, body, at, wrong},
		{"with another signature", secret, header(timestamp, flipped), body, at, wrong},
		{"with half a signature", secret, header(timestamp, signature[:35]), body, at, wrong},
		{"with an empty signature", secret, header(timestamp, "v1="), body, at, wrong},
		{"of another version", secret, header(timestamp, "v2="+signature[3:]), body, at, wrong},
		{"without a version", secret, header(timestamp, signature[3:]), body, at, wrong},
		{"with another body", secret, good, bytes.Replace(body, []byte("delivered"), []byte("opened"), 1), at, wrong},
		{"with a byte more", secret, good, append(bytes.Clone(body), ' '), at, wrong},
		{"without a body", secret, good, nil, at, wrong},
		{"with another secret", strings.Replace(secret, secret[:1], "z", 1), good, body, at, wrong},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := carillon.VerifyWebhook(tt.secret, tt.header, tt.body, tt.now); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
	for _, bad := range []string{"", "no secret!", "=="} {
		err := carillon.VerifyWebhook(bad, good, body, at)
		if err == nil || errors.Is(err, wrong) || errors.Is(err, late) {
			t.Errorf("with secret %q: got %v, want that the secret is none", bad, err)
		}
	}
	var call carillon.WebhookCall
	if err := json.Unmarshal(body, &call); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join([]string{call.App, call.Webhook, call.Batch, call.Events[0].Event, call.Events[0].Push}, " "), "1 2 3 delivered 187649984473770"; got != want {
		t.Errorf("the body is %s, want %s", got, want)
	}
}

// A receiver checks each call before it reads its body.
func ExampleVerifyWebhook() {
	secret := "-_8AAQ" // what AddWebhook answered
	header := http.Header{
		"Carillon-Timestamp": {"1795568400"},
		"Carillon-Signature": {"v1=0000000000000000000000000000000000000000000000000000000000000000"},
	}
	err := carillon.VerifyWebhook(secret, header, []byte(`{"events": []}`), time.Now())
	fmt.Println(err)
	// Output: carillon: the webhook's signature is wrong
}
