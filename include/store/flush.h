/* The rows of one flush: one transaction of the owner, built column by column for unnest.
 *
 * Order inside the transaction, whatever the order of the calls: fence, ends, retries, tasks + live + queue_item, keys claimed, keys
 * given back, loads, assign/start/requeue/touch, notes.  Strings are copied.  A flush can be sent again unchanged. */
#ifndef STORE_FLUSH_H
#define STORE_FLUSH_H
#include "db/db.h"
#include "model/model.h"

struct flush;
struct flush *flush_new(void) MUST_USE;
void flush_free(struct flush *f);
void flush_reset(struct flush *f);
size_t flush_rows(const struct flush *f);	/* rows of all kinds; 0: nothing to send */

struct flush_task {	/* hatchet.task */
	int32_t tenant_no;
	int64_t id, run_id;
	int32_t workflow_no, version_no, step_no, action_no;
	int16_t priority;
	int32_t flags;
	int32_t worker_no;		/* 0: null */
	int64_t parent_id;		/* task that spawned it; 0: null */
	int32_t child_index;		/* -1: null */
	struct str child_key;		/* p NULL: null */
	int64_t schedule_ms, exec_ms;
	struct str input;		/* bytea as received; p NULL: null */
	struct str metadata;		/* JSON object text; p NULL: null */
	int32_t desired_no;		/* a worker, -1 one that does not exist; 0: null */
	struct str labels;		/* what is asked of labels in place of the step's, cat_wants_format(); p NULL: null */
	struct str keys, key_limits;	/* of its concurrency chain, as array literals; p NULL: null */
	int64_t lane;			/* of its row in queue_item; 0: null */
	struct str limits;		/* its rate limits; p NULL: null */
	struct str idempotency_key;	/* p NULL: null */
	struct str batch_key;		/* p NULL: null */
};
void flush_task(struct flush *f, const struct flush_task *t);

/* The SQL request that @run_id came of: leaves hatchet.inbox in this flush, which is refused for its data when it is not there. */
void flush_request(struct flush *f, int32_t tenant_no, const struct uuid *request, int64_t run_id);

struct flush_claim {	/* hatchet.idempotency_key, whatever stands there */
	int32_t tenant_no;
	struct str key;
	int64_t run_id;
	bool is_status;
	int64_t expires_at;		/* wall_us */
};
void flush_claim(struct flush *f, const struct flush_claim *c);
void flush_unclaim(struct flush *f, int32_t tenant_no, int64_t run_id);	/* a final run: what it holds until then */

struct flush_live {	/* hatchet.live, by full row */
	int32_t tenant_no;
	int64_t id;
	int16_t state, attempt, app_retries, internal_retries, rank;
	int32_t action_no, step_no, worker_no;
	int64_t queued_at, assigned_at, started_at, due_at;	/* wall_us, INT64_MIN: null */
	int64_t lane;			/* queue_item only */
};
void flush_live(struct flush *f, const struct flush_live *l);
void flush_tail(struct flush *f, const struct flush_live *l);	/* hatchet.queue_item */

struct flush_end {	/* hatchet.attempt, and the live or queue_item row goes or changes */
	int32_t tenant_no;
	int64_t id;
	int16_t attempt, status;
	int32_t worker_no, workflow_no;	/* workflow_no for what it ended, and the counters */
	int64_t queued_at, assigned_at, started_at, finished_at;
	struct str output, error;	/* p NULL: null */
	bool in_tail;			/* delete from queue_item(tenant_no, action_no, rank, id) instead of live */
	int32_t action_no, step_no;	/* of a row in queue_item */
	int16_t rank;
};
void flush_end(struct flush *f, const struct flush_end *e);
/* not final: the attempt row, and live becomes @next (attempt+1, rank 0, queued or backoff) */
void flush_retry(struct flush *f, const struct flush_end *e, const struct flush_live *next);

/* A task that had ended gets a next attempt: it no longer counts as ended. */
void flush_taken_up(struct flush *f, int32_t tenant_no, int64_t id);

void flush_assign(struct flush *f, int32_t tenant_no, int64_t id, int32_t worker_no, int64_t assigned_at, int64_t due_at,
		  int64_t batch_id);	/* batch_id 0: null */
uint32_t flush_start(struct flush *f, int32_t tenant_no, int64_t id, int64_t started_at);	/* index for flush_void_start */
void flush_void_start(struct flush *f, uint32_t index);
void flush_requeue(struct flush *f, int32_t tenant_no, int64_t id, int64_t queued_at, int64_t due_at);	/* backoff over: state queued */
void flush_touch(struct flush *f, int32_t tenant_no, int64_t id, int64_t due_at, bool released);	/* due_at INT64_MIN: keep */
void flush_note(struct flush *f, int32_t tenant_no, int64_t task_id, int16_t attempt, int64_t at, int kind, struct str body);
struct flush_bucket {	/* hatchet.rate_limit */
	int32_t tenant_no;
	int64_t hash;
	struct str key;
	int32_t limit, value, window_s;	/* limit -1: delete */
	int64_t window_start;		/* wall_us, INT64_MIN: null */
	bool is_dynamic;
};
void flush_bucket(struct flush *f, const struct flush_bucket *b);	/* of two with one hash the last one counts */
/* @lane 0: by age among all without one; else of that lane */
void flush_load(struct flush *f, int32_t tenant_no, int32_t action_no, int16_t rank, int64_t lane, uint32_t limit);

/* After the commit: rows moved by the i-th load, in id order. */
struct loaded_row {
	int64_t id;
	int32_t tenant_no, action_no, step_no;
	int16_t rank, attempt, app_retries, internal_retries;
	int64_t queued_at, due_at, schedule_ms, exec_ms;
	bool has_payload;		/* the rest is set: texts live until the flush is reset */
	struct str input, metadata, child_key;
	int16_t priority;
	int32_t child_index;
	int64_t parent_id;
	int32_t desired_no;		/* always set, and so are */
	struct str labels;
	bool is_orphan;			/* its parent was cancelled */
	struct str keys;		/* of its concurrency chain, a JSON array of texts; n 0: none */
	int64_t *key_limits;		/* on the arena */
	size_t n_key_limits;
	int64_t lane;
	struct str limits;		/* as in flush_task, always set */
	struct str batch_key;
	uint32_t n_input;		/* bytes */
};
size_t flush_loads(const struct flush *f);
size_t flush_loaded(const struct flush *f, size_t load, struct arena *a, struct loaded_row **ret);

/* Used by owner.c: the queries of this flush, in order, added to @tx. */
void flush_add_to(struct flush *f, struct arena *a, struct db_tx *tx, int32_t engine_id, int64_t epoch, int64_t flush_no);
#endif
