"""Leaves of an attestation: one a command with its events, and one a day of a participant with all that is theirs.

All numbers are 8 bytes, big-endian. A leaf holds hashes of rows, so that what others are not to see can be left out of
a proof: of a command its events, of a day nothing, since it has the participant's own rows alone.
"""

from collections.abc import Iterator
from hashlib import sha256
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from attestation.merkle import leaf_hash
from engine.market_time import ClockPosition, clock_at_each
from engine.names import Directory, pack
from engine.records import COMMAND_FIELDS

ROW_BYTES: Final = 64
_DAY_NS: Final = 86_400 * 10**9
#: Kinds of commands that name a participant.
_OF_PARTICIPANTS: Final = tuple(int(kind) for kind, fields in COMMAND_FIELDS.items() if "participant" in fields)


def command_leaf(seq: int, row: bytes, events_sha256: bytes) -> bytes:
    """Hash of the leaf of a command."""
    return leaf_hash(_number(seq) + sha256(row).digest() + events_sha256)


def day_leaf(day: int, name: str, commands: int, events: int, rows_sha256: bytes) -> bytes:
    """Hash of the leaf of a participant's day. ``day``: days since 1970."""
    return leaf_hash(_number(day) + _number(pack(name)) + _number(commands) + _number(events) + rows_sha256)


def day_row(seq: int, row: bytes, *, is_event: bool) -> bytes:
    """A row of a participant's day, as the hash of the day takes it."""
    return (b"E" if is_event else b"C") + _number(seq) + row


def _number(value: int) -> bytes:
    return value.to_bytes(8, "big", signed=True)


class DayRows(NamedTuple):
    """Rows of a participant on a day, in their order, as ``day_row`` gives them: commands, events, all bytes."""

    commands: int
    events: int
    rows: bytes


class Leaves:
    """Leaves of the commands of a slice, taken block by block.

    ``commands``: their hashes, one after the other. ``kept_day``: (day, participant's name) whose rows are kept.
    """

    def __init__(self, kept_day: tuple[int, str] | None = None) -> None:
        self.commands = bytearray()
        self.kept = bytearray()
        self._kept_day = kept_day
        self._days: dict[tuple[int, str], list[Any]] = {}

    def take(
        self,
        first_seq: int,
        commands: NDArray[Any],
        events: NDArray[Any],
        position: ClockPosition,
        names: Directory,
    ) -> None:
        """Take commands with their events. ``position``: the clock before them. ``names``: those defined after them."""
        rows, event_rows = _octets(commands), _octets(events)
        ends = np.searchsorted(events["seq"], first_seq + np.arange(len(commands)), side="right").tolist()
        begin = 0
        hashed = []
        for at, end in enumerate(ends):
            row = rows[at * ROW_BYTES : (at + 1) * ROW_BYTES]
            caused = sha256(event_rows[begin * ROW_BYTES : end * ROW_BYTES]).digest()
            hashed.append(command_leaf(first_seq + at, row, caused))
            begin = end
        self.commands += b"".join(hashed)
        days = clock_at_each(commands, position) // _DAY_NS
        for day in np.unique(days).tolist():
            self._take_day(first_seq, day, days == day, (commands, rows), (events, event_rows), names)

    def _take_day(
        self,
        first_seq: int,
        day: int,
        of_day: NDArray[np.bool_],
        commands: tuple[NDArray[Any], bytes],
        events: tuple[NDArray[Any], bytes],
        names: Directory,
    ) -> None:
        sent = np.flatnonzero(of_day & np.isin(commands[0]["kind"], _OF_PARTICIPANTS))
        senders = commands[0]["participant"][sent].astype(np.int64)
        told = np.flatnonzero(of_day[events[0]["seq"] - first_seq])
        owners = events[0]["participant"][told].astype(np.int64)
        contras = events[0]["contra_participant"][told].astype(np.int64)
        for number in np.unique(np.concatenate((senders, owners, contras))).tolist():
            if not 0 < number <= len(names.participants):
                continue
            own = [(first_seq + at, 0, at) for at in sent[senders == number].tolist()]
            theirs = told[(owners == number) | (contras == number)]
            of_events = [(int(events[0]["seq"][at]), 1, at) for at in theirs.tolist()]
            raw = b"".join(_day_rows(sorted(own + of_events), commands[1], events[1]))
            key = (day, names.participants[number - 1])
            state = self._days.setdefault(key, [0, 0, sha256()])
            state[0] += len(own)
            state[1] += len(of_events)
            state[2].update(raw)
            if key == self._kept_day:
                self.kept += raw

    def days(self) -> list[tuple[int, str, int, int, bytes]]:
        """Day, participant, commands, events and hash of rows of each participant's day, in this order."""
        return [(day, name, *state[:2], state[2].digest()) for (day, name), state in sorted(self._days.items())]

    def day_leaves(self) -> bytes:
        """Hashes of the leaves of days, one after the other."""
        return b"".join(day_leaf(*each) for each in self.days())


def _day_rows(places: list[tuple[int, int, int]], commands: bytes, events: bytes) -> Iterator[bytes]:
    for seq, is_event, at in places:
        rows = events if is_event else commands
        yield day_row(seq, rows[at * ROW_BYTES : (at + 1) * ROW_BYTES], is_event=bool(is_event))


def _octets(rows: NDArray[Any]) -> bytes:
    return np.ascontiguousarray(rows).tobytes()


def is_of_day(kind: int) -> bool:
    """True if commands of a kind belong to the day of the participant that they name.

    >>> from engine.records import CommandKind
    >>> is_of_day(CommandKind.ENTER), is_of_day(CommandKind.CLOCK)
    (True, False)
    """
    return kind in _OF_PARTICIPANTS
