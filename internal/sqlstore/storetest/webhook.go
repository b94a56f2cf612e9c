package storetest

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// addWebhook stores a webhook of app.
func addWebhook(t *testing.T, p *Ports, app push.AppID) push.Webhook {
	t.Helper()
	w, err := p.Webhooks.AddWebhook(t.Context(), push.Webhook{
		App: app, URL: "https://example.com/hook", Events: []string{"delivered", "opened"}, Secret: []byte{0, 1, 2}, Created: noon,
	}, push.MaxWebhooks)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func webhooks(t *testing.T, p *Ports) []push.Webhook {
	t.Helper()
	all, err := p.Webhooks.Webhooks(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func testWebhooks(t *testing.T, p *Ports) {
	ctx := t.Context()
	same(t, "at first", webhooks(t, p), nil)
	a, b := addWebhook(t, p, 1), addWebhook(t, p, 2)
	all, err := p.Webhooks.AddWebhook(ctx, push.Webhook{App: 1, URL: "http://example.com/", Secret: []byte{3}, Created: noon}, 2)
	if err != nil || a.ID <= 0 || b.ID <= a.ID || all.ID <= b.ID {
		t.Fatalf("ids: got %d, %d, %d, %v, want growing ones", a.ID, b.ID, all.ID, err)
	}
	p = p.Reopen(t)
	same(t, "after a restart", webhooks(t, p), []push.Webhook{a, b, all})
	_, err = p.Webhooks.AddWebhook(ctx, push.Webhook{App: 1, URL: "http://example.com/"}, 2)
	fails(t, "one too many", err, push.TooMany, "webhooks")
	_, err = p.Webhooks.AddWebhook(ctx, push.Webhook{App: 99, URL: "http://example.com/"}, 2)
	fails(t, "of no app", err, push.NotFound, "app")
	fails(t, "remove in another app", p.Webhooks.RemoveWebhook(ctx, 2, all.ID), push.NotFound, "")
	if err := p.Webhooks.RemoveWebhook(ctx, 1, all.ID); err != nil {
		t.Fatal(err)
	}
	fails(t, "remove again", p.Webhooks.RemoveWebhook(ctx, 1, all.ID), push.NotFound, "")
	same(t, "what remains", webhooks(t, p), []push.Webhook{a, b})
	p = p.Reopen(t)
	if w := addWebhook(t, p, 1); w.ID <= all.ID {
		t.Errorf("after a removal: got id %d, want one above %d", w.ID, all.ID)
	}
}

func testWebhooksAtOnce(t *testing.T, p *Ports) {
	const callers, most = 24, 8
	errs := make([]error, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			_, errs[i] = p.Webhooks.AddWebhook(t.Context(), push.Webhook{App: 1, URL: "http://example.com/"}, most)
		})
	}
	wg.Wait()
	added := 0
	for _, err := range errs {
		if err == nil {
			added++
		} else if !errors.Is(err, push.TooMany) {
			t.Errorf("got %v, want too many", err)
		}
	}
	if n := len(webhooks(t, p)); added != most || n != most {
		t.Errorf("got %d answered and %d stored, want %d", added, n, most)
	}
}

// happened returns n happenings of one push.
func happened(id push.ID, n int) []push.Happening {
	var all []push.Happening
	for i := range n {
		all = append(all, push.Happening{
			Receipt: push.Receipt{App: 1, Push: id, Ordinal: push.Ordinal(i * 70_000), Mark: push.MarkDelivered, Day: push.Day(i % 2 * 20_000)},
			At:      noon.Add(time.Duration(i-1) * time.Millisecond),
		})
	}
	return all
}

// batch returns a batch for w that is due at next.
func batch(w push.Webhook, next time.Time, n int) push.Batch {
	return push.Batch{App: w.App, Webhook: w.ID, Created: noon, Next: next, Happened: happened(nextID(noon), n)}
}

// fold writes f.
func fold(t *testing.T, p *Ports, f push.Fold) {
	t.Helper()
	if err := p.Report.Fold(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}

func due(t *testing.T, p *Ports, w push.Webhook, now time.Time, limit int) []push.Batch {
	t.Helper()
	all, err := p.Batches.DueBatches(t.Context(), w.ID, now, limit)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func next(t *testing.T, p *Ports) map[push.WebhookID]time.Time {
	t.Helper()
	all, err := p.Batches.NextBatch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func listBatches(t *testing.T, p *Ports, w push.Webhook, dead bool, after int64, limit int) []push.BatchInfo {
	t.Helper()
	all, err := p.Batches.ListBatches(t.Context(), w.ID, dead, after, limit)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func testBatches(t *testing.T, p *Ports) {
	ctx := t.Context()
	w, other := addWebhook(t, p, 1), addWebhook(t, p, 2)
	same(t, "when nobody is to be told", next(t, p), map[push.WebhookID]time.Time{})
	want := []push.Batch{batch(w, noon, 3), batch(w, noon.Add(time.Minute), 1), batch(w, noon, push.MaxBatch), batch(w, noon, 0)}
	fold(t, p, push.Fold{Batches: append(want[:4:4], batch(other, noon.Add(time.Hour), 1))})
	p = p.Reopen(t)
	got := due(t, p, w, noon.Add(time.Minute), 10)
	if len(got) != len(want) {
		t.Fatalf("due: got %d, want %d", len(got), len(want))
	}
	for i := range got {
		if i > 0 && got[i].ID <= got[i-1].ID {
			t.Errorf("batch %d comes after %d", got[i].ID, got[i-1].ID)
		}
		want[i].ID = got[i].ID
		if len(want[i].Happened) == 0 {
			want[i].Happened = []push.Happening{}
		}
	}
	same(t, "due in a minute", got, want)
	same(t, "due now", due(t, p, w, noon, 2), []push.Batch{want[0], want[2]})
	same(t, "due before", due(t, p, w, noon.Add(-time.Millisecond), 10), nil)
	same(t, "the earliest", next(t, p), map[push.WebhookID]time.Time{w.ID: noon, other.ID: noon.Add(time.Hour)})

	end := func(b push.Batch, told bool) {
		t.Helper()
		if err := p.Batches.EndBatch(ctx, b, told); err != nil {
			t.Fatal(err)
		}
	}
	end(want[2], true)
	put := want[0]
	put.Next, put.Attempts, put.Error = noon.Add(2*time.Minute), 1, "it answered 503"
	end(put, false)
	dead := want[3]
	dead.Next, dead.Attempts, dead.Error = time.Time{}, 9, "it is gone"
	end(dead, false)
	foreign := want[1]
	foreign.Webhook = other.ID
	end(foreign, true) // is no batch of the other webhook
	p = p.Reopen(t)
	same(t, "due later", due(t, p, w, noon.Add(time.Hour), 10), []push.Batch{put, want[1]})
	same(t, "the earliest of those that are left", next(t, p)[w.ID], noon.Add(time.Minute))
	infos := []push.BatchInfo{
		{ID: put.ID, Created: noon, Attempts: 1, Next: put.Next, Error: put.Error, Events: 3},
		{ID: want[1].ID, Created: noon, Next: want[1].Next, Events: 1},
		{ID: dead.ID, Created: noon, Attempts: 9, Dead: true, Error: dead.Error},
	}
	same(t, "the list", listBatches(t, p, w, false, 0, 10), infos)
	same(t, "its second page", listBatches(t, p, w, false, put.ID, 1), infos[1:2])
	same(t, "the dead", listBatches(t, p, w, true, 0, 10), infos[2:])
	same(t, "the dead after the last", listBatches(t, p, w, true, dead.ID, 10), nil)

	replay := func(what string, want int, ids ...int64) {
		t.Helper()
		if n, err := p.Batches.ReplayBatches(ctx, w.ID, ids, noon.Add(time.Second)); err != nil || n != want {
			t.Errorf("replay %s: got %d, %v, want %d", what, n, err, want)
		}
	}
	replay("what is not dead", 0, put.ID, 99)
	replay("by id", 1, dead.ID, put.ID)
	same(t, "due once more", due(t, p, w, noon.Add(time.Second), 10)[0].ID, dead.ID)
	end(dead, false)
	replay("all", 1)
	replay("all again", 0)
}

func testWebhookRemoved(t *testing.T, p *Ports) {
	ctx := t.Context()
	w, other := addWebhook(t, p, 1), addWebhook(t, p, 1)
	f := push.Fold{Batches: []push.Batch{batch(other, noon, 1)}}
	for range 200 { // more than go in one commit
		f.Batches = append(f.Batches, batch(w, noon, 1))
	}
	fold(t, p, f)
	if err := p.Webhooks.RemoveWebhook(ctx, 1, w.ID); err != nil {
		t.Fatal(err)
	}
	same(t, "its batches", listBatches(t, p, w, false, 0, 1000), nil)
	fold(t, p, f) // what was found out before it went
	same(t, "batches that come later", listBatches(t, p, w, false, 0, 1000), nil)
	same(t, "the other's", len(due(t, p, other, noon, 10)), 2)
	same(t, "who is to be told", next(t, p), map[push.WebhookID]time.Time{other.ID: noon})
}

func testBatchesOver(t *testing.T, p *Ports) {
	w := addWebhook(t, p, 1)
	dead, waiting := batch(w, time.Time{}, 1), batch(w, noon, 1)
	fold(t, p, push.Fold{Batches: []push.Batch{dead, waiting}})
	sweep(t, p, noon.Add(8*24*time.Hour-time.Millisecond))
	same(t, "before eight days are over", len(listBatches(t, p, w, false, 0, 10)), 2)
	sweep(t, p, noon.Add(8*24*time.Hour))
	left := listBatches(t, p, w, false, 0, 10)
	if len(left) != 1 || left[0].Dead {
		t.Errorf("after eight days: got %v, want the one that is not dead", left)
	}
}
