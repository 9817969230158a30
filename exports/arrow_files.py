"""Exports as Parquet, a folder a day, and as files of Arrow, by the package pyarrow: its only importer."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from exports.days import FILE_ROWS_MAX, by_day, day_text, number_of
from exports.errors import ExportError
from exports.tables import TABLES, Columns, Table

#: Rows of a group at least, but for the last of a file. A question reads the groups whose bounds may have the answer.
GROUP_ROWS: Final = 131_072
_ROWS_AT_ONCE: Final = 1 << 16


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


class _Rows:
    """Rows of a table that wait until they are a group."""

    def __init__(self, library: Any, table: Table) -> None:
        self._library, self._text = library, table.text
        text, number = library.string(), library.int64()
        self.schema = library.schema([(name, text if name in table.text else number) for name in table.columns])
        self.held: list[Any] = []
        self.rows = 0

    def add(self, columns: Columns) -> None:
        """Add rows."""
        arrays = [
            self._library.array(_plain(columns[field.name], field.name in self._text), field.type)
            for field in self.schema
        ]
        batch = self._library.Table.from_arrays(arrays, schema=self.schema)
        self.held.append(batch)
        self.rows += batch.num_rows

    def take(self) -> Any:
        """All rows, as one table; none is left."""
        found = self._library.concat_tables(self.held) if self.held else self.schema.empty_table()
        self.held, self.rows = [], 0
        return found


def _plain(values: Any, is_text: bool) -> Any:
    return values.astype(object, copy=False) if is_text else np.ascontiguousarray(values, np.int64)


class ParquetForm:
    """A folder a table, in it a folder a day (``day=2024-01-15``), in it files in the order of their numbers.

    Numbers are delta-coded, only words have dictionaries: both are small so, and quick.
    """

    def __init__(self, folder: Path) -> None:
        self._library = _library()
        self._folder = folder
        self._rows: dict[str, _Rows] = {}
        self._writers: dict[str, Any] = {}
        self._places: dict[str, tuple[int | None, int, int]] = {}  # day, rows in the file, its number

    def write(self, table: Table, columns: Columns) -> None:
        """Add rows to a table. Raises OSError."""
        for day, rows in by_day(table, columns):
            held = self._rows.setdefault(table.name, _Rows(self._library, table))
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
        numbers = [name for name in table.columns if name not in table.text]
        return self._library.parquet.ParquetWriter(
            folder / f"part-{number:06d}.parquet",
            self._rows[table.name].schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=sorted(table.text),
            column_encoding=dict.fromkeys(numbers, "DELTA_BINARY_PACKED"),
        )

    def _close(self, table: Table) -> None:
        held = self._rows[table.name]
        writer = self._writers.pop(table.name)
        if held.rows:
            writer.write_table(held.take())
        writer.close()

    def finish(self) -> None:
        """Write the rest; a table without rows gets an empty file. Raises OSError."""
        for table in TABLES:
            if table.name not in self._writers and table.name not in self._places:
                self._rows.setdefault(table.name, _Rows(self._library, table))
                self._writers[table.name] = self._open(table, None, 0)
            if table.name in self._writers:
                self._close(table)

    def read(self, table: Table) -> Iterator[Columns]:
        """Rows of a table. Raises OSError, ValueError for files that are not as they were written."""
        files = sorted((self._folder / table.name).rglob("*.parquet"), key=number_of)
        if not files:
            raise ValueError(f"{self._folder} has no file of the table {table.name}")
        try:
            for path in files:
                few = sorted(name for name in table.text if "client_order_id" not in name)
                with self._library.parquet.ParquetFile(path, read_dictionary=few) as file:
                    _check_columns(table, file.schema_arrow.names, path)
                    for batch in file.iter_batches(_ROWS_AT_ONCE):
                        yield _columns(table, batch)
        except self._library.ArrowException as error:
            raise ValueError(f"a file of the table {table.name} cannot be read: {error}") from error


class ArrowForm:
    """A file of Arrow a table (IPC, also called Feather), with the columns as they are in memory."""

    def __init__(self, folder: Path) -> None:
        self._library = _library()
        self._folder = folder
        self._rows: dict[str, _Rows] = {}
        self._writers: dict[str, Any] = {}

    def write(self, table: Table, columns: Columns) -> None:
        """Add rows to a table. Raises OSError."""
        if table.name not in self._writers:
            self._rows[table.name] = _Rows(self._library, table)
            path, schema = self._folder / f"{table.name}.arrow", self._rows[table.name].schema
            self._writers[table.name] = self._library.ipc.new_file(str(path), schema)
        held = self._rows[table.name]
        held.add(columns)
        if held.rows >= GROUP_ROWS:
            self._write(table.name)

    def _write(self, name: str) -> None:
        self._writers[name].write_table(self._rows[name].take().combine_chunks())

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


def _columns(table: Table, batch: Any) -> Columns:
    found: Columns = {}
    for name in table.columns:
        column = batch.column(name)
        if column.null_count:
            raise ValueError(f"column {name} of the table {table.name} has a place without a value")
        if hasattr(column, "dictionary"):  # words that come often, each made once
            words = column.dictionary.to_numpy(zero_copy_only=False)
            found[name] = words[column.indices.to_numpy(zero_copy_only=False)]
            continue
        values = column.to_numpy(zero_copy_only=False)
        found[name] = values if name in table.text else np.asarray(values, np.int64)
    return found
