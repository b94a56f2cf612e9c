package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/carillonpush/carillon/internal/push"
)

// A storedDevice is a device in its stored form.
type storedDevice struct {
	*push.DeviceRow
	fresh  bool   // it is of DeviceChange.Add
	active int64  // the later of what the row and the record say
	tokens string // JSON
	packed []byte
}

// A deviceChange is a DeviceChange with its rows as they will be stored. It is made once and not changed by the commit,
// which may run more than once.
type deviceChange struct {
	*push.DeviceChange
	rows []storedDevice // Add, then Save
	at   map[push.Ordinal]int
	size int
}

// ChangeDevices makes all of c durable in one commit, or nothing; each device that changes has one row of the feed in that
// commit, also one that only loses an alias to another. Conflict with Field "install_id" if the app has another registered
// device of an install, "ordinal" if an added device's ordinal is another's, "previous_id" if an id is another device's,
// "tags" if a tag's name or id is taken; NotFound if a device of Save is not there, with Field "app" if the app is not,
// "aliases[i]" if a device that is to be given an alias is not registered; TooMany with Field "aliases[i]" if an edit is against
// the limits; Unavailable with push.ErrNotQueued if devices are added and the disk's reserve is reached. An ordinal of a removed
// device may be added again with a later generation. A device that is removed loses its aliases. A device is never less
// recently active than the record has it. A device may take over the install, or the id at an earlier provider, of another in
// the same change that does not keep it. Devices that become registered, or cease to be, are counted under c.Today in the same
// commit. The slices of c must not change until ChangeDevices returns, and if ctx has ended not even then.
func (s *Store) ChangeDevices(ctx context.Context, c push.DeviceChange) error {
	const op = "sqlstore.ChangeDevices"
	d, err := prepareChange(&c)
	if err != nil {
		return push.Wrap(op, err)
	}
	if len(d.rows)+len(c.Tags)+len(c.Aliases) == 0 {
		return nil
	}
	if len(c.Add) > 0 {
		if err := s.reserved(); err != nil {
			return push.Wrap(op, err)
		}
	}
	w := &write{do: d.commit, rows: len(d.rows) + len(c.Tags) + len(c.Aliases), size: int64(d.size)}
	return push.Wrap(op, s.commit.write(ctx, w))
}

// prepareChange packs what it can before the commit, and refuses what cannot be stored.
func prepareChange(c *push.DeviceChange) (*deviceChange, error) {
	d := &deviceChange{DeviceChange: c, at: map[push.Ordinal]int{}, size: 256}
	if c.App == 0 {
		return nil, invalid("app", "a device has an app")
	}
	if err := d.addRows(c.Add, true); err != nil {
		return nil, err
	}
	if err := d.addRows(c.Save, false); err != nil {
		return nil, err
	}
	for _, p := range c.Previous {
		i, ok := d.at[p.Ordinal]
		if !ok {
			return nil, invalid("previous_id", "is of a device that does not change")
		}
		row := *d.rows[i].DeviceRow
		row.PreviousID = p.ID
		d.rows[i].DeviceRow = &row
	}
	for i, t := range c.Tags {
		if t.App != c.App || t.ID == 0 || !plain(t.Name) {
			return nil, invalid(fmt.Sprintf("tags[%d]", i), "a tag has an id and a name, and is the app's")
		}
		d.size += 128 + len(t.Name)
	}
	if err := tagsDistinct(c.Tags); err != nil {
		return nil, err
	}
	for i, e := range c.Aliases {
		none := e.Alias == push.Alias{}
		if e.Op < push.Put || e.Op > push.Delete || none && e.Op != push.Delete || !plain(e.Alias.Type) || !plain(e.Alias.Value) {
			return nil, invalid(aliasField(i), "an alias has a value of UTF-8 without NUL, and is put, added or deleted")
		}
		d.size += 128 + len(e.Alias.Type) + len(e.Alias.Value)
	}
	return d, d.distinct()
}

func invalid(field, msg string) error { return &push.Error{Kind: push.Invalid, Field: field, Msg: msg} }

// plain reports whether both databases keep s as it is.
func plain(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

func (d *deviceChange) addRows(rows []push.DeviceRow, fresh bool) error {
	for i := range rows {
		row := storedDevice{DeviceRow: &rows[i], fresh: fresh, active: millis(rows[i].LastActive)}
		if row.Ref.App != d.App {
			return invalid("app", "a device of another app")
		}
		if _, twice := d.at[row.Ref.Ordinal]; twice {
			return invalid("ordinal", "a device is changed twice")
		}
		var err error
		if row.tokens, err = jsonOf(len(row.Tokens), row.Tokens); err != nil {
			return err
		}
		if row.packed, err = packDevice(row.DeviceRow); err != nil {
			return err
		}
		d.at[row.Ref.Ordinal] = len(d.rows)
		d.rows = append(d.rows, row)
		d.size += 256 + len(row.tokens) + len(row.packed)
	}
	return nil
}

// distinct returns Conflict if two of the devices that will be registered have one install, or one earlier id.
func (d *deviceChange) distinct() error {
	installs, previous := map[[32]byte]bool{}, map[string]bool{}
	for i := range d.rows {
		row := &d.rows[i]
		if !row.Removed.IsZero() {
			continue
		}
		if installs[row.Install] {
			return installTaken
		}
		installs[row.Install] = true
		if row.PreviousID == "" {
			continue
		}
		if previous[row.PreviousID] {
			return previousTaken
		}
		previous[row.PreviousID] = true
	}
	return nil
}

var (
	installTaken  = &push.Error{Kind: push.Conflict, Field: "install_id", Msg: "a device of this install is registered"}
	previousTaken = &push.Error{Kind: push.Conflict, Field: "previous_id", Msg: "is another device's"}
	ordinalTaken  = &push.Error{Kind: push.Conflict, Field: "ordinal", Msg: "is another device's"}
	tagTaken      = &push.Error{Kind: push.Conflict, Field: "tags", Msg: "a tag has this name, or this id"}
)

// commit makes the change inside t. All that can refuse it is asked before anything is written.
func (d *deviceChange) commit(t *tx) error {
	if err := t.appThere(d.App); err != nil {
		return err
	}
	known, err := d.known(t)
	if err != nil {
		return err
	}
	handed, err := d.free(t, known)
	if err != nil {
		return err
	}
	if err := t.tagsFree(d.App, d.Tags); err != nil {
		return err
	}
	aliases, err := d.planAliases(t)
	if err != nil {
		return err
	}
	if err := d.release(t, handed); err != nil {
		return err
	}
	if err := d.write(t, known); err != nil {
		return err
	}
	if err := d.countDevices(t, known); err != nil {
		return err
	}
	if err := t.insertTags(d.Tags); err != nil {
		return err
	}
	if err := aliases.write(t, d.App); err != nil {
		return err
	}
	return d.feed(t, aliases.changed())
}

// A knownDevice is what the record says of a device before a change, as far as the change needs it.
type knownDevice struct {
	install, account, phone, previous string
	active, removed                   int64
	generation                        uint8
}

// known returns what the record says of the devices, and whether each may be changed as it is to be.
func (d *deviceChange) known(t *tx) ([]*knownDevice, error) {
	known := make([]*knownDevice, len(d.rows))
	if len(known) == 0 {
		return nil, nil
	}
	var u unpacked
	var names interner
	ordinals := make([]push.Ordinal, len(d.rows))
	for i := range d.rows {
		ordinals[i] = d.rows[i].Ref.Ordinal
	}
	err := t.each("SELECT ordinal, install, account, phone, previous, active, removed, packed FROM "+
		t.lookup("device", "app = ?1", "ordinal", "?2", ints), func(rows *sql.Rows) error {
		var o push.Ordinal
		var k knownDevice
		var packed sql.RawBytes
		err := rows.Scan(&o, &k.install, &k.account, &k.phone, &k.previous, &k.active, &k.removed, &packed)
		if err == nil {
			err = unpackDevice(packed, &u, &names)
		}
		k.generation = u.row.Ref.Generation
		known[d.at[o]] = &k
		return err
	}, int64(d.App), intsArg(ordinals))
	if err != nil {
		return nil, err
	}
	for i, k := range known {
		switch row := &d.rows[i]; {
		case row.fresh && k != nil && (k.removed == 0 || row.Ref.Generation <= k.generation):
			return nil, ordinalTaken
		case !row.fresh && k == nil:
			return nil, notFound("no such device")
		}
	}
	return known, nil
}

// free returns Conflict if a device outside the change has the install, or the earlier id, of one inside it; and the devices
// inside that hand theirs to others.
func (d *deviceChange) free(t *tx, known []*knownDevice) (handed []push.Ordinal, err error) {
	var installs [][]byte // that devices get which do not have them yet
	var previous []string
	for i := range d.rows {
		row, k := &d.rows[i], known[i]
		if !row.Removed.IsZero() {
			continue
		}
		if k == nil || k.removed != 0 || k.install != string(row.Install[:]) {
			installs = append(installs, row.Install[:])
		}
		if row.PreviousID != "" && (k == nil || k.removed != 0 || k.previous != row.PreviousID) {
			previous = append(previous, row.PreviousID)
		}
	}
	owners := func(from string, arg any, taken error) error {
		found := error(nil)
		err := t.each("SELECT ordinal FROM "+from, func(all *sql.Rows) error {
			var owner push.Ordinal
			err := all.Scan(&owner)
			if _, inside := d.at[owner]; inside {
				handed = append(handed, owner)
			} else {
				found = taken
			}
			return err
		}, int64(d.App), arg)
		if err != nil {
			return err
		}
		return found
	}
	if len(installs) > 0 {
		err = owners(t.lookup("device", "app = ?1 AND removed = 0", "install", "?2", blobs), blobsArg(installs), installTaken)
	}
	if err == nil && len(previous) > 0 {
		err = owners(t.lookup("device", "app = ?1 AND removed = 0 AND previous <> ''", "previous", "?2", texts), textsArg(previous), previousTaken)
	}
	return handed, err
}

// release lets the unique indexes forget devices that hand something to others of the change. Their own rows follow.
func (d *deviceChange) release(t *tx, handed []push.Ordinal) error {
	if len(handed) == 0 {
		return nil
	}
	_, err := t.exec("UPDATE device SET removed = 1 WHERE "+t.among(t.lookup("device", "app = ?1", "ordinal", "?2", ints)), int64(d.App), intsArg(handed))
	return err
}

// What an insert becomes where the device is there. An index costs as much as a row, so those of names are left alone where
// no name changes, as in most changes.
const (
	deviceRest = `ON CONFLICT (app, ordinal) DO UPDATE SET active = excluded.active, network = excluded.network,
		badge = excluded.badge, reset = excluded.reset, tokens = excluded.tokens, packed = excluded.packed`
	deviceWhole = deviceRest + `, install = excluded.install, account = excluded.account, phone = excluded.phone,
		previous = excluded.previous, removed = excluded.removed`
)

// write stores the rows, in order of ordinals: neighbours change the same page once.
func (d *deviceChange) write(t *tx, known []*knownDevice) error {
	order := make([]int, len(d.rows))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return int(d.rows[a].Ref.Ordinal) - int(d.rows[b].Ref.Ordinal) })
	var whole, rest deviceTable
	for _, i := range order {
		row, k := d.rows[i], known[i] // a copy: the commit may run again
		if k != nil && !row.fresh {
			row.active = max(row.active, k.active)
		}
		if k != nil && k.install == string(row.Install[:]) && k.account == row.Account && k.phone == row.Phone &&
			k.previous == row.PreviousID && k.removed == 0 && row.Removed.IsZero() {
			rest.add(&row)
		} else {
			whole.add(&row)
		}
	}
	if err := t.insert("device", deviceWhole, whole.columns()...); err != nil {
		return err
	}
	return t.insert("device", deviceRest, rest.columns()...)
}

// feed adds a row to the feed for each device of the change, and for each other that lost an alias.
func (d *deviceChange) feed(t *tx, aliases []push.Ordinal) error {
	var ordinals []push.Ordinal
	var what []string
	for i := range d.rows {
		ordinals, what = append(ordinals, d.rows[i].Ref.Ordinal), append(what, d.What)
	}
	edited := map[push.Ordinal]bool{}
	for _, e := range d.Aliases {
		edited[e.Ordinal] = true
	}
	for _, o := range aliases {
		if _, inside := d.at[o]; inside {
			continue
		}
		name := d.What
		if !edited[o] {
			name = "aliases"
		}
		ordinals, what = append(ordinals, o), append(what, name)
	}
	return t.changed(d.App, ordinals, what, time.Now())
}
