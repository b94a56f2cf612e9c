package server_test

import (
	"slices"
	"time"
)

// A tale is one push, and what of it was answered.
type tale struct {
	kind, key string
	id        string
	schedule  string       // of an occurrence
	due       time.Time    // nothing of it may arrive before
	to        map[int]bool // the devices that it is for
	pauses    []span
	opened    []int // the devices that said so

	ending      string            // "cancelled", "recalled", "named" (recalled from some devices), "" if it goes on
	ended       time.Time         // when that was answered, of the first two
	from        map[int]time.Time // of the third: from whom, and when that was answered
	recallAsked time.Time
}

func (x *tale) path() string { return "/v1/apps/life/pushes/" + x.id }

// tell notes a tale.
func (l *life) tell(x *tale, devices []int) *tale {
	l.mu.Lock()
	defer l.mu.Unlock()
	x.to = map[int]bool{}
	for _, i := range devices {
		x.to[i] = true
	}
	l.tales = append(l.tales, x)
	return x
}

// adds notes that devices were added to an open push.
func (l *life) adds(x *tale, devices []int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, i := range devices {
		x.to[i] = true
	}
}

// ends notes that the end of a push was answered just now.
func (l *life) ends(x *tale, how string) { l.endsAt(x, how, time.Now()) }

func (l *life) endsAt(x *tale, how string, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	x.ending, x.ended = how, at
}

// promised reports whether a device is to get x for sure.
func (x *tale) promised(i int) bool {
	_, from := x.from[i]
	return x.to[i] && !from && x.ended.IsZero()
}

// quiet returns when nothing of x may arrive on a device.
func (x *tale) quiet(i int) []span {
	all := []span{{time.Time{}, x.due.Add(-5 * time.Millisecond)}} // times of the record are in milliseconds
	if !x.ended.IsZero() {
		all = append(all, span{x.ended.Add(lifeGrace), time.Time{}})
	}
	if at, ok := x.from[i]; ok {
		all = append(all, span{at.Add(lifeGrace), time.Time{}})
	}
	for _, p := range x.pauses {
		all = append(all, span{p.from.Add(lifeGrace), p.to})
	}
	return all
}

func (s span) has(at time.Time) bool { return at.After(s.from) && (s.to.IsZero() || at.Before(s.to)) }

// missing returns how many promised messages have not arrived, and one of them.
func (l *life) missing() (n int, x *tale, device int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, one := range l.tales {
		for i := range one.to {
			switch got := len(l.got[i][one.id]) > 0; {
			case one.promised(i) && !got, !one.promised(i) && one.ending != "cancelled" && got && len(l.taken[i][one.id]) == 0:
				n, x, device = n+1, one, i
			}
		}
	}
	return n, x, device
}

// awaitPromised waits until every device has got what it was promised: pushes, and the recalls of those that it had got.
func (l *life) awaitPromised() {
	l.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); ; pause(l.t, 50*time.Millisecond) {
		n, x, i := l.missing()
		switch {
		case n == 0:
			return
		case time.Now().After(deadline):
			what := "the push"
			if !x.promised(i) {
				what = "its recall"
			}
			l.wrong("%d promised messages did not arrive, among them of %s push %s (%s, %s) to device %d: %s; state %s",
				n, x.kind, x.id, x.key, x.ending, i, what, l.stateOf(x))
			return
		}
	}
}

// checkArrivals holds what arrived against what could.
func (l *life) checkArrivals() {
	l.mu.Lock()
	byID := map[string]*tale{}
	for _, x := range l.tales {
		byID[x.id] = x
	}
	got := slices.Clone(l.got)
	says, recall := l.says, l.recall
	l.mu.Unlock()
	for i, of := range got {
		for id, at := range of {
			x := byID[id]
			switch {
			case x == nil:
				l.wrong("device %d got push %s (%q), which nobody was answered", i, id, says[id])
				continue
			case !x.to[i]:
				l.wrong("device %d got %s push %s (%s), which was not for it", i, x.kind, id, x.key)
			case says[id] != x.key:
				l.wrong("%s push %s says %q, want %q", x.kind, id, says[id], x.key)
			}
			for _, s := range x.quiet(i) {
				if n := slices.IndexFunc(at, s.has); n >= 0 {
					l.wrong("device %d got %s push %s (%s, due %v, %s %v, taken from it %v, paused %v) at %v",
						i, x.kind, id, x.key, x.due, x.ending, x.ended, x.from[i], x.pauses, at[n])
				}
			}
		}
	}
	for carrier, id := range recall {
		x := byID[id]
		if x == nil || x.ending != "recalled" && x.ending != "named" {
			l.wrong("devices got recall %s of push %s, of which nobody asked for one", carrier, id)
		}
	}
}

// receivers returns how many devices got x, and how many of them have a receipt that must be on disk. mu is held.
func (l *life) receivers(x *tale) (sure, all int) {
	for i := range x.to {
		if len(l.got[i][x.id]) > 0 {
			all++
		}
		if l.surely(x, i) {
			sure++
		}
	}
	return sure, all
}

// surely reports whether the receipt of x from a device must be on disk: for a while after a copy arrived nobody was killed,
// and nobody asked to end x. mu is held.
func (l *life) surely(x *tale, i int) bool {
	return slices.ContainsFunc(l.got[i][x.id], func(at time.Time) bool { return l.calm(at) && at.Add(lifeSure).Before(x.end(i)) })
}

// end returns when x was about to be ended for a device.
func (x *tale) end(i int) time.Time {
	switch at, ok := x.from[i]; {
	case !x.recallAsked.IsZero() && (ok || x.ending == "recalled"):
		return x.recallAsked
	case ok:
		return at
	case !x.ended.IsZero():
		return x.ended
	}
	return time.Now()
}

// calm reports whether the node went on for a while after a moment. mu is held.
func (l *life) calm(at time.Time) bool {
	return !slices.ContainsFunc(l.downs, func(d span) bool { return d.from.After(at.Add(-lifeSure/3)) && d.from.Before(at.Add(lifeSure)) })
}
