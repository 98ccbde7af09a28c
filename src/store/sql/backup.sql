-- The tables of a backup, and what a restore has to know of the database it goes into.

-- in the order they were made: what is referred to comes first
-- name: BackupTables
select c.relname, string_agg(quote_ident(a.attname), ',' order by a.attnum), min(a.attname) filter (where a.attidentity <> '')
from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.relnamespace = to_regnamespace('hatchet') and c.relkind in ('r', 'p') and not c.relispartition
	and c.relname not in ('engine', 'shard')
group by c.oid, c.relname order by c.oid

-- name: BackupDays
select distinct substring(c.relname from '\d{8}') from pg_class c join pg_inherits i on i.inhrelid = c.oid
where c.relnamespace = to_regnamespace('hatchet') and c.relname ~ '_\d{8}' order by 1

-- rows that a first start does not make, by what they are; 1000 at most are counted
-- name: BackupIsEmpty
select w.n || case w.n when 1000 then '+' else '' end, t.n || case t.n when 1000 then '+' else '' end,
	e.n || case e.n when 1000 then '+' else '' end, k.n || case k.n when 1000 then '+' else '' end from
	(select count(*) as n from (select from hatchet.workflow limit 1000) x) w,
	(select count(*) as n from (select from hatchet.task limit 1000) x) t,
	(select count(*) as n from (select from hatchet.event limit 1000) x) e,
	(select count(*) as n from (select from hatchet.worker limit 1000) x) k

-- name: BackupInUse
select e.address from hatchet.engine e where e.ended_at is null and not pg_try_advisory_xact_lock(1751217252, e.engine_id) limit 1

-- name: BackupMakeDay
select hatchet.make_days(to_date($1::text, 'YYYYMMDD'), 1)

-- name: BackupSequence
select setval(pg_get_serial_sequence('hatchet.' || $1::text, $2::text), greatest($3::int8, 1), $3::int8 > 0)
