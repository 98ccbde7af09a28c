/* Pause of workflows: stored first, then told to the engine; answered when what was assigned before is stored. */
#include "svc_int.h"

#include <stdlib.h>

void svc_flow_event(struct svc *s, const struct cat_workflow *w, void *ref)
{
	struct ev *ev = svc_event(s, EV_FLOW);

	ev->ref = ref;
	ev->tenant_no = w->tenant_no;
	ev->flow = (struct ev_flow){.workflow_no = w->workflow_no, .is_paused = w->pause.is_paused, .paused_at = w->pause.paused_at,
		.unpaused_at = w->pause.unpaused_at, .ttl_us = w->pause.ttl_ms * 1000};
}

struct pausing {
	struct svc *s;
	struct cat_workflow *w;
	struct op op;
	struct op *outer;
};

static void stored(struct op *op, const struct err *err)
{
	struct pausing *p = op->arg;
	struct svc *s = p->s;
	struct err away;

	if (err)
		op_done(p->outer, err);
	else if (!svc_is_ready(s, &away))
		op_done(p->outer, &away);	/* who becomes active reads it */
	else
		svc_flow_event(s, p->w, call_new(s, CALL_PAUSE, p->outer));
	free(p);
}

void svc_pause_workflow(struct svc *s, struct cat_workflow *w, bool on, int64_t ttl_ms, bool drops_cron, bool drops_scheduled, struct op *op)
{
	struct cat_pause next = w->pause;
	struct pausing *p;
	struct err err;

	if (!svc_is_ready(s, &err)) {
		svc_fail_later(s, op, &err);
		return;
	}
	if (on && !next.is_paused)
		next.paused_at = loop_now(s->loop).wall_us;
	else if (!on && next.is_paused)
		next.unpaused_at = loop_now(s->loop).wall_us;
	next.is_paused = on;
	if (on) {
		next.ttl_ms = ttl_ms;
		next.drops_cron = drops_cron;
		next.drops_scheduled = drops_scheduled;
	}
	p = xcalloc(1, sizeof(*p));
	*p = (struct pausing){.s = s, .w = w, .outer = op};
	p->op = (struct op){.fn = stored, .arg = p};
	cat_pause_workflow(s->catalog, w, &next, &p->op);
}
