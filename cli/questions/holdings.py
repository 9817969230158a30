"""Positions and limits of participants at a moment: `lockstep positions` and `lockstep limits`."""

from pathlib import Path
from typing import Any

from cli import errors, screen
from cli.errors import WrongUse
from cli.questions.reading import check_name, rebuilt_at
from notation.print import limit_words
from notation.words import iso_time, price, there_are, time
from replay import accounts
from replay.rebuild import Rebuild

Facts = dict[str, Any]


def positions(
    directory: Path, at: str | None, participant: str | None, symbol: str | None, *, as_json: bool = False
) -> int:
    """`lockstep positions`: print positions and open quantities, valued at the last trade price."""
    rebuilt = chosen(directory, at, participant, symbol)
    lasts = {
        name: int(row["last_trade_e4"]) or None
        for name, row in zip(rebuilt.engine.directory.symbols, rebuilt.engine.instruments(), strict=True)
    }
    number = 0 if participant is None else rebuilt.engine.directory.participants.index(participant) + 1
    found = accounts.position_columns(rebuilt.engine, number, symbol)
    found["last_price_e4"] = last_e4 = [lasts[name] for name in found["symbol"]]
    held = zip(last_e4, found["position_qty"], strict=True)
    found["value_e4"] = [price_e4 * qty if price_e4 else None for price_e4, qty in held]
    if as_json:
        rows = [dict(zip(found, each, strict=True)) for each in zip(*found.values(), strict=True)]
        screen.print_json(_about(rebuilt) | {"positions": rows})
        return errors.FINE
    _head(rebuilt)
    shown_last = {price_e4: price(price_e4) if price_e4 else "-" for price_e4 in lasts.values()}
    columns = {
        "participant": found["participant"],
        "symbol": found["symbol"],
        "position": [f"{qty:,}" for qty in found["position_qty"]],
        "last": [shown_last[price_e4] for price_e4 in last_e4],
        "value": ["-" if value_e4 is None else price(value_e4) for value_e4 in found["value_e4"]],
        "open buys": [f"{qty:,}" for qty in found["open_buy_qty"]],
        "open sells": [f"{qty:,}" for qty in found["open_sell_qty"]],
    }
    if last_e4:
        screen.table_of_columns(columns, right=list(columns)[2:])
    return errors.FINE


def limits(
    directory: Path, at: str | None, participant: str | None, symbol: str | None, *, as_json: bool = False
) -> int:
    """`lockstep limits`: print the limits that are set, of participants and of participants in an instrument."""
    rebuilt = chosen(directory, at, participant, symbol)
    rows = in_force(accounts.limits(rebuilt.engine), participant, symbol)
    if as_json:
        screen.print_json(_about(rebuilt) | {"limits": rows})
        return errors.FINE
    _head(rebuilt)
    cells = [[row["participant"], row["symbol"] or "-", limit_words(row["limits"])] for row in rows]
    if cells:
        screen.table(["participant", "symbol", "limits"], cells)
    return errors.FINE


def chosen(
    directory: Path, at: str | None, participant: str | None, symbol: str | None, *, ids: bool = False
) -> Rebuild:
    """The market at a moment, ``ids`` as for ``rebuilt_at``. Raises WrongUse for names that it does not know."""
    check_name(participant, "participant")
    check_name(symbol, "instrument")
    rebuilt = rebuilt_at(directory, at, ids=ids)
    names = rebuilt.engine.directory
    for name, known, what in ((participant, names.participants, "participant"), (symbol, names.symbols, "instrument")):
        if name is not None and name not in known:
            where = f"{directory} after command {rebuilt.seq:,}"
            raise WrongUse(f"there is no {what} {name} in {where}; {there_are(known)}")
    return rebuilt


def only(rows: list[Facts], participant: str | None, symbol: str | None) -> list[Facts]:
    """The rows of a participant and of a symbol; None: of all. Those over all instruments hold in each of them too."""
    return [
        row
        for row in rows
        if participant in (None, row["participant"]) and (symbol is None or row["symbol"] in (None, symbol))
    ]


def in_force(rows: list[Facts], participant: str | None, symbol: str | None) -> list[Facts]:
    """Limits (``accounts.limits``) of a participant, and those that hold in a symbol.

    A limit of a participant in an instrument goes before the same one over all instruments, which is left out then.
    """
    chosen_rows = only(rows, participant, symbol)
    if symbol is None:
        return chosen_rows
    own = {row["participant"]: row["limits"] for row in chosen_rows if row["symbol"] is not None}
    found = []
    for row in chosen_rows:
        limits = row["limits"]
        if row["symbol"] is None and row["participant"] in own:
            narrower = own[row["participant"]]
            limits = {
                key: None if narrower[key] not in (None, False) and key != "restricted" else value
                for key, value in limits.items()
            }
        if any(value not in (None, False) for value in limits.values()):
            found.append(row | {"limits": limits})
    return found


def _about(rebuilt: Rebuild) -> Facts:
    return {"seq": rebuilt.seq, "time": iso_time(rebuilt.engine.now_ns)}


def _head(rebuilt: Rebuild) -> None:
    screen.print_line(f"after command {screen.count(rebuilt.seq)} at {time(rebuilt.engine.now_ns)}")
