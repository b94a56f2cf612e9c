package carillon_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/carillonpush/carillon/sdk/carillon"
)

// What encoding/json would put U+FFFD into is not sent at all.
func TestTextThatIsNotUTF8IsNotSent(t *testing.T) {
	asked := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.Write([]byte("{}")) //nolint:errcheck // the client may have gone
	}))
	defer srv.Close()
	c := carillon.New(srv.URL, "key", nil)
	defer c.Close()
	const bad = "a\xff"
	at := time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name, where string
		call        func(context.Context) error
	}{
		{"a tag", "Tags[1]", func(ctx context.Context) error { _, err := c.AddTags(ctx, "1", "d", "a", bad); return err }},
		{"an alias", "Aliases[0].Value", func(ctx context.Context) error {
			_, err := c.SetAliases(ctx, "1", "d", carillon.Alias{Value: bad})
			return err
		}},
		{"an account", "Account", func(ctx context.Context) error { _, err := c.SetAccount(ctx, "1", "d", bad); return err }},
		{"an import", "Devices[1].Attributes[city]", func(ctx context.Context) error {
			_, err := c.ImportDevices(ctx, "1", []carillon.Import{{PreviousID: "a"}, {PreviousID: "b", Attributes: map[string]string{"city": bad}}})
			return err
		}},
		{"a name of an attribute", "Attributes", func(ctx context.Context) error {
			_, err := c.PatchDevice(ctx, "1", "d", carillon.DevicePatch{Attributes: map[string]string{bad: "x"}})
			return err
		}},
		{"a phone", "Phone", func(ctx context.Context) error {
			phone := bad
			_, err := c.PatchDevice(ctx, "1", "d", carillon.DevicePatch{Phone: &phone})
			return err
		}},
		{"a title", "Message.Notification.Title", func(ctx context.Context) error {
			_, err := c.Send(ctx, "1", carillon.PushRequest{
				Audience: carillon.Audience{Devices: []string{"d"}}, Message: carillon.Message{Notification: &carillon.Notification{Title: bad}},
				Policy: carillon.Policy{StartAt: &at},
			}, nil)
			return err
		}},
		{"anything of a call", "[x][0]", func(ctx context.Context) error {
			return c.Call(ctx, http.MethodPost, "/v1/x", map[string]any{"x": []any{bad, nil}}, nil, nil)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.call(t.Context())
			if err == nil || !strings.Contains(err.Error(), "text is not UTF-8: "+tt.where) || strings.Contains(err.Error(), bad) {
				t.Errorf("got %v, want that the text of %s is not UTF-8, without it", err, tt.where)
			}
		})
	}
	if asked != 0 {
		t.Errorf("%d requests were made, want none", asked)
	}
	// An expression is JSON by itself; what cannot be in one becomes null, which no server takes.
	for got, want := range map[string]string{
		string(carillon.WhereTag(bad)):                                           `null`,
		string(carillon.And(carillon.WhereTag("a"), carillon.WhereAccount(bad))): `{"and":[{"tag":"a"},null]}`,
		string(carillon.WhereTag("\ufffd")):                                      "{\"tag\":\"\ufffd\"}",
		string(carillon.Not([]byte(`{"tag":"\ufffd"}`))):                         `{"not":{"tag":"\ufffd"}}`,
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
