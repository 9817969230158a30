"""A directory of a pair becomes no second market: a node without an arbiter refuses it, until it leaves its pair."""

import os
import signal
from pathlib import Path

import pytest

from directory import pair_membership
from directory.divergence import directory_id
from directory.incomplete import BEGUN_EMPTY, mark_incomplete, why_incomplete
from directory.pair_membership import PairDirectory, check_single, join_pair, leave_pair
from node.core.opening import open_directory
from tests.conftest import Lockstep
from tests.pair_processes import nodes
from tests.running import SMALL_CAPACITY, Running
from tests.test_node_pair import CAPACITY


def of_a_pair(directory: Path) -> Path:
    """A directory on which a node of a pair has run."""
    with open_directory(directory, CAPACITY, "fsync").journal:
        pass
    directory_id(directory)
    return directory


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file() and path.name != "lock.mdb"}


def test_a_node_without_an_arbiter_refuses_the_directory_of_a_pair_and_changes_nothing(
    tmp_path: Path, lockstep: Lockstep
) -> None:
    data = of_a_pair(tmp_path / "node")
    before = contents(data)
    status, _, said = lockstep("serve", "--data", data, "--port", 0)
    assert status == 2
    assert f"{data} belongs to a pair" in said
    assert "--arbiter" in said
    assert "--leave-pair" in said
    assert contents(data) == before


def test_a_directory_that_was_begun_as_a_copy_is_of_a_pair_also_before_it_has_a_journal(
    tmp_path: Path, lockstep: Lockstep
) -> None:
    data = tmp_path / "node"
    (data / "fetch.new").mkdir(parents=True)
    mark_incomplete(data, BEGUN_EMPTY)
    status, _, said = lockstep("serve", "--data", data, "--port", 0)
    assert (status, "belongs to a pair" in said, BEGUN_EMPTY in said) == (2, True, True), said
    assert not (data / "journal").exists()


def test_a_run_adds_no_commands_to_the_directory_of_a_pair(tmp_path: Path, lockstep: Lockstep) -> None:
    data = of_a_pair(tmp_path / "node")
    (tmp_path / "more.txt").write_text("instrument XYZ tick=0.01 lot=1 reference=10.00\n")
    before = contents(data)
    status, _, said = lockstep("run", tmp_path / "more.txt", "--data", data, "--append")
    assert (status, f"{data} belongs to a pair" in said) == (2, True), said
    assert contents(data) == before


def test_a_directory_that_never_was_of_a_pair_is_a_market_of_its_own(tmp_path: Path) -> None:
    with open_directory(tmp_path / "node", CAPACITY, "fsync").journal:
        pass
    check_single(tmp_path / "node")
    check_single(tmp_path / "missing")
    assert not leave_pair(tmp_path / "node")
    assert not join_pair(tmp_path / "node")
    assert not why_incomplete(tmp_path / "node")


def test_a_directory_that_left_its_pair_joins_one_again_as_a_copy_that_may_lack_orders(tmp_path: Path) -> None:
    data = of_a_pair(tmp_path / "node")
    assert leave_pair(data)
    check_single(data)
    assert not leave_pair(data), "it has left already"
    assert join_pair(data)
    assert "left its pair" in why_incomplete(data)
    with pytest.raises(PairDirectory):
        check_single(data)
    assert not join_pair(data)


def test_a_kill_while_a_directory_joins_again_leaves_it_single_or_incomplete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = of_a_pair(tmp_path / "node")
    assert leave_pair(data)

    unlink = Path.unlink

    def killed(path: Path, missing_ok: bool = False) -> None:
        if path.name == pair_membership.MARK:
            raise KeyboardInterrupt
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", killed)
    with pytest.raises(KeyboardInterrupt):
        join_pair(data)
    monkeypatch.undo()
    assert why_incomplete(data)


@pytest.mark.slow
def test_a_node_leaves_its_pair_by_a_named_option_once_and_for_all_starts(tmp_path: Path) -> None:
    data = of_a_pair(tmp_path / "node")
    mark_incomplete(data, BEGUN_EMPTY)
    leaving = Running(data, "--leave-pair")
    leaving.start()
    assert leaving.status()["state"] == "open"
    assert leaving.end(signal.SIGTERM) == 0
    assert f"acknowledged orders may be missing here: {BEGUN_EMPTY}" in leaving.logged()
    again = Running(data)
    again.start()
    assert again.end(signal.SIGTERM) == 0


def test_a_node_of_a_pair_cannot_leave_it_in_the_same_start(tmp_path: Path, lockstep: Lockstep) -> None:
    line = ("serve", "--data", tmp_path / "node", *SMALL_CAPACITY, "--leave-pair")
    status, _, said = lockstep(*line, "--arbiter", "witness://127.0.0.1:9010")
    assert (status, "--leave-pair" in said, "--arbiter" in said) == (2, True, True)
    assert not os.path.exists(tmp_path / "node")


@pytest.mark.slow
def test_a_dissolved_pair_is_formed_again_by_the_word_of_the_operator(tmp_path: Path, lockstep: Lockstep) -> None:
    with nodes(tmp_path) as found:
        a = found.add("A")
        a.start()
        a.awaits(role="primary", state="reigning")
        assert a.end(signal.SIGTERM) == 0
        single = Running(a.data, "--leave-pair")
        single.start()
        single.set_up()
        seq = single.status()["seq"]
        assert single.end(signal.SIGTERM) == 0
        a.start()
        a.awaits(role="standby", can_take_over=0)
        assert "left its pair" in a.pair()["cannot_take_over_reason"]
        assert lockstep("promote", a.data, "--force", "--reason", "a new pair", "--yes")[0] == 0
        a.awaits(role="primary", state="reigning")
        assert a.pair()["seq"] >= seq
        assert not why_incomplete(a.data)
