package restserver

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"time"
)

// docsFiles are the page that shows the OpenAPI document. It loads nothing from elsewhere.
//
//go:embed docs
var docsFiles embed.FS

// docsPolicy keeps the page from loading anything that is not of this server.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// documentation serves the OpenAPI document, which is complete now, and the page.
func (s *Server) documentation() {
	finish(s.api.OpenAPI().Components.Schemas)
	spec, err := json.Marshal(s.api.OpenAPI())
	if err != nil { // only a route whose types cannot be JSON; every test starts a Server
		panic("restserver: " + err.Error())
	}
	s.mux.HandleFunc("GET /openapi.json", static("application/json", spec))
	for path, file := range map[string]struct{ contentType, name string }{
		"/docs":          {"text/html; charset=utf-8", "docs/index.html"},
		"/docs/docs.js":  {"text/javascript; charset=utf-8", "docs/docs.js"},
		"/docs/docs.css": {"text/css; charset=utf-8", "docs/docs.css"},
	} {
		b, err := docsFiles.ReadFile(file.name)
		if err != nil { // a name above that is not in the folder
			panic("restserver: " + err.Error())
		}
		s.mux.HandleFunc("GET "+path, static(file.contentType, b))
	}
}

// static serves b. Browsers ask again each time and are told if they have it already.
func static(contentType string, b []byte) http.HandlerFunc {
	sum := sha256.Sum256(b)
	tag := `"` + hex.EncodeToString(sum[:8]) + `"`
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", contentType)
		h.Set("ETag", tag)
		h.Set("Cache-Control", "no-cache")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", docsPolicy)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
	}
}
