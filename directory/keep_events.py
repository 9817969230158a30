"""Keep the events of a closed slice beside it: the slice is replayed from its start, which also verifies it.

History then needs no engine of the rules that made it. A kill leaves the file whole or not at all; the same call writes
it again from the beginning.
"""

import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from engine.interface import StatefulEngine
from engine.records import EVENT
from journal import Journal, JournalBusy, JournalDamaged, JournalError, JournalFault
from journal.event_rows import EventRowsWriter
from journal.slices import VERIFIED, Place, places
from replay.errors import Divergence, ReplayError
from replay.interval import digests_in
from replay.kept import (
    KeptEvents,
    Verification,
    end_of,
    genesis_of,
    head_of,
    marks_of,
    verification_of,
    write_verification,
)
from replay.rebuild import Progress, capacity_of, check_rules, name_of_slice, played, source_digest, start


def keep_events(directory: Path | str, place: Place, progress: Progress | None = None) -> Verification:
    """Write the events of a closed slice, and the record of its verification, beside it; done again, read them only.

    ``progress``: called with commands done and commands in all. Raises ReplayError for an open slice and for rules that
    are not ours, Divergence where an event digest is not the recorded one or the last state is not the image of the
    next slice, JournalError from the journal, OSError.
    """
    with Journal.open(directory, readonly=True, slice_number=place.number) as journal:
        name = name_of_slice(directory, place.number)
        if place.number == places(Path(directory))[-1].number and not place.is_marked_closed:
            raise ReplayError(f"{name} is open; events are kept of closed slices")
        done = verification_of(journal)
        if done is not None and _is_whole(journal):
            return _checked(done, name)
        check_rules(name, int(journal.meta.get("rules_version", 0)))
        engine, events = _replay(journal, directory, name, progress)
        verification = Verification(
            number=place.number,
            genesis=genesis_of(journal).hex(),
            last_seq=journal.last_seq,
            rules_version=int(journal.meta["rules_version"]),
            release=version("lockstep"),
            source_digest=source_digest(),
            verified_at=datetime.now(UTC).isoformat(timespec="seconds"),
            commands=journal.last_seq - journal.start_seq,
            events=events,
            event_digest=engine.event_digest.hex(),
            gives_next_image=_gives_next_image(directory, journal, engine),
        )
        for path in place.folder.glob(f"{VERIFIED}.*.tmp"):  # what a kill left
            path.unlink(missing_ok=True)
        write_verification(place, verification)
    return _checked(verification, name)


def _checked(verification: Verification, name: str) -> Verification:
    """A verification that found no difference. Raises Divergence."""
    if verification.gives_next_image is False:
        raise Divergence(
            f"the state at the end of {name} is not the image that slice {verification.number + 1} starts from; do not "
            "trade on this directory"
        )
    return verification


def _is_whole(journal: Journal) -> bool:
    """True if the kept events are there and of this slice, as far as header and index say."""
    try:
        with KeptEvents(journal):
            return True
    except (JournalDamaged, JournalFault):
        return False


def _replay(
    journal: Journal, directory: Path | str, name: str, progress: Progress | None
) -> tuple[StatefulEngine, int]:
    """Replay a slice from its start into the file of its events: the engine at its end, and the number of events."""
    engine: StatefulEngine = start(journal, directory, journal.start_seq, "kernel", False, [])  # type: ignore[assignment]
    first_seq, last_seq = journal.start_seq, journal.last_seq
    writer = EventRowsWriter(journal.place.events, genesis_of(journal), EVENT.itemsize, head_of(engine))
    try:
        names = engine.directory
        for play in played(journal, engine, last_seq):
            recorded = journal.digest(play.block.first_seq)
            if recorded not in (None, engine.event_digest):
                raise Divergence(
                    f"the replay of {name} differs from the record in commands {play.block.first_seq:,} to "
                    f"{play.block.last_seq:,}; run `lockstep verify` with both engines, and do not trade on it"
                )
            writer.add(play.block.first_seq, play.block.last_seq, play.events.tobytes(), marks_of(names))
            names = engine.directory
            if progress is not None:
                progress(engine.seq - first_seq, last_seq - first_seq)
        writer.finish(end_of(engine, last_seq))
    finally:
        writer.close()
    return engine, writer.rows


def _gives_next_image(directory: Path | str, journal: Journal, engine: StatefulEngine) -> bool | None:
    """True if the last state is the image of the next slice; None if that is missing or of other rules."""
    number = journal.place.number + 1
    if not any(place.number == number for place in places(Path(directory))):
        return None
    with Journal.open(directory, readonly=True, slice_number=number) as following:
        start = following.start
        if start is None or following.meta.get("rules_version") != journal.meta.get("rules_version"):
            return None
        if not start.image:
            return None if start.event_digest == engine.event_digest else False
        digests = digests_in(engine, capacity_of(following))
        return (start.event_digest, start.image) == (engine.event_digest, digests)


#: Exit status where another process keeps the events of the slice.
BUSY: Final = 75


def main(arguments: list[str]) -> int:
    """Keep the events of one slice: data directory, number.

    Status 1 and a sentence where that fails, ``BUSY`` where another process is at it.
    """
    directory, number = Path(arguments[0]), int(arguments[1])
    place = next((place for place in places(directory) if place.number == number), None)
    if place is None:
        sys.stderr.write(f"{directory} holds no slice {number}\n")
        return 1
    try:
        keep_events(directory, place)
    except JournalBusy:
        return BUSY
    except (ReplayError, JournalError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
