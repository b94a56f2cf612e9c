package sqlstore_test

import (
	"os"
	"path/filepath"
	"testing"

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

func TestSQLite(t *testing.T) {
	storetest.Test(t, func(t *testing.T) *storetest.Ports {
		return storetest.Open(t, filepath.Join(t.TempDir(), "carillon.db"), &sqlstore.Options{Reserve: -1})
	})
}

func TestPostgres(t *testing.T) {
	storetest.Test(t, func(t *testing.T) *storetest.Ports { return storetest.Open(t, testpg.URL(t), nil) })
}
