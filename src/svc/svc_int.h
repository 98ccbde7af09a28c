/* What the files of svc share.  See svc.c for the story of a turn. */
#ifndef SVC_SVC_INT_H
#define SVC_SVC_INT_H
#include "base/list.h"

#include "base/config.h"
#include "base/map.h"
#include "base/vec.h"
#include "cel/cel.h"
#include "store/owner.h"
#include "svc/svc.h"

/* One call from outside that waits for the engine's answer: the `ref` of its events.
 * Payloads are borrowed from the caller until its op fires. */
enum call_kind { CALL_TRIGGER, CALL_REPORT, CALL_CANCEL, CALL_SLOT, CALL_REFRESH, CALL_REPLAY, CALL_LIMIT, CALL_PAUSE };
struct call {
	enum call_kind kind;
	struct op *op;
	uint32_t left;			/* answers still to come */
	struct err err;			/* first failure; code OK: none */
	struct str payload;		/* REPORT */
	int32_t tenant_no;
	int64_t id;			/* REPORT, SLOT, REFRESH */
	int32_t attempt;
	int64_t *ret_time;		/* REFRESH */
	struct call *next_free;
};

/* A flush being filled or waiting: the effects of one or more turns, in order.  Rows are built when it is sent, so that a
 * flush refused for its data can be halved. */
struct pend {
	struct list node;
	VEC(struct fx) fx;
	struct arena *texts;		/* engine-made texts the effects point to */
	size_t n_storing;
	size_t bytes;			/* of the payloads its rows carry */
	bool halved;			/* part of a refused flush: start indexes mean nothing here */
};

/* Input and metadata of a task that has yet to be pushed. */
struct input {
	int64_t id;
	uint32_t n_input, n_meta;	/* n_meta UINT32_MAX: no metadata */
	int16_t priority;
	int32_t child_index;
	int64_t parent_id;
	uint32_t n_child_key, n_batch_key;
	char bytes[];			/* input, metadata, child key, batch key */
};

struct push {				/* START waiting for its input or for room in the stream */
	struct list node;
	int32_t worker_no;
	struct fx fx;			/* of a batch: its first member's */
	struct batch_push *batch;	/* that it is part of, or all of; NULL: alone */
};

struct svc_worker {
	int32_t worker_no, tenant_no;
	struct cat_worker *cat;
	struct listener *listener;	/* newest stream, NULL: none */
	bool had_stream;
	struct list pushes;		/* of struct push: stream is full */
	int64_t full_since_us;
};

struct orphaned { int64_t id; int32_t tenant_no; };

struct listener {			/* one open Listen stream */
	struct svc *s;
	struct svc_worker *w;
	struct stream *st;
	int64_t session;
	bool beats;
	struct list node;
};

/* counted for /metrics */
struct svc_figures {
	struct eng_stats eng;
	uint64_t flushes, flush_rows, created, succeeded, failed, cancelled, retried, requests_taken, requests_refused;
};

struct svc {
	struct svc_conf conf;
	struct loop *loop;
	struct db *db;
	struct owner *owner;
	struct catalog *catalog;
	struct engine *engine;
	uint64_t engine_no;		/* another after each drop; a pointer may come back */
	bool loaded, stopping, is_flushing;
	struct err not_ready;
	struct op *stop_op;

	/* turn */
	VEC(struct ev) evs;
	VEC(void *) turn_memory;	/* what events of this turn borrow; freed after the step */
	struct fx_list fxs;
	struct timer *deadline;
	struct timer *shed_timer;
	bool shed;			/* database refuses writes: new work is turned away */
	struct list pends;		/* of struct pend: sealed ones, oldest first; the last one fills */
	struct pend *inflight;
	struct flush *flush;
	struct op flush_op;
	int64_t flush_started_us, commit_mean_us;
	size_t fx_waiting, bytes_waiting;	/* over all pends */
	struct call *free_calls;

	/* payloads and pushes */
	struct imap inputs;		/* id -> struct input */
	uint64_t input_bytes;
	struct list need_input;		/* of struct push */
	struct op input_op;
	struct arena *input_arena;
	struct read_inputs input_rows;
	struct imap cut;		/* ids whose input had no room in this fetch */
	struct list fetching;		/* of struct push */
	bool is_fetching;
	struct list batch_pushes;	/* that the flush being released has begun */
	struct imap batch_progs;	/* step_no -> struct batch_prog */
	uint64_t fetch_engine_no;	/* who asked; another one now: its pushes are void */

	struct imap strategy_progs;	/* strategy_no -> struct strategy_progs */
	struct imap limit_progs;	/* step_no -> struct step_progs */
	struct imap limit_names;	/* hash -> struct limit_name */
	size_t limit_names_kept;	/* more than so many: a sweep */

	struct imap replaying;		/* ids */
	struct idem *idem;

	/* children */
	struct imap families;		/* parent id -> struct family */
	struct list families_used;
	size_t family_bytes;
	VEC(struct orphaned) orphaned;	/* parents whose children in tails are still to be cancelled */
	bool is_orphaning;

	/* workers */
	struct imap workers;		/* worker_no -> struct svc_worker */
	struct list listeners;
	int64_t next_session;
	struct timer *beat_timer;	/* for Listen v1, whose open stream is the heartbeat */

	/* subscriptions */
	struct imap run_subs;		/* run id -> struct sub list */
	struct smap request_subs;	/* SQL request that is no run yet -> the same */
	struct list run_streams, event_streams;
	struct list lookups;		/* streams with ids to look up */
	struct imap event_subs;

	struct front *front;		/* SQL requests */
	struct log_writer *logs;
	struct event_writer *events;
	struct maint *maint;

	/* loading */
	struct arena *load_arena;
	struct op load_op;
	int load_stage;
	struct timer *load_timer;
	int64_t load_max_id;
	struct read_live load_live;
	struct read_tails load_tails, load_lanes;
	struct read_limits load_limits;

	struct svc_figures figures;

	struct verify *verify;		/* an audit that is under way */
	int64_t verified_at;		/* wall_us of the last one, 0 never; what it looked at and found */
	uint64_t n_verified, n_differences;
};

extern struct op svc_noop;	/* for calls nobody waits for */

/* svc_turn.c */
struct ev *svc_event(struct svc *s, enum ev_kind kind);	/* appended to this turn's events, zeroed; valid until the next call */
void svc_turn_init(struct svc *s);
void svc_turn_fini(struct svc *s);
void svc_drop_engine(struct svc *s, const char *why);	/* ownership lost or stop: every waiting call fails UNAVAILABLE */
bool svc_accepts(struct svc *s, struct err *err);	/* new work may come in */
struct call *call_new(struct svc *s, enum call_kind kind, struct op *op);
void call_end(struct svc *s, struct call *c, const struct err *err);	/* one answer; the last one fires the op */

/* svc_task.c */
void svc_fail_later(struct svc *s, struct op *op, const struct err *err);	/* err NULL: done; in a later step */
void svc_task_answer(struct svc *s, const struct fx *fx);

/* svc_input.c */
void input_put(struct svc *s, const struct svc_trigger_item *it, bool must);	/* !must: only while there is room */
void input_put_loaded(struct svc *s, const struct loaded_row *r);	/* likewise */
void input_drop(struct svc *s, int64_t id);
void push_start(struct svc *s, struct push *p);		/* goes on when its input is there */
void input_clear(struct svc *s);

/* svc_worker.c */
void svc_worker_init(struct svc *s);
void svc_worker_fini(struct svc *s);
void svc_push(struct svc *s, const struct fx *fx);
void svc_push_with(struct svc *s, struct push *p, const struct input *in);	/* input is there; frees @p */
void svc_push_cancel(struct svc *s, const struct fx *fx);
void svc_worker_clear(struct svc *s);
struct svc_worker *svc_worker_get(struct svc *s, struct cat_worker *w);
void svc_worker_event(struct svc *s, struct cat_worker *w, bool restored);
void svc_step_event(struct svc *s, const struct cat_step *step);

/* svc_subs.c, svc_watch.c */
void subs_on_end(struct svc *s, const struct fx *fx, struct str payload);
void subs_on_request(struct svc *s, int32_t tenant_no, const struct uuid *request, int64_t run_id);	/* its run; 0: to be looked up */
void subs_turn(struct svc *s);		/* look up what was asked in this turn */
void subs_clear(struct svc *s);
void watch_on_end(struct svc *s, const struct fx *fx, struct str payload);
void watch_on_commit(struct svc *s, const struct fx *fx);
void watch_clear(struct svc *s);

/* svc_place.c: labels as the engine has them, in the memory of this turn */
struct eng_place svc_place(struct svc *s, int32_t desired_no, bool has_wants, const struct cat_want *wants, uint32_t n);
struct eng_place svc_place_stored(struct svc *s, int32_t desired_no, struct str labels);
const struct eng_label *svc_labels(struct svc *s, const struct cat_worker *w);

/* svc_eval.c */
struct eval {
	struct svc *s;
	struct arena *a;		/* of the caller: what stays */
	struct arena *scratch;
	struct cel_val vars[3];
	const char *what;		/* kind of expression, as the error calls it; NULL: step */
	const char *why;		/* set when an expression fails */
};
/* What becomes of the expressions of an item that has its id, also in the item; what fails is the text of the task's error. */
struct made {
	struct eng_entry entries[ENG_STEP_ENTRIES];
	const struct eng_limit *limits;	/* in the memory of this turn */
	uint32_t n_limits;
};
const char *eval_task(struct svc *s, struct svc_trigger_item *it, struct made *ret);
bool eval_objects(struct eval *e, const struct svc_trigger_item *it);	/* input and metadata as variables */
bool eval_fail(struct eval *e, struct str expression, const char *why);	/* false */
bool eval_run(struct eval *e, const struct cel_prog *p, struct str expression, unsigned kinds, struct cel_val *ret);
bool eval_key(struct eval *e, const struct cel_prog *p, struct str expression, struct str *ret);
bool eval_number(struct eval *e, const struct cel_prog *p, struct str expression, double *ret);

/* svc_limit.c */
void limits_init(struct svc *s);
void limits_fini(struct svc *s);
void limits_sweep(struct svc *s);
bool limits_eval(struct eval *e, struct svc_trigger_item *it, const struct cat_step *step, const struct eng_limit **ret, uint32_t *ret_n);
void limits_stored(struct svc *s, const struct cat_step *step, struct str stored, const struct eng_limit **ret, uint32_t *ret_n);
void limits_restore(struct svc *s, const struct read_limits *rows);
struct str limit_note(const struct svc *s, const struct fx *fx, struct arena *a);
void build_bucket(struct svc *s, const struct fx *fx);

/* svc_batch.c */
bool batch_eval(struct eval *e, struct svc_trigger_item *it, const struct cat_step *step);
uint64_t batch_hash(const struct cat_step *step, struct str key);	/* 0: the step has no batches */
uint32_t batch_bytes(size_t n_input);
void batch_push_add(struct svc *s, const struct fx *fx);	/* a member */
void batch_push_end(struct svc *s);				/* no more of it come with this flush */
void batch_push_ready(struct svc *s, struct push *p);		/* a member's input is there, or cannot be had; frees @p */
void batch_push_free(struct batch_push *b);
void batch_push_failed(struct svc *s, struct push *p);		/* frees @p */
void batch_push_sent(struct svc *s, struct push *p);
struct buf *batch_push_encode(struct svc *s, struct push *p, int64_t *ret_only);	/* NULL: nobody is left to be sent; ret_only: the
				* one who is, 0: several */
void batches_init(struct svc *s);
void batches_fini(struct svc *s);
void push_batch(struct svc *s, struct push *p);			/* svc_worker.c: all inputs are there */
bool push_is_current(const struct svc *s, const struct fx *fx);

/* svc_pause.c */
void svc_flow_event(struct svc *s, const struct cat_workflow *w, void *ref);

/* svc_key.c */
bool keys_eval(struct eval *e, struct svc_trigger_item *it, const struct cat_step *step, struct eng_entry *entries);
void keys_stored(const struct cat_step *step, struct str keys, const int64_t *limits, size_t n_limits, struct eng_entry *entries);
void keys_fini(struct svc *s);
void svc_strategy_event(struct svc *s, const struct cat_strategy *st);

/* svc_child.c: one child for each key of a parent.  Of families of which all is known: */
bool child_families_known(struct svc *s, int32_t tenant_no, struct svc_trigger_item *items, uint32_t n, struct op *op);	/* false: the
			* call is triggered again when they are, or fails */
int64_t child_find(struct svc *s, const struct svc_trigger_item *it);	/* 0: none with that key */
bool child_is_orphan(struct svc *s, const struct svc_trigger_item *it);	/* its parent was cancelled */
void child_add(struct svc *s, const struct svc_trigger_item *it);	/* with its id, not stored yet */
void child_stored(struct svc *s, const struct svc_trigger_item *it, bool ok);
void child_parent_ended(struct svc *s, const struct fx *fx);
void child_clear(struct svc *s);
void child_fini(struct svc *s);

/* svc_idem.c: of the runs with one idempotency key, one.  What a look finds is true until the op that tells of it returns. */
struct idem_look { struct idem_holder of; bool is_fresh; };
void idem_init(struct svc *s);
void idem_fini(struct svc *s);
void idem_clear(struct svc *s);
void idem_look(struct svc *s, struct idem_look *looks, uint32_t n, struct op *op);	/* @looks live until @op */
int64_t idem_holder(const struct svc *s, const struct idem_look *l);	/* 0: the key is free */
bool idem_known(struct svc *s, int32_t tenant_no, struct svc_trigger_item *items, uint32_t n, struct op *op);	/* false: the call is triggered
			* again when the holders of its keys are known, or fails */
bool idem_collides(struct svc *s, struct svc_trigger_item *it);
void idem_claim(struct svc *s, int32_t tenant_no, const struct svc_trigger_item *it);	/* with its id, not stored yet */
void idem_row(struct svc *s, int32_t tenant_no, const struct svc_trigger_item *it);	/* of its claim, into the flush */
void idem_stored(struct svc *s, int32_t tenant_no, const struct svc_trigger_item *it, bool ok);
/* The same for a run that is replayed; the end comes after the commit. */
void idem_reclaim(struct svc *s, int32_t tenant_no, struct str key, int64_t run_id, const struct cat_idempotency *how);
void idem_reclaim_row(struct svc *s, int64_t run_id);
void idem_reclaim_end(struct svc *s, int64_t run_id, bool ok);

/* svc_version.c */
void svc_version_event(struct svc *s, const struct cat_version *v);	/* its steps and strategies, for the engine */

/* svc_front.c: what hatchet.enqueue() leaves for us */
struct front *front_new(struct svc *s) MUST_USE;
void front_free(struct front *f);
void front_start(struct front *f);	/* active and loaded: whatever has gathered */
void front_wake(struct front *f, struct str words);	/* of a notification, behind "inbox "; p NULL: any may have been missed */

/* svc_verify.c: tells an audit what it must leave out for now */
void verify_touch(struct svc *s, const struct fx *fx);
void verify_loaded(struct svc *s, int64_t id, int32_t action_no);
void verify_fini(struct svc *s);

/* svc_load.c */
void svc_load(struct svc *s);

/* svc_encode.c: messages to clients */
struct buf *encode_start(struct svc *s, const struct fx *fx, const struct input *in);
struct buf *encode_cancel(struct svc *s, const struct fx *fx);
struct batch_member { int64_t id; const struct input *in; };
struct buf *encode_batch(struct svc *s, const struct fx *first, const struct batch_member *members, uint32_t n);
struct run_result {
	int64_t id;
	int32_t step_no;
	int32_t tenant_no;
	enum run_status status;
	struct str output, error;
	const struct uuid *alias;	/* SQL request by which it is asked for, told in place of the id; NULL: none */
};
struct buf *encode_run_finished(struct svc *s, const struct run_result *r);
enum watch_event { WATCH_TASK_STARTED, WATCH_TASK_ENDED, WATCH_RUN_ENDED };
struct buf *encode_watch(struct svc *s, enum watch_event what, const struct run_result *r, int32_t attempt);
#endif
