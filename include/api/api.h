/* The tables of everything that answers, and the gate before it. */
#ifndef API_API_H
#define API_API_H
#include "net/server.h"
#include "svc/svc.h"

#include <stdio.h>

#define API_TOKEN_KID "1"	/* header kid of every token: there is one signing key */

struct api_conf {
	struct svc *svc;
	const char *public_url;		/* claim server_url, aud, iss: http://host:port */
	const char *grpc_address;	/* claim grpc_broadcast_address */
	bool auth_disabled;
	const char *server_version;	/* our own, "0.1.0" */
};
struct api;
struct api *api_new(const struct api_conf *conf) MUST_USE;	/* server_conf.app */
void api_free(struct api *a);
extern const struct rpc_method api_rpcs[];	/* ends with path NULL */
extern const struct rest_route api_rests[];	/* ends with pattern NULL */
void api_compat_write(FILE *f);	/* docs/compatibility.md, from the two tables */
struct step *api_gate(struct req *r, req_fn *next);
#endif
