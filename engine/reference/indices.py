"""Indices: definitions, values, and the opening value of a trading day (sections 9 and 12)."""

from collections.abc import Iterator

from engine.bounds import BPS_MAX, DAY_NS, INDICES_MAX, LEVELS_MAX, MEMBERS_MAX, WEIGHT_MAX
from engine.names import is_name
from engine.records import Reason
from engine.reference.events import EventLog
from engine.reference.rows import CONTINUED_PLACES, Row
from engine.reference.state import Index, Member
from engine.reference.venue import Venue


def members_command(venue: Venue, row: Row, _events: EventLog) -> None:
    """They wait for the index of that name; those of another name before are forgotten."""
    if venue.gathered_name != row.name:
        venue.gathered_name = row.name
        venue.gathered.clear()
    for symbol, weight in ((row.symbol, row.weight), (row.further_symbol, row.further_weight)):
        if (symbol or weight) and len(venue.gathered) <= MEMBERS_MAX:
            venue.gathered.append(Member(symbol, weight))


def define_index(venue: Venue, row: Row, continuation: Row | None, events: EventLog) -> None:
    """``continuation``: the row before, with the levels."""
    members = venue.gathered if venue.gathered_name == row.name else []
    venue.gathered, venue.gathered_name = [], 0
    levels = list(_levels(continuation)) if continuation else []
    acceptable = (
        is_name(row.name)
        and all(index.name != row.name for index in venue.indices)
        and 1 <= len(members) <= MEMBERS_MAX
        and _levels_fit(levels)
        and all(is_name(each.symbol) and 1 <= each.weight <= WEIGHT_MAX for each in members)
        and len({each.symbol for each in members}) == len(members)
    )
    unknown = (each.symbol for each in members if each.symbol not in venue.instrument_by_symbol)
    if not acceptable:
        events.rejected(row.name, Reason.INVALID_COMMAND)
    elif symbol := next(unknown, 0):
        events.rejected(symbol, Reason.UNKNOWN_INSTRUMENT)
    elif len(venue.indices) >= INDICES_MAX:
        events.rejected(row.name, Reason.CAPACITY)
    else:
        index = Index(row.name, members, [each for each in levels if each[0]])
        index.opening_e4 = index_value_e4(venue, index)
        venue.indices.append(index)
        for member in members:
            venue.instrument_by_symbol[member.symbol].unweighed_trade = False


def _levels(continuation: Row) -> Iterator[tuple[int, int]]:
    """Fall in hundredths of a percent (0: no such level) and time of the halt (0: it closes) of each level."""
    numbers = continuation[: len(CONTINUED_PLACES)]
    return ((numbers[2 * at], numbers[2 * at + 1]) for at in range(LEVELS_MAX))


def _levels_fit(levels: list[tuple[int, int]]) -> bool:
    """True if there is a level, each is deeper than the one before, and no halt is longer than a day."""
    written = [each for each in levels if each != (0, 0)]
    falls_bps = [bps for bps, _ in written]
    return (
        bool(written)
        and levels[: len(written)] == written
        and falls_bps == sorted(set(falls_bps))
        and all(1 <= bps <= BPS_MAX and 0 <= halt_ns <= DAY_NS for bps, halt_ns in written)
    )


def index_value_e4(venue: Venue, index: Index) -> int:
    """The sum of weight times reference price."""
    return sum(each.weight * venue.instrument_by_symbol[each.symbol].reference_e4 for each in index.members)


def open_indices(venue: Venue) -> None:
    """A trading day begins: opening values are those of now, and no level was reached."""
    for index in venue.indices:
        index.opening_e4, index.reached = index_value_e4(venue, index), 0
