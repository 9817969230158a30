"""The kernels of an export as a set: whether they are compiled, and their compilation."""

from pathlib import Path

import numpy as np

from engine.jit import INTERPRETED
from engine.kernel_cache import cache_directory_of
from exports.reported import Orders, ReportColumns
from exports.words import id_keys_of, id_text, name_numbers
from reports.rows import REPORT, ReportKind


def is_compiled() -> bool:
    """True if the kernels are in the cache of this machine."""
    return INTERPRETED or any(cache_directory_of(Path(__file__).parent).rglob("row_columns.put_orders*.nbc"))


def compile_kernels() -> None:
    """Compile or load the kernels."""
    id_keys_of(id_text(np.ones(1, np.int64)))
    name_numbers(np.zeros(1, np.int64), ())
    row, orders = np.zeros(1, REPORT), Orders()
    row["kind"], row["order_number"] = ReportKind.NEW, 1
    for columns in ReportColumns(1).take(row):
        orders.take(columns)
