/* Protobuf: any bytes unpack or fail within the memory budget, and packing is stable. */
#include "fuzz.h"
#include "pb/dispatcher.pb-c.h"
#include "pb/events.pb-c.h"
#include "pb/pb.h"
#include "pb/status.pb-c.h"
#include "pb/trace.pb-c.h"
#include "pb/v1.pb-c.h"
#include "pb/workflows.pb-c.h"

/* the first byte of an input chooses; append only, or the corpus loses its meaning */
static const ProtobufCMessageDescriptor *const types[] = {
	&v1__create_workflow_version_request__descriptor,
	&v1__durable_task_request__descriptor,
	&v1__register_durable_event_request__descriptor,
	&hw__bulk_trigger_workflow_request__descriptor,
	&hw__put_workflow_request__descriptor,
	&hw__worker_register_request__descriptor,
	&hw__batch_action_event__descriptor,
	&hw__bulk_push_event_request__descriptor,
	&hw__schedule_workflow_request__descriptor,
	&otlp__export_trace_service_request__descriptor,
	&rpc__status__descriptor,
	&v1__get_run_details_response__descriptor,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	if (!n)
		return 0;
	const ProtobufCMessageDescriptor *type = types[data[0] % ARRAY_LEN(types)];
	struct str in = {(const char *)data + 1, n - 1};
	struct arena *a = arena_new(256 << 20);
	struct err e = {0};
	ProtobufCMessage *m = pb_unpack(a, type, in, &e);

	FUZZ_MUST(arena_used(a) <= pb_unpack_limit(in.n) * 2);
	FUZZ_MUST(m || e.code == ERR_INVALID || e.code == ERR_EXHAUSTED);
	if (m) {
		struct str out = pb_pack(a, m);

		/* may fail: the library keeps an unknown field 0 in one spelling and refuses it in the other */
		ProtobufCMessage *again = pb_unpack(a, type, out, &e);
		FUZZ_MUST(!again || protobuf_c_message_get_packed_size(again) == out.n);
		struct buf *b = pb_pack_buf(m);
		FUZZ_MUST(str_eq(buf_str(b), out));
		buf_unref(b);
	}
	arena_free(a);
	return 0;
}
