package gateway_test

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"github.com/carillonpush/carillon/internal/mqtt"
	"github.com/carillonpush/carillon/internal/push"
)

// BenchmarkIdleConnection reports the bytes that an idle, subscribed connection over TCP takes, by the heap and stacks in
// use and by the process's resident set, less what the client in the same process takes: it is measured before.
func BenchmarkIdleConnection(b *testing.B) {
	const n = 5000
	h, g := newHouse(b, nil)
	dial := serve(b, g)[0].dial
	for o := range n {
		h.device(fmt.Sprint("dev", o), push.Ordinal(o))
	}
	var before, after runtime.MemStats
	debug.FreeOSMemory()
	runtime.ReadMemStats(&before)
	rss := resident(b)
	clients := make([]*client, 0, n)
	for o := range n {
		c := newClient(b, dial(), mqtt.V311).connect(fmt.Sprint("dev", o), nil).subscribe(1)
		c.quiet()
		c.r = nil // the client keeps a socket and nothing else
		clients = append(clients, c)
	}
	for range 3 { // stacks shrink in steps
		debug.FreeOSMemory()
	}
	runtime.ReadMemStats(&after)
	now := resident(b)
	for b.Loop() {
		runtime.KeepAlive(clients)
	}
	use := func(m runtime.MemStats) uint64 { return m.HeapInuse + m.StackInuse }
	b.ReportMetric(float64(use(after)-use(before))/n, "go-bytes/conn")
	b.ReportMetric(float64(after.StackInuse-before.StackInuse)/n, "stack-bytes/conn")
	b.ReportMetric(float64(now-rss)/n, "rss-bytes/conn")
}

func resident(b *testing.B) int {
	b.Helper()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Fatalf("no resident set here: %v", err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		b.Fatal(err)
	}
	return pages * os.Getpagesize()
}
