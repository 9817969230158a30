"""SoupBinTCP before judges that nobody here wrote: Nasdaq's own Python library, and Wireshark's dissector."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.captures import dissect, needs_tshark, write_pcap
from wire import ClientSession, LoginRequest, PacketType, RejectCode, ServerSession, State
from wire.soup import (
    Debug,
    EndOfSession,
    LoginAccepted,
    LoginRejected,
    Logout,
    PacketCutter,
    Sequenced,
    Unsequenced,
    packet,
)

SECRET = "h8nter2pw"
NOW_NS = 5_000_000_000


def test_nasdaqs_library_reads_our_packets_and_we_read_its() -> None:
    judge = pytest.importorskip("nasdaq_protocols.soup", reason="nasdaq-protocols is not installed")
    pairs = [
        (LoginRequest("user", SECRET, "S1", 12).packet(), judge.LoginRequest("user", SECRET, "S1", "12")),
        (LoginAccepted("S1", 12).packet(), judge.LoginAccepted("S1", 12)),
        (LoginRejected(RejectCode.NOT_AUTHORIZED).packet(), judge.LoginRejected("A")),
        (LoginRejected(RejectCode.SESSION_NOT_AVAILABLE).packet(), judge.LoginRejected("S")),
        (packet(PacketType.SEQUENCED, b"abc"), judge.SequencedData(b"abc")),
        (packet(PacketType.SEQUENCED), judge.SequencedData(b"")),
        (packet(PacketType.UNSEQUENCED, b"\0\xff"), judge.UnSequencedData(b"\0\xff")),
        (Debug("hello").packet(), judge.Debug("hello")),
        (packet(PacketType.CLIENT_HEARTBEAT), judge.ClientHeartbeat()),
        (packet(PacketType.SERVER_HEARTBEAT), judge.ServerHeartbeat()),
        (packet(PacketType.END_OF_SESSION), judge.EndOfSession()),
        (packet(PacketType.LOGOUT), judge.LogoutRequest()),
    ]
    for ours, theirs in pairs:
        assert judge.SoupMessage.from_bytes(ours) == (len(ours), theirs)
        cutter = PacketCutter()
        cutter.feed(theirs.to_bytes()[1])
        cut = cutter.next()
        assert cut is not None
        assert cut[0] == ours[2]
        assert len(cut[1]) == len(ours) - 3
    theirs = judge.LoginRequest("user", SECRET, "S1", "12").to_bytes()[1]
    assert LoginRequest.read(theirs[3:]) == LoginRequest("user", SECRET, "S1", 12)
    assert LoginAccepted.read(judge.LoginAccepted("S1", 12).to_bytes()[1][3:]) == LoginAccepted("S1", 12)


class Cable:
    """Transport for an asyncio session of the judge: its bytes go to ``heard`` in small pieces."""

    def __init__(self, heard: Any) -> None:
        self.heard = heard
        self.closed = False

    def get_extra_info(self, _name: str) -> tuple[str, int]:
        return ("127.0.0.1", 0)

    def write(self, data: bytes) -> None:
        for start in range(0, len(data), 7):
            self.heard(data[start : start + 7])

    def close(self) -> None:
        self.closed = True


def test_nasdaqs_client_logs_in_to_our_server_session_and_gets_its_stream_in_order() -> None:
    judge = pytest.importorskip("nasdaq_protocols.soup", reason="nasdaq-protocols is not installed")

    async def play() -> None:
        server = ServerSession(NOW_NS)
        heard: list[Any] = []

        def hear(piece: bytes) -> None:
            for event in server.receive(piece, NOW_NS):
                heard.append(event)
                if isinstance(event, LoginRequest):
                    client.data_received(server.accept("S1", 9, NOW_NS) + server.heartbeat(NOW_NS))

        client = judge.SoupClientSession()
        client.connection_made(Cable(hear))
        await client.login(judge.LoginRequest("user", SECRET, "", "5"))
        stream = server.sequenced([b"five", b"six"], NOW_NS) + server.debug("hi", NOW_NS)
        for byte in stream:
            client.data_received(bytes([byte]))
        got = [await client.receive_msg() for _ in range(3)]
        assert got == [judge.SequencedData(b"five"), judge.SequencedData(b"six"), judge.Debug("hi")]
        assert client.sequence + 1 == server.next_seq == 7
        client.send_unseq_data(b"order")
        await client.send_heartbeat()
        client.logout()
        while not client.is_closed():
            await asyncio.sleep(0.001)
        assert heard == [LoginRequest("user", SECRET, "", 5), Unsequenced(b"order"), Logout()]

    asyncio.run(asyncio.wait_for(play(), 300))


def test_our_client_session_logs_in_to_nasdaqs_server_and_gets_its_stream_in_order() -> None:
    judge = pytest.importorskip("nasdaq_protocols.soup", reason="nasdaq-protocols is not installed")

    class Server(judge.SoupServerSession, session_type="judge"):  # type: ignore[misc, name-defined]
        orders: list[bytes] = []  # noqa: RUF012  the judge's attrs class takes no other form

        async def on_login(self, msg: Any) -> Any:
            return judge.LoginAccepted("S1", int(msg.sequence)) if msg.password == SECRET else judge.LoginRejected("A")

        async def on_unsequenced(self, msg: Any) -> None:
            self.orders.append(msg.data)

    async def play(password: str) -> list[Any]:
        client = ClientSession(NOW_NS)
        heard: list[Any] = []
        server = Server()
        server.connection_made(Cable(lambda piece: heard.extend(client.receive(piece, NOW_NS))))
        server.data_received(client.login(LoginRequest("user", password, "", 4), NOW_NS))
        while client.state is State.ASKED:
            await asyncio.sleep(0.001)
        if not client.ended:
            server.send_seq_msg(b"four")
            server.send_seq_msg(b"five")
            server.data_received(client.unsequenced([b"one", b"two"], NOW_NS) + client.heartbeat(NOW_NS))
            while len(server.orders) < 2:
                await asyncio.sleep(0.001)
            server.end_session()
        while not server.is_closed():
            await asyncio.sleep(0.001)
        assert client.ended
        return heard

    heard = asyncio.run(asyncio.wait_for(play(SECRET), 300))
    assert heard == [LoginAccepted("S1", 4), Sequenced(4, b"four"), Sequenced(5, b"five"), EndOfSession()]
    assert Server.orders == [b"one", b"two"]
    assert asyncio.run(asyncio.wait_for(play("wrong"), 300)) == [LoginRejected(RejectCode.NOT_AUTHORIZED)]


@pytest.mark.slow
@needs_tshark
def test_wireshark_reads_a_conversation_of_both_sessions_as_it_was_meant(tmp_path: Path) -> None:
    request = LoginRequest("user", SECRET, "S1", 2)
    client, server = ClientSession(NOW_NS), ServerSession(NOW_NS)
    asked = client.login(request, NOW_NS)
    server.receive(asked, NOW_NS)
    said = [
        (False, asked),
        (True, server.accept("S1", 4, NOW_NS)),
        (True, server.sequenced([b"two", b"three"], NOW_NS)),
        (True, server.heartbeat(NOW_NS)),
    ]
    for _, data in said[1:]:
        client.receive(data, NOW_NS)
    stream = client.unsequenced([b"one"], NOW_NS) + client.heartbeat(NOW_NS) + client.debug("hi", NOW_NS)
    said += [(False, stream[:4]), (False, stream[4:]), (True, server.end_session(NOW_NS)), (False, b"\0\1O")]
    said += [(True, b"\0\2JA")]
    write_pcap(tmp_path / "said.pcap", said)
    seen = [message for message in dissect(tmp_path / "said.pcap") if message.protocol == "soupbintcp"]
    assert [message.shown.removeprefix("SoupBinTCP, ") for message in seen] == [
        "Login Request",
        "Login Accepted",
        "Sequenced Data, SeqNum=2",
        "Sequenced Data, SeqNum=3",
        "Server Heartbeat",
        "Unsequenced Data",
        "Client Heartbeat",
        "Debug Packet",
        "End of Session",
        "Logout Request",
        "Login Rejected",
    ]
    login = {field.name.removeprefix("soupbintcp."): (field.at, field.raw) for field in seen[0].fields}
    assert login == {
        "packet_length": (0, b"\0\x2f"),
        "packet_type": (2, b"L"),
        "username": (3, b"user  "),
        "password": (9, SECRET.encode().ljust(10)),
        "session": (19, b"        S1"),
        "req_seq_num": (29, b"2".rjust(20)),
    }
    answer = {field.name.removeprefix("soupbintcp."): (field.at, field.raw) for field in seen[1].fields}
    assert answer["session"] == (3, b"        S1")
    assert answer["next_seq_num"] == (13, b"2".rjust(20))
