"""Blocks of a running node into a projection of a program beside it: from the tape, and from the journal those that the
tape has lost.

    tape, journal --> replay.feed --> TapeFollower --> projection --> image in a folder of the program
                                           '--> ``then``: the program's own work on what is new

The follower takes blocks in turns of some milliseconds on the event loop of its program; between two it sleeps, in a
thread, on a doorbell of its own that rings for what is released: what it may not tell yet would wake it for nothing, at
the cost of the core (ADR 104). Whatever the program does, and however it ends, the market goes on. After a start it
goes on from its image, and the projection makes the same of the same blocks.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from checkpoints import Projection
from engine.capacity import Capacity
from engine.records import CommandKind
from journal.history import History
from journal.slices import make_private
from node.gateways import image as gateway_image
from node.gateways.image_schedule import ImageSchedule
from replay.feed import Feed
from replay.live_reports import room_that_is_there
from replay.market_rows import MARKET_ROWS, tape_of
from replay.past import PlayedRows
from tape.agents import Call, Measured
from tape.doorbell import Doorbell
from tape.errors import TapeError
from tape.places import Place
from tape.reader import TapeReader
from tape.writer import NAME_BYTES

#: Longest work on blocks before the loop has its turn, in ns.
_TURN_NS: Final = 5_000_000
#: Wait where the journal has not yet what the tape has lost, and longest sleep for a block.
_LAG_S: Final = 0.002
_SLEEP_NS: Final = 100_000_000
#: Longest wait of a program that spins before the loop has its turn, and its interval of looks whether the node lives.
_SPIN_NS: Final = 500_000
_LOOK_NS: Final = 20_000_000
#: Time for the last blocks at the end, in seconds.
_LAST_S: Final = 1.0


class NoNode(Exception):
    """No node writes a tape in the directory; the message says what to do."""


class Market(NamedTuple):
    """The market of a running node: its tape, the id of its journal, and room that is enough for all of it."""

    directory: Path
    tape: TapeReader
    journal_id: bytes
    capacity: Capacity


def market_of(directory: Path) -> Market:
    """The market of the node that runs in a data directory. Raises NoNode, OSError, and what the journal raises."""
    with History.open(directory) as history:
        journal_id, capacity = history.journal_id, room_that_is_there(history)
    try:
        return Market(directory, TapeReader(tape_of(directory), journal_id, MARKET_ROWS), journal_id, capacity)
    except (TapeError, OSError) as error:
        raise NoNode(
            f"no node writes a tape in {directory}; start it with `lockstep serve`, --tape-mb above 0"
        ) from error


def _bell_of(tape: TapeReader) -> Doorbell:
    """Doorbell of this reader alone for what is released; where all have an owner, that for all that is published."""
    try:
        return tape.release_bell
    except TapeError:
        return tape.bell


def _ignore(_what: object) -> None:
    """Do nothing more with a block, or a reason."""


class Direct(Protocol):
    """A kernel that takes blocks from the tape. ``carries``: the last one ended with a row for the next."""

    carries: bool

    def take(self, feed: Feed, wait_ns: int, /) -> int | None:
        """Take blocks, and wait for the first so long; gives their number, None where the next is for ``feed``."""
        ...


class TapeFollower:
    """Blocks of a node into a projection, on a running event loop.

    folder: of the image; name: under which the node shows the reader. ``on_fault``: called with the fault that ends
    the following, also that the node has ended (NoNode). ``then``: called after each turn. ``on_rows``: called with
    each block after the projection has it. in_steps: takes a block into the projection in place of its ``observe``, a
    step at a time; between two the loop may have its turn. direct: a kernel that takes what it can, for a program
    without ``on_rows``; spins: it waits for blocks without sleep. on_no_image: called with the reason for which an
    image could not be written. ``agent``: the work on blocks, with its counters.
    """

    def __init__(
        self,
        market: Market,
        folder: Path,
        name: str,
        projection: Projection,
        on_fault: Callable[[BaseException], None],
        then: Callable[[], None] = lambda: None,
        on_rows: Callable[[PlayedRows], None] = _ignore,
        direct: "Direct | None" = None,
        *,
        in_steps: Callable[[PlayedRows], Iterator[None]] | None = None,
        spins: bool = False,
        on_no_image: Callable[[str], None] = _ignore,
    ) -> None:
        """Restore the projection. Raises OSError, and what journal and replay raise."""
        self._direct, self._spins = direct, spins and direct is not None
        self._wait_ns = 0  # of the kernel, for the next block
        self._look_ns = 0  # when it was last looked whether the node lives
        self.market, self.projection = market, projection
        self.tape = market.tape
        self._folder, self._on_fault, self._then, self._on_rows = folder, on_fault, then, on_rows
        self._loop = asyncio.get_running_loop()
        make_private(folder)
        self._images = ImageSchedule(folder, market.directory, projection, self._standing, on_no_image, on_fault)
        #: Reason for which the projection is made from the journal; "" where an image was there.
        seq, self.why = gateway_image.restore(folder, market.directory, projection)
        self.feed = Feed(market.directory, market.journal_id, seq, name=name[:NAME_BYTES])
        self.agent = Measured(Call(name, self._take_blocks))
        self._images.begin_behind(seq)
        self._carries = self._more = self._working = self._stopping = False
        self._steps = in_steps or self._whole
        self._rest: Iterator[None] | None = None  # of a block that is not all taken
        self._is_broken = False  # the projection is within a block, or a fault has left it there
        self._idle = threading.Event()
        self._bell: Doorbell | None = None  # on which it sleeps, once it follows
        self._watch = threading.Thread(target=self._watch_tape, name="tape", daemon=True)

    @property
    def seq(self) -> int:
        """The last command that was taken."""
        return self.feed.seq

    async def catch_up(self) -> None:
        """Take what is released now, or less where it is given up meanwhile. Raises NoNode, and what replay raises."""
        released_seq = self.tape.load(Place.RELEASED)
        while not self._stopping and (self.feed.seq < released_seq or self._rest is not None):
            seq = self.feed.seq
            self.agent.turn()
            if self.feed.ended:
                raise self._no_node()
            await asyncio.sleep(0 if self.feed.seq > seq or self._more else _LAG_S)

    def give_up(self) -> None:
        """Take nothing more: the program is to end, and its next start goes on from there."""
        self._stopping = True

    def start(self) -> None:
        """Follow from now on."""
        if self._spins:
            self._wait_ns = _SPIN_NS
        else:
            self._bell = _bell_of(self.tape)
            self._bell.arm()
            self._bell.ring()
            self._watch.start()
        self._turn()

    def take_last(self) -> None:
        """Take what is released, for a moment: before an orderly end."""
        until_s = time.monotonic() + _LAST_S
        with suppress(TapeError, OSError):
            while not self._is_broken and self._take_blocks() and time.monotonic() < until_s:
                pass

    async def stop(self) -> None:
        """End following, with the rest of a block and a last image. Raises OSError, JournalError."""
        self._stopping = True
        self._idle.set()
        if self._bell is not None:
            self._bell.ring()
        try:
            if self._rest is not None:
                self._take_steps(self._rest, None)
            await self._images.save_last()
        finally:
            self.feed.close()

    def _no_node(self) -> NoNode:
        return NoNode(f"the node of {self.market.directory} has ended; start it again")

    def _watch_tape(self) -> None:
        """Wake the loop for each block that is released, in a thread that sleeps on the tape's doorbell."""
        bell = self._bell
        assert bell is not None, "it follows"
        while not self._stopping:
            bell.arm()
            if self.tape.load(Place.RELEASED) <= self.feed.seq and self.tape.writer_lives():
                bell.sleep(_SLEEP_NS)
            self._idle.clear()
            try:
                self._loop.call_soon_threadsafe(self._turn)
            except RuntimeError:
                return  # the loop has ended
            self._idle.wait()

    def _turn(self) -> None:
        if self._stopping or self._working:
            return
        self._working = True
        try:
            self.agent.turn()
            self._then()
            self._images.look()
        except Exception as error:  # damage, or a defect: it ends the program, which is started again
            self._stopping = self._is_broken = True
            self._idle.set()
            self._on_fault(error)
            return
        finally:
            self._working = False
        if self.feed.ended:
            self._on_fault(self._no_node())
        elif self._more or self._spins:
            self._loop.call_soon(self._turn)
        elif self.feed.lags:
            self._loop.call_later(_LAG_S, self._turn)
        else:
            self._idle.set()

    def _take_blocks(self) -> int:
        """Take blocks for a while; gives the number of commands. ``_more`` is True then if there may be more now."""
        seq, until_ns = self.feed.seq, time.monotonic_ns() + _TURN_NS
        self._more = True
        while self._more and time.monotonic_ns() <= until_ns:
            if self._direct is not None and self._take_direct(self._direct):
                continue
            if self._rest is None:
                rows = self.feed.take()
                if rows is None:
                    self._more = self.feed.replays
                    continue
                self._carries = bool(rows.commands["kind"][-1] == CommandKind.EXTEND)
                self._rest = self._steps(rows)
            self._take_steps(self._rest, until_ns)
        return self.feed.seq - seq

    def _whole(self, rows: PlayedRows) -> Iterator[None]:
        """A block in one step, with no break behind it."""
        self.projection.observe(rows.first_seq, rows.commands, rows.events)
        self._on_rows(rows)
        yield from ()

    def _take_steps(self, rest: Iterator[None], until_ns: int | None) -> None:
        """Take steps of a block, until a time of the monotonic clock or all. No image is made of a part of a block."""
        self._is_broken, self._rest = True, None
        for _ in rest:
            if until_ns is not None and time.monotonic_ns() > until_ns:
                self._rest = rest
                return
        self._is_broken = False

    def _take_direct(self, direct: "Direct") -> bool:
        """Have the kernel take blocks; False where the next look is for ``feed``."""
        self._is_broken = True
        took = direct.take(self.feed, self._wait_ns)
        self._is_broken = False
        if took:
            self._carries = direct.carries
            return True
        now_ns = time.monotonic_ns()
        if took is None or not self._wait_ns or now_ns - self._look_ns >= _LOOK_NS:
            self._look_ns = now_ns
            return False
        self._more = False
        return True

    # Images.

    def _standing(self) -> int | None:
        """The last command that was taken, where there can be an image of it."""
        seq = self.feed.seq
        whole = not self._is_broken and not self._carries and self._rest is None
        return seq if whole and self.tape.load(Place.JOURNALED) >= seq else None
