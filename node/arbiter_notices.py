"""Notices of a node on its arbiter, which answers again, and on its lease, which ends or is renewed. Pure."""

from node.copy_notices import Notice
from replication.candidacy import Candidacy
from replication.own_pause import OwnPauses
from replication.tenure import Tenure


class ArbiterNotices:
    """Notices on the arbiter and the lease, each as it comes about. The failures themselves are logged as they come."""

    def __init__(self) -> None:
        self._failed_ns: int | None = None
        self._was_held = True
        self._pauses = OwnPauses()

    def look(self, candidacy: Candidacy, tenure: Tenure | None, now_ns: int) -> list[Notice]:
        """Notices on what has changed since the last look. ``tenure``: of a primary; ``now_ns``: monotonic."""
        pause_ns = self._pauses.look(now_ns)
        failure = candidacy.failure if tenure is None else tenure.failure
        found = [] if tenure is None or tenure.why else self._of_lease(tenure, now_ns, pause_ns)
        if failure and self._failed_ns is None:
            self._failed_ns = now_ns
        elif not failure and self._failed_ns is not None:
            after_ms = (now_ns - self._failed_ns) // 1_000_000
            self._failed_ns = None
            found.append(Notice("info", "the arbiter answers again", {"after_ms": after_ms}))
        return found

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
