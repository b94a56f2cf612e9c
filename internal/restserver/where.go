package restserver

import (
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/carillonpush/carillon/internal/push"
)

// whereForm stands for push.Where, which reads itself: an object with one member that says what it asks, as docs/audiences.md
// has it.
type whereForm struct{}

const whereRef = "#/components/schemas/Where"

// Schema implements huma.SchemaProvider. The schema refers to itself, so it has a name, under which it is put down here.
func (whereForm) Schema(r huma.Registry) *huma.Schema {
	self := func() *huma.Schema { return &huma.Schema{Ref: whereRef} } // each place describes its own
	if _, done := r.Map()["Where"]; done {
		return self()
	}
	list := func(items *huma.Schema) *huma.Schema {
		most := push.MaxDirect
		return &huma.Schema{Type: huma.TypeArray, Items: items, MinItems: new(1), MaxItems: &most}
	}
	flag := func() *huma.Schema { return &huma.Schema{Type: huma.TypeBoolean} }
	scalar := func() *huma.Schema {
		return &huma.Schema{OneOf: []*huma.Schema{text(), {Type: huma.TypeNumber}, {Type: huma.TypeBoolean}}}
	}
	joined := func() *huma.Schema { return &huma.Schema{Type: huma.TypeArray, Items: self(), MinItems: new(1)} }
	within := durationForm{}.Schema
	s := &huma.Schema{
		Type: huma.TypeObject, AdditionalProperties: false,
		Properties: map[string]*huma.Schema{
			"and": joined(), "or": joined(), "not": self(),
			"tag": text("vip"), "alias": r.Schema(reflect.TypeFor[push.Aliases](), true, ""), "account": list(text()),
			"attr": text("app_version"), "op": enum("=", "!=", "<", "<=", ">", ">="), "value": scalar(), "in": list(scalar()),
			"platform":      {Type: huma.TypeArray, Items: platformForm{}.Schema(r), MinItems: new(1)},
			"active_within": within(r), "bound_within": within(r), "unbound_within": within(r),
			"registered": {Type: huma.TypeObject, AdditionalProperties: false, MinProperties: new(1), Properties: map[string]*huma.Schema{
				"after":  {Type: huma.TypeString, Format: "date-time", Description: "At this time or later."},
				"before": {Type: huma.TypeString, Format: "date-time", Description: "Earlier than this."},
			}},
			"targeted": idForm{}.Schema(r), "sent": idForm{}.Schema(r), "reached": idForm{}.Schema(r), "opened": idForm{}.Schema(r), "has": hasForm(),
			"online": flag(), "test": flag(), "blacklisted": flag(),
		},
		DependentRequired: map[string][]string{"op": {"attr", "value"}, "value": {"attr", "op"}, "in": {"attr"}},
	}
	// Which member it is: exactly one of them, so that two beside each other are refused as the server does.
	for _, one := range [][]string{
		{"and"},
		{"or"},
		{"not"},
		{"tag"},
		{"alias"},
		{"account"},
		{"attr", "op", "value"},
		{"attr", "in"},
		{"platform"},
		{"active_within"},
		{"bound_within"},
		{"unbound_within"},
		{"registered"},
		{"targeted"},
		{"sent"},
		{"reached"},
		{"opened"},
		{"has"},
		{"online"},
		{"test"},
		{"blacklisted"},
	} {
		s.OneOf = append(s.OneOf, &huma.Schema{Required: one})
	}
	r.Map()["Where"] = s
	return self()
}

// hasForm returns the schema of what a device may have.
func hasForm() *huma.Schema {
	all := []any{push.HasPhone}
	for _, c := range push.TokenChannels() {
		all = append(all, push.HasToken+c)
	}
	return enum(all...)
}
