package gateway

import (
	"fmt"
	"time"

	"github.com/carillonpush/carillon/internal/mqtt"
	"github.com/carillonpush/carillon/internal/push"
)

// Sim drives a session without a connection, for transcripts.
type Sim struct {
	lim limits
	s   session
	fx  effects

	refused map[uint16]statement // given out as refused, by packet identifier
}

// Outcome is what a session wanted done.
type Outcome struct {
	Packets  []mqtt.Packet
	Receipts []push.Receipt
	Login    string // name:secret
	Said     string
	Resume   bool
	Stop     bool
}

// NewSim returns a session that began at now.
func NewSim(now time.Time) *Sim {
	m := &Sim{lim: limits{
		window: 32, maxQueue: 4096, maxPacket: 64 << 10, ackTimeout: time.Minute, connectTime: 10 * time.Second,
		maxKeepAlive: 1200,
	}, refused: map[uint16]statement{}}
	m.s = newSession(&m.lim, now)
	return m
}

func (m *Sim) outcome() Outcome {
	o := Outcome{Packets: m.fx.packets, Receipts: m.fx.receipts, Resume: m.fx.resume, Stop: m.fx.stop}
	if l := m.fx.login; l != nil {
		o.Login = l.name + ":" + l.secret
	}
	if r := m.fx.said; r != nil && r.reason.Failed() {
		m.refused[r.packet] = *r
		o.Said = "refused " + r.reason.String()
	} else if r != nil && r.edit != nil {
		o.Said = ShowEdit(r.edit)
	} else if r != nil && r.on != "" {
		o.Said = "on " + string(r.on)
	} else if r != nil {
		o.Said = r.id.String() + " " + eventName(r.mark)
	}
	return o
}

// ShowEdit writes an edit as transcripts and tables show it: what it does, then what it names.
func ShowEdit(e *push.LabelEdit) string {
	op, _ := e.Op.MarshalText()
	s := string(op)
	if e.All != 0 {
		s += map[push.LabelKind]string{push.AllTags: " all tags", push.AllAliases: " all aliases"}[e.All]
	}
	if e.Tags != nil {
		s += fmt.Sprintf(" tags %q", e.Tags)
	}
	if e.Aliases != nil {
		s += fmt.Sprintf(" aliases %q", e.Aliases)
	}
	if e.Attributes != nil {
		s += fmt.Sprintf(" attributes %q", e.Attributes)
	}
	if e.Account != nil {
		s += fmt.Sprintf(" account %q", *e.Account)
	}
	return s
}

func eventName(m push.Mark) string {
	for name, mark := range push.Events() {
		if mark == m {
			return name
		}
	}
	return "?"
}

// Full has the server be full.
func (m *Sim) Full() { m.s.full = true }

// Receive takes a frame.
func (m *Sim) Receive(now time.Time, frame []byte) Outcome {
	m.fx.reset()
	m.s.receive(now, frame, &m.fx)
	return m.outcome()
}

// Accept and Refuse are the house's answers to a login.
func (m *Sim) Accept(now time.Time, ref push.Ref) Outcome {
	m.fx.reset()
	m.s.accept(now, ref, &m.fx)
	return m.outcome()
}

func (m *Sim) Refuse(r mqtt.ReasonCode) Outcome {
	m.fx.reset()
	m.s.refuse(r, &m.fx)
	return m.outcome()
}

// Recorded is the house's answer to a statement.
func (m *Sim) Recorded(id push.ID, qos mqtt.QoS, packet uint16, err error) Outcome {
	m.fx.reset()
	r, refused := m.refused[packet]
	if !refused {
		r = statement{id: id, qos: qos, packet: packet}
	}
	delete(m.refused, packet)
	m.s.recorded(r, err, &m.fx)
	return m.outcome()
}

// End closes it for a reason.
func (m *Sim) End(r mqtt.ReasonCode) Outcome {
	m.fx.reset()
	m.s.end(r, &m.fx)
	return m.outcome()
}

// Tick lets time pass.
func (m *Sim) Tick(now time.Time) Outcome {
	m.fx.reset()
	m.s.tick(now, &m.fx)
	return m.outcome()
}

// Deadline returns when Tick is due.
func (m *Sim) Deadline() time.Time { return m.s.deadline() }

var verdicts = map[verdict]string{skipped: "skipped", waits: "waits", tooLarge: "too large", taken: "taken"}

// Offer and Take offer a message, from a sender or from the record.
func (m *Sim) Offer(now time.Time, d *push.Delivery) (string, uint16) {
	v, id := m.s.send.offer(now, d)
	return verdicts[v], id
}

func (m *Sim) Take(now time.Time, d *push.Delivery) (string, uint16) {
	v, id := m.s.send.take(now, d)
	return verdicts[v], id
}

// Write says that a message went out.
func (m *Sim) Write(now time.Time, d *push.Delivery) {
	m.s.send.began(now, d.ID)
	m.s.send.left(m.s.send.size(d))
	m.s.send.finished(d.ID)
}

// Page, Paged, Settled and Resume are the record's side.
func (m *Sim) Page() int { return m.s.send.page() }

func (m *Sim) Paged() bool { return m.s.send.paged() }

func (m *Sim) Settled(id push.ID) bool {
	m.s.send.settled(id)
	return m.s.send.resume()
}

// Size returns what a message takes on the wire by the session's count.
func (m *Sim) Size(d *push.Delivery) int { return m.s.send.size(d) }

// ParseEvent, ParseEdit and ParseNetwork read statements.
var (
	ParseEvent   = parseEvent
	ParseEdit    = parseEdit
	ParseNetwork = parseNetwork
)

// EditTopics are the topics of edits.
func EditTopics() []string { return []string{topicAlias, topicTags, topicAccount, topicAttributes} }

// Speaking returns how many devices have statements that are not recorded, and how many those are.
func (g *Gateway) Speaking() (devices, waiting int) {
	for i := range g.statements.desks {
		d := &g.statements.desks[i]
		d.mu.Lock()
		devices += len(d.queues)
		for _, queue := range d.queues {
			waiting += len(queue)
		}
		d.mu.Unlock()
	}
	return devices, waiting
}

// Drop drops what a device has said, as Disconnect does when the device connects again just then, and is not found.
func (g *Gateway) Drop(ref push.Ref) {
	who := speaker{ref.App, ref.Ordinal}
	g.statements.of(who).drop(who, func(*conn) bool { return true })
}

// Behind reports whether a device's connection has more to read from the record, as far as it knows, or reads it.
func (g *Gateway) Behind(app push.AppID, o push.Ordinal) bool {
	c := g.conns.find(app, o)
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.s.send.draining || c.s.send.more
}

// BroadcastID returns the packet identifier of a broadcast.
var BroadcastID = broadcastID

// HoldBack notes that d was held back from n devices.
func (g *Gateway) HoldBack(d *push.Delivery, n int) {
	for o := range n {
		g.gate.holds(d.App, d.ID, push.Ordinal(o))
	}
}

// Memory is how much a gateway remembers of withdrawals: pushes, and devices from which they were held back.
type Memory struct{ Withdrawn, Devices int }

// Remembered counts what g remembers, and checks its counter.
func (g *Gateway) Remembered() (m Memory) {
	g.gate.notes.Range(func(_, v any) bool {
		n := v.(*note)
		n.mu.Lock()
		defer n.mu.Unlock()
		m.Withdrawn++
		for _, it := range n.open {
			m.Devices += it.kept
		}
		return true
	})
	if n := int(g.gate.noted.Load()); n != m.Withdrawn {
		panic("gateway: the counter of withdrawn pushes is wrong")
	}
	return m
}

// HandingOver reports whether a copy of a push is being handed to a connection that may block.
func (g *Gateway) HandingOver(app push.AppID, id push.ID) bool {
	return len(g.gate.await(withdrawn{app, id}, new(withdrawal), 0)) > 0
}
