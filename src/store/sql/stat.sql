-- How many.  Where rows have to be looked at, an index range is counted; the rest stands in stat_minute and tail_depth.

-- part: CountFloor
(select hatchet.id_floor(now() - n.retention_hours * interval '1 hour') from hatchet.tenant n where n.tenant_no = $1::int4)

-- By status, each run of the window looked at: $2 lowest id, $3 end of ids, $4 workflows or null, $5 and $6 metadata keys and values
-- or null, $7 all of them, $8 parent or 0.
-- plan: each
-- name: Counts
with each as materialized (
	select {{StatusOfT}} as status from hatchet.task t
	where t.tenant_no = $1::int4 and t.id < $3::int8 and t.id >= greatest($2::int8, {{CountFloor}})
	and ($4::int4[] is null or t.workflow_no = any($4::int4[]))
	and ($5::text[] is null or (
		select case when $7::bool then bool_and(coalesce(t.metadata ->> k = v, false))
			else bool_or(coalesce(t.metadata ->> k = v, false)) end from unnest($5::text[], $6::text[]) m(k, v)))
	and ($8::int8 = 0 or t.parent_id = $8::int8))
select status, count(*) from each group by status

-- part: OfWorkflows
($4::int4[] is null or t.workflow_no = any($4::int4[]))

-- part: LiveOfWorkflows
($4::int4[] is null or l.step_no = any(array(select s.step_no from hatchet.step s where s.version_no = any(array(
	select v.version_no from hatchet.workflow_version v where v.workflow_no = any($4::int4[]))))))

-- The same without looking at each: what was created and has ended by the minutes of creation that lie in the window whole, the
-- parts of minutes at its ends by counting ranges.  Rows of (kind, n): 0 created and 2 to 4 ended, of the whole minutes; 1 running;
-- of the parts 10 created, 22 to 24 ended, 12 unfinished.  A replay leaves an end that does not count: then 10 is not 12 plus the
-- ends, and is asked again with $5, which looks at each of the parts.  A minute of ids is 60000 << 22.
-- plan: each
-- name: CountsByMinute
with span as materialized (
	select least(greatest($2::int8, {{CountFloor}}), $3::int8) as lo, $3::int8 as hi),
grid as materialized (
	select lo, hi, (lo + 251658239999) / 251658240000 as m1, hi / 251658240000 as m2 from span),
part as materialized (
	select lo, hi from (
		select lo, least(m1 * 251658240000, hi) as hi from grid union all
		select greatest(m2 * 251658240000, least(m1 * 251658240000, hi)), hi from grid) p where lo < hi),
each as materialized (
	select p.lo, p.hi, {{StatusOfT}} as status from part p join hatchet.task t on t.tenant_no = $1::int4 and t.id >= p.lo and t.id < p.hi
	where $5::bool and {{OfWorkflows}})
select (case c.status when 8 then 0 else c.status - 8 end)::int4, sum(c.n)::int8 from hatchet.stat_minute c
where c.tenant_no = $1::int4 and c.status >= 8
and c.minute >= (select timestamptz '2024-01-01 00:00:00+00' + m1 * interval '1 minute' from grid)
and c.minute < (select timestamptz '2024-01-01 00:00:00+00' + m2 * interval '1 minute' from grid)
and ($4::int4[] is null or c.workflow_no = any($4::int4[])) group by c.status
union all
select 1, count(*) from hatchet.live l where l.tenant_no = $1::int4 and l.state in (1, 2)
and l.id >= (select lo from grid) and l.id < (select hi from grid) and {{LiveOfWorkflows}}
union all
select 10, coalesce(sum((select count(*) from hatchet.task t
	where t.tenant_no = $1::int4 and t.id >= p.lo and t.id < p.hi and {{OfWorkflows}})), 0)::int8 from part p
union all
select 20 + s.status, sum((select count(*) from hatchet.attempt f where f.tenant_no = $1::int4
	and f.final = 8 * w.workflow_no + s.status and f.task_id >= p.lo and f.task_id < p.hi))::int8
from part p cross join hatchet.workflow w cross join (values (2), (3), (4)) s(status)
where not $5::bool and w.tenant_no = $1::int4 and ($4::int4[] is null or w.workflow_no = any($4::int4[])) group by s.status
union all
select 12, coalesce(sum((select count(*) from hatchet.live l
	where l.tenant_no = $1::int4 and l.id >= p.lo and l.id < p.hi and {{LiveOfWorkflows}})), 0)::int8
from part p where not $5::bool
union all
select 12, coalesce(sum((select count(*) from hatchet.queue_item q
	where q.tenant_no = $1::int4 and q.action_no = a.action_no and q.rank = r.rank and q.id >= p.lo and q.id < p.hi
	and ($4::int4[] is null or (select t.workflow_no from hatchet.task t where t.tenant_no = $1::int4 and t.id = q.id limit 1)
		= any($4::int4[])))), 0)::int8
from part p cross join hatchet.action a cross join (values (0::int2), (1::int2), (2::int2), (3::int2)) r(rank)
where not $5::bool and a.tenant_no = $1::int4
union all
select case when e.status < 2 then 12 else 20 + e.status end, count(*) from each e group by 1

-- Ends from the minute $2 on, added up over $4 seconds each: which of them, status, how many.
-- name: Points
select floor(extract(epoch from minute - $2::timestamptz) / $4::int4)::int4, status::int4, sum(n)::int8 from hatchet.stat_minute
where tenant_no = $1::int4 and minute >= $2::timestamptz and minute < $3::timestamptz and status < 8 group by 1, 2

-- Unfinished tasks by step and class: 0 waiting in memory, 1 running, 2 not waiting for a worker, 3 in the tail; how many, the oldest,
-- the oldest in its first attempt.  A tail knows its oldest by queue, not by step.
-- part: LiveClass
case when l.state in (1, 2) then 1 when l.state = 0 then 0 else 2 end

-- part: TailsOf
from (values (0::int2), (1::int2), (2::int2), (3::int2)) r(rank) cross join lateral (
	select q.id from hatchet.queue_item q where q.tenant_no = $1::int4 and q.action_no = s.action_no and q.rank = r.rank

-- plan: each
-- name: Depths
select l.step_no, {{LiveClass}}, count(*), min(l.id), min(l.id) filter (where l.attempt = 0)
from hatchet.live l where l.tenant_no = $1::int4 group by 1, 2
union all
select d.step_no, 3, d.n,
	(select min(x.id) {{TailsOf}} order by q.id limit 1) x),
	(select min(x.id) {{TailsOf}} and q.attempt = 0 order by q.id limit 1) x)
from hatchet.tail_depth d cross join lateral (select s.action_no from hatchet.step s where s.step_no = d.step_no limit 1) s
where d.tenant_no = $1::int4 and d.n > 0

-- The same of those with metadata $2 and $3: each is looked at.
-- part: HasMeta
(select bool_and(coalesce(t.metadata ->> k = v, false)) from unnest($2::text[], $3::text[]) m(k, v))

-- plan: each
-- name: DepthsOfMeta
select l.step_no, {{LiveClass}}, count(*), min(l.id), min(l.id) filter (where l.attempt = 0)
from hatchet.live l cross join lateral (
	select t.metadata from hatchet.task t where t.tenant_no = $1::int4 and t.id = l.id limit 1) t
where l.tenant_no = $1::int4 and {{HasMeta}} group by 1, 2
union all
select t.step_no, 3, count(*), min(q.id), min(q.id) filter (where q.attempt = 0)
from hatchet.queue_item q cross join lateral (
	select t.step_no, t.metadata from hatchet.task t where t.tenant_no = $1::int4 and t.id = q.id limit 1) t
where q.tenant_no = $1::int4 and {{HasMeta}} group by 1
