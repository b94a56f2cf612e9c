#!/usr/bin/env bash
# Installs what the tests need beside Go, where it is missing, from the distribution's packages. What it cannot have it
# names; under CI that is a failure. (Elsewhere the tests that need it fail, by name: none is skipped.)
set -euo pipefail

# Tells whether a PostgreSQL server can be started, in the places where internal/testpg looks.
has_postgresql() {
	compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null
}

packages=() # the distribution's names
uses=()     # what each is for, in the same order

# need PACKAGE USE TEST… notes PACKAGE as missing where the command TEST fails.
need() {
	local package=$1 use=$2
	shift 2
	if ! "$@" >/dev/null 2>&1; then
		packages+=("$package")
		uses+=("$use")
	fi
}

look() {
	packages=()
	uses=()
	need postgresql "PostgreSQL server: storage tests, and whole servers on it" has_postgresql
	need mosquitto-clients "mosquitto_sub, mosquitto_pub: conformance of the device side" command -v mosquitto_sub
	need gcc "C compiler: the race detector, and libraries that watch fsync" command -v cc
	need libc6-dev "C headers: the same" test -e /usr/include/stdlib.h
}

# give_up WHY names what is missing and ends.
give_up() {
	echo "deps: missing, and not installed because $1:" >&2
	for i in "${!packages[@]}"; do
		echo "deps:   ${packages[$i]} (${uses[$i]})" >&2
	done
	if [ -n "${CI:-}" ]; then
		exit 1
	fi
	echo "deps: the tests that need them will fail" >&2
	exit 0
}

look
if [ ${#packages[@]} -eq 0 ]; then
	exit 0
fi
if ! command -v apt-get >/dev/null; then
	give_up "there is no apt-get"
fi
if [ "$(id -u)" -ne 0 ]; then
	give_up "only root may (sudo make deps)"
fi
echo "deps: installing ${packages[*]}"
export DEBIAN_FRONTEND=noninteractive
apt_get() { apt-get -qq -o Acquire::Retries=3 -o DPkg::Lock::Timeout=120 "$@" >/dev/null; }
if ! apt_get update || ! apt_get install -y --no-install-recommends "${packages[@]}"; then
	look
	give_up "apt-get failed"
fi
look
if [ ${#packages[@]} -gt 0 ]; then
	give_up "the packages do not hold them"
fi
