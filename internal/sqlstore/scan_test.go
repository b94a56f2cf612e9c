package sqlstore_test

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	"github.com/carillonpush/carillon/internal/push"
)

// statement runs a statement on the SQLite file at path, beside the store that has it open.
func statement(t *testing.T, path, query string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), query); err != nil {
		t.Fatal(err)
	}
}

// What a deleted app has left, because the process ended before all of it was removed, is in no index.
func TestDeletedAppIsNotScanned(t *testing.T) {
	path := filepath.Join(t.TempDir(), "carillon.db")
	s := open(t, path, nil)
	var apps []push.AppID
	for _, name := range []string{"a", "b"} {
		app, err := s.CreateApp(t.Context(), push.App{Name: name}, nil)
		if err != nil {
			t.Fatal(err)
		}
		apps = append(apps, app.ID)
		d := benchDevice(1)
		d.App, d.Ref.App = app.ID, app.ID
		err = s.ChangeDevices(t.Context(), push.DeviceChange{App: app.ID, Add: []push.DeviceRow{d}, Tags: []push.Tag{{App: app.ID, ID: 1, Name: "t"}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	statement(t, path, "UPDATE app SET doomed = 1 WHERE name = 'a'")
	var scanned []push.AppID
	if err := s.ScanIndex(t.Context(), 0, func(r push.IndexRow) error {
		scanned = append(scanned, r.Ref.App) // one span, so one goroutine
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(scanned) != 1 || scanned[0] != apps[1] {
		t.Errorf("scanned devices of apps %v, want one of %d", scanned, apps[1])
	}
	tags, err := s.Tags(t.Context())
	if err != nil || len(tags) != 1 || tags[0].App != apps[1] {
		t.Errorf("tags: got %v, %v, want that of app %d", tags, err, apps[1])
	}
}

// A row that cannot be read is an error that says which, and not a device that the index lacks.
func TestDamagedDevice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "carillon.db")
	s := open(t, path, nil)
	newApp(t, s)
	if err := s.ChangeDevices(t.Context(), push.DeviceChange{App: 1, Add: []push.DeviceRow{benchDevice(7)}}); err != nil {
		t.Fatal(err)
	}
	statement(t, path, "UPDATE device SET packed = substr(packed, 1, 20)")
	const want = "device 7 of app 1: "
	err := s.ScanIndex(t.Context(), 1, func(push.IndexRow) error { return nil })
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("scan: got %v, want an error with %q", err, want)
	}
	if _, err := s.FindDevices(t.Context(), 1, []push.Ordinal{7}); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("find: got %v, want an error with %q", err, want)
	}
}
