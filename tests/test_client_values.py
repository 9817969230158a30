"""Values that a client sends and reads: as ``wire`` has them, and nothing that cannot be sent."""

import random
import subprocess
import sys
import time
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client import (
    Accepted,
    Display,
    NewOrder,
    OtherMessage,
    Rejected,
    Side,
    TimeInForce,
    Tokens,
    messages,
    prices,
)
from client.events import code_name
from client.tokens import checked
from tests.client_link import Link
from tests.fake_exchange import Market
from wire import ouch
from wire.ouch_codes import ClientMessage, ServerMessage


def filled(kind: ServerMessage, chance: random.Random) -> Any:
    rows = ouch.server_rows(kind)
    for name in ouch.FROM_SERVER[kind].names or ():
        dtype = ouch.FROM_SERVER[kind][name]
        if name != "kind" and dtype.kind == "S":
            rows[name] = ouch.alpha(
                "".join(chance.choices("ABCXYZ019", k=chance.randint(1, dtype.itemsize))), dtype.itemsize
            )
        elif name != "kind":
            rows[name] = (
                ord(chance.choice("ABCDELN")) if dtype.itemsize == 1 else chance.randrange(1 << 8 * dtype.itemsize)
            )
    return rows


#: Field of ``wire``'s tables, where an event has another name for it.
NAMES = {
    "order_token": "token",
    "replacement_order_token": "token",
    "previous_order_token": "previous_token",
    "buy_sell": "side",
    "shares": "qty",
    "executed_shares": "qty",
    "decrement_shares": "qty",
    "prevented_shares": "prevented_qty",
    "execution_price_e4": "price_e4",
    "stock": "symbol",
    "order_reference_number": "order_reference",
    "minimum_quantity": "min_qty",
    "cancel_reason": "reason",
    "reject_reason": "reason",
    "event_code": "code",
}


@pytest.mark.parametrize("kind", ServerMessage, ids=lambda kind: kind.name)
def test_a_message_is_read_as_wire_reads_it(kind: ServerMessage) -> None:
    chance = random.Random(kind)
    for _ in range(20):
        row = filled(kind, chance)[0]
        event = messages.read(7, row.tobytes())
        assert (event.seq, event.time_ns) == (7, row["time_ns"])
        if isinstance(event, OtherMessage):
            assert (event.kind, event.payload) == (kind.name.lower(), row.tobytes())
            continue
        for name in set(row.dtype.names) - {"kind", "bbo_weight", "order_state"}:
            said = getattr(event, NAMES.get(name, name), None)
            if said is None:
                assert (kind, name) in {
                    (ServerMessage.AIQ_CANCELED, "cancel_reason"),
                    (ServerMessage.AIQ_CANCELED, "liquidity"),
                }
                continue
            value = row[name]
            expected = value.decode().rstrip() if row.dtype[name].kind == "S" else int(value)
            assert (ord(said) if isinstance(expected, int) and isinstance(said, str) else said) == expected, name
        if isinstance(event, Accepted):
            assert event.live == (row["order_state"] == ord("L"))


def test_requests_are_the_bytes_that_wire_reads() -> None:
    new = NewOrder("XYZ", Side.SELL_SHORT, 300, "10.05", TimeInForce.IMMEDIATE_OR_CANCEL, min_qty=100, firm="ACME")
    row = ouch.read_client(messages.enter(new, "a1"))[0]
    assert row.dtype == ouch.ENTER_ORDER
    expected: dict[str, Any] = {
        "order_token": b"a1", "buy_sell": ord("T"), "shares": 300, "stock": b"XYZ", "price_e4": 100_500,
        "firm": b"ACME", "time_in_force_s": 0, "display": ord("Y"), "capacity": ord("P"), "intermarket_sweep": ord("N"),
        "minimum_quantity": 100, "cross_type": ord("N"), "customer_type": ord("N"),
    }  # fmt: skip
    assert {name: row[name].strip() if row[name].dtype.kind == "S" else row[name] for name in expected} == expected
    link = Link(Market()).connect()
    order, _ = link.enter()
    row = ouch.read_client(messages.replace(order, order.token, "b2", 200, 99_900))[0]
    assert [row[name] for name in ("shares", "price_e4", "time_in_force_s", "display")] == [
        200,
        99_900,
        99_998,
        ord("Y"),
    ]
    assert row["replacement_order_token"] == b"b2".ljust(14)
    row = ouch.read_client(messages.cancel("a1", 50))[0]
    assert (row["kind"], row["order_token"], row["shares"]) == (ClientMessage.CANCEL_ORDER, b"a1".ljust(14), 50)
    row = ouch.read_client(messages.modify("a1", Side.SELL_SHORT_EXEMPT, 50))[0]
    assert (row["kind"], row["buy_sell"], row["shares"]) == (ClientMessage.MODIFY_ORDER, ord("E"), 50)


@given(st.integers(1, prices.PRICE_E4_MAX))
@settings(derandomize=True)
def test_a_price_is_the_same_as_text_as_decimal_and_as_a_whole_number(number: int) -> None:
    assert prices.price_e4(prices.shown(number)) == prices.price_e4(prices.decimal(number)) == number
    assert prices.price_e4(Decimal(number) / 10_000) == number


@pytest.mark.parametrize(
    "price", ["", "x", "0", "-1", "10.00001", "200000", "nan", "inf", "1e99", Decimal("sNaN"), True, 0]
)
def test_what_is_no_price_is_refused_with_a_sentence(price: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="the price"):
        prices.price_e4(price)


def test_a_float_is_no_price() -> None:
    with pytest.raises(TypeError, match=r"the price 10.05 is a float; give it as text, '10.05', or as a Decimal"):
        NewOrder("XYZ", Side.BUY, 100, 10.05)  # type: ignore[arg-type]
    assert NewOrder("XYZ", Side.BUY, 100, None).price_e4 == ouch.PRICE_E4_MARKET
    assert prices.PRICE_E4_MARKET == ouch.PRICE_E4_MARKET
    assert prices.PRICE_E4_MAX == ouch.PRICE_E4_MAX


@pytest.mark.parametrize(
    "terms",
    [{"qty": 0}, {"qty": 1_000_000}, {"qty": 1.5}, {"symbol": ""}, {"symbol": "TOOLONGXY"}, {"symbol": "Ü"},
     {"side": 0}, {"time_in_force_s": 100_000}, {"min_qty": -1}, {"firm": "FIVE5"}],
)  # fmt: skip
def test_an_order_that_cannot_be_sent_is_refused_here(terms: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is no"):
        NewOrder(**{"symbol": "XYZ", "side": Side.BUY, "qty": 100, "price": "1", **terms})


def test_tokens_rise_and_a_restarted_program_does_not_use_them_again() -> None:
    before = Tokens("ALICE")
    made = [before.next() for _ in range(1000)]
    time.sleep(0.01)  # a program takes longer to start again than a microsecond a token
    made += [Tokens("alice").next()]
    assert all(one < other for one, other in pairwise(made))
    assert {len(token) for token in made} == {13}
    assert all(token.isalnum() and token.isascii() for token in made)
    assert before.next_marker().startswith("ALICE-")


def test_tokens_of_two_users_never_meet_whatever_their_names_and_counts() -> None:
    users = ("A", "AB", "A-", "-", "0", "00", "ABCDEF", "ABCDE0", "ABCDE-")
    made = [
        make()
        for user in users
        for start in (0, 1, 36**7, 36**8 - 1)
        for tokens in (Tokens(user, start),)
        for make in (tokens.next, tokens.next_marker, tokens.next, tokens.next)
    ]
    by_user = [set(made[at : at + 16]) for at in range(0, len(made), 16)]
    assert len(set.union(*by_user)) == sum(map(len, by_user))
    assert all(checked(token) == token for token in made)


def test_a_used_token_has_a_name_of_its_own_in_a_refusal() -> None:
    layout = messages.FORMATS[ServerMessage.REJECTED]
    rejected = messages.read(7, layout.pack(ServerMessage.REJECTED, 1, b"a1".ljust(14), ord("U")))
    assert isinstance(rejected, Rejected)
    assert code_name(rejected.reason) == "duplicate_id"


def test_the_library_loads_neither_numpy_nor_a_compiler() -> None:
    loaded = "import sys, client; print([m for m in ('numpy', 'numba', 'lmdb', 'typer', 'engine') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_terms_of_an_order_over_ouch_are_those_that_its_display_has_in_the_market() -> None:
    """The gateway takes both codes of post-only orders as such, and an attributable order is an ordinary one."""
    wanted = {"hidden": "N", "post_only": "PL", "peg=midpoint": "M", "": "AY"}
    for words, codes in wanted.items():
        for code in codes:
            order = NewOrder("XYZ", Side.BUY, 100, "10.00", display=Display(ord(code)))
            assert messages.terms(order) == words
