package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/alecthomas/kong"
)

// FileName is the file that is read from the data directory when no other is named.
const FileName = "carillon.yaml"

// Sources give values that the command line does not: from the environment, then from the file. They are a resolver of
// kong's, good for one parse. What they look at are the tags setting and secret of a flag, so they serve the flags of
// any command: a flag without these tags is left alone.
type Sources struct {
	lookup func(string) (string, bool)
	file   map[string]string // by key; nil until it was looked for
	from   string            // the file that was read; "" if there was none
}

// NewSources returns Sources that look variables up with lookup; nil means os.LookupEnv.
func NewSources(lookup func(string) (string, bool)) *Sources {
	if lookup == nil {
		lookup = os.LookupEnv
	}
	return &Sources{lookup: lookup}
}

// Validate does nothing: the keys of the file are checked when it is read.
func (s *Sources) Validate(*kong.Application) error { return nil }

// Resolve returns the value of flag, or nil if neither environment nor file have one.
func (s *Sources) Resolve(ctx *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	where := flag.Tag.Get("setting")
	if strings.Contains(where, "env") {
		v, ok, err := s.env(flag)
		if err != nil {
			return nil, err
		}
		if ok {
			return v, nil
		}
	}
	if !strings.Contains(where, "file") {
		return nil, nil
	}
	if err := s.load(ctx); err != nil {
		return nil, err
	}
	if v, ok := s.file[keyName(flag.Name)]; ok {
		return v, nil
	}
	return nil, nil
}

// env looks for a variable of flag. An empty variable is a value for texts, where "" may mean off; for everything else
// it is as good as absent.
func (s *Sources) env(flag *kong.Flag) (value string, ok bool, err error) {
	name := EnvName(flag.Name)
	value, ok = s.lookup(name)
	if value == "" && flag.Target.Kind() != reflect.String {
		ok = false
	}
	if !flag.Tag.Has("secret") {
		return value, ok, nil
	}
	path, twin := s.lookup(name + fileSuffix)
	switch {
	case !twin || path == "":
		return value, ok, nil
	case ok && value != "":
		return "", false, fmt.Errorf("%s and %s are both set", name, name+fileSuffix)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", false, fmt.Errorf("%s: %w", name+fileSuffix, err)
	}
	return strings.TrimRight(string(b), "\r\n"), true, nil
}

// load reads the file once: the one that --config names, or else the one in the data directory if it exists.
func (s *Sources) load(ctx *kong.Context) error {
	if s.file != nil {
		return nil
	}
	s.file = map[string]string{}
	path, named := s.early(ctx, "config")
	if !named {
		data, ok := s.early(ctx, "data")
		if !ok {
			data = Default().Data
		}
		path = filepath.Join(data, FileName)
	}
	content, err := os.ReadFile(path)
	if !named && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	values, err := parseFile(content)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if _, ok := values["data"]; ok && !named {
		return fmt.Errorf("%s: data: a file in the data directory cannot say where that is; use --config", path)
	}
	s.file, s.from = values, path
	return nil
}

// early returns the value of a flag that decides where the file is, from the command line or the environment.
func (s *Sources) early(ctx *kong.Context, name string) (string, bool) {
	for _, p := range ctx.Path {
		if p.Flag != nil && p.Flag.Name == name {
			return fmt.Sprint(ctx.FlagValue(p.Flag)), true
		}
	}
	v, ok := s.lookup(EnvName(name))
	return v, ok && v != ""
}

// File returns the file that was read, "" if there was none.
func (s *Sources) File() string { return s.from }

// Default returns the Config of a command line without arguments, an empty environment and no file.
func Default() Config {
	var c Config
	k, err := kong.New(&c, kong.Name("serve"))
	if err == nil {
		_, err = k.Parse(nil)
	}
	if err != nil {
		panic("config: the tags of Config are wrong: " + err.Error()) // a fault of the program, seen by its first test
	}
	return c
}
