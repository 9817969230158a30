"""FIX sessions of a data directory: numbers and last messages, of a running node and of one that has ended.

Numbers and messages are made from the journal, as the gateways make them: from the image of a gateway, where it has one
that fits, and what the journal has behind it. What the journal does not say (version, address, times on the line) a
gateway leaves in a side file, which may be some seconds old after a kill. Nothing is written here.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.names import unpack
from engine.records import CommandKind
from engine.row_bytes import ROW
from gateway.fix import marks, records
from gateway.fix.copies import CopyOutbox, CopyStreams
from gateway.fix.copy_session import FIX_COPIES
from gateway.fix.marks import Mark
from gateway.fix.outbox import FixOutbox
from gateway.fix.protocol import FIX
from gateway.fix.records import Record
from gateway.fix.streams import FixStreams
from gateway.outbox import streams_of
from gateway.spool import SpoolError
from gateway.streams import Segment
from journal.history import History
from node.gateways import image as gateway_image
from node.gateways.fix_side_file import read_side_file
from notation.print import command_text
from replay.feed import behind
from replay.past import PastSlice, PlayedBlock
from replay.rebuild import capacity_of

#: Messages of a session that are kept each way, and commands before an image that are looked through for them.
KEPT: Final = 1_000
_LOOK_BACK: Final = 100_000
_ENTER, _CANCEL, _REPLACE = int(CommandKind.ENTER), int(CommandKind.CANCEL), int(CommandKind.REPLACE)
_CROSS, _EXTEND = int(CommandKind.CROSS), int(CommandKind.EXTEND)
_TYPES: Final = {_ENTER: "D", _REPLACE: "G", _CANCEL: "F", _CROSS: "s"}
_NOT_EXTENDED: Final = (0,) * 15


class _Kind(NamedTuple):
    """Word, number, outbox and streams of a protocol of FIX."""

    word: str
    number: int
    outbox: type[FixOutbox]
    streams: type[FixStreams]


_KINDS: Final = (
    _Kind("orders", FIX.number, FixOutbox, FixStreams),
    _Kind("copies", FIX_COPIES.number, CopyOutbox, CopyStreams),
)


class Arrived(NamedTuple):
    """A message of a client that has become a command. said: the command in the notation."""

    number: int
    msg_type: str
    seq: int
    said: str


@dataclass
class FixSessionFacts:
    """A session. in_number, out_number: of the next message that is expected, and of the next to be sent.

    live: what the side file says (``node.gateways.fix_side_file``); empty where it says nothing.
    """

    gateway: str
    kind: str
    user: str
    in_number: int
    out_number: int
    live: dict[str, Any]
    arrived: list[Arrived] = field(default_factory=list)
    sent: list[Record] = field(default_factory=list)


def fix_gateways(directory: Path) -> dict[str, _Kind]:
    """Gateways of FIX that have left something in a directory, by name."""
    return {
        folder.name: kind
        for folder in sorted((directory / "gateways").glob("*"))
        for kind in _KINDS
        if (folder / kind.outbox.folder).is_dir()
    }


def fix_sessions(directory: Path, user: str = "") -> list[FixSessionFacts]:
    """Sessions that have been used, of all gateways of FIX; with a user's name its sessions alone, and their messages.

    Raises what journal and replay raise.
    """
    with History.open(directory) as history:
        readings = [_Reading(directory, name, kind, history, user) for name, kind in fix_gateways(directory).items()]
        for block in _played(history, min((each.first_seq for each in readings), default=history.last_seq + 1)):
            for each in readings:
                each.take(block)
        return [facts for each in readings for facts in each.facts()]


class _Reading:
    """Streams of a gateway, made here from image and journal."""

    def __init__(self, directory: Path, name: str, kind: _Kind, history: History, user: str) -> None:
        self._directory, self._name, self._kind, self._history = directory, name, kind, history
        self._folder = gateway_image.folder_of(directory, name)
        self._wanted = user.upper()
        self._capacity = capacity_of(history.last)
        self.version = kind.outbox.version
        self._sent: deque[Record] = deque(maxlen=KEPT)
        self._arrived: deque[Arrived] = deque(maxlen=KEPT)
        self._streams = self._new()
        self._seq, _ = gateway_image.restore(self._folder, directory, self)  # type: ignore[arg-type]
        back = _LOOK_BACK if self._wanted else 0
        #: The first command that is needed.
        self.first_seq = max(self._seq - back + 1, history.there_from_seq, 1)

    def _new(self) -> FixStreams:
        return self._kind.streams(self._capacity, self._deliver, lambda _session: None, lambda _user, _why: None)

    def _deliver(self, segment: Segment) -> None:
        if self._wanted and segment.user == self._streams.user(self._wanted):
            self._sent.extend(records.records_in(segment.data))

    # As the projection of ``gateway_image.restore``.

    def restore(self, arrays: Mapping[str, NDArray[Any]], seq: int) -> None:
        """Restore from the image of the gateway; messages of the wanted user come from its spool."""
        self._streams = self._new()
        self._streams.restore(streams_of(arrays), seq)
        number, session = self._streams.user(self._wanted), self._streams.session
        if not number:
            return
        with suppress(OSError, ValueError, KeyError, SpoolError):  # what cannot be read is not shown
            spool = self._kind.outbox.open_spool(self._folder, session, self._history.journal_id, readonly=True)
            try:
                spool.restore(streams_of(arrays, session))
                next_seq, _ = spool.end(number)
                position = spool.position_of(number, max(next_seq - KEPT, 1))
                while data := spool.read(number, position, 1 << 20):
                    position += len(data)
                    self._sent.extend(records.records_in(data))
            finally:
                spool.close()

    def clear(self) -> None:
        """Stand before the first command."""
        self._streams = self._new()
        self._sent.clear()

    # The journal.

    def take(self, block: PlayedBlock) -> None:
        """Take a block, in turn; what is before the first that is needed is passed over."""
        if block.last_seq < self.first_seq:
            return
        if block.last_seq > self._seq:
            rows = behind(block.play, self._seq)
            self._streams(rows.first_seq, rows.commands, rows.events)
        if self._wanted:  # behind the streams: the user may be defined in this block
            self._note_arrived(block)

    def facts(self) -> Iterator[FixSessionFacts]:
        """The sessions after the last command."""
        streams, live = self._streams, read_side_file(self._folder)
        for number, row in streams.users():
            name = unpack(int(row["name"]))
            numbers = int(streams.next_in[number]), int(streams.next_out[number])
            if self._wanted and name != self._wanted:
                continue
            of_user = live.get(name, {})
            if numbers[0] > 1 or of_user:
                facts = FixSessionFacts(self._name, self._kind.word, name, *numbers, of_user)
                facts.arrived, facts.sent = list(self._arrived), list(self._sent)
                yield facts

    def _note_arrived(self, block: PlayedBlock) -> None:
        """Keep the wanted user's messages among the commands of a block."""
        commands = block.play.commands
        number = self._streams.user(self._wanted)
        if not number:
            return
        contexts = np.where(commands["kind"] == _REPLACE, commands["new_context"], commands["context"])
        asks = np.isin(commands["kind"], tuple(_TYPES)) & (contexts & 0xFFFF == number)
        asks &= contexts >> 60 & 15 == self._kind.number
        rows = np.ascontiguousarray(commands).tobytes()
        for at in np.flatnonzero(asks).tolist():
            values = ROW.unpack_from(rows, at * ROW.size)
            before = ROW.unpack_from(rows, (at - 1) * ROW.size) if at else _NOT_EXTENDED
            extended = before if before[8] == _EXTEND else _NOT_EXTENDED
            if marks.mark_of(int(contexts[at])) == Mark.RESET and not self._begins_again(number, values, extended):
                continue
            arrived = _arrived(int(contexts[at]), values, extended, block)
            if arrived is not None:
                self._arrived.append(arrived._replace(seq=block.play.first_seq + at))

    def _begins_again(self, number: int, values: tuple[int, ...], extended: tuple[int, ...]) -> bool:
        """True if the mark of a logon that asks for it begins numbers again: a copy of a signed logon does not."""
        return not extended[0] or self._streams.is_newest_logon(number, values[3])


def _arrived(context: int, values: tuple[int, ...], extended: tuple[int, ...], block: PlayedBlock) -> Arrived | None:
    """The message that a command is of; None for one of our side, and for a text that belongs to the next."""
    number, mark = marks.next_in_of(context) - 1, marks.mark_of(context)
    if mark == Mark.ORDER or values[8] != _CANCEL or values[0] != 0:
        return Arrived(number, _TYPES[values[8]], 0, command_text(values, extended, block.after))
    if mark == Mark.BUSINESS_REJECT:
        kind = extended[0].to_bytes(8, "big", signed=True).strip(b"\0").decode("ascii", "replace")
        return Arrived(number, kind, 0, "refused by a business reject")
    if mark == Mark.REFUSED:
        refusal = records.refusal_of(extended[0])
        kind = refusal.msg_type.decode("ascii", "replace")
        return Arrived(number, kind, 0, f"refused by a message of type {refusal.answer.decode('ascii', 'replace')}")
    if mark == Mark.RESET:
        return Arrived(1, "A", 0, "numbers begin again")
    if mark == Mark.STATUS:
        return Arrived(number, "H", 0, "")
    if mark == Mark.MASS_CANCEL:
        return Arrived(number, "q", 0, "")
    return None


def _played(history: History, first_seq: int) -> Iterator[PlayedBlock]:
    """Blocks with their events from a command on."""
    if first_seq > history.last_seq:
        return
    for part in history.ranges(first_seq, history.last_seq):
        yield from PastSlice(history, part).blocks()
