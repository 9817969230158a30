"""The market as it stood at a moment: `lockstep book` and `lockstep state`."""

from pathlib import Path
from typing import Any, Final

from cli import errors, screen
from cli.errors import WrongUse
from cli.node import check_name, rebuilt_at
from engine.names import unpack
from engine.records import Phase, Side
from notation.words import iso_time, price, time
from replay import accounts
from replay.ladder import Level, book_object, levels

#: Lines of a table of positions or limits; what is more is counted, and in the JSON.
_LINES_MAX: Final = 50


def book(directory: Path, symbol: str, at: str | None, depth: int, *, as_json: bool) -> int:
    """`lockstep book`: the ladder of one instrument."""
    check_name(symbol, "instrument")
    rebuilt = rebuilt_at(directory, at)
    engine = rebuilt.engine
    symbols = engine.directory.symbols
    if symbol not in symbols:
        known = f"there are {', '.join(symbols[:10])}" if symbols else "there is none"
        raise WrongUse(f"there is no instrument {symbol} in {directory} after command {rebuilt.seq}; {known}")
    number = symbols.index(symbol) + 1
    if as_json:
        screen.say_json(book_object(engine, number, depth))
        return errors.FINE
    instrument = engine.instruments()[number - 1]
    orders = engine.open_orders(number)
    bids, offers = levels(orders, Side.BUY)[:depth], levels(orders, Side.SELL)[:depth]
    last_e4 = int(instrument["last_trade_e4"])
    phase = Phase(int(instrument["phase"])).name.lower()
    last = f"last {price(last_e4)}" if last_e4 else "no trade yet"
    screen.say(f"{symbol}  {phase}  {last}  after command {screen.count(rebuilt.seq)} at {time(engine.now_ns)}")
    if not bids and not offers:
        screen.say("the book is empty")
        return errors.FINE
    screen.table(*ladder(bids, offers), right=("orders", "bid qty", "bid", "offer qty", "offers"))
    return errors.FINE


def ladder(bids: list[Level], offers: list[Level]) -> tuple[list[str], list[list[str]]]:
    """Column heads and rows of a ladder: best prices on top, bids to the left, offers to the right."""
    rows = []
    for at in range(max(len(bids), len(offers))):
        left = _bid_cells(bids[at]) if at < len(bids) else ["", "", ""]
        right = _bid_cells(offers[at])[::-1] if at < len(offers) else ["", "", ""]
        rows.append(left + right)
    return ["orders", "bid qty", "bid", "offer", "offer qty", "offers"], rows


def _bid_cells(level: Level) -> list[str]:
    return [screen.count(level.orders), screen.count(level.qty), shown_price(level.price_e4)]


def shown_price(price_e4: int) -> str:
    """The price of an open order for people: a market order that waits for an auction has none.

    >>> shown_price(100500), shown_price(0)
    ('10.05', 'market')
    """
    return price(price_e4) if price_e4 else "market"


def state(directory: Path, at: str | None, *, as_json: bool) -> int:
    """`lockstep state`: what the whole state is, in digests, counts, positions and limits."""
    rebuilt = rebuilt_at(directory, at)
    engine: Any = rebuilt.engine
    parts = engine.part_digests()
    names = engine.directory
    orders = engine.open_orders()
    instruments: list[dict[str, Any]] = []
    for number, row in enumerate(engine.instruments(), 1):
        own = orders[orders["instrument"] == number]
        last_e4 = int(row["last_trade_e4"])
        instruments.append(
            {
                "symbol": unpack(int(row["symbol"])),
                "phase": Phase(int(row["phase"])).name.lower(),
                "last_price_e4": last_e4 or None,
                "open_buys": int((own["side"] == Side.BUY).sum()),
                "open_sells": int((own["side"] == Side.SELL).sum()),
                "open_qty": int(own["leaves_qty"].sum()),
            }
        )
    if as_json:
        about = {"seq": rebuilt.seq, "time": iso_time(engine.now_ns), "checkpoint_seq": rebuilt.checkpoint_seq or None}
        digests = {"state_digest": engine.state_digest().hex(), "event_digest": engine.event_digest.hex()}
        by_part = {"part_digests": {name: parts[name].hex() for name in sorted(parts)}, "open_orders": len(orders)}
        held = {"participants": accounts.participants(engine), "positions": accounts.positions(engine)}
        limited = {"limits": accounts.limits(engine)}
        screen.say_json(about | digests | by_part | {"instruments": instruments} | held | limited)
        return errors.FINE
    counted = {"open_orders": len(orders), "instruments": len(instruments), "participants": len(names.participants)}
    replayed = f"checkpoint {screen.count(rebuilt.checkpoint_seq)} and " if rebuilt.checkpoint_seq else ""
    screen.facts(
        [
            ("after command", screen.count(rebuilt.seq)),
            ("time", time(engine.now_ns)),
            ("rebuilt from", f"{replayed}{screen.counted(rebuilt.seq - rebuilt.checkpoint_seq, 'command')}"),
            ("state digest", engine.state_digest().hex()),
            ("event digest", engine.event_digest.hex()),
            *((name.replace("_", " "), screen.count(number)) for name, number in counted.items()),
        ]
    )
    screen.table(["part", "digest"], [(name, parts[name].hex()) for name in sorted(parts)])
    if instruments:
        columns = ["symbol", "phase", "last", "buys", "sells", "open qty"]
        rows = [
            [
                price(value) if key == "last_price_e4" and value else "-" if value is None else value
                for key, value in facts.items()
            ]
            for facts in instruments
        ]
        screen.table(columns, rows, right=("last", "buys", "sells", "open qty"))
    _show_accounts(engine)
    return errors.FINE


def _show_accounts(engine: Any) -> None:
    """Open orders, positions and limits of participants, without empty rows."""
    whole = accounts.participants(engine)
    active = [facts for facts in whole if facts["open_orders"] or facts["killed"]]
    shown = [facts | {"open_notional": price(facts["open_notional_e4"])} for facts in active]
    _table(["participant", "open orders", "open notional", "killed"], shown)
    _table(["participant", "symbol", "position qty", "open buy qty", "open sell qty"], accounts.positions(engine))
    limited = [facts | {"limits": accounts.limit_words(facts["limits"])} for facts in accounts.limits(engine)]
    _table(["participant", "symbol", "limits"], limited)


def _table(columns: list[str], facts: list[dict[str, Any]]) -> None:
    """The first lines of a list of facts, by the names of its columns; nothing of an empty list."""
    if not facts:
        return
    rows = [[_cell(each[column.replace(" ", "_")]) for column in columns] for each in facts[:_LINES_MAX]]
    screen.table(columns, rows, right=[column for column in columns if column.startswith(("open", "position"))])
    if len(facts) > _LINES_MAX:
        screen.say(f"and {screen.count(len(facts) - _LINES_MAX)} more; --json has them all")


def _cell(value: Any) -> str:
    """A fact in a table: a count with its thousands apart, yes or no, - for nothing."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return screen.count(value)
    return "-" if value is None else str(value)
