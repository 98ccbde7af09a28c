/* gRPC framing: however the bytes are cut, the same messages come out, none above the limit; timeouts and texts. */
#include "../../src/net/net_int.h"
#include "base/text.h"
#include "fuzz.h"

enum { LIMIT = 4096 };

/* Sum over the messages, and how it ended. */
static uint64_t feed(const uint8_t *data, size_t n, size_t piece, bool gzip, enum grpc_got *ret_end)
{
	struct grpc_in g;
	uint64_t sum = 1469598103934665603u;

	grpc_in_init(&g, LIMIT);
	g.gzip = gzip;
	*ret_end = GRPC_MORE;
	for (size_t off = 0; off < n && *ret_end != GRPC_BAD; off += piece) {
		struct str in = {(const char *)data + off, MIN(piece, n - off)};

		do {
			struct arena *a = arena_new(1 << 20);
			struct str msg;
			struct err err;

			*ret_end = grpc_in_next(&g, a, in, &msg, &err);
			in = STR("");
			if (*ret_end == GRPC_MSG) {
				FUZZ_MUST(msg.n <= LIMIT);
				for (size_t i = 0; i < msg.n; i++)
					sum = (sum ^ (uint8_t)msg.p[i]) * 1099511628211u;
				sum = (sum ^ 256) * 1099511628211u;
			}
			arena_free(a);
		} while (*ret_end == GRPC_MSG);
	}
	grpc_in_fini(&g);
	return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct arena *a = arena_new(1 << 20);
	enum grpc_got whole, bits;
	struct str in, text;
	int64_t us;

	if (n < 2 || n > 16384) {
		arena_free(a);
		return 0;
	}
	uint64_t one = feed(data + 2, n - 2, n, data[0] & 1, &whole);
	uint64_t two = feed(data + 2, n - 2, 1 + data[1], data[0] & 1, &bits);
	FUZZ_MUST(one == two && whole == bits);
	in = (struct str){(const char *)data + 2, n - 2};
	if (grpc_timeout_parse(in, &us))
		FUZZ_MUST(us > 0);
	text = grpc_message_encode(a, in);
	for (size_t i = 0; i < text.n; i++)
		FUZZ_MUST(text.p[i] >= 0x20 && text.p[i] < 0x7f);
	arena_free(a);
	return 0;
}
