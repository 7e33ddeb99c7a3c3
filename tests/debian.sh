#!/usr/bin/env bash
# Installs packages of Debian's, where this may: as root, with apt. Waits up to five minutes for another apt at work.
set -euo pipefail
test "$(id -u)" = 0
command -v apt-get >/dev/null
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
# For dpkg's lock apt waits itself; for that of its lists it has no option.
for _ in {1..60}; do
    said=$(apt-get update -qq 2>&1) && break
    [[ $said == *"Could not get lock"* ]] || { echo "$said" >&2; break; }
    sleep 5
done
apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "$@" >/dev/null
