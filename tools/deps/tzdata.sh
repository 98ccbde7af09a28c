#!/bin/sh
# Time zones: one file of all of them, for src/base/tz.c.
# shellcheck disable=SC2154,SC2164 # sourced by build-deps.sh after compile.sh, which says what is set
# inputs: tools/deps/tzpack.py
cd "$src"
# `slim`: what the rule at a zone's end says is not spelled out
for f in africa antarctica asia australasia europe northamerica southamerica etcetera factory backward; do
	PATH=$PATH:/usr/sbin zic -b slim -d "$obj/zones" "$f"
done
mkdir -p "$out/share"
python3 "$top/tools/deps/tzpack.py" "$obj/zones" "$version" "$out/share/zones.bin"
