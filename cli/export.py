"""Export of a journal as tables for other programs, with its proof: `lockstep export`."""

import shutil
from pathlib import Path
from typing import Any

from cli import errors, screen
from cli.choice import Selection
from cli.errors import WrongUse
from cli.history import chosen_plays
from cli.node import rebuilt_at
from cli.reports import room_of
from engine.records import RULES_VERSION
from exports.errors import ExportError
from exports.export import prove, read_manifest, write_export
from journal.history import History


def export(directory: Path, out: Path, form: str, *, check: bool, as_json: bool) -> int:
    """`lockstep export`: write the tables and prove them, or prove those that are there against the journal."""
    if not check:
        manifest = write(directory, out, form)
    else:
        try:
            manifest = read_manifest(out)
        except ExportError as error:
            raise WrongUse(str(error)) from error
        _check_same(directory, out, manifest)
    faults = prove(out, manifest)
    told = {"path": str(out), "ok": not faults, "faults": faults, **manifest}
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


def write(directory: Path, out: Path, form: str) -> dict[str, Any]:
    """Write the files beside, and give the folder its name once they are whole."""
    if out.exists():
        raise WrongUse(f"{out} exists already; name a new folder, or give --check to prove what is there")
    room = room_of(directory, Selection(None, None))
    end = rebuilt_at(directory, None)
    aside = out.with_name(f"{out.name}.new")
    if aside.exists():
        raise WrongUse(f"{aside} is left of an export that broke off, or is being written; remove it and repeat")
    with History.open(directory) as history:
        about = {"journal_id": history.journal_id.hex(), "rules_version": RULES_VERSION, "first_seq": 1}
    try:
        aside.mkdir(parents=True)
    except OSError as error:
        raise WrongUse(f"{aside} cannot be made: {error.strerror}; name another folder with --out") from error
    try:
        blocks = chosen_plays(directory, Selection(1, end.seq)) if end.seq else iter(())
        manifest = write_export(aside, form, blocks, room, end.engine, about)
        aside.rename(out)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return manifest


def _check_same(directory: Path, out: Path, manifest: dict[str, Any]) -> None:
    """Raise WrongUse unless an export is of the journal, and its digest the journal's there."""
    with History.open(directory) as history:
        if history.journal_id.hex() != manifest["journal_id"]:
            raise WrongUse(f"{out} is an export of another journal than that of {directory}")
        if history.last_seq < manifest["last_seq"]:
            raise WrongUse(f"{out} goes to command {manifest['last_seq']:,}, and {directory} ends before it")
    end = rebuilt_at(directory, str(manifest["last_seq"]))
    manifest["event_digest"] = end.engine.event_digest.hex()
