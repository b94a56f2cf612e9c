package restserver_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/restserver"
)

func zipped(t testing.TB, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := io.WriteString(z, text)
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestFiles(t *testing.T) {
	s := newSite(t, restserver.Options{})
	const files, lines = "/v1/apps/demo/files", "a\nb\r\n\nc"
	for _, tt := range []struct {
		name, body string
		headers    []string
	}{
		{"plain", lines, nil},
		{"plain, of some type", lines, []string{"Content-Type", "text/csv; charset=utf-8"}},
		{"gzip", zipped(t, lines), nil},
		{"gzip that says so", zipped(t, lines), []string{"Content-Encoding", "gzip", "Content-Type", "text/plain"}},
		{"encoded as itself", lines, []string{"Content-Encoding", "identity"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := s.call(t, key1, "POST", files, tt.body, tt.headers...)
			f := into[push.File](t, r, 201)
			if f.Lines != 3 || f.Bytes != len(lines) || !slices.Equal(s.uploaded, []string{"a", "b", "c"}) || !strings.HasPrefix(string(r.body), `{"file":"`) {
				t.Errorf("file %s of %q, want 3 lines", r.body, s.uploaded)
			}
			if got := into[push.File](t, s.call(t, key1, "GET", files+"/"+string(f.ID), ""), 200); got != (push.File{
				ID: f.ID, Lines: 3, Bytes: f.Bytes, Created: f.Created, Expires: f.Expires,
			}) {
				t.Errorf("shown as %+v, want %+v", got, f)
			}
			wantProblem(t, s.call(t, "Bearer key-2", "GET", "/v1/apps/2/files/"+string(f.ID), ""), 404, "not_found", "file")
		})
	}
	t.Run("as large as it may be", func(t *testing.T) {
		body := strings.Repeat(strings.Repeat("x", 127)+"\n", push.MaxFile/128)
		if f := into[push.File](t, s.call(t, key1, "POST", files, body), 201); f.Bytes != push.MaxFile {
			t.Errorf("%d bytes, want %d", f.Bytes, push.MaxFile)
		}
	})
	kept := len(s.files)
	for _, tt := range []struct {
		name, auth, body string
		headers          []string
		status           int
		code, field      string
	}{
		{"a line that is too long", key1, "a\n" + strings.Repeat("x", 129), nil, 400, "invalid", "line 2"},
		{"an unknown encoding", key1, lines, []string{"Content-Encoding", "br"}, 400, "invalid", "Content-Encoding"},
		{"said to be gzip and is not", key1, lines, []string{"Content-Encoding", "gzip"}, 400, "invalid", "Content-Encoding"},
		{"a form", key1, lines, []string{"Content-Type", "multipart/form-data; boundary=x"}, 400, "invalid", "Content-Type"},
		{"gzip that ends early", key1, zipped(t, lines)[:20], nil, 500, "internal", ""},
		{"another app's key", "Bearer key-2", lines, nil, 403, "denied", ""},
		{"too large", key1, strings.Repeat("x\n", push.MaxFile/2) + "y", nil, 413, "too_large", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantProblem(t, s.call(t, tt.auth, "POST", files, tt.body, tt.headers...), tt.status, tt.code, tt.field)
		})
	}
	body := func(r io.Reader) reply {
		req := httptest.NewRequest("POST", files, r)
		req.ContentLength = -1
		req.Header.Set("Authorization", key1)
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, req)
		return reply{w.Code, w.Header(), w.Body.Bytes()}
	}
	t.Run("one that does not end", func(t *testing.T) {
		flood := &endless{}
		r := body(flood)
		wantProblem(t, r, 413, "too_large", "")
		if flood.read > push.MaxFile+1<<20 || r.header.Get("Connection") != "close" {
			t.Errorf("read %d bytes, Connection %q, want about the limit and close", flood.read, r.header.Get("Connection"))
		}
	})
	t.Run("one that ends early", func(t *testing.T) {
		wantProblem(t, body(io.MultiReader(strings.NewReader("a\n"), iotest.ErrReader(io.ErrUnexpectedEOF))), 400, "invalid", "")
	})
	if len(s.files) != kept {
		t.Errorf("%d files are kept of those that were refused", len(s.files)-kept)
	}
}

// TestUploadStreams shows that a file is handed on while it comes in.
func TestUploadStreams(t *testing.T) {
	s := newSite(t, restserver.Options{})
	in, out := io.Pipe()
	first := make(chan string)
	ports := s.ports()
	ports.Files = watched{ports.Files, first}
	handler := restserver.New(ports, &restserver.Options{AdminToken: adminToken}).Handler()
	w := httptest.NewRecorder()
	done := make(chan struct{})
	go func() {
		defer close(done)
		req := httptest.NewRequest("POST", "/v1/apps/1/files", in)
		req.Header.Set("Authorization", key1)
		handler.ServeHTTP(w, req)
	}()
	if _, err := io.WriteString(out, "the first line\n"); err != nil {
		t.Fatal(err)
	}
	if got := <-first; got != "the first line\n" { // while the rest has not been written
		t.Errorf("got %q, want the first line", got)
	}
	if _, err := io.WriteString(out, "the second\n"); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	<-done
	if f := into[push.File](t, reply{w.Code, w.Header(), w.Body.Bytes()}, 201); f.Lines != 2 {
		t.Errorf("%d lines, want 2", f.Lines)
	}
}

func TestImport(t *testing.T) {
	s := newSite(t, restserver.Options{})
	const path = "/v1/apps/demo/devices/import"
	type results struct {
		Results []struct {
			DeviceID string `json:"device_id"`
			Added    bool
			Error    *struct{ Code, Field, Detail string }
		}
	}
	body := `{"devices": [
		{"device_id": "old-1", "platform": "ios", "account": "u1", "phone": "13800138000", "tags": ["vip", "新"],
			"aliases": [{"type": "uid", "value": "42"}, {"value": "bob"}], "attributes": {"App": "1.9"},
			"tokens": {"apns": {"token": "t", "env": "production"}}, "test": true},
		{"device_id": ""},
		{"device_id": "old-2", "platform": "symbian"},
		{"device_id": "old-3", "tokens": {"hms": "h"}},
		{"device_id": "old-4", "tags": ["ok", ""]},
		{"device_id": "old-5", "Tags": []},
		{"device_id": "old-6", "aliases": [{"value": "a"}, {"value": ""}]},
		{"device_id": "old-7", "tokens": {"apns": {"environment": "x"}}},
		{"device_id": 8}, 9, null, {"device_id": "old-10", "attributes": {"a b": "c"}}]}`
	got := into[results](t, s.call(t, key1, "POST", path, body), 200)
	want := []string{"", "device_id", "platform", "", "tags[1]", "Tags", "aliases[1].value", "tokens.apns.environment", "device_id", "", "", "attributes.a b"}
	if len(got.Results) != len(want) {
		t.Fatalf("%d results, want %d", len(got.Results), len(want))
	}
	for i, r := range got.Results {
		taken := i == 0 || i == 3
		switch {
		case taken && (r.Error != nil || len(r.DeviceID) != 32 || !r.Added):
			t.Errorf("device %d: %+v, want a new device", i, r)
		case !taken && (r.Error == nil || r.Error.Code != "invalid" || r.Error.Field != want[i] || r.Error.Detail == "" || r.DeviceID != ""):
			t.Errorf("device %d: %+v %+v, want it refused for %q", i, r, r.Error, want[i])
		}
	}
	d := into[push.Device](t, s.call(t, key1, "GET", "/v1/apps/1/devices/old-1", ""), 200)
	if string(d.ID) != got.Results[0].DeviceID || d.Platform != push.IOS || d.Account != "u1" || d.Phone == "" || !d.Test || len(d.Tags) != 2 ||
		len(d.Aliases) != 2 || d.Attributes["App"] != "1.9" || d.Tokens["apns"].Env != "production" || d.PreviousID != "old-1" {
		t.Errorf("imported %+v, want all of the body", d)
	}
	if len(s.devices) != 2 {
		t.Errorf("%d devices, want the 2 that were well", len(s.devices))
	}

	t.Run("again", func(t *testing.T) {
		again := into[results](t, s.call(t, key1, "POST", path, `{"devices": [{"device_id": "old-1"}]}`), 200)
		if r := again.Results[0]; r.Added || r.DeviceID != got.Results[0].DeviceID || len(s.devices) != 2 {
			t.Errorf("imported again: %+v, want the same device", r)
		}
	})
	t.Run("refused by the registry", func(t *testing.T) {
		into[push.App](t, s.call(t, admin, "PATCH", "/v1/apps/1", `{"settings": {"aliases.per_device": 1}}`), 200)
		r := into[results](t, s.call(t, key1, "POST", path, `{"devices": [{"device_id": ""}, {"device_id": "old-9", "aliases": [{"value": "a"}, {"value": "b"}]}, {"device_id": "old-8"}]}`), 200)
		if e := r.Results[1].Error; e == nil || e.Code != "too_many" || e.Field != "aliases[0]" || r.Results[2].DeviceID == "" || r.Results[0].Error == nil {
			t.Errorf("results %+v, want the first two refused", r.Results)
		}
	})
	many := `{"devices": [` + strings.Repeat(`{"device_id": "x"},`, 1000) + `{}]}`
	for name, body := range map[string]string{"none": `{"devices": []}`, "no list": `{}`, "too many": many, "no list at all": `{"devices": {}}`} {
		t.Run(name, func(t *testing.T) {
			wantProblem(t, s.call(t, key1, "POST", path, body), 400, "invalid", "devices")
		})
	}
	t.Run("all unreadable", func(t *testing.T) {
		s.fail = errors.New("nothing is to be imported")
		r := into[results](t, s.call(t, key1, "POST", path, `{"devices": [{}, {"id": "x"}]}`), 200)
		if r.Results[0].Error == nil || r.Results[1].Error.Field != "id" {
			t.Errorf("results %+v, want both refused", r.Results)
		}
		wantProblem(t, s.call(t, key1, "POST", path, `{"devices": [{"device_id": "x"}]}`), 500, "internal", "")
		s.fail = nil
	})
	wantProblem(t, s.call(t, "Bearer key-2", "POST", path, body), 403, "denied", "")
}

func TestAdoption(t *testing.T) {
	s := newSite(t, restserver.Options{})
	s.call(t, key1, "POST", "/v1/apps/1/devices/import", `{"devices": [{"device_id": "old-1"}]}`)
	register := func(more string) reply {
		return s.call(t, "", "POST", "/device/v1/register",
			`{"app_key": "k", "app_secret": "app-secret", "platform": "android", "install_id": "0123456789abcdef"`+more+`}`)
	}
	for _, more := range []string{`, "previous_id": "old-1"`, `, "previous_id": "old-1", "previous_proof": "` + proof("key-2", "old-1") + `"`} {
		wantProblem(t, register(more), 403, "denied", "previous_proof")
	}
	wantProblem(t, register(`, "previous_id": "`+strings.Repeat("x", 129)+`"`), 400, "invalid", "previous_id")
	wantProblem(t, register(`, "previous_id": 7`), 400, "invalid", "previous_id")
	r := register(`, "previous_id": "old-1", "previous_proof": "` + proof("key-1", "old-1") + `"`)
	if got := into[map[string]any](t, r, 200); got["adopted"] != true || got["device_id"] != string(s.devices[0].ID) {
		t.Errorf("answer %s, want the imported device, adopted", r.body)
	}
	r = register(`, "previous_id": "never seen"`)
	if got := into[map[string]any](t, r, 200); got["adopted"] != nil || got["device_id"] == string(s.devices[0].ID) {
		t.Errorf("answer %s, want a device of its own", r.body)
	}
}

func TestDoctor(t *testing.T) {
	s := newSite(t, restserver.Options{})
	s.register(t)
	s.wrong = 3
	const path = "/v1/doctor/index"
	for _, tt := range []struct{ name, body, want string }{
		{"all apps", ``, `{"devices":1,"wrong":3,"missing":0,"surplus":0,"repaired":false}`},
		{"an app without devices", `{"app": "2"}`, `{"devices":0,"wrong":3,"missing":0,"surplus":0,"repaired":false}`},
		{"by name, repaired", `{"app": "demo", "repair": true}`, `{"devices":1,"wrong":3,"missing":0,"surplus":0,"repaired":true}`},
		{"nothing is wrong any more", `{}`, `{"devices":1,"wrong":0,"missing":0,"surplus":0,"repaired":false}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if r := s.call(t, admin, "POST", path, tt.body); r.status != 200 || string(r.body) != tt.want+"\n" {
				t.Errorf("got %d %s, want %s", r.status, r.body, tt.want)
			}
		})
	}
	wantProblem(t, s.call(t, admin, "POST", path, `{"app": "nosuch"}`), 404, "not_found", "app")
	wantProblem(t, s.call(t, admin, "POST", path, `{"repair": "yes"}`), 400, "invalid", "repair")
	wantProblem(t, s.call(t, key1, "POST", path, ``), 403, "denied", "")
}
