"""JSON output: objects with the same keys each time, numbers as numbers, times in ISO 8601, held by schemas."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from engine.records import CommandKind, EventKind, Phase, Reason
from notation.objects import COMMAND_KEYS, EVENT_KEYS
from tests.conftest import Lockstep
from tests.json_schemas import SHARED, checked, complaints, schemas

#: A day in which each command and each event of this release comes about, and some rows that are no sound command.
DAY = f"""\
at 2024-01-15T09:29:58
instrument XYZ tick=0.01 lot=1 reference=10.00 adv=100000
instrument ABC tick=0.01 lot=1 reference=5.00
participant ALPHA group=G1 allow=market,stp_none
participant BETA
limits ALPHA max_order_qty=5000 max_order_value=900000.00 order_rate=100/1s credit=500000.00 margin=20%
limits BETA symbol=XYZ max_position=9000 adv=50%
limits BETA credit=off
user TRADER participant=ALPHA firm=FIRM allow=login,cancel_on_disconnect
credential TRADER cost=4 salt={"00" * 15}01 hash={"00" * 23}02
phase XYZ opening_auction
enter BETA o1 buy 10 XYZ @ market
enter ALPHA o2 sell 40 XYZ @ 10.00
phase XYZ continuous
at 09:30:00.250114003
enter ALPHA a1 sell 300 XYZ @ 10.05 tif=gtc token=ORDER-20240115
enter BETA b1 buy 50 XYZ @ 10.05 context=8000000000000001
replace ALPHA a1 a2 200 @ 10.06
enter BETA b2 buy 10 XYZ @ 10.06 tif=ioc
cancel BETA b9
enter GHOST g1 buy 5 NONE @ 1.00
halt XYZ for=1s
at +2s
resume XYZ
mass_cancel ALPHA symbol=XYZ side=sell
kill ALPHA
unkill *
phase * closed
clock_jump by=-3s to=2024-01-15T09:30:03
epoch 7 node=NODE-A
emergency_close
raw {"ff" * 56}03{"ff" * 7}
raw {"ee" * 56}c8{"ee" * 7}
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from cli.main import run_line

    folder = tmp_path_factory.mktemp("json")
    (folder / "day.txt").write_text(DAY)
    assert run_line(["run", str(folder / "day.txt"), "--data", str(folder / "node"), "--block-rows", "12"]) == 0
    return folder / "node"


def test_events_have_the_same_keys_with_times_in_nanoseconds_and_prices_as_numbers(
    node: Path, lockstep: Lockstep
) -> None:
    events = checked(["events"], lockstep("events", node, "--json")[1])
    assert all(tuple(event) == EVENT_KEYS for event in events)
    assert {"accepted", "trade", "canceled", "replaced", "rejected", "cancel_rejected", "phase", "halted"} <= {
        event["kind"] for event in events
    }
    uncross, trade = [event for event in events if event["kind"] == "trade"][:2]
    assert (uncross["aggressor_side"], uncross["buy_client_order_id"], uncross["sell_client_order_id"]) == (
        *(None, "o1", "o2"),
    )
    told = {key: value for key, value in trade.items() if value is not None}
    assert told == {
        "seq": trade["seq"],
        "time": "2024-01-15T09:30:00.250114003Z",
        "kind": "trade",
        "symbol": "XYZ",
        "price_e4": 100_000,
        "qty": 30,
        "trade_number": 2,
        "buy_participant": "BETA",
        "buy_client_order_id": "b1",
        "sell_participant": "ALPHA",
        "sell_client_order_id": "o2",
        "aggressor_side": "buy",
    }


def test_the_refused_name_stands_apart_from_ids_of_orders(node: Path, lockstep: Lockstep) -> None:
    events = checked(["events"], lockstep("events", node, "--kind", "rejected", "--json")[1])
    ghost = next(event for event in events if event["refused"] == "g1")
    assert (ghost["client_order_id"], ghost["participant"], ghost["reason"]) == (None, None, "unknown_participant")


def test_commands_have_the_same_keys_and_their_extension_with_them(node: Path, lockstep: Lockstep) -> None:
    rows = checked(["commands"], lockstep("commands", node, "--json")[1])
    assert all(tuple(row) == COMMAND_KEYS for row in rows)
    by_id = {row["client_order_id"]: row for row in rows if row["kind"] == "enter"}
    assert (by_id["a1"]["token"], by_id["a1"]["price_e4"], by_id["a1"]["display_qty"]) == (
        "ORDER-20240115",
        100_500,
        None,
    )
    assert (by_id["o1"]["price_e4"], by_id["o1"]["instructions"]) == (None, ["market"])
    assert (by_id["g1"]["participant"], by_id["g1"]["symbol"]) == ("GHOST", "NONE")
    limits = [row for row in rows if row["kind"] == "limits"]
    assert [(row["limits"]["rate_orders"], row["limits"]["credit_e4"], row["limits_off"]) for row in limits] == [
        (100, 5_000_000_000, []),
        (None, None, []),
        (None, None, ["credit"]),
    ]
    assert limits[1]["limits"]["adv_share_bps"] == 5_000
    assert [(row["epoch"], row["node"]) for row in rows if row["kind"] == "epoch"] == [(7, "NODE-A")]
    assert {row["kind"] for row in rows} >= {None, "clock", "clock_jump", "credential", "kill", "emergency_close"}
    assert all(row["events"] is None for row in rows)
    unknown = [row for row in rows if row["kind"] is None]
    assert [row["raw"] for row in unknown] == [["ee" * 56 + "c8" + "ee" * 7]]


def test_commands_with_events_hold_the_objects_that_events_prints(node: Path, lockstep: Lockstep) -> None:
    rows = checked(["commands"], lockstep("commands", node, "--with-events", "--json")[1])
    events = [json.loads(line) for line in lockstep("events", node, "--json")[1].splitlines()]
    assert [event for row in rows for event in row["events"]] == events


def test_the_history_of_an_order_holds_the_objects_that_events_prints(node: Path, lockstep: Lockstep) -> None:
    (life,) = checked(["order"], lockstep("order", node, "o2", "--json")[1])
    events = [json.loads(line) for line in lockstep("events", node, "--json")[1].splitlines()]
    assert len(life["history"]) == 3
    assert all(moment["event"] in events for moment in life["history"])
    assert [moment["leaves_qty"] for moment in life["history"]] == [40, 30, 0]


# The schemas themselves.


def _objects(schema: Any) -> Iterator[dict[str, Any]]:
    """Every part of a schema that is about objects with keys."""
    if isinstance(schema, dict):
        if "properties" in schema:
            yield schema
        for value in schema.values():
            yield from _objects(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _objects(value)


@pytest.mark.slow_after(37)
@pytest.mark.parametrize("name", list(schemas()))
def test_a_schema_names_every_key_and_takes_no_other(name: str) -> None:
    schema = schemas()[name]
    Draft202012Validator.check_schema(schema)
    for part in _objects(schema):
        assert part.get("additionalProperties") is False
        assert part.get("required") == list(part["properties"])
        assert not [key for key in part["properties"] if "." in key]


def test_an_object_beside_its_schema_is_found() -> None:
    """The control of the tests above."""
    level = {"price_e4": 100_500, "qty": 10, "reserve_qty": 0, "hidden_qty": 0, "orders": 1}
    book = {
        "symbol": "XYZ",
        "speed_bump_ns": 0,
        "seq": 1,
        "time": "2024-01-15T09:30:00.250114003Z",
        "phase": "closed",
        "until": None,
    }
    book |= {
        "halt": None,
        "last_price_e4": None,
        "band": None,
        "volatility": None,
        "indicative": None,
        "bids": [level],
        "offers": [],
        "midpoint": None,
    }
    book |= {"buy_stops": [{"stop_e4": 100_500, "qty": 10, "orders": 1}], "sell_stops": []}
    none = {"bid_orders": 0, "bid_qty": 0, "offer_orders": 0, "offer_qty": 0}
    book |= {"closing_orders": none, "unpriced_pegs": none, "open_orders": 2, "orders": None}
    assert complaints(["book"], book) == []
    for wrong in (
        {"time": "2024-01-15T09:30:00"},
        {"bids": [level | {"price_e4": "10.05"}]},
        {"bids": [level | {"more": 1}]},
        {"seq": "1,000"},
        {"more": 1},
    ):
        assert complaints(["book"], book | wrong)
    assert complaints(["book"], {key: book[key] for key in book if key != "until"})
    assert SHARED in schemas()


def test_the_words_of_the_schemas_are_those_of_the_codes() -> None:
    shared = schemas()[SHARED]["$defs"]
    for part, key, codes in (
        ("event", "kind", EventKind),
        ("event", "reason", Reason),
        ("event", "phase", Phase),
        ("command", "kind", CommandKind),
        ("command", "reason", Reason),
        ("command", "phase", Phase),
        ("reason_count", "reason", Reason),
    ):
        words = [word for word in shared[part]["properties"][key]["enum"] if word is not None]
        assert words == [code.name.lower() for code in codes], f"{key} of {part} in docs/json/shared.json"
