package umengserver_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillonpush/carillon/internal/push"
)

var update = flag.Bool("update", false, "write what is produced to testdata instead of comparing")

// TestMapping sends each testdata/send/NAME.umeng.json and compares what the house is asked with NAME.push.json.
func TestMapping(t *testing.T) {
	files, err := filepath.Glob("testdata/send/*.umeng.json")
	if err != nil || len(files) < 15 {
		t.Fatalf("requests in testdata: got %d, %v, want at least 15", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".umeng.json"), func(t *testing.T) {
			body, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			h := newHouse()
			if r := post(t, h.server(nil), "/api/send", string(body)); code(r) != "" {
				t.Fatalf("got %v, want SUCCESS", r.Data)
			}
			req := h.last(t)
			if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(req.RequestID) {
				t.Errorf("request id: got %q, want a random UUID", req.RequestID)
			}
			req.RequestID = ""
			got := pretty(t, struct {
				push.Request
				Key          push.Key
				AllowUnknown bool
			}{req, req.Key, req.AllowUnknown})
			golden := strings.TrimSuffix(file, ".umeng.json") + ".push.json"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got, string(want)); diff != "" {
				t.Errorf("got - want +:\n%s", diff)
			}
		})
	}
}

func TestUnknownTokensAreNoError(t *testing.T) {
	h := newHouse()
	r := post(t, h.server(nil), "/api/send", with(androidNotification, `"type":"listcast","device_tokens":"foreign,d2"`))
	id, err := push.ParseID(r.str(t, "msg_id"))
	if err != nil {
		t.Fatal(err)
	}
	if p := h.pushes[id]; p.Unknown != 2 || p.Target != 0 {
		t.Errorf("got %d unknown and %d targets, want 2 and 0", p.Unknown, p.Target)
	}
}

// A task is paced; a single message goes at once, and so stays one that has a msg_id.
func TestMaxSendNum(t *testing.T) {
	for base, want := range map[string]int{androidBroadcast: 1500, androidNotification: 0} {
		h := newHouse()
		if r := post(t, h.server(nil), "/api/send", with(base, `"policy":{"max_send_num":1500}`)); code(r) != "" {
			t.Fatal(r.Data)
		}
		if got := h.last(t).Policy.Rate; got != want {
			t.Errorf("got a rate of %d, want %d", got, want)
		}
	}
}

func TestOutBizNo(t *testing.T) {
	h := newHouse()
	s := h.server(nil)
	task := func(base, fields string) string {
		t.Helper()
		return post(t, s, "/api/send", with(base, fields)).str(t, "task_id")
	}
	first := task(androidBroadcast, `"policy":{"out_biz_no":"n1"}`)
	if again := task(androidBroadcast, `"policy":{"out_biz_no":"n1"},"description":"changed"`); again != first {
		t.Errorf("repeat: got %s, want the first task %s", again, first)
	}
	if other := task(androidBroadcast, `"policy":{"out_biz_no":"n2"}`); other == first {
		t.Error("another number: got the first task")
	}
	iosBroadcast := with(iosNotification, `"type":"broadcast"`)
	if other := task(iosBroadcast, `"policy":{"out_biz_no":"n1"}`); other == first {
		t.Error("another appkey: got the first task")
	}
	long := strings.Repeat("n", 1000)
	if one, two := task(androidBroadcast, `"policy":{"out_biz_no":"`+long+`1"}`), task(androidBroadcast,
		`"policy":{"out_biz_no":"`+long+`2"}`); one == two {
		t.Error("two long numbers: got one task")
	}
	post(t, s, "/api/send", with(androidNotification, `"policy":{"out_biz_no":"n1"}`))
	if key := h.last(t).Key; !key.Zero() {
		t.Errorf("single message: got key %+v, want none", key)
	}
}

// TestRepeatAfterItsTime repeats a scheduled task when its start, or its end, is over.
func TestRepeatAfterItsTime(t *testing.T) {
	h := newHouse()
	s := h.server(nil)
	scheduled := with(androidBroadcast, `"policy":{"out_biz_no":"n1","start_time":"2023-11-15 06:15:00","expire_time":"2023-11-15 06:18:00"}`)
	first := post(t, s, "/api/send", scheduled).str(t, "task_id")
	unknown := strings.Replace(scheduled, "n1", "n2", 1)
	for later, want := range map[time.Duration]string{3 * time.Minute: "2002", 9 * time.Minute: "2002"} {
		h.later = later
		if got := post(t, s, "/api/send", scheduled).str(t, "task_id"); got != first {
			t.Errorf("repeat after %v: got %s, want the first task %s", later, got, first)
		}
		if got := code(post(t, s, "/api/send", unknown)); got != want {
			t.Errorf("first time after %v: got %q, want %s", later, got, want)
		}
		dry := signed("/api/send", scheduled)
		dry.Header.Set("Carillon-Dry-Run", "1")
		if got := code(do(t, s, dry)); got != want {
			t.Errorf("dry run after %v: got %q, want %s", later, got, want)
		}
	}
	ends := with(androidBroadcast, `"policy":{"out_biz_no":"n3","expire_time":"2023-11-15 06:15:00"}`)
	h.later = 0
	first = post(t, s, "/api/send", ends).str(t, "task_id")
	h.later = 3 * time.Minute
	if got := post(t, s, "/api/send", ends).str(t, "task_id"); got != first {
		t.Errorf("repeat after expire_time: got %s, want the first task %s", got, first)
	}
	if got := code(post(t, s, "/api/send", with(ends, `"policy":{"expire_time":"2023-11-15 06:15:00"}`))); got != "2003" {
		t.Errorf("without a number: got %q, want 2003", got)
	}
	if len(h.pushes) != 2 {
		t.Errorf("pushes: got %d, want 2", len(h.pushes))
	}
}

// TestKeyOutlivesTask checks that a number is remembered for a week, and for a task that lives longer as long as it does.
func TestKeyOutlivesTask(t *testing.T) {
	h := newHouse()
	s := h.server(nil)
	for fields, want := range map[string]time.Duration{
		`"out_biz_no":"a"`: 7 * 24 * time.Hour,
		`"out_biz_no":"b","start_time":"2023-11-20 06:13:20"`:                                     8 * 24 * time.Hour,
		`"out_biz_no":"c","start_time":"2023-11-21 06:13:20","expire_time":"2023-11-28 06:13:20"`: 13 * 24 * time.Hour,
	} {
		post(t, s, "/api/send", with(androidBroadcast, `"policy":{`+fields+`}`))
		if got := h.last(t).Key.Keep; got != want {
			t.Errorf("%s: got %v, want %v", fields, got, want)
		}
	}
}

func TestTimeZoneOfTheApp(t *testing.T) {
	h := newHouse()
	h.app.TimeZone = "Europe/Berlin"
	post(t, h.server(nil), "/api/send", with(androidBroadcast, `"policy":{"start_time":"2023-11-16 00:00:00"}`))
	want := time.Date(2023, 11, 15, 23, 0, 0, 0, time.UTC)
	if got := h.last(t).Policy.StartAt; got == nil || !got.Equal(want) {
		t.Errorf("start: got %v, want %v", got, want)
	}
}

func TestDryRun(t *testing.T) {
	h := newHouse()
	s := h.server(nil)
	for body, id := range map[string]string{androidNotification: "msg_id", androidBroadcast: "task_id"} {
		r := signed("/api/send", body)
		r.Header.Set("Carillon-Dry-Run", "1")
		got := do(t, s, r)
		if got.str(t, id) != "0" {
			t.Errorf("%s: got %q, want the id of no push", id, got.str(t, id))
		}
		var count push.Count
		if err := json.Unmarshal([]byte(got.header.Get("Carillon-Dry-Run-Result")), &count); err != nil || count.Target == 0 {
			t.Errorf("result: got %q, %v, want a count", got.header.Get("Carillon-Dry-Run-Result"), err)
		}
	}
	if len(h.pushes) != 0 {
		t.Errorf("pushes: got %d, want none", len(h.pushes))
	}
	// A dry run is signed and checked like any other request.
	r := signed("/api/send", with(androidNotification, `"production_mode":"x"`))
	r.Header.Set("Carillon-Dry-Run", "1")
	if got := code(do(t, s, r)); got != "1017" {
		t.Errorf("bad request: got %q, want 1017", got)
	}
	if r := post(t, s, "/api/send", androidNotification); r.header.Get("Carillon-Dry-Run-Result") != "" || len(h.pushes) != 1 {
		t.Error("a request without the header was not sent")
	}
}
