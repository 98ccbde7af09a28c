/* Strict JSON scan without building anything.
 * Invariant: no recursion, every byte is looked at once, nesting is bounded by JSON_DEPTH_MAX.
 * Does not find duplicate keys: they are legal and the bytes are kept. */
#include "base/text.h"
#include "json_int.h"

struct scan {
	const char *p, *end, *start;
	unsigned flags;
	const char *what;	/* the reason, when a step returns false */
};

static bool no(struct scan *s, const char *what)
{
	s->what = what;
	return false;
}

static void skip_space(struct scan *s)
{
	while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' || *s->p == '\r' || *s->p == '\t'))
		s->p++;
}

static bool digit(const struct scan *s)
{
	return s->p < s->end && *s->p >= '0' && *s->p <= '9';
}

static bool hex4(struct scan *s, unsigned *ret)
{
	unsigned v = 0;

	if (s->end - s->p < 4)
		return no(s, "a cut \\u escape");
	for (int i = 0; i < 4; i++) {
		char c = *s->p++;

		if (c >= '0' && c <= '9')
			v = v << 4 | (unsigned)(c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			v = v << 4 | (unsigned)((c | 0x20) - 'a' + 10);
		else
			return no(s, "a bad \\u escape");
	}
	*ret = v;
	return true;
}

static bool escape(struct scan *s)
{
	unsigned v, low;

	if (s->p == s->end)
		return no(s, "an unfinished string");
	char c = *s->p++;
	if (c != 'u')
		return c && strchr("\"\\/bfnrt", c) ? true : no(s, "a bad escape");
	if (!hex4(s, &v))
		return false;
	if (v == 0 && (s->flags & JSON_F_NO_NUL))
		return no(s, "a NUL character (\\u0000)");
	if (!(s->flags & JSON_F_PAIRED) || (v & 0xf800) != 0xd800)
		return true;
	if (v >= 0xdc00 || s->end - s->p < 6 || s->p[0] != '\\' || s->p[1] != 'u')
		return no(s, "half of a surrogate pair");
	s->p += 2;
	if (!hex4(s, &low))
		return false;
	return (low & 0xfc00) == 0xdc00 ? true : no(s, "half of a surrogate pair");
}

/* after the opening quote; UTF-8 was checked for the whole text */
static bool string(struct scan *s)
{
	while (s->p < s->end) {
		unsigned char c = (unsigned char)*s->p++;

		if (c == '"')
			return true;
		if (c < 0x20)
			return no(s, "a control character in a string");
		if (c == '\\' && !escape(s))
			return false;
	}
	return no(s, "an unfinished string");
}

/* The digits of a number as they go by: where its first non-zero digit stands tells the magnitude. */
struct magnitude {
	bool found;
	unsigned lead;		/* digits collected */
	uint64_t digits;	/* the first 19 from the first non-zero one */
	int64_t point;		/* digits between the first non-zero one and the point, exponent of ten + 1 */
};

static void mag_digit(struct magnitude *m, char c, bool fraction)
{
	if (!m->found && c == '0') {
		if (fraction)
			m->point--;
		return;
	}
	m->found = true;
	if (!fraction)
		m->point++;
	if (m->lead < 19) {
		m->digits = m->digits * 10 + (uint64_t)(c - '0');
		m->lead++;
	}
}

static bool mag_fits(struct magnitude *m, int64_t exp)
{
	int64_t ten = m->point + exp - 1;	/* value = d.ddd * 10^ten */

	if (!m->found || ten < 308)
		return true;
	for (; m->lead < 19; m->lead++)
		m->digits *= 10;
	/* above this a double rounds to infinity */
	return ten == 308 && m->digits <= 1797693134862315807u;
}

static bool number(struct scan *s)
{
	struct magnitude m = {0};
	int64_t exp = 0, sign = 1;

	if (*s->p == '-')
		s->p++;
	if (!digit(s))
		return no(s, "a bad number");
	if (*s->p == '0') {
		s->p++;
		if (digit(s))
			return no(s, "a number with a leading zero");
	} else {
		for (; digit(s); s->p++)
			mag_digit(&m, *s->p, false);
	}
	if (s->p < s->end && *s->p == '.') {
		s->p++;
		if (!digit(s))
			return no(s, "a bad number");
		for (; digit(s); s->p++)
			mag_digit(&m, *s->p, true);
	}
	if (s->p < s->end && (*s->p == 'e' || *s->p == 'E')) {
		s->p++;
		if (s->p < s->end && (*s->p == '+' || *s->p == '-'))
			sign = *s->p++ == '-' ? -1 : 1;
		if (!digit(s))
			return no(s, "a bad number");
		for (; digit(s); s->p++)
			exp = MIN(exp * 10 + (*s->p - '0'), (int64_t)1 << 40);
	}
	return mag_fits(&m, sign * exp) ? true : no(s, "a number outside the range of a double");
}

static bool word(struct scan *s, struct str w)
{
	if (!str_starts((struct str){s->p, (size_t)(s->end - s->p)}, w))
		return no(s, "an unknown word");
	s->p += w.n;
	return true;
}

static bool scalar(struct scan *s)
{
	switch (*s->p) {
	case '"':
		s->p++;
		return string(s);
	case 't':
		return word(s, STR("true"));
	case 'f':
		return word(s, STR("false"));
	case 'n':
		return word(s, STR("null"));
	case '-':
	case '0' ... '9':
		return number(s);
	default:
		return no(s, "an unexpected character");
	}
}

/* "key" : */
static bool member_key(struct scan *s)
{
	skip_space(s);
	if (s->p == s->end || *s->p != '"')
		return no(s, "an object key that is not a string");
	s->p++;
	if (!string(s))
		return false;
	skip_space(s);
	if (s->p == s->end || *s->p != ':')
		return no(s, "a missing ':'");
	s->p++;
	return true;
}

static bool document(struct scan *s, size_t *values)
{
	char open[JSON_DEPTH_MAX];	/* ']' or '}' that is awaited */
	size_t depth = 0;

	for (;;) {
		skip_space(s);
		if (s->p == s->end)
			return no(s, "an early end");
		++*values;
		if (*s->p == '{' || *s->p == '[') {
			char close = *s->p++ == '{' ? '}' : ']';

			if (depth == JSON_DEPTH_MAX)
				return no(s, "too deep nesting");
			open[depth++] = close;
			skip_space(s);
			if (s->p == s->end || *s->p != close) {
				if (close == '}' && !member_key(s))
					return false;
				continue;
			}
			/* an empty one: closed below */
		} else if (!scalar(s)) {
			return false;
		}
		/* a value has ended (or an empty container is about to): close what closes, then a comma goes on */
		for (;;) {
			skip_space(s);
			if (depth == 0)
				return s->p == s->end ? true : no(s, "text after the value");
			if (s->p == s->end)
				return no(s, "an early end");
			if (*s->p != open[depth - 1])
				break;
			s->p++;
			depth--;
		}
		if (*s->p != ',')
			return no(s, "a missing ',' or end bracket");
		s->p++;
		if (open[depth - 1] == '}' && !member_key(s))
			return false;
	}
}

bool json_scan(struct str s, unsigned flags, const char *field, size_t *ret_values, struct err *err)
{
	struct scan sc = {.p = s.p, .end = s.p + s.n, .start = s.p, .flags = flags};

	*ret_values = 0;
	if (s.n == 0)
		return err_set(err, ERR_INVALID, "%s: must be JSON, got nothing", field);
	if (!utf8_valid(s))
		return err_set(err, ERR_INVALID, "%s: must be JSON in valid UTF-8", field);
	skip_space(&sc);
	if ((flags & JSON_F_OBJECT) && (sc.p == sc.end || *sc.p != '{'))
		return err_set(err, ERR_INVALID, "%s: must be a JSON object", field);
	if (!document(&sc, ret_values))
		return err_set(err, ERR_INVALID, "%s: must be valid JSON: %s at byte %zu", field, sc.what,
			       (size_t)(sc.p - sc.start));
	return true;
}

bool json_check(struct str s, unsigned flags, const char *field, struct err *err)
{
	size_t values;

	return json_scan(s, flags, field, &values, err);
}
