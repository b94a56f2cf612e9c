package sqlstore

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/carillonpush/carillon/internal/push"
)

// liveStates are the states that are not final, in SQL. The partial index push_live has the same words.
const liveStates = "('open', 'scheduled', 'accepted', 'sending', 'paused', 'done')"

// finalStates are the others. The partial index push_over has the same words.
const finalStates = "('cancelled', 'recalled', 'expired', 'failed')"

// insertBulk stores a push to a set, and its body.
func (t *tx) insertBulk(a *acceptance) error {
	p := &a.Push
	_, err := t.exec(`INSERT INTO push (id, app, state, created, start, expires, unknown, size, reason, cursor, schedule, collapse, request)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		int64(p.ID), int64(p.App), string(p.State), millis(p.Created), millis(p.Start), millis(p.Expires),
		int64(p.Unknown), int64(p.Target), p.Reason, int64(p.Cursor), int64(p.Schedule), p.Request.Policy.CollapseID, a.rest)
	if err != nil {
		return err
	}
	return t.putBody(a.day, p.ID, a.Payload)
}

// putBody stores the payload of a bulk push that expires on day.
func (t *tx) putBody(day push.Day, id push.ID, payload []byte) error {
	if payload == nil {
		payload = []byte{} // nil would be NULL
	}
	_, err := t.exec("INSERT INTO "+bodyTable.of(day)+` (push, payload) VALUES (?, ?)
		ON CONFLICT (push) DO UPDATE SET payload = excluded.payload`, int64(id), payload)
	return err
}

// A stored is a bulk push with the hash of its target.
type stored struct {
	push.Push
	target []byte
}

// bulk returns the bulk pushes for which where holds.
func (s *Store) bulk(ctx context.Context, where string, args ...any) ([]stored, error) {
	var all []stored
	err := s.eachBulk(ctx, func(p stored, err error) error {
		all = append(all, p)
		return err
	}, where, args...)
	return all, err
}

// eachBulk calls f for each of the bulk pushes for which where holds. One that is damaged comes with its ids and an error.
func (s *Store) eachBulk(ctx context.Context, f func(stored, error) error, where string, args ...any) error {
	return s.read.each(ctx, `SELECT id, app, state, created, start, expires, unknown, size, reason, cursor, schedule, request, target
		FROM push WHERE `+where, func(rows *sql.Rows) error {
		p := stored{Push: push.Push{Kind: push.Bulk}}
		var created, start, expires int64
		var request sql.RawBytes
		err := rows.Scan(&p.ID, &p.App, &p.State, &created, &start, &expires, &p.Unknown, &p.Target, &p.Reason,
			&p.Cursor, &p.Schedule, &request, &p.target)
		if err != nil {
			return err
		}
		p.Created, p.Start, p.Expires = timeOf(created), timeOf(start), timeOf(expires)
		if err := json.Unmarshal(request, &p.Request); err != nil {
			return f(p, damaged(&p.Push, err))
		}
		return f(p, nil)
	}, args...)
}

// errDamaged is inside the error of a push whose row cannot be read.
var errDamaged = errors.New("sqlstore: the push cannot be read")

// damaged returns the error of a push whose row cannot be read because of cause, which is none of the caller's: Internal.
func damaged(p *push.Push, cause error) error {
	return &push.Error{Kind: push.Internal, Err: fmt.Errorf("%w: push %d of app %d: %v", errDamaged, p.ID, p.App, cause)}
}

// leaveOut returns nil for a push that is damaged, and tells of it: one row must not stop those who need all others. It
// returns any other err.
func (s *Store) leaveOut(p *push.Push, err error) error {
	if !errors.Is(err, errDamaged) {
		return err
	}
	s.opts.Log.Error("a push cannot be read and is left out", "push", p.ID, "app", p.App)
	return nil
}

// Begin makes st durable and moves the push to Sending, in one commit. Conflict if its state does not allow that, NotFound if
// there is no such push. st must not be changed afterwards.
func (s *Store) Begin(ctx context.Context, st push.Start) error {
	const op = "sqlstore.Begin"
	w := &write{rows: 1 + len(st.Personal)}
	hash, size := hashOf(st.Target), chunksSize(st.Target)+personalSize(st.Personal)
	var sets []push.FoldedChunk
	for m, chunks := range st.Marked {
		size += chunksSize(chunks)
		for _, c := range chunks {
			sets = append(sets, push.FoldedChunk{Push: st.ID, Mark: m, Chunk: c})
		}
	}
	var day push.Day
	if len(st.Personal) > 0 { // their table is made before the commit begins
		var expires int64
		found, err := s.read.one(ctx, "SELECT expires FROM push WHERE id = ?1 AND app = ?2", []any{int64(st.ID), int64(st.App)}, &expires)
		if err != nil || !found {
			return push.Wrap(op, orNotFound(err, "no such push"))
		}
		day = push.DayOf(timeOf(expires))
		w.needs = []dayNeed{{personalTable, day}}
	}
	w.size, w.do = int64(size), func(t *tx) error {
		if err := t.allow(st.App, st.ID, push.ActBegin); err != nil {
			return err
		}
		if err := t.putTarget(hash, st.Target, "DO NOTHING"); err != nil {
			return err
		}
		if err := t.putSets(sets); err != nil {
			return err
		}
		if err := t.insertPersonal(day, appendPersonal(nil, st.ID, st.Personal)); err != nil {
			return err
		}
		_, err := t.exec("UPDATE push SET state = ?, target = ?, size = ?, unknown = ?, cursor = ? WHERE id = ?",
			string(push.Sending), hash, int64(st.Count), int64(st.Unknown), int64(st.Cursor), int64(st.ID))
		if err == nil {
			t.started(st.Totals, st.Count, st.Unknown)
		}
		return err
	}
	return push.Wrap(op, s.commit.write(ctx, w))
}

// chunksSize returns about how many bytes chunks hold of the queue.
func chunksSize(chunks []push.Chunk) int {
	n := 0
	for _, c := range chunks {
		n += len(c.Bits) + 64
	}
	return n
}

// state returns the state of a bulk push. NotFound if there is none.
func (t *tx) state(app push.AppID, id push.ID) (state push.State, err error) {
	found, err := t.one("SELECT state FROM push WHERE id = ?1 AND app = ?2", []any{int64(id), int64(app)}, &state)
	if err != nil || !found {
		err = orNotFound(err, "no such push")
	}
	return state, err
}

// allow reports whether an action may happen to a bulk push: NotFound if there is none, Conflict if it may not.
func (t *tx) allow(app push.AppID, id push.ID, a push.Action) error {
	state, err := t.state(app, id)
	if err != nil {
		return err
	}
	if _, may := state.On(a); !may {
		return conflictIn(state)
	}
	return nil
}

// conflictIn is the error for what cannot happen to a push in its state.
func conflictIn(state push.State) error {
	return &push.Error{Kind: push.Conflict, Field: "state", Msg: "the push is " + string(state)}
}

// hashOf names a target by its content.
func hashOf(target []push.Chunk) []byte {
	h := sha256.New()
	var head [8]byte
	for _, c := range target {
		binary.BigEndian.PutUint16(head[:2], c.Key)
		binary.BigEndian.PutUint32(head[2:6], uint32(len(c.Bits)))
		h.Write(head[:6])
		h.Write(c.Bits)
	}
	return h.Sum(nil)
}

// putTarget stores chunks of a target. Pushes to the same devices share one, so its chunks are there already, or are not;
// those of an open push, whose hash is its own, change: conflict says which.
func (t *tx) putTarget(hash []byte, target []push.Chunk, conflict string) error {
	cols := []column{{name: "hash", blobs: [][]byte{}}, {name: "chunk", ints: []int64{}}, {name: "bits", blobs: [][]byte{}}}
	for _, c := range target {
		cols[0].blobs = append(cols[0].blobs, hash)
		cols[1].ints = append(cols[1].ints, int64(c.Key))
		cols[2].blobs = append(cols[2].blobs, c.Bits)
	}
	return t.insert("target", "ON CONFLICT (hash, chunk) "+conflict, cols...)
}

// putSets stores chunks of sets in the place of those that are there.
func (t *tx) putSets(all []push.FoldedChunk) error {
	type key struct {
		push push.ID
		mark push.Mark
		key  uint16
	}
	at := map[key]int{} // the last of several counts: PostgreSQL takes a row only once in one statement
	cols := []column{{name: "push", ints: []int64{}}, {name: "mark", ints: []int64{}}, {name: "chunk", ints: []int64{}}, {name: "bits", blobs: [][]byte{}}}
	for _, f := range all {
		k := key{f.Push, f.Mark, f.Chunk.Key}
		if i, ok := at[k]; ok {
			cols[3].blobs[i] = f.Chunk.Bits
			continue
		}
		at[k] = len(cols[0].ints)
		cols[0].ints = append(cols[0].ints, int64(f.Push))
		cols[1].ints = append(cols[1].ints, int64(f.Mark))
		cols[2].ints = append(cols[2].ints, int64(f.Chunk.Key))
		cols[3].blobs = append(cols[3].blobs, f.Chunk.Bits)
	}
	return t.insert("sets", "ON CONFLICT (push, mark, chunk) DO UPDATE SET bits = excluded.bits", cols...)
}

// Move changes the state of a push that is in state from, and logs a receipt of MarkFinished if to is Done or final. Conflict
// if it is in another state, NotFound if there is no such push.
func (s *Store) Move(ctx context.Context, app push.AppID, id push.ID, from, to push.State, reason string) error {
	err := s.commit.do(ctx, 0, func(t *tx) error {
		n, err := t.exec("UPDATE push SET state = ?, reason = ? WHERE id = ? AND app = ? AND state = ?",
			string(to), reason, int64(id), int64(app), string(from))
		if err != nil {
			return err
		}
		if n > 0 {
			t.moved(app, id, to)
			return nil
		}
		state, err := t.state(app, id)
		if err != nil {
			return err
		}
		return conflictIn(state)
	})
	return push.Wrap("sqlstore.Move", err)
}

// moved takes note that a bulk push is in another state.
func (t *tx) moved(app push.AppID, id push.ID, to push.State) {
	t.ended = t.ended || to.Final()
	if to == push.Done || to.Final() {
		t.receipts = append(t.receipts, push.Receipt{App: app, Push: id, Mark: push.MarkFinished})
	}
}

// livePage is how many pushes one read of Live takes.
const livePage = 64

// Live yields every bulk push whose state is not final, in order of ids; one whose row cannot be read is told of in the log
// and left out. Pushes with the same target share its chunks, which nobody may change. An error of yield ends it and is returned.
func (s *Store) Live(ctx context.Context, yield func(push.Live) error) error {
	const op = "sqlstore.Live"
	targets := map[string][]push.Chunk{}
	for last := push.ID(0); ; {
		var page []stored
		n := 0
		err := s.eachBulk(ctx, func(p stored, err error) error {
			n, last = n+1, p.ID
			if err == nil {
				page = append(page, p)
			}
			return s.leaveOut(&p.Push, err)
		}, "state IN "+liveStates+" AND id > ?1 ORDER BY id LIMIT ?2", int64(last), livePage)
		if err != nil {
			return push.Wrap(op, err)
		}
		for _, p := range page {
			l, err := s.live(ctx, p, targets)
			if err == nil {
				err = yield(l)
			}
			if err != nil {
				return push.Wrap(op, err)
			}
		}
		if n < livePage {
			return nil
		}
	}
}

// live returns a bulk push with all that the record knows of it; targets are those that have been read.
func (s *Store) live(ctx context.Context, p stored, targets map[string][]push.Chunk) (push.Live, error) {
	l := push.Live{Push: p.Push}
	var err error
	if l.Payload, err = s.body(ctx, p.Push); err == nil {
		l.Marked, err = s.sets(ctx, p.ID)
	}
	switch {
	case err != nil:
	case len(p.target) > 0:
		l.Target, err = s.target(ctx, p.target, targets)
	case !p.State.Waits() && !p.State.Final():
		l.Target = []push.Chunk{} // open, and nobody has been added yet
	}
	return l, err
}

// body returns the payload of a bulk push, nil if its day has gone.
func (s *Store) body(ctx context.Context, p push.Push) ([]byte, error) {
	var payload []byte
	day := push.DayOf(p.Expires)
	err := s.days.stable(func() error {
		if !s.days.has(bodyTable, day) {
			return nil
		}
		_, err := s.read.one(ctx, "SELECT payload FROM "+bodyTable.of(day)+" WHERE push = ?1", []any{int64(p.ID)}, &payload)
		return err
	})
	return payload, err
}

// target returns the target with a hash; known are those that have been read.
func (s *Store) target(ctx context.Context, hash []byte, known map[string][]push.Chunk) ([]push.Chunk, error) {
	if chunks, ok := known[string(hash)]; ok {
		return chunks, nil
	}
	chunks := []push.Chunk{} // not nil: a target may be empty, but it is one
	err := s.read.each(ctx, "SELECT chunk, bits FROM target WHERE hash = ?1 ORDER BY chunk", func(rows *sql.Rows) error {
		var c push.Chunk
		err := rows.Scan(&c.Key, &c.Bits)
		chunks = append(chunks, c)
		return err
	}, hash)
	known[string(hash)] = chunks
	return chunks, err
}

// Sets returns the folded sets of a bulk push, by mark.
func (s *Store) Sets(ctx context.Context, id push.ID) (map[push.Mark][]push.Chunk, error) {
	sets, err := s.sets(ctx, id)
	return sets, push.Wrap("sqlstore.Sets", err)
}

func (s *Store) sets(ctx context.Context, id push.ID) (map[push.Mark][]push.Chunk, error) {
	all := map[push.Mark][]push.Chunk{}
	err := s.read.each(ctx, "SELECT mark, chunk, bits FROM sets WHERE push = ?1 ORDER BY mark, chunk", func(rows *sql.Rows) error {
		var m push.Mark
		var c push.Chunk
		err := rows.Scan(&m, &c.Key, &c.Bits)
		all[m] = append(all[m], c)
		return err
	}, int64(id))
	return all, err
}
