/* Growing arrays: VEC(int) v = {0}; vec_push(&v, 3); v.p[0], v.n; vec_fini(&v). */
#ifndef BASE_VEC_H
#define BASE_VEC_H
#include "base/base.h"

#define VEC(T)            \
	struct {          \
		T *p;     \
		size_t n; \
		size_t cap; \
	}
void *vec_grow_(void *p, size_t *cap, size_t need, size_t elem_bytes) MUST_USE;
#define vec_reserve(v, want)                                                                \
	do {                                                                                \
		if ((v)->cap < (size_t)(want))                                              \
			(v)->p = vec_grow_((v)->p, &(v)->cap, (want), sizeof(*(v)->p));     \
	} while (0)
#define vec_push(v, x)                                \
	do {                                          \
		vec_reserve((v), (v)->n + 1);         \
		(v)->p[(v)->n++] = (x);               \
	} while (0)
#define vec_clear(v) ((v)->n = 0)
#define vec_fini(v) (free((v)->p), (v)->p = NULL, (v)->n = (v)->cap = 0)
#include <stdlib.h>
#endif
