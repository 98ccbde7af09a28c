#!/bin/sh
# The database that ships inside: postgres with plpgsql in it, pg_resetwal, time zones; and initdb, for making the template.
# shellcheck disable=SC2154,SC2164 # sourced by build-deps.sh after compile.sh, which says what is set
# source: postgresql
# inputs: tools/deps/postgres-patch.py tools/deps/postgres-parts/*.c
python3 "$top/tools/deps/postgres-patch.py" "$src"
cd "$src"
host=
[ "$machine" = "$(uname -m)-linux-musl" ] || host=--host=${machine%-musl}-gnu
# shellcheck disable=SC2086 # none or one option
CC="$CC" AR="$AR" CFLAGS="$CFLAGS -fsigned-char" ./configure -q $host --prefix=/postgres --without-readline --without-icu --without-zlib \
	--without-zstd --without-lz4 --without-openssl --without-gssapi --without-ldap --without-pam --without-systemd --disable-nls \
	--disable-rpath LDFLAGS_EX="-Wl,--gc-sections"
# what pg_config would tell names the folders of this build
sed -i 's|^\(override CPPFLAGS += -DVAL_[A-Z_]*=\).*|\1"\\"\\""|' src/common/Makefile
sed -i 's|^#define CONFIGURE_ARGS .*|#define CONFIGURE_ARGS ""|' src/include/pg_config.h
plpgsql="pl_comp.o pl_exec.o pl_funcs.o pl_gram.o pl_handler.o pl_scanner.o"
make -s -C src/backend generated-headers
# shellcheck disable=SC2086 # a list
make -s -j"$(nproc)" -C src/pl/plpgsql/src $plpgsql PROFILE="-D_PG_init=plpgsql_linked_init -DPg_magic_func=plpgsql_magic"
linked=$(for o in $plpgsql; do echo "$src/src/pl/plpgsql/src/$o"; done | tr '\n' ' ')
make -s -j"$(nproc)" -C src/backend LDFLAGS_EX="-Wl,--gc-sections $linked"
make -s -j"$(nproc)" -C src/bin/initdb
make -s -j"$(nproc)" -C src/bin/pg_resetwal
make -s -C src/timezone ZIC=/usr/sbin/zic
for d in src/backend src/include/catalog src/timezone src/bin/initdb src/bin/pg_resetwal; do
	make -s -C "$d" install DESTDIR="$out" ZIC=/usr/sbin/zic LDFLAGS_EX="-Wl,--gc-sections $linked"
done
make -s -C src/pl/plpgsql/src install-data DESTDIR="$out"
echo >"$out/postgres/share/snowball_create.sql"		# no stemmers: they would weigh more than all other text search
rmdir "$out/lib" "$out/include"
for p in postgres initdb pg_resetwal; do
	"${AR%ar}strip" "$out/postgres/bin/$p"
done
