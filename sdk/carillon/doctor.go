package carillon

import (
	"context"
	"net/http"
)

// An IndexCheck is what a comparison of the index in memory with the record found.
type IndexCheck struct {
	Devices  int  `json:"devices"`  // that were compared
	Wrong    int  `json:"wrong"`    // of which the index said something else than the record
	Missing  int  `json:"missing"`  // that the index did not have
	Surplus  int  `json:"surplus"`  // that the index had and the record has not
	Repaired bool `json:"repaired"` // whether the index says now what the record says
}

// CheckIndex compares the index of an app, or of all for "", with the record, and makes it say what the record says if
// repair. It needs the admin token, and takes some seconds a million devices.
func (c *Client) CheckIndex(ctx context.Context, app string, repair bool) (check IndexCheck, err error) {
	body := struct {
		App    string `json:"app,omitempty"`
		Repair bool   `json:"repair,omitempty"`
	}{app, repair}
	err = c.Call(ctx, http.MethodPost, "/v1/doctor/index", body, &check, &CallOptions{Repeat: true, Long: true})
	return check, err
}
