"""Exports as Parquet, a folder a day, and as files of Arrow, by the package pyarrow: its only importer."""

import ctypes
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from exports.days import FILE_ROWS_MAX, by_day, day_text, number_of
from exports.errors import ExportError
from exports.tables import Columns, Table
from exports.words import CodeWords, Text, Vocabulary, id_keys_of, id_text

#: Options of glibc's ``mallopt``: free memory at the end that it keeps, and size of what is mapped by itself.
_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
#: Rows of a group at least, but for the last of a file. A question reads the groups whose bounds may have the answer.
GROUP_ROWS: Final = 131_072


def _library() -> Any:
    try:
        import pyarrow
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError as error:
        raise ExportError(
            "Parquet and Arrow need the package pyarrow, which is not installed: pip install 'lockstep[parquet]'"
        ) from error
    return pyarrow


@cache
def _keep_freed_memory(library: Any) -> None:
    """Have what is freed be used again, for groups that are read one after the other.

    Pages that are new for each cost a fifth of the proof. Writing gains little, and its peak of memory would be higher.

    A C library without ``mallopt`` stays as it is.
    """
    library.set_memory_pool(library.system_memory_pool())
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    for option, size_bytes in ((_TRIM_THRESHOLD, 256 << 20), (_MMAP_THRESHOLD, 32 << 20)):
        if set_option is not None:
            set_option(option, size_bytes)


#: Codings of numbers: of those that rise by their steps, of others by their bytes; those that repeat have a dictionary.
_STEPS: Final = frozenset({"seq", "time_ns", "entry_seq", "entry_time_ns"})
_BYTES: Final = frozenset(
    {"order_number", "buy_order_number", "sell_order_number", "end_seq", "number", "trade_number", "entered_ago"}
)
_PLAIN: Final = frozenset({"notional_e4"})
#: Ids that nearly no row has: a dictionary says so in less time than empty words.
_RARE_IDS: Final = frozenset({"previous_client_order_id", "contra_client_order_id"})
#: Tables in order of these numbers, whose column so rises.
_RISING: Final = frozenset({("orders", "order_number"), ("trades", "trade_number"), ("reports", "trade_number")})


class _Rows:
    """Rows of a table that wait until they are a group."""

    def __init__(self, library: Any, table: Table, *, coded: bool) -> None:
        """``coded``: words that come often are a dictionary and their places."""
        self._library, self._table, self._coded = library, table, coded
        text, number = library.string(), library.int64()
        few = library.dictionary(library.int32(), text) if coded else text
        types = {name: few if vocabulary.few else text for name, vocabulary in table.text.items()}
        # A column that has a value in each row needs no levels, which cost as much as its values.
        self.schema = library.schema(
            [library.field(name, types.get(name, number), nullable=name in table.partial) for name in table.columns]
        )
        self._held: list[Columns] = []
        self.rows = 0

    def add(self, columns: Columns) -> None:
        """Add rows."""
        self._held.append(columns)
        self.rows += len(columns[self._table.columns[0]])

    def take(self) -> Any:
        """All rows, as one table; none is left."""
        if not self._held:
            return self.schema.empty_table()
        found = [self._array(name, [each[name] for each in self._held]) for name in self._table.columns]
        self._held, self.rows = [], 0
        return self._library.Table.from_arrays(found, schema=self.schema)

    def _array(self, name: str, parts: list[Any]) -> Any:
        missing = None
        if name in self._table.partial:
            missing = _joined([np.ma.getmaskarray(part) for part in parts])
            if len(missing) and missing.all():
                return self._library.nulls(len(missing), self.schema.field(name).type)
            missing = missing if missing.any() else None
        values = np.ascontiguousarray(_joined([np.ma.getdata(part) for part in parts]), np.int64)
        vocabulary = self._table.text.get(name)
        if vocabulary is None:
            return self._library.array(values, mask=missing)
        if not vocabulary.few:
            return _texts(self._library, id_text(values), missing)
        keys, places = self._keys_and_places(values, vocabulary, missing)
        text = self._library.array(vocabulary.words(keys), self._library.string())
        found = self._library.DictionaryArray.from_arrays(places, text)
        return found if self._coded else found.dictionary_decode()

    def _keys_and_places(self, values: Any, vocabulary: Vocabulary, missing: Any) -> tuple[Any, Any]:
        """The numbers that a column has, each once, and the place of each value among them."""
        if not isinstance(vocabulary, CodeWords):
            coded = self._library.array(values, mask=missing).dictionary_encode()
            return coded.dictionary.to_numpy(zero_copy_only=False), coded.indices
        least, codes = vocabulary.least, values - vocabulary.least  # few and small: they need no hash
        keys = np.flatnonzero(np.bincount(codes, minlength=1))
        places = np.zeros(len(keys) and keys[-1] + 1, np.int32)
        places[keys] = np.arange(len(keys))
        return keys + least, self._library.array(places[codes], mask=missing)


def _joined(parts: list[Any]) -> Any:
    return np.concatenate(parts) if len(parts) > 1 else parts[0]


def _texts(library: Any, text: Text, missing: Any = None) -> Any:
    """Words as an array of texts; those that are missing are empty."""
    ends = np.zeros(len(text.lengths) + 1, np.int32)
    np.cumsum(text.lengths, out=ends[1:])
    there = None if missing is None else library.py_buffer(np.packbits(~missing, bitorder="little"))
    octets = library.py_buffer(np.ascontiguousarray(text.octets))
    return library.StringArray.from_buffers(len(text.lengths), library.py_buffer(ends), octets, there)


def _parquet_writer(library: Any, path: Path, table: Table, schema: Any) -> Any:
    codings = _codings(table)
    return library.parquet.ParquetWriter(
        path,
        schema,
        compression="zstd",
        compression_level=1,
        # Levels of pages of this form are not compressed, and are read in two thirds of the time.
        data_page_version="2.0",
        use_dictionary=[name for name in table.columns if name not in codings],
        column_encoding=codings,
        store_schema=False,
        # Bounds of words are those of all names in nearly every group, and would take a quarter of the writing.
        write_statistics=[name for name in table.columns if name not in table.text],
    )


class ParquetFile:
    """One file of Parquet with the rows of one table. Raises OSError, and ExportError without pyarrow."""

    def __init__(self, path: Path, table: Table) -> None:
        library = _library()
        self._rows = _Rows(library, table, coded=True)
        self._writer = _parquet_writer(library, path, table, self._rows.schema)

    def write(self, columns: Columns) -> None:
        """Add rows."""
        self._rows.add(columns)
        if self._rows.rows >= GROUP_ROWS:
            self._writer.write_table(self._rows.take())

    def close(self) -> None:
        """Write the rest."""
        if self._rows.rows:
            self._writer.write_table(self._rows.take())
        self._writer.close()


class ParquetForm:
    """A folder a table, in it a folder a day (``day=2024-01-15``), in it files in the order of their numbers.

    Each column is coded by what it has: half a byte a row less than one way for all.
    """

    def __init__(self, folder: Path, tables: Sequence[Table]) -> None:
        self._library = _library()
        self._folder, self._tables = folder, tables
        self._rows: dict[str, _Rows] = {}
        self._writers: dict[str, Any] = {}
        self._places: dict[str, tuple[int | None, int, int]] = {}  # day, rows in the file, its number

    def write(self, table: Table, columns: Columns) -> None:
        """Add rows to a table. Raises OSError."""
        for day, rows in by_day(table, columns):
            held = self._rows.setdefault(table.name, _Rows(self._library, table, coded=True))
            at, written, number = self._places.get(table.name, (None, 0, 0))
            if number and (at != day or written + held.rows >= FILE_ROWS_MAX):
                self._close(table)
                written = 0
            if table.name not in self._writers:
                number += 1
                self._writers[table.name] = self._open(table, day, number)
            held.add(rows)
            if held.rows >= GROUP_ROWS:
                written += held.rows
                self._writers[table.name].write_table(held.take())
            self._places[table.name] = (day, written, number)

    def _open(self, table: Table, day: int | None, number: int) -> Any:
        folder = self._folder / table.name
        if day is not None:
            folder /= f"day={day_text(day)}"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"part-{number:06d}.parquet"
        return _parquet_writer(self._library, path, table, self._rows[table.name].schema)

    def _close(self, table: Table) -> None:
        held = self._rows[table.name]
        writer = self._writers.pop(table.name)
        if held.rows:
            writer.write_table(held.take())
        writer.close()

    def finish(self) -> None:
        """Write the rest; a table without rows gets an empty file. Raises OSError."""
        for table in self._tables:
            if table.name not in self._writers and table.name not in self._places:
                self._rows.setdefault(table.name, _Rows(self._library, table, coded=True))
                self._writers[table.name] = self._open(table, None, 0)
            if table.name in self._writers:
                self._close(table)

    def read(self, table: Table) -> Iterator[Columns]:
        """Rows of a table. Raises OSError, ValueError for files that are not as they were written."""
        _keep_freed_memory(self._library)
        files = sorted((self._folder / table.name).rglob("*.parquet"), key=number_of)
        if not files:
            raise ValueError(f"{self._folder} has no file of the table {table.name}")
        try:
            for path in files:
                few = [name for name, words in table.text.items() if words.few or name in _RARE_IDS]
                with self._library.parquet.ParquetFile(path, read_dictionary=few) as file:
                    _check_columns(table, file.schema_arrow.names, path)
                    for group in range(file.metadata.num_row_groups):
                        # Threads take a third more of processor time here than they save.
                        for batch in file.read_row_group(group, use_threads=False).to_batches():
                            yield _columns(table, batch)
        except self._library.ArrowException as error:
            raise ValueError(f"a file of the table {table.name} cannot be read: {error}") from error


class ArrowForm:
    """A file of Arrow a table (IPC, also called Feather), with the columns as they are in memory."""

    def __init__(self, folder: Path, _tables: Sequence[Table]) -> None:
        self._library = _library()
        self._folder = folder
        self._rows: dict[str, _Rows] = {}
        self._writers: dict[str, Any] = {}

    def write(self, table: Table, columns: Columns) -> None:
        """Add rows to a table. Raises OSError."""
        if table.name not in self._writers:
            self._rows[table.name] = _Rows(self._library, table, coded=False)
            path, schema = self._folder / f"{table.name}.arrow", self._rows[table.name].schema
            self._writers[table.name] = self._library.ipc.new_file(str(path), schema)
        held = self._rows[table.name]
        held.add(columns)
        if held.rows >= GROUP_ROWS:
            self._write(table.name)

    def _write(self, name: str) -> None:
        self._writers[name].write_table(self._rows[name].take())

    def finish(self) -> None:
        """Write the rest, and close the files. Raises OSError."""
        for name, writer in self._writers.items():
            self._write(name)
            writer.close()

    def read(self, table: Table) -> Iterator[Columns]:
        """Rows of a table. Raises OSError, ValueError for a file that is not as it was written."""
        path = self._folder / f"{table.name}.arrow"
        try:
            with self._library.memory_map(str(path)) as source:
                file = self._library.ipc.open_file(source)
                _check_columns(table, file.schema.names, path)
                for number in range(file.num_record_batches):
                    yield _columns(table, file.get_batch(number))
        except self._library.ArrowException as error:
            raise ValueError(f"{path} cannot be read: {error}") from error


def _check_columns(table: Table, names: list[str], path: Path) -> None:
    if tuple(names) != table.columns:
        raise ValueError(f"{path} has other columns than an export has")


def _codings(table: Table) -> dict[str, str]:
    """Coding of each column of Parquet that has no dictionary."""
    found = {}
    for name in table.columns:
        if name in table.text:
            if not table.text[name].few and name not in _RARE_IDS:
                found[name] = "PLAIN"
        elif name in _STEPS or (table.name, name) in _RISING:
            found[name] = "DELTA_BINARY_PACKED"
        elif name in _BYTES:
            found[name] = "BYTE_STREAM_SPLIT"
        elif name in _PLAIN:
            found[name] = "PLAIN"
    return found


def _columns(table: Table, batch: Any) -> Columns:
    batch.validate(full=True)  # a spoilt file may have codes of no word, and texts that end before they begin
    found: Columns = {}
    for name in table.columns:
        column = batch.column(name)
        if name not in table.partial:
            if column.null_count:
                raise ValueError(f"column {name} of the table {table.name} has a place without a value")
            found[name] = _values(column, table.text.get(name))
            continue
        values, missing = _partial(column, table.text.get(name))
        found[name] = np.ma.array(values, mask=missing)
    return found


def _partial(column: Any, vocabulary: Vocabulary | None) -> tuple[Any, Any]:
    """Numbers of a column, 0 where it has no value, and True for those places."""
    n, none = len(column), column.null_count
    if none == n:
        return _same(n, missing=True)
    if not none:
        return _values(column, vocabulary), _same(n, missing=False)[1]
    bits = np.frombuffer(column.buffers()[0], np.uint8)
    there = np.unpackbits(bits, count=column.offset + n, bitorder="little")[column.offset :].view(np.bool_)
    if 2 * none < n:
        return _values(column, vocabulary), ~there
    # Most have none: only the others are made numbers.
    values = np.zeros(n, np.int64)
    values[there] = _values(column.drop_null(), vocabulary)
    return values, ~there


@lru_cache(maxsize=8)
def _same(n: int, *, missing: bool) -> tuple[Any, Any]:
    """Numbers 0, and whether they are missing, for all of ``n`` places; nobody writes to them."""
    zeros, marks = np.zeros(n, np.int64), np.full(n, missing)
    zeros.flags.writeable = marks.flags.writeable = False
    return zeros, marks


def _values(column: Any, vocabulary: Vocabulary | None) -> Any:
    """Numbers of a column, 0 where it has no value."""
    none = column.null_count
    if vocabulary is None:
        return np.asarray((column.fill_null(0) if none else column).to_numpy(zero_copy_only=False), np.int64)
    if not vocabulary.few and not hasattr(column, "dictionary"):
        return id_keys_of(_text(column.fill_null("") if none else column))
    # Each word is looked up once.
    coded = column if hasattr(column, "dictionary") else column.dictionary_encode()
    words = coded.dictionary
    known = vocabulary.keys(words.to_numpy(zero_copy_only=False)) if vocabulary.few else id_keys_of(_text(words))
    keys = np.append(known, 0)
    places = coded.indices
    return keys[(places.fill_null(len(keys) - 1) if none else places).to_numpy(zero_copy_only=False)]


def _text(column: Any) -> Text:
    """The words of an array of texts."""
    _, ends, octets = column.buffers()
    if not len(column):
        return Text(np.zeros(0, np.int64), np.zeros(0, np.uint8))
    each = np.frombuffer(ends, np.int32, len(column) + 1, 4 * column.offset).astype(np.int64)
    whole = np.zeros(0, np.uint8) if octets is None else np.frombuffer(octets, np.uint8)
    return Text(np.diff(each), whole[each[0] : each[-1]])
