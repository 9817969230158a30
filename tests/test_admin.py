"""The operator's door: what it lets in, what it refuses and how, and that no password is ever seen."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engine.bounds import DAY_NS
from engine.records import CommandKind
from gateway.passwords import COST_GENERATED, salt_and_hash, verify
from node.core.control import NodeControl
from node.operator.admin import CONNECTIONS_MAX, WAITING_MAX
from node.operator.link import LINE_BYTES_MAX, Link, read_place
from node.operator.operations import COMMANDS_MAX
from notation.objects import limits_object
from notation.table import LIMIT_BITS
from tests.operated import MARKET, FakeNode, Operated, Peer, session

NO_LIMITS = limits_object(0, [0] * len(LIMIT_BITS))


@pytest.fixture
def operated(tmp_path: Path) -> Iterator[Operated]:
    """A node that is operated, with a market in it."""
    with Operated(tmp_path) as running:
        with running.peer() as peer:
            assert peer.ask({"do": "commands", "text": MARKET})["ok"] is True
        yield running


# What a node does when it is asked.


def test_the_fake_node_is_a_node_control() -> None:
    node: NodeControl = FakeNode()
    assert node.unready() == []


def test_commands_are_sequenced_and_their_events_come_back_as_the_printer_prints_them(tmp_path: Path) -> None:
    with Operated(tmp_path) as running, running.peer() as peer:
        told = peer.ask({"do": "commands", "text": MARKET + "\n# a comment\ncancel BETA none\n"})
        assert told == {
            "ok": True,
            "commands": 8,
            "rejected": 1,
            "seq": running.node.engine.seq,
            "events": [
                "> phase XYZ continuous",
                "> accepted a1",
                "> accepted b1",
                "> trade XYZ 30 @ 10.00 resting=a1 incoming=b1",
                "> accepted b2",
                "> cancel_rejected none reason=unknown_order",
            ],
        }


def test_names_that_are_defined_in_a_text_are_known_to_its_next_lines_and_to_the_next_text(operated: Operated) -> None:
    with operated.peer() as peer:
        text = "instrument NEW tick=0.01 lot=1 reference=5\nphase NEW continuous\n"
        text += "participant P2\nenter P2 x1 buy 1 NEW @ 5"
        assert peer.ask({"do": "commands", "text": text})["events"] == ["> phase NEW continuous", "> accepted x1"]
        assert peer.ask({"do": "commands", "text": "cancel P2 x1"})["events"] == ["> canceled x1 qty=1 reason=user"]
        unknown = peer.ask({"do": "commands", "text": "enter GHOST g1 buy 1 NEW @ 5"})
        assert unknown["events"] == ["> rejected g1 reason=unknown_participant"]


def test_a_time_of_day_or_a_relative_one_counts_from_now_and_not_from_1970(operated: Operated) -> None:
    text = (
        "schedule XYZ +1h closed\nschedule XYZ 23:59:59.999999999 closed\n"
        "enter ALPHA a2 buy 1 XYZ @ 9.00 tif=gtd until=+2h"
    )
    before_ns = time.time_ns()
    with operated.peer() as peer:
        assert peer.ask({"do": "commands", "text": text})["events"] == ["> accepted a2"]
    after_ns = time.time_ns()
    rows = np.concatenate(operated.node.rows)
    later, of_day = (int(row["due_ns"]) for row in rows[rows["kind"] == CommandKind.SCHEDULE])
    (until,) = (int(row["until_ns"]) for row in rows[rows["kind"] == CommandKind.ENTER][-1:])
    assert before_ns <= later - 3_600 * 10**9 <= after_ns
    assert before_ns <= until - 7_200 * 10**9 <= after_ns
    assert of_day in (each // DAY_NS * DAY_NS + DAY_NS - 1 for each in (before_ns, after_ns))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("phase XYZ closed\n> phase XYZ closed", "commands:1: an expected event follows"),
        ("> phase XYZ closed", "commands:1: an event stands before the first command"),
        ("phase XYZ closed\nat 09:30", "commands:2: at sets the clock, which only the sequencer may do"),
        ("at +5m", "commands:1: at sets the clock"),
        ("raw " + "00" * 56 + "01" + "00" * 7, "commands:1: a raw CLOCK row is for the sequencer only"),
        ("raw " + "00" * 56 + "13" + "00" * 7, "commands:1: a raw EXTEND row is for the sequencer only"),
        ("raw " + "00" * 56 + "14" + "00" * 7, "commands:1: a raw EPOCH row is for the sequencer only"),
        ("raw 00", "commands:1: raw needs one word of 128 hexadecimal digits"),
        ("", "there is no command in the text"),
        ("# nothing\n\n", "there is no command in the text"),
        ("frobnicate XYZ", "commands:1: there is no command 'frobnicate'"),
        ("phase XYZ", "commands:1: the command is not complete; its form is: phase SYM|* PHASE"),
        ("raw " + "00" * 56 + "17" + "00" * 7, "commands:1: a raw CLOCK_JUMP row is for the sequencer only"),
        ("clock_jump by=3s to=09:30", "commands:1: clock_jump is for the node itself; leave it out"),
        ("epoch 7 node=A", "commands:1: epoch is for the node itself; leave it out"),
        ("members halted XYZ:4", "commands:1: members halted is for the node itself, which lists its halts so"),
        ("index halted members=XYZ:4", "commands:1: members halted is for the node itself, which lists its halts so"),
        ("halt XYZ\nclock_jump by=3s to=2024-01-15T09:30", "commands:2: clock_jump is for the node itself"),
        ("phase XYZ continuous\nlimits ALPHA margin=1", "commands:2: margin is '1'; write a decimal number with"),
        ("venue speed_bump=soon", "commands:1: speed_bump is 'soon'; write a whole number and one of ns us"),
        ("\x00\x1b[31m", "commands:1: there is no command"),
        ("\n" * (COMMANDS_MAX + 1), "the text has more than 1,000 lines"),
    ],
)
def test_a_text_that_may_not_be_sequenced_is_refused_whole_with_its_line(
    text: str, sentence: str, operated: Operated
) -> None:
    seq = operated.node.engine.seq
    with operated.peer() as peer:
        assert peer.error(json.dumps({"do": "commands", "text": text}).encode() + b"\n").startswith(sentence)
        assert operated.node.engine.seq == seq
        assert peer.ask({"do": "status"})["ok"] is True


def test_a_text_never_sets_the_clock_of_a_new_node(tmp_path: Path) -> None:
    """A scenario file would begin with a default clock; the time of a node is the sequencer's."""
    before_ns = time.time_ns()
    with Operated(tmp_path) as running, running.peer() as peer:
        assert peer.ask({"do": "commands", "text": "participant ALPHA"})["ok"] is True
        assert running.node.engine.now_ns >= before_ns


def test_a_raw_row_is_as_good_as_any_other_and_is_refused_by_the_market_where_it_makes_no_sense(
    operated: Operated,
) -> None:
    with operated.peer() as peer:
        told = peer.ask({"do": "commands", "text": "raw " + "ff" * 64})
    assert (told["ok"], told["rejected"]) == (True, 1)
    assert told["events"][0].endswith("reason=invalid_command")


def test_more_events_than_a_line_holds_are_counted_and_the_answer_stays_within_its_bound(operated: Operated) -> None:
    orders = "\n".join(f"enter ALPHA o{number} sell 1 XYZ @ 20" for number in range(250))
    with operated.peer() as peer:
        for number in range(4):
            text = orders.replace("ALPHA o", f"ALPHA {'abcd'[number]}o") + "\nmass_cancel ALPHA"
            told = peer.ask({"do": "commands", "text": text})
            assert len(told["events"]) + told.get("left_out", 0) == 500 + (number == 0)  # and a1 goes with the first
        many = peer.ask({"do": "commands", "text": "cancel ALPHA nonenone\n" * 1_000})
        assert len(many["events"]) + many["left_out"] == many["rejected"] == 1_000


def test_status_sessions_books_and_the_rest_are_answered(operated: Operated) -> None:
    with operated.peer() as peer:
        status = peer.ask({"do": "status"})["status"]
        assert status["seq"] == operated.node.engine.seq
        assert all(isinstance(value, int | float | str) for value in status.values())
        assert [each["user"] for each in peer.ask({"do": "sessions"})["sessions"]] == ["TRADER", "OTHER"]
        book = peer.ask({"do": "books", "symbol": "XYZ", "depth": 5})["book"]
        assert book["bids"] == [{"price_e4": 99_000, "qty": 70, "reserve_qty": 0, "hidden_qty": 0, "orders": 1}]
        assert book["offers"] == [{"price_e4": 100_000, "qty": 70, "reserve_qty": 0, "hidden_qty": 0, "orders": 1}]
        assert peer.ask({"do": "books"})["symbols"] == ["XYZ"]
        assert peer.ask({"do": "checkpoint"})["checkpoint"]["size_bytes"] == 70_000
        assert peer.ask({"do": "disconnect", "user": "trader"})["disconnected"] is True
        assert peer.ask({"do": "disconnect", "user": "NOBODY"})["disconnected"] is False
        assert peer.ask({"do": "disconnect", "user": ""})["disconnected"] is False
        assert "lockstep_stage_seconds_bucket" in peer.ask({"do": "metrics"})["metrics"]
        assert peer.ask({"do": "drain"}) == {"ok": True}
        assert peer.ask({"do": "shutdown"}) == {"ok": True}
        assert (operated.node.draining, operated.node.ended) == (True, True)
        assert peer.ask({"do": "commands", "text": "phase XYZ closed"})["error"] == (
            "the node is draining and takes no commands."
        )
        assert peer.ask({"do": "checkpoint"})["error"] == "a checkpoint is being written already."


def test_an_account_has_what_a_participant_holds_has_open_and_may(operated: Operated) -> None:
    with operated.peer() as peer:
        text = "limits ALPHA credit=5000 order_rate=100/1s\nlimits ALPHA symbol=XYZ adv=10%\nkill BETA"
        assert peer.ask({"do": "commands", "text": text})["rejected"] == 0
        told = peer.ask({"do": "account", "participant": "ALPHA"})
        assert told == {
            "ok": True,
            "account": {
                "participant": "ALPHA",
                "open_orders": 1,
                "ids_used": 1,
                "open_notional_e4": 7_000_000,
                "killed": False,
                "allow": ["market"],
                "limits": NO_LIMITS | {"rate_orders": 100, "rate_window_ns": 1_000_000_000, "credit_e4": 50_000_000},
            },
            "instruments": [
                {
                    "symbol": "XYZ",
                    "position_qty": -30,
                    "open_buy_qty": 0,
                    "open_sell_qty": 70,
                    "limits": NO_LIMITS | {"adv_share_bps": 1_000},
                }
            ],
            "total": 1,
        }
        other = peer.ask({"do": "account", "participant": "BETA"})
        assert (other["account"]["killed"], other["account"]["open_notional_e4"], other["account"]["limits"]) == (
            True,
            0,
            NO_LIMITS,
        )
        assert [each["position_qty"] for each in other["instruments"]] == [30]


def test_an_account_in_thousands_of_instruments_comes_in_lines_that_each_keep_the_bound(operated: Operated) -> None:
    row = {"symbol": "XYZ", "position_qty": -99_999_999, "open_buy_qty": 1, "open_sell_qty": 1, "limits": {}}
    original = operated.node.account
    operated.node.account = lambda name: (original(name)[0], [row] * 3_000)  # type: ignore[method-assign]
    found = 0
    with operated.peer() as peer:
        told = peer.ask({"do": "account", "participant": "ALPHA"})
        found += len(told["instruments"])
        while "next" in told:
            told = peer.ask({"do": "account", "participant": "ALPHA", "from": told["next"]})
            found += len(told["instruments"])
    assert found == told["total"] == 3_000


def test_thousands_of_sessions_come_in_lines_that_each_keep_the_bound(operated: Operated) -> None:
    operated.node.listed = [session(f"U{number}", "ALPHA", number) for number in range(3_000)]
    found: list[str] = []
    with operated.peer() as peer:
        told = peer.ask({"do": "sessions"})
        found += [each["user"] for each in told["sessions"]]
        while "next" in told:
            told = peer.ask({"do": "sessions", "from": told["next"]})
            found += [each["user"] for each in told["sessions"]]
    assert found == [f"U{number}" for number in range(3_000)]


def test_a_defect_in_the_node_is_answered_and_logged_without_what_the_error_says(operated: Operated) -> None:
    operated.node.broken = True
    with operated.peer() as peer:
        told = peer.ask({"do": "commands", "text": "phase XYZ closed"})
        assert told["error"] == "commands failed in the node (RuntimeError), see its log."
        assert peer.ask({"do": "status"})["ok"] is True
    assert "RuntimeError" in operated.said()
    assert "hunter2" not in operated.said() + json.dumps(told)


# What comes in that is no request.


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (b"\n", "the line is not JSON"),
        (b"status\n", "the line is not JSON"),
        (b'{"do": "status"\n', "the line is not JSON"),
        (b'{"do": NaN}\n', "the line is not JSON"),
        (b"\xff\xfe\x00\n", "the line is not UTF-8"),
        (b'{"do": "status", "do": "shutdown"}\n', "the line cannot be followed: an object has 'do' twice"),
        (b"[" * 60_000 + b"\n", "the line is nested too deeply"),
        (b"1" * 60_000 + b"\n", "the line is not JSON"),
        (b"[]\n", "a request is a JSON object"),
        (b'"status"\n', "a request is a JSON object"),
        (b"{}\n", "the request lacks do"),
        (b'{"do": 7}\n', "there is no operation 7; there are commands, status"),
        (b'{"do": "\\u001b[31mx\\ud800"}\n', "there is no operation '\\x1b[31mx\\ud800'"),
        (b'{"do": "status", "depth": 1}\n', "status has no field depth; its fields are none"),
        (b'{"do": "books", "symbol": 5}\n', "symbol of books must be a text"),
        (b'{"do": "books", "symbol": "XYZ", "depth": true}\n', "depth of books must be a whole number"),
        (b'{"do": "books", "symbol": "XYZ", "depth": 1.0}\n', "depth of books must be a whole number"),
        (b'{"do": "books", "symbol": "XYZ", "depth": 0}\n', "depth is 0; give 1 to 200"),
        (b'{"do": "books", "symbol": "XYZ", "depth": 9' + b"9" * 400 + b"}\n", "depth is 99999999999999999999; give"),
        (b'{"do": "books", "symbol": "NONE"}\n', "there is no instrument NONE; there are XYZ"),
        (b'{"do": "account", "participant": "NONE"}\n', "there is no participant NONE; there are ALPHA, BETA"),
        (b'{"do": "account", "participant": "\\u001b[1m"}\n', "there is no participant '\\x1b[1m'; there are ALPHA"),
        (b'{"do": "account"}\n', "account lacks participant; give it"),
        (b'{"do": "commands"}\n', "commands lacks text; give it"),
        (b'{"do": "password", "user": "TRADER"}\n', "password lacks password; give it"),
        (b'{"do": "sessions", "from": "x"}\n', "from of sessions must be a whole number"),
    ],
    ids=lambda value: value[:40].decode("latin-1") if isinstance(value, bytes) else "",
)
def test_a_line_that_is_no_request_is_answered_by_a_sentence_and_the_next_one_is_taken(
    raw: bytes, sentence: str, operated: Operated
) -> None:
    with operated.peer() as peer:
        assert peer.error(raw).startswith(sentence)
        assert peer.ask({"do": "status"})["ok"] is True


@pytest.mark.parametrize(
    "raw",
    [b"x" * 65_537, b"x" * 65_537 + b"\n", b"x" * 10_000_000, b"{}\n" + b"x" * 100_000],
    ids=["no end", "an end", "far too long", "after another"],
)
def test_a_line_longer_than_the_bound_ends_its_connection_with_a_sentence(raw: bytes, operated: Operated) -> None:
    with operated.peer() as peer:
        if raw.startswith(b"{}\n"):
            assert peer.error(raw).startswith("the request lacks do")
            raw = b""
        assert peer.error(raw).startswith("a line is longer than 65,536 bytes")
        assert peer.answer() is None
    with operated.peer() as peer:  # the control: one that just fits is taken
        room = LINE_BYTES_MAX - len(b'{"do": "commands", "text": "#"}\n')
        raw = b'{"do": "commands", "text": "#' + b"x" * room + b'"}\n'
        assert len(raw) == LINE_BYTES_MAX
        assert peer.error(raw).startswith("there is no command in the text")


def test_a_request_may_come_byte_by_byte_and_several_in_one_piece(operated: Operated) -> None:
    with operated.peer() as peer:
        for byte in b'{"do": "books"}\n':
            peer.send(bytes((byte,)))
        assert peer.answer() == {"ok": True, "symbols": ["XYZ"], "total": 1}
        peer.send(b'{"do": "books"}\n' * 5)
        assert [peer.answer() for _ in range(5)] == [{"ok": True, "symbols": ["XYZ"], "total": 1}] * 5


def test_a_line_without_an_end_is_told_so(operated: Operated) -> None:
    with operated.peer() as peer:
        peer.send(b'{"do": "status"}')
        peer.socket.shutdown(socket.SHUT_WR)
        assert peer.error(b"") == "the last line has no end; end each with a newline."
        assert peer.answer() is None


# Who is let in.


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (b'{"token": "wrong"}\n', "the token is not the one of this node"),
        (b'{"token": ""}\n', "the token is not the one of this node"),
        (b'{"token": "\\ud800\\u00e9"}\n', "the token is not the one of this node"),
        (b'{"token": 5}\n', "the first line must be"),
        (b'{"do": "shutdown"}\n', "the first line must be"),
        (b"GET / HTTP/1.1\r\n", "the first line must be"),
        (b"\x16\x03\x01\x02\n", "the first line must be"),
        (b"x" * 70_000, "a line is longer than 65,536 bytes"),
    ],
    ids=lambda value: value[:30].decode("latin-1") if isinstance(value, bytes) else "",
)
def test_without_the_token_nothing_is_done_and_the_connection_ends(
    raw: bytes, sentence: str, operated: Operated
) -> None:
    with operated.peer(token=False) as peer:
        assert peer.error(raw).startswith(sentence)
        assert peer.answer() is None
    assert not operated.node.ended


@pytest.mark.slow
def test_wrong_tokens_are_answered_ever_later_and_a_right_one_at_once(operated: Operated) -> None:
    took_s = []
    for _ in range(4):
        began_s = time.monotonic()
        with operated.peer(token=False) as peer:
            peer.error(b'{"token": "guess"}\n')
        took_s.append(time.monotonic() - began_s)
    assert took_s[0] >= 0.09
    assert took_s[3] >= 0.39
    at_once_s = []
    for _ in range(10):
        began_s = time.monotonic()
        with operated.peer() as peer:
            peer.ask({"do": "status"})
        at_once_s.append(time.monotonic() - began_s)
    assert min(at_once_s) < 0.39
    assert operated.said().count("showed no valid token") == 1  # not a line for each


@pytest.mark.slow
def test_connections_that_show_no_token_are_few_and_end_by_themselves(tmp_path: Path) -> None:
    with Operated(tmp_path, login_s=0.5) as running:
        silent = [running.peer(token=False) for _ in range(WAITING_MAX)]
        assert all(peer.error(b"") == "no complete line came within 0.5 seconds." for peer in silent)
        for peer in silent:
            peer.__exit__()


def test_connections_that_show_no_token_keep_nobody_out_who_has_it(operated: Operated) -> None:
    silent = [operated.peer(token=False) for _ in range(3 * WAITING_MAX)]
    with operated.peer() as peer:
        assert peer.ask({"do": "books"})["ok"] is True
    assert silent[0].error(b"").startswith("this connection was ended to make room for another: it has shown no token")
    for each in silent:
        each.__exit__()


@pytest.mark.parametrize("local", [True, False], ids=["unix", "tcp"])
def test_a_connection_that_was_idle_the_longest_makes_room_for_a_new_one(local: bool, operated: Operated) -> None:
    def another() -> Peer:
        if not local:
            return operated.peer()
        peer = operated.local()
        greeting = peer.answer()
        assert greeting is not None
        assert (greeting["ok"], greeting["node"]["journal_id"]) == (True, "0f" * 16)
        return peer

    peers = [another() for _ in range(CONNECTIONS_MAX)]
    assert peers[0].ask({"do": "books"})["ok"] is True
    peers.append(another())
    assert peers[1].error(b"").startswith("this connection was ended to make room for another: it was idle the longest")
    for peer in [peers[0], *peers[2:]]:
        assert peer.ask({"do": "books"})["ok"] is True
    for peer in peers:
        peer.__exit__()


def test_the_operator_s_socket_is_not_reached_by_a_flood_on_tcp(operated: Operated) -> None:
    flood = [operated.peer(token=False) for _ in range(100)]
    with Link(operated.directory) as link:
        assert link.ask("commands", text="kill BETA")["rejected"] == 0
    for peer in flood:
        peer.__exit__()


@pytest.mark.slow
def test_a_peer_that_reads_no_answers_is_ended_and_keeps_nobody_waiting(tmp_path: Path) -> None:
    with Operated(tmp_path, write_s=0.5) as running:
        running.node.listed = [session(f"U{number}", "ALPHA", number) for number in range(250)]
        slow = running.peer()
        slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        slow.socket.setblocking(False)
        gone = False
        deadline_s = time.monotonic() + 15
        while not gone and time.monotonic() < deadline_s:
            try:
                slow.send(b'{"do": "sessions"}\n' * 100)
            except BlockingIOError:
                time.sleep(0.01)
            except OSError:
                gone = True
            with running.peer() as peer:
                assert peer.ask({"do": "books"})["ok"] is True
        assert gone
        slow.__exit__()


def test_a_request_that_is_under_way_is_answered_though_the_server_ends(operated: Operated) -> None:
    with operated.peer() as peer:
        peer.send(b'{"do": "password", "user": "TRADER", "password": "secret"}\n')
        deadline_s = time.monotonic() + 5
        while operated.node.rows[-1]["kind"][-1] != CommandKind.CREDENTIAL and time.monotonic() < deadline_s:
            time.sleep(0.001)
        operated.run(operated.admin.close())
        told = peer.answer()
        assert told is not None
        assert told["ok"] is True
        assert peer.answer() is None


# Passwords.


def test_a_password_becomes_a_row_that_verifies_it_and_is_seen_nowhere(operated: Operated) -> None:
    with operated.peer() as peer:
        told = peer.ask({"do": "password", "user": "trader", "password": "Zq9!xyWv#K"})
        assert (told["ok"], told["seq"]) == (True, operated.node.engine.seq)
    row = operated.node.rows[-1][-1]
    salt, expected = salt_and_hash(row)
    assert (int(row["kind"]), int(row["cost"])) == (CommandKind.CREDENTIAL, 4)
    assert verify("zQ9!XYwV#k", salt, expected, 4)
    assert not verify("Zq9!xyWv#L", salt, expected, 4)
    seen = operated.said().encode() + json.dumps(told).encode() + row.tobytes()
    assert b"zq9!xywv" not in seen.lower()
    assert b"set a password" in seen


@pytest.mark.parametrize("password", ["", "elevenchars", "a b", "tab\t", "café", "\x7f", "\ud800", "nul\x00"])
def test_a_password_that_cannot_be_is_refused_in_words_that_do_not_repeat_it(password: str, operated: Operated) -> None:
    count = len(operated.node.rows)
    with operated.peer() as peer:
        told = peer.ask({"do": "password", "user": "TRADER", "password": password})
    assert told["ok"] is False
    assert told["error"].startswith("the password has")
    assert not password or password not in told["error"]
    assert len(operated.node.rows) == count
    assert not verify(password, bytes(16), bytes(24), 4)


def test_a_password_of_a_user_whom_nobody_added_is_refused(operated: Operated) -> None:
    with operated.peer() as peer:
        told = peer.ask({"do": "password", "user": "GHOST", "password": "secret"})
        assert told["error"] == "there is no user GHOST; add it first."
        assert peer.ask({"do": "generated_password", "user": "GHOST"}) == told


def test_a_generated_password_is_told_once_and_its_hash_alone_is_cheap(operated: Operated) -> None:
    with operated.peer() as peer:
        first, second = (peer.ask({"do": "generated_password", "user": "trader"}) for _ in range(2))
        given = peer.ask({"do": "generated_password", "user": "TRADER", "password": "weak"})
    assert (second["ok"], second["seq"]) == (True, operated.node.engine.seq)
    assert first["password"] != second["password"]
    row = operated.node.rows[-1][-1]
    salt, expected = salt_and_hash(row)
    assert int(row["cost"]) == COST_GENERATED
    assert verify(second["password"], salt, expected, COST_GENERATED)
    assert not verify(first["password"], salt, expected, COST_GENERATED)
    assert second["password"] not in operated.said()
    assert not given["ok"], "nobody chooses a password that is stored so"


def test_the_peer_of_these_tests_would_see_an_answer_that_is_too_long(operated: Operated) -> None:
    """The control of the bound that ``Peer.answer`` checks: a status that does not fit is refused, not sent."""
    original = operated.node.status
    operated.node.status = lambda: original() | {"data": "x" * 70_000}  # type: ignore[method-assign]
    with operated.peer(token=False) as peer:
        told = peer.ask({"token": read_place(operated.directory).token})
        assert told["error"].startswith("the answer has 70,")
