"""Level-2 book of one product from a WebSocket: the only file of the client that imports websockets.

    with LevelFeed("ws://127.0.0.1:8080", "XYZ-USD") as feed:
        for symbol, bid, offer in feed.best_prices():
            print(symbol, bid, offer)

The address is that of `lockstep serve --web`; `pip install 'lockstep[web]'` has websockets. A book is never silently
wrong: a message that cannot follow those before it, and a connection that ends, are errors. Make another feed then.
"""

import contextlib
import json
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Final, Self

from websockets.exceptions import InvalidURI, WebSocketException
from websockets.sync.client import connect

from client.book import BestPrices, LevelBook
from client.errors import CannotConnect, ConnectionLost, FeedFault, SubscriptionRefused

_BROKEN: Final = (WebSocketException, OSError)


class LevelFeed:
    """Connection, subscription to channel ``level2``, and the book of the product in it.

    url: such as ws://127.0.0.1:8080; product_id: one of the /products there. Raises CannotConnect where nobody answers,
    ValueError for what is no address.
    """

    def __init__(self, url: str, product_id: str) -> None:
        #: The book as of the last message; whole from the first one on.
        self.book = LevelBook(product_id)
        self._open = contextlib.ExitStack()
        try:
            self._socket = self._open.enter_context(connect(url, max_size=None))
        except (InvalidURI, ValueError) as error:
            raise ValueError(f"{url!r} is no address of a WebSocket server; give one as ws://127.0.0.1:8080") from error
        except _BROKEN as error:
            raise CannotConnect(f"no connection to {url}: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection. May be repeated."""
        self._open.close()

    def best_prices(self) -> Iterator[BestPrices]:
        """Best prices of the product, once and then as they change. Raises as ``changes``."""
        told = None
        for book in self.changes():
            if book.best_prices != told:
                yield (told := book.best_prices)

    def changes(self) -> Iterator[LevelBook]:
        """The book after each message of it. It ends only by an error.

        Raises SubscriptionRefused, such as for an unknown product; FeedFault for a message that cannot be here;
        ConnectionLost where the server ends the connection, or it breaks.
        """
        try:
            product_ids = [self.book.product_id]
            self._socket.send(json.dumps({"type": "subscribe", "product_ids": product_ids, "channels": ["level2"]}))
            for text in self._socket:
                message = _read(text)
                if message.get("type") == "error":
                    raise SubscriptionRefused(str(message.get("reason") or message.get("message") or "no reason given"))
                if self.book.take(message):
                    yield self.book
        except _BROKEN as error:
            raise ConnectionLost(f"the connection broke ({error}); make another feed for the book of now") from error
        finally:
            self.book.lose()
        raise ConnectionLost("the server ended the connection; make another feed for the book of now")


def _read(text: str | bytes) -> dict[str, Any]:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FeedFault(f"a message came that is no JSON: {error}") from error
    if not isinstance(message, dict):
        raise FeedFault(f"a message came that is no JSON object: {text[:80]!r}")
    return message
