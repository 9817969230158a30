"""`lockstep admin status` for people: labels in words, units, and times in ISO 8601."""

import asyncio
import re
from pathlib import Path

import pytest

from cli.operating import status
from engine import compile_kernels, is_compiled
from node.core.control import PHASE_KEYS, STATUS_KEYS
from node.core.opening import open_directory
from node.node import Node, NodeOptions
from node.programs.logs import Log
from tests.conftest import Lockstep
from tests.operated import MARKET, SMALL, Operated


def test_every_figure_of_a_real_node_has_a_label_of_its_own_without_a_key(tmp_path: Path) -> None:
    if not is_compiled():
        compile_kernels()
    opened = open_directory(tmp_path / "node", SMALL, "none")

    async def told() -> dict[str, float | str]:
        node = Node(opened, NodeOptions(tmp_path / "node"), Log())
        return {**dict.fromkeys(STATUS_KEYS, 1), **node.status(), "rejected_too_late": 1, "events_accepted": 2}

    known = asyncio.run(told())
    opened.journal.close()
    labels = [label for label, _ in status.lines(known)]
    assert not [label for label in labels if "_" in label or label in ("pid", "seq", "data", "clock", *PHASE_KEYS)]
    # Of the counts by reason and kind only those that are not 0 are shown.
    counted = [key for key in known if key.startswith(("rejected_", "events_")) and key not in STATUS_KEYS]
    quiet = [key for key in counted if not known[key]]
    assert len(labels) == len(known) - len(quiet) - 1, "all but clock_ns, which repeats clock"
    duplicates = {label for label in labels if labels.count(label) > 1}
    assert duplicates == set(), "each label says which figure it is"


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("durable_lag_s", 0.25, ("oldest command not durable", "250.0 ms")),
        ("clock_error_max_ns", 1_500, ("machine clock, largest error", "1.5 µs")),
        ("orders_per_s", 1234.5, ("orders a second", "1,234.5")),
        ("journal_bytes", 4_200_000, ("journal", "4.2 MB")),
        ("draining", 0, ("draining", "no")),
        ("latency_order_to_answer_p999_ns", 25_000, ("order to answer, p99.9", "25.0 µs")),
        ("phase_pre_open", 3, ("instruments in phase pre open", "3")),
        ("rejected_bad_tick", 3, ("refused, bad tick", "3")),
        ("of_a_newer_node", 1_000, ("of a newer node", "1,000")),
    ],
)
def test_a_figure_is_told_with_its_unit(key: str, value: float, line: tuple[str, str]) -> None:
    assert list(status.lines({key: value})) == [line]


def test_status_and_checkpoint_show_no_key_and_times_are_iso(tmp_path: Path, lockstep: Lockstep) -> None:
    (tmp_path / "node").mkdir()
    with Operated(tmp_path / "node") as running:
        with running.peer() as peer:
            assert peer.ask({"do": "commands", "text": MARKET})["ok"] is True
        for command in ("status", "checkpoint", "sessions"):
            code, out, _ = lockstep("admin", command, running.directory)
            assert (code, re.findall(r"(?m)^ *\w*_\w*", out)) == (0, [])
            if command == "status":
                assert re.search(r"(?m)^  market time +\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z?$", out)
