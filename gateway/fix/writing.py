"""Kernel that writes ExecutionReports of many records at once, as ``answers`` and ``FrameWriter`` write one.

It takes the records at the front of a piece of a stream, as far as they are reports of the usual kinds, in turn, and
stops before the first that is anything else, which Python writes. What it writes is what Python would write, byte for
byte (``tests/test_fix_batches.py``).
"""

from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np

from engine.jit import Packed, called, inlined, unpack_pointers
from engine.names import ID_CHARACTERS
from engine.records import Instruction, Reason, TimeInForce
from gateway.fix import records
from gateway.fix.answers import TIME_IN_FORCE
from reports.rows import REPORT, Liquidity, ReportKind
from wire.fix_table import VERSIONS

#: Bytes of a frame at most, ids and names of 255 characters included, and of the frames of one call.
FRAME_BYTES_MAX: Final = 2_048
OUT_BYTES: Final = 1 << 18
#: Versions, by their numbers in the kernel.
FIX_4_2, FIX_4_4, FIX_5 = range(len(VERSIONS))

_HEAD_BYTES: Final = records.HEAD.size
_ROW_BYTES: Final = records.ROW_BYTES
_RECORD: Final = records.REPORT
_NEW, _TRADE, _CANCELED = int(ReportKind.NEW), int(ReportKind.TRADE), int(ReportKind.CANCELED)
_REPLACED, _EXPIRED, _DONE = int(ReportKind.REPLACED), int(ReportKind.EXPIRED), int(ReportKind.DONE_FOR_DAY)
_ADDED, _MIDPOINT_ADDED = int(Liquidity.ADDED), int(Liquidity.MIDPOINT_ADDED)
_REMOVED, _MIDPOINT_REMOVED = int(Liquidity.REMOVED), int(Liquidity.MIDPOINT_REMOVED)
_MARKET, _STOP, _POST_ONLY = int(Instruction.MARKET), int(Instruction.STOP), int(Instruction.POST_ONLY)
_HIDDEN, _DISPLAY = int(Instruction.HIDDEN), int(Instruction.DISPLAY)
_PEGGED: Final = int(Instruction.PEG)
_CODES: Final = 256
_WORD_BYTES: Final = 32
_SECOND_NS: Final = 1_000_000_000
_DAY_S: Final = 86_400
_SOH: Final = 1
_EQUALS, _POINT, _DASH, _COLON, _ZERO = ord("="), ord("."), ord("-"), ord(":"), ord("0")
_YES: Final = ord("Y")


class Desk(NamedTuple):
    """Tables of the kernel, and its memory. One of a process."""

    reasons: np.ndarray[Any, Any]  # uint8[256, 32]: word of each reason
    reason_bytes: np.ndarray[Any, Any]  # int64[256]: its length; -1: there is no such reason
    times_in_force: np.ndarray[Any, Any]  # uint8[256]: code of each time in force; 0: there is none
    is_id: np.ndarray[Any, Any]  # uint8[256]: 1 for the characters of names
    row: np.ndarray[Any, Any]  # REPORT[1], of the record
    row_bytes: np.ndarray[Any, Any]  # uint8[256]: its memory
    out: np.ndarray[Any, Any]  # uint8[n]: frames


class Head(NamedTuple):
    """Beginning of each frame of a session: its parts one behind the other, and the bytes of each."""

    data: np.ndarray[Any, Any]  # uint8[n]: begin, sender, target
    sizes: np.ndarray[Any, Any]  # int64[4]: bytes of the three, and the number of the version


def _new_desk() -> Desk:
    reasons = np.zeros((_CODES, _WORD_BYTES), np.uint8)
    reason_bytes = np.full(_CODES, -1, np.int64)
    reason_bytes[0] = 0
    for each in Reason:
        word = each.name.lower().encode()
        reasons[each, : len(word)] = list(word)
        reason_bytes[each] = len(word)
    times_in_force = np.zeros(_CODES, np.uint8)
    for code in (0, *TimeInForce):
        times_in_force[code] = ord(TIME_IN_FORCE[TimeInForce(code)] if code else "0")
    is_id = np.zeros(_CODES, np.uint8)
    is_id[[ord(each) for each in ID_CHARACTERS]] = 1
    row = np.zeros(1, REPORT)
    return Desk(
        reasons, reason_bytes, times_in_force, is_id, row, row.view(f"V{_ROW_BYTES}").view(np.uint8), _room(OUT_BYTES)
    )


def _room(size: int) -> "np.ndarray[Any, Any]":
    return np.zeros(size, np.uint8)


@cache
def desk() -> Packed[Desk]:
    """The tables of this process."""
    return Packed(_new_desk())


def head_of(version: str, sender: str, target: str) -> Head:
    """Beginning of each frame from one side to the other."""
    parts = [
        b"8=%b\x019=" % version.encode(),
        b"\x0149=%b\x0152=" % sender.encode(),
        b"\x0156=%b\x01" % target.encode(),
    ]
    return put_parts(parts, VERSIONS.index(version))


def put_parts(parts: list[bytes], version: int) -> Head:
    """Parts and the number of a version, for kernels."""
    return Head(np.frombuffer(b"".join(parts), np.uint8), np.array([*map(len, parts), version], np.int64))


_unpack = unpack_pointers(_new_desk())


@called
def _put_number(out, at, number):
    """Write a number that is not below 0; gives the place behind it."""
    size, rest = np.int64(1), number
    while rest >= 10:
        rest //= 10
        size += 1
    end = at + size
    for place in range(size):
        out[end - 1 - place] = _ZERO + number % 10
        number //= 10
    return end


@called
def _put_digits(out, at, number, size):
    """Write the last ``size`` digits of a number; gives the place behind them."""
    for place in range(size):
        out[at + size - 1 - place] = _ZERO + number % 10
        number //= 10
    return at + size


@called
def _put_tag(out, at, tag):
    at = _put_number(out, at, np.int64(tag))
    out[at] = _EQUALS
    return at + 1


@called
def _put_field(out, at, tag, number):
    """Write a field with a number."""
    at = _put_number(out, _put_tag(out, at, tag), np.int64(number))
    out[at] = _SOH
    return at + 1


@called
def _put_code(out, at, tag, code):
    """Write a field with one character."""
    at = _put_tag(out, at, tag)
    out[at] = code
    out[at + 1] = _SOH
    return at + 2


@called
def _put_fraction(out, at, part, size):
    """Write a point and the digits behind it, without zeros at their end; nothing for 0."""
    if part > 0:
        while part % 10 == 0:
            part //= 10
            size -= 1
        out[at] = _POINT
        at = _put_digits(out, at + 1, part, size)
    return at


@called
def _put_price(out, at, tag, price_e4):
    """Write a field with a price in 1/10,000 that is not below 0."""
    at = _put_number(out, _put_tag(out, at, tag), price_e4 // 10_000)
    at = _put_fraction(out, at, price_e4 % 10_000, np.int64(4))
    out[at] = _SOH
    return at + 1


@called
def _put_average(out, at, notional_e4, quantity):
    """Write the average price: eight digits behind the point, the nearest, and the even one of two."""
    at = _put_tag(out, at, 6)
    value_e8 = np.int64(0)
    if quantity > 0:
        scaled = (notional_e4 % quantity) * 10_000
        value_e8 = (notional_e4 // quantity) * 10_000 + scaled // quantity
        twice = 2 * (scaled % quantity)
        if twice > quantity or (twice == quantity and value_e8 % 2 == 1):
            value_e8 += 1
    at = _put_number(out, at, value_e8 // 100_000_000)
    at = _put_fraction(out, at, value_e8 % 100_000_000, np.int64(8))
    out[at] = _SOH
    return at + 1


@called
def _put_bytes(out, at, data, begin, size):
    """Copy bytes; gives the place behind them."""
    for place in range(size):
        out[at + place] = data[begin + place]
    return at + size


@called
def _put_text(out, at, tag, data, begin, size):
    """Write a field with bytes."""
    at = _put_bytes(out, _put_tag(out, at, tag), data, begin, size)
    out[at] = _SOH
    return at + 1


@called
def _put_time(out, at, time_ns):
    """Write a time in UTC with milliseconds, and no separator."""
    seconds, rest_ns = time_ns // _SECOND_NS, time_ns % _SECOND_NS
    days, second = seconds // _DAY_S, seconds % _DAY_S
    # Years that begin with March, from that of the year 0 on (400 years have 146,097 days).
    days += 719_468
    era, day = days // 146_097, days % 146_097
    year = (day - day // 1_460 + day // 36_524 - day // 146_096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    day += 1 - (153 * month + 2) // 5
    month += 3 if month < 10 else -9
    year += 400 * era + (1 if month <= 2 else 0)
    at = _put_digits(out, at, year, np.int64(4))
    at = _put_digits(out, at, month, np.int64(2))
    at = _put_digits(out, at, day, np.int64(2))
    out[at] = _DASH
    at = _put_digits(out, at + 1, second // 3_600, np.int64(2))
    out[at] = _COLON
    at = _put_digits(out, at + 1, second // 60 % 60, np.int64(2))
    out[at] = _COLON
    at = _put_digits(out, at + 1, second % 60, np.int64(2))
    out[at] = _POINT
    return _put_digits(out, at + 1, rest_ns // 1_000_000, np.int64(3))


@called
def _put_time_field(out, at, tag, time_ns):
    at = _put_time(out, _put_tag(out, at, tag), time_ns)
    out[at] = _SOH
    return at + 1


@inlined
def _is_usual(tables: Desk, row):
    """True for a report that the kernel writes."""
    kind = np.int64(row["kind"])
    known = kind in (_NEW, _TRADE, _CANCELED, _REPLACED, _EXPIRED, _DONE)
    symbol = row["symbol"]
    known = known and symbol > 0
    while symbol > 0:
        known = known and tables.is_id[symbol & 255] == 1
        symbol >>= 8
    return (
        known
        and tables.reason_bytes[row["reason"]] >= 0
        and tables.times_in_force[row["time_in_force"]] != 0
        and row["instructions"] & _PEGGED == 0
        and min(row["notional_e4"], row["price_e4"], row["stop_price_e4"], row["last_price_e4"]) >= 0
        and min(row["order_number"], row["qty"], row["seq"], row["time_ns"], row["trade_number"], row["until_ns"]) >= 0
    )


@inlined
def _status_of(row, kind, version):
    """OrdStatus."""
    if kind == _NEW:
        return ord("0")
    if kind == _TRADE:
        return ord("1") if row["leaves_qty"] > 0 else ord("2")
    if kind == _REPLACED:
        if row["leaves_qty"] == 0:
            return ord("2")
        return ord("1") if row["cum_qty"] > 0 else ord("5") if version == FIX_4_2 else ord("0")
    return ord("4") if kind == _CANCELED else ord("C")


@inlined
def _exec_type_of(kind, status, version):
    """ExecType."""
    if kind == _TRADE:
        return status if version == FIX_4_2 else ord("F")
    return ord("5") if kind == _REPLACED else status


@inlined
def _put_state(tables: Desk, row, stored, texts, text_bytes, version, status, at):
    """Write the fields 6 to 39: what the report is, and how much of the order is done."""
    out = tables.out
    kind, bits = np.int64(row["kind"]), np.int64(row["instructions"])
    at = _put_average(out, at, row["notional_e4"], np.int64(row["cum_qty"]))
    at = _put_text(out, at, 11, stored, texts, text_bytes)
    at = _put_field(out, at, 14, row["cum_qty"])
    at = _put_number(out, _put_tag(out, at, 17), row["seq"])
    out[at] = _DASH
    at = _put_number(out, at + 1, np.int64(row["number"]))
    out[at] = _SOH
    at += 1
    if bits & _POST_ONLY:
        at = _put_code(out, at, 18, ord("6"))
    if version == FIX_4_2:
        at = _put_code(out, at, 20, _ZERO)
    if kind == _TRADE:
        at = _put_price(out, at, 31, row["last_price_e4"])
        at = _put_field(out, at, 32, row["last_qty"])
    at = _put_tag(out, at, 37)
    if row["order_number"] > 0:
        at = _put_number(out, at, row["order_number"])
    else:
        for each in (ord("N"), ord("O"), ord("N"), ord("E")):
            out[at] = each
            at += 1
    out[at] = _SOH
    at = _put_field(out, at + 1, 38, row["qty"])
    return _put_code(out, at, 39, status)


@inlined
def _put_order(tables: Desk, row, stored, orig, orig_bytes, at):
    """Write the fields 40 to 60: what the order is."""
    out = tables.out
    kind, bits = np.int64(row["kind"]), np.int64(row["instructions"])
    stops = bits & _STOP != 0
    market = bits & _MARKET != 0
    at = _put_code(out, at, 40, (ord("3") if market else ord("4")) if stops else ord("1") if market else ord("2"))
    if orig_bytes > 0:
        at = _put_text(out, at, 41, stored, orig, orig_bytes)
    if row["price_e4"] > 0:
        at = _put_price(out, at, 44, row["price_e4"])
    at = _put_code(out, at, 54, ord("1") if row["side"] > 0 else ord("2"))
    at = _put_tag(out, at, 55)
    for place in range(8):
        character = (row["symbol"] >> (56 - 8 * place)) & 255
        if character != 0:
            out[at] = character
            at += 1
    out[at] = _SOH
    at += 1
    if kind in (_CANCELED, _EXPIRED, _DONE):
        reason = np.int64(row["reason"])
        at = _put_text(out, at, 58, tables.reasons[reason], np.int64(0), tables.reason_bytes[reason])
    at = _put_code(out, at, 59, tables.times_in_force[row["time_in_force"]])
    return _put_time_field(out, at, 60, row["time_ns"])


@inlined
def _put_terms(tables: Desk, row, version, status, at):
    """Write the fields from 99 on: terms, the kind of report, what is left, and facts of a trade."""
    out = tables.out
    kind, bits = np.int64(row["kind"]), np.int64(row["instructions"])
    if row["stop_price_e4"] > 0:
        at = _put_price(out, at, 99, row["stop_price_e4"])
    if row["min_qty"] > 0:
        at = _put_field(out, at, 110, row["min_qty"])
    shown = np.int64(0) if bits & _HIDDEN else np.int64(row["display_qty"])
    if bits & (_DISPLAY | _HIDDEN) and version != FIX_5:
        at = _put_field(out, at, 111, shown)
    if row["until_ns"] > 0:
        at = _put_time_field(out, at, 126, row["until_ns"])
    at = _put_code(out, at, 150, _exec_type_of(kind, status, version))
    at = _put_field(out, at, 151, row["leaves_qty"] if status != ord("4") and status != ord("C") else 0)
    if kind == _TRADE and version != FIX_4_2:
        liquidity = np.int64(row["liquidity"])
        if liquidity in (_ADDED, _MIDPOINT_ADDED):
            at = _put_code(out, at, 851, ord("1"))
        elif liquidity in (_REMOVED, _MIDPOINT_REMOVED):
            at = _put_code(out, at, 851, ord("2"))
    if kind == _TRADE and version == FIX_5:
        at = _put_field(out, at, 880, row["trade_number"])
    if bits & (_DISPLAY | _HIDDEN) and version == FIX_5:
        at = _put_field(out, at, 1138, shown)
    return at


@inlined
def _put_body(tables: Desk, row, stored, texts, text_bytes, orig_bytes, version, at):
    """Write the body of an ExecutionReport, its fields by their tags."""
    status = _status_of(row, np.int64(row["kind"]), version)
    at = _put_state(tables, row, stored, texts, text_bytes, version, status, at)
    at = _put_order(tables, row, stored, texts + text_bytes, orig_bytes, at)
    return _put_terms(tables, row, version, status, at)


@inlined
def _put_checksum(out, begin, at):
    total = np.int64(0)
    for place in range(begin, at):
        total += np.int64(out[place])
    at = _put_tag(out, at, 10)
    at = _put_digits(out, at, total & 255, np.int64(3))
    out[at] = _SOH
    return at + 1


@inlined
def _put_frame(tables: Desk, head: Head, stored, record, size, number, again_ns, begin):
    """Write the frame of a record whose row is at hand; gives the place behind it, 0 where its length is unusual."""
    out, data, sizes = tables.out, head.data, head.sizes
    row = tables.row[0]
    text_bytes, orig_bytes = np.int64(stored[record + 9]), np.int64(stored[record + 10])
    texts = record + size - orig_bytes - text_bytes
    length_at = _put_bytes(out, begin, data, np.int64(0), sizes[0])
    text_at = length_at + 4  # three digits, and their end
    at = _put_code(out, text_at, 35, ord("8"))
    at = _put_number(out, _put_tag(out, at, 34), number)
    if again_ns > 0:
        out[at] = _SOH
        at = _put_code(out, at + 1, 43, _YES) - 1  # the sender begins with an end
    at = _put_bytes(out, at, data, sizes[0], sizes[1])
    at = _put_time(out, at, again_ns if again_ns > 0 else row["time_ns"])
    at = _put_bytes(out, at, data, sizes[0] + sizes[1], sizes[2])
    if again_ns > 0:
        at = _put_time_field(out, at, 122, row["time_ns"])
    at = _put_body(tables, row, stored, texts, text_bytes, orig_bytes, sizes[3], at)
    if not 100 <= at - text_at <= 999:
        return np.int64(0)
    _put_digits(out, length_at, at - text_at, np.int64(3))
    out[length_at + 3] = _SOH
    return _put_checksum(out, begin, at)


@called
def write_reports(desk_pointers, data, sizes, stored, at, after, upto, again_ns):
    """Write the frames of the records from ``at`` on, as far as they are usual and numbered ``after`` + 1 to ``upto``.

    again_ns: 0 for messages that are sent for the first time; else the time now: they are possible duplicates. Gives
    the place of the first record that was not taken, the bytes written to ``Desk.out``, and the last number.
    """
    tables = _unpack(desk_pointers)
    head = Head(data, sizes)
    begin = np.int64(0)
    while at + _HEAD_BYTES + _ROW_BYTES <= len(stored) and begin + FRAME_BYTES_MAX <= len(tables.out):
        size, number = np.int64(0), np.int64(0)
        for place in range(4):
            size |= np.int64(stored[at + place]) << (8 * place)
            number |= np.int64(stored[at + 4 + place]) << (8 * place)
        texts_bytes = np.int64(stored[at + 9]) + np.int64(stored[at + 10])
        if stored[at + 8] != _RECORD or size != _HEAD_BYTES + _ROW_BYTES + texts_bytes or at + size > len(stored):
            break
        if number != after + 1 or number > upto:
            break
        for place in range(_ROW_BYTES):
            tables.row_bytes[place] = stored[at + _HEAD_BYTES + place]
        if not _is_usual(tables, tables.row[0]):
            break
        end = _put_frame(tables, head, stored, at, size, number, again_ns, begin)
        if end == 0:
            break
        begin, after = end, number
        at += size
    return at, begin, after
