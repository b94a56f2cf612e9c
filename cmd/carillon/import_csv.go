package main

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/carillonpush/carillon/sdk/carillon"
)

const (
	maxLineBytes   = 256 << 10 // of a line; a device with all that the server takes of one is smaller
	maxRecordLines = 64        // that a quoted value may run over
)

// A lineError says what is wrong with a line of a file. It never shows what is in the line, which may be a secret.
type lineError struct {
	Line    int    // from 1
	Field   string // the column; "" is the whole line
	Message string
}

// Error returns column and message, without the line's number.
func (e *lineError) Error() string {
	if e.Field == "" {
		return e.Message
	}
	return e.Field + ": " + e.Message
}

// A column is one of a file of devices.
type column struct {
	name string // as errors show it
	// set puts a value that is not empty into a device; an error says what is wrong with it.
	set func(d *carillon.Import, value string) error
}

// A csvReader reads devices from a CSV file with a header. A line that is no good costs that line only: a record is put
// together from whole lines first, so that a quote that nobody closed cannot swallow the rest of the file.
type csvReader struct {
	src     *bufio.Reader
	record  *bufio.Reader // the text of one record, for the CSV parser
	columns []column
	line    int        // lines that were taken from src
	read    int64      // bytes that were
	ahead   []textLine // lines that were looked at and given back
}

// A textLine is a line with its end, or only the fact that there was one, if it is too long.
type textLine struct {
	number int
	text   string
	long   bool
}

// newCSVReader returns a reader of devices after it has read the header. What is wrong with that is a *lineError; other
// errors are those of src.
func newCSVReader(src io.Reader) (*csvReader, error) {
	r := &csvReader{src: bufio.NewReaderSize(src, 64<<10), record: bufio.NewReader(nil)}
	head, err := r.src.Peek(3)
	switch {
	case err != nil && err != io.EOF:
		return nil, err
	case len(head) >= 2 && (head[0] == 0xff && head[1] == 0xfe || head[0] == 0xfe && head[1] == 0xff):
		return nil, &lineError{1, "", "is UTF-16: save the file as CSV in UTF-8"}
	case string(head) == "\ufeff":
		n, _ := r.src.Discard(len(head)) // they are in the buffer
		r.read += int64(n)
	}
	names, line, err := r.fields()
	if err == io.EOF {
		return nil, &lineError{1, "", "is missing: it names the columns"}
	}
	if err != nil {
		return nil, err
	}
	if err := r.header(names); err != nil {
		return nil, &lineError{line, "", err.Error()}
	}
	return r, nil
}

// header makes columns of their names. An unknown, a missing or a double one is an error.
func (r *csvReader) header(names []string) error {
	seen := map[string]bool{}
	for i, name := range names {
		name = strings.TrimSpace(name)
		c, ok := columnOf(name)
		switch {
		case i == 0 && name != "device_id":
			return fmt.Errorf("the first column is %q, and must be device_id", name)
		case name == "":
			return fmt.Errorf("column %d has no name", i+1)
		case !ok:
			return fmt.Errorf("there is no column %q: the columns are device_id, platform, account, phone, tags, alias.TYPE, "+
				"attr.NAME, token.CHANNEL (%s) and test", name, strings.Join(carillon.TokenChannels(), ", "))
		case seen[c.name]:
			return fmt.Errorf("the column %q is there twice", name)
		}
		seen[c.name] = true
		r.columns = append(r.columns, c)
	}
	return nil
}

// columnOf returns the column of a name.
func columnOf(name string) (column, bool) {
	if attr, ok := strings.CutPrefix(name, "attr."); ok {
		return column{name, func(d *carillon.Import, v string) error {
			if d.Attributes == nil {
				d.Attributes = map[string]string{}
			}
			d.Attributes[attr] = v // as it is
			return nil
		}}, attr != "" && utf8.ValidString(attr) // what else a name may be is for the node to judge
	}
	if channel, ok := strings.CutPrefix(name, "token."); ok {
		return column{name, func(d *carillon.Import, v string) error { return setToken(d, channel, v) }}, slices.Contains(carillon.TokenChannels(), channel)
	}
	if kind, ok := strings.CutPrefix(name, "alias."); ok || name == "alias" {
		if !ok {
			kind = "" // "alias" and "alias." are both the untyped one
		}
		return column{"alias." + kind, func(d *carillon.Import, v string) error {
			for _, value := range list(v) {
				d.Aliases = append(d.Aliases, carillon.Alias{Type: kind, Value: value})
			}
			return nil
		}}, utf8.ValidString(kind)
	}
	set, ok := plainColumns[name]
	return column{name, set}, ok
}

var plainColumns = map[string]func(*carillon.Import, string) error{
	"device_id": func(d *carillon.Import, v string) error { d.PreviousID = strings.TrimSpace(v); return nil },
	"account":   func(d *carillon.Import, v string) error { d.Account = strings.TrimSpace(v); return nil },
	"phone":     func(d *carillon.Import, v string) error { d.Phone = strings.TrimSpace(v); return nil },
	"tags":      func(d *carillon.Import, v string) error { d.Tags = list(v); return nil },
	"platform": func(d *carillon.Import, v string) error {
		d.Platform = strings.ToLower(strings.TrimSpace(v))
		switch d.Platform {
		case "", "android", "ios", "harmony", "web":
			return nil
		}
		return errors.New("is android, ios, harmony or web")
	},
	"test": func(d *carillon.Import, v string) error {
		yes := true
		switch strings.ToLower(strings.TrimSpace(v)) {
		case "":
			return nil
		case "true", "1", "yes":
		case "false", "0", "no":
			yes = false
		default:
			return errors.New("is true or false")
		}
		d.Test = &yes
		return nil
	},
}

// setToken puts a token into d: the token alone, or the object that the API takes.
func setToken(d *carillon.Import, channel, v string) error {
	v = strings.TrimSpace(v)
	token := json.RawMessage(v)
	switch {
	case v == "":
		return nil
	case v[0] == '{':
		if !json.Valid(token) {
			return errors.New("is not JSON")
		}
	case channel == "webpush":
		return errors.New(`is an object: {"endpoint": …, "p256dh": …, "auth": …}`)
	default:
		token, _ = json.Marshal(v) // a string always encodes
	}
	if d.Tokens == nil {
		d.Tokens = map[string]json.RawMessage{}
	}
	d.Tokens[channel] = token
	return nil
}

// list returns the members of a list, which are separated by semicolons.
func list(v string) []string {
	var all []string
	for _, s := range strings.Split(v, ";") {
		if s = strings.TrimSpace(s); s != "" {
			all = append(all, s)
		}
	}
	return all
}

// next returns the next device and the number of its line. An error is *lineError, after which one may go on, io.EOF, or
// what the file's reader says.
func (r *csvReader) next() (d carillon.Import, line int, err error) {
	fields, line, err := r.fields()
	if err != nil {
		return d, line, err
	}
	for i, c := range r.columns {
		if !utf8.ValidString(fields[i]) {
			return d, line, &lineError{line, c.name, "is not UTF-8"}
		}
		if fields[i] == "" {
			continue
		}
		if err := c.set(&d, fields[i]); err != nil {
			return d, line, &lineError{line, c.name, err.Error()}
		}
	}
	if d.PreviousID == "" {
		return d, line, &lineError{line, "device_id", "is empty"}
	}
	return d, line, nil
}

// fields returns the next record that is not an empty line, and the number of its first line. Errors are as those of next.
func (r *csvReader) fields() ([]string, int, error) {
	first, err := r.take()
	for err == nil && !first.long && strings.Trim(first.text, "\r\n") == "" {
		first, err = r.take()
	}
	if err != nil {
		return nil, 0, err
	}
	if first.long {
		return nil, first.number, &lineError{first.number, "", fmt.Sprintf("is longer than %d KiB", maxLineBytes>>10)}
	}
	// A record is complete when its quotes are even.
	text, open := first.text, odd(first.text)
	var more []textLine
	for open && len(more) < maxRecordLines && len(text) < maxLineBytes {
		l, err := r.take()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, first.number, err
		}
		more = append(more, l)
		if l.long {
			break
		}
		text += l.text
		open = open != odd(l.text)
	}
	fields, err := r.parse(text, open)
	if err != nil {
		r.ahead = append(more, r.ahead...) // perhaps they are good without the first
		return nil, first.number, &lineError{first.number, "", err.Error()}
	}
	return fields, first.number, nil
}

func odd(text string) bool { return strings.Count(text, `"`)%2 == 1 }

// parse returns the fields of one record. If open is true, its last quoted value does not end.
func (r *csvReader) parse(text string, open bool) ([]string, error) {
	r.record.Reset(strings.NewReader(text))
	p := csv.NewReader(r.record)
	p.FieldsPerRecord = -1 // counted below, in words of our own
	fields, err := p.Read()
	switch {
	case errors.Is(err, csv.ErrBareQuote), errors.Is(err, csv.ErrQuote) && !open:
		return nil, errors.New(`has a " inside a value: put the value into quotes, and double that one`)
	case open:
		return nil, errors.New(`has a quoted value that does not end`)
	case err != nil:
		return nil, err
	case r.columns != nil && len(fields) != len(r.columns):
		return nil, fmt.Errorf("has %d fields, and the header has %d", len(fields), len(r.columns))
	}
	return fields, nil
}

// take returns the next line, or io.EOF.
func (r *csvReader) take() (textLine, error) {
	if len(r.ahead) > 0 {
		l := r.ahead[0]
		r.ahead = r.ahead[1:]
		return l, nil
	}
	l := textLine{number: r.line + 1}
	for {
		part, err := r.src.ReadSlice('\n')
		r.read += int64(len(part))
		if l.long = l.long || len(l.text)+len(part) > maxLineBytes; l.long {
			l.text = "" // the rest of the line is passed over
		} else {
			l.text += string(part)
		}
		switch {
		case err == bufio.ErrBufferFull:
			continue
		case err == io.EOF && l.text == "" && !l.long:
			return l, io.EOF
		case err != nil && err != io.EOF:
			return l, err
		}
		r.line++
		return l, nil
	}
}
