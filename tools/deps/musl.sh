#!/bin/sh
# The C library.  No plugin of the host is ever loaded, so that the file runs on any Linux.
# shellcheck disable=SC2154,SC2164 # sourced by build-deps.sh after compile.sh, which says what is set
# inputs: tools/deps/musl.specs
cd "$src"
# the early start code must not call anything: musl's own flags decide about stack protection there
map=$(echo "$CFLAGS" | tr ' ' '\n' | grep prefix-map | tr '\n' ' ')
CC="$CC" AR="$AR" CFLAGS="-O2 -g -fPIE $map" ./configure --prefix=/ --target="$machine" --disable-shared
make -s -j"$(nproc)" AR="$AR" RANLIB="$AR -s" lib/libc.a lib/rcrt1.o lib/crt1.o lib/crti.o lib/crtn.o lib/Scrt1.o
make -s AR="$AR" RANLIB="$AR -s" DESTDIR="$out" install-headers install-libs
