/* The shell round the engine: the turn, the flush, worker streams, subscriptions.
 *
 * A call that changes anything takes an op that fires after the commit that made it durable.  Calls made while this process
 * is not the active engine fail with UNAVAILABLE naming the active one.  Ids are the int8 of model/id.h. */
#ifndef SVC_SVC_H
#define SVC_SVC_H
#include "base/strb.h"
#include "engine/engine.h"
#include "net/req.h"
#include "store/catalog.h"
#include "store/read.h"

struct svc;
struct svc_conf {
	struct loop *loop;
	const char *database_url;
	const char *address;		/* host:port for clients, told by a standby */
	uint32_t msg_bytes_max;		/* 4 MiB */
	uint64_t input_cache_bytes_max;	/* 64 MiB */
	uint32_t subscriptions_max;	/* per stream, 100,000 */
	uint32_t heads_max;		/* waiting tasks in memory, 200,000; the rest is loaded in parts of at most a quarter */
	void (*on_ready)(void *arg);	/* each time this process becomes active and loaded */
	void *arg;
};
struct svc *svc_new(const struct svc_conf *conf) MUST_USE;
void svc_start(struct svc *s);		/* connects in the background: when the schema is there; not ready until then */
bool svc_is_healthy(const struct svc *s, struct err *why);	/* ready, and the database is there right now */
bool svc_is_ready(const struct svc *s, struct err *why);	/* false: @why says what is missing (UNAVAILABLE) */
const char *svc_active_address(const struct svc *s);	/* of the server for which this one stands by; "": it does not, or that is unknown */
/* No new work; every stream ends UNAVAILABLE; all in flight committed; shards released; then @op. */
void svc_stop(struct svc *s, struct op *op);
void svc_free(struct svc *s);

struct loop *svc_loop(const struct svc *s);
struct db *svc_db(const struct svc *s);
struct catalog *svc_catalog(const struct svc *s);
uint32_t svc_msg_bytes_max(const struct svc *s);

/* Runs.  @items live until @op; ids are set before it fires OK.  All or none, but for those whose idempotency key is held. */
struct svc_trigger_item {
	struct arena *arena;		/* the caller's, for what is made of the item */
	struct cat_version *version;	/* one task, not a DAG */
	struct str input;		/* checked JSON or empty */
	struct str metadata;		/* checked JSON object or p NULL */
	int16_t priority;		/* 1..3; 0: the version's default */
	int64_t parent_id;		/* spawning task; 0 none */
	int32_t child_index;		/* -1 none */
	struct str child_key;
	int32_t desired_no;		/* worker; 0 none, -1 one that does not exist */
	const struct cat_want *wants;	/* in place of the step's; NULL: the step's */
	uint32_t n_wants;
	struct str labels;		/* the same, cat_wants_format(); p NULL: the step's */
	const struct uuid *request;	/* SQL request that it comes of, which leaves the inbox with it; NULL: none */
	struct str keys, key_limits;	/* out: of its concurrency chain, array literals; p NULL: none */
	struct str limits;		/* out: its rate limits, if any is dynamic, as JSON; p NULL: none */
	struct str batch_key;		/* out: p NULL: its task goes alone */
	struct str idempotency_key;	/* out: p NULL: none */
	struct idem_look *look;		/* svc's own */
	int64_t holder_id;		/* out: the run that holds its key; then there is no run @id.  0: none */
	int64_t id;			/* out: task id = run id */
};
void svc_trigger(struct svc *s, int32_t tenant_no, struct svc_trigger_item *items, uint32_t n, struct op *op);
void svc_collision(const struct svc *s, int64_t holder_id, struct err *err);	/* what to say to people of an item with a holder */

enum svc_report_kind { SVC_STARTED, SVC_COMPLETED, SVC_FAILED, SVC_CANCELLED };
/* @attempt -1: the present one.  Late and repeated reports are OK and change nothing; a task that does not exist: INVALID.
 * COMPLETED: @payload is checked by the caller (bad output is reported as FAILED). Payload copied. */
void svc_report(struct svc *s, int32_t tenant_no, int64_t id, int32_t attempt, enum svc_report_kind kind, struct str payload, bool no_retry,
		struct op *op);
/* The same of a member of a batch: what it does in another batch by now is not touched, whatever the attempt. */
void svc_report_member(struct svc *s, int32_t tenant_no, int64_t batch_id, int64_t id, int32_t attempt, enum svc_report_kind kind,
		       struct str payload, bool no_retry, struct op *op);
/* Ids that are final, unknown or another tenant's are no-ops.  @ids live until @op. */
void svc_cancel(struct svc *s, int32_t tenant_no, const int64_t *ids, uint32_t n, struct op *op);
/* Each of @ids that has ended or waits runs again as its next attempt, and so does what was cancelled with it.  @ret_ok: which of them;
 * @ids and @ret_ok live until @op. */
void svc_replay(struct svc *s, int32_t tenant_no, const int64_t *ids, size_t n, bool *ret_ok, struct op *op);
/* Nothing of a paused workflow is newly assigned, from the moment @op fires.  @ttl_ms: what is parked for so long is cancelled, 0 nothing. */
void svc_pause_workflow(struct svc *s, struct cat_workflow *w, bool on, int64_t ttl_ms, bool drops_cron, bool drops_scheduled, struct op *op);
/* Sets the units of a rate limit, or deletes it (@limit -1): stored when @op fires. */
void svc_put_rate_limit(struct svc *s, int32_t tenant_no, struct str key, int32_t limit, int32_t window_s, struct op *op);
/* The key of a rate limit that the engine knows; p NULL: none.  Valid until the end of the turn. */
struct str svc_limit_key(const struct svc *s, uint64_t bucket);
void svc_release_slot(struct svc *s, int32_t tenant_no, int64_t id, struct op *op);	/* NOT_FOUND if not assigned */
void svc_refresh_timeout(struct svc *s, int32_t tenant_no, int64_t id, int64_t ms, int64_t *ret_timeout_at_us, struct op *op);

/* The version that a run of workflow @name gets: the latest.  NOT_FOUND; UNIMPLEMENTED names what it asks for. */
bool svc_find_version(const struct svc *s, int32_t tenant_no, struct str name, struct cat_version **ret, struct err *err) MUST_USE;

/* Fires when the SQL requests that can be taken now have been looked at once more. */
void svc_front_wait(struct svc *s, struct op *op);

/* Definitions */
void svc_put_workflow(struct svc *s, const struct cat_put *p, struct cat_version **ret, bool *ret_is_new, struct op *op);

/* Workers */
void svc_register(struct svc *s, const struct cat_worker_new *n, struct cat_worker **ret, struct op *op);
struct step *svc_listen(struct svc *s, struct req *r, struct cat_worker *w, bool beats) MUST_USE;	/* beats: Listen v1, the open stream is the heartbeat */
bool svc_heartbeat(struct svc *s, struct cat_worker *w, struct err *err) MUST_USE;	/* recorded always; PRECONDITION: had a stream, has none */
void svc_unsubscribe(struct svc *s, struct cat_worker *w, struct op *op);
void svc_pause_worker(struct svc *s, struct cat_worker *w, bool paused, struct op *op);
void svc_label_worker(struct svc *s, struct cat_worker *w, const struct cat_label *merge, uint32_t n, struct op *op);
bool svc_worker_view(const struct svc *s, int32_t worker_no, struct eng_worker_view *ret, int64_t *ret_last_seen_wall_us);

/* Subscriptions */
struct step *svc_subscribe_runs(struct svc *s, struct req *r, int32_t tenant_no) MUST_USE;	/* SubscribeToWorkflowRuns */
struct step *svc_subscribe_events(struct svc *s, struct req *r, int32_t tenant_no, int64_t run_id) MUST_USE;

/* Logs and events */
void svc_put_log(struct svc *s, const struct log_row *row, struct op *op);
void svc_push_events(struct svc *s, int32_t tenant_no, struct event_row *rows, uint32_t n, struct op *op);	/* sets rows[].id */

/* Present state, from memory */
bool svc_task(const struct svc *s, int64_t id, struct eng_task_view *ret);
void svc_metrics(const struct svc *s, struct strb *out);	/* Prometheus text */
#endif
