package restserver_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/restserver"
)

// labels returns what senders see of a device's labels: "tags a b; aliases t:v; account x".
func (s *site) labels(t testing.TB, id push.DeviceID) string {
	t.Helper()
	d := into[push.Device](t, s.call(t, key1, "GET", "/v1/apps/1/devices/"+string(id), ""), 200)
	var aliases []string
	for _, a := range d.Aliases {
		aliases = append(aliases, a.Type+":"+a.Value)
	}
	return strings.TrimSpace(strings.Join(d.Tags, " ") + " | " + strings.Join(aliases, " ") + " | " + d.Account)
}

func TestLabels(t *testing.T) {
	s := newSite(t, restserver.Options{})
	one, dev1 := s.register(t)
	two, dev2 := s.register(t)
	of := func(d restserver.RegisterAnswer) string { return "/v1/apps/demo/devices/" + string(d.DeviceID) }
	const me = "/device/v1/me"
	steps := []struct{ name, auth, method, path, body, one, two string }{
		{"senders set tags", key1, "PUT", of(one) + "/tags", `{"tags": ["vip", "beta"]}`, "beta vip |  |", "|  |"},
		{"and add some, by channel id", key1, "POST", "/v1/apps/1/devices/" + string(one.ChannelID) + "/tags", `{"tags": ["a/b", "vip"]}`, "a/b beta vip |  |", "|  |"},
		{"and remove some", key1, "DELETE", of(one) + "/tags", `{"tags": ["beta", "nobody's"]}`, "a/b vip |  |", "|  |"},
		{"setting takes away what is not named", key1, "PUT", of(one) + "/tags", `{"tags": ["x"]}`, "x |  |", "|  |"},
		{"setting none takes all", key1, "PUT", of(one) + "/tags", `{"tags": []}`, "|  |", "|  |"},
		{"a device adds tags", dev1, "POST", me + "/tags", `{"tags": ["m"]}`, "m |  |", "|  |"},
		{"and sets them", dev1, "PUT", me + "/tags", `{"tags": ["n", "o"]}`, "n o |  |", "|  |"},
		{"and removes one", dev1, "DELETE", me + "/tags", `{"tags": ["o"]}`, "n |  |", "|  |"},
		{"and all, without a body", dev1, "DELETE", me + "/tags", ``, "|  |", "|  |"},
		{"senders remove all tags", key1, "DELETE", of(one) + "/tags", ``, "|  |", "|  |"},

		{"one alias", key1, "PUT", of(one) + "/aliases", `{"type": "uid", "value": "42"}`, "| uid:42 |", "|  |"},
		{"a second owner", key1, "POST", of(two) + "/aliases", `{"aliases": [{"type": "uid", "value": "42"}, {"value": "bob"}]}`, "| uid:42 |", "| uid:42 :bob |"},
		{"the only owner", key1, "PUT", of(one) + "/aliases", `{"aliases": [{"type": "uid", "value": "42"}, {"type": "uid", "value": "43"}]}`, "| uid:42 uid:43 |", "| :bob |"},
		{"untyped, alone", key1, "POST", of(one) + "/aliases", `{"value": "bob"}`, "| uid:42 uid:43 :bob |", "| :bob |"},
		{"removed", key1, "DELETE", of(one) + "/aliases", `{"value": "bob"}`, "| uid:42 uid:43 |", "| :bob |"},
		{"a device takes an alias over", dev2, "PUT", me + "/alias", `{"type": "uid", "value": "43"}`, "| uid:42 |", "| :bob uid:43 |"},
		{"and shares one", dev2, "POST", me + "/alias", `{"type": "uid", "value": "42"}`, "| uid:42 |", "| :bob uid:43 uid:42 |"},
		{"and gives one up", dev2, "DELETE", me + "/alias", `{"value": "bob"}`, "| uid:42 |", "| uid:43 uid:42 |"},
		{"and all", dev2, "DELETE", me + "/alias", ``, "| uid:42 |", "|  |"},
		{"senders remove all aliases", key1, "DELETE", of(one) + "/aliases", ``, "|  |", "|  |"},

		{"log in", key1, "PUT", of(one) + "/account", `{"account": "u1"}`, "|  | u1", "|  |"},
		{"as another", key1, "POST", of(one) + "/account", `{"account": "u2"}`, "|  | u2", "|  |"},
		{"a device logs itself in", dev2, "PUT", me + "/account", `{"account": "u2"}`, "|  | u2", "|  | u2"},
		{"log out", key1, "DELETE", of(one) + "/account", ``, "|  |", "|  | u2"},
		{"twice", key1, "DELETE", of(one) + "/account", ``, "|  |", "|  | u2"},
		{"log out whoever it is", dev2, "DELETE", me + "/account", `{"account": "u3"}`, "|  |", "|  |"},
	}
	for _, tt := range steps {
		t.Run(tt.name, func(t *testing.T) {
			r := s.call(t, tt.auth, tt.method, tt.path, tt.body)
			answer := into[map[string]any](t, r, 200)
			if got := s.labels(t, one.DeviceID); got != tt.one {
				t.Errorf("the first device has %q, want %q", got, tt.one)
			}
			if got := s.labels(t, two.DeviceID); got != tt.two {
				t.Errorf("the second device has %q, want %q", got, tt.two)
			}
			want := one
			if tt.auth == dev2 || strings.Contains(tt.path, string(two.DeviceID)) {
				want = two
			}
			_, test := answer["test"]
			if answer["device_id"] != string(want.DeviceID) || test != (tt.auth == key1) {
				t.Errorf("answer %s, want the device, as who asked may see it", r.body)
			}
		})
	}
	t.Run("a device sees its own labels", func(t *testing.T) {
		s.call(t, dev1, "PUT", me+"/tags", `{"tags": ["a"]}`)
		s.call(t, dev1, "PUT", me+"/alias", `{"value": "b"}`)
		got := into[restserver.Me](t, s.call(t, dev1, "GET", me, ""), 200)
		if !slices.Equal(got.Tags, []string{"a"}) || !slices.Equal(got.Aliases, []push.Alias{{Value: "b"}}) {
			t.Errorf("I am %+v, want tag a and alias b", got)
		}
	})
}

func TestLabelRefusals(t *testing.T) {
	s := newSite(t, restserver.Options{})
	one, dev := s.register(t)
	two, _ := s.register(t)
	path := "/v1/apps/1/devices/" + string(one.DeviceID)
	const me = "/device/v1/me"
	into[push.App](t, s.call(t, admin, "PATCH", "/v1/apps/1", `{"settings": {"aliases.per_device": 2, "aliases.devices": 1, "tags.limit": 2}}`), 200)
	into[push.Device](t, s.call(t, key1, "PUT", path+"/tags", `{"tags": ["vip"]}`), 200)
	into[push.Device](t, s.call(t, key1, "PUT", path+"/aliases", `{"type": "uid", "value": "42"}`), 200)
	into[push.Device](t, s.call(t, key1, "PUT", path+"/account", `{"account": "u"}`), 200)
	into[push.Device](t, s.call(t, key1, "PUT", "/v1/apps/1/devices/"+string(two.DeviceID)+"/aliases", `{"value": "taken"}`), 200)
	before := fmt.Sprint(s.devices, s.tags)

	long := strings.Repeat("标", 129)
	many := `{"tags": ["` + strings.Repeat(`t","`, 1000) + `t"]}`
	for _, tt := range []struct {
		name, auth, method, path, body string
		status                         int
		code, field                    string
	}{
		{"no body", key1, "PUT", path + "/tags", ``, 400, "invalid", ""},
		{"no list of tags", key1, "PUT", path + "/tags", `{}`, 400, "invalid", "tags"},
		{"null for tags", key1, "PUT", path + "/tags", `{"tags": null}`, 400, "invalid", "tags"},
		{"nothing to add", key1, "POST", path + "/tags", `{"tags": []}`, 400, "invalid", "tags"},
		{"an empty list does not remove all", key1, "DELETE", path + "/tags", `{"tags": []}`, 400, "invalid", "tags"},
		{"an empty object does not remove all", key1, "DELETE", path + "/tags", `{}`, 400, "invalid", "tags"},
		{"nor does a body that says nothing", key1, "DELETE", path + "/tags", ` `, 400, "invalid", ""},
		{"a tag that is too long", key1, "POST", path + "/tags", `{"tags": ["a", "` + long + `"]}`, 400, "invalid", "tags[1]"},
		{"an empty tag", key1, "PUT", path + "/tags", `{"tags": [""]}`, 400, "invalid", "tags[0]"},
		{"NUL in a tag", dev, "PUT", me + "/tags", `{"tags": ["\u0000"]}`, 400, "invalid", "tags[0]"},
		{"a number for a tag", dev, "POST", me + "/tags", `{"tags": ["a", 1]}`, 400, "invalid", "tags[1]"},
		{"too many tags at once", key1, "POST", path + "/tags", many, 400, "invalid", "tags"},
		{"an unknown field", key1, "POST", path + "/tags", `{"tag": "a"}`, 400, "invalid", "tag"},
		{"a field in another case", key1, "POST", path + "/tags", `{"Tags": ["a"]}`, 400, "invalid", "Tags"},
		{"more tags than the app may have", key1, "POST", path + "/tags", `{"tags": ["x", "y"]}`, 429, "too_many", "tags"},

		{"an alias without a value", key1, "PUT", path + "/aliases", `{"type": "uid"}`, 400, "invalid", "value"},
		{"an empty object does not remove all aliases", key1, "DELETE", path + "/aliases", `{}`, 400, "invalid", "value"},
		{"an alias that is too long", key1, "PUT", path + "/aliases", `{"value": "` + strings.Repeat("x", 129) + `"}`, 400, "invalid", "value"},
		{"an alias type that is too long", key1, "PUT", path + "/aliases", `{"value": "v", "type": "` + strings.Repeat("x", 129) + `"}`, 400, "invalid", "type"},
		{"both forms of aliases", key1, "PUT", path + "/aliases", `{"value": "a", "aliases": [{"value": "b"}]}`, 400, "invalid", "aliases"},
		{"no aliases in the list", key1, "POST", path + "/aliases", `{"aliases": []}`, 400, "invalid", "aliases"},
		{"an empty list does not remove all aliases", key1, "DELETE", path + "/aliases", `{"aliases": []}`, 400, "invalid", "aliases"},
		{"an alias of the list without a value", key1, "POST", path + "/aliases", `{"aliases": [{"value": "a"}, {"type": "b"}]}`, 400, "invalid", "aliases[1].value"},
		{"a type of the list that is too long", key1, "POST", path + "/aliases", `{"aliases": [{"value": "a", "type": "` + long + `"}]}`, 400, "invalid", "aliases[0].type"},
		{"an unknown part of an alias", key1, "POST", path + "/aliases", `{"aliases": [{"value": "a", "kind": "b"}]}`, 400, "invalid", "aliases[0].kind"},
		{"a list where a device names one alias", dev, "PUT", me + "/alias", `{"aliases": [{"value": "a"}]}`, 400, "invalid", "aliases"},
		{"a device's alias without a value", dev, "POST", me + "/alias", `{"value": ""}`, 400, "invalid", "value"},
		{"more aliases than a device may have", key1, "POST", path + "/aliases", `{"aliases": [{"value": "a"}, {"value": "b"}]}`, 429, "too_many", "aliases[0]"},
		{"more devices than an alias may have", key1, "POST", path + "/aliases", `{"value": "taken"}`, 429, "too_many", "value"},

		{"an empty account", key1, "PUT", path + "/account", `{"account": ""}`, 400, "invalid", "account"},
		{"no account", key1, "POST", path + "/account", `{}`, 400, "invalid", "account"},
		{"an unknown field where a sender logs out", key1, "DELETE", path + "/account", `{"acount": "u"}`, 400, "invalid", "acount"},
		{"an unknown field where a device does", dev, "DELETE", me + "/account", `{"all": true}`, 400, "invalid", "all"},
		{"a list where one logs out", key1, "DELETE", path + "/account", `["u"]`, 400, "invalid", ""},
		{"an account that is too long", key1, "PUT", path + "/account", `{"account": "` + strings.Repeat("x", 129) + `"}`, 400, "invalid", "account"},

		{"no such device", key1, "PUT", "/v1/apps/1/devices/nobody/tags", `{"tags": ["a"]}`, 404, "not_found", "device"},
		{"another app's device", "Bearer key-2", "PUT", "/v1/apps/2/devices/" + string(one.DeviceID) + "/tags", `{"tags": ["a"]}`, 404, "not_found", "device"},
		{"another app's key", "Bearer key-2", "DELETE", path + "/tags", ``, 403, "denied", ""},
		{"a device on a sender's route", dev, "DELETE", path + "/tags", ``, 401, "unauthenticated", ""},
		{"a device with a wrong secret", dev + "x", "DELETE", me + "/tags", ``, 401, "unauthenticated", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantProblem(t, s.call(t, tt.auth, tt.method, tt.path, tt.body), tt.status, tt.code, tt.field)
			if got := fmt.Sprint(s.devices, s.tags); got != before {
				t.Errorf("something changed: %s, want %s", got, before)
			}
		})
	}
	t.Run("a body that was lost on its way does not remove all", func(t *testing.T) {
		for _, p := range []string{path + "/tags", path + "/aliases"} {
			wantProblem(t, s.call(t, key1, "DELETE", p, "", "Content-Type", "application/json"), 400, "invalid", "")
		}
		if got := fmt.Sprint(s.devices, s.tags); got != before {
			t.Errorf("something changed: %s, want %s", got, before)
		}
	})
}

func TestImportedDevicesAreFoundByTheirPreviousID(t *testing.T) {
	s := newSite(t, restserver.Options{})
	r := s.call(t, key1, "POST", "/v1/apps/1/devices/import", `{"devices": [{"device_id": "old/1"}]}`)
	id := into[restserver.ImportAnswers](t, r, 200).Results[0].Device
	const path = "/v1/apps/1/devices/old%2F1"
	for _, tt := range []struct{ method, path, body string }{
		{"PUT", path, `{"test": true}`},
		{"PUT", path + "/tags", `{"tags": ["vip"]}`},
		{"POST", path + "/aliases", `{"value": "bob"}`},
		{"PUT", path + "/account", `{"account": "u"}`},
		{"DELETE", path + "/account", ``},
	} {
		if d := into[push.Device](t, s.call(t, key1, tt.method, tt.path, tt.body), 200); d.ID != id {
			t.Errorf("%s %s changed %s, want %s", tt.method, tt.path, d.ID, id)
		}
	}
	if s.shown != 0 {
		t.Errorf("devices were read %d times only to be found, want never", s.shown)
	}
	if d := into[push.Device](t, s.call(t, key1, "GET", path, ""), 200); d.ID != id || !d.Test || len(d.Tags) != 1 || len(d.Aliases) != 1 {
		t.Errorf("the device is %+v, want %s with all of it", d, id)
	}
	if r := s.call(t, key1, "DELETE", path, ""); r.status != 204 {
		t.Errorf("delete answered %d %s, want 204", r.status, r.body)
	}
	for _, tt := range []struct{ method, path, body string }{
		{"GET", path, ``}, {"PUT", path, `{"test": true}`}, {"DELETE", path, ``}, {"PUT", path + "/tags", `{"tags": ["vip"]}`},
	} {
		wantProblem(t, s.call(t, key1, tt.method, tt.path, tt.body), 404, "not_found", "device")
	}
}

func TestDevicesMakeTagsIfTheyMay(t *testing.T) {
	s := newSite(t, restserver.Options{})
	one, dev := s.register(t)
	into[push.App](t, s.call(t, admin, "PATCH", "/v1/apps/1", `{"settings": {"tags.made_by_devices": false}}`), 200)
	for _, method := range []string{"PUT", "POST"} {
		wantProblem(t, s.call(t, dev, method, "/device/v1/me/tags", `{"tags": ["new"]}`), 400, "invalid", "tags[0]")
	}
	into[push.Device](t, s.call(t, key1, "POST", "/v1/apps/1/devices/"+string(one.DeviceID)+"/tags", `{"tags": ["new"]}`), 200)
	into[restserver.Me](t, s.call(t, dev, "PUT", "/device/v1/me/tags", `{"tags": ["new"]}`), 200)
	if got, want := s.labels(t, one.DeviceID), "new |  |"; got != want {
		t.Errorf("the device has %q, want %q", got, want)
	}
}

func TestTags(t *testing.T) {
	s := newSite(t, restserver.Options{})
	one, _ := s.register(t)
	two, _ := s.register(t)
	const tags = "/v1/apps/demo/tags"
	made := into[push.TagInfo](t, s.call(t, key1, "PUT", tags+"/vip", ""), 201)
	again := into[push.TagInfo](t, s.call(t, key1, "PUT", tags+"/vip", ""), 200)
	if made.Tag != "vip" || made.Devices != 0 || made != again {
		t.Errorf("made %+v and then %+v, want the same tag vip", made, again)
	}

	if r := s.call(t, key1, "GET", tags, ""); strings.Contains(string(r.body), `"id"`) {
		t.Errorf("tags are %s, want no number that nothing takes", r.body)
	}

	// A tag may be any text; in a path it is percent-encoded.
	for name, path := range map[string]string{
		"a/b": "a%2Fb", "..": "%2E%2E", "新 用户": "%E6%96%B0%20%E7%94%A8%E6%88%B7", "50%": "50%25", "a?b#c": "a%3Fb%23c", "/": "%2F", "+": "+",
	} {
		t.Run("tag "+name, func(t *testing.T) {
			into[push.TagInfo](t, s.call(t, key1, "PUT", tags+"/"+path, ""), 201)
			body := fmt.Sprintf(`{"devices": [%q, %q, "nobody"]}`, one.DeviceID, two.ChannelID)
			for _, want := range []int{2, 0} {
				got := into[restserver.Tagged](t, s.call(t, key1, "POST", tags+"/"+path+"/devices", body), 200)
				if got.Changed != want || !slices.Equal(got.Unknown, []string{"nobody"}) {
					t.Errorf("tagged %+v, want %d and nobody unknown", got, want)
				}
			}
			if got := into[push.TagInfo](t, s.call(t, key1, "GET", tags+"/"+path, ""), 200); got.Tag != name || got.Devices != 2 {
				t.Errorf("tag %+v, want %q on 2 devices", got, name)
			}
			if !slices.Contains(s.devices[0].Tags, name) {
				t.Errorf("the device carries %q, want %q", s.devices[0].Tags, name)
			}
			r := s.call(t, key1, "DELETE", tags+"/"+path+"/devices", fmt.Sprintf(`{"devices": [%q]}`, one.DeviceID))
			if string(r.body) != `{"changed":1,"unknown":[]}`+"\n" {
				t.Errorf("untagged: %s, want 1 and a list of nothing", r.body)
			}
			if r := s.call(t, key1, "DELETE", tags+"/"+path, ""); r.status != 204 {
				t.Errorf("delete answered %d %s, want 204", r.status, r.body)
			}
			if slices.Contains(s.devices[1].Tags, name) {
				t.Errorf("the device carries %q still", name)
			}
			wantProblem(t, s.call(t, key1, "GET", tags+"/"+path, ""), 404, "not_found", "tag")
		})
	}

	for _, name := range []string{"a", "b", "c"} {
		into[push.TagInfo](t, s.call(t, key1, "PUT", tags+"/"+name, ""), 201)
	}
	page := into[restserver.List[push.TagInfo]](t, s.call(t, key1, "GET", tags+"?limit=3", ""), 200)
	rest := into[restserver.List[push.TagInfo]](t, s.call(t, key1, "GET", tags+"?limit=3&cursor="+page.Next, ""), 200)
	if len(page.Items) != 3 || page.Items[0].Tag != "a" || len(rest.Items) != 1 || rest.Items[0].Tag != "vip" || rest.Next != "" {
		t.Errorf("pages %+v and %+v, want a b c and vip", page, rest)
	}
	if r := s.call(t, "Bearer key-2", "GET", "/v1/apps/2/tags", ""); string(r.body) != `{"items":[]}`+"\n" {
		t.Errorf("another app's tags are %s, want none", r.body)
	}

	into[push.App](t, s.call(t, admin, "PATCH", "/v1/apps/1", `{"settings": {"tags.limit": 4}}`), 200)
	before := fmt.Sprint(s.devices, s.tags)
	many := `["` + strings.Repeat(`x","`, 1000) + `x"]`
	for _, tt := range []struct {
		name, method, path, body string
		status                   int
		code, field              string
	}{
		{"a tag of 129 characters", "PUT", "/" + strings.Repeat("x", 129), "", 400, "invalid", "tag"},
		{"a tag of 129 characters on devices", "POST", "/" + strings.Repeat("x", 129) + "/devices", `{"devices": ["a"]}`, 400, "invalid", "tag"},
		{"NUL in a tag", "PUT", "/%00", "", 404, "not_found", ""},
		{"a slash behind NUL", "PUT", "/%00%2F", "", 404, "not_found", ""},
		{"the same in lower case", "PUT", "/%00%2f", "", 404, "not_found", ""},
		{"a tag too many", "PUT", "/e", "", 429, "too_many", "tags"},
		{"no such tag", "DELETE", "/e", "", 404, "not_found", "tag"},
		{"no devices", "POST", "/vip/devices", `{}`, 400, "invalid", "devices"},
		{"an empty list of devices", "DELETE", "/vip/devices", `{"devices": []}`, 400, "invalid", "devices"},
		{"nothing is not all", "DELETE", "/vip/devices", ``, 400, "invalid", ""},
		{"more than 1,000 devices", "POST", "/vip/devices", `{"devices": ` + many + `}`, 400, "invalid", "devices"},
		{"an empty name", "POST", "/vip/devices", `{"devices": ["a", ""]}`, 400, "invalid", "devices[1]"},
		{"a name with NUL", "POST", "/vip/devices", `{"devices": ["\u0000"]}`, 400, "invalid", "devices[0]"},
		{"a number for a name", "POST", "/vip/devices", `{"devices": ["a", 7]}`, 400, "invalid", "devices[1]"},
		{"nobody known", "POST", "/vip/devices", `{"devices": ["nobody"]}`, 404, "not_found", "devices"},
		{"a cursor of another list", "GET", "?cursor=%ff", "", 400, "invalid", "cursor"},
		{"an unknown parameter", "GET", "?tag=a", "", 400, "invalid", "tag"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantProblem(t, s.call(t, key1, tt.method, tags+tt.path, tt.body), tt.status, tt.code, tt.field)
			if got := fmt.Sprint(s.devices, s.tags); got != before {
				t.Errorf("something changed: %s, want %s", got, before)
			}
		})
	}
}

func TestFindAlias(t *testing.T) {
	s := newSite(t, restserver.Options{})
	one, dev1 := s.register(t)
	two, dev2 := s.register(t)
	const path = "/v1/apps/1/aliases"
	s.call(t, dev1, "PUT", "/device/v1/me/alias", `{"type": "uid", "value": "4&2"}`)
	s.call(t, dev2, "POST", "/device/v1/me/alias", `{"type": "uid", "value": "4&2"}`)
	s.call(t, dev2, "POST", "/device/v1/me/alias", `{"value": "4&2"}`)
	for query, want := range map[string][]push.DeviceID{
		"?type=uid&value=4%262":   {one.DeviceID, two.DeviceID},
		"?value=4%262":            {two.DeviceID},
		"?type=&value=4%262":      {two.DeviceID},
		"?type=other&value=4%262": {},
	} {
		if got := into[restserver.NamedDevices](t, s.call(t, key1, "GET", path+query, ""), 200); !reflect.DeepEqual(got.Devices, want) {
			t.Errorf("%s: got %v, want %v", query, got.Devices, want)
		}
	}
	for query, field := range map[string]string{
		"": "value", "?type=uid": "value", "?value=": "value", "?value=%00": "value", "?value=%ff": "value", "?alias=x": "alias",
		"?value=" + strings.Repeat("x", 129): "value", "?value=x&type=%00": "type",
	} {
		wantProblem(t, s.call(t, key1, "GET", path+query, ""), 400, "invalid", field)
	}
	wantProblem(t, s.call(t, key1, "POST", path, `{}`), 405, "method_not_allowed", "")
}

// FuzzPeopleBodies sends anything to the routes that change what devices are found by.
func FuzzPeopleBodies(f *testing.F) {
	for _, seed := range []string{
		`{"tags": ["vip", "\u0000"]}`, `{"type": "uid", "value": "42"}`, `{"aliases": [{"type": "uid", "value": "42"}, {"Value": "x"}, null]}`,
		`{"account": "a"}`, `{"devices": ["7000", "x"]}`, `{"app": "1", "repair": true}`, `{"tags": null}`, `{}`, `[]`, `{`, ` `,
		`{"devices": [{"device_id": "old", "platform": "ios", "tags": ["a"], "aliases": [{"value": "b"}], "tokens": {"apns": {"env": "x"}}, "test": true}, 7]}`,
	} {
		f.Add([]byte(seed))
	}
	s := newSite(f, restserver.Options{})
	f.Fuzz(func(t *testing.T, body []byte) {
		s.devices, s.tags = nil, nil
		_, dev := s.register(t)
		const one = "/v1/apps/1/devices/7000"
		for _, tt := range []struct{ auth, method, path string }{
			{key1, "PUT", one + "/tags"},
			{key1, "POST", one + "/aliases"},
			{key1, "DELETE", one + "/aliases"},
			{key1, "PUT", one + "/account"},
			{dev, "PUT", "/device/v1/me/alias"},
			{dev, "DELETE", "/device/v1/me/tags"},
			{key1, "POST", "/v1/apps/1/tags/t/devices"},
			{key1, "POST", "/v1/apps/1/devices/import"},
			{admin, "POST", "/v1/doctor/index"},
		} {
			before := fmt.Sprint(s.devices, s.tags)
			r := s.call(t, tt.auth, tt.method, tt.path, string(body)+" ")
			if r.status == 200 {
				continue
			}
			p := into[restserver.Problem](t, r, r.status)
			if p.Detail == "" || p.Detail == "the body cannot be read" || !slices.Contains([]string{"invalid", "not_found", "too_many"}, p.Code) {
				t.Fatalf("%s %s: problem %+v does not say what is wrong", tt.method, tt.path, p)
			}
			if after := fmt.Sprint(s.devices, s.tags); after != before {
				t.Fatalf("%s %s was refused and changed %s to %s", tt.method, tt.path, before, after)
			}
		}
	})
}
