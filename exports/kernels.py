"""The kernels of an export as a set: whether they are compiled, and their compilation."""

from pathlib import Path

import numpy as np

from engine.jit import INTERPRETED
from engine.kernel_cache import cache_directory_of
from exports.once import EVENTS_ONCE, Facts, events_once, offer, reports_once, trade_rows
from exports.postgres import compile_copy
from exports.reported import Orders, ReportColumns, trade_columns
from exports.words import id_keys_of, id_text, name_numbers
from reports.rows import REPORT, ReportKind


def is_compiled() -> bool:
    """True if the kernels are in the cache of this machine."""
    return INTERPRETED or any(cache_directory_of(Path(__file__).parent).rglob("once_rows.merge_events*.nbc"))


def compile_kernels() -> None:
    """Compile or load the kernels."""
    id_keys_of(id_text(np.ones(1, np.int64)))
    compile_copy()
    name_numbers(np.zeros(1, np.int64), ())
    row, orders = np.zeros(1, REPORT), Orders()
    row["kind"], row["order_number"] = ReportKind.NEW, 1
    nothing = {name: np.zeros(1, np.int64) for name in EVENTS_ONCE.columns}
    for columns in ReportColumns(1).take(row):
        orders.take(columns)
        offer(columns, orders)
        trades = trade_rows([trade_columns(columns)])
        left = events_once([nothing], orders, trades)
        reports_once(columns, orders, trades)
    list(Facts({}, 0).events([{name: values[:0] for name, values in left.items()}]))
