package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"strconv"

	"github.com/carillonpush/carillon/internal/push"
)

const (
	// holderPage is how many names one read of Holders takes.
	holderPage = 128
	// holderRows is how many holders one read takes at most. Names that have more between them are read one by one.
	holderRows = 4096
)

// A naming is where the record has names of one kind. The first parameters of its queries are the app and the names, or the
// name; then comes the type, if names have one.
type naming struct {
	table, where, column string // as lookup takes them
	order, after         string // the order of a name's holders, that of an index, and which of them are beyond a place in it
	key                  string // the first column of order
}

// deviceNaming returns the naming of a column of devices.
func deviceNaming(column string) naming {
	return naming{
		table: "device", where: "app = ?1 AND removed = 0 AND " + column + " <> ''", column: column,
		order: "ordinal", after: "ordinal > ?3", key: "ordinal",
	}
}

var namings = map[push.NameKind]naming{
	push.ByAlias: {
		table: "alias", where: "app = ?1 AND type = ?3", column: "value",
		order: "at, ordinal", after: "(at, ordinal) > (?4, ?5)", key: "at",
	},
	push.ByAccount:  deviceNaming("account"),
	push.ByPhone:    deviceNaming("phone"),
	push.ByPrevious: deviceNaming("previous"),
}

// ofMany returns the query for holders of a list of names, in any order.
func (n *naming) ofMany(d dialect) string {
	return "SELECT " + n.column + ", ordinal, " + n.key + " FROM " + d.traits().lookup(n.table, n.where, n.column, "?2", texts) +
		" LIMIT " + strconv.Itoa(holderRows+1)
}

// ofOne returns the query for the next holders of one name, in their order.
func (n *naming) ofOne() string {
	return "SELECT " + n.column + ", ordinal, " + n.key + " FROM " + n.table + " WHERE " + n.where + " AND " + n.column + " = ?2 AND " +
		n.after + " ORDER BY " + n.order + " LIMIT " + strconv.Itoa(holderRows)
}

// A holderRow is a holder, and its place among those of its name.
type holderRow struct {
	push.Holder
	key int64
}

// Holders returns the registered devices of app that have one of the names, at most limit (0: all), in the order in which
// names has the values, each once, and then of ordinals (for aliases: the oldest owner first). No read takes more than
// some thousands: who comes to have a name meanwhile may be among them or not.
func (s *Store) Holders(ctx context.Context, app push.AppID, names push.Names, limit int) ([]push.Holder, error) {
	const op = "sqlstore.Holders"
	n, ok := namings[names.Kind]
	if !ok {
		return nil, push.Wrap(op, invalid("kind", "is alias, account, phone or previous"))
	}
	if !plain(names.Type) {
		return nil, nil
	}
	var values []string
	seen := map[string]bool{}
	for _, v := range names.Values {
		if !seen[v] && v != "" && plain(v) { // nothing is stored under the others
			seen[v] = true
			values = append(values, v)
		}
	}
	r := holderReader{naming: n, read: s.read, app: app, names: names, limit: limit}
	for page := range slices.Chunk(values, holderPage) {
		if err := r.page(ctx, page); err != nil {
			return nil, push.Wrap(op, err)
		}
		if r.full() {
			return r.all[:limit], nil
		}
	}
	return r.all, nil
}

// A holderReader is one call of Holders.
type holderReader struct {
	naming
	read  *reader
	app   push.AppID
	names push.Names
	limit int
	all   []push.Holder
}

func (r *holderReader) full() bool { return r.limit > 0 && len(r.all) >= r.limit }

// page adds the holders of some names.
func (r *holderReader) page(ctx context.Context, values []string) error {
	rows, err := r.rows(ctx, r.ofMany(r.read.dialect), textsArg(values))
	if err != nil {
		return err
	}
	if len(rows) > holderRows {
		for _, v := range values {
			if err := r.one(ctx, v); err != nil || r.full() {
				return err
			}
		}
		return nil
	}
	place := make(map[string]int, len(values))
	for i, v := range values {
		place[v] = i
	}
	slices.SortFunc(rows, func(a, b holderRow) int {
		return cmp.Or(cmp.Compare(place[a.Value], place[b.Value]), cmp.Compare(a.key, b.key), cmp.Compare(a.Ordinal, b.Ordinal))
	})
	r.add(rows)
	return nil
}

// one adds the holders of one name, read by read.
func (r *holderReader) one(ctx context.Context, value string) error {
	for last := (holderRow{key: -1}); ; {
		place := []any{last.key, int64(last.Ordinal)}
		if r.key == r.order {
			place = place[:1]
		}
		rows, err := r.rows(ctx, r.ofOne(), value, place...)
		if err != nil {
			return err
		}
		r.add(rows)
		if len(rows) < holderRows || r.full() {
			return nil
		}
		last = rows[len(rows)-1]
	}
}

// rows runs a query of the naming.
func (r *holderReader) rows(ctx context.Context, query, names string, place ...any) ([]holderRow, error) {
	args := []any{int64(r.app), names}
	if r.names.Kind == push.ByAlias {
		args = append(args, r.names.Type)
	}
	var all []holderRow
	err := r.read.each(ctx, query, func(rows *sql.Rows) error {
		var h holderRow
		err := rows.Scan(&h.Value, &h.Ordinal, &h.key)
		all = append(all, h)
		return err
	}, append(args, place...)...)
	return all, err
}

func (r *holderReader) add(rows []holderRow) {
	for _, row := range rows {
		r.all = append(r.all, row.Holder)
	}
}
