"""EVENT rows as narrow columns: a third of their size, and a search of one column reads that column alone.

Each place of the rows becomes a column of what is above its least value, in as few bytes as the largest needs. A column
that is the same in all rows has no bytes, and one that is mostly 0 keeps a bit for each row and the other values.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.records import EVENT, EVENT_PLACES

#: The columns: the first name of each place of a row, in the order of the bytes.
PLACES: Final = tuple(names[0] for names in EVENT_PLACES.values())
_WIDTHS: Final = ("<u1", "<u2", "<u4")
#: A column with fewer other values than one row in this number keeps them apart from its zeros.
_SPARSE: Final = 2
#: So many values are looked for one after the other.
_FEW: Final = 8

#: Arrays of a piece by name, each as type, length and bytes (``journal.columns``).
Arrays = dict[str, tuple[str, int, "bytes | memoryview"]]


class Column(NamedTuple):
    """Values of a place: ``values`` + ``base`` of all ``length`` rows; or, with ``bits``, of the rows whose bit is set,
    while all others are 0."""

    length: int
    base: int
    values: NDArray[Any]
    bits: NDArray[np.uint8] | None

    def all(self) -> NDArray[np.int64]:
        """The value of each row."""
        if self.bits is None:
            if not len(self.values):
                return np.full(self.length, self.base, np.int64)
            return self.values.astype(np.int64) + self.base
        found = np.zeros(self.length, np.int64)
        found[self._set()] = self.values.astype(np.int64) + self.base
        return found

    def fill(self, place: NDArray[Any]) -> None:
        """Write the value of each row into a place of rows, as many as there are."""
        if self.bits is not None:
            place[:] = self.all()
        elif not len(self.values):
            place[:] = self.base
        elif not self.base:
            place[:] = self.values
        else:
            np.add(self.values, self.base, out=place, dtype=np.int64, casting="unsafe")

    def at(self, rows: NDArray[np.intp]) -> NDArray[np.int64]:
        """The values of rows."""
        if self.bits is None and len(self.values):
            return self.values[rows].astype(np.int64) + self.base
        return self.all()[rows]

    def among(self, wanted: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Mask of the rows with one of a few values, rising."""
        if self.bits is not None:
            found = np.zeros(self.length, np.bool_)
            found[self._set()] = self._stored_among(wanted)
            if 0 in wanted:
                found |= np.unpackbits(self.bits, count=self.length) == 0
            return found
        if not len(self.values):
            return np.full(self.length, self.base in wanted)
        return self._stored_among(wanted)

    def _set(self) -> NDArray[np.intp]:
        assert self.bits is not None
        return np.flatnonzero(np.unpackbits(self.bits, count=self.length))

    def _stored_among(self, wanted: NDArray[np.int64]) -> NDArray[np.bool_]:
        # In the type of the column, which reads an eighth of the bytes; what it cannot hold is in no row.
        form = self.values.dtype
        least, most = int(np.iinfo(form).min), int(np.iinfo(form).max)
        near = np.array([each for value in wanted.tolist() if least <= (each := value - self.base) <= most], form)
        if len(near) > _FEW:
            many: NDArray[np.bool_] = np.isin(self.values, near)
            return many
        found = np.zeros(len(self.values), np.bool_)
        for value in near:
            found |= self.values == value
        return found


def encoded(values: NDArray[Any], name: str) -> Arrays:
    """A column as arrays, whose names begin with ``name``."""
    wide = values.astype(np.int64)
    bits: NDArray[np.uint8] | None = None
    there = wide != 0
    if _SPARSE * int(there.sum()) < len(wide) and there.any():
        bits, wide = np.packbits(there), wide[there]
    low, high = (int(wide.min()), int(wide.max())) if len(wide) else (0, 0)
    if low == high and bits is None:
        return {name: (f"={low}", len(values), b"")}
    form = next((form for form in _WIDTHS if high - low <= np.iinfo(form).max), "<i8")
    base = 0 if form == "<i8" else low
    arrays: Arrays = {name: (f"{form}+{base}", len(values), (wide - base).astype(form).tobytes())}
    if bits is not None:
        arrays[f"{name}?"] = ("<u1", len(bits), bits.tobytes())
    return arrays


def decoded(array: Callable[[str], tuple[str, int, "bytes | memoryview"]], name: str, *, is_sparse: bool) -> Column:
    """The column that ``encoded`` gave. ``array``: an array by its name."""
    form, count, content = array(name)
    if form.startswith("="):
        return Column(count, int(form[1:]), np.empty(0, np.uint8), None)
    width, base = form.split("+")
    bits = np.frombuffer(array(f"{name}?")[2], np.uint8) if is_sparse else None
    return Column(count, int(base), np.frombuffer(content, width), bits)


def rows_of(columns: Mapping[str, Column] | Callable[[str], Column], at: NDArray[np.intp]) -> NDArray[Any]:
    """EVENT rows at indices, as they were before they became columns."""
    column = columns if callable(columns) else columns.__getitem__
    rows = np.zeros(len(at), EVENT)
    if len(at):
        for place in PLACES:
            rows[place] = column(place).at(at)
    return rows
