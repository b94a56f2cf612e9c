package registry

import (
	"encoding/binary"
	"hash/maphash"
	"slices"
	"sync"

	"github.com/carillonpush/carillon/internal/push"
)

// stripes is a lock for each of many things: two of them may share one. What a change needs of one stripes is locked by
// one call of lock, so that two changes cannot wait for each other. The zero stripes is ready to use.
type stripes [4096]sync.Mutex

// lock takes the locks of all the things that the numbers stand for, and returns what gives them back.
func (s *stripes) lock(numbers ...uint32) (unlock func()) {
	if len(numbers) == 1 { // nearly always
		l := &s[numbers[0]%uint32(len(s))]
		l.Lock()
		return l.Unlock
	}
	which := make([]uint32, len(numbers))
	for i, n := range numbers {
		which[i] = n % uint32(len(s))
	}
	slices.Sort(which)
	which = slices.Compact(which)
	for _, i := range which {
		s[i].Lock()
	}
	return func() {
		for _, i := range which {
			s[i].Unlock()
		}
	}
}

// pass waits until everybody has given back what they hold now.
func (s *stripes) pass() {
	for i := range s {
		s.lock(uint32(i))()
	}
}

// ofDevice is the number of a device's lock.
func ofDevice(app push.AppID, o push.Ordinal) uint32 { return uint32(o) + uint32(app)*0x9e3779b1 }

// ofDevices are the numbers of the locks of devices of an app.
func ofDevices(app push.AppID, ordinals []push.Ordinal) []uint32 {
	numbers := make([]uint32, len(ordinals))
	for i, o := range ordinals {
		numbers[i] = ofDevice(app, o)
	}
	return numbers
}

// ofInstall is the number of an install's lock: installs are hashes already.
func ofInstall(install [32]byte) uint32 { return binary.BigEndian.Uint32(install[:]) }

var phoneSeed = maphash.MakeSeed()

// ofPhones are the numbers of the locks of phone numbers.
func ofPhones(phones []string) []uint32 {
	numbers := make([]uint32, len(phones))
	for i, p := range phones {
		numbers[i] = uint32(maphash.String(phoneSeed, p))
	}
	return numbers
}
