"""SoupBinTCP, packets and sessions: however the bytes are cut, and whatever they are."""

import random
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wire import ClientSession, Due, LoginRequest, PacketType, ProtocolError, RejectCode, ServerSession, State
from wire.soup import (
    PAYLOAD_BYTES_MAX,
    PAYLOAD_BYTES_TOP,
    SEQ_MAX,
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
from wire.soup_session import HEARTBEAT_NS, HELD_BYTES_MAX, SILENCE_NS

SECRET = "h8nter2pw"
NOW_NS = 5_000_000_000
LETTERS = "ABCXYZabcxyz0189.-"


def text(characters: int) -> st.SearchStrategy[str]:
    return st.text(LETTERS, max_size=characters)


LOGINS = st.builds(LoginRequest, text(6), text(10), text(10), st.integers(0, SEQ_MAX))
MESSAGES = st.binary(max_size=80)
ANY_CUT = settings(derandomize=True, deadline=None, max_examples=150)


def chunks(data: bytes, ends: list[int]) -> list[bytes]:
    """The bytes cut at ``ends``."""
    places = [0, *sorted({end % (len(data) + 1) for end in ends}), len(data)]
    return [data[start:end] for start, end in pairwise(places)]


def server_hears(pieces: list[bytes]) -> tuple[list[Any], ServerSession]:
    """Events of a server for a client's bytes when it accepts any login, errors as their text."""
    session = ServerSession(NOW_NS)
    heard: list[Any] = []
    for piece in [*pieces, b""]:
        events = session.receive(piece, NOW_NS)
        while events:
            heard += [str(event) if isinstance(event, ProtocolError) else event for event in events]
            if session.state is State.ASKED:
                session.accept("S1", SEQ_MAX, NOW_NS)
                events = session.receive(b"", NOW_NS)
            else:
                events = []
    return heard, session


def client_hears(pieces: list[bytes]) -> tuple[list[Any], ClientSession]:
    """Events of a client for a server's bytes after its login request, errors as their text."""
    session = ClientSession(NOW_NS)
    session.login(LoginRequest("u", SECRET), NOW_NS)
    heard: list[Any] = []
    for piece in pieces:
        heard += [str(event) if isinstance(event, ProtocolError) else event for event in session.receive(piece, NOW_NS)]
    return heard, session


def live_server(now_ns: int = NOW_NS) -> ServerSession:
    session = ServerSession(now_ns)
    session.receive(LoginRequest("u", SECRET, "", 1).packet(), now_ns)
    session.accept("S1", 1, now_ns)
    return session


def live_client(now_ns: int = NOW_NS) -> ClientSession:
    session = ClientSession(now_ns)
    session.login(LoginRequest("u", SECRET), now_ns)
    session.receive(LoginAccepted("S1", 1).packet(), now_ns)
    return session


@pytest.mark.slow
@ANY_CUT
@given(LOGINS, st.lists(MESSAGES, max_size=8), st.lists(st.integers(0, 4_000), max_size=20), st.binary(max_size=2))
def test_a_server_hears_the_same_however_the_bytes_are_cut(
    login: LoginRequest, messages: list[bytes], ends: list[int], trailing: bytes
) -> None:
    spoken = [packet(PacketType.UNSEQUENCED, message) for message in messages]
    data = login.packet() + packet(PacketType.CLIENT_HEARTBEAT).join(spoken)
    expected = [login, *(Unsequenced(message) for message in messages)]
    for pieces in ([data], [data[n : n + 1] for n in range(len(data))], chunks(data, ends)):
        heard, session = server_hears(pieces)
        assert heard == expected
        assert session.state is State.LIVE
    ended = data + packet(PacketType.LOGOUT)
    heard, session = server_hears([ended + trailing])
    assert (heard, session.ended) == ([*expected, Logout()], True)


@pytest.mark.slow
@ANY_CUT
@given(
    text(10),
    st.integers(1, 2**40),
    st.lists(MESSAGES, max_size=8),
    st.lists(st.integers(0, 4_000), max_size=20),
    st.binary(max_size=2),
)
def test_a_client_hears_the_same_however_the_bytes_are_cut(
    session_name: str, first: int, messages: list[bytes], ends: list[int], trailing: bytes
) -> None:
    accepted = LoginAccepted(session_name, first)
    spoken = [packet(PacketType.SEQUENCED, message) for message in messages]
    data = accepted.packet() + packet(PacketType.SERVER_HEARTBEAT).join(spoken)
    expected = [accepted, *(Sequenced(first + n, message) for n, message in enumerate(messages))]
    for pieces in ([data], [data[n : n + 1] for n in range(len(data))], chunks(data, ends)):
        heard, session = client_hears(pieces)
        assert heard == expected
        assert session.next_seq == first + len(messages)
    heard, session = client_hears([data + packet(PacketType.END_OF_SESSION) + trailing])
    assert (heard, session.ended) == ([*expected, EndOfSession()], True)


@pytest.mark.slow
@ANY_CUT
@given(st.booleans(), st.lists(st.one_of(st.binary(max_size=60), MESSAGES.map(lambda m: packet(ord("U"), m)))))
def test_garbage_ends_a_session_at_the_same_place_whole_or_byte_by_byte(logged_in: bool, parts: list[bytes]) -> None:
    data = (LoginRequest("u", SECRET).packet() if logged_in else b"") + b"".join(parts)
    for hears in (server_hears, client_hears):
        whole, one = hears([data])
        bytewise, other = hears([data[n : n + 1] for n in range(len(data))])
        assert (whole, one.state) == (bytewise, other.state)
        assert not any(SECRET in str(event) for event in whole)


def test_random_bytes_never_raise_and_sooner_or_later_end_a_session() -> None:
    chance = random.Random(11)
    for _ in range(300):
        session = live_server() if chance.random() < 0.5 else live_client()
        for _ in range(40):
            session.receive(chance.randbytes(chance.randint(0, 900)), NOW_NS)
        assert session.ended
        assert session.receive(packet(PacketType.DEBUG), NOW_NS) == []


def test_what_came_before_an_error_counts() -> None:
    data = LoginRequest("u", SECRET).packet() + packet(ord("U"), b"order") + packet(ord("A"), bytes(30)) + b"rest"
    heard, session = server_hears([data])
    assert heard[1:] == [Unsequenced(b"order"), "a login accepted packet came, which no client sends"]
    assert session.ended


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"\0\0", "a packet of length 0 came; the length counts the type byte, so the least is 1"),
        (b"\x04\x02", "a packet of length 1026 came; at most 1025 is accepted here"),
        (b"\xff\xff", "a packet of length 65535 came; at most 1025 is accepted here"),
        (packet(ord("R"), b"x"), "a client heartbeat packet with 1 bytes of payload came; it has 0"),
        (packet(ord("L"), bytes(45)), "a login request packet with 45 bytes of payload came; it has 46"),
        (LoginRequest("a", "b").packet(), "a second login request came; a connection has one login"),
        (packet(ord("S"), b"x"), "a sequenced packet came, which no client sends"),
        (packet(ord("H")), "a server heartbeat packet came, which no client sends"),
        (packet(0), "a packet of unknown type 0x00 came, which no client sends"),
        (packet(ord("?"), b"xyz"), "a packet of unknown type 0x3f came, which no client sends"),
    ],
)
def test_a_server_tells_what_is_wrong_in_one_sentence(data: bytes, sentence: str) -> None:
    session = live_server()
    (error,) = session.receive(data, NOW_NS)
    assert isinstance(error, ProtocolError)
    assert str(error) == sentence
    assert session.ended


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"\0\0", "a packet of length 0 came; the length counts the type byte, so the least is 1"),
        (LoginAccepted("S", 1).packet(), "a second answer to the login came"),
        (LoginRejected(RejectCode.NOT_AUTHORIZED).packet(), "a second answer to the login came"),
        (packet(ord("Z"), b"x"), "an end of session packet with 1 bytes of payload came; it has 0"),
        (packet(ord("U"), b"x"), "an unsequenced packet came, which no server sends"),
        (packet(ord("R")), "a client heartbeat packet came, which no server sends"),
    ],
)
def test_a_client_tells_what_is_wrong_in_one_sentence(data: bytes, sentence: str) -> None:
    session = live_client()
    (error,) = session.receive(data, NOW_NS)
    assert isinstance(error, ProtocolError)
    assert str(error) == sentence
    assert session.ended


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"\xff" * 6 + b" " * 39 + b"1", RejectCode.NOT_AUTHORIZED),
        (b"u".ljust(6) + b"\0".ljust(10) + b" " * 29 + b"1", RejectCode.NOT_AUTHORIZED),
        (b"u".ljust(6) + b"p".ljust(10) + b"\n".rjust(10) + b"1".rjust(20), RejectCode.SESSION_NOT_AVAILABLE),
        (b"u".ljust(6) + b"p".ljust(10) + b" " * 10 + b"-1".rjust(20), RejectCode.SESSION_NOT_AVAILABLE),
        (b"u".ljust(6) + b"p".ljust(10) + b" " * 10 + b"9" * 20, RejectCode.SESSION_NOT_AVAILABLE),
        (b"u".ljust(6) + b"p".ljust(10) + b" " * 30, RejectCode.SESSION_NOT_AVAILABLE),
        (b"too short", RejectCode.NOT_AUTHORIZED),
        (b"", RejectCode.NOT_AUTHORIZED),
    ],
)
def test_a_malformed_login_is_answered_login_rejected(payload: bytes, code: RejectCode) -> None:
    session = ServerSession(NOW_NS)
    (error,) = session.receive(packet(PacketType.LOGIN_REQUEST, payload), NOW_NS)
    assert isinstance(error, ProtocolError)
    assert error.answer == LoginRejected(code).packet()
    assert session.ended
    (other,) = ServerSession(NOW_NS).receive(packet(PacketType.UNSEQUENCED, payload), NOW_NS)
    assert isinstance(other, ProtocolError)
    assert other.answer == b"", "nobody asked to log in"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (LoginAccepted("S", 1).packet()[:-1] + b"0", "the login answer has message 0 as the next one"),
        (packet(ord("A"), b"S".ljust(10) + b"x".rjust(20)), "the sequence number of the login answer is no whole"),
        (packet(ord("A"), b"S".ljust(10) + b"9" * 20), "the sequence number of the login answer is above"),
        (packet(ord("A"), b"\xe9".ljust(10) + b"1".rjust(20)), "the session of the login answer has other than"),
        (packet(ord("J"), b"Q"), "the login was refused with the unknown code 0x51"),
        (packet(ord("S"), b"x"), "a sequenced packet came before the login was asked for and answered"),
        (packet(ord("Z")), "an end of session packet came before the login was asked for and answered"),
    ],
)
def test_a_client_refuses_an_answer_to_its_login_that_is_none(data: bytes, sentence: str) -> None:
    (error,), session = client_hears([data])
    assert error.startswith(sentence)
    assert session.ended


@pytest.mark.parametrize(
    "data",
    [packet(ord("U"), b"order"), packet(ord("R")), packet(ord("O")), packet(ord("A"), bytes(30))],
    ids=["message", "heartbeat", "logout", "answer"],
)
def test_a_server_takes_nothing_before_the_login_but_debug(data: bytes) -> None:
    session = ServerSession(NOW_NS)
    assert session.receive(packet(ord("+"), b"hello\x1b["), NOW_NS) == [Debug("hello\\x1b[")]
    (error,) = session.receive(data, NOW_NS)
    assert str(error).endswith("came before a login was asked for and answered")


def test_an_oversized_packet_is_refused_before_it_is_there_and_a_truncated_one_waits() -> None:
    session = live_server()
    longest = packet(ord("U"), bytes(PAYLOAD_BYTES_MAX))
    assert session.receive(longest[:-1], NOW_NS) == []
    assert session.receive(longest[-1:], NOW_NS) == [Unsequenced(bytes(PAYLOAD_BYTES_MAX))]
    (error,) = session.receive(packet(ord("U"), bytes(PAYLOAD_BYTES_MAX + 1))[:2], NOW_NS)
    assert isinstance(error, ProtocolError)
    with pytest.raises(ValueError, match="at most 65534"):
        packet(ord("U"), bytes(PAYLOAD_BYTES_TOP + 1))
    assert packet(ord("U"), bytes(PAYLOAD_BYTES_TOP))[:2] == b"\xff\xff"
    for bound in (45, PAYLOAD_BYTES_TOP + 1):
        with pytest.raises(ValueError, match="payload_bytes_max"):
            PacketCutter(bound)


def test_what_follows_a_login_waits_for_its_answer_and_only_so_much_of_it() -> None:
    session = ServerSession(NOW_NS)
    asked = LoginRequest("u", SECRET, "S1", 3)
    assert session.receive(asked.packet() + packet(ord("U"), b"early"), NOW_NS) == [asked]
    assert session.receive(packet(ord("U"), b"later"), NOW_NS) == []
    answer = session.accept("S1", 10, NOW_NS)
    assert answer == LoginAccepted("S1", 3).packet()
    assert session.receive(b"", NOW_NS) == [Unsequenced(b"early"), Unsequenced(b"later")]
    flooded = ServerSession(NOW_NS)
    flooded.receive(asked.packet() + bytes(HELD_BYTES_MAX), NOW_NS)
    assert flooded.state is State.ASKED
    (error,) = flooded.receive(b"x", NOW_NS)
    assert str(error) == "more than 65536 bytes came before the login was answered"


@pytest.mark.parametrize(("requested", "end", "first"), [(0, 1, 1), (0, 8, 8), (1, 8, 1), (5, 8, 5), (8, 8, 8)])
def test_a_stream_is_given_from_the_number_asked_for_and_0_is_from_now_on(requested: int, end: int, first: int) -> None:
    session = ServerSession(NOW_NS)
    session.receive(LoginRequest("u", SECRET, "", requested).packet(), NOW_NS)
    assert session.accept("S1", end, NOW_NS) == LoginAccepted("S1", first).packet()
    assert session.next_seq == first
    assert session.sequenced([b"a", b"b"], NOW_NS) == packet(ord("S"), b"a") + packet(ord("S"), b"b")
    session.sent(3, NOW_NS)
    assert session.next_seq == first + 5


def test_a_number_beyond_the_stream_can_only_be_rejected() -> None:
    session = ServerSession(NOW_NS)
    session.receive(LoginRequest("u", SECRET, "", 9).packet(), NOW_NS)
    with pytest.raises(ValueError, match="message 9 was asked for and the stream ends before 8"):
        session.accept("S1", 8, NOW_NS)
    assert session.reject(RejectCode.SESSION_NOT_AVAILABLE) == b"\0\2JS"
    assert session.ended
    assert client_hears([b"\0\2JS"])[0] == [LoginRejected(RejectCode.SESSION_NOT_AVAILABLE)]
    assert client_hears([b"\0\2JA"])[0] == [LoginRejected(RejectCode.NOT_AUTHORIZED)]


@pytest.mark.parametrize("make", [live_server, live_client])
def test_a_live_side_owes_a_heartbeat_after_a_second_and_gives_its_peer_fifteen(make: Any) -> None:
    session = make()
    assert session.due_ns() == NOW_NS + HEARTBEAT_NS
    assert session.tick(NOW_NS + HEARTBEAT_NS - 1) is Due.NOTHING
    assert session.tick(NOW_NS + HEARTBEAT_NS) is Due.HEARTBEAT
    beat = session.heartbeat(NOW_NS + HEARTBEAT_NS)
    assert beat in (packet(ord("H")), packet(ord("R")))
    assert session.tick(NOW_NS + 2 * HEARTBEAT_NS - 1) is Due.NOTHING
    session.debug("still here", NOW_NS + 2 * HEARTBEAT_NS)
    assert session.due_ns() == NOW_NS + 3 * HEARTBEAT_NS
    assert session.tick(NOW_NS + SILENCE_NS - 1) is Due.HEARTBEAT
    assert session.tick(NOW_NS + SILENCE_NS) is Due.TIMED_OUT
    assert session.ended
    assert session.tick(NOW_NS + 2 * SILENCE_NS) is Due.NOTHING
    assert session.due_ns() is None


def test_whole_packets_break_a_silence_and_a_trickle_of_bytes_does_not() -> None:
    session = live_server()
    later_ns = NOW_NS + SILENCE_NS - 1
    session.receive(packet(ord("R")), later_ns)
    assert session.tick(NOW_NS + SILENCE_NS) is not Due.TIMED_OUT
    session.heard_ns = later_ns + SILENCE_NS - 1
    session.receive(packet(ord("U"), bytes(40))[:-1], later_ns + 2 * SILENCE_NS - 3)
    assert session.tick(later_ns + 2 * SILENCE_NS - 2) is not Due.TIMED_OUT
    assert session.tick(later_ns + 2 * SILENCE_NS - 1) is Due.TIMED_OUT


def test_a_login_has_fifteen_seconds_whatever_else_comes_and_its_answer_too() -> None:
    server = ServerSession(NOW_NS)
    server.receive(packet(ord("+"), b"wait for me"), NOW_NS + SILENCE_NS - 1)
    assert server.tick(NOW_NS + SILENCE_NS - 1) is Due.NOTHING
    assert server.due_ns() == NOW_NS + SILENCE_NS
    assert server.tick(NOW_NS + SILENCE_NS) is Due.TIMED_OUT
    client = ClientSession(NOW_NS)
    client.login(LoginRequest("u", SECRET), NOW_NS + 10)
    client.receive(packet(ord("H")), NOW_NS + SILENCE_NS)
    assert client.tick(NOW_NS + SILENCE_NS + 9) is Due.NOTHING
    assert client.tick(NOW_NS + SILENCE_NS + 10) is Due.TIMED_OUT


def test_while_a_login_is_decided_nothing_is_due_and_then_the_clocks_start_anew() -> None:
    session = ServerSession(NOW_NS)
    session.receive(LoginRequest("u", SECRET).packet(), NOW_NS)
    assert session.tick(NOW_NS + 9 * SILENCE_NS) is Due.NOTHING
    assert session.due_ns() is None
    session.accept("S1", 1, NOW_NS + 9 * SILENCE_NS)
    assert session.tick(NOW_NS + 10 * SILENCE_NS - 1) is Due.HEARTBEAT


def test_an_end_is_said_once_and_nothing_is_sent_after_it() -> None:
    server, client = live_server(), live_client()
    assert client.receive(server.end_session(NOW_NS), NOW_NS) == [EndOfSession()]
    with pytest.raises(RuntimeError, match="not live"):
        server.sequenced([b"late"], NOW_NS)
    with pytest.raises(RuntimeError, match="not live"):
        client.logout(NOW_NS)
    server, client = live_server(), live_client()
    assert server.receive(client.logout(NOW_NS) + packet(ord("U"), b"late"), NOW_NS) == [Logout()]
    assert server.packet(ord("U"), b"late", NOW_NS) is None
    with pytest.raises(RuntimeError, match="no login waits"):
        server.accept("S1", 1, NOW_NS)
    with pytest.raises(RuntimeError, match="one login"):
        client.login(LoginRequest("u", SECRET), NOW_NS)


def test_a_caller_that_cuts_by_itself_gets_what_is_left_and_gives_packets() -> None:
    session = live_server()
    assert session.receive(packet(ord("U"), b"one") + b"\0\5U", NOW_NS) == [Unsequenced(b"one")]
    assert session.release() == b"\0\5U"
    assert session.release() == b""
    assert session.packet(ord("R"), b"", NOW_NS) is None
    assert session.packet(ord("U"), b"two", NOW_NS) == Unsequenced(b"two")
    with pytest.raises(ProtocolError, match="of length 1026 came"):
        session.packet(ord("U"), bytes(PAYLOAD_BYTES_MAX + 1), NOW_NS)
    assert session.ended


def test_a_password_shows_nowhere() -> None:
    request = LoginRequest("user", SECRET, "S1", 1)
    server = ServerSession(NOW_NS)
    (asked,) = server.receive(request.packet(), NOW_NS)
    assert isinstance(asked, LoginRequest)
    assert asked.password == SECRET
    client = ClientSession(NOW_NS)
    client.login(request, NOW_NS)
    assert SECRET not in f"{request!r} {request} {asked!r} {server!r} {client!r} {vars(client)} {vars(server)}"
    for wrong in (SECRET + "toolong", SECRET + "\n", SECRET[:5] + "é", SECRET[:5] + " "):
        with pytest.raises(ValueError, match="the password has") as caught:
            LoginRequest("user", wrong).packet()
        assert SECRET[:5] not in str(caught.value)
    broken = bytearray(request.packet())
    broken[3 + 6 + 3] = 0xFF
    (error,) = ServerSession(NOW_NS).receive(broken, NOW_NS)
    assert str(error) == "the password of the login request has other than printable ASCII characters"
    assert SECRET[:3] not in repr(error)


def test_fields_are_read_with_their_padding_on_either_side() -> None:
    left = b"  user" + SECRET.encode().rjust(10) + b"S1".ljust(10) + b"12".ljust(20)
    right = b"user  " + SECRET.encode().ljust(10) + b"S1".rjust(10) + b"0012".rjust(20)
    assert LoginRequest.read(left) == LoginRequest.read(right) == LoginRequest("user", SECRET, "S1", 12)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (("toolong", "p"), "the user 'toolong' has 7 characters; SoupBinTCP has room for 6"),
        (("u", "p", "elevenchars"), "the session 'elevenchars' has 11 characters"),
        (("u", "p", "", -1), "the sequence number -1 is not from 0"),
        (("ü", "p"), "the user 'ü' has other than ASCII characters"),
    ],
)
def test_a_login_of_ours_that_does_not_fit_is_refused_with_a_sentence(fields: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        LoginRequest(*fields).packet()
