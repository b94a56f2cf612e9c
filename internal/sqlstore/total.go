package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"

	"github.com/carillonpush/carillon/internal/push"
)

// addTotals adds all to the totals, in the commit that makes what they count. Those of apps that are not there are left out:
// totals stay for as long as their app.
func (t *tx) addTotals(all []push.TotalDelta) error {
	type key struct {
		push.TotalKey
		metric push.Metric
	}
	sums := map[key]int{}
	for _, d := range all {
		sums[key{d.Key, d.Metric}] += d.N
	}
	keys := make([]key, 0, len(sums))
	for k, n := range sums {
		there, err := t.hasApp(k.App)
		if err != nil {
			return err
		}
		if there && n != 0 {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b key) int {
		return cmp.Or(cmp.Compare(a.App, b.App), cmp.Compare(a.By, b.By), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Day, b.Day),
			cmp.Compare(a.metric, b.metric))
	})
	cols := []column{
		{name: "app", ints: []int64{}},
		{name: "dim", texts: []string{}},
		{name: "name", texts: []string{}},
		{name: "day", ints: []int64{}},
		{name: "metric", ints: []int64{}},
		{name: "n", ints: []int64{}},
	}
	for _, k := range keys {
		cols[0].ints = append(cols[0].ints, int64(k.App))
		cols[1].texts = append(cols[1].texts, string(k.By))
		cols[2].texts = append(cols[2].texts, k.Name)
		cols[3].ints = append(cols[3].ints, int64(k.Day))
		cols[4].ints = append(cols[4].ints, int64(k.metric))
		cols[5].ints = append(cols[5].ints, int64(sums[k]))
	}
	return t.insert("total", "ON CONFLICT (app, dim, name, day, metric) DO UPDATE SET n = total.n + excluded.n", cols...)
}

// hasApp reports whether an app is there, and was not deleted.
func (t *tx) hasApp(app push.AppID) (bool, error) {
	err := t.appThere(app)
	if t.failed == nil && errors.Is(err, push.NotFound) {
		return false, nil
	}
	return err == nil, err
}

// Totals yields the rows of totals of app by a dimension, from one day to another, both included: of one name, or of all if
// name is nil. They come in order of names, then of days; what is 0 is left out. An error of yield ends it and is returned. yield must not block.
func (s *Store) Totals(ctx context.Context, app push.AppID, by push.Dimension, name *string, from, to push.Day, yield func(push.TotalDelta) error) error {
	where, args := "", []any{int64(app), string(by), int64(from), int64(to)}
	if name != nil {
		where, args = " AND name = ?5", append(args, *name)
	}
	err := s.read.each(ctx, `SELECT name, day, metric, n FROM total
		WHERE app = ?1 AND dim = ?2 AND day >= ?3 AND day <= ?4 AND n <> 0`+where+" ORDER BY name, day, metric", func(rows *sql.Rows) error {
		d := push.TotalDelta{Key: push.TotalKey{App: app, By: by}}
		if err := rows.Scan(&d.Key.Name, &d.Key.Day, &d.Metric, &d.N); err != nil {
			return err
		}
		return yield(d)
	}, args...)
	return push.Wrap("sqlstore.Totals", err)
}
