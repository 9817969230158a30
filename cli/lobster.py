"""`lockstep run --format lobster`: real order flow into a market, and the published book beside ours all along."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cli import errors, screen
from cli.begin import RunOptions, compare, goes_on, open_node
from cli.errors import WrongUse
from cli.options import EngineChoice
from cli.run import Tally, pump_node, show, watched
from cli.scenario import read_text
from cli.warmup import ready
from engine.limits import COMMANDS_PER_CALL_MAX
from engine.names import Directory
from journal import Journal
from replay.engines import MarketEngine
from replay.lobster import Flow, translate
from replay.lobster_check import Check, CheckReport, Difference
from replay.lobster_read import LobsterError, Messages, file_name, read_book, read_messages
from replay.lobster_text import Unreadable, decoded
from replay.resume import Beginning
from replay.scenario_print import price
from replay.scenario_words import Fault, price_e4


def run_lobster(options: RunOptions, *, as_json: bool) -> int:
    """Exit status 1 when --check found a row that differs where the data determines the book."""
    if len(options.files) != 1 or options.book is None:
        raise WrongUse("a LOBSTER run takes one message file and its order book; give MESSAGES --book BOOK50")
    told = file_name(options.files[0].name)
    symbol, date = options.symbol or told.symbol, options.date or told.date
    if not symbol or not date:
        raise WrongUse(
            f"the name {options.files[0].name} tells no symbol and date; give --symbol AAPL --date 2012-06-21"
        )
    tick_e4 = _tick_e4(options.tick)
    with screen.Bar("reading the files"):
        messages = read_messages(_text(options.files[0]), str(options.files[0]), date=date, tick_e4=tick_e4)
        book = read_book(_text(options.book), str(options.book), tick_e4=tick_e4)
        published = None
        if options.check is not None:
            published = read_book(_text(options.check), str(options.check), tick_e4=tick_e4)
    if published is not None and published.shape[1] >= book.shape[1]:
        # Where the book file ends first, the other one reveals what comes into sight.
        book = np.concatenate([book, published[len(book) :, : book.shape[1]]])
    continues = goes_on(options)
    # A directory is made or resumed only once the files are known to go together.
    given = (
        None
        if options.append
        else _follow(options, _translate(options, messages, book, symbol, told.levels, tick_e4), published)
    )
    if options.engine is EngineChoice.kernel:
        ready()
    met = compare(options, given.skip, given.place) if continues and given is not None else None
    journal, engine = open_node(options, met, given.see if given is not None and given.check is not None else None)
    with journal:
        if given is None:
            flow = _translate(options, messages, book, symbol, told.levels, tick_e4, engine.directory)
            given = _follow(options, flow, published, engine.seq + 1)
        _feed(options, given, messages, 0 if met is None else met.seq, journal, engine, as_json=as_json)
    if not as_json:
        _tell(given.flow, given.check, options.files[0])
    return errors.FOUND if given.check is not None and not given.check.report.passed else errors.FINE


@dataclass(frozen=True)
class _Given:
    """The commands of a message file, and what is compared while they run. ``first_seq``: of the first of them."""

    flow: Flow
    check: Check | None
    first_seq: int
    name: str

    def skip(self, _journal: Journal, beginning: Beginning, bar: screen.Bar) -> bool:
        """Take what the journal holds off the beginning; whether anything is left."""
        for rows in self.flow.batches(COMMANDS_PER_CALL_MAX):
            beginning.meet(rows)
            bar.to(beginning.seq, beginning.last_seq)
        return beginning.seq < len(self.flow.rows)

    def place(self, _index: int) -> str:
        """The file: a message may make several commands, so their places are its own."""
        return f"what {self.name} gives"

    def see(self, first_seq: int, commands: NDArray[Any], events: NDArray[Any]) -> None:
        """Compare the events of a block, as far as it is of this file."""
        last_seq = min(first_seq + len(commands), self.first_seq + len(self.flow.rows)) - 1
        if self.check is not None:
            self.check.see(events[events["seq"] <= last_seq], last_seq)


def _follow(options: RunOptions, flow: Flow, published: NDArray[np.int64] | None, first_seq: int = 1) -> _Given:
    check = None if published is None else Check(flow, published, first_seq=first_seq, name=str(options.check))
    return _Given(flow, check, first_seq, str(options.files[0]))


def _feed(
    options: RunOptions,
    given: _Given,
    messages: Messages,
    skip: int,
    journal: Journal,
    engine: MarketEngine,
    *,
    as_json: bool,
) -> None:
    """Everything behind the first ``skip`` commands into the node, and the summary."""
    tally = Tally()

    def publish(first_seq: int, commands: NDArray[Any], events: NDArray[Any]) -> None:
        tally(first_seq, commands, events)
        given.see(first_seq, commands, events)

    began = time.perf_counter()
    started, total = engine.seq, len(given.flow.rows) - skip
    with screen.Bar("running") as bar:
        source = watched(given.flow.batches(options.block_rows, skip), lambda: bar.to(engine.seq - started, total))
        pumped = pump_node(options, source, journal, engine, publish)
    seconds = time.perf_counter() - began
    more = _json(given.flow, given.check) if as_json else _facts(messages, given.flow, given.check)
    show(options, pumped, tally, journal, engine, seconds, started, as_json=as_json, more=more)


def _text(path: Path) -> str:
    """The text of a LOBSTER file, packed by gzip or not. Raises LobsterError and WrongUse."""
    if not path.is_file():  # a pipe, of which a look at its beginning would leave only the rest
        return read_text(path)
    try:
        return decoded(path.read_bytes())
    except Unreadable as error:
        raise LobsterError(f"{path}: {error}.") from error


def _tick_e4(tick: str) -> int:
    """The tick that the command line gave, in 1/10000. Raises WrongUse."""
    try:
        tick_e4 = price_e4(tick, "--tick")
    except Fault as error:
        raise WrongUse(f"{error}") from error
    if tick_e4 < 1:
        raise WrongUse(f"--tick is {tick}; give one from 0.0001 up, as 0.01")
    return tick_e4


def _translate(
    options: RunOptions,
    messages: Messages,
    book: NDArray[np.int64],
    symbol: str,
    levels: int,
    tick_e4: int,
    names: Directory | None = None,
) -> Flow:
    with screen.Bar("translating the messages"):
        return translate(
            messages,
            book,
            symbol=symbol,
            tick_e4=tick_e4,
            levels=levels,
            directory=names,
            book_name=f"{options.book}:1",
        )


def _facts(messages: Messages, flow: Flow, check: Check | None) -> dict[str, Any]:
    facts = {"messages": screen.count(len(messages.type)), "seeded levels": screen.count(flow.seeded)}
    if check is not None:
        report = check.report
        if report.revealed:
            facts["revealed"] = f"{screen.counted(report.revealed, 'level')} by later rows of the book file"
        facts["rows equal"] = f"{screen.count(report.equal)} of {screen.count(report.rows)}"
        if report.unpublished:
            facts["not compared"] = f"{screen.counted(report.unpublished, 'message')} without a published row"
        facts["trades"] = f"{screen.count(report.fills)} compared, {screen.count(len(report.fills_wrong))} wrong"
    return facts


def _json(flow: Flow, check: Check | None) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "messages": len(flow.rows_after),
        "seeded_levels": flow.seeded,
        "revealed_levels": flow.revealed,
    }
    facts["notes"] = [{"note": note.name.lower(), "count": number} for note, number in flow.counts().items()]
    facts["check"] = None
    if check is not None:
        report = check.report
        first = None if report.first is None else _difference(report.first)
        facts["check"] = {
            "passed": report.passed,
            "rows": report.rows,
            "equal": report.equal,
            "unpublished": report.unpublished,
            "unexplained": len(report.unexplained),
            "differences": [{"why": why, "count": number} for why, number in _by_reason(report).items()],
            "first": first,
            "fills": report.fills,
            "fills_wrong": report.fills_wrong,
        }
    return facts


def _by_reason(report: CheckReport) -> dict[str, int]:
    found: dict[str, int] = {}
    for difference in report.differences:
        name = difference.why.name.lower()
        found[name] = found.get(name, 0) + 1
    return found


def _difference(difference: Difference) -> dict[str, Any]:
    return {
        "line": difference.line,
        "level": difference.level,
        "expected": difference.expected,
        "got": difference.got,
        "why": difference.why.name.lower(),
    }


def _tell(flow: Flow, check: Check | None, file: Path) -> None:
    counts = flow.counts()
    if counts:
        first = {note: line for line, note in reversed(flow.notes)}
        rows = [(screen.count(number), f"{file.name}:{first[note]}", note.value) for note, number in counts.items()]
        screen.table(["messages", "first", "noticed"], rows, right=("messages",))
    if check is None:
        return
    report = check.report
    if report.first is not None:
        reasons = [(screen.count(number), why) for why, number in _by_reason(report).items()]
        screen.table(["rows that differ", "why"], reasons, right=("rows that differ",))
        shown = (report.unexplained or report.differences)[0]
        screen.say(f"first difference: message {shown.line}, level {shown.level}: {shown.why.value}")
        sides = (("published", shown.expected), ("lockstep", shown.got))
        screen.facts([(name, _level(row, shown.level)) for name, row in sides])
    for wrong in report.fills_wrong[:5]:
        screen.say(wrong)
    screen.verdict(report.passed, _verdict(report))


def _verdict(report: CheckReport) -> str:
    """Result of a check: rows that were not compared, or not whole, do not count as equal."""
    rows, equal = screen.counted(report.rows, "row"), screen.count(report.equal)
    if not report.agrees:
        return "DIFFERENT where the data determines the book"
    if not report.conclusive:
        return (
            f"NOT SHOWN: the data determines only {equal} of {rows} whole; give --book a row for each message, with as "
            "many levels"
        )
    if report.unpublished > report.rows:
        messages = screen.count(report.rows + report.unpublished)
        found = "no difference" if report.equal == report.rows else f"{equal} without a difference"
        return f"compared {screen.count(report.rows)} of {messages} messages, {found}; the rest has no published row"
    if report.equal < report.rows:
        said = f"equal wherever the data determines the book: {equal} of {rows} whole"
    else:
        said = f"equal on all {rows}" if report.unpublished else "equal on every row"
    if not report.unpublished:
        return said
    return f"{said}; the last {screen.counted(report.unpublished, 'message')} had no published row to compare with"


def _level(row: list[int], level: int) -> str:
    """Both sides of one level, from 1, of a row."""
    ask_e4, ask_qty, bid_e4, bid_qty = row[4 * level - 4 : 4 * level]
    offer, bid = (
        f"{qty} @ {price(price_e4)}" if qty else "none" for price_e4, qty in ((ask_e4, ask_qty), (bid_e4, bid_qty))
    )
    return f"offer {offer}, bid {bid}"
