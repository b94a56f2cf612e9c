package device

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/carillonpush/carillon/internal/mqtt"
)

// A peer is what a Fleet keeps of one device: its protocol, without a socket. Bytes come in by feed, and bytes to write
// come out. It is less than 100 bytes, and 8 for each of the last messages.
type peer struct {
	phase    phase
	failures uint8  // connections that failed since the last good one
	said     uint16 // the packet id of the last PUBLISH of ours
	partial  []byte // the beginning of a packet whose rest has not come; nil mostly
	recent   []int64
	oldest   int     // where in recent the next id goes, once it is full
	recalled []int64 // what was taken back, the oldest first; nil mostly
}

// A phase is how far a connection is.
type phase uint8

const (
	away phase = iota
	dialling
	connecting  // CONNECT is sent
	subscribing // SUBSCRIBE is sent
	ready
	refused // never again
)

// How many ids of messages a peer remembers, to count duplicates, and how many of messages that were taken back.
const (
	remembered         = 64
	rememberedRecalled = 16
)

// maxFleetPacket is the greatest packet that a fleet takes.
const maxFleetPacket = 1 << 20

// A worker is the scratch memory of one loop, which its peers share.
type worker struct {
	fleet *Fleet
	pub   mqtt.Publish
	out   []byte
}

// connectPacket appends the CONNECT of device i.
func (w *worker) connectPacket(dst []byte, i int) ([]byte, error) {
	f := w.fleet
	id := &f.ids[i]
	c := mqtt.Connect{
		CleanStart: true, KeepAlive: uint16(f.opts.KeepAlive / time.Second), ClientID: id.DeviceID,
		HasUsername: true, Username: id.DeviceID, HasPassword: true, Password: []byte(id.Secret),
	}
	return c.Append(dst, f.version)
}

// errRefused says that the server does not want a device.
var errRefused = errors.New("refused")

// feed takes bytes that device i has received, and returns what it writes; the slice is good until the next call. An
// error means that the connection is to be closed. p.phase has moved on when it returns.
func (w *worker) feed(p *peer, i int, b []byte) (out []byte, err error) {
	w.out = w.out[:0]
	w.fleet.count.bytes.Add(int64(len(b)))
	if len(p.partial) > 0 {
		p.partial = append(p.partial, b...)
		b = p.partial
	}
	for len(b) > 0 {
		h, err := mqtt.Frame(b, maxFleetPacket)
		if errors.Is(err, mqtt.ErrShort) {
			break
		}
		if err != nil {
			return w.out, err
		}
		if err := w.packet(p, i, h.Type, b[:h.Size()]); err != nil {
			return w.out, err
		}
		b = b[h.Size():]
	}
	switch {
	case len(b) == 0:
		p.partial = nil // most of the time nothing is kept, so nothing costs memory
	case len(b) != len(p.partial):
		p.partial = bytes.Clone(b)
	}
	return w.out, nil
}

// packet handles one packet, and appends answers to w.out.
func (w *worker) packet(p *peer, i int, t mqtt.Type, frame []byte) (err error) {
	f := w.fleet
	if t == mqtt.TypePublish && p.phase >= subscribing {
		return w.message(p, i, frame)
	}
	decoded, err := mqtt.Decode(f.version, frame)
	if err != nil {
		return err
	}
	switch d := decoded.(type) {
	case *mqtt.Connack:
		if err := refusal(d.Reason); errors.Is(err, ErrRefused) {
			return errRefused
		} else if err != nil {
			return err
		}
		if p.phase != connecting {
			return errors.New("CONNACK out of turn")
		}
		p.phase = subscribing
		w.out = append(w.out, f.subpack...)
	case *mqtt.Suback:
		if p.phase != subscribing || d.Reasons[0].Failed() {
			return errors.New("SUBACK out of turn or a refusal")
		}
		p.phase = ready
		p.failures = 0
		f.count.connected.Add(1)
	case *mqtt.Disconnect:
		return errors.New("the server has disconnected")
	}
	return nil
}

// message counts one PUBLISH and acknowledges it.
func (w *worker) message(p *peer, i int, frame []byte) (err error) {
	f := w.fleet
	if err := w.pub.Decode(f.version, frame); err != nil {
		return err
	}
	f.count.messages.Add(1)
	id, ok := messageID(w.pub.Payload)
	if ok && !p.remember(id) {
		f.count.duplicates.Add(1)
	}
	recall := recallOf(w.pub.Payload)
	late := ok && recall == 0 && slices.Contains(p.recalled, id)
	if late {
		f.count.late.Add(1)
	}
	if f.opts.Mark != "" {
		if sent, ok := numberAfter(w.pub.Payload, f.opts.Mark); ok {
			f.latency.Record(time.Since(time.Unix(0, sent)))
		}
	}
	if f.opts.OnMessage != nil && !late {
		f.opts.OnMessage(i, w.pub.Payload)
	}
	if w.pub.QoS != mqtt.AtMostOnce {
		f.count.acknowledged.Add(1)
		ack := mqtt.Ack{Type: mqtt.TypePuback, PacketID: w.pub.PacketID}
		if w.out, err = ack.Append(w.out, f.version); err != nil {
			return err
		}
	}
	if recall == 0 {
		return nil
	}
	f.count.recalls.Add(1)
	return w.recall(p, recall)
}

// recall notes that a message was taken back, and says so. The answer is not waited for.
func (w *worker) recall(p *peer, id int64) (err error) {
	if !slices.Contains(p.recalled, id) {
		if len(p.recalled) == rememberedRecalled {
			p.recalled = slices.Delete(p.recalled, 0, 1)
		}
		p.recalled = append(p.recalled, id)
	}
	if p.said++; p.said == 0 {
		p.said = 1
	}
	event := mqtt.Publish{
		Topic: "event", QoS: mqtt.AtLeastOnce, PacketID: p.said, Payload: eventPayload(strconv.FormatInt(id, 10), Recalled),
	}
	w.out, err = event.Append(w.out, w.fleet.version)
	return err
}

// recallOf returns the message that a payload takes back, 0 if it takes none. Most payloads are not read for that.
func recallOf(payload []byte) int64 {
	if !bytes.Contains(payload, []byte(`"recall"`)) {
		return 0
	}
	var m struct {
		Recall int64 `json:"recall,string"`
	}
	if json.Unmarshal(payload, &m) != nil { // no number: no message of ours
		return 0
	}
	return m.Recall
}

// remember notes id, and reports whether it was new.
func (p *peer) remember(id int64) bool {
	if slices.Contains(p.recent, id) {
		return false
	}
	if len(p.recent) < remembered {
		p.recent = append(p.recent, id)
		return true
	}
	p.recent[p.oldest] = id
	p.oldest = (p.oldest + 1) % remembered
	return true
}

// lost notes that the connection has ended, and returns how long to wait before the next one; ok is false if there is
// to be none.
func (w *worker) lost(p *peer, cause error) (delay time.Duration, ok bool) {
	c := &w.fleet.count
	switch p.phase {
	case ready:
		c.connected.Add(-1)
		c.lost.Add(1)
	case away, refused:
	default:
		c.failures.Add(1)
	}
	p.phase, p.partial = away, nil
	if errors.Is(cause, errRefused) {
		p.phase = refused
		c.refused.Add(1)
		return 0, false
	}
	delay = fleetDelay << min(p.failures, 6)
	if p.failures < 255 {
		p.failures++
	}
	return delay/2 + rand.N(delay), true
}

// fleetDelay is the mean time before a device of a fleet connects again for the first time; it doubles up to 64 times
// that.
const fleetDelay = 200 * time.Millisecond

// messageID finds the id in an inbox object without reading the rest: it comes first in what Carillon sends.
func messageID(payload []byte) (int64, bool) { return numberAfter(payload, `"id":"`) }

// numberAfter returns the decimal number that follows the first mark in b.
func numberAfter(b []byte, mark string) (n int64, ok bool) {
	at := bytes.Index(b, []byte(mark))
	if at < 0 {
		return 0, false
	}
	for _, c := range b[at+len(mark):] {
		if (c == ' ' || c == '"') && !ok { // a number may be written as a text
			continue
		}
		if c < '0' || c > '9' {
			break
		}
		n, ok = n*10+int64(c-'0'), true
	}
	return n, ok
}
