/* Tokens: nothing but a token signed here is ever valid, and the reader of their objects is strict. */
#include "../../src/crypto/flat.h"
#include "crypto/jwt.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct es256_key *key;
	struct str in = {(const char *)data, n};
	struct arena *a = arena_new(16 << 20);
	struct jwt_expect expect = {.now_s = 1};
	struct jwt_claims c;
	struct flat f;

	if (!key)
		key = es256_generate();
	struct jwt_key keys[] = {{STR("k1"), key}};
	FUZZ_MUST(jwt_verify(a, in, keys, 1, &expect, &c) != JWT_OK);
	if (flat_parse(a, in, &f)) {
		FUZZ_MUST(f.n <= FLAT_MAX);
		for (size_t i = 0; i < f.n; i++)
			FUZZ_MUST(f.m[i].s.n <= n);
	}
	arena_free(a);
	return 0;
}
