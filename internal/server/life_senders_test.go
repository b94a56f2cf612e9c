package server_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"
)

// startSenders starts the senders. Each makes pushes of its kind until ctx ends.
func (l *life) startSenders(ctx context.Context) {
	for n, send := range []func(context.Context, *rand.Rand, int){
		l.sendDirect, l.sendBroadcast, l.sendScheduled, l.sendRecurring, l.sendPaced, l.sendOpen,
	} {
		l.senders.Go(func() {
			rng := l.rng(uint64(n) + 1)
			for i := 0; ctx.Err() == nil; i++ {
				send(ctx, rng, i)
			}
		})
	}
	for _, q := range l.quotas {
		l.senders.Go(func() { q.use(ctx, l) })
	}
}

// some returns n different devices.
func (l *life) some(rng *rand.Rand, n int) []int { return rng.Perm(lifeDevices)[:n] }

// mostly returns n different devices, of which most are not connected.
func (l *life) mostly(rng *rand.Rand, n int) []int {
	var all []int
	for _, i := range rng.Perm(lifeDevices) {
		if i%groups != home || len(all) == 0 {
			all = append(all, i)
		}
	}
	return all[:n]
}

// to returns an audience of devices by name.
func (l *life) to(devices []int) map[string]any { return map[string]any{"devices": l.names(devices)} }

func (l *life) names(devices []int) []string {
	names := make([]string, len(devices))
	for n, i := range devices {
		names[n] = l.ids[i].DeviceID
	}
	return names
}

// everybody returns all devices, and the audience of all.
func (l *life) everybody() ([]int, map[string]any) {
	all := make([]int, lifeDevices)
	for i := range all {
		all[i] = i
	}
	return all, map[string]any{"all": true}
}

// begin sends a push to devices, and returns its tale, nil if it was refused.
func (l *life) begin(kind, key string, devices []int, audience, policy map[string]any) *tale {
	all := map[string]any{"group": kind}
	for k, v := range policy {
		all[k] = v
	}
	body := map[string]any{"message": map[string]any{"data": key}, "policy": all}
	if audience != nil {
		body["audience"] = audience
	}
	if kind == "open" {
		body["open"] = true
	}
	a, err := l.post("life", key, body)
	if err != nil {
		// It may have been due before it was accepted, since the node was down.
		if _, later := policy["start_at"]; code(err) != http.StatusBadRequest && code(err) != http.StatusUnprocessableEntity || !later {
			l.wrong("push %s: %v", key, err)
		}
		return nil
	}
	return l.tell(&tale{kind: kind, key: key, id: a.ID, due: a.Start}, devices)
}

// sendDirect makes pushes to few devices.
func (l *life) sendDirect(ctx context.Context, rng *rand.Rand, i int) {
	devices := l.some(rng, 1+rng.IntN(5))
	if i%8 == 1 || i%8 == 3 {
		devices = l.mostly(rng, 5)
	}
	x := l.begin("direct", fmt.Sprintf("direct-%d", i), devices, l.to(devices), nil)
	if x == nil {
		return
	}
	switch i % 8 {
	case 1:
		l.cancel(x)
	case 3:
		l.hold(ctx, rng, x)
	case 5:
		l.wait(ctx, rand.N(200*time.Millisecond))
		l.takeBack(x, nil)
	case 7:
		l.wait(ctx, rand.N(200*time.Millisecond))
		l.takeBack(x, devices[:1+rng.IntN(len(devices))])
	}
	l.wait(ctx, 20*time.Millisecond+rand.N(60*time.Millisecond))
}

// sendBroadcast makes pushes to all devices.
func (l *life) sendBroadcast(ctx context.Context, rng *rand.Rand, i int) {
	devices, all := l.everybody()
	x := l.begin("broadcast", fmt.Sprintf("broadcast-%d", i), devices, all, nil)
	if x == nil {
		return
	}
	l.wait(ctx, 200*time.Millisecond+rand.N(200*time.Millisecond))
	switch i % 5 {
	case 1:
		l.open(x, 3)
		l.takeBack(x, nil)
	case 2:
		l.hold(ctx, rng, x)
	case 3:
		l.cancel(x)
	case 4:
		l.takeBack(x, l.some(rng, 20))
	}
	l.wait(ctx, 200*time.Millisecond+rand.N(200*time.Millisecond))
}

// sendScheduled makes pushes that start some seconds later.
func (l *life) sendScheduled(ctx context.Context, rng *rand.Rand, i int) {
	x := l.schedule(rng, fmt.Sprintf("scheduled-%d", i), time.Now().Add(time.Second+rand.N(2*time.Second)))
	if x == nil {
		return
	}
	switch i % 6 {
	case 2:
		l.cancel(x)
	case 5:
		l.takeBack(x, nil)
	}
	l.wait(ctx, 100*time.Millisecond+rand.N(200*time.Millisecond))
}

// schedule makes a push that starts at a time.
func (l *life) schedule(rng *rand.Rand, key string, at time.Time) *tale {
	devices, audience := l.everybody()
	if rng.IntN(4) > 0 {
		devices = l.some(rng, 3+rng.IntN(8))
		audience = l.to(devices)
	}
	return l.begin("scheduled", key, devices, audience, map[string]any{"start_at": at.UTC().Format(time.RFC3339Nano)})
}

// sendRecurring makes schedules whose first occurrence is some seconds ahead.
func (l *life) sendRecurring(ctx context.Context, rng *rand.Rand, i int) {
	schedule, x := l.recur(rng, fmt.Sprintf("recurring-%d", i), time.Now().Add(2*time.Second+rand.N(time.Second)))
	if x != nil {
		switch i % 5 {
		case 2:
			l.cancelOccurrence(schedule, x)
		case 4:
			l.cancelSchedule(schedule, x)
		}
	}
	l.wait(ctx, 400*time.Millisecond+rand.N(600*time.Millisecond))
}

// recur makes a schedule that fires each day at the time of day of at, and returns the tale of its first occurrence, nil if it
// was accepted too late to fire soon.
func (l *life) recur(rng *rand.Rand, key string, at time.Time) (schedule string, x *tale) {
	at = at.UTC()
	devices := l.some(rng, 3+rng.IntN(8))
	a, err := l.post("life", key, map[string]any{
		"audience": l.to(devices), "message": map[string]any{"data": key},
		"policy": map[string]any{"group": "recurring", "recurring": map[string]any{
			"every": "day", "at": at.Format(time.TimeOnly),
			"from": at.AddDate(0, 0, -1).Format(time.RFC3339), "until": at.AddDate(0, 0, 2).Format(time.RFC3339),
		}},
	})
	if err != nil {
		l.wrong("schedule %s: %v", key, err)
		return "", nil
	}
	first := l.occurrences(a.ID)[0]
	if first.ID == "" || time.Until(first.At) > time.Hour {
		return a.ID, nil
	}
	return a.ID, l.tell(&tale{kind: "recurring", key: key, id: first.ID, due: first.At, schedule: a.ID}, devices)
}

// An occurrence is one firing of a schedule.
type occurrence struct {
	ID, State string
	At        time.Time
}

func (l *life) occurrences(schedule string) []occurrence {
	var page struct{ Items []occurrence }
	err := l.ask("GET", "/v1/apps/life/schedules/"+schedule+"/occurrences", nil, nil, &page)
	if err != nil || len(page.Items) < 2 { // three, unless it was accepted too late for the first
		l.wrong("schedule %s: occurrences %v, %v", schedule, page.Items, err)
		return make([]occurrence, 1)
	}
	return page.Items
}

func (l *life) cancelOccurrence(schedule string, x *tale) {
	err := l.ask("DELETE", "/v1/apps/life/schedules/"+schedule+"/occurrences/"+x.id, nil, nil, nil)
	switch {
	case code(err) == http.StatusConflict && l.occurrences(schedule)[0].State == "fired":
	case err == nil, code(err) == http.StatusConflict && l.occurrences(schedule)[0].State == "cancelled":
		l.ends(x, "cancelled")
	default:
		l.wrong("cancel of occurrence %s: %v", x.id, err)
	}
}

// cancelSchedule cancels all that has not fired.
func (l *life) cancelSchedule(schedule string, x *tale) {
	err := l.ask("DELETE", "/v1/apps/life/schedules/"+schedule, nil, nil, nil)
	if err != nil && code(err) != http.StatusConflict { // a conflict if an earlier answer was lost
		l.wrong("cancel of schedule %s: %v", schedule, err)
	}
	answered := time.Now()
	for n, o := range l.occurrences(schedule) {
		if o.State == "waiting" || n > 0 && o.State != "cancelled" {
			l.wrong("after its schedule %s was cancelled, occurrence %+v", schedule, o)
		}
		if n == 0 && o.State == "cancelled" {
			l.endsAt(x, "cancelled", answered)
		}
	}
}

// sendPaced makes pushes that are sent at a rate. What is done with them goes on beside the sender.
func (l *life) sendPaced(ctx context.Context, rng *rand.Rand, i int) {
	devices := l.some(rng, 60+rng.IntN(60))
	policy := map[string]any{"rate": max(1, int(float64(len(devices))/lifePass.Seconds()))}
	if i%6 == 5 {
		policy["start_at"] = time.Now().Add(time.Second).UTC().Format(time.RFC3339Nano)
	}
	x := l.begin("paced", fmt.Sprintf("paced-%d", i), devices, l.to(devices), policy)
	if x == nil {
		return
	}
	rng = l.rng(1000 + uint64(i))
	l.later.Go(func() {
		l.wait(ctx, time.Second+rand.N(time.Second))
		switch i % 6 {
		case 1:
			l.hold(ctx, rng, x)
		case 2:
			l.cancel(x)
		case 3:
			l.open(x, 3)
			l.takeBack(x, nil)
		case 4:
			l.takeBack(x, devices[:20])
		}
	})
	l.wait(ctx, 500*time.Millisecond+rand.N(200*time.Millisecond))
}

// sendOpen makes open pushes, adds targets, and closes them or cancels them while they are open.
func (l *life) sendOpen(ctx context.Context, rng *rand.Rand, i int) {
	var devices []int
	var audience map[string]any
	if i%2 == 0 {
		devices = l.some(rng, 10)
		audience = l.to(devices)
	}
	x := l.begin("open", fmt.Sprintf("open-%d", i), devices, audience, nil)
	if x == nil {
		return
	}
	for range 3 {
		l.wait(ctx, rand.N(300*time.Millisecond))
		more := l.some(rng, 10+rng.IntN(10))
		if err := l.ask("POST", x.path()+"/targets", nil, l.to(more), nil); err != nil {
			l.wrong("targets for open push %s: %v", x.id, err)
		}
		l.adds(x, more)
	}
	switch i % 4 {
	case 1:
		l.cancel(x)
	case 2:
		l.close(x)
		l.takeBack(x, nil)
	default:
		l.close(x)
	}
	if err := l.ask("POST", x.path()+"/targets", nil, l.to(l.some(rng, 10)), nil); code(err) != http.StatusConflict {
		l.wrong("targets for push %s, which is not open any more: got %v, want a conflict", x.id, err)
	}
	l.wait(ctx, 300*time.Millisecond)
}

func (l *life) close(x *tale) {
	if err := l.ask("POST", x.path()+"/close", nil, nil, nil); err != nil && (code(err) != http.StatusConflict || l.stateOf(x) == "open") {
		l.wrong("close of push %s: %v", x.id, err)
	}
}

func (l *life) stateOf(x *tale) string {
	var p struct{ State string }
	if err := l.ask("GET", x.path(), nil, nil, &p); err != nil {
		l.wrong("push %s: %v", x.id, err)
	}
	return p.State
}

// did reports whether what was asked of a push has happened, after which it is in a state: if an answer was lost, asking again
// is a conflict. So it is if it cannot happen any more.
func (l *life) did(x *tale, what string, err error, state string) bool {
	switch {
	case err == nil:
		return true
	case code(err) != http.StatusConflict:
		l.wrong("%s of push %s: %v", what, x.id, err)
		return false
	}
	return l.stateOf(x) == state
}

func (l *life) cancel(x *tale) {
	if l.did(x, "cancel", l.ask("POST", x.path()+"/cancel", nil, nil, nil), "cancelled") {
		l.ends(x, "cancelled")
	}
}

// hold pauses a push, and resumes it some seconds later, beside the sender.
func (l *life) hold(ctx context.Context, rng *rand.Rand, x *tale) {
	if !l.did(x, "pause", l.ask("POST", x.path()+"/pause", nil, nil, nil), "paused") {
		return
	}
	from := time.Now()
	long := lifeGrace + rand.N(3*time.Second)
	l.later.Go(func() {
		l.wait(ctx, long)
		to := time.Now()
		if err := l.ask("POST", x.path()+"/resume", nil, nil, nil); err != nil && (code(err) != http.StatusConflict || l.stateOf(x) == "paused") {
			l.wrong("resume of push %s: %v", x.id, err)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		x.pauses = append(x.pauses, span{from, to})
	})
}

// takeBack recalls a push, whole or from some devices.
func (l *life) takeBack(x *tale, devices []int) {
	body := map[string]any{}
	if devices != nil {
		body["devices"] = l.names(devices)
	}
	asked := time.Now()
	err := l.ask("POST", x.path()+"/recall", nil, body, nil)
	for deadline := time.Now().Add(20 * time.Second); code(err) == http.StatusNotFound && devices != nil && time.Now().Before(deadline); {
		pause(l.t, 20*time.Millisecond) // it has not begun, so that nobody is in its target
		err = l.ask("POST", x.path()+"/recall", nil, body, nil)
	}
	if err != nil {
		l.wrong("recall of push %s: %v", x.id, err)
		return
	}
	l.mu.Lock()
	x.recallAsked = asked
	l.mu.Unlock()
	if devices == nil {
		l.ends(x, "recalled")
		return
	}
	answered := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	x.ending, x.from = "named", map[int]time.Time{}
	for _, i := range devices {
		x.from[i] = answered
	}
}

// open has n devices that got a push say that it was opened, if so many did.
func (l *life) open(x *tale, n int) {
	for i := range lifeDevices {
		l.mu.Lock()
		got := len(l.got[i][x.id]) > 0
		l.mu.Unlock()
		if !got {
			continue
		}
		header := map[string]string{"Authorization": "Device " + l.ids[i].DeviceID + ":" + l.ids[i].Secret}
		if err := l.ask("POST", "/device/v1/events", header, map[string]any{"push": x.id, "event": "opened"}, nil); err != nil {
			l.wrong("device %d opened push %s: %v", i, x.id, err)
		}
		l.mu.Lock()
		x.opened = append(x.opened, i)
		l.mu.Unlock()
		if n--; n == 0 {
			return
		}
	}
}
