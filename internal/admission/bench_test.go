package admission_test

import (
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

func BenchmarkIdle(b *testing.B) {
	for name, settings := range map[string]push.Settings{"no rules": nil, "quiet hours": night} {
		b.Run(name, func(b *testing.B) {
			g := admissionOf(b, settings)
			b.ReportAllocs()
			for b.Loop() {
				g.Idle(1, push.Rules{})
			}
		})
	}
}

func BenchmarkAdmit(b *testing.B) {
	at := time.Date(2026, 11, 25, 23, 0, 0, 0, time.FixedZone("", 8*60*60))
	for _, bb := range []struct {
		name     string
		settings push.Settings
		rules    push.Rules
		now      time.Time
	}{
		{"no rules", nil, push.Rules{}, noon},
		{"quiet hours by day", night, push.Rules{}, noon},
		{"quiet hours by night", night, push.Rules{}, at},
		{"a cap", push.Settings{push.SettingCap: "3"}, push.Rules{}, noon},
		{"a network", nil, push.Rules{Network: push.WiFi}, noon},
	} {
		b.Run(bb.name, func(b *testing.B) {
			g := admissionOf(b, bb.settings)
			b.ReportAllocs()
			o, id := push.Ordinal(0), push.ID(1)
			for b.Loop() {
				g.Admit(bb.now, 1, o, id, bb.rules)
				if o++; o == 1_000_000 {
					o, id = 0, id+1
				}
			}
		})
	}
}

// Receipts of a push to a million devices.
func BenchmarkCounted(b *testing.B) {
	for name, settings := range map[string]push.Settings{"no caps": nil, "a cap": {push.SettingCap: "1000"}} {
		b.Run(name, func(b *testing.B) {
			g := admissionOf(b, settings)
			row := push.Logged{At: noon, Receipts: make([]push.Receipt, 1)}
			o, id := push.Ordinal(0), push.ID(1)
			b.ReportAllocs()
			for b.Loop() {
				g.Admit(noon, 1, o, id, push.Rules{})
				row.Seq++
				row.Receipts[0] = receipt(id, o, push.MarkDelivered)
				g.Counted(row)
				if o++; o == 1_000_000 {
					o, id = 0, id+1
				}
			}
		})
	}
}
