/* Memory of the engine, shared by its files.  See eng_step.c for the order of a step. */
#ifndef ENGINE_ENG_INT_H
#define ENGINE_ENG_INT_H
#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "engine/engine.h"

enum due_kind { DUE_TASK, DUE_CONFIRM, DUE_WORKER, DUE_TAIL, DUE_BUCKET, DUE_GROUP };
struct due {
	struct heap_item it;
	enum due_kind kind;
};

struct batch;
struct group;
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
	uint64_t n, n_rank[4];		/* ready */
	struct list ready[4];		/* by rank, ascending ids: those without a turn of their own */
	struct list lanes[4];		/* of struct lane, by rank: whose turn is next comes first */
};

/* Ready tasks of one need, rank and key: keys take turns (rule of GROUP_ROUND_ROBIN). */
struct lane {
	struct list node, of_key;	/* in need->lanes[rank], key->lanes */
	struct need *need;
	struct key *key;
	int rank;
	uint64_t turn;			/* smallest comes next; all lanes of a key in one queue and rank have the same */
	struct list ready;		/* ascending ids */
};

struct strategy {
	struct ev_strategy def;
	struct list keys;
};

/* What may run at once under one key of a strategy. */
struct key {
	uint64_t hash;
	struct strategy *strategy;
	struct list of_strategy;
	uint64_t refs;			/* places, lanes, tails */
	uint32_t n_holders, n_waiters, n_rank[4];
	uint32_t n_parked;		/* tasks whose first key this is, and that are parked elsewhere */
	struct list holders;		/* of struct place, longest first */
	struct list waiters[4];		/* by rank, ascending ids */
	struct list lanes, tails;
	struct list dirty, starving;	/* starving: has a tail and found no room in memory */
	int64_t newest_id;		/* task that brings the limit: the newest one known */
	int32_t newest_limit;		/* -1: none, the strategy's counts */
};

/* A task's place in one key of its chain: held, waited for, or not yet asked for. */
struct place {
	struct list node;		/* in key->holders or key->waiters[rank] */
	struct task *task;
	struct key *key;
	int32_t limit;
	bool is_held;
	int64_t held_at;		/* wall_us */
};

/* How often each value is there. */
struct tallied {
	int64_t v;
	uint64_t n;
};
struct tally {
	VEC(struct tallied) v;		/* ascending */
};

/* What may be taken in a window. */
struct bucket {
	struct due due;			/* next refill, or when others may try, or it may be forgotten */
	struct list dirty, unstored;
	uint64_t hash, refs;		/* refs: takes */
	int32_t tenant_no, limit, value;	/* limit -1: nobody has said */
	int64_t window_us, since;	/* wall_us: the window runs; INT64_MIN: nothing was taken, it is full */
	bool is_dynamic, is_stored, is_deciding;
	struct tally limits, windows;	/* that tasks have brought along */
	struct tally units;		/* of the parked */
	struct list parked[4];		/* of struct take, by rank, ascending ids */
	struct list never;		/* those that want more than the limit */
	struct list keyed;		/* have passed, and have places in keys */
	int64_t passed[4];		/* units of those that have passed in this epoch and are not assigned yet, by rank */
	uint32_t epoch;
	int n_rounds;			/* of letting others try */
	int64_t chunk_at;		/* mono: the next one */
};

struct take {
	struct list node;		/* in bucket->parked, never or keyed */
	struct task *task;
	struct bucket *bucket;
	int32_t units, limit;
	int64_t window_us;
	uint32_t epoch;
	bool has_passed, is_tallied;
};

struct flow {			/* a workflow, as far as pause goes */
	int32_t workflow_no;
	bool is_paused;
	int64_t paused_at, unpaused_at, ttl_us;
	struct heap parked;		/* by id */
};
enum flow_says { FLOW_LETS, FLOW_SPARES, FLOW_TTL_OVER };

struct step {
	struct flow *flow;
	struct ev_step def;		/* its wants are those of need */
	struct need *need;		/* of tasks that bring nothing along */
};

struct task {
	struct due due;			/* schedule, execution or backoff deadline */
	struct list qnode;		/* ready: in need->ready[rank] or lane->ready */
	struct lane *lane;
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
	int8_t state, rank, user_rank;
	uint8_t phase;
	bool released, confirming;
	bool waits;			/* queued: ready, or for a place in a key */
	bool is_unborn, is_refused;	/* while its first decision is taken: no effect names it yet */
	uint8_t n_places, n_held;	/* places before n_held are held; the next one is waited for */
	struct place *places;
	struct heap_item park_item;	/* in flow->parked or group->arrivals */
	uint64_t batch_hash;		/* 0: not of a batch step */
	struct group *group;		/* waits in; NULL: in none */
	struct list gnode;		/* in group->members[rank] */
	struct batch *batch;		/* runs in */
	uint32_t bytes;
	struct take *takes, *parked;	/* parked: with which of them */
	uint8_t n_takes;
	bool is_paused;			/* parked with its workflow */
	bool is_told, is_renewed;	/* in this attempt: that it is limited; that its budget began anew with its last place */
	struct task *next_free;
};

/* Waiting tasks of a queue, rank and lane that only the database has. */
struct tail {
	struct rank *rank;
	struct key *key;		/* its lane; NULL: tasks that take no turns */
	struct list of_key;
	bool has_rows, loading, grew;
	int64_t loaded_to;		/* rows up to this id have been loaded */
	VEC(struct ev) cancels;		/* waiting for the load in flight */
};

struct rank {
	uint32_t n, n_plain;		/* ready, over all needs; of them, without lane */
	uint32_t n_parked;		/* not ready: units are lacking, or the workflow is paused */
	bool spared;			/* a scan met rows that are due and may not end: the next one goes on behind them */
	int64_t seen_due, seen_id;	/* the last row that it met */
	int64_t after_due, after_id;
	uint64_t turn;			/* of those without lane: together they are one key */
	uint32_t n_tails;
	struct tail plain;
	bool scanning, skipped;
	struct due due;			/* earliest deadline in the tails */
	int64_t due_at;			/* the same, wall */
	struct queue *queue;
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
	struct imap tasks, steps, queues, workers, needs, strategies, keys, buckets, flows, batch_keys, batches;
	struct list dirty_keys, starving_keys, dirty_buckets, unstored_buckets;
	uint64_t turn;
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
	bool is_waking;			/* a bucket lets pass */
	struct recent gone;		/* ended in the tail */
	struct imap families;
	struct recent cancelled;	/* that may have spawned */
	VEC(int64_t) orphaned;		/* parents whose children are still to be cancelled */
};

/* eng_step.c */
struct fx *eng_fx(struct engine *e, enum fx_kind kind, const struct task *t);
struct fx *eng_store(struct engine *e, enum fx_kind kind, struct task *t);	/* seals first when order asks for it */
void eng_seal_for(struct engine *e, enum fx_kind kind, struct task *const *tasks, size_t n);	/* now, if one of them would */
void eng_answer(struct engine *e, const struct ev *ev, enum err_code code, const char *text);
int64_t eng_mono(const struct engine *e, int64_t wall_us);

/* eng_task.c */
struct task *task_new(struct engine *e, int64_t id);
void task_free(struct engine *e, struct task *t);
void task_wait(struct engine *e, struct task *t);		/* for units, for its keys, then in its queue's head; deadline set from due_at */
void task_go(struct engine *e, struct task *t);			/* from the first of them on */
void task_park(struct engine *e, struct task *t);		/* it waits and units are lacking: it gives back what it holds */
void task_parked(struct engine *e, struct task *t, int sign);	/* counts */
void task_set_due(struct engine *e, struct task *t, int64_t wall_us);	/* INT64_MIN: none */
void task_budget(struct engine *e, struct task *t);		/* its time to be scheduled begins now */
void task_ready(struct engine *e, struct task *t);		/* all its places are held: for a worker */
void ready_join(struct engine *e, struct task *t);		/* in its queue */
void ready_leave(struct engine *e, struct task *t);
void task_unwait(struct engine *e, struct task *t);
void task_assign(struct engine *e, struct task *t, struct worker *w);	/* slot, state, deadline; no effect */
void task_release_slot(struct engine *e, struct task *t);
void task_leave_worker(struct engine *e, struct task *t);
struct fx *task_ending(struct engine *e, struct task *t, enum fx_kind kind, enum attempt_status status, const char *text,
		       void *payload);
void task_end(struct engine *e, struct task *t, enum attempt_status status, const char *text, void *payload);
void task_cancel(struct engine *e, struct task *t, const char *why);	/* its worker is told */
void task_replay(struct engine *e, struct task *t);	/* what it waits for is over, it waits anew as the next attempt */
void task_revive(struct engine *e, const struct ev *ev);
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
bool need_want_is_met(const struct eng_want *want, const struct worker *w);
bool need_fits(const struct need *n, const struct worker *w);	/* @w can take one now */
bool need_ever_fits(const struct need *n, const struct worker *w);	/* when all its slots are free */
struct worker *need_pick(struct need *n, struct worker *free_one);	/* the best worker now; @free_one fits, if given */

/* eng_key.c */
void strategy_event(struct engine *e, const struct ev_strategy *def);
struct key *key_get(struct engine *e, int32_t strategy_no, uint64_t hash);	/* takes a reference */
void key_put(struct engine *e, struct key *k);
void key_free(struct key *k);				/* with its lanes and tails, when all ends */
void key_dirty(struct engine *e, struct key *k);
int32_t key_limit(const struct key *k);
void key_newest(struct engine *e, struct key *k, int64_t id, int32_t limit);	/* that task may bring the limit now */
void keys_set(struct engine *e, struct task *t, const struct eng_entry *entries);
void keys_wait(struct engine *e, struct task *t);	/* for the next place of its chain */
void keys_hold(struct engine *e, struct task *t, int64_t since);	/* all, without asking: it runs already */
void keys_leave(struct engine *e, struct task *t);
void keys_free(struct engine *e, struct task *t);
void keys_run(struct engine *e);			/* decides where something has changed */

/* eng_flow.c */
struct flow *flow_get(struct engine *e, int32_t workflow_no);
void flow_free(struct flow *f);
bool flow_wait(struct engine *e, struct task *t);	/* false: its workflow is not paused */
void flow_leave(struct engine *e, struct task *t);
int64_t flow_due(const struct flow *f, int64_t queued_at, int64_t schedule_ms, int64_t due_at);	/* of a stored row: it may have been parked */
enum flow_says flow_says(const struct engine *e, const struct step *s, int64_t queued_at, int64_t schedule_ms);	/* of a row that is due */
void flow_event(struct engine *e, const struct ev *ev);

/* eng_limit.c */
void limits_set(struct engine *e, struct task *t, const struct eng_limit *limits, uint32_t n);
void limits_free(struct engine *e, struct task *t);
bool limits_wait(struct engine *e, struct task *t);	/* false: it has passed */
void limits_leave(struct engine *e, struct task *t);	/* it waits no more, or is assigned */
void limits_note(struct engine *e, struct task *t);	/* that it is parked */
bool limits_suffice(const struct engine *e, struct task *t);
void limits_take(struct engine *e, struct task *t);
void buckets_run(struct engine *e);			/* decides where something has changed */
void buckets_store(struct engine *e);			/* what has changed, into the pending flush */
void bucket_due(struct engine *e, struct bucket *b);
void bucket_event(struct engine *e, const struct ev *ev);
void bucket_free(struct bucket *b);

/* eng_batch.c */
void group_join(struct engine *e, struct task *t);		/* all its places are held: until its batch goes */
void group_leave(struct engine *e, struct task *t);
void group_due(struct engine *e, struct due *d);
void batch_assign(struct engine *e, struct task *leader, struct worker *w);	/* and those that go with it */
void batch_enter(struct engine *e, struct task *t, int64_t id);	/* before it is assigned */
void batch_leave(struct engine *e, struct task *t);
bool batch_hold(struct task *t);				/* false: the slot is taken by another member */
bool batch_release(struct task *t);				/* false: another still holds it */
int64_t batch_id(const struct task *t);
struct eng_why;
const struct task *group_leader(const struct task *t);		/* of its group; NULL: nobody is ready */
bool group_why(const struct engine *e, const struct task *t, struct eng_why *ret);	/* false: its batch is about to go, or it has none */
void batches_free(struct engine *e);
bool batches_check(const struct engine *e, uint64_t *members, struct err *err) MUST_USE;

/* eng_turn.c */
void turn_join(struct engine *e, struct task *t);	/* ready, in order */
void turn_leave(struct engine *e, struct task *t);
void turn_taken(struct engine *e, struct task *t);	/* it is assigned: the others come first now */
struct task *turn_next(const struct need *n, int rank, uint64_t *ret_turn);	/* NULL: nothing ready */

/* eng_family.c */
void family_join(struct engine *e, struct task *t, int64_t parent_id);
void family_leave(struct engine *e, struct task *t);
void family_orphan(struct engine *e, const struct task *t);	/* @t ends cancelled */
bool family_is_orphan(const struct engine *e, int64_t parent_id);
void family_run(struct engine *e);				/* cancels whom the events so far have orphaned */
void recent_add(struct engine *e, struct recent *r, int64_t id);
bool recent_has(const struct recent *r, int64_t id);
void recent_del(struct recent *r, int64_t id);
void recent_fini(struct recent *r);

/* eng_sched.c */
struct queue *queue_get(struct engine *e, int32_t tenant_no, int32_t action_no);
void queue_dirty(struct engine *e, struct queue *q);
void worker_dirty(struct engine *e, struct worker *w);
void settle(struct engine *e);
void sched_run(struct engine *e);

/* eng_tail.c */
struct tail *tail_find(const struct engine *e, struct rank *r, int64_t lane);	/* NULL: no such lane has one */
struct tail *tail_make(struct rank *r, struct key *k);	/* the one that is there, or a new one */
void tail_fini(struct rank *r);
void tail_event(struct engine *e, const struct ev *ev);
void tail_due(struct engine *e, struct rank *r);
void tail_cancel(struct engine *e, const struct ev *ev);
void tail_added(struct engine *e, struct tail *l, int64_t id, int64_t due_at);
void tail_loaded(struct engine *e, const struct ev *ev);
void tail_load(struct engine *e, struct tail *l, uint32_t limit);
void tails_load(struct engine *e, struct queue *q);	/* of plain tails: what is low */
void tails_load_key(struct engine *e, struct key *k);	/* of a key's: likewise */
void tails_load_starving(struct engine *e);
bool queue_takes_now(const struct engine *e, const struct queue *q, const struct need *n, int rank);	/* nobody comes before a newcomer */

/* eng_worker.c */
void worker_event(struct engine *e, const struct ev *ev);
void worker_seen(struct engine *e, struct worker *w);
void worker_silent(struct engine *e, struct worker *w);
#endif
