package registry

import (
	"context"
	"errors"
	"slices"

	"github.com/carillonpush/carillon/internal/push"
)

// A naming is a way to name devices. The zero naming is by device id, channel id or the id at an earlier provider.
type naming struct {
	kind push.NameKind
	typ  string // for ByAlias
	most int    // devices of a page of names that the record is asked for; 0: all
}

// errMore says that a page of names has more devices than naming.most.
var errMore = errors.New("registry: more devices than were asked for")

// namePage is how many names are looked up in the record at a time.
const namePage = 1000

// members yields the registered devices of app that names stand for and that are of one of platforms (empty: all), in the
// order of the names, each with the name, until yield returns false; a device may come more than once. It returns the names that stand for none,
// on no platform at all, each once: made-up ids, and names of devices that were removed, or of another app.
func (r *Registry) members(ctx context.Context, app push.AppID, by naming, names []string, platforms []push.Platform, yield func(ref push.Ref, name string) bool) (unknown []string, err error) {
	if len(names) > 1 { // most pushes have one
		names = distinct(names)
	}
	for page := range slices.Chunk(names, namePage) {
		ours, others := r.ours(app, by, page)
		holders, err := r.holders(ctx, app, by, others)
		if err != nil {
			return nil, err
		}
		for i, name := range page {
			if by.kind == 0 && ours[i] != (push.Ref{}) {
				if among(ours[i].Platform, platforms) && !yield(ours[i], name) {
					return unknown, nil
				}
				continue
			}
			met := false
			for _, o := range holders[name] {
				ref, ok := r.index.Find(app, o)
				met = met || ok
				if ok && among(ref.Platform, platforms) && !yield(ref, name) {
					return unknown, nil
				}
			}
			if !met {
				unknown = append(unknown, name)
			}
		}
	}
	return unknown, nil
}

// ours returns for each of names the device that has it as its device id or channel id, which takes no look at the record;
// and the names that must be looked up there. They may be ids of an earlier provider, also where they look like ours, as any
// short number does.
func (r *Registry) ours(app push.AppID, by naming, names []string) (refs []push.Ref, others []string) {
	if by.kind != 0 {
		return nil, names
	}
	refs = make([]push.Ref, len(names))
	for i, name := range names {
		ref, ok := r.named(name)
		switch {
		case !ok || ref.App != app:
			others = append(others, name)
		default:
			refs[i] = ref
		}
	}
	return refs, others
}

// holders returns who has names, as the record knows them.
func (r *Registry) holders(ctx context.Context, app push.AppID, by naming, names []string) (map[string][]push.Ordinal, error) {
	if len(names) == 0 {
		return nil, nil
	}
	if by.kind == 0 {
		by.kind = push.ByPrevious
	}
	all, err := r.stores.Devices.Holders(ctx, app, push.Names{Kind: by.kind, Type: by.typ, Values: names}, by.most)
	switch {
	case err != nil:
		return nil, err
	case by.most > 0 && len(all) == by.most: // there may be more, and some may be of other platforms: nobody looks
		return nil, errMore
	}
	holders := make(map[string][]push.Ordinal, len(all))
	for _, h := range all {
		holders[h.Value] = append(holders[h.Value], h.Ordinal)
	}
	return holders, nil
}

// distinct returns names, each once, in order.
func distinct(names []string) []string {
	seen := make(map[string]bool, len(names))
	all := make([]string, 0, len(names))
	for _, n := range names {
		if !seen[n] {
			seen[n] = true
			all = append(all, n)
		}
	}
	return all
}

// among reports whether p is one of platforms, where none means all.
func among(p push.Platform, platforms []push.Platform) bool {
	return len(platforms) == 0 || slices.Contains(platforms, p)
}
