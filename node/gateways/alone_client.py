"""The client with which a kernel of a gateway stays, while the gateway hears of no other (``gateway.fix.alone``).

It begins behind a few messages that came alone and were answered in a moment, or as soon as the disk had them, and ends
with the first that does not, or as another client sends something. Meanwhile the event loop does not read the client's
socket. Each stay is short, and each ends as soon as the loop has work, which it then does first.
"""

import asyncio
import time
from typing import Any, Final, Protocol

from gateway.connection import Connection
from gateway.contention import Contention
from gateway.fix import alone
from gateway.fix.alone import Client, Stay, Stays
from gateway.fix.session import FixSession
from gateway.fix.streams import FixStreams
from node.gateways.answer_spin import SPIN_NS

#: Messages, answered in a moment one after the other, behind which a kernel stays.
_MESSAGES: Final = 4
#: Longest stay with messages, and longest sleep: timers of the loop are late by as much.
_STAY_NS: Final = 10_000_000
_NAP_MS: Final = 5
#: Sleeps without a message after which the loop reads the client again.
_NAPS: Final = 20
#: Longest wait for an answer that waits for a disk.
DISK_NS: Final = 2_000_000
#: Answers that may come late, or with those of others, one after the other.
_MISSED_MAX: Final = 2
#: Ends of stays behind which the loop reads the client.
_ENDS: Final = (alone.BYTES, alone.ENDED, alone.PARTLY, alone.MORE)
_LATE: Final = (alone.MISSED, alone.TAKEN)


class Owner(Protocol):
    """The gateway's process."""

    def pointers_to_stay(self) -> tuple[Any, ...] | None:
        """Pointers with which a kernel takes the next blocks; None: it cannot, or others wait."""
        ...

    def on_stay(self, connection: Connection, stay: Stay, /) -> None:
        """Take what a stay has come to."""
        ...

    def look_at_tape(self) -> None:
        """Take what was released, and have the doorbell wake the loop for what comes."""
        ...

    def wake_core(self) -> None:
        """Wake the core, and wait a moment for what it makes of a message."""
        ...

    def seen(self) -> tuple[FixStreams, int]:
        """The streams, and the last command that they have."""
        ...

    def read_again(self, connection: Connection, /) -> None:
        """Have the next turn read what came of a client."""
        ...


class AloneClient:
    """The client of one gateway, and its stays. One thread, that of the event loop."""

    def __init__(self, owner: Owner, stays: Stays) -> None:
        self._owner, self._stays = owner, stays
        self._loop = asyncio.get_running_loop()
        self._last: Connection | None = None
        self._answered = 0  # messages of ``_last``, one after the other
        self._expects = False  # an answer to ``_last``, which was not there in a moment
        self._contention = Contention()
        self._connection: Connection | None = None
        self._called = True  # the loop may have work
        self._naps = 0
        self._waits = False  # for an answer that did not come in a moment
        self._missed = 0  # such answers, one after the other
        self._closed = False

    def note(self, connection: Connection, *, answered: bool) -> None:
        """Note that the messages of a client came alone, and whether they were answered in a moment."""
        if connection is not self._last:
            self._last, self._answered = connection, 0
        self._count(connection, answered=answered)

    def expect(self, connection: Connection) -> None:
        """Note that the messages of a client came alone, and that their answer will come from a disk."""
        if connection is not self._last:
            self._last, self._answered = connection, 0
        self._expects = True

    def _count(self, connection: Connection, *, answered: bool) -> None:
        self._answered = self._answered + 1 if answered else 0
        if self._answered == _MESSAGES and self._connection is None:
            self._loop.call_soon(self._begin, connection)  # once the gateway has done with its bytes

    def _begin(self, connection: Connection) -> None:
        if self._closed or self._connection is not None or connection.open_fd < 0 or self._answered < _MESSAGES:
            return
        connection.hold()
        self._stays.begin(connection.open_fd)
        self._connection, self._called, self._naps = connection, True, 0
        self._waits, self._missed = False, 0
        self._loop.call_soon(self._serve)

    def on_blocks(self, *, durable: bool) -> None:
        """Go on with a client whose answer may have come. durable: what was released is on the disk."""
        if self._waits:
            self._waits = False
            self._loop.call_soon(self._serve)
        elif self._expects and self._last is not None:
            self._expects = False
            self._count(self._last, answered=durable and not self._contention.is_high())

    def beat(self) -> None:
        """Have the loop read a client again whose answer has not come for long."""
        if self._waits:
            self.leave()

    def leave(self) -> None:
        """Have the loop read the client again, if there is one."""
        connection, self._connection, self._waits = self._connection, None, False
        if self._expects:  # and something comes before that
            self._expects, self._answered = False, 0
        if connection is not None:
            self._answered = 0
            self._stays.end()
            if not connection.closing:
                connection.resume_reading()

    def _serve(self) -> None:
        """Stay with the client once, and do what the kernel leaves to Python."""
        connection, pointers = self._connection, self._owner.pointers_to_stay()
        if connection is None:
            return
        streams, seq = self._owner.seen()
        session = connection.row_session
        may_stay = (
            pointers is not None
            and isinstance(session, FixSession)
            and connection.holding
            and not connection.dirty
            and connection.begin == connection.end
            and connection.live
            and connection.open_fd >= 0
            and connection.of_session(
                session.may_stay, streams, connection.user, connection.participant, otherwise=False
            )
        )
        if not may_stay:
            self.leave()
            self._owner.look_at_tape()
            return
        assert pointers is not None, "they were asked for"
        assert isinstance(session, FixSession), "of a gateway of FIX"
        region = connection.region
        client = Client(connection.open_fd, region, connection.limit, region, connection.user, connection.participant)
        stay = session.stay(
            *(self._stays, client, pointers, seq, streams.highest_e4, SPIN_NS),
            0 if self._contention.is_high() else DISK_NS,
            *(0 if self._called else _NAP_MS, time.monotonic_ns() + _STAY_NS),
        )
        connection.of_session(session.note_stay, stay, otherwise=None)
        napped = stay.why == alone.IDLE and not self._called and not stay.messages
        self._naps = self._naps + 1 if napped else 0
        self._called = stay.why == alone.CALLED
        self._owner.on_stay(connection, stay)
        self._go_on(connection, stay.why)

    def _go_on(self, connection: Connection, why: int) -> None:
        """Stay again, or leave the client to the loop."""
        self._missed = self._missed + 1 if why in _LATE else 0
        if why in _ENDS or self._naps >= _NAPS or self._missed > _MISSED_MAX:
            self.leave()
            if why == alone.BYTES and connection.live:
                self._owner.read_again(connection)
        else:
            self._waits = why in alone.UNTOLD
        if why == alone.PUT:
            self._owner.wake_core()
        elif self._connection is None or self._waits or why == alone.RELEASED:
            self._owner.look_at_tape()
        if self._connection is not None and not self._waits:
            self._loop.call_soon(self._serve)

    def close(self) -> None:
        """End for good."""
        self._closed = True
        self.leave()
        self._stays.close()
        self._contention.close()
