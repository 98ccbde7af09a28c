/* A deterministic world around the engine: a model of the database, of the shell that feeds the engine, of workers and of
 * clients, all driven by one seed and a virtual clock.  What the engine must never do is checked where the model sees it. */
#ifndef TESTS_SIM_H
#define TESTS_SIM_H
#include "base/heap.h"
#include "base/map.h"
#include "base/rand.h"
#include "engine/engine.h"

enum { ATT_MAX = 40, TENANTS = 2, ACTIONS_MAX = 5, STEPS_MAX = 8, WORKERS_MAX = 8, RANKS = 4, SCAN_MAX = 8,
	WANTS_MAX = 2, LABELS_MAX = 3, STRATEGIES_MAX = 5,
	BUCKETS_MAX = 8, LIMITS_MAX = 2, FLOWS_MAX = 3 };
enum { MS = 1000, SEC = 1000000 };

/* What a run must have met at least once over the fixed seeds, or the simulator proves nothing. */
#define COVER_TABLE(X)                                                                                                      \
	X(born_assigned) X(head) X(tail) X(load) X(loaded) X(scan) X(expired) X(seal) X(flush) X(refused) X(shed)           \
	X(lost_committed) X(lost_resent) X(kill) X(kill_committed) X(restored) X(completed) X(failed) X(cancelled)          \
	X(timed_out) X(schedule_timed_out) X(schedule_timed_out_tail) X(retried) X(backoff) X(lost_silent)                  \
	X(lost_unconfirmed) X(lost_push) X(lost_max) X(cancel_tail) X(cancel_queued) X(cancel_backoff) X(cancel_assigned)   \
	X(cancel_started) X(cancel_final) X(foreign) X(late) X(duplicate) X(void_start) X(released) X(refreshed) X(stalled) \
	X(too_large) X(reconnect) X(idle_compared)                                                                           \
	X(child) X(born_over) X(by_parent) X(by_parent_running) X(orphan_loaded) X(orphan_tail)                                \
	X(revived) X(replayed_waiting) X(replay_refused)                                                                      \
	X(keyed) X(key_waits) X(key_limit_changed) X(lane_tail) X(lane_load) X(lane_load_one) X(turns)                         \
	X(cancelled_newest) X(cancelled_in_progress) X(cancelled_running) X(cancelled_queued) X(refused_at_birth)             \
	X(limited_task) X(limit_parked) X(limit_put) X(limit_restored) X(limit_dropped) X(limit_refilled)                      \
	X(paused_flow) X(unpaused_flow) X(paused_task) X(paused_ttl) X(paused_ttl_tail)                                        \
	X(batched) X(batch_full) X(batch_partial) X(batch_restored) X(batch_report)                                            \
	X(label_required) X(label_missed) X(labels_changed) X(desired_met) X(desired_missed)
enum cover {
#define COVER_X(n) C_##n,
	COVER_TABLE(COVER_X)
#undef COVER_X
	COVERS
};

struct sim;
struct timer {
	struct heap_item it;
	void (*fn)(struct sim *s, struct timer *t);
	uint32_t gen;		/* of the server it belongs to; 0: outlives servers */
	int64_t id;
	int32_t attempt, kind;
	void *p;		/* of a server's timer: owned */
};

/* A task: its row of `task`, the one in live or queue_item, its attempts; and what the world did to it. */
enum row { ROW_NONE, ROW_LIVE, ROW_TAIL };
struct rec {
	int64_t id;
	int32_t tenant_no, action_no, step_no;
	int64_t schedule_ms, exec_ms;
	struct rec *parent;
	bool is_orphan;			/* when it was loaded */
	uint32_t cancelled_gen;		/* server that ended it as cancelled, not stored maybe */
	int32_t desired_no;
	bool has_wants;
	uint32_t n_wants;
	struct eng_want wants[WANTS_MAX];
	struct eng_entry entries[ENG_STEP_ENTRIES];
	struct eng_limit limits[LIMITS_MAX];
	uint32_t n_limits;
	uint64_t batch;			/* hash of its batch key; 0: goes alone */
	uint32_t bytes;
	int64_t batch_id;		/* it is in, as stored */
	uint64_t turn_key;		/* of the first strategy that lets it wait; 0: none */
	size_t ready_since;		/* dispatches before it was seen ready; SIZE_MAX: it is not */
	bool exists, poison, gone, cancel_asked, is_replaying;
	int16_t base;			/* attempt that the last replay began */
	enum row row;
	bool released;
	int8_t state, rank, user_rank;
	int16_t attempt, app, internal;
	int32_t worker_no;
	int64_t queued_at, assigned_at, started_at, due_at;
	uint8_t att[ATT_MAX];		/* 1 + enum attempt_status, 0: no row */
	bool final[ATT_MAX], maxed[ATT_MAX];
	int32_t att_worker[ATT_MAX];
	bool pushed[ATT_MAX], no_retry[ATT_MAX], too_large[ATT_MAX];
	uint8_t sent[ATT_MAX];		/* bit 1 << enum call_kind */
	uint32_t start_gen[ATT_MAX];	/* server that got its STARTED */
	int64_t given_at[ATT_MAX];	/* when it was assigned */
	uint64_t used[16];		/* flush that last used it, by kind of effect */
	uint64_t deleted_in;		/* flush that deleted its row */
};

enum call_kind {
	CALL_TRIGGER, CALL_STARTED, CALL_COMPLETED, CALL_FAILED, CALL_CANCELLED, CALL_CANCEL, CALL_SLOT, CALL_REFRESH,
	CALL_TOO_LARGE, CALL_REPLAY
};
struct call {
	enum call_kind kind;
	struct rec *rec;
	int32_t tenant_no, attempt, worker_no;
	uint32_t gen;
	uint32_t sent, emitted, lookups;
	bool done;
};

struct pend {
	VEC(struct fx) fx;
	VEC(struct rec *) loaded;	/* rows that its loads moved, load after load */
	VEC(size_t) loads;		/* how many each load moved */
	uint32_t n_storing;
	bool halved;
};

struct run {
	int64_t id;
	int32_t attempt;
	bool started;		/* STARTED was answered */
	int64_t batch_id;
};
struct worker_model {
	int32_t no, tenant_no, n_actions;
	int32_t actions[ACTIONS_MAX];
	struct eng_slot slots[ENG_SLOT_TYPES];
	struct eng_label labels[LABELS_MAX], labels_before[LABELS_MAX];
	uint64_t labelled;	/* the step before which they changed last */
	VEC(struct run) runs;
	bool mute, listening, registered, ended, paused;
	int64_t mute_until;
	int64_t my_session;
	/* the server's side */
	int64_t session;		/* of the listener, 0: none */
	int64_t beat_at, contact_at;
	VEC(int64_t) ups;		/* when it listened */
	VEC(struct fx) pushes;		/* not written yet: the stream is full */
};

struct bucket_model {
	uint64_t hash;
	int32_t tenant_no, own_limit;	/* what the seed gave it */
	int64_t own_window_us;
	/* its row */
	bool exists, is_dynamic;
	int32_t limit, value;
	int64_t window_us, since;
	/* what was taken in the window that began so */
	int64_t window_since, window_taken;
};

struct dispatch {
	int32_t action_no;
	int8_t rank;
	uint64_t turn_key;
};

struct sim {
	uint64_t seed, n_steps, max_steps, n_flush;
	struct rand64 rnd;
	struct now now;
	struct heap timers;
	int64_t n_timers;
	bool trace, wall_jumps, calm;
	uint64_t digest, cover[COVERS];
	/* what the seed chose */
	struct eng_conf conf;
	struct ev_step steps[STEPS_MAX];
	struct eng_want wants[STEPS_MAX][WANTS_MAX];
	struct ev_strategy strategies[STRATEGIES_MAX];
	int32_t peak[STRATEGIES_MAX];	/* highest limit so far */
	bool limits_change;
	struct ev_flow flows[FLOWS_MAX];	/* workflows, as stored */
	uint64_t paused_step[FLOWS_MAX];	/* the step before which it was paused last */
	bool has_pauses;
	bool has_limits, buckets_change, is_halved;	/* rate limits */
	struct bucket_model buckets[BUCKETS_MAX];
	unsigned keys;			/* of each strategy */
	VEC(struct dispatch) dispatches;	/* of this server */
	int n_steps_def, n_actions, n_workers;
	unsigned cap, fault_pm, trigger_ms;
	bool is_slow_db;
	/* the database */
	struct imap recs;
	VEC(struct rec *) all, open;	/* open: not known to be over */
	int64_t max_id;
	int64_t db_down_until, trouble_at;	/* trouble: the last time that a flush failed */
	int64_t started_at;
	/* the server */
	uint32_t gen;			/* of the running server */
	bool is_up, shed, applied;
	struct engine *e;
	struct fx_list fxs;
	VEC(struct ev) evs;
	VEC(struct pend *) pends;
	struct pend *inflight;
	int64_t next_session;
	VEC(struct call *) calls;
	/* outside */
	struct worker_model workers[WORKERS_MAX];
};

/* sim.c */
void sim_fail(struct sim *s, const char *fmt, ...) PRINTF(2, 3) NORETURN;
void sim_trace(struct sim *s, const char *fmt, ...) PRINTF(2, 3);
#define TRACE(s, ...)                          \
	do {                                   \
		if ((s)->trace)                \
			sim_trace(s, __VA_ARGS__); \
	} while (0)
#define MUST(s, cond, ...)                       \
	do {                                     \
		if (!(cond))                     \
			sim_fail(s, __VA_ARGS__); \
	} while (0)
uint64_t below(struct sim *s, uint64_t n);
bool chance(struct sim *s, unsigned per_mille);
int64_t between(struct sim *s, int64_t lo, int64_t hi);	/* mostly near @lo */
struct timer *timer_in(struct sim *s, int64_t us, void (*fn)(struct sim *, struct timer *));
struct worker_model *worker_of(struct sim *s, int32_t worker_no);
uint32_t some_wants(struct sim *s, struct eng_want *ret);
struct eng_label some_label(struct sim *s, int key);
const struct ev_step *step_of(const struct sim *s, const struct rec *r);
const struct ev_strategy *strategy_of(const struct sim *s, const struct rec *r, uint32_t entry);
int64_t lane_of(const struct sim *s, const struct rec *r);

/* sim_db.c */
struct rec *rec_of(const struct sim *s, int64_t id);
bool db_is_refused(const struct sim *s, const struct pend *p);
void db_commit(struct sim *s, struct pend *p);
bool rec_is_final(const struct rec *r);
bool rec_is_cancelled(const struct rec *r);
void db_check_idle(struct sim *s);

/* sim_check.c: what is seen when an effect is made, when it is released, after each step */
void check_effects(struct sim *s, size_t from);
void check_push(struct sim *s, const struct fx *fx);
void check_answer(struct sim *s, const struct call *c, const struct fx *fx);
void check_step(struct sim *s);

/* sim_keys.c: concurrency */
void keys_check_commit(struct sim *s);
void keys_check_dispatch(struct sim *s, const struct rec *r, const struct fx *fx);
void keys_check_cancelled(struct sim *s, const struct rec *r, const struct fx *fx);
void keys_check_step(struct sim *s);
void check_end(struct sim *s);

/* sim_limits.c: rate limits */
void limits_choose(struct sim *s);
void limits_of_task(struct sim *s, struct rec *r);
void limits_restore(struct sim *s);
void shell_put_limit(struct sim *s);		/* by request */
void limits_check_commit(struct sim *s, const struct pend *p);
void limits_check_idle(struct sim *s);
void limits_check_step(struct sim *s, const struct rec *r, const struct eng_task_view *v);
bool limits_same(const struct rec *a, const struct rec *b);

/* sim_batch.c */
void batches_choose(struct sim *s);
void batch_of_task(struct sim *s, struct rec *r);
void batches_check_commit(struct sim *s, const struct pend *p);

/* sim_shell.c */
struct timer *server_timer(struct sim *s, int64_t us, void (*fn)(struct sim *, struct timer *), void *p);	/* @p is freed after it */
struct ev_restore row_of(const struct sim *s, const struct rec *r);
struct ev *shell_event(struct sim *s, enum ev_kind kind);
struct call *shell_call(struct sim *s, enum call_kind kind, struct rec *r, int32_t tenant_no, int32_t attempt, int32_t worker_no);
void shell_trigger(struct sim *s, struct rec *r);
void shell_replay(struct sim *s, struct rec *r);
void shell_register(struct sim *s, struct worker_model *w);
void shell_label(struct sim *s, struct worker_model *w);	/* another value for one of its labels */
void shell_limit(struct sim *s);		/* another limit for one of the strategies */
void shell_pause(struct sim *s, struct ev_flow *f, bool on);	/* a workflow */
void shell_listen(struct sim *s, struct worker_model *w);
void shell_stream_closed(struct sim *s, struct worker_model *w, int64_t session);
bool shell_beat(struct sim *s, struct worker_model *w);
void shell_drain(struct sim *s, struct worker_model *w);
void shell_start(struct sim *s);
void shell_kill(struct sim *s);
void shell_turn(struct sim *s);
bool shell_is_idle(const struct sim *s);

/* sim_read.c */
void scan_start(struct sim *s, const struct fx *fx);
void orphans_find(struct sim *s, int64_t parent_id);

/* sim_actors.c */
void actors_init(struct sim *s);
void actors_calm(struct sim *s);
bool worker_takes(struct sim *s, struct worker_model *w, const struct fx *push);	/* false: its stream is full */
void worker_cancelled(struct sim *s, struct worker_model *w, const struct fx *fx);
void worker_answered(struct sim *s, const struct call *c, bool ok);
void worker_server_gone(struct sim *s, struct worker_model *w);
#endif
