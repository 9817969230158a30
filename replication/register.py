"""Register of one market, as a pure state machine: requests and times in, answers out.

The memory arbiter and the witness are shells around it. ``decide`` says what a request comes to and changes nothing;
``commit`` makes it so. Between the two a witness writes ``Stored`` to its disk, so that nothing is told that a crash
could take back. Leases are not stored. A register that is read from a disk therefore counts as held for one lease time
by its last reign, which may renew meanwhile.

Times are nanoseconds of the arbiter's own monotonic clock.
"""

from typing import NamedTuple

from replication.arbiter import (
    EPOCH_MAX,
    Acquire,
    Answer,
    Lost,
    Read,
    Reason,
    Record,
    Reign,
    Release,
    Renew,
    Request,
    Standing,
    Won,
    acquire_refusal,
    check_request,
    first_record,
    lease_refusal,
    record_refusal,
    with_in_sync,
)


class Stored(NamedTuple):
    """Durable part of a register.

    revision: of the last change. ttl_ns: lease time of the reign. released: the reign gave up its lease, in favour of
    ``successor`` if that is not "".
    """

    reign: Reign | None = None
    revision: int = 0
    ttl_ns: int = 0
    released: bool = False
    successor: str = ""


class Decision(NamedTuple):
    """Outcome of a request before it takes effect. ``stored``: to be durable first; None: the old one stays.

    held_until_ns and reserved_until_ns: end of the lease and of the successor's time afterwards.
    """

    answer: Answer
    stored: Stored | None
    held_until_ns: int
    reserved_until_ns: int


class Register:
    """Register of one market. ``stored``: as it was read from the disk at ``now_ns``; empty for a new one."""

    def __init__(self, stored: Stored | None = None, now_ns: int = 0) -> None:
        self.stored = Stored() if stored is None else stored
        self._held_until_ns = now_ns
        self._reserved_until_ns = now_ns
        if self.stored.reign is not None and not self.stored.released:
            self._held_until_ns += self.stored.ttl_ns
        if self.stored.successor:
            self._reserved_until_ns += self.stored.ttl_ns

    def standing(self, now_ns: int) -> Standing:
        """Content at a time."""
        reserved = now_ns < self._reserved_until_ns
        held = now_ns < self._held_until_ns
        return Standing(self.stored.reign, held, self.stored.successor if reserved else "")

    def extend(self, away_ns: int) -> None:
        """Extend the lease by a time in which the arbiter read no requests: a holder could not renew."""
        self._held_until_ns += away_ns
        self._reserved_until_ns += away_ns

    def ask(self, request: Request, now_ns: int) -> Answer:
        """Decide a request at once, for an arbiter without a disk. Raises ValueError."""
        decision = self.decide(request, now_ns)
        self.commit(decision)
        return decision.answer

    def commit(self, decision: Decision) -> None:
        """Let the last decision take effect."""
        if decision.stored is not None:
            self.stored = decision.stored
        self._held_until_ns = decision.held_until_ns
        self._reserved_until_ns = decision.reserved_until_ns

    def decide(self, request: Request, now_ns: int) -> Decision:
        """Outcome of a request; nothing changes yet. Raises ValueError for values out of bounds."""
        check_request(request)
        standing = self.standing(now_ns)
        match request:
            case Acquire():
                return self._acquire(request, standing, now_ns)
            case Renew():
                if lost := lease_refusal(standing, request.epoch):
                    return self._unchanged(lost)
                return self._won(self.stored, now_ns + self.stored.ttl_ns, changed=False)
            case Record():
                return self._record(request, standing)
            case Release():
                return self._release(request, standing, now_ns)
            case Read():
                return self._unchanged(standing)

    def _unchanged(self, answer: Answer) -> Decision:
        return Decision(answer, None, self._held_until_ns, self._reserved_until_ns)

    def _won(self, stored: Stored, held_until_ns: int, *, changed: bool) -> Decision:
        if stored.reign is None:
            raise ValueError("nobody can have won a register without a reign")
        answer = Won(stored.reign, stored.ttl_ns)
        return Decision(answer, stored if changed else None, held_until_ns, self._reserved_until_ns)

    def _acquire(self, request: Acquire, standing: Standing, now_ns: int) -> Decision:
        if lost := acquire_refusal(standing, request):
            return self._unchanged(lost)
        revision = max(self.stored.revision, request.expected) + 1
        if revision > EPOCH_MAX:
            return self._unchanged(Lost(Reason.CHANGED, "the register has no epoch left", standing.reign))
        reign = first_record(request, self.stored.reign, revision)
        return self._won(Stored(reign, revision, request.ttl_ns), now_ns + request.ttl_ns, changed=True)

    def _record(self, request: Record, standing: Standing) -> Decision:
        if lost := record_refusal(standing, request):
            return self._unchanged(lost)
        revision = self.stored.revision + 1
        if self.stored.reign is None or revision > EPOCH_MAX:
            return self._unchanged(Lost(Reason.CHANGED, "the register has no revision left", standing.reign))
        reign = with_in_sync(self.stored.reign, request, revision)
        stored = self.stored._replace(reign=reign, revision=revision)
        return self._won(stored, self._held_until_ns, changed=True)

    def _release(self, request: Release, standing: Standing, now_ns: int) -> Decision:
        if standing.reign is None or standing.reign.epoch != request.epoch:
            lost = lease_refusal(standing, request.epoch)
            return self._unchanged(lost or standing)
        stored = self.stored._replace(released=True, successor=request.successor, revision=self.stored.revision + 1)
        reserved_until_ns = now_ns + stored.ttl_ns if request.successor else now_ns
        answer = Standing(stored.reign, held=False, successor=request.successor)
        return Decision(answer, stored, now_ns, reserved_until_ns)
