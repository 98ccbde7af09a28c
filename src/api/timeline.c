/* What happened to one task, computed from its rows: nothing of it is stored a second time.  Pure.
 * Invariant: ordered by time, and among equal times in the order in which such things happen. */
#include "api_int.h"

#include "base/text.h"

#include <stdlib.h>

const char *tl_name(enum tl_kind k)
{
	static const char *const names[] = {
		[TL_CREATED] = "CREATED",
		[TL_QUEUED] = "QUEUED",
		[TL_ASSIGNED] = "ASSIGNED",
		[TL_SENT] = "SENT_TO_WORKER",
		[TL_STARTED] = "STARTED",
		[TL_FINISHED] = "FINISHED",
		[TL_FAILED] = "FAILED",
		[TL_RETRYING] = "RETRYING",
		[TL_CANCELLED] = "CANCELLED",
		[TL_TIMED_OUT] = "TIMED_OUT",
		[TL_SCHEDULING_TIMED_OUT] = "SCHEDULING_TIMED_OUT",
		[TL_REASSIGNED] = "REASSIGNED",
		[TL_SLOT_RELEASED] = "SLOT_RELEASED",
		[TL_TIMEOUT_REFRESHED] = "TIMEOUT_REFRESHED",
		[TL_COULD_NOT_SEND] = "COULD_NOT_SEND_TO_WORKER",
		[TL_REQUEUED_RATE_LIMIT] = "REQUEUED_RATE_LIMIT",
		[TL_RETRIED_BY_USER] = "RETRIED_BY_USER",
	};

	return names[k];
}

struct entry {
	struct tl_event e;
	size_t seq;
};
struct tl {
	struct arena *a;
	struct entry *p;
	size_t n, max;
};

static struct tl_event *add(struct tl *l, enum tl_kind kind, int64_t at, int16_t attempt)
{
	struct entry *x = &l->p[l->n];

	assert(l->n < l->max);
	*x = (struct entry){.e = {.kind = kind, .at = at, .attempt = attempt}, .seq = l->n};
	l->n++;
	return &x->e;
}

static void add_assigned(struct tl *l, int16_t attempt, int32_t worker_no, int64_t assigned_at, int64_t started_at)
{
	if (assigned_at != INT64_MIN) {
		add(l, TL_ASSIGNED, assigned_at, attempt)->worker_no = worker_no;
		add(l, TL_SENT, assigned_at, attempt)->worker_no = worker_no;
	}
	if (started_at != INT64_MIN)
		add(l, TL_STARTED, started_at, attempt)->worker_no = worker_no;
}

/* When the attempt after @i begins to wait for a worker; INT64_MIN: not known. */
static int64_t next_queued_at(const struct task_view *t, uint32_t i)
{
	if (i + 1 < t->n_attempts)
		return t->attempts[i + 1].queued_at;
	return t->live_state == LIVE_BACKOFF ? t->live_due_at : t->live_queued_at;
}

/* How often it failed by itself up to @i; being lost is not its own doing, and a replay begins anew. */
static unsigned retries_until(const struct task_view *t, uint32_t i)
{
	unsigned n = 0;

	for (uint32_t k = 0; k <= i; k++)
		n = t->attempts[k].is_final || str_eq(t->attempts[k].error, STR(REPLAY_BY_REQUEST)) ? 0 : n + (t->attempts[k].status != ATTEMPT_LOST);
	return n;
}

static void add_next(struct tl *l, const struct task_view *t, uint32_t i)
{
	const struct attempt_view *v = &t->attempts[i];
	int16_t next = (int16_t)(v->attempt + 1);
	int64_t at = next_queued_at(t, i), ms = at == INT64_MIN ? 0 : (at - v->finished_at) / 1000;
	struct tl_event *e;
	char text[RFC3339_MAX];

	if (v->is_final) {
		e = add(l, TL_RETRIED_BY_USER, at == INT64_MIN ? v->finished_at : at, next);
		e->message = STR(REPLAY_BY_REQUEST);
		return;
	}
	e = add(l, TL_RETRYING, v->finished_at, next);
	e->message = arena_strf(l->a, "retry %u", retries_until(t, i));
	if (ms <= 0)
		return;
	(void)rfc3339_format(at, text);
	e->message = arena_strf(l->a, "%.*s in %.*s, at %s", STR_FMT(e->message), STR_FMT(duration_format(l->a, ms)), text);
}

static void add_end(struct tl *l, const struct task_view *t, uint32_t i)
{
	static const enum tl_kind kinds[] = {
		[ATTEMPT_COMPLETED] = TL_FINISHED,
		[ATTEMPT_FAILED] = TL_FAILED,
		[ATTEMPT_CANCELLED] = TL_CANCELLED,
		[ATTEMPT_TIMED_OUT] = TL_TIMED_OUT,
		[ATTEMPT_SCHEDULE_TIMED_OUT] = TL_SCHEDULING_TIMED_OUT,
		[ATTEMPT_LOST] = TL_REASSIGNED,
	};
	const struct attempt_view *v = &t->attempts[i];
	bool has_next = i + 1 < t->n_attempts || t->live_state >= 0 || t->in_tail;
	enum tl_kind kind = v->status >= 0 && (size_t)v->status < ARRAY_LEN(kinds) ? kinds[v->status] : TL_FAILED;
	struct tl_event *e;

	if (v->status == ATTEMPT_LOST && !has_next)
		kind = TL_FAILED;	/* lost once too often */
	else if (v->status == ATTEMPT_LOST && str_eq(v->error, STR(REPLAY_BY_REQUEST)))
		kind = TL_RETRIED_BY_USER;
	/* what leads to the next attempt carries its number */
	e = add(l, kind, v->finished_at, kind == TL_REASSIGNED || kind == TL_RETRIED_BY_USER ? (int16_t)(v->attempt + 1) : v->attempt);
	e->worker_no = v->worker_no;
	if (v->status == ATTEMPT_COMPLETED)
		e->output = v->output;
	else if (kind == TL_CANCELLED)
		e->message = v->error.n ? v->error : STR("cancelled by request");
	else if (kind == TL_REASSIGNED || kind == TL_RETRIED_BY_USER)
		e->message = v->error;
	else
		e->error = v->error;
	if (kind == TL_TIMED_OUT || kind == TL_SCHEDULING_TIMED_OUT)
		e->message = v->error;
	if (has_next && v->status != ATTEMPT_LOST)
		add_next(l, t, i);
}

static void add_note(struct tl *l, const struct note_view *n)
{
	enum tl_kind kind;

	switch ((enum note_kind)n->kind) {
	case NOTE_SLOT_RELEASED:
		kind = TL_SLOT_RELEASED;
		break;
	case NOTE_TIMEOUT_REFRESHED:
		kind = TL_TIMEOUT_REFRESHED;
		break;
	case NOTE_COULD_NOT_SEND:
		kind = TL_COULD_NOT_SEND;
		break;
	case NOTE_RATE_LIMITED:
		kind = TL_REQUEUED_RATE_LIMIT;
		break;
	case NOTE_REASSIGNED:		/* shown by the attempt that was lost */
	case NOTE_CANCEL_REQUESTED:	/* shown by the attempt that was cancelled */
	default:
		return;
	}
	add(l, kind, n->at, n->attempt)->message = n->body;
}

static int by_time(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if (x->e.at != y->e.at)
		return x->e.at < y->e.at ? -1 : 1;
	return (x->seq > y->seq) - (x->seq < y->seq);
}

size_t timeline(struct arena *a, const struct task_view *t, const struct note_view *notes, size_t n_notes, struct tl_event **ret)
{
	struct tl l = {.a = a, .max = 8 + 8 * (size_t)t->n_attempts + n_notes};
	int64_t created = id_unix_ms(t->id) * 1000;

	l.p = ARENA_ARRAY(a, struct entry, l.max);
	(void)add(&l, TL_CREATED, created, 0);
	(void)add(&l, TL_QUEUED, created, 0);
	for (uint32_t i = 0; i < t->n_attempts; i++) {
		const struct attempt_view *v = &t->attempts[i];

		if (v->attempt > 0 && v->queued_at != INT64_MIN)
			(void)add(&l, TL_QUEUED, v->queued_at, v->attempt);
		add_assigned(&l, v->attempt, v->worker_no, v->assigned_at, v->started_at);
		add_end(&l, t, i);
	}
	if (t->live_state >= 0 || t->in_tail) {
		if (t->live_attempt > 0 && t->live_state != LIVE_BACKOFF && t->live_queued_at != INT64_MIN)
			(void)add(&l, TL_QUEUED, t->live_queued_at, t->live_attempt);
		if (t->live_state == LIVE_ASSIGNED || t->live_state == LIVE_STARTED)
			add_assigned(&l, t->live_attempt, t->live_worker_no, t->live_assigned_at, t->live_started_at);
	}
	for (size_t i = 0; i < n_notes; i++)
		add_note(&l, &notes[i]);
	qsort(l.p, l.n, sizeof(*l.p), by_time);
	*ret = ARENA_ARRAY(a, struct tl_event, l.n);
	for (size_t i = 0; i < l.n; i++)
		(*ret)[i] = l.p[i].e;
	return l.n;
}
