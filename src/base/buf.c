/* Refcounted immutable bytes.  One thread only: the count is not atomic. */
#include "base/buf.h"

#include <stdlib.h>

struct buf *buf_new(uint32_t n)
{
	struct buf *b = xmalloc(sizeof(*b) + n);

	b->refs = 1;
	b->n = n;
	return b;
}

struct buf *buf_copy(struct str s)
{
	assert(s.n <= UINT32_MAX);
	struct buf *b = buf_new((uint32_t)s.n);

	if (s.n)
		memcpy(b->p, s.p, s.n);
	return b;
}

struct buf *buf_ref(struct buf *b)
{
	assert(b->refs > 0 && b->refs < UINT32_MAX);
	b->refs++;
	return b;
}

void buf_unref(struct buf *b)
{
	if (!b)
		return;
	assert(b->refs > 0);
	if (--b->refs == 0)
		free(b);
}
