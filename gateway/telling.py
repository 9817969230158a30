"""Kernels that tell users what happened, in the turns of direct connections (``turn``): gather, send, keep.

Messages of a block leave at once, or wait for those of the next blocks while orders come faster than calls of the
system. What a connection has not taken is for Python, as is all that the spool has to have. It knows no protocol: the
kernel that answers a block is called by its address.
"""

from typing import Final

import numpy as np

from engine.jit import call_by_address, called, inlined
from gateway.messages import DEFINES, NEW_DAY
from gateway.turn_memory import (
    ANSWER,
    ANSWER_AT,
    ANSWER_CLOCKS,
    ANSWER_FLAGS,
    ANSWER_SEGMENTS,
    AT_ONCE,
    BYTES_OUT,
    CHECK,
    GROUPED_ADDRESS,
    LINES_STOPPED,
    LOCAL_ADDRESS,
    NEXT_BLOCK,
    NEXT_COMMAND,
    NEXT_EVENT,
    OPEN,
    OUT_ADDRESS,
    PIECE_BYTES,
    PIECE_MESSAGES,
    PIECE_USERS,
    PIECED_NS,
    PIECES,
    PIECES_ADDRESS,
    QUEUED,
    RARE,
    ROOM,
    SLOW,
    SPENT,
    STOPPED,
    TELLING,
    TELLING_BYTES,
    TIME_ADDRESS,
    TOLD_ADDRESS,
    TOLD_FROM,
    TOLD_NS,
    UNSENT,
    UNTAKEN,
)
from sequencer import system_calls as system
from tape.line_kernels import OUT_PUT, RING_BYTES, first_word, ring_room
from tape.machine import store_release

_send: Final = system.send
_clock_gettime: Final = system.clock_gettime
_memcpy: Final = system.memcpy
_MONOTONIC: Final = system.MONOTONIC
_DONTWAIT_NOSIGNAL: Final = system.DONTWAIT_NOSIGNAL

#: Number of the values that the kernel of a protocol which answers gives.
ANSWER_VALUES: Final = 5
_answer: Final = call_by_address(ANSWER_VALUES)
#: Messages of a user that one call of the system is to send, while more orders wait to be read: a call costs as much as
#: ten of them. They wait for each other for so long at most.
_SENT_TOGETHER: Final = 64
_TOGETHER_NS: Final = 8_000_000


@inlined
def time_by(turn, clock):
    """Time by one of the system's clocks, in ns."""
    _clock_gettime(np.int64(clock), turn.words[TIME_ADDRESS])
    return turn.time[0] * 1_000_000_000 + turn.time[1]


@inlined
def stop_line(turn, line, state):
    """Give a line to Python."""
    if line["state"] == OPEN:
        line["state"] = state
        turn.words[LINES_STOPPED] += 1


@inlined
def give_to(turn, line, address, count):
    """Send bytes on a descriptor, or put them on a line in shared memory; gives how many it took."""
    if line["line"] == 0:
        return max(_send(np.int64(line["fd"]), address, count, np.int64(_DONTWAIT_NOSIGNAL)), np.int64(0))
    number = line["line"] - 1
    word, counts, at = first_word(number) + OUT_PUT, turn.line_counts, 2 * number + 1
    own = counts[at]
    room = ring_room(turn.line_words, word, own)
    if room <= 0:
        return np.int64(0)
    count = min(count, room)
    ring = turn.words[LOCAL_ADDRESS] + at * RING_BYTES
    offset = own & (RING_BYTES - 1)
    first = min(count, RING_BYTES - offset)
    _memcpy(ring + offset, address, first)
    if first < count:
        _memcpy(ring, address + first, count - first)
    counts[at] = own + count
    store_release(turn.line_words, word, own + count)
    return count


@inlined
def _send_to(turn, slot, address, count, messages, now_ns):
    """Send bytes to a direct connection; gives how many it took. What it did not take is for Python."""
    words, line = turn.words, turn.lines[slot]
    sent = np.int64(0)
    if line["state"] == OPEN or line["state"] == STOPPED:
        sent = give_to(turn, line, address, count)
        words[BYTES_OUT] += sent
        line["sent_ns"] = now_ns
        if sent < count:
            if line["state"] == OPEN:
                words[LINES_STOPPED] += 1
            line["state"] = SLOW
    line["sent_messages"] += messages
    return sent


@inlined
def _keep_told(turn, user, first_seq, messages, position, count, sent):
    """Keep messages for the spool, whose bytes are in their place; ``sent``: as in TOLD."""
    words = turn.words
    if sent != count:
        words[UNTAKEN] += 1
    last = turn.told[max(words[TELLING] - 1, 0)]
    if words[TELLING] > words[TOLD_FROM] and last["user"] == user:  # its next messages: one segment for Python
        last["count"] += messages
        last["bytes"] += count
        last["sent"] += max(sent, np.int64(0))
    else:
        told = turn.told[words[TELLING]]
        told["user"], told["first_seq"], told["count"] = user, first_seq, messages
        told["position"], told["begin"], told["bytes"] = position, words[TELLING_BYTES], count
        told["sent"] = sent
        words[TELLING] += 1
    words[TELLING_BYTES] += count


@inlined
def _tell(turn, outgoing, segments, now_ns):
    """Send messages that were made to direct connections, and keep all for the spool."""
    words = turn.words
    out = words[OUT_ADDRESS] if segments == 1 else words[GROUPED_ADDRESS]
    for number in range(segments):
        segment = outgoing.segments[number]
        user, count = segment["user"], segment["bytes"]
        slot = turn.line_of[user]
        sent = np.int64(-1)
        if slot >= 0:
            sent = _send_to(turn, slot, out + segment["begin"], count, segment["count"], now_ns)
        _memcpy(words[TOLD_ADDRESS] + words[TELLING_BYTES], out + segment["begin"], count)
        _keep_told(turn, user, segment["first_seq"], segment["count"], segment["position"], count, sent)


@inlined
def _gather(turn, outgoing, segments, now_ns):
    """Have messages that were made wait for those of the next blocks."""
    words = turn.words
    out = words[OUT_ADDRESS] if segments == 1 else words[GROUPED_ADDRESS]
    if words[PIECES] == 0:
        words[PIECED_NS] = now_ns
    for number in range(segments):
        segment = outgoing.segments[number]
        user, count = segment["user"], segment["bytes"]
        at = words[PIECES]
        piece, of_user = turn.pieces[at], turn.pieces_of[user]
        piece["user"], piece["first_seq"], piece["count"] = user, segment["first_seq"], segment["count"]
        piece["position"], piece["begin"], piece["bytes"] = segment["position"], words[PIECE_BYTES], count
        piece["next"] = 0
        _memcpy(words[PIECES_ADDRESS] + words[PIECE_BYTES], out + segment["begin"], count)
        if of_user[0] == 0:
            of_user[0] = at + 1
            turn.piece_users[words[PIECE_USERS]] = user
            words[PIECE_USERS] += 1
        else:
            turn.pieces[of_user[1] - 1]["next"] = at + 1
        of_user[1] = at + 1
        words[PIECES] = at + 1
        words[PIECE_BYTES] += count
        words[PIECE_MESSAGES] += segment["count"]


@called
def send_gathered(turn):
    """Send the messages that wait, a user's in one piece, and keep them for the spool."""
    words = turn.words
    now_ns = time_by(turn, _MONOTONIC)
    for number in range(words[PIECE_USERS]):
        user = turn.piece_users[number]
        at = turn.pieces_of[user, 0]
        turn.pieces_of[user, 0] = 0
        first = turn.pieces[at - 1]
        place = words[TOLD_ADDRESS] + words[TELLING_BYTES]
        count, messages = np.int64(0), np.int64(0)
        while at != 0:
            piece = turn.pieces[at - 1]
            _memcpy(place + count, words[PIECES_ADDRESS] + piece["begin"], piece["bytes"])
            count += piece["bytes"]
            messages += piece["count"]
            at = piece["next"]
        slot = turn.line_of[user]
        sent = np.int64(-1)
        if slot >= 0:
            sent = _send_to(turn, slot, place, count, messages, now_ns)
        _keep_told(turn, user, first["first_seq"], messages, first["position"], count, sent)
    words[PIECES] = words[PIECE_BYTES] = words[PIECE_MESSAGES] = words[PIECE_USERS] = 0
    sent_ns = time_by(turn, _MONOTONIC)
    for number in range(words[UNSENT], words[NEXT_BLOCK]):
        turn.blocks[number]["answered_ns"] = sent_ns


@inlined
def waits_for_more(turn):
    """True if messages may wait for those of the next block: orders have come, and each user has few messages yet."""
    words = turn.words
    return (
        words[QUEUED] > 0
        and words[PIECE_MESSAGES] < _SENT_TOGETHER * words[PIECE_USERS]
        and time_by(turn, _MONOTONIC) - words[PIECED_NS] < _TOGETHER_NS
    )


@inlined
def tell_block(turn, outgoing, streams_pointers, block):
    """Answer the block NEXT_BLOCK, from the word ANSWER_AT on; gives SPENT if all is told, or why Python must go on."""
    words = turn.words
    commands = turn.commands[words[NEXT_COMMAND] : words[NEXT_COMMAND] + block["commands"]]
    events = turn.events[words[NEXT_EVENT] : words[NEXT_EVENT] + block["events"]]
    if block["answering_ns"] == 0:
        block["answering_ns"] = time_by(turn, _MONOTONIC)
    if words[PIECES] == 0:
        words[UNSENT] = words[NEXT_BLOCK]
    # What a lease allows now is sent now.
    gathers = words[AT_ONCE] != 0 and (words[QUEUED] > 0 or words[PIECES] > 0)
    while words[ANSWER_AT] < len(events) or words[ANSWER_CLOCKS] < 0:
        users, size = len(outgoing.segments), np.int64(len(outgoing.out))
        if words[PIECE_BYTES] + size > len(turn.piece_bytes) or words[PIECES] + users > len(turn.pieces):
            send_gathered(turn)
        if words[TELLING_BYTES] + words[PIECE_BYTES] + size > len(turn.told_bytes) or words[TELLING] + words[
            PIECE_USERS
        ] + users > len(turn.told):
            return np.int64(ROOM)
        at, segments, clocks, _, flags = _answer(
            words[ANSWER],
            (
                streams_pointers,
                block["first_seq"],
                commands,
                events,
                words[ANSWER_AT],
                words[ANSWER_CLOCKS],
                words[TOLD_NS],
            ),
        )
        if flags & (DEFINES | NEW_DAY):
            return np.int64(RARE)
        if flags != 0:
            words[ANSWER_AT], words[ANSWER_CLOCKS] = at, clocks
            words[ANSWER_SEGMENTS], words[ANSWER_FLAGS] = segments, flags
            return np.int64(CHECK)
        if gathers:
            _gather(turn, outgoing, segments, block["answering_ns"])
        else:
            _tell(turn, outgoing, segments, block["answering_ns"])
        words[ANSWER_AT] = at
        if words[ANSWER_CLOCKS] < 0:
            words[ANSWER_CLOCKS] = clocks
    words[TOLD_NS] = block["time_ns"]
    words[ANSWER_AT] = -1
    words[NEXT_BLOCK] += 1
    words[NEXT_COMMAND] += block["commands"]
    words[NEXT_EVENT] += block["events"]
    block["answered"] = 1
    block["answered_ns"] = time_by(turn, _MONOTONIC)
    return np.int64(SPENT)
