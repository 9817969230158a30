"""Views in SQL by which tables that say each fact once (``exports.once``) say all in every row.

They are plain SQL but for the reading of files, which is DuckDB's; an export has them as ``views.sql``. Rows about an
order, about a trade and those that say all stand in parts of their own, so that a question by participant or instrument
reads its orders first.
"""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

from exports.columns import COLUMNS

#: The file with the views in the folder of an export.
VIEWS: Final = "views.sql"
_HEAD: Final = """\
-- All facts of this export in every row, for DuckDB: in this folder, `duckdb -init views.sql`.
-- A column without a value in the files is said by another table; these views say by which.
"""

_ENDS: Final = "r.kind IN ('canceled', 'expired', 'done_for_day')"
_QTY: Final = "coalesce(r.qty, o.entry_qty)"
_PRICE: Final = "coalesce(r.price_e4, o.entry_price_e4)"
_CANCELED: Final = f"coalesce(r.canceled_qty, CASE WHEN {_ENDS} THEN {_QTY} - r.cum_qty ELSE 0 END)"
_LEAVES: Final = f"coalesce(r.leaves_qty, {_QTY} - r.cum_qty - {_CANCELED})"
_PAID: Final = f"CASE WHEN r.kind = 'trade' THEN r.last_price_e4 ELSE {_PRICE} END"
#: Columns of a report by the order ``o`` that it is about.
_REPORT_OF_ORDER: Final = {
    **{name: f"o.{name}" for name in ("order_number", "participant", "symbol", "user", "side", "book")},
    "time_in_force": "o.time_in_force",
    "client_order_id": "coalesce(r.client_order_id, o.entry_client_order_id)",
    "price_e4": _PRICE,
    "qty": _QTY,
    "canceled_qty": _CANCELED,
    "leaves_qty": _LEAVES,
    "displayed_qty": f"coalesce(r.displayed_qty, r.rests * ({_LEAVES}))",
    "notional_e4": f"coalesce(r.notional_e4, r.cum_qty * {_PAID})",
    "trade_number": "coalesce(r.trade_number, 0)",
}
_REPORT_OF_TRADE: Final = {
    **_REPORT_OF_ORDER,
    "notional_e4": "coalesce(r.notional_e4, r.cum_qty * t.price_e4)",
    "last_price_e4": "t.price_e4",
    "last_qty": "t.qty",
    "contra_participant": "CASE WHEN o.side = 'buy' THEN t.sell_participant ELSE t.buy_participant END",
}
_REPORT_ALONE: Final = {"trade_number": "coalesce(r.trade_number, 0)"}

_EVENT_OF_ORDER: Final = {
    **{name: f"o.{name}" for name in ("symbol", "participant", "side")},
    "client_order_id": "o.entry_client_order_id",
    "price_e4": "coalesce(r.price_e4, o.entry_price_e4)",
    "qty": "coalesce(r.qty, o.entry_qty)",
    "number": "o.order_number",
}


def _side(own: str, what: str) -> str:
    """Words of a trade about the side that its event names first (``own``), or about the other."""
    first, second = ("sell", "buy") if own == "own" else ("buy", "sell")
    return f"CASE WHEN t.aggressor_side = 'buy' THEN t.{first}_{what} ELSE t.{second}_{what} END"


_EVENT_OF_TRADE: Final = {
    "symbol": "t.symbol",
    "side": "t.aggressor_side",
    "price_e4": "t.price_e4",
    "qty": "t.qty",
    "participant": _side("own", "participant"),
    "client_order_id": _side("own", "client_order_id"),
    "contra_participant": _side("contra", "participant"),
    "contra_client_order_id": _side("contra", "client_order_id"),
}
_ORDER: Final = {
    "client_order_id": "coalesce(r.client_order_id, r.entry_client_order_id)",
    "end_time_ns": "coalesce(r.end_time_ns, r.entry_time_ns)",
    "price_e4": "coalesce(r.price_e4, r.entry_price_e4)",
    "qty": "coalesce(r.qty, r.entry_qty)",
    "canceled_qty": "coalesce(r.canceled_qty, coalesce(r.qty, r.entry_qty) - r.leaves_qty - r.cum_qty)",
    "notional_e4": "coalesce(r.notional_e4, r.cum_qty * coalesce(r.price_e4, r.entry_price_e4))",
}

_ITS_ORDER: Final = " JOIN orders_files o ON o.entry_seq = r.seq - r.entered_ago"
_ITS_TRADE: Final = " JOIN trades_files t ON t.trade_number = r."


class _Part:
    """Rows of a view: what they say by others, what is joined, which of the rows they are, and the tables needed."""

    def __init__(self, says: Mapping[str, str], joined: str, which: str, *needs: str) -> None:
        self.says, self.joined, self.which, self.needs = says, joined, which, needs


_PARTS: Final = {
    "events": (
        _Part({}, "", "r.participant IS NOT NULL"),
        _Part(_EVENT_OF_ORDER, _ITS_ORDER, "r.entered_ago IS NOT NULL", "orders"),
        _Part(_EVENT_OF_TRADE, f"{_ITS_TRADE}number", "r.participant IS NULL AND r.entered_ago IS NULL", "trades"),
    ),
    "reports": (
        _Part(_REPORT_ALONE, "", "r.entered_ago IS NULL"),
        _Part(_REPORT_OF_ORDER, _ITS_ORDER, "r.entered_ago IS NOT NULL AND r.last_qty IS NOT NULL", "orders"),
        _Part(_REPORT_OF_TRADE, f"{_ITS_ORDER}{_ITS_TRADE}trade_number", "r.last_qty IS NULL", "orders", "trades"),
    ),
    "orders": (_Part(_ORDER, "", ""),),
}


def views(names: Collection[str]) -> Iterator[str]:
    """Statements that make a view of each table of an export, all of them named by ``names``.

    They read ``NAME_files``: the rows of the files, with the column ``day`` where the table has days.
    """
    for name in names:
        yield f"CREATE VIEW {name} AS {' UNION ALL '.join(_selects(name, names))}"


def _selects(name: str, names: Collection[str]) -> Iterator[str]:
    if name not in _PARTS:
        yield f"SELECT * FROM {name}_files"
        return
    for part in _PARTS[name]:
        if all(table in names for table in part.needs):
            said = (
                f"{part.says[each]} AS {each}" if each in part.says else f'r."{each}"' for each in COLUMNS[name].split()
            )
            which = f" WHERE {part.which}" if part.which else ""
            yield f"SELECT {', '.join(said)}, r.day FROM {name}_files r{part.joined}{which}"


def within(reads: Mapping[str, str], names: Collection[str]) -> str:
    """CTEs by which a query reads the rows of files that the queries ``reads`` give, by table, and no others.

    They take the names of the views, of tables that were exported (``names``). The files' own rows are those of the
    same name with "_files" behind it in schema "main". A query of a table comes behind those of the tables that it
    reads.
    """
    known = [name for name in reads if name in names]
    rows = [f"{name}_files AS MATERIALIZED ({reads[name]})" for name in known]
    return ", ".join(rows + [f"{name} AS ({' UNION ALL '.join(_selects(name, known))})" for name in known])


def files_view(folder: Path, name: str, *, within: bool = False) -> str:
    """Statement that makes the view ``NAME_files`` of a table. ``within``: by paths within the folder."""
    files = sorted((folder / name).rglob("*.parquet"))
    dated = bool(files) and all("day=" in path.parent.name for path in files)
    # A table without rows has no day.
    day = "" if dated or name == "positions" else ", NULL::DATE AS day"
    paths = ", ".join(_quoted(str(path.relative_to(folder) if within else path)) for path in files)
    return (
        f"CREATE VIEW {name}_files AS SELECT *{day} "
        f"FROM read_parquet([{paths}], hive_partitioning = {str(dated).lower()})"
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def write_views(folder: Path, names: Collection[str]) -> None:
    """Write the views of an export into its folder. Raises OSError."""
    lines = [*(files_view(folder, name, within=True) for name in names), *views(names)]
    (folder / VIEWS).write_text(_HEAD + "".join(f"{line};\n" for line in lines))
