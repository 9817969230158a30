"""Arbiter of a market: a third party decides which node is primary.

Two nodes alone cannot tell a dead peer from a broken network. So each market has a register at an arbiter (etcd or a
witness), which holds the last ``Reign``: the primary, its epoch, and the nodes that may follow it. A node becomes
primary by a compare-and-set under a lease, and stays primary while it renews the lease. The lease gives liveness. The
epoch gives safety: it is higher in each reign, and every receiver refuses a lower one.

Requests and answers are values, so that a state machine can ask without a socket. ``Arbiter`` is the interface of the
drivers. An outcome that is not known (``ArbiterUnknown``) is neither won nor lost: ask again.
"""

import re
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, NamedTuple

from sequencer.release import POLICIES

#: Lease times that a witness grants, and its default; etcd has at least 2 s.
TTL_NS_MIN: Final = 200_000_000
TTL_NS_MAX: Final = 60_000_000_000
TTL_NS_DEFAULT: Final = 600_000_000
#: Highest epoch, expected epoch or revision: any reader of JSON takes it without loss.
EPOCH_MAX: Final = 2**53 - 1
IN_SYNC_MAX: Final = 16
ADDRESS_CHARACTERS_MAX: Final = 255
REASON_CHARACTERS_MAX: Final = 200

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DIRECTORY: Final = re.compile(r"[0-9a-f]{32}")
_MARKET: Final = re.compile(r"[0-9a-f]{32}")


class ArbiterError(Exception):
    """The arbiter cannot be reached, or failed. The request has no answer; the message says why and what to do."""


class ArbiterUnknown(ArbiterError):
    """The outcome of a request is unknown: it was sent, and no answer came. It may still take effect later."""


def market_key(journal_id: bytes) -> str:
    """Key of the register of a market, from the 16 bytes of its journal's id.

    >>> market_key(bytes(15) + b"A")
    'lockstep/00000000000000000000000000000041'
    """
    return f"lockstep/{checked_market(journal_id.hex())}"


def checked_market(text: str) -> str:
    """The id of a journal in 32 hexadecimal digits. Raises ValueError."""
    if not _MARKET.fullmatch(text):
        raise ValueError(f"the market is {text[:40]!r}; give the id of its journal, 32 digits of 0-9 a-f")
    return text


def checked_name(text: str) -> str:
    """The name of a node: 1 to 64 characters of A-Z a-z 0-9 . _ -, no sign first. Raises ValueError."""
    if not _NAME.fullmatch(text):
        raise ValueError(
            f"the name of a node is {_shown(text)}; give 1 to 64 of A-Z a-z 0-9 . _ -, a letter or digit first"
        )
    return text


def _shown(text: str) -> str:
    """A name as given; of a long one the beginning, and its length.

    >>> _shown("a b"), _shown("x" * 100).replace("x" * 80, "x…")
    ("'a b'", "'x…'... (100 characters)")
    """
    return repr(text) if len(text) <= 80 else f"{text[:80]!r}... ({len(text):,} characters)"


def member_of(name: str, directory: bytes) -> str:
    """Node as the record names it: by its name and the id of its data directory (16 bytes; empty: by the name alone).

    Two directories under one name are two nodes: what one has acknowledged, the other may lack.

    >>> member_of("A", bytes(16)), member_of("A", b"")
    ('A/00000000000000000000000000000000', 'A')
    """
    return f"{name}/{directory.hex()}" if directory else name


def name_of(member: str) -> str:
    """Name of a node that the record names.

    >>> name_of("A/00000000000000000000000000000000")
    'A'
    """
    return member.partition("/")[0]


def _checked_members(members: tuple[str, ...]) -> None:
    """Check nodes as the record names them. Raises ValueError."""
    names = [checked_name(name_of(member)) for member in members]
    if not 1 <= len(names) <= IN_SYNC_MAX or len(set(names)) != len(names):
        raise ValueError(f"{len(names)} nodes are in sync; name each once, and 1 to {IN_SYNC_MAX}")
    for member in members:
        _, slash, directory = member.partition("/")
        if slash:
            _checked_directory(directory)


def _checked_directory(text: str) -> None:
    if not _DIRECTORY.fullmatch(text):
        raise ValueError(f"the id of a directory is {text[:40]!r}; give 32 digits of 0-9 a-f")


def _checked_text(text: str, what: str, characters_max: int) -> str:
    if len(text) > characters_max or not text.isprintable():
        raise ValueError(f"{what} has {len(text)} characters; give at most {characters_max} printable ones")
    return text


def _checked_policy(policy: str) -> None:
    if policy not in POLICIES:
        raise ValueError(f"the release policy is {policy[:40]!r}; give one of {', '.join(POLICIES)}")


class Candidate(NamedTuple):
    """A node that wants to be primary.

    name: of the node. address: HOST:PORT of its peer link, or "". clients: HOST:PORT of its order entry, or "".
    policy: its release policy (``sequencer.release``). directory: id of its data directory, in 32 digits of 0-9 a-f; ""
    for none.
    """

    name: str
    address: str = ""
    clients: str = ""
    policy: str = "both"
    directory: str = ""

    @property
    def member(self) -> str:
        """This node as the record names it."""
        return member_of(self.name, bytes.fromhex(self.directory))


@dataclass(frozen=True, slots=True)
class Reign:
    """Time of one node as primary. Raises ValueError for values out of bounds.

    epoch: the revision at which the node became primary: higher in each reign, never used twice.
    revision: of the last change of this record, ``epoch`` at first.
    in_sync: nodes that may become primary next (``member_of``), always with the primary. The primary takes a standby
    out before it goes on without it, so a node that is not named may lack acknowledged orders.
    since_ns: wall time of the start, for people.
    forced: reason of an operator who made a node primary that was not in sync; "" otherwise.
    policy: release policy of the primary: what a node that is named has on its disk, or in memory alone.
    acknowledged_seq: a command that clients were told of, and that all nodes in sync have; it follows the newest one
    within about a second. A directory that ends before it is an older copy of itself.
    """

    epoch: int
    revision: int
    primary: str
    address: str
    clients: str
    in_sync: tuple[str, ...]
    since_ns: int
    forced: str = ""
    policy: str = "both"
    acknowledged_seq: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.epoch <= self.revision <= EPOCH_MAX:
            raise ValueError(f"a reign cannot have epoch {self.epoch} and revision {self.revision}")
        checked_name(self.primary)
        _checked_members(self.in_sync)
        if self.primary not in self.names_in_sync:
            names = ", ".join(self.names_in_sync)
            raise ValueError(f"the nodes in sync are {names}; name the primary {self.primary} too")
        _checked_text(self.address, "the address of a node", ADDRESS_CHARACTERS_MAX)
        _checked_text(self.clients, "the address for clients", ADDRESS_CHARACTERS_MAX)
        _checked_text(self.forced, "the reason", REASON_CHARACTERS_MAX)
        _checked_policy(self.policy)
        if not 0 <= self.since_ns < 1 << 63:
            raise ValueError(f"a reign cannot begin at {self.since_ns} ns")
        if not 0 <= self.acknowledged_seq <= EPOCH_MAX:
            raise ValueError(f"a reign cannot have acknowledged command {self.acknowledged_seq}")

    @property
    def names_in_sync(self) -> tuple[str, ...]:
        """Names of the nodes in sync."""
        return tuple(map(name_of, self.in_sync))

    @property
    def primary_member(self) -> str:
        """The primary as the record names it."""
        return next(member for member in self.in_sync if name_of(member) == self.primary)

    def has_in_sync(self, member: str) -> bool:
        """True if the record names a node with this directory; a record of its name alone names each of them."""
        return member in self.in_sync or name_of(member) in self.in_sync


class Acquire(NamedTuple):
    """Request to become primary, under a lease of ``ttl_ns``.

    expected: the epoch of the last reign that the candidate knows, 0 for none; any other reign in the register refuses
    it. force: reason of an operator to let a node become primary that is not in sync, or where the register was lost;
    "" otherwise. With it, a register that has only earlier reigns does not refuse either, and the epoch won is above
    ``expected``. A lease that is held is never overridden. since_ns: wall time.
    """

    candidate: Candidate
    expected: int
    ttl_ns: int
    since_ns: int
    force: str = ""


class Renew(NamedTuple):
    """Request to extend the lease of a reign by its whole time, from now on."""

    epoch: int


class Record(NamedTuple):
    """Request to change the nodes in sync, while the lease is held.

    revision: of the record that is to be replaced, so that a late request never undoes a newer one.
    acknowledged_seq: as ``Reign`` has it; a lower one than that of the record changes nothing.
    """

    epoch: int
    revision: int
    in_sync: tuple[str, ...]
    acknowledged_seq: int = 0


class Release(NamedTuple):
    """Request to end the lease of a reign at once: by the primary, or by a supervisor that saw its process die.

    successor: the only node that may become primary in the next moments (one lease time); "" for any.
    """

    epoch: int
    successor: str = ""


class Read(NamedTuple):
    """Request to read the register; the answer is not older than the request."""


Request = Acquire | Renew | Record | Release | Read


class Won(NamedTuple):
    """The request succeeded, and the reign holds the lease: for ``ttl_ns`` from the sending of Acquire or Renew."""

    reign: Reign
    ttl_ns: int

    @property
    def epoch(self) -> int:
        """Epoch of the reign."""
        return self.reign.epoch


class Reason(StrEnum):
    """Reason of a lost request."""

    HELD = "held"  # another reign holds the lease
    RESERVED = "reserved"  # another node is the successor
    CHANGED = "changed"  # the register has another reign, or another revision, than the request expects
    NOT_IN_SYNC = "not_in_sync"
    ENDED = "ended"  # the lease of this reign has ended


class Lost(NamedTuple):
    """The request had no effect. ``why``: one sentence. ``reign``: in the register, if there is one."""

    reason: Reason
    why: str
    reign: Reign | None


class Standing(NamedTuple):
    """Content of a register. ``held``: a reign holds the lease. ``successor``: as ``Release`` has it, while it counts.

    A lease that is held may end at any time; only ``Acquire`` decides.
    """

    reign: Reign | None
    held: bool
    successor: str = ""


Answer = Won | Lost | Standing


def check_request(request: Request) -> None:
    """Check the values of a request. Raises ValueError, with a sentence."""
    numbers: tuple[int, ...] = ()
    match request:
        case Acquire():
            checked_name(request.candidate.name)
            _checked_text(request.candidate.address, "the address of a node", ADDRESS_CHARACTERS_MAX)
            _checked_text(request.candidate.clients, "the address for clients", ADDRESS_CHARACTERS_MAX)
            _checked_text(request.force, "the reason", REASON_CHARACTERS_MAX)
            _checked_policy(request.candidate.policy)
            if request.candidate.directory:
                _checked_directory(request.candidate.directory)
            numbers = (request.expected,)
            if not TTL_NS_MIN <= request.ttl_ns <= TTL_NS_MAX:
                raise ValueError(
                    f"the lease has {request.ttl_ns} ns; give {TTL_NS_MIN // 10**6} ms to {TTL_NS_MAX // 10**9} s"
                )
            if not 0 <= request.since_ns < 1 << 63:
                raise ValueError(f"a reign cannot begin at {request.since_ns} ns")
        case Record():
            numbers = (request.epoch, request.revision, request.acknowledged_seq)
            _checked_members(request.in_sync)
        case Release():
            numbers = (request.epoch,)
            if request.successor:
                checked_name(request.successor)
        case Renew():
            numbers = (request.epoch,)
        case Read():
            return
    if not all(0 <= number <= EPOCH_MAX for number in numbers):
        raise ValueError(f"an epoch or revision is out of bounds: {numbers}; give 0 to {EPOCH_MAX}")


def acquire_refusal(standing: Standing, request: Acquire) -> Lost | None:
    """The refusal of a candidate by the content of a register; None if it may become primary."""
    reign, name = standing.reign, request.candidate.name
    if standing.held and reign is not None:
        why = f"{reign.primary} is primary in epoch {reign.epoch} and its lease has not ended"
        return Lost(Reason.HELD, why, reign)
    if standing.successor not in ("", name):
        why = f"the primary named {standing.successor} as its successor, which has not become primary yet"
        return Lost(Reason.RESERVED, why, reign)
    if reign is None:
        if request.expected and not request.force:
            why = (
                f"the arbiter has no record of epoch {request.expected}, which this node has seen: its data was lost, "
                "or it is the arbiter of another market; check its address, or force with a reason"
            )
            return Lost(Reason.CHANGED, why, None)
        return None
    if reign.epoch < request.expected:
        if not request.force:
            why = (
                f"the arbiter knows epochs up to {reign.epoch} and this node has seen {request.expected}: its data is "
                "an old copy, or it is another arbiter; check its address, or force with a reason"
            )
            return Lost(Reason.CHANGED, why, reign)
    elif reign.epoch > request.expected:
        why = f"the last reign is epoch {reign.epoch} of {reign.primary}, and {name} expects epoch {request.expected}"
        return Lost(Reason.CHANGED, why, reign)
    if not reign.has_in_sync(request.candidate.member) and not request.force:
        other = "another directory of " if name in reign.names_in_sync else ""
        why = (
            f"{other}{name} was {'' if other else 'not '}in sync in epoch {reign.epoch}, and this one may lack "
            f"acknowledged orders; start {' or '.join(reign.names_in_sync)}"
            f"{' with the directory that it had' if other else ''}, or force with a reason"
        )
        return Lost(Reason.NOT_IN_SYNC, why, reign)
    return None


def record_refusal(standing: Standing, request: Record) -> Lost | None:
    """The refusal of a change of the nodes in sync; None if it may be written."""
    if ended := lease_refusal(standing, request.epoch):
        return ended
    reign = standing.reign
    if reign is not None and reign.revision != request.revision:
        why = f"the record has revision {reign.revision}, and the request expects {request.revision}; read it again"
        return Lost(Reason.CHANGED, why, reign)
    return None


def first_record(request: Acquire, before: Reign | None, epoch: int) -> Reign:
    """The record of a reign as it begins. What an operator forces may lack what was acknowledged before."""
    name, address, clients, policy, _ = one = request.candidate
    acknowledged_seq = before.acknowledged_seq if before is not None and not request.force else 0
    return Reign(
        epoch, epoch, name, address, clients, (one.member,), request.since_ns, request.force, policy, acknowledged_seq
    )


def with_in_sync(reign: Reign, request: Record, revision: int) -> Reign:
    """The record of a reign after a change of the nodes in sync. Raises ValueError without the primary."""
    acknowledged_seq = max(reign.acknowledged_seq, request.acknowledged_seq)
    return replace(reign, in_sync=request.in_sync, revision=revision, acknowledged_seq=acknowledged_seq)


def lease_refusal(standing: Standing, epoch: int) -> Lost | None:
    """The refusal of a request by a reign that does not hold the lease; None if it does."""
    reign = standing.reign
    if reign is None:
        return Lost(Reason.ENDED, f"the arbiter has no record of epoch {epoch}", None)
    if reign.epoch != epoch:
        why = f"epoch {epoch} has ended: {reign.primary} became primary in epoch {reign.epoch}"
        return Lost(Reason.ENDED, why, reign)
    if not standing.held:
        return Lost(Reason.ENDED, f"the lease of epoch {epoch} has ended", reign)
    return None


class Arbiter(ABC):
    """Driver of one register. ``ttl_ns``: lease time that it asks for; the answer has the time that was granted.

    Note the monotonic time before each call of ``acquire`` and ``renew``: a lease counts from there (``Lease``).
    Every method raises ArbiterError, or ArbiterUnknown, and ValueError for values out of bounds.
    """

    ttl_ns: int = TTL_NS_DEFAULT

    @abstractmethod
    async def ask(self, request: Request) -> Answer:
        """Send a request and return its answer."""

    async def close(self) -> None:  # noqa: B027 — a driver without a connection has nothing to close
        """End the connection. The lease stays until it expires."""

    async def acquire(self, candidate: Candidate, expected: int, *, force: str = "") -> Won | Lost:
        """Become primary. ``expected`` and ``force``: as ``Acquire`` has them."""
        return _decided(await self.ask(Acquire(candidate, expected, self.ttl_ns, time.time_ns(), force)))

    async def renew(self, epoch: int) -> Won | Lost:
        """Extend the lease."""
        return _decided(await self.ask(Renew(epoch)))

    async def record(
        self, epoch: int, revision: int, in_sync: tuple[str, ...], acknowledged_seq: int = 0
    ) -> Won | Lost:
        """Change the nodes in sync. The answer has the new revision. It does not extend the lease."""
        return _decided(await self.ask(Record(epoch, revision, in_sync, acknowledged_seq)))

    async def release(self, epoch: int, successor: str = "") -> Standing | Lost:
        """End the lease at once."""
        answer = await self.ask(Release(epoch, successor))
        if isinstance(answer, Won):
            raise ArbiterError("the arbiter answered a release with a lease; check that both have one release")
        return answer

    async def read(self) -> Standing:
        """Read the register."""
        answer = await self.ask(Read())
        if not isinstance(answer, Standing):
            raise ArbiterError("the arbiter answered a read with a decision; check that both have one release")
        return answer


def _decided(answer: Answer) -> Won | Lost:
    if isinstance(answer, Standing):
        raise ArbiterUnknown("the arbiter answered a request with a record; check that both have one release")
    return answer
