"""Acceptance scenarios from the command line, with expected and actual events side by side for a failure."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from cli import errors, screen
from cli.errors import WrongUse
from cli.options import EngineOrBoth
from cli.warmup import ready
from engine.capacity import Capacity
from engine.interface import EngineKind, new_engine
from notation.parse import Line, ScenarioError, parse
from notation.run import CommandOutcome, Outcome, beside, is_test, run_scenario

ENGINES: Final[tuple[EngineKind, ...]] = ("kernel", "reference")
#: Enough for a file written by hand; the defaults of a node would only slow the start of each file.
_CAPACITY = Capacity(orders_max=1 << 16, ids_max=1 << 18)


def scenario(paths: list[Path], engine: EngineOrBoth, *, as_json: bool) -> int:
    """`lockstep scenario`: exit status 1 if a scenario fails, 2 if a file is no scenario."""
    kinds: list[EngineKind] = [kind for kind in ENGINES if engine.value in (kind, "both")]
    files = list(_files(paths))
    if "kernel" in kinds:
        ready(often=True)
    passed = failed = unread = 0
    with screen.Bar("running scenarios") as bar:
        for done, file in enumerate(files):
            bar.to(done, len(files))
            try:
                lines = read_scenario(file)
                outcomes = {
                    kind: run_scenario(lines, new_engine(kind, _CAPACITY), compare=is_test(lines), name=str(file))
                    for kind in kinds
                }
            except (ScenarioError, WrongUse, OSError) as error:
                # A file that cannot be read does not keep others from running.
                unread += 1
                _print_unread(file, errors.sentence(error)[0], as_json)
                continue
            if all(outcome.passed for outcome in outcomes.values()) and _same(outcomes):
                passed += 1
            else:
                failed += 1
            _print_result(file, outcomes, as_json)
    if not as_json:
        parts = [
            f"{passed} passed",
            *([f"{failed} failed"] if failed else []),
            *([f"{unread} could not be read"] if unread else []),
        ]
        screen.verdict(not failed and not unread, ", ".join(parts))
    return errors.FOUND if failed else errors.WRONG if unread else errors.FINE


def read_text(path: Path) -> str:
    """Text of a file. Raises WrongUse if it is a device or not UTF-8, and OSError."""
    if not (path.is_file() or path.is_fifo() or path.is_dir() or path.samefile(os.devnull)):
        raise WrongUse(f"{path} is a device; name a scenario or LOBSTER file")
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise WrongUse(
            f"{path} is not text: byte {error.start} is not UTF-8; name a scenario or LOBSTER file"
        ) from error


def read_scenario(path: Path) -> list[Line]:
    """Commands of a scenario file. Raises ScenarioError for a fault or no command, and what ``read_text`` raises."""
    with screen.Bar(f"reading {path}") as bar:
        lines = parse(read_text(path), str(path), bar.to)
    if not lines:
        raise ScenarioError(f"{path} has no command; name a file of commands (rulebook section 12)")
    return lines


def _files(paths: list[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            found = sorted(path.rglob("*.txt"))
            if not found:
                raise WrongUse(f"there is no *.txt in {path}; name a scenario file or a folder of them")
            yield from found
        else:
            path.stat()
            yield path


def _same(outcomes: dict[EngineKind, Outcome]) -> bool:
    """True if all engines gave the same events, also where the file expects none."""
    answers = [[command.got for command in outcome.commands] for outcome in outcomes.values()]
    return all(answer == answers[0] for answer in answers)


def _print_unread(file: Path, why: str, as_json: bool) -> None:
    if as_json:
        screen.print_json({"file": str(file), "passed": False, "engines_agree": None, "failures": [], "error": why})
    else:
        screen.notice(f"lockstep: {why}")


def _print_result(file: Path, outcomes: dict[EngineKind, Outcome], as_json: bool) -> None:
    same = _same(outcomes)
    if as_json:
        failures = [
            {"engine": kind} | _facts(command) for kind, outcome in outcomes.items() for command in _failed(outcome)
        ]
        agreed = same if len(outcomes) > 1 else None
        told = {"file": str(file), "passed": same and not failures, "engines_agree": agreed}
        screen.print_json(told | {"failures": failures, "error": None})
        return
    if same and all(outcome.passed for outcome in outcomes.values()):
        screen.print_line(f"ok      {file}")
        return
    screen.print_line(f"FAILED  {file}" + ("" if same else "  (the engines answer differently)"))
    shown = outcomes if not same else dict(list(outcomes.items())[:1])
    for kind, outcome in shown.items():
        for command in _failed(outcome)[:1] or _parting(outcomes)[:1]:
            title = f"line {command.line.number}: {command.line.text}" + ("" if same else f"  [{kind}]")
            rows = [(want, got, "" if agrees else "<--") for want, got, agrees in beside(command)]
            screen.table(["expected", "got", ""], rows, title=title)


def _failed(outcome: Outcome) -> list[CommandOutcome]:
    return [command for command in outcome.commands if not command.passed]


def _parting(outcomes: dict[EngineKind, Outcome]) -> list[CommandOutcome]:
    """Commands of the first engine for which the others gave other events."""
    first, *others = outcomes.values()
    return [
        command
        for at, command in enumerate(first.commands)
        if any(other.commands[at].got != command.got for other in others)
    ]


def _facts(command: CommandOutcome) -> dict[str, Any]:
    return {"line": command.line.number, "command": command.line.text, "expected": command.expected, "got": command.got}
