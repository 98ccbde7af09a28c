"""What test_effects.py and test_rest.py share: one server, calls of the wire, a worker that obeys the test, the runner."""
import os
import sys
import threading
import time
import traceback
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(os.path.dirname(HERE), "lib"), os.path.join(os.path.dirname(HERE), "crash")]
import wire  # noqa: E402

wire.generate()
from hatchet import PgNode, Server, until  # noqa: E402
from wire import Refused, Wire  # noqa: E402
import dispatcher_pb2 as d  # noqa: E402
import events_pb2 as ev  # noqa: E402
import trace_pb2 as trace  # noqa: E402
import v1_pb2 as v1  # noqa: E402
import workflows_pb2 as wf  # noqa: E402

S = None  # the server
W = None  # calls with the default token


def b(text):
    return text.encode() if isinstance(text, str) else text


def equal(got, want, what=""):
    if got != want:
        raise AssertionError(f"{what}: got {got!r}, want {want!r}")


def has(text, *parts):
    for part in parts:
        if str(part) not in text:
            raise AssertionError(f"{part!r} is not in {text[:600]!r}")


def call(path, request, reply, w=None, timeout=20):
    return (w or W).call(path, request, reply, timeout)


def refused(code, parts, path, request, reply, w=None):
    """The call must fail with that code, and its text must hold the parts."""
    try:
        got = call(path, request, reply, w)
    except Refused as e:
        if e.code != code:
            raise AssertionError(f"{path}: got {e.code}: {e.text}, want {code}") from None
        has(e.text, *([parts] if isinstance(parts, str) else parts))
        return e
    raise AssertionError(f"{path}: answered {got!r}, want {code}")


def name_of(case):
    return f"{case}-{uuid.uuid4().hex[:8]}"


def put(name, **task):
    """A workflow of one task called like itself; gives its ids."""
    more = {k: task.pop(k) for k in list(task) if k.startswith("wf_")}
    t = v1.CreateTaskOpts(readable_id=b(name), action=b(f"{name}:{name}"), **task)
    m = v1.CreateWorkflowVersionRequest(name=b(name), tasks=[t], **{k[3:]: v for k, v in more.items()})
    return call("/v1.AdminService/PutWorkflow", m, v1.CreateWorkflowVersionResponse)


def trigger(name, data=b"{}", **more):
    m = v1.TriggerWorkflowRequest(name=b(name), input=b(data), **more)
    return call("/WorkflowService/TriggerWorkflow", m, wf.TriggerWorkflowResponse).workflow_run_id.decode()


def details(run, w=None):
    return call("/v1.AdminService/GetRunDetails", v1.GetRunDetailsRequest(external_id=b(run)), v1.GetRunDetailsResponse, w)


def status(run):
    return v1.RunStatus.Name(details(run).status)


def wait_status(run, want, seconds=20):
    until(f"run {want}, is {status(run)}", lambda: status(run) == want, seconds)


class Worker:
    """Registered, listening, beating; the test reads its actions and sends its reports."""

    def __init__(self, name, slots=5, version=2, beat=True, **more):
        self.wire = Wire(S.grpc, S.token)
        if slots is not None:
            more["slots"] = slots
        m = d.WorkerRegisterRequest(worker_name=b(name), actions=[b(f"{name}:{name}")], **more)
        self.id = call("/Dispatcher/Register", m, d.WorkerRegisterResponse, self.wire).worker_id
        self.action = b(f"{name}:{name}")
        self.version = version
        self.actions = []
        self.end = None
        self.stop = threading.Event()
        self.listen()
        if beat and version == 2:
            wire.every(2, self.stop, self.beat)

    def listen(self):
        self.end = None
        path = "/Dispatcher/ListenV2" if self.version == 2 else "/Dispatcher/Listen"
        self.call = self.wire.stream(path, d.WorkerListenRequest(worker_id=self.id), d.AssignedAction)
        threading.Thread(target=self.read, args=(self.call,), daemon=True).start()
        until("the worker listed as active", lambda: self.rest()["status"] == "ACTIVE")

    def read(self, stream):
        actions = self.actions  # a test may put another list there for the next stream
        try:
            for a in stream:
                actions.append(a)
            self.end = ("OK", "")
        except Exception as e:
            self.end = (e.code().name, e.details()) if hasattr(e, "code") else ("?", repr(e))

    def beat(self):
        call("/Dispatcher/Heartbeat", d.HeartbeatRequest(worker_id=self.id), d.HeartbeatResponse, self.wire)

    def rest(self):
        return S.rest("GET", f"/api/v1/workers/{self.id.decode()}")[1]

    def get(self, run, kind=d.START_STEP_RUN, attempt=0):
        """The action of that run, when it is here."""
        def found():
            for a in self.actions:
                if a.action_type == kind and a.task_run_external_id == b(run) and a.retry_count == attempt:
                    return a
        return until(f"action {kind} of {run}", found)

    def report(self, run, kind, payload=b"", attempt=0, **more):
        m = d.StepActionEvent(worker_id=self.id, task_run_external_id=b(run), job_run_id=b(run), action_id=self.action, event_type=kind,
                              event_payload=b(payload), **more)
        if attempt is not None:
            m.retry_count = attempt
        m.event_timestamp.seconds = int(time.time())
        return call("/Dispatcher/SendStepActionEvent", m, d.ActionEventResponse, self.wire)

    def started(self, run, **more):
        return self.report(run, d.STEP_EVENT_TYPE_STARTED, **more)

    def completed(self, run, payload=b'{"ok":true}', **more):
        return self.report(run, d.STEP_EVENT_TYPE_COMPLETED, payload, **more)

    def failed(self, run, text="broken", **more):
        return self.report(run, d.STEP_EVENT_TYPE_FAILED, text, **more)

    def close(self):
        self.stop.set()
        self.call.cancel()


def main(namespace, flags=(), audited=True):
    """Run the functions called case_*, or those named on the command line; then the audit must find nothing."""
    global S, W
    cases = {n[5:]: f for n, f in namespace.items() if n.startswith("case_")}
    passed = failed = 0
    pg = PgNode(durable=False)
    server = Server(pg, flags=list(flags))
    try:
        pg.start()
        S = server.start()
        W = Wire(S.grpc, S.token)
        namespace.update(S=S, W=W)
        for name in sys.argv[1:] or cases:
            began = time.monotonic()
            try:
                cases[name]()
                passed += 1
                print(f"ok - {name} ({time.monotonic() - began:.1f} s)", flush=True)
            except Exception as e:
                failed += 1
                print(f"not ok - {name}: {type(e).__name__}: {str(e)[:700]}", flush=True)
                traceback.print_exc(limit=-3, file=sys.stdout)
        found = server.audit() if audited and server.alive() else []
        if found:
            failed += 1
            print(f"not ok - the audit finds {len(found)} differences: {found[:5]}")
        if not server.alive():
            failed += 1
            print(f"not ok - the server ended: {server.tail()}")
        elif server.stop_server() != 0:
            failed += 1
            print(f"not ok - the server did not end well: {server.tail()}")
    finally:
        server.stop()
        server.close()
        pg.stop()
    print(f"{passed} passed, {failed} failed, 0 skipped", flush=True)
    os._exit(failed > 0)  # threads of streams may still wait
