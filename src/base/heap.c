/* Binary min-heap of intrusive items.
 * Invariant: p[i]->idx == i + 1 for every item in it; items order by (at, tie).
 * Does not own the items. */
#include "base/heap.h"

#include <stdlib.h>

static bool before(const struct heap_item *a, const struct heap_item *b)
{
	return a->at != b->at ? a->at < b->at : a->tie < b->tie;
}

static void place(struct heap *h, size_t i, struct heap_item *it)
{
	h->p[i] = it;
	it->idx = (uint32_t)i + 1;
}

static void up(struct heap *h, size_t i)
{
	struct heap_item *it = h->p[i];

	while (i > 0 && before(it, h->p[(i - 1) / 2])) {
		place(h, i, h->p[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	place(h, i, it);
}

static void down(struct heap *h, size_t i)
{
	struct heap_item *it = h->p[i];

	for (;;) {
		size_t c = 2 * i + 1;

		if (c >= h->n)
			break;
		if (c + 1 < h->n && before(h->p[c + 1], h->p[c]))
			c++;
		if (!before(h->p[c], it))
			break;
		place(h, i, h->p[c]);
		i = c;
	}
	place(h, i, it);
}

void heap_fini(struct heap *h)
{
	free(h->p);
	*h = (struct heap){0};
}

void heap_set(struct heap *h, struct heap_item *it, int64_t at)
{
	it->at = at;
	if (!it->idx) {
		assert(h->n < UINT32_MAX - 1);
		if (h->n == h->cap) {
			h->cap = h->cap ? h->cap * 2 : 16;
			h->p = xrealloc(h->p, h->cap * sizeof(*h->p));
		}
		place(h, h->n++, it);
	}
	assert(h->p[it->idx - 1] == it);
	up(h, it->idx - 1);
	down(h, it->idx - 1);
}

void heap_del(struct heap *h, struct heap_item *it)
{
	if (!it->idx)
		return;
	size_t i = it->idx - 1;
	assert(i < h->n && h->p[i] == it);
	struct heap_item *last = h->p[--h->n];
	it->idx = 0;
	if (last == it)
		return;
	place(h, i, last);
	up(h, i);
	down(h, last->idx - 1);
}
