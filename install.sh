#!/bin/sh
# Installs hatchet:  curl -fsSL ADDRESS/install.sh | sh
#
#	HATCHET_BASE_URL	where the releases are, instead of the address this script was published with
#	HATCHET_VERSION		the version to install, instead of the latest
#	HATCHET_INSTALL_DIR	where the program goes, instead of ~/.local/bin, or /usr/local/bin for root
#
# Options (after `sh -s --` when piped): --uninstall, --help.  Any POSIX shell with curl or wget will do, root is not needed.
# Everything is a function called on the last line, so that half a script does nothing.
set -eu

BASE_URL="@BASE_URL@"

say() { printf '%s\n' "$*"; }
die() {
	printf 'hatchet install: %s\n' "$*" >&2
	exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

usage() {
	say 'usage: install.sh [--uninstall | --help]'
	say
	say 'Installs the program hatchet into ~/.local/bin (root: /usr/local/bin), its manual page and shell completion beside it.'
	say 'HATCHET_VERSION, HATCHET_INSTALL_DIR and HATCHET_BASE_URL say what, where to, and where from.'
}

# platform: the name that releases have for this machine
platform() {
	[ "$(uname -s)" = Linux ] || die "there is hatchet for Linux only, this is $(uname -s)"
	case $(uname -m) in
	x86_64 | amd64) echo linux-x86_64 ;;
	aarch64 | arm64) echo linux-aarch64 ;;
	*) die "there is hatchet for x86_64 and aarch64, this machine is $(uname -m)" ;;
	esac
}

# fetch URL FILE
fetch() {
	if have curl; then
		curl -fsSL --retry 2 -o "$2" "$1"
	elif have wget; then
		wget -q -O "$2" "$1"
	else
		die 'curl or wget is needed'
	fi
}

sum_of() {
	if have sha256sum; then
		sha256sum "$1"
	elif have shasum; then
		shasum -a 256 "$1"
	elif have openssl; then
		openssl dgst -sha256 -r "$1"
	else
		die 'sha256sum, shasum or openssl is needed to verify what was fetched'
	fi | cut -d ' ' -f 1
}

# expected FILE SUMS: the sum that the list has for the file
expected() {
	while read -r sum name; do
		[ "${name#\*}" != "$1" ] || echo "$sum"
	done <"$2"
}

bin_dir() {
	if [ -n "${HATCHET_INSTALL_DIR:-}" ]; then
		echo "$HATCHET_INSTALL_DIR"
	elif [ "$(id -u)" = 0 ]; then
		echo /usr/local/bin
	else
		[ -n "${HOME:-}" ] || die 'HOME is not set: say where to by HATCHET_INSTALL_DIR'
		echo "$HOME/.local/bin"
	fi
}

# the other files lie where a program in DIR/bin has them; a folder of another name gets the program alone
extras() {
	case $1 in
	*/bin)
		echo "share/man/man1/hatchet.1 ${1%/bin}/share/man/man1/hatchet.1"
		echo "share/bash-completion/hatchet ${1%/bin}/share/bash-completion/completions/hatchet"
		echo "share/zsh/_hatchet ${1%/bin}/share/zsh/site-functions/_hatchet"
		echo "share/fish/hatchet.fish ${1%/bin}/share/fish/vendor_completions.d/hatchet.fish"
		;;
	esac
}

# put FROM TO MODE: whole or not at all, also while the old file runs
put() {
	mkdir -p "$(dirname "$2")" 2>/dev/null || die "cannot make $(dirname "$2"): choose another folder by HATCHET_INSTALL_DIR"
	new=$2.new-$$
	if ! cp "$1" "$new" 2>/dev/null || ! chmod "$3" "$new"; then
		rm -f "$new"
		die "cannot write $2: choose another folder by HATCHET_INSTALL_DIR, or run this as its owner"
	fi
	if [ "$3" = 755 ] && ! "$new" version >/dev/null 2>&1; then
		rm -f "$new"
		die "the program does not run on this machine, or not in $(dirname "$2")"
	fi
	if ! mv -f "$new" "$2"; then
		rm -f "$new"
		die "cannot write $2: choose another folder by HATCHET_INSTALL_DIR, or run this as its owner"
	fi
}

install_it() {
	base=${HATCHET_BASE_URL:-$BASE_URL}
	case $base in
	http://* | https://*) base=${base%/} ;;
	*) die 'HATCHET_BASE_URL must be the http(s) address of the releases' ;;
	esac
	system=$(platform)
	dir=$(bin_dir)
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	trap 'exit 1' HUP INT TERM

	version=${HATCHET_VERSION:-}
	if [ -z "$version" ]; then
		fetch "$base/latest" "$work/latest" || die "cannot find out the latest version from $base/latest"
		read -r version <"$work/latest" || [ -n "$version" ] || die "$base/latest is empty"
	fi
	version=${version#v}
	case $version in
	'' | *[!0-9A-Za-z.+~-]*) die "'$version' is no version" ;;
	esac
	name=hatchet-$version-$system
	say "Fetching hatchet $version for $system"
	fetch "$base/$version/SHA256SUMS" "$work/SHA256SUMS" || die "there is no version $version at $base"
	fetch "$base/$version/$name.tar.gz" "$work/$name.tar.gz" || die "there is no $name.tar.gz at $base/$version"
	want=$(expected "$name.tar.gz" "$work/SHA256SUMS")
	[ -n "$want" ] || die "SHA256SUMS of version $version does not name $name.tar.gz"
	got=$(sum_of "$work/$name.tar.gz")
	[ "$got" = "$want" ] || die "$name.tar.gz has the checksum $got, expected $want: nothing was installed"
	gzip -dc "$work/$name.tar.gz" | (cd "$work" && tar -xf -) || die "$name.tar.gz cannot be unpacked"
	put "$work/$name/hatchet" "$dir/hatchet" 755
	extras "$dir" | while read -r from to; do
		[ ! -f "$work/$name/$from" ] || put "$work/$name/$from" "$to" 644
	done
	say "Installed $dir/hatchet"
	say
	case :${PATH:-}: in
	*:"$dir":*) run=hatchet ;;
	*)
		run=$dir/hatchet
		say "$dir is not in your PATH. To have it there:  export PATH=\"$dir:\$PATH\""
		;;
	esac
	say "Start a server, with its own database inside:  $run server start --env-file .env"
	say "Write a first worker:                          $run quickstart"
	say "Remove it again:                               curl -fsSL $base/install.sh | sh -s -- --uninstall"
}

uninstall() {
	dir=$(bin_dir)
	[ -e "$dir/hatchet" ] || die "there is no $dir/hatchet; if it was installed elsewhere say where by HATCHET_INSTALL_DIR"
	rm -f "$dir/hatchet" || die "cannot remove $dir/hatchet"
	extras "$dir" | while read -r _ to; do
		rm -f "$to"
	done
	say "Removed $dir/hatchet"
	data=${XDG_DATA_HOME:-${HOME:-}/.local/share}/hatchet
	[ "$(id -u)" != 0 ] || data=/var/lib/hatchet
	[ ! -d "$data" ] || say "Its data stay in $data"
}

main() {
	case ${1:-} in
	'') install_it ;;
	--uninstall) uninstall ;;
	--help | -h) usage ;;
	*)
		usage >&2
		exit 2
		;;
	esac
}

main "$@"
