"""Floor of a round trip through two nodes: processes that only pass bytes on, without a market, as bare as Python can.

``floor_us`` measures a client and one such process, then a client and two of them in a chain: the difference is what a
second process on the way costs on this machine, before it does anything.
"""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Final

from load.lines import LoadError

_BYTES: Final = 64


def floor_us(round_trips: int) -> tuple[float, float]:
    """Median round trip of one process, and of a chain of two, in microseconds. Raises LoadError."""
    with ExitStack() as stack:
        last = stack.enter_context(_process(0))
        alone = stack.enter_context(_process(0))
        first = stack.enter_context(_process(last))
        return _median_us(alone, round_trips), _median_us(first, round_trips)


@contextmanager
def _process(next_port: int) -> Iterator[int]:
    command = [sys.executable, "-m", "benchmarks.bare_chain", str(next_port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent) as child:
        try:
            line = child.stdout.readline() if child.stdout is not None else ""
            if not line:
                raise LoadError("a bare process did not start; run `python -m benchmarks.bare_chain 0`")
            yield int(line)
        finally:
            child.terminate()


def _median_us(port: int, round_trips: int) -> float:
    took_ns = []
    with _connected(port) as connection:
        for _ in range(round_trips):
            began_ns = time.perf_counter_ns()
            connection.sendall(bytes(_BYTES))
            _receive(connection)
            took_ns.append(time.perf_counter_ns() - began_ns)
    return median(took_ns) / 1_000


def _connected(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _receive(connection: socket.socket) -> bytes:
    data = connection.recv(_BYTES)
    while data and len(data) < _BYTES:
        more = connection.recv(_BYTES - len(data))
        if not more:
            return b""
        data += more
    return data


def main(next_port: int) -> None:
    """Pass what one connection brings on to ``next_port`` and the answer back; 0: send it back at once."""
    listener = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    connection, _ = listener.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    onward = _connected(next_port) if next_port else None
    while data := _receive(connection):
        if onward is not None:
            onward.sendall(data)
            data = _receive(onward)
        connection.sendall(data)


if __name__ == "__main__":
    main(int(sys.argv[1]))
