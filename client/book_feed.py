"""Books of a running market from its multicast feed: joins the group, asks for what is lost, takes snapshots.

    with BookFeed("239.192.0.1:26400", requests="127.0.0.1:26401", snapshots="127.0.0.1:26402") as feed:
        for symbol, bid, offer in feed.best_prices():
            print(symbol, bid, offer)

``changes`` has the symbols of all changes, not only of those of best prices. ``is_whole`` is False while a message is
known to be missing, while a snapshot is taken, when the feed is silent, and when nobody has looked at it for 3 s: the
books are then of an earlier time. They are never silently wrong: a message that cannot follow those before it makes
them be built anew.
"""

import contextlib
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Final, Self

from client.book import BestPrices, Book, Books
from client.errors import CannotConnect, FeedFault
from client.feed import FeedSequence
from wire.errors import ProtocolError
from wire.soup import LoginAccepted, LoginRejected, LoginRequest, Sequenced
from wire.soup_session import ClientSession

_RECEIVE_BYTES: Final = 8 << 20
#: Time after which a snapshot that failed is tried again, and bound of its silence, in seconds.
_RETRY_S: Final = 0.2
_SNAPSHOT_S: Final = 30.0
#: Time between two looks at what is missing, in seconds.
_LOOK_S: Final = 0.01

Address = tuple[str, int]


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65_536:
        raise ValueError(f"{text!r} is no address; give one as 239.192.0.1:26400")
    return host, int(port)


def _resolved(address: Address) -> Address:
    try:
        return socket.gethostbyname(address[0]), address[1]
    except OSError as error:
        raise CannotConnect(f"the host {address[0]} is not known here: {error}") from error


def joined(group: Address, interface: str) -> socket.socket:
    """A socket that receives a group at an interface, and waits for nothing. Raises CannotConnect."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
        made.bind(group)
        member = struct.pack("4s4s", socket.inet_aton(group[0]), socket.inet_aton(interface))
        made.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        made.setblocking(False)
    except OSError as error:
        made.close()
        raise CannotConnect(f"the feed {group[0]}:{group[1]} cannot be joined at {interface}: {error}") from error
    return made


class _Snapshot:
    """A snapshot on its way: a session of SoupBinTCP that ends with message G."""

    def __init__(self, address: Address, session: str) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.socket.setblocking(False)
        self.heard_s = time.monotonic()
        self.session = ""
        self.messages: list[bytes] = []
        #: Number of the message of the feed that follows; 0 until all is here.
        self.next_number = 0
        self._own = ClientSession(time.monotonic_ns())
        self._login = self._own.login(LoginRequest("BOOK", "", session, 1), time.monotonic_ns())
        self.socket.connect_ex(address)  # what is wrong is found when the login is sent

    def take(self) -> bool:
        """Take what came; False once no more will come."""
        try:
            if self._login:
                self._login = self._login[self.socket.send(self._login) :]
            data = self.socket.recv(1 << 18)
        except BlockingIOError:
            return time.monotonic() - self.heard_s < _SNAPSHOT_S
        except OSError:
            return False
        self.heard_s = time.monotonic()
        for event in self._own.receive(data, time.monotonic_ns()):
            if isinstance(event, LoginAccepted):
                self.session = event.session
            elif isinstance(event, Sequenced):
                if event.payload[:1] == b"G" and event.payload[1:].strip().isdigit():
                    self.next_number = int(event.payload[1:])
                else:
                    self.messages.append(event.payload)
            elif isinstance(event, LoginRejected | ProtocolError):
                return False
        return bool(data) and not self.next_number


class BookFeed:
    """Receiver of a feed that keeps the books of all its symbols.

    groups: addresses of feed A, or of A and B; requests: of the servers that send messages again; snapshots: of the
    server of snapshots (GLIMPSE 5.0). Without both, a book is not whole again after a loss until the next day. Raises
    CannotConnect where a group cannot be joined or a host is unknown, ValueError for what is no address.
    """

    def __init__(
        self,
        groups: str | Sequence[str],
        requests: str | Sequence[str] = (),
        snapshots: str | None = None,
        *,
        interface: str = "127.0.0.1",
    ) -> None:
        asked = (requests,) if isinstance(requests, str) else requests
        self._requests = [_resolved(_address(each)) for each in asked]
        self._snapshots = None if snapshots is None else _resolved(_address(snapshots))
        self.order = FeedSequence(requests=bool(self._requests), snapshots=self._snapshots is not None)
        #: Snapshots that were taken, requests for messages that were sent, and messages that could not be.
        self.snapshots_taken = self.requests_sent = self.faults = 0
        self._books = Books()
        self._changed: dict[str, None] = {}
        self._snapshot: _Snapshot | None = None
        self._retry_s = self._looked_s = 0.0
        self._sockets: list[socket.socket] = []
        #: When nothing waited at a socket, ns: what is read there has come since, and may have waited as long.
        self._emptied_ns: dict[socket.socket, int] = {}
        try:
            for group in (groups,) if isinstance(groups, str) else groups:
                self._sockets.append(joined(_address(group), interface))
            self._asks = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._sockets.append(self._asks)
            self._asks.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
            self._asks.setblocking(False)
            self._asks.bind(("", 0))
            self._emptied_ns = dict.fromkeys(self._sockets, time.monotonic_ns())
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def is_whole(self) -> bool:
        """True if the books have every message that is known of, and the feed is heard."""
        return self.order.is_whole(time.monotonic_ns())

    @property
    def symbols(self) -> list[str]:
        """Symbols of the session."""
        return self._books.symbols

    def book(self, symbol: str) -> Book:
        """The book of a symbol. Raises KeyError for one that the feed has not told (yet)."""
        return self._books.book(symbol)

    def changes(self, timeout_s: float) -> Iterator[str]:
        """Symbols whose book has changed, each once for what came together, until ``timeout_s`` has passed."""
        end_s = time.monotonic() + timeout_s
        while (left_s := end_s - time.monotonic()) > 0.0:
            yield from self.pump(left_s)

    def best_prices(self, on_whole: Callable[[bool], None] = lambda _is_whole: None) -> Iterator[BestPrices]:
        """Best prices of each symbol, once and then as they change, without end.

        While messages are missing or the feed is silent there are none; those that changed meanwhile come once all is
        here. on_whole: called with ``is_whole`` when it changes, and first where it is False at the beginning.
        """
        changed, told, was_whole = dict[str, None](), dict[str, BestPrices](), True
        while True:
            changed |= dict.fromkeys(self.pump(_LOOK_S))
            if self.is_whole != was_whole:
                was_whole = not was_whole
                on_whole(was_whole)
            if not was_whole:
                continue
            known = set(self.symbols)  # a symbol may be gone with its day
            best = [self.book(symbol).best_prices for symbol in changed if symbol in known]
            changed = {}
            for each in best:
                if told.get(each.symbol) != each:
                    told[each.symbol] = each
                    yield each

    def pump(self, timeout_s: float = 0.0) -> list[str]:
        """Take what came, or comes within ``timeout_s``, and ask for what is missing; gives symbols that changed."""
        self._changed = {}
        sockets = [*self._sockets, *([self._snapshot.socket] if self._snapshot else ())]
        looked_ns = time.monotonic_ns()  # before the look: behind it this process may have been stopped
        ready, _, _ = select.select(sockets, [], [], max(0.0, min(timeout_s, _LOOK_S)))
        for each in self._sockets:
            if each in ready:
                self._read(each)
            else:
                self._emptied_ns[each] = looked_ns
        if self._snapshot is not None:
            self._read_snapshot(self._snapshot)
        if self.order.is_answered or time.monotonic() - self._looked_s >= _LOOK_S:
            self._looked_s = time.monotonic()
            self._ask()
        return list(self._changed)

    def close(self) -> None:
        """Close the sockets."""
        for each in self._sockets:
            each.close()
        if self._snapshot is not None:
            self._snapshot.socket.close()
            self._snapshot = None

    def take_packet(self, octets: bytes) -> None:
        """Take a packet of the feed from somewhere else, such as a recording."""
        self._take_packet(octets, None)

    def _take_packet(self, octets: bytes, sent_from_ns: int | None) -> None:
        session = self.order.session
        messages = self.order.take(octets, time.monotonic_ns(), sent_from_ns=sent_from_ns)
        if self.order.session != session:
            self._books = Books()
        self._take(messages)

    def _read(self, each: socket.socket) -> None:
        sent_from_ns, looked_ns = self._emptied_ns[each], time.monotonic_ns()
        try:
            for _ in range(512):
                octets, sender = each.recvfrom(65_536)
                looked_ns = time.monotonic_ns()
                if each is not self._asks or sender in self._requests:  # anybody may send to a port
                    self._take_packet(octets, sent_from_ns)
        except BlockingIOError:  # nothing more is there
            self._emptied_ns[each] = looked_ns
        except OSError:  # a port for requests is closed
            pass

    def _take(self, messages: list[bytes]) -> None:
        for message in messages:
            try:
                book = self._books.take(message)
            except FeedFault:
                self.faults += 1
                self.order.lose()
                if not self.order.wants_snapshot:
                    self._books = Books()
                return
            if book is not None:
                self._changed[book.symbol] = None

    def _ask(self) -> None:
        for number, packet in enumerate(self.order.due(time.monotonic_ns())):
            host = self._requests[(self.requests_sent + number) % len(self._requests)]
            with contextlib.suppress(OSError):
                self._asks.sendto(packet, host)
            self.requests_sent += 1
        wanted = self.order.wants_snapshot
        if wanted and self._snapshots is not None and self._snapshot is None and time.monotonic() >= self._retry_s:
            self._retry_s = time.monotonic() + _RETRY_S
            self._snapshot = _Snapshot(self._snapshots, self.order.session)

    def _read_snapshot(self, snapshot: _Snapshot) -> None:
        if snapshot.take():
            return
        snapshot.socket.close()
        self._snapshot = None
        if not snapshot.next_number:
            return  # it broke, and is tried again
        books = Books()
        try:
            for message in snapshot.messages:
                books.take(message)
        except FeedFault:
            return
        following = self.order.resume(snapshot.session, snapshot.next_number, time.monotonic_ns())
        if following is None:
            return
        self._books = books
        self.snapshots_taken += 1
        self._changed.update(dict.fromkeys(books.symbols))
        self._take(following)
