#!/bin/sh
# JSON.
# shellcheck disable=SC2154,SC2164 # sourced by build-deps.sh after compile.sh, which says what is set
cp "$src/src/jansson.h" "$out/include/"
sed 's/@json_inline@/inline/; s/@json_have_long_long@/1/; s/@json_have_localeconv@/1/
	s/@json_have_atomic_builtins@/1/; s/@json_have_sync_builtins@/1/' "$src/src/jansson_config.h.in" >"$out/include/jansson_config.h"
echo '#define INITIAL_HASHTABLE_ORDER 3' >"$obj/jansson_private_config.h"
objects o -I"$out/include" -I"$src/src" -I"$obj" -DHAVE_CONFIG_H -DHAVE_STDINT_H -DHAVE_UNISTD_H -DHAVE_FCNTL_H \
	-DHAVE_SYS_TYPES_H -DHAVE_SYS_STAT_H -DHAVE_SYS_TIME_H -DHAVE_SYS_PARAM_H -DHAVE_ENDIAN_H -DHAVE_CLOSE -DHAVE_OPEN \
	-DHAVE_READ -DHAVE_GETPID -DHAVE_GETTIMEOFDAY -DHAVE_LOCALE_H -DHAVE_LOCALECONV -DHAVE_STRTOLL -DHAVE_SYNC_BUILTINS \
	-DHAVE_ATOMIC_BUILTINS -DUSE_URANDOM=1 -- "$src"/src/*.c
archive libjansson.a o
