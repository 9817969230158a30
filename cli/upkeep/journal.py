"""Journals as files, whatever their commands mean: `lockstep journal info|check`."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

from cli import errors, screen
from engine.capacity import Capacity
from journal import Journal
from journal.history import History
from journal.report import JournalInfo
from journal.slices import read_note
from notation.words import iso_time, time
from replay.chain import check_chain
from replay.times import first_clock_ns

#: Stands after the id of a journal that is older than ids.
_DERIVED: Final = " (derived from its genesis record: it was created before journals had ids)"


@dataclass(frozen=True)
class SliceInfo:
    """Facts of a slice, as far as its files or the note on its archive say. Times in ns, None: no clock, or unknown.

    ``state``: open, closed, archived, or missing. ``known``: None where the slice is not in the directory.
    """

    number: int
    state: str
    path: str | None
    first_seq: int
    last_seq: int
    first_time_ns: int | None
    last_time_ns: int | None
    rules_version: int | None
    capacity: dict[str, int]
    bytes: int | None
    has_events: bool
    known: JournalInfo | None = None


def info(directory: Path, *, as_json: bool) -> int:
    """`lockstep journal info`: exit status 2 if something is wrong; the rest is printed all the same."""
    with History.open(directory) as history:
        slices = _slices(history)
    here = [each for each in slices if each.known is not None]
    problem = "; ".join(each.known.problem for each in here if each.known is not None and each.known.problem) or None
    if as_json:
        screen.print_json(_facts(slices, problem))
        return errors.WRONG if problem else errors.FINE
    last = here[-1]
    # A slice that was begun just now has no command yet.
    full = [each for each in here if each.first_seq]
    known = last.known
    assert known is not None, "the last slice is in the directory"
    infos = [each.known for each in here if each.known is not None]
    span = "empty"
    commands = "none yet"
    if full:
        first_ns = full[0].first_time_ns
        span = "never set" if first_ns is None else f"{time(first_ns)} to {time(full[-1].last_time_ns or first_ns)}"
        commands = f"{screen.count(full[0].first_seq)} to {screen.count(full[-1].last_seq)}"
    screen.facts(
        [
            ("path", known.path),
            ("journal id", known.journal_id + ("" if known.has_own_id else _DERIVED)),
            ("commands", commands),
            ("clock", span),
            ("blocks", screen.count(sum(each.blocks for each in infos))),
            ("event digests", screen.count(sum(each.digests for each in infos))),
            ("size", screen.size(sum(each.bytes for each in infos))),
            ("rules versions", ", ".join(map(str, _unlike(each.rules_versions for each in infos))) or "-"),
            ("kernel sources", ", ".join(_unlike(each.source_digests for each in infos)) or "-"),
            ("capacity", _capacity(last.capacity)),
            ("LMDB", known.lmdb_version),
            ("readers", known.readers),
        ]
    )
    if len(slices) > 1:
        _show_slices(slices)
    if problem:
        screen.verdict(False, f"{problem}; run `lockstep journal check {directory}`")
    return errors.WRONG if problem else errors.FINE


def _slices(history: History) -> list[SliceInfo]:
    """All slices of the journal, in order, those too that are not in the directory."""
    found = [_slice(history.journal(place.number), history) for place in history.places]
    for gap in history.gaps():
        for number in range(gap.first_number, gap.last_number + 1):
            note = read_note(history.path, number)
            if note is None:
                first, last = (gap.first_seq, gap.last_seq) if gap.first_number == gap.last_number else (0, 0)
                found.append(
                    SliceInfo(number, "missing", None, first, last, None, None, None, {}, None, has_events=False)
                )
                continue
            times = (note.first_time_ns or None, note.last_time_ns or None)
            about = (note.path, note.first_seq, note.last_seq, *times, note.rules_version, note.capacity, note.bytes)
            found.append(SliceInfo(number, "archived", *about, has_events=note.has_events))
    return sorted(found, key=lambda each: each.number)


def _slice(journal: Journal, history: History) -> SliceInfo:
    known = journal.info()
    return SliceInfo(
        journal.place.number,
        "closed" if journal.place.is_marked_closed or journal is not history.last else "open",
        str(journal.place.folder),
        known.first_seq,
        known.last_seq if known.first_seq else 0,
        # A block's header has the clock at its end; the first clock is inside the first block that has one.
        first_clock_ns(journal),
        known.last_time_ns,
        journal.meta.get("rules_version"),
        journal.meta.get("capacity", {}),
        known.bytes,
        journal.place.events.exists(),
        known,
    )


def _unlike(lists: Any) -> list[Any]:
    """The different values of several lists, in the order in which they come first."""
    return list(dict.fromkeys(value for values in lists for value in values))


def _capacity(capacity: dict[str, int]) -> str:
    return ", ".join(f"{name} {screen.count(value)}" for name, value in capacity.items()) or "-"


def _show_slices(slices: list[SliceInfo]) -> None:
    rows = [
        (
            each.number,
            each.state,
            f"{screen.count(each.first_seq)} to {screen.count(each.last_seq)}" if each.first_seq else "none",
            f"{time(each.first_time_ns)} to {time(each.last_time_ns)}"
            if each.first_time_ns is not None and each.last_time_ns is not None
            else "-",
            each.rules_version if each.rules_version is not None else "-",
            _capacity(each.capacity),
            screen.size(each.bytes) if each.bytes is not None else "-",
            "kept" if each.has_events else "-",
            each.path or "not known",
        )
        for each in slices
    ]
    columns = ["slice", "state", "commands", "clock", "rules", "capacity", "size", "events", "path"]
    screen.table(columns, rows, right=("slice", "rules", "size"))


def _facts(slices: list[SliceInfo], problem: str | None) -> dict[str, Any]:
    """Facts of a journal for programs."""
    infos = [each.known for each in slices if each.known is not None]
    here = [each for each in slices if each.known is not None]
    full = [each for each in here if each.first_seq] or here
    last = infos[-1]
    return {
        "path": last.path,
        "journal_id": last.journal_id,
        "has_own_id": last.has_own_id,
        "blocks": sum(each.blocks for each in infos),
        "first_seq": full[0].first_seq,
        "last_seq": last.last_seq,
        "rules_versions": _unlike(each.rules_versions for each in infos),
        "source_digests": _unlike(each.source_digests for each in infos),
        "digests": sum(each.digests for each in infos),
        "durability": last.durability,
        "lmdb_version": last.lmdb_version,
        "readers": last.readers,
        "problem": problem,
        "size_bytes": sum(each.bytes for each in infos),
        "first_time": iso_time(full[0].first_time_ns or 0),
        "last_time": iso_time(full[-1].last_time_ns or 0),
        "capacity": _capacity_facts(here[-1].capacity),
        "slices": [
            {
                "number": each.number,
                "state": each.state,
                "path": each.path,
                "first_seq": each.first_seq,
                "last_seq": each.last_seq,
                "first_time": iso_time(each.first_time_ns or 0),
                "last_time": iso_time(each.last_time_ns or 0),
                "rules_version": each.rules_version,
                "capacity": _capacity_facts(each.capacity),
                "size_bytes": each.bytes,
                "has_events": each.has_events,
            }
            for each in slices
        ],
    }


def _capacity_facts(capacity: dict[str, int]) -> dict[str, int | None]:
    """A capacity for programs; a journal that a test created may have none."""
    return {each.name: capacity.get(each.name) for each in fields(Capacity)}


def check(directory: Path, *, as_json: bool) -> int:
    """`lockstep journal check`: list all problems; exit status 1 if there are any."""
    with errors.finding(), screen.Bar("checking the journal") as bar:
        report = check_chain(directory, progress=bar.to)
    if as_json:
        screen.print_json({"ok": report.ok} | asdict(report))
        return errors.FINE if report.ok else errors.FOUND
    read = ((report.blocks, "block"), (report.commands, "command"), (report.digests, "event digest"))
    several = f" in {screen.counted(report.slices, 'slice')}" if report.slices > 1 else ""
    screen.print_line(f"read {', '.join(screen.counted(number, what) for number, what in read)}{several}")
    for sentence in report.archived:
        screen.print_line(f"not here: {sentence}")
    for sentence in report.notes:
        screen.print_line(f"note: {sentence}")
    for problem in report.problems[:20]:
        screen.print_line(f"{f'command {problem.seq:,}: ' if problem.seq else ''}{problem.sentence}")
    if len(report.problems) > 20:
        screen.print_line(f"and {len(report.problems) - 20} more (--json lists all)")
    said = "the journal is whole" if report.ok else "DAMAGED: copy the directory before you try anything else"
    if report.ok and report.archived:
        said = "what is here of the journal is whole"
    screen.verdict(report.ok, said)
    return errors.FINE if report.ok else errors.FOUND
