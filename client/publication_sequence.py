"""Sequencing of NATS publications: late, repeated and missing ones in, verified ones in order out. No socket.

    published ----> in order ----> a number is left out, or a digest differs ----> missing ----> asked of the owner
        |                                                                                           |
        '--> of an earlier epoch than one that was seen: refused          does not follow either: FeedFault

What the owner of the journal gives counts: where that does not follow what was given before, the reader was told
something that the market has undone, or the owner has another history, and nothing more is given.

Times are nanoseconds of a clock that does not go back.
"""

import heapq
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, TypeVar

from client.errors import FeedFault
from client.publication import BLOCKS, ITCH, BadPublication, Publication, Request, cut, first_link, link_after
from engine.records import COMMAND
from journal import JournalDamaged, JournalError
from journal.frame import decode
from journal.marks import link_across

#: Bytes behind a gap that are kept; those beyond are asked for again.
KEPT_BYTES_MAX: Final = 64 << 20
#: Time that what is missing has to come by itself, and time after which a request is repeated, in nanoseconds.
WAIT_NS: Final = 20_000_000
REPEAT_NS: Final = 500_000_000
#: Silence after which the owner is asked whether there is more, in ns: a publisher says each second what comes.
SILENCE_NS: Final = 3_000_000_000
#: Time for which all owners say that they do not have what comes next, after which the reader ends, in ns.
GONE_NS: Final = 10_000_000_000


class PublishedBlock(NamedTuple):
    """A block of the journal, proven to follow the one before. rows: COMMAND rows as bytes.

    event_digest: what all events up to its last command come to, as the publisher has it; apply the rows to prove it.
    """

    first_seq: int
    commands: int
    epoch: int
    time_ns: int
    rows: bytes
    event_digest: bytes
    frame: bytes

    @property
    def last_seq(self) -> int:
        """Its last command."""
        return self.first_seq + self.commands - 1


class PublishedMessages(NamedTuple):
    """Messages of ITCH in order, proven by the digest behind the last of them. session: their day, as 20240115."""

    session: str
    first_number: int
    messages: list[bytes]
    digest: bytes


Made = TypeVar("Made")


@dataclass
class Counts:
    """Publications by what became of them.

    missed: numbers that were missing at some time; refused: of an earlier epoch, another journal, or with a digest that
    does not follow; repeated: with nothing new.
    """

    taken: int = 0
    missed: int = 0
    refused: int = 0
    repeated: int = 0


class PublicationSequence(ABC, Generic[Made]):
    """Order of the publications of one kind.

    next_number: of what comes next; None before the first publication, with which it begins then. session: "" likewise.
    """

    kind: str

    def __init__(self, next_number: int | None = None, session: str = "") -> None:
        self.next_number, self.session = next_number, session
        self.counts = Counts()
        self.epoch = 0
        self._behind = next_number or 1  # number behind the last one that is known of
        self._heap: list[tuple[int, int, Publication, bool]] = []
        self._kept_bytes = self._arrivals = 0
        self._gap_ns: int | None = None  # since when something is missing
        self._asked_ns: int | None = None
        self._heard_ns: int | None = None
        self._later = False  # a later session is known of
        self._gone_ns: int | None = None  # since when no owner has what comes next
        self._fault: FeedFault | None = None

    @property
    def missing(self) -> int:
        """Numbers that are known of and have not been given yet."""
        return 0 if self.next_number is None else self._behind - self.next_number

    def is_heard(self, now_ns: int) -> bool:
        """True while the publisher is heard."""
        return self._heard_ns is not None and now_ns - self._heard_ns < SILENCE_NS

    def is_whole(self, now_ns: int) -> bool:
        """True if nothing is known to be missing, and the publisher is heard."""
        return self.is_heard(now_ns) and not self.missing and not self._later and self._fault is None

    def take(self, came: Publication, now_ns: int, *, from_owner: bool = False) -> list[Made]:
        """Take a publication; gives what follows that given before. from_owner: it answers a request.

        Raises FeedFault, then and ever after, where the owner's does not follow.
        """
        if self._fault is not None:
            raise self._fault
        if came.epoch < self.epoch or not self._is_here(came, now_ns):
            self.counts.refused += came.epoch < self.epoch
            return []
        self.epoch = came.epoch
        self._heard_ns = now_ns
        if self.next_number is None:
            self.next_number = self._behind = came.first
        if came.end > self._behind:
            self.counts.missed += max(0, came.first - self._behind)
            self._behind = came.end
        if came.end <= self.next_number:
            self.counts.repeated += came.numbers > 0
        elif came.payload and (self._kept_bytes < KEPT_BYTES_MAX or came.first <= self.next_number):
            self._arrivals += 1
            self._kept_bytes += len(came.payload)
            heapq.heappush(self._heap, (came.first, self._arrivals, came, from_owner))
        made = self._in_order()
        if made:
            self._gone_ns = None
        if made or not self.missing:
            self._gap_ns = now_ns if self.missing else None
            self._asked_ns = None
        elif self._gap_ns is None:
            self._gap_ns = now_ns
        if came.then and came.session == self.session and not self.missing and came.first == self.next_number:
            self._begin(came.then)
        return made

    def due(self, now_ns: int) -> Request | None:
        """The request to send now, if any."""
        waits = self._gap_ns is not None and now_ns - self._gap_ns >= WAIT_NS
        silent = not self.is_heard(now_ns)
        again = self._asked_ns is None or now_ns - self._asked_ns >= REPEAT_NS
        if self._fault is not None or self.next_number is None or not again or not (waits or silent or self._later):
            return None
        self._asked_ns = now_ns
        return Request(self.kind, self.session, self.next_number)

    def answered(self) -> None:
        """Note that the answer to a request has come, whole: what is missing now is asked for at once."""
        self._asked_ns = self._gone_ns = None

    def note_gone(self, why: str, now_ns: int) -> None:
        """Note that every owner has said, one after the other, that it does not have what comes next, and why.

        Once they say so for ``GONE_NS``, ``check`` raises FeedFault ever after.
        """
        if self._gone_ns is None:
            self._gone_ns = now_ns
        elif now_ns - self._gone_ns >= GONE_NS and self._fault is None:
            self._fault = FeedFault(
                f"number {self.next_number} of {self.kind} {self.session} comes next, and no owner of the journal has "
                f"it any more: {why}; begin again with what they have"
            )

    def note_unsure(self) -> None:
        """Note that an owner did not answer, or may have later what comes next."""
        self._gone_ns = None

    def check(self) -> None:
        """Raise FeedFault where there can be no more."""
        if self._fault is not None:
            raise self._fault

    def _in_order(self) -> list[Made]:
        made: list[Made] = []
        assert self.next_number is not None
        while self._heap and self._heap[0][0] <= self.next_number:
            _, _, found, from_owner = heapq.heappop(self._heap)
            self._kept_bytes -= len(found.payload)
            if found.end <= self.next_number:
                self.counts.repeated += 1
                continue
            try:
                made.append(self._following(found))
            except BadPublication as error:
                if from_owner:
                    self._fault = FeedFault(
                        f"number {self.next_number} of {self.kind} {self.session} is not as the owner of the journal "
                        f"has it: {error}; what was given before may have been undone; begin again from an earlier one"
                    )
                    if not made:
                        raise self._fault from error
                    return made
                self.counts.refused += 1
                continue
            self.counts.taken += 1
            self.next_number = found.end
        return made

    def _is_here(self, came: Publication, now_ns: int) -> bool:
        """True for a publication of the session in progress, which is that of the first one."""
        if not self.session:
            self.session = came.session
        if came.session != self.session:
            return self._on_other_session(came, now_ns)
        return True

    def _begin(self, session: str) -> None:
        self.session, self.next_number, self._behind = session, 1, 1
        self._heap.clear()
        self._kept_bytes, self._gap_ns, self._asked_ns, self._later = 0, None, None, False
        self._on_session()

    @abstractmethod
    def _on_other_session(self, came: Publication, now_ns: int) -> bool: ...

    @abstractmethod
    def _on_session(self) -> None: ...

    @abstractmethod
    def _following(self, found: Publication) -> Made:
        """The new part of a publication that has the next number. Raises BadPublication where it does not follow."""


class BlockSequence(PublicationSequence[PublishedBlock]):
    """Blocks of a journal in order, each linked to the one before. next_number: a command; its block comes first."""

    kind = BLOCKS

    def __init__(self, next_number: int | None = None, session: str = "") -> None:
        super().__init__(next_number, session)
        self._link: bytes | None = None

    def _on_other_session(self, _came: Publication, _now_ns: int) -> bool:
        self.counts.refused += 1  # of another journal
        return False

    def _on_session(self) -> None:
        self._link = None

    def _following(self, found: Publication) -> PublishedBlock:
        try:
            block = decode(found.payload, found.first, COMMAND.itemsize)
        except JournalDamaged as error:
            raise BadPublication(str(error).partition(";")[0]) from error
        if block.count != found.numbers:
            raise BadPublication(f"the block at seq {found.first} has {block.count} commands and says {found.numbers}")
        if self._link is not None and (
            block.first_seq != self.next_number or block.previous != self._link_before(self._link, found)
        ):
            raise BadPublication(f"the block at seq {found.first} does not follow the block before it")
        self._link = block.checksum
        return PublishedBlock(
            block.first_seq,
            block.count,
            block.epoch,
            block.time_ns,
            bytes(block.rows),
            found.digest,
            found.payload,
        )

    def _link_before(self, link: bytes, found: Publication) -> bytes:
        """The link that a block has to have, where ``link`` is that of the block before: of the record of its slice."""
        try:
            return link_across(link, found.slices, bytes.fromhex(self.session), found.first - 1)
        except (JournalError, ValueError) as error:  # or a session that is no id
            raise BadPublication(str(error).partition(";")[0]) from error


class MessageSequence(PublicationSequence[PublishedMessages]):
    """Messages of the ITCH feed in order, session by session. next_number: of a message of the session."""

    kind = ITCH

    def __init__(self, next_number: int | None = None, session: str = "") -> None:
        super().__init__(next_number, session)
        self._link: bytes | None = None

    def _on_session(self) -> None:
        self._link = None

    def _on_other_session(self, came: Publication, now_ns: int) -> bool:
        if came.session > self.session:  # what is left of this one, and that it is over, is asked of the owner
            self._later, self._heard_ns = True, now_ns
        return False

    def _following(self, found: Publication) -> PublishedMessages:
        messages = cut(found.payload)
        assert self.next_number is not None
        known = self.next_number - found.first
        if len(messages) != found.numbers:
            raise BadPublication(f"there are {len(messages)} messages from {found.first} on, not {found.numbers}")
        link = self._link
        if link is None and self.next_number == 1:
            link = first_link(found.session)
        elif link is None:  # the first that is given: nothing before it is claimed
            link = link_after(found.before, messages[:known])
        end = link_after(link, messages[known:])
        if end != found.digest:
            raise BadPublication(f"the digest behind message {found.end - 1} of {found.session} is another one")
        self._link = end
        return PublishedMessages(found.session, self.next_number, [each[2:] for each in messages[known:]], end)
