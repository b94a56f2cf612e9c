#!/usr/bin/env bash
# Runs every fuzz target of the module for a while: fuzz.sh DURATION (3s, 10m).
set -euo pipefail
time=${1:?usage: fuzz.sh DURATION}
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# fuzz DIR TARGET runs one target. Go's fuzzer now and then reports the end of its time as a failure ("context deadline
# exceeded") on a busy machine; a real finding always leaves an input behind. The first is tried again, twice.
fuzz() {
	for try in 1 2 3; do
		if go test -vet=off -run '^$' -fuzz "^$2\$" -fuzztime "$time" -fuzzminimizetime 1s -parallel 2 "$1" >"$log" 2>&1; then
			echo "ok  	fuzz $1 $2: $(grep -o 'execs: [0-9]*' "$log" | tail -n 1)"
			return
		fi
		if grep -q 'Failing input written to' "$log" || ! grep -q 'context deadline exceeded' "$log"; then
			break
		fi
		echo "fuzz $1 $2: the fuzzer's own deadline, try $try"
	done
	cat "$log"
	return 1
}

# Only packages that have targets are asked for their names: asking compiles the tests.
found=0
while read -r dir; do
	listed=$(go test -vet=off -list '^Fuzz' "$dir") || { echo "$listed" >&2; exit 1; }
	for target in $(grep '^Fuzz' <<<"$listed" || true); do
		fuzz "$dir" "$target"
		found=$((found + 1))
	done
done < <(grep -rlE --include='*_test.go' --exclude-dir=node_modules '^func Fuzz' . | xargs -r -n 1 dirname | sort -u)
if [ "$found" -eq 0 ]; then
	echo "fuzz: found no target" >&2
	exit 1
fi
