package main

import (
	"encoding/json"
	"fmt"
	"runtime"
)

type versionCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Help returns what --help says below the flags.
func (versionCmd) Help() string { return "Example:\n\n    carillon version --json" }

// Run prints the version.
func (c *versionCmd) Run(s *streams) error {
	if !c.JSON {
		_, err := fmt.Fprintf(s.Out, "carillon %s (%s, %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return err
	}
	b, err := json.Marshal(map[string]string{
		"version": version, "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH,
	})
	if err != nil {
		return err
	}
	return printJSON(s.Out, b)
}
