/* What both protocols decide alike about an HTTP reply: not modified, a range, packed. */
#include "net_int.h"

#include <zlib.h>

/* What is worth packing, and what may be packed on the loop's thread: at level 1 the largest takes about 10 ms. */
enum { PACK_MIN = 1024, PACK_MAX = 1 << 20 };

struct str http_trim(struct str s)
{
	while (s.n && (*s.p == ' ' || *s.p == '\t')) {
		s.p++;
		s.n--;
	}
	while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
		s.n--;
	return s;
}

static bool etag_matches(struct str list, struct str etag)
{
	while (list.n) {
		const char *comma = memchr(list.p, ',', list.n);
		struct str one = {list.p, comma ? (size_t)(comma - list.p) : list.n};

		list.p += one.n + (comma ? 1 : 0);
		list.n -= one.n + (comma ? 1 : 0);
		one = http_trim(one);
		if (str_starts(one, STR("W/"))) {
			one.p += 2;
			one.n -= 2;
		}
		if (str_eq(one, STR("*")) || str_eq(one, etag))
			return true;
	}
	return false;
}

/* One range of "bytes=a-b", "bytes=a-", "bytes=-n"; anything else is served whole.  false: not satisfiable. */
static bool range(struct str v, size_t total, size_t *from, size_t *n, bool *is_range)
{
	struct str spec = v, a, b;
	const char *dash;
	int64_t lo = 0, hi = 0;

	*is_range = false;
	if (!str_starts(v, STR("bytes=")) || memchr(v.p, ',', v.n))
		return true;
	spec.p += 6;
	spec.n -= 6;
	dash = spec.n ? memchr(spec.p, '-', spec.n) : NULL;
	if (!dash)
		return true;
	a = (struct str){spec.p, (size_t)(dash - spec.p)};
	b = (struct str){dash + 1, spec.n - a.n - 1};
	if ((!a.n && !b.n) || (a.n && !str_to_i64(a, &lo)) || (b.n && (!str_to_i64(b, &hi) || hi < 0)) || lo < 0)
		return true;
	*is_range = true;
	if (!a.n) {
		if (hi == 0 || total == 0)
			return false;
		*n = MIN((size_t)hi, total);
		*from = total - *n;
		return true;
	}
	if ((size_t)lo >= total || (b.n && hi < lo))
		return false;
	*from = (size_t)lo;
	*n = (b.n ? MIN((size_t)hi + 1, total) : total) - (size_t)lo;
	return true;
}

/* Does Accept-Encoding take gzip?  "gzip;q=0" does not. */
static bool takes_gzip(struct str list)
{
	while (list.n) {
		const char *comma = memchr(list.p, ',', list.n), *semi;
		struct str one = {list.p, comma ? (size_t)(comma - list.p) : list.n}, q = STR("");

		list.p += one.n + (comma ? 1 : 0);
		list.n -= one.n + (comma ? 1 : 0);
		semi = one.n ? memchr(one.p, ';', one.n) : NULL;
		if (semi) {
			q = http_trim((struct str){semi + 1, one.n - (size_t)(semi + 1 - one.p)});
			one.n = (size_t)(semi - one.p);
		}
		if (!str_eq(http_trim(one), STR("gzip")))
			continue;
		for (size_t i = 2; i < q.n; i++)
			if (q.p[i] >= '1' && q.p[i] <= '9')
				return true;
		return q.n == 0;
	}
	return false;
}

static bool is_text(const char *type)
{
	return type && (strncmp(type, "application/json", 16) == 0 || strncmp(type, "text/", 5) == 0);
}

static bool pack(struct arena *a, struct str in, struct str *ret)
{
	z_stream z = {0};
	uLong room;
	bool ok;

	if (deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		return false;
	room = deflateBound(&z, (uLong)in.n);
	z.next_in = (Bytef *)(uintptr_t)in.p;
	z.avail_in = (uInt)in.n;
	z.next_out = arena_alloc(a, room);
	z.avail_out = (uInt)room;
	ret->p = (const char *)z.next_out;
	ok = deflate(&z, Z_FINISH) == Z_STREAM_END && z.total_out < in.n;
	ret->n = z.total_out;
	(void)deflateEnd(&z);
	return ok;
}

static void maybe_pack(struct arena *a, struct req *r, const struct reply *rep, struct http_out *out)
{
	struct str v, packed;

	if (rep->is_gzip || rep->body.n < PACK_MIN || rep->body.n > PACK_MAX || !is_text(rep->content_type) ||
	    arena_left(a) < 2 * rep->body.n)
		return;
	out->extra[out->n_extra++] = (struct header){STR("vary"), STR("accept-encoding")};
	if (!req_header(r, "accept-encoding", &v) || !takes_gzip(v) || !pack(a, rep->body, &packed))
		return;
	out->body = packed;
	out->is_packed = true;
	out->extra[out->n_extra++] = (struct header){STR("content-encoding"), STR("gzip")};
}

void http_decide(struct arena *a, struct req *r, const struct reply *rep, struct http_out *out)
{
	struct str v;
	size_t from = 0, n = rep->body.n;
	bool is_range = false;

	*out = (struct http_out){.status = rep->status, .body = rep->body};
	if (rep->is_gzip)
		out->extra[out->n_extra++] = (struct header){STR("content-encoding"), STR("gzip")};
	if (!rep->etag.n) {
		maybe_pack(a, r, rep, out);
		return;
	}
	out->extra[out->n_extra++] = (struct header){STR("etag"), rep->etag};
	if (req_header(r, "if-none-match", &v) && etag_matches(v, rep->etag)) {
		out->status = 304;
		out->body = STR_NULL;
		return;
	}
	out->extra[out->n_extra++] = (struct header){STR("accept-ranges"), STR("bytes")};
	if (req_is_head(r) || (req_header(r, "if-range", &v) && !str_eq(v, rep->etag)) || !req_header(r, "range", &v))
		return;
	if (!range(v, rep->body.n, &from, &n, &is_range)) {
		out->status = 416;
		out->body = STR_NULL;
		out->extra[out->n_extra++] = (struct header){STR("content-range"), arena_strf(a, "bytes */%zu", rep->body.n)};
	} else if (is_range) {
		out->status = 206;
		out->body = (struct str){rep->body.p + from, n};
		out->extra[out->n_extra++] =
			(struct header){STR("content-range"), arena_strf(a, "bytes %zu-%zu/%zu", from, from + n - 1, rep->body.n)};
	}
}
