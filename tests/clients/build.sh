#!/usr/bin/env bash
# Installs FHIR clients of others into var/clients: fhirpy and fhirclient with schemathesis (pip), fhir-kit-client (npm),
# HAPI FHIR's (Maven), each checked against its hash. What has no npm or no Java is left out, and its tests say so.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
mkdir -p "$root/var/clients"
# Where it is in truth: npm takes no folder behind a link.
out=$(cd -P "$root/var/clients" && pwd)

fail() {
	echo "tests/clients: $1 The first run needs the network." >&2
	exit 1
}

# What files hold, wherever this checkout stands.
state() {
	cat "$@" | sha256sum
}

# Whether something was made of these files, as they are now.
is_made() {
	[ -f "$out/$1.stamp" ] && [ "$(state "${@:2}")" = "$(cat "$out/$1.stamp")" ]
}

# Two test runs of one checkout do not install over each other.
exec 9>"$out/lock"
flock 9

pins=$root/requirements/clients.txt
if ! is_made python "$pins"; then
	rm -rf "$out/python"
	"${PYTHON:-$root/.venv/bin/python}" -m venv "$out/python" 9>&-
	"$out/python/bin/python" -m pip --disable-pip-version-check install --quiet --no-deps --require-hashes \
		--only-binary :all: -r "$pins" 9>&- || fail "Python clients could not be installed."
	state "$pins" >"$out/python.stamp"
fi

lock=$here/package-lock.json
if command -v npm >/dev/null && ! is_made node "$here/package.json" "$lock" "$here/kit_steps.mjs"; then
	mkdir -p "$out/node"
	cp "$here/package.json" "$lock" "$here/kit_steps.mjs" "$out/node/"
	npm ci --prefix "$out/node" --ignore-scripts --no-audit --no-fund --silent 9>&- || fail "fhir-kit-client could not be installed."
	state "$here/package.json" "$lock" "$here/kit_steps.mjs" >"$out/node.stamp"
fi

if command -v javac >/dev/null && command -v mvn >/dev/null && ! is_made java "$here/pom.xml" "$here/jars.sha256" "$here/HapiSteps.java"; then
	rm -rf "$out/java"
	mvn --batch-mode --quiet --file "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$out/java" 9>&- ||
		fail "HAPI FHIR's client could not be installed."
	(cd "$out/java" && sha256sum --quiet --strict --check "$here/jars.sha256" && [ "$(ls ./*.jar | wc -l)" = "$(wc -l <"$here/jars.sha256")" ]) ||
		fail "What Maven fetched is not what jars.sha256 says."
	javac -cp "$out/java/*" -d "$out/java" "$here/HapiSteps.java" 9>&-
	state "$here/pom.xml" "$here/jars.sha256" "$here/HapiSteps.java" >"$out/java.stamp"
fi
