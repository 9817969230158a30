"""Content of the screen of `lockstep inspect` at a command, as facts: the command, its events, book and queue."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from engine.market_time import ClockPosition, clock_at_each
from engine.names import Directory, unpack
from engine.records import Book, CommandKind, EventKind, Side
from engine.row_bytes import event_values
from notation.fix_marks import meanings
from notation.objects import event_objects
from notation.print import Printer, event_parties, print_event_values
from notation.table import word
from notation.words import iso_time
from replay.ladder import book_object, trading_prices
from replay.walk import Moment

Facts = dict[str, Any]

#: Price levels a side, and orders of a queue, that are looked up at most.
_DEPTH: Final = 60
_QUEUE_MAX: Final = 200
#: Events whose number is that of an order.
_OF_ORDERS: Final = (
    *(EventKind.ACCEPTED, EventKind.REPLACED, EventKind.CANCELED),
    *(EventKind.TRIGGERED, EventKind.REPLENISHED, EventKind.REPRICED),
)


def view(moment: Moment, symbol: str | None = None, last_symbol: str | None = None) -> Facts:
    """Facts of a moment. ``symbol``: the instrument whose book is shown; None: that of the command, or ``last_symbol``
    where it has none."""
    names, engine = moment.engine.directory, moment.engine
    clock_ns = clock_at_each(moment.rows, ClockPosition(moment.before.now_ns))
    time_ns = int(clock_ns[-1])
    printer = Printer(moment.before)
    printer.go_to(moment.before.now_ns, first=moment.first_seq == 1)
    lines = printer.print_block(moment.rows, moment.events, moment.first_seq, with_events=False)
    number = _instrument(moment, names, symbol, last_symbol)
    marks = meanings(moment.rows, moment.first_seq + np.arange(len(moment.rows)))
    return {
        "seq": moment.seq,
        "first_seq": moment.first_seq,
        "time_ns": time_ns,
        "time": iso_time(time_ns),
        "command": lines,
        "event_lines": [_event_line(values, names, marks) for values in event_values(moment.events)],
        "events": list(event_objects(moment.events, names, np.full(len(moment.events), time_ns))),
        "symbol": names.symbols[number - 1] if number else None,
        "book": book_object(engine, number, _DEPTH) if number else None,
        "touched_e4": _touched(moment, number),
        "queue": _queue(moment, number, names),
        "symbols": list(names.symbols),
        "names": names,
    }


def texts_of(facts: Facts) -> list[str]:
    """Texts of a moment's facts in which ids of orders stand."""
    orders = facts["queue"]["orders"] if facts["queue"] else []
    return [*facts["command"], *facts["event_lines"], *(each["client_order_id"] for each in orders)]


def with_words(facts: Facts, shown: Callable[[str], str]) -> Facts:
    """Facts whose texts are as ``shown`` gives them, for the screen."""
    queue = facts["queue"]
    if queue is not None:
        orders = [each | {"client_order_id": shown(each["client_order_id"])} for each in queue["orders"]]
        queue = queue | {"orders": orders}
    texts = {key: [shown(line) for line in facts[key]] for key in ("command", "event_lines")}
    return facts | texts | {"queue": queue}


def _event_line(values: tuple[int, ...], names: Directory, marks: Mapping[int, str]) -> str:
    parties = ": ".join(each for each in (event_parties(values, names), marks.get(values[0])) if each)
    return print_event_values(values, names) + (f"  ({parties})" if parties else "")


def _instrument(moment: Moment, names: Directory, symbol: str | None, last_symbol: str | None) -> int:
    """Number of the instrument whose book is shown; 0 for none."""
    if symbol in names.symbols:
        return names.symbols.index(symbol) + 1
    last = moment.rows[-1]
    named = int(last["instrument"]) if last["kind"] in (CommandKind.ENTER, CommandKind.CROSS) else 0
    if not 1 <= named <= len(names.symbols):
        about = moment.events["instrument"][moment.events["instrument"] != 0]
        named = int(about[0]) if len(about) else 0
    if named:
        return named
    if last_symbol in names.symbols:
        return names.symbols.index(last_symbol) + 1
    return 1 if names.symbols else 0


def _touched(moment: Moment, number: int) -> list[int]:
    """Prices of an instrument at which the command had an event in the lit book; orders of others are not in it."""
    own = moment.events[moment.events["instrument"] == number]
    if int(moment.rows[-1]["kind"]) == CommandKind.ENTER and int(moment.rows[-1]["book"]) == Book.MIDPOINT:
        own = own[:0]
    return sorted({int(price) for price in own["price_e4"] if price})


def _queue(moment: Moment, number: int, names: Directory) -> Facts | None:
    """Queue at the price that the command is about: of its order where that is open, else of what it traded with."""
    events = moment.events[moment.events["instrument"] == number]
    of_orders = events[np.isin(events["kind"], _OF_ORDERS)]
    trades = events[(events["kind"] == EventKind.TRADE) & (events["side"] != 0)]
    if not number or not (len(of_orders) or len(trades)):
        return None
    orders = moment.engine.open_orders(number)
    own_number = int(of_orders[0]["order_number"]) if len(of_orders) else 0
    own = orders[orders["order_number"] == own_number]
    if len(own):
        side, stop_e4, book = (int(own[0][key]) for key in ("side", "stop_e4", "book"))
        price_e4 = int(trading_prices(own)[0])
    else:
        row, sign = (trades[-1], -1) if len(trades) else (of_orders[0], 1)
        side, price_e4, stop_e4, book = sign * int(row["side"]), int(row["price_e4"]), 0, int(Book.LIT)
    same = (orders["side"] == side) & (orders["book"] == book) & (orders["stop_e4"] == stop_e4)
    there = orders[same & (trading_prices(orders) == price_e4)]
    listed = [
        {
            "participant": names.participants[int(row["participant"]) - 1],
            "client_order_id": unpack(int(row["client_order_id"])),
            "order_number": int(row["order_number"]),
            "leaves_qty": int(row["leaves_qty"]),
            "own": int(row["order_number"]) == own_number,
        }
        for row in there[:_QUEUE_MAX]
    ]
    return {
        "side": word(Side, side),
        "price_e4": max(price_e4, 0) or None,
        "stop_e4": stop_e4 or None,
        "unpriced": price_e4 < 0,
        "order_count": len(there),
        "leaves_qty": int(there["leaves_qty"].sum()),
        "orders": listed,
    }
