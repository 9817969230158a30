"""An export for PostgreSQL: tables with a partition a day, their rows as files of binary COPY, and one script that
loads all.

`psql -f load.sql` in the folder makes the schema, loads the rows and adds the indexes. No row is touched in Python: the
kernels of ``exports.copy_fields`` write and read them, a piece of a file at a time.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from exports.copy_fields import (
    END,
    MORE,
    OTHER_FIELDS,
    OTHER_LENGTH,
    cut_fields,
    put_big,
    put_texts,
    take_numbers,
    take_texts,
)
from exports.days import DAY_NS, TIMES, by_day, day_text, number_of
from exports.tables import TRADES, Columns, Table, near_slices
from exports.words import Text
from reports.projection import read_only

_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER: Final = b"\xff\xff"
_ROWS_AT_ONCE: Final = 1 << 14
#: Bytes of a file that are read at once.
_PIECE_BYTES: Final = 1 << 22
#: Columns of the indexes of a table, made once the rows are in.
_INDEXES: Final = {
    "events": ("seq", "participant, time_ns", "symbol, time_ns"),
    "reports": ("order_number", "participant, time_ns", "symbol, time_ns"),
    "trades": ("trade_number", "symbol, time_ns"),
    "orders": ("order_number", "participant, entry_time_ns"),
    "snapshots": ("symbol, time_ns",),
    "audit": (),
}
_KEYS: Final = {
    "events": "time_ns, seq, event_number",
    "reports": "time_ns, seq, number",
    "trades": "time_ns, trade_number",
    "orders": "entry_time_ns, order_number",
    "snapshots": "time_ns, seq, symbol, side, level",
    "audit": "time_ns, seq, number",
}

_REFUSE: Final = """\
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the audit trail is not changed: % of % is refused', TG_OP, TG_TABLE_NAME; END $$;
"""
_AUDIT: Final = """\
CREATE VIEW order_audit AS
SELECT to_timestamp(time_ns / 1000000000) + (time_ns % 1000000000 / 1000) * interval '1 microsecond' AS time,
       time_ns, seq AS sequence_number, number AS event_index, order_number,
       nullif(client_order_id, '') AS client_order_id, participant,
       nullif(contra_participant, '') AS contra, symbol AS instrument, kind AS action,
       nullif(reason, '') AS reason, nullif(side, '') AS side, command,
       CASE WHEN side = '' THEN NULL WHEN peg <> '' THEN 'pegged'
            WHEN stop_price_e4 <> 0 THEN CASE WHEN price_e4 = 0 THEN 'stop' ELSE 'stop_limit' END
            WHEN price_e4 = 0 THEN 'market' ELSE 'limit' END AS order_type,
       nullif(time_in_force, '') AS time_in_force, nullif(book, '') AS book, round(price_e4 / 10000.0, 4) AS price,
       qty AS quantity, leaves_qty AS leaves, cum_qty AS executed, nullif(trade_number, 0) AS trade_number,
       nullif(last_qty, 0) AS last_quantity, round(nullif(last_price_e4, 0) / 10000.0, 4) AS last_price,
       nullif(liquidity, '') AS liquidity, nullif("user", '') AS user_name,
       nullif(phase, '') AS phase, nullif(came_by, '') AS came_by, nullif(login_time_ns, 0) AS session_login_time_ns,
       nullif(capacity, '') AS capacity, NULL::bigint AS algo, nullif(latency_ns, 0) AS latency_ns
FROM reports JOIN audit USING (time_ns, seq, number)
-- Messages of FIX sessions are cancels of no order in a journal, by a user of orders or of drop copies.
WHERE NOT (kind = 'cancel_rejected' AND command = 'cancel' AND client_order_id = '' AND came_by IN ('fix', ''));
COMMENT ON VIEW order_audit IS
    'one row an event of an order, and one a refused command; messages of FIX sessions are in reports alone';
COMMENT ON COLUMN order_audit.order_number IS
    '0: of no order. It has an index, as participant and instrument (empty: of none) with time_ns';
COMMENT ON COLUMN order_audit.order_type IS 'after this event: a stop that was triggered is limit or market';
COMMENT ON COLUMN order_audit.phase IS 'of the instrument, after this event';
COMMENT ON COLUMN order_audit.came_by IS 'protocol by which a user sent the command; null: no user did';
COMMENT ON COLUMN order_audit.session_login_time_ns IS
    'login of the user who sent the command, from DIR/logins; `lockstep sessions --at` names gateway and address';
COMMENT ON COLUMN order_audit.capacity IS 'of the order as its message of OUCH said it; no other protocol keeps it';
COMMENT ON COLUMN order_audit.algo IS 'always null: no protocol of the exchange carries it';
COMMENT ON COLUMN order_audit.latency_ns IS
    'of the command, from its bytes received to its answer, from DIR/latencies; null: not recorded';

"""


class SqlForm:
    """Files ``TABLE-NUMBER-DAY.copy`` of binary COPY, ``schema.sql`` and ``load.sql``."""

    def __init__(self, folder: Path, tables: Sequence[Table]) -> None:
        self._folder = folder
        self._tables = tables
        self._stack = ExitStack()
        self._files: dict[str, BinaryIO] = {}
        self._parts: dict[str, list[int | None]] = {table.name: [] for table in tables}

    def write(self, table: Table, columns: Columns) -> None:
        """Add rows to a table. Raises OSError."""
        parts = self._parts[table.name]
        for day, rows in by_day(table, columns):
            if not parts or parts[-1] != day:
                self._end(table.name)
                parts.append(day)
                path = self._folder / _file_name(table.name, len(parts), day)
                self._files[table.name] = self._stack.enter_context(path.open("wb"))
                self._files[table.name].write(_HEADER)
            self._files[table.name].write(copy_rows(table, rows))

    def _end(self, name: str) -> None:
        file = self._files.pop(name, None)
        if file is not None:
            file.write(_TRAILER)
            file.close()

    def finish(self) -> None:
        """Close the files, and write the scripts. Raises OSError."""
        for name in list(self._files):
            self._end(name)
        self._stack.close()
        (self._folder / "schema.sql").write_text("".join(self._schema()))
        (self._folder / "load.sql").write_text("".join(self._load()))

    def _schema(self) -> Iterator[str]:
        yield "-- Tables of a lockstep export: times in ns since 1970, prices and money in 1/10000.\n"
        for table in self._tables:
            fields = ", ".join(
                f'"{each}" {"text" if each in table.text else "bigint"} NOT NULL' for each in table.columns
            )
            days = sorted({day for day in self._parts[table.name] if day is not None})
            time = TIMES.get(table.name)
            yield f"CREATE TABLE {table.name} ({fields})"
            yield f" PARTITION BY RANGE ({time});\n" if time else ";\n"
            for day in days:
                yield (
                    f"CREATE TABLE {_partition(table.name, day)} PARTITION OF {table.name} "
                    f"FOR VALUES FROM ({day * DAY_NS}) TO ({(day + 1) * DAY_NS});\n"
                )
        if "reports" in self._parts:
            yield _AUDIT
        yield _REFUSE

    def _load(self) -> Iterator[str]:
        yield "\\set ON_ERROR_STOP on\nBEGIN;\n\\i schema.sql\n"
        for table in self._tables:
            for number, day in enumerate(self._parts[table.name], 1):
                target = table.name if day is None else _partition(table.name, day)
                yield f"\\copy {target} FROM '{_file_name(table.name, number, day)}' WITH (FORMAT binary)\n"
        for name, indexes in _INDEXES.items():
            if name not in self._parts:
                continue
            if name in _KEYS:
                yield f"ALTER TABLE {name} ADD PRIMARY KEY ({_KEYS[name]});\n"
            for columns in indexes:
                yield f"CREATE INDEX ON {name} ({columns});\n"
        for table in self._tables:
            yield (
                f"CREATE TRIGGER unchanged BEFORE UPDATE OR DELETE OR TRUNCATE ON {table.name} "
                "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();\n"
                f"REVOKE ALL ON {table.name} FROM PUBLIC;\n"
            )
        yield "COMMIT;\nANALYZE;\n"

    def read(self, table: Table) -> Iterator[Columns]:
        """Rows of a table. Raises OSError, ValueError for files that are not as they were written."""
        for path in sorted(self._folder.glob(f"{table.name}-*.copy"), key=number_of):
            yield from _read(table, path)


def _partition(name: str, day: int) -> str:
    return f"{name}_{day_text(day).replace('-', '_')}"


def _file_name(name: str, number: int, day: int | None) -> str:
    return f"{name}-{number:06d}-{'all' if day is None else day_text(day)}.copy"


def copy_rows(table: Table, columns: Columns) -> bytes:
    """Rows in the format of COPY: the number of fields (2 bytes), then each with its length (4 bytes), big-endian."""
    return b"".join(_near_rows(table, columns, near) for near in near_slices(len(columns[table.columns[0]])))


def _near_rows(table: Table, columns: Columns, near: slice) -> bytes:
    """The same of a few rows: as many as stay in a near cache, since a column after another is written into them."""
    values = {name: read_only(np.ascontiguousarray(columns[name][near], np.int64)) for name in table.columns}
    texts = {name: vocabulary.text(values[name]) for name, vocabulary in table.text.items()}
    numbers = len(table.columns) - len(texts)
    sizes = np.full(len(values[table.columns[0]]), 2 + 4 * len(table.columns) + 8 * numbers, np.int64)
    for text in texts.values():
        sizes += text.lengths
    ends = np.cumsum(sizes)
    raw, at = np.empty(int(ends[-1]), np.uint8), ends - sizes
    fields, eight = (read_only(np.full(len(at), number, np.int64)) for number in (len(table.columns), 8))
    put_big(raw, at, fields, 2)
    for name in table.columns:
        if name in texts:
            put_texts(raw, at, read_only(texts[name].lengths), read_only(texts[name].octets))
        else:
            put_big(raw, at, eight, 4)
            put_big(raw, at, values[name], 8)
    return raw.tobytes()


class _Cut:
    """Rows of a table, cut out of pieces of a file. ``at``, ``why``: where and why the last piece had no more."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._is_text = read_only(np.array([name in table.text for name in table.columns]))
        self._starts, self._lengths = (np.empty((len(self._is_text), _ROWS_AT_ONCE), np.int64) for _ in range(2))
        self.at, self.why = 0, MORE

    def rows(self, raw: NDArray[np.uint8]) -> Iterator[Columns]:
        """Whole rows from the beginning of a piece on. Raises ValueError for words that are none."""
        found, rows, self.at = np.zeros(3, np.int64), _ROWS_AT_ONCE, 0
        while rows == _ROWS_AT_ONCE:
            cut_fields(raw, self.at, self._is_text, self._starts, self._lengths, found)
            rows, self.at, self.why = found.tolist()
            if rows:
                yield _columns(self._table, raw, self._starts[:, :rows], self._lengths[:, :rows])


def _read(table: Table, path: Path) -> Iterator[Columns]:
    """Rows of a file, a piece of it at a time. Raises OSError, ValueError for a file that is not as it was written."""
    cut, left = _Cut(table), b""
    with path.open("rb") as file:
        if file.read(len(_HEADER)) != _HEADER:
            raise ValueError(f"{path} does not begin as a file of binary COPY")
        while cut.why != END:
            piece = file.read(_PIECE_BYTES)
            raw = np.frombuffer(left + piece, np.uint8)
            yield from cut.rows(raw)
            left = raw[cut.at :].tobytes()
            if cut.why == OTHER_FIELDS:
                raise ValueError(f"{path} has a row of another number of fields")
            if cut.why == OTHER_LENGTH:
                raise ValueError(f"{path} has a field of another length")
            if cut.why == MORE and not piece:
                raise ValueError(f"{path} is cut short")
        if left != _TRAILER or file.read(1):
            raise ValueError(f"{path} goes on after its end")


def compile_copy() -> None:
    """Compile or load the kernels of rows of COPY."""
    raw = copy_rows(TRADES, dict.fromkeys(TRADES.columns, np.zeros(1, np.int64)))
    list(_Cut(TRADES).rows(np.frombuffer(raw, np.uint8)))


def _columns(table: Table, raw: NDArray[np.uint8], starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> Columns:
    """Columns of rows. starts, lengths: of their fields in ``raw``, as ``cut_fields`` finds them."""
    found = {}
    for field, name in enumerate(table.columns):
        at, each = read_only(starts[field]), read_only(lengths[field])
        if name in table.text:
            octets = np.empty(int(each.sum()), np.uint8)
            take_texts(raw, at, each, octets)
            found[name] = table.text[name].text_keys(Text(each, octets))
        else:
            found[name] = np.empty(len(at), np.int64)
            take_numbers(raw, at, found[name])
    return found
