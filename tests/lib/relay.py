"""A line between a client and a server that is slow, breaks, spoils or adds."""
import random
import socket
import threading


class Relay:
    """Between client and server: slow, in odd pieces, or gone after so many bytes of one side."""

    def __init__(self, target, slow=False, cut=None, spoil=None, inject=b"", listen=0):
        self.target, self.slow, self.cut, self.spoil, self.inject = target, slow, cut, spoil, inject
        self.server = socket.socket()
        if slow:
            self.server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.server.bind(("127.0.0.1", listen))
        self.server.listen()
        self.port = self.server.getsockname()[1]
        self.bytes = [0, 0]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                a, _ = self.server.accept()
            except OSError:
                return
            b = socket.create_connection(("127.0.0.1", self.target))
            if self.inject:  # behind the S with which the server agrees
                b.sendall(a.recv(8))
                a.sendall(b.recv(1) + self.inject)
            for n, (x, y) in enumerate(((a, b), (b, a))):
                threading.Thread(target=self.pump, args=(n, x, y, (a, b)), daemon=True).start()

    def pump(self, n, x, y, both):
        try:
            while True:
                data = x.recv(random.choice((1, 7, 100, 3000, 16000)) if self.slow else 65536)
                if not data:
                    break
                self.bytes[n] += len(data)
                if self.spoil and n == 1 and self.bytes[1] > self.spoil:
                    data = data[:-1] + bytes([data[-1] ^ 1])
                y.sendall(data)
                if self.cut and n == 1 and self.bytes[1] > self.cut:
                    break
        except OSError:
            pass
        for s in both:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.server.close()
