"""`lockstep run --format lobster`: real order flow into a market, and the published book beside ours all along."""

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cli import errors, screen
from cli.errors import WrongUse
from cli.options import EngineChoice
from cli.run import RunOptions, Tally, open_node, pump_node, show, watched
from cli.scenario import read_text
from cli.warmup import ready
from engine.names import Directory
from replay.lobster import Flow, translate
from replay.lobster_check import Check, CheckReport, Difference
from replay.lobster_read import Messages, file_name, read_book, read_messages
from replay.scenario_print import price


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
    with screen.Bar("reading the files"):
        messages = read_messages(read_text(options.files[0]), str(options.files[0]), date=date)
        book = read_book(read_text(options.book), str(options.book))
        published = None if options.check is None else read_book(read_text(options.check), str(options.check))
    flow = None
    if not (options.data / "journal").exists():
        # A new directory is made only once the files are known to go together.
        flow = _translate(messages, book, symbol, told.levels, Directory())
    if options.engine is EngineChoice.kernel:
        ready()
    journal, engine = open_node(options)
    with journal:
        if flow is None:
            flow = _translate(messages, book, symbol, told.levels, engine.directory)
        name = str(options.check)
        check = None if published is None else Check(flow, published, first_seq=engine.seq + 1, name=name)
        tally = Tally()

        def publish(first_seq: int, commands: NDArray[Any], events: NDArray[Any]) -> None:
            tally(first_seq, commands, events)
            if check is not None:
                check.see(events, first_seq + len(commands) - 1)

        began = time.perf_counter()
        first_seq, total = engine.seq, len(flow.rows)
        with screen.Bar("running") as bar:
            source = watched(flow.batches(options.block_rows), lambda: bar.to(engine.seq - first_seq, total))
            pumped = pump_node(options, source, journal, engine, publish)
        seconds = time.perf_counter() - began
        more = _json(flow, check) if as_json else _facts(messages, flow, check)
        show(options, pumped, tally, journal, engine, seconds, as_json=as_json, more=more)
    if not as_json:
        _tell(flow, check, options.files[0])
    return errors.FOUND if check is not None and not check.report.passed else errors.FINE


def _translate(messages: Messages, book: NDArray[np.int64], symbol: str, levels: int, names: Directory) -> Flow:
    with screen.Bar("translating the messages"):
        return translate(messages, book, symbol=symbol, levels=levels, directory=names)


def _facts(messages: Messages, flow: Flow, check: Check | None) -> dict[str, Any]:
    facts = {"messages": screen.count(len(messages.type)), "seeded levels": screen.count(flow.seeded)}
    if check is not None:
        report = check.report
        facts["rows equal"] = f"{screen.count(report.equal)} of {screen.count(report.rows)}"
        facts["trades"] = f"{screen.count(report.fills)} compared, {screen.count(len(report.fills_wrong))} wrong"
    return facts


def _json(flow: Flow, check: Check | None) -> dict[str, Any]:
    facts: dict[str, Any] = {"messages": len(flow.rows_after), "seeded": flow.seeded}
    facts["notes"] = {note.name.lower(): number for note, number in flow.counts().items()}
    if check is not None:
        report = check.report
        first = None if report.first is None else _difference(report.first)
        facts["check"] = {
            "passed": report.passed,
            "rows": report.rows,
            "equal": report.equal,
            "unexplained": len(report.unexplained),
            "differences": _by_reason(report),
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
        "expected": difference.expected,
        "got": difference.got,
        "why": str(difference.why.value),
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
        screen.say(f"first difference: message {shown.line}: {shown.why.value}")
        screen.facts([("published", _levels(shown.expected)), ("lockstep", _levels(shown.got))])
    for wrong in report.fills_wrong[:5]:
        screen.say(wrong)
    said = "equal on every row" if report.equal == report.rows else "equal wherever the data determines the book"
    screen.verdict(report.passed, said if report.passed else "DIFFERENT where the data determines the book")


def _levels(row: list[int]) -> str:
    best = [
        f"{size} @ {price(price_e4)}" if size else "none" for price_e4, size in zip(row[0:4:2], row[1:4:2], strict=True)
    ]
    return f"best offer {best[0]}, best bid {best[1]}" + (
        f" and {len(row) // 4 - 1} levels behind" if len(row) > 4 else ""
    )
