/* Calls about tasks: each becomes events of this turn, and its answer comes back as FX_ANSWER after the commit.
 * What the engine does not have in memory is looked up in the database here: final, in the tail, or unknown. */
#include "svc_int.h"

#include <stdlib.h>

/* --- answers that are known at once still come in a later step -------------------------------------------------------- */

struct later {
	struct defer defer;
	struct op *op;
	struct err err;
};

static void later_run(void *arg)
{
	struct later *l = arg;

	op_done(l->op, l->err.code == ERR_OK ? NULL : &l->err);
	free(l);
}

void svc_fail_later(struct svc *s, struct op *op, const struct err *err)
{
	struct later *l = xcalloc(1, sizeof(*l));

	l->op = op;
	if (err)
		l->err = *err;
	loop_defer(s->loop, &l->defer, later_run, l);
}

/* --- calls --------------------------------------------------------------------------------------------------------------- */

static void echo(struct svc *s, struct call *c, int32_t tenant_no, int64_t id)
{
	struct ev *ev = svc_event(s, EV_ECHO);

	ev->ref = c;
	ev->id = id;
	ev->tenant_no = tenant_no;
}

void svc_trigger(struct svc *s, int32_t tenant_no, struct svc_trigger_item *items, uint32_t n, struct op *op)
{
	struct now now = loop_now(s->loop);
	struct call *c;
	struct err err;

	if (!svc_accepts(s, &err) || n == 0) {
		svc_fail_later(s, op, n == 0 ? NULL : &err);
		return;
	}
	if (!child_families_known(s, tenant_no, items, n, op) || !idem_known(s, tenant_no, items, n, op))
		return;
	c = call_new(s, CALL_TRIGGER, op);
	c->left = n;
	for (uint32_t i = 0; i < n; i++) {
		struct svc_trigger_item *it = &items[i];
		const struct cat_step *step = it->version->steps[0];
		int16_t priority = it->priority ? it->priority : it->version->default_priority;
		struct made made = {0};
		const char *why = NULL;
		bool is_orphan;
		struct ev *ev;

		it->id = child_find(s, it);
		if (it->id) {
			echo(s, c, tenant_no, it->id);
			continue;
		}
		if (!engine_has_step(s->engine, step->step_no))
			svc_version_event(s, it->version);	/* read from the database before whoever put it was told */
		it->id = engine_next_id(s->engine, now, tenant_no);
		is_orphan = child_is_orphan(s, it);
		if (!is_orphan && idem_collides(s, it)) {
			echo(s, c, tenant_no, it->holder_id);	/* behind what the holder waits for */
			continue;
		}
		if (!is_orphan) {
			idem_claim(s, tenant_no, it);
			why = eval_task(s, it, &made);
		}
		child_add(s, it);
		ev = svc_event(s, EV_NEW);
		ev->ref = c;
		ev->id = it->id;
		ev->tenant_no = tenant_no;
		ev->payload = it;
		ev->new = (struct ev_new){.id = it->id, .tenant_no = tenant_no, .step_no = step->step_no,
			.rank = (int8_t)rank_of_priority(priority), .schedule_ms = step->schedule_ms, .exec_ms = step->exec_ms,
			.parent_id = it->parent_id, .is_over = is_orphan || why,
			.status = why ? ATTEMPT_FAILED : ATTEMPT_CANCELLED, .text = why ? why : CANCEL_BY_PARENT,
			.place = svc_place(s, it->desired_no, it->labels.p != NULL, it->wants, it->n_wants)};
		memcpy(ev->new.entries, made.entries, sizeof(made.entries));
		ev->new.limits = made.limits;
		ev->new.n_limits = made.n_limits;
		ev->new.batch = batch_hash(step, it->batch_key);
		ev->new.bytes = batch_bytes(it->input.n);
	}
}

void svc_report(struct svc *s, int32_t tenant_no, int64_t id, int32_t attempt, enum svc_report_kind kind, struct str payload,
		bool no_retry, struct op *op)
{
	svc_report_member(s, tenant_no, 0, id, attempt, kind, payload, no_retry, op);
}

void svc_report_member(struct svc *s, int32_t tenant_no, int64_t batch_id, int64_t id, int32_t attempt, enum svc_report_kind kind,
		       struct str payload, bool no_retry, struct op *op)
{
	static const enum ev_kind kinds[] = {EV_STARTED, EV_COMPLETED, EV_FAILED, EV_CANCEL};
	struct err err;
	struct call *c;
	struct ev *ev;

	if (!svc_is_ready(s, &err)) {
		svc_fail_later(s, op, &err);
		return;
	}
	c = call_new(s, CALL_REPORT, op);
	c->payload = payload;
	c->tenant_no = tenant_no;
	c->id = id;
	c->attempt = attempt;
	ev = svc_event(s, kinds[kind]);
	ev->ref = c;
	ev->id = id;
	ev->tenant_no = tenant_no;
	ev->attempt = attempt;
	ev->batch_id = batch_id;
	ev->no_retry = no_retry;
	ev->payload = kind == SVC_COMPLETED || kind == SVC_FAILED ? c : NULL;
}

static void cancel_event(struct svc *s, struct call *c, int64_t id)
{
	struct ev *ev = svc_event(s, EV_CANCEL);

	ev->ref = c;
	ev->id = id;
	ev->tenant_no = c->tenant_no;
	ev->attempt = -1;
}

void svc_cancel(struct svc *s, int32_t tenant_no, const int64_t *ids, uint32_t n, struct op *op)
{
	struct err err;
	struct call *c;

	if (!svc_is_ready(s, &err) || n == 0) {
		svc_fail_later(s, op, n == 0 ? NULL : &err);
		return;
	}
	c = call_new(s, CALL_CANCEL, op);
	c->left = n;
	c->tenant_no = tenant_no;
	for (uint32_t i = 0; i < n; i++)
		cancel_event(s, c, ids[i]);
}

static struct ev *slot_event(struct svc *s, enum call_kind call, enum ev_kind kind, int32_t tenant_no, int64_t id, struct op *op)
{
	struct call *c;
	struct ev *ev;
	struct err err;

	if (!svc_is_ready(s, &err)) {
		svc_fail_later(s, op, &err);
		return NULL;
	}
	c = call_new(s, call, op);
	c->tenant_no = tenant_no;
	c->id = id;
	ev = svc_event(s, kind);
	ev->ref = c;
	ev->id = id;
	ev->tenant_no = tenant_no;
	ev->attempt = -1;
	return ev;
}

void svc_release_slot(struct svc *s, int32_t tenant_no, int64_t id, struct op *op)
{
	(void)slot_event(s, CALL_SLOT, EV_RELEASE_SLOT, tenant_no, id, op);
}

void svc_refresh_timeout(struct svc *s, int32_t tenant_no, int64_t id, int64_t ms, int64_t *ret_timeout_at_us, struct op *op)
{
	struct ev *ev = slot_event(s, CALL_REFRESH, EV_REFRESH, tenant_no, id, op);

	if (!ev)
		return;
	ev->ms = ms;
	((struct call *)ev->ref)->ret_time = ret_timeout_at_us;
}

/* --- not in memory ------------------------------------------------------------------------------------------------------- */

struct lookup {
	struct svc *s;
	struct arena *a;
	struct op op;
	struct call *call;
	uint64_t engine_no;
	int64_t id;
	struct read_tasks got;
};

static void cancel_found(struct svc *s, struct call *c, const struct task_view *t)
{
	struct ev *ev;

	if (t->live_state < 0 && !t->in_tail) {
		call_end(s, c, NULL);	/* final: nothing to do */
		return;
	}
	cancel_event(s, c, t->id);
	if (!t->in_tail)
		return;	/* loaded meanwhile */
	ev = &s->evs.p[s->evs.n - 1];
	ev->tail = true;
	ev->action_no = t->action_no;
	ev->rank = (int8_t)t->rank;
	ev->lane = t->lane;
	ev->restore = (struct ev_restore){.id = t->id, .tenant_no = t->tenant_no, .step_no = t->step_no, .state = LIVE_QUEUED,
		.rank = (int8_t)t->rank, .attempt = t->live_attempt, .app_retries = t->app_retries,
		.internal_retries = t->internal_retries, .queued_at = t->live_queued_at, .assigned_at = INT64_MIN,
		.started_at = INT64_MIN, .due_at = t->live_due_at};
}

static void lookup_done(struct op *op, const struct err *err)
{
	struct lookup *l = op->arg;
	struct svc *s = l->s;
	struct call *c = l->call;
	struct err none = {.code = ERR_INVALID};

	if (err || l->engine_no != s->engine_no || !s->loaded) {
		err_set(&none, ERR_UNAVAILABLE, "the database is away; try again");
		call_end(s, c, err ? err : &none);
	} else if (c->kind == CALL_CANCEL) {
		if (l->got.n == 0)
			call_end(s, c, NULL);
		else
			cancel_found(s, c, &l->got.tasks[0]);
	} else if (l->got.n == 0) {
		err_set(&none, ERR_INVALID, "task_run_external_id: no such task");
		call_end(s, c, &none);
	} else {
		call_end(s, c, NULL);	/* a late report of a task that has ended or waits: ignored */
	}
	arena_free(l->a);
	free(l);
}

static void look_up(struct svc *s, struct call *c, int64_t id)
{
	struct lookup *l = xcalloc(1, sizeof(*l));

	l->s = s;
	l->call = c;
	l->engine_no = s->engine_no;
	l->id = id;
	l->a = arena_new(16u << 20);
	l->op = (struct op){.fn = lookup_done, .arg = l};
	read_tasks(s->db, l->a, c->tenant_no, &l->id, 1, 0, &l->got, &l->op);
}

void svc_task_answer(struct svc *s, const struct fx *fx)
{
	struct call *c = fx->ref;
	struct err err;

	if (!c)
		return;
	if (fx->code == ERR_NOT_FOUND && (c->kind == CALL_CANCEL || c->kind == CALL_REPORT)) {
		look_up(s, c, fx->id);
		return;
	}
	if (fx->code == ERR_OK) {
		if (c->kind == CALL_REFRESH && c->ret_time)
			*c->ret_time = fx->due_at;
		call_end(s, c, NULL);
		return;
	}
	if (fx->code == ERR_NOT_FOUND)
		err_set(&err, ERR_NOT_FOUND, "task_run_external_id: the task is not running");
	else
		err_set(&err, fx->code, "%s", fx->text ? fx->text : "failed");
	call_end(s, c, &err);
}
