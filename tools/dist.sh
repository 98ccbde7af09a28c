#!/bin/sh
# Makes what is published of a built binary, the same bytes from the same binary:
#
#	tools/dist.sh BINARY ARCH FOLDER	ARCH: x86_64 or aarch64; its programs must run here (aarch64: by qemu-user)
#
#	FOLDER/install.sh, latest		BASE_URL: the address it will have
#	FOLDER/VERSION/hatchet-VERSION-linux-ARCH.tar.gz, hatchet_VERSION_ARCH.deb, SHA256SUMS
#	FOLDER/docker-ARCH/			what an image is built from
set -eu
[ $# = 3 ] || { echo "usage: dist.sh BINARY x86_64|aarch64 FOLDER" >&2; exit 2; }
top=$(cd "$(dirname "$0")/.." && pwd)
binary=$(realpath "$1") arch=$2
mkdir -p "$3"
to=$(cd "$3" && pwd)
case $arch in
x86_64) deb=amd64 ;;
aarch64) deb=arm64 ;;
*) echo "dist: no architecture $arch" >&2; exit 2 ;;
esac
run=
[ "$arch" = "$(uname -m)" ] || run="qemu-$arch-static"
version=$($run "$binary" version --json | sed 's/.*"version":"\([^"]*\)".*/\1/')
name=hatchet-$version-linux-$arch
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 022
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$top" log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH

# --- what every form holds
tree=$work/$name
mkdir -p "$tree/share/man/man1" "$tree/share/bash-completion" "$tree/share/zsh" "$tree/share/fish" "$tree/share/systemd"
install -m 755 "$binary" "$tree/hatchet"
$run "$binary" manual >"$tree/share/man/man1/hatchet.1"
$run "$binary" completion bash >"$tree/share/bash-completion/hatchet"
$run "$binary" completion zsh >"$tree/share/zsh/_hatchet"
$run "$binary" completion fish >"$tree/share/fish/hatchet.fish"
cp "$top/tools/dist/hatchet.service" "$tree/share/systemd/"
$run "$binary" version --licenses >"$tree/THIRD-PARTY"
cp "$top/LICENSE" "$top/README.md" "$tree/"
base=${BASE_URL:-}
sed "s|@BASE_URL@|$base|" "$top/install.sh" >"$tree/install.sh"
chmod 755 "$tree/install.sh"
(cd "$tree" && find . -type f | LC_ALL=C sort | sed 's|^\./||' | xargs sha256sum) >"$work/SHA256SUMS"
mv "$work/SHA256SUMS" "$tree/"

out=$to/$version
mkdir -p "$out"
tar -C "$work" --sort=name --format=ustar --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner -cf - "$name" |
	gzip -9n >"$out/$name.tar.gz"

# --- the package
pkg=$work/deb
share=$pkg/usr/share
mkdir -p "$pkg/DEBIAN" "$pkg/usr/bin" "$pkg/usr/lib/systemd/system" "$share/man/man1" "$share/doc/hatchet" "$share/lintian/overrides" \
	"$share/bash-completion/completions" "$share/zsh/vendor-completions" "$share/fish/vendor_completions.d"
install -m 755 "$binary" "$pkg/usr/bin/hatchet"
gzip -9nc "$tree/share/man/man1/hatchet.1" >"$share/man/man1/hatchet.1.gz"
cp "$tree/share/bash-completion/hatchet" "$share/bash-completion/completions/hatchet"
cp "$tree/share/zsh/_hatchet" "$share/zsh/vendor-completions/_hatchet"
cp "$tree/share/fish/hatchet.fish" "$share/fish/vendor_completions.d/hatchet.fish"
cp "$top/tools/dist/hatchet.service" "$pkg/usr/lib/systemd/system/"
cp "$top/tools/dist/lintian-overrides" "$share/lintian/overrides/hatchet"
{
	echo 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/'
	echo 'Upstream-Name: hatchet'
	echo
	echo 'Files: *'
	sed -n 's/^Copyright (c) /Copyright: /p' "$top/LICENSE"
	echo 'License: Expat'
	sed '1,/^Copyright/d; s/^/ /; s/^ $/ ./' "$top/LICENSE" | sed '1{/^ \.$/d}'
	echo
	echo 'Comment:'
	echo ' The libraries inside have licences of their own: /usr/share/doc/hatchet/THIRD-PARTY.gz, and for Apache-2.0'
	echo ' /usr/share/common-licenses/Apache-2.0.'
} >"$share/doc/hatchet/copyright"
gzip -9nc "$tree/THIRD-PARTY" >"$share/doc/hatchet/THIRD-PARTY.gz"
{
	echo "hatchet ($version) unstable; urgency=medium"
	echo
	echo "  * Version $version."
	echo
	echo " -- The Hatchet in C authors <authors@hatchet.invalid>  $(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")"
} | gzip -9n >"$share/doc/hatchet/changelog.gz"
cat >"$pkg/DEBIAN/control" <<END
Package: hatchet
Version: $version
Architecture: $deb
Maintainer: The Hatchet in C authors <authors@hatchet.invalid>
Installed-Size: $(du -sk --apparent-size "$pkg/usr" | cut -f 1)
Section: net
Priority: optional
Recommends: ca-certificates
Description: durable task queue on Postgres for the Hatchet SDKs
 One program that is a whole Hatchet server: it takes in tasks over gRPC and
 REST, keeps every one of them in Postgres, hands them to workers within
 milliseconds, and loses none when anything is killed.
 .
 It carries a Postgres inside and uses it when no database is named.
END
(cd "$pkg" && find usr -type f | LC_ALL=C sort | xargs md5sum >DEBIAN/md5sums)
find "$pkg" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
dpkg-deb --root-owner-group -Zxz -b "$pkg" "$out/hatchet_${version}_$deb.deb" >/dev/null

# --- the image's folder
image=$to/docker-$arch
mkdir -p "$image/data"
install -m 755 "$binary" "$image/hatchet"
cp "$top/tools/dist/Dockerfile" "$image/"

(cd "$out" && sha256sum -- *.tar.gz *.deb >SHA256SUMS)
cp "$tree/install.sh" "$to/install.sh"
echo "$version" >"$to/latest"
echo "dist: $out: $(cd "$out" && du -h -- *.tar.gz *.deb | awk '{ printf "%s%s %s", s, $2, $1; s = ", " }')" >&2
