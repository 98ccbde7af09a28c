/* `verify`: every counter recomputed from the tables.  A running server is asked, for it knows its memory too; without one the tables
 * alone are looked at. */
#include "app_int.h"

#include "store/boot.h"
#include "store/verify.h"

#include <stdio.h>

static struct flag verify_flags[] = {
	CLIENT_FLAGS,
	{"database-url", "URL", NULL, NULL, "look at the tables of this Postgres, without a server", NULL, NULL},
	{"json", NULL, NULL, NULL, "for machines", NULL, NULL},
	{NULL, NULL, NULL, NULL, NULL, NULL, NULL},
};

/* What the server answers, or what was found here in the same form. */
static int report(struct command *c, const struct jv *v, struct str text)
{
	int64_t differences = jv_i64(jv_get(v, "differences"), 0), unsettled = jv_i64(jv_get(v, "unsettled"), 0);
	const struct jv *rows = jv_get(v, "rows");

	if (flag_on(c, "json")) {
		(void)printf("%.*s\n", STR_FMT(text));
		return differences ? EXIT_FAILED : EXIT_OK;
	}
	for (size_t i = 0; i < jv_len(rows); i++)
		(void)printf("%.*s: %.*s\n", STR_FMT(jv_str(jv_get(jv_at(rows, i), "kind"))), STR_FMT(jv_str(jv_get(jv_at(rows, i), "text"))));
	(void)printf("%lld checked, %lld differences", (long long)jv_i64(jv_get(v, "checked"), 0), (long long)differences);
	if (unsettled)
		(void)printf(", %lld not compared: they changed all the time", (long long)unsettled);
	(void)putchar('\n');
	return differences ? EXIT_FAILED : EXIT_OK;
}

static struct str as_json(struct arena *a, const struct verify_report *r)
{
	struct strb b;
	struct str ret;
	struct jw w;

	strb_init(&b, 16u << 20);
	jw_init(&w, &b);
	jw_obj_begin(&w);
	jw_kv_i64(&w, "checked", (int64_t)r->n_checked);
	jw_kv_i64(&w, "unsettled", 0);
	jw_kv_i64(&w, "differences", (int64_t)r->n_diffs);
	jw_key(&w, "rows");
	jw_arr_begin(&w);
	for (size_t i = 0; i < MIN(r->n_diffs, (uint64_t)VERIFY_DIFFS); i++) {
		jw_obj_begin(&w);
		jw_kv_c(&w, "kind", r->diffs[i].kind);
		jw_kv_str(&w, "text", r->diffs[i].text);
		if (r->diffs[i].id > 0) {
			struct uuid u;

			id_to_uuid(r->secret, r->diffs[i].id, &u);
			jw_kv_uuid(&w, "taskId", &u);
		}
		jw_obj_end(&w);
	}
	jw_arr_end(&w);
	jw_obj_end(&w);
	ret = arena_dup(a, strb_str(&b));
	strb_fini(&b);
	return ret;
}

static bool of_database(const char *url, struct arena *a, const struct jv **ret, struct str *ret_text, struct err *err)
{
	struct db_sync *db = db_sync_open(url, err);
	struct verify_report r;
	bool migrated = false, ok;

	if (!db)
		return false;
	verify_report_init(&r, a, NULL);
	ok = boot_is_migrated(db, &migrated, err) &&
	     (migrated || err_set(err, ERR_PRECONDITION, "the database holds no schema of this version; run \"hatchet migrate\" first")) &&
	     verify_database(db, &r, err);
	db_sync_close(db);
	if (!ok)
		return false;
	*ret_text = as_json(a, &r);
	*ret = json_parse(a, *ret_text, err);
	return *ret != NULL;
}

static int verify(struct command *c)
{
	struct arena *a = arena_new((size_t)1 << 30);
	const char *url = flag_get(c, "database-url"), *tenant;
	const struct jv *v = NULL;
	struct str text;
	struct err err;
	int code;

	if (!flag_url(c, "url")) {
		arena_free(a);
		return EXIT_USAGE;
	}
	if (url ? of_database(url, a, &v, &text, &err) :
		  client_tenant(c, a, &tenant, &err) &&
			  client_call(c, a, "POST", arena_strf(a, "/api/v1/stable/tenants/%s/verify", tenant).p, &v, &text, &err)) {
		code = report(c, v, text);
	} else {
		(void)fprintf(stderr, "hatchet: %s\n", err.msg);
		code = EXIT_FAILED;
	}
	arena_free(a);
	return code;
}

struct command cmd_verify = {.name = "verify", .summary = "Recompute every counter from the tables and tell what differs.",
	.example = "hatchet verify --database-url postgres://user:secret@db/hatchet", .flags = verify_flags, .run = verify};
