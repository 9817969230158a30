"""Market data of past days from the journal into files: `lockstep replay --out`."""

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

from cli import errors, screen
from cli.errors import WrongUse
from cli.questions.choice import Selection, range_of
from cli.questions.reading import plays
from cli.questions.reports import room_of
from cli.warmup import ready
from engine.records import COMMAND, CommandKind, VenueSetting
from journal.history import History
from marketdata.itch import ItchFeed
from marketdata.itch.block_messages import FIRST_ORDERS, BlockMessages
from marketdata.itch.excerpt import Excerpt
from marketdata.itch.files import SessionFiles
from marketdata.octet_file import Written
from marketdata.web.recording import TICK_NS, Recording
from replay.ahead import ahead
from replay.pacing import STEP_NS, moments
from replay.past import parted
from replay.times import first_seq_at, seq_at
from reports import Reports

#: Rows that a recording of web clients takes at once, at most.
ROWS_MAX: Final = 8_192
#: Blocks that are made ahead: a journal is read 8 MB at a time, and nobody is to wait for that.
_BLOCKS_AHEAD: Final = 32
#: Bytes of messages that are made at once: more than of a running feed, for whose file they are handed on by Python.
_ROOM_BYTES: Final = 1 << 17


def write_files(
    directory: Path, out: Path, form: str, day: str | None, begin: str | None, end: str | None, *, as_json: bool
) -> int:
    """Write the messages of each session of a journal to a file of its own, and say which files there are.

    day: the one trading day to write; None for all. begin, end: first and last command or time; None: the ends of the
    journal.

    A report has sums and names that earlier commands gave, and an order of earlier days may still be shown: the journal
    is folded from command 1 on, whatever is asked for. Files are written beside the folder, which gets its name
    once all are whole.
    """
    only = None if day is None else _day_of(day)
    found = range_of(directory, begin, end)
    if found is None:
        return errors.FINE
    from_seq, to_seq = found
    room = room_of(directory, Selection(from_seq, to_seq))
    if day is not None:
        checked_day(directory, day)
    ready(feed=True)
    began_s = time.monotonic()
    with (
        _written_aside(out) as aside,
        # The first blocks are made while the kernels for them are loaded.
        closing(ahead(plays(directory, 1, to_seq, "replaying"), _BLOCKS_AHEAD)) as blocks,
    ):
        files = SessionFiles(aside, form, only)
        excerpt = Excerpt(files)
        first_room = replace(room, orders_max=min(room.orders_max, FIRST_ORDERS))
        feed = ItchFeed(first_room, files if from_seq is None else excerpt, room_bytes=_ROOM_BYTES)
        files.counted_from_ns = lambda: feed.day_ns
        fold = Reports(first_room)
        messages = BlockMessages(fold, feed, room.orders_max)
        for block in blocks:
            for part, is_before in parted(block.play, from_seq or 1):
                if is_before or excerpt.has_begun:
                    messages.take(part.first_seq, part.commands, part.events)
                    continue
                messages.make_room(len(part.events))
                for batch in fold.batches(part.first_seq, part.commands, part.events):
                    excerpt.begin(feed, batch)
                    feed.take(batch)
                feed.end_block()
        files.close()
        if day is not None and not files.written:  # its commands had no report
            raise WrongUse(f"{directory} has no trading day {day}" + (" there" if begin or end else ""))
    _tell("itch", files.written, out, began_s, feed, as_json=as_json)
    return errors.FINE


def write_web(directory: Path, out: Path, begin: str | None, end: str | None, *, as_json: bool) -> int:
    """Write what web clients were told to a file a date, and say which files there are. begin, end: as of
    ``write_files``."""
    found = range_of(directory, begin, end)
    if found is None:
        return errors.FINE
    from_seq, to_seq = found
    room = room_of(directory, Selection(from_seq, to_seq))
    ready(web=True)
    began_s = time.monotonic()
    with _written_aside(out) as aside:
        recording = Recording(aside, room)
        with closing(ahead(plays(directory, 1, to_seq, "replaying"), _BLOCKS_AHEAD)) as blocks:
            for block in blocks:
                for moment in moments(block, from_seq or 1, TICK_NS / STEP_NS, ROWS_MAX):
                    if not moment.is_before:
                        recording.at(moment.time_ns)
                    recording.market.observe(moment.rows.first_seq, moment.rows.commands, moment.rows.events)
        recording.close()
    _tell("ws", recording.written, out, began_s, as_json=as_json)
    return errors.FINE


@contextmanager
def _written_aside(out: Path) -> Iterator[Path]:
    """A folder for files that gets the name ``out`` once all are written; nothing is left of it after a fault.

    Raises WrongUse where that name has something already, or cannot be written.
    """
    aside = _aside(out)
    try:
        aside.mkdir(parents=True)
    except OSError as error:
        raise WrongUse(f"{aside} cannot be made: {error.strerror}; name another folder with --out") from error
    try:
        yield aside
        aside.rename(out)
    except BaseException as error:
        shutil.rmtree(aside, ignore_errors=True)
        if isinstance(error, OSError):
            why = f"{out} cannot be written: {error.strerror}; make room, or name another folder"
            raise WrongUse(why) from error
        raise


def checked_day(directory: Path, day: str) -> int:
    """Days since 1970 of a trading day. Raises WrongUse for a word that is none, and a day that cannot be there."""
    found = _day_of(day)
    if not _may_have(directory, day):
        raise WrongUse(f"{directory} has no trading day {day}")
    return found


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


def _tell(
    name: str, written: list[Written], out: Path, began_s: float, feed: ItchFeed | None = None, *, as_json: bool
) -> None:
    """Say which files there are, in a folder that has its name now; of a feed also its state and what was left out."""
    seconds = time.monotonic() - began_s
    for each in written:
        each.path = out / each.path.name
    if as_json:
        sessions = [asdict(each) | {"path": str(each.path)} for each in written]
        more = {} if feed is None else {"left_out": feed.left_out, "digest": feed.digest().hex()}
        screen.print_json({"feed": name, "sessions": sessions, **more})
        return
    rows = [
        (each.session, screen.count(each.messages), screen.size(each.size_bytes), str(each.path), each.digest[:16])
        for each in written
    ]
    screen.table(["session", "messages", "size", "file", "sha-256"], rows, right=("messages", "size"))
    messages = sum(each.messages for each in written)
    rate = f", {screen.count(round(messages / seconds))} messages/s" if messages > 100_000 else ""
    state = [] if feed is None else [("state of the feed", feed.digest().hex())]
    screen.facts([("messages", f"{screen.count(messages)}{rate}"), *state])
    if feed is not None and feed.left_out:
        screen.notice(f"note: {screen.counted(feed.left_out, 'message')} left out: ITCH has no price as high")
