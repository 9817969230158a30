"""Rows that a primary sends ahead of their block, acknowledged by a compiled kernel of its standby.

While such rows come, the kernel reads the link and acknowledges them at once (``sequencer.rows_ahead``); all that it
has received goes to Python a little later, as if the event loop had read it. After a while without rows the event loop
reads the link again.
"""

import asyncio
import select
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from engine.jit import Packed
from gateway.direct import poll_of
from node.pair.connections import ToPrimary
from replication.lease import lease_clock_ns
from replication.link import Kind, head
from replication.standby import Standby
from sequencer import rows_ahead as a

if TYPE_CHECKING:
    from node.node import Node

#: Longest stay in the kernel after the first rows: the journal and the engine wait for them.
STAY_NS: Final = 5_000_000
#: Longest stay and sleep without rows: the loop's timers are late by as much.
QUIET_STAY_NS: Final = 2_000_000
SLEEP_MS: Final = 1
#: The kernel reads the link until nothing has come for so long.
QUIET_NS: Final = 100_000_000


class RowsAhead:
    """The kernel of one copy. ``connection``: the one to the primary, None if there is none. ``on_bytes``: takes what
    was received. ``has_work``: True while the copy has blocks to apply.
    """

    def __init__(
        self,
        node: "Node",
        standby: Standby,
        *,
        connection: Callable[[], ToPrimary | None],
        on_bytes: Callable[[bytes], None],
        has_work: Callable[[], bool],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._node, self._standby = node, standby
        self._connection, self._on_bytes, self._has_work = connection, on_bytes, has_work
        self._ahead = Packed(a.new_ahead(head(Kind.ROWS, 0, 0)[:8], head(Kind.ACK, 0, 0)[:8]))
        self._words = words = memoryview(self._ahead.arrays.words.data)
        self._poll = select.epoll()
        self._loop_fd = poll_of(self._loop)
        if self._loop_fd >= 0:
            self._poll.register(self._loop_fd, select.EPOLLIN)
        words[a.EPOLL], words[a.STAY_NS] = self._poll.fileno(), STAY_NS
        words[a.BUSY_NS] = node.options.busy_poll_us * 1_000
        self._reads: ToPrimary | None = None
        self._heard_ns = 0
        self._called = True  # the loop may have work

    @property
    def is_reading(self) -> bool:
        """True while the kernel reads the link."""
        return self._reads is not None

    def begin(self) -> None:
        """Have the kernel read the link, since rows came ahead of their block."""
        connection = self._connection()
        if self._reads is not None or connection is None or self._loop_fd < 0 or not self._may_read(connection):
            return
        fd = connection.lend()
        if fd < 0:
            return
        self._poll.register(fd, select.EPOLLIN)
        self._words[a.FD] = fd
        self._reads, self._heard_ns = connection, time.monotonic_ns()
        self._loop.call_soon(self._turn)

    def _may_read(self, connection: ToPrimary) -> bool:
        return self._standby.is_between_blocks and connection.is_idle and not self._node.journal.crowded

    def _turn(self) -> None:
        reads = self._reads
        if reads is None:
            return
        now_ns = time.monotonic_ns()
        if reads is not self._connection() or not self._may_read(reads) or now_ns - self._heard_ns > QUIET_NS:
            self.leave()
            return
        words, standby = self._words, self._standby
        words[a.EPOCH], words[a.NEXT_SEQ] = standby.epoch, standby.received_seq + 1
        words[a.ACKED], words[a.JOURNALED] = standby.received_seq, min(standby.journaled_seq, standby.taken_seq)
        words[a.READ_END] = words[a.PARSED] = words[a.STOPPED] = words[a.OWED] = 0
        # The loop registers descriptors with its poll only as it polls, so a pass of it without work comes first.
        at_once = self._called or self._has_work()
        words[a.SLEEP_MS] = 0 if at_once else SLEEP_MS
        why = a.follow_rows(self._ahead.pointers, 0 if at_once else now_ns + QUIET_STAY_NS)
        self._called = why == a.CALLED
        self._pass_on(reads, why)
        if self._reads is not None:
            self._loop.call_soon(self._turn)

    def _pass_on(self, reads: ToPrimary, why: int) -> None:
        """Send the rest of an acknowledgement, and give Python what was received."""
        words, standby = self._words, self._standby
        if words[a.OWED]:
            end = words[a.OUT_END]
            reads.send([self._ahead.arrays.out.tobytes()[end - words[a.OWED] : end]])
        if words[a.ACKED] > standby.received_seq:
            standby.on_told(words[a.ACKED], words[a.JOURNALED], lease_clock_ns())
            self._heard_ns = time.monotonic_ns()
        if words[a.READ_END]:
            self._on_bytes(self._ahead.arrays.read[: words[a.READ_END]].tobytes())
        elif why == a.LINK:
            self.leave()  # the link has ended, as the event loop will find out

    def leave(self) -> None:
        """Let the event loop read the link again."""
        reads, self._reads = self._reads, None
        if reads is not None:
            with suppress(OSError):  # the descriptor may be closed
                self._poll.unregister(self._words[a.FD])
            reads.take_back()

    def close(self) -> None:
        """End for good."""
        self.leave()
        self._loop_fd = -1
        self._poll.close()
