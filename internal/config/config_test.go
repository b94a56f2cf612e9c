package config_test

import (
	"bytes"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/carillonpush/carillon/internal/config"
)

// parse reads a command line in an environment.
func parse(t *testing.T, env map[string]string, args ...string) (config.Config, error) {
	t.Helper()
	var c config.Config
	lookup := func(k string) (string, bool) { v, ok := env[k]; return v, ok }
	k, err := kong.New(&c, kong.Name("serve"), kong.Resolvers(config.NewSources(lookup)))
	if err != nil {
		t.Fatal(err)
	}
	_, err = k.Parse(args)
	return c, err
}

func write(t *testing.T, path, content string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

var equalPrefixes = cmpopts.EquateComparable(netip.Prefix{})

func TestDefaultsAreThoseOfTheContract(t *testing.T) {
	c := config.Default()
	want := config.Config{
		Data: "./carillon-data", HTTP: "127.0.0.1:8080", MQTT: "127.0.0.1:1883", Admin: "127.0.0.1:9180",
		LogLevel: slog.LevelInfo, LogFormat: "text", AcceptQueue: 64 << 20, DiskReserve: 256 << 20,
		LiveMemory: 512 << 20, Keep: 720 * time.Hour, DrainTimeout: 20 * time.Second,
	}
	if d := cmp.Diff(c, want, equalPrefixes); d != "" {
		t.Errorf("got (-) want (+):\n%s", d)
	}
	if err := c.Validate(); err != nil {
		t.Errorf("the defaults are refused: %v", err)
	}
}

func TestPrecedence(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "carillon.yaml"), "http: 127.0.0.1:1\nmqtt: 127.0.0.1:2\nadmin: 127.0.0.1:3\npublic_url: [http://a, https://b]\n")
	env := map[string]string{"CARILLON_HTTP": "127.0.0.1:10", "CARILLON_MQTT": "", "CARILLON_TRUSTED_PROXY": "10.0.0.0/8,::1/128", "CARILLON_MAX_CONNECTIONS": ""}
	c, err := parse(t, env, "--data", dir, "--http", "127.0.0.1:100")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, got, want string }{
		{"a flag goes before the environment and the file", c.HTTP, "127.0.0.1:100"},
		{"the environment goes before the file, even when empty", c.MQTT, ""},
		{"the file goes before the default", c.Admin, "127.0.0.1:3"},
		{"a list in the file", strings.Join(c.PublicURLs, " "), "http://a https://b"},
		{"what nobody says has its default", c.LogFormat, "text"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.got != tt.want {
				t.Errorf("got %q, want %q", tt.got, tt.want)
			}
		})
	}
	want := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	if d := cmp.Diff(c.TrustedProxies, want, equalPrefixes); d != "" {
		t.Errorf("a list in the environment: got (-) want (+):\n%s", d)
	}
}

func TestDataDirectoryFromTheEnvironmentHasTheFile(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "carillon.yaml"), "log_format: json\nlog_level: warn\n")
	c, err := parse(t, map[string]string{"CARILLON_DATA": dir})
	if err != nil {
		t.Fatal(err)
	}
	if c.LogFormat != "json" || c.LogLevel != slog.LevelWarn {
		t.Errorf("got %s %s, want json WARN", c.LogFormat, c.LogLevel)
	}
}

func TestSecretTwin(t *testing.T) {
	file := write(t, filepath.Join(t.TempDir(), "dsn"), "postgres://u:p@h/db\n")
	c, err := parse(t, map[string]string{"CARILLON_DATABASE_FILE": file})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.Database, "postgres://u:p@h/db"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	_, err = parse(t, map[string]string{"CARILLON_DATABASE_FILE": file, "CARILLON_DATABASE": "postgres://x"})
	if err == nil || !strings.Contains(err.Error(), "both set") {
		t.Errorf("both: got %v, want an error", err)
	}
	_, err = parse(t, map[string]string{"CARILLON_DATABASE_FILE": file + ".not"})
	if err == nil || !strings.Contains(err.Error(), "CARILLON_DATABASE_FILE") {
		t.Errorf("no such file: got %v, want an error that names the variable", err)
	}
	if _, err = parse(t, map[string]string{"CARILLON_HTTP_FILE": file}); err != nil {
		t.Errorf("a twin of what is no secret is nothing: got %v", err)
	}
}

func TestFileErrors(t *testing.T) {
	for _, tt := range []struct{ name, content, want string }{
		{"an unknown key", "http: 127.0.0.1:1\nhtpp: x\n", `line 2: unknown key "htpp"`},
		{"a flag that the file may not have", "demo: true\n", `unknown key "demo"`},
		{"a key twice", "http: a\nhttp: b\n", "twice"},
		{"a list where one value is wanted", "http: [a, b]\n", "line 1: http: is a single value"},
		{"a mapping where a list is wanted", "public_url: {a: b}\n", "is a text or a list"},
		{"no mapping at all", "- a\n", "not a list of keys"},
		{"no YAML", "http: [", "yaml"},
		{"a value that does not parse", "log_level: loud\n", "log-level"},
		{"the data directory inside itself", "data: /x\n", "use --config"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "carillon.yaml"), tt.content)
			_, err := parse(t, nil, "--data", dir)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	if _, err := parse(t, nil, "--config", filepath.Join(t.TempDir(), "none.yaml")); err == nil {
		t.Error("a named file that is not there is no error")
	}
	named := write(t, filepath.Join(t.TempDir(), "c.yaml"), "data: /var/lib/carillon\n# nothing\n")
	if c, err := parse(t, nil, "--config", named); err != nil || c.Data != "/var/lib/carillon" {
		t.Errorf("a named file says where data is: got %q, %v", c.Data, err)
	}
}

func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*config.Config)
		want   string
	}{
		{"no HTTP address", func(c *config.Config) { c.HTTP = "" }, "--http"},
		{"an address without port", func(c *config.Config) { c.MQTT = "localhost" }, "--mqtt"},
		{"a port too great", func(c *config.Config) { c.Admin = "127.0.0.1:70000" }, "--admin"},
		{"TLS without certificate", func(c *config.Config) { c.HTTPS = ":443" }, "--tls-cert"},
		{"a certificate without key", func(c *config.Config) { c.TLSCert = "x" }, "--tls-cert"},
		{"another database", func(c *config.Config) { c.Database = "mysql://u:hunter2@h/d" }, "--database: is not a postgres"},
		{"a cluster", func(c *config.Config) { c.Cluster = "nats://h" }, "--cluster: several nodes are not in this version"},
		{"a public URL with a query", func(c *config.Config) { c.PublicURLs = []string{"http://h/?a"} }, "--public-url"},
		{"a public URL without scheme", func(c *config.Config) { c.PublicURLs = []string{"push.example.com"} }, "--public-url"},
		{"a public MQTT address without host", func(c *config.Config) { c.PublicMQTT = ":1883" }, "--public-mqtt"},
		{"a negative limit", func(c *config.Config) { c.MaxConnections = -1 }, "--max-connections"},
		{"hardly a queue", func(c *config.Config) { c.AcceptQueue = 10 }, "--accept-queue"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := config.Default()
			tt.change(&c)
			err := c.Validate()
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error shows a password: %v", err)
			}
		})
	}
}

func TestSampleIsAFileThatChangesNothing(t *testing.T) {
	var b bytes.Buffer
	if err := config.WriteSample(&b); err != nil {
		t.Fatal(err)
	}
	// With the comment signs taken away, every key must still be known and every value be the default.
	sample := b.String()
	live := strings.ReplaceAll(sample, "\n#", "\n")
	var kept []string
	for line := range strings.Lines(live) {
		if !strings.HasPrefix(line, " ") && !strings.HasPrefix(line, "data:") {
			kept = append(kept, line)
		}
	}
	for _, content := range []string{sample, strings.Join(kept, "")} {
		file := write(t, filepath.Join(t.TempDir(), "c.yaml"), content)
		c, err := parse(t, nil, "--config", file)
		if err != nil {
			t.Fatalf("%v in:\n%s", err, content)
		}
		c.File = ""
		if d := cmp.Diff(c, config.Default(), equalPrefixes, cmpopts.EquateEmpty()); d != "" {
			t.Errorf("got (-) want (+):\n%s", d)
		}
	}
}

func TestWriteGivesTheSameValues(t *testing.T) {
	c := config.Default()
	c.PublicURLs = []string{"https://push.example.com", "http://127.0.0.1:8080"}
	c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	c.MQTT, c.LogLevel, c.DiskReserve = "", slog.LevelError, 3000
	var b bytes.Buffer
	if err := c.Write(&b); err != nil {
		t.Fatal(err)
	}
	got, err := parse(t, nil, "--config", write(t, filepath.Join(t.TempDir(), "c.yaml"), b.String()))
	if err != nil {
		t.Fatalf("%v in:\n%s", err, &b)
	}
	got.File = ""
	if d := cmp.Diff(got, c, equalPrefixes); d != "" {
		t.Errorf("got (-) want (+):\n%s", d)
	}
	c.Database = "postgres://u:hunter2@h/d"
	b.Reset()
	if err := c.Write(&b); err != nil || strings.Contains(b.String(), "hunter2") || !strings.Contains(b.String(), "#database") {
		t.Errorf("a secret: got %v and\n%s", err, &b)
	}
}

func TestTableHasEverySetting(t *testing.T) {
	var b bytes.Buffer
	if err := config.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	for _, s := range config.Settings() {
		if !strings.Contains(b.String(), "| `--"+s.Flag+"` |") {
			t.Errorf("--%s is missing", s.Flag)
		}
	}
	if want := "`CARILLON_DATABASE`, `CARILLON_DATABASE_FILE`"; !strings.Contains(b.String(), want) {
		t.Errorf("got no %s", want)
	}
}

func TestBytes(t *testing.T) {
	for _, tt := range []struct {
		text string
		want config.Bytes
	}{{"64MiB", 64 << 20}, {"1GiB", 1 << 30}, {"512KiB", 512 << 10}, {"7B", 7}, {"1000", 1000}, {"0", 0}} {
		var b config.Bytes
		if err := b.UnmarshalText([]byte(tt.text)); err != nil || b != tt.want {
			t.Errorf("%s: got %d, %v, want %d", tt.text, b, err, tt.want)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "1.5MiB", "64MB", "9999999999GiB"} {
		var b config.Bytes
		if err := b.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q: got %d, want an error", text, b)
		}
	}
}

func TestLoggerFollowsLevelAndFormat(t *testing.T) {
	c := config.Default()
	c.LogFormat, c.LogLevel = "json", slog.LevelWarn
	var b bytes.Buffer
	log := c.Logger(&b)
	log.Info("quiet")
	log.Warn("loud")
	if got := b.String(); !strings.HasPrefix(got, "{") || strings.Contains(got, "quiet") || !strings.Contains(got, "loud") {
		t.Errorf("got %q", got)
	}
}
