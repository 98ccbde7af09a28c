-- The dictionaries.  A null array means all.

-- name: CatInstance
select id_secret from hatchet.instance

-- name: CatKey
select private_key from hatchet.signing_key where retired_at is null order by created_at desc limit 1

-- name: CatTenants
select tenant_no, id, name, slug, retention_hours, created_at from hatchet.tenant

-- name: CatSlotTypes
select type_no, name from hatchet.slot_type

-- name: CatActions
select action_no, tenant_no, name from hatchet.action where $1::int4[] is null or action_no = any($1::int4[])

-- name: CatWorkflows
select workflow_no, tenant_no, id, name, description, latest_version_no, paused, deleted_at is not null, created_at, paused_at,
	unpaused_at, pause_ttl_ms, pause_drops_cron, pause_drops_scheduled
from hatchet.workflow where $1::int4[] is null or workflow_no = any($1::int4[])

-- name: CatVersions
select version_no, workflow_no, id, ordinal, checksum, default_priority, is_dag, unsupported, created_at, sticky,
	idem_expression, idem_ttl_ms, idem_is_status
from hatchet.workflow_version where $1::int4[] is null or workflow_no = any($1::int4[]) order by version_no

-- name: CatStrategies
select c.strategy_no, c.tenant_no, c.name, c.kind, c.max_runs, c.expression, c.max_runs_expression from hatchet.strategy c
where $1::int4[] is null or c.strategy_no in (
	select unnest(s.strategies) from hatchet.step s join hatchet.workflow_version v using (version_no)
	where v.workflow_no = any($1::int4[]))

-- name: CatSteps
select s.version_no, s.step_no, s.id, s.readable_id, s.retries, s.backoff_milli, s.backoff_max_s, s.exec_ms,
	s.schedule_ms, s.slot_types, s.slot_units, s.is_durable, s.is_on_failure, a.action_no, a.tenant_no, a.name,
	s.labels::text, s.strategies, s.limits::text, s.batch::text
from hatchet.step s join hatchet.workflow_version v using (version_no) join hatchet.action a using (action_no)
where $1::int4[] is null or v.workflow_no = any($1::int4[]) order by s.version_no, s.position

-- name: CatWorkers
select worker_no, tenant_no, id, name, slot_types, slot_units, actions, sdk_version, language_version, os, extra,
	language, paused, created_at, session_at, last_seen_at, ended_at
from hatchet.worker where case when $1::int4[] is null then ended_at is null or ended_at > now() - interval '1 day'
	else worker_no = any($1::int4[]) end

-- name: CatWorkerActions
select distinct a.action_no, a.tenant_no, a.name from hatchet.worker w cross join unnest(w.actions) u(no)
join hatchet.action a on a.action_no = u.no where w.worker_no = any($1::int4[])

-- name: CatWorkerLabels
select w.worker_no, l.key, l.value #>> '{}', jsonb_typeof(l.value) = 'number'
from hatchet.worker w cross join jsonb_each(w.labels) l
where case when $1::int4[] is null then w.ended_at is null or w.ended_at > now() - interval '1 day'
	else w.worker_no = any($1::int4[]) end
order by w.worker_no, l.key

-- name: CatTokens
select k.id, k.tenant_no, k.name, k.expires_at, k.revoked_at from hatchet.api_token k
where case when $1::uuid is null then k.expires_at > now() else k.id = $1::uuid end

-- name: PutWorkflow
select r_workflow, r_version, r_is_new from hatchet.put_workflow($1::int4, $2::text, $3::text, $4::bytea, $5::bytea,
	$6::int2, $7::int2, $8::bool, $9::text, $10::text, $11::int8, $12::bool, $13::text[], $14::text[], $15::int4[], $16::int4[], $17::int4[], $18::int8[],
	$19::int8[], $20::bool[], $21::bool[], $22::jsonb[], $23::jsonb[], $24::jsonb[], $25::int4[], $26::text[], $27::int4[], $28::text[], $29::int2[], $30::int4[],
	$31::text[], $32::text[], $33::text)

-- name: WorkflowPause
with w as (
	update hatchet.workflow set paused = $2::bool, paused_at = $3::timestamptz, unpaused_at = $4::timestamptz, pause_ttl_ms = $5::int8,
		pause_drops_cron = $6::bool, pause_drops_scheduled = $7::bool where workflow_no = $1::int4
	returning workflow_no)
select pg_notify('hatchet_cfg', 'workflow ' || workflow_no || ' ' || $8::text) from w

-- name: WorkflowDelete
with w as (
	update hatchet.workflow set deleted_at = coalesce(deleted_at, now()) where workflow_no = $1::int4
	returning workflow_no)
select pg_notify('hatchet_cfg', 'workflow ' || workflow_no || ' ' || $2::text) from w

-- The id is the caller's, so that a second try after a lost reply makes no second worker.
-- name: WorkerRegister
with w as (
	insert into hatchet.worker (id, tenant_no, name, slot_types, slot_units, labels, actions, sdk_version,
		language_version, os, extra, language)
	values ($1::uuid, $2::int4, $3::text, hatchet.slot_type_nos($4::text[]), $5::int4[],
		hatchet.label_object($6::text[], $7::text[], $8::int4[]), hatchet.action_nos($2::int4, $9::text[]),
		$10::text, $11::text, $12::text, $13::text, $14::int4)
	on conflict (id) do update set name = excluded.name returning worker_no)
select worker_no, pg_notify('hatchet_cfg', 'worker ' || worker_no || ' ' || $15::text) from w

-- name: WorkerLabels
with w as (
	update hatchet.worker set labels = labels || hatchet.label_object($2::text[], $3::text[], $4::int4[])
	where worker_no = $1::int4 returning worker_no)
select pg_notify('hatchet_cfg', 'worker ' || worker_no || ' ' || $5::text) from w

-- name: WorkerPaused
with w as (update hatchet.worker set paused = $2::bool where worker_no = $1::int4 returning worker_no)
select pg_notify('hatchet_cfg', 'worker ' || worker_no || ' ' || $3::text) from w

-- name: WorkerTimes
update hatchet.worker w set session_at = coalesce(x.s, w.session_at), last_seen_at = coalesce(x.l, w.last_seen_at),
	ended_at = coalesce(x.e, w.ended_at)
from unnest($1::int4[], $2::timestamptz[], $3::timestamptz[], $4::timestamptz[]) x(no, s, l, e)
where w.worker_no = x.no
