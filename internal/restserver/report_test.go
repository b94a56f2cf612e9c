package restserver_test

import (
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/restserver"
)

// withTotals returns a site with some pushes counted: two of group "a/b" on one day, one on the next, and others.
func withTotals(t *testing.T, first push.Day) *site {
	t.Helper()
	s := newSite(t, restserver.Options{})
	of := func(app push.AppID, by push.Dimension, name string, day push.Day, target, delivered int) {
		r := push.Report{Target: target, Delivered: delivered, Dropped: map[string]int{"unknown": 1}, Channels: map[string]push.ChannelCount{"own": {Sent: target, Delivered: delivered}}}
		s.totals = append(s.totals, total{app, by, name, day, r})
	}
	of(1, push.ByGroup, "a/b", first, 10, 5)
	of(1, push.ByGroup, "a/b", first, 4, 3)
	of(1, push.ByGroup, "a/b", first+1, 2, 0)
	of(1, push.ByGroup, "c", first, 1, 0)
	of(1, push.ByTopic, "news", first, 7, 7)
	of(1, push.ByApp, "", first, 15, 8)
	of(1, push.ByApp, "", first+1, 2, 0)
	of(1, push.ByOrigin, "rest", first, 15, 8)
	of(2, push.ByGroup, "of another app", first, 1, 0)
	return s
}

func TestGroups(t *testing.T) {
	s := withTotals(t, 20_000)
	r := s.call(t, key1, "GET", "/v1/apps/1/groups/a%2Fb", "")
	const rest = `"unconfirmed":0,"displayed":0,"opened":0,"clicked":0,"dismissed":0,`
	want := `{"name":"a/b","pushes":3,"target":16,"sent":0,"delivered":8,` + rest + `"pending":5,"dropped":{"unknown":3},"channels":{"own":{"sent":6,"delivered":3}},"days":[` +
		`{"name":"a/b","day":"2024-10-04","pushes":2,"target":14,"sent":0,"delivered":8,` + rest + `"pending":4,"dropped":{"unknown":2},"channels":{"own":{"sent":4,"delivered":3}}},` +
		`{"name":"a/b","day":"2024-10-05","pushes":1,"target":2,"sent":0,"delivered":0,` + rest + `"pending":1,"dropped":{"unknown":1},"channels":{"own":{"sent":2,"delivered":0}}}]}`
	if got := strings.TrimSpace(string(r.body)); r.status != 200 || got != want {
		t.Errorf("status %d, got\n%s, want\n%s", r.status, got, want)
	}
	s.totals[3].n.Channels, s.totals[3].n.Dropped = nil, nil
	if r := s.call(t, key1, "GET", "/v1/apps/1/groups/c", ""); !strings.Contains(string(r.body), `"dropped":{},"channels":{},"days":[{`) ||
		!strings.HasSuffix(strings.TrimSpace(string(r.body)), `"dropped":{},"channels":{}}]}`) {
		t.Errorf("got %s, want objects where there is nothing", r.body)
	}
	wantProblem(t, s.call(t, key1, "GET", "/v1/apps/1/groups/news", ""), 404, "not_found", "name")
	wantProblem(t, s.call(t, key1, "GET", "/v1/apps/1/topics/c", ""), 404, "not_found", "name")

	names := func(path string) string {
		var all []string
		for query := "?limit=1"; query != ""; {
			page := into[restserver.List[push.Totals]](t, s.call(t, key1, "GET", path+query, ""), 200)
			for _, one := range page.Items {
				all = append(all, one.Name)
				if one.Day != "" || one.Pushes == 0 {
					t.Errorf("totals %+v, want those of all days", one)
				}
			}
			if query = ""; page.Next != "" {
				query = "?limit=1&cursor=" + url.QueryEscape(page.Next)
			}
		}
		return strings.Join(all, " ")
	}
	if got := names("/v1/apps/1/groups"); got != "a/b c" {
		t.Errorf("groups %q, want a/b c", got)
	}
	if got := names("/v1/apps/1/topics"); got != "news" {
		t.Errorf("topics %q, want news", got)
	}
}

// TestReports runs at a known time: an evening in UTC, when it is the next day in the app's time zone.
func TestReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(20 * time.Hour) // ok: in a bubble, where it is 2000-01-01 20:00 UTC then
		today := push.DayIn(time.Date(2000, 1, 2, 0, 0, 0, 0, time.UTC), time.UTC)
		s := withTotals(t, today-1)
		const path = "/v1/apps/1/reports/pushes"
		for _, tt := range []struct {
			query, want string // names and days of the answer, with their pushes
			from, to    string
		}{
			{"", "//2", "1999-12-04", "2000-01-02"},
			{"?by=app&daily=true", "/2000-01-01/1 /2000-01-02/1", "1999-12-04", "2000-01-02"},
			{"?by=group", "a/b//3 c//1", "1999-12-04", "2000-01-02"},
			{"?by=group&name=c", "c//1", "1999-12-04", "2000-01-02"},
			{"?by=group&name=", "", "1999-12-04", "2000-01-02"},
			{"?by=topic&name=news&daily=1", "news/2000-01-01/1", "1999-12-04", "2000-01-02"},
			{"?by=origin", "rest//1", "1999-12-04", "2000-01-02"},
			{"?by=channel&daily=false", "", "1999-12-04", "2000-01-02"},
			{"?by=group&from=2000-01-02", "a/b//1", "2000-01-02", "2000-01-02"},
			{"?by=group&to=2000-01-01", "a/b//2 c//1", "1999-12-03", "2000-01-01"},
			{"?from=1999-01-02&to=2000-01-02", "//2", "1999-01-02", "2000-01-02"},
			{"?from=2030-01-01&to=2030-01-01", "", "2030-01-01", "2030-01-01"},
		} {
			page := into[restserver.List[push.Totals]](t, s.call(t, key1, "GET", path+tt.query, ""), 200)
			var got []string
			for _, one := range page.Items {
				got = append(got, one.Name+"/"+one.Day+"/"+string(rune('0'+one.Pushes)))
			}
			if all := strings.Join(got, " "); all != tt.want || s.lastDays[0].Date() != tt.from || s.lastDays[1].Date() != tt.to {
				t.Errorf("%s: %q from %s to %s, want %q from %s to %s", tt.query, all, s.lastDays[0].Date(), s.lastDays[1].Date(), tt.want, tt.from, tt.to)
			}
		}
		if r := s.call(t, key1, "GET", path+"?by=channel", ""); strings.TrimSpace(string(r.body)) != `{"items":[]}` {
			t.Errorf("nothing is %s, want an empty list", r.body)
		}
		for query, field := range map[string]string{
			"by=day": "by", "by=": "by", "daily=maybe": "daily", "from=yesterday": "from", "to=2000-13-01": "to", "to=20000101": "to", "from=": "from",
			"from=2000-01-03": "from", "from=2000-01-02&to=2000-01-01": "from", "from=1999-01-01&to=2000-01-02": "from", "name=%00": "name", "limit=5": "limit",
		} {
			wantProblem(t, s.call(t, key1, "GET", path+"?"+query, ""), 400, "invalid", field)
		}

		const devices = "/v1/apps/1/reports/devices"
		days := into[restserver.List[push.DeviceDay]](t, s.call(t, key1, "GET", devices, ""), 200)
		if n := len(days.Items); n != 30 || days.Items[0].Day != "1999-12-04" || days.Items[29].Day != "2000-01-02" || days.Items[29].Total != 30 {
			t.Errorf("%d days from %+v to %+v, want the last 30", n, days.Items[0], days.Items[n-1])
		}
		r := s.call(t, key1, "GET", devices+"?from=2000-01-01&to=2000-01-01", "")
		want := `{"items":[{"day":"2000-01-01","new":1,"removed":0,"active":0,"online_peak":0,"total":1,"cumulative":0}]}`
		if got := strings.TrimSpace(string(r.body)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		year := into[restserver.List[push.DeviceDay]](t, s.call(t, key1, "GET", devices+"?from=1999-01-02", ""), 200)
		if len(year.Items) != 366 {
			t.Errorf("%d days, want 366", len(year.Items))
		}
		for query, field := range map[string]string{"from=1999-01-01": "from", "to=x": "to", "daily=true": "daily"} {
			wantProblem(t, s.call(t, key1, "GET", devices+"?"+query, ""), 400, "invalid", field)
		}
	})
}
