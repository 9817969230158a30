"""Kernel of the turns of direct connections: receive, cut, stamp, apply, write to the tape, answer, send.

What gateway processes have put into their rings is read in the same turns (``gateway.ring_reading``).

A connection is *direct* while it is logged in, reads all that it is sent, and has no TLS: the kernel then receives and
sends on its descriptor. Everything else is done in Python between two calls (``gateway.direct``): logins, logouts,
slow readers, definitions, the journal, the spool. The order of lines in ``run_turns`` is the guarantee: a command is
stamped and on the list of blocks before it is applied, and applied before anybody reads of it.

It knows no protocol: the kernels that read packets and that answer a block are called by their addresses, so they and
the market's are compiled once. ``gateway.turn_memory`` has the memory.

The kernel gives back the processor when Python has work, when a block has to be journaled before it may be answered,
and after the time that it is given.
"""

from typing import Final

import numpy as np

from engine.apply import apply_batch
from engine.bounds import TIME_NS_MAX
from engine.jit import Linked, call_by_address, called, inlined
from engine.records import COMMAND
from gateway.arrivals import FINE, ORIGIN_WORDS, TURN_WORDS, unpack_arrivals
from gateway.messages import unpack_outgoing
from gateway.ring_reading import MESSAGES, SOURCES, any_waits, rings_may_sleep, rings_wake, unpack_rings
from gateway.telling import give_to, send_gathered, stop_line, tell_block, time_by, waits_for_more
from gateway.turn_memory import (
    AHEAD,
    ANSWER_AT,
    ANSWER_CLOCKS,
    APPLIED_ADDRESS,
    APPLY,
    AT_ONCE,
    BIG,
    BIG_APPLIED,
    BIG_EVENTS,
    BLOCKS,
    BUFFER_ADDRESS,
    BUSY_NS,
    BUSY_UNTIL_NS,
    BYTES_IN,
    BYTES_OUT,
    CALLED,
    CLOCK_ROW_ADDRESS,
    COMMANDS,
    COMMANDS_ADDRESS,
    ENDED,
    EPOCH,
    EPOLL,
    EVENTS,
    EVENTS_ADDRESS,
    EXTENDED,
    HEARTBEAT_ADDRESS,
    HEARTBEAT_NS,
    IDLE,
    JUMP,
    JUMPED,
    LEASE_UNTIL_NS,
    LEAST_ROOM,
    LINES,
    LINES_STOPPED,
    LINK,
    LINK_SLOT,
    LOCAL,
    MADE,
    NEXT_BLOCK,
    OPEN,
    ORDERS,
    PIECES,
    POLL_MAX,
    POLLED_ADDRESS,
    QUEUED,
    READ,
    RECORD_AT,
    RECORD_FIRST,
    RECORD_MAX,
    RECORD_ROWS,
    REGION_BYTES,
    RESUMING,
    ROOM,
    ROWS_ADDRESS,
    ROWS_BESIDE,
    ROWS_LIMIT,
    ROWS_MAX,
    ROWS_ROOM,
    SEQ,
    SILENCE_NS,
    SILENT,
    SLEEP_MS,
    SLOW,
    SPENT,
    STAMPED_NS,
    STAY_NS,
    STOPPED,
    TAPE_ADDRESS,
    TAPED,
    TURNS,
    unpack_turn,
)
from sequencer import rows_ahead
from sequencer import system_calls as system
from sequencer.clock import MARKET_NS, advance
from sequencer.rows_ahead import receive_acks, send_rows, unpack_ahead
from tape.bell import ring_bell, ring_release_bells
from tape.blocks import HEAD_WORDS, Tape, block_words, claim_room, publish_block, unpack_tape
from tape.line_kernels import (
    IN_PUT,
    LINES_MAX,
    RING_BYTES,
    first_word,
    go_to_sleep,
    take,
    wake_up,
)
from tape.machine import store_release
from tape.places import Place
from tape.words import raise_word

_recv: Final = system.recv
_send: Final = system.send
_epoll_wait: Final = system.epoll_wait
_clock_gettime: Final = system.clock_gettime
_memcpy: Final = system.memcpy
_REALTIME, _MONOTONIC, _BOOTTIME = system.REALTIME, system.MONOTONIC, system.BOOTTIME
_DONTWAIT: Final = system.DONTWAIT
_DONTWAIT_NOSIGNAL: Final = system.DONTWAIT_NOSIGNAL
_BROKEN_LINE: Final = system.BROKEN_LINE
_ACKED, _LINK_STOPPED, _OWED = rows_ahead.ACKED, rows_ahead.STOPPED, rows_ahead.OWED
_AHEAD_ROWS_MAX: Final = rows_ahead.ROWS_MAX
_APPLIED: Final = int(Place.APPLIED)
_RELEASED: Final = int(Place.RELEASED)
_READERS_BELL: Final = int(Place.READERS_BELL)
_TAPE_HEAD_BYTES: Final = 8 * HEAD_WORDS

#: Kernel of the market, and number of the values that the kernel of a protocol which reads gives.
APPLY_BATCH: Final = Linked(apply_batch, 2)
READ_VALUES: Final = 1
_apply: Final = call_by_address(2)
_read: Final = call_by_address(READ_VALUES)
_advance: Final = inlined(advance)
_ROW_BYTES: Final = COMMAND.itemsize
#: A turn that took longer is followed by one of half the rows, down to ``ROWS_LEAST``; one that took less than a tenth,
#: by one of twice as many. Where commands are slow (a call over a deep book), others still get their turn.
TURN_NS_MAX: Final = 50_000_000
ROWS_LEAST: Final = 64
#: Turns with something on a line after which descriptors are polled, and looks at the lines between two polls.
_PASSES: Final = 8
#: Queued connections beside which turns with messages of rings are short (``ROWS_BESIDE``); more are a flood too.
_FEW: Final = 8
_LOOKS: Final = 8
#: Reading both clocks takes less than this; else they are read again (``sequencer.clock``).
_READING_NS: Final = 20_000


@inlined
def _read_market_time(turn):
    """Advance market time to now; gives True if the wall clock jumped."""
    monotonic_ns, wall_ns = time_by(turn, _MONOTONIC), time_by(turn, _REALTIME)
    for _ in range(3):
        if time_by(turn, _MONOTONIC) - monotonic_ns <= _READING_NS:
            break
        monotonic_ns, wall_ns = time_by(turn, _MONOTONIC), time_by(turn, _REALTIME)
    return _advance(turn.clock, monotonic_ns, wall_ns)


@called
def beat_lines(turn_pointers, now_ns, passed_ns, away_ns, read_ns):
    """Send heartbeats that are due, and stop lines whose clients are silent; the times are those of a ``Beat``.

    Gives the number of lines that are not OPEN.
    """
    turn = unpack_turn(turn_pointers)
    words = turn.words
    size = np.int64(len(turn.heartbeat))
    for line in turn.lines:
        if (line["fd"] < 0 and line["line"] == 0) or line["state"] != OPEN:
            continue
        # Time in which this side did not read, or in which the client's bytes waited here, is no silence.
        excused_ns = passed_ns if line["queued"] != 0 else away_ns
        line["heard_ns"] = max(line["heard_ns"], min(line["heard_ns"] + excused_ns, now_ns))
        if read_ns - line["heard_ns"] >= words[SILENCE_NS]:
            stop_line(turn, line, SILENT)
        elif now_ns - line["sent_ns"] >= words[HEARTBEAT_NS]:
            sent = give_to(turn, line, words[HEARTBEAT_ADDRESS], size)
            words[BYTES_OUT] += sent
            line["sent_ns"] = now_ns
            if sent < size:
                line["owed"] = size - sent if sent > 0 else 0
                stop_line(turn, line, SLOW)
    return words[LINES_STOPPED]


@inlined
def _queue(turn, stream, slot, wall_ns):
    """Queue a slot for which something came, unless it is queued; gives the time since 1970, read once."""
    line = turn.lines[slot]
    if line["queued"] == 0:
        if wall_ns == 0:
            wall_ns = time_by(turn, _REALTIME)
        stream["time_ns"] = wall_ns
        line["queued"] = 1
        turn.queue[turn.words[QUEUED]] = slot
        turn.words[QUEUED] += 1
    return wall_ns


@called
def _receive_lines(turn, arrays):
    """Take what programs beside the node have put for their direct connections, and queue these; True if there was
    something."""
    words, streams = turn.words, arrays.streams
    came, wall_ns = False, np.int64(0)
    for number in range(LINES_MAX):
        slot = turn.slot_of_line[number]
        if slot < 0:
            continue
        stream = streams[slot]
        room = stream["region"] + words[REGION_BYTES] - stream["end"]
        if turn.lines[slot]["state"] != OPEN or room < words[LEAST_ROOM]:
            continue
        begin, word = 2 * number * RING_BYTES, first_word(number) + IN_PUT
        got = take(
            turn.line_words,
            turn.line_bytes,
            begin,
            word,
            turn.line_counts,
            2 * number,
            arrays.buffer,
            stream["end"],
            room,
        )
        if got > 0:
            stream["end"] += got
            wall_ns = _queue(turn, stream, slot, wall_ns)
            came = True
        elif got < 0:
            stop_line(turn, turn.lines[slot], ENDED)
    return came


@inlined
def _lines_came(turn, arrays):
    """Look at the lines a few times: a poll of descriptors takes as long."""
    came = False
    for _ in range(_LOOKS):
        came = came or _receive_lines(turn, arrays)
    return came


@inlined
def _receive(turn, arrays, ahead, timeout_ms):
    """Receive what has come for direct connections, and queue them, and acknowledgements of the standby.

    Gives True if the event loop has work.
    """
    words, streams = turn.words, arrays.streams
    ready = np.int64(
        _epoll_wait(words[EPOLL], words[POLLED_ADDRESS], min(words[POLL_MAX], len(turn.polled)), np.int64(timeout_ms))
    )
    called_back = ready < 0  # a signal
    wall_ns = np.int64(0)
    for number in range(ready):
        polled = turn.polled[number]
        slot = turn.slot_of[np.int64(polled["fd"])] - 1
        if slot == LINK_SLOT - 1:
            receive_acks(ahead)
            continue
        if slot < 0:  # the poll of the event loop
            called_back = True
            continue
        line, stream = turn.lines[slot], streams[slot]
        room = stream["region"] + words[REGION_BYTES] - stream["end"]
        if line["fd"] < 0 or line["state"] != OPEN or room < words[LEAST_ROOM]:
            continue
        got = _recv(np.int64(line["fd"]), words[BUFFER_ADDRESS] + stream["end"], room, np.int64(_DONTWAIT))
        if got > 0:
            stream["end"] += got
            wall_ns = _queue(turn, stream, slot, wall_ns)
        elif got == 0 or np.int64(polled["events"]) & _BROKEN_LINE:
            stop_line(turn, line, ENDED)
    return called_back


@inlined
def _after_reading(turn, arrays, count, full, now_ns):
    """Note what was taken of each stream, and queue those with more: the ones with the fewest messages come first."""
    words, streams, read = turn.words, arrays.streams, turn.queue
    least = np.int64(TIME_NS_MAX)
    messages = np.int64(0)
    for number in range(count):
        slot = read[number]
        line, stream = turn.lines[slot], streams[slot]
        left = stream["end"] - stream["begin"]
        if left < line["waiting"]:
            words[BYTES_IN] += line["waiting"] - left
            messages += stream["messages"]
            line["heard_ns"] = now_ns
        line["queued"] = 0
        if np.int64(stream["stop"]) != FINE:
            stop_line(turn, line, STOPPED)
        elif full and left > 2:
            line["queued"] = 1
            least = min(least, stream["messages"])
    kept = np.int64(0)
    for later in range(2):
        for number in range(count):
            slot = read[number]
            if turn.lines[slot]["queued"] == 1 and (streams[slot]["messages"] > least) == (later == 1):
                arrays.order[kept] = slot
                kept += 1
    for number in range(kept):
        read[number] = arrays.order[number]
    words[ORDERS] += messages
    words[QUEUED] = kept
    words[RESUMING] = 1 if kept > 0 else 0
    return messages


@inlined
def _record(turn, record, streams, messages, rows):
    """Write the TURN row of the turn's arrivals."""
    words = turn.words
    at, last_seq = words[RECORD_AT], words[SEQ]
    record[at] = ((last_seq & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000
    record[at + 1] = last_seq >> 32
    record[at + 2] = words[TURNS] & 0x7FFFFFFF
    record[at + 3] = streams
    record[at + 4] = messages
    record[at + 5] = rows
    if words[RECORD_ROWS] == 0:
        words[RECORD_FIRST] = last_seq - rows + 1
    words[RECORD_ROWS] += rows
    words[RECORD_AT] = at + TURN_WORDS + ORIGIN_WORDS * streams + messages


@inlined
def _sequence(turn, engine_pointers, applied, rows, block):
    """Stamp rows, put them behind the blocks that were made, and apply them; gives False if its events have no room."""
    words = turn.words
    time_ns = min(turn.clock[MARKET_NS], TIME_NS_MAX)
    first = words[COMMANDS]
    count = np.int64(rows)
    at = words[COMMANDS_ADDRESS] + _ROW_BYTES * first
    if time_ns > words[STAMPED_NS] and words[EXTENDED] == 0:
        words[STAMPED_NS] = time_ns
        turn.clock_row[0]["time_ns"] = time_ns
        _memcpy(at, words[CLOCK_ROW_ADDRESS], np.int64(_ROW_BYTES))
        at += _ROW_BYTES
        count += 1
    _memcpy(at, words[ROWS_ADDRESS], _ROW_BYTES * np.int64(rows))
    words[COMMANDS] = first + count
    words[EXTENDED] = 0
    block["first_seq"] = words[SEQ] + 1
    words[SEQ] += count
    block["commands"] = count
    block["time_ns"] = words[STAMPED_NS]
    block["applying_ns"] = time_by(turn, _MONOTONIC)
    commands = turn.commands[first : first + count]
    done, total = np.int64(0), np.int64(0)
    while done < count:
        done, events = _apply(words[APPLY], (engine_pointers, commands, done, applied, np.int64(0)))
        if words[EVENTS] + events > len(turn.events):
            words[BIG_APPLIED], words[BIG_EVENTS] = done, events
            block["events"] = total
            return False
        _memcpy(
            words[EVENTS_ADDRESS] + _ROW_BYTES * words[EVENTS],
            words[APPLIED_ADDRESS],
            _ROW_BYTES * events,
        )
        words[EVENTS] += events
        total += events
    block["events"] = total
    block["applied_ns"] = time_by(turn, _MONOTONIC)
    return True


@inlined
def _put_on_tape(turn, tape: Tape, block):
    """Publish the block that was made last to the readers of the tape, with the words that say how far all is.

    One that is too long for the tape is left out: readers take it from the journal.
    """
    words = turn.words
    commands, events = np.int64(block["commands"]), np.int64(block["events"])
    at = claim_room(tape, block_words(tape.size, commands, events, np.int64(0)))
    if at >= 0:
        to = words[TAPE_ADDRESS] + 8 * at + _TAPE_HEAD_BYTES
        _memcpy(to, words[COMMANDS_ADDRESS] + _ROW_BYTES * (words[COMMANDS] - commands), _ROW_BYTES * commands)
        to += _ROW_BYTES * commands
        _memcpy(to, words[EVENTS_ADDRESS] + _ROW_BYTES * (words[EVENTS] - events), _ROW_BYTES * events)
        publish_block(tape, block["first_seq"], words[EPOCH], block["time_ns"], commands, events, np.int64(0))
    # Last, so that who finds a word finds the block.
    store_release(tape.words, _APPLIED, words[SEQ])
    if words[AT_ONCE] != 0:
        store_release(tape.words, _RELEASED, words[SEQ])
        ring_release_bells(tape.words)
        ring_bell(tape.words, _READERS_BELL)


@inlined
def _has_room(turn):
    """True if the next turn has room for its rows, its usual events, and the record of its arrivals."""
    words = turn.words
    return (
        words[BLOCKS] < len(turn.blocks)
        and words[COMMANDS] + ROWS_ROOM <= len(turn.commands)
        and words[EVENTS] + 2 * ROWS_ROOM <= len(turn.events)
        and (words[RECORD_MAX] == 0 or words[RECORD_AT] < words[RECORD_MAX])
    )


@inlined
def _answer_acknowledged(turn, outgoing, streams_pointers, ahead, tape: Tape):
    """Answer the blocks whose rows the standby has acknowledged, while the lease holds; gives SPENT, or why Python must
    go on.
    """
    words = turn.words
    while words[NEXT_BLOCK] < words[BLOCKS]:
        block = turn.blocks[words[NEXT_BLOCK]]
        if block["first_seq"] + block["commands"] - 1 > ahead.words[_ACKED]:
            break
        if time_by(turn, _BOOTTIME) >= words[LEASE_UNTIL_NS]:
            return np.int64(MADE)
        if words[TAPED] != 0:
            raise_word(tape.words, _RELEASED, block["first_seq"] + block["commands"] - 1)
        words[ANSWER_AT], words[ANSWER_CLOCKS] = 0, -1
        why = tell_block(turn, outgoing, streams_pointers, block)
        if why != SPENT:
            return why
    return np.int64(SPENT)


@inlined
def _fit(words, took_ns):
    """Set the rows of the next turn by the time of the last one."""
    if took_ns > TURN_NS_MAX:
        words[ROWS_MAX] = max(words[ROWS_MAX] // 2, ROWS_LEAST)
    elif words[ROWS_MAX] < words[ROWS_LIMIT] and took_ns < TURN_NS_MAX // 10:
        words[ROWS_MAX] = min(2 * words[ROWS_MAX], words[ROWS_LIMIT])


@called
def _take_turn(turn, arrays, rings, outgoing, ahead, tape: Tape, pointers, applied, now_ns):
    """Take a turn over the queued streams and the rings; gives SPENT if it is done, or why Python must go on."""
    arrivals_pointers, known_pointers, streams_pointers, engine_pointers = pointers
    words = turn.words
    count = words[QUEUED]
    for number in range(count):
        slot = turn.queue[number]
        arrays.read[number] = slot
        turn.lines[slot]["waiting"] = arrays.streams[slot]["end"] - arrays.streams[slot]["begin"]
    first = np.int64(0) if words[RESUMING] != 0 or count == 0 else words[TURNS] % count
    rows_max = words[ROWS_MAX]
    if words[ROWS_BESIDE] != 0 and count <= _FEW and any_waits(rings):
        rows_max = min(rows_max, words[ROWS_BESIDE])
    rows = _read(words[READ], (arrivals_pointers, known_pointers, count, rows_max, first, words[RECORD_AT]))
    words[TURNS] += 1
    messages = _after_reading(turn, arrays, count, rows + 2 > rows_max, now_ns) + rings.words[MESSAGES]
    words[ORDERS] += rings.words[MESSAGES]
    if rows == 0:
        if words[PIECES] > 0:  # nothing comes that they could wait for
            send_gathered(turn)
        return np.int64(SPENT)
    taken_ns = time_by(turn, _MONOTONIC)
    words[BUSY_UNTIL_NS] = taken_ns + words[BUSY_NS]
    if _read_market_time(turn):
        words[JUMP] = 1  # what is read next would cover it, so Python has its turn behind this block
    block = turn.blocks[words[BLOCKS]]
    words[BLOCKS] += 1
    block["read_ns"], block["taken_ns"], block["orders"] = now_ns, taken_ns, messages
    block["answered"] = block["answering_ns"] = block["answered_ns"] = 0
    fits = _sequence(turn, engine_pointers, applied, rows, block)
    if words[RECORD_MAX] != 0:
        _record(turn, arrays.record, count + rings.words[SOURCES], messages, rows)
    if not fits:
        return np.int64(BIG)
    if words[TAPED] != 0:
        _put_on_tape(turn, tape, block)
    why = np.int64(MADE)
    if words[AT_ONCE] != 0:
        words[ANSWER_AT], words[ANSWER_CLOCKS] = 0, -1
        why = tell_block(turn, outgoing, streams_pointers, block)
    elif words[AHEAD] != 0 and block["commands"] <= _AHEAD_ROWS_MAX:
        address = words[COMMANDS_ADDRESS] + _ROW_BYTES * (words[COMMANDS] - block["commands"])
        if send_rows(ahead, address, block["first_seq"], block["commands"], block["time_ns"]):
            # It is answered once it is acknowledged. A frame that was cut short has to be completed by Python.
            why = np.int64(SPENT) if ahead.words[_OWED] == 0 else np.int64(LINK)
    if words[PIECES] > 0 and not (why == SPENT and waits_for_more(turn)):
        send_gathered(turn)
    _fit(words, time_by(turn, _MONOTONIC) - now_ns)
    return np.int64(JUMPED) if words[JUMP] != 0 and why == SPENT else why


@inlined
def _goes_to_sleep(turn, rings):
    """Say that the core is about to sleep; gives False if it must not, since a program beside it has put something."""
    if not rings_may_sleep(rings):
        return False
    if turn.words[LOCAL] == 0 or go_to_sleep(turn.line_words, turn.line_counts, turn.slot_of_line):
        return True
    rings_wake(rings)
    return False


@inlined
def _run_turns(turn, outgoing, tape: Tape, pointers, ahead_pointers, applied, until_ns):
    """``run_turns``, but for messages that still wait to be sent."""
    arrivals_pointers, _, streams_pointers, _ = pointers
    arrays, ahead = unpack_arrivals(arrivals_pointers), unpack_ahead(ahead_pointers)
    rings = unpack_rings(arrays.rings)
    words = turn.words
    if words[ANSWER_AT] >= 0:
        why = tell_block(turn, outgoing, streams_pointers, turn.blocks[words[NEXT_BLOCK]])
        if why != SPENT:
            return why
        send_gathered(turn)
    passes = np.int64(0)
    while True:
        now_ns = time_by(turn, _MONOTONIC)
        pending = words[NEXT_BLOCK] < words[BLOCKS]
        # Under `replica` nobody waits for the journal: blocks may wait for further ones.
        lingers = words[AHEAD] != 0 and words[BLOCKS] > 0
        came = words[LOCAL] > 0 and _lines_came(turn, arrays)
        put = any_waits(rings)
        sleeps = words[QUEUED] == 0 and not put and now_ns >= words[BUSY_UNTIL_NS] and (words[BLOCKS] == 0 or lingers)
        sleep_ms = np.int64(1) if lingers else words[SLEEP_MS]
        rests = sleeps and _goes_to_sleep(turn, rings)
        passes = passes + 1 if came else np.int64(0)
        work = False
        if passes % _PASSES == 0:
            work = _receive(turn, arrays, ahead, sleep_ms if rests else np.int64(0))
        if rests:
            rings_wake(rings)
            put = any_waits(rings)
        if rests and words[LOCAL] > 0:
            wake_up(turn.line_words)
            _receive_lines(turn, arrays)
        if pending:
            why = _answer_acknowledged(turn, outgoing, streams_pointers, ahead, tape)
            if why != SPENT:
                return why
        if words[QUEUED] > 0 or put:
            if not _has_room(turn):
                return np.int64(ROOM)
            why = _take_turn(turn, arrays, rings, outgoing, ahead, tape, pointers, applied, time_by(turn, _MONOTONIC))
            if why != SPENT:
                return why
        elif not work and not lingers and (sleeps or now_ns >= words[BUSY_UNTIL_NS]):
            return np.int64(IDLE)
        if words[LINES_STOPPED] > 0:
            return np.int64(LINES)
        if ahead.words[_LINK_STOPPED] != 0:
            return np.int64(LINK)
        if work:
            return np.int64(CALLED)
        if now_ns >= until_ns or (words[BLOCKS] > 0 and now_ns - turn.blocks[0]["read_ns"] >= words[STAY_NS]):
            return np.int64(SPENT)


@called
def run_turns(
    turn_pointers,
    arrivals_pointers,
    known_pointers,
    streams_pointers,
    outgoing_pointers,
    ahead_pointers,
    tape_pointers,
    engine_pointers,
    applied,
    until_ns,
):
    """Take turns over direct connections until ``until_ns`` (monotonic) or until Python has work; gives the reason.

    Once blocks were made it stays for STAY_NS at most.

    The pointers are of the packed ``Turn``, ``Arrivals``, ``Outgoing``, ``Ahead``, ``Tape`` and state of the engine,
    and of the arrays with which the protocol explains messages (known) and answers (streams). ``applied``: EVENT rows,
    room for the events of a call of the engine. After ROOM in the middle of an answer (ANSWER_AT is not -1) call again
    with the messages taken away, and the blocks left.
    """
    turn, tape = unpack_turn(turn_pointers), unpack_tape(tape_pointers)
    outgoing = unpack_outgoing(outgoing_pointers)
    pointers = (arrivals_pointers, known_pointers, streams_pointers, engine_pointers)
    why = _run_turns(turn, outgoing, tape, pointers, ahead_pointers, applied, until_ns)
    if turn.words[PIECES] > 0:
        send_gathered(turn)
    return why
