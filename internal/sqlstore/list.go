package sqlstore

import (
	"context"
	"database/sql"
	"math"
	"slices"

	"github.com/carillonpush/carillon/internal/push"
)

// Limits of one page of List.
const (
	defaultPage = 50
	maxPage     = 1000
	maxScanned  = 4096 // pushes of all apps that are looked at
	sourcePage  = 128  // rows that are read of one table at once
)

// List returns pushes of app with ids below before (0: all), newest first, about limit (0: 50; at most 1,000); next is
// where to go on, 0 at the end. A page may hold fewer than limit, even none, while next is not 0: the work of one call is
// bounded, and a day's table holds the pushes of all apps. A push whose row cannot be read is told of in the log and left out.
func (s *Store) List(ctx context.Context, app push.AppID, before push.ID, limit int) (page []push.Push, next push.ID, err error) {
	if before <= 0 {
		before = math.MaxInt64
	}
	if limit <= 0 {
		limit = defaultPage
	}
	err = s.days.stable(func() error {
		page, next, err = s.list(ctx, app, before, min(limit, maxPage))
		return err
	})
	return page, next, push.Wrap("sqlstore.List", err)
}

// A source is one table that List merges, read page by page, newest first.
type source struct {
	day   push.Day // 0 is the table of bulk pushes
	query string
	args  []any // before those of the page
	ids   []push.ID
	apps  []push.AppID
	end   bool // the table has no more
}

func (s *Store) list(ctx context.Context, app push.AppID, before push.ID, limit int) ([]push.Push, push.ID, error) {
	const page = " AND id < ? ORDER BY id DESC LIMIT ?"
	sources := []*source{{query: "SELECT id, app FROM push WHERE app = ?" + page, args: []any{int64(app)}}}
	for _, d := range s.days.from(directTable, 0) {
		// The app is not asked for here: it is in no key, so a small app among large ones would mean reading a day whole.
		sources = append(sources, &source{day: d, query: "SELECT id, app FROM " + directTable.of(d) + " WHERE id > 0" + page})
	}
	found := map[push.Day][]push.ID{}
	last, n := before, 0
	for scanned := 0; n < limit && scanned < maxScanned; scanned++ {
		newest, err := s.newest(ctx, sources, last)
		if err != nil {
			return nil, 0, err
		}
		if newest == nil {
			last = 0
			break
		}
		last = newest.ids[0]
		if newest.apps[0] == app {
			found[newest.day] = append(found[newest.day], last)
			n++
		}
		newest.ids, newest.apps = newest.ids[1:], newest.apps[1:]
	}
	pushes, err := s.load(ctx, found)
	if err == nil && last != 0 {
		// A last full page should not promise another.
		if more, err := s.newest(ctx, sources, last); err == nil && more == nil {
			last = 0
		}
	}
	return pushes, last, err
}

// newest returns the source whose next push is the newest, nil if no source has one. Sources are filled as needed.
func (s *Store) newest(ctx context.Context, sources []*source, below push.ID) (*source, error) {
	var newest *source
	for _, src := range sources {
		if len(src.ids) == 0 && !src.end {
			err := s.read.each(ctx, src.query, func(rows *sql.Rows) error {
				var id push.ID
				var owner push.AppID
				err := rows.Scan(&id, &owner)
				src.ids, src.apps = append(src.ids, id), append(src.apps, owner)
				return err
			}, append(src.args[:len(src.args):len(src.args)], int64(below), sourcePage)...)
			if err != nil {
				return nil, err
			}
			src.end = len(src.ids) < sourcePage
		}
		if len(src.ids) > 0 && (newest == nil || src.ids[0] > newest.ids[0]) {
			newest = src
		}
	}
	return newest, nil
}

// load returns the pushes found by day, newest first.
func (s *Store) load(ctx context.Context, found map[push.Day][]push.ID) ([]push.Push, error) {
	var page []push.Push
	add := func(p push.Push, err error) error {
		if err == nil {
			page = append(page, p)
		}
		return s.leaveOut(&p, err)
	}
	for day, ids := range found {
		keys := s.dialect.traits().keys("?1", "id")
		arg := keyArg(len(ids), func(i int) []int64 { return []int64{int64(ids[i])} })
		if day == 0 {
			err := s.eachBulk(ctx, func(p stored, err error) error { return add(p.Push, err) }, "id IN (SELECT k.id FROM "+keys+" k)", arg)
			if err != nil {
				return nil, err
			}
			continue
		}
		err := s.read.each(ctx, selectDirect(day)+" WHERE d.id IN (SELECT k.id FROM "+keys+" k)", func(rows *sql.Rows) error {
			return add(scanDirect(rows))
		}, arg)
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(page, func(a, b push.Push) int { return int(min(1, max(-1, b.ID-a.ID))) })
	return page, nil
}
