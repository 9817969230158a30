"""Screen for investigators: `lockstep inspect`."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from cli import errors, screen
from cli.errors import WrongUse
from cli.inspect.view import texts_of, view
from cli.interrupts import Terminated
from cli.proofs.parting import Closer, of_two
from cli.questions.reading import check_whole, note_day
from cli.questions.tokens import TokensBeside
from cli.warmup import ready
from replay.compare import CompareReport
from replay.compare import compare as compare_directories
from replay.times import seq_at
from replay.walk import Walk


def inspect(directory: Path, other: Path | None, at: str | None, *, as_json: bool) -> int:
    """`lockstep inspect`: the screen, or with ``as_json`` what it would show at first."""
    inspector: Any = None if as_json else _inspector()
    directories = [directory] if other is None else [directory, other]
    for each in directories:
        check_whole(each)
        if seq_at(each, None) == 0:
            raise WrongUse(f"the journal of {each} is empty, so there is nothing to inspect yet")
    ready()
    difference = None if other is None else _difference(directory, other)
    if at is not None:
        seq = max(seq_at(directory, at), 1)
        note_day(directory, at)
    elif difference is not None:
        seq = difference[0]
    else:
        seq = seq_at(directory, None)
    if as_json:
        for each in directories:
            walk = Walk(each, ready)
            facts = view(walk.at(seq))
            for note in walk.notes:
                screen.notice(f"note: {note}")
            told = {key: value for key, value in facts.items() if key not in ("names", "time_ns", "symbols")}
            screen.print_json(told | {"tokens": TokensBeside(each).pairs(texts_of(facts))})
        return errors.FINE
    for name in ("COLUMNS", "LINES"):  # of a shell that exports them: textual would keep that size in a resized window
        os.environ.pop(name, None)
    app = inspector(directories, seq, difference=difference, colored=screen.is_colored(sys.stdout))
    app.run()
    if app.ended_by == signal.SIGTERM:
        raise Terminated
    return errors.FINE


def _inspector() -> Any:
    """The screen's class. Raises WrongUse where it cannot be shown."""
    if not (sys.stdin.isatty() and screen.is_live(sys.stdout)):
        raise WrongUse(
            "inspect is a screen and needs a terminal for input and output; run it without a pipe or redirection, or "
            "give --json for what it would show"
        )
    try:
        from cli.inspect.terminal import Inspector
    except ImportError as error:
        if not (error.name or "").startswith("textual"):
            raise
        raise WrongUse(
            "the screen needs the package textual, which is not installed: pip install 'lockstep[inspect]'"
        ) from error
    return Inspector


def _difference(a: Path, b: Path) -> tuple[int, str]:
    """The first command at which two directories differ, and a sentence about it; their common end if they do not."""
    with screen.Bar("comparing") as bar:
        report = compare_directories(a, b, state=False, progress=bar.to)
    if report.command is not None:
        return report.command.seq, f"the first command that differs is {report.command.seq:,}"
    with screen.Bar("looking for where they part") as bar:
        found = of_two((a, b), report, Closer(state=True), bar.to)
    parted = found.states.parted if found.states is not None else None
    if parted is not None:
        parts = ", ".join(parted.parts)
        return parted.seq, f"the states part after command {parted.seq:,}, in {parts}"
    return _by_record(report)


def _by_record(report: CompareReport) -> tuple[int, str]:
    """Place and sentence where states are equal, or were not compared."""
    if report.digest is not None:
        seq = report.digest.first_seq
        return seq, f"the recorded events of the block from command {seq:,} differ, and the states before it are equal"
    end = max(report.seq, 1)
    if report.prefix_of:
        return end, f"no difference: both are equal up to command {end:,}, where one of them ends"
    return end, f"no difference: both are equal up to their last command, {end:,}"
