"""Journals of every RULES_VERSION, as they were written: replayed to the same digests, or refused in a sentence."""

import json
import shutil
from pathlib import Path

import pytest
from xxhash import xxh3_128_hexdigest

from engine import RULES_VERSION
from journal import Journal
from replay.errors import ReplayError
from replay.rebuild import owned_rows, rebuild
from replay.verify import verify
from tests.conftest import Lockstep
from tests.golden import made
from tests.golden.made import commands

HERE = Path(made.__file__).parent

#: Commands, events and the event digest at the end; an entry is added with each RULES_VERSION and never changed.
ENDS = {
    1: (1_911, 2_327, "d8a5182ce3a59845d6f64f199ca043da"),
    2: (1_973, 2_626, "81504de3c8abea4f7cb5f5e891911bb6"),
    3: (2_073, 2_706, "912840346226f1a650a49141d2216b52"),
    4: (2_159, 2_857, "168491f9f7719faa43113676b0699746"),
    5: (2_169, 2_864, "fa68b5cecbf9fc8ca23772d3bd5c6f59"),
    6: (2_200, 3_071, "5dd79f05eb774d77bd02a98de6523465"),  # until a release has it, it is written anew (ADR 36)
}

#: xxh3-128 of all rows, of those that are refused: by what they were made has moved on with the rules.
ROWS = {
    1: "de8b40faadb5444092bd19c1a3bcb4a3",
    2: "2af6418256ca1acbe5485cf6e335a20f",
    3: "5022555ddcc44ab89465f708bbdad3b3",
    4: "8622f358135aebe6d08a05b6aacb1770",
    5: "011e677958f01e3d1501004ae839022c",
}


@pytest.fixture(params=sorted(ENDS))
def version(request: pytest.FixtureRequest) -> int:
    """A RULES_VERSION."""
    return int(request.param)


@pytest.fixture
def golden(version: int, tmp_path: Path) -> Path:
    """A copy of its golden journal: readers leave a file for their lock beside it."""
    return Path(shutil.copytree(HERE / f"rules-{version}", tmp_path / "golden"))


def test_there_is_a_golden_journal_of_the_rules_in_force() -> None:
    assert max(ENDS) == RULES_VERSION


@pytest.mark.parametrize("engine", ["kernel", "reference"])
def test_a_golden_journal_of_these_rules_replays_to_the_digests_it_was_written_with(
    golden: Path, version: int, engine: str
) -> None:
    if version != RULES_VERSION:
        with pytest.raises(ReplayError, match=f"rules version {version}"):
            verify(golden)
        return
    report = verify(golden, engine=engine)  # type: ignore[arg-type]
    assert report.ok
    assert not report.missing_tail
    assert (report.commands, report.events, rebuild(golden).engine.event_digest.hex()) == ENDS[version]


def test_a_golden_journal_holds_the_commands_it_was_made_of(golden: Path, version: int) -> None:
    with Journal.open(golden) as journal:
        assert journal.check().ok
        rows = b"".join(owned_rows(block.rows).tobytes() for block in journal.blocks(1))
    if version == RULES_VERSION:
        assert rows == commands().tobytes()
    else:
        assert xxh3_128_hexdigest(rows) == ROWS[version]


def test_a_golden_journal_of_any_rules_is_read_by_info_check_and_commands(
    golden: Path, version: int, tmp_path: Path, lockstep: Lockstep
) -> None:
    assert lockstep("journal", "check", golden)[0] == 0
    status, said, _ = lockstep("journal", "info", golden, "--json")
    assert (status, json.loads(said)["slices"][0]["rules_version"]) == (0, version)
    status, said, err = lockstep("commands", golden)
    assert status == 0
    assert ("its names are those of the definitions" in err) == (version != RULES_VERSION)
    assert said.count("\nenter ") > 100
    status, _, err = lockstep("events", golden)
    assert (status, "rules version" in err) == ((0, False) if version == RULES_VERSION else (2, True))
    # What is printed is a scenario that runs again to the same rows.
    (tmp_path / "day.txt").write_text(said)
    line = ("run", tmp_path / "day.txt", "--data", tmp_path / "again")
    assert lockstep(*line)[0] == 0
    rows = []
    for node in (golden, tmp_path / "again"):
        with Journal.open(node, readonly=True) as journal:
            rows.append(b"".join(bytes(block.rows) for block in journal.blocks()))
    assert rows[0] == rows[1]
