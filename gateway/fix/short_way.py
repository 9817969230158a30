"""The short way of a plain message: kernels put it into the ring to the core, and answer it from the tape.

A message alone pays for each step of Python what many of them would share. So where a client's bytes are plain messages
and nothing else (``gateway.fix.reading``), of a session in its plain state, one kernel reads, checks and numbers them
and puts their rows into the ring, all of them or none. A second one waits a moment for the core, takes the block
(``gateway.fix.taking``), writes the reports (``gateway.fix.writing``) and sends them. Python keeps the records and
counts afterwards, before anything else happens.

What is not plain is left as it was, and goes the long way, which comes to the same bytes: Python is the judge
(``tests/test_fix_short_way.py``).
"""

from typing import Any, Final, NamedTuple

import numpy as np

from engine.capacity import Capacity
from engine.jit import Linked, Packed, call_by_address, called, unpack_pointers
from engine.records import COMMAND, CommandKind
from gateway.fix.kept_orders import KeptOrders
from gateway.fix.marks import SEQ_MAX
from gateway.fix.reading import ROWS, expected_of, form, read_orders
from gateway.fix.taking import GROUPS, OTHER, WHOLE, Taking, example_of_taking, new_taking, take_block
from gateway.fix.telling import Telling, example_of_telling
from gateway.fix.writing import Head, desk, head_of, write_reports
from gateway.symbols import new_symbols
from reports.projection import Reports, read_only
from sequencer import system_calls as system
from tape.blocks import MINE, no_tape, unpack_tape
from tape.inbound import Producer
from tape.machine import load_acquire
from tape.places import RING_WORDS, TAPE_WORDS, Place
from tape.ring import NOTE_WORDS, Ring, put_rows
from wire.fix_table import VERSIONS

#: Rows of one put at most: a few messages. Many at once share what a turn costs.
ROWS_MAX: Final = 16
#: Places of ``Way.words``: addresses of kernels, of memory, and the clock that was read last.
READ, TAKE, WRITE, OUT, CLOCK = range(5)
_WORDS: Final = 5
_ROW_WORDS: Final = COMMAND.itemsize // 8
_EXTEND, _REPLACE = int(CommandKind.EXTEND), int(CommandKind.REPLACE)
_RELEASED: Final = int(Place.RELEASED)
_SEQ_MAX: Final = SEQ_MAX
_SECOND_NS: Final = 1_000_000_000
_MONOTONIC: Final = system.MONOTONIC
_DONTWAIT_NOSIGNAL: Final = system.DONTWAIT_NOSIGNAL
_OTHER, _WHOLE = OTHER, WHOLE
_send: Final = system.send
_clock_gettime: Final = system.clock_gettime


class Way(NamedTuple):
    """Memory of the kernels, most of which belongs to others. One of a gateway."""

    words: np.ndarray[Any, Any]  # int64[_WORDS]
    time: np.ndarray[Any, Any]  # int64[2]: seconds and ns of a clock
    buffer: np.ndarray[Any, Any]  # uint8[n]: what clients have sent, read-only
    rows: np.ndarray[Any, Any]  # COMMAND[n]: of ``reading.Form``
    row_words: np.ndarray[Any, Any]  # int64[8 * n], the same memory
    notes: np.ndarray[Any, Any]  # int64[NOTE_WORDS * ROWS_MAX]
    symbols: np.ndarray[Any, Any]  # SYMBOL[n]
    price_max_e4: np.ndarray[Any, Any]  # int64[instruments + 1]
    told: np.ndarray[Any, Any]  # uint8[n]: records of the block by user, read-only (``Telling.out``)
    groups: np.ndarray[Any, Any]  # int64[users, 3] (``Telling.groups``)
    taken: np.ndarray[Any, Any]  # int64[n] (``Taking.words``)


class Ends(NamedTuple):
    """Beginnings of the frames of a session: of those that it takes, and of those that it sends."""

    expected: np.ndarray[Any, Any]
    expected_sizes: np.ndarray[Any, Any]
    head: np.ndarray[Any, Any]
    head_sizes: np.ndarray[Any, Any]


def ends_of(expected: Head, head: Head) -> Packed[Ends]:
    """Both beginnings of a session."""
    return Packed(Ends(expected.data, expected.sizes, head.data, head.sizes))


def _no_ends() -> Ends:
    version = VERSIONS[0]
    return Ends(*expected_of(version, "", ""), *head_of(version, "", ""))


_read: Final = call_by_address(4)
_take: Final = call_by_address(1)
_write: Final = call_by_address(3)
_READ_KERNEL: Final = Linked(read_orders, 4)
_TAKE_KERNEL: Final = Linked(take_block, 1)
_WRITE_KERNEL: Final = Linked(write_reports, 3)


def _memory(buffer: Any, symbols: Any, price_max_e4: Any, telling: Telling, taking: Taking) -> Way:
    rows = form().arrays.rows
    return Way(
        np.zeros(_WORDS, np.int64),
        np.zeros(2, np.int64),
        read_only(buffer),
        rows,
        rows.view(np.int64),
        np.zeros(NOTE_WORDS * ROWS_MAX, np.int64),
        symbols,
        price_max_e4,
        read_only(telling.out),
        telling.groups,
        taking.words,
    )


def _example() -> Way:
    return _memory(
        np.zeros(1, np.uint8), new_symbols(1), np.zeros(2, np.int64), example_of_telling(), example_of_taking()
    )


#: Unpack the memory in a kernel, from the pointers of a ``Packed``.
unpack_way = unpack_pointers(_example())
_unpack_ends = unpack_pointers(_no_ends())


@called
def put_plain(
    way_at, ends_at, form_at, kept_at, ring_at, begin, end, user, participant, seq, now_ns, tag, rows_max, untold
):
    """Put the messages that a client has sent, from ``begin`` to ``end`` of the buffer, into the ring: all, or none.

    seq: number that is expected next. tag: of their notes, when they came. untold: as of ``read_orders``. Gives their
    rows, which stand in ``Way.rows`` behind the untold ones, and their number; zeros where nothing was put.
    """
    way, ends = unpack_way(way_at), _unpack_ends(ends_at)
    data = way.buffer[begin:end]
    at, count, messages, _ = _read(
        way.words[READ],
        (
            form_at,
            kept_at,
            ends.expected,
            ends.expected_sizes,
            data,
            np.int64(0),
            way.symbols,
            way.price_max_e4,
            user,
            participant,
            seq,
            now_ns,
            min(rows_max, np.int64(ROWS_MAX)),
            untold,
        ),
    )
    if count == 0 or at != len(data):
        return np.int64(0), np.int64(0)
    follows = np.int64(0)
    for n in range(count):
        extends = np.int64(way.rows[untold + n]["kind"]) == _EXTEND
        rows = np.int64(0) if follows != 0 else np.int64(2) if extends else np.int64(1)
        way.notes[NOTE_WORDS * n] = tag
        way.notes[NOTE_WORDS * n + 1] = user | (rows << 32)
        follows = np.int64(1) if extends else np.int64(0)
    first = untold * _ROW_WORDS
    if put_rows(ring_at, way.row_words[first : first + count * _ROW_WORDS], way.notes, count) != count:
        return np.int64(0), np.int64(0)
    return count, messages


@called
def answer_plain(
    way_at, ends_at, taking_at, tape_at, tables_at, room_at, telling_at, kept_at, desk_at, seq, highest_e4,
    user, after, fd, look_ns,
):  # fmt: skip
    """Wait for a block behind command ``seq`` for ``look_ns`` at most, take it, and send a user's reports.

    after: number of the last message to the user. fd: of its socket; -1: nothing is sent. Gives what ``take_block``
    gives, the bytes written to ``Desk.out``, those of them that were sent, and the number of the last message. No byte
    is written unless the block has records of that user alone, all of them usual reports in turn.
    """
    way, ends, tape = unpack_way(way_at), _unpack_ends(ends_at), unpack_tape(tape_at)
    until_ns = np.int64(0)
    while load_acquire(tape.words, _RELEASED) <= seq:
        _clock_gettime(np.int64(_MONOTONIC), way.words[CLOCK])
        now_ns = way.time[0] * _SECOND_NS + way.time[1]
        if until_ns == 0:
            until_ns = now_ns + look_ns
        elif now_ns >= until_ns:
            return np.int64(_OTHER), np.int64(0), np.int64(0), after
    result = _take(way.words[TAKE], (taking_at, tape_at, tables_at, room_at, telling_at, kept_at, seq, highest_e4))
    alone = result == _WHOLE and way.taken[GROUPS] == 1 and way.groups[0, 0] == user
    if fd < 0 or not alone:
        return result, np.int64(0), np.int64(0), after
    size = way.groups[0, 2]
    behind, written, last = _write(
        way.words[WRITE],
        (desk_at, ends.head, ends.head_sizes, way.told[:size], np.int64(0), after, np.int64(_SEQ_MAX), np.int64(0)),
    )
    if behind != size:
        return result, np.int64(0), np.int64(0), after
    sent = _send(fd, way.words[OUT], written, np.int64(_DONTWAIT_NOSIGNAL))
    return result, written, max(sent, np.int64(0)), last


class ShortWay:
    """The short way of one gateway: its buffer and ring, and the tables of its streams."""

    def __init__(
        self, buffer: Any, producer: Producer, symbols: Any, price_max_e4: Any, telling: Packed[Telling],
        taking: Packed[Taking],
    ) -> None:  # fmt: skip
        """buffer: the bytes into which clients are received. The tables are those of ``FixStreams``."""
        octets = np.frombuffer(buffer, np.uint8)
        self._packed = Packed(_memory(octets, symbols, price_max_e4, telling.arrays, taking.arrays))
        self._ring = producer.ring.pointers
        self._form, self._desk = form().pointers, desk().pointers
        self._rows = form().arrays.rows.view(np.uint8).data
        self._out = desk().arrays.out
        _link(self._packed.arrays, self._packed)

    @property
    def pointers(self) -> tuple[Any, Any, Any, Any]:
        """Pointers of this memory, of the tables that read and that write, and of the ring (``jit.Packed``)."""
        return self._packed.pointers, self._form, self._desk, self._ring

    def rows_of(self, count: int) -> bytes:
        """The first rows that were read last."""
        return bytes(self._rows[: count * COMMAND.itemsize])

    def put(
        self, ends: Packed[Ends], kept: Any, begin: int, end: int, user: int, participant: int, seq: int, now_ns: int,
        tag: int, untold: int,
    ) -> tuple[bytes, int]:  # fmt: skip
        """Put the messages of a client into the ring (``put_plain``): their rows, and their number; 0: none was."""
        rows_max = ROWS - untold
        count, messages = put_plain(
            *(self._packed.pointers, ends.pointers, self._form, kept, self._ring),
            *(begin, end, user, participant, seq, now_ns, tag, rows_max, untold),
        )
        size = COMMAND.itemsize
        return bytes(self._rows[untold * size : (untold + count) * size]), messages

    def answer(
        self, ends: Packed[Ends], pointers: tuple[Any, ...], seq: int, highest_e4: int, user: int, after: int, fd: int,
        look_ns: int,
    ) -> tuple[int, int, int, int]:  # fmt: skip
        """Answer a user (``answer_plain``). pointers: of what takes a block (``FixStreams.taking_pointers``)."""
        found: tuple[int, int, int, int] = answer_plain(
            self._packed.pointers, ends.pointers, *pointers, self._desk, seq, highest_e4, user, after, fd, look_ns
        )
        return found

    def written(self, begin: int, end: int) -> bytes:
        """Bytes that the last answer has written, from one place to another."""
        return self._out[begin:end].tobytes()


def _link(way: Way, packed: Packed[Way]) -> None:
    """Have the kernels find those that they call."""
    ends, kept = Packed(_no_ends()), KeptOrders()
    data, none = way.buffer[:0], 0
    words = way.words
    words[READ] = _READ_KERNEL.address(
        *(form().pointers, kept.pointers, ends.arrays.expected, ends.arrays.expected_sizes, data, none),
        *(way.symbols, way.price_max_e4, none, none, none, none, none, none),
    )
    table = packed.pointers
    words[TAKE] = _TAKE_KERNEL.address(table, table, table, table, table, kept.pointers, none, none)
    words[WRITE] = _WRITE_KERNEL.address(
        desk().pointers, ends.arrays.head, ends.arrays.head_sizes, way.told[:0], none, none, none, none
    )
    words[OUT], words[CLOCK] = desk().arrays.out.ctypes.data, way.time.ctypes.data


def examples() -> tuple[tuple[Any, ...], Any]:
    """Pointers of a way, ends, tables that read, kept orders, a ring, taking, a tape, tables and room of a fold, tables
    that tell and that write, all of which are empty, and what keeps their memory."""
    telling = Packed(example_of_telling())
    fold = Reports(Capacity(1, 1, 1, 1), users_max=1)
    taking = Packed(new_taking(fold, telling.arrays))
    way = Packed(_memory(np.zeros(1, np.uint8), new_symbols(1), np.zeros(2, np.int64), telling.arrays, taking.arrays))
    ends, kept = Packed(_no_ends()), KeptOrders()
    _link(way.arrays, way)
    ring = Packed(Ring(*(np.zeros(RING_WORDS, np.int64) for _ in Ring._fields)))
    tape = Packed(no_tape()._replace(words=np.zeros(TAPE_WORDS, np.int64), mine=np.zeros(MINE, np.int64)))
    pointers = (
        *(way.pointers, ends.pointers, form().pointers, kept.pointers, ring.pointers),
        *(taking.pointers, tape.pointers, *fold.pointers, telling.pointers, desk().pointers),
    )
    return pointers, (way, ends, kept, ring, taking, tape, fold, telling)


def compile_short_way() -> None:
    """Compile or load the kernels: they put and answer nothing."""
    (way, ends, read, kept, ring, taking, tape, tables, room, telling, write), _memory_of_all = examples()
    put_plain(way, ends, read, kept, ring, *(0,) * 9)
    answer_plain(way, ends, taking, tape, tables, room, telling, kept, write, 0, 0, 0, 0, -1, 0)
