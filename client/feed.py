"""Gap detection for a MoldUDP64 feed: packets in, messages in sequence and re-requests out. No socket.

    first packet ----> in order ----> a number is left out ----> missing ----> answered ----> in order
                                                                    |
                                                  too many, or not answered: a snapshot is wanted

Packets may come twice (from feeds A and B), late, in another order, or never. ``take`` gives each message once, in its
place. What stands behind a gap waits, up to a bound. ``due`` says what to ask for. Sessions are days: a later one
begins anew, and what still comes of the one before is left alone.

Times are nanoseconds of a clock that does not go back.
"""

from typing import Final

from wire import mold
from wire.errors import ProtocolError

#: Messages that are asked for one by one; where more are missing, a snapshot is wanted.
GAP_MESSAGES_MAX: Final = 50_000
#: Messages behind a gap that are kept; those beyond are asked for again.
KEPT_MESSAGES_MAX: Final = 200_000
#: Messages of one request: an answer of so many fits in the server's bound.
ASKED_MESSAGES: Final = 2_000
#: Requests at a time.
REQUESTS_MAX: Final = 8
#: Time without any missing message after which a request is repeated, in nanoseconds.
REPEAT_NS: Final = 20_000_000
#: As long a time after which requests are given up for a snapshot.
GIVE_UP_NS: Final = 1_000_000_000
#: Silence after which nothing is known of a feed, in nanoseconds: it sends a heartbeat each second.
SILENCE_NS: Final = 3_000_000_000


class FeedSequence:
    """Messages of a feed in sequence. snapshots, requests: whether a snapshot or re-request server is there."""

    def __init__(self, *, requests: bool = True, snapshots: bool = True) -> None:
        #: Session in progress, "" before the first packet.
        self.session = ""
        #: Number of the message that comes next.
        self.next_number = 1
        #: True where messages are to be had by a snapshot only; ``resume`` ends it.
        self.wants_snapshot = False
        #: Messages that were missing at some time, and packets that were no packets of the feed.
        self.missed = self.damaged = 0
        self._requests, self._snapshots = requests, snapshots
        self._behind = 1  # number behind the last message that is known of
        self._kept: dict[int, bytes] = {}
        self._asked_ns: int | None = None
        self._asked_behind = 1  # number behind the last message that was asked for
        self._moved_ns = 0
        self._heard_ns: int | None = None

    @property
    def missing(self) -> int:
        """Size of the gap: messages that are known of and have not been delivered."""
        return self._behind - self.next_number

    def is_whole(self, now_ns: int) -> bool:
        """True if there is no gap, and the feed is not silent."""
        heard = self._heard_ns is not None and now_ns - self._heard_ns < SILENCE_NS
        return heard and not self.missing and not self.wants_snapshot

    def take(self, octets: bytes, now_ns: int, *, sent_from_ns: int | None = None) -> list[bytes]:
        """Take a packet of the feed or of an answer; gives the messages that are now in sequence.

        sent_from_ns: time before which it cannot have come, where it may have waited; None: it comes now.
        ``session`` is another one after it where a day has begun; its messages begin anew.
        """
        try:
            packet = mold.read(octets)
        except ProtocolError:
            self.damaged += 1
            return []
        if packet.sequence < 1 or packet.session < self.session:
            return []
        if packet.session != self.session:
            self._begin(packet.session, now_ns)
        heard_ns = now_ns if sent_from_ns is None else sent_from_ns
        self._heard_ns = heard_ns if self._heard_ns is None else max(heard_ns, self._heard_ns)
        if packet.next_sequence > self._behind:
            if packet.sequence > self._behind:
                self.missed += packet.sequence - self._behind
            if not self.missing:
                self._moved_ns = now_ns
            self._behind = packet.next_sequence
        if packet.sequence == self.next_number and not (self._kept or self.wants_snapshot):
            self.next_number = packet.next_sequence  # nothing waits: no message needs to be found by its number
            return self._given(list(packet.messages), now_ns)
        for number, message in enumerate(packet.messages, packet.sequence):
            if number >= self.next_number and (number == self.next_number or len(self._kept) < KEPT_MESSAGES_MAX):
                self._kept.setdefault(number, message)
        return self._in_order(now_ns)

    def due(self, now_ns: int) -> list[bytes]:
        """Re-request packets to send now. ``wants_snapshot`` may be True after it."""
        if self.wants_snapshot or not self.missing:
            self._asked_ns = None
            return []
        hopeless = self.missing - len(self._kept) > GAP_MESSAGES_MAX or now_ns - self._moved_ns > GIVE_UP_NS
        if self._snapshots and (hopeless or not self._requests):
            self.wants_snapshot = True
            return []
        if not self._requests or (self._asked_ns is not None and not self._asks_again(self._asked_ns, now_ns)):
            return []
        gaps = self._gaps()
        first, count = gaps[-1]
        self._asked_ns, self._asked_behind = now_ns, first + count
        return [mold.request(self.session, first, count) for first, count in gaps]

    def _asks_again(self, asked_ns: int, now_ns: int) -> bool:
        """True once all that was asked for is here, or nothing of it came for a while: an answer under way is not asked
        for twice."""
        return self.is_answered or now_ns - max(asked_ns, self._moved_ns) >= REPEAT_NS

    @property
    def is_answered(self) -> bool:
        """True if all that was asked for last is here, and more is missing."""
        return self._asked_ns is not None and self.missing > 0 and self.next_number >= self._asked_behind

    def lose(self) -> None:
        """Count what was given as lost: go on behind a snapshot, or where none can be had from the first message."""
        self.wants_snapshot = self._snapshots or not self._requests
        self._asked_ns = None
        if not self.wants_snapshot:
            self.next_number = 1

    def resume(self, session: str, next_number: int, now_ns: int) -> list[bytes] | None:
        """Go on behind a snapshot; gives the messages that follow it and are here. None: the snapshot is of another day
        than the feed, take another one.
        """
        if session != self.session:
            if session < self.session:
                return None
            self._begin(session, now_ns)
        self.wants_snapshot = False
        self.next_number, self._behind = next_number, max(self._behind, next_number)
        self._kept = {number: message for number, message in self._kept.items() if number >= next_number}
        self._moved_ns = now_ns
        return self._in_order(now_ns)

    def _begin(self, session: str, now_ns: int) -> None:
        self.session, self.next_number, self._behind = session, 1, 1
        self._kept.clear()
        self.wants_snapshot, self._asked_ns, self._moved_ns = False, None, now_ns

    def _in_order(self, now_ns: int) -> list[bytes]:
        made: list[bytes] = []
        if self.wants_snapshot:
            return made
        while (message := self._kept.pop(self.next_number, None)) is not None:
            made.append(message)
            self.next_number += 1
        return self._given(made, now_ns)

    def _given(self, messages: list[bytes], now_ns: int) -> list[bytes]:
        """Note that messages are in order, before they are given."""
        if messages:
            self._moved_ns = now_ns
        return messages

    def _gaps(self) -> list[tuple[int, int]]:
        """First number and count of the ranges to ask for."""
        found: list[tuple[int, int]] = []
        at = self.next_number
        for number in [*sorted(self._kept), self._behind]:
            while at < number and len(found) < REQUESTS_MAX:
                count = min(number - at, ASKED_MESSAGES)
                found.append((at, count))
                at += count
            if len(found) == REQUESTS_MAX:
                break
            at = number + 1
        return found
