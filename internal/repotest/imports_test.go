package repotest_test

import (
	"testing"

	"github.com/carillonpush/carillon/internal/repotest"
)

const module = "github.com/carillonpush/carillon/"

func TestImports(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{
			"a package without a row",
			map[string]string{"internal/util/util.go": "package util\n"},
			[]string{"internal/util: package has no row in the import table"},
		},
		{
			"downwards is allowed",
			map[string]string{
				"internal/registry/r.go":     "package registry\nimport (\n_ \"" + module + "internal/push\"\n_ \"" + module + "internal/identity\"\n)\n",
				"internal/server/s.go":       "package server\nimport _ \"" + module + "internal/facade/umengserver\"\n",
				"internal/channel/oppo/o.go": "package oppo\nimport _ \"" + module + "internal/channel\"\n",
				"bench/run/main.go":          "package main\nimport _ \"" + module + "internal/server\"\n",
				"cmd/carillon/main.go":       "package main\nimport _ \"" + module + "sdk/device\"\n",
			},
			nil,
		},
		{
			"upwards is not",
			map[string]string{"internal/push/p.go": "package push\nimport _ \"" + module + "internal/mqtt\"\n"},
			[]string{"internal/push/p.go:2: internal/push may not import internal/mqtt; it may import: "},
		},
		{
			"a façade reaches no other façade's protocol",
			map[string]string{"internal/facade/umengserver/u.go": "package umengserver\nimport _ \"" + module + "sdk/getui\"\n"},
			[]string{"internal/facade/umengserver/u.go:2: internal/facade/umengserver may not import sdk/getui; " +
				"it may import: internal/push, internal/facade, sdk/umeng"},
		},
		{
			"sdk sees of internal the codec only, and not in every package",
			map[string]string{
				"sdk/device/d.go": "package device\nimport _ \"" + module + "internal/mqtt\"\nimport _ \"" + module + "internal/push\"\n",
				"sdk/umeng/u.go":  "package umeng\nimport _ \"" + module + "internal/mqtt\"\n",
			},
			[]string{
				"sdk/device/d.go:3: sdk/device may not import internal/push; it may import: internal/mqtt",
				"sdk/umeng/u.go:2: sdk/umeng may not import internal/mqtt; it may import: ",
			},
		},
		{
			"tests may import suites, but not cmd",
			map[string]string{
				"internal/sqlstore/s_test.go": "package sqlstore_test\nimport _ \"" + module + "internal/testpg\"\nimport _ \"database/sql\"\n",
				"conformance/c_test.go":       "package conformance_test\nimport _ \"" + module + "cmd/carillon\"\n",
			},
			[]string{"conformance/c_test.go:2: nobody imports cmd"},
		},
		{
			"SQL is confined, at every depth and version",
			map[string]string{
				"internal/sqlstore/s.go": "package sqlstore\nimport _ \"github.com/jackc/pgx/v5/pgxpool\"\n",
				"internal/server/s.go":   "package server\nimport _ \"github.com/jackc/pgx/v5/pgxpool\"\nimport _ \"database/sql/driver\"\n",
			},
			[]string{
				"internal/server/s.go:2: only internal/sqlstore, internal/jobs, internal/testpg, bench/audience may import github.com/jackc/pgx",
				"internal/server/s.go:3: only internal/sqlstore, internal/jobs, internal/testpg, bench/audience may import database/sql",
			},
		},
		{
			"River and NATS are confined",
			map[string]string{"internal/dispatch/d.go": "package dispatch\nimport _ \"github.com/riverqueue/river\"\nimport _ \"github.com/nats-io/nats.go\"\n"},
			[]string{
				"internal/dispatch/d.go:2: only internal/jobs may import github.com/riverqueue/river",
				"internal/dispatch/d.go:3: only internal/cluster may import github.com/nats-io",
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			compare(t, repotest.Imports(load(t, tt.files), repotest.Rooms, repotest.Owners), tt.want)
		})
	}
}

// TestRoomsPointDownwards checks the table itself: no package may, over others, import itself.
func TestRoomsPointDownwards(t *testing.T) {
	const white, grey, black = 0, 1, 2
	colour := make(map[string]int)
	byName := make(map[string]repotest.Room)
	for _, r := range repotest.Rooms {
		if _, twice := byName[r.Package]; twice {
			t.Errorf("%s has two rows", r.Package)
		}
		byName[r.Package] = r
	}
	var visit func(name string)
	visit = func(name string) {
		colour[name] = grey
		for _, inner := range byName[name].May {
			switch colour[inner] {
			case grey:
				if inner != name {
					t.Errorf("%s may import %s, which comes back to it", name, inner)
				}
			case white:
				visit(inner)
			}
		}
		colour[name] = black
	}
	for _, r := range repotest.Rooms {
		if colour[r.Package] == white {
			visit(r.Package)
		}
	}
}
