"""Attestations of closed slices, signed by a child process while the market runs (``attestation.slices``)."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Final, Literal

from attestation.slices import unsigned
from journal import Journal
from journal.slices import Place
from node.core.slice_work import SliceWork
from node.programs.process_names import ATTESTATION
from node.programs.supervisor import Supervisor

#: Program of the child.
_PROGRAM: Final = "attestation.sign_slice"
#: Looks for which a slice waits for its events: those of another release's rules never come, and others would wait too.
EVENTS_LOOKS_MAX: Final = 600


class SliceSigner(SliceWork):
    """Signer of closed slices.

    awaits_events: a slice is signed once its events are kept beside it, which saves a replay, or after
    ``EVENTS_LOOKS_MAX`` looks without them. The key is read by the child alone.
    """

    PROCESS: ClassVar = ATTESTATION
    DONE: ClassVar = "slice attested"
    PUT_OFF: ClassVar = "slice attested later"
    FAILED: ClassVar = "slice not attested"

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
        super().__init__(journal, supervisor, report, warn)
        self._key_file = key_file.absolute()
        self._awaits_events = awaits_events
        self._waited = 0  # looks for the events of the next slice

    def next_of(self, failed: set[int]) -> Place | Literal["later"] | None:
        """The first closed slice without an attestation, once it has its events."""
        place = next((each for each in unsigned(self._journal.path) if each.number not in failed), None)
        if place is None:
            return None
        if self._awaits_events and self._waited < EVENTS_LOOKS_MAX and not place.events.exists():
            self._waited += 1
            return "later"
        self._waited = 0
        return place

    def words_for(self, place: Place) -> tuple[str, ...]:
        """Command line of the child."""
        directory = str(self._journal.path.absolute())
        return (sys.executable, "-m", _PROGRAM, directory, str(place.number), str(self._key_file))

    def is_done(self, place: Place) -> bool:
        """True if the attestation is there."""
        return place.attestation.exists()

    def facts_of(self, place: Place) -> dict[str, str]:
        """Path of the attestation, for the log."""
        return {"path": str(place.attestation)}

    def remedy(self) -> str:
        """The command for a person."""
        return f"run `lockstep attest slices {self._journal.path} --key {self._key_file}`; the market goes on"
