#!/usr/bin/env python3
"""TLS of the built server, probed from outside: protocols, suites, what is malformed, certificates and their change.  test_tls.py [NAME...]"""
import fcntl
import http.client
import os
import pty
import re
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
import tempfile
import termios
import threading
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"))
import grpc  # noqa: E402
import tlsraw as raw  # noqa: E402
from certs import Authority  # noqa: E402
from hatchet import BIN, PgNode, Server, until  # noqa: E402

GOOD_12_ECDSA, GOOD_12_RSA, GOOD_13 = {0xc02b, 0xc02c, 0xcca9}, {0xc02f, 0xc030, 0xcca8}, {0x1301, 0x1302, 0x1303}
SIGNALLING = {0x00ff, 0x5600}  # not suites
PG = S = CA = FOLDER = None
SERVERS = []


def equal(got, want, what=""):
    if got != want:
        raise AssertionError(f"{what}: got {got!r}, want {want!r}")


def has(text, *parts):
    for part in parts:
        if part not in text:
            raise AssertionError(f"{part!r} is not in {text[-800:]!r}")


def serve(name, *flags, env=None):
    PG.sql(f"create database {name}")
    server = Server(PG, db=name, flags=flags, env=env)
    SERVERS.append(server)
    return server.start()


def end(server):
    equal(server.stop_server(), 0, "exit code")
    server.close()
    SERVERS.remove(server)


def context(ca=None, protocols=None, cert=None, low=None, high=None):
    c = ssl.create_default_context(cafile=ca or CA.ca)
    if protocols:
        c.set_alpn_protocols(protocols)
    if cert:
        c.load_cert_chain(*cert)
    c.minimum_version = low or ssl.TLSVersion.TLSv1_2
    c.maximum_version = high or ssl.TLSVersion.TLSv1_3
    return c


def connect(port, c=None, name="localhost"):
    return (c or context()).wrap_socket(socket.create_connection(("127.0.0.1", port), 10), server_hostname=name)


def get(port, path="/ready", c=None, name="localhost"):
    h = http.client.HTTPSConnection(name, port, timeout=20, context=c or context())
    h.request("GET", path)
    r = h.getresponse()
    body = r.read()
    h.close()
    return r.status, body


def serial(port, ca=None):
    with connect(port, context(ca)) as s:
        return s.getpeercert()["serialNumber"]


def fails(*words, env=None):
    """`server start` must refuse with one sentence; gives it."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("SERVER_", "HATCHET_", "DATABASE_"))}
    with tempfile.TemporaryDirectory() as d:
        p = subprocess.run([BIN, "server", "start", "--data-dir", d, "--database-url", PG.url(), "--dashboard-port", "0", "--grpc-port", "0", *words],
                           env={**clean, **(env or {})}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                           timeout=20)
    lines = [line for line in p.stderr.splitlines() if line.startswith("hatchet: ")]
    equal((p.returncode, len(lines)), (1, 1), f"exit code and sentences of {p.stderr!r}")
    return lines[0]


# --- protocols and suites ------------------------------------------------------------------------------------------------------------

def case_old_protocols():
    for port in (S.http_port, S.grpc_port):
        for version in (raw.SSL3, raw.TLS10, raw.TLS11):
            got = raw.ask(port, raw.hello(version, [0xc02b, 0xc009, 0xc013, 0x002f, 0x0035, 0x000a, 0x0005]), version)
            equal(got, ("alert", "protocol_version"), f"version {version:#x}")
        # what TLS 1.3 has put in place of the version
        got = raw.ask(port, raw.hello(raw.TLS12, [0x1301, 0xc02b], raw.GROUPS + raw.SIGNATURES + raw.for_13([raw.TLS11, raw.TLS10])))
        equal(got[0], "alert", "only old versions listed")
    p = raw.Peer(S.grpc_port).send(bytes.fromhex("802e0100020015000000100100800200800300800400800500800600400700c0") + os.urandom(16))
    p.read(lambda _: False)
    equal((p.data, p.closed), (b"", True), "a hello of SSLv2")


def accepted(offer, version):
    """Which of the suites the server takes, asking until it takes none of the rest."""
    found, offer = set(), list(offer)
    more = raw.for_13() if version == raw.TLS13 else b""
    while True:
        got = raw.ask(S.grpc_port, raw.hello(raw.TLS12, offer, raw.GROUPS + raw.SIGNATURES + raw.POINTS + more))
        if got[0] != "hello":
            equal(got, ("alert", "handshake_failure"), "nothing in common")
            return found
        equal(got[1], version)
        found.add(got[2])
        offer.remove(got[2])


def case_every_suite():
    for version, want in ((raw.TLS12, GOOD_12_ECDSA), (raw.TLS13, GOOD_13)):
        found = set()
        for start in range(0, 0x10000, 4096):
            found |= accepted([s for s in range(start, start + 4096) if s not in SIGNALLING], version)
        equal(found, want, f"suites of {version:#x}")


def case_suites_with_rsa():
    global S
    cert, key = CA.sign("rsa", kind="rsa")
    old, S = S, serve("rsa", "--tls-cert", cert, "--tls-key", key)
    try:
        found = set()
        for start in (0x0000, 0xc000, 0xcc00):
            found |= accepted([s for s in range(start, start + 1024) if s not in SIGNALLING], raw.TLS12)
        equal(found, GOOD_12_RSA)
        for v in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            equal(get(S.grpc_port, c=context(low=v, high=v))[0], 200)
        end(S)
    finally:
        S = old


def case_compression():
    equal(raw.ask(S.grpc_port, raw.hello(compression=b"\1\0")), ("hello", raw.TLS12, 0xc02b, 0), "deflate offered")
    equal(raw.ask(S.grpc_port, raw.hello(compression=b"\1"))[3:], (0,), "deflate only")


def case_weak_groups():
    equal(raw.ask(S.grpc_port, raw.hello(extensions=raw.groups(19, 21, 22) + raw.SIGNATURES + raw.POINTS))[0], "alert", "small curves")
    equal(raw.ask(S.grpc_port, raw.hello(suites=[0x009e, 0x0033], extensions=raw.groups(256) + raw.SIGNATURES))[0], "alert", "finite field")
    sha1 = raw.ext(13, raw.vec(2, bytes.fromhex("0203020101030201")))
    equal(raw.ask(S.grpc_port, raw.hello(extensions=raw.GROUPS + sha1 + raw.POINTS))[0], "alert", "SHA-1 only")


def case_both_versions_both_ports():
    for port in (S.http_port, S.grpc_port):
        for v, name in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
            with connect(port, context(low=v, high=v)) as s:
                equal(s.version(), name)
                equal(s.compression(), None)
            equal(get(port, c=context(low=v, high=v)), (200, b"{}"))


def case_min_version():
    server = serve("min13", *OWN, "--tls-min-version", "1.3")
    equal(raw.ask(server.grpc_port, raw.hello())[:2], ("alert", "protocol_version"))
    equal(get(server.grpc_port)[0], 200)
    end(server)


def case_alpn():
    for offer, want in ((["h2"], "h2"), (["http/1.1"], "http/1.1"), (["http/1.1", "h2"], "h2"), (["foo", "h2"], "h2"), (None, None)):
        for v in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            with connect(S.grpc_port, context(protocols=offer, low=v, high=v)) as s:
                equal(s.selected_alpn_protocol(), want, f"offered {offer}")
    got = raw.ask(S.grpc_port, raw.hello(extensions=raw.GROUPS + raw.SIGNATURES + raw.POINTS + raw.alpn(b"foo", b"h3")))
    equal(got, ("alert", "no_application_protocol"))
    got = raw.ask(S.grpc_port, raw.hello(extensions=raw.GROUPS + raw.SIGNATURES + raw.alpn(b"")))
    equal(got[0], "alert", "an empty name")


def case_names():
    for name in (b"unknown.example", b"localhost", b"x" * 255):
        got = raw.ask(S.grpc_port, raw.hello(extensions=raw.GROUPS + raw.SIGNATURES + raw.POINTS + raw.sni(name)))
        equal(got[0], "hello", f"asked for {name!r}")
    equal(get(S.http_port, name="127.0.0.1")[0], 200)


def case_renegotiation():
    p = subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{S.grpc_port}", "-CAfile", CA.ca, "-tls1_2", "-legacy_renegotiation"],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    out = b""
    try:
        p.stdin.write(b"R\n")
        p.stdin.flush()
        out = p.communicate(timeout=15)[0]
    finally:
        p.kill()
        p.wait()
    has(out.decode(errors="replace"), "RENEGOTIATING", "no renegotiation")
    equal(out.count(b"verify return:1"), 2, "certificates seen, of one handshake")
    equal(get(S.grpc_port)[0], 200)


def case_no_tickets():
    """Nothing to resume: no tickets, and a session is not taken up again."""
    for v in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        c = context(low=v, high=v)
        with connect(S.grpc_port, c) as s:
            s.sendall(b"GET /live HTTP/1.1\r\nhost: x\r\n\r\n")
            s.recv(4096)
            old = s.session
            equal(bool(old and old.has_ticket), False, "a ticket")
        with c.wrap_socket(socket.create_connection(("127.0.0.1", S.grpc_port)), server_hostname="localhost", session=old) as s:
            equal(s.session_reused, False)


# --- what is malformed, slow or too much ----------------------------------------------------------------------------------------

def case_slow_handshake():
    p = raw.Peer(S.grpc_port)
    whole = raw.record(22, raw.hello())
    began, n = time.monotonic(), 0
    while not p.closed and time.monotonic() - began < 20:
        p.send(whole[n:n + 1]) if n < 40 else None
        n += 1
        p.read(lambda _: False, 0.4)
    took = time.monotonic() - began
    if not p.closed or not 8 < took < 14:
        raise AssertionError(f"closed {p.closed} after {took:.1f} s")


def case_garbage():
    whole = raw.record(22, raw.hello())
    junk = [b"\x16" + os.urandom(300), b"\x16\x03\x01\x00\x00", b"\x16\x03\x01\xff\xff" + b"x" * 100, raw.record(22, b"\1\xff\xff\xff" + b"x" * 100),
            raw.record(22, b""), raw.record(21, b"\2\x28"), raw.record(23, b"data"), raw.record(20, b"\1"), raw.record(22, b"\x10\0\0\0"),
            raw.record(22, raw.hello(extensions=b"\0\x0a\xff\xff")), raw.record(22, raw.hello()[:-3]), whole[:43] + b"\xff" + whole[44:]]
    for n, data in enumerate(junk):
        p = raw.Peer(S.grpc_port).send(data)
        p.s.shutdown(socket.SHUT_WR)
        p.read(lambda _: False, 6)
        equal((p.closed, p.server_hello()), (True, None), f"closed, of garbage {n}")
        p.close()
    for cut in range(1, len(whole), 7):
        p = raw.Peer(S.grpc_port).send(whole[:cut])
        p.s.shutdown(socket.SHUT_WR)
        p.read(lambda _: False, 6)
        equal((p.closed, p.server_hello()), (True, None), f"closed, when cut at {cut}")
        p.close()
    equal(get(S.grpc_port)[0], 200)


def case_hello_in_pieces():
    for version, more in ((raw.TLS12, b""), (raw.TLS13, raw.for_13())):
        whole = raw.record(22, raw.hello(suites=[0x1301, 0xc02b], extensions=raw.GROUPS + raw.SIGNATURES + raw.POINTS + more))
        p = raw.Peer(S.grpc_port)
        for i in range(len(whole)):
            p.send(whole[i:i + 1])
        equal(p.answer().server_hello()[0], version)
        p.close()


def case_large_hello():
    """Hellos grow: post-quantum shares, many tickets."""
    padding = raw.ext(21, bytes(9000))
    got = raw.ask(S.grpc_port, raw.hello(suites=[0x1301], extensions=raw.GROUPS + raw.SIGNATURES + raw.for_13() + padding))
    equal(got[:2], ("hello", raw.TLS13))
    strange = raw.ext(51, raw.vec(2, bytes.fromhex("11ec") + raw.vec(2, os.urandom(1216)) + bytes.fromhex("0017") + raw.vec(2, raw.G)))
    got = raw.ask(S.grpc_port, raw.hello(suites=[0x1301], extensions=raw.groups(0x11ec, 23) + raw.SIGNATURES + raw.for_13(share=strange)))
    equal(got[:2], ("hello", raw.TLS13))
    only = raw.ext(51, raw.vec(2, bytes.fromhex("11ec") + raw.vec(2, os.urandom(1216))))
    got = raw.ask(S.grpc_port, raw.hello(suites=[0x1301], extensions=raw.groups(0x11ec, 23) + raw.SIGNATURES + raw.for_13(share=only)))
    equal(got[:2], ("hello", raw.TLS13), "asked again for a share of a group that both know")


def rss(server):
    with open(f"/proc/{server.process.pid}/status") as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read())[1])


def case_flood_of_half_open_handshakes():
    server = serve("flood", *OWN)
    before, peers = rss(server), []
    whole = raw.record(22, raw.hello())
    try:
        for i in range(1500):
            peers.append(raw.Peer(server.grpc_port).send(whole if i % 2 else whole[:20]))
            if i % 300 == 299:
                began = time.monotonic()
                equal(get(server.grpc_port)[0], 200, "one who means it")
                if time.monotonic() - began > 3:
                    raise AssertionError(f"answered after {time.monotonic() - began:.1f} s")
        grown = (rss(server) - before) / 1024
        if grown > 80:  # 512 of them, at some 50 KiB, and what is on its way
            raise AssertionError(f"the server grew by {grown:.0f} MB")
    finally:
        for p in peers:
            p.close()
    equal(get(server.grpc_port)[0], 200)
    end(server)


def case_large_and_many():
    with connect(S.http_port) as s:
        h = http.client.HTTPSConnection("localhost", S.http_port, timeout=30, context=context())
        for _ in range(500):
            h.request("GET", "/live")
            equal(h.getresponse().read(), b"{}")
        body = b'{"errors":"' + b"x" * (3 << 20) + b'"}'
        h.request("POST", "/api/v1/users/login", body, {"Content-Type": "application/json"})
        h.getresponse().read()
        h.close()
        # one record each, all in one go
        s.settimeout(20)
        for _ in range(200):
            s.sendall(b"GET /live HTTP/1.1\r\nhost: x\r\n\r\n")
        got = b""
        while got.count(b"HTTP/1.1 200") < 200:
            more = s.recv(65536)
            if not more:
                raise AssertionError(f"ended after {got.count(b'HTTP/1.1 200')} answers")
            got += more


def case_goodbyes():
    """HTTP/1.1 with `connection: close` ends with close_notify, so that nobody has to guess whether it was cut."""
    with connect(S.http_port) as s:
        s.sendall(b"GET /live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        got = b""
        while True:
            more = s.recv(4096)  # raises when the end is not announced
            if not more:
                break
            got += more
        has(got.decode(), "200 OK")


# --- in clear --------------------------------------------------------------------------------------------------------------------

def clear(port, path):
    h = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    h.request("GET", path)
    r = h.getresponse()
    return r.status, r.read().decode()


def call(server, channel):
    """A call that a token opens, to nothing that there is."""
    f = channel.unary_unary("/v1.AdminService/GetRunDetails", lambda x: x, lambda x: x)
    try:
        f(b"\n$00000000-0000-4000-8000-000000000000", timeout=10, metadata=[("authorization", "Bearer " + server.token)])
        return "OK", ""
    except grpc.RpcError as e:
        return e.code().name, e.details()
    finally:
        channel.close()


def case_in_clear():
    for port in (S.http_port, S.grpc_port):
        equal([clear(port, p)[0] for p in ("/live", "/ready", "/api/live", "/metrics", "/")], [200, 200, 200, 400, 400])
        has(clear(port, "/metrics")[1], "https://")
    code, text = call(S, grpc.insecure_channel(S.grpc))
    equal(code, "UNAUTHENTICATED")
    has(text, "this server speaks TLS", "HATCHET_CLIENT_TLS_STRATEGY=tls")


def case_optional():
    server = serve("optional", *OWN, env={"SERVER_GRPC_INSECURE": "t"})
    equal(call(server, grpc.insecure_channel(server.grpc))[0], "NOT_FOUND")
    equal(call(server, secure(server))[0], "NOT_FOUND")
    equal(clear(server.http_port, "/metrics")[0], 200)
    end(server)


# --- certificates of clients -------------------------------------------------------------------------------------------------------

def secure(server, cert=None, ca=None):
    def text(path):
        with open(path, "rb") as f:
            return f.read()
    key = [text(cert[1]), text(cert[0])] if cert else [None, None]
    return grpc.secure_channel(f"localhost:{server.grpc_port}", grpc.ssl_channel_credentials(text(ca or CA.ca), *key))


def case_mutual():
    server = serve("mutual", "--tls", "mtls", *OWN, "--tls-root-ca", CA.ca)
    other = Authority(os.path.join(FOLDER, "other"), "somebody else")
    equal(call(server, secure(server, CA.sign("worker", use="clientAuth")))[0], "NOT_FOUND", "a good certificate")
    equal(call(server, secure(server, CA.sign("worker-rsa", use="clientAuth", kind="rsa")))[0], "NOT_FOUND", "a good one with RSA")
    code, text = call(server, secure(server))
    equal(code, "UNAUTHENTICATED", "none")
    has(text, "client certificate", "HATCHET_CLIENT_TLS_STRATEGY=mtls")
    for what, cert in (("foreign", other.sign("worker", use="clientAuth")), ("expired", CA.sign("late", use="clientAuth", expired=True)),
                       ("a server's", CA.sign("wrong-use"))):
        equal(call(server, secure(server, cert))[0], "UNAVAILABLE", what)
        for v in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            try:
                with connect(server.grpc_port, context(cert=cert, low=v, high=v)) as s:
                    s.settimeout(5)
                    s.sendall(b"GET /live HTTP/1.1\r\nhost: x\r\n\r\n")
                    got = s.recv(100)
                raise AssertionError(f"{what}: answered {got!r}")
            except ssl.SSLError as e:
                has(str(e).upper(), {"foreign": "UNKNOWN_CA", "expired": "EXPIRED"}.get(what, "BAD_CERTIFICATE").replace("UNKNOWN_CA", "UNKNOWN"))
            except ConnectionError:
                pass
    equal(get(server.http_port)[0], 200, "people need none")
    has(server.tail(20000), "a client's certificate was refused")
    end(server)


def case_optional_client_certificate():
    """With `tls` and an authority of clients: who shows a certificate must show a good one."""
    server = serve("maybe", *OWN, "--tls-root-ca", CA.ca)
    other = Authority(os.path.join(FOLDER, "other2"))
    equal(call(server, secure(server))[0], "NOT_FOUND")
    equal(call(server, secure(server, CA.sign("worker2", use="clientAuth")))[0], "NOT_FOUND")
    equal(call(server, secure(server, other.sign("worker2", use="clientAuth")))[0], "UNAVAILABLE")
    end(server)


# --- certificates that change ------------------------------------------------------------------------------------------------------

def put(pair, folder):
    for path, name in zip(pair, ("cert.pem", "key.pem")):
        shutil.copyfile(path, os.path.join(folder, name + ".new"))
    for name in ("cert.pem", "key.pem"):
        os.rename(os.path.join(folder, name + ".new"), os.path.join(folder, name))


def case_reload():
    folder = os.path.join(FOLDER, "live")
    os.makedirs(folder)
    put(CA.sign("first"), folder)
    cert, key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
    server = serve("reload", "--tls-cert", cert, "--tls-key", key)
    first = serial(server.grpc_port)
    open_one = http.client.HTTPSConnection("localhost", server.http_port, timeout=20, context=context())
    open_one.request("GET", "/live")
    open_one.getresponse().read()
    stream = secure(server)
    ready = grpc.channel_ready_future(stream)
    ready.result(10)
    put(CA.sign("second"), folder)
    until("a new connection sees the new one", lambda: serial(server.grpc_port) != first, 10, 0.1)
    second = serial(server.grpc_port)
    open_one.request("GET", "/live")
    equal(open_one.getresponse().status, 200, "the old connection")
    equal(call(server, stream)[0], "NOT_FOUND", "the old channel")
    put(CA.sign("third"), folder)
    server.process.send_signal(signal.SIGHUP)
    until("SIGHUP", lambda: "certificates loaded anew" in server.tail(200) and serial(server.grpc_port) != second, 5)
    third = serial(server.grpc_port)
    before = server.tail(10000).count("the old ones stay")
    with open(cert, "w") as f:
        f.write("-----BEGIN CERTIFICATE-----\nnot base64!\n-----END CERTIFICATE-----\n")
    until("the broken one is told of", lambda: serial(server.grpc_port) == third and server.tail(10000).count("the old ones stay") > before, 5, 0.2)
    for _ in range(8):
        equal(serial(server.grpc_port), third, "the old one stays")
        time.sleep(0.3)
    equal(server.tail(20000).count("the old ones stay"), before + 1, "lines about it")
    has(server.tail(), "cannot be used: RSA or ECDSA")
    shutil.copyfile(CA.sign("fourth")[0], cert)
    until("the mismatch is told of", lambda: serial(server.grpc_port) == third and "does not belong" in server.tail(), 5, 0.2)
    os.unlink(key)
    until("the missing key is told of", lambda: serial(server.grpc_port) == third and "No such file" in server.tail(), 5, 0.2)
    put(CA.sign("fifth"), folder)
    until("and the next good one is taken", lambda: serial(server.grpc_port) != third, 10, 0.2)
    open_one.close()
    end(server)


# --- configuration -----------------------------------------------------------------------------------------------------------------

def case_sentences():
    cert, key = CA.sign("one")
    other = CA.sign("two")[1]
    weak, odd = CA.sign("weak", kind="rsa1024"), CA.sign("odd", kind="ed25519")
    locked = os.path.join(FOLDER, "locked.key")
    subprocess.run(["openssl", "pkcs8", "-topk8", "-in", key, "-out", locked, "-passout", "pass:secret"], check=True)
    has(fails("--tls-cert", cert), "needs --tls-cert and --tls-key")
    has(fails("--tls", "tls"), "--tls self makes a certificate")
    has(fails("--tls", "mtls", "--tls-cert", cert, "--tls-key", key), "needs --tls-root-ca")
    has(fails("--tls", "self", "--tls-cert", cert, "--tls-key", key), "--tls self makes a certificate")
    has(fails("--tls-cert", "/nowhere.pem", "--tls-key", key), "the certificate file /nowhere.pem cannot be read: No such file")
    has(fails("--tls-cert", cert, "--tls-key", FOLDER), "the private key file", "no file")
    has(fails("--tls-cert", cert, "--tls-key", other), "does not belong to the certificate")
    has(fails("--tls-cert", key, "--tls-key", key), "holds no certificate")
    has(fails("--tls-cert", cert, "--tls-key", cert), "holds no private key")
    has(fails("--tls-cert", cert, "--tls-key", locked), "protected by a password")
    has(fails("--tls-cert", weak[0], "--tls-key", weak[1]), "fewer than 2048 bits")
    has(fails("--tls-cert", odd[0], "--tls-key", odd[1]), "RSA or ECDSA")
    has(fails("--tls", "mtls", "--tls-cert", cert, "--tls-key", key, "--tls-root-ca", CA.ca, "--tls-optional"), "exclude each other")
    p = subprocess.run([BIN, "server", "start", "--tls", "yes"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    equal(p.returncode, 2)
    has(p.stderr, "--tls: expected none, self, tls or mtls")


def case_unreadable_key():
    if os.getuid() != 0:
        raise AssertionError("needs root, to make a file that another user cannot read")
    cert, key = CA.sign("private")
    os.chmod(key, 0o000)
    with tempfile.TemporaryDirectory() as d:
        os.chmod(d, 0o777)
        for p in (FOLDER, CA.folder):
            os.chmod(p, 0o755)
        p = subprocess.run([BIN, "server", "start", "--data-dir", d + "/x", "--database-url", PG.url(), "--tls-cert", cert, "--tls-key", key],
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=20, user=65534, group=65534,
                           cwd="/", extra_groups=[])
    equal(p.returncode, 1, p.stderr)
    has(p.stderr, "the private key file", "Permission denied")


def case_hang_up():
    """Without certificates SIGHUP does nothing; when the terminal goes, the server ends well."""
    server = serve("hangup")
    server.process.send_signal(signal.SIGHUP)
    until("told so", lambda: "there are none" in server.tail(), 5)
    equal(clear(server.http_port, "/metrics")[0], 200)
    server.stop_server()
    master, slave = pty.openpty()
    p = subprocess.Popen(server.command(), env=server.environ(), stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                         preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
    os.close(slave)
    try:
        until("ready", lambda: server.get_status("/ready") == 200)
        os.close(master)
        equal(p.wait(15), 0, "exit code")
    finally:
        p.kill()
        p.wait()
    server.start()
    end(server)


def case_expired():
    cert, key = CA.sign("over", expired=True)
    server = serve("expired", "--tls-cert", cert, "--tls-key", key)
    has(server.tail(5000), "the certificate has expired")
    end(server)
    cert, key = CA.sign("soon", days=3)
    server = serve("soon", "--tls-cert", cert, "--tls-key", key)
    has(server.tail(5000), "the certificate expires soon")
    end(server)


def case_chain():
    """A certificate of an authority in between, sent along."""
    folder = os.path.join(FOLDER, "between")
    os.makedirs(folder)
    between = Authority(folder, "in between")
    csr = between.path("ca.csr")
    subprocess.run(["openssl", "req", "-new", "-key", between.path("ca.key"), "-subj", "/CN=in between", "-out", csr], check=True)
    with open(between.path("ca.ext"), "w") as f:
        f.write("basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n")
    subprocess.run(["openssl", "x509", "-req", "-in", csr, "-CA", CA.ca, "-CAkey", CA.path("ca.key"), "-set_serial", "77", "-days", "20",
                    "-extfile", between.path("ca.ext"), "-out", between.ca], check=True, stderr=subprocess.DEVNULL)
    cert, key = between.sign("leaf", kind="ec384")
    with open(cert, "a") as f, open(between.ca) as g:
        f.write(g.read())
    server = serve("chain", "--tls-cert", cert, "--tls-key", key)
    equal(get(server.grpc_port)[0], 200)
    equal(call(server, secure(server))[0], "NOT_FOUND")
    end(server)


def case_texts_in_the_environment():
    cert, key = CA.sign("inline")
    with open(cert) as c, open(key) as k:
        server = serve("inline", env={"SERVER_TLS_CERT": c.read(), "SERVER_TLS_KEY": k.read(), "SERVER_TLS_STRATEGY": "tls"})
    equal(get(server.grpc_port)[0], 200)
    if "SERVER_TLS" in server.tail(5000):
        raise AssertionError(server.tail(5000))
    end(server)


def case_self():
    server = serve("self", "--tls", "self")
    env = server.client_env()
    ca = env["HATCHET_CLIENT_TLS_ROOT_CA_FILE"]
    equal((env["HATCHET_CLIENT_TLS_STRATEGY"], env["HATCHET_CLIENT_TLS_SERVER_NAME"], env["HATCHET_CLIENT_SERVER_URL"].split(":")[0]),
          ("tls", "localhost", "https"))
    folder = os.path.dirname(ca)
    equal({f: oct(stat.S_IMODE(os.stat(os.path.join(folder, f)).st_mode)) for f in sorted(os.listdir(folder))},
          {"authority.pem": "0o600", "ca.pem": "0o644"})
    for name in ("localhost", "127.0.0.1"):
        equal(get(server.grpc_port, c=context(ca), name=name)[0], 200)
    with connect(server.grpc_port, context(ca)) as s:
        names = {v for _, v in s.getpeercert()["subjectAltName"]}
        if not {"localhost", "127.0.0.1", "0:0:0:0:0:0:0:1", socket.gethostname()} <= names:
            raise AssertionError(names)
    equal(call(server, secure(server, ca=ca))[0], "NOT_FOUND")
    first = serial(server.grpc_port, ca)
    with open(ca) as f:
        text = f.read()
    words = ["--data-dir", server.data_dir]
    p = subprocess.run([BIN, "server", "status", "--json", *words], stdout=subprocess.PIPE, text=True)
    has(p.stdout, f'"url":"https://localhost:{server.http_port}"')
    p = subprocess.run([BIN, "token", "create", *words, "--database-url", PG.url("self")], stdout=subprocess.PIPE, text=True)
    equal((p.returncode, p.stdout[:2]), (0, "ey"))
    server.stop_server()
    server.start()
    with open(ca) as f:
        equal(f.read(), text, "the authority after a restart")
    if serial(server.grpc_port, ca) == first:
        raise AssertionError("the same certificate again")
    server.stop_server()
    with open(os.path.join(folder, "authority.pem"), "w") as f:
        f.write("gone")
    server.spawn()
    equal(server.process.wait(10), 1)
    has(server.tail(), "authority.pem is damaged: remove it")
    os.unlink(os.path.join(folder, "authority.pem"))
    server.start()
    equal(get(server.grpc_port, c=context(ca))[0], 200)
    end(server)


def case_self_knows_its_names():
    server = serve("names", "--tls", "self", "--grpc-address", "workers.example:7077", "--url", "https://hatchet.example/x")
    ca = os.path.join(server.data_dir, "tls", "ca.pem")
    for name in ("workers.example", "hatchet.example"):
        with connect(server.grpc_port, context(ca), name):
            pass
    equal(server.client_env()["HATCHET_CLIENT_TLS_SERVER_NAME"], "workers.example")
    end(server)


def main():
    global PG, S, CA, FOLDER, OWN
    cases = {n[5:]: f for n, f in globals().items() if n.startswith("case_")}
    passed = failed = 0
    lock = threading.Lock()
    FOLDER = tempfile.mkdtemp(prefix="hatchet-tls-")
    PG = PgNode(durable=False)

    def one(name):
        nonlocal passed, failed
        began = time.monotonic()
        try:
            cases[name]()
            line, good = f"ok - {name} ({time.monotonic() - began:.1f} s)", True
        except Exception as e:
            line, good = f"not ok - {name}: {type(e).__name__}: {str(e)[:900]}\n" + traceback.format_exc(limit=-3), False
        with lock:
            print(line, flush=True)
            passed, failed = passed + good, failed + (not good)

    try:
        PG.start()
        CA = Authority(os.path.join(FOLDER, "ca"))
        cert, key = CA.sign("server")
        OWN = ["--tls-cert", cert, "--tls-key", key]
        S = serve("main", *OWN)
        names = sys.argv[1:] or list(cases)
        slow = threading.Thread(target=one, args=("slow_handshake",))  # it waits, and nothing else
        if "slow_handshake" in names:
            slow.start()
        for name in names:
            if name != "slow_handshake":
                one(name)
        if "slow_handshake" in names:
            slow.join()
        for server in list(SERVERS):
            if not server.alive():
                failed += 1
                print(f"not ok - a server ended: {server.tail()}")
        if S.alive() and S.stop_server() != 0:
            failed += 1
            print(f"not ok - the server did not end well: {S.tail()}")
    finally:
        for server in SERVERS:
            server.stop()
            server.close()
        PG.stop()
        shutil.rmtree(FOLDER, ignore_errors=True)
    print(f"{passed} passed, {failed} failed, 0 skipped", flush=True)
    os._exit(failed > 0)


if __name__ == "__main__":
    main()
