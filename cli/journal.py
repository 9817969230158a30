"""The log itself, whatever its commands mean: `lockstep journal info|check`."""

from dataclasses import asdict
from pathlib import Path

from cli import errors, screen
from journal import Journal
from replay.scenario_print import time


def info(directory: Path, *, as_json: bool) -> int:
    """`lockstep journal info`."""
    with Journal.open(directory, readonly=True) as journal:
        known = journal.info()
        meta = journal.meta
    if as_json:
        screen.say_json(asdict(known) | {"meta": meta})
        return errors.FINE
    span = "empty"
    if known.first_time_ns is not None and known.last_time_ns is not None:
        span = f"{time(known.first_time_ns)} to {time(known.last_time_ns)}"
    capacity = ", ".join(f"{name} {screen.count(value)}" for name, value in meta.get("capacity", {}).items())
    screen.facts(
        [
            ("path", known.path),
            ("commands", f"{screen.count(known.first_seq)} to {screen.count(known.last_seq)}"),
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
    return errors.FOUND if known.problem else errors.FINE


def check(directory: Path, *, as_json: bool) -> int:
    """`lockstep journal check`: exit status 1 when anything is damaged; every problem is listed."""
    with Journal.open(directory, readonly=True) as journal, screen.Bar("checking the journal") as bar:
        report = journal.check(progress=bar.to)
    if as_json:
        screen.say_json({"ok": report.ok} | asdict(report))
        return errors.FINE if report.ok else errors.FOUND
    blocks, rows = screen.count(report.blocks), screen.count(report.rows)
    screen.say(f"read {blocks} blocks, {rows} commands, {screen.count(report.digests)} event digests")
    for problem in report.problems[:20]:
        screen.say(f"{f'command {problem.seq}: ' if problem.seq else ''}{problem.sentence}")
    if len(report.problems) > 20:
        screen.say(f"and {len(report.problems) - 20} more (--json lists all)")
    said = (
        "the journal is whole"
        if report.ok
        else "DAMAGED: keep a copy of the directory before anything else is tried on it"
    )
    screen.verdict(report.ok, said)
    return errors.FINE if report.ok else errors.FOUND
