package restserver

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"

	"github.com/carillonpush/carillon/internal/push"
)

// An access says who may use a route.
type access int

const (
	open   access = iota // anybody; the body says who
	admin                // the admin token
	sender               // an API key of the app in the path, or the admin token
	device               // a device, by its secret
)

// admit finds out who calls, and fills c with it.
func (s *Server) admit(c *call, need access) error {
	switch need {
	case open:
		return nil
	case device:
		return s.admitDevice(c)
	}
	token, ok := credentials(c.r, "Bearer")
	if !ok {
		return unauthenticated("the header Authorization: Bearer KEY is missing")
	}
	if s.isAdmin(token) {
		c.admin = true
		if name, inApp := c.inApp(); inApp {
			app, err := s.house.Apps.FindApp(name)
			c.app = app
			return err
		}
		return nil
	}
	app, err := s.house.Keys.ByAPIKey(token)
	if err != nil {
		return err
	}
	// A key of another app must not tell whether this one exists, so the app in the path is not looked up.
	name, inApp := c.inApp()
	switch {
	case need == admin:
		return denied("this needs the admin token")
	case !inApp || (name != app.ID.String() && name != app.Name):
		return denied("the key is not one of this app")
	case app.Settings.Bool(push.SettingDisabled):
		return denied("the app is switched off")
	}
	c.app = app
	return s.admitAddress(c, app)
}

// admitAddress holds the caller against the app's ip_allow.
func (s *Server) admitAddress(c *call, app push.App) error {
	list := app.Settings.Get(push.SettingIPAllow)
	if list == "" {
		return nil
	}
	nets, err := push.ParsePrefixes(list)
	if err != nil { // was validated when it was set
		return push.Wrap("restserver.admit", err)
	}
	addr := s.opts.RemoteIP(c.r).Unmap()
	for _, n := range nets {
		if n.Contains(addr) {
			return nil
		}
	}
	return denied("the app does not take requests from this address")
}

// admitDevice authenticates a device by Authorization: Device DEVICE_ID:SECRET.
func (s *Server) admitDevice(c *call) error {
	pair, ok := credentials(c.r, "Device")
	name, secret, cut := strings.Cut(pair, ":")
	if !ok || !cut || name == "" || secret == "" {
		return unauthenticated("the header Authorization: Device DEVICE_ID:SECRET is missing")
	}
	ref, err := s.house.Devices.Authenticate(name, secret)
	if err != nil {
		return err
	}
	c.ref, c.device = ref, name
	return nil
}

// isAdmin compares in constant time; hashing first hides the length too.
func (s *Server) isAdmin(token string) bool {
	sum := sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(sum[:], s.admin[:]) == 1 && s.opts.AdminToken != ""
}

// credentials returns what follows scheme in the header Authorization.
func credentials(r *http.Request, scheme string) (string, bool) {
	got, rest, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	rest = strings.TrimSpace(rest)
	return rest, ok && strings.EqualFold(got, scheme) && rest != ""
}

// unauthenticated returns the error for a caller who is not known.
func unauthenticated(msg string) error { return &push.Error{Kind: push.Unauthenticated, Msg: msg} }

// notFound returns the error for a thing that does not exist.
func notFound(msg string) error { return &push.Error{Kind: push.NotFound, Msg: msg} }
