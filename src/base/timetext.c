/* Durations and time stamps as text.
 * Invariant: no floating point, so what is parsed is what was written; overflow is refused, never wrapped.
 * Does not read the clock. */
#include <stdio.h>

#include "base/text.h"

struct cursor {
	const char *p, *end;
};

static bool digit(const struct cursor *c)
{
	return c->p < c->end && *c->p >= '0' && *c->p <= '9';
}

static bool bad_duration(struct str s, struct err *err)
{
	struct str shown = utf8_valid(s) && s.n <= 40 ? s : STR("...");

	return err_set(err, ERR_INVALID, "'%.*s' is not a duration: expected numbers with units h, m, s or ms, like 1h30m or 1.5s",
		       STR_FMT(shown));
}

/* ns per unit, 0: no unit here */
static int64_t take_unit(struct cursor *c)
{
	size_t left = (size_t)(c->end - c->p);

	if (left >= 2 && c->p[0] == 'm' && c->p[1] == 's') {
		c->p += 2;
		return 1000000;
	}
	if (!left)
		return 0;
	switch (*c->p++) {
	case 's':
		return 1000000000LL;
	case 'm':
		return 60 * 1000000000LL;
	case 'h':
		return 3600 * 1000000000LL;
	default:
		return 0;
	}
}

#define NS_MAX ((unsigned __int128)INT64_MAX)

bool duration_parse(struct str s, int64_t *ret_ms, struct err *err)
{
	struct cursor c = {s.p, s.p + s.n};
	unsigned __int128 total = 0;	/* ns */
	bool below_ns = false;		/* a rest smaller than a ns still rounds up */

	if (s.n == 0)
		return err_set(err, ERR_INVALID, "an empty text is not a duration: expected something like 30s");
	while (c.p < c.end) {
		unsigned __int128 whole = 0, frac = 0, scale = 1;
		bool any = false, rest = false;

		for (; digit(&c); c.p++, any = true) {
			if (whole <= NS_MAX)
				whole = whole * 10 + (unsigned)(*c.p - '0');
		}
		if (c.p < c.end && *c.p == '.') {
			for (c.p++; digit(&c); c.p++, any = true) {
				if (scale < 1000000000000000000ULL) {
					frac = frac * 10 + (unsigned)(*c.p - '0');
					scale *= 10;
				} else if (*c.p != '0') {
					rest = true;
				}
			}
		}
		int64_t unit = any ? take_unit(&c) : 0;
		if (!unit)
			return bad_duration(s, err);
		unsigned __int128 ns = frac * (unsigned __int128)unit;
		below_ns |= rest || ns % scale != 0;
		if (whole > NS_MAX)
			whole = NS_MAX;
		total += whole * (unsigned __int128)unit + ns / scale;
		if (total > NS_MAX)
			return err_set(err, ERR_INVALID, "the duration is too long: at most 292 years");
	}
	*ret_ms = (int64_t)((total + (below_ns ? 1 : 0) + 999999) / 1000000);
	return true;
}

struct str duration_format(struct arena *a, int64_t ms)
{
	uint64_t v = ms < 0 ? -(uint64_t)ms : (uint64_t)ms;
	const char *sign = ms < 0 ? "-" : "";
	char sec[32];

	if (v == 0)
		return STR("0s");
	if (v < 1000)
		return arena_strf(a, "%s%ums", sign, (unsigned)v);
	int n = snprintf(sec, sizeof(sec), "%u.%03u", (unsigned)(v / 1000 % 60), (unsigned)(v % 1000));
	while (sec[n - 1] == '0')
		n--;
	if (sec[n - 1] == '.')
		n--;
	uint64_t min = v / 60000 % 60, hours = v / 3600000;
	if (hours)
		return arena_strf(a, "%s%lluh%llum%.*ss", sign, (unsigned long long)hours, (unsigned long long)min, n, sec);
	if (min)
		return arena_strf(a, "%s%llum%.*ss", sign, (unsigned long long)min, n, sec);
	return arena_strf(a, "%s%.*ss", sign, n, sec);
}

/* ---- calendar ---- */

#define DAY_US (86400LL * 1000000)

/* Days since 1970-01-01 of a Gregorian date; years count from March so that the leap day is the last one. */
static int64_t days_of(int64_t y, int m, int d)
{
	y -= m <= 2;
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t yoe = y - era * 400;
	int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;

	return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static void date_of(int64_t days, int *y, int *m, int *d)
{
	days += 719468;
	int64_t era = (days >= 0 ? days : days - 146096) / 146097;
	int64_t doe = days - era * 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	int64_t mp = (5 * doy + 2) / 153;

	*d = (int)(doy - (153 * mp + 2) / 5 + 1);
	*m = (int)(mp < 10 ? mp + 3 : mp - 9);
	*y = (int)(yoe + era * 400 + (*m <= 2));
}

static int days_in(int y, int m)
{
	static const int8_t t[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;

	return m == 2 && leap ? 29 : t[m - 1];
}

static bool take_num(struct cursor *c, int digits, int lo, int hi, int *ret)
{
	int v = 0;

	for (int i = 0; i < digits; i++, c->p++) {
		if (!digit(c))
			return false;
		v = v * 10 + (*c->p - '0');
	}
	*ret = v;
	return v >= lo && v <= hi;
}

static bool take(struct cursor *c, const char *any_of)
{
	return c->p < c->end && *c->p && strchr(any_of, *c->p++);
}

bool rfc3339_parse(struct str s, int64_t *ret_wall_us)
{
	struct cursor c = {s.p, s.p + s.n};
	int y, mo, d, h, mi, sec, oh = 0, om = 0, sign = 1;
	int64_t us = 0, unit = 100000;

	if (!take_num(&c, 4, 0, 9999, &y) || !take(&c, "-") || !take_num(&c, 2, 1, 12, &mo) || !take(&c, "-") ||
	    !take_num(&c, 2, 1, 31, &d) || d > days_in(y, mo) || !take(&c, "Tt ") || !take_num(&c, 2, 0, 23, &h) ||
	    !take(&c, ":") || !take_num(&c, 2, 0, 59, &mi) || !take(&c, ":") || !take_num(&c, 2, 0, 60, &sec))
		return false;
	if (c.p < c.end && *c.p == '.') {
		c.p++;
		if (!digit(&c))
			return false;
		for (; digit(&c); c.p++, unit /= 10)
			us += unit * (*c.p - '0');
	}
	if (c.p < c.end && (*c.p == 'Z' || *c.p == 'z')) {
		c.p++;
	} else {
		sign = c.p < c.end && *c.p == '-' ? -1 : 1;
		if (!take(&c, "+-") || !take_num(&c, 2, 0, 23, &oh) || !take(&c, ":") || !take_num(&c, 2, 0, 59, &om))
			return false;
	}
	if (c.p != c.end)
		return false;
	int64_t secs = days_of(y, mo, d) * 86400 + h * 3600 + mi * 60 + sec - sign * (oh * 3600 + om * 60);
	*ret_wall_us = secs * 1000000 + us;
	return true;
}

size_t rfc3339_format(int64_t wall_us, char out[RFC3339_MAX])
{
	/* years outside four digits have no spelling */
	int64_t lo = days_of(0, 1, 1) * DAY_US, hi = days_of(10000, 1, 1) * DAY_US - 1;
	int y, m, d;

	wall_us = MIN(MAX(wall_us, lo), hi);
	int64_t days = wall_us / DAY_US, rest = wall_us % DAY_US;
	if (rest < 0) {
		rest += DAY_US;
		days--;
	}
	date_of(days, &y, &m, &d);
	int n = snprintf(out, RFC3339_MAX, "%04u-%02u-%02uT%02u:%02u:%02u.%06uZ", (unsigned)y % 10000, (unsigned)m % 100,
			 (unsigned)d % 100, (unsigned)(rest / 3600000000LL) % 100, (unsigned)(rest / 60000000 % 60),
			 (unsigned)(rest / 1000000 % 60), (unsigned)(rest % 1000000));
	return (size_t)n;
}
