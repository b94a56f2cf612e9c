package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/carillonpush/carillon/internal/config"
	"github.com/carillonpush/carillon/sdk/carillon"
)

// verbs is the command line.
type verbs struct {
	Serve    serveCmd    `cmd:"" help:"Run a node."`
	App      appCmd      `cmd:"" help:"Create, list, show, change and delete apps."`
	Device   deviceCmd   `cmd:"" help:"Register, show, list and import devices."`
	Push     pushCmd     `cmd:"" help:"Send a message; show, stop and take back what was sent."`
	Schedule scheduleCmd `cmd:"" help:"List, show, change and cancel what is to be sent later."`
	Template templateCmd `cmd:"" help:"Add, list, show, preview and remove texts with placeholders."`
	Report   reportCmd   `cmd:"" help:"Sum up pushes, and count devices, by day."`
	Webhook  webhookCmd  `cmd:"" help:"Have your server told of what happens."`
	Events   eventsCmd   `cmd:"" help:"Print what happens as it happens."`
	Listen   listenCmd   `cmd:"" help:"Be one device: connect, print what arrives, acknowledge."`
	Bench    benchCmd    `cmd:"" help:"Be many devices and senders, and measure."`
	Doctor   doctorCmd   `cmd:"" help:"Look for what is wrong, and repair it."`
	Config   configCmd   `cmd:"" help:"Print, check and explain settings."`
	Version  versionCmd  `cmd:"" help:"Print the version."`
}

// streams is what a verb has of the world.
type streams struct {
	In       io.Reader
	Out, Err io.Writer
	Lookup   func(string) (string, bool) // the environment
}

// progress returns Err if that is a terminal, and otherwise nil: nobody watches a log file.
func (s *streams) progress() io.Writer {
	f, ok := s.Err.(*os.File)
	if !ok {
		return nil
	}
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return nil
	}
	return s.Err
}

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// errUsage is in the tree of errors that are faults of the command line.
var errUsage = errors.New("wrong usage")

// usage returns an error that ends the program with exitUsage.
func usage(format string, args ...any) error {
	return fmt.Errorf("%w: %w", errUsage, fmt.Errorf(format, args...))
}

// exited is what kong is made to panic with instead of leaving: --help has printed, and that is all.
type exited int

// run does what args say and returns the exit code.
func run(ctx context.Context, args []string, s *streams) (code int) {
	defer func() {
		if e, ok := recover().(exited); ok {
			code = int(e)
		}
	}()
	var v verbs
	sources := config.NewSources(s.Lookup)
	parser, err := kong.New(&v,
		kong.Name("carillon"),
		kong.Description("A self-hosted mobile push platform. `carillon serve --demo` is a good start."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.ValueFormatter(describe),
		kong.Writers(s.Out, s.Err),
		kong.Exit(func(code int) { panic(exited(code)) }),
		kong.Resolvers(sources),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(s, sources),
	)
	if err != nil {
		fmt.Fprintln(s.Err, "carillon:", err)
		return exitFailed
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(s.Err, "carillon: %s\nTry carillon %s--help\n", plainLines(err.Error(), ""), verbOf(parser, args))
		return exitUsage
	}
	err = parsed.Run()
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errUsage):
		fmt.Fprintf(s.Err, "carillon: %s\nTry carillon %s --help\n", explain(err), verbPath(parsed))
		return exitUsage
	}
	fmt.Fprintln(s.Err, "carillon:", explain(err))
	return exitFailed
}

// verbOf returns the verb that args begin with and a space, or nothing.
func verbOf(k *kong.Kong, args []string) string {
	for _, verb := range k.Model.Children {
		if verb.Name == args[0] {
			return args[0] + " "
		}
	}
	return ""
}

// verbPath returns the verb that was parsed, without its arguments: "app set".
func verbPath(parsed *kong.Context) string {
	path, _, _ := strings.Cut(parsed.Command(), " <")
	return path
}

// explain returns err for a person: the message without the package that it came from, and what to try.
func explain(err error) string {
	text := strings.TrimPrefix(strings.TrimPrefix(err.Error(), errUsage.Error()+": "), "carillon: ")
	var t *carillon.TransportError
	var e *carillon.Error
	switch {
	case errors.As(err, &t):
		text += "\nIs `carillon serve` running, and is --server its address?"
	case errors.As(err, &e) && e.Code == "unauthenticated":
		text += "\nThe token is not the server's: --token, CARILLON_TOKEN, or --data for the directory that holds admin.token."
	}
	return plainLines(text, "")
}

// describe adds to a flag's help its default and the variable that stands for it.
func describe(v *kong.Value) string {
	help := kong.DefaultHelpValueFormatter(v)
	if v.Flag == nil {
		return help
	}
	var notes []string
	if v.Default != "" {
		notes = append(notes, "default "+v.Default)
	}
	if strings.Contains(v.Tag.Get("setting"), "env") {
		name := config.EnvName(v.Name)
		if v.Tag.Has("secret") {
			name += " or " + name + "_FILE"
		}
		notes = append(notes, name)
	}
	if len(notes) == 0 {
		return help
	}
	return strings.TrimSuffix(help, ".") + " (" + strings.Join(notes, "; ") + ")."
}

// printJSON writes b, which is JSON, indented.
func printJSON(w io.Writer, b []byte) error {
	var v json.RawMessage = b
	out, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("the answer is not JSON: %w", err)
	}
	_, err = fmt.Fprintf(w, "%s\n", out)
	return err
}
