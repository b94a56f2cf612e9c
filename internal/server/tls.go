package server

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certLook is how often a certificate's files are looked at for changes.
const certLook = 5 * time.Second

// A certificate is a key pair in two files, read again when they change. It is safe for concurrent use.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	mu     sync.Mutex // guards what follows
	pair   *tls.Certificate
	stamp  [2]time.Time
	looked time.Time
}

// loadCertificate reads the pair for the first time. Files that do not fit together are an error.
func loadCertificate(certFile, keyFile string, log *slog.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log}
	if err := c.read(); err != nil {
		return nil, fmt.Errorf("server: certificate: %w", err)
	}
	return c, nil
}

// read takes the pair from its files if they have changed. The caller holds mu, or is the only one.
func (c *certificate) read() error {
	var stamp [2]time.Time
	for i, name := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return err
		}
		stamp[i] = info.ModTime()
	}
	if c.pair != nil && stamp == c.stamp {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return err
	}
	c.pair, c.stamp = &pair, stamp
	return nil
}

// get returns the newest good pair. A pair that cannot be read, as in the midst of a renewal, is logged and passed over.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.looked) >= certLook {
		c.looked = now
		if err := c.read(); err != nil {
			c.log.Warn("certificate not reloaded, the old one stays", "err", err)
		}
	}
	return c.pair, nil
}

// config returns the TLS configuration of a listener; protos are what it speaks above TLS.
func (c *certificate) config(protos ...string) *tls.Config {
	return &tls.Config{GetCertificate: c.get, MinVersion: tls.VersionTLS12, NextProtos: protos}
}
