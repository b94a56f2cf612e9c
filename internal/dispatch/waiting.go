package dispatch

import (
	"sync"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// waiting tells for which devices inbox rows may wait: a superset, so that a device that connects with nothing waiting
// costs no read of the record.
type waiting struct {
	mu   sync.RWMutex // guards apps
	apps map[push.AppID]*waitingSet
}

type waitingSet struct {
	mu   sync.RWMutex // guards what follows
	set  *ordset.Set
	adds uint64 // how often add was called: whoever finds an inbox empty may clear only if none came meanwhile
}

func newWaiting() *waiting { return &waiting{apps: map[push.AppID]*waitingSet{}} }

func (w *waiting) app(id push.AppID) *waitingSet {
	w.mu.RLock()
	s := w.apps[id]
	w.mu.RUnlock()
	if s != nil {
		return s
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if s = w.apps[id]; s == nil {
		s = &waitingSet{set: new(ordset.Set)}
		w.apps[id] = s
	}
	return s
}

// add says that a row of the device is committed.
func (w *waiting) add(app push.AppID, o push.Ordinal) {
	s := w.app(app)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set.Add(o)
	s.adds++
}

// ask reports whether rows may wait, and a stamp for clear.
func (w *waiting) ask(app push.AppID, o push.Ordinal) (may bool, stamp uint64) {
	s := w.app(app)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.set.Has(o), s.adds
}

// clear says that the device's inbox was read after ask gave stamp, and was empty.
func (w *waiting) clear(app push.AppID, o push.Ordinal, stamp uint64) {
	s := w.app(app)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.adds == stamp {
		s.set.Remove(o)
	}
}
