/* Runs that were refused for their idempotency keys, told so that an SDK finds who holds them: a status of gRPC with typed details. */
#include "api_int.h"

static V1__IdempotencyCollisionError *error_of(struct req *r, const struct svc_trigger_item *it)
{
	V1__IdempotencyCollisionError *e = ARENA_NEW(req_arena(r), V1__IdempotencyCollisionError);

	v1__idempotency_collision_error__init(e);
	e->existing_run_external_id = api_pb_id(r, it->holder_id);
	e->colliding_run_external_id = api_pb_id(r, it->id);
	return e;
}

static struct str bulk_error(struct req *r, const struct svc_trigger_item *items, uint32_t n)
{
	V1__BulkTriggerIdempotencyCollisionError e = V1__BULK_TRIGGER_IDEMPOTENCY_COLLISION_ERROR__INIT;

	e.successful_workflow_run_external_ids = ARENA_ARRAY(req_arena(r), ProtobufCBinaryData, n);
	e.collisions = ARENA_ARRAY(req_arena(r), V1__IdempotencyCollisionError *, n);
	for (uint32_t i = 0; i < n; i++)
		if (items[i].holder_id)
			e.collisions[e.n_collisions++] = error_of(r, &items[i]);
		else
			e.successful_workflow_run_external_ids[e.n_successful_workflow_run_external_ids++] = api_pb_id(r, items[i].id);
	return pb_pack(req_arena(r), PB_MSG(&e));
}

struct step *collision_reply(struct req *r, const struct svc_trigger_item *items, uint32_t n, bool is_bulk)
{
	Rpc__Status status = RPC__STATUS__INIT;
	Rpc__Any any = RPC__ANY__INIT, *details[] = {&any};
	struct err err;

	if (!req_is_grpc(r)) {
		svc_collision(svc_of(r), items[0].holder_id, &err);
		return req_fail_err(r, &err);
	}
	err_set(&err, ERR_EXISTS, "idempotency key collision");
	any.type_url = pb_set(is_bulk ? STR("type.googleapis.com/v1.BulkTriggerIdempotencyCollisionError")
				      : STR("type.googleapis.com/v1.IdempotencyCollisionError"));
	any.value = pb_set(is_bulk ? bulk_error(r, items, n) : pb_pack(req_arena(r), PB_MSG(error_of(r, items))));
	status.code = (int32_t)err_grpc_status(err.code);
	status.message = pb_set(str_c(err.msg));
	status.details = details;
	status.n_details = 1;
	return req_fail_details(r, &err, pb_pack(req_arena(r), PB_MSG(&status)));
}
