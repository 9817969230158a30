"""Resends of a session at a gateway, out of the records of its stream: what is sent, and that no number is missing."""

import pytest

from gateway.fix import records
from gateway.fix.marks import Mark
from gateway.fix.session import FixSession
from tests.fix_sessions import NOW_NS, live_session
from tests.test_fix_messages import fix_streams
from wire.fix_codec import Cutter, FrameWriter, Message, Times, body

#: When the messages of the stream were sent first.
FIRST_NS = NOW_NS - 3_600 * 10**9
#: Kinds of the numbers of the stream, from 1 on: the logon, rejects, and marks of messages of the session.
KINDS = "MBMMBBMMM"


def stored(number: int) -> bytes:
    """The record of a number."""
    if KINDS[number - 1] == "M":
        return records.record_of(number, records.MARK, records.OF_MARK.pack(0, 1, Mark.SESSION))
    data = records.OF_BUSINESS.pack(FIRST_NS + number * 10**9, number, 0, b"B".ljust(8, b"\0"))
    return records.record_of(number, records.BUSINESS, data, b"no news")


class Peer:
    """A client whose session has sent the whole stream once."""

    def __init__(self, version: str = "FIX.4.4") -> None:
        self.session: FixSession
        self.writer: FrameWriter
        self.streams = fix_streams()
        self.session, self.writer = live_session(version, self.streams)
        self.seq = 2
        self.first = self.send(2, len(KINDS))

    def send(self, begin: int, end: int) -> list[Message]:
        """Messages of the records from one number to another."""
        data = b"".join(stored(number) for number in range(begin, end + 1))
        taken, octets = self.session.outgoing(data)
        assert taken == len(data)
        cutter, found = Cutter(), []
        cutter.feed(octets)
        while (cut := cutter.next()) is not None:
            assert cut[1]
            found.append(Message(cut[0]))
        return found

    def ask(self, begin: int, end: int) -> int | None:
        """Send a ResendRequest; the place in the stream from which records come again."""
        frame = self.writer.frame(b"2", self.seq, NOW_NS, body([(7, begin), (16, end)]))
        self.seq += 1
        taken, _, _ = self.session.read(memoryview(frame), 256, self.streams, 1, 1)
        assert taken == len(frame)
        return self.session.take_resend()


def told(messages: list[Message]) -> list[str]:
    """Type and number of each message; of a gap fill also the number behind it."""
    found = []
    for each in messages:
        assert (each.get(b"43"), each.get(b"52")) == (b"Y", Times().text(NOW_NS))
        behind = f" to {each.number(b'36')}" if each.msg_type == b"4" else ""
        found.append(f"{each.msg_type.decode()} {each.number(b'34')}{behind}")
    return found


def whole(messages: list[Message], begin: int, end: int) -> None:
    """No number from one to another is left out, or comes twice."""
    numbers = [each.number(b"34") or 0 for each in messages]
    behind = [
        (each.number(b"36") or 0) if each.msg_type == b"4" else (each.number(b"34") or 0) + 1 for each in messages
    ]
    assert (numbers[0], behind[-1]) == (begin, end + 1)
    assert behind[:-1] == numbers[1:]


@pytest.mark.parametrize("version", ["FIX.4.2", "FIX.4.4", "FIXT.1.1"])
def test_a_resend_has_what_was_sent_with_its_first_time_and_fills_the_rest(version: str) -> None:
    peer = Peer(version)
    assert [(each.msg_type, each.number(b"34")) for each in peer.first if each.msg_type == b"j"] == [
        (b"j", 2),
        (b"j", 5),
        (b"j", 6),
    ]
    assert not any(each.get(b"43") for each in peer.first)
    assert peer.ask(1, 0) == 1
    again = peer.send(1, len(KINDS))
    assert told(again) == ["4 1 to 2", "j 2", "4 3 to 5", "j 5", "j 6", "4 7 to 10"]
    whole(again, 1, len(KINDS))
    for each in again:
        first_ns = FIRST_NS + (each.number(b"34") or 0) * 10**9 if each.msg_type == b"j" else NOW_NS
        assert each.get(b"122") == Times().text(first_ns)
        assert each.msg_type == b"j" or each.get(b"123") == b"Y"
    by_number = {each.number(b"34"): each for each in peer.first}
    for each in again:
        if each.msg_type == b"j":
            before = by_number[each.number(b"34")]
            assert [before.get(tag) for tag in (b"45", b"58", b"372", b"380")] == [
                each.get(tag) for tag in (b"45", b"58", b"372", b"380")
            ]


@pytest.mark.parametrize(
    ("begin", "end", "expected"),
    [
        (2, 2, ["j 2"]),
        (2, 3, ["j 2", "4 3 to 4"]),
        (3, 4, ["4 3 to 5"]),
        (4, 5, ["4 4 to 5", "j 5"]),
        (6, 8, ["j 6", "4 7 to 9"]),
        (6, 99, ["j 6", "4 7 to 10"]),
    ],
)
def test_a_bounded_resend_ends_where_it_was_asked_to(begin: int, end: int, expected: list[str]) -> None:
    peer = Peer()
    assert peer.ask(begin, end) == begin
    again = peer.send(begin, len(KINDS))
    assert told(again) == expected
    assert peer.session.take_resend() is None
    whole(again, begin, min(end, len(KINDS)))


def test_a_resend_that_is_asked_for_amid_another_has_what_is_left_of_that() -> None:
    peer = Peer()
    assert peer.ask(1, 0) == 1
    assert told(peer.send(1, 3)) == ["4 1 to 2", "j 2"], "a gap waits for its end"
    assert peer.ask(6, 6) == 3
    assert told(peer.send(3, len(KINDS))) == ["4 3 to 5", "j 5", "j 6", "4 7 to 10"]
    peer = Peer()
    assert peer.ask(5, 6) == 5
    assert peer.ask(2, 2) == 2, "what was not begun is left too, and all between"
    assert told(peer.send(2, len(KINDS))) == ["j 2", "4 3 to 5", "j 5", "j 6"]


def test_what_is_kept_no_more_is_filled_up_to_the_first_that_is() -> None:
    peer = Peer()
    assert peer.ask(1, 3) == 1
    assert told(peer.send(5, len(KINDS))) == ["4 1 to 4"], "all that was asked for is gone"
    assert peer.ask(1, 0) == 1
    assert told(peer.send(5, len(KINDS))) == ["4 1 to 5", "j 5", "j 6", "4 7 to 10"]
