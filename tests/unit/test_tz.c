/* The zones carried inside, against what Python's reader makes of the same data. */
#include "base/tz.h"
#include "tap.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

extern const unsigned char hatchet_zones[], hatchet_zones_end[];

static int32_t at(const char *name, int64_t t)
{
	struct tz z;

	return tz_find(str_c(name), &z) ? tz_offset(z, t) : -1;
}

TEST(known_instants)
{
	CHECK_EQ(at("UTC", 0), 0);
	CHECK_EQ(at("Etc/GMT+5", 1700000000), -5 * 3600);
	CHECK_EQ(at("Asia/Kolkata", 1700000000), 19800);
	/* the night to the 31st of March 2024, when 02:00 became 03:00 */
	CHECK_EQ(at("Europe/Berlin", 1711846799), 3600);
	CHECK_EQ(at("Europe/Berlin", 1711846800), 7200);
	/* south of the equator summer spans the new year */
	CHECK_EQ(at("Australia/Sydney", 1704067200), 11 * 3600);
	CHECK_EQ(at("Australia/Sydney", 1719792000), 10 * 3600);
	/* in the year 2200, by the rule alone */
	CHECK_EQ(at("America/New_York", 7273756800), -4 * 3600);
	CHECK_EQ(at("America/New_York", 7258118400), -5 * 3600);
	/* links, and a rule whose winter is the exception */
	CHECK_EQ(at("US/Eastern", 1719792000), -4 * 3600);
	CHECK_EQ(at("Europe/Dublin", 1719792000), 3600);
	CHECK_EQ(at("Europe/Dublin", 1704067200), 0);
}

TEST(names)
{
	struct tz z;

	CHECK(tz_count() > 500);
	CHECK(strlen(tz_version()) >= 5);
	CHECK(!tz_find(str_c(""), &z));
	CHECK(!tz_find(str_c("Europe"), &z));
	CHECK(!tz_find(str_c("Europe/Berlin2"), &z));
	CHECK(!tz_find(str_c("europe/berlin"), &z));
	CHECK(!tz_find(str_c("../../etc/passwd"), &z));
	for (unsigned i = 0; i < tz_count(); i++) {
		CHECK(tz_find(str_c(tz_name(i)), &z));
		CHECK(i == 0 || strcmp(tz_name(i - 1), tz_name(i)) < 0);
	}
}

TEST(all_zones_as_python_reads_them)
{
	char path[] = "/tmp/hatchet-zones-XXXXXX", command[200], name[100];
	size_t n = (size_t)(hatchet_zones_end - hatchet_zones);
	int fd = mkstemp(path), compared = 0, wrong = 0, offset;
	long long t;
	FILE *p;

	CHECK(fd >= 0);
	CHECK_EQ(write(fd, hatchet_zones, n), (ssize_t)n);
	CHECK_EQ(close(fd), 0);
	snprintf(command, sizeof(command), "python3 tests/lib/zones.py %s", path);
	p = popen(command, "r");
	CHECK(p != NULL);
	while (fscanf(p, "%99s %lld %d", name, &t, &offset) == 3) {
		compared++;
		if (at(name, t) != offset && wrong++ < 5)
			printf("# %s at %lld: %d, want %d\n", name, t, at(name, t), offset);
	}
	CHECK_EQ(pclose(p), 0);
	CHECK_EQ(unlink(path), 0);
	CHECK_EQ(wrong, 0);
	CHECK(compared > 20000);
}
