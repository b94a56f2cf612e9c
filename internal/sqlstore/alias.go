package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// Aliases returns the aliases of devices, the oldest of each first. Devices that have none are left out.
func (s *Store) Aliases(ctx context.Context, app push.AppID, ordinals []push.Ordinal) (map[push.Ordinal][]push.Alias, error) {
	all := map[push.Ordinal][]push.Alias{}
	for page := range devicePages(ordinals) {
		err := s.read.each(ctx, "SELECT ordinal, type, value FROM "+s.lookup("alias", "app = ?1", "ordinal", "?2", ints)+
			" ORDER BY ordinal, at", func(rows *sql.Rows) error {
			var o push.Ordinal
			var a push.Alias
			err := rows.Scan(&o, &a.Type, &a.Value)
			all[o] = append(all[o], a)
			return err
		}, int64(app), intsArg(page))
		if err != nil {
			return nil, push.Wrap("sqlstore.Aliases", err)
		}
	}
	return all, nil
}

// planAliases does the edits of d, and takes the aliases from devices that it removes, in memory. NotFound if a device that
// is to have an alias is not registered, TooMany if the limits do not allow an edit; Field is "aliases[i]".
func (d *deviceChange) planAliases(t *tx) (*aliasPlan, error) {
	removed, err := d.registered(t)
	if err != nil {
		return nil, err
	}
	rows, err := d.owned(t, removed)
	if err != nil {
		return nil, err
	}
	p := newAliasPlan(d.Limits, rows)
	for _, o := range removed {
		p.strip(o)
	}
	for i, e := range d.Aliases {
		if err := p.edit(e, t.w.stamp()); err != nil {
			return nil, push.Within(aliasField(i), err)
		}
	}
	return p, nil
}

// stamp returns the time in microseconds, later than all it has returned before.
func (w *writer) stamp() int64 {
	w.stamped = max(w.stamped+1, time.Now().UnixMicro())
	return w.stamped
}

// aliasField names an edit of an alias in errors.
func aliasField(i int) string { return fmt.Sprintf("aliases[%d]", i) }

// registered returns the devices that d removes, and NotFound if one that is to have an alias will not be registered.
func (d *deviceChange) registered(t *tx) (removed []push.Ordinal, err error) {
	known := map[push.Ordinal]bool{} // that will be
	for i := range d.rows {
		row := &d.rows[i]
		known[row.Ref.Ordinal] = row.Removed.IsZero()
		if !row.Removed.IsZero() && !row.fresh {
			removed = append(removed, row.Ref.Ordinal)
		}
	}
	var others []push.Ordinal // whose rows are not in d
	for _, e := range d.Aliases {
		if _, inside := known[e.Ordinal]; e.Op != push.Delete && !inside {
			others, known[e.Ordinal] = append(others, e.Ordinal), false
		}
	}
	if len(others) > 0 {
		err := t.each("SELECT ordinal FROM "+t.lookup("device", "app = ?1", "ordinal", "?2", ints)+" AND removed = 0", func(rows *sql.Rows) error {
			var o push.Ordinal
			err := rows.Scan(&o)
			known[o] = true
			return err
		}, int64(d.App), intsArg(others))
		if err != nil {
			return nil, err
		}
	}
	for i, e := range d.Aliases {
		if e.Op != push.Delete && !known[e.Ordinal] {
			return nil, push.Within(aliasField(i), notFound("the device is not registered"))
		}
	}
	return removed, nil
}

// owned returns the rows that the plan's rules are about: all aliases of the devices that d edits or removes, and all owners of the
// aliases that it puts, or adds where their number has a limit.
func (d *deviceChange) owned(t *tx, removed []push.Ordinal) ([]aged, error) {
	devices := slices.Clone(removed)
	aliases := map[string][]string{} // by type
	for _, e := range d.Aliases {
		devices = append(devices, e.Ordinal)
		if e.Op == push.Put || e.Op == push.Add && d.Limits.Devices > 0 {
			aliases[e.Alias.Type] = append(aliases[e.Alias.Type], e.Alias.Value)
		}
	}
	if len(devices) == 0 {
		return nil, nil
	}
	slices.Sort(devices)
	var all []aged
	seen := map[owning]bool{}
	scan := func(rows *sql.Rows) error {
		var a aged
		err := rows.Scan(&a.alias.Type, &a.alias.Value, &a.ordinal, &a.at)
		if !seen[a.owning] {
			seen[a.owning] = true
			all = append(all, a)
		}
		return err
	}
	const columns = "SELECT type, value, ordinal, at FROM "
	err := t.each(columns+t.lookup("alias", "app = ?1", "ordinal", "?2", ints), scan, int64(d.App), intsArg(slices.Compact(devices)))
	for kind, values := range aliases {
		if err == nil {
			err = t.each(columns+t.lookup("alias", "app = ?1 AND type = ?2", "value", "?3", texts), scan, int64(d.App), kind, textsArg(distinct(values)))
		}
	}
	return all, err
}

func distinct(all []string) []string {
	slices.Sort(all)
	return slices.Compact(all)
}
