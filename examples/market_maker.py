"""A market maker in few lines: quotes both sides around a middle, and quotes anew whenever one of them trades.

Run it against any node, as a user that the node knows (`lockstep admin user --help`):

    LOCKSTEP_PASSWORD=... python examples/market_maker.py 127.0.0.1 9001 ALICE XYZ 10.00

What trades moves the middle: up by a cent when the offer was taken, down when the bid was. A connection that breaks is
made again, and a quote that was under way then is settled by the client; nothing here has to know of it. Ctrl-C
cancels both quotes and ends.
"""

import asyncio
import contextlib
import os
import sys
from decimal import Decimal

from client import AsyncClient, Executed, Side

TICK, QTY = Decimal("0.01"), 100


async def main(host: str, port: str, user: str, symbol: str, price: str) -> None:
    """Quote until it is interrupted."""
    middle = Decimal(price)
    async with AsyncClient(host, int(port), user, os.environ["LOCKSTEP_PASSWORD"], from_seq=0) as client:
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
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
