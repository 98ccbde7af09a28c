-- Ownership.  1751217252 is the class of the engines' session advisory locks, their object is engine_id.

-- name: EngineOpen
with e as (insert into hatchet.engine (address) values ($1::text) returning engine_id, epoch)
select engine_id, epoch, pg_try_advisory_lock(1751217252, engine_id) from e

-- After a lost connection.  Waits for a flush still in flight and makes it impossible afterwards: flush_no is exact.
-- name: EngineResume
with e as (
	update hatchet.engine set epoch = epoch + 1 where engine_id = $1::int4 and ended_at is null
	returning engine_id, epoch, flush_no)
select epoch, flush_no, pg_try_advisory_lock(1751217252, engine_id) from e

-- name: EngineLock
select pg_try_advisory_lock(1751217252, $1::int4)

-- name: ClaimShards
select is_mine, address from hatchet.claim_shards($1::int4)

-- name: EngineEnd
with s as (update hatchet.shard set engine_id = null where engine_id = $1::int4)
update hatchet.engine set ended_at = now() where engine_id = $1::int4 and ended_at is null
