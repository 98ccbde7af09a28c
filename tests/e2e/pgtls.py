#!/usr/bin/env python3
"""TLS to Postgres as it ships: our libpq against a real server, by a small client (pqprobe.c) and by hatchet.  pgtls.py [NAME...]

PQPROBE=program takes a client that was built otherwise, such as one with sanitizers."""
import importlib
import json
import os
import random
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))
from certs import Authority, openssl  # noqa: E402
from hatchet import BIN, TOP, PgNode, free_port, spawn, until  # noqa: E402
from relay import Relay  # noqa: E402

DEPS = os.path.join(TOP, "build", "deps")
FOLDER = PROBE = PG = PLAIN = CA = OTHER = None
TESTS, PASSED, FAILED, SKIPPED = [], [], [], []


def test(f):
    TESTS.append(f)
    return f


def equal(got, want, what=""):
    if got != want:
        raise AssertionError(f"{what}: got {got!r}, want {want!r}")


def has(text, *parts):
    for part in parts:
        if part not in text:
            raise AssertionError(f"{part!r} is not in {text[-900:]!r}")


class Pki(Authority):
    """Certificates of all kinds, and lists of those revoked."""
    KINDS = {"rsa": ["-newkey", "rsa:2048"], "ec": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"],
             "ec384": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp384r1"], "pss": ["-newkey", "rsa:2048"]}

    def __init__(self, folder, name="test authority", kind="rsa"):
        os.makedirs(folder, exist_ok=True)
        self.folder, self.ca = folder, os.path.join(folder, "ca.pem")
        openssl("req", "-x509", *self.KINDS[kind], "-nodes", "-days", "30", "-subj", f"/CN={name}", "-keyout", self.path("ca.key"),
                "-out", self.ca, "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        self.database(folder)

    def database(self, folder):
        with open(self.path("index"), "w"), open(self.path("index.attr"), "w"):
            pass
        for name in ("serial", "crlnumber"):
            with open(self.path(name), "w") as f:
                f.write("0" + os.urandom(7).hex() + "1\n")
        with open(self.path("cnf"), "w") as f:
            f.write(f"[ca]\ndefault_ca=d\n[d]\ndatabase={folder}/index\nserial={folder}/serial\ncrlnumber={folder}/crlnumber\n"
                    f"new_certs_dir={folder}\ndefault_md=sha256\nunique_subject=no\npolicy=p\ndefault_days=30\ndefault_crl_days=30\n"
                    f"certificate={self.ca}\nprivate_key={folder}/ca.key\n[p]\ncommonName=optional\n")

    def issue(self, name, names="DNS:db.test", cn=None, kind="rsa", md="sha256", use="serverAuth", more=(), ext=""):
        key, csr, crt, e = (self.path(f"{name}.{x}") for x in ("key", "csr", "pem", "ext"))
        openssl("req", "-new", *self.KINDS[kind], "-nodes", "-subj", f"/CN={cn or name}", "-keyout", key, "-out", csr)
        with open(e, "w") as f:
            f.write(ext or f"extendedKeyUsage={use}\nkeyUsage=critical,digitalSignature,keyEncipherment\n")
            f.write(f"subjectAltName={names}\n" if names else "")
        pss = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:-1"] if kind == "pss" else []
        openssl("ca", "-batch", "-notext", "-config", self.path("cnf"), "-md", md, "-in", csr, "-extfile", e, "-out", crt, *pss, *more)
        os.chmod(key, 0o600)
        return crt, key

    def crl(self, name, *revoked, more=()):
        """All that was revoked so far, and these."""
        for crt in revoked:
            openssl("ca", "-config", self.path("cnf"), "-revoke", crt)
        out = self.path(name)
        openssl("ca", "-config", self.path("cnf"), "-gencrl", "-out", out, *more)
        return out


class Tls(PgNode):
    """Postgres with TLS, whose certificate changes while it runs."""

    def __init__(self, **more):
        super().__init__(durable=False, tcp=True, **more)
        with open(os.path.join(self.data, "pg_hba.conf"), "w") as f:
            f.write("local all all trust\nhostnossl tlsonly all all reject\nhostssl plainonly all all reject\nhostssl certs all all cert\n"
                    "host all scram all scram-sha-256\nhost all all all trust\n")

    def start(self):
        """With an OpenSSL that would present even what we must refuse."""
        conf = os.path.join(self.dir, "openssl.cnf")
        with open(conf, "w") as f:
            f.write("openssl_conf=a\n[a]\nssl_conf=b\n[b]\nsystem_default=c\n[c]\nCipherString=DEFAULT@SECLEVEL=0\n")
        os.chmod(conf, 0o644)
        os.environ["OPENSSL_CONF"] = conf
        try:
            super().start()
        finally:
            del os.environ["OPENSSL_CONF"]

    def take(self, path, name):
        to = os.path.join(self.dir, name)
        shutil.copy(path, to)
        os.chmod(to, 0o600)
        if self.user:
            os.chown(to, self.user.pw_uid, self.user.pw_gid)
        return to

    def set(self, **values):
        """As the postmaster has it: its children inherit what it read."""
        for k, v in values.items():
            self.sql(f"alter system set {k} = '{v}'")
        self.sql("select pg_reload_conf()")
        until("the settings are read", lambda: all(self.sql(f"show {k}") == [[v]] for k, v in values.items()))

    def present(self, pair, chain=None):
        n = f"{random.getrandbits(64):x}"
        crt = pair[0]
        if chain:
            crt = os.path.join(FOLDER, n)
            with open(crt, "w") as f:
                for path in (pair[0], chain):
                    with open(path) as part:
                        f.write(part.read())
        self.set(ssl_cert_file=self.take(crt, n + ".crt"), ssl_key_file=self.take(pair[1], n + ".key"), ssl="on")
        with open(pair[0]) as f:
            want = ssl.PEM_cert_to_DER_cert(f.read())
        until("the server presents that certificate", lambda: self.shown() == want)

    def shown(self):
        """The certificate that a new connection gets."""
        any_one = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        any_one.check_hostname, any_one.verify_mode = False, ssl.CERT_NONE
        any_one.set_ciphers("DEFAULT@SECLEVEL=0")
        with socket.create_connection(("127.0.0.1", self.port)) as s:
            s.sendall(struct.pack("!II", 8, 80877103))
            if s.recv(1) == b"S":
                with any_one.wrap_socket(s) as t:
                    return t.getpeercert(binary_form=True)


def probe(options, job="who", n=1, pg=None, env=None, db="postgres", port=None, user="hatchet", seconds=120):
    """(did it end well, what it said)"""
    words = f"hostaddr=127.0.0.1 port={port or (pg or PG).port} user={user} dbname={db} connect_timeout=20 {options}"
    p = subprocess.run([PROBE, words, job, str(n)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                       timeout=seconds, env={"HOME": os.path.join(FOLDER, "home"), "PATH": os.environ["PATH"], **(env or {})})
    if p.returncode not in (0, 1) or not p.stdout.startswith(("OK", "FAIL", "ready")):
        raise AssertionError(f"the client ended with {p.returncode}: {p.stdout[-3000:]}")
    return p.returncode == 0 and p.stdout.startswith("OK"), p.stdout.strip()


def good(options, *parts, **more):
    ok, said = probe(options, **more)
    if not ok:
        raise AssertionError(f"{options}: {said}")
    has(said, *parts)


def refused(options, *parts, **more):
    ok, said = probe(options, **more)
    if ok:
        raise AssertionError(f"{options}: accepted: {said}")
    has(said, *parts)
    # one sentence; the address in front and libpq's three lines on a broken socket are its own
    if said.count("|") > 2:
        raise AssertionError(f"{options}: many words: {said}")


def full(host="db.test", ca=None):
    return f"host={host} sslmode=verify-full sslrootcert={ca or CA.ca}"


# --- modes

@test
def every_mode():
    """Against a server with TLS, one without, one that wants it and one that does not."""
    tls, plain = "tls=TLSv1.3", "tls=-"
    for mode in ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"):
        o = f"host=db.test sslmode={mode} sslrootcert={CA.ca}"
        strong = mode in ("require", "verify-ca", "verify-full")
        good(o, plain if mode in ("disable", "allow") else tls)
        if strong:
            refused(o, "server does not support SSL", pg=PLAIN)
        else:
            good(o, plain, pg=PLAIN)
        if mode == "disable":
            refused(o, "reject", db="tlsonly")
        else:
            good(o, tls, db="tlsonly")
        if strong:
            refused(o, "reject", db="plainonly")
        else:
            good(o, plain, db="plainonly")


@test
def attributes():
    good(full(), "library=mbedTLS", "protocol=TLSv1.3", "key_bits=256", "compression=off", "cipher=TLS1-3-",
         "names=library,key_bits,cipher,compression,protocol,alpn,")
    good("host=db.test sslmode=disable", "tls=- names=")


@test
def authorities():
    for mode in ("verify-ca", "verify-full", "require"):
        refused(f"host=db.test sslmode={mode} sslrootcert={OTHER.ca}", "certificate verify failed: unknown authority",
                "CN=test authority")
    for mode in ("verify-ca", "verify-full"):
        refused(f"host=db.test sslmode={mode} sslrootcert={FOLDER}/none", f'root certificate file "{FOLDER}/none" does not exist')
        refused(f"host=db.test sslmode={mode}", "/home/.postgresql/root.crt", "does not exist")
    good(f"host=db.test sslmode=require sslrootcert={FOLDER}/none")
    both = os.path.join(FOLDER, "both.pem")
    with open(both, "w") as f:
        for ca in (OTHER, CA):
            with open(ca.ca) as one:
                f.write("a comment\n" + one.read())
    good(full(ca=both))
    der = os.path.join(FOLDER, "ca.der")
    openssl("x509", "-in", CA.ca, "-outform", "DER", "-out", der)
    good(full(ca=der))
    for name, text in (("empty.pem", ""), ("words.pem", "no certificate\n"),
                       ("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), ("cut.pem", "-----BEGIN CERTIFICATE-----\nMIIC")):
        path = os.path.join(FOLDER, name)
        with open(path, "w") as f:
            f.write(text)
        refused(full(ca=path), f'root certificate file "{path}": no certificate can be read from it')
    refused(full(ca=FOLDER), "not a file")
    fifo = os.path.join(FOLDER, "fifo")
    os.mkfifo(fifo)
    refused(full(ca=fifo), "not a file")


@test
def home_folder():
    """What stands in ~/.postgresql is taken without being named."""
    home = os.path.join(FOLDER, "home2")
    os.makedirs(os.path.join(home, ".postgresql"))
    env = {"HOME": home}
    shutil.copy(CA.ca, os.path.join(home, ".postgresql", "root.crt"))
    good("host=db.test sslmode=verify-full", "tls=TLSv1.3", env=env)
    shutil.copy(OTHER.ca, os.path.join(home, ".postgresql", "root.crt"))
    refused("host=db.test sslmode=require", "unknown authority", env=env)
    shutil.copy(CA.ca, os.path.join(home, ".postgresql", "root.crt"))
    crt, key = CA.issue("hatchet", names="", use="clientAuth")
    shutil.copy(crt, os.path.join(home, ".postgresql", "postgresql.crt"))
    refused("host=db.test sslmode=require", "postgresql.key", "No such file", env=env, db="certs")
    shutil.copy(key, os.path.join(home, ".postgresql", "postgresql.key"))
    os.chmod(os.path.join(home, ".postgresql", "postgresql.key"), 0o600)
    good("host=db.test sslmode=verify-full", env=env, db="certs")
    other = CA.issue("on-the-list")
    shutil.copy(CA.crl("home.crl", other[0]), os.path.join(home, ".postgresql", "root.crl"))
    good("host=db.test sslmode=verify-full", env=env)
    PG.present(other)
    try:
        refused("host=db.test sslmode=verify-full", "certificate verify failed: revoked", env=env)
    finally:
        PG.present(SERVER)


@test
def system_roots():
    good("host=db.test sslrootcert=system", env={"SSL_CERT_FILE": CA.ca})
    refused("host=db.test sslrootcert=system", "unknown authority", env={"SSL_CERT_FILE": OTHER.ca})
    refused("host=other.test sslrootcert=system", "does not match", env={"SSL_CERT_FILE": CA.ca})
    refused("host=db.test sslrootcert=system sslmode=require", "weak sslmode", env={"SSL_CERT_FILE": CA.ca})
    refused("host=db.test sslrootcert=system", "No such file", env={"SSL_CERT_FILE": FOLDER + "/none"})
    bundle = "/etc/ssl/certs/ca-certificates.crt"
    if os.path.exists(bundle):
        refused("host=db.test sslrootcert=system", "unknown authority")


# --- the server's certificate

@test
def names():
    """verify-full against the names of many certificates; verify-ca does not mind."""
    table = [
        # names, common name, hosts that match, hosts that do not
        ("DNS:db.test", "x", ["db.test", "DB.Test"], ["test", "a.db.test", "db.tes", "x", "127.0.0.1"]),
        ("DNS:a.test,DNS:b.test", "c.test", ["a.test", "b.test"], ["c.test"]),
        ("DNS:*.db.test", "x", ["a.db.test", "A.DB.TEST"], ["db.test", "a.b.db.test", ".db.test", "xdb.test"]),
        ("DNS:a*.db.test", "x", [], ["ab.db.test", "a.db.test"]),
        ("DNS:*", "x", [], ["db", "db.test"]),
        ("DNS:*.0.0.1", "x", [], ["127.0.0.1"]),
        ("IP:127.0.0.1", "x", ["127.0.0.1"], ["127.0.0.2", "::1", "db.test"]),
        ("IP:::1", "x", ["::1", "0:0:0:0:0:0:0:1"], ["::2", "127.0.0.1"]),
        ("IP:127.0.0.1,IP:fe80::12,DNS:db.test", "x", ["127.0.0.1", "fe80::12", "db.test"], ["fe80::13", "x"]),
        ("DNS:127.0.0.1", "x", ["127.0.0.1"], ["127.0.0.2"]),
        ("", "db.test", ["db.test"], ["x.test"]),
        ("", "*.db.test", ["a.db.test"], ["db.test"]),
        ("", "127.0.0.1", ["127.0.0.1"], ["127.0.0.2"]),
        ("IP:127.0.0.1", "db.test", ["127.0.0.1", "db.test"], ["127.0.0.3"]),
        ("DNS:b.test", "127.0.0.1", ["b.test", "127.0.0.1"], ["a.test"]),
        ("email:a@db.test,URI:https://db.test", "db.test", ["db.test"], ["a@db.test"]),
        (",".join(f"DNS:h{i}.test" for i in range(60)), "x", ["h0.test", "h59.test"], ["h60.test"]),
    ]
    try:
        for i, (san, cn, match, differ) in enumerate(table):
            PG.present(CA.issue(f"name{i}", names=san, cn=cn, kind="ec"))
            for host in match:
                good(full(host))
            for host in differ:
                first = (san.split(",")[0].split(":", 1)[1] if san.startswith(("DNS", "IP")) else cn)
                refused(full(host), f'server certificate for "{first}"', f'does not match host name "{host}"')
            good(f"host=nothing.test sslmode=verify-ca sslrootcert={CA.ca}")
    finally:
        PG.present(SERVER)


@test
def bad_certificates():
    old = ["-startdate", "20200101000000Z", "-enddate", "20200201000000Z"]
    early = ["-startdate", "20400101000000Z", "-enddate", "20410201000000Z"]
    table = [("old", {"more": old}, "expired"), ("early", {"more": early}, "not valid yet"),
             ("weak", {"md": "sha1"}, "signed with a weak hash"), ("client", {"use": "clientAuth"}, "not made for a server")]
    try:
        for name, how, why in table:
            PG.present(CA.issue(name, **how))
            refused(full(), f"certificate verify failed: {why}", f"CN={name}")
            refused(f"host=db.test sslmode=verify-ca sslrootcert={CA.ca}", f"certificate verify failed: {why}")
            good(f"host=db.test sslmode=require sslrootcert={FOLDER}/none")
        # signed by itself, and that very certificate trusted
        crt, key = os.path.join(FOLDER, "self.pem"), os.path.join(FOLDER, "self.key")
        openssl("req", "-x509", *Pki.KINDS["ec"], "-nodes", "-days", "9", "-subj", "/CN=db.test", "-keyout", key, "-out", crt)
        PG.present((crt, key))
        good(full(ca=crt))
        refused(full(), "unknown authority")
    finally:
        PG.present(SERVER)


@test
def chains():
    """An authority between: sent by the server, or known to the client, or neither."""
    mid = CA.issue("mid", names="", cn="middle", ext="basicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign,cRLSign\n")
    folder = os.path.join(FOLDER, "mid")
    os.makedirs(folder)
    m = Pki.__new__(Pki)
    m.folder, m.ca = folder, mid[0]
    shutil.copy(mid[1], m.path("ca.key"))
    m.database(folder)
    leaf = m.issue("leaf")
    try:
        PG.present(leaf, chain=mid[0])
        good(full())
        # a list of each authority of the chain is wanted, and each counts
        low, high = m.crl("low.crl"), CA.crl("high.crl")
        both = os.path.join(FOLDER, "chain.crl")
        with open(both, "w") as f:
            for path in (low, high):
                with open(path) as one:
                    f.write(one.read())
        good(full() + f" sslcrl={both}")
        refused(full() + f" sslcrl={low}", "no revocation list of its authority was given")
        refused(full() + f" sslcrl={high}", "no revocation list of its authority was given")
        with open(both, "w") as f:
            for path in (low, CA.crl("high.crl", mid[0])):
                with open(path) as one:
                    f.write(one.read())
        refused(full() + f" sslcrl={both}", "certificate verify failed: revoked", "CN=middle")
        PG.present(leaf)
        refused(full(), "unknown authority")
        good(full(ca=mid[0]))
        # what is no authority signs nothing
        fake = CA.issue("fake", cn="fake")
        folder = os.path.join(FOLDER, "fake")
        os.makedirs(folder)
        x = Pki.__new__(Pki)
        x.folder, x.ca = folder, fake[0]
        shutil.copy(fake[1], x.path("ca.key"))
        x.database(folder)
        PG.present(x.issue("below"), chain=fake[0])
        refused(full(), "certificate verify failed")
    finally:
        PG.present(SERVER)


@test
def revocation():
    ca = Pki(os.path.join(FOLDER, "crl"), "listing authority", kind="ec")
    one, two = ca.issue("one"), ca.issue("two")
    empty, some = ca.crl("empty.crl"), ca.crl("some.crl", one[0])
    late = ca.crl("late.crl", more=["-crl_lastupdate", "20200101000000Z", "-crl_nextupdate", "20200201000000Z"])
    der = os.path.join(FOLDER, "some.der")
    openssl("crl", "-in", some, "-outform", "DER", "-out", der)
    folders = {}
    for name, path in (("d-empty", None), ("d-some", some), ("d-none", empty)):
        folders[name] = os.path.join(FOLDER, name)
        os.makedirs(folders[name])
        with open(os.path.join(folders[name], "README"), "w") as f:
            f.write("the lists of our authorities\n")
        if path:
            shutil.copy(path, os.path.join(folders[name], "0a1b2c3d.r0"))
            os.symlink("0a1b2c3d.r0", os.path.join(folders[name], "list.crl"))
    base = full(ca=ca.ca)
    try:
        PG.present(one)
        good(base)
        good(base + f" sslcrl={empty}")
        for lists in (f"sslcrl={some}", f"sslcrl={der}", f"sslcrldir={folders['d-some']}", f"sslcrl={empty} sslcrldir={folders['d-some']}"):
            refused(f"{base} {lists}", "certificate verify failed: revoked", "CN=one")
            refused(f"host=db.test sslmode=verify-ca sslrootcert={ca.ca} {lists}", "revoked")
        good(f"{base} sslcrldir={folders['d-none']}")
        PG.present(two)
        good(f"{base} sslcrl={some}")
        good(f"{base} sslcrldir={folders['d-some']}")
        refused(f"{base} sslcrl={late}", "the revocation list is out of date")
        refused(f"{base} sslcrl={CA.crl('foreign.crl')}", "no revocation list of its authority was given")
        refused(f"{base} sslcrldir={folders['d-empty']}", "no revocation list of its authority was given")
        refused(f"{base} sslcrl={FOLDER}/none", "No such file")
        refused(f"{base} sslcrldir={FOLDER}/none", "No such file")
        refused(f"{base} sslcrl={ca.ca}", "no revocation list can be read from it")
        with open(os.path.join(folders["d-some"], "bad.crl"), "w") as f:
            f.write("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n")
        refused(f"{base} sslcrldir={folders['d-some']}", "bad.crl: no revocation list")
    finally:
        PG.present(SERVER)


# --- the client's certificate

@test
def client_certificates():
    def use(crt, key, more=""):
        return f"{full()} sslcert={crt} sslkey={key} {more}"

    crt, key = CA.issue("client", names="", cn="hatchet", use="clientAuth")
    ec = CA.issue("client-ec", names="", cn="hatchet", use="clientAuth", kind="ec")  # the one curve that the server takes in TLS 1.2
    for version in ("TLSv1.2", "TLSv1.3"):
        v = f"ssl_max_protocol_version={version} ssl_min_protocol_version={version}"
        good(use(crt, key, v), f"protocol={version}", db="certs")
        good(use(*ec, v), db="certs")
        refused(full() + " " + v, "valid client certificate", db="certs")
        refused(use(FOLDER + "/none", key, v), "valid client certificate", db="certs")
        refused(use(crt, key, v + " sslcertmode=disable"), "valid client certificate", db="certs")
        refused(use(*CA.issue("client-joe", names="", cn="joe", use="clientAuth"), v), "certificate authentication failed", db="certs")
        refused(use(*OTHER.issue("client-other", names="", cn="hatchet", use="clientAuth"), v), "unknown authority (alert 48)", db="certs")
        gone = CA.issue("client-old", names="", cn="hatchet", use="clientAuth", more=["-startdate", "20200101000000Z", "-enddate", "20200201000000Z"])
        refused(use(*gone, v), "certificate expired (alert 45)", db="certs")
    refused(use(crt, ec[1]), "does not belong to the client certificate")
    refused(use(crt, FOLDER + "/none"), f'private key file "{FOLDER}/none": No such file')
    refused(use(key, key), "client certificate file", "no certificate can be read from it")
    copy = os.path.join(FOLDER, "certificate.key")
    shutil.copy(crt, copy)
    os.chmod(copy, 0o600)
    refused(use(crt, copy), "no private key can be read from it")
    # a password: each way in which openssl writes it
    n = 0
    for how in (["pkcs8", "-topk8", "-v2", "aes-256-cbc"], ["pkcs8", "-topk8", "-v2", "aes-128-cbc", "-v2prf", "hmacWithSHA512"],
                ["pkcs8", "-topk8", "-v2", "des3"], ["rsa", "-traditional", "-aes256"], ["pkcs8", "-topk8", "-outform", "DER", "-v2", "aes-256-cbc"]):
        n += 1
        locked = os.path.join(FOLDER, f"locked{n}.key")
        openssl(*how, "-in", key, "-out", locked, "-passout", "pass:geheim")
        os.chmod(locked, 0o600)
        good(use(crt, locked, "sslpassword=geheim"), db="certs")
        refused(use(crt, locked, "sslpassword=falsch"), f'private key file "{locked}": ')
        refused(use(crt, locked), f'private key file "{locked}": ')
    openssl("rsa", "-traditional", "-aes256", "-in", key, "-out", locked, "-passout", "pass:geheim")
    refused(use(crt, locked), "it is encrypted and no sslpassword was given")
    refused(use(crt, locked, "sslpassword=falsch"), "sslpassword does not open it")
    # who else may read the key
    for mode, owner, ok in ((0o600, 0, True), (0o640, 0, True), (0o644, 0, False), (0o660, 0, False), (0o400, 0, True),
                            (0o600, 1, True), (0o640, 1, False), (0o604, 1, False)):
        if owner and os.getuid() != 0:
            continue
        copy = os.path.join(FOLDER, "moded.key")
        shutil.copy(key, copy)
        os.chown(copy, owner if os.getuid() == 0 else -1, -1)
        os.chmod(copy, mode)
        if os.getuid() != 0 and mode == 0o640:
            ok = False
        (good if ok else refused)(use(crt, copy), *([] if ok else ["its mode must be 0600"]), db="certs")


@test
def channel_binding():
    try:
        for kind in ("rsa", "ec", "ec384", "pss"):
            for md in ("sha256", "sha384", "sha512"):
                # the hash is that of the signature, so the authority's key does not matter, its choice does
                ca = CA if kind in ("rsa", "pss") else ECA
                PG.present(ca.issue(f"cb-{kind}-{md}", kind=kind, md=md))
                for version in ("TLSv1.2", "TLSv1.3"):
                    if kind == "pss" and md != "sha256":
                        continue
                    good(f"{full(ca=ca.ca)} channel_binding=require password=geheim ssl_max_protocol_version={version}", f"tls={version}", user="scram")
        PG.present(CA.issue("cb-sha1", md="sha1"))
        good("host=db.test sslmode=require channel_binding=require password=geheim", user="scram")
    finally:
        PG.present(SERVER)
    refused("host=db.test sslmode=require channel_binding=require", "channel binding required")
    refused("host=db.test sslmode=disable channel_binding=require password=geheim", "channel binding required", user="scram")
    refused(f"{full()} channel_binding=require password=falsch", "password authentication failed", user="scram")
    good(f"{full()} channel_binding=disable password=geheim", user="scram")


@test
def versions():
    v12, v13 = "TLSv1.2", "TLSv1.3"
    good(full() + f" ssl_max_protocol_version={v12}", f"tls={v12}", f"protocol={v12}")
    good(full() + f" ssl_min_protocol_version={v13}", f"tls={v13}", f"protocol={v13}")
    good(full() + f" ssl_min_protocol_version=TLSv1 ssl_max_protocol_version={v12}", f"tls={v12}")
    refused(full() + f" ssl_min_protocol_version={v13} ssl_max_protocol_version={v12}", "invalid SSL protocol version range")
    refused(full() + " ssl_min_protocol_version=TLSv1 ssl_max_protocol_version=TLSv1.1", "ssl_max_protocol_version=TLSv1.1: this libpq speaks")
    refused(full() + " ssl_min_protocol_version=SSLv3", "invalid")
    try:
        PG.set(ssl_min_protocol_version=v13)
        good(full(), f"tls={v13}")
        refused(full() + f" ssl_max_protocol_version={v12}", "the server speaks no version from TLSv1.2 to TLSv1.2")
        PG.set(ssl_min_protocol_version=v12, ssl_max_protocol_version=v12)
        good(full(), f"tls={v12}")
        refused(full() + f" ssl_min_protocol_version={v13}", "the server speaks no version from TLSv1.3 to TLSv1.3")
        PG.set(ssl_min_protocol_version="TLSv1", ssl_max_protocol_version="TLSv1.1")
        refused(full(), "TLS: the server")
    finally:
        PG.set(ssl_min_protocol_version=v12, ssl_max_protocol_version="")
    for suite in ("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-CHACHA20-POLY1305", "DHE-RSA-AES256-GCM-SHA384"):
        try:
            PG.set(ssl_ciphers=suite)
            good(full() + f" ssl_max_protocol_version={v12}")
        finally:
            PG.set(ssl_ciphers="HIGH:MEDIUM:+3DES:!aNULL")


# --- much data, and its end

@test
def big_writes():
    """64 MiB of parameters in a pipeline; a server that sleeps while all is given to libpq; a slow line in odd pieces."""
    for version in ("TLSv1.2", "TLSv1.3"):
        v = f" ssl_max_protocol_version={version}"
        good(full() + v, "256 chunks", job="push", n=64)
        good(full() + v, "256 chunks", job="lazy", n=64)
        r = Relay(PG.port, slow=True)
        good(full() + v, "72 chunks", job="lazy", n=18, port=r.port)
        r.close()
        if r.bytes[0] < 18 << 20:
            raise AssertionError(f"only {r.bytes[0]} bytes came by")


@test
def big_reads():
    for version in ("TLSv1.2", "TLSv1.3"):
        v = f" ssl_max_protocol_version={version}"
        good(full() + v, "64 rows, 67108864 bytes", job="pull", n=64)
        r = Relay(PG.port, slow=True)
        good(full() + v, "4 rows", job="pull", n=4, port=r.port)
        r.close()


@test
def broken_lines():
    """Cut off or spoiled at many places: an error, never a hang or half a result taken for a whole."""
    for version in ("TLSv1.2", "TLSv1.3"):
        v = f" ssl_max_protocol_version={version}"
        for cut in (1, 100, 1000, 2000, 4000, 100000, 5000000):
            r = Relay(PG.port, cut=cut)
            refused(full() + v, job="pull", n=16, port=r.port)
            r.close()
        # a length that was spoiled makes the client wait for bytes that do not come
        for spoil in (100, 1000, 2000, 4000, 100000, 5000000):
            r = Relay(PG.port, spoil=spoil)
            refused(full() + v, job="pull", n=16, port=r.port, env={"PQPROBE_WAIT_MS": "1000"})
            r.close()
    r = Relay(PG.port, spoil=100000)
    refused(full(), "TLS: the connection is broken", job="pull", n=16, port=r.port)
    r.close()


def waiting(**more):
    words = f"hostaddr=127.0.0.1 port={PG.port} user=hatchet dbname=postgres {full()}"
    p = spawn([PROBE, words, "wait"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={"HOME": FOLDER})
    return p, int(p.stdout.readline().split()[1])


@test
def killed_server():
    p, pid = waiting()
    PG.sql(f"select pg_terminate_backend({pid})")
    has(p.communicate(timeout=30)[0], "terminating connection due to administrator command")
    p, pid = waiting()
    PG.kill9()
    said = p.communicate(timeout=30)[0]
    PG.start()
    has(said, "FAIL query: ")
    if not any(w in said for w in ("without notice", "closed the TLS connection", "closed the connection unexpectedly", "terminating connection")):
        raise AssertionError(said)
    good(full())


@test
def cancels():
    for version in ("TLSv1.2", "TLSv1.3"):
        good(full() + f" ssl_max_protocol_version={version}", "OK 57014", job="cancel")
    good("host=db.test sslmode=disable", "OK 57014", job="cancel")
    good(full(), "OK 57014", job="cancel", db="tlsonly")


@test
def no_tls_behind_it():
    """What answers S and then no TLS, or nothing, or too much."""
    r = Relay(PG.port, inject=b"E")
    refused(full(), "received unencrypted data after SSL response", port=r.port)
    r.close()
    for answer, want in ((b"S", "closed"), (b"", "closed"), (b"X", "invalid response")):
        s = socket.socket()
        s.bind(("127.0.0.1", 0))
        s.listen()

        def serve(s=s, answer=answer):
            c, _ = s.accept()
            c.recv(8)
            if answer:
                c.sendall(answer)
                if answer == b"S":
                    c.recv(1)
            c.close()
        t = threading.Thread(target=serve, daemon=True)
        t.start()
        refused(full(), want, port=s.getsockname()[1])
        t.join(10)
        s.close()
    for reply in (b"\x15\x03\x03\x00\x02\x02\x28", b"\x15\x03\x03\x00\x02\x02\x46", b"\x16\x03\x03\x40\x01" + b"A" * 100, os.urandom(2000), b"\x00" * 300):
        s = socket.socket()
        s.bind(("127.0.0.1", 0))
        s.listen()

        def talk(s=s, reply=reply):
            c, _ = s.accept()
            c.recv(8)
            c.sendall(b"S")
            c.recv(5)
            c.sendall(reply)
            try:
                while c.recv(4096):
                    pass
            except OSError:
                pass
            c.close()
        t = threading.Thread(target=talk, daemon=True)
        t.start()
        refused(full(), port=s.getsockname()[1], env={"PQPROBE_WAIT_MS": "1000"})
        s.close()


@test
def direct():
    """sslnegotiation=direct: Postgres 17 and 18 speak it, older ones do not."""
    refused(full() + " sslnegotiation=direct", "sslnegotiation" if False else "FAIL connect")
    refused("host=db.test sslmode=prefer sslnegotiation=direct", "weak sslmode")
    try:
        builds = importlib.import_module("pg-versions")
    except ImportError as e:
        SKIPPED.append("direct")
        print(f"skipped - direct: {e}")
        return
    for major in (17, 18):
        d = tempfile.mkdtemp(prefix="hatchet-pgbin-")
        os.chmod(d, 0o755)
        pg = None
        try:
            pg = Tls(bin_dir=builds.unpack(major, d))
            pg.start()
            pg.sql("set password_encryption = 'scram-sha-256'; create role scram login password 'geheim'")
            pg.present(SERVER)
            o = f"{full()} sslnegotiation=direct"
            for version in ("TLSv1.2", "TLSv1.3"):
                good(f"{o} ssl_max_protocol_version={version}", f"tls={version}", "alpn=postgresql", pg=pg)
            good(f"{full()}", "tls=TLSv1.3", "alpn=postgresql", pg=pg)
            good(f"{o} channel_binding=require password=geheim", pg=pg, user="scram")
            good(o, "OK 57014", job="cancel", pg=pg)
            good(o, "64 chunks", job="lazy", n=16, pg=pg)
            refused(f"{full(ca=OTHER.ca)} sslnegotiation=direct", "unknown authority", pg=pg)
            refused(f"{full('x.test')} sslnegotiation=direct", "does not match", pg=pg)
        finally:
            if pg:
                pg.stop()
            shutil.rmtree(d)


@test
def direct_without_alpn():
    """Something that speaks TLS at once but is no Postgres."""
    port = free_port()
    p = spawn(["openssl", "s_server", "-accept", str(port), "-cert", SERVER[0], "-key", SERVER[1], "-quiet"], stdout=subprocess.DEVNULL,
              stderr=subprocess.DEVNULL)
    try:
        until("s_server listens", lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0)
        refused(full() + " sslnegotiation=direct", 'did not choose the protocol "postgresql"', port=port)
    finally:
        p.kill()
        p.wait()


# --- hatchet itself

@test
def hatchet_itself():
    """The program as shipped, by URL: the schema, then what doctor says."""
    PG.sql("create database h")
    base = f"postgresql://hatchet@db.test:{PG.port}/h?hostaddr=127.0.0.1"

    def run(words, query, env=None):
        return subprocess.run([BIN, *words, "--database-url", base + query], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=60, env={**os.environ, **(env or {})})

    crt, key = CA.issue("hatchet-client", names="", cn="hatchet", use="clientAuth")
    strict = f"&sslmode=verify-full&sslrootcert={CA.ca}"
    p = run(["migrate"], strict + f"&sslcert={crt}&sslkey={key}")
    equal(p.returncode, 0, p.stderr)
    for query in ("&sslmode=disable", "&sslmode=prefer", "&sslmode=require", f"&sslmode=verify-ca&sslrootcert={CA.ca}", strict):
        p = run(["doctor", "--json"], query)
        equal(json.loads(p.stdout)["ok"], True, query + p.stdout + p.stderr)
    for query, why in ((f"&sslmode=verify-full&sslrootcert={OTHER.ca}", "certificate verify failed: unknown authority"),
                       (strict.replace("ca.pem", "none"), "does not exist")):
        p = run(["migrate"], query)
        equal(p.returncode, 1, query)
        has(p.stderr, why)
    p = run(["doctor", "--json"], "&sslrootcert=system", env={"SSL_CERT_FILE": CA.ca})
    equal(json.loads(p.stdout)["ok"], True, p.stdout)
    base = base.replace("db.test", "other.test")
    p = run(["migrate"], strict)
    equal(p.returncode, 1, p.stdout)
    has(p.stderr, '"db.test"', '"other.test"')


def build_probe():
    if os.environ.get("PQPROBE"):
        return os.path.abspath(os.environ["PQPROBE"])
    lib, to = os.path.join(DEPS, "x64"), os.path.join(FOLDER, "pqprobe")
    subprocess.run([f"{lib}/bin/cc", "-O1", "-g", "-fPIE", "-static-pie", "-I", f"{lib}/include", os.path.join(HERE, "pqprobe.c"), "-o", to,
                    *(f"{lib}/lib/{a}.a" for a in ("libpq", "libmbedtls", "libmbedx509", "libmbedcrypto"))], check=True)
    return to


def main():
    global FOLDER, PROBE, PG, PLAIN, CA, OTHER, ECA, SERVER
    FOLDER = tempfile.mkdtemp(prefix="hatchet-pgtls-")
    os.makedirs(os.path.join(FOLDER, "home"))
    wanted = sys.argv[1:]
    nodes = []
    try:
        PROBE = build_probe()
        CA, OTHER = Pki(os.path.join(FOLDER, "ca")), Pki(os.path.join(FOLDER, "other"), "other authority", kind="ec")
        ECA = Pki(os.path.join(FOLDER, "eca"), "elliptic authority", kind="ec384")
        SERVER = CA.issue("server")
        PG, PLAIN = Tls(), Tls()
        for node in (PG, PLAIN):
            nodes.append(node)
            node.start()
            for db in ("tlsonly", "plainonly", "certs"):
                node.sql(f"create database {db}")
        PG.sql("create role scram login password 'geheim'")
        PG.set(ssl_ca_file=PG.take(CA.ca, "roots.crt"))
        PG.present(SERVER)
        for f in TESTS:
            if wanted and f.__name__ not in wanted:
                continue
            began = time.monotonic()
            try:
                f()
                PASSED.append(f.__name__)
                print(f"ok - {f.__name__} ({time.monotonic() - began:.1f} s)", flush=True)
            except Exception as e:
                FAILED.append(f.__name__)
                print(f"not ok - {f.__name__}: {type(e).__name__}: {str(e)[:1500]}", flush=True)
                print("    " + traceback.format_exc().replace("\n", "\n    ")[-1200:], flush=True)
    finally:
        for node in nodes:
            node.stop()
        shutil.rmtree(FOLDER, ignore_errors=True)
    print(f"{len(PASSED)} passed, {len(FAILED)} failed, {len(SKIPPED)} skipped", flush=True)
    os._exit(bool(FAILED))  # threads of relays may still wait


if __name__ == "__main__":
    main()
