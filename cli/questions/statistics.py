"""`lockstep stats`: volumes, prices, spreads and shares of a range of a journal, and bars."""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from cli import errors, screen
from cli.errors import WrongUse
from cli.questions.choice import Selection
from cli.questions.history import chosen_plays
from cli.questions.market_tables import shown_price
from cli.questions.reports import room_of
from engine.bounds import DAY_NS, SECOND_NS
from engine.market_time import clock_at_each
from marketdata import Ladders
from marketdata.index_levels import IndexDefinition, IndexLevels, LevelBar, read_definition
from marketdata.statistics import Bar, Share, Statistics, Totals
from notation.words import Fault, duration, duration_ns, iso_time, there_are, time
from reports import Reports

BY_SYMBOL: Final = "symbol"
BY_PARTICIPANT: Final = "participant"
BY_BOTH: Final = "symbol,participant"
BY: Final = (BY_SYMBOL, BY_PARTICIPANT, BY_BOTH)

Facts = dict[str, Any]


def width_of(word: str | None) -> int | None:
    """Width of bars in ns; None for no bars. Raises WrongUse."""
    if word is None:
        return None
    try:
        width_ns = duration_ns(word, "--bars")
    except Fault:  # its sentence proposes widths that bars cannot have
        width_ns = 0
    if width_ns % SECOND_NS or not 0 < width_ns <= DAY_NS:
        raise WrongUse(f"--bars is {word!r}; write whole seconds from 1s to 1d, with their unit, such as 30s or 1m")
    return width_ns


def statistics(directory: Path, selection: Selection, by: str, width_ns: int | None, *, as_json: bool) -> int:
    """Print the statistics of a range."""
    selection.check()
    if by not in BY:
        raise WrongUse(f"--by is {by!r}; it is one of {', '.join(BY)}")
    if width_ns is not None and by != BY_SYMBOL:
        raise WrongUse("bars are of instruments; leave --by out")
    if selection.participant is not None and by == BY_SYMBOL:
        what = "totals of an instrument" if width_ns is None else "bars"
        then = f"give --by {BY_PARTICIPANT} or --by {BY_BOTH} too" if width_ns is None else "leave --participant out"
        raise WrongUse(f"{what} are of all participants; {then}")
    counted, begin_ns, end_ns = _counted(directory, selection, width_ns)
    for name, known, what in (
        (selection.symbol, counted.symbols, "instrument"),
        (selection.participant, counted.participants, "participant"),
    ):
        if name is not None and name not in known.values():
            raise WrongUse(f"there is no {what} {name} in {directory}; {there_are(list(known.values()))}")
    if width_ns is not None:
        rows = _bars(counted, selection)
    else:
        rows = list(_totals(counted, selection) if by == BY_SYMBOL else _shares(counted, selection, by))
    if as_json:
        about = {"from": iso_time(begin_ns), "to": iso_time(end_ns), "by": "bar" if width_ns else by}
        screen.print_json(
            about | {"width_ns": width_ns, "digest": counted.digest(), "divisor": None, "statistics": rows}
        )
        return errors.FINE
    wide = f", bars of {duration(width_ns)}" if width_ns else ""
    screen.print_line(f"{time(begin_ns)} to {time(end_ns)}{wide}")
    columns, cells = _bar_table(rows) if width_ns else _total_table(rows) if by == BY_SYMBOL else _share_table(rows, by)
    if cells:
        screen.table(columns, cells, right=[name for name in columns if name not in _WORDS])
    return errors.FINE


def index_levels(directory: Path, selection: Selection, file: Path, width_ns: int | None, *, as_json: bool) -> int:
    """Print the levels of an index of a file, over a range."""
    selection.check()
    try:
        definition = read_definition(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise WrongUse(f"--index {file} cannot be read: {error.strerror}; name a file with an index") from None
    except UnicodeDecodeError:
        raise WrongUse(f"--index {file} is no text; name a file with an index in JSON") from None
    except ValueError as error:
        raise WrongUse(f"--index {file}: {error}") from None
    levels, begin_ns, end_ns = _followed(directory, selection, definition, width_ns)
    bars = sorted(levels.bars.items()) if width_ns else [(begin_ns, levels.all)]
    rows = [_level_row(definition.name, at_ns, bar) for at_ns, bar in bars]
    if as_json:
        about = {"from": iso_time(begin_ns), "to": iso_time(end_ns), "by": "index"}
        divisor = None if levels.divisor is None else str(levels.divisor)
        about |= {"digest": levels.digest(), "divisor": divisor}
        screen.print_json(about | {"width_ns": width_ns, "statistics": rows})
        return errors.FINE
    wide = f", bars of {duration(width_ns)}" if width_ns else ""
    screen.print_line(f"{time(begin_ns)} to {time(end_ns)}{wide}")
    columns = ["index", "begin", "open", "high", "low", "close"]
    cells = [[row["index"], time(row["begin_ns"]), *(_level(row[name]) for name in columns[2:])] for row in rows]
    if cells:
        screen.table(columns, cells, right=columns[2:])
    return errors.FINE


def _followed(
    directory: Path, selection: Selection, definition: IndexDefinition, width_ns: int | None
) -> tuple[IndexLevels, int, int]:
    """Levels of an index in a range, and the clock of its first command and of its last, ns since 1970."""
    from_seq = selection.from_seq or 1
    fold = Reports(room_of(directory, selection))
    levels: IndexLevels | None = None
    begin_ns = now_ns = 0
    for block in chosen_plays(directory, replace(selection, from_seq=1)):
        play = block.play
        clock_ns = clock_at_each(play.commands, block.position)
        reports = fold.make(play.first_seq, play.commands, play.events)
        now_ns = int(clock_ns[-1])
        if levels is None:
            levels = IndexLevels(definition, width_ns=width_ns, begin_seq=from_seq)
        if play.first_seq <= from_seq < play.first_seq + len(play.commands):
            begin_ns = int(clock_ns[from_seq - play.first_seq])
        try:
            levels.take(reports)
            levels.advance(now_ns)
        except ValueError as error:
            raise WrongUse(str(error)) from None
    levels = levels or IndexLevels(definition, width_ns=width_ns)
    for symbol in definition.members:
        if symbol not in levels.symbols:
            known = ", ".join(levels.symbols[:10]) or "none"
            raise WrongUse(
                f"index {definition.name} names {symbol}, which is no instrument of {directory}; there are {known}"
            )
    return levels, begin_ns, now_ns


def _level_row(name: str, begin_ns: int, bar: LevelBar) -> Facts:
    exact = {each: getattr(bar, each) for each in ("open", "high", "low", "close")}
    texts = {each: None if level is None else str(level) for each, level in exact.items()}
    return {"index": name, "begin": iso_time(begin_ns), "begin_ns": begin_ns, **texts}


def _level(exact: str | None) -> str:
    """A level with two decimals, rounded half to even."""
    if exact is None:
        return "-"
    units, cents = divmod(round(Fraction(exact) * 100), 100)
    return f"{units:,}.{cents:02d}"


def _counted(directory: Path, selection: Selection, width_ns: int | None) -> tuple[Statistics, int, int]:
    """Statistics of a range, and the clock of its first command and of its last, ns since 1970."""
    from_seq = selection.from_seq or 1
    capacity = room_of(directory, selection)
    fold, ladders = Reports(capacity), Ladders(capacity)
    counted: Statistics | None = None
    names = Statistics()
    begin_ns = now_ns = 0
    for block in chosen_plays(directory, replace(selection, from_seq=1)):
        play = block.play
        clock_ns = clock_at_each(play.commands, block.position)
        reports = fold.make(play.first_seq, play.commands, play.events)
        _, quotes = ladders.take(reports)
        if counted is None and play.first_seq + len(play.commands) > from_seq:
            begin_ns = int(clock_ns[from_seq - play.first_seq])
            counted = Statistics(width_ns=width_ns, begin_ns=begin_ns)
        if counted is None:
            names.learn(reports)
        else:
            counted.learn(reports)
            counted.take(reports[reports["seq"] >= from_seq], quotes[quotes["seq"] >= from_seq])
        now_ns = int(clock_ns[-1])
    if counted is None:
        counted = Statistics(width_ns=width_ns)
    counted.symbols = names.symbols | counted.symbols
    counted.participants = names.participants | counted.participants
    counted.end(ladders.tables.quotes, now_ns)
    return counted, begin_ns, now_ns


def _e4(value: Fraction | None) -> int | None:
    """A mean in e4, rounded half to even; None for none."""
    return None if value is None else round(value)


def _prices(bar: Bar) -> Facts:
    return {
        "open_e4": bar.open_e4 or None,
        "high_e4": bar.high_e4 or None,
        "low_e4": bar.low_e4 or None,
        "close_e4": bar.close_e4 or None,
        "qty": bar.qty,
        "notional_e4": bar.notional_e4,
        "trades": bar.trades,
        "vwap_e4": _e4(bar.vwap_e4),
    }


def _totals(counted: Statistics, selection: Selection) -> Iterator[Facts]:
    for number, symbol in sorted(counted.symbols.items()):
        if selection.symbol not in (None, symbol):
            continue
        total = counted.totals.get(number, Totals())
        yield {
            "symbol": symbol,
            **_prices(total),
            "official_open_e4": total.opened_e4 or None,
            "official_close_e4": total.closed_e4 or None,
            "auction_qty": total.auction_qty,
            "midpoint_qty": total.midpoint_qty,
            "cross_qty": total.cross_qty,
            "continuous_ns": total.continuous_ns,
            "quoted_ns": total.quoted_ns,
            "spread_e4": _e4(total.spread_e4),
            "flow_imbalance_qty": total.flow_imbalance_qty,
        }


def _shares(counted: Statistics, selection: Selection, by: str) -> Iterator[Facts]:
    """Shares of participants, in all instruments or in each, those with most volume first."""
    sums: dict[tuple[str, str], Share] = {}
    volume_of: dict[str, int] = {}
    for (who, what), share in counted.shares.items():
        symbol = counted.symbols[what]
        if selection.symbol not in (None, symbol):
            continue
        key = symbol if by == BY_BOTH else ""
        volume_of[key] = volume_of.get(key, 0) + share.bought_qty
        total = sums.setdefault((key, counted.participants[who]), Share())
        for name in vars(share):
            setattr(total, name, getattr(total, name) + getattr(share, name))
    for (symbol, name), total in sorted(
        sums.items(), key=lambda item: (item[0][0], -item[1].bought_qty - item[1].sold_qty, item[0][1])
    ):
        if selection.participant not in (None, name):
            continue
        part = Fraction(10_000 * (total.bought_qty + total.sold_qty), 2 * volume_of[symbol])
        yield {"symbol": symbol or None, "participant": name, **vars(total), "share_bps": round(part)}


def _bars(counted: Statistics, selection: Selection) -> list[Facts]:
    return [
        {"symbol": counted.symbols[number], "begin": iso_time(begin_ns), "begin_ns": begin_ns, **_prices(bar)}
        for (number, begin_ns), bar in sorted(counted.bars.items())
        if selection.symbol in (None, counted.symbols[number])
    ]


_WORDS: Final = ("symbol", "participant", "begin")


def _shown(price_e4: int | None) -> str:
    return shown_price(price_e4) if price_e4 else "-"


def _total_table(rows: list[Facts]) -> tuple[list[str], list[list[str]]]:
    columns = ["symbol", "trades", "qty", "open", "high", "low", "close", "vwap", "spread", "quoted"]
    return columns, [
        [
            row["symbol"],
            screen.count(row["trades"]),
            screen.count(row["qty"]),
            *(_shown(row[f"{name}_e4"]) for name in ("official_open", "high", "low", "official_close", "vwap")),
            _shown(row["spread_e4"]) if row["spread_e4"] is not None else "-",
            f"{100 * row['quoted_ns'] // row['continuous_ns']}%" if row["continuous_ns"] else "-",
        ]
        for row in rows
    ]


def _bar_table(rows: list[Facts]) -> tuple[list[str], list[list[str]]]:
    columns = ["symbol", "begin", "open", "high", "low", "close", "qty", "trades", "vwap"]
    return columns, [
        [
            row["symbol"],
            time(row["begin_ns"]),
            *(_shown(row[f"{name}_e4"]) for name in ("open", "high", "low", "close")),
            screen.count(row["qty"]),
            screen.count(row["trades"]),
            _shown(row["vwap_e4"]),
        ]
        for row in rows
    ]


def _share_table(rows: list[Facts], by: str) -> tuple[list[str], list[list[str]]]:
    columns = ["participant", "trades", "bought", "sold", "added", "removed", "share"]
    cells = [
        [
            row["participant"],
            *(screen.count(row[name]) for name in ("trades", "bought_qty", "sold_qty", "added_qty", "removed_qty")),
            f"{row['share_bps'] // 100}.{row['share_bps'] % 100:02d}%",
        ]
        for row in rows
    ]
    if by == BY_BOTH:
        return ["symbol", *columns], [[row["symbol"], *each] for row, each in zip(rows, cells, strict=True)]
    return columns, cells
