/* Why a task waits: its rows tell what it is, the engine's memory what holds it; here it becomes sentences.
 *
 * Reasons stand in the order in which they have to go away.  Each is a function that looks and writes its row, or none. */
#include "api_int.h"

#include "base/text.h"
#include "svc/why.h"

enum { SHOWN_MAX = 80, UNMET_TOLD = 3 };

struct why {
	int64_t id;
	struct read_tasks got;
	struct read_live rows;
	int64_t tail_ahead;
	struct eng_why w;
	/* while the answer is written */
	struct req *r;
	struct jw *jw;
	const struct task_view *t;
	const struct cat_step *step;
	const struct cat_want *wants;	/* those of the task, as the engine numbers them */
	uint32_t n_wants;
	struct str first;		/* text of the first reason */
};

/* --- words ------------------------------------------------------------------------------------------------------------------- */

/* Quoted, cut between characters. */
static struct str quoted(struct req *r, struct str s)
{
	size_t n = s.n;

	if (n > SHOWN_MAX)
		for (n = SHOWN_MAX; n > 0 && ((unsigned char)s.p[n] & 0xc0) == 0x80; n--)
			;
	return arena_strf(req_arena(r), "\"%.*s%s\"", (int)n, s.p ? s.p : "", n < s.n ? "..." : "");
}

static struct str worker_name(struct req *r, int32_t worker_no)
{
	const struct cat_worker *k = cat_worker(catalog_of(r), worker_no);

	return k ? quoted(r, k->name) : STR("an unknown one");
}

static struct str time_text(struct req *r, int64_t at)
{
	char text[RFC3339_MAX];
	size_t n = rfc3339_format(at, text);

	return arena_dup(req_arena(r), (struct str){text, n});
}

static struct str label_value(struct req *r, bool is_int, int32_t number, struct str text)
{
	return is_int ? arena_strf(req_arena(r), "%d", number) : quoted(r, text);
}

static const char *op_sign(enum label_op op)
{
	static const char *const signs[] = {"=", "!=", ">", ">=", "<", "<="};

	return (size_t)op < ARRAY_LEN(signs) ? signs[op] : "?";
}

static const char *op_name(enum label_op op)
{
	static const char *const names[] = {"EQUAL", "NOT_EQUAL", "GREATER_THAN", "GREATER_THAN_OR_EQUAL", "LESS_THAN", "LESS_THAN_OR_EQUAL"};

	return (size_t)op < ARRAY_LEN(names) ? names[op] : "UNKNOWN";
}

static const char *kind_name(enum conc kind)
{
	switch (kind) {
	case CONC_CANCEL_IN_PROGRESS:
		return "CANCEL_IN_PROGRESS";
	case CONC_GROUP_ROUND_ROBIN:
		return "GROUP_ROUND_ROBIN";
	case CONC_CANCEL_NEWEST:
		return "CANCEL_NEWEST";
	case CONC_CANCEL_QUEUED_EXCEPT_NEWEST:
		return "CANCEL_QUEUED_EXCEPT_NEWEST";
	case CONC_CANCEL_QUEUED_EXCEPT_OLDEST:
		return "CANCEL_QUEUED_EXCEPT_OLDEST";
	}
	return "UNKNOWN";
}

static const char *plural(uint32_t n, const char *one, const char *many)
{
	return n == 1 ? one : many;
}

/* --- rows -------------------------------------------------------------------------------------------------------------------- */

static void row_begin(struct why *y, const char *reason, struct str text)
{
	if (!y->first.p)
		y->first = text;
	jw_obj_begin(y->jw);
	jw_kv_c(y->jw, "reason", reason);
	jw_kv_str(y->jw, "text", text);
}

static void row_end(struct why *y)
{
	jw_obj_end(y->jw);
}

static void backoff(struct why *y)
{
	struct arena *a = req_arena(y->r);

	if (y->w.state != LIVE_BACKOFF)
		return;
	row_begin(y, "BACKOFF", arena_strf(a, "Attempt %d failed; attempt %d may begin at %.*s.", y->w.attempt, y->w.attempt + 1,
					   STR_FMT(time_text(y->r, y->w.due_at))));
	jw_kv_i64(y->jw, "attempt", y->w.attempt + 1);
	json_time(y->jw, "until", y->w.due_at);
	row_end(y);
}

static void paused(struct why *y)
{
	const struct cat_workflow *w = y->step->version->workflow;
	struct arena *a = req_arena(y->r);
	struct str text, since = time_text(y->r, w->pause.paused_at);
	int64_t gone_at = INT64_MIN;

	if (!w->pause.is_paused || y->w.state != LIVE_QUEUED)
		return;
	text = arena_strf(a, "Workflow %.*s is paused since %.*s.", STR_FMT(quoted(y->r, w->name)), STR_FMT(since));
	if (w->pause.ttl_ms > 0) {
		gone_at = MAX(y->t->live_queued_at, w->pause.paused_at) + w->pause.ttl_ms * 1000;
		text = arena_strf(a, "%.*s It is cancelled at %.*s if it still waits then.", STR_FMT(text), STR_FMT(time_text(y->r, gone_at)));
	}
	row_begin(y, "PAUSED", text);
	json_time(y->jw, "since", w->pause.paused_at);
	json_time(y->jw, "cancelledAt", gone_at);
	row_end(y);
}

static struct str limit_text(struct why *y, const struct eng_why_limit *l, struct str key)
{
	struct arena *a = req_arena(y->r);

	if (l->limit < 0)
		return arena_strf(a, "Rate limit %.*s is not set.", STR_FMT(key));
	if (l->units > l->limit)
		return arena_strf(a, "It needs %d units of rate limit %.*s, which allows %d: it can never run.", l->units, STR_FMT(key), l->limit);
	if (l->is_first)
		return arena_strf(a, "Others come first to the %d units that rate limit %.*s has left.", l->value, STR_FMT(key));
	return arena_strf(a, "Rate limit %.*s has %d of %d units left, it needs %d; more come at %.*s.", STR_FMT(key), l->value, l->limit,
			  l->units, STR_FMT(time_text(y->r, l->refill_at)));
}

static void rate_limits(struct why *y)
{
	for (uint32_t i = 0; i < y->w.n_limits; i++) {
		const struct eng_why_limit *l = &y->w.limits[i];
		struct str key = svc_limit_key(svc_of(y->r), l->bucket);

		row_begin(y, "RATE_LIMIT", limit_text(y, l, quoted(y->r, key)));
		jw_kv_str(y->jw, "key", key);
		jw_kv_i64(y->jw, "units", l->units);
		if (l->limit >= 0) {
			jw_kv_i64(y->jw, "limit", l->limit);
			jw_kv_i64(y->jw, "left", l->value);
		}
		jw_kv_bool(y->jw, "never", l->limit >= 0 && l->units > l->limit);
		json_time(y->jw, "until", l->refill_at);
		row_end(y);
	}
}

/* The text of the key for which it waits. */
static struct str key_text(struct why *y)
{
	struct err err;
	const struct jv *keys = json_parse(req_arena(y->r), y->rows.p[0].keys, &err);

	return jv_str(jv_at(keys, y->w.key_at));
}

static void holders(struct why *y)
{
	jw_key(y->jw, "holders");
	jw_arr_begin(y->jw);
	for (uint32_t i = 0; i < y->w.n_listed; i++) {
		jw_obj_begin(y->jw);
		json_id(y->r, y->jw, "taskId", y->w.holders[i].id);
		json_time(y->jw, "since", y->w.holders[i].since);
		jw_kv_c(y->jw, "status", y->w.holders[i].is_running ? "RUNNING" : "QUEUED");
		jw_obj_end(y->jw);
	}
	jw_arr_end(y->jw);
	jw_kv_i64(y->jw, "holdersTotal", y->w.n_holders);
}

static struct str key_sentence(struct why *y, struct str key)
{
	struct arena *a = req_arena(y->r);
	const struct eng_why *w = &y->w;
	struct str q = quoted(y->r, key), who = STR("");
	const char *more = w->key_ahead >= ENG_WHY_AHEAD_MAX ? "at least " : "";

	if (w->key_limit <= 0)
		return arena_strf(a, "The limit of its key %.*s is 0: nothing may run under it until the limit changes.", STR_FMT(q));
	if (w->n_listed) {
		struct uuid u = api_uuid(y->r, w->holders[0].id);
		char text[UUID_TEXT + 1];

		uuid_format(&u, text);
		who = arena_strf(a, "%s task %s since %.*s", w->n_holders == 1 ? "held by" : "held longest by", text,
				 STR_FMT(time_text(y->r, w->holders[0].since)));
	}
	if ((int64_t)w->n_holders < w->key_limit)
		return arena_strf(a, "%s%u %s before it for a place under its key %.*s, which allows %d at once.", more, w->key_ahead,
				  plural(w->key_ahead, "waits", "wait"), STR_FMT(q), w->key_limit);
	return arena_strf(a, "Its key %.*s allows %d at once and %s taken (%.*s); %s%u %s before it.", STR_FMT(q), w->key_limit,
			  plural((uint32_t)w->key_limit, "it is", "all are"), STR_FMT(who), more, w->key_ahead, plural(w->key_ahead, "waits", "wait"));
}

static void concurrency(struct why *y)
{
	const struct cat_strategy *st;
	struct str key;

	if (!y->w.waits_for_key || y->w.key_at >= y->step->n_strategies)
		return;
	st = y->step->strategies[y->w.key_at];
	key = key_text(y);
	row_begin(y, "CONCURRENCY", key_sentence(y, key));
	jw_kv_str(y->jw, "key", key);
	jw_kv_str(y->jw, "expression", st->expression);
	if (st->name.p)
		jw_kv_str(y->jw, "name", st->name);
	jw_kv_c(y->jw, "strategy", kind_name(st->kind));
	jw_kv_i64(y->jw, "limit", y->w.key_limit);
	jw_kv_bool(y->jw, "never", y->w.key_limit <= 0);
	jw_kv_i64(y->jw, "waiting", y->w.n_waiters);
	jw_kv_i64(y->jw, "ahead", y->w.key_ahead);
	holders(y);
	row_end(y);
}

/* --- workers ----------------------------------------------------------------------------------------------------------------- */

static void worker_begin(struct why *y, const struct cat_worker *k)
{
	jw_obj_begin(y->jw);
	jw_kv_uuid(y->jw, "id", &k->uuid);
	jw_kv_str(y->jw, "name", k->name);
}

/* Those that stopped in the last day are known still. */
static void no_worker(struct why *y)
{
	const struct cat_action *action = y->step->action;
	struct arena *a = req_arena(y->r);
	struct cat_worker **all;
	size_t n = cat_workers(catalog_of(y->r), y->t->tenant_no, a, &all), known = 0;
	const struct cat_worker *last = NULL;
	struct str q = quoted(y->r, action->name);

	for (size_t i = 0; i < n; i++) {
		bool has = false;

		for (uint32_t k = 0; k < all[i]->n_actions && !has; k++)
			has = all[i]->actions[k] == action;
		if (!has)
			continue;
		if (!last || all[i]->last_seen_at > last->last_seen_at)
			last = all[i];
		all[known++] = all[i];
	}
	if (last && last->last_seen_at != INT64_MIN)
		row_begin(y, "NO_WORKER", arena_strf(a, "No connected worker has the action %.*s; the last one was %.*s, seen at %.*s.",
			  STR_FMT(q), STR_FMT(quoted(y->r, last->name)), STR_FMT(time_text(y->r, last->last_seen_at))));
	else
		row_begin(y, "NO_WORKER", arena_strf(a, "No connected worker has the action %.*s.", STR_FMT(q)));
	jw_kv_str(y->jw, "action", action->name);
	jw_key(y->jw, "workers");
	jw_arr_begin(y->jw);
	for (size_t i = 0; i < MIN(known, (size_t)ENG_WHY_LIST); i++) {
		worker_begin(y, all[i]);
		json_time(y->jw, "lastHeartbeatAt", all[i]->last_seen_at);
		jw_obj_end(y->jw);
	}
	jw_arr_end(y->jw);
	jw_kv_i64(y->jw, "workersTotal", (int64_t)known);
	row_end(y);
}

static const struct cat_label *label_of(const struct cat_worker *k, struct str key)
{
	for (uint32_t i = 0; k && i < k->n_labels; i++)
		if (str_eq(k->labels[i].key, key))
			return &k->labels[i];
	return NULL;
}

static void put_unmet(struct why *y, const struct cat_worker *k, const struct eng_why_worker *w)
{
	jw_key(y->jw, "unmet");
	jw_arr_begin(y->jw);
	for (uint32_t i = 0; i < MIN(w->n_unmet, (uint32_t)ENG_WHY_UNMET) && w->unmet[i] < y->n_wants; i++) {
		const struct cat_want *want = &y->wants[w->unmet[i]];
		const struct cat_label *l = label_of(k, want->key);

		jw_obj_begin(y->jw);
		jw_kv_str(y->jw, "key", want->key);
		jw_kv_c(y->jw, "comparator", op_name(want->op));
		jw_key(y->jw, "wanted");
		if (want->is_int)
			jw_i64(y->jw, want->int_value);
		else
			jw_str(y->jw, want->str_value);
		jw_key(y->jw, "has");
		if (l && l->is_int)
			jw_i64(y->jw, l->int_value);
		else if (l)
			jw_str(y->jw, l->str_value);
		else
			jw_null(y->jw);
		jw_obj_end(y->jw);
	}
	jw_arr_end(y->jw);
	jw_kv_i64(y->jw, "unmetTotal", w->n_unmet);
	jw_kv_i64(y->jw, "weight", w->weight);
}

static void put_workers(struct why *y, enum eng_near near)
{
	uint32_t n = MIN(y->w.n_workers[near], (uint32_t)ENG_WHY_LIST);

	jw_key(y->jw, "workers");
	jw_arr_begin(y->jw);
	for (uint32_t i = 0; i < n; i++) {
		const struct eng_why_worker *w = &y->w.workers[near][i];
		const struct cat_worker *k = cat_worker(catalog_of(y->r), w->worker_no);

		if (!k)
			continue;
		worker_begin(y, k);
		if (near == NEAR_LABELS)
			put_unmet(y, k, w);
		if (near == NEAR_SLOTS) {
			jw_kv_str(y->jw, "slotType", cat_slot_type_name(catalog_of(y->r), w->slot_type));
			jw_kv_i64(y->jw, "needed", w->wanted);
			jw_kv_i64(y->jw, "used", w->used);
			jw_kv_i64(y->jw, "limit", w->limit);
		}
		jw_obj_end(y->jw);
	}
	jw_arr_end(y->jw);
	jw_kv_i64(y->jw, "workersTotal", y->w.n_workers[near]);
}

static struct str slots_sentence(struct why *y)
{
	uint32_t n = y->w.n_workers[NEAR_SLOTS];
	const struct eng_why_worker *w = &y->w.workers[NEAR_SLOTS][0];
	struct str name = worker_name(y->r, w->worker_no), type = cat_slot_type_name(catalog_of(y->r), w->slot_type);
	struct arena *a = req_arena(y->r);

	if (!y->w.may_fit)
		return arena_strf(a, "It can never run on the %u %s that would take it: it needs %d slots of type \"%.*s\", worker %.*s has %d.", n,
				  plural(n, "worker", "workers"), w->wanted, STR_FMT(type), STR_FMT(name), w->limit);
	if (n == 1)
		return arena_strf(a, "Worker %.*s has %d of its %d slots free, %d %s needed.", STR_FMT(name), w->limit - w->used, w->limit,
				  w->wanted, plural((uint32_t)w->wanted, "is", "are"));
	return arena_strf(a, "%u workers would take it, none has enough free slots: nearest is %.*s with %d of %d free, %d %s needed.", n,
			  STR_FMT(name), w->limit - w->used, w->limit, w->wanted, plural((uint32_t)w->wanted, "is", "are"));
}

/* gpu = "a100" (it has "t4"), ... */
static struct str unmet_words(struct why *y, const struct eng_why_worker *w)
{
	const struct cat_worker *k = cat_worker(catalog_of(y->r), w->worker_no);
	struct arena *a = req_arena(y->r);
	struct str s = STR("");

	for (uint32_t i = 0; i < MIN(w->n_unmet, (uint32_t)UNMET_TOLD) && w->unmet[i] < y->n_wants; i++) {
		const struct cat_want *want = &y->wants[w->unmet[i]];
		const struct cat_label *l = label_of(k, want->key);

		s = arena_strf(a, "%.*s%s%.*s %s %.*s (%s%.*s)", STR_FMT(s), i ? ", " : "", STR_FMT(want->key), op_sign(want->op),
			       STR_FMT(label_value(y->r, want->is_int, want->int_value, want->str_value)), l ? "it has " : "it has none",
			       STR_FMT(l ? label_value(y->r, l->is_int, l->int_value, l->str_value) : STR("")));
	}
	return w->n_unmet > UNMET_TOLD ? arena_strf(a, "%.*s and %u more", STR_FMT(s), w->n_unmet - UNMET_TOLD) : s;
}

static struct str labels_sentence(struct why *y)
{
	uint32_t n = y->w.n_workers[NEAR_LABELS];
	const struct eng_why_worker *w = &y->w.workers[NEAR_LABELS][0];
	struct str name = worker_name(y->r, w->worker_no);
	struct arena *a = req_arena(y->r);
	const char *head = n == 1 ? "Worker " : "worker ";
	struct str what = w->n_unmet ? arena_strf(a, "%s%.*s lacks %.*s", head, STR_FMT(name), STR_FMT(unmet_words(y, w))) :
				       arena_strf(a, "the labels of %s%.*s weigh %lld together", "worker ", STR_FMT(name), (long long)w->weight);

	if (n == 1)
		return w->n_unmet ? arena_strf(a, "%.*s.", STR_FMT(what)) :
				    arena_strf(a, "T%.*s, which is less than nothing.", (int)what.n - 1, what.p + 1);
	return arena_strf(a, "%u workers do not have the labels it asks for; nearest: %.*s.", n, STR_FMT(what));
}

static void near_row(struct why *y, enum eng_near near)
{
	uint32_t n = y->w.n_workers[near];
	struct str name = worker_name(y->r, y->w.workers[near][0].worker_no);
	struct arena *a = req_arena(y->r);

	if (n == 0)
		return;
	switch (near) {
	case NEAR_SLOTS:
		row_begin(y, "SLOTS", slots_sentence(y));
		jw_kv_bool(y->jw, "never", !y->w.may_fit);
		break;
	case NEAR_STALLED:
		row_begin(y, "WORKER_BUSY", n == 1 ? arena_strf(a, "Worker %.*s does not read its stream fast enough.", STR_FMT(name)) :
						     arena_strf(a, "%u workers do not read their streams fast enough.", n));
		break;
	case NEAR_LABELS:
		row_begin(y, "LABELS", labels_sentence(y));
		break;
	case NEAR_OTHER:
		row_begin(y, "STICKY", arena_strf(a, "It may only run on worker %.*s, which cannot take it; %u %s %s not that one.",
			  STR_FMT(worker_name(y->r, y->w.desired_no)), n, plural(n, "other", "others"), plural(n, "is", "are")));
		if (cat_worker(catalog_of(y->r), y->w.desired_no))
			jw_kv_uuid(y->jw, "desiredWorkerId", &cat_worker(catalog_of(y->r), y->w.desired_no)->uuid);
		break;
	case NEAR_PAUSED:
		row_begin(y, "WORKER_PAUSED", n == 1 ? arena_strf(a, "Worker %.*s is paused.", STR_FMT(name)) :
						       arena_strf(a, "%u workers are paused.", n));
		break;
	case NEAR_AWAY:
	case NEAR_FITS:
	case NEAR_KINDS:
		return;
	}
	put_workers(y, near);
	row_end(y);
}

/* What would take it but for its slots is no reason while something else holds it: slots come and go. */
static void workers(struct why *y, bool is_next)
{
	static const enum eng_near order[] = {NEAR_SLOTS, NEAR_STALLED, NEAR_LABELS, NEAR_OTHER, NEAR_PAUSED};
	uint32_t connected = 0;

	for (int i = NEAR_AWAY + 1; i < NEAR_KINDS; i++)
		connected += y->w.n_workers[i];
	if (!connected) {
		no_worker(y);
		return;
	}
	if (y->w.n_workers[NEAR_FITS] || (!is_next && y->w.may_fit))
		return;
	for (size_t i = 0; i < ARRAY_LEN(order); i++)
		near_row(y, order[i]);
}

static void queue(struct why *y)
{
	bool tail = !y->w.in_memory;
	int64_t ahead = (int64_t)y->w.ahead + (tail ? y->tail_ahead : 0);
	bool is_more = y->w.ahead >= ENG_WHY_AHEAD_MAX || (tail && y->tail_ahead >= ENG_WHY_AHEAD_MAX);
	struct arena *a = req_arena(y->r);

	if (y->w.state != LIVE_QUEUED || (!tail && (y->w.waits_for_key || ahead == 0)))
		return;
	if (tail)
		row_begin(y, "TAIL", arena_strf(a, "It waits in the database; %s%lld other %s of its action may come first.",
			  is_more ? "at least " : "", (long long)ahead, ahead == 1 ? "task" : "tasks"));
	else
		row_begin(y, "QUEUE", arena_strf(a, "%s%lld %s before it.", is_more ? "At least " : "", (long long)ahead,
			  ahead == 1 ? "task of its action comes" : "tasks of its action come"));
	jw_kv_i64(y->jw, "ahead", ahead);
	jw_kv_bool(y->jw, "aheadIsMore", is_more);
	row_end(y);
}

/* --- the answer -------------------------------------------------------------------------------------------------------------- */

static void answer_begin(struct jw *w, const char *status)
{
	jw_obj_begin(w);
	jw_kv_c(w, "status", status);
	jw_key(w, "rows");
	jw_arr_begin(w);
}

static void answer_end(struct jw *w, struct str summary)
{
	jw_arr_end(w);
	jw_kv_str(w, "summary", summary);
	jw_obj_end(w);
}

static struct step *nothing(struct req *r, struct str summary)
{
	struct why *y = REQ_STATE(r, struct why);
	struct reply_json j;

	json_begin(&j);
	answer_begin(&j.w, run_status_name(y->got.tasks[0].status));
	answer_end(&j.w, summary);
	return json_end(r, 200, &j);
}

static struct step *not_waiting(struct req *r, const struct task_view *t)
{
	struct str name;

	if (t->status != RUN_RUNNING)
		return nothing(r, arena_strf(req_arena(r), "It does not wait: it has ended as %s.", run_status_name(t->status)));
	name = worker_name(r, t->live_worker_no);
	if (t->live_state == LIVE_ASSIGNED)
		return nothing(r, arena_strf(req_arena(r), "It does not wait: it was given to worker %.*s at %.*s, which has not begun yet.",
					     STR_FMT(name), STR_FMT(time_text(r, t->live_assigned_at))));
	return nothing(r, arena_strf(req_arena(r), "It does not wait: it runs on worker %.*s since %.*s.", STR_FMT(name),
				     STR_FMT(time_text(r, t->live_started_at))));
}

/* It goes with others, who are not there yet, or while too many of its key run. */
static void batch(struct why *y)
{
	const struct eng_why *w = &y->w;
	struct arena *a = req_arena(y->r);

	if (!w->is_batched)
		return;
	if (w->batch_runs >= w->batch_max_runs)
		row_begin(y, "BATCH", arena_strf(a, "%d of %d batches of its key run.", w->batch_runs, w->batch_max_runs));
	else
		row_begin(y, "BATCH", arena_strf(a, "Its batch has %d of %d tasks; it goes at %.*s at the latest.", w->batch_size,
						 w->batch_max_size, STR_FMT(time_text(y->r, w->batch_due_at))));
	jw_kv_i64(y->jw, "waiting", w->batch_size);
	jw_kv_i64(y->jw, "size", w->batch_max_size);
	jw_kv_i64(y->jw, "running", w->batch_runs);
	jw_kv_i64(y->jw, "limit", w->batch_max_runs);
	json_time(y->jw, "until", w->batch_due_at);
	row_end(y);
}

static struct step *why_reply(struct req *r)
{
	struct why *y = REQ_STATE(r, struct why);
	struct reply_json j;
	bool is_next;

	json_begin(&j);
	y->r = r;
	y->jw = &j.w;
	y->wants = y->step->wants;
	y->n_wants = y->step->n_wants;
	if (y->rows.p[0].labels.n)
		y->n_wants = cat_wants_parse(req_arena(r), y->rows.p[0].labels, &y->wants);
	answer_begin(&j.w, run_status_name(y->t->status));
	backoff(y);
	paused(y);
	rate_limits(y);
	concurrency(y);
	batch(y);
	is_next = !y->first.p;
	workers(y, is_next);
	queue(y);
	answer_end(&j.w, y->first.p ? y->first : STR("Nothing holds it: it is about to be assigned."));
	return json_end(r, 200, &j);
}

static struct step *why_found(struct req *r)
{
	struct why *y = REQ_STATE(r, struct why);
	const struct task_view *t = y->got.tasks;
	struct err err;

	if (y->got.n == 0)
		return req_fail(r, ERR_NOT_FOUND, "there is no such task");
	if (t->status != RUN_QUEUED)
		return not_waiting(r, t);
	y->t = t;
	y->step = cat_step(catalog_of(r), t->step_no);
	if (!y->rows.n || !y->step)
		return req_fail(r, ERR_INTERNAL, "the task's step is unknown");
	if (!svc_why(svc_of(r), y->rows.p, t->in_tail, t->rank, t->lane, &y->w, &err))
		return err.code == ERR_OK ? nothing(r, STR("What it waits for has just changed; ask again.")) : req_fail_err(r, &err);
	if (y->w.worker_no)
		return nothing(r, arena_strf(req_arena(r), "It does not wait any more: it is being given to worker %.*s.",
					     STR_FMT(worker_name(r, y->w.worker_no))));
	if (y->w.in_memory)
		return why_reply(r);
	read_tail_ahead(svc_db(svc_of(r)), req_arena(r), t->tenant_no, t->action_no, t->rank, t->id, ENG_WHY_AHEAD_MAX, &y->tail_ahead,
			req_op(r, why_reply));
	return req_await(r);
}

static struct step *why_get(struct req *r)
{
	struct why *y = REQ_STATE(r, struct why);
	struct db *db = svc_db(svc_of(r));
	int32_t tenant_no = tenant_of(r)->tenant_no;
	struct err err;

	if (!api_id(r, req_param(r, "task"), "task", &y->id, &err))
		return req_fail_err(r, &err);
	read_tasks(db, req_arena(r), tenant_no, &y->id, 1, 0, &y->got, req_op(r, why_found));
	read_replayable(db, req_arena(r), tenant_no, &y->id, 1, &y->rows, req_op(r, why_found));
	return req_await(r);
}

struct step *rest_task_why(struct req *r)
{
	return alias_param(r, "task", ALIAS_WHY, why_get);
}

void why_request(struct jw *w, const struct request_view *v)
{
	static const struct str text = STR("It is no run yet: the server has not taken the SQL request so far.");

	answer_begin(w, v->state == REQUEST_WAITS ? "QUEUED" : "FAILED");
	if (v->state == REQUEST_WAITS) {
		jw_obj_begin(w);
		jw_kv_c(w, "reason", "REQUEST");
		jw_kv_str(w, "text", text);
		jw_obj_end(w);
	}
	answer_end(w, v->state == REQUEST_WAITS ? text : STR("It does not wait: the SQL request was refused."));
}
