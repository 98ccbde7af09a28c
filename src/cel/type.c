/* Types of the checker: gradual, with variables for what a literal leaves open.
 * Invariant: types never change; what a variable stands for is in bind[], with a trail to go back when an overload does not fit.  A type
 * can be a graph that is exponentially large when walked as a tree, so all walks draw on one budget. */
#include <stdio.h>

#include "cel_int.h"

const struct ty cel_ty[TY_DURATION + 1] = {
	[TY_DYN] = {TY_DYN},		[TY_NULL] = {TY_NULL},		[TY_BOOL] = {TY_BOOL},
	[TY_INT] = {TY_INT},		[TY_UINT] = {TY_UINT},		[TY_DOUBLE] = {TY_DOUBLE},
	[TY_STRING] = {TY_STRING},	[TY_BYTES] = {TY_BYTES},	[TY_TIMESTAMP] = {TY_TIMESTAMP},
	[TY_DURATION] = {TY_DURATION},
};

static const char *const names[] = {"dyn", "null_type", "bool", "int", "uint", "double", "string", "bytes", "google.protobuf.Timestamp",
				    "google.protobuf.Duration", "list", "map", "type", "var"};

/* false: out of budget, which is an error of the expression */
static bool enter(struct types *t)
{
	if (t->budget == 0 || t->depth > 1000) {
		comp_fail(t->c, CEL_E_CHECK, 0, 0, "the types of this expression are too complex");
		return false;
	}
	t->budget--;
	return true;
}

const struct ty *ty_new(struct types *t, enum ty_kind kind, const struct ty *a, const struct ty *b)
{
	struct ty *x = comp_alloc(t->c, sizeof(*x));

	if (!x)
		return &cel_ty[TY_DYN];	/* the error is set */
	*x = (struct ty){.kind = (uint8_t)kind, .a = a, .b = b};
	return x;
}

static void *grown(struct types *t, const void *old, uint32_t n, uint32_t *cap, size_t size)
{
	uint32_t want = *cap ? *cap * 2 : 16;
	void *p = comp_alloc(t->c, want * size);

	if (!p)
		return NULL;
	if (n)
		memcpy(p, old, n * size);
	*cap = want;
	return p;
}

const struct ty *ty_var(struct types *t)
{
	struct ty *x;

	if (t->n == t->cap) {
		void *p = grown(t, t->bind, t->n, &t->cap, sizeof(t->bind[0]));

		if (!p)
			return &cel_ty[TY_DYN];
		t->bind = p;
	}
	x = comp_alloc(t->c, sizeof(*x));
	if (!x)
		return &cel_ty[TY_DYN];
	*x = (struct ty){.kind = TY_VAR, .var = t->n};
	t->bind[t->n++].to = NULL;
	return x;
}

static void bind_var(struct types *t, uint32_t var, const struct ty *to)
{
	if (t->trail_n == t->trail_cap) {
		void *p = grown(t, t->trail, t->trail_n, &t->trail_cap, sizeof(t->trail[0]));

		if (!p)
			return;
		t->trail = p;
	}
	t->trail[t->trail_n++] = (struct undo){var, t->bind[var].to};
	t->bind[var].to = to;
}

const struct ty *ty_head(const struct types *t, const struct ty *x)
{
	while (x->kind == TY_VAR && t->bind[x->var].to)
		x = t->bind[x->var].to;
	return x;
}

bool ty_same(struct types *t, const struct ty *a, const struct ty *b)
{
	bool same;

	if (a == b)
		return true;
	if (a->kind != b->kind || !enter(t))
		return false;
	if (a->kind == TY_VAR)
		return a->var == b->var;
	t->depth++;
	same = (!a->a || ty_same(t, a->a, b->a)) && (!a->b || ty_same(t, a->b, b->b));
	t->depth--;
	return same;
}

/* does @x depend on the variable @var? */
static bool occurs(struct types *t, uint32_t var, const struct ty *x)
{
	bool found;

	if (!enter(t))
		return true;
	if (x->kind == TY_VAR) {
		if (x->var == var)
			return true;
		if (!t->bind[x->var].to)
			return false;
		t->depth++;
		found = occurs(t, var, t->bind[x->var].to);
		t->depth--;
		return found;
	}
	t->depth++;
	found = (x->a && occurs(t, var, x->a)) || (x->b && occurs(t, var, x->b));
	t->depth--;
	return found;
}

/* is @a as general as @b or more? */
static bool as_general(struct types *t, const struct ty *a, const struct ty *b)
{
	bool yes;

	if (!enter(t))
		return false;
	if (a->kind == TY_DYN || a->kind == TY_VAR)
		return true;
	if (b->kind == TY_DYN || b->kind == TY_VAR || a->kind != b->kind)
		return false;
	if (a->kind == TY_TYPE)
		return true;
	t->depth++;
	yes = (!a->a || as_general(t, a->a, b->a)) && (!a->b || as_general(t, a->b, b->b));
	t->depth--;
	return yes;
}

static const struct ty *more_general(struct types *t, const struct ty *a, const struct ty *b)
{
	return as_general(t, a, b) ? a : b;
}

static bool assignable(struct types *t, const struct ty *from, const struct ty *to);

/* Let variable @v stand for @x; *had: it stood for something that does not fit. */
static bool substitute(struct types *t, const struct ty *v, const struct ty *x, bool *had)
{
	const struct ty *now = t->bind[v->var].to;

	*had = false;
	if (x->kind == TY_VAR && x->var == v->var)
		return true;
	if (now) {
		if (ty_same(t, now, x))
			return true;
		if (!assignable(t, x, now)) {
			*had = true;
			return false;
		}
		x = more_general(t, x, now);
		if (!occurs(t, v->var, x))
			bind_var(t, v->var, x);
		return true;
	}
	if (occurs(t, v->var, x))
		return false;
	bind_var(t, v->var, x);
	return true;
}

static bool nullable(const struct ty *x)
{
	return x->kind == TY_NULL || x->kind == TY_TIMESTAMP || x->kind == TY_DURATION;
}

static bool assignable(struct types *t, const struct ty *from, const struct ty *to)
{
	bool had, ok;

	if (!enter(t))
		return false;
	t->depth++;
	if (to->kind == TY_VAR) {
		ok = substitute(t, to, from, &had);
		if (ok || had)
			goto out;
	}
	if (from->kind == TY_VAR)
		ok = substitute(t, from, to, &had);
	else if (from->kind == TY_DYN || to->kind == TY_DYN)
		ok = true;
	else if (from->kind == TY_NULL || to->kind == TY_NULL)
		ok = nullable(from->kind == TY_NULL ? to : from);
	else if (from->kind != to->kind)
		ok = false;
	else if (from->kind == TY_TYPE)
		ok = true;
	else
		ok = (!from->a || assignable(t, from->a, to->a)) && (!from->b || assignable(t, from->b, to->b));
out:
	t->depth--;
	return ok;
}

bool ty_assignable_n(struct types *t, const struct ty **from, const struct ty **to, uint32_t n)
{
	uint32_t mark = t->trail_n;

	for (uint32_t i = 0; i < n; i++) {
		if (assignable(t, from[i], to[i]))
			continue;
		while (t->trail_n > mark) {
			t->trail_n--;
			t->bind[t->trail[t->trail_n].var].to = t->trail[t->trail_n].was;
		}
		return false;
	}
	return true;
}

bool ty_assignable(struct types *t, const struct ty *from, const struct ty *to)
{
	return ty_assignable_n(t, &from, &to, 1);
}

const struct ty *ty_join(struct types *t, const struct ty *prev, const struct ty *now)
{
	if (!prev)
		return now;
	return ty_assignable(t, prev, now) ? more_general(t, prev, now) : &cel_ty[TY_DYN];
}

/* ---- text ---- */

static void put_text(struct types *t, const struct ty *x, char *out, size_t cap, size_t *n)
{
	x = ty_head(t, x);
	if (*n + 40 > cap || !enter(t))
		return;
	*n += (size_t)snprintf(out + *n, cap - *n, "%s", names[x->kind == TY_VAR ? TY_DYN : x->kind]);
	if (x->kind < TY_LIST || x->kind == TY_VAR || !x->a)
		return;
	out[(*n)++] = '(';
	t->depth++;
	put_text(t, x->a, out, cap, n);
	if (x->b && *n + 40 < cap) {
		*n += (size_t)snprintf(out + *n, cap - *n, ", ");
		put_text(t, x->b, out, cap, n);
	}
	t->depth--;
	if (*n + 1 < cap)
		out[(*n)++] = ')';
}

struct str ty_text(struct types *t, const struct ty *x)
{
	char buf[1024];
	size_t n = 0;
	char *p;

	put_text(t, x, buf, sizeof(buf), &n);
	p = comp_alloc(t->c, n + 1);
	if (!p)
		return STR_NULL;
	memcpy(p, buf, n);
	p[n] = '\0';
	return (struct str){p, n};
}

static const struct ty *parse_at(struct types *t, const char **p, unsigned depth)
{
	const struct ty *a, *b = NULL;
	size_t n = strcspn(*p, "(), ");
	struct str name = {*p, n};
	enum ty_kind kind;

	*p += n;
	if (str_eq(name, STR("timestamp")) || str_eq(name, STR("google.protobuf.Timestamp")))
		return &cel_ty[TY_TIMESTAMP];
	if (str_eq(name, STR("duration")) || str_eq(name, STR("google.protobuf.Duration")))
		return &cel_ty[TY_DURATION];
	if (str_eq(name, STR("any")))
		return &cel_ty[TY_DYN];
	for (kind = TY_DYN; kind <= TY_TYPE; kind++) {
		if (str_eq(name, str_c(names[kind])))
			break;
	}
	if (kind <= TY_BYTES)
		return &cel_ty[kind];
	if (kind > TY_TYPE || depth > 20)
		return NULL;
	if (**p != '(') {
		a = &cel_ty[TY_DYN];
		return ty_new(t, kind, a, kind == TY_MAP ? a : NULL);
	}
	(*p)++;
	a = parse_at(t, p, depth + 1);
	if (a && kind == TY_MAP) {
		*p += **p == ',';
		*p += **p == ' ';
		b = parse_at(t, p, depth + 1);
	}
	if (!a || (kind == TY_MAP && !b) || *(*p)++ != ')')
		return NULL;
	return ty_new(t, kind, a, b);
}

const struct ty *ty_parse(struct types *t, const char **p)
{
	return parse_at(t, p, 0);
}
