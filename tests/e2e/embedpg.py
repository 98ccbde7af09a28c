#!/usr/bin/env python3
"""The Postgres inside the file: first start, what may be in its way, throw-away servers.  embedpg.py [NAME...]"""
import glob
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import test_cli as cli  # noqa: E402
from test_cli import Own, clean_env, equal, has, one_sentence, run, tmp  # noqa: E402
from hatchet import BIN, until  # noqa: E402

EPHEMERAL = ("/dev/shm/hatchet-ephemeral-*", "/tmp/hatchet-ephemeral-*")
PSQL = os.path.join(cli.hatchet.pg_bin(), "psql")


class Skip(Exception):
    pass


def need_root():
    if os.getuid() != 0:
        raise Skip("needs root")


def sql(s, text):
    return subprocess.run([PSQL, "-XAtq", "-h", os.path.join(s.data_dir, "socket"), "-U", "hatchet", "-d", "postgres", "-c", text],
                          check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def start_there(data, **env):
    """A start that is to fail: its exit code and sentence."""
    return run("server", "start", "--data-dir", data, "--dashboard-port", "0", "--grpc-port", "0", env=clean_env(**env))


def programs(s):
    return glob.glob(os.path.join(s.data_dir, "postgres-*", "bin", "postgres"))


def case_first_start():
    a, b = Own(), Own()
    try:
        for s in (a, b):
            s.start(60)
        has(sql(a, "select version()"), "PostgreSQL 17.", "musl")
        ids = [sql(s, "select system_identifier from pg_control_system()") for s in (a, b)]
        assert ids[0] != ids[1] and "1" not in ids, f"identities of two clusters: {ids}"
        secrets = [sql(s, "select encode(id_secret, 'hex') from hatchet.instance") for s in (a, b)]
        assert secrets[0] != secrets[1] and len(secrets[0]) >= 32, "secrets of two instances"
        assert a.rest("GET", "/t/workflows", token=b.token)[0] in (401, 403), "a token of another instance"
        equal(sql(a, "select extname from pg_extension"), "plpgsql")
        equal(sql(a, "select '2026-07-01 12:00 Europe/Berlin'::timestamptz at time zone 'Asia/Kathmandu'"), "2026-07-01 15:45:00", "time zones")
        equal(sql(a, "show wal_segment_size"), "16MB")
        assert 256 <= int(sql(a, "select setting from pg_settings where name = 'max_wal_size'")) <= 8192
        assert int(sql(a, "select setting::int8 * 8 / 1024 from pg_settings where name = 'shared_buffers'")) >= 64
        equal([sql(a, "show " + n) for n in ("fsync", "synchronous_commit", "full_page_writes", "listen_addresses")], ["on", "on", "on", ""])
        inode = os.stat(programs(a)[0]).st_ino
        equal(a.stop_server(), 0)
        a.start(60)
        equal(os.stat(programs(a)[0]).st_ino, inode, "unpacked once")
        equal(sql(a, "select system_identifier from pg_control_system()"), ids[0], "the identity stays")
        equal(a.rest("GET", "/t/workflows")[0], 200)
    finally:
        for s in (a, b):
            s.stop()
            s.close()


def case_killed_at_any_moment():
    """kill -9 while it unpacks: the next start works, and nothing half made is left."""
    seed = int(os.environ.get("SEED") or random.randrange(1 << 31))
    rng = random.Random(seed)
    s = Own()
    try:
        for _ in range(15):
            s.spawn()
            time.sleep(rng.uniform(0.005, 0.15))  # the moment is what is random here, nothing is waited for
            s.kill9()
        os.makedirs(os.path.join(s.data_dir, "postgres.new-1", "base"), exist_ok=True)
        os.makedirs(os.path.join(s.data_dir, "postgres-00000000", "bin"), exist_ok=True)
        s.start(60)
        equal(s.rest("GET", "/t/workflows")[0], 200, f"seed {seed}")
        equal(sorted(n for n in os.listdir(s.data_dir) if n.startswith("postgres")),
              sorted(["postgres", "postgres.log", os.path.basename(os.path.dirname(os.path.dirname(programs(s)[0])))]))
    finally:
        s.stop()
        s.close()


def case_disk_full():
    need_root()
    d = tmp()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=755", "none", d], check=True)
    try:
        one_sentence(start_there(os.path.join(d, "data")), "MB of free space", d)
        subprocess.run(["mount", "-o", "remount,size=80m", d], check=True)
        with open(os.path.join(d, "filler"), "wb") as f:
            os.posix_fallocate(f.fileno(), 0, 12 << 20)
        # room enough at first sight: what comes must end in a sentence, or in a server
        p = subprocess.Popen([BIN, "server", "start", "--data-dir", os.path.join(d, "data"), "--dashboard-port", "0", "--grpc-port", "0",
                              "--env-file", os.path.join(d, "env")], env=clean_env(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.PIPE, text=True)
        until("an end or a server", lambda: p.poll() is not None or os.path.exists(os.path.join(d, "env")))
        if p.poll() is None:
            p.send_signal(signal.SIGTERM)
            equal(p.wait(30), 0)
        else:
            has(p.stderr.read(), "hatchet: ")
    finally:
        subprocess.run(["umount", "-l", d], check=True)
        shutil.rmtree(d)


def case_unwritable():
    need_root()
    d = tmp()
    os.chmod(d, 0o755)
    p = subprocess.run([BIN, "server", "start", "--data-dir", os.path.join(d, "data"), "--dashboard-port", "0", "--grpc-port", "0"],
                       env=clean_env(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, user=65534,
                       group=65534, extra_groups=[], timeout=60)
    one_sentence(p, d, "Permission denied")
    shutil.rmtree(d)


def case_other_major():
    d = tmp()
    os.chmod(d, 0o755)
    os.makedirs(os.path.join(d, "postgres"))
    with open(os.path.join(d, "postgres", "PG_VERSION"), "w") as f:
        f.write("15\n")
    one_sentence(start_there(d), "holds a database of PostgreSQL 15, and this hatchet carries 17", "PG_BIN", "backup")
    equal(os.listdir(os.path.join(d, "postgres")), ["PG_VERSION"], "nothing of it is touched")
    shutil.rmtree(d)


def case_where_there_is_nothing():
    """A root of nothing but the file: no /proc, /dev, /tmp, no passwd entry; as an ordinary user and as root."""
    need_root()
    for user in (54321, 0):
        root = tmp()
        os.chmod(root, 0o755)
        os.mkdir(os.path.join(root, "d"))
        os.chown(os.path.join(root, "d"), user, user)
        shutil.copy(BIN, os.path.join(root, "hatchet"))
        for flags in ([], ["--ephemeral"]):
            if os.path.exists(os.path.join(root, "d", "env")):
                os.unlink(os.path.join(root, "d", "env"))
            p = subprocess.Popen(["chroot", f"--userspec={user}:{user}", "--groups=", root, "/hatchet", "server", "start", "--data-dir", "/d/data",
                                  "--dashboard-port", "0", "--grpc-port", "0", "--env-file", "/d/env", *flags], env={"PATH": os.environ["PATH"]},
                                 stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            try:
                until(f"ready as {user} {flags}", lambda: p.poll() is not None or os.path.exists(os.path.join(root, "d", "env")))
                assert p.poll() is None, p.stderr.read()
                p.send_signal(signal.SIGTERM)
                equal(p.wait(30), 0)
                equal(glob.glob(os.path.join(root, "d", "**", "hatchet-ephemeral*"), recursive=True), [], "throw-away directories")
            finally:
                if p.poll() is None:
                    p.kill()
                p.wait()
                p.stderr.close()
        shutil.rmtree(root)


def ephemeral():
    return set(sum((glob.glob(p) for p in EPHEMERAL), []))


def case_ephemeral_ready():
    before, took = ephemeral(), []
    for _ in range(11):
        s = Own(flags=["--ephemeral"])
        try:
            began = time.monotonic()
            s.spawn()
            until("ready", lambda: os.path.exists(s.env_file), every=0.002)
            took.append(1000 * (time.monotonic() - began))
            equal(s.stop_server(), 0)
        finally:
            s.stop()
            s.close()
    equal(ephemeral() - before, set(), "nothing is left")
    print(f"# exec to the env file: median {statistics.median(took):.0f} ms, {min(took):.0f} to {max(took):.0f}")
    assert statistics.median(took) < 3000


def case_ephemeral_side_by_side():
    before, servers = ephemeral(), [Own(flags=["--ephemeral"]) for _ in range(10)]
    try:
        for s in servers:
            s.spawn()
        for s in servers:
            s.wait_ready(60)
        equal(len(ephemeral() - before), 10)
        equal(len({s.token for s in servers}), 10)
        for s in servers:
            equal(s.rest("GET", "/t/workflows")[0], 200)
        equal(servers[0].rest("GET", "/t/workflows", token=servers[1].token)[0] in (401, 403), True, "tokens of another")
        for s in servers[:5]:
            s.kill9()
        for s in servers[5:]:
            equal(s.stop_server(), 0)
        until("no Postgres of the killed ones", lambda: not any(os.path.exists(os.path.join(d, "postgres", "postmaster.pid")) for d in ephemeral() - before))
        last = Own(flags=["--ephemeral"])
        try:
            last.start(60)
        finally:
            last.stop()
            last.close()
        equal(ephemeral() - before, set(), "what killed ones leave goes with the next start")
    finally:
        for s in servers:
            s.stop()
            s.close()


def main():
    cases = {n[5:]: f for n, f in globals().items() if n.startswith("case_")}
    passed = failed = skipped = 0
    for name in sys.argv[1:] or cases:
        began = time.monotonic()
        try:
            cases[name]()
            passed += 1
            print(f"ok - {name} ({time.monotonic() - began:.1f} s)", flush=True)
        except Skip as e:
            skipped += 1
            print(f"ok - {name} # SKIP {e}", flush=True)
        except Exception as e:
            failed += 1
            print(f"not ok - {name}: {type(e).__name__}: {str(e)[:700]}", flush=True)
            traceback.print_exc(limit=-3, file=sys.stdout)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
