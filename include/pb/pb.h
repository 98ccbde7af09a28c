/* Protobuf messages without ownership: unpacking allocates in an arena, so nothing is ever freed one by one.
 *
 * Generated messages are in "pb/dispatcher.pb-c.h", "pb/events.pb-c.h", "pb/workflows.pb-c.h", "pb/v1.pb-c.h",
 * "pb/trace.pb-c.h", "pb/status.pb-c.h" (prefixes Hw__ hw__, V1__ v1__, Otlp__, Rpc__).  Every text is bytes. */
#ifndef PB_PB_H
#define PB_PB_H
#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/uuid.h"
#include "pb/time.pb-c.h"

/* Memory one message may take when unpacked; small fields cost many times their size on the wire. */
static inline size_t pb_unpack_limit(size_t wire_bytes)
{
	return 65536 + 32 * wire_bytes;
}

/* NULL: ERR_INVALID, or ERR_EXHAUSTED when it needs more than pb_unpack_limit() or than @a has left.
 * The result borrows nothing from @in; it lives as long as @a. */
void *pb_unpack(struct arena *a, const ProtobufCMessageDescriptor *type, struct str in, struct err *err) MUST_USE;

struct str pb_pack(struct arena *a, const ProtobufCMessage *msg);
struct buf *pb_pack_buf(const ProtobufCMessage *msg) MUST_USE;
#define PB_MSG(m) (&(m)->base)		/* the generic head of a generated message */

/* Text of a client: checked for UTF-8 and NUL, @field names it in the error. */
bool pb_str(ProtobufCBinaryData in, const char *field, struct str *ret, struct err *err) MUST_USE;
/* A UUID as text; empty or wrong text is ERR_INVALID. */
bool pb_uuid(ProtobufCBinaryData in, const char *field, struct uuid *ret, struct err *err) MUST_USE;
static inline struct str pb_raw(ProtobufCBinaryData in)	/* unchecked bytes */
{
	return (struct str){(const char *)in.data, in.len};
}

/* Values for messages we send: borrowed, so they must outlive the packing. */
static inline ProtobufCBinaryData pb_set(struct str s)
{
	return (ProtobufCBinaryData){.len = s.n, .data = (uint8_t *)(uintptr_t)s.p};
}
ProtobufCBinaryData pb_set_uuid(struct arena *a, const struct uuid *u);

/* Presence: a field x of `oneof has_x`.  PB_OPT(&m, error, HW__STEP_RUN_RESULT__HAS_ERROR_ERROR, pb_set(text)) */
#define PB_HAS(m, field) ((m)->has_##field##_case != 0)
#define PB_OPT(m, field, case_value, v) ((m)->has_##field##_case = (case_value), (m)->field = (v))

/* Time stamps.  Absent (NULL) or outside the years 1..9999: false. */
bool pb_time(const Hw__Timestamp *t, int64_t *ret_wall_us) MUST_USE;
Hw__Timestamp *pb_set_time(struct arena *a, int64_t wall_us);
#endif
