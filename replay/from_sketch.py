"""The market at a command, from a sketch of it: a short replay whose events are all compared with recorded ones.

It gives what ``replay.rebuild`` gives but for the ids of orders that are gone, so it serves questions about books,
orders, positions and limits, and none that looks at those ids or at the digest of the state. Events are compared by
the digests that the journal recorded, and in a part of a block by the event index. Where one differs or cannot be
compared there is no answer here: a checkpoint gives it.
"""

from pathlib import Path
from typing import Final

from checkpoints import CheckpointError, CheckpointStore
from engine.records import CommandKind
from journal import Journal, JournalDamaged
from replay.event_index import FOLDER, indexed_events
from replay.rebuild import Rebuild, ReplayedBlock, journal_of, notes_of_releases, played
from replay.sketches import newest_sketch

#: Commands after a sketch that are replayed, at most: beyond, the pages of an image cost less.
REACH_COMMANDS: Final = 1 << 19


def rebuilt_from_sketch(directory: Path, at: int | None) -> Rebuild | None:
    """The market after a command (None: the last one), without ids of orders that are gone.

    None where there is no sketch near before it, where a checkpoint is nearer, and where not all events after the
    sketch can be compared with recorded ones or one differs. Raises what a replay raises.
    """
    with journal_of(directory, at=at) as journal:
        to_seq = journal.last_seq if at is None else at
        if not journal.start_seq < to_seq <= journal.last_seq:
            return None
        sketch = newest_sketch(directory / FOLDER, journal, to_seq)
        if sketch is None or to_seq - sketch.seq > REACH_COMMANDS or sketch.seq < _nearest_checkpoint(journal, to_seq):
            return None
        try:
            engine = sketch.engine(to_seq - sketch.seq)
        except (ValueError, JournalDamaged):
            return None
        others: dict[str, int] = {}
        blocks, partial = 0, False
        for play in played(journal, engine, to_seq):
            others.setdefault(play.block.source_digest, play.first_seq)
            if not is_as_recorded(directory, journal, play, engine.event_digest):
                return None
            blocks, partial = blocks + 1, not play.whole
        notes = notes_of_releases(others, is_proven=True)
        return Rebuild(engine, engine.seq, sketch.seq, blocks, partial, notes=tuple(notes))


def _nearest_checkpoint(journal: Journal, to_seq: int) -> int:
    """Number of the last checkpoint that is not after a command, by its header; 0 without one."""
    try:
        return max((each.seq for each in CheckpointStore(journal.place.folder).list() if each.seq <= to_seq), default=0)
    except CheckpointError:
        return 0


def is_as_recorded(directory: Path, journal: Journal, play: ReplayedBlock, event_digest: bytes) -> bool:
    """True if a block, or its first commands, gave the recorded events and set no limits.

    A longer order rate would count entries that a sketch leaves out.
    """
    if (play.commands["kind"] == CommandKind.LIMITS).any():
        return False
    if play.whole:
        return journal.digest(play.block.first_seq) == event_digest
    recorded = indexed_events(directory, journal, play.first_seq, play.first_seq + len(play.commands) - 1)
    return recorded is not None and recorded.tobytes() == play.events.tobytes()
