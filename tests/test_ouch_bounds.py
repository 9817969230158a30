"""Numbers beyond OUCH's fields: refused on entry, kept out of what users meet, and never told cut.

OUCH 4.2 bounds an order at 999,999 shares and $199,999.9900; its price field has 32 bits. The market itself goes to
99,999,999 shares and 999,999.9999.
"""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.names import pack
from engine.records import CommandKind, Instruction, Phase, SelfTrade, Side, TimeInForce, concatenate
from gateway.ouch.tables import new_tables
from gateway.ouch.writing import put_number, put_price, put_u64
from node.core import far_prices
from node.core.control import OperationRefused
from replay.errors import ReplayError
from tests.ouch_messages import cancel, enter, replace
from tests.test_gateway import Venue, row
from wire import ouch

PRICE_E4_MARKET = ouch.PRICE_E4_MARKET
FAR_E4 = 5_000_000_000  # 500,000.00, which 32 bits cut to 70,503.27


def operator_order(name: str, side: Side, qty: int, price_e4: int, instrument: int = 1) -> Any:
    """An order of participant 2 that no user sent."""
    return row(
        CommandKind.ENTER,
        client_order_id=pack(name),
        participant=2,
        instrument=instrument,
        side=side,
        qty=qty,
        price_e4=price_e4,
        time_in_force=TimeInForce.DAY,
        self_trade=SelfTrade.CANCEL_NEWEST,
        instructions=0 if price_e4 else Instruction.MARKET,
    )


@pytest.mark.parametrize(
    ("shares", "price_e4", "answer"),
    [
        (999_999, 100_000, "ACCEPTED a1 999999"),
        (1_000_000, 100_000, "REJECTED a1 Z"),
        (99_999_999, 100_000, "REJECTED a1 Z"),
        (100_000_000, 100_000, "REJECTED a1 Z"),
        (2**32 - 1, 100_000, "REJECTED a1 Z"),
        (0, 100_000, "REJECTED a1 Z"),
        (1, 1_999_999_900, "ACCEPTED a1 1"),
        (1, 2_000_000_000, "REJECTED a1 X"),
        (1, PRICE_E4_MARKET - 47, "REJECTED a1 X"),
        (1, PRICE_E4_MARKET + 53, "REJECTED a1 X"),
        (1, 2**32 - 96, "REJECTED a1 X"),
        (1, 0, "REJECTED a1 X"),
    ],
)
def test_an_order_beyond_the_bounds_of_ouch_is_refused(shares: int, price_e4: int, answer: str) -> None:
    venue = Venue()
    venue.send((1, enter("a1", "B", shares, price_e4)))
    assert venue.short(1) == [answer]
    venue.send((1, enter("a2", "B", 5, 90_000)))
    venue.send((1, replace("a2", "a3", shares, price_e4)))
    expected = {"A": f"REPLACED a3 {shares}", "R": answer.replace("a1", "a3")}[answer[0]]
    assert venue.short(1) == [expected]


@pytest.mark.slow
@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.booleans())
def test_an_answer_has_the_number_that_was_entered_or_is_a_refusal(shares: int, price_e4: int, small: bool) -> None:
    if small:
        shares, price_e4 = shares % 1_200_000, price_e4 % 2_400_000_000 // 100 * 100
    venue = VENUE[0]
    venue.send((1, enter("a1", "B", shares, price_e4) + enter("a2", "B", 5, 90_000)))
    venue.send((1, replace("a2", "a3", shares, price_e4)))
    answers = venue.told(1)
    venue.send((1, cancel("a1") + cancel("a2") + cancel("a3")))
    for kind, fields in answers:
        assert kind in ("REPLACED", "REJECTED")
        if kind == "REPLACED":
            assert (fields["shares"], fields["price_e4"]) == (shares, price_e4)
            assert 1 <= shares <= ouch.SHARES_MAX
            assert 1 <= price_e4 <= ouch.PRICE_E4_MAX
    for kind, fields in venue.told(1):
        if kind == "CANCELED":
            assert fields["decrement_shares"] in (shares, 5)
    VENUE[0] = Venue()


VENUE = [Venue()]


@pytest.mark.slow
@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 2**32 + 3) | st.integers(1_999_999_890, 2_147_483_660))
def test_a_writer_of_a_field_writes_the_number_or_notes_that_it_does_not_fit(value: int) -> None:
    tables = new_tables(1, 1, 1, 1_024)
    for put, size, fits in (
        (put_number, 4, 0 <= value < 2**32),
        (put_price, 4, 0 <= value <= ouch.PRICE_E4_MAX),
        (put_u64, 8, value >= 0),
    ):
        tables.marks[:] = 0
        tables.out[:] = 77
        put(tables, np.int64(0), np.int64(value))
        assert (tables.out[size:] == 77).all()
        assert (int(tables.marks[0]) == 0) is fits
        if fits:
            told = int.from_bytes(tables.out[:size].tobytes(), "big")
            assert told == (PRICE_E4_MARKET if put is put_price and value == 0 else value)


def test_an_instrument_above_the_highest_price_of_ouch_takes_no_orders_over_ouch() -> None:
    venue = Venue()
    venue.take(
        concatenate(
            [
                row(CommandKind.INSTRUMENT, name=pack("FAR"), tick_e4=100, lot=1, reference_e4=FAR_E4),
                row(CommandKind.PHASE, name=pack("FAR"), phase=int(Phase.PRE_OPEN)),
            ]
        )
    )
    for side in "BS":
        venue.send((1, enter(f"m{side}", side, 10, PRICE_E4_MARKET, stock="FAR")))
        assert venue.short(1) == [f"REJECTED m{side} S"]
        venue.send((1, enter(f"l{side}", side, 10, 100_000, stock="FAR")))
        assert venue.short(1) == [f"REJECTED l{side} S"]
    venue.sent.clear()
    venue.take(row(CommandKind.PHASE, name=pack("FAR"), phase=int(Phase.CONTINUOUS)))
    assert venue.sent == {}
    restored = Venue()
    restored.ends = dict(venue.ends)
    restored.streams.restore({name: np.array(array) for name, array in venue.streams.image().items()})
    restored.send((1, enter("m1", "B", 10, PRICE_E4_MARKET, stock="FAR")))
    assert restored.short(1) == ["REJECTED m1 S"]


def test_a_tick_above_the_highest_price_of_ouch_counts_like_a_reference_price() -> None:
    venue = Venue()
    venue.take(row(CommandKind.INSTRUMENT, name=pack("FAR"), tick_e4=FAR_E4, lot=1, reference_e4=100_000))
    venue.send((1, enter("a1", "B", 10, PRICE_E4_MARKET, stock="FAR")))
    assert venue.short(1) == ["REJECTED a1 S"], "two market orders would uncross at one tick"


def test_an_order_beyond_the_bounds_from_elsewhere_closes_its_instrument_to_ouch() -> None:
    venue = Venue()
    venue.take(operator_order("o1", Side.BUY, 10, FAR_E4))
    venue.send((1, enter("a1", "S", 10, 100_000)))
    assert venue.short(1) == ["REJECTED a1 S"]
    venue.send((1, enter("a2", "S", 10, PRICE_E4_MARKET)))
    assert venue.short(1) == ["REJECTED a2 S"]


def test_a_number_that_cannot_be_told_is_left_out_and_all_else_is_told() -> None:
    venue = Venue()
    venue.take(row(CommandKind.PHASE, name=pack("XYZ"), phase=int(Phase.PRE_OPEN)))
    venue.send((1, enter("a1", "S", 10, 100_000)))
    venue.take(operator_order("o1", Side.BUY, 10, FAR_E4))
    venue.take(operator_order("o2", Side.SELL, 1, FAR_E4))
    venue.take(operator_order("o3", Side.BUY, 20, 0))
    venue.sent.clear()
    replaced = row(CommandKind.REPLACE, client_order_id=pack("a1"), participant=1, qty=10, price_e4=FAR_E4)
    replaced["new_client_order_id"] = pack("a9")
    said: list[dict[str, Any]] = []
    watch = far_prices.UntoldMessages(venue.streams, lambda _what, **fields: said.append(fields))
    watch.look()
    assert said == []
    venue.take(replaced)
    assert venue.sent == {}, "the answer to the replace has a price that OUCH does not have"
    watch.look()
    watch.look()
    assert [(each["messages"], each["seq"]) for each in said] == [(1, venue.engine.seq)]
    venue.take(row(CommandKind.CANCEL, client_order_id=pack("a9"), participant=1, context=1))
    assert venue.short(1) == ["CANCELED a9 10 U"], "the stream goes on with the next message"


def test_the_operator_enters_no_price_that_users_could_meet_and_ouch_cannot_tell() -> None:
    venue = Venue()
    venue.take(row(CommandKind.INSTRUMENT, name=pack("FAR"), tick_e4=100, lot=1, reference_e4=FAR_E4))
    venue.take(row(CommandKind.PHASE, name=pack("FAR"), phase=int(Phase.CONTINUOUS)))
    venue.send((1, enter("a1", "B", 10, 100_000)))
    venue.take(operator_order("o1", Side.BUY, 10, FAR_E4, instrument=2))

    def check(rows: Any) -> None:
        far_prices.check_commands(rows, venue.streams, venue.engine)

    def replaced(name: str, participant: int, price_e4: int) -> Any:
        ids = {"client_order_id": pack(name), "new_client_order_id": pack("new")}
        return row(CommandKind.REPLACE, **ids, participant=participant, qty=10, price_e4=price_e4)

    near = operator_order("o2", Side.BUY, 10, ouch.PRICE_E4_MAX)
    check(concatenate([near, operator_order("o3", Side.SELL, 10, 0), operator_order("o4", Side.BUY, 1, FAR_E4, 2)]))
    check(concatenate([replaced("a1", 1, 100_100), replaced("o1", 2, FAR_E4 + 100)]))
    for rows in (
        operator_order("o2", Side.BUY, 10, ouch.PRICE_E4_MAX + 1),
        operator_order("o2", Side.SELL, 10, FAR_E4),
        concatenate([near, replaced("a1", 1, FAR_E4)]),
    ):
        with pytest.raises(OperationRefused, match=r"is above 199999.99, the highest price of OUCH"):
            check(rows)


def test_a_directory_in_which_users_could_meet_such_a_price_is_named_and_not_upgraded() -> None:
    venue = Venue()
    venue.send((1, enter("a1", "S", 10, 1_999_999_000)))
    far_prices.check_orders(venue.streams, venue.engine)
    assert not list(far_prices.complaints(venue.streams, venue.engine))
    venue.take(operator_order("o1", Side.SELL, 10, FAR_E4))
    assert len(list(far_prices.complaints(venue.streams, venue.engine))) == 1
    with pytest.raises(
        ReplayError, match=r"^XYZ has prices above 199999.99, .* and open orders of users; cancel those"
    ):
        far_prices.check_orders(venue.streams, venue.engine)
    venue.send((1, cancel("a1")))
    far_prices.check_orders(venue.streams, venue.engine)
