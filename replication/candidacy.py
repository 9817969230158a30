"""Way of a node to a reign: it reads the arbiter's register, and asks for the reign once nobody holds it.

Pure: requests out, answers and time in. One request is under way at a time; the shell sends what ``next_request`` gives
and reports ``on_answer`` or ``on_failure``. The decision on this node's own fitness is the caller's (``fitness``).
"""

from collections.abc import Callable
from typing import Final

from replication.arbiter import (
    EPOCH_MAX,
    Acquire,
    Answer,
    Candidate,
    Lost,
    Read,
    Record,
    Reign,
    Release,
    Request,
    Standing,
    Won,
    name_of,
)
from replication.lease import Lease

#: Interval of readings of the register.
POLL_NS: Final = 50_000_000

#: Epochs that are left out where a register was lost: it may have given some that no node here knows.
EPOCHS_LEFT_OUT: Final = 1 << 20

#: Reason that keeps this node from a reign after the given one (None: there was none); "" if nothing does.
Fitness = Callable[[Reign | None], str]


class Candidacy:
    """A node that is not primary.

    ``standing``: the register as last read, None before. ``why``: what keeps this node from the reign, "" if nothing.
    ``won``, ``lease``: the reign, once it is won. ``expected_min``: highest epoch that this node knows, by its journal
    or from a primary (``on_epoch_seen``): a register that knows less has lost its data, and is not believed. ``force``:
    reason of an operator for taking over unfit.
    """

    def __init__(
        self,
        candidate: Candidate,
        fitness: Fitness,
        *,
        ttl_ns: int,
        expected_min: int,
        poll_ns: int = POLL_NS,
        margin_ns: int | None = None,
    ) -> None:
        self.candidate = candidate
        self.expected_min = expected_min
        self.force = ""
        self.standing: Standing | None = None
        self.why = "the arbiter has not been read yet"
        self.failure = ""
        self.won: Won | None = None
        self.lease: Lease | None = None
        self._fitness = fitness
        self._ttl_ns, self._poll_ns, self._margin_ns = ttl_ns, poll_ns, margin_ns
        self._next_ns = 0
        self._sent: tuple[Request, int] | None = None
        #: ``since_ns`` of requests for the first reign of all whose outcome is not known.
        self._first_asked: set[int] = set()

    def on_epoch_seen(self, epoch: int) -> None:
        """Note an epoch that a primary, the journal or the arbiter has named."""
        self.expected_min = max(self.expected_min, epoch)

    def hurry(self, now_ns: int) -> None:
        """Read the register now: the primary is gone, or hands over."""
        self._next_ns = min(self._next_ns, now_ns)

    def next_request(self, now_ns: int, time_ns: int) -> Request | None:
        """Request to send now, if any. ``now_ns``: monotonic; ``time_ns``: wall clock, for the record."""
        if self._sent is not None or self.won is not None or now_ns < self._next_ns:
            return None
        request: Request = Read()
        if self.standing is not None and self._may_ask(self.standing):
            request = Acquire(self.candidate, self._expected(self.standing.reign), self._ttl_ns, time_ns, self.force)
        self._sent = (request, now_ns)
        return request

    def _expected(self, reign: Reign | None) -> int:
        epoch = reign.epoch if reign is not None else 0
        if self.force and (reign is None or epoch < self.expected_min):
            return min(self.expected_min + EPOCHS_LEFT_OUT, EPOCH_MAX)
        return max(epoch, self.expected_min)

    def _may_ask(self, standing: Standing) -> bool:
        reign = standing.reign
        if standing.held and reign is not None:
            self.why = f"{reign.primary} is primary in epoch {reign.epoch}"
            return False
        if standing.successor not in ("", self.candidate.name):
            self.why = f"{standing.successor} is to take over"
            return False
        if (reign.epoch if reign is not None else 0) < self.expected_min and not self.force:
            known = f"epoch {reign.epoch}" if reign is not None else "no epoch"
            self.why = (
                f"the arbiter knows {known}, and this node epoch {self.expected_min}: its register was lost, or it is "
                "the arbiter of another market; check its address"
            )
            return False
        self.why = "" if self.force else self._fitness(self._begun(reign))
        return not self.why

    def _begun(self, reign: Reign | None) -> Reign | None:
        """The last reign, unless this node has won it unknowingly, and nobody reigned before: nothing has begun then.

        The journal of this node is empty, as before any reign. By the record alone it would have lost its disk.
        """
        if reign is not None and reign.primary_member == self.candidate.member and reign.since_ns in self._first_asked:
            return None
        return reign

    def on_answer(self, answer: Answer, now_ns: int) -> None:
        """Take the answer to the request under way."""
        request, sent_ns = self._take_sent()
        self.failure = ""
        self._next_ns = now_ns + self._poll_ns
        if isinstance(answer, Standing):
            self.standing = answer
            if answer.reign is not None:
                self.on_epoch_seen(answer.reign.epoch)
            if self._may_ask(answer):
                self._next_ns = now_ns  # ask at once
        elif isinstance(answer, Won) and isinstance(request, Acquire):
            if answer.epoch <= self.expected_min:
                self.why = f"the arbiter gave epoch {answer.epoch}, and this node knows epoch {self.expected_min}"
                self.standing = None
                return
            self.won, self.lease = answer, Lease(answer.ttl_ns, sent_ns, margin_ns=self._margin_ns)
            self.why = ""
        elif isinstance(answer, Lost):
            self.why = answer.why
            self.standing = None  # read it again before the next attempt

    def on_failure(self, why: str, now_ns: int) -> None:
        """Note that a request failed, or that its outcome is unknown. A reign that was won unknowingly just ends."""
        request, _ = self._take_sent()
        if isinstance(request, Acquire) and self.standing is not None and self._begun(self.standing.reign) is None:
            self._first_asked.add(request.since_ns)
        self.failure = why
        self.standing = None
        self._next_ns = now_ns + self._poll_ns

    def give_back(self, why: str) -> list[Request]:
        """Give back a reign that was won, and not begun since this node is unfit by now: requests to send, in order.

        Nothing was told in it, so the primary before it still has all that clients were told: the record names it too.
        """
        won, standing = self.won, self.standing
        assert won is not None, "a reign is given back once it is won"
        before = standing.reign.primary_member if standing is not None and standing.reign is not None else ""
        self.won = self.lease = self.standing = None
        self.why = why
        requests: list[Request] = [Release(won.epoch)]
        if not won.reign.forced and name_of(before) not in ("", self.candidate.name):
            names = tuple(sorted((before, self.candidate.member)))
            requests.insert(0, Record(won.epoch, won.reign.revision, names))
        return requests

    def _take_sent(self) -> tuple[Request, int]:
        assert self._sent is not None, "an answer without a request"
        sent, self._sent = self._sent, None
        return sent
