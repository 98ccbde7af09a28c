/* The fixture of the engine's unit tests: one engine, one tenant, one action, and a clock that only moves when told to. */
#ifndef TESTS_ENGWORLD_H
#define TESTS_ENGWORLD_H
#include "engine/engine.h"
#include "tap.h"

#include <string.h>

enum { TENANT = 7, ACTION = 40, STEP = 50, STEP_RETRY = 51, STEP_BACKOFF = 52, SECOND_US = 1000000 };

struct world {
	struct engine *e;
	struct now now;
	struct fx_list out;
	size_t from;			/* effects of the last step */
};

static inline void start(struct world *w, uint32_t heads_max)
{
	struct eng_conf conf = eng_conf_default;

	*w = (struct world){.now = {.mono_us = 5000000, .wall_us = 1800000000000000}};
	w->out.arena = arena_new(16u << 20);
	if (heads_max)
		conf.heads_max = conf.head_low = conf.load_max = heads_max;
	w->e = engine_new(&conf);
	for (int i = 0; i < 3; i++) {
		struct ev ev = {.kind = EV_STEP};

		ev.step = (struct ev_step){.step_no = STEP + i, .tenant_no = TENANT, .action_no = ACTION, .retries = i ? 2 : 0,
			.backoff_milli = i == 2 ? 2000 : 0, .backoff_max_s = 60, .schedule_ms = 300000, .exec_ms = 60000,
			.slots = {{1, 1}}};
		engine_step(w->e, w->now, &ev, 1, &w->out);
	}
}

static inline void end(struct world *w)
{
	engine_free(w->e);
	arena_free(w->out.arena);
	vec_fini(&w->out.v);
}

static inline void whole(const struct world *w)
{
	struct err err = {.code = ERR_OK};

	if (!engine_check(w->e, &err))
		CHECK_STR(err.msg, "");
}

/* Every step is a flush of its own, unless it is joined. */
static inline void step(struct world *w, const struct ev *ev)
{
	w->from = w->out.v.n;
	engine_step(w->e, w->now, ev, ev ? 1 : 0, &w->out);
	whole(w);
	engine_flush_sealed(w->e);
}

static inline void joined(struct world *w, const struct ev *ev)
{
	w->from = w->out.v.n;
	engine_step(w->e, w->now, ev, 1, &w->out);
	whole(w);
}

static inline void later(struct world *w, int64_t us)
{
	w->now.mono_us += us;
	w->now.wall_us += us;
}

static inline void pass(struct world *w, int64_t us)
{
	later(w, us);
	step(w, NULL);
}

static inline size_t count(const struct world *w, enum fx_kind kind)
{
	size_t n = 0;

	for (size_t i = w->from; i < w->out.v.n; i++)
		n += w->out.v.p[i].kind == kind;
	return n;
}

/* The only effect of that kind in the last step. */
static inline struct fx *only(struct world *w, enum fx_kind kind)
{
	CHECK_EQ(count(w, kind), 1);
	for (size_t i = w->from; i < w->out.v.n; i++)
		if (w->out.v.p[i].kind == kind)
			return &w->out.v.p[i];
	return NULL;
}

static int ref UNUSED;

static inline struct ev about(enum ev_kind kind, int64_t id)
{
	return (struct ev){.kind = kind, .id = id, .tenant_no = TENANT, .attempt = -1, .ref = &ref};
}

static inline void worker(struct world *w, int32_t no, int32_t slots)
{
	static const int32_t actions[] = {ACTION};
	struct ev ev = {.kind = EV_WORKER, .worker_no = no};

	ev.worker = (struct ev_worker){.worker_no = no, .tenant_no = TENANT, .slots = {{1, slots}}, .actions = actions, .n_actions = 1};
	step(w, &ev);
}

static inline void stream(struct world *w, enum ev_kind kind, int32_t no, int64_t session)
{
	step(w, &(struct ev){.kind = kind, .worker_no = no, .session = session});
}

static inline void beat(struct world *w, int32_t no)
{
	step(w, &(struct ev){.kind = EV_BEAT, .worker_no = no});
}

static inline void up(struct world *w, int32_t no, int32_t slots)
{
	worker(w, no, slots);
	stream(w, EV_STREAM_UP, no, 1);
}

static inline int64_t trigger_for(struct world *w, int32_t step_no, int8_t rank, int64_t schedule_ms)
{
	struct ev ev = about(EV_NEW, engine_next_id(w->e, w->now, TENANT));

	ev.new = (struct ev_new){.id = ev.id, .tenant_no = TENANT, .step_no = step_no, .rank = rank, .schedule_ms = schedule_ms, .exec_ms = 60000};
	step(w, &ev);
	CHECK_EQ(only(w, FX_ANSWER)->code, ERR_OK);
	return ev.id;
}

static inline int64_t trigger_step(struct world *w, int32_t step_no, int8_t rank)
{
	return trigger_for(w, step_no, rank, 300000);
}

static inline int64_t trigger(struct world *w)
{
	return trigger_step(w, STEP, 3);
}

static inline void report(struct world *w, enum ev_kind kind, int64_t id, int32_t attempt)
{
	struct ev ev = about(kind, id);

	ev.attempt = attempt;
	step(w, &ev);
}

static inline struct eng_task_view view(const struct world *w, int64_t id)
{
	struct eng_task_view v = {.state = -1};

	(void)engine_task(w->e, id, &v);
	return v;
}

static inline uint32_t running(const struct world *w, int32_t no)
{
	struct eng_worker_view v;

	CHECK(engine_worker(w->e, no, &v));
	return v.n_running;
}

/* What a load of the tail brings. */
static inline void loaded(struct world *w, int64_t id, int8_t rank)
{
	struct ev ev = about(EV_LOADED, id);

	ev.ref = NULL;
	ev.action_no = ACTION;
	ev.rank = rank;
	ev.restore = (struct ev_restore){.id = id, .tenant_no = TENANT, .step_no = STEP, .rank = rank, .user_rank = rank, .queued_at = w->now.wall_us,
		.assigned_at = INT64_MIN, .started_at = INT64_MIN, .due_at = w->now.wall_us + 300 * (int64_t)SECOND_US,
		.schedule_ms = 300000, .exec_ms = 60000};
	joined(w, &ev);
}

static inline void load_done(struct world *w, int8_t rank, uint32_t n, uint32_t limit)
{
	struct ev ev = {.kind = EV_LOAD_DONE, .tenant_no = TENANT, .action_no = ACTION, .rank = rank, .n = n, .limit = limit};

	step(w, &ev);
}
#endif
