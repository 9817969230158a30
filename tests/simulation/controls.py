"""Negative controls: cores that are broken on purpose, each in one way. The simulator must notice each of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from replication.arbiter import Standing
from replication.copy_connection import Copy
from replication.link import Frame, Kind, Rows
from replication.primary import Primary
from replication.standby import Standby
from tests.simulation.node import Parts
from tests.simulation.simulation import Setup


class IgnoresAcknowledged(Standby):
    """A standby that takes over though its directory is an older copy of itself."""

    def _reason_by_position(self, acknowledged_seq: int) -> str:  # noqa: ARG002
        return ""


class AcknowledgesEarly(IgnoresAcknowledged):
    """A standby that acknowledges what the primary has, before it has the block itself.

    The acknowledged command in the record would hide most of that.
    """

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

    def on_taken(self, last_seq: int, epoch: int, rows: bytes | memoryview) -> None:
        """Call the block written."""
        super().on_taken(last_seq, epoch, rows)
        self.on_journaled(last_seq)


class ForgetsRowsAhead(Standby):
    """A standby that takes over without the rows that it has acknowledged ahead of their block."""

    def rows_without_block(self, standing: Standing | None, *, won: bool = False) -> Rows | None:
        """Forget them."""
        if super().rows_without_block(standing, won=won) is not None:
            self.drop_ahead()
        return None


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
        live = {each.member for each in self.copies if each.state == "live"}
        if copy.member and copy.member not in live:
            self.recorded -= {copy.member}
            self.asked -= {copy.member}


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
SLOW_CLOCK: Final = Setup("both", (-10_000, 10_000, 10_000), 2_000, ("primary without arbiter",), late=False)
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
#: The standby wins while the link from the old primary is well, and slow.
LINK_ALONE: Final = Setup("both", ttl_ms=300, only=("primary without arbiter", "slow network"))
#: An older backup of one node comes back while the other is gone, or a twin runs beside it.
OLD_BACKUP: Final = Setup("both", only=("older backup", "crash", "crash of the primary", "pause"))
TWIN: Final = Setup("both", only=("twin", "crash", "crash of the primary", "pause", "partition"))
#: A command that was told is not in the history of a new primary.
_LOST: Final = r"took over without command \d+, which was told"
_OLD_EPOCH: Final = r"answers in epoch \d+ after epoch \d+ was won"


class Control(NamedTuple):
    """Broken cores, the runs in which they show, and the sentence (regular expression) that names the promise.

    ``seed``: of a run in which it showed last, to be tried first.
    """

    parts: Parts
    setup: Setup
    broken: str
    seed: int = 1


#: Each control by its defect.
CONTROLS: Final[dict[str, Control]] = {
    "a standby acknowledges before it has the block": Control(Parts(standby=AcknowledgesEarly), BOTH, _LOST, seed=5),
    "a standby acknowledges before its disk has the block": Control(
        Parts(standby=AcknowledgesBeforeTheDisk), BOTH, _LOST, seed=10
    ),
    "a standby forgets that a restart lost its memory": Control(Parts(standby=ForgetsRestart), REPLICA, _LOST, seed=1),
    "a standby forgets that its disk was damaged": Control(Parts(standby=ForgetsDamage), BOTH, _LOST, seed=2),
    "a standby forgets rows that came ahead of their block": Control(
        Parts(standby=ForgetsRowsAhead), REPLICA, _LOST, seed=18
    ),
    "a primary ignores its epoch and its lease": Control(
        Parts(primary=IgnoresEpoch, ignores_lease=True), BOTH, _OLD_EPOCH, seed=11
    ),
    "a lease has no margin": Control(Parts(lease_margin_ns=0), SLOW_CLOCK, _OLD_EPOCH, seed=36),
    "the comparison is skipped": Control(
        Parts(standby=SkipsComparison, primary=PrimarySkipsComparison),
        BOTH,
        "the flipped bit of [AB] has not been noticed",
        seed=2,
    ),
    "an older backup passes for the directory": Control(Parts(standby=IgnoresAcknowledged), OLD_BACKUP, _LOST, seed=3),
    "the ids of directories are ignored": Control(Parts(twins_keep_the_id=True), TWIN, _LOST, seed=1),
    "a standby leaves slices out": Control(
        Parts(standby=LeavesSlicesOut),
        Setup("both", only=("roll",)),
        r"does not follow the block that ends at seq \d+",
        seed=2,
    ),
    "the quarantine is dropped": Control(
        Parts(drops_quarantine=True),
        BOTH,
        r"\d+ blocks of [ABC] are neither in its journal nor in its quarantine",
        seed=4,
    ),
    "a primary answers alone before the record is written": Control(Parts(primary=AnswersAlone), BOTH, _LOST, seed=10),
    "a standby is recorded before it has all that was told": Control(
        Parts(primary=RecordsEarly, standby=IgnoresAcknowledged), BOTH, _LOST, seed=10
    ),
    "a primary is recorded alone before its disk has what was told": Control(
        Parts(primary=RecordsAloneEarly, standby=IgnoresAcknowledged), BEHIND, _LOST, seed=3
    ),
    "a memory counts while its node is not recorded": Control(
        Parts(primary=CountsMemoryOfTheUnrecorded, standby=IgnoresAcknowledged), UNRECORDED, _LOST, seed=30
    ),
    "a reign begins before what was taken is applied": Control(
        Parts(reigns_unapplied=True), LINK_ALONE, r"[AB] begins its reign after command \d+ of \d+", seed=5
    ),
}
