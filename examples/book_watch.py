"""The best prices of a market, printed as they change: python examples/book_watch.py GROUP:PORT [REQUESTS [SNAPSHOTS]]

The addresses are those of `lockstep serve --feed itch:GROUP:PORT,requests=PORT,snapshots=PORT`, such as
239.192.0.1:26400 127.0.0.1:26401 127.0.0.1:26402. Without the other two it has to be there when the day begins: before
that nothing is printed, since messages are missing. Stop it with Ctrl-C.
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
        for symbol in feed.changes(timeout_s=3_600.0):
            if feed.is_whole:  # nothing is known to be missing
                bid, ask = (feed.book(symbol).best(side) for side in (Side.BUY, Side.SELL))
                best = (f"{level.qty} at {level.price}" if level else "nobody" for level in (bid, ask))
                print(symbol, *best, sep=" | ", flush=True)
except (CannotConnect, ValueError) as error:
    sys.exit(str(error))
except (KeyboardInterrupt, BrokenPipeError):
    pass
