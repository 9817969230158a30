"""Results of a LOBSTER run, for people and as JSON: a part for each message file."""

from collections.abc import Sequence
from typing import Any

from cli import screen
from lobster.check import CheckReport, Difference
from lobster.run import Outcome
from notation.words import price


def passed(outcomes: Sequence[Outcome]) -> bool:
    """True if no check failed."""
    return all(outcome.check is None or outcome.check.report.passed for outcome in outcomes)


def facts_of(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Lines of the summary for people; for several files, their number."""
    if len(outcomes) > 1:
        messages = sum(len(outcome.flow.rows_after) for outcome in outcomes)
        return {"files": screen.count(len(outcomes)), "messages": screen.count(messages)}
    (outcome,) = outcomes
    flow, check = outcome.flow, outcome.check
    facts = {"messages": screen.count(len(flow.rows_after)), "seeded levels": screen.count(flow.seeded)}
    if check is not None:
        report = check.report
        if report.revealed:
            facts["revealed"] = f"{screen.counted(report.revealed, 'level')} by later rows of the book file"
        facts["rows equal"] = f"{screen.count(report.equal)} of {screen.count(report.rows)}"
        if report.unpublished:
            facts["not compared"] = f"{screen.counted(report.unpublished, 'message')} without a published row"
        facts["trades"] = f"{screen.count(report.fills)} compared, {screen.count(len(report.fills_wrong))} wrong"
    return facts


def json_of(outcome: Outcome) -> dict[str, Any]:
    """One file in the output of ``--json``."""
    flow, check = outcome.flow, outcome.check
    facts: dict[str, Any] = {
        "file": str(outcome.file.path),
        "symbol": outcome.file.symbol,
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


def print_outcomes(outcomes: Sequence[Outcome]) -> None:
    """Print notes on messages and results of the checks; the last line says if all passed."""
    if len(outcomes) > 1:
        _table(outcomes)
    for outcome in outcomes:
        _print_notes(outcome)
    for outcome in outcomes:
        if outcome.check is not None:
            _print_check(outcome.check.report, f"{outcome.file.symbol}: " if len(outcomes) > 1 else "")
    checked = [outcome for outcome in outcomes if outcome.check is not None]
    if len(outcomes) > 1 and checked:
        failed = [outcome.file.symbol for outcome in checked if not passed([outcome])]
        unchecked = len(outcomes) - len(checked)
        said = f"checks passed: {len(checked) - len(failed)} of {len(checked)}"
        said += f"; failed: {', '.join(failed)}" if failed else ""
        said += f"; {screen.counted(unchecked, 'file')} without --check" if unchecked else ""
        screen.verdict(not failed, said)


def _table(outcomes: Sequence[Outcome]) -> None:
    """Print a line for each of several files."""
    columns = ["symbol", "messages", "seeded levels", "revealed", "rows equal", "trades", "wrong"]
    rows = []
    for file, flow, check in outcomes:
        cells = [screen.count(number) for number in (len(flow.rows_after), flow.seeded, flow.revealed)]
        if check is not None:
            report = check.report
            cells.append(f"{screen.count(report.equal)} of {screen.count(report.rows)}")
            cells += [screen.count(report.fills), screen.count(len(report.fills_wrong))]
        rows.append((file.symbol, *cells, *["-"] * (len(columns) - 1 - len(cells))))
    screen.table(columns, rows, right=tuple(columns[1:]))


def _print_notes(outcome: Outcome) -> None:
    flow = outcome.flow
    counts = flow.counts()
    if counts:
        first = {note: line for line, note in reversed(flow.notes)}
        name = outcome.file.path.name
        rows = [(screen.count(number), f"{name}:{first[note]}", note.value) for note, number in counts.items()]
        screen.table(["messages", "first", "noticed"], rows, right=("messages",))


def _print_check(report: CheckReport, symbol: str) -> None:
    if report.first is not None:
        reasons = [(screen.count(number), why) for why, number in _by_reason(report).items()]
        screen.table(["rows that differ", "why"], reasons, right=("rows that differ",))
        shown = (report.unexplained or report.differences)[0]
        screen.print_line(f"{symbol}first difference: message {shown.line}, level {shown.level}: {shown.why.value}")
        sides = (("published", shown.expected), ("lockstep", shown.got))
        screen.facts([(name, _level(row, shown.level)) for name, row in sides])
    for wrong in report.fills_wrong[:5]:
        screen.print_line(f"{symbol}{wrong}")
    screen.verdict(report.passed, f"{symbol}{_verdict(report)}")


def _verdict(report: CheckReport) -> str:
    """Sentence on a check; rows that were not compared, or only in part, do not count as equal."""
    rows, equal = screen.counted(report.rows, "row"), screen.count(report.equal)
    if not report.agrees:
        return "DIFFERENT where the data determines the book"
    if not report.conclusive:
        return (
            f"NOT SHOWN: the data determines only {equal} of {rows} in full; give --book one row a message, with as "
            "many levels"
        )
    if report.unpublished > report.rows:
        messages = screen.count(report.rows + report.unpublished)
        found = "no difference" if report.equal == report.rows else f"{equal} without a difference"
        return f"compared {screen.count(report.rows)} of {messages} messages, {found}; the others have no published row"
    if report.equal < report.rows:
        said = f"equal wherever the data determines the book: {equal} of {rows} in full"
    else:
        said = f"equal on all {rows}" if report.unpublished else "equal on every row"
    if not report.unpublished:
        return said
    return f"{said}; the last {screen.counted(report.unpublished, 'message')} had no published row to compare with"


def _level(row: list[int], level: int) -> str:
    """Offer and bid of one level, from 1, of a row."""
    ask_e4, ask_qty, bid_e4, bid_qty = row[4 * level - 4 : 4 * level]
    offer, bid = (
        f"{qty} @ {price(price_e4)}" if qty else "none" for price_e4, qty in ((ask_e4, ask_qty), (bid_e4, bid_qty))
    )
    return f"offer {offer}, bid {bid}"
