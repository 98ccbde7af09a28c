#!/bin/sh
# HTTP/2.
# shellcheck disable=SC2154,SC2164 # sourced by build-deps.sh after compile.sh, which says what is set
major=${version%%.*} rest=${version#*.}
number=$(printf '0x%02x%02x%02x' "$major" "${rest%%.*}" "${rest#*.}")
mkdir "$out/include/nghttp2"
cp "$src/lib/includes/nghttp2/nghttp2.h" "$out/include/nghttp2/"
sed "s/@PACKAGE_VERSION@/$version/; s/@PACKAGE_VERSION_NUM@/$number/" "$src/lib/includes/nghttp2/nghttp2ver.h.in" \
	>"$out/include/nghttp2/nghttp2ver.h"
objects o -I"$out/include" -I"$src/lib" -DNGHTTP2_STATICLIB -DBUILDING_NGHTTP2 -D_GNU_SOURCE -DHAVE_ARPA_INET_H \
	-DHAVE_NETINET_IN_H -DHAVE_TIME_H -DHAVE_CLOCK_GETTIME -DHAVE_DECL_CLOCK_MONOTONIC=1 -- "$src"/lib/*.c
archive libnghttp2.a o
