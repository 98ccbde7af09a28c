#!/usr/bin/env python3
"""The audit: finds nothing while everything goes on, and every difference that is planted behind the server's back.  test_verify.py [NAME...]"""
import json
import os
import subprocess
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fixture import *  # noqa: E402,F403
import fixture  # noqa: E402
from hatchet import BIN  # noqa: E402
from wire import Wire  # noqa: E402

QUEUE_MEMORY = 64


def verify():
    code, got, _ = S.rest("POST", "/st/verify")
    equal(code, 200, got)
    equal(got["differences"], len(got["rows"]))
    return got


def clean():
    got = verify()
    equal(got["rows"], [])
    equal(got["unsettled"], 0)
    equal(got["checked"] > 0, True)
    return got


def rule(max_runs=1):
    return v1.Concurrency(expression=b"input.key", max_runs=max_runs, limit_strategy=v1.GROUP_ROUND_ROBIN)


def bulk(name, n, data=b'{"key":"a"}'):
    items = [v1.TriggerWorkflowRequest(name=b(name), input=data) for _ in range(n)]
    m = wf.BulkTriggerWorkflowRequest(workflows=items)
    return [i.decode() for i in call("/WorkflowService/BulkTriggerWorkflow", m, wf.BulkTriggerWorkflowResponse).workflow_run_ids]


def cancel(*runs):
    call("/v1.AdminService/CancelTasks", v1.CancelTasksRequest(external_ids=[b(r) for r in runs]), v1.CancelTasksResponse)


def no_of(run):
    """The inner id: of the only task that is not over, or with that place among the newest."""
    return S.pg.sql("select max(id) from hatchet.task")[0][0]


def cli(*words):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("SERVER_", "HATCHET_", "DATABASE_"))}
    return subprocess.run([BIN, "verify", *words], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=100)


def case_clean():
    clean()
    name = name_of("clean")
    put(name, retries=2, backoff_factor=50.0, backoff_max_seconds=60, concurrency=[rule(2)])
    w = Worker(name, slots=4)
    runs = bulk(name, 6) + bulk(name, 3, b'{"key":"b"}')
    w.get(runs[0])
    clean()
    w.started(runs[0])
    w.completed(runs[0])
    w.get(runs[1])
    w.failed(runs[1])
    cancel(runs[5])
    S.rest("POST", "/st/tasks/replay", {"externalIds": [runs[0], runs[5]]})
    clean()
    cancel(*runs)
    clean()
    w.close()


def case_while_everything_moves():
    """Tasks come, wait in tails, take turns under keys, fail, are cancelled and replayed: no audit sees a difference."""
    name = name_of("moves")
    put(name, retries=1, concurrency=[rule(3)])
    plain = name_of("plain")
    put(plain)
    workers = [Worker(name, slots=10), Worker(plain, slots=10), Worker(plain, slots=3)]
    stop = threading.Event()
    made, errors = [], []

    def work(w):
        done = 0
        wires = w.wire
        while not stop.is_set() or done < len(w.actions):
            todo = w.actions[done:]
            done += len(todo)
            for i, a in enumerate(todo):
                if a.action_type != d.START_STEP_RUN:
                    continue
                try:
                    w.started(a.task_run_external_id.decode(), attempt=a.retry_count)
                    (w.failed if i % 7 == 3 else w.completed)(a.task_run_external_id.decode(), attempt=a.retry_count)
                except Exception as e:
                    errors.append(repr(e))
            stop.wait(0.001)
        return wires

    def make():
        own = Wire(S.grpc, S.token)
        n = 0
        while not stop.is_set():
            n += 1
            items = [v1.TriggerWorkflowRequest(name=b(plain if i % 2 else name), input=b'{"key":"%d"}' % (i % 5)) for i in range(40)]
            got = call("/WorkflowService/BulkTriggerWorkflow", wf.BulkTriggerWorkflowRequest(workflows=items[:20] + items[20:]),
                       wf.BulkTriggerWorkflowResponse, own).workflow_run_ids
            made.extend(got)
            if n % 5 == 0:
                call("/v1.AdminService/CancelTasks", v1.CancelTasksRequest(external_ids=list(got[:5])), v1.CancelTasksResponse, own)
                call("/v1.AdminService/ReplayTasks", v1.ReplayTasksRequest(external_ids=list(got[:3])), v1.ReplayTasksResponse, own)
            if n % 12 == 0:
                stop.wait(0.3)  # the tails run empty
    threads = [threading.Thread(target=work, args=(w,), daemon=True) for w in workers] + [threading.Thread(target=make, daemon=True)]
    for t in threads:
        t.start()
    seen = 0
    for _ in range(40):
        got = verify()
        equal(got["rows"], [])
        seen = max(seen, got["checked"])
    stop.set()
    for t in threads:
        t.join(60)
    equal(errors[:3], [])
    equal(len(made) > 500, True, f"{len(made)} made")
    for at in range(0, len(made), 1000):
        call("/v1.AdminService/CancelTasks", v1.CancelTasksRequest(external_ids=made[at:at + 1000]), v1.CancelTasksResponse)
    clean()
    for w in workers:
        w.close()


class Planted:
    """A change of the tables behind the server's back, and its opposite."""

    def __init__(self, there, back):
        self.there, self.back = there, back

    def __enter__(self):
        S.pg.sql(self.there)
        return verify()

    def __exit__(self, *args):
        S.pg.sql(self.back)


def found(got, kind, *parts):
    texts = [r["text"] for r in got["rows"] if r["kind"] == kind]
    if not any(all(p in t for p in parts) for t in texts):
        raise AssertionError(f"no {kind} with {parts} in {got['rows']}")
    metrics = S.rest("GET", "/metrics")[1].decode()
    has(metrics, f"\nhatchet_verify_differences {got['differences']}\n", "\nhatchet_verify_last_seconds 1")


def case_planted_in_live():
    name = name_of("planted")
    put(name, concurrency=[rule()])
    w = Worker(name, slots=1)
    run = trigger(name, '{"key":"a"}')
    w.get(run)
    w.started(run)
    clean()
    no = no_of(run)
    row = f"from hatchet.live where id = {no}"
    text = f"task {run}"
    S.pg.sql("create table if not exists public.kept as select * from hatchet.live limit 0")
    with Planted(f"with gone as (delete {row} returning *) insert into public.kept select * from gone",
                 "insert into hatchet.live select * from public.kept; delete from public.kept") as got:
        found(got, "LIVE_MISSING", text, "state 2")
        found(got, "TASK_LOST", text)
        equal([r["taskId"] for r in got["rows"]], [run, run])
    with Planted(f"update hatchet.live set state = 1 where id = {no}", f"update hatchet.live set state = 2 where id = {no}") as got:
        found(got, "LIVE_STATE", text, "2 in memory", "1 in live")
        equal(len(got["rows"]), 1)
    with Planted(f"update hatchet.live set attempt = 3 where id = {no}", f"update hatchet.live set attempt = 0 where id = {no}") as got:
        found(got, "LIVE_ATTEMPT", text, "0 in memory", "3 in live")
        found(got, "TASK_ATTEMPT", text)
    with Planted(f"update hatchet.live set worker_no = null where id = {no}",
                 f"update hatchet.live set worker_no = (select worker_no from hatchet.worker where id = '{w.id.decode()}') where id = {no}") as got:
        found(got, "LIVE_ON", text)
        found(got, "LIVE_WORKER", text)
    with Planted(f"update hatchet.task set keys = array['z'] where id = {no}", f"update hatchet.task set keys = array['a'] where id = {no}") as got:
        found(got, "KEY", text)
    with Planted(f"update hatchet.worker set slot_units = array[0] where id = '{w.id.decode()}'",
                 f"update hatchet.worker set slot_units = array[1] where id = '{w.id.decode()}'") as got:
        found(got, "SLOTS_OVER", "1 slots", "0 in all")
    with Planted(f"insert into hatchet.live select tenant_no, 77, action_no, step_no, worker_no, flags, shard, 0, 0, 0, 0, 3 "
                 f"{row}".replace("select tenant_no, 77,", "(tenant_no, id, action_no, step_no, worker_no, flags, shard, state, attempt,"
                                  " app_retries, internal_retries, rank) select tenant_no, 77,").replace("worker_no, flags, shard, 0,", "null, 0, shard, 0,"),
                 "delete from hatchet.live where id = 77") as got:
        found(got, "LIVE_UNKNOWN", "is not in memory")
        found(got, "LIVE_ORPHAN", "none in task")
    clean()
    w.completed(run)
    clean()
    w.close()


def case_planted_in_history():
    name = name_of("history")
    put(name)
    w = Worker(name)
    run = trigger(name)
    w.get(run)
    w.completed(run)
    clean()
    no, text = no_of(run), f"task {run}"
    with Planted(f"update hatchet.attempt set final = final + 1 where task_id = {no}",
                 f"update hatchet.attempt set final = final - 1 where task_id = {no}") as got:
        found(got, "TASK_STATUS", text, "status 3", "says 2")
    with Planted(f"update hatchet.attempt set status = 1 where task_id = {no}",
                 f"update hatchet.attempt set status = 0 where task_id = {no}") as got:
        found(got, "TASK_STATUS", text)
    with Planted(f"update hatchet.stat_minute set n = n + 1 where (minute, workflow_no, status) = (select minute, workflow_no, status from "
                 "hatchet.stat_minute where status = 8 order by minute desc, workflow_no desc limit 1)",
                 f"update hatchet.stat_minute set n = n - 1 where (minute, workflow_no, status) = (select minute, workflow_no, status from "
                 "hatchet.stat_minute where status = 8 order by minute desc, workflow_no desc limit 1)") as got:
        found(got, "COUNT_MADE", "status 8", "2 are counted and 1 are there")
    for column, kind in (("n", "COUNT_ENDED"), ("run_us", "TIME_RUN")):
        at = "where (minute, workflow_no, status) = (select minute, workflow_no, status from hatchet.stat_minute where status = 2 order by minute desc, workflow_no desc limit 1)"
        with Planted(f"update hatchet.stat_minute set {column} = {column} + 5 {at}", f"update hatchet.stat_minute set {column} = {column} - 5 {at}") as got:
            found(got, kind, "status 2")
            equal(len(got["rows"]), 1)
    clean()
    w.close()


def case_planted_in_the_tail():
    name = name_of("tail")
    put(name)
    runs = bulk(name, QUEUE_MEMORY * 2)
    clean()
    last = S.pg.sql("select max(id) from hatchet.queue_item")[0][0]
    text = f"task {runs[-1]}"
    with Planted("update hatchet.tail_depth set n = n + 1", "update hatchet.tail_depth set n = n - 1") as got:
        found(got, "COUNT_TAIL", "are counted in the tail")
    S.pg.sql("create table if not exists public.kept_items as select * from hatchet.queue_item limit 0")
    with Planted(f"with gone as (delete from hatchet.queue_item where id = {last} returning *) insert into public.kept_items select * from gone",
                 "insert into hatchet.queue_item select * from public.kept_items; delete from public.kept_items") as got:
        found(got, "TASK_LOST", text)
        found(got, "COUNT_TAIL")
    with Planted(f"insert into hatchet.queue_item select id, tenant_no, action_no, 0, attempt, app_retries, internal_retries from hatchet.queue_item where id = {last}",
                 f"delete from hatchet.queue_item where id = {last} and rank = 0") as got:
        found(got, "TASK_TWICE", text, "2 places")
        found(got, "TAIL_FORGOTTEN", "of rank 0")
    cancel(*runs)
    clean()


def case_planted_requests():
    name = name_of("request")
    put(name)
    rid = S.pg.sql(f"select hatchet.enqueue('{name}', '{{}}')")[0][0]
    until("the request is a run", lambda: S.pg.sql(f"select 1 from hatchet.request where id = '{rid}'"))
    clean()
    with Planted(f"update hatchet.request set run_id = run_id + 1 where id = '{rid}'", f"update hatchet.request set run_id = run_id - 1 where id = '{rid}'") as got:
        found(got, "REQUEST_RUN", rid)
    cancel(rid)
    clean()


def case_cli():
    def done(p, code, *parts):
        equal(p.returncode, code, p.stdout + p.stderr)
        has(p.stdout + p.stderr, *parts)

    here = ["--url", S.url, "--token", S.token]
    done(cli(*here), 0, " checked, 0 differences\n")
    done(cli("--database-url", S.pg.url()), 0, " checked, 0 differences\n")
    with Planted("update hatchet.tail_depth set n = n + 3", "update hatchet.tail_depth set n = n - 3"):
        for p in (cli(*here), cli("--database-url", S.pg.url())):
            done(p, 1, "COUNT_TAIL: of step ", " differences\n")
            equal(all(line.startswith("COUNT_TAIL: ") for line in p.stdout.splitlines()[:-1]), True, p.stdout)
        for p in (cli("--json", *here), cli("--json", "--database-url", S.pg.url())):
            equal(p.returncode, 1)
            got = json.loads(p.stdout)
            equal((got["differences"], {r["kind"] for r in got["rows"]}), (len(got["rows"]), {"COUNT_TAIL"}))
    done(cli(), 1, "the server wants a token")
    done(cli("--token", "x", "--url", S.url), 1, "is no API token")
    done(cli("--database-url", "postgresql://x@/x?host=/nowhere"), 1, "hatchet: ")
    equal(S.rest("POST", "/st/verify", token="x")[0], 403)


if __name__ == "__main__":
    fixture.main(globals(), flags=["--queue-memory", str(QUEUE_MEMORY)])
