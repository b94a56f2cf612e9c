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

// BenchmarkOwed reads the inboxes of random devices, each of which has five rows, among a hundred thousand.
func BenchmarkOwed(b *testing.B) {
	const devices = 20_000
	benchStores(b, func(b *testing.B, s *sqlstore.Store, _ *atomic.Int64) {
		now := time.Now()
		for batch := range int64(100) { // five pushes a device, in two days
			a := benchPush(batch, 256, now)
			a.Targets = a.Targets[:0]
			for o := range push.Ordinal(1000) {
				a.Targets = append(a.Targets, push.Ordinal(batch%20)*1000+o)
			}
			a.Push.Expires = now.Add(time.Duration(48+24*(batch%2)) * time.Hour)
			if _, _, err := s.Accept(context.Background(), a); err != nil {
				b.Fatal(err)
			}
		}
		callers(b, 64, func(int64) error {
			all, err := s.Owed(context.Background(), 1, push.Ordinal(rand.Uint32N(devices)), now, 32, nil)
			if err == nil && len(all) != 5 {
				err = fmt.Errorf("owed %d, want 5", len(all))
			}
			return err
		})
	})
}

// BenchmarkReceipts stores a delivery's two receipts: that it was sent, and that it arrived, which takes the row away.
func BenchmarkReceipts(b *testing.B) {
	benchStores(b, func(b *testing.B, s *sqlstore.Store, commits *atomic.Int64) {
		now := time.Now()
		var pushes []*push.Acceptance
		for i := int64(0); i*1000 < int64(b.N); i++ {
			a := benchPush(i, 256, now)
			a.Targets = a.Targets[:0]
			for o := range push.Ordinal(1000) {
				a.Targets = append(a.Targets, o*977%benchDevices)
			}
			if _, _, err := s.Accept(context.Background(), a); err != nil {
				b.Fatal(err)
			}
			pushes = append(pushes, a)
		}
		commits.Store(0)
		callers(b, 1024, func(i int64) error {
			a := pushes[(i-1)/1000]
			d := push.Delivery{ID: a.Push.ID, App: 1, Kind: push.Direct, Expires: a.Push.Expires}
			o := a.Targets[(i-1)%1000]
			return s.Receive(context.Background(), d.Receipt(o, push.MarkSent), d.Receipt(o, push.MarkDelivered))
		})
		b.ReportMetric(float64(b.N)/float64(commits.Load()), "rows/commit")
		if n := s.InboxRows(); n != int64(1000*len(pushes)-b.N) {
			b.Errorf("%d rows are left, want %d", n, 1000*len(pushes)-b.N)
		}
	})
}
