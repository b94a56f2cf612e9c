package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// counted is what the receipts of one broadcast took: each device says that it was sent it and that it has it.
type counted struct {
	What     string `json:"what"`
	Devices  int    `json:"devices"`
	Receipts int    `json:"receipts"`

	Commit float64 `json:"commit_seconds"` // from the first receipt to the commit of the last
	Fold   float64 `json:"fold_seconds"`   // then: sets, trails, totals, batches
	Rate   float64 `json:"receipts_per_second"`

	Bytes  float64 `json:"bytes_per_device"` // by which the record grew, with the log of receipts that is used again
	CPU    float64 `json:"cpu_seconds_per_million_receipts"`
	Others float64 `json:"processors_busy_with_others"`
}

// measureReceipts has all devices acknowledge a broadcast: with commits that nobody is told of, with the rooms that count, and
// with a webhook that wants to be told. Then the webhook is told.
func measureReceipts(ctx context.Context, o options, p *place, on *measured) error {
	for _, c := range []struct {
		what          string
		webhook, deaf bool
	}{
		{what: "counted"}, {what: "counted, and a webhook wants all", webhook: true}, {what: "commits alone", deaf: true},
	} {
		one := counted{What: c.what, Devices: o.paced}
		before, err := p.size()
		if err != nil {
			return err
		}
		h, err := open(ctx, p, &houseOptions{online: o.paced})
		if err != nil {
			return err
		}
		var receiver *receiver
		if c.webhook {
			if receiver, err = receive(ctx, h); err != nil {
				return closed(h, err)
			}
		}
		h.runs(ctx, h.dispatcher.Run)
		if err := h.acknowledged(ctx, &one, c.deaf); err != nil {
			return closed(h, err)
		}
		if c.webhook {
			if on.Webhook, err = h.tell(ctx, receiver, one.Receipts); err != nil {
				return closed(h, err)
			}
		}
		if err := h.close(); err != nil {
			return err
		}
		now, err := p.size()
		if err != nil {
			return err
		}
		one.Bytes = round(float64(now-before)/float64(o.paced), 1)
		on.Receipts = append(on.Receipts, one)
	}
	return nil
}

// posters is how many goroutines post receipts: those of connections are many more, on no more processors.
const posters = 4

// acknowledged has all devices acknowledge one broadcast, and folds.
func (h *house) acknowledged(ctx context.Context, c *counted, deaf bool) error {
	accepted, err := h.dispatcher.Accept(ctx, request(online, everybody))
	if err != nil {
		return err
	}
	if err := h.starts.await(ctx, accepted.ID); err != nil {
		return err
	}
	if _, err := h.gate.take(accepted.ID, c.Devices); err != nil {
		return err
	}
	if err := h.ledger.Fold(ctx); err != nil { // what came before is not to be counted here
		return err
	}
	h.deaf.Store(deaf)
	p, err := h.store.Find(ctx, online, accepted.ID)
	if err != nil {
		return err
	}
	d := &push.Delivery{ID: p.ID, App: p.App, Kind: p.Kind, Expires: p.Expires}
	c.Receipts = 2 * c.Devices
	h.receipts.Store(0)
	n, began := listen(), time.Now()
	var group sync.WaitGroup
	for w := range posters {
		group.Go(func() {
			for o := push.Ordinal(w); int(o) < c.Devices; o += posters {
				h.store.Post(d.Receipt(o, push.MarkSent), d.Receipt(o, push.MarkDelivered))
			}
		})
	}
	group.Wait()
	// A commit that is waited for has all before it behind it.
	if err := h.store.Receive(ctx, d.Receipt(0, push.MarkDelivered)); err != nil {
		return err
	}
	c.Commit = round(time.Since(began).Seconds(), 3)
	if got := h.receipts.Load(); got != int64(c.Receipts)+1 {
		return fmt.Errorf("%d receipts were committed, not %d", got, c.Receipts+1)
	}
	total := time.Since(began)
	if !deaf {
		if err := h.ledger.Fold(ctx); err != nil {
			return err
		}
		total = time.Since(began)
		c.Fold = round(total.Seconds()-c.Commit, 3)
	}
	c.Rate = round(float64(c.Receipts)/total.Seconds(), 0)
	var cpu float64
	c.Others, cpu = n.others()
	c.CPU = round(cpu/float64(c.Receipts)*1e6, 2)
	if deaf {
		return nil
	}
	return h.settled(ctx, []push.ID{p.ID}, c.Devices)
}
