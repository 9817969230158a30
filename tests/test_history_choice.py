"""Selection of `lockstep commands` and `events`: pairs of rows stay whole, and cancels follow their order."""

import json
from pathlib import Path

import numpy as np
import pytest

from cli.main import run_line
from cli.questions.choice import OrderIds
from tests.conftest import Lockstep
from tests.nodes import write_node
from tests.streams import random_stream

#: Rows by number: 1 clock, 2-5 definitions, 6-7 phases, 8 a1, 9-10 EXTEND and the order with a token, …
DAY = """\
at 2024-01-15T09:30:00
instrument XYZ tick=0.01 lot=1 reference=10.00
instrument ABC tick=0.01 lot=1 reference=5.00
participant ALPHA
participant BETA
phase XYZ continuous
phase ABC continuous
enter ALPHA a1 buy 100 XYZ @ 9.00
enter ALPHA ~8000000000000001 buy 100 ABC @ 4.00 token=ORDER-20240115
replace ALPHA a1 a2 80 @ 9.00
cancel ALPHA a2
cancel ALPHA a2
replace ALPHA a1 a3 10 @ 9.00
cancel ALPHA ~8000000000000001 token=ORDER-20240115
cancel ALPHA ~8000000000000001 token=ORDER-20240115
cancel ALPHA nobody
enter GHOST g1 buy 5 XYZ @ 9.00
cancel BETA b9
"""
OF_XYZ = [
    "instrument XYZ tick=0.01 lot=1 reference=10.00",
    "phase XYZ continuous",
    "enter ALPHA a1 buy 100 XYZ @ 9.00",
    "replace ALPHA a1 a2 80 @ 9.00",
    "cancel ALPHA a2",
    "cancel ALPHA a2",
    "replace ALPHA a1 a3 10 @ 9.00",
    "enter GHOST g1 buy 5 XYZ @ 9.00",
]


@pytest.fixture(scope="module", params=[1, 2, 3, 1024])
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with DAY in it, in blocks of some size: pairs of rows lie in one block, or in two."""
    folder = tmp_path_factory.mktemp("choice")
    (folder / "day.txt").write_text(DAY)
    small = ["--orders-max", 64, "--ids-max", 256]
    line = ["run", folder / "day.txt", "--data", folder / "node", "--block-rows", request.param, *small]
    assert run_line([str(word) for word in line]) == 0
    return folder / "node"


def test_the_print_is_the_file_whatever_the_blocks(node: Path, lockstep: Lockstep) -> None:
    assert lockstep("commands", node) == (0, DAY, "")


@pytest.mark.slow
def test_each_command_is_in_one_of_two_parts_wherever_the_print_is_cut(node: Path, lockstep: Lockstep) -> None:
    for cut in range(1, 22):
        first = lockstep("commands", node, "--to", cut)
        second = lockstep("commands", node, "--from", cut + 1)
        assert first[0] == second[0] == 0
        assert first[1] + second[1] == DAY, cut


def test_the_first_row_of_a_pair_alone_is_not_printed_and_a_note_says_why(node: Path, lockstep: Lockstep) -> None:
    assert lockstep("commands", node, "--from", 9, "--to", 9) == (
        *(0, ""),
        "note: command 9 extends command 10 and is printed with it; give --to 10 to have both\n",
    )
    assert lockstep("commands", node, "--from", 10, "--to", 10)[1].endswith("token=ORDER-20240115\n")


def test_a_selection_by_instrument_has_the_refused_cancels_and_replaces_of_its_orders(
    node: Path, lockstep: Lockstep
) -> None:
    status, said, complaint = lockstep("commands", node, "--symbol", "XYZ")
    assert (status, said.splitlines()) == (0, OF_XYZ)
    assert "note: 2 rejected cancels and replaces left out: no order with that id is known" in complaint
    assert lockstep("commands", node, "--symbol", "XYZ", "--with-seq", "--kind", "replace")[1].splitlines() == [
        "replace ALPHA a1 a2 80 @ 9.00  # 11",
        "replace ALPHA a1 a3 10 @ 9.00  # 14",
    ]
    kinds = [
        json.loads(line)["kind"] for line in lockstep("commands", node, "--symbol", "ABC", "--json")[1].splitlines()
    ]
    assert kinds == ["instrument", "phase", "enter", "cancel", "cancel"]


def test_a_selection_by_participant_has_what_was_refused_of_it(node: Path, lockstep: Lockstep) -> None:
    assert lockstep("commands", node, "--participant", "BETA")[1].splitlines() == ["participant BETA", "cancel BETA b9"]


@pytest.mark.parametrize("what", ["commands", "events"])
def test_a_selection_by_instrument_and_participant_is_what_both_selections_have(
    tmp_path: Path, lockstep: Lockstep, what: str
) -> None:
    """Ids of several participants are alike, and a refused cancel is followed to the order of its own."""
    names = write_node(tmp_path / "node", random_stream(11, 600)).directory
    symbols, participants = names.symbols[:2], names.participants[:3]
    assert (len(symbols), len(participants)) == (2, 3)

    def lines(*words: str) -> set[str]:
        status, said, _ = lockstep(what, tmp_path / "node", "--with-seq", *words)
        assert status == 0
        return set(said.splitlines())

    of_symbol = {symbol: lines("--symbol", symbol) for symbol in symbols}
    refused = 0
    for participant in participants:
        own = lines("--participant", participant)
        for symbol in symbols:
            both = lines("--symbol", symbol, "--participant", participant)
            assert both == own & of_symbol[symbol]
            refused += sum("cancel_rejected" in line or line.startswith("cancel ") for line in both)
    assert refused > 0


def test_events_of_an_instrument_have_the_refusals_of_its_cancels_and_replaces(node: Path, lockstep: Lockstep) -> None:
    _, said, complaint = lockstep("events", node, "--symbol", "XYZ")
    assert said.splitlines() == [
        "> phase XYZ continuous",
        "> accepted a1  # ALPHA",
        "> replaced a1 a2 qty=80  # ALPHA",
        "> canceled a2 qty=80 reason=user  # ALPHA",
        "> cancel_rejected a2 reason=unknown_order  # ALPHA",
        "> cancel_rejected a1 reason=unknown_order  # ALPHA",
        "> rejected g1 reason=unknown_participant",
    ]
    assert "note: 2 rejected cancels and replaces left out" in complaint


def test_orders_before_the_range_and_before_a_checkpoint_are_followed(node: Path, lockstep: Lockstep) -> None:
    assert lockstep("checkpoint", "create", node)[0] == 0
    assert lockstep("commands", node, "--symbol", "XYZ", "--from", 13)[1].splitlines() == OF_XYZ[-3:]


def test_with_events_json_has_the_events_of_each_command(node: Path, lockstep: Lockstep) -> None:
    _, said, _ = lockstep("commands", node, "--json", "--with-events", "--kind", "cancel")
    told = [json.loads(line) for line in said.splitlines()]
    assert [[event["kind"] for event in command["events"]] for command in told] == [
        *(["canceled"], ["cancel_rejected"], ["canceled"], ["cancel_rejected"]),
        *(["cancel_rejected"], ["cancel_rejected"]),
    ]


@pytest.mark.slow
def test_an_id_means_the_order_that_bore_it_last_before() -> None:
    random, ids = np.random.default_rng(5), OrderIds()
    known: list[tuple[int, int, int, int, int]] = []
    for block in range(400):
        added = [
            (int(random.integers(1, 4)), int(random.integers(-20, 20)), 100 * block + at, *random.integers(1, 9, 2))
            for at in range(int(random.integers(0, 100)))
        ]
        known += added
        ids.learn(*(zip(*added, strict=True) if added else ([], [], [], [], [])))
        asked = [tuple(int(random.integers(*bounds)) for bounds in ((1, 4), (-21, 21), (0, 41_000))) for _ in range(5)]
        instruments, sides = ids.orders(*zip(*asked, strict=True))
        for at, (participant, order_id, seq) in enumerate(asked):
            expected = [row[3:] for row in known if row[:2] == (participant, order_id) and row[2] < seq]
            assert (instruments[at], sides[at]) == (expected[-1] if expected else (0, 0))
