package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/carillonpush/carillon/internal/config"
	"github.com/carillonpush/carillon/internal/server"
	"github.com/carillonpush/carillon/internal/testpg"
)

// nodeEnv holds, in a child process of the crash test, the configuration of the node that it is.
const nodeEnv = "CARILLON_TEST_NODE"

func TestMain(m *testing.M) {
	if c := os.Getenv(nodeEnv); c != "" {
		os.Exit(beNode(c))
	}
	os.Exit(testpg.Main(m))
}

// beNode runs a node until it is told to end, and returns the exit code.
func beNode(configuration string) int {
	var c config.Config
	if err := json.Unmarshal([]byte(configuration), &c); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	s, err := server.New(ctx, c, nil)
	if err == nil {
		err = s.Run(ctx)
		if e := s.Close(); err == nil {
			err = e
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
