package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// An inboxRow says that a push waits for a device.
type inboxRow struct {
	app     push.AppID
	ordinal push.Ordinal
	push    push.ID
	expires int64
}

// inboxRows are rows of one day's table.
type inboxRows struct{ all []inboxRow }

func (r *inboxRows) add(row inboxRow) { r.all = append(r.all, row) }

func (r *inboxRows) addPush(a *acceptance) {
	expires := millis(a.Push.Expires)
	for _, o := range a.Targets {
		r.all = append(r.all, inboxRow{a.Push.App, o, a.Push.ID, expires})
	}
}

// columns returns the rows in the order of their key, so that neighbours change the same page once.
func (r *inboxRows) columns() []column {
	slices.SortFunc(r.all, func(a, b inboxRow) int {
		return cmp.Or(cmp.Compare(a.app, b.app), cmp.Compare(a.ordinal, b.ordinal), cmp.Compare(a.push, b.push))
	})
	n := len(r.all)
	ints := make([]int64, 4*n)
	cols := []column{
		{name: "app", ints: ints[:n]},
		{name: "ordinal", ints: ints[n : 2*n]},
		{name: "push", ints: ints[2*n : 3*n]},
		{name: "expires", ints: ints[3*n:]},
	}
	for i, row := range r.all {
		cols[0].ints[i], cols[1].ints[i] = int64(row.app), int64(row.ordinal)
		cols[2].ints[i], cols[3].ints[i] = int64(row.push), row.expires
	}
	return cols
}

func (t *tx) insertInbox(day push.Day, rows *inboxRows) error {
	if len(rows.all) == 0 {
		return nil
	}
	t.inbox += len(rows.all)
	return t.insert(inboxTable.of(day), "", rows.columns()...)
}

// removeInbox removes rows and returns those that were there.
func (t *tx) removeInbox(day push.Day, rows *inboxRows) ([]inboxRow, error) {
	if len(rows.all) == 0 {
		return nil, nil
	}
	gone, err := t.remove(inboxTable.of(day), rows.columns()[:3]...)
	if err != nil {
		return nil, err
	}
	t.inbox -= len(gone)
	found := make([]inboxRow, len(gone))
	for i, n := range gone {
		found[i] = rows.all[n]
	}
	return found, nil
}

// dropInbox removes rows and adds a receipt of m for each that was there. It returns those.
func (t *tx) dropInbox(day push.Day, rows *inboxRows, m push.Mark) ([]inboxRow, error) {
	gone, err := t.removeInbox(day, rows)
	for _, row := range gone {
		t.receipts = append(t.receipts, push.Receipt{App: row.app, Push: row.push, Ordinal: row.ordinal, Mark: m, Day: day})
	}
	return gone, err
}

// InboxRows returns how many rows wait in all inboxes.
func (s *Store) InboxRows() int64 { return s.waiting.Load() }

// countInbox counts the rows that wait, once at start.
func (s *Store) countInbox(ctx context.Context) error {
	for _, d := range s.days.from(inboxTable, 0) {
		n := int64(0)
		if _, err := s.read.one(ctx, "SELECT count(*) FROM "+inboxTable.of(d), nil, &n); err != nil {
			return err
		}
		s.waiting.Add(n)
	}
	return nil
}

// setLimit says how many rows an inbox of app may hold.
func (s *Store) setLimit(app push.AppID, limit int) {
	if old, ok := s.limits.Load(app); !ok || old != limit {
		s.limits.Store(app, limit)
	}
}

func (s *Store) limit(app push.AppID) int {
	if limit, ok := s.limits.Load(app); ok {
		return limit.(int)
	}
	return push.Settings(nil).Int(push.SettingInboxLimit)
}

// A box is one device's inbox.
type box struct {
	app     push.AppID
	ordinal push.Ordinal
}

// sampled reports whether the inboxes of a row are looked at when it is stored: every sixteenth is, so that no inbox grows
// far beyond its limit, also if its device never comes.
func sampled(id push.ID, o push.Ordinal) bool {
	return (uint64(id)*0x9e3779b97f4a7c15+uint64(o)*0xc2b2ae3d27d4eb4f)>>60 == 0
}

// trimSample drops what is above the limit from a sample of the inboxes that the commit has added to.
func (s *Store) trimSample(t *tx, stored []*acceptance) error {
	var boxes []box
	now := int64(0)
	for _, a := range stored {
		now = max(now, millis(a.Push.Created))
		for _, o := range a.Targets {
			if sampled(a.Push.ID, o) {
				boxes = append(boxes, box{a.Push.App, o})
			}
		}
	}
	if len(boxes) == 0 {
		return nil
	}
	all := s.days.from(inboxTable, push.DayOf(time.UnixMilli(now)))
	if len(all) == 0 {
		return nil
	}
	var over []box
	err := t.each("SELECT k.n, "+counts(all, "?1", "k.app")+" FROM "+s.dialect.traits().keys("?2", "app", "ordinal")+" k", func(rows *sql.Rows) error {
		var n, count int
		err := rows.Scan(&n, &count)
		if err == nil && count > s.limit(boxes[n].app) {
			over = append(over, boxes[n])
		}
		return err
	}, now, keyArg(len(boxes), func(i int) []int64 { return []int64{int64(boxes[i].app), int64(boxes[i].ordinal)} }))
	for _, b := range over {
		if err == nil {
			err = s.trim(t, b, now)
		}
	}
	return err
}

// counts returns how many rows of an app's inbox k.ordinal expire after now, as a term.
func counts(all []push.Day, now, app string) string {
	parts := make([]string, len(all))
	for i, d := range all {
		parts[i] = "(SELECT count(*) FROM " + inboxTable.of(d) + " i WHERE i.app = " + app + " AND i.ordinal = k.ordinal AND i.expires > " + now + ")"
	}
	return "(" + strings.Join(append(parts, "0"), " + ") + ")"
}

// trim drops the oldest rows of an inbox that holds more than it may.
func (s *Store) trim(t *tx, b box, now int64) error {
	all := s.days.from(inboxTable, push.DayOf(time.UnixMilli(now)))
	if len(all) == 0 {
		return nil
	}
	rows := map[push.Day]*inboxRows{}
	// Newest first: what comes after the limit's rows is too much.
	err := t.each("SELECT day, push FROM "+waiting(all, "?1", "?2", "?3")+" u ORDER BY push DESC LIMIT ?4 OFFSET ?5",
		func(found *sql.Rows) error {
			var day push.Day
			var id push.ID
			err := found.Scan(&day, &id)
			if rows[day] == nil {
				rows[day] = new(inboxRows)
			}
			rows[day].add(inboxRow{b.app, b.ordinal, id, 0})
			return err
		}, int64(b.app), int64(b.ordinal), now, maxTrim, s.limit(b.app))
	for day, old := range rows {
		if err == nil {
			_, err = t.dropInbox(day, old, push.MarkOverflow)
		}
	}
	return err
}

// maxTrim bounds how many rows of one inbox a commit drops.
const maxTrim = 10_000

// waiting returns the rows of one inbox as a relation of day, push and expires.
func waiting(all []push.Day, app, ordinal, now string) string {
	return union(all, func(d push.Day) string {
		return fmt.Sprintf("SELECT %d AS day, push, expires FROM %s WHERE app = %s AND ordinal = %s AND expires > %s",
			d, inboxTable.of(d), app, ordinal, now)
	})
}

// Owed returns the oldest pushes that wait for a device and expire after now, in order of ids, at most limit, without
// those that skip names; what is personal has its own payload. Before it looks it drops what is above the inbox's limit.
func (s *Store) Owed(ctx context.Context, app push.AppID, o push.Ordinal, now time.Time, limit int, skip func(push.ID) bool) ([]*push.Delivery, error) {
	var owed []*push.Delivery
	err := s.days.stable(func() (err error) {
		owed, err = s.owed(ctx, box{app, o}, now, limit, skip)
		return err
	})
	return owed, push.Wrap("sqlstore.Owed", err)
}

func (s *Store) owed(ctx context.Context, b box, now time.Time, limit int, skip func(push.ID) bool) ([]*push.Delivery, error) {
	all := s.days.from(inboxTable, push.DayOf(now))
	if len(all) == 0 || limit <= 0 {
		return nil, nil
	}
	ms, most := now.UnixMilli(), s.limit(b.app)
	var found []*push.Delivery
	days := map[push.Day][]*push.Delivery{}
	read := func() (int, error) {
		n := 0
		found = found[:0]
		clear(days)
		err := s.read.each(ctx, "SELECT day, push, expires FROM "+waiting(all, "?1", "?2", "?3")+" u ORDER BY push LIMIT ?4",
			func(rows *sql.Rows) error {
				var day push.Day
				var id push.ID
				var expires int64
				if err := rows.Scan(&day, &id, &expires); err != nil {
					return err
				}
				if n++; len(found) == limit || skip != nil && skip(id) {
					return nil
				}
				d := &push.Delivery{ID: id, App: b.app, Kind: push.Direct, Expires: timeOf(expires)}
				found, days[day] = append(found, d), append(days[day], d)
				return nil
			}, int64(b.app), int64(b.ordinal), ms, most+1)
		return n, err
	}
	n, err := read()
	if err == nil && n > most {
		err = s.commit.do(ctx, 0, func(t *tx) error { return s.trim(t, b, ms) })
		if err == nil {
			_, err = read()
		}
	}
	for day, pushes := range days {
		if err == nil {
			err = s.payloads(ctx, day, b.ordinal, pushes)
		}
	}
	return found, err
}

// payloads fills in what a device gets of direct pushes of one day, and their rules.
func (s *Store) payloads(ctx context.Context, day push.Day, o push.Ordinal, pushes []*push.Delivery) error {
	slices.SortFunc(pushes, func(a, b *push.Delivery) int { return cmp.Compare(a.ID, b.ID) })
	args := []any{keyArg(len(pushes), func(i int) []int64 { return []int64{int64(pushes[i].ID)} })}
	payload, own := "d.payload", ""
	if s.days.has(personalTable, day) {
		payload, own = "COALESCE(x.payload, d.payload)", " LEFT JOIN "+personalTable.of(day)+" x ON x.push = d.id AND x.ordinal = ?2"
		args = append(args, int64(o))
	}
	query := "SELECT d.id, d.rules, " + payload + " FROM " + directTable.of(day) + " d" + own + " WHERE d.id IN (SELECT k.id FROM " +
		s.dialect.traits().keys("?1", "id") + " k)"
	return s.read.each(ctx, query, func(rows *sql.Rows) error {
		var id push.ID
		var rules sql.RawBytes
		var payload []byte
		if err := rows.Scan(&id, &rules, &payload); err != nil {
			return err
		}
		i, ok := slices.BinarySearchFunc(pushes, id, func(d *push.Delivery, id push.ID) int { return cmp.Compare(d.ID, id) })
		if !ok {
			return nil
		}
		pushes[i].Payload = payload
		var err error
		if pushes[i].Rules, err = unpackRules(rules); err != nil {
			return damaged(&push.Push{ID: id, App: pushes[i].App}, err)
		}
		return nil
	}, args...)
}

// Withdraw removes what still waits of a direct push, marks it with m in the same commit, and returns how many rows.
// NotFound if there is no such push.
func (s *Store) Withdraw(ctx context.Context, app push.AppID, id push.ID, m push.Mark) (int, error) {
	const op = "sqlstore.Withdraw"
	p, err := s.find(ctx, app, id)
	if err != nil {
		return 0, push.Wrap(op, err)
	}
	targets, err := s.Targets(ctx, p)
	if err != nil {
		return 0, push.Wrap(op, err)
	}
	rows := new(inboxRows)
	for _, o := range targets {
		rows.add(inboxRow{app, o, id, 0})
	}
	day := push.DayOf(p.Expires)
	n, err := s.commit.count(ctx, 64*len(targets), func(t *tx) (int, error) {
		if !s.days.has(inboxTable, day) {
			return 0, nil
		}
		gone, err := t.dropInbox(day, rows, m)
		if err != nil || len(gone) == 0 {
			return 0, err // all of it had arrived, or was dropped: the push stays what it was
		}
		return len(gone), t.withdraw(id, day, m)
	})
	return n, push.Wrap(op, err)
}

// withdraw notes that what waited of a direct push has been taken back, unless it has been noted before. Nothing of it is
// left to be paused.
func (t *tx) withdraw(id push.ID, day push.Day, m push.Mark) error {
	_, err := t.exec("INSERT INTO withdrawn (push, day, mark) VALUES (?, ?, ?) ON CONFLICT (push) DO NOTHING", int64(id), int64(day), int64(m))
	if err == nil {
		_, err = t.exec("DELETE FROM held WHERE push = ?", int64(id))
	}
	return err
}

// Waiting yields each device for which rows wait, once or more often.
func (s *Store) Waiting(ctx context.Context, yield func(push.AppID, push.Ordinal)) error {
	for _, d := range s.days.from(inboxTable, 0) {
		err := s.days.stable(func() error {
			if !s.days.has(inboxTable, d) {
				return nil
			}
			return s.waitingOf(ctx, d, yield)
		})
		if err != nil {
			return push.Wrap("sqlstore.Waiting", err)
		}
	}
	return nil
}

// scanPage is how many rows one read of a long scan takes: few milliseconds' worth.
const scanPage = 4096

func (s *Store) waitingOf(ctx context.Context, d push.Day, yield func(push.AppID, push.Ordinal)) error {
	query := "SELECT app, ordinal, push FROM " + inboxTable.of(d) + ` WHERE (app, ordinal, push) > (?1, ?2, ?3)
		ORDER BY app, ordinal, push LIMIT ?4`
	last := inboxRow{}
	for {
		page := make([]inboxRow, 0, scanPage)
		err := s.read.each(ctx, query, func(rows *sql.Rows) error {
			var row inboxRow
			err := rows.Scan(&row.app, &row.ordinal, &row.push)
			page = append(page, row)
			return err
		}, int64(last.app), int64(last.ordinal), int64(last.push), scanPage)
		if err != nil {
			return err
		}
		for i, row := range page {
			if i == 0 || row.app != page[i-1].app || row.ordinal != page[i-1].ordinal {
				yield(row.app, row.ordinal)
			}
		}
		if len(page) < scanPage {
			return nil
		}
		last = page[len(page)-1]
	}
}
