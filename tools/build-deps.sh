#!/bin/sh
# Fetches and builds the libraries of deps.lock into a cache outside the tree.
#
#	tools/build-deps.sh CACHE	result in CACHE/include and CACHE/lib; nothing to do takes no time
#	DEPS_DIR=folder			take the tarballs from there, touch no network
#
# The mirror is the one this machine's package manager already uses; its signature vouches for what is fetched.
set -eu
cache=$1
top=$(cd "$(dirname "$0")/.." && pwd)
cc=${CC:-cc}
cflags='-O2 -g -fPIE -fstack-protector-strong -D_FORTIFY_SOURCE=2 -ffunction-sections -fdata-sections'

say() { echo "deps: $*" >&2; }
die() { say "$*"; exit 1; }

field() {	# field NAME COLUMN of deps.lock
	awk -F'\t' -v n="$1" -v c="$2" '$1 == n { print $c }' "$top/deps.lock"
}

mkdir -p "$cache/lib" "$cache/include"
exec 9>"$cache/lock"
flock 9		# two builds at once would write the same files

stamp=$( { cat "$top/deps.lock" "$0"; echo "$cc"; } | sha256sum | cut -c1-64)
if [ -f "$cache/stamp" ] && [ "$(cat "$cache/stamp")" = "$stamp" ]; then
	exit 0
fi
work=$(mktemp -d "${TMPDIR:-/tmp}/hatchet-deps.XXXXXX")
trap 'rm -rf "$work"' EXIT INT TERM

# The address of the main archive, as configured here.
mirror() {
	m=$(apt-get indextargets --format '$(REPO_URI)' 'Label: Debian' 2>/dev/null | head -n 1)
	[ -n "$m" ] || m=$(sed -n 's/^URIs: *//p; s/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*\) .*/\2/p' \
		/etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | grep -m1 '/debian/*$' || true)
	[ -n "$m" ] || die "no Debian archive in this machine's package sources: set DEPS_DIR to a folder of tarballs"
	echo "$m"
}

# A package-manager configuration of our own, so that the machine's stays as it is.
apt_setup() {
	suite=$1
	mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial"
	keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	[ -f $keyring ] || die "$keyring is missing (package debian-archive-keyring)"
	from=$(mirror)
	echo "deb-src [signed-by=$keyring] $from $suite main" >"$work/sources.list"
	cat >"$work/apt.conf" <<-EOF
	Dir::Etc::SourceList "$work/sources.list";
	Dir::Etc::SourceParts "/dev/null";
	Dir::State "$work/state";
	Dir::State::status "/var/lib/dpkg/status";
	Dir::Cache "$work/cache";
	APT::Sandbox::User "$(id -un)";
	Acquire::Languages "none";
	EOF
	APT_CONFIG="$work/apt.conf" apt-get -qq update >&2
}

# fetch NAME: leaves the upstream tarball in $tarball and its version in $version
fetch() {
	src=$(field "$1" 2) suite=$(field "$1" 3) series=$(field "$1" 4) want=$(field "$1" 5) sum=$(field "$1" 6)
	if [ -n "${DEPS_DIR:-}" ]; then
		tarball=$(ls "$DEPS_DIR/${src}_$series".*orig.tar.* 2>/dev/null | sort -V | tail -n 1)
		[ -n "$tarball" ] || die "no ${src}_$series.*orig.tar.* in $DEPS_DIR"
		version=$(basename "$tarball" | sed "s/^${src}_\(.*\)\.orig\.tar\..*/\1/")
	else
		apt_setup "$suite"
		versions=$(APT_CONFIG="$work/apt.conf" apt-cache madison "$src" | awk -F'|' '{ gsub(/ /, "", $2); print $2 }' |
			grep "^${series}[.]" | sort -urV)
		version=
		for v in $want $versions; do
			[ "$v" != - ] || continue
			if (cd "$work" && APT_CONFIG="$work/apt.conf" apt-get -qq source --download-only "$src=$v" >&2); then
				version=$v
				break
			fi
			say "$src $v is not served"
		done
		[ -n "$version" ] || die "no version of $src $series is served"
		tarball=$(find "$work" -maxdepth 1 -name "${src}_*.orig.tar.*" ! -name '*.asc' | head -n 1)
	fi
	got=$(sha256sum "$tarball" | cut -c1-64)
	if [ "${version%-*}" = "${want%-*}" ]; then
		[ "$got" = "$sum" ] || die "$src $version: sha256 $got, deps.lock says $sum"
		say "$src $version"
	else
		say "$src $version (deps.lock has seen $want), sha256 $got"
	fi
}

build_mbedcrypto() {
	fetch mbedcrypto
	mkdir "$work/src" "$work/obj"
	tar -xf "$tarball" -C "$work/src" --strip-components=1
	# TLS, certificates and sockets are not wanted: only the primitives
	for f in "$work"/src/library/*.c; do
		case $(basename "$f") in
		ssl_* | x509* | net_* | mps_* | debug.c | timing.c | pkcs7.c) ;;
		*) echo "$f" ;;
		esac
	done | xargs -P "$(nproc)" -I{} sh -c \
		'$0 $1 -I"$2/src/include" -I"$2/src/library" -c -o "$2/obj/$(basename "$3" .c).o" "$3"' \
		"$cc" "$cflags" "$work" {}
	ar rcs "$work/lib.a" "$work"/obj/*.o
	rm -rf "$cache/include/mbedtls" "$cache/include/psa"
	cp -R "$work/src/include/mbedtls" "$work/src/include/psa" "$cache/include/"
	mv "$work/lib.a" "$cache/lib/libmbedcrypto.a"
}

say "building into $cache"
build_mbedcrypto
echo "$stamp" >"$cache/stamp"
