"""A market and its image, as a third opinion on both engines: what one does says what the other must do.

Buys and sells are mirrored, all prices are shifted, and participants are renamed and defined in another order. What a
rule does not treat alike on purpose is left out of the streams: percentages of prices (bands, credit, values), the
election of buys before sells, and commands for all participants.
"""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine import COMMAND, Capacity, Engine
from engine.names import EVERY, pack, unpack
from engine.records import CommandKind, EventKind, Instruction, Limit, Phase, Reason
from engine.reference import ReferenceEngine
from tests.features import ORDERS, Meetings, meeting_stream
from tests.streams import REFERENCE_E4, TICK_E4, call_stream, random_stream

ROOMY = Capacity(orders_max=8_192, ids_max=65_536, instruments_max=8, participants_max=16)
PARTICIPANTS = 5
ENGINES = (Engine, ReferenceEngine)
Rows = NDArray[Any]


def a_market(seed: int, *, calls: bool = False) -> Rows:
    """A stream without what depends on a price as a percentage; of odd seeds with an entry delay now and then."""
    # Of every third seed no instrument has a band.
    delayed = seed % 2 == 1
    rows = (
        call_stream(3 * seed, 5_000, delayed=delayed)
        if calls
        else random_stream(3 * seed, 8_000, hostile=0.0, garbage=0.0, control=0.01, delayed=delayed)
    )
    limits = rows["kind"] == CommandKind.LIMITS
    ofmoney = limits & (rows["limits"] & np.uint16(Limit.CREDIT | Limit.MAX_ORDER_VALUE) != 0)
    # With an offset as large as prices are, it depends on the price whether a peg has any.
    away = (rows["kind"] == CommandKind.ENTER) & (rows["instructions"] & np.uint16(Instruction.OFFSET) != 0)
    return without(rows, ofmoney | (away & (np.abs(rows["offset_e4"] // 2) > REFERENCE_E4 // 8)))


def without(rows: Rows, which: NDArray[np.bool_]) -> Rows:
    """Rows of which some are a command that does nothing, so that all others keep their sequence number."""
    octets = rows.view(np.uint8).reshape(-1, COMMAND.itemsize)
    octets[which] = 0
    rows["kind"][which] = CommandKind.CLOCK_JUMP
    return rows


def priced(rows: Rows) -> dict[str, NDArray[np.bool_]]:
    """The rows that have a price, and those that have a stop, by the name of the place."""
    kind, instructions = rows["kind"], rows["instructions"]
    orders = (kind == CommandKind.ENTER) | (kind == CommandKind.REPLACE)
    limit = (orders & (instructions & np.uint16(Instruction.MARKET) == 0)) | (kind == CommandKind.CROSS)
    return {"price_e4": limit, "stop_e4": orders & (instructions & np.uint16(Instruction.STOP) != 0)}


def events_of(make: type[Engine] | type[ReferenceEngine], rows: Rows) -> Rows:
    """All events of a stream."""
    engine = make(ROOMY)
    events = np.concatenate([engine.apply(rows[at : at + 500]) for at in range(0, len(rows), 500)])
    engine.check()
    return events


def assert_same(wanted: Rows, got: Rows) -> None:
    """The same events in order; of an uncross, after which the buy is replenished first, in any order."""
    together = min(len(wanted), len(got))
    for name in wanted.dtype.names or ():
        differs = np.flatnonzero(wanted[name][:together] != got[name][:together])
        if len(differs):
            seq = int(wanted["seq"][differs[0]])
            told = [list(map(str, each[each["seq"] == seq])) for each in (wanted, got)]
            pytest.fail(f"command {seq}, {name}:\nwanted {told[0]}\ngot    {told[1]}")
    assert len(wanted) == len(got)


def in_any_order_of_an_uncross(events: Rows) -> Rows:
    """The events, with the replenished orders of an uncross by their ids."""
    events = events.copy()
    at = np.flatnonzero(events["kind"] == EventKind.REPLENISHED)
    uncrossed = set(events["seq"][(events["kind"] == EventKind.TRADE) & (events["side"] == 0)].tolist())
    for first, second in zip(at[:-1].tolist(), at[1:].tolist(), strict=True):
        one, other = events[first].copy(), events[second].copy()
        together = second == first + 1 and one["seq"] == other["seq"] and int(one["seq"]) in uncrossed
        if together and one["side"] != other["side"] and one["client_order_id"] > other["client_order_id"]:
            events[first], events[second] = other, one
    return events


@pytest.mark.slow
def test_the_markets_have_orders_of_every_type_and_every_phase() -> None:
    """Or the images below would show little of the rules."""
    meetings, phases = Meetings(), set[int]()
    for seed in (3, 5, 21):
        for calls in (False, True):
            rows = a_market(seed, calls=calls)
            engine = Engine(ROOMY)
            events = engine.apply(rows)
            meetings.add(rows, events, 1, engine.directory.participants)
            changes = np.isin(events["kind"], (EventKind.PHASE, EventKind.HALTED))
            phases |= set(events["phase"][changes].tolist())
    seen = set[str]().union(*meetings.pairs)
    assert {*ORDERS, "replenishment", "repricing", "delay"} - seen == set()
    assert phases == {int(each) for each in Phase}


# Mirrored


def mirrored_rows(rows: Rows) -> Rows:
    """Each buy as a sell at the price as far on the other side of the reference price, and the reverse."""
    image = rows.copy()
    for name, which in priced(rows).items():
        image[name][which] = 2 * REFERENCE_E4 - rows[name][which]
    sided = np.isin(rows["kind"], (CommandKind.ENTER, CommandKind.MASS_CANCEL))
    image["side"][sided] = -rows["side"][sided]
    cross = rows["kind"] == CommandKind.CROSS
    image["buyer"][cross], image["seller"][cross] = rows["seller"][cross], rows["buyer"][cross]
    return image


def mirrored_events(events: Rows) -> Rows:
    """The events of the mirrored market, out of those of the market."""
    image = events.copy()
    at = events["price_e4"] != 0
    image["price_e4"][at] = 2 * REFERENCE_E4 - events["price_e4"][at]
    image["side"] = -events["side"]
    both = (events["kind"] == EventKind.TRADE) & (events["side"] == 0)
    for one, other in (("client_order_id", "contra_client_order_id"), ("participant", "contra_participant")):
        image[one][both], image[other][both] = events[other][both], events[one][both]
    return image


@pytest.mark.slow
@pytest.mark.parametrize("make", ENGINES, ids=["kernel", "reference"])
@pytest.mark.parametrize("calls", [False, True], ids=["continuous", "calls"])
@pytest.mark.parametrize("stops_of", [1, -1], ids=["buy stops", "sell stops"])
def test_a_mirrored_market_trades_as_mirrored(stops_of: int, calls: bool, make: type[Engine]) -> None:
    rows = a_market(4 + stops_of, calls=calls)
    stops = (rows["kind"] == CommandKind.ENTER) & (rows["instructions"] & np.uint16(Instruction.STOP) != 0)
    rows = without(rows, stops & (rows["side"] != stops_of))
    events, mirrored = events_of(make, rows), events_of(make, mirrored_rows(rows))
    assert_same(in_any_order_of_an_uncross(mirrored_events(events)), in_any_order_of_an_uncross(mirrored))
    met = set(events["kind"].tolist())
    wanted = {EventKind.TRADE, EventKind.TRIGGERED, EventKind.REPLENISHED, EventKind.CANCELED, EventKind.REPRICED}
    assert wanted <= met, "or it shows little"


# Shifted


@pytest.mark.slow
@pytest.mark.parametrize("make", ENGINES, ids=["kernel", "reference"])
@pytest.mark.parametrize("calls", [False, True], ids=["continuous", "calls"])
@pytest.mark.parametrize("ticks", [1, 64, 12_345])
def test_a_market_at_other_prices_trades_as_shifted(ticks: int, calls: bool, make: type[Engine]) -> None:
    rows = a_market(20 + ticks % 7, calls=calls)
    shifted = rows.copy()
    by_e4 = ticks * TICK_E4
    for name, which in priced(rows).items():
        shifted[name][which] += by_e4
    defined = (rows["kind"] == CommandKind.INSTRUMENT) & (rows["reference_e4"] == REFERENCE_E4)
    shifted["reference_e4"][defined] += by_e4
    wanted = events_of(make, rows)
    wanted["price_e4"][wanted["price_e4"] != 0] += by_e4
    assert_same(wanted, events_of(make, shifted))
    for kind in (EventKind.TRADE, EventKind.REPRICED):
        assert (wanted["kind"] == kind).sum() > 100, "or it shows little"


# Renamed


def renamed(rows: Rows, order: list[int]) -> Rows:
    """Participants under other names, defined in another order: that of number n is the one of ``order[n - 1]``."""
    image = rows.copy()
    number_of = np.arange(2**8, dtype=np.int64)
    names: dict[int, int] = {}
    for number, was in enumerate(order, 1):
        number_of[was] = number
        names[pack(f"P{was}")] = pack(f"Z{(was * 7) % 11}X")
    defined = np.flatnonzero(rows["kind"] == CommandKind.PARTICIPANT)[:PARTICIPANTS]
    image[defined] = rows[defined[[was - 1 for was in order]]]
    named = {
        "name": (
            CommandKind.PARTICIPANT,
            CommandKind.LIMITS,
            CommandKind.MASS_CANCEL,
            CommandKind.KILL,
            CommandKind.UNKILL,
        ),
        "buyer": (CommandKind.CROSS,),
        "seller": (CommandKind.CROSS,),
        "participant_name": (CommandKind.USER,),
    }
    for place, kinds in named.items():
        for at in np.flatnonzero(np.isin(rows["kind"], kinds)):
            image[place][at] = names.get(int(image[place][at]), int(image[place][at]))
    image["participant"] = number_of[rows["participant"]]
    return image


@pytest.mark.slow
@pytest.mark.parametrize("make", ENGINES, ids=["kernel", "reference"])
@pytest.mark.parametrize("order", [[5, 4, 3, 2, 1], [2, 5, 1, 3, 4]], ids=str)
@pytest.mark.parametrize("narrow", [False, True], ids=["wide", "narrow"])
def test_renamed_participants_trade_as_before(narrow: bool, order: list[int], make: type[Engine]) -> None:
    """In the narrow market indices fall and breakers halt, and orders wait for their effect."""
    if narrow:
        rows = meeting_stream(31, 8_000, delayed=True)
    else:
        rows = random_stream(50, 8_000, hostile=0.0, garbage=0.0, control=0.02, participants=PARTICIPANTS)
    of_all = np.isin(rows["kind"], (CommandKind.KILL, CommandKind.UNKILL)) & (rows["name"] == EVERY)
    rows = without(rows, of_all | (rows["participant"] >= 2**8))
    wanted = events_of(make, rows)
    number_of = np.arange(2**8, dtype=np.int64)
    number_of[order] = np.arange(1, PARTICIPANTS + 1)
    names = {pack(f"P{was}"): pack(f"Z{(was * 7) % 11}X") for was in order}
    for place in ("participant", "contra_participant"):
        wanted[place] = number_of[wanted[place]]
    for place in ("client_order_id", "contra_client_order_id"):
        # The trade of a cross has the names of its parties there, and a refusal the name that is refused.
        by_name = np.isin(wanted["kind"], (EventKind.TRADE, EventKind.REJECTED)) & (wanted["side"] == 0)
        for at in np.flatnonzero(by_name):
            wanted[place][at] = names.get(int(wanted[place][at]), int(wanted[place][at]))
    assert_same(wanted, events_of(make, renamed(rows, order)))
    assert {EventKind.KILLED, EventKind.TRADE, EventKind.REPRICED} <= set(wanted["kind"].tolist())
    if narrow:
        halted = wanted[wanted["kind"] == EventKind.HALTED]
        assert {Reason.MARKET_WIDE, Reason.VOLATILITY} <= set(halted["reason"].tolist())
    assert [unpack(name) for name in names.values()][:1] != ["P1"]


# Controls


def test_a_difference_between_a_market_and_its_image_is_found() -> None:
    rows = a_market(5)
    events = events_of(Engine, rows)
    wrong = mirrored_rows(rows)
    at = int(np.flatnonzero(wrong["kind"] == CommandKind.ENTER)[30])
    wrong["price_e4"][at] += TICK_E4
    with pytest.raises(pytest.fail.Exception, match="command"):
        assert_same(mirrored_events(events), events_of(Engine, wrong))
    assert_same(events, events.copy())
