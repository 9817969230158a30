"""A market maker beside the node: quotes around the last price at which anybody traded. It needs no socket.

Run it on the machine of the node, as the same user, with the node's data directory:

    LOCKSTEP_PASSWORD=... python examples/local_maker.py node1 ALICE XYZ 10.00

Orders go through shared memory, with the checks and the stream of a connection (`LocalClient`). The trades of the whole
market come from a cursor of reports (`LocalReports`). Ctrl-C cancels both quotes and ends.
"""

import contextlib
import os
import sys
from decimal import Decimal, InvalidOperation

from client import ClientError, RequestRejected, Side
from client.local import LocalClient
from client.local_reports import LocalReports, ReportKind

TICK, QTY = Decimal("0.01"), 100


def main(directory: str, user: str, symbol: str, price: str) -> None:
    """Quote until interrupted. ``directory``: the node's. ``price``: until the first trade. Raises ClientError."""
    last = Decimal(price)
    with (
        LocalReports(directory, symbol=symbol, kinds=[ReportKind.TRADE]) as trades,
        LocalClient(directory, user, os.environ["LOCKSTEP_PASSWORD"], from_seq=0) as client,
    ):
        try:
            while True:
                cancel_all(client)
                client.enter(symbol, Side.BUY, QTY, last - TICK)
                client.enter(symbol, Side.SELL, QTY, last + TICK)
                rows = trades.wait(1.0)
                while client.is_live and not len(rows):
                    client.poll()  # else the node would hear nothing of it
                    rows = trades.wait(1.0)
                if len(rows):
                    last = Decimal(int(rows["last_price_e4"][-1])).scaleb(-4)
        finally:
            if client.is_live:  # without a session nothing can be canceled
                cancel_all(client)


def cancel_all(client: LocalClient) -> None:
    """Cancel the quotes; one that has just traded is gone, which is no harm."""
    for order in client.open_orders():
        with contextlib.suppress(RequestRejected):
            order.cancel()


if __name__ == "__main__":
    if len(sys.argv) != 5 or "LOCKSTEP_PASSWORD" not in os.environ:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    try:
        main(*sys.argv[1:])
    except InvalidOperation:
        sys.exit(f"local_maker: {sys.argv[4]!r} is no price; write it as 10.00")
    except (ClientError, ValueError) as error:
        sys.exit(f"local_maker: {error}")
    except KeyboardInterrupt:
        pass
