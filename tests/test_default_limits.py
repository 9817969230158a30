"""No participant uses up the venue: default limits of new ones, the share of room that is used, and its warnings."""

import asyncio
from typing import Any

import numpy as np
import pytest

from engine import Capacity, Engine
from engine.records import COMMAND, EventKind, Reason
from node.core.control import Status
from node.operator.capacity import ROOMS, CapacityWatch, room_status
from node.operator.defaults import OFF, checked_rate, checked_share, default_limits, with_defaults
from node.operator.metrics import Metrics
from node.operator.operations import Operations
from node.programs.logs import Log
from notation.parse import parse
from tests.operated import FakeNode
from tests.rows import BUY, batch, enter, market_of
from tests.test_metrics import samples

CAPACITY = Capacity(orders_max=400, ids_max=4_000, instruments_max=4, participants_max=8)


def asked(node: FakeNode, text: str, limits: str = "order_rate=4000/1s max_ids=1000") -> dict[str, Any]:
    """The answer to an operator's commands, in a node with default limits."""

    async def inside() -> dict[str, Any]:
        operations = Operations(node, Log(pretty=False), default_limits=limits)
        try:
            return await operations.answer({"do": "commands", "text": text})
        finally:
            operations.close()

    return asyncio.run(inside())


def limits_of(node: FakeNode, name: str) -> dict[str, Any]:
    whole, _ = node.account(name)
    return {key: value for key, value in whole["limits"].items() if value not in (None, False)}


def test_a_participant_that_the_operator_defines_gets_the_default_limits_in_the_same_block() -> None:
    node = FakeNode()
    told = asked(node, "participant ALPHA\nparticipant BETA group=G\nlimits BETA order_rate=off max_ids=7")
    assert told["added"] == [f"limits {name} order_rate=4000/1s max_ids=1000" for name in ("ALPHA", "BETA")]
    assert (told["commands"], told["rejected"]) == (3, 0)
    assert limits_of(node, "ALPHA") == {"rate_orders": 4_000, "rate_window_ns": 10**9, "max_ids": 1_000}
    assert limits_of(node, "BETA") == {"max_ids": 7}, "what is said after the definition goes before the defaults"
    assert len(node.rows) == 1


def test_a_participant_that_is_there_keeps_its_limits_when_it_is_defined_again() -> None:
    node = FakeNode()
    asked(node, "participant ALPHA\nlimits ALPHA max_ids=9 order_rate=off")
    told = asked(node, "participant ALPHA")
    assert "added" not in told
    assert told["rejected"] == 1
    assert limits_of(node, "ALPHA") == {"max_ids": 9}


def test_without_defaults_and_for_a_name_that_is_none_nothing_is_added() -> None:
    node = FakeNode()
    assert "added" not in asked(node, "participant ALPHA", limits="")
    assert limits_of(node, "ALPHA") == {}
    told = asked(node, "participant alpha")
    assert ("added" not in told, told["rejected"]) == (True, 1)
    raw = parse("participant BETA", "x")[0].row.hex()
    assert asked(node, f"raw {raw}")["added"] == ["limits BETA order_rate=4000/1s max_ids=1000"]


def test_default_limits_are_a_rate_and_a_share_of_the_venue_or_off() -> None:
    assert default_limits(CAPACITY, checked_rate("1000/100ms"), checked_share("25%")) == (
        "order_rate=1000/100ms max_open_orders=100 max_ids=1000"
    )
    assert default_limits(CAPACITY, checked_rate(OFF), checked_share("0.01%")) == "max_open_orders=1 max_ids=1"
    assert default_limits(CAPACITY, OFF, checked_share(OFF)) == ""
    for wrong in ("4097/1s", "0/1s", "10", "5/2d", ""):
        with pytest.raises(ValueError, match=r"order rate|the order rate"):
            checked_rate(wrong)
    for wrong in ("0%", "101%", "25", "-1%"):
        with pytest.raises(ValueError, match="share"):
            checked_share(wrong)


def test_one_participant_cannot_use_up_the_ids_and_slots_of_the_others() -> None:
    """Without limits one user fills the venue; with the default share the others still enter their orders."""
    flood = batch(*(enter(1, f"a{n}", BUY, 1, 99_000) for n in range(2 * CAPACITY.orders_max)))
    other = enter(2, "b1", BUY, 1, 99_000)
    for share, taken, reason in ((OFF, CAPACITY.orders_max, Reason.CAPACITY), ("25%", 100, 0)):
        engine = Engine(CAPACITY)
        engine.apply(market_of(2))
        limits = default_limits(CAPACITY, OFF, checked_share(share))
        lines, _ = with_defaults(parse("participant P1", "x"), limits, ())
        engine.apply(_rows(lines[1:]))
        events = engine.apply(flood)
        assert int((events["kind"] == EventKind.ACCEPTED).sum()) == taken
        assert int(engine.apply(other)["reason"][0]) == reason


def _rows(lines: Any) -> Any:
    return np.frombuffer(b"".join(line.before + line.row for line in lines), COMMAND)


def test_room_that_gets_scarce_is_warned_of_once_a_level_until_it_is_free_again() -> None:
    warned: list[tuple[str, int]] = []
    watch = CapacityWatch(lambda _event, **fields: warned.append((fields["room"], fields["level_percent"])))
    fine: Status = {key: value for used, most in ROOMS.values() for key, value in ((used, 0), (most, 100))}
    for ids_used in (69, 70, 71, 89, 90, 95, 90, 89, 81, 79, 90, 61, 70, 59, 70):
        watch.look(fine | {"ids_used": ids_used})
    assert [level for _, level in warned] == [70, 90, 90, 70]
    watch.look(fine | {"users": 91})
    assert warned[4:] == [("users", 70), ("users", 90)]


def test_the_share_of_room_that_is_used_is_a_metric() -> None:
    engine = Engine(CAPACITY)
    engine.apply(batch(market_of(2), *(enter(1, f"a{n}", BUY, 1, 99_000) for n in range(40))))
    status = room_status(engine, 1_024)
    node = FakeNode()
    original = node.status
    node.status = lambda: original() | status  # type: ignore[method-assign]
    found = samples(Metrics(node).text().decode())
    shares = {labels: value for (name, labels), value in found.items() if name == "lockstep_capacity_used_ratio"}
    assert shares == {
        "room=open_orders": 0.1,
        "room=order_ids": 0.01,
        "room=instruments": 0.25,
        "room=participants": 0.25,
        "room=users": 0.25,
    }
