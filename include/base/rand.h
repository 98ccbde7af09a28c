/* The only pseudo random generator; seeded, so that a run can be repeated.  Not for secrets (crypto/random.h). */
#ifndef BASE_RAND_H
#define BASE_RAND_H
#include "base/base.h"

struct rand64 {
	uint64_t s[4];
};
void rand_seed(struct rand64 *r, uint64_t seed);
uint64_t rand_u64(struct rand64 *r);
uint64_t rand_range(struct rand64 *r, uint64_t n);		/* 0..n-1 */
bool rand_chance(struct rand64 *r, unsigned per_mille);
#endif
