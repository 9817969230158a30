"""A witness: sessions that show a secret, bytes that are wrong, kills at each step, full disks and restarts."""

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replication.arbiter import (
    Acquire,
    Answer,
    Arbiter,
    ArbiterError,
    Candidate,
    Lost,
    Read,
    Reason,
    Record,
    Renew,
    Standing,
    Won,
)
from replication.register_file import Disk, RegisterFiles
from replication.secret_file import SecretError, create_secret, read_secret
from replication.witness import (
    HELLO_BYTES_MAX,
    LINE_BYTES_MAX,
    Answered,
    Asked,
    ClientSession,
    ServerSession,
)
from replication.witness_arbiter import WitnessArbiter
from replication.witness_server import STRANGERS_MAX, WitnessServer
from tests.arbiters import LONG_NS, MS, WitnessCourt, new_market, until
from tests.conftest import Lockstep
from tests.json_schemas import checked
from tests.test_arbiter import lost, won
from wire.errors import ProtocolError

SECRET = b"a secret of at least sixteen bytes"
MARKET = "0123456789abcdef" * 2

# Sessions.


def joined(client: ClientSession, server: ServerSession) -> None:
    """Let both ends show the secret."""
    reply, _ = client.receive(server.greeting)
    reply, _ = server.receive(reply)
    client.receive(reply)


def sessions(secret: bytes = SECRET) -> tuple[ClientSession, ServerSession]:
    return ClientSession(SECRET, bytes(15) + b"c"), ServerSession(secret, bytes(15) + b"s")


def test_both_ends_show_the_secret_without_sending_it() -> None:
    client, server = sessions()
    sent = server.greeting
    first, _ = client.receive(sent)
    assert not server.is_open
    second, _ = server.receive(first)
    assert server.is_open
    assert not client.is_open
    client.receive(second)
    assert client.is_open
    assert SECRET not in sent + first + second
    request_id, line = client.request(MARKET, Renew(7))
    assert server.receive(line) == (b"", [Asked(request_id, MARKET, Renew(7))])
    told = Lost(Reason.ENDED, "why", None)
    assert client.receive(server.answer(Answered(request_id, told))) == (b"", [Answered(request_id, told)])
    _, line = client.request(MARKET, Read())
    server.receive(line)
    assert client.receive(server.answer(Answered(2, "full")))[1] == [Answered(2, "full")]


def test_a_stranger_is_refused_and_so_is_a_witness_that_is_one() -> None:
    client, server = sessions(b"another secret of sixteen bytes")
    reply, _ = client.receive(server.greeting)
    with pytest.raises(ProtocolError, match="the secret is not the one of this witness"):
        server.receive(reply)
    with pytest.raises(ProtocolError, match="ended the connection: the secret is not"):
        client.receive(ServerSession.refusal("the secret is not the one"))
    client, server = sessions()
    client.receive(server.greeting)
    with pytest.raises(ProtocolError, match="does not know the secret"):
        client.receive(b'{"proof": "%s"}\n' % (b"0" * 64))
    client, server = sessions()
    with pytest.raises(RuntimeError):
        client.request(MARKET, Read())
    # A proof is of one connection: what another one overheard is worth nothing.
    heard, _ = client.receive(server.greeting)
    later = ServerSession(SECRET, bytes(15) + b"t")
    with pytest.raises(ProtocolError, match="the secret is not the one"):
        later.receive(heard)


def test_bytes_that_were_changed_left_out_or_repeated_end_the_session() -> None:
    for place in range(10_000):
        client, server = sessions()
        joined(client, server)
        _, line = client.request(MARKET, Renew(7))
        if place >= len(line) - 1:
            break
        changed = bytearray(line)
        changed[place] ^= 1
        with pytest.raises(ProtocolError):
            server.receive(bytes(changed) + b"\n")
    client, server = sessions()
    joined(client, server)
    lines = [client.request(MARKET, Renew(number))[1] for number in range(3)]
    for wrong in ([lines[1]], [lines[0], lines[0]], [lines[0], lines[2]]):
        with pytest.raises(ProtocolError, match="authentication code"):
            server.receive(b"".join(wrong))
        client, server = sessions()
        joined(client, server)
    # An answer of the witness is no request to it.
    with pytest.raises(ProtocolError, match="authentication code"):
        server.receive(sessions_answer())


def sessions_answer() -> bytes:
    client, server = sessions()
    joined(client, server)
    return server.answer(Answered(1, "why"))


def test_lines_may_come_cut_anywhere_and_a_long_one_ends_the_session() -> None:
    client, server = sessions()
    reply = b"".join(client.receive(bytes([byte]))[0] for byte in server.greeting)
    back = b"".join(server.receive(bytes([byte]))[0] for byte in reply)
    for byte in back:
        client.receive(bytes([byte]))
    asked: list[Asked] = []
    for byte in client.request(MARKET, Renew(1))[1] + client.request(MARKET, Read())[1]:
        asked += server.receive(bytes([byte]))[1]
    assert [each.request for each in asked] == [Renew(1), Read()]
    with pytest.raises(ProtocolError, match=f"more than {LINE_BYTES_MAX:,} bytes"):
        server.receive(b"x" * LINE_BYTES_MAX)
    with pytest.raises(ProtocolError, match=f"more than {HELLO_BYTES_MAX} bytes"):
        sessions()[1].receive(b"x" * HELLO_BYTES_MAX)


@pytest.mark.parametrize(
    "body",
    [b"", b"x", b"[]", b"{}", b'{"id": 1}', b'{"id": 0, "market": "%s"}', b'{"id": 1, "market": "../x"}',
     b'{"id": 1, "market": "%s", "request": {"do": "renew", "epoch": -1}}', b"{" * 8_000,
     b'{"id": 1, "market": "%s", "request": {"do": "renew", "epoch": 1e400}}'],
)  # fmt: skip
def test_a_line_that_is_no_request_ends_the_session_with_a_sentence(body: bytes) -> None:
    client, server = sessions()
    joined(client, server)
    with pytest.raises(ProtocolError, match=r"request|market|JSON"):
        server.receive(client._sealed(body.replace(b"%s", MARKET.encode())))


def test_an_answer_to_no_request_of_this_session_is_refused() -> None:
    client, server = sessions()
    joined(client, server)
    with pytest.raises(ProtocolError, match="answered request 1, which was not sent"):
        client.receive(server.answer(Answered(1, Standing(None, False))))


@given(st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=4))
def test_bytes_of_a_stranger_end_the_session_and_never_open_it(pieces: list[bytes]) -> None:
    _, server = sessions()
    with contextlib.suppress(ProtocolError):
        for piece in pieces:
            assert server.receive(piece + b"\n") == (b"", [])
    assert not server.is_open


# Secrets.


def test_a_secret_has_to_be_long_and_of_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    create_secret(path)
    secret = read_secret(path)
    create_secret(path)
    assert read_secret(path) == secret
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["secret"]
    path.chmod(0o640)
    with pytest.raises(SecretError, match=f"chmod 600 {path}"):
        read_secret(path)
    path.chmod(0o600)
    path.write_bytes(b" short \n")
    with pytest.raises(SecretError, match="has 5 bytes; give 16 to 1024") as caught:
        read_secret(path)
    assert "short" not in str(caught.value).replace(str(path), "")
    path.write_bytes(b"x" * 2_000)
    with pytest.raises(SecretError, match="give 16 to 1024"):
        read_secret(path)
    path.unlink()
    path.mkdir()
    with pytest.raises((SecretError, IsADirectoryError)):
        read_secret(path)


# A server in this process.


class Silent:
    """A log that nobody reads."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def info(self, event: str, /, **fields: Any) -> None:
        self.lines.append((event, fields))

    warning = error = info

    def said(self, event: str) -> list[dict[str, Any]]:
        """Fields of the lines about an event."""
        return [fields for said, fields in self.lines if said == event]


@contextlib.asynccontextmanager
async def serving(folder: Path, clock: Any = None, ttl_ns: int = LONG_NS) -> Any:
    """A witness that listens in this process: (server, log, driver)."""
    files = RegisterFiles(folder)
    log = Silent()
    server = WitnessServer(files, SECRET, log, **({} if clock is None else {"clock_ns": clock}))
    await server.start()
    running = asyncio.create_task(server.run())
    driver = WitnessArbiter("127.0.0.1", server.port, MARKET, SECRET, ttl_ns=ttl_ns, answer_s=60)
    try:
        yield server, log, driver
    finally:
        await driver.close()
        server.stop()
        await asyncio.gather(running, return_exceptions=True)
        files.close()


def test_a_stranger_gets_a_sentence_and_takes_nothing_and_is_noted(tmp_path: Path) -> None:
    async def play() -> None:
        async with serving(tmp_path) as (server, log, driver):
            stranger = WitnessArbiter("127.0.0.1", server.port, MARKET, b"x" * 16, answer_s=60)
            with pytest.raises(ArbiterError, match=r"the secret is not the one .*; copy its secret file to the node$"):
                await stranger.acquire(Candidate("S"), 0)
            assert await driver.read() == Standing(None, held=False)
            (noted,) = log.said("a connection was refused")
            assert "secret" in noted["why"]
            assert noted["peer"].startswith("127.0.0.1:")

    asyncio.run(play())


def test_strangers_that_stay_silent_make_room_for_each_other_and_nodes_are_answered(tmp_path: Path) -> None:
    async def play() -> None:
        async with serving(tmp_path) as (server, _, driver):
            first = won(await driver.acquire(Candidate("A"), 0))
            held = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(3 * STRANGERS_MAX)]
            other = WitnessArbiter("127.0.0.1", server.port, MARKET, SECRET, answer_s=60)
            assert await other.read() == Standing(first.reign, held=True)
            assert won(await driver.renew(first.epoch)).epoch == first.epoch
            for each in held:
                each.close()
            await other.close()

    asyncio.run(play())


def test_the_most_silent_node_makes_room_for_a_new_one_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("replication.witness_server.CONNECTIONS_MAX", 2)

    async def play() -> None:
        async with serving(tmp_path) as (server, _, driver):
            others = [WitnessArbiter("127.0.0.1", server.port, MARKET, SECRET, answer_s=60) for _ in range(2)]
            first = won(await driver.acquire(Candidate("A"), 0))
            for each in others:
                assert await each.read() == Standing(first.reign, held=True)

            async def are_two() -> bool:
                return len(server._connections) == 2

            await until(are_two, "nobody made room")
            assert won(await again(driver.renew, first.epoch)).reign == first.reign
            for each in others:
                await each.close()

    asyncio.run(play())


def test_the_log_of_a_witness_names_the_nodes_in_sync_when_they_change(tmp_path: Path) -> None:
    async def play() -> None:
        async with serving(tmp_path) as (_, log, driver):
            first = won(await driver.acquire(Candidate("A"), 0))
            both = won(await driver.record(first.epoch, first.reign.revision, ("A", "B")))
            same = won(await driver.record(first.epoch, both.reign.revision, ("A", "B"), 7))
            assert same.reign.acknowledged_seq == 7
            won(await driver.record(first.epoch, same.reign.revision, ("A",)))
            assert [each["in_sync"] for each in log.said("the nodes in sync changed")] == [["A", "B"], ["A"]]

    asyncio.run(play())


def test_a_full_disk_fails_a_change_and_renewals_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    async def play() -> None:
        async with serving(tmp_path) as (_, log, driver):
            first = won(await driver.acquire(Candidate("A"), 0))
            with monkeypatch.context() as patched:
                patched.setattr(Disk, "write", full)
                with pytest.raises(ArbiterError, match=r"refused the request: .*the disk is full") as caught:
                    await driver.record(first.epoch, first.reign.revision, ("A", "B"))
                assert type(caught.value) is ArbiterError  # certainly without effect
                assert won(await driver.renew(first.epoch)).reign == first.reign
                assert await driver.read() == Standing(first.reign, held=True)
            assert log.said("a request failed")
            assert won(await driver.record(first.epoch, first.reign.revision, ("A", "B"))).reign.in_sync == ("A", "B")

    asyncio.run(play())


def test_a_change_that_may_be_written_or_not_ends_the_witness_without_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failed(*_arguments: object) -> None:
        raise OSError(5, "Input/output error")

    async def play() -> None:
        async with serving(tmp_path) as (server, log, driver):
            first = won(await driver.acquire(Candidate("A"), 0))
            monkeypatch.setattr(Disk, "sync_folder", failed)
            with pytest.raises(ArbiterError, match="may have done what was asked"):
                await driver.record(first.epoch, first.reign.revision, ("A", "B"))
            assert server.is_ending
            assert log.said("the register failed")

    asyncio.run(play())


def test_a_time_in_which_the_witness_stood_still_ends_no_lease(tmp_path: Path) -> None:
    now_ns = 0

    async def play() -> None:
        nonlocal now_ns
        async with serving(tmp_path, lambda: now_ns, 600 * MS) as (_, log, driver):
            first = won(await driver.acquire(Candidate("A"), 0))
            now_ns += 6_000 * MS  # as after SIGSTOP, or a sync that took long
            assert won(await driver.renew(first.epoch)).epoch == first.epoch
            assert log.said("read no requests for a time, which counts against no lease")
            for _ in range(12):  # but time that passes while it reads does count
                assert await driver.read() == Standing(first.reign, held=True)
                now_ns += 50 * MS
            assert await driver.read() == Standing(first.reign, held=False)

    asyncio.run(play())


def test_an_answer_to_an_old_request_is_not_taken_for_that_of_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request whose caller went away, over the same connection."""
    held: list[Asked] = []
    answer = WitnessServer.answer

    async def play() -> None:
        async with serving(tmp_path) as (_, _log, driver):
            first = won(await driver.acquire(Candidate("A"), 0))
            with monkeypatch.context() as patched:

                def late(_self: WitnessServer, asked: Asked) -> Answered | None:
                    held.append(asked)
                    return Answered(asked.request_id, "") if len(held) > 1 else None

                patched.setattr(WitnessServer, "answer", late)
                gone = asyncio.create_task(driver.renew(first.epoch))
                while not held:
                    await asyncio.sleep(0.01)
                gone.cancel()
                await asyncio.gather(gone, return_exceptions=True)

            def after_the_old_one(self: WitnessServer, asked: Asked) -> Answered | None:
                told = answer(self, asked)
                (connection,) = self._connections
                if held and (old := held.pop()):
                    late_answer = answer(self, old)
                    assert late_answer is not None
                    connection._write(connection._session.answer(late_answer))
                return told

            monkeypatch.setattr(WitnessServer, "answer", after_the_old_one)
            assert await driver.read() == Standing(first.reign, held=True)

    asyncio.run(play())


def test_a_witness_has_a_bounded_number_of_markets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("replication.witness_server.MARKETS_MAX", 2)

    async def play() -> None:
        async with serving(tmp_path) as (server, _, _driver):
            drivers = [WitnessArbiter("127.0.0.1", server.port, new_market(), SECRET, answer_s=60) for _ in range(3)]
            for each in drivers[:2]:
                won(await each.acquire(Candidate("A"), 0))
            with pytest.raises(ArbiterError, match="has 2 markets already"):
                await drivers[2].acquire(Candidate("A"), 0)
            assert await drivers[2].read() == Standing(None, held=False)
            for each in drivers:
                await each.close()

    asyncio.run(play())


# A process.


@pytest.fixture
def court(tmp_path: Path) -> Iterator[WitnessCourt]:
    made = WitnessCourt(tmp_path / "w")
    yield made
    made.stop()


@pytest.mark.slow
def test_a_witness_ends_in_order_on_a_signal_and_its_directory_is_private(court: WitnessCourt) -> None:
    court.start()
    assert court.process is not None
    court.process.send_signal(signal.SIGTERM)
    assert court.process.wait(120) == 0
    assert {path.name for path in court.data.iterdir()} == {"secret"}
    assert court.data.stat().st_mode & 0o777 == 0o700


@pytest.mark.slow
def test_the_line_of_json_is_as_its_schema_says(court: WitnessCourt) -> None:
    words = [sys.executable, "-m", "cli.main", "witness", "--data", str(court.data), "--port", "0", "--json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        (told,) = checked(["witness"], process.stdout.readline())
        assert told["listening"]["pid"] == process.pid
        assert told["listening"]["secret_file"] == str(court.data / "secret")
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 0


@pytest.mark.slow
def test_a_witness_that_is_killed_and_starts_again_waits_for_the_lease_and_its_holder_goes_on(
    court: WitnessCourt,
) -> None:
    async def play() -> None:
        market = new_market()
        court.start()
        one, two = court.driver(market), court.driver(market)
        first = won(await one.acquire(Candidate("A"), 0))
        both = won(await one.record(first.epoch, first.reign.revision, ("A", "B")))
        court.kill()
        court.start()
        assert lost(await again(two.acquire, Candidate("B"), first.epoch)) is Reason.HELD
        assert won(await again(one.renew, first.epoch)).reign == both.reign
        await one.release(first.epoch)
        court.kill()
        court.start()
        second = won(await again(two.acquire, Candidate("B"), first.epoch))
        assert second.epoch > both.reign.revision
        await one.close()
        await two.close()

    asyncio.run(play())


async def again(ask: Any, *arguments: Any) -> Any:
    """Ask again after a connection that was lost: the first request finds out."""
    try:
        return await ask(*arguments)
    except ArbiterError:
        return await ask(*arguments)


Kept = tuple[int, tuple[str, ...]]


class Told:
    """Last reign that a client was told (epoch, nodes in sync), and the request whose outcome it does not know."""

    def __init__(self) -> None:
        self.last: Kept = (0, ())
        self.unknown: Record | Acquire | None = None

    def check(self, standing: Standing) -> None:
        """Check that the register is as it was told, or as the unknown request would have it."""
        found: Kept = (0, ()) if standing.reign is None else (standing.reign.epoch, standing.reign.in_sync)
        match self.unknown:
            case Acquire() if found != self.last:
                assert found[0] > self.last[0], (found, self.last)
                assert found[1] == ("A",)
            case Record(epoch, _, in_sync) if found != self.last:
                assert found == (epoch, in_sync)
            case _:
                assert found == self.last
        self.last, self.unknown = found, None


async def requests_until_it_dies(driver: Arbiter, told: Told, number: int) -> bool:
    """Check the register; acquire, record and release. False if the witness dies on the way."""
    standing = await driver.read()
    told.check(standing)
    epoch, names = told.last[0], ("A", f"B{number}")
    try:
        if standing.held:
            await driver.release(epoch)
        told.unknown = Acquire(Candidate("A"), epoch, LONG_NS, 0)
        first = won(await driver.acquire(Candidate("A"), epoch))
        assert first.epoch > epoch
        told.last, told.unknown = (first.epoch, ("A",)), Record(first.epoch, first.reign.revision, names)
        won(await driver.record(first.epoch, first.reign.revision, names))
        told.last, told.unknown = (first.epoch, names), None
        await driver.release(first.epoch)
    except ArbiterError:
        return False
    return True


def kills(folder: Path, kind: str, steps: int) -> int:
    """Start a witness over and over that kills itself one step later each time; the number of kills."""
    market, told, killed = new_market(), Told(), 0
    for step in range(1, steps):
        court = WitnessCourt(folder / "w", program=("-m", "tests.faulty_witness", str(step), kind))
        try:
            court.start()

            async def play(court: WitnessCourt = court, step: int = step) -> bool:
                driver = court.driver(market)
                try:
                    return await requests_until_it_dies(driver, told, step)
                finally:
                    await driver.close()

            killed += not asyncio.run(play())
        finally:
            court.kill()
    return killed


@pytest.mark.slow
def test_a_kill_between_any_two_steps_takes_back_nothing_that_was_told_and_no_epoch_comes_twice(tmp_path: Path) -> None:
    # Each of an acquire, a record and a release has four calls of the disk and the telling; often there is one more.
    assert kills(tmp_path, "sound", 22) >= 15


@pytest.mark.slow
def test_a_witness_that_tells_before_it_writes_is_found(tmp_path: Path) -> None:
    """The control of the test above."""
    with pytest.raises(AssertionError):
        kills(tmp_path, "tells-early", 10)


def test_damage_of_a_register_is_said_and_refused_with_status_2(court: WitnessCourt, lockstep: Lockstep) -> None:
    court.start()
    market = new_market()

    async def play() -> Answer:
        driver = court.driver(market)
        try:
            return await driver.acquire(Candidate("A"), 0)
        finally:
            await driver.close()

    asyncio.run(play())
    court.kill()
    path = court.data / f"{market}.register"
    path.write_bytes(path.read_bytes().replace(b'"A"', b'"B"', 1))
    status, said, complaint = lockstep("witness", "--data", court.data, "--port", "0")
    assert (status, said) == (2, "")
    assert f"{path} is damaged; restore it from a copy that is not older" in complaint


def test_a_directory_or_a_port_in_use_is_said_with_status_75(court: WitnessCourt, lockstep: Lockstep) -> None:
    court.start()
    status, _, complaint = lockstep("witness", "--data", court.data, "--port", "0")
    assert (status, "serves" in complaint) == (75, True)
    status, _, complaint = lockstep("witness", "--data", court.data.parent / "x", "--port", court.port)
    assert status == 75
    assert f"port {court.port} is in use; end the program that listens there" in complaint


def test_a_secret_that_others_can_read_is_refused_with_status_2(tmp_path: Path, lockstep: Lockstep) -> None:
    path = tmp_path / "s"
    path.write_text("x" * 32)
    path.chmod(0o644)
    status, _, complaint = lockstep("witness", "--data", tmp_path / "w", "--secret-file", path, "--port", "0")
    assert (status, f"chmod 600 {path}" in complaint) == (2, True)
    status, _, complaint = lockstep(
        "witness", "--data", tmp_path / "w", "--secret-file", tmp_path / "no", "--port", "0"
    )
    assert (status, f"there is no {tmp_path / 'no'}" in complaint) == (2, True)


def test_a_wall_clock_that_steps_makes_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> None:
        async with serving(tmp_path) as (_, _log, driver):
            first = won(await driver.acquire(Candidate("A"), 0))
            for step_s in (-3_600, 7_200, 10**9):
                stepped_ns = time.time_ns() + step_s * 10**9
                monkeypatch.setattr(time, "time_ns", lambda stepped_ns=stepped_ns: stepped_ns)
                monkeypatch.setattr(time, "time", lambda stepped_ns=stepped_ns: stepped_ns / 1e9)
                assert won(await driver.renew(first.epoch)).reign == first.reign
                assert lost(await driver.acquire(Candidate("B"), first.epoch)) is Reason.HELD
            await driver.release(first.epoch)
            assert won(await driver.acquire(Candidate("A"), first.epoch)).epoch > first.epoch

    asyncio.run(play())


@pytest.mark.slow
def test_a_disk_that_is_really_full_is_borne(tmp_path: Path) -> None:
    """A small disk of its own, in a mount namespace where that is allowed."""
    data = tmp_path / "disk"
    data.mkdir()
    script = f"""
import asyncio, json, sys
from pathlib import Path
from tests.test_witness import full_disk
full_disk(Path({str(data)!r}))
"""
    mounting = f'mount -t tmpfs -o size=64k,mode=0700 none "{data}" && exec "$0" "$@"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", mounting, sys.executable, "-c", script],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"failed": True, "renewed": True, "recorded": True}


def full_disk(folder: Path) -> None:
    """Fill the disk of a folder under a witness; print what it still does."""

    async def play() -> None:
        async with serving(folder) as (_, _log, driver):
            first = won(await driver.acquire(Candidate("A"), 0))
            filler = folder / "filler"
            with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(bytes(512))
            failed = renewed = recorded = False
            try:
                await driver.record(first.epoch, first.reign.revision, ("A", "B"))
            except ArbiterError as error:
                failed = "the disk is full" in str(error)
            renewed = isinstance(await driver.renew(first.epoch), Won)
            filler.unlink()
            recorded = isinstance(await driver.record(first.epoch, first.reign.revision, ("A", "B")), Won)
            print(json.dumps({"failed": failed, "renewed": renewed, "recorded": recorded}))

    asyncio.run(play())


@pytest.mark.slow
def test_a_node_that_does_not_read_its_answers_is_cut_off(tmp_path: Path) -> None:
    async def play() -> None:
        async with serving(tmp_path) as (server, log, driver):
            first = won(await driver.acquire(Candidate("A"), 0))
            loop = asyncio.get_running_loop()
            lazy = socket.socket()
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            lazy.setblocking(False)
            await loop.sock_connect(lazy, ("127.0.0.1", server.port))
            client = ClientSession(SECRET, bytes(16))
            while not client.is_open:
                await loop.sock_sendall(lazy, client.receive(await loop.sock_recv(lazy, 4_096))[0])

            async def send() -> None:
                with contextlib.suppress(OSError):
                    while True:
                        await loop.sock_sendall(lazy, b"".join(client.request(MARKET, Read())[1] for _ in range(100)))

            sending = asyncio.create_task(send())

            async def is_cut() -> bool:
                return bool(log.said("a connection was refused"))

            await until(is_cut, "a reader that reads nothing is borne")
            assert "unread" in log.said("a connection was refused")[0]["why"]
            assert won(await driver.renew(first.epoch)).epoch == first.epoch
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            lazy.close()

    asyncio.run(play())
