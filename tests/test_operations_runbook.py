"""Each example of docs/OPERATIONS.md, played by real processes, a witness and two nodes, with the page's commands."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import runbook
from tests.conftest import Lockstep
from tests.json_schemas import checked
from tests.pair_processes import pair

ROOT = Path(__file__).parent.parent
START = "Start a pair"
DIVERGENCE = "Divergence"
SECTIONS = runbook.sections()
UNITS = sorted((ROOT / "examples").rglob("*.service"))


def _play(stage: runbook.Stage, title: str) -> None:
    for step in SECTIONS[title]:
        said = stage.play(step)
        assert runbook.masked(said) == runbook.masked(step.output), f"{title}: {step.command}\n{said}"


@pytest.mark.slow
@pytest.mark.parametrize("title", [title for title in SECTIONS if title not in (START, DIVERGENCE)])
def test_the_commands_of_a_section_do_what_the_page_shows(tmp_path: Path, title: str) -> None:
    stage = runbook.Stage(tmp_path)
    try:
        _play(stage, START)
        _play(stage, title)
    finally:
        stage.close()


@pytest.mark.slow
def test_the_commands_after_a_divergence_find_the_node_that_was_wrong_and_rebuild_it(tmp_path: Path) -> None:
    """One bit of the standby's orders flips while the pair runs; then the page's commands are run as they stand."""
    stage = runbook.Stage(tmp_path, {"b": "flips"})
    try:
        _play(stage, START)
        (tmp_path / "b" / "node" / "flip").write_text("risk", encoding="ascii")
        _play(stage, DIVERGENCE)
    finally:
        stage.close()


def test_the_page_has_an_example_for_each_case_and_the_masks_hide_numbers_alone() -> None:
    cases = {START, "Planned upgrade and maintenance", "Both nodes down", "Arbiter lost", "Arbiter's data lost"}
    assert cases | {"Lost disk", "Promote a copy by force", DIVERGENCE} == set(SECTIONS)
    assert all(len(steps) > 2 for steps in SECTIONS.values())
    shown = "may take over  A, B\nepoch  1,204\nsince 2026-11-27T06:12:58.842103128"
    assert runbook.masked(shown) == "may take over A, B\nepoch #\nsince TIME"
    assert runbook.masked(shown) != runbook.masked(shown.replace("A, B", "A"))


def test_a_switchover_is_one_json_object(tmp_path: Path, lockstep: Lockstep) -> None:
    with pair(tmp_path) as (_, a, b):
        (told,) = checked(["switchover"], lockstep("switchover", a.data, "--json")[1])
        assert told == {"primary": "B"}
        b.awaits(role="primary", state="reigning")


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_the_units_start_what_the_page_starts_and_no_restart_follows_wrong_use(unit: Path) -> None:
    lines = unit.read_text(encoding="utf-8").splitlines()
    assert {"Type=notify", "Restart=on-failure"} <= set(lines)
    assert any(line.startswith("RestartPreventExitStatus=") and line.endswith("2") for line in lines)
    (started,) = [line for line in lines if line.startswith("ExecStart=/opt/lockstep/.venv/bin/lockstep ")]
    if unit.parent.name == "systemd":
        command = started.removeprefix("ExecStart=/opt/lockstep/.venv/bin/")
        of_page = {step.command for step in SECTIONS[START]}
        plain = re.sub(r" --(peer|metrics-port) \S+", "", command)
        assert plain in of_page, "the unit's command is the page's, with --peer and monitoring"


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_systemd_finds_no_fault_in_the_units(tmp_path: Path, unit: Path) -> None:
    verifier = shutil.which("systemd-analyze")
    if verifier is None:
        pytest.skip("systemd-analyze is not installed")
    program = shutil.which("true")
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text(encoding="utf-8").replace("/opt/lockstep/.venv/bin/lockstep", str(program)))
    done = subprocess.run([verifier, "verify", str(copy)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    copy.write_text(copy.read_text(encoding="utf-8").replace("Restart=on-failure", "Restart=now-and-then"))
    done = subprocess.run([verifier, "verify", str(copy)], capture_output=True, text=True, check=False)
    assert "now-and-then" in done.stderr, "a fault is found"


def test_each_alert_about_a_pair_is_explained_on_the_page() -> None:
    alerts = (ROOT / "examples" / "alerts.yml").read_text(encoding="utf-8")
    of_pairs = [
        rule.splitlines()[0]
        for rule in alerts.split("- alert: ")[1:]
        if "lockstep_pair_" in rule or "lockstep_diverged" in rule
    ]
    page = runbook.PAGE.read_text(encoding="utf-8")
    assert len(of_pairs) > 6
    assert [name for name in of_pairs if f"| {name} |" not in page] == []
