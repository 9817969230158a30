"""Tape of a node: what the market does, for programs beside it that can neither stop nor slow it (``tape``).

The compiled turn writes the blocks of its connections itself; all others come through ``write``. Blocks have COMMAND
and EVENT rows: whoever wants reports makes them of these (ADR 33). A block is on the tape once it is applied, which is
before anybody may be told of it: readers wait for the word RELEASED.

Nothing of the market depends on it. Without room for it in shared memory the node says so, and readers go on with the
journal.
"""

from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.jit import Packed
from node.programs.logs import Log
from replay.market_rows import MARKET_ROWS, lines_of, tape_of
from tape import TapeError
from tape.blocks import Tape
from tape.lines import MarketLines, pipe_of
from tape.places import SEQUENCE_WORDS, Place
from tape.shared_file import remove_left
from tape.writer import TapeWriter


class MarketTape:
    """The tape of a node. Its writer is the thread of the event loop; JOURNALED is stored by that of the journal."""

    def __init__(self, writer: TapeWriter) -> None:
        self._writer = writer
        self._none = np.zeros(0, MARKET_ROWS.reports)
        self._open = True

    @property
    def packed(self) -> Packed[Tape]:
        """The tape for the compiled turn."""
        return self._writer.tape

    def write(self, first_seq: int, epoch: int, time_ns: int, commands: NDArray[Any], events: NDArray[Any]) -> None:
        """Publish a block that is applied. One that is too long for the tape is left out: the journal has it."""
        if not self._open:
            return
        if self._writer.takes(len(commands), len(events), 0):
            self._writer.write(first_seq, epoch, time_ns, commands, events, self._none)
        self._writer.store(Place.APPLIED, first_seq + len(commands) - 1)

    def store(self, place: Place, seq: int) -> None:
        """Tell how far the market is with something."""
        if self._open:
            self._writer.store(place, seq)

    def beat(self, time_ns: int) -> None:
        """Tell up to when the market is known to go on, by the monotonic clock."""
        if self._open:
            self._writer.beat(time_ns)

    def pulse(self, time_ns: int) -> None:
        """Tell that the core runs at a time of the monotonic clock."""
        if self._open:
            self._writer.pulse(time_ns)

    def status(self) -> dict[str, int]:
        """Size, bytes written since the start, and the sequence numbers that readers wait for."""
        writer = self._writer
        return {
            "ring_bytes": writer.ring_bytes,
            "written_bytes": 8 * int(writer.words[Place.PUBLISHED]),
            **{f"{place.name.lower()}_seq": writer.load(place) for place in SEQUENCE_WORDS},
        }

    def readers(self) -> list[dict[str, Any]]:
        """Programs that read the tape under a name, with their distance from its end; none once it is closed.

        The operator's socket is closed last of all, so reports are asked for behind the end of the tape too.
        """
        if not self._open:
            return []
        return [
            {
                "reader": each.name,
                "pid": each.pid or None,
                "lag_bytes": 8 * each.lag_words,
            }
            for each in self._writer.readers()
        ]

    def close(self) -> None:
        """Say that no more blocks follow, and remove the file."""
        if self._open:
            self._open = False
            self._writer.close()


class SharedMemory(NamedTuple):
    """Memory that a node shares with programs beside it. warnings: for its operator, on what there is not."""

    tape: MarketTape | None
    lines: MarketLines | None
    warnings: tuple[str, ...]


def open_shared(
    directory: Path, journal_id: bytes, *, seq: int, released_seq: int, tape_bytes: int, log: Log
) -> SharedMemory:
    """Tape and lines of the node of a data directory at command ``seq``; without a tape there are no lines.

    released_seq: last command that may be told. tape_bytes: size of the tape; 0 for none.
    """
    tape, why = _open_tape(directory, journal_id, seq, released_seq, tape_bytes, log)
    lines = None if tape is None else _open_lines(directory, journal_id, log)
    return SharedMemory(tape, lines, (why,) if why else ())


def _open_tape(
    directory: Path, journal_id: bytes, seq: int, released_seq: int, size_bytes: int, log: Log
) -> tuple[MarketTape | None, str]:
    """The tape; None with a sentence for the operator where there can be none. Otherwise as ``open_shared``.

    Tapes that dead nodes have left are removed, since nobody else would.
    """
    if not size_bytes:
        return None, ""
    try:
        path = tape_of(directory)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        for each in (each for kind in ("lines", "ring-*") for each in path.parent.glob(kind)):
            with suppress(TapeError, OSError):  # gone by now
                if remove_left([each], beside=pipe_of):
                    log.info("name of a dead node's memory removed", path=str(each))
        writer = TapeWriter(path, journal_id, MARKET_ROWS, size_bytes=size_bytes, seq=seq, released_seq=released_seq)
        return MarketTape(writer), ""
    except (TapeError, OSError) as error:
        why = f"no tape is written, so that `lockstep tail` reads the journal: {error}"
        log.warning("no tape", why=why)
        return None, why


def _open_lines(directory: Path, journal_id: bytes, log: Log) -> MarketLines | None:
    """Lines of local clients; None, with a word in the log, where there can be none."""
    try:
        return MarketLines(lines_of(directory), journal_id)
    except (TapeError, OSError) as error:
        log.warning("no local clients", why=str(error))
        return None
