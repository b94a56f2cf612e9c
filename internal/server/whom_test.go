package server_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/config"
	"github.com/carillonpush/carillon/sdk/device"
)

// A base is a few hundred devices that were somebody else's: device i has id "old-i".
const base = 400

var provinces = []string{"浙江", "上海", "北京"}

func oldID(i int) string { return fmt.Sprintf("old-%d", i) }

func (n *node) importBase() {
	n.t.Helper()
	rows := make([]map[string]any, base)
	for i := range rows {
		rows[i] = map[string]any{
			"device_id": oldID(i), "platform": "android", "tags": []string{fmt.Sprintf("t%d", i%5)},
			"attributes": map[string]string{"app_version": fmt.Sprintf("1.%d", i%12), "province": provinces[i%3]},
		}
		if i%2 == 0 {
			rows[i]["tokens"] = map[string]string{"hms": fmt.Sprintf("token-%d", i)}
		}
	}
	for range 2 { // a second time changes nothing
		var answer struct {
			Results []struct {
				DeviceID string `json:"device_id"`
				Error    any    `json:"error"`
			}
		}
		err := n.call(n.t.Context(), "POST", "/v1/apps/app/devices/import", nil, map[string]any{"devices": rows}, &answer)
		if err != nil {
			n.t.Fatal(err)
		}
		if len(answer.Results) != base {
			n.t.Fatalf("%d results of %d", len(answer.Results), base)
		}
		for i, r := range answer.Results {
			if r.Error != nil || len(r.DeviceID) != 32 {
				n.t.Fatalf("device %d: %+v", i, r)
			}
		}
	}
}

// phone registers the phone that was device i at the other provider.
func (n *node) phone(c card, i int) device.Identity {
	n.t.Helper()
	proof := hmac.New(sha256.New, []byte(c.Native.APIKey))
	proof.Write([]byte(oldID(i)))
	var got struct {
		device.Identity
		Adopted bool `json:"adopted"`
	}
	err := client{base: n.base}.call(n.t.Context(), "POST", "/device/v1/register", map[string]string{"Authorization": ""}, map[string]any{
		"app_key": c.Device.AppKey, "app_secret": c.Device.AppSecret, "platform": "android", "install_id": fmt.Sprintf("install-of-phone-%d", i),
		"previous_id": oldID(i), "previous_proof": hex.EncodeToString(proof.Sum(nil)),
	}, &got)
	if err != nil {
		n.t.Fatal(err)
	}
	if !got.Adopted {
		n.t.Fatalf("phone %d did not become the imported device", i)
	}
	return got.Identity
}

func where(expr string) map[string]any {
	return map[string]any{"audience": map[string]any{"where": raw(expr)}, "message": map[string]any{"data": 1}}
}

type raw string

func (r raw) MarshalJSON() ([]byte, error) { return []byte(r), nil }

// count asks a dry run.
func (n *node) count(body map[string]any) (c struct {
	Target      int            `json:"target"`
	Online      int            `json:"online"`
	Blacklisted int            `json:"blacklisted"`
	Channels    map[string]int `json:"channels"`
},
) {
	n.t.Helper()
	if err := n.call(n.t.Context(), "POST", "/v1/apps/app/pushes?dry_run=true", nil, body, &c); err != nil {
		n.t.Fatal(err)
	}
	return c
}

// The questions of this test, and how many of the base they are for.
var questions = []struct {
	expr  string
	holds func(i int) bool
}{
	{`{"tag": "t3"}`, func(i int) bool { return i%5 == 3 }},
	{`{"attr": "app_version", "op": ">=", "value": "1.10"}`, func(i int) bool { return i%12 >= 10 }},
	{`{"and": [{"attr": "province", "in": ["浙江", "上海"]}, {"not": {"or": [{"tag": "t0"}, {"has": "token.hms"}]}}]}`, func(i int) bool {
		return i%3 < 2 && i%5 != 0 && i%2 == 1
	}},
	{`{"and": [{"active_within": "7d"}, {"platform": ["ios"]}]}`, func(int) bool { return false }},
}

// askAll asks each question and compares its count.
func (n *node) askAll(when string) {
	n.t.Helper()
	for _, q := range questions {
		want := 0
		for i := range base {
			if q.holds(i) {
				want++
			}
		}
		if got := n.count(where(q.expr)).Target; got != want {
			n.t.Errorf("%s, %s: got %d, want %d", when, q.expr, got, want)
		}
	}
}

// doctor compares the index with the record.
func (n *node) doctor() {
	n.t.Helper()
	var check struct{ Devices, Wrong, Missing, Surplus int }
	if err := n.call(n.t.Context(), "POST", "/v1/doctor/index", nil, map[string]any{"repair": false}, &check); err != nil {
		n.t.Fatal(err)
	}
	if check.Devices < base || check.Wrong+check.Missing+check.Surplus != 0 {
		n.t.Errorf("the doctor says %+v", check)
	}
}

func TestABaseThatMoved(t *testing.T) {
	each(t, func(t *testing.T, c config.Config) {
		n := run(t, c, nil)
		card := n.createApp(t, "app")
		n.importBase()
		n.askAll("after the import")

		in, out := n.phone(card, 7), n.phone(card, 8) // 7 is in the third question, 8 is not
		gotIn, stopIn := n.connect(in, nil)
		gotOut, stopOut := n.connect(out, nil)
		q := where(questions[2].expr)
		if got := n.count(q); got.Online != 1 || got.Channels["own"] != got.Target {
			t.Errorf("the dry run says %+v, want one online", got)
		}
		arrives(t, gotIn, n.send(q))
		toOld := n.send(map[string]any{"audience": map[string]any{"devices": []string{oldID(8)}}, "message": map[string]any{"data": 1}})
		arrives(t, gotOut, toOld) // and not the one to the expression before it

		// Who got a push and did not open it is an audience.
		all := n.send(toAll())
		arrives(t, gotIn, all)
		arrives(t, gotOut, all)
		if err := n.call(t.Context(), "POST", "/device/v1/events", map[string]string{"Authorization": "Device " + in.DeviceID + ":" + in.Secret},
			map[string]any{"push": all, "event": "opened"}, nil); err != nil {
			t.Fatal(err)
		}
		unopened := where(fmt.Sprintf(`{"and": [{"reached": %q}, {"not": {"opened": %q}}]}`, all, all))
		n.eventually("one device got it and did not open it", func() bool { return n.count(unopened).Target == 1 })
		arrives(t, gotOut, n.send(unopened))

		n.label(t, out, gotOut)
		n.file(t, gotIn)
		stopIn()
		stopOut()
		n.doctor()
		n.stop()

		n = run(t, c, nil)
		n.askAll("after a restart with the snapshot")
		n.doctor()
		n.stop()
		if err := os.Remove(filepath.Join(c.Data, "index.snapshot")); err != nil {
			t.Errorf("there is no snapshot: %v", err)
		}
		n = run(t, c, nil)
		n.askAll("after a restart without it")
		n.doctor()
		gotOut, stopOut = n.connect(out, nil)
		defer stopOut()
		arrives(t, gotOut, n.send(map[string]any{"audience": map[string]any{"aliases": map[string]any{"type": "uid", "values": []string{"42"}}}, "message": map[string]any{"data": 1}}))
	})
}

// label has a device name itself, and sends to each of the names.
func (n *node) label(t *testing.T, id device.Identity, got <-chan string) {
	t.Helper()
	header := map[string]string{"Authorization": "Device " + id.DeviceID + ":" + id.Secret}
	for _, step := range []struct {
		method, path string
		body         map[string]any
		audience     map[string]any
	}{
		{"PUT", "alias", map[string]any{"type": "uid", "value": "42"}, map[string]any{"aliases": map[string]any{"type": "uid", "values": []string{"42"}}}},
		{"PUT", "account", map[string]any{"account": "user@example.com"}, map[string]any{"accounts": []string{"user@example.com"}}},
		{"POST", "tags", map[string]any{"tags": []string{"own", "猫"}}, map[string]any{"where": raw(`{"and": [{"tag": "猫"}, {"account": ["user@example.com"]}]}`)}},
	} {
		if err := n.call(t.Context(), step.method, "/device/v1/me/"+step.path, header, step.body, nil); err != nil {
			t.Fatal(err)
		}
		body := map[string]any{"audience": step.audience, "message": map[string]any{"data": 1}}
		if c := n.count(body); c.Target != 1 || c.Online != 1 {
			t.Errorf("%s: the dry run says %+v, want the one device", step.path, c)
		}
		arrives(t, got, n.send(body))
	}
}

// file uploads a list of old ids and sends to it.
func (n *node) file(t *testing.T, got <-chan string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", n.base+"/v1/apps/app/files", strings.NewReader("old-7\r\nnobody\n\nold-9\n"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+n.token)
	resp, err := httpClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil || resp.StatusCode != http.StatusCreated || !strings.Contains(b.String(), `"lines":3`) {
		t.Fatalf("%d %s, %v", resp.StatusCode, b.String(), err)
	}
	file := strings.Split(strings.SplitN(b.String(), `"file":"`, 2)[1], `"`)[0]
	body := map[string]any{"audience": map[string]any{"file": file, "of": "devices"}, "message": map[string]any{"data": 1}}
	if c := n.count(body); c.Target != 3 || c.Online != 1 {
		t.Errorf("the dry run of the file says %+v, want 3 lines and one online", c)
	}
	id := n.send(body)
	arrives(t, got, id)
	var r struct {
		Target  int
		Dropped map[string]int
	}
	if err := n.call(t.Context(), "GET", "/v1/apps/app/pushes/"+id, nil, nil, &r); err != nil || r.Target != 3 || r.Dropped["unknown"] != 1 {
		t.Errorf("the report says %+v, %v, want 3 of which one is unknown", r, err)
	}
}

func (n *node) eventually(what string, ok func() bool) {
	n.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); pause(n.t, 5*time.Millisecond) {
		if time.Now().After(deadline) {
			n.t.Fatalf("not in time: %s", what)
		}
	}
}
