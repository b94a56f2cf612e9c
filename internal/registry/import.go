package registry

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/carillonpush/carillon/internal/push"
)

// Import adds devices to app, or changes those that were imported before, in one commit where none is refused: an answer for
// each, in order. Importing again changes nothing but what is new. A device that comes twice is changed twice. One that is
// refused has its Err: Invalid; Conflict with Field "platform"; TooMany with Field "tags" or "aliases[i]"; the others are
// imported. Invalid with Field "devices" if they are more than push.MaxImports, or none; NotFound without the app; any other
// error says that some may not be imported, and that it may be tried again.
func (r *Registry) Import(ctx context.Context, app push.AppID, devices []push.Import) ([]push.Imported, error) {
	const op = "registry.Import"
	a, err := r.App(app)
	if err != nil {
		return nil, push.Wrap(op, err)
	}
	if len(devices) == 0 || len(devices) > push.MaxImports {
		return nil, &push.Error{Op: op, Kind: push.Invalid, Field: "devices", Msg: "are 1 to " + strconv.Itoa(push.MaxImports)}
	}
	run := importRun{r: r, app: a, devices: devices, answers: make([]push.Imported, len(devices)), given: map[string]push.Ordinal{}}
	var well []int
	for i, d := range devices {
		run.answers[i].Err = d.Validate()
		if ref, ours := r.named(d.PreviousID); ours && ref.App == app {
			run.answers[i].Err = &push.Error{Kind: push.Conflict, Field: "device_id", Msg: "is a device of this app already, by the id that it has here"}
		}
		if run.answers[i].Err == nil {
			well = append(well, i)
		}
	}
	if err := run.some(ctx, well); err != nil {
		return nil, push.Wrap(op, err)
	}
	return run.answers, nil
}

// An importRun is one call of Import.
type importRun struct {
	r       *Registry
	app     push.App
	devices []push.Import
	answers []push.Imported
	given   map[string]push.Ordinal // to devices that are new, by previous id: a commit that is refused does not use them up
}

// some imports some of the devices. If the record refuses them together it tries each half by itself, so that those that are
// well are in few commits.
func (run *importRun) some(ctx context.Context, which []int) error {
	if len(which) == 0 {
		return nil
	}
	err := run.together(ctx, which)
	switch kind := push.KindOf(err); {
	case err == nil:
		return nil
	case kind != push.TooMany && kind != push.Conflict && kind != push.Invalid:
		return err
	case len(which) == 1:
		run.answers[which[0]] = push.Imported{Err: err}
		return nil
	}
	half := len(which) / 2
	if err := run.some(ctx, which[:half]); err != nil {
		return err
	}
	return run.some(ctx, which[half:])
}

// together imports some of the devices in one commit. What can be told of one device without the record becomes its answer;
// an error is of all.
func (run *importRun) together(ctx context.Context, which []int) error {
	names, installs, phones := make([]string, len(which)), make([]uint32, len(which)), []string(nil)
	for n, i := range which {
		names[n] = run.devices[i].PreviousID
		installs[n] = ofInstall(run.r.importInstall(run.app.ID, names[n]))
		if run.devices[i].Phone != "" {
			phones = append(phones, run.devices[i].Phone)
		}
	}
	names = distinct(names)
	defer run.r.installs.lock(installs...)()
	defer run.r.phones.lock(ofPhones(phones)...)()
	b := importBatch{importRun: run, rows: make(map[string]*importRow, len(names))}
	b.c = push.DeviceChange{App: run.app.ID, Limits: aliasLimits(run.app), What: "import"}
	ordinals, err := b.place(ctx, names)
	if err != nil {
		return err
	}
	defer run.r.devices.lock(ofDevices(run.app.ID, ordinals)...)()
	if err := b.read(ctx); err != nil {
		return err
	}
	b.tags = tagMaker{r: run.r, app: run.app}
	defer b.tags.release()
	for _, i := range which {
		err := b.take(ctx, i)
		switch kind := push.KindOf(err); {
		case err == nil:
		case kind == push.TooMany || kind == push.Conflict || kind == push.Invalid:
			run.answers[i] = push.Imported{Err: err}
		default: // the record could not be read
			return err
		}
	}
	return b.write(ctx, names)
}

// An importBatch is what one commit of Import is made of.
type importBatch struct {
	*importRun
	rows map[string]*importRow // by previous id
	tags tagMaker
	c    push.DeviceChange
}

// An importRow is one device of a batch.
type importRow struct {
	ordinal push.Ordinal
	known   bool           // it was imported before
	aliases []push.Alias   // as the record has them
	old     push.DeviceRow // as the record has it
	row     push.DeviceRow // as it will be
	taken   bool           // row holds an import
}

// place finds the devices of the names, and has ordinals for those that are new; r.installs of all are held, so that nobody
// else imports them.
func (b *importBatch) place(ctx context.Context, names []string) ([]push.Ordinal, error) {
	holders, err := b.r.stores.Devices.Holders(ctx, b.app.ID, push.Names{Kind: push.ByPrevious, Values: names}, 0)
	if err != nil {
		return nil, err
	}
	for _, h := range holders {
		b.rows[h.Value] = &importRow{ordinal: h.Ordinal, known: true}
	}
	ordinals := make([]push.Ordinal, 0, len(names))
	for _, name := range names {
		if b.rows[name] == nil {
			o, ok := b.given[name]
			if !ok {
				if o, err = b.r.index.Take(b.app.ID); err != nil {
					return nil, err
				}
				b.given[name] = o
			}
			b.rows[name] = &importRow{ordinal: o}
		}
		ordinals = append(ordinals, b.rows[name].ordinal)
	}
	return ordinals, nil
}

// read reads the devices that are known. Their locks are held.
func (b *importBatch) read(ctx context.Context) error {
	var ordinals []push.Ordinal
	for _, row := range b.rows {
		if row.known {
			ordinals = append(ordinals, row.ordinal)
		}
	}
	if len(ordinals) == 0 {
		return nil
	}
	found, err := b.r.find(ctx, b.app.ID, ordinals)
	if err != nil {
		return err
	}
	aliases, err := b.r.stores.Labels.Aliases(ctx, b.app.ID, ordinals)
	if err != nil {
		return err
	}
	for name, row := range b.rows {
		if !row.known {
			continue
		}
		row.aliases = aliases[row.ordinal]
		old, ok := found[row.ordinal]
		if !ok || !old.Removed.IsZero() || old.PreviousID != name {
			return &push.Error{Op: "registry.Import", Kind: push.Unavailable, Msg: "a device is being removed: try again", Err: push.ErrNotQueued}
		}
		row.old, row.row = old, old
	}
	return nil
}

// take puts import i into the batch and writes its answer, or says why not; then nothing of it is in.
func (b *importBatch) take(ctx context.Context, i int) error {
	d := &b.devices[i]
	at := b.rows[d.PreviousID]
	fresh := !at.known && !at.taken
	row := at.row
	if fresh {
		platform := d.Platform
		if platform == 0 {
			platform = push.Android
		}
		row = b.r.newDevice(b.app.ID, at.ordinal, platform, b.r.importInstall(b.app.ID, d.PreviousID))
		row.PreviousID = d.PreviousID
	} else if d.Platform != 0 && d.Platform != row.Ref.Platform {
		return otherPlatform("the device was imported with another platform, which is part of its id")
	}
	if row.Install == b.r.importInstall(b.app.ID, d.PreviousID) {
		if err := b.describe(&row, d); err != nil {
			return err
		}
	}
	assign(&row.Test, d.Test)
	if len(d.Tags) > 0 {
		made := len(b.tags.made)
		ids, err := b.tags.ids(ctx, d.Tags)
		if err == nil {
			err = carry(&row, withTags(row.TagIDs, ids), b.app)
		}
		if err != nil {
			b.tags.undo(made)
			return err
		}
	}
	edits := editAliases(row.Ref.Ordinal, push.LabelEdit{Op: push.Add, Aliases: d.Aliases})
	if changesAliases(at.aliases, edits) {
		row.Changed = b.r.second()
	}
	at.row, at.taken = row, true
	b.c.Aliases = append(b.c.Aliases, edits...)
	b.answers[i] = push.Imported{Device: b.r.keys.DeviceID(row.Ref), Added: fresh}
	return nil
}

// describe puts what an import says of a device itself into its row. Once a phone has become the device, it is the phone that
// says so: a file that is imported again knows less.
func (b *importBatch) describe(row *push.DeviceRow, d *push.Import) error {
	if err := merge(row, d.Attributes, d.Tokens); err != nil {
		return err
	}
	if d.Account != "" {
		setAccount(row, d.Account, b.r.now())
	}
	if d.Phone != "" {
		row.Phone = d.Phone
	}
	return nil
}

// write makes the batch durable.
func (b *importBatch) write(ctx context.Context, names []string) error {
	for _, name := range names {
		switch at := b.rows[name]; {
		case !at.taken:
		case !at.known:
			b.c.Add = append(b.c.Add, at.row)
		default:
			b.c.Save = b.r.different(b.c.Save, at.old, at.row)
		}
	}
	b.c.Tags = slices.Clip(b.tags.made)
	if len(b.c.Add)+len(b.c.Save)+len(b.c.Aliases) == 0 {
		return nil
	}
	err := b.r.write(ctx, &b.c)
	var e *push.Error
	if errors.As(err, &e) && e.Field == "previous_id" {
		return &push.Error{Kind: push.Conflict, Field: "device_id", Msg: "is another device's", Err: err}
	}
	return err
}
