// Package facade is what the façades share: the port to the rest of the house, and the HTTP plumbing that every dialect
// needs in the same way. A façade itself, one wire format a package, lies below it.
//
// A façade verifies a request in its dialect's own way, maps it to a push.Request, hands it to [Pushes] and answers in
// the dialect's own words. It knows nothing of delivery.
package facade

import (
	"context"
	"crypto/rand"
	"encoding/hex"

	"github.com/carillonpush/carillon/internal/push"
)

// Pushes is what façades need of the house. All methods are safe for concurrent use, and errors carry a push.Kind.
type Pushes interface {
	// Accept makes req durable and returns the push; of a repeat of req.Key it returns the first push, before it looks at
	// anything else of req. Invalid, with Field in native REST's form; NotFound if the app is gone, or if none of the named targets is known and req does not allow that;
	// TooMany; Unavailable, after which the outcome is unknown.
	Accept(ctx context.Context, req push.Request) (push.Push, error)
	// Count returns whom req would reach now, and changes nothing. It refuses what Accept refuses.
	Count(ctx context.Context, req push.Request) (push.Count, error)
	// Find returns a push of app, with its request and state, and its report. NotFound.
	Find(ctx context.Context, app push.AppID, id push.ID) (push.Push, push.Report, error)
	// Cancel stops what has not left of a push, and returns it as it is then. NotFound; Conflict if nothing is left to stop.
	Cancel(ctx context.Context, app push.AppID, id push.ID) (push.Push, error)
}

// RequestID returns a new id under which one request is logged, and found again where a dialect hands it out: a random
// UUID (version 4) in lower-case hex.
func RequestID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails, says its documentation
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
