"""Faults of our own code in one session of market data by FIX: that session ends, and all others go on."""

import asyncio
import time
from typing import Any

import pytest

from marketdata.fix.session import DataSession, Subscribers
from node.feeds.fix_data_process import FAULT, Connection, FixDataProcess
from tests.test_fix_data import Subscriber, Venue
from tests.test_ladders import stream
from wire.fix_codec import Cutter, FrameWriter, Message, Times, body
from wire.fix_session import Session

CHANGES = stream("meeting", 5, 1_200)


class Log:
    """A log that has what it was told."""

    def __init__(self) -> None:
        self.said: list[tuple[str, dict[str, Any]]] = []

    def error(self, event: str, **values: Any) -> None:
        self.said.append((event, values))

    info = warning = error


class Transport(asyncio.Transport):
    """A transport that has what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written, self.closed, self.aborted = b"", False, False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.closed or self.aborted

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def messages(self) -> list[Message]:
        cutter = Cutter()
        cutter.feed(self.written)
        found = []
        while (cut := cutter.next()) is not None:
            found.append(Message(cut[0]))
        return found


class Process(FixDataProcess):
    """The program without its node."""

    def __init__(self, venue: Venue) -> None:
        self.log: Any = Log()
        self.market = venue.market
        self.subscribers = Subscribers(venue.market, self.on_fault)
        self.by_session, self._addresses, self.refused = {}, {}, 0

    def wake(self) -> None:
        self._send()

    def client(self, name: str) -> tuple[Connection, Transport]:
        connection, transport = Connection(self), Transport()
        connection.connection_made(transport)
        for number, (kind, fields) in enumerate(self.first_messages(), 1):
            frame = FrameWriter("FIX.4.4", name, "LOCKSTEP", Times()).frame(kind, number, time.time_ns(), body(fields))
            connection.data_received(frame)
        return connection, transport

    def first_messages(self) -> list[tuple[bytes, list[tuple[int, Any]]]]:
        symbol = next(iter(self.market.instruments.values())).symbol
        wish = [(262, "w"), (263, 1), (264, 0), (265, 1), (267, 1), (269, 0), (146, 1), (55, symbol)]
        return [(b"A", [(98, 0), (108, 30), (141, "Y"), (554, "secret")]), (b"V", wish)]


@pytest.fixture
def venue() -> Venue:
    """A market that trades."""
    made = Venue()
    made.take(CHANGES[:400])
    return made


def failing(session: DataSession, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_arguments: Any, **_options: Any) -> None:
        raise IndexError("planted")

    monkeypatch.setattr(session, method, fails)


@pytest.mark.parametrize("method", ["send", "receive", "take", "tick", "go_on"])
def test_a_fault_in_one_session_ends_it_and_no_other(
    venue: Venue, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    process = Process(venue)
    faulty, of_faulty = process.client("FAULTY")
    _, of_other = process.client("OTHER")
    broken = faulty.session
    assert broken is not None
    assert of_other.messages()[-1].msg_type == b"W"
    failing(broken, method, monkeypatch)
    if method == "go_on":
        monkeypatch.setattr(DataSession, "has_more", property(lambda self: self is broken and not self.ends))
    ping = FrameWriter("FIX.4.4", "FAULTY", "LOCKSTEP", Times()).frame(b"1", 3, time.time_ns(), body([(112, "x")]))
    faulty.data_received(ping)
    for session, connection in process.by_session.items():
        with connection.own_faults():
            connection.beat(time.time_ns() + 31 * 10**9, time.monotonic())
        process.subscribers.written.add(session)
    before = len(of_other.messages())
    changes = CHANGES[400:1200]
    venue.subscribers = process.subscribers
    venue.take(changes)
    process._send()
    assert of_faulty.is_closing()
    assert not of_other.is_closing()
    assert {each.msg_type for each in of_other.messages()[before:]} >= {b"X"}, "the other is told what happens"
    assert [event for event, _ in process.log.said if "fault" in event] == ["a fault of ours ends a session"]
    (said,) = (values for event, values in process.log.said if "fault" in event)
    assert said["user"] == "FAULTY"
    assert said["why"] == "IndexError: planted"
    assert "planted" in said["traceback"]
    if method != "take":  # what takes its bytes is what fails
        assert of_faulty.messages()[-1].fields[b"58"] == FAULT.encode()
    process.leave(faulty)
    assert process.subscribers.count == 1, "nothing is left of it"


def test_a_fault_before_a_logon_says_nothing_of_what_came(venue: Venue, monkeypatch: pytest.MonkeyPatch) -> None:
    process = Process(venue)

    def fails(_self: Session, data: bytes, _now_ns: int) -> None:
        raise ValueError(f"cannot read {data!r}")

    monkeypatch.setattr(Session, "receive", fails)
    _, transport = process.client("FAULTY")
    assert transport.is_closing()
    said = [values for event, values in process.log.said if "fault" in event]
    assert said
    assert "secret" not in str(process.log.said)


def test_without_a_guard_a_fault_is_raised(venue: Venue, monkeypatch: pytest.MonkeyPatch) -> None:
    subscriber = Subscriber(venue.subscribers)
    subscriber.log_on()
    subscriber.request("w", venue.symbols()[:1])
    failing(subscriber.session, "send", monkeypatch)
    with pytest.raises(IndexError, match="planted"):
        venue.subscribers.refresh(time.time_ns())
