package sqlstore_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/sqlstore"
)

// One row that cannot be read stops nobody who needs all others, and is no fault of who asks for it.
func TestDamagedPush(t *testing.T) {
	for _, tt := range []struct {
		name    string
		request string
	}{
		{"no JSON", `{"secret`},
		{"no request", `["secret"]`},
		{"a request that would be refused", `{"audience":{"where":{"or":[]}},"message":{"data":"secret"}}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			databases(t, func(t *testing.T, url string) {
				var log bytes.Buffer
				s := open(t, url, &sqlstore.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
				ctx := t.Context()
				var want []push.ID // all others, the newest first
				damaged := map[push.ID]bool{}
				for i := range int64(130) { // bulk pushes of three reads
					id := begin(t, s, i, chunks(t, 1))
					if i == 3 || i == 63 || i == 64 || i == 129 {
						damaged[id] = true
						alter(t, url, fmt.Sprintf("UPDATE push SET request = CAST('%s' AS {blob}) WHERE id = %d", tt.request, id))
						continue
					}
					want = append(want, id)
				}
				bulk := slices.Clone(want)
				for i := range int64(3) {
					a := benchPush(1000+i, 256, time.Now())
					if _, _, err := s.Accept(ctx, a); err != nil {
						t.Fatal(err)
					}
					if i == 1 {
						damaged[a.Push.ID] = true
						alter(t, url, fmt.Sprintf("UPDATE direct_v1_%v SET payload = CAST('[\"secret' AS {blob}) WHERE id = %d", push.DayOf(a.Push.Expires), a.Push.ID))
						continue
					}
					want = append(want, a.Push.ID)
				}
				var live []push.ID
				if err := s.Live(ctx, func(l push.Live) error { live = append(live, l.Push.ID); return nil }); err != nil {
					t.Errorf("live: %v", err)
				}
				slices.Sort(bulk)
				if !slices.Equal(live, bulk) {
					t.Errorf("live: got %d pushes, want the other %d, in order", len(live), len(bulk))
				}
				var listed []push.ID
				for next, first := push.ID(0), true; first || next != 0; first = false {
					page, after, err := s.List(ctx, 1, next, 40)
					if err != nil {
						t.Fatalf("list: %v", err)
					}
					for _, p := range page {
						listed = append(listed, p.ID)
					}
					next = after
				}
				slices.Sort(want)
				slices.Reverse(want)
				if !slices.Equal(listed, want) {
					t.Errorf("list: got %d pushes, want the other %d, newest first", len(listed), len(want))
				}
				for id := range damaged {
					_, err := s.Find(ctx, 1, id)
					internal(t, "find", err)
					if _, err := s.Load(ctx, 1, id); !errors.Is(err, push.NotFound) { // as that of a direct push is
						internal(t, "load", err)
					}
				}
				if err := s.Close(); err != nil { // nobody writes to the log any more
					t.Fatal(err)
				}
				for id := range damaged {
					if !strings.Contains(log.String(), fmt.Sprintf("push=%d ", id)) {
						t.Errorf("push %d is not in the log", id)
					}
				}
				if strings.Contains(log.String(), "secret") {
					t.Error("a body is in the log")
				}
			})
		})
	}
}

// internal fails t if err is not Internal, or has another kind inside.
func internal(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, push.Internal) || errors.Is(err, push.Invalid) {
		t.Errorf("%s: got %v, want internal", what, err)
	}
}
