package registry

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// EditLabels does what Relabel does, and returns the device as it is then.
func (r *Registry) EditLabels(ctx context.Context, ref push.Ref, e push.LabelEdit) (push.Device, error) {
	const op = "registry.EditLabels"
	row, err := r.relabel(ctx, ref, e)
	if err != nil {
		return push.Device{}, push.Wrap(op, err)
	}
	d, err := r.shown(ctx, row)
	return d, push.Wrap(op, err)
}

// Relabel changes tags, aliases, attributes and the account of one device, in one commit. Tags that are new to the app are
// made, if whoever asks may make them. Invalid, NotFound; TooMany with Field "tags" (of the app, or of the device) or
// "aliases[i]". A device that carries more than it may, since the limit became less, keeps what it has.
func (r *Registry) Relabel(ctx context.Context, ref push.Ref, e push.LabelEdit) error {
	_, err := r.relabel(ctx, ref, e)
	return push.Wrap("registry.Relabel", err)
}

func (r *Registry) relabel(ctx context.Context, ref push.Ref, e push.LabelEdit) (push.DeviceRow, error) {
	if err := e.Validate(); err != nil {
		return push.DeviceRow{}, err
	}
	app, err := r.App(ref.App)
	if err != nil {
		return push.DeviceRow{}, err
	}
	owners, err := r.otherOwners(ctx, ref, e)
	if err != nil {
		return push.DeviceRow{}, err
	}
	row, err := r.relabelOne(ctx, app, ref, e)
	if err == nil && len(owners) > 0 {
		r.noteLosers(ctx, ref, e, owners)
	}
	return row, err
}

// relabelOne does an edit, which is valid.
func (r *Registry) relabelOne(ctx context.Context, app push.App, ref push.Ref, e push.LabelEdit) (push.DeviceRow, error) {
	m := tagMaker{r: r, app: app, known: e.ByDevice && !app.Settings.Bool(push.SettingDeviceNewTags)}
	defer m.release()
	return r.change(ctx, ref, func(row *push.DeviceRow, c *push.DeviceChange) error {
		c.What = whatOf(e)
		if err := r.editTags(ctx, row, e, &m); err != nil {
			return err
		}
		c.Tags = m.made
		if err := editAttributes(row, e.Op, e.Attributes); err != nil {
			return err
		}
		if e.Account != nil {
			editAccount(row, e.Op, *e.Account, r.now())
		}
		c.Aliases, c.Limits = editAliases(ref.Ordinal, e), aliasLimits(app)
		if e.Limits != nil {
			c.Limits = *e.Limits
		}
		return r.noteAliases(ctx, row, c.Aliases)
	})
}

// whatOf names an edit for the feed.
func whatOf(e push.LabelEdit) string {
	var what []string
	if e.Tags != nil || e.All == push.AllTags {
		what = append(what, "tags")
	}
	if e.Aliases != nil || e.All == push.AllAliases {
		what = append(what, "aliases")
	}
	if e.Attributes != nil {
		what = append(what, "attributes")
	}
	if e.Account != nil {
		what = append(what, "account")
	}
	return strings.Join(what, ",")
}

// editTags changes which tags row carries.
func (r *Registry) editTags(ctx context.Context, row *push.DeviceRow, e push.LabelEdit, m *tagMaker) error {
	if e.All == push.AllTags {
		row.TagIDs = nil
	}
	if e.Tags == nil {
		return nil
	}
	if e.Op == push.Delete {
		row.TagIDs = withoutTags(row.TagIDs, m.existing(e.Tags))
		return nil
	}
	ids, err := m.ids(ctx, e.Tags)
	if err != nil {
		return err
	}
	have := row.TagIDs
	if e.Op == push.Put {
		have = nil
	}
	return carry(row, withTags(have, ids), m.app)
}

// carry makes tags what row carries. TooMany if they are more than a device may carry, and more than it had.
func carry(row *push.DeviceRow, ids []push.TagID, app push.App) error {
	if most := app.Settings.Int(push.SettingDeviceTags); len(ids) > most && len(ids) > len(row.TagIDs) {
		return &push.Error{Kind: push.TooMany, Field: "tags", Msg: "the device would carry more than " + strconv.Itoa(most) + " tags"}
	}
	row.TagIDs = ids
	return nil
}

// withTags returns the union of two lists of ids, growing; nil if there is none.
func withTags(a, b []push.TagID) []push.TagID {
	all := slices.Concat(a, b)
	slices.Sort(all)
	if all = slices.Compact(all); len(all) == 0 {
		return nil
	}
	return all
}

// withoutTags returns all but some of a device's tags; nil if none is left.
func withoutTags(all, some []push.TagID) []push.TagID {
	var left []push.TagID
	for _, id := range all {
		if !slices.Contains(some, id) {
			left = append(left, id)
		}
	}
	return left
}

// editAttributes changes the attributes of row.
func editAttributes(row *push.DeviceRow, op push.EditOp, attributes map[string]string) error {
	switch {
	case attributes == nil:
		return nil
	case op == push.Delete:
		left := maps.Clone(row.Attributes)
		for name := range attributes {
			delete(left, name)
		}
		row.Attributes = merged(left, nil)
		return nil
	case op == push.Put:
		row.Attributes = nil
	}
	return merge(row, attributes, nil)
}

// editAccount logs an account in, or out. A logout of an account that is not the one that is logged in changes nothing.
func editAccount(row *push.DeviceRow, op push.EditOp, account string, now time.Time) {
	switch {
	case op != push.Delete:
		setAccount(row, account, now)
	case account == "" || account == row.Account:
		setAccount(row, "", now)
	}
}

// editAliases returns the aliases of an edit as the record changes them, each in its place.
func editAliases(o push.Ordinal, e push.LabelEdit) []push.AliasEdit {
	if e.All == push.AllAliases {
		return []push.AliasEdit{{Ordinal: o, Op: push.Delete}}
	}
	var edits []push.AliasEdit
	for _, a := range e.Aliases {
		edits = append(edits, push.AliasEdit{Ordinal: o, Op: e.Op, Alias: a})
	}
	return edits
}

// aliasLimits are the limits that an app sets.
func aliasLimits(app push.App) push.AliasLimits {
	return push.AliasLimits{PerDevice: app.Settings.Int(push.SettingDeviceAliases), Devices: app.Settings.Int(push.SettingAliasDevices)}
}

// setAccount logs an account in on row, or out if it is "". The same one again changes nothing.
func setAccount(row *push.DeviceRow, account string, now time.Time) {
	switch {
	case account == row.Account:
		return
	case account == "":
		row.Bound, row.Unbound = time.Time{}, now
	default:
		row.Bound, row.Unbound = now, time.Time{}
	}
	row.Account = account
}

// noteAliases notes on row that edits of the device's aliases change what it is called, if they do.
func (r *Registry) noteAliases(ctx context.Context, row *push.DeviceRow, edits []push.AliasEdit) error {
	if len(edits) == 0 {
		return nil
	}
	all, err := r.stores.Labels.Aliases(ctx, row.Ref.App, []push.Ordinal{row.Ref.Ordinal})
	if err != nil {
		return err
	}
	if changesAliases(all[row.Ref.Ordinal], edits) {
		row.Changed = r.second()
	}
	return nil
}

// changesAliases reports whether edits change the aliases of a device that has some.
func changesAliases(has []push.Alias, edits []push.AliasEdit) bool {
	return slices.ContainsFunc(edits, func(e push.AliasEdit) bool {
		if e.Op == push.Delete && e.Alias == (push.Alias{}) {
			return len(has) > 0
		}
		return slices.Contains(has, e.Alias) == (e.Op == push.Delete)
	})
}

// An owned is an alias of a device.
type owned struct {
	push.Alias
	ordinal push.Ordinal
}

// otherOwners returns who else has the aliases of an edit, if it may take them away.
func (r *Registry) otherOwners(ctx context.Context, ref push.Ref, e push.LabelEdit) (map[owned]bool, error) {
	if e.Op != push.Put && (e.Limits == nil || !e.Limits.Evict) || e.Op == push.Delete {
		return nil, nil
	}
	byType := map[string][]string{}
	for _, a := range e.Aliases {
		byType[a.Type] = append(byType[a.Type], a.Value)
	}
	others := map[owned]bool{}
	for typ, values := range byType {
		holders, err := r.stores.Devices.Holders(ctx, ref.App, push.Names{Kind: push.ByAlias, Type: typ, Values: values}, 0)
		if err != nil {
			return nil, err
		}
		for _, h := range holders {
			if h.Ordinal != ref.Ordinal {
				others[owned{push.Alias{Type: typ, Value: h.Value}, h.Ordinal}] = true
			}
		}
	}
	return others, nil
}

// noteLosers notes on the devices that had aliases before an edit, and have them no more, that they have changed. It is a
// commit of its own, and if it fails, that is told and nothing else: they are only said to be what they were.
func (r *Registry) noteLosers(ctx context.Context, ref push.Ref, e push.LabelEdit, had map[owned]bool) {
	have, err := r.otherOwners(ctx, ref, e)
	if err == nil {
		losers := map[push.Ref]bool{}
		for o := range had {
			if !have[o] {
				losers[push.Ref{App: ref.App, Ordinal: o.ordinal}] = true
			}
		}
		_, err = r.changeAll(durable(ctx), ref.App, slices.Collect(maps.Keys(losers)), func(row *push.DeviceRow, c *push.DeviceChange) error {
			c.What, row.Changed = "aliases", r.second()
			return nil
		})
	}
	if err != nil {
		r.options.Log.Warn("not noted that devices lost aliases", "app", ref.App, "err", err)
	}
}

// TagDevices has the named devices of app carry a tag (Add) or not (Delete), in one commit: how many that changed, and which
// of the names stand for no device, each once. Invalid, TooMany; NotFound if no name stands for a device.
func (r *Registry) TagDevices(ctx context.Context, app push.AppID, tag string, op push.EditOp, names []string) (changed int, unknown []string, err error) {
	const where = "registry.TagDevices"
	a, err := r.App(app)
	switch {
	case err != nil:
		return 0, nil, push.Wrap(where, err)
	case op != push.Add && op != push.Delete:
		return 0, nil, &push.Error{Op: where, Kind: push.Invalid, Field: "op", Msg: "is add or delete"}
	}
	if err := push.Within("tag", push.ValidateTag(tag)); err != nil {
		return 0, nil, push.Wrap(where, err)
	}
	if names == nil {
		names = []string{}
	}
	if err := (push.Audience{Devices: names}).Validate(); err != nil {
		return 0, nil, push.Wrap(where, err)
	}
	refs := make([]push.Ref, 0, len(names))
	unknown, err = r.members(ctx, app, naming{}, names, nil, func(ref push.Ref, _ string) bool { refs = append(refs, ref); return true })
	switch {
	case err != nil:
		return 0, nil, push.Wrap(where, err)
	case len(refs) == 0:
		return 0, nil, noDevice(where)
	}
	m := tagMaker{r: r, app: a}
	defer m.release()
	changed, err = r.changeAll(ctx, app, refs, func(row *push.DeviceRow, c *push.DeviceChange) error {
		c.What = "tags"
		err := r.editTags(ctx, row, push.LabelEdit{Op: op, Tags: []string{tag}}, &m)
		c.Tags = m.made
		return err
	})
	return changed, unknown, push.Wrap(where, err)
}

// NamedDevices returns the ids of the registered devices of app that have one of the names, each once. Invalid, NotFound
// without the app.
func (r *Registry) NamedDevices(ctx context.Context, app push.AppID, names push.Names) ([]push.DeviceID, error) {
	const op = "registry.NamedDevices"
	if _, err := r.App(app); err != nil {
		return nil, push.Wrap(op, err)
	}
	switch {
	case names.Kind < push.ByAlias || names.Kind > push.ByPrevious:
		return nil, &push.Error{Op: op, Kind: push.Invalid, Field: "kind", Msg: "is alias, account, phone or previous"}
	case len(names.Values) == 0 || len(names.Values) > push.MaxDirect:
		return nil, &push.Error{Op: op, Kind: push.Invalid, Field: "value", Msg: "is 1 to 1000 names"}
	}
	for _, v := range names.Values { // all names have the rules of aliases
		if err := (push.Alias{Type: names.Type, Value: v}).Validate(); err != nil {
			return nil, push.Wrap(op, err)
		}
	}
	var ids []push.DeviceID
	seen := map[push.Ordinal]bool{}
	_, err := r.members(ctx, app, naming{kind: names.Kind, typ: names.Type}, names.Values, nil, func(ref push.Ref, _ string) bool {
		if !seen[ref.Ordinal] {
			seen[ref.Ordinal] = true
			ids = append(ids, r.keys.DeviceID(ref))
		}
		return true
	})
	return ids, push.Wrap(op, err)
}
