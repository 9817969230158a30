"""The first value of a definition that is out of bounds, in a sentence: the market says ``invalid_command`` alone.

The bounds are those of the rulebook, sections 1, 9 and 13.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.bounds import (
    ADV_QTY_MAX,
    BPS_MAX,
    DAY_NS,
    MEMBERS_MAX,
    MINUTE_NS,
    PRICE_E4_MAX,
    QTY_MAX,
    SECOND_NS,
    SPEED_BUMP_NS_MAX,
    VOLATILITY_HALT_NS_MAX,
    VOLATILITY_WINDOW_S_MAX,
    WEIGHT_MAX,
)
from engine.names import is_name, unpack
from engine.records import CommandKind, InstrumentSetting, VenueSetting
from notation.words import duration, percent, price

_WAITED: Final = (
    "commands wait for the entry delay, and no setting of the venue changes while one does; "
    "repeat it when nothing was entered for as long as the delay"
)
_NAME: Final = "give 1 to 8 characters of A-Z 0-9 . -"
#: Numbers below these are names of at most six, and at most four, characters.
_SIX_CHARACTERS: Final = 2**48
_FOUR_CHARACTERS: Final = 2**32
#: Words of a row before: 64-bit numbers.
_NOTHING: Final = (0, 0, 0, 0, 0, 0)


def fault_of(row: "np.void", extend: "np.void | None", members: Sequence["np.void"] = ()) -> str:
    """Sentence on the first value of a COMMAND row that the market refuses whatever it holds; "" where there is none.

    ``extend``: the EXTEND row before it, if any. ``members``: of an index, the MEMBERS rows before it.
    """
    further = _NOTHING if extend is None else tuple(np.frombuffer(extend.tobytes(), np.int64, 6).tolist())
    kind = int(row["kind"])  # any number: a raw row has what it has
    found: Iterator[str] = iter(())
    if kind == CommandKind.INSTRUMENT:
        found = _of_instrument(row, further)
    elif kind == CommandKind.PARTICIPANT:
        found = _of_participant(row)
    elif kind == CommandKind.INDEX:
        found = _of_index(row, further, members)
    elif kind == CommandKind.VENUE:
        found = _of_venue(row)
    elif kind == CommandKind.USER:
        found = _of_user(row)
    return next(found, "")


def refusal_of(row: "np.void", extend: "np.void | None", members: Sequence["np.void"] = ()) -> str:
    """Sentence on a COMMAND row that the market refused as ``invalid_command``: its first value out of bounds, or of a
    ``venue`` without one that commands wait for the entry delay; "" where neither is known.
    """
    if said := fault_of(row, extend, members):
        return said
    return _WAITED if row["kind"] == CommandKind.VENUE and extend is None and _may_be_taken(row) else ""


def _may_be_taken(row: "np.void") -> bool:
    """True of a ``venue`` that the market takes while no command waits."""
    settings, start_ns = int(row["settings"]), int(row["day_start_ns"])
    known = int(VenueSetting.SPEED_BUMP | VenueSetting.DAY_START)
    starts = 0 <= start_ns < (DAY_NS if settings & VenueSetting.DAY_START else 1) and start_ns % MINUTE_NS == 0
    delays = bool(settings & VenueSetting.SPEED_BUMP) or not row["speed_bump_ns"]
    return not settings & ~known and starts and delays


def rows_before(commands: NDArray[Any], at: int) -> "tuple[np.void | None, list[np.void]]":
    """The EXTEND row that goes with a command, if any, and of an index its MEMBERS rows; of COMMAND rows."""
    extend = commands[at - 1] if at and commands["kind"][at - 1] == CommandKind.EXTEND else None
    if commands["kind"][at] != CommandKind.INDEX:
        return extend, []
    of_name = (commands["kind"][:at] == CommandKind.MEMBERS) & (commands["name"][:at] == commands["name"][at])
    return extend, list(commands[:at][of_name])


def _of_instrument(row: Any, further: tuple[int, ...]) -> Iterator[str]:
    yield from _name(row["name"], "the symbol")
    for field, what in (("tick_e4", "the tick"), ("reference_e4", "the reference price")):
        if not 1 <= row[field] <= PRICE_E4_MAX:
            yield f"{what} is {price(int(row[field]))}; give 0.0001 to {price(PRICE_E4_MAX)}"
    if not 1 <= row["lot"] <= QTY_MAX:
        yield f"the lot is {row['lot']:,}; give 1 to {QTY_MAX:,}"
    if not 0 <= row["adv_qty"] <= ADV_QTY_MAX:
        yield f"the average daily volume is {row['adv_qty']:,}; give 1 to {ADV_QTY_MAX:,}"
    band_bps, bps, window_ns, halt_ns, *_ = further
    settings = int(row["settings"])
    if settings & InstrumentSetting.BAND and not 0 <= band_bps <= BPS_MAX:
        yield f"the band is {percent(band_bps)}; give 0% to 100%"
    if settings & InstrumentSetting.VOLATILITY:
        if not 0 <= bps <= BPS_MAX:
            yield f"the breaker's percentage is {percent(bps)}; give 0% to 100%"
        if not SECOND_NS <= window_ns <= VOLATILITY_WINDOW_S_MAX * SECOND_NS or window_ns % SECOND_NS:
            most = duration(VOLATILITY_WINDOW_S_MAX * SECOND_NS)
            yield f"the breaker looks back over {duration(window_ns)}; give whole seconds from 1s to {most}"
        if not 1 <= halt_ns <= VOLATILITY_HALT_NS_MAX:
            yield f"the breaker halts for {duration(halt_ns)}; give more than 0 and at most 1d"


def _of_participant(row: Any) -> Iterator[str]:
    yield from _name(row["name"], "the participant")
    if row["group"]:
        yield from _name(row["group"], "the group")


def _of_user(row: Any) -> Iterator[str]:
    name, firm = int(row["name"]), int(row["firm"])
    if not is_name(name) or name >= _SIX_CHARACTERS:
        yield f"the user is {unpack(name)}; give 1 to 6 characters of A-Z 0-9 . -"
    if firm and (not is_name(firm) or firm >= _FOUR_CHARACTERS or set(unpack(firm)) & set(".-")):
        yield f"the firm is {unpack(firm)}; give 1 to 4 characters of A-Z 0-9"


def _of_index(row: Any, further: tuple[int, ...], members: Sequence[Any]) -> Iterator[str]:
    yield from _name(row["name"], "the index")
    seen: set[int] = set()
    for each in members:
        for symbol, weight in ((each["symbol"], each["weight"]), (each["further_symbol"], each["further_weight"])):
            if not symbol and not weight:
                continue
            yield from _name(symbol, "a member")
            if not 1 <= weight <= WEIGHT_MAX:
                yield f"the weight of {unpack(int(symbol))} is {weight:,}; give 1 to {WEIGHT_MAX:,}"
            if int(symbol) in seen:
                yield f"{unpack(int(symbol))} is named twice; give each member once"
            seen.add(int(symbol))
    if len(seen) > MEMBERS_MAX:
        yield f"it has {len(seen):,} members; give at most {MEMBERS_MAX}"
    before_bps = 0
    for place in range(0, len(further), 2):
        bps, halt_ns = further[place : place + 2]
        if before_bps and not any(further[place:]):
            break
        if not 1 <= bps <= BPS_MAX:
            yield f"a level is a fall of {percent(bps)}; give 0.01% to 100%"
        if bps <= before_bps:
            yield f"a level of {percent(bps)} comes after one of {percent(before_bps)}; give the deeper one later"
        if not 0 <= halt_ns <= DAY_NS:
            yield f"a level halts for {duration(halt_ns)}; give at most 1d, or close"
        before_bps = int(bps)


def _of_venue(row: Any) -> Iterator[str]:
    settings = int(row["settings"])
    if settings & VenueSetting.SPEED_BUMP and not 0 <= row["speed_bump_ns"] <= SPEED_BUMP_NS_MAX:
        yield f"the entry delay is {duration(int(row['speed_bump_ns']))}; give 0 to {duration(SPEED_BUMP_NS_MAX)}"


def _name(number: int, what: str) -> Iterator[str]:
    if not is_name(int(number)):
        yield f"{what} is {unpack(int(number))}; {_NAME}"
