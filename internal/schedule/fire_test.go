package schedule_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillonpush/carillon/internal/push"
)

// A bubble begins on 2000-01-01 at midnight UTC, a Saturday.
var y2k = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func date(month time.Month, day, hour, minute int) time.Time {
	return time.Date(2000, month, day, hour, minute, 0, 0, time.UTC)
}

func TestOccurrencesFireAtTheirTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(nil, "UTC")
		s := h.open()
		stop := run(t, s)
		defer stop()
		p, err := s.Accept(t.Context(), daily(y2k, "09:30:00", 2))
		if err != nil || p.State != push.Scheduled || !p.Start.Equal(date(1, 1, 9, 30)) {
			t.Fatalf("got %+v, %v", p, err)
		}
		sleep(9*time.Hour + 29*time.Minute + 59*time.Second)
		if got, _ := h.times(); got != nil {
			t.Fatalf("a second early: fired %v", got)
		}
		sleep(time.Second)
		if got, _ := h.times(); !cmp.Equal(got, []time.Time{date(1, 1, 9, 30)}) {
			t.Fatalf("at its time: fired %v", got)
		}
		sleep(48 * time.Hour)
		want := []time.Time{date(1, 1, 9, 30), date(1, 2, 9, 30), date(1, 3, 9, 30)}
		if got, twice := h.times(); !cmp.Equal(got, want) || twice {
			t.Errorf("fired %v, twice %v; want %v", got, twice, want)
		}
		if r := h.one(h.firings()[0].ID).Request; r.Policy.Recurring != nil || !r.Audience.All {
			t.Errorf("it sent %+v", r)
		}
		if got, err := s.FindSchedule(t.Context(), 1, p.ID); err != nil || got.State != push.ScheduleFinished || got.Left != 0 {
			t.Errorf("after the last: got %+v, %v; want it finished", got, err)
		}
	})
}

func TestAClockThatJumpsNeitherRepeatsNorLosesAFiring(t *testing.T) {
	for _, tt := range []struct {
		name string
		at   time.Duration // real time at which the clock jumps
		jump time.Duration
	}{
		{"forward, over an occurrence", 9 * time.Hour, time.Hour},
		{"forward, before one", 7 * time.Hour, time.Hour},
		{"forward by a day and more, over two", 9 * time.Hour, 25 * time.Hour},
		{"back, after an occurrence", 9*time.Hour + 45*time.Minute, -time.Hour},
		{"back, at the moment of one", 9*time.Hour + 30*time.Minute, -time.Hour},
		{"back by a day and more, after one", 34 * time.Hour, -25 * time.Hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(nil, "UTC")
				s := h.open()
				stop := run(t, s)
				if _, err := s.Accept(t.Context(), daily(y2k, "09:30:00", 3)); err != nil {
					t.Fatal(err)
				}
				sleep(tt.at)
				h.setJump(tt.jump)
				sleep(2 * time.Second)
				now := h.now()
				due, _ := h.times()
				for day := 1; day <= 4; day++ {
					at := date(1, day, 9, 30)
					if in := len(due) >= day; !at.After(now) && !in {
						t.Errorf("two seconds after the jump what was due at %v has not fired", at)
					}
				}
				sleep(30 * time.Hour)
				stop()
				s = h.open() // a restart changes nothing
				stop = run(t, s)
				defer stop()
				sleep(50 * time.Hour)
				want := []time.Time{date(1, 1, 9, 30), date(1, 2, 9, 30), date(1, 3, 9, 30), date(1, 4, 9, 30)}
				if got, twice := h.times(); !cmp.Equal(got, want) || twice {
					t.Errorf("fired %v, twice %v; want %v", got, twice, want)
				}
			})
		})
	}
}

// In 2000 New York's clocks went on at 02:00 on April 2nd, and back at 02:00 on October 29th.
func TestOccurrencesWhenClocksChange(t *testing.T) {
	for _, tt := range []struct {
		name, at string
		from     time.Time
		want     []time.Time
	}{
		{"a time that is left out", "02:30:00", date(4, 1, 12, 0), []time.Time{date(4, 2, 7, 30), date(4, 3, 6, 30)}},
		{"a time that comes twice", "01:30:00", date(10, 28, 12, 0), []time.Time{date(10, 29, 5, 30), date(10, 30, 6, 30)}},
		{"a day that is an hour shorter", "09:00:00", date(4, 1, 14, 0), []time.Time{date(4, 2, 13, 0), date(4, 3, 13, 0)}},
		{"a day that is an hour longer", "09:00:00", date(10, 28, 14, 0), []time.Time{date(10, 29, 14, 0), date(10, 30, 14, 0)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(nil, "America/New_York")
				sleep(tt.from.Sub(y2k))
				s := h.open()
				stop := run(t, s)
				defer stop()
				if _, err := s.Accept(t.Context(), daily(tt.from, tt.at, 2)); err != nil {
					t.Fatal(err)
				}
				sleep(72 * time.Hour)
				if got, twice := h.times(); !cmp.Equal(got, tt.want) || twice {
					t.Errorf("fired %v, twice %v; want %v", got, twice, tt.want)
				}
			})
		})
	}
}

func TestANodeThatWasDown(t *testing.T) {
	for _, tt := range []struct {
		name   string
		policy push.Policy
		down   time.Duration
		max    string // the app's greatest time to live
		fired  []int  // days whose occurrences fired when it was back
		missed int
	}{
		{"not for long", push.Policy{}, 12 * time.Hour, "", []int{1}, 0},
		{"for days, within the default of three", push.Policy{}, 60 * time.Hour, "", []int{1, 2, 3}, 0},
		{"for longer than the time to live of the first", push.Policy{}, 100 * time.Hour, "", []int{2, 3, 4, 5}[:3], 1},
		{"for longer than a short time to live", push.Policy{TTL: push.Duration(time.Hour)}, 34 * time.Hour, "", []int{2}, 1},
		{"to the second of an end", push.Policy{TTL: push.Duration(time.Hour)}, 10*time.Hour + 30*time.Minute, "", nil, 1},
		{"under a greatest time to live that bounds the default", push.Policy{}, 34 * time.Hour, "1h", []int{2}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				settings := push.Settings{}
				if tt.max != "" {
					settings[push.SettingMaxTTL] = tt.max
				}
				h := newHouse(settings, "UTC")
				r := daily(y2k, "09:30:00", 9)
				r.Policy.TTL = tt.policy.TTL
				if _, err := h.open().Accept(t.Context(), r); err != nil {
					t.Fatal(err)
				}
				sleep(tt.down)
				stop := run(t, h.open())
				sleep(time.Second)
				var want []time.Time
				for _, day := range tt.fired {
					want = append(want, date(1, day, 9, 30))
				}
				got, twice := h.times()
				if !cmp.Equal(got, want) || twice || h.states()[push.OccurrenceMissed] != tt.missed {
					t.Errorf("fired %v, twice %v, states %v; want %v and %d missed", got, twice, h.states(), want, tt.missed)
				}
				stop()
			})
		})
	}
}

func TestAnAppThatIsSwitchedOffMissesItsOccurrences(t *testing.T) {
	for _, gone := range []bool{false, true} {
		t.Run(fmt.Sprintf("deleted %v", gone), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(nil, "UTC")
				s := h.open()
				defer run(t, s)()
				if _, err := s.Accept(t.Context(), daily(y2k, "09:30:00", 1)); err != nil {
					t.Fatal(err)
				}
				h.mu.Lock()
				if app := h.apps[1]; gone {
					delete(h.apps, 1)
				} else {
					app.Settings = push.Settings{push.SettingDisabled: "true"}
					h.apps[1] = app
				}
				h.mu.Unlock()
				sleep(72 * time.Hour)
				if got := h.states(); got[push.OccurrenceMissed] != 2 || len(h.firings()) != 0 {
					t.Errorf("got %v, %d fired; want both missed", got, len(h.firings()))
				}
			})
		})
	}
}

func TestWhatHappensWhenAnOccurrenceDoesNotFire(t *testing.T) {
	kind := func(k push.Kind, field string) error { return &push.Error{Kind: k, Field: field} }
	for _, tt := range []struct {
		name  string
		err   error
		times int // how often, of the first occurrence
		first push.OccurrenceState
		late  time.Duration // at most
	}{
		{"its template is gone", kind(push.NotFound, "message.template"), 1, push.OccurrenceFailed, 0},
		{"it has become invalid", kind(push.Invalid, "message.template.values"), 1, push.OccurrenceFailed, 0},
		{"its texts have become too large", kind(push.TooLarge, "message"), 1, push.OccurrenceFailed, 0},
		{"somebody else has fired it", conflict("occurrence"), 1, push.OccurrenceFired, 0},
		{"the record is away for a moment", kind(push.Unavailable, ""), 3, push.OccurrenceFired, 10 * time.Second},
		{"a fault", fmt.Errorf("disk on fire"), 2, push.OccurrenceFired, 10 * time.Second},
		{"no room for now", &push.Error{Kind: push.TooMany, RetryAfter: time.Hour}, 2, push.OccurrenceFired, 3 * time.Minute},
		{"the record is away for longer than it lives", kind(push.Unavailable, ""), 1 << 20, push.OccurrenceMissed, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(nil, "UTC")
				left, at := tt.times, time.Time{}
				h.fireFails = func(o push.Occurrence) error {
					if o.At.Equal(date(1, 1, 9, 30)) {
						if left--; left >= 0 {
							if push.KindOf(tt.err) == push.Conflict {
								o.State = push.OccurrenceFired
								h.occurrences[o.ID] = o
							}
							return tt.err
						}
						at = time.Now()
					}
					return nil
				}
				s := h.open()
				defer run(t, s)()
				r := daily(y2k, "09:30:00", 1)
				r.Policy.TTL = push.Duration(time.Hour)
				p, err := s.Accept(t.Context(), r)
				if err != nil {
					t.Fatal(err)
				}
				sleep(40 * time.Hour)
				all, err := s.OccurrencesOf(t.Context(), 1, p.ID)
				if err != nil || all[0].State != tt.first {
					t.Errorf("got %v, %v, want %v", all[0].State, err, tt.first)
				}
				if late := at.Sub(date(1, 1, 9, 30)); tt.first == push.OccurrenceFired && late > tt.late {
					t.Errorf("it fired %v late, want at most %v", late, tt.late)
				}
				for _, o := range all[1:] {
					if o.State != push.OccurrenceFired {
						t.Errorf("that of %v: got %v, want it fired", o.At, o.State)
					}
				}
			})
		})
	}
}

func TestManySchedulesFireAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 2000
		h := newHouse(push.Settings{push.SettingSchedules: "100000"}, "UTC")
		s := h.open()
		defer run(t, s)()
		for range n {
			if _, err := s.Accept(t.Context(), daily(y2k, "09:30:00", 0)); err != nil {
				t.Fatal(err)
			}
		}
		sleep(9*time.Hour + 31*time.Minute)
		if got, twice := h.times(); len(got) != n || twice {
			t.Errorf("%d fired, twice %v; want %d", len(got), twice, n)
		}
		if left, err := h.Unfinished(t.Context(), 1); err != nil || left != 0 {
			t.Errorf("%d are unfinished, %v", left, err)
		}
	})
}

// A crash after the last firing, or a record that is away then, leaves an active schedule with nothing to come.
func TestAScheduleWithNothingToComeEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(push.Settings{push.SettingSchedules: "1"}, "UTC")
		s := h.open()
		stop := run(t, s)
		p, err := s.Accept(t.Context(), daily(y2k, "09:30:00", 0))
		if err != nil {
			t.Fatal(err)
		}
		h.set(func() { h.endFails = &push.Error{Kind: push.Unavailable} })
		sleep(10 * time.Hour)
		stop()
		h.set(func() { h.endFails = nil })
		s = h.open()
		defer run(t, s)()
		sleep(time.Hour)
		// It does not stand in the way of another.
		if _, err := s.Accept(t.Context(), daily(h.now(), "23:30:00", 0)); err != nil {
			t.Errorf("another: %v", err)
		}
		if got, err := s.FindSchedule(t.Context(), 1, p.ID); err != nil || got.State != push.ScheduleFinished {
			t.Errorf("got %+v, %v; want it finished", got, err)
		}
	})
}
