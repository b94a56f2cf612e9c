package carillon_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/carillonpush/carillon/sdk/carillon"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A fake answers every request with what answer returns, and notes the requests.
type fake struct {
	*httptest.Server
	asked chan string // "METHOD path?query body"
}

// serve starts a fake and a client of it.
func serve(t *testing.T, answer func(n int, r *http.Request) (status int, body string)) (*fake, *carillon.Client) {
	t.Helper()
	f := &fake{asked: make(chan string, 100)}
	var n atomic.Int32
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		f.asked <- strings.TrimSpace(r.Method + " " + r.URL.RequestURI() + " " + string(body))
		if got, want := r.Header.Get("Authorization"), "Bearer key"; got != want {
			t.Errorf("got Authorization %q, want %q", got, want)
		}
		status, answer := answer(int(n.Add(1)), r)
		if status >= 400 {
			w.Header().Set("Content-Type", "application/problem+json")
			w.Header().Set("Retry-After", "0")
		}
		w.WriteHeader(status)
		io.WriteString(w, answer) //nolint:errcheck // the client may have gone
	}))
	t.Cleanup(f.Close)
	c := carillon.New(f.URL+"/", "key", nil)
	t.Cleanup(func() { c.Close() }) //nolint:errcheck // it is nil
	return f, c
}

func TestCalls(t *testing.T) {
	name, yes := "shop 2", true
	start := time.Date(2026, 11, 25, 8, 0, 0, 0, time.UTC)
	request := carillon.PushRequest{
		Audience: carillon.Audience{Devices: []string{"d1"}},
		Message: carillon.Message{
			Notification: &carillon.Notification{Title: "开门"}, Extras: map[string]json.RawMessage{"k": json.RawMessage(`"v"`)},
			Launch: true, Offline: &carillon.Notification{Title: "o"},
			Platforms: map[string]*carillon.Variant{"ios": {Data: json.RawMessage(`1`)}},
		},
		Policy: carillon.Policy{StartAt: &start, TTL: carillon.Duration(72 * time.Hour), Group: "g"},
	}
	const requestJSON = `{"audience":{"devices":["d1"]},"message":{"notification":{"title":"开门"},"extras":{"k":"v"},"launch":true,"offline":{"title":"o"},"platforms":{"ios":{"data":1}}},` +
		`"policy":{"start_at":"2026-11-25T08:00:00Z","ttl":"72h0m0s","group":"g"}}`
	for _, tt := range []struct {
		name, answer string
		call         func(context.Context, *carillon.Client) (any, error)
		asked        string
		want         string // of the result, as JSON
	}{
		{
			"create an app", `{"app":{"id":"1","name":"shop"},"native":{"api_key":"k"}}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				card, err := c.CreateApp(ctx, carillon.NewApp{Name: "shop", Credentials: carillon.Credentials{Aliyun: carillon.AliyunCredential{AppKey: 7}}})
				return card.App.ID + card.Native.APIKey, err
			},
			`POST /v1/apps {"name":"shop","aliyun":{"app_key":7}}`, `"1k"`,
		},
		{
			"list apps", `{"items":[{"id":"2"},{"id":"1"}],"next":"c"}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				l, err := c.ListApps(ctx, carillon.Page{Cursor: "x y", Limit: 2})
				return []string{l.Items[0].ID, l.Items[1].ID, l.Next}, err
			},
			`GET /v1/apps?cursor=x+y&limit=2`, `["2","1","c"]`,
		},
		{
			"show an app whose name needs escaping", `{"app":{"settings":{"a":"b"}}}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				card, err := c.ShowApp(ctx, "my shop?")
				return card.App.Settings, err
			},
			`GET /v1/apps/my%20shop%3F`, `{"a":"b"}`,
		},
		{
			"change an app", `{"name":"shop 2"}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				a, err := c.PatchApp(ctx, "1", carillon.AppPatch{Name: &name, Settings: map[string]*string{"ip_allow": nil}})
				return a.Name, err
			},
			`PATCH /v1/apps/1 {"name":"shop 2","settings":{"ip_allow":null}}`, `"shop 2"`,
		},
		{
			"rotate keys", `{"native":{"api_key":"new"}}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				card, err := c.RotateKeys(ctx, "1", "native")
				return card.Native.APIKey, err
			},
			`POST /v1/apps/1/rotate-keys {"kind":"native"}`, `"new"`,
		},
		{
			"delete an app", "",
			func(ctx context.Context, c *carillon.Client) (any, error) { return nil, c.DeleteApp(ctx, "1") },
			`DELETE /v1/apps/1`, `null`,
		},
		{
			"send", `{"id":"187649984473770","kind":"direct","state":"accepted"}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				p, err := c.Send(ctx, "1", request, nil)
				return []string{p.ID, p.Kind, p.State}, err
			},
			`POST /v1/apps/1/pushes ` + requestJSON, `["187649984473770","direct","accepted"]`,
		},
		{
			"dry run", `{"target":3,"online":1}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				n, err := c.DryRun(ctx, "1", request)
				return []int{n.Target, n.Online}, err
			},
			`POST /v1/apps/1/pushes?dry_run=true ` + requestJSON, `[3,1]`,
		},
		{
			"batch", `{"items":[{"id":"5","state":"accepted"},{"status":400,"code":"invalid","field":"audience.devices","detail":"none"}]}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				r, err := c.SendBatch(ctx, "1", []carillon.PushRequest{request, request}, nil)
				return []any{r[0].Push.ID, r[0].Err, r[1].Err.Field, r[1].Err.Status}, err
			},
			`POST /v1/apps/1/pushes/batch {"pushes":[` + requestJSON + `,` + requestJSON + `]}`, `["5",null,"audience.devices",400]`,
		},
		{
			"show a push", `{"id":"5","state":"done","target":3,"delivered":1,"pending":1,"dropped":{"unknown":1},"channels":{"own":{"sent":2,"delivered":1}}}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				r, err := c.ShowPush(ctx, "1", "5")
				return []any{r.State, r.Target, r.Dropped, r.Channels["own"].Sent}, err
			},
			`GET /v1/apps/1/pushes/5`, `["done",3,{"unknown":1},2]`,
		},
		{
			"list pushes", `{"items":[]}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				l, err := c.ListPushes(ctx, "1", carillon.Page{})
				return len(l.Items), err
			},
			`GET /v1/apps/1/pushes`, `0`,
		},
		{
			"cancel", `{"state":"cancelled"}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				p, err := c.CancelPush(ctx, "1", "5")
				return p.State, err
			},
			`POST /v1/apps/1/pushes/5/cancel`, `"cancelled"`,
		},
		{
			"show a device", `{"device_id":"d","account":"a","tokens":{"hms":{"token":"t"}},"reregistered":true}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				d, err := c.ShowDevice(ctx, "1", "d")
				return []any{d.ID, d.Account, d.Tokens, d.Reregistered}, err
			},
			`GET /v1/apps/1/devices/d`, `["d","a",{"hms":{"token":"t"}},true]`,
		},
		{
			"list devices", `{"items":[{"device_id":"d"}]}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				l, err := c.ListDevices(ctx, "1", carillon.Page{Limit: 1})
				return l.Items[0].ID, err
			},
			`GET /v1/apps/1/devices?limit=1`, `"d"`,
		},
		{
			"change a device", `{"test":true}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				d, err := c.PatchDevice(ctx, "1", "d", carillon.DevicePatch{Test: &yes})
				return d.Test, err
			},
			`PUT /v1/apps/1/devices/d {"test":true}`, `true`,
		},
		{
			"remove a device", "",
			func(ctx context.Context, c *carillon.Client) (any, error) { return nil, c.RemoveDevice(ctx, "1", "d") },
			`DELETE /v1/apps/1/devices/d`, `null`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, c := serve(t, func(int, *http.Request) (int, string) { return 200, tt.answer })
			result, err := tt.call(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(<-f.asked, tt.asked); d != "" {
				t.Errorf("asked: got (-) want (+):\n%s", d)
			}
			got, err := json.Marshal(result)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	t.Run("a problem", func(t *testing.T) {
		f, c := serve(t, func(int, *http.Request) (int, string) {
			return 400, `{"type":"/docs","title":"Invalid request","status":400,"code":"invalid","field":"policy.ttl","detail":"is at least 1s"}`
		})
		_, err := c.Send(t.Context(), "1", carillon.PushRequest{}, &carillon.SendOptions{IdempotencyKey: "k"})
		var e *carillon.Error
		if !errors.As(err, &e) || e.Status != 400 || e.Code != "invalid" || e.Field != "policy.ttl" {
			t.Errorf("got %#v", err)
		}
		if got, want := err.Error(), "carillon: invalid: policy.ttl: is at least 1s"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if len(f.asked) != 1 {
			t.Errorf("a refusal was repeated %d times", len(f.asked)-1)
		}
	})
	t.Run("a page of somebody else", func(t *testing.T) {
		_, c := serve(t, func(int, *http.Request) (int, string) { return 404, "<html>" })
		_, err := c.ShowApp(t.Context(), "1")
		var e *carillon.Error
		if !errors.As(err, &e) || e.Code != "http_404" {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a success that is no JSON", func(t *testing.T) {
		_, c := serve(t, func(int, *http.Request) (int, string) { return 200, "<html>" })
		if _, err := c.ShowApp(t.Context(), "1"); err == nil {
			t.Error("got no error")
		}
	})
	t.Run("a batch with too few answers", func(t *testing.T) {
		_, c := serve(t, func(int, *http.Request) (int, string) { return 200, `{"items":[]}` })
		if _, err := c.SendBatch(t.Context(), "1", make([]carillon.PushRequest, 2), nil); err == nil {
			t.Error("got no error")
		}
	})
	t.Run("nobody there", func(t *testing.T) {
		c := carillon.New("http://127.0.0.1:1", "key", &carillon.Options{Retries: -1})
		_, err := c.ShowApp(t.Context(), "1")
		var e *carillon.TransportError
		if !errors.As(err, &e) || e.Path != "/v1/apps/1" || strings.Count(err.Error(), "/v1/apps/1") != 1 {
			t.Errorf("got %v", err)
		}
	})
}

func TestRepeatsOnlyWhatIsSafe(t *testing.T) {
	busyTwice := func(n int, _ *http.Request) (int, string) {
		if n <= 2 {
			return 503, `{"code":"unavailable"}`
		}
		return 202, `{"id":"5"}`
	}
	send := func(key string) func(context.Context, *carillon.Client) error {
		return func(ctx context.Context, c *carillon.Client) error {
			_, err := c.Send(ctx, "1", carillon.PushRequest{}, &carillon.SendOptions{IdempotencyKey: key})
			return err
		}
	}
	for _, tt := range []struct {
		name  string
		call  func(context.Context, *carillon.Client) error
		asked int
		fails bool
	}{
		{"a send with a key", send("order-42"), 3, false},
		{"a send without a key", send(""), 1, true},
		{"a read", func(ctx context.Context, c *carillon.Client) error { _, err := c.ShowPush(ctx, "1", "5"); return err }, 3, false},
		{"a cancel", func(ctx context.Context, c *carillon.Client) error { _, err := c.CancelPush(ctx, "1", "5"); return err }, 1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, c := serve(t, func(n int, r *http.Request) (int, string) {
				if strings.HasSuffix(tt.name, "a key") && r.Header.Get("Idempotency-Key") == "" && !tt.fails {
					t.Error("the key was not sent")
				}
				return busyTwice(n, r)
			})
			err := tt.call(t.Context(), c)
			if (err != nil) != tt.fails {
				t.Errorf("got %v", err)
			}
			if got := len(f.asked); got != tt.asked {
				t.Errorf("asked %d times, want %d", got, tt.asked)
			}
		})
	}
	t.Run("until the caller has enough", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		f, c := serve(t, func(int, *http.Request) (int, string) { cancel(); return 503, `{"code":"unavailable"}` })
		if err := send("k")(ctx, c); err == nil || len(f.asked) != 1 {
			t.Errorf("got %v after %d calls, want an error after one", err, len(f.asked))
		}
	})
}

func TestObserveSeesAnswersAsTheyCame(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"id":"5","new":1}`) }))
	defer srv.Close()
	var seen string
	c := carillon.New(srv.URL, "key", &carillon.Options{Observe: func(method, path string, status int, body []byte) {
		seen = fmt.Sprintf("%s %s %d %s", method, path, status, body)
	}})
	defer c.Close() //nolint:errcheck // it is nil
	if _, err := c.CancelPush(t.Context(), "1", "5"); err != nil {
		t.Fatal(err)
	}
	if want := `POST /v1/apps/1/pushes/5/cancel 200 {"id":"5","new":1}`; seen != want {
		t.Errorf("got %s, want %s", seen, want)
	}
}

func TestDuration(t *testing.T) {
	for _, tt := range []struct {
		text string
		want time.Duration
	}{{"90s", 90 * time.Second}, {"72h", 72 * time.Hour}, {"7d", 168 * time.Hour}, {"0s", 0}} {
		var d carillon.Duration
		if err := d.UnmarshalText([]byte(tt.text)); err != nil || time.Duration(d) != tt.want {
			t.Errorf("%s: got %v, %v", tt.text, time.Duration(d), err)
		}
	}
	for _, text := range []string{"", "d", "-1s", "1.5d", "week", "99999999d"} {
		var d carillon.Duration
		if err := d.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q: got %v, want an error", text, time.Duration(d))
		}
	}
}
