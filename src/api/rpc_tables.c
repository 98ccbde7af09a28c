/* Every RPC of the wire, built or not: what the server answers and what docs/compatibility.md says come from this one table. */
#include "api_int.h"

#define DISPATCHER "/Dispatcher/"
#define EVENTS "/EventsService/"
#define WORKFLOWS "/WorkflowService/"
#define ADMIN "/v1.AdminService/"
#define DURABLE "/v1.V1Dispatcher/"

const struct rpc_method api_rpcs[] = {
	{DISPATCHER "GetVersion", RPC_UNARY, rpc_get_version, DONE, "answers " WIRE_VERSION},
	{DISPATCHER "Register", RPC_UNARY, rpc_register, DONE, "at most 8 slot types per worker"},
	{DISPATCHER "ListenV2", RPC_SERVER_STREAM, rpc_listen_v2, PARTLY, "START_STEP_RUN, START_BATCH and CANCEL_STEP_RUN"},
	{DISPATCHER "Listen", RPC_SERVER_STREAM, rpc_listen, PARTLY, "as ListenV2; the open stream is the heartbeat"},
	{DISPATCHER "Heartbeat", RPC_UNARY, rpc_heartbeat, DONE, NULL},
	{DISPATCHER "Unsubscribe", RPC_UNARY, rpc_unsubscribe, DONE, NULL},
	{DISPATCHER "SendStepActionEvent", RPC_UNARY, rpc_send_step_action_event, DONE, NULL},
	{DISPATCHER "SendBatchActionEvent", RPC_UNARY, rpc_send_batch_action_event, DONE, NULL},
	{DISPATCHER "UpsertWorkerLabels", RPC_UNARY, rpc_upsert_worker_labels, DONE, NULL},
	{DISPATCHER "RefreshTimeout", RPC_UNARY, rpc_refresh_timeout, DONE, NULL},
	{DISPATCHER "ReleaseSlot", RPC_UNARY, rpc_release_slot, DONE, NULL},
	{DISPATCHER "SubscribeToWorkflowRuns", RPC_BIDI, rpc_subscribe_runs, DONE, NULL},
	{DISPATCHER "SubscribeToWorkflowEvents", RPC_SERVER_STREAM, rpc_subscribe_events, PARTLY,
	 "by run id; not by metadata; no stream chunks"},
	{DISPATCHER "RestoreEvictedTask", RPC_UNARY, NULL, NOT_YET, "durable tasks"},
	{DISPATCHER "PutOverridesData", RPC_UNARY, NULL, NOT_YET, "no SDK calls it"},
	{DISPATCHER "SendGroupKeyActionEvent", RPC_UNARY, NULL, NOT_YET, "deprecated; never used by the served SDK versions"},
	{EVENTS "Push", RPC_UNARY, rpc_push, PARTLY, "stored and listed; starts no runs yet"},
	{EVENTS "BulkPush", RPC_UNARY, rpc_bulk_push, PARTLY, "as Push; 1 to 1000 events, all or none"},
	{EVENTS "PutLog", RPC_UNARY, rpc_put_log, DONE, NULL},
	{EVENTS "PutStreamEvent", RPC_UNARY, NULL, NOT_YET, "stream chunks"},
	{EVENTS "ReplaySingleEvent", RPC_UNARY, NULL, NOT_YET, "deprecated; no SDK calls it"},
	{WORKFLOWS "TriggerWorkflow", RPC_UNARY, rpc_trigger_workflow, PARTLY,
	 "one-task workflows"},
	{WORKFLOWS "BulkTriggerWorkflow", RPC_UNARY, rpc_bulk_trigger_workflow, PARTLY,
	 "as TriggerWorkflow; all or none but for those whose idempotency key is held, at most 10000 runs in one call"},
	{WORKFLOWS "ScheduleWorkflow", RPC_UNARY, NULL, NOT_YET, "schedules"},
	{WORKFLOWS "PutRateLimit", RPC_UNARY, rpc_put_rate_limit, DONE, NULL},
	{WORKFLOWS "PutWorkflow", RPC_UNARY, NULL, NOT_YET, "deprecated; use v1.AdminService/PutWorkflow"},
	{ADMIN "PutWorkflow", RPC_UNARY, rpc_put_workflow, PARTLY,
	 "every definition without durable tasks is stored whole; runs of one that uses more than one task, an on-failure task "
	 "or conditions are refused by name; "
	 "event and cron triggers and default filters are stored and do not fire"},
	{ADMIN "GetRunDetails", RPC_UNARY, rpc_get_run_details, DONE, NULL},
	{ADMIN "CancelTasks", RPC_UNARY, rpc_cancel_tasks, PARTLY, "by ids or filter, at most 20000; with what they have spawned"},
	{ADMIN "ReplayTasks", RPC_UNARY, rpc_replay_tasks, PARTLY,
	 "by ids or filter, at most 20000; answered with those accepted: what runs, or waits where memory ends, is not"},
	{ADMIN "TriggerWorkflowRun", RPC_UNARY, rpc_trigger_workflow_run, PARTLY, "as TriggerWorkflow"},
	{ADMIN "BranchDurableTask", RPC_UNARY, NULL, NOT_YET, "durable tasks"},
	{DURABLE "DurableTask", RPC_BIDI, NULL, NOT_YET, "durable tasks"},
	{DURABLE "RegisterDurableEvent", RPC_UNARY, NULL, NOT_YET, "durable tasks"},
	{DURABLE "ListenForDurableEvent", RPC_BIDI, NULL, NOT_YET, "durable tasks"},
	{"/opentelemetry.proto.collector.trace.v1.TraceService/Export", RPC_UNARY, rpc_trace_export, PARTLY,
	 "accepted and counted; spans are not kept"},
	{0},
};
