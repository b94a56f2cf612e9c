package push

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// A Happening is a receipt that said something new, and when it was committed. Webhooks and the event stream are told of it.
type Happening struct {
	Receipt
	At time.Time
}

// An Event is a Happening as it is told to an app's server.
type Event struct {
	Time    time.Time `json:"time"`
	Event   string    `json:"event"` // one of EventNames
	Push    ID        `json:"push,omitempty"`
	Device  DeviceID  `json:"device,omitempty"`
	Channel string    `json:"channel,omitempty"` // the way out: "own"
	Reason  string    `json:"reason,omitempty"`  // of dropped: the report's reason
	State   State     `json:"state,omitempty"`   // of finished
}

// EventNames returns what an app's server may be told of, in order.
func EventNames() []string {
	return []string{
		"clicked", "delivered", "dismissed", "displayed", "dropped", "finished", "opened", "recalled", "sent", "token_invalid",
	}
}

// EventName returns the name of the event that m makes, "" if it makes none.
func (m Mark) EventName() string {
	switch m {
	case MarkSent:
		return "sent"
	case MarkDelivered:
		return "delivered"
	case MarkDisplayed:
		return "displayed"
	case MarkOpened:
		return "opened"
	case MarkClicked:
		return "clicked"
	case MarkDismissed:
		return "dismissed"
	case MarkRecalled:
		return "recalled"
	case MarkFinished:
		return "finished"
	}
	if m.Reason() != "" {
		return "dropped"
	}
	return ""
}

// A WebhookID names a webhook of an app, a decimal number.
type WebhookID int64

// A Webhook is where an app's server is told of events.
type Webhook struct {
	ID      WebhookID `json:"id,string"`
	App     AppID     `json:"-"`
	URL     string    `json:"url"`
	Events  []string  `json:"events"` // names of EventNames, in order; empty is all
	Secret  []byte    `json:"-"`      // the key of the signature; in the record it is sealed
	Created time.Time `json:"created"`
}

// Limits of webhooks.
const (
	MaxWebhooks   = 16 // of an app
	MaxWebhookURL = 2048
	MaxBatch      = 1000 // events of one call
)

// Wants reports whether w is told of events with this name.
func (w Webhook) Wants(event string) bool {
	return len(w.Events) == 0 || slices.Contains(w.Events, event)
}

// Validate reports what is wrong with w. Whether its address may be called is found out when it is called, too.
func (w Webhook) Validate() error {
	u, err := url.Parse(w.URL)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || u.Fragment != "":
		return invalid("url", "is an http or https URL without credentials and fragment")
	case len(w.URL) > MaxWebhookURL || !text(w.URL):
		return invalid("url", "is at most 2048 bytes of UTF-8, without NUL")
	case u.Port() != "" && !port(u.Port()):
		return invalid("url", "has no such port")
	}
	for i, e := range w.Events {
		if !slices.Contains(EventNames(), e) || slices.Contains(w.Events[:i], e) {
			return invalid("events", "has names of events, each once")
		}
	}
	return nil
}

func port(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

// PublicAddress reports whether a is an address of the public internet: not of this machine, of a private network, of a
// link, shared, reserved or many.
func PublicAddress(a netip.Addr) bool {
	a = a.Unmap().WithZone("") // no prefix contains an address with a zone
	if !a.IsValid() || !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	for _, p := range reserved {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// reserved are networks that IsGlobalUnicast and IsPrivate let through and that are nobody's server (RFC 6890), or lead to
// an IPv4 address that is not looked at here.
var reserved = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("100::/64"), netip.MustParsePrefix("2001::/23"),
	netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("192.88.99.0/24"),
	netip.MustParsePrefix("::/96"), netip.MustParsePrefix("fec0::/10"), netip.MustParsePrefix("3fff::/20"),
	netip.MustParsePrefix("5f00::/16"),
}

// A Batch is some happenings for one webhook: what one call tells.
type Batch struct {
	ID       int64
	App      AppID
	Webhook  WebhookID
	Created  time.Time
	Attempts int       // calls that failed
	Next     time.Time // when it is called next; zero when it is dead
	Error    string    // why the last call failed, in words
	Happened []Happening
}

// A BatchInfo is a Batch as it is shown.
type BatchInfo struct {
	ID       int64     `json:"id,string"`
	Created  time.Time `json:"created"`
	Attempts int       `json:"attempts"`
	Next     time.Time `json:"next,omitzero"` // when it is tried again; none when it is dead
	Dead     bool      `json:"dead"`
	Error    string    `json:"error,omitempty"`
	Events   int       `json:"events"`
}
