package push_test

import (
	"testing"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

func TestPayload(t *testing.T) {
	at := time.Date(2026, 11, 25, 8, 0, 0, 123_456_789, time.UTC)
	for _, tt := range []struct {
		name string
		r    push.Request
		want string
	}{
		{
			"with a collapse id",
			push.Request{Message: push.Message{Data: []byte(`1`)}, Policy: push.Policy{CollapseID: "score"}},
			`{"id":"7","time":"2026-11-25T08:00:00.123Z","expires":"2026-11-25T09:00:00.123Z","data":1,"collapse_id":"score"}`,
		},
		{
			"without",
			push.Request{Message: push.Message{Data: []byte(`1`), Launch: true}},
			`{"id":"7","time":"2026-11-25T08:00:00.123Z","expires":"2026-11-25T09:00:00.123Z","data":1,"launch":true}`,
		},
		{"a recall has nothing else", push.Request{Message: push.Message{Recall: 5}, Policy: push.Policy{CollapseID: "score"}}, `{"id":"7","recall":"5"}`},
	} {
		got, err := push.Push{ID: 7, Created: at, Expires: at.Add(time.Hour), Request: tt.r}.Payload()
		if err != nil || string(got) != tt.want {
			t.Errorf("%s: got %s, %v, want %s", tt.name, got, err, tt.want)
		}
	}
}
