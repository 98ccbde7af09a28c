/* Intrusive binary min-heap of deadlines.  Ties break by `tie` so that order is defined. */
#ifndef BASE_HEAP_H
#define BASE_HEAP_H
#include "base/base.h"

struct heap_item {
	int64_t at;	/* key */
	int64_t tie;	/* second key, e.g. an id */
	uint32_t idx;	/* 1-based position, 0: not in a heap */
};
struct heap {
	struct heap_item **p;
	size_t n, cap;
};
void heap_fini(struct heap *h);
void heap_set(struct heap *h, struct heap_item *it, int64_t at);	/* insert or move */
void heap_del(struct heap *h, struct heap_item *it);			/* no-op when not in */
static inline struct heap_item *heap_min(const struct heap *h)
{
	return h->n ? h->p[0] : NULL;
}
#endif
