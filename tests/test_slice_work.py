"""Work on closed slices goes on over killed children, a slice at a time, and is the same for each of its uses."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

from attestation import signatures
from journal import Journal, slices
from journal.slices import Place
from node.core.event_keeper import EventKeeper
from node.core.slice_signer import SliceSigner
from node.core.slice_work import KILLED_MAX, SliceWork
from node.programs.supervisor import Supervisor
from tests.nodes import write_slices
from tests.slice_works import Note, Told, working
from tests.streams import random_stream
from tests.test_supervisor import until as soon

ROWS = random_stream(5, 600, hostile=0.0, garbage=0.0)
#: A child that notes its slice, or ends with a status of its own where a file of that name is there.
NOTES = """
import pathlib, sys
folder = pathlib.Path(sys.argv[1])
sys.exit(7) if (folder / "other").exists() else (folder / "noted").touch()
"""


class Notes(SliceWork):
    """A use without a market: a note beside each closed slice."""

    PROCESS = "notes"
    BUSY = 7
    DONE, PUT_OFF, FAILED = "noted", "noted later", "not noted"

    def next_of(self, failed: set[int]) -> Place | Literal["later"] | None:
        closed = slices.places(self._journal.path)[:-1]
        return next((each for each in closed if each.number not in failed and not self.is_done(each)), None)

    def words_for(self, place: Place) -> tuple[str, ...]:
        return (sys.executable, "-c", NOTES, str(place.folder))

    def is_done(self, place: Place) -> bool:
        return (place.folder / "noted").exists()

    def remedy(self) -> str:
        return "note it by hand"


def _keeps(journal: Journal, supervisor: Supervisor, report: Note, warn: Note) -> SliceWork:
    return EventKeeper(journal, supervisor, report, warn)


def _signs(journal: Journal, supervisor: Supervisor, report: Note, warn: Note) -> SliceWork:
    return SliceSigner(journal, supervisor, journal.path.parent / "key", report, warn, awaits_events=False)


USES = {"notes": Notes, "events": _keeps, "attestations": _signs}


@pytest.mark.slow
@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("kills", [2, KILLED_MAX + 1])
def test_a_child_that_is_killed_is_begun_again_but_not_for_ever(tmp_path: Path, use: str, kills: int) -> None:
    signatures.new_key(tmp_path / "key")
    write_slices(tmp_path / "node", ROWS, [300])

    async def story(made: Callable[[], SliceWork], told: Told) -> None:
        work = made()
        for _ in range(kills):
            await soon(lambda: work.look() or work.is_busy, "no child is begun")
            assert work._child is not None
            os.kill(work._child.pid, signal.SIGKILL)
            await soon(lambda: not work.is_busy, "the child does not end")
        done = work.DONE if kills <= KILLED_MAX else work.FAILED
        wanted = [work.PUT_OFF] * min(kills, KILLED_MAX) + [done]
        await soon(lambda: work.look() or len(told) == len(wanted), "nothing came of it")
        assert [what for what, _ in told] == wanted
        work.look()
        assert work._looked_at == 2, "nothing is left"

    working(tmp_path / "node", USES[use], story)


def test_slices_are_worked_on_in_order_and_what_another_process_does_is_no_failure(tmp_path: Path) -> None:
    write_slices(tmp_path, ROWS, [200, 400])
    first = slices.places(tmp_path)[0].folder
    (first / "other").touch()

    async def story(made: Callable[[], SliceWork], told: Told) -> None:
        work = made()
        await soon(lambda: work.look() or work.is_busy, "no child is begun")
        await soon(lambda: not work.is_busy, "the child does not end")
        work.look()
        assert not work.is_busy, "it looks again after a while"
        (first / "other").unlink()
        await soon(lambda: work.look() or len(told) == 2, "nothing came of it")
        assert told == [("noted", {"slice": 1}), ("noted", {"slice": 2})]

    working(tmp_path, Notes, story)
