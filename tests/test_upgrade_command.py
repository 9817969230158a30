"""`lockstep upgrade`: shows what will change and asks; without a terminal it needs --yes."""

import errno
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cli.interrupts import Terminated
from journal import Journal
from journal.slices import places
from tests.conftest import Lockstep
from tests.golden.releases import release_copy
from tests.json_schemas import checked
from tests.nodes import SMALL, write_node
from tests.streams import random_stream
from tests.upgrades import is_upgraded, written_again


class Terminal(io.StringIO):
    """Standard input of a person who types one line."""

    def isatty(self) -> bool:
        """True."""
        return True


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A copy of the directory of the release before this one."""
    return release_copy("release-0.1", tmp_path / "node")


def test_an_upgrade_without_a_terminal_shows_what_will_change_and_needs_yes(old: Path, lockstep: Lockstep) -> None:
    status, said, complaint = lockstep("upgrade", old)
    assert (status, complaint) == (2, f"lockstep: nothing was changed; give --yes to upgrade {old}\n")
    assert len(places(old)) == 1
    told = " ".join(said.split())
    for part in (
        "rules version 3 -> 6",
        "capacity as before",
        "32 open orders, 4 participants, 2 users, 57 orders accepted, 13 trades",
        "last command 111, at 2024-01-17T09:30:03.25",
        "15 blocks with 111 commands are whole, byte for byte",
        "this release cannot replay those of slice 1, and they are not kept",
        "- rules version 4: an order good for the day is canceled when another trading day begins",
        "- rules version 5: the reign of a new primary begins with an epoch command",
        "- rules version 6: stop and stop-limit orders are accepted",
        "- the venue has a new field epoch, which is 0 until a primary begins its reign",
        "- 6 open orders good for the day are of an earlier trading day; with this day they end too",
        "The closed slice stays, read-only",
    ):
        assert told.count(part) == 1, part
    assert told.count("an order good for the day is canceled") == 1, "the rules are told once"
    status, said, _ = lockstep("upgrade", old, "--json")
    (facts,) = checked(("upgrade",), said)
    assert (status, facts["upgraded"], facts["plan"]["open_orders"], len(places(old))) == (2, False, 32, 1)
    assert facts["plan"]["day_orders_that_end"] == 6
    status, said, _ = lockstep("upgrade", old, "--yes")
    assert (status, said.endswith("slice 1 is closed. Start the node as before\n")) == (0, True)
    assert is_upgraded(old, "release-0.1")


@pytest.mark.parametrize(("typed", "status"), [("yes\n", 0), ("y\n", 1), ("\n", 1), ("", 1)])
def test_an_upgrade_asks_on_a_terminal(
    old: Path, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch, typed: str, status: int
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    given, said, complaint = lockstep("upgrade", old)
    assert (given, "Type yes to upgrade: " in complaint) == (status, True)
    assert ("slice 2 begins" in said, len(places(old))) == ((True, 2) if status == 0 else (False, 1))
    assert complaint.endswith("lockstep: nothing was changed\n") == (status == 1)
    assert typed or complaint == "Type yes to upgrade: \nlockstep: nothing was changed\n", "on a line of its own"


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, Terminated])
def test_an_interrupt_at_the_question_changes_nothing_and_is_told_on_a_line_of_its_own(
    old: Path, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch, interrupt: type[BaseException]
) -> None:
    class Interrupted(Terminal):
        def readline(self, *_: Any) -> str:
            raise interrupt

    monkeypatch.setattr("sys.stdin", Interrupted())
    status, _, complaint = lockstep("upgrade", old)
    word = "terminated" if interrupt is Terminated else "interrupted"
    assert (status, complaint) == (
        143 if interrupt is Terminated else 130,
        f"Type yes to upgrade: \nlockstep: {word}\n",
    )
    assert len(places(old)) == 1


def test_an_upgrade_keeps_the_events_that_this_release_can_still_replay(tmp_path: Path, lockstep: Lockstep) -> None:
    old = written_again("release-rules-4", tmp_path / "node")
    shutil.copytree(old, tmp_path / "other")
    status, said, _ = lockstep("upgrade", old, "--yes", "--orders-max", 800)
    assert (status, "those of slice 1 are kept beside it" in said) == (0, True)
    assert places(old)[0].events.exists()
    status, said, _ = lockstep("upgrade", tmp_path / "other", "--yes", "--orders-max", 800, "--no-keep-events")
    assert (status, "`lockstep journal keep-events" in said) == (0, True)
    assert not places(tmp_path / "other")[0].events.exists()


def test_events_that_could_not_be_kept_are_told_with_what_to_do_and_the_upgrade_stands(
    tmp_path: Path, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = written_again("release-rules-4", tmp_path / "node")

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(places(old)[0].events))

    monkeypatch.setattr("cli.upkeep.archive.keep_events_of", full)
    status, said, complaint = lockstep("upgrade", old, "--yes", "--orders-max", 800)
    assert (status, "slice 2 begins" in said, len(places(old))) == (75, True, 2)
    assert (
        f"slice 2 has begun, but the events of slice 1 are not kept: the disk of {places(old)[0].events}" in complaint
    )
    assert f"`lockstep journal keep-events {old}` keeps them" in complaint


def test_the_capacity_of_a_slice_without_commands_can_be_upgraded(tmp_path: Path, lockstep: Lockstep) -> None:
    old = written_again("release-rules-4", tmp_path / "node")
    assert lockstep("upgrade", old, "--yes", "--orders-max", 600)[0] == 0
    status, said, complaint = lockstep("upgrade", old, "--yes", "--orders-max", 800)
    assert (status, "there is no command" in complaint) == (0, False)
    assert "orders_max 600 -> 800" in said
    assert "slice 2 has no command, and the image that it starts from is whole" in said
    assert len(places(old)) == 3
    assert lockstep("verify", old)[0] == 0
    places(old)[2].start_image.unlink()
    status, said, _ = lockstep("upgrade", old, "--yes", "--orders-max", 900)
    assert status == 2
    places(old)[1].start_image.unlink()


def test_a_roll_says_what_capacity_changed_and_calls_no_fault_what_is_none(tmp_path: Path, lockstep: Lockstep) -> None:
    old = written_again("release-rules-4", tmp_path / "node")
    assert lockstep("upgrade", old, "--yes", "--orders-max", 600)[0] == 0
    status, said, complaint = lockstep("roll", old, "--orders-max", 800)
    assert (status, complaint) == (0, "")
    assert " and orders_max 600 -> 800; slice 2 is closed" in said


def test_an_upgrade_with_json_is_one_object_and_a_second_one_has_nothing_to_do(
    tmp_path: Path, lockstep: Lockstep
) -> None:
    old = written_again("release-rules-4", tmp_path / "node")
    status, said, _ = lockstep("upgrade", old, "--yes", "--json", "--orders-max", 900)
    (facts,) = checked(("upgrade",), said)
    assert (status, facts["upgraded"], facts["slice"], facts["plan"]["re_executed"]) == (0, True, 2, True)
    assert facts["plan"]["capacity"] == facts["plan"]["capacity_before"] | {"orders_max": 900}
    status, said, _ = lockstep("upgrade", old, "--json")
    assert (status, json.loads(said)) == (
        0,
        {"directory": str(old), "upgraded": False, "slice": None, "size_bytes": None, "plan": None},
    )
    status, said, complaint = lockstep("upgrade", old)
    assert (status, complaint) == (0, "")
    assert said == f"nothing to do: {old} has the rules, form and capacity of this release already\n"
    for words in (["verify"], ["doctor"], ["state"], ["journal", "check"], ["events"], ["commands"]):
        assert lockstep(*words, old)[0] == 0, words


def test_commands_read_what_is_there_of_the_slice_of_other_rules(old: Path, lockstep: Lockstep) -> None:
    assert lockstep("upgrade", old, "--yes")[0] == 0
    for words in (["verify"], ["doctor"], ["state"], ["journal", "check"], ["commands"], ["checkpoint", "list"]):
        assert lockstep(*words, old)[0] == 0, words
    status, _, complaint = lockstep("events", old)
    assert (status, "the events are not kept beside it" in complaint) == (2, True)


def test_a_capacity_that_is_too_small_or_impossible_is_told_in_a_sentence(old: Path, lockstep: Lockstep) -> None:
    status, _, complaint = lockstep("upgrade", old, "--yes", "--participants-max", 2)
    assert (status, complaint.count("\n"), "4 participants do not fit into participants_max 2" in complaint) == (
        2,
        1,
        True,
    )
    status, _, complaint = lockstep("upgrade", old, "--yes", "--participants-max", 10**9)
    assert (status, complaint.count("\n"), "participants" in complaint) == (2, 1, True)
    assert len(places(old)) == 1


def test_what_cannot_be_upgraded_is_told_in_a_sentence(tmp_path: Path, old: Path, lockstep: Lockstep) -> None:
    with Journal.open(old):
        status, _, complaint = lockstep("upgrade", old, "--yes")
    assert (status, "is being written by process" in complaint) == (75, True)
    for path in (old / "checkpoints").iterdir():
        path.unlink()
    status, _, complaint = lockstep("upgrade", old, "--yes")
    assert (status, "start and stop the node once with the release that wrote it" in complaint) == (2, True)
    status, _, complaint = lockstep("upgrade", tmp_path / "nothing", "--yes")
    assert (status, "holds no journal" in complaint) == (2, True)


def test_a_command_that_meets_other_rules_names_the_upgrade(old: Path, lockstep: Lockstep) -> None:
    for words in (["state", old], ["verify", old], ["serve", "--data", old, "--port", "0"]):
        status, _, complaint = lockstep(*words)
        assert (status, "`lockstep upgrade`" in complaint) == (2, True), words


def test_a_directory_of_this_release_needs_no_upgrade(tmp_path: Path, lockstep: Lockstep) -> None:
    write_node(tmp_path / "node", random_stream(3, 50))
    assert lockstep("upgrade", tmp_path / "node")[1].startswith("nothing to do: ")
    assert lockstep("upgrade", tmp_path / "node", "--orders-max", SMALL.orders_max)[1].startswith("nothing to do: ")


def test_a_past_state_of_an_upgraded_directory_names_no_upgrade(old: Path, lockstep: Lockstep) -> None:
    assert lockstep("upgrade", old, "--yes")[0] == 0
    status, _, complaint = lockstep("state", old, "--at", 50)
    assert (status, "slice 1 of" in complaint, "upgrade" in complaint) == (2, True, False)
    assert "`lockstep commands` prints its commands" in complaint
    assert lockstep("commands", old, "--to", 50)[0] == 0
    assert lockstep("state", old)[0] == 0
