/* What the shell reads from the database on its own account: read at one time, answered at another. */
#include "sim.h"

/* --- what is due in the tail ------------------------------------------------------------------------------------------------ */

struct scan {
	struct fx fx;
	struct ev_restore rows[SCAN_MAX];
	uint32_t n;
	int64_t next_due;
};

static void scan_reply(struct sim *s, struct timer *t)
{
	struct scan *sc = t->p;
	bool failed = chance(s, 50);
	struct ev *ev;

	for (size_t i = 0; i < sc->n && !failed; i++) {
		ev = shell_event(s, EV_EXPIRED);
		ev->id = sc->rows[i].id;
		ev->tenant_no = sc->rows[i].tenant_no;
		ev->action_no = sc->fx.action_no;
		ev->rank = sc->fx.rank;
		ev->lane = lane_of(s, rec_of(s, ev->id));
		ev->tail = true;
		ev->restore = sc->rows[i];
		s->cover[C_expired]++;
	}
	ev = shell_event(s, EV_SCAN_DONE);
	ev->tenant_no = sc->fx.tenant_no;
	ev->action_no = sc->fx.action_no;
	ev->rank = sc->fx.rank;
	ev->due_at = failed ? s->now.wall_us + SEC : sc->next_due;
	ev->n = failed ? 0 : sc->n;
	ev->limit = failed ? 0 : sc->fx.limit;
}

static void scan_read(struct sim *s, struct timer *t)
{
	struct scan *sc = xcalloc(1, sizeof(*sc));
	const struct fx *fx = t->p;
	int64_t due = fx->started_at, id = fx->lane;

	sc->fx = *fx;
	for (;;) {
		const struct rec *best = NULL;

		for (size_t i = 0; i < s->open.n; i++) {
			const struct rec *r = s->open.p[i];

			if (r->row != ROW_TAIL || r->action_no != fx->action_no || r->rank != fx->rank || r->due_at < due ||
			    (r->due_at == due && r->id <= id))
				continue;
			if (!best || r->due_at < best->due_at || (r->due_at == best->due_at && r->id < best->id))
				best = r;
		}
		if (!best || best->due_at > fx->due_at || sc->n == MIN(fx->limit, SCAN_MAX)) {
			sc->next_due = best ? best->due_at : 0;
			break;
		}
		sc->rows[sc->n++] = row_of(s, best);
		due = best->due_at;
		id = best->id;
	}
	(void)server_timer(s, between(s, 200, s->is_slow_db ? 2 * SEC : 20 * MS), scan_reply, sc);
}

void scan_start(struct sim *s, const struct fx *fx)
{
	struct fx *mine = xmalloc(sizeof(*mine));

	*mine = *fx;
	(void)server_timer(s, between(s, 100, 10 * MS), scan_read, mine);
}

/* --- children of the cancelled, in a tail ---------------------------------------------------------------------------------- */

struct orphans {
	struct ev_restore rows[SCAN_MAX];
	uint32_t n;
};

static void orphans_reply(struct sim *s, struct timer *t)
{
	struct orphans *o = t->p;

	for (uint32_t i = 0; i < o->n; i++) {
		struct ev *ev = shell_event(s, EV_CANCEL);

		ev->id = o->rows[i].id;
		ev->tenant_no = o->rows[i].tenant_no;
		ev->action_no = rec_of(s, ev->id)->action_no;
		ev->rank = o->rows[i].rank;
		ev->lane = lane_of(s, rec_of(s, ev->id));
		ev->attempt = -1;
		ev->text = CANCEL_BY_PARENT;
		ev->tail = true;
		ev->restore = o->rows[i];
		s->cover[C_orphan_tail]++;
	}
}

void orphans_find(struct sim *s, int64_t parent_id)
{
	struct orphans *o = xcalloc(1, sizeof(*o));

	for (size_t i = 0; i < s->open.n && o->n < SCAN_MAX; i++) {
		const struct rec *r = s->open.p[i];

		if (r->row == ROW_TAIL && r->parent && r->parent->id == parent_id)
			o->rows[o->n++] = row_of(s, r);
	}
	(void)server_timer(s, between(s, 200, s->is_slow_db ? 2 * SEC : 20 * MS), orphans_reply, o);
}
