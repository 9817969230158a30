"""The best prices of a product, printed as they change: python examples/web_watch.py ws://HOST:PORT PRODUCT

The address is that of `lockstep serve --web HOST:PORT`, the product one of its /products, such as XYZ-USD.
Stop it with Ctrl-C.
"""

import json
import sys

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from client.book import LevelBook
from client.errors import FeedFault
from client.events import Side

SIDES = Side.BUY, Side.SELL
if len(sys.argv) != 3:
    sys.exit(__doc__)
try:
    with connect(sys.argv[1], max_size=None) as feed:
        feed.send(json.dumps({"type": "subscribe", "product_ids": [sys.argv[2]], "channels": ["level2"]}))
        book, shown = LevelBook(sys.argv[2]), ""
        for message in map(json.loads, feed):
            if message["type"] == "error":
                sys.exit(message["reason"])
            if book.take(message):
                best = (f"{level[1]} at {level[0]}" if level else "nobody" for level in map(book.best, SIDES))
                if (line := " | ".join((book.product_id, *best))) != shown:
                    print(shown := line, flush=True)
    sys.exit("the server ended the connection")
except (KeyboardInterrupt, BrokenPipeError):
    pass
except (FeedFault, WebSocketException, OSError, ValueError) as error:
    sys.exit(str(error))
