"""Positions, limits and calls as `lockstep state`, `commands` and `events` show them."""

import json
from pathlib import Path

import pytest

from engine.reference import ReferenceEngine
from notation.objects import limits_object
from notation.parse import parse
from notation.run import run_scenario
from notation.table import LIMIT_BITS
from replay import accounts
from tests.conftest import Lockstep

TEXT = """\
at 2024-01-15T09:30:00
instrument XYZ tick=0.01 lot=1 reference=10.00 adv=2000
instrument ABC tick=0.01 lot=1 reference=20.00
participant ALPHA
participant BETA allow=market,stp_none
participant GAMMA
limits ALPHA order_rate=100/1s credit=5000.00 margin=20%
limits ALPHA symbol=XYZ max_order_qty=500 adv=10% restricted=no
limits BETA symbol=ABC restricted
limits GAMMA max_order_value=off max_position=10
limits GAMMA max_position=off
phase XYZ opening_auction
enter ALPHA a1 sell 100 XYZ @ 10.00
enter BETA b1 buy 40 XYZ @ 10.00
phase XYZ continuous
enter ALPHA a2 buy 5 XYZ @ market tif=ioc
halt XYZ for=5m
clock_jump by=-3s to=2024-01-15T09:29:57
at 2024-01-15T09:35:00
kill GAMMA
resume *
"""
EVENTS = """\
> phase XYZ opening_auction
> accepted a1  # ALPHA
> accepted b1  # BETA
> indicative XYZ 40 @ 10.00 imbalance=60 side=sell
> phase XYZ continuous
> trade XYZ 40 @ 10.00 buy=b1 sell=a1  # BETA, ALPHA
> accepted a2  # ALPHA
> canceled a2 qty=5 reason=self_trade  # ALPHA
> halted XYZ reason=command
> phase XYZ auction
> killed GAMMA
"""
NO_LIMITS = limits_object(0, [0] * len(LIMIT_BITS))
LIMITS = [
    {
        "participant": "ALPHA",
        "symbol": None,
        "limits": NO_LIMITS
        | {"rate_orders": 100, "rate_window_ns": 1_000_000_000, "credit_e4": 50_000_000, "margin_bps": 2_000},
    },
    {"participant": "ALPHA", "symbol": "XYZ", "limits": NO_LIMITS | {"max_order_qty": 500, "adv_share_bps": 1_000}},
    {"participant": "BETA", "symbol": "ABC", "limits": NO_LIMITS | {"restricted": True}},
]
POSITIONS = [
    {"participant": "ALPHA", "symbol": "XYZ", "position_qty": -40, "open_buy_qty": 0, "open_sell_qty": 60},
    {"participant": "BETA", "symbol": "XYZ", "position_qty": 40, "open_buy_qty": 0, "open_sell_qty": 0},
]


@pytest.fixture
def node(tmp_path: Path, lockstep: Lockstep) -> Path:
    """A data directory with TEXT in it."""
    (tmp_path / "day.txt").write_text(TEXT)
    assert lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "node")[0] == 0
    return tmp_path / "node"


def test_an_account_is_what_the_rules_say() -> None:
    engine = ReferenceEngine()
    run_scenario(parse(TEXT, "day.txt"), engine, compare=False)
    assert accounts.limits(engine) == LIMITS
    assert accounts.positions(engine) == POSITIONS
    whole, instruments = accounts.account(engine, "ALPHA")
    assert whole == {
        "participant": "ALPHA",
        "open_orders": 1,
        "ids_used": 2,
        "open_notional_e4": 6_000_000,
        "killed": False,
        "allow": ["market"],
        "limits": LIMITS[0]["limits"],
    }
    assert instruments == [
        {"symbol": "XYZ", "position_qty": -40, "open_buy_qty": 0, "open_sell_qty": 60, "limits": LIMITS[1]["limits"]}
    ]
    whole, instruments = accounts.account(engine, "BETA")
    assert (whole["limits"], whole["allow"]) == (NO_LIMITS, ["market", "stp_none"])
    assert [(each["symbol"], each["position_qty"], each["limits"]) for each in instruments] == [
        ("XYZ", 40, NO_LIMITS),
        ("ABC", 0, NO_LIMITS | {"restricted": True}),
    ]
    assert [facts["killed"] for facts in accounts.participants(engine)] == [False, False, True]
    with pytest.raises(KeyError):
        accounts.account(engine, "NOBODY")


@pytest.mark.slow
def test_state_shows_positions_limits_and_open_notional(node: Path, lockstep: Lockstep) -> None:
    status, said, _ = lockstep("state", node, "--json")
    told = json.loads(said)
    assert (status, told["positions"], told["limits"]) == (0, POSITIONS, LIMITS)
    assert [(facts["participant"], facts["open_notional_e4"]) for facts in told["participants"]] == [
        ("ALPHA", 6_000_000),
        ("BETA", 0),
        ("GAMMA", 0),
    ]
    status, said, _ = lockstep("state", node)
    assert said.endswith(
        "participant  open orders  open notional  killed\n"
        "ALPHA                  1         600.00  no\n"
        "GAMMA                  0           0.00  yes\n"
        "participant  symbol  position qty  open buy qty  open sell qty\n"
        "ALPHA        XYZ              -40             0             60\n"
        "BETA         XYZ               40             0              0\n"
        "participant  symbol  limits\n"
        "ALPHA        -       order_rate=100/1s credit=5000.00 margin=20%\n"
        "ALPHA        XYZ     max_order_qty=500 adv=10%\n"
        "BETA         ABC     restricted\n"
    )


def test_more_positions_than_a_screen_holds_are_counted(tmp_path: Path, lockstep: Lockstep) -> None:
    names = [f"P{number}" for number in range(60)]
    lines = [f"participant {name}\nlimits {name} max_position=1" for name in names]
    (tmp_path / "day.txt").write_text("\n".join(lines))
    assert lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "node")[0] == 0
    status, said, _ = lockstep("state", tmp_path / "node")
    assert (status, said.count("max_position=1")) == (0, 50)
    assert said.endswith("and 10 more; --json prints all\n")
    assert len(json.loads(lockstep("state", tmp_path / "node", "--json")[1])["limits"]) == 60


def test_what_was_asked_is_printed_in_the_words_it_was_written_in(node: Path, lockstep: Lockstep) -> None:
    assert lockstep("commands", node)[:2] == (0, TEXT)
    assert lockstep("events", node)[:2] == (0, EVENTS)


def test_json_shows_limits_by_name_and_an_indicative_price_that_is_none(node: Path, lockstep: Lockstep) -> None:
    rows = [json.loads(line) for line in lockstep("commands", node, "--kind", "limits", "--json")[1].splitlines()]
    assert [row["kind"] for row in rows] == ["limits"] * 5
    first, second = rows[0]["limits"], rows[1]["limits"]
    assert {key: value for key, value in first.items() if value} == {
        "rate_orders": 100,
        "rate_window_ns": 1_000_000_000,
        "credit_e4": 50_000_000,
        "margin_bps": 2_000,
    }
    assert (second["restricted"], rows[1]["limits_off"]) == (False, ["restricted"])
    assert {key for key, value in second.items() if value} == {"max_order_qty", "adv_share_bps"}
    (event,) = map(json.loads, lockstep("events", node, "--kind", "indicative", "--json")[1].splitlines())
    assert {key: event[key] for key in ("symbol", "qty", "price_e4", "imbalance_qty", "imbalance_side")} == {
        "symbol": "XYZ",
        "qty": 40,
        "price_e4": 100_000,
        "imbalance_qty": 60,
        "imbalance_side": "sell",
    }


def test_a_selection_has_the_limits_of_its_participant_and_of_its_instrument(node: Path, lockstep: Lockstep) -> None:
    words = lockstep("commands", node, "--participant", "BETA")[1].splitlines()
    assert words == [TEXT.splitlines()[at] for at in (4, 8, 13)]
    words = lockstep("commands", node, "--symbol", "ABC")[1].splitlines()
    assert words == [TEXT.splitlines()[at] for at in (2, 8, 20)]


def test_the_order_of_a_halt_and_a_call_is_followed_through_the_uncross(node: Path, lockstep: Lockstep) -> None:
    status, said, _ = lockstep("order", node, "a1", "--json")
    life = json.loads(said)
    assert (status, life["leaves_qty"], life["cum_qty"]) == (0, 60, 40)
    assert [moment["event"]["kind"] for moment in life["history"]] == ["accepted", "trade"]


def test_both_engines_verify_what_was_written(node: Path, lockstep: Lockstep) -> None:
    for engine in ("kernel", "reference"):
        assert lockstep("verify", node, "--engine", engine, "--workers", 1)[0] == 0


def test_what_is_used_of_each_limit_is_what_the_checks_count(tmp_path: Path, lockstep: Lockstep) -> None:
    """Each is used up to the share or the cent: one more is refused for that limit."""
    (tmp_path / "day.txt").write_text(
        """\
instrument XYZ tick=0.01 lot=1 reference=10.00
instrument ABC tick=0.01 lot=1 reference=20.00
participant ALPHA
participant BETA
limits ALPHA max_position=100 credit=2000.00 margin=50% order_rate=6/1s max_open_orders=9 max_ids=50
limits ALPHA symbol=ABC max_position=7
phase * continuous
enter BETA b1 sell 40 XYZ @ 11.00
enter ALPHA a1 buy 40 XYZ @ 11.00
enter ALPHA a2 buy 60 XYZ @ 10.00 hidden
enter ALPHA a3 sell 5 XYZ @ 12.00
at +2s
enter ALPHA a4 buy 1 XYZ @ 1.00
enter ALPHA a5 buy 7 ABC @ 10.00
"""
    )
    assert lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "node")[0] == 0
    _, said, _ = lockstep("state", tmp_path / "node", "--participant", "ALPHA", "--json")
    uses = [
        (each["symbol"], each["limit"], each["side"], each["used"], each["allowed"])
        for each in json.loads(said)["uses"]
    ]
    assert uses == [
        (None, "order_rate", None, 2, 6),
        (None, "credit", None, 60 * 100_000 + 5 * 120_000 + 7 * 100_000 + 40 * 110_000 // 2, 20_000_000),
        (None, "max_open_orders", None, 3, 9),
        (None, "max_ids", None, 4, 50),
        ("XYZ", "max_position", "buy", 100, 100),
        ("XYZ", "max_position", "sell", -35, 100),
        ("ABC", "max_position", "buy", 7, 7),
        ("ABC", "max_position", "sell", 0, 7),
    ]
    _, said, _ = lockstep("events", tmp_path / "node", "--kind", "rejected")
    assert "reason=position_limit" in said
    _, said, _ = lockstep("state", tmp_path / "node", "--participant", "ALPHA", "--symbol", "ABC")
    assert said.endswith(
        "participants over all instruments; limits and uses too, where the symbol is -:\n"
        "participant  open orders  open notional  killed\n"
        "ALPHA                  3         730.00  no\n"
        "participant  symbol  position qty  open buy qty  open sell qty\n"
        "ALPHA        ABC                0             7              0\n"
        "participant  symbol  limits\n"
        "ALPHA        -       order_rate=6/1s credit=2000.00 margin=50% max_open_orders=9 max_ids=50\n"
        "ALPHA        ABC     max_position=7\n"
        "participant  symbol  limit                  used  allowed\n"
        "ALPHA        -       order_rate                2        6\n"
        "ALPHA        -       credit               950.00  2000.00\n"
        "ALPHA        -       max_open_orders           3        9\n"
        "ALPHA        -       max_ids                   4       50\n"
        "ALPHA        ABC     max_position, buys        7        7\n"
        "ALPHA        ABC     max_position, sells       0        7\n"
    )
    assert "XYZ" not in said


def test_a_selection_shows_the_limits_that_bind_in_its_symbol_and_counts_only_what_is_of_it(
    node: Path, lockstep: Lockstep
) -> None:
    """Limits over all instruments were left out, and the open orders of the whole venue counted."""
    _, said, _ = lockstep("state", node, "--participant", "ALPHA", "--symbol", "XYZ")
    assert "  open orders of ALPHA in XYZ  1\n" in said
    assert "ALPHA        -       order_rate=100/1s credit=5000.00 margin=20%\n" in said
    assert "ALPHA - credit 680.00 5000.00 " in " ".join(said.split()) + " "
    told = json.loads(lockstep("state", node, "--participant", "ALPHA", "--symbol", "ABC", "--json")[1])
    assert (told["open_orders"], told["limits"]) == (0, LIMITS[:1])
    assert [each["limit"] for each in told["uses"]] == ["order_rate", "credit"]
    _, said, _ = lockstep("limits", node, "--participant", "ALPHA", "--symbol", "ABC", "--json")
    assert json.loads(said)["limits"] == LIMITS[:1]
    _, said, _ = lockstep("limits", node, "--participant", "BETA", "--symbol", "XYZ", "--json")
    assert json.loads(said)["limits"] == []


def test_positions_and_uses_of_many_look_at_the_names_of_the_venue_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """The names are made anew at each look: one look a row took 50 s for 999 participants in 100 symbols."""
    looks = []
    directory = ReferenceEngine.directory
    assert isinstance(directory, property)
    engine = ReferenceEngine()
    lines = [f"participant P{number}\nlimits P{number} max_ids=9 max_position=10" for number in range(40)]
    orders = [f"enter P{number} a buy 1 XYZ @ 9.00" for number in range(40)]
    run_scenario(
        parse("\n".join([*TEXT.splitlines()[:2], *lines, "phase XYZ continuous", *orders]), "many"),
        engine,
        compare=False,
    )
    get = directory.fget
    assert get is not None
    monkeypatch.setattr(ReferenceEngine, "directory", property(lambda self: looks.append(1) or get(self)))
    assert len(accounts.positions(engine)) == 40
    assert len(accounts.uses(engine)) == 120
    assert len(looks) < 5
