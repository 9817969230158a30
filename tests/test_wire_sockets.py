"""The load generator over loopback: what it measures of a server, of one that stalls or loses, and of a node."""

import dataclasses
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from benchmarks.wire import checked
from benchmarks.wire_node import running_node
from benchmarks.wire_readers import readers
from journal import Journal
from load import echo
from load.generator import Generator, one_at_a_time
from load.lines import LoadError, User, close_lines, idle, open_lines
from load.local_line import LocalLine
from load.sink import Server
from load.sink_kernel import answer_all
from load.state import HELD_BYTES
from tests.test_wire_load import MIXED, once, without
from wire.ouch_codes import ServerMessage


@contextmanager
def serving(connections: int = 8, alter: Callable[[bytes], bytes] | None = None) -> Iterator[Server]:
    """The server without a market, in a thread."""
    server = Server(connections, alter)
    answer_all(server.sink, 0, 0)  # compiled here, and not while somebody waits
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server
    finally:
        server.stopped = True
        thread.join(10)
        assert not thread.is_alive()


@contextmanager
def loading(server: Server, connections: int, window: int, **options: Any) -> Iterator[Generator]:
    """A generator on so many connections."""
    lines = open_lines("127.0.0.1", server.port, [User(f"U{n}", "any") for n in range(connections)])
    generator = Generator(lines, ["S0"], window=window, **options)
    try:
        yield generator
    finally:
        generator.close()
        close_lines(lines)


@pytest.mark.parametrize(("connections", "window"), [(1, 2_000), (7, 350)])
def test_a_saturating_load_is_answered_whole(connections: int, window: int) -> None:
    with serving() as server, loading(server, connections, window) as generator:
        for requests in (1, 10_001, 5_000):
            result = generator.saturate(requests)
            assert (result.requests, result.answered) == (requests, requests)
            assert result.good, result.complaint()
            assert result.messages >= requests
            assert result.counts["rejected"] == 0


@pytest.mark.parametrize("busy", [False, True])
def test_one_at_a_time_gives_a_latency_for_each_round_trip(busy: bool) -> None:
    with serving() as server, loading(server, 1, 1) as generator:
        result = one_at_a_time(generator, 500, busy=busy)
        assert (result.answered, result.latencies.count) == (500, 500)
        assert 0 < result.latencies.at(50.0) < 1e9 * result.seconds
        assert result.good, result.complaint()
        assert generator.saturate(0).good


def test_an_open_loop_sends_all_at_its_rate() -> None:
    with serving() as server, loading(server, 3, 3_000, latencies_max=1_000, in_flight_max=1_000) as generator:
        result = generator.at_rate(2_000, 10_000)
        assert (result.answered, result.latencies.count) == (2_000, 2_000)
        assert result.good, result.complaint()
        assert result.seconds > 0.15


@pytest.mark.slow
def test_a_server_that_stalls_shows_in_the_percentiles_of_an_open_loop_and_hides_from_a_closed_one() -> None:
    """Coordinated omission: whoever waits for an answer before the next request sees one slow answer, whatever is
    kept waiting by it."""
    stall_s = 0.4
    answers_before = [-1]

    def alter(data: bytes) -> bytes:
        answers_before[0] -= 1
        if answers_before[0] == 0:
            time.sleep(stall_s)
        return data

    with serving(alter=alter) as server:
        with loading(server, 1, 1) as generator:
            answers_before[0] = 1_000
            closed = one_at_a_time(generator, 3_000)
        with loading(server, 1, 4_096, latencies_max=4_000, in_flight_max=4_096) as generator:
            answers_before[0] = 300
            opened = generator.at_rate(2_000, 2_000)
    assert closed.good, closed.complaint()
    assert opened.good, opened.complaint()
    assert opened.latencies.count == 2_000
    # 0.4 s of a second's requests were kept waiting, the first of them for all of it.
    assert opened.latencies.at(99.0) > 0.6 * stall_s * 1e9
    assert opened.latencies.at(80.0) > 0.2 * stall_s * 1e9
    assert closed.latencies.at(100.0) > 0.9 * stall_s * 1e9
    assert closed.latencies.at(99.0) < 0.2 * stall_s * 1e9


def test_an_answer_that_a_server_loses_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("load.generator.PATIENCE_S", 0.3)
    with serving(alter=once(without(ServerMessage.ACCEPTED))) as server, loading(server, 1, 50) as generator:
        result = generator.saturate(400)
        assert not result.good
        assert result.faults["lost"] == 1
        assert "1 lost" in result.complaint()


def test_idle_sessions_stay_logged_in_and_the_server_s_time_is_told() -> None:
    with serving() as server:
        lines = open_lines("127.0.0.1", server.port, [User(f"U{n}", "any") for n in range(8)])
        try:
            used = idle(lines, 0.3, os.getpid())
            assert used is not None
            assert 0 <= used < 3
            assert idle(lines, 0.05, None) is None
        finally:
            close_lines(lines)


def test_a_server_that_is_not_there_is_said_in_a_sentence() -> None:
    server = Server(1)
    port = server.port
    server.stopped = True
    server.run()
    with pytest.raises(LoadError, match=f"no connection to 127.0.0.1 port {port}"):
        open_lines("127.0.0.1", port, [User("U0", "any")])


@pytest.mark.slow
def test_a_node_answers_each_request_once_and_what_was_bought_was_sold() -> None:
    with running_node("none", 3, symbols=2) as node:
        lines = open_lines(node.host, node.port, node.users)
        generator = Generator(lines, node.symbols, window=300, mix=MIXED, latencies_max=2_000)
        try:
            results = [generator.saturate(5_000), generator.at_rate(1_000, 5_000), one_at_a_time(generator, 200)]
        finally:
            generator.close()
            close_lines(lines)
    for result in results:
        assert checked(result, node).answered == result.requests
    assert results[0].counts["executed"] > 100
    assert results[0].counts["replaced"] > 100
    unpaired = dataclasses.replace(results[0], unpaired_qty=1)
    with pytest.raises(LoadError, match="1 shares more were bought than sold"):
        checked(unpaired, node)


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("busy", [False, True])
def test_a_bare_echo_gives_each_message_back(busy: bool) -> None:
    with echo.serving() as port:
        for count in (1, 50):  # it serves one connection after the other
            latencies = echo.round_trips(port, count, busy=busy)
            assert latencies.count == count
            assert latencies.at(0.0) > 0


def test_an_echo_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def end() -> None:
            connection, _ = listener.accept()
            connection.close()

        ends = threading.Thread(target=end)
        ends.start()
        with pytest.raises((LoadError, ConnectionError)):
            echo.round_trips(listener.getsockname()[1], 1, busy=False)
        ends.join(60)
    monkeypatch.setattr("sys.executable", "/bin/true")
    with pytest.raises(LoadError, match="did not start"), echo.serving():
        pass


@pytest.mark.slow
def test_a_program_beside_the_node_times_its_round_trips_without_a_socket() -> None:
    with running_node("none", 1) as node:
        assert node.directory is not None
        with Journal.open(node.directory, readonly=True) as journal:
            journal_id = journal.journal_id
        line = LocalLine(node.directory, journal_id, node.users[0], node.symbols)
        try:
            for count in (1, 300):
                latencies = line.round_trips(count)
                assert latencies.count == count
                assert latencies.at(50.0) > 0
            line.load.arrived[0, HELD_BYTES:] = 0
            line.load.connections["unknown"] = 1
            with pytest.raises(LoadError, match="unknown"):
                line.round_trips(1)
        finally:
            line.close()


@pytest.mark.slow
def test_a_reader_beside_the_node_is_one_that_reads_it_and_its_cost_is_told_for_each_kind() -> None:
    with running_node("none", 1) as node:
        rows = list(readers(node, 2_000, 1))
    assert [row["name"].split(":")[0] for row in rows] == [
        "a reader that is asleep",
        "a reader that is dead",
        "a reader that is behind by all of the day",
    ]
    assert all(row["value"] > 0 for row in rows)
