-- What the API shows.  Look-ups by id are LATERAL ... LIMIT 1, so that no plan can turn them into scans.
-- Parameters of every task statement: $1 bytes of payloads, $2 what else as bits (1 all attempts, 2 the beginning of errors,
-- 4 number of children, 10,000 at most), $3 tenant.  Payloads are left out (column 31) from the row on before which their sum
-- has reached $1; the first row always has its own.

-- part: PayloadBytes
coalesce(octet_length(t.input), 0) + coalesce(octet_length(a.output), 0) + coalesce(octet_length(a.error), 0)

-- part: TaskCols
t.id, t.run_id, t.parent_id, t.tenant_no, t.workflow_no, t.version_no, t.step_no, t.action_no, t.priority,
case when coalesce(sum({{PayloadBytes}}) over before, 0) < $1::int8 then t.input end, t.metadata, coalesce(l.state::int4, -1), q.id is not null,
coalesce(l.attempt, q.attempt), l.worker_no, coalesce(l.queued_at, q.queued_at), l.assigned_at, l.started_at,
coalesce(l.due_at, q.due_at), coalesce(l.rank, q.rank), coalesce(l.app_retries, q.app_retries),
coalesce(l.internal_retries, q.internal_retries), a.attempt, a.status, a.worker_no, a.queued_at, a.assigned_at,
a.started_at, a.finished_at, case when coalesce(sum({{PayloadBytes}}) over before, 0) < $1::int8 then a.output end,
case when $2::int4 & 2 <> 0 then substring(a.error from 1 for 2000)
	when coalesce(sum({{PayloadBytes}}) over before, 0) < $1::int8 then a.error end,
coalesce(sum({{PayloadBytes}}) over before, 0) >= $1::int8,
case when $2::int4 & 4 <> 0 then (select count(*) from (select from hatchet.task c
	where c.tenant_no = t.tenant_no and c.parent_id = t.id and c.id > t.id limit 10000) c) end, a.final is not null, q.lane,
t.idempotency_key

-- part: TaskJoins
left join lateral (
	select l.* from hatchet.live l where l.tenant_no = t.tenant_no and l.id = t.id limit 1) l on true
left join lateral (
	select q.* from hatchet.queue_item q where l.id is null and q.tenant_no = t.tenant_no and q.action_no = t.action_no
	and q.rank = any(array[0, 4 - t.priority]::int2[]) and q.id = t.id limit 1) q on true
left join lateral (
	select a.* from hatchet.attempt a where a.tenant_no = t.tenant_no and a.task_id = t.id
	order by a.attempt desc limit case when $2::int4 & 1 <> 0 then null else 1 end) a on true
window before as (order by t.id desc, a.attempt desc rows between unbounded preceding and 1 preceding)

-- name: TasksByIds
select {{TaskCols}} from unnest($4::int8[]) x(id) cross join lateral (
	select t.* from hatchet.task t where t.tenant_no = $3::int4 and t.id = x.id limit 1) t
{{TaskJoins}} order by t.id desc, a.attempt

-- Tasks and what they have spawned, $5 levels of it, $6 tasks at most: level by level, so that the limit cuts the deepest.
-- name: TaskTree
with recursive tree as (
	select x.id, 0 as depth from unnest($4::int8[]) x(id)
	union all
	select c.id, p.depth + 1 from tree p cross join lateral (
		select c.id from hatchet.task c where c.tenant_no = $3::int4 and c.parent_id = p.id and c.id > p.id
		order by c.id limit $6::int4) c
	where p.depth < $5::int4),
ids as materialized (select id from tree limit $6::int4)
select {{TaskCols}} from ids cross join lateral (
	select t.* from hatchet.task t where t.tenant_no = $3::int4 and t.id = ids.id limit 1) t
{{TaskJoins}} order by t.id desc, a.attempt

-- An id holds the tenant's shard, which leaves few tenants to try.
-- name: TasksByIdsAny
select {{TaskCols}} from unnest($4::int8[]) x(id)
join hatchet.tenant n on n.tenant_no & 63 = (x.id >> 16) & 63 and $3::int4 = 0
cross join lateral (
	select t.* from hatchet.task t where t.tenant_no = n.tenant_no and t.id = x.id limit 1) t
{{TaskJoins}} order by t.id desc, a.attempt

-- part: StatusOfT
hatchet.run_status(coalesce((select l.state from hatchet.live l where l.tenant_no = t.tenant_no and l.id = t.id), -1),
	exists (select from hatchet.queue_item q where q.tenant_no = t.tenant_no and q.action_no = t.action_no
		and q.rank = any(array[0, 4 - t.priority]::int2[]) and q.id = t.id),
	coalesce((select a.status::int4 from hatchet.attempt a where a.tenant_no = t.tenant_no and a.task_id = t.id
		order by a.attempt desc limit 1), -1))

-- name: Notes
select at, attempt, kind, body from hatchet.note where tenant_no = $1::int4 and task_id = $2::int8 order by at

-- name: LogInsert
insert into hatchet.log_line (tenant_no, task_id, attempt, at, level, body, metadata)
select * from unnest($1::int4[], $2::int8[], $3::int2[], $4::timestamptz[], $5::text[], $6::text[], $7::text[])

-- After a lost reply: only what is not there.
-- name: LogInsertAgain
insert into hatchet.log_line (tenant_no, task_id, attempt, at, level, body, metadata)
select * from unnest($1::int4[], $2::int8[], $3::int2[], $4::timestamptz[], $5::text[], $6::text[], $7::text[])
	x(t, i, a, at, l, b, m)
where not exists (select from hatchet.log_line o where o.tenant_no = x.t and o.task_id = x.i and o.at = x.at
	and o.attempt = x.a and o.level = x.l and o.body = x.b)

-- part: LogFilter
tenant_no = $1::int4 and task_id = $2::int8 and at >= $3::timestamptz and at < $4::timestamptz
and ($5::text is null or strpos(lower(body), lower($5::text)) > 0)
and ($6::text[] is null or level = any($6::text[])) and ($7::int2 < 0 or attempt = $7::int2)

-- name: LogsUp
select tenant_no, task_id, attempt, at, level, body, metadata from hatchet.log_line where {{LogFilter}}
order by at limit $8::int4

-- name: LogsDown
select tenant_no, task_id, attempt, at, level, body, metadata from hatchet.log_line where {{LogFilter}}
order by at desc limit $8::int4

-- name: EventInsert
insert into hatchet.event (tenant_no, id, key, scope, payload, metadata)
select * from unnest($1::int4[], $2::int8[], $3::text[], $4::text[], $5::bytea[], $6::jsonb[])
on conflict (tenant_no, id) do nothing

-- plan: each
-- name: Events
select t.tenant_no, t.id, t.key, t.scope, t.payload, t.metadata from hatchet.event t
where t.tenant_no = $1::int4 and t.id < $3::int8 and t.id >= greatest($2::int8, (
	select hatchet.id_floor(now() - n.retention_hours * interval '1 hour') from hatchet.tenant n where n.tenant_no = $1::int4))
and ($4::text[] is null or t.key = any($4::text[])) and ($5::int8[] is null or t.id = any($5::int8[]))
and ($6::text[] is null or t.scope = any($6::text[]))
and ($7::text[] is null or (
	select bool_and(coalesce(t.metadata ->> k = v, false)) from unnest($7::text[], $8::text[]) m(k, v)))
order by t.id desc offset $9::int4 limit $10::int4

-- Recovery.
-- name: LiveAll
select l.id, l.tenant_no, l.step_no, l.worker_no, l.state, l.rank, l.attempt, l.app_retries, l.internal_retries, l.queued_at,
	l.assigned_at, l.started_at, l.due_at, t.schedule_ms, t.exec_ms, l.flags & 1 = 1,
	t.desired_worker_no, t.labels, t.parent_id, t.is_orphan, t.priority, t.keys, t.key_limits, 0, t.limits, null::text, t.batch_key, t.n_input, l.batch_id
from hatchet.live l cross join lateral (
	select t.schedule_ms, t.exec_ms, t.desired_worker_no, t.labels::text as labels, t.parent_id, {{IsOrphan}} as is_orphan,
		t.priority, to_json(t.keys)::text as keys, t.key_limits, t.limits::text as limits, t.batch_key,
		coalesce(octet_length(t.input), 0) as n_input
	from hatchet.task t where t.tenant_no = l.tenant_no and t.id = l.id limit 1) t
order by l.id

-- Of these keys those that are held, by their place in the list.
-- name: IdempotencyHolders
select x.n, k.run_id, k.expires_at from unnest($1::int4[], $2::text[]) with ordinality x(t, k, n) cross join lateral (
	select k.run_id, k.expires_at from hatchet.idempotency_key k where k.tenant_no = x.t and k.key = x.k limit 1) k

-- name: RateLimits
select tenant_no, hash, key, limit_value, value, window_start, window_s, is_dynamic from hatchet.rate_limit

-- plan: each
-- name: RateLimitList
select key, limit_value, case when window_start + window_s * interval '1 s' <= now() then limit_value else value end as value,
	window_s, coalesce(window_start, now()), count(*) over () from hatchet.rate_limit
where tenant_no = $1::int4 and strpos(lower(key), lower($2::text)) > 0
order by case when $3::int4 = 1 then value when $3::int4 = 2 then limit_value end,
	case when $3::int4 = -1 then -value when $3::int4 = -2 then -limit_value end,
	case when $3::int4 <> -3 then key end, key desc
offset $4::int4 limit $5::int4

-- Which tails exist.  No row of a tail can be due before the first one's creation plus the shortest schedule timeout of a
-- step with that action: a bound from below, so nothing is read but one row of each.
-- name: Tails
select n.tenant_no, n.action_no, r.rank, timestamptz '2024-01-01 00:00:00+00' + ((q.id >> 22) + coalesce(
	(select min(s.schedule_ms) from hatchet.step s where s.action_no = n.action_no), 0)) * interval '1 millisecond'
from hatchet.action n cross join (values (0::int2), (1::int2), (2::int2), (3::int2)) r(rank)
cross join lateral (
	select q.id from hatchet.queue_item q where q.tenant_no = n.tenant_no and q.action_no = n.action_no and q.rank = r.rank
	and q.lane = 0 order by q.id limit 1) q

-- Which lanes have a tail, found from one to the next: the first row of each for the same bound, and the limit that the last one brings.
-- name: Lanes
with recursive lanes as (
	select n.tenant_no, q.action_no, q.rank, q.lane from hatchet.tenant n cross join lateral (
		select q.* from hatchet.queue_item q where q.tenant_no = n.tenant_no and q.lane <> 0
		order by q.action_no, q.rank, q.lane limit 1) q
	union all
	select q.tenant_no, q.action_no, q.rank, q.lane from lanes l cross join lateral (
		select q.* from hatchet.queue_item q where q.tenant_no = l.tenant_no and q.lane <> 0
		and (q.action_no, q.rank, q.lane) > (l.action_no, l.rank, l.lane)
		order by q.action_no, q.rank, q.lane limit 1) q)
select l.tenant_no, l.action_no, l.rank, timestamptz '2024-01-01 00:00:00+00' + ((f.id >> 22) + coalesce(
	(select min(s.schedule_ms) from hatchet.step s where s.action_no = l.action_no), 0)) * interval '1 millisecond',
	l.lane, z.id, t.step_no, coalesce(t.key_limits[1], -1)
from lanes l
cross join lateral (
	select q.id from hatchet.queue_item q where q.tenant_no = l.tenant_no and q.action_no = l.action_no and q.rank = l.rank
	and q.lane = l.lane and q.lane <> 0 order by q.id limit 1) f
cross join lateral (
	select q.id from hatchet.queue_item q where q.tenant_no = l.tenant_no and q.action_no = l.action_no and q.rank = l.rank
	and q.lane = l.lane and q.lane <> 0 order by q.id desc limit 1) z
cross join lateral (
	select t.step_no, t.key_limits from hatchet.task t where t.tenant_no = l.tenant_no and t.id = z.id limit 1) t

-- name: MaxId
select max(m.id) from hatchet.tenant n cross join lateral (
	(select t.id from hatchet.task t where t.tenant_no = n.tenant_no order by t.id desc limit 1)
	union all (select t.id from hatchet.event t where t.tenant_no = n.tenant_no order by t.id desc limit 1)) m

-- Due rows of a tail, then one row without id: when to look again at the earliest.  Rows made after $4 less the shortest
-- schedule timeout cannot be due and are not read.  What a reader has seen, up to ($6, $7), is left out.
-- name: TailDue
with bound as materialized (
	select ms, hatchet.id_floor($4::timestamptz - ms * interval '1 millisecond' + interval '1 millisecond') as id from (
		select coalesce(min(s.schedule_ms), 0) as ms from hatchet.step s where s.action_no = $2::int4) m),
old as materialized (
	select q.* from hatchet.queue_item q where q.tenant_no = $1::int4 and q.action_no = $2::int4 and q.rank = $3::int2
	and q.id < (select b.id from bound b) and (q.due_at, q.id) > ($6::timestamptz, $7::int8)),
due as materialized (select * from old where due_at <= $4::timestamptz order by due_at, id limit $5::int4),
last as materialized (
	select d.due_at, d.id from (select due_at, id from due union all select timestamptz '-infinity', 0) d
	order by d.due_at desc, d.id desc limit 1),
later as (
	select min(o.due_at) as at from old o where (o.due_at, o.id) > (select l.due_at, l.id from last l)
	union all
	select timestamptz '2024-01-01 00:00:00+00' + ((q.id >> 22) + b.ms) * interval '1 millisecond'
	from bound b cross join lateral (
		select q.id from hatchet.queue_item q where q.tenant_no = $1::int4 and q.action_no = $2::int4
		and q.rank = $3::int2 and q.id >= b.id order by q.id limit 1) q)
select d.id, t.step_no, d.attempt, d.app_retries, d.internal_retries, d.queued_at, d.due_at, t.schedule_ms, t.exec_ms, d.lane
from due d cross join lateral (
	select t.step_no, t.schedule_ms, t.exec_ms from hatchet.task t where t.tenant_no = $1::int4 and t.id = d.id limit 1) t
union all
select null, null, null, null, null, null, min(at), null, null, null from later

-- Inputs of the first tasks of the list, as many as fit $3 bytes, at least one; the others come without (last column).
-- name: Inputs
select t.id, case when coalesce(sum(octet_length(t.input)) over before, 0) < $3::int8 then t.input end, t.metadata, t.priority,
t.parent_id, t.child_index, t.child_key, coalesce(sum(octet_length(t.input)) over before, 0) >= $3::int8, t.batch_key
from unnest($1::int8[], $2::int4[]) with ordinality x(id, tenant_no, n) cross join lateral (
	select t.* from hatchet.task t where t.tenant_no = x.tenant_no and t.id = x.id limit 1) t
window before as (order by x.n rows between unbounded preceding and 1 preceding)

-- A child is younger than its parent: older partitions are not looked into.
-- plan: each
-- name: Children
select t.id, t.child_index, t.child_key from hatchet.task t
where t.tenant_no = $1::int4 and t.parent_id = $2::int8 and t.id > $2::int8 and (t.child_index is not null or t.child_key is not null)
union all
select null, a.status, null from (select a.status from hatchet.attempt a
	where a.tenant_no = $1::int4 and a.task_id = $2::int8 order by a.attempt desc limit 1) a
order by 1

-- What a replay needs of its tasks; lane -1: it waits in a tail, 1: it has not ended otherwise.  attempt is the next one, 0 while nothing of it has ended.
-- name: Replayable
select t.id, t.tenant_no, t.step_no, 0, 0, 0, coalesce(a.attempt + 1, case when l.id is null then 0 else 1 end), 0, 0, null::timestamptz,
	null::timestamptz, null::timestamptz, null::timestamptz, t.schedule_ms, t.exec_ms, false, t.desired_worker_no, t.labels::text,
	t.parent_id, false, t.priority, to_json(t.keys)::text, t.key_limits, case when q.id is not null then -1 when l.id is not null then 1 else 0 end,
	t.limits::text, t.idempotency_key, t.batch_key, coalesce(octet_length(t.input), 0), null::int8
from unnest($2::int8[]) x(id) cross join lateral (
	select t.* from hatchet.task t where t.tenant_no = $1::int4 and t.id = x.id limit 1) t
left join lateral (
	select l.id from hatchet.live l where l.tenant_no = t.tenant_no and l.id = t.id limit 1) l on true
left join lateral (
	select q.id from hatchet.queue_item q where l.id is null and q.tenant_no = t.tenant_no and q.action_no = t.action_no
	and q.rank = any(array[0, 4 - t.priority]::int2[]) and q.id = t.id limit 1) q on true
left join lateral (
	select a.attempt from hatchet.attempt a where a.tenant_no = t.tenant_no and a.task_id = t.id order by a.attempt desc limit 1) a on true

-- Children that ended because these parents did, and still have.
-- plan: each
-- name: CancelledChildren
select t.id, 0, null from unnest($2::int8[]) p(id)
cross join lateral (
	select t.* from hatchet.task t where t.tenant_no = $1::int4 and t.parent_id = p.id and t.id > p.id) t
cross join lateral (
	select a.status, a.error from hatchet.attempt a where a.tenant_no = t.tenant_no and a.task_id = t.id order by a.attempt desc limit 1) a
where a.status = 2 and a.error = convert_to($3::text, 'UTF8')
and not exists (select from hatchet.live l where l.tenant_no = t.tenant_no and l.id = t.id)

-- Children of some parents that wait in a tail, at most $3; columns as of TailDue, and where it is.
-- plan: each
-- name: ChildrenInTail
select t.id, t.step_no, q.attempt, q.app_retries, q.internal_retries, q.queued_at, q.due_at, t.schedule_ms, t.exec_ms, t.tenant_no,
	t.action_no, q.rank, q.lane
from unnest($1::int4[], $2::int8[]) p(tenant_no, id)
cross join lateral (
	select t.* from hatchet.task t where t.tenant_no = p.tenant_no and t.parent_id = p.id and t.id > p.id limit $3::int4) t
cross join lateral (
	select q.* from hatchet.queue_item q where q.tenant_no = t.tenant_no and q.action_no = t.action_no
	and q.rank = any(array[0, 4 - t.priority]::int2[]) and q.id = t.id limit 1) q
limit $3::int4
