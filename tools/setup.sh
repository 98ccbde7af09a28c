#!/bin/sh
# Installs the packages of tools/packages.txt that are missing.  Asks nothing; needs root and apt, else it names what is missing.
# --list: only prints them.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
missing=
for p in $(sed 's/#.*//' "$top/tools/packages.txt"); do
	dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q '^install ok installed' || missing="$missing $p"
done
if [ "${1:-}" = --list ]; then
	echo "${missing# }"
	exit 0
fi
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
	echo "setup: missing packages:$missing" >&2
	exit 1
fi
echo "setup: installing$missing" >&2
apt-get update -qq
# shellcheck disable=SC2086 # a list of words
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
