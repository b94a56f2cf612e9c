package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"strconv"

	"github.com/carillonpush/carillon/internal/push"
)

// A push with a collapse id takes the place of those with the same id that have not arrived. Only pushes with an id are in
// the indexes by it, which is why queries say that it is not empty.

// collapseDirect drops, for the targets of the direct pushes that the commit stores, what waits of the direct pushes before
// them with the same collapse id.
func (s *Store) collapseDirect(t *tx, stored []*acceptance) error {
	var all []*acceptance
	ahead := map[push.ID]bool{} // those that are not before the one that is looked at
	for _, a := range stored {
		if a.Push.Kind == push.Direct && a.Push.Request.Policy.CollapseID != "" {
			all, ahead[a.Push.ID] = append(all, a), true
		}
	}
	for _, a := range all {
		if err := s.collapseFor(t, a, ahead); err != nil {
			return err
		}
		delete(ahead, a.Push.ID)
	}
	return nil
}

// collapseFor drops what the targets of a wait for with its collapse id, but for pushes of ahead.
func (s *Store) collapseFor(t *tx, a *acceptance, ahead map[push.ID]bool) error {
	days := s.days.from(inboxTable, push.DayOf(a.Push.Created))
	days = slices.DeleteFunc(days, func(d push.Day) bool { return !s.days.has(directTable, d) })
	if len(days) == 0 || len(a.Targets) == 0 {
		return nil
	}
	// From the devices' inboxes, which are short: any number of pushes may have the id, each for devices of its own.
	query := "SELECT day, ordinal, push FROM " + union(days, func(day push.Day) string {
		return "SELECT " + strconv.Itoa(int(day)) + " AS day, d.ordinal, d.push FROM " + t.lookup(inboxTable.of(day), "app = ?1", "ordinal", "?2", ints) +
			" AND d.expires > ?3 AND (SELECT c.collapse FROM " + directTable.of(day) + " c WHERE c.id = d.push) = ?4"
	}) + " u"
	rows := map[push.Day]*inboxRows{}
	err := t.each(query, func(found *sql.Rows) error {
		var day push.Day
		var o push.Ordinal
		var id push.ID
		err := found.Scan(&day, &o, &id)
		if ahead[id] {
			return err
		}
		if rows[day] == nil {
			rows[day] = new(inboxRows)
		}
		rows[day].add(inboxRow{a.Push.App, o, id, 0})
		return err
	}, int64(a.Push.App), intsArg(a.Targets), millis(a.Push.Created), a.Push.Request.Policy.CollapseID)
	for day, old := range rows {
		if err == nil {
			_, err = t.dropInbox(day, old, push.MarkCollapsed)
		}
	}
	return err
}

// Collapse drops, with MarkCollapsed, what waits of the direct pushes of app with a collapse id, but for push except, for the
// devices that in returns true for, and returns which devices had one, in order. It takes several commits. Direct pushes
// that are accepted meanwhile are left alone.
func (s *Store) Collapse(ctx context.Context, app push.AppID, collapse string, except push.ID, in func(push.Ordinal) bool) ([]push.Ordinal, error) {
	const op = "sqlstore.Collapse"
	if collapse == "" || !plain(collapse) {
		return nil, nil
	}
	newest, err := s.Newest(ctx)
	if err != nil {
		return nil, push.Wrap(op, err)
	}
	var all []push.Ordinal
	for _, day := range s.days.from(inboxTable, 0) {
		for at := (collapsing{}); err == nil; {
			var page []collapsing
			page, err = s.collapsing(ctx, day, app, collapse, at)
			var rows []inboxRow
			for _, p := range page {
				for _, o := range p.targets {
					if p.id <= newest && p.id != except && in(o) {
						rows = append(rows, inboxRow{app, o, p.id, 0})
					}
				}
				at = p
			}
			if err == nil {
				rows, _, err = s.dropWaiting(ctx, day, rows, len(rows), push.MarkCollapsed)
			}
			for _, row := range rows {
				all = append(all, row.ordinal)
			}
			if len(page) < collapsePage {
				break
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all), push.Wrap(op, err)
}

// collapsePage is how many pushes with a collapse id are looked at in one read.
const collapsePage = 64

// A collapsing is a push that has a collapse id.
type collapsing struct {
	begun   int64 // when, in milliseconds
	id      push.ID
	targets []push.Ordinal // of a direct push
}

// collapsing returns the next direct pushes of a day with a collapse id, in the order in which they were made, after a place.
func (s *Store) collapsing(ctx context.Context, day push.Day, app push.AppID, collapse string, at collapsing) (page []collapsing, err error) {
	err = s.days.stable(func() error {
		page = nil
		if !s.days.has(directTable, day) {
			return nil
		}
		return s.read.each(ctx, "SELECT created, id, targets FROM "+directTable.of(day)+` WHERE app = ?1 AND collapse = ?2 AND collapse <> ''
			AND (created, id) > (?3, ?4) ORDER BY created, id LIMIT ?5`, func(rows *sql.Rows) error {
			var p collapsing
			var packed sql.RawBytes
			err := rows.Scan(&p.begun, &p.id, &packed)
			if err == nil {
				p.targets, err = unpackOrdinals(packed)
			}
			page = append(page, p)
			return err
		}, int64(app), collapse, at.begun, int64(at.id), collapsePage)
	})
	return page, err
}

// collapsingBulk returns the next bulk pushes with a collapse id that have begun, in the order of their starts.
func (s *Store) collapsingBulk(ctx context.Context, app push.AppID, collapse string, at collapsing) (page []collapsing, err error) {
	err = s.read.each(ctx, `SELECT start, id FROM push WHERE app = ?1 AND collapse = ?2 AND collapse <> '' AND (start, id) > (?3, ?4)
		AND target IS NOT NULL ORDER BY start, id LIMIT ?5`, func(rows *sql.Rows) error {
		var p collapsing
		err := rows.Scan(&p.begun, &p.id)
		page = append(page, p)
		return err
	}, int64(app), collapse, at.begun, int64(at.id), collapsePage)
	return page, err
}

// maxCollapsing is how many pushes with one collapse id CollapsedBy looks at in one table.
const maxCollapsing = 1 << 16

// CollapsedBy returns the push by which p was collapsed on a device: the next one of its app with the same collapse id that the
// device is in the target of. 0 if none is known.
func (s *Store) CollapsedBy(ctx context.Context, p push.Push, o push.Ordinal) (push.ID, error) {
	const op = "sqlstore.CollapsedBy"
	collapse, begun := p.Request.Policy.CollapseID, p.Created
	if p.Kind == push.Bulk {
		begun = p.Start
	}
	if collapse == "" {
		return 0, nil
	}
	var found []collapsing
	first := func(next func(at collapsing) ([]collapsing, error), targeted func(collapsing) (bool, error)) error {
		at := collapsing{begun: millis(begun), id: p.ID}
		for n := 0; n < maxCollapsing; n += collapsePage {
			page, err := next(at)
			if err != nil {
				return err
			}
			for _, at = range page {
				if in, err := targeted(at); err != nil || in {
					if in {
						found = append(found, at)
					}
					return err
				}
			}
			if len(page) < collapsePage {
				break
			}
		}
		return nil
	}
	err := first(func(at collapsing) ([]collapsing, error) { return s.collapsingBulk(ctx, p.App, collapse, at) },
		func(by collapsing) (bool, error) {
			return s.Targeted(ctx, push.Push{ID: by.id, App: p.App, Kind: push.Bulk}, o)
		})
	for _, day := range s.days.from(directTable, push.DayOf(begun)) {
		if err != nil {
			break
		}
		err = first(func(at collapsing) ([]collapsing, error) { return s.collapsing(ctx, day, p.App, collapse, at) },
			func(by collapsing) (bool, error) { return slices.Contains(by.targets, o), nil })
	}
	if err != nil || len(found) == 0 {
		return 0, push.Wrap(op, err)
	}
	next := slices.MinFunc(found, func(a, b collapsing) int { return cmp.Or(cmp.Compare(a.begun, b.begun), cmp.Compare(a.id, b.id)) })
	return next.id, nil
}
