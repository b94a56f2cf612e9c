package registry_test

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// memStore is a record in memory. It keeps the contracts of registry's ports: TestMemStoreIsLikeTheRecord holds it against
// the real one.
type memStore struct {
	mu      sync.Mutex
	nextApp push.AppID
	apps    map[push.AppID]push.App
	creds   []push.Credential
	devices map[push.Ref]push.DeviceRow // by app and ordinal
	owners  []owning                    // the oldest first
	tags    []push.Tag
	feed    []push.Change
	seq     int64
	id      [16]byte
	files   map[fileKey]push.File
	parts   map[fileKey][][]byte
	days    map[dayKey]*deviceDay
	reads   int
	scans   int
	fail    func(op string) (err error, done bool) // done: the write happens all the same
}

// An owning is one alias of one device.
type owning struct {
	app     push.AppID
	alias   push.Alias
	ordinal push.Ordinal
}

type dayKey struct {
	app push.AppID
	day push.Day
}

// A deviceDay is what is counted of the devices of an app on one day.
type deviceDay struct {
	news, removed, peak, active int
	chunks                      map[uint16]push.Chunk
}

type fileKey struct {
	app push.AppID
	id  push.FileID
}

func newMemStore() *memStore {
	return &memStore{
		apps: map[push.AppID]push.App{}, devices: map[push.Ref]push.DeviceRow{}, id: [16]byte{1},
		files: map[fileKey]push.File{}, parts: map[fileKey][][]byte{}, days: map[dayKey]*deviceDay{},
	}
}

// whats returns what the feed says was changed.
func (m *memStore) whats() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []string
	for _, c := range m.feed {
		all = append(all, c.What)
	}
	return all
}

// write performs do under the lock, unless the test wants op to fail.
func (m *memStore) write(op string, do func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		if err, done := m.fail(op); err != nil {
			if done {
				_ = do()
			}
			return err
		}
	}
	return do()
}

func (m *memStore) CreateApp(_ context.Context, app push.App, creds []push.Credential) (push.App, error) {
	err := m.write("CreateApp", func() error {
		for _, a := range m.apps {
			if a.Name == app.Name {
				return &push.Error{Kind: push.Conflict, Field: "name"}
			}
		}
		m.nextApp++
		app.ID = m.nextApp
		creds = slices.Clone(creds)
		for i := range creds {
			creds[i].App = app.ID
		}
		if err := m.put(creds); err != nil {
			return err
		}
		m.apps[app.ID] = app
		return nil
	})
	return app, err
}

func (m *memStore) put(creds []push.Credential) error {
	for _, c := range creds {
		if slices.ContainsFunc(m.creds, func(o push.Credential) bool {
			return o.Service == c.Service && o.Key == c.Key && o.App != c.App && !(o.Shared && c.Shared)
		}) {
			return &push.Error{Kind: push.Conflict, Field: c.Service}
		}
	}
	for _, c := range creds {
		m.creds = slices.DeleteFunc(m.creds, func(o push.Credential) bool { return o.App == c.App && o.Service == c.Service && o.Key == c.Key })
		m.creds = append(m.creds, c)
	}
	return nil
}

func (m *memStore) UpdateApp(_ context.Context, app push.App) error {
	return m.write("UpdateApp", func() error { m.apps[app.ID] = app; return nil })
}

func (m *memStore) DeleteApp(_ context.Context, id push.AppID) error {
	return m.write("DeleteApp", func() error {
		delete(m.apps, id)
		m.creds = slices.DeleteFunc(m.creds, func(c push.Credential) bool { return c.App == id })
		maps.DeleteFunc(m.devices, func(k push.Ref, _ push.DeviceRow) bool { return k.App == id })
		m.owners = slices.DeleteFunc(m.owners, func(o owning) bool { return o.app == id })
		m.tags = slices.DeleteFunc(m.tags, func(t push.Tag) bool { return t.App == id })
		maps.DeleteFunc(m.files, func(k fileKey, _ push.File) bool { return k.app == id })
		return nil
	})
}

func (m *memStore) Apps(context.Context) ([]push.App, []push.Credential, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reads++
	return slices.Collect(maps.Values(m.apps)), slices.Clone(m.creds), nil
}

func (m *memStore) PutCredentials(_ context.Context, creds []push.Credential) error {
	return m.write("PutCredentials", func() error { return m.put(creds) })
}

func (m *memStore) Touch(_ context.Context, app push.AppID, day push.Day, devices []push.Ordinal) error {
	return m.write("Touch", func() error {
		at, news := time.Unix(int64(day)*24*60*60, 0).UTC(), new(ordset.Set)
		for _, o := range devices {
			if row, ok := m.devices[key(app, o)]; ok && row.Removed.IsZero() && row.LastActive.Before(at) {
				row.LastActive = at
				m.devices[key(app, o)] = row
				news.Add(o)
			}
		}
		if news.Empty() {
			return nil
		}
		chunks, err := news.Chunks()
		m.append(push.Change{App: app, What: "active", Day: day, Devices: chunks})
		return err
	})
}

// dayOf returns what is counted of a day. m.mu is held.
func (m *memStore) dayOf(app push.AppID, day push.Day) *deviceDay {
	at := dayKey{app, day}
	if m.days[at] == nil {
		m.days[at] = &deviceDay{chunks: map[uint16]push.Chunk{}}
	}
	return m.days[at]
}

func (m *memStore) PutDeviceDay(_ context.Context, app push.AppID, day push.Day, peak, active int, chunks []push.Chunk) error {
	return m.write("PutDeviceDay", func() error {
		if _, ok := m.apps[app]; !ok {
			return nil
		}
		d := m.dayOf(app, day)
		d.peak, d.active = max(d.peak, peak), active
		for _, c := range chunks {
			d.chunks[c.Key] = push.Chunk{Key: c.Key, Bits: slices.Clone(c.Bits)}
		}
		return nil
	})
}

func (m *memStore) ActiveOn(_ context.Context, app push.AppID, day push.Day) (peak int, chunks []push.Chunk, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.days[dayKey{app, day}]
	if d == nil {
		return 0, nil, nil
	}
	for _, key := range slices.Sorted(maps.Keys(d.chunks)) {
		chunks = append(chunks, d.chunks[key])
	}
	return d.peak, chunks, nil
}

func (m *memStore) DeviceDays(_ context.Context, app push.AppID, from, to push.Day) (all []push.DeviceDay, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for day := from; day <= to; day++ {
		sum := push.DeviceDay{Day: day.Date()}
		for at, d := range m.days {
			if at.app == app && at.day <= day {
				sum.Cumulative += d.news
				sum.Total += d.news - d.removed
			}
		}
		if d := m.days[dayKey{app, day}]; d != nil {
			sum.New, sum.Removed, sum.Active, sum.OnlinePeak = d.news, d.removed, d.active, d.peak
		}
		all = append(all, sum)
	}
	return all, nil
}

func (m *memStore) append(c push.Change) {
	m.seq++
	c.Seq = m.seq
	m.feed = append(m.feed, c)
}

func (m *memStore) Changes(_ context.Context, after int64, limit int) ([]push.Change, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i, _ := slices.BinarySearchFunc(m.feed, after+1, func(c push.Change, seq int64) int { return cmp.Compare(c.Seq, seq) })
	rest := m.feed[i:]
	return slices.Clone(rest[:min(limit, len(rest))]), nil
}

func (m *memStore) LastChange(context.Context) (last, before int64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.feed) == 0 {
		return m.seq, m.seq, nil
	}
	return m.seq, m.feed[0].Seq - 1, nil
}

func (m *memStore) RecordID(context.Context) ([16]byte, error) { return m.id, nil }

func (m *memStore) AddFilePart(_ context.Context, app push.AppID, id push.FileID, n int, lines []byte, _ time.Time) error {
	return m.write("AddFilePart", func() error {
		all := m.parts[fileKey{app, id}]
		for len(all) <= n {
			all = append(all, nil)
		}
		all[n] = slices.Clone(lines)
		m.parts[fileKey{app, id}] = all
		return nil
	})
}

func (m *memStore) AddFile(_ context.Context, f push.File, most int64) error {
	return m.write("AddFile", func() error {
		if _, ok := m.files[fileKey{f.App, f.ID}]; ok {
			return &push.Error{Kind: push.Conflict, Field: "file"}
		}
		sum := int64(f.Bytes)
		for k, other := range m.files {
			if k.app == f.App && other.Expires.After(f.Created) {
				sum += int64(other.Bytes)
			}
		}
		if most > 0 && sum > most {
			return &push.Error{Kind: push.TooMany, Field: "file"}
		}
		m.files[fileKey{f.App, f.ID}] = f
		return nil
	})
}

func (m *memStore) FindFile(_ context.Context, app push.AppID, id push.FileID, now time.Time) (push.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, ok := m.files[fileKey{app, id}]
	if !ok || !now.Before(f.Expires) {
		return push.File{}, &push.Error{Kind: push.NotFound}
	}
	return f, nil
}

func (m *memStore) ReadFile(_ context.Context, app push.AppID, id push.FileID, yield func([]byte) error) error {
	m.mu.Lock()
	_, ok := m.files[fileKey{app, id}]
	parts := m.parts[fileKey{app, id}]
	m.mu.Unlock()
	if !ok {
		return &push.Error{Kind: push.NotFound}
	}
	for _, part := range parts {
		if err := yield(slices.Clone(part)); err != nil {
			return err
		}
	}
	return nil
}

func (m *memStore) SweepFiles(_ context.Context, now time.Time, _ int) (int, error) {
	n := 0
	err := m.write("SweepFiles", func() error {
		for k, f := range m.files {
			if !now.Before(f.Expires) {
				n += len(m.parts[k])
				delete(m.files, k)
				delete(m.parts, k)
			}
		}
		return nil
	})
	return n, err
}
