/* Refcounted immutable bytes, shared by many streams. */
#ifndef BASE_BUF_H
#define BASE_BUF_H
#include "base/base.h"

struct buf {
	uint32_t refs;
	uint32_t n;
	char p[];
};
struct buf *buf_new(uint32_t n) MUST_USE;	/* writable by its maker until first shared */
struct buf *buf_copy(struct str s) MUST_USE;
struct buf *buf_ref(struct buf *b);
void buf_unref(struct buf *b);			/* NULL is fine */
static inline struct str buf_str(const struct buf *b)
{
	return b ? (struct str){b->p, b->n} : STR_NULL;
}
#endif
