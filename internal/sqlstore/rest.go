package sqlstore

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	"github.com/carillonpush/carillon/internal/push"
)

// packOrdinals writes sorted ordinals: their number, then the distance of each from the one before, as varints.
func packOrdinals(all []push.Ordinal) []byte {
	b := binary.AppendUvarint(make([]byte, 0, 2+3*len(all)), uint64(len(all)))
	last := push.Ordinal(0)
	for _, o := range all {
		b = binary.AppendUvarint(b, uint64(o-last))
		last = o
	}
	return b
}

// unpackOrdinals undoes packOrdinals.
func unpackOrdinals(b []byte) ([]push.Ordinal, error) {
	n, used := binary.Uvarint(b)
	if used <= 0 || n > uint64(len(b)) {
		return nil, fmt.Errorf("targets of %d bytes are cut off", len(b))
	}
	b = b[used:]
	all := make([]push.Ordinal, n)
	last := uint64(0)
	for i := range all {
		d, used := binary.Uvarint(b)
		if last += d; used <= 0 || last > 1<<32-1 {
			return nil, fmt.Errorf("target %d of %d is cut off", i, n)
		}
		all[i] = push.Ordinal(last)
		b = b[used:]
	}
	return all, nil
}

// A rest is what the request of a direct push has beyond its payload. Its devices are not in it: they are the targets.
type rest struct {
	State     push.State      `json:"state,omitempty"` // "" is done
	Start     int64           `json:"start,omitempty"` // 0 is when it was created
	Platforms []push.Platform `json:"platforms,omitempty"`
	Message   *push.Message   `json:"message,omitempty"` // without what the payload holds
	Policy    *push.Policy    `json:"policy,omitempty"`
	Open      bool            `json:"open,omitempty"`
	Origin    string          `json:"origin,omitempty"`
	RequestID string          `json:"request_id,omitempty"`
	Merged    []byte          `json:"merged,omitempty"` // see packOrdinals
}

func packRest(a *push.Acceptance) ([]byte, error) {
	p := &a.Push
	r := rest{Platforms: p.Request.Audience.Platforms, Open: p.Request.Open, Origin: p.Request.Origin, RequestID: p.Request.RequestID}
	if p.State != push.Done {
		r.State = p.State
	}
	if start := millis(p.Start); start != millis(p.Created) {
		r.Start = start
	}
	if len(a.Merged) > 0 {
		merged := slices.Clone(a.Merged)
		slices.Sort(merged)
		r.Merged = packOrdinals(slices.Compact(merged))
	}
	m := p.Request.Message
	m.Data, m.Extras, m.APNS, m.Recall = nil, nil, nil, 0
	if m.Template == nil { // else the payload has the texts of the template, and not what was asked for
		m.Notification = nil
	}
	if !reflect.ValueOf(m).IsZero() {
		r.Message = &m
	}
	if !reflect.ValueOf(p.Request.Policy).IsZero() {
		r.Policy = &p.Request.Policy
	}
	b, err := json.Marshal(r)
	if err != nil {
		return nil, &push.Error{Kind: push.Invalid, Field: "request", Msg: "has no JSON form", Err: err}
	}
	if string(b) == "{}" {
		return []byte{}, nil
	}
	return b, nil
}

// unpackRest puts payload and what packRest wrote into p. An error of it is one of damaged.
func unpackRest(p *push.Push, payload, b []byte) error {
	var r rest
	if len(b) > 0 {
		if err := json.Unmarshal(b, &r); err != nil {
			return damaged(p, err)
		}
	}
	p.State, p.Start = cmp.Or(r.State, push.Done), p.Created
	if r.Start != 0 {
		p.Start = timeOf(r.Start)
	}
	q := &p.Request
	q.App, q.Open, q.Origin, q.RequestID, q.Audience.Platforms = p.App, r.Open, r.Origin, r.RequestID, r.Platforms
	if r.Policy != nil {
		q.Policy = *r.Policy
	}
	if r.Message != nil {
		q.Message = *r.Message
	}
	var m push.InboxMessage
	if err := json.Unmarshal(payload, &m); err != nil {
		return damaged(p, err)
	}
	if q.Message.Template == nil {
		q.Message.Notification = m.Notification
	}
	q.Message.Data, q.Message.Extras, q.Message.APNS, q.Message.Recall = m.Data, m.Extras, m.APNS, m.Recall
	return nil
}

// packRules returns r in JSON, nothing for the zero Rules.
func packRules(r push.Rules) []byte {
	if r == (push.Rules{}) {
		return []byte{}
	}
	b, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings and a bool
	}
	return b
}

// unpackRules undoes packRules.
func unpackRules(b []byte) (push.Rules, error) {
	var r push.Rules
	if len(b) == 0 {
		return r, nil
	}
	return r, json.Unmarshal(b, &r)
}

// Merged reports whether several names of the request of a direct push stand for a device.
func (s *Store) Merged(ctx context.Context, p push.Push, o push.Ordinal) (bool, error) {
	var stored []byte
	day := push.DayOf(p.Expires)
	err := s.days.stable(func() error {
		stored = nil
		if p.Kind != push.Direct || !s.days.has(directTable, day) {
			return nil
		}
		_, err := s.read.one(ctx, "SELECT rest FROM "+directTable.of(day)+" WHERE id = ?1 AND app = ?2", []any{int64(p.ID), int64(p.App)}, &stored)
		return err
	})
	var r rest
	if err == nil && len(stored) > 0 {
		err = json.Unmarshal(stored, &r)
	}
	var merged []push.Ordinal
	if err == nil && len(r.Merged) > 0 {
		merged, err = unpackOrdinals(r.Merged)
	}
	return slices.Contains(merged, o), push.Wrap("sqlstore.Merged", err)
}
