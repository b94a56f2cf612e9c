package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// scheduleOf returns a recurring schedule of app with n occurrences that wait, a day after one another from tomorrow on.
func scheduleOf(app push.AppID, n int) (push.Schedule, []push.Occurrence) {
	s := push.Schedule{ID: nextID(noon), App: app, Every: "day", State: push.ScheduleActive, Created: noon, Left: n}
	s.Request.App = app
	s.Request.Audience.All = true
	s.Request.Message.Data = []byte(`"good morning"`)
	s.Request.Policy.TTL = push.Duration(time.Hour)
	s.Request.Policy.Recurring = &push.Recurring{Every: "day", At: "08:00:00", From: noon, Until: noon.Add(time.Duration(n) * 24 * time.Hour)}
	s.Request.Origin = "rest"
	all := make([]push.Occurrence, n)
	for i := range all {
		all[i] = push.Occurrence{
			ID: nextID(noon), Schedule: s.ID, App: app,
			At: noon.Add(time.Duration(i+1) * 24 * time.Hour), State: push.OccurrenceWaiting,
		}
	}
	if n > 0 {
		s.Next = all[0].At
	}
	return s, all
}

// addSchedule stores a schedule and returns it as a push.
func addSchedule(t *testing.T, p *Ports, s push.Schedule, all []push.Occurrence) push.Push {
	t.Helper()
	got, repeated, err := p.Schedules.AddSchedule(t.Context(), s, all)
	if err != nil || repeated || got.ID != s.ID {
		t.Fatalf("add schedule %d: got %d, repeated %v, %v", s.ID, got.ID, repeated, err)
	}
	return got
}

func findSchedule(t *testing.T, p *Ports, id push.ID) push.Schedule {
	t.Helper()
	got, err := p.Schedules.FindSchedule(t.Context(), 1, id)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func occurrencesOf(t *testing.T, p *Ports, id push.ID) []push.Occurrence {
	t.Helper()
	all, err := p.Occurrences.OccurrencesOf(t.Context(), 1, id)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// shown returns what Find says of an id: a schedule, or an occurrence, as a push.
func shown(t *testing.T, p *Ports, id push.ID) push.Push {
	t.Helper()
	got, err := p.Record.Find(t.Context(), 1, id)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func testSchedule(t *testing.T, p *Ports) {
	ctx := t.Context()
	s, all := scheduleOf(1, 3)
	first := addSchedule(t, p, s, all)
	want := push.Push{
		ID: s.ID, App: 1, Kind: push.Bulk, State: push.Scheduled, Created: noon,
		Start: all[0].At, Expires: all[2].At.Add(time.Hour), Request: s.Request,
	}
	same(t, "the schedule as a push", first, want)
	p = p.Reopen(t)
	same(t, "the schedule", findSchedule(t, p, s.ID), s)
	same(t, "its occurrences", occurrencesOf(t, p, s.ID), all)
	same(t, "found as a push", shown(t, p, s.ID), want)

	want.ID, want.Schedule, want.Start, want.Expires = all[1].ID, s.ID, all[1].At, all[1].At.Add(time.Hour)
	want.Request.Policy.Recurring = nil
	same(t, "an occurrence as a push", shown(t, p, all[1].ID), want)

	_, err := p.Schedules.FindSchedule(ctx, 2, s.ID)
	fails(t, "the schedule in another app", err, push.NotFound, "")
	_, err = p.Record.Find(ctx, 2, s.ID)
	fails(t, "as a push in another app", err, push.NotFound, "")
	_, err = p.Record.Find(ctx, 2, all[0].ID)
	fails(t, "an occurrence in another app", err, push.NotFound, "")
	others, err := p.Occurrences.OccurrencesOf(ctx, 2, s.ID)
	if err != nil || len(others) != 0 {
		t.Errorf("occurrences in another app: got %d, %v, want none", len(others), err)
	}

	nobodys, some := scheduleOf(99, 1)
	_, _, err = p.Schedules.AddSchedule(ctx, nobodys, some)
	fails(t, "a schedule of no app", err, push.NotFound, "app")
	foreign, some := scheduleOf(1, 1)
	some[0].Schedule = s.ID
	_, _, err = p.Schedules.AddSchedule(ctx, foreign, some)
	fails(t, "an occurrence of another schedule", err, push.Invalid, "occurrence")
	twice, some := scheduleOf(1, 1)
	twice.ID, some[0].Schedule = s.ID, s.ID
	_, _, err = p.Schedules.AddSchedule(ctx, twice, some)
	fails(t, "an id that is used", err, push.Conflict, "")
	same(t, "the first one's occurrences", occurrencesOf(t, p, s.ID), all)
}

func testScheduleKey(t *testing.T, p *Ports) {
	ctx := t.Context()
	keyed := func(strict bool, data string) (push.Schedule, []push.Occurrence) {
		s, all := scheduleOf(1, 2)
		s.Request.Message.Data = []byte(data)
		s.Request.Key = push.Key{Namespace: "rest", Value: "k", Strict: strict, Keep: time.Hour}
		return s, all
	}
	s, all := keyed(true, `1`)
	want := addSchedule(t, p, s, all)
	want.Request.Key = push.Key{} // it is kept beside the request
	again, more := keyed(true, `1`)
	got, repeated, err := p.Schedules.AddSchedule(ctx, again, more)
	if err != nil || !repeated {
		t.Fatalf("a repeat: repeated %v, %v", repeated, err)
	}
	same(t, "a repeat", got, want)
	same(t, "what a repeat stores", occurrencesOf(t, p, again.ID), nil)
	other, more := keyed(true, `2`)
	_, _, err = p.Schedules.AddSchedule(ctx, other, more)
	fails(t, "another request under a strict key", err, push.Conflict, "key")

	// Keys are one: a push that repeats a schedule's key is the schedule, and the other way round.
	a := bulk(1, push.Accepted, time.Hour)
	a.Push.Request.Key = push.Key{Namespace: "rest", Value: "k"}
	got, repeated, err = p.Record.Accept(ctx, a)
	if err != nil || !repeated {
		t.Fatalf("a push under the schedule's key: repeated %v, %v", repeated, err)
	}
	same(t, "a push under the schedule's key", got, want)
	b := bulk(1, push.Accepted, time.Hour)
	b.Push.Request.Key = push.Key{Namespace: "rest", Value: "other"}
	accept(t, p, b)
	under, more := keyed(false, `1`)
	under.Request.Key.Value = "other"
	got, repeated, err = p.Schedules.AddSchedule(ctx, under, more)
	if err != nil || !repeated || got.ID != b.Push.ID {
		t.Errorf("a schedule under a push's key: got %d, repeated %v, %v, want %d", got.ID, repeated, err, b.Push.ID)
	}
	found, fingerprint, err := p.Record.FindKey(ctx, 1, s.Request.Key)
	if err != nil || found.ID != s.ID || fingerprint != s.Request.Fingerprint() {
		t.Errorf("find the key: got %d, %v, want %d and its fingerprint", found.ID, err, s.ID)
	}
}

func testSchedules(t *testing.T, p *Ports) {
	ctx := t.Context()
	var want []push.ID
	for i := range 7 {
		if i%2 == 0 {
			s, all := scheduleOf(1, 2)
			addSchedule(t, p, s, all)
			want = append([]push.ID{s.ID}, want...)
			continue
		}
		a := bulk(1, push.Scheduled, 48*time.Hour)
		a.Push.Start = noon.Add(time.Hour)
		accept(t, p, a, bulk(1, push.Accepted, time.Hour)) // the second does not wait for its start
		want = append([]push.ID{a.Push.ID}, want...)
		once := findSchedule(t, p, a.Push.ID)
		same(t, "a push that waits", once, push.Schedule{
			ID: a.Push.ID, App: 1, Every: "once", State: push.ScheduleActive, Created: noon,
			Next: a.Push.Start, Left: 1, Request: a.Push.Request,
		})
	}
	other, all := scheduleOf(2, 1)
	addSchedule(t, p, other, all)
	for _, limit := range []int{1, 3, 7, 100} {
		var got []push.ID
		for before, pages := push.ID(0), 0; ; pages++ {
			page, next, err := p.Schedules.Schedules(ctx, 1, before, limit)
			if err != nil || pages > len(want) || len(page) > limit {
				t.Fatalf("page %d: got %d, %v", pages, len(page), err)
			}
			for _, s := range page {
				got = append(got, s.ID)
			}
			if before = next; next == 0 {
				break
			}
		}
		same(t, "all pages", got, want)
	}
	n, err := p.Schedules.Unfinished(ctx, 1)
	if err != nil || n != 7 {
		t.Errorf("unfinished: got %d, %v, want 7", n, err)
	}
	if _, err := p.Schedules.EndSchedule(ctx, 1, want[0], push.ScheduleFinished); err != nil {
		t.Fatal(err)
	}
	if n, err = p.Schedules.Unfinished(ctx, 1); err != nil || n != 6 {
		t.Errorf("unfinished when one has ended: got %d, %v, want 6", n, err)
	}
	same(t, "one that has ended", findSchedule(t, p, want[0]).State, push.ScheduleFinished)
}

func testReplaceSchedule(t *testing.T, p *Ports) {
	ctx := t.Context()
	s, all := scheduleOf(1, 4)
	addSchedule(t, p, s, all)
	other, others := scheduleOf(1, 1)
	addSchedule(t, p, other, others)
	if err := p.Occurrences.EndOccurrence(ctx, 1, all[0].ID, push.OccurrenceCancelled); err != nil {
		t.Fatal(err)
	}
	all[0].State = push.OccurrenceCancelled
	changed := s
	changed.Request.Message.Data = []byte(`"good evening"`)
	add := []push.Occurrence{{ID: nextID(noon), Schedule: s.ID, App: 1, At: noon.Add(30 * time.Hour), State: push.OccurrenceWaiting}}
	for _, tt := range []struct {
		name   string
		id     push.ID
		remove []push.ID
		kind   push.Kind
		field  string
	}{
		{"one that was cancelled is removed", s.ID, []push.ID{all[1].ID, all[0].ID}, push.Conflict, "occurrence"},
		{"one of another schedule is removed", s.ID, []push.ID{others[0].ID}, push.Conflict, "occurrence"},
		{"one that is none is removed", s.ID, []push.ID{99}, push.Conflict, "occurrence"},
		{"of no schedule", 99, nil, push.NotFound, ""},
	} {
		r, more := changed, append([]push.Occurrence(nil), add...)
		r.ID, more[0].Schedule = tt.id, tt.id
		fails(t, tt.name, p.Occurrences.ReplaceSchedule(ctx, r, more, tt.remove), tt.kind, tt.field)
		same(t, "occurrences when "+tt.name, occurrencesOf(t, p, s.ID), all)
	}
	same(t, "the other's occurrences", occurrencesOf(t, p, other.ID), others)
	if err := p.Occurrences.ReplaceSchedule(ctx, changed, add, []push.ID{all[1].ID, all[3].ID, all[1].ID}); err != nil {
		t.Fatal(err)
	}
	p = p.Reopen(t)
	same(t, "occurrences", occurrencesOf(t, p, s.ID), []push.Occurrence{all[0], add[0], all[2]})
	changed.Next, changed.Left = add[0].At, 2
	same(t, "the schedule", findSchedule(t, p, s.ID), changed)
	if _, err := p.Schedules.EndSchedule(ctx, 1, s.ID, push.ScheduleCancelled); err != nil {
		t.Fatal(err)
	}
	fails(t, "one that has ended", p.Occurrences.ReplaceSchedule(ctx, changed, nil, nil), push.Conflict, "state")
}

func testEndSchedule(t *testing.T, p *Ports) {
	ctx := t.Context()
	end := func(id push.ID, to push.ScheduleState, want int) {
		t.Helper()
		if n, err := p.Schedules.EndSchedule(ctx, 1, id, to); err != nil || n != want {
			t.Errorf("%s: got %d occurrences, %v, want %d", to, n, err, want)
		}
	}
	s, all := scheduleOf(1, 3)
	addSchedule(t, p, s, all)
	if err := p.Occurrences.EndOccurrence(ctx, 1, all[0].ID, push.OccurrenceMissed); err != nil {
		t.Fatal(err)
	}
	_, err := p.Schedules.EndSchedule(ctx, 2, s.ID, push.ScheduleCancelled)
	fails(t, "in another app", err, push.NotFound, "")
	_, err = p.Schedules.EndSchedule(ctx, 1, s.ID, push.ScheduleActive)
	fails(t, "to a state that is no end", err, push.Invalid, "state")
	end(s.ID, push.ScheduleCancelled, 2)
	_, err = p.Schedules.EndSchedule(ctx, 1, s.ID, push.ScheduleFinished)
	fails(t, "again", err, push.Conflict, "state")
	all[0].State, all[1].State, all[2].State = push.OccurrenceMissed, push.OccurrenceCancelled, push.OccurrenceCancelled
	p = p.Reopen(t)
	same(t, "occurrences of a cancelled one", occurrencesOf(t, p, s.ID), all)
	s.State, s.Next, s.Left = push.ScheduleCancelled, time.Time{}, 0
	same(t, "a cancelled one", findSchedule(t, p, s.ID), s)
	same(t, "as a push", shown(t, p, s.ID).State, push.Cancelled)

	done, all := scheduleOf(1, 1)
	addSchedule(t, p, done, all)
	end(done.ID, push.ScheduleFinished, 0)
	same(t, "occurrences of a finished one", occurrencesOf(t, p, done.ID), all)
	same(t, "a finished one as a push", shown(t, p, done.ID).State, push.Done)
}

func testOccurrences(t *testing.T, p *Ports) {
	ctx := t.Context()
	s, all := scheduleOf(1, 4)
	addSchedule(t, p, s, all)
	for i, tt := range []struct {
		to     push.OccurrenceState
		want   push.State
		reason bool
	}{
		{push.OccurrenceMissed, push.Expired, true},
		{push.OccurrenceFailed, push.Failed, true},
		{push.OccurrenceCancelled, push.Cancelled, false},
	} {
		if err := p.Occurrences.EndOccurrence(ctx, 1, all[i].ID, tt.to); err != nil {
			t.Fatal(err)
		}
		all[i].State = tt.to
		got := shown(t, p, all[i].ID)
		if got.State != tt.want || (got.Reason != "") != tt.reason || got.Schedule != s.ID {
			t.Errorf("%s as a push: got %s, %q, want %s", tt.to, got.State, got.Reason, tt.want)
		}
		fails(t, "end it again", p.Occurrences.EndOccurrence(ctx, 1, all[i].ID, push.OccurrenceMissed), push.Conflict, "occurrence")
	}
	fails(t, "in another app", p.Occurrences.EndOccurrence(ctx, 2, all[3].ID, push.OccurrenceMissed), push.NotFound, "")
	fails(t, "one that is none", p.Occurrences.EndOccurrence(ctx, 1, 99, push.OccurrenceMissed), push.NotFound, "")
	fails(t, "fired without a push", p.Occurrences.EndOccurrence(ctx, 1, all[3].ID, push.OccurrenceFired), push.Invalid, "state")

	// It fires: the push has its id, and is what is found under it.
	a := bulk(1, push.Accepted, time.Hour)
	a.Push.ID, a.Push.Schedule, a.Fires = all[3].ID, s.ID, &all[3]
	accept(t, p, a)
	all[3].State = push.OccurrenceFired
	same(t, "occurrences", occurrencesOf(t, p, s.ID), all)
	same(t, "the push of one that has fired", shown(t, p, all[3].ID).State, push.Accepted)
	again := bulk(1, push.Accepted, time.Hour)
	again.Push.Schedule, again.Fires = s.ID, &all[3]
	_, _, err := p.Record.Accept(ctx, again)
	fails(t, "fire it again", err, push.Conflict, "occurrence")
	fails(t, "cancel it", p.Occurrences.EndOccurrence(ctx, 1, all[3].ID, push.OccurrenceCancelled), push.Conflict, "occurrence")
}

// nextOccurrences returns the ids of what NextOccurrences yields.
func nextOccurrences(t *testing.T, p *Ports) []push.ID {
	t.Helper()
	var all []push.ID
	if err := p.Occurrences.NextOccurrences(t.Context(), func(o push.Occurrence) error {
		all = append(all, o.ID)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

func testNextOccurrences(t *testing.T, p *Ports) {
	ctx := t.Context()
	same(t, "of nothing", nextOccurrences(t, p), nil)
	var want []push.ID
	for range 300 { // more than one page
		s, all := scheduleOf(2, 2)
		addSchedule(t, p, s, all)
		want = append(want, all[0].ID)
	}
	same(t, "the first of each", nextOccurrences(t, p), want)

	s, all := scheduleOf(1, 3)
	all[0].At, all[2].At = all[2].At, all[0].At // ids are not in the order of times
	addSchedule(t, p, s, all)
	same(t, "the earliest", nextOccurrences(t, p), append(want, all[2].ID))
	if err := p.Occurrences.EndOccurrence(ctx, 1, all[2].ID, push.OccurrenceMissed); err != nil {
		t.Fatal(err)
	}
	p = p.Reopen(t)
	same(t, "the next", nextOccurrences(t, p), append(want, all[1].ID))
	if _, err := p.Schedules.EndSchedule(ctx, 1, s.ID, push.ScheduleFinished); err != nil {
		t.Fatal(err)
	}
	same(t, "when one has ended", nextOccurrences(t, p), want)
	stop := errors.New("stop")
	if err := p.Occurrences.NextOccurrences(ctx, func(push.Occurrence) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("an error of yield: got %v, want it back", err)
	}
}

func testScheduleOver(t *testing.T, p *Ports) {
	ctx := t.Context()
	const keep = 30 * 24 * time.Hour
	over, overs := scheduleOf(1, 2)
	active, actives := scheduleOf(1, 2)
	addSchedule(t, p, over, overs)
	addSchedule(t, p, active, actives)
	if _, err := p.Schedules.EndSchedule(ctx, 1, over.ID, push.ScheduleCancelled); err != nil {
		t.Fatal(err)
	}
	ended := time.Now() // by the record's clock
	sweep(t, p, ended.Add(keep-time.Minute))
	same(t, "before its time", len(occurrencesOf(t, p, over.ID)), 2)
	sweep(t, p, ended.Add(keep))
	_, err := p.Schedules.FindSchedule(ctx, 1, over.ID)
	fails(t, "one that ended long ago", err, push.NotFound, "")
	same(t, "its occurrences", occurrencesOf(t, p, over.ID), nil)
	same(t, "an active one", len(occurrencesOf(t, p, active.ID)), 2)
}
