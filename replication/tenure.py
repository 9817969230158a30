"""Keeping of a reign: renewals of the lease, the record of the nodes in sync, and its end.

Pure: requests out, answers and time in. A renewal and a change of the record may be under way at once, so that a slow
record does not cost the lease. An outcome that is unknown may still come true later. So the names of such a request
stay with those that answers wait for (``Primary.asked``) until a later revision of the record makes it impossible.
"""

from typing import Final, Protocol

from replication.arbiter import Answer, Lost, Read, Reason, Record, Reign, Release, Renew, Request, Standing, Won
from replication.lease import Lease

#: Wait after a failed change of the record.
RETRY_NS: Final = 20_000_000
#: Interval at which the record gets the newest command that clients were told of.
ACKNOWLEDGED_NS: Final = 1_000_000_000


class InSync(Protocol):
    """Names of the nodes in sync, as ``replication.primary.Primary`` keeps them."""

    @property
    def wish(self) -> frozenset[str] | None:
        """Names to record now, if any."""
        ...

    @property
    def acknowledged_seq(self) -> int:
        """Newest command that clients were told of and that each node in sync has."""
        ...

    def on_record_asked(self, names: frozenset[str]) -> None:
        """Note a request."""
        ...

    def on_record_answered(self, recorded: frozenset[str]) -> None:
        """Take the record."""
        ...

    def on_record_refused(self, epoch: int) -> None:
        """Note that another reign has begun."""
        ...


class Tenure:
    """A reign as its primary keeps it. ``why``: how it ended, "" while it lasts.

    ``holds`` decides on each release; the shell sends what ``next_requests`` gives, each with its monotonic time.
    """

    def __init__(self, won: Won, lease: Lease, in_sync: InSync) -> None:
        self.reign: Reign = won.reign
        self.lease = lease
        self.why = ""
        self.failure = ""
        self._in_sync = in_sync
        self._renewal_sent_ns: int | None = None
        #: The request about the record that is under way.
        self._asking: Record | Read | None = None
        #: A change of unknown outcome, and whether it was read that it has not come true yet.
        self._unknown: Record | None = None
        self._write_again = False
        self._record_next_ns = 0
        self._acknowledged_next_ns = 0

    @property
    def epoch(self) -> int:
        """Epoch of the reign."""
        return self.reign.epoch

    def holds(self, now_ns: int) -> bool:
        """True while this node is certainly primary."""
        return self.lease.holds(now_ns)

    def next_requests(self, now_ns: int) -> list[Request]:
        """Requests to send now."""
        requests: list[Request] = []
        if self.why:
            return requests
        if self._renewal_sent_ns is None and now_ns >= self.lease.next_renewal_ns:
            self._renewal_sent_ns = now_ns
            self.lease.renewal_sent(now_ns)
            requests.append(Renew(self.epoch))
        if (
            self._asking is None
            and now_ns >= self._record_next_ns
            and (about := self._about_the_record(now_ns)) is not None
        ):
            self._asking = about
            requests.append(about)
        return requests

    def _about_the_record(self, now_ns: int) -> Record | Read | None:
        if self._unknown is not None:
            return self._unknown if self._write_again else Read()
        names, acknowledged_seq = self._in_sync.wish, self._in_sync.acknowledged_seq
        if names is None:
            if acknowledged_seq <= self.reign.acknowledged_seq or now_ns < self._acknowledged_next_ns:
                return None
            names = frozenset(self.reign.in_sync)
        self._acknowledged_next_ns = now_ns + ACKNOWLEDGED_NS
        self._in_sync.on_record_asked(names)
        return Record(self.epoch, self.reign.revision, tuple(sorted(names)), acknowledged_seq)

    def on_answer(self, request: Request, answer: Answer) -> None:
        """Take the answer to a request."""
        if isinstance(request, Renew):
            self._on_renewal_answer(answer)
        elif isinstance(request, Record | Read):
            self._asking = None
            self._on_record_answer(request, answer)

    def _on_renewal_answer(self, answer: Answer) -> None:
        sent_ns, self._renewal_sent_ns = self._renewal_sent_ns, None
        if isinstance(answer, Won) and sent_ns is not None:
            self.failure = ""
            self.lease.renewed(sent_ns, answer.ttl_ns)
        elif isinstance(answer, Lost):
            self._end(answer)

    def _on_record_answer(self, request: Record | Read, answer: Answer) -> None:
        if isinstance(answer, Won):
            self.reign = answer.reign
            self._unknown = None
            self._in_sync.on_record_answered(frozenset(answer.reign.in_sync))
        elif isinstance(answer, Standing):
            self._on_record_read(answer)
        elif isinstance(answer, Lost) and answer.reason is Reason.CHANGED and isinstance(request, Record):
            self._unknown, self._write_again = request, False  # an earlier one of unknown outcome came true
        elif isinstance(answer, Lost):
            self._end(answer)

    def _on_record_read(self, standing: Standing) -> None:
        reign, unknown = standing.reign, self._unknown
        if reign is None or reign.epoch != self.epoch:
            self._end(Lost(Reason.ENDED, f"epoch {self.epoch} has ended at the arbiter", reign))
        elif unknown is not None and reign.revision > unknown.revision:
            # Whatever becomes of the late request, it cannot be written over a later revision.
            self.reign, self._unknown = reign, None
            self._in_sync.on_record_answered(frozenset(reign.in_sync))
        elif unknown is not None:
            # It may still come: once it is written again, by whichever request, the outcome is known.
            self._write_again = True

    def on_failure(self, request: Request, why: str, now_ns: int) -> None:
        """Note that a request failed, or that its outcome is unknown."""
        self.failure = why
        if isinstance(request, Renew):
            self._renewal_sent_ns = None
        elif isinstance(request, Record | Read):
            self._asking = None
            self._record_next_ns = now_ns + RETRY_NS
            if isinstance(request, Record):
                self._unknown, self._write_again = request, False

    def release(self, successor: str = "") -> Release:
        """End the reign: nothing is answered from now on. Gives the request, which the shell sends."""
        self.lease.lost()
        self.why = f"the reign was handed to {successor}" if successor else "the reign was given up"
        return Release(self.epoch, successor)

    def _end(self, lost: Lost) -> None:
        self.lease.lost()
        self.why = lost.why
        self._in_sync.on_record_refused(lost.reign.epoch if lost.reign is not None else 0)
