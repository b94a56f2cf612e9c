package sqlstore_test

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/carillonpush/carillon/internal/sqlstore"
	"github.com/carillonpush/carillon/internal/testpg"
)

// A list of values is looked up value by value, also in a plan that was made while the table was empty: one that reads all of an
// app instead passes every other test.
func TestLookupsUseTheirIndexes(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "carillon.db")
		s := open(t, path, nil)
		db, err := sql.Open("sqlite", path)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		explain := func(t *testing.T, query string, args ...any) string {
			rows, err := db.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+query, args...)
			if err != nil {
				t.Fatal(err)
			}
			defer rows.Close()
			var plan strings.Builder
			for rows.Next() {
				var id, parent, unused int
				var step string
				if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
					t.Fatal(err)
				}
				plan.WriteString(step + "\n")
			}
			return plan.String()
		}
		checkPlans(t, s, "=?", func(t *testing.T, from string) string { return explain(t, "SELECT 1 FROM "+from, 1, "[1]") })
		checkOrder(t, s, "=?", "TEMP B-TREE", func(t *testing.T, query string, params int) string {
			return explain(t, query, []any{1, "a", 2, 3, 4}[:params]...)
		})
	})
	t.Run("postgres", func(t *testing.T) {
		url := testpg.URL(t)
		s := open(t, url, nil)
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context())
		explain := func(t *testing.T, query, types, args string) string {
			statement := "SET plan_cache_mode = force_generic_plan; PREPARE p (" + types + ") AS " + query + "; EXPLAIN EXECUTE p (" + args + "); DEALLOCATE p"
			results, err := conn.PgConn().Exec(t.Context(), statement).ReadAll()
			if err != nil {
				t.Fatal(err)
			}
			var plan strings.Builder
			for _, row := range results[2].Rows {
				plan.WriteString(string(row[0]) + "\n")
			}
			return plan.String()
		}
		checkPlans(t, s, " = ", func(t *testing.T, from string) string {
			return explain(t, "SELECT 1 FROM "+from, "bigint, text", "1, '[1]'")
		})
		checkOrder(t, s, " = ", "Sort", func(t *testing.T, query string, params int) string {
			types, args := "bigint, text, bigint", "1, 'a', 2"
			if params == 5 {
				types, args = "bigint, text, text, bigint, bigint", "1, 'a', 'b', 2, 3"
			}
			return explain(t, query, types, args)
		})
	})
}

// checkPlans looks for a line of each plan that searches by the app and by the column, which is written before is.
func checkPlans(t *testing.T, s *sqlstore.Store, is string, plan func(t *testing.T, from string) string) {
	for name, from := range s.Lookups() {
		t.Run(name, func(t *testing.T) {
			_, column, _ := strings.Cut(name, " by ")
			got := plan(t, from)
			for line := range strings.Lines(got) {
				search := strings.Contains(line, "SEARCH") || strings.Contains(line, "Index Cond")
				if search && strings.Contains(line, "app"+is) && strings.Contains(line, column+is) {
					return
				}
			}
			t.Errorf("got plan\n%swant a search by app and %s", got, column)
		})
	}
}

// checkOrder looks whether the holders of one name come out of an index as they are needed, so that no page is more than what
// is read of it.
func checkOrder(t *testing.T, s *sqlstore.Store, is, sorts string, plan func(t *testing.T, query string, params int) string) {
	for column, query := range s.NextHolders() {
		t.Run("holders by "+column, func(t *testing.T) {
			params := 3
			if column == "value" { // of aliases, which have types
				params = 5
			}
			got := plan(t, query, params)
			if !strings.Contains(got, column+is) || strings.Contains(got, sorts) {
				t.Errorf("got plan\n%swant a search by %s, in order", got, column)
			}
		})
	}
}
