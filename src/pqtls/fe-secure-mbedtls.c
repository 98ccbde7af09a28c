/* TLS for libpq by mbedTLS: what fe-secure.c expects of a TLS library (pgtls_* of libpq-int.h), which is otherwise untouched.
 * Ours, not part of Postgres; compiled only into libpq (tools/deps/libpq.sh). */
#include "postgres_fe.h"

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fe-auth.h"
#include "fe-secure-common.h"
#include "libpq-fe.h"
#include "libpq-int.h"

#include <mbedtls/error.h>
#include <mbedtls/net_sockets.h>
#include <mbedtls/ssl.h>
#include <mbedtls/ssl_ciphersuites.h>
#include <psa/crypto.h>

#include "pqtls.h"

#define TLS_OLDEST "TLSv1.2"
#define TLS_NEWEST "TLSv1.3"

struct tls {
	mbedtls_ssl_context ssl;
	mbedtls_ssl_config conf;
	mbedtls_x509_crt ca, own;
	mbedtls_x509_crl crl;
	mbedtls_pk_context key;
	bool verify, check_crl;
	bool up;		/* the handshake is over */
	bool said;		/* libpq has put the reason of a failed read into its message */
	size_t unsent;		/* what mbedtls_ssl_write() took and could not send yet */
	char at[1024];		/* which certificate of the server was refused first */
	char leaf[1024];	/* the server's own, in the same words */
	char key_bits[12];
};

static void tls_error(PGconn *conn, const char *what, int rc)
{
	char text[160];

	mbedtls_strerror(rc, text, sizeof(text));
	libpq_append_conn_error(conn, "TLS: %s: %s", what, text);
}

/* --- the socket below */

static bool later(void)
{
	return SOCK_ERRNO == EAGAIN || SOCK_ERRNO == EWOULDBLOCK || SOCK_ERRNO == EINTR;
}

static int tls_send(void *p, const unsigned char *from, size_t n)
{
	ssize_t sent = pqsecure_raw_write(p, from, n);

	if (sent >= 0)
		return (int)sent;
	return later() ? MBEDTLS_ERR_SSL_WANT_WRITE : MBEDTLS_ERR_NET_SEND_FAILED;
}

static int tls_recv(void *p, unsigned char *to, size_t n)
{
	PGconn *conn = p;
	struct tls *t = conn->mbed;
	ssize_t got = pqsecure_raw_read(conn, to, n);

	if (got > 0)
		conn->ssl_handshake_started = true;
	if (got >= 0)
		return (int)got;
	if (later())
		return MBEDTLS_ERR_SSL_WANT_READ;
	t->said = true;
	return MBEDTLS_ERR_NET_RECV_FAILED;
}

/* --- the certificate of the server */

/* Called for each certificate of the chain, from the root down.  libpq compares names itself, only for verify-full. */
static int tls_verify(void *p, mbedtls_x509_crt *crt, int depth, uint32_t *flags)
{
	struct tls *t = p;
	char subject[400], issuer[400], *to;

	*flags &= ~(uint32_t)MBEDTLS_X509_BADCERT_CN_MISMATCH;
	/* mbedTLS lets pass what no list speaks of; a list that is missing must not look like one that is empty */
	if (t->check_crl && *flags == 0 && !pqtls_crl_covers(&t->crl, crt))
		*flags |= MBEDTLS_X509_BADCERT_OTHER;
	to = *flags && !t->at[0] ? t->at : t->leaf;
	if (to == t->at || depth == 0) {
		if (mbedtls_x509_dn_gets(subject, sizeof(subject), &crt->subject) < 0)
			strcpy(subject, "?");
		if (mbedtls_x509_dn_gets(issuer, sizeof(issuer), &crt->issuer) < 0)
			strcpy(issuer, "?");
		snprintf(to, sizeof(t->at), " (certificate \"%s\" of \"%s\")", subject, issuer);
	}
	return 0;
}

char *pgtls_get_peer_certificate_hash(PGconn *conn, size_t *len)
{
	struct tls *t = conn->mbed;
	const mbedtls_x509_crt *peer = t ? mbedtls_ssl_get_peer_cert(&t->ssl) : NULL;
	const mbedtls_md_info_t *md;
	char *hash;

	*len = 0;
	if (!peer)
		return NULL;
	md = mbedtls_md_info_from_type(pqtls_binding_md(peer->MBEDTLS_PRIVATE(sig_md)));
	if (!md) {
		libpq_append_conn_error(conn, "TLS: no hash is defined for binding the channel to this server's certificate");
		return NULL;
	}
	hash = malloc(mbedtls_md_get_size(md));
	if (!hash || mbedtls_md(md, peer->raw.p, peer->raw.len, (unsigned char *)hash)) {
		free(hash);
		libpq_append_conn_error(conn, "out of memory");
		return NULL;
	}
	*len = mbedtls_md_get_size(md);
	return hash;
}

int pgtls_verify_peer_name_matches_certificate_guts(PGconn *conn, int *names_examined, char **first_name)
{
	struct tls *t = conn->mbed;
	const mbedtls_x509_crt *peer = mbedtls_ssl_get_peer_cert(&t->ssl);
	struct pqtls_names seen;

	if (!peer)
		return 0;
	switch (pqtls_match(peer, conn->connhost[conn->whichhost].host, &seen)) {
	case PQTLS_YES:
		return 1;
	case PQTLS_BAD_NAME:
		libpq_append_conn_error(conn, "server certificate refused: a name in it holds a zero byte (\"%s\")", seen.first);
		return -1;
	case PQTLS_BAD_IP:
		libpq_append_conn_error(conn, "server certificate refused: an IP address in it has a wrong length");
		return -1;
	case PQTLS_NO:
		break;
	}
	*names_examined = seen.n;
	*first_name = strdup(seen.first);
	if (!*first_name) {
		libpq_append_conn_error(conn, "out of memory");
		return -1;
	}
	return 0;
}

/* --- what the connection's options ask for */

/* the option, or the file of that name in the home, or "" */
static const char *path_of(const char *option, const char *name, char *buf)
{
	char home[MAXPGPATH];

	if (option && option[0])
		return option;
	buf[0] = 0;
	if (pqGetHomeDirectory(home, sizeof(home)))
		snprintf(buf, MAXPGPATH, "%s/%s", home, name);
	return buf;
}

static bool there(const char *path)
{
	struct stat st;

	return path[0] && (stat(path, &st) == 0 || (errno != ENOENT && errno != ENOTDIR));
}

/* where systems keep the authorities that they trust */
static const char *system_roots(void)
{
	static const char *const places[] = {
		"/etc/ssl/certs/ca-certificates.crt",			/* Debian, Alpine, Arch */
		"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",	/* Fedora, RHEL */
		"/etc/pki/tls/certs/ca-bundle.crt",
		"/etc/ssl/ca-bundle.pem",				/* SUSE */
		"/etc/ssl/cert.pem",					/* Alpine, BSD */
		"/var/lib/ca-certificates/ca-bundle.pem",
	};
	const char *named = getenv("SSL_CERT_FILE");

	if (named && named[0])
		return named;
	for (size_t i = 0; i < lengthof(places); i++)
		if (access(places[i], R_OK) == 0)
			return places[i];
	return NULL;
}

static bool load_roots(PGconn *conn, struct tls *t)
{
	struct pqtls_why why;
	char buf[MAXPGPATH];
	const char *path = path_of(conn->sslrootcert, ROOT_CERT_FILE, buf);

	if (strcmp(path, "system") == 0) {
		path = system_roots();
		if (!path) {
			libpq_append_conn_error(conn, "sslrootcert=system: this system has no file of trusted authorities in a known place; "
									"SSL_CERT_FILE may name one");
			return false;
		}
	} else if (!there(path)) {
		/* without roots nothing is verified, which is what the weaker modes ask for */
		if (conn->sslmode[0] != 'v')
			return true;
		libpq_append_conn_error(conn, "root certificate file \"%s\" does not exist, sslmode=%s needs one: "
								"name it with sslrootcert, or use sslrootcert=system", path, conn->sslmode);
		return false;
	}
	if (!pqtls_certs_file(&t->ca, path, &why)) {
		libpq_append_conn_error(conn, "root certificate file \"%s\": %s", path, why.text);
		return false;
	}
	t->verify = true;
	return true;
}

/* A list that was asked for and cannot be read is an error: else whoever removes it makes revoked certificates good. */
static bool load_lists(PGconn *conn, struct tls *t)
{
	struct pqtls_why why;
	char buf[MAXPGPATH];
	const char *file = conn->sslcrl && conn->sslcrl[0] ? conn->sslcrl : NULL;
	const char *dir = conn->sslcrldir && conn->sslcrldir[0] ? conn->sslcrldir : NULL;

	if (!t->verify)
		return true;
	if (!file && !dir) {
		file = path_of(NULL, ROOT_CRL_FILE, buf);
		if (!there(file))
			return true;
	}
	if (file && !pqtls_crls_file(&t->crl, file, &why)) {
		libpq_append_conn_error(conn, "certificate revocation list \"%s\": %s", file, why.text);
		return false;
	}
	if (dir && !pqtls_crls_dir(&t->crl, dir, &why)) {
		libpq_append_conn_error(conn, "certificate revocation lists in \"%s\": %s", dir, why.text);
		return false;
	}
	t->check_crl = true;
	return true;
}

static bool load_own(PGconn *conn, struct tls *t)
{
	struct pqtls_why why;
	char buf[MAXPGPATH];
	const char *path = path_of(conn->sslcert, USER_CERT_FILE, buf);
	int rc;

	/* as libpq has it: no such file, no certificate; the server says whether it wants one */
	if (conn->sslcertmode[0] == 'd' || !there(path))
		return true;
	if (!pqtls_certs_file(&t->own, path, &why)) {
		libpq_append_conn_error(conn, "client certificate file \"%s\": %s", path, why.text);
		return false;
	}
	path = path_of(conn->sslkey, USER_KEY_FILE, buf);
	if (!pqtls_key_file(&t->key, path, conn->sslpassword, &why)) {
		libpq_append_conn_error(conn, "private key file \"%s\": %s", path, why.text);
		return false;
	}
	if (mbedtls_pk_check_pair(&t->own.pk, &t->key, pqtls_random, NULL)) {
		libpq_append_conn_error(conn, "private key file \"%s\" does not belong to the client certificate", path);
		return false;
	}
	rc = mbedtls_ssl_conf_own_cert(&t->conf, &t->own, &t->key);
	if (rc)
		tls_error(conn, "client certificate", rc);
	return rc == 0;
}

/* libpq has checked that both are names of versions and in order; 1.0 and 1.1 are long refused (RFC 8996) */
static bool set_versions(PGconn *conn, struct tls *t)
{
	const char *min = conn->ssl_min_protocol_version, *max = conn->ssl_max_protocol_version;
	bool only13 = min && pg_strcasecmp(min, "TLSv1.3") == 0, only12 = max && pg_strcasecmp(max, "TLSv1.2") == 0;

	if (max && max[0] && !only12 && pg_strcasecmp(max, "TLSv1.3") != 0) {
		libpq_append_conn_error(conn, "ssl_max_protocol_version=%s: this libpq speaks %s and %s only", max, TLS_OLDEST, TLS_NEWEST);
		return false;
	}
	mbedtls_ssl_conf_min_tls_version(&t->conf, only13 ? MBEDTLS_SSL_VERSION_TLS1_3 : MBEDTLS_SSL_VERSION_TLS1_2);
	mbedtls_ssl_conf_max_tls_version(&t->conf, only12 ? MBEDTLS_SSL_VERSION_TLS1_2 : MBEDTLS_SSL_VERSION_TLS1_3);
	return true;
}

/* SNI names hosts, never addresses (RFC 6066) */
static const char *sni_of(PGconn *conn)
{
	const char *host = conn->connhost[conn->whichhost].host;

	if (!host || !host[0] || host[0] == '/' || host[0] == '@' || !conn->sslsni || conn->sslsni[0] != '1')
		return NULL;
	return pqtls_is_ip(host) || strchr(host, ':') ? NULL : host;
}

static bool tls_setup(PGconn *conn)
{
	static const char *protocols[] = {PG_ALPN_PROTOCOL, NULL};
	struct tls *t = calloc(1, sizeof(*t));
	int rc;

	if (!t) {
		libpq_append_conn_error(conn, "out of memory");
		return false;
	}
	mbedtls_ssl_init(&t->ssl);
	mbedtls_ssl_config_init(&t->conf);
	mbedtls_x509_crt_init(&t->ca);
	mbedtls_x509_crt_init(&t->own);
	mbedtls_x509_crl_init(&t->crl);
	mbedtls_pk_init(&t->key);
	conn->mbed = t;
	rc = mbedtls_ssl_config_defaults(&t->conf, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT);
	if (rc) {
		tls_error(conn, "configuration", rc);
		return false;
	}
	if (!set_versions(conn, t) || !load_roots(conn, t) || !load_lists(conn, t) || !load_own(conn, t))
		return false;
	mbedtls_ssl_conf_rng(&t->conf, pqtls_random, NULL);
	mbedtls_ssl_conf_verify(&t->conf, tls_verify, t);
	mbedtls_ssl_conf_ca_chain(&t->conf, &t->ca, t->check_crl ? &t->crl : NULL);
	mbedtls_ssl_conf_authmode(&t->conf, t->verify ? MBEDTLS_SSL_VERIFY_REQUIRED : MBEDTLS_SSL_VERIFY_NONE);
	/* each connection is a session of its own */
	mbedtls_ssl_conf_session_tickets(&t->conf, MBEDTLS_SSL_SESSION_TICKETS_DISABLED);
	rc = mbedtls_ssl_conf_alpn_protocols(&t->conf, protocols);
	if (!rc)
		rc = mbedtls_ssl_setup(&t->ssl, &t->conf);
	if (!rc)
		rc = mbedtls_ssl_set_hostname(&t->ssl, sni_of(conn));
	if (rc) {
		tls_error(conn, "configuration", rc);
		return false;
	}
	mbedtls_ssl_set_bio(&t->ssl, conn, tls_send, tls_recv, NULL);
	conn->ssl_in_use = true;
	return true;
}

/* --- the session */

static void say_alert(PGconn *conn, struct tls *t)
{
	/* the record with the alert is the one that was read last: level, description */
	int description = t->ssl.MBEDTLS_PRIVATE(in_msg)[1];
	const char *name = pqtls_alert(description);
	bool old = description == MBEDTLS_SSL_ALERT_MSG_PROTOCOL_VERSION;

	if (old)
		libpq_append_conn_error(conn, "TLS: the server speaks no version from %s to %s (alert %d, %s)",
								conn->ssl_min_protocol_version && pg_strcasecmp(conn->ssl_min_protocol_version, TLS_NEWEST) == 0 ?
								TLS_NEWEST : TLS_OLDEST,
								conn->ssl_max_protocol_version && conn->ssl_max_protocol_version[0] ?
								conn->ssl_max_protocol_version : TLS_NEWEST, description, name);
	else
		libpq_append_conn_error(conn, "TLS: the server refused: %s (alert %d)", name ? name : "no reason known", description);
}

/* one sentence on what ended the session; libpq's own reports of a broken socket stand already */
static void say_end(PGconn *conn, struct tls *t, int rc)
{
	uint32_t flags = mbedtls_ssl_get_verify_result(&t->ssl);

	if (t->said)
		return;
	/* what is wrong with its use alone is found after the chain, and has another code in TLS 1.3 */
	if (rc == MBEDTLS_ERR_X509_CERT_VERIFY_FAILED || (rc == MBEDTLS_ERR_SSL_BAD_CERTIFICATE && flags && flags != UINT32_MAX))
		libpq_append_conn_error(conn, "certificate verify failed: %s%s", pqtls_reason(flags), t->at[0] ? t->at : t->leaf);
	else if (rc == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE)
		say_alert(conn, t);
	else if (rc == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY && t->up)
		libpq_append_conn_error(conn, "the server closed the TLS connection");
	else if (rc == MBEDTLS_ERR_SSL_CONN_EOF || rc == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY)
		libpq_append_conn_error(conn, t->up ? "the server closed the connection without notice" :
								"the server closed the connection during the TLS handshake");
	else
		tls_error(conn, t->up ? "the connection is broken" : "the handshake failed", rc);
}

/* Direct negotiation skips Postgres's own hello: only ALPN tells then that the other side is one. */
static bool alpn_agreed(PGconn *conn, struct tls *t)
{
	const char *chosen = mbedtls_ssl_get_alpn_protocol(&t->ssl);

	if (conn->current_enc_method != ENC_SSL || conn->sslnegotiation[0] != 'd' || (chosen && strcmp(chosen, PG_ALPN_PROTOCOL) == 0))
		return true;
	libpq_append_conn_error(conn, "sslnegotiation=direct: the server did not choose the protocol \"%s\"", PG_ALPN_PROTOCOL);
	return false;
}

PostgresPollingStatusType pgtls_open_client(PGconn *conn)
{
	struct tls *t;
	int rc;

	if (!conn->mbed && !tls_setup(conn)) {
		pgtls_close(conn);
		return PGRES_POLLING_FAILED;
	}
	t = conn->mbed;
	rc = mbedtls_ssl_handshake(&t->ssl);
	if (rc == MBEDTLS_ERR_SSL_WANT_READ)
		return PGRES_POLLING_READING;
	if (rc == MBEDTLS_ERR_SSL_WANT_WRITE)
		return PGRES_POLLING_WRITING;
	if (rc)
		say_end(conn, t, rc);
	t->up = rc == 0;
	if (!t->up || !alpn_agreed(conn, t) || !pq_verify_peer_name_matches_certificate(conn)) {
		pgtls_close(conn);
		return PGRES_POLLING_FAILED;
	}
	return PGRES_POLLING_OK;
}

ssize_t pgtls_read(PGconn *conn, void *ptr, size_t len)
{
	struct tls *t = conn->mbed;
	int n;

	for (;;) {
		n = mbedtls_ssl_read(&t->ssl, ptr, len);
		if (n == MBEDTLS_ERR_SSL_WANT_WRITE) {
			/* an answer of TLS itself must leave first: a later write would take it for its own data */
			struct pollfd p = {.fd = conn->sock, .events = POLLOUT};

			poll(&p, 1, -1);
		} else if (n != MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET) {
			break;
		}
	}
	SOCK_ERRNO_SET(0);
	if (n > 0)
		return n;
	if (n == MBEDTLS_ERR_SSL_WANT_READ)
		return 0;
	say_end(conn, t, n ? n : MBEDTLS_ERR_SSL_CONN_EOF);
	SOCK_ERRNO_SET(ECONNRESET);
	return -1;
}

ssize_t pgtls_bytes_pending(PGconn *conn)
{
	struct tls *t = conn->mbed;

	return (ssize_t)mbedtls_ssl_get_bytes_avail(&t->ssl);
}

ssize_t pgtls_write(PGconn *conn, const void *ptr, size_t len)
{
	struct tls *t = conn->mbed;
	size_t most;
	int n, max = mbedtls_ssl_get_max_out_record_payload(&t->ssl);

	if (max < 0) {
		tls_error(conn, "the connection is broken", max);
		SOCK_ERRNO_SET(ECONNRESET);
		return -1;
	}
	/* What could not be sent lies encrypted in mbedTLS, which counts it as written once it is told the same length again;
	 * libpq meanwhile may have appended to its buffer, or moved it. */
	most = t->unsent ? t->unsent : Min(len, (size_t)max);
	n = mbedtls_ssl_write(&t->ssl, ptr, most);
	SOCK_ERRNO_SET(0);
	if (n == MBEDTLS_ERR_SSL_WANT_READ || n == MBEDTLS_ERR_SSL_WANT_WRITE) {
		t->unsent = most;
		return 0;
	}
	t->unsent = 0;
	if (n >= 0)
		return n;
	say_end(conn, t, n);
	SOCK_ERRNO_SET(ECONNRESET);
	return -1;
}

void pgtls_close(PGconn *conn)
{
	struct tls *t = conn->mbed;

	if (!t)
		return;
	if (t->up && !t->said)
		mbedtls_ssl_close_notify(&t->ssl);
	mbedtls_ssl_free(&t->ssl);
	mbedtls_ssl_config_free(&t->conf);
	mbedtls_x509_crt_free(&t->ca);
	mbedtls_x509_crt_free(&t->own);
	mbedtls_x509_crl_free(&t->crl);
	mbedtls_pk_free(&t->key);
	free(t);
	conn->mbed = NULL;
	conn->ssl_in_use = false;
	conn->ssl_handshake_started = false;
}

void pgtls_init_library(bool do_ssl, int do_crypto)
{
}

int pgtls_init(PGconn *conn, bool do_ssl, bool do_crypto)
{
	psa_status_t status = psa_crypto_init();

	if (status == PSA_SUCCESS)
		return 0;
	libpq_append_conn_error(conn, "TLS: no randomness from the system (%d)", (int)status);
	return -1;
}

/* --- what a program may ask about the session */

void *PQgetssl(PGconn *conn)
{
	return NULL;
}

void *PQsslStruct(PGconn *conn, const char *struct_name)
{
	return NULL;
}

const char *const *PQsslAttributeNames(PGconn *conn)
{
	static const char *const names[] = {"library", "key_bits", "cipher", "compression", "protocol", "alpn", NULL};
	static const char *const none[] = {NULL};

	return !conn || conn->mbed ? names : none;
}

const char *PQsslAttribute(PGconn *conn, const char *attribute_name)
{
	struct tls *t = conn ? conn->mbed : NULL;
	const char *alpn;

	if (strcmp(attribute_name, "library") == 0)
		return !conn || t ? "mbedTLS" : NULL;
	if (!t)
		return NULL;
	if (strcmp(attribute_name, "key_bits") == 0) {
		const mbedtls_ssl_ciphersuite_t *suite =
			mbedtls_ssl_ciphersuite_from_id(mbedtls_ssl_get_ciphersuite_id_from_ssl(&t->ssl));

		snprintf(t->key_bits, sizeof(t->key_bits), "%d", suite ? (int)mbedtls_ssl_ciphersuite_get_cipher_key_bitlen(suite) : 0);
		return t->key_bits;
	}
	if (strcmp(attribute_name, "cipher") == 0)
		return mbedtls_ssl_get_ciphersuite(&t->ssl);
	if (strcmp(attribute_name, "compression") == 0)
		return "off";
	if (strcmp(attribute_name, "protocol") == 0)
		return mbedtls_ssl_get_version(&t->ssl);
	if (strcmp(attribute_name, "alpn") == 0) {
		alpn = mbedtls_ssl_get_alpn_protocol(&t->ssl);
		return alpn ? alpn : "";
	}
	return NULL;
}
