"""Kept events of a closed slice: its event rows as they were recorded, read without an engine.

The file beside the slice (``journal.event_rows``) also has what a reader needs of the market where the slice begins and
at each piece: names, the clock, the chain of the event digest, and the open orders at the start.
"""

import json
import zlib
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.digest import EventChain
from engine.interface import StatefulEngine
from engine.names import Directory, unpack
from engine.records import EVENT, CommandKind, EventKind
from engine.views import OPEN_ORDER
from journal import Block, Journal, JournalDamaged
from journal.event_rows import EventRows, Marks, Piece
from journal.slices import Place, write_aside
from replay.ahead import ahead
from replay.errors import ReplayError
from replay.rebuild import ReplayedBlock, owned_rows

_INSTRUMENT: Final = int(CommandKind.INSTRUMENT)
_PARTICIPANT: Final = int(CommandKind.PARTICIPANT)


@dataclass(frozen=True)
class Verification:
    """Record of the verification of a closed slice by a replay from its start.

    ``genesis`` and ``last_seq``: which slice it was, and how far it went. ``gives_next_image``: whether its last state
    was the image that the next slice starts from; None where that one has other rules, or is not there.
    """

    number: int
    genesis: str
    last_seq: int
    rules_version: int
    release: str
    source_digest: str
    verified_at: str
    commands: int
    events: int
    event_digest: str
    gives_next_image: bool | None


def write_verification(place: Place, verification: Verification) -> None:
    """Write the record beside the slice. Raises OSError."""
    write_aside(place.verified, json.dumps(asdict(verification), indent=1).encode() + b"\n")


def verification_of(journal: Journal) -> Verification | None:
    """The record of a slice's verification; None where there is none of this slice that can be read."""
    try:
        found = Verification(**json.loads(journal.place.verified.read_bytes()))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    same = (found.genesis, found.last_seq) == (genesis_of(journal).hex(), journal.last_seq)
    return found if same else None


#: An open order in the file of kept events, whatever more a release shows of one.
_KEPT_ORDER: Final = np.dtype(
    [
        ("client_order_id", "<i8"),
        ("order_number", "<i8"),
        ("price_e4", "<i8"),
        ("qty", "<i8"),
        ("leaves_qty", "<i8"),
        ("cum_qty", "<i8"),
        ("participant", "<u4"),
        ("instrument", "<u4"),
        ("side", "i1"),
        ("time_in_force", "u1"),
        ("self_trade", "u1"),
        ("reserved", "u1"),
        ("instructions", "<u2"),
        ("reserved_2", "<u2"),
    ]
)


def _fields(rows: NDArray[Any], dtype: "np.dtype[Any]") -> NDArray[Any]:
    """Rows with the fields of another dtype: those of the same name, else 0."""
    out = np.zeros(len(rows), dtype)
    for name in {*(dtype.names or ())} & {*(rows.dtype.names or ())}:
        out[name] = rows[name]
    return out


def genesis_of(journal: Journal) -> bytes:
    """Checksum of a slice's genesis record, 16 bytes."""
    return journal.genesis[:16]


def head_of(engine: StatefulEngine) -> dict[str, Any]:
    """State of the market before the first command of the slice, from a file of kept events."""
    names, chain = engine.directory, engine.parts()["events"]
    return {
        "symbols": names.symbols,
        "participants": names.participants,
        "now_ns": names.now_ns,
        "chain": {name: chain[name].tobytes() for name in ("link", "tail")},
        "open_orders": zlib.compress(_fields(engine.open_orders(), _KEPT_ORDER).tobytes(), 1),
    }


def end_of(engine: StatefulEngine, last_seq: int) -> dict[str, Any]:
    """State of the market after the last command of the slice, from a file of kept events."""
    names = engine.directory
    return {
        "symbols": names.symbols,
        "participants": names.participants,
        "last_seq": last_seq,
        "event_digest": engine.event_digest,
    }


def marks_of(names: Directory) -> Marks:
    """The marks of a piece: how many names are defined before it, and the clock there."""
    return len(names.symbols), len(names.participants), names.now_ns


class NamesFollower:
    """The venue's directory through blocks whose events are known: a definition that is not rejected gives a name."""

    def __init__(self, names: Directory) -> None:
        self.names = names

    def take(self, block: Block, commands: NDArray[Any], events: NDArray[Any]) -> Directory:
        """Take up a block with its COMMAND and EVENT rows; the directory after it."""
        kinds = commands["kind"].tobytes()  # as bytes, since most blocks define nothing
        if _INSTRUMENT in kinds or _PARTICIPANT in kinds:
            self._define(block, commands, events)
        if block.time_ns != self.names.now_ns:  # a block's header has the clock at its end
            self.names = replace(self.names, now_ns=block.time_ns)
        return self.names

    def _define(self, block: Block, commands: NDArray[Any], events: NDArray[Any]) -> None:
        symbols, participants = list(self.names.symbols), list(self.names.participants)
        rejected = set(events["seq"][events["kind"] == EventKind.REJECTED].tolist())
        for index in np.flatnonzero(np.isin(commands["kind"], (_INSTRUMENT, _PARTICIPANT))).tolist():
            if block.first_seq + index not in rejected:
                is_symbol = int(commands["kind"][index]) == _INSTRUMENT
                (symbols if is_symbol else participants).append(unpack(int(commands["name"][index])))
        self.names = Directory(tuple(symbols), tuple(participants), self.names.now_ns)


class KeptEvents:
    """The kept events of a slice, open for reading. ``open_orders``: OPEN_ORDER rows where the slice begins.

    Raises JournalDamaged where the file is not whole, or not of this slice.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._file = EventRows(journal.place.events, genesis_of(journal))
        head, self._end = self._file.head, self._file.end
        try:
            kept = np.frombuffer(zlib.decompress(head["open_orders"]), _KEPT_ORDER)
            self.open_orders = _fields(kept, OPEN_ORDER)
            self._chain = head["chain"]
            self._names = (tuple(self._end["symbols"]), tuple(self._end["participants"]))
        except (KeyError, TypeError, ValueError, zlib.error) as error:
            raise JournalDamaged(f"{self.path} does not say where its slice begins ({error})") from error
        self.rows = self._file.rows

    @property
    def path(self) -> Path:
        """The file."""
        return self._file.path

    def blocks(self, from_seq: int, to_seq: int) -> Generator[tuple[ReplayedBlock, Directory, Directory], None, None]:
        """The blocks that have a command of the range, with their events and the directory before and after them.

        Raises JournalDamaged where the events or the commands are not whole.
        """
        blocks: Iterator[Block] | None = None
        # To make rows of a piece takes longer than all the rest, and a second core can do it.
        with closing(ahead(self._file.pieces(from_seq, to_seq), 1)) as pieces:
            for piece in pieces:
                blocks = blocks or self._journal.blocks(piece.first_seq, to_seq)
                yield from self._of_piece(piece, blocks, from_seq, to_seq)

    def _of_piece(
        self, piece: Piece, blocks: Iterator[Block], from_seq: int, to_seq: int
    ) -> Iterator[tuple[ReplayedBlock, Directory, Directory]]:
        """The blocks of a piece, which are the next ones of ``blocks``."""
        events = np.frombuffer(piece.rows, EVENT)
        symbols, participants, now_ns = piece.marks
        follower = NamesFollower(Directory(self._names[0][:symbols], self._names[1][:participants], now_ns))
        seqs = np.ascontiguousarray(events["seq"])
        high = 0
        for block in blocks:
            commands = owned_rows(block.rows)
            low, high = high, int(seqs.searchsorted(block.last_seq, "right"))
            before = follower.names
            after = follower.take(block, commands, events[low:high])
            if block.last_seq >= from_seq:
                yield _cut(block, commands, events[low:high], to_seq), before, after
            if block.last_seq >= piece.last_seq:
                break

    def check(self) -> int:
        """Read every piece and compare the events with the event digest that the journal records for each block.

        Gives the number of events. Raises JournalDamaged, ReplayError for events that are not the recorded ones.
        """
        arrays = {name: np.frombuffer(self._chain[name], np.uint8) for name in ("link", "tail")}
        chain, count, next_seq = EventChain.from_arrays(arrays), 0, self._journal.start_seq + 1
        for play, _, _ in self.blocks(self._journal.start_seq + 1, self._journal.last_seq):
            if play.block.first_seq != next_seq:
                break
            next_seq = play.block.last_seq + 1
            chain.add(np.ascontiguousarray(play.events))
            count += len(play.events)
            recorded = self._journal.digest(play.block.first_seq)
            if recorded is not None and recorded != chain.digest():
                raise ReplayError(
                    f"{self.path} has other events for commands {play.block.first_seq:,} to "
                    f"{play.block.last_seq:,} than the journal recorded; remove it, and a replay of the slice writes "
                    "it anew"
                )
        if next_seq <= self._journal.last_seq:
            raise JournalDamaged(
                f"{self.path} has no events of commands {next_seq} to {self._journal.last_seq}; remove it, and a "
                "replay of the slice writes it anew"
            )
        if chain.digest() != self._end.get("event_digest"):
            raise JournalDamaged(f"{self.path} ends with another event digest than its events give")
        return count

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> "KeptEvents":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _cut(block: Block, commands: NDArray[Any], events: NDArray[Any], to_seq: int) -> ReplayedBlock:
    """A block up to the end of a range."""
    count = min(block.last_seq, to_seq) - block.first_seq + 1
    if count < block.count:
        commands, events = commands[:count], events[: np.searchsorted(events["seq"], to_seq + 1)]
    return ReplayedBlock(block, block.first_seq, commands, events, count == block.count)
