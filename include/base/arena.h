/* Bump allocator with a hard limit and end-of-life callbacks; one per request, per turn, per batch. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H
#include "base/base.h"

struct arena;
struct arena *arena_new(size_t limit_bytes) MUST_USE;	/* limit passed: the process asserts, so check client sizes first */
void arena_free(struct arena *a);			/* runs arena_own callbacks in reverse order; NULL is fine */
void arena_reset(struct arena *a);			/* like free + new, keeps the first block */
size_t arena_used(const struct arena *a);
size_t arena_left(const struct arena *a);		/* what may still be asked for, less rounding to 16 */
void *arena_alloc(struct arena *a, size_t bytes) MUST_USE;	/* 16-byte aligned, not zeroed */
void *arena_zalloc(struct arena *a, size_t bytes) MUST_USE;	/* zeroed */
struct str arena_dup(struct arena *a, struct str s);		/* copy, NUL follows the end */
char *arena_strz(struct arena *a, struct str s);		/* same as C string */
struct str arena_strf(struct arena *a, const char *fmt, ...) PRINTF(2, 3);
void arena_own(struct arena *a, void *p, void (*fn)(void *p));	/* fn(p) when the arena ends */
#define ARENA_NEW(a, type) ((type *)arena_zalloc((a), sizeof(type)))
#define ARENA_ARRAY(a, type, n) ((type *)arena_zalloc((a), sizeof(type) * (n)))
#endif
