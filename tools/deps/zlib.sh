#!/bin/sh
# gzip, which every SDK speaks.
# shellcheck disable=SC2154,SC2164 # sourced by build-deps.sh after compile.sh, which says what is set
cp "$src/zlib.h" "$src/zconf.h" "$out/include/"
objects o -I"$src" -D_LARGEFILE64_SOURCE=1 -DHAVE_HIDDEN -DHAVE_UNISTD_H -- "$src"/adler32.c "$src"/compress.c "$src"/crc32.c \
	"$src"/deflate.c "$src"/infback.c "$src"/inffast.c "$src"/inflate.c "$src"/inftrees.c "$src"/trees.c "$src"/uncompr.c \
	"$src"/zutil.c "$src"/gzlib.c "$src"/gzread.c "$src"/gzwrite.c "$src"/gzclose.c
archive libz.a o
mkdir -p "$out/share/licences"
sed -n '/^Copyright notice:/,/^ *jloup@/p' "$src/README" >"$out/share/licences/zlib"
