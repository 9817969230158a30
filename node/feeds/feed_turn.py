"""Kernel of a feed: blocks of the tape to packets on the network, in one call.

It takes the blocks that are released one after the other, makes their reports and messages by the kernels of those, and
gives the system the packets. What is rare it leaves to Python: a block that is long or no longer on the tape, the begin
of a day, a new reign. Messages stay in the room of the feed until Python has kept them, which is after they were sent.
"""

from typing import Any, Final, NamedTuple

import numpy as np

from engine.jit import called, inlined, libc, unpack_pointers
from engine.records import COMMAND, EVENT, CommandKind
from marketdata.itch.block_messages import messages_by_address, reports_by_address
from marketdata.itch.fold import DONE
from reports.projection import read_only
from reports.rows import REPORT
from sequencer.system_calls import DONTWAIT, MONOTONIC, clock_gettime
from tape.blocks import (
    AT,
    BLOCK,
    COMMANDS,
    EVENTS,
    FIRST_SEQ,
    HEAD_WORDS,
    LENGTH,
    SLOT,
    is_overrun,
    read_head,
    unpack_tape,
)
from tape.blocks import WORDS as RING_WORDS
from tape.machine import copy_words, load_acquire, store_release
from tape.places import READER_POSITION, Place
from wire.mold import HEAD_BYTES, PACKET_BYTES_MAX

_RELEASED: Final = int(Place.RELEASED)
_EPOCH: Final = int(CommandKind.EPOCH)
#: Rows of a block at most; a longer one is Python's.
COMMANDS_MAX: Final = 64
EVENTS_MAX: Final = 192
_COMMAND_WORDS: Final = COMMAND.itemsize // 8
_EVENT_WORDS: Final = EVENT.itemsize // 8
_ADDRESS_BYTES: Final = 16
#: Number of looks at the tape between two at the clock.
_LOOKS: Final = 64
_SESSION_BYTES: Final = 10
_FRAME: Final = 2

#: Results of ``send_blocks``: why Python has its turn.
NOTHING: Final = 0  # no block came for as long as it may wait
FULL: Final = 1  # enough messages wait to be kept, or its time is over
OTHER: Final = 2  # the next block is Python's
PART: Final = 3  # the messages of a block are not all made: Python goes on, from row ROW of MADE reports

#: Places of ``Sending.words``.
(
    SEQ,  # last command that was taken
    WAIT_NS,  # wait for a block so long, without sleep; 0: not at all
    STAY_NS,  # longest stay with blocks that follow each other
    KEEP_BYTES,  # messages that are given to Python at once
    GIVEN,  # messages of the session before the room
    END,  # bytes of the room that have messages
    ROW,
    MADE,
    WHY,  # of ``make_messages``, at PART
    LAST_KIND,  # kind of the last command that was taken
    BLOCKS,  # taken in this call
    MAY_SEND,  # 1: packets are sent
    GROUPS,
    FD,
    SENT,  # packets that the system took, and those that it did not
    UNSENT,
    SENT_NS,  # time of the monotonic clock behind the last packet
    MAKE_REPORTS,
    MAKE_MESSAGES,
    PACKET_ADDRESS,
    GROUPS_ADDRESS,
    TIME_ADDRESS,
    REPORTS_MAX,  # rows of the room of the reports
) = range(23)
WORDS: Final = 24


class Sending(NamedTuple):
    """Memory of a feed that sends. The rows stand twice: as words that are written, and as rows that are read."""

    words: np.ndarray[Any, Any]  # int64[WORDS]
    command_words: np.ndarray[Any, Any]  # int64[8 * COMMANDS_MAX]
    commands: np.ndarray[Any, Any]  # COMMAND[COMMANDS_MAX], the same memory
    event_words: np.ndarray[Any, Any]  # int64[8 * EVENTS_MAX]
    events: np.ndarray[Any, Any]  # EVENT[EVENTS_MAX], the same memory
    reports: np.ndarray[Any, Any]  # REPORT[n]: the room of the reports
    out: np.ndarray[Any, Any]  # uint8[n]: the room of the feed
    packet: np.ndarray[Any, Any]  # uint8[PACKET_BYTES_MAX]: the session stands in it
    groups: np.ndarray[Any, Any]  # uint8[16 * n]: addresses of sockets
    time: np.ndarray[Any, Any]  # int64[2]: seconds and nanoseconds


def new_sending(reports: Any, out: Any, groups: bytes) -> Sending:
    """Memory beside the rooms of reports and feed. groups: an address of a socket for each."""
    command_words, event_words = (
        np.zeros(COMMANDS_MAX * _COMMAND_WORDS, np.int64),
        np.zeros(EVENTS_MAX * _EVENT_WORDS, np.int64),
    )
    sending = Sending(
        words=np.zeros(WORDS, np.int64),
        command_words=command_words,
        commands=read_only(command_words.view(COMMAND)),
        event_words=event_words,
        events=read_only(event_words.view(EVENT)),
        reports=read_only(reports),
        out=out,
        packet=np.zeros(PACKET_BYTES_MAX, np.uint8),
        groups=np.frombuffer(bytearray(groups), np.uint8),
        time=np.zeros(2, np.int64),
    )
    words = sending.words
    words[GROUPS], words[REPORTS_MAX] = len(groups) // _ADDRESS_BYTES, len(reports)
    words[PACKET_ADDRESS], words[GROUPS_ADDRESS] = sending.packet.ctypes.data, sending.groups.ctypes.data
    words[TIME_ADDRESS] = sending.time.ctypes.data
    return sending


unpack_sending = unpack_pointers(
    new_sending(np.zeros(1, REPORT), np.zeros(1, np.uint8), bytes(_ADDRESS_BYTES)),
)
_sendto: Final = libc("sendto", 6, sized=True)


@inlined
def _now_ns(sending):
    clock_gettime(np.int64(MONOTONIC), sending.words[TIME_ADDRESS])
    return sending.time[0] * 1_000_000_000 + sending.time[1]


@inlined
def _send_packet(sending, number, count, begin, end):
    """Send messages ``out[begin:end]`` as one packet to all groups, or leave it out where the system has no room."""
    words, packet, out = sending.words, sending.packet, sending.out
    for place in range(8):
        packet[_SESSION_BYTES + 7 - place] = np.uint8((number >> (8 * place)) & 0xFF)
    packet[_SESSION_BYTES + 8], packet[_SESSION_BYTES + 9] = np.uint8(count >> 8), np.uint8(count & 0xFF)
    for place in range(end - begin):
        packet[HEAD_BYTES + place] = out[begin + place]
    for group in range(words[GROUPS]):
        took = _sendto(
            words[FD],
            words[PACKET_ADDRESS],
            HEAD_BYTES + end - begin,
            np.int64(DONTWAIT),
            words[GROUPS_ADDRESS] + _ADDRESS_BYTES * group,
            np.int64(_ADDRESS_BYTES),
        )
        words[SENT if took >= 0 else UNSENT] += 1
    words[SENT_NS] = _now_ns(sending)


@inlined
def _send_messages(sending, begin, end, number):
    """Send messages, the first of which has this number, as many in each packet as fit; gives the number behind."""
    out, at, count = sending.out, begin, np.int64(0)
    while at < end:
        behind = at + _FRAME + (np.int64(out[at]) << 8 | np.int64(out[at + 1]))
        if behind - begin > PACKET_BYTES_MAX - HEAD_BYTES:
            _send_packet(sending, number, count, begin, at)
            number, count, begin = number + count, np.int64(0), at
        at, count = behind, count + 1
    if count > 0:
        _send_packet(sending, number, count, begin, end)
    return number + count


@inlined
def _copy_block(tape, sending, position):
    """Copy the rows of the block whose head was read; False where it is Python's, or was overwritten meanwhile."""
    head, words = tape.head, sending.words
    commands, events = head[COMMANDS], head[EVENTS]
    if head[FIRST_SEQ] != words[SEQ] + 1 or commands < 1 or commands > COMMANDS_MAX or events > EVENTS_MAX:
        return False
    at = (position & (tape.size[RING_WORDS] - 1)) + HEAD_WORDS
    copy_words(sending.command_words, np.int64(0), tape.data, at, commands * _COMMAND_WORDS)
    at += commands * _COMMAND_WORDS
    copy_words(sending.event_words, np.int64(0), tape.data, at, events * _EVENT_WORDS)
    if is_overrun(tape, position):
        return False
    epochs = np.int64(0)
    for place in range(commands):
        epochs += np.int64(sending.commands[place]["kind"]) == _EPOCH
    return epochs == 0


@called
def send_blocks(sending_at, tape_at, tables_at, reports_room_at, feed_at, feed_room_at):
    """Take released blocks, and send their messages, until Python has work; gives why.

    All are pointers (``jit.Packed``): of ``Sending``, of a tape whose reader stands behind command SEQ, and of tables
    and rooms of reports and feed. No message waits in the room of the feed at the call; END bytes wait behind it.
    """
    sending, tape = unpack_sending(sending_at), unpack_tape(tape_at)
    words, mine, head = sending.words, tape.mine, tape.head
    at, number, looks = np.int64(0), words[GIVEN] + 1, np.int64(0)
    words[BLOCKS] = 0
    began_ns = _now_ns(sending)
    quiet_ns = began_ns + words[WAIT_NS]
    why = np.int64(NOTHING)
    while True:
        released = load_acquire(tape.words, _RELEASED)
        result, position = np.int64(BLOCK), mine[AT]
        if released > words[SEQ]:
            result, position = read_head(tape, mine[AT])
            if result != BLOCK:
                why = OTHER
                break
        if released <= words[SEQ] or head[FIRST_SEQ] + head[COMMANDS] - 1 > released:
            looks += 1
            if (looks % _LOOKS == 0 and _now_ns(sending) >= quiet_ns) or words[WAIT_NS] == 0:
                break
            continue
        if not _copy_block(tape, sending, position):
            why = OTHER
            break
        commands, events = head[COMMANDS], head[EVENTS]
        mine[AT] = position + head[LENGTH]
        if mine[SLOT] != 0:
            store_release(tape.words, mine[SLOT] + READER_POSITION, mine[AT])
        _, _, made = reports_by_address(
            words[MAKE_REPORTS],
            (
                tables_at,
                reports_room_at,
                words[SEQ] + 1,
                sending.commands[:commands],
                sending.events[:events],
                np.int64(0),
                np.int64(0),
                np.int64(0),
                words[REPORTS_MAX],
            ),
        )
        row, end, stopped = messages_by_address(
            words[MAKE_MESSAGES],
            (feed_at, feed_room_at, sending.reports[:made], np.int64(0), at, np.int64(1)),
        )
        if words[MAY_SEND] != 0:
            number = _send_messages(sending, at, end, number)
        words[SEQ] += commands
        words[BLOCKS] += 1
        words[LAST_KIND] = np.int64(sending.commands[commands - 1]["kind"])
        at = end
        if stopped != DONE:
            words[ROW], words[MADE], words[WHY] = row, made, stopped
            why = PART
            break
        now_ns = _now_ns(sending)
        if at >= words[KEEP_BYTES] or now_ns - began_ns >= words[STAY_NS]:
            why = FULL
            break
        quiet_ns = now_ns + words[WAIT_NS]
    words[END] = at
    return why
