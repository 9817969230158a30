"""Rows by part of the reference engine's venue (``rows_by_part``)."""

from collections.abc import Iterator

import numpy as np

from engine.bounds import LEVELS_MAX, MEMBERS_MAX
from engine.records import Side
from engine.reference.limit_command import set_bits
from engine.reference.rows import Row
from engine.reference.rows_by_part import (
    ASIDE_COLUMNS,
    BEST_COLUMNS,
    CONTINUATION_COLUMNS,
    ENDING_COLUMNS,
    ENTRY_COLUMNS,
    EXPOSURE_COLUMNS,
    ID_COLUMNS,
    INDEX_COLUMNS,
    INDICATIVE_COLUMNS,
    INSTRUMENT_COLUMNS,
    LEVEL_COLUMNS,
    LIMIT_COLUMNS,
    MEMBER_COLUMNS,
    MIDPOINT_COLUMNS,
    ORDER_COLUMNS,
    PARTICIPANT_COLUMNS,
    PEG_COLUMNS,
    QUEUE_COLUMNS,
    SCHEDULE_COLUMNS,
    STOP_COLUMNS,
    TRADE_SECOND_COLUMNS,
    VENUE_COLUMNS,
    WAITING_COLUMNS,
    Table,
    Tables,
    table,
)
from engine.reference.state import Index, Instrument, Level, Order, Participant
from engine.reference.uncross import FOR_AUCTION
from engine.reference.venue import CALLS, Venue
from engine.reference.views import limits, waiting
from engine.state import ASIDE, ENDING, IN_MIDPOINT


def venue_rows(venue: Venue, seq: int) -> dict[str, Tables]:
    """Part name to table name to rows of a venue after command ``seq``; all but the events."""
    timers = [each.number for each in _by_time(venue)]
    groups = _first_of_groups(venue)
    opened = (order for each in venue.participants for order in each.open_orders.values())
    orders = sorted(opened, key=lambda order: order.order_number)
    counters = table([_counters(venue, seq, timers)], len(VENUE_COLUMNS) + len(CONTINUATION_COLUMNS))
    instruments = (_instrument(each, timers) for each in venue.instruments)
    participants = (_participant(each, groups) for each in venue.participants)
    return {
        "venue": {"venue": counters},
        "reference": {
            "instruments": table(instruments, len(INSTRUMENT_COLUMNS) + len(INDICATIVE_COLUMNS)),
            "participants": table(participants, len(PARTICIPANT_COLUMNS)),
            "trade_seconds": table(_trade_seconds(venue), len(TRADE_SECOND_COLUMNS)),
            "schedules": table(venue.schedules, len(SCHEDULE_COLUMNS)),
            "indices": table(map(_index, venue.indices), len(INDEX_COLUMNS)),
            "members": table(_members(venue), len(MEMBER_COLUMNS)),
        },
        "orders": {"orders": table((_order(venue, each) for each in orders), len(ORDER_COLUMNS))},
        "ids": {"ids": table(_ids(venue), len(ID_COLUMNS))},
        "books": _books(venue),
        "risk": _risk(venue),
        "waiting": {"waiting": _waiting(venue)},
    }


def _waiting(venue: Venue) -> Table:
    found = waiting(venue)
    words = found.commands.view(np.int64).reshape(len(found.seq), len(WAITING_COLUMNS) - 2)
    rows: Table = np.hstack([found.seq[:, None], found.due_ns[:, None], words]).reshape(-1, len(WAITING_COLUMNS))
    return rows


def _trade_seconds(venue: Venue) -> Iterator[tuple[int, ...]]:
    for each in venue.instruments:
        if each.breaker is not None:
            for second, price_e4 in sorted(each.trade_seconds.items()):
                yield each.number, second, price_e4


def _index(index: Index) -> tuple[int, ...]:
    levels = [*index.levels, *[(0, 0)] * (LEVELS_MAX - len(index.levels))]
    return (
        index.name,
        index.opening_e4,
        len(index.members),
        index.reached,
        *(number for each in levels for number in each),
    )


def _members(venue: Venue) -> Iterator[tuple[int, ...]]:
    for each in venue.gathered[:MEMBERS_MAX]:
        yield each.symbol, each.weight, 0
    for index in venue.indices:
        for member in index.members:
            yield member.symbol, member.weight, venue.instrument_by_symbol[member.symbol].number


_SIDES = (int(Side.BUY), int(Side.SELL))


def _by_time(venue: Venue) -> list[Instrument]:
    """Instruments with a timer, the earliest first."""
    return sorted((each for each in venue.instruments if each.due_ns), key=lambda each: (each.due_ns, each.number))


def _first_of_groups(venue: Venue) -> dict[int, int]:
    """Number of the first participant of each group."""
    first: dict[int, int] = {}
    for each in venue.participants:
        first.setdefault(each.group, each.number)
    return first


def _counters(venue: Venue, seq: int, timers: list[int]) -> tuple[int, ...]:
    room, row = venue.capacity, venue.continuation
    waits = tuple(row[: len(CONTINUATION_COLUMNS)]) if isinstance(row, Row) else (0,) * len(CONTINUATION_COLUMNS)
    with_stops = (each.number for each in venue.instruments if each.stops)
    with_pegs = (each.number for each in venue.instruments if each.pegs)
    meeting = (each.number for each in venue.instruments if each.midpoint and all(each.midpoint.sides.values()))
    with_breakers = (each.number for each in venue.instruments if each.breaker)
    of_indices = (venue.instrument_by_symbol[each.symbol].number for index in venue.indices for each in index.members)
    return (
        venue.now_ns, venue.trading_day, seq, venue.epoch, venue.last_order_number, venue.last_trade_number,
        venue.open_order_count, room.orders_max, venue.id_count, room.ids_max, len(venue.instruments),
        room.instruments_max, len(venue.participants), room.participants_max, len(venue.calls),
        len({*venue.calls, *with_stops, *with_breakers, *of_indices, *meeting, *with_pegs}), venue.slices,
        len(venue.expiries), venue.peg_count, len(venue.indices), len(venue.gathered), venue.gathered_name,
        timers[0] if timers else 0, timers[-1] if timers else 0,
        venue.day_start_ns, venue.speed_bump_ns, len(venue.waiting), int(row is not None), *waits,
    )  # fmt: skip


def _instrument(instrument: Instrument, timers: list[int]) -> tuple[int, ...]:
    before = after = 0
    breaker = instrument.breaker
    if instrument.due_ns:
        at = timers.index(instrument.number)
        before, after = (timers[at - 1] if at else 0), (timers[at + 1] if at + 1 < len(timers) else 0)
    published = instrument.published if instrument.phase in CALLS else (0, 0, 0)
    return (
        instrument.symbol, instrument.tick_e4, instrument.lot, instrument.defined_reference_e4,
        instrument.last_trade_e4, int(instrument.phase), instrument.adv_qty, instrument.due_ns, before, after, 0,
        0 if instrument.band_bps is None else 1 + instrument.band_bps, int(instrument.cancel_on_halt),
        int(instrument.midpoint is not None),
        *((1 + breaker.bps, breaker.window_s, breaker.halt_ns) if breaker else (0, 0, 0)),
        (instrument.last_uncross_e4 or instrument.defined_reference_e4) if breaker else 0,
        *published,
    )  # fmt: skip


def _participant(participant: Participant, groups: dict[int, int]) -> tuple[int, ...]:
    group_name = 0 if participant.group == -participant.number else participant.group
    limited = sum(set_bits(each) != 0 for each in (participant.limits, *participant.limits_in.values()))
    return (
        participant.name, groups[participant.group], group_name, participant.permissions, int(participant.killed),
        len(participant.open_orders), participant.open_notional_e4, len(participant.ids), limited,
        participant.counted_ns[-1] if participant.counted_ns else 0,
    )  # fmt: skip


def _ends_at_uncross(order: Order) -> bool:
    """True of an opening or closing order with a limit that is in the book."""
    return order.time_in_force in FOR_AUCTION and order.price_e4 != 0 and not order.aside


def _instructions(order: Order) -> int:
    """Instructions with the bits that the compiled engine keeps among them."""
    kept = (order.in_midpoint, IN_MIDPOINT), (order.aside, ASIDE), (_ends_at_uncross(order), ENDING)
    return order.instructions | sum(bit for is_set, bit in kept if is_set)


def _order(venue: Venue, order: Order) -> tuple[int, ...]:
    return (
        order.order_number, order.client_order_id, order.price_e4, order.qty, order.leaves_qty, order.cum_qty,
        order.participant.number, order.instrument.number,
        _instructions(order),
        order.side, order.time_in_force, order.self_trade, int(order.id_day != venue.trading_day),
        order.notional_price_e4, order.stop_e4, order.display_qty, order.shown_qty, order.slices, order.until_ns,
        order.peg, order.offset_e4, order.peg_e4,
    )  # fmt: skip


def _ids(venue: Venue) -> Iterator[tuple[int, ...]]:
    for participant in venue.participants:
        for client_order_id, order in sorted(participant.ids.items(), key=lambda each: each[0]):
            number, carried = (0, 0) if order is None else (order.order_number, order.id_day != venue.trading_day)
            yield participant.number, client_order_id, number, int(carried)


def _books(venue: Venue) -> Tables:
    levels = list(_levels(venue))
    queues = ((*_place(*each), order.order_number) for each in levels for order in each[2])
    best = (
        (each.number, side, *(_best_tick(each, side, hidden) for hidden in (False, True)))
        for each in venue.instruments
        for side in _SIDES
    )
    return {
        "levels": table(((*_place(*each), each[2].leaves_qty) for each in levels), len(LEVEL_COLUMNS)),
        "queues": table(queues, len(QUEUE_COLUMNS)),
        "best": table(best, len(BEST_COLUMNS)),
        "stops": table(_stops(venue), len(STOP_COLUMNS)),
        "midpoint": table(_midpoint(venue), len(MIDPOINT_COLUMNS)),
        "aside": table(_aside(venue), len(ASIDE_COLUMNS)),
        "pegs": table(_pegs(venue), len(PEG_COLUMNS)),
        "ending": table(_ending(venue), len(ENDING_COLUMNS)),
    }


def _stops(venue: Venue) -> Iterator[tuple[int, ...]]:
    for instrument in venue.instruments:
        for side in _SIDES:
            for order in instrument.stops.orders(side):
                yield instrument.number, side, order.stop_e4, order.order_number


def _ending(venue: Venue) -> Iterator[tuple[int, ...]]:
    for instrument in venue.instruments:
        for number in sorted(each.order_number for each in instrument.open_orders() if _ends_at_uncross(each)):
            yield instrument.number, number


def _midpoint(venue: Venue) -> Iterator[tuple[int, ...]]:
    for instrument in venue.instruments:
        for side in _SIDES:
            orders = instrument.midpoint.orders(side) if instrument.midpoint else ()
            for order in sorted(orders, key=lambda each: each.priority):
                yield instrument.number, side, order.price_e4, order.order_number


def _aside(venue: Venue) -> Iterator[tuple[int, ...]]:
    for instrument in venue.instruments:
        for side in _SIDES:
            for order in instrument.aside.values():
                if order.side == side:
                    yield instrument.number, side, order.order_number


def _pegs(venue: Venue) -> Iterator[tuple[int, ...]]:
    for instrument in venue.instruments:
        for side, peg in sorted(instrument.pegs, key=lambda each: (-each[0], each[1])):
            for number in instrument.pegs[side, peg]:
                yield instrument.number, side, peg, instrument.peg_references[side, peg], number


def _levels(venue: Venue) -> Iterator[tuple[Instrument, int, Level]]:
    for instrument in venue.instruments:
        for side in _SIDES:
            for level in instrument.book.levels(side):
                yield instrument, side, level


def _place(instrument: Instrument, side: int, level: Level) -> tuple[int, int, int, int]:
    return instrument.number, side, level.price_e4, int(level.hidden)


def _best_tick(instrument: Instrument, side: int, hidden: bool) -> int:
    """Tick of the best limit of displayed or of hidden orders; 0 for none. Between two ticks the better one."""
    levels = (level for level in instrument.book.levels(side) if level.price_e4)
    prices = (level.price_e4 for level in levels if level.hidden == hidden)
    price_e4 = next(prices, 0)
    return -(-price_e4 // instrument.tick_e4) if side == Side.BUY else price_e4 // instrument.tick_e4


def _risk(venue: Venue) -> Tables:
    limited = ([row[name] for name in ("participant", "instrument", *LIMIT_COLUMNS)] for row in limits(venue, 0))
    entries = ((each.number, time_ns) for each in venue.participants for time_ns in each.counted_ns)
    return {
        "exposures": table(_exposures(venue), len(EXPOSURE_COLUMNS)),
        "limits": table(limited, 2 + len(LIMIT_COLUMNS)),
        "entries": table(entries, len(ENTRY_COLUMNS)),
    }


def _exposures(venue: Venue) -> Iterator[tuple[int, ...]]:
    for participant in venue.participants:
        for number in sorted(participant.holdings.keys() | participant.limits_in.keys()):
            holding, limited = participant.holdings.get(number), participant.limits_in.get(number)
            numbers: tuple[int, ...] = (0, 0, 0)
            if holding is not None:
                numbers = (holding.position_qty, holding.open_buy_qty, holding.open_sell_qty)
            row = (*numbers, set_bits(limited) if limited is not None else 0)
            if any(row):
                yield participant.number, number, *row
