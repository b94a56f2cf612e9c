package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// unfoldedPage is how many rows of the log one read takes: each holds the receipts of a commit.
const unfoldedPage = 32

// Unfolded yields the rows of the receipt log, in order. An error of yield ends it and is returned.
func (s *Store) Unfolded(ctx context.Context, yield func(push.Logged) error) error {
	const op = "sqlstore.Unfolded"
	for seq := int64(0); ; {
		var page []push.Logged
		err := s.read.each(ctx, "SELECT seq, at, packed FROM receipt_log WHERE seq > ?1 ORDER BY seq LIMIT ?2", func(rows *sql.Rows) error {
			var row push.Logged
			var at int64
			var packed sql.RawBytes
			err := rows.Scan(&row.Seq, &at, &packed)
			if err == nil {
				row.Receipts, err = unpackReceipts(packed)
			}
			row.At = timeOf(at)
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

// A fold is a push.Fold with its parts as they will be stored. The commit, which may run more than once, does not change it.
type fold struct {
	*push.Fold
	store   *Store
	batches [][]byte // packed
	reports [][]byte // of Counted, in JSON
}

// Fold writes f in one commit: its chunks, outcomes, trails, totals and batches, how far pushes are counted, and the end of
// the log's rows that are in them, none if UpTo is 0. Folding again is folding once: marks are sets, and trails, totals, batches
// and counts are left out if UpTo is not 0 and the log has nothing any more up to there, since a commit has written them
// already. What f says of pushes, apps and webhooks that are gone is nobody's, and left out. f must not be changed afterwards.
func (s *Store) Fold(ctx context.Context, f push.Fold) error {
	const op = "sqlstore.Fold"
	job := fold{Fold: &f, store: s}
	w := &write{rows: 1 + len(f.Batches), do: job.commit}
	size := 64 * (len(f.Outcomes) + len(f.Totals))
	for _, o := range f.Outcomes {
		size += 8 * len(o.Times)
		if !slices.Contains(w.outcomes, o.Day) {
			w.outcomes = append(w.outcomes, o.Day)
		}
	}
	for _, c := range f.Chunks {
		size += 64 + len(c.Chunk.Bits)
	}
	kept := push.DayOf(time.Now().Add(-s.opts.Keep)) // tables of earlier days may be about to be dropped
	for _, tr := range f.Trails {
		size += 64 + 8*len(tr.Marks)
		if need := (dayNeed{trailTable, tr.Day}); tr.Day >= kept && !slices.Contains(w.needs, need) {
			w.needs = append(w.needs, need)
		}
	}
	for _, d := range f.Totals {
		if !plain(d.Key.Name) {
			return push.Wrap(op, invalid("totals", "have names of UTF-8 without NUL"))
		}
	}
	for _, b := range f.Batches {
		if !plain(b.Error) {
			return push.Wrap(op, invalid("error", "is not UTF-8 without NUL"))
		}
		packed := packHappened(b.Happened)
		size += 128 + len(packed)
		job.batches = append(job.batches, packed)
	}
	for _, c := range f.Counted {
		b, err := json.Marshal(c.Report)
		if err != nil {
			return push.Wrap(op, err)
		}
		size += 64 + len(b)
		job.reports = append(job.reports, b)
	}
	w.size = int64(size)
	return push.Wrap(op, s.commit.write(ctx, w))
}

// commit writes the fold inside t.
func (f *fold) commit(t *tx) error {
	ids := make([]push.ID, 0, len(f.Chunks)+len(f.Trails))
	for _, c := range f.Chunks {
		ids = append(ids, c.Push)
	}
	for _, tr := range f.Trails {
		ids = append(ids, tr.Push)
	}
	there, err := t.bulkThere(ids)
	if err != nil {
		return err
	}
	chunks := slices.DeleteFunc(slices.Clone(f.Chunks), func(c push.FoldedChunk) bool { return !there[c.Push] })
	if err := t.putSets(chunks); err != nil {
		return err
	}
	if err := f.store.putOutcomes(t, f.Outcomes); err != nil {
		return err
	}
	if f.UpTo > 0 {
		n, err := t.exec("DELETE FROM receipt_log WHERE seq <= ?1", f.UpTo)
		if err != nil || n == 0 {
			return err
		}
	}
	if err := f.store.putTrails(t, f.Trails, there); err != nil {
		return err
	}
	if err := t.addTotals(f.Totals); err != nil {
		return err
	}
	if err := t.addBatches(f.Batches, f.batches); err != nil {
		return err
	}
	for i, c := range f.Counted {
		if _, err := t.exec("UPDATE push SET counted = ? WHERE id = ?", f.reports[i], int64(c.Push)); err != nil {
			return err
		}
	}
	return nil
}

// bulkThere returns which of ids are bulk pushes that are in the record.
func (t *tx) bulkThere(ids []push.ID) (map[push.ID]bool, error) {
	there := map[push.ID]bool{}
	if len(ids) == 0 {
		return there, nil
	}
	ids = slices.Clone(ids)
	slices.Sort(ids)
	err := t.each("SELECT id FROM "+t.lookup("push", "true", "id", "?1", ints), func(rows *sql.Rows) error {
		var id push.ID
		err := rows.Scan(&id)
		there[id] = true
		return err
	}, intsArg(slices.Compact(ids)))
	return there, err
}

// putOutcomes adds marks of direct pushes, and when those that are new were committed. What became of a push whose day has
// gone, nobody can ask any more.
func (s *Store) putOutcomes(t *tx, all []push.Outcome) error {
	type key struct {
		push    push.ID
		ordinal push.Ordinal
	}
	type outcome struct {
		marks push.Marked
		times []push.Timed
	}
	days := map[push.Day]map[key]outcome{}
	for _, o := range all {
		if !s.days.has(outcomeTable, o.Day) {
			continue
		}
		if days[o.Day] == nil {
			days[o.Day] = map[key]outcome{}
		}
		k := key{o.Push, o.Ordinal}
		before, twice := days[o.Day][k]
		if twice {
			o.Times = slices.Concat(before.times, o.Times)
		}
		days[o.Day][k] = outcome{before.marks | o.Marked, o.Times}
	}
	for day, outcomes := range days {
		keys := make([]key, 0, len(outcomes))
		for k := range outcomes {
			keys = append(keys, k)
		}
		slices.SortFunc(keys, func(a, b key) int {
			return cmp.Or(cmp.Compare(a.push, b.push), cmp.Compare(a.ordinal, b.ordinal))
		})
		n := len(keys)
		numbers, times := make([]int64, 3*n), make([][]byte, n)
		for i, k := range keys {
			o := outcomes[k]
			numbers[i], numbers[n+i], numbers[2*n+i] = int64(k.push), int64(k.ordinal), int64(o.marks)
			times[i] = packTimes(k.push, o.times)
		}
		table := outcomeTable.of(day)
		// A fold that is made again has nothing new, and adds no times.
		conflict := t.w.dialect.traits().word.Replace(strings.ReplaceAll(`ON CONFLICT (push, ordinal) DO UPDATE
			SET marks = {table}.marks | excluded.marks, times = CASE WHEN ({table}.marks | excluded.marks) = {table}.marks
				THEN {table}.times ELSE CAST({table}.times || excluded.times AS {blob}) END`, "{table}", table))
		err := t.insert(table, conflict, column{name: "push", ints: numbers[:n]}, column{name: "ordinal", ints: numbers[n : 2*n]},
			column{name: "marks", ints: numbers[2*n:]}, column{name: "times", blobs: times})
		if err != nil {
			return err
		}
	}
	return nil
}

// marksPage is how many devices one read of Marked asks for.
const marksPage = 2048

// Marked returns the folded marks of direct pushes of one day on devices, in the order of all; 0 where there are none.
func (s *Store) Marked(ctx context.Context, day push.Day, all []push.Outcome) ([]push.Marked, error) {
	marks := make([]push.Marked, len(all))
	err := s.days.stable(func() error {
		clear(marks)
		if !s.days.has(outcomeTable, day) {
			return nil
		}
		query := "SELECT k.n, COALESCE((SELECT o.marks FROM " + outcomeTable.of(day) +
			" o WHERE o.push = k.push AND o.ordinal = k.ordinal), 0) FROM " + s.dialect.traits().keys("?1", "push", "ordinal") + " k"
		for first := 0; first < len(all); first += marksPage {
			some := all[first:min(first+marksPage, len(all))]
			err := s.read.each(ctx, query, func(rows *sql.Rows) error {
				var i int
				var m push.Marked
				err := rows.Scan(&i, &m)
				marks[first+i] = m
				return err
			}, keyArg(len(some), func(i int) []int64 { return []int64{int64(some[i].Push), int64(some[i].Ordinal)} }))
			if err != nil {
				return err
			}
		}
		return nil
	})
	return marks, push.Wrap("sqlstore.Marked", err)
}

// Labelled returns pushes by id, with their requests' labels, template and origin, and how far bulk ones are counted: direct
// ones that expire on day, bulk ones for day 0. Those that are gone are left out, and those that cannot be read, which the log
// is told.
func (s *Store) Labelled(ctx context.Context, day push.Day, ids []push.ID) (map[push.ID]push.Labelled, error) {
	all := map[push.ID]push.Labelled{}
	for some := range slices.Chunk(ids, marksPage) {
		err := s.days.stable(func() error {
			if day == 0 {
				return s.labelledBulk(ctx, all, some)
			}
			return s.labelledDirect(ctx, all, day, some)
		})
		if err != nil {
			return nil, push.Wrap("sqlstore.Labelled", err)
		}
	}
	return all, nil
}

func (s *Store) labelledBulk(ctx context.Context, all map[push.ID]push.Labelled, ids []push.ID) error {
	found, err := s.load(ctx, map[push.Day][]push.ID{0: ids})
	if err != nil {
		return err
	}
	for _, p := range found {
		all[p.ID] = push.Labelled{Push: p}
	}
	return s.read.each(ctx, "SELECT id, counted FROM "+s.lookup("push", "counted IS NOT NULL", "id", "?1", ints), func(rows *sql.Rows) error {
		var id push.ID
		var counted sql.RawBytes
		err := rows.Scan(&id, &counted)
		if l, ok := all[id]; ok && err == nil {
			err = json.Unmarshal(counted, &l.Counted)
			all[id] = l
		}
		return err
	}, intsArg(ids))
}

// labelledDirect reads less of direct pushes than Find: what they say is asked of many at once, and is not what they carry.
func (s *Store) labelledDirect(ctx context.Context, all map[push.ID]push.Labelled, day push.Day, ids []push.ID) error {
	if !s.days.has(directTable, day) {
		return nil
	}
	from := s.lookup(directTable.of(day), "true", "id", "?1", ints)
	return s.read.each(ctx, "SELECT id, app, created, expires, rest FROM "+from, func(rows *sql.Rows) error {
		p := push.Push{Kind: push.Direct}
		var created, expires int64
		var rest sql.RawBytes
		if err := rows.Scan(&p.ID, &p.App, &created, &expires, &rest); err != nil {
			return err
		}
		p.Created, p.Expires = timeOf(created), timeOf(expires)
		if err := unpackRest(&p, []byte("{}"), rest); err != nil {
			return s.leaveOut(&p, err)
		}
		all[p.ID] = push.Labelled{Push: p}
		return nil
	}, intsArg(ids))
}
