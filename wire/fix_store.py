"""Store of a FIX session: what survives a connection, and what a resend is made from.

A session has two numbers, of the next message expected and of the next to be sent, and the messages of the application
that it sent. Messages of the session itself are not kept: a resend has gap fills in their place. Who serves sessions
gives the store; one that finds its messages in a journal keeps a place for each number. ``MemoryStore`` keeps the
messages themselves.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, Protocol

#: Highest number of a session: it has 32 bits in the journal.
SEQ_MAX: Final = 2**32 - 1


class Sent(NamedTuple):
    """A message of the application as it was sent first. header: fields beside the plain ones; fields: the body."""

    seq: int
    msg_type: bytes
    sent_ns: int
    header: tuple[tuple[int, bytes], ...]
    fields: bytes


class Store(Protocol):
    """Memory of a session."""

    #: Number of the next message that is expected; consumed by whoever made commands of what came before.
    in_seq: int
    #: Number of the next message to be sent.
    out_seq: int

    def keep(self, sent: Sent) -> None:
        """Keep a message of the application; its number is above those before."""

    def messages(self, begin: int, end: int) -> Iterable[Sent]:
        """Messages kept with numbers from ``begin`` to ``end``, both included, in order; read as they are needed."""

    def reset(self) -> None:
        """Forget all messages and begin again: both numbers are 1."""


class MemoryStore:
    """A store in memory, for tests and for sessions that end with the process."""

    def __init__(self, in_seq: int = 1, out_seq: int = 1) -> None:
        self.in_seq = in_seq
        self.out_seq = out_seq
        self._sent: list[Sent] = []

    def __repr__(self) -> str:
        return f"<MemoryStore, {self.in_seq} expected, {self.out_seq} to be sent, {len(self._sent)} messages>"

    def keep(self, sent: Sent) -> None:
        """Keep a message of the application."""
        self._sent.append(sent)

    def messages(self, begin: int, end: int) -> Iterator[Sent]:
        """Messages kept, by number."""
        at = bisect_left(self._sent, begin, key=lambda sent: sent.seq)
        sent = self._sent
        while at < len(sent) and sent[at].seq <= end:
            yield sent[at]
            at += 1

    def reset(self) -> None:
        """Forget all messages; both numbers are 1."""
        self.in_seq = self.out_seq = 1
        self._sent = []
