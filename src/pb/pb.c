/* Packing and unpacking of protobuf messages with arena memory.
 * Invariant: unpacking a hostile message fails before it takes more than pb_unpack_limit() or the arena's rest;
 * no message type refers to itself (a unit test walks them all), so the library's recursion is bounded.
 * Does not know any message but the time stamp. */
#include "pb/pb.h"

#include "base/text.h"

struct budget {
	struct arena *a;
	size_t left;
	bool spent;
};

static void *budget_alloc(void *arg, size_t bytes)
{
	struct budget *b = arg;
	/* what alignment and the arena's own notes may add */
	size_t cost = bytes + 16;

	if (cost > b->left || cost + 64 > arena_left(b->a)) {
		b->spent = true;
		return NULL;
	}
	b->left -= cost;
	return arena_alloc(b->a, bytes);
}

static void budget_free(void *arg, void *p)
{
	(void)arg;
	(void)p;	/* goes with the arena */
}

void *pb_unpack(struct arena *a, const ProtobufCMessageDescriptor *type, struct str in, struct err *err)
{
	struct budget b = {.a = a, .left = pb_unpack_limit(in.n)};
	ProtobufCAllocator alloc = {.alloc = budget_alloc, .free = budget_free, .allocator_data = &b};
	ProtobufCMessage *m = protobuf_c_message_unpack(type, &alloc, in.n, (const uint8_t *)(in.p ? in.p : ""));

	if (m)
		return m;
	if (b.spent)
		err_set(err, ERR_EXHAUSTED, "%s: the message has too many parts", type->short_name);
	else
		err_set(err, ERR_INVALID, "%s: malformed protobuf message", type->short_name);
	return NULL;
}

struct str pb_pack(struct arena *a, const ProtobufCMessage *msg)
{
	size_t n = protobuf_c_message_get_packed_size(msg);
	char *p = arena_alloc(a, n + 1);

	protobuf_c_message_pack(msg, (uint8_t *)p);
	p[n] = '\0';
	return (struct str){p, n};
}

struct buf *pb_pack_buf(const ProtobufCMessage *msg)
{
	size_t n = protobuf_c_message_get_packed_size(msg);

	assert(n <= UINT32_MAX);
	struct buf *b = buf_new((uint32_t)n);
	protobuf_c_message_pack(msg, (uint8_t *)b->p);
	return b;
}

bool pb_str(ProtobufCBinaryData in, const char *field, struct str *ret, struct err *err)
{
	struct str s = pb_raw(in);

	if (!text_check(s, field, err))
		return false;
	*ret = s;
	return true;
}

bool pb_uuid(ProtobufCBinaryData in, const char *field, struct uuid *ret, struct err *err)
{
	if (uuid_parse(pb_raw(in), ret))
		return true;
	return err_set(err, ERR_INVALID, "%s: must be a UUID of 36 characters", field);
}

ProtobufCBinaryData pb_set_uuid(struct arena *a, const struct uuid *u)
{
	char *p = arena_alloc(a, UUID_TEXT + 1);

	uuid_format(u, p);
	return pb_set((struct str){p, UUID_TEXT});
}

#define SEC_MIN (-62135596800LL)	/* 0001-01-01 */
#define SEC_MAX 253402300799LL		/* 9999-12-31 */

bool pb_time(const Hw__Timestamp *t, int64_t *ret_wall_us)
{
	if (!t || t->seconds < SEC_MIN || t->seconds > SEC_MAX || t->nanos < 0 || t->nanos > 999999999)
		return false;
	*ret_wall_us = t->seconds * 1000000 + t->nanos / 1000;
	return true;
}

Hw__Timestamp *pb_set_time(struct arena *a, int64_t wall_us)
{
	Hw__Timestamp *t = arena_alloc(a, sizeof(*t));
	int64_t sec = wall_us / 1000000, rest = wall_us % 1000000;

	hw__timestamp__init(t);
	if (rest < 0) {
		rest += 1000000;
		sec--;
	}
	t->seconds = sec;
	t->nanos = (int32_t)(rest * 1000);
	return t;
}
