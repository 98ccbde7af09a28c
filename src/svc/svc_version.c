/* Which version of a workflow a run gets, whatever door it comes through, and what the engine knows of it. */
#include "svc_int.h"

void svc_version_event(struct svc *s, const struct cat_version *v)
{
	for (uint32_t i = 0; i < v->n_steps; i++) {
		for (uint32_t k = 0; k < v->steps[i]->n_strategies; k++)
			svc_strategy_event(s, v->steps[i]->strategies[k]);
		svc_step_event(s, v->steps[i]);
	}
}

bool svc_find_version(const struct svc *s, int32_t tenant_no, struct str name, struct cat_version **ret, struct err *err)
{
	struct cat_workflow *w = cat_workflow_by_name(s->catalog, tenant_no, name);

	if (!w || !w->latest || w->latest->n_steps == 0)
		return err_set(err, ERR_NOT_FOUND, "workflow %.*s not found", (int)MIN(name.n, 200u), name.p);
	*ret = w->latest;
	if (w->latest->unsupported.n)
		return err_set(err, ERR_UNIMPLEMENTED, "workflow %.*s cannot run yet; not built: %.*s", (int)MIN(name.n, 100u), name.p,
			       STR_FMT(w->latest->unsupported));
	if (w->latest->is_dag || w->latest->n_steps != 1)
		return err_set(err, ERR_UNIMPLEMENTED, "workflow %.*s cannot run yet; not built: more than one task",
			       (int)MIN(name.n, 100u), name.p);
	return true;
}
