package push_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/carillonpush/carillon/internal/push"
)

var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func ptr[T any](v T) *T { return &v }

// fieldOf returns what err blames, "" for none.
func fieldOf(err error) string {
	if e, ok := errors.AsType[*push.Error](err); ok {
		return e.Field
	}
	return ""
}

// nested returns JSON of n arrays in each other.
func nested(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

func TestRequestValidation(t *testing.T) {
	app := push.App{ID: 1, Name: "demo"}
	good := func() push.Request {
		return push.Request{
			App: 1, Audience: push.Audience{All: true},
			Message: push.Message{Notification: &push.Notification{Text: push.Text{Title: "t"}}},
		}
	}
	for _, tt := range []struct {
		name   string
		change func(*push.Request)
		field  string // "" means valid
	}{
		{"a plain broadcast", func(*push.Request) {}, ""},
		{"nobody is named", func(r *push.Request) { r.Audience = push.Audience{} }, "audience"},
		{"two audiences", func(r *push.Request) { r.Audience.Devices = []string{"a"} }, "audience"},
		{"an empty list of devices", func(r *push.Request) { r.Audience = push.Audience{Devices: []string{}} }, "audience.devices"},
		{"1,001 devices", func(r *push.Request) {
			r.Audience = push.Audience{Devices: strings.Split(strings.Repeat("a,", 1000)+"a", ",")}
		}, "audience.devices"},
		{"an empty device", func(r *push.Request) { r.Audience = push.Audience{Devices: []string{"a", ""}} }, "audience.devices[1]"},
		{"a file of nothing", func(r *push.Request) { r.Audience = push.Audience{File: "f"} }, "audience.of"},
		{"no message", func(r *push.Request) { r.Message = push.Message{} }, "message"},
		{"a notification without text", func(r *push.Request) { r.Message.Notification.Title = "" }, "message.notification.title"},
		{"text that is not UTF-8", func(r *push.Request) { r.Message.Notification.Body = "\xff" }, "message.notification.body"},
		{"a click without its URL", func(r *push.Request) {
			r.Message.Notification.Click = &push.Click{Action: push.ClickURL}
		}, "message.notification.click.url"},
		{"an unknown click action", func(r *push.Request) {
			r.Message.Notification.Click = &push.Click{Action: "dance"}
		}, "message.notification.click.action"},
		{"a badge that sets and adds", func(r *push.Request) {
			r.Message.Notification.Badge = &push.Badge{Set: ptr(1), Add: ptr(1)}
		}, "message.notification.badge"},
		{"a window that ends before it begins", func(r *push.Request) {
			r.Message.Notification.ShowFrom, r.Message.Notification.ShowUntil = ptr(now), ptr(now.Add(-time.Second))
		}, "message.notification.show_until"},
		{"apns that is no object", func(r *push.Request) { r.Message.APNS = json.RawMessage(`[1]`) }, "message.apns"},
		{"an offline notification with a click without its URL", func(r *push.Request) {
			r.Message.Offline = &push.Notification{Click: &push.Click{Action: push.ClickURL}}
		}, "message.offline.click.url"},
		{"a variant that is not JSON", func(r *push.Request) {
			r.Message.Variants = map[push.Platform]*push.Variant{push.IOS: {Extras: map[string]json.RawMessage{"a": json.RawMessage("{")}}}
		}, "message.platforms.ios.extras.a"},
		{"a variant with text that is not UTF-8", func(r *push.Request) {
			r.Message.Variants = map[push.Platform]*push.Variant{push.IOS: {Notification: &push.Notification{Text: push.Text{Title: "\xff"}}}}
		}, "message.platforms.ios.notification.title"},
		{"vendor hints that are no object", func(r *push.Request) {
			r.Message.Vendors = map[string]json.RawMessage{"hms": json.RawMessage(`1`)}
		}, "message.vendors.hms"},
		{"a message above the limit", func(r *push.Request) {
			r.Message.Notification.Body = strings.Repeat("x", push.MaxMessage)
		}, "message"},
		{"a start in the past", func(r *push.Request) { r.Policy.StartAt = ptr(now) }, "policy.start_at"},
		{"a start in more than a year", func(r *push.Request) { r.Policy.StartAt = ptr(now.Add(367 * 24 * time.Hour)) }, "policy.start_at"},
		{"an expiry before the start", func(r *push.Request) {
			r.Policy.StartAt, r.Policy.ExpireAt = ptr(now.Add(time.Hour)), ptr(now.Add(time.Minute))
		}, "policy.expire_at"},
		{"ttl and expiry", func(r *push.Request) {
			r.Policy.TTL, r.Policy.ExpireAt = push.Duration(time.Hour), ptr(now.Add(time.Minute))
		}, "policy.expire_at"},
		{"a ttl above the app's", func(r *push.Request) { r.Policy.TTL = push.Duration(31 * 24 * time.Hour) }, "policy.ttl"},
		{"a ttl below a second", func(r *push.Request) { r.Policy.TTL = 1 }, "policy.ttl"},
		{"a negative rate", func(r *push.Request) { r.Policy.Rate = -1 }, "policy.rate"},
		{"a collapse id with a space", func(r *push.Request) { r.Policy.CollapseID = "a b" }, "policy.collapse_id"},
		{"a target with NUL", func(r *push.Request) { r.Audience = push.Audience{Devices: []string{"a\x00"}} }, "audience.devices[0]"},
		{"a platform twice", func(r *push.Request) { r.Audience.Platforms = []push.Platform{push.IOS, push.IOS} }, "audience.platforms"},
		{"an alias type that is not UTF-8", func(r *push.Request) {
			r.Audience = push.Audience{Aliases: &push.Aliases{Type: "\xff", Values: []string{"a"}}}
		}, "audience.aliases.type"},
		{"a file of a long alias type", func(r *push.Request) {
			r.Audience = push.Audience{File: "f", Of: &push.FileOf{Alias: strings.Repeat("a", 129)}}
		}, "audience.of"},
		{"an expression with a long tag", func(r *push.Request) {
			w := push.And(push.Is(push.WhereTag("a")), push.Not(push.Is(push.WhereTag(strings.Repeat("a", 129)))))
			r.Audience = push.Audience{Where: &w}
		}, "audience.where.and[1].not.tag"},
		{"a template, with a notification for the rest", func(r *push.Request) {
			r.Message.Template = &push.TemplateUse{Name: "t"}
			r.Message.Notification = &push.Notification{Placement: push.Placement{ChannelID: "c"}}
		}, ""},
		{"a recall with extras", func(r *push.Request) {
			r.Message = push.Message{Recall: 7, Extras: map[string]json.RawMessage{"a": json.RawMessage(`1`)}}
		}, "message.recall"},
		{"text with NUL", func(r *push.Request) { r.Message.Notification.Body = "a\x00b" }, "message.notification.body"},
		{"a sound that is not UTF-8", func(r *push.Request) { r.Message.Notification.Sound = ptr("\xff") }, "message.notification.sound"},
		{"a line that is not UTF-8", func(r *push.Request) { r.Message.Notification.Lines = []string{"a", "\xff"} }, "message.notification.lines"},
		{"data that is not UTF-8", func(r *push.Request) { r.Message.Data = json.RawMessage("\"\xff\"") }, "message.data"},
		{"data that is not JSON", func(r *push.Request) { r.Message.Data = json.RawMessage(`{`) }, "message.data"},
		{"data as deep as it may be", func(r *push.Request) { r.Message.Data = json.RawMessage(nested(push.MaxDepth)) }, ""},
		{"data that is too deep", func(r *push.Request) { r.Message.Data = json.RawMessage(nested(push.MaxDepth + 1)) }, "message.data"},
		{"data with many brackets in a string", func(r *push.Request) {
			r.Message.Data = json.RawMessage(`"\"` + strings.Repeat("[", 1000) + `"`)
		}, ""},
		{"extras that are not JSON", func(r *push.Request) {
			r.Message.Extras = map[string]json.RawMessage{"a": json.RawMessage(`x`)}
		}, "message.extras.a"},
		{"an extra's name that is not UTF-8", func(r *push.Request) {
			r.Message.Extras = map[string]json.RawMessage{"\xff": json.RawMessage(`1`)}
		}, "message.extras"},
		{"apns that is too deep", func(r *push.Request) {
			r.Message.APNS = json.RawMessage(`{"aps":` + nested(push.MaxDepth) + `}`)
		}, "message.apns"},
		{"a vendor's name with a space", func(r *push.Request) {
			r.Message.Vendors = map[string]json.RawMessage{"h ms": json.RawMessage(`{}`)}
		}, "message.vendors"},
		{"values for a nameless device", func(r *push.Request) {
			r.Message.Template = &push.TemplateUse{Name: "t"}
			r.Message.Personal = map[string]map[string]string{"": {"a": "b"}}
		}, "message.personal"},
		{"a personal value that is not UTF-8", func(r *push.Request) {
			r.Message.Template = &push.TemplateUse{Name: "t"}
			r.Message.Personal = map[string]map[string]string{"d": {"a": "\xff"}}
		}, "message.personal.d.a"},
		{"custom that is not JSON", func(r *push.Request) {
			r.Message.Notification.Click = &push.Click{Action: push.ClickCustom, Custom: json.RawMessage(`{`)}
		}, "message.notification.click.custom"},
		{"a badge beyond 32 bits", func(r *push.Request) {
			r.Message.Notification.Badge = &push.Badge{Add: ptr(-1 << 31)}
		}, "message.notification.badge.add"},
		{"a style beyond 32 bits", func(r *push.Request) { r.Message.Notification.Style = 1 << 31 }, "message.notification.style"},
		{"an importance of 5", func(r *push.Request) { r.Message.Notification.Importance = ptr(5) }, "message.notification.importance"},
		{"an unknown layout", func(r *push.Request) { r.Message.Notification.Layout = "round" }, "message.notification.layout"},
		{"no repetition", func(r *push.Request) { r.Message.Notification.Repeat = &push.Repeat{} }, "message.notification.repeat.times"},
		{"a time that JSON does not know", func(r *push.Request) {
			r.Message.Notification.ShowUntil = ptr(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC))
		}, "message"},
		{"a rate beyond 32 bits", func(r *push.Request) { r.Policy.Rate = 1 << 31 }, "policy.rate"},
		{"a label that is not UTF-8", func(r *push.Request) { r.Policy.Topic = "\xff" }, "policy.topic"},
		{"a label with NUL", func(r *push.Request) { r.Policy.Category = "\x00" }, "policy.category"},
		{"a deadline for nothing", func(r *push.Request) { r.Policy.Deadline = push.Duration(time.Minute) }, "policy.deadline"},
		{"own first, with a deadline", func(r *push.Request) {
			r.Policy.Channels, r.Policy.Deadline = "own_first", push.Duration(time.Minute)
		}, ""},
		{"an unknown channel", func(r *push.Request) { r.Policy.Only = []string{"own", "pigeon"} }, "policy.only"},
		{"a text message without a template", func(r *push.Request) { r.Policy.SMS = &push.SMS{} }, "policy.sms.template"},
		{"a text message next year", func(r *push.Request) {
			r.Policy.SMS = &push.SMS{Template: "t", After: push.Duration(365 * 24 * time.Hour)}
		}, "policy.sms.after"},
		{"a text message with long values", func(r *push.Request) {
			r.Policy.SMS = &push.SMS{Template: "t", Values: map[string]string{"a": strings.Repeat("x", push.MaxSMSValues)}}
		}, "policy.sms.values"},
		{"Mondays and Sundays", func(r *push.Request) {
			r.Policy.Recurring = &push.Recurring{Every: "week", On: []int{1, 7}, At: "09:45:11", From: now, Until: now.Add(240 * time.Hour)}
		}, ""},
		{"the eighth day of the week", func(r *push.Request) {
			r.Policy.Recurring = &push.Recurring{Every: "week", On: []int{8}, At: "09:45:11", From: now, Until: now}
		}, "policy.recurring.on"},
		{"a quarter to ten", func(r *push.Request) {
			r.Policy.Recurring = &push.Recurring{Every: "day", At: "9:45", From: now, Until: now}
		}, "policy.recurring.at"},
		{"a key with NUL", func(r *push.Request) { r.Key.Value = "a\x00" }, "key"},
		{"a label of 257 bytes", func(r *push.Request) { r.Policy.Group = strings.Repeat("g", 257) }, "policy.group"},
		{"a key of 257 bytes", func(r *push.Request) { r.Key.Value = strings.Repeat("k", 257) }, "key"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := good()
			tt.change(&r)
			err := r.Validate(now, app)
			if (err == nil) != (tt.field == "") || fieldOf(err) != tt.field {
				t.Fatalf("got %v (field %q), want field %q", err, fieldOf(err), tt.field)
			}
			want := push.Invalid
			if tt.field == "message" && strings.Contains(tt.name, "above the limit") {
				want = push.TooLarge
			}
			if err != nil && !errors.Is(err, want) {
				t.Errorf("got kind %v, want %v", push.KindOf(err), want)
			}
		})
	}
}

func TestPolicyTimes(t *testing.T) {
	start := now.Add(time.Hour)
	for _, tt := range []struct {
		name   string
		policy push.Policy
		want   time.Time
	}{
		{"the default is 72 hours from now", push.Policy{}, now.Add(72 * time.Hour)},
		{"ttl counts from the start", push.Policy{StartAt: &start, TTL: push.Duration(time.Minute)}, start.Add(time.Minute)},
		{"an expiry stands for itself", push.Policy{StartAt: &start, ExpireAt: ptr(now.Add(5 * time.Hour))}, now.Add(5 * time.Hour)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.policy.Expiry(now); !got.Equal(tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestDurations(t *testing.T) {
	for _, tt := range []struct {
		text string
		want time.Duration
		ok   bool
	}{
		{"90s", 90 * time.Second, true},
		{"72h", 72 * time.Hour, true},
		{"7d", 7 * 24 * time.Hour, true},
		{"", 0, true},
		{"-1s", 0, false},
		{"7 days", 0, false},
		{"99999999d", 0, false},
		{"d", 0, false},
	} {
		t.Run(tt.text, func(t *testing.T) {
			got, err := push.ParseDuration(tt.text)
			if got != tt.want || (err == nil) != tt.ok {
				t.Errorf("got %v, %v, want %v, ok %v", got, err, tt.want, tt.ok)
			}
		})
	}
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(0, 1<<53).Draw(t, "d"))
		if got, err := push.ParseDuration(push.FormatDuration(d)); err != nil || got != d {
			t.Fatalf("%v became %v, %v", d, got, err)
		}
	})
}

func TestIDs(t *testing.T) {
	for _, bad := range []string{"", "0", "-1", "+1", "01", "1.0", "x", "9223372036854775808", " 1"} {
		if id, err := push.ParseID(bad); !errors.Is(err, push.NotFound) || id != 0 {
			t.Errorf("%q: got %v, %v, want not found", bad, id, err)
		}
	}
	if id, err := push.ParseID("9223372036854775807"); err != nil || id.String() != "9223372036854775807" {
		t.Errorf("got %v, %v", id, err)
	}
	b, err := json.Marshal(map[string]push.ID{"id": 42})
	if err != nil || string(b) != `{"id":"42"}` {
		t.Errorf("got %s, %v, want a string", b, err)
	}
}

func TestWhatWasDeliveredWasNotDropped(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m push.Marked
		for _, x := range rapid.SliceOf(rapid.Uint8Range(0, 28)).Draw(t, "marks") {
			m = m.With(push.Mark(x))
		}
		drop, dropped := m.Dropped()
		if m.Has(push.MarkDelivered) && dropped {
			t.Fatal("delivered and dropped")
		}
		if dropped && (!m.Has(drop) || drop.Reason() == "") {
			t.Fatalf("dropped under %d, which is not marked or has no name", drop)
		}
		any := false
		for _, d := range push.Drops() {
			any = any || m.Has(d)
		}
		if !m.Has(push.MarkDelivered) && any != dropped {
			t.Fatalf("marked as dropped %v, counts as dropped %v", any, dropped)
		}
	})
}

func TestFingerprintIsOfWhatIsAskedFor(t *testing.T) {
	base := push.Request{App: 1, Audience: push.Audience{All: true}, Message: push.Message{Data: json.RawMessage(`{"a":1}`)}}
	same := base
	same.Key, same.Origin, same.RequestID = push.Key{Namespace: "rest", Value: "k"}, "", ""
	other := base
	other.Policy.Rate = 7
	if base.Fingerprint() != same.Fingerprint() {
		t.Error("a key changes the fingerprint")
	}
	if base.Fingerprint() == other.Fingerprint() {
		t.Error("another policy has the same fingerprint")
	}
}

func TestPayloadIsTheDocumentedObject(t *testing.T) {
	p := push.Push{
		ID: 187649984473770, Created: now, Expires: now.Add(72 * time.Hour),
		Request: push.Request{Message: push.Message{
			Notification: &push.Notification{
				Text: push.Text{Title: "开门", Body: "ready"}, Click: &push.Click{Action: "url", URL: "https://example.com/"},
				Alert: push.Alert{Sound: ptr("")},
			},
			Data:    json.RawMessage(`{"n":12345678901234567890}`),
			Extras:  map[string]json.RawMessage{"order": json.RawMessage(`"42"`)},
			Vendors: map[string]json.RawMessage{"hms": json.RawMessage(`{"secret":true}`)},
		}},
	}
	b, err := p.Payload()
	if err != nil {
		t.Fatal(err)
	}
	want := `{"id":"187649984473770","time":"2026-11-24T12:00:00Z","expires":"2026-11-27T12:00:00Z",` +
		`"notification":{"title":"开门","body":"ready","sound":"","click":{"action":"url","url":"https://example.com/"}},` +
		`"data":{"n":12345678901234567890},"extras":{"order":"42"}}`
	if string(b) != want {
		t.Errorf("got  %s\nwant %s", b, want)
	}
	p.Request.Message = push.Message{Recall: 7}
	if b, err := p.Payload(); err != nil || string(b) != `{"id":"187649984473770","recall":"7"}` {
		t.Errorf("recall: got %s, %v", b, err)
	}
}

func TestSettings(t *testing.T) {
	for _, tt := range []struct {
		key, value string
		ok         bool
	}{
		{"umeng.require_ticker", "false", true},
		{"umeng.require_ticker", "no", false},
		{"push.max_ttl", "7d", true},
		{"push.max_ttl", "31d", false},
		{"ip_allow", "10.0.0.0/8, ::1", true},
		{"ip_allow", "10.0.0.0/99", false},
		{"inbox.limit", "0", false},
		{"no.such", "1", false},
	} {
		t.Run(tt.key+"="+tt.value, func(t *testing.T) {
			err := push.Settings{tt.key: tt.value}.Validate()
			if (err == nil) != tt.ok {
				t.Fatalf("got %v, want ok %v", err, tt.ok)
			}
			if err != nil && fieldOf(err) != tt.key {
				t.Errorf("got field %q, want %q", fieldOf(err), tt.key)
			}
		})
	}
	for _, s := range push.Catalogue() {
		if err := (push.Settings{s.Key: s.Default}).Validate(); err != nil {
			t.Errorf("the default of %s: %v", s.Key, err)
		}
	}
}

func TestDeviceValidation(t *testing.T) {
	good := func() push.Registration {
		return push.Registration{Platform: push.Android, InstallID: "0123456789abcdef"}
	}
	for _, tt := range []struct {
		name   string
		change func(*push.Registration)
		field  string
	}{
		{"a plain one", func(*push.Registration) {}, ""},
		{"no platform", func(r *push.Registration) { r.Platform = 0 }, "platform"},
		{"a short install id", func(r *push.Registration) { r.InstallID = "short" }, "install_id"},
		{"an attribute with a space in its name", func(r *push.Registration) {
			r.Attributes = map[string]string{"a b": "1"}
		}, "attributes.a b"},
		{"a long attribute", func(r *push.Registration) {
			r.Attributes = map[string]string{"city": strings.Repeat("x", 257)}
		}, "attributes.city"},
		{"an attribute with NUL", func(r *push.Registration) { r.Attributes = map[string]string{"city": "\x00"} }, "attributes.city"},
		{"a token that is not UTF-8", func(r *push.Registration) { r.Tokens = map[string]push.Token{"hms": {Token: "\xff"}} }, "tokens.hms"},
		{"a token of an unknown channel", func(r *push.Registration) { r.Tokens = map[string]push.Token{"pigeon": {Token: "t"}} }, "tokens.pigeon"},
		{"half a web push subscription", func(r *push.Registration) {
			r.Tokens = map[string]push.Token{"webpush": {Web: "https://example.com"}}
		}, "tokens.webpush"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := good()
			tt.change(&r)
			if err := r.Validate(); (err == nil) != (tt.field == "") || fieldOf(err) != tt.field {
				t.Errorf("got %v (field %q), want field %q", err, fieldOf(err), tt.field)
			}
		})
	}
	var tokens map[string]push.Token
	if err := json.Unmarshal([]byte(`{"hms":"abc","apns":{"token":"def","env":"sandbox"}}`), &tokens); err != nil {
		t.Fatal(err)
	}
	if want := map[string]push.Token{"hms": {Token: "abc"}, "apns": {Token: "def", Env: "sandbox"}}; !cmp.Equal(tokens, want) {
		t.Errorf("got %v, want %v", tokens, want)
	}
}

func TestErrorsKeepTheirKindThroughRooms(t *testing.T) {
	cause := errors.New("disk on fire")
	inner := &push.Error{Kind: push.TooMany, Field: "policy.rate", Msg: "slow down", RetryAfter: time.Second, Err: cause}
	err := push.Wrap("outer", fmt.Errorf("between: %w", inner))
	e, ok := errors.AsType[*push.Error](err)
	if !ok || e.Op != "outer" || e.Kind != push.TooMany || e.Field != "policy.rate" || e.RetryAfter != time.Second {
		t.Errorf("got %#v", e)
	}
	if !errors.Is(err, push.TooMany) || errors.Is(err, push.NotFound) || !errors.Is(err, cause) {
		t.Errorf("kind or cause is lost in %v", err)
	}
	if push.Wrap("x", nil) != nil {
		t.Error("nil became an error")
	}
	if k := push.KindOf(push.Wrap("x", cause)); k != push.Internal {
		t.Errorf("a foreign error has kind %v, want internal", k)
	}
}

func TestTimeZones(t *testing.T) {
	for _, tt := range []struct {
		zone string
		ok   bool
	}{{"Asia/Shanghai", true}, {"UTC", true}, {"Local", false}, {"Mars/Olympus", false}} {
		if err := (push.App{Name: "a", TimeZone: tt.zone}).Validate(); (err == nil) != tt.ok {
			t.Errorf("%s: got %v, want ok %v", tt.zone, err, tt.ok)
		}
	}
	for _, name := range []string{"", "1", "a/b", "a\nb", strings.Repeat("x", 65)} {
		if err := (push.App{Name: name, TimeZone: "UTC"}).Validate(); fieldOf(err) != "name" {
			t.Errorf("%q: got %v, want name refused", name, err)
		}
	}
}
