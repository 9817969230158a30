"""Order messages of FIX as COMMAND rows.

A message that says something the market has a row for becomes that row, whatever it says: the market accepts or
rejects it, and the reject is in the journal. A message that no row can say (an order type that the rulebook does not
know, a price finer than 1/10,000), or that other protocols cannot tell (ADR 14), is a ``Refused``, which is answered
where its sender looks for it.
"""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Final, NamedTuple

import numpy as np

from engine.bounds import TIME_NS_MAX
from engine.names import pack
from engine.records import Book, CommandKind, Instruction, Peg, SelfTrade, Side, TimeInForce
from engine.row_bytes import ROW, extend_row
from gateway.fix import names
from gateway.fix.answers import ALL_OR_NONE, EXECUTING_FIRM, SELF_MATCH, price_text
from gateway.fix.marks import context_of
from gateway.fix.records import PLACE, PLACES
from reports.rows import REPORT
from wire.fix_codec import Message, Times
from wire.ouch import PRICE_E4_MAX, SHARES_MAX

#: BusinessRejectReason: other; unknown security; a field that is missing under these circumstances.
OTHER: Final = 0
UNKNOWN_SECURITY: Final = 2
MISSING: Final = 5

#: Place of the instrument in the values of a row.
INSTRUMENT: Final = 7
_ENTER, _REPLACE = int(CommandKind.ENTER), int(CommandKind.REPLACE)
_SIDES: Final = {b"1": Side.BUY, b"2": Side.SELL}
TIMES_IN_FORCE: Final = {
    b"0": TimeInForce.DAY,
    b"1": TimeInForce.GTC,
    b"2": TimeInForce.OPENING,
    b"3": TimeInForce.IOC,
    b"4": TimeInForce.FOK,
    b"6": TimeInForce.GTD,
    b"7": TimeInForce.CLOSING,
}
_MARKET, _LIMIT, _STOP, _STOP_LIMIT, _PEGGED = b"1", b"2", b"3", b"4", b"P"
_PEGS: Final = {b"R": Peg.PRIMARY, b"M": Peg.MIDPOINT, b"P": Peg.MARKET}
_POST_ONLY: Final = b"6"
#: DisplayMethod of an iceberg, each part of which shows as much as the first.
_INITIAL: Final = b"1"
#: Codes of ExecInst that change nothing here: not held, work, held, do not increase, do not reduce.
_NO_MATTER: Final = frozenset((b"1", b"2", b"5", b"E", b"F"))
_SELF_MATCH: Final = {text.encode(): each for each, text in SELF_MATCH.items()}
_SYMBOL_CHARACTERS: Final = 8
_E4: Final = 10_000
_ALL_OR_NONE: Final = b"%d" % ALL_OR_NONE
#: BusinessRejectReason of whoever may not do it.
NOT_AUTHORIZED: Final = 6
#: Reasons that no business reject has: an order that is not the one that was named; a quantity; an id in use.
UNKNOWN_ORDER: Final = 100
QTY: Final = 101
DUPLICATE: Final = 102
#: Book of the midpoint, in ExDestination.
MIDPOINT: Final = b"MIDPOINT"
_QTY_TOO_HIGH: Final = f"field 38 is above {SHARES_MAX}"
_PRICE_TOO_HIGH: Final = f"field 44 is above {price_text(PRICE_E4_MAX)}"
_times: Final = Times()


#: A message, or the fields of one instance of a group.
Said = Message | Mapping[bytes, bytes]


class Refused(Exception):
    """A message that no row can say; a sentence of at most 32 characters. reason: BusinessRejectReason, or one of the
    reasons above, which are told as OTHER where the answer is a business reject."""

    def __init__(self, text: str, reason: int = OTHER) -> None:
        super().__init__(text)
        self.reason = reason


def name_in(message: Said, tag: bytes) -> bytes:
    """A ClOrdID. Raises Refused."""
    text = message.get(tag)
    if text is None:
        raise Refused(f"field {tag.decode()} is missing", MISSING)
    if len(text) > names.CHARACTERS_MAX:
        raise Refused(f"field {tag.decode()} is longer than 64")
    if not names.is_name(text):
        raise Refused(f"field {tag.decode()} has a bad character")
    return text


def symbol_in(message: Message) -> int:
    """Symbol of an instrument as a number. Raises Refused."""
    text = message.get(b"55")
    if text is None:
        raise Refused("field 55 is missing", MISSING)
    if not 0 < len(text) <= _SYMBOL_CHARACTERS or not all(0x21 <= each <= 0x7E for each in text):
        raise Refused("no such symbol", UNKNOWN_SECURITY)
    return pack(text.decode("ascii"))


def side_in(message: Said) -> int:
    """Side: 1 buy, -1 sell. Raises Refused."""
    side = _SIDES.get(message.get(b"54") or b"")
    if side is None:
        raise Refused("this side is not served")
    return int(side)


def whole(message: Said, tag: bytes) -> int | None:
    """A quantity; None where it is not there. Raises Refused for one with a fraction."""
    text = message.get(tag)
    if text is None:
        return None
    number = _decimal(text, tag)
    if number != number.to_integral_value():
        raise Refused(f"field {tag.decode()} has a fraction", QTY)
    return int(number)


def price_e4(message: Message, tag: bytes) -> int | None:
    """A price in 1/10,000; None where it is not there. Raises Refused for a finer one."""
    text = message.get(tag)
    if text is None:
        return None
    number = _decimal(text, tag) * _E4
    if number != number.to_integral_value():
        raise Refused(f"field {tag.decode()} is finer than 0.0001")
    return int(number)


def _decimal(text: bytes, tag: bytes) -> Decimal:
    """A number of at most 18 digits, which fits a row."""
    try:
        number = Decimal(text.decode("ascii"))
    except (InvalidOperation, UnicodeDecodeError):
        raise Refused(f"field {tag.decode()} is no number") from None
    if len(text) > 20 or abs(number) >= 10**14:
        raise Refused(f"field {tag.decode()} is too large")
    return number


def _qty_within(qty: int) -> int:
    """A quantity that every protocol can tell. Raises Refused."""
    if qty > SHARES_MAX:
        raise Refused(_QTY_TOO_HIGH, QTY)
    return qty


def _price_within(price: int) -> int:
    """A price that every protocol can tell. Raises Refused."""
    if price > PRICE_E4_MAX:
        raise Refused(_PRICE_TOO_HIGH)
    return price


def _terms(message: Message) -> tuple[int, int, int]:
    """Instructions, price, and the place of stop or display, of an enter and a replace. Raises Refused."""
    get = message.fields.get
    kind = get(b"40", _LIMIT)
    if kind not in (_MARKET, _LIMIT, _STOP, _STOP_LIMIT, _PEGGED):
        raise Refused("this order type is not served")
    bits, place = 0, 0
    price = price_e4(message, b"44")
    if price and kind in (_MARKET, _STOP):  # a client that names one counts on it; 0 names none
        raise Refused("field 44 is of limit orders")
    if kind in (_MARKET, _STOP) or (kind == _PEGGED and price is None):
        bits |= Instruction.MARKET
        price = 0
    elif price is None:
        raise Refused("field 44 is missing", MISSING)
    if kind in (_STOP, _STOP_LIMIT):
        stop = price_e4(message, b"99")
        if stop is None:
            raise Refused("field 99 is missing", MISSING)
        bits, place = bits | Instruction.STOP, stop
    elif get(b"99") is not None:
        raise Refused("field 99 is of stop orders")
    shown = _shown(message)
    if shown == 0:
        bits |= Instruction.HIDDEN
    elif shown is not None and kind in (_STOP, _STOP_LIMIT, _PEGGED):  # the row has one place for both
        raise Refused("a stop or peg shows no part")
    elif shown is not None:
        bits, place = bits | Instruction.DISPLAY, shown
    return bits, _price_within(price), place


def _shown(message: Message) -> int | None:
    """Quantity that the book shows, by either of its fields; None where it is not said. Raises Refused."""
    shown, older = whole(message, b"1138"), whole(message, b"111")
    if shown is not None and older not in (None, shown):
        raise Refused("fields 111 and 1138 differ")
    return older if shown is None else shown


def enter_rows(message: Message, user: int, participant: int, next_in: int, instrument: int) -> list[bytes]:
    """Rows of a NewOrderSingle. next_in: number that is expected behind it. instrument: 0: of no such symbol.

    Raises Refused.
    """
    get = message.fields.get
    name, side = name_in(message, b"11"), side_in(message)
    qty = whole(message, b"38")
    if qty is None:
        raise Refused("field 38 is missing", MISSING)
    bits, price, place = _terms(message)
    time_in_force = TIMES_IN_FORCE.get(get(b"59", b"0"))
    if time_in_force is None:
        raise Refused("this time in force is not served")
    peg = 0
    for code in get(b"18", b"").split():
        if code == _POST_ONLY:
            bits |= Instruction.POST_ONLY
        elif code in _PEGS and get(b"40") == _PEGGED:
            if peg not in (0, int(_PEGS[code])):
                raise Refused("field 18 names two pegs")
            peg = int(_PEGS[code])
        elif code not in _NO_MATTER:
            raise Refused("this ExecInst is not served")
    if get(b"40") == _PEGGED:
        if not peg:
            raise Refused("field 18 names no peg", MISSING)
        bits |= Instruction.PEG
        offset = price_e4(message, b"211")
        if offset is not None:
            # In FIX the offset is added to the reference; in the rulebook it leads away from the market.
            bits, place = bits | Instruction.OFFSET, -side * offset
    elif get(b"211") is not None:
        raise Refused("field 211 is of pegged orders")
    more, minimum = _minimum_or_end(message, time_in_force)
    bits |= more
    matching = get(b"2964")
    self_trade = SelfTrade.CANCEL_NEWEST if matching is None else _SELF_MATCH.get(matching)
    if self_trade is None:
        raise Refused("this value of 2964 is not served")
    if get(b"1084", _INITIAL) != _INITIAL:
        raise Refused("this DisplayMethod is not served")
    destination = get(b"100", b"")
    if destination not in (b"", MIDPOINT):
        raise Refused("this ExDestination is not served")
    book = Book.MIDPOINT if destination else Book.LIT
    row = ROW.pack(
        *(names.id_of(name), context_of(user, next_in), price, _qty_within(qty), minimum, place),
        *(participant, instrument, int(CommandKind.ENTER), side, int(time_in_force), int(self_trade)),
        *(bits, int(book), peg),
    )
    client_order_id = names.id_of(name)
    if client_order_id > 0 and instrument:
        return [row]
    # A long id is shown by its first characters where another protocol has room for no more.
    words = names.words_of(name[:14]) if client_order_id < 0 else (0, 0)
    return [extend_row(0, 0 if instrument else symbol_in(message), *words, 0, 0), row]


def _minimum_or_end(message: Message, time_in_force: TimeInForce) -> tuple[int, int]:
    """Instruction and place of a minimum quantity, or of the end of a good-till-date order. Raises Refused."""
    least = whole(message, b"110")
    if time_in_force == TimeInForce.GTD:
        if least is not None:  # the row has one place for both
            raise Refused("no field 110 with 59=6")
        return Instruction.UNTIL, _until_ns(message)
    if message.get(b"126") is not None or message.get(b"432") is not None:
        raise Refused("fields 126 and 432 go with 59=6")
    return (0, 0) if least is None else (Instruction.MIN_QTY, least)


def _until_ns(message: Message) -> int:
    """End of a good-till-date order. Raises Refused."""
    if message.get(b"432") is not None:
        raise Refused("give field 126 in place of 432")
    text = message.get(b"126")
    if text is None:
        raise Refused("field 126 is missing", MISSING)
    time_ns = _times.nanoseconds(text)
    if time_ns is None:
        raise Refused("field 126 is no time")
    if time_ns > TIME_NS_MAX:
        raise Refused("field 126 is after the year 2115")
    return time_ns


def replace_rows(message: Message, user: int, participant: int, next_in: int) -> list[bytes]:
    """Rows of an OrderCancelReplaceRequest; the quantity is that of the order in all. Raises Refused."""
    name, before = name_in(message, b"11"), name_in(message, b"41")
    qty = whole(message, b"38")
    if qty is None:
        raise Refused("field 38 is missing", MISSING)
    bits, price, place = _terms(message)
    bits &= ~Instruction.HIDDEN  # an order stays hidden; a replace has no word for it
    old_id, new_id = names.id_of(before), names.id_of(name)
    row = ROW.pack(
        *(old_id, new_id, price, _qty_within(qty), context_of(user, next_in), place, participant, 0),
        *(int(CommandKind.REPLACE), 0, 0, 0, bits, 0, 0),
    )
    if old_id > 0 and new_id > 0:
        return [row]
    old_words = names.words_of(before[:14]) if old_id < 0 else (0, 0)
    new_words = names.words_of(name[:14]) if new_id < 0 else (0, 0)
    return [extend_row(0, 0, *old_words, *new_words), row]


def cancel_rows(message: Message, user: int, participant: int, next_in: int) -> list[bytes]:
    """Rows of an OrderCancelRequest. The EXTEND row has its own ClOrdID where a replace has that of the new order.

    Raises Refused.
    """
    name, before = name_in(message, b"11"), name_in(message, b"41")
    old_id = names.id_of(before)
    old_words = names.words_of(before[:14]) if old_id < 0 else (0, 0)
    row = ROW.pack(
        *(old_id, context_of(user, next_in), 0, 0, 0, 0, participant, 0, int(CommandKind.CANCEL), 0, 0, 0, 0, 0, 0)
    )
    return [extend_row(0, 0, *old_words, *names.words_of(name)), row]


def entered(rows: bytes, client_order_id: int) -> tuple[int, ...] | None:
    """The row, among COMMAND rows in turn, that enters an order which may have been replaced since; None: none does."""
    values: tuple[int, ...]
    for values in reversed(list(ROW.iter_unpack(rows))):
        if values[8] == _REPLACE and values[1] == client_order_id:
            client_order_id = values[0]
        elif values[8] == _ENTER and values[0] == client_order_id:
            return values
    return None


def report_to_come(values: tuple[int, ...], symbol: int) -> bytes:
    """REPORT row that an order will have whose row this is, as far as changes of it are held to that. symbol: of its
    instrument."""
    minimum, place, _, _, _, side, time_in_force, self_trade, bits, book, peg = values[4:]
    row = np.zeros(1, REPORT)
    row["side"], row["instructions"], row["time_in_force"] = side, bits, time_in_force
    row["symbol"] = symbol
    row["self_trade"], row["book"], row["peg"] = self_trade, book, peg
    row["min_qty"] = minimum if bits & Instruction.MIN_QTY else 0
    row["until_ns"] = minimum if bits & Instruction.UNTIL else 0
    row["offset_e4"] = place if bits & Instruction.OFFSET else 0
    return row.tobytes()


def hold_to_order(message: Message, report: bytes) -> None:
    """Hold a cancel or a replace to the order that it names, as its last report has it: to Side and Symbol, and a
    replace to what the rulebook cannot change. A field that repeats the order's value is fine. Raises Refused.
    """
    said = PLACES.unpack(report)
    get = message.fields.get
    if _SIDES.get(get(b"54", b"")) != said[PLACE["side"]] or get(b"55", b"") != names.shown(
        said[PLACE["symbol"]], 0, 0
    ):
        raise Refused("not the Side or Symbol of it", UNKNOWN_ORDER)
    if message.msg_type == b"G":
        _hold_terms(message, said)


def _hold_terms(message: Message, said: tuple[int, ...]) -> None:
    """Refuse a replace that asks for other terms than those of the order. Raises Refused."""
    get, bits = message.fields.get, said[PLACE["instructions"]]
    codes = set(get(b"18", b"").split())
    posts, pegs = bits & Instruction.POST_ONLY != 0, {int(_PEGS[code]) for code in codes if code in _PEGS}
    is_known = codes <= _NO_MATTER | {_POST_ONLY} | set(_PEGS)
    kept = {
        b"59": TIMES_IN_FORCE.get(get(b"59", b"")) == (said[PLACE["time_in_force"]] or TimeInForce.DAY),
        b"18": is_known and (_POST_ONLY in codes) == posts and pegs == ({said[PLACE["peg"]]} - {0}),
        b"110": whole(message, b"110") == said[PLACE["min_qty"]],
        b"126": _times.nanoseconds(get(b"126", b"")) == said[PLACE["until_ns"]],
        b"432": False,  # no order has one
        b"1084": get(b"1084") == _INITIAL,
        b"211": price_e4(message, b"211") == -said[PLACE["side"]] * said[PLACE["offset_e4"]],
        b"2964": _SELF_MATCH.get(get(b"2964", b"")) == said[PLACE["self_trade"]],
        b"100": (get(b"100") == MIDPOINT) == (said[PLACE["book"]] == Book.MIDPOINT),
    }
    for tag, is_same in kept.items():
        if tag in message.fields and not is_same:
            raise Refused(f"no replace changes field {tag.decode()}")


class CrossSide(NamedTuple):
    """One side of a NewOrderCross. participant: as a party of PartyRole 1 names it; "": it names none."""

    name: bytes
    qty: int
    participant: str


def cross_sides(message: Message) -> tuple[CrossSide, CrossSide]:
    """The buying and the selling side of a NewOrderCross. Raises Refused."""
    found: dict[int, CrossSide] = {}
    sides = _sides_in(message)
    for fields, participant in sides:
        qty = whole(fields, b"38")
        if qty is None:
            raise Refused("field 38 is missing", MISSING)
        found[side_in(fields)] = CrossSide(name_in(fields, b"11"), qty, participant)
    if len(sides) != 2 or len(found) != 2:
        raise Refused("a cross has one buy and one sell")
    buy, sell = found[int(Side.BUY)], found[int(Side.SELL)]
    if buy.qty != sell.qty:
        raise Refused("the sides differ in OrderQty")
    return buy, sell


def _sides_in(message: Message) -> list[tuple[dict[bytes, bytes], str]]:
    """Fields of each side of a cross, and the participant that it names; a valid group begins with Side."""
    sides: list[tuple[dict[bytes, bytes], str]] = []
    party = b""
    for tag, value in message.in_order():
        if tag == b"54":
            sides.append(({}, ""))
        if not sides:
            continue
        fields, participant = sides[-1]
        if tag in (b"54", b"11", b"38"):
            fields[tag] = value
        elif tag == b"448":
            party = value
        elif tag == b"452" and value == b"%d" % EXECUTING_FIRM:
            if participant or not 0 < len(party) <= _SYMBOL_CHARACTERS or not names.is_name(party):
                raise Refused("a side names no participant")
            sides[-1] = fields, party.decode("ascii").upper()
    return sides


def cross_rows(
    message: Message, sides: tuple[CrossSide, CrossSide], user: int, participant: int, next_in: int, instrument: int
) -> list[bytes]:
    """Rows of a NewOrderCross between the participants that its sides name. The EXTEND row has the ClOrdIDs of both
    sides, that of the buyer in the places of names. Raises Refused.
    """
    name = name_in(message, b"548")
    get = message.fields.get
    if get(b"549") != _ALL_OR_NONE:
        raise Refused("this CrossType is not served")
    if get(b"550") != b"0":
        raise Refused("this 550 is not served")
    if get(b"40") != _LIMIT:
        raise Refused("this order type is not served")
    if get(b"59", b"0") not in (b"0", b"3", b"4"):
        raise Refused("this time in force is not served")
    if get(b"100") or any(code not in _NO_MATTER for code in get(b"18", b"").split()):
        raise Refused("a cross has no such instruction")
    price = price_e4(message, b"44")
    if price is None:
        raise Refused("field 44 is missing", MISSING)
    cross_id, (buy, sell) = names.id_of(name), sides
    words = names.words_of(name[:14]) if cross_id < 0 else (0, 0)
    row = ROW.pack(
        *(cross_id, context_of(user, next_in), _price_within(price), _qty_within(buy.qty)),
        *(pack(buy.participant), pack(sell.participant), participant, instrument, int(CommandKind.CROSS)),
        *(0, 0, 0, 0, 0, 0),
    )
    return [extend_row(*names.words_of(buy.name), *words, *names.words_of(sell.name)), row]
