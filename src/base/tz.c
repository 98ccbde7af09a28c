/* Time zones: look-up in the packed file of tools/deps/tzpack.py, transitions of TZif (RFC 8536), and for the time after the
 * last of them the rule at its end ("CET-1CEST,M3.5.0,M10.5.0/3").  Instants before the first transition get type 0.
 * The data is our own and well formed; every access is checked against its end all the same. */
#include "base/tz.h"

#include <ctype.h>

extern const unsigned char hatchet_zones[], hatchet_zones_end[];

enum { HEAD = 20, ENTRY = 12, TZIF_HEAD = 44, DAY = 86400 };

static uint32_t le32(const unsigned char *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint32_t be32(const unsigned char *p)
{
	return (uint32_t)p[3] | (uint32_t)p[2] << 8 | (uint32_t)p[1] << 16 | (uint32_t)p[0] << 24;
}

static int64_t be64(const unsigned char *p)
{
	return (int64_t)((uint64_t)be32(p) << 32 | be32(p + 4));
}

unsigned tz_count(void)
{
	return hatchet_zones_end - hatchet_zones > HEAD ? le32(hatchet_zones + 16) : 0;
}

const char *tz_version(void)
{
	return tz_count() ? (const char *)hatchet_zones + 4 : "none";
}

const char *tz_name(unsigned i)
{
	return (const char *)hatchet_zones + le32(hatchet_zones + HEAD + i * ENTRY);
}

bool tz_find(struct str name, struct tz *ret)
{
	unsigned lo = 0, hi = tz_count();

	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;
		struct str at = str_c(tz_name(mid));
		int c = memcmp(name.p, at.p, name.n < at.n ? name.n : at.n);

		if (c == 0 && name.n == at.n) {
			const unsigned char *e = hatchet_zones + HEAD + mid * ENTRY;

			*ret = (struct tz){hatchet_zones + le32(e + 4), le32(e + 8)};
			return true;
		}
		if (c < 0 || (c == 0 && name.n < at.n))
			hi = mid;
		else
			lo = mid + 1;
	}
	return false;
}

/* --- the rule at the end ----------------------------------------------------------------------------------------------------- */

static int64_t days_of(int64_t y, int m, int d)
{
	/* the year begins in March, so that the leap day is its last */
	int64_t yy = y - (m <= 2), era = (yy >= 0 ? yy : yy - 399) / 400, yoe = yy - era * 400;
	int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;

	return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static int64_t year_of(int64_t unix_s)
{
	int64_t days = unix_s / DAY - (unix_s % DAY < 0), y = 1970 + days * 400 / 146097;

	while (days_of(y, 1, 1) > days)
		y--;
	while (days_of(y + 1, 1, 1) <= days)
		y++;
	return y;
}

static int number(const char **p)
{
	int n = 0;

	while (isdigit((unsigned char)**p) && n < 100000)
		n = n * 10 + *(*p)++ - '0';
	return n;
}

static int32_t hms(const char **p)
{
	int32_t sign = 1, s;

	if (**p == '-' || **p == '+')
		sign = *(*p)++ == '-' ? -1 : 1;
	s = number(p) * 3600;
	for (int unit = 60; **p == ':' && unit; unit /= 60) {
		(*p)++;
		s += number(p) * unit;
	}
	return sign * s;
}

static void skip_name(const char **p)
{
	if (**p == '<')
		*p += strcspn(*p, ">") + 1;
	else
		while (isalpha((unsigned char)**p))
			(*p)++;
}

/* Where in @year a change of the rule lies, in local seconds since 1970. */
static int64_t change_of(const char **p, int64_t year)
{
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	int64_t day;
	int32_t at = 2 * 3600;

	if (**p == 'M') {
		int m, week, wday, first;

		(*p)++;
		m = number(p);
		*p += **p == '.';
		week = number(p);
		*p += **p == '.';
		wday = number(p);
		day = days_of(year, m, 1);
		first = (int)((day % 7 + 7 + 4) % 7);	/* the first of 1970 was a Thursday */
		day += (wday - first + 7) % 7 + 7 * (int64_t)(week - 1);
		/* week 5 is the last, which may be the fourth */
		if (day >= (m == 12 ? days_of(year + 1, 1, 1) : days_of(year, m + 1, 1)))
			day -= 7;
	} else if (**p == 'J') {
		(*p)++;
		day = number(p);
		day = days_of(year, 1, 1) + day - 1 + (leap && day >= 60);
	} else {
		day = days_of(year, 1, 1) + number(p);
	}
	if (**p == '/') {
		(*p)++;
		at = hms(p);
	}
	*p += **p == ',';
	return day * DAY + at;
}

static int32_t by_rule(const char *rule, int64_t t)
{
	int32_t std, dst;
	int64_t year, on, off;
	bool summer;

	skip_name(&rule);
	std = -hms(&rule);
	if (!*rule)
		return std;
	skip_name(&rule);
	dst = *rule == ',' ? std + 3600 : -hms(&rule);
	if (*rule != ',')
		return std;
	rule++;
	year = year_of(t + std);
	on = change_of(&rule, year) - std;
	off = change_of(&rule, year) - dst;
	summer = on < off ? t >= on && t < off : t >= on || t < off;
	return summer ? dst : std;
}

/* --- TZif -------------------------------------------------------------------------------------------------------------------- */

struct counts {
	uint32_t isut, isstd, leap, times, types, chars;
};

static struct counts counts_of(const unsigned char *h)
{
	return (struct counts){be32(h + 20), be32(h + 24), be32(h + 28), be32(h + 32), be32(h + 36), be32(h + 40)};
}

static size_t body_of(const struct counts *c, size_t time_size)
{
	return c->times * time_size + c->times + (size_t)c->types * 6 + c->chars + c->leap * (time_size + 4) + c->isstd + c->isut;
}

int32_t tz_offset(struct tz z, int64_t t)
{
	struct counts c;
	const unsigned char *times, *index, *types;
	char rule[64];
	size_t at, n;
	uint32_t lo = 0, hi;

	if (z.n < 2 * TZIF_HEAD)
		return 0;
	c = counts_of(z.p);
	at = TZIF_HEAD + body_of(&c, 4);	/* the part for 32 bits is not for us */
	if (at + TZIF_HEAD > z.n)
		return 0;
	c = counts_of(z.p + at);
	times = z.p + at + TZIF_HEAD;
	at += TZIF_HEAD + body_of(&c, 8);
	if (at + 2 > z.n || c.types == 0)
		return 0;
	index = times + (size_t)c.times * 8;
	types = index + c.times;
	n = z.n - at - 2;	/* the rule stands between two line ends */
	if (n > 0 && n < sizeof(rule) && (c.times == 0 || t >= be64(times + (size_t)(c.times - 1) * 8))) {
		memcpy(rule, z.p + at + 1, n);
		rule[n] = '\0';
		return by_rule(rule, t);
	}
	for (hi = c.times; lo < hi;) {	/* the first transition after t */
		uint32_t mid = (lo + hi) / 2;

		if (be64(times + (size_t)mid * 8) <= t)
			lo = mid + 1;
		else
			hi = mid;
	}
	at = lo == 0 ? 0 : index[lo - 1];
	return at < c.types ? (int32_t)be32(types + at * 6) : 0;
}
