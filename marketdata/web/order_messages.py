"""Messages of channel full about the orders of a product: received, open, match, change, done.

The book that a viewer keeps of them is compared with each report, and what differs is told: so every rule of the
market, icebergs and auctions too, is told in the five words that the dialect has. A match takes its size off the maker;
it is in channel full only where the maker is displayed at that price. All other trades, of hidden orders, at the
midpoint, in an auction, are in channel matches alone, with the number of the message before, and what they did to
displayed orders is told as change or done.
"""

from typing import Final, NamedTuple

from engine.records import Book, Instruction, TimeInForce
from marketdata.statistics import MAKES_PRICE
from marketdata.web import words
from marketdata.web.product import Message, Product, Shown, Trade
from reports.rows import InBook, Liquidity, ReportKind

#: Columns of REPORT rows that are read, in this order.
COLUMNS: Final = (
    *("time_ns", "kind", "instrument", "order_number", "price_e4", "side", "qty", "leaves_qty", "canceled_qty"),
    *("displayed_qty", "display_qty", "instructions", "book", "in_book", "liquidity", "last_price_e4", "last_qty"),
    *("trade_number", "time_in_force"),
)


class Row(NamedTuple):
    """The places of a REPORT row that viewers may learn of."""

    time_ns: int
    kind: int
    instrument: int
    order_number: int
    price_e4: int
    side: int
    qty: int
    leaves_qty: int
    canceled_qty: int
    displayed_qty: int
    display_qty: int
    instructions: int
    book: int
    in_book: int
    liquidity: int
    last_price_e4: int
    last_qty: int
    trade_number: int
    time_in_force: int


_AFTER: Final = int(InBook.AFTER)
_NEW_PRIORITY: Final = int(InBook.NEW_PRIORITY)
_UNSEEN: Final = int(Instruction.HIDDEN | Instruction.STOP | Instruction.PEG)
_MARKET: Final = int(Instruction.MARKET)
_NEW: Final = int(ReportKind.NEW)
_TRIGGERED: Final = int(ReportKind.TRIGGERED)
_TRADE: Final = int(ReportKind.TRADE)
_ADDED: Final = (int(Liquidity.ADDED), int(Liquidity.MIDPOINT_ADDED))


def displayed_of(row: Row) -> Shown | None:
    """Displayed part of an order after a report; None for nothing, as of a market order in a call."""
    if row.in_book & _AFTER and row.displayed_qty > 0 and row.price_e4 > 0:
        return Shown(row.side, row.price_e4, row.displayed_qty)
    return None


def _is_told(row: Row) -> bool:
    """True for orders whose arrival and end are told also where they never rest."""
    return row.book == Book.LIT and not row.instructions & _UNSEEN and row.time_in_force != TimeInForce.CLOSING


def of_order(product: Product, row: Row, messages: list[Message]) -> None:
    """Tell what a report of one order changes. A stop is received when it is elected: until then nobody knows of it."""
    if row.kind in (_NEW, _TRIGGERED) and _is_told(row):
        messages.append(_received(product, row))
    _follow(product, row, messages)


def of_trade(product: Product, one: Row, other: Row, messages: list[Message]) -> Message:
    """Tell a trade by its two reports; gives its match, which is in ``messages`` too where it has its own number."""
    first, second = (one, other) if one.order_number < other.order_number else (other, one)
    maker, taker = (second, first) if second.liquidity in _ADDED else (first, second)
    made = Trade(
        maker.trade_number,
        maker.time_ns,
        maker.last_price_e4,
        maker.last_qty,
        maker.side,
        int(maker.liquidity in MAKES_PRICE),
    )
    product.add_trade(made)
    shown = product.orders.get(maker.order_number)
    if (
        shown is not None
        and maker.liquidity == Liquidity.ADDED
        and shown.price_e4 == made.price_e4
        and shown.qty >= made.qty
    ):
        product.orders[maker.order_number] = shown._replace(qty=shown.qty - made.qty)
        match = {**match_of(product, made), **product.message("match", made.time_ns)}
        match |= {
            "maker_order_id": words.order_id(maker.order_number),
            "taker_order_id": words.order_id(taker.order_number),
        }
        messages.append(match)
    else:
        match = match_of(product, made)
    _follow(product, maker, messages)
    _follow(product, taker, messages)
    return match


def match_of(product: Product, trade: Trade) -> Message:
    """A trade as a message of channel matches, with the number of the product's last message.

    It names no order. It has ids all the same, as clients take a match without them for one that tells another side.
    """
    return {
        "type": "match",
        "time": words.moment(trade.time_ns),
        "product_id": product.id,
        "sequence": product.sequence,
        "trade_id": trade.trade_number,
        "size": str(trade.qty),
        "price": words.price(trade.price_e4),
        "side": words.side(trade.maker_side),
        "maker_order_id": words.NO_ORDER,
        "taker_order_id": words.NO_ORDER,
    }


def _received(product: Product, row: Row) -> Message:
    shown_qty = min(row.leaves_qty, row.display_qty) if row.display_qty else row.leaves_qty
    more: Message = {
        "order_id": words.order_id(row.order_number),
        "size": str(shown_qty),
        "side": words.side(row.side),
        "order_type": "market" if row.instructions & _MARKET else "limit",
    }
    if not row.instructions & _MARKET:
        more["price"] = words.price(row.price_e4)
    return product.message("received", row.time_ns, **more)


def _follow(product: Product, row: Row, messages: list[Message]) -> None:
    """Make the displayed order what the report says, and tell the difference."""
    number = row.order_number
    had, has = product.orders.get(number), displayed_of(row)
    if had is None:
        if has is not None:
            messages.append(_open(product, row, has))
        elif row.leaves_qty == 0 and row.kind != _NEW and _is_told(row):
            messages.append(_done(product, row, row.price_e4, row.canceled_qty if row.kind != _TRADE else 0))
    elif has is None:
        del product.orders[number]
        messages.append(_done(product, row, had.price_e4, had.qty))
    elif (has.side, has.price_e4) != (had.side, had.price_e4) or row.in_book & _NEW_PRIORITY:
        del product.orders[number]
        messages.append(_done(product, row, had.price_e4, had.qty))
        messages.append(_open(product, row, has))
    elif has.qty != had.qty:
        product.orders[number] = has
        messages.append(
            product.message(
                "change",
                row.time_ns,
                reason="modify_order" if row.kind != _TRADE else "trade",
                order_id=words.order_id(number),
                side=words.side(has.side),
                price=words.price(has.price_e4),
                old_size=str(had.qty),
                new_size=str(has.qty),
            )
        )


def _open(product: Product, row: Row, has: Shown) -> Message:
    product.orders[row.order_number] = has
    return product.message(
        "open",
        row.time_ns,
        order_id=words.order_id(row.order_number),
        side=words.side(has.side),
        price=words.price(has.price_e4),
        remaining_size=str(has.qty),
    )


def _done(product: Product, row: Row, price_e4: int, remaining_qty: int) -> Message:
    more: Message = {
        "order_id": words.order_id(row.order_number),
        "side": words.side(row.side),
        "reason": "filled" if row.kind == _TRADE else "canceled",
        "remaining_size": str(remaining_qty),
    }
    if price_e4 > 0:
        more["price"] = words.price(price_e4)
    return product.message("done", row.time_ns, **more)
