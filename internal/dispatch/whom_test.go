package dispatch_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// Every form of audience reaches exactly its devices, as a direct push where it names few, as a bulk push else.
func TestEveryAudienceReachesItsDevices(t *testing.T) {
	odd := push.And(push.Is(push.WhereTag("odd")), push.Not(push.Is(push.WherePlatform{push.IOS})))
	for _, tt := range []struct {
		name     string
		audience push.Audience
		kind     push.PushKind
		want     []push.Ordinal
		unknown  int
	}{
		{"devices", push.Audience{Devices: []string{"a0", "i9", "x"}}, push.Direct, []push.Ordinal{0, 9}, 1},
		{"an alias and a stranger", push.Audience{Aliases: &push.Aliases{Values: []string{"crowd", "x"}}}, push.Direct, []push.Ordinal{0, 2, 7}, 1},
		{"aliases on one platform", push.Audience{Aliases: &push.Aliases{Values: []string{"crowd"}}, Platforms: []push.Platform{push.Android}}, push.Direct, []push.Ordinal{0, 2}, 1},
		{"an account", push.Audience{Accounts: []string{"u"}}, push.Direct, []push.Ordinal{3}, 0},
		{"an expression", push.Audience{Where: &odd}, push.Bulk, []push.Ordinal{1, 3, 5}, 0},
		{"a file", push.Audience{File: "f", Of: &push.FileOf{Devices: true}}, push.Bulk, []push.Ordinal{1, 8}, 2},
		{"all of a platform", push.Audience{All: true, Platforms: []push.Platform{push.IOS}}, push.Bulk, []push.Ordinal{6, 7, 8, 9}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHouse(t, t.TempDir(), newClock())
			h.people.files["f"] = []string{"a1", "x", "i8", "y", "a1"}
			r := toAll()
			r.Audience, r.App = tt.audience, theApp
			count, err := h.Count(t.Context(), r)
			if want := len(tt.want) + tt.unknown; err != nil || count.Target != want || count.Channels["own"] != len(tt.want) {
				t.Errorf("Count: got %+v, %v, want %d targets, %d of them devices", count, err, want, len(tt.want))
			}
			p := h.accept(r)
			if p.Kind != tt.kind {
				t.Errorf("the push is %s, want %s", p.Kind, tt.kind)
			}
			h.start()
			if got := h.allOwed(p.ID); !slices.Equal(got, tt.want) {
				t.Errorf("owed to %v, want %v", got, tt.want)
			}
			if _, rep := h.report(p.ID); rep.Target != len(tt.want)+tt.unknown || rep.Dropped["unknown"] != tt.unknown {
				t.Errorf("report %+v, want %d of which %d unknown", rep, len(tt.want)+tt.unknown, tt.unknown)
			}
		})
	}
}

// allOwed returns the devices that are owed a push.
func (h *house) allOwed(id push.ID) (all []push.Ordinal) {
	for o := range push.Ordinal(len(names)) {
		if slices.Contains(h.owed(o), id) {
			all = append(all, o)
		}
	}
	return all
}

// Names of more devices than a direct push has are a set, evaluated when the push begins.
func TestManyDevicesOfAnAliasAreABulkPush(t *testing.T) {
	h := newHouse(t, t.TempDir(), newClock())
	h.Audience = crowded{h.people}
	r := toAll()
	r.Audience = push.Audience{Aliases: &push.Aliases{Values: []string{"crowd"}}}
	p := h.accept(r)
	if p.Kind != push.Bulk {
		t.Errorf("the push is %s, want bulk", p.Kind)
	}
	h.people.alias["crowd"] = []string{"a5"}
	h.start()
	if got := h.allOwed(p.ID); !slices.Equal(got, []push.Ordinal{5}) {
		t.Errorf("owed to %v, want those of the alias when it began", got)
	}
}

// crowded are people whose names always stand for too many.
type crowded struct{ *people }

func (crowded) Resolve(context.Context, push.AppID, push.Audience, int) ([]push.Named, int, bool, error) {
	return nil, 0, true, nil
}

// A test push to an expression is for the test devices in it.
func TestTestPushToAnExpression(t *testing.T) {
	h := newHouse(t, t.TempDir(), newClock())
	r := toAll()
	odd := push.Is(push.WhereTag("odd"))
	r.Audience, r.Policy.Test = push.Audience{Where: &odd, Platforms: []push.Platform{push.Android}}, true
	p := h.accept(r)
	h.start()
	if got := h.allOwed(p.ID); !slices.Equal(got, []push.Ordinal{1}) {
		t.Errorf("owed to %v, want the one test device", got)
	}
}

// An audience that cannot be evaluated when the push is due ends it, and the push says why.
func TestAudienceThatIsGoneWhenThePushBegins(t *testing.T) {
	c := newClock()
	h := newHouse(t, t.TempDir(), c)
	h.people.files["f"] = []string{"a1"}
	start := c.now().Add(time.Hour)
	r := toAll()
	r.Audience, r.Policy.StartAt = push.Audience{File: "f", Of: &push.FileOf{Devices: true}}, &start
	p := h.accept(r)
	delete(h.people.files, "f")
	c.pass(2 * time.Hour)
	if err := h.Start(t.Context(), theApp, p.ID); err != nil {
		t.Fatal(err)
	}
	got, rep := h.report(p.ID)
	if got.State != push.Failed || !strings.Contains(got.Reason, "no such file") || rep.Target != 0 {
		t.Errorf("got %s, %q, %+v, want failed for want of the file", got.State, got.Reason, rep)
	}
	if err := h.Start(t.Context(), theApp, p.ID); err != nil {
		t.Errorf("started again: %v", err)
	}
}

// A dry run of a direct push says how many inboxes are full.
func TestCountSaysWhoIsOverTheLimit(t *testing.T) {
	h := newHouse(t, t.TempDir(), newClock())
	h.people.app.Settings = push.Settings{push.SettingInboxLimit: "2"}
	for range 2 {
		h.accept(to("a0", "a1"))
	}
	h.accept(to("a2"))
	r := to("a0", "a1", "a2", "x")
	r.App = theApp
	got, err := h.Count(t.Context(), r)
	want := push.Count{Target: 4, Unknown: 1, OverLimit: 2, Platforms: map[string]int{"android": 3}, Channels: map[string]int{"own": 3}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v, (-want +got):\n%s", err, diff)
	}
}

// A target that was committed although nobody could say so is kept, also when the audience cannot be evaluated again.
func TestTargetThatIsCommittedOutlivesItsAudience(t *testing.T) {
	h := newHouse(t, t.TempDir(), newClock())
	h.gateway.connect(1)
	h.people.files["f"] = []string{"a1"}
	r := toAll()
	r.Audience = push.Audience{File: "f", Of: &push.FileOf{Devices: true}}
	p := h.accept(r)
	h.unsure.happens["Begin"] = true
	if err := h.Start(t.Context(), theApp, p.ID); !errors.Is(err, push.Unavailable) {
		t.Fatalf("Start: %v, want unavailable", err)
	}
	delete(h.people.files, "f")
	if err := h.Start(t.Context(), theApp, p.ID); err != nil {
		t.Fatal(err)
	}
	if got, _ := h.report(p.ID); got.State != push.Done || !slices.Contains(h.owed(1), p.ID) || len(h.gateway.take()) != 1 {
		t.Errorf("the push is %s, and device 1 is owed %v, want it sent", got.State, h.owed(1))
	}
}

// A dry run refuses what the request would be refused for, in test mode too.
func TestCountAgreesWithAccept(t *testing.T) {
	h := newHouse(t, t.TempDir(), newClock())
	r := to("nobody")
	r.App, r.Policy.Test = theApp, true
	_, errCount := h.Count(t.Context(), r)
	_, errAccept := h.Accept(t.Context(), r)
	if !errors.Is(errCount, push.NotFound) || !errors.Is(errAccept, push.NotFound) {
		t.Errorf("Count: %v, Accept: %v, want not found", errCount, errAccept)
	}
}

// While an audience is evaluated, which a long file makes slow, the push can be cancelled, and nobody else evaluates it.
func TestCancelWhileTheAudienceIsEvaluated(t *testing.T) {
	h := newHouse(t, t.TempDir(), newClock())
	slow := &slowly{people: h.people, asked: make(chan struct{}), answer: make(chan struct{})}
	p := h.accept(toAll())
	h.Audience = slow
	started := make(chan error, 1)
	go func() { started <- h.Start(t.Context(), theApp, p.ID) }()
	<-slow.asked
	if err := h.Start(t.Context(), theApp, p.ID); err != nil { // it would wait for answer if it asked
		t.Errorf("a second run: %v", err)
	}
	if _, err := h.Cancel(t.Context(), theApp, p.ID); err != nil {
		t.Errorf("Cancel: %v", err)
	}
	close(slow.answer)
	if err := <-started; err != nil {
		t.Errorf("Start: %v", err)
	}
	if got, _ := h.report(p.ID); got.State != push.Cancelled || len(h.allOwed(p.ID)) != 0 {
		t.Errorf("the push is %s and owed to %v, want it cancelled", got.State, h.allOwed(p.ID))
	}
}

// slowly answers when the test says so.
type slowly struct {
	*people
	asked, answer chan struct{}
}

func (s *slowly) Target(ctx context.Context, app push.AppID, a push.Audience) (*ordset.Set, int, error) {
	close(s.asked) // a second time would panic
	<-s.answer
	return s.people.Target(ctx, app, a)
}
