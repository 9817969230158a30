"""Images of markets of each sort, and their conversions, for the tests of conversions."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import RULES_VERSION, Capacity, Engine
from engine.bounds import DAY_NS
from engine.conversion import Conversion, convert
from engine.parts import regions
from engine.records import CommandKind, Instruction, TimeInForce
from engine.reference import ReferenceEngine
from engine.state import STATE_VERSION
from engine.state_forms import Form
from tests.golden import made
from tests.limit_rows import limits
from tests.rows import batch, cancel, clock, halt, kill
from tests.streams import call_stream, random_stream
from tests.test_crowded_ids import CAPACITIES as CROWDED
from tests.test_crowded_ids import SETUP, crowding, day
from tests.test_ids import CAPACITY as FILLED
from tests.test_ids import SETUP as FILLED_SETUP
from tests.test_ids import crowded_ids, filled, order

GOLDEN = Path(made.__file__).parent
ROOMY = Capacity(orders_max=4_096, ids_max=65_536, instruments_max=8, participants_max=16)
TIGHT = Capacity(orders_max=60, ids_max=300, instruments_max=3, participants_max=6)
STREAMS = range(7)
Arrays = dict[str, NDArray[Any]]
Parts = dict[str, Arrays]


def converted(parts: Parts, capacity: Capacity, to: Capacity | None = None) -> Conversion:
    """Conversion of an image of this release."""
    return convert(
        parts,
        rules_version=RULES_VERSION,
        state_version=STATE_VERSION,
        capacity=capacity,
        to=capacity if to is None else to,
    )


def copied(parts: Any) -> Parts:
    """The image as a checkpoint holds it: in memory of its own."""
    return {part: {name: np.array(array) for name, array in arrays.items()} for part, arrays in parts.items()}


def restored(parts: Parts, to: Capacity, like: Engine) -> Engine:
    """Engine in the state of an image of ``like``."""
    return Engine.restore(to, like.seq, like.event_digest, parts)


def smallest(engine: Engine) -> Capacity:
    """Smallest capacity that has room for all that is in use."""
    venue = engine._state.venue[0]
    orders = max(int(venue["orders_open"]), int(venue["slices"]), 1)
    return Capacity(
        orders_max=orders,
        ids_max=max(int(venue["ids_used"]), orders),
        instruments_max=max(int(venue["instruments"]), 1),
        participants_max=max(int(venue["participants"]), 1),
    )


def with_capacity(rows: NDArray[Any], capacity: Capacity, to: Capacity) -> ReferenceEngine:
    """The rules themselves, whose room changes after the rows."""
    reference = ReferenceEngine(capacity)
    reference.apply(rows)
    reference.capacity = reference._venue.capacity = to
    return reference


def assert_alike(kernel: Engine, reference: Any) -> None:
    """Both show the same market and the same events, and the compiled engine's invariants hold."""
    kernel.check()
    assert_same_views(kernel, reference)


def assert_same_views(kernel: Engine, reference: Any) -> None:
    """Both show the same market and the same events."""
    for view in ("open_orders", "instruments", "positions", "participants", "limits"):
        assert getattr(kernel, view)().tobytes() == getattr(reference, view)().tobytes(), view
    assert kernel.epoch == reference.epoch
    assert kernel.next_due_ns == reference.next_due_ns
    assert kernel.directory == reference.directory
    assert (kernel.seq, kernel.event_digest) == (reference.seq, reference.event_digest)


def without_terms(rows: NDArray[Any]) -> NDArray[Any]:
    """The same rows without what is new in RULES_VERSION 6: orders that wait or are not all displayed, schedules and
    indices."""
    rows = rows.copy()
    new = np.uint16(Instruction.STOP | Instruction.DISPLAY | Instruction.HIDDEN)
    with_terms = (rows["kind"] == CommandKind.ENTER) & (rows["instructions"] & new != 0)
    rows["instructions"][with_terms] &= ~new
    rows["stop_e4"][with_terms] = 0
    pegs = (rows["kind"] == CommandKind.ENTER) & (rows["instructions"] & np.uint16(Instruction.PEG) != 0)
    rows["instructions"][pegs] &= ~np.uint16(Instruction.PEG | Instruction.OFFSET)
    rows["peg"][pegs] = rows["offset_e4"][pegs] = 0
    until = (rows["kind"] == CommandKind.ENTER) & (rows["instructions"] & np.uint16(Instruction.UNTIL) != 0)
    rows["instructions"][until] &= ~np.uint16(Instruction.UNTIL)
    rows["time_in_force"][until & (rows["time_in_force"] == TimeInForce.GTD)] = TimeInForce.GTC
    rows["until_ns"][until] = 0
    rows["book"][rows["kind"] == CommandKind.ENTER] = 0
    of_auction = (rows["kind"] == CommandKind.ENTER) & (rows["time_in_force"] >= TimeInForce.OPENING)
    rows["time_in_force"][of_auction & (rows["time_in_force"] <= TimeInForce.CLOSING)] = TimeInForce.DAY
    instruments = np.flatnonzero(rows["kind"] == CommandKind.INSTRUMENT)
    rows["settings"][instruments] = 0
    before = instruments[rows["kind"][instruments - 1] == CommandKind.EXTEND] - 1
    for place in ("band_bps", "volatility_bps", "volatility_window_ns", "volatility_halt_ns"):
        rows[place][before] = 0
    new_kinds = (CommandKind.SCHEDULE, CommandKind.MEMBERS, CommandKind.INDEX)
    rows.view("V64")[np.isin(rows["kind"], new_kinds)] = np.zeros(1, "V64")
    return rows


@cache
def stream(number: int) -> tuple[Capacity, NDArray[Any]]:
    """A market of each sort: quiet, hostile, in calls and deep, full, with crowded ids, and with ids in the tree."""
    if number < 2:
        return ROOMY, random_stream((55, 41)[number], 900, hostile=0.05 + 0.2 * number, garbage=0.05, control=0.02)
    if number == 2:
        return ROOMY, call_stream(62, 500, far=0.5)
    if number == 3:
        return TIGHT, random_stream(60, 900, control=0.003, instruments=2, participants=5)
    if number < 6:
        draw = np.random.default_rng(number)
        ids = crowding(32 if number == 4 else 256)
        return CROWDED[number - 3], batch(SETUP, *(day(draw, each, ids) for each in range(2, 9)))
    return FILLED, ids_in_the_tree()


def ids_in_the_tree() -> NDArray[Any]:
    """Two days with a table of ids that is nearly full, and orders whose ids are in the tree."""
    draw = np.random.default_rng(3)
    gone = [order(int(n), TimeInForce.IOC) for n in draw.choice(1 << 40, 680, replace=False) + 1]
    ids = crowded_ids(filled()[0], 16)
    open_orders = [order(n, TimeInForce.GTC) for n in ids]
    rest = [cancel(1, ids[0]), clock(DAY_NS), *(cancel(1, n) for n in ids[:6]), *(order(n) for n in ids[3:9])]
    return batch(FILLED_SETUP, *gone, *open_orders, *rest)


def cuts(number: int) -> Iterator[int]:
    """Commands at which a stream is cut: some at random, and the last."""
    rows = stream(number)[1]
    if number == 2:
        yield 300
    if number == 6:
        yield from (len(FILLED_SETUP) + 680 + 16, len(rows) - 3)
    yield from (len(rows), *np.random.default_rng(number).integers(0, len(rows), 3).tolist())


def flat(parts: Any) -> Iterator[tuple[str, str, NDArray[Any]]]:
    """Each array with its names."""
    return ((part, name, array) for part, arrays in parts.items() for name, array in arrays.items())


def widened(dtype: "np.dtype[Any]") -> "np.dtype[Any]":
    """Fields twice as wide, in falling order of the names, with another byte order and a gap; whole rows in a page."""
    if dtype.names is None:
        return dtype.newbyteorder(">")
    names = sorted(dtype.names)[::-1]
    wide = {1: ">i2", 2: ">i4", 4: ">i8", 8: ">i8"}
    formats = [np.dtype((wide[dtype[name].base.itemsize], dtype[name].shape)) for name in names]
    offsets = np.cumsum([8, *(each.itemsize for each in formats)])
    size = 1 << (int(offsets[-1]) - 1).bit_length()
    return np.dtype({"names": names, "formats": formats, "offsets": offsets[:-1].tolist(), "itemsize": size})


def padded(rows: NDArray[Any], dtype: "np.dtype[Any]", old: Mapping[str, str] = {}) -> NDArray[Any]:
    """Rows in another dtype, field by field. old: names of fields in that dtype, where they are others."""
    out = np.zeros(len(rows), dtype)
    if dtype.names is None:
        out[:] = rows
        return out
    for name in rows.dtype.names or ():
        if old.get(name, name) in dtype.names:
            out[old.get(name, name)] = rows[name]
    return out


def image_in(
    engine: Engine,
    change: Callable[[str, "np.dtype[Any]"], "np.dtype[Any]"],
    renamed: Mapping[tuple[str, str], str] = {},
) -> tuple[Parts, Form]:
    """Image of an engine as if its rows had other dtypes, with the form that a release would have to declare.

    renamed: field of this release (array, field) to its name in the other dtype.
    """
    parts = copied(engine.parts())
    paged = {}
    for region in regions(engine._state):
        dtype = change(region.name, region.rows.dtype)
        old = {field: name for (array, field), name in renamed.items() if array == region.name}
        rows = padded(region.rows, dtype, old)
        if not region.paged:
            parts[region.part][region.name] = rows
            continue
        paged[region.name] = dtype
        octets = rows.view(np.uint8).reshape(-1)
        page_bytes = min(4_096, len(octets))
        pages = octets.view(np.int64).reshape(-1, page_bytes // 8) if len(octets) else np.zeros((0, 1), np.int64)
        parts[region.part][f"{region.name}_places"] = np.flatnonzero(pages.any(axis=1))
        parts[region.part][f"{region.name}_pages"] = pages[pages.any(axis=1)]
    return parts, Form(paged, renamed)


def full_market() -> Engine:
    """A market with limits, a killed participant and a halt that ends by the clock."""
    capacity, rows = stream(1)
    made = Engine(capacity)
    made.apply(rows)
    made.apply(batch(limits("P1", credit_e4=10**12, max_ids=900), limits("P3", "I1", max_order_qty=500), kill("P2")))
    made.apply(halt("I2", duration_ns=10**10))
    assert len(made.limits()) >= 2
    assert len(made.open_orders())
    assert made.next_due_ns
    return made
