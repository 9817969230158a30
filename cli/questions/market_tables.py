"""Books, positions and limits as tables: for `book` and `state`, and for the operator of a running node."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final

from cli import screen
from notation.moments import plain_time
from notation.print import limit_words
from notation.words import duration, percent, price

#: Lines of a table of positions or limits at most; further ones are counted, and JSON has them.
_LINES_MAX: Final = 50
_LADDER: Final = ("orders", "bid qty", "bid", "offer", "offer qty", "offers")
_UNDISPLAYED: Final = {"reserve_qty": "in reserve", "hidden_qty": "hidden"}
_QUANTITIES: Final = ("open orders", "open notional", "position qty", "open buy qty", "open sell qty")

Facts = dict[str, Any]


def show_book(book: Facts, time: str | None, tokens: Callable[[str], str] = str) -> None:
    """Print a book (``replay.ladder.book_object``): a line about it, its ladder, best prices on top, and the rest.

    ``time``: the clock, as JSON or an ``at`` line has it. ``tokens`` gives what is shown in place of a client order id.
    """
    last = f"last {price(book['last_price_e4'])}" if book["last_price_e4"] else "no trade yet"
    phase = book["phase"] + (f" until {plain_time(book['until'])}" if book["until"] else "")
    screen.print_line(
        f"{book['symbol']}  {phase}  {last}  after command {screen.count(book['seq'])} at {plain_time(time)}"
    )
    if book.get("halt"):
        halt = book["halt"]
        because = f": {halt['because']}" if halt["because"] else ""
        screen.print_line(f"{halt['text']} by command {screen.count(halt['seq'])}{because}")
    bids, offers = book["bids"], book["offers"]
    rows = []
    for at in range(max(len(bids), len(offers))):
        left = _level_cells(bids[at]) if at < len(bids) else ["", "", ""]
        right = _level_cells(offers[at])[::-1] if at < len(offers) else ["", "", ""]
        rows.append(left + right)
    if rows:
        screen.table(_LADDER, rows, right=("orders", "bid qty", "bid", "offer qty", "offers"))
        _show_undisplayed(bids, offers)
    else:
        screen.print_line("the lit book is empty" if book["open_orders"] else "the book is empty")
    for line in _beside(book):
        screen.print_line(line)
    if book["orders"]:
        _show_orders(book["orders"], tokens)


def show_waiting(waiting: list[Facts]) -> None:
    """Print commands that wait for their effect (``replay.waiting``), where there are any."""
    if not waiting:
        return
    screen.print_line(f"{screen.counted(len(waiting), 'command')} waiting for the entry delay")
    rows = [[screen.count(each["seq"]), plain_time(each["due_time"]), each["text"]] for each in waiting[:_LINES_MAX]]
    screen.table(["command", "takes effect", "text"], rows, right=("command",))
    if len(waiting) > _LINES_MAX:
        screen.print_line(f"and {screen.count(len(waiting) - _LINES_MAX)} more; `lockstep state --json` prints all")


def _beside(book: Facts) -> Iterator[str]:
    """Lines about what stands beside the ladder, where there is any."""
    if book["speed_bump_ns"]:
        yield f"entry delay {duration(book['speed_bump_ns'])}"
    call, band, breaker, middle = book["indicative"], book["band"], book["volatility"], book["midpoint"]
    if call is not None and call["price_e4"] is None:
        yield "the uncross would trade nothing"
    elif call is not None:
        left = (
            f", {screen.count(call['imbalance_qty'])} more to {call['imbalance_side']}" if call["imbalance_qty"] else ""
        )
        yield f"the uncross would trade {screen.count(call['paired_qty'])} @ {price(call['price_e4'])}{left}"
    if band is not None:
        around = f"{percent(band['band_bps'])} around {price(band['reference_e4'])}"
        bounds = f"buys up to {price(band['highest_buy_e4'])}, sells down to {price(band['lowest_sell_e4'])}"
        yield f"band of {around}: {bounds}"
    if breaker is not None:
        away = f"more than {percent(breaker['volatility_bps'])} from the price {duration(breaker['window_ns'])} before"
        yield f"volatility breaker: a trade {away} halts for {duration(breaker['halt_ns'])}"
    if middle is not None and (middle["bid_orders"] or middle["offer_orders"]):
        where = price(middle["price_e4"]) if middle["price_e4"] else "none now"
        yield f"midpoint book: {_both_sides(middle)}; midpoint {where}"
    for side in ("buy", "sell"):
        for level in book[f"{side}_stops"]:
            orders = screen.counted(level["orders"], "order")
            yield f"{side} stop at {price(level['stop_e4'])}: {screen.count(level['qty'])} of {orders}"
    for what, key in (
        ("closing orders, kept aside until the closing call", "closing_orders"),
        ("pegs that wait without a price", "unpriced_pegs"),
    ):
        if book[key]["bid_orders"] or book[key]["offer_orders"]:
            yield f"{what}: {_both_sides(book[key])}"


def _both_sides(counted: Facts) -> str:
    """Orders and open quantity of each side."""
    buys = f"{screen.counted(counted['bid_orders'], 'buy')}, {screen.count(counted['bid_qty'])}"
    return f"{buys}; {screen.counted(counted['offer_orders'], 'sell')}, {screen.count(counted['offer_qty'])}"


def _show_orders(orders: list[Facts], tokens: Callable[[str], str]) -> None:
    """Print each open order."""
    columns = ["participant", "order", "side", "price", "open", "shown", "executed", "kind"]
    rows = [
        [
            each["participant"],
            tokens(each["client_order_id"]),
            each["side"],
            shown_price(each["price_e4"]),
            screen.count(each["leaves_qty"]),
            screen.count(each["shown_qty"]),
            screen.count(each["cum_qty"]),
            _kind(each),
        ]
        for each in orders
    ]
    screen.table(columns, rows, right=("price", "open", "shown", "executed"))


def _kind(order: Facts) -> str:
    """Terms of an order in words of section 12."""
    words = [order["time_in_force"]]
    words += [f"until={plain_time(order['until'])}"] if order["until"] else []
    words += [f"stop={price(order['stop_e4'])}"] if order["stop_e4"] else []
    words += [f"peg={order['peg']}"] if order["peg"] else []
    words += [f"offset={price(order['offset_e4'])}"] if order["offset_e4"] else []
    words += [f"now={price(order['peg_e4']) if order['peg_e4'] else 'none'}"] if order["peg"] else []
    words += [f"display={order['display_qty']}"] if order["display_qty"] else []
    words += [word for word in ("hidden", "post_only") if order[word]]
    words += ["book=midpoint"] if order["book"] == "midpoint" else []
    return " ".join(words)


def _show_undisplayed(bids: list[Facts], offers: list[Facts]) -> None:
    """Say how much of each level is not displayed, where there is any."""
    for side, levels in (("bid", bids), ("offer", offers)):
        for level in levels:
            parts = [f"{screen.count(level[key])} {word}" for key, word in _UNDISPLAYED.items() if level[key]]
            if parts:
                screen.print_line(f"not displayed at the {side} {shown_price(level['price_e4'])}: {', '.join(parts)}")


def _level_cells(level: Facts) -> list[str]:
    return [screen.count(level["orders"]), screen.count(level["qty"]), shown_price(level["price_e4"])]


def shown_price(price_e4: int | None) -> str:
    """Price of an open order for people; a market order that waits for an auction has none.

    >>> shown_price(100500), shown_price(0)
    ('10.05', 'market')
    """
    return price(price_e4) if price_e4 else "market"


def show_positions(of_positions: dict[str, list[Any]]) -> None:
    """Print the first positions (``replay.accounts.position_columns``); nothing if there are none."""
    rows = zip(*of_positions.values(), strict=True)
    first = [dict(zip(of_positions, each, strict=True)) for each in islice(rows, _LINES_MAX)]
    columns = [name.replace("_", " ") for name in of_positions]
    show_accounts(columns, first, len(of_positions["participant"]))


def show_accounts(columns: list[str], facts: list[Facts], number: int | None = None) -> None:
    """Print the first facts of ``replay.accounts`` under the names of their columns; nothing of an empty list.

    number: of all facts, where these are the first of them.
    """
    if not facts:
        return
    number = len(facts) if number is None else number
    rows = [[_cell(each, column.replace(" ", "_")) for column in columns] for each in facts[:_LINES_MAX]]
    screen.table(columns, rows, right=[column for column in columns if column in _QUANTITIES])
    if number > _LINES_MAX:
        screen.print_line(f"and {screen.count(number - _LINES_MAX)} more; --json prints all")


def show_uses(uses: list[Facts]) -> None:
    """Print how much of each limit is used up; nothing of an empty list."""
    rows = [
        [
            each["participant"],
            each["symbol"] or "-",
            each["limit"] + (f", {each['side']}s" if each["side"] else ""),
            _amount(each["used"], each["unit"]),
            _amount(each["allowed"], each["unit"]),
        ]
        for each in uses[:_LINES_MAX]
    ]
    if rows:
        screen.table(["participant", "symbol", "limit", "used", "allowed"], rows, right=("used", "allowed"))
    if len(uses) > _LINES_MAX:
        screen.print_line(f"and {screen.count(len(uses) - _LINES_MAX)} more; --json prints all")


def _amount(number: int, unit: str) -> str:
    return price(number) if unit == "price_e4" else screen.count(number)


def _cell(facts: Facts, key: str) -> str:
    """Cell of a table: limits in words, a count with thousands separators, yes or no, - for none."""
    if key == "open_notional":
        return price(facts["open_notional_e4"])
    value = facts[key]
    if key == "limits":
        return limit_words(value) or "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return screen.count(value)
    return "-" if value is None else str(value)
