/* Protobuf: what is on the wire, presence, hostile input, and that no message can recurse. */
#include "base/rand.h"
#include "pb/pb.h"
#include "pb/dispatcher.pb-c.h"
#include "pb/events.pb-c.h"
#include "pb/status.pb-c.h"
#include "pb/trace.pb-c.h"
#include "pb/v1.pb-c.h"
#include "pb/workflows.pb-c.h"
#include "tap.h"

TEST(bytes_on_the_wire)
{
	struct arena *a = arena_new(1 << 20);
	Hw__StepRunResult r = HW__STEP_RUN_RESULT__INIT;
	r.task_name = pb_set(STR("t"));
	PB_OPT(&r, error, HW__STEP_RUN_RESULT__HAS_ERROR_ERROR, pb_set(STR("")));
	/* absent fields take nothing, a present empty text takes two bytes */
	CHECK(str_eq(pb_pack(a, PB_MSG(&r)), STR("\x12\x01t\x22\x00")));
	Hw__AssignedAction act = HW__ASSIGNED_ACTION__INIT;
	act.task_inserted_at = pb_set_time(a, 1500000);
	PB_OPT(&act, child_workflow_index, HW__ASSIGNED_ACTION__HAS_CHILD_WORKFLOW_INDEX_CHILD_WORKFLOW_INDEX, 0);
	struct buf *b = pb_pack_buf(PB_MSG(&act));
	CHECK(str_eq(buf_str(b), STR("\x78\x00\xea\x01\x08\x08\x01\x10\x80\xca\xb5\xee\x01")));
	buf_unref(b);
	Hw__HeartbeatResponse empty = HW__HEARTBEAT_RESPONSE__INIT;
	CHECK_EQ(pb_pack(a, PB_MSG(&empty)).n, 0);
	arena_free(a);
}

TEST(reads_back)
{
	struct arena *a = arena_new(1 << 20);
	struct err e;
	/* worker_name "w", actions "a:b" and "a:c", slots 0 (present), slot_config {default: 3} */
	struct str in = STR("\x0a\x01w\x12\x03""a:b\x12\x03""a:c\x20\x00\x4a\x0b\x0a\x07""default\x10\x03");
	Hw__WorkerRegisterRequest *m = pb_unpack(a, &hw__worker_register_request__descriptor, in, &e);
	struct str s;

	CHECK(m);
	CHECK(pb_str(m->worker_name, "worker_name", &s, &e));
	CHECK_STR(s, "w");
	CHECK_EQ(m->n_actions, 2);
	CHECK_STR(pb_raw(m->actions[1]), "a:c");
	CHECK(PB_HAS(m, slots) && m->slots == 0);
	CHECK(!PB_HAS(m, webhook_id));
	CHECK_EQ(m->n_slot_config, 1);
	CHECK_STR(pb_raw(m->slot_config[0]->key), "default");
	CHECK_EQ(m->slot_config[0]->value, 3);
	CHECK(pb_unpack(a, &hw__get_version_request__descriptor, STR_NULL, &e));
	arena_free(a);
}

TEST(refuses_bad_text)
{
	struct err e;
	struct str s;
	struct uuid u;
	CHECK(!pb_str(pb_set(STR("a\0b")), "worker_name", &s, &e));
	CHECK(str_starts(str_c(e.msg), STR("worker_name: ")));
	CHECK(!pb_str(pb_set(STR("\xc3")), "key", &s, &e));
	CHECK(pb_uuid(pb_set(STR("0123abcd-4567-89ef-0011-223344556677")), "id", &u, &e));
	CHECK(!pb_uuid(pb_set(STR("nope")), "id", &u, &e));
	CHECK_STR(e.msg, "id: must be a UUID of 36 characters");
}

TEST(times)
{
	struct arena *a = arena_new(4096);
	Hw__Timestamp t = HW__TIMESTAMP__INIT;
	int64_t us;

	CHECK(!pb_time(NULL, &us));
	t.seconds = 3;
	t.nanos = 1999;
	CHECK(pb_time(&t, &us) && us == 3000001);
	t.nanos = 1000000000;
	CHECK(!pb_time(&t, &us));
	t.nanos = -1;
	CHECK(!pb_time(&t, &us));
	t = (Hw__Timestamp)HW__TIMESTAMP__INIT;
	t.seconds = INT64_MAX;
	CHECK(!pb_time(&t, &us));
	CHECK(pb_time(pb_set_time(a, -1), &us) && us == -1);
	arena_free(a);
}

TEST(hostile_messages)
{
	struct arena *a = arena_new(256 << 20);
	struct err e = {0};
	static char big[1 << 20];

	CHECK(!pb_unpack(a, &hw__worker_register_request__descriptor, STR("\x0a\x7fw"), &e));	/* longer than it is */
	CHECK_EQ(e.code, ERR_INVALID);
	CHECK(!pb_unpack(a, &hw__worker_register_request__descriptor, STR("\x0b\x0c"), &e));	/* a group */
	CHECK(!pb_unpack(a, &hw__worker_register_request__descriptor, STR("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), &e));
	/* half a million empty tasks: 2 bytes each on the wire, hundreds in memory */
	for (size_t i = 0; i < sizeof(big); i += 2)
		memcpy(big + i, "\x32\x00", 2);
	CHECK(!pb_unpack(a, &v1__create_workflow_version_request__descriptor, (struct str){big, sizeof(big)}, &e));
	CHECK_EQ(e.code, ERR_EXHAUSTED);
	arena_free(a);
	/* a small arena is a limit, not a crash */
	a = arena_new(1000);
	CHECK(!pb_unpack(a, &v1__create_workflow_version_request__descriptor, (struct str){big, 2000}, &e));
	CHECK_EQ(e.code, ERR_EXHAUSTED);
	arena_free(a);
}

TEST(random_bytes_never_crash)
{
	static const ProtobufCMessageDescriptor *const types[] = {
		&v1__create_workflow_version_request__descriptor, &v1__durable_task_request__descriptor,
		&hw__bulk_trigger_workflow_request__descriptor, &hw__put_workflow_request__descriptor,
		&otlp__export_trace_service_request__descriptor, &rpc__status__descriptor,
	};
	struct arena *a = arena_new(1 << 20);
	struct rand64 r;
	char in[64];

	rand_seed(&r, 11);
	for (int i = 0; i < 50000; i++) {
		size_t n = rand_range(&r, sizeof(in));
		for (size_t k = 0; k < n; k++)
			in[k] = rand_chance(&r, 500) ? (char)(uint8_t)rand_range(&r, 24) : (char)(uint8_t)rand_u64(&r);
		ProtobufCMessage *m = pb_unpack(a, types[i % (int)ARRAY_LEN(types)], (struct str){in, n}, NULL);
		if (m)
			pb_pack(a, m);
		arena_reset(a);
	}
	arena_free(a);
}

/* depth-first over message-typed fields; a type met again on its own path would make unpacking recurse without end */
static void walk(const ProtobufCMessageDescriptor *d, const ProtobufCMessageDescriptor **path, size_t depth)
{
	CHECK(depth < 16);
	for (size_t i = 0; i < depth; i++)
		CHECK(path[i] != d);
	path[depth] = d;
	for (unsigned i = 0; i < d->n_fields; i++) {
		CHECK(d->fields[i].type != PROTOBUF_C_TYPE_STRING);	/* would be cut at a NUL */
		if (d->fields[i].type == PROTOBUF_C_TYPE_MESSAGE)
			walk(d->fields[i].descriptor, path, depth + 1);
	}
}

TEST(no_message_recurses)
{
	static const ProtobufCMessageDescriptor *const roots[] = {
		&hw__worker_register_request__descriptor, &hw__assigned_action__descriptor, &hw__batch_action_event__descriptor,
		&hw__workflow_run_event__descriptor, &hw__workflow_event__descriptor, &hw__upsert_worker_labels_request__descriptor,
		&hw__bulk_push_event_request__descriptor, &hw__events__descriptor, &hw__put_workflow_request__descriptor,
		&hw__bulk_trigger_workflow_request__descriptor, &hw__workflow_version__descriptor, &hw__step_action_event__descriptor,
		&v1__create_workflow_version_request__descriptor, &v1__durable_task_request__descriptor,
		&v1__durable_task_response__descriptor, &v1__get_run_details_response__descriptor, &v1__cancel_tasks_request__descriptor,
		&v1__trigger_workflow_run_request__descriptor, &v1__register_durable_event_request__descriptor,
		&v1__bulk_trigger_idempotency_collision_error__descriptor, &rpc__status__descriptor,
		&otlp__export_trace_service_request__descriptor, &otlp__export_trace_service_response__descriptor,
	};
	const ProtobufCMessageDescriptor *path[16];
	for (size_t i = 0; i < ARRAY_LEN(roots); i++)
		walk(roots[i], path, 0);
}
