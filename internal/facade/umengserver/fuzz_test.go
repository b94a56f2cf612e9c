package umengserver_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/carillonpush/carillon/internal/push"
)

// FuzzSend sends signed bodies of any content, and also reads them as a query and a cancellation. Whatever they are, the
// answer is a whole envelope, which do checks, and never the code that stands for a fault of ours, which is also what a
// panic is answered with.
func FuzzSend(f *testing.F) {
	files, err := filepath.Glob("testdata/send/*.umeng.json")
	if err != nil || len(files) == 0 {
		f.Fatalf("seeds: got %d, %v", len(files), err)
	}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(body))
	}
	for _, base := range []string{androidNotification, androidMessage, androidBroadcast, iosNotification, harmonyNotification} {
		for _, fields := range []string{
			`"policy":"{\"max_send_num\":\"1e3\"}","channel_properties":[]`, `"payload":"{}"`, `"device_tokens":[null,7,"a,b"]`,
			`"payload":{"aps":{"alert":{"title":1},"badge":"-0"},"display_type":"scene","channels_body":{"harmony":7}}`,
			note(`"custom":[],"set_badge":-1,"after_open":"go_custom","title":"\ud800"`), `"description":"` + "\xff" + `","callback_params":{"a":{}}`,
		} {
			f.Add(with(base, fields))
		}
	}
	f.Add(taskBody(androidKey, "1000"))
	f.Add("")
	f.Add("[]")
	f.Fuzz(func(t *testing.T, body string) {
		h := newHouse()
		h.put(push.Sending, push.Report{Target: 1, Pending: 1}, nil)
		s := h.server(nil)
		for _, path := range []string{"/api/send", "/api/status", "/api/cancel"} {
			if got := code(post(t, s, path, body)); got == "4000" {
				t.Errorf("%s: got 4000", path)
			}
		}
	})
}
