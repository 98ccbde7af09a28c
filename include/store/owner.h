/* Ownership of the shards: acquire, prove, lose, take over; and the one way to write fenced tables (ARCHITECTURE.md, Who may write).
 *
 * Hides: the engine row and its session advisory lock, claiming shards, standby (tries the owner's lock once a second), and
 * the fate of a flush whose connection was lost (epoch+1 returning flush_no; sent again when it had not committed). */
#ifndef STORE_OWNER_H
#define STORE_OWNER_H
#include "store/flush.h"

enum owner_state { OWNER_DOWN, OWNER_STANDBY, OWNER_ACTIVE, OWNER_ENDED };
struct owner;
struct owner_conf {
	struct loop *loop;
	struct db *db;
	const char *address;	/* host:port clients should use, shown by a standby */
	/* ACTIVE: all shards are ours; load and serve.  Any other state after ACTIVE: drop all engine memory at once.
	 * A connection loss of the writer that ends with our row still ours does not leave ACTIVE: flushes are only delayed. */
	void (*on_state)(void *arg, enum owner_state state);
	void *arg;
};
struct owner *owner_new(const struct owner_conf *conf) MUST_USE;
void owner_on_writer(struct owner *o, bool is_up);	/* wired from db_conf.on_writer */
enum owner_state owner_state(const struct owner *o);
const char *owner_active_address(const struct owner *o);	/* of whoever is active, as last read; "" unknown */
/* Send @f (borrowed until @op).  @op: NULL committed for certain; ABORTED ownership lost, nothing more may be assumed;
 * INVALID/EXISTS refused for its data, rolled back (flush_no not used up); EXHAUSTED disk full / read only / too many
 * connections: not committed, try again later.  One at a time. */
void owner_flush(struct owner *o, struct flush *f, struct op *op);
/* Last act: engine.ended_at, shards released; waits for a flush in flight. */
void owner_end(struct owner *o, struct op *op);
void owner_free(struct owner *o);
#endif
