// Package config turns flags, environment and file into one validated Config. Nothing else in the program reads any of
// them.
//
// A setting is declared once, as a field of Config: its flag, default and meaning are in the field's tags. Where the
// value comes from is decided by Sources: flag, then environment, then YAML file, then default.
package config

import (
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A Config is how one node runs. Get one from a command line by embedding it into a command of kong's, with Sources, or
// from Default. The zero Config is not valid: it has no addresses.
//
// The tag setting says where else than on the command line a value may be given: "env", "file", both or "".
// The tag secret marks what must not be shown; it has a …_FILE twin in the environment.
type Config struct {
	File string `name:"config" setting:"env" placeholder:"FILE" help:"Settings in YAML; without it carillon.yaml in the data directory, if there is one."`
	Data string `name:"data" setting:"env file" default:"./carillon-data" placeholder:"DIR" help:"Embedded database, server key and admin token are here (files 0600)."`

	HTTP    string `name:"http" setting:"env file" default:"127.0.0.1:8080" placeholder:"ADDR" help:"All HTTP: façades, REST, device API, WebSocket."`
	MQTT    string `name:"mqtt" setting:"env file" default:"127.0.0.1:1883" placeholder:"ADDR" help:"Devices over TCP; \"\" is off."`
	HTTPS   string `name:"https" setting:"env file" placeholder:"ADDR" help:"The same as --http over TLS; off unless set."`
	MQTTS   string `name:"mqtts" setting:"env file" placeholder:"ADDR" help:"The same as --mqtt over TLS; off unless set."`
	TLSCert string `name:"tls-cert" setting:"env file" placeholder:"FILE" help:"Certificate chain in PEM; read again when it changes."`
	TLSKey  string `name:"tls-key" setting:"env file" placeholder:"FILE" help:"Private key of --tls-cert in PEM."`
	Admin   string `name:"admin" setting:"env file" default:"127.0.0.1:9180" placeholder:"ADDR" help:"/metrics, /healthz, /readyz and pprof; never public. \"\" is off."`

	Database string `name:"database" setting:"env file" secret:"" placeholder:"URL" help:"postgres://… for PostgreSQL; the embedded database unless set."`
	Cluster  string `name:"cluster" setting:"env file" placeholder:"URL" help:"nats://… joins the nodes that share the database; not in this version yet."`

	PublicURLs     []string       `name:"public-url" setting:"env file" placeholder:"URL" help:"What clients call this server, for signatures that cover a URL; repeatable; from the request unless set."`
	PublicMQTT     string         `name:"public-mqtt" setting:"env file" placeholder:"HOST:PORT" help:"What registering tells devices; from --mqtt unless set."`
	TrustedProxies []netip.Prefix `name:"trusted-proxy" setting:"env file" placeholder:"CIDR" help:"Whose X-Forwarded-For, -Host and -Proto are believed; repeatable."`

	WebhookAllow []netip.Prefix `name:"webhook-allow" setting:"env file" placeholder:"CIDR" help:"Networks that webhooks may call although they are private or this machine's; repeatable."`

	Demo bool `name:"demo" setting:"" help:"Create the app demo, and print its credentials and a cheat sheet."`

	ServerKeyFile string `name:"server-key-file" setting:"env file" placeholder:"FILE" help:"The server's keyring; server.key in the data directory unless set."`

	LogLevel  slog.Level `name:"log-level" setting:"env file" default:"info" placeholder:"LEVEL" help:"debug, info, warn or error."`
	LogFormat string     `name:"log-format" setting:"env file" default:"text" enum:"text,json" placeholder:"FORMAT" help:"text or json."`

	MaxConnections int           `name:"max-connections" setting:"env file" default:"0" placeholder:"N" help:"Device connections at once; 0 is as many as the machine has descriptors for."`
	AcceptQueue    Bytes         `name:"accept-queue" setting:"env file" default:"64MiB" placeholder:"SIZE" help:"Pushes that wait for their commit; beyond it senders are told to try again."`
	DiskReserve    Bytes         `name:"disk-reserve" setting:"env file" default:"256MiB" placeholder:"SIZE" help:"Free space below which no push is accepted; receipts and cancels still are."`
	LiveMemory     Bytes         `name:"live-memory" setting:"env file" default:"512MiB" placeholder:"SIZE" help:"Memory for the sets of bulk pushes that have not expired; beyond it bulk pushes are refused as too many."`
	Keep           time.Duration `name:"keep" setting:"env file" default:"720h" placeholder:"DURATION" help:"How long a push and its detail are kept after it expired; totals stay."`
	DrainTimeout   time.Duration `name:"drain-timeout" setting:"env file" default:"20s" placeholder:"DURATION" help:"How long SIGTERM waits for work under way."`
}

// ServerKeyPath returns where the keyring is: ServerKeyFile, else server.key in the data directory.
func (c Config) ServerKeyPath() string {
	if c.ServerKeyFile != "" {
		return c.ServerKeyFile
	}
	return filepath.Join(c.Data, "server.key")
}

// AdminTokenPath returns where the admin token is.
func (c Config) AdminTokenPath() string { return AdminTokenPath(c.Data) }

// AdminTokenPath returns where the admin token of the node is whose data directory is data.
func AdminTokenPath(data string) string { return filepath.Join(data, "admin.token") }

// Bytes is a size. As text it is a number with an optional unit: B, KiB, MiB or GiB. The zero Bytes is none.
type Bytes int64

var byteUnits = []struct {
	suffix string
	size   Bytes
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}, {"", 1}}

// UnmarshalText reads "64MiB", "512KiB" or "1000".
func (b *Bytes) UnmarshalText(text []byte) error {
	for _, u := range byteUnits {
		digits, ok := strings.CutSuffix(string(text), u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		if err != nil || n < 0 || n > int64(1<<62/u.size) {
			break
		}
		*b = Bytes(n) * u.size
		return nil
	}
	return fmt.Errorf("%q is not a size like 64MiB", text)
}

// MarshalText writes b in the largest unit that divides it.
func (b Bytes) MarshalText() ([]byte, error) {
	for _, u := range byteUnits[:3] {
		if b != 0 && b%u.size == 0 {
			return fmt.Appendf(nil, "%d%s", b/u.size, u.suffix), nil
		}
	}
	return strconv.AppendInt(nil, int64(b), 10), nil
}
