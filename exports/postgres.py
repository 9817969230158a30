"""An export for PostgreSQL: tables with a partition a day, their rows as files of binary COPY, and one script that
loads all.

`psql -f load.sql` in the folder makes the schema, loads the rows and adds the indexes. Rows are laid out by NumPy, so
that no row is touched in Python; only reading them back does.
"""

import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from exports.days import DAY_NS, TIMES, by_day, day_text, number_of
from exports.tables import Columns, Table

_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER: Final = b"\xff\xff"
_ROWS_AT_ONCE: Final = 1 << 14
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
       time_ns, seq AS sequence_number, number AS event_index, nullif(order_number, 0) AS order_number,
       nullif(client_order_id, '') AS client_order_id, nullif(participant, '') AS participant,
       nullif(contra_participant, '') AS contra, nullif(symbol, '') AS instrument, kind AS action,
       nullif(reason, '') AS reason, nullif(side, '') AS side, command,
       CASE WHEN side = '' THEN NULL WHEN peg <> '' THEN 'pegged'
            WHEN stop_price_e4 <> 0 THEN CASE WHEN price_e4 = 0 THEN 'stop' ELSE 'stop_limit' END
            WHEN price_e4 = 0 THEN 'market' ELSE 'limit' END AS order_type,
       nullif(time_in_force, '') AS time_in_force, nullif(book, '') AS book, price_e4::numeric(23, 4) / 10000 AS price,
       qty AS quantity, leaves_qty AS leaves, cum_qty AS executed, nullif(trade_number, 0) AS trade_number,
       nullif(last_qty, 0) AS last_quantity, last_price_e4::numeric(23, 4) / 10000 AS last_price,
       nullif(liquidity, '') AS liquidity, nullif("user", '') AS user_name,
       nullif(phase, '') AS phase, nullif(came_by, '') AS came_by, nullif(login_time_ns, 0) AS session_login_time_ns,
       nullif(capacity, '') AS capacity, NULL::bigint AS algo, nullif(latency_ns, 0) AS latency_ns
FROM reports JOIN audit USING (time_ns, seq, number)
-- Messages of FIX sessions are cancels of no order in a journal, by a user of orders or of drop copies.
WHERE NOT (kind = 'cancel_rejected' AND command = 'cancel' AND client_order_id = '' AND came_by IN ('fix', ''));
COMMENT ON VIEW order_audit IS
    'one row an event of an order, and one a refused command; messages of FIX sessions are in reports alone';
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
            held: list[tuple[Any, ...]] = []
            for row in _rows(table, path):
                held.append(row)
                if len(held) == _ROWS_AT_ONCE:
                    yield _columns(table, held)
                    held = []
            if held:
                yield _columns(table, held)


def _partition(name: str, day: int) -> str:
    return f"{name}_{day_text(day).replace('-', '_')}"


def _file_name(name: str, number: int, day: int | None) -> str:
    return f"{name}-{number:06d}-{'all' if day is None else day_text(day)}.copy"


def copy_rows(table: Table, columns: Columns) -> bytes:
    """Rows in the format of COPY: the number of fields (2 bytes), then each with its length (4 bytes), big-endian."""
    count = len(columns[table.columns[0]])
    if not count:
        return b""
    texts = {name: np.asarray(vocabulary.words(columns[name]), "S") for name, vocabulary in table.text.items()}
    lengths = {
        name: np.char.str_len(texts[name]) if name in texts else np.full(count, 8, np.int64) for name in table.columns
    }
    sizes = 2 + sum((4 + lengths[name] for name in table.columns), np.zeros(count, np.int64))
    ends = np.cumsum(sizes)
    raw = np.zeros(int(ends[-1]), np.uint8)
    at = ends - sizes
    _put(raw, at, np.full(count, len(table.columns)), ">u2")
    at = at + 2
    for name in table.columns:
        _put(raw, at, lengths[name], ">u4")
        if name in texts:
            octets = texts[name].view(np.uint8).reshape(count, -1)
            used = np.arange(octets.shape[1]) < lengths[name][:, None]
            raw[(at[:, None] + 4 + np.arange(octets.shape[1]))[used]] = octets[used]
        else:
            _put(raw, at + 4, columns[name], ">i8")
        at = at + 4 + lengths[name]
    return raw.tobytes()


def _put(raw: NDArray[np.uint8], at: NDArray[np.int64], values: NDArray[Any], form: str) -> None:
    octets = np.asarray(values).astype(form).view(np.uint8).reshape(len(at), -1)
    for place in range(octets.shape[1]):
        raw[at + place] = octets[:, place]


def _rows(table: Table, path: Path) -> Iterator[tuple[Any, ...]]:
    raw = path.read_bytes()
    if raw[: len(_HEADER)] != _HEADER:
        raise ValueError(f"{path} does not begin as a file of binary COPY")
    at, fields = len(_HEADER), len(table.columns)
    texts = [name in table.text for name in table.columns]
    short, number, whole = struct.Struct(">h"), struct.Struct(">i"), struct.Struct(">q")
    try:
        while (found := short.unpack_from(raw, at)[0]) != -1:
            if found != fields:
                raise ValueError(f"{path} has a row of {found} fields")
            at += 2
            row = []
            for is_text in texts:
                size = number.unpack_from(raw, at)[0]
                at += 4
                if size < 0 or at + size > len(raw) or (not is_text and size != 8):
                    raise ValueError(f"{path} has a field of {size} bytes")
                row.append(raw[at : at + size].decode("ascii") if is_text else whole.unpack_from(raw, at)[0])
                at += size
            yield tuple(row)
    except (struct.error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is cut short or is no file of binary COPY: {error}") from error
    if at + 2 != len(raw):
        raise ValueError(f"{path} goes on after its end")


def _columns(table: Table, rows: list[tuple[Any, ...]]) -> Columns:
    values = zip(*rows, strict=True)
    return {
        name: table.text[name].keys(np.array(each, object)) if name in table.text else np.array(each, np.int64)
        for name, each in zip(table.columns, values, strict=True)
    }
