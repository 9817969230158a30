"""Kernel that makes COMMAND rows of many plain messages at once, as ``wire.fix_session`` and ``orders`` do of one.

Plain are NewOrderSingle, OrderCancelReplaceRequest and OrderCancelRequest in turn, with the fields that most orders
have, each once and right. The kernel takes those at the front of what came and stops before the first message that is
anything else, in turn or not, right or wrong: Python takes it, and is the judge (``tests/test_fix_batches.py``).
"""

from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np

from engine.jit import Packed, called, inlined, unpack_pointers
from engine.records import COMMAND, Book, CommandKind, Instruction, SelfTrade, Side, TimeInForce
from gateway.fix.kept_orders import OPEN, ROW_BYTES, slot_of, state_of, unpack_kept
from gateway.fix.marks import NUMBER, SEQ_MAX
from gateway.fix.orders import TIMES_IN_FORCE
from gateway.fix.writing import FIX_4_2, Head, put_parts
from gateway.symbols import symbol_place
from gateway.tokens import clear, extend, order_id, token_tail, u64
from reports.rows import REPORT_PLACES
from wire.fix_codec import BODY_BYTES_MAX
from wire.fix_session import TOLERANCE_NS
from wire.fix_table import VERSIONS
from wire.ouch import PRICE_E4_MAX, SHARES_MAX
from wire.ouch_layout import TOKEN_CHARACTERS

#: Outcomes of ``read_orders`` beside the end of a message that is not plain.
NOT_WHOLE: Final = 0  # not all of the next message is there
FULL: Final = -1  # rows have no more room
STRANGE: Final = -2  # what comes next does not begin as a message

#: Fields by their places in ``Form.spans``.
_TYPE, _SEQ, _SENDER, _SENT, _TARGET = range(5)
_ID, _OLD_ID, _QTY, _KIND, _PRICE, _SIDE, _SYMBOL, _TIME, _MADE, _HOW, _ACCOUNT = range(5, 16)
_TAGS: Final = (35, 34, 49, 52, 56, 11, 41, 38, 40, 44, 54, 55, 59, 60, 21, 1)
_TAG_MAX: Final = 64


def _bits(*fields: int) -> int:
    return sum(1 << field for field in fields)


_HEADER: Final = _bits(_TYPE, _SEQ, _SENDER, _SENT, _TARGET)
_MUST: Final = _HEADER | _bits(_ID, _SIDE, _SYMBOL, _MADE)
_MUST_ENTER: Final = _MUST | _bits(_QTY, _KIND)
_MUST_REPLACE: Final = _MUST_ENTER | _bits(_OLD_ID)
_MUST_CANCEL: Final = _MUST | _bits(_OLD_ID)
_MAY_ENTER: Final = _MUST_ENTER | _bits(_PRICE, _TIME, _HOW, _ACCOUNT)
_MAY_REPLACE: Final = _MAY_ENTER | _bits(_OLD_ID)
_MAY_CANCEL: Final = _MUST_CANCEL | _bits(_QTY, _ACCOUNT)
_OF_HOW: Final = _bits(_HOW)
_ENTER, _REPLACE, _CANCEL = ord("D"), ord("G"), ord("F")
_MARKET_ORDER, _LIMIT_ORDER = ord("1"), ord("2")
_MARKET: Final = int(Instruction.MARKET)
_NEWEST, _LIT, _DAY = int(SelfTrade.CANCEL_NEWEST), int(Book.LIT), int(TimeInForce.DAY)
_BUY, _SELL = int(Side.BUY), int(Side.SELL)
_KIND_ENTER, _KIND_REPLACE = int(CommandKind.ENTER), int(CommandKind.REPLACE)
_KIND_CANCEL: Final = int(CommandKind.CANCEL)
_CODES: Final = 256
_SYMBOL_BYTES: Final = 8
_NUMBER_BYTES: Final = 10  # of a quantity, of a number of a message, and of a price before its point
_TRAILER_BYTES: Final = 7
#: Places of a REPORT row.
_OFFSETS: Final = {name: offset for offset, names in REPORT_PLACES.items() for name in names}
_SYMBOL_PLACE, _SIDE_PLACE, _TIME_PLACE = _OFFSETS["symbol"], _OFFSETS["side"], _OFFSETS["time_in_force"]
_SOH, _EQUALS, _POINT, _ZERO, _SPACE = 1, ord("="), ord("."), ord("0"), ord(" ")
_SECOND_NS: Final = 1_000_000_000
_PROTOCOL: Final = np.int64(NUMBER << 60)
_SHARES_MAX: Final = SHARES_MAX
_PRICE_MAX: Final = PRICE_E4_MAX
_TOLERANCE_NS: Final = TOLERANCE_NS
_BODY_MAX: Final = BODY_BYTES_MAX
_SEQ_MAX: Final = SEQ_MAX
_TOKEN: Final = TOKEN_CHARACTERS
_OPEN: Final = OPEN
#: Rows of one call.
ROWS: Final = 1_024


class Form(NamedTuple):
    """Tables of the kernel, and its memory. One of a process."""

    field_of_tag: np.ndarray[Any, Any]  # int64[64]: place of a field; -1: of no plain message
    times_in_force: np.ndarray[Any, Any]  # int64[256]: by their codes; 0: not plain
    spans: np.ndarray[Any, Any]  # int64[2 * 16]: begin and end of the value of each field
    token: np.ndarray[Any, Any]  # uint8[16]: an id, padded
    rows: np.ndarray[Any, Any]  # COMMAND[n]


def _new_form() -> Form:
    field_of_tag = np.full(_TAG_MAX, -1, np.int64)
    for place, tag in enumerate(_TAGS):
        field_of_tag[tag] = place
    times_in_force = np.zeros(_CODES, np.int64)
    for code, value in TIMES_IN_FORCE.items():
        times_in_force[code[0]] = 0 if value == TimeInForce.GTD else int(value)
    spans, token = np.zeros(2 * len(_TAGS), np.int64), np.zeros(16, np.uint8)
    return Form(field_of_tag, times_in_force, spans, token, np.zeros(ROWS, COMMAND))


@cache
def form() -> Packed[Form]:
    """The tables of this process."""
    return Packed(_new_form())


def expected_of(version: str, sender: str, target: str) -> Head:
    """Beginning and names of the frames that a session takes."""
    parts = [b"8=%b\x019=" % version.encode(), sender.encode(), target.encode()]
    return put_parts(parts, VERSIONS.index(version))


_unpack = unpack_pointers(_new_form())


@called
def _number(data, begin, end, size_max):
    """A number of digits alone; -1 where it is none, or is longer."""
    if end <= begin or end - begin > size_max:
        return np.int64(-1)
    number = np.int64(0)
    for place in range(begin, end):
        digit = np.int64(data[place]) - _ZERO
        if digit < 0 or digit > 9:
            return np.int64(-1)
        number = 10 * number + digit
    return number


@called
def _price_e4(data, begin, end):
    """A price in 1/10,000; -1 where it has a sign, or more than four digits behind its point."""
    point = begin
    while point < end and data[point] != _POINT:
        point += 1
    price = _number(data, begin, point, np.int64(_NUMBER_BYTES))
    if price < 0 or end - point > 5:
        return np.int64(-1)
    for place in range(point + 1, point + 5):
        digit = np.int64(0)
        if place < end:
            digit = np.int64(data[place]) - _ZERO
        if digit < 0 or digit > 9:
            return np.int64(-1)
        price = 10 * price + digit
    return price


@called
def _time_ns(data, begin, end):
    """A time since 1970 in ns; -1 where it is none of this century or the next."""
    size = end - begin
    if size < 17 or size > 27 or size == 18:
        return np.int64(-1)
    year, month = _number(data, begin, begin + 4, 4), _number(data, begin + 4, begin + 6, 2)
    day, hour = _number(data, begin + 6, begin + 8, 2), _number(data, begin + 9, begin + 11, 2)
    minute, second = _number(data, begin + 12, begin + 14, 2), _number(data, begin + 15, begin + 17, 2)
    if data[begin + 8] != ord("-") or data[begin + 11] != ord(":") or data[begin + 14] != ord(":"):
        return np.int64(-1)
    days_max = 28 if month == 2 else 30 if month in (4, 6, 9, 11) else 31
    if year < 2000 or year > 2199 or month < 1 or month > 12 or day < 1 or day > days_max:
        return np.int64(-1)
    if hour < 0 or hour > 23 or minute < 0 or minute > 59 or second < 0 or second > 59:
        return np.int64(-1)
    fraction_ns = np.int64(0)
    if size > 17:
        fraction_ns = _number(data, begin + 18, end, 9)
        if data[begin + 17] != _POINT or fraction_ns < 0:
            return np.int64(-1)
        for _ in range(27 - size):
            fraction_ns *= 10
    # Years that begin with March, from that of the year 0 on (400 years have 146,097 days).
    if month <= 2:
        year -= 1
        month += 12
    days = 365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day - 1 - 719_468
    return (((days * 24 + hour) * 60 + minute) * 60 + second) * _SECOND_NS + fraction_ns


@called
def _is_same(data, begin, end, expected, at, size):
    """True if a value is that of the session."""
    same = end - begin == size
    if same:
        for place in range(size):
            same = same and data[begin + place] == expected[at + place]
    return same


@called
def _token_of(tables: Form, data, begin, end):
    """Two words of an id of up to 14 characters; (0, 0) where it is longer or none."""
    if end <= begin or end - begin > _TOKEN:
        return np.int64(0), np.int64(0)
    for place in range(_TOKEN):
        tables.token[place] = _SPACE
        if begin + place < end:
            character = np.int64(data[begin + place])
            if character < 0x21 or character > 0x7E:
                return np.int64(0), np.int64(0)
            tables.token[place] = character
    return u64(tables.token, 0), token_tail(tables.token, 8)


@called
def _instrument_of(data, begin, end, symbols, price_max_e4):
    """The instrument of a symbol; 0: there is none in which users may enter orders."""
    if end - begin > _SYMBOL_BYTES:
        return np.int64(0)
    symbol = np.int64(0)
    for place in range(begin, end):
        character = np.int64(data[place])
        if character < 0x21 or character > 0x7E:
            return np.int64(0)
        symbol = (symbol << 8) | character
    place = symbol_place(symbols, symbol)
    number = symbols[place]["instrument"] if place >= 0 else np.int64(0)
    return number if price_max_e4[number] > 0 else np.int64(0)


@called
def _whole(data, expected, sizes, at):
    """Begin of the fields behind the length, and end of the whole frame at ``at``; the end is NOT_WHOLE or STRANGE."""
    fields = at + sizes[0]
    for place in range(sizes[0]):
        if at + place >= len(data):
            return fields, np.int64(NOT_WHOLE)
        if data[at + place] != expected[place]:
            return fields, np.int64(STRANGE)
    length = np.int64(0)
    while True:
        if fields >= len(data):
            return fields, np.int64(NOT_WHOLE)
        digit = np.int64(data[fields]) - _ZERO
        fields += 1
        if digit == _SOH - _ZERO:
            break
        length = 10 * length + digit
        if digit < 0 or digit > 9 or length > _BODY_MAX:
            return fields, np.int64(STRANGE)
    end = fields + length + _TRAILER_BYTES
    if end > len(data):
        return fields, np.int64(NOT_WHOLE)
    body_end = end - _TRAILER_BYTES
    framed = data[body_end - 1] == _SOH and data[body_end] == ord("1") and data[body_end + 1] == _ZERO
    if not framed or data[body_end + 2] != _EQUALS or data[end - 1] != _SOH:
        return fields, np.int64(STRANGE)
    return fields, end


@called
def _fields(tables: Form, data, at, end):
    """Find the values of the fields; gives which there are as bits, 0 where the message is not plain."""
    seen = np.int64(0)
    while at < end:
        tag = np.int64(0)
        begin = at
        while at < end and at - begin < 3 and data[at] != _EQUALS:
            digit = np.int64(data[at]) - _ZERO
            if digit < 0 or digit > 9 or (at == begin and digit == 0):
                return np.int64(0)
            tag = 10 * tag + digit
            at += 1
        if at >= end or data[at] != _EQUALS or tag >= _TAG_MAX or tables.field_of_tag[tag] < 0:
            return np.int64(0)
        field = tables.field_of_tag[tag]
        bit = np.int64(1) << field
        if seen & bit or (seen == 0) != (field == _TYPE) or (bit & _HEADER and seen & ~_HEADER):
            return np.int64(0)
        seen |= bit
        at += 1
        tables.spans[2 * field] = at
        while data[at] != _SOH:
            at += 1
        tables.spans[2 * field + 1] = at
        if at == tables.spans[2 * field]:
            return np.int64(0)
        at += 1
    return seen


@called
def _code(tables: Form, data, field):
    """The character of a field of one; 0 where it has more."""
    begin = tables.spans[2 * field]
    return np.int64(data[begin]) if tables.spans[2 * field + 1] == begin + 1 else np.int64(0)


@called
def _is_in_turn(tables: Form, data, expected, sizes, seq, now_ns):
    """True if the header is that of the next message of the session."""
    spans = tables.spans
    sent_ns = _time_ns(data, spans[2 * _SENT], spans[2 * _SENT + 1])
    sender, target = sizes[0], sizes[0] + sizes[1]
    return (
        _number(data, spans[2 * _SEQ], spans[2 * _SEQ + 1], np.int64(_NUMBER_BYTES)) == seq
        and seq < _SEQ_MAX
        and sent_ns >= 0
        and abs(now_ns - sent_ns) <= _TOLERANCE_NS
        and _is_same(data, spans[2 * _SENDER], spans[2 * _SENDER + 1], expected, sender, sizes[1])
        and _is_same(data, spans[2 * _TARGET], spans[2 * _TARGET + 1], expected, target, sizes[2])
    )


@called
def _terms(tables: Form, data, seen):
    """Price, quantity, instructions and time in force; the last is 0 where they are not plain."""
    spans = tables.spans
    kind, price_e4, bits, time_in_force = _code(tables, data, _KIND), np.int64(0), np.int64(0), np.int64(_DAY)
    qty = _number(data, spans[2 * _QTY], spans[2 * _QTY + 1], np.int64(_NUMBER_BYTES))
    plain = 0 <= qty <= _SHARES_MAX and (kind in (_MARKET_ORDER, _LIMIT_ORDER))
    if seen & (1 << _PRICE):
        price_e4 = _price_e4(data, spans[2 * _PRICE], spans[2 * _PRICE + 1])
        plain = plain and 0 <= price_e4 <= (_PRICE_MAX if kind == _LIMIT_ORDER else 0)
    else:
        plain = plain and kind == _MARKET_ORDER
    if kind == _MARKET_ORDER:
        price_e4, bits = np.int64(0), np.int64(_MARKET)
    if seen & (1 << _TIME):
        time_in_force = tables.times_in_force[_code(tables, data, _TIME)]
    if not plain:
        time_in_force = np.int64(0)
    return price_e4, qty, bits, time_in_force


@called
def _put_enter(tables: Form, data, seen, symbols, price_max_e4, context, participant, n):
    """Write the rows of a NewOrderSingle; gives their number then, -1 where it is not plain."""
    spans, commands = tables.spans, tables.rows
    head, tail = _token_of(tables, data, spans[2 * _ID], spans[2 * _ID + 1])
    instrument = _instrument_of(data, spans[2 * _SYMBOL], spans[2 * _SYMBOL + 1], symbols, price_max_e4)
    price_e4, qty, bits, time_in_force = _terms(tables, data, seen)
    if head == 0 or instrument == 0 or time_in_force == 0:
        return np.int64(-1)
    client_order_id = order_id(head, tail)
    if client_order_id < 0:
        n = extend(commands, n, np.int64(0), head, tail, np.int64(0), np.int64(0))
    row = commands[n]
    clear(row)
    row["kind"] = _KIND_ENTER
    row["client_order_id"] = client_order_id
    row["context"] = context
    row["price_e4"] = price_e4
    row["qty"] = qty
    row["participant"] = participant
    row["instrument"] = instrument
    row["side"] = _BUY if _code(tables, data, _SIDE) == ord("1") else _SELL
    row["time_in_force"] = time_in_force
    row["self_trade"] = _NEWEST
    row["instructions"] = bits
    row["book"] = _LIT
    return n + 1


@called
def untold_place(commands, n, client_order_id):
    """Place of the row that enters an order, among the first ``n`` of a session in turn, which may have been replaced
    since; -1: there is none."""
    for back in range(n):
        place = n - 1 - back
        row = commands[place]
        if row["kind"] == _KIND_REPLACE and row["new_client_order_id"] == client_order_id:
            client_order_id = row["client_order_id"]
        elif row["kind"] == _KIND_ENTER and row["client_order_id"] == client_order_id:
            return np.int64(place)
    return np.int64(-1)


@called
def _is_of_untold(tables: Form, data, seen, symbols, price_max_e4, old_id, n):
    """``_is_of`` for an order that no report has told of yet: by the row that enters it, if there is one."""
    place = untold_place(tables.rows, n, old_id)
    if place < 0:
        return True
    row, begin, end = tables.rows[place], tables.spans[2 * _SYMBOL], tables.spans[2 * _SYMBOL + 1]
    same = _instrument_of(data, begin, end, symbols, price_max_e4) == row["instrument"]
    same = same and (row["side"] == _BUY) == (_code(tables, data, _SIDE) == ord("1"))
    if seen & (1 << _TIME):
        same = same and tables.times_in_force[_code(tables, data, _TIME)] == row["time_in_force"]
    return same


@called
def _is_of(tables: Form, kept, data, seen, symbols, price_max_e4, user, old_id, n):
    """True if a cancel or replace has the side, the symbol and the time in force of its order, if that is known."""
    slot = slot_of(kept, user, old_id)
    if slot < 0:
        return _is_of_untold(tables, data, seen, symbols, price_max_e4, old_id, n)
    at, begin, end = slot * ROW_BYTES, tables.spans[2 * _SYMBOL], tables.spans[2 * _SYMBOL + 1]
    same = (kept.rows[at + _SIDE_PLACE] == 1) == (_code(tables, data, _SIDE) == ord("1"))
    for place in range(_SYMBOL_BYTES):  # the last character first
        character = np.int64(data[end - 1 - place]) if place < end - begin else np.int64(0)
        same = same and kept.rows[at + _SYMBOL_PLACE + place] == character
    if seen & (1 << _TIME):
        time_in_force = np.int64(kept.rows[at + _TIME_PLACE])
        if time_in_force == 0:
            time_in_force = np.int64(_DAY)
        same = same and tables.times_in_force[_code(tables, data, _TIME)] == time_in_force
    return same and end - begin <= _SYMBOL_BYTES


@called
def _put_change(tables: Form, kept, data, seen, symbols, price_max_e4, kind, user, context, participant, n):
    """Write the rows of a cancel or replace; gives their number then, -1 where it is not plain."""
    spans, commands = tables.spans, tables.rows
    head, tail = _token_of(tables, data, spans[2 * _ID], spans[2 * _ID + 1])
    old_head, old_tail = _token_of(tables, data, spans[2 * _OLD_ID], spans[2 * _OLD_ID + 1])
    price_e4, qty, bits, time_in_force = np.int64(0), np.int64(0), np.int64(0), np.int64(_DAY)
    if kind == _REPLACE:
        price_e4, qty, bits, time_in_force = _terms(tables, data, seen)
    elif seen & (1 << _QTY) and _number(data, spans[2 * _QTY], spans[2 * _QTY + 1], np.int64(_NUMBER_BYTES)) < 0:
        return np.int64(-1)
    if head == 0 or old_head == 0 or time_in_force == 0:
        return np.int64(-1)
    new_id, old_id = order_id(head, tail), order_id(old_head, old_tail)
    if not _is_of(tables, kept, data, seen, symbols, price_max_e4, user, old_id, n):
        return np.int64(-1)
    if old_id > 0:
        old_head, old_tail = np.int64(0), np.int64(0)
    if kind == _REPLACE and new_id > 0:
        head, tail = np.int64(0), np.int64(0)
    if kind == _CANCEL or old_id < 0 or new_id < 0:
        n = extend(commands, n, np.int64(0), old_head, old_tail, head, tail)
    row = commands[n]
    clear(row)
    row["client_order_id"] = old_id
    row["participant"] = participant
    if kind == _REPLACE:
        row["kind"] = _KIND_REPLACE
        row["new_client_order_id"] = new_id
        row["price_e4"] = price_e4
        row["qty"] = qty
        row["new_context"] = context
        row["instructions"] = bits
    else:
        row["kind"] = _KIND_CANCEL
        row["context"] = context
    return n + 1


@inlined
def _has_its_fields(seen, kind, version):
    """True if a message has the fields that it must, and no other than it may."""
    if version == FIX_4_2 and kind != _CANCEL and seen & _OF_HOW == 0:
        return False
    if kind == _ENTER:
        return seen & _MUST_ENTER == _MUST_ENTER and seen & ~_MAY_ENTER == 0
    if kind == _REPLACE:
        return seen & _MUST_REPLACE == _MUST_REPLACE and seen & ~_MAY_REPLACE == 0
    return kind == _CANCEL and seen & _MUST_CANCEL == _MUST_CANCEL and seen & ~_MAY_CANCEL == 0


@inlined
def _is_summed(data, at, end):
    """True if the checksum of a frame is right."""
    total = np.int64(0)
    for place in range(at, end - _TRAILER_BYTES):
        total += np.int64(data[place])
    return _number(data, end - 4, end - 1, np.int64(3)) == total & 255


@inlined
def _rows_of(tables: Form, kept, data, head: Head, symbols, price_max_e4, user, participant, seq, now_ns, at, end, n):
    """Write the rows of the message whose fields begin at ``at``; gives their number then, -1 where it is not plain."""
    seen = _fields(tables, data, at, end - _TRAILER_BYTES)
    kind = _code(tables, data, _TYPE) if seen != 0 else np.int64(0)
    if kind == 0 or not _has_its_fields(seen, kind, head.sizes[3]):
        return np.int64(-1)
    side, how = _code(tables, data, _SIDE), _code(tables, data, _HOW) if seen & _OF_HOW else np.int64(ord("1"))
    made_ns = _time_ns(data, tables.spans[2 * _MADE], tables.spans[2 * _MADE + 1])
    if not (ord("1") <= side <= ord("2") and ord("1") <= how <= ord("3") and made_ns >= 0):
        return np.int64(-1)
    if not _is_in_turn(tables, data, head.data, head.sizes, seq, now_ns):
        return np.int64(-1)
    context = _PROTOCOL | ((seq + 1) << 16) | user
    if kind == _ENTER:
        return _put_enter(tables, data, seen, symbols, price_max_e4, context, participant, n)
    return _put_change(tables, kept, data, seen, symbols, price_max_e4, kind, user, context, participant, n)


@called
def _names_another_order(tables: Form, kept, user, after):
    """True if the last row is of a cancel whose own ClOrdID is that of another order, which is open."""
    row = tables.rows[after - 1]
    if row["kind"] != _KIND_CANCEL:
        return False
    before = tables.rows[after - 2]
    own_id = order_id(before["new_token_head"], before["new_token_tail"])
    return own_id != row["client_order_id"] and state_of(kept, user, own_id) == _OPEN


@called
def read_orders(
    form_pointers,
    kept_pointers,
    expected,
    sizes,
    data,
    at,
    symbols,
    price_max_e4,
    user,
    participant,
    seq,
    now_ns,
    rows_max,
    untold,
):
    """Write the rows of the plain messages from ``at`` on to ``Form.rows``; ``seq``: number of the next message;
    ``kept_pointers``: last reports of orders, to which cancels and replaces are held. ``untold``: rows at the front of
    ``Form.rows`` of which nothing has been told yet, of this session; those that are made come behind, ``rows_max`` at
    most.

    Gives the place of the first message that was not taken, the rows, the messages, and the end of that message where
    it is whole and not plain, else NOT_WHOLE, FULL or STRANGE.
    """
    tables, kept = _unpack(form_pointers), unpack_kept(kept_pointers)
    n, messages = np.int64(untold), np.int64(0)
    rows_max = min(rows_max + untold, len(tables.rows))
    while True:
        fields, end = _whole(data, expected, sizes, at)
        if end <= 0:
            return at, n - untold, messages, end
        if n + 2 > rows_max:
            return at, n - untold, messages, np.int64(FULL)
        if not _is_summed(data, at, end):
            return at, n - untold, messages, end
        after = _rows_of(
            tables,
            kept,
            data,
            Head(expected, sizes),
            symbols,
            price_max_e4,
            np.int64(user),
            participant,
            seq + messages,
            now_ns,
            fields,
            end,
            n,
        )
        if after < 0 or _names_another_order(tables, kept, np.int64(user), after):
            return at, n - untold, messages, end
        at, n = end, after
        messages += 1
