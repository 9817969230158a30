"""Work on closed slices while the market runs: one after the other, by a child process at the lowest priority."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Final, Literal

from journal import Journal
from journal.slices import Place
from node.programs.supervisor import Program, Supervised, Supervisor

_NICE: Final = 19
#: Number of looks before another attempt where another process does the work on a slice, such as a person's command.
_LOOKS_BETWEEN: Final = 60
#: Number of looks before another attempt where a signal has ended the child, and of such attempts one after the other.
_LOOKS_AFTER_A_KILL: Final = 5
KILLED_MAX: Final = 10


class SliceWork(ABC):
    """Work on the slices that this node closes, and on those that an earlier life has left. The market never waits.

    Call ``look`` about once a second. ``report`` logs each slice that is done, ``warn`` what failed: once a slice,
    until the node starts again. A child that a signal ends, such as by a system without memory, is begun again.

    A use says which slice is next (``next_of``), how it is worked on (``words_for``), and what it has come to.
    """

    #: Name of the child, and its exit status where another process does the same; None: no process would.
    PROCESS: ClassVar[str]
    BUSY: ClassVar[int | None] = None
    #: Words of the log on a slice that is done, that a signal has put off, and that failed.
    DONE: ClassVar[str]
    PUT_OFF: ClassVar[str]
    FAILED: ClassVar[str]

    def __init__(
        self, journal: Journal, supervisor: Supervisor, report: Callable[..., None], warn: Callable[..., None]
    ) -> None:
        self._journal, self._supervisor = journal, supervisor
        self._report, self._warn = report, warn
        self._child: Supervised | None = None
        self._looked_at = 0  # number of the open slice when all before it were found done
        self._failed: set[int] = set()
        self._looks_left = 0
        self._killed = 0  # children that a signal has ended, one after the other

    @abstractmethod
    def next_of(self, failed: set[int]) -> Place | Literal["later"] | None:
        """The first slice that wants the work; "later": none can be begun yet; None: no closed slice wants it.

        failed: numbers of slices that are left as they are.
        """

    @abstractmethod
    def words_for(self, place: Place) -> tuple[str, ...]:
        """Command line of the child that works on a slice."""

    @abstractmethod
    def is_done(self, place: Place) -> bool:
        """True if a child that ended in order has done its work."""

    @abstractmethod
    def remedy(self) -> str:
        """Advice to a person about a slice that failed."""

    def facts_of(self, _place: Place) -> dict[str, str]:
        """Further words of the log on a slice that is done."""
        return {}

    @property
    def is_busy(self) -> bool:
        """True while a child is at work."""
        return self._child is not None and self._child.pid != 0

    def look(self) -> None:
        """Begin with the next slice, if none is at work. Never waits."""
        if self.is_busy or self._looked_at == self._journal.place.number:
            return
        if self._looks_left:
            self._looks_left -= 1
            return
        place = self.next_of(self._failed)
        if place is None:
            self._looked_at = self._journal.place.number
        elif place != "later":
            self._begin(place)

    def _begin(self, place: Place) -> None:
        def on_end(status: int, complaint: str) -> None:
            self._on_end(place, status, complaint)

        program = Program(self.PROCESS, self.words_for(place), restarts=False, nice=_NICE, on_end=on_end)
        self._child = self._supervisor.start(program)

    def _on_end(self, place: Place, status: int, complaint: str) -> None:
        if status == 0 and self.is_done(place):
            self._killed = 0
            self._report(self.DONE, slice=place.number, **self.facts_of(place))
        elif status == self.BUSY:
            self._looks_left = _LOOKS_BETWEEN
        elif status < 0 and self._killed < KILLED_MAX:
            self._killed += 1
            self._looks_left = _LOOKS_AFTER_A_KILL
            self._report(self.PUT_OFF, slice=place.number, why=f"signal {-status} ended the process")
        else:
            self._failed.add(place.number)
            why = complaint or f"its process ended with status {status}"
            self._warn(self.FAILED, slice=place.number, why=why, then=self.remedy())
