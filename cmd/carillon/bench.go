package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/carillonpush/carillon/sdk/device"
)

type benchCmd struct {
	Direct    benchDirectCmd    `cmd:"" help:"Pushes to single devices that are online."`
	Broadcast benchBroadcastCmd `cmd:"" help:"Pushes to all devices at once."`
	Idle      benchIdleCmd      `cmd:"" help:"Connections that do nothing: what does one cost?"`
	Offline   benchOfflineCmd   `cmd:"" help:"Pushes to devices that are away, and their return."`
	Audience  benchAudienceCmd  `cmd:"" help:"A base that is imported, expressions counted over it, and a push to one of them."`
}

// benchFlags are common to all scenarios.
type benchFlags struct {
	Devices  int           `name:"devices" default:"1000" placeholder:"N" help:"Devices in the fleet."`
	QoS      int           `name:"qos" default:"1" enum:"0,1" placeholder:"N" help:"1: messages are acknowledged; 0: they are not."`
	MQTT     int           `name:"mqtt-version" default:"4" enum:"4,5" placeholder:"N" help:"4 for MQTT 3.1.1, 5 for MQTT 5.0."`
	Duration time.Duration `name:"duration" default:"2m" placeholder:"DURATION" help:"The most time that each phase may take."`
	JSON     bool          `name:"json" help:"Print the result as JSON."`
	Save     string        `name:"save" type:"path" placeholder:"FILE" help:"Write the result as JSON to FILE, too."`

	Server   string `name:"server" placeholder:"URL" group:"Server" help:"Measure this node; starts one of its own, with a temporary data directory, unless set."`
	Token    string `name:"token" setting:"env" secret:"" placeholder:"TOKEN" group:"Server" help:"The admin token of --server."`
	Data     string `name:"data" setting:"env" default:"./carillon-data" placeholder:"DIR" group:"Server" help:"The data directory of --server, to read the admin token there."`
	PID      int    `name:"pid" placeholder:"PID" group:"Server" help:"The process of --server, to measure its memory and CPU time on this machine."`
	Database string `name:"database" placeholder:"URL" group:"Server" help:"A postgres:// URL for the node that bench starts; it must be empty."`
}

// sendFlags are common to the scenarios that send.
type sendFlags struct {
	Messages int `name:"messages" placeholder:"N" help:"Pushes in all."`
	Size     int `name:"size" default:"256" placeholder:"BYTES" help:"Size of a message, about."`
}

// manyFlags are common to the scenarios that send to single devices.
type manyFlags struct {
	Senders int    `name:"senders" default:"8" placeholder:"N" help:"Senders at a time, each with a connection of its own."`
	Batch   int    `name:"batch" default:"100" placeholder:"N" help:"Pushes in a request; 1 sends each in a request of its own."`
	Via     string `name:"via" default:"rest" enum:"rest,umeng" placeholder:"API" help:"rest, or umeng: signed unicasts, one a request."`
}

type benchDirectCmd struct {
	benchFlags
	sendFlags
	manyFlags
}

type benchBroadcastCmd struct {
	benchFlags
	sendFlags
}

type benchIdleCmd struct {
	benchFlags
	Hold time.Duration `name:"hold" default:"10s" placeholder:"DURATION" help:"How long the connections do nothing before they are measured."`
}

type benchOfflineCmd struct {
	benchFlags
	sendFlags
	manyFlags
}

// Help returns what --help says below the flags.
func (benchDirectCmd) Help() string {
	return `Each message goes to one device, in turn. Counts how fast the node accepts them durably, and how fast they arrive.

Examples:

    carillon bench direct --devices 1000 --messages 100000
    carillon bench direct --batch 1 --senders 64 --json
    carillon bench direct --via umeng --messages 20000`
}

// Help returns what --help says below the flags.
func (benchBroadcastCmd) Help() string {
	return `Messages go one after another, each to all devices.

Example:

    carillon bench broadcast --devices 10000 --messages 20`
}

// Help returns what --help says below the flags.
func (benchIdleCmd) Help() string {
	return "Example:\n\n    carillon bench idle --devices 15000 --hold 30s"
}

// Help returns what --help says below the flags.
func (benchOfflineCmd) Help() string {
	return `Stores messages for devices that are away, then lets all devices connect and take what waits.

Example:

    carillon bench offline --devices 1000 --messages 100000 --database postgres://localhost/bench`
}

// Run measures pushes to single devices that are online.
func (c *benchDirectCmd) Run(ctx context.Context, s *streams) error {
	defaults(&c.Messages, 50_000)
	return c.measure(ctx, s, c.sendFlags, "direct", func(ctx context.Context, b *bench) error {
		if err := b.register(ctx, b.fresh); err != nil {
			return err
		}
		if err := b.connect(ctx); err != nil {
			return err
		}
		return b.sendAndReceive(ctx, c.sendFlags, c.manyFlags)
	})
}

// Run measures pushes to all devices.
func (c *benchBroadcastCmd) Run(ctx context.Context, s *streams) error {
	defaults(&c.Messages, 10)
	return c.measure(ctx, s, c.sendFlags, "broadcast", func(ctx context.Context, b *bench) error {
		if err := b.register(ctx, b.fresh); err != nil {
			return err
		}
		if err := b.connect(ctx); err != nil {
			return err
		}
		return b.broadcast(ctx, c.sendFlags)
	})
}

// Run measures connections that do nothing.
func (c *benchIdleCmd) Run(ctx context.Context, s *streams) error {
	return c.measure(ctx, s, sendFlags{}, "idle", func(ctx context.Context, b *bench) error {
		if err := b.register(ctx, b.fresh); err != nil {
			return err
		}
		if err := b.connect(ctx); err != nil {
			return err
		}
		return b.hold(ctx, c.Hold)
	})
}

// Run measures what waits for devices that are away.
func (c *benchOfflineCmd) Run(ctx context.Context, s *streams) error {
	defaults(&c.Messages, 50_000)
	return c.measure(ctx, s, c.sendFlags, "offline", func(ctx context.Context, b *bench) error {
		if err := b.register(ctx, b.fresh); err != nil {
			return err
		}
		return b.storeAndDrain(ctx, c.sendFlags, c.manyFlags)
	})
}

// defaults gives *n a value if it has none.
func defaults(n *int, v int) {
	if *n == 0 {
		*n = v
	}
}

// check reports flags that make no sense.
func (f *benchFlags) check(send sendFlags, scenario string) error {
	switch {
	case f.Devices < 1 || f.Devices > 1_000_000:
		return usage("--devices is 1 to 1000000")
	case f.Server != "" && f.Database != "":
		return usage("--database is for the node that bench starts, not for --server")
	case scenario != "idle" && (send.Messages < 1 || send.Size < minSize || send.Size > 60_000):
		return usage("--messages is at least 1, and --size %d to 60000", minSize)
	case scenario == "offline" && f.QoS == 0:
		return usage("--qos 0 has nothing to wait for: bench offline wants 1")
	}
	return nil
}

// measure makes ready what a scenario needs, runs it, and prints its result.
func (f *benchFlags) measure(ctx context.Context, s *streams, send sendFlags, name string, scenario func(context.Context, *bench) error) (err error) {
	if err := f.check(send, name); err != nil {
		return err
	}
	b := &bench{flags: f, show: newProgress(s.progress())}
	b.result = benchResult{Scenario: name, Devices: f.Devices, Messages: send.Messages, Size: send.Size, QoS: f.QoS, Version: version}
	defer func() { err = errors.Join(err, b.close()) }()
	if err := b.prepare(ctx, send.Messages); err != nil {
		return err
	}
	if err := scenario(ctx, b); err != nil {
		return b.node.blame(err)
	}
	b.finish()
	b.show.done()
	if f.Save != "" {
		if err := b.result.save(f.Save); err != nil {
			return err
		}
	}
	if err := b.result.print(s.Out, f.JSON); err != nil {
		return err
	}
	if b.result.Missing > 0 {
		return fmt.Errorf("%d of %d deliveries did not arrive in time", b.result.Missing, b.result.Expected)
	}
	return nil
}

// A bench is one run of a scenario.
type bench struct {
	flags  *benchFlags
	show   *progress
	node   *node
	app    benchApp
	ids    []device.Identity
	fleet  *device.Fleet
	stop   func() error // ends the fleet; nil before it runs
	result benchResult
	cpu    float64 // of the node, when the measured part began
}

// close ends the fleet and what bench has started.
func (b *bench) close() error {
	var err error
	if b.stop != nil {
		err = b.stop()
	}
	if b.node != nil {
		err = errors.Join(err, b.app.remove(b.node), b.node.close())
	}
	b.show.done()
	return err
}
