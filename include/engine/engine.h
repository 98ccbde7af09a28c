/* The deterministic core: who runs what, when.  Events in, effects out.
 *
 * Pure: reads only its arguments and its own memory.  No clock, randomness, I/O, SQL or logging.  Same inputs, same outputs.
 * It holds no payloads and no names: only numbers.  Its memory is a cache of `live`, `queue_item` and the
 * dictionaries; dropped and rebuilt by RESTORE events after a takeover.
 *
 * The shell (svc) feeds the events of a loop turn to engine_step(), puts the storing effects into the pending flush in order,
 * and runs the releasing effects (SCAN, PUSH, CANCEL_PUSH, ANSWER, and everything derived from END) when the flush that was pending
 * at that step has committed.  Memory moves ahead of the commit; a flush whose fate is unknown is settled by flush number, so
 * memory is never wrong unless ownership is lost, and then it is dropped whole.
 *
 * Inside a flush rows are applied by kind (ends, retries, inserts, loads, assigns, starts: store/flush.h).  FX_SEAL tells the
 * shell that the next effect must not share a flush with an earlier one of the pending flush (e.g. an END of a task whose
 * INSERT is still pending): it closes the pending flush and opens the next.  When the shell closes a pending flush for a reason
 * of its own, it calls engine_flush_sealed(); never for FX_SEAL, by which the engine has counted the effects that follow. */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H
#include "base/arena.h"
#include "base/err.h"
#include "base/vec.h"
#include "model/model.h"

#define ENG_SLOT_TYPES 8	/* per worker */
#define ENG_STEP_SLOTS 4	/* slot types one step asks for */
#define ENG_STEP_ENTRIES 8	/* strategies in the chain of one step */
#define ENG_TASK_LIMITS 16	/* rate limits of one task */

/* A batch goes out in one message: its members' inputs, each with the room that the message needs beside it, stay below this. */
#define ENG_BATCH_BYTES 4000000

struct eng_slot {
	int32_t type_no;	/* dictionary number of the slot type's name; 1 = "default", 2 = "durable" */
	int32_t units;
};

/* Labels.  Texts are hashes here, equal when the texts are. */
struct eng_label {		/* of a worker */
	uint64_t key, text;
	int32_t number;
	bool is_text;
};
struct eng_want {		/* what a task asks of one of them */
	uint64_t key, text;
	int32_t number, weight;
	bool is_text, required;
	uint8_t op;		/* enum label_op */
};
/* What a task brings along besides its step: a worker it wants, wants in place of the step's. */
struct eng_place {
	int32_t desired_no;		/* a worker; 0: none, -1: one that does not exist */
	bool has_wants;
	const struct eng_want *wants;	/* borrowed for the call */
	uint32_t n_wants;
};

/* A task's part in one strategy of its step, in the order of the step's chain. */
struct eng_entry {
	uint64_t key;		/* hash of the strategy and the text of the key; never 0 */
	int32_t limit;		/* the task's own, for the whole key; -1: the strategy's */
};

/* What each attempt of a task takes out of one rate limit; a task names no limit twice. */
struct eng_limit {
	uint64_t bucket;	/* hash of tenant and key; never 0 */
	int32_t units;		/* at least 0 */
	int32_t limit;		/* it brings along, with a window; -1: it does not */
	int64_t window_us;
};

/* How tasks of a step go out together. */
struct eng_batch {
	int32_t max_size;		/* 0: one by one */
	int32_t max_runs;		/* batches of one key at once */
	int64_t interval_us;		/* from the arrival of the oldest */
};

enum ev_kind {
	/* dictionaries */
	EV_STEP,		/* step known or changed; before any task of it */
	EV_STRATEGY,		/* strategy known or changed; before any step that has it */
	EV_FLOW,		/* workflow paused, unpaused or restored; before any task of it */
	EV_BUCKET,		/* rate limit set by request, deleted, or restored (before any task) */
	EV_WORKER,		/* worker registered (or restored at start: .restored, silent since now) */
	EV_LABELS,		/* the worker's labels are .worker.labels now, all of them */
	/* workers */
	EV_STREAM_UP,		/* a Listen stream of this worker opened: session grows with every stream */
	EV_STREAM_DOWN,		/* that session's stream ended */
	EV_BEAT,		/* any sign of life */
	EV_PAUSE,		/* .on */
	EV_WORKER_END,		/* Unsubscribe: gets nothing more; what it runs stays until 30 s silent */
	EV_STALL,		/* .on: stream buffer full / drained: no new assignments meanwhile */
	/* tasks */
	EV_NEW,			/* a trigger's task */
	EV_STARTED, EV_COMPLETED, EV_FAILED,	/* report of the worker; attempt < 0: current */
	EV_CANCEL,		/* by task id, .text why; a task in the tail is passed with .tail set (keys read from the database) */
	EV_REPLAY,		/* by task id; .restore describes it as it would wait, .restore.attempt the next one */
	EV_RELEASE_SLOT, EV_REFRESH,
	EV_PUSH_FAILED,		/* START could not be written (stream gone): as lost for that attempt */
	EV_PUSH_TOO_LARGE,	/* assembled action over the limit: FAILED, final */
	EV_REFUSED,		/* the database refused this task's INSERT for its data: forget it */
	EV_ECHO,		/* nothing: the answer comes when all before it is stored */
	/* recovery and the tail */
	EV_RESTORE,		/* a row of live */
	EV_TAIL,		/* (action, rank) has a tail; earliest due */
	EV_LOADED,		/* a row moved from queue_item into live by FX_LOAD */
	EV_LOAD_DONE,		/* that load is complete: n rows of .limit */
	EV_EXPIRED,		/* a tail row found due by FX_SCAN */
	EV_SCAN_DONE,		/* scan complete: next earliest due, 0 none; .limit 0: it failed, again at .due_at */
};

struct ev_step {
	int32_t step_no, tenant_no, action_no, workflow_no;
	int32_t retries;
	int32_t backoff_milli;		/* factor * 1000, 0: none */
	int32_t backoff_max_s;
	int64_t schedule_ms, exec_ms;	/* defaults, a task may carry its own */
	struct eng_slot slots[ENG_STEP_SLOTS];	/* units 0 ends the list */
	enum sticky sticky;
	const struct eng_want *wants;	/* borrowed for the call */
	uint32_t n_wants;
	int32_t strategies[ENG_STEP_ENTRIES];	/* the chain; never changes */
	uint32_t n_strategies;
	struct eng_batch batch;
};
struct ev_strategy {
	int32_t strategy_no;
	enum conc kind;
	int32_t max_runs;
};
struct ev_flow {			/* times are wall_us, INT64_MIN: never */
	int32_t workflow_no;
	bool is_paused;
	int64_t paused_at, unpaused_at;	/* the last time */
	int64_t ttl_us;			/* what is parked for so long is cancelled; 0: nothing */
};
struct ev_bucket {
	uint64_t hash;
	int32_t limit;			/* -1: deleted */
	int64_t window_us;
	bool restored, is_dynamic;
	int32_t value;			/* restored: of its window, which began at */
	int64_t since;			/* wall_us; INT64_MIN: it is full */
};
struct ev_worker {
	int32_t worker_no, tenant_no;
	struct eng_slot slots[ENG_SLOT_TYPES];
	const int32_t *actions;		/* borrowed for the call */
	uint32_t n_actions;
	const struct eng_label *labels;	/* borrowed for the call */
	uint32_t n_labels;
	bool paused, restored;
};
struct ev_new {
	int64_t id;
	int32_t tenant_no, step_no;
	int8_t rank;			/* 1..3 */
	int64_t schedule_ms, exec_ms;
	int64_t parent_id;		/* task that spawned it; 0: none */
	bool is_over;			/* it ends at birth, by */
	enum attempt_status status;
	const char *text;		/* borrowed for the call */
	struct eng_entry entries[ENG_STEP_ENTRIES];	/* as many as its step has strategies; unless it is over */
	const struct eng_limit *limits;	/* borrowed for the call */
	uint32_t n_limits;
	uint64_t batch;			/* hash of its step and batch key; 0: the step has no batches */
	uint32_t bytes;			/* it adds to a batch */
	struct eng_place place;
};
struct ev_restore {			/* times are wall_us, INT64_MIN: null */
	int64_t id;
	int32_t tenant_no, step_no, worker_no;
	int8_t state, rank, user_rank;	/* user_rank: that of its priority */
	int16_t attempt, app_retries, internal_retries;
	int64_t queued_at, assigned_at, started_at, due_at;
	int64_t schedule_ms, exec_ms;
	bool released;
	int64_t parent_id;
	bool is_orphan;			/* its parent was cancelled: so is it */
	struct eng_entry entries[ENG_STEP_ENTRIES];
	const struct eng_limit *limits;	/* borrowed for the call */
	uint32_t n_limits;
	uint64_t batch;			/* as in ev_new */
	uint32_t bytes;
	int64_t batch_id;		/* assigned, started: the batch it is in; 0: none */
	struct eng_place place;
};
struct ev {
	enum ev_kind kind;
	void *ref;			/* EV_NEW and task reports and requests: comes back in exactly one FX_ANSWER; NULL: no answer wanted */
	int64_t id;			/* task */
	int32_t attempt;
	int32_t worker_no;
	int32_t tenant_no;		/* of the asker: a task of another tenant is NOT_FOUND */
	int64_t session;
	int64_t batch_id;		/* task reports: meant for its part in that batch, whatever the attempt; 0: in none */
	bool on;			/* PAUSE, STALL; REPLAY: it had not ended when it was read */
	bool no_retry;			/* FAILED */
	const char *text;		/* CANCEL: why; static; NULL: by request */
	int64_t ms;			/* REFRESH increment */
	void *payload;			/* COMPLETED output / FAILED error: opaque, handed through to the FX_END or FX_RETRY, else to the ANSWER's .payload for release */
	/* LOAD, TAIL, SCAN */
	int32_t action_no;
	int8_t rank;
	int64_t lane;			/* key of the first strategy, if that lets them wait; 0: rows without one */
	int32_t step_no;		/* TAIL with a lane: of a row of it */
	int32_t key_limit;		/* TAIL with a lane: that of its newest row, -1 none */
	uint32_t n, limit;
	int64_t due_at;			/* wall_us */
	bool tail;			/* CANCEL, EXPIRED: .restore describes the queue_item row */
	union {
		struct ev_step step;
		struct ev_strategy strategy;
		struct ev_bucket bucket;
		struct ev_flow flow;
		struct ev_worker worker;
		struct ev_new new;
		struct ev_restore restore;
	};
};

enum fx_kind {
	/* storing: go into the pending flush */
	FX_INSERT,	/* task + live(assigned | queued) or task + queue_item, by .place; PLACE_NONE: task + attempt of .status, it is over */
	FX_ASSIGN,	/* live -> assigned */
	FX_START,	/* live -> started; .index counts starts since the last seal */
	FX_END,		/* attempt row, terminal; delete live or queue_item (.in_tail); .start_index >= 0: that START of this flush is void */
	FX_RETRY,	/* attempt row, not final; live: attempt+1, rank 0, state .state (queued or backoff), due */
	FX_REQUEUE,	/* backoff over: live backoff -> queued, queued_at, due_at */
	FX_TOUCH,	/* live.due_at (refresh) and/or live flags (slot released) */
	FX_REVIVE,	/* of a task that had ended: live(queued) */
	FX_LOAD,	/* window load of (tenant, action, rank, lane), up to .limit; answered by LOADED..., LOAD_DONE */
	FX_BUCKET,	/* rate limit .lane of .tenant_no: .value of .max (-1: delete), .window_us from .started_at; the last of a flush counts */
	FX_NOTE,	/* timeline; NOTE_RATE_LIMITED: .limit units wanted, of bucket .lane, which has .value of .max, refilled at .due_at */
	FX_SEAL,
	/* releasing: after the commit */
	FX_SCAN,	/* read queue_item of (tenant, action, rank) with due_at <= .due_at, up to .limit, by due_at and id, behind
			 * (.started_at, .lane); answered by EXPIRED..., SCAN_DONE.
			 * A read before the commit would not know the rows, and the deadlines, that are being added. */
	FX_PUSH,	/* START to the worker, once per (task, attempt); of a batch: member .index of .limit, one after the other */
	FX_CANCEL_PUSH,	/* CANCEL_STEP_RUN with .attempt to .worker_no, if its stream is open */
	FX_ANSWER,	/* .ref: .code and .text; code OK may carry .due_at (REFRESH) */
};
enum fx_place { PLACE_ASSIGNED, PLACE_QUEUED, PLACE_TAIL, PLACE_NONE };

struct fx {
	enum fx_kind kind;
	enum fx_place place;		/* INSERT */
	int64_t id;
	int32_t tenant_no, action_no, step_no, worker_no;	/* worker_no 0: none */
	int8_t rank;			/* LOAD, SCAN, INSERT, RETRY; END of a tail row: its rank */
	int64_t lane;			/* LOAD, INSERT into a tail */
	int8_t state;			/* RETRY: enum live_state */
	int8_t status;			/* END, RETRY, INSERT of what is over: enum attempt_status */
	int16_t attempt;		/* the attempt that ends, starts, is pushed; RETRY: the one that ended */
	int16_t app_retries, internal_retries;	/* after the change */
	int64_t queued_at, assigned_at, started_at, finished_at, due_at;	/* wall_us, INT64_MIN null */
	int32_t index, start_index;
	uint32_t limit;
	int32_t value, max;
	int64_t window_us;
	int64_t batch_id;		/* that it runs in; 0: none */
	bool in_tail, released, is_dynamic;
	uint8_t note;			/* enum note_kind */
	enum err_code code;		/* ANSWER */
	const char *text;		/* ANSWER error, END/RETRY engine-made error text (static or on the fx list's arena): when payload is NULL */
	void *ref, *payload;
};
struct fx_list {
	VEC(struct fx) v;
	struct arena *arena;		/* texts; reset by the shell after it consumed the list */
};

struct eng_conf {
	uint32_t heads_max;		/* waiting tasks in memory over all queues; 200,000 */
	uint32_t head_low, load_max;	/* load when a head has fewer than 1,000; rows per load 1,000 */
	int32_t internal_retries_max;	/* 10 */
	int64_t worker_silent_us;	/* 30 s */
	int64_t confirm_us;		/* 5 s after the stream is back */
	uint32_t scan_max;		/* rows per expiry scan, 500 */
	int64_t batch_bytes;		/* ENG_BATCH_BYTES */
};
extern const struct eng_conf eng_conf_default;

struct engine;
struct engine *engine_new(const struct eng_conf *conf) MUST_USE;
void engine_free(struct engine *e);
/* Next id for a tenant: time = max(last id time, now.wall); never repeats.  engine_id_floor: highest committed id at takeover. */
int64_t engine_next_id(struct engine *e, struct now now, int32_t tenant_no);
void engine_id_floor(struct engine *e, int64_t id);
/* Consumes @evs in order, then fires due deadlines, then assigns. Effects in the order they must happen. */
void engine_step(struct engine *e, struct now now, const struct ev *evs, size_t n, struct fx_list *out);
void engine_flush_sealed(struct engine *e);
int64_t engine_next_deadline_us(const struct engine *e);	/* mono; INT64_MAX: none */
bool engine_check(const struct engine *e, struct err *err) MUST_USE;	/* every invariant of memory, after a step; slow */

/* Views for the API and metrics; valid until the next step. */
struct eng_task_view {
	int64_t id;
	int32_t tenant_no, step_no, action_no, worker_no;
	int8_t state, rank;
	int16_t attempt;
	int64_t queued_at, assigned_at, started_at, due_at;
	uint64_t waits_for;		/* key in which it waits for a place; 0: none */
	uint64_t limited_by;		/* bucket it is parked with, for want of .units; 0: none */
	int32_t units;
	bool is_paused;			/* parked: its workflow is paused */
	int64_t batch_id;		/* that it runs in; 0: none */
};
bool engine_task(const struct engine *e, int64_t id, struct eng_task_view *ret);
bool engine_has_step(const struct engine *e, int32_t step_no);
struct eng_worker_view {
	int64_t last_seen_mono_us;
	bool stream_open, paused, ended;
	uint32_t n_running;
	struct eng_slot limit[ENG_SLOT_TYPES], used[ENG_SLOT_TYPES];
};
bool engine_worker(const struct engine *e, int32_t worker_no, struct eng_worker_view *ret);
struct eng_key_view {
	int32_t strategy_no, limit;
	uint32_t n_holders, n_waiters;	/* in memory */
	bool has_tail;
	int64_t holder;			/* the one that holds a place longest */
};
bool engine_key(const struct engine *e, uint64_t key, struct eng_key_view *ret);
struct eng_bucket_view {
	int32_t limit, value;		/* limit -1: nobody has said */
	int64_t window_us, refill_at;	/* wall_us; INT64_MIN: it is full */
	bool is_dynamic;		/* tasks have brought it along */
};
bool engine_bucket(const struct engine *e, uint64_t bucket, struct eng_bucket_view *ret);
struct eng_stats { uint64_t queued, running, backoff, workers, tails; };
struct eng_stats engine_stats(const struct engine *e);
#endif
