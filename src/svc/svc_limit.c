/* Rate limits: evaluated when a task is made, and hashed for the engine, which knows no texts. */
#include "svc_int.h"

#include "base/text.h"

#include <math.h>
#include <stdlib.h>

/* The programs of one limit of a step; NULL: not given, or it does not compile. */
struct limit_progs {
	const struct cel_prog *key, *units, *limit;
};
struct step_progs {
	struct arena *a;
	struct limit_progs limits[];
};

/* A key in words, for the row of its bucket. */
struct limit_name {
	int32_t tenant_no;
	uint32_t n;
	char key[];
};

enum { PROGS_BYTES_MAX = 64 << 20, NAMES_KEPT = 100000 };

static uint64_t hash_of(struct svc *s, int32_t tenant_no, struct str key)
{
	uint8_t seed[16] = "limits of tenant";
	struct limit_name *name;
	uint64_t h;

	memcpy(seed, &tenant_no, sizeof(tenant_no));
	h = siphash(key.p, key.n, seed);
	h = h ? h : 1;
	if (imap_get(&s->limit_names, (int64_t)h))
		return h;
	name = xmalloc(sizeof(*name) + key.n);
	*name = (struct limit_name){.tenant_no = tenant_no, .n = (uint32_t)key.n};
	memcpy(name->key, key.p, key.n);
	(void)imap_put(&s->limit_names, (int64_t)h, name);
	return h;
}

struct str svc_limit_key(const struct svc *s, uint64_t bucket)
{
	const struct limit_name *name = imap_get(&s->limit_names, (int64_t)bucket);

	return name ? (struct str){name->key, name->n} : STR_NULL;
}

/* Names of buckets that are no more: thrown away when there are many, and nothing is on the way. */
void limits_sweep(struct svc *s)
{
	VEC(int64_t) gone = {0};
	struct eng_bucket_view v;
	size_t it = 0;
	int64_t hash;

	if (s->limit_names.n < s->limit_names_kept)
		return;
	while (imap_next(&s->limit_names, &it, &hash))
		if (!s->engine || !engine_bucket(s->engine, (uint64_t)hash, &v))
			vec_push(&gone, hash);
	for (size_t i = 0; i < gone.n; i++)
		free(imap_del(&s->limit_names, gone.p[i]));
	vec_fini(&gone);
	s->limit_names_kept = MAX((size_t)NAMES_KEPT, 2 * s->limit_names.n);
}

void limits_init(struct svc *s)
{
	s->limit_names_kept = NAMES_KEPT;
}

void limits_fini(struct svc *s)
{
	size_t it = 0;
	void *p;

	while ((p = imap_next(&s->limit_names, &it, NULL)))
		free(p);
	imap_fini(&s->limit_names);
	it = 0;
	while ((p = imap_next(&s->limit_progs, &it, NULL))) {
		arena_free(((struct step_progs *)p)->a);
		free(p);
	}
	imap_fini(&s->limit_progs);
}

static const struct cel_prog *compile(struct arena *a, struct str expression)
{
	struct cel_err err;

	return expression.p ? cel_compile(a, cel_env(CEL_WORKFLOW), expression, NULL, &err) : NULL;
}

static const struct limit_progs *progs_of(struct svc *s, const struct cat_step *step)
{
	struct step_progs *p = imap_get(&s->limit_progs, step->step_no);

	if (p)
		return p->limits;
	p = xcalloc(1, sizeof(*p) + step->n_limits * sizeof(p->limits[0]));
	p->a = arena_new(PROGS_BYTES_MAX);
	for (uint32_t i = 0; i < step->n_limits; i++) {
		const struct cat_limit *l = &step->limits[i];

		p->limits[i] = (struct limit_progs){.key = compile(p->a, l->key_expr), .units = compile(p->a, l->units_expr),
			.limit = compile(p->a, l->limit_expr)};
	}
	(void)imap_put(&s->limit_progs, step->step_no, p);
	return p->limits;
}

/* Doubles lose what is behind the point. */
static bool number(struct eval *e, const struct cel_prog *p, struct str expression, int32_t least, int32_t *ret)
{
	double d;

	if (!eval_number(e, p, expression, &d))
		return false;
	if (!(trunc(d) >= least && trunc(d) <= INT32_MAX))
		return eval_fail(e, expression, arena_strf(e->a, "must give a number from %d to 2147483647", least).p);
	*ret = (int32_t)d;
	return true;
}

/* What a task takes of one limit, before it is hashed. */
struct part {
	struct str key;
	int32_t units, limit, window_s;
};

static bool part_eval(struct eval *e, const struct cat_limit *l, const struct limit_progs *p, struct part *ret)
{
	*ret = (struct part){.key = l->key, .units = l->units, .limit = -1, .window_s = l->window_s};
	return (!l->key_expr.p || eval_key(e, p->key, l->key_expr, &ret->key)) &&
	       (!l->units_expr.p || number(e, p->units, l->units_expr, 0, &ret->units)) &&
	       (!l->limit_expr.p || number(e, p->limit, l->limit_expr, -1, &ret->limit));
}

/* Of one key twice, the units are added up, and the lower limit counts. */
static void part_add(struct part *parts, uint32_t *n, const struct part *x)
{
	for (uint32_t i = 0; i < *n; i++) {
		struct part *y = &parts[i];

		if (!str_eq(y->key, x->key))
			continue;
		y->units = (int32_t)MIN((int64_t)y->units + x->units, INT32_MAX);
		y->window_s = y->limit == -1 ? x->window_s : x->limit == -1 ? y->window_s : MAX(x->window_s, y->window_s);
		y->limit = y->limit == -1 || (x->limit != -1 && x->limit < y->limit) ? x->limit : y->limit;
		return;
	}
	parts[(*n)++] = *x;
}

/* In the memory of this turn. */
static const struct eng_limit *hashed(struct svc *s, int32_t tenant_no, const struct part *parts, uint32_t n)
{
	struct eng_limit *out = xcalloc(n + 1, sizeof(*out));

	for (uint32_t i = 0; i < n; i++)
		out[i] = (struct eng_limit){.bucket = hash_of(s, tenant_no, parts[i].key), .units = parts[i].units, .limit = parts[i].limit,
			.window_us = (int64_t)parts[i].window_s * 1000000};
	vec_push(&s->turn_memory, (void *)out);
	return out;
}

static struct str format(struct arena *a, const struct part *parts, uint32_t n)
{
	struct strb b;
	struct jw w;
	struct str ret;

	strb_init(&b, 1u << 20);
	jw_init(&w, &b);
	jw_arr_begin(&w);
	for (uint32_t i = 0; i < n; i++) {
		jw_arr_begin(&w);
		jw_str(&w, parts[i].key);
		jw_i64(&w, parts[i].units);
		jw_i64(&w, parts[i].limit);
		jw_i64(&w, parts[i].window_s);
		jw_arr_end(&w);
	}
	jw_arr_end(&w);
	ret = arena_dup(a, strb_str(&b));
	strb_fini(&b);
	return ret;
}

bool limits_eval(struct eval *e, struct svc_trigger_item *it, const struct cat_step *step, const struct eng_limit **ret, uint32_t *ret_n)
{
	const struct limit_progs *progs = step->n_limits ? progs_of(e->s, step) : NULL;
	struct part parts[ENG_TASK_LIMITS], x;
	bool is_static = true;
	uint32_t n = 0;

	for (uint32_t i = 0; i < step->n_limits && i < ENG_TASK_LIMITS; i++) {
		is_static = is_static && cat_limit_is_static(&step->limits[i]);
		if (!part_eval(e, &step->limits[i], &progs[i], &x))
			return false;
		part_add(parts, &n, &x);
	}
	if (!is_static)
		it->limits = format(e->a, parts, n);
	*ret = hashed(e->s, step->version->workflow->tenant_no, parts, n);
	*ret_n = n;
	return true;
}

void limits_stored(struct svc *s, const struct cat_step *step, struct str stored, const struct eng_limit **ret, uint32_t *ret_n)
{
	struct part parts[ENG_TASK_LIMITS];
	struct arena *a;
	const struct jv *v;
	struct err err;
	uint32_t n = 0;

	if (!step || step->n_limits == 0)
		return;
	a = arena_new(1u << 20);
	v = stored.n ? json_parse(a, stored, &err) : NULL;
	for (uint32_t i = 0; v && i < jv_len(v) && i < ENG_TASK_LIMITS; i++) {
		const struct jv *p = jv_at(v, i);

		parts[n++] = (struct part){.key = jv_str(jv_at(p, 0)), .units = (int32_t)jv_i64(jv_at(p, 1), 0),
			.limit = (int32_t)jv_i64(jv_at(p, 2), -1), .window_s = (int32_t)jv_i64(jv_at(p, 3), 60)};
	}
	for (uint32_t i = 0; !v && i < step->n_limits && i < ENG_TASK_LIMITS; i++)
		part_add(parts, &n, &(struct part){.key = step->limits[i].key, .units = step->limits[i].units, .limit = -1,
			 .window_s = step->limits[i].window_s});
	*ret = hashed(s, step->version->workflow->tenant_no, parts, n);
	*ret_n = n;
	arena_free(a);
}

void limits_restore(struct svc *s, const struct read_limits *rows)
{
	for (uint32_t i = 0; i < rows->n; i++) {
		const struct limit_row *r = &rows->p[i];
		struct ev *ev = svc_event(s, EV_BUCKET);

		ev->tenant_no = r->tenant_no;
		ev->bucket = (struct ev_bucket){.hash = hash_of(s, r->tenant_no, r->key), .limit = r->limit, .restored = true,
			.window_us = (int64_t)r->window_s * 1000000, .is_dynamic = r->is_dynamic, .value = r->value, .since = r->window_start};
	}
}

void svc_put_rate_limit(struct svc *s, int32_t tenant_no, struct str key, int32_t limit, int32_t window_s, struct op *op)
{
	struct err err;
	struct ev *ev;

	if (!svc_accepts(s, &err)) {
		svc_fail_later(s, op, &err);
		return;
	}
	ev = svc_event(s, EV_BUCKET);
	ev->ref = call_new(s, CALL_LIMIT, op);
	ev->tenant_no = tenant_no;
	ev->bucket = (struct ev_bucket){.hash = hash_of(s, tenant_no, key), .limit = limit, .window_us = (int64_t)window_s * 1000000};
}

/* In words: which key, what was asked for, when there is more. */
struct str limit_note(const struct svc *s, const struct fx *fx, struct arena *a)
{
	struct str key = svc_limit_key(s, (uint64_t)fx->lane);
	char at[RFC3339_MAX] = "";

	if (fx->max < 0)
		return arena_strf(a, "rate limit '%.*s' is not set: it waits until it is", STR_FMT(key));
	if ((int64_t)fx->limit > fx->max)
		return arena_strf(a, "rate limit '%.*s' allows %d units: %u can never be had", STR_FMT(key), fx->max, fx->limit);
	if (fx->due_at != INT64_MIN)
		(void)rfc3339_format(fx->due_at, at);
	return arena_strf(a, "rate limit '%.*s' has %d of %d units left, %u are needed; it is refilled at %s", STR_FMT(key), fx->value, fx->max,
			  fx->limit, at);
}

void build_bucket(struct svc *s, const struct fx *fx)
{
	struct str key = svc_limit_key(s, (uint64_t)fx->lane);

	if (!key.p && fx->max >= 0)
		return;		/* forgotten since: it was full, and of no task */
	flush_bucket(s->flush, &(struct flush_bucket){.tenant_no = fx->tenant_no, .hash = fx->lane, .key = key, .limit = fx->max,
		.value = fx->value, .window_s = (int32_t)(fx->window_us / 1000000), .window_start = fx->started_at,
		.is_dynamic = fx->is_dynamic});
}
