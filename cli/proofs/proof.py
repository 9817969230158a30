"""Verification of journals: `lockstep verify` and `lockstep compare`."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cli import errors, screen
from cli.errors import WrongUse
from cli.options import EngineChoice
from cli.proofs import parting
from cli.proofs.parting import Closer, Found
from cli.questions.reading import check_whole
from cli.warmup import ready
from notation.objects import command_object, event_object
from notation.words import price
from replay.audit import audit
from replay.compare import CompareReport
from replay.compare import compare as compare_directories
from replay.difference import EventDifference
from replay.rebuild import rebuild
from replay.verify import VerifyReport
from replay.verify import verify as verify_directory


def verify(
    directory: Path, engine: EngineChoice, workers: int, from_seq: int | None, to_seq: int | None, *, as_json: bool
) -> int:
    """`lockstep verify`: exit status 1 if a digest differs or is missing before the end, or something is damaged."""
    with errors.finding():
        check_whole(directory)
    ready()
    with errors.finding(), screen.Bar(f"verifying with the {engine.value} engine") as bar:
        report = verify_directory(
            directory, engine=engine.value, workers=workers, from_seq=from_seq, to_seq=to_seq, progress=bar.to
        )
    parted = None
    if report.difference is not None and engine is EngineChoice.reference:
        with screen.Bar("looking for the event") as bar:
            parted = audit(directory, to_seq=report.difference.last_seq, progress=bar.to).difference
    if as_json:
        screen.print_json(_verified_facts(directory, report, engine, parted))
    else:
        if widened := _widened(report, from_seq, to_seq):
            screen.notice(f"note: {widened}")
        _show(directory, report, engine, parted)
    return errors.FINE if report.ok else errors.FOUND


def _show(directory: Path, report: VerifyReport, engine: EngineChoice, parted: EventDifference | None) -> None:
    screen.facts(
        [
            ("commands", f"{screen.count(report.commands)} ({_span(report.from_seq, report.to_seq)})"),
            *_slices_verified(report),
            ("blocks", screen.count(report.blocks)),
            ("events", screen.count(report.events)),
            ("checkpoints", f"{report.checkpoints_compared} compared part by part"),
            ("engine", f"{engine.value}, {screen.counted(report.workers, 'worker')}"),
            ("time", f"{report.seconds:.2f} s, {screen.count(round(report.commands_per_second))} commands/s"),
        ]
    )
    for note in report.notes:
        screen.print_line(f"note: {note}")
    for sentence in report.damage:
        screen.print_line(f"damaged: {sentence}")
    if report.missing:
        listed = " and ".join(screen.count(seq) for seq in report.missing[:2])
        screen.print_line(
            f"no digest is recorded for {screen.counted(len(report.missing), 'block')}, first at {listed}"
        )
    for difference in report.differences[:1]:
        screen.print_line(
            f"first difference: commands {difference.first_seq:,} to {difference.last_seq:,}, {difference.part}"
        )
        screen.facts([("recorded", difference.expected.hex()), ("replayed", difference.got.hex())])
    if parted is not None:
        event = _parted_facts(directory, parted)
        screen.print_line(
            f"the engines differ from event {parted.index + 1} of command {parted.seq:,}: {_fields(parted.fields)}"
        )
        sides = (("kernel", event["kernel"]), ("reference", event["reference"]))
        screen.facts([(name, "no further event" if side is None else _in_words(side)) for name, side in sides])
    said = (
        "verified: every digest agrees with the record" if report.ok else "NOT VERIFIED: do not trade on this directory"
    )
    screen.verdict(report.ok, said)


def _slices_verified(report: VerifyReport) -> list[tuple[str, str]]:
    """The line about slices, where there are several."""
    if report.slices == 1 and not report.images_compared:
        return []
    ends = f"{report.images_compared} end in the image that the next one starts from"
    return [("slices", f"{report.slices}, {ends}")]


def _verified_facts(
    directory: Path, report: VerifyReport, engine: EngineChoice, parted: EventDifference | None
) -> dict[str, Any]:
    """A report for programs. Digests are hexadecimal digits."""
    facts = {"ok": report.ok, "engine": engine.value} | asdict(report)
    elapsed = {"elapsed_s": round(facts.pop("seconds"), 6), "commands_per_s": round(report.commands_per_second)}
    event = _parted_facts(directory, parted) if parted is not None else None
    return facts | elapsed | {"event_difference": event}


def _span(first: int, last: int) -> str:
    """Range of commands, in words. An empty one: none yet."""
    return f"{screen.count(first)} to {screen.count(last)}" if first <= last else "none yet"


def _widened(report: VerifyReport, from_seq: int | None, to_seq: int | None) -> str:
    """Sentence where more was verified than ``from_seq`` to ``to_seq``, the options; else ""."""
    is_wider = (from_seq is not None and report.from_seq < from_seq) or (to_seq is not None and report.to_seq > to_seq)
    if not is_wider:
        return ""
    return (
        f"commands {_span(report.from_seq, report.to_seq)} were verified: a verification begins at a checkpoint "
        "or with a slice, and ends with a block"
    )


def _parted_facts(directory: Path, parted: EventDifference) -> dict[str, Any]:
    return _difference_facts(directory, parted, ("kernel", "reference"))


def _difference_facts(directory: Path, parted: EventDifference, names: tuple[str, str]) -> dict[str, Any]:
    """First event that differs, with both sides under ``names``."""
    engine = rebuild(directory, at=parted.seq, on_divergence="note").engine
    known, now_ns = engine.directory, engine.now_ns
    rows = (parted.a, parted.b)
    sides = [None if row is None else event_object(_one(row), known, now_ns) for row in rows]
    found = {"seq": parted.seq, "index": parted.index, "fields": _unlike(*sides)}
    return found | dict(zip(names, sides, strict=True))


def _unlike(a: dict[str, Any] | None, b: dict[str, Any] | None) -> list[str]:
    """Keys in which two objects differ; none if one of them is missing."""
    return [key for key in a if a[key] != b[key]] if a is not None and b is not None else []


def _one(row: NDArray[Any]) -> "np.void":
    single: np.void = np.atleast_1d(row)[0]
    return single


def compare(
    directory_a: Path,
    directory_b: Path | None,
    engine: EngineChoice,
    *,
    as_json: bool,
    ask: Closer = Closer(),  # noqa: B008 -- it is frozen
    on_difference: Callable[[CompareReport], object] = lambda _: None,
) -> int:
    """`lockstep compare`: exit status 1 if the two differ; a shorter journal that equals the beginning of the other
    does not. ``on_difference``: gets the report of two directories that differ, once it is shown.
    """
    parting.check_use(directory_b, ask)
    if directory_b is None:
        return _compare_one(directory_a, engine, ask, as_json=as_json)
    if ask.asked and (directory_a.is_file() or directory_b.is_file()):
        raise WrongUse("a bundle has no whole journal; --state and --outcome take directories")
    if directory_a.is_file() and directory_b.is_file():
        from cli.proofs.bundle_report import compare as of_bundles

        return of_bundles(directory_a, directory_b, as_json=as_json)
    for one, other in ((directory_a, directory_b), (directory_b, directory_a)):
        if one.is_file() and other.is_dir():
            raise WrongUse(f"{one} is a file and {other} a directory; give two directories, or two bundles")
    with errors.finding():
        check_whole(directory_a)
        check_whole(directory_b)
    ready()
    with errors.finding(), screen.Bar("comparing") as bar:
        report = compare_directories(
            directory_a, directory_b, state=not ask.state, engine=engine.value, progress=bar.to
        )
    found = Found()
    if ask.asked:
        with errors.finding(), screen.Bar("looking for where they part") as bar:
            found = parting.of_two((directory_a, directory_b), report, ask, bar.to)
    if as_json:
        facts = _compared_facts(directory_a, report) | parting.facts_of(found, directory_a)
        screen.print_json(facts | {"same": report.same and found.same, "differs": report.differs or not found.same})
    else:
        _show_compared(directory_a, directory_b, report, with_state=not ask.state)
        parting.show(found, directory_a)
        differs = not found.same and not report.differs
        screen.verdict(report.same and found.same, "DIFFERENT" if differs else _compared_verdict(report))
    if report.differs:
        on_difference(report)
    return errors.FINE if report.same and found.same else errors.FOUND


def _compare_one(directory: Path, engine: EngineChoice, ask: Closer, *, as_json: bool) -> int:
    """One directory: its checkpoints and a replay, or two engines or releases on its journal."""
    with errors.finding():
        check_whole(directory)
    ready()
    with errors.finding(), screen.Bar("looking for where they part") as bar:
        found = parting.of_one(directory, engine, ask, bar.to)
    states = found.states
    assert states is not None, "one directory has its states compared"
    if as_json:
        first, last = states.from_seq, states.to_seq
        report = CompareReport(last, first, last, first, last, 0, engine=engine.value, notes=states.notes)
        facts = _compared_facts(directory, report) | parting.facts_of(found, directory)
        screen.print_json(facts | {"same": found.same, "differs": not found.same})
    else:
        parting.show(found, directory)
        screen.verdict(found.same, "equal" if found.same else "DIFFERENT")
    return errors.FINE if found.same else errors.FOUND


def _compared_facts(directory_a: Path, report: CompareReport) -> dict[str, Any]:
    facts = {"same": report.same, "differs": report.differs} | asdict(report)
    facts.pop("event")
    facts |= {"state_seq": report.state_seq or None, "prefix_of": report.prefix_of or None}
    if report.digest is not None:
        facts["digest"]["agrees"] = report.digest.agrees or None
    if report.command is not None:
        # The definitions before the difference are the same in both.
        names = rebuild(directory_a, at=report.command.seq - 1, on_divergence="note").engine.directory
        seq, rows = report.command.seq, (_one(report.command.a), _one(report.command.b))
        a, b = (command_object([row], seq, names, 0, raw=[row.tobytes().hex()]) for row in rows)
        facts["command"] = {"seq": seq, "fields": _unlike(a, b), "a": a, "b": b}
    event = report.event
    facts["event_difference"] = None if event is None else _difference_facts(directory_a, event, ("a", "b"))
    return facts


def _in_words(facts: dict[str, Any]) -> str:
    """Object of a row on one line, without empty values."""
    said = {
        key.removesuffix("_e4"): price(value) if key.endswith("_e4") else value for key, value in facts.items() if value
    }
    return ", ".join(f"{key} {value}" for key, value in said.items() if key not in ("seq", "raw"))


def _fields(keys: Sequence[str]) -> str:
    """Keys that differ, in words; the bytes of the row only if nothing else differs."""
    named = [key.removesuffix("_e4") for key in keys if key != "raw"]
    return ", ".join(named) or "places that its kind does not use"


def _show_compared(directory_a: Path, directory_b: Path, report: CompareReport, *, with_state: bool) -> None:
    screen.facts(
        [
            ("A", f"{directory_a}, commands {_span(report.first_seq_a, report.last_seq_a)}"),
            ("B", f"{directory_b}, commands {_span(report.first_seq_b, report.last_seq_b)}"),
            ("compared", f"{_compared_span(report)}, {screen.counted(report.digests_compared, 'event digest')}"),
            *([("state", _state_compared(report))] if with_state else []),
        ]
    )
    for note in report.notes:
        screen.print_line(f"note: {note}")
    for sentence in report.damage:
        screen.print_line(f"damaged: {sentence}")
    if report.command is not None:
        facts = _compared_facts(directory_a, report)["command"]
        screen.print_line(f"first difference: command {report.command.seq:,}, in {_fields(facts['fields'])}")
        screen.facts([("A", _in_words(facts["a"])), ("B", _in_words(facts["b"]))])
    if report.digest is not None:
        digest = report.digest
        screen.print_line(f"first difference: the events of commands {digest.first_seq:,} to {digest.last_seq:,}")
        screen.facts([("A", digest.a.hex()), ("B", digest.b.hex())])
        if digest.replayed is not None:
            right = f"as {digest.agrees.upper()} recorded" if digest.agrees else "as neither recorded"
            screen.print_line(f"a replay here with the {report.engine} engine gives {digest.replayed.hex()}, {right}")
    if report.event is not None:
        facts = _compared_facts(directory_a, report)["event_difference"]
        screen.print_line(
            f"first difference: event {report.event.index + 1} of command {screen.count(report.event.seq)}"
        )
        sides = [(name.upper(), facts[name]) for name in ("a", "b")]
        screen.facts([(name, "no further event" if side is None else _in_words(side)) for name, side in sides])
    if report.parts:
        screen.print_line(
            f"first difference: the state after command {report.state_seq:,}, in {', '.join(report.parts)}"
        )
    for name, unlike in (("A", report.unlike_a), ("B", report.unlike_b)):
        if unlike:
            listed = " and ".join(unlike).replace("_", " ")
            moment = f"after command {screen.count(report.state_seq)}"
            screen.print_line(f"{moment}, {name} has other {listed} than the reference engine")
    for sentence in report.diverged:
        screen.print_line(sentence)
    if report.prefix_of:
        shorter, longer = ("A", "B") if report.prefix_of == "a" else ("B", "A")
        behind = abs(report.last_seq_a - report.last_seq_b)
        screen.print_line(f"{shorter} equals the beginning of {longer}, {screen.counted(behind, 'command')} behind")


def _compared_span(report: CompareReport) -> str:
    """Range of commands that both have and that was compared, in words."""
    first = max(report.first_seq_a, report.first_seq_b)
    return f"commands {_span(first, report.seq)}" if first <= report.seq else "no command"


def _compared_verdict(report: CompareReport) -> str:
    """Sentence on a comparison; damage ends it, and is no difference."""
    if report.apart:
        return "DIFFERENT"
    if report.differs:
        return "NOT RIGHT: both are equal, but a replay differs from them"
    if not report.damage:
        return "equal as far as both go"
    return f"NOT COMPARED TO THE END: equal up to command {screen.count(report.seq)}, then damage"


def _state_compared(report: CompareReport) -> str:
    if not report.state_seq:
        return "not compared"
    judged = ", with the reference engine's open orders and instruments too" if report.engine == "reference" else ""
    return f"compared at {screen.count(report.state_seq)}{judged}"
