-- Before the loop runs: checks, first start, tokens.  Sent by the blocking connection, text in and out.

-- name: BootRights
select pg_is_in_recovery(), has_database_privilege(current_database(), 'CREATE'),
	to_regnamespace('hatchet') is not null,
	coalesce(has_schema_privilege(to_regnamespace('hatchet')::oid, 'CREATE'), false), current_user, current_database()

-- name: BootClock
select (extract(epoch from clock_timestamp()) * 1000000)::int8

-- name: BootLock
select pg_advisory_xact_lock(1751217251, 2)

-- name: BootHasInstance
select to_regclass('hatchet.instance') is not null

-- name: BootVersion
select coalesce((select schema_version from hatchet.instance), 0),
	case when not exists (select from hatchet.instance) then obj_description(to_regnamespace('hatchet')::oid, 'pg_namespace') end

-- The secrets are made here, by the server's strong random source: 16 of the 32 hashed bytes of two random UUIDs.
-- name: BootInstance
insert into hatchet.instance (id_secret, schema_version)
values (substr(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 1, 16), $1::int4)
on conflict (only_row) do update set schema_version = excluded.schema_version

-- name: BootSigningKey
insert into hatchet.signing_key (private_key) select $1::bytea
where not exists (select from hatchet.signing_key where retired_at is null)

-- name: BootTenant
insert into hatchet.tenant (id, name, slug)
select '707d0855-80ab-4e1f-a156-f1c4546cbf52', 'Default', 'default'
where not exists (select from hatchet.tenant)

-- Today's, and tomorrow's when that is near; maintenance makes the others a moment after the start.
-- name: BootDays
select hatchet.make_days(hatchet.utc_today(), case when extract(hour from now() at time zone 'UTC') < 23 then 1 else 2 end)

-- name: BootFacts
select t.id, k.private_key, i.schema_version from hatchet.instance i
cross join (select private_key from hatchet.signing_key where retired_at is null order by created_at desc limit 1) k
left join hatchet.tenant t on t.slug = $1::text

-- name: BootTokenInsert
with t as (
	insert into hatchet.api_token (id, tenant_no, name, expires_at)
	select $1::uuid, tenant_no, $3::text, timestamptz 'epoch' + $4::int8 * interval '1 microsecond'
	from hatchet.tenant where id = $2::uuid returning id)
select pg_notify('hatchet_cfg', 'token ' || id) from t

-- name: BootTokenRevoke
with t as (update hatchet.api_token set revoked_at = coalesce(revoked_at, now()) where id = $1::uuid returning id)
select pg_notify('hatchet_cfg', 'token ' || id) from t
