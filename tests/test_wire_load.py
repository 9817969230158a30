"""The load generator says what it means, and notices whatever an exchange does wrong: negative controls for each.

No socket is needed: the generator's requests go to the kernel of the server without a market, whose answers come back
altered, cut anywhere, or whole. Over loopback it runs in ``test_wire_sockets.py``.
"""

import hashlib
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from load import state
from load.answers import take_answers
from load.latency import Latencies
from load.orders import make_requests
from load.sink_kernel import answer_all, new_sink
from load.state import HELD_BYTES, Load, Mix, faults, new_load, token
from wire.ouch import client_rows, read_client, read_server, server_rows
from wire.ouch_codes import CancelReason, ClientMessage, ServerMessage
from wire.soup import PacketCutter, PacketType, packet

MIXED = Mix(limit=0.4, cancel=0.3, ioc=0.06, marketable=0.04, replace=0.2)
ALL = np.arange(1_024)


class Loop:
    """A generator and a server without a market, joined in memory. One connection answers another of the server's.

    ``ring``: orders of a connection that are kept, a power of two. The generator's own number is meant for hours, and
    to clear and count so many places takes longer than the test.
    """

    def __init__(
        self, connections: int = 1, window: int = 64, mix: Mix = MIXED, symbols: int = 3, ring: int = 16_384
    ) -> None:
        names = [f"S{n}" for n in range(symbols)]
        load = new_load(connections, symbols=names, window=window, mix=mix)
        self.load: Load = load._replace(orders=load.orders[:, :ring].copy())
        self.load.connections["requests_max"] = 2**60
        self.sink = new_sink(connections)
        self.senders, self.lengths = np.zeros(connections, np.int64), np.zeros(connections, np.int64)
        self.sent: list[list[bytes]] = [[] for _ in range(connections)]

    def requests(self, now_ns: int = 1) -> list[tuple[int, bytes]]:
        """Requests that are due, by connection."""
        count = len(self.load.connections)
        found = make_requests(self.load, ALL[:count].copy(), count, now_ns, self.senders, self.lengths)
        made = zip(self.senders[:found].tolist(), self.lengths[:found].tolist(), strict=True)
        return [(n, self.load.out[n, :length].tobytes()) for n, length in made]

    def answers(self, n: int, data: bytes) -> bytes:
        """Answers of the server to requests."""
        self.sink.arrived[n, HELD_BYTES : HELD_BYTES + len(data)] = np.frombuffer(data, np.uint8)
        return self.sink.out[n, : answer_all(self.sink, n, len(data))].tobytes()

    def take(self, n: int, data: bytes, now_ns: int = 2) -> None:
        """Give the generator bytes of the server."""
        self.load.arrived[n, HELD_BYTES : HELD_BYTES + len(data)] = np.frombuffer(data, np.uint8)
        take_answers(self.load, np.array([n]), np.array([len(data)]), 1, now_ns)

    def turn(self, alter: Callable[[bytes], bytes] = bytes) -> None:
        """Requests of all connections, and their answers, altered."""
        for n, data in self.requests():
            self.sent[n] += [payload for _kind, payload in cut(data)]
            self.take(n, alter(self.answers(n, data)))

    def faults(self) -> dict[str, int]:
        """The faults."""
        return {name: count for name, count in faults(self.load).items() if count}


def cut(data: bytes) -> list[tuple[int, bytes]]:
    """Packets of a stream, which is whole."""
    cutter = PacketCutter()
    cutter.feed(data)
    packets = list(iter(cutter.next, None))
    assert cutter.held_bytes == 0
    return packets


def framed(messages: list[bytes]) -> bytes:
    """Messages of an exchange as packets."""
    return b"".join(packet(PacketType.SEQUENCED, message) for message in messages)


def test_each_request_is_an_ouch_message_with_sensible_fields() -> None:
    loop = Loop(connections=3)
    for _ in range(12):
        loop.turn()
    blanks = {int(kind): client_rows(kind)[0] for kind in ClientMessage}
    kinds: Counter[int] = Counter()
    for sent in loop.sent:
        for payload in sent:
            row = read_client(payload)[0]
            kinds[int(row["kind"])] += 1
            blank = blanks[int(row["kind"])]
            if row["kind"] == ClientMessage.CANCEL_ORDER:
                assert row["shares"] == 0
                continue
            assert 1 <= row["shares"] <= 500
            assert row["price_e4"] % 100 == 0
            assert 500_000 < row["price_e4"] < 1_500_000
            assert row["minimum_quantity"] == blank["minimum_quantity"]
            if row["kind"] == ClientMessage.ENTER_ORDER:
                assert row["stock"] in (b"S0      ", b"S1      ", b"S2      ")
                assert row["buy_sell"] in (ord("B"), ord("S"))
                assert row["time_in_force_s"] in (0, 99_998)
                assert row["firm"] == blank["firm"]
    assert set(kinds) == {ClientMessage.ENTER_ORDER, ClientMessage.CANCEL_ORDER, ClientMessage.REPLACE_ORDER}
    assert not loop.faults()


def test_tokens_are_short_and_rise_and_no_two_connections_share_one() -> None:
    loop = Loop(connections=5)
    for _ in range(30):
        loop.turn()
    seen: set[bytes] = set()
    for sent in loop.sent:
        rows = [read_client(payload)[0] for payload in sent]
        made = [
            bytes(row["order_token" if row["kind"] == ClientMessage.ENTER_ORDER else "replacement_order_token"])
            for row in rows
            if row["kind"] != ClientMessage.CANCEL_ORDER
        ]
        assert made == sorted(set(made))
        assert all(len(each.rstrip(b" ")) == 8 and each.rstrip(b" ").isascii() for each in made)
        assert seen.isdisjoint(made)
        seen.update(made)
    assert len(seen) > 1_000


def test_tokens_of_a_later_run_are_above_those_of_an_earlier_one() -> None:
    bases = [state.token_base(7, ms_of_day) for ms_of_day in (0, 1, 43_200_000, 86_399_999)]
    assert [token(base + 1) for base in bases] == sorted(token(base + 1) for base in bases)
    assert state.token_base(7, 86_399_999) + 2**36 < state.token_base(8, 0)


def test_the_mix_is_the_one_that_was_asked_for() -> None:
    loop = Loop(window=256, mix=Mix())
    for _ in range(100):
        loop.turn()
    rows = [read_client(payload)[0] for payload in loop.sent[0]]
    enters = [row for row in rows if row["kind"] == ClientMessage.ENTER_ORDER]
    iocs = sum(1 for row in enters if row["time_in_force_s"] == 0)
    assert len(rows) > 10_000
    assert abs(iocs / len(rows) - 0.10) < 0.01
    assert abs((len(rows) - len(enters)) / len(rows) - 0.40) < 0.03
    assert not loop.faults()


def test_the_ring_comes_round_without_a_stall_and_open_orders_stay_bounded() -> None:
    ring = 512
    loop = Loop(connections=1, window=64, mix=Mix(0.9, 0.02, 0.04, 0.04, 0.0), ring=ring)
    load = loop.load
    for _ in range(400):
        before = int(load.connections["requests"][0])
        loop.turn()
        assert int(load.connections["requests"][0]) - before > 8
        assert int((load.orders["state"] == state.State.LIVE).sum()) <= ring
    assert int(load.connections["orders"][0]) > 10 * ring
    assert not loop.faults()


def test_a_run_without_a_fault_has_none_and_each_request_is_answered() -> None:
    loop = Loop(connections=4)
    for _ in range(100):
        loop.turn()
    rows = loop.load.connections
    assert int(rows["requests"].sum()) > 10_000
    assert (rows["requests"] == rows["answered"]).all()
    assert not loop.faults()


def once(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[bytes], bytes]:
    """An alteration of the messages of one turn, the third."""
    turns = iter(range(1_000))

    def alter(data: bytes) -> bytes:
        return data if next(turns) != 2 else framed(change([payload for _kind, payload in cut(data)]))

    return alter


def place_of(messages: list[bytes], kind: ServerMessage) -> int:
    """Position of the first message of a kind."""
    return next(place for place, message in enumerate(messages) if message[0] == kind)


def without(kind: ServerMessage) -> Callable[[list[bytes]], list[bytes]]:
    """Messages, less the first of a kind."""
    return lambda messages: [m for place, m in enumerate(messages) if place != place_of(messages, kind)]


def twice(kind: ServerMessage) -> Callable[[list[bytes]], list[bytes]]:
    """Messages, the first of a kind said twice."""
    return lambda messages: [*messages, messages[place_of(messages, kind)]]


def without_cancel(reason: CancelReason) -> Callable[[list[bytes]], list[bytes]]:
    """Messages, less the first Canceled with a reason."""

    def is_it(message: bytes) -> bool:
        return message[0] == ServerMessage.CANCELED and read_server(message)[0]["cancel_reason"] == reason

    def change(messages: list[bytes]) -> list[bytes]:
        messages.remove(next(filter(is_it, messages)))
        return messages

    return change


def field(kind: ServerMessage, name: str, value: object) -> Callable[[list[bytes]], list[bytes]]:
    """Messages, in the first of a kind a field changed."""

    def change(messages: list[bytes]) -> list[bytes]:
        place = place_of(messages, kind)
        row = read_server(messages[place]).copy()
        row[name] = value
        return [*messages[:place], row.tobytes(), *messages[place + 1 :]]

    return change


def exchanged(messages: list[bytes]) -> list[bytes]:
    """The first two Accepted, the other way round."""
    first = place_of(messages, ServerMessage.ACCEPTED)
    second = first + 1 + place_of(messages[first + 1 :], ServerMessage.ACCEPTED)
    messages[first], messages[second] = messages[second], messages[first]
    return messages


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (without(ServerMessage.ACCEPTED), "lost"),
        (without_cancel(CancelReason.USER), "lost"),
        (without_cancel(CancelReason.IMMEDIATE_OR_CANCEL), "ioc_left_open"),
        (without(ServerMessage.REPLACED), "lost"),
        (twice(ServerMessage.ACCEPTED), "doubled"),
        (twice(ServerMessage.CANCELED), "doubled"),
        (twice(ServerMessage.REPLACED), "doubled"),
        (exchanged, "reordered"),
        (field(ServerMessage.ACCEPTED, "order_token", b"ZZZZZZZZ      "), "unknown"),
        (field(ServerMessage.ACCEPTED, "order_token", b"a".ljust(14)), "unknown"),
        (field(ServerMessage.CANCELED, "order_token", b"--------------"), "unknown"),
        (field(ServerMessage.ACCEPTED, "shares", 777), "wrong"),
        (field(ServerMessage.ACCEPTED, "price_e4", 1), "wrong"),
        (field(ServerMessage.REPLACED, "price_e4", 1), "wrong"),
        (field(ServerMessage.CANCELED, "decrement_shares", 501), "doubled"),
    ],
)
def test_what_an_exchange_does_wrong_is_noticed(change: Callable[[list[bytes]], list[bytes]], fault: str) -> None:
    loop = Loop(window=128)
    alter = once(change)
    for _ in range(3):
        loop.turn(alter)
    assert loop.faults().get(fault, 0) > 0
    control = Loop(window=128)
    for _ in range(3):
        control.turn(once(list))
    assert not control.faults()


def test_an_order_called_gone_without_a_word_that_it_went_is_noticed() -> None:
    loop = Loop(window=1, mix=Mix(1.0, 0.0, 0.0, 0.0, 0.0))
    loop.turn()
    loop.load.shares[:] = (0, 65_536, 65_536, 65_536, 65_536)  # from here on, cancels
    loop.load.recent[:] = 1  # of the newest order
    [(n, data)] = loop.requests()
    cancel = read_client(cut(data)[0][1])[0]
    assert cancel["kind"] == ClientMessage.CANCEL_ORDER
    reject = server_rows(ServerMessage.CANCEL_REJECT)
    reject["order_token"] = cancel["order_token"]
    loop.take(n, framed([reject.tobytes()]))
    assert loop.faults() == {"unexplained": 1}


def executed(sent: Any, shares: int, number: int) -> bytes:
    """An execution of an order."""
    row = server_rows(ServerMessage.EXECUTED)
    row["order_token"], row["executed_shares"], row["match_number"] = sent["order_token"], shares, number
    return row.tobytes()


def test_executions_use_an_order_up_and_no_more_than_that() -> None:
    loop = Loop(window=1, mix=Mix(1.0, 0.0, 0.0, 0.0, 0.0))
    loop.turn()
    order = read_client(loop.sent[0][0])[0]
    shares = int(order["shares"])
    assert shares > 1
    loop.take(0, framed([executed(order, shares - 1, 1), executed(order, 1, 2)]))
    assert not loop.faults()
    assert abs(state.unpaired_qty(loop.load)) == shares
    loop.take(0, framed([executed(order, 1, 3)]))
    assert loop.faults() == {"doubled": 1}


def test_bytes_that_are_no_message_are_noticed_and_not_read_on() -> None:
    for nonsense in (b"\0\0", b"\xff\xff", packet(ord("?")), framed([b"?"]), framed([b"A"]), framed([b""])):
        loop = Loop()
        loop.turn()
        loop.take(0, nonsense + framed([b"x"]))
        assert loop.faults() == {"broken": 1}


@pytest.mark.slow
def test_an_answer_that_comes_in_two_parts_is_read_wherever_it_was_cut() -> None:
    for mix, window in ((MIXED, 24), (Mix(), 4)):
        loop = Loop(window=window, mix=mix, ring=256)
        loop.turn()
        [(n, data)] = loop.requests()
        answers = packet(PacketType.SERVER_HEARTBEAT) + loop.answers(n, data)
        assert len(answers) < 4_000
        known = (loop.load.connections, loop.load.orders, loop.load.intended_ns)
        before = [array.copy() for array in known]
        for place in range(len(answers) + 1):
            for array, content in zip(known, before, strict=True):
                array.view(np.uint8)[:] = content.view(np.uint8)
            assert loop.faults() == {"lost": window}
            loop.take(0, answers[:place])
            loop.take(0, answers[place:])
            assert not loop.faults(), place
            assert loop.load.connections["held"][0] == 0


def test_a_stream_that_comes_byte_by_byte_is_read() -> None:
    loop = Loop(window=16)
    for _ in range(12):
        for n, data in loop.requests():
            # The server gets its requests byte by byte, and so does the generator its answers.
            answers = b"".join(loop.answers(n, bytes([byte])) for byte in data)
            for byte in answers:
                loop.take(n, bytes([byte]))
    assert loop.load.connections["answered"][0] > 150
    assert not loop.faults()


def test_a_silent_connection_sends_a_heartbeat_and_a_busy_one_does_not() -> None:
    loop = Loop(connections=2)
    loop.load.connections["requests_max"][0] = 0
    loop.load.connections["sent_ns"] = 5
    said = dict(loop.requests(now_ns=999_999_999))
    assert 0 not in said
    assert loop.requests(now_ns=1_000_000_005) == [(0, packet(PacketType.CLIENT_HEARTBEAT))]
    assert not loop.requests(now_ns=1_000_000_006)


def test_an_open_loop_makes_what_is_due_and_late_requests_bear_the_time_they_were_meant_for() -> None:
    load = new_load(1, symbols=["S0"], window=512, latencies_max=1_000)
    loop = Loop(window=512)
    loop.load = load
    row = load.connections[0]
    row["requests_max"], row["due_ns"], row["interval_ns"], row["sent_ns"] = 100, 1_000, 10, 1_000
    assert not loop.requests(now_ns=999)
    [(_, data)] = loop.requests(now_ns=1_095)  # a loop that comes late
    assert len(cut(data)) == 10
    loop.take(0, loop.answers(0, data), now_ns=2_000)
    assert load.latency_ns[: int(row["latencies"])].tolist() == [1_000 - 10 * n for n in range(10)]
    [(_, data)] = loop.requests(now_ns=10_000)
    assert len(cut(data)) == 90
    assert not loop.requests(now_ns=20_000)


def test_percentiles_are_those_of_the_values() -> None:
    latencies = Latencies()
    assert latencies.summary() == {"count": 0, "p50_us": 0, "p99_us": 0, "p999_us": 0, "max_us": 0}
    values = np.arange(1, 100_001) * 1_000
    latencies.record(values[:50_000])
    latencies.record(values[50_000:])
    for percentile in (50.0, 99.0, 99.9, 100.0):
        assert latencies.at(percentile) == pytest.approx(percentile * 1_000_000, rel=0.002)
    assert latencies.count == 100_000


def made_bytes() -> str:
    """A digest of requests and of what is known after their answers."""
    loop = Loop(connections=2, window=16)
    digest = hashlib.sha256()
    for _ in range(8):
        loop.turn()
    for sent in loop.sent:
        digest.update(b"".join(sent))
    digest.update(loop.load.connections.tobytes() + loop.load.orders["leaves_qty"].tobytes())
    return digest.hexdigest()


def test_interpreted_kernels_give_the_same_bytes() -> None:
    code = "from tests.test_wire_load import made_bytes; print(made_bytes())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parent.parent,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
    )
    assert done.stdout.strip() == made_bytes()
