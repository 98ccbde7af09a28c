#!/usr/bin/env python3
"""Every RPC that answers OK has its effect read through another call; every wrong one is refused by name, and leaves nothing.

Without an SDK: messages from proto/, so that also what no SDK would send is sent.  test_effects.py [NAME...]"""
import base64
import json
import os
import subprocess
import sys
import threading
import time
import uuid

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fixture import *  # noqa: E402,F403
import fixture  # noqa: E402
from hatchet import BIN, TOP, until  # noqa: E402
from wire import Wire  # noqa: E402

LIMIT = 4 << 20
INPUT_LIMIT = LIMIT - (64 << 10)
EMPTY = trace.ExportTraceServiceResponse if hasattr(trace, "ExportTraceServiceResponse") else d.HeartbeatResponse


def runs_of(name):
    """Runs of a workflow over REST."""
    rows = S.rest("GET", "/t/workflows?name=" + name)[1]["rows"]
    ids = [r["metadata"]["id"] for r in rows if r["name"] == name]
    if not ids:
        return []
    return S.rest("GET", f"/st/workflow-runs?since=2024-01-01T00:00:00Z&only_tasks=false&workflow_ids={ids[0]}")[1]["rows"]


def case_version():
    got = call("/Dispatcher/GetVersion", d.GetVersionRequest(), d.GetVersionResponse)
    equal(got.version, b"v0.110.3")
    equal(S.rest("GET", "/api/v1/version")[1]["version"], "v0.110.3")


def case_register_and_listen():
    for version in (1, 2):
        name = name_of(f"listen{version}")
        put(name)
        w = Worker(name, slots=3, version=version)
        got = w.rest()
        equal((got["name"], got["status"], got["actions"]), (name, "ACTIVE", [f"{name}:{name}"]))
        equal(got["slotConfig"]["default"]["limit"], 3)
        run = trigger(name, '{"x":1}')
        a = w.get(run)
        equal(json.loads(a.action_payload)["input"], {"x": 1})
        equal((a.action_id, a.workflow_run_id, a.retry_count), (f"{name}:{name}".encode(), run.encode(), 0))
        equal(a.task_inserted_at.seconds > 0, True, "task_inserted_at")
        w.started(run)
        equal(status(run), "RUNNING")
        w.completed(run, '{"y":2}')
        got = details(run)
        equal((v1.RunStatus.Name(got.status), got.done), ("COMPLETED", True))
        equal(json.loads(got.task_runs[0].value.output), {"y": 2})
        equal(json.loads(got.input)["x"], 1)
        w.close()


def case_newer_session_wins():
    name = name_of("session")
    put(name)
    w = Worker(name)
    first, old = w.call, w.actions
    w.actions = []
    w.listen()
    run = trigger(name)
    w.get(run)
    first.cancel()  # the end of the older stream says nothing about the newer one
    run = trigger(name)
    w.get(run)
    equal((old, w.rest()["status"]), ([], "ACTIVE"))
    w.completed(run)
    w.close()


def case_heartbeat():
    name = name_of("beat")
    w = Worker(name, beat=False)
    before = w.rest()["lastHeartbeatAt"]
    until("a later heartbeat", lambda: w.beat() or w.rest()["lastHeartbeatAt"] > before)
    w.close()
    until("the stream is gone", lambda: w.rest()["status"] != "ACTIVE")
    refused("FAILED_PRECONDITION", [], "/Dispatcher/Heartbeat", d.HeartbeatRequest(worker_id=w.id), d.HeartbeatResponse)
    refused("NOT_FOUND", "worker", "/Dispatcher/Heartbeat", d.HeartbeatRequest(worker_id=b(str(uuid.uuid4()))), d.HeartbeatResponse)
    refused("INVALID_ARGUMENT", "worker_id", "/Dispatcher/Heartbeat", d.HeartbeatRequest(worker_id=b"x"), d.HeartbeatResponse)


def case_unsubscribe():
    name = name_of("unsubscribe")
    put(name)
    w = Worker(name)
    call("/Dispatcher/Unsubscribe", d.WorkerUnsubscribeRequest(worker_id=w.id), d.WorkerUnsubscribeResponse)
    until("not active", lambda: w.rest()["status"] != "ACTIVE")
    run = trigger(name)
    equal(status(run), "QUEUED")
    equal(w.actions, [])
    w.close()


def case_reports():
    """Duplicates and late ones are answered OK and change nothing."""
    name = name_of("reports")
    put(name, retries=1)
    w = Worker(name)
    run = trigger(name)
    w.get(run)
    w.started(run)
    w.started(run)
    w.failed(run, "first")
    w.get(run, attempt=1)
    w.completed(run, '{"late":1}', attempt=0)
    equal(status(run), "RUNNING", "after a late report of attempt 0")
    w.completed(run, '{"good":1}', attempt=1)
    w.completed(run, '{"again":1}', attempt=1)
    w.failed(run, "too late", attempt=1)
    got = details(run)
    equal((v1.RunStatus.Name(got.status), json.loads(got.task_runs[0].value.output)), ("COMPLETED", {"good": 1}))
    kinds = [e["eventType"] for e in S.rest("GET", f"/api/v1/stable/tasks/{run}/task-events")[1]["rows"]]
    for kind in ("QUEUED", "ASSIGNED", "STARTED", "FAILED", "RETRYING", "FINISHED"):
        if kind not in kinds:
            raise AssertionError(f"no {kind} in {kinds}")
    w.close()


def case_failed_and_its_text():
    name = name_of("failed")
    put(name)
    w = Worker(name)
    run = trigger(name)
    w.get(run)
    w.failed(run, "the reason \u2013 whole")
    got = details(run)
    equal((v1.RunStatus.Name(got.status), got.task_runs[0].value.error.decode()), ("FAILED", "the reason \u2013 whole"))
    equal(S.rest("GET", f"/api/v1/stable/tasks/{run}")[1]["errorMessage"], "the reason \u2013 whole")
    w.close()


def case_release_slot():
    name = name_of("slot")
    put(name)
    w = Worker(name, slots=1)
    one, two = trigger(name), trigger(name)
    w.get(one)
    w.started(one)
    equal(status(two), "QUEUED")
    call("/Dispatcher/ReleaseSlot", d.ReleaseSlotRequest(task_run_external_id=b(one)), d.ReleaseSlotResponse)
    w.get(two)
    equal(status(one), "RUNNING")
    w.completed(one)
    w.completed(two)
    refused("NOT_FOUND", [], "/Dispatcher/ReleaseSlot", d.ReleaseSlotRequest(task_run_external_id=b(one)), d.ReleaseSlotResponse)
    w.close()


def case_refresh_timeout():
    name = name_of("refresh")
    put(name, timeout=b"2s")
    w = Worker(name)
    run = trigger(name)
    w.get(run)
    w.started(run)
    m = d.RefreshTimeoutRequest(task_run_external_id=b(run), increment_timeout_by=b"1h")
    got = call("/Dispatcher/RefreshTimeout", m, d.RefreshTimeoutResponse)
    left = got.timeout_at.seconds - time.time()
    if not 3590 < left < 3610:
        raise AssertionError(f"times out in {left} s")
    other = trigger(name)
    w.get(other)
    wait_status(other, "FAILED")
    equal(status(run), "RUNNING", "when one that was not refreshed has timed out")
    w.get(other, d.CANCEL_STEP_RUN)
    m.increment_timeout_by = b"soon"
    refused("INVALID_ARGUMENT", "increment_timeout_by", "/Dispatcher/RefreshTimeout", m, d.RefreshTimeoutResponse)
    w.completed(run)
    w.close()


def case_worker_labels():
    name = name_of("labels")
    w = Worker(name, labels=[d.WorkerLabelsEntry(key=b"size", value=d.WorkerLabels(int_value=3))])
    equal({x["key"]: x["value"] for x in w.rest()["labels"]}, {"size": "3"})
    m = d.UpsertWorkerLabelsRequest(worker_id=w.id, labels=[d.WorkerLabelsEntry(key=b"model", value=d.WorkerLabels(str_value=b"m1"))])
    call("/Dispatcher/UpsertWorkerLabels", m, d.UpsertWorkerLabelsResponse)
    equal({x["key"]: x["value"] for x in w.rest()["labels"]}, {"size": "3", "model": "m1"})
    w.close()


def version_of(workflow_id):
    return S.rest("GET", f"/api/v1/workflows/{workflow_id}/versions")[1]


def case_put_workflow():
    name = name_of("put")
    one = put(name)
    same = put(name)
    equal((one.id, one.workflow_id), (same.id, same.workflow_id), "the same definition")
    other = put(name, retries=3)
    equal(other.workflow_id, one.workflow_id)
    if other.id == one.id:
        raise AssertionError("another definition, and no other version")
    got = version_of(one.workflow_id.decode())
    equal(got["metadata"]["id"], other.id.decode(), "the latest version")


def conditions(group):
    base = v1.BaseMatchCondition(readable_data_key=b"k", or_group_id=b(group), action=v1.QUEUE)
    two = v1.BaseMatchCondition(readable_data_key=b"k2", or_group_id=b(group), action=v1.QUEUE)
    return v1.TaskConditions(sleep_conditions=[v1.SleepMatchCondition(cond=base, sleep_for=b"10s")],
                             user_event_conditions=[v1.UserEventMatchCondition(cond=two, user_event_key=b"e")])


def case_or_groups():
    """SDKs make a new UUID for every registration: that alone is no new version."""
    name = name_of("groups")
    one = put(name, conditions=conditions(str(uuid.uuid4())))
    two = put(name, conditions=conditions(str(uuid.uuid4())))
    equal(one.id, two.id)
    refused("UNIMPLEMENTED", "condition", "/WorkflowService/TriggerWorkflow", v1.TriggerWorkflowRequest(name=b(name), input=b"{}"),
            wf.TriggerWorkflowResponse)


def case_dag():
    name = name_of("dag")
    tasks = [v1.CreateTaskOpts(readable_id=b(x), action=b(f"{name}:{x}"), parents=[b(p) for p in ps]) for x, ps in (("a", []), ("b", ["a"]))]
    got = call("/v1.AdminService/PutWorkflow", v1.CreateWorkflowVersionRequest(name=b(name), tasks=tasks), v1.CreateWorkflowVersionResponse)
    equal(version_of(got.workflow_id.decode())["metadata"]["id"], got.id.decode(), "stored")
    for path, m, reply in (
            ("/WorkflowService/TriggerWorkflow", v1.TriggerWorkflowRequest(name=b(name), input=b"{}"), wf.TriggerWorkflowResponse),
            ("/v1.AdminService/TriggerWorkflowRun", v1.TriggerWorkflowRunRequest(workflow_name=b(name), input=b"{}"),
             v1.TriggerWorkflowRunResponse)):
        refused("UNIMPLEMENTED", ["more than one task"], path, m, reply)
    equal(runs_of(name), [])
    tasks[0].parents.append(b"b")
    refused("INVALID_ARGUMENT", "depends on itself", "/v1.AdminService/PutWorkflow", v1.CreateWorkflowVersionRequest(name=b(name), tasks=tasks),
            v1.CreateWorkflowVersionResponse)


def case_durable_refused():
    name = name_of("durable")
    m = v1.CreateWorkflowVersionRequest(name=b(name), tasks=[v1.CreateTaskOpts(readable_id=b(name), action=b(f"{name}:{name}"), is_durable=True)])
    refused("UNIMPLEMENTED", "durable", "/v1.AdminService/PutWorkflow", m, v1.CreateWorkflowVersionResponse)
    equal([r for r in S.rest("GET", "/t/workflows?name=" + name)[1]["rows"]], [])


def case_trigger():
    name = name_of("trigger")
    put(name)
    meta = '{"a":"b"}'
    run = trigger(name, '{"n":1}', additional_metadata=b(meta), priority=3)
    got = details(run)
    equal((v1.RunStatus.Name(got.status), json.loads(got.additional_metadata)), ("QUEUED", {"a": "b"}))
    ids = [b(run)]
    m = v1.TriggerWorkflowRunRequest(workflow_name=b(name), input=b'{"n":2}', additional_metadata=b'{"c":"d"}')
    ids.append(call("/v1.AdminService/TriggerWorkflowRun", m, v1.TriggerWorkflowRunResponse).external_id)
    items = [v1.TriggerWorkflowRequest(name=b(name), input=b(json.dumps({"n": n}))) for n in range(3, 6)]
    m = wf.BulkTriggerWorkflowRequest(workflows=items)
    ids += call("/WorkflowService/BulkTriggerWorkflow", m, wf.BulkTriggerWorkflowResponse).workflow_run_ids
    equal([json.loads(details(i.decode()).input)["n"] for i in ids], [1, 2, 3, 4, 5], "inputs in the order asked")
    equal({r["metadata"]["id"] for r in runs_of(name)}, {i.decode() for i in ids})
    refused("NOT_FOUND", "nowhere", "/WorkflowService/TriggerWorkflow", v1.TriggerWorkflowRequest(name=b"nowhere", input=b"{}"),
            wf.TriggerWorkflowResponse)
    # the whole bulk or nothing of it
    items.append(v1.TriggerWorkflowRequest(name=b"nowhere", input=b"{}"))
    refused("NOT_FOUND", "nowhere", "/WorkflowService/BulkTriggerWorkflow", wf.BulkTriggerWorkflowRequest(workflows=items),
            wf.BulkTriggerWorkflowResponse)
    equal(len(runs_of(name)), 5)


def metric(name):
    for line in S.rest("GET", "/metrics", token="")[1].decode().splitlines():
        if line.startswith(name + " "):
            return int(line.split()[1])
    raise AssertionError(f"no {name} in /metrics")


def case_large_inputs_share_no_endless_flush():
    """Whatever has gathered while the database was slow is stored in flushes of a bounded size."""
    name, count, size = name_of("large"), 30, 3 << 20
    put(name)
    runs, threads = [], []
    data = json.dumps({"x": "y" * size})
    psql = subprocess.Popen([os.path.join(S.pg.client_bin, "psql"), "-XAtq", S.pg.url()], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, text=True)
    try:
        psql.stdin.write("begin; lock table hatchet.task in exclusive mode; select 'locked';\n")
        psql.stdin.flush()
        equal(psql.stdout.readline(), "locked\n")
        flushes = metric("hatchet_flushes_total")
        threads = [threading.Thread(target=lambda: runs.append(trigger(name, data))) for _ in range(count)]
        for t in threads:
            t.start()
        until("all inputs have come", lambda: metric("hatchet_payload_bytes_waiting") >= count * size)
    finally:
        psql.communicate("rollback;\n")
    for t in threads:
        t.join()
    equal(len(set(runs)), count, "runs acknowledged")
    equal(len(runs_of(name)), count)
    equal(metric("hatchet_payload_bytes_waiting"), 0)
    flushes = metric("hatchet_flushes_total") - flushes
    assert flushes >= 3, f"{count * size >> 20} MiB went in {flushes} flushes"


def case_children():
    name = name_of("child")
    put(name)
    w = Worker(name)
    parent = trigger(name)
    a = w.get(parent)
    child = trigger(name, "{}", parent_id=a.workflow_run_id, parent_task_run_external_id=a.task_run_external_id, child_index=0, child_key=b"k")
    c = w.get(child)
    equal((c.parent_workflow_run_id, c.child_workflow_index, c.child_workflow_key), (b(parent), 0, b"k"))
    w.completed(parent)
    w.completed(child)
    w.close()


def case_cancel():
    name = name_of("cancel")
    put(name)
    w = Worker(name, slots=1)
    one, two = trigger(name), trigger(name)
    w.get(one)
    w.started(one)
    got = call("/v1.AdminService/CancelTasks", v1.CancelTasksRequest(external_ids=[b(one), b(two)]), v1.CancelTasksResponse)
    equal(set(got.cancelled_tasks), {b(one), b(two)})
    equal((status(one), status(two)), ("CANCELLED", "CANCELLED"))
    w.get(one, d.CANCEL_STEP_RUN)
    w.completed(one)
    equal(status(one), "CANCELLED", "after a completion that came too late")
    w.close()


class Runs:
    """A SubscribeToWorkflowRuns stream."""

    def __init__(self, w=None):
        import queue
        self.ask, self.got, self.end = queue.Queue(), {}, None
        self.order = []
        call = (w or W).channel.stream_stream("/Dispatcher/SubscribeToWorkflowRuns", lambda x: x.SerializeToString(), d.WorkflowRunEvent.FromString)
        self.call = call(iter(self.ask.get, None), metadata=(w or W).meta)

        def read():
            try:
                for e in self.call:
                    self.got[e.workflow_run_id.decode()] = e
                    self.order.append(e.workflow_run_id.decode())
            except Exception as e:
                self.end = e
        threading.Thread(target=read, daemon=True).start()

    def add(self, run):
        self.ask.put(d.SubscribeToWorkflowRunsRequest(workflow_run_id=b(run)))

    def wait(self, run):
        return until(f"event of {run}", lambda: self.got.get(run))


def case_subscribe_to_runs():
    name = name_of("subscribe")
    put(name)
    w = Worker(name)
    before, after = trigger(name), trigger(name)
    r = Runs()
    w.get(before)
    w.completed(before, '{"n":1}')
    r.add(before)  # has ended already
    equal(json.loads(r.wait(before).results[0].output), {"n": 1})
    r.add(after)
    r.add("no id at all")  # skipped, as clients expect
    r.add(str(uuid.uuid4()))
    w.get(after)
    w.failed(after, "no luck")
    e = r.wait(after)
    equal((e.results[0].error.decode(), e.results[0].task_name.decode()), ("no luck", name))
    equal(r.order, [before, after], "each run once")
    r.call.cancel()
    w.close()


def case_subscribe_to_events():
    name = name_of("events")
    put(name)
    w = Worker(name)
    run = trigger(name)
    w.get(run)
    m = d.SubscribeToWorkflowEventsRequest(workflow_run_id=b(run))
    stream = W.stream("/Dispatcher/SubscribeToWorkflowEvents", m, d.WorkflowEvent)
    w.started(run)
    w.completed(run, '{"n":7}')
    events = list(stream)
    last = events[-1]
    equal((last.hangup, d.ResourceEventType.Name(last.event_type)), (True, "RESOURCE_EVENT_TYPE_COMPLETED"))
    finished = list(W.stream("/Dispatcher/SubscribeToWorkflowEvents", m, d.WorkflowEvent))
    equal(finished[-1].hangup if finished else True, True, "of an ended run")
    began = time.monotonic()
    try:
        list(W.stream("/Dispatcher/SubscribeToWorkflowEvents", d.SubscribeToWorkflowEventsRequest(workflow_run_id=b(str(uuid.uuid4()))), d.WorkflowEvent))
        raise AssertionError("an absent run has events")
    except fixture.wire.__dict__.get("grpc", __import__("grpc")).RpcError as e:
        equal(e.code().name, "NOT_FOUND")
    if time.monotonic() - began > 13:
        raise AssertionError("NOT_FOUND too late")
    w.close()


def case_logs():
    name = name_of("logs")
    put(name)
    w = Worker(name)
    run = trigger(name)
    w.get(run)
    for i in range(3):
        m = ev.PutLogRequest(task_run_external_id=b(run), message=b(f"line {i}"), level=b"ERROR", metadata=b"{}", task_retry_count=0)
        call("/EventsService/PutLog", m, ev.PutLogResponse)
    rows = S.rest("GET", f"/api/v1/stable/tasks/{run}/logs")[1]["rows"]
    equal(sorted((r["message"], r["level"]) for r in rows), [(f"line {i}", "ERROR") for i in range(3)])
    m.message = b"x" * 70000
    refused("INVALID_ARGUMENT", "message", "/EventsService/PutLog", m, ev.PutLogResponse)
    m.message = b"\xff"
    refused("INVALID_ARGUMENT", "message", "/EventsService/PutLog", m, ev.PutLogResponse)
    m.message = b"a\0b"  # what a program printed is kept as far as the database can hold it
    call("/EventsService/PutLog", m, ev.PutLogResponse)
    until("the odd line", lambda: any(r["message"].startswith("a") for r in S.rest("GET", f"/api/v1/stable/tasks/{run}/logs")[1]["rows"]))
    m = ev.PutLogRequest(task_run_external_id=b(str(uuid.uuid4())), message=b"x", metadata=b"{}")
    refused("NOT_FOUND", [], "/EventsService/PutLog", m, ev.PutLogResponse)
    w.completed(run)
    w.close()


def case_events():
    key = name_of("event")

    def push(n):
        m = ev.PushEventRequest(key=b(key), payload=b(json.dumps({"n": n})), additional_metadata=b'{"m":"x"}', scope=b"s")
        m.event_timestamp.seconds = int(time.time())
        return m
    one = call("/EventsService/Push", push(1), ev.Event)
    more = call("/EventsService/BulkPush", ev.BulkPushEventRequest(events=[push(2), push(3)]), ev.Events).events
    rows = S.rest("GET", "/st/events?keys=" + key)[1]["rows"]
    equal({r["metadata"]["id"] for r in rows}, {e.event_id.decode() for e in [one, *more]})
    equal({r["key"] for r in rows}, {key})
    bad = push(4)
    bad.payload = b"{"
    refused("INVALID_ARGUMENT", "payload", "/EventsService/BulkPush", ev.BulkPushEventRequest(events=[push(5), bad]), ev.Events)
    equal(len(S.rest("GET", "/st/events?keys=" + key)[1]["rows"]), 3, "all of a bulk or nothing")


def case_trace_export():
    call("/opentelemetry.proto.collector.trace.v1.TraceService/Export", d.HeartbeatRequest(), d.HeartbeatResponse)


def case_bad_input():
    name = name_of("bad")
    put(name)
    path, reply = "/WorkflowService/TriggerWorkflow", wf.TriggerWorkflowResponse
    for data, code, parts in ((b"{", "INVALID_ARGUMENT", "input"), (b'{"a":"\xff"}', "INVALID_ARGUMENT", "input"),
                              (b'{"a":"\\u0000', "INVALID_ARGUMENT", "input"), (b'{"a":' + b"[" * 300 + b"]" * 300 + b"}", "INVALID_ARGUMENT", "input"),
                              (b'{"a":"' + b"x" * INPUT_LIMIT + b'"}', "RESOURCE_EXHAUSTED", [str(INPUT_LIMIT), str(INPUT_LIMIT + 8)])):
        refused(code, parts, path, v1.TriggerWorkflowRequest(name=b(name), input=data), reply)
    for meta in (b"{", b"7", b'{"a":"\xff"}'):
        refused("INVALID_ARGUMENT", "additional_metadata", path, v1.TriggerWorkflowRequest(name=b(name), input=b"{}", additional_metadata=meta), reply)
    for bad in (b"", b"a\0b", b"\xff"):
        refused("INVALID_ARGUMENT", "name", path, v1.TriggerWorkflowRequest(name=bad, input=b"{}"), reply)
    refused("INVALID_ARGUMENT", "priority", path, v1.TriggerWorkflowRequest(name=b(name), input=b"{}", priority=9), reply)
    refused("INVALID_ARGUMENT", "parent", path, v1.TriggerWorkflowRequest(name=b(name), input=b"{}", parent_task_run_external_id=b"x"), reply)
    equal(runs_of(name), [], "nothing of all that is stored")
    # a message over the limit ends its call, not the connection
    refused("RESOURCE_EXHAUSTED", str(LIMIT), path, v1.TriggerWorkflowRequest(name=b(name), input=b"x" * (LIMIT + 100)), reply)
    put(name)
    for field, m in (("tasks[0].action", v1.CreateTaskOpts(readable_id=b"t", action=b"nocolon")), ("tasks[0].readable_id", v1.CreateTaskOpts(action=b"a:b")),
                     ("tasks[0].timeout", v1.CreateTaskOpts(readable_id=b"t", action=b"a:b", timeout=b"soon")),
                     ("tasks[0].retries", v1.CreateTaskOpts(readable_id=b"t", action=b"a:b", retries=-1)),
                     ("tasks[0].parents", v1.CreateTaskOpts(readable_id=b"t", action=b"a:b", parents=[b"nobody"]))):
        refused("INVALID_ARGUMENT", field, "/v1.AdminService/PutWorkflow", v1.CreateWorkflowVersionRequest(name=b(name + "x"), tasks=[m]),
                v1.CreateWorkflowVersionResponse)
    refused("INVALID_ARGUMENT", "tasks", "/v1.AdminService/PutWorkflow", v1.CreateWorkflowVersionRequest(name=b(name + "x")), v1.CreateWorkflowVersionResponse)
    equal(S.rest("GET", "/t/workflows?name=" + name + "x")[1]["rows"], [])
    for field, m in (("worker_name", d.WorkerRegisterRequest(worker_name=b"a\0b", actions=[b"a:b"])), ("slots", d.WorkerRegisterRequest(
            worker_name=b"w", actions=[b"a:b"], slots=-1)), ("actions", d.WorkerRegisterRequest(worker_name=b"w", actions=[b"\xff"]))):
        refused("INVALID_ARGUMENT", field, "/Dispatcher/Register", m, d.WorkerRegisterResponse)


def token(**claims):
    """The server's token with other claims and no valid signature."""
    head, body, sign = S.token.split(".")
    got = json.loads(base64.urlsafe_b64decode(body + "=="))
    got.update(claims)
    return ".".join([head, base64.urlsafe_b64encode(json.dumps(got).encode()).decode().rstrip("="), sign])


def case_tokens():
    ok = d.GetVersionRequest()
    mangled = S.token[:-6] + ("A" if S.token[-6] != "A" else "B") + S.token[-5:]
    none = ".".join([base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').decode().rstrip("="), S.token.split(".")[1], ""])
    for what, t in (("mangled", mangled), ("no signature", none), ("other claims", token(exp=4000000000)), ("empty", ""), ("no JWT", "abc"),
                    ("long", "a" * 20000)):
        w = Wire(S.grpc, t)
        refused("UNAUTHENTICATED", [], "/v1.AdminService/GetRunDetails", v1.GetRunDetailsRequest(external_id=b(str(uuid.uuid4()))),
                v1.GetRunDetailsResponse, w)
        equal(S.rest("GET", "/t/workflows", token=t)[0], 403, what)


def made(*words):
    p = subprocess.run([BIN, "token", "create", "--json", "--database-url", S.pg.url(S.db), "--data-dir", S.data_dir, *words],
                       stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(p.stdout)


def code_with(t):
    try:
        details(str(uuid.uuid4()), Wire(S.grpc, t))
    except Refused as e:
        return e.code


def case_token_claims():
    equal(code_with(made()["token"]), "NOT_FOUND", "a good one: the run is missing")
    equal(code_with(made("--url", "http://elsewhere:1")["token"]), "UNAUTHENTICATED", "another audience")
    t = made()
    equal(code_with(t["token"]), "NOT_FOUND")
    subprocess.run([BIN, "token", "revoke", "--id", t["id"], "--database-url", S.pg.url(S.db)], check=True)
    began = time.monotonic()
    until("revoked", lambda: code_with(t["token"]) == "UNAUTHENTICATED", 5)
    if time.monotonic() - began > 1.2:
        raise AssertionError(f"revoked after {time.monotonic() - began:.1f} s")
    t = made("--expires-in", "1")
    S.pg.sql("update hatchet.api_token set expires_at = now() - interval '1 minute' where id = '%s'" % t["id"], S.db)
    # of another instance, whose key is another one
    other = fixture.PgNode(durable=False)
    try:
        other.start()
        subprocess.run([BIN, "migrate", "--database-url", other.url()], check=True, stdout=subprocess.DEVNULL)
        p = subprocess.run([BIN, "token", "create", "--database-url", other.url(), "--data-dir", S.data_dir], stdout=subprocess.PIPE, check=True, text=True)
        equal(code_with(p.stdout.strip()), "UNAUTHENTICATED", "signed by another instance")
    finally:
        other.stop()


def case_another_tenant():
    S.pg.sql("insert into hatchet.tenant (name, slug) values ('Other', 'other')", S.db)
    t = made("--tenant", "other")["token"]
    other = Wire(S.grpc, t)
    name = name_of("tenant")
    put(name)
    run = trigger(name)
    w = Worker(name)

    def known():
        try:
            details(run, other)
        except Refused as e:
            return e.code == "NOT_FOUND"
    until("the other tenant is known", known, 5)
    refused("NOT_FOUND", [], "/WorkflowService/TriggerWorkflow", v1.TriggerWorkflowRequest(name=b(name), input=b"{}"), wf.TriggerWorkflowResponse, other)
    refused("NOT_FOUND", [], "/Dispatcher/Heartbeat", d.HeartbeatRequest(worker_id=w.id), d.HeartbeatResponse, other)
    m = ev.PutLogRequest(task_run_external_id=b(run), message=b"x", metadata=b"{}")
    refused("NOT_FOUND", [], "/EventsService/PutLog", m, ev.PutLogResponse, other)
    got = call("/v1.AdminService/CancelTasks", v1.CancelTasksRequest(external_ids=[b(run)]), v1.CancelTasksResponse, other)
    equal(list(got.cancelled_tasks), [])
    equal(status(run) in ("QUEUED", "RUNNING"), True)
    equal(S.rest("GET", f"/api/v1/stable/workflow-runs/{run}", token=t)[0], 404)
    equal(S.rest("GET", f"/api/v1/workers/{w.id.decode()}", token=t)[0], 404)
    equal(S.rest("GET", "/t/workflows", token=t)[0] in (403, 404), True, "the path of another tenant")
    w.close()


def case_what_is_not_built_says_so():
    """docs/compatibility.md is what the binary says of itself, and the server answers so."""
    with open(os.path.join(TOP, "docs", "compatibility.md")) as f:
        text = f.read()
    equal(subprocess.run([BIN, "compat"], stdout=subprocess.PIPE, check=True, text=True).stdout, text, "docs/compatibility.md")
    checked = 0
    for line in text.splitlines():
        cells = [c.strip() for c in line.split("|")]
        if len(cells) < 4 or not cells[1].startswith("`/") or cells[2] != "not yet" or " " in cells[1]:
            continue
        refused("UNIMPLEMENTED", [], cells[1].strip("`"), d.HeartbeatRequest(), d.HeartbeatResponse)
        checked += 1
    if checked < 10:
        raise AssertionError(f"only {checked} methods found that are not built")
    refused("UNIMPLEMENTED", [], "/No/Such", d.HeartbeatRequest(), d.HeartbeatResponse)


if __name__ == "__main__":
    fixture.main(globals())
