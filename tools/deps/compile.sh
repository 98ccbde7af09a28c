#!/bin/sh
# Sourced before each recipe, which sees: $src (its source, unpacked), $obj (scratch), $out (what it makes, below include/,
# lib/, share/), $version, $CC, $AR, $CFLAGS, $prefix (what the libraries before it made), $flavour, $machine, $top.
# shellcheck disable=SC2154
set -eu

# objects FOLDER FLAGS... -- FILES...: compiles each file into FOLDER
objects() {
	dir=$obj/$1 flags=
	shift
	mkdir -p "$dir"
	while [ "$1" != -- ]; do
		flags="$flags $1"
		shift
	done
	shift
	printf '%s\n' "$@" | xargs -P "$(nproc)" -I{} sh -c \
		'$0 -w $1 -c -o "$2/$(basename "$3" .c).o" "$3"' "$CC" "$CFLAGS $flags" "$dir" {}
}

# archive LIB FOLDER...: the objects of the folders, in a fixed order
archive() {
	lib=$out/lib/$1
	shift
	for d; do
		find "$obj/$d" -name '*.o'
	done | LC_ALL=C sort | xargs "$AR" rcsD "$lib"
}
