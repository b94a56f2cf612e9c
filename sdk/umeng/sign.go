package umeng

import (
	"crypto/md5"
	"crypto/subtle"
	"encoding/hex"
	"iter"
	"strings"
)

// Sign returns 32 lower-case hex digits of MD5(method + url + body + secret); url has no query string, and body is the
// exact bytes that are sent.
//
// Source: protocols/umeng.md section 2; vectors in testdata/sign.txt.
func Sign(method, url string, body []byte, secret string) string {
	h := md5.New()
	h.Write([]byte(method))
	h.Write([]byte(url))
	h.Write(body)
	h.Write([]byte(secret))
	return hex.EncodeToString(h.Sum(nil))
}

// Verify reports whether sign, in either letter case, is the signature of a POST of body to one of urls under secret. body
// must be the raw bytes of the request. An empty secret verifies nothing.
//
// Each comparison takes constant time. The body is hashed once per URL until one matches, so the likely URLs come first; a
// sign of the wrong length costs no hashing.
func Verify(sign, secret string, body []byte, urls iter.Seq[string]) bool {
	if secret == "" || len(sign) != 2*md5.Size {
		return false
	}
	got := []byte(strings.ToLower(sign))
	for u := range urls {
		if subtle.ConstantTimeCompare(got, []byte(Sign("POST", u, body, secret))) == 1 {
			return true
		}
	}
	return false
}

// Received is what a server knows of the URL that a client hashed. The URL itself is not on the wire: proxies, port
// mappings and re-pointed host names lie between.
type Received struct {
	Host   string // Host header as received
	Target string // request target as received and undecoded, in origin or absolute form (net/http: Request.RequestURI)
	// ForwardedHost is X-Forwarded-Host. Fill it only if the peer is a trusted proxy; of a list, the first item counts.
	ForwardedHost string
	// Public holds the addresses under which clients know this server: "https://push.example.com/umeng",
	// "push.example.com:8443". A path is the prefix that a proxy strips.
	Public []string
}

// CandidateURLs yields, without duplicates, the URLs that a client may have hashed: every known host with http and https,
// and with every known path. The host and path as received come first, the service's own hosts are always tried.
// More candidates do not weaken the check, since each is hashed together with the secret.
//
// Source: protocols/umeng.md section 2.1.
func CandidateURLs(r Received) iter.Seq[string] {
	authority, path := splitTarget(r.Target)
	var hosts, paths []string
	add := func(list *[]string, s string) {
		for _, have := range *list {
			if have == s {
				return
			}
		}
		*list = append(*list, s)
	}
	host := func(h string) {
		h = strings.TrimSpace(h)
		if h == "" {
			return
		}
		add(&hosts, h)
		for _, port := range []string{":80", ":443"} {
			if bare, ok := strings.CutSuffix(h, port); ok && bare != "" {
				add(&hosts, bare)
			}
		}
	}
	add(&paths, path)
	host(r.Host)
	host(authority)
	first, _, _ := strings.Cut(r.ForwardedHost, ",")
	host(first)
	for _, p := range r.Public {
		h, prefix := splitPublic(p)
		host(h)
		add(&paths, prefix+path)
	}
	host("msg.umeng.com")
	host("msgapi.umeng.com")
	return func(yield func(string) bool) {
		for _, p := range paths {
			for _, h := range hosts {
				if !yield("http://"+h+p) || !yield("https://"+h+p) {
					return
				}
			}
		}
	}
}

// splitTarget takes a request target apart into its authority, "" in origin form, and its undecoded path.
func splitTarget(target string) (authority, path string) {
	target, _, _ = strings.Cut(target, "?")
	if strings.HasPrefix(target, "/") {
		return "", target
	}
	_, rest, ok := strings.Cut(target, "://")
	if !ok {
		return "", target
	}
	if slash := strings.IndexByte(rest, '/'); slash >= 0 {
		return rest[:slash], rest[slash:]
	}
	return rest, "/"
}

// splitPublic takes a public address apart into its host and its path prefix, which has no trailing slash.
func splitPublic(address string) (host, prefix string) {
	address = strings.TrimSpace(address)
	if _, rest, ok := strings.Cut(address, "://"); ok {
		address = rest
	}
	host, prefix, ok := strings.Cut(address, "/")
	if !ok {
		return host, ""
	}
	return host, strings.TrimRight("/"+prefix, "/")
}
