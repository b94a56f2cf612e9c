package facade

import (
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"runtime/debug"
)

// Recover returns h with panics caught: one is logged, and fail answers in the dialect's own words, unless h had begun
// to answer, in which case the connection is cut. log may be nil.
//
// What was panicked with may hold a piece of the request, so only errors of the Go runtime are logged as they are; of
// others the type is.
func Recover(h http.Handler, log *slog.Logger, fail func(http.ResponseWriter)) http.Handler {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cw := &watchedWriter{ResponseWriter: w}
		defer func() {
			v := recover()
			if v == nil {
				return
			}
			if v == http.ErrAbortHandler { // the value that net/http itself compares with
				panic(v)
			}
			what := fmt.Sprintf("%T", v)
			if err, ok := v.(runtime.Error); ok {
				what = err.Error()
			}
			log.Error("panic in a request", "path", r.URL.Path, "panic", what, "stack", string(debug.Stack()))
			if cw.begun {
				panic(http.ErrAbortHandler)
			}
			fail(w)
		}()
		h.ServeHTTP(cw, r)
	})
}

// A watchedWriter notes that an answer has begun.
type watchedWriter struct {
	http.ResponseWriter
	begun bool
}

// WriteHeader implements http.ResponseWriter.
func (w *watchedWriter) WriteHeader(status int) {
	w.begun = true
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *watchedWriter) Write(b []byte) (int, error) {
	w.begun = true
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach what it needs.
func (w *watchedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
