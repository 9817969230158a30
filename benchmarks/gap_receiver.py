"""Receiver of a feed that joins late: a program that has the client alone, as a reader of the feed would.

python -m benchmarks.gap_receiver GROUP REQUESTS    asks for all that is missing, and says what that took, as JSON
"""

import json
import sys
import time
from typing import Final

from client.book_feed import BookFeed

_READY_S: Final = 120.0


def fill(group: str, requests: str) -> dict[str, float] | None:
    """From the first request until the book is whole: ms, cpu_ms of processor time, requests. None where it is not."""
    with BookFeed(group, requests=requests) as receiver:
        until_s, began_s, cost_s = time.monotonic() + _READY_S, 0.0, 0.0
        while not receiver.is_whole:
            if time.monotonic() > until_s:
                return None
            receiver.pump(0.001)
            if receiver.requests_sent and not began_s:
                began_s, cost_s = time.monotonic(), time.thread_time()
        took_s, used_s = time.monotonic() - began_s, time.thread_time() - cost_s
        return {"ms": 1e3 * took_s, "cpu_ms": 1e3 * used_s, "requests": float(receiver.requests_sent)}


if __name__ == "__main__":
    print(json.dumps(fill(*sys.argv[1:])))
