package server_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// lifeQuota is how many pushes the quotas of the test let through. Half of the kills come before they are used up.
const lifeQuota = 20

// A quotaApp is an app that runs into a quota.
type quotaApp struct {
	name   string
	window time.Duration // of a sliding one; 0 is a day

	mu       sync.Mutex // guards what follows
	accepted []answer
	refused  int
	last     time.Time // of the answers
}

// newQuotas makes an app with a quota of a day, where it is about noon, and one with a quota that slides.
func (l *life) newQuotas() {
	zone := "Etc/GMT"
	if ahead := time.Now().UTC().Hour() - 12; ahead != 0 {
		zone = fmt.Sprintf("Etc/GMT%+d", ahead)
	}
	limit := fmt.Sprint(lifeQuota)
	l.createAppWith(l.t, "daily", zone, map[string]string{"rest.broadcasts_per_day": limit})
	l.createAppWith(l.t, "sliding", zone, map[string]string{"rest.pushes_per_minute": limit})
	l.quotas = []*quotaApp{{name: "daily"}, {name: "sliding", window: time.Minute}}
}

// use sends pushes under the quota until ctx ends, two at a time.
func (q *quotaApp) use(ctx context.Context, l *life) {
	var wg sync.WaitGroup
	for n := range 2 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				q.try(l, fmt.Sprintf("%s-%d-%d", q.name, n, i))
				l.wait(ctx, 500*time.Millisecond+rand.N(600*time.Millisecond))
			}
		})
	}
	wg.Wait()
}

// try sends a push.
func (q *quotaApp) try(l *life, key string) {
	a, err := l.post(q.name, key, map[string]any{"audience": map[string]any{"all": true}, "message": map[string]any{"data": key}})
	q.mu.Lock()
	defer q.mu.Unlock()
	q.last = time.Now()
	switch {
	case err == nil:
		q.accepted = append(q.accepted, a)
	case code(err) == http.StatusTooManyRequests:
		q.refused++
	default:
		l.wrong("push %s of app %s: %v", key, q.name, err)
	}
}

// checkQuotas holds what was accepted against the limits: exactly as much, although answers were lost.
func (l *life) checkQuotas() {
	for _, q := range l.quotas {
		q.try(l, q.name+"-last")
		q.check(l)
	}
}

func (q *quotaApp) check(l *life) {
	q.mu.Lock()
	defer q.mu.Unlock()
	ids := map[string]bool{}
	for _, a := range q.accepted {
		ids[a.ID] = true
	}
	var listed struct{ Items []answer }
	var sums struct{ Items []lifeTotals }
	if err := l.ask("GET", "/v1/apps/"+q.name+"/pushes?limit=1000", nil, nil, &listed); err != nil {
		l.wrong("pushes of app %s: %v", q.name, err)
	}
	if err := l.ask("GET", "/v1/apps/"+q.name+"/reports/pushes", nil, nil, &sums); err != nil || len(sums.Items) != 1 || sums.Items[0].Pushes != len(ids) {
		l.wrong("totals of app %s: got %+v, %v, want %d pushes", q.name, sums.Items, err, len(ids))
	}
	if len(listed.Items) != len(ids) || len(ids) != len(q.accepted) {
		l.wrong("app %s has %d pushes, and %d keys were answered with %d", q.name, len(listed.Items), len(q.accepted), len(ids))
	}
	for _, a := range listed.Items {
		if !ids[a.ID] {
			l.wrong("app %s has push %s, which nobody was answered", q.name, a.ID)
		}
	}
	l.t.Logf("app %s: %d accepted, %d refused", q.name, len(q.accepted), q.refused)
	if len(q.accepted) < lifeQuota || q.refused == 0 {
		l.wrong("app %s: %d accepted and %d refused, want %d and some", q.name, len(q.accepted), q.refused, lifeQuota)
		return
	}
	if q.window == 0 {
		if len(q.accepted) != lifeQuota {
			l.wrong("app %s: %d accepted on one day, want %d", q.name, len(q.accepted), lifeQuota)
		}
		return
	}
	// What is counted in a window is the commit, which may be some seconds after the push was made.
	const slack = 5 * time.Second
	for _, first := range q.accepted {
		n := 0
		for _, a := range q.accepted {
			if d := a.Created.Sub(first.Created); d >= 0 && d < q.window-slack {
				n++
			}
		}
		if n > lifeQuota {
			l.wrong("app %s: %d accepted within %v from push %s on, want at most %d", q.name, n, q.window-slack, first.ID, lifeQuota)
		}
	}
}
