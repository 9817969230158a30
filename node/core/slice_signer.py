"""Attestations of closed slices, signed by a child process at the lowest priority while the market runs."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from attestation.slices import unsigned
from journal import Journal
from journal.slices import Place
from node.programs.process_names import ATTESTATION
from node.programs.supervisor import Program, Supervised, Supervisor

#: Program of the child.
_PROGRAM: Final = "attestation.sign_slice"
_NICE: Final = 19
#: Number of looks before another attempt where a signal has ended the child, and such attempts for one slice.
_LOOKS_AFTER_A_KILL: Final = 5
KILLED_MAX: Final = 10
#: Looks for which a slice waits for its events: those of another release's rules never come, and others would wait too.
EVENTS_LOOKS_MAX: Final = 600


class SliceSigner:
    """Signer of the slices that this node closes, and of earlier ones without an attestation (``attestation.slices``).

    Call ``look`` about once a second. awaits_events: a slice is signed once its events are kept beside it, which saves
    a replay, or after ``EVENTS_LOOKS_MAX`` looks without them. ``report`` logs each slice that is done, ``warn`` what
    failed: once a slice, until the node starts again. The market waits for none of it. The key is read by the child
    alone.
    """

    def __init__(
        self,
        journal: Journal,
        supervisor: Supervisor,
        key_file: Path,
        report: Callable[..., None],
        warn: Callable[..., None],
        *,
        awaits_events: bool,
    ) -> None:
        self._journal, self._supervisor, self._key_file = journal, supervisor, key_file.absolute()
        self._report, self._warn = report, warn
        self._awaits_events = awaits_events
        self._child: Supervised | None = None
        self._place: Place | None = None
        self._looked_at = 0  # number of the open slice when all before it were found done
        self._failed: set[int] = set()
        self._looks_left = 0
        self._waited = 0  # looks for the events of the next slice
        self._killed = 0  # children that a signal has ended, one after the other

    def look(self) -> None:
        """Begin with the next slice, if none is at work. Never waits."""
        if (self._child is not None and self._child.pid) or self._looked_at == self._journal.place.number:
            return
        if self._looks_left:
            self._looks_left -= 1
            return
        left = [place for place in unsigned(self._journal.path) if place.number not in self._failed]
        if not left:
            self._looked_at = self._journal.place.number
        elif self._awaits_events and self._waited < EVENTS_LOOKS_MAX and not left[0].events.exists():
            self._waited += 1
        else:
            self._begin(left[0])

    def _begin(self, place: Place) -> None:
        self._place, self._waited = place, 0
        directory = str(self._journal.path.absolute())
        words = (sys.executable, "-m", _PROGRAM, directory, str(place.number), str(self._key_file))
        program = Program(ATTESTATION, words, restarts=False, nice=_NICE, on_end=self._on_end)
        self._child = self._supervisor.start(program)

    def _on_end(self, status: int, complaint: str) -> None:
        place = self._place
        assert place is not None, "a child signs a slice"
        if status == 0 and place.attestation.exists():
            self._killed = 0
            self._report("slice attested", slice=place.number, path=str(place.attestation))
        elif status < 0 and self._killed < KILLED_MAX:  # such as by a system without memory
            self._killed += 1
            self._looks_left = _LOOKS_AFTER_A_KILL
            self._report("slice attested later", slice=place.number, why=f"signal {-status} ended the process")
        else:
            self._failed.add(place.number)
            why = complaint or f"its process ended with status {status}"
            then = f"run `lockstep attest slices {self._journal.path} --key {self._key_file}`; the market goes on"
            self._warn("slice not attested", slice=place.number, why=why, then=then)
