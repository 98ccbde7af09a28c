/* TLS for libpq by mbedTLS: our own backend behind the pgtls_* seam of libpq-int.h, which is otherwise untouched.
 * Ours, not part of Postgres; compiled only into libpq (tools/deps/libpq.sh). */
#include "postgres_fe.h"
#include <unistd.h>
#include <arpa/inet.h>
#include <sys/random.h>
#include <sys/stat.h>
#include "libpq-fe.h"
#include "libpq-int.h"
#include "fe-auth.h"
#include "fe-secure-common.h"
#include <mbedtls/ssl.h>
#include <mbedtls/x509_crt.h>
#include <mbedtls/error.h>
#include <mbedtls/version.h>
#include <mbedtls/net_sockets.h>
#if MBEDTLS_VERSION_MAJOR >= 3
#include <psa/crypto.h>
#else
#define MBEDTLS_PRIVATE(x) x
#endif

typedef struct { mbedtls_ssl_context ssl; mbedtls_ssl_config conf; mbedtls_x509_crt ca, own; mbedtls_pk_context key; size_t wpend; } M;

/* libpq's own pg_strong_random() without OpenSSL opens /dev/urandom: not there in an empty chroot */
void pg_strong_random_init(void) {}
bool pg_strong_random(void *buf, size_t len) {
  unsigned char *p = buf;
  while (len) { ssize_t n = getrandom(p, len, 0); if (n < 0) { if (errno == EINTR) continue; return false; } p += n; len -= n; }
  return true;
}
static int rnd(void *ctx, unsigned char *b, size_t n) { (void) ctx; return pg_strong_random(b, n) ? 0 : -0x0034; }

static void err(PGconn *c, const char *what, int rc) { char b[160]; mbedtls_strerror(rc, b, sizeof b); libpq_append_conn_error(c, "TLS %s: %s (-0x%04x)", what, b, (unsigned) -rc); }
static int my_send(void *p, const unsigned char *b, size_t n) {
  PGconn *c = p; ssize_t r = pqsecure_raw_write(c, b, n);
  if (r >= 0) return (int) r;
  return (SOCK_ERRNO == EAGAIN || SOCK_ERRNO == EWOULDBLOCK || SOCK_ERRNO == EINTR) ? MBEDTLS_ERR_SSL_WANT_WRITE : MBEDTLS_ERR_NET_SEND_FAILED;
}
static int my_recv(void *p, unsigned char *b, size_t n) {
  PGconn *c = p; ssize_t r = pqsecure_raw_read(c, b, n);
  if (r >= 0) return (int) r;
  return (SOCK_ERRNO == EAGAIN || SOCK_ERRNO == EWOULDBLOCK || SOCK_ERRNO == EINTR) ? MBEDTLS_ERR_SSL_WANT_READ : MBEDTLS_ERR_NET_RECV_FAILED;
}
/* libpq checks host names itself (pq_verify_peer_name_matches_certificate), so drop mbedTLS's own verdict on them */
static int vrfy(void *p, mbedtls_x509_crt *crt, int depth, uint32_t *flags) { (void) p; (void) crt; (void) depth; *flags &= ~(uint32_t) MBEDTLS_X509_BADCERT_CN_MISMATCH; return 0; }

void pgtls_init_library(bool do_ssl, int do_crypto) { (void) do_ssl; (void) do_crypto; }
int pgtls_init(PGconn *conn, bool do_ssl, bool do_crypto) { (void) conn; (void) do_ssl; (void) do_crypto;
#if MBEDTLS_VERSION_MAJOR >= 3
  psa_crypto_init();
#endif
  return 0; }

static int setup(PGconn *c) {
  static const char *const system_ca[] = { "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem", NULL };
  int rc; char path[MAXPGPATH], home[MAXPGPATH]; struct stat st; bool have_ca = false;
  const char *host = c->connhost[c->whichhost].host;
  M *m = calloc(1, sizeof *m);
  if (!m) { libpq_append_conn_error(c, "out of memory"); return -1; }
  c->mbed = m;
  mbedtls_ssl_init(&m->ssl); mbedtls_ssl_config_init(&m->conf); mbedtls_x509_crt_init(&m->ca); mbedtls_x509_crt_init(&m->own); mbedtls_pk_init(&m->key);
  if ((rc = mbedtls_ssl_config_defaults(&m->conf, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT))) { err(c, "config", rc); return -1; }
  mbedtls_ssl_conf_rng(&m->conf, rnd, NULL); mbedtls_ssl_conf_verify(&m->conf, vrfy, NULL);
#if MBEDTLS_VERSION_MAJOR < 3
  mbedtls_ssl_conf_min_version(&m->conf, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
#endif
  if (c->sslrootcert && !strcmp(c->sslrootcert, "system")) {
    path[0] = 0;
    const char *env = getenv("SSL_CERT_FILE");
    if (env) strlcpy(path, env, sizeof path);
    for (int i = 0; !path[0] && system_ca[i]; i++) if (!stat(system_ca[i], &st)) strlcpy(path, system_ca[i], sizeof path);
  } else if (c->sslrootcert && c->sslrootcert[0]) strlcpy(path, c->sslrootcert, sizeof path);
  else if (pqGetHomeDirectory(home, sizeof home)) snprintf(path, sizeof path, "%s/.postgresql/root.crt", home);
  else path[0] = 0;
  if (path[0] && !stat(path, &st)) {
    if ((rc = mbedtls_x509_crt_parse_file(&m->ca, path)) < 0) { err(c, path, rc); return -1; }
    mbedtls_ssl_conf_ca_chain(&m->conf, &m->ca, NULL); have_ca = true;
  } else if (c->sslmode[0] == 'v') { libpq_append_conn_error(c, "root certificate file \"%s\" does not exist; sslmode=%s needs one", path, c->sslmode); return -1; }
  mbedtls_ssl_conf_authmode(&m->conf, have_ca ? MBEDTLS_SSL_VERIFY_REQUIRED : MBEDTLS_SSL_VERIFY_NONE);
  if (c->sslcert && c->sslcert[0] && c->sslkey && c->sslkey[0]) {
    if ((rc = mbedtls_x509_crt_parse_file(&m->own, c->sslcert)) < 0) { err(c, c->sslcert, rc); return -1; }
#if MBEDTLS_VERSION_MAJOR >= 3
    rc = mbedtls_pk_parse_keyfile(&m->key, c->sslkey, c->sslpassword, rnd, NULL);
#else
    rc = mbedtls_pk_parse_keyfile(&m->key, c->sslkey, c->sslpassword);
#endif
    if (rc) { err(c, c->sslkey, rc); return -1; }
    mbedtls_ssl_conf_own_cert(&m->conf, &m->own, &m->key); c->ssl_cert_sent = true;
  }
  static const char *alpn[] = { "postgresql", NULL };
  mbedtls_ssl_conf_alpn_protocols(&m->conf, alpn);
  if ((rc = mbedtls_ssl_setup(&m->ssl, &m->conf))) { err(c, "setup", rc); return -1; }
  if (host && host[0] && c->sslsni && c->sslsni[0] == '1' && !strchr(host, ':') && strspn(host, "0123456789.") != strlen(host)) rc = mbedtls_ssl_set_hostname(&m->ssl, host);
  else rc = mbedtls_ssl_set_hostname(&m->ssl, NULL);
  if (rc) { err(c, "hostname", rc); return -1; }
  mbedtls_ssl_set_bio(&m->ssl, c, my_send, my_recv, NULL);
  c->ssl_in_use = true;
  return 0;
}

PostgresPollingStatusType pgtls_open_client(PGconn *conn) {
  int rc; M *m;
  if (!conn->mbed && setup(conn)) { pgtls_close(conn); return PGRES_POLLING_FAILED; }
  m = conn->mbed;
  rc = mbedtls_ssl_handshake(&m->ssl);
  if (rc == MBEDTLS_ERR_SSL_WANT_READ) return PGRES_POLLING_READING;
  if (rc == MBEDTLS_ERR_SSL_WANT_WRITE) return PGRES_POLLING_WRITING;
  if (rc) {
    uint32_t f = mbedtls_ssl_get_verify_result(&m->ssl); char b[256];
    if (f && f != (uint32_t) -1) { mbedtls_x509_crt_verify_info(b, sizeof b, "", f); b[strcspn(b, "\n")] = 0; libpq_append_conn_error(conn, "SSL error: certificate verify failed: %s", b); }
    else err(conn, "handshake", rc);
    pgtls_close(conn); return PGRES_POLLING_FAILED;
  }
  if (!pq_verify_peer_name_matches_certificate(conn)) { pgtls_close(conn); return PGRES_POLLING_FAILED; }
  return PGRES_POLLING_OK;
}
void pgtls_close(PGconn *conn) {
  M *m = conn->mbed;
  if (!m) return;
  if (conn->ssl_in_use) mbedtls_ssl_close_notify(&m->ssl);
  mbedtls_ssl_free(&m->ssl); mbedtls_ssl_config_free(&m->conf); mbedtls_x509_crt_free(&m->ca); mbedtls_x509_crt_free(&m->own); mbedtls_pk_free(&m->key);
  free(m); conn->mbed = NULL; conn->ssl_in_use = false; conn->ssl_handshake_started = false;
}
ssize_t pgtls_read(PGconn *conn, void *ptr, size_t len) {
  M *m = conn->mbed; int n;
  do n = mbedtls_ssl_read(&m->ssl, ptr, len);
  while (n == MBEDTLS_ERR_SSL_WANT_WRITE
#if MBEDTLS_VERSION_MAJOR >= 3
         || n == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET
#endif
  );
  SOCK_ERRNO_SET(0);
  if (n > 0) return n;
  if (n == MBEDTLS_ERR_SSL_WANT_READ) return 0;
  if (n == 0 || n == MBEDTLS_ERR_SSL_CONN_EOF || n == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY) libpq_append_conn_error(conn, "SSL connection has been closed unexpectedly");
  else err(conn, "read", n);
  SOCK_ERRNO_SET(ECONNRESET); return -1;
}
ssize_t pgtls_bytes_pending(PGconn *conn) { return (ssize_t) mbedtls_ssl_get_bytes_avail(&((M *) conn->mbed)->ssl); }
ssize_t pgtls_write(PGconn *conn, const void *ptr, size_t len) {
  M *m = conn->mbed; int n;
  if (m->wpend) len = m->wpend; /* mbedTLS wants the same arguments again after WANT_WRITE; libpq may have appended since */
  n = mbedtls_ssl_write(&m->ssl, ptr, len);
  SOCK_ERRNO_SET(0);
  if (n == MBEDTLS_ERR_SSL_WANT_READ || n == MBEDTLS_ERR_SSL_WANT_WRITE) {
    size_t max = mbedtls_ssl_get_max_out_record_payload(&m->ssl); m->wpend = len > max ? max : len; return 0; }
  m->wpend = 0;
  if (n >= 0) return n;
  err(conn, "write", n); SOCK_ERRNO_SET(ECONNRESET); return -1;
}
char *pgtls_get_peer_certificate_hash(PGconn *conn, size_t *len) {
  const mbedtls_x509_crt *p = mbedtls_ssl_get_peer_cert(&((M *) conn->mbed)->ssl);
  *len = 0; if (!p) return NULL;
  mbedtls_md_type_t t = p->MBEDTLS_PRIVATE(sig_md);
  if (t == MBEDTLS_MD_MD5 || t == MBEDTLS_MD_SHA1 || t == MBEDTLS_MD_NONE) t = MBEDTLS_MD_SHA256;
  const mbedtls_md_info_t *i = mbedtls_md_info_from_type(t); char *h = i ? malloc(mbedtls_md_get_size(i)) : NULL;
  if (!h || mbedtls_md(i, p->raw.p, p->raw.len, (unsigned char *) h)) { free(h); libpq_append_conn_error(conn, "could not hash the server certificate"); return NULL; }
  *len = mbedtls_md_get_size(i); return h;
}
int pgtls_verify_peer_name_matches_certificate_guts(PGconn *conn, int *names, char **first) {
  const mbedtls_x509_crt *p = mbedtls_ssl_get_peer_cert(&((M *) conn->mbed)->ssl); const char *host = conn->connhost[conn->whichhost].host;
  struct in6_addr tmp; int ip = inet_pton(AF_INET, host, &tmp) == 1 || inet_pton(AF_INET6, host, &tmp) == 1, cn = 1, rc;
  for (const mbedtls_x509_sequence *s = p ? &p->subject_alt_names : NULL; s && s->buf.p; s = s->next) {
    int tag = s->buf.tag & MBEDTLS_ASN1_TAG_VALUE_MASK; char *nm = NULL;
    if (tag == 2) { if (!ip) cn = 0; rc = pq_verify_peer_name_matches_certificate_name(conn, (const char *) s->buf.p, s->buf.len, &nm); }
    else if (tag == 7) { if (ip) cn = 0; rc = pq_verify_peer_name_matches_certificate_ip(conn, s->buf.p, s->buf.len, &nm); }
    else continue;
    if (nm) { (*names)++; if (!*first) { *first = nm; nm = NULL; } free(nm); }
    if (rc) return rc;
  }
  for (const mbedtls_x509_name *n = p && cn ? &p->subject : NULL; n; n = n->next)
    if (n->oid.len == 3 && !memcmp(n->oid.p, "\x55\x04\x03", 3)) {
      char *nm = NULL; rc = pq_verify_peer_name_matches_certificate_name(conn, (const char *) n->val.p, n->val.len, &nm);
      if (nm) { (*names)++; if (!*first) *first = nm; else free(nm); }
      return rc;
    }
  return 0;
}
void *PQgetssl(PGconn *c) { (void) c; return NULL; }
void *PQsslStruct(PGconn *c, const char *n) { (void) c; (void) n; return NULL; }
const char *const *PQsslAttributeNames(PGconn *c) { static const char *const r[] = { "library", "protocol", "cipher", NULL }; (void) c; return r; }
const char *PQsslAttribute(PGconn *c, const char *a) {
  if (!strcmp(a, "library")) return "mbedTLS";
  if (!c || !c->mbed) return NULL;
  if (!strcmp(a, "protocol")) return mbedtls_ssl_get_version(&((M *) c->mbed)->ssl);
  if (!strcmp(a, "cipher")) return mbedtls_ssl_get_ciphersuite(&((M *) c->mbed)->ssl);
  return NULL;
}
