"""Fetch of the blocks that a running copy lacks, from the history of the primary.

A thread reads them from the connection, since it waits. The event loop journals and applies them, so the engine stays
in memory and nothing is replayed. At most ``BATCHES_MAX`` batches wait for the engine at a time.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple

from replication import link
from replication.history import HistoryError, HistoryLost, Peer
from replication.history_link import HistoryLink
from replication.link import Kind, LinkError, Position

#: Commands behind the primary at which its link takes over: its backlog has them.
BEHIND_MAX: Final = 1 << 16
#: Commands behind the primary up to which applying them takes less time than a restart from the primary's checkpoint.
LIVE_MAX: Final = 1 << 24
#: Bytes of blocks that are handed over at a time, and batches that wait for the engine.
BATCH_BYTES: Final = 1 << 20
BATCHES_MAX: Final = 16


class Outcome(NamedTuple):
    """End of a fetch. ``why``: reason for which it ended too early, else "". ``again``: a later attempt may succeed."""

    why: str = ""
    again: bool = True


class LiveFetch:
    """A fetch under way, from its start to ``close``.

    ``slice_number``, ``end``: where the own journal ends. Calls ``on_blocks`` with sealed blocks in order, and
    ``on_digests`` with event digests that the primary has recorded, each at the first command of its block; then
    ``on_end`` once, all on the running event loop and none after ``close``. Report what is applied with ``on_applied``.
    """

    def __init__(
        self,
        address: tuple[str, int],
        secret: bytes,
        own: Peer,
        slice_number: int,
        end: Position,
        *,
        on_blocks: Callable[[list[bytes]], int],
        on_digests: Callable[[list[Position]], None],
        on_end: Callable[[Outcome], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._address, self._secret, self._own = address, secret, own
        self._slice_number, self._end = slice_number, end
        self._on_blocks, self._on_digests, self._on_end = on_blocks, on_digests, on_end
        self._room = threading.Semaphore(BATCHES_MAX)
        #: Last command of each batch that is not applied yet.
        self._waiting: deque[int] = deque()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="live fetch", daemon=True)
        self._thread.start()

    # The event loop.

    def on_applied(self, seq: int) -> None:
        """Note that all up to ``seq`` is applied: there is room for further batches."""
        while self._waiting and self._waiting[0] <= seq:
            self._waiting.popleft()
            self._room.release()

    def close(self) -> None:
        """End it; its thread ends by itself. May be repeated."""
        self._closed = True
        self._room.release()

    def _take(self, blocks: list[bytes]) -> None:
        if not self._closed:
            self._waiting.append(self._on_blocks(blocks))

    def _take_digests(self, digests: list[Position]) -> None:
        if not self._closed:
            self._on_digests(digests)

    def _finish(self, outcome: Outcome) -> None:
        if not self._closed:
            self._closed = True
            self._on_end(outcome)

    # The thread.

    def _run(self) -> None:
        try:
            with HistoryLink(self._address, self._secret, self._own) as other:
                outcome = self._fetch(other)
        except HistoryLost as error:
            outcome = Outcome(str(error))
        except (HistoryError, LinkError) as error:
            outcome = Outcome(str(error), again=False)
        except Exception as error:
            # A defect, or a fault of the machine: untold, it would leave this node waiting for the fetch for ever.
            self._call(self._loop.call_exception_handler, {"message": "the fetch failed", "exception": error})
            return
        self._call(self._finish, outcome)

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop has ended, and the node with it
            self._loop.call_soon_threadsafe(function, *arguments)

    def _fetch(self, other: HistoryLink) -> Outcome:
        if other.common(self._slice_number, [self._end]) is None:
            return Outcome("the primary does not have the last block of this journal", again=False)
        from_seq = digest_seq = self._end.seq
        while not self._closed:
            last_seq, is_closed, digest_seq = self._stretch(other, from_seq, digest_seq)
            if is_closed:
                return Outcome("the primary has begun a new slice of its journal", again=False)
            if last_seq - from_seq <= BEHIND_MAX:
                break
            from_seq = last_seq
        return Outcome()

    def _stretch(self, other: HistoryLink, from_seq: int, digest_seq: int) -> tuple[int, bool, int]:
        """Fetch the blocks after ``from_seq``, up to the primary's end at the request.

        Gives the last command, True if the slice is closed, and the block of the last digest.
        """
        batch: list[bytes] = []
        batch_bytes, last_seq, is_closed = 0, from_seq, False
        asked = other.ask(
            "blocks", slice=self._slice_number, from_seq=from_seq + 1, to_seq=0, after_digest_seq=digest_seq
        )
        for frame in asked:
            if frame.kind == Kind.BLOCK:
                batch.append(frame.payload)
                batch_bytes += len(frame.payload)
                if batch_bytes < BATCH_BYTES:
                    continue
            if batch:
                self._room.acquire()
                if self._closed:
                    return last_seq, False, digest_seq
                self._call(self._take, batch)
                batch, batch_bytes = [], 0
            if frame.kind == Kind.RECORDED:
                digests = link.unpack_positions(frame.payload)
                self._call(self._take_digests, digests)
                digest_seq = digests[-1].seq if digests else digest_seq
            elif frame.kind == Kind.DONE:
                told = link.unpack_map(frame.payload, {"last_seq": int, "is_closed": bool})
                last_seq, is_closed = told["last_seq"], told["is_closed"]
        return last_seq, is_closed, digest_seq
