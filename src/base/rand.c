/* xoshiro256** seeded through splitmix64 (both public algorithms).  Repeatable; never for secrets. */
#include "base/rand.h"

static uint64_t rotl(uint64_t x, int k)
{
	return (x << k) | (x >> (64 - k));
}

void rand_seed(struct rand64 *r, uint64_t seed)
{
	for (int i = 0; i < 4; i++) {
		uint64_t z = (seed += 0x9e3779b97f4a7c15u);

		z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
		z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
		r->s[i] = z ^ (z >> 31);
	}
}

uint64_t rand_u64(struct rand64 *r)
{
	uint64_t *s = r->s, out = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotl(s[3], 45);
	return out;
}

uint64_t rand_range(struct rand64 *r, uint64_t n)
{
	assert(n > 0);
	/* values below the remainder would make small results likelier */
	uint64_t skip = -n % n, v;
	do {
		v = rand_u64(r);
	} while (v < skip);
	return v % n;
}

bool rand_chance(struct rand64 *r, unsigned per_mille)
{
	return rand_range(r, 1000) < per_mille;
}
