package sqlstore_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/carillonpush/carillon/internal/push"
	"github.com/carillonpush/carillon/internal/sqlstore"
	"github.com/carillonpush/carillon/internal/sqlstore/storetest"
)

func TestReceiptsSurvivePacking(t *testing.T) {
	one := rapid.Custom(func(t *rapid.T) push.Receipt {
		return push.Receipt{
			App:     push.AppID(rapid.Uint32().Draw(t, "app")),
			Push:    push.ID(rapid.Int64Range(1, 1<<63-1).Draw(t, "push")),
			Ordinal: push.Ordinal(rapid.Uint32().Draw(t, "ordinal")),
			Mark:    push.Mark(rapid.Uint8Range(0, 31).Draw(t, "mark")),
			Day:     push.Day(rapid.Int32Range(0, 1<<30).Draw(t, "day")),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		// Some repeat what is before them, as the receipts of one delivery do.
		var want []push.Receipt
		for _, r := range rapid.SliceOf(one).Draw(t, "receipts") {
			want = append(want, r)
			again := r
			again.Mark = 1
			if rapid.Bool().Draw(t, "repeat") {
				want = append(want, again)
			}
		}
		got, err := sqlstore.UnpackReceipts(sqlstore.PackReceipts(want))
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("got %v, %v, want %v", got, err, want)
		}
	})
}

func TestPackedReceiptsAreSmall(t *testing.T) {
	id := push.ID(time.Since(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)).Milliseconds() << 22)
	var rs []push.Receipt
	for i := range 1000 {
		r := push.Receipt{App: 1, Push: id + push.ID(i), Ordinal: push.Ordinal(i * 7919 % 1_000_000), Mark: push.MarkSent, Day: 20_000}
		rs = append(rs, r)
		r.Mark = push.MarkDelivered
		rs = append(rs, r)
	}
	if got := len(sqlstore.PackReceipts(rs)); got > 5*len(rs) {
		t.Errorf("%d receipts take %d bytes, want at most 5 each", len(rs), got)
	}
}

func FuzzUnpackReceipts(f *testing.F) {
	f.Add(sqlstore.PackReceipts([]push.Receipt{
		{App: 1, Push: 5, Ordinal: 7, Mark: push.MarkSent, Day: 3}, {App: 1, Push: 5, Ordinal: 7, Mark: push.MarkDelivered, Day: 3},
	}))
	f.Add([]byte{1, 0x20})
	f.Add([]byte{2})
	f.Fuzz(func(t *testing.T, b []byte) {
		rs, err := sqlstore.UnpackReceipts(b)
		if err != nil {
			return
		}
		again, err := sqlstore.UnpackReceipts(sqlstore.PackReceipts(rs))
		if err != nil || !slices.Equal(again, rs) {
			t.Errorf("got %v, %v, want %v", again, err, rs)
		}
	})
}

func FuzzUnpackOrdinals(f *testing.F) {
	f.Add(sqlstore.PackOrdinals([]push.Ordinal{0, 1, 70_000, 1<<32 - 1}))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := sqlstore.UnpackOrdinals(b)
		if err != nil {
			return
		}
		again, err := sqlstore.UnpackOrdinals(sqlstore.PackOrdinals(all))
		if err != nil || !slices.Equal(again, all) {
			t.Errorf("got %v, %v, want %v", again, err, all)
		}
	})
}

// fill sets every field that JSON carries to something, so that a field which the record forgets is seen.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)))
			return
		}
		if v.Type() == reflect.TypeFor[push.Where]() {
			v.Set(reflect.ValueOf(push.And(push.Is(push.WhereTag("t")), push.Not(push.Is(push.WhereHas(push.HasPhone))))))
			return
		}
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				fill(v.Field(i))
			}
		}
	case reflect.Slice:
		if v.Type() == reflect.TypeFor[json.RawMessage]() {
			v.SetBytes([]byte(`{"a":1}`))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key)
		fill(value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.String:
		v.SetString("s")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64, reflect.Int32:
		v.SetInt(1_000_000_000)
	case reflect.Uint8, reflect.Uint32:
		v.SetUint(1)
	}
}

func TestNoFieldOfARequestIsForgotten(t *testing.T) {
	databases(t, func(t *testing.T, url string) {
		p := storetest.Open(t, url, nil)
		now := time.Now().UTC().Truncate(time.Millisecond)
		for i, kind := range []push.PushKind{push.Direct, push.Bulk} {
			want := push.Push{
				ID: push.ID(i + 1), App: 1, Kind: kind, State: push.Scheduled, Reason: "", Unknown: 3,
				Created: now, Start: now.Add(time.Minute), Expires: now.Add(time.Hour),
			}
			fill(reflect.ValueOf(&want.Request).Elem())
			want.Request.Audience.Of.Alias = ""                                                     // it is of devices
			want.Request.Key, want.Request.AllowUnknown, want.Request.Uses = push.Key{}, false, nil // not kept: they are about accepting
			payload, err := push.Push{
				ID: want.ID, Created: want.Created, Expires: want.Expires, Request: want.Request,
			}.Payload()
			if err != nil {
				t.Fatal(err)
			}
			if kind == push.Direct {
				// A recall's payload has nothing else, and direct pushes have the devices as their targets.
				want.Request.Message.Recall = 0
				if payload, err = want.Payload(); err != nil {
					t.Fatal(err)
				}
			}
			if _, _, err := p.Record.Accept(t.Context(), &push.Acceptance{Push: want, Payload: payload}); err != nil {
				t.Fatal(err)
			}
			got, err := p.Record.Find(t.Context(), 1, want.ID)
			if err != nil {
				t.Fatal(err)
			}
			if kind == push.Direct {
				want.Request.Audience = push.Audience{Platforms: want.Request.Audience.Platforms}
			}
			if diff := cmp.Diff(got, want); diff != "" {
				t.Errorf("%s (-got +want):\n%s", kind, diff)
			}
		}
	})
}

func FuzzUnpackQuota(f *testing.F) {
	f.Add([]byte{1, 0, 0})
	f.Add([]byte{1, 2, 3, 200, 1, 5, 1, 20, 0, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		packed, err := sqlstore.RepackQuota(b)
		if err != nil {
			return
		}
		again, err := sqlstore.RepackQuota(packed)
		if err != nil || !slices.Equal(again, packed) {
			t.Errorf("%x becomes %x, then %x, %v", b, packed, again, err)
		}
	})
}
