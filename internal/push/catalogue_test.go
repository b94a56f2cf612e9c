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
