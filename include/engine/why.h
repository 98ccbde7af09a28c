/* Why a task waits, from the engine's memory: a view for people, valid until the next step.
 *
 * Nothing is decided here.  What is listed is bounded; counts are whole, but for those that say "ahead". */
#ifndef ENGINE_WHY_H
#define ENGINE_WHY_H
#include "engine/engine.h"

enum { ENG_WHY_LIST = 10, ENG_WHY_UNMET = 8, ENG_WHY_AHEAD_MAX = 10000 };

/* What keeps a worker that has the action from taking the task, the later the nearer it comes. */
enum eng_near {
	NEAR_AWAY,		/* no stream, silent or ended */
	NEAR_PAUSED,
	NEAR_OTHER,		/* the task takes no other worker than the one it names */
	NEAR_LABELS,
	NEAR_STALLED,		/* does not read its stream */
	NEAR_SLOTS,
	NEAR_FITS,		/* nothing */
	NEAR_KINDS,
};
struct eng_why_worker {
	int32_t worker_no;
	uint32_t n_unmet;		/* LABELS: required wants; 0: their weights sum up to less than nothing */
	uint16_t unmet[ENG_WHY_UNMET];	/* the first of them, by their place among the task's wants */
	int64_t weight;
	int32_t slot_type, wanted, used, limit;	/* SLOTS: the type it lacks */
};
struct eng_why_holder {
	int64_t id, since;		/* wall_us */
	bool is_running;		/* false: it waits for its other places or for a worker */
};
struct eng_why_limit {
	uint64_t bucket;
	int32_t units, limit, value;	/* wanted, of the limit (-1: not set), left now */
	int64_t refill_at;		/* wall_us; INT64_MIN: it is full */
	bool is_first;			/* units are there, for others before it */
};
struct eng_why {
	bool in_memory;			/* else as asked for */
	int8_t state, rank;
	int16_t attempt;
	int32_t worker_no, desired_no;
	int64_t due_at;			/* wall_us; INT64_MIN none */
	/* rate limits that keep it waiting */
	uint32_t n_limits;
	struct eng_why_limit limits[ENG_TASK_LIMITS];
	/* the key of which it waits for a place */
	bool waits_for_key;
	uint32_t key_at;		/* its place in the chain */
	int32_t key_limit;
	uint32_t n_holders, n_waiters, key_ahead;	/* waiters in memory */
	uint32_t n_listed;
	struct eng_why_holder holders[ENG_WHY_LIST];	/* those that hold longest */
	/* the batch that it waits to go with */
	bool is_batched;
	int32_t batch_size, batch_max_size, batch_runs, batch_max_runs;	/* tasks that wait; batches of its key that run */
	int64_t batch_due_at;		/* wall_us: it goes then at the latest */
	/* workers that have the action */
	uint32_t n_workers[NEAR_KINDS];
	struct eng_why_worker workers[NEAR_KINDS][ENG_WHY_LIST];	/* the nearest first */
	bool may_fit;			/* one of NEAR_SLOTS would take it with all its slots free */
	uint32_t ahead;			/* in memory: of better priority in its queue, or older and asking for the same */
};
/* A task that only the database has: as its rows describe it. */
struct eng_why_row {
	int32_t step_no;
	int8_t rank;
	bool has_turn;			/* it waits in the tail of its first key */
	struct eng_place place;
	struct eng_entry entries[ENG_STEP_ENTRIES];
	const struct eng_limit *limits;
	uint32_t n_limits;
};
/* false: it is not in memory and no @row is given, or its step is unknown. */
bool engine_why(const struct engine *e, int64_t id, const struct eng_why_row *row, struct eng_why *ret) MUST_USE;
#endif
