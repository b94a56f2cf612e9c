package restserver_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/restserver"
)

// This file is the part of the house's registry that devices are found by: labels, tags, files, imports.

func refusal(kind push.Kind, field, msg string) error {
	return &push.Error{Kind: kind, Field: field, Msg: msg}
}

// at returns the device of an ordinal that is not removed. The lock is held.
func (r registry) at(ref push.Ref) (*push.Device, error) {
	if d := &r.h.devices[ref.Ordinal]; !r.h.removed[d.ID] {
		return d, nil
	}
	return nil, refusal(push.NotFound, "device", "no such device")
}

// settings returns the settings of an app. The lock is held.
func (r registry) settings(app push.AppID) push.Settings {
	a, _ := r.h.find(app.String())
	return a.Settings
}

// limit returns one of them as a number. The lock is held.
func (r registry) limit(app push.AppID, setting string) int { return r.settings(app).Int(setting) }

// knows reports where a tag of app is, -1 if it is not. The lock is held.
func (r registry) knows(app push.AppID, name string) int {
	return slices.IndexFunc(r.h.tags, func(t push.Tag) bool { return t.App == app && t.Name == name })
}

// makes adds the tags of names that are new to app. The lock is held.
func (r registry) makes(app push.AppID, names ...string) error {
	var fresh []push.Tag
	for _, name := range names {
		if r.knows(app, name) < 0 {
			fresh = append(fresh, push.Tag{ID: push.TagID(len(r.h.tags) + len(fresh) + 1), App: app, Name: name, Created: r.h.clock})
		}
	}
	if len(fresh) > 0 && len(r.h.tags)+len(fresh) > r.limit(app, push.SettingTags) {
		return refusal(push.TooMany, "tags", "the app has as many tags as it may")
	}
	r.h.tags = append(r.h.tags, fresh...)
	return nil
}

// owners returns the other devices of app that own a. The lock is held.
func (r registry) owners(app push.AppID, a push.Alias, but *push.Device) []*push.Device {
	var all []*push.Device
	for i := range r.h.devices {
		if d := &r.h.devices[i]; d.App == app && d != but && slices.Contains(d.Aliases, a) && !r.h.removed[d.ID] {
			all = append(all, d)
		}
	}
	return all
}

func (r registry) Ref(ctx context.Context, app push.AppID, name string) (push.Ref, error) {
	d, err := r.find(app, name)
	return d.Ref, err
}

func (r registry) EditLabels(_ context.Context, ref push.Ref, e push.LabelEdit) (push.Device, error) {
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	if err := e.Validate(); err != nil {
		return push.Device{}, err
	}
	d, err := r.at(ref)
	if err != nil {
		return push.Device{}, err
	}
	changed := *d
	if err := r.edit(&changed, d, e); err != nil {
		return push.Device{}, err
	}
	*d = changed
	return changed, nil
}

// edit changes d, which is old until it is saved. The lock is held.
func (r registry) edit(d, old *push.Device, e push.LabelEdit) error {
	tags := slices.Clone(d.Tags)
	switch e.Op {
	case push.Put:
		if e.Tags != nil {
			tags = slices.Clone(e.Tags)
		}
	case push.Add:
		tags = append(tags, e.Tags...)
	case push.Delete:
		tags = slices.DeleteFunc(tags, func(t string) bool { return e.All == push.AllTags || slices.Contains(e.Tags, t) })
	}
	slices.Sort(tags)
	d.Tags = slices.Compact(tags)
	d.Aliases = slices.DeleteFunc(slices.Clone(d.Aliases), func(a push.Alias) bool {
		return e.All == push.AllAliases || slices.Contains(e.Aliases, a)
	})
	if e.Op != push.Delete {
		d.Aliases = append(d.Aliases, e.Aliases...)
	}
	switch {
	case e.Account == nil:
	case e.Op == push.Delete:
		d.Account = ""
	default:
		d.Account = *e.Account
	}
	for i, a := range e.Aliases {
		others := len(r.owners(d.App, a, old))
		if e.Op == push.Add && others >= r.limit(d.App, push.SettingAliasDevices) || len(d.Aliases) > r.limit(d.App, push.SettingDeviceAliases) {
			return refusal(push.TooMany, "aliases["+strconv.Itoa(i)+"]", "there are as many aliases as there may be")
		}
	}
	for i, name := range e.Tags {
		if e.ByDevice && e.Op != push.Delete && r.knows(d.App, name) < 0 && !r.settings(d.App).Bool(push.SettingDeviceNewTags) {
			return refusal(push.Invalid, "tags["+strconv.Itoa(i)+"]", "is no tag of the app")
		}
	}
	if err := r.makes(d.App, d.Tags...); err != nil {
		return err
	}
	for _, a := range e.Aliases {
		if e.Op == push.Put {
			for _, other := range r.owners(d.App, a, old) {
				other.Aliases = slices.DeleteFunc(slices.Clone(other.Aliases), func(o push.Alias) bool { return o == a })
			}
		}
	}
	return nil
}

func (r registry) TagDevices(ctx context.Context, app push.AppID, tag string, op push.EditOp, names []string) (int, []string, error) {
	var found []push.Ref
	var unknown []string
	for _, name := range names {
		d, err := r.find(app, name)
		if err != nil {
			unknown = append(unknown, name)
			continue
		}
		found = append(found, d.Ref)
	}
	if len(found) == 0 {
		return 0, unknown, refusal(push.NotFound, "devices", "none of them is a device of the app")
	}
	changed := 0
	for _, ref := range found {
		before := len(r.h.devices[ref.Ordinal].Tags)
		d, err := r.EditLabels(ctx, ref, push.LabelEdit{Op: op, Tags: []string{tag}})
		if err != nil {
			return 0, nil, err
		}
		if len(d.Tags) != before {
			changed++
		}
	}
	return changed, unknown, nil
}

func (r registry) NamedDevices(_ context.Context, app push.AppID, names push.Names) ([]push.DeviceID, error) {
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	var ids []push.DeviceID
	for _, v := range names.Values {
		for _, d := range r.owners(app, push.Alias{Type: names.Type, Value: v}, nil) {
			ids = append(ids, d.ID)
		}
	}
	return ids, nil
}

// info returns a tag as it is shown. The lock is held.
func (r registry) info(t push.Tag) push.TagInfo {
	n := 0
	for _, d := range r.h.devices {
		if d.App == t.App && slices.Contains(d.Tags, t.Name) && !r.h.removed[d.ID] {
			n++
		}
	}
	return push.TagInfo{Tag: t.Name, ID: t.ID, Devices: n, Created: t.Created}
}

func (r registry) Tags(app push.AppID, cursor string, limit int) (page []push.TagInfo, next string, err error) {
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	byName := map[string]push.Tag{}
	for _, t := range r.h.tags {
		if t.App == app {
			byName[t.Name] = t
		}
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		switch {
		case name <= cursor:
		case len(page) == limit:
			return page, page[limit-1].Tag, nil
		default:
			page = append(page, r.info(byName[name]))
		}
	}
	return page, "", nil
}

func (r registry) FindTag(app push.AppID, name string) (push.TagInfo, error) {
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	if i := r.knows(app, name); i >= 0 {
		return r.info(r.h.tags[i]), nil
	}
	return push.TagInfo{}, refusal(push.NotFound, "tag", "no such tag")
}

func (r registry) AddTag(_ context.Context, app push.AppID, name string) (push.TagInfo, error) {
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	if r.knows(app, name) >= 0 {
		return push.TagInfo{}, refusal(push.Conflict, "tag", "the tag exists")
	}
	if err := r.makes(app, name); err != nil {
		return push.TagInfo{}, err
	}
	return r.info(r.h.tags[r.knows(app, name)]), nil
}

func (r registry) RemoveTag(_ context.Context, app push.AppID, name string) error {
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	i := r.knows(app, name)
	if i < 0 {
		return refusal(push.NotFound, "tag", "no such tag")
	}
	r.h.tags = slices.Delete(r.h.tags, i, i+1)
	for j := range r.h.devices {
		if d := &r.h.devices[j]; d.App == app {
			d.Tags = slices.DeleteFunc(slices.Clone(d.Tags), func(t string) bool { return t == name })
		}
	}
	return nil
}

func (r registry) AddFile(_ context.Context, app push.AppID, body io.Reader) (push.File, error) {
	in := bufio.NewReader(body)
	if head, _ := in.Peek(2); string(head) == "\x1f\x8b" {
		z, err := gzip.NewReader(in)
		if err != nil {
			return push.File{}, refusal(push.Invalid, "", "is not gzip")
		}
		in = bufio.NewReader(z)
	}
	all, err := io.ReadAll(in)
	if err != nil {
		return push.File{}, push.Wrap("registry.AddFile", err)
	}
	var lines []string
	n := 0
	for line := range bytes.Lines(all) {
		n++
		if line = bytes.TrimRight(line, "\r\n"); len(line) > push.MaxLine {
			return push.File{}, refusal(push.Invalid, "line "+strconv.Itoa(n), "has more than 128 bytes")
		} else if len(line) > 0 {
			lines = append(lines, string(line))
		}
	}
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	f := push.File{ID: push.FileID(fmt.Sprintf("%024x", len(r.h.files)+1)), App: app, Lines: len(lines), Bytes: len(all), Created: r.h.clock}
	f.Expires = f.Created.AddDate(0, 0, 30)
	r.h.files, r.h.uploaded = append(r.h.files, f), lines
	return f, nil
}

func (r registry) FindFile(_ context.Context, app push.AppID, id push.FileID) (push.File, error) {
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	if i := slices.IndexFunc(r.h.files, func(f push.File) bool { return f.App == app && f.ID == id }); i >= 0 {
		return r.h.files[i], nil
	}
	return push.File{}, refusal(push.NotFound, "file", "no such file")
}

func (r registry) Import(_ context.Context, app push.AppID, devices []push.Import) ([]push.Imported, error) {
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	if r.h.fail != nil {
		return nil, r.h.fail
	}
	results := make([]push.Imported, len(devices))
	for i, in := range devices {
		results[i] = r.importOne(app, in)
	}
	return results, nil
}

// importOne adds or changes one device. The lock is held.
func (r registry) importOne(app push.AppID, in push.Import) push.Imported {
	at := slices.IndexFunc(r.h.devices, func(d push.Device) bool { return d.App == app && d.PreviousID == in.PreviousID })
	d := push.Device{App: app, PreviousID: in.PreviousID, Platform: max(in.Platform, push.Android), Attributes: map[string]string{}}
	if at >= 0 {
		d = r.h.devices[at]
	} else {
		n := len(r.h.devices)
		d.Ref = push.Ref{App: app, Ordinal: push.Ordinal(n), Generation: 1, Platform: d.Platform}
		d.ID, d.ChannelID, d.Registered = push.DeviceID(fmt.Sprintf("%032x", n+1)), push.ChannelID(strconv.Itoa(7000+n)), r.h.clock
	}
	maps.Copy(d.Attributes, in.Attributes)
	if d.Tokens = in.Tokens; in.Test != nil {
		d.Test = *in.Test
	}
	if d.Phone = in.Phone; in.Account != "" {
		d.Account = in.Account
	}
	if err := r.edit(&d, nil, push.LabelEdit{Op: push.Add, Tags: in.Tags, Aliases: in.Aliases}); err != nil {
		return push.Imported{Err: err}
	}
	if at >= 0 {
		r.h.devices[at] = d
		return push.Imported{Device: d.ID}
	}
	r.h.devices = append(r.h.devices, d)
	return push.Imported{Device: d.ID, Added: true}
}

// proof returns what the app's own back-end would give its phones.
func proof(apiKey, previousID string) string {
	mac := hmac.New(sha256.New, []byte(apiKey))
	mac.Write([]byte(previousID))
	return hex.EncodeToString(mac.Sum(nil))
}

// adopt registers the device that was imported under reg's previous id; none if there is none. The lock is held.
func (r registry) adopt(reg push.Registration) (push.Registered, error) {
	for _, d := range r.h.devices {
		switch {
		case d.PreviousID != reg.PreviousID || d.App != 1:
		case proof("key-1", reg.PreviousID) != reg.PreviousProof:
			return push.Registered{}, refusal(push.Denied, "previous_proof", "does not show that this may be that device")
		default:
			return push.Registered{DeviceID: d.ID, ChannelID: d.ChannelID, Secret: "s-" + string(d.ID), Adopted: true, Ref: d.Ref}, nil
		}
	}
	return push.Registered{}, nil
}

func (r registry) CheckIndex(_ context.Context, app push.AppID, repair bool) (push.IndexCheck, error) {
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	c := push.IndexCheck{Wrong: r.h.wrong, Repaired: repair}
	for _, d := range r.h.devices {
		if app == 0 || d.App == app {
			c.Devices++
		}
	}
	if repair {
		r.h.wrong = 0
	}
	return c, nil
}

// watched are files of which the first read is told.
type watched struct {
	restserver.Files
	first chan string
}

func (w watched) AddFile(ctx context.Context, app push.AppID, body io.Reader) (push.File, error) {
	b := make([]byte, 100)
	n, err := body.Read(b)
	if err != nil {
		return push.File{}, err
	}
	w.first <- string(b[:n])
	return w.Files.AddFile(ctx, app, io.MultiReader(bytes.NewReader(b[:n]), body))
}
