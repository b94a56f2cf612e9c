package schedule_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/schedule"
)

func fieldOf(err error) string {
	if e, ok := errors.AsType[*push.Error](err); ok {
		return e.Field
	}
	return ""
}

func later(now time.Time) push.Request {
	at := now.Add(time.Hour)
	return push.Request{
		App: 1, Audience: push.Audience{All: true}, Message: push.Message{Data: []byte(`1`)}, Policy: push.Policy{StartAt: &at},
	}
}

func TestWhatIsRefused(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*push.Request)
		field  string
	}{
		{"a plain rule", func(*push.Request) {}, ""},
		{"a rule that is over", func(r *push.Request) {
			r.Policy.Recurring.From, r.Policy.Recurring.Until = y2k.AddDate(0, 0, -9), y2k.AddDate(0, 0, -1)
		}, "policy.recurring"},
		{"a time of today that has passed", func(r *push.Request) {
			r.Policy.Recurring.At, r.Policy.Recurring.Until = "00:00:00", y2k
		}, "policy.recurring"},
		{"a day that no month has in time", func(r *push.Request) {
			r.Policy.Recurring.Every, r.Policy.Recurring.On = "month", []int{31}
			r.Policy.Recurring.From, r.Policy.Recurring.Until = date(4, 1, 0, 0), date(5, 30, 0, 0)
		}, "policy.recurring"},
		{"a weekday that does not come", func(r *push.Request) {
			r.Policy.Recurring.Every, r.Policy.Recurring.On = "week", []int{5}
			r.Policy.Recurring.Until = y2k.AddDate(0, 0, 5)
		}, "policy.recurring"},
		{"180 days ahead", func(r *push.Request) { r.Policy.Recurring.Until = y2k.AddDate(0, 0, 180) }, ""},
		{"181 days ahead", func(r *push.Request) { r.Policy.Recurring.Until = y2k.AddDate(0, 0, 181) }, "policy.recurring.until"},
		{"a time of day that is none", func(r *push.Request) { r.Policy.Recurring.At = "25:00:00" }, "policy.recurring.at"},
		{"an expiry beside it", func(r *push.Request) { r.Policy.ExpireAt = &y2k }, "policy.expire_at"},
		{"a start beside it", func(r *push.Request) { at := y2k.Add(time.Hour); r.Policy.StartAt = &at }, "policy.start_at"},
		{"a message that is none", func(r *push.Request) { r.Message = push.Message{} }, "message"},
		{"an audience that cannot be found", func(r *push.Request) {
			r.Audience = push.Audience{File: "f", Of: &push.FileOf{Devices: true}}
		}, "audience.file"},
		{"a key that is too long", func(r *push.Request) { r.Key.Value = strings.Repeat("k", 257) }, "key"},
		{"an app that is not there", func(r *push.Request) { r.App = 2 }, "app"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(nil, "UTC")
				r := daily(y2k, "09:30:00", 2)
				tt.change(&r)
				p, err := h.open().Accept(t.Context(), r)
				if fieldOf(err) != tt.field || (err == nil) != (tt.field == "") || err != nil && p.ID != 0 {
					t.Fatalf("got %v, field %q; want %q", err, fieldOf(err), tt.field)
				}
				schedules, pushes := h.made()
				if want := map[bool]int{true: 1, false: 0}[err == nil]; schedules != want || pushes != 0 {
					t.Errorf("got %d schedules and %d pushes, want %d and none", schedules, pushes, want)
				}
				if kind := push.KindOf(err); err != nil && kind != push.Invalid && kind != push.NotFound {
					t.Errorf("got kind %v", kind)
				}
			})
		})
	}
}

// An app may look 366 days ahead; a schedule has at most 366 occurrences.
func TestTheMostOccurrences(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(push.Settings{push.SettingSchedulesAhead: "366"}, "UTC")
		s := h.open()
		if _, err := s.Accept(t.Context(), daily(y2k, "09:30:00", 366)); fieldOf(err) != "policy.recurring.until" {
			t.Errorf("367 occurrences: got %v", err)
		}
		p, err := s.Accept(t.Context(), daily(y2k, "09:30:00", 365))
		if err != nil {
			t.Fatal(err)
		}
		all, err := s.OccurrencesOf(t.Context(), 1, p.ID)
		if err != nil || len(all) != 366 {
			t.Errorf("got %d, %v; want 366", len(all), err)
		}
		ids := map[push.ID]bool{}
		for _, o := range all {
			ids[o.ID] = true
		}
		if len(ids) != 366 || ids[p.ID] {
			t.Error("ids are not distinct")
		}
	})
}

func TestWhatStartsAtOnceIsHandedOn(t *testing.T) {
	h := newHouse(push.Settings{push.SettingSchedules: "1"}, "UTC")
	s := h.open()
	r := push.Request{App: 7, Open: true, Key: push.Key{Value: "k"}, AllowUnknown: true} // whatever it is: it is dispatch's
	p, err := s.Accept(t.Context(), r)
	if n, _ := h.made(); err != nil || !cmp.Equal(p.Request, r) || n != 0 {
		t.Errorf("got %+v, %v", p, err)
	}
}

func TestUnfinishedSchedulesAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(push.Settings{push.SettingSchedules: "2"}, "UTC")
		h.apps[2] = push.App{ID: 2, TimeZone: "UTC"}
		s := h.open()
		defer run(t, s)()
		first, err := s.Accept(t.Context(), daily(y2k, "00:30:00", 0))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Accept(t.Context(), later(y2k)); err != nil {
			t.Fatal(err)
		}
		for field, r := range map[string]push.Request{"policy.recurring": daily(y2k, "09:30:00", 9), "policy.start_at": later(y2k)} {
			_, err := s.Accept(t.Context(), r)
			var e *push.Error
			if !errors.As(err, &e) || e.Kind != push.TooMany || e.Field != field || !strings.Contains(e.Msg, "schedules.unfinished") {
				t.Errorf("the third: got %v, want too many of %s, and which setting says so", err, field)
			}
		}
		other := later(y2k)
		other.App = 2
		if _, err := s.Accept(t.Context(), other); err != nil {
			t.Errorf("another app: %v", err)
		}
		sleep(31 * time.Minute) // the first has fired, and is finished
		if got, _ := s.FindSchedule(t.Context(), 1, first.ID); got.State != push.ScheduleFinished {
			t.Fatalf("got %+v", got)
		}
		if _, err := s.Accept(t.Context(), later(h.now())); err != nil {
			t.Errorf("in the place of one that is finished: %v", err)
		}
	})
}

func TestUnfinishedSchedulesAreCountedUnderALock(t *testing.T) {
	const most, asked = 5, 40
	h := newHouse(push.Settings{push.SettingSchedules: fmt.Sprint(most)}, "UTC")
	s := h.open()
	var wg sync.WaitGroup
	for i := range asked {
		wg.Go(func() {
			r := later(time.Now())
			if i%2 == 0 {
				r = daily(time.Now(), "09:30:00", 3)
			}
			if _, err := s.Accept(t.Context(), r); err != nil && !errors.Is(err, push.TooMany) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n, err := h.Unfinished(t.Context(), 1); err != nil || n != most {
		t.Errorf("got %d, %v; want %d", n, err, most)
	}
}

func TestKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(push.Settings{push.SettingSchedules: "2"}, "UTC")
		s := h.open()
		r := daily(y2k, "00:30:00", 1)
		r.Key = push.Key{Namespace: "rest", Value: "k", Strict: true}
		first, err := s.Accept(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		once := later(y2k)
		once.Key = push.Key{Namespace: "rest", Value: "o"}
		start, err := s.Accept(t.Context(), once)
		if err != nil {
			t.Fatal(err)
		}
		sleep(100 * time.Hour) // long after both are over, and though there is no room for two more and their times are past
		h.mu.Lock()
		h.apps[1] = push.App{ID: 1, TimeZone: "UTC", Settings: push.Settings{push.SettingSchedules: "1", push.SettingSchedulesAhead: "1"}}
		h.mu.Unlock()
		if again, err := s.Accept(t.Context(), r); err != nil || again.ID != first.ID || again.State != push.Scheduled || !again.Start.Equal(first.Start) {
			t.Errorf("a recurring one again: got %+v, %v; want %+v", again, err, first)
		}
		if again, err := s.Accept(t.Context(), once); err != nil || again.ID != start.ID {
			t.Errorf("one with a start again: got %+v, %v; want %+v", again, err, start)
		}
		other := r
		other.Policy.Topic = "another"
		if _, err := s.Accept(t.Context(), other); !errors.Is(err, push.Conflict) || fieldOf(err) != "key" {
			t.Errorf("another request under a strict key: got %v, want a conflict", err)
		}
		other.Key.Strict = false
		if again, err := s.Accept(t.Context(), other); err != nil || again.ID != first.ID {
			t.Errorf("under a key that is not strict: got %+v, %v", again, err)
		}
	})
}

// A commit that was not answered may have been made: the schedule fires, and a repeat finds it.
func TestAnAnswerThatWasLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(nil, "UTC")
		s := h.open()
		defer run(t, s)()
		r := daily(y2k, "09:30:00", 0)
		r.Key = push.Key{Namespace: "rest", Value: "k"}
		h.set(func() { h.addFails = &push.Error{Kind: push.Unavailable} })
		if _, err := s.Accept(t.Context(), r); !errors.Is(err, push.Unavailable) {
			t.Fatalf("got %v, want unavailable", err)
		}
		h.set(func() { h.addFails = nil })
		_, err := s.Accept(t.Context(), r)
		if n, _ := h.made(); err != nil || n != 1 {
			t.Errorf("again: %v, %d schedules", err, n)
		}
		sleep(24 * time.Hour)
		if got, twice := h.times(); len(got) != 1 || twice {
			t.Errorf("fired %v", got)
		}
	})
}

func TestEditARecurringSchedule(t *testing.T) {
	type change = func(*push.Policy)
	rule := func(f func(*push.Recurring)) change {
		return func(p *push.Policy) {
			r := *p.Recurring
			f(&r)
			p.Recurring = &r
		}
	}
	for _, tt := range []struct {
		name   string
		change change
		field  string
		keep   []int // days whose occurrences keep their ids; the third is cancelled
		want   []time.Time
	}{
		{"only what is sent", func(p *push.Policy) { p.Topic = "t" }, "", []int{2, 4, 5}, []time.Time{date(1, 2, 9, 30), date(1, 4, 9, 30), date(1, 5, 9, 30)}},
		{"one day more", rule(func(r *push.Recurring) { r.Until = date(1, 6, 0, 0) }), "", []int{2, 4, 5}, []time.Time{date(1, 2, 9, 30), date(1, 4, 9, 30), date(1, 5, 9, 30), date(1, 6, 9, 30)}},
		{"two days fewer", rule(func(r *push.Recurring) { r.Until = date(1, 3, 0, 0) }), "", []int{2}, []time.Time{date(1, 2, 9, 30)}},
		{"another time", rule(func(r *push.Recurring) { r.At = "10:00:00" }), "", nil, []time.Time{
			date(1, 1, 10, 0), date(1, 2, 10, 0), date(1, 3, 10, 0), date(1, 4, 10, 0), date(1, 5, 10, 0),
		}},
		{"certain days of the week", rule(func(r *push.Recurring) { r.Every, r.On = "week", []int{2, 7} }), "", []int{2, 4}, []time.Time{date(1, 2, 9, 30), date(1, 4, 9, 30)}},
		{"only the day that was cancelled", rule(func(r *push.Recurring) { r.Every, r.On = "month", []int{3} }), "policy.recurring", nil, nil},
		{"no rule", func(p *push.Policy) { p.Recurring = nil }, "policy.recurring", nil, nil},
		{"a rule that is over", rule(func(r *push.Recurring) { r.Until = y2k }), "policy.recurring", nil, nil},
		{"too far ahead", rule(func(r *push.Recurring) { r.Until = date(12, 1, 0, 0) }), "policy.recurring.until", nil, nil},
		{"a time to live that the app does not allow", func(p *push.Policy) { p.TTL = push.Duration(1000 * time.Hour) }, "policy.ttl", nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(nil, "UTC")
				s := h.open()
				defer run(t, s)()
				p, err := s.Accept(t.Context(), daily(y2k, "09:30:00", 4))
				if err != nil {
					t.Fatal(err)
				}
				sleep(9*time.Hour + 45*time.Minute) // the first has fired
				had, err := s.OccurrencesOf(t.Context(), 1, p.ID)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := s.CancelOccurrence(t.Context(), 1, p.ID, had[2].ID); err != nil {
					t.Fatal(err)
				}
				before, err := s.FindSchedule(t.Context(), 1, p.ID)
				if err != nil {
					t.Fatal(err)
				}
				policy := before.Request.Policy
				tt.change(&policy)
				got, err := s.EditSchedule(t.Context(), 1, p.ID, push.SchedulePatch{Policy: &policy})
				if fieldOf(err) != tt.field || (err == nil) != (tt.field == "") {
					t.Fatalf("got %v, field %q; want %q", err, fieldOf(err), tt.field)
				}
				after, _ := s.FindSchedule(t.Context(), 1, p.ID)
				if err != nil {
					if !cmp.Equal(after, before) {
						t.Errorf("a refused edit changed %+v to %+v", before, after)
					}
					return
				}
				if !got.Next.Equal(after.Next) || got.Left != after.Left || got.Every != policy.Recurring.Every || !cmp.Equal(after.Request.Policy, policy) {
					t.Errorf("it answers %+v, and the record has %+v", got, after)
				}
				ids := map[push.ID]bool{}
				all, err := s.OccurrencesOf(t.Context(), 1, p.ID)
				if err != nil {
					t.Fatal(err)
				}
				for _, o := range all {
					ids[o.ID] = o.State == push.OccurrenceWaiting
				}
				for _, day := range tt.keep {
					if !ids[had[day-1].ID] {
						t.Errorf("the occurrence of day %d has lost its id", day)
					}
				}
				sleep(5 * 24 * time.Hour)
				if fired, twice := h.times(); !cmp.Equal(fired[1:], tt.want) || twice {
					t.Errorf("fired %v, twice %v; want %v", fired[1:], twice, tt.want)
				}
			})
		})
	}
}

func TestEditAPushThatWaits(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*push.Policy)
		field  string
	}{
		{"another start", func(p *push.Policy) { at := y2k.Add(2 * time.Hour); p.StartAt = &at }, ""},
		{"no start", func(p *push.Policy) { p.StartAt = nil }, "policy.start_at"},
		{"a rule", func(p *push.Policy) { p.StartAt, p.Recurring = nil, daily(y2k, "09:30:00", 1).Policy.Recurring }, "policy.recurring"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(nil, "UTC")
				s := h.open()
				p, err := s.Accept(t.Context(), later(y2k))
				if err != nil {
					t.Fatal(err)
				}
				policy := p.Request.Policy
				tt.change(&policy)
				got, err := s.EditSchedule(t.Context(), 1, p.ID, push.SchedulePatch{Policy: &policy, Message: &push.Message{Data: []byte(`2`)}})
				if fieldOf(err) != tt.field || (err == nil) != (tt.field == "") {
					t.Fatalf("got %v, field %q; want %q", err, fieldOf(err), tt.field)
				}
				if err == nil && (got.Every != "once" || !got.Next.Equal(*policy.StartAt) || string(h.one(p.ID).Request.Message.Data) != "2") {
					t.Errorf("got %+v; the push is %+v", got, h.one(p.ID))
				}
			})
		})
	}
}

func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(nil, "UTC")
		s := h.open()
		defer run(t, s)()
		accept := func(r push.Request) push.Push {
			t.Helper()
			p, err := s.Accept(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		whole, asPush, some, once := accept(daily(y2k, "09:30:00", 3)), accept(daily(y2k, "09:30:00", 3)), accept(daily(y2k, "09:30:00", 2)), accept(later(y2k))
		if got, err := s.CancelSchedule(t.Context(), 1, whole.ID); err != nil || got.State != push.ScheduleCancelled || got.Left != 0 || !got.Next.IsZero() {
			t.Errorf("a schedule: got %+v, %v", got, err)
		}
		if _, err := s.CancelSchedule(t.Context(), 1, whole.ID); !errors.Is(err, push.Conflict) {
			t.Errorf("again: got %v, want a conflict", err)
		}
		if _, err := s.EditSchedule(t.Context(), 1, whole.ID, push.SchedulePatch{}); !errors.Is(err, push.Conflict) {
			t.Errorf("an edit of it: got %v, want a conflict", err)
		}
		if got, err := s.CancelSchedule(t.Context(), 1, once.ID); err != nil || got.State != push.ScheduleCancelled || h.one(once.ID).State != push.Cancelled {
			t.Errorf("a push that waits: got %+v, %v", got, err)
		}
		if got, did, err := s.Cancel(t.Context(), 1, asPush.ID); err != nil || !did || got.State != push.Cancelled || got.ID != asPush.ID {
			t.Errorf("a schedule as a push: got %+v, %v, %v", got, did, err)
		}
		if _, did, err := s.Cancel(t.Context(), 1, asPush.ID); !did || !errors.Is(err, push.Conflict) {
			t.Errorf("again: got %v, %v, want a conflict", did, err)
		}
		all, err := s.OccurrencesOf(t.Context(), 1, some.ID)
		if err != nil || len(all) != 3 {
			t.Fatal(all, err)
		}
		if got, did, err := s.Cancel(t.Context(), 1, all[0].ID); err != nil || !did || got.State != push.Cancelled || got.Schedule != some.ID {
			t.Errorf("an occurrence as a push: got %+v, %v, %v", got, did, err)
		}
		if _, err := s.CancelOccurrence(t.Context(), 1, some.ID, all[0].ID); !errors.Is(err, push.Conflict) {
			t.Errorf("again: got %v, want a conflict", err)
		}
		if _, err := s.CancelOccurrence(t.Context(), 1, asPush.ID, all[1].ID); !errors.Is(err, push.NotFound) {
			t.Errorf("one of another schedule: got %v, want not found", err)
		}
		sleep(34 * time.Hour) // the second has fired: it is a push, and dispatch's
		if _, did, err := s.Cancel(t.Context(), 1, all[1].ID); did || err != nil {
			t.Errorf("one that has fired: got %v, %v", did, err)
		}
		if got, err := s.CancelOccurrence(t.Context(), 1, some.ID, all[2].ID); err != nil || got.State != push.OccurrenceCancelled || got.ID != all[2].ID {
			t.Errorf("an occurrence: got %+v, %v", got, err)
		}
		if got, err := s.FindSchedule(t.Context(), 1, some.ID); err != nil || got.State != push.ScheduleFinished {
			t.Errorf("a schedule whose last occurrence was cancelled: got %+v, %v", got, err)
		}
		if _, did, err := s.Cancel(t.Context(), 1, 999); did || err != nil {
			t.Errorf("an id of nothing: got %v, %v", did, err)
		}
		sleep(72 * time.Hour)
		if got, _ := h.times(); !cmp.Equal(got, []time.Time{date(1, 2, 9, 30)}) {
			t.Errorf("fired %v", got)
		}
	})
}

func TestListSchedules(t *testing.T) {
	h := newHouse(nil, "UTC")
	s := h.open()
	now := time.Now()
	var want []push.ID
	for i := range 5 {
		r := later(now)
		if i%2 == 0 {
			r = daily(now, "09:30:00", 3)
		}
		p, err := s.Accept(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		want = append([]push.ID{p.ID}, want...)
	}
	var got []push.ID
	for before, more := push.ID(0), true; more; more = before != 0 {
		page, next, err := s.Schedules(t.Context(), 1, before, 2)
		if err != nil || len(page) > 2 {
			t.Fatalf("got a page of %d, %v", len(page), err)
		}
		for _, one := range page {
			got = append(got, one.ID)
		}
		before = next
	}
	if !cmp.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	once, err := s.OccurrencesOf(t.Context(), 1, want[1])
	if err != nil || len(once) != 1 || once[0].ID != want[1] || once[0].State != push.OccurrenceWaiting {
		t.Errorf("of a push that waits: got %+v, %v", once, err)
	}
	if _, err := s.CancelOccurrence(t.Context(), 1, want[1], want[1]); err != nil || h.one(want[1]).State != push.Cancelled {
		t.Errorf("the push is %v, %v; want it cancelled", h.one(want[1]).State, err)
	}
	for name, err := range map[string]error{
		"find": second(s.FindSchedule(t.Context(), 2, want[0])), "occurrences": second(s.OccurrencesOf(t.Context(), 2, want[0])),
		"edit": second(s.EditSchedule(t.Context(), 2, want[0], push.SchedulePatch{})), "cancel": second(s.CancelSchedule(t.Context(), 2, want[0])),
	} {
		if !errors.Is(err, push.NotFound) {
			t.Errorf("%s, of another app: got %v, want not found", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// Firing, editing and cancelling at once never fire an occurrence twice, and leave nothing waiting in what is over.
func TestAllAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(push.Settings{push.SettingSchedules: "1000"}, "UTC")
		s := h.open()
		defer run(t, s)()
		var wg sync.WaitGroup
		for i := range 60 {
			p, err := s.Accept(t.Context(), daily(y2k, "09:30:00", 5))
			if err != nil {
				t.Fatal(err)
			}
			wg.Go(func() {
				for day := range 6 {
					time.Sleep(time.Until(y2k.Add(9*time.Hour+30*time.Minute).AddDate(0, 0, day))) // ok: synctest's time
					edit(t, s, p.ID, i+day)
				}
			})
		}
		wg.Wait()
		sleep(24 * time.Hour)
		if _, twice := h.times(); twice {
			t.Error("an occurrence fired twice")
		}
		seen := map[string]bool{}
		for _, o := range h.firings() {
			key := fmt.Sprint(o.Schedule, o.At)
			if seen[key] {
				t.Errorf("schedule %d fired twice at %v", o.Schedule, o.At)
			}
			seen[key] = true
		}
		if n := h.states()[push.OccurrenceWaiting]; n != 0 {
			t.Errorf("%d occurrences wait in schedules that are over", n)
		}
	})
}

// edit changes a schedule in one way or another.
func edit(t *testing.T, s *schedule.Schedules, id push.ID, how int) {
	var err error
	sched, _ := s.FindSchedule(t.Context(), 1, id)
	switch how % 4 {
	case 0:
		_, err = s.EditSchedule(t.Context(), 1, id, push.SchedulePatch{Message: &push.Message{Data: []byte(`2`)}})
	case 1:
		if policy := sched.Request.Policy; policy.Recurring != nil {
			rule := *policy.Recurring
			rule.At = "09:30:01"
			policy.Recurring = &rule
			_, err = s.EditSchedule(t.Context(), 1, id, push.SchedulePatch{Policy: &policy})
		}
	case 2:
		all, _ := s.OccurrencesOf(t.Context(), 1, id)
		_, err = s.CancelOccurrence(t.Context(), 1, id, all[len(all)-1].ID)
	case 3:
		if how%8 == 7 {
			_, err = s.CancelSchedule(t.Context(), 1, id)
		}
	}
	if err != nil && !errors.Is(err, push.Conflict) && !errors.Is(err, push.Invalid) {
		t.Error(err)
	}
}
