-- What a connection says first, by lane.  One statement each, so that they can be prepared and checked like all others.

-- part: SessionDead
set_config('tcp_keepalives_idle', '2', false), set_config('tcp_keepalives_interval', '1', false),
set_config('tcp_keepalives_count', '2', false), set_config('tcp_user_timeout', '4000', false),
set_config('search_path', 'pg_catalog', false), set_config('timezone', 'UTC', false), set_config('jit', 'off', false)

-- The plans of the flush must never depend on statistics: index lookups driven by unnest, always.
-- name: SessionWriter
select {{SessionDead}}, set_config('plan_cache_mode', 'force_generic_plan', false),
	set_config('enable_hashjoin', 'off', false), set_config('enable_mergejoin', 'off', false),
	set_config('enable_seqscan', 'off', false), set_config('enable_material', 'off', false),
	set_config('synchronous_commit', 'on', false), set_config('work_mem', '16MB', false),
	set_config('statement_timeout', '0', false)

-- A cached plan must not remember that a day's partition was empty once; and nobody may think that sorting what little is there
-- is as good as an index that has the order, when the statistics of today's partition are of this morning.
-- name: SessionRead
select {{SessionDead}}, set_config('enable_seqscan', 'off', false), set_config('enable_sort', 'off', false),
	set_config('enable_bitmapscan', 'off', false), set_config('statement_timeout', '15s', false), set_config('work_mem', '16MB', false),
	set_config('default_transaction_read_only', 'on', false)

-- name: SessionWrite
select {{SessionDead}}, set_config('statement_timeout', '30s', false), set_config('synchronous_commit', 'on', false)

-- The audit looks each row of a slice up; without statistics of today a planner would rather read everything for each.
-- name: SessionMaint
select {{SessionDead}}, set_config('statement_timeout', '0', false), set_config('lock_timeout', '2s', false),
	set_config('maintenance_work_mem', '64MB', false), set_config('enable_seqscan', 'off', false), set_config('work_mem', '16MB', false)

-- name: SessionListen
listen hatchet_cfg

-- name: BackendPid
select pg_backend_pid()
