"""Notices of a node on its arbiter, which fails or answers again, and on its lease, which ends or is renewed. Pure."""

from typing import Final

from node.pair.copy_notices import Notice
from replication.candidacy import Candidacy
from replication.own_pause import OwnPauses
from replication.tenure import Tenure

#: Time without a failure after which the arbiter is said to answer again.
SETTLED_NS: Final = 1_000_000_000
_REASONS_MAX: Final = 64


class ArbiterNotices:
    """Notices on the arbiter and the lease, each as it comes about."""

    def __init__(self) -> None:
        #: When the first request of an outage failed, and when the first one was answered after the last failure.
        self._failed_ns: int | None = None
        self._answered_ns: int | None = None
        self._told: set[str] = set()
        self._was_held = True
        self._pauses = OwnPauses()

    def look(self, candidacy: Candidacy, tenure: Tenure | None, now_ns: int) -> list[Notice]:
        """Notices on what has changed since the last look. ``tenure``: of a primary; ``now_ns``: monotonic."""
        pause_ns = self._pauses.look(now_ns)
        failure = candidacy.failure if tenure is None else tenure.failure
        found = [] if tenure is None or tenure.why else self._of_lease(tenure, now_ns, pause_ns)
        if failure:
            self._note_failure(now_ns)
        elif self._failed_ns is not None:
            self._answered_ns = now_ns if self._answered_ns is None else self._answered_ns
            if now_ns - self._answered_ns >= SETTLED_NS:
                after_ms = (self._answered_ns - self._failed_ns) // 1_000_000
                self._failed_ns = None
                self._told.clear()
                found.append(Notice("info", "the arbiter answers again", {"after_ms": after_ms}))
        return found

    def _note_failure(self, now_ns: int) -> None:
        self._failed_ns = now_ns if self._failed_ns is None else self._failed_ns
        self._answered_ns = None

    def on_failure(self, why: str, now_ns: int) -> Notice | None:
        """Notice on a request that failed; None for a reason that was told, until the arbiter answers again.

        An arbiter whose disk is full answers what only reads, and refuses the rest, many times a second.
        """
        self._note_failure(now_ns)
        if why in self._told:
            return None
        if len(self._told) < _REASONS_MAX:
            self._told.add(why)
        return Notice("warning", "the arbiter does not answer", {"why": why})

    def _of_lease(self, tenure: Tenure, now_ns: int, pause_ns: int) -> list[Notice]:
        was_held, self._was_held = self._was_held, tenure.holds(now_ns)
        if was_held and not self._was_held:
            paused = f"this node itself stood still for {pause_ns / 1e9:.1f} s" if pause_ns else ""
            why = tenure.failure or paused or "no renewal was answered in time"
            then = "nothing is answered until the arbiter confirms this node as primary, or names another"
            return [Notice("warning", "the lease has ended", {"why": why, "then": then})]
        if self._was_held and not was_held:
            return [Notice("info", "the lease is renewed", {"then": "orders are answered again"})]
        return []
