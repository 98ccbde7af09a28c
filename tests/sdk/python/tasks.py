"""The workflows of the suite, one per case, and the marks by which workers and suite tell each other what happened.

A mark is a line in a file of SUITE_DIR: one appended by a worker is seen by the suite, and a file `go-X` made by the
suite lets the tasks that wait for X go on."""
import asyncio
import json
import os
import time
from datetime import timedelta

from hatchet_sdk import (ConcurrencyExpression, ConcurrencyLimitStrategy, Context, Hatchet, NonRetryableException,
                         RateLimit)
from hatchet_sdk.rate_limit import RateLimitDuration
from hatchet_sdk.types.idempotency import StatusBasedIdempotencyConfig
from hatchet_sdk.types.labels import DesiredWorkerLabel
from hatchet_sdk.types.sticky import StickyStrategy
from hatchet_sdk.types.trigger import TriggerWorkflowOptions
from pydantic import BaseModel

DIR = os.environ["SUITE_DIR"]
hatchet = Hatchet()


class In(BaseModel):
    n: int = 0
    text: str = ""
    size: int = 0


def mark(case, what, **more):
    """One write of one line: lines of several processes never mix."""
    line = json.dumps({"what": what, "pid": os.getpid(), "at": time.time(), **more}) + "\n"
    fd = os.open(os.path.join(DIR, case), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(fd, line.encode())
    finally:
        os.close(fd)


def marks(case, what=None):
    try:
        with open(os.path.join(DIR, case)) as f:
            lines = [json.loads(line) for line in f.read().splitlines()]
    except FileNotFoundError:
        return []
    return [m for m in lines if what is None or m["what"] == what]


def let_go(name):
    with open(os.path.join(DIR, "go-" + name), "w"):
        pass


async def gate(name):
    while not os.path.exists(os.path.join(DIR, "go-" + name)):
        await asyncio.sleep(0.05)


@hatchet.task(name="py-wait", input_validator=In)
async def wait(input: In, ctx: Context) -> dict:
    return {"twice": input.n * 2, "text": input.text}


@hatchet.task(name="py-many", input_validator=In)
async def many(input: In, ctx: Context) -> dict:
    return {"n": input.n}


@hatchet.task(name="py-nowait", input_validator=In)
def nowait(input: In, ctx: Context) -> dict:
    return {"n": input.n + 1}


@hatchet.task(name="py-fail", input_validator=In)
async def fail(input: In, ctx: Context) -> dict:
    raise ValueError("the pump is dry: 42 < 43 \u2013 \u00fcber")


@hatchet.task(name="py-retry", input_validator=In, retries=3)
async def retry(input: In, ctx: Context) -> dict:
    mark("py-retry", "ran", retry=ctx.retry_count)
    if ctx.retry_count < 2:
        raise ValueError("not yet")
    return {"retry": ctx.retry_count, "attempt": ctx.attempt_number}


@hatchet.task(name="py-final", input_validator=In, retries=5)
async def final(input: In, ctx: Context) -> dict:
    mark("py-final", "ran", retry=ctx.retry_count)
    raise NonRetryableException("never again")


@hatchet.task(name="py-timeout", input_validator=In, execution_timeout=timedelta(seconds=1))
async def timeout(input: In, ctx: Context) -> dict:
    try:
        await gate("never")
    except asyncio.CancelledError:
        mark("py-timeout", "cancelled")
        raise
    return {}


@hatchet.task(name="py-refresh", input_validator=In, execution_timeout=timedelta(seconds=6))
async def refresh(input: In, ctx: Context) -> dict:
    began = time.monotonic()
    await ctx.aio_refresh_timeout(timedelta(seconds=30))
    while time.monotonic() < began + 9:
        await asyncio.sleep(0.1)
    return {"lasted": time.monotonic() - began}


@hatchet.task(name="py-cancel", input_validator=In)
async def cancel(input: In, ctx: Context) -> dict:
    mark("py-cancel", "started")
    try:
        await gate("never")
    except asyncio.CancelledError:
        mark("py-cancel", "cancelled")
        raise
    return {}


@hatchet.task(name="py-large", input_validator=In)
async def large(input: In, ctx: Context) -> dict:
    return {"got": len(input.text), "text": "b" * input.size}


@hatchet.task(name="py-meta", input_validator=In)
async def meta(input: In, ctx: Context) -> dict:
    return {"meta": dict(ctx.additional_metadata)}


@hatchet.task(name="py-logs", input_validator=In)
async def logs(input: In, ctx: Context) -> dict:
    for i in range(5):
        await ctx.aio_log(f"line {i} of the log")
    return {"task": ctx.task_run_id}


@hatchet.task(name="py-share", input_validator=In)
async def share(input: In, ctx: Context) -> dict:
    mark("py-share", "started", n=input.n)
    await gate("share")
    return {"pid": os.getpid()}


@hatchet.task(name="py-lost", input_validator=In, execution_timeout=timedelta(seconds=300))
async def lost(input: In, ctx: Context) -> dict:
    mark("py-lost", "started", retry=ctx.retry_count)
    await gate("lost")
    return {"pid": os.getpid(), "retry": ctx.retry_count}


@hatchet.task(name="py-pause", input_validator=In)
async def pause(input: In, ctx: Context) -> dict:
    mark("py-pause", "started", worker=ctx.worker_id)
    return {"worker": ctx.worker_id}


@hatchet.task(name="py-stop", input_validator=In)
async def stop(input: In, ctx: Context) -> dict:
    mark("py-stop", "started", worker=ctx.worker_id)
    await gate("stop")
    return {"worker": ctx.worker_id}


@hatchet.task(name="py-kid", input_validator=In)
async def kid(input: In, ctx: Context) -> dict:
    mark("py-kid", "ran", n=input.n)
    return {"n": input.n}


@hatchet.task(name="py-again", input_validator=In, retries=1)
async def again(input: In, ctx: Context) -> dict:
    got = [await kid.aio_run(In(n=i)) for i in range(3)]
    if ctx.retry_count == 0:
        raise RuntimeError("after its children")
    return {"kids": [g["n"] for g in got]}


@hatchet.task(name="py-zone", input_validator=In, desired_worker_labels=[DesiredWorkerLabel(key="zone", value="a", required=True)])
async def zone(input: In, ctx: Context) -> dict:
    if input.text:
        await ctx.aio_upsert_worker_labels({"zone": input.text})
    return {"worker": ctx.worker_id}


@hatchet.task(name="py-child", input_validator=In, sticky=StickyStrategy.HARD)
async def child(input: In, ctx: Context) -> dict:
    return {"worker": ctx.worker_id}


@hatchet.task(name="py-parent", input_validator=In)
async def parent(input: In, ctx: Context) -> dict:
    got = await child.aio_run(options=TriggerWorkflowOptions(sticky=True))
    return {"worker": ctx.worker_id, "child": got["worker"]}


@hatchet.task(name="py-server", input_validator=In, execution_timeout=timedelta(seconds=120))
async def server(input: In, ctx: Context) -> dict:
    mark("py-server", "started", retry=ctx.retry_count)
    await gate("server")
    return {"n": input.n, "retry": ctx.retry_count}


@hatchet.task(name="py-postgres", input_validator=In, execution_timeout=timedelta(seconds=120))
async def postgres(input: In, ctx: Context) -> dict:
    mark("py-postgres", "started", retry=ctx.retry_count)
    await gate("postgres")
    return {"n": input.n, "retry": ctx.retry_count}


BY_TEXT = ConcurrencyExpression(expression="input.text", max_runs=2, limit_strategy=ConcurrencyLimitStrategy.GROUP_ROUND_ROBIN)
NEWEST = ConcurrencyExpression(expression="input.text", max_runs=1, limit_strategy=ConcurrencyLimitStrategy.CANCEL_IN_PROGRESS)


@hatchet.task(name="py-keyed", input_validator=In, concurrency=BY_TEXT)
async def keyed(input: In, ctx: Context) -> dict:
    mark("py-keyed", "started", text=input.text, n=input.n)
    await gate("keyed")
    mark("py-keyed", "ended", text=input.text, n=input.n)
    return {"n": input.n}


@hatchet.task(name="py-newest", input_validator=In, concurrency=NEWEST)
async def newest(input: In, ctx: Context) -> dict:
    mark("py-newest", "started", n=input.n)
    await gate(f"newest-{input.n}")
    return {"n": input.n}


@hatchet.task(name="py-metered", input_validator=In, rate_limits=[RateLimit(static_key="py-api", units=2),
              RateLimit(dynamic_key="input.text", units=1, limit=2, duration=RateLimitDuration.HOUR)])
async def metered(input: In, ctx: Context) -> dict:
    return {"n": input.n}


@hatchet.batch_task(name="py-batch", input_validator=In, batch_max_size=3, batch_max_interval=timedelta(milliseconds=500),
                    batch_group_key="input.text")
async def batch(inputs: dict, ctx: Context) -> dict:
    mark("py-batch", "ran", n=len(inputs), keys=sorted({i.text for i in inputs.values()}))
    return {member: {"n": i.n, "of": len(inputs)} for member, i in inputs.items()}


@hatchet.task(name="py-once", input_validator=In, idempotency=StatusBasedIdempotencyConfig(key_expression="'py-' + input.text",
              fallback_ttl=timedelta(hours=1)))
async def once(input: In, ctx: Context) -> dict:
    await gate(f"once-{input.text}")
    return {"n": input.n}


@hatchet.task(name="py-mended", input_validator=In)
async def mended(input: In, ctx: Context) -> dict:
    if not os.path.exists(os.path.join(DIR, "go-mended")):
        raise ValueError("broken")
    return {"retry": ctx.retry_count}


@hatchet.task(name="py-orphan", input_validator=In)
async def orphan(input: In, ctx: Context) -> dict:
    mark("py-orphan", "started", run=ctx.workflow_run_id)
    await gate("never")
    return {}


@hatchet.task(name="py-mother", input_validator=In)
async def mother(input: In, ctx: Context) -> dict:
    return await orphan.aio_run()


@hatchet.task(name="py-resting", input_validator=In)
async def resting(input: In, ctx: Context) -> dict:
    return {"n": input.n}


SETS = {
    "base": [wait, many, nowait, fail, retry, final, timeout, refresh, cancel, large, meta, logs, kid, again,
             keyed, newest, metered, batch, once, mended, orphan, mother, resting],
    "share": [share],
    "lost": [lost],
    "pause": [pause],
    "stop": [stop],
    "zones": [zone, child, parent],
    "restart": [server, postgres],
}
