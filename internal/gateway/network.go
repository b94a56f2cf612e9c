package gateway

import "github.com/carillonpush/carillon/internal/push"

// parseNetwork reads {"network": "wifi" | "mobile" | "any"}, as parseEdit reads the other things that a device says of
// itself. With "any" it does not say which.
func parseNetwork(b []byte) (push.Network, error) {
	f, err := readFields(b)
	if err != nil {
		return "", err
	}
	name, there := f.text("network")
	n := push.Network(name)
	switch {
	case !there:
		f.refuse("network", "is missing")
	case n != push.WiFi && n != push.Mobile && n != push.AnyNetwork:
		f.refuse("network", "is wifi, mobile or any")
	}
	if err := f.end(); err != nil {
		return "", err
	}
	return n, nil
}
