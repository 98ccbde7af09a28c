-- The audit of the tables: each statement recomputes from one snapshot what is also stored elsewhere.  Rows: kind of the difference, what it
-- is about (an id), something more about it, what is stored, what it should be; all texts, so that both kinds of connections read them.
-- One row of kind '' tells where the next slice begins (empty: there is none) and how many rows were looked at.

-- Days whose history is whole.
-- part: WholeDays
days as materialized (
	select to_date(substr(c.relname::text, 6, 8), 'YYYYMMDD') as day from pg_inherits i join pg_class c on c.oid = i.inhrelid
	where i.inhparent = 'hatchet.task'::regclass and c.relname ~ '^task_\d{8}$')

-- Tasks of some whole minutes, from id $2 on, about $3 of them: each waits, runs or has ended, in one place; and the counts of what was
-- made in these minutes.  Two look-ups in queue_item: of a list of ranks the index would make a filter.
-- plan: each
-- name: VerifyTasks
with {{WholeDays}},
hi as materialized (
	select coalesce((select (((t.id >> 22) / 60000 + 1) * 60000) << 22 from hatchet.task t where t.tenant_no = $1::int4 and t.id >= $2::int8
		order by t.id offset $3::int4 limit 1), 9223372036854775807) as id),
x as materialized (
	select t.id, t.workflow_no, t.step_no, l.state, l.attempt as live_attempt, l.step_no as live_step, q.n as tails, q.attempt as tail_attempt,
		a.attempt, a.status, a.final
	from hatchet.task t
	left join lateral (select l.* from hatchet.live l where l.tenant_no = t.tenant_no and l.id = t.id limit 1) l on true
	cross join lateral (select count(*) as n, min(q.attempt) as attempt from (
		select q.attempt from hatchet.queue_item q where q.tenant_no = t.tenant_no and q.action_no = t.action_no and q.rank = 0::int2
			and q.id = t.id
		union all select q.attempt from hatchet.queue_item q where q.tenant_no = t.tenant_no and q.action_no = t.action_no
			and q.rank = (4 - t.priority)::int2 and q.id = t.id) q) q
	left join lateral (select a.attempt, a.status, a.final from hatchet.attempt a where a.tenant_no = t.tenant_no and a.task_id = t.id
		order by a.attempt desc limit 1) a on true
	where t.tenant_no = $1::int4 and t.id >= $2::int8 and t.id < (select id from hi)),
made as (
	select (id >> 22) / 60000 as minute, workflow_no, s.status, count(*) as n from x
	cross join lateral (values (8), (case when state is null and tails = 0 then 8 + (final & 7) end)) s(status)
	where s.status is not null group by 1, 2, 3),
counted as (
	select (extract(epoch from s.minute)::int8 - 1704067200) / 60 as minute, s.workflow_no, s.status::int4, s.n from hatchet.stat_minute s
	where s.tenant_no = $1::int4 and s.status >= 8
	and s.minute >= timestamptz '2024-01-01 00:00:00+00' + ($2::int8 >> 22) / 60000 * interval '1 minute'
	and s.minute < timestamptz '2024-01-01 00:00:00+00' + (least((select id from hi), 900000000000000000) >> 22) / 60000 * interval '1 minute'
	and (s.minute at time zone 'UTC')::date in (select day from days))
select '' as kind, case when hi.id < 9223372036854775807 then hi.id::text else '' end as id, '' as more,
	(select count(*) from x)::text as stored, '' as should from hi
union all
select 'TASK_TWICE', id::text, '', (tails + (state is not null)::int4)::text, '1' from x where (state is not null and tails > 0) or tails > 1
union all
select 'TASK_LOST', id::text, '', coalesce(status::text, 'none'), '' from x where state is null and tails = 0 and final is null
union all
select 'TASK_STATUS', id::text, '', (final & 7)::text, hatchet.run_status(-1, false, status::int4)::text from x
where final is not null and final & 7 <> hatchet.run_status(-1, false, status::int4)
union all
select 'TASK_WORKFLOW', id::text, '', (final / 8)::text, workflow_no::text from x where final is not null and final / 8 <> workflow_no
union all
select 'TASK_ATTEMPT', id::text, '', coalesce(live_attempt, tail_attempt)::text, coalesce(attempt + 1, 0)::text from x
where (state is not null or tails > 0) and coalesce(live_attempt, tail_attempt) <> coalesce(attempt + 1, 0)
union all
select 'TASK_STEP', id::text, '', live_step::text, step_no::text from x where live_step <> step_no
union all
select 'COUNT_MADE', coalesce(m.minute, c.minute)::text, format('workflow %s, status %s', coalesce(m.workflow_no, c.workflow_no), coalesce(m.status, c.status)),
	coalesce(c.n, 0)::text, coalesce(m.n, 0)::text
from made m full join counted c on c.minute = m.minute and c.workflow_no = m.workflow_no and c.status = m.status
where coalesce(m.n, 0) <> coalesce(c.n, 0)
and date '2024-01-01' + (coalesce(m.minute, c.minute) / 1440)::int4 in (select day from days)

-- Unfinished work in memory: each row has its task and a worker when its state asks for one; no worker has more than its slots.
-- plan: each
-- name: VerifyLive
with l as materialized (
	select l.id, l.step_no, l.state, l.worker_no, l.flags, l.batch_id, t.id as task from hatchet.live l
	left join lateral (select t.id from hatchet.task t where t.tenant_no = l.tenant_no and t.id = l.id limit 1) t on true
	where l.tenant_no = $1::int4),
used as (
	select l.worker_no, u.type_no, sum(u.units) as units from (
		select distinct on (coalesce(l.batch_id, l.id)) l.* from l where l.state in (1, 2) and l.flags & 1 = 0 and l.worker_no is not null) l
	join hatchet.step s on s.step_no = l.step_no
	cross join lateral unnest(s.slot_types, s.slot_units) u(type_no, units)
	group by 1, 2),
has as (
	select w.worker_no, u.type_no, u.units from hatchet.worker w cross join lateral unnest(w.slot_types, w.slot_units) u(type_no, units)
	where w.tenant_no = $1::int4)
select '' as kind, '' as id, '' as more, (select count(*) from l)::text as stored, '' as should
union all
select 'LIVE_ORPHAN', id::text, '', '', '' from l where task is null
union all
select 'LIVE_WORKER', id::text, '', coalesce(worker_no, 0)::text, state::text from l where (state in (1, 2)) <> (worker_no is not null)
union all
select 'SLOTS_OVER', u.worker_no::text, u.type_no::text, u.units::text, coalesce(h.units, 0)::text
from used u left join has h on h.worker_no = u.worker_no and h.type_no = u.type_no where u.units > coalesce(h.units, 0)

-- The tails: each row has its task, and is counted.
-- plan: each
-- name: VerifyTails
with q as materialized (
	select q.id, t.step_no from hatchet.queue_item q
	left join lateral (select t.step_no from hatchet.task t where t.tenant_no = q.tenant_no and t.id = q.id limit 1) t on true
	where q.tenant_no = $1::int4),
n as (select step_no, count(*) as n from q where step_no is not null group by 1)
select '' as kind, '' as id, '' as more, (select count(*) from q)::text as stored, '' as should
union all
select 'QUEUED_ORPHAN', id::text, '', '', '' from q where step_no is null
union all
select 'COUNT_TAIL', coalesce(n.step_no, d.step_no)::text, '', coalesce(d.n, 0)::text, coalesce(n.n, 0)::text
from n full join (select * from hatchet.tail_depth where tenant_no = $1::int4) d on d.step_no = n.step_no where coalesce(n.n, 0) <> coalesce(d.n, 0)

-- How many ended when, and how long they ran.  Of days that are gone the counts stay: then there may be more than the rows tell.
-- plan: each
-- name: VerifyEnds
with {{WholeDays}},
is_whole as materialized (
	select coalesce((t.created_at at time zone 'UTC')::date >= (select min(day) from days), false) as yes
	from hatchet.tenant t where t.tenant_no = $1::int4),
ended as (
	select date_trunc('minute', a.finished_at) as minute, a.final / 8 as workflow_no, a.final & 7 as status, count(*) as n,
		sum(case when a.started_at is not null and a.finished_at > a.started_at
			then round(extract(epoch from a.finished_at - a.started_at) * 1000000)::int8 else 0 end) as us
	from hatchet.attempt a where a.tenant_no = $1::int4 and a.final is not null group by 1, 2, 3),
counted as (select * from hatchet.stat_minute where tenant_no = $1::int4 and status < 8),
pairs as (
	select coalesce(e.minute, c.minute) as minute, coalesce(e.workflow_no, c.workflow_no) as workflow_no, coalesce(e.status, c.status) as status,
		coalesce(c.n, 0) as n, coalesce(e.n, 0) as n_should, coalesce(c.run_us, 0) as us, coalesce(e.us, 0) as us_should
	from ended e full join counted c on c.minute = e.minute and c.workflow_no = e.workflow_no and c.status = e.status)
select '' as kind, '' as id, '' as more, coalesce((select sum(n_should) from pairs), 0)::text as stored, '' as should
union all
select 'COUNT_ENDED', ((extract(epoch from minute)::int8 - 1704067200) / 60)::text, format('workflow %s, status %s', workflow_no, status), n::text, n_should::text
from pairs where n < n_should or (n > n_should and (select yes from is_whole))
union all
select 'TIME_RUN', ((extract(epoch from minute)::int8 - 1704067200) / 60)::text, format('workflow %s, status %s', workflow_no, status), us::text, us_should::text
from pairs where us < us_should or (us > us_should and (select yes from is_whole))

-- Requests of SQL clients: waiting or answered, and an answer's run is there.
-- plan: each
-- name: VerifyRequests
with r as materialized (
	select r.id, r.run_id, r.code is null as is_run from hatchet.request r where r.tenant_no = $1::int4)
select '' as kind, '' as id, '' as more,
	((select count(*) from r) + (select count(*) from hatchet.inbox where tenant_no = $1::int4))::text as stored, '' as should
union all
select 'REQUEST_TWICE', r.id::text, '', '', '' from r join hatchet.inbox i on i.tenant_no = $1::int4 and i.id = r.id
union all
select 'REQUEST_RUN', r.id::text, r.run_id::text, '', '' from r
where r.is_run and not exists (select from hatchet.task t where t.tenant_no = $1::int4 and t.id = r.run_id)

-- Idempotency keys that go when their run is final: it is not.
-- plan: each
-- name: VerifyKeys
with k as materialized (
	select k.key, k.run_id, t.id, t.action_no, t.priority from hatchet.idempotency_key k left join lateral (
		select t.* from hatchet.task t where t.tenant_no = k.tenant_no and t.id = k.run_id limit 1) t on true
	where k.tenant_no = $1::int4 and k.is_status)
select '' as kind, '' as id, '' as more, count(*)::text as stored, '' as should from k
union all
select 'KEY_LEFT', k.run_id::text, k.key, '', '' from k
where not exists (select from hatchet.live l where l.tenant_no = $1::int4 and l.id = k.run_id)
and not exists (select from hatchet.queue_item q where q.tenant_no = $1::int4 and q.action_no = k.action_no
	and q.rank = any(array[0, 4 - k.priority]::int2[]) and q.id = k.run_id)

-- name: VerifyTenants
select tenant_no, slug from hatchet.tenant order by tenant_no

-- Unfinished work as it is stored, to be compared with memory: a slice behind id $2, or these ids.  Columns of LiveAll.
-- part: VerifyLiveCols
l.id, l.tenant_no, l.step_no, l.worker_no, l.state, l.rank, l.attempt, l.app_retries, l.internal_retries, l.queued_at,
	l.assigned_at, l.started_at, l.due_at, t.schedule_ms, t.exec_ms, l.flags & 1 = 1,
	null::int4, null::text, t.parent_id, false, t.priority, to_json(t.keys)::text, t.key_limits

-- name: VerifySlice
select {{VerifyLiveCols}}, 0, null::text, null::text, null::text, 0, null::int8 from hatchet.live l left join lateral (
	select t.* from hatchet.task t where t.tenant_no = l.tenant_no and t.id = l.id limit 1) t on true
where l.tenant_no = $1::int4 and l.id > $2::int8 order by l.id limit $3::int4

-- plan: each
-- name: VerifyIds
select {{VerifyLiveCols}}, 0, null::text, null::text, null::text, 0, null::int8 from unnest($2::int8[]) x(id) cross join lateral (
	select l.* from hatchet.live l where l.tenant_no = $1::int4 and l.id = x.id limit 1) l
left join lateral (
	select t.* from hatchet.task t where t.tenant_no = l.tenant_no and t.id = l.id limit 1) t on true
order by l.id

-- name: VerifySecret
select encode(id_secret, 'hex') from hatchet.instance
