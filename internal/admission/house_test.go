package admission_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/admission"
	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// noon is a Wednesday's noon in Shanghai, the time zone of app 1.
var noon = time.Date(2026, 11, 25, 4, 0, 0, 0, time.UTC)

// A house stands for the registry, the record and its receipt log.
type house struct {
	mu       sync.Mutex // guards all that follows
	apps     map[push.AppID]push.App
	zones    map[push.Ordinal]string
	networks map[push.Ordinal]push.Network
	pushes   map[push.ID]push.Push
	log      []push.Logged
	seq      int64
	levels   map[string]push.CapLevel // by what names a chunk
	saves    int
	finds    int
	fail     error // of the next calls to the record
}

func newHouse(settings push.Settings) *house {
	return &house{
		apps:  map[push.AppID]push.App{1: {ID: 1, Name: "demo", TimeZone: "Asia/Shanghai", Settings: settings}},
		zones: map[push.Ordinal]string{}, networks: map[push.Ordinal]push.Network{},
		pushes: map[push.ID]push.Push{}, levels: map[string]push.CapLevel{},
	}
}

func (h *house) App(app push.AppID) (push.App, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if a, ok := h.apps[app]; ok {
		return a, nil
	}
	return push.App{}, &push.Error{Kind: push.NotFound, Field: "app"}
}

func (h *house) Zone(_ push.AppID, o push.Ordinal) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.zones[o]
}

func (h *house) Network(_ push.AppID, o push.Ordinal) push.Network {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.networks[o]
}

func (h *house) SaveCaps(_ context.Context, seq int64, levels []push.CapLevel) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fail != nil {
		return h.fail
	}
	h.saves++
	h.seq = seq
	for _, l := range levels {
		h.levels[fmt.Sprint(l.App, l.Day, l.Category, l.Level, l.Chunk.Key)] = l
	}
	return nil
}

func (h *house) Caps(_ context.Context, from push.Day) (int64, []push.CapLevel, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []push.CapLevel
	for _, key := range slices.Sorted(maps.Keys(h.levels)) {
		if l := h.levels[key]; l.Day >= from {
			all = append(all, l)
		}
	}
	return h.seq, all, h.fail
}

func (h *house) Find(_ context.Context, _ push.AppID, id push.ID) (push.Push, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.finds++
	if h.fail != nil {
		return push.Push{}, h.fail
	}
	if p, ok := h.pushes[id]; ok {
		return p, nil
	}
	return push.Push{}, &push.Error{Kind: push.NotFound, Field: "id"}
}

// set gives the app other settings, in a new map as the registry does.
func (h *house) set(settings push.Settings) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a := h.apps[1]
	a.Settings = settings
	h.apps[1] = a
}

// add puts a push of a category into the record.
func (h *house) add(id push.ID, category string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pushes[id] = push.Push{ID: id, App: 1, State: push.Done, Request: push.Request{
		App: 1, Message: push.Message{Notification: &push.Notification{}},
		Policy: push.Policy{Labels: push.Labels{Category: category}},
	}}
}

// commit appends receipts to the log, as one row, and returns it.
func (h *house) commit(at time.Time, all ...push.Receipt) push.Logged {
	h.mu.Lock()
	defer h.mu.Unlock()
	row := push.Logged{Seq: h.seq + int64(len(h.log)) + 1, At: at, Receipts: all}
	if n := len(h.log); n > 0 {
		row.Seq = h.log[n-1].Seq + 1
	}
	h.log = append(h.log, row)
	return row
}

// unfolded yields the log.
func (h *house) unfolded(yield func(push.Logged) error) error {
	h.mu.Lock()
	all := slices.Clone(h.log)
	h.mu.Unlock()
	for _, row := range all {
		if err := yield(row); err != nil {
			return err
		}
	}
	return nil
}

// gate returns a Gate over h that has loaded.
func (h *house) gate(t testing.TB, now time.Time) *admission.Gate {
	t.Helper()
	g := admission.New(h, h, &admission.Options{Now: func() time.Time { return now }})
	if err := g.Load(t.Context(), h.unfolded); err != nil {
		t.Fatal(err)
	}
	return g
}

func receipt(id push.ID, o push.Ordinal, m push.Mark) push.Receipt {
	return push.Receipt{App: 1, Push: id, Ordinal: o, Mark: m}
}

// deliver commits and counts that a push was delivered.
func (h *house) deliver(g *admission.Gate, at time.Time, id push.ID, o push.Ordinal) {
	g.Counted(h.commit(at, receipt(id, o, push.MarkDelivered)))
}

// room reports whether o may be sent one notification more of a category at now, by Peek, so that nothing changes.
func room(g *admission.Gate, now time.Time, o push.Ordinal, category string) bool {
	return g.Peek(now, 1, o, 1<<40, push.Rules{Category: category}).Drop == 0
}

// released returns what Released yields.
func released(g *admission.Gate, now time.Time) []push.Ordinal {
	var all []push.Ordinal
	g.Released(now, func(_ push.AppID, o push.Ordinal) { all = append(all, o) })
	return all
}

// full returns the ordinals below n.
func full(n push.Ordinal) *ordset.Set {
	s := new(ordset.Set)
	for o := range n {
		s.Add(o)
	}
	return s
}

// A quick stands for a registry that answers as fast as ours does: without a lock.
type quick struct {
	*house
	app push.App
}

func (q quick) App(push.AppID) (push.App, error)              { return q.app, nil }
func (q quick) Zone(push.AppID, push.Ordinal) string          { return "" }
func (q quick) Network(push.AppID, push.Ordinal) push.Network { return push.Mobile }

// admissionOf returns a Gate for benchmarks.
func admissionOf(b *testing.B, settings push.Settings) *admission.Gate {
	b.Helper()
	h := newHouse(settings)
	return admission.New(quick{h, h.apps[1]}, h, nil)
}
