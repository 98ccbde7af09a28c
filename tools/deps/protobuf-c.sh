#!/bin/sh
# Protocol buffers.
# shellcheck disable=SC2154,SC2164 # sourced by build-deps.sh after compile.sh, which says what is set
mkdir "$out/include/protobuf-c"
cp "$src/protobuf-c/protobuf-c.h" "$out/include/protobuf-c/"
printf '#define PACKAGE_STRING "protobuf-c %s"\n#define PACKAGE_VERSION "%s"\n' "$version" "$version" >"$obj/config.h"
objects o -I"$src" -include "$obj/config.h" -- "$src/protobuf-c/protobuf-c.c"
archive libprotobuf-c.a o
