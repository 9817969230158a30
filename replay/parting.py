"""The first command after which two markets are in other states, with the part and row in which they part.

Both go through the same commands, and their states are compared at each image that either begins at again, and now and
then between. Where two states differ, the stretch since the last equal ones is halved until one command is left. A
difference that has come to the events stays one for ever, since their digest is chained; one that has not, and that
goes again before the next comparison, is not seen.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.names import Directory
from engine.reference.rows_by_part import PARTS
from replay.consequences import Consequences, consequences
from replay.difference import EventDifference, first_difference
from replay.sides import Recorded, Replayed, Side

#: Called now and then: commands done, commands in all.
Progress = Callable[[int, int], None]

#: Most commands between two comparisons.
STRIDE_COMMANDS: Final = 500_000
#: Bytes of two arrays that are compared at once.
_COMPARED_BYTES: Final = 1 << 20
#: Columns that say which row it is, of tables that have several.
_KEYS: Final = {
    "instruments": ("symbol",),
    "participants": ("name",),
    "orders": ("order_number",),
    "ids": ("participant", "client_order_id"),
    "levels": ("instrument", "side", "price_e4"),
    "queues": ("order_number",),
    "stops": ("order_number",),
    "best": ("instrument", "side"),
    "exposures": ("participant", "instrument"),
    "limits": ("participant", "instrument"),
}

Values = dict[str, int | str]
#: The newest equal states of two sides, as one entry.
_Kept = list[tuple[Any, Any]]


@dataclass(frozen=True)
class RowParted:
    """First row that differs: its table and index from 0, both rows by column (None: not there), the columns that
    differ."""

    table: str
    index: int
    fields: tuple[str, ...]
    a: Values | None
    b: Values | None


@dataclass(frozen=True)
class StateParted:
    """States that part after command ``seq``, and were equal after ``equal_seq``.

    ``parts``: those that differ, as in ``PARTS``. ``row``: the first row of the first of them. ``event``: the first
    event of that command that differs. ``image_a``, ``image_b``: the file that a side began at again, "" for none:
    then the difference came from there.
    """

    seq: int
    equal_seq: int
    parts: tuple[str, ...]
    row: RowParted | None
    names: Directory
    event: EventDifference | None = None
    image_a: str = ""
    image_b: str = ""
    consequences: Consequences | None = None


@dataclass(frozen=True)
class PartingReport:
    """Result: both sides in words, the commands compared, how often, and where they part; None for nowhere.

    ``recorded``: of each side, the first block that is recorded with other events than its own replay gives.
    """

    a: str
    b: str
    from_seq: int
    to_seq: int
    comparisons: int
    parted: StateParted | None
    recorded: tuple[Recorded | None, Recorded | None] = (None, None)
    notes: tuple[str, ...] = field(default=())

    @property
    def same(self) -> bool:
        """True where nothing differs."""
        return self.parted is None and self.recorded == (None, None)


def parting(
    a: Side, b: Side, to_seq: int, *, stride: int = STRIDE_COMMANDS, progress: Progress | None = None
) -> PartingReport:
    """Find the first command up to ``to_seq`` after which two sides differ. Both are before their first command.

    Raises ReplayError, CheckpointError, JournalError.
    """
    from_seq = a.seq + 1
    images = sorted({seq for side in (a, b) for seq in getattr(side, "images", ()) if from_seq <= seq < to_seq})
    kept: _Kept = [(a.keep(), b.keep()) if unlike_parts(a, b) else _keep_equal(a, b)]
    equal_seq, comparisons, parted = a.seq, 0, None
    for end in [*images, to_seq]:
        while a.seq < end and parted is None:
            at = min(a.seq + stride, end)
            a.play(at)
            b.play(at)
            comparisons += 1
            if unlike_parts(a, b):
                parted = _first(a, b, kept, equal_seq, at)
            else:
                equal_seq = at
                _keep_anew(a, b, kept)
            if progress is not None:
                progress(a.seq - from_seq + 1, to_seq - from_seq + 1)
    recorded = getattr(a, "recorded", None), getattr(b, "recorded", None)
    if parted is not None:
        parted = _with_consequences(a, b, parted, to_seq)
    notes = [f"{note}" for side in (a, b) for note in getattr(side, "notes", ())]
    ended = parted.seq if parted is not None else to_seq
    return PartingReport(a.name, b.name, from_seq, ended, comparisons, parted, recorded, tuple(dict.fromkeys(notes)))


def unlike_parts(a: Side, b: Side) -> tuple[str, ...]:
    """Parts in which two states differ, in the order of ``PARTS``."""
    if a.form == b.form:
        one, other = a.digests(), b.digests()
        names = {name for name in {*one, *other} if one.get(name) != other.get(name)}
    else:
        tables_a, tables_b = a.tables(), b.tables()
        names = {part for part in tables_a.keys() & tables_b.keys() if first_row(tables_a[part], tables_b[part])}
    return tuple(sorted(names, key=lambda name: (PARTS.index(name) if name in PARTS else len(PARTS), name)))


def _first(a: Side, b: Side, kept: _Kept, equal_seq: int, seq: int) -> StateParted:
    """Halve the stretch after ``equal_seq``; both sides differ at ``seq``, where they stand, and at the end stand where
    they part.

    Of states that differ no copy is kept: those that were equal give them again, and one copy is several hundred MB.
    """
    images = [str(getattr(side, "image", "")) if seq in getattr(side, "images", ()) else "" for side in (a, b)]
    parts, row = unlike_parts(a, b), parted_row(a, b)
    low, high = equal_seq, seq
    while high - low > 1:
        _back(a, b, kept)
        # States that part at an image are mostly equal at the command before.
        middle = high - 1 if high == seq and any(images) else (low + high) // 2
        a.play(middle)
        b.play(middle)
        if unlike_parts(a, b):
            high, images = middle, ["", ""]
            parts, row = unlike_parts(a, b), parted_row(a, b)
        else:
            low = middle
            _keep_anew(a, b, kept)
    _back(a, b, kept)
    kept.clear()
    if any(images):
        for side in (a, b):
            if isinstance(side, Replayed):
                side.meet_images()
    events = a.play(high).events, b.play(high).events
    event = None if any(images) else first_difference(*events)
    return StateParted(high, low, parts, row, a.directory, event, images[0], images[1])


def _keep_equal(a: Side, b: Side) -> tuple[Any, Any]:
    """Copies of two equal states: one for both, where both are states of the compiled engine."""
    one = a.keep()
    are_ours = isinstance(a, Replayed) and isinstance(b, Replayed) and a.is_kernel and b.is_kernel
    is_shared = are_ours and a.form == b.form and not getattr(a, "shows_views", False)
    return one, one if is_shared else b.keep()


def _keep_anew(a: Side, b: Side, kept: _Kept) -> None:
    """Copies of two equal states in place of those of before, which are dropped first."""
    kept.clear()
    kept.append(_keep_equal(a, b))


def _back(a: Side, b: Side, kept: _Kept) -> None:
    a.back(kept[0][0])
    b.back(kept[0][1])


def parted_row(a: Side, b: Side) -> RowParted | None:
    """First row of the first part that differs: of the tables that the rules know, else of the arrays."""
    part = next(iter(unlike_parts(a, b)), "")
    if part == "events":  # a digest: the event itself says more
        return None
    row = None
    with suppress(KeyError, ValueError, IndexError):  # an image that is not whole has no such rows
        without = {"ids", "risk"} - {part}
        one, other = (side.tables(without=without).get(part, {}) for side in (a, b))
        row = first_row(one, other)
    # Links, free lists and trees are in no table.
    return row or first_row(a.arrays().get(part, {}), b.arrays().get(part, {}))


def first_row(a: dict[str, NDArray[Any]], b: dict[str, NDArray[Any]]) -> RowParted | None:
    """First row in which the tables of a part differ; None where they are equal."""
    for name in [*a, *(name for name in b if name not in a)]:
        one = a[name] if name in a else b[name][:0]
        other = b[name] if name in b else a[name][:0]
        if one.dtype == other.dtype and one.shape == other.shape and _first_unequal(one, other) is None:
            continue
        return _row(name, one, other)
    return None


def _row(name: str, a: NDArray[Any], b: NDArray[Any]) -> RowParted:
    n = min(len(a), len(b))
    found = _first_unequal(a[:n], b[:n]) if a.dtype == b.dtype else 0
    at = n if found is None else found
    one = _values(a, at, b)
    other = _values(b, at, a)
    if one is not None and other is not None and (keys := _KEYS.get(name)):
        # A row that only one side has moves all after it: it is shown alone.
        if not _has(b, one, keys):
            other = None
        elif not _has(a, other, keys):
            one = None
    fields = tuple(key for key in one if one[key] != other[key]) if one is not None and other is not None else ()
    return RowParted(name, at, fields, one, other)


def _first_unequal(a: NDArray[Any], b: NDArray[Any]) -> int | None:
    """Index of the first row in which two arrays of one form differ, by their bytes; None where they are equal.

    Some rows at a time: an array of a large market has several hundred MB, and copies of two are most of the memory.
    """
    a, b = np.atleast_1d(a), np.atleast_1d(b)
    rows = max(1, _COMPARED_BYTES // max(1, a[:1].nbytes))
    for begin in range(0, len(a), rows):
        one, other = a[begin : begin + rows], b[begin : begin + rows]
        if one.tobytes() != other.tobytes():
            return begin + int(np.flatnonzero((_octets(one) != _octets(other)).any(axis=1))[0])
    return None


def _octets(rows: NDArray[Any]) -> NDArray[np.uint8]:
    flat = np.ascontiguousarray(rows)
    return flat.view(np.uint8).reshape(len(flat), -1) if flat.size else np.zeros((len(flat), 1), np.uint8)


def _values(rows: NDArray[Any], at: int, other: NDArray[Any]) -> Values | None:
    """A row by column; of an array without columns, the first word that differs, by its place."""
    if at >= len(rows):
        return None
    if rows.dtype.names:
        row = rows[at]
        return {name: _value(row[name]) for name in _columns(rows.dtype)}
    words = np.atleast_1d(rows[at])
    others = np.atleast_1d(other[at]) if at < len(other) else words
    unequal = np.flatnonzero(words != others) if words.shape == others.shape else np.arange(1)
    place = int(unequal[0]) if len(unequal) else 0
    return {f"word {place}" if words.size > 1 else "value": _value(words[place])}


def _columns(kind: "np.dtype[Any]") -> list[str]:
    """Names of fields, one for each place: fields may overlap."""
    assert kind.fields is not None
    places: dict[int, str] = {}
    for name, field_ in kind.fields.items():
        places.setdefault(int(field_[1]), name)
    return [places[place] for place in sorted(places)]


def _value(value: Any) -> int | str:
    if isinstance(value, np.integer | int):
        return int(value)
    return np.asarray(value).tobytes().hex()


def _has(rows: NDArray[Any], row: Values, keys: tuple[str, ...]) -> bool:
    if not rows.dtype.names or any(key not in rows.dtype.names for key in keys):
        return True
    found = np.ones(len(rows), np.bool_)
    for key in keys:
        found &= rows[key] == row[key]
    return bool(found.any())


def _with_consequences(a: Side, b: Side, parted: StateParted, to_seq: int) -> StateParted:
    """The difference with its consequences; both sides go on from it without further images."""
    for side in (a, b):
        if isinstance(side, Replayed):
            side.go_on()
    if (parted.image_a or parted.image_b) and any(getattr(side, "broken", "") for side in (a, b)):
        return parted
    return replace(parted, consequences=consequences(a.play, b.play, parted.seq, to_seq))
