"""`lockstep demo`: a pair, traders over TCP, a kill, a flipped bit; and the judge at the end, which must see what it
looks for."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from cli.demo.child import flip
from cli.demo.clients import Stream
from cli.demo.market import SameDigest, TwoJournals, same_blocks
from cli.demo.proof import JournalMessages, StreamReplay, judged, sentences
from cli.demo.view import Look, PlainView, _best
from directory.recover import create
from engine.capacity import Capacity
from engine.engine import Engine
from gateway.streams import Segment
from node.operator.link import Link
from notation.parse import parse
from notation.translate import Translator
from replay.verify import VerifyReport
from tests.conftest import Lockstep
from tests.json_schemas import checked
from tests.running import until
from wire import PacketType
from wire.ouch import server_rows
from wire.ouch_codes import Liquidity, ServerMessage
from wire.soup import packet


@pytest.mark.slow
def test_the_demo_kills_the_primary_finds_a_flipped_bit_and_proves(tmp_path: Path, lockstep: Lockstep) -> None:
    status, said, _ = lockstep("demo", "--seconds", 2, "--seed", 7, "--data", tmp_path / "market", "--json")
    (found,) = checked(["demo"], said)
    assert (status, found["ok"], found["verified"]) == (0, True, {"kernel": True, "reference": True})
    assert found["taken_over_seq"] >= found["published_seq_reported"] > 0
    assert found["seq"] > found["same_to_seq"] == found["divergence"]["last_seq"] >= found["flipped_seq"]
    assert found["same_to_seq"] > found["taken_over_seq"]
    assert found["divergence"]["part"] == found["flipped_part"] == "risk"
    assert found["epoch"] > 1
    assert (found["reconnects"], found["users"], found["doubled"]) == (5, 5, 0)
    assert found["orders"] == found["answers"] > 1_000
    assert found["outage_s"] > 0
    assert found["trades"] > 100
    assert found["position_sums"] == {"ACME": 0, "BOLT": 0, "CORE": 0}
    assert found["ran_away"]["symbol"] == "ACME"
    assert found["ran_away"]["trades"] == found["ran_away"]["with_traders"] + 1 > 1
    assert [each["symbol"] for each in found["auctions"]] == ["ACME", "BOLT", "CORE", "ACME"]
    assert all(each["qty"] and each["prices"] == 1 for each in found["auctions"])
    assert lockstep("doctor", tmp_path / "market" / "b")[0] == 0
    assert processes_in(tmp_path) == []


def processes_in(folder: Path) -> list[str]:
    """Command lines of processes that name a folder."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError):
                words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if str(folder) in words:
                    found.append(words)
    return found


def _until_first_order(said: IO[str]) -> list[str]:
    """Lines up to the first one about both nodes."""
    lines = [said.readline()]
    while lines[-1] and "answers" not in lines[-1]:
        lines.append(said.readline())
    return lines


@contextlib.contextmanager
def running_demo(tmp_path: Path) -> Iterator[tuple["subprocess.Popen[str]", list[str]]]:
    """A demo of a minute, with the first lines that it has printed, until the first order was answered."""
    demo = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "demo", "--seconds", "60", "--data", str(tmp_path / "market")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert demo.stdout is not None
    try:
        yield demo, _until_first_order(demo.stdout)
    finally:
        demo.kill()
        demo.communicate()
        until(lambda: not processes_in(tmp_path), 120, "processes are left behind")


@pytest.mark.slow
def test_a_demo_that_is_killed_leaves_no_process_behind(tmp_path: Path) -> None:
    with running_demo(tmp_path) as (demo, lines):
        assert re.match(r"a witness on port \d+ made node A primary; B ", lines[0]), lines
        assert "answers" in lines[-1], lines
        assert len(processes_in(tmp_path)) >= 4, "the demo, a witness and two nodes"
        demo.send_signal(signal.SIGKILL)
        demo.wait(120)
        until(lambda: not processes_in(tmp_path), 120, "processes are left behind")


@pytest.mark.slow
def test_a_node_that_ends_by_itself_is_told_and_the_exit_status_is_1(tmp_path: Path) -> None:
    with running_demo(tmp_path) as (demo, _):
        with Link(tmp_path / "market" / "a") as link:
            os.kill(link.node["pid"], signal.SIGKILL)
        _, complaint = demo.communicate(timeout=600)
    assert demo.returncode == 1
    assert complaint.startswith("lockstep: node A ended by itself with status -9; its last log line: ")
    assert complaint.count("\n") == 1


def applied(engine: Engine, lines: list[str]) -> None:
    """Apply lines of a scenario to an engine."""
    translator = Translator(parse("\n".join(lines), "lines"), engine.directory, "lines")
    while (batch := translator.next_batch(engine.directory)) is not None:
        engine.apply(batch.rows)


def test_one_flipped_bit_of_a_position_changes_one_part_of_the_state_and_no_event() -> None:
    primary, copy = (Engine(Capacity(orders_max=64, ids_max=64, instruments_max=2, participants_max=4)) for _ in "AB")
    lines = [
        "instrument XYZ tick=0.01 lot=1 reference=10.00",
        "participant ALPHA",
        "participant BETA",
        "phase XYZ continuous",
        "enter ALPHA a1 buy 30 XYZ @ 10.00",
        "enter BETA b1 sell 20 XYZ @ 10.00",
    ]
    for engine in (primary, copy):
        applied(engine, lines[:-1])
    assert flip(copy) == {}, "nothing has traded yet"
    for engine in (primary, copy):
        applied(engine, lines[-1:])
    assert primary.state_digest() == copy.state_digest()
    assert flip(copy) == {
        "seq": copy.seq,
        "participant": "ALPHA",
        "symbol": "XYZ",
        "part": "risk",
        "position_qty": 20,
        "flipped_qty": 4,
    }
    for engine in (primary, copy):
        applied(engine, ["enter BETA b2 sell 10 XYZ @ 10.00"])
    changed = [part for part, digest in primary.part_digests().items() if copy.part_digests()[part] != digest]
    assert changed == ["risk"]
    assert primary.event_digest == copy.event_digest


def test_digests_of_two_journals_are_compared_up_to_the_first_that_differs(tmp_path: Path) -> None:
    for name in "ab":
        journal, _ = create(tmp_path / name, Capacity(64, 64, 2, 4), journal_id=bytes(16))
        with journal:
            for first_seq in (1, 3, 5):
                journal.append(2, bytes(128), first_seq)
                journal.put_digest(first_seq, bytes([first_seq if name == "a" or first_seq < 3 else 9]) * 16)
            journal.wait_durable(6)
    both = TwoJournals(tmp_path / "a", tmp_path / "b")
    try:
        assert both.look() == both.look() == SameDigest(3, bytes([3]) * 16, bytes([9]) * 16)
    finally:
        both.close()
    assert same_blocks(tmp_path / "a", tmp_path / "b") == (6, True)


def message(kind: ServerMessage, **fields: Any) -> bytes:
    """A message of the exchange."""
    rows = server_rows(kind)
    for name, value in fields.items():
        rows[name] = value
    return rows.tobytes()


ACCEPTED = message(ServerMessage.ACCEPTED, order_token=b"one".ljust(14), stock=b"ACME    ")
TOOK, GAVE, OPENED = (
    message(
        ServerMessage.EXECUTED,
        order_token=token.ljust(14),
        liquidity=side,
        match_number=7,
        executed_shares=30,
        execution_price_e4=99_9500,
    )
    for token, side in ((b"one", Liquidity.REMOVED), (b"two", Liquidity.ADDED), (b"one", Liquidity.OPENING_CROSS))
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
    assert journaled(ACCEPTED, TOOK, GAVE).one_sided == 0
    assert (journaled(ACCEPTED, OPENED, OPENED).doubled, journaled(ACCEPTED, OPENED, OPENED).trades) == (0, 1)
    assert journaled(ACCEPTED, OPENED, OPENED).one_sided == 0
    assert journaled(ACCEPTED, OPENED).one_sided == 1
    assert journaled(ACCEPTED, OPENED, OPENED, OPENED).doubled == 1
    assert journaled(ACCEPTED, TOOK).one_sided == 1


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
        "story": {
            "durable_seq_reported": 20,
            "published_seq_reported": 19,
            "taken_over_seq": 20,
            "flipped_seq": 29,
            "flipped_part": "risk",
            "auctions": [{"symbol": "ACME", "price_e4": 100_000, "prices": 1, "qty": 40, "trades": 2}],
            "ran_away": {"trades": 1, "with_traders": 0},
            "divergence": {"first_seq": 31, "last_seq": 31, "part": "risk", "found_s": 0.1, "can_take_over": False},
        },
        "same": (31, True),
        "replay": StreamReplay(
            journaled(ACCEPTED, TOOK, GAVE), {"U1": dict(now)}, 2, "ed", "sd", "sd", 40, {"ACME": 0}
        ),
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
    "answered commands are gone": ("nothing_lost", lambda case: case["story"].update(published_seq_reported=21)),
    "the standby lacks the block that differs": ("nothing_lost", lambda case: case.update(same=(30, True))),
    "the journals differ": ("same_journals", lambda case: case.update(same=(31, False))),
    "an auction had two prices": ("one_price", lambda case: case["story"]["auctions"][0].update(prices=2)),
    "a position is of nobody": ("positions_balance", lambda case: _replay(case, position_sums={"ACME": 5})),
    "nothing was traded": ("positions_balance", lambda case: _replay(case, position_sums={})),
    "a difference before the flip": ("flip_found", lambda case: case["story"].update(flipped_seq=32)),
    "another part is named": ("flip_found", lambda case: case["story"].update(flipped_part="orders")),
    "a node that diverged may take over": (
        "flip_found",
        lambda case: case["story"]["divergence"].update(can_take_over=True),
    ),
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
    "a trade is in no stream": ("nothing_doubled", lambda case: _replay(case, trades=3)),
    "a trader does not know that it traded with the order that ran away": (
        "nothing_doubled",
        lambda case: case["story"]["ran_away"].update(with_traders=1),
    ),
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


def test_lines_show_both_nodes_with_their_digests(capsys: pytest.CaptureFixture[str]) -> None:
    node = {"role": "primary", "state": "reigning", "seq": 1_234}
    clients = {"answers": 12, "p99_us": 2_000.0}
    same = SameDigest(9, bytes([0xAB]) * 16, bytes([0xCD]) * 16)
    view = PlainView()
    view.show(Look((node, node | {"role": "standby", "state": "diverged"}), same, clients, {}, 1.5, ""))
    view.show(Look((None, node), same, clients, {}, 2.0, ""))
    view.show(Look((None, node), None, clients, {}, 3.0, ""))
    view.warn("killed A")
    assert capsys.readouterr().out == (
        " 1.5 s  A primary, command 1,234, abababababababab; B diverged, command 1,234, cdcdcdcdcdcdcdcd; "
        "12 answers, p99 2.0 ms\n"
        " 3.0 s  A down; B primary, command 1,234; 12 answers, p99 2.0 ms\n"
        "killed A\n"
    )


def test_a_pair_has_best_prices_for_people() -> None:
    level = {"price_e4": 99_9500, "qty": 30, "orders": 1}
    assert _best({"symbol": "ACME", "bids": [level], "offers": []}) == "ACME 99.95/none"
    assert _best({"symbol": "ACME", "bids": [level | {"price_e4": None}], "offers": [level]}) == "ACME market/99.95"
