"""Two outcomes of a market beside each other, as tables of what differs."""

from collections import Counter
from typing import Any, Final

from cli import screen
from notation.moments import plain_time
from notation.words import price
from replay.outcome import Facts

#: Differences of a table at most; further ones are counted, and JSON has them.
_LINES_MAX: Final = 20


def show_outcomes(before: Facts, after: Facts, heads: tuple[str, str]) -> None:
    """Print totals, and what differs by symbol, halt, participant and reason. ``heads``: of the two columns."""
    rows = [
        (name, screen.count(before[name]), screen.count(after[name]), f"{after[name] - before[name]:+,}")
        for name in ("trades", "shares")
    ]
    screen.table(["in all", *heads, "difference"], rows, right=(*heads, "difference"))
    for column, key in (("last price", "last_price_e4"), ("shares", "shares"), ("halts", "halts")):
        _differences("symbol", column, heads, before["instruments"], after["instruments"], key)
    _differences("halt", "times", heads, *_counts(_halts(before), _halts(after)), "count")
    for column, key in (("profit", "profit_e4"), ("positions", "positions")):
        _differences("participant", column, heads, before["participants"], after["participants"], key)
    _differences("refused with", "orders", heads, *_counts(before["refused"], after["refused"]), "count")


def _counts(before: dict[str, int], after: dict[str, int]) -> tuple[Facts, Facts]:
    """Counts by name, of every name that either has."""
    names = [*before, *(name for name in after if name not in before)]
    one, other = ({name: {"count": counts.get(name, 0)} for name in names} for counts in (before, after))
    return one, other


def _differences(what: str, column: str, heads: tuple[str, str], before: Facts, after: Facts, key: str) -> None:
    """Table of the values that differ; nothing where none does."""
    rows = [
        (name, _cell(before.get(name, {}).get(key), key), _cell(after.get(name, {}).get(key), key))
        for name in {**before, **after}
        if before.get(name, {}).get(key) != after.get(name, {}).get(key)
    ]
    if rows:
        named = [what, f"{column} {heads[0]}", heads[1]]
        screen.table(named, rows[:_LINES_MAX], right=named[1:])
        if len(rows) > _LINES_MAX:
            screen.print_line(f"and {screen.count(len(rows) - _LINES_MAX)} more; --json prints all")


def _halts(outcome: Facts) -> dict[str, int]:
    """Number of halts by instrument, time and reason."""
    return Counter(
        f"{halt['symbol']} {plain_time(halt['time'] or 'before any time')} {halt['reason']}"
        for halt in outcome["halts"]
    )


def _cell(value: Any, key: str) -> str:
    if value is None or value == {}:
        return "-"
    if isinstance(value, dict):
        return ", ".join(f"{symbol} {qty:+,}" for symbol, qty in value.items())
    return price(value) if key.endswith("_e4") else screen.count(value)
