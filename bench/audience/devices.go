package main

import (
	"fmt"
	"math"
	"math/bits"
	"sort"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// A base is the devices that are measured: a stream that follows from a seed, so that every run and every database has the
// same. Sizes are as real ones are: a few versions, provinces and tags have most devices, and most were active lately.
type base struct {
	devices int
	seed    uint64
	now     time.Time

	versions, provinces, brands, cities, channels []value
	tagNames                                      []string
	tagShares                                     []uint64 // of 1<<32
	activeDays                                    []uint64 // cumulated shares of the day so many days ago, of 1<<32
}

// A value is one value of an attribute, with the shares of those up to it, of 1<<32.
type value struct {
	text  string
	until uint64
}

// The distribution of the issue.
const (
	versionCount, provinceCount, cityCount, brandCount, tagCount, dayCount = 30, 34, 300, 8, 200, 400

	channelCount = 12
)

func newBase(devices int, seed uint64) *base {
	b := &base{devices: devices, seed: seed, now: time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)}
	b.versions = shares(versionCount, 0.9, func(i int) string { return fmt.Sprintf("%d.%d.0", 3-i/12, 11-i%12) })
	b.provinces = shares(provinceCount, 0.6, func(i int) string { return fmt.Sprintf("province-%02d", i) })
	b.cities = shares(cityCount, 0.6, func(i int) string { return fmt.Sprintf("city-%03d", i) })
	b.brands = shares(brandCount, 0.7, func(i int) string {
		return []string{"huawei", "xiaomi", "oppo", "vivo", "honor", "apple", "samsung", "meizu"}[i]
	})
	b.channels = shares(channelCount, 0.8, func(i int) string { return fmt.Sprintf("channel-%d", i) })
	for i := range tagCount {
		b.tagNames = append(b.tagNames, fmt.Sprintf("tag-%03d", i+1))
		b.tagShares = append(b.tagShares, uint64(0.5/float64(i+1)*(1<<32))) // Zipf: the first has half of all devices
	}
	total, sum := 0.0, 0.0
	share := func(day int) float64 { return math.Exp(-float64(day) / 60) }
	for day := range dayCount {
		total += share(day)
	}
	for day := range dayCount {
		sum += share(day)
		b.activeDays = append(b.activeDays, uint64(sum/total*(1<<32)))
	}
	return b
}

// shares returns values whose shares fall as 1/(i+1)^skew.
func shares(n int, skew float64, text func(int) string) []value {
	all, total, sum := make([]value, n), 0.0, 0.0
	for i := range n {
		total += math.Pow(float64(i+1), -skew)
	}
	for i := range n {
		sum += math.Pow(float64(i+1), -skew)
		all[i] = value{text(i), uint64(sum / total * (1 << 32))}
	}
	all[n-1].until = 1 << 32
	return all
}

// A dice gives the random numbers of one device.
type dice uint64

func (d *dice) roll() uint64 {
	*d += 0x9e3779b97f4a7c15
	x := uint64(*d)
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// share returns a number below 1<<32.
func (d *dice) share() uint64 { return d.roll() >> 32 }

func pick(values []value, share uint64) string {
	return values[sort.Search(len(values)-1, func(i int) bool { return share < values[i].until })].text
}

// dice returns the random numbers of a device.
func (b *base) dice(o push.Ordinal) *dice {
	hi, lo := bits.Mul64(uint64(o)+1, 0xd1342543de82ef95)
	d := dice(hi ^ lo ^ b.seed)
	return &d
}

// row fills in what the index keeps of a device. It uses r's slices again.
func (b *base) row(o push.Ordinal, r *push.IndexRow) {
	d := b.dice(o)
	*r = push.IndexRow{
		Ref:        push.Ref{App: 1, Ordinal: o, Generation: 1, Platform: push.Android},
		Attributes: r.Attributes[:0], Tags: r.Tags[:0],
	}
	set := func(name string, values []value) {
		r.Attributes = append(r.Attributes, push.Attribute{Name: name, Value: pick(values, d.share())})
	}
	set("app_version", b.versions)
	set("province", b.provinces)
	set("city", b.cities)
	set("brand", b.brands)
	set("channel", b.channels)
	if brand := r.Attributes[3].Value; brand == "apple" {
		r.Ref.Platform, r.Tokens = push.IOS, 1
	} else if d.share() < 1<<31 {
		r.Tokens = 1 << (2 + d.share()&3)
	}
	// Devices came in the order of their ordinals, over three years.
	r.Registered = b.now.Add(-3 * 365 * 24 * time.Hour * time.Duration(b.devices-int(o)) / time.Duration(b.devices)).Unix()
	r.Active = b.day(d)
	switch account := d.share(); {
	case account < 1<<32*3/10:
		r.Bound = b.day(d)
	case account < 1<<32*4/10:
		r.Unbound = b.day(d)
	}
	r.Phone = d.share() < 1<<32/5
	r.Test = d.share() < 1<<32/100_000
	r.Blacklisted = d.share() < 1<<32/500
	for i, share := range b.tagShares {
		if d.share() < share {
			r.Tags = append(r.Tags, push.TagID(i+1))
		}
	}
}

func (b *base) day(d *dice) push.Day {
	share := d.share()
	return push.DayOf(b.now) - push.Day(sort.Search(dayCount-1, func(i int) bool { return share < b.activeDays[i] }))
}
