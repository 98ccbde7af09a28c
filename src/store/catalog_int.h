/* Between catalog.c (memory), catalog_read.c (rows into memory) and catalog_write.c. */
#ifndef STORE_CATALOG_INT_H
#define STORE_CATALOG_INT_H
#include "store/catalog.h"

#include "base/list.h"
#include "base/vec.h"

struct worker_rec {
	struct cat_worker w;		/* first: a cat_worker is its record */
	void *label_block;		/* heap: labels and their bytes */
	struct times *times;		/* waiting for the next batch */
};
struct workflow_rec {
	struct cat_workflow w;
	int32_t latest_no;
};
struct times {
	struct worker_rec *rec;
	int64_t session_at, last_seen_at, ended_at;
	VEC(struct op *) ops;
};
struct times_batch {
	VEC(struct times *) v;
	struct arena *a;
	struct db_col *cols[4];
	struct db_query *q;
	struct op op;
};

struct catalog {
	struct db *db;
	struct arena *a;		/* objects and their strings */
	struct imap tenants, workflows, versions, steps, strategies, actions, workers, slot_types;
	struct smap tenants_by_id, workflows_by_id, workflows_by_name, versions_by_id, workers_by_id, tokens;
	struct id_secret id_secret;
	struct str signing_key;
	char tag[24];			/* ends our own announcements, so that we do not read back what we wrote */
	bool is_loading, is_loaded;
	bool is_missed;			/* an announcement came while loading */
	struct times_batch *filling, *flying;
	struct defer times_defer;
	struct list jobs, writes, loads;	/* in flight: dropped when the catalog is freed */
};

/* The name key of a workflow: tenant and name. */
struct str catalog_name_key(struct arena *a, int32_t tenant_no, struct str name);

/* catalog_read.c: reads some dictionaries, then takes them over at once. */
enum reload { RELOAD_ALL, RELOAD_WORKFLOW, RELOAD_WORKER, RELOAD_TENANTS, RELOAD_TOKENS };
typedef void reload_fn(void *arg, const struct err *err);
void catalog_reload(struct catalog *c, enum reload what, int32_t no, const struct uuid *token, reload_fn *fn, void *arg);
void catalog_set_labels(struct worker_rec *r, const struct cat_label *labels, uint32_t n);

void catalog_writes_free(struct catalog *c);
void catalog_jobs_free(struct catalog *c);
#endif
