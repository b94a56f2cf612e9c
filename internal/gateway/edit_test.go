package gateway_test

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillonpush/carillon/internal/gateway"
	"github.com/carillonpush/carillon/internal/mqtt"
	"github.com/carillonpush/carillon/internal/push"
)

// labels is gateway.Labels in memory, with its contract. It notes the edits in the order in which they were made, and
// whether two of one device ever were under way at a time.
type labels struct {
	mu      sync.Mutex // guards what follows
	devices map[push.Ordinal]*push.Device
	made    map[push.Ordinal][]string
	busy    map[push.Ordinal]bool
	overlap bool
	gone    map[push.Ordinal]bool              // that were removed
	before  func(push.Ordinal, push.LabelEdit) // called before an edit is made; it may wait
	fail    func(push.LabelEdit) error         // says that an edit is not made
}

const mostTags = 3 // of one device

func newLabels() *labels {
	return &labels{
		devices: map[push.Ordinal]*push.Device{}, made: map[push.Ordinal][]string{}, busy: map[push.Ordinal]bool{},
		gone: map[push.Ordinal]bool{},
	}
}

func (l *labels) Relabel(ctx context.Context, ref push.Ref, e push.LabelEdit) error {
	if err := e.Validate(); err != nil {
		return err
	}
	l.mu.Lock()
	l.overlap = l.overlap || l.busy[ref.Ordinal]
	l.busy[ref.Ordinal] = true
	before := l.before
	l.mu.Unlock()
	if before != nil {
		before(ref.Ordinal, e)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy[ref.Ordinal] = false
	if l.fail != nil {
		if err := l.fail(e); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return push.Wrap("labels.Relabel", err)
	}
	if l.gone[ref.Ordinal] {
		return &push.Error{Kind: push.NotFound, Msg: "no such device"}
	}
	was := l.devices[ref.Ordinal]
	if was == nil {
		was = &push.Device{}
	}
	d, err := edited(*was, e)
	if err != nil {
		return err
	}
	l.devices[ref.Ordinal] = &d
	l.made[ref.Ordinal] = append(l.made[ref.Ordinal], gateway.ShowEdit(&e))
	return nil
}

// SetNetwork waits and fails as Relabel does, with an edit that names nothing.
func (l *labels) SetNetwork(ctx context.Context, ref push.Ref, n push.Network) error {
	l.mu.Lock()
	l.overlap = l.overlap || l.busy[ref.Ordinal]
	l.busy[ref.Ordinal] = true
	before := l.before
	l.mu.Unlock()
	if before != nil {
		before(ref.Ordinal, push.LabelEdit{})
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy[ref.Ordinal] = false
	switch {
	case ctx.Err() != nil:
		return push.Wrap("labels.SetNetwork", ctx.Err())
	case l.gone[ref.Ordinal]:
		return &push.Error{Kind: push.NotFound, Msg: "no such device"}
	}
	l.made[ref.Ordinal] = append(l.made[ref.Ordinal], "on "+string(n))
	return nil
}

// edited returns d after e.
func edited(d push.Device, e push.LabelEdit) (push.Device, error) {
	if e.All == push.AllTags {
		d.Tags = nil
	}
	if e.All == push.AllAliases {
		d.Aliases = nil
	}
	if e.Tags != nil {
		d.Tags = change(d.Tags, e.Op, e.Tags)
		slices.Sort(d.Tags)
		if len(d.Tags) > mostTags {
			return d, &push.Error{Kind: push.TooMany, Field: "tags", Msg: fmt.Sprint("at most ", mostTags)}
		}
	}
	op := e.Op
	if op == push.Put {
		op = push.Add // of an alias it is the other owners who change
	}
	d.Aliases = change(d.Aliases, op, e.Aliases)
	if e.Account != nil {
		d.Account = *e.Account
	}
	if e.Attributes != nil && (e.Op == push.Put || d.Attributes == nil) {
		d.Attributes = map[string]string{}
	}
	d.Attributes = maps.Clone(d.Attributes)
	for k, v := range e.Attributes {
		d.Attributes[k] = v
		if v == "" || e.Op == push.Delete {
			delete(d.Attributes, k)
		}
	}
	return d, nil
}

func change[T comparable](all []T, op push.EditOp, named []T) []T {
	if op == push.Put {
		return slices.Clone(named)
	}
	all = slices.DeleteFunc(slices.Clone(all), func(v T) bool { return slices.Contains(named, v) })
	if op == push.Add {
		all = append(all, named...)
	}
	return all
}

// device returns what is known of a device.
func (l *labels) device(o push.Ordinal) push.Device {
	l.mu.Lock()
	defer l.mu.Unlock()
	if d := l.devices[o]; d != nil {
		return *d
	}
	return push.Device{}
}

func (l *labels) edits(o push.Ordinal) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.made[o])
}

func TestParseEdit(t *testing.T) {
	const alias, tags, account, attributes = "device/alias", "device/tags", "device/account", "device/attributes"
	long := strings.Repeat("x", 129)
	for _, tt := range []struct {
		name, topic, in string
		want            string // the edit, or the path of what is wrong and a colon
	}{
		{"an alias of its own", alias, `{"op":"put","type":"uid","value":"42"}`, `put aliases [{"uid" "42"}]`},
		{"one more owner of an alias", alias, `{"value":"42","type":"uid","op":"add"}`, `add aliases [{"uid" "42"}]`},
		{"an alias without a type", alias, `{"op":"put","value":"42"}`, `put aliases [{"" "42"}]`},
		{"one alias less", alias, `{"op":"delete","type":"uid","value":"42"}`, `delete aliases [{"uid" "42"}]`},
		{"all aliases less", alias, `{"op":"delete"}`, `delete all aliases`},
		{"delete of a type, without a value", alias, `{"op":"delete","type":"uid"}`, `value:`},
		{"no value", alias, `{"op":"put","type":"uid"}`, `value:`},
		{"an empty value", alias, `{"op":"delete","value":""}`, `value:`},
		{"a value too long", alias, `{"op":"put","value":"` + long + `"}`, `value:`},
		{"a type too long", alias, `{"op":"put","type":"` + long + `","value":"42"}`, `type:`},
		{"a number for a value", alias, `{"op":"put","value":42}`, `value:`},
		{"null for a type", alias, `{"op":"put","type":null,"value":"42"}`, `type:`},
		{"a list of aliases", alias, `{"op":"put","aliases":[{"value":"42"}]}`, `value:`},

		{"the only tags", tags, `{"op":"put","tags":["b","a"]}`, `put tags ["b" "a"]`},
		{"no tags at all", tags, ` { "op" : "put" , "tags" : [ ] } `, `delete all tags`},
		{"more tags", tags, `{"op":"add","tags":["vip"]}`, `add tags ["vip"]`},
		{"fewer tags", tags, `{"op":"delete","tags":["vip"]}`, `delete tags ["vip"]`},
		{"all tags less", tags, `{"op":"delete"}`, `delete all tags`},
		{"delete of an empty list is not delete of all", tags, `{"op":"delete","tags":[]}`, `tags:`},
		{"delete of null is not delete of all", tags, `{"op":"delete","tags":null}`, `tags:`},
		{"add of an empty list", tags, `{"op":"add","tags":[]}`, `tags:`},
		{"no list", tags, `{"op":"put"}`, `tags:`},
		{"a tag that is a list", tags, `{"op":"add","tags":[["vip"]]}`, `tags[0]:`},
		{"null for a tag", tags, `{"op":"add","tags":["vip",null]}`, `tags[1]:`},
		{"a text for the list", tags, `{"op":"add","tags":"vip"}`, `tags:`},
		{"an empty tag", tags, `{"op":"add","tags":["vip",""]}`, `tags[1]:`},
		{"a tag of 128 characters", tags, `{"op":"add","tags":["` + strings.Repeat("京", 128) + `"]}`, `add tags ["` + strings.Repeat("京", 128) + `"]`},
		{"a tag of 129 characters", tags, `{"op":"add","tags":["` + strings.Repeat("京", 129) + `"]}`, `tags[0]:`},
		{"a tag with NUL", tags, `{"op":"add","tags":["a\u0000"]}`, `tags[0]:`},

		{"a login", account, `{"op":"put","account":"ann"}`, `put account "ann"`},
		{"another way to say it", account, `{"op":"add","account":"ann"}`, `add account "ann"`},
		{"a logout", account, `{"op":"delete"}`, `delete account ""`},
		{"a logout that names the account", account, `{"op":"delete","account":"ann"}`, `delete account "ann"`},
		{"a login of nobody", account, `{"op":"put","account":""}`, `account:`},
		{"a login without a name", account, `{"op":"put"}`, `account:`},
		{"a logout of a number", account, `{"op":"delete","account":1}`, `account:`},

		{"the only attributes", attributes, `{"op":"put","attributes":{"a":"1","b":"2"}}`, `put attributes map["a":"1" "b":"2"]`},
		{"no attributes at all", attributes, `{"op":"put","attributes":{}}`, `put attributes map[]`},
		{"another attribute", attributes, `{"op":"add","attributes":{"language":"zh","x":""}}`, `add attributes map["language":"zh" "x":""]`},
		{"one attribute less", attributes, `{"op":"delete","attributes":{"language":""}}`, `delete attributes map["language":""]`},
		{"delete of no attribute", attributes, `{"op":"delete"}`, `attributes:`},
		{"add of no attribute", attributes, `{"op":"add","attributes":{}}`, `attributes:`},
		{"a number for an attribute", attributes, `{"op":"add","attributes":{"b":"1","a":1}}`, `attributes.a:`},
		{"an attribute twice", attributes, `{"op":"add","attributes":{"a":"1","a":"2"}}`, `attributes.a:`},
		{"an attribute with an odd name", attributes, `{"op":"add","attributes":{"a b":"1"}}`, `attributes.a b:`},
		{"an attribute with a long value", attributes, `{"op":"add","attributes":{"a":"` + long + long + `"}}`, `attributes.a:`},
		{"a list for attributes", attributes, `{"op":"add","attributes":["a"]}`, `attributes:`},

		{"a pair of surrogates", tags, `{"op":"add","tags":["\ud83d\ude00"]}`, `add tags ["😀"]`},
		{"an escape that only looks like half of a pair", tags, `{"op":"add","tags":["\\ud83d"]}`, `add tags ["\\ud83d"]`},
		{"U+FFFD, which is a character", tags, `{"op":"add","tags":["\ufffd"]}`, `add tags ["�"]`},
		{"the second half of a pair", tags, `{"op":"add","tags":["vip","\udfff"]}`, `tags[1]:`},
		{"the first half of a pair", account, `{"op":"put","account":"x\ud83d"}`, `account:`},
		{"a half of a pair before a character", alias, `{"op":"put","value":"\ud83dxxxxxxxx"}`, `value:`},
		{"a pair the wrong way round", alias, `{"op":"put","type":"\ude00\ud83d","value":"42"}`, `type:`},
		{"a half of a pair behind another", attributes, `{"op":"add","attributes":{"a":"\ud83d\ud83d\ude00"}}`, `attributes.a:`},
		{"a half of a pair for a name", attributes, `{"op":"add","attributes":{"\ud83d":"1"}}`, `attributes:`},

		{"no op", tags, `{"tags":["vip"]}`, `op:`},
		{"an unknown op", tags, `{"op":"PUT","tags":["vip"]}`, `op:`},
		{"null for an op", tags, `{"op":null,"tags":["vip"]}`, `op:`},
		{"an unknown field", tags, `{"op":"add","tags":["vip"],"more":1}`, `more:`},
		{"a field in another case", tags, `{"op":"add","Tags":["vip"],"tags":["vip"]}`, `Tags:`},
		{"a field of another topic", account, `{"op":"put","account":"ann","tags":["vip"]}`, `tags:`},
		{"an unknown field that is not shown", tags, `{"op":"add","tags":["vip"],"a\u0000":1}`, `:`},
		{"a field twice", tags, `{"op":"add","tags":["a"],"tags":["b"]}`, `tags:`},
		{"more behind it", tags, `{"op":"delete"} {}`, `:`},
		{"cut off", tags, `{"op":"delete"`, `:`},
		{"no object", tags, `["delete"]`, `:`},
		{"nothing", tags, ``, `:`},
		{"not UTF-8", tags, "{\"op\":\"add\",\"tags\":[\"a\xff\"]}", `:`},
		{"too long", tags, `{"op":"delete"` + strings.Repeat(" ", 4096) + `}`, `:`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, err := gateway.ParseEdit(tt.topic, []byte(tt.in))
			var got string
			if err == nil {
				if got = gateway.ShowEdit(e); !e.ByDevice {
					t.Error("not marked as what the device says itself")
				}
			} else if pe, ok := err.(*push.Error); ok && pe.Kind == push.Invalid && pe.Msg != "" {
				got = pe.Field + ":"
			}
			if got != tt.want {
				t.Errorf("got %s (%v), want %s", got, err, tt.want)
			}
		})
	}
}

// edit publishes an edit at QoS 1.
func (c *client) edit(topic, payload string, id uint16) {
	c.tb.Helper()
	c.write(&mqtt.Publish{Topic: topic, QoS: 1, PacketID: id, Payload: []byte(payload)})
}

// done checks that a PUBLISH was acknowledged with a reason, and why.
func (c *client) done(id uint16, reason mqtt.ReasonCode, why string) {
	c.tb.Helper()
	a, said := next[*mqtt.Ack](c), ""
	if a.Props != nil {
		said = a.Props.ReasonString
	}
	if a.PacketID != id || a.Reason != reason || said != why {
		c.tb.Errorf("got PUBACK %d, %v, %q; want %d, %v, %q", a.PacketID, a.Reason, said, id, reason, why)
	}
}

func TestLabelsAreEdited(t *testing.T) {
	everyWay(t, nil, func(t *testing.T, h *house, dial func() *client) {
		h.device("dev", 7)
		c := dial().connect("dev", nil)
		for i, e := range []struct{ topic, payload string }{
			{"device/tags", `{"op":"put","tags":["vip","old"]}`},
			{"device/tags", `{"op":"delete","tags":["old"]}`},
			{"device/tags", `{"op":"add","tags":["北京"]}`},
			{"device/alias", `{"op":"put","type":"uid","value":"42"}`},
			{"device/alias", `{"op":"add","value":"x"}`},
			{"device/account", `{"op":"put","account":"ann"}`},
			{"device/attributes", `{"op":"add","attributes":{"language":"zh"}}`},
		} {
			c.edit(e.topic, e.payload, uint16(i+1))
			c.done(uint16(i+1), mqtt.Success, "")
		}
		want := push.Device{
			Tags: []string{"vip", "北京"}, Aliases: []push.Alias{{Type: "uid", Value: "42"}, {Value: "x"}}, Account: "ann",
			Attributes: map[string]string{"language": "zh"},
		}
		if diff := cmp.Diff(h.labels.device(7), want); diff != "" {
			t.Errorf("device (-got +want):\n%s", diff)
		}
		if got := h.gw.Stats().Events; got != 7 {
			t.Errorf("counted %d, want 7", got)
		}

		c.edit("device/tags", `{"op":"add","tags":["c","d"]}`, 9)
		if c.v == mqtt.V311 {
			c.gone(0)
		} else {
			c.done(9, mqtt.QuotaExceeded, "tags: at most 3")
			c.edit("device/tags", `{"op":"add"}`, 10)
			c.done(10, mqtt.PayloadFormatInvalid, "tags: is missing")
			h.labels.mu.Lock()
			h.labels.gone[7] = true
			h.labels.mu.Unlock()
			c.edit("device/tags", `{"op":"delete"}`, 11)
			c.done(11, mqtt.NotAuthorized, "no such device")
			c.quiet()
		}
		if diff := cmp.Diff(h.labels.device(7), want); diff != "" {
			t.Errorf("device after refusals (-got +want):\n%s", diff)
		}
	})
}

func TestAcknowledgementOfAnEditWaitsUntilItIsDurable(t *testing.T) {
	everyWay(t, nil, func(t *testing.T, h *house, dial func() *client) {
		h.device("dev", 7)
		h.device("other", 8)
		release, began := make(chan struct{}), make(chan struct{}, 1)
		h.labels.before = func(o push.Ordinal, _ push.LabelEdit) {
			if o == 7 {
				began <- struct{}{}
				<-release
			}
		}
		c := dial().connect("dev", nil)
		c.edit("device/tags", `{"op":"add","tags":["a"]}`, 1)
		<-began
		c.quiet() // no PUBACK came, and the connection works
		other := dial().connect("other", nil)
		other.edit("device/tags", `{"op":"add","tags":["b"]}`, 1)
		other.done(1, mqtt.Success, "") // another device does not wait
		if c.v == mqtt.V5 {
			c.edit("device/tags", `{"op":"add"}`, 2)
			c.quiet() // nor does a refusal overtake it
		}
		close(release)
		c.done(1, mqtt.Success, "")
		if c.v == mqtt.V5 {
			c.done(2, mqtt.PayloadFormatInvalid, "tags: is missing")
		}
	})
}

// An event, which is quick, does not overtake an edit, nor an edit another, also from one connection to the next.
func TestEditsAreMadeInTheOrderTheyWerePublished(t *testing.T) {
	everyWay(t, nil, func(t *testing.T, h *house, dial func() *client) {
		h.device("dev", 7)
		release := make(chan struct{})
		var once sync.Once
		began := make(chan struct{})
		h.labels.before = func(push.Ordinal, push.LabelEdit) {
			once.Do(func() { close(began) })
			<-release
		}
		var want []string
		login := func(c *client, id uint16) {
			name := fmt.Sprint("user-", len(want))
			c.edit("device/account", fmt.Sprintf(`{"op":"put","account":%q}`, name), id)
			want = append(want, fmt.Sprintf("put account %q", name))
		}
		old := dial().connect("dev", nil)
		for id := range uint16(4) {
			login(old, id+1)
		}
		<-began
		old.quiet() // all four have been read
		c := dial().connect("dev", nil)
		old.gone(mqtt.SessionTakenOver)
		for id := range uint16(4) {
			login(c, id+1)
		}
		c.write(&mqtt.Publish{Topic: "event", QoS: 1, PacketID: 5, Payload: []byte(`{"push":"42","event":"opened"}`)})
		c.quiet()
		if speakers, waiting := h.gw.Speaking(); speakers != 1 || waiting != 9 {
			t.Errorf("%d reports of %d devices wait, want 9 of 1", waiting, speakers)
		}
		close(release)
		for id := range uint16(5) {
			c.done(id+1, mqtt.Success, "")
		}
		if diff := cmp.Diff(h.labels.edits(7), want); diff != "" {
			t.Errorf("edits (-got +want):\n%s", diff)
		}
		if h.labels.overlap {
			t.Error("two edits of one device were under way at a time")
		}
		soon(t, "nothing is left to be recorded", func() bool {
			speakers, _ := h.gw.Speaking()
			return speakers == 0
		})
	})
}

func TestEditAtQoS0IsMadeAlsoIfTheClientLeaves(t *testing.T) {
	everyWay(t, nil, func(t *testing.T, h *house, dial func() *client) {
		h.device("dev", 7)
		made := make(chan string, 1)
		h.labels.before = func(_ push.Ordinal, e push.LabelEdit) { made <- gateway.ShowEdit(&e) }
		c := dial().connect("dev", nil)
		c.write(&mqtt.Publish{Topic: "device/account", Payload: []byte(`{"op":"put","account":"ann"}`)})
		c.write(&mqtt.Disconnect{})
		if got, want := <-made, `put account "ann"`; got != want {
			t.Errorf("made %s, want %s", got, want)
		}
	})
}

// A client that publishes faster than edits are made is not read from, instead of filling memory.
func TestEditsThatWaitAreFew(t *testing.T) {
	h, g := newHouse(t, nil)
	h.device("dev", 7)
	release := make(chan struct{})
	most := 0 // only one edit of a device is under way at a time
	h.labels.before = func(push.Ordinal, push.LabelEdit) {
		<-release
		_, waiting := g.Speaking()
		most = max(most, waiting)
	}
	c := newClient(t, serve(t, g)[0].dial(), mqtt.V311).connect("dev", nil)
	const n, limit = 100, 8 + 1 // the last is the one with which the client waits
	for id := range uint16(n) {
		c.edit("device/account", fmt.Sprintf(`{"op":"put","account":"user-%d"}`, id), id+1)
	}
	soon(t, "as many wait as may", func() bool {
		_, waiting := g.Speaking()
		return waiting == limit
	})
	close(release)
	for id := range uint16(n) {
		c.done(id+1, mqtt.Success, "")
	}
	if got := h.labels.device(7).Account; got != "user-99" {
		t.Errorf("account %q, want the last, user-99", got)
	}
	soon(t, "nothing waits", func() bool {
		speakers, _ := g.Speaking()
		return speakers == 0
	})
	if most > limit {
		t.Errorf("%d edits waited, want at most %d", most, limit)
	}
}

// soon polls what nobody tells a test of.
func soon(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !so(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("not so after %v: %s", patience, what)
		}
	}
}
