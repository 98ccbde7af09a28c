/* Bump allocator: blocks in a chain, everything freed at once.
 * Invariant: memory handed out stays put until the arena ends; the sum handed out never passes the limit.
 * Does not free single objects and does not grow one in place. */
#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define ALIGN 16
#define BLOCK_FIRST 2048
#define BLOCK_MAX 65536

struct block {
	struct block *prev;
	size_t cap;
	_Alignas(ALIGN) char p[];
};

struct owned {
	struct owned *prev;
	void *p;
	void (*fn)(void *p);
};

struct arena {
	struct block *cur;	/* the block being filled */
	struct block *first;
	struct owned *owned;
	size_t pos;		/* in cur */
	size_t used, limit;
};

static struct block *block_new(size_t cap, struct block *prev)
{
	struct block *b = xmalloc(sizeof(*b) + cap);

	b->cap = cap;
	b->prev = prev;
	return b;
}

struct arena *arena_new(size_t limit_bytes)
{
	struct arena *a = xcalloc(1, sizeof(*a));

	a->limit = limit_bytes;
	return a;
}

static void run_owned(struct arena *a)
{
	/* a callback may still read the arena, so all run before any block goes */
	while (a->owned) {
		struct owned *o = a->owned;

		a->owned = o->prev;
		o->fn(o->p);
	}
}

void arena_reset(struct arena *a)
{
	run_owned(a);
	while (a->cur != a->first) {
		struct block *b = a->cur;

		a->cur = b->prev;
		free(b);
	}
#ifdef HATCHET_SLOW_CHECKS
	if (a->first)
		memset(a->first->p, 0xdf, a->first->cap);
#endif
	a->pos = 0;
	a->used = 0;
}

void arena_free(struct arena *a)
{
	if (!a)
		return;
	arena_reset(a);
	free(a->first);
	free(a);
}

size_t arena_used(const struct arena *a)
{
	return a->used;
}

size_t arena_left(const struct arena *a)
{
	return a->limit - a->used;
}

void *arena_alloc(struct arena *a, size_t bytes)
{
	if (bytes > a->limit || a->limit - bytes < a->used) {
		fprintf(stderr, "arena: %zu bytes asked, %zu used, limit %zu\n", bytes, a->used, a->limit);
		abort();
	}
	size_t n = (bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	if (!a->cur || a->cur->cap - a->pos < n) {
		size_t cap = a->cur ? MIN(a->cur->cap * 2, (size_t)BLOCK_MAX) : BLOCK_FIRST;

		a->cur = block_new(MAX(cap, n), a->cur);
		if (!a->first)
			a->first = a->cur;
		a->pos = 0;
	}
	void *p = a->cur->p + a->pos;
	a->pos += n;
	a->used = MIN(a->used + n, a->limit);
	return p;
}

void *arena_zalloc(struct arena *a, size_t bytes)
{
	return memset(arena_alloc(a, bytes), 0, bytes);
}

char *arena_strz(struct arena *a, struct str s)
{
	char *p = arena_alloc(a, s.n + 1);

	if (s.n)
		memcpy(p, s.p, s.n);
	p[s.n] = '\0';
	return p;
}

struct str arena_dup(struct arena *a, struct str s)
{
	return (struct str){arena_strz(a, s), s.n};
}

struct str arena_strf(struct arena *a, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	assert(n >= 0);
	char *p = arena_alloc(a, (size_t)n + 1);
	va_start(ap, fmt);
	vsnprintf(p, (size_t)n + 1, fmt, ap);
	va_end(ap);
	return (struct str){p, (size_t)n};
}

void arena_own(struct arena *a, void *p, void (*fn)(void *p))
{
	struct owned *o = arena_alloc(a, sizeof(*o));

	*o = (struct owned){.prev = a->owned, .p = p, .fn = fn};
	a->owned = o;
}
