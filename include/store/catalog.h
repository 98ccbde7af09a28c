/* The dictionaries in memory: tenants, workflows, versions, steps, actions, workers, tokens, the signing key.
 *
 * Loaded whole at start, kept current by our own writes and by NOTIFY hatchet_cfg.  Objects live until the catalog is freed
 * (a version or worker is never freed while the process runs, deleted ones are marked), so pointers may be kept.
 * Writes go through lane DB_WRITE, unfenced, and change memory only after their commit. */
#ifndef STORE_CATALOG_H
#define STORE_CATALOG_H
#include "base/map.h"
#include "db/db.h"
#include "model/id.h"
#include "model/model.h"

#define CAT_SLOTS 8
struct cat_slot {
	int32_t type_no;	/* 1 "default", 2 "durable", others numbered by cat_slot_type() */
	int32_t units;
};
struct cat_tenant {
	int32_t tenant_no;
	struct uuid uuid;
	struct str name, slug;
	int32_t retention_hours;
	int64_t created_at;
};
struct cat_action {
	int32_t action_no, tenant_no;
	struct str name;	/* lower case */
};
struct cat_want {		/* what a task asks of one label of its worker */
	struct str key, str_value;
	int32_t int_value, weight;
	bool is_int, required;
	enum label_op op;
};
struct cat_strategy {		/* one entry of a concurrency chain */
	int32_t strategy_no, tenant_no;
	struct str name;		/* p NULL: of one version only; else shared in the tenant, and the rest may change */
	enum conc kind;
	int32_t max_runs;
	struct str expression;		/* of the key */
	struct str max_runs_expression;	/* n 0: max_runs counts */
};
struct cat_limit {		/* a rate limit of a step, as declared */
	struct str key, key_expr;	/* p NULL: not given; key_expr goes first */
	int32_t units;
	struct str units_expr;		/* p NULL: units count */
	struct str limit_expr;		/* p NULL or -1: what was set for the key counts */
	int32_t window_s;		/* of the limit that it gives */
};
struct cat_batch {		/* how tasks of a step go out together */
	int32_t max_size, max_runs;	/* 0: one by one; batches of one key at once */
	int64_t interval_ms;
	struct str expression;		/* of the key; n 0: all have one key */
};
struct cat_idempotency {
	struct str expression;		/* of the key; n 0: runs have none */
	int64_t ttl_ms;
	bool is_status;			/* the key is free again when its run is final, after ttl_ms at the latest */
};
struct cat_workflow;
struct cat_step {
	int32_t step_no;
	struct uuid uuid;
	struct cat_version *version;
	struct cat_action *action;
	struct str readable_id;
	int32_t retries, backoff_milli, backoff_max_s;
	int64_t exec_ms, schedule_ms;
	struct cat_slot slots[CAT_SLOTS];	/* units 0 ends */
	bool is_durable, is_on_failure;
	const struct cat_want *wants;
	uint32_t n_wants;
	const struct cat_limit *limits;
	uint32_t n_limits;
	struct cat_batch batch;
	struct cat_strategy **strategies;	/* its concurrency chain */
	uint32_t n_strategies;
};
struct cat_version {
	int32_t version_no, ordinal;
	struct uuid uuid;
	struct cat_workflow *workflow;
	struct str checksum;		/* 32 bytes */
	struct cat_step **steps;	/* declaration order */
	uint32_t n_steps;
	int16_t default_priority;
	enum sticky sticky;
	struct cat_idempotency idempotency;
	bool is_dag;			/* more than one step or on-failure: triggers are refused for now */
	struct str unsupported;		/* what it asks for that is not built, in words ("concurrency, sticky"); empty: it can run */
	int64_t created_at;
};
struct cat_pause {		/* times are wall_us, INT64_MIN: never */
	bool is_paused, drops_cron, drops_scheduled;
	int64_t paused_at, unpaused_at;
	int64_t ttl_ms;		/* what is parked for so long is cancelled; 0: nothing */
};
struct cat_workflow {
	int32_t workflow_no, tenant_no;
	struct uuid uuid;
	struct str name, description;
	struct cat_version *latest;
	struct cat_pause pause;
	bool deleted;
	int64_t created_at;
};
struct cat_label {
	struct str key, str_value;
	int32_t int_value;
	bool is_int;
};
struct cat_worker {
	int32_t worker_no, tenant_no;
	struct uuid uuid;
	struct str name;
	struct cat_slot slots[CAT_SLOTS];
	struct cat_action **actions;
	uint32_t n_actions;
	struct cat_label *labels;
	uint32_t n_labels;
	struct str sdk_version, language_version, os, extra;
	int32_t language;		/* SDKS enum, 0 unknown */
	bool paused;
	int64_t created_at, session_at, last_seen_at, ended_at;	/* INT64_MIN: never */
};
struct cat_token {
	struct uuid uuid;
	struct cat_tenant *tenant;
	struct str name;
	int64_t expires_at, revoked_at;
};

struct catalog;
struct catalog *catalog_new(struct db *db) MUST_USE;
void catalog_free(struct catalog *c);			/* when the loop no longer runs: what is in flight is dropped */
void catalog_load(struct catalog *c, struct op *op);		/* everything; workers not ended or ended in the last day */
void catalog_on_notify(struct catalog *c, struct str payload);	/* re-reads what is named; NULL: all tokens and tenants */
const struct id_secret *catalog_id_secret(const struct catalog *c);
struct str catalog_signing_key(const struct catalog *c);	/* private key as stored (crypto's export form) */

struct cat_tenant *cat_tenant(const struct catalog *c, int32_t tenant_no);
struct cat_tenant *cat_tenant_by_uuid(const struct catalog *c, const struct uuid *u);
struct cat_workflow *cat_workflow(const struct catalog *c, int32_t workflow_no);
struct cat_workflow *cat_workflow_by_name(const struct catalog *c, int32_t tenant_no, struct str name);	/* exact case; not deleted */
struct cat_workflow *cat_workflow_by_uuid(const struct catalog *c, const struct uuid *u);
size_t cat_workflows(const struct catalog *c, int32_t tenant_no, struct arena *a, struct cat_workflow ***ret);	/* newest first, not deleted */
struct cat_version *cat_version(const struct catalog *c, int32_t version_no);
struct cat_version *cat_version_by_uuid(const struct catalog *c, const struct uuid *u);
struct cat_step *cat_step(const struct catalog *c, int32_t step_no);
struct cat_strategy *cat_strategy(const struct catalog *c, int32_t strategy_no);
size_t cat_strategies(const struct catalog *c, struct arena *a, struct cat_strategy ***ret);	/* all, by strategy_no */
size_t cat_steps(const struct catalog *c, struct arena *a, struct cat_step ***ret);	/* all, by step_no */
struct cat_worker *cat_worker(const struct catalog *c, int32_t worker_no);
struct cat_worker *cat_worker_by_uuid(const struct catalog *c, const struct uuid *u);
size_t cat_workers(const struct catalog *c, int32_t tenant_no, struct arena *a, struct cat_worker ***ret);	/* tenant_no 0: all; newest first */
struct str cat_slot_type_name(const struct catalog *c, int32_t type_no);

/* Wants as they are stored, a JSON array, and back; a text that is none asks nothing. */
struct str cat_wants_format(struct arena *a, const struct cat_want *wants, uint32_t n);
uint32_t cat_wants_parse(struct arena *a, struct str text, const struct cat_want **ret);

/* Likewise the rate limits of a step.  Static: key and units are texts of the definition, and the limit is set elsewhere. */
struct str cat_limits_format(struct arena *a, const struct cat_limit *limits, uint32_t n);
uint32_t cat_limits_parse(struct arena *a, struct str text, const struct cat_limit **ret);
/* And its batches. */
struct str cat_batch_format(struct arena *a, const struct cat_batch *b);
void cat_batch_parse(struct arena *a, struct str text, struct cat_batch *ret);
bool cat_limit_is_static(const struct cat_limit *l);

/* A new version of a workflow, or the present one when @checksum and what is not built equal the latest's.  *ret_version set before @op fires OK.
 * Two equal puts at once make one version. */
struct cat_put_step {
	struct str readable_id, action;	/* action in lower case */
	int32_t retries, backoff_milli, backoff_max_s;
	int64_t exec_ms, schedule_ms;
	struct str slot_names[CAT_SLOTS];
	int32_t slot_units[CAT_SLOTS];	/* 0 ends */
	bool is_durable, is_on_failure;
	struct str labels;		/* cat_wants_format(); p NULL: none */
	struct str limits;		/* cat_limits_format(); p NULL: none */
	struct str batch;		/* cat_batch_format(); p NULL: none */
};
struct cat_put_strategy {
	struct str name;		/* n 0: not shared */
	enum conc kind;
	int32_t max_runs;
	struct str expression, max_runs_expression;
};
struct cat_put {
	int32_t tenant_no;
	struct str name, description, checksum, definition;	/* definition: normalised request bytes */
	int16_t default_priority;
	enum sticky sticky;
	struct cat_idempotency idempotency;
	const struct cat_put_step *steps;
	uint32_t n_steps;
	const struct cat_put_strategy *strategies;	/* of the only step */
	uint32_t n_strategies;
	bool is_dag;
	struct str unsupported;		/* stored with the version */
};
void cat_put_workflow(struct catalog *c, const struct cat_put *p, struct cat_version **ret_version, bool *ret_is_new, struct op *op);
void cat_pause_workflow(struct catalog *c, struct cat_workflow *w, const struct cat_pause *p, struct op *op);
void cat_delete_workflow(struct catalog *c, struct cat_workflow *w, struct op *op);

struct cat_worker_new {
	int32_t tenant_no;
	struct str name;
	const struct str *actions;	/* lower case */
	uint32_t n_actions;
	struct str slot_names[CAT_SLOTS];
	int32_t slot_units[CAT_SLOTS];
	const struct cat_label *labels;
	uint32_t n_labels;
	struct str sdk_version, language_version, os, extra;
	int32_t language;
};
void cat_register_worker(struct catalog *c, const struct cat_worker_new *n, struct cat_worker **ret, struct op *op);
void cat_worker_labels(struct catalog *c, struct cat_worker *w, const struct cat_label *merge, uint32_t n, struct op *op);
void cat_worker_paused(struct catalog *c, struct cat_worker *w, bool paused, struct op *op);
/* INT64_MIN: leave as it is.  Batched per turn. */
void cat_worker_times(struct catalog *c, struct cat_worker *w, int64_t session_at, int64_t last_seen_at, int64_t ended_at, struct op *op);

/* Memory first, then the database (a token made by the CLI a moment ago); NULL when unknown. */
void cat_token_find(struct catalog *c, const struct uuid *u, struct cat_token **ret, struct op *op);
struct cat_token *cat_token_cached(const struct catalog *c, const struct uuid *u);
#endif
