#!/bin/sh
# Installs the packages of tools/packages.txt that are missing.  Asks nothing; needs root and apt, else it names what is missing.
# --run: without those that only testing needs.  --list: only prints the missing ones.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
list=
last='$'
for word; do
	case $word in
	--list) list=1 ;;
	--run) last='/^# to test/' ;;
	*) echo "usage: setup.sh [--run] [--list]" >&2; exit 2 ;;
	esac
done
missing=
for p in $(sed -n "1,${last}p" "$top/tools/packages.txt" | sed 's/#.*//'); do
	dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q '^install ok installed' || missing="$missing $p"
done
if [ -n "$list" ]; then
	echo "${missing# }"
	exit 0
fi
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
	echo "setup: these packages are missing, and installing them takes root and apt-get:$missing" >&2
	exit 1
fi
echo "setup: installing$missing" >&2
apt-get update -qq
# shellcheck disable=SC2086 # a list of words
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
