#!/usr/bin/env python3
"""The three official SDKs with each HATCHET_CLIENT_TLS_STRATEGY: none, tls (a server with a certificate of its own making, as its
--env-file says) and mtls (an authority of ours).  A few cases of each SDK's suite, REST included."""
import concurrent.futures
import os
import shutil
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(os.path.dirname(HERE), "lib"), HERE]
import drive  # noqa: E402
from certs import Authority  # noqa: E402
from hatchet import PgNode, Server, spawn  # noqa: E402

SDKS = ("python", "typescript", "go")
SECONDS = 120


def run(sdk, how, env, folder, logs):
    """(passed, failed) of one SDK with one strategy."""
    marks = os.path.join(folder, f"{sdk}-{how}")
    os.makedirs(marks)
    base = {k: os.environ[k] for k in ("PATH", "LANG", "LC_ALL") if k in os.environ}
    base.update(env, HOME=marks, SUITE_DIR=marks, NODE_PATH=drive.build("sdk-ts", "node_modules"), PYTHONDONTWRITEBYTECODE="1",
                CONTROL_URL="http://127.0.0.1:9/")
    log = os.path.join(logs, f"{sdk}-{how}.log")
    with open(log, "wb") as out:
        p = spawn(drive.command(sdk, "tls"), env=base, cwd=marks, stdout=out, stderr=out)
        try:
            p.wait(SECONDS)
        except Exception:
            p.kill()
            p.wait()
    with open(log, errors="replace") as f:
        text = f.read()
    counts = [drive.LINE.match(line.strip()) for line in text.splitlines()]
    passed, failed = next(((int(m[1]), int(m[2])) for m in counts if m), (0, 1))
    print(f"# {sdk} {how}: {passed} passed, {failed} failed", flush=True)
    if failed:
        for name in sorted(os.listdir(marks)):
            if name.endswith(".log"):
                with open(os.path.join(marks, name), errors="replace") as f:
                    text += f"\n--- {name}\n" + f.read()[-1500:]
        print(f"not ok - {sdk} {how}\n" + "\n".join("# " + line for line in text[-5000:].splitlines()), flush=True)
    return passed, failed


def main():
    folder = tempfile.mkdtemp(prefix="hatchet-sdk-tls-")
    logs = drive.build("test-logs", "sdk-tls")
    os.makedirs(logs, exist_ok=True)
    pg, servers = PgNode(durable=False), []
    passed = failed = 0
    try:
        pg.start()
        ours = Authority(os.path.join(folder, "ca"))
        cert, key = ours.sign("server")
        worker, worker_key = ours.sign("worker", use="clientAuth")
        flags = {"none": [], "tls": ["--tls", "self"],
                 "mtls": ["--tls", "mtls", "--tls-cert", cert, "--tls-key", key, "--tls-root-ca", ours.ca]}
        envs = {}
        for how, words in flags.items():
            pg.sql(f"create database {how}")
            server = Server(pg, db=how, flags=words).start()
            servers.append(server)
            envs[how] = server.client_env()
        # what the server cannot know
        envs["mtls"].update(HATCHET_CLIENT_TLS_ROOT_CA_FILE=ours.ca, HATCHET_CLIENT_TLS_CERT_FILE=worker,
                            HATCHET_CLIENT_TLS_KEY_FILE=worker_key, NODE_EXTRA_CA_CERTS=ours.ca)
        for how in ("tls", "mtls"):
            envs[how]["SSL_CERT_FILE"] = envs[how]["HATCHET_CLIENT_TLS_ROOT_CA_FILE"]  # for the REST half of the Go SDK
            if envs[how]["HATCHET_CLIENT_TLS_STRATEGY"] != how:
                raise AssertionError(f"the env file says {envs[how]['HATCHET_CLIENT_TLS_STRATEGY']}, want {how}")
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for p, f in pool.map(lambda job: run(job[0], job[1], envs[job[1]], folder, logs), [(s, h) for s in SDKS for h in flags]):
                passed, failed = passed + p, failed + f
        for server in servers:
            if not server.alive():
                print("not ok - a server ended by itself")
                failed += 1
    except Exception as e:
        print(f"not ok - {type(e).__name__}: {e}")
        failed += 1
    finally:
        for x in [*servers, pg]:
            x.stop()
        for n, server in enumerate(servers):
            server.save_log(os.path.join(logs, f"server-{n}.log"))
            server.close()
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
