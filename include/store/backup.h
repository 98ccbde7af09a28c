/* All of schema `hatchet` in one file, and back.  Blocking; for commands and tests only.
 *
 * A backup is one snapshot: whatever was acknowledged before it began is in it, and it disturbs no server at work.  What is
 * finished reads the same after a restore, what was unfinished goes on: tasks that a worker had are lost with that worker.
 * Engines and shards are of the moment and stay out.  Tokens and secrets are in the file, which is why it is private. */
#ifndef STORE_BACKUP_H
#define STORE_BACKUP_H
#include "db/db.h"

struct backup_facts {
	int64_t at_us;		/* when it was made */
	int64_t rows;
	unsigned tables;
	uint64_t bytes;		/* of the file */
};
/* @rows so far of @table; called now and then */
typedef void backup_progress_fn(void *arg, const char *table, int64_t rows);

/* Makes file @path, mode 0600, which must not exist; on failure none is left. */
bool backup_write(struct db_sync *c, const char *path, backup_progress_fn *progress, void *arg, struct backup_facts *ret,
		  struct err *err) MUST_USE;
/* Is the file whole, and of our schema?  backup_read asks first by itself. */
bool backup_check(const char *path, struct err *err) MUST_USE;
/* Into a migrated database that holds no work yet and that no server uses, in one transaction.  The file is read once before
 * anything is stored: one that is cut short, damaged or of another schema is refused whole. */
bool backup_read(struct db_sync *c, const char *path, backup_progress_fn *progress, void *arg, struct backup_facts *ret,
		 struct err *err) MUST_USE;
#endif
