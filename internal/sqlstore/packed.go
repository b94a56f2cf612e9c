package sqlstore

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// The packed form of a device holds all that the index needs and no query asks for, so that a start reads one short value a
// device. It is, in order:
//
//	version, generation, platform, flags       a byte each
//	tokens, epoch                               varints
//	registered, bound, unbound                  signed varints, milliseconds since 1970; 0 is no time
//	changed                                     a signed varint, seconds since 1970; 0 is no time
//	attributes: how many, then name and value   in order of names; a value has its length before it
//	tags: how many, then ids                    growing, each as what it is more than the one before
//
// A name is one byte for those of wellKnown, and else its length, below wellKnownBit, and its bytes.

const packedVersion = 2

// The flags.
const (
	packedTest = 1 << iota
	packedBlacklisted
	packedPhone
	packedRemoved
	packedWiFi
	packedMobile
)

// wellKnown are the attributes that most devices have. Their places are part of the packed form and never change.
var wellKnown = [...]string{
	"app_version", "channel", "country", "province", "city", "language", "brand", "model", "os_version", "carrier",
}

const wellKnownBit = 0x80

var tokenChannels = push.TokenChannels()

// packDevice returns the packed form of d. Invalid if an attribute's name or a tag has none.
func packDevice(d *push.DeviceRow) ([]byte, error) {
	flags, tokens := byte(0), uint64(0)
	for i, on := range []bool{
		d.Test, d.Blacklisted, d.Phone != "", !d.Removed.IsZero(), d.Network == push.WiFi, d.Network == push.Mobile,
	} {
		if on {
			flags |= 1 << i
		}
	}
	for i, channel := range tokenChannels {
		if d.Tokens[channel] != (push.Token{}) {
			tokens |= 1 << i
		}
	}
	b := make([]byte, 0, 256)
	b = append(b, packedVersion, d.Ref.Generation, byte(d.Ref.Platform), flags)
	b = binary.AppendUvarint(b, tokens)
	b = binary.AppendUvarint(b, uint64(d.Epoch))
	for _, t := range []time.Time{d.Registered, d.Bound, d.Unbound} {
		b = binary.AppendVarint(b, millis(t))
	}
	b = binary.AppendVarint(b, seconds(d.Changed))
	b, err := packAttributes(b, d.Attributes)
	if err != nil {
		return nil, err
	}
	tags := slices.Clone(d.TagIDs)
	slices.Sort(tags)
	tags = slices.Compact(tags)
	b = binary.AppendUvarint(b, uint64(len(tags)))
	last := push.TagID(0)
	for _, id := range tags {
		if id == 0 {
			return nil, &push.Error{Kind: push.Invalid, Field: "tags", Msg: "a tag has an id"}
		}
		b = binary.AppendUvarint(b, uint64(id-last))
		last = id
	}
	return b, nil
}

// packAttributes appends attributes to b. Those without a value are left out: the device does not have them.
func packAttributes(b []byte, attributes map[string]string) ([]byte, error) {
	var room [32]string
	names := room[:0]
	for name, value := range attributes {
		if name == "" || len(name) >= wellKnownBit {
			return nil, &push.Error{Kind: push.Invalid, Field: "attributes", Msg: "a name has 1 to 127 bytes"}
		}
		if value != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	b = binary.AppendUvarint(b, uint64(len(names)))
	for _, name := range names {
		if i := slices.Index(wellKnown[:], name); i >= 0 {
			b = append(b, wellKnownBit|byte(i))
		} else {
			b = append(append(b, byte(len(name))), name...)
		}
		value := attributes[name]
		b = append(binary.AppendUvarint(b, uint64(len(value))), value...)
	}
	return b, nil
}

// An unpacked is a packed device, unpacked: what the index keeps and, beyond that, the times to the millisecond.
type unpacked struct {
	row                        push.IndexRow
	registered, bound, unbound int64
	changed                    int64 // in seconds
}

// unpackDevice reads b, which it does not keep, into u, whose slices it uses again. App, Ordinal and Active are not in b and
// stay as they are. Strings come from known.
func unpackDevice(b []byte, u *unpacked, known *interner) error {
	if len(b) < 4 || b[0] != packedVersion {
		return errPacked
	}
	r, flags := &u.row, b[3]
	r.Ref.Generation, r.Ref.Platform = b[1], push.Platform(b[2])
	r.Test, r.Blacklisted = flags&packedTest != 0, flags&packedBlacklisted != 0
	r.Phone, r.Removed = flags&packedPhone != 0, flags&packedRemoved != 0
	switch r.Network = ""; {
	case flags&packedWiFi != 0:
		r.Network = push.WiFi
	case flags&packedMobile != 0:
		r.Network = push.Mobile
	}
	v := varints{b: b[4:]}
	r.Tokens, r.Epoch = uint16(v.unsigned(1<<16-1)), uint32(v.unsigned(1<<32-1))
	u.registered, u.bound, u.unbound, u.changed = v.signed(), v.signed(), v.signed(), v.signed()
	r.Registered = timeOf(u.registered).Unix()
	if u.registered == 0 {
		r.Registered = 0
	}
	r.Bound, r.Unbound = dayOf(u.bound), dayOf(u.unbound)

	r.Attributes = r.Attributes[:0]
	before := ""
	for n := v.unsigned(uint64(len(b))); n > 0 && !v.bad; n-- {
		name := known.name(&v)
		value := known.string(v.bytes(v.unsigned(uint64(len(b)))))
		if name <= before || value == "" {
			return errPacked
		}
		before = name
		r.Attributes = append(r.Attributes, push.Attribute{Name: name, Value: value})
	}
	r.Tags = r.Tags[:0]
	last := uint64(0)
	for n := v.unsigned(uint64(len(b))); n > 0 && !v.bad; n-- {
		more := v.unsigned(1<<32 - 1 - last)
		if more == 0 {
			return errPacked
		}
		last += more
		r.Tags = append(r.Tags, push.TagID(last))
	}
	if v.bad || len(v.b) > 0 {
		return errPacked
	}
	return nil
}

// seconds returns t in seconds since 1970, 0 for no time.
func seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// dayOf returns the day of a time in milliseconds, none for no time.
func dayOf(ms int64) push.Day {
	if ms == 0 {
		return 0
	}
	return push.DayOf(time.UnixMilli(ms))
}

// device fills in what u has beyond the index.
func (u *unpacked) device(d *push.DeviceRow) {
	r := &u.row
	d.Ref.Generation, d.Ref.Platform, d.Epoch = r.Ref.Generation, r.Ref.Platform, r.Epoch
	d.Test, d.Blacklisted = r.Test, r.Blacklisted
	d.Registered, d.Bound, d.Unbound = timeOf(u.registered), timeOf(u.bound), timeOf(u.unbound)
	if u.changed != 0 {
		d.Changed = time.Unix(u.changed, 0).UTC()
	}
	if len(r.Attributes) > 0 {
		d.Attributes = make(map[string]string, len(r.Attributes))
		for _, a := range r.Attributes {
			d.Attributes[a.Name] = a.Value
		}
	}
	if len(r.Tags) > 0 {
		d.TagIDs = slices.Clone(r.Tags)
	}
}

// An interner makes each string once: attributes of many devices are the same few.
type interner struct{ known map[string]string }

// maxInterned is how many strings an interner keeps before it begins anew: some attributes are different on every device.
const maxInterned = 1 << 16

func (n *interner) string(b []byte) string {
	if s, ok := n.known[string(b)]; ok {
		return s
	}
	if n.known == nil || len(n.known) >= maxInterned {
		n.known = map[string]string{}
	}
	s := string(b)
	n.known[s] = s
	return s
}

// name reads the name of an attribute, "" if there is none.
func (n *interner) name(v *varints) string {
	head := v.bytes(1)
	switch {
	case len(head) == 0:
		return ""
	case head[0] < wellKnownBit:
		name := n.string(v.bytes(uint64(head[0])))
		if slices.Contains(wellKnown[:], name) {
			return "" // it has a shorter form
		}
		return name
	case int(head[0]&^wellKnownBit) < len(wellKnown):
		return wellKnown[head[0]&^wellKnownBit]
	}
	return ""
}
