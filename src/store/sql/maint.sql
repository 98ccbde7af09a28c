-- Commands to run now, one a row; the schema plans, since only it knows the names.
-- name: MaintPlan
select hatchet.maint_plan()

-- Whole days, today not counted, for which every history table has its partition.
-- name: MaintAhead
select coalesce(min(d.ahead), 0) from (values ('task'), ('attempt'), ('note'), ('event'), ('log_line'), ('request')) p(name)
cross join lateral (
	select count(*) as ahead from generate_series(1, 7) g(i)
	where to_regclass(format('hatchet.%I', p.name || to_char(hatchet.utc_today() + g.i, '_YYYYMMDD'))) is not null) d
