"""Acceptance cases of the official Python SDK: suite.py CASE...

Run by tests/sdk/drive.py, which starts the servers and sets HATCHET_CLIENT_*, SUITE_DIR and CONTROL_URL."""
import asyncio
import json
import os
import re
import signal
import sys
import time
import urllib.request
from datetime import datetime, timedelta, timezone

import tasks
from hatchet_sdk.clients.rest.models.v1_task_status import V1TaskStatus
from hatchet_sdk.exceptions import BulkTriggerIdempotencyCollisionError, FailedTaskRunExceptionGroup, IdempotencyCollisionError
from hatchet_sdk.rate_limit import RateLimitDuration
from hatchet_sdk.types.labels import DesiredWorkerLabel
from hatchet_sdk.types.trigger import TriggerWorkflowOptions
from tasks import In, hatchet, let_go, marks

HERE = os.path.dirname(os.path.abspath(__file__))
LIMIT = 4 * 1024 * 1024
INPUT_LIMIT = LIMIT - 64 * 1024
workers = []


async def until(what, check, seconds=30):
    """Wait for a condition; `check` may be a coroutine function; gives what it gave."""
    end = time.monotonic() + seconds
    while True:
        got = check()
        if asyncio.iscoroutine(got):
            got = await got
        if got:
            return got
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s for: {what}")
        await asyncio.sleep(0.05)


def equal(got, want, what=""):
    if got != want:
        raise AssertionError(f"{what}: got {got!r}, want {want!r}")


def has(text, *parts):
    for part in parts:
        if str(part) not in text:
            raise AssertionError(f"{part!r} is not in {text[:400]!r}")


async def start_worker(name, which, slots=10, *zone):
    """A worker process in a process group of its own, ready when the engine lists it with an open stream."""
    log = open(os.path.join(tasks.DIR, f"worker-{name}.log"), "wb")
    p = await asyncio.create_subprocess_exec(sys.executable, os.path.join(HERE, "worker.py"), name, which, str(slots), *zone,
                                             stdout=log, stderr=log, start_new_session=True)
    workers.append(p)

    def ended():
        if p.returncode is not None:
            raise AssertionError(f"worker {name} ended with {p.returncode}: see worker-{name}.log")

    async def listed():
        ended()
        for w in (await hatchet.workers.aio_list()).rows or []:
            if w.name == name and w.status == "ACTIVE":
                return w.metadata.id
    p.worker_id = await until(f"worker {name} listed", listed, 60)
    return p


def kill_worker(p):
    os.killpg(p.pid, signal.SIGKILL)


async def control(what):
    def call():
        with urllib.request.urlopen(os.environ["CONTROL_URL"] + what, timeout=60) as r:
            return json.load(r)
    return await asyncio.to_thread(call)


async def status(run_id):
    return await hatchet.runs.aio_get_status(run_id)


async def failure(awaitable):
    try:
        got = await awaitable
    except FailedTaskRunExceptionGroup as e:
        return e
    raise AssertionError(f"expected a failed run, got {got!r}")


async def case_run_and_wait():
    equal(await tasks.wait.aio_run(In(n=21, text="h\u00e9 \U0001f980")), {"twice": 42, "text": "h\u00e9 \U0001f980"})


async def case_run_many():
    items = [tasks.many.create_bulk_run_item(input=In(n=i)) for i in range(1000)]
    got = await tasks.many.aio_run_many(items)
    equal([r["n"] for r in got], list(range(1000)), "results in the order asked")


async def case_run_without_waiting():
    ref = await tasks.nowait.aio_run(In(n=1), wait_for_result=False)
    equal(await asyncio.to_thread(ref.result), {"n": 2}, "result by polling")
    equal(await tasks.nowait.aio_get_result(ref.workflow_run_id), {"n": 2}, "result of an ended run by its id")
    run = await hatchet.runs.aio_get(ref.workflow_run_id)
    equal(run.run.status, V1TaskStatus.COMPLETED, "status over REST")
    equal(await status(ref.workflow_run_id), V1TaskStatus.COMPLETED, "status route")


async def case_failing():
    ref = await tasks.fail.aio_run(wait_for_result=False)
    e = await failure(ref.aio_result())
    text = "the pump is dry: 42 < 43 \u2013 \u00fcber"
    equal((e.exceptions[0].exc_type, e.exceptions[0].exc), ("ValueError", text), "error of the stream")
    e = await failure(asyncio.to_thread(ref.result))
    equal(e.exceptions[0].exc, text, "error by polling")
    run = await hatchet.runs.aio_get(ref.workflow_run_id)
    equal(run.run.status, V1TaskStatus.FAILED, "status")
    has(run.tasks[0].error_message, text)


async def case_retry_that_succeeds():
    equal(await tasks.retry.aio_run(), {"retry": 2, "attempt": 3})
    equal([m["retry"] for m in marks("py-retry", "ran")], [0, 1, 2], "attempts")


async def case_non_retryable():
    e = await failure(tasks.final.aio_run())
    has(e.exceptions[0].exc, "never again")
    equal([m["retry"] for m in marks("py-final", "ran")], [0], "attempts")


async def case_timeout():
    began = time.monotonic()
    e = await failure(tasks.timeout.aio_run())
    has(str(e.exceptions[0]), "exceeded timeout of 1s")
    if not 0.9 < time.monotonic() - began < 10:
        raise AssertionError("the timeout of 1 s came after %.2f s" % (time.monotonic() - began))
    await until("the worker told to cancel", lambda: marks("py-timeout", "cancelled"))


async def case_refresh_of_the_timeout():
    got = await tasks.refresh.aio_run()
    if got["lasted"] < 9:
        raise AssertionError(f"ended after {got['lasted']} s")


async def case_cancel():
    ref = await tasks.cancel.aio_run(wait_for_result=False)
    await until("started", lambda: marks("py-cancel", "started"))
    await hatchet.runs.aio_cancel(ref.workflow_run_id)
    equal(await status(ref.workflow_run_id), V1TaskStatus.CANCELLED, "status right after the answer")
    await until("the worker told to cancel", lambda: marks("py-cancel", "cancelled"))
    try:
        await asyncio.to_thread(ref.result)
    except ValueError as e:
        has(str(e), "cancelled")
    else:
        raise AssertionError("a cancelled run gave a result")


async def case_large_payload():
    input_bytes, output_bytes = INPUT_LIMIT - 2048, LIMIT - 2048
    got = await tasks.large.aio_run(In(text="a" * input_bytes))
    equal(got["got"], input_bytes, "bytes that reached the worker")
    got = await tasks.large.aio_run(In(size=output_bytes))
    equal(len(got["text"]), output_bytes, "bytes of the result")


async def case_payload_over_the_limit():
    try:
        await tasks.large.aio_run(In(text="a" * (INPUT_LIMIT + 1)), wait_for_result=False)
    except Exception as e:
        has(str(e), "RESOURCE_EXHAUSTED", INPUT_LIMIT)
        asked = [int(n) for n in re.findall(r"\d{7,}", str(e))]
        if not any(INPUT_LIMIT < n < LIMIT for n in asked):
            raise AssertionError(f"the size asked for is not named: {str(e)[:400]}")
    else:
        raise AssertionError("an input over the limit was taken")


async def case_metadata():
    meta = {"customer": "acme", "trace": "a:b,c"}
    ref = await tasks.meta.aio_run(additional_metadata=meta, wait_for_result=False)
    equal((await ref.aio_result())["meta"], meta, "metadata in the task")
    run = await hatchet.runs.aio_get(ref.workflow_run_id)
    equal(run.run.additional_metadata, meta, "metadata over REST")
    since = datetime.now(timezone.utc) - timedelta(hours=1)
    found = await hatchet.runs.aio_list(since=since, additional_metadata={"customer": "acme"})
    equal([r.metadata.id for r in found.rows], [ref.workflow_run_id], "runs listed by metadata")


async def case_logs():
    got = await tasks.logs.aio_run()
    want = [f"line {i} of the log" for i in range(5)]

    async def read():
        rows = (await hatchet.logs.aio_list(task_run_id=got["task"])).rows or []
        return sorted(r.message for r in rows) == want
    await until("the five lines over REST", read)


async def case_children_once():
    equal(await tasks.again.aio_run(), {"kids": [0, 1, 2]})
    equal(sorted(m["n"] for m in marks("py-kid", "ran")), [0, 1, 2], "children of both attempts")


async def case_two_workers_share():
    a, b = await asyncio.gather(start_worker("py-share-a", "share", 5), start_worker("py-share-b", "share", 5))
    refs = await tasks.share.aio_run_many([tasks.share.create_bulk_run_item(input=In(n=i)) for i in range(12)],
                                          wait_for_result=False)
    await until("ten tasks at once", lambda: len(marks("py-share", "started")) >= 10)
    pids = [m["pid"] for m in marks("py-share", "started")]
    equal(sorted(pids.count(p) for p in set(pids)), [5, 5], "tasks of each worker while none has ended")
    let_go("share")
    got = await asyncio.gather(*[r.aio_result() for r in refs])
    equal(len(got), 12)


def in_zone(zone):
    return TriggerWorkflowOptions(desired_worker_label=[DesiredWorkerLabel(key="zone", value=zone, required=True)])


async def case_labels_and_sticky():
    a, b = await asyncio.gather(*[start_worker(f"py-zone-{z}", "zones", 4, z) for z in "ab"])
    for _ in range(3):
        equal((await tasks.zone.aio_run())["worker"], a.worker_id, "the label the task asks for")
        equal((await tasks.zone.aio_run(options=in_zone("b")))["worker"], b.worker_id, "the label the trigger asks for")
    ref = await tasks.zone.aio_run(options=in_zone("c"), wait_for_result=False)
    equal((await tasks.zone.aio_run())["worker"], a.worker_id)
    equal(await status(ref.workflow_run_id), V1TaskStatus.QUEUED, "nobody has that label")
    equal((await tasks.zone.aio_run(In(text="c"), options=in_zone("b")))["worker"], b.worker_id)
    equal((await ref.aio_result())["worker"], b.worker_id, "it has now")
    for got in await asyncio.gather(*[tasks.parent.aio_run() for _ in range(3)]):
        equal(got["child"], got["worker"], "where the child ran")


async def case_concurrency():
    """Two of a key at once, those of another key beside them; a newer one takes the place of the one that runs."""
    refs = [await tasks.keyed.aio_run(In(n=i, text="a" if i < 5 else "b"), wait_for_result=False) for i in range(6)]
    await until("two of a and one of b run", lambda: len(marks("py-keyed", "started")) == 3)
    equal(await status(refs[2].workflow_run_id), V1TaskStatus.QUEUED, "the third of a")
    let_go("keyed")
    equal([(await r.aio_result())["n"] for r in refs], list(range(6)), "all end")
    running = most = 0
    for m in marks("py-keyed"):
        running += (m["what"] == "started") - (m["what"] == "ended") if m["text"] == "a" else 0
        most = max(most, running)
    equal(most, 2, "of a at once")
    first = await tasks.newest.aio_run(In(n=1, text="k"), wait_for_result=False)
    await until("the first runs", lambda: marks("py-newest", "started"))
    second = await tasks.newest.aio_run(In(n=2, text="k"), wait_for_result=False)
    equal(await status(first.workflow_run_id), V1TaskStatus.CANCELLED, "the first")
    let_go("newest-2")
    equal(await second.aio_result(), {"n": 2})


async def case_rate_limits():
    """A static limit and one of each user, both needed; what is limited runs when there are units."""
    waits = await tasks.metered.aio_run(In(n=0, text="u0"), wait_for_result=False)
    await hatchet.rate_limits.aio_put("py-api", 8, RateLimitDuration.HOUR)
    equal(await waits.aio_result(), {"n": 0})
    for i in (1, 2):
        equal(await tasks.metered.aio_run(In(n=i, text="u1")), {"n": i})
    third = await tasks.metered.aio_run(In(n=3, text="u1"), wait_for_result=False)
    equal(await tasks.metered.aio_run(In(n=4, text="u2")), {"n": 4}, "another user")
    equal(await status(third.workflow_run_id), V1TaskStatus.QUEUED, "the third of u1")
    rows = {r.key: r.value for r in (await hatchet.rate_limits.aio_list()).rows}
    equal([rows["py-api"], rows["u1"], rows["u2"]], [0, 0, 1])
    await hatchet.runs.aio_cancel(third.workflow_run_id)


async def case_batch():
    """Three of a key in one call, the one that is left over alone when its time has come; keys apart."""
    outs = await asyncio.gather(*[tasks.batch.aio_run(In(n=i, text="a" if i < 4 else "b")) for i in range(5)])
    equal([o["n"] for o in outs], list(range(5)))
    equal(sorted(o["of"] for o in outs), [1, 1, 3, 3, 3])
    ran = marks("py-batch", "ran")
    equal(sorted((m["n"], m["keys"]) for m in ran), [(1, ["a"]), (1, ["b"]), (3, ["a"])])


async def case_idempotency():
    """One run of a key while it is not over; a bulk says which of its runs were not made."""
    first = await tasks.once.aio_run(In(n=1, text="a"), wait_for_result=False)
    try:
        await tasks.once.aio_run(In(n=2, text="a"), wait_for_result=False)
        raise AssertionError("a second run of one key")
    except IdempotencyCollisionError as e:
        equal(e.existing_run_external_id, first.workflow_run_id)
    items = [tasks.once.create_bulk_run_item(input=In(n=n, text=x)) for n, x in ((3, "a"), (4, "b"), (5, "b"))]
    try:
        await tasks.once.aio_run_many(items, wait_for_result=False)
        raise AssertionError("a bulk with keys that are held")
    except BulkTriggerIdempotencyCollisionError as e:
        made = e.successful_workflow_run_external_ids
        equal(len(made), 1)
        equal([c.existing_run_external_id for c in e.collisions], [first.workflow_run_id, made[0]])
    let_go("once-a")
    let_go("once-b")
    equal(await first.aio_result(), {"n": 1})
    equal(await tasks.once.aio_get_result(made[0]), {"n": 4})
    equal(await tasks.once.aio_run(In(n=6, text="a")), {"n": 6}, "the key is free again")


async def case_replay():
    ref = await tasks.mended.aio_run(wait_for_result=False)
    await failure(ref.aio_result())
    let_go("mended")
    await hatchet.runs.aio_replay(ref.workflow_run_id)
    equal(await tasks.mended.aio_get_result(ref.workflow_run_id), {"retry": 1})


async def case_children_end_with_their_parent():
    ref = await tasks.mother.aio_run(wait_for_result=False)
    child = (await until("the child runs", lambda: marks("py-orphan", "started")))[0]["run"]
    await hatchet.runs.aio_cancel(ref.workflow_run_id)

    async def cancelled():
        return await status(child) == V1TaskStatus.CANCELLED
    await until("the child cancelled", cancelled)


async def case_workflow_paused():
    flow = [w for w in (await hatchet.workflows.aio_list(workflow_name="py-resting")).rows if w.name == "py-resting"][0]
    await hatchet.workflows.aio_pause(flow.metadata.id, timedelta(hours=1))
    ref = await tasks.resting.aio_run(In(n=3), wait_for_result=False)
    await tasks.wait.aio_run(In(n=1))  # a run that came later has passed through
    equal(await status(ref.workflow_run_id), V1TaskStatus.QUEUED, "while its workflow is paused")
    await hatchet.workflows.aio_unpause(flow.metadata.id)
    equal(await ref.aio_result(), {"n": 3})


async def case_worker_killed():
    first = await start_worker("py-lost-a", "lost", 1)
    ref = await tasks.lost.aio_run(wait_for_result=False)
    await until("started", lambda: marks("py-lost", "started"))
    kill_worker(first)
    killed = time.time()
    await start_worker("py-lost-b", "lost", 1)
    let_go("lost")
    got = await ref.aio_result()
    began = marks("py-lost", "started")
    equal(len(began), 2, "starts")
    equal(got, {"pid": began[1]["pid"], "retry": 1})
    if began[0]["pid"] == began[1]["pid"] or not 20 < began[1]["at"] - killed < 45:
        raise AssertionError(f"second start {began[1]['at'] - killed:.1f} s after the kill")


async def case_worker_paused():
    w = await start_worker("py-pause", "pause", 1)
    equal((await tasks.pause.aio_run())["worker"], w.worker_id)
    await hatchet.workers.aio_pause(w.worker_id)
    equal((await hatchet.workers.aio_get(w.worker_id)).status, "PAUSED")
    ref = await tasks.pause.aio_run(wait_for_result=False)
    await tasks.wait.aio_run(In(n=1))  # a run that came later has passed through
    equal(await status(ref.workflow_run_id), V1TaskStatus.QUEUED, "status while its worker is paused")
    equal(len(marks("py-pause", "started")), 1, "starts")
    await hatchet.workers.aio_unpause(w.worker_id)
    equal((await ref.aio_result())["worker"], w.worker_id)


async def case_worker_stopped():
    w = await start_worker("py-stop", "stop", 2)
    ref = await tasks.stop.aio_run(wait_for_result=False)
    await until("started", lambda: marks("py-stop", "started"))
    w.send_signal(signal.SIGTERM)

    async def paused():
        return (await hatchet.workers.aio_get(w.worker_id)).status != "ACTIVE"
    await until("the worker not active", paused)
    late = await tasks.stop.aio_run(wait_for_result=False)
    let_go("stop")
    equal((await ref.aio_result())["worker"], w.worker_id, "the task that ran ends")
    equal(await asyncio.wait_for(w.wait(), 30), 0, "exit code of the worker")
    equal(len(marks("py-stop", "started")), 1, "starts")
    other = await start_worker("py-stop-b", "stop", 2)
    equal((await late.aio_result())["worker"], other.worker_id)


async def restart(case, task, command):
    ref = await task.aio_run(In(n=7), wait_for_result=False)
    waiting = asyncio.create_task(ref.aio_result())
    await until("started", lambda: marks(case, "started"))
    await control(command)
    let_go(case.split("-")[1])
    equal(await waiting, {"n": 7, "retry": 0}, "result")
    equal(len(marks(case, "started")), 1, "starts")
    await hatchet.runs.aio_get(ref.workflow_run_id)


async def case_server_restarted():
    await restart("py-server", tasks.server, "restart-server")


async def case_postgres_restarted():
    await restart("py-postgres", tasks.postgres, "restart-postgres")


CASES = {
    "main": ["run_and_wait", "run_many", "run_without_waiting", "failing", "retry_that_succeeds", "non_retryable",
             "timeout", "refresh_of_the_timeout", "cancel", "large_payload", "payload_over_the_limit", "metadata",
             "logs", "children_once", "two_workers_share", "labels_and_sticky", "concurrency", "rate_limits", "batch", "idempotency", "replay", "children_end_with_their_parent", "workflow_paused",
             "worker_killed", "worker_paused", "worker_stopped"],
    "tls": ["run_and_wait", "run_many", "run_without_waiting", "large_payload"],
    "restart": ["server_restarted", "postgres_restarted"],
}


async def run(number, name):
    began = time.monotonic()
    try:
        await asyncio.wait_for(globals()["case_" + name](), 120)
        print(f"ok {number} - {name} ({time.monotonic() - began:.1f} s)", flush=True)
        return True
    except BaseException as e:
        print(f"not ok {number} - {name}: {type(e).__name__}: {str(e)[:1500]}", flush=True)
        return False


async def main(group):
    names = CASES[group]
    ok = []
    try:
        await start_worker("py-" + group, "restart" if group == "restart" else "base", 100)
        if group != "restart":
            ok = await asyncio.gather(*[run(i + 1, n) for i, n in enumerate(names)])
        else:
            ok = [await run(i + 1, n) for i, n in enumerate(names)]
    except Exception as e:
        print(f"not ok 0 - {group}: {type(e).__name__}: {e}", flush=True)
        ok = [False] * len(names)
    finally:
        for p in workers:
            try:
                kill_worker(p)
            except ProcessLookupError:
                pass
    print(f"{sum(ok)} passed, {len(names) - sum(ok)} failed, 0 skipped", flush=True)
    os._exit(0 if all(ok) else 1)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
