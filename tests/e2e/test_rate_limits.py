#!/usr/bin/env python3
"""Rate limits: static and dynamic, windows, units, several at once, with keys, across restarts.  test_rate_limits.py [NAME...]"""
import datetime
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fixture import *  # noqa: E402,F403
import fixture  # noqa: E402
from wire import Wire  # noqa: E402

L = v1.CreateTaskRateLimit
SECOND, MINUTE, HOUR = 0, 1, 2


def put_limit(key, limit, duration):
    call("/WorkflowService/PutRateLimit", wf.PutRateLimitRequest(key=b(key), limit=limit, duration=duration), wf.PutRateLimitResponse)


def workflow(*limits, slots=100, **task):
    name = name_of("metered")
    put(name, rate_limits=list(limits), **task)
    return name, Worker(name, slots=slots)


def dynamic(limit="2", duration=HOUR, key="input.user", units=1):
    return L(key=b(key), key_expr=b(key), units=units, limit_values_expr=b(limit), duration=duration)


def run(name, data="{}", **more):
    return trigger(name, data, **more)


def sent(w):
    return [a.task_run_external_id.decode() for a in w.actions if a.action_type == d.START_STEP_RUN]


def events(run_id):
    return S.rest("GET", f"/api/v1/stable/workflow-runs/{run_id}/task-events")[1]["rows"]


def limited(run_id):
    """Waits until the task is told so; the text says why."""
    def found():
        return [e["message"] for e in events(run_id) if e["eventType"] == "REQUEUED_RATE_LIMIT"]
    until("it is limited", found)
    equal(status(run_id), "QUEUED")
    return found()[0]


def listed(search, **more):
    query = "&".join(f"{k}={v}" for k, v in dict(search=search, **more).items())
    return S.rest("GET", f"/api/v1/tenants/{S.tenant()}/rate-limits?{query}")[1]["rows"]


def assigned_at(run_id):
    at = [e["timestamp"] for e in events(run_id) if e["eventType"] == "ASSIGNED"]
    equal(len(at), 1)
    return datetime.datetime.fromisoformat(at[0].replace("Z", "+00:00")).timestamp()


def case_a_window():
    """Three in each window of a second, in their order, and no more."""
    key = name_of("api")
    put_limit(key, 3, SECOND)
    name, w = workflow(L(key=b(key), units=1, limit_values_expr=b"-1"))
    ids = [run(name) for _ in range(8)]
    until("all are sent", lambda: len(sent(w)) == 8)
    equal(sent(w), ids)
    times = [assigned_at(i) for i in ids]
    for first in (0, 3):  # a window begins with the first that takes of it
        if not 0.999 < times[first + 3] - times[first] < 1.5:
            raise AssertionError(f"not a second from window to window: {times}")
    for i in ids:
        w.completed(i)
    w.close()


def case_units():
    """Three units each, of ten: three tasks in a window, and a unit is left."""
    key = name_of("units")
    put_limit(key, 10, HOUR)
    name, w = workflow(L(key=b(key), units=3))
    ids = [run(name) for _ in range(5)]
    until("three are sent", lambda: len(sent(w)) == 3)
    has(limited(ids[3]), key, "1 of 10", "3 are needed", "refilled at")
    equal(status(ids[4]), "QUEUED")
    row = listed(key)[0]
    equal([row["value"], row["limitValue"], row["window"]], [1, 10, "HOUR"])
    put_limit(key, 5, HOUR)
    equal(listed(key)[0]["value"], 1)
    put_limit(key, 20, HOUR)
    equal(listed(key)[0]["value"], 1, "more is more from the next window on")
    S.rest("DELETE", f"/api/v1/tenants/{S.tenant()}/rate-limits?key={key}")
    equal(listed(key), [])
    put_limit(key, 6, HOUR)
    until("the rest is sent", lambda: len(sent(w)) == 5)
    equal(sent(w), ids)
    for i in ids:
        w.completed(i)
    w.close()


def case_not_set_yet():
    key = name_of("later")
    name, w = workflow(L(key=b(key), units=1), schedule_timeout=b"30s")
    first = run(name)
    has(limited(first), key, "not set")
    put_limit(key, 1, HOUR)
    w.get(first)
    w.completed(first)
    second = run(name)
    has(limited(second), "0 of 1")
    w.close()


def case_never():
    key = name_of("small")
    put_limit(key, 2, SECOND)
    name, w = workflow(L(key=b(key), units=3), schedule_timeout=b"1s")
    first = run(name)
    has(limited(first), "allows 2", "3 can never be had")
    wait_status(first, "FAILED")
    has(details(first).task_runs[0].value.error.decode(), "exceeded its schedule timeout of 1s")
    equal(sent(w), [])
    w.close()


def case_dynamic():
    """Each user has his own units; two workflows that name one user share them."""
    one, w1 = workflow(dynamic())
    two, w2 = workflow(dynamic())
    user = name_of("u")
    a = [run(one, '{"user":"%s"}' % user) for _ in range(2)]
    other = run(one, '{"user":"%s-2"}' % user)
    for i in a + [other]:
        w1.get(i)
    b3 = run(two, '{"user":"%s"}' % user)
    has(limited(b3), user, "0 of 2")
    equal(sent(w2), [])
    equal(sorted((r["key"], r["value"]) for r in listed(user)), [(user, 0), (user + "-2", 1)])
    w1.close()
    w2.close()


def case_all_or_none():
    plenty, little = name_of("plenty"), name_of("little")
    put_limit(plenty, 5, HOUR)
    put_limit(little, 1, HOUR)
    name, w = workflow(L(key=b(plenty), units=1), L(key=b(little), units=1))
    first, second = run(name), run(name)
    w.get(first)
    has(limited(second), little)
    equal(listed(plenty)[0]["value"], 4, "nothing is taken of one when the other lacks")
    w.completed(first)
    w.close()


def case_no_place_in_a_key():
    """Who is limited holds no place: another of his key goes on."""
    rule = v1.Concurrency(expression=b"input.key", max_runs=1, limit_strategy=v1.GROUP_ROUND_ROBIN)
    name, w = workflow(dynamic("1"), concurrency=[rule])
    user = name_of("k")

    def one(who):
        return run(name, '{"key":"k","user":"%s-%s"}' % (user, who))
    first = one("a")
    w.get(first)
    w.completed(first)
    parked = one("a")
    limited(parked)
    second = one("b")
    w.get(second)
    third = one("c")
    equal(status(third), "QUEUED")
    w.completed(second)
    w.get(third)
    w.completed(third)
    equal(sent(w), [first, second, third])
    w.close()


def case_no_worker():
    """What finds no worker takes nothing, and hides nobody who would."""
    key = name_of("shared")
    put_limit(key, 2, HOUR)
    idle = name_of("idle")
    put(idle, rate_limits=[L(key=b(key), units=1)])
    waits = [run(idle) for _ in range(20)]
    name, w = workflow(L(key=b(key), units=1))
    ids = [run(name) for _ in range(2)]
    for i in ids:
        w.get(i)
    equal(listed(key)[0]["value"], 0)
    equal([status(i) for i in waits], ["QUEUED"] * 20)
    w.close()


def case_every_attempt_takes():
    key = name_of("again")
    put_limit(key, 2, HOUR)
    name, w = workflow(L(key=b(key), units=1), retries=3)
    first = run(name)
    w.get(first)
    w.failed(first)
    w.get(first, attempt=1)
    w.failed(first, attempt=1)
    has(limited(first), "0 of 2")
    put_limit(key, 0, HOUR)
    has(S.rest("GET", f"/api/v1/tenants/{S.tenant()}/rate-limits?search={key}")[1]["rows"][0]["key"], key)
    w.close()


def case_cancel_while_limited():
    key = name_of("cancelled")
    put_limit(key, 0, HOUR)
    name, w = workflow(L(key=b(key), units=1))
    first, second = run(name), run(name)
    limited(first)
    call("/v1.AdminService/CancelTasks", v1.CancelTasksRequest(external_ids=[b(first)]), v1.CancelTasksResponse)
    equal(status(first), "CANCELLED")
    S.rest("DELETE", f"/api/v1/tenants/{S.tenant()}/rate-limits?key={key}")
    put_limit(key, 5, HOUR)
    w.get(second)
    equal(sent(w), [second])
    w.close()


def case_across_a_crash():
    """What was taken stays taken; who waits is let pass by the next window."""
    hour, second = name_of("hour"), name_of("second")
    put_limit(hour, 2, HOUR)
    put_limit(second, 1, SECOND)
    slow, w1 = workflow(L(key=b(hour), units=1))
    fast, w2 = workflow(L(key=b(second), units=1))
    a, c = [run(slow) for _ in range(3)], [run(fast) for _ in range(3)]
    w1.get(a[1])
    w2.get(c[0])
    S.kill9()
    S.start()
    fixture.W = Wire(S.grpc, S.token)
    again1, again2 = Worker(slow, slots=100), Worker(fast, slots=100)
    for i in c[1:]:
        again2.get(i)
    equal(sent(again1), [])
    equal(listed(hour)[0]["value"], 0)
    equal(status(a[2]), "QUEUED")
    for w in (w1, w2):
        w.stop.set()
    again1.close()
    again2.close()


def case_the_list():
    stem = name_of("list")
    for i, limit in enumerate((30, 10, 20)):
        put_limit(f"{stem}-{i}", limit, MINUTE)
    equal([r["key"][-1] for r in listed(stem)], ["0", "1", "2"])
    equal([r["key"][-1] for r in listed(stem, orderByDirection="desc")], ["2", "1", "0"])
    equal([r["limitValue"] for r in listed(stem, orderByField="limitValue")], [10, 20, 30])
    equal([r["value"] for r in listed(stem, orderByField="value", orderByDirection="desc", limit=2)], [30, 20])
    equal([r["value"] for r in listed(stem, orderByField="value", offset=2)], [30])
    equal(listed(stem + "-%25"), [], "no pattern")


def case_dropped_when_nobody_needs_it():
    """A dynamic limit leaves no row when it is full again."""
    user = name_of("gone")
    name, w = workflow(dynamic("5", SECOND))
    first = run(name, '{"user":"%s"}' % user)
    w.get(first)
    equal([r["limitValue"] for r in listed(user)], [5])
    w.completed(first)
    until("it is gone", lambda: listed(user) == [])
    w.close()


def case_expressions_that_fail():
    name, w = workflow(L(key=b"x", key_expr=b"input.user", units_expr=b"input.units", limit_values_expr=b"input.limit", duration=HOUR))
    for data, text in (('{"user":1,"units":1,"limit":1}', "string"), ('{"user":"a","units":"1","limit":1}', "int"),
                       ('{"user":"a","units":-1,"limit":1}', "0 to 2147483647"), ('{"user":"a","units":1,"limit":-2}', "-1 to 2147483647"),
                       ('{"user":"a","units":1,"limit":1e12}', "2147483647"), ("{}", "no such key")):
        bad = run(name, data)
        wait_status(bad, "FAILED")
        has(details(bad).task_runs[0].value.error.decode(), "failed to parse step expression", text)
    user = name_of("fine")
    good = run(name, '{"user":"%s","units":1.9,"limit":2.9}' % user)
    w.get(good)
    equal([(r["value"], r["limitValue"]) for r in listed(user)], [(1, 2)])
    w.close()


def case_bad_definitions():
    for limit, text in ((L(key=b"", units=1), "key: must have 1 to"), (L(key=b"a"), "needs units"), (L(key=b"a", units=-1), "units"),
                        (L(key=b"a", key_expr=b"input.", units=1), "key_expr: line 1"), (L(key=b"a", key_expr=b"1", units=1), "must give a string"),
                        (L(key=b"a", units_expr=b"'x'"), "must give a number"), (L(key=b"a", units=1, limit_values_expr=b"nothing"), "undeclared"),
                        (L(key=b"x" * 1025, units=1), "1024")):
        t = v1.CreateTaskOpts(readable_id=b"x", action=b"x:x", rate_limits=[limit])
        refused("INVALID_ARGUMENT", ["tasks[0].rate_limits[0]", text], "/v1.AdminService/PutWorkflow",
                v1.CreateWorkflowVersionRequest(name=b(name_of("bad")), tasks=[t]), v1.CreateWorkflowVersionResponse)
    for m, text in ((wf.PutRateLimitRequest(limit=1), "key"), (wf.PutRateLimitRequest(key=b"a", limit=-1), "limit"),
                    (wf.PutRateLimitRequest(key=b"a", limit=1, duration=9), "duration")):
        refused("INVALID_ARGUMENT", [text], "/WorkflowService/PutRateLimit", m, wf.PutRateLimitResponse)


if __name__ == "__main__":
    main(globals(), flags=["--queue-memory", "64"])
