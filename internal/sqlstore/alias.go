package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// Aliases returns the aliases of devices, the oldest of each first. Devices that have none are left out.
func (s *Store) Aliases(ctx context.Context, app push.AppID, ordinals []push.Ordinal) (map[push.Ordinal][]push.Alias, error) {
	all := map[push.Ordinal][]push.Alias{}
	sorted := slices.Clone(ordinals)
	slices.Sort(sorted)
	for page := range slices.Chunk(slices.Compact(sorted), devicePage) {
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

// holderPage is how many names one read of Holders takes.
const holderPage = 128

// Holders returns the registered devices of app that have one of the names, in the order in which names has the values, each
// once, and then of ordinals (for aliases: the oldest owner first).
func (s *Store) Holders(ctx context.Context, app push.AppID, names push.Names) ([]push.Holder, error) {
	const op = "sqlstore.Holders"
	query := ""
	switch names.Kind {
	case push.ByAlias:
		query = "SELECT value, ordinal FROM " + s.lookup("alias", "app = ?1 AND type = ?3", "value", "?2", texts) + " ORDER BY at"
	case push.ByAccount, push.ByPhone:
		name := map[push.NameKind]string{push.ByAccount: "account", push.ByPhone: "phone"}[names.Kind]
		query = "SELECT " + name + ", ordinal FROM " + s.lookup("device", "app = ?1 AND "+name+" <> ''", name, "?2", texts) + " AND removed = 0"
	case push.ByPrevious:
		query = "SELECT previous, ordinal FROM " + s.lookup("device", "app = ?1 AND removed = 0 AND previous <> ''", "previous", "?2", texts)
	default:
		return nil, push.Wrap(op, invalid("kind", "is alias, account, phone or previous"))
	}
	if !plain(names.Type) {
		return nil, nil
	}
	var values []string
	place := map[string]int{}
	for _, v := range names.Values {
		if _, again := place[v]; !again && v != "" && plain(v) { // nothing is stored under the others
			place[v] = len(values)
			values = append(values, v)
		}
	}
	var all []push.Holder
	for page := range slices.Chunk(values, holderPage) {
		args := []any{int64(app), textsArg(page)}
		if names.Kind == push.ByAlias {
			args = append(args, names.Type)
		}
		err := s.read.each(ctx, query, func(rows *sql.Rows) error {
			var h push.Holder
			err := rows.Scan(&h.Value, &h.Ordinal)
			all = append(all, h)
			return err
		}, args...)
		if err != nil {
			return nil, push.Wrap(op, err)
		}
	}
	slices.SortStableFunc(all, func(a, b push.Holder) int {
		if c := place[a.Value] - place[b.Value]; c != 0 || names.Kind == push.ByAlias {
			return c
		}
		return cmp.Compare(a.Ordinal, b.Ordinal)
	})
	return all, nil
}

// planAliases does the edits of d, and takes the aliases from devices that it removes, in memory. NotFound if a device that
// is to have an alias is not registered, TooMany if the limits do not allow an edit.
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
			e := (*push.Error)(nil)
			if errors.As(err, &e) {
				e.Field = fmt.Sprintf("aliases[%d]", i)
			}
			return nil, err
		}
	}
	return p, nil
}

// stamp returns the time in microseconds, later than all it has returned before.
func (w *writer) stamp() int64 {
	w.stamped = max(w.stamped+1, time.Now().UnixMicro())
	return w.stamped
}

// registered returns the devices that d removes, and NotFound if one that is to have an alias will not be registered.
func (d *deviceChange) registered(t *tx) (removed []push.Ordinal, err error) {
	for i := range d.rows {
		if row := &d.rows[i]; !row.Removed.IsZero() && !row.fresh {
			removed = append(removed, row.Ref.Ordinal)
		}
	}
	var others []push.Ordinal // whose rows are not in d
	for _, e := range d.Aliases {
		i, inside := d.at[e.Ordinal]
		switch {
		case e.Op == push.Delete:
		case !inside:
			others = append(others, e.Ordinal)
		case !d.rows[i].Removed.IsZero():
			return nil, orNotFound(nil, "the device is not registered")
		}
	}
	slices.Sort(others)
	if others = slices.Compact(others); len(others) == 0 {
		return removed, nil
	}
	n := 0
	_, err = t.one("SELECT count(*) FROM "+t.lookup("device", "app = ?1", "ordinal", "?2", ints)+" AND removed = 0",
		[]any{int64(d.App), intsArg(others)}, &n)
	if err == nil && n < len(others) {
		err = orNotFound(nil, "the device is not registered")
	}
	return removed, err
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
