"""`lockstep positions` and `limits` at any moment, against the trades and limits before it read one by one."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Lockstep
from tests.json_schemas import checked
from tests.question_day import write_day


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("holdings") / "node"
    write_day(directory, checkpoint_every=500)
    return directory


def objects(lockstep: Lockstep, *words: object) -> list[dict[str, Any]]:
    status, said, complaint = lockstep(*words, "--json")
    assert status == 0, complaint
    return checked([str(words[0])], said)


@pytest.mark.slow_after(3)
@pytest.mark.parametrize("at", [40, 500, 1_234, 2_999, 3_000])
def test_positions_are_what_the_trades_before_come_to(at: int, day: Path, lockstep: Lockstep) -> None:
    held: Counter[tuple[str, str]] = Counter()
    last: dict[str, int] = {}
    for trade in objects(lockstep, "events", day, "--kind", "trade", "--to", at):
        held[trade["buy_participant"], trade["symbol"]] += trade["qty"]
        held[trade["sell_participant"], trade["symbol"]] -= trade["qty"]
        last[trade["symbol"]] = trade["price_e4"]
    (told,) = objects(lockstep, "positions", day, "--at", at)
    assert told["seq"] == at
    got = {(row["participant"], row["symbol"]): row["position_qty"] for row in told["positions"]}
    assert {key: qty for key, qty in got.items() if qty} == {key: qty for key, qty in held.items() if qty}
    for row in told["positions"]:
        price_e4 = last.get(row["symbol"])
        assert (row["last_price_e4"], row["value_e4"]) == (price_e4, price_e4 and price_e4 * row["position_qty"])
    assert not sum(row["position_qty"] for row in told["positions"])
    if at < 3_000:
        return
    (own,) = objects(lockstep, "positions", day, "--participant", "P2", "--symbol", "I1")
    assert own["positions"] == [row for row in told["positions"] if (row["participant"], row["symbol"]) == ("P2", "I1")]
    assert own["positions"]


def test_limits_of_a_moment_are_those_of_the_commands_before_it(tmp_path: Path, lockstep: Lockstep) -> None:
    (tmp_path / "day.txt").write_text(
        "at 2024-01-15T09:30:00\ninstrument XYZ tick=0.01 lot=1 reference=10.00\nparticipant ALPHA\n"
        "limits ALPHA max_order_qty=100\nat 09:31:00\nlimits ALPHA symbol=XYZ max_position=7\n"
        "limits ALPHA max_order_qty=off credit=5.00\n"
    )
    node = tmp_path / "node"
    assert lockstep("run", tmp_path / "day.txt", "--data", node)[0] == 0
    words = {}
    for at in ("09:30:30", "6", "7", "09:32"):
        (told,) = objects(lockstep, "limits", node, "--at", at)
        words[at] = [
            (row["symbol"], {key: value for key, value in row["limits"].items() if value}) for row in told["limits"]
        ]
    assert words["09:30:30"] == [(None, {"max_order_qty": 100})]
    assert words["6"] == [(None, {"max_order_qty": 100}), ("XYZ", {"max_position_qty": 7})]
    assert words["7"] == words["09:32"] == [(None, {"credit_e4": 50_000}), ("XYZ", {"max_position_qty": 7})]
    assert "ALPHA        XYZ     max_position=7" in lockstep("limits", node, "--symbol", "XYZ")[1]


@pytest.mark.parametrize("command", ["positions", "limits"])
def test_unknown_names_and_moments_are_refused_in_a_sentence(command: str, day: Path, lockstep: Lockstep) -> None:
    for words, why in (
        (["--participant", "NOBODY"], "there is no participant NOBODY"),
        (["--symbol", "NONE", "--at", "100"], "there is no instrument NONE in"),
        (["--at", "9999"], "there is no command 9,999"),
    ):
        status, said, sentence = lockstep(command, day, *words)
        assert (status, said, why in sentence) == (2, "", True), sentence
