"""A `lockstep run` that was killed is run again: it goes on where its journal ends, and ends where it would have.

The kills are real SIGKILLs of the program, at moments told by the journal itself. The control is an input that
another byte has come into: it is refused, and a build that does not compare is shown to take it.
"""

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from directory.recover import create
from directory.resume import JournalBeginning
from engine import COMMAND, Engine
from journal import Journal
from journal.opening import read_tail
from notation.print import Printer
from sequencer.pump import pump
from sequencer.stamp import FileStamp
from tests import nursery
from tests.conftest import Lockstep
from tests.nodes import SMALL, TINY, batches
from tests.streams import random_stream
from tests.test_lobster import published


def day(first: int, commands: int, *, late: str = "") -> str:
    """A morning of so many orders, of which every third trades, with a definition among them."""
    lines = []
    for at in range(first, first + commands):
        lines += [f"at +{at % 7}us"] if at % 5 == 0 else []
        side, price = ("sell", 1000 + at % 9) if at % 3 else ("buy", 1004)
        lines.append(f"enter {'ALPHA' if at % 2 else 'BETA'} o{at} {side} {at % 40 + 1} XYZ @ {price / 100:.2f}")
        lines += [f"enter GAMMA g{at} buy 1 {late} @ 1"] if late and at % 11 == 0 else []
        lines += [f"participant GAMMA\ninstrument {late} tick=0.01 lot=1 reference=1.00"] if late and at == 57 else []
    return "\n".join(lines) + "\n"


HEAD = """\
instrument XYZ tick=0.01 lot=1 reference=10.00
participant ALPHA
participant BETA
phase XYZ continuous
"""


def last_seq(node: Path) -> int:
    """Last durable command by the mark of the journal's last commit; -1 while there is none."""
    mark, _ = read_tail(node / "journal")
    return -1 if mark is None else mark.last_seq


def kill_at(node: Path, seq: int, line: list[str]) -> int:
    """Start the program and kill it once command ``seq`` is durable; how far the journal then is."""
    process = nursery.spawn(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until_s = time.monotonic() + 60
        while last_seq(node) < seq and process.poll() is None and time.monotonic() < until_s:
            time.sleep(0.0005)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == -signal.SIGKILL, "it ended by itself, so this was no kill"
    if not (node / "journal").is_dir():
        return -1
    # The mark beside the journal may be one commit late: it is written after it.
    with Journal.open(node) as journal:
        return journal.last_seq


def facts(said: str) -> dict[str, object]:
    """JSON output of the program."""
    assert said
    found: dict[str, object] = json.loads(said.splitlines()[-1])
    return found


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends_as_if_it_had_never_been(tmp_path: Path, lockstep: Lockstep) -> None:
    (tmp_path / "a.txt").write_text(HEAD + day(0, 3_000, late="LATE"))
    (tmp_path / "b.txt").write_text(day(3_000, 3_000))
    files = [str(tmp_path / "a.txt"), str(tmp_path / "b.txt")]
    whole, node = tmp_path / "whole", tmp_path / "node"
    status, said, complaint = lockstep("run", *files, "--data", whole, "--json")
    assert complaint == ""
    assert (status, facts(said)["continued_after_seq"]) == (0, 0)
    end = int(str(facts(said)["seq"]))
    line = ["run", *files, "--data", str(node), "--block-rows", "3", "--checkpoint-every", "750"]
    ends = [kill_at(node, seq, line) for seq in (0, 1, end // 4, end // 2 + 100, end - 1_500)]
    assert ends == sorted(ends)
    assert ends[-1] < end, "the kills came too late to show anything"
    status, said, complaint = lockstep("run", *files, "--data", node, "--json")
    assert status == 0
    told = facts(said)
    assert (told["continued_after_seq"], told["seq"], told["commands"]) == (ends[-1], end, end - ends[-1])
    assert f"continued after command {ends[-1]:,}" in complaint
    assert sorted((node / "checkpoints").glob("*.checkpoint")), "recovery had no checkpoint to start from"
    state = json.loads(lockstep("state", whole, "--json")[1])
    assert told["event_digest"] == state["event_digest"]
    compared = json.loads(lockstep("compare", whole, node, "--json")[1])
    assert (compared["same"], compared["seq"], compared["prefix_of"]) == (True, end, None)
    assert lockstep("verify", node, "--workers", 1)[0] == 0


@pytest.mark.slow
def test_a_killed_lobster_run_goes_on_and_checks_every_row(tmp_path: Path, lockstep: Lockstep) -> None:
    market = published(3, 8, 2_000)
    messages, book = tmp_path / "XYZ_2012-06-21_1_message_8.csv", tmp_path / "book.csv"
    messages.write_text("".join(market.messages))
    book.write_text("".join(market.book))
    plain = ["run", str(messages), "--format", "lobster", "--book", str(book), "--block-rows", "3"]
    line = [*plain, "--check", str(book)]
    status, said, _ = lockstep(*line, "--data", tmp_path / "whole", "--json")
    whole = facts(said)
    assert status == 0
    end = int(str(whole["seq"]))
    node = tmp_path / "node"
    met = kill_at(node, end // 3, [*line, "--data", str(node)])
    status, said, _ = lockstep(*line, "--data", node, "--json")
    told = facts(said)
    assert (status, told["continued_after_seq"], told["event_digest"]) == (0, met, whole["event_digest"])
    assert 0 < met < end
    assert told["lobster"] == whole["lobster"]
    status, said, complaint = lockstep(*line, "--data", node, "--json")
    assert (status, facts(said)["commands"], facts(said)["lobster"]) == (0, 0, whole["lobster"])
    assert "nothing was added" in complaint
    messages.write_text("".join([*market.messages[:1_000], *market.messages[1_001:]]))
    before = (node / "journal" / "data.mdb").read_bytes()
    status, said, complaint = lockstep(*plain, "--data", node)
    assert (status, said) == (2, "")
    assert "does not begin with the commands of" in complaint
    assert (node / "journal" / "data.mdb").read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["kernel", "reference"])
@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_hostile_day_goes_on_from_whichever_command_it_broke_off_at(
    seed: int, engine: str, tmp_path: Path, lockstep: Lockstep
) -> None:
    rows = random_stream(seed, 700, hostile=0.1, garbage=0.1, control=0.1)
    sound = Engine(SMALL)
    events = sound.apply(rows)
    text = "\n".join(Printer().print_block(rows, events, 1, with_events=False)) + "\n"
    assert "raw " in text
    (tmp_path / "day.txt").write_text(text)
    cuts = [1, 2, 9, *np.random.default_rng(seed).integers(10, len(rows), 4).tolist(), len(rows) - 1, len(rows)]
    for cut in cuts:
        node = tmp_path / f"node{cut}"
        journal, machine = create(node, SMALL)
        with journal:
            pump(batches(rows[:cut], 5), FileStamp(), journal, machine)
        line = ["run", tmp_path / "day.txt", "--data", node, "--block-rows", 7, "--engine", engine, "--json"]
        status, said, _ = lockstep(*line)
        told = facts(said)
        assert (status, told["continued_after_seq"], told["seq"]) == (0, cut, len(rows))
        assert told["event_digest"] == sound.event_digest.hex()
        shutil.rmtree(node)


def test_an_extend_row_at_the_very_end_still_belongs_to_the_clock_that_follows(
    tmp_path: Path, lockstep: Lockstep
) -> None:
    """A CLOCK row behind an EXTEND row is refused, so the time that stands in the block's header does not move."""
    extend, clock = np.zeros(1, COMMAND), np.zeros(1, COMMAND)
    extend["kind"], extend["name"] = 19, 65
    clock["kind"], clock["time_ns"] = 1, 10**18
    text = "at 09:30\nraw " + extend.tobytes().hex() + "\nraw " + clock.tobytes().hex() + "\n"
    (tmp_path / "day.txt").write_text(text)
    (tmp_path / "two.txt").write_text("".join(text.splitlines(keepends=True)[:2]))
    assert lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "whole", "--block-rows", 1)[0] == 0
    assert lockstep("run", tmp_path / "two.txt", "--data", tmp_path / "node")[0] == 0
    assert lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "node")[0] == 0
    clocks = [json.loads(lockstep("journal", "info", tmp_path / name, "--json")[1])["last_time"]
              for name in ("whole", "node")]  # fmt: skip
    assert clocks == ["2024-01-15T09:30:00.000000000Z"] * 2


def test_a_changed_file_is_refused_by_the_number_of_the_first_other_command(tmp_path: Path, lockstep: Lockstep) -> None:
    text = HEAD + day(0, 50)
    (tmp_path / "day.txt").write_text(text)
    assert lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "node", "--block-rows", 8)[0] == 0
    before = (tmp_path / "node" / "journal" / "data.mdb").read_bytes()
    number = text.splitlines().index("enter ALPHA o31 sell 32 XYZ @ 10.04") + 1
    (tmp_path / "day.txt").write_text(text.replace("o31 sell 32 XYZ @ 10.04", "o31 sell 32 XYZ @ 10.05"))
    status, said, complaint = lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "node")
    assert (status, said, complaint.count("\n")) == (2, "", 1)
    # The clock that the file begins with, unwritten, is a command too.
    assert f"command {number + 1:,} differs from {tmp_path / 'day.txt'}:{number} in its price" in complaint
    assert (tmp_path / "node" / "journal" / "data.mdb").read_bytes() == before


def test_a_build_that_does_not_compare_takes_a_changed_file(
    tmp_path: Path, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test above: what is compared is what keeps another input out."""

    def meet(self: JournalBeginning, rows: np.ndarray) -> int:  # type: ignore[type-arg]
        count = min(len(rows), self.last_seq - self.seq)
        self.seq += count
        return count

    (tmp_path / "day.txt").write_text(HEAD + day(0, 20))
    (tmp_path / "other.txt").write_text((HEAD + day(0, 40)).replace("o7 sell 8 ", "o7 sell 9 "))
    assert lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "node")[0] == 0
    assert lockstep("run", tmp_path / "other.txt", "--data", tmp_path / "node")[0] == 2
    monkeypatch.setattr(JournalBeginning, "meet", meet)
    assert lockstep("run", tmp_path / "other.txt", "--data", tmp_path / "node")[0] == 0
    assert lockstep("run", tmp_path / "other.txt", "--data", tmp_path / "right")[0] == 0
    assert lockstep("compare", tmp_path / "node", tmp_path / "right")[0] == 1


def test_what_is_there_already_is_said_and_adds_nothing(tmp_path: Path, lockstep: Lockstep) -> None:
    (tmp_path / "day.txt").write_text(HEAD + "> phase XYZ continuous\n")
    (tmp_path / "more.txt").write_text("enter ALPHA a1 sell 1 XYZ @ 10.00\n")
    node = tmp_path / "node"
    assert lockstep("run", tmp_path / "day.txt", "--data", node)[0] == 0
    status, said, complaint = lockstep("run", tmp_path / "day.txt", "--data", node)
    assert (status, "commands" in said) == (0, False)
    assert f"the 5 commands of {tmp_path / 'day.txt'} are in {node} already; nothing was added" in complaint
    assert "run compares no events" in complaint
    assert lockstep("run", tmp_path / "more.txt", "--data", node)[0] == 2
    assert lockstep("run", tmp_path / "more.txt", "--data", node, "--append")[0] == 0
    status, _, complaint = lockstep("run", tmp_path / "day.txt", "--data", node)
    assert (status, "which continues to command 6; nothing was added" in complaint) == (0, True)
    status, _, complaint = lockstep("run", tmp_path / "day.txt", tmp_path / "more.txt", "--data", node)
    assert (status, "the 6 commands" in complaint) == (0, True)


def test_what_a_kill_leaves_before_there_is_a_journal_is_no_obstacle(tmp_path: Path, lockstep: Lockstep) -> None:
    (tmp_path / "day.txt").write_text(HEAD)
    node = tmp_path / "node"
    (node / "journal.new").mkdir(parents=True)
    (node / "journal.new" / "data.mdb").write_bytes(b"half a file")
    (node / "lock").write_text("123\n")
    assert lockstep("run", tmp_path / "day.txt", "--data", node)[0] == 0
    assert lockstep("verify", node, "--workers", 1)[0] == 0


def test_appending_needs_something_to_append_to(tmp_path: Path, lockstep: Lockstep) -> None:
    (tmp_path / "day.txt").write_text(HEAD)
    status, _, complaint = lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "node", "--append")
    assert (status, "there is no journal" in complaint, (tmp_path / "node").exists()) == (2, True, False)


def test_a_directory_that_was_rolled_is_compared_from_its_first_slice_on(tmp_path: Path, lockstep: Lockstep) -> None:
    text = HEAD + day(0, 60)
    (tmp_path / "day.txt").write_text(text)
    node, half = tmp_path / "node", len(text.splitlines()) // 2
    (tmp_path / "half.txt").write_text("\n".join(text.splitlines()[:half]) + "\n")
    assert lockstep("run", tmp_path / "half.txt", "--data", node, *TINY)[0] == 0
    assert lockstep("roll", node)[0] == 0
    for _ in range(2):  # the rest is added; then there is nothing to add
        status, _, complaint = lockstep("run", tmp_path / "day.txt", "--data", node)
        assert status == 0, complaint
    assert "are in" in complaint
    assert lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "right", *TINY)[0] == 0
    assert lockstep("compare", node, tmp_path / "right")[0] == 0
    (tmp_path / "day.txt").write_text(text.replace("o7 sell 8 ", "o7 sell 9 "))
    status, _, complaint = lockstep("run", tmp_path / "day.txt", "--data", node)
    assert (status, "does not begin with the commands of" in complaint) == (2, True)
    shutil.rmtree(node / "journal")
    status, _, complaint = lockstep("run", tmp_path / "day.txt", "--data", node)
    assert (status, "slice 1 of the journal is not in" in complaint) == (2, True)
