package restserver

import (
	_ "embed"
	"encoding/json"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/carillonpush/carillon/internal/push"
)

// schemaText describes schemas and their properties, one a line: "Type text" or "Type,Type.property text".
//
//go:embed schema.txt
var schemaText string

// document returns the OpenAPI document without its operations.
func document(version string) *huma.OpenAPI {
	return &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{
			Title:   "Carillon",
			Version: version,
			Description: "A self-hosted mobile push platform. Senders and administrators use /v1, devices /device/v1.\n\n" +
				"Times are RFC 3339, durations like 90s, 72h or 7d, ids are strings. {app} is an app's id or name. Unknown fields " +
				"and parameters are refused by name, and names are in exact case. A field that is null is absent, but where any JSON " +
				"value is taken. Lists are {\"items\": […], \"next\": \"cursor\"}, newest first unless the route says otherwise; the last page has no next. Errors are RFC 9457 problems with a stable code.",
			License: &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
		},
		Tags: []*huma.Tag{
			{Name: "Apps", Description: "For administrators: apps, their settings and credentials."},
			{Name: "Pushes", Description: "Send messages, stop them or take them back, and see what became of them."},
			{Name: "Schedules", Description: "What is to be sent later, once or again and again."},
			{Name: "Templates", Description: "Named texts with placeholders."},
			{Name: "Reports", Description: "Sums over many pushes, and devices by day."},
			{Name: "Webhooks and events", Description: "An app's server is told what happens: by calls that are signed and repeated, or as a stream."},
			{Name: "Devices", Description: "The devices of an app, as its senders see them."},
			{Name: "Tags and aliases", Description: "What devices are found by, for an app as a whole."},
			{Name: "Files", Description: "Uploaded lists of devices or aliases, to send to."},
			{Name: "Doctor", Description: "For administrators: whether what is in memory is what is in the record."},
			{Name: "Device API", Description: "What a device calls itself. It receives over MQTT, or over the inbox stream here."},
		},
		Components: &huma.Components{
			Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
			SecuritySchemes: map[string]*huma.SecurityScheme{
				"admin":  {Type: "http", Scheme: "bearer", Description: "The admin token, written to admin.token at the first start. It opens everything."},
				"key":    {Type: "http", Scheme: "bearer", Description: "An app's own API key. It opens that app."},
				"device": {Type: "http", Scheme: "Device", Description: "Authorization: Device DEVICE_ID:SECRET, as registering answered them."},
			},
		},
	}
}

// The types below say how types of the domain look in JSON where their Go form does not.
type (
	idForm       struct{}
	appIDForm    struct{}
	platformForm struct{}
	platformList struct{} // []push.Platform, which huma takes for bytes
	durationForm struct{}
	networkForm  struct{}
	kindForm     struct{}
	stateForm    struct{}
	fileOfForm   struct{}

	scheduleStateForm   struct{}
	occurrenceStateForm struct{}
	webhookIDForm       struct{}
)

// text returns the schema of a string.
func text(examples ...any) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Examples: examples}
}

// enum returns the schema of one of several strings.
func enum(values ...any) *huma.Schema { return &huma.Schema{Type: huma.TypeString, Enum: values} }

// Schema implements huma.SchemaProvider, as do the others.
func (idForm) Schema(huma.Registry) *huma.Schema {
	s := text("187649984473770")
	s.Pattern = "^[1-9][0-9]{0,18}$"
	return s
}

func (appIDForm) Schema(huma.Registry) *huma.Schema { return text("1") }

func (platformForm) Schema(huma.Registry) *huma.Schema {
	return enum("android", "ios", "harmony", "web")
}

func (platformList) Schema(r huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeArray, Items: platformForm{}.Schema(r)}
}

func (durationForm) Schema(huma.Registry) *huma.Schema { return text("90s", "72h", "7d") }

func (networkForm) Schema(huma.Registry) *huma.Schema { return enum("any", "wifi", "mobile") }

func (kindForm) Schema(huma.Registry) *huma.Schema { return enum("direct", "bulk") }

func (stateForm) Schema(huma.Registry) *huma.Schema {
	return enum("open", "scheduled", "accepted", "sending", "paused", "done", "cancelled", "recalled", "expired", "failed")
}

func (scheduleStateForm) Schema(huma.Registry) *huma.Schema {
	return enum("active", "finished", "cancelled")
}

func (occurrenceStateForm) Schema(huma.Registry) *huma.Schema {
	return enum("waiting", "fired", "missed", "failed", "cancelled")
}

func (webhookIDForm) Schema(huma.Registry) *huma.Schema { return text("1") }

func (fileOfForm) Schema(huma.Registry) *huma.Schema {
	alias := &huma.Schema{
		Type: huma.TypeObject, Properties: map[string]*huma.Schema{"alias": {Type: huma.TypeString, Description: "The type of the aliases."}},
		Required: []string{"alias"}, AdditionalProperties: false,
	}
	return &huma.Schema{OneOf: []*huma.Schema{enum("devices"), alias}}
}

// Schema implements huma.SchemaProvider.
func (TokenBody) Schema(r huma.Registry) *huma.Schema {
	return &huma.Schema{OneOf: []*huma.Schema{text(), r.Schema(reflect.TypeFor[push.Token](), true, "")}}
}

// Schema implements huma.SchemaProvider.
func (SettingValue) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{OneOf: []*huma.Schema{text(), {Type: huma.TypeBoolean}, {Type: huma.TypeNumber}, {Type: "null"}}}
}

// Schema implements huma.SchemaProvider.
func (BatchAnswer) Schema(r huma.Registry) *huma.Schema {
	return &huma.Schema{OneOf: []*huma.Schema{
		r.Schema(reflect.TypeFor[push.Push](), true, ""), r.Schema(reflect.TypeFor[Problem](), true, ""),
	}}
}

// aliases tells r which form stands for which type.
func aliases(r huma.Registry) {
	r.RegisterTypeAlias(reflect.TypeFor[push.ID](), reflect.TypeFor[idForm]())
	r.RegisterTypeAlias(reflect.TypeFor[push.AppID](), reflect.TypeFor[appIDForm]())
	r.RegisterTypeAlias(reflect.TypeFor[push.Platform](), reflect.TypeFor[platformForm]())
	r.RegisterTypeAlias(reflect.TypeFor[[]push.Platform](), reflect.TypeFor[platformList]())
	r.RegisterTypeAlias(reflect.TypeFor[push.Duration](), reflect.TypeFor[durationForm]())
	r.RegisterTypeAlias(reflect.TypeFor[push.Network](), reflect.TypeFor[networkForm]())
	r.RegisterTypeAlias(reflect.TypeFor[push.PushKind](), reflect.TypeFor[kindForm]())
	r.RegisterTypeAlias(reflect.TypeFor[push.State](), reflect.TypeFor[stateForm]())
	r.RegisterTypeAlias(reflect.TypeFor[push.ScheduleState](), reflect.TypeFor[scheduleStateForm]())
	r.RegisterTypeAlias(reflect.TypeFor[push.OccurrenceState](), reflect.TypeFor[occurrenceStateForm]())
	r.RegisterTypeAlias(reflect.TypeFor[push.WebhookID](), reflect.TypeFor[webhookIDForm]())
	r.RegisterTypeAlias(reflect.TypeFor[push.Policy](), reflect.TypeFor[Policy]())
	r.RegisterTypeAlias(reflect.TypeFor[push.FileOf](), reflect.TypeFor[fileOfForm]())
	r.RegisterTypeAlias(reflect.TypeFor[push.Where](), reflect.TypeFor[whereForm]())
}

// finish corrects what Go types do not say, and describes every schema and property.
func finish(r huma.Registry) {
	schemas := r.Map()
	for name, s := range schemas {
		for _, p := range s.Properties {
			p.Nullable = false // lists of answers are empty, never null
		}
		if strings.HasPrefix(name, "AppBody") || strings.Contains(name, "Credential") {
			s.Required = nil // what is left out is made up
		}
	}
	schemas["AppBody"].Required = []string{"name"}
	delete(schemas["Message"].Properties, "recall") // for devices; senders recall by a route
	schemas["BatchBody"].Properties["pushes"].Items = r.Schema(reflect.TypeFor[PushBody](), true, "")
	schemas["Message"].Properties["apns"].Type = huma.TypeObject
	schemas["ImportsBody"].Properties["devices"].Items = r.Schema(reflect.TypeFor[ImportBody](), true, "")
	schemas["RecallBody"].Properties["devices"] = listOfText()
	schemas["ReplayBody"].Properties["batches"] = listOfText()
	schemas["BatchInfo"].Properties["id"] = text("1")
	schemas["AccountStep"].Properties["step"] = enum(steps()...)
	schemas["Event"].Properties["event"] = enum(anyOf(push.EventNames())...)
	schemas["Alias"].Required, schemas["Aliases"].Required = []string{"value"}, []string{"values"} // without a type: untyped
	for line := range strings.Lines(schemaText) {
		name, doc, _ := strings.Cut(strings.TrimSpace(line), " ")
		types, property, isProperty := strings.Cut(name, ".")
		for typ := range strings.SplitSeq(types, ",") {
			described := schemas[typ]
			if isProperty && described != nil {
				described = described.Properties[property]
			}
			if described == nil {
				panic("restserver: schema.txt describes what does not exist: " + name)
			}
			described.Description = doc
		}
	}
}

// listOfText returns the schema of a list of names that is not empty.
func listOfText() *huma.Schema {
	most := push.MaxDirect
	return &huma.Schema{Type: huma.TypeArray, Items: text(), MinItems: new(1), MaxItems: &most}
}

// steps returns the names of the steps of accounts.
func steps() []any {
	var all []any
	for _, s := range push.AccountSteps() {
		all = append(all, s[0])
	}
	return all
}

// anyOf returns texts as the values of an enum.
func anyOf[T ~string](texts []T) []any {
	var all []any
	for _, t := range texts {
		all = append(all, string(t))
	}
	return all
}

// pathDocs describe the parameters of paths.
var pathDocs = map[string]string{
	"app":    "The app's id or name.",
	"id":     "The id of the push, schedule or webhook.",
	"name":   "The name of the group, topic or template, percent-encoded.",
	"device": "A device id, a channel id or, of a device that was imported, the id that it had before.",
	"tag":    "The tag, percent-encoded: any text of 1 to 128 characters.",
	"file":   "The file's id.",

	"occurrence": "The occurrence's id.",
	"request_id": "What a dialect, or the header X-Request-Id, called the request; percent-encoded.",
}

// queryParam returns a parameter of the query of a JSON type.
func queryParam(name, doc, typ string) *huma.Param {
	return &huma.Param{Name: name, In: "query", Description: doc, Schema: &huma.Schema{Type: typ}}
}

// headerParam returns a header that a route reads.
func headerParam(name, doc string) *huma.Param {
	return &huma.Param{Name: name, In: "header", Description: doc, Schema: text()}
}

// pageParams returns the parameters of lists.
func pageParams() []*huma.Param { return pageParamsOf(defaultPage) }

// pageParamsOf returns them for a list whose pages have size items unless the caller says.
func pageParamsOf(size int) []*huma.Param {
	one, most := 1.0, float64(maxPage)
	limit := queryParam("limit", "How many items at most.", huma.TypeInteger)
	limit.Schema.Minimum, limit.Schema.Maximum, limit.Schema.Default = &one, &most, size
	return []*huma.Param{queryParam("cursor", "The next of the page before.", huma.TypeString), limit}
}

// mustJSON returns an example as a value. Examples are constants, and the tests read them all.
func mustJSON(text string) any {
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		panic("restserver: an example is not JSON: " + err.Error())
	}
	return v
}
