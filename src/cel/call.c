/* Operators and the dispatch of functions by the kinds of their arguments.
 * Invariant: integers never wrap; a combination without an overload is an error, so nothing is converted silently. */
#include "cel_int.h"

#include <math.h>

#define NANOS 1000000000LL

static bool overflow(struct ev *e, const char *what)
{
	return ev_fail(e, CEL_E_OVERFLOW, what, NO_VAL);
}

static bool int_math(struct ev *e, enum cel_fn fn, int64_t a, int64_t b, struct cel_val *ret)
{
	int64_t r = 0;
	bool over = false;

	switch ((unsigned)fn) {
	case F_ADD:
		over = __builtin_add_overflow(a, b, &r);
		break;
	case F_SUB:
		over = __builtin_sub_overflow(a, b, &r);
		break;
	case F_MUL:
		over = __builtin_mul_overflow(a, b, &r);
		break;
	default:
		if (b == 0)
			return ev_fail(e, CEL_E_DIV0, fn == F_DIV ? "division by zero" : "modulus by zero", NO_VAL);
		over = a == INT64_MIN && b == -1;
		if (!over)
			r = fn == F_DIV ? a / b : a % b;
	}
	*ret = val_int(r);
	return over ? overflow(e, "integer overflow") : true;
}

static bool uint_math(struct ev *e, enum cel_fn fn, uint64_t a, uint64_t b, struct cel_val *ret)
{
	uint64_t r = 0;
	bool over = false;

	switch ((unsigned)fn) {
	case F_ADD:
		over = __builtin_add_overflow(a, b, &r);
		break;
	case F_SUB:
		over = __builtin_sub_overflow(a, b, &r);
		break;
	case F_MUL:
		over = __builtin_mul_overflow(a, b, &r);
		break;
	default:
		if (b == 0)
			return ev_fail(e, CEL_E_DIV0, fn == F_DIV ? "division by zero" : "modulus by zero", NO_VAL);
		r = fn == F_DIV ? a / b : a % b;
	}
	*ret = val_uint(r);
	return over ? overflow(e, "unsigned integer overflow") : true;
}

static bool double_math(struct ev *e, enum cel_fn fn, double a, double b, struct cel_val *ret)
{
	switch ((unsigned)fn) {
	case F_ADD:
		*ret = val_double(a + b);
		return true;
	case F_SUB:
		*ret = val_double(a - b);
		return true;
	case F_MUL:
		*ret = val_double(a * b);
		return true;
	case F_DIV:
		*ret = val_double(a / b);
		return true;
	default:
		return ev_no_overload(e);
	}
}

static bool shifted(struct ev *e, const struct cel_val *ts, int64_t ns, bool minus, struct cel_val *ret)
{
	int64_t sec = ns / NANOS, rest = ns % NANOS;

	if (rest < 0) {
		rest += NANOS;
		sec--;
	}
	/* seconds of a duration are few enough for this not to overflow */
	int64_t s = minus ? ts->i - sec : ts->i + sec, n = minus ? (int64_t)ts->nanos - rest : (int64_t)ts->nanos + rest;
	if (n < 0) {
		n += NANOS;
		s--;
	} else if (n >= NANOS) {
		n -= NANOS;
		s++;
	}
	if (!time_in_range(s))
		return ev_fail(e, CEL_E_RANGE, "the timestamp is out of range", NO_VAL);
	*ret = (struct cel_val){.kind = CEL_TIMESTAMP, .i = s, .nanos = (uint32_t)n};
	return true;
}

static bool between(struct ev *e, const struct cel_val *a, const struct cel_val *b, struct cel_val *ret)
{
	__int128 d = (__int128)(a->i - b->i) * NANOS + (int64_t)a->nanos - (int64_t)b->nanos;

	if (d > INT64_MAX || d < INT64_MIN)
		return ev_fail(e, CEL_E_RANGE, "the duration is out of range", NO_VAL);
	*ret = (struct cel_val){.kind = CEL_DURATION, .i = (int64_t)d};
	return true;
}

static bool time_math(struct ev *e, enum cel_fn fn, const struct cel_val *a, const struct cel_val *b, struct cel_val *ret)
{
	bool minus = fn == F_SUB;
	int64_t r;

	if (!minus && fn != F_ADD)
		return ev_no_overload(e);
	if (a->kind == CEL_TIMESTAMP && b->kind == CEL_DURATION)
		return shifted(e, a, b->i, minus, ret);
	if (a->kind == CEL_DURATION && b->kind == CEL_TIMESTAMP && !minus)
		return shifted(e, b, a->i, false, ret);
	if (a->kind == CEL_TIMESTAMP && b->kind == CEL_TIMESTAMP && minus)
		return between(e, a, b, ret);
	if (a->kind != CEL_DURATION || b->kind != CEL_DURATION)
		return ev_no_overload(e);
	if (minus ? __builtin_sub_overflow(a->i, b->i, &r) : __builtin_add_overflow(a->i, b->i, &r))
		return ev_fail(e, CEL_E_RANGE, "the duration is out of range", NO_VAL);
	*ret = (struct cel_val){.kind = CEL_DURATION, .i = r};
	return true;
}

static bool concat(struct ev *e, const struct cel_val *a, const struct cel_val *b, struct cel_val *ret)
{
	if (a->kind == CEL_LIST) {
		size_t n = cel_len(a), m = cel_len(b);
		struct cel_val *v;

		if (!ev_step(e, n + m) || !(v = ev_alloc(e, (n + m) * sizeof(*v))))
			return false;
		for (size_t i = 0; i < n; i++)
			v[i] = cel_at(a, i);
		for (size_t i = 0; i < m; i++)
			v[n + i] = cel_at(b, i);
		return list_done(e, v, n + m, ret);
	}
	if (!a->s.n || !b->s.n) {
		*ret = a->s.n ? *a : *b;
		return true;
	}
	char *p = ev_step(e, (a->s.n + b->s.n) / 64) ? ev_alloc(e, a->s.n + b->s.n) : NULL;
	if (!p)
		return false;
	memcpy(p, a->s.p, a->s.n);
	memcpy(p + a->s.n, b->s.p, b->s.n);
	*ret = (struct cel_val){.kind = a->kind, .s = {p, a->s.n + b->s.n}};
	return true;
}

static bool arith(struct ev *e, enum cel_fn fn, const struct cel_val *a, const struct cel_val *b, struct cel_val *ret)
{
	if (a->kind == CEL_TIMESTAMP || a->kind == CEL_DURATION)
		return time_math(e, fn, a, b, ret);
	if (a->kind != b->kind)
		return ev_no_overload(e);
	switch (a->kind) {
	case CEL_INT:
		return int_math(e, fn, a->i, b->i, ret);
	case CEL_UINT:
		return uint_math(e, fn, a->u, b->u, ret);
	case CEL_DOUBLE:
		return double_math(e, fn, a->d, b->d, ret);
	case CEL_STRING:
	case CEL_BYTES:
	case CEL_LIST:
		return fn == F_ADD ? concat(e, a, b, ret) : ev_no_overload(e);
	default:
		return ev_no_overload(e);
	}
}

static bool compare(struct ev *e, enum cel_fn fn, const struct cel_val *a, const struct cel_val *b, struct cel_val *ret)
{
	enum order o = val_compare(e, a, b);

	if (o == NOT_COMPARABLE)
		return ev_no_overload(e);
	if (e->fatal)
		return false;
	*ret = val_bool(fn == F_LT ? o == LESS : fn == F_LE ? o == LESS || o == SAME : fn == F_GT ? o == MORE : o == MORE || o == SAME);
	return true;
}

static bool member_of(struct ev *e, const struct cel_val *x, const struct cel_val *in, struct cel_val *ret)
{
	struct cel_val v;
	bool same = false;
	int found;

	if (in->kind == CEL_MAP) {
		found = map_find(e, in, x, &v);
		*ret = val_bool(found);
		return found >= 0;
	}
	if (in->kind != CEL_LIST)
		return ev_no_overload(e);
	for (size_t i = 0, n = cel_len(in); i < n && !same; i++) {
		v = cel_at(in, i);
		if (!ev_step(e, 1) || !val_equal(e, x, &v, &same))
			return false;
	}
	*ret = val_bool(same);
	return true;
}

static bool negate(struct ev *e, const struct cel_val *a, struct cel_val *ret)
{
	if (a->kind == CEL_DOUBLE)
		*ret = val_double(-a->d);
	else if (a->kind != CEL_INT)
		return ev_no_overload(e);
	else if (a->i == INT64_MIN)
		return overflow(e, "integer overflow");
	else
		*ret = val_int(-a->i);
	return true;
}

static bool size_of(struct ev *e, const struct cel_val *a, struct cel_val *ret)
{
	if (a->kind == CEL_STRING) {
		if (!ev_step(e, a->s.n / 16))
			return false;
		*ret = val_int((int64_t)utf8_len(a->s));
	} else if (a->kind == CEL_BYTES) {
		*ret = val_int((int64_t)a->s.n);
	} else if (a->kind == CEL_LIST || a->kind == CEL_MAP) {
		*ret = val_int((int64_t)cel_len(a));
	} else {
		return ev_no_overload(e);
	}
	return true;
}

/* has this function a form with @args arguments, as a member or not? */
static bool form(enum cel_fn fn, bool member, uint32_t args)
{
	const char *s = cel_fns[fn].sigs;

	for (;;) {
		uint32_t n = 0;
		bool m = *s == '.';

		s += m;
		for (bool result = true; *s && *s != ' '; s++) {
			while (*s == 'L' || *s == 'T' || *s == 'M') {
				s += *s == 'M' ? 2 : 1;	/* a map's first parameter is one letter everywhere */
			}
			n += !result;
			result = false;
		}
		if (m == member && n == args)
			return true;
		if (!*s++)
			return false;
	}
}

bool fn_call(struct ev *e, const struct node *n, struct cel_val *a, struct cel_val *ret)
{
	enum cel_fn fn = (enum cel_fn)n->fn;
	bool same;

	/* operators come with the right number of operands from the parser */
	if (fn >= F_SIZE && !form(fn, n->member, n->n))
		return ev_no_overload(e);
	switch ((unsigned)fn) {
	case F_NOT:
		if (a[0].kind != CEL_BOOL)
			return ev_no_overload(e);
		*ret = val_bool(!a[0].b);
		return true;
	case F_NEG:
		return negate(e, &a[0], ret);
	case F_ADD:
	case F_SUB:
	case F_MUL:
	case F_DIV:
	case F_MOD:
		return arith(e, fn, &a[0], &a[1], ret);
	case F_EQ:
	case F_NE:
		if (!val_equal(e, &a[0], &a[1], &same))
			return false;
		*ret = val_bool(same == (fn == F_EQ));
		return true;
	case F_LT:
	case F_LE:
	case F_GT:
	case F_GE:
		return compare(e, fn, &a[0], &a[1], ret);
	case F_IN:
		return member_of(e, &a[0], &a[1], ret);
	case F_SIZE:
		return size_of(e, &a[0], ret);
	case F_MATCHES:
		return fn_matches(e, n, &a[0], &a[1], ret);
	case F_TO_INT ... F_TYPE_OF:
		return fn_convert(e, fn, &a[0], ret);
	case F_FULL_YEAR ... F_MILLIS:
		return fn_time(e, fn, a, n->n, ret);
	case F_FORMAT:
		return fn_format(e, &a[0], &a[1], ret);
	case F_INDEX:
	case F_COND:
	case F_COUNT:
	case F_UNKNOWN:
		return ev_no_overload(e);
	default:
		return fn_string(e, fn, a, n->n, ret);
	}
}
