package umeng_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/carillonpush/carillon/sdk/umeng"
)

func TestCodeTable(t *testing.T) {
	codes := umeng.Codes()
	if len(codes) != 122 || !slices.IsSorted(codes) {
		t.Errorf("got %d codes, sorted %v, want 122 in order", len(codes), slices.IsSorted(codes))
	}
	generations := map[umeng.Generation]int{}
	for _, c := range codes {
		generations[c.Generation()]++
		if c.Meaning() == "" {
			t.Errorf("%d has no meaning", int(c))
		}
	}
	if len(generations) != 3 || generations[""] != 0 {
		t.Errorf("generations: got %v, want A, B and AB", generations)
	}
	for _, tt := range []struct {
		code       umeng.Code
		generation umeng.Generation
		meaning    string
	}{
		{umeng.CodeSignature, umeng.GenerationAB, "signature mismatch"},
		{umeng.CodeToken, umeng.GenerationA, "wrong device token"},
		{6004, umeng.GenerationB, "internal error: file storage"},
		{1021, "", "unknown error"},
	} {
		if tt.code.Generation() != tt.generation || tt.code.Meaning() != tt.meaning {
			t.Errorf("%d: got %q %q, want %q %q", int(tt.code), tt.code.Generation(), tt.code.Meaning(), tt.generation, tt.meaning)
		}
	}
}

func TestErrorsMatchTheirCode(t *testing.T) {
	err := fmt.Errorf("send: %w", umeng.NewError(umeng.CodeNoTitle, "payload.body.title"))
	if !errors.Is(err, umeng.CodeNoTitle) || errors.Is(err, umeng.CodeNoText) || !errors.Is(error(umeng.CodeNoTitle), umeng.CodeNoTitle) {
		t.Errorf("%v does not match its code alone", err)
	}
	if got, want := err.Error(), "send: umeng: 1009 payload.body.title: notification without title"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCodeOnTheWire(t *testing.T) {
	for _, wire := range []string{`"2027"`, `2027`} {
		var c umeng.Code
		if err := json.Unmarshal([]byte(wire), &c); err != nil || c != umeng.CodeSignature {
			t.Errorf("%s: got %d, %v, want 2027", wire, int(c), err)
		}
	}
	var c umeng.Code
	if err := json.Unmarshal([]byte(`"no"`), &c); err == nil {
		t.Errorf("read %d from text", int(c))
	}
}

func TestEnvelopes(t *testing.T) {
	for _, tt := range []struct {
		name string
		got  []byte
		want string
	}{
		{"single message", umeng.SendResult{MsgID: "12"}.Envelope(), `{"ret":"SUCCESS","data":{"msg_id":"12"}}`},
		{"task with the sender's id", umeng.SendResult{TaskID: "12", ThirdpartyID: "<1>"}.Envelope(), `{"ret":"SUCCESS","data":{"task_id":"12","thirdparty_id":"<1>"}}`},
		{"cancel", umeng.CancelResult{TaskID: "12"}.Envelope(), `{"ret":"SUCCESS","data":{"task_id":"12"}}`},
		{
			"status", umeng.Status{TaskID: "12", Status: umeng.Finished, TotalCount: 5, AcceptCount: 4, SentCount: 3, OpenCount: 2, DismissCount: 1}.Envelope(),
			`{"ret":"SUCCESS","data":{"task_id":"12","status":2,"total_count":5,"accept_count":4,"sent_count":3,"open_count":2,"dismiss_count":1}}`,
		},
		{"refusal", umeng.NewError(umeng.CodeSignature, "").Envelope(), `{"ret":"FAIL","data":{"error_code":"2027","error_msg":"signature mismatch"}}`},
	} {
		if string(tt.got) != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, tt.got, tt.want)
		}
	}
}

func TestTaskStates(t *testing.T) {
	final := []umeng.TaskState{umeng.Finished, umeng.Failed, umeng.Cancelled, umeng.Expired, umeng.NoAudience}
	names := map[string]bool{}
	for s := umeng.Queued; s <= umeng.Scheduled; s++ {
		names[s.String()] = true
		if s.Final() != slices.Contains(final, s) {
			t.Errorf("%v: final is %v", s, s.Final())
		}
	}
	if len(names) != 8 || umeng.TaskState(9).String() != "state 9" {
		t.Errorf("names: got %v and %v", names, umeng.TaskState(9))
	}
}
