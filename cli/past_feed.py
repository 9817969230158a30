"""The feed of past days again, out of the journal: `lockstep replay`."""

import re
import shutil
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from cli import errors, screen
from cli.choice import Selection
from cli.errors import WrongUse
from cli.history import chosen_plays
from cli.reports import room_of
from engine.records import COMMAND, CommandKind, VenueSetting
from journal.history import History
from marketdata.itch import ItchFeed
from marketdata.itch.files import SessionFiles
from replay.times import first_seq_at, seq_at
from reports import Reports


def replay(directory: Path, name: str, out: Path, form: str, day: str | None, *, as_json: bool) -> int:
    """Write the messages of each session of a journal to a file of its own, and say which files there are.

    name: of the feed.

    A report has sums and names that earlier commands gave, and an order of earlier days may still be shown: the journal
    is folded from command 1 on, whatever day is asked for. Files are written beside the folder, which gets its name
    once all are whole.
    """
    only = None if day is None else _day_of(day)
    room = room_of(directory, Selection(None, None))
    aside = _aside(out)
    if day is not None and not _may_have(directory, day):
        raise WrongUse(f"{directory} has no trading day {day}")
    began_s = time.monotonic()
    try:
        aside.mkdir(parents=True)
    except OSError as error:
        raise WrongUse(f"{aside} cannot be made: {error.strerror}; name another folder with --out") from error
    files = SessionFiles(aside, form, only)
    fold, feed = Reports(room), ItchFeed(room, files)
    files.counted_from_ns = lambda: feed.day_ns
    try:
        for play, _, _ in chosen_plays(directory, Selection(1, None)):
            for batch in fold.batches(play.first_seq, play.commands, play.events):
                feed.take(batch)
            feed.end_block()
        files.close()
        if day is not None and not files.written:  # its commands had no report
            raise WrongUse(f"{directory} has no trading day {day}")
        aside.rename(out)
    except BaseException as error:
        shutil.rmtree(aside, ignore_errors=True)
        if isinstance(error, OSError):
            why = f"{out} cannot be written: {error.strerror}; make room, or name another folder"
            raise WrongUse(why) from error
        raise
    for each in files.written:
        each.path = out / each.path.name
    _tell(name, files, feed, time.monotonic() - began_s, as_json=as_json)
    return errors.FINE


def _may_have(directory: Path, day: str) -> bool:
    """False where no session of a date can be: it has no commands, and a trading day begins at 00:00."""
    if first_seq_at(directory, f"{day}T00:00") <= seq_at(directory, f"{day}T23:59:59.999999999"):
        return True
    with History.open(directory) as history:
        return any(
            (rows["settings"][rows["kind"] == CommandKind.VENUE] & VenueSetting.DAY_START).any()
            for block in history.blocks(history.first_seq, history.last_seq)
            for rows in (np.frombuffer(block.rows, COMMAND),)
        )


def _aside(out: Path) -> Path:
    """Folder beside ``out``, which gets its name once all files are whole. Raises WrongUse where one is there."""
    try:
        if out.exists() and any(out.iterdir()):
            raise WrongUse(f"{out} has files already; name a new folder with --out")
        place = out.resolve()
    except OSError as error:
        raise WrongUse(f"{out} cannot be made: {error.strerror}; name another folder with --out") from error
    aside = place.with_name(f"{place.name}.new")
    if aside.exists():
        raise WrongUse(f"{aside} is left of a replay that broke off, or is being written; remove it and repeat")
    return aside


def _day_of(day: str) -> int:
    """Days since 1970. Raises WrongUse."""
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", day):
        try:
            return int(datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()) // 86_400
        except ValueError:
            pass
    raise WrongUse(f"--day is {day}; write a date, such as 2024-01-15")


def _tell(name: str, files: SessionFiles, feed: ItchFeed, seconds: float, *, as_json: bool) -> None:
    if as_json:
        sessions = [asdict(each) | {"path": str(each.path)} for each in files.written]
        screen.print_json(
            {"feed": name, "sessions": sessions, "left_out": feed.left_out, "digest": feed.digest().hex()}
        )
        return
    rows = [
        (each.session, screen.count(each.messages), screen.size(each.size_bytes), str(each.path), each.digest[:16])
        for each in files.written
    ]
    screen.table(["session", "messages", "size", "file", "sha-256"], rows, right=("messages", "size"))
    messages = sum(each.messages for each in files.written)
    rate = f", {screen.count(round(messages / seconds))} messages/s" if messages > 100_000 else ""
    screen.facts([("messages", f"{screen.count(messages)}{rate}"), ("state of the feed", feed.digest().hex())])
    if feed.left_out:
        screen.notice(f"note: {screen.counted(feed.left_out, 'message')} left out: ITCH has no price as high")
