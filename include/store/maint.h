/* Housekeeping on lane DB_MAINT: partitions ahead, closed days frozen, expired days dropped.  Once after start, then after
 * each change of the UTC day; nothing in between. */
#ifndef STORE_MAINT_H
#define STORE_MAINT_H
#include "db/db.h"

struct maint;
struct maint *maint_new(struct loop *l, struct db *db) MUST_USE;
void maint_free(struct maint *m);
/* When partitions of less than two days ahead are known to exist: not healthy, says why. */
bool maint_is_ok(const struct maint *m, struct err *why);
void maint_run_now(struct maint *m);	/* no-op while running */
bool maint_is_running(const struct maint *m);
#endif
