/* Concurrency of a definition: are its entries well formed, and what they become in the catalog. */
#include "api_int.h"

#include "base/text.h"

#include <stdio.h>

enum { TEXT_BYTES_MAX = 16384, NAME_BYTES_MAX = 512 };

bool expression_check(ProtobufCBinaryData in, enum cel_use use, unsigned kinds, const char *kind_name, const char *field, struct err *err)
{
	struct arena *a = arena_new(32u << 20);
	const struct cel_prog *p;
	struct cel_err why;
	struct str s;
	bool ok = pb_str(in, field, &s, err);

	p = ok ? cel_compile(a, cel_env(use), s, NULL, &why) : NULL;
	if (ok && !p)
		ok = err_set(err, ERR_INVALID, "%s: line %u, column %u: %s", field, why.line, why.column, why.msg);
	if (ok && !cel_can_be(p, kinds))
		ok = err_set(err, ERR_INVALID, "%s: must give %s, gives %.*s", field, kind_name, STR_FMT(cel_static_type(p)));
	arena_free(a);
	return ok;
}

static bool is_shared(const V1__Concurrency *c)
{
	return PB_HAS(c, is_tenant_scoped) && c->is_tenant_scoped;
}

bool concurrency_check(const V1__Concurrency *c, const char *field, struct err *err)
{
	int strategy = PB_HAS(c, limit_strategy) ? (int)c->limit_strategy : 0;
	char f[200];

	(void)snprintf(f, sizeof(f), "%s.expression", field);
	if (!c->expression.len)
		return err_set(err, ERR_INVALID, "%s: must not be empty", f);
	if (!expression_check(c->expression, CEL_WORKFLOW, CEL_K(STRING), "a string", f, err))
		return false;
	if (PB_HAS(c, max_runs) && c->max_runs < 0)
		return err_set(err, ERR_INVALID, "%s.max_runs: must be at least 0", field);
	(void)snprintf(f, sizeof(f), "%s.max_runs_expression", field);
	if (PB_HAS(c, max_runs_expression) && c->max_runs_expression.len &&
	    !expression_check(c->max_runs_expression, CEL_WORKFLOW, CEL_K(INT) | CEL_K(UINT) | CEL_K(DOUBLE), "an integer", f, err))
		return false;
	if (strategy < 0 || strategy > 6 || strategy == 1 || strategy == 2)
		return err_set(err, ERR_INVALID, "%s.limit_strategy: %d is not allowed", field, strategy);
	(void)snprintf(f, sizeof(f), "%s.name", field);
	if (!is_shared(c))
		return true;
	if (!c->name.len || c->name.len > NAME_BYTES_MAX)
		return err_set(err, ERR_INVALID, "%s: must have 1 to %d characters when is_tenant_scoped is set", f, NAME_BYTES_MAX);
	return text_check(pb_raw(c->name), f, err);
}

static void add(struct cat_put_strategy *s, const V1__Concurrency *c)
{
	*s = (struct cat_put_strategy){.kind = (enum conc)c->limit_strategy, .max_runs = c->max_runs, .expression = pb_raw(c->expression)};
	if (is_shared(c))
		s->name = pb_raw(c->name);
	if (PB_HAS(c, max_runs_expression))
		s->max_runs_expression = pb_raw(c->max_runs_expression);
}

/* The workflow's entries come before the task's: with one task both count its runs. */
bool def_strategies(struct arena *a, const V1__CreateWorkflowVersionRequest *norm, struct cat_put *put, struct err *err)
{
	const V1__CreateTaskOpts *t = norm->tasks[0];
	size_t n = norm->n_concurrency_arr + t->n_concurrency, k = 0;
	struct cat_put_strategy *s;

	if (norm->n_tasks > 1 || norm->on_failure_task)
		return true;
	if (n > ENG_STEP_ENTRIES)
		return err_set(err, ERR_INVALID, "tasks[0].concurrency: %zu entries with those of the workflow, at most %d", n, ENG_STEP_ENTRIES);
	s = ARENA_ARRAY(a, struct cat_put_strategy, n + 1);
	for (size_t i = 0; i < norm->n_concurrency_arr; i++)
		add(&s[k++], norm->concurrency_arr[i]);
	for (size_t i = 0; i < t->n_concurrency; i++)
		add(&s[k++], t->concurrency[i]);
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < i; j++)
			if (s[i].name.n && str_eq(s[i].name, s[j].name))
				return err_set(err, ERR_INVALID, "concurrency: the shared strategy '%.*s' is there twice",
					       (int)MIN(s[i].name.n, 100u), s[i].name.p);
	put->strategies = s;
	put->n_strategies = (uint32_t)n;
	return true;
}

static size_t place_of(const struct cat_put *put, struct str name)
{
	size_t i = 0;

	while (i < put->n_strategies && !(name.p && str_eq(put->strategies[i].name, name)))
		i++;
	return i;
}

bool def_order_of_shared(struct req *r, const struct cat_put *put, struct err *err)
{
	struct cat_workflow **all;
	size_t n = put->n_strategies ? cat_workflows(catalog_of(r), put->tenant_no, req_arena(r), &all) : 0;

	for (size_t i = 0; i < n; i++) {
		const struct cat_step *s = all[i]->latest && all[i]->latest->n_steps ? all[i]->latest->steps[0] : NULL;
		size_t last = 0;
		struct str name = STR_NULL;

		if (!s || str_eq(all[i]->name, put->name))
			continue;
		for (uint32_t k = 0; k < s->n_strategies; k++) {
			size_t at = place_of(put, s->strategies[k]->name);

			if (at == put->n_strategies)
				continue;
			if (name.p && at < last)
				return err_set(err, ERR_INVALID, "concurrency: workflow %.*s takes the shared strategies '%.*s' and '%.*s' in the "
					       "other order: they would wait for each other", (int)MIN(all[i]->name.n, 100u), all[i]->name.p,
					       (int)MIN(name.n, 100u), name.p, (int)MIN(s->strategies[k]->name.n, 100u), s->strategies[k]->name.p);
			last = at;
			name = s->strategies[k]->name;
		}
	}
	return true;
}
