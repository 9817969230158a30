"""Differences between two engines: the first EVENT row that differs, and views of their states."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from engine.interface import MarketEngine, StatefulEngine
from engine.records import EVENT_FIELDS, EVENT_PLACES

if TYPE_CHECKING:
    from engine.reference.rows_by_part import RowDifference

#: Views of its state that any engine can show, in the same bytes.
VIEWS: Final = ("open_orders", "instruments", "positions", "participants", "limits")


@dataclass(frozen=True)
class EventDifference:
    """First event in which two engines differ: of command ``seq``, the ``index``-th from 0.

    ``a``, ``b``: the EVENT rows, None where that engine has none there. ``fields``: what differs in them.
    """

    seq: int
    index: int
    a: NDArray[Any] | None
    b: NDArray[Any] | None
    fields: tuple[str, ...]


def first_difference(events_a: NDArray[Any], events_b: NDArray[Any]) -> EventDifference | None:
    """First row in which EVENT rows of two engines for the same commands differ; None if they are equal."""
    n = min(len(events_a), len(events_b))
    a, b = _numbers(events_a[:n]), _numbers(events_b[:n])
    unequal = np.flatnonzero((a != b).any(axis=1))
    if len(unequal) == 0 and len(events_a) == len(events_b):
        return None
    at = int(unequal[0]) if len(unequal) else n
    row_a = events_a[at : at + 1].copy() if at < len(events_a) else None
    row_b = events_b[at : at + 1].copy() if at < len(events_b) else None
    seqs = [int(row["seq"][0]) for row in (row_a, row_b) if row is not None]
    # Where one has an event for a command and the other is at a later command already, the earlier one is where they
    # part.
    seq = min(seqs)
    before = events_a[:at]["seq"]
    index = int(np.count_nonzero(before == seq))
    row_a = row_a if row_a is not None and int(row_a["seq"][0]) == seq else None
    row_b = row_b if row_b is not None and int(row_b["seq"][0]) == seq else None
    fields = _fields(row_a[0], row_b[0]) if row_a is not None and row_b is not None else ()
    return EventDifference(seq, index, row_a, row_b, fields)


def _fields(a: "np.void", b: "np.void") -> tuple[str, ...]:
    """Fields in which two EVENT rows differ; of a place with several names, the one that the event uses."""
    kinds = {int(a["kind"]), int(b["kind"])}
    used = {name for kind, names in EVENT_FIELDS.items() if kind in kinds for name in names}
    named = ([name for name in names if name in used] or names[:1] for names in EVENT_PLACES.values())
    return tuple(name for names in named for name in names if a[name] != b[name])


def unlike(a: MarketEngine, b: MarketEngine) -> tuple[str, ...]:
    """Views that differ between two engines, among those that both have (names of ``VIEWS``)."""
    return tuple(name for name in VIEWS if getattr(a, name)().tobytes() != getattr(b, name)().tobytes())


def first_unlike_rows(compiled: StatefulEngine, reference: MarketEngine) -> "RowDifference | None":
    """First part in which the reference engine (``a``) has other rows than the compiled one (``b``); None for none.

    Both are at the same command, and of the same capacity.
    """
    from engine.reference import ReferenceEngine
    from engine.reference.image_rows import image_rows
    from engine.reference.rows_by_part import first_difference

    parts = {part: dict(arrays) for part, arrays in compiled.parts().items()}
    return first_difference(cast(ReferenceEngine, reference).rows_by_part(), image_rows(compiled.capacity, parts))


def _numbers(rows: NDArray[Any]) -> NDArray[np.int64]:
    return np.ascontiguousarray(rows).view(np.int64).reshape(len(rows), rows.dtype.itemsize // 8)
