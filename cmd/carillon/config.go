package main

import (
	"fmt"

	"github.com/carillonpush/carillon/internal/config"
)

type configCmd struct {
	Default configDefaultCmd `cmd:"" help:"Print a settings file with every key at its default."`
	Check   configCheckCmd   `cmd:"" help:"Check flags, environment and file, and print what holds."`
	Doc     configDocCmd     `cmd:"" help:"Print all settings as a table in Markdown."`
}

type (
	configDefaultCmd struct{}
	configDocCmd     struct{}
	configCheckCmd   struct {
		Settings config.Config `embed:""`
	}
)

// Help returns what --help says below the flags.
func (configDefaultCmd) Help() string {
	return "Example:\n\n    carillon config default > carillon-data/carillon.yaml"
}

// Run prints the sample.
func (configDefaultCmd) Run(s *streams) error { return config.WriteSample(s.Out) }

// Help returns what --help says below the flags.
func (configDocCmd) Help() string { return "Example:\n\n    carillon config doc > settings.md" }

// Run prints the table.
func (configDocCmd) Run(s *streams) error { return config.WriteTable(s.Out) }

// Help returns what --help says below the flags.
func (configCheckCmd) Help() string {
	return `Takes the flags of serve, reads the same environment and file, and starts nothing. Secrets are not shown.

Example:

    carillon config check --config /etc/carillon.yaml`
}

// Run validates, and prints the settings that hold.
func (c *configCheckCmd) Run(s *streams, from *config.Sources) error {
	if err := c.Settings.Validate(); err != nil {
		return err
	}
	file := from.File()
	if file == "" {
		file = "no file"
	}
	if _, err := fmt.Fprintf(s.Out, "# The settings are good. Read: flags, environment, %s.\n", file); err != nil {
		return err
	}
	return c.Settings.Write(s.Out)
}
