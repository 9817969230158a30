"""Local clients: order entry through shared memory, with the checks, streams and guarantees of a socket."""

import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from client import LoginRefused, RequestRejected, Side
from client.errors import CannotConnect
from client.local import LocalClient
from engine import compile_kernels, is_compiled
from replay.market_rows import lines_of
from tape.errors import TapeError
from tape.line_kernels import (
    ASLEEP,
    IN_PUT,
    LINES_MAX,
    LINES_WORDS,
    OUT_PUT,
    OUT_TAKEN,
    RING_BYTES,
    first_word,
    sleeps,
)
from tape.lines import ClientLine, pipe_of
from tests.ouch_messages import cancel, enter
from tests.running import Client, Running, kinds, started, until
from tests.test_node_tape import journal_id
from wire.soup import LoginRequest


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    if not is_compiled():
        compile_kernels()


@pytest.fixture(params=["none", "fsync"])
def node(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Running]:
    running = started(tmp_path, "--durability", request.param, "--ids-max", "4194304")
    yield running
    running.stop()


def local(node: Running, user: str = "UA", **options: object) -> LocalClient:
    return LocalClient(node.data, user, "secret", timeout_s=60.0, **options)  # type: ignore[arg-type]


def line_of(node: Running) -> ClientLine:
    return ClientLine(lines_of(node.data), journal_id(node.data))


@pytest.mark.slow
def test_a_local_client_is_served_by_the_turn_and_its_stream_is_that_of_a_socket(node: Running) -> None:
    messages: list[bytes] = []
    client = local(node)
    client.core.on_message = lambda _seq, data: messages.append(bytes(data))
    with client:
        order = client.enter("XYZ", Side.BUY, 100, "9.00")
        until(lambda: node.status()["direct_connections"] == 1)
        order.replace(price="9.01")
        other = Client(node.port, "UB")
        other.socket.sendall(enter("b1", "S", 30, 90_100))
        assert kinds(other.take(3)) == ["SYSTEM_EVENT", "ACCEPTED", "EXECUTED"]
        client._wait(lambda: order.cum_qty == 30)
        for number in range(200):
            client.enter("XYZ", Side.BUY, 1 + number, "8.00").cancel()
        with pytest.raises(RequestRejected):
            client.enter("NONE", Side.BUY, 1, "8.00")
        order.cancel()
    assert len(messages) > 400
    assert _payloads(Client(node.port, "UA").take(len(messages))) == messages


def _payloads(stream: bytes) -> list[bytes]:
    found, at = [], 0
    while at < len(stream):
        size = int.from_bytes(stream[at : at + 2], "big")
        found.append(stream[at + 3 : at + 2 + size])
        at += 2 + size
    return found


@pytest.mark.slow
def test_who_may_not_log_in_is_refused_as_on_a_socket(node: Running) -> None:
    with pytest.raises(LoginRefused), LocalClient(node.data, "UA", "wrong", timeout_s=60.0):
        pass
    with local(node), pytest.raises(LoginRefused), local(node):
        pass
    with local(node, "UB") as first, local(node, "UB") as second:  # the newest wins
        second.enter("XYZ", Side.BUY, 1, "9.00")
        first._wait(lambda: not first.is_live)
        assert not first.is_live
    tcp = Client(node.port, "UA")
    with pytest.raises(LoginRefused), local(node):
        pass
    tcp.socket.close()


@pytest.mark.slow
def test_a_kill_switch_holds_for_a_local_client(node: Running) -> None:
    with local(node) as client:
        order = client.enter("XYZ", Side.BUY, 5, "9.00")
        with node.link() as link:
            link.ask("commands", text="kill ALPHA")
        client._wait(lambda: order.leaves_qty == 0)
        with pytest.raises(RequestRejected):
            client.enter("XYZ", Side.BUY, 5, "9.00")


@pytest.mark.slow
@pytest.mark.parametrize("node", ["fsync"], indirect=True)
def test_it_goes_on_after_the_node_was_killed(node: Running) -> None:
    client = local(node)
    client.connect()
    client.enter("XYZ", Side.BUY, 5, "9.00", token="a1")
    node.end(signal.SIGKILL)
    client._wait(lambda: not client.is_live)
    assert not client.is_live
    with pytest.raises(CannotConnect):
        local(node).connect()
    node.start()
    with local(node) as again:
        assert again.orders["a1"].leaves_qty == 5
        again.enter("XYZ", Side.BUY, 5, "9.00")


@pytest.mark.slow
@pytest.mark.parametrize("node", ["none"], indirect=True)
def test_a_copy_of_a_directory_leads_nobody_to_the_node_of_the_first(node: Running, tmp_path: Path) -> None:
    copy = shutil.copytree(node.data, tmp_path / "copy", ignore=shutil.ignore_patterns("*.lock", "*.sock", "*-wake"))
    assert lines_of(copy).exists()
    with pytest.raises(CannotConnect, match="was left by process"):
        LocalClient(copy, "UA", "secret", timeout_s=60.0).connect()
    with local(node) as client:
        client.enter("XYZ", Side.BUY, 5, "9.00")


@pytest.mark.slow
def test_all_lines_may_be_in_use_and_one_that_was_given_back_is_free(node: Running) -> None:
    held = [line_of(node) for _ in range(LINES_MAX)]
    with pytest.raises(TapeError, match=r"all 16 lines of .* are in use"):
        line_of(node)
    held.pop().close()
    with local(node) as client:
        client.enter("XYZ", Side.BUY, 5, "9.00")
    for each in held:
        each.close()


@pytest.mark.slow
def test_files_go_with_the_node(node: Running) -> None:
    path = lines_of(node.data)
    assert (path.stat().st_mode & 0o777, pipe_of(path).stat().st_mode & 0o777) == (0o600, 0o600)
    node.end(signal.SIGTERM)
    assert not path.exists()
    assert not pipe_of(path).exists()
    assert path.parent.stat().st_mode & 0o777 == 0o700


def forked(work: Callable[[], None]) -> int:
    """Process id of a child that does some work and ends."""
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            work()
        os._exit(0)
    return child


def put_all(line: ClientLine, data: bytes, draw: random.Random) -> None:
    """Put bytes in pieces of any size, packets cut anywhere."""
    at = 0
    while at < len(data):
        at += line.put(data[at : at + draw.randrange(1, 400)])
        line.take(np.zeros(RING_BYTES, np.uint8))


def login(user: str) -> bytes:
    return LoginRequest(user, "secret", "", 0).packet()


def _victim(node: Running, seed: int, *, torn: bool) -> None:
    """Log in as UC and trade for ever. torn: some bytes are published before they are written."""
    draw = random.Random(seed)
    line, parent = line_of(node), os.getppid()
    while not line.served() and os.getppid() == parent:
        time.sleep(0.001)
    put_all(line, login("UC"), draw)
    for number in range(1_000_000):
        if os.getppid() != parent:  # the test was killed
            return
        name = f"{seed}v{number}"
        if torn and draw.random() < 0.2:
            line.words[line.word + IN_PUT] += 64
            time.sleep(10)
        put_all(line, enter(name, "B", 5, 80_000) + cancel(name), draw)
        if draw.random() < 0.2:
            time.sleep(0.001)


def _kill_victims(node: Running, count: int, *, torn: bool = False, first: int = 0) -> int:
    """Trade by a line and a socket while victims are killed at random moments; gives the orders that were answered."""
    draw, number = random.Random(4 + first), 0
    tcp = Client(node.port, "UB", seq=0)
    with local(node) as client:
        for seed in range(first, first + count):
            child = forked(lambda seed=seed: _victim(node, seed, torn=torn))  # type: ignore[misc]
            until_s = time.monotonic() + draw.random() / 20
            try:
                while time.monotonic() < until_s or node.status()["direct_connections"] < 3:
                    client.enter("XYZ", Side.BUY, 1, "8.00").cancel()
                    tcp.socket.sendall(enter(f"{first}t{number}", "B", 1, 80_000) + cancel(f"{first}t{number}"))
                    number += 1
                    tcp.take(2 * number)
                    if torn and time.monotonic() > until_s:
                        break
            finally:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
            until(lambda: node.status()["direct_connections"] == 2)
        assert len(client.open_orders()) == 0
    tcp.socket.close()
    until(lambda: node.status()["connections"] == 0)
    return number


@pytest.mark.slow
@pytest.mark.parametrize("node", ["none"], indirect=True)
@pytest.mark.parametrize("kills", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_a_client_that_is_killed_in_the_middle_of_a_write_hurts_nobody(node: Running, kills: int) -> None:
    assert _kill_victims(node, kills) >= kills
    # The orders of the last one are canceled with its connection.
    until(lambda: node.status()["orders_open"] == 0)
    assert broken(node) == 0


def _ends(node: Running) -> list[str]:
    """Lines of the log about ended connections of victims."""
    return [line for line in node.logged().splitlines() if '"session ended"' in line and '"UC"' in line]


def broken(node: Running) -> int:
    """Connections of victims that the node has ended."""
    ends = _ends(node)
    assert ends
    return sum("the client closed the connection" not in line for line in ends)


@pytest.mark.slow
@pytest.mark.parametrize("node", ["none"], indirect=True)
def test_bytes_that_are_published_before_they_are_written_end_the_connection_of_who_did_it(node: Running) -> None:
    """Control of the test above: torn bytes show. On a busy machine a victim may be killed before it tears."""
    for first in range(0, 100, 5):
        _kill_victims(node, 5, torn=True, first=first)
        if _ends(node) and broken(node):  # on a busy machine five may be killed before they have begun
            return
    pytest.fail("no victim's torn bytes were noticed")


@pytest.mark.slow
def test_a_count_that_cannot_be_ends_that_connection_alone(node: Running) -> None:
    with local(node, "UB") as other, local(node) as client:
        client.enter("XYZ", Side.BUY, 5, "9.00")
        until(lambda: node.status()["direct_connections"] == 2)
        line = client._line
        assert line is not None
        line.words[line.word + IN_PUT] += 1 << 40
        until(lambda: node.status()["direct_connections"] == 1)
        other.enter("XYZ", Side.BUY, 5, "9.00")
    line = line_of(node)
    until(line.served)
    line.words[line.word + IN_PUT] -= 5
    line._wake()
    line.close()
    with local(node) as client:
        client.enter("XYZ", Side.BUY, 5, "9.00")


@pytest.mark.slow
def test_a_line_that_has_carried_more_than_its_ring_is_served_to_the_next_client(node: Running) -> None:
    """Before it is served it reads nothing: what is in the ring was for another."""
    for _ in range(3):
        messages: list[bytes] = []
        client = local(node)
        client.core.on_message = lambda _seq, data, got=messages: got.append(bytes(data))  # type: ignore[misc]
        with client:
            while sum(map(len, messages)) < RING_BYTES:
                client.enter("XYZ", Side.BUY, 5, "9.00").cancel()


@pytest.mark.slow
def test_whatever_a_client_leaves_in_the_words_of_its_line_the_next_one_is_served(node: Running) -> None:
    for place in (IN_PUT, OUT_PUT, OUT_TAKEN):
        line = line_of(node)
        until(line.served)
        line.words[line.word + place] += 1 << 40
        line.close()
        with local(node) as client:
            client.enter("XYZ", Side.BUY, 5, "9.00")


def test_bytes_left_on_a_line_that_nobody_has_keep_no_core_awake() -> None:
    words = np.zeros(LINES_WORDS, np.int64)
    counts, places = np.zeros(2 * LINES_MAX, np.int64), np.full(LINES_MAX, -1, np.int64)
    words[first_word(3) + IN_PUT] = 5
    assert sleeps(words, counts, places)
    assert words[ASLEEP] == 1
    places[3] = 0
    assert not sleeps(words, counts, places)
    assert words[ASLEEP] == 0


@pytest.mark.slow
def test_a_client_that_is_idle_hears_heartbeats_and_one_that_is_silent_is_ended(node: Running) -> None:
    """A client that was stopped says nothing: its orders go with its connection, as on a socket."""
    silent, draw = line_of(node), random.Random(1)
    until(silent.served)
    put_all(silent, login("UC") + enter("s1", "B", 5, 80_000), draw)
    with local(node) as client:
        client.enter("XYZ", Side.BUY, 5, "8.00")
        until(lambda: node.status()["direct_connections"] == 2)
        until_s = time.monotonic() + 120
        while node.status()["direct_connections"] == 2:
            assert client.is_live, client._why
            assert time.monotonic() < until_s
            client._wait(lambda: False, 0.2)
        client.enter("XYZ", Side.BUY, 5, "8.00")
    silent.close()
    until(lambda: "nothing was heard from the client" in node.logged())
    until(lambda: "orders canceled on disconnect" in node.logged())
