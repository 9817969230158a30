"""Direct connections: live ones whose descriptors the compiled turn reads and writes by itself (``gateway.turn``).

The event loop keeps the transport of a direct connection, with reading paused; between two calls of the kernel all of
Python may do with it what it likes, since one thread does both. The kernel also waits for the loop: it sleeps in a poll
of the direct connections and of the loop's own poll, and returns when the loop has work. A connection is taken back by
the loop when it ends, does not read what it is sent, or has to be read in Python.

The connections are those of one protocol of the node, which has a kernel that answers; the loop serves all others.
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
from engine.jit import Linked, Packed
from engine.records import EVENT, concatenate
from gateway import telling, turn
from gateway import turn_memory as t
from gateway.arrival_log import ArrivalLog
from gateway.arrivals import Arrivals
from gateway.attention import Beat
from gateway.connection import LEAST_ROOM_BYTES, REGION_BYTES, Connection
from gateway.contention import Contention
from gateway.local import LINE
from gateway.messages import Outgoing
from gateway.protocol import Entrance
from gateway.streams import Segment
from sequencer import rows_ahead as a
from sequencer.clock import MarketClock
from sequencer.stamp import LiveStamp
from tape.blocks import Tape, no_tape
from tape.lines import MarketLines
from wire.session_state import State

#: Longest stay in the kernel after the first block of a call, which the journal and the spool wait for, and the copies:
#: shorter where these were sent rows ahead of their block.
STAY_NS: Final = 10_000_000
STAY_AHEAD_NS: Final = 5_000_000
#: Longest stay without a block, and longest sleeps: just after a block, and on a quiet node. The loop's
#: timers are late by as much.
QUIET_STAY_NS: Final = 10_000_000
NAP_MS: Final = 1
SLEEP_MS: Final = 10
#: Calls without a block after which a node is quiet.
_NAPS: Final = 100
#: Wait where the market has no room, in seconds; and where it has none and nobody here waits.
_NO_ROOM_S: Final = 0.001
_NOBODY_S: Final = 0.01
#: Factor of the time of polling where answers wait for a disk or for another node.
_BUSY_WAITING: Final = 10
#: The same where gateway processes have rings: an answer and the next message of its client pass two processes more,
#: and a core that has just gone to sleep takes longer to wake than its whole work for a message.
_BUSY_RINGS: Final = 5
#: Rows of a turn with messages of rings, beside few connections: whoever comes meanwhile waits for a turn of some tens
#: of microseconds, where one of the most rows takes a quarter of a millisecond.
_ROWS_BESIDE: Final = 256
#: Turns of the most rows for which there is room in one call of the kernel.
_TURNS_ROOM: Final = 16
#: Descriptors above are not direct.
_DESCRIPTORS_MAX: Final = 1 << 20
_BLOCK_WORDS: Final = t.BLOCK.itemsize // 8
_MOMENTS: Final = slice(list(t.BLOCK.names or ()).index("read_ns"), None)


class MadeBlock(NamedTuple):
    """Block that is stamped and applied, but not journaled: COMMAND and EVENT rows, owned by the caller only for now.

    ``time_ns``: market time at its end. ``moments``: int64[n, 7], the times of each turn in it (``node.core.stages``).
    ``last_seqs``, ``rows``: last command and number of rows of each turn.
    ``answered``: False if its users' messages are to be made, where they may leave. ``taped``: the tape has it.
    """

    first_seq: int
    commands: NDArray[Any]
    events: NDArray[Any]
    time_ns: int
    moments: NDArray[np.int64]
    last_seqs: NDArray[np.int64]
    rows: NDArray[np.int64]
    answered: bool
    taped: bool


class DirectMarket(Protocol):
    """Market behind direct connections."""

    stamp: LiveStamp

    @property
    def epoch(self) -> int:
        """Epoch of the blocks."""
        ...

    @property
    def answers_at_once(self) -> bool:
        """True if answers leave before their block is journaled."""
        ...

    @property
    def published_seq(self) -> int:
        """Last command whose answers have left."""
        ...

    def adopt(self, block: MadeBlock) -> None:
        """Journal a block that was made, and answer it where it may be answered."""
        ...


class StandbyLine(Protocol):
    """Link of a primary to the standby whose memory answers wait for (``sequencer.rows_ahead``)."""

    #: First 8 bytes of a ROWS and of an ACK frame without payload.
    heads: tuple[bytes, bytes]

    def descriptor(self) -> int:
        """Descriptor of the link, which the event loop does not read from now on; -1: there is none."""
        ...

    def lease_until_ns(self) -> int:
        """Time (CLOCK_BOOTTIME) until which an acknowledgement alone decides on answers; 0: it does not now.

        Nothing else is sent on the link then until ``on_sent``, and it stands between two frames.
        """
        ...

    def epoch(self) -> int:
        """Epoch of the frames."""
        ...

    def on_sent(self, last_seq: int, rest: bytes, /) -> None:
        """Note that rows up to ``last_seq`` were sent ahead of their block, but for ``rest`` of the last frame."""
        ...

    def on_received(self, told_seq: int, data: bytes, stopped: bool, /) -> None:
        """Take what came, now that the blocks are on their way. Clients were told of all up to ``told_seq``.

        stopped: the event loop must read the link.
        """
        ...

    def leave(self) -> None:
        """Let the event loop read the link again."""
        ...


class TurnStreams(Protocol):
    """Streams whose messages a compiled turn makes."""

    now_ns: int

    @property
    def outgoing(self) -> Packed[Outgoing]:
        """Messages that were made last."""
        ...

    @property
    def pointers(self) -> Any:
        """Pointers of the arrays with which the protocol answers."""
        ...

    @property
    def carries(self) -> bool:
        """True if the last block ended with an EXTEND row, which belongs to the first row of the next."""
        ...

    def go_on(
        self,
        first_seq: int,
        commands: NDArray[Any],
        events: NDArray[Any],
        at: int,
        segments: int,
        clocks: int,
        words: int,
        /,
    ) -> None:
        """Go on with a block that a compiled turn has begun to answer; the rest as the kernel gave it there."""
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

    def has_rings(self) -> bool:
        """True if gateway processes send commands by rings."""
        ...

    def keep_told(self) -> None:
        """Have the spool take the messages that turns have sent, for those who come back."""
        ...

    def write_some(self) -> None:
        """Have the spool write some of what it has taken."""
        ...

    def on_unsent(self, segment: Segment, sent: int, /) -> None:
        """Send what turns have kept: all but the first ``sent`` bytes; -1: the user has no direct connection."""
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
        entrance: Entrance,
        arrivals: Packed[Arrivals],
        arrival_log: ArrivalLog | None,
        *,
        rows_max: int,
        busy_poll_ns: int,
        tape: Packed[Tape] | None = None,
        lines: MarketLines | None = None,
    ) -> None:
        """``tape``: that to which the kernel writes each block. ``lines``: of programs beside the node. None: none."""
        self._owner, self._market, self._clock = owner, market, clock
        self._entrance, protocol = entrance, entrance.protocol
        self._known = entrance.known
        self._streams: TurnStreams = entrance.outbox.streams
        self._arrivals, self._arrival_log = arrivals, arrival_log
        self._engine = engine
        self._loop = asyncio.get_running_loop()
        slots = len(arrivals.arrays.streams)
        descriptors = min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], _DESCRIPTORS_MAX)
        outgoing = self._streams.outgoing.arrays
        users = len(outgoing.segments)
        self._kept = entrance.outbox.await_told(users, 4 * len(outgoing.out))
        memory = t.new_turn(
            clock.words,
            protocol.heartbeat,
            slots=slots,
            descriptors=descriptors,
            users=users,
            rows=_TURNS_ROOM * t.ROWS_ROOM,
            told=self._kept,
            segments=4 * users,
            segment_bytes=2 * len(outgoing.out),
            lines=lines,
        )
        self._turn = Packed(memory)
        self._lines, self._blocks, self._told = memory.lines, memory.blocks, memory.told
        self._commands, self._events = memory.commands, memory.events
        self._told_bytes = memory.told_bytes.data
        self._queue = memory.queue
        self._words = words = memoryview(memory.words.data)
        self._poll = select.epoll()
        words[t.EPOLL] = self._poll.fileno()
        words[t.REGION_BYTES], words[t.LEAST_ROOM] = REGION_BYTES, LEAST_ROOM_BYTES
        words[t.ROWS_MAX] = words[t.ROWS_LIMIT] = rows_max
        words[t.RECORD_MAX] = 0 if arrival_log is None else arrival_log.full_at
        self._busy_poll_ns = busy_poll_ns
        self._contention, self._published_seq = Contention(), market.published_seq
        self._local = lines
        self._tape = Packed(no_tape()) if tape is None else tape
        words[t.TAPED], words[t.TAPE_ADDRESS] = tape is not None, self._tape.arrays.data.ctypes.data
        words[t.HEARTBEAT_NS], words[t.SILENCE_NS] = protocol.heartbeat_ns, protocol.silence_ns
        arrays = arrivals.arrays
        for place, array in (
            (t.BUFFER_ADDRESS, arrays.buffer),
            (t.ROWS_ADDRESS, arrays.commands),
            (t.APPLIED_ADDRESS, engine.events),
            (t.OUT_ADDRESS, outgoing.out),
            (t.GROUPED_ADDRESS, outgoing.grouped),
        ):
            words[place] = array.ctypes.data
        commands, events = memory.commands[:1], engine.events
        if protocol.answer_block is None:
            raise ValueError(f"{protocol.name} has no kernel that answers a block")
        read = Linked(protocol.read_streams, turn.READ_VALUES)
        answer = Linked(protocol.answer_block, telling.ANSWER_VALUES)
        words[t.APPLY] = turn.APPLY_BATCH.address(engine.pointers, commands, 0, events, 0)
        words[t.READ] = read.address(arrivals.pointers, self._known.pointers, 0, 0, 0, 0)
        words[t.ANSWER] = answer.address(self._streams.pointers, 0, commands, events, 0, 0, 0)
        self._by_slot: dict[int, Connection] = {}
        self._scheduled = False
        self._called = True  # the loop may have work
        self._quiet = 0  # calls without a block, one after the other
        self._possible = self._watch_loop(descriptors)
        self._standby_line: StandbyLine | None = None
        self._link_fd = -1
        self._ahead = Packed(a.new_ahead(read_bytes=8))
        self._ahead_words = memoryview(self._ahead.arrays.words.data)

    def __len__(self) -> int:
        return len(self._by_slot)

    def _watch_loop(self, descriptors: int) -> bool:
        """Have the kernel wait for the event loop too; True if it can, so that connections may be direct."""
        loop_fd = poll_of(self._loop)
        if loop_fd >= 0:
            self._poll.register(loop_fd, select.EPOLLIN)
        return 0 <= loop_fd < descriptors

    # The link to the standby.

    def lead(self, line: StandbyLine) -> None:
        """Send rows ahead of their block on the link to the standby, where that decides on the answers."""
        self._standby_line = line
        self._ahead = Packed(a.new_ahead(*line.heads))
        self._ahead_words = memoryview(self._ahead.arrays.words.data)

    def _prepare_link(self, line: StandbyLine) -> None:
        words, ahead = self._words, self._ahead_words
        fd = line.descriptor()
        if fd != self._link_fd:
            self._leave_link()
            if 0 <= fd < len(self._turn.arrays.slot_of):
                self._poll.register(fd, select.EPOLLIN)
                self._turn.arrays.slot_of[fd] = t.LINK_SLOT
                self._link_fd = fd
        until_ns = line.lease_until_ns() if self._link_fd >= 0 else 0
        words[t.AHEAD], words[t.LEASE_UNTIL_NS] = until_ns > 0, until_ns
        ahead[a.FD], ahead[a.EPOCH], ahead[a.LIVE] = self._link_fd, line.epoch(), until_ns > 0
        ahead[a.SENT] = ahead[a.ACKED] = words[t.SEQ]
        ahead[a.READ_END] = ahead[a.PARSED] = ahead[a.STOPPED] = ahead[a.OWED] = 0

    def _leave_link(self) -> None:
        """Read the link no more."""
        fd, self._link_fd = self._link_fd, -1
        if fd >= 0 and self._turn.arrays.slot_of[fd] == t.LINK_SLOT:  # no connection has the descriptor by now
            self._turn.arrays.slot_of[fd] = 0
            with suppress(OSError):  # the descriptor may be closed
                self._poll.unregister(fd)

    def _note_sent(self, line: StandbyLine, before_seq: int) -> None:
        ahead = self._ahead_words
        if ahead[a.SENT] > before_seq:
            end, owed = ahead[a.OUT_END], ahead[a.OWED]
            line.on_sent(ahead[a.SENT], self._ahead.arrays.out.tobytes()[end - owed : end] if owed else b"")

    def _note_received(self, line: StandbyLine, told_seq: int, why: int) -> None:
        ahead = self._ahead_words
        data = self._ahead.arrays.read[: ahead[a.READ_END]].tobytes()
        stopped = why == t.LINK and not data
        if data or told_seq or stopped:
            line.on_received(told_seq, data, stopped)

    # Connections.

    def begin(self, connection: Connection) -> bool:
        """Make a connection direct, if it may be now; True if it is direct."""
        if connection.is_direct:
            return True
        if connection.entrance is not self._entrance or not self._possible:
            return False
        if not (connection.may_be_direct and self._owner.has_room()):
            return False
        transport = connection.transport
        assert transport is not None, "a connection that may be direct has a transport"
        sock, number = transport.get_extra_info("socket"), transport.get_extra_info(LINE)
        fd = -1 if sock is None else sock.fileno()
        if number is None and not 0 <= fd < len(self._turn.arrays.slot_of):
            return False
        transport.pause_reading()
        slot = connection.slot
        line, stream = self._lines[slot], self._arrivals.arrays.streams[slot]
        stream["begin"], stream["end"] = connection.begin, connection.end
        line["fd"], line["state"], line["user"], line["queued"] = fd, t.OPEN, connection.user, 0
        line["heard_ns"], line["sent_ns"] = connection.session.heard_ns, connection.session.sent_ns
        line["sent_messages"] = line["owed"] = 0
        if number is None:
            self._poll.register(fd, select.EPOLLIN)
            self._turn.arrays.slot_of[fd] = slot + 1
        else:
            line["line"] = number + 1
            self._turn.arrays.slot_of_line[number] = slot
            self._words[t.LOCAL] += 1
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
        number = int(line["line"]) - 1
        line["fd"], line["state"], line["queued"], line["line"] = -1, t.OPEN, 0, 0
        if number >= 0:
            self._turn.arrays.slot_of_line[number] = -1
            self._words[t.LOCAL] -= 1
        else:
            self._turn.arrays.slot_of[fd] = 0
            with suppress(OSError):  # the descriptor may be closed
                self._poll.unregister(fd)
        self._turn.arrays.line_of[connection.user] = -1
        del self._by_slot[slot]
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
        stopped = turn.beat_lines(self._turn.pointers, beat.now_ns, beat.passed_ns, beat.away_ns, beat.read_ns)
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
        number = int(self._lines[connection.slot]["line"]) - 1
        if number >= 0:
            assert self._local is not None, "a direct connection on a line has one"
            return data[max(self._local.put(number, data), 0) :]
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

    def wake(self) -> bool:
        """Read the rings of gateway processes in compiled turns from now on, if there are any; False if that cannot
        be."""
        if not self._possible:
            return False
        if self._owner.has_rings():
            self._schedule()
        return True

    def turn(self) -> None:
        """Run the kernel once, and do what it leaves to Python."""
        self._scheduled = False
        if not self._by_slot and not self._owner.has_rings():
            if self._link_fd >= 0 and self._standby_line is not None:
                self._leave_link()
                self._standby_line.leave()
            return
        if not self._owner.has_room():
            self._scheduled = True
            self._loop.call_later(_NO_ROOM_S if self._by_slot else _NOBODY_S, self.turn)
            return
        self._run()
        self._schedule()

    def _run(self) -> None:
        words, owner, stamp = self._words, self._owner, self._market.stamp
        words[t.SEQ] = self._engine.seq
        words[t.STAMPED_NS], words[t.EXTENDED] = stamp.now_ns, stamp.extended
        words[t.TOLD_NS], words[t.EPOCH] = self._streams.now_ns, self._market.epoch
        words[t.AT_ONCE] = self._market.answers_at_once and not self._streams.carries
        before_seq, line = words[t.SEQ], self._standby_line
        if line is not None:
            self._prepare_link(line)
            words[t.AHEAD] = words[t.AHEAD] and not self._streams.carries
        words[t.STAY_NS] = STAY_AHEAD_NS if words[t.AHEAD] else STAY_NS
        self._set_patience(bool(words[t.AT_ONCE] or words[t.AHEAD]))
        words[t.TURNS], words[t.ROWS_BESIDE] = owner.turns, _ROWS_BESIDE if self._by_slot else 0
        words[t.BYTES_IN] = words[t.BYTES_OUT] = words[t.ORDERS] = 0
        words[t.TOLD_FROM], words[t.UNTAKEN] = words[t.TELLING], 0  # the spool may have taken some meanwhile
        # The loop registers descriptors with its poll only as it polls, so a pass of it without work comes first.
        words[t.SLEEP_MS] = 0 if self._called else SLEEP_MS if self._quiet > _NAPS else NAP_MS
        if self._arrival_log is not None:
            words[t.RECORD_AT], words[t.RECORD_FIRST], words[t.RECORD_ROWS] = self._arrival_log.position
        until_ns = 0 if owner.reads_others() else time.monotonic_ns() + QUIET_STAY_NS
        why = self._enter(until_ns)
        while why == t.ROOM and words[t.ANSWER_AT] >= 0:
            self._tell()
            owner.keep_told()
            words[t.TOLD_FROM] = words[t.TELLING]
            why = self._enter(until_ns)
        self._called = why != t.IDLE
        self._quiet = 0 if words[t.BLOCKS] else self._quiet + 1
        self._streams.now_ns = words[t.TOLD_NS]
        owner.turns = words[t.TURNS]
        owner.bytes_in += words[t.BYTES_IN]
        owner.bytes_out += words[t.BYTES_OUT]
        owner.orders += words[t.ORDERS]
        if words[t.TELLING] > words[t.TOLD_FROM]:
            self._tell()
            if self._kept.is_full:
                owner.keep_told()
        owner.write_some()
        if line is not None:
            self._note_sent(line, before_seq)
        told_seq = 0
        if words[t.BLOCKS]:
            told_seq = self._told_seq(why)
            self._give_blocks(why)
        if line is not None:
            self._note_received(line, told_seq if words[t.AHEAD] else 0, why)
        if words[t.JUMP]:
            words[t.JUMP] = 0
            self._clock.report_jump()
        if words[t.LINES_STOPPED]:
            self._take_lines()

    def _set_patience(self, at_once: bool) -> None:
        """Set how long the kernel polls. at_once: answers wait for no disk.

        Polling without the interpreter takes nothing from the journal's thread: so it lasts as long as a commit may.
        Where all clients come by rings it begins with the answer: before that it would give no answer sooner, and a
        gateway that waits for the disk polls as well, while the journal's thread may need a processor. Where others
        wait for this core it is theirs: an answer that waits for a disk loses a wake-up at most.
        """
        words, published_seq, contended = self._words, self._market.published_seq, self._contention.is_high()
        factor = _BUSY_WAITING if self._by_slot and not contended else 0
        if at_once:
            factor = _BUSY_RINGS if self._owner.has_rings() and not contended else 1
        elif not self._by_slot and not contended and published_seq != self._published_seq:
            words[t.BUSY_UNTIL_NS] = time.monotonic_ns() + self._busy_poll_ns * _BUSY_RINGS
        words[t.BUSY_NS] = self._busy_poll_ns * factor
        self._published_seq = published_seq

    def _enter(self, until_ns: int) -> int:
        return int(
            turn.run_turns(
                self._turn.pointers,
                self._arrivals.pointers,
                self._known.pointers,
                self._streams.pointers,
                self._streams.outgoing.pointers,
                self._ahead.pointers,
                self._tape.pointers,
                self._engine.pointers,
                self._engine.events,
                until_ns,
            )
        )

    def _tell(self) -> None:
        """Pass what a connection did not take to the loop."""
        words = self._words
        if words[t.UNTAKEN]:
            rows = self._told[words[t.TOLD_FROM] : words[t.TELLING]]
            for user, first_seq, count, position, begin, size, sent in rows[rows["sent"] != rows["bytes"]].tolist():
                told = bytes(self._told_bytes[begin : begin + size])
                self._owner.on_unsent(Segment(user, first_seq, count, position, told), sent)
        words[t.TOLD_FROM], words[t.UNTAKEN] = words[t.TELLING], 0

    def _told_seq(self, why: int) -> int:
        """Last command of the blocks that are answered, by the kernel or, of the last one, by Python; 0: none are."""
        answered = self._words[t.NEXT_BLOCK] + (why == t.CHECK)
        if not answered:
            return 0
        last = self._blocks[answered - 1]
        return int(last["first_seq"]) + int(last["commands"]) - 1

    def _give_blocks(self, why: int) -> None:
        """Pass the blocks that were made to the market: those that are answered as few blocks, then the others."""
        words = self._words
        blocks, answered = self._blocks[: words[t.BLOCKS]], words[t.NEXT_BLOCK]
        words[t.BLOCKS] = words[t.COMMANDS] = words[t.EVENTS] = 0
        words[t.NEXT_BLOCK] = words[t.NEXT_COMMAND] = words[t.NEXT_EVENT] = 0
        self._market.stamp.go_on(words[t.STAMPED_NS], extended=bool(words[t.EXTENDED]))
        if self._arrival_log is not None:
            self._arrival_log.go_on(words[t.RECORD_AT], words[t.RECORD_FIRST], words[t.RECORD_ROWS])
        place = self._give_joined(blocks[:answered], (0, 0), answered=True)
        rest = blocks[answered:]
        if why == t.CHECK:
            place = self._give_partly_answered(rest[0:1], place)
            rest = rest[1:]
        big = len(rest) - 1 if why == t.BIG else len(rest)
        place = self._give_joined(rest[:big], place, answered=False)
        if why == t.BIG:
            self._give_big(rest[big:], place)
        words[t.ANSWER_AT] = -1

    def _give_joined(self, blocks: NDArray[Any], place: tuple[int, int], *, answered: bool) -> tuple[int, int]:
        """Pass blocks to the market, as few as they make with the most rows of one; ``place``: first command and event.

        Gives the place after them.
        """
        counts = blocks["commands"].tolist()
        begin = rows = 0
        for end, count in enumerate([*counts, t.ROWS_ROOM + 1]):
            if rows + count > t.ROWS_ROOM and end > begin:
                made = self._made(blocks[begin:end], place, answered=answered)
                self._market.adopt(made)
                place = place[0] + rows, place[1] + len(made.events)
                begin, rows = end, 0
            rows += count
        return place

    def _made(self, blocks: NDArray[Any], place: tuple[int, int], *, answered: bool) -> MadeBlock:
        rows, events = int(blocks["commands"].sum()), int(blocks["events"].sum())
        caused = self._events[place[1] : place[1] + events]
        self._engine.adopt(caused)
        return MadeBlock(
            int(blocks["first_seq"][0]),
            self._commands[place[0] : place[0] + rows],
            caused,
            int(blocks["time_ns"][-1]),
            blocks.view(np.int64).reshape(-1, _BLOCK_WORDS)[:, _MOMENTS],
            blocks["first_seq"] + blocks["commands"] - 1,
            blocks["commands"],
            answered,
            bool(self._words[t.TAPED]),
        )

    def _give_partly_answered(self, block: NDArray[Any], place: tuple[int, int]) -> tuple[int, int]:
        """Answer the rest of a block, and pass it to the market; gives the place after it."""
        words = self._words
        made = self._made(block, place, answered=True)
        answered = words[t.ANSWER_AT], words[t.ANSWER_SEGMENTS], words[t.ANSWER_CLOCKS], words[t.ANSWER_FLAGS]
        self._streams.go_on(made.first_seq, made.commands, made.events, *answered)
        made.moments[0, 5] = time.perf_counter_ns()
        self._market.adopt(made)
        return place[0] + len(made.commands), place[1] + len(made.events)

    def _give_big(self, block: NDArray[Any], place: tuple[int, int]) -> None:
        """Apply the rest of a block with more events than there was room for, and pass it to the market."""
        made = self._made(block, place, answered=False)
        rest = self._engine.complete(made.commands, self._words[t.BIG_APPLIED], self._words[t.BIG_EVENTS])
        made.moments[0, 3] = time.perf_counter_ns()
        self._market.adopt(made._replace(events=concatenate([made.events, rest], EVENT), taped=False))

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
        self._leave_link()
        if self._standby_line is not None:
            self._standby_line.leave()
        self._contention.close()
        self._poll.close()


def poll_of(loop: asyncio.AbstractEventLoop) -> int:
    """Descriptor of the poll of an event loop; -1 if it has none of a known kind."""
    backend = getattr(loop, "_get_backend_id", None)  # uvloop
    if backend is not None:
        return int(backend())
    fileno = getattr(getattr(loop, "_selector", None), "fileno", None)
    return -1 if fileno is None else int(fileno())
