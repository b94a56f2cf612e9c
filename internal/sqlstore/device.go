package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"iter"
	"slices"

	"github.com/carillonpush/carillon/internal/push"
)

// devicePage is how many devices one read takes.
const devicePage = 1024

// deviceColumns are all columns of a device, in the order in which deviceColumn puts them together and scanDevice reads them.
const deviceColumns = `d.app, d.ordinal, d.install, d.account, d.phone, d.previous, d.active, d.removed, d.network, d.badge,
	d.reset, d.tokens, d.packed`

// ID and ChannelID of a device are not stored: the keyring makes both from its Ref.

// jsonOf returns v in JSON, "" if it has no members.
func jsonOf(n int, v any) (string, error) {
	if n == 0 {
		return "", nil
	}
	b, err := json.Marshal(v)
	return string(b), err
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// A deviceTable is devices as columns, in the order of deviceColumns.
type deviceTable struct {
	app, ordinal, active, removed, badge, reset []int64
	install, packed                             [][]byte
	account, phone, previous, network, tokens   []string
}

func (c *deviceTable) add(d *storedDevice) {
	c.app, c.ordinal = append(c.app, int64(d.Ref.App)), append(c.ordinal, int64(d.Ref.Ordinal))
	c.install, c.account = append(c.install, d.Install[:]), append(c.account, d.Account)
	c.phone, c.previous = append(c.phone, d.Phone), append(c.previous, d.PreviousID)
	c.active, c.removed = append(c.active, d.active), append(c.removed, millis(d.Removed))
	c.network, c.badge = append(c.network, string(d.Network)), append(c.badge, int64(d.Badge))
	c.reset, c.tokens = append(c.reset, flag(d.Reset)), append(c.tokens, d.tokens)
	c.packed = append(c.packed, d.packed)
}

func (c *deviceTable) columns() []column {
	return []column{
		{name: "app", ints: c.app},
		{name: "ordinal", ints: c.ordinal},
		{name: "install", blobs: c.install},
		{name: "account", texts: c.account},
		{name: "phone", texts: c.phone},
		{name: "previous", texts: c.previous},
		{name: "active", ints: c.active},
		{name: "removed", ints: c.removed},
		{name: "network", texts: c.network},
		{name: "badge", ints: c.badge},
		{name: "reset", ints: c.reset},
		{name: "tokens", texts: c.tokens},
		{name: "packed", blobs: c.packed},
	}
}

// scanDevice reads deviceColumns.
func scanDevice(rows *sql.Rows, u *unpacked, known *interner) (push.DeviceRow, error) {
	var d push.DeviceRow
	var install, tokens, packed sql.RawBytes
	var active, removed int64
	err := rows.Scan(&d.Ref.App, &d.Ref.Ordinal, &install, &d.Account, &d.Phone, &d.PreviousID, &active, &removed,
		&d.Network, &d.Badge, &d.Reset, &tokens, &packed)
	if err != nil {
		return d, err
	}
	if err = unpackDevice(packed, u, known); err == nil && len(tokens) > 0 {
		err = json.Unmarshal(tokens, &d.Tokens)
	}
	if err != nil {
		return d, fmt.Errorf("device %d of app %d: %w", d.Ref.Ordinal, d.Ref.App, err)
	}
	u.device(&d)
	d.App, d.Platform = d.Ref.App, d.Ref.Platform
	copy(d.Install[:], install)
	d.LastActive, d.Removed = timeOf(active), timeOf(removed)
	return d, nil
}

// devices returns what a query finds, whose columns are deviceColumns.
func (s *Store) devices(ctx context.Context, query string, args ...any) ([]push.DeviceRow, error) {
	var all []push.DeviceRow
	var u unpacked
	var known interner
	err := s.read.each(ctx, query, func(rows *sql.Rows) error {
		d, err := scanDevice(rows, &u, &known)
		all = append(all, d)
		return err
	}, args...)
	return all, err
}

// devicePages returns devices in order, each once, a page at a time.
func devicePages(all []push.Ordinal) iter.Seq[[]push.Ordinal] {
	sorted := slices.Clone(all)
	slices.Sort(sorted)
	return slices.Chunk(slices.Compact(sorted), devicePage)
}

// FindDevices returns devices by ordinal, registered or removed, in order of ordinals, each once; those that are not there
// are left out. ID, ChannelID, Tags and Aliases are not filled in; TagIDs, in order, and PreviousID are.
func (s *Store) FindDevices(ctx context.Context, app push.AppID, ordinals []push.Ordinal) ([]push.DeviceRow, error) {
	var all []push.DeviceRow
	for page := range devicePages(ordinals) {
		found, err := s.devices(ctx, "SELECT "+deviceColumns+" FROM "+s.lookup("device", "app = ?1", "ordinal", "?2", ints),
			int64(app), intsArg(page))
		if err != nil {
			return nil, push.Wrap("sqlstore.FindDevices", err)
		}
		slices.SortFunc(found, func(a, b push.DeviceRow) int { return cmp.Compare(a.Ref.Ordinal, b.Ref.Ordinal) })
		all = append(all, found...)
	}
	return all, nil
}

// FindInstall returns the registered device of an install, as FindDevices does. NotFound.
func (s *Store) FindInstall(ctx context.Context, app push.AppID, install [32]byte) (push.DeviceRow, error) {
	all, err := s.devices(ctx, "SELECT "+deviceColumns+" FROM device d WHERE d.app = ?1 AND d.install = ?2 AND d.removed = 0",
		int64(app), install[:])
	if err != nil || len(all) == 0 {
		return push.DeviceRow{}, push.Wrap("sqlstore.FindInstall", orNotFound(err, "no such device"))
	}
	return all[0], nil
}
