#!/bin/sh
# Sourced by build-deps.sh: where the tarballs of deps.lock come from.
# shellcheck disable=SC2154
#
# The mirror is the one this machine's package manager already uses.  The version of deps.lock is vouched for by its sums;
# any other by the signature that the package manager checks.

say() { echo "deps: $*" >&2; }
die() { say "$*"; exit 1; }

field() {	# field NAME COLUMN of deps.lock
	awk -F'\t' -v n="$1" -v c="$2" '$1 == n { print $c }' "$top/deps.lock"
}

sum_of() { sha256sum "$1" | cut -c1-64; }

# The address of the main archive, as configured here.
mirror() {
	m=$(apt-get indextargets --format '$(REPO_URI)' 'Label: Debian' 2>/dev/null | head -n 1)
	[ -n "$m" ] || m=$(sed -n 's/^URIs: *//p; s/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*\) .*/\2/p' \
		/etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | grep -m1 '/debian/*$' || true)
	[ -n "$m" ] || die "no Debian archive in this machine's package sources: set DEPS_DIR to a folder of tarballs"
	echo "${m%/}"
}

# A package-manager configuration of our own, so that the machine's stays as it is.
apt_setup() {
	apt=$work/apt
	mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial"
	keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	[ -f $keyring ] || die "$keyring is missing (package debian-archive-keyring)"
	from=$(mirror)
	echo "deb-src [signed-by=$keyring] $from $1 main" >"$apt/sources.list"
	cat >"$apt/apt.conf" <<-END
	Dir::Etc::SourceList "$apt/sources.list";
	Dir::Etc::SourceParts "/dev/null";
	Dir::State "$apt/state";
	Dir::State::status "/var/lib/dpkg/status";
	Dir::Cache "$apt/cache";
	APT::Sandbox::User "$(id -un)";
	Acquire::Languages "none";
	END
	APT_CONFIG="$apt/apt.conf" apt-get -qq update >&2
}

# pool FILE SUM: the very file of deps.lock into CACHE/src, if it is still served
pool() {
	if [ ! -f "$cache/src/$1" ] || [ "$(sum_of "$cache/src/$1")" != "$2" ]; then
		case $source in lib*) letter=$(echo "$source" | cut -c1-4) ;; *) letter=$(echo "$source" | cut -c1) ;; esac
		from=$(mirror)/pool/main/$letter/$source/$1
		/usr/lib/apt/apt-helper -o APT::Sandbox::User="$(id -un)" download-file "$from" "$cache/src/$1.new" "SHA256:$2" \
			>/dev/null 2>&1 || { rm -f "$cache/src/$1.new"*; return 1; }
		mv "$cache/src/$1.new" "$cache/src/$1"
	fi
}

# newest PATTERN: the file of DEPS_DIR that sorts last by version
newest() { find -L "$DEPS_DIR" -maxdepth 1 -name "$1" ! -name '*.asc' | sort -V | tail -n 1; }

# The newest of the series that is served: sets $tarball, $patches, $version.
fetch_series() {
	apt_setup "$suite"
	only=
	[ "$patch_sum" != - ] || only=--tar-only
	for v in $(APT_CONFIG="$apt/apt.conf" apt-cache madison "$source" | awk -F'|' '{ gsub(/ /, "", $2); print $2 }' |
			grep -E "^([0-9]+:)?${series}[.a-z+-]" | sort -urV); do
		mkdir -p "$work/got"
		if (cd "$work/got" && APT_CONFIG="$apt/apt.conf" apt-get -qq source --download-only $only "$source=$v" >&2); then
			tarball=$(find "$work/got" -name "${source}_*.orig.tar.*" ! -name '*.asc')
			patches=$(find "$work/got" -name "${source}_*.debian.tar.*")
			[ "$patch_sum" != - ] || patches=""
			# shellcheck disable=SC2086 # one or two files
			cp $tarball $patches "$cache/src/"
			version=$v
			return
		fi
		rm -rf "$work/got"
		say "$source $v is not served"
	done
	die "no version of $source $series is served: set DEPS_DIR to a folder with its tarballs"
}

# fetch NAME: leaves the path of the upstream tarball in $tarball, that of the patches in $patches, the version in $version
fetch() {
	source=$(field "$1" 2) suite=$(field "$1" 3) series=$(field "$1" 4) want=$(field "$1" 5)
	sum=$(field "$1" 7) patch_sum=$(field "$1" 8)
	[ -n "$source" ] || die "deps.lock does not know $1"
	file=${want#*:} version=$want
	patches=""
	orig=${source}_${file%-*}.orig.$(field "$1" 6) debian=${source}_$file.debian.tar.xz
	if [ -n "${DEPS_DIR:-}" ]; then
		tarball=$DEPS_DIR/$orig
		[ -f "$tarball" ] || tarball=$(newest "${source}_${series}[.a-z+]*.orig.tar.*")
		[ -n "$tarball" ] || die "no $orig in $DEPS_DIR"
		if [ "$patch_sum" != - ]; then
			patches=$DEPS_DIR/$debian
			[ -f "$patches" ] || patches=$(newest "${source}_$(upstream_of "$tarball")-*.debian.tar.*")
			[ -n "$patches" ] || die "no $debian in $DEPS_DIR"
		fi
		[ "$tarball" = "$DEPS_DIR/$orig" ] || version=$(upstream_of "$tarball")
	elif pool "$orig" "$sum" && { [ "$patch_sum" = - ] || pool "$debian" "$patch_sum"; }; then
		tarball=$cache/src/$orig
		[ "$patch_sum" = - ] || patches=$cache/src/$debian
	else
		fetch_series
	fi
	if [ "$version" != "$want" ]; then
		say "$source $version, as $want is not to be had; sha256 $(sum_of "$tarball")"
	else
		[ "$(sum_of "$tarball")" = "$sum" ] || die "$tarball: sha256 $(sum_of "$tarball"), deps.lock says $sum"
		[ -z "$patches" ] || [ "$(basename "$patches")" != "$debian" ] || [ "$(sum_of "$patches")" = "$patch_sum" ] ||
			die "$patches: sha256 $(sum_of "$patches"), deps.lock says $patch_sum"
	fi
	version=$(upstream_of "$tarball")
}

upstream_of() { basename "$1" | sed "s/^[^_]*_\(.*\)\.orig\.tar\..*/\1/"; }

# unpack NAME FOLDER: its source with the distribution's patches
unpack() {
	fetch "$1"
	tar -xf "$tarball" -C "$2"
	# most have one folder around all, some have not
	if [ "$(find "$2" -mindepth 1 -maxdepth 1 | wc -l)" = 1 ]; then
		mv "$2"/* "$2.one"
		rmdir "$2"
		mv "$2.one" "$2"
	fi
	if [ -n "$patches" ]; then
		mkdir "$2/.patches"
		tar -xf "$patches" -C "$2/.patches"
		sed 's/#.*//; s/^ *//; s/ .*//; /^$/d' "$2/.patches/debian/patches/series" | while read -r p; do
			patch -s -d "$2" -p1 <"$2/.patches/debian/patches/$p" >&2 || die "$1: $p does not apply"
		done
		rm -rf "$2/.patches"
	fi
}
