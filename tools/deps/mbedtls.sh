#!/bin/sh
# TLS and cryptography.
# shellcheck disable=SC2154,SC2164 # sourced by build-deps.sh after compile.sh, which says what is set
# inputs: tools/deps/mbedtls-entropy.c
config=$src/include/mbedtls/mbedtls_config.h
# randomness comes from getrandom(2) and from nowhere else: /dev may be missing
sed -i 's|^//\(#define MBEDTLS_NO_PLATFORM_ENTROPY\)|\1|; s|^//\(#define MBEDTLS_ENTROPY_HARDWARE_ALT\)|\1|' "$config"
grep -q '^#define MBEDTLS_NO_PLATFORM_ENTROPY' "$config"
grep -q '^#define MBEDTLS_ENTROPY_HARDWARE_ALT' "$config"
# As RFC 8446 4.2.3 has it: whoever offers PSS for TLS 1.3 takes it in 1.2 too.  3.6.6 refuses what it offered, so that it reaches
# no server with an RSA key that ends at 1.2; a later release without this line is right by itself.
sed -i 's/if (\(!mbedtls_ssl_sig_alg_is_supported(ssl, sig_alg)\)) {/if (*pk_alg != MBEDTLS_PK_RSASSA_PSS \&\& \1) {/' "$src/library/ssl_tls12_client.c"
cp -R "$src/include/mbedtls" "$src/include/psa" "$out/include/"
crypto="" x509="" tls=""
for f in "$src"/library/*.c; do
	case $(basename "$f") in
	ssl_* | net_* | mps_* | debug.c) tls="$tls $f" ;;
	x509* | pkcs7.c) x509="$x509 $f" ;;
	*) crypto="$crypto $f" ;;
	esac
done
# shellcheck disable=SC2086 # lists of files
{
	objects crypto -I"$src/include" -I"$src/library" -- $crypto "$top/tools/deps/mbedtls-entropy.c"
	objects x509 -I"$src/include" -I"$src/library" -- $x509
	objects tls -I"$src/include" -I"$src/library" -- $tls
}
archive libmbedcrypto.a crypto
archive libmbedx509.a x509
archive libmbedtls.a tls
# of the two licences that it is given under this is the one that we take
mkdir -p "$out/share/licences"
sed -n '/Apache License/,/GNU GENERAL PUBLIC LICENSE/p' "$src/LICENSE" | sed '$d' >"$out/share/licences/mbedtls"
