/* What the tests of store share: a database, the loop, struct db, an owner, and rows with sensible values. */
#ifndef TESTS_STOREFIX_H
#define TESTS_STOREFIX_H
#include "io/loop.h"
#include "model/id.h"
#include "pgnode.h"
#include "store/flush.h"
#include "store/owner.h"
#include "tap.h"

#include <stdio.h>
#include <time.h>

struct fix {
	const char *url;		/* direct */
	struct loop *loop;
	struct db *db;
	struct owner *owner;
	enum owner_state states[32];
	unsigned n_states, n_up, n_down;
	bool has_loop;
	struct flush *flush;
	struct arena *a;
	int64_t now_us;
};

static inline void fix_on_state(void *arg, enum owner_state s)
{
	struct fix *f = arg;

	if (f->n_states < ARRAY_LEN(f->states))
		f->states[f->n_states++] = s;
}

static inline void fix_on_writer(void *arg, bool is_up)
{
	struct fix *f = arg;

	*(is_up ? &f->n_up : &f->n_down) += 1;
	if (f->owner)
		owner_on_writer(f->owner, is_up);
}

static inline bool fix_is_active(void *arg)
{
	return owner_state(((struct fix *)arg)->owner) == OWNER_ACTIVE;
}

static inline int64_t wall_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* @through: URL for struct db, e.g. a relay's; NULL: direct */
static inline void fix_open(struct fix *f, const char *url, const char *through, struct loop *loop)
{
	struct db_conf conf = {.readers = 2, .queue_max = 1000, .on_writer = fix_on_writer, .arg = f};
	struct owner_conf oc = {.address = "here:7077", .on_state = fix_on_state, .arg = f};

	*f = (struct fix){.url = url, .loop = loop ? loop : loop_new(), .flush = flush_new(), .a = arena_new(64u << 20)};
	f->has_loop = !loop;
	f->now_us = wall_us();
	conf.loop = oc.loop = f->loop;
	conf.url = through ? through : url;
	f->db = db_new(&conf);
	oc.db = f->db;
	f->owner = owner_new(&oc);
	db_start(f->db);
}

static inline void fix_active(struct fix *f, const char *url, const char *through)
{
	fix_open(f, url, through, NULL);
	CHECK(wait_until(f->loop, fix_is_active, f, 10000));
}

static inline void fix_close(struct fix *f)
{
	owner_free(f->owner);
	db_free(f->db);
	flush_free(f->flush);
	arena_free(f->a);
	if (f->has_loop)
		loop_free(f->loop);
}

/* sends and waits; the code it ended with */
static inline enum err_code fix_flush(struct fix *f)
{
	struct wait_op w;

	wait_init(&w, f->loop);
	owner_flush(f->owner, f->flush, &w.op);
	wait_for_op(&w);
	return w.ok ? ERR_OK : w.err.code;
}

static inline int64_t fix_id(struct fix *f, unsigned n)
{
	return id_make(f->now_us / 1000, 1, 0) + n;
}

static inline struct flush_task fix_task(struct fix *f, int64_t id)
{
	return (struct flush_task){.tenant_no = 1, .id = id, .run_id = id, .workflow_no = 7, .version_no = 8, .step_no = 9,
		.action_no = 10, .priority = 1, .worker_no = 0, .child_index = -1, .schedule_ms = 300000, .exec_ms = 60000,
		.input = STR("{\"n\":1}"), .metadata = STR("{\"k\":\"v\"}")};
}

static inline struct flush_live fix_live(struct fix *f, int64_t id, int state)
{
	return (struct flush_live){.tenant_no = 1, .id = id, .state = (int16_t)state, .rank = 3, .action_no = 10, .step_no = 9,
		.worker_no = state == 1 ? 5 : 0, .queued_at = f->now_us, .assigned_at = state == 1 ? f->now_us : INT64_MIN,
		.started_at = INT64_MIN, .due_at = f->now_us + 60000000};
}

static inline struct flush_end fix_end(struct fix *f, int64_t id, int status)
{
	return (struct flush_end){.tenant_no = 1, .id = id, .status = (int16_t)status, .worker_no = 5, .workflow_no = 7,
		.queued_at = f->now_us, .assigned_at = f->now_us, .started_at = f->now_us, .finished_at = f->now_us + 2000,
		.output = status == 0 ? STR("{\"ok\":true}") : STR_NULL, .error = status ? STR("boom") : STR_NULL,
		.action_no = 10, .rank = 3};
}

static inline void fix_put(struct fix *f, int64_t id, int state)
{
	struct flush_task t = fix_task(f, id);
	struct flush_live l = fix_live(f, id, state);

	t.worker_no = l.worker_no;
	flush_task(f->flush, &t);
	flush_live(f->flush, &l);
}

static inline void fix_put_tail(struct fix *f, int64_t id)
{
	struct flush_task t = fix_task(f, id);
	struct flush_live l = fix_live(f, id, 0);

	flush_task(f->flush, &t);
	flush_tail(f->flush, &l);
}
#endif
