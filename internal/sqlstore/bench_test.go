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
			if _, err := s.CreateApp(context.Background(), push.App{Name: "a"}, nil); err != nil {
				b.Fatal(err)
			}
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
	return &push.Acceptance{
		Push: p, Payload: payload, Targets: []push.Ordinal{push.Ordinal(rand.Uint32N(benchDevices))}, Limit: 500,
		Totals: p.Request.Keys(push.DayOf(now)),
	}
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

// BenchmarkChangeDevices stores devices a thousand a change: new ones, then what is known of others, in random places. A
// row a second is a device a second.
func BenchmarkChangeDevices(b *testing.B) {
	const size = 1000
	benchStores(b, func(b *testing.B, s *sqlstore.Store, _ *atomic.Int64) {
		ctx, known := context.Background(), push.Ordinal(0)
		add := func(n int) error {
			rows := make([]push.DeviceRow, n)
			for i := range rows {
				rows[i] = benchDevice(known)
				known++
			}
			return s.ChangeDevices(ctx, push.DeviceChange{App: 1, Add: rows, What: "register"})
		}
		run := func(name string, f func() error) {
			b.Run(name, func(b *testing.B) {
				for b.Loop() {
					if err := f(); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(size*b.N)/b.Elapsed().Seconds(), "rows/s")
			})
		}
		run("add", func() error { return add(size) })
		for known < 100_000 {
			if err := add(size); err != nil {
				b.Fatal(err)
			}
		}
		pick := func(change func(*push.DeviceRow)) []push.DeviceRow {
			seen := map[push.Ordinal]bool{}
			var rows []push.DeviceRow
			for len(rows) < size {
				o := push.Ordinal(rand.Uint32N(uint32(known)))
				if seen[o] {
					continue
				}
				seen[o] = true
				d := benchDevice(o)
				change(&d)
				rows = append(rows, d)
			}
			return rows
		}
		run("tag", func() error {
			rows := pick(func(d *push.DeviceRow) { d.TagIDs = append(d.TagIDs, push.TagID(1000+rand.IntN(100))) })
			return s.ChangeDevices(ctx, push.DeviceChange{App: 1, Save: rows, What: "tags"})
		})
		run("account", func() error {
			rows := pick(func(d *push.DeviceRow) { d.Account = fmt.Sprint(rand.Uint64()) })
			return s.ChangeDevices(ctx, push.DeviceChange{App: 1, Save: rows, What: "account"})
		})
		run("alias", func() error {
			edits := make([]push.AliasEdit, size)
			for i, d := range pick(func(*push.DeviceRow) {}) {
				edits[i] = push.AliasEdit{Ordinal: d.Ref.Ordinal, Op: push.Put, Alias: push.Alias{Type: "uid", Value: fmt.Sprint(rand.IntN(100_000))}}
			}
			return s.ChangeDevices(ctx, push.DeviceChange{
				App: 1, Aliases: edits, Limits: push.AliasLimits{PerDevice: 128, Devices: 128}, What: "aliases",
			})
		})
		run("touch", func() error {
			ordinals := make([]push.Ordinal, size)
			for i := range ordinals {
				ordinals[i] = push.Ordinal(rand.Uint32N(uint32(known)))
			}
			return s.Touch(ctx, 1, push.Day(20_000+rand.Uint32N(1<<20)), ordinals)
		})
	})
}

// BenchmarkChangeDevice stores what is known of one device a change, as most changes do, from many callers.
func BenchmarkChangeDevice(b *testing.B) {
	benchStores(b, func(b *testing.B, s *sqlstore.Store, commits *atomic.Int64) {
		const devices = 20_000
		for first := push.Ordinal(0); first < devices; first += 1000 {
			var rows []push.DeviceRow
			for o := range push.Ordinal(1000) {
				rows = append(rows, benchDevice(first+o))
			}
			if err := s.ChangeDevices(context.Background(), push.DeviceChange{App: 1, Add: rows, What: "register"}); err != nil {
				b.Fatal(err)
			}
		}
		commits.Store(0)
		callers(b, 256, func(i int64) error {
			d := benchDevice(push.Ordinal(rand.Uint32N(devices)))
			d.Epoch = uint32(i)
			return s.ChangeDevices(context.Background(), push.DeviceChange{App: 1, Save: []push.DeviceRow{d}, What: "attributes"})
		})
		b.ReportMetric(float64(b.N)/float64(commits.Load()), "rows/commit")
	})
}

// BenchmarkScanIndex reads what the index needs of a million devices, as a start without a snapshot does.
func BenchmarkScanIndex(b *testing.B) {
	benchStores(b, func(b *testing.B, s *sqlstore.Store, _ *atomic.Int64) {
		for first := push.Ordinal(0); first < benchDevices; first += 2000 {
			rows := make([]push.DeviceRow, 2000)
			for i := range rows {
				rows[i] = benchDevice(first + push.Ordinal(i))
			}
			if err := s.ChangeDevices(context.Background(), push.DeviceChange{App: 1, Add: rows, What: "register"}); err != nil {
				b.Fatal(err)
			}
		}
		for b.Loop() {
			var n atomic.Int64
			err := s.ScanIndex(context.Background(), 1, func(r push.IndexRow) error {
				if len(r.Tags) == 10 && len(r.Attributes) == 8 {
					n.Add(1)
				}
				return nil
			})
			if err != nil || n.Load() != benchDevices {
				b.Fatalf("scanned %d devices, %v, want %d", n.Load(), err, benchDevices)
			}
		}
		b.ReportMetric(float64(benchDevices*b.N)/b.Elapsed().Seconds(), "rows/s")
	})
}
