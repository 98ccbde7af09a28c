-- Lists of runs, newest first.  A page is found by walking the indexes that give its rows in their order, as far as the page
-- goes; nothing is sorted but the few rows of a page.  docs/data-model.md says which index serves which filter.
-- Parameters: those of read.sql, then $4 lowest id, $5 end of ids, $6 workflows or null, $7 worker or 0, $8 and $9 metadata
-- keys and values or null, $10 all of them, $11 statuses as bits, $12 offset, $13 limit.

-- part: RunFloor
t.tenant_no = $3::int4 and t.id < $5::int8 and t.id >= greatest($4::int8, (
	select hatchet.id_floor(now() - n.retention_hours * interval '1 hour') from hatchet.tenant n where n.tenant_no = $3::int4))

-- part: RunFilter
($6::int4[] is null or t.workflow_no = any($6::int4[]))
and ($8::text[] is null or (
	select case when $10::bool then bool_and(coalesce(t.metadata ->> k = v, false))
		else bool_or(coalesce(t.metadata ->> k = v, false)) end from unnest($8::text[], $9::text[]) m(k, v)))

-- part: StatusFilter
($11::int4 = 31 or ($11::int4 >> {{StatusOfT}}) & 1 = 1)

-- part: RunPage
select {{TaskCols}} from ids cross join lateral (
	select t.* from hatchet.task t where t.tenant_no = $3::int4 and t.id = ids.id limit 1) t
{{TaskJoins}} order by t.id desc, a.attempt

-- Of any status: the primary key.
-- plan: each
-- name: Runs
with ids as materialized (
	select t.id from hatchet.task t where {{RunFloor}} and {{RunFilter}} and $7::int4 = 0 and {{StatusFilter}}
	order by t.id desc offset $12::int4 limit $13::int4)
{{RunPage}}

-- plan: each
-- name: RunsOfParent
with ids as materialized (
	select t.id from hatchet.task t where t.parent_id = $14::int8 and {{RunFloor}} and {{RunFilter}} and {{StatusFilter}}
	and ($7::int4 = 0
		or exists (select from hatchet.attempt w where w.tenant_no = t.tenant_no and w.task_id = t.id and w.worker_no = $7::int4)
		or exists (select from hatchet.live w where w.tenant_no = t.tenant_no and w.id = t.id and w.worker_no = $7::int4))
	order by t.id desc offset $12::int4 limit $13::int4)
{{RunPage}}

-- plan: each
-- name: RunsOfKeys
with ids as materialized (
	select t.id from hatchet.task t where t.idempotency_key = any($14::text[]) and ($15::int8 = 0 or t.parent_id = $15::int8)
	and {{RunFloor}} and {{RunFilter}} and {{StatusFilter}} and ($7::int4 = 0
		or exists (select from hatchet.attempt w where w.tenant_no = t.tenant_no and w.task_id = t.id and w.worker_no = $7::int4)
		or exists (select from hatchet.live w where w.tenant_no = t.tenant_no and w.id = t.id and w.worker_no = $7::int4))
	order by t.id desc offset $12::int4 limit $13::int4)
{{RunPage}}

-- What a worker has, and what it had: every attempt of it is looked at.
-- plan: each
-- name: RunsOfWorker
with in_live as materialized (
	select l.id from hatchet.live l cross join lateral (
		select t.* from hatchet.task t where {{RunFloor}} and t.id = l.id limit 1) t
	where l.tenant_no = $3::int4 and l.worker_no = $7::int4 and l.id >= $4::int8 and l.id < $5::int8
	and {{RunFilter}} and {{StatusFilter}}
	order by l.id desc limit $12::int4 + $13::int4),
by_attempt as materialized (
	select w.task_id as id from hatchet.attempt w cross join lateral (
		select t.* from hatchet.task t where {{RunFloor}} and t.id = w.task_id limit 1) t
	where w.tenant_no = $3::int4 and w.worker_no = $7::int4 and w.task_id >= $4::int8 and w.task_id < $5::int8
	and case when w.attempt < (select b.attempt from hatchet.attempt b where b.tenant_no = w.tenant_no and b.task_id = w.task_id
		and b.worker_no = $7::int4 order by b.attempt desc limit 1) then false else true end
	and {{RunFilter}} and {{StatusFilter}}
	order by w.task_id desc limit $12::int4 + $13::int4),
ids as materialized (
	select id from (select id from in_live union select id from by_attempt) u
	order by id desc offset $12::int4 limit $13::int4)
{{RunPage}}

-- Does the final end f of task t still stand?  Scalar look-ups, which no plan can turn into joins of whole tables, in a CASE,
-- which the planner takes for true half of the time: it must not expect to read all there is to fill a page.
-- part: StillEnded
case when f.attempt < (select b.attempt from hatchet.attempt b where b.tenant_no = f.tenant_no and b.task_id = f.task_id
	order by b.attempt desc limit 1) then false
when (select 1 from hatchet.live b where b.tenant_no = f.tenant_no and b.id = f.task_id) = 1 then false
when (select 1 from hatchet.queue_item b where b.tenant_no = f.tenant_no and b.action_no = t.action_no
	and b.rank = any(array[0, 4 - t.priority]::int2[]) and b.id = f.task_id limit 1) = 1 then false
else true end

-- part: TaskOfEnd
cross join lateral (select t.* from hatchet.task t where {{RunFloor}} and t.id = f.task_id limit 1) t

-- part: EndFilter
f.tenant_no = $3::int4 and f.task_id >= $4::int8 and f.task_id < $5::int8 and {{StillEnded}} and {{RunFilter}}

-- part: VersionsOfWorkflows
any(array(select v.version_no from hatchet.workflow_version v where v.workflow_no = any($6::int4[])))

-- By status or workflow: a task is in one of live, tail, ends.  $14: ends workflow by workflow and status by status; otherwise
-- those that did not complete by their own index, and completed ones are looked for among the newest 20,000 attempts.
-- plan: each
-- name: RunsByState
with in_live as materialized (
	select l.id from hatchet.live l cross join lateral (
		select t.* from hatchet.task t where {{RunFloor}} and t.id = l.id limit 1) t
	where l.tenant_no = $3::int4 and $7::int4 = 0 and $11::int4 & 3 <> 0 and l.id >= $4::int8 and l.id < $5::int8
	and ($11::int4 >> case when l.state in (1, 2) then 1 else 0 end) & 1 = 1
	and ($6::int4[] is null or l.step_no = any(array(
		select s.step_no from hatchet.step s where s.version_no = {{VersionsOfWorkflows}}))) and {{RunFilter}}
	order by l.id desc limit $12::int4 + $13::int4),
in_tail as materialized (
	select q.id from hatchet.action n cross join (values (0::int2), (1::int2), (2::int2), (3::int2)) r(rank)
	cross join lateral (
		select q.id from hatchet.queue_item q cross join lateral (
			select t.* from hatchet.task t where {{RunFloor}} and t.id = q.id limit 1) t
		where q.tenant_no = $3::int4 and q.action_no = n.action_no and q.rank = r.rank
		and q.id >= $4::int8 and q.id < $5::int8 and {{RunFilter}}
		order by q.id desc limit $12::int4 + $13::int4) q
	where n.tenant_no = $3::int4 and $11::int4 & 1 = 1 and ($6::int4[] is null or n.action_no = any(array(
		select s.action_no from hatchet.step s where s.version_no = {{VersionsOfWorkflows}})))),
ended as materialized (
	select e.id from hatchet.workflow w cross join (values (2), (3), (4)) s(status) cross join lateral (
		select f.task_id as id from hatchet.attempt f {{TaskOfEnd}}
		where f.final = 8 * w.workflow_no + s.status and {{EndFilter}}
		order by f.task_id desc limit $12::int4 + $13::int4) e
	where $14::bool and w.tenant_no = $3::int4 and ($6::int4[] is null or w.workflow_no = any($6::int4[]))
	and ($11::int4 >> s.status) & 1 = 1),
not_completed as materialized (
	select e.id from (values (3), (4)) s(status) cross join lateral (
		select f.task_id as id from hatchet.attempt f {{TaskOfEnd}}
		where f.final & 7 = s.status and f.final & 7 > 2 and {{EndFilter}}
		order by f.task_id desc limit $12::int4 + $13::int4) e
	where not $14::bool and ($11::int4 >> s.status) & 1 = 1),
completed as materialized (
	select f.task_id as id from (
		select f.tenant_no, f.task_id, f.attempt, f.final from hatchet.attempt f
		where f.tenant_no = $3::int4 and f.task_id >= $4::int8 and f.task_id < $5::int8
		and not $14::bool and $11::int4 & 4 <> 0
		order by f.task_id desc limit 20000) f {{TaskOfEnd}}
	where f.final & 7 = 2 and {{EndFilter}}
	order by f.task_id desc limit $12::int4 + $13::int4),
ids as materialized (
	select id from (select id from in_live union all select id from in_tail union all select id from ended
		union all select id from not_completed union all select id from completed) u
	order by id desc offset $12::int4 limit $13::int4)
{{RunPage}}
