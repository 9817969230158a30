"""Marks of FIX sessions in what people read of a journal: named for what they are, and no refusals of orders."""

import json
from pathlib import Path

import numpy as np
import pytest

from cli.main import run_line
from engine.records import COMMAND
from gateway.fix.marks import COPIES_NUMBER, Mark, context_of, mark_rows
from journal.history import History
from notation.fix_marks import is_mark, meaning, meanings
from replay.rebuild import owned_rows
from tests.conftest import Lockstep
from wire.fix_marks import MEANINGS

#: Two marks of ALPHA's user and one of a reader of drop copies, a refused order, and two cancels of no open order: one
#: of them has id 0, as marks have, and another protocol.
DAY = f"""\
at 2024-01-15T09:30:00
instrument XYZ tick=0.01 lot=1 reference=10.00
participant ALPHA
phase XYZ continuous
cancel ALPHA ~0000000000000000 qty=7 context={context_of(1, 2, Mark.SESSION):016x}
enter ALPHA a1 buy 100 XYZ @ 9.00 context={context_of(1, 3):016x}
cancel ALPHA ~0000000000000000 qty=8 context={context_of(1, 4, Mark.BUSINESS_REJECT):016x}
cancel ALPHA ~0000000000000000 qty=9 context={context_of(2, 4, Mark.SESSION, COPIES_NUMBER):016x}
enter ALPHA a1 buy 100 XYZ @ 9.00 context={context_of(1, 5):016x}
cancel ALPHA a9 context={context_of(1, 6):016x}
cancel ALPHA ~0000000000000000 context=0001000000000001
"""
MARKS = {5: "FIX session message, no order", 7: "FIX business reject, no order", 8: "FIX session message, no order"}


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with DAY in it. Read only."""
    folder = tmp_path_factory.mktemp("marks")
    (folder / "day.txt").write_text(DAY)
    assert run_line(["run", str(folder / "day.txt"), "--data", str(folder / "node")]) == 0
    return folder / "node"


def commands_of(directory: Path) -> "np.ndarray[tuple[int], np.dtype[np.void]]":
    with History.open(directory) as history:
        return np.concatenate([owned_rows(block.rows) for block in history.blocks(1)])


def test_a_mark_is_told_from_a_cancel(day: Path) -> None:
    found = commands_of(day)
    assert (np.flatnonzero(is_mark(found)) + 1).tolist() == list(MARKS)
    assert meanings(found, np.arange(1, len(found) + 1)) == MARKS


def test_each_kind_of_mark_has_its_words_and_one_of_a_later_release_its_number() -> None:
    assert set(MEANINGS) == set(Mark) - {Mark.ORDER}
    for mark in MEANINGS:
        (row,) = mark_rows(context_of(1, 0, mark), 1, 7)
        assert is_mark(np.frombuffer(row, COMMAND)).all()
        assert meaning(context_of(1, 0, mark)) == f"FIX {MEANINGS[mark]}, no order"
    assert meaning(context_of(1, 0) | 40 << 48) == "FIX mark 40, no order"


def test_prints_say_what_a_mark_stands_for(day: Path, lockstep: Lockstep) -> None:
    def lines(*words: str) -> list[str]:
        status, said, complaint = lockstep(*words)
        assert status == 0, complaint
        return said.splitlines()

    refused = "> cancel_rejected ~0000000000000000 reason=unknown_order"
    events = [line for line in lines("events", str(day)) if line.startswith(refused)]
    assert events == [*(f"{refused}  # ALPHA: {MARKS[seq]}" for seq in MARKS), f"{refused}  # ALPHA"]
    commands = [line for line in lines("commands", str(day)) if line.startswith("cancel")]
    assert [line.partition("  # ")[2] for line in commands] == [*MARKS.values(), "", ""]
    reports = [line for line in lines("events", str(day), "--reports") if line.startswith("> cancel_rejected")]
    assert [line.partition("  # ")[2] for line in reports] == [*MARKS.values(), "", ""]
    (because,) = [line for line in lines("why", str(day), "7") if line.startswith(">")]
    assert f": {MARKS[7]}: the market refuses it, and no client is told (" in because
    (because,) = [line for line in lines("why", str(day), "10") if line.startswith(">")]
    assert "the participant has no open order with this id" in because


def test_messages_of_sessions_can_be_left_out_of_prints(day: Path, lockstep: Lockstep) -> None:
    def seqs(*words: str) -> list[str]:
        status, said, complaint = lockstep(words[0], str(day), *words[1:], "--with-seq")
        assert status == 0, complaint
        return [line.partition("  # ")[2].split()[0] for line in said.splitlines() if "  # " in line]

    marks = {str(seq) for seq in MARKS}
    for words in (
        ("events",),
        ("events", "--kind", "cancel_rejected"),  # by the index
        ("events", "--participant", "ALPHA"),
        ("events", "--reports"),
        ("events", "--reports", "--participant", "ALPHA"),
        ("commands",),
        ("commands", "--participant", "ALPHA"),
        ("tail", "--from", "1", "--to", "11"),
        ("tail", "--commands", "--from", "1", "--to", "11"),
        ("tail", "--reports", "--from", "1", "--to", "11"),
    ):
        every, left = seqs(*words), seqs(*words, "--without-sessions")
        assert marks <= {seq.split(".")[0] for seq in every}, words
        assert left == [seq for seq in every if seq.split(".")[0] not in marks], words


def test_exports_say_which_refused_cancels_name_no_order(day: Path, tmp_path: Path, lockstep: Lockstep) -> None:
    pytest.importorskip("duckdb", reason="the extra export is not installed")
    status, said, _ = lockstep("export", day, "--format", "parquet", "--out", tmp_path / "out")
    assert (status, "gives the event digest of the journal" in said) == (0, True)
    words = ["ask", tmp_path / "out", "participant", "--with", "participant=ALPHA"]
    _, said, _ = lockstep(*words, "--json")
    told = {row["seq"]: row["reason"] for row in map(json.loads, said.splitlines())}
    assert {seq: told[seq] for seq in MARKS} == dict.fromkeys(MARKS, "names no order, as a FIX session message does")
    assert (told[9], told[10]) == ("duplicate_id", "unknown_order")
    assert lockstep(*words)[1].count("names no order, as a FIX session message does") == len(MARKS) + 1


def test_the_print_of_marks_runs_again_to_the_same_journal(day: Path, tmp_path: Path, lockstep: Lockstep) -> None:
    _, said, _ = lockstep("commands", str(day))
    (tmp_path / "again.txt").write_text(said)
    assert run_line(["run", str(tmp_path / "again.txt"), "--data", str(tmp_path / "again")]) == 0
    assert commands_of(tmp_path / "again").tobytes() == commands_of(day).tobytes()


def test_marks_are_neither_cancels_nor_refusals_of_a_participant(day: Path, tmp_path: Path, lockstep: Lockstep) -> None:
    """Refused are the second a1, the cancel of a9 and that of id 0 by another protocol."""
    status, said, complaint = lockstep(
        *("incident", str(day), "--out", str(tmp_path / "report.md"), "--no-pictures", "--json")
    )
    assert status == 0, complaint
    facts = json.loads(said)
    (alpha,) = facts["participants"]
    assert (alpha["orders"], alpha["cancels"], alpha["refused"]) == (2, 2, 3)
    assert sum(each["count"] for each in facts["refusals"]) == 3
    assert facts["peak"]["refusals"] == 3


def test_a_note_about_cancels_of_unknown_orders_leaves_marks_out(day: Path, lockstep: Lockstep) -> None:
    _, _, note = lockstep("events", str(day), "--symbol", "XYZ")
    assert "note: 1 rejected cancel or replace left out" in note


def test_a_print_says_which_row_is_the_list_of_a_node_of_its_own_halts(tmp_path: Path, lockstep: Lockstep) -> None:
    """An index that an operator defines has members too, and no such words."""
    day = [*DAY.splitlines()[:4], "halt XYZ", "members halted XYZ:4", "members IDX XYZ:4"]
    (tmp_path / "day.txt").write_text("\n".join(day) + "\n")
    assert run_line(["run", str(tmp_path / "day.txt"), "--data", str(tmp_path / "node")]) == 0
    _, said, _ = lockstep("commands", str(tmp_path / "node"))
    assert said.splitlines()[-2:] == [
        "members halted XYZ:4  # halted by the node itself; numbers of the phases to restore",
        "members IDX XYZ:4",
    ]
