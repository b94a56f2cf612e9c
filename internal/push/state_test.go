package push_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/carillonpush/carillon/internal/push"
)

func states() []push.State {
	return []push.State{
		push.Open, push.Scheduled, push.Accepted, push.Sending, push.Paused, push.Done, push.Cancelled, push.Recalled,
		push.Expired, push.Failed,
	}
}

func actions() []push.Action {
	return []push.Action{
		push.ActBegin, push.ActClose, push.ActPass, push.ActPause, push.ActResume, push.ActCancel, push.ActRecall,
		push.ActExpire, push.ActFail,
	}
}

// lines returns those of a file in testdata that say something.
func lines(t *testing.T, name string) []string {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for line := range strings.SplitSeq(string(b), "\n") {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			all = append(all, line)
		}
	}
	return all
}

// testdata/states.txt lists every action in every state, once.
func TestEveryActionInEveryState(t *testing.T) {
	type pair struct {
		s push.State
		a push.Action
	}
	want := map[pair]push.State{}
	for _, line := range lines(t, "states.txt") {
		f := strings.Fields(line)
		if len(f) != 3 {
			t.Fatalf("%q is not a state, an action and a result", line)
		}
		p := pair{push.State(f[0]), push.Action(f[1])}
		if _, twice := want[p]; twice {
			t.Errorf("%s in %s is listed twice", p.a, p.s)
		}
		want[p] = push.State(f[2])
	}
	may := map[push.State]map[push.State]bool{}
	for _, s := range states() {
		may[s] = map[push.State]bool{}
		for _, a := range actions() {
			p := pair{s, a}
			listed, ok := want[p]
			if !ok {
				t.Errorf("%s in %s is not listed", a, s)
			}
			delete(want, p)
			got, can := s.On(a)
			if !can && got == "" {
				got = "-"
			}
			if got != listed {
				t.Errorf("%s in %s: got %s, want %s", a, s, got, listed)
			}
			if can && got != s {
				may[s][got] = true
			}
		}
	}
	for p := range want {
		t.Errorf("%s in %s is listed, and is no action in a state", p.a, p.s)
	}
	for _, from := range states() {
		for _, to := range states() {
			if got := from.May(to); got != may[from][to] {
				t.Errorf("from %s to %s: got %v, want %v", from, to, got, may[from][to])
			}
		}
	}
}

func TestLivesOfPushes(t *testing.T) {
	for _, line := range lines(t, "lives.txt") {
		name, life, ok := strings.Cut(line, ": ")
		steps := strings.Fields(life)
		if !ok || len(steps)%2 == 0 {
			t.Fatalf("%q is not a name and a life", line)
		}
		t.Run(name, func(t *testing.T) {
			s := push.State(steps[0])
			for i := 1; i < len(steps); i += 2 {
				action, refused := strings.CutPrefix(steps[i], "!")
				to, can := s.On(push.Action(action))
				if can == refused {
					t.Fatalf("%s in %s: got that it may %v", action, s, can)
				}
				if can {
					s = to
				}
				if want := push.State(steps[i+1]); s != want {
					t.Fatalf("after %s: got %s, want %s", action, s, want)
				}
			}
		})
	}
}

func TestWhatStatesAre(t *testing.T) {
	var final, waits []push.State
	for _, s := range append(states(), "", "no such state") {
		if s.Final() {
			final = append(final, s)
		}
		if s.Waits() {
			waits = append(waits, s)
		}
		if _, can := s.On(push.ActBegin); can != s.Waits() {
			t.Errorf("%s waits %v, and may begin %v", s, s.Waits(), can)
		}
		for _, to := range states() {
			if s.Final() && s.May(to) {
				t.Errorf("%s ends a push, and leads to %s", s, to)
			}
		}
	}
	if diff := cmp.Diff([]push.State{push.Cancelled, push.Recalled, push.Expired, push.Failed}, final); diff != "" {
		t.Errorf("final (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]push.State{push.Scheduled, push.Accepted}, waits); diff != "" {
		t.Errorf("waits (-want +got):\n%s", diff)
	}
}
