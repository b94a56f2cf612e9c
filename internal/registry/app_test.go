package registry_test

import (
	"bytes"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/registry"
)

func TestCreateAppFillsCredentials(t *testing.T) {
	h := newHouse(t)
	card := h.app(t, "demo")
	if card.App.ID != 1 || card.App.TimeZone != push.DefaultTimeZone || !card.App.Created.Equal(h.clock()) {
		t.Errorf("app = %+v", card.App)
	}
	for _, tt := range []struct{ name, got, want string }{
		{"native", card.Native.APIKey, `^ck_[0-9A-Za-z]{40}$`},
		{"device app_key", card.Device.AppKey, `^[a-z0-9]{24}$`},
		{"device app_secret", card.Device.AppSecret, `^[0-9A-Za-z]{32}$`},
		{"umeng android appkey", card.Umeng.Android.Appkey, `^[0-9a-f]{24}$`},
		{"umeng ios appkey", card.Umeng.IOS.Appkey, `^[0-9a-f]{24}$`},
		{"umeng harmony secret", card.Umeng.Harmony.AppMasterSecret, `^[0-9a-z]{32}$`},
		{"getui app_id", card.Getui.AppID, `^[0-9A-Za-z]{22}$`},
		{"getui app_key", card.Getui.AppKey, `^[0-9A-Za-z]{22}$`},
		{"getui app_secret", card.Getui.AppSecret, `^[0-9A-Za-z]{22}$`},
		{"getui master_secret", card.Getui.MasterSecret, `^[0-9A-Za-z]{22}$`},
		{"aliyun app_key", strconv.FormatInt(card.Aliyun.AppKey, 10), `^[2-9][0-9]{7}$`},
		{"aliyun access_key_id", card.Aliyun.AccessKeyID, `^[a-z0-9]{24}$`},
		{"aliyun access_key_secret", card.Aliyun.AccessKeySecret, `^[0-9A-Za-z]{32}$`},
		{"mpaas app_id", card.MPaaS.AppID, `^ONEX[0-9A-F]{12}$`},
		{"mpaas workspace", card.MPaaS.WorkspaceID, `^default$`},
		{"mpaas access_key_id", card.MPaaS.AccessKeyID, `^[a-z0-9]{24}$`},
		{"mpaas access_key_secret", card.MPaaS.AccessKeySecret, `^[0-9A-Za-z]{32}$`},
		{"baidu api_key", card.Baidu.APIKey, `^[a-z0-9]{24}$`},
		{"baidu secret_key", card.Baidu.SecretKey, `^[0-9A-Za-z]{32}$`},
	} {
		if !regexp.MustCompile(tt.want).MatchString(tt.got) {
			t.Errorf("%s = %q, want %s", tt.name, tt.got, tt.want)
		}
	}
	h.restart(t)
	again, err := h.Card(card.App.ID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(card, again); diff != "" {
		t.Errorf("the card after a restart (-before +after):\n%s", diff)
	}
	for _, c := range h.store.creds {
		for _, secret := range []string{card.Native.APIKey, card.Umeng.IOS.AppMasterSecret, card.Device.AppSecret} {
			if strings.Contains(c.Key, secret) || bytes.Contains(c.Sealed, []byte(secret)) {
				t.Errorf("the record shows a secret of %s", c.Service)
			}
		}
	}
}

func TestCreateAppKeepsWhatIsGiven(t *testing.T) {
	h := newHouse(t)
	var given push.Credentials
	given.Native.APIKey = "my-own-key-0123456789"
	given.Umeng.IOS = push.UmengCredential{Appkey: strings.Repeat("a1", 12), AppMasterSecret: strings.Repeat("z", 32)}
	given.Aliyun.AppKey = 333_333
	given.MPaaS = push.MPaaSCredential{AppID: "ONEX1", WorkspaceID: "prod"}
	given.Baidu.APIKey = "only-the-key"
	card, err := h.CreateApp(t.Context(), push.App{Name: "moved", TimeZone: "UTC"}, given)
	if err != nil {
		t.Fatal(err)
	}
	if card.Native != given.Native || card.Umeng.IOS != given.Umeng.IOS || card.Aliyun.AppKey != 333_333 ||
		card.MPaaS.AppID != "ONEX1" || card.MPaaS.WorkspaceID != "prod" || card.Baidu.APIKey != "only-the-key" || card.Baidu.SecretKey == "" {
		t.Errorf("card = %+v", card)
	}
	app, platform, secrets, err := h.UmengApp(given.Umeng.IOS.Appkey)
	if err != nil || app.ID != card.App.ID || platform != push.IOS || !slices.Equal(secrets, []string{given.Umeng.IOS.AppMasterSecret}) {
		t.Errorf("UmengApp = %v, %v, %d secrets, %v", app.ID, platform, len(secrets), err)
	}
	if apps, secrets, err := h.Credential(registry.MPaaSApp, "ONEX1/prod"); err != nil || len(apps) != 1 || len(secrets) != 0 {
		t.Errorf("Credential(mpaas.app) = %d apps, %d secrets, %v", len(apps), len(secrets), err)
	}
	if got, err := h.ByAPIKey("my-own-key-0123456789"); err != nil || got.ID != card.App.ID {
		t.Errorf("ByAPIKey = %v, %v", got.ID, err)
	}
}

func TestCreateAppRefuses(t *testing.T) {
	h := newHouse(t)
	first := h.app(t, "first")
	for _, tt := range []struct {
		name  string
		app   push.App
		given func(c *push.Credentials)
		kind  push.Kind
		field string
	}{
		{"no name", push.App{}, nil, push.Invalid, "name"},
		{"a name that is taken", push.App{Name: "first"}, nil, push.Conflict, "name"},
		{"an unknown time zone", push.App{Name: "x", TimeZone: "Mars"}, nil, push.Invalid, "time_zone"},
		{"a short appkey", push.App{Name: "x"}, func(c *push.Credentials) { c.Umeng.IOS.Appkey = "abc" }, push.Invalid, "umeng.ios"},
		{"a short umeng secret", push.App{Name: "x"}, func(c *push.Credentials) { c.Umeng.IOS.AppMasterSecret = "abc" }, push.Invalid, "umeng.ios"},
		{"a guessable API key", push.App{Name: "x"}, func(c *push.Credentials) { c.Native.APIKey = "abc" }, push.Invalid, "native"},
		{"a negative number", push.App{Name: "x"}, func(c *push.Credentials) { c.Aliyun.AppKey = -1 }, push.Invalid, "aliyun.app"},
		{"a slash in a workspace", push.App{Name: "x"}, func(c *push.Credentials) {
			c.MPaaS.AppID, c.MPaaS.WorkspaceID = "a", "b/c"
		}, push.Invalid, "mpaas.app"},
		{"a space in a key", push.App{Name: "x"}, func(c *push.Credentials) { c.Baidu.APIKey = "a b" }, push.Invalid, "baidu"},
		{"an appkey that is taken", push.App{Name: "x"}, func(c *push.Credentials) { c.Umeng.IOS = first.Umeng.IOS }, push.Conflict, "umeng.ios"},
		{"an appkey of another platform", push.App{Name: "x"}, func(c *push.Credentials) { c.Umeng.IOS = first.Umeng.Android }, push.Conflict, "umeng.ios"},
		{"one appkey for two platforms", push.App{Name: "x"}, func(c *push.Credentials) {
			c.Umeng.Android.Appkey = strings.Repeat("c", 24)
			c.Umeng.IOS.Appkey = strings.Repeat("c", 24)
		}, push.Conflict, "umeng.ios"},
		{"an API key that is taken", push.App{Name: "x"}, func(c *push.Credentials) { c.Native = first.Native }, push.Conflict, "native"},
		{"a shared key with another secret", push.App{Name: "x"}, func(c *push.Credentials) {
			c.Aliyun.AccessKeyID, c.Aliyun.AccessKeySecret = first.Aliyun.AccessKeyID, "guess"
		}, push.Conflict, "aliyun"},
		{"a shared key without secret", push.App{Name: "x"}, func(c *push.Credentials) { c.Getui.AppKey = first.Getui.AppKey }, push.Conflict, "getui"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var given push.Credentials
			if tt.given != nil {
				tt.given(&given)
			}
			_, err := h.CreateApp(t.Context(), tt.app, given)
			var e *push.Error
			if !errors.As(err, &e) || e.Kind != tt.kind || e.Field != tt.field {
				t.Errorf("CreateApp = %v, want %v at %s", err, tt.kind, tt.field)
			}
			if len(h.store.apps) != 1 {
				t.Errorf("%d apps in the record, want 1", len(h.store.apps))
			}
		})
	}
}

func TestSharedKeys(t *testing.T) {
	h := newHouse(t)
	first := h.app(t, "first")
	var given push.Credentials
	given.Aliyun.AccessKeyID, given.Aliyun.AccessKeySecret = first.Aliyun.AccessKeyID, first.Aliyun.AccessKeySecret
	given.Getui.AppKey, given.Getui.MasterSecret = first.Getui.AppKey, first.Getui.MasterSecret
	second, err := h.CreateApp(t.Context(), push.App{Name: "second"}, given)
	if err != nil {
		t.Fatal(err)
	}
	if second.Aliyun.AppKey == first.Aliyun.AppKey || second.Getui.AppID == first.Getui.AppID {
		t.Error("what names the apps is the same for both")
	}
	rotated, err := h.RotateKeys(t.Context(), second.App.ID, registry.Aliyun)
	if err != nil {
		t.Fatal(err)
	}
	h.restart(t)
	apps, secrets, err := h.Credential(registry.Aliyun, first.Aliyun.AccessKeyID)
	want := []string{rotated.Aliyun.AccessKeySecret, first.Aliyun.AccessKeySecret}
	if err != nil || len(apps) != 2 || !slices.Equal(secrets, want) {
		t.Errorf("Credential = %d apps, new and old secret %t, %v", len(apps), slices.Equal(secrets, want), err)
	}
	if card, err := h.Card(first.App.ID); err != nil || card.Aliyun.AccessKeySecret != rotated.Aliyun.AccessKeySecret {
		t.Error("the other app that shares the key has another secret")
	}
}

func TestRotateKeys(t *testing.T) {
	secretOf := map[string]func(push.AppCard) (key, secret string){
		registry.DeviceApp:    func(c push.AppCard) (string, string) { return c.Device.AppKey, c.Device.AppSecret },
		registry.UmengAndroid: func(c push.AppCard) (string, string) { return c.Umeng.Android.Appkey, c.Umeng.Android.AppMasterSecret },
		registry.UmengIOS:     func(c push.AppCard) (string, string) { return c.Umeng.IOS.Appkey, c.Umeng.IOS.AppMasterSecret },
		registry.UmengHarmony: func(c push.AppCard) (string, string) { return c.Umeng.Harmony.Appkey, c.Umeng.Harmony.AppMasterSecret },
		registry.Getui:        func(c push.AppCard) (string, string) { return c.Getui.AppKey, c.Getui.MasterSecret },
		registry.Aliyun:       func(c push.AppCard) (string, string) { return c.Aliyun.AccessKeyID, c.Aliyun.AccessKeySecret },
		registry.MPaaS:        func(c push.AppCard) (string, string) { return c.MPaaS.AccessKeyID, c.MPaaS.AccessKeySecret },
		registry.Baidu:        func(c push.AppCard) (string, string) { return c.Baidu.APIKey, c.Baidu.SecretKey },
	}
	for kind, of := range secretOf {
		t.Run(kind, func(t *testing.T) {
			h := newHouse(t)
			before := h.app(t, "demo")
			var secrets []string
			for range 3 { // each turn the card shows the newest, and all of the last day are valid
				card, err := h.Card(before.App.ID)
				if err != nil {
					t.Fatal(err)
				}
				_, s := of(card)
				secrets = append([]string{s}, secrets...)
				if _, err := h.RotateKeys(t.Context(), before.App.ID, kind); err != nil {
					t.Fatal(err)
				}
				h.pass(time.Hour)
			}
			card, _ := h.Card(before.App.ID)
			k, s := of(card)
			if was, _ := of(before); k != was {
				t.Errorf("the key changed from %s to %s", was, k)
			}
			secrets = append([]string{s}, secrets...)
			if _, got, err := h.Credential(kind, k); err != nil || !slices.Equal(got, secrets) {
				t.Errorf("%d secrets valid, want %d in order: %v", len(got), len(secrets), err)
			}
			h.pass(23 * time.Hour)
			h.restart(t)
			if _, got, err := h.Credential(kind, k); err != nil || !slices.Equal(got, secrets[:1]) {
				t.Errorf("%d secrets valid after a day, want 1: %v", len(got), err)
			}
		})
	}
}

func TestRotateAPIKey(t *testing.T) {
	h := newHouse(t)
	card := h.app(t, "demo")
	next, err := h.RotateKeys(t.Context(), card.App.ID, registry.Native)
	if err != nil {
		t.Fatal(err)
	}
	if next.Native == card.Native {
		t.Error("the API key is the same")
	}
	for range 2 {
		for _, k := range []string{card.Native.APIKey, next.Native.APIKey} {
			if app, err := h.ByAPIKey(k); err != nil || app.ID != card.App.ID {
				t.Errorf("ByAPIKey = %v, %v", app.ID, err)
			}
		}
		h.restart(t)
	}
	h.pass(24 * time.Hour)
	if _, err := h.ByAPIKey(card.Native.APIKey); !errors.Is(err, push.Unauthenticated) {
		t.Errorf("the old key after a day: %v, want Unauthenticated", err)
	}
	if _, err := h.ByAPIKey(next.Native.APIKey); err != nil {
		t.Errorf("the new key after a day: %v", err)
	}
	for _, kind := range []string{"", "umeng", "getui.app", "mpaas.app"} {
		if _, err := h.RotateKeys(t.Context(), card.App.ID, kind); !errors.Is(err, push.Invalid) {
			t.Errorf("RotateKeys(%q) = %v, want Invalid", kind, err)
		}
	}
	if _, err := h.RotateKeys(t.Context(), 99, registry.Native); !errors.Is(err, push.NotFound) {
		t.Errorf("RotateKeys of no app = %v, want NotFound", err)
	}
}

func TestUpdateFindDelete(t *testing.T) {
	h := newHouse(t)
	card, other := h.app(t, "demo"), h.app(t, "other")
	dev := h.device(t, card, "one")
	h.Presence(dev.Ref, true)

	app := card.App
	app.Name, app.Settings = "new", push.Settings{push.SettingInboxLimit: "7"}
	if _, err := h.UpdateApp(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	for _, idOrName := range []string{"1", "new"} {
		if got, err := h.FindApp(idOrName); err != nil || got.Settings.Int(push.SettingInboxLimit) != 7 {
			t.Errorf("FindApp(%q) = %+v, %v", idOrName, got, err)
		}
	}
	for _, idOrName := range []string{"demo", "0", "3", ""} {
		if _, err := h.FindApp(idOrName); !errors.Is(err, push.NotFound) {
			t.Errorf("FindApp(%q) = %v, want NotFound", idOrName, err)
		}
	}
	app.Name = "other"
	if _, err := h.UpdateApp(t.Context(), app); !errors.Is(err, push.Conflict) {
		t.Errorf("a name that is taken: %v, want Conflict", err)
	}
	app.Name, app.Settings = "new", push.Settings{"no.such": "x"}
	if _, err := h.UpdateApp(t.Context(), app); !errors.Is(err, push.Invalid) {
		t.Errorf("an unknown setting: %v, want Invalid", err)
	}
	if got := h.Apps(); len(got) != 2 || got[0].ID != 1 || got[1].ID != other.App.ID {
		t.Errorf("Apps = %+v", got)
	}

	if err := h.DeleteApp(t.Context(), card.App.ID); err != nil {
		t.Fatal(err)
	}
	if !h.wasRevoked(dev.Ref) {
		t.Error("a connected device of a deleted app is not revoked")
	}
	if _, err := h.Authenticate(string(dev.DeviceID), dev.Secret); !errors.Is(err, push.Unauthenticated) {
		t.Errorf("a device of a deleted app: %v, want Unauthenticated", err)
	}
	if _, err := h.ByAPIKey(card.Native.APIKey); !errors.Is(err, push.Unauthenticated) {
		t.Errorf("the key of a deleted app: %v, want Unauthenticated", err)
	}
	if err := h.DeleteApp(t.Context(), card.App.ID); !errors.Is(err, push.NotFound) {
		t.Errorf("deleting twice: %v, want NotFound", err)
	}
	if n := len(h.everybody(t)); n != 0 {
		t.Errorf("a deleted app has %d devices", n)
	}
}

func TestDisabledApp(t *testing.T) {
	h := newHouse(t)
	card := h.app(t, "demo")
	dev := h.device(t, card, "one")
	h.Presence(dev.Ref, true)
	h.disable(t, card, "true")
	if !h.wasRevoked(dev.Ref) {
		t.Error("a connected device is not revoked")
	}
	_, byKey := h.ByAPIKey(card.Native.APIKey)
	_, _, _, byUmeng := h.UmengApp(card.Umeng.IOS.Appkey)
	_, _, byBaidu := h.Credential(registry.Baidu, card.Baidu.APIKey)
	_, byDevice := h.Authenticate(string(dev.DeviceID), dev.Secret)
	_, byRegister := h.Register(t.Context(), registration(card, "two"), "", home)
	for name, err := range map[string]error{"API key": byKey, "Umeng": byUmeng, "Baidu": byBaidu, "device": byDevice, "register": byRegister} {
		if !errors.Is(err, push.Denied) {
			t.Errorf("%s: %v, want Denied", name, err)
		}
	}
	if _, err := h.Authenticate(string(dev.DeviceID), "wrong"); !errors.Is(err, push.Unauthenticated) {
		t.Errorf("a wrong secret: %v, want Unauthenticated", err)
	}
	h.disable(t, card, "false")
	if _, err := h.Authenticate(string(dev.DeviceID), dev.Secret); err != nil {
		t.Errorf("switched on again: %v", err)
	}
}

// The two commits of CreateApp: the process ends, or the record fails, between them.
func TestCreateAppCutShort(t *testing.T) {
	h := newHouse(t)
	h.store.fail = func(op string) (error, bool) {
		if op == "PutCredentials" {
			return &push.Error{Kind: push.Unavailable}, false
		}
		return nil, false
	}
	card := h.app(t, "demo")
	h.store.fail = nil
	for range 2 { // the first start heals, the second finds nothing to heal
		h.restart(t)
		if got, err := h.Card(card.App.ID); err != nil || cmp.Diff(card, got) != "" {
			t.Fatalf("Card = %v, %v", cmp.Diff(card, got), err)
		}
	}
}

func TestUncertainCreateIsSettled(t *testing.T) {
	h := newHouse(t)
	h.store.fail = func(op string) (error, bool) {
		if op == "CreateApp" {
			return &push.Error{Kind: push.Unavailable}, true
		}
		return nil, false
	}
	if _, err := h.CreateApp(t.Context(), push.App{Name: "demo"}, push.Credentials{}); !errors.Is(err, push.Unavailable) {
		t.Fatalf("CreateApp = %v, want Unavailable", err)
	}
	if _, err := h.FindApp("demo"); err != nil {
		t.Errorf("FindApp = %v: the app is in the record", err)
	}
}

// A row that somebody moved to another app or key in the record does not open.
func TestMovedCredentialIsRefused(t *testing.T) {
	h := newHouse(t)
	h.app(t, "one")
	h.app(t, "two")
	for i, c := range h.store.creds {
		if c.App == 1 && c.Service == registry.Native {
			h.store.creds[i].App = 2
		}
	}
	r := registry.New(h.store.all(), h.keys, nil)
	if err := r.Load(t.Context()); !errors.Is(err, push.Internal) || !strings.Contains(err.Error(), "app 2") {
		t.Errorf("Load = %v, want a refusal that names the app", err)
	}
}
