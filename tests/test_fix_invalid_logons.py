"""Logons that are not valid: with ResetSeqNumFlag the client gets a Logout with the reason, else no number is used."""

import pytest

from gateway.fix.session import COMP_ID, FixSession
from tests.fix_sessions import NOW_NS
from tests.test_fix_data import Subscriber, quoted
from wire.errors import ProtocolError
from wire.fix_codec import FrameWriter, Message, Times, body

HOUR_NS = 3_600_000_000_000
WRONG: list[tuple[list[tuple[int, str]], int, str]] = [
    ([(925, "new")], 0, "the logon is not valid: Tag not defined for this message type, field 925"),
    ([(9999, "x")], 0, "the logon is not valid: Invalid tag number, field 9999"),
    ([(98, "0")], 0, "the logon is not valid: Tag appears more than once, field 98"),
    ([], HOUR_NS, "the logon is refused: SendingTime accuracy problem"),
]


@pytest.mark.parametrize(("more", "late_ns", "why"), WRONG)
@pytest.mark.parametrize("resets", [True, False])
def test_order_entry_says_why_to_who_begins_the_numbers_again(
    more: list[tuple[int, str]], late_ns: int, why: str, *, resets: bool
) -> None:
    fields = [(98, "0"), (108, "30"), (554, "secret"), *([(141, "Y")] if resets else []), *more]
    frame = FrameWriter("FIX.4.4", "UA", COMP_ID, Times()).frame(b"A", 1, NOW_NS - late_ns, body(fields))
    (error,) = FixSession(0, lambda: NOW_NS).ask(frame, 0)
    assert isinstance(error, ProtocolError)
    assert str(error) == why
    assert b"secret" not in error.answer
    if not resets:
        assert error.answer == b""
        return
    answer = Message(error.answer)
    assert (answer.msg_type, answer.number(b"34"), answer.fields[b"58"].decode()) == (b"5", 1, why)
    assert (answer.fields[b"49"], answer.fields[b"56"]) == (COMP_ID.encode(), b"UA")


@pytest.mark.parametrize(("more", "late_ns", "why"), WRONG)
def test_market_data_says_why_to_who_begins_the_numbers_again(
    more: list[tuple[int, str]], late_ns: int, why: str
) -> None:
    subscriber = Subscriber(quoted().subscribers, "FIX.4.4")
    sent_ns, subscriber.now_ns = subscriber.now_ns, subscriber.now_ns - late_ns
    frame = subscriber.writer.frame(b"A", 1, subscriber.now_ns, body([(98, "0"), (108, "30"), (141, "Y"), *more]))
    subscriber.session.receive(frame, sent_ns)
    (answer,) = subscriber.got()
    assert (answer.msg_type, answer.number(b"34"), answer.fields[b"58"].decode()) == (b"5", 1, why)
    assert subscriber.session.ends == why
