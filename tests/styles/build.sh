#!/usr/bin/env bash
# Compiles medchain/web/static/pages.scss to var/styles/pages.css, with sass and nhsuk-frontend (npm, checked against their
# hashes). `make styles` puts it in the place of the committed one.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
mkdir -p "$root/var/styles"
# Where it is in truth: npm takes no folder behind a link.
out=$(cd -P "$root/var/styles" && pwd)

# Two test runs of one checkout do not install over each other.
exec 9>"$out/lock"
flock 9

pins=$(cat "$here/package.json" "$here/package-lock.json" | sha256sum)
if [ "$pins" != "$(cat "$out/stamp" 2>/dev/null)" ]; then
	cp "$here/package.json" "$here/package-lock.json" "$out/"
	npm ci --prefix "$out" --omit=optional --ignore-scripts --no-audit --no-fund --silent 9>&- || {
		echo "tests/styles: sass could not be installed. The first run needs the network." >&2
		exit 1
	}
	echo "$pins" >"$out/stamp"
fi
# Written beside it, so that a compiler that fails leaves no half of a file.
node "$out/node_modules/sass/sass.js" --no-source-map --style=compressed --load-path="$out/node_modules" \
	"$root/medchain/web/static/pages.scss" >"$out/pages.css.new" 9>&-
mv "$out/pages.css.new" "$out/pages.css"
