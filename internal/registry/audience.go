package registry

import (
	"bytes"
	"context"
	"errors"
	"strconv"

	"github.com/carillonpush/carillon/internal/audience"
	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// Check reports what a, which is valid, asks that cannot be answered: Invalid for an attribute that has too many values,
// NotFound for a file or a push that is not there, with the path inside the audience.
func (r *Registry) Check(ctx context.Context, app push.AppID, a push.Audience) error {
	const op = "registry.Check"
	switch {
	case a.File != "":
		_, err := r.FindFile(ctx, app, push.FileID(a.File))
		return push.Wrap(op, err)
	case a.Where != nil:
		if err := r.index.Check(app, *a.Where); err != nil {
			return push.Wrap(op, push.Within("where", err))
		}
		return push.Wrap(op, push.Within("where", r.checkPushes(ctx, app, *a.Where, map[push.ID]bool{})))
	}
	return nil
}

// checkPushes reports a push that w names and that is not there, with the path of its leaf. seen are those that are there.
func (r *Registry) checkPushes(ctx context.Context, app push.AppID, w push.Where, seen map[push.ID]bool) error {
	if l, ok := w.Leaf.(push.WherePush); ok && !seen[l.Push] {
		if err := noPush(l, r.options.Pushed(ctx, app, l.Push)); err != nil {
			return err
		}
		seen[l.Push] = true
	}
	for i, part := range w.Of {
		err := r.checkPushes(ctx, app, part, seen)
		switch {
		case err == nil:
		case w.Join == push.JoinNot:
			return push.Within("not", err)
		case w.Join == push.JoinAnd:
			return push.Within("and["+strconv.Itoa(i)+"]", err)
		default:
			return push.Within("or["+strconv.Itoa(i)+"]", err)
		}
	}
	return nil
}

// noPush returns err, which is about the push of a leaf, with the leaf's name as the field if it is NotFound.
func noPush(l push.WherePush, err error) error {
	if !errors.Is(err, push.NotFound) {
		return err
	}
	return &push.Error{Kind: push.NotFound, Field: push.LeafName(l), Msg: "no such push", Err: err}
}

// Resolve returns the registered devices that the names of a.Named() stand for, distinct and in the order of the names, each
// with the first that stands for it and whether another does, too; and how many different names stand for none: made-up ids, devices that were removed, or of another app. If the devices are
// more than limit it returns nothing and more true.
func (r *Registry) Resolve(ctx context.Context, app push.AppID, a push.Audience, limit int) (devices []push.Named, unknown int, more bool, err error) {
	by, names := namesOf(a)
	by.most = limit + 1
	devices = make([]push.Named, 0, min(len(names), limit))
	var seen map[push.Ordinal]int // their places in devices
	if len(names) > 1 {           // else nothing can be twice
		seen = make(map[push.Ordinal]int, len(names))
	}
	strangers, err := r.members(ctx, app, by, names, a.Platforms, func(ref push.Ref, name string) bool {
		at, again := seen[ref.Ordinal]
		switch {
		case again:
			devices[at].Merged = true
			return true
		case len(devices) >= limit:
			more = true
			return false
		case seen != nil:
			seen[ref.Ordinal] = len(devices)
		}
		test, blacklisted := r.index.Marks(app, ref.Ordinal)
		devices = append(devices, push.Named{Ref: ref, Test: test, Blacklisted: blacklisted, Name: name})
		return true
	})
	switch {
	case more || errors.Is(err, errMore):
		return nil, 0, true, nil
	case err != nil:
		return nil, 0, false, push.Wrap("registry.Resolve", err)
	}
	return devices, len(strangers), false, nil
}

// namesOf returns the names of an audience that is Named, and what they are.
func namesOf(a push.Audience) (naming, []string) {
	switch {
	case a.Aliases != nil:
		return naming{kind: push.ByAlias, typ: a.Aliases.Type}, a.Aliases.Values
	case a.Accounts != nil:
		return naming{kind: push.ByAccount}, a.Accounts
	}
	return naming{}, a.Devices
}

// Target returns the registered devices that a, which is valid, is for now, and how many names in it stand for none. In a
// file a name counts each time, unless it comes again soon. The caller owns the set. Errors as those of Check.
func (r *Registry) Target(ctx context.Context, app push.AppID, a push.Audience) (*ordset.Set, int, error) {
	const op = "registry.Target"
	switch {
	case a.Named():
		by, names := namesOf(a)
		set := new(ordset.Set)
		unknown, err := r.members(ctx, app, by, names, a.Platforms, func(ref push.Ref, _ string) bool { set.Add(ref.Ordinal); return true })
		return set, len(unknown), push.Wrap(op, err)
	case a.File != "":
		set, unknown, err := r.targetOfFile(ctx, app, a)
		return set, unknown, push.Wrap(op, err)
	}
	set, err := r.crowd(ctx, app, a)
	return set, 0, err
}

// crowd returns the devices of an audience that names none: those for which its expression holds, or all, of its platforms.
func (r *Registry) crowd(ctx context.Context, app push.AppID, a push.Audience) (*ordset.Set, error) {
	narrow := push.Is(push.WherePlatform(a.Platforms))
	switch {
	case a.Where == nil && len(a.Platforms) == 0:
		return r.index.All(app), nil
	case a.Where == nil:
		return r.Select(ctx, app, narrow)
	}
	set, err := r.Select(ctx, app, *a.Where)
	if err != nil || len(a.Platforms) == 0 {
		return set, push.Within("where", err)
	}
	of, err := r.Select(ctx, app, narrow)
	if err == nil {
		set.Intersect(of)
	}
	return set, err
}

// targetOfFile resolves a file, part by part. Names are told apart within a batch.
func (r *Registry) targetOfFile(ctx context.Context, app push.AppID, a push.Audience) (*ordset.Set, int, error) {
	f, err := r.FindFile(ctx, app, push.FileID(a.File))
	if err != nil {
		return nil, 0, err
	}
	by := naming{}
	if !a.Of.Devices {
		by = naming{kind: push.ByAlias, typ: a.Of.Alias}
	}
	set, unknown := new(ordset.Set), 0
	batch := make([]string, 0, namePage)
	flush := func() error {
		strangers, err := r.members(ctx, app, by, batch, a.Platforms, func(ref push.Ref, _ string) bool { set.Add(ref.Ordinal); return true })
		unknown += len(strangers)
		batch = batch[:0]
		return err
	}
	err = r.stores.Files.ReadFile(ctx, app, f.ID, func(part []byte) error {
		for line := range bytes.Lines(part) {
			if batch = append(batch, string(bytes.TrimSuffix(line, []byte("\n")))); len(batch) == namePage {
				if err := flush(); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err == nil && len(batch) > 0 {
		err = flush()
	}
	if errors.Is(err, push.NotFound) { // it expired meanwhile
		err = noFile(err)
	}
	return set, unknown, err
}

// Select returns the registered devices of app for which w, which is valid, holds now. The caller owns the set. Invalid and
// NotFound with the path inside w.
func (r *Registry) Select(ctx context.Context, app push.AppID, w push.Where) (*ordset.Set, error) {
	set, err := r.index.Select(r.query(ctx, app, w))
	return set, push.Wrap("registry.Select", err)
}

// query returns the question whether w holds now.
func (r *Registry) query(ctx context.Context, app push.AppID, w push.Where) audience.Query {
	asked := map[push.WherePush]*ordset.Set{} // several leaves may be about one push
	return audience.Query{
		App: app, Where: w, Now: r.options.Now(),
		Given: func(l push.Leaf) (*ordset.Set, error) {
			about, ok := l.(push.WherePush)
			if !ok {
				return r.given(ctx, app, l)
			}
			if asked[about] != nil {
				return asked[about], nil
			}
			set, err := r.options.Marked(ctx, app, about.Push, about.Mark)
			asked[about] = set
			return set, noPush(about, err)
		},
	}
}

// given returns the set of a leaf that the record or the presence holds.
func (r *Registry) given(ctx context.Context, app push.AppID, l push.Leaf) (*ordset.Set, error) {
	look := push.Names{Kind: push.ByAccount}
	switch l := l.(type) {
	case push.WhereAlias:
		look = push.Names{Kind: push.ByAlias, Type: l.Type, Values: l.Values}
	case push.WhereAccount:
		look.Values = l
	default: // online
		return r.activity.onlineOf(app), nil
	}
	holders, err := r.stores.Devices.Holders(ctx, app, look, 0)
	if err != nil {
		return nil, err
	}
	set := new(ordset.Set)
	for _, h := range holders {
		set.Add(h.Ordinal)
	}
	return set, nil
}

// Blacklisted reports whether the device that has an ordinal gets nothing.
func (r *Registry) Blacklisted(app push.AppID, o push.Ordinal) bool {
	_, blacklisted := r.index.Marks(app, o)
	return blacklisted
}

// Tally counts a set by platform, token and blacklist.
func (r *Registry) Tally(app push.AppID, set *ordset.Set) push.Tally { return r.index.Tally(app, set) }

// Find returns the ref of the registered device that has an ordinal.
func (r *Registry) Find(app push.AppID, o push.Ordinal) (push.Ref, bool) { return r.index.Find(app, o) }

// Platforms returns how many devices of app are registered, by platform.
func (r *Registry) Platforms(app push.AppID) map[push.Platform]int { return r.index.Platforms(app) }
