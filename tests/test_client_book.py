"""Books of a client: equal to the market's after each message, and never silently wrong, whatever the network does.

The reader of ``tests/itch_reader.py`` is a second opinion on the books. Controls: a client that does not look for
gaps is wrong and would not know, and books that miss one message differ or say so.
"""

import random
from collections.abc import Iterator

import pytest

from client.book import Book, Books, LevelBook
from client.errors import FeedFault
from client.events import Side
from client.feed import ASKED_MESSAGES, GAP_MESSAGES_MAX, GIVE_UP_NS, REPEAT_NS, REQUESTS_MAX, SILENCE_NS, FeedSequence
from engine import Engine
from tests.feed_receiver import bad_network
from tests.itch_reader import Reader
from tests.report_streams import CAPACITY, Block, user_stream
from tests.test_itch_feed import Market
from wire import itch, mold
from wire.itch_layout import ItchMessage

MS = 1_000_000


def messages_of(seed: int, count: int = 1_500) -> list[bytes]:
    """Messages of the first session of a random market."""
    engine, market, rows = Engine(CAPACITY), Market(), user_stream(seed, count)
    for at in range(0, len(rows), 50):
        commands = rows[at : at + 50]
        market.take(Block(at + 1, commands, engine.apply(commands)))
    framed = market.sink.sessions[min(market.sink.sessions)]
    return [message for _, message in itch.cut(framed)]


def orders(book: Book) -> dict[int, list[tuple[int, int]]]:
    """(price_e4, shares) of each order by side, as the reader gives them."""
    return {
        sign: [(order.price_e4, order.qty) for order in book.orders(side)]
        for sign, side in ((1, Side.BUY), (-1, Side.SELL))
    }


def opinion(reader: Reader) -> dict[str, dict[int, list[tuple[int, int]]]]:
    return {symbol: {side: reader.side(n, side) for side in (1, -1)} for n, symbol in reader.symbols.items()}


def all_orders(books: Books) -> dict[str, dict[int, list[tuple[int, int]]]]:
    return {symbol: orders(books.book(symbol)) for symbol in books.symbols}


@pytest.mark.parametrize("seed", range(4))
def test_books_are_those_of_a_second_reader_after_each_message(seed: int) -> None:
    books, reader = Books(), Reader()
    for message in messages_of(seed):
        book = books.take(message)
        reader.take(message)
        if book is not None:
            locate = next(number for number, symbol in reader.symbols.items() if symbol == book.symbol)
            expected = {side: reader.side(locate, side) for side in (1, -1)}
            assert orders(book) == expected
            for side, sign in ((Side.BUY, 1), (Side.SELL, -1)):
                levels = list(book.levels(side))
                assert sum(level.qty for level in levels) == sum(shares for _, shares in expected[sign])
                assert book.best(side) == (levels[0] if levels else None)
    assert len(reader.kinds) >= 8


def test_books_that_miss_a_message_differ_or_say_so() -> None:
    messages, found, different = messages_of(0), 0, 0
    whole = Books()
    for message in messages:
        whole.take(message)
    changing = [n for n, message in enumerate(messages) if message[0] in b"AEXDU"]
    for left_out in random.Random(1).sample(changing, 60):
        books = Books()
        try:
            for number, message in enumerate(messages):
                if number != left_out:
                    books.take(message)
        except FeedFault:
            found += 1
        else:
            different += all_orders(books) != all_orders(whole)
    assert found >= 15, (found, different)
    assert found + different >= 55, (found, different)


def add(reference: int, shares: int = 100, price_e4: int = 10_0000, side: bytes = b"B") -> bytes:
    (row,) = made = itch.rows(ItchMessage.ADD)
    row["stock_locate"], row["reference"], row["side"] = 1, reference, side[0]
    row["shares"], row["stock"], row["price_e4"] = shares, b"XYZ     ", price_e4
    return made.tobytes()


def stock() -> bytes:
    (row,) = made = itch.rows(ItchMessage.STOCK_DIRECTORY)
    row["stock_locate"], row["stock"] = 1, b"XYZ     "
    return made.tobytes()


def of_order(kind: ItchMessage, reference: int, **fields: int) -> bytes:
    (row,) = made = itch.rows(kind)
    row["stock_locate"], row["reference"] = 1, reference
    for name, value in fields.items():
        row[name] = value
    return made.tobytes()


@pytest.mark.parametrize(
    ("messages", "what"),
    [
        ([add(1)], "stock 1 came, of which nothing was told"),
        ([stock(), stock()], "came twice in a session"),
        ([stock(), add(1), add(1)], "order 1 came twice"),
        ([stock(), add(1, shares=0)], "without shares or price"),
        ([stock(), add(1, price_e4=0)], "without shares or price"),
        ([stock(), of_order(ItchMessage.DELETE, 7)], "order 7 came, which is not in the book"),
        ([stock(), of_order(ItchMessage.REPLACE, 7, new_reference=8, shares=1, price_e4=1)], "order 7 came"),
        ([stock(), add(1), of_order(ItchMessage.EXECUTED, 1, shares=101)], "loses 101 shares and has 100"),
        ([stock(), add(1), of_order(ItchMessage.CANCEL, 1, shares=100), of_order(ItchMessage.CANCEL, 1)], "not in the"),
        ([b""], "which ITCH 5.0 has not"),
        ([b"A"], "which ITCH 5.0 has not"),
        ([b"?" * 36], "which ITCH 5.0 has not"),
    ],
)
def test_a_message_that_cannot_be_is_told_in_a_sentence(messages: list[bytes], what: str) -> None:
    books = Books()
    for message in messages[:-1]:
        books.take(message)
    with pytest.raises(FeedFault, match=what):
        books.take(messages[-1])


# Packets in order.


class Network:
    """A feed of messages, its server of requests, and a network that spoils what both send."""

    def __init__(self, messages: list[bytes], seed: int, *, answers: bool = True) -> None:
        self.framed = [len(each).to_bytes(2, "big") + each for each in messages]
        self.spoil = bad_network(seed, 0.05)
        self.answers = answers
        self.asked = 0

    def packets(self) -> Iterator[bytes]:
        """All packets of the feed, as they arrive; then heartbeats."""
        for packet in mold.packets("20260105", 1, b"".join(self.framed), 200):
            yield from self.spoil(packet)
        for _ in range(200):
            yield from self.spoil(mold.heartbeat("20260105", len(self.framed) + 1))

    def answer(self, request: bytes) -> Iterator[bytes]:
        """Packets of an answer that arrive."""
        self.asked += 1
        asked = mold.read_request(request)
        if self.answers:
            first = asked.sequence - 1
            for packet in mold.packets(
                asked.session, asked.sequence, b"".join(self.framed[first : first + asked.message_count]), 200
            ):
                yield from self.spoil(packet)


@pytest.mark.parametrize("seed", range(12))
def test_every_message_is_given_once_and_in_order_over_a_network_that_loses_doubles_and_delays(seed: int) -> None:
    messages = [b"%06d" % number for number in range(4_000)]
    network, order, got, now_ns = Network(messages, seed), FeedSequence(), list[bytes](), 0
    for packet in network.packets():
        now_ns += REPEAT_NS // 4
        got += order.take(packet, now_ns)
        assert order.next_number == len(got) + 1
        for request in order.due(now_ns):
            for answer in network.answer(request):
                got += order.take(answer, now_ns)
        assert got == messages[: len(got)]
    assert got == messages
    assert order.is_whole(now_ns)
    assert order.missed
    assert network.asked
    assert not order.is_whole(now_ns + SILENCE_NS)
    # Control: who takes what comes for all that there is has other messages.
    plain = Network(messages, seed)
    assert [each for packet in plain.packets() for each in mold.read(packet).messages] != messages


#: Of the simulated feed: a packet each so often, and the way of a request to its answer.
PACKET_NS, ANSWER_NS = 1_000_000, 2_000_000
RIGHT_WITHIN_NS = 100_000_000


@pytest.mark.parametrize("seed", range(4))
def test_what_a_bad_network_spoils_is_made_good_within_100_ms_and_is_known_meanwhile(seed: int) -> None:
    """1% of the packets are lost, doubled and held back each, those of answers too, by a clock of the test."""
    messages = [b"%06d" % number for number in range(20_000)]
    framed = [len(each).to_bytes(2, "big") + each for each in messages]
    spoil, order, got, late_ns = bad_network(seed), FeedSequence(), list[bytes](), 0
    plain, answers = list[bytes](), list[tuple[int, bytes]]()  # what a client without numbers has; packets on their way
    sent = list(mold.packets("20260105", 1, b"".join(framed), 200))
    sent_ns = {
        number: at * PACKET_NS
        for at, packet in enumerate(sent)
        for number, _ in enumerate(mold.read(packet).messages, mold.read(packet).sequence)
    }
    known = 1  # behind the last message that arrived
    for at in range(len(sent) + 500):
        now_ns = at * PACKET_NS
        arrived = spoil(sent[at] if at < len(sent) else mold.heartbeat("20260105", len(messages) + 1))
        for packet in arrived:
            plain += mold.read(packet).messages
        arrived += [packet for due_ns, packet in answers if due_ns <= now_ns]
        answers = [each for each in answers if each[0] > now_ns]
        before = len(got)
        for packet in arrived:
            known = max(known, mold.read(packet).next_sequence)
            got += order.take(packet, now_ns)
        assert got == messages[: len(got)]
        late_ns = max([late_ns, *(now_ns - sent_ns[number] for number in range(before + 1, len(got) + 1))])
        # It says that it is whole where it has all that it can know of, and nowhere else.
        assert not arrived or order.is_whole(now_ns) == (len(got) == known - 1)
        for request in order.due(now_ns):
            asked = mold.read_request(request)
            part = framed[asked.sequence - 1 : asked.sequence - 1 + asked.message_count]
            for packet in mold.packets(asked.session, asked.sequence, b"".join(part), 200):
                answers += [(now_ns + ANSWER_NS, each) for each in spoil(packet)]
    assert got == messages
    assert PACKET_NS < late_ns <= RIGHT_WITHIN_NS
    assert not order.wants_snapshot
    # Control: who takes what comes for all that there is has other messages, and would not know.
    assert plain != messages


def asked_ranges(packets: list[bytes]) -> list[tuple[int, int]]:
    """First number and count of each request."""
    return [(asked.sequence, asked.message_count) for asked in map(mold.read_request, packets)]


def test_an_answer_under_way_is_not_asked_for_twice_and_what_follows_it_is_asked_for_at_once() -> None:
    most = REQUESTS_MAX * ASKED_MESSAGES
    framed = [b"\x00\x06%06d" % number for number in range(most + 500)]
    order = FeedSequence()
    order.take(mold.heartbeat("20260105", len(framed) + 1), 0)
    asked = [(1 + at * ASKED_MESSAGES, ASKED_MESSAGES) for at in range(REQUESTS_MAX)]
    assert asked_ranges(order.due(0)) == asked
    now_ns, answer = 0, list(mold.packets("20260105", 1, b"".join(framed[:most]), 16_000))
    for packet in answer[:-1]:
        now_ns += REPEAT_NS // 2
        assert order.take(packet, now_ns)
        assert not order.is_answered
        assert order.due(now_ns) == [], "the rest is under way"
    assert now_ns > 3 * REPEAT_NS
    assert order.take(answer[-1], now_ns)
    assert order.is_answered
    assert asked_ranges(order.due(now_ns)) == [(most + 1, 500)]
    assert not order.is_answered
    # An answer that does not come is asked for again.
    assert order.due(now_ns + REPEAT_NS - 1) == []
    assert asked_ranges(order.due(now_ns + REPEAT_NS)) == [(most + 1, 500)]
    # One that stops in the middle too, for what is missing of it.
    half = list(mold.packets("20260105", most + 1, b"".join(framed[most:]), 2_000))
    assert order.take(half[0], now_ns + 3 * REPEAT_NS // 2)
    assert order.due(now_ns + 2 * REPEAT_NS) == []
    behind = mold.read(half[0]).next_sequence
    assert asked_ranges(order.due(now_ns + 3 * REPEAT_NS)) == [(behind, len(framed) + 1 - behind)]


def test_a_book_that_is_built_anew_is_asked_for_at_once() -> None:
    order = FeedSequence(snapshots=False)
    order.take(mold.heartbeat("20260105", 11), 0)
    assert asked_ranges(order.due(0)) == [(1, 10)]
    (answer,) = mold.packets("20260105", 1, b"".join(b"\x00\x01a" for _ in range(10)))
    assert len(order.take(answer, 1)) == 10
    order.lose()
    assert asked_ranges(order.due(2)) == [(1, 10)]


def test_a_gap_that_nobody_fills_is_left_for_a_snapshot() -> None:
    messages = [b"%06d" % number for number in range(100)]
    network = Network(messages, 1, answers=False)
    whole = list(mold.packets("20260105", 1, b"".join(network.framed), 200))
    order = FeedSequence()
    assert order.take(whole[0], 0)
    assert order.take(whole[2], 0) == []
    assert not order.is_whole(0)
    asked = [request for now_ns in range(0, GIVE_UP_NS, REPEAT_NS) for request in order.due(now_ns)]
    assert len(asked) == GIVE_UP_NS // REPEAT_NS
    assert order.due(2 * GIVE_UP_NS) == []
    assert order.wants_snapshot
    assert order.take(whole[1], 2 * GIVE_UP_NS) == [], "it goes on behind the snapshot"
    behind = mold.read(whole[1]).next_sequence
    assert order.resume("20260104", 7, 2 * GIVE_UP_NS) is None
    assert order.resume("20260105", behind, 2 * GIVE_UP_NS) == list(mold.read(whole[2]).messages)
    assert order.is_whole(2 * GIVE_UP_NS)


def test_who_joins_late_takes_a_snapshot_and_who_has_no_server_for_it_asks_for_all() -> None:
    late = mold.heartbeat("20260105", GAP_MESSAGES_MAX + 3)
    order = FeedSequence()
    order.take(late, 0)
    assert order.due(0) == []
    assert order.wants_snapshot
    order = FeedSequence(snapshots=False)
    order.take(late, 0)
    first = mold.read_request(order.due(0)[0])
    assert (first.sequence, first.message_count) == (1, ASKED_MESSAGES)


def test_a_later_day_begins_anew_and_what_comes_of_the_day_before_is_left_alone() -> None:
    order = FeedSequence()
    (old,) = mold.packets("20260105", 1, b"\x00\x01a\x00\x01b")
    (new,) = mold.packets("20260106", 1, b"\x00\x01c")
    assert order.take(old, 0) == [b"a", b"b"]
    assert order.take(new, 0) == [b"c"]
    assert order.take(mold.end_of_session("20260105", 9), 0) == []
    assert order.take(old, 0) == []
    assert (order.session, order.next_number, order.missing) == ("20260106", 2, 0)
    assert order.take(b"no packet", 0) == []
    assert order.damaged == 1


# Level 2.


def test_a_level_book_follows_snapshot_and_changes_and_says_when_it_is_not_whole() -> None:
    book = LevelBook("XYZ-USD")
    snapshot = {
        "type": "snapshot",
        "product_id": "XYZ-USD",
        "sequence": 5,
        "bids": [["10.01", "7"], ["10.00", "3"]],
        "asks": [["10.02", "4"]],
    }

    def update(sequence: int, *changes: list[str]) -> dict[str, object]:
        return {"type": "l2update", "product_id": "XYZ-USD", "sequence": sequence, "changes": list(changes)}

    with pytest.raises(FeedFault, match="before a snapshot"):
        book.take(update(4, ["buy", "10.01", "1"]))
    assert not book.is_whole
    assert book.take(snapshot)
    assert book.is_whole
    assert book.take(update(7, ["buy", "10.01", "0"], ["sell", "10.02", "9"]))
    assert not book.take({"type": "ticker", "product_id": "XYZ-USD"})
    assert not book.take({**snapshot, "product_id": "ABC-USD"})
    assert [str(number) for level in book.levels(Side.BUY) for number in level] == ["10.00", "3"]
    assert [str(number) for number in book.best(Side.SELL) or ()] == ["10.02", "9"]
    for wrong in (update(7), update(8, ["buy", "ten", "1"]), {"type": "l2update", "product_id": "XYZ-USD"}):
        with pytest.raises(FeedFault):
            book.take(wrong)
        assert not book.is_whole
        assert book.take(snapshot)
    book.lose()
    assert not book.is_whole
