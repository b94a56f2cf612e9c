package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/carillonpush/carillon/sdk/carillon"
	"github.com/carillonpush/carillon/sdk/umeng"
)

// A sendFunc sends the messages from number from on, n of them, and returns when all are accepted.
type sendFunc func(ctx context.Context, from, n int) error

// sender returns how messages are sent, and how many a call.
func (b *bench) sender(many manyFlags, size int) (sendFunc, int, error) {
	switch {
	case many.Via == "umeng":
		return b.byUmeng(size), 1, nil
	case many.Batch == 1:
		return b.bySingle(size), 1, nil
	}
	return b.byBatch(size), many.Batch, nil
}

// target returns the device that message i is for.
func (b *bench) target(i int) string { return b.ids[i%len(b.ids)].DeviceID }

func (b *bench) request(i, size int) carillon.PushRequest {
	return carillon.PushRequest{
		Audience: carillon.Audience{Devices: []string{b.target(i)}}, Message: benchMessage(size, time.Now()),
	}
}

func (b *bench) bySingle(size int) sendFunc {
	return func(ctx context.Context, from, _ int) error {
		_, err := b.node.api.Send(ctx, b.app.id, b.request(from, size), nil)
		return err
	}
}

func (b *bench) byBatch(size int) sendFunc {
	return func(ctx context.Context, from, n int) error {
		requests := make([]carillon.PushRequest, n)
		for i := range requests {
			requests[i] = b.request(from+i, size)
		}
		results, err := b.node.api.SendBatch(ctx, b.app.id, requests, nil)
		if err != nil {
			return err
		}
		for _, r := range results {
			if r.Err != nil {
				return r.Err
			}
		}
		return nil
	}
}

// byUmeng sends signed unicasts, as an Umeng sender would.
func (b *bench) byUmeng(size int) sendFunc {
	key := b.app.card.Umeng.Android
	client := umeng.NewClient(key.Appkey, key.AppMasterSecret, &umeng.Options{
		BaseURL: b.node.server, Retries: -1,
		HTTPClient: &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConns: maxSenders, MaxIdleConnsPerHost: maxSenders}},
	})
	size = min(size, umeng.MaxAndroidPayload-200)
	return func(ctx context.Context, from, _ int) error {
		p := umeng.Notification("bench", "bench").With("sent", fmt.Sprint(time.Now().UnixNano())).With("pad", padding(size))
		p.Body.Ticker = "bench"
		_, err := client.Send(ctx, umeng.Unicast(b.target(from), p))
		return err
	}
}
