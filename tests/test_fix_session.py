"""A FIX session as an acceptor serves it: numbers, gaps, resends, rejects, silence, and what survives a crash."""

import random
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.captures import PORT, Segment, needs_tshark, write_pcap
from wire.fix_codec import Cutter, FrameWriter, Garbled, Message, Times, body
from wire.fix_events import Event, Identity, LoggedOut, LogonAsked, Received, Restarted, Terms, identity
from wire.fix_session import EARLY_BYTES_MAX, EARLY_MAX, HELD_BYTES_MAX, SLICE_MESSAGES, Session
from wire.fix_store import SEQ_MAX, MemoryStore
from wire.fix_table import VERSIONS, own
from wire.fix_validation import Validator
from wire.session_state import State

SECOND_NS = 1_000_000_000
START_NS = 1_790_000_000 * SECOND_NS
VALIDATORS = {version: Validator(own(version)) for version in VERSIONS}


class Peer:
    """A client by hand: it numbers its messages, and reads the answers."""

    def __init__(self, store: MemoryStore | None = None, version: str = "FIX.4.4", accepts: bool = True) -> None:
        self.version = version
        self.store = MemoryStore() if store is None else store
        application = "9" if version == "FIXT.1.1" else None
        self.session = Session(Terms(version, "LOCK", "FIRM", application), VALIDATORS[version], self.store)
        self.writer = FrameWriter(version, "FIRM", "LOCK", Times())
        self.now_ns = START_NS
        self.seq = 1
        self.accepts = accepts
        self.events: list[Event] = []

    def connect(self) -> "Peer":
        self.session.connected(self.now_ns)
        return self

    def logon(self, *more: tuple[int, str], seq: int | None = None) -> list[str]:
        fields: list[tuple[int, str]] = [(98, "0"), (108, "30"), *more]
        if self.version == "FIXT.1.1":
            fields.append((1137, "9"))
        return self.say("A", *fields, seq=seq)

    def say(
        self,
        kind: str,
        *fields: tuple[int, str],
        seq: int | None = None,
        header: Sequence[tuple[int, bytes]] = (),
        age_ns: int = 0,
    ) -> list[str]:
        number = self.seq if seq is None else seq
        if seq is None:
            self.seq += 1
        return self.feed(self.writer.routed(kind.encode(), number, self.now_ns - age_ns, body(fields), header=header))

    def order(self, client_order_id: str, **more: int | None) -> list[str]:
        time = Times().text(self.now_ns).decode()
        fields = [(11, client_order_id), (55, "ACME"), (54, "1"), (38, "100"), (40, "1"), (60, time)]
        if self.version == "FIX.4.2":
            fields.append((21, "1"))
        return self.say("D", *fields, seq=more.get("seq"))

    def feed(self, data: bytes) -> list[str]:
        self._take(self.session.receive(data, self.now_ns))
        return self.answers()

    def wait(self, seconds: float) -> list[str]:
        self.now_ns += int(seconds * SECOND_NS)
        self._take(self.session.tick(self.now_ns))
        return self.answers()

    def _take(self, events: list[Event]) -> None:
        self.events += events
        if self.accepts and any(isinstance(event, LogonAsked) for event in events):
            self._take(self.session.accept(self.now_ns))

    def answers(self) -> list[str]:
        """Messages that were written, each as ``type seq fields`` without the fields that all have."""
        found = []
        for frame in self.session.take():
            cutter = Cutter()
            cutter.feed(frame)
            assert cutter.next() == (frame, True)
            message = Message(frame)
            rest = [
                f"{tag.decode()}={value.decode()}"
                for tag, value in message.in_order()
                if tag not in b"8 9 10 35 34 49 56 52 122".split()
            ]
            found.append(" ".join([message.msg_type.decode(), str(message.number(b"34")), *rest]))
        return found

    @property
    def received(self) -> list[str]:
        """Client order ids of the messages that reached the application."""
        return [event.message.fields[b"11"].decode() for event in self.events if isinstance(event, Received)]

    @property
    def ended(self) -> str | None:
        reasons = [event.reason for event in self.events if isinstance(event, LoggedOut)]
        assert bool(reasons) == (self.session.state is State.ENDED)
        return reasons[-1] if reasons else None


def live(version: str = "FIX.4.4") -> Peer:
    peer = Peer(version=version).connect()
    assert len(peer.logon()) == 1
    return peer


@pytest.mark.parametrize("version", VERSIONS)
def test_a_logon_an_order_and_a_logout(version: str) -> None:
    peer = Peer(version=version).connect()
    more = " 1137=9" if version == "FIXT.1.1" else ""
    assert peer.logon() == [f"A 1 98=0 108=30{more}"]
    assert peer.order("A1") == []
    assert peer.received == ["A1"]
    assert peer.session.send(b"8", body([(37, "1")]), peer.now_ns) == 2
    assert peer.answers() == ["8 2 37=1"]
    assert peer.say("5") == ["5 3"]
    assert peer.ended == "the peer logged out"
    assert (peer.store.in_seq, peer.store.out_seq) == (4, 4)


def test_bytes_one_by_one_and_all_at_once_give_the_same() -> None:
    whole, trickled = Peer().connect(), Peer().connect()
    stream = b"".join(
        whole.writer.frame(kind, seq, START_NS, fields)
        for seq, (kind, fields) in enumerate(
            [
                (b"A", body([(98, 0), (108, 30)])),
                (b"1", body([(112, "X")])),
                (b"2", body([(7, 1), (16, 0)])),
                (b"D", body([(11, "A1")])),
                (b"5", b""),
            ],
            start=1,
        )
    )
    at_once = whole.feed(stream)
    piecewise = [answer for at in range(len(stream)) for answer in trickled.feed(stream[at : at + 1])]
    assert at_once == piecewise
    assert [type(event) for event in whole.events] == [type(event) for event in trickled.events]
    assert len(at_once) == 5


def test_a_gap_is_asked_for_once_and_what_came_early_waits() -> None:
    peer = live()
    assert peer.order("A4", seq=4) == ["2 2 7=2 16=0"]
    assert peer.order("A5", seq=5) == []
    assert peer.received == []
    peer.order("A2", seq=2)
    assert peer.received == ["A2"]
    peer.order("A3", seq=3)
    assert peer.received == ["A2", "A3", "A4", "A5"]
    assert peer.store.in_seq == 6
    # The next gap is another one.
    assert peer.order("A9", seq=9) == ["2 3 7=6 16=0"]
    assert peer.say("4", (123, "Y"), (36, "9"), seq=6) == []
    assert peer.received[-1] == "A9"


def test_a_gap_fill_ends_the_gap_and_forgets_what_came_early_within_it() -> None:
    peer = live()
    assert peer.order("A5", seq=5) == ["2 2 7=2 16=0"]
    assert peer.say("4", (123, "Y"), (36, "8"), seq=2) == []
    assert (peer.store.in_seq, peer.received, peer.session._early) == (8, [], {})
    assert peer.order("A10", seq=10) == ["2 3 7=8 16=0"], "the next gap is asked for at once"
    assert peer.say("4", (123, "Y"), (36, "10"), seq=8) == []
    assert peer.received == ["A10"]


def test_a_gap_fill_and_a_reset_go_forward_alone() -> None:
    peer = live()
    for more in ([(36, "3")], [(36, "3"), (123, "N")]):
        assert peer.say("4", *more, seq=900) == [], (
            "a reset has any number of its own, and goes to the one that it says"
        )
        assert peer.store.in_seq == 3
    for new, fills in ((2, False), (3, True), (2, True)):
        more = [(123, "Y")] if fills else []
        (answer,) = peer.say("4", (36, str(new)), *more, seq=3)
        assert answer.startswith("3 ")
        assert answer.endswith("372=4 373=5"), answer
        assert peer.store.in_seq == 3
    assert peer.say("4", (36, "20"), seq=1) == []
    assert (peer.store.in_seq, peer.ended) == (20, None)


def test_messages_that_come_early_are_bounded() -> None:
    peer = live()
    for seq in range(EARLY_MAX + 50):
        peer.feed(peer.writer.frame(b"0", seq + 3, peer.now_ns, b""))
    assert len(peer.session._early) == EARLY_MAX


def test_long_messages_that_come_early_are_bounded_by_their_bytes() -> None:
    peer = live()
    text = body([(11, "A1"), (55, "X"), (54, "1"), (40, "1"), (38, 1), (60, "20260921-14:13:20"), (58, "x" * 15_000)])
    for seq in range(3, 300):
        peer.feed(peer.writer.frame(b"D", seq, peer.now_ns, text))
    held = sum(len(message.frame) for message in peer.session._early.values() if message is not None)
    assert EARLY_BYTES_MAX <= held < EARLY_BYTES_MAX + 16_384


def test_a_gap_whose_resend_was_garbled_is_asked_for_again() -> None:
    peer = live()
    assert peer.order("A4", seq=4) == ["2 2 7=2 16=0"]
    peer.feed(peer.writer.frame(b"0", 2, peer.now_ns, b"").replace(b"34=2", b"34=9"))
    assert peer.order("A3", seq=3) == []
    peer.now_ns += 9 * SECOND_NS
    assert peer.say("0", seq=5) == []
    peer.now_ns += SECOND_NS
    assert peer.say("0", seq=6) == ["2 3 7=2 16=0"]
    # Progress counts: a long resend is not asked for twice.
    peer.now_ns += 9 * SECOND_NS
    peer.say("4", (123, "Y"), (36, "3"), seq=2)
    assert peer.received == ["A3", "A4"]
    assert peer.store.in_seq == 7


def test_a_number_that_is_too_low_ends_the_session_unless_it_is_a_duplicate() -> None:
    peer = live()
    peer.order("A2")
    first = Times().text(peer.now_ns)
    assert (
        peer.say(
            "D",
            (11, "A2"),
            (55, "X"),
            (54, "1"),
            (40, "1"),
            (60, first.decode()),
            seq=2,
            header=[(43, b"Y"), (122, first)],
        )
        == []
    )
    assert peer.received == ["A2"]
    assert peer.say("0", seq=2) == ["5 2 58=MsgSeqNum too low, expecting 3 but received 2"]
    assert peer.ended == "MsgSeqNum too low, expecting 3 but received 2"


def test_a_duplicate_says_when_it_was_sent_first_which_is_not_later() -> None:
    peer = live()
    peer.order("A2")

    def again(first: str | None) -> list[str]:
        header = [(43, b"Y"), *([] if first is None else [(122, first.encode())])]
        return peer.say("0", seq=2, header=header)

    assert again(None) == ["3 2 45=2 58=Required tag missing 371=122 372=0 373=1"]
    assert (peer.store.in_seq, peer.ended) == (3, None), "it was consumed before"
    assert again(Times().text(peer.now_ns).decode()) == []
    later = Times().text(peer.now_ns + SECOND_NS).decode()
    assert [each.split()[0] for each in again(later)] == ["3", "5"], "it is refused, and the session ends"
    peer = live()
    peer.order("A2")
    assert again("no time") == ["3 2 45=2 58=Incorrect data format for value 371=122 372=0 373=6"]


def test_a_resend_that_is_asked_for_within_a_gap_is_sent_and_its_number_is_not_missed() -> None:
    peer = live()
    assert peer.order("A4", seq=4) == ["2 2 7=2 16=0"]
    assert peer.say("2", (7, "1"), (16, "0"), seq=5) == ["4 1 43=Y 36=3 123=Y"]
    peer.order("A2", seq=2)
    peer.order("A3", seq=3)
    assert (peer.received, peer.store.in_seq) == (["A2", "A3", "A4"], 6)


def test_a_resend_has_duplicates_and_gap_fills_and_goes_in_slices() -> None:
    peer = live()
    count = 3 * SLICE_MESSAGES
    for number in range(count):
        peer.session.send(b"8", body([(37, number)]), peer.now_ns)
        if number == 5:
            peer.say("1", (112, "PING"))
    peer.answers()
    answers = peer.say("2", (7, "1"), (16, "0"))
    assert answers[:2] == ["4 1 43=Y 36=2 123=Y", "8 2 43=Y 37=0"]
    assert answers[7:9] == ["4 8 43=Y 36=9 123=Y", "8 9 43=Y 37=6"]
    assert SLICE_MESSAGES <= len(answers) <= SLICE_MESSAGES + 2
    assert peer.session.resending
    # What is sent meanwhile has its own number, and the session answers.
    assert peer.say("1", (112, "NOW")) == [f"0 {count + 3} 112=NOW"]
    while peer.session.resending:
        peer.session.resend_more(peer.now_ns)
        slice_ = peer.answers()
        assert len(slice_) <= SLICE_MESSAGES + 2
        answers += slice_
    assert [answer.split()[-1] for answer in answers if answer[0] == "8"] == [f"37={each}" for each in range(count)]
    assert answers[-1] == f"8 {count + 2} 43=Y 37={count - 1}"


def test_a_peer_that_asks_for_resends_without_end_is_logged_out() -> None:
    peer = live()
    for number in range(SLICE_MESSAGES * 2):
        peer.session.send(b"8", body([(37, number)]), peer.now_ns)
    peer.answers()
    data = b"".join(peer.writer.frame(b"2", seq, peer.now_ns, body([(7, 1), (16, 0)])) for seq in range(2, 60))
    answers = peer.feed(data)
    assert any("resends were asked for at once" in answer for answer in answers)
    assert len(answers) < 2 * SLICE_MESSAGES


def test_what_is_sent_without_a_connection_is_there_at_the_next_logon() -> None:
    peer = live()
    peer.session.disconnected()
    peer.session.send(b"8", body([(37, "1")]), peer.now_ns)
    assert peer.answers() == []
    peer.now_ns += 60 * SECOND_NS
    peer.connect()
    assert peer.logon() == ["A 3 98=0 108=30"]
    assert peer.say("2", (7, "2"), (16, "0")) == ["8 2 43=Y 37=1", "4 3 43=Y 36=4 123=Y"]


def test_a_client_that_names_the_number_it_expects_gets_the_rest_unasked() -> None:
    peer = live()
    peer.session.send(b"8", body([(37, "1")]), peer.now_ns)
    peer.session.disconnected()
    peer.connect()
    assert peer.logon((789, "2")) == ["A 3 98=0 108=30 789=3", "8 2 43=Y 37=1"]
    peer.session.disconnected()
    peer.connect()
    assert peer.logon((789, "50")) == ["5 4 58=NextExpectedMsgSeqNum too high, expecting 4 but received 50"]
    assert peer.ended is not None


@pytest.mark.parametrize("lost", range(4))
def test_a_session_goes_on_from_the_numbers_of_its_last_commit(lost: int) -> None:
    """The last ``lost`` orders were not journaled when the process died: the peer sends them again, once."""
    peer = live()
    committed: list[str] = []
    for number in range(8):
        if number == 8 - lost:
            break
        peer.order(f"A{number}")
        committed = peer.received
    numbers = peer.store.in_seq, peer.store.out_seq
    for number in range(8 - lost, 8):
        peer.order(f"A{number}")
    again = Peer(MemoryStore(*numbers))
    again.seq = peer.seq
    again.connect()
    asked = [answer for answer in again.logon() if answer.startswith("2 ")]
    assert asked == ([f"2 {numbers[1] + 1} 7={numbers[0]} 16=0"] if lost else [])
    for number in range(8 - lost, 8):
        again.order(f"A{number}", seq=numbers[0] + number - (8 - lost))
    assert committed + again.received == [f"A{number}" for number in range(8)]


def test_a_reset_begins_both_numbers_again_when_the_logon_is_accepted_and_not_before() -> None:
    peer = live()
    peer.order("A1")
    peer.session.disconnected()
    peer.accepts = False
    peer.connect()
    assert peer.logon((141, "Y"), seq=1) == []
    assert (peer.store.in_seq, peer.store.out_seq) == (3, 2)
    peer.session.refuse("wrong password", peer.now_ns)
    assert peer.answers() == ["5 2 58=wrong password"]
    assert (peer.store.in_seq, peer.store.out_seq) == (3, 3)
    peer.accepts = True
    peer.connect()
    peer.seq = 1
    assert peer.logon((141, "Y")) == ["A 1 98=0 108=30 141=Y"]
    assert Restarted() in peer.events
    assert (peer.store.in_seq, peer.store.out_seq) == (2, 2)
    # In a live session too.
    peer.order("A2")
    peer.seq = 1
    assert peer.logon((141, "Y")) == ["A 1 98=0 108=30 141=Y"]
    assert (peer.store.in_seq, peer.store.out_seq) == (2, 2)


def test_a_logon_waits_for_its_answer_and_what_is_behind_it_is_bounded() -> None:
    peer = Peer(accepts=False).connect()
    assert peer.logon() == []
    peer.order("A1")
    assert peer.received == []
    peer.events += peer.session.accept(peer.now_ns)
    assert peer.received == ["A1"]
    held = Peer(accepts=False).connect()
    held.logon()
    held.feed(b"8=" * HELD_BYTES_MAX)
    assert held.ended == f"more than {HELD_BYTES_MAX} bytes came before the logon was answered"


def test_silence_is_asked_about_and_then_ends_the_session() -> None:
    peer = live()
    assert peer.wait(29) == []
    assert peer.wait(1) == ["0 2"]
    assert peer.session.due_ns() == START_NS + 36 * SECOND_NS
    assert peer.wait(6) == ["1 3 112=TEST"]
    assert peer.say("0", (112, "TEST")) == []
    assert peer.wait(30) == ["0 4"]
    assert peer.wait(6) == ["1 5 112=TEST"]
    assert peer.wait(30) == []
    peer.wait(6)
    assert peer.ended == "the peer was silent"
    # The control: a peer that is heard stays.
    other = live()
    for _ in range(20):
        other.wait(10)
        other.say("0")
    assert other.ended is None


def test_a_logout_of_ours_ends_with_the_answer_or_when_none_comes() -> None:
    peer = live()
    peer.session.logout("good night", peer.now_ns)
    assert peer.answers() == ["5 2 58=good night"]
    assert peer.say("5") == []
    assert peer.ended == "the peer logged out"
    other = live()
    other.session.logout("good night", other.now_ns)
    other.wait(1.9)
    assert other.ended is None
    other.wait(0.2)
    assert other.ended == "a logout was not answered in time"


def test_a_message_that_is_not_served_gets_a_business_reject_and_goes_back_to_the_third_party() -> None:
    peer = live()
    answers = peer.say("i", (117, "Q1"), header=[(115, b"JCD"), (116, b"CS")])
    assert answers == ["j 2 128=JCD 129=CS 45=2 58=Unsupported Message Type 372=i 380=3"]
    assert peer.received == []
    assert peer.store.in_seq == 3


def test_a_fault_is_rejected_with_its_tag_and_consumes_its_number() -> None:
    peer = live()
    assert peer.say(
        "D", (11, "A1"), (55, "X"), (54, "Z"), (40, "1"), (60, "20260921-14:13:20"), header=[(115, b"JCD")]
    ) == ["3 2 128=JCD 45=2 58=Value is incorrect (out of range) for this tag 371=54 372=D 373=5"]
    assert peer.store.in_seq == 3
    old = live("FIX.4.2")
    assert "373=" not in old.say("0", (112, "X"), (112, "Y"))[0]


def test_numbers_end_with_32_bits_and_no_message_takes_them_further() -> None:
    """A number above has no room in a row of the journal."""
    peer = live()
    for new in (SEQ_MAX + 1, 10**18 - 1):
        for fills in ([], [(123, "Y")]):
            assert peer.say("4", *fills, (36, str(new)), seq=2)[0].split(" ", 2)[2].endswith("371=36 372=4 373=5")
    assert peer.store.in_seq == 2
    assert peer.say("4", (36, str(SEQ_MAX)), seq=2) == []
    said = "58=the numbers are used up: log on with ResetSeqNumFlag (141) Y"
    faulty = ((112, "x"), (112, "y"))
    answers = [peer.say("1", (112, "x"), seq=SEQ_MAX), peer.say("1", *faulty, seq=SEQ_MAX), peer.say("5", seq=SEQ_MAX)]
    assert [each.split(" ", 2)[::2] for each in answers[0]] == [["5", said]]
    assert answers[1:] == [[], []]
    assert peer.store.in_seq == SEQ_MAX
    peer.connect()
    assert peer.logon(seq=SEQ_MAX)[0].endswith(said)
    peer.connect()
    assert peer.logon((141, "Y"), seq=1) == ["A 1 98=0 108=30 141=Y"]


@pytest.mark.parametrize("number", [-5, 10**18, 10**40])
def test_a_number_that_is_none_ends_the_session_with_the_reason(number: int) -> None:
    why = "MsgSeqNum (34) is no number of at most 18 digits"
    peer = live()
    assert peer.say("0", seq=number) == [f"5 2 58={why}"]
    assert peer.ended == why
    first = Peer().connect()
    assert first.logon(seq=number) == [], "a logon is not answered"
    assert first.ended == why


@pytest.mark.parametrize(
    ("begin", "end", "tag"), [("9" * 25, "0", 7), ("-1", "0", 7), ("1", "9" * 25, 16), ("1", "-1", 16)]
)
def test_a_resend_from_or_to_no_number_is_rejected(begin: str, end: str, tag: int) -> None:
    """All messages were sent again."""
    peer = live()
    said = "3 2 45=2 58=Value is incorrect (out of range) for this tag"
    assert peer.say("2", (7, begin), (16, end)) == [f"{said} 371={tag} 372=2 373=5"]
    assert peer.store.in_seq == 3


@pytest.mark.parametrize(("begin", "end", "tag"), [(2, 1, 16), (3, 1, 16), (3, 0, 7), (3, 9, 7), (999_999, 0, 7)])
def test_a_resend_of_what_was_not_sent_is_rejected(begin: int, end: int, tag: int) -> None:
    """It had no answer, and its number was used. Two messages were sent."""
    peer = live()
    assert peer.say("1", (112, "x")) == ["0 2 112=x"]
    said = "3 3 45=3 58=Value is incorrect (out of range) for this tag"
    assert peer.say("2", (7, begin), (16, end)) == [f"{said} 371={tag} 372=2 373=5"]
    assert peer.say("2", (7, 3), (16, 9)) == ["4 3 43=Y 36=4 123=Y"], "the reject is the last that was sent"
    assert peer.store.in_seq == 5


def test_a_resend_of_what_was_not_sent_behind_a_gap_is_rejected_and_the_gap_is_asked_for() -> None:
    peer = live()
    answers = peer.say("2", (7, 9), (16, 0), seq=5)
    assert answers == ["3 2 45=5 58=Value is incorrect (out of range) for this tag 371=7 372=2 373=5", "2 3 7=2 16=0"]
    assert peer.say("4", (36, 5), (123, "Y"), seq=2) == []
    assert peer.store.in_seq == 6


def test_a_client_that_expects_number_0_gets_all_messages() -> None:
    peer = live()
    peer.session.disconnected()
    peer.connect()
    assert peer.logon((789, "0")) == ["A 2 98=0 108=30 789=3", "4 1 43=Y 36=2 123=Y"]


def test_a_message_of_another_application_version_is_rejected() -> None:
    """It would be read by the rules of a version that is not its own."""
    peer = live("FIXT.1.1")
    order = [(11, "A1"), (38, "1"), (40, "1"), (54, "1"), (55, "X"), (60, "20260921-14:13:20")]
    for version, answers in ((b"9", 0), (b"6", 1)):
        said = peer.say("D", *order, header=[(1128, version)])
        assert [each.split(" ")[0] for each in said] == ["3"] * answers
    assert said[0].endswith("371=1128 372=D 373=5")


@pytest.mark.parametrize(("age_s", "refused"), [(121, True), (-121, True), (119, False), (-119, False)])
def test_a_message_of_another_time_is_refused(age_s: int, refused: bool) -> None:
    peer = live()
    answers = peer.say("0", age_ns=age_s * SECOND_NS)
    expected = ["3 2 45=2 58=SendingTime accuracy problem 372=0 373=10", "5 3"]
    assert answers == (expected if refused else [])


def test_a_session_is_found_by_the_names_in_the_logon() -> None:
    peer = Peer()
    frame = peer.writer.frame(b"A", 1, START_NS, body([(98, 0), (108, 30)]))
    assert identity(frame[:-1]) is None
    assert identity(b"") is None
    assert identity(frame) == Identity("FIX.4.4", "FIRM", "LOCK")
    for wrong in (b"GET / HTTP/1.1\r\n", frame.replace(b"98=0", b"98=1"), peer.writer.frame(b"0", 1, START_NS, b"")):
        with pytest.raises(Garbled):
            identity(wrong)


def test_a_session_has_one_connection() -> None:
    peer = live()
    with pytest.raises(RuntimeError, match="has a connection"):
        peer.session.connected(peer.now_ns)


def test_hostile_bytes_raise_nothing_and_lose_no_order() -> None:
    """Frames are damaged, repeated, cut and shuffled; whatever happens, orders are given once and in order."""
    for seed in range(60):
        rng = random.Random(seed)
        peer = live()
        frames = []
        for seq in range(2, 40):
            kind, fields = rng.choice([(b"0", b""), (b"1", body([(112, "T")])), (b"2", body([(7, 1), (16, 0)]))])
            if rng.random() < 0.6:
                time = Times().text(peer.now_ns)
                kind = b"D"
                fields = body([(11, seq), (55, "ACME"), (54, "1"), (38, 100), (40, "1"), (60, time)])
            frames.append(peer.writer.frame(kind, seq, peer.now_ns, fields))
        hostile = bytearray(b"".join(frames))
        for _ in range(rng.randrange(12)):
            at = rng.randrange(len(hostile))
            hostile[at : at + rng.randrange(4)] = rng.randbytes(rng.randrange(5))
        at = 0
        while at < len(hostile):
            size = rng.randrange(1, 200)
            peer.feed(bytes(hostile[at : at + size]))
            at += size
        numbers = [event.seq for event in peer.events if isinstance(event, Received)]
        assert numbers == sorted(set(numbers)), seed
        # A damaged length may swallow what follows: silence ends such a session, and a logon asks for the rest.
        for _ in range(3):
            peer.wait(30)
        assert peer.session.state is State.ENDED
        peer.connect()
        peer.logon(seq=max(40, peer.store.in_seq))
        for seq in range(peer.store.in_seq, 40):
            peer.say("0", seq=seq)
        assert peer.store.in_seq >= 41, seed


@needs_tshark
@pytest.mark.parametrize("damaged", [False, True])
def test_wireshark_reads_a_conversation_and_finds_each_checksum_right(damaged: bool, tmp_path: Path) -> None:
    """Damaged: the control, in which two messages have another text than their checksum says."""
    peer = Peer().connect()
    said: list[Segment] = []

    def tell(kind: bytes, seq: int, fields: bytes) -> None:
        frame = peer.writer.frame(kind, seq, peer.now_ns, fields)
        said.append((False, frame))
        peer.events += peer.session.receive(frame, peer.now_ns)
        if peer.session.state is State.ASKED:
            peer.session.accept(peer.now_ns)
        said.extend((True, frame) for frame in peer.session.take())

    tell(b"A", 1, body([(98, 0), (108, 30)]))
    tell(b"1", 2, body([(112, "PING")]))
    peer.session.send(
        b"8", body([(37, "1"), (17, "1"), (150, "0"), (39, "0"), (54, "1"), (151, 100), (14, 0), (6, 0)]), START_NS
    )
    tell(b"2", 3, body([(7, 1), (16, 0)]))
    tell(b"0", 4, body([(58, "")]))
    tell(b"5", 5, b"")
    if damaged:
        said = [(by_server, data.replace(b"112=PING", b"112=PONG")) for by_server, data in said]
    path = tmp_path / "fix.pcap"
    write_pcap(path, said)
    command = ["tshark", "-r", str(path), "-d", f"tcp.port=={PORT},fix", "-o", "tcp.desegment_tcp_streams:TRUE"]
    command += [
        "-T",
        "fields",
        "-e",
        "fix.MsgType",
        "-e",
        "fix.MsgSeqNum",
        "-e",
        "fix.checksum_good",
        "-e",
        "fix.checksum_bad",
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    read = [line.split("\t") for line in done.stdout.splitlines()]
    assert [line[:2] for line in read] == [
        *(["A", "1"], ["A", "1"], ["1", "2"], ["0", "2"], ["2", "3"], ["8", "3"], ["4", "1"], ["8", "3"]),
        *(["0", "4"], ["3", "4"], ["5", "5"], ["5", "5"]),
    ]
    wrong = [line[:2] for line in read if line[2:] != ["1", "0"]]
    assert wrong == ([["1", "2"], ["0", "2"]] if damaged else [])


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({108: "-1"}, "HeartBtInt"),
        ({108: "3601"}, "HeartBtInt"),
        ({108: "99999999"}, "HeartBtInt"),
        ({108: "9" * 25}, "HeartBtInt"),
        ({789: "9" * 25}, "NextExpectedMsgSeqNum"),
        ({789: "-1"}, "NextExpectedMsgSeqNum"),
        ({98: "1"}, "EncryptMethod"),
        ({1137: "7"}, "DefaultApplVerID"),
        ({141: "Y", 34: "5"}, "ResetSeqNumFlag"),
        ({108: "0"}, ""),
        ({108: "3600", 141: "Y"}, ""),
    ],
)
def test_a_logon_with_terms_that_are_not_served_is_refused_with_the_reason(changes: dict[int, str], why: str) -> None:
    now_ns = START_NS
    session = Session(Terms("FIXT.1.1", "X", "C", "9"), Validator(own("FIXT.1.1")), MemoryStore())
    session.connected(now_ns)
    fields = {98: "0", 108: "30", 1137: "9"} | {tag: value for tag, value in changes.items() if tag != 34}
    writer = FrameWriter("FIXT.1.1", "C", "X", Times())
    session.receive(writer.frame(b"A", int(changes.get(34, "1")), now_ns, body(sorted(fields.items()))), now_ns)
    session.accept(now_ns)
    (answer,) = [Message(frame) for frame in session.take()]
    assert answer.msg_type == (b"5" if why else b"A")
    assert (answer.get(b"58") or b"").decode().startswith(why)
    assert (session.state is State.LIVE) == (not why)
