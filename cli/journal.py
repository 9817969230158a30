"""Journals as files, whatever their commands mean: `lockstep journal info|check`."""

from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Final

from cli import errors, screen
from engine.limits import Capacity
from journal import Journal
from journal.report import JournalInfo
from notation.words import iso_time, time
from replay.times import first_clock_ns

#: Stands after the id of a journal that is older than ids.
_DERIVED: Final = " (derived from its genesis record: it was created before journals had ids)"


def info(directory: Path, *, as_json: bool) -> int:
    """`lockstep journal info`: exit status 2 if something is wrong; the rest is printed all the same."""
    with Journal.open(directory, readonly=True) as journal:
        known = journal.info()
        meta = journal.meta
        first_ns = first_clock_ns(journal)
    if as_json:
        # A block's header bears the clock at its end; the first clock stands inside the first block that has one.
        screen.say_json(_facts(known, first_ns, meta))
        return errors.WRONG if known.problem else errors.FINE
    span = "empty"
    if known.last_time_ns is not None:
        span = "never set" if first_ns is None else f"{time(first_ns)} to {time(known.last_time_ns)}"
    capacity = ", ".join(f"{name} {screen.count(value)}" for name, value in meta.get("capacity", {}).items())
    screen.facts(
        [
            ("path", known.path),
            ("journal id", known.journal_id + ("" if known.has_own_id else _DERIVED)),
            ("commands", f"1 to {screen.count(known.last_seq)}" if known.last_seq else "none yet"),
            ("clock", span),
            ("blocks", screen.count(known.blocks)),
            ("event digests", screen.count(known.digests)),
            ("size", screen.size(known.bytes)),
            ("rules versions", ", ".join(str(version) for version in known.rules_versions) or "-"),
            ("kernel sources", ", ".join(known.source_digests) or "-"),
            ("capacity", capacity or "-"),
            ("LMDB", known.lmdb_version),
            ("readers", known.readers),
        ]
    )
    if known.problem:
        screen.verdict(False, f"{known.problem}; run `lockstep journal check {directory}`")
    return errors.WRONG if known.problem else errors.FINE


def _facts(known: JournalInfo, first_ns: int | None, meta: dict[str, Any]) -> dict[str, Any]:
    """Facts of a journal for programs. first_ns: its first clock value."""
    told = asdict(known)
    times = {"first_time": iso_time(first_ns or 0), "last_time": iso_time(known.last_time_ns or 0)}
    for key in ("bytes", "first_time_ns", "last_time_ns"):
        told.pop(key)
    # A journal that a test created may have no capacity.
    capacity = {each.name: meta.get("capacity", {}).get(each.name) for each in fields(Capacity)}
    return told | {"size_bytes": known.bytes, **times, "capacity": capacity}


def check(directory: Path, *, as_json: bool) -> int:
    """`lockstep journal check`: list all problems; exit status 1 if there are any."""
    with errors.finding(), Journal.open(directory, readonly=True) as journal, screen.Bar("checking the journal") as bar:
        report = journal.check(progress=bar.to)
    if as_json:
        told = {"ok": report.ok} | asdict(report)
        screen.say_json({"commands" if key == "rows" else key: value for key, value in told.items()})
        return errors.FINE if report.ok else errors.FOUND
    read = ((report.blocks, "block"), (report.rows, "command"), (report.digests, "event digest"))
    screen.say(f"read {', '.join(screen.counted(number, what) for number, what in read)}")
    for problem in report.problems[:20]:
        screen.say(f"{f'command {problem.seq}: ' if problem.seq else ''}{problem.sentence}")
    if len(report.problems) > 20:
        screen.say(f"and {len(report.problems) - 20} more (--json lists all)")
    said = "the journal is whole" if report.ok else "DAMAGED: copy the directory before you try anything else"
    screen.verdict(report.ok, said)
    return errors.FINE if report.ok else errors.FOUND
