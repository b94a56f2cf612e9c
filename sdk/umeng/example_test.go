package umeng_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"time"

	"github.com/carillonpush/carillon/sdk/umeng"
)

// example is a server that answers like the service.
func example() *httptest.Server {
	return httptest.NewServer(fakeHandler(func(path string, body []byte) (int, []byte) {
		if path == umeng.PathStatus {
			return 200, umeng.Status{TaskID: "2002", Status: umeng.Finished, TotalCount: 3, SentCount: 2}.Envelope()
		}
		r, err := umeng.DecodeSend(body)
		if err == nil {
			err = r.Validate(umeng.Android, time.Now(), nil)
		}
		if e, ok := errors.AsType[*umeng.Error](err); ok {
			return e.Status, e.Envelope()
		}
		if r.IsTask() {
			return 200, umeng.SendResult{TaskID: "2002"}.Envelope()
		}
		return 200, umeng.SendResult{MsgID: "1001"}.Envelope()
	}))
}

func ExampleClient_Send() {
	srv := example()
	defer srv.Close()
	client := umeng.NewClient(testKey, testSecret, &umeng.Options{BaseURL: srv.URL})

	note := umeng.Notification("Order 42", "Your parcel is on its way").OpenURL("https://shop.example/orders/42")
	res, err := client.Send(context.Background(), umeng.Unicast("AexampleToken_-01234567890123456789abcdefghi", note))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("message", res.MsgID)
	// Output: message 1001
}

func ExampleClient_Status() {
	srv := example()
	defer srv.Close()
	client := umeng.NewClient(testKey, testSecret, &umeng.Options{BaseURL: srv.URL})
	ctx := context.Background()

	req := umeng.Broadcast(umeng.Notification("Version 2", "What is new"))
	req.Policy = &umeng.Policy{OutBizNo: "release-2", ExpireTime: umeng.FormatTime(time.Now().Add(24 * time.Hour))}
	res, err := client.Send(ctx, req)
	if err != nil {
		fmt.Println(err)
		return
	}
	st, err := client.Status(ctx, res.TaskID)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("task %s %v: %d of %d\n", st.TaskID, st.Status, st.SentCount, st.TotalCount)
	// Output: task 2002 finished: 2 of 3
}

func ExampleCode() {
	srv := example()
	defer srv.Close()
	client := umeng.NewClient(testKey, testSecret, &umeng.Options{BaseURL: srv.URL})

	_, err := client.Send(context.Background(), umeng.Listcast(nil, umeng.Notification("Nobody", "listens")))
	fmt.Println(errors.Is(err, umeng.CodeNoDeviceTokens))
	fmt.Println(err)
	// Output:
	// true
	// umeng: 1015 device_tokens: unicast or listcast without device_tokens
}

func ExampleSendRequest_Validate() {
	req := umeng.Unicast("AexampleToken_-01234567890123456789abcdefghi", umeng.Notification("", "no title"))
	fmt.Println(req.Validate(umeng.Android, time.Now(), &umeng.ValidateOptions{OptionalTicker: true}))
	// Output: umeng: 1009 payload.body.title: notification without title
}

func ExampleVerify() {
	body := []byte(`{"appkey":"0123456789abcdef01234567","timestamp":"1700000000","task_id":"us12345170000000000000"}`)
	// The client was configured with http://msg.umeng.com; the request came through a proxy.
	urls := umeng.CandidateURLs(umeng.Received{Host: "10.0.0.7:8080", Target: "/api/status?sign=6e3c1507fb39bcb41e7d35daffc758d0"})
	fmt.Println(umeng.Verify("6e3c1507fb39bcb41e7d35daffc758d0", "abcdefghijklmnopqrstuvwxyz012345", body, urls))
	// Output: true
}
