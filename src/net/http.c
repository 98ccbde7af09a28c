/* What both protocols decide alike about an HTTP reply: not modified, a range, nothing but the head. */
#include "net_int.h"

static bool etag_matches(struct str list, struct str etag)
{
	while (list.n) {
		const char *comma = memchr(list.p, ',', list.n);
		struct str one = {list.p, comma ? (size_t)(comma - list.p) : list.n};

		list.p += one.n + (comma ? 1 : 0);
		list.n -= one.n + (comma ? 1 : 0);
		while (one.n && (*one.p == ' ' || *one.p == '\t')) {
			one.p++;
			one.n--;
		}
		while (one.n && (one.p[one.n - 1] == ' ' || one.p[one.n - 1] == '\t'))
			one.n--;
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

void http_decide(struct arena *a, struct req *r, const struct reply *rep, struct http_out *out)
{
	struct str v;
	size_t from = 0, n = rep->body.n;
	bool is_range = false;

	*out = (struct http_out){.status = rep->status, .body = rep->body};
	if (rep->is_gzip)
		out->extra[out->n_extra++] = (struct header){STR("content-encoding"), STR("gzip")};
	if (!rep->etag.n)
		return;
	out->extra[out->n_extra++] = (struct header){STR("etag"), rep->etag};
	if (req_header(r, "if-none-match", &v) && etag_matches(v, rep->etag)) {
		out->status = 304;
		out->body = STR_NULL;
		return;
	}
	out->extra[out->n_extra++] = (struct header){STR("accept-ranges"), STR("bytes")};
	if (!req_header(r, "range", &v))
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
