/* Public UUIDs to what they name, always for one tenant.
 * A UUID that this server cannot have made, or made for another tenant's shard, is NOT_FOUND without a look at the database;
 * whether a well-formed one exists for the tenant is decided by whoever reads it. */
#include "api_int.h"

bool api_id(struct req *r, struct str text, const char *field, int64_t *ret, struct err *err)
{
	struct uuid u;

	if (!uuid_parse(text, &u))
		return err_set(err, ERR_INVALID, "%s: must be a UUID of 36 characters", field);
	if (uuid_is_request(&u) && alias_id(r, &u, ret))
		return true;
	if (!id_from_uuid(catalog_id_secret(catalog_of(r)), &u, ret) || ((*ret >> 16) & 63) != (tenant_of(r)->tenant_no & 63))
		return err_set(err, ERR_NOT_FOUND, "%s: there is no %.*s", field, STR_FMT(text));
	return true;
}

struct uuid api_uuid(struct req *r, int64_t id)
{
	const struct who *w = req_user(r);
	struct uuid u;

	if (w->open_id && id == w->open_id)
		return w->open_uuid;
	id_to_uuid(catalog_id_secret(catalog_of(r)), id, &u);
	return u;
}

ProtobufCBinaryData api_pb_id(struct req *r, int64_t id)
{
	struct uuid u = api_uuid(r, id);

	return pb_set_uuid(req_arena(r), &u);
}

struct cat_worker *api_worker(struct req *r, struct str text, const char *field, struct err *err)
{
	struct cat_worker *w = NULL;
	struct uuid u;

	if (!uuid_parse(text, &u)) {
		err_set(err, ERR_INVALID, "%s: must be a UUID of 36 characters", field);
		return NULL;
	}
	w = cat_worker_by_uuid(catalog_of(r), &u);
	if (w && w->tenant_no == tenant_of(r)->tenant_no)
		return w;
	err_set(err, ERR_NOT_FOUND, "%s: there is no worker %.*s", field, STR_FMT(text));
	return NULL;
}

struct cat_workflow *api_workflow(struct req *r, struct str text, const char *field, struct err *err)
{
	struct cat_workflow *w;
	struct uuid u;

	if (!uuid_parse(text, &u)) {
		err_set(err, ERR_INVALID, "%s: must be a UUID of 36 characters", field);
		return NULL;
	}
	w = cat_workflow_by_uuid(catalog_of(r), &u);
	if (w && w->tenant_no == tenant_of(r)->tenant_no && !w->deleted)
		return w;
	err_set(err, ERR_NOT_FOUND, "%s: there is no workflow %.*s", field, STR_FMT(text));
	return NULL;
}
