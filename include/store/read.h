/* What the API shows: runs, tasks, timeline, logs, events; read from the one truth on lane DB_READ. */
#ifndef STORE_READ_H
#define STORE_READ_H
#include "db/db.h"
#include "model/model.h"

struct attempt_view {
	int16_t attempt, status;	/* enum attempt_status */
	int32_t worker_no;
	int64_t queued_at, assigned_at, started_at, finished_at;	/* wall_us; INT64_MIN null */
	struct str output, error;	/* p NULL: null or not asked for */
	bool is_final;			/* it ended the task, at least until a replay */
};
struct task_view {
	int64_t id, run_id, parent_id;
	int32_t tenant_no, workflow_no, version_no, step_no, action_no;
	int16_t priority;
	struct str input, metadata;	/* p NULL: null; input only with READ_PAYLOADS */
	int live_state;			/* -1: no live row */
	bool in_tail;
	int16_t live_attempt;
	int32_t live_worker_no;
	int64_t live_queued_at, live_assigned_at, live_started_at, live_due_at;
	int16_t rank;			/* live or tail */
	int64_t lane;			/* tail */
	struct str idempotency_key;	/* p NULL: none */
	int16_t app_retries, internal_retries;
	struct attempt_view *attempts;	/* ascending */
	uint32_t n_attempts;
	enum run_status status;		/* by run_status_of */
	bool is_cut;			/* payloads left out: the rows before took all the room there is */
	int32_t n_children;		/* with READ_CHILDREN: tasks it has spawned; 10000: that many or more */
};
/* Without ALL: only the highest attempt row.  ERRORS: without payloads, the beginning of the error. */
enum { READ_ERROR_BYTES = 2000 };
enum { READ_PAYLOADS = 1, READ_ALL_ATTEMPTS = 2, READ_ERRORS = 4, READ_CHILDREN = 8 };
/* At most CONF_PAYLOAD_READ_BYTES of payloads; what exceeds it by one row is still given, so that every read gets on. */
/* The tasks among @ids that exist for @tenant_no (0: any, internal use), in any order; one statement; n <= 1000. */
struct read_tasks {
	struct task_view *tasks;
	uint32_t n;
};
void read_tasks(struct db *db, struct arena *a, int32_t tenant_no, const int64_t *ids, uint32_t n, unsigned flags,
		struct read_tasks *ret, struct op *op);

/* A task and what it has spawned, @depth levels of it, at most @limit: of the deepest level some may be missing then. */
void read_tree(struct db *db, struct arena *a, int32_t tenant_no, int64_t root, uint32_t depth, uint32_t limit, struct read_tasks *ret,
	       struct op *op);

struct run_filter {
	int32_t tenant_no;
	int64_t since_us, until_us;	/* creation; until INT64_MAX */
	unsigned status_mask;		/* 1 << RUN_QUEUED ...; 0: all */
	const int32_t *workflow_nos; uint32_t n_workflows;	/* 0: all */
	int32_t worker_no;		/* 0: any */
	const struct str *meta_pairs; uint32_t n_meta;		/* "key:value" */
	bool meta_and;
	int64_t parent_id;		/* 0: any */
	const struct str *idempotency_keys; uint32_t n_keys;	/* 0: any */
	int64_t before_id;		/* those that come after this one in the list; 0: from the newest on */
	uint32_t offset, limit;		/* limit 1..READ_RUNS_MAX, offset <= 10000 */
	unsigned flags;
};
enum { READ_RUNS_MAX = 1001 };		/* a page of 1000, and whether another follows */
/* Newest first. */
void read_runs(struct db *db, struct arena *a, const struct run_filter *f, struct read_tasks *ret, struct op *op);
struct status_counts { int64_t n[5]; };	/* by enum run_status */
/* Tasks created in the window; exact.  Of the filter: tenant, window, workflows, metadata and parent; with one of the last two each
 * task of the window is looked at. */
void read_counts(struct db *db, struct arena *a, const struct run_filter *f, struct status_counts *ret, struct op *op);

/* Ends in @ret->n (set) spans of @seconds, minutes whole, from the minute @from_us on. */
struct read_points { struct status_counts *p; uint32_t n; };
void read_points(struct db *db, struct arena *a, int32_t tenant_no, int64_t from_us, uint32_t seconds, struct read_points *ret, struct op *op);

/* Unfinished tasks, a row for a step and one of the classes: in memory, running, waiting for something else than a worker, in a tail.
 * Oldest as id, 0 unknown; first: of those in their first attempt.  Oldest of a tail is that of its queue.  With metadata (all must
 * hold) each task is looked at. */
enum { DEPTH_HEAD, DEPTH_RUNNING, DEPTH_PENDING, DEPTH_TAIL, DEPTH_CLASSES };
struct depth_row { int32_t step_no; int64_t n[DEPTH_CLASSES], oldest[DEPTH_CLASSES], oldest_first[DEPTH_CLASSES]; };
struct read_depths { struct depth_row *p; uint32_t n; };
void read_depths(struct db *db, struct arena *a, int32_t tenant_no, const struct str *meta_pairs, uint32_t n_meta, struct read_depths *ret,
		 struct op *op);

struct note_view { int64_t at; int16_t attempt; int kind; struct str body; };
struct read_notes { struct note_view *p; uint32_t n; };
void read_notes(struct db *db, struct arena *a, int32_t tenant_no, int64_t task_id, struct read_notes *ret, struct op *op);

struct log_row { int32_t tenant_no; int64_t task_id; int16_t attempt; int64_t at; struct str level, body, metadata; };
/* Writes batch by themselves: what arrives while one insert is in flight goes into the next. */
struct log_writer;
struct log_writer *log_writer_new(struct db *db) MUST_USE;
void log_writer_put(struct log_writer *w, const struct log_row *row, struct op *op);	/* copies; op after the commit */
void log_writer_free(struct log_writer *w);
struct log_filter {
	int32_t tenant_no; int64_t task_id; int64_t since_us, until_us; struct str search;
	const struct str *levels; uint32_t n_levels; int attempt;	/* -1: any */
	bool descending; uint32_t limit;
};
struct read_logs { struct log_row *p; uint32_t n; };
void read_logs(struct db *db, struct arena *a, const struct log_filter *f, struct read_logs *ret, struct op *op);

struct event_row { int32_t tenant_no; int64_t id; struct str key, scope, payload, metadata; };
struct event_writer;
struct event_writer *event_writer_new(struct db *db) MUST_USE;
void event_writer_put(struct event_writer *w, const struct event_row *rows, uint32_t n, struct op *op);	/* copies; all or nothing */
void event_writer_free(struct event_writer *w);
struct event_filter {
	int32_t tenant_no; int64_t since_us, until_us; const struct str *keys; uint32_t n_keys;
	const int64_t *ids; uint32_t n_ids; const struct str *scopes; uint32_t n_scopes;
	const struct str *meta_pairs; uint32_t n_meta; uint32_t offset, limit;
};
struct read_events { struct event_row *p; uint32_t n; };
void read_events(struct db *db, struct arena *a, const struct event_filter *f, struct read_events *ret, struct op *op);

/* Recovery: rows of live of the owned shards, and what tails exist. */
struct live_row {
	int64_t id; int32_t tenant_no, step_no, worker_no; int16_t state, rank, attempt, app_retries, internal_retries;
	int64_t queued_at, assigned_at, started_at, due_at, schedule_ms, exec_ms; bool released;
	int32_t desired_no; struct str labels;	/* as flush_task has them */
	int64_t parent_id; bool is_orphan;	/* its parent was cancelled */
	int32_t action_no;			/* of tail rows, and */
	int64_t lane;				/* 0: none */
	int16_t priority;			/* of live rows, and */
	struct str keys; int64_t *key_limits; size_t n_key_limits;	/* as in struct loaded_row */
	struct str limits;
	struct str idempotency_key;		/* of read_replayable() */
	struct str batch_key; uint32_t n_input; int64_t batch_id;	/* bytes; 0: in none */
};
struct read_live { struct live_row *p; uint32_t n; };
void read_live(struct db *db, struct arena *a, struct read_live *ret, struct op *op);
struct tail_row {
	int32_t tenant_no, action_no; int16_t rank; int64_t due_at;
	int64_t lane, last_id; int32_t step_no, key_limit;	/* of lanes: the newest row's, -1 no limit */
};
struct read_tails { struct tail_row *p; uint32_t n; };
void read_tails(struct db *db, struct arena *a, struct read_tails *ret, struct op *op);	/* loose index scan, earliest due each */
void read_lanes(struct db *db, struct arena *a, struct read_tails *ret, struct op *op);	/* tails of keys, one row for each */
/* Who holds an idempotency key. */
struct idem_holder { int32_t tenant_no; struct str key; int64_t run_id, expires_at; };	/* run_id out: 0 nobody; expires_at: wall_us */
void read_idem_holders(struct db *db, struct arena *a, struct idem_holder **p, uint32_t n, struct op *op);	/* @p and what it points to live until @op */
/* Rate limits: every row, for recovery; a page of a tenant's, values as of now. */
struct limit_row {
	int32_t tenant_no; int64_t hash; struct str key; int32_t limit, value, window_s;
	int64_t window_start;			/* INT64_MIN: nothing was taken */
	bool is_dynamic;
};
struct read_limits { struct limit_row *p; uint32_t n; int64_t total; };
void read_limits(struct db *db, struct arena *a, struct read_limits *ret, struct op *op);
enum limit_order { LIMITS_BY_VALUE = 1, LIMITS_BY_LIMIT, LIMITS_BY_KEY };
struct limit_filter { int32_t tenant_no; struct str search; enum limit_order order; bool is_descending; uint32_t offset, limit; };
void read_limit_page(struct db *db, struct arena *a, const struct limit_filter *f, struct read_limits *ret, struct op *op);
void read_max_id(struct db *db, struct arena *a, int64_t *ret, struct op *op);	/* over task and event; 0: none */
/* Tail rows due by @due_at: ascending due and id, behind (@after_due, @after_id), INT64_MIN the first, up to @limit; *ret_next_due the earliest later one, INT64_MIN none. */
void read_tail_due(struct db *db, struct arena *a, int32_t tenant_no, int32_t action_no, int16_t rank, int64_t due_at, uint32_t limit,
		   int64_t after_due, int64_t after_id, struct read_live *ret, int64_t *ret_next_due, struct op *op);
/* How many rows of its queue stand before one in the tail, counted up to @limit. */
void read_tail_ahead(struct db *db, struct arena *a, int32_t tenant_no, int32_t action_no, int16_t rank, int64_t id, uint32_t limit,
		     int64_t *ret, struct op *op);
/* What a push needs: input and metadata of tasks not in the input cache. */
struct input_row {
	int64_t id, parent_id;
	struct str input, metadata, child_key, batch_key;
	int32_t priority, child_index;
	bool is_cut;			/* input left out for lack of room: ask again */
};
struct read_inputs { struct input_row *p; uint32_t n; };
/* Runs that a task has spawned under a key, oldest first. */
struct child_row { int64_t id; int32_t child_index; struct str child_key; };
struct read_children { struct child_row *p; uint32_t n; bool parent_is_cancelled; };
void read_children(struct db *db, struct arena *a, int32_t tenant_no, int64_t parent_id, struct read_children *ret, struct op *op);
/* For a replay: tasks as they would wait, .attempt the next one (0: nothing of it has ended), .lane -1 in a tail, 1
 * in live. */
void read_replayable(struct db *db, struct arena *a, int32_t tenant_no, const int64_t *ids, uint32_t n, struct read_live *ret, struct op *op);
void read_cancelled_children(struct db *db, struct arena *a, int32_t tenant_no, const int64_t *parent_ids, uint32_t n,
			     struct read_children *ret, struct op *op);
/* Children of these parents that wait in a tail, at most @limit; none left: ret->n is 0. */
void read_children_in_tail(struct db *db, struct arena *a, const int32_t *tenant_nos, const int64_t *parent_ids, uint32_t n, uint32_t limit,
			   struct read_live *ret, struct op *op);
void read_inputs(struct db *db, struct arena *a, const int64_t *ids, const int32_t *tenant_nos, uint32_t n, struct read_inputs *ret, struct op *op);
#endif
