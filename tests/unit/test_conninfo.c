/* What of a database URL reaches libpq: no name that it would have to resolve, always a user. */
#include "../../src/db/db_int.h"
#include "base/err.h"
#include "tap.h"

#include <stdlib.h>
#include <unistd.h>

static struct conninfo ci;
static struct err err;

static const char *get(const char *key)
{
	for (unsigned i = 0; i < ci.n; i++)
		if (strcmp(ci.keys[i], key) == 0)
			return ci.values[i];
	return "";
}

static void clean_env(void)
{
	CHECK_EQ(unsetenv("PGHOST"), 0);
	CHECK_EQ(unsetenv("PGHOSTADDR"), 0);
	CHECK_EQ(unsetenv("PGUSER"), 0);
	CHECK_EQ(unsetenv("PGPORT"), 0);
}

TEST(localhost_needs_no_file)
{
	static const char *const names[] = {"localhost", "LocalHost", "localhost.", "db.localhost", "a.b.localhost."};
	char url[100];

	clean_env();
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		snprintf(url, sizeof(url), "postgres://u@%s:5433/d", names[i]);
		CHECK(conninfo_has_names(url));
		CHECK(conninfo_make(url, "t", &ci, &err));
		CHECK_STR(get("hostaddr"), "127.0.0.1,::1");
		/* both carry the name that a certificate is checked against */
		snprintf(url, sizeof(url), "%s,%s", names[i], names[i]);
		CHECK_STR(get("host"), url);
		CHECK_STR(get("port"), "5433,5433");
		conninfo_fini(&ci);
	}
}

TEST(other_names_are_not_localhost)
{
	clean_env();
	/* reserved for names that do not exist (RFC 6761), so no answer can make this pass */
	CHECK(!conninfo_make("postgres://u@notlocalhost.invalid/d", "t", &ci, &err));
	CHECK_EQ(err.code, ERR_UNAVAILABLE);
	CHECK(conninfo_make("postgres://u@localhost,127.0.0.7:1/d", "t", &ci, &err));
	CHECK_STR(get("hostaddr"), "127.0.0.1,::1,127.0.0.7");
	CHECK_STR(get("target_session_attrs"), "read-write");
	conninfo_fini(&ci);
}

TEST(addresses_and_sockets_are_left_alone)
{
	clean_env();
	CHECK(!conninfo_has_names("postgres://u@[::1]:5432/d"));
	CHECK(!conninfo_has_names("host=/run/pg user=u"));
	CHECK(!conninfo_has_names("host=db.invalid hostaddr=10.0.0.1 user=u"));
	CHECK(conninfo_make("host=db.invalid hostaddr=10.0.0.1 user=u", "t", &ci, &err));
	CHECK_STR(get("hostaddr"), "10.0.0.1");
	CHECK_STR(get("host"), "db.invalid");
	conninfo_fini(&ci);
}

TEST(a_host_from_the_environment_is_resolved_too)
{
	clean_env();
	CHECK_EQ(setenv("PGHOST", "localhost", 1), 0);
	CHECK(conninfo_has_names("dbname=d user=u"));
	CHECK(conninfo_make("dbname=d user=u", "t", &ci, &err));
	CHECK_STR(get("hostaddr"), "127.0.0.1,::1");
	conninfo_fini(&ci);
	CHECK_EQ(setenv("PGHOSTADDR", "10.0.0.2", 1), 0);
	CHECK(!conninfo_has_names("dbname=d user=u"));
	clean_env();
}

TEST(there_is_always_a_user)
{
	clean_env();
	CHECK(conninfo_make("host=/run dbname=d", "t", &ci, &err));
	CHECK(strlen(get("user")) > 0);
	conninfo_fini(&ci);
	CHECK(conninfo_make("host=/run dbname=d user=me", "t", &ci, &err));
	CHECK_STR(get("user"), "me");
	conninfo_fini(&ci);
	/* libpq takes it from there by itself */
	CHECK_EQ(setenv("PGUSER", "other", 1), 0);
	CHECK(conninfo_make("host=/run dbname=d", "t", &ci, &err));
	CHECK_STR(get("user"), "");
	conninfo_fini(&ci);
	clean_env();
}
