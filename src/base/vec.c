/* The one function behind the VEC macros. */
#include "base/vec.h"

void *vec_grow_(void *p, size_t *cap, size_t need, size_t elem_bytes)
{
	size_t want = *cap ? *cap * 2 : 8, bytes;

	want = MAX(want, need);
	if (__builtin_mul_overflow(want, elem_bytes, &bytes))
		abort();
	*cap = want;
	return xrealloc(p, bytes);
}
