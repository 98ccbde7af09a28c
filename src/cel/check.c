/* Names, overloads and types: what cannot work is refused before it is stored.
 * Invariant: afterwards every node has a type, names are slots, and functions are known by number.  Without the check (env->unchecked)
 * names are resolved all the same; what is unknown fails when it is evaluated. */
#include <stdio.h>

#include "cel_int.h"

struct scope {
	struct str name;
	unsigned slot;
	const struct ty *type;
	const struct scope *up;
};

struct chk {
	struct comp *c;
	struct types t;
	const struct ty **vars;
	unsigned depth_slots, max_slots;
};

#define NAME_MAX_BYTES 256

static const struct ty *node(struct chk *k, struct node *n, const struct scope *sc);

static const struct ty *dyn(void)
{
	return &cel_ty[TY_DYN];
}

static const struct ty *bad(struct chk *k, const struct node *n, const char *what, struct str name, const char *more)
{
	comp_fail(k->c, CEL_E_CHECK, n->pos, n->end, "%s%.*s%s", what, STR_FMT(name), more);
	return NULL;
}

static const struct scope *local(const struct scope *sc, const struct node *n)
{
	for (; sc; sc = sc->up) {
		if (str_eq(sc->name, n->name))
			return sc;
	}
	return NULL;
}

/* "a.b.c" of a chain of selections whose root is no variable of a macro; 0: it is not one */
static size_t dotted(const struct node *n, const struct scope *sc, char *out, bool *dot)
{
	size_t at;

	if (n->op == N_IDENT) {
		if ((!n->dot && local(sc, n)) || n->name.n >= NAME_MAX_BYTES)
			return 0;
		*dot = n->dot;
		memcpy(out, n->name.p, n->name.n);
		return n->name.n;
	}
	/* the chain was a node per name, so this recursion is as deep as the tree */
	if (n->op != N_SELECT || !(at = dotted(n->args[0], sc, out, dot)) || at + n->name.n + 1 >= NAME_MAX_BYTES)
		return 0;
	out[at++] = '.';
	memcpy(out + at, n->name.p, n->name.n);
	return at + n->name.n;
}

static bool type_name(struct str s, enum cel_kind *kind)
{
	for (enum cel_kind i = CEL_NULL; i < CEL_KINDS; i++) {
		if (str_eq(s, str_c(cel_kind_name(i)))) {
			*kind = i == CEL_TYPE ? CEL_UNBOUND : i;
			return true;
		}
	}
	return false;
}

static const struct ty *kind_type(struct chk *k, enum cel_kind kind)
{
	static const enum ty_kind simple[] = {
		[CEL_NULL] = TY_NULL,	  [CEL_BOOL] = TY_BOOL,	  [CEL_INT] = TY_INT,	  [CEL_UINT] = TY_UINT, [CEL_DOUBLE] = TY_DOUBLE,
		[CEL_STRING] = TY_STRING, [CEL_BYTES] = TY_BYTES, [CEL_LIST] = TY_LIST,	  [CEL_MAP] = TY_MAP,
		[CEL_TIMESTAMP] = TY_TIMESTAMP, [CEL_DURATION] = TY_DURATION,
	};

	if (kind == CEL_UNBOUND || kind == CEL_TYPE)
		return ty_new(&k->t, TY_TYPE, dyn(), NULL);
	if (kind == CEL_LIST || kind == CEL_MAP)
		return ty_new(&k->t, simple[kind], dyn(), kind == CEL_MAP ? dyn() : NULL);
	return &cel_ty[simple[kind]];
}

/* one candidate: a variable or a type */
static const struct ty *named(struct chk *k, struct node *n, struct str name)
{
	const struct cel_env *env = k->c->env;
	enum cel_kind kind;

	for (size_t i = 0; i < env->n; i++) {
		if (str_eq(name, str_c(env->vars[i].name))) {
			n->op = N_VAR;
			n->slot = (uint16_t)i;
			n->name = str_c(env->vars[i].name);
			return k->vars[i];
		}
	}
	if (!type_name(name, &kind))
		return NULL;
	n->op = N_LIT;
	n->lit = (struct cel_val){.kind = CEL_TYPE, .type = kind};
	return env->unchecked ? dyn() : ty_new(&k->t, TY_TYPE, kind_type(k, kind), NULL);
}

/* in the container, in what is around it, and at last as it stands */
static const struct ty *look_up(struct chk *k, struct node *n, const char *name, size_t len, bool dot)
{
	struct str box = dot ? STR_NULL : str_c(k->c->env->container);
	char full[2 * NAME_MAX_BYTES];
	const struct ty *t;

	while (box.n && box.n + len + 1 < sizeof(full)) {
		memcpy(full, box.p, box.n);
		full[box.n] = '.';
		memcpy(full + box.n + 1, name, len);
		t = named(k, n, (struct str){full, box.n + 1 + len});
		if (t)
			return t;
		while (box.n && box.p[box.n - 1] != '.')
			box.n--;
		box.n -= box.n > 0;
	}
	return named(k, n, (struct str){name, len});
}

static const struct ty *ident(struct chk *k, struct node *n, const struct scope *sc)
{
	const struct scope *l = n->dot ? NULL : local(sc, n);
	const struct ty *t;

	if (l) {
		n->op = N_LOCAL;
		n->slot = (uint16_t)l->slot;
		return l->type;
	}
	t = n->name.n < NAME_MAX_BYTES ? look_up(k, n, n->name.p, n->name.n, n->dot) : NULL;
	if (t)
		return t;
	return k->c->env->unchecked ? dyn() : bad(k, n, "undeclared name '", n->name, "'");
}

static const struct ty *field(struct chk *k, struct node *n, const struct scope *sc)
{
	const struct ty *t = node(k, n->args[0], sc);

	if (!t || k->c->env->unchecked)
		return t;
	t = ty_head(&k->t, t);
	if (t->kind == TY_MAP)
		return t->b;
	if (t->kind == TY_VAR)
		return ty_assignable(&k->t, dyn(), t) ? dyn() : NULL;
	if (t->kind == TY_DYN)
		return dyn();
	return bad(k, n, "a value of type '", ty_text(&k->t, t), "' has no fields");
}

static const struct ty *selection(struct chk *k, struct node *n, const struct scope *sc)
{
	char name[NAME_MAX_BYTES];
	bool dot = false;
	size_t len = dotted(n, sc, name, &dot);
	const struct ty *t = len ? look_up(k, n, name, len, dot) : NULL;

	return t ? t : field(k, n, sc);
}

/* ---- calls ---- */

static const struct ty *letter(struct chk *k, const char **s, const struct ty *params[2])
{
	static const char simple[] = "*nbiudsytD";	/* in the order of enum ty_kind */
	const struct ty *a, *b = NULL;
	char c = *(*s)++;
	const char *at = strchr(simple, c);

	if (at)
		return &cel_ty[at - simple];
	if (c == 'A' || c == 'B') {
		if (!params[c - 'A'])
			params[c - 'A'] = ty_var(&k->t);
		return params[c - 'A'];
	}
	a = letter(k, s, params);
	if (c == 'M')
		b = letter(k, s, params);
	return ty_new(&k->t, c == 'L' ? TY_LIST : c == 'M' ? TY_MAP : TY_TYPE, a, b);
}

static const struct ty *overloads(struct chk *k, struct node *n, enum cel_fn fn, bool member, const struct ty **args)
{
	const char *s = cel_fns[fn].sigs;
	const struct ty *result = NULL, *want[4], *r;
	uint32_t nargs;

	while (*s && !k->c->failed) {
		const struct ty *params[2] = {NULL, NULL};
		bool m = *s == '.';

		s += m;
		r = letter(k, &s, params);
		for (nargs = 0; *s && *s != ' '; nargs++)
			want[nargs] = letter(k, &s, params);
		s += *s == ' ';
		if (m != member || nargs != n->n || !ty_assignable_n(&k->t, args, want, nargs))
			continue;
		if (!result)
			result = ty_head(&k->t, r);
		else if (result->kind != TY_DYN && !ty_same(&k->t, result, ty_head(&k->t, r)))
			result = dyn();
	}
	return result;
}

static const struct ty *no_overload(struct chk *k, struct node *n, const char *name, const struct ty **args)
{
	char list[160];
	size_t at = 0;

	for (uint32_t i = 0; i < n->n && at + 1 < sizeof(list); i++) {
		struct str s = ty_text(&k->t, args[i]);

		at += (size_t)snprintf(list + at, sizeof(list) - at, "%s%.*s", i ? ", " : "", STR_FMT(s));
	}
	at = MIN(at, sizeof(list) - 1);
	comp_fail(k->c, CEL_E_CHECK, n->pos, n->end, "no overload of '%s' takes (%.*s)", name, (int)at, list);
	return NULL;
}

static const struct ty *apply(struct chk *k, struct node *n, enum cel_fn fn, bool member, const struct scope *sc)
{
	const struct ty **args = comp_alloc(k->c, (n->n + 1) * sizeof(struct ty *)), *t;
	const char *why;

	if (!args)
		return NULL;
	n->fn = (uint8_t)fn;
	for (uint32_t i = 0; i < n->n; i++) {
		args[i] = node(k, n->args[i], sc);
		if (!args[i])
			return NULL;
	}
	if (k->c->env->unchecked)
		return dyn();
	t = overloads(k, n, fn, member, args);
	if (!t)
		return no_overload(k, n, cel_fns[fn].name, args);
	if (fn == F_FORMAT && n->args[0]->op == N_LIT && n->args[1]->op == N_LIST) {
		why = format_check(k->c, &k->t, n->args[0]->lit.s, n->args[1]);
		if (why)
			return bad(k, n, "", str_c(why), "");
	}
	return t;
}

static enum cel_fn function(struct chk *k, struct str name)
{
	for (enum cel_fn f = F_SIZE; f < F_COUNT; f++) {
		if (str_eq(name, str_c(cel_fns[f].name)))
			return !cel_fns[f].libs || (cel_fns[f].libs & k->c->env->libs) ? f : F_UNKNOWN;
	}
	return F_UNKNOWN;
}

static const struct ty *call(struct chk *k, struct node *n, const struct scope *sc)
{
	char name[NAME_MAX_BYTES];
	enum cel_fn fn = (enum cel_fn)n->fn;
	bool dot;
	size_t len;

	if (fn != F_UNKNOWN)
		return apply(k, n, fn, false, sc);
	if (n->member && (len = dotted(n->args[0], NULL, name, &dot)) && len + n->name.n + 1 < sizeof(name)) {
		name[len++] = '.';
		memcpy(name + len, n->name.p, n->name.n);
		fn = function(k, (struct str){name, len + n->name.n});
		if (fn != F_UNKNOWN) {	/* not a receiver but the first half of the name */
			n->member = false;
			n->args++;
			n->n--;
			return apply(k, n, fn, false, sc);
		}
	}
	fn = function(k, n->name);
	if (fn == F_UNKNOWN && !k->c->env->unchecked)
		return bad(k, n, "undeclared function '", n->name, "'");
	if (fn == F_UNKNOWN) {
		for (uint32_t i = 0; i < n->n; i++) {
			if (!node(k, n->args[i], sc))
				return NULL;
		}
		return dyn();
	}
	return apply(k, n, fn, n->member, sc);
}

/* ---- the rest ---- */

static const struct ty *want_bool(struct chk *k, struct node *n, const struct ty *t)
{
	if (!t || k->c->env->unchecked || ty_assignable(&k->t, t, &cel_ty[TY_BOOL]))
		return t;
	return bad(k, n, "expected a bool, got '", ty_text(&k->t, t), "'");
}

static const struct ty *macro(struct chk *k, struct node *n, const struct scope *sc)
{
	const struct ty *range = node(k, n->args[0], sc), *elem = dyn(), *t;
	struct scope in = {.name = n->name, .up = sc};

	if (!range)
		return NULL;
	range = ty_head(&k->t, range);
	if (range->kind == TY_LIST || range->kind == TY_MAP)
		elem = range->a;
	else if (range->kind == TY_VAR)
		(void)!ty_assignable(&k->t, dyn(), range);
	else if (range->kind != TY_DYN && !k->c->env->unchecked)
		return bad(k, n->args[0], "'", ty_text(&k->t, range), "' is neither a list nor a map");
	in.type = elem;
	in.slot = k->depth_slots++;
	n->slot = (uint16_t)in.slot;
	k->max_slots = MAX(k->max_slots, k->depth_slots);
	t = node(k, n->args[1], &in);
	if (n->op != N_TRANSFORM || n->n == 3)
		t = want_bool(k, n->args[1], t);
	if (t && n->n == 3)
		t = node(k, n->args[2], &in);
	k->depth_slots--;
	if (!t || k->c->env->unchecked)
		return t;
	if (n->op == N_TRANSFORM || n->op == N_FILTER)
		return ty_new(&k->t, TY_LIST, n->op == N_FILTER ? elem : t, NULL);
	return &cel_ty[TY_BOOL];
}

static const struct ty *aggregate(struct chk *k, struct node *n, const struct scope *sc)
{
	const struct ty *a = NULL, *b = NULL, *t;
	bool map = n->op == N_MAP;

	for (uint32_t i = 0; i < n->n; i++) {
		t = node(k, n->args[i], sc);
		if (!t)
			return NULL;
		if (k->c->env->unchecked)
			continue;
		if (map && i % 2)
			b = ty_join(&k->t, b, t);
		else
			a = ty_join(&k->t, a, t);
	}
	if (k->c->env->unchecked)
		return dyn();
	return ty_new(&k->t, map ? TY_MAP : TY_LIST, a ? a : ty_var(&k->t), map ? (b ? b : ty_var(&k->t)) : NULL);
}

static const struct ty *kind_of(struct chk *k, struct node *n, const struct scope *sc)
{
	switch ((enum cel_op)n->op) {
	case N_LIT:
		return k->c->env->unchecked ? dyn() : kind_type(k, (enum cel_kind)n->lit.kind);
	case N_IDENT:
		return ident(k, n, sc);
	case N_SELECT:
		return selection(k, n, sc);
	case N_HAS:
		return field(k, n, sc) ? &cel_ty[TY_BOOL] : NULL;
	case N_CALL:
		return call(k, n, sc);
	case N_INDEX:
	case N_COND:
		return apply(k, n, (enum cel_fn)n->fn, false, sc);
	case N_AND:
	case N_OR:
		for (uint32_t i = 0; i < n->n; i++) {
			if (!want_bool(k, n->args[i], node(k, n->args[i], sc)))
				return NULL;
		}
		return &cel_ty[TY_BOOL];
	case N_LIST:
	case N_MAP:
		return aggregate(k, n, sc);
	case N_ALL:
	case N_EXISTS:
	case N_EXISTS_ONE:
	case N_FILTER:
	case N_TRANSFORM:
		return macro(k, n, sc);
	case N_VAR:
	case N_LOCAL:
		break;
	}
	return dyn();
}

static const struct ty *node(struct chk *k, struct node *n, const struct scope *sc)
{
	n->type = kind_of(k, n, sc);
	return k->c->failed ? NULL : n->type;
}

static unsigned kinds_of(struct chk *k, const struct ty *t)
{
	static const unsigned kinds[] = {
		[TY_NULL] = CEL_K(NULL),     [TY_BOOL] = CEL_K(BOOL),	  [TY_INT] = CEL_K(INT),	[TY_UINT] = CEL_K(UINT),
		[TY_DOUBLE] = CEL_K(DOUBLE), [TY_STRING] = CEL_K(STRING), [TY_BYTES] = CEL_K(BYTES),	[TY_TIMESTAMP] = CEL_K(TIMESTAMP),
		[TY_LIST] = CEL_K(LIST),     [TY_MAP] = CEL_K(MAP),	  [TY_DURATION] = CEL_K(DURATION), [TY_TYPE] = CEL_K(TYPE),
		[TY_VAR] = 0,
	};

	t = ty_head(&k->t, t);
	if (t->kind == TY_DYN || t->kind == TY_VAR)
		return ~0u;
	/* null goes wherever a time does */
	return kinds[t->kind] | (t->kind == TY_TIMESTAMP || t->kind == TY_DURATION ? CEL_K(NULL) : 0);
}

bool cel_check(struct comp *c, struct cel_prog *p)
{
	struct chk k = {.c = c, .t = {.c = c, .budget = 200000}};
	const struct ty *t;

	k.vars = comp_alloc(c, (c->env->n + 1) * sizeof(struct ty *));
	if (!k.vars)
		return false;
	for (size_t i = 0; i < c->env->n; i++) {
		const char *s = c->env->vars[i].type;

		k.vars[i] = c->env->unchecked ? dyn() : ty_parse(&k.t, &s);
		if (!k.vars[i])
			return comp_fail(c, CEL_E_CHECK, 0, 0, "variable '%s' is of an unknown type", c->env->vars[i].name);
	}
	t = node(&k, p->root, NULL);
	if (!t)
		return false;
	p->locals = k.max_slots;
	p->type = ty_text(&k.t, t);
	p->kinds = kinds_of(&k, t);
	return !c->failed;
}
