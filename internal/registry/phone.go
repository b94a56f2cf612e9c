package registry

import (
	"context"
	"maps"
	"slices"
	"strconv"

	"github.com/carillonpush/carillon/internal/push"
)

// SetPhones gives phones to devices of app, in one commit; of two binds of one device the later counts. If exclusive, other
// devices that have the number lose it in the same commit, and of two binds of one number the later counts (Getui); else
// several devices may have it. Invalid with Field "phones" or "phones[i]", NotFound with Field "phones[i]".
func (r *Registry) SetPhones(ctx context.Context, app push.AppID, binds []push.PhoneBind, exclusive bool) error {
	const op = "registry.SetPhones"
	if len(binds) == 0 || len(binds) > push.MaxDirect {
		return &push.Error{Op: op, Kind: push.Invalid, Field: "phones", Msg: "are 1 to 1000"}
	}
	phones := make([]string, 0, len(binds))
	want := make(map[push.Ordinal]string, len(binds))
	place := make(map[push.Ordinal]int, len(binds))
	owner := make(map[string]push.Ordinal, len(binds)) // the last that a number is given to
	for i, b := range binds {
		field := "phones[" + strconv.Itoa(i) + "]"
		if push.ValidatePhone(b.Phone) != nil {
			return &push.Error{Op: op, Kind: push.Invalid, Field: field, Msg: "is not a phone number, nor the MD5 of one"}
		}
		if b.Ref.App != app {
			return &push.Error{Op: op, Kind: push.NotFound, Field: field, Msg: "no such device"}
		}
		phones = append(phones, b.Phone)
		want[b.Ref.Ordinal], place[b.Ref.Ordinal] = b.Phone, i
		owner[b.Phone] = b.Ref.Ordinal
	}
	if exclusive {
		for o, phone := range want {
			if phone != "" && owner[phone] != o {
				want[o] = ""
			}
		}
	}
	defer r.phones.lock(ofPhones(phones)...)() // from here on nobody gets one of them
	losers := map[push.Ordinal]bool{}
	if exclusive {
		holders, err := r.stores.Devices.Holders(ctx, app, push.Names{Kind: push.ByPhone, Values: slices.Sorted(maps.Keys(owner))}, 0)
		if err != nil {
			return push.Wrap(op, err)
		}
		for _, h := range holders {
			if _, given := want[h.Ordinal]; !given {
				losers[h.Ordinal] = true
			}
		}
	}
	refs := make([]push.Ref, 0, len(want)+len(losers))
	for o, i := range place {
		ref, ok := r.index.Find(app, o)
		if !ok || ref.Generation != binds[i].Ref.Generation {
			return &push.Error{Op: op, Kind: push.NotFound, Field: "phones[" + strconv.Itoa(i) + "]", Msg: "no such device"}
		}
		refs = append(refs, ref)
	}
	for o := range losers { // the record says so: it may know a device that the index does not know yet
		refs = append(refs, push.Ref{App: app, Ordinal: o})
	}
	_, err := r.changeAll(ctx, app, refs, func(row *push.DeviceRow, c *push.DeviceChange) error {
		c.What = "attributes"
		if losers[row.Ref.Ordinal] {
			if _, taken := owner[row.Phone]; taken { // else it has another by now
				row.Phone = ""
			}
			return nil
		}
		row.Phone = want[row.Ref.Ordinal]
		return nil
	})
	return push.Wrap(op, err)
}
