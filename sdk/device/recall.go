package device

import (
	"slices"
	"sync"
)

const (
	// maxRecalls is how many recalled messages a Device remembers.
	maxRecalls = 1000

	// maxUnsaid is how many recalls wait to be confirmed, and maxTries how often each is said: over MQTT 3.1.1 a refusal cannot
	// be told from a lost connection, and a device that has said it so often has said it.
	maxUnsaid = 100
	maxTries  = 3
)

// recalls are the messages that were taken back from a device. The zero recalls is ready to use.
type recalls struct {
	mu     sync.Mutex // guards what follows
	known  map[string]bool
	order  []string // of known, the oldest first
	waits  []string // to be confirmed
	failed map[string]int
}

// add notes that the message with an id was taken back.
func (r *recalls) add(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known[id] {
		return
	}
	if r.known == nil {
		r.known, r.failed = map[string]bool{}, map[string]int{}
	}
	if len(r.order) == maxRecalls {
		delete(r.known, r.order[0])
		r.order = slices.Delete(r.order, 0, 1)
	}
	r.known[id] = true
	r.order = append(r.order, id)
}

// has reports whether the message with an id was taken back.
func (r *recalls) has(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.known[id]
}

// owe notes that a recall is to be confirmed. The oldest gives way if too many wait.
func (r *recalls) owe(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.Contains(r.waits, id) {
		return
	}
	if len(r.waits) == maxUnsaid {
		r.forget(r.waits[0])
	}
	r.waits = append(r.waits, id)
}

// unsaid returns what is to be confirmed now; each counts as a try.
func (r *recalls) unsaid() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := slices.Clone(r.waits)
	for _, id := range all {
		if r.failed[id]++; r.failed[id] == maxTries {
			r.forget(id)
		}
	}
	return all
}

// said notes that a recall was answered.
func (r *recalls) said(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget(id)
}

// forget takes a recall from what is to be confirmed. mu is held.
func (r *recalls) forget(id string) {
	delete(r.failed, id)
	r.waits = slices.DeleteFunc(r.waits, func(other string) bool { return other == id })
}
