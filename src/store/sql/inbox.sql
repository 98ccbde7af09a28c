-- Requests of hatchet.enqueue().  Waiting ones are in hatchet.inbox; what became of the others is in hatchet.request.

-- Tenants that have any: a loose scan of the key.
-- name: InboxTenants
with recursive t(tenant_no) as (
	(select i.tenant_no from hatchet.inbox i order by i.tenant_no limit 1)
	union all
	select (select i.tenant_no from hatchet.inbox i where i.tenant_no > t.tenant_no order by i.tenant_no limit 1) from t
	where t.tenant_no is not null)
select t.tenant_no from t where t.tenant_no is not null

-- Of each tenant the first $3 from an id on, one of each tenant after the other; none that has $4 bytes before it.  The last column
-- counts those too.
-- name: InboxRead
with seen as (
	select x.o, x.tenant_no, i.*, coalesce(sum(i.bytes) over before, 0) as bytes_before, count(*) over () as n
	from unnest($1::int4[], $2::uuid[]) with ordinality x(tenant_no, low, o)
	cross join lateral (
		select i.id, i.bytes, i.priority, i.workflow, i.input, i.metadata, row_number() over (order by i.id) as nth
		from hatchet.inbox i where i.tenant_no = x.tenant_no and i.id >= x.low order by i.id limit $3::int4) i
	window before as (order by i.nth, x.o rows between unbounded preceding and 1 preceding))
select tenant_no, id, priority, workflow, input, metadata, n from seen
where bytes_before < $4::int8 order by nth, o

-- Refused ones that are still there; one that is gone has been taken or refused already.
-- name: InboxRefuse
with gone as (
	delete from hatchet.inbox i using unnest($1::int4[], $2::uuid[], $3::int8[], $4::int2[], $5::text[]) x(t, r, run, code, error)
	where i.tenant_no = x.t and i.id = x.r
	returning i.id, x.run, i.tenant_no, i.priority, x.code, x.error, i.workflow, i.input, i.metadata)
insert into hatchet.request (id, run_id, tenant_no, priority, code, error, workflow, input, metadata)
select * from gone

-- By id: what became of them, and those that wait, in one look, so that none is missed on its way.  $3: no run of them can have a
-- lower id.
-- name: Requests
select r.id, r.run_id, r.priority, r.code, r.error, r.workflow, r.input, r.metadata
from unnest($2::uuid[]) x(id) cross join lateral (
	select r.* from hatchet.request r where r.tenant_no = $1::int4 and r.id = x.id and r.run_id >= $3::int8 limit 1) r
union all
select i.id, null, i.priority, null, null, i.workflow, i.input, i.metadata
from unnest($2::uuid[]) x(id) cross join lateral (
	select i.* from hatchet.inbox i where i.tenant_no = $1::int4 and i.id = x.id limit 1) i
order by id

-- What enqueue() takes at once follows what this server takes.
-- name: InboxBytes
update hatchet.instance set input_bytes_max = $1::int8 where input_bytes_max <> $1::int8
