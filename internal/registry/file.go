package registry

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/carillonpush/carillon/internal/push"
)

const (
	partBytes  = 256 << 10        // of a part of a file, at most
	uploadTime = 15 * time.Minute // an upload that is not complete by then is removed
	sweepParts = 1000             // parts of files that are removed a minute
)

// AddFile reads lines, plain or gzip, and keeps them for as long as the app's settings say. Lines end in \n or \r\n, the
// last one need not; empty ones are skipped, and so is a byte order mark at the start. It holds one part of the file in
// memory. Invalid with Field "line N" for a line that is not a name of 1 to push.MaxLine bytes of UTF-8, or "file" for what
// does not unzip; TooLarge for more than push.MaxFile bytes as they come or push.MaxFileBytes unzipped; NotFound without the
// app. A file that is refused is not there; what was read of it goes by itself.
func (r *Registry) AddFile(ctx context.Context, app push.AppID, body io.Reader) (push.File, error) {
	const op = "registry.AddFile"
	a, err := r.App(app)
	if err != nil {
		return push.File{}, push.Wrap(op, err)
	}
	var id [12]byte
	rand.Read(id[:]) // never fails: it stops the program instead
	now := r.now()
	f := push.File{ID: push.FileID(hex.EncodeToString(id[:])), App: app, Created: now, Expires: now.Add(a.Settings.Duration(push.SettingFileKeep))}
	lines, err := unzipped(&limited{r: body, left: push.MaxFile})
	if err != nil {
		return push.File{}, push.Wrap(op, err)
	}
	parts := 0
	u := upload{file: &f, put: func(part []byte) error {
		parts++
		return r.stores.Files.AddFilePart(ctx, app, f.ID, parts-1, part, now.Add(uploadTime))
	}}
	if err := u.read(lines); err != nil {
		return push.File{}, push.Wrap(op, err)
	}
	if err := r.stores.Files.AddFile(ctx, f, int64(a.Settings.Int(push.SettingFileBytes))); err != nil {
		return push.File{}, push.Wrap(op, err)
	}
	return f, nil
}

// limited reads at most left bytes: one more is TooLarge.
type limited struct {
	r    io.Reader
	left int
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.r.Read(p[:min(len(p), l.left+1)])
	if l.left -= n; l.left < 0 {
		return 0, tooLarge()
	}
	return n, err
}

func tooLarge() error {
	return &push.Error{
		Kind: push.TooLarge, Field: "file",
		Msg: "a file is at most " + strconv.Itoa(push.MaxFile>>20) + " MiB, and " + strconv.Itoa(push.MaxFileBytes>>20) + " MiB unzipped",
	}
}

// unzipped returns the text of body: itself, or what is in it if it begins as gzip does.
func unzipped(body io.Reader) (io.Reader, error) {
	b := bufio.NewReader(body)
	magic, err := b.Peek(2)
	if !bytes.Equal(magic, []byte{0x1f, 0x8b}) { // no text begins so: 0x8b is not UTF-8 there
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		return b, nil
	}
	z, err := gzip.NewReader(b)
	if err != nil {
		return nil, notGzip(err)
	}
	return &unzipper{z}, nil
}

// unzipper is a gzip.Reader whose errors say whose fault they are.
type unzipper struct{ z *gzip.Reader }

func (u *unzipper) Read(p []byte) (int, error) {
	n, err := u.z.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = notGzip(err)
	}
	return n, err
}

// notGzip returns the error for what does not unzip, unless it is one of ours, or of whoever sends the body.
func notGzip(err error) error {
	var e *push.Error
	var damaged flate.CorruptInputError
	if errors.As(err, &e) || !errors.Is(err, gzip.ErrHeader) && !errors.Is(err, gzip.ErrChecksum) &&
		!errors.Is(err, io.ErrUnexpectedEOF) && !errors.As(err, &damaged) {
		return err
	}
	return &push.Error{Kind: push.Invalid, Field: "file", Msg: "begins as gzip does, and does not unzip", Err: err}
}

// An upload cuts text into lines, and puts them into parts.
type upload struct {
	file *push.File
	put  func(part []byte) error
	part []byte
	line int // how many were seen, empty ones too
}

var byteOrderMark = []byte("\ufeff")

// read reads all lines of text.
func (u *upload) read(text io.Reader) error {
	b := bufio.NewReaderSize(&limited{r: text, left: push.MaxFileBytes}, 64<<10)
	if mark, err := b.Peek(len(byteOrderMark)); err == nil && bytes.Equal(mark, byteOrderMark) {
		if _, err := b.Discard(len(mark)); err != nil {
			return err
		}
		u.file.Bytes += len(mark)
	}
	for {
		line, err := b.ReadSlice('\n')
		u.file.Bytes += len(line)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			u.line++
			return u.refuse()
		case err != nil && !errors.Is(err, io.EOF):
			return err
		}
		if failed := u.add(line); failed != nil {
			return failed
		}
		if err != nil { // the end
			break
		}
	}
	if len(u.part) == 0 {
		return nil
	}
	return u.put(u.part)
}

// add takes one line, with its end.
func (u *upload) add(line []byte) error {
	if len(line) == 0 {
		return nil
	}
	u.line++
	line = bytes.TrimSuffix(line, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	if len(line) == 0 {
		return nil
	}
	if len(line) > push.MaxLine || !utf8.Valid(line) || bytes.IndexByte(line, 0) >= 0 {
		return u.refuse()
	}
	if len(u.part)+len(line)+1 > partBytes {
		if err := u.put(u.part); err != nil {
			return err
		}
		u.part = u.part[:0]
	}
	u.part = append(append(u.part, line...), '\n')
	u.file.Lines++
	return nil
}

func (u *upload) refuse() error {
	return &push.Error{
		Kind: push.Invalid, Field: "line " + strconv.Itoa(u.line),
		Msg: "is not a name: 1 to " + strconv.Itoa(push.MaxLine) + " bytes of UTF-8, without NUL",
	}
}

// FindFile returns a file of app. NotFound.
func (r *Registry) FindFile(ctx context.Context, app push.AppID, id push.FileID) (push.File, error) {
	f, err := r.stores.Files.FindFile(ctx, app, id, r.options.Now())
	if errors.Is(err, push.NotFound) {
		err = noFile(err)
	}
	return f, push.Wrap("registry.FindFile", err)
}

func noFile(err error) error {
	return &push.Error{Kind: push.NotFound, Field: "file", Msg: "no such file", Err: err}
}

// sweepFiles removes files that expired, some at a time.
func (r *Registry) sweepFiles(ctx context.Context) {
	if _, err := r.stores.Files.SweepFiles(ctx, r.options.Now(), sweepParts); err != nil && ctx.Err() == nil {
		r.options.Log.Warn("files that expired are not removed", "err", err)
	}
}
