package umeng_test

import (
	"bufio"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/carillonpush/carillon/sdk/umeng"
)

// vectors is testdata/sign.txt.
type vectors struct {
	secret string
	bodies map[string]string
	signs  []vector
	token  [3]string // appkey, timestamp, hex
}

type vector struct{ url, body, sign string }

func readVectors(t *testing.T) vectors {
	t.Helper()
	f, err := os.Open("testdata/sign.txt")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	v := vectors{bodies: map[string]string{}}
	for sc := bufio.NewScanner(f); sc.Scan(); {
		w := strings.SplitN(sc.Text(), " ", 4)
		switch w[0] {
		case "secret":
			v.secret = w[1]
		case "body":
			if strconv.Itoa(len(w[3])) != w[2] {
				t.Fatalf("body %s has %d bytes, want %s", w[1], len(w[3]), w[2])
			}
			v.bodies[w[1]] = w[3]
		case "sign":
			v.signs = append(v.signs, vector{w[1], w[2], w[3]})
		case "token":
			v.token = [3]string(w[1:])
		}
	}
	if len(v.bodies) != 4 || len(v.signs) != 9 || v.token[2] == "" {
		t.Fatalf("read %d bodies, %d signatures, token %q", len(v.bodies), len(v.signs), v.token)
	}
	return v
}

func TestSignVectors(t *testing.T) {
	v := readVectors(t)
	for _, s := range v.signs {
		body := []byte(v.bodies[s.body])
		if got := umeng.Sign("POST", s.url, body, v.secret); got != s.sign {
			t.Errorf("Sign of %s with body %s: got %s, want %s", s.url, s.body, got, s.sign)
		}
		for _, sign := range []string{s.sign, strings.ToUpper(s.sign)} {
			if !umeng.Verify(sign, v.secret, body, slices.Values([]string{"http://other/", s.url})) {
				t.Errorf("Verify(%s) of %s: got false, want true", sign, s.url)
			}
		}
	}
	// The retired token is an MD5 of three parts put together in the same way, and no signature.
	appkey, timestamp, token := v.token[0], v.token[1], v.token[2]
	if got := umeng.Sign(appkey, v.secret, []byte(timestamp), ""); got != token {
		t.Errorf("validation token: got %s, want %s", got, token)
	}
	for _, body := range v.bodies {
		if umeng.Verify(token, v.secret, []byte(body), umeng.CandidateURLs(umeng.Received{Host: "msg.umeng.com", Target: "/api/send"})) {
			t.Error("a validation token passes as a signature")
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	v := readVectors(t)
	const url = "http://msg.umeng.com/api/send"
	body := v.bodies["A"]
	good := umeng.Sign("POST", url, []byte(body), v.secret)
	for _, tt := range []struct {
		name, sign, secret, body, url string
	}{
		{"no signature", "", v.secret, body, url},
		{"a short signature", good[:31], v.secret, body, url},
		{"a long signature", good + "0", v.secret, body, url},
		{"one wrong digit", "0" + good[1:], v.secret, body, url},
		{"another secret", good, v.secret + "x", body, url},
		{"another body", good, v.secret, body + " ", url},
		{"another path", good, v.secret, body, "http://msg.umeng.com/api/status"},
		{"an app without secret", umeng.Sign("POST", url, []byte(body), ""), "", body, url},
	} {
		if umeng.Verify(tt.sign, tt.secret, []byte(tt.body), slices.Values([]string{tt.url})) {
			t.Errorf("%s: got accepted, want refused", tt.name)
		}
	}
}

// A client was configured with the URL of a vector, and the request arrived as written here.
func TestCandidatesFindWhatWasSigned(t *testing.T) {
	v := readVectors(t)
	for _, tt := range []struct {
		name, url string
		received  umeng.Received
	}{
		{"host pointed here by DNS", "http://msg.umeng.com/api/send", umeng.Received{Host: "msg.umeng.com", Target: "/api/send?sign=x"}},
		{"TLS ended at a proxy", "https://msgapi.umeng.com/api/send", umeng.Received{Host: "msgapi.umeng.com", Target: "/api/send?sign=x"}},
		{"proxy that rewrites Host", "https://msgapi.umeng.com/api/send", umeng.Received{Host: "10.0.0.7:8080", Target: "/api/send"}},
		{"address with port", "http://127.0.0.1:8080/api/send", umeng.Received{Host: "127.0.0.1:8080", Target: "/api/send"}},
		{"default port in Host", "https://push.example.com/api/send", umeng.Received{Host: "push.example.com:443", Target: "/api/send"}},
		{"forwarded host", "https://push.example.com/api/send", umeng.Received{Host: "backend", Target: "/api/send", ForwardedHost: "push.example.com, inner"}},
		{"public address", "https://push.example.com/api/send", umeng.Received{Host: "backend", Target: "/api/send", Public: []string{"push.example.com"}}},
		{"stripped path prefix", "https://push.example.com/umeng/api/send", umeng.Received{Host: "backend", Target: "/api/send", Public: []string{"https://push.example.com/umeng/"}}},
		{"prefix that was not stripped", "https://push.example.com/umeng/api/send", umeng.Received{Host: "push.example.com", Target: "/umeng/api/send"}},
		{"used as an HTTP proxy", "http://msg.umeng.com/api/status", umeng.Received{Host: "10.0.0.7", Target: "http://msg.umeng.com/api/status?sign=x"}},
		{"used as a proxy for another host", "https://push.example.com/api/send", umeng.Received{Host: "10.0.0.7", Target: "http://push.example.com/api/send?sign=x"}},
	} {
		i := slices.IndexFunc(v.signs, func(s vector) bool { return s.url == tt.url })
		if i < 0 {
			t.Fatalf("%s: no vector for %s", tt.name, tt.url)
		}
		urls := umeng.CandidateURLs(tt.received)
		if !umeng.Verify(v.signs[i].sign, v.secret, []byte(v.bodies[v.signs[i].body]), urls) {
			t.Errorf("%s: got no match among %q, want %s", tt.name, slices.Collect(urls), tt.url)
		}
	}
}

func TestCandidateOrder(t *testing.T) {
	got := slices.Collect(umeng.CandidateURLs(umeng.Received{
		Host: "p.example:443", Target: "/a%2Fb?sign=1", Public: []string{"http://q.example/x", "q.example", ""},
	}))
	want := []string{
		"http://p.example:443/a%2Fb", "https://p.example:443/a%2Fb",
		"http://p.example/a%2Fb", "https://p.example/a%2Fb",
		"http://q.example/a%2Fb", "https://q.example/a%2Fb",
		"http://msg.umeng.com/a%2Fb", "https://msg.umeng.com/a%2Fb",
		"http://msgapi.umeng.com/a%2Fb", "https://msgapi.umeng.com/a%2Fb",
		"http://p.example:443/x/a%2Fb", "https://p.example:443/x/a%2Fb",
		"http://p.example/x/a%2Fb", "https://p.example/x/a%2Fb",
		"http://q.example/x/a%2Fb", "https://q.example/x/a%2Fb",
		"http://msg.umeng.com/x/a%2Fb", "https://msg.umeng.com/x/a%2Fb",
		"http://msgapi.umeng.com/x/a%2Fb", "https://msgapi.umeng.com/x/a%2Fb",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
