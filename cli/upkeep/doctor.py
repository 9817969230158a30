"""`lockstep doctor [DIR]`: checks of this machine and a data directory, with advice.

Each check gives one finding; none of them writes to the directory.
"""

import os
import shutil
import stat
import sys
import time as clock
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from importlib.metadata import PackageNotFoundError, requires
from importlib.metadata import version as version_of
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from attestation.beside import check_beside
from attestation.errors import AttestationError
from checkpoints import CheckpointError, CheckpointInfo, CheckpointStore
from cli import errors, screen
from cli.errors import WrongUse
from cli.upkeep.checkpoint import holds_streams
from directory.bundle import bundles
from directory.divergence import advice, read_mark
from directory.recover import usable
from engine.bounds import TIME_NS_MAX
from engine.records import RULES_VERSION
from gateway.login_log import LoginFile, checked_logins
from journal import Journal, JournalBusy, JournalError
from journal.lock import writer_pid
from journal.quarantine import Quarantine, quarantines
from notation.words import time
from replay.chain import check_chain
from replay.errors import Divergence, ReplayError
from replay.quarantined import participants_in
from replay.rebuild import begins, capacity_of, is_of_another_release, journal_of, rebuild

_FREE_BYTES_MIN: Final = 1 << 30
_FREE_SHARE_MIN: Final = 0.1
_PARTS: Final = (
    "engine", "journal", "checkpoints", "reports", "tape", "wire", "notation", "lobster", "replay",
    "sequencer", "directory", "exports", "attestation", "incidents", "marketdata", "gateway", "client",
    "replication", "node", "load", "cli",
)  # fmt: skip
_RELEASED_NS: Final = 1_767_225_600 * 1_000_000_000  # 2026-01-01, before the first release: a clock before it is wrong


class Grade(StrEnum):
    """Severity of a finding."""

    good = "ok"
    notice = "note"
    bad = "WRONG"


@dataclass(frozen=True)
class Finding:
    """Result of one check, and what to do about it ("" if nothing)."""

    name: str
    grade: Grade
    what: str
    then: str = ""


def doctor(directory: Path | None, *, as_json: bool) -> int:
    """Run the checks. Exit status 1 if something is wrong."""
    if directory is not None and not directory.is_dir():
        raise WrongUse(f"{directory} is {'no directory' if directory.exists() else 'not there'}; check the path")
    checks: list[Callable[[], Finding]] = [_python, _libraries, _folders, _clock, _kernels]
    if directory is not None:
        checks += [partial(_space, directory), partial(_modes, directory), partial(_writer, directory)]
    findings = [check() for check in checks]
    if directory is not None:
        with screen.Bar(f"examining {directory}") as bar:
            findings += _node(directory, bar)
    return report(findings, as_json=as_json)


def report(findings: list[Finding], *, as_json: bool) -> int:
    """Print findings, then what to do. Exit status 1 if something is wrong."""
    wrong = [finding for finding in findings if finding.grade is Grade.bad]
    if as_json:
        listed = [{"name": f.name, "grade": f.grade.name, "what": f.what, "then": f.then or None} for f in findings]
        screen.print_json({"ok": not wrong, "findings": listed})
    else:
        screen.table(["", "what", "finding"], [(f.grade.value, f.name, f.what) for f in findings])
        for finding in findings:
            if finding.then:
                screen.print_line(f"{finding.name}: {finding.then}")
        screen.verdict(not wrong, _verdict(findings))
    return errors.FOUND if wrong else errors.FINE


def _verdict(findings: list[Finding]) -> str:
    """Last line of the report: names of the failed checks, and of those with a note."""
    wrong, noted = (
        [finding.name for finding in findings if finding.grade is grade] for grade in (Grade.bad, Grade.notice)
    )
    if wrong:
        return f"wrong: {', '.join(wrong)}"
    return f"nothing is wrong; see the note on {' and '.join(noted)}" if noted else "nothing is wrong"


def _python() -> Finding:
    running = f"Python {sys.version.split()[0]}"
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Finding(
            "python", Grade.bad, running, "lockstep is made for Python 3.11 to 3.13: run `make clean` and `make setup`"
        )
    if sys.flags.optimize:
        return Finding("python", Grade.bad, f"{running} with -O", "start it without -O and without PYTHONOPTIMIZE")
    return Finding("python", Grade.good, running)


def _libraries() -> Finding:
    """Compare the installed libraries with the project's pins."""
    wrong = []
    pins = [line.split("==") for line in requires("lockstep") or () if "==" in line and "extra" not in line]
    for name, pinned in pins:
        try:
            found = version_of(name)
        except PackageNotFoundError:
            found = "missing"
        if found != pinned:
            wrong.append(f"{name} {found} instead of {pinned}")
    if wrong:
        return Finding("libraries", Grade.bad, ", ".join(wrong), "run `make setup`, which installs requirements.lock")
    return Finding("libraries", Grade.good, f"{len(pins)} as pinned")


def _folders() -> Finding:
    """Look for another package that shadows one of our folders (ADR 1)."""
    root = Path(__file__).resolve().parent.parent.parent
    strange = []
    for part in _PARTS:
        spec = find_spec(part)
        # A folder without __init__.py has places and no origin.
        places = list(spec.submodule_search_locations or ()) if spec is not None else []
        if not places:
            strange.append(f"{part} is missing")
        elif spec is None or not spec.origin or Path(spec.origin).resolve().parent.parent != root:
            strange.append(f"{part} comes from {places[0]}, and not from {root / part}")
    if strange:
        return Finding(
            "folders", Grade.bad, "; ".join(strange), "install lockstep into an environment of its own: `make setup`"
        )
    return Finding("folders", Grade.good, f"{len(_PARTS)} of one release")


def _clock() -> Finding:
    now_ns = clock.time_ns()
    if not _RELEASED_NS <= now_ns <= TIME_NS_MAX:
        return Finding(
            "clock", Grade.bad, time(max(now_ns, 0)), "set the machine's clock: commands would bear this time"
        )
    return Finding("clock", Grade.good, f"{time(now_ns).split('.')[0]}")


def _kernels() -> Finding:
    import engine
    from engine.jit import INTERPRETED
    from engine.kernel_cache import cache_directory

    if INTERPRETED:
        return Finding("kernels", Grade.notice, "interpreted, a thousand times slower", "unset NUMBA_DISABLE_JIT")
    if not engine.is_compiled():
        return Finding("kernels", Grade.notice, "not compiled yet", "run `lockstep warmup`, or the next command will")
    place = cache_directory()
    if not os.access(place, os.W_OK):
        return Finding(
            "kernels",
            Grade.notice,
            f"compiled; {place} cannot be written",
            "a new release cannot compile its own: set LOCKSTEP_CACHE_DIR to a directory that can",
        )
    return Finding("kernels", Grade.good, f"compiled in {place}")


def _space(directory: Path) -> Finding:
    usage = shutil.disk_usage(directory)
    said = f"{screen.size(usage.free)} free of {screen.size(usage.total)}"
    if usage.free < min(_FREE_BYTES_MIN, usage.total * _FREE_SHARE_MIN):
        return Finding(
            "disk", Grade.bad, said, f"free some space on the disk of {directory}: a full one stops the node"
        )
    if not os.access(directory, os.W_OK):
        return Finding(
            "disk", Grade.notice, f"{directory} cannot be written", "it can be read and verified; a node needs to write"
        )
    return Finding("disk", Grade.good, said)


def _modes(directory: Path) -> Finding:
    """Check that only the owner may use the files: a journal holds password hashes and every order."""
    wide = [path for path in (directory, *sorted(directory.rglob("*"))) if _is_open_to_others(path)]
    if wide:
        return Finding(
            "modes",
            Grade.notice,
            f"others may use {screen.counted(len(wide), 'file or folder')}, the first is {wide[0]}",
            f"run `chmod -R go= {directory}`",
        )
    return Finding("modes", Grade.good, "for the owner only")


def _is_open_to_others(path: Path) -> bool:
    try:
        mode = path.lstat().st_mode
    except OSError:
        return False
    return not stat.S_ISLNK(mode) and bool(mode & (stat.S_IRWXG | stat.S_IRWXO))


def _writer(directory: Path) -> Finding:
    pid = writer_pid(directory)
    if pid is None:
        return Finding("writer", Grade.good, "not in use")
    return Finding(
        "writer",
        Grade.notice,
        f"process {pid} writes it",
        "`lockstep run` is refused meanwhile; reading and checkpoints work",
    )


def _node(directory: Path, bar: screen.Bar) -> Iterator[Finding]:
    """Check journal, checkpoints and the end of the record; each check needs the one before."""
    try:
        with Journal.open(directory, readonly=True) as journal:
            known = journal.info()
        report = check_chain(directory, progress=bar.to)
    except JournalBusy as error:
        yield Finding("journal", Grade.notice, str(error))
        return
    except (JournalError, OSError) as error:
        yield Finding(
            "journal", Grade.bad, errors.sentence(error)[0], "check the path, or restore the directory from a copy"
        )
        return
    if not report.ok:
        first, more = report.problems[0].sentence, len(report.problems) - 1
        then = "copy the directory; `lockstep journal check` lists all, `lockstep commands` prints the undamaged part"
        said = f"{first} (and {screen.counted(more, 'further problem')})" if more else first
        yield Finding("journal", Grade.bad, said, then)
        yield from _evidence(directory)
        return
    yield Finding(
        "journal",
        Grade.good,
        f"{screen.counted(report.commands, 'command')} in {screen.counted(report.blocks, 'block')}, all whole",
    )
    yield from _evidence(directory)
    yield from _quarantines(directory)
    yield from _divergence(directory)
    for sentence in report.archived:
        yield Finding("slices", Grade.notice, sentence, "a start needs none of them; commands on what is in them do")
    foreign = [str(version) for version in known.rules_versions if version != RULES_VERSION]
    if foreign:
        what = f"written under rules version {', '.join(foreign)}; this release plays {RULES_VERSION}"
        yield Finding("rules", Grade.bad, what, "use the release that wrote it")
        return
    yield from _checkpoints(directory)
    yield _tail(directory, bar)


def _evidence(directory: Path) -> Iterator[Finding]:
    """Check what lies beside the journal for an investigator: who was logged in when, and attestations of slices."""
    try:
        with Journal.open(directory, readonly=True) as journal:
            files = checked_logins(directory / "logins", journal.journal_id)
        yield _logins(directory, files)
        yield _attestations(directory)
    except (JournalError, OSError) as error:
        yield Finding("evidence", Grade.notice, errors.sentence(error)[0], "repair the journal first")


def _logins(directory: Path, files: list[LoginFile]) -> Finding:
    """Judge the records of logins: whole, damaged or absent."""
    if wrong := [each for each in files if each.fault]:
        first, more = wrong[0], len(wrong) - 1
        also = f" (and {screen.counted(more, 'further file')})" if more else ""
        then = (
            f"`lockstep repair {directory} --from PATH` takes it from a copy of this directory; without one move it "
            "away: who was logged in then is not known, and the market needs none of it"
        )
        return Finding("logins", Grade.bad, f"{first.path} {first.fault}{also}", then)
    if not files:
        return Finding("logins", Grade.good, "none recorded")
    said = f"{screen.counted(sum(each.rows for each in files), 'record')} in {screen.counted(len(files), 'file')}"
    if cut := [each for each in files if each.is_cut]:
        then = "that record is left out; those before it are read"
        return Finding("logins", Grade.notice, f"{said}; the last of {cut[0].path} is cut short, as by a crash", then)
    return Finding("logins", Grade.good, f"{said}, whole")


def _attestations(directory: Path) -> Finding:
    """Judge the attestations beside closed slices as files; their content is for `lockstep attest verify`."""
    try:
        found = check_beside(directory)
    except AttestationError as error:
        return Finding("attestations", Grade.notice, f"not checked: {error}")
    if found.faults:
        more = len(found.faults) - 1
        also = f" (and {screen.counted(more, 'further fault')})" if more else ""
        then = (
            f"keep the directory as it is; `lockstep attest verify {directory}` says whether the journal is what was "
            f"signed, `lockstep repair {directory} --from COPY` takes an attestation that is damaged from a copy"
        )
        return Finding("attestations", Grade.bad, f"{found.faults[0]}{also}", then)
    if not found.signed:
        return Finding("attestations", Grade.good, "none")
    by = f", by {len(found.keys)} keys" if len(found.keys) > 1 else ""
    said = f"beside {len(found.signed)} of {screen.counted(found.closed, 'closed slice')}, each signed{by} and in order"
    if found.gaps:
        numbers = ", ".join(map(str, found.gaps))
        what = f"{said}; none beside slice {numbers}, though a slice behind has one"
        then = (
            f"`lockstep repair {directory} --from COPY` takes it from a copy that has it; else sign it with `lockstep "
            f"attest slices {directory} --key FILE`; `lockstep attest verify {directory}` says whether it is what the "
            "next one names as before it"
        )
        return Finding("attestations", Grade.notice, what, then)
    if found.begin_anew:
        numbers = ", ".join(map(str, found.begin_anew))
        what = f"{said}; that of slice {numbers} names none before it, so its root vouches for nothing before it"
        return Finding("attestations", Grade.notice, what, "keep the roots of the slices before it too")
    return Finding("attestations", Grade.good, said)


def _quarantines(directory: Path) -> Iterator[Finding]:
    """List the commands that were set aside when this node followed a new primary."""
    found, wrong = quarantines(directory)
    for sentence in wrong:
        yield Finding("quarantine", Grade.bad, sentence, "restore the file from a copy; it is in no journal")
    for each in found:
        epochs = (
            str(each.last_epoch) if each.first_epoch == each.last_epoch else f"{each.first_epoch} to {each.last_epoch}"
        )
        range_of = f" ({screen.count(each.first_seq)} to {screen.count(each.last_seq)})" if each.commands else ""
        yield Finding(
            "quarantine",
            Grade.notice,
            f"{each.name}: {screen.counted(each.commands, 'command')}{range_of} of epoch {epochs}, set aside "
            f"{time(each.time_ns).split('.')[0]} by {each.node}: {each.why}{_senders(directory, each)}",
            f"they are no part of the history; `lockstep commands {directory} --quarantine {each.name}` prints them",
        )


def _divergence(directory: Path) -> Iterator[Finding]:
    """Find the mark of a node that has diverged, and bundles of divergences."""
    mark = read_mark(directory)
    if mark is not None:
        yield Finding("divergence", Grade.bad, mark.sentence, advice(directory))
    for path in bundles(directory):
        yield Finding(
            "bundle", Grade.notice, f"{path.name}, written at a divergence", f"`lockstep doctor {path}` opens it"
        )


def _senders(directory: Path, quarantine: Quarantine) -> str:
    """The participants of a quarantine, as the end of a sentence; "" where they cannot be named."""
    try:
        names = participants_in(directory, quarantine.name) if quarantine.commands else []
    except (ReplayError, JournalError, CheckpointError):
        return ""
    return f"; from {', '.join(names)}" if names else ""


def _checkpoints(directory: Path) -> Iterator[Finding]:
    try:
        good, wrong = usable(directory)
    except CheckpointError as error:
        yield Finding("checkpoints", Grade.bad, str(error), "make it a folder that can be read, or move it away")
        return
    except ReplayError:
        yield Finding("checkpoints", Grade.notice, "not checked, since the journal cannot be replayed")
        return
    yield _usable(good, wrong)
    if good and holds_streams(directory):
        yield _streams(directory, good)


def _streams(directory: Path, good: list[CheckpointInfo]) -> Finding:
    """Find checkpoints without the users' streams: from one of them a node rebuilds the streams by a replay."""
    from gateway.ouch.outbox import OuchOutbox

    with_them = [info for info in good if info.holds(OuchOutbox.name, OuchOutbox.version)]
    if with_them and writer_pid(directory) is None:
        image = CheckpointStore(directory).load(with_them[0].path).projections[OuchOutbox.name]
        with journal_of(directory) as journal:
            changed = OuchOutbox.changed_files(directory, journal.journal_id, image.arrays)
        if changed:
            then = "no client receives such bytes: a start rebuilds the present day, and drops a past day"
            return Finding("streams", Grade.bad, "; ".join(changed), then)
    start = next((info.seq for info in with_them), 0)
    if start == good[0].seq:
        return Finding("streams", Grade.good, f"in the checkpoint at command {screen.count(start)}, the newest")
    named = ", ".join(screen.count(info.seq) for info in reversed(good) if info not in with_them)
    return Finding(
        "streams",
        Grade.notice,
        f"{len(good) - len(with_them)} of {screen.counted(len(good), 'checkpoint')} without the users' streams of this "
        f"release: {named}",
        f"the next start rebuilds the streams {begins(start)}, which takes as long as a replay from there; "
        f"run `lockstep admin checkpoint {directory}` on the running node to write one that has them",
    )


def _usable(good: list[CheckpointInfo], wrong: dict[Path, str]) -> Finding:
    if wrong:
        first = next(iter(wrong.values()))
        what = f"{len(wrong)} of {len(good) + len(wrong)} cannot be used: {first}"
        then = f"recovery starts {begins(good[0].seq if good else 0)}; `lockstep checkpoint create` takes a new one"
        # After an upgrade the checkpoints of the release before cannot be used, though nothing is damaged.
        grade = Grade.notice if all(map(is_of_another_release, wrong.values())) else Grade.bad
        return Finding("checkpoints", grade, what, then)
    return Finding("checkpoints", Grade.good, f"{len(good)}, {'all ' if len(good) > 1 else ''}good" if good else "none")


def _tail(directory: Path, bar: screen.Bar) -> Finding:
    """Try a recovery: newest checkpoint and tail, against the recorded digests."""
    try:
        with journal_of(directory) as journal:
            capacity_of(journal)
            empty = journal.last_seq == 0
        rebuilt = None if empty else rebuild(directory, progress=bar.to)
    except Divergence as error:
        return Finding(
            "recovery",
            Grade.bad,
            str(error),
            f"run `lockstep verify {directory} --engine reference`; do not trade on it",
        )
    except (ReplayError, JournalError, CheckpointError) as error:
        return Finding("recovery", Grade.bad, errors.sentence(error)[0], "see `lockstep journal check`")
    if rebuilt is None:
        return Finding("recovery", Grade.good, "empty: nothing to recover")
    rebuilt.engine.check()
    said = f"{begins(rebuilt.checkpoint_seq)} to {screen.count(rebuilt.seq)}, digests agree"
    if rebuilt.missing:
        what = f"{said}; {screen.counted(len(rebuilt.missing), 'block')} at the end without a digest, as after a crash"
        return Finding("recovery", Grade.notice, what, "the next start records the missing digests")
    return Finding("recovery", Grade.good, said)
