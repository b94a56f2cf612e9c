package sqlstore_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/sqlstore"
	"github.com/carillonpush/carillon/internal/testpg"
)

// benchDevices is how many devices pushes of a benchmark go to, at random.
const benchDevices = 1_000_000

func benchStores(b *testing.B, run func(b *testing.B, s *sqlstore.Store, commits *atomic.Int64)) {
	for _, db := range []struct {
		name string
		url  func(b *testing.B) string
	}{
		{"sqlite", func(b *testing.B) string { return filepath.Join(b.TempDir(), "carillon.db") }},
		{"postgres", func(b *testing.B) string { return testpg.URL(b) }},
	} {
		b.Run(db.name, func(b *testing.B) {
			var commits atomic.Int64
			s, err := sqlstore.Open(context.Background(), db.url(b), &sqlstore.Options{
				Observe: func(sqlstore.Commit) { commits.Add(1) },
			})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			run(b, s, &commits)
		})
	}
}

// callers runs f b.N times in n goroutines.
func callers(b *testing.B, n int, f func(i int64) error) {
	var next atomic.Int64
	failed := make(chan error, n)
	b.ResetTimer()
	for range n {
		go func() {
			for {
				i := next.Add(1)
				if i > int64(b.N) {
					failed <- nil
					return
				}
				if err := f(i); err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	for range n {
		if err := <-failed; err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// benchPush returns a direct push of one device with a body of about size bytes.
func benchPush(i int64, size int, now time.Time) *push.Acceptance {
	text := make([]byte, size-80)
	for i := range text {
		text[i] = 'a' + byte(i%26)
	}
	p := push.Push{
		ID: push.ID(now.Sub(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)).Milliseconds()<<22 + i), App: 1,
		Kind: push.Direct, State: push.Done, Created: now, Start: now, Expires: now.Add(72 * time.Hour), Target: 1,
		Request: push.Request{App: 1, Origin: "umeng"},
	}
	payload := fmt.Appendf(nil, `{"id":"%d","notification":{"title":"t","body":"%s"}}`, p.ID, text)
	return &push.Acceptance{Push: p, Payload: payload, Targets: []push.Ordinal{push.Ordinal(rand.Uint32N(benchDevices))}, Limit: 500}
}

func BenchmarkAcceptDirect(b *testing.B) {
	for _, n := range []int{64, 1024} {
		for _, size := range []int{256, 1024} {
			b.Run(fmt.Sprintf("callers=%d/body=%d", n, size), func(b *testing.B) {
				benchStores(b, func(b *testing.B, s *sqlstore.Store, commits *atomic.Int64) {
					now := time.Now()
					callers(b, n, func(i int64) error {
						_, _, err := s.Accept(context.Background(), benchPush(i, size, now))
						return err
					})
					b.ReportMetric(float64(b.N)/float64(commits.Load()), "rows/commit")
				})
			})
		}
	}
}
