"""Two data directories under one node name: only the one that the arbiter's record names may take over."""

import asyncio
import io
import json
import shutil
from pathlib import Path

import pytest

from directory.begin import holds_journal
from node import program
from node.pair.plan import PairOptions
from node.programs.logs import Log
from replication import link
from replication.arbiter import Candidate
from replication.copy_connection import Copy
from replication.primary import Primary, Settings
from replication.register import Register
from tests.rows import participant
from tests.test_node_pair import SECRET, Member, start_rows, until, with_pair


def _twin_of(tmp_path: Path, register: Register, a: Member, journal_of: str) -> Member:
    """A second node B, whose directory is a copy of another one."""
    shutil.copytree(tmp_path / journal_of, tmp_path / "twin", ignore=shutil.ignore_patterns("*.lock", "*.sock"))
    return Member("B", tmp_path / "twin", register, a, "both")


@pytest.mark.slow
def test_a_second_directory_under_a_name_is_refused_while_the_first_follows(tmp_path: Path) -> None:
    async def story(register: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        twin = _twin_of(tmp_path, register, a, "b")
        await twin.start()
        try:
            await until(lambda: "another data directory" in twin.pair.status()["cannot_take_over_reason"])
            assert b.pair.standby.in_sync
            assert not twin.pair.status()["can_take_over"]
            answered = await a.node.submit(participant("BETA"))
            a.kill()
            await until(lambda: b.node.reigns)
            assert b.node.engine.seq > answered.last_seq
            assert not twin.node.reigns
        finally:
            twin.close()

    with_pair(tmp_path, story)


@pytest.mark.slow
def test_a_directory_that_the_record_does_not_name_takes_nothing_over(tmp_path: Path) -> None:
    async def story(register: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        await until(lambda: b.node.engine.seq == a.node.engine.seq)
        b.kill()
        twin = _twin_of(tmp_path, register, a, "b")
        await twin.start()
        await until(lambda: twin.pair.standby.in_sync)
        answered = await a.node.submit(participant("BETA"))
        a.kill()
        await until(lambda: twin.node.reigns)
        twin.kill()
        b.node.journal.close()
        again = Member("B", tmp_path / "b", register, None, "both")
        await again.start()
        try:
            await until(lambda: "another data directory of B" in again.pair.status()["cannot_take_over_reason"])
            assert again.node.engine.seq < answered.last_seq, "it lacks an order that was answered"
            assert register.stored.reign is not None
            assert not register.stored.reign.has_in_sync(again.pair.standby.member)
            await asyncio.sleep(0.2)
            assert not again.node.reigns
        finally:
            again.close()

    with_pair(tmp_path, story)


@pytest.mark.slow
def test_a_copy_of_the_primarys_directory_under_its_name_is_refused_and_the_primary_goes_on(tmp_path: Path) -> None:
    async def story(register: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        await until(lambda: b.node.engine.seq == a.node.engine.seq)
        b.kill()
        shutil.copytree(tmp_path / "a", tmp_path / "twin", ignore=shutil.ignore_patterns("*.lock", "*.sock"))
        twin = Member("A", tmp_path / "twin", register, a, "both")
        await twin.start()
        try:
            await until(lambda: "is named A too" in twin.pair.standby.why)
            await a.node.submit(participant("BETA"))
            assert a.node.reigns
            assert not twin.node.reigns
        finally:
            twin.close()

    with_pair(tmp_path, story)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "role"), [("B", "standby"), ("B", "follower"), ("A", "standby"), ("C", "standby")])
def test_an_empty_directory_under_a_name_or_in_a_place_that_is_taken_fetches_nothing_and_both_ends_say_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, role: str
) -> None:
    logs = {"a": io.StringIO(), "twin": io.StringIO()}
    log_of_a, log_of_twin = (Log(stream, pretty=False) for stream in logs.values())
    reason = {"A": "is named A too", "B": "follows A already", "C": "A has a standby, B"}[name]

    def told(node: str) -> list[dict[str, str]]:
        *lines, _ = logs[node].getvalue().split("\n")
        return [each for each in map(json.loads, lines) if reason in each.get("why", "")]

    async def story(_: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        await until(lambda: a.pair.primary is not None and a.pair.primary.history_port > 0)
        peer = ("127.0.0.1", a.pair.port)
        options = PairOptions(
            Candidate(name, policy="both"), SECRET, "127.0.0.1", 0, peer, Settings(), role == "follower"
        )
        fetching = asyncio.create_task(
            asyncio.to_thread(program._fetch_first, tmp_path / "twin", options, log_of_twin, None)
        )
        await until(lambda: bool(told("a") and told("twin")))
        assert told("a")[0]["event"] == "copy refused"
        assert told("twin")[0]["why"].startswith("the primary refuses this node: ")
        await asyncio.sleep(2 * program.AGAIN_S)
        assert (len(told("a")), len(told("twin"))) == (1, 1), "once is enough"
        assert not holds_journal(tmp_path / "twin"), "nothing was fetched"
        assert b.pair.standby.in_sync
        assert "copy left" not in logs["a"].getvalue()
        if name == "A":
            a.kill()
            b.kill()
        b.kill()
        await until(lambda: fetching.done() or name == "A")
        if name == "A":
            monkeypatch.setattr("node.program.holds_journal", lambda _: True)
        await fetching
        assert holds_journal(tmp_path / "twin") is (name != "A"), "once the name, or the place, is free"

    monkeypatch.setattr("tests.test_node_pair.Log", lambda: log_of_a)
    with_pair(tmp_path, story)
    for each in (log_of_a, log_of_twin):
        each.close()


def test_an_empty_directory_is_fetched_into_where_the_refusal_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test above, and a primary of an earlier release, whose refusal has no flag."""
    monkeypatch.setattr("replication.inquiry.link.PLACE_TAKEN", "another flag")
    monkeypatch.setattr("replication.primary.Primary._refuse", _refuse_as_before)

    async def story(_: Register, a: Member, b: Member) -> None:
        await until(lambda: a.pair.primary is not None and a.pair.primary.history_port > 0)
        peer = ("127.0.0.1", a.pair.port)
        options = PairOptions(Candidate("B", policy="both"), SECRET, "127.0.0.1", 0, peer, Settings())
        await asyncio.to_thread(program._fetch_first, tmp_path / "twin", options, Log(), None)
        assert b.pair.standby.in_sync
        assert holds_journal(tmp_path / "twin")

    with_pair(tmp_path, story)


def _refuse_as_before(primary: Primary, copy: Copy, why: str, **_: bool) -> None:
    copy.put(link.encode(link.Kind.REFUSAL, primary.epoch, link.pack_map({"why": why})))
    primary.disconnect(copy, why)


def put_back(backup: Path, directory: Path) -> None:
    """Write each file of a backup over the one that is there, as `rsync --inplace --delete` does."""
    for path in directory.rglob("*"):
        if path.is_file() and not (backup / path.relative_to(directory)).exists():
            path.unlink()
    for path in backup.rglob("*"):
        if path.is_file():
            (directory / path.relative_to(backup)).write_bytes(path.read_bytes())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a", "b"])
def test_an_older_backup_over_the_same_files_takes_nothing_over_until_it_has_caught_up(
    tmp_path: Path, name: str
) -> None:
    async def story(register: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        await until(lambda: b.node.journal.durable_seq == a.node.engine.seq)
        members = {"a": a, "b": b}
        shutil.copytree(members[name].directory, tmp_path / "backup", ignore=shutil.ignore_patterns("*.lock", "*.sock"))
        answered = await a.node.submit(participant("BETA"))
        await until(lambda: recorded(register) >= answered.last_seq)
        b.kill()
        a.kill()
        for each in (a, b):
            each.node.journal.close()
        put_back(tmp_path / "backup", tmp_path / name)
        again = Member(name.upper(), tmp_path / name, register, None, "both")
        await again.start()
        other = None
        try:
            assert register.stored.reign is not None
            assert register.stored.reign.has_in_sync(again.pair.standby.member), "the directory is known again"
            await until(lambda: "older copy of itself" in again.pair.status()["cannot_take_over_reason"])
            assert again.node.engine.seq < answered.last_seq
            await asyncio.sleep(0.2)
            assert not again.node.reigns
            left = "b" if name == "a" else "a"
            other = Member(left.upper(), tmp_path / left, register, again, "both")
            await other.start()
            await until(lambda: other.node.reigns)
            await until(lambda: again.pair.standby.in_sync)
            await until(lambda: again.pair.status()["can_take_over"])
            assert again.node.engine.seq >= answered.last_seq
        finally:
            again.close()
            if other is not None:
                other.close()

    with_pair(tmp_path, story)


def recorded(register: Register) -> int:
    """The acknowledged command of the arbiter's record."""
    return register.stored.reign.acknowledged_seq if register.stored.reign is not None else 0


@pytest.mark.slow
def test_an_older_backup_reigns_where_its_position_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of the test above: name, file system and inode alone do not tell a backup."""
    monkeypatch.setattr("replication.standby.Standby._reason_by_position", lambda *_: "")

    async def story(register: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        await until(lambda: b.node.journal.durable_seq == a.node.engine.seq)
        shutil.copytree(b.directory, tmp_path / "backup", ignore=shutil.ignore_patterns("*.lock", "*.sock"))
        answered = await a.node.submit(participant("BETA"))
        await until(lambda: recorded(register) >= answered.last_seq)
        b.kill()
        a.kill()
        b.node.journal.close()
        put_back(tmp_path / "backup", tmp_path / "b")
        again = Member("B", tmp_path / "b", register, None, "both")
        await again.start()
        await until(lambda: again.node.reigns)
        again.close()

    with_pair(tmp_path, story)
