package dispatch_test

import (
	"context"
	"slices"
	"sync"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// people are ten devices: 0 to 5 Android, 6 to 9 iOS; 4 is blacklisted, 1 and 7 are for tests. The alias "crowd" is that of
// 0, 2 and 7, the account "u" that of 3, the tag "odd" that of all odd ones.
type people struct {
	app    push.App
	pushed func(push.WherePush) (*ordset.Set, error) // what the report and the record know of a push
	active []int                                     // who was active lately

	mu    sync.Mutex // guards what follows
	files map[string][]string
	alias map[string][]string
}

func newPeople() *people {
	return &people{
		app: push.App{ID: theApp, Name: "app", TimeZone: "UTC"}, files: map[string][]string{},
		alias: map[string][]string{"crowd": {"a0", "a2", "i7"}},
	}
}

var names = []string{"a0", "a1", "a2", "a3", "a4", "a5", "i6", "i7", "i8", "i9"}

func platformOf(name string) push.Platform {
	if name[0] == 'a' {
		return push.Android
	}
	return push.IOS
}

func (p *people) App(id push.AppID) (push.App, error) {
	if id != p.app.ID {
		return push.App{}, &push.Error{Kind: push.NotFound, Field: "app", Msg: "no such app"}
	}
	return p.app, nil
}

// Check refuses files that are not there, and the attribute "session".
func (p *people) Check(_ context.Context, _ push.AppID, a push.Audience) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.files[a.File]; a.File != "" && !ok {
		return &push.Error{Kind: push.NotFound, Field: "file", Msg: "no such file"}
	}
	if a.Where != nil {
		for l := range a.Where.Leaves {
			if attr, ok := l.(push.WhereAttr); ok && attr.Name == "session" {
				return &push.Error{Kind: push.Invalid, Field: "where.attr", Msg: "cannot be asked for"}
			}
		}
	}
	return nil
}

func (p *people) Resolve(_ context.Context, _ push.AppID, a push.Audience, limit int) ([]push.Named, int, bool, error) {
	var devices []push.Named
	seen, unknown := map[int]bool{}, 0
	for _, n := range p.named(a) {
		i := slices.Index(names, n)
		if i < 0 || len(a.Platforms) > 0 && !slices.Contains(a.Platforms, platformOf(n)) {
			unknown++
			continue
		}
		if seen[i] {
			at := slices.IndexFunc(devices, func(d push.Named) bool { return d.Ordinal == push.Ordinal(i) })
			devices[at].Merged = true
			continue
		}
		seen[i] = true
		devices = append(devices, push.Named{
			Ref:  push.Ref{App: theApp, Ordinal: push.Ordinal(i), Generation: 1, Platform: platformOf(n)},
			Test: p.holds(i, flagged(push.FlagTest)), Blacklisted: p.holds(i, flagged(push.FlagBlacklisted)), Name: n,
		})
	}
	if len(devices) > limit {
		return nil, 0, true, nil
	}
	return devices, unknown, false, nil
}

// named returns the names of devices that a stands for; a name that stands for none is its own.
func (p *people) named(a push.Audience) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := slices.Concat(a.Devices, p.files[a.File])
	for _, n := range a.Accounts {
		if n == "u" {
			n = "a3"
		}
		all = append(all, n)
	}
	if a.Aliases != nil {
		for _, v := range a.Aliases.Values {
			if of, ok := p.alias[v]; ok {
				all = append(all, of...)
			} else {
				all = append(all, v)
			}
		}
	}
	return all
}

func (p *people) Target(ctx context.Context, app push.AppID, a push.Audience) (*ordset.Set, int, error) {
	if err := p.Check(ctx, app, a); err != nil {
		return nil, 0, err
	}
	if a.Named() || a.File != "" {
		named, unknown, _, err := p.Resolve(ctx, app, a, 1<<30)
		set := new(ordset.Set)
		for _, n := range named {
			set.Add(n.Ordinal)
		}
		return set, unknown, err
	}
	w := push.Is(push.WherePlatform(push.Platforms()))
	if len(a.Platforms) > 0 {
		w = push.Is(push.WherePlatform(a.Platforms))
	}
	if a.Where != nil {
		w = push.And(w, *a.Where)
	}
	set, err := p.Select(ctx, app, w)
	return set, 0, err
}

func (p *people) Select(_ context.Context, _ push.AppID, w push.Where) (*ordset.Set, error) {
	set := new(ordset.Set)
	for i := range names {
		if p.holds(i, w) {
			set.Add(push.Ordinal(i))
		}
	}
	return set, nil
}

func (p *people) Tally(_ push.AppID, set *ordset.Set) push.Tally {
	t := push.Tally{Platforms: map[push.Platform]int{}, Tokens: map[string]int{}}
	for o := range set.All() {
		t.Platforms[platformOf(names[o])]++
		if p.holds(int(o), flagged(push.FlagBlacklisted)) {
			t.Blacklisted++
		}
		if o >= 8 {
			t.Tokens["apns"]++
		}
	}
	return t
}

func flagged(f push.Flag) push.Where { return push.Is(push.WhereFlag{Flag: f, Value: true}) }

// holds evaluates w for one of the people.
func (p *people) holds(i int, w push.Where) bool {
	switch w.Join {
	case push.JoinAnd:
		return !slices.ContainsFunc(w.Of, func(w push.Where) bool { return !p.holds(i, w) })
	case push.JoinOr:
		return slices.ContainsFunc(w.Of, func(w push.Where) bool { return p.holds(i, w) })
	case push.JoinNot:
		return !p.holds(i, w.Of[0])
	}
	switch l := w.Leaf.(type) {
	case push.WhereFlag:
		return (l.Flag == push.FlagTest && (i == 1 || i == 7) || l.Flag == push.FlagBlacklisted && i == 4) == l.Value
	case push.WherePlatform:
		return slices.Contains(l, platformOf(names[i]))
	case push.WhereWithin:
		return slices.Contains(p.active, i)
	case push.WherePush:
		set, err := p.pushed(l)
		return err == nil && set.Has(push.Ordinal(i))
	case push.WhereTag:
		return l == "odd" && i%2 == 1
	}
	return false
}
