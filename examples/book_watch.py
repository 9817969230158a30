"""The best prices of a market, printed as they change: python examples/book_watch.py GROUP:PORT [REQUESTS [SNAPSHOTS]]

As of `lockstep serve --feed itch:GROUP:PORT,requests=PORT,snapshots=PORT`: 239.192.0.1:26400 127.0.0.1:26401
127.0.0.1:26402. Without the last two, messages of before its start are missing, and it says so. Stop it with Ctrl-C.
"""

import contextlib
import sys

from client import BookFeed, ClientError

WORDS = {False: "waiting: messages are missing, or the feed is silent", True: "all is here"}
if not 2 <= len(sys.argv) <= 4:
    sys.exit(__doc__)
try:
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError), BookFeed(*sys.argv[1:]) as feed:
        for symbol, bid, offer in feed.best_prices(on_whole=lambda is_whole: print(WORDS[is_whole], flush=True)):
            print(symbol, bid or "nobody", offer or "nobody", sep=" | ", flush=True)
except (ClientError, ValueError) as error:
    sys.exit(str(error))
