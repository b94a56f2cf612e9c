package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/carillonpush/carillon/internal/config"
	"github.com/carillonpush/carillon/sdk/carillon"
)

// clientFlags say which node a verb speaks to.
type clientFlags struct {
	Server string `name:"server" setting:"env" default:"http://127.0.0.1:8080" placeholder:"URL" group:"Server" help:"The running node."`
	Token  string `name:"token" setting:"env" secret:"" placeholder:"TOKEN" group:"Server" help:"An app's API key or the admin token; from the data directory unless set."`
	Data   string `name:"data" setting:"env" default:"./carillon-data" placeholder:"DIR" group:"Server" help:"The node's data directory, to read the admin token there."`
}

// jsonFlag asks for the JSON of the REST call instead of text.
type jsonFlag struct {
	JSON bool `name:"json" help:"Print the JSON of the REST call."`
}

// appFlag says which app.
type appFlag struct {
	App string `name:"app" placeholder:"APP" help:"The app's id or name; may be left out when there is only one."`
}

// A caller is a client of the node that keeps the last answer as it came.
type caller struct {
	*carillon.Client
	answer []byte
}

// token returns the token that was given, or the one in the data directory.
func (f *clientFlags) token() (string, error) {
	if !strings.HasPrefix(f.Server, "http://") && !strings.HasPrefix(f.Server, "https://") {
		return "", usage("--server: %q is not an http or https URL", f.Server)
	}
	if f.Token != "" {
		return f.Token, nil
	}
	path := config.AdminTokenPath(f.Data)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("no token: %s does not exist; give --token, or --data for the node's data directory", path)
	}
	if err != nil {
		return "", fmt.Errorf("no token: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// client returns a client of the node. Interactive verbs do not wait for a node that is away.
func (f *clientFlags) client() (*caller, error) {
	token, err := f.token()
	if err != nil {
		return nil, err
	}
	c := new(caller)
	c.Client = carillon.New(f.Server, token, &carillon.Options{
		Retries: -1, Observe: func(_, _ string, _ int, body []byte) { c.answer = body },
	})
	return c, nil
}

// repeating returns a client for long work, which waits for a node that is away for a moment. Several calls may be under way.
func (f *clientFlags) repeating() (*carillon.Client, error) {
	token, err := f.token()
	if err != nil {
		return nil, err
	}
	return carillon.New(f.Server, token, &carillon.Options{Retries: importRetries}), nil
}

// app returns name, or the only app if it is empty.
func (c *caller) app(ctx context.Context, name string) (string, error) {
	if name != "" {
		return name, nil
	}
	list, err := c.ListApps(ctx, carillon.Page{Limit: 2})
	switch {
	case err != nil:
		return "", err
	case len(list.Items) == 0:
		return "", errors.New("there is no app yet; make one with: carillon app create NAME")
	case len(list.Items) > 1:
		return "", usage("there are several apps: say which with --app")
	}
	return list.Items[0].ID, nil
}
