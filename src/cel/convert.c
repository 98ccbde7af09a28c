/* Conversions between types, and numbers as text.
 * Invariant: a double's text is what the reference implementation printed, because stored keys were made with it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "cel_int.h"

/* ---- text in the evaluation's arena ---- */

bool text_put(struct ev *e, struct text *t, const void *p, size_t n)
{
	if (n > t->cap - t->n) {
		size_t cap = MAX(MAX(t->cap * 2, (size_t)64), t->n + n);
		char *q = ev_alloc(e, cap);

		if (!q)
			return false;
		if (t->n)
			memcpy(q, t->p, t->n);
		t->p = q;
		t->cap = cap;
	}
	if (n)
		memcpy(t->p + t->n, p, n);
	t->n += n;
	return ev_step(e, n / 64);
}

struct cel_val text_val(const struct text *t, enum cel_kind kind)
{
	return (struct cel_val){.kind = (uint8_t)kind, .s = {t->p ? t->p : "", t->n}};
}

/* ---- code points ---- */

size_t utf8_len(struct str s)
{
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++)
		n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
	return n;
}

uint32_t utf8_get(const char *p, size_t *len)
{
	const unsigned char *c = (const unsigned char *)p;

	if (c[0] < 0x80) {
		*len = 1;
		return c[0];
	}
	if (c[0] < 0xe0) {
		*len = 2;
		return (c[0] & 0x1fu) << 6 | (c[1] & 0x3fu);
	}
	if (c[0] < 0xf0) {
		*len = 3;
		return (c[0] & 0xfu) << 12 | (c[1] & 0x3fu) << 6 | (c[2] & 0x3fu);
	}
	*len = 4;
	return (c[0] & 7u) << 18 | (c[1] & 0x3fu) << 12 | (c[2] & 0x3fu) << 6 | (c[3] & 0x3fu);
}

size_t utf8_put(char *p, uint32_t cp)
{
	if (cp < 0x80) {
		p[0] = (char)cp;
		return 1;
	}
	if (cp < 0x800) {
		p[0] = (char)(0xc0 | cp >> 6);
		p[1] = (char)(0x80 | (cp & 0x3f));
		return 2;
	}
	if (cp < 0x10000) {
		p[0] = (char)(0xe0 | cp >> 12);
		p[1] = (char)(0x80 | (cp >> 6 & 0x3f));
		p[2] = (char)(0x80 | (cp & 0x3f));
		return 3;
	}
	p[0] = (char)(0xf0 | cp >> 18);
	p[1] = (char)(0x80 | (cp >> 12 & 0x3f));
	p[2] = (char)(0x80 | (cp >> 6 & 0x3f));
	p[3] = (char)(0x80 | (cp & 0x3f));
	return 4;
}

/* ---- doubles as text ---- */

/* The fewest digits that read back as @d: "d.ddde-XX" cut of trailing zeros; digits in @digits, *exp of the first. */
static size_t shortest(double d, char digits[24], int *exp)
{
	bool tiny = d < 2.3e-308;	/* below this even one digit may do */
	char buf[40];
	size_t n = 0;

	if (d < 1e15 && d == (double)(uint64_t)d) {
		n = (size_t)snprintf(digits, 24, "%llu", (unsigned long long)d);
		*exp = (int)n - 1;
		while (n > 1 && digits[n - 1] == '0')
			n--;
		return n;
	}
	for (int prec = tiny ? 1 : 15; prec <= 17; prec++) {
		snprintf(buf, sizeof(buf), "%.*e", prec - 1, d);
		if (strtod(buf, NULL) == d)
			break;
	}
	for (const char *p = buf; *p && *p != 'e'; p++) {
		if (*p != '.')
			digits[n++] = *p;
	}
	*exp = (int)strtol(strchr(buf, 'e') + 1, NULL, 10);
	while (n > 1 && digits[n - 1] == '0')
		n--;
	return n;
}

static size_t put(char *out, size_t at, const char *p, size_t n)
{
	memcpy(out + at, p, n);
	return at + n;
}

static size_t zeros(char *out, size_t at, int n)
{
	for (; n > 0; n--)
		out[at++] = '0';
	return at;
}

/* what writing it costs: whole numbers are easy, the rest takes long arithmetic, the tiniest many attempts */
size_t double_cost(double d)
{
	double a = fabs(d);

	return isnan(d) || (a < 1e15 && a == (double)(uint64_t)a) ? 15 : a < 2.3e-308 ? 5000 : a < 1e-30 || a > 1e30 ? 4000 : 250;
}

size_t double_text(double d, bool plain, char out[DOUBLE_TEXT])
{
	char digits[24];
	size_t at = 0, n;
	int exp;

	if (isnan(d))
		return put(out, 0, "NaN", 3);
	if (isinf(d)) {
		const char *s = plain ? (d < 0 ? "-Infinity" : "Infinity") : (d < 0 ? "-Inf" : "+Inf");

		return put(out, 0, s, strlen(s));
	}
	if (signbit(d)) {
		out[at++] = '-';
		d = -d;
	}
	if (d == 0) {
		out[at++] = '0';
		return at;
	}
	n = shortest(d, digits, &exp);
	if (!plain && (exp < -4 || exp >= 6)) {
		out[at++] = digits[0];
		if (n > 1) {
			out[at++] = '.';
			at = put(out, at, digits + 1, n - 1);
		}
		return at + (size_t)snprintf(out + at, 8, "e%c%02d", exp < 0 ? '-' : '+', abs(exp));
	}
	if (exp < 0) {
		at = put(out, at, "0.", 2);
		at = zeros(out, at, -exp - 1);
		return put(out, at, digits, n);
	}
	if ((int)n <= exp + 1) {
		at = put(out, at, digits, n);
		return zeros(out, at, exp + 1 - (int)n);
	}
	at = put(out, at, digits, (size_t)exp + 1);
	out[at++] = '.';
	return put(out, at, digits + exp + 1, n - (size_t)exp - 1);
}

/* ---- text as numbers ---- */

static bool digits_at(struct str s, size_t *i, bool hex)
{
	size_t from = *i;

	while (*i < s.n && ((s.p[*i] >= '0' && s.p[*i] <= '9') || (hex && (s.p[*i] | 0x20) >= 'a' && (s.p[*i] | 0x20) <= 'f')))
		++*i;
	return *i > from;
}

/* [+-] digits [. digits] [e [+-] digits], or with 0x and p: what strtod() makes a number of, and nothing else of what it takes */
static bool double_syntax(struct str s)
{
	size_t i = s.n && (s.p[0] == '+' || s.p[0] == '-');
	bool hex = s.n - i > 2 && s.p[i] == '0' && (s.p[i + 1] | 0x20) == 'x', any;

	if (hex)
		i += 2;
	any = digits_at(s, &i, hex);
	if (i < s.n && s.p[i] == '.') {
		i++;
		any |= digits_at(s, &i, hex);
	}
	if (!any)
		return false;
	if (i < s.n && (s.p[i] | 0x20) == (hex ? 'p' : 'e')) {
		i++;
		i += i < s.n && (s.p[i] == '+' || s.p[i] == '-');
		return digits_at(s, &i, false) && i == s.n;
	}
	return i == s.n && !hex;
}

bool parse_double(struct str s, double *ret)
{
	struct str w = s;
	double sign = 1;
	char z[400];

	if (w.n && (w.p[0] == '+' || w.p[0] == '-')) {
		sign = w.p[0] == '-' ? -1 : 1;
		w.p++;
		w.n--;
	}
	if (str_ieq(w, STR("inf")) || str_ieq(w, STR("infinity"))) {
		*ret = sign * (double)INFINITY;
		return true;
	}
	if (str_ieq(s, STR("nan"))) {
		*ret = (double)NAN;
		return true;
	}
	if (s.n >= sizeof(z) || !double_syntax(s))
		return false;
	memcpy(z, s.p, s.n);
	z[s.n] = '\0';
	*ret = strtod(z, NULL);
	return !isinf(*ret);
}

static bool parse_u64(struct str s, uint64_t *ret)
{
	uint64_t v = 0;

	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9' || __builtin_mul_overflow(v, 10u, &v) ||
		    __builtin_add_overflow(v, (unsigned)(s.p[i] - '0'), &v))
			return false;
	}
	*ret = v;
	return s.n > 0;
}

static bool parse_i64(struct str s, int64_t *ret)
{
	bool minus = s.n && s.p[0] == '-';
	uint64_t v;

	if (s.n && (minus || s.p[0] == '+')) {
		s.p++;
		s.n--;
	}
	if (!parse_u64(s, &v) || v > (uint64_t)INT64_MAX + minus)
		return false;
	*ret = (int64_t)(minus ? -v : v);
	return true;
}

/* ---- conversions ---- */

static bool cannot(struct ev *e, const char *what, const struct cel_val *x)
{
	return ev_fail(e, CEL_E_RANGE, what, *x);
}

static bool to_int(struct ev *e, const struct cel_val *x, struct cel_val *ret)
{
	int64_t i = 0;

	switch (x->kind) {
	case CEL_UINT:
		if (x->u > INT64_MAX)
			return cannot(e, "integer overflow: %s", x);
		i = (int64_t)x->u;
		break;
	case CEL_DOUBLE:
		/* both ends are open */
		if (!(x->d > -9223372036854775808.0 && x->d < 9223372036854775808.0))
			return cannot(e, "integer overflow: %s", x);
		i = (int64_t)x->d;
		break;
	case CEL_STRING:
		if (!parse_i64(x->s, &i))
			return cannot(e, "'%s' is not an int", x);
		break;
	case CEL_TIMESTAMP:
		i = x->i;
		break;
	case CEL_DURATION:
		i = x->i / 1000000000;
		break;
	default:
		return ev_no_overload(e);
	}
	*ret = val_int(i);
	return true;
}

static bool to_uint(struct ev *e, const struct cel_val *x, struct cel_val *ret)
{
	uint64_t u = 0;

	switch (x->kind) {
	case CEL_INT:
		if (x->i < 0)
			return cannot(e, "unsigned integer overflow: %s", x);
		u = (uint64_t)x->i;
		break;
	case CEL_DOUBLE:
		if (!(x->d >= 0 && x->d < 18446744073709551616.0))
			return cannot(e, "unsigned integer overflow: %s", x);
		u = (uint64_t)x->d;
		break;
	case CEL_STRING:
		if (!parse_u64(x->s, &u))
			return cannot(e, "'%s' is not a uint", x);
		break;
	default:
		return ev_no_overload(e);
	}
	*ret = val_uint(u);
	return true;
}

static bool to_double(struct ev *e, const struct cel_val *x, struct cel_val *ret)
{
	double d = 0;

	if (x->kind == CEL_INT)
		d = (double)x->i;
	else if (x->kind == CEL_UINT)
		d = (double)x->u;
	else if (x->kind != CEL_STRING)
		return ev_no_overload(e);
	else if (!ev_step(e, 250 + x->s.n))
		return false;
	else if (!parse_double(x->s, &d))
		return cannot(e, "'%s' is not a double", x);
	*ret = val_double(d);
	return true;
}

static bool to_string(struct ev *e, const struct cel_val *x, struct cel_val *ret)
{
	char buf[DOUBLE_TEXT];
	struct text t = {0};
	size_t n = 0;

	if (!ev_step(e, x->kind == CEL_DOUBLE ? double_cost(x->d) : x->kind == CEL_DURATION ? 250 : x->kind == CEL_TIMESTAMP ? 80 : 25))
		return false;
	switch (x->kind) {
	case CEL_BOOL:
		*ret = cel_string(x->b ? STR("true") : STR("false"));
		return true;
	case CEL_BYTES:
		if (!ev_step(e, x->s.n / 16))
			return false;
		if (!utf8_valid(x->s))
			return ev_fail(e, CEL_E_RANGE, "the bytes are not valid UTF-8", NO_VAL);
		*ret = cel_string(x->s);
		return true;
	case CEL_INT:
		n = (size_t)snprintf(buf, sizeof(buf), "%lld", (long long)x->i);
		break;
	case CEL_UINT:
		n = (size_t)snprintf(buf, sizeof(buf), "%llu", (unsigned long long)x->u);
		break;
	case CEL_DOUBLE:
		n = double_text(x->d, false, buf);
		break;
	case CEL_TIMESTAMP:
		n = time_text(x, buf);
		break;
	case CEL_DURATION:
		n = dur_text(x->i, buf);
		break;
	default:
		return ev_no_overload(e);
	}
	if (!text_put(e, &t, buf, n))
		return false;
	*ret = text_val(&t, CEL_STRING);
	return true;
}

static bool to_bool(struct ev *e, const struct cel_val *x, struct cel_val *ret)
{
	static const char *const yes[] = {"1", "t", "T", "true", "TRUE", "True"}, *const no[] = {"0", "f", "F", "false", "FALSE", "False"};

	if (x->kind != CEL_STRING)
		return ev_no_overload(e);
	for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
		if (str_eq(x->s, str_c(yes[i])) || str_eq(x->s, str_c(no[i]))) {
			*ret = val_bool(str_eq(x->s, str_c(yes[i])));
			return true;
		}
	}
	return cannot(e, "'%s' is not a bool", x);
}

static bool to_timestamp(struct ev *e, const struct cel_val *x, struct cel_val *ret)
{
	*ret = (struct cel_val){.kind = CEL_TIMESTAMP};
	if (x->kind == CEL_INT)
		ret->i = x->i;
	else if (x->kind != CEL_STRING)
		return ev_no_overload(e);
	else if (!ev_step(e, 8) || !time_parse(x->s, &ret->i, &ret->nanos))
		return e->fatal ? false : cannot(e, "'%s' is not a timestamp like 2026-01-31T10:00:00Z", x);
	return time_in_range(ret->i) ? true : cannot(e, "the timestamp is out of range: %s", x);
}

static bool to_duration(struct ev *e, const struct cel_val *x, struct cel_val *ret)
{
	*ret = (struct cel_val){.kind = CEL_DURATION};
	if (x->kind != CEL_STRING)
		return ev_no_overload(e);
	if (!ev_step(e, 10 + x->s.n / 2))
		return false;
	return dur_parse(x->s, &ret->i) ? true : cannot(e, "'%s' is not a duration like 1h30m or 1.5s, or it is too long", x);
}

bool fn_convert(struct ev *e, enum cel_fn fn, const struct cel_val *x, struct cel_val *ret)
{
	static const uint8_t same[] = {
		[F_TO_INT - F_TO_INT] = CEL_INT,     [F_TO_UINT - F_TO_INT] = CEL_UINT,	  [F_TO_DOUBLE - F_TO_INT] = CEL_DOUBLE,
		[F_TO_STRING - F_TO_INT] = CEL_STRING, [F_TO_BYTES - F_TO_INT] = CEL_BYTES, [F_TO_BOOL - F_TO_INT] = CEL_BOOL,
		[F_TO_TIMESTAMP - F_TO_INT] = CEL_TIMESTAMP, [F_TO_DURATION - F_TO_INT] = CEL_DURATION,
	};

	if (fn == F_TYPE_OF) {
		*ret = (struct cel_val){.kind = CEL_TYPE, .type = x->kind == CEL_TYPE ? CEL_UNBOUND : (enum cel_kind)x->kind};
		return true;
	}
	if (fn == F_TO_DYN || same[fn - F_TO_INT] == x->kind) {
		*ret = *x;
		return true;
	}
	switch ((unsigned)fn) {
	case F_TO_INT:
		return to_int(e, x, ret);
	case F_TO_UINT:
		return to_uint(e, x, ret);
	case F_TO_DOUBLE:
		return to_double(e, x, ret);
	case F_TO_STRING:
		return to_string(e, x, ret);
	case F_TO_BYTES:
		*ret = (struct cel_val){.kind = CEL_BYTES, .s = x->s};
		return x->kind == CEL_STRING ? true : ev_no_overload(e);
	case F_TO_BOOL:
		return to_bool(e, x, ret);
	case F_TO_TIMESTAMP:
		return to_timestamp(e, x, ret);
	default:
		return to_duration(e, x, ret);
	}
}
