package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

func testTemplates(t *testing.T, p *Ports) {
	ctx := t.Context()
	tpl := push.Template{
		App: 1, Name: "促销", Title: "hello #name#", Body: "${amount} off", Defaults: map[string]string{"name": "you"}, Created: noon,
	}
	add := func(what string, tpl push.Template, most int, want bool) {
		t.Helper()
		stored, replaced, err := p.Templates.AddTemplate(ctx, tpl, most)
		if err != nil || replaced != want {
			t.Fatalf("%s: replaced %v, %v, want %v", what, replaced, err, want)
		}
		same(t, what, stored, tpl)
	}
	add("a new one", tpl, 2, false)
	p = p.Reopen(t)
	found, err := p.Templates.FindTemplate(ctx, 1, tpl.Name)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "found", found, tpl)
	_, err = p.Templates.FindTemplate(ctx, 2, tpl.Name)
	fails(t, "in another app", err, push.NotFound, "")
	_, err = p.Templates.FindTemplate(ctx, 1, "\x00")
	fails(t, "a name that is none", err, push.NotFound, "")

	other := push.Template{App: 1, Name: "a", Body: "plain", Created: noon}
	add("a second", other, 2, false)
	_, _, err = p.Templates.AddTemplate(ctx, push.Template{App: 1, Name: "b", Body: "x"}, 2)
	fails(t, "one too many", err, push.TooMany, "templates")
	_, _, err = p.Templates.AddTemplate(ctx, push.Template{App: 99, Name: "b", Body: "x"}, 2)
	fails(t, "of no app", err, push.NotFound, "app")
	tpl.Title, tpl.Defaults, tpl.Created = "", nil, noon.Add(time.Minute)
	add("one in the place of another, at the limit", tpl, 2, true)
	if found, err = p.Templates.FindTemplate(ctx, 1, tpl.Name); err != nil {
		t.Fatal(err)
	}
	same(t, "the one in its place", found, tpl)

	for i := range 5 {
		add("another app's", push.Template{App: 2, Name: fmt.Sprint("n", i), Body: "x", Created: noon}, 10, false)
	}
	var names []string
	for after := ""; ; {
		page, next, err := p.Templates.Templates(ctx, 2, after, 2)
		if err != nil || len(page) > 2 || len(names) > 5 {
			t.Fatalf("a page: got %d, %v", len(page), err)
		}
		for _, tpl := range page {
			names = append(names, tpl.Name)
		}
		if after = next; next == "" {
			break
		}
	}
	same(t, "the list", names, []string{"n0", "n1", "n2", "n3", "n4"})
	page, next, err := p.Templates.Templates(ctx, 1, "", 2)
	if err != nil || next != "" {
		t.Fatalf("a full last page: next %q, %v, want none", next, err)
	}
	same(t, "in order of bytes", page, []push.Template{other, tpl})

	if err := p.Templates.RemoveTemplate(ctx, 1, "a"); err != nil {
		t.Fatal(err)
	}
	fails(t, "remove it again", p.Templates.RemoveTemplate(ctx, 1, "a"), push.NotFound, "")
	fails(t, "remove one in another app", p.Templates.RemoveTemplate(ctx, 2, tpl.Name), push.NotFound, "")
	_, err = p.Templates.FindTemplate(ctx, 1, "a")
	fails(t, "one that was removed", err, push.NotFound, "")
}
