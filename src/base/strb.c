/* Growing byte string with a maximum.
 * Invariant: n <= max, a NUL follows the last byte, and once `overflow` is set nothing more is written until reset. */
#include "base/strb.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "utf8.h"

void strb_init(struct strb *b, size_t max_bytes)
{
	*b = (struct strb){.max = max_bytes};
}

void strb_fini(struct strb *b)
{
	free(b->p);
	b->p = NULL;
	b->n = b->cap = 0;
}

void strb_reset(struct strb *b)
{
	b->n = 0;
	b->overflow = false;
	if (b->p)
		b->p[0] = '\0';
}

char *strb_grow(struct strb *b, size_t n)
{
	if (b->overflow || n > b->max - b->n) {
		b->overflow = true;
		return NULL;
	}
	size_t need = b->n + n + 1;
	if (need > b->cap) {
		size_t cap = b->cap ? b->cap * 2 : 128;

		b->cap = MAX(MIN(cap, b->max + 1), need);
		b->p = xrealloc(b->p, b->cap);
	}
	char *at = b->p + b->n;
	b->n += n;
	b->p[b->n] = '\0';
	return at;
}

void strb_put(struct strb *b, const void *p, size_t n)
{
	char *at = strb_grow(b, n);

	if (at && n)
		memcpy(at, p, n);
}

void strb_puts(struct strb *b, struct str s)
{
	strb_put(b, s.p, s.n);
}

void strb_putc(struct strb *b, char c)
{
	strb_put(b, &c, 1);
}

void strb_putf(struct strb *b, const char *fmt, ...)
{
	char tmp[256];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(tmp, sizeof(tmp), fmt, ap);
	va_end(ap);
	assert(n >= 0);
	char *at = strb_grow(b, (size_t)n);
	if (!at)
		return;
	if ((size_t)n < sizeof(tmp)) {
		memcpy(at, tmp, (size_t)n);
		return;
	}
	va_start(ap, fmt);
	vsnprintf(at, (size_t)n + 1, fmt, ap);	/* the NUL's place is always there */
	va_end(ap);
}

static void put_be(struct strb *b, uint64_t v, unsigned bytes)
{
	char *at = strb_grow(b, bytes);

	for (unsigned i = 0; at && i < bytes; i++)
		at[i] = (char)(uint8_t)(v >> (8 * (bytes - 1 - i)));
}

void strb_be16(struct strb *b, uint16_t v)
{
	put_be(b, v, 2);
}

void strb_be32(struct strb *b, uint32_t v)
{
	put_be(b, v, 4);
}

void strb_be64(struct strb *b, uint64_t v)
{
	put_be(b, v, 8);
}

static bool needs_escape(unsigned char c)
{
	return c < 0x20 || c == '"' || c == '\\' || c == 0x7f;
}

void strb_json(struct strb *b, struct str s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t i = 0, from = 0;

	strb_putc(b, '"');
	while (i < s.n) {
		size_t len = utf8_one(p + i, s.n - i);

		if (len && !needs_escape(p[i])) {
			i += len;
			continue;
		}
		strb_put(b, s.p + from, i - from);
		if (!len)
			strb_puts(b, STR("\xef\xbf\xbd"));
		else if (p[i] == '"' || p[i] == '\\')
			strb_putf(b, "\\%c", p[i]);
		else if (p[i] == '\n')
			strb_puts(b, STR("\\n"));
		else if (p[i] == '\t')
			strb_puts(b, STR("\\t"));
		else if (p[i] == '\r')
			strb_puts(b, STR("\\r"));
		else
			strb_putf(b, "\\u%04x", p[i]);
		from = ++i;
	}
	if (from < s.n)
		strb_put(b, s.p + from, s.n - from);
	strb_putc(b, '"');
}
