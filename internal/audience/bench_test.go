package audience_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/carillonpush/carillon/internal/audience"
	"github.com/carillonpush/carillon/internal/push"
)

// benchDevices are four chunks; bench/audience measures millions, against databases.
const benchDevices = 4 << 16

// BenchmarkApply changes one attribute of one device.
func BenchmarkApply(b *testing.B) {
	w := crowd(1, benchDevices)
	rows := make([]push.IndexRow, 1<<12)
	for i := range rows {
		rows[i] = w.models[1].rows[push.Ordinal(i*61%benchDevices)]
		rows[i].Attributes = append(rows[i].Attributes[:0:0], have("province", "浙江", "level", "1")...)
	}
	values := attributes["province"]
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		r := &rows[i%len(rows)]
		r.Attributes[0].Value = values[(i/len(rows)+i)%len(values)]
		w.index.Apply(*r)
	}
}

func BenchmarkQuery(b *testing.B) {
	w := crowd(1, benchDevices)
	is := func(name string, op push.Operator, value string) push.Where {
		return push.Is(push.WhereAttr{Name: name, Op: op, Values: []string{value}})
	}
	nested := push.And(
		push.Or(push.Is(push.WhereTag("vip")), is("province", push.OpIs, "上海")),
		push.Not(is("app_version", push.OpBelow, "1.10")),
		push.Or(push.Is(push.WhereWithin{Event: push.EventActive, For: 7 * 24 * 3600e9}),
			push.And(push.Is(push.WhereHas(push.HasPhone)), push.Not(push.Is(push.WhereTag("new"))))),
		push.Not(is("age", push.OpIs, "old")))
	for _, q := range []struct {
		name  string
		where push.Where
	}{
		{"tag", push.Is(push.WhereTag("vip"))},
		{"rare tag and value", push.And(push.Is(push.WhereTag("old")), is("province", push.OpIs, "上海"))},
		{"online and tag", push.And(push.Is(push.WhereFlag{Flag: push.FlagOnline, Value: true}), push.Is(push.WhereTag("vip")))},
		{"seven leaves", nested},
	} {
		b.Run("count "+q.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := w.index.Count(query(1, q.where)); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("select "+q.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := w.index.Select(query(1, q.where)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSnapshot(b *testing.B) {
	w := crowd(1, benchDevices)
	whole := snapshot(b, w.index, audience.Head{})
	b.Run("write", func(b *testing.B) {
		b.SetBytes(int64(len(whole)))
		for b.Loop() {
			if err := w.index.WriteSnapshot(io.Discard, audience.Head{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("read", func(b *testing.B) {
		b.SetBytes(int64(len(whole)))
		for b.Loop() {
			var x audience.Index
			if err := x.ReadSnapshot(bytes.NewReader(whole), anyHead); err != nil {
				b.Fatal(err)
			}
		}
	})
}
