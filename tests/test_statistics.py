"""Statistics are exact: sums in plain Python, one report at a time, give the same, however the reports came."""

from collections import defaultdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine import Engine
from engine.records import Phase
from marketdata import Ladders
from marketdata.statistics import Bar, Share, Statistics, Totals, exact_sums
from reports import Liquidity, ReportKind, Reports
from tests.conftest import Lockstep
from tests.json_schemas import checked
from tests.report_streams import CAPACITY, user_stream

WIDTH_NS = 60 * 1_000_000_000
MADE = ("ADDED", "REMOVED", "OPENING_CROSS", "CLOSING_CROSS", "HALT_CROSS")


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2**60 - 1), st.integers(0, 2**60 - 1)), max_size=40))
def test_sums_of_products_are_exact(rows: list[tuple[int, int, int]]) -> None:
    places, one, other = np.array(rows, np.int64).reshape(-1, 3).T
    expected = [sum(a * b for place, a, b in rows if place == at) for at in range(4)]
    assert exact_sums(places, one, other, 4) == expected


def seen(seed: int) -> tuple[NDArray[Any], NDArray[Any], Ladders, int]:
    """Reports of a stream, the quotes of their ladders, those, and the clock at the end."""
    rows = user_stream(seed, 4_000)
    engine, fold, ladders = Engine(CAPACITY), Reports(CAPACITY), Ladders(CAPACITY)
    reports = fold.make(1, rows, engine.apply(rows))
    _, quotes = ladders.take(reports)
    return reports, quotes, ladders, engine.now_ns


def summed(reports: NDArray[Any]) -> tuple[dict[int, Totals], dict[tuple[int, int], Bar], dict[tuple[int, int], Share]]:
    """Totals without quotes, bars and shares, one report after the other."""
    totals: dict[int, Totals] = defaultdict(Totals)
    bars: dict[tuple[int, int], Bar] = defaultdict(Bar)
    shares: dict[tuple[int, int], Share] = defaultdict(Share)
    for row in reports[reports["kind"] == ReportKind.TRADE]:
        number, price_e4, qty = int(row["instrument"]), int(row["last_price_e4"]), int(row["last_qty"])
        role = Liquidity(int(row["liquidity"])).name
        share = shares[int(row["participant"]), number]
        share.trades += 1
        if role in ("ADDED", "MIDPOINT_ADDED"):
            share.added_qty += qty
        if role in ("REMOVED", "MIDPOINT_REMOVED"):
            share.removed_qty += qty
        if row["side"] < 0:
            share.sold_qty += qty
            share.sold_e4 += qty * price_e4
            continue
        share.bought_qty += qty
        share.bought_e4 += qty * price_e4
        total = totals[number]
        for bar in (total, bars[number, int(row["time_ns"]) // WIDTH_NS * WIDTH_NS]):
            bar.trades += 1
            bar.qty += qty
            bar.notional_e4 += qty * price_e4
            if role in MADE:
                bar.open_e4 = bar.open_e4 or price_e4
                bar.high_e4 = max(bar.high_e4, price_e4)
                bar.low_e4 = min(bar.low_e4 or price_e4, price_e4)
                bar.close_e4 = price_e4
        if role.endswith("_CROSS") and role != "AGREED_CROSS":
            total.auction_qty += qty
        if role.startswith("MIDPOINT"):
            total.midpoint_qty += qty
        if role == "AGREED_CROSS":
            total.cross_qty += qty
        if role == "OPENING_CROSS":
            total.official_open_e4 = total.official_open_e4 or price_e4
        if role == "CLOSING_CROSS":
            total.official_close_e4 = price_e4
    return totals, bars, shares


def timed(totals: dict[int, Totals], quotes: NDArray[Any], end_ns: int) -> None:
    """Times, spreads and flow imbalance, one quote after the other."""
    last: dict[int, Any] = {}
    for quote in quotes:
        number = int(quote["instrument"])
        if number in last:
            _stood(totals[number], last[number], int(quote["time_ns"]))
            if last[number]["phase"] == quote["phase"] == Phase.CONTINUOUS:
                totals[number].flow_imbalance_qty += _flow(last[number], quote)
        last[number] = quote
    for number, quote in last.items():
        _stood(totals[number], quote, end_ns)


def _stood(total: Totals, quote: Any, until_ns: int) -> None:
    lasted_ns = until_ns - int(quote["time_ns"])
    if quote["phase"] == Phase.CONTINUOUS and quote["time_ns"] > 0:
        total.continuous_ns += lasted_ns
        if quote["bid_e4"] and quote["offer_e4"]:
            total.quoted_ns += lasted_ns
            total.spread_e4_ns += lasted_ns * int(quote["offer_e4"] - quote["bid_e4"])


def _flow(was: Any, now: Any) -> int:
    flow = 0
    if now["bid_e4"] >= was["bid_e4"]:
        flow += int(now["bid_qty"])
    if now["bid_e4"] <= was["bid_e4"]:
        flow -= int(was["bid_qty"])
    was_offer, offer = (int(each["offer_e4"]) or 2**62 for each in (was, now))
    if offer <= was_offer:
        flow -= int(now["offer_qty"])
    if offer >= was_offer:
        flow += int(was["offer_qty"])
    return flow


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_all_figures_are_those_of_sums_one_by_one(seed: int) -> None:
    reports, quotes, ladders, now_ns = seen(seed)
    totals, bars, shares = summed(reports)
    timed(totals, quotes, now_ns)
    whole = Statistics(width_ns=WIDTH_NS)
    whole.learn(reports)
    whole.take(reports, quotes)
    whole.end(ladders.tables.quotes, now_ns)
    assert {number: total for number, total in whole.totals.items() if total != Totals()} == {
        number: total for number, total in totals.items() if total != Totals()
    }
    assert whole.bars == bars
    assert whole.shares == shares
    assert sum(total.trades for total in totals.values()) > 50

    parts = Statistics(width_ns=WIDTH_NS)
    rng = np.random.default_rng(seed)
    cuts = np.sort(rng.integers(1, int(reports["seq"][-1]), 60))
    for begin, end in zip([0, *cuts], [*cuts, 2**62], strict=True):
        within = (reports["seq"] > begin) & (reports["seq"] <= end), (quotes["seq"] > begin) & (quotes["seq"] <= end)
        parts.learn(reports[within[0]])
        parts.take(reports[within[0]], quotes[within[1]])
    parts.end(ladders.tables.quotes, now_ns)
    assert parts.digest() == whole.digest()
    for changed, name in ((parts.totals, "qty"), (parts.bars, "close_e4"), (parts.shares, "removed_qty")):
        row = next(iter(changed.values()))
        before = getattr(row, name)
        setattr(row, name, before + 1)
        assert parts.digest() != whole.digest(), name
        setattr(row, name, before)
    assert parts.digest() == whole.digest()


def test_the_streams_have_trades_of_each_role() -> None:
    """The control: without auctions, midpoint trades and crosses the figures of those would be shown by nothing."""
    roles = {Liquidity(int(role)).name for seed in range(4) for role in seen(seed)[0]["liquidity"] if role}
    assert roles == {role.name for role in Liquidity}


def test_means_are_exact_fractions() -> None:
    assert Bar(qty=3, notional_e4=10).vwap_e4 == Fraction(10, 3)
    assert Bar().vwap_e4 is None
    assert Totals(quoted_ns=7, spread_e4_ns=10).spread_e4 == Fraction(10, 7)
    assert Totals().spread_e4 is None


DAY = """\
at 2024-01-15T09:29:00
instrument XYZ tick=0.01 lot=1 reference=10.00
instrument QUIET tick=0.01 lot=1 reference=10.00
participant ALPHA
participant BETA
phase XYZ opening_auction
enter ALPHA o1 sell 100 XYZ @ 10.00
enter BETA o2 buy 100 XYZ @ 10.02
at 09:30:00
phase XYZ continuous
enter ALPHA a1 sell 300 XYZ @ 10.05 tif=gtc
enter ALPHA a2 sell 200 XYZ @ 10.03
enter BETA b1 buy 100 XYZ @ 9.98
at +30s
enter BETA b2 buy 350 XYZ @ 10.05
at +1m
cross ALPHA c1 40 XYZ @ 10.00 buyer=ALPHA seller=BETA
at 16:00:00
phase XYZ closing_auction
enter BETA b9 sell 10 XYZ @ market
enter ALPHA a9 buy 10 XYZ @ 10.04
at 16:01:00
phase XYZ closed
"""


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from cli.main import run_line

    folder = tmp_path_factory.mktemp("stats")
    (folder / "day.txt").write_text(DAY)
    assert run_line(["run", str(folder / "day.txt"), "--data", str(folder / "node"), "--block-rows", "4"]) == 0
    return folder / "node"


def told(lockstep: Lockstep, *words: Any) -> dict[str, Any]:
    status, said, _ = lockstep("stats", *words, "--json")
    assert status == 0
    (facts,) = checked(["stats"], said)
    return facts


@pytest.mark.slow
def test_stats_shows_the_day_as_one_counts_it_by_hand(day: Path, lockstep: Lockstep) -> None:
    facts = told(lockstep, day)
    xyz, quiet = facts["statistics"]
    assert (quiet["symbol"], quiet["trades"], quiet["vwap_e4"], quiet["continuous_ns"]) == ("QUIET", 0, None, 0)
    assert (xyz["trades"], xyz["qty"], xyz["auction_qty"], xyz["cross_qty"]) == (5, 500, 110, 40)
    assert [xyz[f"{name}_e4"] for name in ("open", "high", "low", "close")] == [100_000, 100_500, 100_000, 100_400]
    assert (xyz["official_open_e4"], xyz["official_close_e4"]) == (100_000, 100_400)
    notional = 100 * 100_000 + 200 * 100_300 + 150 * 100_500 + 40 * 100_000 + 10 * 100_400
    assert (xyz["notional_e4"], xyz["vwap_e4"]) == (notional, round(Fraction(notional, 500)))
    # 30 s of 9.98 to 10.03, then 9.98 to 10.05 until 16:00.
    spent_ns = 6 * 3600 * 10**9 + 30 * 60 * 10**9
    assert (xyz["continuous_ns"], xyz["quoted_ns"]) == (spent_ns, spent_ns)
    assert xyz["spread_e4"] == round(Fraction(30 * 500 + (spent_ns // 10**9 - 30) * 700, spent_ns // 10**9))


def test_a_range_counts_its_own_trades_and_its_own_time(day: Path, lockstep: Lockstep) -> None:
    (xyz, _) = told(lockstep, day, "--from", "09:30", "--to", "09:30:30")["statistics"]
    assert (xyz["trades"], xyz["continuous_ns"], xyz["spread_e4"]) == (3, 30 * 10**9, 500)
    (later, _) = told(lockstep, day, "--from", "09:31:30", "--to", "09:31:30")["statistics"]
    assert (later["trades"], later["open_e4"], later["vwap_e4"]) == (1, None, 100_000)


def test_shares_and_bars(day: Path, lockstep: Lockstep) -> None:
    alpha, beta = told(lockstep, day, "--by", "participant")["statistics"]
    assert [alpha[name] for name in ("participant", "bought_qty", "sold_qty", "added_qty", "removed_qty")] == [
        *("ALPHA", 50, 450, 350, 0)
    ]
    assert (beta["removed_qty"], beta["share_bps"], beta["symbol"]) == (350, 5_000, None)
    (only,) = told(lockstep, day, "--by", "symbol,participant", "--participant", "BETA")["statistics"]
    assert (only["symbol"], only["bought_qty"]) == ("XYZ", 450)
    bars = told(lockstep, day, "--bars", "1m", "--symbol", "XYZ")["statistics"]
    assert [(bar["begin"][11:16], bar["qty"], bar["open_e4"], bar["close_e4"]) for bar in bars] == [
        ("09:30", 450, 100_000, 100_500),
        ("09:31", 40, None, None),
        ("16:01", 10, 100_400, 100_400),
    ]
    status, said, _ = lockstep("stats", day, "--bars", "1h")
    assert status == 0
    assert "bars of 1h" in said
    assert "09:00" in said


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--by", "day"], "it is one of"),
        (["--bars", "90"], "whole seconds from 1s to 1d, with their unit"),
        (["--bars", "1ms"], "whole seconds"),
        (["--bars", "2d"], "from 1s to 1d"),
        (["--bars", "1m", "--by", "participant"], "bars are of instruments"),
        (["--symbol", "NONE"], "there is no instrument NONE"),
        (["--by", "participant", "--participant", "NOBODY"], "there is no participant NOBODY"),
        (["--participant", "BETA"], "totals of an instrument are of all participants; give --by participant or"),
        (["--bars", "1m", "--participant", "BETA"], "bars are of all participants; leave --participant out"),
        (["--from", "99"], "99"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_sentence(
    day: Path, lockstep: Lockstep, words: list[str], what: str
) -> None:
    status, said, complaint = lockstep("stats", day, *words)
    assert (status, said) == (2, "")
    assert what in complaint
    assert "Traceback" not in complaint
