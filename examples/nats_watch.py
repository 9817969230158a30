"""The blocks that a market publishes through NATS, printed: python examples/nats_watch.py URL VENUE [OWNERS]

As of `lockstep serve --nats URL,venue=VENUE,requests=HOST:PORT`: nats://127.0.0.1:4222 main 127.0.0.1:26500. With the
owner's address all blocks of the journal come, else those from now on that NATS does not lose. Stop it with Ctrl-C.
"""

import contextlib
import sys

from client import ClientError
from client.published import published_blocks

if not 3 <= len(sys.argv) <= 4:
    sys.exit(__doc__)
try:
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        for block in published_blocks(*sys.argv[1:], on_waiting=lambda why: print(f"waiting: {why}", flush=True)):
            print(f"{block.first_seq} to {block.last_seq}, events {block.event_digest.hex()}", flush=True)
except (ClientError, ValueError) as error:
    sys.exit(str(error))
