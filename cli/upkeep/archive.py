"""Upkeep of closed slices: `lockstep archive` and `lockstep journal keep-events`."""

import time
from dataclasses import asdict
from pathlib import Path

from cli import errors, screen
from cli.errors import WrongUse
from cli.questions.reading import check_whole
from cli.warmup import ready
from directory.archive import archive as archive_slices
from directory.keep_events import keep_events as keep_events_of
from engine.records import RULES_VERSION
from journal import Journal, JournalError
from journal.slices import places
from node.feeds.reader_images import bring_forward, needs
from notation.words import Fault, duration_ns
from replay.errors import ReplayError


def archive(directory: Path, older_than: str, to: Path, *, without_events: bool, as_json: bool) -> int:
    """`lockstep archive`: exit status 2 where a slice may not go; those before it have gone then."""
    try:
        age_ns = duration_ns(older_than, "--older-than")
    except Fault:
        raise WrongUse(f"--older-than is {older_than!r}; give a whole number and d, h, m or s, such as 30d") from None
    check_whole(directory)
    bring_forward(directory)
    with screen.Bar("copying") as bar:
        report = archive_slices(
            directory,
            to,
            before_ns=time.time_ns() - age_ns,
            without_events=without_events,
            needs=needs(directory),
            progress=bar.to,
        )
    if as_json:
        gone = [
            {
                "number": note.number,
                "path": note.path,
                "first_seq": note.first_seq,
                "last_seq": note.last_seq,
                "size_bytes": note.bytes,
            }
            for note in report.archived
        ]
        screen.print_json({"archived": gone, "left": list(report.left)})
        return errors.FINE
    for note in report.archived:
        commands = f"commands {screen.count(note.first_seq)} to {screen.count(note.last_seq)}"
        screen.print_line(f"slice {note.number}, {commands}, {screen.size(note.bytes)}: {note.path}")
    if not report.archived:
        why = f"no closed slice of {directory} is older than {older_than}" if report.has_closed else report.left[0]
        screen.print_line(f"archived nothing: {why}")
    return errors.FINE


def keep_events_of_slice(directory: Path, number: int) -> int:
    """Keep the events of a slice that was closed just now; where that fails, a note says so. Gives the exit status."""
    closed = next(place for place in places(directory) if place.number == number)
    screen.flush()
    try:
        with screen.Bar(f"keeping the events of slice {number}") as bar:
            keep_events_of(directory, closed, bar.to)
    except (JournalError, ReplayError, OSError) as error:
        why, status = errors.sentence(error)
        screen.notice(
            f"lockstep: slice {number + 1} has begun, but the events of slice {number} are not kept: {why}; "
            f"`lockstep journal keep-events {directory}` keeps them"
        )
        return status
    return errors.FINE


def keep_events(directory: Path, *, as_json: bool) -> int:
    """`lockstep journal keep-events`: exit status 1 where a replay differs from the record."""
    check_whole(directory)
    found = places(directory)
    closed = [place for place in found if place.is_marked_closed or place is not found[-1]]
    if not closed and not as_json:
        screen.print_line(f"no slice of {directory} is closed")
    for place in closed:
        with Journal.open(directory, readonly=True, slice_number=place.number) as journal:
            rules_version = journal.meta.get("rules_version")
        if rules_version != RULES_VERSION and not place.events.exists():
            screen.notice(
                f"note: slice {place.number} is of rules version {rules_version}, which this release does not play; "
                "its events cannot be kept"
            )
            continue
        ready()
        with screen.Bar(f"replaying slice {place.number}") as bar:
            record = keep_events_of(directory, place, bar.to)
        size = place.events.stat().st_size
        if as_json:
            screen.print_json(asdict(record) | {"path": str(place.events), "size_bytes": size})
            continue
        per_event = f", {size / record.events:.1f} bytes an event" if record.events else ""
        screen.print_line(
            f"slice {record.number}: {screen.counted(record.events, 'event')} in {screen.size(size)}{per_event}; "
            f"verified {record.verified_at} by release {record.release}"
        )
    return errors.FINE
