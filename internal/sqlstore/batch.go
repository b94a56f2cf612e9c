package sqlstore

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// commitTimeout bounds a commit on PostgreSQL: a server that has gone without a word must not hold all writers for ever.
const commitTimeout = 30 * time.Second

// deadline returns the context of one commit. On SQLite it has no end: nothing there waits for anybody else.
func (c *committer) deadline() (context.Context, context.CancelFunc) {
	if c.dialect.traits().remote {
		return context.WithTimeout(context.Background(), commitTimeout)
	}
	return context.Background(), func() {}
}

// execute makes all changes of batch inside t, and returns the row of the receipt log that it wrote. The order is that in
// which one thing may rest on another: keys, then quotas and occurrences decide which pushes are accepted at all, rows are
// there before receipts take them away, and totals and the log come last because all others may add to them.
func (c *committer) execute(t *tx, batch []*write) (push.Logged, error) {
	if err := c.claimKeys(t, batch); err != nil {
		return push.Logged{}, err
	}
	if err := c.admit(t, batch); err != nil {
		return push.Logged{}, err
	}
	if err := c.insertPushes(t, batch); err != nil {
		return push.Logged{}, err
	}
	if err := c.settle(t, batch); err != nil {
		return push.Logged{}, err
	}
	for _, w := range batch {
		if w.do == nil || w.err != nil {
			continue
		}
		err := w.do(t)
		if t.failed != nil {
			return push.Logged{}, t.failed
		}
		if e := (*push.Error)(nil); errors.As(err, &e) {
			w.err = err
		} else if err != nil {
			return push.Logged{}, err
		}
	}
	if t.failed != nil {
		return push.Logged{}, t.failed
	}
	if err := t.storeTotals(); err != nil {
		return push.Logged{}, err
	}
	return t.logReceipts()
}

// claimKeys stores the dedupe keys of batch. A push whose key is taken has lost: nothing of it is stored.
func (c *committer) claimKeys(t *tx, batch []*write) error {
	cols := []column{
		{name: "app"},
		{name: "namespace", texts: []string{}},
		{name: "key", texts: []string{}},
		{name: "push"},
		{name: "fingerprint", blobs: [][]byte{}},
		{name: "expires"},
	}
	type key struct {
		app              push.AppID
		namespace, value string
	}
	var claims []*acceptance
	seen := map[key]*acceptance{}
	now := int64(0)
	for _, w := range batch {
		a := w.accept
		if a == nil {
			continue
		}
		a.lost, a.first, a.refused = false, nil, nil // of an attempt before
		if a.key.Zero() {
			continue
		}
		k := key{a.Push.App, a.key.Namespace, a.key.Value}
		if a.first = seen[k]; a.first != nil {
			a.lost = true
			continue
		}
		seen[k] = a
		claims = append(claims, a)
		cols[0].ints = append(cols[0].ints, int64(a.Push.App))
		cols[1].texts = append(cols[1].texts, k.namespace)
		cols[2].texts = append(cols[2].texts, k.value)
		cols[3].ints = append(cols[3].ints, int64(a.Push.ID))
		cols[4].blobs = append(cols[4].blobs, a.fingerprint[:])
		cols[5].ints = append(cols[5].ints, a.keep)
		now = max(now, millis(a.Push.Created))
	}
	if len(claims) == 0 {
		return nil
	}
	won, err := t.w.dialect.claim(t, cols, now)
	if err != nil {
		return t.fail(err)
	}
	for i, a := range claims {
		a.lost = !won[i]
	}
	return nil
}

// admit refuses the pushes of batch whose charges do not fit, or whose occurrence does not wait any more: nothing of them is
// stored, and their keys are free again.
func (c *committer) admit(t *tx, batch []*write) error {
	book := quotas{log: c.log, all: map[quotaKey]*quota{}}
	for _, w := range batch {
		a := w.accept
		switch {
		case a == nil:
			continue
		case a.first != nil && a.first.refused != nil: // a repeat of what was refused
			a.lost, a.refused = false, a.first.refused
		case a.lost:
			continue
		case len(a.charges) > 0 || a.Fires != nil:
			var err error
			if a.refused, err = a.admit(t, &book); err == nil && a.refused != nil && !a.key.Zero() {
				_, err = t.exec("DELETE FROM dedupe WHERE app = ? AND namespace = ? AND key = ? AND push = ?",
					int64(a.Push.App), a.key.Namespace, a.key.Value, int64(a.Push.ID))
			}
			if err != nil {
				return t.fail(err)
			}
		}
		w.err = a.refused
	}
	return book.store(t)
}

// admit returns the error for a push that is refused, and otherwise uses its charges and fires its occurrence.
func (a *acceptance) admit(t *tx, book *quotas) (refused, err error) {
	now := millis(a.Push.Created)
	if a.Fires != nil {
		n, err := t.exec("UPDATE occurrence SET state = ? WHERE id = ? AND app = ? AND state = ?", string(push.OccurrenceFired),
			int64(a.Fires.ID), int64(a.Push.App), string(push.OccurrenceWaiting))
		if err != nil || n == 0 {
			return &push.Error{Kind: push.Conflict, Field: "occurrence", Msg: "the occurrence does not wait any more"}, err
		}
	}
	refused, err = book.charge(t, a.Push.App, a.charges, now)
	if refused != nil && a.Fires != nil {
		_, err = t.exec("UPDATE occurrence SET state = ? WHERE id = ?", string(push.OccurrenceWaiting), int64(a.Fires.ID))
	}
	return refused, err
}

// insertPushes stores the pushes of batch that have neither lost their key nor been refused.
func (c *committer) insertPushes(t *tx, batch []*write) error {
	rows := map[push.Day]*inboxRows{}
	direct := map[push.Day][]*acceptance{}
	var stored []*acceptance
	for _, w := range batch {
		a := w.accept
		if a == nil || !a.in() {
			continue
		}
		stored = append(stored, a)
		if a.Push.Kind != push.Direct {
			if err := t.insertBulk(a); err != nil {
				return err
			}
			continue
		}
		direct[a.day] = append(direct[a.day], a)
		if rows[a.day] == nil {
			rows[a.day] = new(inboxRows)
		}
		rows[a.day].addPush(a)
		t.receipts = append(t.receipts, a.Marks...)
		t.started(a.Totals, len(a.Targets)+len(a.Marks), a.Push.Unknown)
	}
	for day, all := range direct {
		if err := t.insertDirect(day, all); err != nil {
			return err
		}
		if err := t.insertInbox(day, rows[day]); err != nil {
			return err
		}
	}
	if err := c.store.insertDetails(t, stored); err != nil {
		return err
	}
	if err := c.store.collapseDirect(t, stored); err != nil {
		return err
	}
	return c.store.trimSample(t, stored)
}

// insertDetails stores what few pushes have: ids of requests, and payloads of single devices.
func (s *Store) insertDetails(t *tx, stored []*acceptance) error {
	var ids []requestID
	personal := map[push.Day][]personalRow{}
	for _, a := range stored {
		if a.Push.Request.RequestID != "" {
			ids = append(ids, requestOf(&a.Push, s.opts.Keep))
		}
		if len(a.Personal) > 0 {
			personal[a.day] = appendPersonal(personal[a.day], a.Push.ID, a.Personal)
		}
	}
	for day, rows := range personal {
		if err := t.insertPersonal(day, rows); err != nil {
			return err
		}
	}
	return t.putRequests(ids)
}

// settle adds the receipts of batch to the commit's, and takes away the inbox rows that they settle.
func (c *committer) settle(t *tx, batch []*write) error {
	rows := map[push.Day]*inboxRows{}
	for _, w := range batch {
		for _, r := range w.receipts {
			t.receipts = append(t.receipts, r)
			if !settles(r.Mark) || !c.store.days.has(inboxTable, r.Day) {
				continue
			}
			if rows[r.Day] == nil {
				rows[r.Day] = new(inboxRows)
			}
			rows[r.Day].add(inboxRow{r.App, r.Ordinal, r.Push, 0})
		}
	}
	for day, gone := range rows {
		if _, err := t.removeInbox(day, gone); err != nil {
			return err
		}
	}
	return nil
}

// settles reports whether a receipt of m means that a direct push is not owed to the device any more.
func settles(m push.Mark) bool {
	return m == push.MarkDelivered || slices.Contains(drops, m)
}

var drops = push.Drops()
