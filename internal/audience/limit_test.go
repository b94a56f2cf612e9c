package audience_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/carillonpush/carillon/internal/audience"
	"github.com/carillonpush/carillon/internal/push"
)

func withValue(o push.Ordinal, name, value string) push.IndexRow {
	r := device(1, o, push.Android)
	r.Attributes = have(name, value, "level", "1")
	return r
}

// refused reports whether err is Invalid at that path.
func refused(err error, path string) bool {
	var e *push.Error
	return errors.Is(err, push.Invalid) && errors.As(err, &e) && e.Field == path
}

func TestAnAttributeWithTooManyValues(t *testing.T) {
	var x audience.Index
	is := func(name string) push.Where {
		return push.Is(push.WhereAttr{Name: name, Op: push.OpIs, Values: []string{"1"}})
	}
	where := push.And(is("level"), push.Or(push.Not(is("serial")), is("level")))
	for i := range audience.MaxValues {
		x.Apply(withValue(push.Ordinal(i*10), "serial", fmt.Sprint(i)))
	}
	if err := x.Check(1, where); err != nil {
		t.Fatalf("with %d values: %v", audience.MaxValues, err)
	}
	x.Apply(withValue(5, "serial", "one too many"))
	if err := x.Check(1, where); !refused(err, "and[1].or[0].not.attr") {
		t.Errorf("Check = %v, want Invalid at and[1].or[0].not.attr", err)
	}
	if _, err := x.Select(query(1, where)); !refused(err, "and[1].or[0].not.attr") {
		t.Errorf("Select = %v, want Invalid at and[1].or[0].not.attr", err)
	}
	if _, err := x.Count(query(1, is("serial"))); !refused(err, "attr") {
		t.Errorf("Count = %v, want Invalid at attr", err)
	}
	// Everything else of the devices is known as before.
	if n, err := x.Count(query(1, is("level"))); n != audience.MaxValues+1 || err != nil {
		t.Errorf("%d devices have a level, %v, want %d", n, err, audience.MaxValues+1)
	}
	r := withValue(5, "serial", "another")
	x.Apply(r)
	if agrees, known := x.Agrees(r); !agrees || !known {
		t.Errorf("agrees %t, known %t of a device with such an attribute", agrees, known)
	}
	var b bytes.Buffer
	if err := x.WriteSnapshot(&b, audience.Head{}); err != nil {
		t.Fatal(err)
	}
	var y audience.Index
	if err := y.ReadSnapshot(&b, func(audience.Head) bool { return true }); err != nil {
		t.Fatal(err)
	}
	if err := y.Check(1, is("serial")); !refused(err, "attr") {
		t.Errorf("after a snapshot Check = %v, want Invalid at attr", err)
	}
}

// Values come and go without end, as long as there are not too many at a time.
func TestValuesThatNobodyHasAnyMoreDoNotCount(t *testing.T) {
	var x audience.Index
	const devices = 5000
	latest := make([]string, devices)
	for i := range 10 * audience.MaxValues {
		latest[i%devices] = fmt.Sprint(i)
		x.Apply(withValue(push.Ordinal(i%devices), "build", latest[i%devices]))
	}
	for _, i := range []int{0, 17, devices - 1} {
		where := push.Is(push.WhereAttr{Name: "build", Op: push.OpIs, Values: []string{latest[i]}})
		s, err := x.Select(query(1, where))
		if err != nil || s.Len() != 1 || !s.Has(push.Ordinal(i)) {
			t.Errorf("device %d is not the one with its value: %v, %v", i, list(s), err)
		}
	}
	below := push.Is(push.WhereAttr{Name: "build", Op: push.OpBelow, Values: []string{fmt.Sprint(9*audience.MaxValues + 6000)}})
	if n, err := x.Count(query(1, below)); n != 1000 || err != nil {
		t.Errorf("%d devices are below, %v, want 1000", n, err)
	}
}

// Where nearly all values are in use, and one comes for one that goes, no value is mistaken for another.
func TestOneValueComesForAnother(t *testing.T) {
	var x audience.Index
	const devices = audience.MaxValues - 1
	for i := range devices {
		x.Apply(withValue(push.Ordinal(i), "serial", fmt.Sprint(i)))
	}
	for round := range 9000 {
		x.Apply(withValue(3, "serial", fmt.Sprint("new ", round)))
	}
	for value, want := range map[string]int{"new 8999": 1, "new 8998": 0, "3": 0, "4": 1} {
		n, err := x.Count(query(1, push.Is(push.WhereAttr{Name: "serial", Op: push.OpIs, Values: []string{value}})))
		if n != want || err != nil {
			t.Errorf("%d devices have %q, %v, want %d", n, value, err, want)
		}
	}
	not := push.Is(push.WhereAttr{Name: "serial", Op: push.OpIsNot, Values: []string{"4"}})
	if n, err := x.Count(query(1, not)); n != devices-1 || err != nil {
		t.Errorf("%d devices have another value than one, %v, want %d", n, err, devices-1)
	}
}

func TestAnAppWithTooManyAttributes(t *testing.T) {
	var x audience.Index
	has := func(name string) push.Where {
		return push.Is(push.WhereAttr{Name: name, Op: push.OpIs, Values: []string{"1"}})
	}
	const custom = audience.MaxNames - 11 // the well-known ones keep their places
	for i := range custom {
		r := device(1, push.Ordinal(i), push.Android)
		r.Attributes = have(fmt.Sprint("a", i), "1")
		x.Apply(r)
	}
	if err := x.Check(1, has("late")); err != nil {
		t.Errorf("an attribute that nobody has: %v", err)
	}
	r := device(1, 1000, push.Android)
	r.Attributes = have("late", "1", "a7", "1", "city", "1")
	x.Apply(r)
	if n, err := x.Count(query(1, has("city"))); n != 1 || err != nil {
		t.Errorf("%d devices have a well-known attribute, %v, want 1", n, err)
	}
	if err := x.Check(1, has("brand")); err != nil {
		t.Errorf("a well-known attribute that nobody has: %v", err)
	}
	if err := x.Check(1, has("late")); !refused(err, "attr") {
		t.Errorf("Check = %v, want Invalid at attr", err)
	}
	if n, err := x.Count(query(1, has("a7"))); n != 2 || err != nil {
		t.Errorf("%d devices have an older attribute, %v, want 2", n, err)
	}
	if agrees, _ := x.Agrees(r); !agrees {
		t.Error("the index does not agree with the row that was applied")
	}
}
