/* Pause: nothing of a paused workflow is newly assigned.
 *
 * What waits is parked with its workflow, outside of limits, keys and queues, and holds nothing; its schedule budget stands still and
 * begins anew when the workflow goes on.  With a time to live, what has been parked for so long is cancelled.  Nothing of it is
 * stored but the times of the workflow: since when a task is parked, and until when it may wait, follow from them. */
#include "eng_int.h"

#include <stdlib.h>

struct flow *flow_get(struct engine *e, int32_t workflow_no)
{
	struct flow *f = imap_get(&e->flows, workflow_no);

	if (f)
		return f;
	f = xcalloc(1, sizeof(*f));
	*f = (struct flow){.workflow_no = workflow_no, .paused_at = INT64_MIN, .unpaused_at = INT64_MIN};
	(void)imap_put(&e->flows, workflow_no, f);
	return f;
}

void flow_free(struct flow *f)
{
	heap_fini(&f->parked);
	free(f);
}

/* When a task that was queued then is cancelled, if it is parked; INT64_MIN: never. */
static int64_t gone_at(const struct flow *f, int64_t queued_at)
{
	return f->ttl_us > 0 ? MAX(queued_at, f->paused_at) + f->ttl_us : INT64_MIN;
}

bool flow_wait(struct engine *e, struct task *t)
{
	struct flow *f = t->step->flow;

	if (!f->is_paused)
		return false;
	t->is_paused = true;
	t->park_item.tie = t->id;
	heap_set(&f->parked, &t->park_item, t->id);
	task_parked(e, t, 1);
	task_set_due(e, t, gone_at(f, t->queued_at));
	return true;
}

void flow_leave(struct engine *e, struct task *t)
{
	if (!t->is_paused)
		return;
	t->is_paused = false;
	heap_del(&t->step->flow->parked, &t->park_item);
	task_parked(e, t, -1);
}

int64_t flow_due(const struct flow *f, int64_t queued_at, int64_t schedule_ms, int64_t due_at)
{
	if (f->unpaused_at == INT64_MIN || queued_at >= f->unpaused_at)
		return due_at;
	return MAX(due_at, f->unpaused_at + MIN(schedule_ms, (INT64_MAX / 4 - f->unpaused_at) / 1000) * 1000);
}

enum flow_says flow_says(const struct engine *e, const struct step *s, int64_t queued_at, int64_t schedule_ms)
{
	const struct flow *f = s->flow;

	if (f->is_paused)
		return f->ttl_us > 0 && gone_at(f, queued_at) <= e->now.wall_us ? FLOW_TTL_OVER : FLOW_SPARES;
	return flow_due(f, queued_at, schedule_ms, INT64_MIN) > e->now.wall_us ? FLOW_SPARES : FLOW_LETS;
}

static void pause_all(struct engine *e, struct flow *f)
{
	size_t it = 0;
	int64_t id;
	void *p;

	while ((p = imap_next(&e->tasks, &it, &id))) {
		struct task *t = p;

		if (t->waits && t->step->flow == f)
			task_park(e, t);
	}
}

static void unpause_all(struct engine *e, struct flow *f)
{
	struct heap_item *it;

	while ((it = heap_min(&f->parked))) {
		struct task *t = container_of(it, struct task, park_item);

		flow_leave(e, t);
		task_budget(e, t);
		task_go(e, t);
	}
}

void flow_event(struct engine *e, const struct ev *ev)
{
	struct flow *f = flow_get(e, ev->flow.workflow_no);
	bool was_paused = f->is_paused;

	f->is_paused = ev->flow.is_paused;
	f->paused_at = ev->flow.paused_at;
	f->unpaused_at = ev->flow.unpaused_at;
	f->ttl_us = ev->flow.ttl_us;
	if (f->is_paused)
		pause_all(e, f);	/* also those that are parked: another time to live */
	else if (was_paused)
		unpause_all(e, f);
	eng_answer(e, ev, ERR_OK, NULL);
}
