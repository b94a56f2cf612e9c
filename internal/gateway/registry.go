package gateway

import (
	"sync"

	"github.com/carillonpush/carillon/internal/ordset"
	"github.com/carillonpush/carillon/internal/push"
)

// shards is a power of two.
const shards = 64

// A registry knows the connection of each device that is online.
type registry struct{ shards [shards]shard }

// A shard is the part of the registry that has some of the ordinals of every app.
type shard struct {
	presence sync.Mutex   // held from a change to the end of the call that tells it, so that calls come in order
	mu       sync.RWMutex // guards apps
	apps     map[push.AppID]*present
	_        [40]byte // two shards do not share a cache line
}

// present are the devices of one app in one shard.
type present struct {
	conns  map[push.Ordinal]*conn
	online ordset.Set
}

func (r *registry) init() {
	for i := range r.shards {
		r.shards[i].apps = map[push.AppID]*present{}
	}
}

func shardOf(app push.AppID, o push.Ordinal) int {
	return int((uint32(o) ^ uint32(app)*0x9E3779B1) % shards)
}

func (r *registry) find(app push.AppID, o push.Ordinal) *conn {
	s := &r.shards[shardOf(app, o)]
	s.mu.RLock()
	defer s.mu.RUnlock()
	if p := s.apps[app]; p != nil {
		return p.conns[o]
	}
	return nil
}

// put makes c its device's connection. placed is called with the one that was, or nil, before another can be removed.
func (r *registry) put(c *conn, placed func(old *conn)) {
	ref := c.device
	s := &r.shards[shardOf(ref.App, ref.Ordinal)]
	s.presence.Lock()
	defer s.presence.Unlock()
	s.mu.Lock()
	p := s.apps[ref.App]
	if p == nil {
		p = &present{conns: map[push.Ordinal]*conn{}}
		s.apps[ref.App] = p
	}
	old := p.conns[ref.Ordinal]
	p.conns[ref.Ordinal] = c
	p.online.Add(ref.Ordinal)
	s.mu.Unlock()
	placed(old)
}

// remove takes c out, unless another connection has its place. gone is called if it had not.
func (r *registry) remove(c *conn, gone func()) {
	ref := c.device
	s := &r.shards[shardOf(ref.App, ref.Ordinal)]
	s.presence.Lock()
	defer s.presence.Unlock()
	s.mu.Lock()
	p := s.apps[ref.App]
	mine := p != nil && p.conns[ref.Ordinal] == c
	if mine {
		delete(p.conns, ref.Ordinal)
		p.online.Remove(ref.Ordinal)
		if len(p.conns) == 0 {
			delete(s.apps, ref.App)
		}
	}
	s.mu.Unlock()
	if mine {
		gone()
	}
}

// of appends the connections of app.
func (s *shard) of(app push.AppID, all []*conn) []*conn {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if p := s.apps[app]; p != nil {
		for _, c := range p.conns {
			all = append(all, c)
		}
	}
	return all
}

func (r *registry) online(app push.AppID) *ordset.Set {
	all := new(ordset.Set)
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.RLock()
		if p := s.apps[app]; p != nil {
			all.Union(&p.online)
		}
		s.mu.RUnlock()
	}
	return all
}

func (r *registry) count(app push.AppID) (n int) {
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.RLock()
		if p := s.apps[app]; p != nil {
			n += len(p.conns)
		}
		s.mu.RUnlock()
	}
	return n
}

func (r *registry) total() (n int) {
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.RLock()
		for _, p := range s.apps {
			n += len(p.conns)
		}
		s.mu.RUnlock()
	}
	return n
}
