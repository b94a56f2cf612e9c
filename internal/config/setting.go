package config

import (
	"reflect"
	"strings"

	"github.com/carillonpush/carillon/internal/push"
)

// A Setting is one field of Config, as documentation shows it.
type Setting struct {
	Flag    string // without dashes: "public-url"
	Key     string // in the file: "public_url"; "" if the file may not have it
	Env     string // "CARILLON_PUBLIC_URL"; "" if the environment may not have it
	EnvFile string // of a secret: the variable that names a file with the value
	Default string
	Doc     string
	List    bool // repeatable; a list in the file, separated by commas in the environment
	Secret  bool
	index   int
}

// Settings returns all settings in the order of Config's fields.
func Settings() []Setting {
	t := reflect.TypeFor[Config]()
	all := make([]Setting, 0, t.NumField())
	for i := range t.NumField() {
		f := t.Field(i)
		where := f.Tag.Get("setting")
		_, secret := f.Tag.Lookup("secret")
		s := Setting{
			Flag: f.Tag.Get("name"), Default: f.Tag.Get("default"), Doc: f.Tag.Get("help"),
			List: f.Type.Kind() == reflect.Slice, Secret: secret, index: i,
		}
		if strings.Contains(where, "env") {
			s.Env = EnvName(s.Flag)
		}
		if secret {
			s.EnvFile = s.Env + fileSuffix
		}
		if strings.Contains(where, "file") {
			s.Key = keyName(s.Flag)
		}
		all = append(all, s)
	}
	return all
}

const (
	envPrefix  = "CARILLON_"
	fileSuffix = "_FILE"
)

// EnvName returns the variable that stands for a flag: CARILLON_PUBLIC_URL for "public-url".
func EnvName(flag string) string { return envPrefix + strings.ToUpper(keyName(flag)) }

func keyName(flag string) string { return strings.ReplaceAll(flag, "-", "_") }

// An AppSetting is one switch of an app: what `carillon app set --help` lists.
type AppSetting struct {
	Key, Default, Doc string
}

// AppSettings returns the switches of an app, ordered by key. They are set in a running node, one app at a time; they
// are here because the binary's verbs see this package and not the domain.
func AppSettings() []AppSetting {
	catalogue := push.Catalogue()
	all := make([]AppSetting, len(catalogue))
	for i, s := range catalogue {
		all[i] = AppSetting{Key: s.Key, Default: s.Default, Doc: s.Doc}
	}
	return all
}
