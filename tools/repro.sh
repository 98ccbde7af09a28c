#!/bin/sh
# Builds this tree once more in another folder and compares: the same bytes, or exit 1.
# --deps: the libraries too, anew from the tarballs at hand (minutes).
set -eu
cd "$(dirname "$0")/.."
cache=${DEPS_CACHE:-$HOME/.cache/hatchet/deps}
work=$(mktemp -d "${TMPDIR:-/tmp}/hatchet-repro.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
# a path of another length, and what is not committed yet as well
tree=$work/another/place/for/the/same/tree
mkdir -p "$tree"
git ls-files -co --exclude-standard -z | xargs -0 sh -c 'for f; do [ ! -e "$f" ] || printf "%s\0" "$f"; done' sh | tar -c --null -T - | tar -x -C "$tree"
if [ "${1:-}" = --deps ]; then
	mkdir -p "$work/deps"
	cp -r "$cache/src" "$work/deps/src"
	cache=$work/deps
fi
make -s -j"$(nproc)" build/hatchet
# no variable of the calling make, no time zone, locale or mask of the caller
env -i PATH="$PATH" HOME="$HOME" TZ=Pacific/Chatham LC_ALL=C sh -c 'umask 077; make -s -C "$0" -j"$(nproc)" DEPS_CACHE="$1" build/hatchet >"$2" 2>&1' \
	"$tree" "$cache" "$work/log" || { tail -n 30 "$work/log" >&2; exit 1; }
for f in hatchet hatchet.debug THIRD-PARTY; do
	cmp "build/$f" "$tree/build/$f"
done
sha256sum build/hatchet
