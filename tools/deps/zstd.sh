#!/bin/sh
# The decoder alone: what is compressed is made at build time.
# shellcheck disable=SC2154,SC2164 # sourced by build-deps.sh after compile.sh, which says what is set
cp "$src/lib/zstd.h" "$src/lib/zstd_errors.h" "$out/include/"
objects o -I"$src/lib" -DZSTD_DISABLE_ASM -DZSTD_MULTITHREAD=0 -- "$src"/lib/common/debug.c "$src"/lib/common/entropy_common.c \
	"$src"/lib/common/error_private.c "$src"/lib/common/fse_decompress.c "$src"/lib/common/xxhash.c \
	"$src"/lib/common/zstd_common.c "$src"/lib/decompress/*.c
archive libzstd.a o
