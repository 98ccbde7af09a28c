/* UUIDs: 16 bytes, lower-case text. */
#ifndef BASE_UUID_H
#define BASE_UUID_H
#include "base/base.h"

struct uuid {
	uint8_t b[16];
};
#define UUID_TEXT 36
bool uuid_parse(struct str s, struct uuid *ret) MUST_USE;	/* 36 chars, any case; nothing else */
void uuid_format(const struct uuid *u, char out[UUID_TEXT + 1]);
static inline bool uuid_eq(const struct uuid *a, const struct uuid *b)
{
	return memcmp(a->b, b->b, 16) == 0;
}
static inline bool uuid_is_zero(const struct uuid *a)
{
	static const struct uuid zero;
	return uuid_eq(a, &zero);
}
uint64_t siphash(const void *p, size_t n, const uint8_t key[16]);	/* SipHash-2-4 */
#endif
