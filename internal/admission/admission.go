// Package admission decides whether a copy of a push may leave for a device now: quiet hours, networks, and caps of how many
// notifications a device gets a day. It is asked before every copy leaves, so it decides in memory.
//
// # Caps
//
// A notification counts once for a push and device, on the day on which it was delivered. Admit reserves: from then on the
// copy counts, so that no cap is exceeded however many are under way. Counted, which sees every committed receipt, turns a
// reservation into a count, or gives it back if the push was dropped. Counts are sets by level, stored by Save with the
// sequence up to which the receipt log is in them; what is later is counted again from the log by Load.
package admission

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// Options changes how a Gate works. The zero Options is the default.
type Options struct {
	Now func() time.Time // nil means time.Now
	Log *slog.Logger     // nil discards
}

// A Gate is safe for concurrent use. Load it before anything is admitted.
type Gate struct {
	devices Devices
	store   Store
	opts    Options

	houses houses
	zones  zones

	saving sync.Mutex // one Save at a time

	// order guards seq and fresh: Counted, and Save while it looks at what is counted, exclude each other. It is locked before
	// the mutex of a house.
	order sync.Mutex
	seq   int64 // of the last row that Counted saw
	fresh bool  // something that matters to caps was seen since the last Save
}

// New returns a Gate. opts may be nil.
func New(devices Devices, store Store, opts *Options) *Gate {
	g := &Gate{devices: devices, store: store}
	if opts != nil {
		g.opts = *opts
	}
	if g.opts.Now == nil {
		g.opts.Now = time.Now
	}
	if g.opts.Log == nil {
		g.opts.Log = slog.New(slog.DiscardHandler)
	}
	return g
}

// Idle reports whether Admit lets everything of r through, whatever the device.
func (g *Gate) Idle(app push.AppID, r push.Rules) bool {
	if r.Network != "" {
		return false
	}
	if r.Silent {
		return true
	}
	_, l := g.law(app)
	return l == nil || l.idle(r)
}

// Admit decides on one push and device at now. What it lets through counts under the caps from then on, once a push; what it
// holds is remembered until Released yields the device.
func (g *Gate) Admit(now time.Time, app push.AppID, o push.Ordinal, id push.ID, r push.Rules) push.Verdict {
	h, l := g.law(app)
	if l == nil {
		return push.Verdict{}
	}
	v := g.door(now, l, app, o, r)
	switch {
	case v.Held:
		h.keep(l, o, v.Until)
	case v.Drop == 0 && l.caps(r):
		if !h.admit(l, now, copyOf{o, id, r.Category}) {
			v.Drop = push.MarkCapped
		}
	}
	return v
}

// Peek decides as Admit does, and neither counts nor remembers anything.
func (g *Gate) Peek(now time.Time, app push.AppID, o push.Ordinal, id push.ID, r push.Rules) push.Verdict {
	h, l := g.law(app)
	if l == nil {
		return push.Verdict{}
	}
	v := g.door(now, l, app, o, r)
	if !v.Held && v.Drop == 0 && l.caps(r) && !h.may(l, now, copyOf{o, id, r.Category}) {
		v.Drop = push.MarkCapped
	}
	return v
}

// door applies what depends on the time and the device alone: quiet hours, then the network.
func (g *Gate) door(now time.Time, l *law, app push.AppID, o push.Ordinal, r push.Rules) push.Verdict {
	if do := l.inQuiet(r); do != ignore {
		if end, in := l.until(now, g.zones.find(g.devices.Zone(app, o), l.zone)); in {
			if do == drop {
				return push.Verdict{Drop: push.MarkQuiet}
			}
			return push.Verdict{Held: true, Until: end}
		}
	}
	if r.Network == push.WiFi || r.Network == push.Mobile {
		// A device that has never said where it is would wait for ever.
		if is := g.devices.Network(app, o); is != "" && is != push.AnyNetwork && is != r.Network {
			return push.Verdict{Held: true}
		}
	}
	return push.Verdict{}
}

// Networked says that a device has told another network, or has connected: what was held for its network may go.
func (g *Gate) Networked(app push.AppID, o push.Ordinal) {
	if h := g.houses.get(app); h != nil {
		h.networked(o)
	}
}

// Released yields devices for which something was held and may not be any more, each once, and forgets them. A change of the
// app's settings releases all that they held.
func (g *Gate) Released(now time.Time, yield func(push.AppID, push.Ordinal)) {
	for _, h := range g.houses.all() {
		if !h.holding() {
			continue
		}
		_, l := g.law(h.app)
		for o := range h.release(now, l).All() {
			yield(h.app, o)
		}
	}
}

// law returns what is known of an app and what its settings say now; nil for an app that is not there.
func (g *Gate) law(app push.AppID) (*house, *law) {
	a, err := g.devices.App(app)
	if err != nil {
		if !errors.Is(err, push.NotFound) {
			g.opts.Log.Warn("an app's rules are not known", "app", app, "err", err)
		}
		return nil, nil
	}
	h := g.houses.get(app)
	if h == nil {
		h = g.houses.add(app)
	}
	l := h.law.Load()
	if l == nil || !l.of(a) {
		l = newLaw(a)
		h.law.Store(l)
	}
	return h, l
}
