package carillon_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/carillonpush/carillon/sdk/carillon"
)

// answering stands for a running server.
func answering(status int, body string) *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
}

func ExampleClient_Send() {
	server := answering(202, `{"id": "187649984473770", "kind": "direct", "state": "accepted"}`)
	defer server.Close()

	c := carillon.New(server.URL, "API key", nil)
	defer c.Close()
	p, err := c.Send(context.Background(), "shop", carillon.PushRequest{
		Audience: carillon.Audience{Devices: []string{"5f0c8c0e9f6b1f2d4a7e3b5c6d8e9f01"}},
		Message:  carillon.Message{Notification: &carillon.Notification{Title: "开门", Body: "ready"}},
		Policy:   carillon.Policy{TTL: carillon.Duration(24 * time.Hour)},
	}, &carillon.SendOptions{IdempotencyKey: "order-42"}) // a repeat is not a second message
	fmt.Println(p.ID, p.State, err)
	// Output: 187649984473770 accepted <nil>
}

func ExampleClient_DryRun() {
	server := answering(200, `{"target": 10000, "online": 4100}`)
	defer server.Close()

	c := carillon.New(server.URL, "API key", nil)
	defer c.Close()
	n, err := c.DryRun(context.Background(), "shop", carillon.PushRequest{
		Audience: carillon.Audience{All: true},
		Message:  carillon.Message{Data: []byte(`{"refresh": true}`)},
	})
	fmt.Println(n.Target, n.Online, err)
	// Output: 10000 4100 <nil>
}

func ExampleError() {
	server := answering(400, `{"status": 400, "code": "invalid", "field": "policy.ttl", "detail": "is at least 1s"}`)
	defer server.Close()

	c := carillon.New(server.URL, "API key", nil)
	defer c.Close()
	_, err := c.CancelPush(context.Background(), "shop", "1")
	var e *carillon.Error
	if errors.As(err, &e) {
		fmt.Println(e.Code, e.Field)
	}
	// Output: invalid policy.ttl
}

// The app's server makes the proof, and the phone registers with it.
func ExamplePreviousProof() {
	fmt.Println(carillon.PreviousProof("key-1", "old-1"))
	// Output: ee6e34b5a73be4f80a2f70594b4bb8338c01bc6d1943a73dff0ae024134fb19b
}

func ExampleAnd() {
	where := carillon.And(
		carillon.WhereTag("vip"),
		carillon.Not(carillon.WhereAttr("app_version", "=", "2.0")),
		carillon.WhereActiveWithin(7*24*time.Hour),
	)
	server := answering(200, `{"target": 1200, "online": 410}`)
	defer server.Close()

	c := carillon.New(server.URL, "API key", nil)
	defer c.Close()
	n, err := c.DryRun(context.Background(), "shop", carillon.PushRequest{
		Audience: carillon.Audience{Where: where},
		Message:  carillon.Message{Notification: &carillon.Notification{Title: "开门"}},
	})
	fmt.Println(string(where))
	fmt.Println(n.Target, n.Online, err)
	// Output:
	// {"and":[{"tag":"vip"},{"not":{"attr":"app_version","op":"=","value":"2.0"}},{"active_within":"168h0m0s"}]}
	// 1200 410 <nil>
}
