"""`lockstep arrivals`: arrival times and order of received messages, for audits of fairness.

A node writes the records to DIR/arrivals, beside the market (``gateway.arrival_log``).
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from checkpoints import Checkpoint, CheckpointError, CheckpointStore, load_checkpoint
from cli import errors, screen
from cli.errors import CheckFailed, WrongUse
from cli.questions.choice import check_order
from engine.names import unpack
from gateway.arrival_log import read_arrivals
from gateway.fairness import messages_of, turn_numbers, unfair
from gateway.login_log import read_logins
from gateway.ouch.outbox import OuchOutbox
from gateway.outbox import USERS
from journal import Journal
from journal.slices import places
from notation.moments import plain_time
from notation.words import iso_time

#: Unfair messages that are shown at most; the others are counted.
_SHOWN: Final = 10
_HEADS: Final = ("seq", "received", "turn", "place", "connection", "user")
_LINE: Final = "{:>12}  {:30}  {:>10}  {:>6}  {:>10}  {}"


@dataclass(frozen=True)
class Choice:
    """Records to read: a range of sequence numbers, a user (name or number) and a connection."""

    from_seq: int | None = None
    to_seq: int | None = None
    user: str | None = None
    connection: int | None = None


def arrivals(directory: Path, choice: Choice, *, check: bool, as_json: bool) -> int:
    """`lockstep arrivals`: print the records. ``check``: status 1 if a message waited for two of one connection."""
    check_order(choice.from_seq, choice.to_seq)
    parts = _parts(directory)
    rows = (_chosen(part, choice) for part in parts)
    names = users_of(directory)
    if check:
        if choice.user is not None or choice.connection is not None:
            raise WrongUse("--check compares all connections; give it without --user and --connection")
        return _check(list(rows), names, as_json=as_json)
    user = None if choice.user is None else _number(choice.user, names)
    if not as_json:
        screen.print_line(_LINE.format(*_HEADS).rstrip())
    for part in rows:
        chosen = np.ones(len(part), bool)
        if user is not None:
            chosen &= part["user"] == user
        if choice.connection is not None:
            chosen &= part["connection"] == choice.connection
        for row in part[chosen].tolist():
            facts = _facts(row, names)
            screen.print_line(screen.json_line(facts) if as_json else _line(facts))
    return errors.FINE


def records_of(directory: Path) -> list[NDArray[Any]]:
    """All ARRIVAL rows of a directory, file by file. Raises WrongUse where there are none, SideFileError."""
    return list(_parts(directory))


def _parts(directory: Path) -> Iterator[NDArray[Any]]:
    with Journal.open(directory, readonly=True) as journal:
        journal_id = journal.journal_id
    folder = directory / "arrivals"
    if not folder.is_dir():
        raise WrongUse(f"there is no {folder}; a node writes it while it runs, unless it has --no-arrivals")
    return read_arrivals(folder, journal_id)


def _chosen(part: NDArray[Any], choice: Choice) -> NDArray[Any]:
    """Rows of the range."""
    chosen = part["seq"] >= (choice.from_seq or 1)
    if choice.to_seq is not None:
        chosen &= part["seq"] <= choice.to_seq
    return part[chosen]


def users_of(directory: Path) -> dict[int, str]:
    """Names of users by number, from the newest image with users' streams (a checkpoint, or the image that a slice
    starts from), and of those who logged in since.
    """
    return _names_in_images(directory) | _names_in_logins(directory)


def _names_in_logins(directory: Path) -> dict[int, str]:
    if not (directory / "logins").is_dir():
        return {}
    with Journal.open(directory, readonly=True) as journal:
        rows = read_logins(directory / "logins", journal.journal_id)
    rows = rows[rows["user"] > 0]
    return dict(zip(rows["user"].tolist(), (name.decode() for name in rows["name"].tolist()), strict=True))


def _names_in_images(directory: Path) -> dict[int, str]:
    for checkpoint in _images(directory):
        image = checkpoint.projections.get(OuchOutbox.name)
        users = None if image is None else image.arrays.get(USERS)
        if users is not None:
            return {number: unpack(int(row["name"])) for number, row in enumerate(users) if number}
    return {}


def _images(directory: Path) -> Iterator[Checkpoint]:
    """The images that may have users' streams, the newest first."""
    for place in reversed(places(directory)):
        store = CheckpointStore(place.folder)
        for info in reversed(store.list()):
            if info.valid and info.holds(OuchOutbox.name, OuchOutbox.version):
                yield store.load(info.path)
        with suppress(CheckpointError):  # missing in the first slice, and no part of the record
            yield load_checkpoint(place.start_image)


def _number(user: str, names: dict[int, str]) -> int:
    """Number of a user given by name or number. Raises WrongUse."""
    if user.isascii() and user.isdigit():
        return int(user)
    for number, name in names.items():
        if name == user.upper():
            return number
    raise WrongUse(
        f"no checkpoint and no login here names the user {user!r}; give the user's number, in order of definition, or "
        "run `lockstep admin checkpoint` on the running node"
    )


def _facts(row: tuple[int, ...], names: dict[int, str]) -> dict[str, Any]:
    seq, time_ns, connection, user, place, turn = row
    where = {"seq": seq, "received": iso_time(time_ns), "turn": turn, "place": place, "connection": connection}
    return where | {"user_number": user, "user": names.get(user)}


def _line(facts: dict[str, Any]) -> str:
    user = facts["user"] or f"number {facts['user_number']}"
    return _LINE.format(*(plain_time(str(facts[head])) for head in _HEADS[:-1]), user).rstrip()


def _check(parts: list[NDArray[Any]], names: dict[int, str], *, as_json: bool) -> int:
    messages = [messages_of(part) for part in parts]
    wrong = [each[unfair(each)] for each in messages]
    count = sum(map(len, wrong))
    shown = [_facts(row, names) for each in wrong for row in each[:_SHOWN].tolist()][:_SHOWN]
    turns = sum(int(turn_numbers(each)[-1]) + 1 for each in messages if len(each))
    total = sum(map(len, messages))
    if not total:
        raise WrongUse("there are no records in this range, so nothing was checked; give another range")
    if as_json:
        screen.print_json({"ok": not count, "messages": total, "turns": turns, "unfair": count, "first": shown})
    else:
        if shown:
            screen.print_line(_LINE.format(*_HEADS).rstrip())
        for facts in shown:
            screen.print_line(_line(facts))
        what = f"{screen.counted(total, 'message')} in {screen.counted(turns, 'turn')}"
        verdict = "no connection's message waited for more than one message of each other"
        screen.verdict(not count, f"{what}: {verdict}" if not count else f"{what}: {count} waited for more")
    if count:
        screen.flush()
        raise CheckFailed(f"{screen.counted(count, 'message')} waited for more than one message of another connection")
    return errors.FINE
