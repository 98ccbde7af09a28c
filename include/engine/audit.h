/* The audit: is what memory has what the tables have, and do its counters say what its tasks say?  Changes nothing; slow.
 *
 * Tasks are compared one by one with their rows; slots, keys and totals are counted again from the tasks.  So together every counter
 * is one of the tables.  What is on its way into the tables, or back, must not be looked at: is_unsettled() says so. */
#ifndef ENGINE_AUDIT_H
#define ENGINE_AUDIT_H
#include "engine/engine.h"

/* A row of live. */
struct eng_audit_row {
	int64_t id;
	int32_t tenant_no, step_no, worker_no;
	int8_t state, rank;
	int16_t attempt, app_retries, internal_retries;
	bool released;
	uint32_t n_keys;
	uint64_t keys[ENG_STEP_ENTRIES];
};
/* X(name, sentence: %id task, %w worker, %t slot type, %a action, %m in memory, %s in the tables or counted from the tasks) */
#define ENG_DIFF_TABLE(X)                                                                                                   \
	X(LIVE_MISSING, "%id is in memory (state %m) and has no row in live")                                               \
	X(LIVE_UNKNOWN, "%id has a row in live (state %s) and is not in memory")                                            \
	X(LIVE_STATE, "%id has state %m in memory, %s in live")                                                             \
	X(LIVE_ATTEMPT, "%id is in attempt %m in memory, %s in live")                                                       \
	X(LIVE_ON, "%id is with worker %m in memory, %s in live")                                                           \
	X(LIVE_RANK, "%id has rank %m in memory, %s in live")                                                               \
	X(LIVE_RETRIES, "%id has had %m retries in memory, %s in live")                                                     \
	X(LIVE_STEP, "%id is of step %m in memory, %s in live")                                                             \
	X(LIVE_RELEASED, "%id has given its slot back in memory: %m, in live: %s")                                          \
	X(KEY, "%id has another key in memory than in its row")                                                             \
	X(KEY_HOLDERS, "a key of strategy %t has %m holders counted, %s tasks hold a place")                                \
	X(KEY_WAITERS, "a key of strategy %t has %m waiters counted, %s tasks wait")                                        \
	X(SLOTS, "%w has %m slots of type %t in use as counted, %s by its tasks")                                           \
	X(SLOTS_LIMIT, "%w has %m slots of type %t in use, and %s in all")                                                  \
	X(RUNNING, "%w runs %m tasks as counted, %s tasks name it")                                                         \
	X(TOTAL_QUEUED, "%m tasks wait as counted, %s do")                                                                  \
	X(TOTAL_RUNNING, "%m tasks run as counted, %s do")                                                                  \
	X(TOTAL_BACKOFF, "%m tasks back off as counted, %s do")                                                             \
	X(TAIL_FORGOTTEN, "tasks of action %a wait in the tail of rank %s, and memory knows of none")                       \
	X(LIMIT_UNKNOWN, "a rate limit is stored and not in memory")                                                        \
	X(LIMIT_VALUE, "a rate limit has %m units left in memory, %s stored")                                               \
	X(LIMIT_LIMIT, "a rate limit allows %m units in memory, %s stored")
enum eng_diff_kind {
#define ENG_DIFF_X(name, text) DIFF_##name,
	ENG_DIFF_TABLE(ENG_DIFF_X)
#undef ENG_DIFF_X
	DIFF_KINDS
};
struct eng_diff {
	enum eng_diff_kind kind;
	int64_t id;
	int32_t worker_no, type_no, action_no;
	uint64_t key;
	int64_t memory, tables;
};
struct eng_audit {
	int32_t tenant_no;		/* 0: all */
	void (*differs)(void *arg, const struct eng_diff *d);
	/* NULL: nothing is.  @may_load: a load that is on its way may be bringing it.  @id negative: the tails of that action. */
	bool (*is_unsettled)(void *arg, int64_t id, bool may_load);
	void *arg;
	uint64_t n_checked;		/* out: tasks, counters */
};
/* Of one task; @row NULL: it has none. */
void engine_audit_task(const struct engine *e, struct eng_audit *a, int64_t id, const struct eng_audit_row *row);
/* @rows are all of the tenant with @lo < id <= @hi, ascending. */
void engine_audit_rows(const struct engine *e, struct eng_audit *a, int64_t lo, int64_t hi, const struct eng_audit_row *rows, size_t n);
void engine_audit_counters(const struct engine *e, struct eng_audit *a);
/* A tail that the tables have. */
void engine_audit_tail(const struct engine *e, struct eng_audit *a, int32_t tenant_no, int32_t action_no, int8_t rank, int64_t lane);
#endif
