package sqlstore

import (
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// Webhooks returns those of all apps that are there, in order of ids, their secrets sealed.
func (s *Store) Webhooks(ctx context.Context) ([]push.Webhook, error) {
	var all []push.Webhook
	err := s.read.each(ctx, `SELECT w.id, w.app, w.url, w.events, w.secret, w.created FROM webhook w
		JOIN app a ON a.id = w.app AND a.doomed = 0 ORDER BY w.id`, func(rows *sql.Rows) error {
		var w push.Webhook
		var events sql.RawBytes
		var created int64
		err := rows.Scan(&w.ID, &w.App, &w.URL, &events, &w.Secret, &created)
		if err == nil && len(events) > 0 {
			err = json.Unmarshal(events, &w.Events)
		}
		w.Created = timeOf(created)
		all = append(all, w)
		return err
	})
	return all, push.Wrap("sqlstore.Webhooks", err)
}

// AddWebhook stores w, its secret sealed, and gives it an id, which is never given again. TooMany with Field "webhooks" if the
// app has most already; NotFound with Field "app"; Unavailable with push.ErrNotQueued if the disk's reserve is reached.
func (s *Store) AddWebhook(ctx context.Context, w push.Webhook, most int) (push.Webhook, error) {
	const op = "sqlstore.AddWebhook"
	if err := s.reserved(); err != nil {
		return push.Webhook{}, push.Wrap(op, err)
	}
	if !plain(w.URL) {
		return push.Webhook{}, push.Wrap(op, invalid("url", "is not UTF-8 without NUL"))
	}
	events, err := jsonOf(len(w.Events), w.Events)
	if err != nil {
		return push.Webhook{}, push.Wrap(op, err)
	}
	secret := append([]byte{}, w.Secret...)
	id := int64(0)
	err = s.commit.do(ctx, len(w.URL)+len(events), func(t *tx) error {
		if err := t.appThere(w.App); err != nil {
			return err
		}
		n := 0
		if _, err := t.one("SELECT count(*) FROM webhook WHERE app = ?1", []any{int64(w.App)}, &n); err != nil {
			return err
		}
		if n >= most {
			return &push.Error{Kind: push.TooMany, Field: "webhooks", Msg: fmt.Sprintf("the app has %d webhooks", n)}
		}
		_, err := t.one("INSERT INTO webhook (app, url, events, secret, created) VALUES (?, ?, ?, ?, ?) RETURNING id",
			[]any{int64(w.App), w.URL, events, secret, millis(w.Created)}, &id)
		return err
	})
	if err != nil {
		return push.Webhook{}, push.Wrap(op, err)
	}
	w.ID, w.Created = push.WebhookID(id), timeOf(millis(w.Created))
	return w, nil
}

// RemoveWebhook removes a webhook, and then its batches. NotFound. Batches that are left, because ctx ends or the process does,
// are nobody's, and the sweep removes them.
func (s *Store) RemoveWebhook(ctx context.Context, app push.AppID, id push.WebhookID) error {
	err := s.commit.do(ctx, 0, func(t *tx) error {
		n, err := t.exec("DELETE FROM webhook WHERE id = ? AND app = ?", int64(id), int64(app))
		if err == nil && n == 0 {
			err = notFound("no such webhook")
		}
		return err
	})
	if err == nil {
		if err := s.dropBatches(ctx, func() bool { return ctx.Err() == nil }, id); err != nil {
			s.opts.Log.Warn("batches of a removed webhook remain, the sweep will remove them", "webhook", id, "err", err)
		}
	}
	return push.Wrap("sqlstore.RemoveWebhook", err)
}

// addBatches stores what webhooks are still to be told, in the commit that found it out. What is for a webhook that has been
// removed is left out.
func (t *tx) addBatches(all []push.Batch, packed [][]byte) error {
	if len(all) == 0 {
		return nil
	}
	there := map[push.WebhookID]bool{}
	err := t.each("SELECT id FROM webhook", func(rows *sql.Rows) error {
		var id push.WebhookID
		err := rows.Scan(&id)
		there[id] = true
		return err
	})
	if err != nil {
		return err
	}
	ints := []string{"app", "webhook", "created", "attempts", "next", "events"}
	cols := make([]column, len(ints), len(ints)+2)
	for i, name := range ints {
		cols[i] = column{name: name, ints: []int64{}}
	}
	cols = append(cols, column{name: "error", texts: []string{}}, column{name: "packed", blobs: [][]byte{}})
	for i, b := range all {
		if !there[b.Webhook] {
			continue
		}
		for j, v := range []int64{int64(b.App), int64(b.Webhook), millis(b.Created), int64(b.Attempts), millis(b.Next), int64(len(b.Happened))} {
			cols[j].ints = append(cols[j].ints, v)
		}
		cols[6].texts = append(cols[6].texts, b.Error)
		cols[7].blobs = append(cols[7].blobs, packed[i])
	}
	return t.insert("batch", "", cols...)
}

// packedHappened is the number of the form below, the first byte of a batch.
const packedHappened = 1

// packHappened writes happenings compactly: how many bytes their receipts take, the receipts as packReceipts does, and then of
// each when it was committed, as the distance in milliseconds from the one before.
func packHappened(all []push.Happening) []byte {
	rs := make([]push.Receipt, len(all))
	for i, h := range all {
		rs[i] = h.Receipt
	}
	receipts := packReceipts(rs)
	b := make([]byte, 1, 8+len(receipts)+2*len(all))
	b[0] = packedHappened
	b = append(binary.AppendUvarint(b, uint64(len(receipts))), receipts...)
	last := int64(0)
	for _, h := range all {
		at := millis(h.At)
		b = binary.AppendVarint(b, at-last)
		last = at
	}
	return b
}

// unpackHappened undoes packHappened.
func unpackHappened(b []byte) ([]push.Happening, error) {
	if len(b) == 0 || b[0] != packedHappened {
		return nil, errPacked
	}
	in := varints{b: b[1:]}
	packed := in.bytes(in.unsigned(math.MaxInt32))
	if in.bad {
		return nil, errPacked
	}
	receipts, err := unpackReceipts(packed)
	if err != nil {
		return nil, err
	}
	all := make([]push.Happening, len(receipts))
	at := int64(0)
	for i, r := range receipts {
		at += in.signed()
		all[i] = push.Happening{Receipt: r, At: timeOf(at)}
	}
	if in.bad || len(in.b) > 0 {
		return nil, errPacked
	}
	return all, nil
}

// DueBatches returns batches of a webhook that are due at now, oldest first, at most limit. One that cannot be read is told of
// in the log, and comes without what happened.
func (s *Store) DueBatches(ctx context.Context, id push.WebhookID, now time.Time, limit int) ([]push.Batch, error) {
	var all []push.Batch
	// The ids are found first, and by an index alone: what is sorted is not the batches.
	err := s.read.each(ctx, `SELECT b.id, b.app, b.webhook, b.created, b.attempts, b.next, b.error, b.packed FROM batch b
		WHERE b.id IN (SELECT d.id FROM batch d JOIN webhook w ON w.id = d.webhook
			WHERE d.webhook = ?1 AND d.next > 0 AND d.next <= ?2 ORDER BY d.id LIMIT ?3)
		ORDER BY b.id`, func(rows *sql.Rows) error {
		var b push.Batch
		var created, next int64
		var packed sql.RawBytes
		err := rows.Scan(&b.ID, &b.App, &b.Webhook, &created, &b.Attempts, &next, &b.Error, &packed)
		if err != nil {
			return err
		}
		b.Created, b.Next = timeOf(created), timeOf(next)
		if b.Happened, err = unpackHappened(packed); err != nil {
			s.opts.Log.Error("what a webhook is to be told cannot be read", "webhook", id, "batch", b.ID, "err", err)
		}
		all = append(all, b)
		return nil
	}, int64(id), now.UnixMilli(), limit)
	return all, push.Wrap("sqlstore.DueBatches", err)
}

// NextBatch returns, for every webhook that has batches which are not dead, when the earliest is due.
func (s *Store) NextBatch(ctx context.Context) (map[push.WebhookID]time.Time, error) {
	all := map[push.WebhookID]time.Time{}
	err := s.read.each(ctx, `SELECT w.id, COALESCE((SELECT min(b.next) FROM batch b WHERE b.webhook = w.id AND b.next > 0), 0)
		FROM webhook w JOIN app a ON a.id = w.app AND a.doomed = 0`, func(rows *sql.Rows) error {
		var id push.WebhookID
		var next int64
		err := rows.Scan(&id, &next)
		if next > 0 {
			all[id] = timeOf(next)
		}
		return err
	})
	return all, push.Wrap("sqlstore.NextBatch", err)
}

// EndBatch removes a batch that was told, or with a next time or an error puts it off: attempts, next and error are stored; a
// zero b.Next is dead. Of one that has gone with its webhook nothing is said.
func (s *Store) EndBatch(ctx context.Context, b push.Batch, told bool) error {
	if !plain(b.Error) {
		return push.Wrap("sqlstore.EndBatch", invalid("error", "is not UTF-8 without NUL"))
	}
	return push.Wrap("sqlstore.EndBatch", s.commit.do(ctx, len(b.Error), func(t *tx) error {
		if told {
			_, err := t.exec("DELETE FROM batch WHERE id = ? AND webhook = ?", b.ID, int64(b.Webhook))
			return err
		}
		_, err := t.exec("UPDATE batch SET attempts = ?, next = ?, error = ? WHERE id = ? AND webhook = ?",
			int64(b.Attempts), millis(b.Next), b.Error, b.ID, int64(b.Webhook))
		return err
	}))
}

// ListBatches returns batches of a webhook with ids above after, oldest first, at most limit; dead ones only if dead.
func (s *Store) ListBatches(ctx context.Context, id push.WebhookID, dead bool, after int64, limit int) ([]push.BatchInfo, error) {
	var all []push.BatchInfo
	only := ""
	if dead {
		only = " AND d.next = 0"
	}
	err := s.read.each(ctx, `SELECT b.id, b.created, b.attempts, b.next, b.error, b.events FROM batch b
		WHERE b.id IN (SELECT d.id FROM batch d WHERE d.webhook = ?1 AND d.id > ?2`+only+` ORDER BY d.id LIMIT ?3)
		ORDER BY b.id`, func(rows *sql.Rows) error {
		var b push.BatchInfo
		var created, next int64
		err := rows.Scan(&b.ID, &created, &b.Attempts, &next, &b.Error, &b.Events)
		b.Created, b.Next, b.Dead = timeOf(created), timeOf(next), next == 0
		all = append(all, b)
		return err
	}, int64(id), after, limit)
	return all, push.Wrap("sqlstore.ListBatches", err)
}

// ReplayBatches makes dead batches of a webhook due at now, those of ids or all if there are none, and returns how many.
func (s *Store) ReplayBatches(ctx context.Context, id push.WebhookID, ids []int64, now time.Time) (int, error) {
	some := intsArg(ids)
	n, err := s.commit.count(ctx, 8*len(ids), func(t *tx) (int, error) {
		const dead = "webhook = ?1 AND next = 0"
		if len(ids) == 0 {
			n, err := t.exec("UPDATE batch SET next = ?2 WHERE "+dead, int64(id), now.UnixMilli())
			return int(n), err
		}
		n, err := t.exec("UPDATE batch SET next = ?3 WHERE "+t.among(t.lookup("batch", dead, "id", "?2", ints)),
			int64(id), some, now.UnixMilli())
		return int(n), err
	})
	return n, push.Wrap("sqlstore.ReplayBatches", err)
}

// dropBatches removes batches of a webhook that has gone, in slices.
func (s *Store) dropBatches(ctx context.Context, left func() bool, id push.WebhookID) error {
	return s.slices(ctx, left, blobSlice, "DELETE FROM batch WHERE id IN (SELECT id FROM batch WHERE webhook = ?1 LIMIT ?2)", int64(id))
}

// batchKeep is how long a dead batch may be replayed, from when it was made.
const batchKeep = 8 * 24 * time.Hour

// orphanWebhooks finds the webhooks that have gone and left batches. It goes from webhook to webhook, past the batches of each.
const orphanWebhooks = `WITH RECURSIVE h (webhook) AS (
		SELECT (SELECT min(webhook) FROM batch)
		UNION ALL
		SELECT (SELECT min(b.webhook) FROM batch b WHERE b.webhook > h.webhook) FROM h WHERE webhook IS NOT NULL
	)
	SELECT webhook FROM h WHERE webhook IS NOT NULL AND NOT EXISTS (SELECT 1 FROM webhook w WHERE w.id = h.webhook)`

// tidyBatches removes batches that have been dead for long, and those of webhooks that have gone.
func (s *Store) tidyBatches(ctx context.Context, now time.Time, left func() bool) error {
	old := now.Add(-batchKeep).UnixMilli()
	found, err := s.read.one(ctx, "SELECT 1 FROM batch WHERE next = 0 AND created <= ?1 LIMIT 1", []any{old}, new(int))
	if err == nil && found {
		err = s.slices(ctx, left, blobSlice, `DELETE FROM batch WHERE id IN
			(SELECT id FROM batch WHERE next = 0 AND created <= ?1 LIMIT ?2)`, old)
	}
	if err != nil {
		return err
	}
	return s.dropOrphans(ctx, left)
}

// dropOrphans removes the batches of webhooks that have gone.
func (s *Store) dropOrphans(ctx context.Context, left func() bool) error {
	var orphans []push.WebhookID
	err := s.read.each(ctx, orphanWebhooks, func(rows *sql.Rows) error {
		var id push.WebhookID
		err := rows.Scan(&id)
		orphans = append(orphans, id)
		return err
	})
	for _, id := range orphans {
		if err != nil || !left() {
			break
		}
		err = s.dropBatches(ctx, left, id)
	}
	return err
}
