package sqlstore

import (
	"context"
	"database/sql"

	"github.com/carillonpush/carillon/internal/push"
)

// PutDeviceDay stores the most devices that were online at once on a day in the app's time zone, if it is more than is
// stored, how many were active, and chunks of the set of them, in the place of those that are there, in one commit. Of an app
// that is not there nothing is kept. chunks must not be changed afterwards.
func (s *Store) PutDeviceDay(ctx context.Context, app push.AppID, day push.Day, peak, active int, chunks []push.Chunk) error {
	size := 64
	cols := []column{
		{name: "app", ints: []int64{}},
		{name: "day", ints: []int64{}},
		{name: "chunk", ints: []int64{}},
		{name: "bits", blobs: [][]byte{}},
	}
	for _, c := range chunks {
		size += 64 + len(c.Bits)
		cols[0].ints = append(cols[0].ints, int64(app))
		cols[1].ints = append(cols[1].ints, int64(day))
		cols[2].ints = append(cols[2].ints, int64(c.Key))
		cols[3].blobs = append(cols[3].blobs, c.Bits)
	}
	err := s.commit.do(ctx, size, func(t *tx) error {
		if there, err := t.hasApp(app); err != nil || !there {
			return err
		}
		_, err := t.exec(`INSERT INTO device_day (app, day, added, removed, peak, active) VALUES (?, ?, 0, 0, ?, ?)
			ON CONFLICT (app, day) DO UPDATE SET active = excluded.active,
				peak = CASE WHEN device_day.peak > excluded.peak THEN device_day.peak ELSE excluded.peak END`,
			int64(app), int64(day), int64(peak), int64(active))
		if err != nil {
			return err
		}
		return t.insert("device_day_set", "ON CONFLICT (app, day, chunk) DO UPDATE SET bits = excluded.bits", cols...)
	})
	return push.Wrap("sqlstore.PutDeviceDay", err)
}

// ActiveOn returns the chunks of a day, in order, nil if there are none, and its peak. The chunks go when the day has been
// over for a day.
func (s *Store) ActiveOn(ctx context.Context, app push.AppID, day push.Day) (peak int, chunks []push.Chunk, err error) {
	_, err = s.read.one(ctx, "SELECT peak FROM device_day WHERE app = ?1 AND day = ?2", []any{int64(app), int64(day)}, &peak)
	if err == nil {
		err = s.read.each(ctx, "SELECT chunk, bits FROM device_day_set WHERE app = ?1 AND day = ?2 ORDER BY chunk", func(rows *sql.Rows) error {
			var c push.Chunk
			err := rows.Scan(&c.Key, &c.Bits)
			chunks = append(chunks, c)
			return err
		}, int64(app), int64(day))
	}
	return peak, chunks, push.Wrap("sqlstore.ActiveOn", err)
}

// DeviceDays returns the days of app from one to another, both included, in order; days of which nothing is known too. Their
// sums count from the app's first day on.
func (s *Store) DeviceDays(ctx context.Context, app push.AppID, from, to push.Day) ([]push.DeviceDay, error) {
	if to < from {
		return nil, nil
	}
	all := make([]push.DeviceDay, to-from+1)
	for i := range all {
		all[i].Day = (from + push.Day(i)).Date()
	}
	added, removed := 0, 0 // before from
	err := s.read.each(ctx, `SELECT -1, COALESCE(CAST(sum(added) AS BIGINT), 0), COALESCE(CAST(sum(removed) AS BIGINT), 0), 0, 0 FROM device_day WHERE app = ?1 AND day < ?2
		UNION ALL SELECT day - ?2, added, removed, peak, active FROM device_day WHERE app = ?1 AND day >= ?2 AND day <= ?3`,
		func(rows *sql.Rows) error {
			var i, fresh, gone, peak, active int
			err := rows.Scan(&i, &fresh, &gone, &peak, &active)
			switch {
			case err != nil:
				return err
			case i < 0:
				added, removed = fresh, gone
			default:
				d := &all[i]
				d.New, d.Removed, d.OnlinePeak, d.Active = fresh, gone, peak, active
			}
			return nil
		}, int64(app), int64(from), int64(to))
	if err != nil {
		return nil, push.Wrap("sqlstore.DeviceDays", err)
	}
	for i := range all {
		added, removed = added+all[i].New, removed+all[i].Removed
		all[i].Cumulative, all[i].Total = added, added-removed
	}
	return all, nil
}

// countDevices counts devices that a change registers and removes under its day, in the change's own commit.
func (d *deviceChange) countDevices(t *tx, known []*knownDevice) error {
	if d.Today == 0 {
		return nil
	}
	added, removed := int64(0), int64(0)
	for i := range d.rows {
		was := known[i] != nil && known[i].removed == 0
		is := d.rows[i].Removed.IsZero()
		if is && !was {
			added++
		}
		if was && !is {
			removed++
		}
	}
	if added == 0 && removed == 0 {
		return nil
	}
	_, err := t.exec(`INSERT INTO device_day (app, day, added, removed, peak, active) VALUES (?, ?, ?, ?, 0, 0)
		ON CONFLICT (app, day) DO UPDATE SET added = device_day.added + excluded.added, removed = device_day.removed + excluded.removed`,
		int64(d.App), int64(d.Today), added, removed)
	return err
}
