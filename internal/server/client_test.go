package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/carillonpush/carillon/sdk/device"
)

// A client speaks native REST as an administrator.
type client struct{ base, token string }

// status is an answer that is no success.
type status struct {
	code int
	body string
}

func (s *status) Error() string { return fmt.Sprintf("%d %s", s.code, s.body) }

var httpClient = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}

// call makes a request with a JSON body and decodes a success into into.
func (c client) call(ctx context.Context, method, path string, header map[string]string, body, into any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+c.token)
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := httpClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return &status{resp.StatusCode, string(answer)}
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(answer, into)
}

// card is what creating an app answers, as far as these tests need it.
type card struct {
	App    struct{ ID, Name string }
	Device struct {
		AppKey    string `json:"app_key"`
		AppSecret string `json:"app_secret"`
	}
	Native struct {
		APIKey string `json:"api_key"`
	}
}

// createApp makes an app that takes registrations as fast as a test makes them.
func (c client) createApp(t *testing.T, name string) card {
	t.Helper()
	return c.createAppWith(t, name, "", nil)
}

// createAppWith is createApp with a time zone, "" for the default, and settings of its own.
func (c client) createAppWith(t *testing.T, name, zone string, settings map[string]string) card {
	t.Helper()
	all := map[string]string{"device.registrations_per_minute": "0"}
	maps.Copy(all, settings)
	body := map[string]any{"name": name, "settings": all}
	if zone != "" {
		body["time_zone"] = zone
	}
	var made card
	if err := c.call(t.Context(), "POST", "/v1/apps", nil, body, &made); err != nil {
		t.Fatal(err)
	}
	return made
}

// registerAll registers n devices of an app, several at a time.
func (c client) registerAll(t *testing.T, app card, n int) []device.Identity {
	t.Helper()
	const atOnce = 8
	ids := make([]device.Identity, n)
	var wg sync.WaitGroup
	for w := range atOnce {
		wg.Go(func() {
			for i := w; i < n; i += atOnce {
				id, err := device.Register(t.Context(), c.base, device.Registration{
					AppKey: app.Device.AppKey, AppSecret: app.Device.AppSecret, Platform: "android", InstallID: fmt.Sprintf("install-of-device-%d", i),
				}, nil)
				if err != nil {
					t.Errorf("register: %v", err)
					return
				}
				ids[i] = id
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return ids
}

// push sends a push under an idempotency key and returns its id.
func (c client) push(ctx context.Context, app, key string, body any) (string, error) {
	var answer struct{ ID string }
	header := map[string]string{}
	if key != "" {
		header["Idempotency-Key"] = key
	}
	err := c.call(ctx, "POST", "/v1/apps/"+app+"/pushes", header, body, &answer)
	return answer.ID, err
}

func (c client) cancel(ctx context.Context, app, id string) error {
	return c.call(ctx, "POST", "/v1/apps/"+app+"/pushes/"+id+"/cancel", nil, map[string]any{}, nil)
}
