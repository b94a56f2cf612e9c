package registry

import (
	"bytes"
	"context"
	"errors"

	"github.com/carillonpush/carillon/internal/push"
)

// Explain reports whether an audience is for a registered device now. If not, leaf is the path inside the audience of the
// first part that does not hold, in the form that errors have: "where.and[1].not.attr", "devices", "aliases", "accounts",
// "file", "platforms"; "" for the zero Audience, which is for nobody. NotFound without the device, or if what the audience
// names is not there any more; Invalid as Check.
func (r *Registry) Explain(ctx context.Context, app push.AppID, a push.Audience, o push.Ordinal) (holds bool, leaf string, err error) {
	const op = "registry.Explain"
	ref, ok := r.index.Find(app, o)
	if !ok {
		return false, "", noDevice(op)
	}
	holds, leaf, err = r.names(ctx, ref, a)
	if err == nil && holds && !among(ref.Platform, a.Platforms) {
		return false, "platforms", nil
	}
	return holds, leaf, push.Wrap(op, err)
}

// names reports whether one of the forms of an audience is for a device, whatever its platform.
func (r *Registry) names(ctx context.Context, ref push.Ref, a push.Audience) (holds bool, leaf string, err error) {
	switch {
	case a.All:
		return true, "", nil
	case a.Named():
		leaf = "devices"
		if a.Aliases != nil {
			leaf = "aliases"
		} else if a.Accounts != nil {
			leaf = "accounts"
		}
		by, names := namesOf(a)
		_, err = r.members(ctx, ref.App, by, names, nil, func(found push.Ref, _ string) bool {
			holds = found.Ordinal == ref.Ordinal
			return !holds
		})
	case a.File != "":
		leaf = "file"
		holds, err = r.inFile(ctx, ref, a)
	case a.Where != nil:
		holds, leaf, err = r.index.Explain(r.query(ctx, ref.App, *a.Where), ref.Ordinal)
		leaf, err = "where."+leaf, push.Within("where", err)
	}
	if holds || err != nil {
		leaf = ""
	}
	return holds, leaf, err
}

// inFile reports whether a line of a file stands for a device. Not the lines are looked up, of which there may be a million,
// but what the device is called.
func (r *Registry) inFile(ctx context.Context, ref push.Ref, a push.Audience) (in bool, err error) {
	f, err := r.FindFile(ctx, ref.App, push.FileID(a.File))
	if err != nil {
		return false, err
	}
	called := map[string]bool{}
	if a.Of.Devices {
		rows, err := r.stores.Devices.FindDevices(ctx, ref.App, []push.Ordinal{ref.Ordinal})
		if err != nil {
			return false, err
		}
		for _, row := range rows {
			called[row.PreviousID] = true // no line is empty
		}
	} else {
		aliases, err := r.stores.Labels.Aliases(ctx, ref.App, []push.Ordinal{ref.Ordinal})
		if err != nil {
			return false, err
		}
		for _, alias := range aliases[ref.Ordinal] {
			called[alias.Value] = called[alias.Value] || alias.Type == a.Of.Alias
		}
	}
	err = r.stores.Files.ReadFile(ctx, ref.App, f.ID, func(part []byte) error {
		for line := range bytes.Lines(part) {
			name := string(bytes.TrimSuffix(line, []byte("\n")))
			is, ours := push.Ref{}, false
			if a.Of.Devices { // an id that is one of ours is nobody's earlier one
				is, ours = r.named(name)
			}
			if ours && is.App == ref.App {
				in = is.Ordinal == ref.Ordinal
			} else {
				in = called[name]
			}
			if in {
				return errFound
			}
		}
		return nil
	})
	switch {
	case in:
		return true, nil
	case errors.Is(err, push.NotFound): // it expired meanwhile
		err = noFile(err)
	}
	return false, err
}

// errFound ends the reading of a file.
var errFound = errors.New("registry: found")
