"""Export of a journal as tables for other programs, with its proof: `lockstep export`."""

import errno
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cli import errors, screen
from cli.errors import WrongUse
from cli.questions.choice import Selection
from cli.questions.history import chosen_plays
from cli.questions.latency import Records
from cli.questions.reading import rebuilt_at
from cli.questions.reports import room_of
from engine.records import RULES_VERSION
from exports.audit import SideFacts, no_side_facts
from exports.errors import ExportError
from exports.export import End, made_again, prove, write_export
from exports.formats import AUDITED
from exports.manifest import read_manifest
from exports.snapshots import snapshots
from exports.tables import TABLES, Table
from gateway.login_log import Logins, read_logins
from journal import Journal
from journal.history import History
from notation.words import duration_ns
from replay.past import PlayedBlock

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


def export(
    directory: Path, out: Path, form: str, only: str | None, every: str | None, *, check: bool, as_json: bool
) -> int:
    """`lockstep export`: write the tables and prove them, or prove those that are there against the journal.

    ``every``: time between snapshots of the books, as 1m; None for none.
    """
    for option, value in (("--only", only), ("--snapshots", every)):
        if value is not None and check:
            raise WrongUse(f"{option} is of an export that is written; --check proves all tables that are there")
    by_journal = None
    if not check:
        manifest = write(directory, out, form, _chosen(only), _step_ns(every))
    else:
        try:
            manifest = read_manifest(out)
        except ExportError as error:
            raise WrongUse(str(error)) from error
        by_journal = _by_journal(directory, out, manifest)
    faults = prove(out, manifest, by_journal)
    told = {"path": str(out), "ok": not faults, "faults": faults, "snapshots_ns": None, **manifest}
    if as_json:
        screen.print_json(told)
    else:
        screen.facts(
            [
                ("format", manifest["format"]),
                ("commands", f"1 to {screen.count(manifest['last_seq'])}"),
                *((name, screen.counted(rows, "row")) for name, rows in manifest["rows"].items()),
                ("event digest", manifest["event_digest"]),
            ]
        )
        for fault in faults:
            screen.print_line(fault)
        screen.verdict(
            not faults,
            f"{out} gives the event digest of the journal" if not faults else f"{out} is not complete, or not the same",
        )
    return errors.FOUND if faults else errors.FINE


def _chosen(only: str | None) -> tuple[Table, ...]:
    """Tables of ``--only``, all without it. Raises WrongUse for a name of none."""
    known = {table.name: table for table in TABLES}
    names = list(known) if only is None else only.split(",")
    if unknown := [name for name in names if name not in known]:
        raise WrongUse(f"--only names {unknown[0]!r}, which is no table; write one or more of {','.join(known)}")
    return tuple(known[name] for name in names)


def _step_ns(every: str | None) -> int | None:
    """Time between snapshots (ns). Raises WrongUse for what is none."""
    if every is None:
        return None
    try:
        step_ns = duration_ns(every, "--snapshots")
    except ValueError as error:
        raise WrongUse(str(error)) from error
    if step_ns < 1:
        raise WrongUse(f"--snapshots is {every}; give a time above 0, as 1m")
    return step_ns


def write(
    directory: Path, out: Path, form: str, only: tuple[Table, ...] = TABLES, step_ns: int | None = None
) -> dict[str, Any]:
    """Write the files beside, and give the folder its name once they are whole. ``step_ns``: between snapshots."""
    if out.exists():
        raise WrongUse(f"{out} exists already; name a new folder, or give --check to prove what is there")
    room = room_of(directory, Selection(None, None))
    end = _end(directory, None)
    aside = out.with_name(f"{out.name}.new")
    if aside.exists():
        raise WrongUse(f"{aside} is left of an export that broke off, or is being written; remove it and repeat")
    with History.open(directory) as history:
        about = {"journal_id": history.journal_id.hex(), "rules_version": RULES_VERSION, "first_seq": 1}
        about["snapshots_ns"] = step_ns
    try:
        aside.mkdir(parents=True)
    except OSError as error:
        raise WrongUse(f"{aside} cannot be made: {error.strerror}; name another folder with --out") from error
    try:
        blocks = _blocks(directory, end.seq)
        books = None if step_ns is None else snapshots(directory, step_ns, end.seq)
        facts = _side_facts(directory) if form in AUDITED else None
        manifest = write_export(aside, form, blocks, room, end, about, only, books, facts)
        aside.rename(out)
    except BaseException as error:
        shutil.rmtree(aside, ignore_errors=True)
        if isinstance(error, OSError) and error.errno in _FULL and error.filename is None:  # a write names no file
            raise OSError(error.errno, error.strerror, str(out)) from error
        raise
    return manifest


def _side_facts(directory: Path) -> SideFacts:
    """Facts of the side files of a directory about its commands."""
    facts = no_side_facts()
    if (directory / "latencies").is_dir():
        records = Records.read(directory)

        def latency_ns(seqs: NDArray[np.int64]) -> NDArray[np.int64]:
            times = records.of(seqs)
            known = (times["received_ns"] > 0) & (times["answered_ns"] > 0)
            return np.where(known, np.maximum(times["answered_ns"] - times["received_ns"], 1), 0)

        facts = facts._replace(latency_ns=latency_ns)
    if (directory / "logins").is_dir():
        with Journal.open(directory, readonly=True) as journal:
            logins = Logins(read_logins(directory / "logins", journal.journal_id))
        facts = facts._replace(login_ns=logins.time_ns)
    return facts


def _end(directory: Path, at: str | None) -> End:
    """The market at a command, or its end. Its engine is dropped: the replay of all commands has another."""
    engine = rebuilt_at(directory, at).engine
    return End(engine.seq, engine.event_digest, engine.positions(), engine.directory)


def _by_journal(directory: Path, out: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """Facts that the manifest of an export has to have, by a replay. Raises WrongUse for another journal."""
    with History.open(directory) as history:
        if history.journal_id.hex() != manifest["journal_id"]:
            raise WrongUse(f"{out} is an export of another journal than that of {directory}")
        if history.last_seq < manifest["last_seq"]:
            raise WrongUse(f"{out} goes to command {manifest['last_seq']:,}, and {directory} ends before it")
    step_ns = manifest.get("snapshots_ns")
    if "snapshots" in manifest["rows"] and step_ns is None:
        raise WrongUse(f"the manifest of {out} does not say the time between its snapshots; export again")
    last = int(manifest["last_seq"])
    room = room_of(directory, Selection(None, None))
    end = _end(directory, str(last))
    books = None if step_ns is None else snapshots(directory, step_ns, last)
    return made_again(manifest, _blocks(directory, last), room, end, books)


def _blocks(directory: Path, last: int) -> Iterator[PlayedBlock]:
    """All blocks up to a command."""
    return chosen_plays(directory, Selection(1, last)) if last else iter(())
