"""Bodies of market data messages, in each version of FIX: W, X, Y, y, d, f and h.

A level is named by its type and price; MDEntryID says the same in one word, where the version has it. What all
subscribers of the same kind are told of a change is put together once (``entries_of_change``), and each gets it behind
a head of its own.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final, NamedTuple

from engine.records import Phase, Side
from marketdata.fix import market
from marketdata.fix.levels import Action, Told
from marketdata.fix.market import Change, Entry, Instrument, Trade, halt_reason
from wire.fix_codec import body

#: Versions, by the first field of a message.
FIX_4_2, FIX_4_4, FIX_5_0 = "FIX.4.2", "FIX.4.4", "FIXT.1.1"
BID, OFFER, TRADE = b"0", b"1", b"2"
#: Types of entries that each version can tell: MDEntryType, field 269.
_BASIC: Final = frozenset((BID, OFFER, TRADE, market.OPENING, market.CLOSING, market.HIGH, market.LOW))
TYPES: Final = {
    FIX_4_2: _BASIC,
    FIX_4_4: _BASIC | {market.IMBALANCE, market.VOLUME},
    FIX_5_0: _BASIC | {market.IMBALANCE, market.VOLUME, market.CLEARING},
}
#: Levels of a side that a viewer of the whole book gets at most.
DEPTH_MAX: Final = 5_000
#: TradingSessionID of the trading day, the only session that there is.
DAY: Final = b"1"
_SECOND_NS: Final = 1_000_000_000
_PRICE: Final = 10_000
_MORE_BUYERS, _MORE_SELLERS = b"P", b"Q"
_PREVIOUS_DAY: Final = b"4"
_EMPTY_BOOK: Final = b"J"
#: SecurityTradingStatus, field 326, by phase; in FIX 4.2 and 4.4 where these have another.
_STATUS: Final = {
    Phase.CLOSED: 18,
    Phase.PRE_OPEN: 21,
    Phase.OPENING_AUCTION: 22,
    Phase.CONTINUOUS: 17,
    Phase.HALTED: 2,
    Phase.AUCTION: 24,
    Phase.CLOSING_AUCTION: 24,
}
_STATUS_4_4: Final = {Phase.AUCTION: 5, Phase.CLOSING_AUCTION: 5}
_STATUS_4_2: Final = {**_STATUS_4_4, Phase.PRE_OPEN: 4, Phase.OPENING_AUCTION: 5}
UNKNOWN_STATUS: Final = 20
_OPEN, _HALTED, _CLOSED, _PRE_OPEN, _PRE_CLOSE = 2, 1, 3, 4, 5
_REJECTED: Final = 6


class View(NamedTuple):
    """The view that a subscriber wants of an instrument. depth: levels of a side, at least 1."""

    version: str
    types: frozenset[bytes]
    depth: int


class Made(NamedTuple):
    """Entries of a message: how many, and their bytes."""

    entries: int
    octets: bytes


def price_text(price_e4: int) -> bytes:
    """A price without zeros at its end.

    >>> price_text(101_500), price_text(100_000)
    (b'10.15', b'10')
    """
    whole, part = divmod(price_e4, _PRICE)
    return b"%d.%04d" % (whole, part) if part % 10 else (b"%d.%04d" % (whole, part)).rstrip(b"0").rstrip(b".")


class _Clock:
    """Times of entries as fields 272 and 273. The last second is kept: most are of it."""

    def __init__(self) -> None:
        self._second, self._text = -1, (b"", b"")

    def fields(self, time_ns: int) -> bytes:
        """MDEntryDate and MDEntryTime, in UTC with milliseconds."""
        second, rest_ns = divmod(time_ns, _SECOND_NS)
        if second != self._second:
            date, clock = datetime.fromtimestamp(second, UTC).strftime("%Y%m%d %H:%M:%S").encode().split()
            self._second, self._text = second, (date, clock)
        return b"272=%b\x01273=%b.%03d\x01" % (*self._text, rest_ns // 1_000_000)


_CLOCK: Final = _Clock()


def entry_id(number: int, kind: bytes, price_e4: int) -> bytes:
    """MDEntryID of a level: instrument, type and price.

    >>> entry_id(3, BID, 100_500)
    b'3.0.100500'
    """
    return b"%d.%b.%d" % (number, kind, price_e4)


def _level(view: View, instrument: Instrument, kind: bytes, told: Told, times: bytes) -> bytes:
    """An entry of X about a level."""
    begin = b"279=%b\x01269=%b\x01278=%d.%b.%d\x0155=%b\x01270=%b\x01" % (
        *(told.action.value, kind, instrument.number, kind, told.price_e4, instrument.symbol.encode()),
        price_text(told.price_e4),
    )
    if told.action is Action.DELETE:
        return b"%b%b%b" % (begin, times, _end(view, 0, instrument))
    middle = b"271=%d\x01%b346=%d\x01290=%d\x01" % (told.qty, times, told.orders, told.position)
    return b"%b%b%b" % (begin, middle, _end(view, told.position, instrument))


def _end(view: View, position: int, instrument: Instrument) -> bytes:
    """MDPriceLevel and RptSeq, where the version has them."""
    if view.version != FIX_5_0:
        return b""
    level = b"1023=%d\x01" % position if position else b""
    return b"%b83=%d\x01" % (level, instrument.updates)


def _flags(view: View, entry: Entry) -> bytes:
    """TradeCondition of an imbalance, and OpenCloseSettlFlag of a price of a day before, which FIX 4.2 has not."""
    side = entry.side
    condition = b"277=%b\x01" % (_MORE_BUYERS if side == Side.BUY else _MORE_SELLERS) if side else b""
    return condition + (b"286=%b\x01" % _PREVIOUS_DAY if entry.earlier and view.version != FIX_4_2 else b"")


def _statistic(view: View, instrument: Instrument, action: Action, kind: bytes, entry: Entry, times: bytes) -> bytes:
    """An entry of X beside levels and trades."""
    price = b"" if entry.price_e4 is None else b"270=%b\x01" % price_text(entry.price_e4)
    size = b"" if entry.qty is None else b"271=%d\x01" % entry.qty
    begin = b"279=%b\x01269=%b\x01278=%d.%b\x0155=%b\x01" % (
        *(action.value, kind, instrument.number, kind, instrument.symbol.encode()),
    )
    if action is Action.DELETE:
        return b"%b%b%b%b" % (begin, price, times, _end(view, 0, instrument))
    return b"%b%b%b%b%b%b" % (begin, price, size, times, _flags(view, entry), _end(view, 0, instrument))


def _traded(view: View, instrument: Instrument, trade: Trade, times: bytes) -> bytes:
    """An entry of X about a trade."""
    return b"279=0\x01269=2\x01278=T%d\x0155=%b\x01270=%b\x01271=%d\x01%b%b" % (
        *(trade.trade_number, instrument.symbol.encode(), price_text(trade.price_e4), trade.qty, times),
        _end(view, 0, instrument),
    )


def entries_of_change(view: View, change: Change) -> Made:
    """Entries of X for a change; none where it changes nothing that the viewer sees."""
    instrument, types, times = change.instrument, view.types, _CLOCK.fields(change.time_ns)
    made: list[bytes] = []
    for kind, levels, touched in ((BID, instrument.bids, change.bids), (OFFER, instrument.offers, change.offers)):
        if touched and kind in types:
            made += [_level(view, instrument, kind, told, times) for told in levels.told(touched, view.depth)]
    if change.trades and TRADE in types:
        made += [_traded(view, instrument, trade, times) for trade in change.trades]
    for kind, before in change.entries.items():
        if kind not in types:
            continue
        now = instrument.entries.get(kind)
        if now is None:
            assert before is not None, "it has changed"
            made.append(_statistic(view, instrument, Action.DELETE, kind, before, times))
        else:
            action = Action.NEW if before is None else Action.CHANGE
            made.append(_statistic(view, instrument, action, kind, now, times))
    return Made(len(made), b"".join(made))


def incremental(view: View, request_id: bytes, made: Made) -> bytes:
    """Body of X for one subscriber."""
    book = b"1021=%d\x01" % _book_type(view) if view.version == FIX_5_0 else b""
    return b"%b262=%b\x01268=%d\x01%b" % (book, request_id, *made)


def _book_type(view: View) -> int:
    """MDBookType: top of book, or price depth."""
    return 1 if view.depth == 1 else 2


def snapshot(view: View, request_id: bytes, instrument: Instrument) -> bytes:
    """Body of W: what is in force of an instrument now, as far as the viewer sees it."""
    latest = view.version == FIX_5_0
    made: list[bytes] = []
    update = b"83=%d\x01" % instrument.updates if latest else b""
    for kind, levels in ((BID, instrument.bids), (OFFER, instrument.offers)):
        if kind not in view.types:
            continue
        for told in levels.top(view.depth):
            name = b"278=%b\x01" % entry_id(instrument.number, kind, told.price_e4) if latest else b""
            end = b"1023=%d\x01%b" % (told.position, update) if latest else b""
            made.append(
                b"269=%b\x01%b270=%b\x01271=%d\x01346=%d\x01290=%d\x01%b"
                % (kind, name, price_text(told.price_e4), told.qty, told.orders, told.position, end)
            )
    trade = instrument.trade
    if trade is not None and TRADE in view.types:
        name = b"278=T%d\x01" % trade.trade_number if latest else b""
        said = b"270=%b\x01271=%d\x01" % (price_text(trade.price_e4), trade.qty)
        made.append(b"269=2\x01%b%b%b%b" % (name, said, _CLOCK.fields(trade.time_ns), update))
    for kind, entry in sorted(instrument.entries.items()):
        if kind in view.types:
            name = b"278=%d.%b\x01" % (instrument.number, kind) if latest else b""
            price = b"" if entry.price_e4 is None else b"270=%b\x01" % price_text(entry.price_e4)
            size = b"" if entry.qty is None else b"271=%d\x01" % entry.qty
            times = _CLOCK.fields(entry.time_ns)
            made.append(b"269=%b\x01%b%b%b%b%b%b" % (kind, name, price, size, times, _flags(view, entry), update))
    if latest and not made:
        made.append(b"269=%b\x01%b" % (_EMPTY_BOOK, update))
    head = b"1021=%d\x01" % _book_type(view) if latest else b""
    volume = b"387=%d\x01" % instrument.volume_qty if view.version == FIX_4_2 else b""
    return b"%b262=%b\x0155=%b\x01%b268=%d\x01%b" % (
        *(head, request_id, instrument.symbol.encode(), volume, len(made)),
        b"".join(made),
    )


def reject(request_id: bytes, reason: bytes, text: str) -> bytes:
    """Body of Y. reason: MDReqRejReason; none where the standard has no such."""
    return body([(262, request_id), *([(281, reason)] if reason else []), (58, text)])


# Instruments.


def _terms(instrument: Instrument) -> str:
    return f"tick {price_text(instrument.tick_e4).decode()}, lot {instrument.lot}"


def security_list(
    version: str, request_id: bytes, response_id: int, each: list[Instrument], total: int, *, last: bool
) -> bytes:
    """Body of y, for FIX 4.4 and later. each: the instruments of this message; total: of the whole answer."""
    head = body([(320, request_id), (322, response_id), (560, 0), (393, total), (893, "Y" if last else "N")])
    rows = []
    for instrument in each:
        begin = b"55=%b\x01" % instrument.symbol.encode()
        if version == FIX_5_0:
            begin += b"969=%b\x01" % price_text(instrument.tick_e4)
        rows.append(begin + body([(561, instrument.lot), (58, _terms(instrument))]))
    return b"%b146=%d\x01%b" % (head, len(each), b"".join(rows))


def no_securities(request_id: bytes, response_id: int, result: int) -> bytes:
    """Body of y that lists none, for FIX 4.4 and later. result: SecurityRequestResult."""
    return body([(320, request_id), (322, response_id), (560, result), (393, 0), (893, "Y")])


def security_definition(
    version: str, request_id: bytes, response_id: int, kind: int, instrument: Instrument, total: int
) -> bytes:
    """Body of d. kind: SecurityResponseType. total: securities of the whole answer, which FIX 4.2 tells."""
    fields: list[tuple[int, bytes | str | int]] = [(320, request_id), (322, response_id), (323, kind)]
    fields += [(393, total)] if version == FIX_4_2 else []
    fields.append((55, instrument.symbol))
    if version == FIX_5_0:
        fields.append((969, price_text(instrument.tick_e4)))
    fields.append((58, _terms(instrument)))
    fields += [(561, instrument.lot)] if version == FIX_4_4 else []
    return body(fields)


def no_definition(version: str, request_id: bytes, response_id: int, kind: int, text: str) -> bytes:
    """Body of d that defines nothing. kind: SecurityResponseType, 5 or 6."""
    fields: list[tuple[int, bytes | str | int]] = [(320, request_id), (322, response_id), (323, kind)]
    fields += [(393, 0)] if version == FIX_4_2 else []
    return body([*fields, (58, text)])


# Phases.


def status_of(version: str, phase: int) -> int:
    """SecurityTradingStatus of a phase."""
    others = {FIX_4_2: _STATUS_4_2, FIX_4_4: _STATUS_4_4}.get(version, {})
    known = Phase(phase)
    return others.get(known, _STATUS[known])


def security_status(
    version: str, request_id: bytes, instrument: Instrument, time_ns: int, *, unsolicited: bool
) -> bytes:
    """Body of f. unsolicited: a subscriber is told of a change."""
    entries, last_price_e4 = instrument.entries, instrument.last_price_e4
    fields: list[tuple[int, bytes | str | int]] = [(324, request_id), (55, instrument.symbol), (336, DAY)]
    fields += [(325, "Y" if unsolicited else "N"), (326, status_of(version, instrument.phase))]
    for tag, kind in ((332, market.HIGH), (333, market.LOW)):
        price_e4 = entries[kind].price_e4 if kind in entries else None
        fields += [] if price_e4 is None else [(tag, price_text(price_e4))]
    fields += [(31, price_text(last_price_e4))] if last_price_e4 else []
    fields.append((60, _timestamp(time_ns)))
    if version != FIX_4_2:
        why = halt_reason(instrument)
        word = Phase(instrument.phase).name.lower().replace("_", " ")
        fields.append((58, f"{word}: {why}" if why else word))
    return body(fields)


def unknown_status(version: str, request_id: bytes, symbol: bytes, time_ns: int) -> bytes:
    """Body of f for a symbol that is not known."""
    fields: list[tuple[int, bytes | str | int]] = [(324, request_id), (55, symbol), (325, "N"), (326, UNKNOWN_STATUS)]
    fields.append((60, _timestamp(time_ns)))
    return body([*fields, (58, "no such symbol")] if version != FIX_4_2 else fields)


def _timestamp(time_ns: int) -> bytes:
    second, rest_ns = divmod(time_ns, _SECOND_NS)
    text = datetime.fromtimestamp(second, UTC).strftime("%Y%m%d-%H:%M:%S").encode()
    return b"%b.%03d" % (text, rest_ns // 1_000_000)


def session_state(phases: Iterable[int]) -> int:
    """TradSesStatus of the trading day, by the phases of its instruments: open where one trades.

    >>> session_state([Phase.CLOSED, Phase.CONTINUOUS]), session_state([Phase.HALTED, Phase.CLOSED])
    (2, 1)
    """
    found = set(phases) - {Phase.CLOSED}
    if not found:
        return _CLOSED
    if Phase.CONTINUOUS in found:
        return _OPEN
    if found == {Phase.HALTED}:
        return _HALTED
    if found <= {Phase.PRE_OPEN, Phase.OPENING_AUCTION}:
        return _PRE_OPEN
    return _PRE_CLOSE if found == {Phase.CLOSING_AUCTION} else _OPEN


def trading_session(request_id: bytes, state: int, *, unsolicited: bool) -> bytes:
    """Body of h. state: TradSesStatus."""
    return body([(335, request_id), (336, DAY), (325, "Y" if unsolicited else "N"), (340, state)])


def unknown_session(request_id: bytes, session: bytes) -> bytes:
    """Body of h for a trading session that is not known, for FIX 4.4 and later."""
    return body([(335, request_id), (336, session), (340, _REJECTED), (567, 1), (58, "no such trading session")])
