package registry

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/carillonpush/carillon/internal/audience"
	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// The index is kept in a file between starts. The file says up to which change of the feed it goes: whoever reads it applies
// what changed since, so that it may be written while devices change.

const (
	changesPage  = 10_000 // rows of the feed that are read at a time
	devicesPage  = 1000   // devices that are read at a time
	snapshotRoom = 1 << 20
)

// loadIndex fills the index: from the snapshot and the changes since, or from the record alone if there is no snapshot, or
// one that is damaged, of another record, or older than the feed goes back. Apps and tags are known already.
func (r *Registry) loadIndex(ctx context.Context) error {
	const op = "registry.loadIndex"
	start := time.Now()
	seq, err := r.readSnapshot(ctx)
	if err == nil {
		if err = r.replay(ctx, seq); err == nil {
			r.saved.Store(seq)
			r.options.Log.Info("index from its snapshot", "took", time.Since(start).Round(time.Millisecond))
			return nil
		}
	}
	if ctx.Err() != nil {
		return push.Wrap(op, ctx.Err())
	}
	if !errors.Is(err, fs.ErrNotExist) {
		r.options.Log.Warn("the snapshot of the index is of no use: the record is read", "err", err)
		if err := os.Remove(r.options.Snapshot); err != nil { // it might seem to be of use later
			r.options.Log.Warn("the snapshot that is of no use is not removed", "err", err)
		}
	}
	if err := r.emptyIndex(ctx); err != nil {
		return push.Wrap(op, err)
	}
	// Nobody can be connected yet: nobody is revoked by what is read.
	err = r.stores.Devices.ScanIndex(ctx, 0, func(row push.IndexRow) error {
		r.index.Apply(row)
		return nil
	})
	if err != nil {
		return push.Wrap(op, err)
	}
	r.options.Log.Info("index from the record", "took", time.Since(start).Round(time.Millisecond))
	return nil
}

// emptyIndex leaves nothing but the tags in the index.
func (r *Registry) emptyIndex(ctx context.Context) error {
	for _, app := range r.index.Apps() {
		r.index.Drop(app)
	}
	return r.loadTags(ctx)
}

var errNoUse = errors.New("registry: the snapshot is of another record, or older than the feed of changes goes back")

// readSnapshot fills the index from the file, and returns the change up to which it goes. fs.ErrNotExist if there is none.
func (r *Registry) readSnapshot(ctx context.Context) (seq int64, err error) {
	if r.options.Snapshot == "" {
		return 0, fs.ErrNotExist
	}
	f, err := os.Open(r.options.Snapshot)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	last, before, err := r.stores.Feed.LastChange(ctx)
	if err != nil {
		return 0, err
	}
	var history [16]byte
	accepted := false
	err = r.index.ReadSnapshot(bufio.NewReaderSize(f, snapshotRoom), func(h audience.Head) bool {
		if seq = h.Seq; before <= seq && seq <= last {
			history, err = r.history(ctx, seq)
			accepted = err == nil && h.Record == history
		}
		return accepted
	})
	if err == nil && !accepted {
		err = errNoUse
	}
	if err != nil {
		return 0, err
	}
	for _, app := range r.index.Apps() { // those that were deleted since have no changes to tell of it
		if _, err := r.App(app); err != nil {
			r.index.Drop(app)
		}
	}
	return seq, nil
}

// history stands for the record and what had happened in it up to a change: of the record alone, one that was restored from
// a backup could not be told from what it had become before.
func (r *Registry) history(ctx context.Context, seq int64) (id [16]byte, err error) {
	record, err := r.stores.Feed.RecordID(ctx)
	if err != nil {
		return id, err
	}
	page, err := r.stores.Feed.Changes(ctx, seq-1, 1)
	if err != nil {
		return id, err
	}
	h := sha256.New()
	h.Write(record[:])
	if len(page) > 0 && page[0].Seq == seq { // else it has been swept, or nothing ever changed
		c := page[0]
		fmt.Fprintln(h, c.Seq, c.At.UnixMilli(), c.App, c.Ordinal, c.What)
	}
	copy(id[:], h.Sum(nil))
	return id, nil
}

// replay applies what changed after seq: the devices as they are now, and the days on which devices were active.
func (r *Registry) replay(ctx context.Context, seq int64) error {
	changed := map[push.AppID]*ordset.Set{}
	active := map[appDay]*ordset.Set{}
	for {
		page, err := r.stores.Feed.Changes(ctx, seq, changesPage)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		for _, c := range page {
			seq = c.Seq
			if _, err := r.App(c.App); err != nil {
				continue
			}
			if c.What != "active" {
				into(changed, c.App).Add(c.Ordinal)
				continue
			}
			devices, err := ordset.FromChunks(c.Devices)
			if err != nil {
				return err
			}
			into(active, appDay{c.App, c.Day}).Union(devices)
		}
	}
	for app, ordinals := range changed {
		if err := r.reread(ctx, app, ordinals); err != nil {
			return err
		}
	}
	for key, devices := range active {
		r.index.Touch(key.app, key.day, devices)
	}
	return nil
}

// into returns the set of a key, and makes it if there is none.
func into[K comparable](sets map[K]*ordset.Set, key K) *ordset.Set {
	if sets[key] == nil {
		sets[key] = new(ordset.Set)
	}
	return sets[key]
}

// reread applies devices as the record has them.
func (r *Registry) reread(ctx context.Context, app push.AppID, devices *ordset.Set) error {
	for page := range slices.Chunk(slices.Collect(devices.All()), devicesPage) {
		rows, err := r.stores.Devices.FindDevices(ctx, app, page)
		if err != nil {
			return err
		}
		for i := range rows {
			r.index.Apply(rows[i].Index())
		}
	}
	return nil
}

// save writes the snapshot, unless nothing changed since the last one, or the index may not say what the record says. A
// start without a snapshot is slower and no less right, so that a failure is told and nothing else.
func (r *Registry) save(ctx context.Context) {
	if r.options.Snapshot == "" {
		return
	}
	start := time.Now()
	seq, err := r.saveSince(ctx, r.saved.Load())
	switch {
	case err != nil:
		r.options.Log.Warn("the snapshot of the index is not written", "err", err)
	case seq != r.saved.Load():
		r.saved.Store(seq)
		r.options.Log.Info("snapshot of the index written", "took", time.Since(start).Round(time.Millisecond))
	}
}

// saveSince writes the snapshot if it would go further than seq, and returns how far the one in the file goes.
func (r *Registry) saveSince(ctx context.Context, seq int64) (int64, error) {
	last, _, err := r.stores.Feed.LastChange(ctx)
	if err != nil || last == seq {
		return seq, err
	}
	// Who had committed a change up to last holds the lock of its device until the index has it.
	r.devices.pass()
	if r.unsure.any() {
		return seq, errors.New("registry: what some writes did is not known yet")
	}
	history, err := r.history(ctx, last)
	if err != nil {
		return seq, err
	}
	return last, writeFile(r.options.Snapshot, func(w *bufio.Writer) error {
		return r.index.WriteSnapshot(w, audience.Head{Record: history, Seq: last})
	})
}

// writeFile has path be what write writes, or what it was. One caller at a time.
func writeFile(path string, write func(w *bufio.Writer) error) (err error) {
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
	}()
	w := bufio.NewWriterSize(f, snapshotRoom)
	if err := write(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
