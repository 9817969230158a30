"""Rows of a table cut into files: one a day of the market's clock, and of a bounded size."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np

from exports.tables import Columns, Table

#: Column with the time by which a table is cut; a table without one is a single piece.
TIMES: Final = {
    "events": "time_ns",
    "trades": "time_ns",
    "reports": "time_ns",
    "orders": "entry_time_ns",
    "snapshots": "time_ns",
    "audit": "time_ns",
}
DAY_NS: Final = 86_400 * 10**9
#: Rows of a file at most.
FILE_ROWS_MAX: Final = 2_000_000
_NUMBERED: Final = re.compile("[a-z_]+-([0-9]+)")


def day_text(day: int) -> str:
    """A day since 1970 as text.

    >>> day_text(19_737)
    '2024-01-15'
    """
    return datetime.fromtimestamp(day * 86_400, UTC).strftime("%Y-%m-%d")


def by_day(table: Table, columns: Columns) -> Iterator[tuple[int | None, Columns]]:
    """Rows cut where the day changes, in their order; None for the day of a table without time."""
    time = TIMES.get(table.name)
    if time is None:
        yield None, columns
        return
    days = np.asarray(columns[time], np.int64) // DAY_NS
    cuts = [0, *(np.flatnonzero(np.diff(days)) + 1).tolist(), len(days)]
    for begin, end in pairwise(cuts):
        if end > begin:
            yield int(days[begin]), {name: values[begin:end] for name, values in columns.items()}


def number_of(path: Path) -> int:
    """Number of a file, in the order in which the files of a table were begun. Raises ValueError for another name."""
    if (found := _NUMBERED.match(path.stem)) is None:
        raise ValueError(f"{path} is no file of an export; move it away")
    return int(found[1])
