#!/bin/sh
# The allocator: musl's own costs two fifths of the throughput.  An object, not an archive: it has to win over libc's malloc.
# shellcheck disable=SC2154,SC2164 # sourced by build-deps.sh after compile.sh, which says what is set
cp "$src"/include/mimalloc*.h "$out/include/"
objects o -I"$src/include" -DNDEBUG -DMI_MALLOC_OVERRIDE -DMI_SECURE=0 -D_GNU_SOURCE -fno-builtin-malloc \
	-ftls-model=initial-exec -- "$src/src/static.c"
mv "$obj/o/static.o" "$out/lib/libmimalloc.o"
