/* gRPC's framing, timeouts and texts, and routes: without a connection. */
#include "../../src/net/net_int.h"
#include "tap.h"

#include <stdlib.h>
#include <zlib.h>

enum { LIMIT = 1000 };

static void frame(struct strb *b, int flag, struct str msg)
{
	strb_putc(b, (char)flag);
	strb_be32(b, (uint32_t)msg.n);
	strb_puts(b, msg);
}

/* Feeds in pieces; what comes out, each message with a bar behind it, and how it ends. */
static enum grpc_got feed(struct str in, size_t piece, bool gzip, struct strb *out, struct err *err)
{
	struct grpc_in g;
	enum grpc_got got = GRPC_MORE;

	grpc_in_init(&g, LIMIT);
	g.gzip = gzip;
	strb_init(out, 1 << 20);
	while (in.n && got != GRPC_BAD) {
		struct str part = {in.p, MIN(piece, in.n)};

		in.p += part.n;
		in.n -= part.n;
		do {
			struct arena *a = arena_new(1 << 20);
			struct str msg;

			got = grpc_in_next(&g, a, part, &msg, err);
			part = STR("");
			if (got == GRPC_MSG) {
				strb_puts(out, msg);
				strb_putc(out, '|');
			}
			arena_free(a);
		} while (got == GRPC_MSG);
	}
	grpc_in_fini(&g);
	return got;
}

TEST(frames_cut_anywhere)
{
	struct strb in, out;
	struct err err;

	strb_init(&in, 1 << 16);
	frame(&in, 0, STR("one"));
	frame(&in, 0, STR(""));
	frame(&in, 0, STR("three"));
	for (size_t piece = 1; piece <= in.n; piece++) {
		CHECK_EQ(feed(strb_str(&in), piece, false, &out, &err), GRPC_MORE);
		CHECK_STR(strb_str(&out), "one||three|");
		strb_fini(&out);
	}
	/* the last one is not whole */
	CHECK_EQ(feed((struct str){in.p, in.n - 1}, 4, false, &out, &err), GRPC_MORE);
	CHECK_STR(strb_str(&out), "one||");
	strb_fini(&out);
	strb_fini(&in);
}

TEST(the_limit_is_exact)
{
	static char text[LIMIT + 1];
	struct strb in, out;
	struct err err;

	strb_init(&in, 1 << 16);
	frame(&in, 0, (struct str){text, LIMIT});
	CHECK_EQ(feed(strb_str(&in), 7, false, &out, &err), GRPC_MORE);
	CHECK_EQ(out.n, LIMIT + 1);
	strb_fini(&out);
	strb_reset(&in);
	frame(&in, 0, (struct str){text, LIMIT + 1});
	CHECK_EQ(feed(strb_str(&in), 7, false, &out, &err), GRPC_BAD);
	CHECK_EQ(err.code, ERR_EXHAUSTED);
	CHECK_STR(err.msg, "message of 1001 bytes is larger than the limit of 1000 bytes");
	strb_fini(&out);
	strb_fini(&in);
}

/* 4 GiB are announced: refused by the prefix alone, with nothing set aside for it. */
TEST(a_large_message_is_refused_before_it_is_there)
{
	struct grpc_in g;
	struct arena *a = arena_new(1 << 16);
	struct str msg;
	struct err err;

	grpc_in_init(&g, LIMIT);
	CHECK_EQ(grpc_in_next(&g, a, (struct str){"\0\xff\xff\xff", 4}, &msg, &err), GRPC_MORE);
	CHECK_EQ(grpc_in_next(&g, a, (struct str){"\xff", 1}, &msg, &err), GRPC_BAD);
	CHECK_STR(err.msg, "message of 4294967295 bytes is larger than the limit of 1000 bytes");
	CHECK(g.buf.cap < 4096);
	CHECK_EQ(arena_used(a), 0);
	grpc_in_fini(&g);
	arena_free(a);
}

TEST(bad_flags)
{
	struct strb out;
	struct err err;

	for (int flag = 2; flag < 256; flag++) {
		char in[5] = {(char)flag};

		CHECK_EQ(feed((struct str){in, 5}, 5, true, &out, &err), GRPC_BAD);
		CHECK_EQ(err.code, ERR_INTERNAL);
		strb_fini(&out);
	}
}

static void zip(struct strb *b, const char *text, size_t n, int bits)
{
	z_stream z = {.next_in = (Bytef *)(uintptr_t)text, .avail_in = (uInt)n};

	strb_init(b, 1 << 20);
	CHECK(deflateInit2(&z, 9, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY) == Z_OK);
	z.next_out = (Bytef *)strb_grow(b, 8192);
	z.avail_out = 8192;
	CHECK(deflate(&z, Z_FINISH) == Z_STREAM_END);
	b->n = z.total_out;
	(void)deflateEnd(&z);
}

TEST(packed_messages)
{
	static char zeros[100000];
	struct strb z, in, out;
	struct err err;

	zip(&z, "packed text", 11, 31);
	strb_init(&in, 1 << 16);
	frame(&in, 1, strb_str(&z));
	frame(&in, 0, STR("plain"));
	frame(&in, 1, strb_str(&z));
	for (size_t piece = 1; piece <= in.n; piece += 3) {
		CHECK_EQ(feed(strb_str(&in), piece, true, &out, &err), GRPC_MORE);
		CHECK_STR(strb_str(&out), "packed text|plain|packed text|");
		strb_fini(&out);
	}
	/* the call did not say gzip */
	CHECK_EQ(feed(strb_str(&in), in.n, false, &out, &err), GRPC_BAD);
	CHECK_EQ(err.code, ERR_INTERNAL);
	strb_fini(&out);
	/* cut short, bits turned, nothing at all */
	for (size_t cut = 0; cut < z.n; cut++) {
		strb_reset(&in);
		frame(&in, 1, (struct str){z.p, cut});
		CHECK_EQ(feed(strb_str(&in), in.n, true, &out, &err), GRPC_BAD);
		CHECK_EQ(err.code, ERR_INTERNAL);
		strb_fini(&out);
	}
	z.p[z.n - 6] ^= 1;	/* the checksum */
	strb_reset(&in);
	frame(&in, 1, strb_str(&z));
	CHECK_EQ(feed(strb_str(&in), in.n, true, &out, &err), GRPC_BAD);
	strb_fini(&out);
	strb_fini(&z);
	/* exactly the limit unpacked, one byte more, a bomb */
	for (size_t n = LIMIT; n <= LIMIT + 1; n++) {
		zip(&z, zeros, n, 31);
		strb_reset(&in);
		frame(&in, 1, strb_str(&z));
		CHECK_EQ(feed(strb_str(&in), in.n, true, &out, &err), n == LIMIT ? GRPC_MORE : GRPC_BAD);
		CHECK_EQ(out.n, n == LIMIT ? LIMIT + 1 : 0);
		strb_fini(&out);
		strb_fini(&z);
	}
	CHECK_EQ(err.code, ERR_EXHAUSTED);
	zip(&z, zeros, sizeof(zeros), 31);
	CHECK(z.n < LIMIT);
	strb_reset(&in);
	frame(&in, 1, strb_str(&z));
	CHECK_EQ(feed(strb_str(&in), in.n, true, &out, &err), GRPC_BAD);
	CHECK_EQ(err.code, ERR_EXHAUSTED);
	strb_fini(&out);
	strb_fini(&z);
	strb_fini(&in);
}

/* As much as one frame of HTTP/2 may bring in the smallest messages there are, again and again. */
TEST(many_small_messages)
{
	static char in[5 * 3000];
	struct grpc_in g;
	struct arena *a = arena_new(1 << 16);
	size_t n = 0;

	grpc_in_init(&g, LIMIT);
	for (int i = 0; i < 10; i++) {
		struct str part = {in, sizeof(in)}, msg;
		struct err err;

		while (grpc_in_next(&g, a, part, &msg, &err) == GRPC_MSG) {
			CHECK_EQ(msg.n, 0);
			part = STR("");
			n++;
			arena_reset(a);
		}
	}
	CHECK_EQ(n, 30000);
	CHECK(g.buf.cap < 65536);	/* what was taken is not kept */
	grpc_in_fini(&g);
	arena_free(a);
}

TEST(timeouts)
{
	static const struct {
		const char *text;
		int64_t us;	/* 0: refused */
	} t[] = {{"1H", 3600000000LL}, {"2M", 120000000}, {"3S", 3000000}, {"4m", 4000}, {"5u", 5}, {"6000n", 6}, {"1n", 1}, {"0S", 1},
		{"99999999H", 359999996400000000LL}, {"00000001S", 1000000}, {"999999999S", 0}, {"", 0}, {"S", 0}, {"5", 0}, {"5s", 0},
		{"5x", 0}, {"-5S", 0}, {"+5S", 0}, {" 5S", 0}, {"5 S", 0}, {"5S ", 0}, {"1.5S", 0}, {"0x5S", 0}};

	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		int64_t us = 0;

		if (grpc_timeout_parse(str_c(t[i].text), &us) != (t[i].us != 0) || us != t[i].us)
			tap_fail(__FILE__, __LINE__, "\"%s\": %lld", t[i].text, (long long)us);
	}
}

TEST(texts_of_a_status)
{
	struct arena *a = arena_new(1 << 16);

	CHECK_STR(grpc_message_encode(a, STR("")), "");
	CHECK_STR(grpc_message_encode(a, STR(" plain ~")), " plain ~");
	CHECK_STR(grpc_message_encode(a, STR("100%")), "100%25");
	CHECK_STR(grpc_message_encode(a, STR("a\r\nb\tc\0d")), "a%0D%0Ab%09c%00d");
	CHECK_STR(grpc_message_encode(a, STR("\x7f\x80\xff\xc3\xa9")), "%7F%80%FF%C3%A9");
	arena_free(a);
}

static const struct rpc_method rpcs[] = {{.path = "/p.S/A"}, {.path = "/p.S/AB"}, {0}};
static const struct rest_route rests[] = {{.method = "GET", .pattern = "/"}, {.method = "GET", .pattern = "/a"},
	{.method = "POST", .pattern = "/a"}, {.method = "GET", .pattern = "/t/{tenant}/w/{id}"}, {.method = "GET", .pattern = "/t/{tenant}/w/list"},
	{.method = "DELETE", .pattern = "/t/{tenant}/w/{id}"}, {.method = "GET", .pattern = "/files/{path*}"}, {0}};

/* "pattern name=value ..." of what serves the path, "405" or "404" */
static struct str routed(const struct routes *t, struct arena *a, const char *method, const char *path)
{
	struct header *params;
	size_t n;
	bool other = false;
	const struct rest_route *r = route_rest(t, a, str_c(method), str_c(path), &params, &n, &other);
	struct str s;

	if (!r)
		return other ? STR("405") : STR("404");
	s = arena_strf(a, "%s %s", r->method, r->pattern);
	for (size_t i = 0; i < n; i++)
		s = arena_strf(a, "%.*s %.*s=%.*s", STR_FMT(s), STR_FMT(params[i].name), STR_FMT(params[i].value));
	return s;
}

TEST(routes)
{
	static const struct {
		const char *method, *path, *want;
	} t[] = {
		{"GET", "/", "GET /"},
		{"HEAD", "/", "GET /"},
		{"GET", "/a", "GET /a"},
		{"POST", "/a", "POST /a"},
		{"HEAD", "/a", "GET /a"},
		{"PUT", "/a", "405"},
		{"get", "/a", "405"},
		{"GET", "/a/", "GET /a"},	/* one slash at the end is forgiven */
		{"GET", "/a//", "404"},
		{"GET", "/b", "404"},
		{"GET", "/aa", "404"},
		{"GET", "a", "404"},
		{"GET", "", "404"},
		{"GET", "//a", "404"},
		{"GET", "/t/1/w/2", "GET /t/{tenant}/w/{id} tenant=1 id=2"},
		{"GET", "/t/1/w/list", "GET /t/{tenant}/w/{id} tenant=1 id=list"},	/* the first that matches */
		{"GET", "/t/a%2fb/w/%C3%A9+", "GET /t/{tenant}/w/{id} tenant=a/b id=\xc3\xa9+"},
		{"DELETE", "/t/1/w/2", "DELETE /t/{tenant}/w/{id} tenant=1 id=2"},
		{"POST", "/t/1/w/2", "405"},
		{"GET", "/t//w/2", "404"},
		{"GET", "/t/1/w/", "404"},
		{"GET", "/t/1/w", "404"},
		{"GET", "/t/1/w/2/3", "404"},
		{"GET", "/files/a/b%20c", "GET /files/{path*} path=a/b c"},
		{"GET", "/files/", "GET /files/{path*} path="},
		{"GET", "/filesystem", "404"},
	};
	struct routes *r = routes_new(rpcs, rests);
	struct arena *a = arena_new(1 << 20);

	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		struct str got = routed(r, a, t[i].method, t[i].path);

		if (!str_eq(got, str_c(t[i].want)))
			tap_fail(__FILE__, __LINE__, "%s %s: %.*s, not %s", t[i].method, t[i].path, STR_FMT(got), t[i].want);
	}
	CHECK(route_rpc(r, STR("/p.S/A")) == &rpcs[0]);
	CHECK(route_rpc(r, STR("/p.S/AB")) == &rpcs[1]);
	CHECK(!route_rpc(r, STR("/p.S/")) && !route_rpc(r, STR("/p.S/ABC")) && !route_rpc(r, STR("p.S/A")) && !route_rpc(r, STR("")));
	arena_free(a);
	routes_free(r);
}
