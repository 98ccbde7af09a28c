/* Where a task goes: labels, weights, the worker it names; and that nothing which cannot be placed hides what can. */
#include "engworld.h"

enum { GPU = 1, MEMORY = 2, A100 = 11, H100 = 12, STEP_SOFT = 60, STEP_HARD = 61, STEP_GPU = 62 };

static struct eng_label text(uint64_t key, uint64_t value)
{
	return (struct eng_label){.key = key, .text = value, .is_text = true};
}

static struct eng_label number(uint64_t key, int32_t value)
{
	return (struct eng_label){.key = key, .number = value};
}

static struct eng_want want(struct eng_label l, enum label_op op, int32_t weight, bool required)
{
	return (struct eng_want){.key = l.key, .text = l.text, .number = l.number, .is_text = l.is_text, .op = (uint8_t)op,
		.weight = weight, .required = required};
}

static void labelled(struct world *w, int32_t no, struct eng_label l)
{
	struct ev ev = {.kind = EV_LABELS, .worker_no = no};

	ev.worker = (struct ev_worker){.labels = &l, .n_labels = 1};
	step(w, &ev);
}

static void define(struct world *w, int32_t no, enum sticky sticky, const struct eng_want *wants, uint32_t n)
{
	struct ev ev = {.kind = EV_STEP};

	ev.step = (struct ev_step){.step_no = no, .tenant_no = TENANT, .action_no = ACTION, .schedule_ms = 300000, .exec_ms = 60000,
		.slots = {{1, 1}}, .sticky = sticky, .wants = wants, .n_wants = n};
	step(w, &ev);
}

static int64_t trigger_place(struct world *w, int32_t step_no, int32_t desired_no, const struct eng_want *wants, uint32_t n)
{
	struct ev ev = about(EV_NEW, engine_next_id(w->e, w->now, TENANT));

	ev.new = (struct ev_new){.id = ev.id, .tenant_no = TENANT, .step_no = step_no, .rank = 3, .schedule_ms = 300000, .exec_ms = 60000,
		.place = {.desired_no = desired_no, .has_wants = wants != NULL, .wants = wants, .n_wants = n}};
	step(w, &ev);
	return ev.id;
}

static void begin(struct world *w)
{
	struct eng_want a100 = want(text(GPU, A100), LABEL_EQ, 100, true);

	start(w, 0);
	define(w, STEP_SOFT, STICKY_SOFT, NULL, 0);
	define(w, STEP_HARD, STICKY_HARD, NULL, 0);
	define(w, STEP_GPU, STICKY_NONE, &a100, 1);
}

TEST(required_label)
{
	struct world w;
	int64_t id;

	begin(&w);
	up(&w, 1, 5);
	labelled(&w, 1, text(GPU, H100));
	id = trigger_step(&w, STEP_GPU, 3);
	CHECK_EQ(view(&w, id).state, LIVE_QUEUED);
	labelled(&w, 1, text(GPU, A100));	/* felt in the same step */
	CHECK_EQ(only(&w, FX_PUSH)->id, id);
	end(&w);
}

/* Each comparator against a worker's label: met or not, as the table says. */
TEST(comparators)
{
	static const struct {
		bool is_text, wants_text;
		int have, want;
		unsigned met;		/* bit per enum label_op */
	} cases[] = {
		{false, false, 5, 5, 1u << LABEL_EQ | 1u << LABEL_GE | 1u << LABEL_LE},
		{false, false, 6, 5, 1u << LABEL_NE | 1u << LABEL_GT | 1u << LABEL_GE},
		{false, false, 4, 5, 1u << LABEL_NE | 1u << LABEL_LT | 1u << LABEL_LE},
		{false, false, -2147483647, 2147483647, 1u << LABEL_NE | 1u << LABEL_LT | 1u << LABEL_LE},
		{true, true, 7, 7, 1u << LABEL_EQ},
		{true, true, 7, 8, 1u << LABEL_NE},
		{true, false, 5, 5, 0},		/* kinds never meet, not even by NOT_EQUAL */
		{false, true, 5, 6, 0},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		for (unsigned op = 0; op <= LABEL_LE; op++) {
			struct eng_label have = cases[i].is_text ? text(GPU, (uint64_t)cases[i].have) : number(GPU, cases[i].have);
			struct eng_want wants = want(cases[i].wants_text ? text(GPU, (uint64_t)cases[i].want) : number(GPU, cases[i].want),
						     (enum label_op)op, 100, true);
			struct world w;
			int64_t id;

			start(&w, 0);
			up(&w, 1, 1);
			labelled(&w, 1, have);
			id = trigger_place(&w, STEP, 0, &wants, 1);
			if ((view(&w, id).state == LIVE_ASSIGNED) != !!(cases[i].met & 1u << op))
				CHECK_EQ(i * 10 + op, 0);
			end(&w);
		}
}

/* A preference decides among those with room and waits for nobody; equals take turns. */
TEST(weights)
{
	struct eng_want wants[2] = {want(text(GPU, A100), LABEL_EQ, 100, false), want(text(GPU, H100), LABEL_EQ, 10, false)};
	struct world w;
	int32_t first;

	begin(&w);
	for (int i = 1; i <= 4; i++) {
		up(&w, i, 1);
		labelled(&w, i, text(GPU, i == 1 ? H100 : i <= 3 ? A100 : 99));
	}
	(void)trigger_place(&w, STEP, 0, wants, 2);
	first = only(&w, FX_PUSH)->worker_no;
	CHECK(first == 2 || first == 3);
	(void)trigger_place(&w, STEP, 0, wants, 2);
	CHECK_EQ(only(&w, FX_PUSH)->worker_no, 5 - first);
	(void)trigger_place(&w, STEP, 0, wants, 2);
	CHECK_EQ(only(&w, FX_PUSH)->worker_no, 1);
	(void)trigger_place(&w, STEP, 0, wants, 2);
	CHECK_EQ(only(&w, FX_PUSH)->worker_no, 4);
	end(&w);
}

TEST(negative_sum_excludes)
{
	struct eng_want never = want(text(GPU, A100), LABEL_EQ, -1, false);
	struct world w;
	int64_t id;

	begin(&w);
	up(&w, 1, 1);
	labelled(&w, 1, text(GPU, A100));
	id = trigger_place(&w, STEP, 0, &never, 1);
	CHECK_EQ(view(&w, id).state, LIVE_QUEUED);
	up(&w, 2, 1);
	CHECK_EQ(only(&w, FX_PUSH)->worker_no, 2);
	end(&w);
}

/* What the trigger asks for stands in place of what the step asks for. */
TEST(own_wants_replace)
{
	struct eng_want memory = want(number(MEMORY, 512), LABEL_GT, 100, true);
	struct world w;
	int64_t id;

	begin(&w);
	up(&w, 1, 5);
	labelled(&w, 1, number(MEMORY, 1024));
	(void)trigger_place(&w, STEP_GPU, 0, &memory, 1);
	CHECK_EQ(only(&w, FX_PUSH)->worker_no, 1);
	id = trigger_step(&w, STEP_GPU, 3);
	CHECK_EQ(view(&w, id).state, LIVE_QUEUED);
	end(&w);
}

TEST(hard_waits_for_its_worker)
{
	struct world w;
	int64_t id, nobody;

	begin(&w);
	up(&w, 1, 1);
	up(&w, 2, 1);
	(void)trigger_place(&w, STEP_HARD, 2, NULL, 0);
	CHECK_EQ(only(&w, FX_PUSH)->worker_no, 2);
	id = trigger_place(&w, STEP_HARD, 2, NULL, 0);
	CHECK_EQ(view(&w, id).state, LIVE_QUEUED);
	nobody = trigger_place(&w, STEP_HARD, -1, NULL, 0);
	(void)trigger_place(&w, STEP_HARD, 0, NULL, 0);	/* names none: any */
	CHECK_EQ(only(&w, FX_PUSH)->worker_no, 1);
	for (int i = 0; i < 12; i++) {
		later(&w, 25 * SECOND_US);
		beat(&w, 1);
		beat(&w, 2);
	}
	CHECK_EQ(view(&w, id).state, -1);	/* its schedule timeout, and the other's: their worker was never free */
	CHECK_EQ(view(&w, nobody).state, -1);
	end(&w);
}

TEST(soft_prefers)
{
	struct world w;

	begin(&w);
	up(&w, 1, 2);
	up(&w, 2, 1);
	for (int i = 0; i < 2; i++) {	/* a workflow that is not sticky takes it as SOFT */
		(void)trigger_place(&w, i ? STEP : STEP_SOFT, 2, NULL, 0);
		CHECK_EQ(only(&w, FX_PUSH)->worker_no, i ? 1 : 2);
	}
	(void)trigger_place(&w, STEP, -1, NULL, 0);
	CHECK_EQ(only(&w, FX_PUSH)->worker_no, 1);
	end(&w);
}

/* Labels count for sticky tasks too: the named worker must have what is required. */
TEST(sticky_and_labels)
{
	struct eng_want a100 = want(text(GPU, A100), LABEL_EQ, 100, true);
	struct world w;
	int64_t id;

	begin(&w);
	up(&w, 1, 1);
	up(&w, 2, 1);
	labelled(&w, 2, text(GPU, A100));
	(void)trigger_place(&w, STEP_SOFT, 1, &a100, 1);
	CHECK_EQ(only(&w, FX_PUSH)->worker_no, 2);
	id = trigger_place(&w, STEP_HARD, 1, &a100, 1);
	CHECK_EQ(view(&w, id).state, LIVE_QUEUED);
	labelled(&w, 1, text(GPU, A100));
	CHECK_EQ(only(&w, FX_PUSH)->worker_no, 1);
	end(&w);
}

TEST(nothing_hides_what_can_be_placed)
{
	struct world w;
	int64_t id, first = 0;

	begin(&w);
	up(&w, 1, 1);
	for (int i = 0; i < 3000; i++) {
		id = i % 2 ? trigger_step(&w, STEP_GPU, 1) : trigger_place(&w, STEP_HARD, 2 + i, NULL, 0);
		CHECK_EQ(view(&w, id).state, LIVE_QUEUED);
		first = first ? first : id;
	}
	id = trigger(&w);
	CHECK_EQ(only(&w, FX_PUSH)->id, id);
	CHECK_EQ(only(&w, FX_INSERT)->place, PLACE_ASSIGNED);	/* at once, in one commit */
	id = trigger(&w);
	CHECK_EQ(view(&w, id).state, LIVE_QUEUED);
	report(&w, EV_CANCEL, first, -1);
	CHECK_EQ(count(&w, FX_PUSH), 0);
	end(&w);
}

/* A slot that becomes free goes to who came first of those that fit, also when a newcomer arrives in the same turn. */
TEST(newcomers_do_not_overtake)
{
	struct eng_want a100 = want(text(GPU, A100), LABEL_EQ, 0, true);
	struct ev evs[2];
	struct world w;
	int64_t running, id;

	begin(&w);
	up(&w, 1, 1);
	labelled(&w, 1, text(GPU, A100));
	running = trigger(&w);
	id = trigger_place(&w, STEP, 0, &a100, 1);
	evs[0] = about(EV_COMPLETED, running);
	evs[1] = about(EV_NEW, engine_next_id(w.e, w.now, TENANT));
	evs[1].new = (struct ev_new){.id = evs[1].id, .tenant_no = TENANT, .step_no = STEP, .rank = 3, .schedule_ms = 300000, .exec_ms = 60000};
	w.from = w.out.v.n;
	engine_step(w.e, w.now, evs, 2, &w.out);
	whole(&w);
	CHECK_EQ(only(&w, FX_PUSH)->id, id);
	end(&w);
}

/* What a tail brings asks what it asked for when it was triggered; and a head full of what nobody takes loads on. */
TEST(tail_behind_the_unplaceable)
{
	struct world w;
	int64_t id = 0;

	start(&w, 100);
	define(&w, STEP_HARD, STICKY_HARD, NULL, 0);
	up(&w, 1, 1);
	for (int i = 0; i < 101; i++)
		id = trigger_place(&w, STEP_HARD, 2, NULL, 0);
	CHECK_EQ(view(&w, id).state, -1);	/* in the tail */
	CHECK_EQ(only(&w, FX_INSERT)->place, PLACE_TAIL);
	end(&w);
	start(&w, 0);
	define(&w, STEP_HARD, STICKY_HARD, NULL, 0);
	up(&w, 1, 1);
	{
		struct ev ev = {.kind = EV_TAIL, .tenant_no = TENANT, .action_no = ACTION, .rank = 3, .due_at = w.now.wall_us + SECOND_US};

		step(&w, &ev);
		CHECK_EQ(count(&w, FX_LOAD), 1);
		for (int i = 1; i <= 1000; i++) {
			ev = (struct ev){.kind = EV_LOADED, .id = engine_next_id(w.e, w.now, TENANT), .tenant_no = TENANT, .action_no = ACTION, .rank = 3};
			ev.restore = (struct ev_restore){.id = ev.id, .tenant_no = TENANT, .step_no = STEP_HARD, .rank = 3, .user_rank = 3,
				.queued_at = w.now.wall_us, .assigned_at = INT64_MIN, .started_at = INT64_MIN,
				.due_at = w.now.wall_us + 300 * (int64_t)SECOND_US, .schedule_ms = 300000, .exec_ms = 60000,
				.place = {.desired_no = 2}};
			joined(&w, &ev);
		}
	}
	load_done(&w, 3, 1000, 1000);
	CHECK_EQ(count(&w, FX_PUSH), 0);
	CHECK_EQ(count(&w, FX_LOAD), 1);	/* none of the thousand is of use: more */
	loaded(&w, engine_next_id(w.e, w.now, TENANT), 3);
	CHECK_EQ(only(&w, FX_PUSH)->worker_no, 1);
	end(&w);
}
