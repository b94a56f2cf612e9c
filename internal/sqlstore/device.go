package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/carillonpush/carillon/internal/push"
)

// ID and ChannelID of a device are not stored: the keyring makes both from its Ref.
const (
	deviceLean = `app, ordinal, generation, platform, epoch, install, network, test, blacklisted, badge, reset,
		registered, active, removed`
	deviceRest = `attributes, tokens, phone, account`
)

// deviceValues returns d as the columns deviceLean and deviceRest.
func deviceValues(d *push.DeviceRow) ([]any, error) {
	if d.Ref.App == 0 {
		return nil, &push.Error{Kind: push.Invalid, Field: "app", Msg: "a device has an app"}
	}
	attributes, err := jsonOf(len(d.Attributes), d.Attributes)
	if err != nil {
		return nil, err
	}
	tokens, err := jsonOf(len(d.Tokens), d.Tokens)
	if err != nil {
		return nil, err
	}
	return []any{
		int64(d.Ref.App), int64(d.Ref.Ordinal), int64(d.Ref.Generation), int64(d.Ref.Platform), int64(d.Epoch), d.Install[:],
		string(d.Network), flag(d.Test), flag(d.Blacklisted), int64(d.Badge), flag(d.Reset),
		millis(d.Registered), millis(d.LastActive), millis(d.Removed),
		attributes, tokens, d.Phone, d.Account,
	}, nil
}

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

// deviceConflict is how an insert becomes an update of all columns but the key. A device is never less recently active
// than the record has it: its activity is written by others too.
const deviceConflict = `ON CONFLICT (app, ordinal) DO UPDATE SET
	generation = excluded.generation, platform = excluded.platform, epoch = excluded.epoch, install = excluded.install,
	network = excluded.network, test = excluded.test, blacklisted = excluded.blacklisted, badge = excluded.badge,
	reset = excluded.reset, registered = excluded.registered,
	active = CASE WHEN excluded.active > device.active THEN excluded.active ELSE device.active END,
	removed = excluded.removed, attributes = excluded.attributes, tokens = excluded.tokens, phone = excluded.phone,
	account = excluded.account`

// AddDevice stores a new device. Conflict with Field "install_id" if its app has a registered device of that install, and
// with Field "ordinal" if its ordinal is another device's: one that was removed gives it to a later generation.
func (s *Store) AddDevice(ctx context.Context, d push.DeviceRow) error {
	const op = "sqlstore.AddDevice"
	values, err := deviceValues(&d)
	if err != nil {
		return push.Wrap(op, err)
	}
	err = s.commit.do(ctx, deviceSize(values), func(t *tx) error {
		if err := t.installFree(&d); err != nil {
			return err
		}
		n, err := t.exec("INSERT INTO device ("+deviceLean+", "+deviceRest+") VALUES ("+placeholders(len(values))+") "+
			deviceConflict+" WHERE device.removed <> 0 AND excluded.generation > device.generation", values...)
		if err == nil && n == 0 {
			return &push.Error{Kind: push.Conflict, Field: "ordinal", Msg: "is another device's"}
		}
		if err != nil {
			return err
		}
		return t.changed(d.Ref.App, d.Ref.Ordinal, "register")
	})
	return push.Wrap(op, err)
}

// installFree returns Conflict if another registered device has the install of d.
func (t *tx) installFree(d *push.DeviceRow) error {
	var owner push.Ordinal
	taken, err := t.one("SELECT ordinal FROM device WHERE app = ?1 AND install = ?2 AND removed = 0",
		[]any{int64(d.Ref.App), d.Install[:]}, &owner)
	if err == nil && taken && owner != d.Ref.Ordinal {
		err = &push.Error{Kind: push.Conflict, Field: "install_id", Msg: "a device of this install is registered"}
	}
	return err
}

func deviceSize(values []any) int {
	n := 256
	for _, v := range values {
		if s, ok := v.(string); ok {
			n += len(s)
		}
	}
	return n
}

// SaveDevice replaces all that the record knows of a device; what names the change for the feed. NotFound; Conflict with
// Field "install_id".
func (s *Store) SaveDevice(ctx context.Context, d push.DeviceRow, what string) error {
	const op = "sqlstore.SaveDevice"
	values, err := deviceValues(&d)
	if err != nil {
		return push.Wrap(op, err)
	}
	err = s.commit.do(ctx, deviceSize(values), func(t *tx) error {
		if d.Removed.IsZero() {
			if err := t.installFree(&d); err != nil {
				return err
			}
		}
		found, err := t.one("SELECT ordinal FROM device WHERE app = ?1 AND ordinal = ?2",
			[]any{int64(d.Ref.App), int64(d.Ref.Ordinal)}, new(int64))
		if err != nil || !found {
			return orNotFound(err, "no such device")
		}
		_, err = t.exec("INSERT INTO device ("+deviceLean+", "+deviceRest+") VALUES ("+placeholders(len(values))+") "+deviceConflict, values...)
		if err != nil {
			return err
		}
		return t.changed(d.Ref.App, d.Ref.Ordinal, what)
	})
	return push.Wrap(op, err)
}

// devices returns the devices for which where holds. The rest of each is left out where lean is true.
func (s *Store) devices(ctx context.Context, lean bool, where string, args ...any) ([]push.DeviceRow, error) {
	var all []push.DeviceRow
	columns := deviceLean
	if !lean {
		columns += ", " + deviceRest
	}
	err := s.read.each(ctx, "SELECT "+columns+" FROM device WHERE "+where, func(rows *sql.Rows) error {
		var d push.DeviceRow
		var install, attributes, tokens sql.RawBytes
		var registered, active, removed int64
		into := []any{
			&d.Ref.App, &d.Ref.Ordinal, &d.Ref.Generation, &d.Ref.Platform, &d.Epoch, &install,
			&d.Network, &d.Test, &d.Blacklisted, &d.Badge, &d.Reset, &registered, &active, &removed,
		}
		if !lean {
			into = append(into, &attributes, &tokens, &d.Phone, &d.Account)
		}
		if err := rows.Scan(into...); err != nil {
			return err
		}
		d.App, d.Platform = d.Ref.App, d.Ref.Platform
		copy(d.Install[:], install)
		d.Registered, d.LastActive, d.Removed = timeOf(registered), timeOf(active), timeOf(removed)
		for _, part := range []struct {
			b    []byte
			into any
		}{{attributes, &d.Attributes}, {tokens, &d.Tokens}} {
			if len(part.b) == 0 {
				continue
			}
			if err := json.Unmarshal(part.b, part.into); err != nil {
				return fmt.Errorf("device %d of app %d: %w", d.Ref.Ordinal, d.App, err)
			}
		}
		all = append(all, d)
		return nil
	}, args...)
	return all, err
}

// FindDevice returns a device by ordinal, registered or removed, without ID and ChannelID. NotFound.
func (s *Store) FindDevice(ctx context.Context, app push.AppID, o push.Ordinal) (push.DeviceRow, error) {
	all, err := s.devices(ctx, false, "app = ?1 AND ordinal = ?2", int64(app), int64(o))
	if err != nil || len(all) == 0 {
		return push.DeviceRow{}, push.Wrap("sqlstore.FindDevice", orNotFound(err, "no such device"))
	}
	return all[0], nil
}

// FindInstall returns the registered device of an install, without ID and ChannelID. NotFound.
func (s *Store) FindInstall(ctx context.Context, app push.AppID, install [32]byte) (push.DeviceRow, error) {
	all, err := s.devices(ctx, false, "app = ?1 AND install = ?2 AND removed = 0", int64(app), install[:])
	if err != nil || len(all) == 0 {
		return push.DeviceRow{}, push.Wrap("sqlstore.FindInstall", orNotFound(err, "no such device"))
	}
	return all[0], nil
}

// devicePage is how many devices one read of ScanDevices takes.
const devicePage = 1024

// ScanDevices yields the devices of app (0: of all apps), registered or removed, in order of app and ordinal, from ordinal
// from on, until yield returns false. Attributes, tokens and phone are left out where lean is true, ID and ChannelID always.
func (s *Store) ScanDevices(ctx context.Context, app push.AppID, from push.Ordinal, lean bool, yield func(push.DeviceRow) bool) error {
	first, last := int64(app), int64(app)
	if app == 0 {
		first, last = 1, 1<<32
	}
	next := int64(from)
	for {
		page, err := s.devices(ctx, lean, `(app, ordinal) >= (?1, ?2) AND app <= ?3 AND ordinal >= ?4
			ORDER BY app, ordinal LIMIT ?5`, first, next, last, int64(from), devicePage)
		if err != nil {
			return push.Wrap("sqlstore.ScanDevices", err)
		}
		for _, d := range page {
			if !yield(d) {
				return nil
			}
		}
		if len(page) < devicePage {
			return nil
		}
		end := page[len(page)-1].Ref
		first, next = int64(end.App), int64(end.Ordinal)+1
	}
}

// Touch stores the day on which devices were last active, in one commit. A day before the one that is stored changes
// nothing; it is no change for the feed.
func (s *Store) Touch(ctx context.Context, app push.AppID, day push.Day, devices []push.Ordinal) error {
	at := int64(day) * 24 * 60 * 60 * 1000
	ordinals := keyArg(len(devices), func(i int) []int64 { return []int64{int64(devices[i])} })
	err := s.commit.do(ctx, 16*len(devices), func(t *tx) error {
		keys := s.dialect.traits().keys("?3", "ordinal")
		_, err := t.exec("UPDATE device SET active = ?1 WHERE app = ?2 AND active < ?1 AND ordinal IN (SELECT k.ordinal FROM "+keys+" k)",
			at, int64(app), ordinals)
		return err
	})
	return push.Wrap("sqlstore.Touch", err)
}
