package sqlstore_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/sqlstore"
	"github.com/carillonpush/carillon/internal/sqlstore/storetest"
	"github.com/carillonpush/carillon/internal/testpg"
)

func TestMain(m *testing.M) { os.Exit(testpg.Main(m)) }

// databases runs a test on each database, with the URL of an empty one.
func databases(t *testing.T, run func(t *testing.T, url string)) {
	t.Run("sqlite", func(t *testing.T) { run(t, filepath.Join(t.TempDir(), "carillon.db")) })
	t.Run("postgres", func(t *testing.T) { run(t, testpg.URL(t)) })
}

// newApp makes the first app of a record: app 1.
func newApp(t *testing.T, s *sqlstore.Store) {
	t.Helper()
	app, err := s.CreateApp(t.Context(), push.App{Name: "a"}, nil)
	if err != nil || app.ID != 1 {
		t.Fatalf("create an app: got id %d, %v, want 1", app.ID, err)
	}
}

// alter runs a statement on the record at url, beside the store that has it open; {blob} is the type of bytes.
func alter(t *testing.T, url, query string) {
	t.Helper()
	if strings.HasPrefix(url, "postgres://") {
		execute(t, url, strings.ReplaceAll(query, "{blob}", "BYTEA"))
	} else {
		statement(t, url, strings.ReplaceAll(query, "{blob}", "BLOB"))
	}
}

func TestSQLite(t *testing.T) {
	storetest.Test(t, func(t *testing.T) *storetest.Ports {
		return storetest.Open(t, filepath.Join(t.TempDir(), "carillon.db"), &sqlstore.Options{Reserve: -1})
	})
}

func TestPostgres(t *testing.T) {
	storetest.Test(t, func(t *testing.T) *storetest.Ports { return storetest.Open(t, testpg.URL(t), nil) })
}
