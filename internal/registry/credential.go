package registry

import (
	"context"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"slices"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// graceful is how long a replaced secret stays valid.
const graceful = 24 * time.Hour

// A secret is one secret of a credential. What is sealed is a list of them, the current one first.
type secret struct {
	Value string    `json:"value"`
	Until time.Time `json:"until,omitzero"` // zero: current
}

// A credential is a push.Credential, opened. It is never changed once it is in tables.
type credential struct {
	app     push.AppID
	service string
	key     string
	shared  bool
	secrets []secret
	expires time.Time // zero: never
}

// valid returns the secrets that are valid at now, the current one first.
func (c *credential) valid(now time.Time) []string {
	if !c.expires.IsZero() && !now.Before(c.expires) {
		return nil
	}
	all := make([]string, 0, len(c.secrets))
	for _, s := range c.secrets {
		if s.Until.IsZero() || now.Before(s.Until) {
			all = append(all, s.Value)
		}
	}
	return all
}

// accepts reports whether value is a secret that is valid at now. How long it takes says nothing of the secret.
func (c *credential) accepts(value string, now time.Time) bool {
	ok := 0
	for _, s := range c.valid(now) {
		ok |= subtle.ConstantTimeCompare([]byte(s), []byte(value))
	}
	return ok == 1
}

// current returns the current secret, "" for a credential that has none.
func (c *credential) current() string {
	if len(c.secrets) == 0 {
		return ""
	}
	return c.secrets[0].Value
}

// label says what a sealed credential is of, so that it opens in no other row.
func (c *credential) label() string { return c.app.String() + "/" + c.service + "/" + c.key }

// seal returns c as the record keeps it.
func (r *Registry) seal(c *credential) push.Credential {
	plain, err := json.Marshal(c.secrets)
	if err != nil { // strings and times always marshal
		panic("registry: " + err.Error())
	}
	return push.Credential{
		App: c.app, Service: c.service, Key: c.key, Shared: c.shared, Expires: c.expires,
		Sealed: r.keys.Seal(c.label(), plain),
	}
}

// open undoes seal. fresh is true for the row of an app whose making was cut short between its two commits: the app's
// id was not known when it was sealed.
func (r *Registry) open(row push.Credential) (c *credential, fresh bool, err error) {
	c = &credential{app: row.App, service: row.Service, key: row.Key, shared: row.Shared, expires: row.Expires}
	plain, err := r.keys.Open(c.label(), row.Sealed)
	if err != nil {
		unborn := *c
		unborn.app = 0
		var second error
		if plain, second = r.keys.Open(unborn.label(), row.Sealed); second != nil {
			return nil, false, &push.Error{Op: "registry.open", Kind: push.Internal, Msg: "a credential of app " + row.App.String() +
				" for " + row.Service + " cannot be opened: it was changed, or sealed under another keyring", Err: err}
		}
		fresh = true
	}
	if err := json.Unmarshal(plain, &c.secrets); err != nil {
		return nil, false, push.Wrap("registry.open", err)
	}
	return c, fresh, nil
}

// apiKeyName is what a native API key is filed under: the record can tell keys apart and cannot use them.
func (r *Registry) apiKeyName(key string) string {
	h := r.keys.Hash("api_key", 0, key)
	return hex.EncodeToString(h[:])
}

// mint returns the credentials of a new app: given ones, and new ones where given has none.
func (r *Registry) mint(given push.Credentials) ([]*credential, error) {
	var x scratch
	x.read(&given)
	t, now := r.tables.Load(), r.options.Now()
	var all []*credential
	for _, s := range services(&x) {
		key, sec := s.part(&given)
		if err := s.check(*key, sec); err != nil {
			return nil, err
		}
		brought := *key != ""
		taken := func() []*credential { return t.credentials[name{s.name, *key}] }
		if held := taken(); s.shared && brought && len(held) > 0 {
			if sec == nil || !held[0].accepts(*sec, now) {
				return nil, conflict(s.name, "this key exists, and its secret is another")
			}
			all = append(all, &credential{service: s.name, key: *key, shared: true, secrets: held[0].secrets})
			continue
		}
		if sec != nil && *sec == "" {
			*sec = s.newSecret()
		}
		switch {
		case s.newKey == nil:
			*key = r.apiKeyName(*sec)
		case !brought:
			for *key = s.newKey(); len(taken()) > 0; *key = s.newKey() {
				continue // Aliyun's numbers are few enough to meet
			}
		}
		if len(taken()) > 0 || s.umeng() && brought && (t.hasAppkey(*key) || slices.ContainsFunc(all, func(c *credential) bool { return c.key == *key })) {
			return nil, conflict(s.name, "this key is taken")
		}
		c := &credential{service: s.name, key: *key, shared: s.shared}
		if sec != nil {
			c.secrets = []secret{{Value: *sec}}
		}
		all = append(all, c)
	}
	return all, nil
}

// check reports a given key or secret that does not look like one.
func (s *service) check(key string, secret *string) error {
	if key != "" && !s.keyForm.MatchString(key) || secret != nil && *secret != "" && !s.form.MatchString(*secret) {
		return &push.Error{Op: "registry.CreateApp", Kind: push.Invalid, Field: s.name, Msg: s.says}
	}
	return nil
}

// umeng reports whether s is one of Umeng's platforms. Their appkeys are one space: a request does not say the platform.
func (s *service) umeng() bool {
	return s.name == UmengAndroid || s.name == UmengIOS || s.name == UmengHarmony
}

func conflict(field, msg string) error {
	return &push.Error{Op: "registry.CreateApp", Kind: push.Conflict, Field: field, Msg: msg}
}

// Card returns an app with all its credentials. They are secrets: for administrators only. NotFound.
func (r *Registry) Card(id push.AppID) (push.AppCard, error) {
	t := r.tables.Load()
	app, err := t.app(id)
	if err != nil {
		return push.AppCard{}, err
	}
	card := push.AppCard{App: app}
	var x scratch
	for _, s := range services(&x) {
		c := t.current(id, s.name)
		if c == nil {
			continue
		}
		key, sec := s.part(&card.Credentials)
		if *key = c.key; sec != nil {
			*sec = c.current()
		}
	}
	x.write(&card.Credentials)
	return card, nil
}

// RotateKeys replaces what an app's senders, or its devices, of one kind verify themselves with: native, device,
// umeng.android, umeng.ios, umeng.harmony, getui, aliyun, mpaas or baidu. Where a key names the app, or its owner, it
// stays and its secret changes, for all apps that share it; native gets another API key. The old ones stay valid for 24
// hours. Invalid for another kind, NotFound.
func (r *Registry) RotateKeys(ctx context.Context, id push.AppID, kind string) (push.AppCard, error) {
	const op = "registry.RotateKeys"
	r.changing.Lock()
	defer r.changing.Unlock()
	t := r.tables.Load()
	if _, err := t.app(id); err != nil {
		return push.AppCard{}, err
	}
	all := services(new(scratch))
	i := slices.IndexFunc(all, func(s service) bool { return s.name == kind && s.rotates })
	if i < 0 {
		return push.AppCard{}, &push.Error{Op: op, Kind: push.Invalid, Field: "kind", Msg: "no such kind of keys"}
	}
	old := t.current(id, kind)
	if old == nil {
		return push.AppCard{}, &push.Error{Op: op, Kind: push.NotFound, Field: "kind", Msg: "the app has no such keys"}
	}
	changed := r.rotated(all[i], old)
	rows := make([]push.Credential, len(changed))
	for i, c := range changed {
		rows[i] = r.seal(c)
	}
	if err := r.stores.Apps.PutCredentials(durable(ctx), rows); err != nil {
		r.settle(ctx, err)
		return push.AppCard{}, push.Wrap(op, err)
	}
	r.tables.Store(t.with(changed...))
	return r.Card(id)
}

// rotated returns the credentials that replace old and what belongs to it.
func (r *Registry) rotated(s service, old *credential) []*credential {
	now := r.options.Now()
	until, value := now.Add(graceful).UTC(), s.newSecret()
	if s.newKey == nil { // the key itself changes: two rows, of which one ends
		last, next := *old, *old
		last.expires = until
		next.key, next.secrets = r.apiKeyName(value), []secret{{Value: value}}
		return []*credential{&last, &next}
	}
	secrets := []secret{{Value: value}, {Value: old.current(), Until: until}}
	for _, s := range old.secrets[min(1, len(old.secrets)):] {
		if now.Before(s.Until) {
			secrets = append(secrets, s)
		}
	}
	var all []*credential
	for _, c := range r.tables.Load().credentials[name{old.service, old.key}] {
		next := *c
		next.secrets = secrets
		all = append(all, &next)
	}
	return all
}
