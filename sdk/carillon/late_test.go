package carillon_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillonpush/carillon/sdk/carillon"
)

// push0 returns a call that answers a push, as what of it is compared.
func push0(do func(context.Context, *carillon.Client) (carillon.Push, error)) func(context.Context, *carillon.Client) (any, error) {
	return func(ctx context.Context, c *carillon.Client) (any, error) {
		p, err := do(ctx, c)
		return p.State, err
	}
}

func TestCallsOfWhenAndHow(t *testing.T) {
	name, at := "g", time.Date(2026, 11, 25, 8, 0, 0, 0, time.UTC)
	const recall = `{"stopped":4,"recalled":3,"confirmed":2,"too_late":1}`
	for _, tt := range []struct {
		name, answer string
		call         func(context.Context, *carillon.Client) (any, error)
		asked        string
		want         string // of the result, as JSON
	}{
		{"send an open push", `{"state":"open"}`, push0(func(ctx context.Context, c *carillon.Client) (carillon.Push, error) {
			return c.Send(ctx, "1", carillon.PushRequest{Open: true, Message: carillon.Message{Data: json.RawMessage(`1`)}}, nil)
		}), `POST /v1/apps/1/pushes {"message":{"data":1},"open":true}`, `"open"`},
		{
			"show a push that was taken back", `{"id":"5","schedule":"4","request_id":"r","template":"t","group":"g","name":"n","target":9,"recall":` + recall + `}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				r, err := c.ShowPush(ctx, "1", "5")
				return []any{r.ID, r.Schedule, r.RequestID, r.Template, r.Group, r.Name, r.Target, r.Recall}, err
			},
			`GET /v1/apps/1/pushes/5`, `["5","4","r","t","g","n",9,` + recall + `]`,
		},
		{
			"the push of a request", `{"id":"5"}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				r, err := c.ShowRequest(ctx, "1", "b#0")
				return []any{r.ID, r.Recall}, err
			},
			`GET /v1/apps/1/requests/b%230`, `["5",null]`,
		},
		{"pause", `{"state":"paused"}`, push0(func(ctx context.Context, c *carillon.Client) (carillon.Push, error) {
			return c.PausePush(ctx, "1", "5")
		}), `POST /v1/apps/1/pushes/5/pause`, `"paused"`},
		{"resume", `{"state":"sending"}`, push0(func(ctx context.Context, c *carillon.Client) (carillon.Push, error) {
			return c.ResumePush(ctx, "1", "5")
		}), `POST /v1/apps/1/pushes/5/resume`, `"sending"`},
		{"close", `{"state":"sending"}`, push0(func(ctx context.Context, c *carillon.Client) (carillon.Push, error) {
			return c.ClosePush(ctx, "1", "5")
		}), `POST /v1/apps/1/pushes/5/close`, `"sending"`},
		{
			"take back", recall,
			func(ctx context.Context, c *carillon.Client) (any, error) { return c.RecallPush(ctx, "1", "5") },
			`POST /v1/apps/1/pushes/5/recall`, recall,
		},
		{
			"take back from some", recall,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				return c.RecallPushFrom(ctx, "1", "5", "a", "b")
			},
			`POST /v1/apps/1/pushes/5/recall {"devices":["a","b"]}`, recall,
		},
		{
			"take back from none, which is not everybody", recall,
			func(ctx context.Context, c *carillon.Client) (any, error) { return c.RecallPushFrom(ctx, "1", "5") },
			`POST /v1/apps/1/pushes/5/recall {"devices":[]}`, recall,
		},
		{
			"add targets", `{"id":"5","state":"open","target":3,"added":2,"unknown":1}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				return c.AddTargets(ctx, "1", "5", carillon.Audience{Devices: []string{"a", "b", "x"}})
			},
			`POST /v1/apps/1/pushes/5/targets {"devices":["a","b","x"]}`, `{"id":"5","state":"open","target":3,"added":2,"unknown":1}`,
		},
		{
			"explain", `{"state":"dropped","steps":[{"step":"not_targeted","leaf":"and[1].tag","changed":true},{"time":"2026-11-25T08:00:00Z","step":"dropped","reason":"collapsed","channel":"own","push":"7"}]}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				a, err := c.ExplainPush(ctx, "1", "5", "a/b")
				return []any{a.State, a.Steps[0].Leaf, a.Steps[0].Changed, a.Steps[0].Time.IsZero(), a.Steps[1].Time, a.Steps[1].Reason, a.Steps[1].Push}, err
			},
			`GET /v1/apps/1/pushes/5/devices/a%2Fb`, `["dropped","and[1].tag",true,true,"2026-11-25T08:00:00Z","collapsed","7"]`,
		},
		{
			"list schedules", `{"items":[{"id":"5","every":"week","left":3,"next":"2026-11-25T08:00:00Z","request":{"message":{"data":1},"policy":{"ttl":"7d"}}}],"next":"5"}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				l, err := c.ListSchedules(ctx, "1", carillon.Page{Limit: 1})
				s := l.Items[0]
				return []any{s.ID, s.Every, s.Left, s.Next, string(s.Request.Message.Data), time.Duration(s.Request.Policy.TTL).Hours(), l.Next}, err
			},
			`GET /v1/apps/1/schedules?limit=1`, `["5","week",3,"2026-11-25T08:00:00Z","1",168,"5"]`,
		},
		{
			"show a schedule", `{"state":"active"}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				s, err := c.ShowSchedule(ctx, "1", "5")
				return s.State, err
			},
			`GET /v1/apps/1/schedules/5`, `"active"`,
		},
		{
			"change a schedule", `{"left":1}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				s, err := c.PatchSchedule(ctx, "1", "5", carillon.SchedulePatch{Policy: &carillon.Policy{StartAt: &at}})
				return s.Left, err
			},
			`PATCH /v1/apps/1/schedules/5 {"policy":{"start_at":"2026-11-25T08:00:00Z"}}`, `1`,
		},
		{
			"cancel a schedule", `{"state":"cancelled"}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				s, err := c.CancelSchedule(ctx, "1", "5")
				return s.State, err
			},
			`DELETE /v1/apps/1/schedules/5`, `"cancelled"`,
		},
		{
			"list occurrences", `{"items":[{"id":"6","schedule":"5","at":"2026-11-25T08:00:00Z","state":"waiting"}]}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				l, err := c.ListOccurrences(ctx, "1", "5", carillon.Page{})
				return []any{l.Items[0].ID, l.Items[0].Schedule, l.Items[0].At, l.Items[0].State}, err
			},
			`GET /v1/apps/1/schedules/5/occurrences`, `["6","5","2026-11-25T08:00:00Z","waiting"]`,
		},
		{
			"cancel an occurrence", `{"state":"cancelled"}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				o, err := c.CancelOccurrence(ctx, "1", "5", "6")
				return o.State, err
			},
			`DELETE /v1/apps/1/schedules/5/occurrences/6`, `"cancelled"`,
		},
		{
			"add a template", `{"name":"t","placeholders":["a"]}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				got, err := c.AddTemplate(ctx, "1", carillon.Template{Name: "t", Title: "#a#", Defaults: map[string]string{"a": "1"}, Placeholders: []string{"ignored"}})
				return got.Placeholders, err
			},
			`POST /v1/apps/1/templates {"name":"t","title":"#a#","defaults":{"a":"1"}}`, `["a"]`,
		},
		{
			"list templates", `{"items":[{"name":"t"}],"next":"t"}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				l, err := c.ListTemplates(ctx, "1", carillon.Page{Cursor: "a b"})
				return []any{l.Items[0].Name, l.Next}, err
			},
			`GET /v1/apps/1/templates?cursor=a+b`, `["t","t"]`,
		},
		{
			"show a template whose name needs escaping", `{"name":"a/b"}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				got, err := c.ShowTemplate(ctx, "1", "a/b")
				return got.Name, err
			},
			`GET /v1/apps/1/templates/a%2Fb`, `"a/b"`,
		},
		{
			"delete a template", ``,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				return nil, c.DeleteTemplate(ctx, "1", "t")
			},
			`DELETE /v1/apps/1/templates/t`, `null`,
		},
		{
			"preview a template", `{"title":"T","body":"B"}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				return c.PreviewTemplate(ctx, "1", "t", map[string]string{"a": "1"})
			},
			`POST /v1/apps/1/templates/t/preview {"values":{"a":"1"}}`, `{"title":"T","body":"B"}`,
		},
		{
			"list groups", `{"items":[{"name":"g","pushes":2,"target":5}]}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				l, err := c.ListGroups(ctx, "1", carillon.Page{})
				return []any{l.Items[0].Name, l.Items[0].Pushes, l.Items[0].Target}, err
			},
			`GET /v1/apps/1/groups`, `["g",2,5]`,
		},
		{
			"show a group", `{"name":"g","target":5,"days":[{"day":"2026-11-25","target":5}]}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				g, err := c.ShowGroup(ctx, "1", "g")
				return []any{g.Target, g.Days[0].Day, g.Days[0].Target}, err
			},
			`GET /v1/apps/1/groups/g`, `[5,"2026-11-25",5]`,
		},
		{
			"list topics", `{"items":[],"next":"x"}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				l, err := c.ListTopics(ctx, "1", carillon.Page{Limit: 9})
				return l.Next, err
			},
			`GET /v1/apps/1/topics?limit=9`, `"x"`,
		},
		{
			"show a topic", `{"pushes":1}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				g, err := c.ShowTopic(ctx, "1", "t")
				return g.Pushes, err
			},
			`GET /v1/apps/1/topics/t`, `1`,
		},
		{
			"sum up pushes", `{"items":[{"name":"g","day":"2026-11-25","pushes":1,"dropped":{"expired":2}}]}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				all, err := c.PushTotals(ctx, "1", carillon.TotalsQuery{By: "group", Name: &name, Days: carillon.Days{From: "2026-11-01", To: "2026-11-30"}, Daily: true})
				return []any{all[0].Day, all[0].Dropped}, err
			},
			`GET /v1/apps/1/reports/pushes?by=group&daily=true&from=2026-11-01&name=g&to=2026-11-30`, `["2026-11-25",{"expired":2}]`,
		},
		{
			"sum up all", `{"items":[]}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				return c.PushTotals(ctx, "1", carillon.TotalsQuery{})
			},
			`GET /v1/apps/1/reports/pushes`, `[]`,
		},
		{
			"devices by day", `{"items":[{"day":"2026-11-25","new":1,"removed":2,"active":3,"online_peak":4,"total":5,"cumulative":6}]}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				return c.DeviceDays(ctx, "1", carillon.Days{From: "2026-11-25"})
			},
			`GET /v1/apps/1/reports/devices?from=2026-11-25`, `[{"day":"2026-11-25","new":1,"removed":2,"active":3,"online_peak":4,"total":5,"cumulative":6}]`,
		},
		{
			"add a webhook", `{"id":"1","secret":"s"}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				w, err := c.AddWebhook(ctx, "1", "https://example.com", []string{"opened"})
				return []any{w.ID, w.Secret}, err
			},
			`POST /v1/apps/1/webhooks {"url":"https://example.com","events":["opened"]}`, `["1","s"]`,
		},
		{
			"list webhooks", `{"items":[{"id":"1","url":"u","events":[]}]}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				l, err := c.ListWebhooks(ctx, "1")
				return l.Items[0].URL, err
			},
			`GET /v1/apps/1/webhooks`, `"u"`,
		},
		{
			"delete a webhook", ``,
			func(ctx context.Context, c *carillon.Client) (any, error) { return nil, c.DeleteWebhook(ctx, "1", "2") },
			`DELETE /v1/apps/1/webhooks/2`, `null`,
		},
		{
			"dead batches", `{"items":[{"id":"9","attempts":3,"dead":true,"error":"answered 500","events":7}],"next":"9"}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				l, err := c.ListBatches(ctx, "1", "2", true, carillon.Page{Limit: 1})
				b := l.Items[0]
				return []any{b.ID, b.Attempts, b.Next.IsZero(), b.Dead, b.Error, b.Events, l.Next}, err
			},
			`GET /v1/apps/1/webhooks/2/batches?dead=true&limit=1`, `["9",3,true,true,"answered 500",7,"9"]`,
		},
		{
			"all batches", `{"items":[]}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				l, err := c.ListBatches(ctx, "1", "2", false, carillon.Page{})
				return len(l.Items), err
			},
			`GET /v1/apps/1/webhooks/2/batches`, `0`,
		},
		{
			"replay all", `{"replayed":3}`,
			func(ctx context.Context, c *carillon.Client) (any, error) { return c.ReplayWebhook(ctx, "1", "2") },
			`POST /v1/apps/1/webhooks/2/replay`, `3`,
		},
		{
			"replay some", `{"replayed":1}`,
			func(ctx context.Context, c *carillon.Client) (any, error) {
				return c.ReplayBatches(ctx, "1", "2", "9")
			},
			`POST /v1/apps/1/webhooks/2/replay {"batches":["9"]}`, `1`,
		},
		{
			"replay none, which is not all", `{"replayed":0}`,
			func(ctx context.Context, c *carillon.Client) (any, error) { return c.ReplayBatches(ctx, "1", "2") },
			`POST /v1/apps/1/webhooks/2/replay {"batches":[]}`, `0`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, c := serve(t, func(int, *http.Request) (int, string) { return 200, tt.answer })
			result, err := tt.call(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(<-f.asked, tt.asked); d != "" {
				t.Errorf("asked: got (-) want (+):\n%s", d)
			}
			got, err := json.Marshal(result)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestSendSaysItsRequestID(t *testing.T) {
	ids := make(chan string, 3)
	_, c := serve(t, func(_ int, r *http.Request) (int, string) {
		ids <- r.Header.Get("X-Request-Id")
		return 200, `{"items":[]}`
	})
	opts := &carillon.SendOptions{RequestID: "order-42"}
	if _, err := c.Send(t.Context(), "1", carillon.PushRequest{}, opts); err != nil {
		t.Fatal(err)
	}
	if _, err := c.SendBatch(t.Context(), "1", nil, opts); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Send(t.Context(), "1", carillon.PushRequest{}, nil); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"order-42", "order-42", ""} {
		if got := <-ids; got != want {
			t.Errorf("request id %q, want %q", got, want)
		}
	}
}
