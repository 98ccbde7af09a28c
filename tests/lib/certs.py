"""Certificates for tests, made with openssl: an authority, what it signs, and what it should not have signed."""
import os
import subprocess


def openssl(*words, text=None):
    p = subprocess.run(["openssl", *words], input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if p.returncode:
        raise RuntimeError(f"openssl {' '.join(words)}: {p.stdout}")
    return p.stdout


class Authority:
    """An authority in a folder of its own; ca.pem is what the other side trusts."""

    def __init__(self, folder, name="test authority"):
        os.makedirs(folder, exist_ok=True)
        self.folder = folder
        self.ca = self.path("ca.pem")
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30", "-subj", f"/CN={name}",
                "-keyout", self.path("ca.key"), "-out", self.ca, "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def path(self, name):
        return os.path.join(self.folder, name)

    def sign(self, name, use="serverAuth", kind="ec", days=30, expired=False, names="DNS:localhost,IP:127.0.0.1,IP:::1"):
        """(certificate, key) as files; kind ec, rsa or ec384."""
        key, csr, crt, ext = (self.path(f"{name}.{e}") for e in ("key", "csr", "pem", "ext"))
        algorithm = {"ec": ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"], "ec384": ["ec", "-pkeyopt", "ec_paramgen_curve:secp384r1"],
                     "rsa": ["rsa:2048"], "rsa1024": ["rsa:1024"], "ed25519": ["ed25519"]}[kind]
        openssl("req", "-new", "-newkey", *algorithm, "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", csr)
        with open(ext, "w") as f:
            f.write(f"extendedKeyUsage={use}\nkeyUsage=critical,digitalSignature\nsubjectAltName={names}\n")
        # the serial is what caches go by: never twice
        serial = str(int.from_bytes(os.urandom(8), "big") | 1)
        when = ["-not_before", "20200101000000Z", "-not_after", "20200201000000Z"] if expired else ["-days", str(days)]
        try:
            openssl("x509", "-req", "-in", csr, "-CA", self.ca, "-CAkey", self.path("ca.key"), "-set_serial", serial, "-extfile", ext,
                    "-out", crt, *when)
        except RuntimeError:
            if not expired:
                raise
            self.sign_expired(csr, ext, crt)  # openssl 3.0 has no such options
        return crt, key

    def sign_expired(self, csr, ext, crt):
        """By way of `openssl ca`, which takes dates."""
        db = self.path("db")
        os.makedirs(db, exist_ok=True)
        with open(os.path.join(db, "index"), "w"):
            pass
        with open(os.path.join(db, "serial"), "w") as f:
            f.write(os.urandom(8).hex() + "\n")
        with open(os.path.join(db, "cnf"), "w") as f:
            f.write(f"[ca]\ndefault_ca=d\n[d]\ndatabase={db}/index\nserial={db}/serial\nnew_certs_dir={db}\ndefault_md=sha256\n"
                    "policy=p\n[p]\ncommonName=supplied\n")
        openssl("ca", "-batch", "-notext", "-config", os.path.join(db, "cnf"), "-cert", self.ca, "-keyfile", self.path("ca.key"), "-in", csr,
                "-extfile", ext, "-startdate", "20200101000000Z", "-enddate", "20200201000000Z", "-out", crt)
