/* "%s is %d".format([...]): the clauses, once over literal arguments when compiling and over values when evaluating. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "cel_int.h"

#define PRECISION_MAX 100
#define FORMAT_DEPTH 64

struct clause {
	char verb;
	int precision;
	size_t len;	/* after the % */
};

/* NULL: fine */
static const char *parse_clause(const char *p, size_t n, struct clause *c)
{
	size_t i = 0;
	int prec = 0;

	*c = (struct clause){.precision = 6};
	if (n == 0)
		return "the format ends after '%'";
	if (p[0] == '.') {
		for (i = 1; i < n && p[i] >= '0' && p[i] <= '9'; i++)
			prec = MIN(prec * 10 + (p[i] - '0'), PRECISION_MAX + 1);
		if (i == 1)
			return "a precision in the format has no digits";
		if (prec > PRECISION_MAX)
			return "a precision in the format is more than 100";
		c->precision = prec;
	}
	if (i == n || !strchr("sdfebxXo", p[i]) || !p[i])
		return "unknown clause in the format: there are s, d, f, e, b, x, X and o";
	c->verb = p[i];
	c->len = i + 1;
	return NULL;
}

static const char *wrong_type(char verb)
{
	switch (verb) {
	case 'd':
		return "%d formats ints, uints and doubles";
	case 'f':
	case 'e':
		return "%f and %e format numbers";
	case 'b':
		return "%b formats ints, uints and bools";
	case 'o':
		return "%o formats ints and uints";
	default:
		return "%x formats ints, uints, strings and bytes";
	}
}

static unsigned takes(char verb)
{
	switch (verb) {
	case 'd':
	case 'f':
	case 'e':
		return CEL_K(INT) | CEL_K(UINT) | CEL_K(DOUBLE);
	case 'b':
		return CEL_K(INT) | CEL_K(UINT) | CEL_K(BOOL);
	case 'o':
		return CEL_K(INT) | CEL_K(UINT);
	case 's':
		return ~0u;
	default:
		return CEL_K(INT) | CEL_K(UINT) | CEL_K(STRING) | CEL_K(BYTES);
	}
}

const char *format_check(struct comp *c, struct types *t, struct str fmt, const struct node *list)
{
	static const unsigned kinds[] = {
		[TY_NULL] = CEL_K(NULL),     [TY_BOOL] = CEL_K(BOOL),	  [TY_INT] = CEL_K(INT),	[TY_UINT] = CEL_K(UINT),
		[TY_DOUBLE] = CEL_K(DOUBLE), [TY_STRING] = CEL_K(STRING), [TY_BYTES] = CEL_K(BYTES),	[TY_TIMESTAMP] = CEL_K(TIMESTAMP),
		[TY_LIST] = CEL_K(LIST),     [TY_MAP] = CEL_K(MAP),	  [TY_DURATION] = CEL_K(DURATION), [TY_TYPE] = CEL_K(TYPE),
		[TY_VAR] = ~0u,		     [TY_DYN] = ~0u,
	};
	struct clause cl;
	const char *why;
	uint32_t used = 0;

	for (size_t i = 0; i < fmt.n; i++) {
		if (fmt.p[i] != '%')
			continue;
		if (i + 1 < fmt.n && fmt.p[i + 1] == '%') {
			i++;
			continue;
		}
		why = parse_clause(fmt.p + i + 1, fmt.n - i - 1, &cl);
		if (why)
			return why;
		if (used == list->n)
			return "the format has more clauses than there are arguments";
		if (!(kinds[ty_head(t, list->args[used]->type)->kind] & takes(cl.verb)))
			return wrong_type(cl.verb);
		used++;
		i += cl.len;
	}
	return used < list->n ? "the format has fewer clauses than there are arguments" : NULL;
}

/* ---- values as text ---- */

static bool show(struct ev *e, struct text *t, const struct cel_val *v, unsigned depth);

static bool show_list(struct ev *e, struct text *t, const struct cel_val *v, unsigned depth)
{
	if (!text_put(e, t, "[", 1))
		return false;
	for (size_t i = 0, n = cel_len(v); i < n; i++) {
		struct cel_val x = cel_at(v, i);

		if ((i && !text_put(e, t, ", ", 2)) || !show(e, t, &x, depth + 1))
			return false;
	}
	return text_put(e, t, "]", 1);
}

struct entry {
	struct str key;
	struct cel_val val;
	size_t i;
};

static int by_key(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int c = MIN(x->key.n, y->key.n) ? memcmp(x->key.p, y->key.p, MIN(x->key.n, y->key.n)) : 0;

	if (c == 0)
		c = x->key.n != y->key.n ? (x->key.n < y->key.n ? -1 : 1) : x->i < y->i ? -1 : 1;
	return c;
}

/* in the order of the keys' texts */
static bool show_map(struct ev *e, struct text *t, const struct cel_val *v, unsigned depth)
{
	size_t n = cel_len(v), i = 0;
	struct entry *list = ev_step(e, 20 * n) ? ev_alloc(e, n * sizeof(*list) + 1) : NULL;
	struct cel_val key;
	void *it = NULL;

	if (!list)
		return false;
	for (; i < n && cel_next(v, &it, &key, &list[i].val); i++) {
		struct text k = {0};

		list[i].i = i;
		list[i].key = key.s;
		if (key.kind != CEL_STRING) {
			if (!show(e, &k, &key, depth + 1))
				return false;
			list[i].key = (struct str){k.p, k.n};
		}
	}
	cel_sort(list, i, sizeof(*list), by_key);
	if (!text_put(e, t, "{", 1))
		return false;
	for (size_t j = 0; j < i; j++) {
		if ((j && !text_put(e, t, ", ", 2)) || !text_str(e, t, list[j].key) || !text_put(e, t, ": ", 2) ||
		    !show(e, t, &list[j].val, depth + 1))
			return false;
	}
	return text_put(e, t, "}", 1);
}

static bool show(struct ev *e, struct text *t, const struct cel_val *v, unsigned depth)
{
	char buf[DOUBLE_TEXT];
	struct cel_val s;

	if (depth > FORMAT_DEPTH) {
		e->fatal = true;
		return ev_fail(e, CEL_E_DEPTH, "values nested too deep to format", NO_VAL);
	}
	if (!ev_step(e, 4))
		return false;
	switch (v->kind) {
	case CEL_STRING:
		return text_str(e, t, v->s);
	case CEL_NULL:
		return text_put(e, t, "null", 4);
	case CEL_DOUBLE:
		return ev_step(e, double_cost(v->d)) && text_put(e, t, buf, double_text(v->d, true, buf));
	case CEL_TYPE:
		return text_str(e, t, str_c(cel_kind_name(v->type ? v->type : CEL_TYPE)));
	case CEL_LIST:
		return show_list(e, t, v, depth);
	case CEL_MAP:
		return show_map(e, t, v, depth);
	default:
		return fn_convert(e, F_TO_STRING, v, &s) && text_str(e, t, s.s);
	}
}

static bool put_radix(struct ev *e, struct text *t, const struct cel_val *v, char verb)
{
	unsigned shift = verb == 'b' ? 1 : verb == 'o' ? 3 : 4;
	const char *digits = verb == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
	bool minus = v->kind == CEL_INT && v->i < 0;
	uint64_t u = v->kind == CEL_BOOL ? v->b : minus ? -v->u : v->u;
	char buf[66];
	size_t at = sizeof(buf);

	do {
		buf[--at] = digits[u & ((1u << shift) - 1)];
		u >>= shift;
	} while (u);
	if (minus)
		buf[--at] = '-';
	return text_put(e, t, buf + at, sizeof(buf) - at);
}

static bool put_hex(struct ev *e, struct text *t, struct str s, bool upper)
{
	const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";

	if (!ev_step(e, s.n))
		return false;
	for (size_t i = 0; i < s.n; i++) {
		char two[2] = {digits[(unsigned char)s.p[i] >> 4], digits[s.p[i] & 15]};

		if (!text_put(e, t, two, 2))
			return false;
	}
	return true;
}

static bool put_real(struct ev *e, struct text *t, const struct cel_val *v, const struct clause *c)
{
	double d = v->kind == CEL_INT ? (double)v->i : v->kind == CEL_UINT ? (double)v->u : v->d;
	char buf[DOUBLE_TEXT + PRECISION_MAX];
	int n;

	/* every digit before the point is written out */
	if (!ev_step(e, 300 + double_cost(d)))
		return false;
	if (!isfinite(d))
		return text_put(e, t, buf, double_text(d, true, buf));
	n = snprintf(buf, sizeof(buf), c->verb == 'f' ? "%.*f" : "%.*e", c->precision, d);
	return text_put(e, t, buf, (size_t)n);
}

static bool put_clause(struct ev *e, struct text *t, const struct clause *c, const struct cel_val *v)
{
	if (!(takes(c->verb) & 1u << v->kind))
		return ev_fail(e, CEL_E_NO_OVERLOAD, wrong_type(c->verb), NO_VAL);
	switch (c->verb) {
	case 'f':
	case 'e':
		return put_real(e, t, v, c);
	case 'b':
	case 'o':
	case 'x':
	case 'X':
		if (v->kind == CEL_STRING || v->kind == CEL_BYTES)
			return put_hex(e, t, v->s, c->verb == 'X');
		return put_radix(e, t, v, c->verb);
	default:
		return show(e, t, v, 0);
	}
}

bool fn_format(struct ev *e, const struct cel_val *fmt, const struct cel_val *list, struct cel_val *ret)
{
	struct text t = {0};
	size_t used = 0, from = 0;

	if (fmt->kind != CEL_STRING || list->kind != CEL_LIST)
		return ev_no_overload(e);
	if (!ev_step(e, fmt->s.n / 16))
		return false;
	for (size_t i = 0; i < fmt->s.n; i++) {
		struct clause c;
		struct cel_val v;
		const char *why;

		if (fmt->s.p[i] != '%')
			continue;
		if (!text_put(e, &t, fmt->s.p + from, i - from) || !ev_step(e, 2))
			return false;
		if (i + 1 < fmt->s.n && fmt->s.p[i + 1] == '%') {
			from = ++i;	/* the second one is text */
			continue;
		}
		why = parse_clause(fmt->s.p + i + 1, fmt->s.n - i - 1, &c);
		if (why)
			return ev_fail(e, CEL_E_RANGE, why, NO_VAL);
		if (used == cel_len(list))
			return ev_fail(e, CEL_E_RANGE, "the format has more clauses than there are arguments", NO_VAL);
		v = cel_at(list, used++);
		if (!put_clause(e, &t, &c, &v))
			return false;
		i += c.len;
		from = i + 1;
	}
	if (!text_put(e, &t, fmt->s.p + from, fmt->s.n - from))
		return false;
	*ret = text_val(&t, CEL_STRING);
	return true;
}
