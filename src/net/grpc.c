/* gRPC's framing, without any I/O: length-prefixed messages, gzip by message, timeouts, percent-encoded texts. */
#include "net_int.h"

#include <zlib.h>

enum { PREFIX = 5 };

void grpc_in_init(struct grpc_in *g, uint32_t msg_max)
{
	g->msg_max = msg_max;
	g->gzip = false;
	g->off = 0;
	strb_init(&g->buf, (size_t)msg_max + PREFIX + 65536 * 4);
}

void grpc_in_fini(struct grpc_in *g)
{
	strb_fini(&g->buf);
}

static bool inflate_to(struct arena *a, struct str in, uint32_t max, struct str *ret, struct err *err)
{
	z_stream z = {0};
	struct strb out;
	int rc = Z_OK;

	if (inflateInit2(&z, 15 + 32) != Z_OK)	/* gzip or zlib */
		return err_set(err, ERR_INTERNAL, "cannot decompress");
	strb_init(&out, (size_t)max + 1);
	z.next_in = (Bytef *)(uintptr_t)in.p;
	z.avail_in = (uInt)in.n;
	while (rc == Z_OK) {
		size_t room = MIN(MAX(out.n, (size_t)4096), (size_t)max + 1 - out.n);
		size_t before = out.n;
		char *p = room ? strb_grow(&out, room) : NULL;

		if (!p)
			break;
		z.next_out = (Bytef *)p;
		z.avail_out = (uInt)room;
		rc = inflate(&z, Z_NO_FLUSH);
		out.n = before + room - z.avail_out;
		if (rc == Z_BUF_ERROR || (rc == Z_OK && z.avail_in == 0 && z.avail_out > 0))
			break;
	}
	(void)inflateEnd(&z);
	if (out.n > max) {
		strb_fini(&out);
		return err_set(err, ERR_EXHAUSTED, "decompressed message is larger than the limit of %u bytes", max);
	}
	if (rc != Z_STREAM_END) {
		strb_fini(&out);
		return err_set(err, ERR_INTERNAL, "message is not valid gzip");
	}
	*ret = arena_dup(a, strb_str(&out));
	strb_fini(&out);
	return true;
}

static uint32_t be32(const char *p)
{
	const unsigned char *u = (const unsigned char *)p;

	return (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3];
}

enum grpc_got grpc_in_next(struct grpc_in *g, struct arena *a, struct str in, struct str *ret, struct err *err)
{
	struct str got;
	uint32_t n = 0;

	if (in.n && g->off) {
		g->buf.n -= g->off;
		memmove(g->buf.p, g->buf.p + g->off, g->buf.n);
		g->off = 0;
	}
	if (in.n)
		strb_puts(&g->buf, in);
	got = (struct str){g->buf.p ? g->buf.p + g->off : "", grpc_in_left(g)};
	if (got.n >= PREFIX) {
		n = be32(got.p + 1);
		if (n > g->msg_max) {
			(void)err_set(err, ERR_EXHAUSTED, "message of %u bytes is larger than the limit of %u bytes", n, g->msg_max);
			return GRPC_BAD;
		}
		if ((unsigned char)got.p[0] > 1) {
			(void)err_set(err, ERR_INTERNAL, "bad compression flag %u", (unsigned char)got.p[0]);
			return GRPC_BAD;
		}
	}
	if (g->buf.overflow) {
		(void)err_set(err, ERR_EXHAUSTED, "more messages at once than fit the limit of %u bytes", g->msg_max);
		return GRPC_BAD;
	}
	if (got.n < PREFIX || got.n - PREFIX < n)
		return GRPC_MORE;
	got = (struct str){got.p + PREFIX, n};
	if (got.p[-PREFIX] == 1) {
		if (!g->gzip) {
			(void)err_set(err, ERR_INTERNAL, "compressed message without grpc-encoding");
			return GRPC_BAD;
		}
		if (!inflate_to(a, got, g->msg_max, ret, err))
			return GRPC_BAD;
	} else {
		*ret = arena_dup(a, got);
	}
	g->off += PREFIX + n;
	return GRPC_MSG;
}

bool grpc_timeout_parse(struct str s, int64_t *ret_us)
{
	static const struct {
		char unit;
		int64_t num, den;
	} units[] = {{'H', 3600000000LL, 1}, {'M', 60000000, 1}, {'S', 1000000, 1}, {'m', 1000, 1}, {'u', 1, 1}, {'n', 1, 1000}};
	int64_t v;

	if (s.n < 2 || s.n > 9 || s.p[0] == '-' || !str_to_i64((struct str){s.p, s.n - 1}, &v))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(units); i++)
		if (s.p[s.n - 1] == units[i].unit) {
			*ret_us = MAX(1, v * units[i].num / units[i].den);
			return true;
		}
	return false;
}

struct str grpc_message_encode(struct arena *a, struct str msg)
{
	static const char hex[] = "0123456789ABCDEF";
	char *out = arena_alloc(a, msg.n * 3 + 1);
	size_t n = 0;

	for (size_t i = 0; i < msg.n; i++) {
		unsigned char c = (unsigned char)msg.p[i];

		if (c >= 0x20 && c <= 0x7e && c != '%') {
			out[n++] = (char)c;
		} else {
			out[n++] = '%';
			out[n++] = hex[c >> 4];
			out[n++] = hex[c & 15];
		}
	}
	return (struct str){out, n};
}
