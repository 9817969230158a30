"""`python -m load.echo`: a bare echo on loopback, compiled: what comes on a connection goes back at once.

A round trip with it is what no exchange can do without on this machine: two calls to send, two to receive, and the
network between them. It asks its connection over and over, as a node does for a while after an order. It serves one
connection after the other, says its port in the first line of its standard output, and ends with its standard input.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from engine.jit import called
from load.latency import Latencies
from load.lines import LoadError
from sequencer import system_calls as system

#: Bytes of an order in its packet.
MESSAGE_BYTES: Final = 52
_REGION_BYTES: Final = 4_096
_PATIENCE_S: Final = 10.0

_recv: Final = system.recv
_send: Final = system.send
_DONTWAIT, _DONTWAIT_NOSIGNAL = system.DONTWAIT, system.DONTWAIT_NOSIGNAL


@called
def send_back(fd, address, size, asks_max):
    """Send back what comes on a descriptor; ends with the connection, or when so many calls brought nothing.

    address: of a region of ``size`` bytes. Gives -1 if the connection has ended.
    """
    asked = np.int64(0)
    while asked < asks_max:
        got = _recv(np.int64(fd), np.int64(address), np.int64(size), np.int64(_DONTWAIT))
        if got == 0:
            return np.int64(-1)
        if got > 0:
            asked = np.int64(0)
            if _send(np.int64(fd), np.int64(address), got, np.int64(_DONTWAIT_NOSIGNAL)) != got:
                return np.int64(-1)
        asked += 1
    return np.int64(0)


def main() -> None:
    """Serve until the standard input ends."""
    region = np.zeros(_REGION_BYTES, np.uint8)
    send_back(-1, region.ctypes.data, 0, 0)  # compiled before anybody connects
    listener = socket.create_server(("127.0.0.1", 0))
    print(json.dumps({"listening": {"port": listener.getsockname()[1], "pid": os.getpid()}}), flush=True)
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while send_back(connection.fileno(), region.ctypes.data, _REGION_BYTES, 100_000) == 0:
                pass


def _end_with_stdin() -> None:
    sys.stdin.read()
    os._exit(0)


@contextmanager
def serving() -> Iterator[int]:
    """Port of an echo in a process of its own, which ends with the context. Raises LoadError if it does not start."""
    root = Path(__file__).parent.parent
    command, pipe = [sys.executable, "-m", "load.echo"], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, cwd=root) as child:
        line = child.stdout.readline() if child.stdout else ""
        if not line:
            raise LoadError("the bare echo did not start; run `python -m load.echo`")
        yield int(json.loads(line)["listening"]["port"])
        if child.stdin is not None:
            child.stdin.close()


def round_trips(port: int, count: int, *, busy: bool) -> Latencies:
    """Send a message when the one before has come back; each round trip is one latency.

    busy: ask the socket over and over instead of sleeping in it. Raises LoadError if the echo ends.
    """
    message, region = bytes(MESSAGE_BYTES), memoryview(bytearray(_REGION_BYTES))
    took_ns: Any = np.zeros(count, np.int64)
    with socket.create_connection(("127.0.0.1", port), _PATIENCE_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(not busy)
        clock, send, receive = time.perf_counter_ns, connection.send, connection.recv_into
        for number in range(count):
            began_ns = clock()
            send(message)
            left = MESSAGE_BYTES
            while left:
                with contextlib.suppress(BlockingIOError):
                    came = receive(region)
                    if not came:
                        raise LoadError("the bare echo ended")
                    left -= came
            took_ns[number] = clock() - began_ns
    latencies = Latencies()
    latencies.record(took_ns)
    return latencies


if __name__ == "__main__":
    main()
