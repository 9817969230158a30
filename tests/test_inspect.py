"""A journal on a screen: each step is what a plain replay gives, and what the screen says of it is in its rows.

What needs textual is in ``test_inspect_screen.py``.
"""

import json
import random
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from cli.errors import WrongUse
from cli.inspect.panes import Line, Side, page, queue_lines, text_of
from cli.inspect.search import Search
from cli.inspect.view import Facts, view
from directory.roll import roll
from engine import Engine
from engine.records import COMMAND, CommandKind, EventKind, concatenate
from engine.views import OPEN_ORDER
from journal.history import History
from replay import walk as walking
from replay.rebuild import owned_rows
from replay.timeline import STRETCHES_MAX, Timeline
from replay.walk import Stopped, Walk
from tests.conftest import Lockstep
from tests.json_schemas import checked
from tests.question_day import SMALL, write_day

COMMANDS = 3_001


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated day with checkpoints. Read only."""
    directory = tmp_path_factory.mktemp("inspect") / "day"
    write_day(directory, commands=COMMANDS, checkpoint_every=1_000)
    return directory


class Plain:
    """Replay row by row from command 1: after each the event digest, the events, and a digest of the open orders."""

    def __init__(self, directory: Path) -> None:
        with History.open(directory) as history:
            self.rows = concatenate([owned_rows(block.rows) for block in history.blocks()], COMMAND)
        engine = Engine(SMALL)
        self.digests, self.events, self.orders = [engine.event_digest], [b""], [np.empty(0, OPEN_ORDER).tobytes()]
        for at in range(len(self.rows)):
            self.events.append(engine.apply(owned_rows(self.rows[at : at + 1].tobytes())).tobytes())
            self.digests.append(engine.event_digest)
            self.orders.append(engine.open_orders().tobytes())

    def faults(self, walk: Walk, seqs: list[int]) -> list[int]:
        """Those of ``seqs`` at which a walk gives something else."""
        found = []
        for seq in seqs:
            moment = walk.at(seq)
            events = b"".join(self.events[moment.first_seq : moment.seq + 1])
            got = moment.engine.event_digest, moment.events.tobytes(), moment.engine.open_orders().tobytes()
            if got != (self.digests[moment.seq], events, self.orders[moment.seq]):
                found.append(seq)
        return found


@pytest.fixture(scope="module")
def plain(day: Path) -> Plain:
    """The plain replay of the day."""
    return Plain(day)


def wandering(last_seq: int, seed: int) -> list[int]:
    """Places of somebody who steps to and fro, and jumps now and then."""
    choose = random.Random(seed)
    seqs = [last_seq]
    while len(seqs) < 250:
        step = choose.choice((1, 1, -1, -1, -1, -1, 100, -100, choose.randint(-last_seq, last_seq)))
        seqs.append(max(1, min(last_seq, seqs[-1] + step)))
    return seqs


@pytest.mark.slow
@pytest.mark.parametrize("distances", [(1_024, 8_192), (7, 64, 512), ()])
def test_every_step_forward_and_back_is_what_a_plain_replay_gives(
    day: Path, plain: Plain, distances: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walking, "_DISTANCES", distances)
    assert plain.faults(Walk(day), wandering(len(plain.rows), seed=3)) == []


def test_a_state_kept_with_another_order_in_it_is_noticed(
    day: Path, plain: Plain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test above: one quantity of one kept state is changed."""
    monkeypatch.setattr(walking, "_DISTANCES", (7, 64, 512))
    walk = Walk(day)
    walk.at(2_500)
    kept = walk._kept[-1]
    rows = kept.parts["orders"]["orders"]
    rows["qty"][rows["qty"] > 0] += 10
    assert plain.faults(walk, [2_499, 2_498]) == [2_499, 2_498]


@pytest.mark.slow
def test_steps_through_slices_are_what_a_plain_replay_gives(tmp_path: Path, day: Path, plain: Plain) -> None:
    directory = tmp_path / "rolled"
    shutil.copytree(day, directory)
    roll(directory, durability="none")
    with History.open(directory) as history:
        assert len(history.places) == 2
        last_seq = history.last_seq
    assert last_seq >= len(plain.rows)
    walk = Walk(directory)
    assert plain.faults(walk, wandering(len(plain.rows), seed=4)[:80]) == []


@pytest.mark.slow
def test_few_steps_back_replay_more_than_the_nearest_distance(day: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walking, "_DISTANCES", (32, 256))
    walk = Walk(day)
    walk.at(2_900)
    costs = []
    for seq in range(2_899, 2_300, -1):
        before = walk.replayed
        walk.at(seq)
        costs.append(walk.replayed - before)
    far = [cost for cost in costs if cost > 32 + 2]
    assert len(far) <= len(costs) // 32 + 1
    assert sum(cost > 256 + 2 for cost in costs) <= len(costs) // 256 + 1


def test_memory_of_kept_states_has_a_bound(day: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walking, "_DISTANCES", (8, 16, 32, 64, 128))
    monkeypatch.setattr(walking, "_KEPT_BYTES", 1)
    walk = Walk(day)
    for seq in wandering(COMMANDS, seed=5)[:60]:
        walk.at(seq)
        assert len(walk._kept) <= walking._KEPT_LEAST


def test_a_replay_that_is_not_wanted_any_more_stops_and_the_next_one_is_right(day: Path, plain: Plain) -> None:
    walk = Walk(day)
    with pytest.raises(Stopped):
        walk.at(900, lambda: True)
    assert plain.faults(walk, [900, 899, 901]) == []


def counted(plain: Plain, kind: EventKind) -> int:
    """Events of a kind in the day."""
    return sum(int((np.frombuffer(each, "u1").reshape(-1, 64)[:, 60] == kind).sum()) for each in plain.events)


def test_the_timeline_counts_what_the_day_has(day: Path, plain: Plain) -> None:
    time_ns = int(Walk(day).at(COMMANDS).engine.now_ns)
    found = Timeline(day, time_ns)
    found.read()
    assert found.read_seq == found.to_seq == len(plain.rows)
    before = int(np.flatnonzero(plain.rows["kind"] == CommandKind.CLOCK)[0])
    assert found.commands.sum() == len(plain.rows) - before
    assert found.trades.sum() == counted(plain, EventKind.TRADE) > 0
    refused = counted(plain, EventKind.REJECTED) + counted(plain, EventKind.CANCEL_REJECTED)
    assert found.refusals.sum() == refused > 0
    assert found.halts == counted(plain, EventKind.HALTED) > 0
    assert sum(mark.letter == "P" for mark in found.marks) == counted(plain, EventKind.PHASE)
    assert [mark.seq for mark in found.marks] == sorted(mark.seq for mark in found.marks)
    cells = found.cells(80)
    assert sum(commands for commands, _, _ in cells) == found.commands.sum()
    at = {int(found.columns(80, np.array([mark.time_ns]))[0]) for mark in found.marks}
    assert {column for column, (_, _, letter) in enumerate(cells) if letter != " "} == at


def test_a_timeline_that_is_read_in_parts_is_that_of_the_whole(day: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    time_ns = int(Walk(day).at(COMMANDS).engine.now_ns)
    whole, parts = Timeline(day, time_ns), Timeline(day, time_ns)
    whole.read()
    for end in (1, 250, 251, 1_000, 2_999, COMMANDS):
        with monkeypatch.context() as patched:
            patched.setattr("replay.timeline.seq_at", lambda *_, end=end: end)
            parts.read()
        assert parts.read_seq == end
    assert parts.marks == whole.marks
    for name in ("begin_ns", "end_ns", "stretch_ns"):
        assert getattr(parts, name) == getattr(whole, name)
    for name in ("commands", "trades", "refusals"):
        assert (getattr(parts, name) == getattr(whole, name)).all()
    assert len(whole.commands) == STRETCHES_MAX


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("what", ["participant", "symbol", "both"])
def test_a_search_finds_what_lockstep_commands_prints(day: Path, lockstep: Lockstep, what: str) -> None:
    names = Walk(day).at(COMMANDS).engine.directory
    who, symbol = names.participants[0], names.symbols[0]
    options = {
        "participant": ["--participant", who],
        "symbol": ["--symbol", symbol],
        "both": ["--participant", who, "--symbol", symbol],
    }[what]
    status, said, complaint = lockstep("commands", str(day), *options, "--json")
    assert status == 0, complaint
    wanted = [json.loads(line)["seq"] for line in said.splitlines()]
    assert len(wanted) > 10
    words = {"participant": who, "symbol": f"symbol={symbol}", "both": f"{symbol} {who}"}[what]
    search = Search(day, words, names)
    for seq in random.Random(6).sample(range(1, COMMANDS + 1), 8):
        assert search.after(seq) == next((each for each in wanted if each > seq), None)
        assert search.before(seq) == next((each for each in reversed(wanted) if each < seq), None)
    assert search.before(wanted[0]) is None
    assert search.after(wanted[-1]) is None


def test_a_search_for_an_order_finds_its_events_also_those_by_others(day: Path, lockstep: Lockstep) -> None:
    status, said, _ = lockstep("events", str(day), "--kind", "trade", "--json")
    assert status == 0
    trade = json.loads(said.splitlines()[20])
    side = "buy" if trade["aggressor_side"] == "sell" else "sell"
    order, who = trade[f"{side}_client_order_id"], trade[f"{side}_participant"]
    names = Walk(day).at(COMMANDS).engine.directory
    search = Search(day, f"order={order} {who}", names)
    assert search.after(trade["seq"] - 1) == trade["seq"]
    assert search.before(trade["seq"] + 1) == trade["seq"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "type what to look for"),
        ("symbol=NONE", "no symbol NONE"),
        ("participant=NONE", "no participant NONE"),
        ("what=1", "is no search"),
        ("seq=soon", "is no sequence number"),
        ("12 I1", "stands alone"),
        ("order=a1 I1", "leave the symbol out"),
    ],
)
def test_a_search_for_what_cannot_be_says_why(day: Path, text: str, says: str) -> None:
    names = Walk(day).at(COMMANDS).engine.directory
    assert "I1" in names.symbols
    with pytest.raises(WrongUse, match=says):
        Search(day, text, names)


def test_a_number_and_a_time_are_places(day: Path) -> None:
    walk = Walk(day)
    names = walk.at(COMMANDS).engine.directory
    assert Search(day, "1200", names).place == 1_200
    clock = view(walk.at(2_000))["time"].removesuffix("Z").split("T")[1]
    place = Search(day, clock, names).place
    assert place is not None
    assert 2_000 <= place < COMMANDS


@pytest.mark.parametrize("seq", [1, 700, 1_500, 2_345, COMMANDS])
def test_what_it_shows_is_what_the_other_commands_print(day: Path, lockstep: Lockstep, seq: int) -> None:
    status, said, complaint = lockstep("inspect", str(day), "--at", str(seq), "--json")
    assert status == 0, complaint
    (shown,) = checked(["inspect"], said)
    line = lockstep("commands", str(day), "--from", str(seq), "--to", str(seq), "--with-events", "--json")[1]
    told = json.loads(line.splitlines()[-1])
    assert shown["seq"] == told["seq"]
    assert shown["events"] == told["events"]
    if shown["book"] is not None:
        book = lockstep("book", str(day), shown["symbol"], "--at", str(shown["seq"]), "--depth", "60", "--json")[1]
        assert shown["book"] == json.loads(book)


@pytest.mark.slow
def test_two_directories_are_shown_where_they_differ(day: Path, tmp_path: Path, lockstep: Lockstep) -> None:
    text = lockstep("commands", str(day))[1].splitlines()
    at = [number for number, line in enumerate(text) if line.startswith("enter ")][900]
    text[at] = text[at].replace(" buy ", " buy 1", 1).replace(" sell ", " sell 1", 1)
    (tmp_path / "other.txt").write_text("\n".join(text) + "\n")
    other = tmp_path / "other"
    sizes = ["--orders-max", "4096", "--ids-max", "16384", "--instruments-max", "16", "--participants-max", "16"]
    assert lockstep("run", str(tmp_path / "other.txt"), "--data", str(other), *sizes)[0] == 0
    status, said, complaint = lockstep("inspect", str(day), str(other), "--json")
    assert status == 0, complaint
    a, b = checked(["inspect"], said)
    compared = json.loads(lockstep("compare", str(day), str(other), "--json")[1])
    assert a["seq"] == b["seq"] == compared["command"]["seq"]
    assert a["command"] != b["command"]
    sides = [Side(name, _facts(each), COMMANDS) for name, each in (("a", day), ("b", other))]
    assert "≠" not in text_of(page(sides, None, Line(""), "", 100, 40))
    sides = [Side(name, _facts(each, a["seq"]), COMMANDS) for name, each in (("a", day), ("b", other))]
    assert "≠" in text_of(page(sides, None, Line(""), "", 100, 40))


def _facts(directory: Path, seq: int = 100) -> Facts:
    return view(Walk(directory).at(seq))


def test_a_page_fits_every_terminal_and_cuts_no_price(day: Path) -> None:
    walk = Walk(day)
    time_ns = int(walk.at(COMMANDS).engine.now_ns)
    timeline = Timeline(day, time_ns)
    timeline.read()
    for seq in (1, 1_500, 2_000, COMMANDS):
        side = Side(str(day), view(walk.at(seq)), COMMANDS)
        for width in (20, 40, 80, 81, 119, 120, 160, 240):
            for height in (5, 12, 24, 25, 50):
                for sides in ([side], [side, side]):
                    rows = page(sides, timeline, Line("said"), "following", width, height)
                    assert len(rows) <= height
                    assert all(sum(len(piece.text) for piece in row) <= width for row in rows), (seq, width, height)
    facts = view(walk.at(1_500))
    shown = text_of(page([Side("day", facts, COMMANDS)], timeline, Line(""), "", 80, 24))
    for level in facts["book"]["bids"][:4]:
        assert f"{level['price_e4'] / 1e4:.2f}" in shown


@pytest.mark.parametrize("height", [3, 4, 5, 8, 20])
@pytest.mark.parametrize("orders", [1, 3, 4, 6, 40])
def test_the_order_itself_is_seen_in_every_queue(height: int, orders: int) -> None:
    for own in range(orders):
        listed = [
            {"participant": "P", "client_order_id": f"o{at}", "order_number": at, "leaves_qty": 10, "own": at == own}
            for at in range(orders)
        ]
        queue = {"side": "buy", "price_e4": 100_000, "stop_e4": None, "order_count": orders, "leaves_qty": 10}
        lines = queue_lines({"queue": {**queue, "unpriced": False, "orders": listed}}, 40, height)
        assert len(lines) <= height
        if height > 3 or own == 0:
            assert sum(line.text.startswith(">") for line in lines) == 1, (own, lines)


PEGS = """\
instrument XYZ tick=0.01 lot=1 reference=10.00
participant ALPHA
participant BETA
phase XYZ continuous
enter BETA h1 buy 30 XYZ @ 9.98 hidden
enter ALPHA p1 buy 50 XYZ @ 10.10 peg=primary offset=0.02
enter BETA b1 buy 200 XYZ @ 10.00
replace ALPHA p1 p2 60 @ 10.10
"""


def test_a_peg_is_in_the_queue_of_the_price_that_it_has(tmp_path: Path, lockstep: Lockstep) -> None:
    (tmp_path / "day.txt").write_text(PEGS)
    assert lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "node")[0] == 0
    last_seq = len(Plain(tmp_path / "node").rows)
    unpriced, priced = (view(Walk(tmp_path / "node").at(seq)) for seq in (last_seq - 2, last_seq))
    queue = unpriced["queue"]
    assert (queue["unpriced"], queue["price_e4"], queue["order_count"]) == (True, None, 1)
    assert queue_lines(unpriced, 60, 5)[0].text == "queue  buy pegs without a price: 1 order, 50"
    queue = priced["queue"]
    assert (queue["unpriced"], queue["price_e4"]) == (False, 99_800)
    assert [(each["client_order_id"], each["own"]) for each in queue["orders"]] == [("h1", False), ("p2", True)]


def test_without_a_terminal_a_sentence_says_what_to_do(day: Path, lockstep: Lockstep) -> None:
    status, said, complaint = lockstep("inspect", str(day))
    assert (status, said) == (2, "")
    assert "needs a terminal" in complaint
    assert "--json" in complaint


def test_without_textual_a_sentence_says_what_to_install(
    day: Path, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "textual" or name == "cli.inspect.terminal"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "textual", None)
    monkeypatch.setattr("cli.screen.is_live", lambda _stream: True)
    monkeypatch.setattr("sys.stdin", type("Terminal", (), {"isatty": lambda _: True})())
    status, _, complaint = lockstep("inspect", str(day))
    assert status == 2
    assert "pip install 'lockstep[inspect]'" in complaint


def test_a_directory_that_cannot_be_read_has_a_sentence(day: Path, tmp_path: Path, lockstep: Lockstep) -> None:
    (tmp_path / "empty").mkdir()
    shutil.copytree(day, tmp_path / "short")
    file = tmp_path / "short" / "journal" / "data.mdb"
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size // 2)
    for name, says in (("empty", "holds no journal"), ("none", "is not there"), ("short", "cut short")):
        status, said, complaint = lockstep("inspect", str(tmp_path / name), "--json")
        assert (status, said) == (2, ""), name
        assert says in complaint
        assert len(complaint.splitlines()) == 1, complaint
    status, _, complaint = lockstep("inspect", str(day), str(day), "--json")
    assert status == 2
    assert "same directory" in complaint
