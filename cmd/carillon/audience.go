package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/carillonpush/carillon/sdk/carillon"
)

// audienceFlags say whom a push is for: one of them is used, some of which may be repeated.
type audienceFlags struct {
	To       []string `name:"to" placeholder:"DEVICE" help:"To devices: device ids, channel ids, or ids at an earlier provider; repeatable."`
	All      bool     `name:"all" help:"To every device of the app."`
	Aliases  []string `name:"alias" sep:"none" placeholder:"TYPE=VALUE" help:"To the owners of an alias; =VALUE for one without a type; repeatable."`
	Accounts []string `name:"account" sep:"none" placeholder:"ACCOUNT" help:"To the devices on which an account is logged in; repeatable."`
	Tags     []string `name:"tag" sep:"none" placeholder:"TAG" help:"To the devices that carry a tag; repeatable: any of them."`
	Where    string   `name:"where" placeholder:"JSON" help:"To the devices for which an expression holds, or @FILE that holds one; @- is standard input."`
	ToFile   string   `name:"to-file" placeholder:"ID" help:"To the devices that an uploaded list names."`
	OfAlias  *string  `name:"of-alias" placeholder:"TYPE" help:"The list has aliases of this type, and not devices."`
}

// forms returns the flags that are used, of which --of-alias is none.
func (f *audienceFlags) forms() []string {
	var used []string
	for _, flag := range []struct {
		name string
		used bool
	}{
		{"--to", len(f.To) > 0},
		{"--all", f.All},
		{"--alias", len(f.Aliases) > 0},
		{"--account", len(f.Accounts) > 0},
		{"--tag", len(f.Tags) > 0},
		{"--where", f.Where != ""},
		{"--to-file", f.ToFile != ""},
	} {
		if flag.used {
			used = append(used, flag.name)
		}
	}
	return used
}

// audience returns what the flags say.
func (f *audienceFlags) audience(stdin io.Reader) (carillon.Audience, error) {
	var a carillon.Audience
	used := f.forms()
	switch {
	case len(used) == 0:
		return a, usage("say whom it is for: --to DEVICE, or --all, --alias, --account, --tag, --where or --to-file")
	case len(used) > 1:
		return a, usage("%s go not together: join what they say in --where", strings.Join(used, " and "))
	case f.OfAlias != nil && f.ToFile == "":
		return a, usage("--of-alias goes with --to-file")
	}
	a.All, a.Devices, a.Accounts = f.All, f.To, f.Accounts
	if f.ToFile != "" {
		a.File, a.Of = f.ToFile, carillon.OfDevices()
		if f.OfAlias != nil {
			a.Of = carillon.OfAliases(*f.OfAlias)
		}
	}
	switch len(f.Tags) {
	case 0:
	case 1:
		a.Where = carillon.WhereTag(f.Tags[0])
	default:
		parts := make([]json.RawMessage, len(f.Tags))
		for i, tag := range f.Tags {
			parts[i] = carillon.WhereTag(tag)
		}
		a.Where = carillon.Or(parts...)
	}
	var err error
	if f.Where != "" {
		a.Where, err = whereFlag(f.Where, stdin)
	}
	if len(f.Aliases) > 0 {
		a.Aliases, a.Where, err = aliasFlag(f.Aliases)
	}
	return a, err
}

// whereFlag returns the expression that --where gives. What it means is for the node to judge.
func whereFlag(value string, stdin io.Reader) (json.RawMessage, error) {
	where := []byte(value)
	if name, ok := strings.CutPrefix(value, "@"); ok {
		var err error
		if where, err = readFile(name, stdin); err != nil {
			return nil, fmt.Errorf("--where: %w", err)
		}
	}
	if !json.Valid(where) {
		return nil, usage(`--where: that is not JSON; an expression is like {"tag": "vip"}`)
	}
	return where, nil
}

// aliasFlag returns aliases of one type, or, if there are several, the expression that asks for all.
func aliasFlag(pairs []string) (*carillon.Aliases, json.RawMessage, error) {
	var all []carillon.Aliases // by type, as they come
	for _, pair := range pairs {
		kind, value, ok := strings.Cut(pair, "=")
		if !ok || value == "" {
			return nil, nil, usage("--alias: %q is not TYPE=VALUE; one without a type is =VALUE", pair)
		}
		i := slices.IndexFunc(all, func(a carillon.Aliases) bool { return a.Type == kind })
		if i < 0 {
			i, all = len(all), append(all, carillon.Aliases{Type: kind})
		}
		all[i].Values = append(all[i].Values, value)
	}
	if len(all) == 1 {
		return &all[0], nil, nil
	}
	parts := make([]json.RawMessage, len(all))
	for i := range all {
		parts[i] = carillon.WhereAlias(all[i])
	}
	return nil, carillon.Or(parts...), nil
}
