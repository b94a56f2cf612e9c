package sqlstore

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"math"
	"time"

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
	row.At = timeOf(time.Now().UnixMilli())
	_, err := t.one("INSERT INTO receipt_log (at, packed) VALUES (?, ?) RETURNING seq", []any{millis(row.At), packReceipts(t.receipts)}, &row.Seq)
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
