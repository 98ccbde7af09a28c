/* The walk over the tree.
 * Invariant: each node costs at least one step and recursion is as deep as the tree, whose depth the parser bounded; a limit that is
 * passed ends the evaluation and is not absorbed by && or ||, any other error may be. */
#include <stdio.h>

#include "cel_int.h"

/* ---- failing ---- */

bool ev_cost(struct ev *e)
{
	e->steps = 0;
	e->fatal = true;
	return ev_fail(e, CEL_E_COST, "cost limit exceeded", NO_VAL);
}

void *ev_alloc(struct ev *e, size_t bytes)
{
	size_t need = (bytes + 15) & ~(size_t)15;

	if (need < bytes || need > e->bytes || need + 16 > arena_left(e->a)) {
		e->fatal = true;
		ev_fail(e, CEL_E_MEMORY, "memory limit exceeded", NO_VAL);
		return NULL;
	}
	e->bytes -= need;
	return arena_alloc(e->a, bytes);
}

bool ev_fail(struct ev *e, enum cel_code code, const char *what, struct cel_val detail)
{
	e->fail = (struct fail){code, what, detail, e->at->pos, e->at->end};
	return false;
}

bool ev_no_overload(struct ev *e)
{
	struct cel_val name = cel_string(e->at->name);

	return ev_fail(e, CEL_E_NO_OVERLOAD, e->at->name.n ? "no such overload: '%s' does not take these types" : "no such overload", name);
}

/* the message is made only when it is wanted: an absorbed error costs nothing */
void fail_text(const struct fail *f, char *out, size_t cap)
{
	const struct cel_val *d = &f->detail;
	const char *at = strstr(f->what, "%s");
	char num[DOUBLE_TEXT];
	struct str s = STR("a value");

	switch (d->kind) {
	case CEL_STRING:
		s = d->s;
		break;
	case CEL_BOOL:
		s = str_c(d->b ? "true" : "false");
		break;
	case CEL_INT:
		s = (struct str){num, (size_t)snprintf(num, sizeof(num), "%lld", (long long)d->i)};
		break;
	case CEL_UINT:
		s = (struct str){num, (size_t)snprintf(num, sizeof(num), "%llu", (unsigned long long)d->u)};
		break;
	case CEL_DOUBLE:
		s = (struct str){num, double_text(d->d, false, num)};
		break;
	case CEL_TYPE:
		s = str_c(cel_kind_name(d->type ? d->type : CEL_TYPE));
		break;
	default:
		break;
	}
	if (at)
		snprintf(out, cap, "%.*s%.*s%s", (int)(at - f->what), f->what, (int)MIN(s.n, (size_t)100), s.p ? s.p : "", at + 2);
	else
		snprintf(out, cap, "%s", f->what);
}

static struct cel_val kind_val(const struct cel_val *v)
{
	return (struct cel_val){.kind = CEL_TYPE, .type = v->kind == CEL_TYPE ? CEL_UNBOUND : (enum cel_kind)v->kind};
}

/* ---- fields and elements ---- */

static bool whole_number(const struct cel_val *v, int64_t *ret)
{
	if (v->kind == CEL_INT) {
		*ret = v->i;
		return true;
	}
	if (v->kind == CEL_UINT) {
		*ret = v->u > INT64_MAX ? INT64_MAX : (int64_t)v->u;
		return true;
	}
	if (v->kind != CEL_DOUBLE || !(v->d >= -9e18 && v->d <= 9e18) || (double)(int64_t)v->d != v->d)
		return false;
	*ret = (int64_t)v->d;
	return true;
}

/* what a macro, a selection or an index finds; @n is whom to blame */
static bool get(struct ev *e, const struct node *n, const struct cel_val *from, const struct cel_val *key, struct cel_val *out)
{
	int64_t i;
	int found;

	e->at = n;
	if (from->kind == CEL_MAP) {
		if (key->kind == CEL_NULL)
			return ev_fail(e, CEL_E_NO_KEY, "a key of a map cannot be null", NO_VAL);
		found = map_find(e, from, key, out);
		return found > 0 || (found == 0 && ev_fail(e, CEL_E_NO_KEY, "no such key: %s", *key));
	}
	if (from->kind != CEL_LIST)
		return ev_fail(e, CEL_E_NO_OVERLOAD, "a value of type '%s' has no fields or elements", kind_val(from));
	if (!whole_number(key, &i)) {
		if (key->kind == CEL_DOUBLE)
			return ev_fail(e, CEL_E_RANGE, "%s is no index of a list", *key);
		return ev_fail(e, CEL_E_NO_OVERLOAD, "a value of type '%s' is no index of a list", kind_val(key));
	}
	if (i < 0 || (uint64_t)i >= cel_len(from))
		return ev_fail(e, CEL_E_RANGE, "index out of bounds: %s", *key);
	*out = cel_at(from, (size_t)i);
	return true;
}

static bool has(struct ev *e, const struct node *n, struct cel_val *out)
{
	struct cel_val from, key = cel_string(n->name), v;
	int found = 0;

	if (!ev_node(e, n->args[0], &from))
		return false;
	e->at = n;
	if (from.kind == CEL_LIST)
		return ev_fail(e, CEL_E_NO_OVERLOAD, "a list has no fields", NO_VAL);
	if (from.kind == CEL_MAP && (found = map_find(e, &from, &key, &v)) < 0)
		return false;
	*out = val_bool(found);
	return true;
}

/* ---- logic ---- */

/* What an && or || has seen so far: the first error and whether something was no bool. */
struct fold {
	const struct node *n;
	bool failed, odd;
	struct fail fail;
};

/* 1: @decisive came, 0: go on, -1: a limit */
static int fold_one(struct ev *e, struct fold *f, const struct node *n, bool decisive)
{
	struct cel_val v;

	if (!ev_node(e, n, &v)) {
		if (e->fatal)
			return -1;
		if (!f->failed)
			f->fail = e->fail;
		f->failed = true;
	} else if (v.kind != CEL_BOOL) {
		f->odd = true;
	} else {
		return v.b == decisive;
	}
	return 0;
}

static bool fold_end(struct ev *e, const struct fold *f, bool decisive, struct cel_val *out)
{
	e->at = f->n;
	if (f->failed) {
		e->fail = f->fail;
		return false;
	}
	if (f->odd)
		return ev_fail(e, CEL_E_NO_OVERLOAD, "no such overload: a condition must be a bool", NO_VAL);
	*out = val_bool(!decisive);
	return true;
}

static bool logic(struct ev *e, const struct node *n, struct cel_val *out)
{
	struct fold f = {.n = n};
	bool decisive = n->op == N_OR;

	for (uint32_t i = 0; i < n->n; i++) {
		int r = fold_one(e, &f, n->args[i], decisive);

		if (r < 0)
			return false;
		if (r > 0) {
			*out = val_bool(decisive);
			return true;
		}
	}
	return fold_end(e, &f, decisive, out);
}

static bool condition(struct ev *e, const struct node *n, bool *ret)
{
	struct cel_val v;

	if (!ev_node(e, n, &v))
		return false;
	if (v.kind == CEL_BOOL) {
		*ret = v.b;
		return true;
	}
	e->at = n;
	return ev_fail(e, CEL_E_NO_OVERLOAD, "no such overload: a condition must be a bool, got %s", kind_val(&v));
}

/* ---- macros ---- */

struct walk {
	struct cel_val range, val;
	size_t i, n;
	void *it;
};

static bool walk_begin(struct ev *e, const struct node *n, struct walk *w)
{
	*w = (struct walk){0};
	if (!ev_node(e, n, &w->range))
		return false;
	w->n = cel_len(&w->range);
	e->at = n;
	if (w->range.kind == CEL_LIST || w->range.kind == CEL_MAP)
		return true;
	return ev_fail(e, CEL_E_NO_OVERLOAD, "'%s' is neither a list nor a map", kind_val(&w->range));
}

/* the next element, or key of a map */
static inline bool walk_next(struct walk *w, struct cel_val *out)
{
	if (w->i == w->n)
		return false;
	if (w->range.kind == CEL_LIST)
		*out = cel_at(&w->range, w->i);
	else if (!cel_next(&w->range, &w->it, out, &w->val))
		return false;
	w->i++;
	return true;
}

static bool quantify(struct ev *e, const struct node *n, struct cel_val *out)
{
	struct fold f = {.n = n};
	bool decisive = n->op == N_EXISTS;
	struct walk w;

	if (!walk_begin(e, n->args[0], &w))
		return false;
	while (walk_next(&w, &e->locals[n->slot])) {
		int r = ev_step(e, 2) ? fold_one(e, &f, n->args[1], decisive) : -1;

		if (r < 0)
			return false;
		if (r > 0) {
			*out = val_bool(decisive);
			return true;
		}
	}
	return fold_end(e, &f, decisive, out);
}

static bool exactly_one(struct ev *e, const struct node *n, struct cel_val *out)
{
	size_t hits = 0;
	struct walk w;
	bool yes;

	if (!walk_begin(e, n->args[0], &w))
		return false;
	while (walk_next(&w, &e->locals[n->slot])) {
		if (!ev_step(e, 2) || !condition(e, n->args[1], &yes))
			return false;
		hits += yes;
	}
	*out = val_bool(hits == 1);
	return true;
}

static bool collect(struct ev *e, const struct node *n, struct cel_val *out)
{
	const struct node *pred = n->op == N_FILTER || n->n == 3 ? n->args[1] : NULL;
	const struct node *make = n->op == N_FILTER ? NULL : n->args[n->n - 1];
	struct cel_val *v = NULL, x;
	size_t have = 0, cap = 0;
	struct walk w;
	bool yes = true;

	if (!walk_begin(e, n->args[0], &w))
		return false;
	if (!pred && w.n) {	/* as many as there are */
		cap = w.n;
		v = ev_alloc(e, cap * sizeof(*v));
		if (!v)
			return false;
	}
	while (walk_next(&w, &e->locals[n->slot])) {
		if (!ev_step(e, 2) || (pred && !condition(e, pred, &yes)))
			return false;
		if (!yes)
			continue;
		x = e->locals[n->slot];
		if ((make && !ev_node(e, make, &x)) || !list_add(e, &v, &have, &cap, &x))
			return false;
	}
	return list_done(e, v, have, out);
}

/* ---- literals ---- */

static bool list_literal(struct ev *e, const struct node *n, struct cel_val *out)
{
	struct cel_val *v = ev_alloc(e, n->n * sizeof(*v));

	if (!v)
		return false;
	for (uint32_t i = 0; i < n->n; i++) {
		if (!ev_node(e, n->args[i], &v[i]))
			return false;
	}
	return list_done(e, v, n->n, out);
}

static bool map_literal(struct ev *e, const struct node *n, struct cel_val *out)
{
	struct cel_pair *kv = ev_alloc(e, n->n / 2 * sizeof(*kv));

	if (!kv)
		return false;
	for (uint32_t i = 0; i < n->n / 2; i++) {
		if (!ev_node(e, n->args[2 * i], &kv[i].k) || !ev_node(e, n->args[2 * i + 1], &kv[i].v))
			return false;
		if (kv[i].k.kind > CEL_STRING) {
			e->at = n->args[2 * i];
			return ev_fail(e, CEL_E_NO_OVERLOAD, "a value of type '%s' cannot be the key of a map", kind_val(&kv[i].k));
		}
	}
	e->at = n;
	return map_build(e, kv, n->n / 2, out);
}

/* ---- calls ---- */

static bool call(struct ev *e, const struct node *n, struct cel_val *out)
{
	struct cel_val a[4];

	if (n->fn == F_UNKNOWN || n->n > ARRAY_LEN(a)) {
		/* without the check: arguments first, as everywhere */
		for (uint32_t i = 0; i < n->n; i++) {
			if (!ev_node(e, n->args[i], &a[0]))
				return false;
		}
		e->at = n;
		return ev_no_overload(e);
	}
	for (uint32_t i = 0; i < n->n; i++) {
		if (!ev_node(e, n->args[i], &a[i]))
			return false;
	}
	e->at = n;
	return fn_call(e, n, a, out);
}

bool ev_node(struct ev *e, const struct node *n, struct cel_val *out)
{
	struct cel_val from, key;
	bool yes;

	if (!ev_step(e, 1))
		return false;
	switch ((enum cel_op)n->op) {
	case N_LIT:
		*out = n->lit;
		return true;
	case N_VAR:
		*out = e->vars[n->slot];
		if (out->kind != CEL_UNBOUND)
			return true;
		e->at = n;
		return ev_fail(e, CEL_E_UNBOUND, "'%s' has no value here", cel_string(n->name));
	case N_IDENT:
		e->at = n;
		return ev_fail(e, CEL_E_UNBOUND, "undeclared name '%s'", cel_string(n->name));
	case N_LOCAL:
		*out = e->locals[n->slot];
		return true;
	case N_SELECT:
		if (!ev_node(e, n->args[0], &from))
			return false;
		key = cel_string(n->name);
		return get(e, n, &from, &key, out);
	case N_INDEX:
		return ev_node(e, n->args[0], &from) && ev_node(e, n->args[1], &key) && get(e, n, &from, &key, out);
	case N_HAS:
		return has(e, n, out);
	case N_CALL:
		return call(e, n, out);
	case N_AND:
	case N_OR:
		return logic(e, n, out);
	case N_COND:
		return condition(e, n->args[0], &yes) && ev_node(e, n->args[yes ? 1 : 2], out);
	case N_LIST:
		return list_literal(e, n, out);
	case N_MAP:
		return map_literal(e, n, out);
	case N_ALL:
	case N_EXISTS:
		return quantify(e, n, out);
	case N_EXISTS_ONE:
		return exactly_one(e, n, out);
	case N_FILTER:
	case N_TRANSFORM:
		return collect(e, n, out);
	}
	return false;
}
