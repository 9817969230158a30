"""Sixteen questions of an investigator, each answered by one command, on a generated day with known answers.

What happened in XYZ is written below. Around it four others trade NOISE, so that nothing is found by being alone.
"""

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Lockstep
from tests.json_schemas import checked

Fact = dict[str, Any]

HEAD = """\
at 2024-01-15T09:30:00
instrument XYZ tick=0.01 lot=1 reference=10.00
instrument NOISE tick=0.01 lot=1 reference=20.00
participant ALPHA
participant BETA
participant GAMMA
participant N1
participant N2
participant N3
participant N4
limits GAMMA max_order_qty=100
phase XYZ continuous
phase NOISE continuous
"""
STORY = """\
at 2024-01-15T09:31:00
enter ALPHA a1 sell 100 XYZ @ 10.00
at 2024-01-15T09:31:10
enter BETA b1 sell 50 XYZ @ 10.00 token=BETA-ORDER-17
at 2024-01-15T09:31:20
enter GAMMA g1 buy 500 XYZ @ 10.00
at 2024-01-15T09:31:30
enter GAMMA g2 buy 100 XYZ @ 10.00
at 2024-01-15T09:31:40
enter GAMMA g3 buy 20 XYZ @ 10.00
at 2024-01-15T09:31:50
replace BETA b1 b2 50 @ 10.02
at 2024-01-15T09:32:00
cancel BETA b2
at 2024-01-15T09:32:10
limits GAMMA max_order_qty=10
"""


def noise(choose: random.Random, number: int) -> str:
    """An order of somebody else in NOISE."""
    side = choose.choice(("buy", "sell"))
    return (
        f"enter N{choose.randint(1, 4)} n{number} {side} {choose.randint(1, 40)} NOISE @ 20.0{choose.randint(0, 9)}\n"
    )


def generated() -> Iterator[str]:
    """Lines of the day."""
    choose = random.Random(16)
    number = 0
    yield HEAD
    for line in STORY.splitlines(keepends=True):
        yield line
        for _ in range(choose.randint(10, 30)):
            number += 1
            yield noise(choose, number)


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with the day, in a folder of its own. Read only."""
    from cli.main import run_line

    folder = tmp_path_factory.mktemp("day")
    (folder / "day.txt").write_text("".join(generated()))
    words = [
        "run",
        str(folder / "day.txt"),
        "--data",
        str(folder / "node"),
        "--block-rows",
        "7",
        "--orders-max",
        "1024",
    ]
    assert run_line([*words, "--ids-max", "4096"]) == 0
    assert run_line(["checkpoint", "create", str(folder / "node")]) == 0
    return folder / "node"


def answer(lockstep: Lockstep, *words: object) -> list[Fact]:
    """Objects of one command, as its schema promises them."""
    status, said, complaint = lockstep(*words, "--json")
    assert status == 0, complaint
    return checked([str(words[0])], said)


def seq_of(lockstep: Lockstep, day: Path, order_id: str) -> int:
    (life,) = answer(lockstep, "order", day, order_id)
    return int(life["history"][0]["event"]["seq"])


def test_1_with_whom_did_gamma_trade_in_a_minute(day: Path, lockstep: Lockstep) -> None:
    words = ["--participant", "GAMMA", "--kind", "trade", "--from", "09:31", "--to", "09:31:59"]
    trades = answer(lockstep, "events", day, *words)
    assert [(each["sell_participant"], each["qty"], each["price_e4"]) for each in trades] == [
        ("ALPHA", 100, 100_000),
        ("BETA", 20, 100_000),
    ]


def test_2_which_trades_were_between_two_parties(day: Path, lockstep: Lockstep) -> None:
    (trade,) = answer(lockstep, "events", day, "--participant", "GAMMA", "--contra", "BETA", "--symbol", "XYZ")
    assert (trade["qty"], trade["buy_client_order_id"], trade["aggressor_side"]) == (20, "g3", "buy")


def test_3_which_commands_were_refused_for_a_limit(day: Path, lockstep: Lockstep) -> None:
    (command,) = answer(lockstep, "commands", day, "--reason", "max_order_qty", "--with-events")
    assert (command["participant"], command["client_order_id"], command["qty"]) == ("GAMMA", "g1", 500)
    assert [event["kind"] for event in command["events"]] == ["rejected"]


def test_4_what_became_of_an_order(day: Path, lockstep: Lockstep) -> None:
    (life,) = answer(lockstep, "order", day, "b1", "--participant", "BETA")
    assert [moment["event"]["kind"] for moment in life["history"]] == ["accepted", "trade", "replaced", "canceled"]
    assert (life["cum_qty"], life["leaves_qty"]) == (20, 0)


def test_5_what_is_the_order_behind_a_token(day: Path, lockstep: Lockstep) -> None:
    (life,) = answer(lockstep, "order", day, "--token", "BETA-ORDER-17")
    assert life["participant"] == "BETA"


def test_6_who_was_ahead_in_the_queue(day: Path, lockstep: Lockstep) -> None:
    (life,) = answer(lockstep, "order", day, "b1", "--participant", "BETA", "--queue")
    first, second = life["history"][0]["queue"], life["history"][1]["queue"]
    assert [(each["participant"], each["client_order_id"]) for each in first["ahead"]] == [("ALPHA", "a1")]
    assert second["ahead"] == []


def test_7_which_two_orders_met_in_a_trade(day: Path, lockstep: Lockstep) -> None:
    (confirmed,) = answer(lockstep, "events", day, "--participant", "ALPHA", "--kind", "trade")  # ALPHA has its number
    lives = answer(lockstep, "order", day, "--trade", confirmed["trade_number"])
    found = {(life["participant"], life["history"][0]["event"]["client_order_id"]) for life in lives}
    assert found == {("ALPHA", "a1"), ("GAMMA", "g2")}


def test_8_why_was_an_order_refused(day: Path, lockstep: Lockstep) -> None:
    (told,) = answer(lockstep, "why", day, "--order", "g1", "--participant", "GAMMA")
    (failed,) = [check for check in told["checks"] if check["verdict"] == "refused"]
    assert (failed["reasons"], failed["limit"], failed["value"]) == (["max_order_qty"], 100, 500)


def test_9_what_was_the_book_at_a_time(day: Path, lockstep: Lockstep) -> None:
    (book,) = answer(lockstep, "book", day, "XYZ", "--at", "09:31:25")
    assert (book["bids"], [(level["price_e4"], level["qty"]) for level in book["offers"]]) == ([], [(100_000, 150)])
    (later,) = answer(lockstep, "book", day, "XYZ", "--at", "09:31:55")
    assert [(level["price_e4"], level["qty"]) for level in later["offers"]] == [(100_200, 30)]


def test_10_what_did_a_participant_hold_at_a_time(day: Path, lockstep: Lockstep) -> None:
    for time, qty in (("09:31:35", 100), ("09:31:45", 120)):
        (held,) = answer(lockstep, "positions", day, "--at", time, "--participant", "GAMMA", "--symbol", "XYZ")
        assert [row["position_qty"] for row in held["positions"]] == [qty]


def test_11_which_limit_was_in_force_at_a_time(day: Path, lockstep: Lockstep) -> None:
    for time, qty in (("09:31:00", 100), ("09:32:30", 10)):
        (limits,) = answer(lockstep, "limits", day, "--at", time, "--participant", "GAMMA")
        assert [row["limits"]["max_order_qty"] for row in limits["limits"]] == [qty]


def test_12_what_would_have_come_without_a_participant(day: Path, tmp_path: Path, lockstep: Lockstep) -> None:
    (told,) = answer(lockstep, "whatif", day, "--without", "ALPHA", "--data", tmp_path / "new")
    assert told["before"]["participants"]["BETA"]["positions"] == {"XYZ": -20}
    # g2 takes all 50 of b1, and 50 of it rest, so that g3 finds nothing.
    assert told["after"]["participants"]["BETA"]["positions"] == {"XYZ": -50}
    assert told["after"]["instruments"]["NOISE"] == told["before"]["instruments"]["NOISE"]


def test_13_what_would_have_come_of_another_limit(day: Path, tmp_path: Path, lockstep: Lockstep) -> None:
    words = ["--set", "GAMMA max_order_qty=500", "--from", "09:31", "--data", tmp_path / "new"]
    (told,) = answer(lockstep, "whatif", day, *words)
    assert (told["before"]["refused"], told["after"]["refused"].get("max_order_qty")) == ({"max_order_qty": 1}, None)
    assert told["after"]["participants"]["GAMMA"]["positions"] == {"XYZ": 150}


@pytest.mark.slow
def test_14_where_do_two_copies_part_and_what_came_of_it(day: Path, tmp_path: Path, lockstep: Lockstep) -> None:
    text = "".join(generated()).replace("buy 100 XYZ", "buy 90 XYZ")
    (tmp_path / "other.txt").write_text(text)
    words = ["run", tmp_path / "other.txt", "--data", tmp_path / "other", "--orders-max", "1024", "--ids-max", "4096"]
    assert lockstep(*words)[0] == 0
    status, said, _ = lockstep("compare", day, tmp_path / "other", "--state", "--outcome", "--json")
    (told,) = checked(["compare"], said)
    assert (status, told["command"]["seq"]) == (1, seq_of(lockstep, day, "g2"))
    (life,) = answer(lockstep, "order", day, "b1", "--participant", "BETA")
    changed = [moment["event"]["seq"] for moment in life["history"]][-2:]  # its replace and its cancel
    assert told["later"]["first_seqs"] == [seq_of(lockstep, day, "g3"), *changed]
    assert told["later"]["participants"] == ["ALPHA", "BETA", "GAMMA"]
    assert told["outcome"]["a"]["participants"]["ALPHA"]["positions"] == {"XYZ": -100}


def test_15_is_the_record_right_by_an_independent_engine(day: Path, tmp_path: Path, lockstep: Lockstep) -> None:
    (told,) = answer(lockstep, "compare", day, "--state", "--engine", "reference")
    assert told["same"]
    copy = shutil.copytree(day, tmp_path / "copy")
    (file,) = (copy / "checkpoints").iterdir()
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.write_bytes(raw)
    assert lockstep("checkpoint", "verify", copy)[0] == 1, "the control: a flipped bit is found"


def test_16_can_all_of_a_participants_day_be_given_away_with_its_proof(
    day: Path, tmp_path: Path, lockstep: Lockstep
) -> None:
    pytest.importorskip("cryptography", reason="the extra attest is not installed")
    assert lockstep("attest", "key", tmp_path / "key")[0] == 0  # the exchange has one
    words = ["--key", tmp_path / "key", "--participant", "GAMMA", "--day", "2024-01-15", "--out", tmp_path / "proof"]
    status, said, _ = lockstep("attest", "prove", day, *words)
    assert status == 0
    proven = proven_lines(said)
    assert [line for line in proven if line.startswith("enter")] == [
        "enter GAMMA g1 buy 500 XYZ @ 10.00",
        "enter GAMMA g2 buy 100 XYZ @ 10.00",
        "enter GAMMA g3 buy 20 XYZ @ 10.00",
    ]
    assert sum("trade XYZ" in line for line in proven) == 2
    assert not any("N1" in line or "NOISE" in line for line in proven)
    # Whoever gets it, and the public key, reads the same without the journal; a row less is found.
    public = ["--public", tmp_path / "key.pub"]
    status, said, _ = lockstep("attest", "check", tmp_path / "proof", *public)
    assert (status, proven_lines(said)) == (0, proven)
    proof = json.loads((tmp_path / "proof").read_text())
    assert len(proof["rows"]) == len(proven)
    (tmp_path / "short").write_text(json.dumps(proof | {"rows": proof["rows"][:-1]}))
    assert lockstep("attest", "check", tmp_path / "short", *public)[0] == 1, "the control"


def proven_lines(said: str) -> list[str]:
    """Lines of rows in what a proof says."""
    lines = [line for line in said.splitlines() if line.startswith("  ") and line[:10].strip().isdigit()]
    return [line.split(maxsplit=1)[1] for line in lines]
