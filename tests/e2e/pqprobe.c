/* A client on the libpq that ships: connects as its first argument says, does the job that the second names, prints one line.
 *
 *	pqprobe CONNINFO JOB [N]
 *	who		what is known of the session
 *	push N		N MiB as parameters of a pipeline, without ever blocking; the server sums up
 *	lazy N		the same, all of it given to libpq before the first answer is read
 *	pull N		N MiB of rows, without ever blocking
 *	cancel		a cancel request over the same TLS
 *	wait		sleeps in the server until the connection ends; prints "ready" first */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpq-fe.h"

#define CHUNK (256 * 1024)

static PGconn *conn;

static void die(const char *what)
{
	char text[2000];

	snprintf(text, sizeof(text), "%s", PQerrorMessage(conn));
	for (char *p = text; *p; p++)
		if (*p == '\n')
			*p = p[1] ? '|' : 0;
	printf("FAIL %s: %s\n", what, text);
	PQfinish(conn);
	exit(1);
}

static void wait_for(short events)
{
	struct pollfd p = {.fd = PQsocket(conn), .events = events};

	const char *ms = getenv("PQPROBE_WAIT_MS");

	if (poll(&p, 1, ms ? atoi(ms) : 60000) <= 0)
		die("wait for a byte");
}

/* as an event loop does it */
static void connect_to(const char *conninfo)
{
	conn = PQconnectStart(conninfo);
	if (!conn || PQstatus(conn) == CONNECTION_BAD)
		die("connect");
	for (PostgresPollingStatusType s = PGRES_POLLING_WRITING; s != PGRES_POLLING_OK; s = PQconnectPoll(conn)) {
		if (s == PGRES_POLLING_FAILED)
			die("connect");
		wait_for(s == PGRES_POLLING_READING ? POLLIN : POLLOUT);
	}
}

static void who(void)
{
	PGresult *r = PQexec(conn, "select coalesce(version, '-'), ssl from pg_stat_ssl where pid = pg_backend_pid()");

	if (PQresultStatus(r) != PGRES_TUPLES_OK)
		die("query");
	const char *names[] = {"library", "protocol", "cipher", "key_bits", "compression", "alpn"};

	printf("OK tls=%s", PQgetvalue(r, 0, 0));
	for (size_t i = 0; PQsslInUse(conn) && i < sizeof(names) / sizeof(names[0]); i++)
		printf(" %s=%s", names[i], PQsslAttribute(conn, names[i]));
	printf(" names=");
	for (const char *const *n = PQsslAttributeNames(conn); *n; n++)
		printf("%s,", *n);
	printf("\n");
	PQclear(r);
}

/* what the socket gives and takes now */
static void turn(int writing)
{
	wait_for((short)(POLLIN | (writing ? POLLOUT : 0)));
	if (!PQconsumeInput(conn))
		die("read");
}

static uint64_t mix(uint64_t x)
{
	x ^= x << 13;
	x ^= x >> 7;
	return x ^ x << 17;
}

static void push(int mib, int lazy)
{
	int sent = 0, got = 0, all = mib * (1 << 20) / CHUNK, flushed = 0;
	char *text = malloc(CHUNK + 1);
	uint64_t seed = 88172645463325252u, want = 0, sum = 0;
	const char *params[1] = {text};

	if (!text || PQsetnonblocking(conn, 1) || !PQenterPipelineMode(conn))
		die("pipeline");
	while (got < all) {
		/* all at once into libpq's buffer when lazy, so that it grows and moves while writes are under way */
		while (sent < all && (lazy || sent - got < 8)) {
			for (int i = 0; i < CHUNK; i++) {
				seed = mix(seed);
				text[i] = (char)('a' + seed % 26);
			}
			text[CHUNK] = 0;
			want += (unsigned char)text[sent % CHUNK];
			char sql[200];

			snprintf(sql, sizeof(sql), "select ascii(substr($1::text, %d, 1)), length($1::text), md5($1::text)%s", sent % CHUNK + 1,
				 sent == 0 && lazy ? ", pg_sleep(0.5)" : "");
			if (!PQsendQueryParams(conn, sql, 1, NULL, params, NULL, NULL, 0) || !PQpipelineSync(conn))
				die("send");
			sent++;
			flushed = PQflush(conn);
			if (flushed < 0)
				die("write");
		}
		turn(flushed == 1);
		flushed = PQflush(conn);
		if (flushed < 0)
			die("write");
		while (got < sent && !PQisBusy(conn)) {
			PGresult *r = PQgetResult(conn);

			if (!r)
				continue;
			if (PQresultStatus(r) == PGRES_TUPLES_OK) {
				if (atoi(PQgetvalue(r, 0, 1)) != CHUNK)
					die("length");
				sum += (uint64_t)atoi(PQgetvalue(r, 0, 0));
			} else if (PQresultStatus(r) == PGRES_PIPELINE_SYNC) {
				got++;
			} else {
				die("result");
			}
			PQclear(r);
		}
	}
	printf(sum == want ? "OK %d chunks of %d, sum %" PRIu64 "\n" : "FAIL %d chunks of %d, sum %" PRIu64 "\n", got, CHUNK, sum);
	free(text);
}

static void pull(int mib)
{
	size_t bytes = 0, rows = 0;
	char sql[200];

	snprintf(sql, sizeof(sql), "select repeat(md5(i::text), 32768), md5(i::text) from generate_series(1, %d) i", mib);
	if (PQsetnonblocking(conn, 1) || !PQsendQuery(conn, sql) || !PQsetSingleRowMode(conn))
		die("send");
	while (PQflush(conn) == 1)
		turn(1);
	for (;;) {
		while (PQisBusy(conn))
			turn(0);
		PGresult *r = PQgetResult(conn);

		if (!r)
			break;
		if (PQresultStatus(r) == PGRES_SINGLE_TUPLE) {
			const char *big = PQgetvalue(r, 0, 0), *md5 = PQgetvalue(r, 0, 1);

			for (int i = 0; i < 32768; i++)
				if (memcmp(big + i * 32, md5, 32) != 0)
					die("content");
			bytes += (size_t)PQgetlength(r, 0, 0);
			rows++;
		} else if (PQresultStatus(r) != PGRES_TUPLES_OK) {
			die("result");
		}
		PQclear(r);
	}
	printf("OK %zu rows, %zu bytes\n", rows, bytes);
}

static void cancel(void)
{
	PGcancelConn *c;

	if (!PQsendQuery(conn, "select pg_sleep(60)"))
		die("send");
	c = PQcancelCreate(conn);
	if (!PQcancelBlocking(c)) {
		printf("FAIL cancel: %s\n", PQcancelErrorMessage(c));
		exit(1);
	}
	PQcancelFinish(c);
	PGresult *r = PQgetResult(conn);

	printf("OK %s\n", PQresultErrorField(r, PG_DIAG_SQLSTATE));
	PQclear(r);
	while ((r = PQgetResult(conn)))
		PQclear(r);
}

int main(int argc, char **argv)
{
	const char *job = argc > 2 ? argv[2] : "";
	int n = argc > 3 ? atoi(argv[3]) : 1;

	if (argc < 3)
		return 2;
	connect_to(argv[1]);
	if (strcmp(job, "who") == 0) {
		who();
	} else if (strcmp(job, "push") == 0) {
		push(n, 0);
	} else if (strcmp(job, "lazy") == 0) {
		push(n, 1);
	} else if (strcmp(job, "pull") == 0) {
		pull(n);
	} else if (strcmp(job, "cancel") == 0) {
		cancel();
	} else if (strcmp(job, "wait") == 0) {
		printf("ready %d\n", PQbackendPID(conn));
		fflush(stdout);
		PGresult *r = PQexec(conn, "select pg_sleep(60)");

		if (PQresultStatus(r) != PGRES_TUPLES_OK) {
			PQclear(r);
			die("query");
		}
		PQclear(r);
		printf("OK\n");
	}
	PQfinish(conn);
	return 0;
}
