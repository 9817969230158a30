"""Connections of the load generator: ``client.OrderEntry`` logs in and out, and keeps those alive that have no load.

Under load a connection is a plain socket: kernels make and judge millions of messages a second on all connections
(``load.orders``, ``load.answers``), which no library for one message at a time can do.
"""

import os
import select
import socket
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from client import Event, Order, OrderEntry, Phase

#: Logins that are under way at the same time: no server's queue of connections is shorter.
_TOGETHER: Final = 64
_CONNECT_S: Final = 10.0
_LOGIN_S: Final = 60.0
_RECEIVE_BYTES: Final = 1 << 20


class LoadError(Exception):
    """The load could not be put on: the message says what the node did, or did not do."""


class User(NamedTuple):
    """User and password of a login."""

    name: str
    password: str


class Line:
    """A connection whose user logs in with ``client.OrderEntry``, which keeps it alive until ``release``."""

    def __init__(self, connection: socket.socket, user: User) -> None:
        """Ask for the login. Messages of the past are not wanted. Raises OSError."""
        self.socket = connection
        self.user = user
        self.entry: OrderEntry[Order] = OrderEntry(user.name, user.password, Order, next_seq=0)
        self.entry.connected(time.monotonic_ns())
        self._send()

    @property
    def is_live(self) -> bool:
        """True if the login is accepted, and everything from before it has come."""
        return self.entry.phase is Phase.LIVE

    def receive(self) -> list[Event]:
        """Receive what arrived, and send what is due on it. Raises LoadError when the node ends the session."""
        data = self.socket.recv(_RECEIVE_BYTES)
        if not data:
            raise LoadError(f"the node closed the connection of user {self.user.name}")
        events = self.entry.receive(data, time.monotonic_ns())
        self._send()
        if self.entry.refused is not None:
            raise LoadError(str(self.entry.refused))
        if self.entry.over:
            raise LoadError(f"the session of user {self.user.name} broke off: {self.entry.why}")
        return events

    def keep_alive(self) -> None:
        """Send a heartbeat, if one is due. Raises LoadError when the node has been silent for too long."""
        self.entry.tick(time.monotonic_ns())
        if self.entry.over:
            raise LoadError(f"the session of user {self.user.name} broke off: {self.entry.why}")
        self._send()

    def release(self) -> bytes:
        """Hand the stream over to kernels; gives the bytes of it that have arrived already."""
        return self.entry.release()

    def close(self) -> None:
        """Log out and close."""
        self.entry.logout(time.monotonic_ns())
        try:
            self.socket.setblocking(True)
            self.socket.settimeout(1.0)
            self._send()
        except OSError:
            pass
        self.socket.close()

    def _send(self) -> None:
        data = self.entry.take()
        if data:
            self.socket.sendall(data)


def connect(host: str, port: int) -> socket.socket:
    """A connection with room for a lot of bytes on the way. Raises LoadError."""
    try:
        connection = socket.create_connection((host, port), timeout=_CONNECT_S)
    except OSError as error:
        raise LoadError(f"no connection to {host} port {port}: {error.strerror or error}; is the node there?") from None
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def open_lines(host: str, port: int, users: Sequence[User]) -> list[Line]:
    """A connection for each user, all logged in. Those that wait for others send heartbeats. Raises LoadError."""
    lines: list[Line] = []
    try:
        for start in range(0, len(users), _TOGETHER):
            for user in users[start : start + _TOGETHER]:
                lines.append(Line(connect(host, port), user))
            _wait(lines[start:], lines[:start])
    except BaseException:
        for line in lines:
            line.socket.close()
        raise
    for line in lines:
        line.socket.setblocking(False)
    return lines


def _wait(asking: list[Line], others: list[Line]) -> None:
    until_s = time.monotonic() + _LOGIN_S
    poll = select.epoll()
    try:
        waiting = {line.socket.fileno(): line for line in asking}
        for number in waiting:
            poll.register(number, select.EPOLLIN)
        while waiting:
            if time.monotonic() > until_s:
                raise LoadError(f"the node left {len(waiting)} logins without an answer for {_LOGIN_S:.0f} s")
            for number, _event in poll.poll(0.2):
                waiting[number].receive()
                if waiting[number].is_live:
                    poll.unregister(number)
                    del waiting[number]
            keep_alive([*others, *(line for line in asking if line.is_live)])
    except OSError as error:
        raise LoadError(f"the node broke a connection during a login: {error.strerror or error}") from None
    finally:
        poll.close()


def keep_alive(lines: Sequence[Line]) -> None:
    """Send a heartbeat on each line that has sent none for a second. Raises LoadError."""
    for line in lines:
        line.keep_alive()


def close_lines(lines: Sequence[Line]) -> None:
    """Log out and close."""
    for line in lines:
        line.close()


def idle(lines: Sequence[Line], seconds: float, server_pid: int | None) -> float | None:
    """Send heartbeats and nothing else; gives the part of one core that the server used meanwhile.

    None without the server's process id. Raises LoadError when the node ends a session.
    """
    poll = select.epoll()
    by_number = {line.socket.fileno(): line for line in lines}
    for number in by_number:
        poll.register(number, select.EPOLLIN)
    began_s = time.monotonic()
    used_s = cpu_s(server_pid) if server_pid else 0.0
    try:
        while time.monotonic() - began_s < seconds:
            # In ten parts a second, so that the heartbeats do not all come at once, which is not how clients are.
            part = int((time.monotonic() - began_s) * 10) % 10
            keep_alive(lines[part::10])
            for number, _event in poll.poll(0.02):
                by_number[number].receive()
    except OSError as error:
        raise LoadError(f"the node broke a connection of an idle session: {error.strerror or error}") from None
    finally:
        poll.close()
    took_s = time.monotonic() - began_s
    return (cpu_s(server_pid) - used_s) / took_s if server_pid else None


def cpu_s(pid: int) -> float:
    """Processor time that a process and its threads have used, in seconds. Raises LoadError when it has ended."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        raise LoadError(f"the node's process {pid} is not there any more") from None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
