package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/carillonpush/carillon/sdk/carillon"
)

const (
	importBatch    = 1000    // devices of one call, and of one commit of the node
	importBytes    = 2 << 20 // of lines in one call, whose body may have 4 MiB
	importInFlight = 2       // calls: one that travels while the other commits
	importRetries  = 6       // of a call whose outcome is unknown, or that was put off: some 10 s
	shownErrors    = 20      // lines at fault that standard error names
	meterInterval  = time.Second / 4
)

type deviceImportCmd struct {
	File   string `arg:"" name:"file.csv" help:"The file; - is standard input."`
	Errors string `name:"errors" placeholder:"FILE" help:"Where to write every line at fault; without it the first 20 are shown."`
	appFlag
	clientFlags
	JSON bool `name:"json" help:"Print the summary as JSON."`
}

// Help returns what --help says below the flags.
func (deviceImportCmd) Help() string {
	return `The first line of the file names the columns: device_id, which is the id at the old provider and comes first, then any of platform, account, phone, tags, alias.TYPE (alias for those without a type), attr.NAME, token.CHANNEL (the token, or its object in JSON) and test. Tags and aliases of one device are separated by semicolons. An empty field leaves what is there.

A push to an old id is for the imported device from then on: it waits until the phone registers with that id as its previous_id. A line that is at fault is reported by its number, and the others are imported; the command may be repeated, with the same file or a corrected one.

Example, of base.csv and its import:

    device_id,platform,alias.uid,tags,attr.city,token.hms
    5f0c8c0e9f6b,android,42,vip;north,杭州,AEd8x…

    carillon device import --app shop base.csv --errors refused.txt`
}

// Run imports a file.
func (c *deviceImportCmd) Run(ctx context.Context, s *streams) (err error) {
	name, src := "stdin", s.In
	var size int64
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return err
		}
		defer f.Close() //nolint:errcheck // it was only read
		name, src = c.File, f
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			size = info.Size()
		}
	}
	if same(src, c.Errors) {
		return usage("--errors: %s is the file that is imported", c.Errors)
	}
	lines, err := newCSVReader(src)
	var bad *lineError
	if errors.As(err, &bad) {
		return usage("%s:%d: %w", name, bad.Line, bad)
	}
	if err != nil {
		return err
	}
	_, app, err := c.open(ctx, &c.clientFlags, "")
	if err != nil {
		return err
	}
	im := &importer{app: app, lines: lines, report: &lineReport{name: name, err: s.Err, show: newProgress(s.progress())}}
	im.report.meter.size = size
	if im.client, err = c.repeating(); err != nil {
		return err
	}
	if c.Errors != "" {
		f, err := os.Create(c.Errors)
		if err != nil {
			return fmt.Errorf("--errors: %w", err)
		}
		im.report.file = bufio.NewWriter(f)
		defer func() {
			if e := errors.Join(im.report.file.Flush(), f.Close()); e != nil && err == nil {
				err = fmt.Errorf("--errors: %w", e)
			}
		}()
	}
	done, err := im.run(ctx)
	if e := done.print(s.Out, c.JSON); e != nil {
		return errors.Join(err, e)
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return errors.New("interrupted; what was imported stays, and the same command goes on")
	case err != nil:
		return err
	case done.Refused > 0:
		return fmt.Errorf("%d of %d lines were refused", done.Refused, done.Lines)
	}
	return nil
}

// same reports whether src is the file of that name, which writing to it would empty.
func same(src io.Reader, name string) bool {
	f, ok := src.(*os.File)
	if !ok || name == "" {
		return false
	}
	one, err := f.Stat()
	if err != nil {
		return false
	}
	other, err := os.Stat(name)
	return err == nil && os.SameFile(one, other)
}

// A summary counts lines below the header.
type summary struct {
	Lines    int `json:"lines"` // that are not empty: Imported + Refused, unless the import was cut short
	Imported int `json:"imported"`
	New      int `json:"new"` // of Imported
	Refused  int `json:"refused"`
}

func (n summary) print(w io.Writer, asJSON bool) error {
	if asJSON {
		b, err := json.Marshal(n)
		if err != nil {
			return err
		}
		return printJSON(w, b)
	}
	lines := "lines"
	if n.Lines == 1 {
		lines = "line"
	}
	_, err := fmt.Fprintf(w, "%d %s: %d imported (%d new), %d refused\n", n.Lines, lines, n.Imported, n.New, n.Refused)
	return err
}

// A batch is some lines of a file that go in one call. Bad are those among them that the file's reader has refused.
type batch struct {
	number  int // from 0
	devices []carillon.Import
	at      []int // their lines
	bad     []*lineError
	read    int64 // bytes of the file up to its end
}

// An importer sends a file in batches.
type importer struct {
	client *carillon.Client
	app    string
	lines  *csvReader
	report *lineReport

	held *heldLine // what did not fit into the batch before
}

// A heldLine is a device that was read.
type heldLine struct {
	device carillon.Import
	line   int
}

// run imports all, and returns what was done also when it fails.
func (im *importer) run(ctx context.Context) (summary, error) {
	stop := im.report.start()
	defer stop()
	work, ctx := errgroup.WithContext(ctx)
	flight := newFlight(importInFlight)
	var failed error
	for number := 0; ; number++ {
		b, err := im.batch(number)
		if err != nil && err != io.EOF {
			failed = err // what was read before is sent still
		}
		if !flight.enter(ctx, b.devices) {
			failed = cmp.Or(failed, ctx.Err()) // a call's own error goes before this one
			break
		}
		work.Go(func() error {
			defer flight.leave(b.devices)
			n, bad, rest, err := im.send(ctx, b)
			im.report.add(b, n, bad)
			if err != nil {
				im.report.stop(rest)
			}
			return err
		})
		if err != nil {
			break
		}
	}
	if err := work.Wait(); err != nil { // no call is under way any more
		failed = fmt.Errorf("%w\nStopped at line %d. What was imported stays, and the same command goes on", err, im.report.stopped)
	}
	return im.report.total(), failed
}

// batch returns the next lines, and io.EOF with the last. A device is in it once: a later line about it goes later.
func (im *importer) batch(number int) (*batch, error) {
	b := &batch{number: number}
	seen := map[string]bool{}
	for start := im.lines.read; len(b.devices) < importBatch && im.lines.read-start < importBytes; {
		var l heldLine
		var err error
		if im.held != nil {
			l, im.held = *im.held, nil
		} else {
			l.device, l.line, err = im.lines.next()
		}
		b.read = im.lines.read
		var bad *lineError
		switch {
		case errors.As(err, &bad):
			b.bad = append(b.bad, bad)
			if len(b.bad) == importBatch {
				return b, nil // a file that is all wrong is reported as it is read
			}
			continue
		case err != nil:
			return b, err
		case seen[l.device.PreviousID]:
			im.held = &l
			return b, nil
		}
		seen[l.device.PreviousID] = true
		b.devices, b.at = append(b.devices, l.device), append(b.at, l.line)
	}
	return b, nil
}
