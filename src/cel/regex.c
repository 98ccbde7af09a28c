/* Regular expressions without backtracking: a set of states walks over the text once.
 * Invariant: time is at most states times characters and is charged as it is spent, memory is a few numbers per state; the tree's left
 * spine (a chain of cats or alts) is walked in a loop, so recursion is as deep as groups nest. */
#include "regex_int.h"

struct emit {
	struct re_parse *p;
	struct re_inst *prog;
	uint32_t n, cap;
};

static struct re_inst *emit(struct emit *e, enum re_op op, uint32_t x, uint32_t y)
{
	if (e->p->why || e->p->no_memory)
		return NULL;
	if (e->n == RE_STATES_MAX) {
		e->p->why = "the pattern is too large";
		return NULL;
	}
	if (e->n == e->cap) {
		uint32_t cap = e->cap ? e->cap * 2 : 32;
		struct re_inst *q = regex_alloc(e->p, cap * sizeof(*q));

		if (!q)
			return NULL;
		if (e->n)
			memcpy(q, e->prog, e->n * sizeof(*q));
		e->prog = q;
		e->cap = cap;
	}
	e->prog[e->n] = (struct re_inst){op, x, y};
	return &e->prog[e->n++];
}

static void tree(struct emit *e, const struct re_node *n);

static void repeat(struct emit *e, const struct re_node *n)
{
	uint32_t split, begin;
	int i;

	for (i = 0; i < n->min && !e->p->why; i++)
		tree(e, n->a);
	if (n->max < 0) {	/* begin: split(next, out); x; jump begin */
		begin = e->n;
		emit(e, RE_SPLIT, begin + 1, 0);
		tree(e, n->a);
		emit(e, RE_JUMP, begin, 0);
		if (!e->p->why && !e->p->no_memory)
			e->prog[begin].y = e->n;
		return;
	}
	/* x{0,3}: split(next, out) before each, all to the same end; linked through .y until that is known */
	split = UINT32_MAX;
	for (; i < n->max && !e->p->why; i++) {
		begin = e->n;
		emit(e, RE_SPLIT, begin + 1, split);
		split = begin;
		tree(e, n->a);
	}
	while (split != UINT32_MAX && !e->p->why && !e->p->no_memory) {
		begin = e->prog[split].y;
		e->prog[split].y = e->n;
		split = begin;
	}
}

/* a left spine of @kind, first to last: collected backwards, emitted forwards */
static void cat(struct emit *e, const struct re_node *n)
{
	const struct re_node **list, *x;
	uint32_t len = 0, at;

	for (x = n; x->kind == R_CAT; x = x->a)
		len++;
	list = regex_alloc(e->p, len * sizeof(struct re_node *));
	if (!list)
		return;
	at = len;
	for (x = n; x->kind == R_CAT; x = x->a)
		list[--at] = x->b;
	tree(e, x);
	for (at = 0; at < len && !e->p->why; at++)
		tree(e, list[at]);
}

static void alt(struct emit *e, const struct re_node *n)
{
	uint32_t jumps = UINT32_MAX, split;

	/* (a|b)|c: the last one first, the order does not matter to the answer */
	for (; n->kind == R_ALT; n = n->a) {
		split = e->n;
		emit(e, RE_SPLIT, split + 1, 0);
		tree(e, n->b);
		emit(e, RE_JUMP, jumps, 0);
		if (e->p->why || e->p->no_memory)
			return;
		jumps = e->n - 1;
		e->prog[split].y = e->n;
	}
	tree(e, n);
	while (jumps != UINT32_MAX && !e->p->why && !e->p->no_memory) {
		split = e->prog[jumps].x;
		e->prog[jumps].x = e->n;
		jumps = split;
	}
}

static void tree(struct emit *e, const struct re_node *n)
{
	if (!n || e->p->why || e->p->no_memory)
		return;
	switch ((enum re_kind)n->kind) {
	case R_EMPTY:
		break;
	case R_SET:
		emit(e, RE_SET, n->first, n->count);
		break;
	case R_ASSERT:
		emit(e, RE_ASSERT, n->assert, 0);
		break;
	case R_CAT:
		cat(e, n);
		break;
	case R_ALT:
		alt(e, n);
		break;
	case R_REPEAT:
		repeat(e, n);
		break;
	}
}

const struct regex *regex_compile(struct re_mem *m, struct str pattern, const char **why)
{
	struct re_parse p = {.m = m, .s = pattern};
	struct emit e = {.p = &p};
	struct re_node *n;
	struct regex *re;

	*why = NULL;
	if (pattern.n > RE_PATTERN_MAX) {
		*why = "the pattern is too long";
		return NULL;
	}
	n = regex_parse(&p);
	p.work += (uint32_t)pattern.n * 4;
	if (n) {
		tree(&e, n);
		emit(&e, RE_MATCH, 0, 0);
	}
	p.work += e.n;
	if (p.work > m->work && !p.why)
		p.why = "the pattern is too complex";
	m->work -= MIN(p.work, m->work);
	re = p.why || p.no_memory ? NULL : regex_alloc(&p, sizeof(*re));
	if (!re) {
		*why = p.no_memory ? NULL : p.why;
		return NULL;
	}
	*re = (struct regex){.prog = e.prog, .ranges = p.ranges, .n = e.n};
	return re;
}

/* ---- matching ---- */

struct states {
	uint32_t *dense, *place;
	uint32_t n;
};

struct run {
	const struct regex *re;
	uint32_t *stack;
	uint32_t visits;
};

static bool seen(const struct states *s, uint32_t pc)
{
	uint32_t at = s->place[pc];

	return at < s->n && s->dense[at] == pc;
}

static void mark(struct states *s, uint32_t pc)
{
	s->place[pc] = s->n;
	s->dense[s->n++] = pc;
}

/* @pc and all that is reached from it without a character; true: the end is */
static bool enter(struct run *r, struct states *s, uint32_t pc, unsigned place)
{
	uint32_t depth = 0;

	if (seen(s, pc))
		return false;
	mark(s, pc);
	r->stack[depth++] = pc;
	while (depth) {
		const struct re_inst *in = &r->re->prog[r->stack[--depth]];
		uint32_t next[2] = {(uint32_t)(in - r->re->prog) + 1, UINT32_MAX};

		r->visits++;
		switch ((enum re_op)in->op) {
		case RE_MATCH:
			return true;
		case RE_SET:
			continue;
		case RE_ASSERT:
			if (!(in->x & place))
				continue;
			break;
		case RE_JUMP:
			next[0] = in->x;
			break;
		case RE_SPLIT:
			next[0] = in->x;
			next[1] = in->y;
			break;
		}
		for (int i = 0; i < 2 && next[i] != UINT32_MAX; i++) {
			if (!seen(s, next[i])) {
				mark(s, next[i]);
				r->stack[depth++] = next[i];
			}
		}
	}
	return false;
}

static bool in_ranges(struct run *r, const struct re_inst *in, uint32_t c)
{
	const struct re_range *q = r->re->ranges + in->x;
	uint32_t lo = 0, hi = in->y;

	r->visits += hi > 8;
	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (c > q[mid].hi) {
			lo = mid + 1;
		} else if (c < q[mid].lo) {
			hi = mid;
		} else {
			return true;
		}
	}
	return false;
}

static bool word(uint32_t c)
{
	return c == '_' || (c >= '0' && c <= '9') || (c < 0x80 && (c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

#define NO_CHAR 0x110000u

static unsigned place_of(uint32_t before, uint32_t after)
{
	return (before == NO_CHAR ? AT_BEGIN | AT_LINE_BEGIN : before == '\n' ? AT_LINE_BEGIN : 0) |
	       (after == NO_CHAR ? AT_END | AT_LINE_END : after == '\n' ? AT_LINE_END : 0) |
	       (word(before) != word(after) ? AT_WORD : AT_NO_WORD);
}

int regex_match(const struct regex *re, struct str s, uint32_t *sets, uint32_t *steps)
{
	struct states now = {sets, sets + re->n, 0}, next = {sets + 2 * re->n, sets + 3 * re->n, 0}, swap;
	struct run r = {.re = re, .stack = sets + 4 * re->n};
	uint32_t before = NO_CHAR, c, after;
	size_t at = 0, len = 0;

	/* `place` may hold anything, but not what was never written */
	memset(sets, 0, 4 * (size_t)re->n * sizeof(*sets));
	c = s.n ? utf8_get(s.p, &len) : NO_CHAR;
	for (;;) {
		unsigned place = place_of(before, c);

		if (enter(&r, &now, 0, place))
			return 1;
		if (c == NO_CHAR)
			return 0;
		at += len;
		after = at < s.n ? utf8_get(s.p + at, &len) : NO_CHAR;
		place = place_of(c, after);
		next.n = 0;
		r.visits += now.n;
		for (uint32_t i = 0; i < now.n; i++) {
			const struct re_inst *in = &re->prog[now.dense[i]];

			if (in->op == RE_SET && in_ranges(&r, in, c) && enter(&r, &next, now.dense[i] + 1, place))
				return 1;
		}
		/* a step is as long as two visits take */
		if (r.visits / 2 > *steps)
			return -1;
		*steps -= r.visits / 2;
		r.visits %= 2;
		swap = now;
		now = next;
		next = swap;
		before = c;
		c = after;
	}
}

static void *ev_re_alloc(void *ctx, size_t bytes)
{
	return ev_alloc(ctx, bytes);
}

bool fn_matches(struct ev *e, const struct node *n, const struct cel_val *s, const struct cel_val *pattern, struct cel_val *ret)
{
	struct re_mem m = {e, ev_re_alloc, RE_WORK_MAX};
	const struct regex *re = n->re;
	const char *why = NULL;
	int r;

	if (s->kind != CEL_STRING || pattern->kind != CEL_STRING)
		return ev_no_overload(e);
	if (!re) {
		re = regex_compile(&m, pattern->s, &why);
		if (e->fatal || !ev_step(e, 2 * (RE_WORK_MAX - m.work)))
			return false;
		if (!re)
			return ev_fail(e, CEL_E_REGEX, "bad pattern: %s", cel_string(str_c(why)));
	}
	if (re->n > e->re_cap) {
		e->re_mem = ev_alloc(e, RE_SETS(re->n) * sizeof(*e->re_mem));
		if (!e->re_mem)
			return false;
		e->re_cap = re->n;
	}
	if (!ev_step(e, 20 + re->n / 4))
		return false;
	r = regex_match(re, s->s, e->re_mem, &e->steps);
	*ret = val_bool(r > 0);
	return r >= 0 || ev_cost(e);
}
