/* Functions on strings.  Positions count code points; the text is valid UTF-8, so a search for bytes finds characters.
 * Invariant: work is charged by the bytes it touches before it is done. */
#include "cel_int.h"

#include "crypto/hash.h"

static bool is(const struct cel_val *v, enum cel_kind k)
{
	return v->kind == k;
}

static bool out_of_range(struct ev *e, int64_t i)
{
	return ev_fail(e, CEL_E_RANGE, "index out of range: %s", val_int(i));
}

/* where the code point number @i begins; s.n when there are only so many, SIZE_MAX beyond that */
static size_t nth(struct str s, int64_t i)
{
	size_t at = 0;

	for (; i > 0; i--) {
		if (at == s.n)
			return SIZE_MAX;
		for (at++; at < s.n && ((unsigned char)s.p[at] & 0xc0) == 0x80; at++)
			;
	}
	return at;
}

static size_t find(struct str s, struct str sub, size_t from)
{
	const char *p;

	if (sub.n == 0)
		return from;
	p = memmem(s.p + from, s.n - from, sub.p, sub.n);
	return p ? (size_t)(p - s.p) : SIZE_MAX;
}

static bool piece(struct cel_val *ret, const char *p, size_t n)
{
	*ret = cel_string((struct str){p, n});
	return true;
}

static bool tests(struct ev *e, enum cel_fn fn, struct str s, struct str x, struct cel_val *ret)
{
	if (fn == F_STARTS_WITH)
		*ret = val_bool(str_starts(s, x));
	else if (fn == F_ENDS_WITH)
		*ret = val_bool(x.n <= s.n && str_eq((struct str){s.p + s.n - x.n, x.n}, x));
	else
		*ret = val_bool(x.n == 0 || (x.n <= s.n && find(s, x, 0) != SIZE_MAX));
	return true;
}

static bool char_at(struct ev *e, struct str s, int64_t i, struct cel_val *ret)
{
	size_t at = i < 0 ? SIZE_MAX : nth(s, i), len = 0;

	if (at == SIZE_MAX)
		return out_of_range(e, i);
	if (at < s.n)
		utf8_get(s.p + at, &len);
	return piece(ret, s.p + at, len);
}

static bool substring(struct ev *e, struct str s, int64_t from, const struct cel_val *end, struct cel_val *ret)
{
	size_t a = from < 0 ? SIZE_MAX : nth(s, from), b = s.n;

	if (a == SIZE_MAX)
		return out_of_range(e, from);
	if (end) {
		b = end->i < 0 ? SIZE_MAX : nth(s, end->i);
		if (b == SIZE_MAX)
			return out_of_range(e, end->i);
		if (b < a)
			return ev_fail(e, CEL_E_RANGE, "the end lies before the start", NO_VAL);
	}
	return piece(ret, s.p + a, b - a);
}

static bool index_of(struct ev *e, struct str s, struct str x, const struct cel_val *from, struct cel_val *ret)
{
	int64_t start = from ? from->i : 0;
	size_t at;

	*ret = val_int(start);
	if (x.n == 0)
		return true;
	if (start < 0)
		return out_of_range(e, start);
	at = nth(s, start);
	if (at != SIZE_MAX)
		at = find(s, x, at);
	*ret = val_int(at == SIZE_MAX ? -1 : (int64_t)utf8_len((struct str){s.p, at}));
	return true;
}

static bool last_index_of(struct ev *e, struct str s, struct str x, const struct cel_val *from, struct cel_val *ret)
{
	int64_t start = from ? from->i : (int64_t)utf8_len(s);
	size_t at;

	*ret = val_int(start);
	if (x.n == 0)
		return true;
	if (start < 0)
		return out_of_range(e, start);
	*ret = val_int(-1);
	at = nth(s, start);
	/* past the end, when that was asked for */
	if (x.n > s.n || (from && (at == SIZE_MAX || at == s.n)))
		return true;
	/* every step back is a comparison that may go far before it fails */
	for (at = MIN(at, s.n - x.n);; at--) {
		if (s.p[at] == x.p[0] && (!ev_step(e, 1 + x.n / 64) || memcmp(s.p + at, x.p, x.n) == 0))
			break;
		if (at == 0)
			return true;
	}
	if (e->fatal)
		return false;
	*ret = val_int((int64_t)utf8_len((struct str){s.p, at}));
	return true;
}

static bool ascii_case(struct ev *e, struct str s, bool upper, struct cel_val *ret)
{
	char *p = ev_alloc(e, s.n + 1);

	if (!p)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (upper ? c >= 'a' && c <= 'z' : c >= 'A' && c <= 'Z')
			c ^= 0x20;
		p[i] = c;
	}
	return piece(ret, p, s.n);
}

static bool space(uint32_t c)
{
	return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
	       c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

static bool trim(struct str s, struct cel_val *ret)
{
	size_t len, at;

	while (s.n && space(utf8_get(s.p, &len))) {
		s.p += len;
		s.n -= len;
	}
	while (s.n) {
		for (at = s.n - 1; ((unsigned char)s.p[at] & 0xc0) == 0x80; at--)
			;
		if (!space(utf8_get(s.p + at, &len)))
			break;
		s.n = at;
	}
	return piece(ret, s.p, s.n);
}

static bool reverse(struct ev *e, struct str s, struct cel_val *ret)
{
	char *p = ev_alloc(e, s.n + 1);
	size_t len;

	if (!p)
		return false;
	for (size_t i = 0; i < s.n; i += len) {
		utf8_get(s.p + i, &len);
		memcpy(p + s.n - i - len, s.p + i, len);
	}
	return piece(ret, p, s.n);
}

static bool replace(struct ev *e, struct str s, struct str old, struct str new, int64_t limit, struct cel_val *ret)
{
	struct text t = {0};
	size_t at = 0, hit, len;

	for (; limit != 0; limit -= limit > 0) {
		if (old.n == 0) {	/* before each character and at the end */
			if (!text_str(e, &t, new) || !ev_step(e, 3))
				return false;
			if (at == s.n)
				break;
			utf8_get(s.p + at, &len);
			if (!text_put(e, &t, s.p + at, len))
				return false;
			at += len;
			continue;
		}
		hit = find(s, old, at);
		if (hit == SIZE_MAX)
			break;
		if (!ev_step(e, 4) || !text_put(e, &t, s.p + at, hit - at) || !text_str(e, &t, new))
			return false;
		at = hit + old.n;
	}
	if (!text_put(e, &t, s.p + at, s.n - at))
		return false;
	*ret = text_val(&t, CEL_STRING);
	return true;
}

static bool split(struct ev *e, struct str s, struct str sep, int64_t limit, struct cel_val *ret)
{
	size_t at = 0, hit, n = 0, cap = 0, len;
	struct cel_val *v = NULL, x;

	if (limit == 0)
		return list_done(e, v, 0, ret);
	while ((limit < 0 || (int64_t)n < limit - 1) && (sep.n || at < s.n)) {
		if (sep.n == 0) {
			utf8_get(s.p + at, &len);
			hit = at + len;
			if (hit == s.n)
				break;
		} else {
			hit = find(s, sep, at);
		}
		if (hit == SIZE_MAX)
			break;
		piece(&x, s.p + at, hit - at);
		if (!list_add(e, &v, &n, &cap, &x) || !ev_step(e, 4))
			return false;
		at = hit + sep.n;
	}
	piece(&x, s.p + at, s.n - at);
	/* nothing splits into no characters */
	if ((sep.n || s.n) && !list_add(e, &v, &n, &cap, &x))
		return false;
	return list_done(e, v, n, ret);
}

static bool join(struct ev *e, const struct cel_val *list, struct str sep, struct cel_val *ret)
{
	struct text t = {0};

	for (size_t i = 0, n = cel_len(list); i < n; i++) {
		struct cel_val x = cel_at(list, i);

		if (!is(&x, CEL_STRING))
			return ev_fail(e, CEL_E_NO_OVERLOAD, "join() takes a list of strings", NO_VAL);
		if (!ev_step(e, 4) || (i && !text_str(e, &t, sep)) || !text_str(e, &t, x.s))
			return false;
	}
	*ret = text_val(&t, CEL_STRING);
	return true;
}

static bool quote(struct ev *e, struct str s, struct cel_val *ret)
{
	static const char from[] = "\a\b\f\n\r\t\v\\\"", to[] = "abfnrtv\\\"";
	char *p = ev_alloc(e, 2 * s.n + 2);
	size_t n = 0;

	if (!p)
		return false;
	p[n++] = '"';
	for (size_t i = 0; i < s.n; i++) {
		const char *f = s.p[i] ? strchr(from, s.p[i]) : NULL;

		if (f)
			p[n++] = '\\';
		p[n++] = f ? to[f - from] : s.p[i];
	}
	p[n++] = '"';
	return piece(ret, p, n);
}

static bool checksum(struct ev *e, struct str s, struct cel_val *ret)
{
	static const char hex[] = "0123456789abcdef";
	uint8_t sum[SHA256_BYTES];
	char *p = ev_step(e, 50 + s.n / 4) ? ev_alloc(e, 2 * SHA256_BYTES) : NULL;

	if (!p)
		return false;
	sha256(s, sum);
	for (size_t i = 0; i < SHA256_BYTES; i++) {
		p[2 * i] = hex[sum[i] >> 4];
		p[2 * i + 1] = hex[sum[i] & 15];
	}
	return piece(ret, p, 2 * SHA256_BYTES);
}

/* the kinds a function takes after the first */
static bool fits(enum cel_fn fn, const struct cel_val *a, uint32_t n)
{
	const char *want = fn == F_CHAR_AT || fn == F_SUBSTRING ? "ii" : fn == F_REPLACE ? "ssi" : fn == F_JOIN ? "s" : "si";

	if (!is(&a[0], fn == F_JOIN ? CEL_LIST : CEL_STRING))
		return false;
	for (uint32_t i = 1; i < n; i++) {
		if (!is(&a[i], want[i - 1] == 'i' ? CEL_INT : CEL_STRING))
			return false;
	}
	return true;
}

bool fn_string(struct ev *e, enum cel_fn fn, const struct cel_val *a, uint32_t n, struct cel_val *ret)
{
	struct str s = a[0].s, x = n > 1 && is(&a[1], CEL_STRING) ? a[1].s : STR("");

	if (!fits(fn, a, n))
		return ev_no_overload(e);
	if (!ev_step(e, 8 + (is(&a[0], CEL_STRING) ? (s.n + x.n) / 8 : 0)))
		return false;
	switch ((unsigned)fn) {
	case F_CONTAINS:
	case F_STARTS_WITH:
	case F_ENDS_WITH:
		return tests(e, fn, s, x, ret);
	case F_CHAR_AT:
		return char_at(e, s, a[1].i, ret);
	case F_SUBSTRING:
		return substring(e, s, a[1].i, n > 2 ? &a[2] : NULL, ret);
	case F_INDEX_OF:
		return index_of(e, s, x, n > 2 ? &a[2] : NULL, ret);
	case F_LAST_INDEX_OF:
		return last_index_of(e, s, x, n > 2 ? &a[2] : NULL, ret);
	case F_LOWER:
	case F_UPPER:
		return ascii_case(e, s, fn == F_UPPER, ret);
	case F_TRIM:
		return trim(s, ret);
	case F_REVERSE:
		return reverse(e, s, ret);
	case F_REPLACE:
		return replace(e, s, x, a[2].s, n > 3 ? a[3].i : -1, ret);
	case F_SPLIT:
		return split(e, s, x, n > 2 ? a[2].i : -1, ret);
	case F_JOIN:
		return join(e, &a[0], x, ret);
	case F_QUOTE:
		return quote(e, s, ret);
	case F_CHECKSUM:
		return checksum(e, s, ret);
	default:
		return ev_no_overload(e);
	}
}
