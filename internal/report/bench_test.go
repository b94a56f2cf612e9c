package report_test

import (
	"context"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/report"
)

// nullStore takes all and keeps nothing, so that a benchmark measures the ledger.
type nullStore struct{ *memStore }

func (*nullStore) Fold(context.Context, push.Fold) error { return nil }

// 100,000 pushes to a device each, of which each was sent and acknowledged.
func BenchmarkFoldDirect(b *testing.B) {
	const pushes = 100_000
	store := &nullStore{newMemStore()}
	for id := range push.ID(pushes) {
		p := direct
		p.ID = id + 1
		p.Request = push.Request{App: 1, Origin: "rest"}
		store.pushes[p.ID] = p
	}
	b.ReportAllocs()
	for b.Loop() {
		ledger := report.New(store, store, nil)
		for _, m := range []push.Mark{push.MarkSent, push.MarkDelivered} {
			row := push.Logged{Seq: int64(m) + 1, At: time.Unix(1, 0)}
			for id := range push.ID(pushes) {
				p := direct
				p.ID = id + 1
				row.Receipts = append(row.Receipts, receipt(p, push.Ordinal(id%1000), m))
			}
			ledger.Apply(row)
		}
		if err := ledger.Fold(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(2*pushes), "ns/receipt")
}

// A broadcast that a million devices acknowledge.
func BenchmarkFoldBroadcast(b *testing.B) {
	const devices = 1_000_000
	p := bulk
	p.Target = devices
	p.Request = push.Request{App: 1, Origin: "rest"}
	store := &nullStore{newMemStore(p)}
	rows := make([]push.Logged, 0, devices/1000)
	for i := range devices / 1000 {
		row := push.Logged{Seq: int64(i) + 1, At: time.Unix(int64(i), 0)}
		for o := range 1000 {
			row.Receipts = append(row.Receipts, receipt(p, push.Ordinal(i*1000+o), push.MarkDelivered))
		}
		rows = append(rows, row)
	}
	b.ReportAllocs()
	for b.Loop() {
		ledger := report.New(store, store, nil)
		for _, row := range rows {
			ledger.Apply(row)
		}
		if err := ledger.Fold(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/devices, "ns/receipt")
}
