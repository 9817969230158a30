"""Places of the words of a tape and of a ring. Each has a cache line, and the one beside it, which processors fetch
along.

A word has one writer. Words that one writer changes together still have lines of their own, since their readers differ.
"""

from enum import IntEnum
from typing import Final

#: Words from one place to the next: 128 bytes.
LINE: Final = 16
#: Places of readers.
READERS_MAX: Final = 32


class Place(IntEnum):
    """Index of each word of a tape."""

    #: Position behind the last block that can be read. Positions count words since the tape began. Writer: the core.
    PUBLISHED = 0 * LINE
    #: Position up to which the core may be writing: what is older than a tape's length before it may be overwritten.
    INTENT = 1 * LINE
    #: Position of the oldest block that is whole.
    OLDEST = 2 * LINE
    #: 1 when the core has ended in order and writes no more.
    ENDED = 3 * LINE
    #: Sequence number of the last command that was applied. Writer: the core.
    APPLIED = 4 * LINE
    #: Of the last one that is in the journal. Writer: the journal's.
    JOURNALED = 5 * LINE
    #: Of the last one up to which each node had all that could take over then. It does not fall when one comes that has
    #: less, since who waits for it was told. Writer: replication.
    REPLICATED = 6 * LINE
    #: Of the last one whose answers may leave. Writer: the release policy, in one thread at a time.
    RELEASED = 7 * LINE
    #: Doorbell of the readers.
    READERS_BELL = 8 * LINE
    #: First of the readers' places.
    READERS = 9 * LINE
    #: Time of the machine's monotonic clock, in ns, at which the core last knew the market to go on; 0: not yet. Behind
    #: the places of readers. Writer: the core.
    BEAT = (9 + READERS_MAX) * LINE
    #: Time of that clock at which the core last ran, reigning or not; 0: not yet. It is stored right behind ``BEAT``.
    PULSE = BEAT + 1
    #: First of the doorbells of those who wait for ``RELEASED`` alone, or for the end: they do not ring for what nobody
    #: may tell yet. Each has one of its own, so that what one takes without sleep wakes no other.
    RELEASE_BELLS = BEAT + LINE


#: The sequence numbers that programs wait for.
SEQUENCE_WORDS: Final = (Place.APPLIED, Place.JOURNALED, Place.REPLICATED, Place.RELEASED)

#: Doorbells of those who wait for ``RELEASED`` alone.
RELEASE_BELLS_MAX: Final = 16

TAPE_WORDS: Final = Place.RELEASE_BELLS + RELEASE_BELLS_MAX * LINE

#: In a reader's place: its position, its name (8 characters) and its process.
READER_POSITION: Final = 0
READER_NAME: Final = 1
READER_PID: Final = 2

#: In a doorbell: 1 while somebody may sleep; the number of times that it rang; 1 if ringing needs a fence.
BELL_ARMED: Final = 0
BELL_RINGS: Final = 1
BELL_FENCED: Final = 2


class RingPlace(IntEnum):
    """Index of each word of a ring. Both count rows since the ring began."""

    #: Rows that were published. Writer: the producer.
    TAIL = 0 * LINE
    #: Rows that were taken. Writer: the consumer.
    HEAD = 1 * LINE
    #: Rows of the file. Set once, by the owner.
    ROWS = 2 * LINE
    #: 1 while a consumer sleeps in a poll of descriptors, so that the producer has to wake it by one of them.
    ASLEEP = 3 * LINE


RING_WORDS: Final = 4 * LINE
