"""A program that reads a market's data, and stops itself (SIGSTOP) in the middle: for tests/test_stopped_readers.py.

    python -m tests.stopping_reader KIND ADDRESS    KIND: multicast, glimpse, rest or websocket

It prints lines of JSON: {"stops": true} before it stops itself, {"lost": REASON} for what ended its reading, and
{"levels": ..., "whole": true} for the book that it has, as [side, price, quantity], whenever it may have changed.
"""

import http.client
import json
import os
import signal
import socket
import sys
from collections import Counter
from typing import Any

from client.book import LevelBook
from client.book_feed import BookFeed
from client.events import Side
from tests.itch_reader import Reader

PRODUCT = "XYZ-USD"
#: Bytes of its receive buffer: little is on the way when it stops.
RECEIVE_BYTES = 4_096


def say(**values: Any) -> None:
    print(json.dumps(values), flush=True)


def stop() -> None:
    say(stops=True)
    os.kill(os.getpid(), signal.SIGSTOP)


def connected(address: str) -> socket.socket:
    host, port = address.split(":")
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
    made.connect((host, int(port)))
    return made


def tell(levels: dict[tuple[str, str], int]) -> None:
    say(whole=True, levels=sorted([side, price, qty] for (side, price), qty in levels.items() if qty))


def multicast(address: str) -> None:
    """address: of group, requests and snapshots, with commas."""
    group, requests, snapshots = address.split(",")
    with BookFeed(group, requests=requests, snapshots=snapshots) as feed:
        while not feed.is_whole:
            feed.pump(0.1)
        stop()
        feed.pump(0.1)
        say(lost="messages" if not feed.is_whole else "")
        while True:
            while not feed.is_whole or feed.pump(0.5):
                feed.pump(0.1)
            book = feed.book("XYZ")
            sides = (("buy", Side.BUY), ("sell", Side.SELL))
            tell({(word, str(level.price)): level.qty for word, side in sides for level in book.levels(side)})


def glimpse(address: str) -> None:
    from tests.test_feed_process import snapshot_through

    def first(connection: socket.socket) -> bytes:
        data = connection.recv(1_000)
        stop()
        return data

    for begin in (first, lambda _connection: b""):
        messages = snapshot_through(connected(address), begin)
        if not messages or messages[-1][:1] != b"G":
            say(lost="the snapshot has no end")
            continue
        reader = Reader()
        for message in messages[:-1]:
            reader.take(message)
        levels: Counter[tuple[str, str]] = Counter()
        for word, side in (("buy", 1), ("sell", -1)):
            for price_e4, shares in reader.side(1, side):
                levels[word, f"{price_e4 / 10_000:.2f}"] += shares
        tell(dict(levels))


def rest(address: str) -> None:
    for stops in (True, False):
        connection = http.client.HTTPConnection(address)
        connection.sock = connected(address)
        connection.request("GET", f"/products/{PRODUCT}/book?level=3")
        answer = connection.getresponse()
        if stops:
            answer.read(1_000)
            stop()
        try:
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            say(lost=type(error).__name__)
            continue
        if stops:
            say(lost="")  # it has the rest of an answer, and no error
            continue
        levels: Counter[tuple[str, str]] = Counter()
        for word, rows in (("buy", json.loads(body)["bids"]), ("sell", json.loads(body)["asks"])):
            for price, size, _ in rows:
                levels[word, price] += int(size)
        tell(dict(levels))


def websocket(address: str) -> None:
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    stops = True
    while True:
        with connect(f"ws://{address}", max_size=None, sock=connected(address), ping_interval=None) as feed:
            feed.send(json.dumps({"type": "subscribe", "product_ids": [PRODUCT], "channels": ["level2", "full"]}))
            book = LevelBook(PRODUCT)
            try:
                for message in map(json.loads, feed):
                    if not book.take(message):
                        continue
                    if stops:
                        stops = False
                        stop()
                    sides = (("buy", Side.BUY), ("sell", Side.SELL))
                    found = {
                        (word, f"{price:.2f}"): int(qty) for word, side in sides for price, qty in book.levels(side)
                    }
                    tell(found)
            except ConnectionClosed as closed:
                say(lost=f"{closed.rcvd.code} {closed.rcvd.reason}" if closed.rcvd else "reset")
                continue
            say(lost="ended without an error")


if __name__ == "__main__":
    {"multicast": multicast, "glimpse": glimpse, "rest": rest, "websocket": websocket}[sys.argv[1]](sys.argv[2])
