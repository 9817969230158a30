"""Virtual network: connections as two streams in order, each direction of each path open or blocked.

A blocked direction holds what is sent into it, as TCP does, until it opens again. A connection ends by a close, by a
reset that both ends hear of, or half: its bytes vanish, and nobody is told.
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from tests.simulation.world import MS, World


class Host(Protocol):
    """A process that takes connections."""

    name: str
    life: int
    alive: bool

    def call(self, life: int, act: Callable[[], None]) -> None:
        """Call back into one life of the process, once it is not paused."""

    def on_connection(self, kind: str, end: "End") -> None:
        """Take a connection."""


class End:
    """One end of a connection. ``unsent_bytes``: of the peer link, given to ``send`` and not delivered yet."""

    def __init__(self, network: "Network", host: Host, kind: str) -> None:
        self.network, self.host, self.kind = network, host, kind
        self.life = host.life
        self.peer: End
        self.is_open = True
        self.vanished = False
        self.unsent_bytes = 0
        self.on_data: Callable[[object], None] = lambda _: None
        self.on_close: Callable[[], None] = lambda: None
        self._queue: deque[tuple[int, str, object]] = deque()
        self._last_ns = 0

    def send(self, data: object) -> None:
        """Send bytes, or a message of a client."""
        if self.is_open:
            self.put("data", data)

    def close(self) -> None:
        """Close this end; what was sent still arrives."""
        if self.is_open:
            self.is_open = False
            self.put("close", None)

    def put(self, what: str, data: object) -> None:
        """Queue something for the other end."""
        if isinstance(data, bytes):
            self.unsent_bytes += len(data)
        world = self.network.world
        due_ns = max(world.now_ns + self.network.delay_ns(self.host.name, self.peer.host.name), self._last_ns)
        self._last_ns = due_ns
        self._queue.append((due_ns, what, data))
        world.after(due_ns - world.now_ns, self.pump)

    def pump(self) -> None:
        """Deliver what is due."""
        now_ns = self.network.world.now_ns
        while self._queue and self._queue[0][0] <= now_ns:
            if (self.host.name, self.peer.host.name) in self.network.blocked:
                self.network.stalled.append(self)
                return
            _, what, data = self._queue.popleft()
            if isinstance(data, bytes):
                self.unsent_bytes -= len(data)
            if not self.vanished:
                self.peer.arrive(what, data)

    def arrive(self, what: str, data: object) -> None:
        """Take something from the other end."""
        host = self.host
        if what == "open":
            if not host.alive:
                self.is_open = False
                self.put("close", None)
                return
            self.life = host.life
            host.call(self.life, lambda: host.on_connection(self.kind, self))
        elif what == "close":
            host.call(self.life, self.closed)
        elif self.is_open:
            if not self.peer.is_open and isinstance(data, bytes):
                self.network.world.strike("late bytes of an old connection")
            if isinstance(data, bytes) and self.network.world.chance(0.03) and len(data) > 1:
                self.network.world.strike("stream cut within a frame")
                cut = self.network.world.draw.randrange(1, len(data))
                first, data = data[:cut], data[cut:]
                host.call(self.life, lambda: self.take(first))
            rest = data
            host.call(self.life, lambda: self.take(rest))

    def take(self, data: object) -> None:
        """Hand data to the process, if the end is still open there."""
        if self.is_open:
            self.on_data(data)

    def closed(self) -> None:
        """Tell the process that the connection is gone."""
        if self.is_open:
            self.is_open = False
            self.on_close()


class Network:
    """Paths between processes by name. ``slow``: factor of the delay."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.hosts: dict[str, Host] = {}
        self.blocked: set[tuple[str, str]] = set()
        self.stalled: list[End] = []
        self.ends: list[End] = []
        self.slow = 1

    def delay_ns(self, _source: str, _target: str) -> int:
        """Time that a message takes."""
        return self.world.draw.randrange(50_000, 1 * MS) * self.slow

    def connect(self, host: Host, target: str, kind: str) -> End:
        """Begin a connection; the other end refuses by a close."""
        near, far = End(self, host, kind), End(self, self.hosts[target], kind)
        near.peer, far.peer = far, near
        self.ends = [end for end in self.ends if end.is_open or end.peer.is_open]
        self.ends.append(near)
        near.put("open", None)
        return near

    def reset(self, end: End, *, told: bool) -> None:
        """End a connection from outside: both ends hear of it, or neither."""
        for each in (end, end.peer):
            each.vanished = True
            if told:
                each.host.call(each.life, each.closed)

    def drop_host(self, host: Host, *, told: bool) -> None:
        """End all connections of a process that died; the others hear of it, unless the whole machine died."""
        for near in self.ends:
            for end in (near, near.peer):
                if end.host is host and end.is_open:
                    end.is_open = False
                    if told:
                        end.put("close", None)
                    else:
                        end.vanished = end.peer.vanished = True

    def block(self, paths: set[tuple[str, str]]) -> None:
        """Block directions."""
        self.blocked |= paths

    def unblock(self, paths: set[tuple[str, str]]) -> None:
        """Open directions again."""
        self.blocked -= paths
        waiting, self.stalled = self.stalled, []
        for end in waiting:
            end.pump()
