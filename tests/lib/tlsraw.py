"""TLS by the byte: hellos that no library would send, and what a server says to them."""
import os
import socket
import struct
import time

SSL3, TLS10, TLS11, TLS12, TLS13 = 0x0300, 0x0301, 0x0302, 0x0303, 0x0304
ALERTS = {0: "close_notify", 10: "unexpected_message", 20: "bad_record_mac", 22: "record_overflow", 40: "handshake_failure",
          42: "bad_certificate", 45: "certificate_expired", 47: "illegal_parameter", 48: "unknown_ca", 50: "decode_error",
          51: "decrypt_error", 70: "protocol_version", 71: "insufficient_security", 80: "internal_error", 100: "no_renegotiation",
          109: "missing_extension", 110: "unsupported_extension", 112: "unrecognized_name", 120: "no_application_protocol"}


def vec(size, data):
    return len(data).to_bytes(size, "big") + data


def ext(kind, data):
    return struct.pack(">H", kind) + vec(2, data)


def record(kind, data, version=TLS10):
    return struct.pack(">BH", kind, version) + vec(2, data)


def groups(*ids):
    return ext(10, vec(2, b"".join(struct.pack(">H", i) for i in ids)))


GROUPS = groups(23, 24)  # secp256r1, secp384r1
SIGNATURES = ext(13, vec(2, b"".join(struct.pack(">H", i) for i in (0x0403, 0x0503, 0x0804, 0x0805, 0x0401, 0x0501, 0x0201, 0x0203))))
POINTS = ext(11, b"\1\0")
# any point will do as our half of an exchange that is never finished: the generator of P-256
G = bytes.fromhex("046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
                  "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5")


def for_13(versions=(TLS13,), share=ext(51, vec(2, struct.pack(">H", 23) + vec(2, G)))):
    return ext(43, vec(1, b"".join(struct.pack(">H", v) for v in versions))) + share + ext(45, b"\1\1")


def sni(name):
    return ext(0, vec(2, b"\0" + vec(2, name)))


def alpn(*names):
    return ext(16, vec(2, b"".join(vec(1, n) for n in names)))


def hello(version=TLS12, suites=(0xc02b,), extensions=GROUPS + SIGNATURES + POINTS, compression=b"\0", session=b""):
    body = struct.pack(">H", version) + os.urandom(32) + vec(1, session) + vec(2, b"".join(struct.pack(">H", s) for s in suites))
    body += vec(1, compression) + (vec(2, extensions) if extensions is not None else b"")
    return b"\1" + vec(3, body)


class Peer:
    def __init__(self, port):
        self.s = socket.create_connection(("127.0.0.1", port), 5)
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data = b""
        self.closed = False

    def send(self, data):
        try:
            self.s.sendall(data)
        except OSError:
            self.closed = True
        return self

    def read(self, enough, seconds=5):
        """Until enough(self) or the end; an end by reset is one, too."""
        end = time.monotonic() + seconds
        while not self.closed and not enough(self):
            self.s.settimeout(max(0.01, end - time.monotonic()))
            try:
                got = self.s.recv(65536)
            except TimeoutError:
                break
            except OSError:
                got = b""
            self.closed |= not got
            self.data += got
        return self

    def records(self):
        found, p = [], self.data
        while len(p) >= 5:
            n = int.from_bytes(p[3:5], "big")
            if len(p) < 5 + n:
                break
            found.append((p[0], p[5:5 + n]))
            p = p[5 + n:]
        return found

    def alert(self):
        for kind, body in self.records():
            if kind == 21 and len(body) == 2:
                return ALERTS.get(body[1], str(body[1]))
        return None

    def server_hello(self):
        """(version, suite, compression) or None."""
        for kind, body in self.records():
            if kind == 22 and body[:1] == b"\2":
                at = 4 + 2 + 32
                at += 1 + body[at]
                suite, compression = struct.unpack(">HB", body[at:at + 3])
                version, rest = struct.unpack(">H", body[4:6])[0], body[at + 5:]
                while len(rest) >= 4:
                    what, n = struct.unpack(">HH", rest[:4])
                    if what == 43:
                        version = struct.unpack(">H", rest[4:6])[0]
                    rest = rest[4 + n:]
                return version, suite, compression
        return None

    def answer(self, seconds=5):
        self.read(lambda p: p.server_hello() or p.alert(), seconds)
        return self

    def close(self):
        self.s.close()


def ask(port, message, version=TLS10):
    """("hello", version, suite, compression), ("alert", name) or ("closed",): what a handshake message is answered with."""
    p = Peer(port).send(record(22, message, version)).answer()
    p.close()
    if p.server_hello():
        return ("hello", *p.server_hello())
    return ("alert", p.alert()) if p.alert() else ("closed",) if p.closed else ("silent",)
