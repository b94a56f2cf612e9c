package carillon

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
)

// An ImportResult is what became of one Import: the device, or Err if that is not nil.
type ImportResult struct {
	DeviceID string // its id here
	Added    bool   // false: it was imported before, and changed
	Err      *Error // Field is the path inside the Import; Status is 0
}

// UnmarshalJSON reads an answer or a problem.
func (r *ImportResult) UnmarshalJSON(b []byte) error {
	var answer struct {
		DeviceID string `json:"device_id"`
		Added    bool   `json:"added"`
		Error    *struct{ Code, Field, Detail string }
	}
	if err := json.Unmarshal(b, &answer); err != nil {
		return err
	}
	*r = ImportResult{DeviceID: answer.DeviceID, Added: answer.Added}
	if e := answer.Error; e != nil {
		r.Err = &Error{Code: e.Code, Field: e.Field, Detail: e.Detail}
	}
	return nil
}

// ImportDevices adds 1 to 1,000 devices of another provider, or changes those that were imported before, so that it may be
// repeated, which the client does by itself when the outcome is unknown. Each is taken or refused for itself: the results
// are in order, and as many as the devices. After an error some may have been imported: repeat it.
func (c *Client) ImportDevices(ctx context.Context, app string, devices []Import) ([]ImportResult, error) {
	body := struct {
		Devices []Import `json:"devices"`
	}{append([]Import{}, devices...)}
	var answer struct {
		Results []ImportResult `json:"results"`
	}
	err := c.Call(ctx, http.MethodPost, appPath(app, "devices", "import"), body, &answer, &CallOptions{Repeat: true})
	if err == nil && len(answer.Results) != len(devices) {
		err = fmt.Errorf("carillon: %d answers to an import of %d", len(answer.Results), len(devices))
	}
	return answer.Results, err
}

// PreviousProof returns what an app's own server gives a phone that had previousID at an earlier provider, so that it may
// register as the device that was imported under that id: 64 lower-case hex digits of HMAC-SHA256, whose key is the app's
// native API key and whose message is previousID. The key stays on the server; the proof is for that phone alone.
//
// Source: docs/devices.md, "A device that comes from another provider"; vectors in testdata/previous_proof.txt.
func PreviousProof(apiKey, previousID string) string {
	mac := hmac.New(sha256.New, []byte(apiKey))
	mac.Write([]byte(previousID)) //nolint:errcheck // never fails
	return hex.EncodeToString(mac.Sum(nil))
}
