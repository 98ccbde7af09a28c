-- For the question why a task waits.

-- How many rows of its queue stand before one in the tail: of better rank, or of its own and older; at most $5.
-- name: TailAhead
select count(*) from (select from (values (0::int2), (1::int2), (2::int2), (3::int2)) r(rank) cross join lateral (
	select from hatchet.queue_item q where q.tenant_no = $1::int4 and q.action_no = $2::int4 and q.rank = r.rank
	and (r.rank < $3::int2 or q.id < $4::int8) limit $5::int4) q
	where r.rank <= $3::int2 limit $5::int4) x
