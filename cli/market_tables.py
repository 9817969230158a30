"""Books, positions and limits as tables: for `book` and `state`, and for the operator of a running node."""

from typing import Any, Final

from cli import screen
from notation.words import price
from replay.accounts import limit_words

#: Lines of a table of positions or limits at most; further ones are counted, and JSON has them.
_LINES_MAX: Final = 50
_LADDER: Final = ("orders", "bid qty", "bid", "offer", "offer qty", "offers")
_UNDISPLAYED: Final = {"reserve_qty": "in reserve", "hidden_qty": "hidden"}
_QUANTITIES: Final = ("open orders", "open notional", "position qty", "open buy qty", "open sell qty")

Facts = dict[str, Any]


def show_book(book: Facts, time: str) -> None:
    """Print a book (``replay.ladder.book_object``): a line about it, then its ladder, best prices on top."""
    last = f"last {price(book['last_price_e4'])}" if book["last_price_e4"] else "no trade yet"
    phase = book["phase"] + (f" until {book['until']}" if book["until"] else "")
    screen.print_line(f"{book['symbol']}  {phase}  {last}  after command {screen.count(book['seq'])} at {time}")
    bids, offers = book["bids"], book["offers"]
    if not bids and not offers:
        screen.print_line("the book is empty")
        return
    rows = []
    for at in range(max(len(bids), len(offers))):
        left = _level_cells(bids[at]) if at < len(bids) else ["", "", ""]
        right = _level_cells(offers[at])[::-1] if at < len(offers) else ["", "", ""]
        rows.append(left + right)
    screen.table(_LADDER, rows, right=("orders", "bid qty", "bid", "offer qty", "offers"))
    _show_undisplayed(bids, offers)


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


def show_accounts(columns: list[str], facts: list[Facts]) -> None:
    """Print the first facts of ``replay.accounts`` under the names of their columns; nothing of an empty list."""
    if not facts:
        return
    rows = [[_cell(each, column.replace(" ", "_")) for column in columns] for each in facts[:_LINES_MAX]]
    screen.table(columns, rows, right=[column for column in columns if column in _QUANTITIES])
    if len(facts) > _LINES_MAX:
        screen.print_line(f"and {screen.count(len(facts) - _LINES_MAX)} more; --json prints all")


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
