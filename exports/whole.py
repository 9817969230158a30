"""Views in SQL by which tables that say each fact once (``exports.once``) say all in every row.

They are plain SQL but for the reading of files, which is DuckDB's; an export has them as ``views.sql``. Rows that an
order or a trade says, rows about an order, about a trade and those that say all stand in parts of their own, so that a
question by participant or instrument reads its orders first.
"""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from exports.columns import COLUMNS

#: The file with the views in the folder of an export.
VIEWS: Final = "views.sql"
_HEAD: Final = """\
-- All facts of this export in every row, for DuckDB: in this folder, `duckdb -init views.sql`.
-- A row or a value that is not in the files of its table is said by another one; these views say by which.
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
#: Columns of the row ``r`` of an order.
_ORDER: Final = {
    "client_order_id": "coalesce(r.client_order_id, r.entry_client_order_id)",
    "end_time_ns": "coalesce(r.end_time_ns, r.entry_time_ns)",
    "price_e4": "coalesce(r.price_e4, r.entry_price_e4)",
    "qty": "coalesce(r.qty, r.entry_qty)",
    "canceled_qty": "coalesce(r.canceled_qty, coalesce(r.qty, r.entry_qty) - r.leaves_qty - r.cum_qty)",
    "notional_e4": "coalesce(r.notional_e4, r.cum_qty * coalesce(r.price_e4, r.entry_price_e4))",
}
_END_DAY: Final = f"make_timestamp_ns({_ORDER['end_time_ns']})::DATE"
#: Columns of an event that the row ``r`` of its order or trade says.
_EVENT_SAID: Final = {
    **dict.fromkeys(("contra_participant", "contra_client_order_id", "reason", "phase"), "''"),
    "number": "r.order_number",
    "client_order_id": "r.entry_client_order_id",
    "price_e4": "r.entry_price_e4",
}
_EVENT_OF_ENTRY: Final = {
    **_EVENT_SAID,
    "seq": "r.entry_seq",
    "event_number": "r.entry_number",
    "time_ns": "r.entry_time_ns",
    "kind": "'accepted'",
    "qty": "r.entry_qty",
}
_EVENT_OF_END: Final = {
    **_EVENT_SAID,
    "seq": "r.end_seq",
    "event_number": "r.end_number",
    "time_ns": _ORDER["end_time_ns"],
    "kind": "'canceled'",
    "qty": _ORDER["canceled_qty"],
    "reason": "r.end_reason",
    "day": _END_DAY,
}
#: Columns of a report that the row ``r`` of its order says.
_REPORT_SAID: Final = {
    **dict.fromkeys(("previous_client_order_id", "peg", "contra_participant", "liquidity", "reason"), "''"),
    **dict.fromkeys(("stop_price_e4", "offset_e4", "last_price_e4", "last_qty", "trade_number"), "0::BIGINT"),
}
_REPORT_OF_ENTRY: Final = {
    **_REPORT_SAID,
    **dict.fromkeys(("cum_qty", "canceled_qty", "notional_e4"), "0::BIGINT"),
    "seq": "r.entry_seq",
    "number": "1::BIGINT",
    "time_ns": "r.entry_time_ns",
    "kind": "'new'",
    "command": "'enter'",
    "client_order_id": "r.entry_client_order_id",
    "price_e4": "r.entry_price_e4",
    "qty": "r.entry_qty",
    "leaves_qty": "r.entry_qty",
    "displayed_qty": "CASE WHEN r.end_seq = r.entry_seq THEN 0 ELSE r.entry_qty END",
    "rests": "CASE WHEN r.end_seq = r.entry_seq THEN 0::BIGINT ELSE 1 END",
}
_REPORT_OF_END: Final = {
    **_REPORT_SAID,
    **dict.fromkeys(("displayed_qty", "rests"), "0::BIGINT"),
    "seq": "r.end_seq",
    "number": "CASE WHEN r.end_number = 1 THEN 1 ELSE 2 * r.end_number - 2 END",
    "time_ns": _ORDER["end_time_ns"],
    "kind": "'canceled'",
    "command": "CASE WHEN r.end_seq = r.entry_seq THEN 'enter' ELSE 'cancel' END",
    **{name: _ORDER[name] for name in ("client_order_id", "price_e4", "qty", "canceled_qty", "notional_e4")},
    "reason": "r.end_reason",
    "day": _END_DAY,
}


def _side(own: str, what: str) -> str:
    """Words of a trade about the side that its event names first (``own``), or about the other."""
    first, second = ("sell", "buy") if own == "own" else ("buy", "sell")
    return f"CASE WHEN r.aggressor_side = 'buy' THEN r.{first}_{what} ELSE r.{second}_{what} END"


_EVENT_OF_TRADE: Final = {
    "kind": "'trade'",
    "number": "r.trade_number",
    "side": "r.aggressor_side",
    "participant": _side("own", "participant"),
    "client_order_id": _side("own", "client_order_id"),
    "contra_participant": _side("contra", "participant"),
    "contra_client_order_id": _side("contra", "client_order_id"),
    "reason": "''",
    "phase": "''",
}
_ITS_ORDER: Final = " JOIN orders_files o ON o.entry_seq = r.seq - r.entered_ago"
_ITS_TRADE: Final = " JOIN trades_files t ON t.trade_number = r.trade_number"
_NOT_OF_TRADE: Final = "r.entered_ago IS NOT NULL AND r.last_qty IS NOT NULL"


class _Part(NamedTuple):
    """Rows of a view: the table whose rows ``r`` they are, what is said by others, what is joined, which rows they are,
    and the other tables needed."""

    table: str
    says: Mapping[str, str] = {}
    joined: str = ""
    which: str = ""
    needs: tuple[str, ...] = ()


_PARTS: Final = {
    "events": (
        _Part("events", which="r.participant IS NOT NULL"),
        _Part("events", _EVENT_OF_ORDER, _ITS_ORDER, "r.entered_ago IS NOT NULL", ("orders",)),
        _Part("orders", _EVENT_OF_ENTRY, which="r.entry_number IS NOT NULL"),
        _Part("orders", _EVENT_OF_END, which="r.end_number IS NOT NULL"),
        _Part("trades", _EVENT_OF_TRADE, which="r.event_number IS NOT NULL"),
    ),
    "reports": (
        _Part("reports", _REPORT_ALONE, which="r.entered_ago IS NULL"),
        _Part("reports", _REPORT_OF_ORDER, _ITS_ORDER, _NOT_OF_TRADE, ("orders",)),
        _Part("reports", _REPORT_OF_TRADE, f"{_ITS_ORDER}{_ITS_TRADE}", "r.last_qty IS NULL", ("orders", "trades")),
        _Part("orders", _REPORT_OF_ENTRY, which="r.entry_number IS NOT NULL"),
        _Part("orders", _REPORT_OF_END, which="r.end_number IS NOT NULL"),
    ),
    "orders": (_Part("orders", _ORDER),),
    "trades": (_Part("trades"),),
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
        if all(table in names for table in (part.table, *part.needs)):
            said = (
                f"{part.says[each]} AS {each}" if each in part.says else f'r."{each}"'
                for each in (*COLUMNS[name].split(), "day")
            )
            which = f" WHERE {part.which}" if part.which else ""
            yield f"SELECT {', '.join(said)} FROM {part.table}_files r{part.joined}{which}"


def moments(name: str, names: Collection[str]) -> str:
    """Query of the columns ``seq``, ``time_ns`` and ``day`` of the view ``name`` (events or reports), by few columns of
    the files. ``names``: of the tables that were exported."""
    found = []
    for part in _PARTS[name]:
        if all(table in names for table in (part.table, *part.needs)):
            said = (f"{part.says.get(each, f'r.{each}')} AS {each}" for each in ("seq", "time_ns", "day"))
            found.append(f"SELECT {', '.join(said)} FROM {part.table}_files r WHERE {part.which}")
    return " UNION ALL ".join(found)


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
