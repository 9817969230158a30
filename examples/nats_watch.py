"""The blocks that a market publishes through NATS, printed: python examples/nats_watch.py URL VENUE [OWNERS]

The words are those of `lockstep serve --nats URL,venue=VENUE,requests=HOST:PORT`, such as nats://127.0.0.1:4222 main
127.0.0.1:26500. With the owner's address every block of the journal comes from the first on; without it those that are
published from now on, as long as NATS loses none. Stop it with Ctrl-C.
"""

import asyncio
import sys

from client.errors import FeedFault
from client.published import BlockReader


async def watch(url: str, venue: str, owners: str = "") -> None:
    async with BlockReader(url, venue, requests=owners, from_seq=1 if owners else None) as reader:
        async for block in reader:
            print(f"{block.first_seq} to {block.last_seq}, events {block.event_digest.hex()}", flush=True)


if not 3 <= len(sys.argv) <= 4:
    sys.exit(__doc__)
try:
    asyncio.run(watch(*sys.argv[1:]))
except (FeedFault, ValueError) as error:
    sys.exit(str(error))
except (KeyboardInterrupt, BrokenPipeError):
    pass
