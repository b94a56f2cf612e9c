package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/carillonpush/carillon/internal/config"
	"github.com/carillonpush/carillon/sdk/carillon"
)

type appCmd struct {
	Create appCreateCmd `cmd:"" help:"Create an app, with credentials for every service."`
	List   appListCmd   `cmd:"" help:"List apps, newest first."`
	Show   appShowCmd   `cmd:"" help:"Show an app with all its credentials."`
	Set    appSetCmd    `cmd:"" help:"Change settings of an app."`
	Rotate appRotateCmd `cmd:"" name:"rotate-keys" help:"Replace credentials of one kind."`
	Delete appDeleteCmd `cmd:"" help:"Delete an app with its devices and pushes."`
}

type appCreateCmd struct {
	Name     string            `arg:"" help:"The app's name."`
	TimeZone string            `name:"time-zone" placeholder:"ZONE" help:"IANA time zone; Asia/Shanghai unless set."`
	Packages map[string]string `name:"package" mapsep:"none" placeholder:"PLATFORM=NAME" help:"Package or bundle name of a platform; repeatable."`
	Settings map[string]string `name:"set" mapsep:"none" placeholder:"KEY=VALUE" help:"A setting, as of app set; repeatable."`
	credentialFlags
	clientFlags
	jsonFlag
}

// Help returns what --help says below the flags.
func (appCreateCmd) Help() string {
	return `Credentials that are not given are made up. Give those of the service that senders use now, and they need to change the host only.

Examples:

    carillon app create shop
    carillon app create shop --umeng-android-appkey 5f0c8c0e9f6b1f2d4a7e3b5c --umeng-android-app-master-secret S
    carillon app create shop --credentials shop.json --json`
}

// Run creates the app.
func (c *appCreateCmd) Run(ctx context.Context, s *streams) error {
	creds, err := c.credentials()
	if err != nil {
		return err
	}
	api, err := c.client()
	if err != nil {
		return err
	}
	card, err := api.CreateApp(ctx, carillon.NewApp{
		Name: c.Name, TimeZone: c.TimeZone, Packages: c.Packages, Settings: c.Settings, Credentials: creds,
	})
	if err != nil {
		return err
	}
	return printCard(s, api, card, c.JSON)
}

type appListCmd struct {
	pageFlags
	clientFlags
	jsonFlag
}

// pageFlags say which part of a list.
type pageFlags struct {
	Limit  int    `name:"limit" default:"100" placeholder:"N" help:"Items at most, up to 1000."`
	Cursor string `name:"cursor" placeholder:"CURSOR" help:"Where the previous page ended."`
}

func (p pageFlags) page() carillon.Page { return carillon.Page{Cursor: p.Cursor, Limit: p.Limit} }

// more tells how to get the next page.
func more(s *streams, next string) {
	if next != "" {
		fmt.Fprintf(s.Err, "There are more: --cursor %s\n", next)
	}
}

// Help returns what --help says below the flags.
func (appListCmd) Help() string { return "Example:\n\n    carillon app list --json" }

// Run lists apps.
func (c *appListCmd) Run(ctx context.Context, s *streams) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	list, err := api.ListApps(ctx, c.page())
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s.Out, api.answer)
	}
	w := newTable(s.Out)
	w.row("ID", "NAME", "TIME ZONE", "CREATED")
	for _, a := range list.Items {
		w.row(a.ID, a.Name, a.TimeZone, a.Created.Local().Format("2006-01-02 15:04"))
	}
	more(s, list.Next)
	return w.flush()
}

type appShowCmd struct {
	Name string `arg:"" optional:"" name:"app" help:"The app's id or name."`
	appFlag
	clientFlags
	jsonFlag
}

// Help returns what --help says below the flags.
func (appShowCmd) Help() string { return "Example:\n\n    carillon app show shop --json" }

// Run shows an app.
func (c *appShowCmd) Run(ctx context.Context, s *streams) error {
	api, app, err := c.open(ctx, &c.clientFlags, c.Name)
	if err != nil {
		return err
	}
	card, err := api.ShowApp(ctx, app)
	if err != nil {
		return err
	}
	return printCard(s, api, card, c.JSON)
}

// open returns a client, and the app that an argument or --app names.
func (f appFlag) open(ctx context.Context, flags *clientFlags, arg string) (*caller, string, error) {
	if arg != "" && f.App != "" && arg != f.App {
		return nil, "", usage("two apps are named: %s and --app %s", arg, f.App)
	}
	if arg == "" {
		arg = f.App
	}
	api, err := flags.client()
	if err != nil {
		return nil, "", err
	}
	app, err := api.app(ctx, arg)
	return api, app, err
}

type appSetCmd struct {
	Args []string `arg:"" name:"app|key=value" help:"The app's id or name, unless --app names it, then what to change."`
	appFlag
	clientFlags
	jsonFlag
}

// Help returns what --help says below the flags: all settings with their defaults.
func (appSetCmd) Help() string {
	var b strings.Builder
	b.WriteString("A key without a value (KEY=) goes back to its default.\n\nExample:\n\n" +
		"    carillon app set shop ip_allow=10.0.0.0/8 umeng.require_ticker=false\n\nSettings, with their defaults:\n\n")
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, a := range []config.AppSetting{
		{Key: "name", Doc: "the app's name"},
		{Key: "time_zone", Default: "Asia/Shanghai", Doc: "the zone of times that a dialect writes without one"},
		{Key: "package.PLATFORM", Doc: "package or bundle name on android, ios or harmony"},
	} {
		fmt.Fprintf(w, "    %s=%s\t%s\n", a.Key, a.Default, a.Doc)
	}
	for _, a := range config.AppSettings() {
		fmt.Fprintf(w, "    %s=%s\t%s\n", a.Key, a.Default, a.Doc)
	}
	w.Flush() //nolint:errcheck // into memory
	return b.String()
}

// Run changes settings.
func (c *appSetCmd) Run(ctx context.Context, s *streams) error {
	name, pairs := "", c.Args
	if !strings.Contains(pairs[0], "=") {
		name, pairs = pairs[0], pairs[1:]
	}
	if len(pairs) == 0 {
		return usage("nothing to change: give KEY=VALUE")
	}
	patch, err := appPatch(pairs)
	if err != nil {
		return err
	}
	api, app, err := c.open(ctx, &c.clientFlags, name)
	if err != nil {
		return err
	}
	changed, err := api.PatchApp(ctx, app, patch)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s.Out, api.answer)
	}
	return printApp(s, changed)
}

// appPatch reads KEY=VALUE pairs.
func appPatch(pairs []string) (carillon.AppPatch, error) {
	var p carillon.AppPatch
	for _, pair := range pairs {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return p, usage("%q is not KEY=VALUE", pair)
		}
		platform, isPackage := strings.CutPrefix(key, "package.")
		switch {
		case key == "name":
			p.Name = &value
		case key == "time_zone":
			if value == "" {
				value = "Asia/Shanghai"
			}
			p.TimeZone = &value
		case isPackage:
			if p.Packages == nil {
				p.Packages = map[string]string{}
			}
			p.Packages[platform] = value
		default:
			if p.Settings == nil {
				p.Settings = map[string]*string{}
			}
			p.Settings[key] = nil
			if value != "" {
				p.Settings[key] = &value
			}
		}
	}
	return p, nil
}

type appRotateCmd struct {
	Args []string `arg:"" name:"app|kind" help:"The app's id or name, unless --app names it, then the kind."`
	appFlag
	clientFlags
	jsonFlag
}

// Help returns what --help says below the flags.
func (appRotateCmd) Help() string {
	return `Kinds: native, device, umeng.android, umeng.ios, umeng.harmony, getui, aliyun, mpaas, baidu. The old keys stay valid for 24 hours.

Example:

    carillon app rotate-keys shop umeng.android`
}

// Run replaces credentials.
func (c *appRotateCmd) Run(ctx context.Context, s *streams) error {
	name, kind := "", c.Args[0]
	switch len(c.Args) {
	case 1:
	case 2:
		name, kind = c.Args[0], c.Args[1]
	default:
		return usage("give an app and one kind")
	}
	api, app, err := c.open(ctx, &c.clientFlags, name)
	if err != nil {
		return err
	}
	card, err := api.RotateKeys(ctx, app, kind)
	if err != nil {
		return err
	}
	return printCard(s, api, card, c.JSON)
}

type appDeleteCmd struct {
	Name string `arg:"" help:"The app's id or name."`
	clientFlags
	jsonFlag
}

// Help returns what --help says below the flags.
func (appDeleteCmd) Help() string {
	return "There is no way back.\n\nExample:\n\n    carillon app delete shop"
}

// Run deletes an app.
func (c *appDeleteCmd) Run(ctx context.Context, s *streams) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	if err := api.DeleteApp(ctx, c.Name); err != nil {
		return err
	}
	if !c.JSON {
		fmt.Fprintf(s.Out, "The app %s is deleted.\n", c.Name)
	}
	return nil
}
