/* Reads the flat JSON objects of tokens.
 * Invariant: strict; whatever two readers could understand differently (double keys, halves of surrogate pairs,
 * numbers that are no integers) is refused.  Not for anything else: json/ is. */
#include "flat.h"

#include "base/text.h"

struct scan {
	const char *p, *end;
	struct arena *a;
};

static void skip_space(struct scan *s)
{
	while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r'))
		s->p++;
}

static bool take(struct scan *s, char c)
{
	skip_space(s);
	if (s->p == s->end || *s->p != c)
		return false;
	s->p++;
	return true;
}

static bool hex4(struct scan *s, unsigned *ret)
{
	unsigned v = 0;

	if (s->end - s->p < 4)
		return false;
	for (int i = 0; i < 4; i++) {
		char c = *s->p++;

		if (c >= '0' && c <= '9')
			v = v << 4 | (unsigned)(c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			v = v << 4 | (unsigned)((c | 0x20) - 'a' + 10);
		else
			return false;
	}
	*ret = v;
	return true;
}

/* one escape into at most three bytes at @out; 0: refused */
static size_t escape(struct scan *s, char *out)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	unsigned v;

	if (s->p == s->end)
		return 0;
	char c = *s->p++;
	if (c != 'u') {
		const char *at = c ? strchr(from, c) : NULL;

		if (at)
			*out = to[at - from];
		return at ? 1 : 0;
	}
	if (!hex4(s, &v) || v == 0 || (v & 0xf800) == 0xd800)
		return 0;
	if (v < 0x80) {
		out[0] = (char)v;
		return 1;
	}
	if (v < 0x800) {
		out[0] = (char)(0xc0 | v >> 6);
		out[1] = (char)(0x80 | (v & 63));
		return 2;
	}
	out[0] = (char)(0xe0 | v >> 12);
	out[1] = (char)(0x80 | (v >> 6 & 63));
	out[2] = (char)(0x80 | (v & 63));
	return 3;
}

static bool string(struct scan *s, struct str *ret)
{
	if (!take(s, '"'))
		return false;
	const char *close = s->p;
	while (close < s->end && *close != '"')
		close += *close == '\\' ? 2 : 1;
	if (close >= s->end)
		return false;
	/* what is escaped gets shorter, so its own length is room enough */
	char *out = arena_alloc(s->a, (size_t)(close - s->p) + 1);
	size_t n = 0;
	while (s->p < s->end && *s->p != '"') {
		unsigned char c = (unsigned char)*s->p++;

		if (c < 0x20)
			return false;
		if (c != '\\') {
			out[n++] = (char)c;
			continue;
		}
		size_t len = escape(s, out + n);
		if (!len)
			return false;
		n += len;
	}
	if (s->p == s->end)
		return false;
	s->p++;
	*ret = (struct str){out, n};
	return true;
}

static bool other(struct scan *s)
{
	static const char *const words[] = {"true", "false", "null"};

	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		struct str w = str_c(words[i]);

		if (str_starts((struct str){s->p, (size_t)(s->end - s->p)}, w)) {
			s->p += w.n;
			return true;
		}
	}
	return false;
}

static bool value(struct scan *s, struct flat_member *m)
{
	skip_space(s);
	if (s->p == s->end)
		return false;
	if (*s->p == '"') {
		m->kind = FLAT_STR;
		return string(s, &m->s);
	}
	if (*s->p == '-' || (*s->p >= '0' && *s->p <= '9')) {
		const char *from = s->p++;

		while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
			s->p++;
		m->kind = FLAT_INT;
		return str_to_i64((struct str){from, (size_t)(s->p - from)}, &m->i);
	}
	m->kind = FLAT_OTHER;
	return other(s);
}

static const struct flat_member *find(const struct flat *f, struct str key)
{
	for (size_t i = 0; i < f->n; i++) {
		if (str_eq(f->m[i].key, key))
			return &f->m[i];
	}
	return NULL;
}

bool flat_parse(struct arena *a, struct str in, struct flat *ret)
{
	struct scan s = {.p = in.p, .end = in.p + in.n, .a = a};

	ret->n = 0;
	if (!utf8_valid(in) || !take(&s, '{'))
		return false;
	if (!take(&s, '}')) {
		do {
			struct flat_member m = {0};

			if (ret->n == FLAT_MAX || !string(&s, &m.key) || find(ret, m.key) || !take(&s, ':') ||
			    !value(&s, &m))
				return false;
			ret->m[ret->n++] = m;
		} while (take(&s, ','));
		if (!take(&s, '}'))
			return false;
	}
	skip_space(&s);
	return s.p == s.end;
}

struct str flat_str(const struct flat *f, const char *key)
{
	const struct flat_member *m = find(f, str_c(key));

	return m && m->kind == FLAT_STR ? m->s : STR_NULL;
}

bool flat_int(const struct flat *f, const char *key, int64_t *ret)
{
	const struct flat_member *m = find(f, str_c(key));

	if (!m || m->kind != FLAT_INT)
		return false;
	*ret = m->i;
	return true;
}
