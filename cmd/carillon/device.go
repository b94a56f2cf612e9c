package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/carillonpush/carillon/sdk/carillon"
	"github.com/carillonpush/carillon/sdk/device"
)

type deviceCmd struct {
	Register deviceRegisterCmd `cmd:"" help:"Register a device and print its id and secret."`
	Show     deviceShowCmd     `cmd:"" help:"Show a device."`
	List     deviceListCmd     `cmd:"" help:"List devices, newest first."`
	Import   deviceImportCmd   `cmd:"" help:"Move devices here from another provider."`
}

// registerFlags are what a device says of itself.
type registerFlags struct {
	AppKey     string            `name:"app-key" placeholder:"KEY" help:"The app's device key; read from the node unless set."`
	AppSecret  string            `name:"app-secret" setting:"env" secret:"" placeholder:"SECRET" help:"Its secret."`
	Platform   string            `name:"platform" default:"android" enum:"android,ios,harmony,web" placeholder:"NAME" help:"android, ios, harmony or web."`
	InstallID  string            `name:"install-id" placeholder:"ID" help:"What names the installation; random unless set."`
	Attributes map[string]string `name:"attr" mapsep:"none" placeholder:"NAME=VALUE" help:"An attribute; repeatable."`
	Tokens     map[string]string `name:"vendor-token" mapsep:"none" placeholder:"CHANNEL=TOKEN" help:"A token of a vendor channel; repeatable."`
}

// register registers a device as the flags say.
func (f *registerFlags) register(ctx context.Context, flags *clientFlags, app appFlag) (device.Identity, error) {
	r, err := f.registration(ctx, flags, app)
	if err != nil {
		return device.Identity{}, err
	}
	return device.Register(ctx, flags.Server, r, nil)
}

// registration returns what a device says of itself. Without a device key it asks the node for that of app.
func (f *registerFlags) registration(ctx context.Context, flags *clientFlags, app appFlag) (device.Registration, error) {
	if (f.AppKey == "") != (f.AppSecret == "") {
		return device.Registration{}, usage("--app-key and --app-secret go together")
	}
	r := device.Registration{
		AppKey: f.AppKey, AppSecret: f.AppSecret, Platform: f.Platform, InstallID: f.InstallID, Attributes: f.Attributes,
	}
	if r.AppKey == "" {
		api, name, err := app.open(ctx, flags, "")
		if err != nil {
			return r, err
		}
		card, err := api.ShowApp(ctx, name)
		if err != nil {
			return r, err
		}
		r.AppKey, r.AppSecret = card.Device.AppKey, card.Device.AppSecret
	}
	if r.InstallID == "" {
		r.InstallID = randomHex(16)
	}
	for channel, token := range f.Tokens {
		if r.Tokens == nil {
			r.Tokens = map[string]json.RawMessage{}
		}
		encoded, err := textJSON("--vendor-token", token)
		if err != nil {
			return r, err
		}
		r.Tokens[channel] = encoded
	}
	return r, nil
}

// randomHex returns n random bytes in hex.
func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // it never fails
	return hex.EncodeToString(b)
}

type deviceRegisterCmd struct {
	PreviousID    string `name:"previous-id" placeholder:"ID" help:"The device's id at an earlier provider: it becomes the imported device."`
	PreviousProof string `name:"previous-proof" placeholder:"HEX" help:"That it may: HMAC-SHA256 of the id under the app's API key."`
	registerFlags
	appFlag
	clientFlags
	jsonFlag
}

// Help returns what --help says below the flags.
func (deviceRegisterCmd) Help() string {
	return `Examples:

    carillon device register --app shop --platform android --attr app_version=2.1.0
    carillon device register --app shop --previous-id 5f0c8c0e9f6b --previous-proof "$(printf %s 5f0c8c0e9f6b | openssl dgst -sha256 -hmac "$API_KEY" | sed 's/.* //')"`
}

// Run registers a device.
func (c *deviceRegisterCmd) Run(ctx context.Context, s *streams) error {
	if c.PreviousProof != "" && c.PreviousID == "" {
		return usage("--previous-proof goes with --previous-id")
	}
	r, err := c.registration(ctx, &c.clientFlags, c.appFlag)
	if err != nil {
		return err
	}
	r.PreviousID, r.PreviousProof = c.PreviousID, c.PreviousProof
	id, err := device.Register(ctx, c.Server, r, nil)
	if err != nil {
		return err
	}
	if c.JSON {
		b, err := json.Marshal(id)
		if err != nil {
			return err
		}
		return printJSON(s.Out, b)
	}
	w := newTable(s.Out)
	w.row("device_id", id.DeviceID)
	w.row("channel_id", id.ChannelID)
	w.row("secret", id.Secret)
	if c.PreviousID != "" {
		w.row("adopted", yesNo(id.Adopted))
	}
	if id.MQTT.Port != 0 {
		w.row("mqtt", fmt.Sprintf("%s:%d", id.MQTT.Host, id.MQTT.Port))
	}
	if id.MQTT.TLSPort != 0 {
		w.row("mqtt over TLS", fmt.Sprintf("%s:%d", id.MQTT.Host, id.MQTT.TLSPort))
	}
	if id.MQTT.WebSocket != "" {
		w.row("mqtt over WebSocket", id.MQTT.WebSocket)
	}
	return w.flush()
}

type deviceShowCmd struct {
	ID string `arg:"" name:"device" help:"The device's id, channel id, or id at an earlier provider."`
	appFlag
	clientFlags
	jsonFlag
}

// Help returns what --help says below the flags.
func (deviceShowCmd) Help() string {
	return "Example:\n\n    carillon device show --app shop 5f0c8c0e9f6b1f2d4a7e3b5c6d8e9f01"
}

// Run shows a device.
func (c *deviceShowCmd) Run(ctx context.Context, s *streams) error {
	api, app, err := c.open(ctx, &c.clientFlags, "")
	if err != nil {
		return err
	}
	d, err := api.ShowDevice(ctx, app, c.ID)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s.Out, api.answer)
	}
	w := newTable(s.Out)
	w.row("device_id", d.ID)
	w.row("channel_id", d.ChannelID)
	w.row("platform", d.Platform)
	w.row("registered", d.Registered.Local().Format("2006-01-02 15:04:05"))
	for _, line := range [][2]string{{"previous id", d.PreviousID}, {"account", d.Account}, {"tags", strings.Join(d.Tags, ", ")}} {
		if line[1] != "" {
			w.row(line[0], line[1])
		}
	}
	for _, a := range d.Aliases {
		w.row("alias", a.Type+"="+a.Value)
	}
	for _, k := range sortedKeys(d.Attributes) {
		w.row(k, d.Attributes[k])
	}
	for _, k := range sortedKeys(d.Tokens) {
		w.row("token."+k, "(set)")
	}
	for _, m := range []struct {
		name string
		is   bool
	}{{"test", d.Test}, {"blacklisted", d.Blacklisted}, {"reregistered", d.Reregistered}} {
		if m.is {
			w.row(m.name, "yes")
		}
	}
	return w.flush()
}

type deviceListCmd struct {
	pageFlags
	appFlag
	clientFlags
	jsonFlag
}

// Help returns what --help says below the flags.
func (deviceListCmd) Help() string {
	return "Example:\n\n    carillon device list --app shop --limit 20"
}

// Run lists devices.
func (c *deviceListCmd) Run(ctx context.Context, s *streams) error {
	api, app, err := c.open(ctx, &c.clientFlags, "")
	if err != nil {
		return err
	}
	list, err := api.ListDevices(ctx, app, c.page())
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s.Out, api.answer)
	}
	w := newTable(s.Out)
	w.row("DEVICE ID", "PLATFORM", "REGISTERED", "ACCOUNT", "TAGS", "MARKS")
	for _, d := range list.Items {
		w.row(d.ID, d.Platform, d.Registered.Local().Format("2006-01-02 15:04"), d.Account, some(d.Tags), marks(d))
	}
	more(s, list.Next)
	return w.flush()
}

// some returns the first tags, as many as a line of a list has room for.
func some(tags []string) string {
	const shown = 3
	if len(tags) <= shown {
		return strings.Join(tags, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(tags[:shown], ", "), len(tags)-shown)
}

func yesNo(is bool) string {
	if is {
		return "yes"
	}
	return "no"
}

func marks(d carillon.Device) string {
	switch {
	case d.Blacklisted:
		return "blacklisted"
	case d.Test:
		return "test"
	}
	return ""
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// hostOf returns the host of a server's URL.
func hostOf(server string) (string, error) {
	u, err := url.Parse(server)
	if err != nil || u.Hostname() == "" {
		return "", errors.New("--server is not a URL")
	}
	return u.Hostname(), nil
}
