package restserver_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/carillonpush/carillon/internal/restserver"
)

// BenchmarkSend is what native REST itself costs for a push to one device: routing, access, decoding and the answer,
// over a house that keeps it in memory.
func BenchmarkSend(b *testing.B) {
	s := newSite(b, restserver.Options{})
	b.ReportAllocs()
	for b.Loop() {
		req := httptest.NewRequest("POST", pushes, strings.NewReader(hello))
		req.Header.Set("Authorization", key1)
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, req)
		if w.Code != 202 {
			b.Fatalf("status %d, want 202", w.Code)
		}
	}
}
