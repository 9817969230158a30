"""`lockstep demo`: a node, clients over TCP, a kill; and the judge at the end, which must see what it looks for."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cli.demo_clients import Stream, Tape
from cli.demo_proof import JournalMessages, StreamReplay, judged, sentences
from cli.demo_view import PlainView, _ladder
from client.messages import read
from gateway.streams import Segment
from node.link import Link
from replay.verify import VerifyReport
from tests.conftest import Lockstep
from tests.json_schemas import checked
from wire import PacketType
from wire.ouch import server_rows
from wire.ouch_codes import Liquidity, ServerMessage
from wire.soup import packet


def test_the_demo_kills_restarts_and_proves(tmp_path: Path, lockstep: Lockstep) -> None:
    status, said, _ = lockstep("demo", "--seconds", 2, "--seed", 7, "--data", tmp_path / "node", "--json")
    (found,) = checked(["demo"], said)
    assert (status, found["ok"], found["verified"]) == (0, True, {"kernel": True, "reference": True})
    assert found["seq"] > found["recovered_seq"] >= found["durable_seq_reported"] > found["checkpoint_seq"] > 0
    assert (found["reconnects"], found["users"], found["doubled"]) == (5, 5, 0)
    assert found["orders"] == found["answers"] > 2_000
    assert found["outage_s"] > 0
    assert found["trades"] > 100
    assert lockstep("doctor", tmp_path / "node")[0] == 0


@pytest.mark.slow
def test_a_demo_that_is_killed_leaves_no_node_behind(tmp_path: Path) -> None:
    demo = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "demo", "--seconds", "60"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert demo.stdout is not None
    lines = [demo.stdout.readline() for _ in range(3)]
    listens = re.search(r"a node listens on 127\.0\.0\.1 port (\d+)", lines[0])
    assert listens is not None, lines
    assert "answers" in lines[2], lines
    assert _is_open(int(listens[1]))
    demo.send_signal(signal.SIGKILL)
    demo.wait(10)
    demo.stdout.close()
    until_s = time.monotonic() + 30
    while _is_open(int(listens[1])):
        assert time.monotonic() < until_s, "the node is still there"
        time.sleep(0.1)


@pytest.mark.slow
def test_a_node_that_ends_by_itself_is_told_and_the_exit_status_is_1(tmp_path: Path) -> None:
    demo = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "demo", "--seconds", "60", "--data", str(tmp_path / "node")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert demo.stdout is not None
    for _ in range(3):
        demo.stdout.readline()
    with Link(tmp_path / "node") as link:
        os.kill(link.node["pid"], signal.SIGKILL)
    _, complaint = demo.communicate(timeout=600)
    assert demo.returncode == 1
    assert complaint.startswith("lockstep: the node ended by itself with status -9; its last log line: ")
    assert complaint.count("\n") == 1


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def message(kind: ServerMessage, **fields: Any) -> bytes:
    """A message of the exchange."""
    rows = server_rows(kind)
    for name, value in fields.items():
        rows[name] = value
    return rows.tobytes()


ACCEPTED = message(ServerMessage.ACCEPTED, order_token=b"one".ljust(14), stock=b"ACME    ")
TOOK, GAVE = (
    message(
        ServerMessage.EXECUTED,
        order_token=token.ljust(14),
        liquidity=side,
        match_number=7,
        executed_shares=30,
        execution_price_e4=99_9500,
    )
    for token, side in ((b"one", Liquidity.REMOVED), (b"two", Liquidity.ADDED))
)

#: The answer to the marker of the login that asks for the stream again.
MARKED = message(ServerMessage.CANCEL_REJECT, order_token=b"U1-1".ljust(14))


def journaled(*messages: bytes) -> JournalMessages:
    """As if these were one user's stream."""
    made = JournalMessages()
    for seq, payload in enumerate(messages, 1):
        made.deliver(Segment(1, seq, 1, 0, packet(PacketType.SEQUENCED, payload)))
    return made


def stream_of(*messages: bytes, first_seq: int = 1) -> Stream:
    """As a client hears it."""
    stream = Stream()
    for seq, payload in enumerate(messages, first_seq):
        stream(seq, payload)
    return stream


def test_a_stream_is_the_same_however_it_comes_and_another_is_not() -> None:
    facts = stream_of(ACCEPTED, TOOK, GAVE).facts()
    assert journaled(ACCEPTED, TOOK, GAVE).streams[1].facts() == facts
    whole = b"".join(packet(PacketType.SEQUENCED, payload) for payload in (ACCEPTED, TOOK, GAVE))
    at_once = JournalMessages()
    at_once.deliver(Segment(1, 1, 3, 0, whole))
    assert at_once.streams[1].facts() == facts
    for other in (
        stream_of(ACCEPTED, TOOK),
        stream_of(ACCEPTED, GAVE, TOOK),
        stream_of(ACCEPTED, TOOK, GAVE, first_seq=2),
    ):
        assert other.facts() != facts
    assert not stream_of(ACCEPTED, first_seq=2).facts()["in_order"]


def test_what_is_there_twice_is_counted() -> None:
    assert journaled(ACCEPTED, TOOK, GAVE).doubled == 0
    assert journaled(ACCEPTED, ACCEPTED, TOOK, GAVE).doubled == 1
    assert journaled(ACCEPTED, TOOK, GAVE, TOOK).doubled == 1
    assert journaled(ACCEPTED, TOOK, GAVE, GAVE).doubled == 1
    assert journaled(ACCEPTED, TOOK, GAVE).is_two_sided
    assert not journaled(ACCEPTED, TOOK).is_two_sided


def test_the_tape_names_what_was_traded() -> None:
    tape = Tape()
    for seq, payload in enumerate((ACCEPTED, TOOK, GAVE), 1):
        tape(read(seq, payload))  # type: ignore[arg-type]  # whatever ``read`` gives is an Event
    assert list(tape.trades) == [("ACME", "99.95", 30)]


def verified(missing: tuple[int, ...] = ()) -> VerifyReport:
    """A report without a difference."""
    return VerifyReport(1, 40, 2, 40, 90, 0.1, 1, 1, 1, (), 0, missing, ())


Case = dict[str, Any]


def _good() -> Case:
    came = stream_of(ACCEPTED, TOOK, GAVE).facts()
    now = stream_of(ACCEPTED, TOOK, GAVE, MARKED).facts()
    counts = {"orders": 10, "answers": 10, "unanswered": 0, "unexpected": 0, "trades": 1, "messages": 3, "rejects": 0}
    again = {"sent_again": 2, "answered_again": 1, "reconnects": 1, "outage_s": 1.5, "p50_us": 1.0, "p99_us": 2.0}
    return {
        "clients": {**counts, **again, "streams": {"U1": {"came": came, "again": dict(came), "now": now}}},
        "restart": {"durable_seq_reported": 20, "published_seq_reported": 19, "recovered_seq": 20},
        "replay": StreamReplay(journaled(ACCEPTED, TOOK, GAVE), {"U1": dict(now)}, 1, "ed", "sd", "sd", 40),
        "reports": {"kernel": verified(), "reference": verified()},
    }


def test_what_is_right_is_found_right() -> None:
    facts = judged(**_good())
    assert facts["ok"]
    assert all(true for true, _ in sentences(facts))


def _replay(case: Case, **changed: Any) -> None:
    case["replay"] = case["replay"]._replace(**changed)


SHORT = stream_of(ACCEPTED, TOOK).facts()
UNORDERED = stream_of(ACCEPTED, TOOK, GAVE, first_seq=2).facts()
LONGER = stream_of(ACCEPTED, TOOK, GAVE, MARKED, MARKED).facts()


def _go_on(case: Case) -> None:
    case["clients"]["streams"]["U1"].update(now=LONGER)
    _replay(case, streams={"U1": LONGER})


FAULTS: dict[str, tuple[str, Callable[[Case], object]]] = {
    "durable commands are gone": ("nothing_lost", lambda case: case["restart"].update(recovered_seq=19)),
    "published commands are gone": ("nothing_lost", lambda case: case["restart"].update(published_seq_reported=21)),
    "an answer is missing": ("all_answered", lambda case: case["clients"].update(answers=9, unanswered=1)),
    "an answer too many": ("all_answered", lambda case: case["clients"].update(unexpected=1)),
    "less comes again": ("same_again", lambda case: case["clients"]["streams"]["U1"].update(again=SHORT)),
    "a number came twice": (
        "same_again",
        lambda case: case["clients"]["streams"]["U1"].update(came=UNORDERED, again=dict(UNORDERED)),
    ),
    "the journal gives less": ("same_from_journal", lambda case: _replay(case, streams={"U1": SHORT})),
    "the stream went on after it was asked for again": ("same_from_journal", _go_on),
    "the journal has no such user": ("same_from_journal", lambda case: _replay(case, streams={})),
    "an order was accepted twice": (
        "nothing_doubled",
        lambda case: _replay(case, journaled=journaled(ACCEPTED, ACCEPTED, TOOK, GAVE)),
    ),
    "one side was not told": ("nothing_doubled", lambda case: _replay(case, journaled=journaled(ACCEPTED, TOOK))),
    "a trade is in no stream": ("nothing_doubled", lambda case: _replay(case, trades=2)),
    "a client counted another trade": ("nothing_doubled", lambda case: case["clients"].update(trades=2)),
    "the state is another": ("restore_equals_replay", lambda case: _replay(case, checkpoint_state_digest="other")),
    "an engine differs": ("verified", lambda case: case["reports"].update(reference=verified(missing=(3,)))),
}


@pytest.mark.parametrize("name", FAULTS)
def test_whatever_is_wrong_is_said_and_nothing_else(name: str) -> None:
    claim, break_it = FAULTS[name]
    case = _good()
    break_it(case)
    facts = judged(**case)
    claims = [each for each, value in facts.items() if value is False]
    if claim == "verified":
        assert (claims, facts["verified"]) == (["ok"], {"kernel": True, "reference": False})
    else:
        assert claims in (["ok", claim], ["ok", claim, "same_from_journal"])
    assert [true for true, _ in sentences(facts)].count(False) == max(len(claims) - 1, 1)


def test_both_views_show_a_book_with_prices_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    level = {"price_e4": 99_9500, "qty": 30, "orders": 1}
    status = {"seq": 2, "durable_seq": 1, "event_digest": "ab" * 16}
    counts = {"answers": 1, "p50_us": 1.0, "p99_us": 2.0, "trades": 1}
    book = {"symbol": "ACME", "bids": [level], "offers": []}
    PlainView().show({"clients": counts, "status": status, "book": book}, 1.5)
    assert "ACME 99.95/none" in capsys.readouterr().out
    shown = Console(width=60)
    with shown.capture() as seen:
        shown.print(_ladder(book | {"offers": [level | {"price_e4": 100_0000}]}))
    assert "99.95" in seen.get()
    assert "100.00" in seen.get()
