"""Best prices of a product by WebSocket, from a server that says what a test wants.

That they are the market's is shown with a real server in `tests/test_web_process.py`.
"""

import contextlib
import json
import threading
from collections.abc import Iterator
from decimal import Decimal

import pytest

from client.book import BestPrices, Quote
from client.errors import CannotConnect, ClientError, ConnectionLost, FeedFault, SubscriptionRefused
from client.level_feed import LevelFeed

pytest.importorskip("websockets", reason="not installed")

from websockets.sync.server import ServerConnection, serve

SNAPSHOT = {
    **{"type": "snapshot", "product_id": "XYZ-USD", "sequence": 5},
    **{"bids": [["10.01", "7"], ["10.00", "3"]], "asks": []},
}


def update(sequence: int, *changes: list[str]) -> dict[str, object]:
    return {"type": "l2update", "product_id": "XYZ-USD", "sequence": sequence, "changes": list(changes)}


@contextlib.contextmanager
def server(*texts: str, breaks: bool = False) -> Iterator[tuple[str, list[str]]]:
    """Address of a server that sends texts behind a subscription and ends, and what it was sent. breaks: without a
    word."""
    asked: list[str] = []

    def answer(connection: ServerConnection) -> None:
        asked.append(str(connection.recv()))
        for text in texts:
            connection.send(text)
        if breaks:
            connection.socket.shutdown(2)

    with serve(answer, "127.0.0.1", 0) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        try:
            yield f"ws://127.0.0.1:{made.socket.getsockname()[1]}", asked
        finally:
            made.shutdown()
            thread.join()


def told_by(*texts: str, breaks: bool = False) -> tuple[list[BestPrices], ClientError]:
    """Best prices until the end, and the end."""
    told, end = list[BestPrices](), None
    with server(*texts, breaks=breaks) as (url, asked), LevelFeed(url, "XYZ-USD") as feed:
        try:
            for best in feed.best_prices():
                assert feed.book.is_whole
                told.append(best)
        except ClientError as error:
            end = error
        assert not feed.book.is_whole
    assert [json.loads(each) for each in asked] == [
        {"type": "subscribe", "product_ids": ["XYZ-USD"], "channels": ["level2"]}
    ]
    assert end is not None
    return told, end


def test_best_prices_come_once_and_as_they_change_until_the_server_ends() -> None:
    messages = [
        {"type": "subscriptions", "channels": []},
        SNAPSHOT,
        update(6, ["buy", "10.00", "4"]),  # behind the best price
        update(7, ["sell", "10.02", "9"]),
        {**SNAPSHOT, "product_id": "ABC-USD"},
        update(9, ["buy", "10.01", "0"]),
        {**SNAPSHOT, "sequence": 9, "bids": [["10.00", "4"]], "asks": [["10.02", "9"]]},
    ]
    told, ended = told_by(*map(json.dumps, messages))
    offer = Quote(Decimal("10.02"), Decimal(9))
    assert told == [
        ("XYZ-USD", (Decimal("10.01"), 7), None),
        ("XYZ-USD", (Decimal("10.01"), 7), offer),
        ("XYZ-USD", (Decimal("10.00"), 4), offer),
    ]
    assert [str(each.bid) for each in told] == ["7 at 10.01", "7 at 10.01", "4 at 10.00"]
    assert isinstance(ended, ConnectionLost)
    assert str(ended) == "the server ended the connection; make another feed for the book of now"


def test_what_ends_a_book_is_told_in_a_sentence() -> None:
    whole = json.dumps(SNAPSHOT)
    for last, kind, what in (
        (
            json.dumps({"type": "error", "reason": "no product NO-USD"}),
            SubscriptionRefused,
            "NO-USD",
        ),
        (json.dumps({"type": "error", "message": "Failed"}), SubscriptionRefused, "Failed"),
        (json.dumps(update(5)), FeedFault, "after message 5"),
        ("{", FeedFault, "is no JSON"),
        ("[]", FeedFault, "is no JSON object"),
    ):
        told, ended = told_by(whole, last, whole)
        assert len(told) == 1
        assert type(ended) is kind
        assert what in str(ended)
    told, ended = told_by(whole, breaks=True)
    assert (len(told), type(ended)) == (1, ConnectionLost)
    assert str(ended).startswith("the connection broke (")
    assert str(ended).endswith("; make another feed for the book of now")


def test_an_address_where_no_server_is_says_so() -> None:
    with server() as (url, _):
        pass
    with pytest.raises(CannotConnect, match=url):
        LevelFeed(url, "XYZ-USD")
    for wrong in ("127.0.0.1:80", "http://127.0.0.1:80", "ws://127.0.0.1:x"):
        with pytest.raises(ValueError, match="is no address"):
            LevelFeed(wrong, "XYZ-USD")
