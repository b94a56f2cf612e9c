package server_test

import (
	"fmt"
	"maps"
	"reflect"
	"time"
)

// counts are what reports and totals count.
type counts struct {
	Target, Sent, Delivered, Unconfirmed, Displayed, Opened, Clicked, Dismissed, Pending int

	Dropped map[string]int
}

func (c *counts) add(d counts) {
	c.Target += d.Target
	c.Sent += d.Sent
	c.Delivered += d.Delivered
	c.Unconfirmed += d.Unconfirmed
	c.Displayed += d.Displayed
	c.Opened += d.Opened
	c.Clicked += d.Clicked
	c.Dismissed += d.Dismissed
	c.Pending += d.Pending
	if c.Dropped == nil {
		c.Dropped = map[string]int{}
	}
	for reason, n := range d.Dropped {
		c.Dropped[reason] += n
	}
}

// A lifeReport is the report of one push.
type lifeReport struct {
	State string
	counts
	Recall *struct {
		Stopped, Recalled, Confirmed int

		TooLate int `json:"too_late"`
	}
}

func (r *lifeReport) String() string {
	s := fmt.Sprintf("%s %+v", r.State, r.counts)
	if r.Recall != nil {
		s += fmt.Sprintf(" recall %+v", *r.Recall)
	}
	return s
}

// lifeTotals are sums of reports.
type lifeTotals struct {
	Name   string
	Pushes int
	counts
}

// reports returns the reports of all tales, by push.
func (l *life) reports() map[string]*lifeReport {
	all := map[string]*lifeReport{}
	for _, x := range l.tales {
		r := new(lifeReport)
		if err := l.ask("GET", x.path(), nil, nil, r); err != nil {
			l.wrong("push %s: %v", x.id, err)
		}
		all[x.id] = r
	}
	return all
}

// checkReports holds each report against what devices saw. Receipts are under way for some time.
func (l *life) checkReports() {
	faults := map[*tale]string{}
	for deadline := time.Now().Add(30 * time.Second); ; pause(l.t, 100*time.Millisecond) {
		all := l.reports()
		clear(faults)
		for _, x := range l.tales {
			if f := l.fault(x, all[x.id]); f != "" {
				faults[x] = fmt.Sprintf("%s; report %s", f, all[x.id])
			}
		}
		if len(faults) == 0 || time.Now().After(deadline) {
			break
		}
	}
	for x, f := range faults {
		l.wrong("%s push %s (%s, %s): %s", x.kind, x.id, x.key, x.ending, f)
	}
}

// fault returns what is wrong with the report of x, "" for nothing.
func (l *life) fault(x *tale, r *lifeReport) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	dropped := 0
	for _, n := range r.Dropped {
		dropped += n
	}
	sure, all := l.receivers(x)
	unbegun := r.Target == 0 && !x.ended.IsZero() // it was ended before it began
	switch {
	case r.Target != r.Delivered+r.Pending+dropped:
		return "does not add up"
	case r.Target != len(x.to) && !unbegun:
		return fmt.Sprintf("it is for %d devices", len(x.to))
	case r.Pending > 0:
		return "nothing should be pending any more"
	case r.Delivered < sure || r.Delivered > all:
		return fmt.Sprintf("%d devices got it, %d of them for sure", all, sure)
	case x.schedule != "" && x.ending == "" && l.firings(x) != 1:
		return fmt.Sprintf("%d occurrences of schedule %s fired, want 1", l.firings(x), x.schedule)
	case r.Opened != len(x.opened):
		return fmt.Sprintf("%d devices opened it", len(x.opened))
	}
	switch x.ending {
	case "":
		if r.State != "done" && r.State != "accepted" || r.Delivered != r.Target {
			return "it should be done, and delivered to everybody"
		}
	case "cancelled":
		if r.State != "cancelled" || r.Dropped["cancelled"] != dropped {
			return "it should be cancelled, and dropped for nothing else"
		}
	default:
		return l.recallFault(x, r, dropped)
	}
	return ""
}

// firings returns how many occurrences of x's schedule fired. mu is held.
func (l *life) firings(x *tale) int {
	l.mu.Unlock()
	defer l.mu.Lock()
	n := 0
	for _, o := range l.occurrences(x.schedule) {
		if o.State == "fired" {
			n++
		}
	}
	return n
}

// recallFault returns what is wrong with the report of a push that was recalled. mu is held.
func (l *life) recallFault(x *tale, r *lifeReport, dropped int) string {
	switch {
	case r.Dropped["recalled"] != dropped:
		return "it should be dropped for nothing else"
	case x.ending == "recalled" && r.State != "recalled", x.ending == "named" && r.State != "done" && r.State != "accepted":
		return "its state is wrong"
	case r.Target == 0:
		return ""
	case r.Recall == nil:
		return "it should say what became of the recall"
	}
	of := map[int]bool{}
	for i := range x.to {
		if _, named := x.from[i]; named || x.ending == "recalled" {
			of[i] = true
		}
	}
	told := r.Recall.Recalled + r.Recall.TooLate
	var never, sure, late, confirms, confirmed int
	for i := range of {
		if i%groups == away {
			never++ // it was not connected yet
		}
		if l.surely(x, i) {
			sure++
		}
		if at := l.taken[i][x.id]; len(at) > 0 {
			confirms++
			if l.calm(at[len(at)-1]) {
				confirmed++
			}
		}
	}
	for _, i := range x.opened {
		if of[i] && l.surely(x, i) {
			late++
		}
	}
	switch {
	case r.Recall.Stopped+told != len(of):
		return fmt.Sprintf("stopped, recalled and too late should be %d", len(of))
	case r.Recall.Stopped < never || told < sure:
		return fmt.Sprintf("%d devices had surely not got it, and %d had", never, sure)
	case r.Recall.TooLate < late || r.Recall.TooLate > len(x.opened):
		return fmt.Sprintf("%d devices had opened it, %d of them for sure", len(x.opened), late)
	case r.Recall.Confirmed < confirmed || r.Recall.Confirmed > confirms:
		return fmt.Sprintf("%d devices confirmed the recall, %d of them for sure", confirms, confirmed)
	case r.Recall.Confirmed > told:
		return "more have confirmed the recall than are told"
	}
	return ""
}

// checkTotals holds totals against the sums of reports.
func (l *life) checkTotals() {
	var fault string
	for deadline := time.Now().Add(20 * time.Second); ; pause(l.t, 100*time.Millisecond) {
		if fault = l.totalsFault(); fault == "" {
			return
		}
		if time.Now().After(deadline) {
			l.wrong("totals: %s", fault)
			return
		}
	}
}

// totalsFault returns what is wrong with the totals by app, group and way out, "" for nothing.
func (l *life) totalsFault() string {
	want := map[string]*lifeTotals{"": {}}
	for id, r := range l.reports() {
		if r.Target == 0 { // it was ended before it began, and counts nowhere
			continue
		}
		group := ""
		for _, x := range l.tales {
			if x.id == id {
				group = x.kind
			}
		}
		if want[group] == nil {
			want[group] = &lifeTotals{Name: group}
		}
		for _, name := range []string{"", group} {
			want[name].Pushes++
			want[name].add(r.counts)
		}
	}
	var app, groups, ways struct{ Items []lifeTotals }
	for path, into := range map[string]any{
		"reports/pushes?by=app": &app, "groups?limit=1000": &groups, "reports/pushes?by=channel": &ways,
	} {
		if err := l.ask("GET", "/v1/apps/life/"+path, nil, nil, into); err != nil {
			return err.Error()
		}
	}
	got := map[string]*lifeTotals{}
	for _, of := range [][]lifeTotals{app.Items, groups.Items} {
		for i := range of {
			got[of[i].Name] = &of[i]
		}
	}
	for name := range maps.Keys(want) {
		if got[name] == nil || !reflect.DeepEqual(*got[name], *want[name]) {
			return fmt.Sprintf("of group %q: got %+v, want the sums of the reports, %+v", name, got[name], want[name])
		}
	}
	if len(got) != len(want) {
		return fmt.Sprintf("got %d groups, want %d", len(got), len(want))
	}
	if n := len(ways.Items); n != 1 || ways.Items[0].Sent != want[""].Sent || ways.Items[0].Delivered != want[""].Delivered {
		return fmt.Sprintf("ways out: got %+v, want all that was sent and delivered, %+v", ways.Items, want[""])
	}
	return ""
}
