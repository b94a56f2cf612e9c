package main

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// A lineReport shows how far an import is and what was wrong with lines, in their order.
type lineReport struct {
	name string        // of the file
	err  io.Writer     // standard error
	file *bufio.Writer // where all lines at fault go as well; nil is nowhere

	mu    sync.Mutex // guards all below, and writing
	show  *progress
	meter meter
	sum   summary
	next  int                  // the batch whose faults are to be told next
	early map[int][]*lineError // the faults of batches that came before their turn

	stopped int // the least line of which it is not known whether it was imported; 0 is none
}

// start shows progress until the function that it returns is called, which tells how many faults were not shown.
func (r *lineReport) start() (stop func()) {
	r.meter.started = time.Now()
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(meterInterval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				r.mu.Lock()
				r.show.phase(r.meter.line(time.Now()))
				r.mu.Unlock()
			case <-end:
				return
			}
		}
	}()
	return func() {
		close(end)
		<-ended
		r.mu.Lock()
		defer r.mu.Unlock()
		r.show.done()
		if more := r.sum.Refused - shownErrors; more > 0 {
			where := "--errors FILE writes them all"
			if r.file != nil {
				where = "all are in the file of --errors"
			}
			fmt.Fprintf(r.err, "… and %d more lines; %s\n", more, where)
		}
	}
}

// add counts a batch that was sent, of which n were imported, and tells what was wrong with it when its turn has come.
func (r *lineReport) add(b *batch, n summary, refused []*lineError) {
	bad := append(refused, b.bad...)
	slices.SortFunc(bad, func(a, b *lineError) int { return cmp.Compare(a.Line, b.Line) })
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sum.Lines += len(b.devices) + len(b.bad)
	r.sum.Imported += n.Imported
	r.sum.New += n.New
	r.meter.lines = r.sum.Lines
	r.meter.read = max(r.meter.read, b.read)
	if r.early == nil {
		r.early = map[int][]*lineError{}
	}
	r.early[b.number] = bad
	for {
		bad, ok := r.early[r.next]
		if !ok {
			return
		}
		delete(r.early, r.next)
		r.next++
		for _, e := range bad {
			r.tell(e)
		}
	}
}

func (r *lineReport) tell(e *lineError) {
	text := plain(fmt.Sprintf("%s:%d: %v", r.name, e.Line, e))
	if r.sum.Refused++; r.sum.Refused <= shownErrors {
		r.show.done()
		fmt.Fprintln(r.err, text)
	}
	if r.file != nil {
		fmt.Fprintln(r.file, text) // an error stays until Flush
	}
}

// stop notes that line, and perhaps lines behind it, were not imported. Of several calls that ended together the first line
// counts, whichever of them was at fault.
func (r *lineReport) stop(line int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped == 0 || line < r.stopped {
		r.stopped = line
	}
}

// total returns what was done.
func (r *lineReport) total() summary {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sum
}

// A meter says how far reading a file is.
type meter struct {
	started time.Time
	lines   int
	read    int64 // bytes
	size    int64 // of the file; 0 is unknown, and then nobody knows how long it takes
}

// line returns a line for a terminal of 80 columns.
func (m meter) line(now time.Time) string {
	took := now.Sub(m.started)
	rate := 0.0
	if took > 0 {
		rate = float64(m.lines) / took.Seconds()
	}
	text := fmt.Sprintf("%d lines, %.0f/s", m.lines, rate)
	if m.size <= 0 {
		return "importing: " + text
	}
	const width = 24
	part := min(1, float64(m.read)/float64(m.size))
	full := int(part * width)
	text = fmt.Sprintf("[%s%s] %3.0f %%, %s", strings.Repeat("#", full), strings.Repeat(".", width-full), part*100, text)
	if m.read == 0 {
		return text
	}
	left := time.Duration(float64(took) * (1 - part) / part).Round(time.Second)
	return fmt.Sprintf("%s, %d:%02d left", text, int(left.Minutes()), int(left.Seconds())%60)
}
