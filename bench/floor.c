/* The floor under every durable queue on Postgres: three durable steps per task (stored, assigned, done), each a row with its
 * primary key, 100 tasks per commit, one connection, 200 B in, 100 B out; no engine, no network.  Arguments: URL, seconds.
 * Prints tasks per second, from first to last commit. */
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BATCH = 100, ITEM_BYTES = 256 };

static void check(PGconn *c, PGresult *r, const char *what)
{
	if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_TUPLES_OK) {
		(void)fprintf(stderr, "floor: %s: %s", what, PQerrorMessage(c));
		exit(1);
	}
	PQclear(r);
}

static double now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* "{1,2,3}" of BATCH numbers from @from on, or of BATCH times @item. */
static void numbers(char *out, long from)
{
	char *p = out;

	for (int i = 0; i < BATCH; i++)
		p += sprintf(p, "%c%ld", i ? ',' : '{', from + i);
	memcpy(p, "}", 2);
}

static void texts(char *out, const char *item)
{
	char *p = out;

	for (int i = 0; i < BATCH; i++)
		p += sprintf(p, "%c%s", i ? ',' : '{', item);
	memcpy(p, "}", 2);
}

int main(int argc, char **argv)
{
	static char ids[BATCH * 24], in[BATCH * ITEM_BYTES], out[BATCH * ITEM_BYTES], workers[BATCH * 4], item[ITEM_BYTES];
	const char *task[] = {ids, in}, *assign[] = {ids, workers}, *done[] = {ids, out};
	double seconds = argc > 2 ? atof(argv[2]) : 5, began, end;
	PGconn *c;
	long n = 0;

	if (argc < 2)
		return 2;
	c = PQconnectdb(argv[1]);
	if (PQstatus(c) != CONNECTION_OK) {
		(void)fprintf(stderr, "floor: %s", PQerrorMessage(c));
		return 1;
	}
	check(c, PQexec(c, "set client_min_messages to warning; drop schema if exists floor cascade; create schema floor;"
			   "create table floor.task (id int8 primary key, input text);"
			   "create table floor.assigned (id int8 primary key, worker_no int4);"
			   "create table floor.done (id int8 primary key, output text)"), "schema");
	check(c, PQprepare(c, "task", "insert into floor.task select * from unnest($1::int8[], $2::text[])", 2, NULL), "prepare");
	check(c, PQprepare(c, "assign", "insert into floor.assigned select * from unnest($1::int8[], $2::int4[])", 2, NULL), "prepare");
	check(c, PQprepare(c, "done", "insert into floor.done select * from unnest($1::int8[], $2::text[])", 2, NULL), "prepare");
	memset(item, 'x', 200);
	texts(in, item);
	item[100] = '\0';
	texts(out, item);
	texts(workers, "7");
	began = now();
	end = began + seconds;
	while (now() < end) {
		numbers(ids, n);
		check(c, PQexecPrepared(c, "task", 2, task, NULL, NULL, 0), "task");
		check(c, PQexecPrepared(c, "assign", 2, assign, NULL, NULL, 0), "assign");
		check(c, PQexecPrepared(c, "done", 2, done, NULL, NULL, 0), "done");
		n += BATCH;
	}
	printf("%.1f\n", (double)n / (now() - began));
	check(c, PQexec(c, "drop schema floor cascade"), "drop");
	PQfinish(c);
	return 0;
}
