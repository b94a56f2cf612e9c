package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/carillonpush/carillon/internal/push"
)

// A span is the devices of an app whose ordinals share the upper 16 bits: what one goroutine scans at a time, and one chunk
// of the index.
type span struct {
	app push.AppID
	key uint16
}

// ScanIndex yields what the index keeps of every device, registered or removed, of app (0: of all apps that are there), until
// yield fails. yield is called by several goroutines at once, each with devices of its own: a goroutine has
// all devices of a chunk of 65,536 ordinals, in their order, before it goes on to another chunk. No read is under way while
// yield works.
func (s *Store) ScanIndex(ctx context.Context, app push.AppID, yield func(push.IndexRow) error) error {
	const op = "sqlstore.ScanIndex"
	spans, err := s.spans(ctx, app)
	if err != nil {
		return push.Wrap(op, err)
	}
	next := make(chan span)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(next)
		for _, sp := range spans {
			select {
			case next <- sp:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for range min(runtime.GOMAXPROCS(0), len(spans)) {
		g.Go(func() error {
			w := scanner{read: s.read, yield: yield}
			for sp := range next {
				if err := w.scan(ctx, sp); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return push.Wrap(op, g.Wait())
}

// spans returns where there are devices.
func (s *Store) spans(ctx context.Context, app push.AppID) ([]span, error) {
	if app != 0 {
		return s.spansOf(ctx, nil, app)
	}
	apps, err := s.apps(ctx)
	var all []span
	for i := range apps {
		if err == nil {
			all, err = s.spansOf(ctx, all, apps[i].ID)
		}
	}
	return all, err
}

// spansOf adds the spans of one app. It goes from one device to the first that is beyond its span.
func (s *Store) spansOf(ctx context.Context, all []span, app push.AppID) ([]span, error) {
	for next := int64(0); ; {
		found, err := s.read.one(ctx, "SELECT ordinal FROM device WHERE app = ?1 AND ordinal >= ?2 ORDER BY ordinal LIMIT 1", []any{int64(app), next}, &next)
		if err != nil || !found {
			return all, err
		}
		all = append(all, span{app, uint16(next >> 16)})
		next = (next>>16 + 1) << 16
	}
}

// A scanner is one goroutine's part of a scan. What it reads it keeps until the read is over: a read that waited for those
// who use its rows would hold back checkpoints.
type scanner struct {
	read  *reader
	yield func(push.IndexRow) error
	known interner
	u     unpacked

	rows  []scanned
	bytes []byte // the packed devices of rows, one after another
}

// A scanned is one row of a page.
type scanned struct {
	ordinal push.Ordinal
	active  int64
	end     int // of its part of scanner.bytes
}

func (w *scanner) scan(ctx context.Context, sp span) error {
	first, end := int64(sp.key)<<16, (int64(sp.key)+1)<<16
	for {
		if err := w.page(ctx, sp.app, first, end); err != nil {
			return err
		}
		start := 0
		for _, row := range w.rows {
			r := &w.u.row
			if err := unpackDevice(w.bytes[start:row.end], &w.u, &w.known); err != nil {
				return fmt.Errorf("device %d of app %d: %w", row.ordinal, sp.app, err)
			}
			r.Ref.App, r.Ref.Ordinal, r.Active = sp.app, row.ordinal, dayOf(row.active)
			if err := w.yield(*r); err != nil {
				return err
			}
			start = row.end
		}
		if len(w.rows) < scanPage {
			return nil
		}
		first = int64(w.rows[len(w.rows)-1].ordinal) + 1
	}
}

// page reads the next devices of app with ordinals from first on, below end.
func (w *scanner) page(ctx context.Context, app push.AppID, first, end int64) error {
	w.rows, w.bytes = w.rows[:0], w.bytes[:0]
	return w.read.each(ctx, `SELECT ordinal, active, packed FROM device WHERE app = ?1 AND ordinal >= ?2 AND ordinal < ?3
		ORDER BY ordinal LIMIT ?4`, func(rows *sql.Rows) error {
		var row scanned
		var packed sql.RawBytes
		err := rows.Scan(&row.ordinal, &row.active, &packed)
		w.bytes = append(w.bytes, packed...)
		row.end = len(w.bytes)
		w.rows = append(w.rows, row)
		return err
	}, int64(app), first, end, scanPage)
}
