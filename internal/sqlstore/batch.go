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
// which one thing may rest on another: keys decide which pushes are accepted at all, rows are there before receipts take
// them away, and the log comes last because all others may add to it.
func (c *committer) execute(t *tx, batch []*write) (push.Logged, error) {
	if err := c.claimKeys(t, batch); err != nil {
		return push.Logged{}, err
	}
	if err := c.insertPushes(t, batch); err != nil {
		return push.Logged{}, err
	}
	if err := c.settle(t, batch); err != nil {
		return push.Logged{}, err
	}
	for _, w := range batch {
		if w.do == nil {
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
	seen := map[key]bool{}
	now := int64(0)
	for _, w := range batch {
		a := w.accept
		if a == nil || a.key.Zero() {
			continue
		}
		k := key{a.Push.App, a.key.Namespace, a.key.Value}
		if a.lost = seen[k]; a.lost {
			continue
		}
		seen[k] = true
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

// insertPushes stores the pushes of batch that have not lost their key.
func (c *committer) insertPushes(t *tx, batch []*write) error {
	rows := map[push.Day]*inboxRows{}
	direct := map[push.Day][]*acceptance{}
	for _, w := range batch {
		a := w.accept
		if a == nil || a.lost {
			continue
		}
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
	}
	for day, all := range direct {
		if err := t.insertDirect(day, all); err != nil {
			return err
		}
		if err := t.insertInbox(day, rows[day]); err != nil {
			return err
		}
	}
	return c.store.trimSample(t, batch)
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
