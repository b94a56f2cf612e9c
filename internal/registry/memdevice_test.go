package registry_test

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

func key(app push.AppID, o push.Ordinal) push.Ref { return push.Ref{App: app, Ordinal: o} }

// kept returns row as a record gives it back: names and labels are not stored in it, and maps are not shared.
func kept(row push.DeviceRow) push.DeviceRow {
	row.ID, row.ChannelID, row.Tags, row.Aliases = "", "", nil, nil
	row.Attributes, row.Tokens, row.TagIDs = maps.Clone(row.Attributes), maps.Clone(row.Tokens), slices.Clone(row.TagIDs)
	return row
}

func refused(kind push.Kind, field string) error { return &push.Error{Kind: kind, Field: field} }

func (m *memStore) ChangeDevices(_ context.Context, c push.DeviceChange) error {
	return m.write("ChangeDevices", func() error {
		next := &memStore{devices: maps.Clone(m.devices), owners: slices.Clone(m.owners), tags: slices.Clone(m.tags)}
		changed, err := next.change(c)
		if err != nil {
			return err
		}
		if c.Today != 0 {
			d := m.dayOf(c.App, c.Today)
			for at, row := range next.devices {
				old, known := m.devices[at]
				was, is := known && old.Removed.IsZero(), row.Removed.IsZero()
				switch {
				case is && !was:
					d.news++
				case was && !is:
					d.removed++
				}
			}
		}
		m.devices, m.owners, m.tags = next.devices, next.owners, next.tags
		for _, f := range changed {
			m.append(f)
		}
		return nil
	})
}

// change makes c, or leaves m in any state. It returns the rows of the feed.
func (m *memStore) change(c push.DeviceChange) ([]push.Change, error) {
	var feed []push.Change
	for i, row := range slices.Concat(c.Add, c.Save) {
		at := key(c.App, row.Ref.Ordinal)
		old, ok := m.devices[at]
		switch fresh := i < len(c.Add); {
		case fresh && ok && (old.Removed.IsZero() || row.Ref.Generation <= old.Ref.Generation):
			return nil, refused(push.Conflict, "ordinal")
		case !fresh && !ok:
			return nil, refused(push.NotFound, "")
		case !fresh && row.LastActive.Before(old.LastActive):
			row.LastActive = old.LastActive
		}
		m.devices[at] = kept(row)
		feed = append(feed, push.Change{App: c.App, Ordinal: row.Ref.Ordinal, What: c.What})
	}
	for _, p := range c.Previous {
		row := m.devices[key(c.App, p.Ordinal)]
		row.PreviousID = p.ID
		m.devices[key(c.App, p.Ordinal)] = row
	}
	if err := m.unique(c.App); err != nil {
		return nil, err
	}
	for _, t := range c.Tags {
		if err := m.addTag(t); err != nil {
			return nil, err
		}
	}
	lost, err := m.editAliases(c)
	for _, o := range lost {
		what := "aliases"
		if slices.ContainsFunc(c.Aliases, func(e push.AliasEdit) bool { return e.Ordinal == o }) {
			what = c.What
		}
		if !slices.ContainsFunc(feed, func(f push.Change) bool { return f.Ordinal == o }) {
			feed = append(feed, push.Change{App: c.App, Ordinal: o, What: what})
		}
	}
	return feed, err
}

// unique reports two registered devices of one install, or of one earlier id.
func (m *memStore) unique(app push.AppID) error {
	installs, previous := map[[32]byte]bool{}, map[string]bool{}
	for k, row := range m.devices {
		if k.App == app && row.Removed.IsZero() {
			if installs[row.Install] {
				return refused(push.Conflict, "install_id")
			}
			installs[row.Install] = true
		}
	}
	for k, row := range m.devices {
		if k.App == app && row.Removed.IsZero() && row.PreviousID != "" {
			if previous[row.PreviousID] {
				return refused(push.Conflict, "previous_id")
			}
			previous[row.PreviousID] = true
		}
	}
	return nil
}

// editAliases does the edits of c, and takes aliases from removed devices. It returns whose aliases changed.
func (m *memStore) editAliases(c push.DeviceChange) (changed []push.Ordinal, err error) {
	before := m.aliasTexts(c.App)
	m.owners = slices.DeleteFunc(m.owners, func(o owning) bool {
		return o.app == c.App && !m.devices[key(o.app, o.ordinal)].Removed.IsZero()
	})
	for i, e := range c.Aliases {
		mine := func(o owning) bool { return o.app == c.App && o.ordinal == e.Ordinal }
		that := func(o owning) bool { return o.app == c.App && o.alias == e.Alias }
		if e.Op == push.Delete {
			m.owners = slices.DeleteFunc(m.owners, func(o owning) bool { return mine(o) && (that(o) || e.Alias == push.Alias{}) })
			continue
		}
		if row, ok := m.devices[key(c.App, e.Ordinal)]; !ok || !row.Removed.IsZero() {
			return nil, refused(push.NotFound, "")
		}
		if e.Op == push.Put {
			m.owners = slices.DeleteFunc(m.owners, func(o owning) bool { return that(o) && !mine(o) })
		}
		if slices.ContainsFunc(m.owners, func(o owning) bool { return that(o) && mine(o) }) {
			continue
		}
		m.owners = append(m.owners, owning{c.App, e.Alias, e.Ordinal})
		for _, rule := range []struct {
			most int
			of   func(owning) bool
		}{{c.Limits.Devices, that}, {c.Limits.PerDevice, mine}} {
			for rule.most > 0 && count(m.owners, rule.of) > rule.most {
				if !c.Limits.Evict {
					return nil, refused(push.TooMany, fmt.Sprintf("aliases[%d]", i))
				}
				at := slices.IndexFunc(m.owners, rule.of)
				m.owners = slices.Delete(m.owners, at, at+1)
			}
		}
	}
	after := m.aliasTexts(c.App)
	for k := range m.devices {
		if k.App == c.App && before[k.Ordinal] != after[k.Ordinal] {
			changed = append(changed, k.Ordinal)
		}
	}
	slices.Sort(changed)
	return changed, nil
}

func count(all []owning, of func(owning) bool) int {
	n := 0
	for _, o := range all {
		if of(o) {
			n++
		}
	}
	return n
}

func (m *memStore) aliasTexts(app push.AppID) map[push.Ordinal]string {
	texts := map[push.Ordinal]string{}
	for _, o := range m.owners {
		if o.app == app {
			texts[o.ordinal] += o.alias.Type + "\x00" + o.alias.Value + "\x00"
		}
	}
	return texts
}

func (m *memStore) FindDevices(_ context.Context, app push.AppID, ordinals []push.Ordinal) ([]push.DeviceRow, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reads++
	if m.fail != nil {
		if err, _ := m.fail("FindDevices"); err != nil {
			return nil, err
		}
	}
	all := slices.Sorted(slices.Values(ordinals))
	var rows []push.DeviceRow
	for _, o := range slices.Compact(all) {
		if row, ok := m.devices[key(app, o)]; ok {
			rows = append(rows, kept(row))
		}
	}
	return rows, nil
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

func (m *memStore) Holders(_ context.Context, app push.AppID, names push.Names, limit int) ([]push.Holder, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reads++
	if names.Kind < push.ByAlias || names.Kind > push.ByPrevious {
		return nil, refused(push.Invalid, "kind")
	}
	holders := map[string][]push.Ordinal{}
	for _, o := range m.owners {
		if names.Kind == push.ByAlias && o.app == app && o.alias.Type == names.Type {
			holders[o.alias.Value] = append(holders[o.alias.Value], o.ordinal)
		}
	}
	for _, row := range m.sorted(app) {
		has := map[push.NameKind]string{push.ByAccount: row.Account, push.ByPhone: row.Phone, push.ByPrevious: row.PreviousID}
		if name := has[names.Kind]; name != "" && row.Removed.IsZero() {
			holders[name] = append(holders[name], row.Ref.Ordinal)
		}
	}
	var all []push.Holder
	for _, v := range names.Values {
		for _, o := range holders[v] {
			all = append(all, push.Holder{Value: v, Ordinal: o})
		}
		delete(holders, v) // a value counts once
	}
	if limit > 0 && len(all) > limit {
		all = all[:limit]
	}
	return all, nil
}

// sorted returns the devices of app (0: of all), registered or removed. m.mu is held.
func (m *memStore) sorted(app push.AppID) []push.DeviceRow {
	var all []push.DeviceRow
	for k, row := range m.devices {
		if app == 0 || k.App == app {
			all = append(all, kept(row))
		}
	}
	slices.SortFunc(all, func(a, b push.DeviceRow) int {
		return cmp.Or(cmp.Compare(a.Ref.App, b.Ref.App), cmp.Compare(a.Ref.Ordinal, b.Ref.Ordinal))
	})
	return all
}

func (m *memStore) ScanIndex(_ context.Context, app push.AppID, yield func(push.IndexRow) error) error {
	m.mu.Lock()
	m.reads++
	m.scans++
	all := m.sorted(app)
	m.mu.Unlock()
	for _, row := range all {
		if err := yield(row.Index()); err != nil {
			return err
		}
	}
	return nil
}

func (m *memStore) Tags(context.Context) ([]push.Tag, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reads++
	if m.fail != nil {
		if err, _ := m.fail("Tags"); err != nil {
			return nil, err
		}
	}
	return slices.SortedFunc(slices.Values(m.tags), func(a, b push.Tag) int {
		return cmp.Or(cmp.Compare(a.App, b.App), cmp.Compare(a.ID, b.ID))
	}), nil
}

// addTag adds a tag. m.mu is held.
func (m *memStore) addTag(t push.Tag) error {
	if slices.ContainsFunc(m.tags, func(o push.Tag) bool {
		return o.App == t.App && (o.ID == t.ID || o.Removed.IsZero() && o.Name == t.Name)
	}) {
		return refused(push.Conflict, "tags")
	}
	m.tags = append(m.tags, t)
	return nil
}

func (m *memStore) AddTag(_ context.Context, t push.Tag) error {
	return m.write("AddTag", func() error { return m.addTag(t) })
}

func (m *memStore) RemoveTag(_ context.Context, app push.AppID, id push.TagID, at time.Time) error {
	return m.write("RemoveTag", func() error {
		for i, t := range m.tags {
			if t.App == app && t.ID == id && t.Removed.IsZero() {
				m.tags[i].Removed = at
				return nil
			}
		}
		return refused(push.NotFound, "")
	})
}

func (m *memStore) Aliases(_ context.Context, app push.AppID, ordinals []push.Ordinal) (map[push.Ordinal][]push.Alias, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := map[push.Ordinal][]push.Alias{}
	for _, o := range m.owners {
		if o.app == app && slices.Contains(ordinals, o.ordinal) {
			all[o.ordinal] = append(all[o.ordinal], o.alias)
		}
	}
	return all, nil
}

// text shows a device's aliases: "type:value …".
func aliasText(aliases []push.Alias) string {
	var all []string
	for _, a := range aliases {
		all = append(all, a.Type+":"+a.Value)
	}
	return strings.Join(all, " ")
}
