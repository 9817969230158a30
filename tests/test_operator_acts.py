"""Acts of operators are kept through a restart, whatever is in their file, and a disk that takes nothing is told."""

from pathlib import Path

import pytest

from node.web.operator_acts import ACTS_MAX, ASKED, Acts


def kept(directory: Path) -> tuple[Acts, list[str]]:
    """Acts of a directory, and the failures that they tell."""
    failures: list[str] = []
    return Acts(directory, failures.append), failures


@pytest.mark.slow
def test_acts_are_there_after_a_restart_the_newest_first_and_bounded(tmp_path: Path) -> None:
    acts, failures = kept(tmp_path)
    for number in range(ACTS_MAX + 5):
        act = acts.begin("OPS", f"halt S{number}", 10**18 + number)
        if number % 2:
            acts.end(act, "halted", number)
    acts.close()
    again, failures_again = kept(tmp_path)
    found = again.newest()
    assert [each["command"] for each in found] == [f"halt S{number}" for number in range(ACTS_MAX + 4, 4, -1)]
    assert (found[0]["result"], found[1]["result"], found[1]["seq"]) == (ASKED, "halted", ACTS_MAX + 3)
    assert failures == failures_again == []
    again.close()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"acts": [{"time": 1}]}', '{"acts": [7]}', '{"acts": 7}'])
def test_a_file_that_cannot_be_used_is_told_and_the_list_begins_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "acts.json").write_text(text)
    acts, failures = kept(tmp_path)
    assert acts.newest() == []
    assert [why for why in failures if "cannot be read, so the list begins anew" in why]
    acts.begin("OPS", "halt XYZ", 10**18)
    acts.close()
    assert [each["operator"] for each in kept(tmp_path)[0].newest()] == ["OPS"]


def test_a_disk_that_takes_nothing_is_told_and_the_act_is_shown(tmp_path: Path) -> None:
    (tmp_path / "web").write_text("in the way of the folder")
    acts, failures = kept(tmp_path)
    acts.begin("OPS", "kill ALPHA", 10**18)
    acts.close()
    assert [each["command"] for each in acts.newest()] == ["kill ALPHA"]
    assert [why for why in failures if "was not written" in why]
