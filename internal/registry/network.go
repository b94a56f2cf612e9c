package registry

import (
	"context"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// Network returns what network a device said last that it is on, "" if it has not said. It is in memory.
func (r *Registry) Network(app push.AppID, o push.Ordinal) push.Network {
	return r.index.Network(app, o)
}

// Zone returns the value of a device's attribute time_zone, "" if it has none. It is in memory.
func (r *Registry) Zone(app push.AppID, o push.Ordinal) string {
	return r.index.Attribute(app, o, "time_zone")
}

// SetNetwork notes what network a device is on: WiFi or Mobile; AnyNetwork, or "", where it does not say. Invalid, NotFound.
func (r *Registry) SetNetwork(ctx context.Context, ref push.Ref, n push.Network) error {
	const op = "registry.SetNetwork"
	if n == push.AnyNetwork {
		n = ""
	}
	if err := (push.DevicePatch{Network: &n}).Validate(); err != nil {
		return push.Wrap(op, err)
	}
	_, err := r.change(ctx, ref, func(row *push.DeviceRow, c *push.DeviceChange) error {
		c.What = "attributes"
		row.Network = n
		return nil
	})
	return push.Wrap(op, err)
}

// nameTimeout is how long DeviceID may read the record.
const nameTimeout = 5 * time.Second

// DeviceID returns the id of the device that has an ordinal, or had it last; "" if none ever had. Of a device that was removed it
// asks the record, and returns "" as well if that fails.
func (r *Registry) DeviceID(app push.AppID, o push.Ordinal) push.DeviceID {
	if ref, ok := r.index.Find(app, o); ok {
		return r.keys.DeviceID(ref)
	}
	ctx, cancel := context.WithTimeout(context.Background(), nameTimeout)
	defer cancel()
	rows, err := r.stores.Devices.FindDevices(ctx, app, []push.Ordinal{o})
	if err != nil {
		r.options.Log.Warn("a removed device has no name", "app", app, "ordinal", o, "err", err)
	}
	if len(rows) == 0 {
		return ""
	}
	return r.keys.DeviceID(rows[0].Ref)
}
