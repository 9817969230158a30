"""Forms of an export: the same tables and columns in each. CSV and SQLite are here, others have a file of their own."""

import csv
import errno
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from exports.arrow_files import ArrowForm, ParquetFile, ParquetForm
from exports.postgres import SqlForm
from exports.tables import Columns, Table

#: Rows that are read back at once.
_ROWS_AT_ONCE: Final = 1 << 16


class Form(Protocol):
    """Files of an export in a folder, for writing (``write``, ``finish``) or for reading (``read``).

    Made with the folder and the tables of the export.
    """

    def write(self, table: Table, columns: Columns) -> None:
        """Add rows to a table."""
        ...

    def finish(self) -> None:
        """Write out the rest."""
        ...

    def read(self, table: Table) -> Iterator[Columns]:
        """Rows of a table in the order in which they were written."""
        ...


class CsvFile:
    """One CSV file with the rows of one table, RFC 4180, with the names of the columns in the first line."""

    def __init__(self, path: Path, table: Table) -> None:
        self._table = table
        self._file = path.open("w", newline="", encoding="ascii")
        self._writer = csv.writer(self._file)
        self._writer.writerow(table.columns)

    def write(self, columns: Columns) -> None:
        """Add rows. Raises OSError."""
        self._writer.writerows(_rows(self._table, columns))

    def close(self) -> None:
        """Close the file. Raises OSError."""
        self._file.close()


class CsvForm:
    """A CSV file a table, RFC 4180, with the names of the columns in the first line."""

    def __init__(self, folder: Path, _tables: Sequence[Table]) -> None:
        self._folder = folder
        self._files: dict[str, CsvFile] = {}

    def write(self, table: Table, columns: Columns) -> None:
        """Add rows to a table. Raises OSError."""
        if table.name not in self._files:
            self._files[table.name] = CsvFile(self._folder / f"{table.name}.csv", table)
        self._files[table.name].write(columns)

    def finish(self) -> None:
        """Close the files. Raises OSError."""
        for each in self._files.values():
            each.close()

    def read(self, table: Table) -> Iterator[Columns]:
        """Rows of a table. Raises OSError, ValueError for a file that is not as it was written."""
        with (self._folder / f"{table.name}.csv").open(newline="", encoding="ascii") as file:
            rows = csv.reader(file)
            if tuple(next(rows, ())) != table.columns:
                raise ValueError(f"{file.name} has other columns than an export has")
            while held := [row for row, _ in zip(rows, range(_ROWS_AT_ONCE), strict=False)]:
                if any(len(row) != len(table.columns) for row in held):
                    raise ValueError(f"{file.name} has a row with another number of columns")
                yield _columns(table, held)


class SqliteForm:
    """One database, ``export.sqlite``, with a table each."""

    def __init__(self, folder: Path, tables: Sequence[Table]) -> None:
        self._tables = tables
        self._path = folder / "export.sqlite"
        self._database: sqlite3.Connection | None = None

    def write(self, table: Table, columns: Columns) -> None:
        """Add rows to a table. Raises OSError."""
        try:
            self._insert(table, columns)
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def _failure(self, error: sqlite3.Error) -> OSError:
        """An error of the database as one of the machine: SQLite has numbers of its own."""
        is_full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
        return OSError(errno.ENOSPC if is_full else errno.EIO, str(error), str(self._path))

    def _insert(self, table: Table, columns: Columns) -> None:
        if self._database is None:
            self._database = sqlite3.connect(self._path)
            # A crash leaves a database without its manifest, which is no export.
            self._database.execute("PRAGMA journal_mode = OFF")
            self._database.execute("PRAGMA synchronous = OFF")
            for each in self._tables:
                fields = ", ".join(f'"{name}" {"TEXT" if name in each.text else "INTEGER"}' for name in each.columns)
                self._database.execute(f'CREATE TABLE "{each.name}" ({fields})')
        places = ", ".join("?" * len(table.columns))
        self._database.executemany(f'INSERT INTO "{table.name}" VALUES ({places})', _rows(table, columns))

    def finish(self) -> None:
        """Add the indexes, and close the database. Raises OSError."""
        try:
            self._close()
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def _close(self) -> None:
        if self._database is not None:
            for table, column in (("orders", "order_number"), ("trades", "trade_number"), ("events", "seq")):
                if table not in {each.name for each in self._tables}:
                    continue
                self._database.execute(f'CREATE INDEX "{table}_{column}" ON "{table}" ("{column}")')
            self._database.commit()
            self._database.close()
            self._database = None

    def read(self, table: Table) -> Iterator[Columns]:
        """Rows of a table. Raises ValueError for a database that cannot be read."""
        try:
            database = sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)
        except sqlite3.Error as error:
            raise ValueError(f"{self._path}: {error}") from error
        try:
            fields = ", ".join(f'"{name}"' for name in table.columns)
            rows = database.execute(f'SELECT {fields} FROM "{table.name}" ORDER BY rowid')
            while held := rows.fetchmany(_ROWS_AT_ONCE):
                yield _columns(table, held)
        except sqlite3.Error as error:
            raise ValueError(f"{self._path}: {error}") from error
        finally:
            database.close()


#: Forms whose files nobody adds to, so that the manifest has a digest of each: of one that was changed in its bounds or
#: names, another program might read other rows than the proof.
WHOLE_FILES: Final = frozenset({"parquet", "arrow", "sql"})

#: Forms that say each fact once (``exports.once``), and all again by views.
SAID_ONCE: Final = frozenset({"parquet"})

#: Forms with the table ``audit``, whose rows stand beside those of ``reports``.
AUDITED: Final = frozenset({"sql"})

FORMS: Final[dict[str, Any]] = {
    "csv": CsvForm,
    "sqlite": SqliteForm,
    "parquet": ParquetForm,
    "arrow": ArrowForm,
    "sql": SqlForm,
}


#: Files of one table alone, made with their path and the table: ``write`` adds rows, ``close`` ends them.
TABLE_FILES: Final[dict[str, Any]] = {"csv": CsvFile, "parquet": ParquetFile}


def _rows(table: Table, columns: Columns) -> Any:
    values = (table.text[name].words(columns[name]) if name in table.text else columns[name] for name in table.columns)
    return zip(*(each.tolist() for each in values), strict=True)


def _columns(table: Table, rows: list[Any]) -> Columns:
    values = zip(*rows, strict=True)
    return {
        name: table.text[name].keys(np.array(each, object))
        if name in table.text
        else np.array(list(map(int, each)), np.int64)
        for name, each in zip(table.columns, values, strict=True)
    }
