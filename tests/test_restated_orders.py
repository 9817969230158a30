"""Orders that outlast a day over native order entry: the next day's stream begins with each, as it stands."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import pytest

from cli.trading import trade_words
from client import NewSession, OrderState, Restated, Side
from client import native as spoken
from client.day import TradingDay
from client.orders import Order
from engine.reference import ReferenceEngine
from gateway.native.streams import NativeStreams
from gateway.streams import Segment
from notation.parse import parse
from notation.translate import Translator
from reports.rows import ReportKind
from tests.report_streams import CAPACITY, Block, blocks, user_stream
from wire import soup

MARKET = """
at 2024-01-15T09:30:00
instrument XYZ tick=0.01 lot=1 reference=10.00
participant ALPHA
participant BETA
user UA participant=ALPHA
user UB participant=BETA
phase XYZ continuous
"""
#: Users 1 and 2 in the context of an order.
OF_UA, OF_UB = "context=0000000000000001", "context=0000000000000002"


class Told:
    """Messages of native order entry, by session and user."""

    def __init__(self) -> None:
        self.sessions: list[str] = []
        self.told: dict[tuple[str, int], list[bytes]] = {}
        self.streams = NativeStreams(CAPACITY, self._deliver, self.sessions.append, lambda _user, _why: None)

    def _deliver(self, segment: Segment) -> None:
        heard = self.told.setdefault((self.sessions[-1] if self.sessions else "", segment.user), [])
        assert segment.first_seq == len(heard) + 1
        payloads = [payload for _, payload in soup.packets(segment.data)]
        assert segment.messages == len(payloads)
        heard += payloads

    def take(self, given: Iterable[Block]) -> "Told":
        for block in given:
            self.streams(*block)
        return self


def told_of(text: str) -> Told:
    engine = ReferenceEngine(CAPACITY)
    translator = Translator(parse(MARKET + text, "a test"), engine.directory)
    told, seq = Told(), 1
    while (found := translator.next_batch(engine.directory)) is not None:
        told.take([Block(seq, found.rows, engine.apply(found.rows))])
        seq += len(found.rows)
    return told


def restated(messages: list[bytes]) -> list[Any]:
    """All reports of restated orders behind the begin of a day."""
    assert spoken.begins_day(messages[0])
    found = []
    for payload in messages[1:]:
        report = spoken.report_in(payload)
        if report is None or report.report != ReportKind.RESTATED or report.decrement_qty:
            break
        found.append(report)
    return found


def test_a_day_begins_with_the_orders_that_outlast_the_one_before() -> None:
    told = told_of(f"""
enter ALPHA a1 buy 100 XYZ @ 9.90 tif=gtc {OF_UA}
enter ALPHA a2 buy 100 XYZ @ 9.80 {OF_UA}
enter ALPHA a3 buy 30 XYZ @ 9.70 display=10 tif=gtd until=2024-01-17T00:00:00 {OF_UA}
enter BETA b1 sell 40 XYZ @ 9.90 {OF_UB}
enter BETA b2 sell 5 XYZ @ market stop=9.00 tif=gtc {OF_UB}
at 2024-01-16T09:30:00
cancel ALPHA a1
at 2024-01-17T09:30:00
""")
    first, second, third = told.sessions
    of_ua = restated(told.told[second, 1])
    assert [(each.order_token, each.leaves_qty, each.cum_qty, each.notional_e4) for each in of_ua] == [
        ("a1", 60, 40, 40 * 99_000),
        ("a3", 30, 0, 0),
    ]
    assert [spoken.words(each) for each in of_ua] == ["tif=gtc", "tif=gtd display=10 until=2024-01-17T00:00:00"]
    assert [each.displayed_qty for each in of_ua] == [60, 10]
    (of_ub,) = restated(told.told[second, 2])
    assert (of_ub.order_token, of_ub.displayed_qty, of_ub.stop_e4) == ("b2", 0, 90_000)
    # The day that ends a3 begins with it, as its reports follow each other in the journal.
    assert restated(told.told[first, 1]) == []
    assert [each.order_token for each in restated(told.told[third, 2])] == ["b2"]
    ends = [each.order_token for each in map(spoken.report_in, told.told[third, 1]) if each and each.leaves_qty == 0]
    assert ends == ["a3"]


def test_a_client_knows_the_same_order_another_day_and_a_new_client_all_of_it() -> None:
    told = told_of(f"""
enter ALPHA a1 buy 100 XYZ @ 9.90 tif=gtc {OF_UA}
enter BETA b1 sell 40 XYZ @ 9.90 {OF_UB}
at 2024-01-16T09:30:00
""")
    first, second = told.sessions
    here, fresh = TradingDay(Order), TradingDay(Order)
    for n, payload in enumerate(told.told[first, 1], 1):
        here.apply(spoken.read(n, payload))
    known = here.orders["a1"]
    here.begin()
    assert not here.orders
    for day in (here, fresh):
        for n, payload in enumerate(told.told[second, 1], 1):
            day.apply(event := spoken.read(n, payload))
    assert here.orders["a1"] is known
    for order in (known, fresh.orders["a1"]):
        assert (order.state, order.qty, order.leaves_qty, order.cum_qty) == (OrderState.LIVE, 100, 60, 40)
        assert (order.average_price, order.side, order.terms) == (Decimal("9.9"), Side.BUY, "tif=gtc")
    assert isinstance(event, Restated)
    assert trade_words.text(event, {}) == "restated a1: buy 60 XYZ @ 9.90 gtc, open from an earlier day"
    assert "day orders have ended" in trade_words.text(NewSession(second, first), {})


@pytest.mark.parametrize("seed", range(2, 6))
def test_what_a_day_begins_with_is_what_the_day_before_left_open(seed: int) -> None:
    """A reader that keeps what each stream says has the same open orders on both sides of each night."""
    told = Told().take(blocks(user_stream(seed, 3_000), seed))
    found = 0
    for user in {user for _, user in told.told}:
        standing: dict[int, Any] = {}
        for session in told.sessions:
            messages = told.told.get((session, user), [])
            if not messages:
                continue
            begun = restated(messages)
            assert [each.order_number for each in begun] == sorted(each.order_number for each in begun)
            assert {each.order_number: _state(each) for each in begun} == standing
            found += len(begun)
            for report in filter(None, map(spoken.report_in, messages)):
                if report.report in _MOVES:
                    standing.pop(report.order_number, None)
                    if report.leaves_qty and report.user == told.streams.name(user):  # another one may replace it
                        standing[report.order_number] = _state(report)
    assert found


#: Kinds of reports after which an order is open with what they say, or not at all.
_MOVES = (
    *(ReportKind.NEW, ReportKind.TRADE, ReportKind.CANCELED, ReportKind.REPLACED, ReportKind.RESTATED),
    *(ReportKind.EXPIRED, ReportKind.DONE_FOR_DAY, ReportKind.TRIGGERED, ReportKind.REPLENISHED, ReportKind.REPRICED),
)


def _state(report: Any) -> tuple[Any, ...]:
    return (report.order_token, report.leaves_qty, report.cum_qty, report.notional_e4, report.price_e4)
