package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// What devices say of themselves, so that audiences of all sizes can be asked for: bucket is drawn, half and tenth follow from
// the ordinal, and of a thousand devices that follow on each other every one has another thousandth.
const (
	attrBucket     = "bucket"
	attrHalf       = "half"
	attrTenth      = "tenth"
	attrThousandth = "thousandth"

	buckets = 64
)

// perChange is how many devices are registered in one commit.
const perChange = 4000

// fill makes the apps, and registers the devices of both: those of one are away, those of the other online.
func fill(ctx context.Context, o options, p *place) error {
	h, err := open(ctx, p, nil)
	if err != nil {
		return err
	}
	err = func() error {
		for i, n := range []int{away: o.devices, online: o.paced} {
			if n == 0 {
				continue
			}
			app := push.AppID(i)
			card, err := h.registry.CreateApp(ctx, push.App{Name: fmt.Sprint("app-", i)}, push.Credentials{})
			if err != nil {
				return err
			}
			if card.App.ID != app {
				return fmt.Errorf("the app has id %d, not %d", card.App.ID, app)
			}
			if err := register(ctx, h, app, n, o.seed); err != nil {
				return err
			}
		}
		return nil
	}()
	return closed(h, err)
}

// register puts devices into the record, as registering does; the index reads them at the next start.
func register(ctx context.Context, h *house, app push.AppID, n int, seed uint64) error {
	firsts := make(chan int)
	failed := make(chan error, 2)
	var group sync.WaitGroup
	for range cap(failed) {
		group.Go(func() {
			for first := range firsts {
				err := h.store.ChangeDevices(ctx, push.DeviceChange{App: app, What: "register", Add: devices(app, first, min(first+perChange, n), seed)})
				if err != nil {
					failed <- err
					return
				}
			}
		})
	}
	var err error
	for first := 0; first < n && err == nil; first += perChange {
		select {
		case firsts <- first:
		case err = <-failed:
		}
	}
	close(firsts)
	group.Wait()
	select {
	case err = <-failed:
	default:
	}
	return err
}

// devices makes up the devices from one ordinal to another.
func devices(app push.AppID, from, to int, seed uint64) []push.DeviceRow {
	r := rand.New(rand.NewPCG(seed, uint64(app)<<32|uint64(from)))
	now := time.Now().Truncate(time.Second)
	rows := make([]push.DeviceRow, 0, to-from)
	for i := from; i < to; i++ {
		row := push.DeviceRow{Device: push.Device{
			App: app, Platform: push.Android, Times: push.Times{Registered: now, Changed: now},
			Ref: push.Ref{App: app, Ordinal: push.Ordinal(i), Generation: 1, Platform: push.Android},
			Attributes: map[string]string{
				attrBucket: strconv.Itoa(r.IntN(buckets)), attrHalf: strconv.Itoa(i % 2), attrTenth: strconv.Itoa(i % 10),
				attrThousandth: strconv.Itoa(i % 1000),
			},
		}}
		binary.BigEndian.PutUint64(row.Install[:], uint64(i)+1)
		rows = append(rows, row)
	}
	return rows
}

func attr(name string, values ...string) push.Where {
	op := push.OpIs
	if len(values) > 1 {
		op = push.OpIn
	}
	return push.Is(push.WhereAttr{Name: name, Op: op, Values: values})
}

// where is the audience of an expression.
func where(w push.Where) push.Audience { return push.Audience{Where: &w} }

var everybody = push.Audience{All: true}

// request asks for a notification of the usual size to be sent.
func request(app push.AppID, a push.Audience) push.Request {
	return push.Request{App: app, Audience: a, Origin: "rest", Message: push.Message{Notification: &push.Notification{Text: push.Text{
		Title: "Your order has left the house",
		Body:  "It comes with the afternoon's delivery, between two and four. If nobody is at home the neighbours get it; call us if that does not suit you.",
	}}}}
}
