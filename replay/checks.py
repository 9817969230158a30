"""The checks that an order command went through, each with its limit and what was held against it (rulebook section 8).

The numbers are those of the readable engine's venue, restored from the compiled engine before the command. Which check
refused is what the recorded event says: the checks before it passed, and those after it were not reached.
"""

from collections.abc import Callable, Mapping
from typing import Final, Literal, NamedTuple

from engine.bounds import BPS_MAX, PRICE_E4_MAX, QTY_MAX
from engine.records import Book, CommandKind, Instruction, Phase, Reason, Side
from engine.reference.order_checks import check_phase, check_phase_of_cross
from engine.reference.rows import Row
from engine.reference.state import Instrument, Limits, Order, Participant
from engine.reference.venue import Venue

Verdict = Literal["passed", "refused", "not_reached"]

_PHASES: Final = (Reason.HALTED, Reason.CLOSED, Reason.NOT_CONTINUOUS, Reason.NOT_AUCTION)
_NO_LIMITS: Final = Limits()


class Check(NamedTuple):
    """One check. ``reasons``: those that it may refuse with. ``value`` is held against ``limit``, both in ``unit``.

    They are None where there is no limit, or it is no number. ``used``: what of the limit was in use before the
    command, which ``value`` counts in; None where a limit is of each command by itself. ``least``: the limit is the
    least value that passes. ``met`` and ``takes``: value and limit in words, where they are phases.
    """

    name: str
    reasons: tuple[Reason, ...]
    limit: int | None = None
    value: int | None = None
    unit: str = ""
    used: int | None = None
    least: bool = False
    met: str = ""
    takes: str = ""


class Met(NamedTuple):
    """Checks of a command, and the numbers of its instrument and of its order before it; 0 for none."""

    checks: list[Check]
    instrument: int
    order_number: int


def met(venue: Venue, row: Row, ids_used: Mapping[int, int] | None = None) -> Met:
    """Checks of a command in their order, as the venue stands before it.

    ids_used: of each participant by number, where the venue does not know the ids of orders that are gone.
    """

    def own_ids(participant: Participant) -> int:
        return len(participant.ids) if ids_used is None else ids_used[participant.number]

    participant = venue.participant(row.participant)
    if row.kind == CommandKind.ENTER:
        instrument = venue.instrument(row.instrument)
        checks = [Check("participant is known", (Reason.UNKNOWN_PARTICIPANT,))]
        checks.append(Check("instrument is known", (Reason.UNKNOWN_INSTRUMENT,)))
        if participant is not None and instrument is not None:
            checks += _entry(venue, row, participant, instrument, own_ids(participant))
        return Met(checks, row.instrument if instrument else 0, 0)
    if row.kind in (CommandKind.CANCEL, CommandKind.REPLACE):
        order = participant.open_order(row.client_order_id) if participant else None
        checks = [Check("order is open", (Reason.UNKNOWN_ORDER,))]
        if participant is None or order is None:
            return Met(checks, 0, 0)
        if row.kind == CommandKind.REPLACE:
            checks += _replace(venue, row, participant, order, own_ids(participant))
        elif row.qty:
            open_qty = row.qty - order.cum_qty
            checks += [
                Check("leaves less open", (Reason.INVALID_QTY,), order.leaves_qty - 1, open_qty, "shares"),
                Check("lot", (Reason.INVALID_LOT,), order.instrument.lot, row.qty, "shares"),
            ]
        return Met(checks, order.instrument.number, order.order_number)
    if row.kind == CommandKind.CROSS:
        return _cross(venue, row, own_ids)
    return Met([], 0, 0)


def verdicts(checks: list[Check], refused: Reason | None) -> list[Verdict]:
    """Verdict of each check, given the reason with which the command was refused (None: it was not)."""
    at = len(checks)
    if refused is not None:
        fits = [place for place, check in enumerate(checks) if refused in check.reasons]
        # Of two checks with one reason it is the one whose limit is reached.
        full = [place for place in fits if _reached(checks[place])]
        at = (full or fits or [-1])[0]
    return ["passed" if place < at else "refused" if place == at else "not_reached" for place in range(len(checks))]


def _reached(check: Check) -> bool:
    """True if a check refuses by its limit: room must be left, and any other limit may be met."""
    if check.limit is None or check.value is None:
        return False
    if check.least:
        return check.value < check.limit
    return check.value >= check.limit if Reason.CAPACITY in check.reasons else check.value > check.limit


def _room(name: str, room: int, used: int, unit: str) -> Check:
    """A check that room is left: what is in use is held against the room itself."""
    return Check(name, (Reason.CAPACITY,), room, used, unit, used)


def _phase(instrument: Instrument, refuses: Callable[[Phase], Reason | None]) -> Check:
    """The check of the phase, with the phase and those that it takes."""
    takes = [phase.name.lower() for phase in Phase if refuses(phase) is None]
    others = [phase.name.lower() for phase in Phase if refuses(phase) is not None]
    words = ", ".join(takes) if len(takes) <= len(others) else f"all but {', '.join(others)}"
    return Check("phase", _PHASES, met=Phase(instrument.phase).name.lower(), takes=words)


def _terms(row: Row, instrument: Instrument, refuses: Callable[[Phase], Reason | None]) -> list[Check]:
    checks = [
        _phase(instrument, refuses),
        Check("quantity", (Reason.INVALID_QTY,), QTY_MAX, row.qty, "shares"),
        Check("lot", (Reason.INVALID_LOT,), instrument.lot, row.qty, "shares"),
    ]
    prices = {} if row.instructions & Instruction.MARKET else {"price": row.price_e4}
    if row.instructions & Instruction.STOP:
        prices["stop"] = row.stop_e4
    for name, price_e4 in prices.items():
        checks.append(Check(name, (Reason.INVALID_PRICE,), PRICE_E4_MAX, price_e4, "price_e4"))
    for name, price_e4 in prices.items():
        what = "tick" if name == "price" else f"tick of the {name}"
        checks.append(Check(what, (Reason.INVALID_TICK,), instrument.tick_e4, price_e4, "price_e4"))
    return [*checks, Check("instructions fit", (Reason.INVALID_INSTRUCTION,))]


def _entry(venue: Venue, row: Row, participant: Participant, instrument: Instrument, own_ids: int) -> list[Check]:
    price_e4 = row.price_e4 or (row.stop_e4 if row.instructions & Instruction.STOP else instrument.reference_e4)
    limits = participant.limits
    ids = [limits.max_ids or venue.capacity.ids_max, venue.capacity.ids_max]
    orders = [limits.max_open_orders or venue.capacity.orders_max, venue.capacity.orders_max]
    return [
        Check("not killed", (Reason.KILLED,)),
        *_terms(row, instrument, lambda phase: check_phase(phase, row.time_in_force, row.instructions, row.book)),
        Check("id is new today", (Reason.DUPLICATE_ID,)),
        Check("not restricted", (Reason.RESTRICTED,)),
        Check("market order permitted", (Reason.MARKET_NOT_PERMITTED,)),
        Check("stp=none permitted", (Reason.STP_NOT_PERMITTED,)),
        *_band(row, instrument, row.side, row.stop_e4 if row.instructions & Instruction.STOP else 0),
        *_limits(venue, participant, instrument, row.side, row.qty, price_e4, row.qty, None),
        Check("post-only trades nothing", (Reason.WOULD_CROSS,)),
        _room("own open orders", orders[0], len(participant.open_orders), "orders"),
        _room("all open orders", orders[1], venue.open_order_count, "orders"),
        _room("own order ids", ids[0], own_ids, "ids"),
        _room("all order ids", ids[1], venue.id_count, "ids"),
    ]


def _cross(venue: Venue, row: Row, own_ids: Callable[[Participant], int]) -> Met:
    """Checks of a cross (section 13, 35): the displayed quotes are bounds of its price."""
    reporter, instrument = venue.participant(row.participant), venue.instrument(row.instrument)
    sides = [(Side.BUY, "buyer", row.buyer), (Side.SELL, "seller", row.seller)]
    checks = [Check("participants are known", (Reason.UNKNOWN_PARTICIPANT,))]
    checks.append(Check("instrument is known", (Reason.UNKNOWN_INSTRUMENT,)))
    known = [venue.participant_by_name.get(name) for _, _, name in sides]
    if reporter is None or instrument is None or None in known:
        return Met(checks, row.instrument if instrument else 0, 0)
    bid_e4, offer_e4 = (instrument.book.displayed_best_e4(side) for side in (Side.BUY, Side.SELL))
    checks += [
        Check("none is killed", (Reason.KILLED,)),
        *_terms(row, instrument, check_phase_of_cross),
        Check("id is new today", (Reason.DUPLICATE_ID,)),
        Check("neither is restricted", (Reason.RESTRICTED,)),
        Check("not below the bid", (Reason.PRICE_BAND,), bid_e4 or None, row.price_e4, "price_e4", least=True),
        Check("not above the offer", (Reason.PRICE_BAND,), offer_e4 or None, row.price_e4, "price_e4"),
    ]
    of_both = [
        _limits(venue, each, instrument, side, row.qty, row.price_e4, row.qty, None)
        for (side, _, _), each in zip(sides, known, strict=True)
        if each is not None
    ]
    for reason in (Reason.POSITION_LIMIT, Reason.CREDIT):
        for (_, who, _), found in zip(sides, of_both, strict=True):
            checks += [each._replace(name=f"{each.name} of the {who}") for each in found if reason in each.reasons]
    ids_max = reporter.limits.max_ids or venue.capacity.ids_max
    checks.append(_room("own order ids", ids_max, own_ids(reporter), "ids"))
    checks.append(_room("all order ids", venue.capacity.ids_max, venue.id_count, "ids"))
    return Met(checks, instrument.number, 0)


def _band(row: Row, instrument: Instrument, side: int, stop_e4: int) -> list[Check]:
    """The fat finger: how far a limit price is from the reference price, of a stop-limit from its stop."""
    if instrument.band_bps is None or row.instructions & Instruction.MARKET:
        return []
    from_e4 = stop_e4 or instrument.reference_e4
    limit_e4, away_e4 = from_e4 * instrument.band_bps // BPS_MAX, side * (row.price_e4 - from_e4)
    return [Check("price band", (Reason.PRICE_BAND,), limit_e4, max(away_e4, 0), "price_e4")]


def _replace(venue: Venue, row: Row, participant: Participant, order: Order, own_ids: int) -> list[Check]:
    open_qty = row.qty - order.cum_qty
    stop_e4 = row.stop_e4 if row.instructions & Instruction.STOP else order.value_stop_e4
    price_e4 = row.price_e4 or stop_e4 or order.entry_reference_e4
    limits = participant.limits
    book = Book.MIDPOINT if order.in_midpoint else Book.LIT

    def refuses(phase: Phase) -> Reason | None:
        return check_phase(phase, order.time_in_force, order.instructions, book)

    checks = [*_terms(row, order.instrument, refuses), Check("id is new today", (Reason.DUPLICATE_ID,))]
    if open_qty <= 0:
        return checks
    return [
        *checks,
        Check("not restricted", (Reason.RESTRICTED,)),
        *_band(row, order.instrument, order.side, stop_e4 if order.dormant else 0),
        *_limits(venue, participant, order.instrument, order.side, row.qty, price_e4, open_qty, order),
        Check("post-only trades nothing", (Reason.WOULD_CROSS,)),
        _room("own order ids", limits.max_ids or venue.capacity.ids_max, own_ids, "ids"),
        _room("all order ids", venue.capacity.ids_max, venue.id_count, "ids"),
    ]


def _limits(
    venue: Venue,
    participant: Participant,
    instrument: Instrument,
    side: int,
    qty: int,
    price_e4: int,
    open_qty: int,
    replaced: Order | None,
) -> list[Check]:
    """The rows of section 8 from ``max_order_qty`` to ``credit``."""
    own, every = participant.limits_in.get(instrument.number, _NO_LIMITS), participant.limits

    def of(name: str) -> int | None:
        value: int | None = getattr(own, name)
        return getattr(every, name) if value is None else value

    share_bps = of("adv_share_bps")
    adv_qty = None if share_bps is None or not instrument.adv_qty else share_bps * instrument.adv_qty // BPS_MAX
    was_qty = replaced.leaves_qty if replaced else 0
    was_e4 = replaced.leaves_qty * replaced.notional_price_e4 if replaced else 0
    holding = participant.holding(instrument)
    held_qty = side * holding.position_qty + holding.open_qty(side)
    position_qty = held_qty - was_qty + open_qty
    grows, costs_more = open_qty > was_qty, open_qty * price_e4 > was_e4
    margin_bps = BPS_MAX if every.margin_bps is None else every.margin_bps
    margin_e4 = margin_bps * venue.held_value_e4(participant) // BPS_MAX
    used_e4 = participant.open_notional_e4 + margin_e4
    credit_e4 = used_e4 - was_e4 + open_qty * price_e4
    rate, counted, entries = None, None, None
    if every.order_rate is not None:
        rate, window_ns = every.order_rate
        counted = sum(at > venue.now_ns - window_ns for at in participant.counted_ns)
        entries = counted + 1
    may_hold_qty = of("max_position_qty") if grows else None
    may_use_e4 = every.credit_e4 if costs_more else None
    return [
        Check("order quantity", (Reason.MAX_ORDER_QTY,), of("max_order_qty"), qty, "shares"),
        Check("order value", (Reason.MAX_ORDER_VALUE,), of("max_order_value_e4"), qty * price_e4, "price_e4"),
        Check("order rate", (Reason.ORDER_RATE,), rate, entries, "entries", counted),
        Check("share of daily volume", (Reason.ADV,), adv_qty, qty, "shares"),
        Check("position", (Reason.POSITION_LIMIT,), may_hold_qty, position_qty, "shares", held_qty),
        Check("credit", (Reason.CREDIT,), may_use_e4, credit_e4, "price_e4", used_e4),
    ]
