/* The small text formats: what they accept can be written and read again as the same. */
#include "base/strb.h"
#include "base/text.h"
#include "base/uuid.h"
#include "fuzz.h"

static void times(struct arena *a, struct str in)
{
	char t[RFC3339_MAX];
	int64_t v, again;

	if (duration_parse(in, &v, NULL)) {
		FUZZ_MUST(v >= 0);
		FUZZ_MUST(duration_parse(duration_format(a, v), &again, NULL) || v > INT64_MAX / 1000000 - 1);
		FUZZ_MUST(v > INT64_MAX / 1000000 - 1 || again == v);
	}
	if (rfc3339_parse(in, &v)) {
		size_t n = rfc3339_format(v, t);

		FUZZ_MUST(n < RFC3339_MAX && rfc3339_parse((struct str){t, n}, &again));
		/* an offset may carry the time out of the years that can be written */
		FUZZ_MUST(again == v || in.p[0] == '0' || in.p[0] == '9');
	}
}

static void encodings(struct arena *a, struct str in)
{
	char t[UUID_TEXT + 1];
	struct uuid u, w;
	struct str r;
	struct strb b;

	for (int url = 0; url < 2; url++) {
		FUZZ_MUST(base64_decode(a, base64_encode(a, in, url), url, &r) && str_eq(r, in));
		if (base64_decode(a, in, url, &r)) {
			struct str back = base64_encode(a, r, url);

			/* one value, one spelling, but for the padding */
			FUZZ_MUST(str_starts(in, back) || str_starts(back, in));
		}
	}
	FUZZ_MUST(percent_decode(a, in, true).n <= in.n);
	FUZZ_MUST(hex_encode(a, in).n == 2 * in.n);
	if (uuid_parse(in, &u)) {
		uuid_format(&u, t);
		FUZZ_MUST(uuid_parse(str_c(t), &w) && uuid_eq(&u, &w) && str_ieq(str_c(t), in));
	}
	strb_init(&b, in.n * 6 + 2);	/* the worst case fits */
	strb_json(&b, in);
	FUZZ_MUST(!b.overflow && utf8_valid(strb_str(&b)));
	strb_fini(&b);
	if (text_check(in, "x", NULL))
		FUZZ_MUST(utf8_valid(in) && (in.n == 0 || !memchr(in.p, 0, in.n)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct str in = {(const char *)data, n};
	struct arena *a = arena_new(64 << 20);

	times(a, in);
	encodings(a, in);
	arena_free(a);
	return 0;
}
