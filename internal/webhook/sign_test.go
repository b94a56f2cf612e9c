package webhook_test

import (
	_ "embed"
	"encoding/hex"
	"strconv"
	"strings"
	"testing"

	"github.com/carillonpush/carillon/internal/webhook"
)

//go:embed testdata/sign.txt
var vectors string

func TestVectors(t *testing.T) {
	n := 0
	for line := range strings.Lines(vectors) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		n++
		f := strings.Split(line, "\t")
		if len(f) != 4 {
			t.Fatalf("%q has %d fields, want 4", line, len(f))
		}
		secret, err1 := hex.DecodeString(f[0])
		timestamp, err2 := strconv.ParseInt(f[1], 10, 64)
		body, err3 := strconv.Unquote(f[2])
		if err1 != nil || err2 != nil || err3 != nil {
			t.Fatalf("%q: %v, %v, %v", line, err1, err2, err3)
		}
		if got := webhook.Sign(secret, timestamp, []byte(body)); got != f[3] {
			t.Errorf("Sign(%s, %d, %q) = %s, want %s", f[0], timestamp, body, got, f[3])
		}
		if !webhook.Verify(secret, timestamp, []byte(body), f[3]) {
			t.Errorf("Verify refuses %s of %q", f[3], body)
		}
	}
	if n != 4 {
		t.Errorf("%d vectors, want 4", n)
	}
}

func TestVerify(t *testing.T) {
	secret, body := []byte("secret"), []byte("{}")
	right := webhook.Sign(secret, 7, body)
	for _, tt := range []struct {
		name      string
		secret    string
		timestamp int64
		body      string
		signature string
		want      bool
	}{
		{"what was signed", "secret", 7, "{}", right, true},
		{"one of several", "secret", 7, "{}", "v2=00, " + right, true},
		{"another secret", "other", 7, "{}", right, false},
		{"another time", "secret", 8, "{}", right, false},
		{"another body", "secret", 7, "{ }", right, false},
		{"no signature", "secret", 7, "{}", "", false},
		{"no version", "secret", 7, "{}", strings.TrimPrefix(right, "v1="), false},
		{"another version", "secret", 7, "{}", "v2" + strings.TrimPrefix(right, "v1"), false},
		{"cut short", "secret", 7, "{}", right[:len(right)-2], false},
		{"no hex", "secret", 7, "{}", "v1=zz", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := webhook.Verify([]byte(tt.secret), tt.timestamp, []byte(tt.body), tt.signature); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
