package main

import (
	"time"

	"github.com/carillonpush/carillon/internal/push"
)

// A question is an expression, and the same as SQL for SQLite and PostgreSQL alike: a condition on a device d, with {day} for
// the day of the question.
type question struct {
	name  string
	where push.Where
	sql   string
}

func attr(name string, op push.Operator, values ...string) push.Where {
	return push.Is(push.WhereAttr{Name: name, Op: op, Values: values})
}

func tag(name string) push.Where { return push.Is(push.WhereTag(name)) }

func active(days int) push.Where {
	return push.Is(push.WhereWithin{Event: push.EventActive, For: time.Duration(days) * 24 * time.Hour})
}

// sqlTag returns the condition that a device carries a tag. (EXISTS is slower in SQLite and the same in PostgreSQL.)
func sqlTag(id string) string {
	return "d.id IN (SELECT t.device FROM device_tag t WHERE t.tag = " + id + ")"
}

// questions are what is asked. Versions go from 1.6.0 to 3.11.0. SQL does not compare them, so a user has them as numbers in a
// column.
var questions = []question{
	{"one tag", tag("tag-002"), sqlTag("2")},
	{
		"a rare tag and a province", push.And(tag("tag-150"), attr("province", push.OpIs, "province-05")),
		sqlTag("150") + " AND d.province = 'province-05'",
	},
	{"two large tags", push.And(tag("tag-001"), tag("tag-002")), sqlTag("1") + " AND " + sqlTag("2")},
	{"all but a tag", push.Not(tag("tag-001")), "NOT " + sqlTag("1")},
	{"one city", attr("city", push.OpIs, "city-017"), "d.city = 'city-017'"},
	{"versions above 2.4", attr("app_version", push.OpAbove, "2.4"), "d.version > 20400"},
	{"active within 7 days", active(7), "d.active >= {day} - 7"},
	{
		"not active within 30 days, with a phone", push.And(push.Not(active(30)), push.Is(push.WhereHas(push.HasPhone))),
		"d.active < {day} - 30 AND d.phone = 1",
	},
	{
		"ten cities or three tags", push.Or(
			attr("city", push.OpIn, "city-001", "city-005", "city-010", "city-020", "city-040", "city-080", "city-120", "city-160", "city-200", "city-240"),
			tag("tag-003"), tag("tag-030"), tag("tag-100")),
		`d.city IN ('city-001','city-005','city-010','city-020','city-040','city-080','city-120','city-160','city-200','city-240')
		OR d.id IN (SELECT t.device FROM device_tag t WHERE t.tag IN (3, 30, 100))`,
	},
	{
		"seven leaves, nested", push.And(
			push.Or(tag("tag-002"), attr("province", push.OpIn, "province-00", "province-03", "province-07")),
			push.Not(attr("app_version", push.OpBelow, "2.4")),
			push.Or(active(30), push.And(push.Is(push.WhereHas(push.HasPhone)), push.Not(tag("tag-001")))),
			push.Not(attr("brand", push.OpIs, "apple"))),
		"(" + sqlTag("2") + ` OR d.province IN ('province-00','province-03','province-07'))
		AND NOT d.version < 20400
		AND (d.active >= {day} - 30 OR d.phone = 1 AND NOT ` + sqlTag("1") + `)
		AND NOT d.brand = 'apple'`,
	},
}
