"""State of the market at a moment: `lockstep book` and `lockstep state`."""

from pathlib import Path
from typing import Any, Final

from cli import errors, screen
from cli.errors import WrongUse
from cli.questions.holdings import chosen, in_force, only
from cli.questions.market_tables import show_accounts, show_book, show_positions, show_uses, show_waiting
from cli.questions.reading import check_name, rebuilt_at
from cli.questions.tokens import with_tokens
from engine.digest import state_digest
from engine.names import Directory, unpack
from engine.records import Phase, Side
from notation.moments import plain_time
from notation.words import duration, iso_time, of_day_word, price, there_are, time
from replay import accounts
from replay.ladder import book_object
from replay.scheduled import schedule_objects
from replay.waiting import waiting_objects

#: Phases to come that `lockstep state` prints; a month of sessions has 150.
_SCHEDULES_SHOWN: Final = 20


def book(directory: Path, symbol: str, at: str | None, depth: int, *, with_orders: bool, as_json: bool) -> int:
    """`lockstep book`: print the ladder of one instrument, and with ``with_orders`` each open order."""
    check_name(symbol, "instrument")
    rebuilt = rebuilt_at(directory, at, ids=False)
    engine = rebuilt.engine
    symbols = engine.directory.symbols
    if symbol not in symbols:
        where = f"{directory} after command {rebuilt.seq:,}"
        raise WrongUse(f"there is no instrument {symbol} in {where}; {there_are(symbols)}")
    found = book_object(engine, symbols.index(symbol) + 1, depth, orders_max=None if with_orders else 0)
    if found["phase"] == "halted":
        from cli.questions.halts import cause_of_halt  # it replays with both engines, which takes a while to load

        found["halt"] = cause_of_halt(directory, rebuilt.seq, symbol, symbols.index(symbol) + 1)
    if as_json:
        screen.print_json(found)
        return errors.FINE
    ids = [each["client_order_id"] for each in found["orders"] or ()]
    show_book(found, time(engine.now_ns), with_tokens(directory, ids))
    show_waiting(waiting_objects(engine))
    return errors.FINE


def state(directory: Path, at: str | None, participant: str | None, symbol: str | None, *, as_json: bool) -> int:
    """`lockstep state`: print digests, counts, positions and limits of the state.

    participant, symbol: only what is of them, and how much of the limits is used up.
    """
    rebuilt = chosen(directory, at, participant, symbol, ids=True)
    engine: Any = rebuilt.engine
    parts = engine.part_digests()
    names = engine.directory
    orders = engine.open_orders()
    about_orders = _of(orders, names, participant, symbol)
    instruments: list[dict[str, Any]] = []
    for number, row in enumerate(engine.instruments(), 1):
        if symbol not in (None, unpack(int(row["symbol"]))):
            continue
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
    indices: list[dict[str, Any]] = [
        {
            "index": unpack(int(row["name"])),
            "value_e4": int(row["value_e4"]),
            "opening_e4": int(row["opening_e4"]),
            "members": int(row["members"]),
            "level": int(row["reached"]) or None,
        }
        for row in engine.indices()
    ]
    scheduled = schedule_objects(engine)
    if symbol is not None:
        scheduled = [each for each in scheduled if each["symbol"] in (symbol, "*")]
    if as_json:
        about: dict[str, Any] = {"seq": rebuilt.seq, "time": iso_time(engine.now_ns)}
        about |= {"checkpoint_seq": rebuilt.checkpoint_seq or None}
        about |= {"epoch": engine.epoch, "speed_bump_ns": engine.speed_bump_ns, "day_start_ns": engine.day_start_ns}
        about |= {"waiting": waiting_objects(engine)}
        digests = {"state_digest": state_digest(parts).hex(), "event_digest": engine.event_digest.hex()}
        by_part = {
            "part_digests": {name: parts[name].hex() for name in sorted(parts)},
            "open_orders": len(about_orders),
        }
        who = [each for each in accounts.participants(engine) if participant in (None, each["participant"])]
        held = {"participants": who, "positions": only(accounts.positions(engine), participant, symbol)}
        limited = {
            "limits": in_force(accounts.limits(engine), participant, symbol),
            "uses": only(accounts.uses(engine), participant, symbol),
        }
        screen.print_json(
            about
            | digests
            | by_part
            | {"instruments": instruments, "schedules": scheduled, "indices": indices}
            | held
            | limited
        )
        return errors.FINE
    whose = (f" of {participant}" if participant is not None else "") + (f" in {symbol}" if symbol is not None else "")
    counted = {f"open_orders{whose}": len(about_orders)}
    counted |= {} if symbol is not None else {"instruments": len(instruments)}
    counted |= {} if participant is not None else {"participants": len(names.participants)}
    replayed = f"checkpoint {screen.count(rebuilt.checkpoint_seq)} and " if rebuilt.checkpoint_seq else ""
    screen.facts(
        [
            ("after command", screen.count(rebuilt.seq)),
            ("time", time(engine.now_ns)),
            ("epoch", screen.count(engine.epoch)),
            ("rebuilt from", f"{replayed}{screen.counted(rebuilt.seq - rebuilt.checkpoint_seq, 'command')}"),
            ("state digest", state_digest(parts).hex()),
            ("event digest", engine.event_digest.hex()),
            *((name.replace("open_orders", "open orders"), screen.count(number)) for name, number in counted.items()),
            *([("entry delay", duration(engine.speed_bump_ns))] if engine.speed_bump_ns else []),
            *([("day start", of_day_word(engine.day_start_ns))] if engine.day_start_ns else []),
        ]
    )
    screen.table(["part", "digest"], [(name, parts[name].hex()) for name in sorted(parts)])
    if instruments:
        if participant is not None:
            screen.print_line("instruments, with the open orders of all participants:")
        columns = ["symbol", "phase", "last", "buys", "sells", "open qty"]
        rows = [
            [price(value) if key == "last_price_e4" and value else _cell(value) for key, value in facts.items()]
            for facts in instruments
        ]
        screen.table(columns, rows, right=("last", "buys", "sells", "open qty"))
    if scheduled:
        screen.table(
            ["time", "symbol", "phase to come"],
            [[plain_time(each["time"]), each["symbol"], each["phase"]] for each in scheduled[:_SCHEDULES_SHOWN]],
        )
        if (more := len(scheduled) - _SCHEDULES_SHOWN) > 0:
            screen.print_line(f"and {screen.counted(more, 'phase')} more; --json has all")
    for facts in indices:
        reached = f"level {facts['level']} was reached today" if facts["level"] else "no level was reached today"
        values = f"{price(facts['value_e4'])}, opening value {price(facts['opening_e4'])}"
        screen.print_line(
            f"index {facts['index']} of {screen.counted(facts['members'], 'member')}: {values}; {reached}"
        )
    show_waiting(waiting_objects(engine))
    _show_accounts(engine, participant, symbol)
    return errors.FINE


def _cell(value: Any) -> str:
    return "-" if value is None else screen.count(value) if isinstance(value, int) else value


def _of(orders: Any, names: Directory, participant: str | None, symbol: str | None) -> Any:
    """OPEN_ORDER rows of a participant and of an instrument; None: of all."""
    if participant is not None:
        orders = orders[orders["participant"] == names.participants.index(participant) + 1]
    if symbol is not None:
        orders = orders[orders["instrument"] == names.symbols.index(symbol) + 1]
    return orders


def _show_accounts(engine: Any, participant: str | None, symbol: str | None) -> None:
    """Print open orders, positions and limits of participants, without empty rows; of one also what it uses of them."""
    if symbol is not None:
        screen.print_line("participants over all instruments; limits and uses too, where the symbol is -:")
    every = accounts.participants(engine)
    active = [facts for facts in every if facts["open_orders"] or facts["killed"] or participant is not None]
    show_accounts(
        ["participant", "open orders", "open notional", "killed"],
        [facts for facts in active if participant in (None, facts["participant"])],
    )
    number = 0 if participant is None else engine.directory.participants.index(participant) + 1
    show_positions(accounts.position_columns(engine, number, symbol))
    show_accounts(["participant", "symbol", "limits"], in_force(accounts.limits(engine), participant, symbol))
    if participant is not None or symbol is not None:
        show_uses(only(accounts.uses(engine), participant, symbol))
