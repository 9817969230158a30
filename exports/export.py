"""An export: blocks of a journal in, tables out, with a manifest and the proof that they are complete.

The proof is read from the files alone: EVENT rows are made again from the table of events, and their digest must be
that of the journal. Of the other tables, which follow from the events and commands, the manifest has a digest each.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.capacity import Capacity
from engine.digest import ByteHash, EventChain
from engine.market_time import ClockPosition, clock_at_each
from engine.names import Directory
from exports.audit import OF_SIDE_FILES, Audit, SideFacts, no_side_facts
from exports.formats import AUDITED, FORMS, SAID_ONCE, WHOLE_FILES, Form
from exports.manifest import MANIFEST, VERSION, table_names
from exports.once import (
    ONCE,
    Facts,
    events_once,
    offer,
    orders_once,
    reports_once,
    room_of_events,
    said_rows,
    trade_rows,
    trades_once,
)
from exports.reported import Orders, ReportColumns, trade_columns
from exports.tables import (
    AUDIT,
    EVENTS,
    ORDERS,
    POSITIONS,
    REPORTS,
    SNAPSHOTS,
    TABLES,
    TRADES,
    Columns,
    Table,
    event_columns,
    event_rows,
    position_columns,
)
from exports.whole import write_views
from replay.past import PlayedBlock
from reports import Reports

#: Events, at least, that are made rows of all tables at once.
_EVENTS_AT_ONCE: Final = 65_536


class End(NamedTuple):
    """The market after the last command of an export: its number, event digest, POSITION rows and names."""

    seq: int
    event_digest: bytes
    positions: NDArray[Any]
    directory: Directory


class TableDigest:
    """Digest of the content of a table, column by column: the same however its rows came in batches.

    It is of numbers, since each word has one number, and each number one word.
    """

    def __init__(self, table: Table) -> None:
        self._first = table.columns[0]
        self._hashes = {name: ByteHash() for name in table.columns}
        self._missing = {name: ByteHash() for name in table.columns if name in table.partial}
        self.rows = 0

    def add(self, columns: Columns) -> None:
        """Add rows."""
        self.rows += len(columns[self._first])
        for name, hasher in self._hashes.items():
            hasher.update(np.ascontiguousarray(np.ma.getdata(columns[name]), np.int64).view(np.uint8).data)
        for name, hasher in self._missing.items():
            hasher.update(np.ascontiguousarray(np.ma.getmaskarray(columns[name])).view(np.uint8).data)

    def digest(self) -> str:
        """16 hexadecimal digits."""
        whole = ByteHash()
        for name, hasher in self._hashes.items():
            whole.update(f"{name}:{hasher.hexdigest()};".encode())
        for name, hasher in self._missing.items():
            whole.update(f"missing {name}:{hasher.hexdigest()};".encode())
        return str(whole.hexdigest())


class _Contents:
    """Rows of the tables of an export as they come: their number and digests by table."""

    def __init__(self, tables: tuple[Table, ...], form_name: str) -> None:
        self._once = form_name in SAID_ONCE
        self.tables = {table.name: _as_written(table, form_name) for table in tables}
        self._digests = {name: TableDigest(table) for name, table in self.tables.items()}
        self._said: Counter[str] = Counter()

    def add(self, table: Table, columns: Columns) -> None:
        """Add rows."""
        self._digests[table.name].add(columns)
        if self._once:
            self._said.update(said_rows(table, columns))

    def facts(self) -> dict[str, Any]:
        """Number of rows and digest of each table."""
        return {
            "rows": {name: digest.rows + self._said[name] for name, digest in self._digests.items()},
            "digests": {name: digest.digest() for name, digest in self._digests.items()},
        }


def write_export(
    folder: Path,
    form_name: str,
    blocks: Iterator[PlayedBlock],
    capacity: Capacity,
    end: End,
    about: dict[str, Any],
    only: tuple[Table, ...] = TABLES,
    snapshots: Iterator[Columns] | None = None,
    side_facts: SideFacts | None = None,
) -> dict[str, Any]:
    """Write the tables of a journal into an empty folder; gives the manifest, which is written last.

    ``only``: the tables that are written; events, which are the proof of the others' completeness, are written always.
    ``blocks``: from command 1 on. ``end``: after the last of them. ``about``: facts for the manifest. ``snapshots``:
    rows of that table, where it is written. ``side_facts``: for the table ``audit`` of a form that has it, with the
    reports. Raises OSError.
    """
    tables = tuple(table for table in TABLES if table in (EVENTS, *only))
    tables += (AUDIT,) if form_name in AUDITED and REPORTS in tables else ()
    tables += () if snapshots is None else (SNAPSHOTS,)
    contents = _Contents(tables, form_name)
    form: Form = FORMS[form_name](folder, tuple(contents.tables.values()))
    empty = np.zeros(0, np.int64)
    for table in contents.tables.values():  # so that each is there
        form.write(table, dict.fromkeys(table.columns, empty))
    audit = Audit(capacity, side_facts or no_side_facts()) if AUDIT in tables else None
    for table, columns in _all_rows(blocks, capacity, end, tables, audit, snapshots or iter(()), form_name):
        form.write(contents.tables[table.name], columns)
        contents.add(table, columns)
    form.finish()
    if form_name in SAID_ONCE:
        write_views(folder, tuple(contents.tables))
    manifest = {
        "version": VERSION,
        "format": form_name,
        **about,
        **_of_end(end),
        **contents.facts(),
        "files": file_digests(folder) if form_name in WHOLE_FILES else {},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    return manifest


def _of_end(end: End) -> dict[str, Any]:
    """Facts of the market at the end, as a manifest has them."""
    names = end.directory
    return {
        "last_seq": end.seq,
        "event_digest": end.event_digest.hex(),
        "symbols": list(names.symbols),
        "participants": list(names.participants),
    }


def made_again(
    manifest: Mapping[str, Any],
    blocks: Iterator[PlayedBlock],
    capacity: Capacity,
    end: End,
    snapshots: Iterator[Columns] | None = None,
) -> dict[str, Any]:
    """Facts that the manifest of an export has to have, by the journal: its end, and rows and digests of its tables.

    blocks, capacity, end, snapshots: as ``write_export`` takes them. Of the table ``audit`` the columns of side files
    are left out, which no journal has.
    """
    tables = tuple(
        table for table in (*TABLES, AUDIT, SNAPSHOTS) if table.name in (EVENTS.name, *table_names(manifest))
    )
    form_name = manifest["format"]
    contents = _Contents(tables, form_name)
    audit = Audit(capacity, no_side_facts()) if AUDIT in tables else None
    for table, columns in _all_rows(blocks, capacity, end, tables, audit, snapshots or iter(()), form_name):
        contents.add(table, columns)
    return {**_of_end(end), **contents.facts()}


def _all_rows(
    blocks: Iterator[PlayedBlock],
    capacity: Capacity,
    end: End,
    tables: tuple[Table, ...],
    audit: Audit | None,
    snapshots: Iterator[Columns],
    form_name: str,
) -> Iterator[tuple[Table, Columns]]:
    """Rows of all tables of an export."""
    yield from _rows(blocks, capacity, tables, audit, once=form_name in SAID_ONCE)
    if POSITIONS in tables:
        yield POSITIONS, position_columns(end.positions, end.directory)
    for columns in snapshots:
        yield SNAPSHOTS, columns


def _as_written(table: Table, form_name: str) -> Table:
    """The table as a form has it."""
    return ONCE.get(table.name, table) if form_name in SAID_ONCE else table


def _rows(
    blocks: Iterator[PlayedBlock], capacity: Capacity, tables: tuple[Table, ...], audit: Audit | None, *, once: bool
) -> Iterator[tuple[Table, Columns]]:
    """Rows of events and of the tables that are made of reports. ``audit``: makes those beside reports, if they are
    wanted. ``once``: each fact is said once."""
    fold, reported, orders = Reports(capacity), ReportColumns(), Orders()
    folds = REPORTS in tables or TRADES in tables or ORDERS in tables
    events: list[Columns] = []
    reports: list[Columns] = []
    room = room_of_events(2 * _EVENTS_AT_ONCE) if once else None

    def take() -> Iterator[tuple[Table, Columns]]:
        """Rows of what is held, which ends with a block: no command has a part of its events there."""
        reports.extend(reported.rest())
        trades = [trade_columns(columns) for columns in reports] if TRADES in tables else []
        if ORDERS in tables:
            for columns in reports:
                orders.take(columns)
        if once:
            yield from take_once(trades)
        else:
            yield from ((TRADES, columns) for columns in trades)
            yield from ((EVENTS, columns) for columns in events)
            for columns in reports if REPORTS in tables else ():
                yield REPORTS, {name: columns[name] for name in REPORTS.columns}
        events.clear()
        reports.clear()

    def take_once(trades: list[Columns]) -> Iterator[tuple[Table, Columns]]:
        """The same, with each fact once."""
        for columns in reports:
            offer(columns, orders)
        rows = trade_rows(trades)
        left = events_once(events, orders, rows, room) if events else None
        at = 0
        for columns in trades:
            yield TRADES, trades_once(columns, rows[at : at + len(columns["seq"])])
            at += len(columns["seq"])
        if left is not None:
            yield EVENTS, left
        for columns in reports:
            found = reports_once(columns, orders, rows)
            reported.use_again(columns)
            if REPORTS in tables:
                yield REPORTS, found

    held = 0
    for play, before, names in blocks:
        clock_ns = clock_at_each(play.commands, ClockPosition(before.now_ns, play.extended))
        if len(play.events):
            events.append(event_columns(play.events, clock_ns[play.events["seq"] - play.first_seq], names))
        if folds:
            for batch in fold.batches(play.first_seq, play.commands, play.events):
                reports.extend(reported.take(batch))
                if audit is not None:
                    yield AUDIT, audit.take(batch)
        held += len(play.events)
        if held >= _EVENTS_AT_ONCE:
            yield from take()
            held = 0
    yield from take()
    for columns in orders.batches() if ORDERS in tables else ():
        yield ORDERS, orders_once(columns) if once else columns


def tables_of(manifest: Mapping[str, Any]) -> tuple[Table, ...]:
    """Tables that an export has, by its manifest; events in any case, since they are its proof."""
    known = {table.name: table for table in (*TABLES, AUDIT, SNAPSHOTS)}
    return tuple(_as_written(known[name], manifest["format"]) for name in table_names(manifest))


def file_digests(folder: Path) -> dict[str, str]:
    """Digest of each file of an export but the manifest, by its path within."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != MANIFEST:
            hasher = ByteHash()
            with path.open("rb") as file:
                while piece := file.read(1 << 20):
                    hasher.update(piece)
            found[path.relative_to(folder).as_posix()] = str(hasher.hexdigest())
    return found


def _file_faults(folder: Path, manifest: dict[str, Any]) -> list[str]:
    """Files that are not as they were written, missing, or were added, as sentences."""
    if manifest["format"] not in WHOLE_FILES:
        return []
    written, here = manifest.get("files", {}), file_digests(folder)
    names = sorted(name for name in {*written, *here} if written.get(name) != here.get(name))
    return [f"{folder / name} is not as it was written, or was added or removed" for name in names]


def _digested(read: Iterator[Columns], digest: TableDigest) -> Iterator[Columns]:
    """Rows of a table as they are read; ``digest`` takes them too."""
    for columns in read:
        digest.add(columns)
        yield columns


def prove(folder: Path, manifest: dict[str, Any], by_journal: Mapping[str, Any] | None = None) -> list[str]:
    """Differences between the files of an export and its manifest, as sentences; none where it is complete.

    by_journal: what ``made_again`` says, for a proof against the journal: a manifest is a file as others are, and who
    changes a table can change it too.
    """
    tables = tables_of(manifest)
    form: Form = FORMS[manifest["format"]](folder, tables)
    right = manifest if by_journal is None else by_journal
    names = Directory(tuple(manifest["symbols"]), tuple(manifest["participants"]))
    chain = EventChain()
    digests = {table.name: TableDigest(table) for table in tables}
    of_journal = TableDigest(AUDIT)
    once, said = manifest["format"] in SAID_ONCE, Counter[str]()
    try:
        facts = Facts(manifest["rows"], manifest["last_seq"])
        # What events leave to other tables has to be read before them.
        for table in sorted(tables, key=lambda table: table.name == EVENTS.name):
            read = _digested(form.read(table), digests[table.name])
            if table.name == EVENTS.name:
                for columns in facts.events(read) if once else read:
                    chain.add(event_rows(columns, names))
                continue
            for columns in read:
                if once:
                    facts.add(table, columns)
                    said.update(said_rows(table, columns))
                if table.name == AUDIT.name and by_journal is not None:
                    of_journal.add(columns | dict.fromkeys(OF_SIDE_FILES, np.zeros(len(columns["seq"]), np.int64)))
    except (OSError, ValueError, KeyError, OverflowError) as error:
        return [f"the files in {folder} are not as they were written: {error}", *_file_faults(folder, manifest)]
    faults = _file_faults(folder, manifest)
    if chain.digest().hex() != right["event_digest"]:
        given = chain.digest().hex()
        faults.append(
            f"the events of {folder} give the event digest {given}, and the journal has {right['event_digest']}"
        )
    for word in ("event_digest", "symbols", "participants"):
        if manifest[word] != right[word]:
            faults.append(f"{word} in the manifest of {folder} is not as the journal has it")
    for name, digest in digests.items():
        if name not in manifest["rows"]:
            faults.append(f"the manifest of {folder} says nothing of the table {name}")
        elif digest.rows + said[name] != right["rows"][name]:
            rows = digest.rows + said[name]
            faults.append(f"table {name} of {folder} has {rows:,} rows, and {right['rows'][name]:,} were written")
        elif digest.digest() != manifest["digests"][name]:
            faults.append(f"table {name} of {folder} has other values than were written")
        elif (of_journal if by_journal and name == AUDIT.name else digest).digest() != right["digests"][name]:
            faults.append(f"table {name} of {folder} has other values than the journal gives")
    return faults
