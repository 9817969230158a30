"""LOBSTER days: read whole or refused with the line, and run to the published book wherever the data determines it."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.names import Directory, unpack
from engine.records import CommandKind, Reason
from engine.reference import ReferenceEngine
from engine.row_bytes import event_values
from lobster.check import Check, CheckReport, DifferenceReason, DisplayedBook
from lobster.notes import UNDETERMINED, Note
from lobster.read import EMPTY_E4, LobsterError, file_name, midnight_ns, read_book, read_messages
from lobster.translate import Flow, translate
from lobster.write import base_62, lobster_id
from notation.parse import parse
from notation.print import Printer
from notation.translate import Translator

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "lobster"
AAPL = "AAPL_2012-06-21_0930_"
needs_data = pytest.mark.skipif(not (DATA / f"{AAPL}message.csv").is_file(), reason="the LOBSTER sample is not here")

MESSAGES = """\
34200.000000001,1,11,100,100000,1
34200.5,1,12,50,100200,-1
34201,2,11,40,100000,1
34201,4,12,20,100200,-1
34202,3,11,60,100000,1
"""
BOOK = "100300,10,100000,100,9999999999,0,99900,30\n"


def run(flow: Flow, *books: Any, batch_rows: int = 512) -> list[CheckReport]:
    """The flow through an engine, beside each of the books."""
    engine = ReferenceEngine()
    checks = [Check(flow, book) for book in books]
    refused = 0
    for rows in flow.batches(batch_rows):
        events = engine.apply(rows)
        refused += int(np.isin(events["reason"], [int(r) for r in Reason if r < Reason.USER and r]).sum())
        for check in checks:
            check.see(events, engine.seq)
    engine.check()
    assert refused == 0
    return [check.report for check in checks]


def flow_of(messages: str, book: str, **options: Any) -> Flow:
    """The commands of two texts."""
    return translate(
        read_messages(messages, "m.csv", date="2012-06-21"), read_book(book, "b.csv"), symbol="XYZ", **options
    )


@pytest.fixture(scope="module")
def aapl() -> Flow:
    messages = read_messages((DATA / f"{AAPL}message.csv").read_text(), f"{AAPL}message.csv", date="2012-06-21")
    return translate(messages, read_book((DATA / f"{AAPL}book50_first672.csv").read_text(), "book50"), symbol="AAPL")


@needs_data
def test_the_best_bid_and_offer_of_all_45000_rows_of_apple_are_the_published_ones(aapl: Flow) -> None:
    top = read_book((DATA / f"{AAPL}top1.csv").read_text(), "top1")
    (report,) = run(aapl, top, batch_rows=8_192)
    assert (report.rows, report.equal, report.differences) == (45_000, 45_000, [])
    assert report.fills == len(aapl.fills) > 2_260
    assert report.fills_wrong == []


@pytest.mark.slow
@needs_data
def test_all_fifty_levels_of_apple_are_the_published_ones(aapl: Flow) -> None:
    (report,) = run(aapl, read_book((DATA / f"{AAPL}book50_first672.csv").read_text(), "book50"))
    assert (report.rows, report.equal, report.unexplained) == (672, 672, [])
    assert aapl.revealed > 0


@needs_data
def test_the_opening_row_alone_gives_apples_levels_where_the_data_determines_them() -> None:
    messages = read_messages((DATA / f"{AAPL}message.csv").read_text(), "messages", date="2012-06-21")
    messages = messages._replace(**{name: getattr(messages, name)[:672] for name in messages._fields[2:]})
    book = read_book((DATA / f"{AAPL}book50_first672.csv").read_text(), "book50")
    (report,) = run(translate(messages, book[:1], symbol="AAPL"), book)
    assert (report.rows, report.equal, report.unexplained) == (672, 664, [])
    assert [difference.line for difference in report.differences] == [*range(507, 515)]
    # One ask that entered while its price was beyond the fiftieth level, and shows when others have gone.
    assert {tuple(difference.expected[-4:-2]) for difference in report.differences} == {(5_925_000, 100)}


@needs_data
def test_every_message_of_apple_is_counted_by_what_became_of_it(aapl: Flow) -> None:
    counts = aapl.counts()
    skipped = {Note.HIDDEN_EXECUTION: 1251, Note.UNSEEN_ORDER: 21}
    assert counts == skipped | {Note.OLDER_ORDER: 38, Note.NOT_FIRST: 26, Note.REVEALED: 1}


@needs_data
def test_apple_printed_as_a_scenario_gives_the_same_rows(aapl: Flow) -> None:
    rows = aapl.rows[:5_000]
    engine, again = ReferenceEngine(), ReferenceEngine()
    printer = Printer()
    text = "\n".join(printer.print_block(rows, engine.apply(rows), 1, with_events=False))
    assert "raw" not in text
    translator = Translator(parse(text, "apple.txt"), again.directory)
    raws = []
    while (batch := translator.next_batch(again.directory)) is not None:
        again.apply(batch.rows)
        raws.append(batch.rows.tobytes())
    assert b"".join(raws) == rows.tobytes()


class PublishedMarket:
    """A market with a full book, that publishes the first ``levels`` prices and the messages about them."""

    def __init__(self, seed: int, levels: int) -> None:
        self.random = random.Random(seed)
        self.levels = levels
        self.sides: dict[int, dict[int, list[list[int]]]] = {1: {}, -1: {}}
        self.messages: list[str] = []
        self.book: list[str] = []
        self.now_ns = 34_200 * 10**9
        self.next_id = 1
        self.drift = 1

    def prices(self, side: int) -> list[int]:
        return sorted(self.sides[side], reverse=side == 1)

    def step(self, publish: bool) -> None:
        """One event of a random kind."""
        if self.random.random() < 0.02:
            self.drift = -self.drift
        side = self.random.choice((1, -1))
        entries = 0.5 + 0.2 * self.drift * side  # one side thins out and the other fills up: the market moves
        if self.random.random() < entries or len(self.sides[side]) < 3:
            self.enter(side, publish)
        else:
            self.take(side, publish)

    def enter(self, side: int, publish: bool) -> None:
        other = self.prices(-side)
        inside = other[0] - side * 100 if other else 100_000
        own = self.prices(side)
        anchor = own[0] if own else inside
        price = anchor - side * 100 * int(self.random.expovariate(0.15) - 3 * (side == self.drift))
        price = min(price, inside) if side == 1 else max(price, inside)
        qty, order_id = self.random.randint(1, 300), self.next_id
        self.next_id += self.random.randint(1, 3)
        self.sides[side].setdefault(price, []).append([order_id, qty])
        self.publish(publish and price in self.prices(side)[: self.levels], 1, order_id, qty, price, side)

    def take(self, side: int, publish: bool) -> None:
        kind = self.random.choice((2, 3, 3, 4, 4, 5, 7))
        prices = self.prices(side)
        price = prices[0] if kind == 4 else prices[min(int(self.random.expovariate(0.3)), len(prices) - 1)]
        seen = publish and price in prices[: self.levels]
        queue = self.sides[side][price]
        order = queue[0] if kind == 4 and self.random.random() < 0.9 else self.random.choice(queue)
        if kind > 4:
            self.publish(publish, kind, 0, 100, price, side)
            return
        qty = order[1] if kind == 3 else self.random.randint(1, order[1])
        order[1] -= qty
        if order[1] == 0:
            queue.remove(order)
        if not queue:
            del self.sides[side][price]
        self.publish(seen, kind, order[0], qty, price, side)

    def publish(self, seen: bool, *message: int) -> None:
        self.now_ns += self.random.choice((0, 1, 999_999_937))
        if not seen:
            return
        self.messages.append(f"{self.now_ns // 10**9}.{self.now_ns % 10**9:09d},{','.join(map(str, message))}\n")
        row: list[int] = []
        sides = [(side, self.sides[side], self.prices(side)) for side in (-1, 1)]
        for level in range(self.levels):
            for side, queues, prices in sides:
                price = prices[level] if level < len(prices) else -side * EMPTY_E4
                row += [price, sum(qty for _id, qty in queues.get(price, ()))]
        self.book.append(",".join(map(str, row)) + "\n")


class ThinMarket(PublishedMarket):
    """A market whose levels are used up all the time, so that deeper ones come into sight."""

    def step(self, publish: bool) -> None:
        """One event of a random kind."""
        side = self.random.choice((1, -1))
        if len(self.sides[side]) < 3 or (self.random.random() < 0.5 and len(self.sides[side]) < 25):
            self.enter(side, publish)
        else:
            self.take(side, publish)


def published(seed: int, levels: int, messages: int, of: type[PublishedMarket] = PublishedMarket) -> PublishedMarket:
    """A market that published that many messages, after a time in which it published none."""
    market = of(seed, levels)
    for _ in range(300):
        market.step(publish=False)
    while len(market.messages) < messages:
        market.step(publish=True)
    return market


@pytest.mark.slow_after(2)
@pytest.mark.parametrize("levels", [1, 2, 3, 5, 10])
@pytest.mark.parametrize("seed", range(5))
def test_whatever_leaves_the_published_levels_no_difference_is_left_unexplained(seed: int, levels: int) -> None:
    market = published(seed, levels, 1_500)
    flow = flow_of("".join(market.messages), market.book[0])
    book = read_book("".join(market.book), "b.csv")
    full, top = run(flow, book, np.ascontiguousarray(book[:, :4]))
    assert (full.unexplained, full.fills_wrong) == ([], [])
    assert (top.unexplained, top.fills_wrong, top.rows) == ([], [], 1_500)
    assert top.equal >= full.equal
    assert Note.UNKNOWN_ORDER not in flow.counts()


@pytest.mark.slow_after(6)
@pytest.mark.parametrize("levels", [1, 2, 3, 5, 10])
@pytest.mark.parametrize("seed", range(5))
def test_later_rows_reveal_what_came_and_went_beyond_the_published_levels(seed: int, levels: int) -> None:
    market = published(seed, levels, 1_000, ThinMarket)
    flow = flow_of("".join(market.messages), "".join(market.book))
    book = read_book("".join(market.book), "b.csv")
    (report,) = run(flow, book)
    assert (report.equal, report.differences, report.fills_wrong) == (1_000, [], [])
    assert 0 < flow.revealed < 100
    assert (flow.horizon_e4 == book[:, [-4, -2]]).all()
    # Each message is taken over whole.
    assert not UNDETERMINED & set(flow.counts())


@pytest.mark.parametrize("seed", range(3))
def test_rows_for_the_first_messages_reveal_as_much_as_they_show(seed: int) -> None:
    market = published(seed, 3, 1_000, ThinMarket)
    book = read_book("".join(market.book), "b.csv")
    flow = flow_of("".join(market.messages), "".join(market.book[:400]))
    (report,) = run(flow, book)
    assert report.equal > 400
    assert min(difference.line for difference in report.differences) > 400
    assert {difference.why for difference in report.differences} == {DifferenceReason.BEYOND_LEVELS}


def test_an_order_that_a_later_message_takes_from_is_not_the_one_that_left_unseen() -> None:
    """Two orders at a price that leaves the one published level and returns with the size of one of them."""
    messages = "34200,1,11,100,99900,1\n34201,1,12,100,99900,1\n34202,1,13,10,100000,1\n34203,3,13,10,100000,1\n"
    for kept, left in ((11, 12), (12, 11)):
        flow = flow_of(
            f"{messages}34204,3,{kept},100,99900,1\n34205,1,14,5,99800,1\n",
            "100300,10,99900,100\n100300,10,99900,200\n100300,10,100000,10\n100300,10,99900,100\n100300,10,99700,3\n100300,10,99800,5\n",
        )
        canceled = flow.rows["client_order_id"][flow.rows["kind"] == CommandKind.CANCEL].tolist()
        assert [lobster_id(unpack(number)) for number in canceled] == [left, 13, kept]
        assert flow.counts() == {Note.REVEALED: 2}
        assert flow.revealed == 2


@pytest.mark.parametrize("line", [3, 60, 150, 299])
@pytest.mark.parametrize("column", [1, 3, 9, 11])
def test_a_wrong_size_in_one_row_is_found_also_where_the_rows_reveal_levels(line: int, column: int) -> None:
    """In the row itself, or in the next one when the row had just revealed the level."""
    market = published(2, 3, 320, ThinMarket)
    book = read_book("".join(market.book), "b.csv")
    book[line, column] += 7
    messages = read_messages("".join(market.messages), "m.csv", date="2012-06-21")
    (report,) = run(translate(messages, book, symbol="XYZ"), book)
    assert report.unexplained
    assert report.unexplained[0].line in (line + 1, line + 2)
    assert not report.passed


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 5))])
def test_a_book_that_is_published_whole_is_rebuilt_whole(seed: int) -> None:
    market = published(seed, 200, 1_000)
    flow = flow_of("".join(market.messages), "".join(market.book))
    (report,) = run(flow, read_book("".join(market.book), "b.csv"))
    assert report.equal == report.rows == 1_000
    assert flow.counts()[Note.NOT_FIRST] > 0
    assert not UNDETERMINED & set(flow.counts())


def test_a_wrong_number_in_the_published_book_is_an_unexplained_difference() -> None:
    market = published(1, 200, 300)
    book = read_book("".join(market.book), "b.csv")
    book[250, 1] += 1
    (report,) = run(flow_of("".join(market.messages), "".join(market.book)), book)
    assert [(d.line, d.why) for d in report.differences] == [(251, DifferenceReason.UNEXPLAINED)]
    assert not report.passed


def test_messages_become_the_commands_that_the_format_says() -> None:
    flow = flow_of(MESSAGES, BOOK)
    kinds = [CommandKind(kind).name for kind in flow.rows["kind"]]
    setup = ["CLOCK", "INSTRUMENT", "PARTICIPANT", "PARTICIPANT", "PHASE"]
    assert kinds == [*setup, *["ENTER"] * 3, "CLOCK", "ENTER", "CLOCK", "REPLACE", "ENTER", "CLOCK", "CANCEL"]
    assert [unpack(number) for number in flow.rows["client_order_id"][5:8].tolist()] == ["S1", "S2", "LB"]
    assert flow.rows["time_ns"][0] == midnight_ns("2012-06-21", "m.csv") + 34_200 * 10**9 + 1
    assert flow.rows_after.tolist() == [8, 10, 12, 13, 15]
    assert flow.seeded == 2


def test_an_entry_that_crosses_the_book_of_the_data_is_held_back_until_it_does_not() -> None:
    messages = (
        MESSAGES + "34203,1,13,10,100300,1\n34204,3,12,30,100200,-1\n34205,3,99,10,100300,-1\n34206,2,13,4,100300,1\n"
    )
    flow = flow_of(messages, BOOK)
    published_rows = [
        [100300, 10, 100000, 100],
        [100200, 50, 100000, 100],
        [100200, 50, 100000, 60],
        [100200, 30, 100000, 60],
        [100200, 30, 99900, 30],
        [100200, 30, 100300, 10],
        [100300, 10, 100300, 10],
        [EMPTY_E4, 0, 100300, 10],
        [EMPTY_E4, 0, 100300, 6],
    ]
    (report,) = run(flow, np.array(published_rows))
    assert [(d.line, d.why) for d in report.differences] == [
        (6, DifferenceReason.CROSSED),
        (7, DifferenceReason.CROSSED),
    ]
    assert flow.counts() == {Note.CROSSED: 1, Note.OLDER_ORDER: 1}


def test_orders_that_left_beyond_the_published_levels_are_canceled_when_a_message_proves_it() -> None:
    entries = "34200,1,11,100,100000,1\n34201,1,12,50,100100,1\n34202,3,12,50,100100,1\n"
    flow = flow_of(entries + "34203,1,13,5,100000,-1\n34204,1,14,7,99900,1\n", "100300,10,100000,100\n")
    published_rows = [
        [100300, 10, 100000, 100],
        [100300, 10, 100100, 50],
        [100300, 10, 99800, 5],  # order 11 has left while its price was the second
        [100000, 5, 99800, 5],
        [100000, 5, 99900, 7],
    ]
    (report,) = run(flow, np.array(published_rows))
    assert [(d.line, d.why) for d in report.differences] == [
        (3, DifferenceReason.BEYOND_LEVELS),
        (4, DifferenceReason.BEYOND_LEVELS),
    ]
    assert flow.notes == [(4, Note.LEFT_UNSEEN)]
    assert flow.horizon_e4[:, 1].tolist() == [100_000, 100_100, 100_100, 100_000, 100_000]


def test_an_execution_proves_that_nothing_better_is_left() -> None:
    entries = "34200,1,11,100,99900,1\n34201,1,12,50,100000,1\n34202,1,13,50,100100,1\n34203,3,13,50,100100,1\n"
    flow = flow_of(entries + "34204,4,11,40,99900,1\n", "100300,10,99900,100\n")
    (report,) = run(flow, np.array([[100300, 10, 99900, 100]]))
    assert report.passed
    assert flow.notes == [(5, Note.LEFT_UNSEEN)]
    assert [(unpack(fill.resting), fill.qty) for fill in flow.fills] == [("LB", 40)]


@pytest.mark.parametrize(
    ("line", "note"),
    [
        ("34203,3,77,60,100000,1", Note.UNKNOWN_ORDER),
        ("34203,2,12,31,100200,-1", Note.TOO_MUCH),
        ("34203,3,12,29,100200,-1", Note.OTHER_SIZE),
        ("34203,1,12,5,100200,-1", Note.REPEATED_ID),
        ("34203,4,88,5,100300,-1", Note.NOT_BEST),
        ("34203,6,0,5,100200,-1", Note.CROSS_TRADE),
        ("34203,7,0,0,-1,-1", Note.HALT_INDICATOR),
    ],
)
def test_a_message_that_cannot_be_taken_over_whole_is_named_with_its_line(line: str, note: Note) -> None:
    flow = flow_of(MESSAGES + line + "\n", BOOK)
    assert (6, note) in flow.notes
    run(flow, read_book(BOOK, "b.csv"))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("34203,1,13,10,100300", "is not a message"),
        ("34203,1,13,ten,100300,1", "is not a message"),
        ("", "is not a message"),
        ("34201.9,1,13,10,100300,1", "the time is before the one above"),
        ("86400,1,13,10,100300,1", "the time is not within a day"),
        ("34203,8,13,10,100300,1", "the type is not 1 to 7"),
        ("34203,1,13,0,100300,1", "the size is not from 1"),
        ("34203,1,13,100000000,100300,1", "the size is not from 1"),
        ("34203,1,13,10,0,1", "the price is not from 1"),
        ("34203,1,13,10,100300,0", "the direction is neither 1 nor -1"),
        ("34203,1,13,10,100350,1", "the price 100350 is off the tick of 100; all prices of the file fit --tick 0.005"),
        ("34203,1,99999999999999999999,10,100300,1", "is not a message"),
    ],
)
def test_a_bad_message_is_refused_with_file_and_line(line: str, says: str) -> None:
    with pytest.raises(LobsterError) as error:
        read_messages(f"{MESSAGES}{line}\n34204,1,14,10,100300,1\n", "m.csv", date="2012-06-21")
    assert str(error.value).startswith("m.csv:6: ")
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "b.csv: the file is empty"),
        ("100300,10,100000\n", "b.csv:1: a row of a book has 4 numbers a level"),
        (BOOK + "100300,10,100000,100\n", "b.csv:2: the row has 4 numbers and the first has 8"),
        (BOOK + BOOK.replace("30\n", "x\n"), "b.csv:2: 'x' is not a whole number"),
        (BOOK.replace("99900", "100100"), "b.csv:1: the levels do not go from the best price to worse ones"),
        (BOOK.replace("100300,10", "100300,0"), "b.csv:1: a price is not from 1"),
        (BOOK.replace("99900", "99950"), "b.csv:1: the price 99950 is off the tick of 100"),
    ],
)
def test_a_bad_book_is_refused_with_file_and_line(text: str, says: str) -> None:
    with pytest.raises(LobsterError) as error:
        read_book(text, "b.csv")
    assert str(error.value).startswith(says)


def test_files_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(LobsterError, match="does not hold the order entered"):
        flow_of(MESSAGES, "100300,10,100000,99,100400,5,99900,30\n")
    with pytest.raises(LobsterError, match="b:2: the book has more rows"):
        Check(flow_of(MESSAGES[: MESSAGES.index("\n") + 1], BOOK), read_book(BOOK * 2, "b"), name="b")
    with pytest.raises(LobsterError, match="the venue has XYZ already"):
        flow_of(MESSAGES, BOOK, directory=Directory(("XYZ",)))
    with pytest.raises(LobsterError, match="clock is later"):
        flow_of(MESSAGES, BOOK, directory=Directory(now_ns=2**62))
    with pytest.raises(LobsterError, match="the date is '21 June'"):
        read_messages(MESSAGES, "m.csv", date="21 June")


def test_the_first_message_is_undone_to_find_the_book_before_it() -> None:
    for kind, before in ((1, {99_900: 30}), (2, {100_000: 200, 99_900: 30}), (4, {100_000: 200, 99_900: 30})):
        flow = flow_of(f"34200,{kind},11,100,100000,1\n", BOOK)
        book = DisplayedBook(flow.instrument)
        engine = ReferenceEngine()
        for event in event_values(engine.apply(flow.rows[: 5 + flow.seeded])):
            book.see(event)
        assert book.levels[1] == before
        (report,) = run(flow, read_book(BOOK, "b.csv"))
        assert report.equal == 1


def test_an_order_id_of_any_size_becomes_a_client_order_id_of_eight_characters() -> None:
    top = 62**7 - 1
    assert (base_62(top), lobster_id("L" + base_62(top)), lobster_id("S1")) == ("zzzzzzz", top, None)
    flow = flow_of(f"34200,1,{10**18 - 1},100,100000,1\n34200,1,{top},5,100000,1\n34200,1,-5,5,100000,1\n", BOOK)
    assert [unpack(number) for number in flow.rows["client_order_id"][-3:].tolist()] == ["N1", "Lzzzzzzz", "N2"]


def test_the_file_name_tells_symbol_date_and_levels() -> None:
    assert file_name("GOOG_2012-06-21_34200000_57600000_message_10.csv") == ("GOOG", "2012-06-21", 10)
    assert file_name("messages.csv") == ("", "", 0)
