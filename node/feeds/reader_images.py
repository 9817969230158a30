"""Images of the programs beside a node without which they need the journal from command 1 on, as an archive has to know
them: of gateways whose streams no checkpoint of the node has, and of market data.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from checkpoints import Projection
from directory.archive import Need
from engine.capacity import Capacity
from engine.records import CommandKind
from gateway.fix.copies import CopyOutbox
from gateway.fix.outbox import FixOutbox
from gateway.native.outbox import NativeOutbox
from gateway.outbox import Outbox
from journal.errors import JournalBusy
from journal.history import History
from journal.lock import WriterLock
from marketdata.fix.market import FixMarket
from marketdata.itch.stream import ItchStream
from marketdata.web.market import WebMarket
from node.gateways import image as gateway_image
from replay.feed import behind
from replay.live_reports import room_that_is_there
from replay.past import PastSlice

#: Streams that a checkpoint of the node does not have.
_OUTBOXES: Final[tuple[type[Outbox[Any]], ...]] = (NativeOutbox, FixOutbox, CopyOutbox)


class _Reader(NamedTuple):
    """A program with an image in ``folder``. ``make``: its projection, of the room of a journal and its id."""

    name: str
    folder: Path
    version: int
    make: Callable[[Capacity, bytes], Projection]

    @property
    def need(self) -> Need:
        """Need of its next start."""
        return Need(self.name, self.folder, gateway_image.seq_in(self.folder, self.version))


def needs(directory: Path) -> list[Need]:
    """Needs of the next start of each program."""
    return [each.need for each in _readers(directory)]


def bring_forward(directory: Path) -> None:
    """Bring the images to the command behind which the open slice begins, so that the next starts of their programs
    need nothing of an earlier slice. Does nothing where a node runs, whose programs do so themselves.

    The end of a slice that a node has closed is behind the end of its programs, which end first. Raises OSError, and
    what journal and replay raise.
    """
    try:
        lock = WriterLock(directory)
    except JournalBusy:
        return
    try:
        with History.open(directory) as history:
            upto = history.last.start_seq
            for reader in _readers(directory):
                if history.there_from_seq - 1 <= reader.need.seq < upto:
                    _bring_forward(reader, history, upto)
    finally:
        lock.release()


def _readers(directory: Path) -> Iterator[_Reader]:
    for folder in sorted((directory / "gateways").glob("*")):
        kind = next((each for each in _OUTBOXES if (folder / each.folder).is_dir()), None)
        if kind is not None:
            yield _Reader(f"the gateway {folder.name}", folder, kind.version, partial(_streams, kind, folder))
    for folder in sorted((directory / "feeds").glob("*")):
        yield _Reader(f"the feed {folder.name}", folder, ItchStream.version, partial(_messages, folder))
    folder = directory / "nats"
    if folder.is_dir():
        yield _Reader("the publication through NATS", folder, ItchStream.version, partial(_messages, folder))
    books = (
        ("the market data of the web", "web", WebMarket.version, _web),
        ("the market data by FIX", "fix-data", FixMarket.version, _fix),
    )
    for name, place, version, make in books:
        folder = directory / place
        if folder.is_dir():
            yield _Reader(name, folder, version, make)


def _streams(kind: type[Outbox[Any]], folder: Path, capacity: Capacity, journal_id: bytes) -> Projection:
    return kind(folder, capacity, journal_id, removes_files=False)


def _messages(folder: Path, capacity: Capacity, _journal_id: bytes) -> Projection:
    return ItchStream(folder, capacity)


def _web(capacity: Capacity, _journal_id: bytes) -> Projection:
    return WebMarket(capacity)


def _fix(capacity: Capacity, _journal_id: bytes) -> Projection:
    return FixMarket(capacity)


def _bring_forward(reader: _Reader, history: History, upto: int) -> None:
    projection = reader.make(room_that_is_there(history), history.journal_id)
    try:
        seq, _ = gateway_image.restore(reader.folder, history.path, projection)
        carries = False
        for part in history.ranges(seq + 1, upto):
            for block in PastSlice(history, part).blocks():
                if block.last_seq > seq:
                    rows = behind(block.play, seq)
                    projection.observe(rows.first_seq, rows.commands, rows.events)
                    carries = bool(rows.commands["kind"][-1] == CommandKind.EXTEND)
        if not carries:
            gateway_image.save(reader.folder, history.path, gateway_image.take(projection, upto))
    finally:
        projection.close()
