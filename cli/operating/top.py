"""`lockstep top`: view of a running node, live on a terminal, a line a second elsewhere.

It shows the node's own reports through its operator socket. Books are requested less often than the rest, since listing
them is work for the node.
"""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cli import errors, screen
from cli.operating.admin import connected, session_object, status_object
from cli.operating.pair_report import pair_facts, report_object
from cli.operating.status import duration
from cli.operating.top_workings import summary, tables, tape_line
from node.operator.link import Link
from notation.moments import plain_time

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

_LIVE_S: Final = 0.5
_LINE_S: Final = 1.0
_BOOKS_S: Final = 2.0
_BOOKS: Final = 4
_SESSIONS: Final = 4
#: Columns of the view with two facts on a line, and lines of the view without tables of the workings.
_WIDE: Final = 80
_TALL: Final = 24

Sample = dict[str, Any]


def top(
    directory: Path,
    seconds: float | None,
    symbols: list[str],
    *,
    as_json: bool,
    once: bool = False,
    workings: bool = False,
) -> int:
    """Watch until ``seconds`` have passed or an interrupt, which is an ordinary end.

    once: everything, and no more. workings: on a terminal, the workings alone.
    """
    with connected(directory) as link:
        try:
            if once:
                _print_once(next(_samples(link, 0.0, symbols, _LINE_S)), as_json=as_json)
            elif as_json or not screen.is_live(sys.stdout):
                for sample in _samples(link, seconds, symbols, _LINE_S):
                    screen.print_line(screen.json_line(_object(sample)) if as_json else line(sample))
                    screen.flush()
            else:
                _watch(link, seconds, symbols, drawn_workings if workings else drawn)
        except KeyboardInterrupt:
            return errors.FINE
    return errors.FINE


def _print_once(sample: Sample, *, as_json: bool) -> None:
    if as_json:
        screen.print_line(screen.json_line(_object(sample)))
        return
    screen.print_line(line(sample))
    if sample["workings"] is None:
        return
    screen.print_line(tape_line(sample["workings"]))
    for each in tables(sample["workings"]):
        heads = [head for head, _ in each.heads]
        screen.print_line()
        screen.table(heads, each.rows, right=[head for head, number in each.heads if number])


def _samples(link: Link, seconds: float | None, symbols: list[str], every_s: float) -> Iterator[Sample]:
    """Answers of the node, at once and then at intervals: status, sessions (the first ones), and books."""
    began_s = time.monotonic()
    booked_s = -1e9
    books: list[Sample] = []
    at_s = 0.0
    while True:
        if time.monotonic() - booked_s >= _BOOKS_S:
            books = _books(link, symbols)
            booked_s = time.monotonic()
        sessions = link.ask("sessions")
        pair = link.ask("pair")["pair"]
        yield {
            "at_s": round(at_s, 3),
            "pair": pair if pair["role"] != "single" else None,
            "status": link.ask("status")["status"],
            "sessions": sessions["sessions"],
            "sessions_total": sessions["total"],
            "books": books,
            "workings": link.ask("workings")["workings"],
        }
        passed_s = time.monotonic() - began_s
        at_s = (passed_s // every_s + 1) * every_s  # at fixed times, however long the requests took
        if seconds is not None and at_s > seconds:
            time.sleep(max(0.0, seconds - passed_s))
            return
        time.sleep(at_s - passed_s)


def _object(sample: Sample) -> Sample:
    """A sample as a JSON object."""
    sessions = [session_object(each) for each in sample["sessions"]]
    pair = report_object(sample["pair"]) if sample["pair"] is not None else None
    rest = {"status": status_object(sample["status"]), "pair": pair, "sessions": sessions}
    last = {"books": sample["books"], "workings": sample["workings"]}
    return {"elapsed_s": sample["at_s"], **rest, "sessions_total": sample["sessions_total"], **last}


def _books(link: Link, symbols: list[str]) -> list[Sample]:
    """Best levels of the symbols, or of the first instruments."""
    chosen = symbols or link.ask("books")["symbols"][:_BOOKS]
    return [link.ask("books", symbol=symbol, depth=1)["book"] for symbol in chosen]


def line(sample: Sample) -> str:
    """A sample as one line."""
    status = sample["status"]
    rates = ", ".join(
        f"{screen.count(round(status.get(f'{what}_per_s', 0)))} {what}/s" for what in ("orders", "events", "trades")
    )
    answer = " ".join(f"{word} {_microseconds(status, 'order_to_answer', word)}" for word in ("p50", "p99", "p999"))
    return (
        f"{sample['at_s']:5.1f} s  {_not_open(status)}{_of_pair(sample)}"
        f"seq {screen.count(status.get('seq', 0))}, {rates}, "
        f"answered in {answer}, disk {_lag(status)} behind, {screen.counted(sample['sessions_total'], 'session')}, "
        f"digest {str(status.get('event_digest', ''))[:12]}, clock {_clock(status)}"
        f"{_of_processes(sample)}"
    )


def _of_processes(sample: Sample) -> str:
    """End of a line: processes of a node that has more than its own."""
    workings = sample.get("workings")
    return "" if workings is None or len(workings["processes"]) < 2 else f", {summary(workings)}"


def _not_open(status: Sample) -> str:
    """Beginning of a line: the state of a node that is not open, and a mark for warnings."""
    warning = "" if not status.get("warning") else "WARNING, "
    if status.get("diverged") and status.get("state") != "diverged":
        warning = "A COPY DIVERGED, "
    return warning if status.get("state", "open") == "open" else f"{str(status['state']).upper()}, {warning}"


def _of_pair(sample: Sample) -> str:
    """Part of a line about the pair; "" for a node that is not of one."""
    pair = sample.get("pair")
    return "" if pair is None else ", ".join(f"{name} {value}" for name, value, _ in pair_facts(pair)) + ", "


def _clock(status: Sample) -> str:
    """The market's clock, and the entry delay where there is one."""
    delay_ns = status.get("speed_bump_ns", 0)
    delayed = f", entry delay {duration(delay_ns)}" if delay_ns else ""
    return f"{plain_time(status.get('clock', 'unset'))}{delayed}"


def _lag(status: Sample) -> str:
    return screen.count(max(0, status.get("seq", 0) - status.get("durable_seq", 0)))


def _microseconds(status: Sample, stage: str, word: str) -> str:
    """A percentile of a stage in microseconds or milliseconds; "-" where there was none lately."""
    ns = status.get(f"latency_{stage}_{word}_ns", 0)
    if not ns:
        return "-"
    return f"{ns / 1e3:.1f} µs" if ns < 1_000_000 else f"{ns / 1e6:.1f} ms"


# The live view. Rich is loaded here only.


def _watch(link: Link, seconds: float | None, symbols: list[str], draw: "Callable[..., RenderableType]") -> None:
    with errors.output(), screen.live_view() as live:
        before = None
        for sample in _samples(link, seconds, symbols, _LIVE_S):
            live.update(draw(sample, live.console.width, live.console.height, before), refresh=True)
            before = sample


def drawn(sample: Sample, columns: int = _WIDE, lines: int = _TALL, before: Sample | None = None) -> "RenderableType":
    """A sample as a screen of 80 by 24: the node, rates, stages, books and sessions.

    Where there are more lines, those tables of the workings follow that fit. On a terminal with fewer columns each fact
    has a line of its own, whole, with what matters most on top. before: the sample before.
    """
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    status = sample["status"]
    if columns < _WIDE:
        return Group(*_above(sample), *_narrow(sample))
    grid = Table.grid(padding=(0, 3))
    grid.add_row(_facts(_about(status)), _facts(_flow(status)))
    grid.add_row("", "")
    grid.add_row(_stages(status), _best(sample["books"]))
    more = sample["sessions_total"] - len(sample["sessions"][:_SESSIONS])
    rest = Text(f"and {screen.count(more)} more" if more > 0 else "")
    return Group(*_above(sample), grid, Text(), _connected(sample), rest, *_below(sample, lines - _TALL, before))


def drawn_workings(sample: Sample, _columns: int, lines: int, before: Sample | None = None) -> "RenderableType":
    """A sample as a screen of the workings: the line of a sample, then what has room. Otherwise as ``drawn``."""
    from rich.console import Group
    from rich.text import Text

    said = Text(line(sample))
    return Group(*_above(sample), said, *_below(sample, lines - 4, before))


def _below(sample: Sample, room: int, before: Sample | None) -> "Iterator[RenderableType]":
    """The tape and tables of the workings, as many as have room, and the names of the others."""
    from rich.text import Text

    workings = sample.get("workings")
    if workings is None or room < 2:
        return
    yield Text()
    yield Text(tape_line(workings))
    room -= 2
    apart_s = sample["at_s"] - before["at_s"] if before is not None else 0.0
    left = list(tables(workings, None if before is None else before.get("workings"), apart_s))
    if sum(each.lines for each in left) > room:
        room -= 1
    while left and left[0].lines <= room:
        each = left.pop(0)
        room -= each.lines
        yield Text()
        yield _table(list(each.heads), each.rows)
    if left and room >= 0:
        names = ", ".join(each.heads[0][0] for each in left)
        yield Text(f"no room for: {names}; make the terminal taller, or give --once", overflow="ellipsis", no_wrap=True)


def _above(sample: Sample) -> "list[Text]":
    """Sentences for the operator, and the pair."""
    from rich.text import Text

    status = sample["status"]
    sentences = (str(status.get(key, "")) for key in ("state_reason", "warning"))
    style = "bold red" if status.get("diverged") else "yellow"
    above = [Text(sentence, style=style) for sentence in sentences if sentence]
    if sample.get("pair") is not None:
        above.append(_pair_line(sample["pair"]))
    return above


def _narrow(sample: Sample) -> "Iterator[Text]":
    """Facts of a sample, a line each."""
    from rich.text import Text

    status = sample["status"]
    about, flow = dict(_about(status)), dict(_flow(status))
    answered = ", ".join(f"{word} {_microseconds(status, 'order_to_answer', word)}" for word in ("p50", "p99"))
    facts = [
        ("state", about["state"]),
        ("sequence", flow["sequence"]),
        ("digest", about["digest"]),
        ("orders/s", flow["orders/s"]),
        ("trades/s", flow["trades/s"]),
        ("answered", answered),
        ("disk behind", flow["disk behind"]),
        ("disk free", about["disk free"]),
        ("memory", about["memory"]),
        ("clock", about["clock"]),
        ("sessions", screen.count(sample["sessions_total"])),
        *(("book", "{} bid {} offer {}".format(*_quotes(book))) for book in sample["books"]),
    ]
    for name, value in facts:
        yield Text().append(f"{name} ", style="cyan").append(value)


def _about(status: Sample) -> list[tuple[str, str]]:
    return [
        ("state", f"{status.get('state', 'unknown')}, {status.get('durability', '?')}"),
        ("up", _duration(status.get("uptime_s", 0))),
        ("clock", _clock(status)),
        ("discipline", str(status.get("clock_discipline", "unknown"))),
        ("digest", str(status.get("event_digest", ""))),
        ("memory", screen.size(status.get("memory_rss_bytes", 0))),
        ("journal", screen.size(status.get("journal_bytes", 0))),
        ("disk free", screen.size(status.get("disk_free_bytes", 0))),
    ]


def _flow(status: Sample) -> list[tuple[str, str]]:
    rates = [
        (f"{what}/s", screen.count(round(status.get(f"{what}_per_s", 0))))
        for what in ("commands", "orders", "events", "trades")
    ]
    return [
        *rates,
        ("sequence", screen.count(status.get("seq", 0))),
        ("disk behind", _lag(status)),
        ("held rows", screen.count(status.get("held_rows", 0))),
        ("checkpoint", screen.count(status.get("checkpoint_seq", 0))),
    ]


def _duration(seconds: float) -> str:
    """Hours, minutes and seconds.

    >>> _duration(3_725.4)
    '1:02:05'
    """
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def _facts(pairs: list[tuple[str, str]]) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    for name, value in pairs:
        table.add_row(Text(name, style="cyan"), Text(value))
    return table


def _pair_line(pair: Sample) -> "Text":
    """The pair in a line; red where an operator must look."""
    from rich.text import Text

    shown = Text()
    for name, value, style in pair_facts(pair):
        shown.append(f"{name} ", style="cyan").append(value, style=style).append("  ")
    return shown


def _table(heads: list[tuple[str, bool]], rows: list[list[str]]) -> "Table":
    """heads: name, and True for a column of numbers."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold cyan")
    for name, number in heads:
        table.add_column(name, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def _stages(status: Sample) -> "Table":
    names = [key.removeprefix("latency_").removesuffix("_p50_ns") for key in status if key.endswith("_p50_ns")]
    rows = [
        [name.replace("_", " "), *(_microseconds(status, name, word) for word in ("p50", "p99", "p999"))]
        for name in names
    ]
    return _table([("last 10 s", False), ("p50", True), ("p99", True), ("p99.9", True)], rows)


def _named(book: Sample) -> str:
    """Symbol of a book, with a phase that is not continuous."""
    return f"{book['symbol']}" if book["phase"] == "continuous" else f"{book['symbol']} {book['phase']}"


def _quotes(book: Sample) -> list[str]:
    """Symbol, best bid and best offer of a book."""
    from cli.questions.market_tables import shown_price

    prices = (shown_price(book[side][0]["price_e4"] or 0) if book[side] else "-" for side in ("bids", "offers"))
    return [_named(book), *prices]


def _best(books: list[Sample]) -> "Table":
    from cli.questions.market_tables import shown_price

    rows = [_quotes(book) for book in books]
    lasts = [shown_price(book["last_price_e4"]) if book["last_price_e4"] else "-" for book in books]
    heads = [("book", False), ("bid", True), ("offer", True), ("last", True)]
    return _table(heads, [[*row, last] for row, last in zip(rows, lasts, strict=True)])


def _connected(sample: Sample) -> "Table":
    columns = ("user", "participant", "address", "state", "next_seq", "lag_bytes")
    rows = [[str(session.get(column, "")) for column in columns] for session in sample["sessions"][:_SESSIONS]]
    return _table([(column.replace("_", " "), column in ("next_seq", "lag_bytes")) for column in columns], rows)
