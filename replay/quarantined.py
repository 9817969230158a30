"""Commands of a quarantine, played after the journal's commands before them: the events are those that an old primary
produced, and that nobody was told of.

Where several slices were set aside, the quarantines before one are played first. The journal itself is not changed.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from engine.interface import MarketEngine
from engine.market_time import ends_extended
from engine.records import COMMAND_FIELDS
from journal import marks
from journal.history import History
from journal.quarantine import Quarantine, quarantined_blocks, quarantines, read_quarantine
from replay.errors import ReplayError
from replay.past import PlayedBlock
from replay.rebuild import ReplayedBlock, check_rules, owned_rows, rebuild


def play_quarantine(
    directory: Path,
    name: str,
    from_seq: int | None = None,
    to_seq: int | None = None,
    *,
    prepare: Callable[[], object] = lambda: None,
) -> Iterator[PlayedBlock]:
    """Blocks of a quarantine that have a command of the range, with their events. ``prepare``: called before an engine
    is made.

    Raises JournalError where there is no such quarantine, JournalDamaged, ReplayError where the range is not in it or
    the commands before it are not there.
    """
    wanted = read_quarantine(directory, name)
    first, last = from_seq or wanted.first_seq, to_seq or wanted.last_seq
    if wanted.commands and not wanted.first_seq <= first <= last <= wanted.last_seq:
        raise ReplayError(
            f"quarantine {name} has commands {wanted.first_seq} to {wanted.last_seq}, not {first} to {last}"
        )
    chain = _chain(directory, wanted)
    _check_before(directory, chain[0])
    prepare()
    engine = rebuild(directory, at=chain[0].first_seq - 1).engine
    for quarantine in chain:
        for played in _played(directory, quarantine, engine, last):
            if quarantine is wanted and played.play.first_seq + len(played.play.commands) > first:
                yield played


def _chain(directory: Path, wanted: Quarantine) -> list[Quarantine]:
    """A quarantine, and before it those that were set aside with it and lead to it."""
    found, _ = quarantines(directory)
    chain = [wanted]
    while (start := marks.decode_genesis(chain[0].genesis).start) is not None and chain[0].link == chain[0].genesis[
        :16
    ]:
        end = (start.last_seq, start.link)
        before = next((each for each in found if (each.last_seq, each.checksum) == end), None)
        if before is None:
            break
        chain.insert(0, before)
    return chain


def _check_before(directory: Path, first: Quarantine) -> None:
    """Raise ReplayError unless the journal has the block that a quarantine follows."""
    genesis, seq = marks.decode_genesis(first.genesis), first.first_seq - 1
    begins_slice = first.link == genesis.checksum
    link = first.link if not begins_slice or genesis.start is None else genesis.start.link
    with History.open(directory) as history:
        for block in history.blocks(seq, seq) if seq and seq <= history.last_seq else ():
            if (block.last_seq, block.checksum) == (seq, link):
                return
        starts = {history.journal(place.number).genesis[:16] for place in history.places}
    if link not in starts:
        raise ReplayError(
            f"the journal in {directory} does not have the block before quarantine {first.name}, so its commands "
            "cannot be named; restore the journal from a copy"
        )


def _played(directory: Path, quarantine: Quarantine, engine: MarketEngine, last: int) -> Iterator[PlayedBlock]:
    extended = False
    for block in quarantined_blocks(directory, quarantine.name):
        if block.first_seq > last:
            return
        check_rules(f"quarantine {quarantine.name}", block.rules_version)
        commands = owned_rows(block.rows)[: last - block.first_seq + 1]
        before = engine.directory
        events = engine.apply(commands)
        play = ReplayedBlock(block, block.first_seq, commands, events, len(commands) == block.count, extended)
        extended = ends_extended(commands)
        yield PlayedBlock(play, before, engine.directory)


def participants_in(directory: Path, name: str, *, prepare: Callable[[], object] = lambda: None) -> list[str]:
    """Names of the participants with a command in a quarantine, in order of first definition. Raises as
    ``play_quarantine``."""
    kinds = [int(kind) for kind, fields in COMMAND_FIELDS.items() if "participant" in fields]
    numbers: set[int] = set()
    names: tuple[str, ...] = ()
    for play, _, after in play_quarantine(directory, name, prepare=prepare):
        rows = play.commands[np.isin(play.commands["kind"], kinds)]
        numbers.update(rows["participant"].tolist())
        names = after.participants
    return [each for number, each in enumerate(names, 1) if number in numbers]
