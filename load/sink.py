"""`python -m load.sink`: a server that answers OUCH without a market, as cheaply as it can.

It is what the load generator is measured against: what the two of them reach is the most that can be measured of a
node. Nothing is checked, any login is accepted, and nothing is kept. It ends when its standard input does. The first
line on standard output says the port, as a node's does.
"""

import contextlib
import json
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Final

from load.sink_kernel import answer_all, new_sink
from load.state import HELD_BYTES
from wire import LoginRequest, ServerSession

_SESSION: Final = "20260101"
CONNECTIONS_MAX: Final = 1_024


class Server:
    """Connections of the sink, by one event loop.

    alter: what to send in place of the answers, for tests; a ConnectionError of it ends the connection.
    """

    def __init__(self, connections: int = CONNECTIONS_MAX, alter: Callable[[bytes], bytes] | None = None) -> None:
        self.sink = new_sink(connections)
        answer_all(self.sink, 0, 0)  # compiled, or come from the cache, before anybody waits for an answer
        self.alter = alter
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.listener.setblocking(False)
        self.port: int = self.listener.getsockname()[1]
        self.stopped = False
        self._poll = select.epoll()
        self._poll.register(self.listener.fileno(), select.EPOLLIN)
        self._lines: dict[int, tuple[int, socket.socket]] = {}
        self._free = list(range(connections))[::-1]

    def run(self) -> None:
        """Serve until ``stopped``."""
        while not self.stopped:
            for number, _event in self._poll.poll(0.05):
                if number == self.listener.fileno():
                    self._accept()
                else:
                    self._answer(number)
        for _n, connection in self._lines.values():
            connection.close()
        self.listener.close()
        self._poll.close()

    def _accept(self) -> None:
        connection, _address = self.listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        session = ServerSession(time.monotonic_ns())
        requests: list[LoginRequest] = []
        while not requests:
            data = connection.recv(4_096)
            if not data:
                connection.close()
                return
            requests = [event for event in session.receive(data, 0) if isinstance(event, LoginRequest)]
        connection.sendall(session.accept(_SESSION, max(requests[0].requested_seq, 1), 0))
        n = self._free.pop()
        self.sink.held[n] = 0
        self.sink.shares[n] = 0
        self._lines[connection.fileno()] = (n, connection)
        self._poll.register(connection.fileno(), select.EPOLLIN)

    def _answer(self, number: int) -> None:
        n, connection = self._lines[number]
        arrived = 0
        with contextlib.suppress(ConnectionError):
            arrived = connection.recv_into(memoryview(self.sink.arrived[n])[HELD_BYTES:])
        written = answer_all(self.sink, n, arrived)
        answers = memoryview(self.sink.out[n])[:written]
        try:
            if written:
                connection.sendall(self.alter(bytes(answers)) if self.alter else answers)
        except ConnectionError:
            arrived = 0
        if not arrived:
            self._poll.unregister(number)
            del self._lines[number]
            self._free.append(n)
            connection.close()


def main() -> None:
    """Serve until its standard input ends."""
    server = Server()
    print(json.dumps({"listening": {"port": server.port, "pid": os.getpid()}}), flush=True)
    threading.Thread(target=_until_nobody_listens, args=(server,), daemon=True).start()
    server.run()


def _until_nobody_listens(server: Server) -> None:
    sys.stdin.read()
    server.stopped = True


if __name__ == "__main__":
    main()
