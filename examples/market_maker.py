"""A market maker in few lines: quotes both sides around a middle, and quotes anew whenever one of them trades.

Run it against a node, or against both nodes of a pair, as a user of the market (`lockstep admin user --help`):

    LOCKSTEP_PASSWORD=... python examples/market_maker.py 127.0.0.1:9001 ALICE XYZ 10.00
    LOCKSTEP_PASSWORD=... python examples/market_maker.py 10.0.0.1:9001,10.0.0.2:9001 ALICE XYZ 10.00

Each trade moves the middle: up by a cent if the offer was taken, down if the bid was. The client connects again after a
loss, to whichever node is primary, and settles the requests that were under way. Ctrl-C cancels both quotes and ends.
"""

import asyncio
import os
import sys
from decimal import Decimal, InvalidOperation

from client import AsyncClient, ClientError, Executed, Side

TICK, QTY = Decimal("0.01"), 100


async def main(addresses: str, user: str, symbol: str, price: str) -> None:
    """Quote until interrupted. ``addresses``: HOST:PORT of the node, or of both nodes with a comma between."""
    middle = Decimal(price)
    async with AsyncClient(addresses, None, user, os.environ["LOCKSTEP_PASSWORD"], from_seq=0) as client:
        try:
            while True:
                bid = await client.enter(symbol, Side.BUY, QTY, middle - TICK)
                offer = await client.enter(symbol, Side.SELL, QTY, middle + TICK)
                moves = {bid.token: -TICK, offer.token: TICK}
                async for event in client.events():
                    if isinstance(event, Executed) and event.token in moves:
                        middle += moves[event.token]
                        break
                await cancel_all(client)
        finally:
            await cancel_all(client)


async def cancel_all(client: AsyncClient) -> None:
    """Cancel the quotes; one that has just traded is gone, which is no harm."""
    await asyncio.gather(*(order.cancel() for order in client.open_orders()), return_exceptions=True)


if __name__ == "__main__":
    if len(sys.argv) != 5 or "LOCKSTEP_PASSWORD" not in os.environ:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    try:
        asyncio.run(main(*sys.argv[1:]))
    except InvalidOperation:
        sys.exit(f"market_maker: {sys.argv[4]!r} is no price; write it as 10.00")
    except (ClientError, ValueError) as error:
        sys.exit(f"market_maker: {error}")
    except KeyboardInterrupt:
        pass
