package carillon_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/carillonpush/carillon/sdk/carillon"
)

func TestCallsForWhom(t *testing.T) {
	yes := true
	uid := carillon.Alias{Type: "uid", Value: "42"}
	for _, tt := range []struct {
		name, answer string
		call         func(context.Context, *carillon.Client) (any, error)
		asked        string
		want         string // of the result, as JSON
	}{
		{
			"a device's labels", `{"device_id":"d","tags":["a"],"aliases":[{"type":"","value":"b"}],"previous_id":"old","bound":"2026-11-25T08:00:00Z"}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				d, err := c.ShowDevice(ctx, "1", "old/1")
				return []any{d.Tags, d.Aliases, d.PreviousID, d.Bound, d.Unbound.IsZero()}, err
			},
			`GET /v1/apps/1/devices/old%2F1`, `[["a"],[{"type":"","value":"b"}],"old","2026-11-25T08:00:00Z",true]`,
		},
		{"set tags", `{"tags":["a","b"]}`, device(func(ctx context.Context, c *carillon.Client) (carillon.Device, error) {
			return c.SetTags(ctx, "1", "d", "a", "b")
		}), `PUT /v1/apps/1/devices/d/tags {"tags":["a","b"]}`, `["",null,["a","b"]]`},
		{"set no tags", `{}`, device(func(ctx context.Context, c *carillon.Client) (carillon.Device, error) {
			return c.SetTags(ctx, "1", "d")
		}), `PUT /v1/apps/1/devices/d/tags {"tags":[]}`, `["",null,null]`},
		{"add tags", `{"tags":["a"]}`, device(func(ctx context.Context, c *carillon.Client) (carillon.Device, error) {
			return c.AddTags(ctx, "1", "d", "a")
		}), `POST /v1/apps/1/devices/d/tags {"tags":["a"]}`, `["",null,["a"]]`},
		{"remove tags", `{}`, device(func(ctx context.Context, c *carillon.Client) (carillon.Device, error) {
			return c.RemoveTags(ctx, "1", "d", "a")
		}), `DELETE /v1/apps/1/devices/d/tags {"tags":["a"]}`, `["",null,null]`},
		{"remove no tags, which is not all", `{}`, device(func(ctx context.Context, c *carillon.Client) (carillon.Device, error) {
			return c.RemoveTags(ctx, "1", "d")
		}), `DELETE /v1/apps/1/devices/d/tags {"tags":[]}`, `["",null,null]`},
		{"set aliases", `{"aliases":[{"type":"uid","value":"42"}]}`, device(func(ctx context.Context, c *carillon.Client) (carillon.Device, error) {
			return c.SetAliases(ctx, "1", "d", uid, carillon.Alias{Value: "bob"})
		}), `PUT /v1/apps/1/devices/d/aliases {"aliases":[{"type":"uid","value":"42"},{"type":"","value":"bob"}]}`, `["",[{"type":"uid","value":"42"}],null]`},
		{"add aliases", `{}`, device(func(ctx context.Context, c *carillon.Client) (carillon.Device, error) {
			return c.AddAliases(ctx, "1", "d", uid)
		}), `POST /v1/apps/1/devices/d/aliases {"aliases":[{"type":"uid","value":"42"}]}`, `["",null,null]`},
		{"remove no aliases, which is not all", `{}`, device(func(ctx context.Context, c *carillon.Client) (carillon.Device, error) {
			return c.RemoveAliases(ctx, "1", "d")
		}), `DELETE /v1/apps/1/devices/d/aliases {"aliases":[]}`, `["",null,null]`},
		{"clear aliases", `{}`, device(func(ctx context.Context, c *carillon.Client) (carillon.Device, error) {
			return c.ClearAliases(ctx, "1", "d")
		}), `DELETE /v1/apps/1/devices/d/aliases`, `["",null,null]`},
		{"log in", `{"account":"u"}`, device(func(ctx context.Context, c *carillon.Client) (carillon.Device, error) {
			return c.SetAccount(ctx, "1", "d", "u")
		}), `PUT /v1/apps/1/devices/d/account {"account":"u"}`, `["u",null,null]`},
		{"log out", `{}`, device(func(ctx context.Context, c *carillon.Client) (carillon.Device, error) {
			return c.ClearAccount(ctx, "1", "d")
		}), `DELETE /v1/apps/1/devices/d/account`, `["",null,null]`},
		{
			"the devices of an alias", `{"devices":["d1","d2"]}`,
			func(ctx context.Context, c *carillon.Client) (any, error) { return c.AliasDevices(ctx, "1", uid) },
			`GET /v1/apps/1/aliases?type=uid&value=42`, `["d1","d2"]`,
		},
		{
			"list tags", `{"items":[{"tag":"a","devices":2}],"next":"a"}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				l, err := c.ListTags(ctx, "1", carillon.Page{Limit: 1})
				return []any{l.Items[0].Tag, l.Items[0].Devices, l.Next}, err
			},
			`GET /v1/apps/1/tags?limit=1`, `["a",2,"a"]`,
		},
		{
			"show a tag whose name needs escaping", `{"tag":"a/b"}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				tag, err := c.ShowTag(ctx, "1", "a/b")
				return tag.Tag, err
			},
			`GET /v1/apps/1/tags/a%2Fb`, `"a/b"`,
		},
		{
			"create a tag that would lead elsewhere", `{"tag":".."}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				tag, err := c.CreateTag(ctx, "1", "..")
				return tag.Tag, err
			},
			`PUT /v1/apps/1/tags/%2E%2E`, `".."`,
		},
		{
			"delete a tag", "",
			func(ctx context.Context, c *carillon.Client) (any, error) { return nil, c.DeleteTag(ctx, "1", "新") },
			`DELETE /v1/apps/1/tags/%E6%96%B0`, `null`,
		},
		{
			"tag devices", `{"changed":1,"unknown":["x"]}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				return c.TagDevices(ctx, "1", "vip", "d", "x")
			},
			`POST /v1/apps/1/tags/vip/devices {"devices":["d","x"]}`, `{"changed":1,"unknown":["x"]}`,
		},
		{
			"untag devices", `{"changed":1,"unknown":[]}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				return c.UntagDevices(ctx, "1", "vip", "d")
			},
			`DELETE /v1/apps/1/tags/vip/devices {"devices":["d"]}`, `{"changed":1,"unknown":[]}`,
		},
		{
			"upload a file", `{"file":"f","lines":2}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				f, err := c.UploadFile(ctx, "1", strings.NewReader("a\nb"))
				return []any{f.ID, f.Lines}, err
			},
			"POST /v1/apps/1/files a\nb", `["f",2]`,
		},
		{
			"show a file", `{"file":"f","bytes":9}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				f, err := c.ShowFile(ctx, "1", "f")
				return f.Bytes, err
			},
			`GET /v1/apps/1/files/f`, `9`,
		},
		{
			"import devices", `{"results":[{"device_id":"d","added":true},{"error":{"code":"invalid","field":"tags[1]","detail":"tags[1]: is long"}}]}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				r, err := c.ImportDevices(ctx, "1", []carillon.Import{
					{
						PreviousID: "old", Platform: "ios", Tags: []string{"vip"}, Aliases: []carillon.Alias{uid}, Test: &yes,
						Tokens: map[string]json.RawMessage{"hms": json.RawMessage(`"h"`)},
					}, {},
				})
				return []any{r[0].DeviceID, r[0].Added, r[0].Err, r[1].Err.Field, r[1].Err.Error()}, err
			},
			`POST /v1/apps/1/devices/import {"devices":[{"device_id":"old","platform":"ios","tags":["vip"],"aliases":[{"type":"uid","value":"42"}],"tokens":{"hms":"h"},"test":true},{"device_id":""}]}`,
			`["d",true,null,"tags[1]","carillon: invalid: tags[1]: is long"]`,
		},
		{
			"check the index", `{"devices":3,"wrong":1,"missing":0,"surplus":0,"repaired":true}`,
			func(ctx context.Context, c *carillon.Client) (any, error) { return c.CheckIndex(ctx, "shop", true) },
			`POST /v1/doctor/index {"app":"shop","repair":true}`, `{"devices":3,"wrong":1,"missing":0,"surplus":0,"repaired":true}`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, c := serve(t, func(int, *http.Request) (int, string) { return 200, tt.answer })
			result, err := tt.call(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			if got := <-f.asked; got != tt.asked {
				t.Errorf("asked %s, want %s", got, tt.asked)
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

// device returns call with the labels of the device that it answers.
func device(call func(context.Context, *carillon.Client) (carillon.Device, error)) func(context.Context, *carillon.Client) (any, error) {
	return func(ctx context.Context, c *carillon.Client) (any, error) {
		d, err := call(ctx, c)
		return []any{d.Account, d.Aliases, d.Tags}, err
	}
}

func TestUpload(t *testing.T) {
	t.Run("is not repeated, and goes as it is", func(t *testing.T) {
		types := make(chan string, 1)
		f, c := serve(t, func(_ int, r *http.Request) (int, string) {
			types <- r.Header.Get("Content-Type") + " " + strings.Join(r.TransferEncoding, "")
			return 503, `{"code":"unavailable"}`
		})
		_, err := c.UploadFile(t.Context(), "1", bytes.NewReader([]byte{0x1f, 0x8b}))
		var e *carillon.Error
		if !errors.As(err, &e) || e.Status != 503 || len(f.asked) != 1 {
			t.Errorf("got %v after %d calls, want a refusal after one", err, len(f.asked))
		}
		if got := <-types; got != "application/octet-stream chunked" {
			t.Errorf("sent as %q, want application/octet-stream as it comes", got)
		}
	})
	t.Run("of what cannot be read", func(t *testing.T) {
		broken := errors.New("the disk is gone")
		srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body) //nolint:errcheck // it ends early
		}))
		defer srv.Close()
		c := carillon.New(srv.URL, "key", nil)
		defer c.Close() //nolint:errcheck // it is nil
		in, out := io.Pipe()
		out.CloseWithError(broken) //nolint:errcheck // it is nil
		if _, err := c.UploadFile(t.Context(), "1", in); !errors.Is(err, broken) {
			t.Errorf("got %v, want %v", err, broken)
		}
	})
	t.Run("takes longer than other calls may", func(t *testing.T) {
		release := make(chan struct{})
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-release
			io.WriteString(w, `{"file":"f"}`) //nolint:errcheck // the client may have gone
		}))
		defer srv.Close()
		c := carillon.New(srv.URL, "key", &carillon.Options{Retries: -1, HTTPClient: &http.Client{Timeout: 50 * time.Millisecond}})
		if _, err := c.ShowFile(t.Context(), "1", "f"); err == nil {
			t.Fatal("a call without end was not ended")
		}
		time.AfterFunc(200*time.Millisecond, func() { close(release) }) // the time-out passes first
		if f, err := c.UploadFile(t.Context(), "1", strings.NewReader("a")); err != nil || f.ID != "f" {
			t.Errorf("got %+v, %v, want the file", f, err)
		}
		c.Close() //nolint:errcheck // it is nil
	})
}

func TestImportIsRepeated(t *testing.T) {
	f, c := serve(t, func(n int, _ *http.Request) (int, string) {
		if n == 1 {
			return 503, `{"code":"unavailable"}`
		}
		return 200, `{"results":[{"device_id":"d"}]}`
	})
	r, err := c.ImportDevices(t.Context(), "1", []carillon.Import{{PreviousID: "old"}})
	if err != nil || len(f.asked) != 2 || r[0].DeviceID != "d" {
		t.Errorf("got %+v, %v after %d calls, want the device after two", r, err, len(f.asked))
	}
	t.Run("but too few answers are an error", func(t *testing.T) {
		if r, err := c.ImportDevices(t.Context(), "1", make([]carillon.Import, 2)); err == nil {
			t.Errorf("got %+v", r)
		}
	})
}

func TestWhere(t *testing.T) {
	day := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, tt := range []struct {
		got  json.RawMessage
		want string
	}{
		{carillon.WhereTag("a<b"), `{"tag":"a<b"}`},
		{carillon.WhereAlias(carillon.Aliases{Type: "uid", Values: []string{"1"}}), `{"alias":{"type":"uid","values":["1"]}}`},
		{carillon.WhereAccount("a", "b"), `{"account":["a","b"]}`},
		{carillon.WhereAccount(), `{"account":[]}`},
		{carillon.WhereAttr("app_version", ">=", "1.10"), `{"attr":"app_version","op":">=","value":"1.10"}`},
		{carillon.WhereAttrIn("province", "浙江"), `{"attr":"province","in":["浙江"]}`},
		{carillon.WherePlatform("ios", "web"), `{"platform":["ios","web"]}`},
		{carillon.WhereActiveWithin(7 * 24 * time.Hour), `{"active_within":"168h0m0s"}`},
		{carillon.WhereBoundWithin(time.Hour), `{"bound_within":"1h0m0s"}`},
		{carillon.WhereUnboundWithin(time.Hour), `{"unbound_within":"1h0m0s"}`},
		{carillon.WhereRegistered(day, time.Time{}), `{"registered":{"after":"2026-01-02T03:04:05Z"}}`},
		{carillon.WhereRegistered(time.Time{}, day), `{"registered":{"before":"2026-01-02T03:04:05Z"}}`},
		{carillon.WhereTargeted("5"), `{"targeted":"5"}`},
		{carillon.WhereSent("5"), `{"sent":"5"}`},
		{carillon.WhereReached("5"), `{"reached":"5"}`},
		{carillon.WhereOpened("5"), `{"opened":"5"}`},
		{carillon.WhereHas("token.apns"), `{"has":"token.apns"}`},
		{carillon.WhereIs("online", false), `{"online":false}`},
		{
			carillon.And(carillon.WhereTag("a"), carillon.Not(carillon.Or(carillon.WhereTag("b"), json.RawMessage(`{"tag":"c"}`)))),
			`{"and":[{"tag":"a"},{"not":{"or":[{"tag":"b"},{"tag":"c"}]}}]}`,
		},
		{carillon.And(), `{"and":[]}`},
		{carillon.Or(carillon.WhereTag("a"), json.RawMessage(`{`)), `{"or":[{"tag":"a"},null]}`},
		{carillon.Not(nil), `{"not":null}`},
		{carillon.OfDevices(), `"devices"`},
		{carillon.OfAliases("uid"), `{"alias":"uid"}`},
	} {
		b, err := json.Marshal(carillon.Audience{Where: tt.got})
		if err != nil {
			t.Fatal(err)
		}
		var got struct{ Where any }
		var want any
		if err := errors.Join(json.Unmarshal(b, &got), json.Unmarshal([]byte(tt.want), &want)); err != nil {
			t.Fatal(err)
		}
		x, _ := json.Marshal(got.Where)
		y, _ := json.Marshal(want)
		if !bytes.Equal(x, y) {
			t.Errorf("got %s, want %s", x, y)
		}
	}
}

func TestPreviousProof(t *testing.T) {
	b, err := os.ReadFile("testdata/previous_proof.txt")
	if err != nil {
		t.Fatal(err)
	}
	vectors := 0
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if f[0] == "#" {
			continue
		}
		vectors++
		if got := carillon.PreviousProof(f[0], f[1]); got != f[2] {
			t.Errorf("proof of %s: got %s, want %s", f[1], got, f[2])
		}
	}
	if vectors != 3 {
		t.Errorf("%d vectors were read, want 3", vectors)
	}
}
