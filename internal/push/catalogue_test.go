package push_test

import (
	"os"
	"strings"
	"testing"

	"github.com/carillonpush/carillon/internal/push"
)

// docs/settings.md lists every setting with its default and meaning, word for word.
func TestSettingsAreDocumented(t *testing.T) {
	b, err := os.ReadFile("../../docs/settings.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rows, _ := strings.Cut(string(b), "|---|---|---|\n")
	rows, _, _ = strings.Cut(rows, "\n\n")
	if got, want := strings.Count(rows+"\n", "\n"), len(push.Catalogue()); got != want {
		t.Errorf("docs/settings.md lists %d settings, want %d", got, want)
	}
	for _, s := range push.Catalogue() {
		line := "| `" + s.Key + "` | `" + s.Default + "` | " + s.Doc + " |\n"
		if s.Default == "" {
			line = "| `" + s.Key + "` | | " + s.Doc + " |\n"
		}
		if !strings.Contains(string(b), line) {
			t.Errorf("docs/settings.md lacks the line\n%s", line)
		}
	}
}
