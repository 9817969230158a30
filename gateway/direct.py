"""Direct connections: live ones whose descriptors the compiled turn reads and writes by itself (``gateway.turn``).

The event loop keeps the transport of a direct connection, with reading paused; between two calls of the kernel all of
Python may do with it what it likes, since one thread does both. The kernel also waits for the loop: it sleeps in a poll
of the direct connections and of the loop's own poll, and returns when the loop has work. A connection is taken back by
the loop when it ends, does not read what it is sent, or has to be read in Python.
"""

import asyncio
import os
import resource
import select
import time
from contextlib import suppress
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.engine import Engine
from engine.jit import Packed
from engine.records import EVENT, concatenate
from gateway import turn as t
from gateway.arrival_log import ArrivalLog
from gateway.arrivals import Arrivals
from gateway.attention import Beat
from gateway.connection import LEAST_ROOM_BYTES, REGION_BYTES, Connection
from gateway.streams import Segment, Streams
from sequencer.clock import MarketClock
from sequencer.stamp import LiveStamp
from wire.soup_session import State

#: Longest stay in the kernel after the first block of a call, which the journal and the spool wait for.
STAY_NS: Final = 5_000_000
#: Longest stay without a block, and longest sleeps: just after a block, and on a quiet node. The loop's
#: timers are late by as much.
QUIET_STAY_NS: Final = 10_000_000
NAP_MS: Final = 1
SLEEP_MS: Final = 10
#: Calls without a block after which a node is quiet.
_NAPS: Final = 100
#: Wait where the market has no room, in seconds.
_NO_ROOM_S: Final = 0.001
#: Factor of the time of polling where answers wait for a disk or for another node.
_BUSY_WAITING: Final = 10
#: Turns of the most rows for which there is room in one call of the kernel.
_TURNS_ROOM: Final = 16
#: Descriptors above are not direct.
_DESCRIPTORS_MAX: Final = 1 << 20
_BLOCK_WORDS: Final = t.BLOCK.itemsize // 8
_MOMENTS: Final = slice(list(t.BLOCK.names or ()).index("read_ns"), None)


class MadeBlock(NamedTuple):
    """Block that is stamped and applied, but not journaled: COMMAND and EVENT rows, owned by the caller only for now.

    ``time_ns``: market time at its end. ``moments``: int64[n, 7], the times of each turn in it (``node.stages``).
    ``answered``: False if its users' messages are to be made, where they may leave.
    """

    first_seq: int
    commands: NDArray[Any]
    events: NDArray[Any]
    time_ns: int
    moments: NDArray[np.int64]
    answered: bool


class DirectMarket(Protocol):
    """Market behind direct connections."""

    stamp: LiveStamp

    @property
    def answers_at_once(self) -> bool:
        """True if answers leave before their block is journaled."""
        ...

    def adopt(self, block: MadeBlock) -> None:
        """Journal a block that was made, and answer it where it may be answered."""
        ...


class DirectOwner(Protocol):
    """Gateway as its direct connections see it."""

    bytes_in: int
    bytes_out: int
    orders: int
    turns: int

    def has_room(self) -> bool:
        """True if a turn may be taken."""
        ...

    def reads_others(self) -> bool:
        """True if connections that are not direct wait for a turn."""
        ...

    def on_told(self, segment: Segment, rest: bytes | None, /) -> None:
        """Keep a segment. ``rest``: what its direct connection did not take; None: the user has none."""
        ...

    def on_line_stop(self, connection: Connection, stop: int, /) -> None:
        """Read what the kernel does not: ``stop`` as in a STREAM row."""
        ...


class DirectLines:
    """The direct connections of a node, and their turns. One thread, that of the event loop."""

    def __init__(
        self,
        owner: DirectOwner,
        engine: Engine,
        market: DirectMarket,
        clock: MarketClock,
        streams: Streams,
        arrivals: Packed[Arrivals],
        arrival_log: ArrivalLog | None,
        *,
        rows_max: int,
        busy_poll_ns: int,
    ) -> None:
        self._owner, self._market, self._clock, self._streams = owner, market, clock, streams
        self._arrivals, self._arrival_log = arrivals, arrival_log
        self._engine = engine
        self._loop = asyncio.get_running_loop()
        slots = len(arrivals.arrays.streams)
        descriptors = min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], _DESCRIPTORS_MAX)
        tables = streams.tables
        self._turn = Packed(
            t.new_turn(
                clock.words,
                slots=slots,
                descriptors=descriptors,
                users=len(tables.users),
                rows=_TURNS_ROOM * t.ROWS_ROOM,
                segments=4 * len(tables.segments),
                segment_bytes=4 * len(tables.out),
            )
        )
        turn = self._turn.arrays
        self._lines, self._blocks, self._told = turn.lines, turn.blocks, turn.told
        self._commands, self._events = turn.commands, turn.events
        self._told_bytes = turn.told_bytes.data
        self._queue = turn.queue
        self._words = words = memoryview(turn.words.data)
        self._poll = select.epoll()
        words[t.EPOLL] = self._poll.fileno()
        words[t.REGION_BYTES], words[t.LEAST_ROOM] = REGION_BYTES, LEAST_ROOM_BYTES
        words[t.ROWS_MAX] = words[t.ROWS_LIMIT] = rows_max
        words[t.RECORD_MAX] = 0 if arrival_log is None else arrival_log.full_at
        self._busy_poll_ns = busy_poll_ns
        words[t.STAY_NS] = STAY_NS
        arrays = arrivals.arrays
        for place, array in (
            (t.BUFFER_ADDRESS, arrays.buffer),
            (t.ROWS_ADDRESS, arrays.commands),
            (t.APPLIED_ADDRESS, engine.events),
            (t.OUT_ADDRESS, tables.out),
            (t.GROUPED_ADDRESS, tables.grouped),
        ):
            words[place] = array.ctypes.data
        commands, events = turn.commands[:1], engine.events
        words[t.APPLY] = t.APPLY_BATCH.address(engine.pointers, commands, 0, events, 0)
        words[t.READ] = t.READ_STREAMS.address(arrivals.pointers, 0, 0, 0, 0)
        words[t.ANSWER] = t.ANSWER_BLOCK.address(streams.pointers, 0, commands, events, 0, 0, 0)
        self._by_slot: dict[int, Connection] = {}
        self._scheduled = False
        self._called = True  # the loop may have work
        self._quiet = 0  # calls without a block, one after the other
        loop_fd = _poll_of(self._loop)
        if loop_fd >= 0:
            self._poll.register(loop_fd, select.EPOLLIN)
        self._possible = 0 <= loop_fd < descriptors

    def __len__(self) -> int:
        return len(self._by_slot)

    # Connections.

    def begin(self, connection: Connection) -> bool:
        """Make a connection direct, if it may be now; True if it is direct."""
        if connection.is_direct:
            return True
        if not (self._possible and connection.may_be_direct and self._owner.has_room()):
            return False
        transport = connection.transport
        assert transport is not None, "a connection that may be direct has a transport"
        sock = transport.get_extra_info("socket")
        fd = -1 if sock is None else sock.fileno()
        if not 0 <= fd < len(self._turn.arrays.slot_of):
            return False
        transport.pause_reading()
        self._poll.register(fd, select.EPOLLIN)
        slot = connection.slot
        line, stream = self._lines[slot], self._arrivals.arrays.streams[slot]
        stream["begin"], stream["end"] = connection.begin, connection.end
        line["fd"], line["state"], line["user"], line["queued"] = fd, t.OPEN, connection.user, 0
        line["heard_ns"], line["sent_ns"] = connection.session.heard_ns, connection.session.sent_ns
        line["sent_messages"] = line["owed"] = 0
        self._turn.arrays.slot_of[fd] = slot + 1
        self._turn.arrays.line_of[connection.user] = slot
        self._by_slot[slot] = connection
        connection.is_direct = True
        self._schedule()
        return True

    def end(self, connection: Connection) -> None:
        """Give a connection back to the event loop; its unread bytes stay in its region."""
        if not connection.is_direct:
            return
        slot = connection.slot
        line, stream = self._lines[slot], self._arrivals.arrays.streams[slot]
        fd, owed = int(line["fd"]), int(line["owed"])
        self._note(connection)
        connection.is_direct = False
        connection.begin, connection.end = int(stream["begin"]), int(stream["end"])
        if line["state"] != t.OPEN:
            self._words[t.LINES_STOPPED] -= 1
        if line["queued"]:
            self._leave_queue(slot)
        line["fd"], line["state"], line["queued"] = -1, t.OPEN, 0
        self._turn.arrays.slot_of[fd] = 0
        self._turn.arrays.line_of[connection.user] = -1
        del self._by_slot[slot]
        with suppress(OSError):  # the descriptor may be closed
            self._poll.unregister(fd)
        connection.resume_loop(self._turn.arrays.heartbeat[len(self._turn.arrays.heartbeat) - owed :].tobytes())

    def _leave_queue(self, slot: int) -> None:
        count = self._words[t.QUEUED]
        left = self._queue[:count][self._queue[:count] != slot]
        self._queue[: len(left)] = left
        self._words[t.QUEUED] = len(left)

    def end_all(self) -> list[Connection]:
        """Give all connections back to the event loop; gives those that have unread bytes."""
        ended = list(self._by_slot.values())
        for connection in ended:
            self.end(connection)
        return [connection for connection in ended if connection.end > connection.begin]

    def beat(self, beat: Beat) -> None:
        """Send heartbeats that are due, and give back connections whose clients are silent or do not read."""
        if not self._by_slot:
            return
        words = self._words
        words[t.BYTES_OUT] = 0
        stopped = t.beat_lines(self._turn.pointers, beat.now_ns, beat.passed_ns, beat.away_ns, beat.read_ns)
        self._owner.bytes_out += words[t.BYTES_OUT]
        if stopped:
            self._take_lines()

    def _note(self, connection: Connection) -> None:
        """Pass the times of a direct connection to its session."""
        line = self._lines[connection.slot]
        session = connection.session
        session.heard_ns = max(session.heard_ns, int(line["heard_ns"]))
        if session.state is State.LIVE:
            session.sent(int(line["sent_messages"]), int(line["sent_ns"]))
        line["sent_messages"] = 0

    def send(self, connection: Connection, data: bytes) -> bytes:
        """Send bytes to a direct connection; gives those that it did not take: the loop must send them."""
        try:
            sent = os.write(int(self._lines[connection.slot]["fd"]), data)
        except OSError:
            sent = 0  # the event loop finds out what is wrong
        return data[sent:]

    def limit_rows(self, rows_max: int) -> None:
        """Bound the rows of a turn."""
        self._words[t.ROWS_LIMIT] = rows_max
        self._words[t.ROWS_MAX] = min(self._words[t.ROWS_MAX], rows_max)

    # Turns.

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self.turn)

    def turn(self) -> None:
        """Run the kernel once, and do what it leaves to Python."""
        self._scheduled = False
        if not self._by_slot:
            return
        if not self._owner.has_room():
            self._scheduled = True
            self._loop.call_later(_NO_ROOM_S, self.turn)
            return
        self._run()
        self._schedule()

    def _run(self) -> None:
        words, owner, stamp = self._words, self._owner, self._market.stamp
        words[t.SEQ] = self._engine.seq
        words[t.STAMPED_NS], words[t.EXTENDED] = stamp.now_ns, stamp.extended
        words[t.TOLD_NS] = self._streams.now_ns
        words[t.AT_ONCE] = self._market.answers_at_once and not self._streams.carries
        # Polling without the interpreter takes nothing from the journal's thread: so it lasts as long as a commit may.
        words[t.BUSY_NS] = self._busy_poll_ns * (1 if words[t.AT_ONCE] else _BUSY_WAITING)
        words[t.TURNS] = owner.turns
        words[t.BYTES_IN] = words[t.BYTES_OUT] = words[t.ORDERS] = 0
        # The loop registers descriptors with its poll only as it polls, so a pass of it without work comes first.
        words[t.SLEEP_MS] = 0 if self._called else SLEEP_MS if self._quiet > _NAPS else NAP_MS
        if self._arrival_log is not None:
            words[t.RECORD_AT], words[t.RECORD_FIRST], words[t.RECORD_ROWS] = self._arrival_log.position
        until_ns = 0 if owner.reads_others() else time.monotonic_ns() + QUIET_STAY_NS
        why = self._enter(until_ns)
        while why == t.ROOM and words[t.ANSWER_AT] >= 0:
            self._tell()
            why = self._enter(until_ns)
        self._called = why != t.IDLE
        self._quiet = 0 if words[t.BLOCKS] else self._quiet + 1
        self._streams.now_ns = words[t.TOLD_NS]
        owner.turns = words[t.TURNS]
        owner.bytes_in += words[t.BYTES_IN]
        owner.bytes_out += words[t.BYTES_OUT]
        owner.orders += words[t.ORDERS]
        if words[t.TELLING]:
            self._tell()
        if words[t.BLOCKS]:
            self._give_blocks(why)
        if why == t.JUMPED:
            self._clock.report_jump()
        if words[t.LINES_STOPPED]:
            self._take_lines()

    def _enter(self, until_ns: int) -> int:
        return int(
            t.run_turns(
                self._turn.pointers,
                self._arrivals.pointers,
                self._streams.pointers,
                self._engine.pointers,
                self._engine.events,
                until_ns,
            )
        )

    def _tell(self) -> None:
        """Pass what was told to the spool, and what a connection did not take to the loop."""
        data = self._told_bytes
        for user, first_seq, count, position, begin, size, sent in self._told[: self._words[t.TELLING]].tolist():
            segment = Segment(user, first_seq, count, position, bytes(data[begin : begin + size]))
            self._owner.on_told(segment, None if sent < 0 else segment.data[sent:])
        self._words[t.TELLING] = self._words[t.TELLING_BYTES] = 0

    def _give_blocks(self, why: int) -> None:
        """Pass the blocks that were made to the market: those that are answered as few blocks."""
        words = self._words
        blocks = self._blocks[: words[t.BLOCKS]]
        words[t.BLOCKS] = words[t.COMMANDS] = words[t.EVENTS] = 0
        self._market.stamp.go_on(words[t.STAMPED_NS], extended=bool(words[t.EXTENDED]))
        if self._arrival_log is not None:
            self._arrival_log.go_on(words[t.RECORD_AT], words[t.RECORD_FIRST], words[t.RECORD_ROWS])
        counts = blocks["commands"].tolist()
        last_rows = 0 if blocks["answered"][-1] else counts.pop()
        begin = commands_at = events_at = 0
        rows = 0
        for end, count in enumerate([*counts, t.ROWS_ROOM + 1]):
            if rows + count > t.ROWS_ROOM and end > begin:
                made = blocks[begin:end]
                events = int(made["events"].sum())
                self._market.adopt(self._made(made, commands_at, rows, events_at, events, answered=True))
                begin, commands_at, events_at, rows = end, commands_at + rows, events_at + events, 0
            rows += count
        if last_rows:
            self._give_last(why, blocks[-1:], commands_at, last_rows, events_at)

    def _made(
        self, blocks: NDArray[Any], commands_at: int, rows: int, events_at: int, events: int, *, answered: bool
    ) -> MadeBlock:
        caused = self._events[events_at : events_at + events]
        self._engine.adopt(caused)
        return MadeBlock(
            int(blocks["first_seq"][0]),
            self._commands[commands_at : commands_at + rows],
            caused,
            int(blocks["time_ns"][-1]),
            blocks.view(np.int64).reshape(-1, _BLOCK_WORDS)[:, _MOMENTS],
            answered,
        )

    def _give_last(self, why: int, block: NDArray[Any], commands_at: int, rows: int, events_at: int) -> None:
        """Pass a block that is not answered, or not wholly."""
        words = self._words
        events = int(block["events"][0])
        made = self._made(block, commands_at, rows, events_at, events, answered=why == t.CHECK)
        if why == t.BIG:
            rest = self._engine.complete(made.commands, words[t.BIG_APPLIED], words[t.BIG_EVENTS])
            made.moments[0, 3] = time.perf_counter_ns()
            self._market.adopt(made._replace(events=concatenate([made.events, rest], EVENT)))
            return
        if why == t.CHECK:
            answered = words[t.ANSWER_AT], words[t.ANSWER_SEGMENTS], words[t.ANSWER_CLOCKS], words[t.ANSWER_FLAGS]
            self._streams.go_on(made.first_seq, made.commands, made.events, *answered)
            made.moments[0, 5] = time.perf_counter_ns()
        words[t.ANSWER_AT] = -1
        self._market.adopt(made)

    def _take_lines(self) -> None:
        """Take back the connections that the kernel cannot go on with."""
        for slot in np.flatnonzero(self._lines["state"]).tolist():
            connection = self._by_slot[slot]
            stop = int(self._arrivals.arrays.streams[slot]["stop"]) if self._lines[slot]["state"] == t.STOPPED else 0
            self.end(connection)
            self._owner.on_line_stop(connection, stop)

    def close(self) -> None:
        """Give all connections back, and close the poll."""
        self.end_all()
        self._possible = False
        self._poll.close()


def _poll_of(loop: asyncio.AbstractEventLoop) -> int:
    """Descriptor of the poll of an event loop; -1 if it has none of a known kind."""
    backend = getattr(loop, "_get_backend_id", None)  # uvloop
    if backend is not None:
        return int(backend())
    fileno = getattr(getattr(loop, "_selector", None), "fileno", None)
    return -1 if fileno is None else int(fileno())
