/* ES256 keys.
 * Invariant: a struct es256_key always holds a valid private number and its public point.
 * Signing is deterministic (RFC 6979), so a weak moment of the random source cannot give the key away. */
#include "crypto/es256.h"

#include <mbedtls/ecdsa.h>
#include <mbedtls/ecp.h>
#include <mbedtls/platform_util.h>
#include <stdlib.h>

#include "crypto/hash.h"
#include "crypto/random.h"

struct es256_key {
	mbedtls_ecp_group grp;
	mbedtls_mpi d;
	mbedtls_ecp_point q;
};

static int rng(void *arg, unsigned char *out, size_t n)
{
	(void)arg;
	random_bytes(out, n);
	return 0;
}

static struct es256_key *key_new(void)
{
	struct es256_key *k = xcalloc(1, sizeof(*k));

	mbedtls_ecp_group_init(&k->grp);
	mbedtls_mpi_init(&k->d);
	mbedtls_ecp_point_init(&k->q);
	if (mbedtls_ecp_group_load(&k->grp, MBEDTLS_ECP_DP_SECP256R1) != 0)
		abort();
	return k;
}

void es256_free(struct es256_key *k)
{
	if (!k)
		return;
	mbedtls_ecp_point_free(&k->q);
	mbedtls_mpi_free(&k->d);	/* zeroes */
	mbedtls_ecp_group_free(&k->grp);
	free(k);
}

struct es256_key *es256_generate(void)
{
	struct es256_key *k = key_new();

	if (mbedtls_ecp_gen_keypair(&k->grp, &k->d, &k->q, rng, NULL) != 0)
		abort();
	return k;
}

struct es256_key *es256_import(struct str raw)
{
	if (raw.n != ES256_KEY_BYTES)
		return NULL;
	struct es256_key *k = key_new();
	if (mbedtls_mpi_read_binary(&k->d, (const unsigned char *)raw.p, raw.n) != 0 ||
	    mbedtls_ecp_check_privkey(&k->grp, &k->d) != 0 ||
	    mbedtls_ecp_mul(&k->grp, &k->q, &k->d, &k->grp.G, rng, NULL) != 0) {
		es256_free(k);
		return NULL;
	}
	return k;
}

void es256_export(const struct es256_key *k, uint8_t out[ES256_KEY_BYTES])
{
	if (mbedtls_mpi_write_binary(&k->d, out, ES256_KEY_BYTES) != 0)
		abort();
}

/* The library wants to cache tables in the group, so it gets one of its own: a shared key stays constant. */
static void own_group(mbedtls_ecp_group *g)
{
	mbedtls_ecp_group_init(g);
	if (mbedtls_ecp_group_load(g, MBEDTLS_ECP_DP_SECP256R1) != 0)
		abort();
}

void es256_sign(const struct es256_key *k, struct str msg, uint8_t sig[ES256_SIG_BYTES])
{
	mbedtls_ecp_group grp;
	mbedtls_mpi r, s;
	uint8_t hash[SHA256_BYTES];

	sha256(msg, hash);
	own_group(&grp);
	mbedtls_mpi_init(&r);
	mbedtls_mpi_init(&s);
	if (mbedtls_ecdsa_sign_det_ext(&grp, &r, &s, &k->d, hash, sizeof(hash), MBEDTLS_MD_SHA256, rng, NULL) != 0 ||
	    mbedtls_mpi_write_binary(&r, sig, 32) != 0 || mbedtls_mpi_write_binary(&s, sig + 32, 32) != 0)
		abort();
	mbedtls_mpi_free(&r);
	mbedtls_mpi_free(&s);
	mbedtls_ecp_group_free(&grp);
}

bool es256_verify(const struct es256_key *k, struct str msg, struct str sig)
{
	mbedtls_ecp_group grp;
	mbedtls_mpi r, s;
	uint8_t hash[SHA256_BYTES];

	if (sig.n != ES256_SIG_BYTES)
		return false;
	sha256(msg, hash);
	own_group(&grp);
	mbedtls_mpi_init(&r);
	mbedtls_mpi_init(&s);
	bool ok = mbedtls_mpi_read_binary(&r, (const unsigned char *)sig.p, 32) == 0 &&
		  mbedtls_mpi_read_binary(&s, (const unsigned char *)sig.p + 32, 32) == 0 &&
		  mbedtls_ecdsa_verify(&grp, hash, sizeof(hash), &k->q, &r, &s) == 0;
	mbedtls_mpi_free(&r);
	mbedtls_mpi_free(&s);
	mbedtls_ecp_group_free(&grp);
	return ok;
}
