package registry

import (
	"slices"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// Resolve returns the registered devices of app that names (device ids or channel ids) stand for, each once and in the
// order of names, and how many different names stand for none: made-up ids, devices that were removed, of another app,
// or of a platform that is not among platforms (empty: all).
func (r *Registry) Resolve(app push.AppID, names []string, platforms []push.Platform) (devices []push.Named, unknown int) {
	devices = make([]push.Named, 0, len(names))
	if len(names) == 1 { // most pushes: nothing can be twice
		if ref, ok := r.member(app, names[0], platforms); ok {
			return append(devices, r.marked(ref)), 0
		}
		return devices, 1
	}
	seen := make(map[push.Ordinal]bool, len(names)) // a device has two names
	strangers := make(map[string]bool)
	for _, n := range names {
		ref, ok := r.member(app, n, platforms)
		switch {
		case !ok:
			strangers[n] = true
		case !seen[ref.Ordinal]:
			seen[ref.Ordinal] = true
			devices = append(devices, r.marked(ref))
		}
	}
	return devices, len(strangers)
}

func (r *Registry) marked(ref push.Ref) push.Named {
	test, blacklisted := r.index.Marks(ref.App, ref.Ordinal)
	return push.Named{Ref: ref, Test: test, Blacklisted: blacklisted}
}

func (r *Registry) member(app push.AppID, name string, platforms []push.Platform) (push.Ref, bool) {
	ref, ok := r.named(name)
	if !ok || ref.App != app || len(platforms) > 0 && !slices.Contains(platforms, ref.Platform) {
		return push.Ref{}, false
	}
	return ref, true
}

// Everybody returns the registered devices of the given platforms (empty: all). The caller owns the set.
func (r *Registry) Everybody(app push.AppID, platforms []push.Platform) *ordset.Set {
	return r.index.Everybody(app, platforms)
}

// Test returns the devices marked for tests. The caller owns the set.
func (r *Registry) Test(app push.AppID) *ordset.Set { return r.index.Test(app) }

// Blacklisted returns the devices that get nothing. The caller owns the set.
func (r *Registry) Blacklisted(app push.AppID) *ordset.Set { return r.index.Blacklisted(app) }

// Find returns the ref of the registered device that has an ordinal.
func (r *Registry) Find(app push.AppID, o push.Ordinal) (push.Ref, bool) { return r.index.Find(app, o) }

// Count returns how many devices of app are registered, by platform.
func (r *Registry) Count(app push.AppID) map[push.Platform]int { return r.index.Count(app) }
