package main

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/carillonpush/carillon/sdk/carillon"
)

// send imports the devices of a batch, and returns how many were, how many of those are new, and what the node refused. After
// an error some more may have been imported, or none: rest is the first line of which that is not known, and from which the
// batch may be repeated.
func (im *importer) send(ctx context.Context, b *batch) (n summary, bad []*lineError, rest int, err error) {
	for devices, at := b.devices, b.at; len(devices) > 0; {
		count := len(devices)
		results, err := im.client.ImportDevices(ctx, im.app, devices[:count])
		var e *carillon.Error
		for errors.As(err, &e) && e.Status == http.StatusRequestEntityTooLarge && count > 1 {
			count /= 2
			results, err = im.client.ImportDevices(ctx, im.app, devices[:count])
		}
		// What the node cannot even read is no business of the other lines.
		if i, field, ok := atFault(err, count); ok {
			bad = append(bad, refusal(devices[i], at[i], field, e))
			devices = append(append([]carillon.Import{}, devices[:i]...), devices[i+1:]...)
			at = append(append([]int{}, at[:i]...), at[i+1:]...)
			continue
		}
		if err != nil {
			return n, bad, at[0], err
		}
		for i, r := range results {
			switch {
			case r.Err != nil:
				bad = append(bad, refusal(devices[i], at[i], r.Err.Field, r.Err))
				continue
			case r.Added:
				n.New++
			}
			n.Imported++
		}
		devices, at = devices[count:], at[count:]
	}
	return n, bad, 0, nil
}

// atFault returns which of count devices an error of the whole call is about, and the path inside it.
func atFault(err error, count int) (i int, field string, ok bool) {
	var e *carillon.Error
	if !errors.As(err, &e) {
		return 0, "", false
	}
	if e.Status == http.StatusRequestEntityTooLarge && count == 1 {
		return 0, "", true
	}
	rest, ok := strings.CutPrefix(e.Field, "devices[")
	if !ok || e.Code != "invalid" {
		return 0, "", false
	}
	number, field, ok := strings.Cut(rest, "]")
	i, err = strconv.Atoi(number)
	return i, strings.TrimPrefix(field, "."), ok && err == nil && i >= 0 && i < count
}

// refusal returns what the node said of a device, in the words of the file's columns.
func refusal(d carillon.Import, line int, field string, e *carillon.Error) *lineError {
	message := strings.TrimPrefix(e.Detail, e.Field+": ")
	if message == "" {
		message = e.Code
	}
	for _, names := range [][2]string{{"attributes.", "attr."}, {"tokens.", "token."}} {
		if rest, ok := strings.CutPrefix(field, names[0]); ok {
			field = names[1] + rest
		}
	}
	if rest, ok := strings.CutPrefix(field, "aliases["); ok {
		number, _, _ := strings.Cut(rest, "]")
		if i, err := strconv.Atoi(number); err == nil && i >= 0 && i < len(d.Aliases) {
			field = "alias." + d.Aliases[i].Type
		}
	}
	return &lineError{line, field, message}
}

// A flight bounds the calls that are under way, and keeps lines about one device in order: no two calls that name the same
// one are under way together.
type flight struct {
	mu      sync.Mutex // guards all below
	left    sync.Cond
	free    int
	devices map[string]bool // that are under way
}

func newFlight(calls int) *flight {
	f := &flight{free: calls, devices: map[string]bool{}}
	f.left.L = &f.mu
	return f
}

// enter waits until devices may be sent, and reports false if ctx ends before.
func (f *flight) enter(ctx context.Context, devices []carillon.Import) bool {
	stop := context.AfterFunc(ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.left.Broadcast()
	})
	defer stop()
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.free == 0 || f.meets(devices) {
		if ctx.Err() != nil {
			return false
		}
		f.left.Wait()
	}
	if ctx.Err() != nil {
		return false
	}
	f.free--
	for _, d := range devices {
		f.devices[d.PreviousID] = true
	}
	return true
}

func (f *flight) meets(devices []carillon.Import) bool {
	for _, d := range devices {
		if f.devices[d.PreviousID] {
			return true
		}
	}
	return false
}

// leave says that devices are not under way any more.
func (f *flight) leave(devices []carillon.Import) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.free++
	for _, d := range devices {
		delete(f.devices, d.PreviousID)
	}
	f.left.Broadcast()
}
