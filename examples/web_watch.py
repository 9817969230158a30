"""The best prices of a product, printed as they change: python examples/web_watch.py ws://HOST:PORT PRODUCT

The address is that of `lockstep serve --web HOST:PORT`, the product one of its /products, such as XYZ-USD.
Stop it with Ctrl-C.
"""

import contextlib
import sys

from client import ClientError
from client.level_feed import LevelFeed

if len(sys.argv) != 3:
    sys.exit(__doc__)
try:
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError), LevelFeed(*sys.argv[1:]) as feed:
        for symbol, bid, offer in feed.best_prices():
            print(symbol, bid or "nobody", offer or "nobody", sep=" | ", flush=True)
except (ClientError, ValueError) as error:
    sys.exit(str(error))
