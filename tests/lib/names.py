"""A name server on a loopback address of its own, port 53: what it answers, over which transport and when is the test's."""
import random
import socket
import struct
import threading

TYPE_A = 1
TRUNCATED = 0x0200


class NameServer:
    """`names` maps a name to an IPv4 address.  A name of `cut` gets no answer over UDP but the mark to ask again over TCP.
    While `gate` is cleared no answer leaves.  `asked` lists (transport, name, type)."""

    def __init__(self, names, cut=()):
        self.names, self.cut = names, set(cut)
        self.gate = threading.Event()
        self.gate.set()
        self.asked = []
        while True:
            self.address = "127.%d.%d.%d" % (random.randrange(2, 255), random.randrange(256), random.randrange(2, 255))
            self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.tcp = socket.socket()
            try:
                self.udp.bind((self.address, 53))
                self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                self.tcp.bind((self.address, 53))
                break
            except OSError as e:
                if isinstance(e, PermissionError):
                    raise
        self.tcp.listen(16)
        threading.Thread(target=self._udp, daemon=True).start()
        threading.Thread(target=self._tcp, daemon=True).start()

    def close(self):
        self.udp.close()
        self.tcp.close()

    def _answer(self, query, transport):
        at, labels = 12, []
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode())
            at += 1 + query[at]
        name, kind = ".".join(labels).lower(), struct.unpack(">H", query[at + 1:at + 3])[0]
        question = query[12:at + 5]
        self.asked.append((transport, name, kind))
        self.gate.wait()
        flags, answers = 0x8580, b""
        if name not in self.names:
            flags |= 3
        elif transport == "udp" and name in self.cut:
            flags |= TRUNCATED
        elif kind == TYPE_A:
            answers = b"\xc0\x0c" + struct.pack(">HHIH", TYPE_A, 1, 1, 4) + socket.inet_aton(self.names[name])
        return query[:2] + struct.pack(">HHHHH", flags, 1, 1 if answers else 0, 0, 0) + question + answers

    def _udp(self):
        while True:
            try:
                query, who = self.udp.recvfrom(4096)
            except OSError:
                return
            threading.Thread(target=self._udp_one, args=(query, who), daemon=True).start()

    def _udp_one(self, query, who):
        try:
            self.udp.sendto(self._answer(query, "udp"), who)
        except OSError:
            pass  # nobody waits any more

    def _tcp(self):
        while True:
            try:
                conn, _ = self.tcp.accept()
            except OSError:
                return
            threading.Thread(target=self._tcp_one, args=(conn,), daemon=True).start()

    def _tcp_one(self, conn):
        with conn, conn.makefile("rb") as f:
            try:
                while head := f.read(2):
                    reply = self._answer(f.read(struct.unpack(">H", head)[0]), "tcp")
                    conn.sendall(struct.pack(">H", len(reply)) + reply)
            except OSError:
                pass
