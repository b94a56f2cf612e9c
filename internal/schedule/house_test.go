package schedule_test

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/schedule"
)

// A house stands for the record, dispatch and the registry around Schedules, and for their clock.
type house struct {
	mu          sync.Mutex // guards all that follows
	jump        time.Duration
	apps        map[push.AppID]push.App
	ids         push.ID
	schedules   map[push.ID]push.Schedule
	occurrences map[push.ID]push.Occurrence
	pushes      map[push.ID]push.Push
	keys        map[string]claim  // by namespace and value
	fired       []push.Occurrence // in order
	fireFails   func(push.Occurrence) error
	endFails    error // of EndSchedule
	addFails    error // AddSchedule commits, and says this
}

func name(k push.Key) string { return k.Namespace + "/" + k.Value }

type claim struct {
	id          push.ID
	fingerprint [32]byte
}

func newHouse(settings push.Settings, zone string) *house {
	return &house{
		apps:      map[push.AppID]push.App{1: {ID: 1, Name: "demo", TimeZone: zone, Settings: settings}},
		schedules: map[push.ID]push.Schedule{}, occurrences: map[push.ID]push.Occurrence{},
		pushes: map[push.ID]push.Push{}, keys: map[string]claim{},
	}
}

func (h *house) now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Now().Add(h.jump)
}

func (h *house) setJump(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.jump = d
}

// set changes h, whoever else uses it.
func (h *house) set(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
}

func (h *house) open() *schedule.Schedules {
	return schedule.New(schedule.Ports{Store: h, Occurrences: h, Record: h, Pushes: h, App: h.App, NextID: h.nextID},
		&schedule.Options{Now: h.now, Log: slog.New(slog.DiscardHandler)})
}

// run loads and runs s until the returned function is called.
func run(t *testing.T, s *schedule.Schedules) (stop func()) {
	t.Helper()
	if err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

func (h *house) nextID() push.ID {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ids++
	return h.ids
}

func (h *house) App(app push.AppID) (push.App, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if a, ok := h.apps[app]; ok {
		return a, nil
	}
	return push.App{}, &push.Error{Kind: push.NotFound, Field: "app"}
}

func notFound() error { return &push.Error{Kind: push.NotFound, Field: "id"} }

func conflict(field string) error { return &push.Error{Kind: push.Conflict, Field: field} }

// view returns a schedule with what its occurrences say. The caller holds mu.
func (h *house) view(s push.Schedule) push.Schedule {
	s.Next, s.Left = time.Time{}, 0
	for _, o := range h.of(s.ID) {
		if o.State == push.OccurrenceWaiting {
			if s.Left++; s.Next.IsZero() {
				s.Next = o.At
			}
		}
	}
	return s
}

func (h *house) of(schedule push.ID) []push.Occurrence {
	var all []push.Occurrence
	for _, o := range h.occurrences {
		if o.Schedule == schedule {
			all = append(all, o)
		}
	}
	slices.SortFunc(all, func(a, b push.Occurrence) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.ID, b.ID)) })
	return all
}

func (h *house) AddSchedule(_ context.Context, s push.Schedule, all []push.Occurrence) (push.Push, bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if k := s.Request.Key; !k.Zero() {
		if c, ok := h.keys[name(k)]; ok {
			p, err := h.find(c.id)
			return p, true, err
		}
		h.keys[name(k)] = claim{s.ID, s.Request.Fingerprint()}
	}
	s.Request.Key = push.Key{} // it is not in the stored form
	h.schedules[s.ID] = s
	for _, o := range all {
		h.occurrences[o.ID] = o
	}
	if h.addFails != nil {
		return push.Push{}, false, h.addFails
	}
	p, err := h.find(s.ID)
	return p, false, err
}

func (h *house) FindSchedule(_ context.Context, app push.AppID, id push.ID) (push.Schedule, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s, ok := h.schedules[id]; ok && s.App == app {
		return h.view(s), nil
	}
	if p, ok := h.pushes[id]; ok && p.App == app && p.State == push.Scheduled {
		return onceOf(p), nil
	}
	return push.Schedule{}, notFound()
}

func onceOf(p push.Push) push.Schedule {
	return push.Schedule{
		ID: p.ID, App: p.App, Every: "once", State: push.ScheduleActive, Created: p.Created, Next: p.Start, Left: 1, Request: p.Request,
	}
}

func (h *house) Schedules(_ context.Context, app push.AppID, before push.ID, limit int) ([]push.Schedule, push.ID, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []push.Schedule
	for _, s := range h.schedules {
		all = append(all, h.view(s))
	}
	for _, p := range h.pushes {
		if p.State == push.Scheduled {
			all = append(all, onceOf(p))
		}
	}
	all = slices.DeleteFunc(all, func(s push.Schedule) bool { return s.App != app || before != 0 && s.ID >= before })
	slices.SortFunc(all, func(a, b push.Schedule) int { return cmp.Compare(b.ID, a.ID) })
	if len(all) <= limit {
		return all, 0, nil
	}
	all = all[:limit+1] // about limit
	return all, all[limit].ID, nil
}

func (h *house) Unfinished(_ context.Context, app push.AppID) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, s := range h.schedules {
		if s.App == app && s.State == push.ScheduleActive {
			n++
		}
	}
	for _, p := range h.pushes {
		if p.App == app && p.State == push.Scheduled {
			n++
		}
	}
	return n, nil
}

func (h *house) EndSchedule(_ context.Context, app push.AppID, id push.ID, to push.ScheduleState) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s, ok := h.schedules[id]
	switch {
	case h.endFails != nil:
		return 0, h.endFails
	case !ok || s.App != app:
		return 0, notFound()
	case s.State != push.ScheduleActive:
		return 0, conflict("state")
	}
	s.State = to
	h.schedules[id] = s
	n := 0
	for _, o := range h.of(id) {
		if to == push.ScheduleCancelled && o.State == push.OccurrenceWaiting {
			o.State = push.OccurrenceCancelled
			h.occurrences[o.ID] = o
			n++
		}
	}
	return n, nil
}

func (h *house) ReplaceSchedule(_ context.Context, s push.Schedule, add []push.Occurrence, remove []push.ID) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	was, ok := h.schedules[s.ID]
	if !ok || was.State != push.ScheduleActive {
		return conflict("state")
	}
	for _, id := range remove {
		if h.occurrences[id].State != push.OccurrenceWaiting {
			return conflict("occurrence")
		}
	}
	for _, id := range remove {
		delete(h.occurrences, id)
	}
	for _, o := range add {
		h.occurrences[o.ID] = o
	}
	h.schedules[s.ID] = s
	return nil
}

func (h *house) OccurrencesOf(_ context.Context, app push.AppID, schedule push.ID) ([]push.Occurrence, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.DeleteFunc(h.of(schedule), func(o push.Occurrence) bool { return o.App != app }), nil
}

func (h *house) EndOccurrence(_ context.Context, app push.AppID, id push.ID, to push.OccurrenceState) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	o, ok := h.occurrences[id]
	switch {
	case !ok || o.App != app:
		return notFound()
	case o.State != push.OccurrenceWaiting:
		return conflict("occurrence")
	}
	o.State = to
	h.occurrences[id] = o
	return nil
}

func (h *house) NextOccurrences(_ context.Context, yield func(push.Occurrence) error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.schedules {
		for _, o := range h.of(s.ID) {
			if s.State == push.ScheduleActive && o.State == push.OccurrenceWaiting {
				if err := yield(o); err != nil {
					return err
				}
				break
			}
		}
	}
	return nil
}

func (h *house) FindKey(_ context.Context, _ push.AppID, k push.Key) (push.Push, [32]byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c, ok := h.keys[name(k)]
	if !ok {
		return push.Push{}, [32]byte{}, notFound()
	}
	p, err := h.find(c.id)
	return p, c.fingerprint, err
}

func (h *house) Find(_ context.Context, _ push.AppID, id push.ID) (push.Push, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.find(id)
}

// find returns a push, schedule or occurrence as a push. The caller holds mu.
func (h *house) find(id push.ID) (push.Push, error) {
	if p, ok := h.pushes[id]; ok {
		return p, nil
	}
	if s, ok := h.schedules[id]; ok {
		p := push.Push{ID: id, App: s.App, Kind: push.Bulk, Created: s.Created, Request: s.Request}
		p.State = map[push.ScheduleState]push.State{
			push.ScheduleActive: push.Scheduled, push.ScheduleFinished: push.Done, push.ScheduleCancelled: push.Cancelled,
		}[s.State]
		if all := h.of(id); len(all) > 0 {
			p.Start = all[0].At
		}
		return p, nil
	}
	o, ok := h.occurrences[id]
	if !ok {
		return push.Push{}, notFound()
	}
	p := push.Push{ID: id, App: o.App, Kind: push.Bulk, Start: o.At, Schedule: o.Schedule, Request: h.schedules[o.Schedule].Request}
	p.Request.Policy.Recurring = nil
	p.State = map[push.OccurrenceState]push.State{
		push.OccurrenceWaiting: push.Scheduled, push.OccurrenceCancelled: push.Cancelled, push.OccurrenceMissed: push.Expired,
		push.OccurrenceFailed: push.Failed,
	}[o.State]
	return p, nil
}

// Accept is dispatch's.
func (h *house) Accept(_ context.Context, r push.Request) (push.Push, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c, ok := h.keys[name(r.Key)]; ok && !r.Key.Zero() {
		return h.pushes[c.id], nil
	}
	h.ids++
	p := push.Push{ID: h.ids, App: r.App, Kind: push.Bulk, State: push.Accepted, Start: time.Now().Add(h.jump), Request: r}
	if r.Policy.StartAt != nil {
		p.State, p.Start = push.Scheduled, *r.Policy.StartAt
	}
	if !r.Key.Zero() {
		h.keys[name(r.Key)] = claim{p.ID, r.Fingerprint()}
	}
	h.pushes[p.ID] = p
	return p, nil
}

func (h *house) Check(_ context.Context, r push.Request, _ time.Time) error {
	switch {
	case r.Policy.Recurring != nil || !r.Key.Zero():
		return &push.Error{Kind: push.Internal, Msg: "an occurrence does not recur, and has no key"}
	case r.Audience.File != "":
		return &push.Error{Kind: push.Invalid, Field: "audience.file", Msg: "no such file"}
	}
	return nil
}

func (h *house) Fire(_ context.Context, o push.Occurrence, r push.Request) (push.Push, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fireFails != nil {
		if err := h.fireFails(o); err != nil {
			return push.Push{}, err
		}
	}
	if h.occurrences[o.ID].State != push.OccurrenceWaiting {
		return push.Push{}, conflict("occurrence")
	}
	o.State = push.OccurrenceFired
	h.occurrences[o.ID] = o
	h.fired = append(h.fired, o)
	p := push.Push{ID: o.ID, App: o.App, Kind: push.Bulk, State: push.Sending, Start: o.At, Schedule: o.Schedule, Request: r}
	h.pushes[o.ID] = p
	return p, nil
}

func (h *house) Replace(_ context.Context, _ push.AppID, id push.ID, r push.Request) (push.Push, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.pushes[id]
	if p.State != push.Scheduled {
		return push.Push{}, conflict("state")
	}
	p.Request, p.Start = r, *r.Policy.StartAt
	h.pushes[id] = p
	return p, nil
}

func (h *house) Cancel(_ context.Context, _ push.AppID, id push.ID) (push.Push, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p, ok := h.pushes[id]
	switch {
	case !ok:
		return push.Push{}, notFound()
	case p.State.Final():
		return push.Push{}, conflict("state")
	}
	p.State = push.Cancelled
	h.pushes[id] = p
	return p, nil
}

// daily returns a request that fires every day at a time of day, for some days from now on.
func daily(now time.Time, at string, days int) push.Request {
	return push.Request{
		App: 1, Audience: push.Audience{All: true}, Message: push.Message{Data: []byte(`{"a":1}`)},
		Policy: push.Policy{Recurring: &push.Recurring{Every: "day", At: at, From: now, Until: now.AddDate(0, 0, days)}},
	}
}

// times returns when what has fired was due, and whether any fired twice.
func (h *house) times() (all []time.Time, twice bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	seen := map[push.ID]bool{}
	for _, o := range h.fired {
		all = append(all, o.At.UTC())
		twice = twice || seen[o.ID]
		seen[o.ID] = true
	}
	return all, twice
}

// made returns how many schedules and pushes there are.
func (h *house) made() (schedules, pushes int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.schedules), len(h.pushes)
}

// firings returns what has fired.
func (h *house) firings() []push.Occurrence {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.fired)
}

// one returns a push.
func (h *house) one(id push.ID) push.Push {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.pushes[id]
}

// states counts the occurrences by state.
func (h *house) states() map[push.OccurrenceState]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := map[push.OccurrenceState]int{}
	for _, o := range h.occurrences {
		all[o.State]++
	}
	return all
}

// sleep lets d pass in a bubble, and what is due be done.
func sleep(d time.Duration) {
	time.Sleep(d) // ok: synctest's time
	synctest.Wait()
}
