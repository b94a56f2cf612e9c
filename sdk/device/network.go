package device

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

// A Network is the sort of network that a device is on. A message may be for one of them only: it comes once the device has
// reported that it is on it. A device that has never said gets all.
type Network string

// The networks.
const (
	WiFi       Network = "wifi"
	Mobile     Network = "mobile"
	AnyNetwork Network = "any" // the device does not say which
)

// Network says which network the device is on. It returns as SetAlias does.
func (d *Device) Network(ctx context.Context, n Network) error {
	payload, err := json.Marshal(map[string]Network{"network": n})
	if err != nil {
		return fmt.Errorf("device: network: %w", err)
	}
	return d.say(ctx, "device/network", "network", payload)
}

// SetNetwork says over HTTP, at the server with base URL server, which network the device id is on: for a device that reads
// its inbox as server-sent events. It returns when the server has it on disk, and does not retry. The error is an *Error if the
// server refused. client may be nil: then it is one with a timeout of 30 s.
func SetNetwork(ctx context.Context, server string, id Identity, n Network, client *http.Client) error {
	if n == AnyNetwork {
		n = "" // as the device's record has it
	}
	_, err := call(ctx, client, "network", http.MethodPatch, server, "/device/v1/me", map[string]Network{"network": n}, &id)
	return err
}
