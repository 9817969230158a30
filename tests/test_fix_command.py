"""`lockstep fix`: sessions of FIX, on a node that runs and on one that was killed, and never a password."""

import json
import signal
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cli import screen
from cli.operating import fix as command
from gateway.fix.session import FixSession
from node.gateways.fix_side_file import read_side_file
from node.gateways.fix_watch import SessionFacts
from tests.conftest import Lockstep
from tests.fix_client import FixClient
from tests.json_schemas import checked
from tests.running import Running, started, until
from tests.test_node_gateways import port_of
from wire.fix_codec import FrameWriter, Message, Times, body
from wire.fix_table import VERSIONS, own
from wire.fix_text import fields_of, plain

PASSWORD = "secret"


def sessions_of(lockstep: Lockstep, node: Running, *more: str) -> list[dict[str, Any]]:
    """Sessions of a directory, by the command."""
    status, out, err = lockstep("fix", node.data, "--json", *more)
    assert status == 0, err
    assert PASSWORD not in out
    (told,) = checked(["fix"], out)
    return list(told["sessions"])


@pytest.mark.slow
def test_sessions_are_shown_while_the_node_runs_and_after_it_was_killed(tmp_path: Path, lockstep: Lockstep) -> None:
    node = started(tmp_path, "--gateway", "fix=fix:0")
    try:
        with closing(FixClient(port_of(node, "fix"), "UA", version="FIXT.1.1")) as one:
            one.log_on()
            one.order("an-order-with-a-long-name", qty=5)
            one.report("an-order-with-a-long-name")
            one.change(b"F", "c1", "an-order-with-a-long-name")
            one.report("c1")
            until(lambda: sessions_of(lockstep, node)[0]["last_in"] is not None)
            (session,) = sessions_of(lockstep, node, "--session", "ua")
            assert [session[key] for key in ("user", "target", "version", "state", "in_number", "out_number")] == [
                *("UA", "LOCKSTEP", "FIXT.1.1", "logged on", one.out_seq, one.in_seq),
            ]
            messages = session["messages"]
            assert isinstance(messages, list)
            arrived = [(each["number"], each["name"]) for each in messages if each["way"] == "in"]
            assert arrived == [(2, "NewOrderSingle"), (3, "OrderCancelRequest")]
            assert messages[0]["command"].startswith("enter ALPHA")
            (canceled,) = [each for each in messages if each["way"] == "out" and each["number"] == 3]
            named = {each["name"]: each["value"] for each in canceled["fields"]}
            assert (named["ClOrdID"], named["OrigClOrdID"], named["OrdStatus"]) == (
                *("c1", "an-order-with-a-long-name", "4"),
            )
            assert lockstep("fix", node.data, "--session", "UA", "--log", "on")[0] == 0
            until(lambda: logs_of(one, node))
            for number in range(30):
                one.send(b"1", [(112, f"question-{number}")])
                one.until(lambda each: each.msg_type == b"0")
            until(lambda: in_log(node, "112=question-") == 60)  # of other events ten are written in 10 s
            # No question is a command, and still the client's next number is known.
            until(lambda: sessions_of(lockstep, node)[0]["in_number"] == one.out_seq)
            assert lockstep("fix", node.data, "--session", "UA", "--log", "off", "--json")[0] == 0
            # A logon in a live session has the password once more.
            one.in_seq = one.out_seq = 1
            one.log_on(PASSWORD, 30, (141, "Y"))
        assert PASSWORD not in node.logged()
        node.end(signal.SIGKILL)
        until(lambda: sessions_of(lockstep, node)[0]["state"] == "logged out")
        (session,) = sessions_of(lockstep, node, "--session", "UA", "--last", "1")
        assert session["version"] == "FIXT.1.1"
        (logon,) = [each for each in session["messages"] if each["way"] == "in"]
        assert [logon[key] for key in ("number", "name", "command")] == [1, "Logon", "numbers begin again"]
        # The gateway ends a moment after its core.
        until(lambda: "none does now" in lockstep("fix", node.data, "--session", "UA", "--log", "on")[1])
        assert lockstep("fix", node.data)[1].splitlines()[0].split()[:3] == ["gateway", "kind", "user"]
    finally:
        node.stop()


def in_log(node: Running, words: str) -> int:
    """Number of FIX messages with some words in the log."""
    return sum('"fix message"' in line and words in line for line in node.logged().splitlines())


def logs_of(client: FixClient, node: Running) -> bool:
    """True once the log has a test request of the client and the answer to it."""
    client.send(b"1", [(112, "watch")])
    client.until(lambda each: each.get(b"112") == b"watch")
    told = [json.loads(line) for line in node.logged().splitlines() if '"fix message"' in line]
    return {each["way"] for each in told if "112=watch|" in each["message"] and each["user"] == "UA"} == {"in", "out"}


def test_a_gateway_goes_on_with_the_facts_of_its_last_life_and_nobody_is_logged_on_by_them(tmp_path: Path) -> None:
    def served(user: str) -> Any:
        streams = SimpleNamespace(name=lambda _number: user)
        entrance = SimpleNamespace(outbox=SimpleNamespace(streams=streams))
        connection = SimpleNamespace(session=FixSession(0), entrance=entrance, user=1, address="127.0.0.1")
        return SimpleNamespace(logged_in={1: connection})

    log: Any = None
    for user in ("UA", "UB"):
        SessionFacts(tmp_path, log).write(served(user))
    found = read_side_file(tmp_path)
    assert {name: facts["logged_on"] for name, facts in found.items()} == {"UA": False, "UB": True}
    assert found["UA"]["version"] == found["UB"]["version"]


def test_a_session_that_ends_between_two_looks_is_in_the_file_with_its_last_times(tmp_path: Path) -> None:
    """Its times were those of the look before its end; one that was shorter than that was not there at all."""
    streams = SimpleNamespace(name=lambda _number: "UA")
    entrance = SimpleNamespace(outbox=SimpleNamespace(streams=streams))
    session = FixSession(0)
    connection: Any = SimpleNamespace(session=session, entrance=entrance, user=1, address="127.0.0.1")
    log: Any = None
    facts = SessionFacts(tmp_path, log)
    gateway: Any = SimpleNamespace(logged_in={})
    session._came_ns, session._went_ns = 8, 9
    facts.note_end(gateway, connection)
    facts.beat(gateway)
    found = read_side_file(tmp_path)["UA"]
    assert [found[name] for name in ("logged_on", "heard_ns", "sent_ns", "address")] == [False, 8, 9, "127.0.0.1"]
    # The end of a connection whose user is logged on by another says nothing of that.
    session._came_ns = 10
    gateway.logged_in = {1: SimpleNamespace(session=session, entrance=entrance, user=1, address="127.0.0.1")}
    facts.write(gateway)
    session._came_ns = 11
    facts.note_end(gateway, connection)
    assert facts._sessions["UA"]["heard_ns"] == 10
    assert facts._sessions["UA"]["logged_on"]


def test_a_bar_stands_while_sessions_are_found_by_replay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    class Bar(screen.Bar):
        def __enter__(self) -> screen.Bar:
            said.append(self._what)
            return super().__enter__()

        def __exit__(self, *of: Any) -> None:
            super().__exit__(*of)
            said.append("ends")

    monkeypatch.setattr(screen, "Bar", Bar)
    monkeypatch.setattr(command, "check_has_journal", lambda _: None)
    monkeypatch.setattr(command, "_found", lambda *_: said.append("replays") or [])
    assert command.fix(tmp_path, None, 10, None, as_json=True) == 0
    assert said == ["replaying what came behind the images of the gateways", "replays", "ends"]


def test_what_cannot_be_shown_is_said_in_a_sentence(tmp_path: Path, lockstep: Lockstep) -> None:
    node = started(tmp_path)
    node.stop()
    for words, why in (
        ((node.data,), "has no gateway of FIX"),
        ((node.data, "--log", "on"), "--log is of one session"),
        ((tmp_path / "nothing",), "nothing"),
    ):
        status, _, err = lockstep("fix", *words)
        assert (status, why in err) == (2, True), err


@pytest.mark.parametrize("version", VERSIONS)
def test_passwords_and_signatures_are_stars_in_every_form(version: str) -> None:
    secrets = {554: "pass-554", 925: "pass-925", 96: "sig\x01nature", 95: 10}
    fields = [(98, 0), (108, 30), (95, 10), (96, b"sig\x01nature"), (554, "pass-554"), (925, "pass-925")]
    frame = FrameWriter(version, "UA", "LOCKSTEP", Times()).frame(b"A", 1, 0, body(fields))
    shown = plain(frame) + str(fields_of(Message(frame), own(version)))
    assert not any(str(value) in shown for tag, value in secrets.items() if tag != 95)
    assert "nature" not in shown
    broken = frame.replace(b"\x0195=10", b"\x0195=99")
    assert "nature" not in plain(broken)
    assert "pass-554" not in plain(frame.replace(b"98=0", b"980"))
    assert "|0554=***|" in plain(frame.replace(b"\x01554=", b"\x010554="))
    assert "|1402=***|" in plain(frame.replace(b"\x01554=pass-554", b"\x011402=coded"))
