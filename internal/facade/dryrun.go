package facade

import (
	"encoding/json"
	"net/http"

	"github.com/carillonpush/carillon/internal/push"
)

// Headers of a dry run: a request that has DryRunHeader with value 1 is answered as if it had succeeded, but sends
// nothing; the answer carries whom it would have reached in DryRunResultHeader, a push.Count as JSON.
const (
	DryRunHeader       = "Carillon-Dry-Run"
	DryRunResultHeader = "Carillon-Dry-Run-Result"
)

// DryRunID stands in the answer of a dry run where the id of a push stands otherwise. No push has it.
const DryRunID = "0"

// DryRun reports whether r is to be tried only.
func DryRun(r *http.Request) bool { return r.Header.Get(DryRunHeader) == "1" }

// SetDryRunResult puts c into the answer's header. It goes before the answer.
func SetDryRunResult(w http.ResponseWriter, c push.Count) {
	b, err := json.Marshal(c) // numbers and the names of platforms and channels: it always encodes, in ASCII
	if err == nil {
		w.Header().Set(DryRunResultHeader, string(b))
	}
}
