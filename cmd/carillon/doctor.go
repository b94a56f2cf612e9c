package main

import (
	"context"
	"fmt"
	"time"
)

type doctorCmd struct {
	Index doctorIndexCmd `cmd:"" help:"Compare the index in the node's memory with the record, and repair it."`
}

type doctorIndexCmd struct {
	App    string `name:"app" placeholder:"APP" help:"The app's id or name; all apps unless set."`
	Repair bool   `name:"repair" help:"Make the index say what the record says."`
	clientFlags
	jsonFlag
}

// Help returns what --help says below the flags.
func (doctorIndexCmd) Help() string {
	return `The index follows the record, and any difference is a fault of Carillon's. The exit code is 1 if there are some that were not repaired. It takes some seconds a million devices; pushes go on meanwhile.

Example:

    carillon doctor index --app shop --repair`
}

// Run has the node compare.
func (c *doctorIndexCmd) Run(ctx context.Context, s *streams) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	show := newProgress(s.progress())
	show.phase("comparing the index with the record …")
	began := time.Now()
	check, err := api.CheckIndex(ctx, c.App, c.Repair)
	took := time.Since(began)
	show.done()
	if err != nil {
		return err
	}
	if c.JSON {
		err = printJSON(s.Out, api.answer)
	} else {
		w := newTable(s.Out)
		w.row("devices", check.Devices)
		w.row("wrong", check.Wrong)
		w.row("missing", check.Missing)
		w.row("surplus", check.Surplus)
		w.row("took", shortly(took))
		err = w.flush()
	}
	if err != nil {
		return err
	}
	faults := check.Wrong + check.Missing + check.Surplus
	switch {
	case faults > 0 && !check.Repaired:
		return fmt.Errorf("the index is not what the record says, in %d places; --repair makes it so", faults)
	case faults > 0 && !c.JSON:
		_, err = fmt.Fprintf(s.Out, "Repaired: the index says now what the record says.\n")
	case !c.JSON:
		_, err = fmt.Fprintf(s.Out, "The index says what the record says.\n")
	}
	return err
}

// shortly returns a time that something took, in three digits or so.
func shortly(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	}
	return fmt.Sprintf("%.1f ms", d.Seconds()*1000)
}
