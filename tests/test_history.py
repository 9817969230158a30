"""`lockstep commands` and `events` on rows that a gateway wrote: contexts, tokens, users and kills."""

import json
from pathlib import Path

import pytest

from tests.conftest import Lockstep

TEXT = """\
at 2024-01-15T09:30:00
instrument XYZ tick=0.01 lot=1 reference=10.00
participant ALPHA
participant BETA
phase XYZ continuous
user USER-1 participant=ALPHA firm=FRM1 allow=login,newest_wins
credential USER-1 cost=14 salt=000102030405060708090a0b0c0d0e0f hash=f0f1f2f3f4f5f6f70000000000000000e0e1e2e3e4e5e6e7
enter ALPHA ~8000000000000001 buy 100 XYZ @ 9.00 context=8000000000000001 token=ORDER-20240115
replace ALPHA ~8000000000000001 a2 80 @ 9.00 context=0000000000000002 token=ORDER-20240115
cancel ALPHA a2 qty=50
user USER-2 participant=BETA
kill BETA
kill *
unkill ALPHA
emergency_close
"""


@pytest.fixture
def node(tmp_path: Path, lockstep: Lockstep) -> Path:
    """A data directory with TEXT in it."""
    (tmp_path / "day.txt").write_text(TEXT)
    assert lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "node")[0] == 0
    return tmp_path / "node"


def test_rows_of_a_gateway_are_printed_in_the_words_they_were_written_in(node: Path, lockstep: Lockstep) -> None:
    status, said, _ = lockstep("commands", node)
    assert status == 0
    first, rest = said.split("\n", 1)
    assert first.startswith("at 2024-01-15T09:30:00")
    assert rest == TEXT.split("\n", 1)[1]


def test_json_shows_contexts_and_tokens_as_the_notation_writes_them(node: Path, lockstep: Lockstep) -> None:
    _, said, _ = lockstep("commands", node, "--json")
    rows = [json.loads(line) for line in said.splitlines()]
    enter = next(row for row in rows if row["kind"] == "enter")
    assert (enter["client_order_id"], enter["context"]) == ("~8000000000000001", "8000000000000001")
    tokens = [(row["token"], row["new_token"]) for row in rows if row["kind"] in ("enter", "replace", "cancel")]
    assert tokens.count(("ORDER-20240115", None)) == 2
    assert "extend" not in {row["kind"] for row in rows}
    assert [row["context"] for row in rows if row["kind"] == "replace"] == ["0000000000000002"]
    assert [(row["context"], row["qty"]) for row in rows if row["kind"] == "cancel"] == [(None, 50)]
    user = next(row for row in rows if row["kind"] == "user")
    assert (user["user"], user["participant"], user["firm"]) == ("USER-1", "ALPHA", "FRM1")
    credential = next(row for row in rows if row["kind"] == "credential")
    assert credential["password_cost"] == 14
    assert credential["password_salt"].startswith("0001020304050607")
    assert credential["password_hash"] == "f0f1f2f3f4f5f6f7" + "0" * 16 + "e0e1e2e3e4e5e6e7"


def test_a_selection_by_participant_has_its_users_and_its_kills(node: Path, lockstep: Lockstep) -> None:
    _, said, _ = lockstep("commands", node, "--participant", "ALPHA")
    kinds = [line.split()[0] for line in said.splitlines()]
    assert kinds == ["participant", "user", "enter", "replace", "cancel", "kill", "unkill"]
    _, said, _ = lockstep("commands", node, "--participant", "BETA")
    assert said.splitlines() == ["participant BETA", "user USER-2 participant=BETA", "kill BETA", "kill *"]
    _, said, _ = lockstep("events", node, "--participant", "BETA")
    assert said.splitlines() == ["> killed BETA", "> killed BETA"]
    _, said, _ = lockstep("events", node, "--kind", "unkilled")
    assert said == "> unkilled ALPHA\n"


def test_both_engines_verify_what_was_written(node: Path, lockstep: Lockstep) -> None:
    for engine in ("kernel", "reference"):
        assert lockstep("verify", node, "--engine", engine, "--workers", 1)[0] == 0
