#!/bin/sh
# Fetches and builds the libraries of deps.lock into a cache outside the tree.
#
#	tools/build-deps.sh CACHE FLAVOUR [NAME...]
#		FLAVOUR glibc: mbedTLS alone, for the debug builds; x64, arm64: everything, with musl
#		result in CACHE/FLAVOUR/{include,lib,bin,share}; nothing to do takes no time
#	DEPS_DIR=folder	take the tarballs from there, touch no network
#	DEPS_VIEW=folder	the result in folder/FLAVOUR instead: two trees that differ then do not see each other's
#
# Each library has its recipe in tools/deps/NAME.sh and its own place in CACHE/store, named by the sum of all that goes
# into it: a change rebuilds one library, and clones that differ share the rest.  Tarballs stay in CACHE/src.
set -eu
[ $# -ge 2 ] || { echo "usage: build-deps.sh CACHE glibc|x64|arm64 [NAME...]" >&2; exit 2; }
mkdir -p "$1"
cache=$(cd "$1" && pwd) flavour=$2
shift 2
top=$(cd "$(dirname "$0")/.." && pwd)
recipes=$top/tools/deps
# shellcheck source=tools/deps/fetch.sh
. "$recipes/fetch.sh"

case $flavour in
glibc) all=mbedtls ;;
x64) all="musl mbedtls nghttp2 libev jansson protobuf-c zlib zstd mimalloc libpq postgres payload" machine=x86_64-linux-musl ;;
arm64) all="musl mbedtls nghttp2 libev jansson protobuf-c zlib zstd mimalloc libpq postgres payload" machine=aarch64-linux-musl ;;
*) die "no flavour $flavour: glibc, x64 or arm64" ;;
esac
all="$all tzdata"
case $flavour in
glibc) gcc=gcc tool= ;;
x64) gcc=gcc tool= ;;
arm64) gcc=aarch64-linux-gnu-gcc tool=aarch64-linux-gnu- ;;
esac
# only the machine that this runs on goes without a prefix
[ "$flavour" != x64 ] || [ "$(uname -m)" = x86_64 ] || { gcc=x86_64-linux-gnu-gcc tool=x86_64-linux-gnu-; }
command -v "$gcc" >/dev/null || die "$gcc is missing"
command -v "${tool}ar" >/dev/null || die "${tool}ar is missing"
AR=${tool}ar
compiler=$($gcc --version | head -n 1)
CC=$gcc
mkdir -p "${DEPS_VIEW:-$cache}"
prefix=$(cd "${DEPS_VIEW:-$cache}" && pwd)/$flavour
hard="-O2 -g -fPIE -fstack-protector-strong -ftrivial-auto-var-init=zero -ffunction-sections -fdata-sections"
hard="$hard -fno-canonical-system-headers"	# headers by the names they are asked for: links of any tree
[ "$flavour" != arm64 ] || hard="$hard -mno-outline-atomics"	# those helpers of libgcc ask glibc about the processor

mkdir -p "$prefix" "$cache/store" "$cache/src"
exec 9>"$cache/lock"
flock 9		# two builds at once would write the same files

work=
trap '[ -z "$work" ] || rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# needs NAME: other libraries it is built against; inputs NAME: files of the tree that go into it
needs() { sed -n 's/^# needs: *//p' "$recipes/$1.sh"; }
inputs() { sed -n 's/^# inputs: *//p' "$recipes/$1.sh"; }
source_of() { s=$(sed -n 's/^# source: *//p' "$recipes/$1.sh"); echo "${s:-$1}"; }

# key NAME: the sum of all that goes into the library
key() {
	{
		echo "2 $flavour $hard"
		echo "$compiler"
		[ "$(source_of "$1")" = - ] || grep -P "^$(source_of "$1")\t" "$top/deps.lock"
		cat "$recipes/$1.sh" "$recipes/compile.sh"
		for f in $(inputs "$1"); do
			# shellcheck disable=SC2086 # a pattern
			(cd "$top" && cat $f)
		done
		[ "$flavour" = glibc ] || [ "$1" = musl ] || key musl
		for n in $(needs "$1"); do key "$n"; done
	} | sha256sum | cut -c1-24
}

# The compiler for what links with our musl: the wrapper lies at a fixed place, so that it may be named from everywhere.
make_cc() {
	kernel=/usr/include
	asm=/usr/include/$(echo "$machine" | sed 's/musl/gnu/')/asm
	[ "$flavour" != arm64 ] || { kernel=/usr/aarch64-linux-gnu/include; asm=$kernel/asm; }
	for d in "$kernel/linux" "$kernel/asm-generic" "$asm"; do
		[ -d "$d" ] || die "the kernel's headers are missing: $d"
		mkdir -p "$prefix/kernel"
		ln -sfn "$d" "$prefix/kernel/$(basename "$d")"
	done
	mkdir -p "$prefix/bin"
	sed "s|@PREFIX@|$prefix|g" "$recipes/musl.specs" >"$prefix/musl.specs.new"
	mv "$prefix/musl.specs.new" "$prefix/musl.specs"
	printf '#!/bin/sh\nexec %s -specs "%s/musl.specs" -static-pie "$@" -idirafter "%s/kernel"\n' "$gcc" "$prefix" "$prefix" >"$prefix/bin/cc.new"
	chmod +x "$prefix/bin/cc.new"
	mv "$prefix/bin/cc.new" "$prefix/bin/cc"
}

# unshow NAME: nothing of it remains to be seen
unshow() {
	[ ! -f "$prefix/.shown/$1" ] || find "$prefix" -lname "$(cat "$prefix/.shown/$1")/*" -delete
	rm -f "$prefix/.shown/$1"
}

# show PLACE: its files can be seen below the prefix
show() {
	[ "$(cat "$prefix/.shown/$name" 2>/dev/null)" != "$1" ] || return 0
	unshow "$name"
	mkdir -p "$prefix/.shown"
	(cd "$1" && find . -type f -o -type l) | sed 's|^\./||' | while read -r f; do
		mkdir -p "$(dirname "$prefix/$f")"
		ln -sfn "$1/$f" "$prefix/$f"
	done
	echo "$1" >"$prefix/.shown/$name"
}

# a recipe may know better what of its source is the notice
keep_notice() {
	notice=$out/share/licences/$name
	mkdir -p "$out/share/licences"
	[ -f "$notice" ] || cp "$src/$(field "$(source_of "$name")" 10)" "$notice"
	{ echo "$name $version ($(field "$(source_of "$name")" 9))"; echo; cat "$notice"; } >"$work/notice"
	mv "$work/notice" "$notice"
}

build() {
	name=$1
	place=$cache/store/$flavour-$name-$(key "$name")
	if [ -d "$place" ]; then
		touch "$place"
		show "$place"
		return
	fi
	work=$(mktemp -d "${TMPDIR:-/tmp}/hatchet-deps.XXXXXX")
	src=$work/src obj=$work/obj out=$work/out
	mkdir -p "$src" "$obj" "$out/include" "$out/lib"
	version=
	[ "$(source_of "$name")" = - ] || unpack "$(source_of "$name")" "$src"
	CFLAGS="$hard -ffile-prefix-map=$work=/deps -ffile-prefix-map=$prefix=/deps -ffile-prefix-map=$top=."
	began=$(date +%s)
	(
		# shellcheck source=tools/deps/compile.sh
		. "$recipes/compile.sh"
		# shellcheck disable=SC1090
		. "$recipes/$name.sh"
	) >"$work/log" 2>&1 || { tail -n 30 "$work/log" >&2; die "$name${version:+ $version} does not build"; }
	[ -z "$version" ] || keep_notice
	mv "$out" "$place.new"
	mv "$place.new" "$place"
	say "$flavour: $name${version:+ $version} built in $(($(date +%s) - began)) s"
	rm -rf "$work"
	work=
	show "$place"
}

[ "$flavour" = glibc ] || make_cc
if [ $# = 0 ]; then
	eval "set -- $all"
	for f in "$prefix"/.shown/*; do
		n=$(basename "$f")
		case " $all " in *" $n "*) ;; *) unshow "$n" ;; esac
	done
fi
for n; do
	build "$n"
	[ "$flavour" = glibc ] || CC=$prefix/bin/cc
done
# what no clone has asked for in two months
find "$cache/store" -mindepth 1 -maxdepth 1 -type d -mtime +60 -exec rm -rf {} +
