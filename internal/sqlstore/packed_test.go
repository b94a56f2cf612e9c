package sqlstore_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/sqlstore"
)

// packable draws devices of which all is in the packed form.
var packable = rapid.Custom(func(t *rapid.T) push.DeviceRow {
	moment := rapid.Custom(func(t *rapid.T) time.Time {
		if rapid.Bool().Draw(t, "never") {
			return time.Time{}
		}
		return time.UnixMilli(rapid.Int64Range(1, 1<<45).Draw(t, "ms")).UTC()
	})
	var d push.DeviceRow
	d.Ref.Generation = rapid.Uint8().Draw(t, "generation")
	d.Ref.Platform = push.Platform(rapid.Uint8Range(0, 4).Draw(t, "platform"))
	d.Epoch = rapid.Uint32().Draw(t, "epoch")
	d.Test, d.Blacklisted = rapid.Bool().Draw(t, "test"), rapid.Bool().Draw(t, "blacklisted")
	d.Registered, d.Bound, d.Unbound = moment.Draw(t, "registered"), moment.Draw(t, "bound"), moment.Draw(t, "unbound")
	if changed := rapid.Int64Range(0, 1<<35).Draw(t, "changed"); changed > 0 {
		d.Changed = time.Unix(changed, 0).UTC()
	}
	name := rapid.OneOf(rapid.SampledFrom([]string{"app_version", "city", "carrier"}), rapid.StringMatching(`[a-zA-Z0-9_.-]{1,64}`))
	attributes := rapid.MapOfN(name, rapid.StringN(1, 256, 256), 0, 20).Draw(t, "attributes")
	if len(attributes) > 0 {
		d.Attributes = attributes
	}
	tags := rapid.SliceOfNDistinct(rapid.Uint32Min(1), 0, 50, rapid.ID[uint32]).Draw(t, "tags")
	slices.Sort(tags)
	for _, id := range tags {
		d.TagIDs = append(d.TagIDs, push.TagID(id))
	}
	return d
})

func TestDevicesSurvivePacking(t *testing.T) {
	var r sqlstore.DeviceReader // of all: what one device had is not seen in the next
	rapid.Check(t, func(t *rapid.T) {
		want := packable.Draw(t, "device")
		b, err := sqlstore.PackDevice(&want)
		if err != nil {
			t.Fatal(err)
		}
		got, row, err := r.Device(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("device (-got +want):\n%s", diff)
		}
		index := want.Index()
		if want.Registered.IsZero() {
			index.Registered = 0
		}
		slices.SortFunc(index.Attributes, func(a, b push.Attribute) int { return strings.Compare(a.Name, b.Name) })
		index.Active = 0 // in a column of its own
		if diff := cmp.Diff(row, index, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("for the index (-got +want):\n%s", diff)
		}
	})
}

// What the packed form derives from other parts of a device, and what it tidies.
func TestPackedDevice(t *testing.T) {
	var d push.DeviceRow
	d.Phone, d.Removed = "12345", time.UnixMilli(1)
	d.Tokens = map[string]push.Token{"apns": {Token: "a"}, "webpush": {Web: "w"}, "fcm": {}}
	d.TagIDs = []push.TagID{9, 2, 9}
	d.Attributes = map[string]string{"city": "", "brand": "b"}
	b, err := sqlstore.PackDevice(&d)
	if err != nil {
		t.Fatal(err)
	}
	got, row, err := new(sqlstore.DeviceReader).Device(b)
	if err != nil {
		t.Fatal(err)
	}
	if !row.Phone || !row.Removed || row.Tokens != 1|1<<9 {
		t.Errorf("got phone %v, removed %v, tokens %b, want both and the first and the last", row.Phone, row.Removed, row.Tokens)
	}
	if want := []push.TagID{2, 9}; !slices.Equal(got.TagIDs, want) {
		t.Errorf("tags: got %v, want %v", got.TagIDs, want)
	}
	if want := map[string]string{"brand": "b"}; !cmp.Equal(got.Attributes, want) {
		t.Errorf("attributes: got %v, want %v", got.Attributes, want)
	}
	for _, bad := range []push.DeviceRow{
		{TagIDs: []push.TagID{0}},
		{Device: push.Device{Attributes: map[string]string{"": "x"}}},
		{Device: push.Device{Attributes: map[string]string{strings.Repeat("n", 128): "x"}}},
	} {
		if _, err := sqlstore.PackDevice(&bad); push.KindOf(err) != push.Invalid {
			t.Errorf("%v %v: got %v, want invalid", bad.TagIDs, bad.Attributes, err)
		}
	}
}

func TestPackedDevicesAreSmall(t *testing.T) {
	d := benchDevice(123_456)
	b, err := sqlstore.PackDevice(&d)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > 128 {
		t.Errorf("a device with eight attributes and ten tags takes %d bytes, want at most 128", len(b))
	}
}

func FuzzUnpackDevice(f *testing.F) {
	for i := range 3 {
		d := benchDevice(push.Ordinal(i))
		b, err := sqlstore.PackDevice(&d)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte{2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 4, 'c', 'i', 't', 'y', 1, 'x', 0}) // a name that has a shorter form
	f.Add([]byte{2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0})                          // one tag twice
	f.Add([]byte{3})
	f.Fuzz(func(t *testing.T, b []byte) {
		var r sqlstore.DeviceReader
		d, row, err := r.Device(b)
		if err != nil {
			return
		}
		// The phone, the tokens and whether it was removed stand elsewhere too.
		if row.Phone {
			d.Phone = "1"
		}
		if row.Removed {
			d.Removed = time.UnixMilli(1)
		}
		d.Tokens = map[string]push.Token{}
		for i, c := range push.TokenChannels() {
			if row.Tokens&(1<<i) != 0 {
				d.Tokens[c] = push.Token{Token: "t"}
			}
		}
		packed, err := sqlstore.PackDevice(&d)
		if err != nil {
			t.Fatalf("pack what was unpacked: %v", err)
		}
		again, _, err := r.Device(packed)
		if err != nil {
			t.Fatal(err)
		}
		d.Phone, d.Removed, d.Tokens = "", time.Time{}, nil
		if diff := cmp.Diff(again, d); diff != "" {
			t.Errorf("-got +want:\n%s", diff)
		}
	})
}

func FuzzUnpackActive(f *testing.F) {
	f.Add(sqlstore.PackActive(20_000, []push.Chunk{{Key: 0, Bits: []byte{1, 2}}, {Key: 65535, Bits: nil}}))
	f.Add([]byte{1, 0, 0, 200})
	f.Fuzz(func(t *testing.T, b []byte) {
		day, devices, err := sqlstore.UnpackActive(b)
		if err != nil {
			return
		}
		day2, again, err := sqlstore.UnpackActive(sqlstore.PackActive(day, devices))
		same := slices.EqualFunc(again, devices, func(a, b push.Chunk) bool { return a.Key == b.Key && bytes.Equal(a.Bits, b.Bits) })
		if err != nil || day2 != day || !same {
			t.Errorf("got day %d, %v, %v, want %d, %v", day2, again, err, day, devices)
		}
	})
}

// benchDevice returns a device as most are: eight attributes, ten tags, a token, an account.
func benchDevice(o push.Ordinal) push.DeviceRow {
	var d push.DeviceRow
	d.Ref = push.Ref{App: 1, Ordinal: o, Generation: 1, Platform: push.Platform(o%4 + 1)}
	d.App, d.Platform = 1, d.Ref.Platform
	d.Attributes = map[string]string{
		"app_version": fmt.Sprintf("3.%d.0", o%30), "channel": "store", "country": "CN", "province": fmt.Sprintf("p%d", o%34),
		"city": fmt.Sprintf("c%d", o%300), "language": "zh", "brand": fmt.Sprintf("b%d", o%8), "os_version": fmt.Sprintf("1%d", o%6),
	}
	for i := range push.TagID(10) {
		d.TagIDs = append(d.TagIDs, 1+i*20+push.TagID(o)%20)
	}
	d.Tokens = map[string]push.Token{"fcm": {Token: fmt.Sprintf("%0100d", o)}}
	d.Account = fmt.Sprintf("account %d", o)
	d.Registered = time.UnixMilli(1_700_000_000_000 + int64(o)).UTC()
	d.LastActive, d.Bound, d.Changed = d.Registered, d.Registered, d.Registered.Truncate(time.Second)
	copy(d.Install[:], fmt.Sprintf("%032x", uint64(o)*0x9e3779b97f4a7c15))
	return d
}
