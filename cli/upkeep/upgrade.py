"""`lockstep upgrade`: the market of an earlier release, or of another capacity, in a new slice of this release."""

import contextlib
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cli import errors, screen
from cli.capacity import CapacityOptions, capacity_change
from cli.confirmation import confirm
from cli.errors import WrongUse
from cli.questions.reading import check_whole
from cli.upkeep.archive import keep_events_of_slice
from cli.warmup import ready
from directory.roll import Rolled
from directory.upgrade import Plan
from journal import Journal
from node.core.upgrade import upgrade as prepare
from notation.words import iso_time, time
from replay.rebuild import capacity_of


def upgrade(directory: Path, options: CapacityOptions, *, yes: bool, events: bool, as_json: bool) -> int:
    """`lockstep upgrade`: exit status 2 where the directory cannot be upgraded, 1 where the answer is no; then nothing
    has changed.

    ``events``: keep those of the closed slice where this release can replay it."""
    check_whole(directory)
    with Journal.open(directory, readonly=True) as journal:
        capacity = options.of_new(capacity_of(journal))
    ready(gateway=True)
    with contextlib.ExitStack() as stack:
        with screen.Bar("verifying") as bar:
            prepared = stack.enter_context(prepare(directory, capacity, progress=bar.to))
        plan = prepared.plan
        if plan is None:
            return _nothing_to_do(directory, as_json=as_json)
        if not as_json:
            _show(plan, events=events)
        if not yes:
            _confirm(plan, as_json=as_json)
        with screen.Bar("beginning the slice"):
            rolled = prepared.begin()
    for note in rolled.notes:
        screen.notice(f"note: {note}")
    if as_json:
        screen.print_json(_facts(directory, plan, rolled))
    else:
        _show_done(plan, rolled)
    return keep_events_of_slice(directory, plan.slice_number) if events and plan.re_executed else errors.FINE


def _nothing_to_do(directory: Path, *, as_json: bool) -> int:
    if as_json:
        screen.print_json(_facts(directory, None, None))
    else:
        screen.print_line(f"nothing to do: {directory} has the rules, form and capacity of this release already")
    return errors.FINE


def _confirm(plan: Plan, *, as_json: bool) -> None:
    """Ask on a terminal. Raises WrongUse where there is none, CheckFailed where the answer is no (status 1, as for
    `admin emergency-close`)."""
    if not sys.stdin.isatty():
        if as_json:
            screen.print_json(_facts(Path(plan.directory), plan, None))
        raise WrongUse(f"nothing was changed; give --yes to upgrade {plan.directory}")
    confirm("Type yes to upgrade:", "nothing was changed")


def _show(plan: Plan, *, events: bool) -> None:
    market = (
        screen.counted(plan.open_orders, "open order"),
        screen.counted(plan.participants, "participant"),
        *(() if plan.users is None else (screen.counted(plan.users, "user"),)),
        f"{screen.count(plan.orders_accepted)} orders accepted",
        screen.counted(plan.trades, "trade"),
    )
    screen.facts(
        [
            ("slice", f"{plan.slice_number}, which is closed; {plan.slice_number + 1} begins"),
            ("rules version", _change(plan.rules_before, plan.rules)),
            ("capacity", capacity_change(plan.capacity_before, plan.capacity) or "as before"),
            ("journal id", plan.journal_id + ("" if plan.has_own_id else " (stays the one derived from its genesis)")),
            ("last command", f"{screen.count(plan.last_seq)}, at {time(plan.time_ns)}"),
            ("goes on", ", ".join(market)),
            ("verified", plan.verified),
            ("events", _events(plan, keep=events)),
        ],
        title=f"upgrade of {plan.directory}",
    )
    for sentence in (*plan.changes, *plan.notes):
        screen.print_line(f"- {sentence}")
    screen.print_line(
        "The closed slice stays, read-only. Copy the directory first to be able to go back (docs/UPGRADE.md)."
    )


def _change(before: int, after: int) -> str:
    return f"{after}, as before" if before == after else f"{before} -> {after}"


def _events(plan: Plan, *, keep: bool) -> str:
    """Sentence on the events of the slice that is closed."""
    if plan.re_executed and keep:
        return f"those of slice {plan.slice_number} are kept beside it"
    if plan.re_executed:
        return f"this release can replay them; `lockstep journal keep-events {plan.directory}` keeps them beside it"
    return (
        f"this release cannot replay those of slice {plan.slice_number}, and they are not kept unless the release that "
        "wrote it kept them; its commands can always be read"
    )


def _show_done(plan: Plan, rolled: Rolled) -> None:
    screen.print_line(
        f"slice {rolled.number} begins after command {screen.count(rolled.seq)}, with an image of "
        f"{screen.size(rolled.image_bytes)}; slice {plan.slice_number} is closed. Start the node as before"
    )


def _facts(directory: Path, plan: Plan | None, rolled: Rolled | None) -> dict[str, Any]:
    """The object for programs. plan: None where there is nothing to do. rolled: None where nothing was changed."""
    told: dict[str, Any] | None = None
    if plan is not None:
        told = asdict(plan)
        told["time"] = iso_time(told.pop("time_ns"))
        told.pop("directory")
    return {
        "directory": str(directory),
        "upgraded": rolled is not None,
        "slice": None if rolled is None else rolled.number,
        "size_bytes": None if rolled is None else rolled.image_bytes,
        "plan": told,
    }
