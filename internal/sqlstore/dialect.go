package sqlstore

import (
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
)

// A dialect is what differs between the databases. Queries are written once, with "?1" for a parameter that is used more
// than once and "?" for the next one (never both in one query), and the words of types for tables made by day.
type dialect interface {
	// rebind returns query with parameters as the database writes them.
	rebind(query string) string
	// insert adds rows to a table: one a position of the columns. conflict is the ON CONFLICT clause, or empty.
	insert(t *tx, table string, cols []column, conflict string) error
	// remove deletes the rows of a table whose columns have the given values, and returns the positions that were there.
	remove(t *tx, table string, cols []column) (gone []int, err error)
	// claim stores dedupe keys that are free at now, and returns for each whether it was.
	claim(t *tx, cols []column, now int64) (won []bool, err error)
	// traits returns what is a value and not an act.
	traits() traits
}

// traits are the words of one database.
type traits struct {
	word   *strings.Replacer // types in the statements that make day tables
	tables string            // the query that lists the names of all tables
	slices bool              // whether a table must be emptied before it is dropped
	remote bool              // whether commits wait for another process
	// keys returns a relation with the columns n (position, from 0) and names, out of one parameter that keyArg makes.
	keys func(param string, names ...string) string
	// lookup returns what follows FROM in a query of the rows d of a table for which where holds and whose column is one of the
	// values in one parameter: of ints, texts or blobs, as intsArg, textsArg and blobsArg make it, each once. It ends with conditions,
	// to which AND may add others. An index that begins with the columns of where, and then has column, is used.
	lookup func(table, where, column, param string, k kind) string
	// among returns the condition, of a statement that changes a table, that a row is one of those that lookup has found.
	among func(found string) string
	// session is the query that names the connection it runs on, as two numbers. end ends the connection that they name,
	// if it is another's or lost, and returns 0 when the server has nothing of it any more. Both are empty where a connection
	// is not another process's.
	session, end string

	broken   func(error) bool // whether an error says that the connection is of no more use
	stale    func(error) bool // whether it says that a connection which was there has gone
	full     func(error) bool // whether an error says that the disk is full
	conflict func(error) bool // whether an error says that a key exists
}

// A kind is a type of values.
type kind uint8

const (
	ints kind = iota
	texts
	blobs
)

// A column is one column of rows to insert or remove, by position. One of the slices is set.
type column struct {
	name  string
	ints  []int64
	blobs [][]byte
	texts []string
}

func (c *column) len() int { return len(c.ints) + len(c.blobs) + len(c.texts) }

// at returns the value at position i as database/sql takes it. A blob is never NULL.
func (c *column) at(i int) any {
	switch {
	case c.ints != nil:
		return c.ints[i]
	case c.blobs != nil:
		if c.blobs[i] == nil {
			return []byte{}
		}
		return c.blobs[i]
	}
	return c.texts[i]
}

func names(cols []column) string {
	all := make([]string, len(cols))
	for i := range cols {
		all[i] = cols[i].name
	}
	return strings.Join(all, ", ")
}

// dollars turns "?1" into "$1", and each "?" into the next number.
func dollars(query string) string {
	var b strings.Builder
	n := 0
	for i := range len(query) {
		c := query[i]
		if c != '?' {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('$')
		if i+1 == len(query) || query[i+1] < '0' || query[i+1] > '9' {
			n++
			b.WriteString(strconv.Itoa(n))
		}
	}
	return b.String()
}

// keyArg returns the parameter of a keys relation: a JSON array of arrays of numbers.
func keyArg(n int, row func(i int) []int64) string {
	b := make([]byte, 0, 16+24*n)
	b = append(b, '[')
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		for j, v := range row(i) {
			if j == 0 {
				b = append(b, '[')
			} else {
				b = append(b, ',')
			}
			b = strconv.AppendInt(b, v, 10)
		}
		b = append(b, ']')
	}
	return string(append(b, ']'))
}

// intsArg, textsArg and blobsArg return the parameter of lookup.
func intsArg[T ~uint32 | ~int64](all []T) string { return listArg(all) }

func textsArg(all []string) string { return listArg(all) }

func blobsArg(all [][]byte) string {
	list := make([]string, len(all))
	for i, b := range all {
		list[i] = hex.EncodeToString(b)
	}
	return listArg(list)
}

func listArg[T any](all []T) string {
	b, err := json.Marshal(all)
	if err != nil {
		panic(err) // numbers and strings
	}
	return string(b)
}
