-- The fenced statements: only ever sent inside a flush, after Fence.  Rows come as columns, one array a parameter.

-- No row updated: division by zero, and the whole flush rolls back.
-- name: Fence
with mine as (
	update hatchet.engine set flush_no = $3::int8
	where engine_id = $1::int4 and epoch = $2::int8 and flush_no = $3::int8 - 1 and ended_at is null
	returning 1)
select 1 / count(*)::int4 from mine

-- name: AttemptInsert
insert into hatchet.attempt (tenant_no, task_id, attempt, status, worker_no, queued_at, assigned_at, started_at,
	finished_at, output, error, final)
select t, i, a, s, nullif(w, 0), qa, aa, sa, fa, o, e, nullif(f, 0)
from unnest($1::int4[], $2::int8[], $3::int2[], $4::int2[], $5::int4[], $6::timestamptz[], $7::timestamptz[],
	$8::timestamptz[], $9::timestamptz[], $10::bytea[], $11::bytea[], $12::int4[]) x(t, i, a, s, w, qa, aa, sa, fa, o, e, f)

-- name: LiveDelete
delete from hatchet.live l using unnest($1::int4[], $2::int8[]) x(t, i) where l.tenant_no = x.t and l.id = x.i

-- name: QueueItemDelete
with gone as (
	delete from hatchet.queue_item q using unnest($1::int4[], $2::int4[], $3::int2[], $4::int8[], $5::int4[]) x(t, a, r, i, s)
	where q.tenant_no = x.t and q.action_no = x.a and q.rank = x.r and q.id = x.i
	returning x.t, x.s)
insert into hatchet.tail_depth as d (tenant_no, step_no, n) select t, s, -count(*) from gone group by t, s
on conflict (tenant_no, step_no) do update set n = d.n + excluded.n

-- name: StatMinute
insert into hatchet.stat_minute as s (tenant_no, minute, workflow_no, status, n, run_us)
select t, m, w, st, n, us from unnest($1::int4[], $2::timestamptz[], $3::int4[], $4::int2[], $5::int8[], $6::int8[])
	x(t, m, w, st, n, us)
on conflict (tenant_no, minute, workflow_no, status)
do update set n = s.n + excluded.n, run_us = s.run_us + excluded.run_us

-- Tasks that had ended, by the rows before this flush.
-- name: StatTakenUp
insert into hatchet.stat_minute as s (tenant_no, minute, workflow_no, status, n, run_us)
select x.t, timestamptz '2024-01-01 00:00:00+00' + (x.i >> 22) / 60000 * interval '1 minute', a.final / 8, 8 + (a.final & 7), -count(*), 0
from unnest($1::int4[], $2::int8[]) x(t, i) cross join lateral (
	select a.final from hatchet.attempt a where a.tenant_no = x.t and a.task_id = x.i order by a.attempt desc limit 1) a
where a.final is not null group by 1, 2, 3, 4
on conflict (tenant_no, minute, workflow_no, status) do update set n = s.n + excluded.n

-- name: LiveRetry
update hatchet.live l set state = x.st, attempt = x.a, app_retries = x.ar, internal_retries = x.ir, rank = x.r,
	worker_no = null, batch_id = null, flags = 0, queued_at = x.qa, assigned_at = null, started_at = null, due_at = x.da
from unnest($1::int4[], $2::int8[], $3::int2[], $4::int2[], $5::int2[], $6::int2[], $7::int2[], $8::timestamptz[],
	$9::timestamptz[]) x(t, i, st, a, ar, ir, r, qa, da)
where l.tenant_no = x.t and l.id = x.i

-- name: TaskInsert
insert into hatchet.task (tenant_no, id, run_id, workflow_no, version_no, step_no, action_no, priority, flags, worker_no,
	parent_id, child_index, child_key, schedule_ms, exec_ms, input, metadata, desired_worker_no, labels, keys, key_limits, lane,
	limits, idempotency_key, batch_key)
select t, i, ri, wf, v, s, a, p, f, nullif(w, 0), nullif(pi, 0), nullif(ci, -1), ck, sm, em, inp, meta, nullif(dw, 0), lab, ks::text[], kl::int4[],
	nullif(la, 0), li, ik, bk
from unnest($1::int4[], $2::int8[], $3::int8[], $4::int4[], $5::int4[], $6::int4[], $7::int4[], $8::int2[], $9::int2[],
	$10::int4[], $11::int8[], $12::int4[], $13::text[], $14::int8[], $15::int8[], $16::bytea[], $17::jsonb[],
	$18::int4[], $19::jsonb[], $20::text[], $21::text[], $22::int8[], $23::jsonb[], $24::text[], $25::text[])
	x(t, i, ri, wf, v, s, a, p, f, w, pi, ci, ck, sm, em, inp, meta, dw, lab, ks, kl, la, li, ik, bk)

-- Free, expired, or its own: whoever claims a key has looked.
-- name: IdempotencyPut
insert into hatchet.idempotency_key as k (tenant_no, key, run_id, is_status, expires_at)
select * from unnest($1::int4[], $2::text[], $3::int8[], $4::bool[], $5::timestamptz[])
on conflict (tenant_no, key) do update set run_id = excluded.run_id, is_status = excluded.is_status, expires_at = excluded.expires_at

-- Only the holder gives a key back.  Looked up run by run: the index of held keys is empty at many a moment, and a planner that has seen
-- it so would walk it whole for each run.
-- name: IdempotencyRelease
delete from hatchet.idempotency_key k using unnest($1::int4[], $2::int8[]) x(t, r) cross join lateral (
	select i.key from hatchet.idempotency_key i where i.tenant_no = x.t and i.run_id = x.r and i.is_status limit 1) i
where k.tenant_no = x.t and k.key = i.key

-- name: RateLimitPut
insert into hatchet.rate_limit as r (tenant_no, hash, key, limit_value, value, window_start, window_s, is_dynamic)
select * from unnest($1::int4[], $2::int8[], $3::text[], $4::int4[], $5::int4[], $6::timestamptz[], $7::int4[], $8::bool[])
on conflict (tenant_no, hash) do update set limit_value = excluded.limit_value, value = excluded.value,
	window_start = excluded.window_start, window_s = excluded.window_s, is_dynamic = excluded.is_dynamic

-- name: RateLimitDelete
delete from hatchet.rate_limit r using unnest($1::int4[], $2::int8[]) x(t, h) where r.tenant_no = x.t and r.hash = x.h

-- name: LiveInsert
insert into hatchet.live (tenant_no, id, shard, state, attempt, app_retries, internal_retries, rank, action_no, step_no,
	worker_no, queued_at, assigned_at, started_at, due_at)
select t, i, t & 63, st, a, ar, ir, r, ac, s, nullif(w, 0), qa, aa, sa, da
from unnest($1::int4[], $2::int8[], $3::int2[], $4::int2[], $5::int2[], $6::int2[], $7::int2[], $8::int4[], $9::int4[],
	$10::int4[], $11::timestamptz[], $12::timestamptz[], $13::timestamptz[], $14::timestamptz[])
	x(t, i, st, a, ar, ir, r, ac, s, w, qa, aa, sa, da)

-- name: QueueItemInsert
with put as (
	insert into hatchet.queue_item (tenant_no, action_no, rank, id, attempt, app_retries, internal_retries, queued_at, due_at, lane)
	select * from unnest($1::int4[], $2::int4[], $3::int2[], $4::int8[], $5::int2[], $6::int2[], $7::int2[],
		$8::timestamptz[], $9::timestamptz[], $10::int8[]))
insert into hatchet.tail_depth as d (tenant_no, step_no, n)
select t, s, count(*) from unnest($1::int4[], $11::int4[]) x(t, s) group by t, s
on conflict (tenant_no, step_no) do update set n = d.n + excluded.n

-- Was its parent cancelled, and neither taken up again?
-- part: IsOrphan
t.parent_id is not null and not exists (select from hatchet.attempt a where a.tenant_no = t.tenant_no and a.task_id = t.id and a.final is not null)
and not exists (select from hatchet.live p where p.tenant_no = t.tenant_no and p.id = t.parent_id)
and coalesce((select a.status = 2 from hatchet.attempt a where a.tenant_no = t.tenant_no and a.task_id = t.parent_id
	order by a.attempt desc limit 1), false)

-- Small payloads come along with what is loaded: they are needed soon, and the row of the task has been found anyway.
-- part: LoadedPayload
coalesce(octet_length(t.input), 0) <= 1024 and coalesce(pg_column_size(t.metadata), 0) <= 1024 as is_small,
case when coalesce(octet_length(t.input), 0) <= 1024 then t.input end as input,
case when coalesce(pg_column_size(t.metadata), 0) <= 1024 then t.metadata end as metadata,
t.priority, t.parent_id, t.child_index, t.child_key, t.desired_worker_no, t.labels::text as labels, {{IsOrphan}} as is_orphan,
to_json(t.keys)::text as keys, t.key_limits, coalesce(t.lane, 0) as lane, t.limits::text as limits,
t.batch_key, coalesce(octet_length(t.input), 0) as n_input

-- The best of one tail moves into live.  The delete takes the whole key from `pick`: with parameters for the rest of it the
-- planner would walk the tail once per row.  flags carry the flush, so that a reply that got lost can be asked for again.
-- part: WindowMove
gone as (
	delete from hatchet.queue_item q using pick
	where q.tenant_no = pick.tenant_no and q.action_no = pick.action_no and q.rank = pick.rank and q.id = pick.id
	returning q.id, q.attempt, q.app_retries, q.internal_retries, q.queued_at, q.due_at),
moved as materialized (
	select g.*, t.* from gone g cross join lateral (
		select t.step_no, t.schedule_ms, t.exec_ms, {{LoadedPayload}}
		from hatchet.task t where t.tenant_no = $1::int4 and t.id = g.id limit 1) t),
put as (
	insert into hatchet.live (tenant_no, id, shard, state, attempt, app_retries, internal_retries, rank, action_no,
		step_no, flags, queued_at, due_at)
	select $1::int4, id, $1::int4 & 63, 0, attempt, app_retries, internal_retries, $3::int2, $2::int4, step_no,
		$5::int4, queued_at, due_at
	from moved),
less as (
	insert into hatchet.tail_depth as d (tenant_no, step_no, n) select $1::int4, step_no, -count(*) from moved group by step_no
	on conflict (tenant_no, step_no) do update set n = d.n + excluded.n)
select id, $1::int4, $2::int4, step_no, $3::int2, attempt, app_retries, internal_retries, queued_at, due_at, schedule_ms,
	exec_ms, is_small, input, metadata, priority, parent_id, child_index, child_key, desired_worker_no, labels, is_orphan, keys,
	key_limits, lane, limits, batch_key, n_input
from moved order by id

-- name: WindowLoad
with pick as materialized (
	select tenant_no, action_no, rank, id from hatchet.queue_item
	where tenant_no = $1::int4 and action_no = $2::int4 and rank = $3::int2 and lane = 0
	order by id limit $4::int4 for update skip locked),
{{WindowMove}}

-- Of one lane: its index knows where that begins.
-- name: LaneLoad
with pick as materialized (
	select tenant_no, action_no, rank, id from hatchet.queue_item
	where tenant_no = $1::int4 and action_no = $2::int4 and rank = $3::int2 and lane = $6::int8 and lane <> 0
	order by id limit $4::int4 for update skip locked),
{{WindowMove}}

-- Rows that the window loads of one flush moved: same columns as WindowLoad.
-- name: WindowLoaded
select l.id, l.tenant_no, l.action_no, l.step_no, l.rank, l.attempt, l.app_retries, l.internal_retries, l.queued_at,
	l.due_at, t.*
from hatchet.live l cross join lateral (
	select t.schedule_ms, t.exec_ms, {{LoadedPayload}}
	from hatchet.task t where t.tenant_no = l.tenant_no and t.id = l.id limit 1) t
where l.tenant_no = any($1::int4[]) and l.flags & -2 = $2::int4 and l.state = 0 order by l.id

-- name: LiveAssign
update hatchet.live l set state = 1, worker_no = x.w, assigned_at = x.aa, due_at = x.da, batch_id = nullif(x.b, 0)
from unnest($1::int4[], $2::int8[], $3::int4[], $4::timestamptz[], $5::timestamptz[], $6::int8[]) x(t, i, w, aa, da, b)
where l.tenant_no = x.t and l.id = x.i

-- name: LiveStart
update hatchet.live l set state = 2, started_at = x.sa
from unnest($1::int4[], $2::int8[], $3::timestamptz[]) x(t, i, sa) where l.tenant_no = x.t and l.id = x.i

-- name: LiveRequeue
update hatchet.live l set state = 0, queued_at = x.qa, due_at = x.da
from unnest($1::int4[], $2::int8[], $3::timestamptz[], $4::timestamptz[]) x(t, i, qa, da)
where l.tenant_no = x.t and l.id = x.i

-- name: LiveTouch
update hatchet.live l set due_at = coalesce(x.da, l.due_at), flags = case when x.rel then l.flags | 1 else l.flags end
from unnest($1::int4[], $2::int8[], $3::timestamptz[], $4::bool[]) x(t, i, da, rel)
where l.tenant_no = x.t and l.id = x.i

-- name: NoteInsert
insert into hatchet.note (tenant_no, task_id, attempt, at, kind, body)
select * from unnest($1::int4[], $2::int8[], $3::int2[], $4::timestamptz[], $5::int2[], $6::text[])

-- Requests of SQL clients that have become runs.  All of them, or the flush fails for the one that is gone: somebody deleted it.
-- name: InboxTaken
with gone as (
	delete from hatchet.inbox i using unnest($1::int4[], $2::uuid[], $3::int8[]) x(t, r, run)
	where i.tenant_no = x.t and i.id = x.r returning i.id, x.run, i.tenant_no),
put as (
	insert into hatchet.request (id, run_id, tenant_no) select * from gone)
select (case when count(*) = cardinality($2::uuid[]) then '1' else 'a request is gone' end)::int4 from gone
