package sqlstore

import (
	"context"

	"github.com/carillonpush/carillon/internal/push"
)

// Recall ends a push, or what of it some devices are owed, and accepts the push that carries the recall, in one commit. What is
// over stays as it is. message is nil if nobody can have got the push; one whose key was used before is not stored again.
// NotFound if there is no such push. Unavailable means that the outcome is unknown. Neither may be changed afterwards.
func (s *Store) Recall(ctx context.Context, r push.Recalling, message *push.Acceptance) error {
	const op = "sqlstore.Recall"
	p, err := s.find(ctx, r.Push.App, r.Push.ID)
	if err != nil {
		return push.Wrap(op, err)
	}
	w := &write{rows: 1}
	if message != nil {
		a, err := prepare(message)
		if err != nil {
			return push.Wrap(op, err)
		}
		w = a.write()
	}
	w.size += int64(48 * (len(r.Stopped) + len(r.Told)))
	w.rows += len(r.Stopped) + len(r.Told)
	// What has expired stays so, although its row may not say it yet.
	over := r.Push.State.Final() || message != nil && !p.Expires.After(message.Push.Created)
	if p.Kind == push.Bulk {
		w.do = func(t *tx) error { return t.recallBulk(p, r, over) }
		return push.Wrap(op, s.commit.write(ctx, w))
	}
	rows := new(inboxRows)
	targets := r.Devices
	if targets == nil {
		if targets, err = s.Targets(ctx, p); err != nil {
			return push.Wrap(op, err)
		}
	}
	for _, o := range targets {
		rows.add(inboxRow{p.App, o, p.ID, 0})
	}
	w.size += int64(64 * len(targets))
	w.do = func(t *tx) error { return s.recallDirect(t, p, r, rows, over) }
	return push.Wrap(op, s.commit.write(ctx, w))
}

// recallBulk does what Recall does to a bulk push; over says that it stays what it is. Of one that has gone meanwhile nothing is
// left to be done.
func (t *tx) recallBulk(p push.Push, r push.Recalling, over bool) error {
	there, err := t.one("SELECT id FROM push WHERE id = ?1", []any{int64(p.ID)}, new(int64))
	if err != nil || !there {
		return err
	}
	for _, o := range r.Stopped {
		t.receipts = append(t.receipts, push.Receipt{App: p.App, Push: p.ID, Ordinal: o, Mark: push.MarkWithdrawn})
	}
	for _, o := range r.Told {
		t.receipts = append(t.receipts, push.Receipt{App: p.App, Push: p.ID, Ordinal: o, Mark: push.MarkTold})
	}
	if r.Devices != nil || over {
		return nil
	}
	n, err := t.exec("UPDATE push SET state = ? WHERE id = ? AND app = ? AND state IN "+liveStates, string(push.Recalled), int64(p.ID), int64(p.App))
	if err == nil && n > 0 {
		t.moved(p.App, p.ID, push.Recalled)
	}
	return err
}

// recallDirect does what Recall does to a direct push, of which rows may wait; over says that it stays what it is.
func (s *Store) recallDirect(t *tx, p push.Push, r push.Recalling, rows *inboxRows, over bool) error {
	day := push.DayOf(p.Expires)
	if !s.days.has(directTable, day) {
		return nil
	}
	if s.days.has(inboxTable, day) {
		if _, err := t.dropInbox(day, rows, push.MarkWithdrawn); err != nil {
			return err
		}
	}
	for _, o := range r.Told {
		t.receipts = append(t.receipts, push.Receipt{App: p.App, Push: p.ID, Ordinal: o, Mark: push.MarkTold, Day: day})
	}
	if r.Devices != nil || over {
		return nil
	}
	return t.withdraw(p.ID, day, push.MarkWithdrawn)
}
