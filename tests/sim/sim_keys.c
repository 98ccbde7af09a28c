/* Concurrency as the model sees it: how many run under a key, whose turn it was, who was cancelled. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

struct count {
	int32_t running;
	bool is_dynamic;
};

static void check_running(struct sim *s, struct imap *counts, const struct rec *r, uint32_t entry)
{
	int32_t peak = s->peak[strategy_of(s, r, entry)->strategy_no - 90];
	int64_t key = (int64_t)r->entries[entry].key;
	struct count *c = imap_get(counts, key);

	if (!c) {
		c = xcalloc(1, sizeof(*c));
		(void)imap_put(counts, key, c);
	}
	c->running++;
	c->is_dynamic = c->is_dynamic || r->entries[entry].limit >= 0;
	MUST(s, c->running <= (c->is_dynamic ? MAX(peak, 4) : peak), "%d tasks of key %llx run, %d may", c->running, (unsigned long long)key,
	     peak);
}

/* At no instant do more run than the limit allows; where limits change, than they ever allowed. */
void keys_check_commit(struct sim *s)
{
	struct imap counts = {0};
	size_t it = 0;
	int64_t key;
	void *c;

	for (size_t i = 0; i < s->open.n; i++) {
		const struct rec *r = s->open.p[i];

		if (r->row == ROW_LIVE && (r->state == LIVE_ASSIGNED || r->state == LIVE_STARTED))
			for (uint32_t k = 0; k < step_of(s, r)->n_strategies; k++)
				check_running(s, &counts, r, k);
	}
	while ((c = imap_next(&counts, &it, &key)))
		free(c);
	imap_fini(&counts);
}

/* Between two tasks of a key with work, no other key of its rank gets more than one. */
void keys_check_dispatch(struct sim *s, const struct rec *r, const struct fx *fx)
{
	if (fx->kind != FX_ASSIGN)
		return;		/* at birth: nothing waited */
	vec_push(&s->dispatches, ((struct dispatch){r->action_no, fx->rank, r->turn_key}));
	for (size_t i = 0; i < s->open.n; i++) {
		const struct rec *o = s->open.p[i];
		int n = 0;

		if (o == r || o->n_limits || o->batch || r->batch || o->ready_since == SIZE_MAX || o->turn_key == r->turn_key || o->action_no != r->action_no || o->rank != fx->rank ||
		    o->step_no != r->step_no || o->desired_no != r->desired_no || o->has_wants != r->has_wants ||
		    o->n_wants != r->n_wants || memcmp(o->wants, r->wants, sizeof(o->wants)) != 0)
			continue;
		s->cover[C_turns]++;
		for (size_t k = s->dispatches.n; k > o->ready_since; k--) {
			const struct dispatch *d = &s->dispatches.p[k - 1];

			if (d->action_no != r->action_no || d->rank != fx->rank)
				continue;
			if (d->turn_key == o->turn_key)
				break;
			n += d->turn_key == r->turn_key;
		}
		MUST(s, n <= 1, "task %lld: its key gets a second turn before %lld has one", (long long)r->id, (long long)o->id);
	}
}

/* Only a strategy that cancels does so, only those it may, and only when there is no place. */
void keys_check_cancelled(struct sim *s, const struct rec *r, const struct fx *fx)
{
	bool may = false, may_running = false;

	for (uint32_t k = 0; k < step_of(s, r)->n_strategies; k++) {
		enum conc kind = strategy_of(s, r, k)->kind;

		may = may || kind != CONC_GROUP_ROUND_ROBIN;
		may_running = may_running || kind == CONC_CANCEL_IN_PROGRESS;
		s->cover[C_cancelled_newest] += kind == CONC_CANCEL_NEWEST;
		s->cover[C_cancelled_in_progress] += kind == CONC_CANCEL_IN_PROGRESS;
		s->cover[C_cancelled_queued] += kind == CONC_CANCEL_QUEUED_EXCEPT_NEWEST || kind == CONC_CANCEL_QUEUED_EXCEPT_OLDEST;
	}
	MUST(s, may, "task %lld is cancelled by a strategy that cancels nobody", (long long)r->id);
	MUST(s, may_running || !fx->worker_no, "task %lld runs and is cancelled by a strategy that leaves it alone", (long long)r->id);
	s->cover[C_cancelled_running] += fx->worker_no != 0;
	s->cover[C_refused_at_birth] += fx->kind == FX_INSERT;
}

void keys_check_step(struct sim *s)
{
	for (size_t i = 0; i < s->open.n; i++) {
		struct rec *r = s->open.p[i];
		struct eng_task_view v;
		bool is_live = engine_task(s->e, r->id, &v);

		if (is_live)
			limits_check_step(s, r, &v);
		s->cover[C_paused_task] += is_live && v.is_paused;
		s->cover[C_key_waits] += is_live && v.waits_for;
		if (!is_live || v.state != LIVE_QUEUED || v.waits_for || v.limited_by || v.is_paused || v.rank != r->rank)
			r->ready_since = SIZE_MAX;
		else if (r->ready_since == SIZE_MAX)
			r->ready_since = s->dispatches.n;
	}
}
