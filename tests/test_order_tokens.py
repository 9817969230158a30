"""`lockstep order DIR TOKEN` on rows that a gateway wrote: long tokens stand in EXTEND rows, ids are a mix of them."""

import json
from pathlib import Path

import pytest

from engine.names import unpack
from gateway.ouch.context import order_id
from tests.conftest import Lockstep


def mixed(token: str) -> str:
    """The client order id of a token, as the notation writes it."""
    return unpack(order_id(token.encode().ljust(14)))


FIRST, SECOND, OTHER = "alice-00000017", "alice-00000018", "USER2-0001"
TEXT = f"""\
at 2024-01-15T09:30:00
instrument XYZ tick=0.01 lot=1 reference=10.00
participant ALPHA
participant BETA
phase XYZ continuous
enter ALPHA {mixed(FIRST)} buy 100 XYZ @ 9.00 token={FIRST}
enter ALPHA {mixed(FIRST)} buy 100 XYZ @ 9.00 token={FIRST}
enter BETA {mixed(OTHER)} sell 30 XYZ @ 9.00 token={OTHER}
replace ALPHA {mixed(FIRST)} {mixed(SECOND)} 80 @ 9.01 token={FIRST} new_token={SECOND}
cancel ALPHA {mixed(SECOND)} token={SECOND}
cancel BETA {mixed("never-entered")} token=never-entered
enter BETA {mixed("my_order")} sell 30 XYZ @ 9.00
"""


@pytest.fixture(params=[1, 2, 1024])
def node(request: pytest.FixtureRequest, tmp_path: Path, lockstep: Lockstep) -> Path:
    """A data directory with TEXT in it, in blocks of several sizes: a pair of rows may be cut by a block's end."""
    (tmp_path / "day.txt").write_text(TEXT)
    made = lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "node", "--block-rows", request.param)
    assert made[0] == 0, made
    return tmp_path / "node"


def test_an_order_is_followed_from_each_of_its_long_tokens_and_shown_with_them(node: Path, lockstep: Lockstep) -> None:
    for token in (FIRST, SECOND):
        status, said, complaint = lockstep("order", node, token)
        assert status == 0, complaint
        assert said.startswith("order 1 of ALPHA: buy 100 XYZ @ 9.00; traded 30, closed\n")
        for event in (
            f"accepted {FIRST}",
            f"rejected {FIRST} reason=duplicate_id",
            f"trade XYZ 30 @ 9.00 resting={FIRST} incoming={OTHER}",
            f"replaced {FIRST} {SECOND} qty=50",
            f"canceled {SECOND} qty=50 reason=user",
        ):
            assert event in said
        assert "~" not in said


def test_the_id_of_a_token_gives_the_same_answer_as_the_token(node: Path, lockstep: Lockstep) -> None:
    assert lockstep("order", node, mixed(FIRST))[1] == lockstep("order", node, FIRST)[1] != ""


def test_json_names_the_token_of_each_id_and_leaves_the_events_as_they_are(node: Path, lockstep: Lockstep) -> None:
    life = json.loads(lockstep("order", node, SECOND, "--json")[1].splitlines()[0])
    assert life["tokens"] == [
        {"client_order_id": mixed(token), "token": token} for token in dict.fromkeys((FIRST, OTHER, SECOND))
    ]
    assert [moment["event"]["client_order_id"] for moment in life["history"][:1]] == [mixed(FIRST)]


def test_a_token_that_reached_no_order_has_its_refusal(node: Path, lockstep: Lockstep) -> None:
    status, said, _ = lockstep("order", node, "never-entered")
    assert status == 0
    assert "rejects of BETA that changed no order" in said
    assert "cancel_rejected never-entered reason=unknown_order" in said


def test_a_short_token_beyond_the_characters_of_an_id_is_its_own_id(node: Path, lockstep: Lockstep) -> None:
    status, said, _ = lockstep("order", node, "my_order")
    assert status == 0
    assert "accepted my_order" in said


@pytest.mark.parametrize("word", ["nobody-bore-it", "alice-0000001", "*", "ALICE-00000017"])
def test_a_token_that_nobody_used_is_told(word: str, node: Path, lockstep: Lockstep) -> None:
    status, said, complaint = lockstep("order", node, word)
    assert (status, said) == (2, "")
    assert f"ever had the id or token {word}" in complaint


@pytest.mark.parametrize("word", ["a-token-of-15-c", "tab\there", "größe"])
def test_what_is_neither_id_nor_token_is_refused_with_what_is(word: str, tmp_path: Path, lockstep: Lockstep) -> None:
    status, said, complaint = lockstep("order", tmp_path, word)
    assert (status, said) == (2, "")
    assert "a token 1 to 14 printable ones" in complaint
