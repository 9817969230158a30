"""Notices of a primary on its copies: each that comes, each that is in sync, and loudly that the primary is alone."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from node.pair.copy_notices import CopyNotices
from node.programs.logs import Log
from replication.copy_connection import Copy
from replication.primary import Settings
from tests.conftest import Lockstep
from tests.operated import Operated, paired, paired_standby
from tests.pairs import MS, CopyNode, PrimaryNode, Wire
from tests.test_node_pair import Member, Register, until, with_pair


def events(notices: CopyNotices) -> list[tuple[str, str]]:
    """Level and event of each notice since the last look."""
    return [(each.level, each.event) for each in notices.look()]


def begun(**settings: Any) -> tuple[PrimaryNode, CopyNotices]:
    primary = PrimaryNode(settings=Settings(**settings))
    primary.write(b"abc")
    return primary, CopyNotices(primary.core)


def test_a_primary_says_that_it_is_alone_then_that_a_copy_follows_and_is_in_sync() -> None:
    primary, notices = begun()
    assert events(notices) == [("warning", "the primary is alone")]
    assert events(notices) == []
    (warning,) = notices.warnings()
    assert "A is alone" in warning
    assert "no node can take over" in warning
    wire = Wire(primary, CopyNode())
    wire.settle()
    assert events(notices) == [("info", "copy follows")]
    primary.record()
    wire.settle()
    assert events(notices) == [("info", "standby in sync")]
    assert notices.warnings() == []


def test_a_primary_that_records_its_acknowledged_command_says_only_once_that_it_is_alone() -> None:
    primary, notices = begun()
    assert events(notices) == [("warning", "the primary is alone")]
    primary.core.on_record_asked(frozenset("A"))
    assert events(notices) == []
    assert len(notices.warnings()) == 1
    primary.core.on_record_answered(frozenset("A"))
    assert events(notices) == []
    primary.core.on_record_asked(frozenset("AB"))
    assert notices.warnings() == [], "the standby may be in the record already"


def test_a_primary_that_goes_on_without_its_standby_says_so_once_the_record_is_without_it() -> None:
    primary, notices = begun()
    wire = Wire(primary, CopyNode())
    wire.settle()
    primary.record()
    wire.settle()
    notices.look()
    primary.core.disconnect(wire.end)
    assert events(notices) == []
    primary.record()
    (alone,) = notices.look()
    assert (alone.level, alone.event) == ("warning", "the primary is alone")
    assert "only" in alone.fields["then"]
    assert len(notices.warnings()) == 1


def test_a_primary_that_may_not_go_on_alone_says_for_whom_answers_wait() -> None:
    primary, notices = begun(alone="stop")
    wire = Wire(primary, CopyNode())
    wire.settle()
    primary.record()
    wire.settle()
    notices.look()
    primary.core.disconnect(wire.end)
    (waits,) = notices.look()
    assert (waits.level, waits.event, waits.fields["name"]) == ("warning", "answers wait for a standby", "B")
    (warning,) = notices.warnings()
    assert "B is not connected" in warning
    assert "--alone stop" in warning
    again = Wire(primary, CopyNode())
    again.settle()
    assert ("info", "copy follows") in events(notices)
    assert notices.warnings() == []


def test_a_primary_that_had_no_standby_yet_says_that_alone_stop_has_not_begun() -> None:
    _, notices = begun(alone="stop")
    (alone,) = notices.look()
    (warning,) = notices.warnings()
    for said in (str(alone.fields["then"]), warning):
        assert said.endswith("; --alone stop begins once a standby is in sync; until then it answers alone")
    _, notices = begun()
    (alone,) = notices.look()
    assert "--alone stop" not in str(alone.fields["then"]) + notices.warnings()[0]


def test_a_follower_is_never_in_sync_and_a_policy_without_takeover_has_nothing_to_warn_of() -> None:
    primary, notices = begun(policy="fsync")
    assert events(notices) == []
    wire = Wire(primary, CopyNode())
    wire.settle()
    assert events(notices) == [("info", "copy follows")]
    assert notices.warnings() == []
    primary, notices = begun()
    notices.look()
    wire = Wire(primary, CopyNode(role="follower"))
    wire.settle()
    assert events(notices) == [("info", "copy follows")]
    assert len(notices.warnings()) == 1


def test_the_log_and_the_warnings_of_a_node_say_that_it_is_alone_until_its_standby_is_in_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.StringIO()
    log = Log(stream, pretty=False)
    notices = ("the primary is alone", "copy follows", "standby in sync", "copy left")
    before: list[str] = []

    def told() -> list[str]:
        *lines, _ = stream.getvalue().split("\n")
        return [each["event"] for each in map(json.loads, lines) if each["event"] in notices]

    async def story(_: Register, a: Member, b: Member) -> None:
        await until(lambda: told()[-1:] == ["standby in sync"])
        assert not a.node.warnings()
        before.extend(told())
        b.kill()
        await until(lambda: bool(a.node.warnings()))
        assert "is alone" in a.node.warnings()[0]
        assert "is alone" in a.node.status()["warning"]
        await until(lambda: told()[-1] == "the primary is alone")

    monkeypatch.setattr("tests.test_node_pair.Log", lambda: log)
    with_pair(tmp_path, story)
    assert log.flush(60)
    log.close()
    # Where it was told to be alone before depends on how fast the standby came and on the connection.
    assert "copy follows" in before
    assert told()[len(before) :] == ["copy left", "the primary is alone"]


# Connections that end.


def refused(primary: PrimaryNode, **of_copy: Any) -> Copy:
    """A connection that the primary refuses."""
    wire = Wire(primary, CopyNode(**of_copy))
    wire.settle()
    assert wire.end.state == "closed"
    return wire.end


def test_a_refused_copy_is_told_once_a_minute_with_the_reason_and_is_not_said_to_have_left() -> None:
    primary, notices = begun()
    first = Wire(primary, CopyNode(directory=b"1" * 16))
    first.settle()
    told = notices.of_end(refused(primary, directory=b"2" * 16), 0)
    assert told is not None
    assert (told.level, told.event, told.fields["name"]) == ("warning", "copy refused", "B")
    assert "another data directory follows A already" in str(told.fields["why"])
    assert notices.of_end(refused(primary, directory=b"2" * 16), 59_000 * MS) is None
    other = notices.of_end(refused(primary, name="A"), 59_000 * MS)
    assert other is not None
    assert "the primary is named A too" in str(other.fields["why"])
    again = notices.of_end(refused(primary, directory=b"2" * 16), 61_000 * MS)
    assert again == told
    primary.core.disconnect(first.end)
    left = notices.of_end(first.end, 61_000 * MS)
    assert left is not None
    assert left.event == "copy left"


def test_a_copy_with_a_wrong_secret_is_told_and_who_only_connects_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    primary, notices = begun()
    scanned = primary.core.connect(b"n" * 16, 0)
    primary.core.tick(600 * MS, 0)
    assert scanned.state == "closed"
    assert notices.of_end(scanned, 600 * MS) is None
    monkeypatch.setattr("tests.pairs.SECRET", b"another secret")
    told = notices.of_end(refused(primary), 600 * MS)
    assert told is not None
    assert told.event == "copy refused"
    assert "does not know the secret" in str(told.fields["why"])


def test_a_copy_that_first_fetches_older_blocks_is_sent_away_and_not_refused() -> None:
    primary, notices = begun()
    wire = Wire(primary, CopyNode(journal_id=b""))
    wire.settle()
    told = notices.of_end(wire.end, 0)
    assert told is not None
    assert (told.level, told.event) == ("info", "copy sent away")
    assert "no journal yet" in str(told.fields["why"])


# The release policy, as it is told.


def test_a_node_of_a_pair_tells_the_policy_of_its_pair_as_its_durability(tmp_path: Path) -> None:
    async def story(_: Register, a: Member, b: Member) -> None:
        assert a.node.status()["durability"] == b.node.status()["durability"] == "replica"

    with_pair(tmp_path, story, "replica")


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (paired(), "answers wait for both disks"),
        (paired(policy="replica"), "answers wait for the standby's memory"),
        (paired(in_sync=["A"], copies=[]), "answers wait for the disk of A alone, since no standby is in sync"),
        (paired(in_sync=["A"], policy="replica"), "answers wait for the disk of A alone, since no standby is in sync"),
        (paired(in_sync=["A"], policy="fsync"), "answers wait for the disk here"),
        (paired(in_sync=["A"], policy="none"), "answers wait for nothing"),
        (paired_standby(in_sync=["A"]), "answers wait for the disk of A alone, since no standby is in sync"),
        (paired_standby(in_sync=[], primary=""), "answers wait for both disks"),
    ],
)
def test_the_report_says_for_which_disks_answers_wait_now(
    told: dict[str, Any], words: str, tmp_path: Path, lockstep: Lockstep
) -> None:
    with Operated(tmp_path) as operated:
        operated.node.pair = told
        _, out, _ = lockstep("status", operated.directory)
    assert words in [" ".join(line.split()) for line in out.splitlines()]
