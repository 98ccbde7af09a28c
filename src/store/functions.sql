-- The functions of schema `hatchet`, run behind schema.sql, which has the tables.

-- ---- the one definition of a status, equal to run_status_of() ----

create or replace function hatchet.run_status(live_state int4, in_tail bool, last_attempt int4) returns int4
language sql immutable parallel safe as $$
	select case when live_state in (1, 2) then 1
		when live_state >= 0 or in_tail then 0
		when last_attempt = 0 then 2
		when last_attempt = 2 then 4
		else 3 end
$$;

-- ---- days ----

create or replace function hatchet.day_lo(day date) returns int8 language sql immutable parallel safe as $$
	select ((day - date '2024-01-01')::int8 * 86400000) << 22
$$;

create or replace function hatchet.id_day(id int8) returns date language sql immutable parallel safe as $$
	select date '2024-01-01' + ((id >> 22) / 86400000)::int4
$$;

-- lowest id that a row made at @at can have
create or replace function hatchet.id_floor(at timestamptz) returns int8 language sql stable parallel safe as $$
	select greatest(0, floor((extract(epoch from at) - 1704067200) * 1000))::int8 << 22
$$;

create or replace function hatchet.utc_today() returns date language sql stable as $$
	select (now() at time zone 'UTC')::date
$$;

-- One new partition, filled by nobody yet: made beside the parent and attached, which blocks no insert.
create or replace function hatchet.make_partition(parent text, part text, day date) returns void language plpgsql as $$
begin
	execute format('create table hatchet.%I (like hatchet.%I including defaults) with (%s)', part, parent,
		case when parent in ('task', 'attempt')
			then 'autovacuum_vacuum_insert_scale_factor = 0.5, autovacuum_analyze_scale_factor = 0.5,'
				' toast_tuple_target = 8160'
			else 'autovacuum_analyze_scale_factor = 0.5' end);
	execute format('alter table hatchet.%I attach partition hatchet.%I for values from (%s) to (%s)', parent, part,
		hatchet.day_lo(day), hatchet.day_lo(day + 1));
end
$$;

-- Partitions of @n days from @from on; how many were missing.
create or replace function hatchet.make_days(from_day date, n int4) returns int4
language plpgsql set lock_timeout = '200ms' as $$
declare
	parent text;
	day date;
	made int4 := 0;
begin
	perform pg_advisory_xact_lock(1751217251, 1);
	for i in 0..n - 1 loop
		day := from_day + i;
		foreach parent in array array['task', 'attempt', 'note', 'event', 'log_line', 'request'] loop
			if to_regclass(format('hatchet.%I', parent || to_char(day, '_YYYYMMDD'))) is null then
				perform hatchet.make_partition(parent, parent || to_char(day, '_YYYYMMDD'), day);
				made := made + 1;
			end if;
		end loop;
	end loop;
	return made;
end
$$;

-- An expired day that still has unfinished tasks: its partitions give way to small ones of the same range that hold the
-- rows of those tasks only, so that readers and the flush need no second place to look.
create or replace function hatchet.keep_day(day date) returns void
language plpgsql set lock_timeout = '200ms' as $$
declare
	parent text;
	suffix text := to_char(day, '_YYYYMMDD');
	lo int8 := hatchet.day_lo(day);
	hi int8 := hatchet.day_lo(day + 1);
begin
	perform pg_advisory_xact_lock(1751217251, 1);
	lock table hatchet.task, hatchet.attempt, hatchet.note, hatchet.log_line, hatchet.request in access exclusive mode;
	create temporary table kept on commit drop as
		select tenant_no, id from hatchet.live where id >= lo and id < hi
		union all select tenant_no, id from hatchet.queue_item where id >= lo and id < hi;
	foreach parent in array array['task', 'attempt', 'note', 'log_line', 'request'] loop
		continue when to_regclass(format('hatchet.%I', parent || suffix)) is null;	-- a day older than the table
		execute format('alter table hatchet.%I detach partition hatchet.%I', parent, parent || suffix);
		perform hatchet.make_partition(parent, parent || suffix || '_kept', day);
		execute format('insert into hatchet.%I select o.* from hatchet.%I o join kept k on k.tenant_no = o.tenant_no'
			' and k.id = o.%I', parent || suffix || '_kept', parent || suffix,
			case parent when 'task' then 'id' when 'request' then 'run_id' else 'task_id' end);
		execute format('drop table hatchet.%I', parent || suffix);
	end loop;
end
$$;

-- What is to be done now, one command a row, in order.  Each runs by itself: some are not allowed inside a function.
create or replace function hatchet.maint_plan() returns setof text language plpgsql as $$
declare
	today date := hatchet.utc_today();
	oldest int8;
	floor_day date;
	r record;
begin
	return next format('select hatchet.make_days(%L, 4)', today);
	select hatchet.utc_today() - ((max(retention_hours) + 23) / 24) - 1 into floor_day from hatchet.tenant;
	select min(id) into oldest from (select min(id) as id from hatchet.live
		union all select min(id) from hatchet.queue_item) u;
	-- a closed day: frozen once, then indexed by workflow, which also marks it as done
	for r in select c.relname::text as part, to_date(substr(c.relname, 6, 8), 'YYYYMMDD') as day
			from pg_inherits i join pg_class c on c.oid = i.inhrelid
			where i.inhparent = 'hatchet.task'::regclass and c.relname ~ '^task_\d{8}$'
			and to_date(substr(c.relname, 6, 8), 'YYYYMMDD') < today
			and to_date(substr(c.relname, 6, 8), 'YYYYMMDD') > coalesce(floor_day, today)
			and to_regclass(format('hatchet.%I', c.relname || '_wf')) is null order by 2 loop
		return next format('vacuum (freeze, analyze) hatchet.%I', 'task' || substr(r.part, 5));
		return next format('vacuum (freeze, analyze) hatchet.%I', 'attempt' || substr(r.part, 5));
		return next format('create index %I on hatchet.%I (tenant_no, workflow_no, id)', r.part || '_wf', r.part);
	end loop;
	-- expired days
	for r in select p.relname::text as parent, c.relname::text as part, i.inhdetachpending as pending,
			to_date(substring(c.relname from '\d{8}'), 'YYYYMMDD') as day, c.relname ~ '_kept$' as is_kept
			from pg_inherits i join pg_class c on c.oid = i.inhrelid join pg_class p on p.oid = i.inhparent
			where p.relnamespace = 'hatchet'::regnamespace
			and p.relname in ('task', 'attempt', 'note', 'event', 'log_line', 'request')
			and to_date(substring(c.relname from '\d{8}'), 'YYYYMMDD') <= floor_day order by 4, 1 loop
		if r.pending then
			return next format('alter table hatchet.%I detach partition hatchet.%I finalize', r.parent, r.part);
			return next format('drop table hatchet.%I', r.part);
		elsif r.parent = 'event' or oldest is null or oldest >= hatchet.day_lo(r.day + 1)
				or not hatchet.has_unfinished(r.day) then
			return next format('alter table hatchet.%I detach partition hatchet.%I concurrently', r.parent, r.part);
			return next format('drop table hatchet.%I', r.part);
		elsif r.parent = 'task' and not r.is_kept then
			return next format('select hatchet.keep_day(%L)', r.day);
		end if;
	end loop;
	-- tables that were detached but not dropped
	for r in select c.relname::text as part from pg_class c where c.relnamespace = 'hatchet'::regnamespace
			and c.relkind = 'r' and not c.relispartition and c.relname ~ '^(task|attempt|note|event|log_line|request)_\d{8}' loop
		return next format('drop table hatchet.%I', r.part);
	end loop;
	return next 'delete from hatchet.stat_minute where minute < now() - interval ''400 days''';
	return next 'delete from hatchet.idempotency_key where expires_at < now() - interval ''1 hour''';
	return next 'delete from hatchet.engine where ended_at < now() - interval ''7 days''';
end
$$;

create or replace function hatchet.has_unfinished(day date) returns bool language sql stable as $$
	select exists (select from hatchet.live where id >= hatchet.day_lo(day) and id < hatchet.day_lo(day + 1))
		or exists (select from hatchet.queue_item where id >= hatchet.day_lo(day) and id < hatchet.day_lo(day + 1))
$$;

-- ---- ownership ----

-- Takes every shard for engine @me if each other owner is gone: its session advisory lock can be taken.  A living owner's
-- row is never locked, so a standby costs it nothing.  @is_mine false: @address is where the living owner serves.
create or replace function hatchet.claim_shards(me int4, out is_mine bool, out address text) language plpgsql as $$
declare
	other int4;
	ended timestamptz;
begin
	perform pg_advisory_xact_lock(1751217251, 0);
	is_mine := true;
	address := '';
	for other in select distinct s.engine_id from hatchet.shard s where s.engine_id <> me loop
		select e.ended_at, e.address into ended, address from hatchet.engine e where e.engine_id = other;
		if not found then
			continue;
		end if;
		if ended is null then
			if not pg_try_advisory_xact_lock(1751217252, other) then
				is_mine := false;
				return;
			end if;
			update hatchet.engine e set epoch = e.epoch + 1, ended_at = now() where e.engine_id = other;
		end if;
	end loop;
	update hatchet.shard s set engine_id = me where s.engine_id is distinct from me;
end
$$;

-- ---- definitions ----

create or replace function hatchet.slot_type_nos(names text[]) returns int4[] language plpgsql as $$
begin
	insert into hatchet.slot_type (name) select distinct n from unnest(names) u(n)
		where not exists (select from hatchet.slot_type t where t.name = u.n) order by 1 on conflict do nothing;
	return array(select t.type_no from unnest(names) with ordinality u(n, o) join hatchet.slot_type t on t.name = u.n
		order by u.o);
end
$$;

create or replace function hatchet.action_nos(tenant int4, names text[]) returns int4[] language plpgsql as $$
begin
	insert into hatchet.action (tenant_no, name) select distinct tenant, n from unnest(names) u(n)
		where not exists (select from hatchet.action a where a.tenant_no = tenant and a.name = u.n)
		order by 2 on conflict do nothing;
	return array(select a.action_no from unnest(names) with ordinality u(n, o)
		join hatchet.action a on a.tenant_no = tenant and a.name = u.n order by u.o);
end
$$;

create or replace function hatchet.put_strategy(p_tenant int4, p_name text, p_kind int2, p_max_runs int4, p_expression text,
	p_max_runs_expression text) returns int4 language sql as $$
	insert into hatchet.strategy (tenant_no, name, kind, max_runs, expression, max_runs_expression)
	values (p_tenant, p_name, p_kind, p_max_runs, p_expression, p_max_runs_expression)
	on conflict (tenant_no, name) where name is not null do update set kind = excluded.kind, max_runs = excluded.max_runs,
		expression = excluded.expression, max_runs_expression = excluded.max_runs_expression
	returning strategy_no
$$;

-- A version per change of checksum, or of what of it is built: equal puts, even at once, make one.  Slot requests are flat: one
-- row per step and type.  The concurrency chain c_ is that of the only step.
do $$ begin	-- those of older schemas, by other parameters
	execute coalesce((select string_agg('drop function ' || oid::regprocedure, ';') from pg_proc where oid::regproc::text = 'hatchet.put_workflow'), 'select');
end $$;
create or replace function hatchet.put_workflow(p_tenant int4, p_name text, p_description text, p_checksum bytea,
	p_definition bytea, p_priority int2, p_sticky int2, p_is_dag bool, p_unsupported text, p_idem_expression text, p_idem_ttl_ms int8,
	p_idem_is_status bool, s_readable text[], s_action text[], s_retries int4[],
	s_backoff_milli int4[], s_backoff_max_s int4[], s_exec_ms int8[], s_schedule_ms int8[], s_durable bool[],
	s_failure bool[], s_labels jsonb[], s_limits jsonb[], s_batch jsonb[], slot_step int4[], slot_name text[], slot_units int4[], c_name text[], c_kind int2[],
	c_max_runs int4[], c_expression text[], c_max_runs_expression text[], p_tag text,
	out r_workflow int4, out r_version int4, out r_is_new bool) language plpgsql as $$
declare
	latest record;
	actions int4[];
	types int4[];
	chain int4[];
begin
	loop
		select w.workflow_no into r_workflow from hatchet.workflow w
			where w.tenant_no = p_tenant and w.name = p_name and w.deleted_at is null for update;
		exit when found;
		insert into hatchet.workflow (tenant_no, name, description) values (p_tenant, p_name, p_description)
			on conflict do nothing;
	end loop;
	select v.version_no, v.ordinal, v.checksum, v.unsupported into latest from hatchet.workflow_version v
		where v.workflow_no = r_workflow order by v.ordinal desc limit 1;
	if latest.checksum = p_checksum and latest.unsupported = p_unsupported then
		r_version := latest.version_no;
		r_is_new := false;
		perform hatchet.put_strategy(p_tenant, c_name[i], c_kind[i], c_max_runs[i], c_expression[i], c_max_runs_expression[i])
			from generate_subscripts(c_kind, 1) i where c_name[i] is not null;
		return;
	end if;
	r_is_new := true;
	insert into hatchet.workflow_version (workflow_no, ordinal, checksum, definition, default_priority, sticky, is_dag,
			unsupported, idem_expression, idem_ttl_ms, idem_is_status)
		values (r_workflow, coalesce(latest.ordinal, 0) + 1, p_checksum, p_definition, p_priority, p_sticky, p_is_dag,
			p_unsupported, p_idem_expression, p_idem_ttl_ms, p_idem_is_status)
		returning version_no into r_version;
	actions := hatchet.action_nos(p_tenant, s_action);
	types := hatchet.slot_type_nos(slot_name);
	chain := array(select hatchet.put_strategy(p_tenant, c_name[i], c_kind[i], c_max_runs[i], c_expression[i],
		c_max_runs_expression[i]) from generate_subscripts(c_kind, 1) i order by i);
	insert into hatchet.step (version_no, position, readable_id, action_no, retries, backoff_milli, backoff_max_s,
			exec_ms, schedule_ms, is_durable, is_on_failure, labels, limits, batch, strategies, slot_types, slot_units)
		select r_version, i, s_readable[i], actions[i], s_retries[i], s_backoff_milli[i], s_backoff_max_s[i],
			s_exec_ms[i], s_schedule_ms[i], s_durable[i], s_failure[i], s_labels[i], s_limits[i], s_batch[i], chain,
			array(select types[k] from generate_subscripts(slot_step, 1) k where slot_step[k] = i order by k),
			array(select slot_units[k] from generate_subscripts(slot_step, 1) k where slot_step[k] = i order by k)
		from generate_subscripts(s_readable, 1) i order by i;
	update hatchet.workflow set latest_version_no = r_version, description = p_description
		where workflow_no = r_workflow;
	perform pg_notify('hatchet_cfg', 'workflow ' || r_workflow || ' ' || p_tag);
end
$$;

create or replace function hatchet.label_object(keys text[], strs text[], ints int4[]) returns jsonb
language sql immutable as $$
	select coalesce(jsonb_object_agg(k, case when s is null then to_jsonb(i) else to_jsonb(s) end), '{}')
	from unnest(keys, strs, ints) u(k, s, i)
$$;

-- ---- the front door for SQL ----

-- A UUID of version 8: 48 bit ms, 22 bit counter, 52 random bits.  Ascending in time, and not to be mistaken for a run's.
create or replace function hatchet.request_id() returns uuid language plpgsql volatile as $$
declare
	n int8 := nextval('hatchet.request_no');
	r text := gen_random_uuid();
begin
	return lpad(to_hex(floor(extract(epoch from clock_timestamp()) * 1000)::int8), 12, '0') || '8' || lpad(to_hex(n >> 10), 3, '0')
		|| to_hex(2048 | (n & 1023)) || left(r, 1) || right(r, 12);
end
$$;

-- For which tenant does @caller enqueue?  A role that is mapped, by itself or through a role it belongs to, for none but those;
-- any other for the one that it names, or for the only one there is.
create or replace function hatchet.tenant_of_role(caller text, tenant text) returns int4 language plpgsql stable as $$
declare
	mine int4[];
	found_no int4;
begin
	if exists (select from hatchet.sql_role) then
		mine := array(select m.tenant_no from hatchet.sql_role m join pg_roles c on c.rolname = caller
			left join pg_roles g on g.rolname = m.role
			where m.role = caller or (not c.rolsuper and pg_has_role(c.oid, g.oid, 'member'))
			order by m.role <> caller, m.tenant_no);
	end if;
	if tenant is null then
		if cardinality(mine) > 0 and (mine[1] = all (mine) or exists (select from hatchet.sql_role m where m.role = caller)) then
			return mine[1];
		elsif cardinality(mine) > 0 then
			raise 'tenant: must be given: role "%" is mapped to several', caller using errcode = 'invalid_parameter_value';
		end if;
		select min(t.tenant_no) into found_no from hatchet.tenant t having count(*) = 1;
		if found_no is null then
			raise 'tenant: must be given: role "%" is mapped to none', caller using errcode = 'invalid_parameter_value',
				hint = 'Name one, or have the role mapped: insert into hatchet.sql_role.';
		end if;
		return found_no;
	end if;
	select t.tenant_no into found_no from hatchet.tenant t where t.slug = tenant or t.id::text = lower(tenant)
		order by t.slug <> tenant limit 1;
	if cardinality(mine) > 0 and (found_no is null or found_no <> all (mine))
			and not (select c.rolsuper from pg_roles c where c.rolname = caller) then
		raise 'tenant: role "%" may not enqueue for tenant "%"', caller, left(tenant, 100) using errcode = 'insufficient_privilege';
	elsif found_no is null then
		raise 'tenant: there is no tenant "%"', left(tenant, 100) using errcode = 'invalid_parameter_value';
	end if;
	return found_no;
end
$$;

-- One run of @workflow, in the transaction of the caller: docs/sql.md.  What is wrong with the call is raised here and names the
-- argument.  The server hears of each transaction once per tenant, at its commit, with the lowest id of the requests.  What it will
-- have heard is in a setting of the transaction: a rollback to a savepoint takes it back together with the notification.
create or replace function hatchet.enqueue(workflow text, input jsonb default '{}', additional_metadata jsonb default null,
	priority int4 default null, tenant text default null) returns uuid
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
	metadata jsonb := nullif(additional_metadata, 'null');
	caller text := case when current_setting('role') = 'none' then session_user::text else current_setting('role') end;
	request uuid;
	owner_no int4;
	room int8;
	n int8;
	mark text;
	told text;
begin
	if tenant is null and not exists (select from hatchet.sql_role) then
		select min(t.tenant_no) into owner_no from hatchet.tenant t having count(*) = 1;
	end if;
	if owner_no is null then
		owner_no := hatchet.tenant_of_role(caller, tenant);
	end if;
	if coalesce(workflow, '') = '' then
		raise 'workflow: must be the name of a workflow' using errcode = 'invalid_parameter_value';
	elsif not exists (select from hatchet.workflow w where w.tenant_no = owner_no and w.name = workflow and w.deleted_at is null) then
		raise 'workflow: there is no workflow "%"', left(workflow, 200) using errcode = 'invalid_parameter_value',
			hint = 'A workflow becomes known when a worker that has it starts.';
	elsif input is null or jsonb_typeof(input) <> 'object' then
		raise 'input: must be a JSON object, not %', coalesce(jsonb_typeof(input), 'null') using errcode = 'invalid_parameter_value';
	elsif jsonb_typeof(metadata) <> 'object' then
		raise 'additional_metadata: must be a JSON object, not %', jsonb_typeof(metadata)
			using errcode = 'invalid_parameter_value';
	elsif priority not between 1 and 3 then
		raise 'priority: must be 1, 2 or 3, not %', priority using errcode = 'invalid_parameter_value';
	end if;
	n := octet_length(input::text) + coalesce(octet_length(metadata::text), 0);
	select i.input_bytes_max into room from hatchet.instance i;
	if n > room then
		raise 'input: has % bytes together with additional_metadata, at most % are allowed', n, room
			using errcode = 'program_limit_exceeded';
	end if;
	mark := 'hatchet.enqueued_' || owner_no;
	request := hatchet.request_id();
	insert into hatchet.inbox (id, tenant_no, bytes, priority, workflow, input, metadata)
		values (request, owner_no, n, priority, workflow, input, metadata);
	told := current_setting(mark, true);
	if told is null or split_part(told, ' ', 1) <> pg_current_xact_id()::text or request < split_part(told, ' ', 2)::uuid then
		perform set_config(mark, pg_current_xact_id() || ' ' || request, true);
		perform pg_notify('hatchet_cfg', 'inbox ' || owner_no || ' ' || request);
	end if;
	return request;
end
$$;

-- nothing here is for everybody
revoke execute on all functions in schema hatchet from public;

-- the number of this schema, as src/store/boot.c has it: a template cluster holds the schema and no instance yet
comment on schema hatchet is '10';
