/* Becoming active: dictionaries, highest id, live rows and tails into a fresh engine, in that order; then ready. */
#include "svc_int.h"

#include "base/log.h"

#include <stdlib.h>

enum stage { STAGE_CATALOG, STAGE_MAX_ID, STAGE_LIVE, STAGE_TAILS, STAGE_LANES, STAGE_LIMITS };
static const int64_t retry_us = 1000000;

static void load_next(struct op *op, const struct err *err);

static void load_stage(struct svc *s, enum stage stage)
{
	s->load_stage = stage;
	switch (stage) {
	case STAGE_CATALOG:
		catalog_load(s->catalog, &s->load_op);
		break;
	case STAGE_MAX_ID:
		read_max_id(s->db, s->load_arena, &s->load_max_id, &s->load_op);
		break;
	case STAGE_LIVE:
		read_live(s->db, s->load_arena, &s->load_live, &s->load_op);
		break;
	case STAGE_TAILS:
		read_tails(s->db, s->load_arena, &s->load_tails, &s->load_op);
		break;
	case STAGE_LANES:
		read_lanes(s->db, s->load_arena, &s->load_lanes, &s->load_op);
		break;
	case STAGE_LIMITS:
		read_limits(s->db, s->load_arena, &s->load_limits, &s->load_op);
		break;
	}
}

static void restore_worker(struct svc *s, int32_t worker_no)
{
	struct cat_worker *w = worker_no ? cat_worker(s->catalog, worker_no) : NULL;

	if (!w || imap_get(&s->workers, worker_no))
		return;
	(void)svc_worker_get(s, w);
	svc_worker_event(s, w, true);
	if (w->ended_at != INT64_MIN)
		svc_event(s, EV_WORKER_END)->worker_no = worker_no;
}

static void restore_dictionaries(struct svc *s)
{
	struct cat_strategy **strategies;
	struct cat_step **steps;
	struct cat_worker **workers;
	size_t n = cat_strategies(s->catalog, s->load_arena, &strategies);

	for (size_t i = 0; i < n; i++)
		svc_strategy_event(s, strategies[i]);
	n = cat_steps(s->catalog, s->load_arena, &steps);
	for (size_t i = 0; i < n; i++)
		if (steps[i]->version->workflow->pause.paused_at != INT64_MIN)
			svc_flow_event(s, steps[i]->version->workflow, NULL);

	for (size_t i = 0; i < n; i++)
		svc_step_event(s, steps[i]);
	n = cat_workers(s->catalog, 0, s->load_arena, &workers);
	for (size_t i = 0; i < n; i++)
		if (workers[i]->ended_at == INT64_MIN)
			restore_worker(s, workers[i]->worker_no);
}

static void restore_tails(struct svc *s, const struct read_tails *tails)
{
	for (uint32_t i = 0; i < tails->n; i++) {
		const struct tail_row *r = &tails->p[i];
		struct ev *ev = svc_event(s, EV_TAIL);

		ev->tenant_no = r->tenant_no;
		ev->action_no = r->action_no;
		ev->rank = (int8_t)r->rank;
		ev->due_at = r->due_at;
		ev->id = r->last_id;
		ev->lane = r->lane;
		ev->step_no = r->step_no;
		ev->key_limit = r->key_limit;
	}
}

static void restore_rows(struct svc *s)
{
	for (uint32_t i = 0; i < s->load_live.n; i++) {
		const struct live_row *r = &s->load_live.p[i];
		struct ev *ev;

		restore_worker(s, r->worker_no);
		ev = svc_event(s, EV_RESTORE);
		ev->id = r->id;
		ev->tenant_no = r->tenant_no;
		ev->restore = (struct ev_restore){.id = r->id, .tenant_no = r->tenant_no, .step_no = r->step_no,
			.worker_no = r->worker_no, .state = (int8_t)r->state, .rank = (int8_t)r->rank, .user_rank = (int8_t)rank_of_priority(r->priority), .attempt = r->attempt,
			.app_retries = r->app_retries, .internal_retries = r->internal_retries, .queued_at = r->queued_at,
			.assigned_at = r->assigned_at, .started_at = r->started_at, .due_at = r->due_at,
			.schedule_ms = r->schedule_ms, .exec_ms = r->exec_ms, .released = r->released,
			.parent_id = r->parent_id, .is_orphan = r->is_orphan, .place = svc_place_stored(s, r->desired_no, r->labels)};
		keys_stored(cat_step(s->catalog, r->step_no), r->keys, r->key_limits, r->n_key_limits, ev->restore.entries);
		limits_stored(s, cat_step(s->catalog, r->step_no), r->limits, &ev->restore.limits, &ev->restore.n_limits);
		ev->restore.batch = batch_hash(cat_step(s->catalog, r->step_no), r->batch_key);
		ev->restore.bytes = batch_bytes(r->n_input);
		ev->restore.batch_id = r->batch_id;
	}
	restore_tails(s, &s->load_tails);
	restore_tails(s, &s->load_lanes);
}

static void load_done(struct svc *s)
{
	struct eng_conf conf = eng_conf_default;

	conf.heads_max = s->conf.heads_max;
	conf.load_max = MIN(conf.load_max, conf.heads_max / 4);
	conf.head_low = MIN(conf.head_low, conf.load_max);
	conf.batch_bytes = MIN(conf.batch_bytes, (int64_t)s->conf.msg_bytes_max - CONF_ENVELOPE_BYTES);
	s->engine = engine_new(&conf);
	engine_id_floor(s->engine, s->load_max_id);
	restore_dictionaries(s);
	limits_restore(s, &s->load_limits);
	restore_rows(s);
	log_info("active", F_I64("unfinished", s->load_live.n), F_I64("tails", s->load_tails.n));
	arena_free(s->load_arena);
	s->load_arena = NULL;
	s->loaded = true;
	front_start(s->front);
	if (s->conf.on_ready)
		s->conf.on_ready(s->conf.arg);
}

static void load_retry(void *arg)
{
	struct svc *s = arg;

	if (owner_state(s->owner) == OWNER_ACTIVE && !s->loaded && !s->load_arena)
		svc_load(s);
}

static void load_next(struct op *op, const struct err *err)
{
	struct svc *s = op->arg;

	if (err || owner_state(s->owner) != OWNER_ACTIVE) {
		arena_free(s->load_arena);
		s->load_arena = NULL;
		if (err)
			log_warn("loading failed, tried again", F_C("why", err->msg));
		timer_set(s->load_timer, loop_now(s->loop).mono_us + retry_us);
		return;
	}
	if (s->load_stage == STAGE_LIMITS)
		load_done(s);
	else
		load_stage(s, s->load_stage + 1);
}

void svc_load(struct svc *s)
{
	if (!s->load_timer)
		s->load_timer = timer_new(s->loop, load_retry, s);
	if (s->load_arena)
		return;	/* a load of an earlier ownership is still coming back: its end starts anew */
	s->load_arena = arena_new((size_t)8 << 30);
	s->load_op = (struct op){.fn = load_next, .arg = s};
	s->load_live = (struct read_live){0};
	s->load_tails = s->load_lanes = (struct read_tails){0};
	s->load_limits = (struct read_limits){0};
	load_stage(s, STAGE_CATALOG);
}
