"""Negative controls: cores that are broken on purpose, each in one way. The simulator must notice each of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from replication.copy_connection import Copy
from replication.link import Frame, Kind
from replication.primary import Primary
from replication.standby import Standby
from tests.simulation.node import Parts
from tests.simulation.simulation import Setup


class AcknowledgesEarly(Standby):
    """A standby that acknowledges what the primary has, before it has the block itself."""

    def acknowledge(self, now_ns: int) -> None:
        """Acknowledge too much."""
        with self._too_much():
            super().acknowledge(now_ns)

    def acknowledge_taken(self, now_ns: int) -> None:
        """Acknowledge too much."""
        with self._too_much():
            super().acknowledge_taken(now_ns)

    @contextmanager
    def _too_much(self) -> Iterator[None]:
        taken_seq, journaled_seq = self.taken_seq, self.journaled_seq
        self.taken_seq = self.journaled_seq = max(self.primary_seq, taken_seq)
        yield
        self.taken_seq, self.journaled_seq = taken_seq, journaled_seq


class AcknowledgesBeforeTheDisk(Standby):
    """A standby that acknowledges as on the disk what it has in memory."""

    def on_taken(self, last_seq: int, epoch: int) -> None:
        """Call the block written."""
        super().on_taken(last_seq, epoch)
        self.on_journaled(last_seq)


class ForgetsRestart(Standby):
    """A standby that takes over under `replica` after a restart, though its memory is gone."""

    def __init__(self, *args: object, **more: object) -> None:
        super().__init__(*args, **{**more, "memory_kept": True})  # type: ignore[arg-type]


class ForgetsDamage(Standby):
    """A standby that takes over though its disk lacks what it had acknowledged."""

    def __init__(self, *args: object, **more: object) -> None:
        super().__init__(*args, **{**more, "incomplete": ""})  # type: ignore[arg-type]


class SkipsComparison(Standby):
    """A standby that compares nothing."""

    def _judge(self) -> None:
        pass

    def compare_part(self, seq: int, part: str, own: bytes, other: bytes) -> None:
        """Take any part for right."""


class LeavesSlicesOut(Standby):
    """A standby that does not begin the slices that the primary begins."""

    def _take(self, frame: Frame) -> None:
        if frame.kind != Kind.SLICE:
            super()._take(frame)


class PrimarySkipsComparison(Primary):
    """A primary that compares nothing."""

    def _judge(self, copy: Copy) -> None:
        pass


class IgnoresEpoch(Primary):
    """A primary that goes on when it hears of a later epoch; its lease is ignored as well."""

    def on_record_refused(self, epoch: int) -> None:
        """Go on."""

    def _on_newer_epoch(self, copy: Copy, epoch: int) -> None:
        self._refuse(copy, f"epoch {epoch} is not for me")


class AnswersAlone(Primary):
    """A primary that answers alone before the arbiter's record is without the standby."""

    def disconnect(self, copy: Copy, why: str = "the connection ended") -> None:
        """Forget the standby at once."""
        super().disconnect(copy, why)
        live = {each.name for each in self.copies if each.state == "live"}
        if copy.name and copy.name not in live:
            self.recorded -= {copy.name}
            self.asked -= {copy.name}


class RecordsEarly(Primary):
    """A primary that records a standby before it has all that was told."""

    def _joins(self, copy: Copy) -> bool:
        return copy.role == "standby"

    def _has_what_was_told(self, copy: Copy) -> bool:  # noqa: ARG002
        return True


class RecordsAloneEarly(Primary):
    """A primary that under `replica` has itself recorded alone, while its memory alone has what was told."""

    def _memory_alone_has_what_was_told(self) -> bool:
        return False


class CountsMemoryOfTheUnrecorded(Primary):
    """A primary that under `replica` answers by the memory of a node that the record does not name yet."""

    @property
    def _may_be_named_alone(self) -> bool:
        return False


BOTH: Final = Setup(policy="both")
REPLICA: Final = Setup(policy="replica")
#: The primary's clock is as slow as allowed, and the arbiter's as fast, and the primary loses the arbiter alone.
SLOW_CLOCK: Final = Setup("both", (-10_000, 10_000, 10_000), 2_000, ("primary without arbiter",))
#: The record cannot be written for a while, and the primary's disk is behind when it dies.
UNRECORDED: Final = Setup(
    "replica",
    only=(
        "primary without arbiter",
        "arbiter pause",
        "cascade",
        "crash in a write",
        "slow disk",
        "orderly restart",
        "arbiter crash",
        "hung disk",
    ),
)
#: The primary's disk is behind when the standby is gone, and then the primary dies.
BEHIND: Final = Setup("replica", only=("cascade", "hung disk", "crash in a write", "connection reset"))
#: Each control, and where it shows.
CONTROLS: Final[dict[str, tuple[Parts, Setup]]] = {
    "a standby acknowledges before it has the block": (Parts(standby=AcknowledgesEarly), BOTH),
    "a standby acknowledges before its disk has the block": (Parts(standby=AcknowledgesBeforeTheDisk), BOTH),
    "a standby forgets that a restart lost its memory": (Parts(standby=ForgetsRestart), REPLICA),
    "a standby forgets that its disk was damaged": (Parts(standby=ForgetsDamage), BOTH),
    "a primary ignores its epoch and its lease": (Parts(primary=IgnoresEpoch, ignores_lease=True), BOTH),
    "a lease has no margin": (Parts(lease_margin_ns=0), SLOW_CLOCK),
    "the comparison is skipped": (Parts(standby=SkipsComparison, primary=PrimarySkipsComparison), BOTH),
    "a standby leaves slices out": (Parts(standby=LeavesSlicesOut), Setup("both", only=("roll",))),
    "the quarantine is dropped": (Parts(drops_quarantine=True), BOTH),
    "a primary answers alone before the record is written": (Parts(primary=AnswersAlone), BOTH),
    "a standby is recorded before it has all that was told": (Parts(primary=RecordsEarly), BOTH),
    "a primary is recorded alone before its disk has what was told": (Parts(primary=RecordsAloneEarly), BEHIND),
    "a memory counts while its node is not recorded": (Parts(primary=CountsMemoryOfTheUnrecorded), UNRECORDED),
}
