#!/usr/bin/env python3
"""Idempotency keys: of the runs with one key, one.  test_idempotency.py [NAME...]"""
import concurrent.futures
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fixture import *  # noqa: E402,F403
import fixture  # noqa: E402
from wire import Refused, Wire  # noqa: E402
import status_pb2 as st  # noqa: E402

TTL, STATUS = 0, 1
HOUR = 3600000
SINGLE = "type.googleapis.com/v1.IdempotencyCollisionError"
BULK = "type.googleapis.com/v1.BulkTriggerIdempotencyCollisionError"


def workflow(ttl=HOUR, method=None, expression="input.id", slots=20, **task):
    name = name_of("once")
    how = v1.IdempotencyConfig(expression=b(expression), ttl_ms=ttl, **({} if method is None else {"method": method}))
    put(name, wf_idempotency=how, **task)
    return name, Worker(name, slots=slots)


def key_of(what):
    return name_of(what)


def data(key):
    return '{"id":"%s"}' % key


def collision(fn):
    """Who holds the key, and the id that the refused run would have had."""
    try:
        got = fn()
    except Refused as e:
        equal((e.code, e.text), ("ALREADY_EXISTS", "idempotency key collision"))
        s = st.Status.FromString(e.trailers["grpc-status-details-bin"])
        equal((s.code, s.message, [a.type_url.decode() for a in s.details]), (6, b"idempotency key collision", [SINGLE]))
        c = v1.IdempotencyCollisionError.FromString(s.details[0].value)
        return c.existing_run_external_id.decode(), c.colliding_run_external_id.decode()
    raise AssertionError(f"triggered: {got}")


def collides(name, key, holder):
    existing, colliding = collision(lambda: trigger(name, data(key)))
    equal(existing, holder)
    refused("NOT_FOUND", "external_id", "/v1.AdminService/GetRunDetails", v1.GetRunDetailsRequest(external_id=b(colliding)),
            v1.GetRunDetailsResponse)


def bulk(name, *keys, w=None):
    m = wf.BulkTriggerWorkflowRequest(workflows=[v1.TriggerWorkflowRequest(name=b(name), input=b(data(k))) for k in keys])
    return [i.decode() for i in call("/WorkflowService/BulkTriggerWorkflow", m, wf.BulkTriggerWorkflowResponse, w).workflow_run_ids]


def runs(**query):
    q = "&".join(f"{k}={v}" for k, v in query.items())
    code, got, _ = S.rest("GET", f"/st/workflow-runs?since=2024-01-01T00:00:00Z&only_tasks=true&{q}")
    equal(code, 200, got)
    return [r["metadata"]["id"] for r in got["rows"]]


def case_within_the_ttl():
    name, w = workflow()
    key = key_of("ttl")
    run = trigger(name, data(key))
    collides(name, key, run)
    w.get(run)
    w.completed(run)
    collides(name, key, run)  # over, but the time is not
    other = trigger(name, data(key + "!"))
    w.get(other)
    w.completed(other)
    w.close()


def case_after_the_ttl():
    """A key is free when its time is over; what was refused has not made that later."""
    name, w = workflow(ttl=1500)
    key = key_of("short")
    began = time.monotonic()
    runs_made = [trigger(name, data(key))]
    refusals = 0
    while len(runs_made) < 2:
        try:
            runs_made.append(trigger(name, data(key)))
        except Refused:
            refusals += 1
    took = time.monotonic() - began
    if not 1.49 < took < 3 or refusals < 2:
        raise AssertionError(f"free after {took:.3f} s, {refusals} refusals")
    collides(name, key, runs_made[1])
    for r in runs_made:
        w.get(r)
        w.completed(r)
    w.close()


def case_until_final():
    """STATUS: held while the run waits, runs and waits for its retry; free when its end is known."""
    name, w = workflow(method=STATUS, retries=1)
    key = key_of("status")
    run = trigger(name, data(key))
    collides(name, key, run)
    w.get(run)
    collides(name, key, run)
    w.failed(run)
    w.get(run, attempt=1)
    collides(name, key, run)
    w.completed(run, attempt=1)
    second = trigger(name, data(key))
    collides(name, key, second)
    w.get(second)
    w.report(second, d.STEP_EVENT_TYPE_FAILED, "broken", should_not_retry=True)
    third = trigger(name, data(key))
    call("/v1.AdminService/CancelTasks", v1.CancelTasksRequest(external_ids=[b(third)]), v1.CancelTasksResponse)
    fourth = trigger(name, data(key))
    collides(name, key, fourth)
    w.get(fourth)
    w.completed(fourth)
    w.close()


def case_an_old_holder_frees_nothing():
    """Its time is over and another has the key: its end is no longer of interest to anybody."""
    name, w = workflow(method=STATUS, ttl=300)
    key = key_of("old")
    old = trigger(name, data(key))
    w.get(old)
    until("its time is over", lambda: S.pg.sql(f"select 1 from hatchet.idempotency_key where key = '{key}' and expires_at < now()", S.db))
    put_longer(name)
    new = trigger(name, data(key))
    w.completed(old)
    collides(name, key, new)
    w.get(new)
    w.completed(new)
    third = trigger(name, data(key))
    w.get(third)
    w.completed(third)
    w.close()


def put_longer(name):
    how = v1.IdempotencyConfig(expression=b"input.id", ttl_ms=HOUR, method=STATUS)
    put(name, wf_idempotency=how)


def case_one_for_the_tenant():
    """Two workflows, one key: one run."""
    a, wa = workflow()
    other, wb = workflow()
    key = key_of("shared")
    run = trigger(a, data(key))
    collides(other, key, run)
    wa.get(run)
    wa.completed(run)
    wa.close()
    wb.close()


def case_a_bulk():
    """k1, k1, k2: two runs; the call fails and says which."""
    name, w = workflow()
    one, two = key_of("b1"), key_of("b2")
    try:
        bulk(name, one, one, two)
        raise AssertionError("not refused")
    except Refused as e:
        equal((e.code, e.text), ("ALREADY_EXISTS", "idempotency key collision"))
        s = st.Status.FromString(e.trailers["grpc-status-details-bin"])
        equal([a.type_url.decode() for a in s.details], [BULK])
        got = v1.BulkTriggerIdempotencyCollisionError.FromString(s.details[0].value)
    made = [i.decode() for i in got.successful_workflow_run_external_ids]
    equal(len(made), 2)
    equal([c.existing_run_external_id.decode() for c in got.collisions], [made[0]])
    equal(len({c.colliding_run_external_id.decode() for c in got.collisions} | set(made)), 3)
    for r in made:
        w.get(r)
        w.completed(r)
    equal(len([a for a in w.actions]), 2, "actions")
    w.close()


def case_at_once():
    """A hundred triggers of one key at the same time: one run, and all the others are told of it."""
    name, w = workflow()
    for n in range(5):
        key = key_of("crowd")
        wires = [Wire(S.grpc, S.token) for _ in range(10)]

        def one(i):
            m = v1.TriggerWorkflowRequest(name=b(name), input=b(data(key)))
            try:
                return "run", call("/WorkflowService/TriggerWorkflow", m, wf.TriggerWorkflowResponse, wires[i % 10]).workflow_run_id.decode()
            except Refused as e:
                s = st.Status.FromString(e.trailers["grpc-status-details-bin"])
                return "held", v1.IdempotencyCollisionError.FromString(s.details[0].value).existing_run_external_id.decode()
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            got = list(pool.map(one, range(100)))
        made = [r for k, r in got if k == "run"]
        equal(len(made), 1, "runs")
        equal({r for _, r in got}, set(made))
        w.get(made[0])
        w.completed(made[0])
    w.close()


def case_a_key_that_cannot_be():
    name, w = workflow()
    for text, part in (('{}', "no such key: id"), ('{"id":7}', "string"), ('{"id":"hatchet_internal_x"}', "hatchet_internal_"),
                       ('{"id":"%s"}' % ("x" * 1025), "1024"), ('[]', "input must be a JSON object")):
        refused("INVALID_ARGUMENT", ["idempotency key", part], "/WorkflowService/TriggerWorkflow",
                v1.TriggerWorkflowRequest(name=b(name), input=b(text)), wf.TriggerWorkflowResponse)
    code, got, _ = S.rest("POST", "/st/workflow-runs/trigger", {"workflowName": name, "input": {}})
    equal(code, 400, got)
    # in a bulk nothing is made
    m = wf.BulkTriggerWorkflowRequest(workflows=[v1.TriggerWorkflowRequest(name=b(name), input=b(t)) for t in (data(key_of("ok")), "{}")])
    refused("INVALID_ARGUMENT", "idempotency key", "/WorkflowService/BulkTriggerWorkflow", m, wf.BulkTriggerWorkflowResponse)
    run = trigger(name, data(""))  # the empty key is one
    existing, _ = collision(lambda: trigger(name, data("")))
    equal(existing, run)
    w.get(run)
    w.completed(run)
    equal(len(w.actions), 1)
    w.close()


def case_definitions():
    bad = ((dict(expression=b"", ttl_ms=1), "idempotency.expression"), (dict(expression=b"input.id", ttl_ms=0), "idempotency.ttl_ms"),
           (dict(expression=b"input.", ttl_ms=1), "idempotency.expression"), (dict(expression=b"1 + 1", ttl_ms=1), "string"),
           (dict(expression=b"workflow_run_id", ttl_ms=1), "workflow_run_id"),
           (dict(expression=b"input.id", ttl_ms=1, method=7), "idempotency.method"))
    for how, part in bad:
        name = name_of("bad")
        t = v1.CreateTaskOpts(readable_id=b(name), action=b(f"{name}:{name}"))
        m = v1.CreateWorkflowVersionRequest(name=b(name), tasks=[t], idempotency=v1.IdempotencyConfig(**how))
        refused("INVALID_ARGUMENT", part, "/v1.AdminService/PutWorkflow", m, v1.CreateWorkflowVersionResponse)


def case_replay():
    """STATUS: a replay takes the key again, unless another run has it; TTL: it asks nobody."""
    name, w = workflow(method=STATUS)
    key = key_of("replay")
    first = trigger(name, data(key))
    w.get(first)
    w.completed(first)

    def replay(*ids):
        m = v1.ReplayTasksRequest(external_ids=[b(r) for r in ids])
        return [i.decode() for i in call("/v1.AdminService/ReplayTasks", m, v1.ReplayTasksResponse).replayed_tasks]
    equal(replay(first), [first])
    collides(name, key, first)
    w.get(first, attempt=1)
    w.completed(first, attempt=1)
    second = trigger(name, data(key))
    equal(replay(first), [])
    equal(status(first), "COMPLETED")
    w.get(second)
    w.completed(second)
    equal(replay(first, second) in ([first], [second]), True, "of two with one key one")
    held = [r for r in (first, second) if status(r) != "COMPLETED"]
    equal(len(held), 1)
    collides(name, key, held[0])
    n = 2 if held[0] == first else 1
    w.get(held[0], attempt=n)
    w.completed(held[0], attempt=n)
    third = trigger(name, data(key))
    w.get(third)
    w.completed(third)
    w.close()
    name, w = workflow()
    run = trigger(name, data(key_of("replay")))
    w.get(run)
    w.completed(run)
    equal(replay(run), [run])
    w.get(run, attempt=1)
    w.completed(run, attempt=1)
    w.close()


def case_children():
    """The key of the child comes first: a parent that asks again is not refused.  Another's child is."""
    name, w = workflow()
    parent_name = name_of("parent")
    put(parent_name)
    p = Worker(parent_name)
    parents = [trigger(parent_name) for _ in range(2)]
    key = key_of("child")
    for q in parents:
        p.get(q)
        p.started(q)

    def child(parent):
        return trigger(name, data(key), parent_id=b(parent), parent_task_run_external_id=b(parent), child_index=0)
    first = child(parents[0])
    equal(child(parents[0]), first)
    existing, _ = collision(lambda: child(parents[1]))
    equal(existing, first)
    w.get(first)
    w.completed(first)
    for q in parents:
        p.completed(q)
    p.close()
    w.close()


def case_lists():
    name, w = workflow(method=STATUS)
    keys = [key_of("list") for _ in range(2)]
    made = [trigger(name, data(k)) for k in keys]
    plain_name = name_of("plain")
    put(plain_name)
    for r in made:
        w.get(r)
        w.completed(r)
    again = trigger(name, data(keys[0]))
    equal(runs(idempotency_keys=keys[0]), [again, made[0]])
    equal(runs(idempotency_keys=keys[1]), [made[1]])
    equal(runs(idempotency_keys=f"{keys[0]}&idempotency_keys={keys[1]}"), [again, made[1], made[0]])
    equal(runs(idempotency_keys=keys[0], statuses="COMPLETED"), [made[0]])
    equal(runs(idempotency_keys=keys[0], limit=1, offset=1), [made[0]])
    equal(runs(idempotency_keys=key_of("nobody")), [])
    equal(runs(idempotency_keys=keys[0], workflow_ids="00000000-0000-4000-8000-000000000000"), [])
    row = S.rest("GET", f"/st/workflow-runs?since=2024-01-01T00:00:00Z&only_tasks=true&idempotency_keys={keys[0]}")[1]["rows"][0]
    equal(row["idempotencyKey"], keys[0])
    equal(S.rest("GET", f"/api/v1/stable/tasks/{again}")[1]["idempotencyKey"], keys[0])
    w.get(again)
    w.completed(again)
    w.close()


def case_rest():
    name, w = workflow()
    key = key_of("rest")
    code, got, _ = S.rest("POST", "/st/workflow-runs/trigger", {"workflowName": name, "input": {"id": key}})
    equal(code, 200, got)
    run = got["run"]["metadata"]["id"]
    code, got, _ = S.rest("POST", "/st/workflow-runs/trigger", {"workflowName": name, "input": {"id": key}})
    equal(code, 409, got)
    has(got["errors"][0]["description"], "idempotency key collision", run)
    w.get(run)
    w.completed(run)
    w.close()


def case_sql():
    """A request whose key is held is refused, and says by which run."""
    name, w = workflow()
    key = key_of("sql")
    ids = [S.pg.sql(f"select hatchet.enqueue('{name}', '{data(key)}')", S.db)[0][0] for _ in range(3)]
    bad = S.pg.sql(f"select hatchet.enqueue('{name}', '{{}}')", S.db)[0][0]
    until("one is sent", lambda: len(w.actions) == 1)
    run = w.actions[0].task_run_external_id.decode()
    until("two are refused", lambda: [status(i) for i in ids].count("FAILED") == 2)
    for i in ids:
        if status(i) == "FAILED":
            error = details(i).task_runs[0].value.error.decode()
            has(error, "idempotency key collision", run)
    wait_status(bad, "FAILED")
    has(details(bad).task_runs[0].value.error.decode(), "idempotency key", "no such key")
    w.completed(run)
    collides(name, key, run)
    w.close()


def case_survives_a_crash():
    name, w = workflow(method=STATUS)
    ttl_name, ttl_w = workflow()
    key, other = key_of("crash"), key_of("crash")
    run, ended = trigger(name, data(key)), trigger(ttl_name, data(other))
    ttl_w.get(ended)
    ttl_w.completed(ended)
    w.get(run)
    S.kill9()
    S.start()
    fixture.W = Wire(S.grpc, S.token)
    collides(name, key, run)
    collides(ttl_name, other, ended)
    w.close()
    ttl_w.close()
    w = Worker(name)
    call("/v1.AdminService/CancelTasks", v1.CancelTasksRequest(external_ids=[b(run)]), v1.CancelTasksResponse)
    again = trigger(name, data(key))
    w.get(again)
    w.completed(again)
    w.close()


def case_verify_finds_a_key_that_was_left():
    name, w = workflow(method=STATUS)
    key = key_of("left")
    run = trigger(name, data(key))
    equal(S.audit(), [])
    w.get(run)
    w.completed(run)
    S.pg.sql(f"insert into hatchet.idempotency_key (tenant_no, key, run_id, is_status, expires_at) select tenant_no, '{key}', id, true,"
             f" now() + interval '1 hour' from hatchet.task where idempotency_key = '{key}'", S.db)
    found = S.audit()
    equal(len(found), 1, found)
    has(found[0], "KEY_LEFT", key, run)
    S.pg.sql(f"delete from hatchet.idempotency_key where key = '{key}'", S.db)
    w.close()


if __name__ == "__main__":
    fixture.main(globals())
