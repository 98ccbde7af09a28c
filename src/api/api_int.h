/* What the files of api share: who asks, ids as text, messages in and out, replies in JSON. */
#ifndef API_API_INT_H
#define API_API_INT_H
#include "api/api.h"

#include "base/config.h"
#include "json/json.h"
#include "cel/cel.h"
#include "pb/dispatcher.pb-c.h"
#include "pb/events.pb-c.h"
#include "pb/pb.h"
#include "pb/status.pb-c.h"
#include "pb/v1.pb-c.h"
#include "pb/workflows.pb-c.h"
#include "store/inbox.h"

/* What is asked of a run, when it is a request that is none yet. */
enum alias_route { ALIAS_RUN, ALIAS_STATUS, ALIAS_TASK, ALIAS_INPUT, ALIAS_ROWS, ALIAS_WHY };

struct auth;
struct api {
	struct api_conf conf;
	struct svc *svc;
	struct auth *auth;
	uint64_t spans_received;	/* OTLP exports: counted, not kept */
	struct buf *index_page;		/* web/index.html with the version filled in; made at its first request */
	struct page_mark *marks;	/* made with the first page that has a next one */
};

/* Who asks: set by the gate, on the request arena. */
struct who {
	struct cat_tenant *tenant;
	req_fn *next;			/* the gate's own, while it looks the token up */
	struct uuid token_id;
	struct cat_token *token;
	int64_t token_exp, token_iat;
	/* alias.c */
	struct read_requests requests;	/* as they were found */
	const struct uuid *asked;
	uint32_t n_asked;
	req_fn *alias_next;
	enum alias_route alias_route;
	int64_t alias_until_us;
	int64_t open_id;		/* shown as @open_uuid; 0: none */
	struct uuid open_uuid;
};

static inline struct api *api_of(struct req *r)
{
	return req_app(r);
}
static inline struct svc *svc_of(struct req *r)
{
	return api_of(r)->svc;
}
static inline struct catalog *catalog_of(struct req *r)
{
	return svc_catalog(api_of(r)->svc);
}
static inline struct cat_tenant *tenant_of(struct req *r)
{
	return ((struct who *)req_user(r))->tenant;
}
struct now api_now(struct req *r);

/* auth.c */
struct auth *auth_new(void);
void auth_free(struct auth *au);

/* api_ids.c: public UUIDs and inner ids.  The text of a UUID of this server; ERR_INVALID when malformed, ERR_NOT_FOUND when
 * it cannot be one of this tenant's. */
bool api_id(struct req *r, struct str text, const char *field, int64_t *ret, struct err *err) MUST_USE;
struct uuid api_uuid(struct req *r, int64_t id);
ProtobufCBinaryData api_pb_id(struct req *r, int64_t id);
struct cat_worker *api_worker(struct req *r, struct str text, const char *field, struct err *err) MUST_USE;
struct cat_workflow *api_workflow(struct req *r, struct str text, const char *field, struct err *err) MUST_USE;

/* alias.c: ids of SQL requests.  Each looks up those among what is asked for and goes on with @next, where api_id() knows them. */
struct step *alias_param(struct req *r, const char *param, enum alias_route route, req_fn *next) MUST_USE;	/* answers by itself for one that is no run */
struct step *alias_query(struct req *r, const char *name, req_fn *next) MUST_USE;	/* of a query parameter */
struct step *alias_ids(struct req *r, const struct str *texts, size_t n, req_fn *next) MUST_USE;
struct step *alias_settled(struct req *r, const struct str *texts, size_t n, req_fn *next) MUST_USE;	/* those that wait are waited for */
bool alias_id(struct req *r, const struct uuid *u, int64_t *ret) MUST_USE;	/* the run's id; false: none */
const struct request_view *alias_find(struct req *r, struct str text);

/* gRPC messages: NULL and @err when the bytes are no such message. */
void *api_msg(struct req *r, const ProtobufCMessageDescriptor *type, struct err *err) MUST_USE;
struct step *api_reply_msg(struct req *r, const ProtobufCMessage *msg) MUST_USE;

/* Text to be shown that may hold anything: NULs are dropped; false: not UTF-8. */
bool api_clean_text(struct arena *a, struct str in, struct str *ret) MUST_USE;
/* ASCII letters to lower case, copied. */
struct str api_lower(struct arena *a, struct str in);

/* The answer to a call some of whose runs were not made, as their idempotency keys are held. */
struct step *collision_reply(struct req *r, const struct svc_trigger_item *items, uint32_t n, bool is_bulk) MUST_USE;
/* trigger.c: one run to start, from whatever door; checked into an item of svc_trigger(). */
struct trigger_args {
	struct str name, input, metadata;
	bool has_priority;
	int32_t priority;
	struct str parent_task;		/* UUID text; empty: no child */
	struct str parent_run;
	int32_t child_index;		/* -1: none */
	struct str child_key;
	struct str desired_worker;
	V1__DesiredWorkerLabelsEntry **labels;
	size_t n_labels;
};
bool trigger_check(struct req *r, const struct trigger_args *t, struct svc_trigger_item *ret, struct err *err) MUST_USE;
/* The parts that need no catalog. */
bool trigger_check_texts(const struct trigger_args *t, size_t bytes_max, struct str *ret_input, struct str *ret_metadata,
			 struct err *err) MUST_USE;

/* bulk.c: cancel or replay, by ids or by filter; *done are the runs asked for, of a replay those that were accepted, on the request
 * arena. */
enum bulk_what { BULK_CANCEL, BULK_REPLAY };
enum { BULK_PAGE = 1000 };
struct bulk_filter {
	int64_t since_us, until_us;
	unsigned status_mask;
	const int32_t *workflow_nos;
	uint32_t n_workflows;
	const struct str *meta_pairs;
	uint32_t n_meta;
};
struct bulk_done {
	int64_t *ids;
	size_t n;
};
/* Ends the request. */
typedef struct step *bulk_reply_fn(struct req *r, const struct bulk_done *done);
struct step *bulk_listed(struct req *r, enum bulk_what what, const struct str *texts, size_t n, const char *field, bulk_reply_fn *reply) MUST_USE;
struct step *bulk_filtered(struct req *r, enum bulk_what what, const struct bulk_filter *f, bulk_reply_fn *reply) MUST_USE;

/* api_json.c: replies and shapes shared by the REST handlers. */
struct reply_json {
	struct strb b;
	struct jw w;
};
void json_begin(struct reply_json *j);
struct step *json_end(struct req *r, unsigned status, struct reply_json *j) MUST_USE;	/* frees; too large: 500 */
void json_time(struct jw *w, const char *key, int64_t wall_us);		/* INT64_MIN: the key is left out */
void json_id(struct req *r, struct jw *w, const char *key, int64_t id);
void json_meta(struct jw *w, const struct uuid *u, int64_t created_us, int64_t updated_us);	/* "metadata":{...} */
void json_payload(struct jw *w, const char *key, struct str json);	/* empty: {} */
void json_pagination(struct jw *w, uint32_t offset, uint32_t limit, size_t n_rows);	/* a full page may be the last: promises one more */
void json_pages(struct jw *w, uint32_t offset, uint32_t limit, bool has_more);
struct step *json_fail_field(struct req *r, const char *field, const char *fmt, ...) MUST_USE PRINTF(3, 4);	/* 400 */

/* Query parameters of lists.  false: *err is a 400 naming the parameter. */
struct page {
	uint32_t offset, limit;
};
bool query_page(struct req *r, uint32_t default_limit, uint32_t max_limit, uint32_t max_offset, struct page *ret, struct err *err) MUST_USE;
bool query_int(struct req *r, const char *name, int64_t min, int64_t max, int64_t otherwise, uint32_t *ret, struct err *err) MUST_USE;
bool query_time(struct req *r, const char *name, bool required, int64_t otherwise, int64_t *ret, struct err *err) MUST_USE;
bool query_bool(struct req *r, const char *name, bool required, bool *ret, struct err *err) MUST_USE;
bool query_statuses(struct req *r, const char *name, unsigned *ret_mask, struct err *err) MUST_USE;
/* Pairs "key:value"; those without a colon are dropped, as the reference does. */
size_t query_strs(struct req *r, const char *name, size_t max, struct str **ret);
size_t query_meta(struct req *r, const char *name, struct str **ret);
/* Workflow UUIDs to numbers: unknown ones become 0, which no workflow has. */
bool query_workflows(struct req *r, const char *name, int32_t **ret, uint32_t *ret_n, struct err *err) MUST_USE;
int32_t workflow_no_of(struct req *r, const struct uuid *u);

/* rate_limits.c */
bool rate_limits_check(const V1__CreateTaskOpts *t, const char *task, struct err *err) MUST_USE;
struct str rate_limits_of(struct arena *a, const V1__CreateTaskOpts *t);	/* cat_limits_format(); p NULL: none */
struct step *rpc_put_rate_limit(struct req *r);
struct step *rest_rate_limit_list(struct req *r);
struct step *rest_rate_limit_delete(struct req *r);

/* page_mark.c: the run at which the rows before @offset of this list end; 0: not known. */
int64_t page_mark_get(struct req *r, const struct run_filter *f, uint32_t offset);
void page_mark_set(struct req *r, const struct run_filter *f, uint32_t offset, int64_t id);

/* timeline.c: what happened to one task, oldest first. */
enum tl_kind {
	TL_CREATED, TL_QUEUED, TL_ASSIGNED, TL_SENT, TL_STARTED, TL_FINISHED, TL_FAILED, TL_RETRYING, TL_CANCELLED, TL_TIMED_OUT,
	TL_SCHEDULING_TIMED_OUT, TL_REASSIGNED, TL_SLOT_RELEASED, TL_TIMEOUT_REFRESHED, TL_COULD_NOT_SEND, TL_REQUEUED_RATE_LIMIT,
	TL_RETRIED_BY_USER
};
struct tl_event {
	enum tl_kind kind;
	int16_t attempt;
	int32_t worker_no;
	int64_t at;
	struct str message, error, output;
};
const char *tl_name(enum tl_kind k);
size_t timeline(struct arena *a, const struct task_view *t, const struct note_view *notes, size_t n_notes, struct tl_event **ret);

/* shape_task.c: tasks and runs as JSON. */
void shape_task(struct req *r, struct jw *w, const struct task_view *t, int attempt);	/* V1TaskSummary; attempt -1: newest */
void shape_run(struct req *r, struct jw *w, const struct task_view *t);		/* V1WorkflowRun */
void shape_timing(struct req *r, struct jw *w, const struct task_view *t, uint32_t depth);	/* V1TaskTiming */
int64_t task_queued_at(const struct task_view *t);	/* of its newest attempt */
struct str run_display_name(struct req *r, const struct task_view *t);
void shape_events(struct req *r, struct jw *w, const struct task_view *t, const struct tl_event *e, size_t n, bool newest_first,
		  struct page page);
struct str task_display_name(struct arena *a, struct str name, int64_t id);
/* Which attempt row tells the result; NULL: none. */
const struct attempt_view *task_attempt(const struct task_view *t, int attempt);

/* rest_why.c: of a request that is no run */
void why_request(struct jw *w, const struct request_view *v);

/* workflow_check.c, workflow_norm.c: a definition, checked and in its one normal form.  The bound on its size bounds the
 * memory of all that is made of it: less than the arena of a request. */
struct def {
	V1__CreateWorkflowVersionRequest *norm;
	struct cat_put put;		/* tenant_no is not set */
};
bool def_make(struct arena *a, const V1__CreateWorkflowVersionRequest *in, struct def *ret, struct err *err) MUST_USE;
/* What a task asks of labels: is it well formed, and as the catalog has it; of two entries with one key the last counts. */
bool labels_check(V1__DesiredWorkerLabelsEntry **e, size_t n, const char *field, struct err *err) MUST_USE;
uint32_t labels_read(struct arena *a, V1__DesiredWorkerLabelsEntry **e, size_t n, const struct cat_want **ret);
/* strategies.c: concurrency.  Entries are checked alone, then with those of other workflows: all take shared ones in one order. */
/* It compiles, and can be of one of @kinds. */
bool expression_check(ProtobufCBinaryData in, enum cel_use use, unsigned kinds, const char *kind_name, const char *field, struct err *err) MUST_USE;
bool concurrency_check(const V1__Concurrency *c, const char *field, struct err *err) MUST_USE;
bool def_strategies(struct arena *a, const V1__CreateWorkflowVersionRequest *norm, struct cat_put *put, struct err *err) MUST_USE;
bool def_order_of_shared(struct req *r, const struct cat_put *put, struct err *err) MUST_USE;
bool def_check(const V1__CreateWorkflowVersionRequest *in, struct err *err) MUST_USE;
/* Indexes of the tasks, parents first; refuses unknown parents, names used twice and cycles. */
bool def_order(struct arena *a, const V1__CreateWorkflowVersionRequest *in, size_t **ret, struct err *err) MUST_USE;
bool def_steps(struct arena *a, const V1__CreateWorkflowVersionRequest *in, struct cat_put *put, struct err *err) MUST_USE;
struct str def_unsupported(struct arena *a, const V1__CreateWorkflowVersionRequest *in);
V1__CreateWorkflowVersionRequest *def_normalise(struct arena *a, const V1__CreateWorkflowVersionRequest *in, const size_t *order);

/* Handlers, one table each in rpc_tables.c and rest_tables.c. */
#define API_RPCS(X) \
	X(get_version) X(register) X(listen) X(listen_v2) X(heartbeat) X(unsubscribe) X(send_step_action_event) X(send_batch_action_event) X(release_slot) \
	X(refresh_timeout) X(upsert_worker_labels) X(subscribe_runs) X(subscribe_events) X(put_workflow) X(get_run_details) \
	X(cancel_tasks) X(replay_tasks) X(trigger_workflow_run) X(trigger_workflow) X(bulk_trigger_workflow) X(push) X(bulk_push) X(put_log) \
	X(trace_export)
#define API_RPC_X(name) struct step *rpc_##name(struct req *r) MUST_USE;
API_RPCS(API_RPC_X)
#undef API_RPC_X
#define API_RESTS(X) \
	X(live) X(ready) X(metrics) X(version) X(meta) X(cloud_metadata) X(static) X(tenant_get) X(workflow_list) X(workflow_get) \
	X(workflow_patch) X(workflow_delete) X(workflow_version) X(run_list) X(run_external_ids) X(run_trigger) X(run_get) X(run_status) \
	X(run_task_events) X(task_get) X(task_why) X(verify) X(task_logs) X(task_events) X(tasks_cancel) X(tasks_replay) X(task_metrics) X(queue_metrics) X(worker_list) \
	X(worker_get) X(worker_patch) X(event_list) X(event_get) X(run_task_timings) X(run_display_names) X(dag_tasks) X(run_input) \
	X(run_shape) X(task_point_metrics) X(step_run_queue_metrics) X(task_stats)
#define API_REST_X(name) struct step *rest_##name(struct req *r) MUST_USE;
API_RESTS(API_REST_X)
#undef API_REST_X
#endif
