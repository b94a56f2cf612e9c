package push

import "time"

// An IndexRow is what the index keeps of a device. Who yields one owns its slices, which are valid until yield returns.
type IndexRow struct {
	Ref         Ref
	Epoch       uint32 // of the device's secret
	Removed     bool   // then nothing but Ref and Epoch counts
	Test        bool
	Blacklisted bool
	Phone       bool    // whether it has one
	Tokens      uint16  // a bit for each channel of which it has a token, by position in TokenChannels
	Registered  int64   // seconds since 1970
	Active      Day     // the last one; 0 for a device that was imported and never came
	Bound       Day     // when the account was logged in that is; 0 while none is
	Unbound     Day     // when the last account was logged out; 0 while one is, or if none ever was
	Network     Network // what it said last that it is on: WiFi, Mobile, or "" if it has not said
	Attributes  []Attribute
	Tags        []TagID
}

// An Attribute is a name and a value that is not empty.
type Attribute struct{ Name, Value string }

// Index returns what the index keeps of d.
func (d *DeviceRow) Index() IndexRow {
	r := IndexRow{Ref: d.Ref, Epoch: d.Epoch, Removed: !d.Removed.IsZero()}
	if r.Removed {
		return r
	}
	r.Test, r.Blacklisted, r.Phone = d.Test, d.Blacklisted, d.Phone != ""
	for i, c := range TokenChannels() {
		if d.Tokens[c] != (Token{}) {
			r.Tokens |= 1 << i
		}
	}
	r.Registered, r.Network = d.Registered.Unix(), d.Network
	r.Active, r.Bound, r.Unbound = dayOf(d.LastActive), dayOf(d.Bound), dayOf(d.Unbound)
	for k, v := range d.Attributes {
		r.Attributes = append(r.Attributes, Attribute{k, v})
	}
	r.Tags = d.TagIDs
	return r
}

// dayOf returns the day of t, 0 for no time.
func dayOf(t time.Time) Day {
	if t.IsZero() {
		return 0
	}
	return DayOf(t)
}

// A Tally divides a set of devices.
type Tally struct {
	Platforms   map[Platform]int
	Tokens      map[string]int // by channel
	Blacklisted int
}

// An IndexCheck is what a comparison of the index with the record found.
type IndexCheck struct {
	Devices  int  `json:"devices"`  // that were compared
	Wrong    int  `json:"wrong"`    // of which the index said something else than the record
	Missing  int  `json:"missing"`  // that the index did not have
	Surplus  int  `json:"surplus"`  // that the index had and the record has not
	Repaired bool `json:"repaired"` // whether the index says now what the record says
}

// A TagInfo is a tag as it is shown.
type TagInfo struct {
	Tag     string    `json:"tag"`
	ID      TagID     `json:"-"`       // what it is inside; names are what callers use
	Devices int       `json:"devices"` // that carry it
	Created time.Time `json:"created"`
}
