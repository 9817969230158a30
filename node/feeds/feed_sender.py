"""Sender of a multicast feed (MoldUDP64): messages, heartbeats, ends of sessions, and answers to re-requests."""

import asyncio
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from marketdata.itch import session_name
from marketdata.itch.stream import ItchStream
from node.feeds.multicast import Outlet
from wire.errors import ProtocolError
from wire.mold import HEAD_BYTES, PACKET_BYTES_MAX, Request, end_of_session, heartbeat, packets, read_request

#: Silence of a feed after which it sends a heartbeat, in seconds.
HEARTBEAT_S: Final = 1.0
#: Silence after messages that a first heartbeat ends, in seconds: who lost the last message knows it by then.
_FIRST_HEARTBEAT_S: Final = 0.05
#: Times that the end of a session is sent: with its first message of the next, then with heartbeats.
_ENDS: Final = 3
#: Packets in answer to one re-request at most: what a receiver's system buffers by default.
REQUEST_PACKETS_MAX: Final = 64


class FeedSender:
    """Sender of one feed on a running event loop.

    requests: socket of re-requests. may_send: whether packets may go out now; those that may not are dropped.

    ``answered``: packets that requests were answered with; ``asked_s``: when one came last, by the monotonic clock.
    """

    def __init__(
        self, stream: ItchStream, outlet: Outlet, requests: socket.socket, may_send: Callable[[], bool]
    ) -> None:
        self._stream, self._outlet, self._requests, self._may_send = stream, outlet, requests, may_send
        self._loop = asyncio.get_running_loop()
        self._sent_s = 0.0
        self._ends_silence = False  # a first heartbeat is due
        self._over: tuple[str, int, int] | None = None  # session that is over, its next number, times left to say so
        self._stopped = False
        self.answered = 0
        self.asked_s = 0.0

    def listen(self) -> None:
        """Answer re-requests from now on."""
        self._requests.setblocking(False)
        self._loop.add_reader(self._requests.fileno(), self._answer_requests)

    def stop(self) -> None:
        """Stop heartbeats and answers to re-requests."""
        self._stopped = True
        self._loop.remove_reader(self._requests.fileno())

    def on_messages(self, day: int, number: int, _count: int, framed: memoryview) -> None:
        """Send messages as they are made, and with the first of a session the end of the one before."""
        if number == 1 and day:
            self._begin_session(day)
        self.send(day, number, framed)

    def send(self, day: int, number: int, framed: memoryview) -> None:
        """Send messages of a session, without the end of the session before."""
        if self._may_send():
            for packet in packets(session_name(day), number, framed):
                self._outlet.send(packet)
            self.on_sent()

    def on_sent(self) -> None:
        """Note that messages were sent: a first heartbeat is due once no more come."""
        self._sent_s = time.monotonic()
        if not self._ends_silence:
            self._ends_silence = True
            self._loop.call_later(_FIRST_HEARTBEAT_S, self._end_silence)

    def _end_silence(self) -> None:
        """Send the first heartbeat behind messages, once none came for a while."""
        left_s = self._sent_s + _FIRST_HEARTBEAT_S - time.monotonic()
        self._ends_silence = left_s > 0.0 and not self._stopped
        if self._ends_silence:
            self._loop.call_later(left_s, self._end_silence)
        elif not self._stopped:
            self.heartbeat()

    def _begin_session(self, day: int) -> None:
        """Send the end of the session before, if there was one."""
        before = self._stream.spool.newest_before(day)
        if before is not None and (messages := self._stream.spool.messages(before)) is not None:
            self._over = (before, messages + 1, _ENDS)
            self._end_session()

    def end(self, session: str, next_number: int) -> None:
        """Send the end of a session, whose last message is the one before ``next_number``."""
        self._outlet.send(end_of_session(session, next_number))

    def _end_session(self) -> None:
        if self._over is not None and self._may_send():
            name, number, left = self._over
            self._outlet.send(end_of_session(name, number))
            self._over = (name, number, left - 1) if left > 1 else None

    def heartbeat(self) -> None:
        """Send a heartbeat with the next number; before it the end of the session before, up to ``_ENDS`` times."""
        self._end_session()
        feed = self._stream.feed
        if self._may_send() and feed.messages:
            self._outlet.send(heartbeat(session_name(feed.day), feed.messages + 1))
            self._sent_s = time.monotonic()

    def beat(self) -> None:
        """Send a heartbeat where nothing was sent for ``HEARTBEAT_S``."""
        if time.monotonic() - self._sent_s >= HEARTBEAT_S:
            self.heartbeat()

    def _answer_requests(self) -> None:
        """Answer the re-requests that have come, up to a bound."""
        for _ in range(64):
            try:
                data, sender = self._requests.recvfrom(2_048)
            except OSError:
                return
            with suppress(ProtocolError):
                self._answer(read_request(data), sender)

    def _answer(self, asked: Request, sender: tuple[str, int]) -> None:
        self.asked_s = time.monotonic()
        bytes_max = REQUEST_PACKETS_MAX * (PACKET_BYTES_MAX - HEAD_BYTES - 64)
        framed = self._stream.spool.read(asked.session, asked.sequence, asked.message_count, bytes_max)
        with suppress(OSError):
            for packet in packets(asked.session, asked.sequence, framed):
                self._requests.sendto(packet, sender)
                self.answered += 1
