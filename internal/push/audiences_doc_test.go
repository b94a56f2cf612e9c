package push_test

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/carillonpush/carillon/internal/push"
)

// What docs/audiences.md shows can be sent: every block of JSON is an audience or an expression, and so is every object in the
// text of the part on the language.
func TestDocumentedAudiencesAreValid(t *testing.T) {
	doc := audiencesDoc(t)
	blocks := regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(doc, -1)
	if len(blocks) < 10 {
		t.Fatalf("found %d blocks of JSON, want two a service at least", len(blocks))
	}
	for _, b := range blocks {
		wantAudience(t, b[1])
	}
	language := between(t, doc, "## The language", "### Limits and errors")
	inline := regexp.MustCompile("`(\\{\"[^`]*)`").FindAllStringSubmatch(language, -1)
	leaves := map[string]bool{}
	for _, m := range inline {
		if strings.Contains(m[1], "…") {
			continue
		}
		wantAudience(t, m[1])
		if w, err := push.ParseWhere([]byte(m[1])); err == nil && w.Leaf != nil {
			var members map[string]any
			if err := json.Unmarshal([]byte(m[1]), &members); err != nil {
				t.Fatal(err)
			}
			for k := range members {
				leaves[k] = true
			}
		}
	}
	for _, k := range []string{
		"tag", "alias", "account", "attr", "op", "value", "in", "platform", "active_within", "bound_within", "unbound_within",
		"registered", "targeted", "sent", "reached", "opened", "has", "online", "test", "blacklisted",
	} {
		if !leaves[k] {
			t.Errorf("no example of %q", k)
		}
	}
}

// The table of errors says where each error is.
func TestDocumentedErrorsAreTrue(t *testing.T) {
	rows := regexp.MustCompile("(?m)^\\| `(\\{.*\\})` \\| `audience\\.where\\.(.*)` \\|$").
		FindAllStringSubmatch(between(t, audiencesDoc(t), "### Limits and errors", "### How it is evaluated"), -1)
	if len(rows) < 5 {
		t.Fatalf("found %d rows", len(rows))
	}
	for _, r := range rows {
		if _, err := push.ParseWhere([]byte(r[1])); fieldOf(err) != r[2] {
			t.Errorf("%s: got %v (field %q), want field %q", r[1], err, fieldOf(err), r[2])
		}
	}
}

func audiencesDoc(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/audiences.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func between(t *testing.T, doc, from, to string) string {
	t.Helper()
	_, rest, found := strings.Cut(doc, from)
	part, _, ends := strings.Cut(rest, to)
	if !found || !ends {
		t.Fatalf("docs/audiences.md has no part from %q to %q", from, to)
	}
	return part
}

func wantAudience(t *testing.T, text string) {
	t.Helper()
	_, asWhere := push.ParseWhere([]byte(text))
	if asWhere == nil {
		return
	}
	var a push.Audience
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.DisallowUnknownFields()
	err := d.Decode(&a)
	if err == nil {
		err = a.Validate()
	}
	if err != nil {
		t.Errorf("%s\nis no audience (%v, field %q) and no expression (%v, field %q)", text, err, fieldOf(err), asWhere, fieldOf(asWhere))
	}
}
