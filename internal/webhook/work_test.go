package webhook_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/webhook"
)

// The call is as docs/pushes.md says, and its signature is over the bytes that arrive.
func TestACall(t *testing.T) {
	records(t, func(t *testing.T, r record) {
		h := newHouse(t, r, nil)
		rec := newReceiver(t, h, nil)
		w := h.add(rec.URL + "/push-events?key=7")
		h.fold(w,
			happened(3, push.MarkSent), happened(3, push.MarkDelivered), happened(4, push.MarkExpired), happened(3, push.MarkOpened),
			happened(0, push.MarkFinished),
		)
		h.run(noon.Add(time.Hour))
		calls := rec.got()
		if len(calls) != 1 {
			t.Fatalf("%d calls, want one", len(calls))
		}
		c := calls[0]
		at, err := strconv.ParseInt(c.header.Get("Carillon-Timestamp"), 10, 64)
		if err != nil || at != noon.Unix() {
			t.Errorf("timestamp %q, want %d", c.header.Get("Carillon-Timestamp"), noon.Unix())
		}
		if !webhook.Verify(w.Secret, at, c.body, c.header.Get("Carillon-Signature")) || len(w.Secret) != 32 {
			t.Errorf("signature %q is not that of the body under the secret of %d bytes", c.header.Get("Carillon-Signature"), len(w.Secret))
		}
		if got := c.header.Get("Content-Type"); got != "application/json" {
			t.Errorf("content type %q", got)
		}
		var got, want any
		if err := json.Unmarshal(c.body, &got); err != nil {
			t.Fatal(err)
		}
		before := `"time": "2026-11-25T11:59:59Z", "push": "8"`
		err = json.Unmarshal([]byte(`{
			"app": "1", "webhook": "`+strconv.Itoa(int(w.ID))+`", "batch": "`+c.batch()+`", "time": "2026-11-25T12:00:00Z", "events": [
			{`+before+`, "event": "sent", "device": "device-3", "channel": "own"},
			{`+before+`, "event": "delivered", "device": "device-3", "channel": "own"},
			{`+before+`, "event": "dropped", "device": "device-4", "reason": "expired"},
			{`+before+`, "event": "opened", "device": "device-3"},
			{`+before+`, "event": "finished", "state": "done"}
		]}`), &want)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("body (-want +got):\n%s", diff)
		}
		if left := h.list(w, false); len(left) != 0 {
			t.Errorf("still to be told: %v", left)
		}
	})
}

// A receiver that is down is asked again for a day, ever less often, with the same batch; what waits behind it keeps its
// order. Then all of it is dead, and told again when somebody asks for that.
func TestADayOfRetries(t *testing.T) {
	records(t, func(t *testing.T, r record) {
		h := newHouse(t, r, nil)
		up := false
		rec := newReceiver(t, h, func(w http.ResponseWriter, _ *http.Request, _ int) {
			if !up {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		})
		w := h.add(rec.URL)
		h.fold(w, happened(1, push.MarkSent))
		h.fold(w, happened(2, push.MarkSent))
		h.run(noon.Add(23 * time.Hour))
		calls := rec.got()
		want := 5 * time.Second
		for i := 1; i < len(calls); i++ {
			if gap := calls[i].at.Sub(calls[i-1].at); gap > want || gap < want*3/4 {
				t.Errorf("call %d came %v after the one before, want up to %v", i+1, gap, want)
			}
			if calls[i].batch() != calls[0].batch() {
				t.Errorf("call %d is of batch %s, want the oldest, %s", i+1, calls[i].batch(), calls[0].batch())
			}
			want = min(time.Hour, 2*want)
		}
		if n := len(calls); n < 30 || n > 45 {
			t.Errorf("%d calls in 23 hours", n)
		}
		if info := h.list(w, false); len(info) != 2 || info[0].Attempts != len(calls) || info[0].Error != "the receiver answered 503" {
			t.Errorf("batches: %+v", info)
		}
		h.run(noon.Add(48 * time.Hour))
		calls = rec.got()
		if last := calls[len(calls)-1].at.Sub(noon); last < 24*time.Hour-time.Hour || last > 24*time.Hour {
			t.Errorf("the last call came after %v, want a day", last)
		}
		dead := h.list(w, true)
		if len(dead) != 2 || !dead[0].Dead || !dead[1].Dead || !dead[1].Next.IsZero() {
			t.Fatalf("dead: %+v, want both", dead)
		}
		if _, ok := h.nextWake(); ok {
			t.Error("somebody is woken for what is dead")
		}

		up = true
		if n, err := h.Replay(t.Context(), 1, w.ID, []int64{dead[1].ID}); n != 1 || err != nil {
			t.Fatalf("Replay of one: %d, %v", n, err)
		}
		h.run(noon.Add(100 * time.Hour))
		if n, err := h.Replay(t.Context(), 1, w.ID, nil); n != 1 || err != nil {
			t.Fatalf("Replay of all: %d, %v", n, err)
		}
		h.run(noon.Add(100 * time.Hour))
		got := rec.batches()[len(calls):]
		if want := []string{strconv.FormatInt(dead[1].ID, 10), strconv.FormatInt(dead[0].ID, 10)}; !slices.Equal(got, want) {
			t.Errorf("replayed %v, want %v", got, want)
		}
		if left := h.list(w, false); len(left) != 0 {
			t.Errorf("left: %v", left)
		}
	})
}

// A node that was away for days does not give up on a receiver that misses its first call.
func TestOldBatchesGetSomeCalls(t *testing.T) {
	h := newHouse(t, new(memStore), nil)
	rec := newReceiver(t, h, func(w http.ResponseWriter, _ *http.Request, n int) {
		if n <= 3 {
			w.WriteHeader(http.StatusBadGateway)
		}
	})
	w := h.add(rec.URL)
	h.fold(w, happened(1, push.MarkSent))
	h.fold(w, happened(2, push.MarkSent))
	h.pass(72 * time.Hour)
	h.run(noon.Add(100 * time.Hour))
	if got := rec.batches(); !slices.Equal(got, []string{"1", "1", "1", "1", "2"}) || len(h.list(w, false)) != 0 {
		t.Errorf("calls of batches %v, left %v", got, h.list(w, false))
	}
}

// What the receiver refuses for what it is goes aside; what it cannot take now has the others wait.
func TestOrder(t *testing.T) {
	for _, tt := range []struct {
		name    string
		status  int
		want    []string // batches of calls, of which the first is answered so once
		waiting int      // after the first round
	}{
		{"taken", 200, []string{"1", "2", "3"}, 0},
		{"refused", 400, []string{"1", "2", "3", "1"}, 1},
		{"moved", 302, []string{"1", "2", "3", "1"}, 1},
		{"gone", 410, []string{"1", "2", "3", "1"}, 1},
		{"busy", 429, []string{"1", "1", "2", "3"}, 3},
		{"too early", 425, []string{"1", "1", "2", "3"}, 3},
		{"timed out", 408, []string{"1", "1", "2", "3"}, 3},
		{"failed", 500, []string{"1", "1", "2", "3"}, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			records(t, func(t *testing.T, r record) {
				h := newHouse(t, r, nil)
				elsewhere := newReceiver(t, h, nil)
				rec := newReceiver(t, h, func(w http.ResponseWriter, _ *http.Request, n int) {
					if n == 1 {
						w.Header().Set("Location", elsewhere.URL)
						w.WriteHeader(tt.status)
					}
				})
				w := h.add(rec.URL)
				for o := range push.Ordinal(3) {
					h.fold(w, happened(o, push.MarkSent))
				}
				h.run(noon.Add(time.Second))
				if n := len(h.list(w, false)); n != tt.waiting {
					t.Errorf("%d wait after the first round, want %d", n, tt.waiting)
				}
				h.run(noon.Add(time.Hour))
				if got := rec.batches(); !slices.Equal(got, tt.want) {
					t.Errorf("calls of batches %v, want %v", got, tt.want)
				}
				if n := len(elsewhere.got()); n != 0 {
					t.Errorf("a redirect was followed %d times", n)
				}
			})
		})
	}
}

func TestRetryAfter(t *testing.T) {
	for _, tt := range []struct {
		name, value string
		status      int
		least, most time.Duration
	}{
		{"seconds", "120", 503, 120 * time.Second, 120 * time.Second},
		{"a date", noon.Add(10 * time.Minute).Format(http.TimeFormat), 429, 10 * time.Minute, 10 * time.Minute},
		{"of a refusal", "90", 404, 90 * time.Second, 90 * time.Second},
		{"less than the back-off", "1", 503, 3 * time.Second, 5 * time.Second},
		{"a date that is past", noon.Add(-time.Hour).Format(http.TimeFormat), 503, 3 * time.Second, 5 * time.Second},
		{"for ever", "99999999999999", 503, 24 * time.Hour, 24 * time.Hour},
		{"nonsense", "soon", 503, 3 * time.Second, 5 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHouse(t, new(memStore), nil)
			rec := newReceiver(t, h, func(w http.ResponseWriter, _ *http.Request, n int) {
				if n == 1 {
					w.Header().Set("Retry-After", tt.value)
					w.WriteHeader(tt.status)
				}
			})
			h.fold(h.add(rec.URL), happened(1, push.MarkSent))
			h.run(noon.Add(25 * time.Hour))
			calls := rec.got()
			if len(calls) != 2 {
				t.Fatalf("%d calls, want 2", len(calls))
			}
			if gap := calls[1].at.Sub(calls[0].at); gap < tt.least || gap > tt.most {
				t.Errorf("called again after %v, want %v to %v", gap, tt.least, tt.most)
			}
		})
	}
}

// forgetful is a record that dies before it has noted that a batch was told.
type forgetful struct {
	*memStore
	dies bool
}

var errDied = errors.New("died")

func (f *forgetful) EndBatch(ctx context.Context, b push.Batch, told bool) error {
	if f.dies {
		f.dies = false
		return errDied
	}
	return f.memStore.EndBatch(ctx, b, told)
}

// A crash between the call and its commit has the batch told again, as the same.
func TestAtLeastOnce(t *testing.T) {
	r := &forgetful{memStore: new(memStore), dies: true}
	h := newHouse(t, r, nil)
	rec := newReceiver(t, h, nil)
	w := h.add(rec.URL)
	h.fold(w, happened(1, push.MarkSent))
	h.fold(w, happened(2, push.MarkSent))
	if err := h.Work(t.Context(), 1, w.ID); !errors.Is(err, errDied) {
		t.Fatalf("Work: %v, want the record's error", err)
	}
	again := newHouse(t, r, nil) // has the secret from the record
	if err := again.Work(t.Context(), 1, w.ID); err != nil {
		t.Fatal(err)
	}
	calls := rec.got()
	if got := rec.batches(); !slices.Equal(got, []string{"1", "1", "2"}) {
		t.Fatalf("calls of batches %v, want the first twice", got)
	}
	for i, c := range calls {
		if !webhook.Verify(w.Secret, noon.Unix(), c.body, c.header.Get("Carillon-Signature")) {
			t.Errorf("call %d is signed wrong", i+1)
		}
	}
}

// One that hangs takes its own time and nobody else's, and is not called twice at once.
func TestASlowReceiverDelaysNobodyElse(t *testing.T) {
	h := newHouse(t, new(memStore), func(o *webhook.Options) { o.AtOnce = 2 })
	began, release := make(chan struct{}, 10), make(chan struct{})
	slow := newReceiver(t, h, func(http.ResponseWriter, *http.Request, int) {
		began <- struct{}{}
		<-release
	})
	fast := newReceiver(t, h, nil)
	s, f := h.add(slow.URL), h.add(fast.URL)
	h.fold(s, happened(1, push.MarkSent))
	for o := range push.Ordinal(5) {
		h.fold(f, happened(o, push.MarkSent))
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := h.Work(t.Context(), 1, s.ID); err != nil {
			t.Error(err)
		}
	})
	<-began
	h.fold(s, happened(2, push.MarkSent))
	for range 3 { // the first worker will look again
		if err := h.Work(t.Context(), 1, s.ID); err != nil {
			t.Error(err)
		}
	}
	if err := h.Work(t.Context(), 1, f.ID); err != nil {
		t.Error(err)
	}
	if n := len(fast.got()); n != 5 {
		t.Errorf("the fast one has %d calls while the slow one hangs, want 5", n)
	}
	if n := len(slow.got()); n != 1 {
		t.Errorf("the slow one is called %d times at once", n)
	}
	close(release)
	wg.Wait()
	if got := slow.batches(); len(got) != 2 {
		t.Errorf("the slow one got batches %v, want both", got)
	}
}

func TestNoAnswer(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer func(w http.ResponseWriter, r *http.Request, n int)
		want   string
	}{
		{"in time", func(_ http.ResponseWriter, r *http.Request, _ int) { <-r.Context().Done() }, "no answer in time"},
		{"at all", func(http.ResponseWriter, *http.Request, int) { panic(http.ErrAbortHandler) }, "EOF"},
		{"without end", func(w http.ResponseWriter, _ *http.Request, _ int) {
			w.WriteHeader(http.StatusInternalServerError)
			for {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		}, "the receiver answered 500"},
		{"of a bearable size", func(w http.ResponseWriter, _ *http.Request, _ int) {
			w.Header().Set("X", strings.Repeat("x", 1<<20))
		}, "exceeded"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHouse(t, new(memStore), func(o *webhook.Options) { o.Timeout = 500 * time.Millisecond })
			rec := newReceiver(t, h, tt.answer)
			w := h.add(rec.URL + "/?secret=hush")
			h.fold(w, happened(1, push.MarkSent))
			h.run(noon.Add(time.Second))
			info := h.list(w, false)
			if len(info) != 1 || info[0].Attempts != 1 || !strings.Contains(info[0].Error, tt.want) || strings.Contains(info[0].Error, "hush") {
				t.Errorf("got %+v, want a problem with %q", info, tt.want)
			}
		})
	}
}

// A server that stops says nothing of the receiver.
func TestStoppingIsNoFailure(t *testing.T) {
	h := newHouse(t, new(memStore), nil)
	ctx, cancel := context.WithCancel(t.Context())
	rec := newReceiver(t, h, func(_ http.ResponseWriter, r *http.Request, _ int) {
		cancel()
		<-r.Context().Done()
	})
	w := h.add(rec.URL)
	h.fold(w, happened(1, push.MarkSent))
	if err := h.Work(ctx, 1, w.ID); !errors.Is(err, context.Canceled) {
		t.Errorf("Work: %v, want canceled", err)
	}
	if info := h.list(w, false); len(info) != 1 || info[0].Attempts != 0 {
		t.Errorf("got %+v, want no attempt", info)
	}
}

// A record that cannot be read has the batch wait; a push that is gone has no state.
func TestTheStateOfAPush(t *testing.T) {
	h := newHouse(t, new(memStore), nil)
	rec := newReceiver(t, h, nil)
	w := h.add(rec.URL)
	gone := happened(0, push.MarkFinished)
	gone.Push = 99
	h.fold(w, gone, happened(0, push.MarkFinished))
	h.lost = errors.New("away")
	if err := h.Work(t.Context(), 1, w.ID); !errors.Is(err, h.lost) || len(rec.got()) != 0 {
		t.Errorf("Work: %v after %d calls, want the record's error and none", err, len(rec.got()))
	}
	h.lost, h.push.State = nil, push.Cancelled
	h.run(noon.Add(time.Hour))
	var b struct{ Events []push.Event }
	if calls := rec.got(); len(calls) != 1 || json.Unmarshal(calls[0].body, &b) != nil || len(b.Events) != 2 {
		t.Fatalf("calls: %d, events: %v", len(calls), b.Events)
	}
	if b.Events[0].State != "" || b.Events[1].State != push.Cancelled {
		t.Errorf("states %q and %q, want none and cancelled", b.Events[0].State, b.Events[1].State)
	}
}
