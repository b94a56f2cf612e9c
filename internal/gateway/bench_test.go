package gateway_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/mqtt"
	"github.com/carillonpush/carillon/internal/push"
)

// BenchmarkPost is one direct message to one device, from Post to the durable receipt.
func BenchmarkPost(b *testing.B) {
	h, g := newHouse(b, nil)
	h.device("dev", 7)
	c := newClient(b, serve(b, g)[0].dial(), mqtt.V311).connect("dev", nil).subscribe(1)
	c.quiet()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		id := push.ID(i + 1)
		h.send(message(id, "{}"), 7)
		c.ack(next[*mqtt.Publish](c))
		h.until("delivered", func() bool { return len(h.pending[7]) == 0 })
	}
}

// BenchmarkBroadcast is one message to n devices, from Broadcast to the last acknowledgement. ns/op is for all of them.
func BenchmarkBroadcast(b *testing.B) {
	for _, n := range []int{100, 2000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			h, g := newHouse(b, nil)
			dial := serve(b, g)[0].dial
			for o := range n {
				name := fmt.Sprint("dev", o)
				h.device(name, push.Ordinal(o))
				c := newClient(b, dial(), mqtt.V311).connect(name, nil).subscribe(1)
				c.quiet()
				go func() {
					for {
						p, err := c.r.ReadPacket(c.v)
						if err != nil {
							return
						}
						frame, _ := (&mqtt.Ack{Type: mqtt.TypePuback, PacketID: p.(*mqtt.Publish).PacketID}).Append(nil, c.v)
						c.nc.Write(frame)
					}
				}()
				c.nc.SetReadDeadline(time.Time{})
			}
			all, count := make(chan struct{}), 0
			h.onMark = func(r push.Receipt) bool {
				if r.Mark == push.MarkDelivered {
					if count++; count%n == 0 {
						all <- struct{}{}
					}
				}
				return true
			}
			for i := 0; b.Loop(); i++ {
				d := broadcast(push.ID(i+1)<<22, "{}")
				g.Broadcast(d, func(push.Ordinal) bool { return true })
				<-all
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "deliveries/s")
		})
	}
}
