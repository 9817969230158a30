"""Single commands that touch much, and the longest of each kind in random markets where all features meet.

    python -m benchmarks.singles

Each is timed alone, in processor time of its thread, in runs that do the same work; the shortest of them counts as its
own time, so that what else the machine does hardly shows. The call of the engine from Python is in it.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

import numpy as np

from benchmarks.books import Rows, enters
from benchmarks.measure import machine
from benchmarks.workload import MID_TICKS, PARTICIPANTS, TICK_E4, definitions
from engine import Capacity, Engine
from engine.bounds import DAY_NS, SCHEDULES_MAX
from engine.names import EVERY
from engine.records import (
    COMMAND,
    Book,
    CommandKind,
    Instruction,
    InstrumentSetting,
    Peg,
    Phase,
    Reason,
    SelfTrade,
    TimeInForce,
    concatenate,
)
from tests.crowds import crowd
from tests.features import meeting_stream
from tests.streams import call_stream, random_stream

RUNS: Final = 3
MANY: Final = 100_000
UNCROSSED: Final = 500_000
HALTED: Final = 16_384
OPEN_NS: Final = 1_705_311_000 * 10**9
MID_E4: Final = MID_TICKS * TICK_E4
#: Longest own time of a command, and of those that touch many orders that of each.
OWN_NS: Final = 200_000
EACH_NS: Final = 200
#: Number of commands without effect before the one that is timed.
_CALLS: Final = 100
#: Kinds that may take longer in proportion to what they touch.
MANIFOLD: Final = ("uncross", "kill", "mass cancel", "emergency close")


class Single(NamedTuple):
    """Commands that make a state, the command that is timed, and the number of orders that it touches.

    room: open orders and client order ids for which the engine has room.
    """

    before: Rows
    command: Rows
    orders: int
    room: tuple[int, int] = (1 << 20, 1 << 21)


def one(kind: CommandKind, **places: int) -> Rows:
    """A row."""
    made = np.zeros(1, COMMAND)
    made["kind"] = kind
    for name, value in places.items():
        made[name] = value
    return made


def market(*, settings: int = 0, opening: Phase = Phase.CONTINUOUS) -> Rows:
    """A clock and an instrument with settings, open, and participants, all permitted to trade with themselves."""
    rows = definitions(1)
    rows["permissions"][rows["kind"] == CommandKind.PARTICIPANT] = 3
    rows["settings"][rows["kind"] == CommandKind.INSTRUMENT] = settings
    rows["phase"][rows["kind"] == CommandKind.PHASE] = opening
    return concatenate([one(CommandKind.CLOCK, time_ns=OPEN_NS), rows])


def orders(count: int, side: int, ticks: Rows | int, first: int = 1, *, owner: int | None = None) -> Rows:
    """So many orders of one side, at prices in ticks from the middle, of one participant or of all in turn."""
    ids = first + np.arange(count)
    rows = enters(ids, 1, np.full(count, side), np.full(count, MID_E4) + TICK_E4 * ticks)
    rows["self_trade"] = SelfTrade.NONE
    if owner is not None:
        rows["participant"] = owner
    return rows


def cases() -> Iterator[tuple[str, Single]]:
    """Commands that touch much, by name."""
    spread = np.arange(MANY) % 4_000
    half = UNCROSSED // 2
    crossed = [orders(half, 1, np.arange(half) % 500), orders(half, -1, -(np.arange(half) % 500), half + 1)]
    phase = one(CommandKind.PHASE, name=EVERY, phase=int(Phase.CONTINUOUS))
    call = concatenate([market(opening=Phase.OPENING_AUCTION), *crossed])
    yield "uncross of 500,000 orders", Single(call, phase, UNCROSSED)
    for name, side in (("first", 1), ("last", half)):
        gone = one(CommandKind.CANCEL, client_order_id=side, participant=side % PARTICIPANTS + 1)
        yield f"cancel of the {name} of them, in the call", Single(call, gone, 1)
    resting = concatenate([market(), orders(MANY, 1, -1 - spread, owner=1)])
    name = int(resting["name"][1])
    kill = one(CommandKind.KILL, name=name)
    yield "kill of 100,000 orders", Single(resting, kill, MANY)
    canceling = one(CommandKind.MASS_CANCEL, name=name, reason=int(Reason.MASS_CANCEL))
    yield "mass cancel of 100,000 orders", Single(resting, canceling, MANY)
    beside = concatenate([resting, orders(10, -1, 1, 10 * MANY, owner=2)])
    few = one(CommandKind.MASS_CANCEL, name=int(resting["name"][2]), reason=int(Reason.MASS_CANCEL))
    yield "mass cancel of 10 orders beside 100,000", Single(beside, few, 10)
    yield "emergency close of 100,000 orders", Single(resting, one(CommandKind.EMERGENCY_CLOSE), MANY)
    yield (
        "halt that cancels 100,000 orders",
        Single(
            concatenate([market(settings=InstrumentSetting.CANCEL_ON_HALT), orders(MANY, 1, -1 - spread)]),
            one(CommandKind.HALT, name=EVERY),
            MANY,
        ),
    )
    yield from _days(resting)
    yield from _halts()
    yield from _schedules()
    yield from _calls()
    yield from _of_one_symbol()
    until = orders(MANY, 1, -1 - spread)
    until["time_in_force"], until["until_ns"] = TimeInForce.GTD, OPEN_NS + 10**9
    until["instructions"] = Instruction.UNTIL
    until_all = concatenate([market(), until])
    yield (
        "clock value that ends 100,000 orders",
        Single(until_all, one(CommandKind.CLOCK, time_ns=OPEN_NS + 10**9), MANY),
    )
    offers = orders(MANY, -1, 1 + spread)
    buy = orders(1, 1, 4_001, 10 * MANY)
    buy["qty"] = 100 * MANY - 1
    yield "order that trades with 100,000", Single(concatenate([market(), offers]), buy, MANY)
    buy = buy.copy()
    buy["qty"], buy["time_in_force"] = 99_999_999, TimeInForce.FOK
    yield "fok order that tries 100,000 and goes", Single(concatenate([market(), offers]), buy, MANY)
    yield "election of 100,000 stops, one by one", Single(*_cascade(), MANY)
    yield "quote that lets 100,000 midpoint orders meet", Single(*_midpoint(), MANY)
    quote = orders(1, 1, -10, 10 * MANY)
    together, apart = _pegs(np.zeros(MANY, np.int64)), _pegs(spread)
    yield "quote that moves 100,000 pegs to one price", Single(together, quote, MANY)
    yield "quote that moves 100,000 pegs to 4,000 prices", Single(apart, quote, MANY)
    yield "quote that moves none of 100,000 pegs", Single(apart, orders(1, -1, 30, 10 * MANY), 1)
    yield "trade that leaves the quote of 100,000 pegs", Single(apart, orders(1, 1, 20, 10 * MANY), 1)
    yield "mass cancel of 100,000 pegs", Single(apart, canceling, MANY)


def _instruments(count: int) -> Rows:
    """So many instruments, with names of four letters."""
    rows = np.repeat(one(CommandKind.INSTRUMENT, reference_e4=MID_E4, tick_e4=TICK_E4, lot=1), count)
    letters = 65 + np.array([np.arange(count) // 26**place % 26 for place in range(4)], np.int64)
    rows["name"] = (letters << np.array([[0], [8], [16], [24]])).sum(axis=0)
    return rows


def _halts() -> Iterator[tuple[str, Single]]:
    """Halts of all instruments, and of one beside all the others that are halted: touches are instruments."""
    rows = _instruments(HALTED)
    opening = one(CommandKind.PHASE, name=EVERY, phase=int(Phase.PRE_OPEN))
    open_ones = concatenate([one(CommandKind.CLOCK, time_ns=OPEN_NS), rows, opening])
    day, second = (one(CommandKind.HALT, name=EVERY, duration_ns=each) for each in (DAY_NS, 10**9))
    yield "halt of 16,384 instruments", Single(open_ones, day, HALTED)
    halted = concatenate([open_ones, day])
    yield "halt of 16,384 halted instruments", Single(halted, second, HALTED)
    yield "resumption of 16,384 instruments", Single(halted, one(CommandKind.RESUME, name=EVERY), HALTED)
    call = one(CommandKind.PHASE, name=EVERY, phase=int(Phase.AUCTION))
    end = one(CommandKind.PHASE, name=EVERY, phase=int(Phase.CONTINUOUS))
    yield "begin of calls of 16,384 instruments", Single(open_ones, call, HALTED)
    yield "end of calls of 16,384 instruments", Single(concatenate([open_ones, call]), end, HALTED)
    middle = one(CommandKind.RESUME, name=int(rows["name"][HALTED // 2]))
    yield "resumption of the first of 16,384", Single(halted, one(CommandKind.RESUME, name=int(rows["name"][0])), 1)
    yield "resumption of one in their middle", Single(halted, middle, 1)


def _schedules() -> Iterator[tuple[str, Single]]:
    """Schedules of as many instruments at one time, given from the last to the first: touches are schedules."""
    for count in (SCHEDULES_MAX, HALTED):
        rows = _instruments(count)
        met = np.repeat(one(CommandKind.SCHEDULE, due_ns=OPEN_NS + 1, phase=int(Phase.PRE_OPEN)), SCHEDULES_MAX)
        met["name"] = rows["name"][::-1][:SCHEDULES_MAX]
        before = concatenate([one(CommandKind.CLOCK, time_ns=OPEN_NS), rows, met])
        clock = one(CommandKind.CLOCK, time_ns=OPEN_NS + 1)
        yield f"schedules of {SCHEDULES_MAX:,} instruments of {count:,}", Single(before, clock, SCHEDULES_MAX)


def _of_one_symbol() -> Iterator[tuple[str, Single]]:
    """Closing of an instrument with orders that stay, and a mass cancel beside orders elsewhere."""
    ticks = np.arange(MANY)
    for name, away in (("prices", ticks), ("orders", ticks % 4_000)):
        lasting = orders(MANY, 1, -1 - away, owner=1)
        lasting["price_e4"] += MANY * TICK_E4
        lasting["time_in_force"] = TimeInForce.GTC
        before = concatenate([market(), lasting])
        closing = one(CommandKind.PHASE, name=EVERY, phase=int(Phase.CLOSED))
        yield f"closing without a day order, 100,000 {name}", Single(before, closing, 1)
    two = definitions(2)
    two["permissions"][two["kind"] == CommandKind.PARTICIPANT] = 3
    before = concatenate([one(CommandKind.CLOCK, time_ns=OPEN_NS), two, orders(MANY, 1, -1 - ticks % 4_000, owner=1)])
    single = orders(1, 1, -1, 10 * MANY, owner=1)
    single["instrument"] = 2
    symbol = int(two["name"][two["kind"] == CommandKind.INSTRUMENT][1])
    owner = int(two["name"][two["kind"] == CommandKind.PARTICIPANT][0])
    gone = one(CommandKind.MASS_CANCEL, name=owner, symbol=symbol, reason=int(Reason.MASS_CANCEL))
    yield "mass cancel of 1 order beside 100,000 elsewhere", Single(concatenate([before, single]), gone, 1)


def _calls() -> Iterator[tuple[str, Single]]:
    """Begin and end of a call over many prices of one side, displayed or hidden, in which nothing trades."""
    prices = orders(MANY, 1, -1 - np.arange(MANY), owner=1)
    begin, end = (one(CommandKind.PHASE, name=EVERY, phase=int(each)) for each in (Phase.AUCTION, Phase.CONTINUOUS))
    # The middle of the market is at 10,000 ticks; all prices are above 0.
    prices["price_e4"] += MANY * TICK_E4
    yield "begin of a call over 100,000 prices", Single(concatenate([market(), prices]), begin, MANY)
    yield "end of a call over 100,000 prices", Single(concatenate([market(), prices, begin]), end, MANY)
    few = orders(10, 1, -1, 2 * MANY, owner=2)
    few["time_in_force"] = TimeInForce.OPENING
    opening = concatenate([market(opening=Phase.OPENING_AUCTION), prices])
    yield "uncross without opening orders beside 100,000", Single(opening, end, 1)
    yield "uncross that ends 10 opening orders beside 100,000", Single(concatenate([opening, few]), end, len(few))
    hidden = prices.copy()
    hidden["instructions"] = Instruction.HIDDEN
    yield "begin of a call over 100,000 hidden prices", Single(concatenate([market(), hidden]), begin, MANY)
    yield "end of a call over 100,000 hidden prices", Single(concatenate([market(), hidden, begin]), end, MANY)


def _days(resting: Rows) -> Iterator[tuple[str, Single]]:
    """Clock values that begin a day."""
    yield (
        "clock value that ends a day of 100,000 orders",
        Single(resting, one(CommandKind.CLOCK, time_ns=OPEN_NS + DAY_NS), MANY),
    )
    good = orders(MANY, 1, -1 - np.arange(MANY) % 4_000)
    good["time_in_force"] = TimeInForce.GTC
    lasting = concatenate([market(), good])
    tomorrow, day_after = (one(CommandKind.CLOCK, time_ns=OPEN_NS + days * DAY_NS) for days in (1, 2))
    yield "clock value that begins a day beside 100,000 orders", Single(lasting, tomorrow, 1)
    with_one = concatenate([lasting, orders(1, 1, -1, 10 * MANY)])
    yield "clock value that ends one of them", Single(with_one, tomorrow, 1)
    yield "clock value that begins the next day at once", Single(concatenate([lasting, tomorrow]), day_after, 1)
    third = one(CommandKind.CLOCK, time_ns=OPEN_NS + 3 * DAY_NS)
    yield "clock value that begins a third day at once", Single(concatenate([lasting, tomorrow, day_after]), third, 1)
    first = one(CommandKind.CANCEL, client_order_id=MANY, participant=int(good["participant"][-1]))
    yield "cancel of one of them, first in a day", Single(concatenate([lasting, tomorrow]), first, 1)
    room = 131_072, 655_360
    chosen = crowd(Engine(_capacity(room, 1))._state, 1, MANY)
    filling = orders(len(chosen.filling), 1, -1, owner=1)
    filling["client_order_id"], filling["time_in_force"] = chosen.filling, TimeInForce.IOC
    good["client_order_id"], good["participant"] = chosen.crowded, 1
    crowded = concatenate([market(), filling, good, tomorrow])
    yield "clock value that begins the next day, ids crowd", Single(crowded, day_after, 1, room)


def _cascade() -> tuple[Rows, Rows]:
    """Each stop trades with the next offer, which elects the next stop."""
    ticks = np.arange(MANY)
    stops = orders(MANY, 1, 0, 2 * MANY)
    stops["instructions"] = Instruction.STOP | Instruction.MARKET
    stops["price_e4"], stops["stop_e4"] = 0, MID_E4 + TICK_E4 * ticks
    book = concatenate([market(), orders(MANY + 1, -1, np.arange(MANY + 1)), stops])
    return book, orders(1, 1, 0, 10 * MANY)


def _midpoint() -> tuple[Rows, Rows]:
    """Half of them buy and half sell, at any price, and an offer makes the midpoint."""
    half = MANY // 2
    waiting = [orders(half, 1, 0), orders(half, -1, 0, half + 1)]
    for rows in waiting:
        rows["instructions"], rows["price_e4"], rows["book"] = Instruction.MARKET, 0, Book.MIDPOINT
    bid = orders(1, 1, -5, 5 * MANY)
    return concatenate([market(settings=InstrumentSetting.MIDPOINT), *waiting, bid]), orders(1, -1, 5, 6 * MANY)


def _pegs(away: Rows) -> Rows:
    """Buys so many ticks below the best bid, which is 20 ticks below the middle, and offers 20 ticks above it."""
    pegs = orders(MANY, 1, 0, owner=1)
    pegs["price_e4"], pegs["peg"], pegs["offset_e4"] = 0, Peg.PRIMARY, TICK_E4 * away
    pegs["instructions"] = Instruction.MARKET | Instruction.PEG | Instruction.OFFSET
    quotes = [orders(2, side, -20 * side, 2 * MANY + 10 * side, owner=2) for side in (1, -1)]
    return concatenate([market(), pegs, *quotes])


def _capacity(room: tuple[int, int], instruments: int) -> Capacity:
    return Capacity(orders_max=room[0], ids_max=room[1], instruments_max=instruments, participants_max=PARTICIPANTS)


def timed(single: Single) -> float:
    """Own time of the command, in ns."""
    instruments = int(np.count_nonzero(single.before["kind"] == CommandKind.INSTRUMENT))
    engine = Engine(_capacity(single.room, instruments))
    for start in range(0, len(single.before), 4_096):
        engine.apply(single.before[start : start + 4_096])
    for _ in range(_CALLS):
        engine.apply(one(CommandKind.CLOCK_JUMP))
    return _time(engine, single.command)


def _time(engine: Engine, row: Rows) -> float:
    began_ns = time.thread_time_ns()
    engine.apply(row)
    return time.thread_time_ns() - began_ns


def longest(streams: Iterable[Rows], progress: Callable[[int], object]) -> dict[str, tuple[float, int]]:
    """The longest own time of a command of each kind in ns, and the events of that one."""
    found: dict[str, tuple[float, int]] = {}
    capacity = Capacity(orders_max=8_192, ids_max=131_072, instruments_max=8, participants_max=16)
    for number, rows in enumerate(streams):
        times = np.full(len(rows), np.inf)
        events = np.zeros(len(rows), np.int64)
        for _ in range(RUNS):
            engine = Engine(capacity)
            for at in range(len(rows)):
                row = rows[at : at + 1]
                began_ns = time.thread_time_ns()
                caused = engine.apply(row)
                times[at] = min(times[at], time.thread_time_ns() - began_ns)
                events[at] = len(caused)
        for kind in set(rows["kind"].tolist()):
            of_kind = np.flatnonzero(rows["kind"] == kind)
            at = int(of_kind[times[of_kind].argmax()])
            name = CommandKind(kind).name.lower() if kind in [*CommandKind] else "no command"
            found[name] = max(found.get(name, (0.0, 0)), (float(times[at]), int(events[at])))
        progress(number)
    return found


def main() -> int:
    """Print all of it; 1 when a command takes longer than it may."""
    for name, value in machine().items():
        print(f"{name:8} {value}")
    missed = 0
    print(f"\n{'single command':52} {'µs':>10} {'orders':>8} {'ns each':>8}")
    for name, single in cases():
        own_ns = min(timed(single) for _ in range(RUNS))
        each_ns = own_ns / single.orders
        met = own_ns <= OWN_NS or (name.startswith(MANIFOLD) and each_ns <= EACH_NS)
        missed += not met
        verdict = "" if met else "NO" if name.startswith(MANIFOLD) or single.orders == 1 else "in proportion"
        print(f"{name:52} {own_ns / 1e3:10,.1f} {single.orders:8,} {each_ns:8,.0f}  {verdict}".rstrip(), flush=True)
    seeds = range(3)
    streams = [random_stream(each, 20_000, hostile=0.05, control=0.02) for each in seeds]
    streams += [call_stream(each, 10_000, far=0.3) for each in seeds]
    streams += [meeting_stream(each, 20_000) for each in range(8)]
    count = sum(map(len, streams))
    print(f"\n{f'longest of each kind in {count:,} random commands':52} {'µs':>10} {'events':>8}")
    for name, (own_ns, events) in sorted(longest(streams, lambda _: None).items(), key=lambda each: -each[1][0]):
        print(f"{name:52} {own_ns / 1e3:10,.1f} {events:8,}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
