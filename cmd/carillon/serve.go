package main

import (
	"context"
	"errors"

	"github.com/carillonpush/carillon/internal/config"
	"github.com/carillonpush/carillon/internal/server"
)

type serveCmd struct {
	Settings config.Config `embed:""`
}

// Help returns what --help says below the flags.
func (serveCmd) Help() string {
	return `Runs until SIGTERM or SIGINT, then drains and ends with exit code 0.

Examples:

    carillon serve --demo
    carillon serve --data /var/lib/carillon --http :8080 --mqtt :1883 --public-mqtt push.example.com:1883
    CARILLON_DATABASE_FILE=/run/secrets/dsn carillon serve --config /etc/carillon.yaml`
}

// Run runs a node.
func (c *serveCmd) Run(ctx context.Context, s *streams) error {
	if err := c.Settings.Validate(); err != nil {
		return usage("%w", err)
	}
	node, err := server.New(ctx, c.Settings, &server.Options{Log: c.Settings.Logger(s.Err), Version: version, Out: s.Out})
	if err != nil {
		return err
	}
	return errors.Join(node.Run(ctx), node.Close())
}
