package gateway

import (
	"errors"
	"slices"
	"time"

	"github.com/carillonpush/carillon/internal/mqtt"
	"github.com/carillonpush/carillon/internal/push"
)

// How long the reader of the record waits after a failure before it asks again.
const drainRetry = time.Second

// startDrain begins to read the record for a device. The session has counted on it, and c.mu is held. The goroutine lives
// until the connection has caught up, or has no room.
func (c *conn) startDrain() {
	c.g.wg.Add(1)
	go func() {
		defer c.g.wg.Done()
		c.drain()
	}()
}

func (c *conn) drain() {
	// What the record returns and cannot be written. It is not asked for again, or the same page would come forever.
	var passed []push.ID
	for {
		c.mu.Lock()
		limit, under := 0, []push.ID(nil)
		if c.s.phase == open {
			limit, under = c.s.send.page(), c.s.send.ids()
		}
		c.unlock()
		if limit == 0 {
			return
		}
		page, err := c.owed(limit, append(under, passed...))
		if err != nil {
			if c.g.ctx.Err() != nil {
				return
			}
			if errors.Is(err, push.Unauthenticated) || errors.Is(err, push.Denied) {
				// It was revoked between its proof and its place among those whom Disconnect finds.
				c.g.leave(c)
				c.end(mqtt.AdministrativeAction)
				return
			}
			c.g.opt.Log.Warn("inbox not read", "app", c.device.App, "err", err)
			c.pause(drainRetry)
			continue // the session still counts on this goroutine
		}
		now := c.g.opt.Now()
		c.mu.Lock()
		for _, d := range page {
			if c.s.phase != open {
				break
			}
			if expired(d, now) {
				passed = append(passed, d.ID)
				continue
			}
			v, packet := c.s.send.take(now, d)
			if v == waits {
				break // or what is newer would overtake it
			}
			c.dispatch(v, packet, d, nil)
		}
		c.arm()
		over := len(page) < limit && c.s.send.paged()
		c.unlock()
		if over {
			return
		}
	}
}

// owed reads a page of the record.
func (c *conn) owed(limit int, without []push.ID) ([]*push.Delivery, error) {
	select {
	case c.g.drains <- struct{}{}:
		defer func() { <-c.g.drains }()
	case <-c.g.ctx.Done():
		return nil, c.g.ctx.Err()
	}
	return c.g.house.Owed(c.g.ctx, c.device, limit, func(id push.ID) bool {
		return slices.Contains(without, id) || c.g.gate.holds(c.device.App, id, c.device.Ordinal)
	})
}

func expired(d *push.Delivery, now time.Time) bool {
	return !d.Expires.IsZero() && !now.Before(d.Expires)
}
