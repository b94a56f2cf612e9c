package config

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"time"
)

// Validate reports everything that is wrong with c, each problem with the flag's name. It opens nothing.
func (c Config) Validate() error {
	var errs []error
	bad := func(flag, format string, args ...any) {
		errs = append(errs, fmt.Errorf("--%s: %w", flag, fmt.Errorf(format, args...)))
	}
	if c.Data == "" {
		bad("data", "is empty")
	}
	for _, a := range []struct {
		flag, addr string
		need       bool
	}{{"http", c.HTTP, true}, {"mqtt", c.MQTT, false}, {"https", c.HTTPS, false}, {"mqtts", c.MQTTS, false}, {"admin", c.Admin, false}} {
		if a.addr == "" && !a.need {
			continue
		}
		if err := checkAddr(a.addr, 0); err != nil {
			bad(a.flag, "%w", err)
		}
	}
	if c.PublicMQTT != "" {
		if err := checkAddr(c.PublicMQTT, 1); err != nil {
			bad("public-mqtt", "%w", err)
		} else if host, _, _ := net.SplitHostPort(c.PublicMQTT); host == "" {
			bad("public-mqtt", "has no host")
		}
	}
	switch tls := c.HTTPS != "" || c.MQTTS != ""; {
	case tls && (c.TLSCert == "" || c.TLSKey == ""):
		bad("tls-cert", "and --tls-key are needed for --https and --mqtts")
	case (c.TLSCert == "") != (c.TLSKey == ""):
		bad("tls-cert", "and --tls-key go together")
	}
	if err := checkDatabase(c.Database); err != nil {
		bad("database", "%w", err)
	}
	if c.Cluster != "" {
		bad("cluster", "several nodes are not in this version yet; without it one node is whole")
	}
	for _, u := range c.PublicURLs {
		if err := checkURL(u); err != nil {
			bad("public-url", "%w", err)
		}
	}
	if c.MaxConnections < 0 {
		bad("max-connections", "is negative")
	}
	if c.LiveMemory < 1<<20 {
		bad("live-memory", "is less than 1MiB")
	}
	if c.Keep < 7*24*time.Hour {
		bad("keep", "is less than 168h: keys of requests are kept as long, and name their pushes")
	}
	if c.AcceptQueue < 1<<20 {
		bad("accept-queue", "is less than 1MiB")
	}
	if c.DrainTimeout < 0 {
		bad("drain-timeout", "is negative")
	}
	return errors.Join(errs...)
}

func checkAddr(addr string, least int) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%q is not HOST:PORT", addr)
	}
	if n, err := strconv.Atoi(port); err != nil || n < least || n > 65535 {
		return fmt.Errorf("%q has no port from %d to 65535", addr, least)
	}
	return nil
}

// checkDatabase never repeats the URL: it holds a password.
func checkDatabase(s string) error {
	if s == "" {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		return errors.New("is not a postgres:// URL")
	}
	return nil
}

func checkURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "":
		return fmt.Errorf("%q is not an http or https URL", s)
	case u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return fmt.Errorf("%q has more than scheme, host and path", s)
	}
	return nil
}

// Logger returns a logger to w as LogLevel and LogFormat say.
func (c Config) Logger(w io.Writer) *slog.Logger {
	opts := &slog.HandlerOptions{Level: c.LogLevel}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}
