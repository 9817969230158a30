"""Explanation of a command: what it met, the checks that it went through, and what followed by which rule."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cli.questions.history import Look, event_lines
from cli.questions.reading import check_asked, note_side_files
from engine.bounds import MEMBERS_MAX
from engine.engine import Engine
from engine.interface import MarketEngine
from engine.market_time import ClockPosition, clock_at_each
from engine.names import Directory, unpack
from engine.records import CommandKind, EventKind, Phase, Reason, Side, concatenate
from engine.reference.restore import venue_about
from engine.reference.rows import Row, rows_of
from engine.reference.venue import Cause, Venue, Witness
from journal.history import History
from notation.faults_of_definitions import refusal_of, rows_before
from notation.fix_marks import is_mark, meaning
from notation.objects import command_object, event_object
from notation.print import Printer
from notation.rules import OF_NO_USER, RULES, is_of_disconnect, is_of_no_user, link_of, rule_object, section_of
from notation.words import iso_time, percent, price, time
from replay.checks import Check, Met, met, verdicts
from replay.delayed import caused_by, effect_seq, witness_of
from replay.ladder import book_object
from replay.moments import Moments
from replay.rebuild import owned_rows

Facts = dict[str, Any]

_CHECKED: Final = (CommandKind.ENTER, CommandKind.CANCEL, CommandKind.REPLACE, CommandKind.CROSS)
_REFUSALS: Final = (EventKind.REJECTED, EventKind.CANCEL_REJECTED)
#: Rows before a definition that go with it at most: an index's members, two a row, and an EXTEND row.
_ROWS_BEFORE: Final = MEMBERS_MAX // 2 + 1
#: Price levels a side of the books that are shown.
_DEPTH: Final = 5


def explained(directory: Path, moments: Moments, seq: int) -> Facts:
    """A command with all that belongs to it. ``moments``: at no later command.

    ``stood``: what it met, for who looks further: the last command before it, and numbers of its participant and
    instrument, 0 for none.
    """

    @cache
    def witness() -> Witness:
        return witness_of(directory, first_seq, unit)

    unit, seq = _unit_of(directory, seq)
    first_seq = seq - len(unit) + 1
    engine = moments.at(first_seq - 1)
    before, waiting, scheduled = engine.directory, engine.waiting(), engine.schedules()
    found, instrument = _met(engine, unit)
    book_before = _book(engine, instrument)
    until_ns = _until_of(engine)
    caused = moments.events_to(seq)
    engine = moments.at(seq)
    effect, due_ns = None, _due_ns(engine, seq)
    if due_ns is not None:
        effect = _effect_of(directory, moments, seq, next(rows_of(unit[-1:]))[0], due_ns)
        found = Met([], instrument, 0) if effect is None else effect.met
        instrument = instrument or found.instrument
    dropped = witness().dropped if _meets_schedules(scheduled, unit[-1], engine.now_ns) else []
    names = engine.directory if effect is None else effect.names
    instrument = instrument or _named(caused if effect is None else effect.events)
    if effect is not None:
        book_before, book_after = _around(directory, effect.seq, instrument)
    else:
        if book_before is None and instrument:  # what an event named, of a command that does not
            book_before = _book(Moments(directory, ids=False).at(first_seq - 1), instrument)
        book_after = _book(engine, instrument)
    by_others = (
        caused_by(waiting, caused, witness)
        if unit[-1]["kind"] == CommandKind.CLOCK
        else np.zeros(len(caused), np.int64)
    )
    answered = caused[by_others == 0] if effect is None else effect.events
    refusals = answered[np.isin(answered["kind"], _REFUSALS)]
    refused = Reason(int(refusals[0]["reason"])) if len(refusals) else None
    printer = Printer(before)
    printer.go_to(before.now_ns, first=first_seq == 1)
    lines = printer.print_block(unit, caused, first_seq, with_events=False)
    time_ns = int(clock_at_each(unit, ClockPosition(before.now_ns))[-1])
    raw = [line.removeprefix("raw ") for line in lines if line.startswith("raw ")]
    consequences = list(_consequences(caused, names, time_ns))
    for each, by_seq in zip(consequences, by_others.tolist(), strict=True):
        each["delayed_seq"] = by_seq or None
    _name_terms(consequences, unit[-1], until_ns, dict(zip(waiting.seq.tolist(), waiting.commands, strict=True)))
    if unit[-1]["kind"] == CommandKind.EMERGENCY_CLOSE:
        for each in consequences:
            each.update(_section(RULES[Reason.KILL].section))
    if is_mark(unit[-1:]).any():
        for each in consequences:
            each["because"] = f"{meaning(int(unit[-1]['context']))}: the market refuses it, and no client is told"
    _name_sender(consequences, unit[-1])
    if refused == Reason.INVALID_COMMAND:
        _name_fault(consequences, directory, seq)
    if any(_is_by_breaker(each["event"]) for each in consequences):
        _name_breakers(consequences, witness().causes)
    if unit[-1]["kind"] == CommandKind.ENTER and book_before is not None and book_before["band"] is not None:
        _name_collar(consequences, unit[-1], book_before["band"])
    return {
        "time_ns": time_ns,
        "lines": lines,
        "stood": Stood(
            (first_seq if effect is None else effect.seq) - 1,
            int(refusals[0]["participant"]) if len(refusals) else 0,
            instrument,
        ),
        "waits_until": None if due_ns is None else iso_time(due_ns),
        "effect": None if effect is None else effect.facts(time_ns, unit[-1]),
        "command": command_object(list(unit), seq, names, time_ns, raw=raw),
        "checks": [
            _check_object(check, verdict)
            for check, verdict in zip(found.checks, verdicts(found.checks, refused), strict=True)
        ],
        "refused": None if refused is None else rule_object(refused),
        "consequences": consequences,
        "dropped_schedules": [
            {
                "symbol": names.symbols[each.instrument - 1],
                "time": iso_time(each.due_ns),
                "phase": each.phase.name.lower(),
            }
            for each in dropped
        ],
        "book_before": book_before,
        "book_after": book_after,
    }


def _unit_of(directory: Path, seq: int) -> tuple[NDArray[Any], int]:
    """COMMAND rows of a command with the EXTEND row before it, and its number: after an EXTEND row the one that it
    extends."""
    with History.open(directory) as history:
        check_asked(history, seq)
        journal = history.slice_of(seq)  # no slice ends with an EXTEND row
        note_side_files(journal)
        first, last = max(seq - 1, journal.start_seq + 1), min(seq + 1, journal.last_seq)
        blocks = list(journal.blocks(first, last))
        rows = concatenate([owned_rows(block.rows) for block in blocks])[first - blocks[0].first_seq :]
    at = seq - first
    extends = rows["kind"] == CommandKind.EXTEND
    if extends[at] and first + at < last:
        at += 1
    begin = at - 1 if at and extends[at - 1] else at
    return rows[begin : at + 1], first + at


def _met(engine: MarketEngine, unit: NDArray[Any]) -> tuple[Met, int]:
    """Checks of the command, and the number of its instrument; 0 for none."""
    row = next(rows_of(unit[-1:]))[0]
    if row.kind not in _CHECKED:
        return Met([], 0, 0), 0
    assert isinstance(engine, Engine)
    is_cross = row.kind == CommandKind.CROSS
    names = [unpack(each) for each in (row.buyer, row.seller)] if is_cross else []
    known = engine.directory.participants
    numbers = {row.participant, *(known.index(each) + 1 for each in names if each in known)}
    venue = venue_about(engine.capacity, engine.parts(), numbers, row.instrument if is_cross else 0)
    used = engine.participants()["ids_used"]
    found = met(venue, row, {number: int(used[number - 1]) for number in numbers if 0 < number <= len(used)})
    return found, found.instrument


def _meets_schedules(scheduled: NDArray[Any], row: "np.void", now_ns: int) -> bool:
    """True of a clock value that meets schedules which may find an instrument halted: those that do not close."""
    met = scheduled[(scheduled["due_ns"] <= now_ns) & (scheduled["phase"] != Phase.CLOSED)]
    return row["kind"] == CommandKind.CLOCK and bool(len(met))


def _named(events: NDArray[Any]) -> int:
    """The first instrument that events name; 0 for none."""
    named = events["instrument"][events["instrument"] != 0]
    return int(named[0]) if len(named) else 0


class Stood(NamedTuple):
    """State that a command met: the last command before it, its participant and its instrument by number; 0: none."""

    seq: int
    participant: int
    instrument: int


class _Effect(NamedTuple):
    """Effect of a command that waited: the clock value that gave it, EVENT rows, the checks and what breakers did."""

    seq: int
    clock_ns: int
    events: NDArray[Any]
    names: Directory
    met: Met
    causes: list[Cause]

    def facts(self, time_ns: int, row: "np.void") -> Facts:
        """The effect of a command ``row`` as an object. ``time_ns``: the clock at it."""
        consequences = [each | {"delayed_seq": None} for each in _consequences(self.events, self.names, self.clock_ns)]
        _name_terms(consequences, row, {}, {})
        _name_breakers(consequences, self.causes)
        return {
            "seq": self.seq,
            "time": iso_time(self.clock_ns),
            "waited_ns": self.clock_ns - time_ns,
            "consequences": consequences,
        }


def _due_ns(engine: MarketEngine, seq: int) -> int | None:
    """Time at or after which a clock value gives a command its effect; None of one that does not wait."""
    found = engine.waiting()
    due_ns = found.due_ns[found.seq == seq].tolist()
    return due_ns[0] if due_ns else None


def _effect_of(directory: Path, moments: Moments, seq: int, row: Row, due_ns: int) -> _Effect | None:
    """Effect of a command that waits until a time; None where it waits still."""
    with History.open(directory) as history:
        by_seq = effect_seq(history, due_ns)
    if by_seq is None:
        return None
    found = [Met([], 0, 0)]

    def look(effect_of: int, venue: Venue) -> None:
        if effect_of == seq:
            found.append(met(venue, row))

    clock_value, _ = _unit_of(directory, by_seq)
    witness = witness_of(directory, by_seq, clock_value[-1:], look)
    (places,) = ((first, end) for each, first, end in witness.effects if each == seq)
    own = slice(*places)
    causes = [
        each._replace(event=each.event - own.start) for each in witness.causes if own.start <= each.event < own.stop
    ]
    moments.at(by_seq - 1)
    events = moments.events_to(by_seq)[own]
    after = moments.at(by_seq)
    return _Effect(by_seq, after.now_ns, events, after.directory, found[-1], causes)


def _around(directory: Path, seq: int, instrument: int) -> tuple[Facts | None, Facts | None]:
    """The book before and after a command."""
    moments = Moments(directory, ids=False)
    before = _book(moments.at(seq - 1), instrument)
    return before, _book(moments.at(seq), instrument)


def _book(engine: MarketEngine, instrument: int) -> Facts | None:
    if not 0 < instrument <= len(engine.directory.symbols):
        return None
    return book_object(engine, instrument, _DEPTH)


def _check_object(check: Check, verdict: str) -> Facts:
    return {
        "check": check.name,
        "verdict": verdict,
        "limit": check.limit,
        "value": check.value,
        "used": check.used,
        "unit": check.unit or None,
        "met": check.met or None,
        "takes": check.takes or None,
        "reasons": [reason.name.lower() for reason in check.reasons],
        "section": RULES[check.reasons[0]].section,
    }


def _consequences(caused: NDArray[Any], names: Directory, time_ns: int) -> Iterator[Facts]:
    """Events of a command, each with the section of its rule."""
    uncrossed: set[int] = set()
    for event, line in zip(caused, event_lines(caused, np.full(len(caused), time_ns), names, Look()), strict=True):
        code, kind, instrument = int(event["reason"]), EventKind(int(event["kind"])), int(event["instrument"])
        section = RULES[Reason(code)].section if code else section_of(kind)
        if kind == EventKind.PHASE:
            uncrossed.add(instrument)
        elif kind == EventKind.TRADE and not event["side"] and instrument in uncrossed:
            section = section_of(EventKind.PHASE)
        yield {
            "event": event_object(event, names, time_ns),
            "text": line.removeprefix("> "),
            **_section(section),
            "because": RULES[Reason(code)].sentence if code else None,
        }


def _until_of(engine: MarketEngine) -> dict[int, int]:
    """When each open order that ends at a time does so, ns since 1970, by its number."""
    orders = engine.open_orders()
    ending = orders[orders["until_ns"] != 0]
    return dict(zip(ending["order_number"].tolist(), ending["until_ns"].tolist(), strict=True))


def _name_terms(
    consequences: list[Facts], row: "np.void", until_ns: dict[int, int], waited: dict[int, "np.void"]
) -> None:
    """Say which term of its own ended an order: the quantity that it asked for at least, or its time.

    ``row``: the command. ``waited``: those that waited for it, by number.
    """
    for each in consequences:
        event, by = each["event"], waited.get(each["delayed_seq"] or 0, row)
        if event["kind"] != "canceled":
            continue
        if event["reason"] == "expired" and event["order_number"] in until_ns:
            each["because"] += f"; it was good until {time(until_ns[event['order_number']])}"
        elif event["reason"] in ("fok", "min_qty") and by["kind"] == CommandKind.ENTER:
            least = int(by["qty"] if event["reason"] == "fok" else by["min_qty"])
            each["because"] += f"; it asked for at least {least:,} at once, of {int(by['qty']):,}"


def _name_sender(consequences: list[Facts], row: "np.void") -> None:
    """Say of a cancel that a node wrote it for a user who left, or that its context names no user."""
    lost = RULES[Reason.DISCONNECT]
    if is_of_disconnect(row):
        said = {"because": lost.sentence, **_section(lost.section)}
    elif is_of_no_user(row):
        said = {"because": OF_NO_USER}
    else:
        return
    for each in consequences:
        if (each["event"]["kind"], each["event"]["reason"]) == ("canceled", "user"):
            each.update(said)


def _name_fault(consequences: list[Facts], directory: Path, seq: int) -> None:
    """Say which value of a definition is out of bounds, or what else the market refuses it for."""
    with History.open(directory) as history:
        journal = history.slice_of(seq)
        first = max(seq - _ROWS_BEFORE, journal.start_seq + 1)
        blocks = list(journal.blocks(first, seq))
    rows = concatenate([owned_rows(block.rows) for block in blocks])[first - blocks[0].first_seq :]
    if said := refusal_of(rows[seq - first], *rows_before(rows, seq - first)):
        consequences[0]["because"] += f"; {said}"


def _is_by_breaker(event: Facts) -> bool:
    """True for the halt or the close of an instrument that a breaker may have caused."""
    if event["kind"] == "halted":
        return event["reason"] in ("volatility", "market_wide")
    return bool(event["kind"] == "phase" and event["phase"] == "closed")


def _name_collar(consequences: list[Facts], row: Any, band: Facts) -> None:
    """Say where the collar of an entered market order was, with what canceled the rest of it there."""
    limit_e4 = band["highest_buy_e4"] if row["side"] == Side.BUY else band["lowest_sell_e4"]
    for each in consequences:
        event = each["event"]
        met = (event["kind"], event["reason"], event["client_order_id"])
        if met == ("canceled", "price_band", unpack(int(row["client_order_id"]))):
            around = f"{percent(band['band_bps'])} from {price(band['reference_e4'])}"
            each["because"] += f"; its collar was {price(limit_e4)}, {around}"


def _name_breakers(consequences: list[Facts], causes: list[Cause]) -> None:
    """Say what a breaker looked at, with each halt or close that it caused."""
    for cause in causes:
        limit = percent(cause.bps)
        if cause.of_index:
            fall = f"at least {limit} below its opening value, {price(cause.from_e4)}"
            said = f"index {unpack(cause.of_index)} was {price(cause.value_e4)}, {fall}"
        else:
            before = f"{price(cause.from_e4)}, in force {cause.window_s:,} s before"
            said = f"{price(cause.value_e4)} was more than {limit} from {before}"
        because = consequences[cause.event]["because"] or RULES[Reason.MARKET_WIDE].sentence
        consequences[cause.event] |= {"because": f"{because}; {said}", **_section(RULES[Reason.MARKET_WIDE].section)}


def _section(section: str) -> Facts:
    return {"section": section, "link": link_of(section)}
