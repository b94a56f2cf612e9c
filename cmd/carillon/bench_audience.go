package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/carillonpush/carillon/sdk/carillon"
	"github.com/carillonpush/carillon/sdk/device"
)

type benchAudienceCmd struct {
	benchFlags
	Connect int `name:"connect" default:"2000" placeholder:"N" help:"Devices of the base that connect, and must get the last push or not."`
	Asks    int `name:"asks" default:"50" placeholder:"N" help:"Dry runs of each expression."`
}

// Help returns what --help says below the flags.
func (benchAudienceCmd) Help() string {
	return `Imports a base of devices, counts three expressions by dry run, then has some devices of the base connect, sends to the
last expression and checks that exactly those of them got it that are in it.

Example:

    carillon bench audience --devices 100000 --connect 2000`
}

// Run measures imports and audiences.
func (c *benchAudienceCmd) Run(ctx context.Context, s *streams) error {
	if c.Connect < 1 || c.Connect > c.Devices || c.Asks < 1 {
		return usage("--connect is 1 to --devices, and --asks at least 1")
	}
	base := c.Devices
	c.Devices = c.Connect // of which each has a socket
	return c.measure(ctx, s, sendFlags{Messages: 1, Size: 256}, "audience", func(ctx context.Context, b *bench) error {
		if err := b.importBase(ctx, base); err != nil {
			return err
		}
		if err := b.ask(ctx, c.Asks); err != nil {
			return err
		}
		if err := b.register(ctx, func(i int) device.Registration { return b.phone(i, c.Connect, base) }); err != nil {
			return err
		}
		for _, id := range b.ids {
			if !id.Adopted {
				return errors.New("a phone did not become the imported device")
			}
		}
		if err := b.connect(ctx); err != nil {
			return err
		}
		return b.sendToExpression(ctx, base)
	})
}

// A baseDevice is one device of the base that is imported: all of it follows from its number.
type baseDevice int

var (
	baseProvinces = []string{"浙江", "上海", "北京", "广东", "江苏", "四川", "湖北", "福建"}
	baseBrands    = []string{"huawei", "xiaomi", "oppo", "vivo", "honor"}
)

func (d baseDevice) id() string       { return "old-" + strconv.Itoa(int(d)) }
func (d baseDevice) province() string { return baseProvinces[int(d)*7%len(baseProvinces)] }
func (d baseDevice) brand() string    { return baseBrands[int(d)*3%len(baseBrands)] }
func (d baseDevice) minor() int       { return int(d) * 11 % 13 } // of version 1
func (d baseDevice) vip() bool        { return int(d)%17 == 0 }
func (d baseDevice) platform() string { return []string{"android", "android", "ios"}[int(d)%3] }

func (d baseDevice) row() carillon.Import {
	row := carillon.Import{
		PreviousID: d.id(), Platform: d.platform(),
		Attributes: map[string]string{"province": d.province(), "brand": d.brand(), "app_version": fmt.Sprintf("1.%d.0", d.minor())},
	}
	if d.vip() {
		row.Tags = []string{"vip"}
	}
	return row
}

// A baseQuestion is an expression over the base, and which of its devices it is for.
type baseQuestion struct {
	name, where string
	holds       func(baseDevice) bool
}

// baseQuestions are asked in this order; the last one is sent to.
var baseQuestions = []baseQuestion{
	{"one tag", `{"tag": "vip"}`, baseDevice.vip},
	{"two provinces, not vip", `{"and": [{"attr": "province", "in": ["浙江", "上海"]}, {"not": {"tag": "vip"}}]}`, func(d baseDevice) bool {
		return (d.province() == "浙江" || d.province() == "上海") && !d.vip()
	}},
	{"old versions on Android, vip or of a brand", `{"and": [{"platform": ["android"]}, {"attr": "app_version", "op": "<", "value": "1.10"},
		{"or": [{"tag": "vip"}, {"attr": "brand", "op": "=", "value": "huawei"}]}]}`, func(d baseDevice) bool {
		return d.platform() == "android" && d.minor() < 10 && (d.vip() || d.brand() == "huawei")
	}},
}

// importBase imports n devices, a thousand a request.
func (b *bench) importBase(ctx context.Context, n int) error {
	const batch, streams = 1000, 4
	var next, done atomic.Int64
	stop := b.show.watch("importing", func() (int64, int64) { return done.Load(), int64(n) })
	defer stop()
	began := time.Now()
	work, ctx := errgroup.WithContext(ctx)
	for range streams {
		work.Go(func() error {
			for {
				from := int(next.Add(batch)) - batch
				if from >= n {
					return nil
				}
				rows := make([]carillon.Import, 0, batch)
				for i := from; i < min(from+batch, n); i++ {
					rows = append(rows, baseDevice(i).row())
				}
				results, err := b.node.api.ImportDevices(ctx, b.app.id, rows)
				if err != nil {
					return err
				}
				for i, r := range results {
					if r.Err != nil {
						return fmt.Errorf("device %s was not imported: %w", rows[i].PreviousID, r.Err)
					}
				}
				done.Add(int64(len(rows)))
			}
		})
	}
	if err := work.Wait(); err != nil {
		return err
	}
	b.result.Import = rateOf(int64(n), time.Since(began))
	return nil
}

// ask counts each expression by dry run, and checks the count.
func (b *bench) ask(ctx context.Context, asks int) error {
	n := int(b.result.Import.Count)
	for _, q := range baseQuestions {
		want := 0
		for i := range n {
			if q.holds(baseDevice(i)) {
				want++
			}
		}
		var took device.Histogram
		for range asks {
			start := time.Now()
			count, err := b.node.api.DryRun(ctx, b.app.id, toExpression(q))
			if err != nil {
				return err
			}
			took.Record(time.Since(start))
			if count.Target != want {
				return fmt.Errorf("%s: counted %d of %d devices, and they are %d", q.name, count.Target, n, want)
			}
		}
		b.result.Asked = append(b.result.Asked, asked{Name: q.name, Target: want, Latency: percentiles(&took)})
	}
	return nil
}

func toExpression(q baseQuestion) carillon.PushRequest {
	return carillon.PushRequest{Audience: carillon.Audience{Where: []byte(q.where)}, Message: benchMessage(256, time.Now())}
}

// adopted returns which device of a base of n the ith of some that connect is: they are spread over it.
func adopted(i, some, n int) baseDevice { return baseDevice(i*n/some + i%(n/some)) }

// phone returns what the ith of some phones says of itself, after the move of a base of n: the id that it had, and the
// proof of it that its app's server gave it.
func (b *bench) phone(i, some, n int) device.Registration {
	d := adopted(i, some, n)
	r := b.fresh(i)
	r.Platform, r.PreviousID, r.PreviousProof = d.platform(), d.id(), carillon.PreviousProof(b.app.card.Native.APIKey, d.id())
	return r
}

// sendToExpression sends to the last expression, and checks that of the devices that are connected those got it that are
// in it, and no other.
func (b *bench) sendToExpression(ctx context.Context, n int) error {
	q := baseQuestions[len(baseQuestions)-1]
	target, want := 0, 0
	for i := range n {
		if q.holds(baseDevice(i)) {
			target++
		}
	}
	for i := range b.ids {
		if q.holds(adopted(i, len(b.ids), n)) {
			want++
		}
	}
	began := time.Now()
	p, err := b.node.api.Send(ctx, b.app.id, toExpression(q), nil)
	if err != nil {
		return err
	}
	if err := b.receive(ctx, began, int64(want)); err != nil {
		return err
	}
	if err := b.settle(ctx, p.ID, target, want); err != nil {
		return err
	}
	// Whoever got it and is not in the expression would be in this count.
	where := fmt.Sprintf(`{"and": [{"reached": %q}, {"not": %s}]}`, p.ID, q.where)
	others, err := b.node.api.DryRun(ctx, b.app.id, toExpression(baseQuestion{where: where}))
	if err != nil {
		return err
	}
	if got := b.fleet.Stats(); others.Target > 0 || got.Messages-got.Duplicates > int64(want) {
		return errors.New("devices got the push that are not in the expression")
	}
	b.result.Matching = int64(want)
	return nil
}

// settle waits until the report says that a push has gone through its target, which has so many devices, and that as many of
// them have got it as are wanted: those that are connected. Until then a copy that should not be may be under way.
func (b *bench) settle(ctx context.Context, id string, target, want int) error {
	ctx, cancel := context.WithTimeout(ctx, b.flags.Duration)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		r, err := b.node.api.ShowPush(ctx, b.app.id, id)
		if err != nil {
			return err
		}
		done := r.State == "done"
		says := fmt.Errorf("the report says %s, target %d, sent %d, delivered %d; want done, %d, %d, %d",
			r.State, r.Target, r.Sent, r.Delivered, target, want, want)
		switch {
		case done && r.Target != target, r.Sent > want, r.Delivered > want:
			return says
		case done && r.Sent == want && r.Delivered == want:
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), says)
		case <-tick.C:
		}
	}
}
