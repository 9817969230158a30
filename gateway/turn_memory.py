"""Memory of the turns of direct connections, which the kernel (``gateway.turn``) shares with Python (``direct``)."""

from typing import Any, Final, NamedTuple

import numpy as np

from engine.bounds import COMMANDS_PER_CALL_MAX
from engine.jit import unpack_pointers
from engine.records import COMMAND, EVENT, CommandKind
from gateway.told import Told
from sequencer.clock import CLOCK_WORDS
from sequencer.system_calls import EPOLL_EVENT
from tape.line_kernels import LINES_MAX, LINES_WORDS
from tape.lines import MarketLines

#: Direct connection, in the row of its slot.
LINE: Final = np.dtype(
    [
        ("fd", "<i4"),  # its descriptor; -1: none, the connection is not direct
        ("state", "<i4"),  # OPEN, or why Python must take it
        ("user", "<i8"),
        ("waiting", "<i8"),  # bytes in its region before the turn
        ("queued", "<i8"),  # 1: in the queue of the next turn
        ("heard_ns", "<i8"),  # monotonic time of its last whole packet
        ("sent_ns", "<i8"),  # monotonic time of the last message to it
        ("sent_messages", "<i8"),  # since Python looked
        ("owed", "<i8"),  # bytes of a heartbeat that it did not take
        ("line", "<i8"),  # number of its line in shared memory, and 1 more; 0: it has a descriptor
    ]
)
#: States of a line.
OPEN: Final = 0
STOPPED: Final = 1  # at a packet that is not for the kernel (STREAM.stop)
ENDED: Final = 2  # nothing comes any more, or the connection is broken
SLOW: Final = 3  # it did not take all that was sent
SILENT: Final = 4  # nothing was heard of the client for too long

#: Block that was made in this call. Its rows follow those of the block before, in ``commands`` and ``events``. The
#: seven words from ``read_ns`` on are those of ``node.core.stages``, from the clock that measures intervals.
BLOCK: Final = np.dtype(
    [
        ("first_seq", "<i8"),
        ("commands", "<i8"),  # number of rows, the CLOCK row included
        ("events", "<i8"),
        ("time_ns", "<i8"),  # market time at its end
        ("answered", "<i8"),  # 1: the messages to its users are made
        ("read_ns", "<i8"),
        ("taken_ns", "<i8"),
        ("applying_ns", "<i8"),
        ("applied_ns", "<i8"),
        ("answering_ns", "<i8"),
        ("answered_ns", "<i8"),
        ("orders", "<i8"),
    ]
)
#: Messages to one user that wait to be sent with those of the next blocks, as SEGMENT. ``next``: the user's next piece,
#: and 1 more; 0: none.
PIECE: Final = np.dtype(
    [
        ("user", "<i8"),
        ("first_seq", "<i8"),
        ("count", "<i8"),
        ("position", "<i8"),
        ("begin", "<i8"),
        ("bytes", "<i8"),
        ("next", "<i8"),
    ]
)

#: Results of ``run_turns``: why Python has its turn.
IDLE: Final = 0  # nothing came for as long as it may sleep
CALLED: Final = 1  # the event loop has work
SPENT: Final = 2  # its time is over
MADE: Final = 3  # a block has to be journaled before it may be answered
ROOM: Final = 4  # the room for blocks, messages or arrival records is used up
LINES: Final = 5  # a line has another state than OPEN
RARE: Final = 6  # Python makes the answers of the last block: ``answered`` is 0
CHECK: Final = 7  # Python goes on with the answers of the last block, from the words ANSWER_* on
BIG: Final = 8  # the last block has more events than there is room for: Python goes on with it
JUMPED: Final = 9  # the wall clock jumped
LINK: Final = 10  # something came from the standby that Python must read now

#: Places of ``Turn.words``.
(
    EPOLL,  # descriptor of the poll
    POLL_MAX,  # rows of ``polled``
    REGION_BYTES,
    LEAST_ROOM,  # a region with less room is not received into
    QUEUED,  # slots at the front of ``Turn.queue``
    RESUMING,  # 1: a round of messages was cut short for lack of room
    TURNS,  # turns so far
    ROWS_MAX,  # rows of a turn
    ROWS_LIMIT,  # bound of ROWS_MAX, which falls while turns take long
    ROWS_BESIDE,  # rows of a turn with messages of rings, beside few that are queued; 0: as many as without
    RECORD_AT,  # word of the next arrival record
    RECORD_MAX,  # from this word on the records are taken away; 0: there are none
    RECORD_FIRST,  # sequence number of the first row of the records
    RECORD_ROWS,  # rows of the records
    BYTES_IN,
    BYTES_OUT,
    ORDERS,
    SEQ,  # last command
    STAMPED_NS,  # market time in force
    EXTENDED,  # 1: an EXTEND row waits for its command
    TOLD_NS,  # market time of the streams
    AT_ONCE,  # 1: answers leave at once; 0: a block is given to Python first
    BUSY_NS,  # poll without sleep for so long after an order
    BUSY_UNTIL_NS,
    SLEEP_MS,  # longest sleep
    STAY_NS,  # longest stay after the first block
    BLOCKS,  # blocks made in this call
    COMMANDS,  # their rows
    EVENTS,
    TELLING,  # rows of ``told`` that wait for the spool, and their bytes
    TELLING_BYTES,
    TOLD_FROM,  # the first of them that Python has not looked at
    UNTAKEN,  # those from there on that no connection took whole, or more
    LINES_STOPPED,  # lines with another state than OPEN
    ANSWER_AT,  # event of the last block at which answering goes on; -1: it is answered
    ANSWER_CLOCKS,
    ANSWER_SEGMENTS,
    ANSWER_FLAGS,
    BIG_APPLIED,  # commands of the last block that are applied, with BIG_EVENTS events left in the engine's room
    BIG_EVENTS,
    BUFFER_ADDRESS,  # addresses of arrays, for libc
    POLLED_ADDRESS,
    ROWS_ADDRESS,
    CLOCK_ROW_ADDRESS,
    COMMANDS_ADDRESS,
    APPLIED_ADDRESS,
    EVENTS_ADDRESS,
    OUT_ADDRESS,
    GROUPED_ADDRESS,
    TOLD_ADDRESS,
    TIME_ADDRESS,
    HEARTBEAT_ADDRESS,
    APPLY,  # addresses of kernels
    READ,  # of the protocol
    ANSWER,  # of the protocol
    AHEAD,  # 1: rows are sent to the standby ahead of their block, and answered once it has acknowledged them
    LEASE_UNTIL_NS,  # time (CLOCK_BOOTTIME) until which that may be answered
    NEXT_BLOCK,  # first block that is not answered, and the begin of its rows
    NEXT_COMMAND,
    NEXT_EVENT,
    JUMP,  # 1: the wall clock jumped, and Python has not reported it
    TAPED,  # 1: blocks are written to the tape
    TAPE_ADDRESS,  # of its ring
    EPOCH,  # of the blocks
    PIECES,  # pieces that wait to be sent, their bytes and messages, and the users that they are of
    PIECE_BYTES,
    PIECE_MESSAGES,
    PIECE_USERS,
    PIECED_NS,  # time since which the first one waits
    UNSENT,  # first block whose messages wait
    PIECES_ADDRESS,
    HEARTBEAT_NS,  # silence after which the protocol sends a heartbeat
    SILENCE_NS,  # silence of a client after which it counts as gone
    LOCAL,  # direct connections that have a line in shared memory
    LOCAL_ADDRESS,  # of their rings
) = range(75)
#: Blocks of one call at most.
_BLOCKS_MAX: Final = 1_024
#: Number of the words.
WORDS: Final = 75


#: ``slot_of`` of the link to the standby.
LINK_SLOT: Final = -1
#: Rows of a block at most, with the clock in front.
ROWS_ROOM: Final = COMMANDS_PER_CALL_MAX


class Turn(NamedTuple):
    """Memory of the turns."""

    words: np.ndarray[Any, Any]  # int64[WORDS]
    clock: np.ndarray[Any, Any]  # int64[CLOCK_WORDS]: market time (``sequencer.clock``)
    time: np.ndarray[Any, Any]  # int64[2]: seconds and nanoseconds, of libc
    clock_row: np.ndarray[Any, Any]  # COMMAND[1]: a CLOCK row
    polled: np.ndarray[Any, Any]  # EPOLL_EVENT[n]
    queue: np.ndarray[Any, Any]  # int64[slots]: slots that wait for a turn
    lines: np.ndarray[Any, Any]  # LINE[slots]
    slot_of: np.ndarray[Any, Any]  # int64[descriptors]: slot of a direct connection's descriptor, and 1 more; 0: none;
    # LINK_SLOT: the link to the standby
    line_of: np.ndarray[Any, Any]  # int64[users_max + 1]: slot of a user's direct connection; -1: none
    commands: np.ndarray[Any, Any]  # COMMAND[n]
    events: np.ndarray[Any, Any]  # EVENT[n]
    blocks: np.ndarray[Any, Any]  # BLOCK[n]
    told: np.ndarray[Any, Any]  # TOLD[n]
    told_bytes: np.ndarray[Any, Any]  # uint8[n]
    pieces: np.ndarray[Any, Any]  # PIECE[n]
    piece_bytes: np.ndarray[Any, Any]  # uint8[n]
    pieces_of: np.ndarray[Any, Any]  # int64[users_max + 1, 2]: a user's first and last piece, and 1 more; 0: none
    piece_users: np.ndarray[Any, Any]  # int64[users_max + 1]: users of the pieces
    heartbeat: np.ndarray[Any, Any]  # uint8[n]: the server's heartbeat, as a packet
    line_words: np.ndarray[Any, Any]  # int64[LINES_WORDS]: of the lines in shared memory (``tape.line_kernels``)
    line_bytes: np.ndarray[Any, Any]  # uint8[2 * LINES_MAX * RING_BYTES]: their rings
    line_counts: np.ndarray[Any, Any]  # int64[2 * LINES_MAX]: bytes taken and put
    slot_of_line: np.ndarray[Any, Any]  # int64[LINES_MAX]: slot of a line's direct connection; -1: none


def new_turn(
    clock: np.ndarray[Any, Any],
    heartbeat: bytes,
    *,
    slots: int,
    descriptors: int,
    users: int,
    rows: int,
    told: Told,
    segments: int,
    segment_bytes: int,
    lines: MarketLines | None = None,
) -> Turn:
    """Memory for ``slots`` connections with descriptors below ``descriptors``, and for the work of one call: COMMAND
    rows, and messages to users that wait to be sent. ``told``: memory of those that were sent. ``clock``: words of the
    market clock. ``heartbeat``: packet of the protocol.
    ``users``: rows of the table of users. ``lines``: of programs beside the node.
    """
    turn = Turn(
        words=np.zeros(WORDS, np.int64),
        clock=clock,
        time=np.zeros(2, np.int64),
        clock_row=np.zeros(1, COMMAND),
        polled=np.zeros(slots + 1, EPOLL_EVENT),
        queue=np.zeros(slots, np.int64),
        lines=np.zeros(slots, LINE),
        slot_of=np.zeros(descriptors, np.int64),
        line_of=np.full(users, -1, np.int64),
        commands=np.zeros(rows, COMMAND),
        events=np.zeros(4 * rows, EVENT),
        blocks=np.zeros(_BLOCKS_MAX, BLOCK),
        told=told.rows,
        told_bytes=told.data,
        pieces=np.zeros(segments, PIECE),
        piece_bytes=np.zeros(segment_bytes, np.uint8),
        pieces_of=np.zeros((users, 2), np.int64),
        piece_users=np.zeros(users, np.int64),
        heartbeat=np.frombuffer(bytearray(heartbeat), np.uint8),
        line_words=np.zeros(LINES_WORDS, np.int64) if lines is None else lines.words,
        line_bytes=np.zeros(1, np.uint8) if lines is None else lines.ring,
        line_counts=np.zeros(2 * LINES_MAX, np.int64) if lines is None else lines.counts,
        slot_of_line=np.full(LINES_MAX, -1, np.int64),
    )
    turn.clock_row["kind"] = CommandKind.CLOCK
    turn.lines["fd"] = -1
    words = turn.words
    told.counts = words[TELLING : TELLING_BYTES + 1]
    words[EPOLL], words[POLL_MAX], words[ANSWER_AT] = -1, slots + 1, -1
    for place, array in (
        (POLLED_ADDRESS, turn.polled),
        (CLOCK_ROW_ADDRESS, turn.clock_row),
        (COMMANDS_ADDRESS, turn.commands),
        (EVENTS_ADDRESS, turn.events),
        (TOLD_ADDRESS, turn.told_bytes),
        (PIECES_ADDRESS, turn.piece_bytes),
        (TIME_ADDRESS, turn.time),
        (HEARTBEAT_ADDRESS, turn.heartbeat),
        (LOCAL_ADDRESS, turn.line_bytes),
    ):
        words[place] = array.ctypes.data
    return turn


#: Unpack the memory in a kernel, from the pointers of a ``Packed``.
unpack_turn = unpack_pointers(
    new_turn(
        np.zeros(CLOCK_WORDS, np.int64),
        bytes(1),
        slots=1,
        descriptors=1,
        users=1,
        rows=1,
        told=Told(1, 1),
        segments=1,
        segment_bytes=1,
    )
)
