#!/usr/bin/env python3
"""hatchet.enqueue(): runs that SQL clients start in their own transactions.  test_sqlfront.py [NAME...]"""
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
from hatchet import TOP  # noqa: E402
from test_effects import Runs  # noqa: E402
from wire import Refused, Wire  # noqa: E402

CLIENTS = os.path.join(TOP, "build", "sqlfront")
sys.path.insert(0, os.path.join(CLIENTS, "python"))
import psycopg  # noqa: E402
from psycopg.types.json import Jsonb  # noqa: E402


class Worker(fixture.Worker):
    beats = 0

    def beat(self):
        super().beat()
        self.beats += 1


def db(**more):
    return psycopg.connect(S.pg.url(S.db, **more), autocommit=True)


def one(c, text, *args):
    return c.execute(text, args).fetchone()[0]


def enqueue(c, name, data=None, **more):
    args = "".join(f", {k} => %s" for k in more)
    return str(one(c, f"select hatchet.enqueue(%s, %s{args})", name, Jsonb(data or {}),
                   *[Jsonb(v) if isinstance(v, dict) else v for v in more.values()]))


def raises(code, text, fn):
    try:
        got = fn()
    except psycopg.Error as e:
        equal(e.sqlstate, code, e.diag.message_primary)
        has(e.diag.message_primary, *([text] if isinstance(text, str) else text))
        return e
    raise AssertionError(f"gave {got!r}, want {code} {text}")


def run_of(request):
    """The run's own id, once there is one."""
    def found():
        code, got, _ = S.rest("GET", f"/api/v1/stable/workflow-runs/{request}")
        equal(code, 200)
        return got["run"]["metadata"]["id"] != request and got["run"]["metadata"]["id"]
    return until(f"request {request} became a run", found)


def waiting():
    return int(S.pg.sql("select count(*) from hatchet.inbox", S.db)[0][0])


def runs_of(name):
    wid = [w["metadata"]["id"] for w in S.rest("GET", "/t/workflows?limit=200")[1]["rows"] if w["name"] == name][0]
    return int(S.pg.sql(f"select count(*) from hatchet.task t join hatchet.workflow w using (workflow_no) where w.id = '{wid}'", S.db)[0][0])


def case_commit_rollback_savepoint():
    name = name_of("tx")
    put(name)
    w = Worker(name)
    with db() as c:
        c.execute("create table if not exists public.tx (what text)")
        try:
            with c.transaction():
                c.execute("insert into public.tx values ('gone')")
                gone = enqueue(c, name, {"what": "gone"})
                raise KeyError("roll back")
        except KeyError:
            pass
        with c.transaction():
            c.execute("insert into public.tx values ('kept')")
            kept = enqueue(c, name, {"what": "kept"}, priority=3, additional_metadata={"by": "sql", "n": 1})
            # until the commit there is nothing, for nobody
            equal(S.rest("GET", f"/api/v1/stable/workflow-runs/{kept}")[0], 404)
        with c.transaction():
            try:
                with c.transaction():
                    back = enqueue(c, name, {"what": "back"})
                    raise KeyError("to the savepoint")
            except KeyError:
                pass
            after = enqueue(c, name, {"what": "after"})
            with c.transaction():
                inner = enqueue(c, name, {"what": "inner"})
        with c.transaction():  # only what came first is rolled back: the notification must survive
            c.execute("savepoint a")
            enqueue(c, name, {"what": "first"})
            c.execute("rollback to a")
            second = enqueue(c, name, {"what": "second"})
        with c.transaction():  # what came later is rolled back
            third = enqueue(c, name, {"what": "third"})
            c.execute("savepoint a")
            enqueue(c, name, {"what": "fourth"})
            c.execute("rollback to a")
    ids = {what: run_of(r) for what, r in (("kept", kept), ("after", after), ("inner", inner), ("second", second), ("third", third))}
    for what, run in ids.items():
        a = w.get(run)
        equal(json.loads(a.action_payload)["input"], {"what": what})
        w.completed(run)
    equal(runs_of(name), 5)
    equal(waiting(), 0)
    for r in (gone, back):
        equal(S.rest("GET", f"/api/v1/stable/workflow-runs/{r}")[0], 404)
        refused("NOT_FOUND", "external_id", "/v1.AdminService/GetRunDetails", v1.GetRunDetailsRequest(external_id=b(r)),
                v1.GetRunDetailsResponse)
    task = S.rest("GET", f"/api/v1/stable/tasks/{kept}")[1]
    equal(task["additionalMetadata"], {"by": "sql", "n": 1})
    equal(S.pg.sql(f"select t.priority from hatchet.task t join hatchet.request r on r.run_id = t.id where r.id = '{kept}'", S.db), [["3"]])
    w.close()


def case_the_id_stands_for_the_run():
    name = name_of("alias")
    put(name)
    w = Worker(name)
    with db() as c:
        r = enqueue(c, name, {"n": 7})
    run = run_of(r)
    w.get(run)
    w.started(run)
    wire_log = ev.PutLogRequest(task_run_external_id=b(run), message=b"a line", metadata=b"{}")
    call("/EventsService/PutLog", wire_log, ev.PutLogResponse)
    until("it runs", lambda: S.rest("GET", f"/api/v1/stable/workflow-runs/{r}/status")[1] == "RUNNING")
    for path in ("workflow-runs/%s", "workflow-runs/%s/status", "workflow-runs/%s/task-events", "tasks/%s", "tasks/%s/logs",
                 "tasks/%s/task-events", "workflow-runs/%s/task-timings"):
        equal(S.rest("GET", "/api/v1/stable/" + path % r)[:2], S.rest("GET", "/api/v1/stable/" + path % run)[:2], path)
    equal(S.rest("GET", f"/api/v1/stable/tasks/{r}/logs")[1]["rows"][0]["message"], "a line")
    equal(details(r), details(run))
    equal(details(r).input, b'{"n": 7}')
    w.completed(run, b'{"m":8}')
    equal(v1.RunStatus.Name(details(r).status), "COMPLETED")
    equal(details(r).task_runs[0].value.output, b'{"m":8}')
    equal(S.rest("GET", f"/t/workflow-runs/{r}/input")[:2], (200, {"n": 7}))
    child = trigger(name, parent_id=b(run), parent_task_run_external_id=b(run), child_index=0)
    rows = S.rest("GET", f"/st/workflow-runs?since=2024-01-01T00:00:00Z&only_tasks=true&parent_task_external_id={r}")[1]["rows"]
    equal([x["metadata"]["id"] for x in rows], [child], "children of the run that it became")
    # upper case is the same id
    equal(S.rest("GET", f"/api/v1/stable/workflow-runs/{r.upper()}")[0], 200)
    # one that nobody made, and one of another tenant
    other = str(uuid.UUID(int=uuid.UUID(r).int ^ 1))
    for path in (f"workflow-runs/{other}", f"tasks/{other}", f"tasks/{other}/logs"):
        equal(S.rest("GET", "/api/v1/stable/" + path)[0], 404, path)
    w.close()


def case_streams_by_request():
    name = name_of("streams")
    put(name)
    w = Worker(name)
    with db() as c, db() as c2:
        done = enqueue(c, name, {"n": 1})
        run = run_of(done)
        w.get(run)
        w.completed(run, '{"n":1}')
        r, second = Runs(W), Runs(W)
        r.add(done)
        equal(json.loads(r.wait(done).results[0].output), {"n": 1}, "it had ended")
        c.execute("begin")
        early, gone, late = (enqueue(c, name, {"n": n}) for n in (2, 3, 4))
        c2.execute("begin")
        never = enqueue(c2, name, {"n": 5})
        nested = str(one(c, "select hatchet.enqueue(%s, %s::jsonb)", name, '{"a":' * 300 + "1" + "}" * 300))
        for x in (early, early, nested, never):
            r.add(x)  # not committed yet
        second.add(early)
        c.execute("commit")
        c2.execute("rollback")
        runs = {x: run_of(x) for x in (early, gone, late)}
        r.add(late)
        r.add(runs[late])  # by both
        for n, x in ((2, early), (4, late)):
            w.get(runs[x])
            w.completed(runs[x], json.dumps({"n": n}))
        S.rest("POST", "/st/tasks/cancel", {"externalIds": [gone]})
        r.add(gone)
        for n, x in ((2, early), (4, late), (4, runs[late])):
            e = r.wait(x)
            equal((json.loads(e.results[0].output), e.results[0].task_name.decode()), ({"n": n}, name))
        has(r.wait(nested).results[0].error.decode(), "input")
        equal(r.wait(gone).results[0].error, b"")
        equal(second.wait(early).workflow_run_id, b(early))
        until("both of the same", lambda: r.order.count(early) == 2)
        equal(len(r.order), 7)
        # of another tenant, and of nobody, stay pending: the stream goes on
        r.add(str(uuid.UUID(int=uuid.UUID(early).int ^ 1)))
        r.add(done)
        until("once more", lambda: r.order.count(done) == 2)
        m = d.SubscribeToWorkflowEventsRequest(workflow_run_id=b(done))
        list(W.stream("/Dispatcher/SubscribeToWorkflowEvents", m, d.WorkflowEvent))  # ends well, since the run has ended
    r.call.cancel()
    second.call.cancel()
    w.close()


def case_cancel_by_request():
    name = name_of("cancel")
    put(name)
    with db() as c:
        rs = [enqueue(c, name, {"i": i}) for i in range(4)]
    # at once, whether it is a run yet or not
    code, got, _ = S.rest("POST", "/st/tasks/cancel", {"externalIds": rs[:2]})
    equal(code, 200)
    equal(set(got["ids"]), {run_of(r) for r in rs[:2]})
    m = v1.CancelTasksRequest(external_ids=[b(rs[2]), b(str(uuid.uuid4()))])
    got = call("/v1.AdminService/CancelTasks", m, v1.CancelTasksResponse)
    equal([x.decode() for x in got.cancelled_tasks], [run_of(rs[2])])
    equal([status(r) for r in rs], ["CANCELLED"] * 3 + ["QUEUED"])
    S.rest("POST", "/st/tasks/cancel", {"externalIds": rs})
    equal(status(rs[3]), "CANCELLED")
    equal(S.rest("POST", "/st/tasks/replay", {"externalIds": [rs[3]]})[0], 200)
    equal([status(r) for r in rs], ["CANCELLED"] * 3 + ["QUEUED"])
    S.rest("POST", "/st/tasks/cancel", {"externalIds": rs})


def case_errors_name_the_argument():
    name = name_of("errors")
    put(name)
    with db() as c:
        for code, text, args in [
                ("22023", "workflow: there is no workflow \"nobody\"", "'nobody'"),
                ("22023", "workflow: must be the name", "''"), ("22023", "workflow: must be the name", "null"),
                ("22023", "workflow: there is no workflow", f"'{name.upper()}'"),
                ("22023", "input: must be a JSON object, not array", f"'{name}', '[1]'"),
                ("22023", "input: must be a JSON object, not string", f"'{name}', '\"{{}}\"'"),
                ("22023", "input: must be a JSON object, not null", f"'{name}', 'null'"),
                ("22023", "input: must be a JSON object, not null", f"'{name}', null"),
                ("22P02", "invalid input syntax for type json", f"'{name}', '{{'"),
                ("22P05", "Unicode escape", f"'{name}', '{{\"a\":\"\\u0000\"}}'"),
                ("22023", "additional_metadata: must be a JSON object, not number", f"'{name}', '{{}}', '3'"),
                ("22023", "priority: must be 1, 2 or 3, not 0", f"'{name}', priority => 0"),
                ("22023", "priority: must be 1, 2 or 3, not 4", f"'{name}', priority => 4"),
                ("22023", "tenant: there is no tenant \"no\"", f"'{name}', tenant => 'no'"),
                ("54000", ["input: has 5000009 bytes", "at most 4128768"], f"'{name}', jsonb_build_object('a', repeat('x', 5000000))"),
                ("54000", "input: has", f"'{name}', jsonb_build_object('a', repeat('x', 4000000)), jsonb_build_object('a', repeat('x', 200000))"),
                ("42883", "does not exist", f"'{name}', prio => 1")]:
            raises(code, text, lambda: c.execute(f"select hatchet.enqueue({args})"))
        equal(waiting(), 0)
        # null metadata and priority are none
        r = str(one(c, "select hatchet.enqueue(%s, '{}', 'null', null, 'default')", name))
        equal(details(run_of(r)).additional_metadata, b"{}")
        r = str(one(c, "select hatchet.enqueue(%s, tenant => %s)", name, S.tenant().upper()))
        equal(details(run_of(r)).input, b"{}")


def case_known_in_the_same_moment():
    """A request that is committed together with its workflow, before the server has read it back."""
    with db() as c:
        c.execute("create function public.at_once() returns trigger language plpgsql as $$ begin perform hatchet.enqueue(new.name,"
                  " jsonb_build_object('n', i)) from generate_series(1, 3) i; return new; end $$;"
                  "create trigger at_once after update of latest_version_no on hatchet.workflow for each row execute function public.at_once()")
        try:
            names = [name_of("moment") for _ in range(30)]
            for name in names:
                put(name)
            until("nothing waits", lambda: waiting() == 0)
            equal([runs_of(name) for name in names], [3] * 30)
        finally:
            c.execute("drop trigger at_once on hatchet.workflow")


def case_psql():
    name = name_of("psql")
    put(name)
    sql = f"begin; insert into public.p values (1); select hatchet.enqueue('{name}', '{{\"a\": 1}}', priority => 2); commit"
    S.pg.sql("create table public.p (i int)", S.db)
    request = S.pg.sql(sql, S.db)[0][0]
    equal(details(run_of(request)).input, b'{"a": 1}')


def case_refused_later():
    """What only the server can tell is kept on the request."""
    gone, fine = name_of("gone"), name_of("fine")
    put(gone)
    put(fine)
    deep = '{"a":' * 300 + "1" + "}" * 300
    wid = [w["metadata"]["id"] for w in S.rest("GET", "/t/workflows?limit=200")[1]["rows"] if w["name"] == gone][0]
    with db() as c:
        with c.transaction():
            nested = str(one(c, "select hatchet.enqueue(%s, %s::jsonb)", fine, deep))
            ok = [enqueue(c, fine, {"i": i}) for i in range(3)]
            lost = enqueue(c, gone, {"x": "y"}, additional_metadata={"k": "v"}, priority=2)
            equal(S.rest("DELETE", f"/api/v1/workflows/{wid}")[0], 204)
    for r in ok:
        run_of(r)
    until("nothing waits", lambda: waiting() == 0)
    for r, text, data in ((nested, "input", None), (lost, f"workflow {gone} not found", {"x": "y"})):
        code, got, _ = S.rest("GET", f"/api/v1/stable/workflow-runs/{r}")
        equal((code, got["run"]["status"], got["run"]["metadata"]["id"], got["tasks"]), (200, "FAILED", r, []))
        has(got["run"]["errorMessage"], text)
        if data:
            equal((got["run"]["input"], got["run"]["additionalMetadata"]), (data, {"k": "v"}))
        equal(S.rest("GET", f"/api/v1/stable/workflow-runs/{r}/status")[:2], (200, "FAILED"))
        task = S.rest("GET", f"/api/v1/stable/tasks/{r}")[1]
        equal((task["status"], task["taskExternalId"], task["workflowRunExternalId"]), ("FAILED", r, r))
        has(task["errorMessage"], text)
        for path in (f"workflow-runs/{r}/task-events", f"workflow-runs/{r}/task-timings", f"tasks/{r}/task-events", f"tasks/{r}/logs"):
            equal(S.rest("GET", "/api/v1/stable/" + path)[1]["rows"], [], path)
        d_ = details(r)
        equal((v1.RunStatus.Name(d_.status), d_.done), ("FAILED", True))
        (entry,) = d_.task_runs
        has(entry.value.error.decode(), text)
        equal((entry.key, entry.value.external_id), (b(fine if r == nested else gone), b(r)))
        if data:
            equal(S.rest("GET", f"/t/workflow-runs/{r}/input")[:2], (200, data))
        # final: cancelling it changes nothing
        equal(S.rest("POST", "/st/tasks/cancel", {"externalIds": [r]})[1], {"ids": []})
    equal(runs_of(fine), 3)


def case_rights():
    name = name_of("rights")
    put(name)
    S.pg.sql("create role nobody login; create role app login; create role one login; create role group_two; create role two login in role "
             "group_two; grant usage on schema hatchet to app, one, two; grant execute on function hatchet.enqueue to app, one, two;"
             "insert into hatchet.tenant (name, slug) values ('Second', 'second'), ('Third', 'third');"
             "insert into hatchet.workflow (tenant_no, name) select tenant_no, 'theirs' from hatchet.tenant where slug <> 'default'", S.db)
    tenants = dict(S.pg.sql("select slug, tenant_no from hatchet.tenant", S.db))

    def owner_of(c, *args, **more):
        with c.transaction(force_rollback=True):
            r = enqueue(c, *args, **more)
            return S_owner(r, c)

    def S_owner(r, c):
        c.execute("reset role")
        if c.info.user == "hatchet":
            return str(one(c, "select tenant_no from hatchet.inbox where id = %s", r))
        return None
    # nobody has what was not given
    with db(user="nobody") as c:
        raises("42501", "permission denied for schema hatchet", lambda: enqueue(c, name))
    S.pg.sql("grant usage on schema hatchet to nobody", S.db)
    with db(user="nobody") as c:
        raises("42501", "permission denied for function enqueue", lambda: enqueue(c, name))
        raises("42501", "permission denied", lambda: c.execute("select hatchet.request_id()"))
        raises("42501", "permission denied", lambda: c.execute("select hatchet.tenant_of_role('one', null)"))
        raises("42501", "permission denied", lambda: c.execute("select hatchet.make_days(current_date, 1)"))
    with db(user="app") as c:
        # the function, and nothing else
        for text in ("select 1 from hatchet.inbox", "insert into hatchet.inbox default values", "select * from hatchet.task",
                     "select nextval('hatchet.request_no')", "delete from hatchet.request", "select * from hatchet.sql_role"):
            raises("42501", "permission denied", lambda: c.execute(text))
        # with several tenants one has to be named, as long as the role is nobody's
        raises("22023", "tenant: must be given: role \"app\"", lambda: enqueue(c, name))
        run_of(enqueue(c, name, tenant="default"))
        # a table of the caller's cannot come between
        c.execute("create temporary table workflow (tenant_no int, name text, deleted_at timestamptz)")
        c.execute("set search_path = pg_temp, public")
        run_of(enqueue(c, name, tenant="default"))
    S.pg.sql(f"insert into hatchet.sql_role (role, tenant_no) values ('one', {tenants['second']}), ('group_two', {tenants['third']})", S.db)
    with db() as c:
        for user, own, others in (("one", "second", ("default", "third", "none")), ("two", "third", ("default", "second", "none"))):
            for how in ("login", "set role"):
                with db(user=user) if how == "login" else db() as u:
                    if how == "set role":
                        u.execute(f"set role {user}")
                    for more in ({}, {"tenant": own}):
                        with u.transaction():
                            r = enqueue(u, "theirs", **more)
                            u.execute("savepoint a")
                        equal(int(one(c, "select coalesce((select tenant_no from hatchet.inbox where id = %s),"
                                      " (select tenant_no from hatchet.request where id = %s))", r, r)), int(tenants[own]), (user, how))
                    for other in others:
                        raises("42501", f"tenant: role \"{user}\" may not enqueue for tenant \"{other}\"",
                               lambda: enqueue(u, "theirs", tenant=other))
                    raises("22023", f"workflow: there is no workflow \"{name}\"", lambda: enqueue(u, name))
        # the superuser is not held to a mapping, and one that is not mapped may name any
        equal(owner_of(c, "theirs", tenant="second"), tenants["second"])
        raises("22023", "tenant: must be given", lambda: enqueue(c, name))
    # the other tenant's requests are not found with this tenant's token
    equal(S.rest("GET", f"/api/v1/stable/workflow-runs/{r}")[0], 404)
    S.pg.sql("delete from hatchet.sql_role", S.db)
    until("nothing waits", lambda: waiting() == 0)
    S.pg.sql("delete from hatchet.workflow where name = 'theirs'; delete from hatchet.tenant where slug in ('second', 'third')", S.db)


def case_idle_sends_nothing():
    name = name_of("idle")
    put(name)
    w = Worker(name)
    with db() as c:
        run = run_of(enqueue(c, name))
    w.get(run)
    w.completed(run)
    until("nothing waits", lambda: waiting() == 0)
    # what each session did last, and when
    last = "select pid, query_start, query from pg_stat_activity where application_name = 'hatchet' order by pid"
    before, beats = S.pg.sql(last, S.db), w.beats
    until("the worker has sent two more signs of life", lambda: w.beats >= beats + 2)
    equal(S.pg.sql(last, S.db), before)
    w.close()


def case_three_drivers():
    name = name_of("drivers")
    put(name)
    w = Worker(name)
    S.pg.sql("create table public.orders (id text)", S.db)
    env = {**os.environ, "PGHOST": S.pg.dir, "PGPORT": str(S.pg.port), "PGUSER": "hatchet", "PGDATABASE": S.db,
           "PYTHONPATH": os.path.join(CLIENTS, "python"), "NODE_PATH": os.path.join(CLIENTS, "node", "node_modules")}
    here = os.path.join(TOP, "tests", "e2e", "sqlfront")
    for who, words in (("python", [sys.executable, os.path.join(here, "client.py")]), ("node", ["node", os.path.join(here, "client.js")]),
                       ("go", [os.path.join(CLIENTS, "client")])):
        p = subprocess.run(words + [name], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
        equal(p.returncode, 0, p.stdout)
        got = json.loads(p.stdout)
        run = run_of(got["run"])
        a = w.get(run)
        equal(json.loads(a.action_payload)["input"], {"order": who})
        equal(json.loads(a.additional_metadata), {"by": who})
        equal(a.priority, 3)
        has(got["error"], "priority: must be 1, 2 or 3, not 9")
        w.completed(run)
    equal(sorted(S.pg.sql("select id from public.orders", S.db)), [["go"], ["node"], ["python"]])
    equal(runs_of(name), 3)
    w.close()


if __name__ == "__main__":
    fixture.main(globals())
