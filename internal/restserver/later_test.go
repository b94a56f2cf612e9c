package restserver_test

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// later is what the house keeps of pushes after they were accepted, and of the nouns around them.
type later struct {
	used      map[string]int // of quotas, by their names
	targets   map[push.ID][]string
	recalls   map[push.ID]push.Recall
	schedules map[push.ID]push.Schedule
	firings   map[push.ID][]push.Occurrence
	templates map[push.AppID][]push.Template
	totals    []total
	webhooks  []push.Webhook
	batches   map[push.WebhookID][]push.BatchInfo
	feed      chan push.Event // what happens; a follower takes it
	following *sync.WaitGroup // those who follow
	crowded   bool            // too many follow already
	lastDays  [2]push.Day     // asked for last
	lastID    int64           // given last
	accounted push.Account    // what becomes of every push on every device
}

// A total is what one push counts as.
type total struct {
	app  push.AppID
	by   push.Dimension
	name string
	day  push.Day
	n    push.Report
}

func newLater() later {
	return later{
		used: map[string]int{}, targets: map[push.ID][]string{}, recalls: map[push.ID]push.Recall{},
		schedules: map[push.ID]push.Schedule{}, firings: map[push.ID][]push.Occurrence{},
		templates: map[push.AppID][]push.Template{}, batches: map[push.WebhookID][]push.BatchInfo{},
		feed: make(chan push.Event), following: new(sync.WaitGroup), lastID: 5000,
	}
}

// afterwards is the house's ports for all that. Its method names would collide with those of pushes.
type afterwards struct{ h *house }

func (h *house) nextID() int64 {
	h.lastID++
	return h.lastID
}

// charge counts req under its quotas, or under none. The lock is held, as it is by all methods of the house below.
func (h *house) charge(req push.Request, app push.App) error {
	charges := push.Charges(req.Uses, app, h.clock)
	for _, c := range charges {
		if h.used[c.Name]+c.N > c.Limit {
			return c.Refusal(90*time.Second + time.Millisecond)
		}
	}
	for _, c := range charges {
		h.used[c.Name] += c.N
	}
	return nil
}

// plan makes the schedule of p, which is p itself if it is sent once.
func (h *house) plan(p *push.Push, app push.App) {
	s := push.Schedule{ID: p.ID, App: p.App, Every: "once", State: push.ScheduleActive, Created: h.clock, Request: p.Request}
	times := []time.Time{p.Start}
	if r := p.Request.Policy.Recurring; r != nil {
		s.Every, times = r.Every, r.Occurrences(h.clock, app.Location(), push.MaxOccurrences)
	}
	h.firings[s.ID] = nil
	for _, at := range times {
		o := push.Occurrence{ID: push.ID(h.nextID()), Schedule: s.ID, App: s.App, At: at, State: push.OccurrenceWaiting}
		if s.Every == "once" {
			o.ID = s.ID
		}
		h.firings[s.ID] = append(h.firings[s.ID], o)
	}
	p.Start = times[0]
	h.schedules[s.ID] = h.look(s)
}

// look returns s with what is to come of it.
func (h *house) look(s push.Schedule) push.Schedule {
	s.Left, s.Next = 0, time.Time{}
	for _, o := range h.firings[s.ID] {
		if o.State == push.OccurrenceWaiting {
			if s.Left++; s.Left == 1 {
				s.Next = o.At
			}
		}
	}
	if s.Left == 0 && s.State == push.ScheduleActive {
		s.State = push.ScheduleFinished
	}
	return s
}

// aim adds the devices that a names to the target of p. A name that begins with x stands for none.
func (h *house) aim(p *push.Push, a push.Audience) (added, unknown int) {
	for _, name := range a.Devices {
		switch {
		case strings.HasPrefix(name, "x"):
			unknown++
		case !slices.Contains(h.targets[p.ID], name):
			h.targets[p.ID] = append(h.targets[p.ID], name)
			added++
		}
	}
	p.Target += added
	p.Unknown += unknown
	return added, unknown
}

func (a afterwards) act(app push.AppID, id push.ID, action push.Action) (*push.Push, error) {
	for i := range a.h.pushes {
		p := &a.h.pushes[i]
		if p.ID != id || p.App != app {
			continue
		}
		to, ok := p.State.On(action)
		if !ok {
			return nil, refusal(push.Conflict, "", "a push that is "+string(p.State)+" does not "+string(action))
		}
		p.State = to
		return p, nil
	}
	return nil, refusal(push.NotFound, "id", "no such push")
}

func (a afterwards) change(app push.AppID, id push.ID, action push.Action) (push.Push, error) {
	a.h.mu.Lock()
	defer a.h.mu.Unlock()
	p, err := a.act(app, id, action)
	if err != nil {
		return push.Push{}, err
	}
	return *p, nil
}

func (a afterwards) Pause(_ context.Context, app push.AppID, id push.ID) (push.Push, error) {
	return a.change(app, id, push.ActPause)
}

func (a afterwards) Resume(_ context.Context, app push.AppID, id push.ID) (push.Push, error) {
	return a.change(app, id, push.ActResume)
}

func (a afterwards) CloseOpen(_ context.Context, app push.AppID, id push.ID) (push.Push, error) {
	return a.change(app, id, push.ActClose)
}

func (a afterwards) Recall(_ context.Context, app push.AppID, id push.ID, devices []string) (push.Recall, error) {
	a.h.mu.Lock()
	defer a.h.mu.Unlock()
	if devices == nil {
		if _, err := a.act(app, id, push.ActRecall); err != nil {
			return push.Recall{}, err
		}
		a.h.recalls[id] = push.Recall{Stopped: len(a.h.targets[id]), Recalled: 1, Confirmed: 1, TooLate: 1}
		return a.h.recalls[id], nil
	}
	if !slices.ContainsFunc(a.h.pushes, func(p push.Push) bool { return p.ID == id && p.App == app }) {
		return push.Recall{}, refusal(push.NotFound, "id", "no such push")
	}
	n := 0
	for _, d := range a.h.targets[id] {
		if slices.Contains(devices, d) {
			n++
		}
	}
	if n == 0 {
		return push.Recall{}, refusal(push.NotFound, "devices", "none of them is in the target")
	}
	a.h.recalls[id] = push.Recall{Stopped: n}
	return a.h.recalls[id], nil
}

func (a afterwards) AddTargets(_ context.Context, app push.AppID, id push.ID, to push.Audience) (p push.Push, added, unknown int, err error) {
	a.h.mu.Lock()
	defer a.h.mu.Unlock()
	i := slices.IndexFunc(a.h.pushes, func(p push.Push) bool { return p.ID == id && p.App == app })
	switch {
	case i < 0:
		return p, 0, 0, refusal(push.NotFound, "id", "no such push")
	case a.h.pushes[i].State != push.Open:
		return p, 0, 0, refusal(push.Conflict, "", "the push takes no more targets")
	case to.File == "gone":
		return p, 0, 0, refusal(push.NotFound, "audience.file", "no such file")
	case to.All && to.Platforms != nil:
		return p, 0, 0, refusal(push.Invalid, "audience", "comes to nobody")
	}
	added, unknown = a.h.aim(&a.h.pushes[i], to)
	return a.h.pushes[i], added, unknown, nil
}

func (a afterwards) Account(_ context.Context, app push.AppID, id push.ID, device string) (push.Account, error) {
	if _, _, err := a.h.Find(context.Background(), app, id); err != nil {
		return push.Account{}, err
	}
	if strings.HasPrefix(device, "x") {
		return push.Account{}, refusal(push.NotFound, "device", "no such device")
	}
	return a.h.accounted, nil
}

func (a afterwards) ByRequest(_ context.Context, app push.AppID, requestID string) (push.Push, error) {
	a.h.mu.Lock()
	defer a.h.mu.Unlock()
	for _, p := range a.h.pushes {
		if p.App == app && p.Request.RequestID == requestID {
			return p, nil
		}
	}
	return push.Push{}, refusal(push.NotFound, "request_id", "no such request")
}

func (a afterwards) Schedules(_ context.Context, app push.AppID, before push.ID, limit int) (page []push.Schedule, next push.ID, err error) {
	a.h.mu.Lock()
	defer a.h.mu.Unlock()
	for _, id := range slices.Backward(slices.Sorted(maps.Keys(a.h.schedules))) {
		if a.h.schedules[id].App != app || before != 0 && id >= before {
			continue
		}
		if len(page) == limit {
			return page, page[limit-1].ID, nil
		}
		page = append(page, a.h.look(a.h.schedules[id]))
	}
	return page, 0, nil
}

func (a afterwards) FindSchedule(_ context.Context, app push.AppID, id push.ID) (push.Schedule, error) {
	a.h.mu.Lock()
	defer a.h.mu.Unlock()
	return a.schedule(app, id)
}

func (a afterwards) schedule(app push.AppID, id push.ID) (push.Schedule, error) {
	s, ok := a.h.schedules[id]
	if !ok || s.App != app {
		return push.Schedule{}, refusal(push.NotFound, "id", "no such schedule")
	}
	return a.h.look(s), nil
}

func (a afterwards) EditSchedule(_ context.Context, app push.AppID, id push.ID, p push.SchedulePatch) (push.Schedule, error) {
	a.h.mu.Lock()
	defer a.h.mu.Unlock()
	s, err := a.schedule(app, id)
	if err != nil {
		return s, err
	}
	if s.State != push.ScheduleActive {
		return s, refusal(push.Conflict, "", "nothing of it is to come")
	}
	req := p.Apply(s.Request)
	switch once := s.Every == "once"; {
	case once && req.Policy.Recurring != nil || !once && req.Policy.Recurring == nil:
		return s, refusal(push.Invalid, "policy.recurring", "is what a recurring schedule has, and no other")
	case once && req.Policy.StartAt == nil:
		return s, refusal(push.Invalid, "policy.start_at", "is needed: the push waits for its start")
	}
	of, err := a.h.find(app.String())
	if err != nil {
		return s, err
	}
	if err := req.Validate(a.h.clock, of); err != nil {
		return s, err
	}
	s.Request = req
	a.h.schedules[id] = s
	return s, nil
}

func (a afterwards) CancelSchedule(_ context.Context, app push.AppID, id push.ID) (push.Schedule, error) {
	a.h.mu.Lock()
	defer a.h.mu.Unlock()
	s, err := a.schedule(app, id)
	if err != nil {
		return s, err
	}
	if s.State != push.ScheduleActive {
		return s, refusal(push.Conflict, "", "nothing of it is to come")
	}
	for i := range a.h.firings[id] {
		a.h.firings[id][i].State = push.OccurrenceCancelled
	}
	s.State = push.ScheduleCancelled
	a.h.schedules[id] = s
	return a.h.look(s), nil
}

func (a afterwards) OccurrencesOf(_ context.Context, app push.AppID, schedule push.ID) ([]push.Occurrence, error) {
	a.h.mu.Lock()
	defer a.h.mu.Unlock()
	if _, err := a.schedule(app, schedule); err != nil {
		return nil, err
	}
	return slices.Clone(a.h.firings[schedule]), nil
}

func (a afterwards) CancelOccurrence(_ context.Context, app push.AppID, schedule, id push.ID) (push.Occurrence, error) {
	a.h.mu.Lock()
	defer a.h.mu.Unlock()
	if _, err := a.schedule(app, schedule); err != nil {
		return push.Occurrence{}, err
	}
	for i := range a.h.firings[schedule] {
		o := &a.h.firings[schedule][i]
		switch {
		case o.ID != id:
		case o.State != push.OccurrenceWaiting:
			return push.Occurrence{}, refusal(push.Conflict, "", "it does not wait")
		default:
			o.State = push.OccurrenceCancelled
			return *o, nil
		}
	}
	return push.Occurrence{}, refusal(push.NotFound, "occurrence", "no such occurrence")
}

func (a afterwards) AddTemplate(_ context.Context, t push.Template) (push.Template, bool, error) {
	a.h.mu.Lock()
	defer a.h.mu.Unlock()
	t.Created = a.h.clock
	all := a.h.templates[t.App]
	i, found := slices.BinarySearchFunc(all, t, func(a, b push.Template) int { return cmp.Compare(a.Name, b.Name) })
	switch {
	case found:
		all[i] = t
	case len(all) == 20:
		return t, false, refusal(push.TooMany, "templates", "the app has as many as it may")
	default:
		a.h.templates[t.App] = slices.Insert(all, i, t)
	}
	return t, found, nil
}

func (a afterwards) FindTemplate(_ context.Context, app push.AppID, name string) (push.Template, error) {
	a.h.mu.Lock()
	defer a.h.mu.Unlock()
	for _, t := range a.h.templates[app] {
		if t.Name == name {
			return t, nil
		}
	}
	return push.Template{}, refusal(push.NotFound, "name", "no such template")
}

func (a afterwards) Templates(_ context.Context, app push.AppID, after string, limit int) (page []push.Template, next string, err error) {
	a.h.mu.Lock()
	defer a.h.mu.Unlock()
	for _, t := range a.h.templates[app] {
		if t.Name <= after {
			continue
		}
		if len(page) == limit {
			return page, page[limit-1].Name, nil
		}
		page = append(page, t)
	}
	return page, "", nil
}

func (a afterwards) RemoveTemplate(ctx context.Context, app push.AppID, name string) error {
	if _, err := a.FindTemplate(ctx, app, name); err != nil {
		return err
	}
	a.h.mu.Lock()
	defer a.h.mu.Unlock()
	a.h.templates[app] = slices.DeleteFunc(a.h.templates[app], func(t push.Template) bool { return t.Name == name })
	return nil
}

func (a afterwards) Totals(_ context.Context, app push.AppID, by push.Dimension, name *string, from, to push.Day, daily bool) ([]push.Totals, error) {
	a.h.mu.Lock()
	defer a.h.mu.Unlock()
	a.h.lastDays = [2]push.Day{from, to}
	var all []push.Totals
	for _, t := range a.h.totals {
		if t.app != app || t.by != by || name != nil && t.name != *name || t.day < from || t.day > to {
			continue
		}
		day := ""
		if daily {
			day = t.day.Date()
		}
		i := slices.IndexFunc(all, func(sum push.Totals) bool { return sum.Name == t.name && sum.Day == day })
		if i < 0 {
			i = len(all)
			all = append(all, push.Totals{Name: t.name, Day: day})
		}
		all[i].Add(push.MetricPushes, 1)
		all[i].Add(push.MetricTarget, t.n.Target)
		all[i].Add(push.Metric(push.MarkDelivered), t.n.Delivered)
		all[i].Add(push.MetricUnknown, t.n.Dropped["unknown"])
		if t.n.Channels != nil {
			all[i].Channels = t.n.Channels
		}
	}
	slices.SortFunc(all, func(a, b push.Totals) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Day, b.Day))
	})
	return all, nil
}

func (a afterwards) DeviceDays(_ context.Context, _ push.AppID, from, to push.Day) ([]push.DeviceDay, error) {
	a.h.mu.Lock()
	defer a.h.mu.Unlock()
	a.h.lastDays = [2]push.Day{from, to}
	var all []push.DeviceDay
	for d := from; d <= to; d++ {
		all = append(all, push.DeviceDay{Day: d.Date(), New: 1, Total: int(d-from) + 1})
	}
	return all, nil
}

func (a afterwards) AddWebhook(_ context.Context, w push.Webhook) (push.Webhook, error) {
	a.h.mu.Lock()
	defer a.h.mu.Unlock()
	if len(a.h.webhooks) == push.MaxWebhooks {
		return w, refusal(push.TooMany, "webhooks", "the app has as many as it may")
	}
	w.ID, w.Created, w.Secret = push.WebhookID(len(a.h.webhooks)+1), a.h.clock, []byte{0xfb, 0xff, byte(len(a.h.webhooks))}
	a.h.webhooks = append(a.h.webhooks, w)
	return w, nil
}

func (a afterwards) Webhooks(app push.AppID) []push.Webhook {
	a.h.mu.Lock()
	defer a.h.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(a.h.webhooks), func(w push.Webhook) bool { return w.App != app })
}

func (a afterwards) webhook(app push.AppID, id push.WebhookID) error {
	if slices.ContainsFunc(a.Webhooks(app), func(w push.Webhook) bool { return w.ID == id }) {
		return nil
	}
	return refusal(push.NotFound, "id", "no such webhook")
}

func (a afterwards) RemoveWebhook(_ context.Context, app push.AppID, id push.WebhookID) error {
	if err := a.webhook(app, id); err != nil {
		return err
	}
	a.h.mu.Lock()
	defer a.h.mu.Unlock()
	a.h.webhooks = slices.DeleteFunc(a.h.webhooks, func(w push.Webhook) bool { return w.ID == id })
	delete(a.h.batches, id)
	return nil
}

func (a afterwards) Batches(_ context.Context, app push.AppID, id push.WebhookID, dead bool, after int64, limit int) (page []push.BatchInfo, err error) {
	if err := a.webhook(app, id); err != nil {
		return nil, err
	}
	a.h.mu.Lock()
	defer a.h.mu.Unlock()
	for _, b := range a.h.batches[id] {
		if b.ID > after && (b.Dead || !dead) && len(page) < limit {
			page = append(page, b)
		}
	}
	return page, nil
}

func (a afterwards) Replay(_ context.Context, app push.AppID, id push.WebhookID, ids []int64) (n int, err error) {
	if err := a.webhook(app, id); err != nil {
		return 0, err
	}
	a.h.mu.Lock()
	defer a.h.mu.Unlock()
	for i, b := range a.h.batches[id] {
		if b.Dead && (len(ids) == 0 || slices.Contains(ids, b.ID)) {
			a.h.batches[id][i].Dead, a.h.batches[id][i].Next = false, a.h.clock
			n++
		}
	}
	return n, nil
}

func (a afterwards) Follow(ctx context.Context, app push.AppID, events []string, write func(push.Event) error) error {
	if a.h.crowded {
		return &push.Error{Kind: push.TooMany, Msg: "as many follow as may", RetryAfter: time.Minute}
	}
	a.h.following.Add(1)
	defer a.h.following.Done()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e := <-a.h.feed:
			if e.Device != push.DeviceID("app-"+strconv.Itoa(int(app))) || events != nil && !slices.Contains(events, e.Event) {
				continue
			}
			if err := write(e); err != nil {
				return err
			}
		}
	}
}
