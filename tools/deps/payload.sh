#!/bin/sh
# What the binary carries: the programs and a ready-made cluster that holds our schema, as one archive (src/app/embedpg.c).
# shellcheck disable=SC2154,SC2164 # sourced by build-deps.sh after compile.sh, which says what is set
# source: -
# needs: postgres
# inputs: schema.sql src/store/functions.sql
#
# The cluster has one database, builtin collation, no word of the machine it is made on, and the identity 1: the same bytes
# whenever it is made.  It is made in single-user mode, where nothing happens at the same time.
# For another processor it is taken from the archive of this machine's own, which must have been made before: on both the same
# bytes mean the same (64 bit, little end first, the same alignment; tools/deps/postgres.sh makes char signed on both).
pg=$obj/postgres cluster=$obj/made/cluster
cp -RL "$prefix/postgres" "$pg"
mkdir "$obj/made"
if [ "${machine%%-*}" != "$(uname -m)" ]; then
	case $flavour in x64) own=arm64 ;; *) own=x64 ;; esac
	zstd -dcq <"$(dirname "$prefix")/$own/postgres.tar.zst" | tar -xf - -C "$obj/made" cluster
fi

make_cluster() {
	as=''
	if [ "$(id -u)" = 0 ]; then	# which Postgres refuses to run as
		chmod 711 "$work" "$obj"
		chown 65534 "$obj/made"
		as="$(command -v setpriv) --reuid 65534 --regid 65534 --clear-groups"
	fi
	# shellcheck disable=SC2086 # a command with its options, or none
	run() { env -i PATH=/nonexistent TZ=UTC PG_TEMPLATE=1 $as "$@"; }

	run "$pg/bin/initdb" -D "$cluster" -U hatchet -A trust -E UTF8 --locale=C --locale-provider=builtin --builtin-locale=C.UTF-8 \
		-T simple --wal-segsize=1 --no-sync --no-instructions
	{
		printf 'update pg_database set datistemplate = false, datallowconn = true;\n\n'
		printf 'drop database template0;\n\ndrop database template1;\n\n'
		sed '/^$/d' "$top/schema.sql" "$top/src/store/functions.sql"		# an empty line ends a command
		printf ";\n\nupdate hatchet.slot_type set created_at = '2024-01-01 UTC';\n\n"		# the one time among its rows
		printf 'vacuum (full, freeze);\n\n'
	} | run "$pg/bin/postgres" --single -j -D "$cluster" -c exit_on_error=on -c wal_level=minimal -c max_wal_senders=0 \
		-c dynamic_shared_memory_type=mmap -c fsync=off postgres
	run "$pg/bin/pg_resetwal" -f -D "$cluster"
}

[ -d "$cluster" ] || make_cluster

find "$cluster/pg_wal" "$cluster/pg_stat" -type f -delete
find "$cluster" -name pg_internal.init -delete		# caches, with addresses in them
rm -f "$cluster/postmaster.opts" "$cluster/postgresql.auto.conf"
echo '# Settings are in postgresql.auto.conf, which hatchet writes at every start.' >"$cluster/postgresql.conf"
echo 'local all all trust' >"$cluster/pg_hba.conf"		# its socket lies where only its own user gets
: >"$cluster/pg_ident.conf"
: >"$cluster/postgresql.auto.conf"

stage=$obj/stage
mkdir -p "$stage/postgres/bin" "$stage/postgres/lib" "$stage/postgres/share"
cp "$pg/bin/postgres" "$pg/bin/pg_resetwal" "$stage/postgres/bin/"
cp -R "$pg/share/timezone" "$pg/share/timezonesets" "$stage/postgres/share/"
mv "$cluster" "$stage/cluster"
chmod -R u=rwX,go=rX "$stage/postgres"
chmod -R u=rwX,go= "$stage/cluster"
rmdir "$out/lib" "$out/include"
cd "$stage"
tar --sort=name --format=ustar --mtime=@0 --owner=0 --group=0 --numeric-owner --hard-dereference -cf - postgres cluster |
	zstd -19 --check -q -o "$out/postgres.tar.zst"
