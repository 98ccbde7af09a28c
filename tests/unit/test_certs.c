/* Certificates over the years: what `--tls self` makes anew, and when.  The wall clock is ours. */
#include "../../src/app/app_int.h"
#include "../../src/net/net_int.h"
#include "base/log.h"
#include "crypto/cert.h"
#include "netserver.h"
#include "tap.h"
#include "tlsclient.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { DAY = 86400 };
static time_t ahead;

/* in the place of the library's */
time_t time(time_t *ret);
time_t time(time_t *ret)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	if (ret)
		*ret = t.tv_sec + ahead;
	return t.tv_sec + ahead;
}

static struct str slurp(struct arena *a, const char *path)
{
	char *p = arena_zalloc(a, 20000);
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? 0 : read(fd, p, 19999);

	(void)close(fd);
	return (struct str){p, (size_t)(n > 0 ? n : 0)};
}

/* Does a client that trusts @ca get through? */
static bool shake(struct netserver *n, struct str ca)
{
	struct tlsclient *c = tlsclient_new(&(struct tlsclient_conf){.ca = ca, .name = "localhost"});
	int fd = netserver_connect(n);
	struct strb to, got;
	char buf[65536];
	bool ok;

	strb_init(&to, 1 << 20);
	strb_init(&got, 1 << 20);
	for (int i = 0; i < 500 && tlsclient_step(c, STR(""), &to, &got) && !tlsclient_up(c); i++) {
		ssize_t k;

		if (to.n)
			CHECK(send(fd, to.p, to.n, MSG_NOSIGNAL) == (ssize_t)to.n);
		strb_reset(&to);
		netserver_turns(n, 1000);
		while ((k = recv(fd, buf, sizeof(buf), 0)) > 0)
			(void)tlsclient_step(c, (struct str){buf, (size_t)k}, &to, &got);
	}
	ok = tlsclient_up(c);
	(void)close(fd);
	tlsclient_free(c);
	strb_fini(&to);
	strb_fini(&got);
	netserver_turns(n, 1000);
	return ok;
}

static char dir[] = "/tmp/hatchet-certs-XXXXXX";

static struct certs *self(void)
{
	struct certs_conf conf = {.strategy = "self", .dir = dir, .names = {"0.0.0.0", "https://[::1]:8/x", "one.example:7077"}};
	struct certs *c;
	struct err err = {0};

	if (!certs_new(&conf, &c, &err))
		CHECK_STR(err.msg, "");
	return c;
}

static void remove_dir(void)
{
	char path[100];
	static const char *const names[] = {"tls/ca.pem", "tls/authority.pem", "tls", ""};

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		(void)remove(path);
	}
}

TEST(own_certificates_do_not_get_old)
{
	struct netserver *n = netserver_new(&server_limits_default);
	struct arena *a = arena_new(1 << 20);
	struct tls_ctx *first;
	struct certs *c;
	struct str ca;
	char path[100];
	struct stat st;

	log_set(LOG_ERROR, LOG_JSON);
	CHECK(mkdtemp(dir));
	c = self();
	(void)snprintf(path, sizeof(path), "%s/tls/authority.pem", dir);
	CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
	(void)snprintf(path, sizeof(path), "%s/tls/ca.pem", dir);
	CHECK_STR(certs_ca_file(c), path);
	CHECK_STR(certs_strategy(c), "tls");
	ca = slurp(a, path);
	certs_use(c, n->server);
	first = n->server->tls;
	CHECK(shake(n, ca));
	CHECK(n->server->tls == first);
	ahead = 59 * DAY;
	netserver_turns(n, 1100000);	/* it looks once a second at most */
	CHECK(shake(n, ca));
	CHECK(n->server->tls == first);
	ahead = 61 * DAY;	/* less than 30 days are left */
	netserver_turns(n, 1100000);
	CHECK(shake(n, ca));
	CHECK(n->server->tls != first);
	ahead = 300 * DAY;	/* long asleep: the first to come wakes it up in time */
	netserver_turns(n, 1100000);
	CHECK(shake(n, ca));
	certs_free(c);
	c = self();
	CHECK_STR(slurp(a, path), ca);
	certs_free(c);
	ahead = (time_t)3300 * DAY;	/* the last of its ten years */
	c = self();
	CHECK(!str_eq(slurp(a, path), ca));
	certs_use(c, n->server);
	CHECK(shake(n, slurp(a, path)));
	CHECK(!shake(n, ca));
	netserver_free(n);
	certs_free(c);
	arena_free(a);
	remove_dir();
}

TEST(strategies)
{
	struct certs_conf conf = {.dir = dir, .cert_pem = "", .key_pem = ""};
	struct certs *c = (struct certs *)dir;
	struct err err;

	CHECK(certs_new(&conf, &c, &err) && !c);	/* empty variables are none */
	CHECK_STR(certs_strategy(c), "none");
	CHECK(!certs_ca_file(c));
	conf.strategy = "none";
	conf.cert_file = "/nowhere";
	CHECK(certs_new(&conf, &c, &err) && !c);
	conf.strategy = NULL;
	CHECK(!certs_new(&conf, &c, &err));
	CHECK(strstr(err.msg, "--tls tls needs --tls-cert and --tls-key"));
	conf.key_pem = "junk";
	CHECK(!certs_new(&conf, &c, &err));
	CHECK(strstr(err.msg, "the certificate file /nowhere cannot be read"));
	conf.cert_pem = "junk";
	CHECK(!certs_new(&conf, &c, &err));
	CHECK_STR(err.msg, "SERVER_TLS_CERT holds no certificate in PEM form");
}
