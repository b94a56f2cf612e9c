package sqlstore

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"slices"

	"github.com/carillonpush/carillon/internal/push"
)

// Receive returns after the commit that holds rs. Unavailable means that the outcome is unknown. rs must not be changed
// afterwards.
func (s *Store) Receive(ctx context.Context, rs ...push.Receipt) error {
	if len(rs) == 0 {
		return nil
	}
	w, err := receiptWrite(rs)
	if err == nil {
		err = s.commit.write(ctx, w)
	}
	return push.Wrap("sqlstore.Receive", err)
}

// Post queues rs and returns; it blocks only while the queue is full. What could not be committed is logged, and comes
// again, since the device is still owed it. rs must not be changed afterwards.
func (s *Store) Post(rs ...push.Receipt) {
	if len(rs) == 0 {
		return
	}
	w, err := receiptWrite(rs)
	if err == nil {
		err = s.commit.queue.put(context.Background(), w)
	}
	if err != nil {
		s.opts.Log.Warn("receipts not recorded, devices will be sent copies", "receipts", len(rs), "err", err)
	}
}

func receiptWrite(rs []push.Receipt) (*write, error) {
	for _, r := range rs {
		if r.Push <= 0 || r.Mark >= 32 || r.Day < 0 {
			return nil, &push.Error{Kind: push.Invalid, Field: "receipt", Msg: "names no push, or no mark"}
		}
	}
	return &write{receipts: rs, rows: len(rs), size: int64(48 * len(rs))}, nil
}

// logReceipts writes the row of the receipt log that holds all receipts of the commit, if it has any.
func (t *tx) logReceipts() (push.Logged, error) {
	row := push.Logged{Receipts: t.receipts}
	if len(t.receipts) == 0 {
		return row, nil
	}
	_, err := t.one("INSERT INTO receipt_log (packed) VALUES (?) RETURNING seq", []any{packReceipts(t.receipts)}, &row.Seq)
	return row, err
}

// packedReceipts is the number of the form below, the first byte of a row.
const packedReceipts = 1

// Bits of a packed receipt's first byte, beside its mark.
const (
	samePush   = 1 << 5 // app, push and day are those of the receipt before
	sameDevice = 1 << 6 // the ordinal is
)

// packReceipts writes receipts compactly: a byte with the mark and with what is as in the receipt before, then the rest
// as varints, of numbers that are near those before the distance.
func packReceipts(all []push.Receipt) []byte {
	b := make([]byte, 1, 8+10*len(all))
	b[0] = packedReceipts
	var last push.Receipt
	for i, r := range all {
		head := byte(r.Mark)
		if i > 0 && r.App == last.App && r.Push == last.Push && r.Day == last.Day {
			head |= samePush
		}
		if i > 0 && r.Ordinal == last.Ordinal {
			head |= sameDevice
		}
		b = append(b, head)
		if head&samePush == 0 {
			b = binary.AppendUvarint(b, uint64(r.App))
			b = binary.AppendVarint(b, int64(r.Push-last.Push))
			b = binary.AppendVarint(b, int64(r.Day-last.Day))
		}
		if head&sameDevice == 0 {
			b = binary.AppendUvarint(b, uint64(r.Ordinal))
		}
		last = r
	}
	return b
}

var errPacked = errors.New("a row of the receipt log is damaged, or of a newer release")

// unpackReceipts undoes packReceipts.
func unpackReceipts(b []byte) ([]push.Receipt, error) {
	if len(b) == 0 || b[0] != packedReceipts {
		return nil, errPacked
	}
	in := varints{b: b[1:]}
	all := make([]push.Receipt, 0, len(b)/4)
	var r push.Receipt
	for len(in.b) > 0 {
		head := in.b[0]
		in.b = in.b[1:]
		if head&0x80 != 0 || len(all) == 0 && head&(samePush|sameDevice) != 0 {
			return nil, errPacked
		}
		r.Mark = push.Mark(head & 31)
		if head&samePush == 0 {
			r.App = push.AppID(in.unsigned(math.MaxUint32))
			r.Push += push.ID(in.signed())
			r.Day += push.Day(in.signed())
		}
		if head&sameDevice == 0 {
			r.Ordinal = push.Ordinal(in.unsigned(math.MaxUint32))
		}
		if in.bad || r.Push <= 0 || r.Day < 0 {
			return nil, errPacked
		}
		all = append(all, r)
	}
	return all, nil
}

// varints reads numbers until one is cut off or too large, and says so in bad.
type varints struct {
	b   []byte
	bad bool
}

func (v *varints) unsigned(most uint64) uint64 {
	n, used := binary.Uvarint(v.b)
	if used <= 0 || n > most {
		v.bad = true
		return 0
	}
	v.b = v.b[used:]
	return n
}

func (v *varints) signed() int64 {
	n, used := binary.Varint(v.b)
	if used <= 0 {
		v.bad = true
		return 0
	}
	v.b = v.b[used:]
	return n
}

// bytes returns the next n bytes, which are part of what is read.
func (v *varints) bytes(n uint64) []byte {
	if n > uint64(len(v.b)) {
		v.bad = true
		return nil
	}
	b := v.b[:n]
	v.b = v.b[n:]
	return b
}

// unfoldedPage is how many rows of the log one read takes: each holds the receipts of a commit.
const unfoldedPage = 32

// Unfolded yields the rows of the receipt log, in order. An error of yield ends it and is returned.
func (s *Store) Unfolded(ctx context.Context, yield func(push.Logged) error) error {
	const op = "sqlstore.Unfolded"
	for seq := int64(0); ; {
		var page []push.Logged
		err := s.read.each(ctx, "SELECT seq, packed FROM receipt_log WHERE seq > ?1 ORDER BY seq LIMIT ?2", func(rows *sql.Rows) error {
			var row push.Logged
			var packed sql.RawBytes
			err := rows.Scan(&row.Seq, &packed)
			if err == nil {
				row.Receipts, err = unpackReceipts(packed)
			}
			page = append(page, row)
			return err
		}, seq, unfoldedPage)
		if err != nil {
			return push.Wrap(op, err)
		}
		for _, row := range page {
			if err := yield(row); err != nil {
				return push.Wrap(op, err)
			}
			seq = row.Seq
		}
		if len(page) < unfoldedPage {
			return nil
		}
	}
}

// Fold writes f in one commit: its chunks, its outcomes, and the end of the log's rows that are in them, none if UpTo is 0.
// Folding again is folding once. What it says of pushes that are gone is nobody's, and left out. f must not be changed
// afterwards.
func (s *Store) Fold(ctx context.Context, f push.Fold) error {
	size := 64 * len(f.Outcomes)
	w := &write{rows: 1}
	for _, o := range f.Outcomes {
		if !slices.Contains(w.outcomes, o.Day) {
			w.outcomes = append(w.outcomes, o.Day)
		}
	}
	for _, c := range f.Chunks {
		size += 64 + len(c.Chunk.Bits)
	}
	w.size, w.do = int64(size), func(t *tx) error {
		chunks, err := t.kept(f.Chunks)
		if err != nil {
			return err
		}
		if err := t.putSets(chunks); err != nil {
			return err
		}
		if err := s.putOutcomes(t, f.Outcomes); err != nil {
			return err
		}
		if f.UpTo <= 0 {
			return nil
		}
		_, err = t.exec("DELETE FROM receipt_log WHERE seq <= ?1", f.UpTo)
		return err
	}
	return push.Wrap("sqlstore.Fold", s.commit.write(ctx, w))
}

// kept returns those of all whose pushes are in the record.
func (t *tx) kept(all []push.FoldedChunk) ([]push.FoldedChunk, error) {
	if len(all) == 0 {
		return nil, nil
	}
	there := map[push.ID]bool{}
	for _, c := range all {
		there[c.Push] = false
	}
	ids := slices.Collect(maps.Keys(there))
	query := "SELECT id FROM push WHERE id IN (SELECT k.id FROM " + t.w.dialect.traits().keys("?1", "id") + " k)"
	err := t.each(query, func(rows *sql.Rows) error {
		var id push.ID
		err := rows.Scan(&id)
		there[id] = true
		return err
	}, keyArg(len(ids), func(i int) []int64 { return []int64{int64(ids[i])} }))
	var some []push.FoldedChunk
	for _, c := range all {
		if there[c.Push] {
			some = append(some, c)
		}
	}
	return some, err
}

// putOutcomes adds marks of direct pushes. What became of a push whose day has gone, nobody can ask any more.
func (s *Store) putOutcomes(t *tx, all []push.Outcome) error {
	type key struct {
		push    push.ID
		ordinal push.Ordinal
	}
	days := map[push.Day]map[key]push.Marked{}
	for _, o := range all {
		if !s.days.has(outcomeTable, o.Day) {
			continue
		}
		if days[o.Day] == nil {
			days[o.Day] = map[key]push.Marked{}
		}
		days[o.Day][key{o.Push, o.Ordinal}] |= o.Marked
	}
	for day, marks := range days {
		cols := []column{{name: "push", ints: []int64{}}, {name: "ordinal", ints: []int64{}}, {name: "marks", ints: []int64{}}}
		for k, m := range marks {
			cols[0].ints = append(cols[0].ints, int64(k.push))
			cols[1].ints = append(cols[1].ints, int64(k.ordinal))
			cols[2].ints = append(cols[2].ints, int64(m))
		}
		table := outcomeTable.of(day)
		err := t.insert(table, "ON CONFLICT (push, ordinal) DO UPDATE SET marks = "+table+".marks | excluded.marks", cols...)
		if err != nil {
			return err
		}
	}
	return nil
}

// Targets returns the devices that a direct push was accepted for, in order. NotFound if there is none.
func (s *Store) Targets(ctx context.Context, p push.Push) ([]push.Ordinal, error) {
	var all []push.Ordinal
	day, found := push.DayOf(p.Expires), false
	err := s.days.stable(func() error {
		if !s.days.has(directTable, day) {
			return nil
		}
		return s.read.each(ctx, "SELECT targets FROM "+directTable.of(day)+" WHERE id = ?1", func(rows *sql.Rows) error {
			var packed sql.RawBytes
			err := rows.Scan(&packed)
			if err == nil {
				found = true
				all, err = unpackOrdinals(packed)
			}
			return err
		}, int64(p.ID))
	})
	if err == nil && !found {
		err = notFound("no such push")
	}
	return all, push.Wrap("sqlstore.Targets", err)
}

// Outcomes returns the folded marks of a direct push, by device.
func (s *Store) Outcomes(ctx context.Context, p push.Push) (map[push.Ordinal]push.Marked, error) {
	all := map[push.Ordinal]push.Marked{}
	day := push.DayOf(p.Expires)
	err := s.days.stable(func() error {
		if !s.days.has(outcomeTable, day) {
			return nil
		}
		return s.read.each(ctx, "SELECT ordinal, marks FROM "+outcomeTable.of(day)+" WHERE push = ?1", func(rows *sql.Rows) error {
			var o push.Ordinal
			var m push.Marked
			err := rows.Scan(&o, &m)
			all[o] = m
			return err
		}, int64(p.ID))
	})
	return all, push.Wrap("sqlstore.Outcomes", err)
}
