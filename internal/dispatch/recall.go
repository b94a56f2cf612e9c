package dispatch

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"time"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// originRecall is the origin of the pushes that carry recalls.
const originRecall = "recall"

// Recall takes a push back, whole, or from the named devices if there are any: what has not left does not leave any more,
// and who has, or may have, got it is told to withdraw it. It returns for how many devices each holds so far. A push that
// is over already is taken back where it has arrived. Again is once. NotFound, with Field "devices" if none of them is in
// the target; Conflict if the push failed, or is a recall itself. After Unavailable the outcome is unknown.
func (d *Dispatcher) Recall(ctx context.Context, app push.AppID, id push.ID, devices []string) (push.Recall, error) {
	const op = "dispatch.Recall"
	p, err := d.Record.Find(ctx, app, id)
	if err != nil {
		return push.Recall{}, push.Wrap(op, err)
	}
	if _, ok := p.State.On(push.ActRecall); !ok {
		return push.Recall{}, conflict(op, "the push is "+string(p.State))
	}
	if p.Request.Message.Recall != 0 {
		return push.Recall{}, conflict(op, "the push is a recall itself")
	}
	ctx, cancel := patient(ctx)
	defer cancel()
	var from []push.Named
	if len(devices) > 0 {
		if from, err = d.inTarget(ctx, p, devices); err != nil {
			return push.Recall{}, push.Wrap(op, err)
		}
	}
	message := push.Request{App: app, Key: recallKey(p, from), Origin: originRecall}
	message.Message.Recall = p.ID
	first, found, err := d.first(ctx, message)
	switch {
	case err != nil:
	case found: // what a crash left of it undone is done by the run of its message
		err = d.tellAll(ctx, d.bulks.get(app, first.ID))
	default:
		err = d.recall(ctx, p, from, message)
	}
	if err != nil {
		return push.Recall{}, push.Wrap(op, err)
	}
	now, err := d.Record.Find(ctx, app, id)
	if err != nil {
		return push.Recall{}, push.Wrap(op, err)
	}
	r, err := d.Marks.Report(ctx, now, d.opts.Now())
	if err != nil || r.Recall == nil {
		return push.Recall{}, push.Wrap(op, err)
	}
	return *r.Recall, nil
}

// inTarget returns those of the named devices that are in the target of p. NotFound if none is.
func (d *Dispatcher) inTarget(ctx context.Context, p push.Push, devices []string) ([]push.Named, error) {
	a := push.Audience{Devices: devices}
	if err := a.Validate(); err != nil {
		return nil, err
	}
	named, _, _, err := d.Audience.Resolve(ctx, p.App, a, push.MaxDirect)
	if err != nil {
		return nil, err
	}
	var in []push.Named
	for _, n := range named {
		targeted := d.sets.Targets(p.App, p.ID, n.Ordinal)
		if !targeted && (p.Kind == push.Direct || !d.sets.Has(p.App, p.ID)) {
			if targeted, err = d.Receipts.Targeted(ctx, p, n.Ordinal); err != nil {
				return nil, err
			}
		}
		if targeted {
			in = append(in, n)
		}
	}
	if len(in) == 0 {
		return nil, &push.Error{Kind: push.NotFound, Field: "devices", Msg: "none of these is in the push's target"}
	}
	return in, nil
}

// recallKey is the key under which the recall of a push, from some devices or whole, is accepted once.
func recallKey(p push.Push, from []push.Named) push.Key {
	k := push.Key{Namespace: originRecall, Value: p.ID.String(), Keep: 366 * 24 * time.Hour}
	if from != nil {
		all := ordinals(from)
		slices.Sort(all)
		h := sha256.New()
		for _, o := range all {
			h.Write(binary.BigEndian.AppendUint32(nil, uint32(o)))
		}
		k.Value += "/" + hex.EncodeToString(h.Sum(nil)[:16])
	}
	return k
}

func ordinals(all []push.Named) []push.Ordinal {
	out := make([]push.Ordinal, len(all))
	for i, n := range all {
		out[i] = n.Ordinal
	}
	return out
}

// recall takes p back, and accepts the message that tells devices so.
func (d *Dispatcher) recall(ctx context.Context, p push.Push, from []push.Named, message push.Request) error {
	b, err := d.recallOf(ctx, p, from, message)
	if err != nil || b == nil {
		return err
	}
	d.due(b)
	return d.tellAll(ctx, b)
}

// recallOf is recall up to the commit. The push that carries the message is returned, nil if nobody can have got p.
func (d *Dispatcher) recallOf(ctx context.Context, p push.Push, from []push.Named, message push.Request) (*bulk, error) {
	app, err := d.Audience.App(p.App)
	if err != nil {
		return nil, err
	}
	defer d.turn(p.ID)()
	b := d.bulks.get(p.App, p.ID)
	if p, err = d.Record.Find(ctx, p.App, p.ID); err != nil { // it may have begun, or ended, meanwhile
		return nil, err
	}
	if p.Kind == push.Bulk && p.Target == 0 { // it has reached nobody
		switch {
		case p.State.Final() || from != nil:
			return nil, nil
		case b == nil: // a schedule
			return nil, conflict("", "nothing of the push was sent")
		}
		return nil, d.endNow(ctx, b, push.Recalled)
	}
	r := push.Recalling{Push: p}
	if from != nil {
		r.Devices = ordinals(from)
	}
	settle := d.Gateway.Withdraw(p.App, p.ID, r.Devices, p.Expires)
	a, err := d.recallMessage(ctx, &r, app, from, message)
	if err == nil {
		err = d.commitRecall(ctx, r, a)
	}
	settle(err == nil)
	if err != nil {
		if b != nil {
			b.doubt(unknown(err))
		}
		return nil, err
	}
	switch {
	case from == nil:
		d.held.remove(p.App, p.ID, true)
		if b != nil {
			d.opts.Observe.Settled(push.Bulk, push.MarkWithdrawn, d.sets.Pending(p.App, p.ID))
			b.enter(push.Recalled)
			d.forget(b)
		}
	default:
		d.sets.SettleAll(p.App, p.ID, ordset.Of(r.Stopped...))
	}
	if a == nil {
		return nil, nil
	}
	return d.adopt(push.Live{Push: a.Push, Payload: a.Payload})
}

// commitRecall commits a recall with its message. If it cannot be said whether that happened, the record is asked for the
// message's key: the push of it is then a's.
func (d *Dispatcher) commitRecall(ctx context.Context, r push.Recalling, a *push.Acceptance) error {
	err := d.Changing.Recall(ctx, r, a)
	if !unknown(err) {
		return err
	}
	if a == nil { // dropping once more drops the rest
		return d.Changing.Recall(ctx, r, nil)
	}
	if first, _, findErr := d.Record.FindKey(ctx, a.Push.App, a.Push.Request.Key); findErr == nil && first.ID == a.Push.ID {
		return nil
	}
	return err
}

// recallMessage returns the push that tells devices to withdraw r's push, nil if none of those from whom it is taken back
// can have got it, and notes in r which devices it is known to have
// left for, and which are owed it. Whoever was connected since it was sent may have got it, too.
func (d *Dispatcher) recallMessage(ctx context.Context, r *push.Recalling, app push.App, from []push.Named, message push.Request) (*push.Acceptance, error) {
	now, p := d.now(), r.Push
	days := now.Sub(p.Start)/(24*time.Hour) + 2 // a day that has begun counts, and so does the one before it
	may := push.And(
		push.Is(push.WherePush{Push: p.ID, Mark: push.MarkTargeted}),
		push.Or(
			push.Is(push.WhereWithin{Event: push.EventActive, For: days * 24 * time.Hour}),
			push.Is(push.WhereFlag{Flag: push.FlagOnline, Value: true}), // its activity may not be noted yet
			push.Is(push.WherePush{Push: p.ID, Mark: push.MarkSent}),
			push.Is(push.WherePush{Push: p.ID, Mark: push.MarkDelivered}),
		),
	)
	message.Audience = push.Audience{Where: &may}
	told, err := d.left(ctx, p)
	if err != nil {
		return nil, err
	}
	if from != nil {
		touched, err := d.Audience.Select(ctx, p.App, may)
		if err != nil {
			return nil, err
		}
		message.Audience = push.Audience{Devices: namesIn(from, touched)}
		only := ordset.Of(r.Devices...)
		told.Intersect(only)
		if p.Kind == push.Bulk && d.sets.Has(p.App, p.ID) {
			owed := d.sets.PendingSet(p.App, p.ID)
			owed.Intersect(only)
			r.Stopped = slices.Collect(owed.All())
		}
	}
	if from != nil || p.Kind == push.Direct {
		r.Told = slices.Collect(told.All())
	}
	if from != nil && message.Audience.Devices == nil {
		return nil, nil
	}
	keep := app.Settings.Duration(push.SettingMaxTTL)
	message.Policy.TTL = push.Duration(keep)
	carrier := push.Push{
		ID: d.NextID(), App: p.App, Kind: push.Bulk, State: push.Accepted, Request: message,
		Created: now, Start: now, Expires: now.Add(keep),
	}
	a := &push.Acceptance{Push: carrier}
	a.Payload, err = carrier.Payload()
	return a, err
}

// namesIn returns the names of the devices that are in a set.
func namesIn(all []push.Named, in *ordset.Set) []string {
	var names []string
	for _, n := range all {
		if in.Has(n.Ordinal) {
			names = append(names, n.Name)
		}
	}
	return names
}

// left returns the devices that p is known to have left for.
func (d *Dispatcher) left(ctx context.Context, p push.Push) (*ordset.Set, error) {
	sent, err := d.Marks.Devices(ctx, p, push.MarkSent)
	if err != nil {
		return nil, err
	}
	delivered, err := d.Marks.Devices(ctx, p, push.MarkDelivered)
	if err == nil {
		sent.Union(delivered)
	}
	return sent, err
}

// tellAll notes, if b takes a bulk push back whole, for which devices that had left: they count as told. It is done before
// b's message leaves, and again after a crash.
func (d *Dispatcher) tellAll(ctx context.Context, b *bulk) error {
	if b == nil || b.recalls == 0 || !b.whole {
		return nil
	}
	p, err := d.Record.Find(ctx, b.push.App, b.recalls)
	if is(err, push.NotFound) {
		return nil // its record has gone meanwhile
	}
	if err != nil || p.Kind == push.Direct { // those of a direct push were told in the commit
		return err
	}
	told, err := d.left(ctx, p)
	if err != nil || told.Empty() {
		return err
	}
	return d.Marks.Mark(ctx, p, push.MarkTold, told)
}
