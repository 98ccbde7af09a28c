/* Log lines, as they arrive on stderr. */
#include "base/log.h"
#include "tap.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static char got[65536];

/* everything written to stderr by @fn, as one C string */
static const char *captured(void (*fn)(void))
{
	char path[] = "/tmp/hatchet-log-XXXXXX";
	int fd = mkstemp(path), keep = dup(2);

	CHECK(fd >= 0 && keep >= 0);
	unlink(path);
	CHECK(dup2(fd, 2) == 2);
	fn();
	CHECK(dup2(keep, 2) == 2);
	ssize_t n = pread(fd, got, sizeof(got) - 1, 0);
	CHECK(n >= 0);
	got[n] = '\0';
	close(fd);
	close(keep);
	return got;
}

static void two_lines(void)
{
	log_set(LOG_INFO, LOG_JSON);
	log_warn("slow \"thing\"", F_STR("id", STR("a\nb")), F_I64("ms", -5), F_C("none", NULL));
	log_debug("not shown");
	log_error("plain");
}

TEST(json_lines)
{
	const char *t = captured(two_lines);
	CHECK(strstr(t, ",\"level\":\"warn\",\"msg\":\"slow \\\"thing\\\"\",\"src\":\"tests/unit/test_log.c\",\"id\":\"a\\nb\",\"ms\":-5,\"none\":\"\"}\n"));
	CHECK(strstr(t, "\"level\":\"error\",\"msg\":\"plain\""));
	CHECK(!strstr(t, "not shown"));
	CHECK_EQ(strncmp(t, "{\"time\":\"2", 10), 0);
}

static void console(void)
{
	log_set(LOG_DEBUG, LOG_CONSOLE);
	log_debug("went well", F_C("who", "me"), F_STR("esc", STR("\x1b[31m")), F_I64("n", 3));
}

TEST(console_shows_no_control_characters)
{
	const char *t = captured(console);
	CHECK(strstr(t, "debug went well who=me esc=\"\\u001b[31m\" n=3\n"));
	CHECK(!strchr(t, 0x1b));
}

static char big[20000];
static void oversize(void)
{
	struct str s = {big, sizeof(big)};

	memset(big, 1, sizeof(big));	/* six characters each in JSON */
	log_set(LOG_INFO, LOG_JSON);
	log_info("big", F_I64("first", 1), F_STR("big", s), F_I64("last", 2));
}

TEST(a_long_field_is_cut_out)
{
	const char *t = captured(oversize);
	CHECK(strlen(t) < 8192);
	CHECK(strstr(t, ",\"first\":1,\"cut\":1}\n"));
}

TEST(levels)
{
	enum log_level l = LOG_DEBUG;
	CHECK(log_level_parse(STR("WARN"), &l) && l == LOG_WARN);
	CHECK(!log_level_parse(STR("loud"), &l) && l == LOG_WARN);
}
