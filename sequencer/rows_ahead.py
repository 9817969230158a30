"""Rows ahead of their block, in compiled code: a primary sends them and reads acknowledgements, its standby answers.

Under `replica` an answer waits for the memory of the standby alone. A turn of the primary therefore sends its rows at
once, as a ROWS frame of the link, and answers when the standby has acknowledged them. The sealed block follows, for
many turns together, from Python. All that is received here goes to Python too, which reads it as if nobody had before:
the kernels only answer earlier. What they do not know they leave to it.

The frames are those of ``replication.link``; here they are words of 64 bits:

    magic 2, kind 1, version 1, payload bytes u32 | epoch | CRC-32 u32, zero u32 | payload

with the payload of ROWS: first_seq, number of rows, time_ns, rows; and of ACK: received_seq, journaled_seq, digests.
"""

from typing import Any, Final, NamedTuple

import numpy as np

from engine.jit import called, inlined, lshr, unpack_pointers
from engine.records import COMMAND
from sequencer.system_calls import (
    BROKEN_LINE,
    DONTWAIT,
    DONTWAIT_NOSIGNAL,
    EPOLL_EVENT,
    MONOTONIC,
    clock_gettime,
    epoll_wait,
    memcpy,
    recv,
    send,
)

#: Most rows of a turn that are sent ahead: for more, their checksum takes longer than what is gained.
ROWS_MAX: Final = 256
_ROW_BYTES: Final = COMMAND.itemsize
_HEAD_BYTES: Final = 24
_ACK_BYTES: Final = _HEAD_BYTES + 16
_POSITION_BYTES: Final = 24
_OWN_BYTES: Final = 24  # of the payload of ROWS, before the rows
_FRAME_BYTES_MAX: Final = _HEAD_BYTES + _OWN_BYTES + ROWS_MAX * _ROW_BYTES
#: Bytes received in one stay.
READ_BYTES: Final = 1 << 20

#: Results of ``follow_rows``: why Python has its turn.
IDLE: Final = 0  # nothing came for as long as it may wait
CALLED: Final = 1  # the event loop has work
SPENT: Final = 2  # its time is over
LINK: Final = 3  # something came that is not for the kernel

#: Places of ``Ahead.words``.
(
    FD,  # descriptor of the link; -1: none
    ROWS_HEAD,  # first word of a ROWS frame without payload
    ACK_HEAD,  # that of an ACK frame without payload
    EPOCH,
    SENT,  # last row sent ahead, or in a block
    ACKED,  # last row that the standby has acknowledged
    NEXT_SEQ,  # of a standby: row that comes next
    JOURNALED,  # of a standby: last row on its disk
    READ_END,  # bytes received
    PARSED,  # bytes of them that were read
    STOPPED,  # 1: something came that is not for the kernel
    OWED,  # bytes at the end of ``out`` before OUT_END that the connection did not take
    OUT_END,
    LIVE,  # 1: the link was at the begin of a frame, and nothing stopped the kernel since
    EPOLL,  # of a standby: its poll
    BUSY_NS,  # of a standby: poll without sleep for so long after rows
    BUSY_UNTIL_NS,
    STAY_NS,  # of a standby: longest stay after the first rows
    SLEEP_MS,
    OUT_ADDRESS,
    READ_ADDRESS,
    POLLED_ADDRESS,
    TIME_ADDRESS,
    FRAME_ADDRESS,
) = range(24)
WORDS: Final = 24


class Ahead(NamedTuple):
    """Memory of one end of the link."""

    words: np.ndarray[Any, Any]  # int64[WORDS]
    crc: np.ndarray[Any, Any]  # int64[8 * 256]: tables of CRC-32, a word at a time
    out: np.ndarray[Any, Any]  # int64[n]: the frame that is sent
    frame: np.ndarray[Any, Any]  # int64[n]: the frame that is read
    read: np.ndarray[Any, Any]  # uint8[READ_BYTES]: what was received
    polled: np.ndarray[Any, Any]  # EPOLL_EVENT[2]
    time: np.ndarray[Any, Any]  # int64[2]: seconds and nanoseconds


def new_ahead(rows_head: bytes = bytes(8), ack_head: bytes = bytes(8), *, read_bytes: int = READ_BYTES) -> Ahead:
    """Memory of one end. ``rows_head``, ``ack_head``: first 8 bytes of a ROWS and of an ACK frame without payload."""
    ahead = Ahead(
        words=np.zeros(WORDS, np.int64),
        crc=_crc_tables(),
        out=np.zeros(_FRAME_BYTES_MAX // 8, np.int64),
        frame=np.zeros(_FRAME_BYTES_MAX // 8, np.int64),
        read=np.zeros(read_bytes, np.uint8),
        polled=np.zeros(2, EPOLL_EVENT),
        time=np.zeros(2, np.int64),
    )
    words = ahead.words
    words[FD] = words[EPOLL] = -1
    words[ROWS_HEAD], words[ACK_HEAD] = (int.from_bytes(head, "little") for head in (rows_head, ack_head))
    for place, array in (
        (OUT_ADDRESS, ahead.out),
        (READ_ADDRESS, ahead.read),
        (POLLED_ADDRESS, ahead.polled),
        (TIME_ADDRESS, ahead.time),
        (FRAME_ADDRESS, ahead.frame),
    ):
        words[place] = array.ctypes.data
    return ahead


def _crc_tables() -> np.ndarray[Any, Any]:
    """Tables for 8 bytes at a time: table k has the CRC-32 of a byte that k zero bytes follow."""
    table = np.arange(256, dtype=np.int64)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ 0xEDB88320, table >> 1)
    tables = [table]
    for _ in range(7):
        tables.append((tables[-1] >> 8) ^ table[tables[-1] & 0xFF])
    return np.concatenate(tables)


unpack_ahead = unpack_pointers(new_ahead(read_bytes=8))


@inlined
def crc_words(table, words, begin, end, crc):
    """CRC-32 of words[begin:end], after ``crc`` of those before (0: none)."""
    crc ^= 0xFFFFFFFF
    for at in range(begin, end):
        word = words[at]
        low = (word ^ crc) & 0xFFFFFFFF
        high = lshr(word, 32)
        crc = (
            table[0x700 + (low & 0xFF)]
            ^ table[0x600 + ((low >> 8) & 0xFF)]
            ^ table[0x500 + ((low >> 16) & 0xFF)]
            ^ table[0x400 + (low >> 24)]
            ^ table[0x300 + (high & 0xFF)]
            ^ table[0x200 + ((high >> 8) & 0xFF)]
            ^ table[0x100 + ((high >> 16) & 0xFF)]
            ^ table[high >> 24]
        )
    return crc ^ 0xFFFFFFFF


@inlined
def _send_frame(ahead, head, payload_bytes):
    """Send the frame whose payload is in ``out``; gives the bytes that the connection took."""
    words, out = ahead.words, ahead.out
    out[0] = head + (payload_bytes << 32)
    out[1] = words[EPOCH]
    size = _HEAD_BYTES + payload_bytes
    out[2] = crc_words(ahead.crc, out, 3, size // 8, crc_words(ahead.crc, out, 0, 2, 0))
    sent = max(send(words[FD], words[OUT_ADDRESS], size, np.int64(DONTWAIT_NOSIGNAL)), 0)
    words[OUT_END] = size
    words[OWED] = size - sent if sent > 0 else 0
    return sent


@inlined
def send_rows(ahead, address, first_seq, rows, time_ns):
    """Send rows (COMMAND, at ``address``) ahead of their block; False if the connection took none of them."""
    words, out = ahead.words, ahead.out
    out[3], out[4], out[5] = first_seq, rows, time_ns
    memcpy(words[OUT_ADDRESS] + _HEAD_BYTES + _OWN_BYTES, address, rows * _ROW_BYTES)
    if _send_frame(ahead, words[ROWS_HEAD], _OWN_BYTES + rows * _ROW_BYTES) == 0:
        return False
    words[SENT] = first_seq + rows - 1
    return True


@inlined
def _receive(ahead):
    """Receive what has come; gives False if the link has ended."""
    words = ahead.words
    room = len(ahead.read) - words[READ_END]
    got = recv(words[FD], words[READ_ADDRESS] + words[READ_END], room, np.int64(DONTWAIT))
    if got <= 0:
        return got != 0
    words[READ_END] += got
    return True


@inlined
def _next_frame(ahead, size_max):
    """Copy the next frame, whole, to ``frame``; gives its payload bytes, or -1 where there is none that is usable."""
    words, frame = ahead.words, ahead.frame
    left = words[READ_END] - words[PARSED]
    if left < _HEAD_BYTES:
        return np.int64(-1)
    at = words[READ_ADDRESS] + words[PARSED]
    memcpy(words[FRAME_ADDRESS], at, np.int64(_HEAD_BYTES))
    size = lshr(frame[0], 32)
    if size % 8 != 0 or size > size_max or frame[1] != words[EPOCH]:
        words[STOPPED] = 1
        return np.int64(-1)
    if left < _HEAD_BYTES + size:
        return np.int64(-1)
    memcpy(words[FRAME_ADDRESS] + _HEAD_BYTES, at + _HEAD_BYTES, size)
    end = (_HEAD_BYTES + size) // 8
    if crc_words(ahead.crc, frame, 3, end, crc_words(ahead.crc, frame, 0, 2, 0)) != frame[2]:
        words[STOPPED] = 1
        return np.int64(-1)
    words[PARSED] += _HEAD_BYTES + size
    return size


@inlined
def receive_acks(ahead):
    """Receive what has come on the link, and note acknowledgements up to the first frame of another kind.

    The link stays readable for Python, which reads the same bytes later. STOPPED is set where it must read them now.
    """
    words, frame = ahead.words, ahead.frame
    if not _receive(ahead) or words[READ_END] == len(ahead.read):
        words[STOPPED] = 1
    if words[LIVE] == 0:
        words[STOPPED] = 1
    while words[STOPPED] == 0:
        size = _next_frame(ahead, np.int64(_FRAME_BYTES_MAX - _HEAD_BYTES))
        if size < 0:
            break
        known = (frame[0] & 0xFFFFFFFF) == words[ACK_HEAD] and size >= 16 and (size - 16) % _POSITION_BYTES == 0
        if not known or frame[3] < words[ACKED] or frame[3] > words[SENT]:
            words[STOPPED] = 1
        else:
            words[ACKED] = frame[3]


@inlined
def _take_rows(ahead):
    """Read rows ahead of their block up to the first frame of another kind; True if some are to be acknowledged."""
    words, frame = ahead.words, ahead.frame
    taken = False
    while words[STOPPED] == 0:
        size = _next_frame(ahead, np.int64(_FRAME_BYTES_MAX - _HEAD_BYTES))
        if size < 0:
            break
        rows = frame[4]
        known = (frame[0] & 0xFFFFFFFF) == words[ROWS_HEAD] and size > _OWN_BYTES
        if not known or frame[3] != words[NEXT_SEQ] or rows < 1 or size != _OWN_BYTES + rows * _ROW_BYTES:
            words[STOPPED] = 1
        else:
            words[NEXT_SEQ] += rows
            taken = True
    return taken


@inlined
def _monotonic_ns(ahead):
    clock_gettime(np.int64(MONOTONIC), ahead.words[TIME_ADDRESS])
    return ahead.time[0] * 1_000_000_000 + ahead.time[1]


@called
def follow_rows(ahead_pointers, until_ns):
    """Acknowledge rows that come ahead of their block, until ``until_ns`` (monotonic) or until Python has work.

    Gives the reason. What was received is at the front of ``read``. It stays for STAY_NS at most after the first rows.
    """
    ahead = unpack_ahead(ahead_pointers)
    words = ahead.words
    first_ns = np.int64(0)
    while True:
        now_ns = _monotonic_ns(ahead)
        sleeps = now_ns >= words[BUSY_UNTIL_NS]
        ready = np.int64(
            epoll_wait(words[EPOLL], words[POLLED_ADDRESS], np.int64(2), words[SLEEP_MS] if sleeps else np.int64(0))
        )
        called_back = ready < 0  # a signal
        for number in range(ready):
            polled = ahead.polled[number]
            if np.int64(polled["fd"]) != words[FD]:
                called_back = True
            elif (
                not _receive(ahead) or (np.int64(polled["events"]) & BROKEN_LINE) or words[READ_END] == len(ahead.read)
            ):
                words[STOPPED] = 1
        if words[PARSED] < words[READ_END] and _take_rows(ahead):
            words[BUSY_UNTIL_NS] = now_ns + words[BUSY_NS]
            if first_ns == 0:
                first_ns = now_ns
            ahead.out[3], ahead.out[4] = words[NEXT_SEQ] - 1, words[JOURNALED]
            sent = _send_frame(ahead, words[ACK_HEAD], np.int64(16))
            if sent > 0:
                words[ACKED] = words[NEXT_SEQ] - 1
            if sent < _ACK_BYTES:
                words[STOPPED] = 1
        if words[STOPPED] != 0:
            return np.int64(LINK)
        if called_back:
            return np.int64(CALLED)
        if ready == 0 and sleeps:
            return np.int64(IDLE)
        if now_ns >= until_ns or (first_ns != 0 and now_ns - first_ns >= words[STAY_NS]):
            return np.int64(SPENT)
