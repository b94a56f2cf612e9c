package report

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// lookUp is how many pushes one read asks for.
const lookUp = 500

// A fold is one fold under way: what its next commit will hold.
type fold struct {
	*Ledger
	next     push.Fold
	totals   totals
	happened map[push.AppID][]push.Happening
	marks    int                 // of bulk pushes
	heard    map[push.AppID]bool // whether anybody is told what happens in an app
}

// Fold moves what was applied so far into the record. The log is shortened by the last of its commits, so that one that is
// interrupted is done again.
func (l *Ledger) Fold(ctx context.Context) error {
	const op = "report.Fold"
	l.folds.Lock()
	defer l.folds.Unlock()
	seq, ends, bulk := l.begin()
	err := l.opts.BeforeFold(ctx)
	if err == nil {
		f := &fold{Ledger: l, heard: map[push.AppID]bool{}}
		f.reset()
		if ends, err = l.stillDue(ctx, seq, ends); err == nil {
			err = f.write(ctx, seq, ends, bulk)
		}
		l.doubt = err != nil
	}
	l.end(seq, ends, bulk, err)
	if err == nil {
		l.forget(l.opts.Idle)
	}
	return push.Wrap(op, err)
}

var errEnough = errors.New("enough was read")

// stillDue returns those of ends that are not folded, after a fold that failed and may have been written. They leave no bits
// by which that would be known, but the commit that tells of them is the one that takes them out of the log.
func (l *Ledger) stillDue(ctx context.Context, seq int64, ends []noticed) ([]noticed, error) {
	if !l.doubt {
		return ends, nil
	}
	first := int64(math.MaxInt64)
	err := l.store.Unfolded(ctx, func(row push.Logged) error {
		first = row.Seq
		return errEnough
	})
	if err != nil && !errors.Is(err, errEnough) {
		return ends, err
	}
	l.mu.Lock()
	l.folded = max(l.folded, min(seq, first-1))
	l.mu.Unlock()
	return slices.DeleteFunc(ends, func(e noticed) bool { return e.seq < first }), nil
}

// begin takes what a fold writes, but for the sets, and returns how far the log is applied.
func (l *Ledger) begin() (seq int64, ends []noticed, bulk map[push.ID]*sets) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.folding, l.tail = l.tail, tail{}
	ends, l.ends = l.ends, nil
	l.waiting = 0
	bulk = map[push.ID]*sets{}
	for id, s := range l.bulk {
		s.mu.Lock()
		if len(s.fresh) > 0 {
			bulk[id] = s
		}
		s.mu.Unlock()
	}
	return l.seq, ends, bulk
}

// end ends a fold. What a failed one took is due again; as its commits may have come through, what is new is asked of the
// record anew.
func (l *Ledger) end(seq int64, ends []noticed, bulk map[push.ID]*sets, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.folded = max(l.folded, seq)
	} else {
		l.ends = append(ends, l.ends...)
		for id, d := range l.folding {
			if have := l.tail[id]; have != nil {
				d.noted = append(d.noted, have.noted...)
			}
			l.tail[id] = d
		}
	}
	for _, s := range bulk {
		s.mu.Lock()
		if err != nil {
			s.fresh, s.loaded = append(s.folding, s.fresh...), false
		}
		s.folding = nil
		s.mu.Unlock()
	}
	l.folding = nil
}

// write makes the commits.
func (f *fold) write(ctx context.Context, seq int64, ends []noticed, bulk map[push.ID]*sets) error {
	if err := f.direct(ctx); err != nil {
		return err
	}
	if err := f.bulkPushes(ctx, ends, bulk); err != nil {
		return err
	}
	if err := f.tellEnds(ctx, ends); err != nil {
		return err
	}
	if seq > f.folded { // only a fold changes how far it is folded; the log has nothing up to there
		f.next.UpTo = seq
	} else if f.empty() {
		return nil
	}
	return f.flush(ctx)
}

func (f *fold) empty() bool {
	return len(f.next.Outcomes) == 0 && len(f.next.Chunks) == 0 && len(f.next.Counted) == 0 && len(f.happened) == 0
}

func (f *fold) reset() {
	f.next, f.totals, f.happened, f.marks = push.Fold{}, totals{}, map[push.AppID][]push.Happening{}, 0
}

// flush makes one commit, and tells who waits for it. Whether ctx ends meanwhile changes nothing: what is new is decided, and
// the next fold must see it in the record.
func (f *fold) flush(ctx context.Context) error {
	f.next.Totals = f.totals.deltas()
	type webhook struct {
		app push.AppID
		id  push.WebhookID
	}
	var batched []webhook
	now := time.Now()
	for _, app := range slices.Sorted(maps.Keys(f.happened)) {
		all := f.happened[app]
		slices.SortStableFunc(all, func(a, b push.Happening) int { return a.At.Compare(b.At) })
		for _, w := range f.opts.Wanted(app) {
			before := len(f.next.Batches)
			f.next.Batches = append(f.next.Batches, batches(w, app, all, now)...)
			if len(f.next.Batches) > before {
				batched = append(batched, webhook{app, w.ID})
			}
		}
	}
	if err := f.store.Fold(context.WithoutCancel(ctx), f.next); err != nil {
		return err
	}
	for _, w := range batched {
		f.opts.Batched(w.app, w.id)
	}
	if f.opts.Happened != nil {
		for app, all := range f.happened {
			f.opts.Happened(app, all)
		}
	}
	f.reset() // nothing is reused: after a time-out the record may still write it
	return nil
}

// batches returns what w is told of all.
func batches(w push.Webhook, app push.AppID, all []push.Happening, now time.Time) []push.Batch {
	wanted := make([]push.Happening, 0, len(all))
	for _, h := range all {
		if w.Wants(h.Mark.EventName()) {
			wanted = append(wanted, h)
		}
	}
	var out []push.Batch
	for part := range slices.Chunk(wanted, push.MaxBatch) {
		out = append(out, push.Batch{App: app, Webhook: w.ID, Created: now, Next: now, Happened: part})
	}
	return out
}

// tell notes that something happened to a push that is no recall's.
func (f *fold) tell(r push.Receipt, at time.Time) {
	if r.Mark.EventName() != "" && f.hears(r.App) {
		f.happened[r.App] = append(f.happened[r.App], push.Happening{Receipt: r, At: at})
	}
}

// hears reports whether anybody is told what happens in app.
func (f *fold) hears(app push.AppID) bool {
	heard, known := f.heard[app]
	if !known {
		heard = f.opts.Happened != nil && f.opts.Followed(app) || len(f.opts.Wanted(app)) > 0
		f.heard[app] = heard
	}
	return heard
}

// tellEnds tells that pushes ended. It is for the last commit: only that takes their receipts out of the log.
func (f *fold) tellEnds(ctx context.Context, ends []noticed) error {
	byDay := map[push.Day][]push.ID{}
	for _, e := range ends {
		byDay[e.Day] = append(byDay[e.Day], e.Push)
	}
	for day, ids := range byDay {
		for some := range slices.Chunk(distinct(ids), lookUp) {
			found, err := f.details.Labelled(ctx, day, some)
			if err != nil {
				return err
			}
			for _, e := range ends {
				if _, asked := slices.BinarySearch(some, e.Push); !asked || e.Day != day {
					continue
				}
				if at, ok := found[e.Push]; ok && !isRecall(at.Push) {
					f.tell(e.Receipt, e.at)
				}
			}
		}
	}
	return nil
}

func distinct(ids []push.ID) []push.ID {
	slices.Sort(ids)
	return slices.Compact(ids)
}

// direct puts what was noted of direct pushes into commits, in slices.
func (f *fold) direct(ctx context.Context) error {
	var devices []device
	for _, id := range slices.SortedFunc(maps.Keys(f.folding), func(a, b push.ID) int {
		return cmp.Or(cmp.Compare(f.folding[a].day, f.folding[b].day), cmp.Compare(a, b))
	}) { // only a fold changes what is being folded
		devices = byDevice(devices, id, f.folding[id])
	}
	for len(devices) > 0 {
		n := min(len(devices), f.most.outcomes-len(f.next.Outcomes))
		if n == 0 {
			if err := f.flush(ctx); err != nil {
				return err
			}
			continue
		}
		for n > 0 { // those of one day at a time
			day := 0
			for day < n && devices[day].day == devices[0].day {
				day++
			}
			if err := f.outcomes(ctx, devices[:day]); err != nil {
				return err
			}
			devices, n = devices[day:], n-day
		}
	}
	return nil
}

// A device is what was noted of one direct push on one device, in the order of the log.
type device struct {
	app     push.AppID
	day     push.Day
	push    push.ID
	ordinal push.Ordinal
	noted   []noted
}

// byDevice appends what d noted to all, by device.
func byDevice(all []device, id push.ID, d *direct) []device {
	sorted := slices.Clone(d.noted) // who asks meanwhile reads d's
	slices.SortStableFunc(sorted, func(a, b noted) int { return cmp.Compare(a.ordinal, b.ordinal) })
	for len(sorted) > 0 {
		n := 1
		for n < len(sorted) && sorted[n].ordinal == sorted[0].ordinal {
			n++
		}
		all = append(all, device{d.app, d.day, id, sorted[0].ordinal, sorted[:n]})
		sorted = sorted[n:]
	}
	return all
}

// outcomes puts devices, of pushes of one day, into the commit. What of them the record has already was put there with all
// that follows from it.
func (f *fold) outcomes(ctx context.Context, devices []device) error {
	asked := make([]push.Outcome, len(devices))
	ids := make([]push.ID, len(devices))
	for i, d := range devices {
		asked[i] = push.Outcome{Push: d.push, Day: d.day, Ordinal: d.ordinal}
		ids[i] = d.push
	}
	day := devices[0].day
	old, err := f.details.Marked(ctx, day, asked)
	if err != nil {
		return err
	}
	labelled, err := f.details.Labelled(ctx, day, distinct(ids))
	if err != nil {
		return err
	}
	for i, d := range devices {
		f.outcome(asked[i], old[i], d, labelled[d.push].Push)
	}
	return nil
}

// outcome puts what was noted of p on one device, which had old marks, into the commit. p may be gone; then nothing counts it.
func (f *fold) outcome(o push.Outcome, old push.Marked, d device, p push.Push) {
	here := p.ID != 0 && !isRecall(p)
	now := old
	for _, n := range d.noted {
		if now.Has(n.mark) {
			continue
		}
		now = now.With(n.mark)
		o.Marked = o.Marked.With(n.mark)
		o.Times = append(o.Times, n.timed())
		if here {
			f.tell(push.Receipt{App: d.app, Push: d.push, Ordinal: d.ordinal, Mark: n.mark, Day: d.day}, n.timed().At)
		}
	}
	if o.Marked == 0 {
		return
	}
	f.next.Outcomes = append(f.next.Outcomes, o)
	if here {
		var c counts
		c.marks(now, 1)
		c.marks(old, -1)
		f.totals.add(p, f.day(p), &c)
	}
}
