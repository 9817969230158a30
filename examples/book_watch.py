"""The best prices of a market, printed as they change: python examples/book_watch.py GROUP:PORT [REQUESTS [SNAPSHOTS]]

The addresses are those of `lockstep serve --feed itch:GROUP:PORT,requests=PORT,snapshots=PORT`, such as
239.192.0.1:26400 127.0.0.1:26401 127.0.0.1:26402. Without the other two it has to be there when the day begins: before
that messages are missing, and it says so. Stop it with Ctrl-C.
"""

import sys

from client.book_feed import BookFeed
from client.errors import CannotConnect
from client.events import Side

group, requests, snapshots = [*sys.argv[1:4], None, None, None][:3]
if group is None:
    sys.exit(__doc__)
try:
    with BookFeed(group, requests=requests or (), snapshots=snapshots) as feed:
        changed, was_whole = dict.fromkeys(feed.pump(1.0)), True
        while True:
            changed |= dict.fromkeys(feed.pump(0.5))
            if feed.is_whole != was_whole:
                was_whole = feed.is_whole
                print(
                    "all is here" if was_whole else "waiting: messages are missing, or the feed is silent", flush=True
                )
            for symbol in list(changed) if was_whole else ():
                bid, ask = (feed.book(symbol).best(side) for side in (Side.BUY, Side.SELL))
                best = (f"{level.qty} at {level.price}" if level else "nobody" for level in (bid, ask))
                print(symbol, *best, sep=" | ", flush=True)
                del changed[symbol]
except (CannotConnect, ValueError) as error:
    sys.exit(str(error))
except (KeyboardInterrupt, BrokenPipeError):
    pass
