/* Growing byte string with a mandatory maximum.  Passing the maximum sets `overflow` and drops the write. */
#ifndef BASE_STRB_H
#define BASE_STRB_H
#include "base/base.h"

struct strb {
	char *p;	/* heap, always NUL terminated once anything was written */
	size_t n, cap, max;
	bool overflow;
};
void strb_init(struct strb *b, size_t max_bytes);
void strb_fini(struct strb *b);
void strb_reset(struct strb *b);	/* keeps the memory */
void strb_put(struct strb *b, const void *p, size_t n);
void strb_puts(struct strb *b, struct str s);
void strb_putc(struct strb *b, char c);
void strb_putf(struct strb *b, const char *fmt, ...) PRINTF(2, 3);
void strb_be16(struct strb *b, uint16_t v);
void strb_be32(struct strb *b, uint32_t v);
void strb_be64(struct strb *b, uint64_t v);
void strb_json(struct strb *b, struct str s);	/* s as a JSON string with quotes; bad UTF-8 becomes U+FFFD */
char *strb_grow(struct strb *b, size_t n);	/* n writable bytes at the end, already counted; NULL on overflow */
static inline struct str strb_str(const struct strb *b)
{
	return (struct str){b->p ? b->p : "", b->n};
}
#endif
