"""Every promise that the state keeps between two commands, said once more and counted afresh.

Nothing here is used by the rules: a promise is worth checking because another file is believed to keep it.
"""

from engine.bounds import (
    ADV_QTY_MAX,
    BPS_MAX,
    EPOCH_MAX,
    INT64_MAX,
    PRICE_E4_MAX,
    QTY_MAX,
    RATE_ORDERS_MAX,
    RATE_WINDOW_NS_MAX,
    TIME_NS_MAX,
)
from engine.capacity import IDS_MAX_MAX, ORDERS_MAX_MAX, waiting_max
from engine.errors import InvariantError
from engine.names import is_name, unpack
from engine.records import Phase, Side, TimeInForce
from engine.reference.pegs import price_of
from engine.reference.rows import DISPLAY, HIDDEN, MARKET, OFFSET, PEG, POST_ONLY, STOP, UNTIL
from engine.reference.state import (
    MARKET_RANK,
    NOTHING_PAIRED,
    Indicative,
    Instrument,
    Level,
    Limits,
    Order,
    Participant,
    accepts,
)
from engine.reference.uncross import Candidate, chosen
from engine.reference.venue import CALLS, Venue


def check_state(venue: Venue) -> None:
    """Check all promises. Raises InvariantError with the first broken one."""
    _check_definitions(venue)
    _check_counters(venue)
    for participant in venue.participants:
        _check_participant(venue, participant)
        _check_exposure(participant)
        _check_limits(venue, participant)
    for instrument in venue.instruments:
        _check_instrument(instrument)
        _check_phase(venue, instrument)
    levels = [level for each in venue.instruments for side in Side for level in each.book.levels(side)]
    resting = sum(1 for level in levels for _ in level)
    resting += sum(1 for each in venue.instruments for side in Side for _ in each.stops.orders(side))
    midpoint = [each.midpoint for each in venue.instruments if each.midpoint is not None]
    resting += sum(1 for book in midpoint for side in Side for _ in book.orders(side))
    resting += sum(len(each.aside) for each in venue.instruments)
    pegs = [order for each in venue.instruments for of in each.pegs.values() for order in of.values()]
    resting += sum(not order.peg_e4 for order in pegs)
    _promise(len(pegs) == venue.peg_count, f"there are {len(pegs)} pegs, {venue.peg_count} are counted")
    _promise(resting == venue.open_order_count, f"{resting} orders rest, {venue.open_order_count} are open")


def _promise(kept: bool, broken: str) -> None:
    if not kept:
        raise InvariantError(broken)


def _check_definitions(venue: Venue) -> None:
    for at, instrument in enumerate(venue.instruments, 1):
        symbol = unpack(instrument.symbol)
        _promise(instrument.number == at, f"instrument {symbol} has number {instrument.number} at place {at}")
        _promise(is_name(instrument.symbol), f"instrument {at} has no name")
        _promise(venue.instrument_by_symbol.get(instrument.symbol) is instrument, f"{symbol} is not found by name")
        _promise(1 <= instrument.tick_e4 <= PRICE_E4_MAX, f"{symbol} has tick {instrument.tick_e4}")
        _promise(1 <= instrument.lot <= QTY_MAX, f"{symbol} has lot {instrument.lot}")
        _promise(1 <= instrument.defined_reference_e4 <= PRICE_E4_MAX, f"{symbol} has a reference out of bounds")
        _promise(0 <= instrument.adv_qty <= ADV_QTY_MAX, f"{symbol} has average daily volume {instrument.adv_qty}")
        # Pegs may trade between two ticks.
        _promise(0 <= instrument.last_trade_e4 <= PRICE_E4_MAX, f"{symbol} last traded at {instrument.last_trade_e4}")
    for at, participant in enumerate(venue.participants, 1):
        name = unpack(participant.name)
        _promise(participant.number == at, f"participant {name} has number {participant.number} at place {at}")
        _promise(is_name(participant.name), f"participant {at} has no name")
        _promise(venue.participant_by_name.get(participant.name) is participant, f"{name} is not found by name")
        own = participant.group == -participant.number
        _promise(own or is_name(participant.group), f"participant {name} has group {participant.group}")
    _promise(len(venue.instrument_by_symbol) == len(venue.instruments), "a symbol stands for no instrument")
    calls = [instrument.number for instrument in venue.instruments if instrument.phase in CALLS]
    _promise(list(venue.calls) == calls, f"instruments {calls} are in a call, {list(venue.calls)} by their list")
    _promise(len(venue.participant_by_name) == len(venue.participants), "a name stands for no participant")


def _check_counters(venue: Venue) -> None:
    capacity = venue.capacity
    _promise(0 <= venue.now_ns <= TIME_NS_MAX, f"the clock is at {venue.now_ns}")
    _promise(0 <= venue.epoch <= EPOCH_MAX, f"the epoch is {venue.epoch}")
    _promise(venue.trading_day == venue.day_of(venue.now_ns), f"day {venue.trading_day} is not that of the clock")
    due_ns = [each.due_ns for each in venue.waiting]
    _promise(due_ns == sorted(due_ns), "commands that wait are out of order")
    _promise(all(each > venue.now_ns for each in due_ns), "a command waits that was due")
    _promise(len(due_ns) <= waiting_max(capacity.orders_max), "more commands wait than there is room for")
    _promise(venue.speed_bump_ns > 0 or not due_ns, "a command waits without an entry delay")
    _promise(len(venue.instruments) <= capacity.instruments_max, "there are more instruments than there is room for")
    _promise(len(venue.participants) <= capacity.participants_max, "there are more participants than there is room for")
    _promise(venue.open_order_count <= capacity.orders_max, "there are more open orders than there is room for")
    _promise(venue.id_count <= capacity.ids_max, "there are more ids in use than there is room for")
    ids = sum(len(participant.ids) for participant in venue.participants)
    _promise(ids == venue.id_count, f"{ids} ids are in use, {venue.id_count} are counted")
    by_participant = sum(len(participant.open_orders) for participant in venue.participants)
    slices = sum(order.slices for each in venue.participants for order in each.open_orders.values())
    _promise(slices == venue.slices, f"icebergs have {slices} slices, {venue.slices} are counted")
    ends = sum(order.until_ns != 0 for each in venue.participants for order in each.open_orders.values())
    _promise(ends == len(venue.expiries), f"{ends} orders end at a time, {len(venue.expiries)} are counted")
    counted = venue.open_order_count
    _promise(by_participant == counted, f"participants have {by_participant} open orders, {counted} are counted")


def _check_participant(venue: Venue, participant: Participant) -> None:
    name = unpack(participant.name)
    _promise(list(participant.open_orders) == sorted(participant.open_orders), f"{name}: not in order of acceptance")
    borne = {client_order_id for client_order_id, order in participant.ids.items() if order is not None}
    _promise(len(borne) == len(participant.open_orders), f"{name}: {len(borne)} ids are borne by open orders")
    _promise(not (participant.killed and participant.open_orders), f"{name} is killed and has open orders")
    for number, order in participant.open_orders.items():
        _promise(order.order_number == number, f"order {number} is kept as {order.order_number}")
        _promise(order.participant is participant, f"order {number} is another participant's")
        known = participant.ids.get(order.client_order_id)
        _promise(known is order, f"order {number} is not found by its id {unpack(order.client_order_id)}")
        _check_order(venue, order)


def _check_order(venue: Venue, order: Order) -> None:
    number, instrument = order.order_number, order.instrument
    _promise(1 <= number <= venue.last_order_number, f"order {number} has a number not given out")
    unpriced = order.peg != 0 and order.peg_e4 == 0
    given = unpriced or 1 <= order.priority <= venue.priority
    _promise(given, f"order {number} has priority {order.priority} not given out")
    _promise(order.client_order_id != 0, f"order {number} has no client order id")
    _promise(order.id_day <= venue.trading_day, f"order {number} took its id on a later day")
    of_today = order.time_in_force in (TimeInForce.GTC, TimeInForce.GTD) or order.id_day == venue.trading_day
    _promise(of_today, f"order {number} is good for the day and of an earlier one")
    _promise(1 <= order.qty <= QTY_MAX, f"order {number} has quantity {order.qty}")
    _promise(order.leaves_qty >= 1, f"order {number} is open with {order.leaves_qty}")
    _promise(order.cum_qty >= 0, f"order {number} executed {order.cum_qty}")
    _promise(order.leaves_qty + order.cum_qty <= order.qty, f"order {number} has more than its quantity")
    _promise(order.qty % instrument.lot == 0, f"order {number} is off the lot")
    is_market = bool(order.instructions & MARKET)
    _promise(is_market == (order.price_e4 == 0), f"order {number} has price {order.price_e4}")
    _promise(0 <= order.price_e4 <= PRICE_E4_MAX, f"order {number} has price {order.price_e4}")
    _promise(order.price_e4 % instrument.tick_e4 == 0, f"order {number} is off the tick")
    built = MARKET | POST_ONLY | STOP | DISPLAY | HIDDEN | UNTIL | PEG | OFFSET
    _promise(not order.instructions & ~built, f"order {number} rests with an instruction that cannot")
    _promise(order.dormant == bool(order.instructions & STOP), f"order {number} has stop {order.stop_e4}")
    rests = order.time_in_force not in (TimeInForce.IOC, TimeInForce.FOK)
    _promise(rests, f"order {number} rests with its time in force")
    ends = order.time_in_force == TimeInForce.GTD
    _promise(ends == (order.until_ns != 0), f"order {number} ends at {order.until_ns}")
    _promise(not ends or order.until_ns > venue.now_ns, f"order {number} should have ended at {order.until_ns}")
    _promise(not ends or (order.until_ns, number) in venue.expiries, f"the end of order {number} is unknown")
    _promise(not order.aside or order.time_in_force == TimeInForce.CLOSING, f"order {number} is kept aside")
    kept = order.instrument.aside.get(number) is order
    _promise(kept == order.aside, f"order {number} is kept aside, or does not know it")
    _promise(1 <= order.entry_reference_e4 <= PRICE_E4_MAX, f"order {number} was entered without a reference price")
    holding = order.participant.holdings.get(instrument.number)
    _promise(order.holding is holding, f"order {number} moves another holding than that of its participant")
    _promise((order.peg != 0) == bool(order.instructions & PEG), f"order {number} is a peg, or does not know it")
    waits = order.dormant or order.in_midpoint or order.aside or unpriced
    _promise((order.level is None) == waits, f"order {number} rests nowhere, or waits and rests")


def _check_exposure(participant: Participant) -> None:
    """Open quantity and notional are the sums over open orders, and no sum is past int64."""
    name = unpack(participant.name)
    open_qty: dict[tuple[int, int], int] = {}
    open_notional_e4 = 0
    for order in participant.open_orders.values():
        key = (order.instrument.number, order.side)
        open_qty[key] = open_qty.get(key, 0) + order.leaves_qty
        open_notional_e4 += order.leaves_qty * (order.price_e4 or order.value_stop_e4 or order.entry_reference_e4)
    counted_e4 = participant.open_notional_e4
    _promise(open_notional_e4 == counted_e4, f"{name} has {open_notional_e4} open, {counted_e4} are counted")
    _promise(counted_e4 <= INT64_MAX, f"{name} has an open notional past int64")
    counted_qty = {
        (number, side): qty
        for number, holding in participant.holdings.items()
        for side, qty in ((Side.BUY, holding.open_buy_qty), (Side.SELL, holding.open_sell_qty))
        if qty
    }
    _promise(open_qty == counted_qty, f"{name}: open quantity is {open_qty}, counted as {counted_qty}")
    for number, holding in participant.holdings.items():
        _promise(abs(holding.position_qty) <= INT64_MAX, f"{name} has a position past int64 in instrument {number}")


def _check_limits(venue: Venue, participant: Participant) -> None:
    name = unpack(participant.name)
    times_ns = list(participant.counted_ns)
    _promise(times_ns == sorted(times_ns), f"{name}: counted entries are out of order")
    _promise(len(times_ns) <= RATE_ORDERS_MAX, f"{name}: more entries are remembered than a rate may ask for")
    _promise(not times_ns or 0 <= times_ns[0] <= times_ns[-1] <= venue.now_ns, f"{name}: an entry is counted later")
    _check_values(name, participant.limits)
    for number, limits in participant.limits_in.items():
        _promise(venue.instrument(number) is not None, f"{name} has limits in instrument {number}, which is unknown")
        _check_values(name, limits)
        own = {limits.order_rate, limits.credit_e4, limits.margin_bps, limits.max_open_orders, limits.max_ids}
        _promise(own == {None}, f"{name} has a limit in instrument {number} that it can have in all only")


def _check_values(name: str, limits: Limits) -> None:
    rate_orders, rate_window_ns = limits.order_rate or (None, None)
    for value, least, most in (
        (limits.max_order_qty, 1, QTY_MAX),
        (limits.max_order_value_e4, 1, INT64_MAX),
        (limits.max_position_qty, 0, INT64_MAX),
        (limits.credit_e4, 0, INT64_MAX),
        (limits.margin_bps, 0, BPS_MAX),
        (limits.adv_share_bps, 0, BPS_MAX),
        (rate_orders, 1, RATE_ORDERS_MAX),
        (rate_window_ns, 1, RATE_WINDOW_NS_MAX),
        (limits.max_open_orders, 1, ORDERS_MAX_MAX),
        (limits.max_ids, 1, IDS_MAX_MAX),
    ):
        _promise(value is None or least <= value <= most, f"{name} has a limit out of bounds: {value}")


def _check_phase(venue: Venue, instrument: Instrument) -> None:
    """Check timers, published indicatives, and positions that sum to zero."""
    symbol = unpack(instrument.symbol)
    timed = instrument.phase in (Phase.HALTED, Phase.AUCTION)
    _promise(timed or instrument.due_ns == 0, f"{symbol} has a timer in {instrument.phase.name.lower()}")
    _promise(instrument.due_ns == 0 or instrument.due_ns > venue.now_ns, f"{symbol} has a timer that was due")
    in_call = instrument.phase in CALLS
    now = _uncross_by_the_words(instrument) if in_call else NOTHING_PAIRED
    _promise(
        not in_call or instrument.published == now,
        f"{symbol}: the uncross would give {now}, told is {instrument.published}",
    )
    held = (each.holdings.get(instrument.number) for each in venue.participants)
    position_qty = sum(holding.position_qty for holding in held if holding is not None)
    _promise(position_qty == 0, f"{symbol}: positions sum to {position_qty}")


def _uncross_by_the_words(instrument: Instrument) -> Indicative:
    """Result of an uncross, with every limit price and R as candidates and every order asked for each of them."""
    rounded_e4 = max(instrument.reference_e4 // instrument.tick_e4, 1) * instrument.tick_e4
    levels = [(side, level.price_e4, level.leaves_qty) for side in Side for level in instrument.book.levels(side)]

    def accepting_qty(side: int, price_e4: int) -> int:
        return sum(qty for of, limit_e4, qty in levels if of == side and accepts(of, limit_e4, price_e4))

    prices = sorted({rounded_e4, *(price_e4 for _, price_e4, _ in levels if price_e4)})
    return chosen([Candidate(each, accepting_qty(1, each), accepting_qty(-1, each)) for each in prices], rounded_e4)


def _check_instrument(instrument: Instrument) -> None:
    symbol = unpack(instrument.symbol)
    for order in instrument.open_orders():
        number = order.order_number
        _promise(order.instrument is instrument, f"order {number} is another instrument's")
        _promise(order.participant.open_orders.get(number) is order, f"order {number} is unknown to its participant")
        stays = instrument.phase != Phase.CLOSED or order.time_in_force in (TimeInForce.GTC, TimeInForce.GTD)
        _promise(stays, f"{symbol} is closed and day order {number} is open")
        elsewhere = order.dormant or order.in_midpoint or order.aside or order.peg != 0
        rests = instrument.phase != Phase.CONTINUOUS or order.price_e4 != 0 or elsewhere
        _promise(rests, f"{symbol} is continuous and market order {number} rests")
    reference_e4 = instrument.last_trade_e4 or instrument.defined_reference_e4
    _promise(instrument.reference_e4 == reference_e4, f"{symbol}: the reference price is not {reference_e4}")
    _check_stops(instrument)
    _check_pegs(instrument)
    for side in Side:
        last_rank = MARKET_RANK - 1
        for level in instrument.book.levels(side):
            _promise(level.rank > last_rank, f"{symbol} {side.name}: levels are out of order at {level.price_e4}")
            last_rank = level.rank
        _check_levels(instrument, side)
    best_buy, best_sell = instrument.book.best(Side.BUY), instrument.book.best(Side.SELL)
    if instrument.phase == Phase.CONTINUOUS and best_buy and best_sell:
        _promise(best_buy.price_e4 < best_sell.price_e4, f"{symbol} is crossed in continuous trading")


def _check_levels(instrument: Instrument, side: Side) -> None:
    """Displayed and hidden levels of a side, each apart, and the first of each."""
    symbol = unpack(instrument.symbol)
    for hidden, sides in ((False, instrument.book.displayed), (True, instrument.book.hidden)):
        levels = sides[side]
        first = next(levels.values(), None)
        _promise(levels.first is first, f"{symbol} {side.name}: another level is kept as the first")
        _promise(first is None or levels.first_rank == first.rank, f"{symbol} {side.name}: the first has another rank")
        for rank, level in levels.items():
            _promise(level.hidden == hidden, f"{symbol} {side.name}: level {level.price_e4} has another visibility")
            _check_level(instrument, side, rank, level)


def _check_stops(instrument: Instrument) -> None:
    symbol, last_e4 = unpack(instrument.symbol), instrument.last_trade_e4
    for side in Side:
        for rank, queue in instrument.stops.sides[side].items():
            priority = 0
            for number, order in queue.items():
                _promise(order.participant.open_orders.get(number) is order, f"{symbol}: stop {number} is not open")
                _promise(order.side == side and side * order.stop_e4 == rank, f"{symbol}: stop {number} is misplaced")
                _promise(order.priority > priority, f"{symbol}: stop {number} stands before its time")
                reached = last_e4 != 0 and side * (last_e4 - order.stop_e4) >= 0
                waits = not reached or instrument.phase != Phase.CONTINUOUS
                _promise(waits, f"{symbol}: stop {number} is reached and dormant")
                priority = order.priority


def _check_pegs(instrument: Instrument) -> None:
    symbol = unpack(instrument.symbol)
    known = [order for pegs in instrument.pegs.values() for order in pegs.values()]
    _promise(
        sorted(order.order_number for order in known)
        == [order.order_number for order in instrument.open_orders() if order.peg],
        f"{symbol}: its pegs are not those that are open",
    )
    _promise(instrument.pegs.keys() == instrument.peg_references.keys(), f"{symbol}: a list of pegs has no reference")
    _promise(instrument.fresh_peg is None, f"{symbol}: a peg was not looked at")
    for of, pegs in instrument.pegs.items():
        _promise(bool(pegs) and list(pegs) == sorted(pegs), f"{symbol}: pegs are not in order of acceptance")
        if instrument.phase != Phase.CONTINUOUS:
            _promise(
                instrument.peg_references[of] == 0, f"{symbol}: pegs refer to a price outside of continuous trading"
            )
        for number, order in pegs.items():
            _promise((order.side, order.peg) == of, f"{symbol}: peg {number} is with those of another reference")
            price_e4 = price_of(order, instrument.peg_references[of])
            _promise(order.peg_e4 == price_e4, f"{symbol}: peg {number} has the price {order.peg_e4}, not {price_e4}")
            _promise((order.level is not None) == (price_e4 != 0), f"{symbol}: peg {number} rests without a price")


def _rank_of(side: int, price_e4: int, hidden: bool) -> int:
    """Rank of an order in its side of the book, by price and visibility."""
    return -2 * side * price_e4 + hidden if price_e4 else MARKET_RANK


def _check_level(instrument: Instrument, side: Side, rank: int, level: Level) -> None:
    at = f"{unpack(instrument.symbol)} {side.name} level {level.price_e4}"
    _promise(level.rank == rank, f"{at} stands under rank {rank}")
    hidden = level.first.hidden if level.first is not None else False
    _promise(rank == _rank_of(side, level.price_e4, hidden), f"{at} has rank {rank}")
    _promise(level.first is not None, f"{at} is empty")
    _promise(level.leaves_qty == sum(order.leaves_qty for order in level), f"{at} has a wrong sum")
    priority, before = 0, None
    for order in level:
        number = order.order_number
        _promise(order.before is before, f"{at}: order {number} has another before it")
        _promise(order.participant.open_orders.get(number) is order, f"{at} holds order {number}, which is not open")
        _promise(order.hidden == hidden, f"{at} holds order {number} of another visibility")
        shows = order.display_qty == 0 or 0 < order.shown_qty <= min(order.display_qty, order.leaves_qty)
        _promise(shows, f"order {number} shows {order.shown_qty} of {order.leaves_qty}")
        _promise(order.level is level, f"{at} holds order {number}, which rests elsewhere")
        here = order.side == side and order.trading_e4 == level.price_e4
        _promise(here, f"{at} holds order {number} of another price")
        _promise(order.priority > priority, f"{at}: order {number} stands before its time")
        priority, before = order.priority, order
    _promise(level.last is before, f"{at} has another last order")
