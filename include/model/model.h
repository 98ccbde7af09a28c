/* The nouns and their words, each defined once: statuses, states, priorities, event kinds. */
#ifndef MODEL_MODEL_H
#define MODEL_MODEL_H
#include "base/base.h"

/* hatchet.live.state */
enum live_state { LIVE_QUEUED, LIVE_ASSIGNED, LIVE_STARTED, LIVE_BACKOFF, LIVE_WAITING, LIVE_HELD };

/* hatchet.attempt.status: how an attempt ended */
enum attempt_status {
	ATTEMPT_COMPLETED, ATTEMPT_FAILED, ATTEMPT_CANCELLED, ATTEMPT_TIMED_OUT, ATTEMPT_SCHEDULE_TIMED_OUT, ATTEMPT_LOST
};

/* Status of a task or run as clients see it; the numbers are v1.RunStatus of the wire. */
#define RUN_STATUS_TABLE(X) X(QUEUED, 0) X(RUNNING, 1) X(COMPLETED, 2) X(FAILED, 3) X(CANCELLED, 4)
enum run_status {
#define RUN_X(n, v) RUN_##n = v,
	RUN_STATUS_TABLE(RUN_X)
#undef RUN_X
};
const char *run_status_name(enum run_status s);
bool run_status_parse(struct str s, enum run_status *ret) MUST_USE;
/* The one definition; hatchet.run_status() is the same in SQL.  A live state < 0 means no live row. */
enum run_status run_status_of(int live_state, bool in_tail, int last_attempt_status);

/* hatchet.stat_minute.status: a run status by the minute of the end; with STAT_MADE by that of creation; STAT_MADE alone: created */
enum { STAT_MADE = 8 };

/* rank orders a queue: 0 retry/reassign/restore, then 1,2,3 for priority 3,2,1 */
static inline int rank_of_priority(int priority)
{
	return 4 - priority;
}

/* Does a task follow the worker it names?  The numbers are those of hatchet.workflow_version.sticky. */
enum sticky { STICKY_NONE, STICKY_SOFT, STICKY_HARD };

/* v1.ConcurrencyLimitStrategy of the wire: what happens to tasks of a key that has no free place. */
enum conc {
	CONC_CANCEL_IN_PROGRESS = 0,	/* the newest run, the others are cancelled, running ones too */
	CONC_GROUP_ROUND_ROBIN = 3,	/* they wait */
	CONC_CANCEL_NEWEST = 4,		/* who does not fit at once is cancelled */
	CONC_CANCEL_QUEUED_EXCEPT_NEWEST = 5,	/* as many wait as may run, the newest of them */
	CONC_CANCEL_QUEUED_EXCEPT_OLDEST = 6,
};

/* v1.WorkerLabelComparator of the wire: the worker's label, compared to what is asked for. */
enum label_op { LABEL_EQ, LABEL_NE, LABEL_GT, LABEL_GE, LABEL_LT, LABEL_LE };

/* Why a task was cancelled, in hatchet.attempt.error; never part of its result. */
#define CANCEL_BY_PARENT "cancelled with its parent"
#define CANCEL_BY_PAUSE "paused workflow queue item TTL expired."
/* The same of an attempt that waited when its task was replayed. */
#define REPLAY_BY_REQUEST "replayed by request"
#define CANCEL_BY_STRATEGY "Cancelled due to concurrency strategy"

/* hatchet.note.kind: timeline facts that cannot be computed */
enum note_kind {
	NOTE_REASSIGNED = 1, NOTE_SLOT_RELEASED, NOTE_TIMEOUT_REFRESHED, NOTE_COULD_NOT_SEND, NOTE_CANCEL_REQUESTED,
	NOTE_RATE_LIMITED
};

/* RuntimeInfo.language of the wire */
const char *sdk_language_name(int sdks_enum);	/* GOLANG, PYTHON, TYPESCRIPT, RUBY or NULL */
#define WIRE_VERSION "v0.110.3"			/* engine generation whose contract we honour */
#endif
