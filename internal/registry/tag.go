package registry

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strconv"
	"sync"

	"github.com/carillonpush/carillon/internal/push"
)

// tags are the tags of all apps. The zero tags is ready to use.
type tags struct {
	// making serialises who makes and removes tags, from the look before the write to the memory after it. It guards stale:
	// whether the record may have tags, or have removed some, that are not known here.
	making sync.Mutex
	stale  bool

	mu   sync.RWMutex // guards apps and what is in it
	apps map[push.AppID]*appTags
}

// appTags are the tags of one app.
type appTags struct {
	byName map[string]push.Tag
	byID   map[push.TagID]string
	sorted []string
	last   push.TagID // the greatest id that was given, of removed tags too
}

// add notes a tag that is new, or was read; of a removed one only that its id was given.
func (t *tags) add(tag push.Tag) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.apps == nil {
		t.apps = make(map[push.AppID]*appTags)
	}
	a := t.apps[tag.App]
	if a == nil {
		a = &appTags{byName: make(map[string]push.Tag), byID: make(map[push.TagID]string)}
		t.apps[tag.App] = a
	}
	a.last = max(a.last, tag.ID)
	if !tag.Removed.IsZero() || a.byID[tag.ID] != "" {
		return
	}
	a.byName[tag.Name], a.byID[tag.ID] = tag, tag.Name
	if i, found := slices.BinarySearch(a.sorted, tag.Name); !found {
		a.sorted = slices.Insert(a.sorted, i, tag.Name)
	}
}

// remove forgets a tag, apart from its id, and reports whether it was there.
func (t *tags) remove(app push.AppID, id push.TagID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.apps[app]
	if a == nil || a.byID[id] == "" {
		return false
	}
	name := a.byID[id]
	delete(a.byID, id)
	if a.byName[name].ID == id {
		delete(a.byName, name)
		if i, found := slices.BinarySearch(a.sorted, name); found {
			a.sorted = slices.Delete(a.sorted, i, i+1)
		}
	}
	return true
}

func (t *tags) drop(app push.AppID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.apps, app)
}

// find returns the tag of a name.
func (t *tags) find(app push.AppID, name string) (push.Tag, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	a := t.apps[app]
	if a == nil {
		return push.Tag{}, false
	}
	tag, ok := a.byName[name]
	return tag, ok
}

// count returns how many tags an app has, and the greatest id that was given.
func (t *tags) count(app push.AppID) (n int, last push.TagID) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if a := t.apps[app]; a != nil {
		return len(a.byName), a.last
	}
	return 0, 0
}

// existing returns those of ids, in order, that were not removed; ids itself if none was.
func (t *tags) existing(app push.AppID, ids []push.TagID) []push.TagID {
	t.mu.RLock()
	defer t.mu.RUnlock()
	a := t.apps[app]
	gone := func(id push.TagID) bool { return a == nil || a.byID[id] == "" }
	if !slices.ContainsFunc(ids, gone) {
		return ids
	}
	return slices.DeleteFunc(slices.Clone(ids), gone)
}

// names returns the names of those of ids that were not removed, in order of the names.
func (t *tags) names(app push.AppID, ids []push.TagID) []string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	a := t.apps[app]
	if a == nil {
		return nil
	}
	var names []string
	for _, id := range ids {
		if name := a.byID[id]; name != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// after returns at most limit tags with names above after, in order, and whether there are more.
func (t *tags) after(app push.AppID, after string, limit int) (page []push.Tag, more bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	a := t.apps[app]
	if a == nil {
		return nil, false
	}
	i, found := slices.BinarySearch(a.sorted, after)
	if found {
		i++
	}
	rest := a.sorted[i:]
	for _, name := range rest[:min(limit, len(rest))] {
		page = append(page, a.byName[name])
	}
	return page, len(rest) > limit
}

// loadTags reads the tags from the record.
func (r *Registry) loadTags(ctx context.Context) error {
	r.tags.making.Lock()
	defer r.tags.making.Unlock()
	r.tags.stale = true
	return push.Wrap("registry.loadTags", r.freshTags(ctx))
}

// freshTags reads the tags again if the record may have others than are known. r.tags.making is held.
func (r *Registry) freshTags(ctx context.Context) error {
	if !r.tags.stale {
		return nil
	}
	all, err := r.stores.Labels.Tags(ctx)
	if err != nil {
		return err
	}
	for _, t := range all {
		if !t.Removed.IsZero() && r.tags.remove(t.App, t.ID) {
			r.index.RemoveTag(t.App, t.ID)
		}
	}
	slices.SortFunc(all, func(a, b push.Tag) int { return cmp.Compare(a.Name, b.Name) }) // each goes to the end of the list
	for _, t := range all {
		r.addTag(t)
	}
	r.tags.stale = false
	return nil
}

// addTag puts a tag of the record into the memory.
func (r *Registry) addTag(t push.Tag) {
	r.tags.add(t)
	if t.Removed.IsZero() {
		r.index.AddTag(t.App, t.ID, t.Name)
	}
}

// A tagMaker turns names into ids for one change, and gives ids to names that are no tags yet. Once it has met one of those
// it holds tags.making, until release: when the change is in the memory, or failed.
type tagMaker struct {
	r     *Registry
	app   push.App
	known bool                  // whether names that are no tags are refused
	made  []push.Tag            // for DeviceChange.Tags
	names map[string]push.TagID // of made
	holds bool
}

// ids returns the ids of names, in order, each once. Invalid with Field "tags[i]" for a name that is no tag where only those
// are taken, TooMany with Field "tags" if the app would have too many tags; then nothing is added to made.
func (m *tagMaker) ids(ctx context.Context, names []string) ([]push.TagID, error) {
	before := len(m.made)
	ids := make([]push.TagID, 0, len(names))
	for i, name := range names {
		id, err := m.id(ctx, name)
		if err != nil {
			m.undo(before)
			if errors.Is(err, push.Invalid) {
				err = push.Within("tags["+strconv.Itoa(i)+"]", err)
			}
			return nil, err
		}
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// undo takes back all but the first n of made.
func (m *tagMaker) undo(n int) {
	for _, t := range m.made[n:] {
		delete(m.names, t.Name)
	}
	m.made = m.made[:n]
}

func (m *tagMaker) id(ctx context.Context, name string) (push.TagID, error) {
	if t, ok := m.r.tags.find(m.app.ID, name); ok {
		return t.ID, nil
	}
	if !m.holds {
		m.r.tags.making.Lock()
		m.holds = true
		if err := m.r.freshTags(ctx); err != nil {
			return 0, err
		}
		if t, ok := m.r.tags.find(m.app.ID, name); ok { // made meanwhile
			return t.ID, nil
		}
	}
	if id, ok := m.names[name]; ok {
		return id, nil
	}
	if m.known {
		return 0, &push.Error{Kind: push.Invalid, Msg: "is no tag of this app, and its devices may not make one"}
	}
	n, last := m.r.tags.count(m.app.ID)
	if most := m.app.Settings.Int(push.SettingTags); n+len(m.made) >= most {
		return 0, &push.Error{Kind: push.TooMany, Field: "tags", Msg: "the app has as many tags as it may have"}
	}
	t := push.Tag{ID: last + 1 + push.TagID(len(m.made)), App: m.app.ID, Name: name, Created: m.r.now()}
	m.made = append(m.made, t)
	if m.names == nil {
		m.names = make(map[string]push.TagID)
	}
	m.names[name] = t.ID
	return t.ID, nil
}

// existing returns the ids of those names that are tags.
func (m *tagMaker) existing(names []string) []push.TagID {
	var ids []push.TagID
	for _, name := range names {
		if t, ok := m.r.tags.find(m.app.ID, name); ok {
			ids = append(ids, t.ID)
		}
	}
	return ids
}

func (m *tagMaker) release() {
	if m.holds {
		m.r.tags.making.Unlock()
		m.holds = false
	}
}

// info returns a tag as it is shown.
func (r *Registry) info(t push.Tag) push.TagInfo {
	return push.TagInfo{Tag: t.Name, ID: t.ID, Devices: r.index.TagSize(t.App, t.ID), Created: t.Created}
}

// Tags returns tags of app in order of names, at most limit, from cursor on ("": from the start), and where to go on, "" at
// the end. Invalid for a cursor that it did not make, NotFound without the app.
func (r *Registry) Tags(app push.AppID, cursor string, limit int) (page []push.TagInfo, next string, err error) {
	const op = "registry.Tags"
	after, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || cursor != "" && push.ValidateTag(string(after)) != nil {
		return nil, "", badCursor(op)
	}
	if _, err := r.App(app); err != nil {
		return nil, "", push.Wrap(op, err)
	}
	all, more := r.tags.after(app, string(after), limit)
	for _, t := range all {
		page = append(page, r.info(t))
	}
	if more {
		next = base64.RawURLEncoding.EncodeToString([]byte(all[len(all)-1].Name))
	}
	return page, next, nil
}

// FindTag returns a tag of app. NotFound.
func (r *Registry) FindTag(app push.AppID, name string) (push.TagInfo, error) {
	t, ok := r.tags.find(app, name)
	if !ok {
		return push.TagInfo{}, noTag("registry.FindTag")
	}
	return r.info(t), nil
}

// AddTag makes a tag that nobody carries yet. Invalid, NotFound without the app, Conflict if it is there, TooMany.
func (r *Registry) AddTag(ctx context.Context, app push.AppID, name string) (push.TagInfo, error) {
	const op = "registry.AddTag"
	if err := push.Within("tag", push.ValidateTag(name)); err != nil {
		return push.TagInfo{}, push.Wrap(op, err)
	}
	a, err := r.App(app)
	if err != nil {
		return push.TagInfo{}, push.Wrap(op, err)
	}
	m := tagMaker{r: r, app: a}
	defer m.release()
	if _, err := m.ids(ctx, []string{name}); err != nil {
		return push.TagInfo{}, push.Wrap(op, err)
	}
	if len(m.made) == 0 {
		return push.TagInfo{}, &push.Error{Op: op, Kind: push.Conflict, Field: "tag", Msg: "the app has this tag"}
	}
	if err := r.stores.Labels.AddTag(durable(ctx), m.made[0]); err != nil {
		r.settleTags(ctx, err)
		return push.TagInfo{}, push.Wrap(op, err)
	}
	r.addTag(m.made[0])
	return r.info(m.made[0]), nil
}

// RemoveTag removes a tag from app and from all devices, at the cost of one row. NotFound.
func (r *Registry) RemoveTag(ctx context.Context, app push.AppID, name string) error {
	const op = "registry.RemoveTag"
	r.tags.making.Lock()
	defer r.tags.making.Unlock()
	if err := r.freshTags(ctx); err != nil {
		return push.Wrap(op, err)
	}
	t, ok := r.tags.find(app, name)
	if !ok {
		return noTag(op)
	}
	if err := r.stores.Labels.RemoveTag(durable(ctx), app, t.ID, r.now()); err != nil {
		r.settleTags(ctx, err)
		return push.Wrap(op, err)
	}
	r.tags.remove(app, t.ID)
	r.index.RemoveTag(app, t.ID)
	return nil
}

// settleTags reads the tags again after a write that failed: it may have happened all the same, and become visible after
// this look even, or it has met what is not known here. r.tags.making is held.
func (r *Registry) settleTags(ctx context.Context, failed error) {
	if !uncertain(failed) && !errors.Is(failed, push.Conflict) && !errors.Is(failed, push.NotFound) {
		return
	}
	r.tags.stale = true
	if err := r.freshTags(durable(ctx)); err != nil {
		r.options.Log.Warn("tags not read again after a failed write", "err", err)
	}
	r.tags.stale = r.tags.stale || uncertain(failed)
}

func noTag(op string) error {
	return &push.Error{Op: op, Kind: push.NotFound, Field: "tag", Msg: "no such tag"}
}

func badCursor(op string) error {
	return &push.Error{Op: op, Kind: push.Invalid, Field: "cursor", Msg: "not a cursor of this list"}
}
