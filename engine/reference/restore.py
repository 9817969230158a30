"""The venue out of an image of the compiled engine: its fields by name, as the plain objects of this engine.

Only what cannot be worked out from the rest is taken from the image. Queues come from the links between orders; sums,
levels, counters of orders and ids and the list of calls are made anew, so that a difference from what the compiled
engine counted shows when the two are compared.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.bounds import MEMBERS_MAX, MEMORY_SECONDS, RATE_ORDERS_MAX
from engine.capacity import Capacity
from engine.errors import InvariantError
from engine.parts import Arrays, fill_pages, fill_state, is_of_earlier_day, is_stale, regions
from engine.places import peg_row
from engine.records import COMMAND, CommandKind, Instruction, Limit, Phase
from engine.reference.check import check_state
from engine.reference.exposure import add_open
from engine.reference.rows import Row, rows_of
from engine.reference.state import (
    Breaker,
    Index,
    Indicative,
    Instrument,
    Limits,
    Member,
    MidpointBook,
    Order,
    Participant,
)
from engine.reference.venue import CALLS, Schedule, Venue, Waiting
from engine.state import ASIDE, CONTINUED, EXPOSURE, ID_LINE_ROWS, IN_MIDPOINT, IN_STATE_ALONE, State, new_state
from engine.state_forms import live_ids

Rows = np.ndarray[Any, Any]

#: Bit of the slot in a row of ids: the id is of an earlier trading day.
_CARRIED: Final = 2**31


def restored_venue(capacity: Capacity, parts: dict[str, Arrays]) -> tuple[Venue, int]:
    """The venue, and the number of its last command. Raises KeyError or ValueError where the parts are no whole image
    of that capacity."""
    state = new_state(capacity)
    fill_state(state, parts)
    venue = _with_instruments(capacity, state)
    _set_positions_and_limits(venue, venue.participants, state)
    _set_entry_times(venue.participants, state)
    by_slot = dict(_orders(venue, state, np.flatnonzero(state.orders["participant"])))
    _rest(venue, state, by_slot)
    for instrument in venue.calls.values():
        instrument.book.depth = instrument.book.counted()
    _set_ids(venue, (live_ids(state)[0],), by_slot)
    venue.id_count = sum(len(participant.ids) for participant in venue.participants)
    if venue.id_count != int(state.venue[0]["ids_used"]):
        raise ValueError(f"{venue.id_count} ids are in use, {int(state.venue[0]['ids_used'])} are counted")
    try:
        check_state(venue)
    except InvariantError as error:
        raise ValueError(f"the image is not whole: {error}") from error
    return venue, int(state.venue[0]["seq"])


def venue_about(capacity: Capacity, parts: dict[str, Arrays], numbers: Collection[int], instrument: int = 0) -> Venue:
    """The venue with the orders, ids, limits and holdings of the participants ``numbers`` alone, and the whole book of
    ``instrument`` (0: of none); its counts of orders and ids are those of all.

    For questions about what these participants have, which a busy day's ids of all would take seconds. Unchecked, and
    no market to go on with. Raises as ``restored_venue``.
    """
    state = new_state(capacity)
    state.venue[:] = parts["venue"]["venue"]
    for region in regions(state)[1:]:
        if region.part in ("ids", "books"):
            continue
        if region.paged:
            fill_pages(region.rows, parts[region.part], region.name)
        else:
            region.rows[:] = parts[region.part][region.name]
    counters = state.venue[0]
    venue = _with_instruments(capacity, state)
    asked = [each for each in venue.participants if each.number in numbers]
    known = [each.number for each in asked]
    _set_positions_and_limits(venue, asked, state)
    _set_entry_times(asked, state)
    owners, instruments = state.orders["participant"], state.orders["instrument"]
    chosen = _of_any(owners, known) | ((owners != 0) & (instruments == instrument))
    by_slot = dict(_orders(venue, state, np.flatnonzero(chosen)))
    _rest(venue, state, {slot: each for slot, each in by_slot.items() if each.instrument.number == instrument})
    kept = parts["ids"]
    ids, places = kept["ids_pages"].reshape(-1).view(state.ids.dtype), kept["ids_places"]
    of_day, before = kept["id_tree"][1:], kept["old_id_tree"][1:]
    own = [rows[_of_any(rows["participant"], known)] for rows in (ids, of_day, before)]
    at = np.flatnonzero(_of_any(ids["participant"], known))
    of_page = max(len(ids) // max(len(places), 1), 1)
    # What is of the day before counts only where an open order bears it.
    stale = is_stale(kept["stale_lines"], (places[at // of_page] * of_page + at % of_page) // ID_LINE_ROWS)
    own[0]["slot"][stale] |= _CARRIED
    own[1]["slot"][is_of_earlier_day(own[1], int(counters["days"]))] |= _CARRIED
    own[2]["slot"] |= _CARRIED
    _set_ids(venue, own, by_slot)
    venue.open_order_count, venue.id_count = int(counters["orders_open"]), int(counters["ids_used"])
    return venue


def _of_any(owners: Rows, numbers: Collection[int]) -> NDArray[np.bool_]:
    """Mask of the rows of a few participants: one comparison each costs a fraction of a search in a list."""
    found = np.zeros(len(owners), np.bool_)
    for number in numbers:
        found |= owners == number
    return found


def _with_instruments(capacity: Capacity, state: State) -> Venue:
    """The venue with its instruments and participants, before these have anything."""
    counters = state.venue[0]
    venue = Venue(capacity, now_ns=int(counters["now_ns"]), trading_day=int(counters["trading_day"]))
    venue.epoch = int(counters["epoch"])
    venue.day_start_ns, venue.speed_bump_ns = int(counters["day_start_ns"]), int(counters["speed_bump_ns"])
    venue.last_order_number = int(counters["last_order_number"])
    venue.last_trade_number = int(counters["last_trade_number"])
    if counters["special"] & CONTINUED:
        venue.continuation = _continuation(counters)
    for row in state.instruments[: int(counters["instruments"])]:
        _add_instrument(venue, row)
    for instrument in venue.instruments:
        _set_breaker(state, instrument)
    _set_indices(venue, state)
    _set_waiting(venue, state)
    for each in state.schedules[: int(counters["schedules"])]:
        venue.schedules.append(Schedule(int(each["due_ns"]), int(each["instrument"]), Phase(int(each["phase"]))))
    first_of: dict[int, int] = {}
    for row in state.participants[: int(counters["participants"])]:
        _add_participant(venue, row, first_of)
    return venue


def _set_waiting(venue: Venue, state: State) -> None:
    counters = state.venue[0]
    places = (int(counters["waiting_first"]) + np.arange(int(counters["waiting"]))) % len(state.waits)
    rows = [row for chunk in rows_of(state.waiting[places].view(COMMAND)) for row in chunk]
    for place, row in zip(places.tolist(), rows, strict=True):
        each = state.waits[place]
        venue.waiting.append(Waiting(int(each["seq"]), int(each["due_ns"]), row))


def _continuation(counters: Any) -> Row:
    """The EXTEND row that waits for its command."""
    numbers = [int(counters[f"continuation_{place}"]) for place in (0, 8, 16, 24, 32, 40)]
    rest = dict.fromkeys(Row._fields[len(numbers) :], 0)
    return Row(**dict(zip(Row._fields, numbers, strict=False)), **rest | {"kind": int(CommandKind.EXTEND)})


def _add_instrument(venue: Venue, row: Any) -> None:
    number = len(venue.instruments) + 1
    instrument = Instrument(
        number,
        int(row["symbol"]),
        int(row["tick_e4"]),
        int(row["lot"]),
        int(row["reference_e4"]),
        int(row["adv_qty"]),
        band_bps=int(row["band"]) - 1 if row["band"] else None,
        cancel_on_halt=bool(row["cancel_on_halt"]),
        midpoint=MidpointBook() if row["midpoint"] else None,
        last_uncross_e4=int(row["memory_base_e4"]),
        phase=Phase(int(row["phase"])),
        due_ns=int(row["due_ns"]),
        last_trade_e4=int(row["last_trade_e4"]),
    )
    if instrument.phase in CALLS:
        published = (int(row[name]) for name in ("indicative_e4", "paired_qty", "imbalance_qty"))
        instrument.published = Indicative(*published)
        venue.calls[number] = instrument
    venue.add_instrument(instrument)


def _set_breaker(state: State, instrument: Instrument) -> None:
    row = state.instruments[instrument.number - 1]
    if not row["volatility"]:
        return
    window_s, halt_ns = int(row["volatility_window_s"]), int(row["volatility_halt_ns"])
    instrument.breaker = Breaker(int(row["volatility"]) - 1, window_s, halt_ns)
    ring = state.trade_seconds[(instrument.number - 1) * MEMORY_SECONDS :][:MEMORY_SECONDS]
    for turn in range(int(row["memory_count"])):
        kept = ring[(int(row["memory_first"]) + turn) % MEMORY_SECONDS]
        instrument.trade_seconds[int(kept["second"])] = int(kept["price_e4"])


def _set_indices(venue: Venue, state: State) -> None:
    counters = state.venue[0]
    waiting = state.members[: min(int(counters["gathered"]), MEMBERS_MAX)]
    venue.gathered_name = int(counters["gathered_name"])
    venue.gathered = [Member(int(each["symbol"]), int(each["weight"])) for each in waiting]
    if counters["gathered"] > MEMBERS_MAX:
        venue.gathered.append(Member(0, 0))  # one too many, whichever it was
    for at, row in enumerate(state.indices[: int(counters["indices"])], 1):
        rows = state.members[at * MEMBERS_MAX :][: int(row["members"])]
        members = [Member(int(each["symbol"]), int(each["weight"])) for each in rows]
        numbers = [(int(row[f"level_{level}_bps"]), int(row[f"level_{level}_ns"])) for level in (1, 2, 3)]
        levels = [each for each in numbers if each[0]]
        index = Index(int(row["name"]), members, levels, int(row["opening_e4"]), int(row["reached"]))
        venue.indices.append(index)


def _add_participant(venue: Venue, row: Any, first_of: dict[int, int]) -> None:
    """``first_of``: the first participant of each group so far."""
    number = len(venue.participants) + 1
    group = int(row["group_name"]) or -number
    participant = Participant(number, int(row["name"]), group, int(row["permissions"]), killed=bool(row["killed"]))
    venue.add_participant(participant)
    first = first_of.setdefault(group, number)
    if first != int(row["group"]):
        raise ValueError(f"participant {number} is of the group of participant {int(row['group'])}, not of {first}")


def _set_positions_and_limits(venue: Venue, participants: Iterable[Participant], state: State) -> None:
    stride = len(state.instruments) + 1
    exposures = state.exposures.view(EXPOSURE)
    for participant in participants:
        start = participant.number * stride
        positions = exposures["position_qty"][start : start + stride]
        for number in np.flatnonzero(positions).tolist():
            instrument = venue.instrument(number)
            if instrument is None:
                raise ValueError(f"participant {participant.number} has a position in instrument {number}, not defined")
            participant.holding(instrument).position_qty = int(positions[number])
        limits = state.limits[start : start + stride]
        for number in np.flatnonzero(limits["limits"]).tolist():
            if number == 0:
                participant.limits = _limits(limits[0])
            else:
                participant.limits_in[number] = _limits(limits[number])


def _limits(row: Any) -> Limits:
    is_set = Limit(int(row["limits"]))

    def value(limit: Limit, name: str) -> int | None:
        """Value of a limit, or None where it is not set."""
        return int(row[name]) if limit in is_set else None

    rate = (int(row["rate_orders"]), int(row["rate_window_ns"]))
    return Limits(
        max_order_qty=value(Limit.MAX_ORDER_QTY, "max_order_qty"),
        max_order_value_e4=value(Limit.MAX_ORDER_VALUE, "max_order_value_e4"),
        max_position_qty=value(Limit.MAX_POSITION, "max_position_qty"),
        adv_share_bps=value(Limit.ADV, "adv_share_bps"),
        order_rate=rate if Limit.ORDER_RATE in is_set else None,
        credit_e4=value(Limit.CREDIT, "credit_e4"),
        margin_bps=value(Limit.MARGIN, "margin_bps"),
        restricted=Limit.RESTRICTED in is_set,
        max_open_orders=value(Limit.MAX_OPEN_ORDERS, "max_open_orders"),
        max_ids=value(Limit.MAX_IDS, "max_ids"),
    )


def _set_entry_times(participants: Iterable[Participant], state: State) -> None:
    """Times of the newest entries, each as often as there were entries at it.

    The ring of a participant has, for each time, how many entries were made before.
    """
    for participant in participants:
        row = state.participants[participant.number - 1]
        newest = int(row["entry_time_count"])
        places = np.arange(max(newest + 1 - RATE_ORDERS_MAX, 0), newest + 1) % RATE_ORDERS_MAX
        ring = state.entry_times[(participant.number - 1) * RATE_ORDERS_MAX :][places]
        counts = np.diff(ring["entries"], append=int(row["entries"]))
        if (counts < 0).any():
            raise ValueError(f"the entries of participant {participant.number} are not in order")
        for time_ns, count in zip(ring["time_ns"].tolist(), counts.tolist(), strict=True):
            participant.counted_ns.extend([time_ns] * min(count, RATE_ORDERS_MAX))


def _orders(venue: Venue, state: State, slots: NDArray[np.intp]) -> Iterator[tuple[int, Order]]:
    """Slot and order of each open order, in order of acceptance; each is known to participant and instrument.

    ``slots``: those in which there is an order.
    """
    for slot in slots[np.argsort(state.orders["order_number"][slots], kind="stable")].tolist():
        row = state.orders[slot]
        participant, instrument = venue.participant(int(row["participant"])), venue.instrument(int(row["instrument"]))
        if participant is None or instrument is None:
            raise ValueError(
                f"order {int(row['order_number'])} is of a participant or an instrument that is not defined"
            )
        market = bool(int(row["instructions"]) & Instruction.MARKET)
        stop_e4 = int(state.terms["stop_tick"][slot]) * instrument.tick_e4
        order = Order(
            order_number=int(row["order_number"]),
            client_order_id=int(row["client_order_id"]),
            id_day=venue.trading_day - int(row["id_day"] != state.venue[0]["id_day"]),
            participant=participant,
            instrument=instrument,
            side=int(row["side"]),
            price_e4=int(row["price_e4"]),
            qty=int(row["qty"]),
            leaves_qty=int(row["leaves_qty"]),
            time_in_force=int(row["time_in_force"]),
            self_trade=int(row["self_trade"]),
            instructions=int(row["instructions"]) & ~IN_STATE_ALONE,
            in_midpoint=bool(int(row["instructions"]) & IN_MIDPOINT),
            min_qty=0,  # of an order that rests it has no more say
            # An order with a limit counts with that, so that the image does not keep the price for it.
            entry_reference_e4=-int(row["tick"]) if market else instrument.reference_e4,
            holding=participant.holding(instrument),
            stop_e4=stop_e4,
            value_stop_e4=stop_e4,
            display_qty=int(state.terms["display_qty"][slot]),
            slices=int(state.terms["slices"][slot]),
            until_ns=int(state.terms["until_ns"][slot]),
            aside=bool(int(row["instructions"]) & ASIDE),
            peg=int(state.terms["peg"][slot]),
            offset_e4=int(state.terms["offset_e4"][slot]),
            peg_e4=int(state.terms["peg_e4"][slot]),
            cum_qty=int(row["cum_qty"]),
        )
        if order.peg:
            instrument.add_peg(order)
            at = peg_row(state, instrument.number, order.side, order.peg)
            instrument.peg_references[order.side, order.peg] = int(state.books["price_e4"][at])
            venue.peg_count += 1
        add_open(order, order.leaves_qty)
        participant.open_orders[order.order_number] = order
        venue.open_order_count += 1
        venue.slices += order.slices
        venue.note_expiry(order)
        yield slot, order


def _rest(venue: Venue, state: State, by_slot: dict[int, Order]) -> None:
    """Put each order in its queue: from those with none before them on, by the links."""
    behind, ahead = state.orders["next"], state.orders["prev"]
    aside = [slot for slot, order in by_slot.items() if order.in_midpoint]
    for slot in sorted(aside, key=lambda each: int(state.times[each])):
        venue.rest(by_slot[slot])
        by_slot[slot].priority = int(state.times[slot])
    begun: set[tuple[int, int, int, bool, bool]] = set()
    count = len(aside)
    for slot, first in by_slot.items():
        if ahead[slot] or first.in_midpoint:
            continue
        if first.peg and not first.peg_e4:
            count += 1
            continue
        queue = _queue_of(first)
        if queue in begun:
            raise ValueError(f"the queue at the price of order {first.order_number} has two beginnings")
        begun.add(queue)
        at = slot
        while at:
            order = by_slot.get(at)
            if order is None or order.priority or _queue_of(order) != queue:
                raise ValueError(f"the queue behind order {first.order_number} leads to an order that is not in it")
            venue.rest(order)
            order.shown_qty = int(state.terms["shown_qty"][at])
            order.priority = int(state.times[at])
            count += 1
            at = int(behind[at])
    if count != len(by_slot):
        raise ValueError(f"{len(by_slot)} orders are open, {count} are in a queue")
    venue.priority = int(state.venue[0]["last_time"])


def _queue_of(order: Order) -> tuple[int, int, int, bool, bool]:
    """Instrument, side, price and visibility, by which an order has its queue; of a dormant order its stop."""
    price_e4 = -1 if order.aside else order.stop_e4 or order.trading_e4
    return order.instrument.number, order.side, price_e4, order.dormant, order.hidden


def _set_ids(venue: Venue, ids: Sequence[Rows], by_slot: dict[int, Order]) -> None:
    """Ids of the day, those whose order is gone too; of earlier days those that an open order bears."""
    for table in ids:
        rows = table[table["participant"] != 0]
        # Columns as lists: a row of an array costs several times as much, and there are millions.
        columns = (rows[name].tolist() for name in ("participant", "slot", "client_order_id"))
        for number, slot, client_order_id in zip(*columns, strict=True):
            participant = venue.participant(number)
            if participant is None:
                raise ValueError(f"an id is of participant {number}, who is not defined")
            order = by_slot.get(slot % _CARRIED)
            if order is not None and (order.participant is not participant or order.client_order_id != client_order_id):
                order = None
            if client_order_id in participant.ids:
                raise ValueError(f"id {client_order_id} of participant {participant.number} is there twice")
            if order is not None or slot < _CARRIED:
                participant.ids[client_order_id] = order
