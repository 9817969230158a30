"""Connections of the load generator: logged in with SoupBinTCP, then plain sockets that do not block.

The generator does not use ``client.OrderEntry``: one kernel makes and judges millions of messages a second on all
connections, and what judges a node must not share its reading of the protocol with the library under test.
"""

import os
import select
import socket
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from wire import ClientSession, LoginRequest, PacketType, ProtocolError
from wire.soup import LoginAccepted, LoginRejected, packet, packet_bytes

#: Logins that are under way at the same time: no server's queue of connections is shorter.
_TOGETHER: Final = 64
_CONNECT_S: Final = 10.0
_LOGIN_S: Final = 60.0
_HEARTBEAT_S: Final = 1.0
_RECEIVE_BYTES: Final = 1 << 20

HEARTBEAT: Final = packet(PacketType.CLIENT_HEARTBEAT)
LOGOUT: Final = packet(PacketType.LOGOUT)


class LoadError(Exception):
    """The load could not be put on: the message says what the node did, or did not do."""


class User(NamedTuple):
    """User and password of a login."""

    name: str
    password: str


class Line:
    """A connection whose login was accepted. ``early``: bytes that came right behind the answer."""

    def __init__(self, connection: socket.socket, user: User) -> None:
        self.socket = connection
        self.user = user
        self.session = ClientSession(time.monotonic_ns())
        self.sent_s = time.monotonic()
        self.early = b""
        self._came = b""

    def ask(self) -> None:
        """Send the login: messages of the past are not asked for."""
        request = LoginRequest(self.user.name, self.user.password, requested_seq=0)
        self.socket.sendall(self.session.login(request, time.monotonic_ns()))

    def answered(self) -> bool:
        """Receive the answer to the login; True if it is accepted. Raises LoadError when it is rejected for good."""
        data = self.socket.recv(4_096)
        if not data:
            raise LoadError(f"the node closed the connection of user {self.user.name} before it answered the login")
        self._came += data
        for event in self.session.receive(data, time.monotonic_ns()):
            if isinstance(event, LoginAccepted):
                self.early = self._behind(self._came)
                return True
            if isinstance(event, LoginRejected):
                raise LoadError(f"the node refused the login of user {self.user.name} ({event.code.name.lower()})")
            if isinstance(event, ProtocolError):
                raise LoadError(f"the node answered the login of user {self.user.name} with nonsense: {event}")
        return False

    def _behind(self, data: bytes) -> bytes:
        """Bytes after the login answer, with the packets that the session has already cut."""
        at = 0
        while data[at + 2] != PacketType.LOGIN_ACCEPTED:
            at += packet_bytes(data, at)
        return data[at + packet_bytes(data, at) :]


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
            asking = []
            for user in users[start : start + _TOGETHER]:
                lines.append(Line(connect(host, port), user))
                lines[-1].ask()
                asking.append(lines[-1])
            _wait(asking, lines)
    except BaseException:
        for line in lines:
            line.socket.close()
        raise
    for line in lines:
        line.socket.setblocking(False)
    return lines


def _wait(asking: list[Line], lines: list[Line]) -> None:
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
                if waiting[number].answered():
                    poll.unregister(number)
                    del waiting[number]
            keep_alive([line for line in lines if line.socket.fileno() not in waiting])
    except OSError as error:
        raise LoadError(f"the node broke a connection during a login: {error.strerror or error}") from None
    finally:
        poll.close()


def keep_alive(lines: Sequence[Line]) -> None:
    """A heartbeat on each line that has sent none for a second."""
    now_s = time.monotonic()
    for line in lines:
        if now_s - line.sent_s >= _HEARTBEAT_S:
            line.sent_s = now_s
            line.socket.send(HEARTBEAT)


def close_lines(lines: Sequence[Line]) -> None:
    """Log out and close."""
    for line in lines:
        try:
            line.socket.setblocking(True)
            line.socket.settimeout(1.0)
            line.socket.sendall(LOGOUT)
        except OSError:
            pass
        line.socket.close()


def idle(lines: Sequence[Line], seconds: float, server_pid: int | None) -> float | None:
    """Send heartbeats and nothing else; gives the part of one core that the server used meanwhile.

    None without the server's process id. Raises LoadError when the node ends a session or sends anything but
    heartbeats.
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
                _only_heartbeats(by_number[number])
    except OSError as error:
        raise LoadError(f"the node broke a connection of an idle session: {error.strerror or error}") from None
    finally:
        poll.close()
    took_s = time.monotonic() - began_s
    return (cpu_s(server_pid) - used_s) / took_s if server_pid else None


def _only_heartbeats(line: Line) -> None:
    data = line.socket.recv(_RECEIVE_BYTES)
    if not data:
        raise LoadError(f"the node ended the idle session of user {line.user.name}")
    events = line.session.receive(data, time.monotonic_ns())
    if errors := [event for event in events if isinstance(event, ProtocolError)]:
        raise LoadError(f"the node sent nonsense to the idle session of user {line.user.name}: {errors[0]}")


def cpu_s(pid: int) -> float:
    """Processor time that a process and its threads have used, in seconds. Raises LoadError when it has ended."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        raise LoadError(f"the node's process {pid} is not there any more") from None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
