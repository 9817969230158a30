"""OUCH 4.2, rule by rule, as this exchange has it: docs/PROTOCOL.md lists where and why it differs."""

from typing import Any

import numpy as np
import pytest

from engine.bounds import DAY_NS
from engine.names import pack
from engine.records import CommandKind, Phase
from tests.ouch_messages import IOC, SYSTEM_HOURS, cancel, enter, modify, replace
from tests.test_gateway import BEGIN_NS, Venue, row
from tests.test_ouch_bounds import PRICE_E4_MARKET, Side, operator_order


def sides(venue: Venue, user: int) -> list[str]:
    """Each message as its kind, its side where it has one, and its shares."""
    return [
        " ".join([kind, *(str(fields[name]) for name in ("buy_sell", "shares") if name in fields)])
        for kind, fields in venue.told(user)
    ]


# Modify Order.


@pytest.mark.parametrize("entered", "BSTE")
@pytest.mark.parametrize("asked", ["B", "S", "T", "E", "b", " ", "\0"])
@pytest.mark.parametrize("shares", [60, 100])
def test_a_modify_changes_a_sale_into_another_kind_of_sale_and_no_side(entered: str, asked: str, shares: int) -> None:
    venue = Venue()
    venue.send((1, enter("a1", entered, 100, 100_000)))
    venue.send((1, modify("a1", asked, shares)))
    sale = entered in "STE" and asked in "STE"
    fewer = shares < 100 and asked == entered
    if (sale and asked != entered) or fewer:
        assert sides(venue, 1) == [f"ORDER_MODIFIED {asked} {shares}"]
    else:
        assert sides(venue, 1) == ["CANCEL_REJECT"]
        shares = 100
    other = enter("b1", "S" if entered == "B" else "B", 200, 100_000)
    venue.send((2, other))
    assert venue.short(1) == [f"EXECUTED a1 {shares}"], "on the side on which it was entered, as many as were told"


def test_a_modify_with_the_shares_that_are_left_counts_those_that_were_executed() -> None:
    venue = Venue()
    venue.send((1, enter("LONGTOKEN00001", "S", 100, 100_000)), (2, enter("b1", "B", 30, 100_000)))
    venue.send((1, modify("LONGTOKEN00001", "T", 100)))
    assert sides(venue, 1) == ["ORDER_MODIFIED T 70"]
    venue.send((1, cancel("LONGTOKEN00001", 90) + modify("LONGTOKEN00001", "E", 100)))
    assert sides(venue, 1) == ["CANCELED", "CANCEL_REJECT"], "more than is left"
    venue.send((1, modify("LONGTOKEN00001", "E", 90)))
    assert sides(venue, 1) == ["ORDER_MODIFIED E 60"]
    venue.send((1, replace("LONGTOKEN00001", "a2", 80, 100_100)))
    assert sides(venue, 1) == ["REPLACED E 50"]
    venue.send((1, modify("a2", "S", 80) + modify("a2", "S", 80) + modify("a2", "S", 0)))
    assert sides(venue, 1) == ["ORDER_MODIFIED S 50", "CANCEL_REJECT", "CANCEL_REJECT"], "nothing to change; no shares"


def test_a_modify_of_another_user_of_the_participant_is_told_to_both() -> None:
    venue = Venue()
    venue.send((2, enter("b1", "S", 10, 100_000)))
    venue.send((3, modify("b1", "T", 10)))
    assert sides(venue, 2) == sides(venue, 3) == ["ORDER_MODIFIED T 10"]
    venue.send((1, modify("b1", "E", 10)))
    assert sides(venue, 1) == ["CANCEL_REJECT"]
    assert venue.told(2) == []


def test_marks_that_were_modified_are_told_again_by_replay_and_from_an_image() -> None:
    venue = Venue()
    venue.send((1, enter("a1", "S", 10, 100_000)))
    venue.send((1, modify("a1", "T", 10)))
    image = {name: np.array(array) for name, array in venue.streams.image().items()}
    ends = dict(venue.ends)
    rows, _ = venue.read((1, replace("a1", "a2", 9, 100_000)))
    venue.sent.clear()
    venue.take(rows)
    first = venue.sent[1]
    again = Venue()
    again.ends = dict(ends)
    again.streams.restore(image)
    for taken in venue.journal[1:-1]:
        again.engine.apply(taken)
    again.sent.clear()
    again.take(rows)
    assert again.sent[1] == first
    assert sides(again, 1) == ["REPLACED T 9"]


def test_a_modify_may_come_before_the_accepted_of_its_order_and_is_judged_alike() -> None:
    venue = Venue()
    sent = enter("a1", "S", 100, 100_000) + modify("a1", "B", 60) + modify("a1", "T", 100) + modify("a1", "E", 60)
    sent += replace("a1", "LONGTOKEN00001", 50, 100_100) + modify("LONGTOKEN00001", "B", 40)
    venue.send((1, sent + modify("LONGTOKEN00001", "S", 40)))
    assert sides(venue, 1) == [
        "ACCEPTED S 100", "CANCEL_REJECT", "ORDER_MODIFIED T 100", "ORDER_MODIFIED E 60", "REPLACED E 50",
        "CANCEL_REJECT", "ORDER_MODIFIED S 40",
    ]  # fmt: skip


def test_a_second_entry_of_a_token_does_not_make_its_order_another_for_a_modify() -> None:
    venue = Venue()
    for first, second, price_e4 in (("S", "B", 110_000), ("B", "S", 90_000)):
        twice = enter(f"a{first}", first, 100, price_e4) + enter(f"a{first}", second, 100, 100_000)
        venue.send((1, twice + modify(f"a{first}", second, 60)))
        assert sides(venue, 1) == [f"ACCEPTED {first} 100", "REJECTED", f"ORDER_MODIFIED {first} 60"]
    venue.send((1, enter("aS", "B", 5, 90_000) + modify("aS", "B", 50) + modify("aS", "T", 50)))
    assert sides(venue, 1) == ["REJECTED", "CANCEL_REJECT", "ORDER_MODIFIED T 50"], "what was told is known"


def test_a_correct_modify_is_not_refused_for_an_entry_of_its_token_that_was_rejected() -> None:
    venue = Venue()
    venue.send((1, enter("T1", "B", 0, 90_000) + enter("T1", "S", 100, 100_000) + modify("T1", "T", 50)))
    assert sides(venue, 1) == ["REJECTED", "ACCEPTED S 100", "ORDER_MODIFIED T 50"]


def test_a_modify_is_not_judged_by_an_order_of_the_day_before() -> None:
    venue = Venue()
    venue.send((1, enter("T1", "B", 100, 90_000)))
    venue.take(row(CommandKind.CLOCK, time_ns=BEGIN_NS + DAY_NS))
    venue.send((1, enter("T1", "S", 100, 100_000) + modify("T1", "B", 60) + modify("T1", "T", 50)))
    assert sides(venue, 1) == ["ACCEPTED S 100", "CANCEL_REJECT", "ORDER_MODIFIED T 50"]


@pytest.mark.slow
def test_orders_of_others_change_no_answer_to_a_correct_modify() -> None:
    venue = Venue()
    rows = [venue.read((1, enter("M1", "S", 100, 100_000)))[0]]
    for burst in range(30):  # which nothing is told of yet
        venue.read((2, b"".join(enter(f"X{burst}-{n}", "B", 10, 90_000) for n in range(1_000))))
    rows.append(venue.read((1, modify("M1", "T", 50)))[0])
    venue.sent.clear()
    for taken in rows:
        venue.take(taken)
    assert sides(venue, 1) == ["ACCEPTED S 100", "ORDER_MODIFIED T 50"]


# Replace Order.


def test_a_replace_cannot_make_an_order_what_it_is_not() -> None:
    venue = Venue()
    venue.send((1, enter("a1", "B", 10, 90_000) + enter("p1", "B", 10, 90_000, display="P")))
    for name, options, code in (
        ("a1", {"display": "P"}, "D"),
        ("a1", {"display": "L"}, "D"),
        ("a1", {"display": "N"}, "D"),
        ("p1", {"display": "Y"}, "D"),
        ("a1", {"tif_s": IOC}, "D"),
        ("a1", {"tif_s": 60}, "D"),
        ("a1", {"min_qty": 5}, "N"),
    ):
        changes: Any = {"display": "P" if name == "p1" else "Y", **options}
        venue.send((1, replace(name, "new", 9, 90_100, **changes)))
        assert venue.short(1) == [f"REJECTED new {code}"], options
    venue.send((1, cancel("a1") + cancel("p1")))
    assert venue.short(1) == ["CANCELED a1 10 U", "CANCELED p1 10 U"], "they stand untouched"
    at_once = enter("a2", "B", 10, 90_000) + replace("a2", "a3", 10, 90_100, display="P")
    at_once += enter("p2", "B", 10, 90_000, display="P") + replace("p2", "p3", 10, 90_100, display="L")
    venue.send((1, at_once + replace("p3", "p4", 10, 90_100)))
    assert venue.short(1) == ["ACCEPTED a2 10", "REJECTED a3 D", "ACCEPTED p2 10", "REPLACED p3 10", "REJECTED p4 D"]


def test_a_replace_changes_what_stands_beside_the_terms_and_replaced_says_so() -> None:
    venue = Venue()
    venue.send((1, enter("a1", "B", 10, 90_000)))
    venue.send((1, replace("a1", "a2", 10, 90_100, display="A", tif_s=SYSTEM_HOURS)))
    ((kind, fields),) = venue.told(1)
    assert (kind, fields["display"], fields["time_in_force_s"]) == ("REPLACED", "A", SYSTEM_HOURS)
    venue.send((1, replace("a2", "a3", 9, 90_100)))
    ((_, fields),) = venue.told(1)
    assert (fields["display"], fields["time_in_force_s"], fields["previous_order_token"]) == ("Y", 99_998, "a2")


def test_a_replace_that_is_refused_leaves_the_order_and_the_new_token() -> None:
    venue = Venue()
    venue.send((1, enter("a1", "B", 10, 90_000)))
    venue.send((1, replace("a1", "a2", 1_000_000, 90_000) + replace("a1", "a2", 10, 90_001)))
    assert venue.short(1) == ["REJECTED a2 Z", "REJECTED a2 X"]
    venue.send((1, replace("a1", "a1", 10, 90_100) + replace("a1", "a2", 10, 90_100) + replace("a1", "a4", 9, 90_000)))
    assert venue.short(1) == ["REJECTED a1 U", "REPLACED a2 10", "CANCEL_REJECT a1"]


def test_an_order_for_the_closing_auction_waits_and_trades_in_its_uncross() -> None:
    venue = Venue()
    venue.send((1, enter("a1", "B", 10, 90_000, cross="C")))
    assert venue.short(1) == ["ACCEPTED a1 10"]
    venue.send((2, enter("b1", "S", 10, 90_000)))
    assert venue.short(2) == ["ACCEPTED b1 10"], "in continuous trading it meets no other order"
    for each in (Phase.CLOSING_AUCTION, Phase.CLOSED):
        venue.take(row(CommandKind.PHASE, name=pack("XYZ"), phase=int(each)))
    assert venue.short(1) == ["EXECUTED a1 10"]


# Pegs to the midpoint.


def test_an_order_with_display_m_is_pegged_to_the_midpoint() -> None:
    venue = Venue()
    venue.send((1, enter("bid", "B", 10, 99_900)), (2, enter("offer", "S", 10, 100_300)))
    venue.send(
        (1, enter("peg", "B", 40, PRICE_E4_MARKET, display="M") + enter("capped", "B", 40, 100_000, display="M"))
    )
    told = venue.told(1)
    assert [(kind, fields["display"], fields["price_e4"]) for kind, fields in told[-2:]] == [
        ("ACCEPTED", "M", PRICE_E4_MARKET),
        ("ACCEPTED", "M", 100_000),
    ]
    venue.send((2, enter("sale", "S", 50, 99_900, tif_s=IOC)))
    executed = [fields for kind, fields in venue.told(1) if kind == "EXECUTED"]
    assert [(each["order_token"], each["executed_shares"], each["execution_price_e4"]) for each in executed] == [
        ("peg", 40, 100_100),
        ("capped", 10, 100_000),
    ]


def test_a_peg_stays_one_when_it_is_replaced() -> None:
    venue = Venue()
    venue.send((1, enter("p1", "B", 40, 100_000, display="M") + replace("p1", "p2", 30, 100_000, display="M")))
    assert venue.short(1) == ["ACCEPTED p1 40", "REPLACED p2 30"]
    venue.send((1, replace("p2", "p3", 20, 100_000) + replace("p2", "p3", 20, 100_000, display="N")))
    assert venue.short(1) == ["REJECTED p3 D"] * 2
    venue.send((1, enter("a1", "B", 10, 90_000) + replace("a1", "a2", 10, 90_000, display="M")))
    assert venue.short(1) == ["ACCEPTED a1 10", "REJECTED a2 D"]


# What is refused, and with which code.


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"min_qty": 5}, "N"),
        ({"min_qty": 11, "tif_s": IOC}, "N"),
        ({"min_qty": 2**32 - 1, "tif_s": IOC}, "N"),
        ({"cross": "O"}, "R"),
        ({"cross": "H"}, "R"),
        ({"cross": "S"}, "R"),
        ({"cross": "C", "min_qty": 5}, "R"),
        ({"display": "N", "tif_s": IOC}, "D"),
        ({"display": "N", "min_qty": 5}, "D"),
        ({"display": "W"}, "D"),
        ({"display": "M", "tif_s": IOC}, "D"),
        ({"display": "M", "cross": "O"}, "R"),
        ({"display": "P", "tif_s": IOC}, "D"),
        ({"tif_s": 60}, "O"),
        ({"stock": "NONE"}, "S"),
        ({"side": "b"}, "O"),
    ],
)
def test_a_refusal_has_the_code_that_ouch_has_for_it(options: dict[str, Any], code: str) -> None:
    venue = Venue()
    terms = {"side": "B", **options}
    venue.send((1, enter("a1", terms.pop("side"), 10, 90_000, **terms)))
    assert venue.short(1) == [f"REJECTED a1 {code}"]


@pytest.mark.parametrize(
    "token", [b"a1" + bytes(12), b"a\t1           ", b"\x7f" * 14, b"\xe9clair        ", b"ABCDEFGHIJKLM\n", b" " * 14]
)
def test_a_token_that_is_no_text_is_refused(token: bytes) -> None:
    venue = Venue()
    venue.send((1, enter(token, "B", 10, 90_000) + enter("a1", "B", 10, 90_000)))
    told = venue.told(1)
    assert [kind for kind, _ in told] == ["REJECTED", "ACCEPTED"]
    assert (venue.sent[1][12:26], told[0][1]["reject_reason"]) == (token, "O")
    venue.send((1, replace("a1", token, 9, 90_000) + cancel(token) + cancel("a1")))
    assert [kind for kind, _ in venue.told(1)] == ["REJECTED", "CANCEL_REJECT", "CANCELED"]
    assert venue.sent[1][12:26] == token


@pytest.mark.parametrize("token", ["a 1", " a1", "~!@#$%^&*()_+{", "}|:<>?-=[]';,."])
def test_a_token_of_any_printable_characters_is_taken(token: str) -> None:
    venue = Venue()
    venue.send((1, enter(token, "B", 10, 90_000)))
    assert venue.told(1)[0][0] == "ACCEPTED"
    venue.send((1, cancel(token)))
    assert venue.sent[1][12:26] == token.encode().ljust(14)


def test_a_capacity_that_is_none_of_three_becomes_other() -> None:
    for capacity, told in (("A", "A"), ("P", "P"), ("R", "R"), ("O", "O"), ("x", "O"), ("\0", "O")):
        venue = Venue()
        venue.send((1, enter("a1", "B", 10, 90_000, capacity=capacity)))
        assert venue.told(1)[0][1]["capacity"] == told


# Orders that no user entered.


def test_who_cancels_or_replaces_an_order_of_the_participant_that_no_user_entered_is_answered() -> None:
    venue = Venue()
    venue.take(operator_order("o1", Side.SELL, 10, 100_000))
    venue.take(operator_order("o2", Side.SELL, 10, 100_000))
    venue.take(operator_order("o3", Side.SELL, 10, 100_000))
    venue.send((2, cancel("o1") + cancel("o2", 4)))
    assert venue.short(2) == ["CANCELED o1 10 U", "CANCELED o2 6 U"]
    venue.send((2, replace("o2", "b2", 5, 100_000) + modify("o3", "T", 10) + modify("b2", "T", 5)))
    assert venue.short(2) == ["REPLACED b2 5", "CANCEL_REJECT o3", "ORDER_MODIFIED b2 5"]
    told = venue.told(2)[0][1]
    assert (told["buy_sell"], told["display"], told["firm"], told["previous_order_token"]) == ("S", "Y", "FIRM", "o2")
    assert told["capacity"] == "O"
    venue.send((1, enter("a1", "B", 20, 100_000)))
    assert venue.short(2) == ["EXECUTED b2 5"], "from the replace on it is the user's"


def test_a_market_order_that_would_trade_with_its_own_participant_is_told_without_a_price() -> None:
    venue = Venue()
    venue.send((2, enter("b1", "S", 5, 90_000)))
    venue.send((3, enter("c1", "B", 7, PRICE_E4_MARKET)))
    kind, fields = venue.told(3)[1]
    assert (kind, fields["execution_price_e4"]) == ("AIQ_CANCELED", PRICE_E4_MARKET)


def test_a_market_order_in_a_call_has_the_price_that_means_market() -> None:
    venue = Venue()
    venue.take(row(CommandKind.PHASE, name=pack("XYZ"), phase=int(Phase.PRE_OPEN)))
    venue.send((1, enter("a1", "B", 5, PRICE_E4_MARKET)))
    assert venue.told(1)[0][1]["price_e4"] == PRICE_E4_MARKET
    venue.send((1, replace("a1", "a2", 4, PRICE_E4_MARKET)))
    assert venue.told(1)[0][1]["price_e4"] == PRICE_E4_MARKET
