/* Memory of the engine, shared by its files.  See eng_step.c for the order of a step. */
#ifndef ENGINE_ENG_INT_H
#define ENGINE_ENG_INT_H
#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "engine/engine.h"

enum due_kind { DUE_TASK, DUE_CONFIRM, DUE_WORKER, DUE_TAIL };
struct due {
	struct heap_item it;
	enum due_kind kind;
};

struct worker;
struct queue;
struct step;

/* Tasks of one queue that ask the same of a worker.  They can be placed alike: if one cannot, none can. */
struct need {
	struct list node;		/* in queue->needs while any of them waits */
	struct queue *queue;
	struct step *step;
	int32_t desired_no;
	struct eng_want *wants;
	uint32_t n_wants;
	bool has_own, is_blocked;	/* blocked: no worker takes it now; a worker's event looks again */
	uint64_t key;			/* in engine->needs */
	uint64_t refs;			/* tasks; the step holds one of its own */
	uint64_t n, n_rank[4];		/* waiting */
	struct list waiting[4];		/* by rank, ascending ids */
};

struct step {
	struct ev_step def;		/* its wants are those of need */
	struct need *need;		/* of tasks that bring nothing along */
};

struct task {
	struct due due;			/* schedule, execution or backoff deadline */
	struct list qnode;		/* waiting: in need->waiting[rank] */
	struct list wnode;		/* assigned, started: in worker->running */
	struct list sibling;		/* in family->children */
	int64_t id, parent_id;
	struct step *step;		/* of its need, and so is the queue */
	struct queue *queue;
	struct need *need;
	struct worker *worker;
	int64_t schedule_ms, exec_ms;
	int64_t queued_at, assigned_at, started_at, due_at;	/* wall_us */
	int64_t session;		/* of the stream its START was meant for; 0: before a restart */
	int64_t confirm_at;		/* mono: STARTED until then, or it never arrived */
	uint32_t gen, insert_gen;	/* flush generation of the last storing effect, of the INSERT */
	int32_t start_index;		/* its FX_START in that generation, -1: none */
	int16_t attempt, app_retries, internal_retries;
	int8_t state, rank;
	uint8_t phase;
	bool released, confirming;
	struct task *next_free;
};

struct rank {
	uint32_t n;			/* waiting here, over all needs */
	bool has_tail, loading, tail_grew, scanning, skipped;
	struct due due;			/* earliest deadline in the tail */
	int64_t due_at;			/* the same, wall */
	int64_t loaded_to;		/* rows of the tail up to this id have been loaded */
	struct queue *queue;
	VEC(struct ev) cancels;		/* of tail rows, waiting for the load in flight */
};

struct queue {
	int32_t tenant_no, action_no;
	struct rank ranks[4];
	VEC(struct worker *) workers;
	size_t next_worker;
	struct list needs;		/* those of which something waits */
	uint32_t n_open;		/* of them, those that are not blocked */
	bool is_dirty;
	struct list dirty;
};

struct worker {
	struct due silent;
	struct list dirty, running;
	int32_t worker_no, tenant_no;
	struct eng_slot limit[ENG_SLOT_TYPES], used[ENG_SLOT_TYPES];
	VEC(struct queue *) queues;
	VEC(struct eng_label) labels;
	size_t next_queue;
	int64_t session, last_seen;
	uint32_t n_running;
	bool stream_open, paused, stalled, ended, is_silent;
};

/* Tasks in memory that one parent has spawned. */
struct family {
	int64_t parent_id;
	struct list children;
};

/* Ids of what has just happened, remembered until no read from before it can come in. */
struct happened {
	int64_t id, at;
};
struct recent {
	struct imap ids;
	VEC(struct happened) order;
	size_t first;
};

struct engine {
	struct eng_conf conf;
	struct imap tasks, steps, queues, workers, needs;
	struct heap dues;
	struct list dirty_queues, dirty_workers;
	struct task *free_tasks;
	VEC(void *) slabs;
	struct fx_list *out;
	struct now now;
	int64_t last_id;
	uint32_t gen;
	int32_t n_starts;
	uint64_t n_waiting, n_running, n_backoff, n_tails;
	struct recent gone;		/* ended in the tail */
	struct imap families;
	struct recent cancelled;	/* that may have spawned */
	VEC(int64_t) orphaned;		/* parents whose children are still to be cancelled */
};

/* eng_step.c */
struct fx *eng_fx(struct engine *e, enum fx_kind kind, const struct task *t);
struct fx *eng_store(struct engine *e, enum fx_kind kind, struct task *t);	/* seals first when order asks for it */
void eng_answer(struct engine *e, const struct ev *ev, enum err_code code, const char *text);
int64_t eng_mono(const struct engine *e, int64_t wall_us);

/* eng_task.c */
struct task *task_new(struct engine *e, int64_t id);
void task_free(struct engine *e, struct task *t);
void task_wait(struct engine *e, struct task *t);		/* into its queue's head, deadline set from due_at */
void task_unwait(struct engine *e, struct task *t);
void task_assign(struct engine *e, struct task *t, struct worker *w);	/* slot, state, deadline; no effect */
void task_release_slot(struct engine *e, struct task *t);
void task_leave_worker(struct engine *e, struct task *t);
struct fx *task_ending(struct engine *e, struct task *t, enum fx_kind kind, enum attempt_status status, const char *text,
		       void *payload);
void task_end(struct engine *e, struct task *t, enum attempt_status status, const char *text, void *payload);
void task_cancel(struct engine *e, struct task *t, const char *why);	/* its worker is told */
void task_fail(struct engine *e, struct task *t, enum attempt_status status, bool no_retry, const char *text, void *payload);
void task_lost(struct engine *e, struct task *t, enum note_kind note, const char *text);
void task_due(struct engine *e, struct task *t);
void task_confirm(struct engine *e, struct task *t, int64_t due_mono);	/* arms the earlier of both deadlines */
void task_confirm_due(struct engine *e, struct task *t);
void task_event(struct engine *e, const struct ev *ev);
const char *eng_text(struct engine *e, const char *head, int64_t ms);

/* eng_need.c */
struct need *need_of_step(struct engine *e, struct step *s);	/* of its tasks that bring nothing along; the step's own */
struct need *need_get(struct engine *e, struct step *s, const struct eng_place *p);	/* takes a reference */
void need_put(struct engine *e, struct need *n);
void need_free(struct need *n);
bool need_fits(const struct need *n, const struct worker *w);	/* @w can take one now */
bool need_ever_fits(const struct need *n, const struct worker *w);	/* when all its slots are free */
struct worker *need_pick(struct need *n, struct worker *free_one);	/* the best worker now; @free_one fits, if given */

/* eng_family.c */
void family_join(struct engine *e, struct task *t, int64_t parent_id);
void family_leave(struct engine *e, struct task *t);
void family_orphan(struct engine *e, const struct task *t);	/* @t ends cancelled */
bool family_is_orphan(const struct engine *e, int64_t parent_id);
void family_run(struct engine *e);				/* cancels whom the events so far have orphaned */
void recent_add(struct engine *e, struct recent *r, int64_t id);
bool recent_has(const struct recent *r, int64_t id);
void recent_fini(struct recent *r);

/* eng_sched.c */
struct queue *queue_get(struct engine *e, int32_t tenant_no, int32_t action_no);
void queue_dirty(struct engine *e, struct queue *q);
void worker_dirty(struct engine *e, struct worker *w);
void sched_run(struct engine *e);
void tail_event(struct engine *e, const struct ev *ev);
void tail_due(struct engine *e, struct rank *r);
bool tail_end(struct engine *e, const struct ev *ev, enum attempt_status status, const char *text);	/* false: left it before */
void tail_added(struct engine *e, struct rank *r, int64_t due_at);
bool queue_takes_now(const struct engine *e, const struct queue *q, const struct need *n, int rank);	/* nobody comes before a newcomer */

/* eng_worker.c */
void worker_event(struct engine *e, const struct ev *ev);
void worker_seen(struct engine *e, struct worker *w);
void worker_silent(struct engine *e, struct worker *w);
#endif
