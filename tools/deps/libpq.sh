#!/bin/sh
# The client of Postgres, with TLS by mbedTLS: one archive with what it needs of the server's common code.
# shellcheck disable=SC2154,SC2164 # sourced by build-deps.sh after compile.sh, which says what is set
# source: postgresql
# needs: mbedtls
# inputs: src/pqtls/*.[ch]
host=
[ "$machine" = "$(uname -m)-linux-musl" ] || host=--host=${machine%-musl}-gnu
mkdir "$obj/pg"
cd "$obj/pg"
# shellcheck disable=SC2086 # none or one option
CC="$CC" AR="$AR" CFLAGS="$CFLAGS" "$src/configure" -q $host --without-openssl --without-gssapi --without-ldap \
	--without-readline --without-icu --without-zlib --without-zstd --without-lz4 --disable-nls
make -s -C src/backend generated-headers
make -s -j"$(nproc)" -C src/common libpgcommon_shlib.a
make -s -j"$(nproc)" -C src/port libpgport_shlib.a
mkdir "$obj/libpq" "$obj/o"
cp "$src"/src/interfaces/libpq/*.[ch] "$top"/src/pqtls/*.[ch] "$obj/libpq/"
# the one seam: a place for the state of our TLS in the connection
sed -i 's|^\tbool\t\tssl_cert_sent;.*|&\n\tvoid\t   *mbed;\t\t\t/* state of the TLS backend */|' "$obj/libpq/libpq-int.h"
grep -q 'void.*\*mbed;' "$obj/libpq/libpq-int.h"
files=
for f in fe-auth-scram fe-auth fe-cancel fe-connect fe-exec fe-lobj fe-misc fe-print fe-protocol3 fe-secure fe-secure-common \
		fe-trace legacy-pqsignal libpq-events pqexpbuffer; do
	files="$files $obj/libpq/$f.c"
done
for f in "$top"/src/pqtls/*.c; do
	files="$files $obj/libpq/$(basename "$f")"
done
# shellcheck disable=SC2086 # a list of files
objects o -std=gnu11 -D_GNU_SOURCE -DFRONTEND -DUNSAFE_STAT_OK -DUSE_SSL -DSO_MAJOR_VERSION=5 -I"$obj/libpq" \
	-I"$obj/pg/src/include" -I"$src/src/include" -I"$obj/pg/src/port" -I"$src/src/port" -I"$prefix/include" -- $files
cd "$obj/o"
"$AR" x "$obj/pg/src/common/libpgcommon_shlib.a"
"$AR" x "$obj/pg/src/port/libpgport_shlib.a"
rm -f pg_strong_random_shlib.o		# src/pqtls has one that needs no /dev/urandom
archive libpq.a o
cp "$src/src/interfaces/libpq/libpq-fe.h" "$src/src/interfaces/libpq/libpq-events.h" "$src/src/include/postgres_ext.h" \
	"$obj/pg/src/include/pg_config_ext.h" "$out/include/"
