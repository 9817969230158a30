"""Questions to an export in Parquet, by DuckDB (its only importer): SQL, or one of the named questions.

The tables are views that say all (``exports.whole``): ``events``, ``reports``, ``trades``, ``orders``, ``positions``
and, where they were exported, ``snapshots``, all but positions with the column ``day``; rows as the files have them are
``orders_files`` and so on. Values of a named question are given by name, and are no part of its SQL.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from exports.answer_text import cells, is_number, line
from exports.columns import ALWAYS
from exports.errors import ExportError
from exports.manifest import table_names
from exports.whole import files_view, moments, views, within


@dataclass(frozen=True)
class Question:
    """A named question: what it answers, its SQL, and its values with their defaults (None: has to be given).

    ``reads``: queries of the rows of files that its answer follows from, by table, as ``exports.whole.within`` takes
    them. The SQL gives the same answer of all rows, for which DuckDB reads each file of reports or events three times.
    """

    about: str
    sql: str
    values: Mapping[str, str | int | None]
    reads: Mapping[str, str] = field(default_factory=dict)


#: Values of named questions that are a command's number, or a time in its place: the first command not earlier, or the
#: newest one not later.
FIRST_OF_RANGE: Final = "from"
MOMENTS: Final = (FIRST_OF_RANGE, "to", "seq")
#: A number above that of every command.
BEYOND_ALL: Final = 2**62
_TIME: Final = "make_timestamp_ns(time_ns) AS time"
#: Open orders in the books after a command: no dormant stops, no pegs without a price, and no closing orders, which
#: reports show in no book. Its last column is the price at which an order is in the book.
_LEDGER: Final = """
    WITH changes AS MATERIALIZED (
        SELECT *, seq * 1000000 + number AS place FROM reports
        WHERE order_number IN (SELECT order_number FROM orders
                WHERE symbol = $symbol AND entry_seq <= $seq AND (end_seq = 0 OR end_seq > $seq))
            AND symbol = $symbol AND seq <= $seq AND kind NOT IN ('rejected', 'cancel_rejected')),
    newest AS (SELECT order_number, max(place) AS place FROM changes WHERE order_number > 0 GROUP BY order_number),
    priced AS (
        SELECT order_number, max_by(last_price_e4, place) AS peg_e4 FROM changes
        WHERE kind = 'repriced' GROUP BY order_number),
    live AS (
        SELECT r.*, CASE WHEN r.peg = '' THEN r.price_e4 ELSE p.peg_e4 END AS book_e4
        FROM changes r JOIN newest n ON r.order_number = n.order_number AND r.place = n.place
            LEFT JOIN priced p ON p.order_number = r.order_number
        WHERE r.leaves_qty > 0 AND r.stop_price_e4 = 0 AND (r.peg = '' OR r.rests = 1)
            AND NOT (r.time_in_force = 'closing' AND r.displayed_qty = 0))"""
#: Of the order whose number is given, by its row alone.
_ITS_SEQ: Final = "(SELECT entry_seq FROM orders WHERE order_number = $order)"
#: No report names an order after its end.
_ITS_END: Final = (
    "(SELECT CASE end_seq WHEN 0 THEN 9223372036854775807 ELSE end_seq END FROM orders WHERE order_number = $order)"
)
#: A mark of a FIX session is a refused cancel of no order (``notation.fix_marks``); reports have no contexts.
_REASON: Final = (
    "CASE WHEN kind = 'cancel_rejected' AND command = 'cancel' AND client_order_id = '' "
    "THEN 'names no order, as a FIX session message does' ELSE reason END AS reason"
)
_ITS_SYMBOL: Final = "(SELECT symbol FROM orders WHERE order_number = $order)"


def _reports_of(alone: str, which: str) -> str:
    """Rows of reports about the orders that are read, and those that say all and fit ``alone``."""
    rows = f"SELECT * FROM main.reports_files WHERE {which} AND"
    return (
        f"{rows} entered_ago IS NULL AND {alone} "
        f"UNION ALL {rows} seq - entered_ago IN (SELECT entry_seq FROM orders_files)"
    )


def _of_participant(which: str) -> dict[str, str]:
    """Queries of the rows that reports of a participant follow from. ``which``: of its reports."""
    return {
        "orders": "SELECT * FROM main.orders_files WHERE participant = $participant",
        "trades": "SELECT * FROM main.trades_files WHERE buy_participant = $participant "
        "OR sell_participant = $participant",
        "reports": _reports_of("participant = $participant", which),
    }


#: Queries of the rows that reports of replaces follow from.
_OF_REPLACES: Final = {
    "orders": "SELECT * FROM main.orders_files WHERE entry_seq IN "
    "(SELECT seq - entered_ago FROM main.reports_files WHERE kind = 'replaced')",
    "trades": "SELECT * FROM main.trades_files WHERE FALSE",
    "reports": "SELECT * FROM main.reports_files WHERE kind = 'replaced'",
}

#: Queries of the rows that events of a symbol on a day follow from.
_OF_SYMBOL: Final = {
    "orders": "SELECT * FROM main.orders_files WHERE symbol = $symbol",
    "trades": "SELECT * FROM main.trades_files WHERE symbol = $symbol AND day = $day::DATE",
    "events": "SELECT * FROM main.events_files "
    "WHERE participant IS NOT NULL AND symbol = $symbol AND day = $day::DATE "
    "UNION ALL SELECT * FROM main.events_files WHERE participant IS NULL AND day = $day::DATE "
    "AND seq - entered_ago IN (SELECT entry_seq FROM orders_files)",
}


def _live(seq: str, symbol: str, other: str) -> str:
    """Condition of the rows of orders that were open after a command, and of other ones."""
    return f"symbol = {symbol} AND ((entry_seq <= {seq} AND (end_seq = 0 OR end_seq > {seq})) OR {other})"


def _oldest(live: str) -> str:
    """The command that entered the first of some orders: no report names one before it."""
    return f"(SELECT coalesce(min(entry_seq), 0) FROM main.orders_files WHERE {live})"


def _of_ledger(seq: str, live: str, symbol: str) -> dict[str, str]:
    """Queries of the rows that open orders of a symbol after a command follow from. ``live``: as ``_live`` gives it."""
    which = f"seq BETWEEN {_oldest(live)} AND {seq}"
    return {
        "orders": f"SELECT * FROM main.orders_files WHERE {live}",
        "trades": f"SELECT * FROM main.trades_files WHERE symbol = {symbol} AND {which}",
        "reports": _reports_of(f"symbol = {symbol}", which),
    }


_IN_BOOK: Final = _live("$seq", "$symbol", "FALSE")
_BEFORE_IT: Final = _live(_ITS_SEQ, _ITS_SYMBOL, "order_number = $order")
#: Queries of one value that are asked before the question itself, in this order.
_FIRST: Final = (_ITS_SEQ, _ITS_END, _ITS_SYMBOL, _oldest(_IN_BOOK), _oldest(_BEFORE_IT))
_SIDES: Final = """(
            SELECT day, time_ns, buy_participant AS participant, 'buy' AS side, symbol, qty FROM trades
            UNION ALL SELECT day, time_ns, sell_participant, 'sell', symbol, qty FROM trades)"""

QUESTIONS: Final[dict[str, Question]] = {
    "order": Question(
        "the life of an order, with its replaces",
        f"SELECT seq, {_TIME}, kind, client_order_id, price_e4, qty, leaves_qty, last_qty, last_price_e4, "
        f"contra_participant, reason FROM reports WHERE order_number = $order "
        f"AND seq BETWEEN {_ITS_SEQ} AND {_ITS_END} ORDER BY seq, number",
        {"order": None},
    ),
    "participant": Question(
        "all that happened to a participant in a range of commands, or between two times; refused cancels that name no "
        "order, as messages of FIX sessions are in a journal, are named so",
        f"SELECT seq, {_TIME}, kind, symbol, side, client_order_id, price_e4, leaves_qty, last_qty, "
        f"contra_participant, {_REASON} FROM reports WHERE participant = $participant AND seq BETWEEN $from AND $to "
        "ORDER BY seq, number",
        {"participant": None, FIRST_OF_RANGE: 1, "to": BEYOND_ALL},
        _of_participant("seq BETWEEN $from AND $to"),
    ),
    "symbol": Question(
        "all events of a symbol on a day",
        f"SELECT seq, {_TIME}, kind, participant, side, client_order_id, price_e4, qty, contra_participant, reason "
        "FROM events WHERE symbol = $symbol AND day = $day::DATE ORDER BY seq, event_number",
        {"symbol": None, "day": None},
        _OF_SYMBOL,
    ),
    "book": Question(
        "open orders of a symbol in the lit book by price after a command or at a time: what is shown, what is open",
        f"{_LEDGER} SELECT side, book_e4 AS price_e4, sum(displayed_qty)::BIGINT AS displayed_qty, "
        "sum(leaves_qty)::BIGINT AS leaves_qty, count(*) AS orders FROM live "
        "WHERE book = 'lit' "
        "GROUP BY side, book_e4 ORDER BY side, book_e4 DESC",
        {"symbol": None, "seq": BEYOND_ALL},
        _of_ledger("$seq", _IN_BOOK, "$symbol"),
    ),
    "ahead": Question(
        "orders before an order in the queue of its price when it was entered: hidden ones stand behind shown ones, "
        "and a peg that has no price yet is in no queue",
        f"""WITH its AS (
            SELECT n.*, CASE WHEN n.peg = '' THEN n.price_e4 ELSE (
                SELECT min_by(last_price_e4, number) FROM reports
                WHERE order_number = $order AND kind = 'repriced' AND seq = n.seq) END AS book_e4
            FROM reports n WHERE n.order_number = $order AND n.kind = 'new' AND n.seq = {_ITS_SEQ}),
        {_LEDGER.replace("WITH", "", 1).replace("$seq", _ITS_SEQ).replace("$symbol", _ITS_SYMBOL)}
        SELECT r.order_number, r.participant, r.client_order_id, r.leaves_qty FROM live r, its
        WHERE r.symbol = its.symbol AND r.side = its.side AND r.book = its.book AND r.book_e4 = its.book_e4
            AND r.order_number < its.order_number AND (r.displayed_qty > 0 OR its.displayed_qty = 0)
        ORDER BY r.order_number""",
        {"order": None},
        _of_ledger(_ITS_SEQ, _BEFORE_IT, _ITS_SYMBOL),
    ),
    "between": Question(
        "all trades between two participants",
        f"SELECT trade_number, seq, {_TIME}, symbol, price_e4, qty, aggressor_side, buy_participant, sell_participant "
        "FROM trades WHERE (buy_participant = $a AND sell_participant = $b) OR "
        "(buy_participant = $b AND sell_participant = $a) ORDER BY trade_number",
        {"a": None, "b": None},
    ),
    "cancels": Question(
        "cancels by a participant soon after its own trades in the symbol, on the other side",
        """SELECT c.seq, make_timestamp_ns(c.time_ns) AS time, c.symbol, c.side, c.client_order_id, c.canceled_qty,
            t.seq AS trade_seq, (c.time_ns - t.time_ns) AS after_ns
        FROM reports c ASOF JOIN (
            SELECT seq, time_ns, symbol, 'buy' AS side FROM trades WHERE buy_participant = $participant
            UNION ALL SELECT seq, time_ns, symbol, 'sell' FROM trades WHERE sell_participant = $participant) t
            ON c.symbol = t.symbol AND (c.side = 'buy') = (t.side = 'sell') AND c.seq >= t.seq
        WHERE c.kind = 'canceled' AND c.reason = 'user' AND c.participant = $participant
            AND c.time_ns - t.time_ns <= $within_ms::BIGINT * 1000000 ORDER BY c.seq""",
        {"participant": None, "within_ms": 100},
        _of_participant("kind = 'canceled' AND reason = 'user'"),
    ),
    "otr": Question(
        "orders and trades of each participant in each symbol on each day, with their ratios",
        f"""WITH entered AS (
            SELECT day, participant, symbol, count(*) AS orders, sum(qty)::BIGINT AS qty FROM (
                SELECT day, participant, symbol, entry_qty AS qty FROM main.orders WHERE entry_seq > 0
                UNION ALL SELECT day, participant, symbol, qty FROM reports WHERE kind = 'replaced'
            ) GROUP BY ALL),
        traded AS (
            SELECT day, participant, symbol, count(*) AS trades, sum(qty)::BIGINT AS traded_qty
            FROM {_SIDES.replace("FROM trades", "FROM main.trades")} GROUP BY ALL)
        SELECT e.day, e.participant, e.symbol, orders, coalesce(trades, 0) AS trades, qty,
            coalesce(traded_qty, 0) AS traded_qty, round(orders / greatest(coalesce(trades, 0), 1) - 1, 4) AS ratio,
            round(qty / greatest(coalesce(traded_qty, 0), 1) - 1, 4) AS qty_ratio
        FROM entered e LEFT JOIN traded t USING (day, participant, symbol) ORDER BY day, participant, symbol""",
        {},
        _OF_REPLACES,
    ),
    "halts": Question(
        "halts, kills and phases",
        f"SELECT seq, {_TIME}, kind, symbol, phase, participant, reason FROM events_files "
        "WHERE kind IN ('halted', 'killed', 'unkilled', 'phase') ORDER BY seq, event_number",
        {},
    ),
    "bars": Question(
        "open, high, low, last, shares and volume-weighted price of each symbol by a span of seconds",
        """SELECT symbol, make_timestamp_ns(time_ns // ($seconds::BIGINT * 1000000000) * $seconds::BIGINT * 1000000000)
            AS time, arg_min(price_e4, trade_number) AS open_e4, max(price_e4) AS high_e4, min(price_e4) AS low_e4,
            arg_max(price_e4, trade_number) AS last_e4, sum(qty)::BIGINT AS shares, count(*) AS trades,
            (sum(price_e4::HUGEINT * qty) // sum(qty))::BIGINT AS vwap_e4
        FROM trades GROUP BY ALL ORDER BY symbol, time""",
        {"seconds": 60},
    ),
    "closing": Question(
        "trades of each participant in a symbol in the last seconds of a day",
        f"""WITH ends AS (SELECT max(time_ns) - $seconds::BIGINT * 1000000000 AS after_ns FROM events
            WHERE symbol = $symbol AND day = $day::DATE)
        SELECT participant, side, count(*) AS trades, sum(qty)::BIGINT AS shares FROM {_SIDES}, ends
        WHERE symbol = $symbol AND day = $day::DATE AND time_ns > after_ns
        GROUP BY ALL ORDER BY shares DESC, participant, side""",
        {"symbol": None, "day": None, "seconds": 60},
    ),
    "counts": Question(
        "rows, first and last command of each table and day, to hold beside the manifest",
        " UNION ALL ".join(
            f"SELECT '{name}' AS name, day, count(*) AS rows, min({seq}) AS first_seq, max({seq}) AS last_seq "
            f"FROM {rows} GROUP BY day"
            for name, seq, rows in (
                ("events", "seq", f"({moments('events', ALWAYS)})"),
                ("reports", "seq", f"({moments('reports', ALWAYS)})"),
                ("trades", "seq", "trades_files"),
                ("orders", "entry_seq", "orders_files"),
            )
        )
        + " ORDER BY name, day",
        {},
    ),
}


def _literal(value: str | int | None) -> str:
    """A value in SQL."""
    if value is None:
        return "NULL"
    return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"


class Answers:
    """A connection to the tables of an export in Parquet. Raises ExportError without DuckDB, or for another form."""

    def __init__(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        if manifest["format"] != "parquet":
            raise ExportError(
                f"{folder} is an export as {manifest['format']}; questions are asked of one with --format parquet"
            )
        try:
            import duckdb
        except ImportError as error:
            raise ExportError(
                "questions need the package duckdb, which is not installed: pip install 'lockstep[ask]'"
            ) from error
        self._library = duckdb
        self._tables = table_names(manifest)
        self._reports = moments("reports", self._tables)
        self._connection = duckdb.connect()
        self._connection.execute("SET preserve_insertion_order = true")
        # DuckDB would draw it on standard output, into the answer, once a question takes two seconds.
        self._connection.execute("SET enable_progress_bar = false")
        for name in self._tables:
            self._connection.execute(files_view(folder, name))
        for view in views(self._tables):
            self._connection.execute(view)

    def ask(self, question: str, values: Mapping[str, str | int]) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
        """Names of the columns of an answer, and its rows. Raises ExportError for SQL that DuckDB refuses."""
        try:
            cursor = self._connection.execute(question, dict(values))
            columns = [each[0] for each in cursor.description or ()]
        except self._library.Error as error:
            why = " ".join(str(error).split())
            if len(self._tables) < len(ALWAYS):
                why += f"; this export has only the tables {', '.join(self._tables)}"
            raise ExportError(f"DuckDB refuses the question: {why}") from error
        return columns, self._rows(cursor)

    def ask_named(self, name: str, values: Mapping[str, str | int]) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
        """Answer a named question, as ``ask``.

        The ends of the range of commands that it needs are asked first: DuckDB leaves out the parts of files that are
        outside of a range of numbers, and reads them all for a range that is a query of its own. Of the tables, only
        rows that the answer follows from are read (``Question.reads``).
        """
        return self.ask(*self._named(name, values))

    def last_time_ns(self) -> int:
        """Newest time in the rows of reports, ns since 1970; 0 where there is none."""
        return self._number(f"SELECT max(time_ns) FROM ({self._reports})", 0)

    def first_time_ns(self) -> int:
        """Oldest time in the rows of reports, ns since 1970; 0 where there is none."""
        return self._number(f"SELECT min(time_ns) FROM ({self._reports}) WHERE time_ns > 0", 0)

    def seq_at(self, time_ns: int, *, first: bool) -> int:
        """Number of a command that bounds the reports before and after a time (ns since 1970): ``first``: all at that
        time or later have it or a greater one; else all up to that time have it or a lesser one."""
        if first:
            return self._number(f"SELECT min(seq) FROM ({self._reports}) WHERE time_ns >= {time_ns}", BEYOND_ALL)
        return self._number(f"SELECT min(seq) - 1 FROM ({self._reports}) WHERE time_ns > {time_ns}", BEYOND_ALL)

    def _number(self, query: str, otherwise: int) -> int:
        found = next(self.ask(query, {})[1])[0]
        return otherwise if found is None else int(found)

    def lines_of_named(self, name: str, values: Mapping[str, str | int]) -> tuple[int, str] | None:
        """Number of rows of the answer to a named question, and its table as text; None for columns of other types."""
        sql, used = self._named(name, values)
        self.ask(f"CREATE OR REPLACE TEMP TABLE answer AS {sql}", used)
        columns = [(row[0], row[1]) for row in self.ask("DESCRIBE answer", {})[1]]
        made = cells(columns)
        if made is None:
            return None
        heads = [each.removesuffix("_e4") for each, _ in columns]
        numbers = range(len(heads))
        named = ", ".join(f"{cell} AS c{at}" for at, cell in enumerate(made))
        self.ask(f"CREATE OR REPLACE TEMP TABLE cells AS SELECT {named} FROM answer", {})
        widest = ", ".join(f"coalesce(max(length(c{at})), 0)" for at in numbers)
        rows, *found = next(self.ask(f"SELECT count(*), {widest} FROM cells", {})[1])
        widths = [max(len(head), width) for head, width in zip(heads, found, strict=True)]
        # Without a row no column is one of numbers.
        first = [
            head.rjust(width) if rows and is_number(kind) else head.ljust(width)
            for head, (_, kind), width in zip(heads, columns, widths, strict=True)
        ]
        text = "".join(f"\n{row[0]}" for row in self.ask(f"SELECT {line(columns, widths)} FROM cells", {})[1])
        return rows, "  ".join(first).rstrip() + text

    def _named(self, name: str, values: Mapping[str, str | int]) -> tuple[str, dict[str, str | int]]:
        """SQL of a named question, and the values that it uses."""
        question = QUESTIONS[name]
        sql = question.sql.strip()
        if question.reads and set(question.reads) <= set(self._tables):
            rest = f", {sql.removeprefix('WITH ')}" if sql.startswith("WITH ") else f" {sql}"
            sql = f"WITH {within(question.reads, self._tables)}{rest}"
        left = list(_FIRST)
        while left:
            query = left.pop(0)
            if query in sql:
                value = self._value(query, values)
                sql = sql.replace(query, value)
                left = [later.replace(query, value) for later in left]
        used = {key: value for key, value in values.items() if f"${key}" in sql}
        return sql, used

    def _value(self, query: str, values: Mapping[str, str | int]) -> str:
        """The one value of a query, as SQL; without the table of orders that of one without rows."""
        found = None
        if "orders" in self._tables:
            _, rows = self.ask(f"SELECT {query}", {key: value for key, value in values.items() if f"${key}" in query})
            found = next(rows)[0]
        return _literal(found)

    def _rows(self, cursor: Any) -> Iterator[tuple[Any, ...]]:
        try:
            while rows := cursor.fetchmany(10_000):
                yield from rows
        except self._library.Error as error:
            raise ExportError(f"DuckDB cannot answer: {' '.join(str(error).split())}") from error

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
