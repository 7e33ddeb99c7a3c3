#!/usr/bin/env bash
# Builds verify.html and the script of the patient's page from medchain/web/static/verify into var/verify, with esbuild and
# the noble libraries (npm, checked against their hashes). `make verify-page` puts them in the place of the committed ones.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
source=$root/medchain/web/static/verify
mkdir -p "$root/var/verify"
# Where it is in truth: npm takes no folder behind a link.
out=$(cd -P "$root/var/verify" && pwd)

# Two test runs of one checkout do not install over each other.
exec 9>"$out/lock"
flock 9

pins=$(cat "$here/package.json" "$here/package-lock.json" | sha256sum)
if [ "$pins" != "$(cat "$out/stamp" 2>/dev/null)" ]; then
	cp "$here/package.json" "$here/package-lock.json" "$out/"
	npm ci --prefix "$out" --ignore-scripts --no-audit --no-fund --silent 9>&- || {
		echo "tests/verify: esbuild could not be installed. The first run needs the network." >&2
		exit 1
	}
	echo "$pins" >"$out/stamp"
fi

# From a copy beside the libraries, so that no path of this machine has a part in what is built.
rm -rf "$out/source"
cp -r "$source" "$out/source"
cd "$out"
bundled() {
	node node_modules/esbuild/bin/esbuild "source/$1" --bundle --minify --charset=utf8 --legal-comments=none \
		--target=chrome111,firefox128,safari17 --log-level=warning "${@:2}" 9>&-
}
bundled proof.js --format=esm --banner:js="// Built by \`make verify-page\` from medchain/web/static/verify." >proof.js.new
bundled page.js --format=iife >page.js.new
PYTHONPATH=$root "${PYTHON:-$root/.venv/bin/python}" "$here/assemble.py" page.js.new >verify.html.new
mv page.js.new page.js
mv proof.js.new proof.js
mv verify.html.new verify.html
