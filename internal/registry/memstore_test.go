package registry_test

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/carillonpush/carillon/internal/push"
)

// memStore is a record in memory. It keeps the contracts of registry's ports.
type memStore struct {
	mu      sync.Mutex
	nextApp push.AppID
	apps    map[push.AppID]push.App
	creds   []push.Credential
	devices map[push.Ref]push.DeviceRow // by app and ordinal
	days    map[push.Ref]push.Day
	reads   int
	changes []string
	fail    func(op string) (err error, done bool) // done: the write happens all the same
}

func newMemStore() *memStore {
	return &memStore{apps: map[push.AppID]push.App{}, devices: map[push.Ref]push.DeviceRow{}, days: map[push.Ref]push.Day{}}
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

func key(app push.AppID, o push.Ordinal) push.Ref { return push.Ref{App: app, Ordinal: o} }

// kept returns row as a record gives it back: the names are not stored, and maps are not shared.
func kept(row push.DeviceRow) push.DeviceRow {
	row.ID, row.ChannelID = "", ""
	row.Attributes, row.Tokens = maps.Clone(row.Attributes), maps.Clone(row.Tokens)
	return row
}

func (m *memStore) AddDevice(_ context.Context, d push.DeviceRow) error {
	return m.write("AddDevice", func() error {
		for _, o := range m.devices {
			if o.Ref.App == d.Ref.App && o.Install == d.Install && o.Removed.IsZero() {
				return &push.Error{Kind: push.Conflict, Field: "install_id"}
			}
		}
		m.changes = append(m.changes, "add")
		m.devices[key(d.Ref.App, d.Ref.Ordinal)] = kept(d)
		return nil
	})
}

func (m *memStore) SaveDevice(_ context.Context, d push.DeviceRow, what string) error {
	return m.write("SaveDevice", func() error {
		if _, ok := m.devices[key(d.Ref.App, d.Ref.Ordinal)]; !ok {
			return &push.Error{Kind: push.NotFound}
		}
		m.changes = append(m.changes, what)
		m.devices[key(d.Ref.App, d.Ref.Ordinal)] = kept(d)
		return nil
	})
}

func (m *memStore) FindDevice(_ context.Context, app push.AppID, o push.Ordinal) (push.DeviceRow, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reads++
	if row, ok := m.devices[key(app, o)]; ok {
		return kept(row), nil
	}
	return push.DeviceRow{}, &push.Error{Kind: push.NotFound}
}

func (m *memStore) FindInstall(_ context.Context, app push.AppID, install [32]byte) (push.DeviceRow, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reads++
	for _, row := range m.devices {
		if row.Ref.App == app && row.Install == install && row.Removed.IsZero() {
			return kept(row), nil
		}
	}
	return push.DeviceRow{}, &push.Error{Kind: push.NotFound}
}

func (m *memStore) ScanDevices(_ context.Context, app push.AppID, from push.Ordinal, lean bool, yield func(push.DeviceRow) bool) error {
	m.mu.Lock()
	all := slices.SortedFunc(maps.Values(m.devices), func(a, b push.DeviceRow) int {
		return cmp.Or(cmp.Compare(a.Ref.App, b.Ref.App), cmp.Compare(a.Ref.Ordinal, b.Ref.Ordinal))
	})
	m.reads++
	m.mu.Unlock()
	for _, row := range all {
		if app != 0 && row.Ref.App != app || row.Ref.Ordinal < from {
			continue
		}
		row = kept(row)
		if lean {
			row.Attributes, row.Tokens, row.Phone = nil, nil, ""
		}
		if !yield(row) {
			return nil
		}
	}
	return nil
}

func (m *memStore) Touch(_ context.Context, app push.AppID, day push.Day, devices []push.Ordinal) error {
	return m.write("Touch", func() error {
		for _, o := range devices {
			m.days[key(app, o)] = max(day, m.days[key(app, o)])
		}
		return nil
	})
}
