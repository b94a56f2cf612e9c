package restserver

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/carillonpush/carillon/internal/push"
)

// ImportsBody is many devices at once.
type ImportsBody struct {
	Devices []json.RawMessage `json:"devices"`
}

// ImportBody is a device that is moved here from another provider.
type ImportBody struct {
	PreviousID string               `json:"device_id"`
	Platform   push.Platform        `json:"platform,omitempty"`
	Account    string               `json:"account,omitempty"`
	Phone      string               `json:"phone,omitempty"`
	Tags       []string             `json:"tags,omitempty"`
	Aliases    []push.Alias         `json:"aliases,omitempty"`
	Attributes map[string]string    `json:"attributes,omitempty"`
	Tokens     map[string]TokenBody `json:"tokens,omitempty"`
	Test       *bool                `json:"test,omitempty"`
}

// Imported is what became of one device: its id here, or what was wrong with it.
type Imported struct {
	push.Imported
	Error *ImportFault `json:"error,omitempty"`
}

// ImportFault is what of a Problem is about one device of many.
type ImportFault struct {
	Code   string `json:"code"`
	Field  string `json:"field,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// ImportAnswers are in the order of the devices.
type ImportAnswers struct {
	Results []Imported `json:"results"`
}

// importRoute registers the import of devices.
func (s *Server) importRoute() {
	handle(s, route{
		method: http.MethodPost, path: "/v1/apps/{app}/devices/import", id: "import-devices", tag: "Devices", access: sender,
		summary: "Import devices",
		doc: "Adds 1 to 1,000 devices of another provider under the ids that they have there, or changes those that were imported " +
			"before, so that it may be repeated. Each is taken or refused for itself. Pushes to the old ids reach the device " +
			"once the phone has registered with its previous_id.",
		body: ImportsBody{},
		example: `{"devices": [{"device_id": "d41d8cd98f00b204", "platform": "android", "account": "user-42", "tags": ["vip"],
			"aliases": [{"type": "uid", "value": "42"}], "attributes": {"app_version": "1.9"}, "tokens": {"hms": "…"}}]}`,
		answers: []answer{{http.StatusOK, ImportAnswers{}, "What became of each device, in order."}},
	}, s.importDevices)
}

// importDevices imports what can be read of b in one call, and answers for each device.
func (s *Server) importDevices(ctx context.Context, c *call, b *ImportsBody) (any, error) {
	if len(b.Devices) == 0 || len(b.Devices) > push.MaxImports {
		return nil, invalid("devices", "has 1 to "+strconv.Itoa(push.MaxImports)+" devices")
	}
	all := ImportAnswers{Results: make([]Imported, len(b.Devices))}
	var taken []push.Import
	var at []int // where each of taken is among the results
	for i, raw := range b.Devices {
		d, err := readImport(raw)
		if err != nil {
			all.Results[i] = s.refuseImport(ctx, c, err)
			continue
		}
		taken, at = append(taken, d), append(at, i)
	}
	if len(taken) == 0 {
		return all, nil
	}
	done, err := s.house.Imports.Import(ctx, c.app.ID, taken)
	if err != nil {
		return nil, err
	}
	for i, r := range done {
		if r.Err != nil {
			all.Results[at[i]] = s.refuseImport(ctx, c, r.Err)
			continue
		}
		all.Results[at[i]] = Imported{Imported: r}
	}
	return all, nil
}

// readImport reads one device.
func readImport(raw json.RawMessage) (push.Import, error) {
	var b ImportBody
	if err := decode(raw, &b); err != nil {
		return push.Import{}, err
	}
	d := push.Import{
		PreviousID: b.PreviousID, Platform: b.Platform, Account: b.Account, Phone: b.Phone, Tags: b.Tags, Aliases: b.Aliases,
		Attributes: b.Attributes, Tokens: tokens(b.Tokens), Test: b.Test,
	}
	return d, d.Validate()
}

// refuseImport returns the answer to one device that is refused.
func (s *Server) refuseImport(ctx context.Context, c *call, err error) Imported {
	p := problemOf(err)
	if p.Status >= http.StatusInternalServerError && ctx.Err() == nil {
		s.log.Error("request failed", "op", c.rt.id, "code", p.Code, "err", err)
	}
	return Imported{Error: &ImportFault{p.Code, p.Field, p.Detail}}
}
