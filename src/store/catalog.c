/* The dictionaries in memory: look-ups, and which announcement reads what again.
 *
 * Invariant: an object, once found, stays where it is and keeps its identity; readers hold pointers.  What changes about it
 * changes in place, after the commit that changed it.  An object appears whole: its rows are all read before any is taken. */
#include "catalog_int.h"

#include "base/log.h"
#include "io/loop.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct load {
	struct list node;	/* catalog.loads */
	struct catalog *c;
	struct op *op;
};

struct catalog *catalog_new(struct db *db)
{
	struct catalog *c = xcalloc(1, sizeof(*c));

	c->db = db;
	list_init(&c->jobs);
	list_init(&c->writes);
	list_init(&c->loads);
	c->a = arena_new((size_t)4 << 30);
	snprintf(c->tag, sizeof(c->tag), "%llx", (unsigned long long)((uint64_t)loop_mono_us() << 20 ^ (uint64_t)getpid()));
	return c;
}

void catalog_free(struct catalog *c)
{
	size_t it = 0;
	struct worker_rec *r;

	if (!c)
		return;
	while ((r = imap_next(&c->workers, &it, NULL)) != NULL)
		free(r->label_block);
	catalog_writes_free(c);
	catalog_jobs_free(c);
	LIST_FOREACH_SAFE(load, &c->loads)
		free(LIST_ENTRY(load, struct load, node));
	imap_fini(&c->tenants);
	imap_fini(&c->workflows);
	imap_fini(&c->versions);
	imap_fini(&c->steps);
	imap_fini(&c->actions);
	imap_fini(&c->workers);
	imap_fini(&c->slot_types);
	imap_fini(&c->strategies);
	smap_fini(&c->tenants_by_id);
	smap_fini(&c->workflows_by_id);
	smap_fini(&c->workflows_by_name);
	smap_fini(&c->versions_by_id);
	smap_fini(&c->workers_by_id);
	smap_fini(&c->tokens);
	arena_free(c->a);
	free(c);
}

/* --- loading and announcements ------------------------------------------------------------------------------------------- */

static void ignore(void *arg, const struct err *err)
{
	if (err)
		log_warn("dictionaries not read again", F_C("why", err->msg));
	(void)arg;
}

static void loaded(void *arg, const struct err *err)
{
	struct load *l = arg;
	struct catalog *c = l->c;
	struct op *op = l->op;

	c->is_loading = false;
	c->is_loaded = c->is_loaded || !err;
	if (c->is_missed && !err) {
		c->is_missed = false;
		c->is_loading = true;
		catalog_reload(c, RELOAD_ALL, 0, NULL, loaded, l);
		return;
	}
	list_del(&l->node);
	free(l);
	op_done(op, err);
}

void catalog_load(struct catalog *c, struct op *op)
{
	struct load *l = xcalloc(1, sizeof(*l));

	list_push_back(&c->loads, &l->node);
	l->c = c;
	l->op = op;
	c->is_loading = true;
	c->is_missed = false;
	catalog_reload(c, RELOAD_ALL, 0, NULL, loaded, l);
}

static struct str next_word(struct str *s)
{
	const char *sp = s->n ? memchr(s->p, ' ', s->n) : NULL;
	struct str w = {s->p, sp ? (size_t)(sp - s->p) : s->n};

	*s = sp ? (struct str){sp + 1, s->n - w.n - 1} : STR_NULL;
	return w;
}

void catalog_on_notify(struct catalog *c, struct str payload)
{
	struct str what, which;
	struct uuid u;
	int64_t no;

	if (c->is_loading)
		c->is_missed = true;
	if (!c->is_loaded || c->is_loading)
		return;
	if (!payload.p) {
		catalog_reload(c, RELOAD_ALL, 0, NULL, ignore, NULL);
		return;
	}
	what = next_word(&payload);
	which = next_word(&payload);
	if (str_eq(payload, str_c(c->tag)))
		return;
	if (str_eq(what, STR("token")) && uuid_parse(which, &u))
		catalog_reload(c, RELOAD_TOKENS, 0, &u, ignore, NULL);
	else if (str_eq(what, STR("workflow")) && str_to_i64(which, &no))
		catalog_reload(c, RELOAD_WORKFLOW, (int32_t)no, NULL, ignore, NULL);
	else if (str_eq(what, STR("worker")) && str_to_i64(which, &no))
		catalog_reload(c, RELOAD_WORKER, (int32_t)no, NULL, ignore, NULL);
	else
		catalog_reload(c, RELOAD_TENANTS, 0, NULL, ignore, NULL);
}

/* --- look-ups ------------------------------------------------------------------------------------------------------------ */

static struct str uuid_key(const struct uuid *u)
{
	return (struct str){(const char *)u->b, sizeof(u->b)};
}

const struct id_secret *catalog_id_secret(const struct catalog *c)
{
	return &c->id_secret;
}

struct str catalog_signing_key(const struct catalog *c)
{
	return c->signing_key;
}

struct cat_tenant *cat_tenant(const struct catalog *c, int32_t tenant_no)
{
	return imap_get(&c->tenants, tenant_no);
}

struct cat_tenant *cat_tenant_by_uuid(const struct catalog *c, const struct uuid *u)
{
	return smap_get(&c->tenants_by_id, uuid_key(u));
}

struct cat_workflow *cat_workflow(const struct catalog *c, int32_t workflow_no)
{
	return imap_get(&c->workflows, workflow_no);
}

struct str catalog_name_key(struct arena *a, int32_t tenant_no, struct str name)
{
	return arena_strf(a, "%d %.*s", tenant_no, STR_FMT(name));
}

struct cat_workflow *cat_workflow_by_name(const struct catalog *c, int32_t tenant_no, struct str name)
{
	char buf[512];
	int n = snprintf(buf, sizeof(buf), "%d %.*s", tenant_no, STR_FMT(name));
	struct cat_workflow *w;
	struct arena *a;

	if (n >= 0 && (size_t)n < sizeof(buf))
		return smap_get(&c->workflows_by_name, (struct str){buf, (size_t)n});
	a = arena_new(name.n + 4096);
	w = smap_get(&c->workflows_by_name, catalog_name_key(a, tenant_no, name));
	arena_free(a);
	return w;
}

struct cat_workflow *cat_workflow_by_uuid(const struct catalog *c, const struct uuid *u)
{
	return smap_get(&c->workflows_by_id, uuid_key(u));
}

static int newer_workflow(const void *a, const void *b)
{
	int32_t x = (*(struct cat_workflow *const *)a)->workflow_no, y = (*(struct cat_workflow *const *)b)->workflow_no;

	return (x < y) - (x > y);
}

size_t cat_workflows(const struct catalog *c, int32_t tenant_no, struct arena *a, struct cat_workflow ***ret)
{
	struct cat_workflow *w, **v = ARENA_ARRAY(a, struct cat_workflow *, c->workflows.n + 1);
	size_t n = 0, it = 0;

	while ((w = imap_next(&c->workflows, &it, NULL)) != NULL)
		if (w->tenant_no == tenant_no && !w->deleted)
			v[n++] = w;
	qsort(v, n, sizeof(v[0]), newer_workflow);
	*ret = v;
	return n;
}

struct cat_version *cat_version(const struct catalog *c, int32_t version_no)
{
	return imap_get(&c->versions, version_no);
}

struct cat_version *cat_version_by_uuid(const struct catalog *c, const struct uuid *u)
{
	return smap_get(&c->versions_by_id, uuid_key(u));
}

struct cat_step *cat_step(const struct catalog *c, int32_t step_no)
{
	return imap_get(&c->steps, step_no);
}

static int lower_step(const void *a, const void *b)
{
	int32_t x = (*(struct cat_step *const *)a)->step_no, y = (*(struct cat_step *const *)b)->step_no;

	return (x > y) - (x < y);
}

size_t cat_steps(const struct catalog *c, struct arena *a, struct cat_step ***ret)
{
	struct cat_step *s, **v = ARENA_ARRAY(a, struct cat_step *, c->steps.n + 1);
	size_t n = 0, it = 0;

	while ((s = imap_next(&c->steps, &it, NULL)) != NULL)
		v[n++] = s;
	qsort(v, n, sizeof(v[0]), lower_step);
	*ret = v;
	return n;
}

struct cat_strategy *cat_strategy(const struct catalog *c, int32_t strategy_no)
{
	return imap_get(&c->strategies, strategy_no);
}

static int lower_strategy(const void *a, const void *b)
{
	const struct cat_strategy *x = *(struct cat_strategy *const *)a, *y = *(struct cat_strategy *const *)b;

	return (x->strategy_no > y->strategy_no) - (x->strategy_no < y->strategy_no);
}

size_t cat_strategies(const struct catalog *c, struct arena *a, struct cat_strategy ***ret)
{
	struct cat_strategy *s, **v = ARENA_ARRAY(a, struct cat_strategy *, c->strategies.n + 1);
	size_t n = 0, it = 0;

	while ((s = imap_next(&c->strategies, &it, NULL)) != NULL)
		v[n++] = s;
	qsort(v, n, sizeof(v[0]), lower_strategy);
	*ret = v;
	return n;
}

struct cat_worker *cat_worker(const struct catalog *c, int32_t worker_no)
{
	return imap_get(&c->workers, worker_no);
}

struct cat_worker *cat_worker_by_uuid(const struct catalog *c, const struct uuid *u)
{
	return smap_get(&c->workers_by_id, uuid_key(u));
}

static int newer_worker(const void *a, const void *b)
{
	int32_t x = (*(struct cat_worker *const *)a)->worker_no, y = (*(struct cat_worker *const *)b)->worker_no;

	return (x < y) - (x > y);
}

size_t cat_workers(const struct catalog *c, int32_t tenant_no, struct arena *a, struct cat_worker ***ret)
{
	struct cat_worker *w, **v = ARENA_ARRAY(a, struct cat_worker *, c->workers.n + 1);
	size_t n = 0, it = 0;

	while ((w = imap_next(&c->workers, &it, NULL)) != NULL)
		if (!tenant_no || w->tenant_no == tenant_no)
			v[n++] = w;
	qsort(v, n, sizeof(v[0]), newer_worker);
	*ret = v;
	return n;
}

struct str cat_slot_type_name(const struct catalog *c, int32_t type_no)
{
	const struct str *s = imap_get(&c->slot_types, type_no);

	return s ? *s : STR_NULL;
}

struct cat_token *cat_token_cached(const struct catalog *c, const struct uuid *u)
{
	return smap_get(&c->tokens, uuid_key(u));
}
