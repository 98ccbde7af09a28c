/* Keys of concurrency: evaluated when a task is made, stored with it, and hashed for the engine, which knows no texts. */
#include "svc_int.h"

#include <stdlib.h>

/* The programs of one strategy; a shared one may be declared anew, with other texts. */
struct strategy_progs {
	struct arena *a;
	struct str expression, limit_expression;	/* what they were made of */
	const struct cel_prog *key, *limit;		/* NULL: it does not compile, or there is none */
};

enum { PROGS_BYTES_MAX = 32 << 20, STORED_BYTES_MAX = 1 << 20 };

static uint64_t hash(int32_t strategy_no, struct str key)
{
	uint8_t seed[16] = "keys of strategy";
	uint64_t h;

	memcpy(seed, &strategy_no, sizeof(strategy_no));
	h = siphash(key.p, key.n, seed);
	return h ? h : 1;
}

static void progs_free(struct strategy_progs *p)
{
	if (!p)
		return;
	arena_free(p->a);
	free(p);
}

void keys_fini(struct svc *s)
{
	size_t it = 0;
	void *p;

	while ((p = imap_next(&s->strategy_progs, &it, NULL)))
		progs_free(p);
	imap_fini(&s->strategy_progs);
}

static const struct strategy_progs *progs_of(struct svc *s, const struct cat_strategy *st)
{
	struct strategy_progs *p = imap_get(&s->strategy_progs, st->strategy_no);
	struct cel_err err;

	if (p && str_eq(p->expression, st->expression) && str_eq(p->limit_expression, st->max_runs_expression))
		return p;
	progs_free(p);
	p = xcalloc(1, sizeof(*p));
	p->a = arena_new(PROGS_BYTES_MAX);
	p->expression = arena_dup(p->a, st->expression);
	p->limit_expression = arena_dup(p->a, st->max_runs_expression);
	p->key = cel_compile(p->a, cel_env(CEL_WORKFLOW), p->expression, NULL, &err);
	if (p->limit_expression.n)
		p->limit = cel_compile(p->a, cel_env(CEL_WORKFLOW), p->limit_expression, NULL, &err);
	(void)imap_put(&s->strategy_progs, st->strategy_no, p);
	return p;
}

/* Quoted as an element of an array literal of Postgres. */
static void put_element(struct strb *b, struct str s)
{
	strb_putc(b, '"');
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '"' || s.p[i] == '\\')
			strb_putc(b, '\\');
		strb_putc(b, s.p[i]);
	}
	strb_putc(b, '"');
}

/* The limit that this task brings along; -1: none. */
static bool eval_limit(struct eval *e, const struct cat_strategy *st, int32_t *ret)
{
	double d;

	*ret = -1;
	if (!st->max_runs_expression.n)
		return true;
	if (!eval_number(e, progs_of(e->s, st)->limit, st->max_runs_expression, &d))
		return false;
	if (!(d >= 0 && d <= INT32_MAX) || d != (double)(int32_t)d)
		return eval_fail(e, st->max_runs_expression, "the limit must be an integer from 0 to 2147483647");
	*ret = (int32_t)d;
	return true;
}

bool keys_eval(struct eval *e, struct svc_trigger_item *it, const struct cat_step *step, struct eng_entry *entries)
{
	struct strb keys, limits;
	bool ok = true;

	if (step->n_strategies == 0)
		return true;
	strb_init(&keys, 64 << 10);
	strb_init(&limits, 1 << 10);
	for (uint32_t i = 0; i < step->n_strategies && ok; i++) {
		const struct cat_strategy *st = step->strategies[i];
		struct str key;

		ok = eval_key(e, progs_of(e->s, st)->key, st->expression, &key) && eval_limit(e, st, &entries[i].limit);
		if (!ok)
			break;
		entries[i].key = hash(st->strategy_no, key);
		strb_putc(&keys, i ? ',' : '{');
		put_element(&keys, key);
		strb_putf(&limits, "%c%d", i ? ',' : '{', entries[i].limit);
	}
	strb_putc(&keys, '}');
	strb_putc(&limits, '}');
	if (ok) {
		it->keys = arena_dup(e->a, strb_str(&keys));
		it->key_limits = arena_dup(e->a, strb_str(&limits));
	}
	strb_fini(&keys);
	strb_fini(&limits);
	return ok;
}

void keys_stored(const struct cat_step *step, struct str keys, const int64_t *limits, size_t n_limits, struct eng_entry *entries)
{
	struct arena *a;
	const struct jv *v;
	struct err err;

	if (!step || step->n_strategies == 0)
		return;
	a = arena_new(STORED_BYTES_MAX);
	v = keys.n ? json_parse(a, keys, &err) : NULL;
	for (uint32_t i = 0; i < step->n_strategies; i++) {
		entries[i].key = hash(step->strategies[i]->strategy_no, jv_str(jv_at(v, i)));
		entries[i].limit = i < n_limits ? (int32_t)limits[i] : -1;
	}
	arena_free(a);
}

void svc_strategy_event(struct svc *s, const struct cat_strategy *st)
{
	svc_event(s, EV_STRATEGY)->strategy = (struct ev_strategy){.strategy_no = st->strategy_no, .kind = st->kind,
		.max_runs = st->max_runs};
}
