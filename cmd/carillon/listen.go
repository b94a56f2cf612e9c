package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"time"

	"github.com/carillonpush/carillon/sdk/device"
)

type listenCmd struct {
	Device string `name:"device" placeholder:"ID" help:"Be this device; registers a new one unless set."`
	Secret string `name:"secret" placeholder:"SECRET" help:"Its secret (CARILLON_DEVICE_SECRET or CARILLON_DEVICE_SECRET_FILE)."`
	Save   string `name:"save" placeholder:"FILE" help:"Keep the identity here, and use it next time."`

	MQTT    string        `name:"mqtt" placeholder:"URL" help:"Where to connect: tcp://, tls://, ws:// or wss://; what registering told unless set."`
	Version int           `name:"mqtt-version" default:"5" enum:"4,5" placeholder:"N" help:"5 for MQTT 5.0, 4 for MQTT 3.1.1."`
	QoS     int           `name:"qos" default:"1" enum:"0,1" placeholder:"N" help:"1: messages are acknowledged; 0: they are not."`
	Event   string        `name:"event" default:"" enum:",displayed,opened,clicked,dismissed" placeholder:"NAME" help:"Report this of every message: displayed, opened, clicked or dismissed."`
	Count   int           `name:"count" placeholder:"N" help:"End after this many messages; 0 is never."`
	For     time.Duration `name:"for" placeholder:"DURATION" help:"End after this time; with --count it is a failure if fewer came."`
	registerFlags
	appFlag
	clientFlags
	JSON bool `name:"json" help:"Print each message as one line of JSON, as it came."`
}

// Help returns what --help says below the flags.
func (listenCmd) Help() string {
	return `Registers a device, connects, prints what arrives and acknowledges it, until interrupted. A device that is not saved is a new one each time.

Examples:

    carillon listen --app shop
    carillon listen --save phone.json --event opened
    carillon listen --device 5f0c8c0e9f6b1f2d4a7e3b5c6d8e9f01 --secret S --mqtt tcp://127.0.0.1:1883 --json`
}

// errEnough ends listening when Count is reached.
var errEnough = errors.New("enough messages")

// Run is one device.
func (c *listenCmd) Run(ctx context.Context, s *streams) error {
	id, err := c.identity(ctx, s)
	if err != nil {
		return err
	}
	if !c.JSON {
		fmt.Fprintf(s.Err, "Listening as device %s; end with Ctrl-C.\n", id.DeviceID)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if c.For > 0 {
		timer := time.AfterFunc(c.For, func() { cancel(context.DeadlineExceeded) })
		defer timer.Stop()
	}
	got := 0
	var d *device.Device
	d = device.New(id, func(ctx context.Context, m device.Message) error {
		if err := c.print(s.Out, m); err != nil {
			return err
		}
		if c.Event != "" && m.Recall == "" {
			if err := d.Event(ctx, m.ID, device.Event(c.Event)); err != nil {
				return err
			}
		}
		if got++; got == c.Count {
			cancel(errEnough) // this message is acknowledged all the same
		}
		return nil
	}, &device.Options{Address: c.MQTT, Version: c.Version, AtMostOnce: c.QoS == 0, Connected: func() {
		if !c.JSON {
			fmt.Fprintln(s.Err, "Connected.")
		}
	}})
	if err := d.Connect(ctx); err != nil {
		if errors.Is(err, device.ErrRefused) {
			return fmt.Errorf("the node does not know this device and secret: %w", err)
		}
		return fmt.Errorf("%w\nIs the address right? --mqtt sets another", err)
	}
	if err := d.Run(ctx); err != nil {
		return err
	}
	if errors.Is(context.Cause(ctx), context.DeadlineExceeded) && got < c.Count {
		return fmt.Errorf("%d of %d messages came in %v", got, c.Count, c.For)
	}
	return nil
}

// identity returns the device to be: the one that is named, saved, or newly registered.
func (c *listenCmd) identity(ctx context.Context, s *streams) (device.Identity, error) {
	secret := c.Secret
	if secret == "" {
		secret, _ = s.Lookup("CARILLON_DEVICE_SECRET")
	}
	if file, ok := s.Lookup("CARILLON_DEVICE_SECRET_FILE"); ok && secret == "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return device.Identity{}, usage("CARILLON_DEVICE_SECRET_FILE: %v", err)
		}
		secret = strings.TrimSpace(string(b))
	}
	if c.Device != "" {
		if secret == "" {
			return device.Identity{}, usage("--device needs --secret")
		}
		id := device.Identity{DeviceID: c.Device, Secret: secret}
		if c.MQTT == "" {
			host, err := hostOf(c.Server)
			if err != nil {
				return id, usage("%w", err)
			}
			c.MQTT = "tcp://" + net.JoinHostPort(host, "1883")
		}
		return id, nil
	}
	if c.Save != "" {
		b, err := os.ReadFile(c.Save)
		var id device.Identity
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return id, fmt.Errorf("--save: %w", err)
		case json.Unmarshal(b, &id) != nil || id.DeviceID == "" || id.Secret == "":
			return id, fmt.Errorf("--save: %s holds no identity; delete it to register a new device", c.Save)
		default:
			return id, nil
		}
	}
	id, err := c.register(ctx, &c.clientFlags, c.appFlag)
	if err != nil || c.Save == "" {
		return id, err
	}
	b, err := json.MarshalIndent(id, "", "  ")
	if err != nil {
		return id, err
	}
	if err := os.WriteFile(c.Save, append(b, '\n'), 0o600); err != nil {
		return id, fmt.Errorf("--save: %w", err)
	}
	return id, nil
}

// print writes a message: its JSON on one line, or what a person wants to see of it.
func (c *listenCmd) print(w io.Writer, m device.Message) error {
	if c.JSON {
		_, err := fmt.Fprintf(w, "%s\n", m.Raw)
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s", time.Now().Format("15:04:05"), plain(m.ID))
	if m.Recall != "" {
		fmt.Fprintf(&b, "  recalls %s", plain(m.Recall))
	}
	b.WriteByte('\n')
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "    %-8s %s\n", name, plainLines(value, "             "))
		}
	}
	if n := m.Notification; n != nil {
		line("title", n.Title)
		line("subtitle", n.Subtitle)
		line("body", n.Body)
		line("ticker", n.Ticker)
		if n.Click != nil && n.Click.Action != "app" {
			line("click", strings.TrimSpace(n.Click.Action+" "+n.Click.URL+n.Click.Activity+n.Click.Intent))
		}
	}
	line("data", string(m.Data))
	for _, k := range sortedKeys(m.Extras) {
		line("extra", k+" = "+string(m.Extras[k]))
	}
	line("apns", string(m.APNS))
	_, err := io.WriteString(w, b.String())
	return err
}
