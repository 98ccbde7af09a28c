/* Timestamps and durations: their texts, and the parts of a date in any time zone.
 * Invariant: a timestamp lies in the years 1 to 9999, a duration is nanoseconds in 64 bits. */
#include "cel_int.h"

#include <stdio.h>

#include "base/tz.h"

#define NANOS 1000000000LL
#define DAY 86400
#define FIRST (-62135596800LL)	/* 0001-01-01 */
#define LAST 253402300799LL	/* 9999-12-31T23:59:59 */

struct date {
	int64_t year;
	int month, day, yday;	/* from 1, from 1, from 0 */
};

bool time_in_range(int64_t sec)
{
	return sec >= FIRST && sec <= LAST;
}

/* days since 1970; the year begins in March, so that the leap day is its last */
static int64_t days_of(int64_t y, int m, int d)
{
	y -= m <= 2;
	int64_t era = (y >= 0 ? y : y - 399) / 400, yoe = y - era * 400;
	int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;

	return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static struct date date_of(int64_t days)
{
	struct date r;
	int64_t z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097, doe = z - era * 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365, doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	int64_t mp = (5 * doy + 2) / 153;

	r.day = (int)(doy - (153 * mp + 2) / 5 + 1);
	r.month = (int)(mp < 10 ? mp + 3 : mp - 9);
	r.year = yoe + era * 400 + (r.month <= 2);
	r.yday = (int)(days - days_of(r.year, 1, 1));
	return r;
}

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

/* ---- text ---- */

static bool digits(struct str *s, int n, int lo, int hi, int *ret)
{
	int v = 0;

	if (s->n < (size_t)n)
		return false;
	for (int i = 0; i < n; i++) {
		if (s->p[i] < '0' || s->p[i] > '9')
			return false;
		v = v * 10 + (s->p[i] - '0');
	}
	s->p += n;
	s->n -= (size_t)n;
	*ret = v;
	return v >= lo && v <= hi;
}

static bool eat(struct str *s, char c)
{
	if (!s->n || s->p[0] != c)
		return false;
	s->p++;
	s->n--;
	return true;
}

/* RFC 3339 as strictly as the reference reads it: capital T and Z, no leap second; digits after the ninth do not count */
bool time_parse(struct str s, int64_t *sec, uint32_t *nanos)
{
	static const int8_t len[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int y, mo, d, h, mi, se, oh = 0, om = 0, sign = 0;
	uint32_t unit = 100000000;

	if (!digits(&s, 4, 0, 9999, &y) || !eat(&s, '-') || !digits(&s, 2, 1, 12, &mo) || !eat(&s, '-') ||
	    !digits(&s, 2, 1, len[mo - 1], &d) || (mo == 2 && d == 29 && (y % 4 != 0 || (y % 100 == 0 && y % 400 != 0))) ||
	    !eat(&s, 'T') || !digits(&s, 2, 0, 23, &h) || !eat(&s, ':') || !digits(&s, 2, 0, 59, &mi) || !eat(&s, ':') ||
	    !digits(&s, 2, 0, 59, &se))
		return false;
	*nanos = 0;
	if (eat(&s, '.')) {
		if (!s.n || s.p[0] < '0' || s.p[0] > '9')
			return false;
		for (; s.n && s.p[0] >= '0' && s.p[0] <= '9'; s.p++, s.n--, unit /= 10)
			*nanos += unit * (uint32_t)(s.p[0] - '0');
	}
	if (!eat(&s, 'Z')) {
		sign = eat(&s, '+') ? 1 : eat(&s, '-') ? -1 : 0;
		if (!sign || !digits(&s, 2, 0, 23, &oh) || !eat(&s, ':') || !digits(&s, 2, 0, 59, &om))
			return false;
	}
	*sec = days_of(y, mo, d) * DAY + h * 3600 + mi * 60 + se - sign * (oh * 3600 + om * 60);
	return s.n == 0;
}

size_t time_text(const struct cel_val *ts, char out[64])
{
	int64_t days = floor_div(ts->i, DAY), rest = ts->i - days * DAY;
	struct date d = date_of(days);
	int n = snprintf(out, 64, "%04d-%02d-%02dT%02d:%02d:%02d", (int)d.year, d.month, d.day, (int)(rest / 3600), (int)(rest / 60 % 60),
			 (int)(rest % 60));

	if (ts->nanos) {
		n += snprintf(out + n, 64 - (size_t)n, ".%09u", ts->nanos);
		while (out[n - 1] == '0')
			n--;
	}
	out[n++] = 'Z';
	return (size_t)n;
}

/* The nanoseconds of a unit at the head of @s, 0: none there. */
static int64_t unit_of(struct str *s)
{
	static const struct {
		const char *name;
		int64_t ns;
	} units[] = {
		{"ns", 1},	    {"us", 1000},  {"\xc2\xb5s", 1000}, {"\xce\xbcs", 1000}, {"ms", 1000000},
		{"s", NANOS}, {"m", 60 * NANOS}, {"h", 3600 * NANOS},
	};

	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		struct str name = str_c(units[i].name);

		if (str_starts(*s, name)) {
			s->p += name.n;
			s->n -= name.n;
			return units[i].ns;
		}
	}
	return 0;
}

bool dur_parse(struct str s, int64_t *ns)
{
	const __int128 max = (__int128)1 << 63;	/* its negative fits */
	__int128 total = 0;
	bool minus = eat(&s, '-');

	if (!minus)
		eat(&s, '+');
	if (s.n == 1 && s.p[0] == '0') {
		*ns = 0;
		return true;
	}
	if (s.n == 0)
		return false;
	while (s.n) {
		__int128 whole = 0, frac = 0, scale = 1;
		bool any = false;
		int64_t unit;

		for (; s.n && s.p[0] >= '0' && s.p[0] <= '9'; s.p++, s.n--, any = true) {
			whole = whole * 10 + (s.p[0] - '0');
			if (whole > max)
				return false;
		}
		if (eat(&s, '.')) {
			for (; s.n && s.p[0] >= '0' && s.p[0] <= '9'; s.p++, s.n--, any = true) {
				if (scale < NANOS * NANOS) {
					frac = frac * 10 + (s.p[0] - '0');
					scale *= 10;
				}
			}
		}
		unit = any ? unit_of(&s) : 0;
		if (!unit)
			return false;
		total += whole * unit + frac * unit / scale;
		if (total > max)
			return false;
	}
	if (total == max && !minus)
		return false;
	*ns = (int64_t)(minus ? -total : total);
	return true;
}

/* seconds as the reference prints them, which is by way of a double */
size_t dur_text(int64_t ns, char out[64])
{
	char buf[DOUBLE_TEXT];
	size_t n = double_text((double)(ns / NANOS) + (double)(ns % NANOS) / 1e9, true, buf);

	memcpy(out, buf, n);
	out[n++] = 's';
	return n;
}

/* ---- parts ---- */

/* a name of the IANA list, or hours and minutes with or without a sign */
static bool zone(struct ev *e, struct str s, int64_t at, int64_t *offset)
{
	struct str rest = s;
	bool minus = eat(&rest, '-');
	int h, m;
	struct tz z;

	if (!minus)
		eat(&rest, '+');
	if (digits(&rest, rest.n == 4 ? 1 : 2, 0, 23, &h) && eat(&rest, ':') && digits(&rest, 2, 0, 59, &m) && rest.n == 0) {
		*offset = (minus ? -1 : 1) * (h * 3600 + m * 60);
		return true;
	}
	*offset = 0;
	if (s.n == 0)
		return true;
	if (!tz_find(s, &z))
		return ev_fail(e, CEL_E_RANGE, "'%s' is not a time zone like Europe/Berlin or +02:00", cel_string(s));
	*offset = tz_offset(z, at);
	return true;
}

static int64_t part(enum cel_fn fn, int64_t sec, uint32_t nanos)
{
	int64_t days = floor_div(sec, DAY), rest = sec - days * DAY;
	struct date d = date_of(days);

	switch ((unsigned)fn) {
	case F_FULL_YEAR:
		return d.year;
	case F_MONTH:
		return d.month - 1;
	case F_DATE:
		return d.day;
	case F_DAY_OF_MONTH:
		return d.day - 1;
	case F_DAY_OF_WEEK:
		return (days % 7 + 7 + 4) % 7;	/* the first of 1970 was a Thursday */
	case F_DAY_OF_YEAR:
		return d.yday;
	case F_HOURS:
		return rest / 3600;
	case F_MINUTES:
		return rest / 60 % 60;
	case F_SECONDS:
		return rest % 60;
	default:
		return nanos / 1000000;
	}
}

bool fn_time(struct ev *e, enum cel_fn fn, const struct cel_val *a, uint32_t n, struct cel_val *ret)
{
	int64_t offset = 0;

	if (a[0].kind == CEL_DURATION && n == 1 && fn >= F_HOURS) {
		static const int64_t unit[] = {3600 * NANOS, 60 * NANOS, NANOS, 1000000};

		*ret = val_int(a[0].i / unit[fn - F_HOURS]);
		return true;
	}
	if (a[0].kind != CEL_TIMESTAMP || (n == 2 && a[1].kind != CEL_STRING))
		return ev_no_overload(e);
	if (!ev_step(e, n == 2 ? 40 : 4) || (n == 2 && !zone(e, a[1].s, a[0].i, &offset)))
		return false;
	*ret = val_int(part(fn, a[0].i + offset, a[0].nanos));
	return true;
}
