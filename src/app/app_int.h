/* What the commands share. */
#ifndef APP_APP_INT_H
#define APP_APP_INT_H
#include "base/err.h"
#include "base/uuid.h"
#include "json/json.h"

#include <sys/types.h>

#define HATCHET_VERSION "0.1.0"

/* Exit codes, as documented in `hatchet --help`. */
enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* One flag of a command: --name VALUE, --name=VALUE, or --name for a switch. */
struct flag {
	const char *name, *value_name;	/* value_name NULL: a switch */
	const char *env;		/* public environment variable that sets it, or NULL */
	const char *otherwise;		/* default; NULL: none */
	const char *doc;
	const char *value;		/* out */
	const char *origin;		/* out: "flag", "environment", "default" */
};
struct command {
	const char *name;		/* "server start" */
	const char *summary, *example;
	struct flag *flags;		/* ends with name NULL */
	int (*run)(struct command *c);
	const char *operand;		/* the one word it takes beside flags: "FILE", or "[FILE]" when that may be missing; NULL: none */
	const char *word;		/* out: that word, or NULL */
};
/* Fills the flags from @argv and the environment; prints what is wrong, with a hint. false: exit EXIT_USAGE. */
bool flags_parse(struct command *c, int argc, char **argv, bool *ret_help);
const char *flag_get(const struct command *c, const char *name);	/* NULL: not set */
bool flag_on(const struct command *c, const char *name);
bool flag_int(const struct command *c, const char *name, int64_t min, int64_t max, int64_t *ret);	/* prints what is wrong */
bool flag_choice(const struct command *c, const char *name, const char *const *words);	/* these too */
bool flag_url(const struct command *c, const char *name);	/* http(s)://host...; not given is fine */
bool flag_address(const struct command *c, const char *name);	/* host:port; not given is fine */
bool flag_is_given(const struct command *c, const char *name);	/* on the command line */
void flags_help(const struct command *c);
const char *nearest(const char *word, size_t n, const char *best, const char *other);	/* @other if nearer than @best (may be NULL) */

extern struct command cmd_server_start, cmd_server_stop, cmd_server_status, cmd_server_backup, cmd_server_restore, cmd_token_create, cmd_token_revoke, cmd_migrate,
	cmd_doctor, cmd_runs_why, cmd_verify, cmd_version, cmd_compat, cmd_quickstart, cmd_completion, cmd_manual;
extern struct command *const commands[];	/* all of them, main.c; those without a summary are not for people */
extern const size_t commands_n;

/* client.c: commands that ask a server.  false: @err has one sentence; else the answer on @a, as it came and parsed. */
#define CLIENT_FLAGS \
	{"url", "URL", "HATCHET_CLIENT_SERVER_URL", NULL, "address of the server; default: that of the running one", NULL, NULL}, \
	{"token", "TOKEN", "HATCHET_CLIENT_TOKEN", NULL, "API token", NULL, NULL}, \
	{"ca-file", "FILE", "HATCHET_CLIENT_TLS_ROOT_CA_FILE", NULL, "whom to believe over https; default: as this machine does", NULL, NULL}, \
	{"data-dir", "DIR", "HATCHET_DATA_DIR", NULL, "directory of the running server", NULL, NULL}
bool client_tenant(const struct command *c, struct arena *a, const char **ret, struct err *err);	/* whose token it is, as it says itself */
bool client_call(const struct command *c, struct arena *a, const char *method, const char *path, const struct jv **ret, struct str *ret_text,
		 struct err *err);

/* runfile.c: how `server stop` and `server status` find a running server */
struct running {
	int pid, http_port, grpc_port;
	int64_t started;		/* of the process, in clock ticks since boot: tells it from a later one with its number */
	char url[256], grpc[256];
	char database[1024];		/* of a Postgres of its own; else empty: a URL may hold a password */
	char profile[128];
};
bool data_dir_of(const struct command *c, const char **ret, struct err *err);	/* --data-dir or the default, absolute; static storage */
bool runfile_lock(const char *dir, struct err *err);	/* for the life of the process */
bool runfile_write(const char *dir, const struct running *r, struct err *err);
bool runfile_read(const char *dir, struct running *ret);	/* false: none is running */
void runfile_remove(const char *dir);
int64_t process_started(int pid);
bool mkdirs(const char *path, unsigned mode, struct err *err);

/* certs.c: what the server shows as its own, and when that changes */
struct server;
struct certs;
struct certs_conf {
	const char *strategy;		/* none, self, tls or mtls */
	const char *cert_file, *key_file, *ca_file;
	const char *cert_pem, *key_pem, *ca_pem;	/* instead of the files */
	bool only_13, clear_too;
	const char *dir;		/* data directory: the authority of `self` */
	const char *names[3];		/* more that clients may call the server by; may be NULL */
};
bool certs_new(const struct certs_conf *conf, struct certs **ret, struct err *err);	/* *ret NULL: no TLS */
void certs_free(struct certs *c);
void certs_use(struct certs *c, struct server *s);	/* now, and again whenever they change */
void certs_reload(struct certs *c);
const char *certs_ca_file(const struct certs *c);	/* what clients are to trust; NULL: they know */
const char *certs_strategy(const struct certs *c);	/* of the clients: none, tls or mtls */

/* envfile.c */
bool private_file_check(const char *path, const char *what, struct err *err);	/* can it be written? */
bool private_file_write(const char *path, struct str text, struct err *err);	/* whole or not at all, 0600 */
struct env {
	struct str token;
	const char *url, *grpc;
	const char *tls, *ca_file;	/* strategy; CA file or NULL */
};
bool envfile_write(const char *path, const struct env *env, struct err *err);

/* sidecar.c: the embedded mode of the SDKs, and how the server differs in it (cmd_server.c) */
struct sidecar {
	const char *handshake_file;
	bool no_api, no_migrations, has_broker;
};
bool sidecar_is_asked(int argc, char **argv);
int sidecar_main(int argc, char **argv);
bool sidecar_tell(const struct sidecar *side, struct str token, const char *tenant, const char *grpc, const char *url, struct err *err);
int server_run(struct command *c, const struct sidecar *side);	/* side NULL: server start */

/* token.c */
struct db_sync;
struct arena;
struct token_spec {
	const char *tenant_slug, *name, *public_url, *grpc_address;
	int64_t days;
	char *ret_tenant;	/* UUID_TEXT + 1 bytes for the tenant's id, or NULL */
};
bool token_make(struct db_sync *db, struct arena *a, const struct token_spec *spec, struct str *ret_jwt, struct uuid *ret_id,
		struct err *err);

/* embedpg.c: the Postgres carried in this file; debug builds carry none */
enum { EMBEDPG_MAJOR = 17 };
bool embedpg_is_here(void);
uint32_t embedpg_key(void);	/* of this very archive */
/* What the archive has below @wanted ("postgres": programs, "cluster") goes below the folder @to, which exists, and is that user's. */
struct embedpg_place {
	const char *wanted, *to;
	uid_t uid;
	gid_t gid;
};
bool embedpg_unpack(const struct embedpg_place *places, size_t n, struct err *err);	/* n > 0; one pass for all of them */

/* localpg.c: a Postgres run as our child: the one in this file, else one found on the machine */
struct loop;
struct localpg;
struct localpg_conf {
	const char *dir;	/* data directory of the server: <dir>/postgres */
	bool ephemeral;
};
struct localpg *localpg_new(const struct localpg_conf *conf, struct err *err);
bool localpg_start(struct localpg *p, struct err *err);	/* blocking, until it answers */
const char *localpg_url(const struct localpg *p);
void localpg_watch(struct localpg *p, struct loop *l);	/* from now on: started again when it dies */
void localpg_stop(struct localpg *p);			/* fast shutdown, waits; removes an ephemeral directory; frees */
void localpg_sweep(const char *parent);	/* remove what killed ephemeral servers left */
#endif
