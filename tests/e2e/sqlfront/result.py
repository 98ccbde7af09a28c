"""The result of a run by the id that hatchet.enqueue() returned, with the official SDK: result.py REQUEST."""
import asyncio
import json
import sys

from hatchet_sdk import Hatchet

hatchet = Hatchet()
request = sys.argv[1]


def outcome(fn):
    try:
        return fn()
    except Exception as e:
        return f"{type(e).__name__}: {e} {getattr(e, 'exceptions', '')}"


ref = hatchet.runs.get_run_ref(request)
print(json.dumps({
    "rest": outcome(lambda: hatchet.runs.get(request).run.status.value),
    "details": outcome(lambda: hatchet.runs.get_details(request).status.value),
    "result": outcome(ref.result),
    "aio_result": outcome(lambda: asyncio.run(ref.aio_result())),
}, default=str))
