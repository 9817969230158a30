"""Explanation of a command: what it met, the checks that it went through, and what followed by which rule.

`lockstep why DIR SEQ` explains one command, and `--order ID` those that began and ended the orders with that id.
"""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cli import errors, screen
from cli.errors import WrongUse
from cli.history import Look, as_one, event_lines
from cli.market_tables import show_book
from cli.node import check_name, plays
from cli.order import Asked, orders_of
from cli.warmup import ready
from engine.engine import Engine
from engine.interface import MarketEngine
from engine.market_time import ClockPosition, clock_at_each
from engine.names import Directory, unpack
from engine.records import CommandKind, EventKind, Reason, Side
from engine.reference import ReferenceEngine
from engine.reference.restore import restored_venue
from engine.reference.rows import rows_of
from journal.history import History
from notation.objects import command_object, event_object
from notation.print import Printer
from notation.rules import RULES, link_of, rule_object, section_of
from notation.words import iso_time, percent, price, time
from replay.checks import Check, Met, met, verdicts
from replay.ladder import book_object
from replay.moments import Moments
from replay.past import PlayedBlock

Facts = dict[str, Any]

_REFUSALS: Final = (EventKind.REJECTED, EventKind.CANCEL_REJECTED)
#: Price levels a side of the books that are shown.
_DEPTH: Final = 5


def why(
    directory: Path, seq: int | None, order_id: str | None, participant: str | None, *, as_json: bool = False
) -> int:
    """`lockstep why`: explain a command, or those that began and ended an order."""
    if (seq is None) == (order_id is None):
        raise WrongUse("give the number of a command, or --order with a client order id or token")
    check_name(participant, "participant")
    if seq is not None:
        if participant is not None:
            raise WrongUse("--participant goes with --order")
        seqs = [seq]
    else:
        lives, _ = orders_of(directory, Asked(order_id), participant)
        ends = ({int(life.moments[at].event["seq"]) for at in (0, -1)} for life in lives)
        seqs = sorted(set().union(*ends))
    ready()
    moments = Moments(directory)
    for number, each in enumerate(seqs):
        facts = explained(directory, moments, each)
        if as_json:
            screen.print_json({key: value for key, value in facts.items() if key not in ("lines", "time_ns")})
        else:
            if number:
                screen.print_line()
            _show(facts)
    for note in moments.notes:
        screen.notice(f"note: {note}")
    return errors.FINE


def explained(directory: Path, moments: Moments, seq: int) -> Facts:
    """A command with all that belongs to it."""
    block, seq = _block_of(directory, seq)
    play, names = block.play, block.after
    at = seq - play.first_seq
    extended = at > 0 and play.commands["kind"][at - 1] == CommandKind.EXTEND
    first = at - 1 if extended else at
    unit = play.commands[first : at + 1]
    caused = play.events[play.events["seq"] == seq]
    clock_ns = clock_at_each(play.commands, ClockPosition(block.before.now_ns))
    before_seq = play.first_seq + first - 1
    found, instrument = _met(moments, before_seq, unit, caused)
    book_before = _book(moments, before_seq, instrument)
    book_after = _book(moments, seq, instrument)
    refusals = caused[np.isin(caused["kind"], _REFUSALS)]
    refused = Reason(int(refusals[0]["reason"])) if len(refusals) else None
    printer = Printer(block.before)
    printer.print_block(play.commands[:first], play.events[play.events["seq"] < play.first_seq + first], play.first_seq)
    lines = printer.print_block(unit, caused, play.first_seq + first, with_events=False)
    time_ns = int(clock_ns[at])
    raw = [line.removeprefix("raw ") for line in lines if line.startswith("raw ")]
    consequences = list(_consequences(caused, names, time_ns))
    if any(each["event"]["kind"] in ("halted", "phase") for each in consequences):
        _name_breakers(consequences, moments.at(before_seq), unit)
    if unit[-1]["kind"] == CommandKind.ENTER and book_before is not None and book_before["band"] is not None:
        _name_collar(consequences, unit[-1], book_before["band"])
    waits_until = _waits_until(moments.at(seq), seq)
    if waits_until is not None:
        found = Met([], 0, 0)
    return {
        "time_ns": time_ns,
        "lines": lines,
        "waits_until": waits_until,
        "command": command_object(list(unit), seq, names, time_ns, raw=raw),
        "checks": [
            _check_object(check, verdict)
            for check, verdict in zip(found.checks, verdicts(found.checks, refused), strict=True)
        ],
        "refused": None if refused is None else rule_object(refused),
        "consequences": consequences,
        "book_before": book_before,
        "book_after": book_after,
    }


def _block_of(directory: Path, seq: int) -> tuple[PlayedBlock, int]:
    """The block with a command, whole commands of it, and the command: after an EXTEND row the one that it extends."""
    with History.open(directory) as history:
        end = seq + 1 if seq < history.last_seq else seq  # the command after an EXTEND row
    with closing(plays(directory, seq, end, "replaying", row_before=True)) as blocks:
        gathered = list(blocks)
    block = as_one(gathered)
    at = seq - block.play.first_seq
    is_extend = block.play.commands["kind"][at] == CommandKind.EXTEND
    return block, seq + 1 if is_extend and at + 1 < len(block.play.commands) else seq


def _met(moments: Moments, before_seq: int, unit: NDArray[Any], caused: NDArray[Any]) -> tuple[Met, int]:
    """Checks of the command, and the number of its instrument; 0 for none."""
    engine = moments.at(before_seq)
    row = next(rows_of(unit[-1:]))[0]
    found = Met([], 0, 0)
    if row.kind in (CommandKind.ENTER, CommandKind.CANCEL, CommandKind.REPLACE, CommandKind.CROSS):
        assert isinstance(engine, Engine)
        venue, _ = restored_venue(engine.capacity, {name: dict(part) for name, part in engine.parts().items()})
        found = met(venue, row)
    named = caused["instrument"][caused["instrument"] != 0]
    return found, found.instrument or (int(named[0]) if len(named) else 0)


def _waits_until(engine: MarketEngine, seq: int) -> str | None:
    """Time at or after which a clock value gives a command its effect; None of one that does not wait."""
    found = engine.waiting()
    due_ns = found.due_ns[found.seq == seq].tolist()
    return iso_time(due_ns[0]) if due_ns else None


def _book(moments: Moments, seq: int, instrument: int) -> Facts | None:
    engine = moments.at(seq)
    if not 0 < instrument <= len(engine.directory.symbols):
        return None
    return book_object(engine, instrument, _DEPTH)


def _check_object(check: Check, verdict: str) -> Facts:
    return {
        "check": check.name,
        "verdict": verdict,
        "limit": check.limit,
        "value": check.value,
        "unit": check.unit or None,
        "reasons": [reason.name.lower() for reason in check.reasons],
        "section": RULES[check.reasons[0]].section,
    }


def _consequences(caused: NDArray[Any], names: Directory, time_ns: int) -> Iterator[Facts]:
    """Events of a command, each with the section of its rule."""
    for event, line in zip(caused, event_lines(caused, np.full(len(caused), time_ns), names, Look()), strict=True):
        code = int(event["reason"])
        section = RULES[Reason(code)].section if code else section_of(EventKind(int(event["kind"])))
        yield {
            "event": event_object(event, names, time_ns),
            "text": line.removeprefix("> "),
            "section": section,
            "link": link_of(section),
            "because": RULES[Reason(code)].sentence if code else None,
        }


def _name_collar(consequences: list[Facts], row: Any, band: Facts) -> None:
    """Say where the collar of an entered market order was, with what canceled the rest of it there."""
    limit_e4 = band["highest_buy_e4"] if row["side"] == Side.BUY else band["lowest_sell_e4"]
    for each in consequences:
        event = each["event"]
        met = (event["kind"], event["reason"], event["client_order_id"])
        if met == ("canceled", "price_band", unpack(int(row["client_order_id"]))):
            around = f"{percent(band['band_bps'])} from {price(band['reference_e4'])}"
            each["because"] += f"; its collar was {price(limit_e4)}, {around}"


def _name_breakers(consequences: list[Facts], engine: MarketEngine, unit: NDArray[Any]) -> None:
    """Say what a breaker looked at, with each halt or close that it caused."""
    assert isinstance(engine, Engine)
    parts = {name: dict(part) for name, part in engine.parts().items()}
    for cause in ReferenceEngine.restore(engine.capacity, engine.seq, engine.event_digest, parts).causes_of(unit):
        limit = percent(cause.bps)
        if cause.of_index:
            fall = f"at least {limit} below its opening value, {price(cause.from_e4)}"
            said = f"index {unpack(cause.of_index)} was {price(cause.value_e4)}, {fall}"
        else:
            before = f"{price(cause.from_e4)}, in force {cause.window_s:,} s before"
            said = f"{price(cause.value_e4)} was more than {limit} from {before}"
        because = consequences[cause.event]["because"] or RULES[Reason.MARKET_WIDE].sentence
        consequences[cause.event]["because"] = f"{because}; {said}"


def _show(facts: Facts) -> None:
    command = facts["command"]
    screen.print_line(f"command {screen.count(command['seq'])} at {time(facts['time_ns'])}")
    for line in facts["lines"]:
        screen.print_line(f"  {line}")
    if facts["checks"]:
        rows = [
            [
                check["check"],
                _number(check["value"], check["unit"]),
                _number(check["limit"], check["unit"]),
                check["verdict"].replace("_", " "),
                check["section"],
            ]
            for check in facts["checks"]
            if check["verdict"] != "not_reached"
        ]
        screen.table(["check", "value", "limit", "verdict", "section"], rows, right=("value", "limit"))
    if facts["waits_until"]:
        until = facts["waits_until"]
        screen.print_line(f"it waits for its effect: the first clock value at or after {until} (rulebook section 10)")
    elif not facts["consequences"]:
        screen.print_line("it caused no event")
    for each in facts["consequences"]:
        because = f": {each['because']}" if each["because"] else ""
        screen.print_line(f"> {each['text']}{because} (rulebook section {each['section']})")
    for name in ("before", "after"):
        if facts[f"book_{name}"] is not None:
            screen.print_line(f"the book {name}")
            show_book(facts[f"book_{name}"], facts[f"book_{name}"]["time"] or time(0))


def _number(value: int | None, unit: str | None) -> str:
    if value is None:
        return "-"
    return price(value) if unit == "price_e4" else screen.count(value)
