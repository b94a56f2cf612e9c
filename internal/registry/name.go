package registry

import (
	"context"
	"slices"

	"github.com/carillonpush/carillon/internal/push"
)

// A naming is a way to name devices. The zero naming is by device id, channel id or the id at an earlier provider.
type naming struct {
	kind push.NameKind
	typ  string // for ByAlias
}

// namePage is how many names are looked up in the record at a time.
const namePage = 1000

// members yields the registered devices of app that names stand for and that are of one of platforms (empty: all), in the
// order of the names, until yield returns false; a device may come more than once. It returns the names that stand for none,
// each once: made-up ids, and names of devices that were removed, of another app, or of another platform.
func (r *Registry) members(ctx context.Context, app push.AppID, by naming, names []string, platforms []push.Platform, yield func(push.Ref) bool) (unknown []string, err error) {
	if len(names) == 1 && by == (naming{}) { // most pushes: the record is not asked
		if ref, ok := r.member(app, names[0], platforms); ok {
			yield(ref)
			return nil, nil
		}
	}
	for page := range slices.Chunk(distinct(names), namePage) {
		holders, err := r.holders(ctx, app, by, page)
		if err != nil {
			return nil, err
		}
		for _, name := range page {
			met := false
			if by == (naming{}) {
				if ref, ok := r.member(app, name, platforms); ok {
					if met = true; !yield(ref) {
						return unknown, nil
					}
					continue
				}
			}
			for _, o := range holders[name] {
				ref, ok := r.index.Find(app, o)
				if !ok || !among(ref.Platform, platforms) {
					continue
				}
				if met = true; !yield(ref) {
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

// holders returns who has names, as the record knows them. Of ids only those that are no registered device's are looked up:
// they may be of an earlier provider, also where they look like ours, as any short number does.
func (r *Registry) holders(ctx context.Context, app push.AppID, by naming, names []string) (map[string][]push.Ordinal, error) {
	look := push.Names{Kind: by.kind, Type: by.typ, Values: names}
	if by == (naming{}) {
		look.Kind, look.Values = push.ByPrevious, nil
		for _, name := range names {
			if _, ok := r.member(app, name, nil); !ok {
				look.Values = append(look.Values, name)
			}
		}
	}
	if len(look.Values) == 0 {
		return nil, nil
	}
	all, err := r.stores.Devices.Holders(ctx, app, look)
	if err != nil {
		return nil, err
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

// member returns the registered device of app, of one of platforms, that has name as its device id or channel id.
func (r *Registry) member(app push.AppID, name string, platforms []push.Platform) (push.Ref, bool) {
	ref, ok := r.named(name)
	if !ok || ref.App != app || !among(ref.Platform, platforms) {
		return push.Ref{}, false
	}
	return ref, true
}

// among reports whether p is one of platforms, where none means all.
func among(p push.Platform, platforms []push.Platform) bool {
	return len(platforms) == 0 || slices.Contains(platforms, p)
}
