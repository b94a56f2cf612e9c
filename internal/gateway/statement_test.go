package gateway_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/carillonpush/carillon/internal/gateway"
	"github.com/carillonpush/carillon/internal/mqtt"
	"github.com/carillonpush/carillon/internal/push"
)

// A slowRecord makes edits when release is called, and not before.
type slowRecord struct {
	began   chan struct{} // closed when the first edit is under way
	release func()
	want    []string // the edits that login has published
}

func newSlowRecord(t *testing.T, h *house) *slowRecord {
	gate, began := make(chan struct{}), make(chan struct{})
	begin := sync.OnceFunc(func() { close(began) })
	r := &slowRecord{began: began, release: sync.OnceFunc(func() { close(gate) })}
	t.Cleanup(r.release)
	h.labels.before = func(push.Ordinal, push.LabelEdit) {
		begin()
		<-gate
	}
	return r
}

// login publishes an edit that no other publishes.
func (r *slowRecord) login(c *client, id uint16) {
	name := fmt.Sprint("user-", len(r.want))
	c.edit("device/account", fmt.Sprintf(`{"op":"put","account":%q}`, name), id)
	r.want = append(r.want, fmt.Sprintf("put account %q", name))
}

// waiting waits until n statements do.
func waiting(t *testing.T, g *gateway.Gateway, n int) {
	t.Helper()
	soon(t, fmt.Sprint(n, " wait"), func() bool {
		_, waiting := g.Speaking()
		return waiting == n
	})
}

// Also what a client says beyond what may wait of one connection comes before what it says by the next one.
func TestEditOfAnOldConnectionDoesNotComeAfterThoseOfTheNext(t *testing.T) {
	everyWay(t, nil, func(t *testing.T, h *house, dial func() *client) {
		h.device("dev", 7)
		slow := newSlowRecord(t, h)
		old := dial().connect("dev", nil)
		for range 9 {
			qos0 := fmt.Sprintf(`{"op":"put","account":"user-%d"}`, len(slow.want)) // beyond 8, 5.0 allows no other
			old.write(&mqtt.Publish{Topic: "device/account", Payload: []byte(qos0)})
			slow.want = append(slow.want, fmt.Sprintf(`put account "user-%d"`, len(slow.want)))
		}
		waiting(t, h.gw, 9)
		c := dial().connect("dev", nil)
		slow.login(c, 1)
		waiting(t, h.gw, 10)
		slow.release()
		c.done(1, mqtt.Success, "")
		if diff := cmp.Diff(h.labels.edits(7), slow.want); diff != "" {
			t.Errorf("edits (-got +want):\n%s", diff)
		}
	})
}

// A connection that waits for the record and is taken over ends, although nothing is recorded.
func TestWhoWaitsForTheRecordCanBeTakenOver(t *testing.T) {
	everyWay(t, nil, func(t *testing.T, h *house, dial func() *client) {
		h.device("dev", 7)
		newSlowRecord(t, h)
		old := dial().connect("dev", nil)
		for range 9 {
			old.write(&mqtt.Publish{Topic: "device/account", Payload: []byte(`{"op":"put","account":"ann"}`)})
		}
		waiting(t, h.gw, 9)
		dial().connect("dev", nil)
		old.gone(mqtt.SessionTakenOver)
		old.nc.Close()
		soon(t, "one connection is left", func() bool { return h.gw.Stats().Connections == 1 })
	})
}

// A device that connects again and again while the record is slow does not fill memory.
func TestStatementsOfADeviceThatWaitAreFew(t *testing.T) {
	everyWay(t, nil, func(t *testing.T, h *house, dial func() *client) {
		h.device("dev", 7)
		h.device("other", 8)
		slow := newSlowRecord(t, h)
		const each, limit = 8, 64
		for i := range limit / each {
			c := dial().connect("dev", nil)
			for id := range uint16(each) {
				slow.login(c, id+1)
			}
			waiting(t, h.gw, (i+1)*each)
		}
		c := dial().connect("dev", nil)
		c.edit("device/account", `{"op":"put","account":"one too many"}`, 1)
		c.gone(mqtt.ServerBusy)
		waiting(t, h.gw, limit)
		slow.login(dial().connect("other", nil), 1) // another device has room of its own
		waiting(t, h.gw, limit+1)

		c = dial().connect("dev", nil)
		slow.release()
		waiting(t, h.gw, 0)
		c.edit("device/account", `{"op":"put","account":"later"}`, 1)
		c.done(1, mqtt.Success, "")
		want := append(slices.Clone(slow.want[:limit]), `put account "later"`)
		if diff := cmp.Diff(h.labels.edits(7), want); diff != "" {
			t.Errorf("edits (-got +want):\n%s", diff)
		}
	})
}

// Whoever has a new secret is not called what somebody with the old one has said, by this connection or the one before.
func TestRevocationDropsWhatWasSaid(t *testing.T) {
	for _, tt := range []struct {
		name string
		ref  push.Ref
		left bool // the device is not connected any more
		drop bool
	}{
		{"of the connected device", push.Ref{App: 1, Ordinal: 7, Generation: 1}, false, true},
		{"of a device that has left", push.Ref{App: 1, Ordinal: 7, Generation: 1}, true, true},
		{"of another generation", push.Ref{App: 1, Ordinal: 7, Generation: 2}, false, false},
		{"of another device", push.Ref{App: 1, Ordinal: 8, Generation: 1}, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			everyWay(t, nil, func(t *testing.T, h *house, dial func() *client) {
				h.device("dev", 7)
				slow := newSlowRecord(t, h)
				old := dial().connect("dev", nil)
				slow.login(old, 1) // is being made, and is not made either
				slow.login(old, 2)
				<-slow.began
				waiting(t, h.gw, 2)
				c := dial().connect("dev", nil)
				old.gone(mqtt.SessionTakenOver)
				slow.login(c, 1)
				waiting(t, h.gw, 3)
				if tt.left {
					c.write(&mqtt.Disconnect{})
					soon(t, "left", func() bool { return !h.gw.IsOnline(1, 7) })
				}
				h.gw.Disconnect(tt.ref)
				if tt.drop {
					slow.want = nil
					if !tt.left {
						c.gone(mqtt.AdministrativeAction)
					}
					c = dial().connect("dev", nil)
				}
				slow.login(c, 2)
				slow.release()
				if !tt.drop {
					c.done(1, mqtt.Success, "")
				}
				c.done(2, mqtt.Success, "")
				if diff := cmp.Diff(h.labels.edits(7), slow.want); diff != "" {
					t.Errorf("edits (-got +want):\n%s", diff)
				}
			})
		})
	}
}

// What cannot be recorded now is not acknowledged, so that a client says it again; what it has said behind that is not made
// before.
func TestWhatCannotBeRecordedNowEndsTheConnection(t *testing.T) {
	down := &push.Error{Op: "record", Kind: push.Unavailable, Msg: "the disk is full"}
	t.Run("an edit", func(t *testing.T) {
		everyWay(t, nil, func(t *testing.T, h *house, dial func() *client) {
			h.device("dev", 7)
			slow := newSlowRecord(t, h)
			failed := false
			h.labels.fail = func(push.LabelEdit) error { // the first time
				if failed {
					return nil
				}
				failed = true
				return down
			}
			c := dial().connect("dev", nil)
			for id := range uint16(3) {
				slow.login(c, id+1)
			}
			waiting(t, h.gw, 3)
			slow.release()
			c.gone(mqtt.ServerBusy)
			waiting(t, h.gw, 0)
			if got := h.labels.edits(7); len(got) > 0 {
				t.Errorf("made %q behind an edit that was not", got)
			}

			c, slow.want = dial().connect("dev", nil), nil
			for id := range uint16(3) {
				slow.login(c, id+1)
			}
			for id := range uint16(3) {
				c.done(id+1, mqtt.Success, "")
			}
			if diff := cmp.Diff(h.labels.edits(7), slow.want); diff != "" {
				t.Errorf("edits (-got +want):\n%s", diff)
			}
		})
	})
	t.Run("an event", func(t *testing.T) {
		everyWay(t, nil, func(t *testing.T, h *house, dial func() *client) {
			h.device("dev", 7)
			h.event = func(push.ID) error { return down }
			c := dial().connect("dev", nil)
			c.write(&mqtt.Publish{Topic: "event", QoS: 1, PacketID: 1, Payload: []byte(`{"push":"42","event":"opened"}`)})
			c.gone(mqtt.ServerBusy)
		})
	})
}

// A connection that lives on when what came by it was dropped would wait for its PUBACK for ever, or take it for refused.
func TestWhatWasDroppedIsToBeSaidAgain(t *testing.T) {
	everyWay(t, nil, func(t *testing.T, h *house, dial func() *client) {
		ref := h.device("dev", 7)
		slow := newSlowRecord(t, h)
		c := dial().connect("dev", nil)
		slow.login(c, 1)
		slow.login(c, 2)
		<-slow.began
		waiting(t, h.gw, 2)
		h.gw.Drop(ref)
		slow.release()
		c.gone(mqtt.ServerBusy)
		if got := h.labels.edits(7); len(got) > 0 {
			t.Errorf("made %q, which was dropped", got)
		}
	})
}

// A gateway that closes while something is being recorded does not say that it was refused for good.
func TestClosingDoesNotRefuseWhatWaits(t *testing.T) {
	h, g := newHouse(t, nil)
	h.device("dev", 7)
	slow := newSlowRecord(t, h)
	c := newClient(t, serve(t, g)[0].dial(), mqtt.V5).connect("dev", nil)
	slow.login(c, 1)
	slow.login(c, 2)
	<-slow.began
	waiting(t, g, 2)
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		g.Close()
	}()
	for {
		p, err := c.read()
		if a, ok := p.(*mqtt.Ack); ok {
			t.Errorf("got PUBACK %v, want none", a.Reason)
		}
		if err != nil {
			break
		}
	}
	slow.release()
	<-closed
	if got := h.labels.edits(7); len(got) > 0 {
		t.Errorf("made %q after the end", got)
	}
}
