#!/usr/bin/env bash
# Runs the scenarios of `carillon bench` against nodes of their own, one after the other, and the Go benchmarks of the hot
# paths. Results go to bench/out: NAME.txt for people, NAME.json for programs. It ends by itself, in about nine minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
out=bench/out
mkdir -p "$out"

# scenario NAME VERB FLAG… measures once and keeps both forms of the result.
scenario() {
	local name=$1
	shift
	echo "== $name: carillon bench $*"
	bin/carillon bench "$@" --save "$out/$name.json" | tee "$out/$name.txt"
}

scenario idle idle --devices 10000
scenario broadcast broadcast --devices 10000 --qos 1
scenario broadcast-qos0 broadcast --devices 10000 --qos 0
scenario direct direct --devices 1000 --messages 100000
scenario direct-single direct --devices 1000 --messages 30000 --batch 1 --senders 64
scenario direct-umeng direct --devices 1000 --messages 20000 --via umeng --senders 64
scenario offline offline --devices 10000 --messages 100000
scenario audience-base audience --devices 100000 --connect 2000

echo "== the same fleet on mosquitto (Debian's package mosquitto)"
go run ./bench/peer "$out" | tee "$out/ratios.txt"

echo "== the audience index, and the same questions as SQL: two minutes"
go run ./bench/audience --devices 10000000 --out "$out/audience.json" | tee "$out/audience.txt"

echo "== the sets of live pushes, and asking each push one by one: a minute"
go run ./bench/live --out "$out/live.json" | tee "$out/live.txt"

echo "== Go benchmarks"
go test -run '^$' -bench . -benchmem -benchtime 1s ./internal/mqtt ./internal/audience ./internal/live ./internal/gateway ./internal/sqlstore ./internal/registry ./internal/restserver | tee "$out/go.txt"
