/* Requests of SQL clients: what enqueue() leaves, what is read of it, and that each ends exactly once. */
#include "storefix.h"

#include "store/inbox.h"

#include <stdlib.h>

static int64_t count(struct fix *f, const char *what)
{
	return pgnode_int(f->url, pgnode_keep("select count(*) from hatchet.%s", what));
}

static const char *with_workflow(void)
{
	const char *url = pgnode_new_db();

	pgnode_exec(url, "insert into hatchet.workflow (tenant_no, name) values (1, 'w');"
		    "insert into hatchet.tenant (name, slug) select 't' || i, 't' || i from generate_series(2, 4) i;"
		    "insert into hatchet.workflow (tenant_no, name) select i, 'w' from generate_series(2, 4) i");
	return url;
}

static void enqueue(const char *url, int tenant, int n)
{
	pgnode_exec(url, pgnode_keep("select hatchet.enqueue('w', jsonb_build_object('i', i), tenant => t.slug, priority => 2,"
		" additional_metadata => '{\"k\":\"v\"}') from hatchet.tenant t, generate_series(1, %d) i where t.tenant_no = %s", n,
		pgnode_keep("%d", tenant)));
}

static struct read_inbox read_from(struct fix *f, const int *tenants, unsigned n, const struct uuid *low, uint32_t limit, uint64_t bytes)
{
	struct inbox_from *from = calloc(n, sizeof(*from));
	struct read_inbox got = {0};
	struct wait_op w;

	for (unsigned i = 0; i < n; i++) {
		from[i].tenant_no = tenants[i];
		from[i].low = low ? *low : (struct uuid){0};
	}
	wait_init(&w, f->loop);
	read_inbox(f->db, f->a, from, n, limit, bytes, &got, &w.op);
	wait_for_op(&w);
	CHECK(w.ok);
	free(from);
	return got;
}

TEST(reading)
{
	static const int one[] = {1}, all[] = {3, 1, 4, 99};
	struct read_tenants tenants = {0};
	struct read_inbox got;
	struct wait_op w;
	struct fix f;

	fix_active(&f, with_workflow(), NULL);
	wait_init(&w, f.loop);
	read_inbox_tenants(f.db, f.a, &tenants, &w.op);
	wait_for_op(&w);
	CHECK(w.ok && tenants.n == 0);
	enqueue(f.url, 1, 50);
	enqueue(f.url, 3, 2);
	enqueue(f.url, 4, 5);
	wait_init(&w, f.loop);
	read_inbox_tenants(f.db, f.a, &tenants, &w.op);
	wait_for_op(&w);
	CHECK(w.ok);
	CHECK_EQ(tenants.n, 3);
	CHECK(tenants.p[0] == 1 && tenants.p[1] == 3 && tenants.p[2] == 4);
	got = read_from(&f, one, 1, NULL, 1000, 1 << 20);
	CHECK_EQ(got.n, 50);
	CHECK(!got.is_cut);
	for (uint32_t i = 0; i < got.n; i++) {
		CHECK_EQ(got.p[i].tenant_no, 1);
		CHECK_EQ(got.p[i].priority, 2);
		CHECK(uuid_is_request(&got.p[i].id));
		CHECK(llabs(request_unix_ms(&got.p[i].id) - f.now_us / 1000) < 60000);
		CHECK_STR(got.p[i].workflow, "w");
		CHECK_STR(got.p[i].metadata, "{\"k\": \"v\"}");
		CHECK(i == 0 || memcmp(got.p[i - 1].id.b, got.p[i].id.b, 16) < 0);
	}
	CHECK_STR(got.p[0].input, "{\"i\": 1}");
	CHECK_STR(got.p[49].input, "{\"i\": 50}");
	/* from an id on */
	got = read_from(&f, one, 1, &got.p[40].id, 1000, 1 << 20);
	CHECK_EQ(got.n, 10);
	CHECK_STR(got.p[0].input, "{\"i\": 41}");
	/* tenants take turns, and unknown ones have none */
	got = read_from(&f, all, 4, NULL, 3, 1 << 20);
	CHECK_EQ(got.n, 8);
	CHECK(got.p[0].tenant_no == 3 && got.p[1].tenant_no == 1 && got.p[2].tenant_no == 4 && got.p[3].tenant_no == 3);
	CHECK(got.p[6].tenant_no == 1 && got.p[7].tenant_no == 4);
	/* bytes: the first always comes */
	got = read_from(&f, all, 4, NULL, 3, 1);
	CHECK_EQ(got.n, 1);
	CHECK(got.is_cut);
	got = read_from(&f, one, 1, NULL, 100, 95);	/* each has 9 or 8 and 10 bytes */
	CHECK_EQ(got.n, 6);
	CHECK(got.is_cut);
	fix_close(&f);
}

static struct read_requests ask(struct fix *f, int tenant, const struct uuid *ids, uint32_t n)
{
	struct read_requests got = {0};
	struct wait_op w;

	wait_init(&w, f->loop);
	read_requests(f->db, f->a, tenant, ids, n, &got, &w.op);
	wait_for_op(&w);
	CHECK(w.ok);
	return got;
}

static void refuse(struct fix *f, const struct inbox_row *row, const char *why)
{
	struct inbox_refusal r = {.tenant_no = 1, .id = row->id, .run_id = fix_id(f, 500), .code = ERR_NOT_FOUND, .why = str_c(why)};
	struct wait_op w;

	wait_init(&w, f->loop);
	inbox_refuse(f->db, f->a, &r, 1, &w.op);
	wait_for_op(&w);
	CHECK(w.ok);
}

TEST(each_ends_once)
{
	static const int one[] = {1};
	struct read_requests got;
	struct read_inbox in;
	struct uuid ids[5];
	struct fix f;

	fix_active(&f, with_workflow(), NULL);
	enqueue(f.url, 1, 4);
	in = read_from(&f, one, 1, NULL, 10, 1 << 20);
	CHECK_EQ(in.n, 4);
	for (int i = 0; i < 4; i++)
		ids[i] = in.p[i].id;
	ids[4] = ids[0];
	ids[4].b[15] ^= 1;
	got = ask(&f, 1, ids, 5);
	CHECK_EQ(got.n, 4);
	CHECK_EQ(got.p[0].state, REQUEST_WAITS);
	CHECK_STR(got.p[0].input, "{\"i\": 1}");
	CHECK_EQ(ask(&f, 2, ids, 5).n, 0);
	/* run and end of the request in one flush */
	fix_put(&f, fix_id(&f, 1), 0);
	flush_request(f.flush, 1, &ids[0], fix_id(&f, 1));
	CHECK_EQ(fix_flush(&f), ERR_OK);
	CHECK_EQ(count(&f, "inbox"), 3);
	/* a second time the whole flush is refused, and the server is still the owner */
	flush_reset(f.flush);
	fix_put(&f, fix_id(&f, 2), 0);
	fix_put(&f, fix_id(&f, 3), 0);
	flush_request(f.flush, 1, &ids[0], fix_id(&f, 2));
	flush_request(f.flush, 1, &ids[1], fix_id(&f, 3));
	CHECK_EQ(fix_flush(&f), ERR_INVALID);
	CHECK_EQ(count(&f, "task"), 1);
	CHECK_EQ(count(&f, "inbox"), 3);
	CHECK_EQ(owner_state(f.owner), OWNER_ACTIVE);
	/* refused, and what is refused cannot be taken, nor what is taken be refused, nor twice */
	refuse(&f, &in.p[1], "no such workflow");
	refuse(&f, &in.p[1], "another reason");
	refuse(&f, &in.p[0], "too late");
	flush_reset(f.flush);
	fix_put(&f, fix_id(&f, 4), 0);
	flush_request(f.flush, 1, &ids[1], fix_id(&f, 4));
	CHECK_EQ(fix_flush(&f), ERR_INVALID);
	/* somebody deleted it */
	pgnode_exec(f.url, "delete from hatchet.inbox where input ->> 'i' = '3'");
	flush_reset(f.flush);
	fix_put(&f, fix_id(&f, 5), 0);
	flush_request(f.flush, 1, &ids[2], fix_id(&f, 5));
	CHECK_EQ(fix_flush(&f), ERR_INVALID);
	CHECK_EQ(count(&f, "task"), 1);
	got = ask(&f, 1, ids, 5);
	CHECK_EQ(got.n, 3);
	CHECK_EQ(got.p[0].state, REQUEST_TAKEN);
	CHECK_EQ(got.p[0].run_id, fix_id(&f, 1));
	CHECK_EQ(got.p[1].state, REQUEST_REFUSED);
	CHECK_EQ(got.p[1].code, ERR_NOT_FOUND);
	CHECK_STR(got.p[1].why, "no such workflow");
	CHECK_STR(got.p[1].workflow, "w");
	CHECK_STR(got.p[1].input, "{\"i\": 2}");
	CHECK_STR(got.p[1].metadata, "{\"k\": \"v\"}");
	CHECK_EQ(got.p[1].priority, 2);
	CHECK_EQ(got.p[2].state, REQUEST_WAITS);
	/* ids that nobody makes */
	memset(ids, 0xff, sizeof(ids));
	CHECK_EQ(ask(&f, 1, ids, 5).n, 0);
	memset(ids, 0, sizeof(ids));
	CHECK_EQ(ask(&f, 1, ids, 5).n, 0);
	fix_close(&f);
}

static void note(void *arg, struct str payload)
{
	struct fix *f = arg;

	if (!payload.p)
		f->n_up++;
	if (str_starts(payload, STR("inbox ")) && f->n_states < ARRAY_LEN(f->states))
		f->n_states++;
}

static bool is_listening(void *arg)
{
	return ((struct fix *)arg)->n_up > 0;
}

struct seen {
	struct fix *f;
	unsigned n;
};

static bool has_seen(void *arg)
{
	struct seen *s = arg;

	return s->f->n_states >= s->n;
}

/* One notification for each transaction and tenant; none for what is rolled back. */
TEST(notifications)
{
	static const struct {
		unsigned n;
		const char *sql;
	} t[] = {
		{1, "select hatchet.enqueue('w', tenant => 'default') from generate_series(1, 100)"},
		{3, "select hatchet.enqueue('w', tenant => slug) from hatchet.tenant, generate_series(1, 20) where slug <> 't2'"},
		{1, "begin; savepoint a; select hatchet.enqueue('w', tenant => 't2'); rollback to a; select hatchet.enqueue('w', tenant => 't2');"
		    " commit"},
		{1, "begin; savepoint a; select hatchet.enqueue('w', tenant => 't2'); release a; select hatchet.enqueue('w', tenant => 't2');"
		    " commit"},
		{0, "begin; select hatchet.enqueue('w', tenant => 't2'); rollback"},
		{0, "begin; savepoint a; select hatchet.enqueue('w', tenant => 't2'); rollback to a; commit"},
		/* a counter that begins again, a clock that is set back: a lower id is told, too */
		{2, "begin; select hatchet.enqueue('w', tenant => 't2'); select set_config('hatchet.enqueued_2',"
		    " pg_current_xact_id() || ' ffffffff-ffff-8fff-8fff-ffffffffffff', true); select hatchet.enqueue('w', tenant => 't2'); commit"},
		/* the end: told last */
		{1, "select hatchet.enqueue('w', tenant => 't2')"},
	};
	struct fix f = {.url = with_workflow(), .loop = loop_new()};
	struct db_conf conf = {.loop = f.loop, .url = f.url, .readers = 2, .queue_max = 10, .on_notify = note, .arg = &f};
	struct db *db = db_new(&conf);
	struct seen s = {.f = &f, .n = 1};

	db_start(db);
	CHECK(wait_until(f.loop, is_listening, &f, 10000));
	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		f.n_states = 0;
		pgnode_exec(f.url, t[i].sql);
		pgnode_exec(f.url, "notify hatchet_cfg, 'inbox end'");
		s.n = t[i].n + 1;
		CHECK(wait_until(f.loop, has_seen, &s, 10000));
		CHECK_EQ(f.n_states, s.n);
	}
	db_free(db);
	loop_free(f.loop);
}
