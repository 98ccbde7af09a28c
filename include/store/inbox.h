/* Requests of SQL clients: what hatchet.enqueue() left for the owner, and what became of it.
 *
 * A waiting request is a row of hatchet.inbox; its run is made, and the row taken away, in one flush (flush_request), or it is
 * refused here.  Either way hatchet.request keeps its id. */
#ifndef STORE_INBOX_H
#define STORE_INBOX_H
#include "db/db.h"

/* Tenants that have waiting ones. */
struct read_tenants { int32_t *p; uint32_t n; };
void read_inbox_tenants(struct db *db, struct arena *a, struct read_tenants *ret, struct op *op);

struct inbox_from { int32_t tenant_no; struct uuid low; };	/* lowest id to look at */
struct inbox_row {
	int32_t tenant_no;
	struct uuid id;
	int16_t priority;		/* 0: the workflow's */
	struct str workflow, input, metadata;	/* texts on the arena; metadata p NULL: none */
};
struct read_inbox { struct inbox_row *p; uint32_t n; bool is_cut; };	/* cut: bytes_max left some out */
/* Up to @limit of each tenant, ids ascending, tenants mixed; no row behind @bytes_max of others. */
void read_inbox(struct db *db, struct arena *a, const struct inbox_from *from, uint32_t n, uint32_t limit, uint64_t bytes_max,
		struct read_inbox *ret, struct op *op);

struct inbox_refusal {
	int32_t tenant_no;
	struct uuid id;
	int64_t run_id;			/* an id that no run has */
	enum err_code code;
	struct str why;
};
/* Takes those out that are still there.  Lane DB_WRITE; may be repeated. */
void inbox_refuse(struct db *db, struct arena *a, const struct inbox_refusal *p, uint32_t n, struct op *op);

enum request_state { REQUEST_WAITS, REQUEST_TAKEN, REQUEST_REFUSED };
struct request_view {
	struct uuid id;
	enum request_state state;
	int64_t run_id;			/* REFUSED: tells when */
	int16_t priority;
	enum err_code code;		/* REFUSED */
	struct str why;
	struct str workflow, input, metadata;	/* not of TAKEN */
};
struct read_requests { struct request_view *p; uint32_t n; };
/* Those among @ids that exist for the tenant, by id. */
void read_requests(struct db *db, struct arena *a, int32_t tenant_no, const struct uuid *ids, uint32_t n, struct read_requests *ret,
		   struct op *op);

/* Tells enqueue() how many bytes of input and metadata the server takes. */
void inbox_bytes(struct db *db, struct arena *a, uint64_t bytes, struct op *op);
#endif
