package dispatch_test

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillonpush/carillon/internal/dispatch"
)

var update = flag.Bool("update", false, "write testdata anew")

// Each line of the transcript asks the plan once, so long after the line before: how many of those that are ready are
// released, and when it is asked again.
func TestPlanTranscript(t *testing.T) {
	const file = "testdata/pace.txt"
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var plan dispatch.Plan
	for lines := bufio.NewScanner(strings.NewReader(string(want))); lines.Scan(); {
		line := lines.Text()
		var rate, n, ready int
		var after string
		if _, err := fmt.Sscanf(line, "rate %d", &rate); err == nil {
			plan = dispatch.NewPlan(rate, now)
		} else if _, err := fmt.Sscanf(line, "after %s %d of %d", &after, &n, &ready); err == nil {
			d, err := time.ParseDuration(strings.TrimSuffix(after, ":"))
			if err != nil {
				t.Fatal(err)
			}
			now = now.Add(d)
			n, wait := plan.Next(now, ready)
			line = fmt.Sprintf("after %s %d of %d, again after %v", after, n, ready, wait)
		}
		fmt.Fprintln(&got, line)
	}
	if *update {
		if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" && !*update {
		t.Errorf("transcript (-want +got):\n%s", diff)
	}
}
