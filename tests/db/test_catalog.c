/* The dictionaries: written by one process, seen by it and by another. */
#include "storefix.h"

#include "store/boot.h"
#include "store/catalog.h"

struct two {
	struct fix f;
	struct db *db2;
	struct catalog *a, *b;	/* of two processes */
	struct uuid token;
};

static void on_notify_a(void *arg, struct str payload)
{
	struct two *t = arg;

	if (t->a)
		catalog_on_notify(t->a, payload);
}

static void on_notify_b(void *arg, struct str payload)
{
	struct two *t = arg;

	if (t->b)
		catalog_on_notify(t->b, payload);
}

static void load(struct two *t, struct catalog *c)
{
	struct wait_op w;

	wait_init(&w, t->f.loop);
	catalog_load(c, &w.op);
	wait_ok(&w);
}

static void open_two(struct two *t, const char *through)
{
	struct db_conf conf = {.readers = 2, .arg = t};
	const char *url = pgnode_new_db();

	*t = (struct two){0};
	t->f = (struct fix){.url = url, .loop = loop_new(), .a = arena_new(16u << 20)};
	conf.loop = t->f.loop;
	conf.url = through ? pgproxy_url((struct pgproxy *)(uintptr_t)through, url) : url;
	conf.on_notify = on_notify_a;
	t->f.db = db_new(&conf);
	conf.url = url;
	conf.on_notify = on_notify_b;
	t->db2 = db_new(&conf);
	db_start(t->f.db);
	db_start(t->db2);
	t->a = catalog_new(t->f.db);
	t->b = catalog_new(t->db2);
	load(t, t->a);
	load(t, t->b);
}

static void close_two(struct two *t)
{
	catalog_free(t->a);
	catalog_free(t->b);
	db_free(t->f.db);
	db_free(t->db2);
	arena_free(t->f.a);
	loop_free(t->f.loop);
}

static struct cat_put put_of(const struct cat_put_step *steps, uint32_t n, const char *checksum)
{
	return (struct cat_put){.tenant_no = 1, .name = STR("Order"), .description = STR("takes orders"),
		.checksum = str_c(checksum), .definition = STR("def\0ef"), .default_priority = 2, .steps = steps, .n_steps = n,
		.unsupported = STR("sticky")};
}

static const struct cat_put_step two_steps[] = {
	{.readable_id = STR("one"), .action = STR("order:one"), .retries = 3, .backoff_milli = 2500, .backoff_max_s = 60,
	 .exec_ms = 60000, .schedule_ms = 300000, .slot_names = {STR("default"), STR("gpu")}, .slot_units = {1, 2}},
	{.readable_id = STR("two"), .action = STR("order:two"), .exec_ms = 5, .schedule_ms = 6, .slot_names = {STR("durable")},
	 .slot_units = {1}, .is_durable = true},
};

static struct cat_version *put(struct two *t, struct catalog *c, const struct cat_put *p, bool *is_new)
{
	struct cat_version *v = NULL;
	struct wait_op w;

	wait_init(&w, t->f.loop);
	cat_put_workflow(c, p, &v, is_new, &w.op);
	wait_ok(&w);
	CHECK(v != NULL);
	return v;
}

static bool b_has_version(void *arg)
{
	struct two *t = arg;
	struct cat_workflow *w = cat_workflow_by_name(t->b, 1, STR("Order"));

	return w && w->latest && w->latest->ordinal == 2;
}

TEST(put_workflow)
{
	struct two t;
	struct cat_put p = put_of(two_steps, 2, "sum1");
	struct cat_version *v, *v2;
	struct cat_workflow **all;
	const struct cat_step *s;
	bool is_new;
	int64_t xacts;

	open_two(&t, NULL);
	v = put(&t, t.a, &p, &is_new);
	CHECK(is_new);
	CHECK_EQ(v->ordinal, 1);
	CHECK_EQ(v->n_steps, 2);
	CHECK_EQ(v->default_priority, 2);
	CHECK_STR(v->unsupported, "sticky");
	CHECK_STR(v->workflow->name, "Order");
	CHECK_STR(v->workflow->description, "takes orders");
	CHECK(v->workflow->latest == v);
	s = v->steps[0];
	CHECK_STR(s->readable_id, "one");
	CHECK_STR(s->action->name, "order:one");
	CHECK_EQ(s->retries, 3);
	CHECK_EQ(s->backoff_milli, 2500);
	CHECK_EQ(s->schedule_ms, 300000);
	CHECK_EQ(s->slots[0].type_no, 1);
	CHECK_EQ(s->slots[1].type_no, 3);
	CHECK_EQ(s->slots[1].units, 2);
	CHECK_EQ(s->slots[2].units, 0);
	CHECK_STR(cat_slot_type_name(t.a, 3), "gpu");
	CHECK(v->steps[1]->is_durable && v->steps[1]->slots[0].type_no == 2);
	CHECK(cat_step(t.a, s->step_no) == s && cat_version_by_uuid(t.a, &v->uuid) == v);

	/* the same again: the same object, and no transaction */
	xacts = pgnode_int(t.f.url, "select count(*) from hatchet.workflow_version");
	CHECK(put(&t, t.a, &p, &is_new) == v);
	CHECK(!is_new);
	CHECK_EQ(pgnode_int(t.f.url, "select count(*) from hatchet.workflow_version"), xacts);

	p.checksum = STR("sum2");
	v2 = put(&t, t.a, &p, &is_new);
	CHECK(is_new && v2 != v && v2->ordinal == 2 && v2->workflow == v->workflow && v2->workflow->latest == v2);
	CHECK_EQ(pgnode_int(t.f.url, "select count(*) from hatchet.action"), 2);
	/* the other process hears of it */
	CHECK(wait_until(t.f.loop, b_has_version, &t, 3000));
	CHECK_EQ(cat_workflow_by_name(t.b, 1, STR("Order"))->latest->n_steps, 2);
	CHECK_EQ(cat_workflows(t.b, 1, t.f.a, &all), 1);
	CHECK(!cat_workflow_by_name(t.a, 1, STR("order")));
	CHECK(!cat_workflow_by_name(t.a, 2, STR("Order")));
	close_two(&t);
}

TEST(equal_puts_at_once)
{
	struct two t;
	struct cat_put p = put_of(two_steps, 2, "sum1");
	struct cat_version *v[4] = {NULL};
	struct wait_op w[4];
	bool is_new[4];

	open_two(&t, NULL);
	for (int i = 0; i < 4; i++) {
		wait_init(&w[i], t.f.loop);
		cat_put_workflow(i % 2 ? t.b : t.a, &p, &v[i], &is_new[i], &w[i].op);
	}
	for (int i = 0; i < 4; i++)
		wait_ok(&w[i]);
	CHECK_EQ(is_new[0] + is_new[1] + is_new[2] + is_new[3], 1);
	CHECK(v[0] == v[2] && v[1] == v[3] && v[0]->version_no == v[1]->version_no);
	CHECK_EQ(pgnode_int(t.f.url, "select count(*) from hatchet.workflow_version"), 1);
	CHECK_EQ(pgnode_int(t.f.url, "select count(*) from hatchet.step"), 2);
	close_two(&t);
}

static bool b_has_none(void *arg)
{
	return !cat_workflow_by_name(((struct two *)arg)->b, 1, STR("Order"));
}

TEST(delete_and_make_again)
{
	struct two t;
	struct cat_put p = put_of(two_steps, 1, "sum1");
	struct cat_version *v, *v2;
	struct wait_op w;
	bool is_new;

	open_two(&t, NULL);
	v = put(&t, t.a, &p, &is_new);
	wait_init(&w, t.f.loop);
	cat_delete_workflow(t.a, v->workflow, &w.op);
	wait_ok(&w);
	CHECK(v->workflow->deleted);
	CHECK(!cat_workflow_by_name(t.a, 1, STR("Order")));
	CHECK(cat_workflow_by_uuid(t.a, &v->workflow->uuid) == v->workflow);
	CHECK(wait_until(t.f.loop, b_has_none, &t, 3000));
	v2 = put(&t, t.a, &p, &is_new);
	CHECK(is_new && v2->workflow != v->workflow);
	CHECK(cat_workflow_by_name(t.a, 1, STR("Order")) == v2->workflow);
	close_two(&t);
}

static struct cat_worker *reg(struct two *t)
{
	static const struct str actions[] = {STR("order:one"), STR("a'b"), STR("order:one")};
	static const struct cat_label labels[] = {{.key = STR("zone"), .str_value = STR("\"x\"")}, {.key = STR("mem"), .int_value = 64, .is_int = true}};
	struct cat_worker_new n = {.tenant_no = 1, .name = STR("w1"), .actions = actions, .n_actions = 3, .labels = labels, .n_labels = 2,
		.slot_names = {STR("default")}, .slot_units = {100}, .sdk_version = STR("1.2"), .os = STR("linux"), .language = 2};
	struct cat_worker *r = NULL;
	struct wait_op w;

	wait_init(&w, t->f.loop);
	cat_register_worker(t->a, &n, &r, &w.op);
	wait_ok(&w);
	CHECK(r != NULL);
	return r;
}

static bool b_sees_pause(void *arg)
{
	struct cat_worker *w = cat_worker(((struct two *)arg)->b, 1);

	return w && w->paused && w->n_labels == 3;
}

TEST(workers)
{
	struct two t;
	struct cat_worker *r, **all;
	struct wait_op w[3];
	struct cat_label more[] = {{.key = STR("mem"), .str_value = STR("big")}, {.key = STR("new"), .int_value = -1, .is_int = true}};

	open_two(&t, NULL);
	r = reg(&t);
	CHECK_EQ(r->n_actions, 3);
	CHECK(r->actions[0] == r->actions[2]);
	CHECK_STR(r->actions[1]->name, "a'b");
	CHECK_EQ(r->slots[0].units, 100);
	CHECK_EQ(r->slots[0].type_no, 1);
	CHECK_EQ(r->n_labels, 2);
	CHECK_STR(r->labels[0].key, "mem");
	CHECK(r->labels[0].is_int && r->labels[0].int_value == 64);
	CHECK_STR(r->labels[1].str_value, "\"x\"");
	CHECK_STR(r->sdk_version, "1.2");
	CHECK_EQ(r->language, 2);
	CHECK_EQ(r->session_at, INT64_MIN);
	CHECK_EQ(r->ended_at, INT64_MIN);
	CHECK(cat_worker_by_uuid(t.a, &r->uuid) == r);

	wait_init(&w[0], t.f.loop);
	cat_worker_labels(t.a, r, more, 2, &w[0].op);
	wait_init(&w[1], t.f.loop);
	cat_worker_paused(t.a, r, true, &w[1].op);
	wait_ok(&w[0]);
	wait_ok(&w[1]);
	CHECK_EQ(r->n_labels, 3);
	CHECK(!r->labels[0].is_int);
	CHECK_STR(r->labels[0].str_value, "big");
	CHECK_EQ(r->labels[1].int_value, -1);
	CHECK(r->paused);
	CHECK(wait_until(t.f.loop, b_sees_pause, &t, 3000));

	/* three in one turn are one statement; unset times stay */
	for (int i = 0; i < 3; i++)
		wait_init(&w[i], t.f.loop);
	cat_worker_times(t.a, r, 1000000, INT64_MIN, INT64_MIN, &w[0].op);
	cat_worker_times(t.a, r, 2000000, 3000000, INT64_MIN, &w[1].op);
	cat_worker_times(t.a, r, INT64_MIN, 4000000, INT64_MIN, &w[2].op);
	CHECK_EQ(r->session_at, INT64_MIN);
	for (int i = 0; i < 3; i++)
		wait_ok(&w[i]);
	CHECK_EQ(r->session_at, 2000000);
	CHECK_EQ(r->last_seen_at, 4000000);
	CHECK_EQ(r->ended_at, INT64_MIN);
	CHECK_EQ(pgnode_int(t.f.url, "select extract(epoch from last_seen_at)::int8 from hatchet.worker where ended_at is null"), 4);
	reg(&t);
	CHECK_EQ(cat_workers(t.a, 1, t.f.a, &all), 2);
	CHECK(all[1] == r);
	CHECK_EQ(cat_workers(t.a, 2, t.f.a, &all), 0);
	close_two(&t);
}

/* The reply of a registration is lost: it is sent again and makes no second worker. */
TEST(lost_reply_makes_no_second_worker)
{
	struct two t;
	struct pgproxy *p = pgproxy_new();

	open_two(&t, (const char *)p);
	for (int i = 0; i < 3; i++) {
		pgproxy_lose_reply(p);
		reg(&t);
	}
	CHECK_EQ(pgproxy_losses(p), 3);
	CHECK_EQ(pgnode_int(t.f.url, "select count(*) from hatchet.worker"), 3);
	close_two(&t);
}

static bool is_revoked(void *arg)
{
	struct two *t = arg;
	struct cat_token *k = cat_token_cached(t->a, &t->token);

	return k && k->revoked_at != INT64_MIN;
}

static bool is_valid(void *arg)
{
	return !is_revoked(arg);
}

TEST(token_revoked_within_a_second)
{
	struct two t;
	struct db_sync *c;
	struct cat_token *k = NULL;
	struct wait_op w;
	struct err err;
	int64_t at;

	open_two(&t, NULL);
	c = db_sync_open(t.f.url, &err);
	CHECK(uuid_parse(STR("11111111-2222-4333-8444-555555555555"), &t.token));
	wait_init(&w, t.f.loop);
	cat_token_find(t.a, &t.token, &k, &w.op);
	wait_ok(&w);
	CHECK(!k);
	CHECK(boot_token_insert(c, &t.token, &cat_tenant(t.a, 1)->uuid, "n", 1900000000000000, &err));
	wait_init(&w, t.f.loop);
	cat_token_find(t.a, &t.token, &k, &w.op);
	wait_ok(&w);
	CHECK(k && k->tenant == cat_tenant(t.a, 1) && k->revoked_at == INT64_MIN && k->expires_at == 1900000000000000);
	at = loop_mono_us();
	CHECK(boot_token_revoke(c, &t.token, &err));
	CHECK(wait_until(t.f.loop, is_revoked, &t, 1000));
	CHECK(loop_mono_us() - at < 1000000);
	CHECK(k == cat_token_cached(t.a, &t.token));

	/* an announcement missed while the listener was away is made up for */
	pgnode_exec(t.f.url, "update hatchet.api_token set revoked_at = null");
	pgnode_exec(t.f.url, "select pg_terminate_backend(pid) from pg_stat_activity where query ~ '^listen' and pid <> pg_backend_pid()");
	CHECK(wait_until(t.f.loop, is_valid, &t, 3000));
	pgnode_exec(t.f.url, "update hatchet.api_token set revoked_at = now()");
	pgnode_exec(t.f.url, "select pg_terminate_backend(pid) from pg_stat_activity where query ~ '^listen' and pid <> pg_backend_pid()");
	CHECK(wait_until(t.f.loop, is_revoked, &t, 3000));
	db_sync_close(c);
	close_two(&t);
}

TEST(everything_survives_a_restart)
{
	struct two t;
	struct cat_put p = put_of(two_steps, 2, "sum1");
	struct catalog *c;
	struct cat_worker *w;
	struct cat_version *v;

	open_two(&t, NULL);
	v = put(&t, t.a, &p, NULL);
	reg(&t);
	c = catalog_new(t.f.db);
	load(&t, c);
	CHECK(memcmp(catalog_id_secret(c), catalog_id_secret(t.a), sizeof(struct id_secret)) == 0);
	CHECK_STR(catalog_signing_key(c), "signing key of the tests");
	w = cat_worker(c, 1);
	CHECK(w && w->n_actions == 3 && w->n_labels == 2);
	CHECK(cat_version(c, v->version_no)->n_steps == 2);
	CHECK_STR(cat_version(c, v->version_no)->checksum, "sum1");
	CHECK_EQ(cat_tenant(c, 1)->retention_hours, 720);
	CHECK_STR(cat_tenant(c, 1)->slug, "default");
	catalog_free(c);
	close_two(&t);
}
