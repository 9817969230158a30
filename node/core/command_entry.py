"""Entry of the operator's and the node's own commands into the market, beside the orders of clients."""

import asyncio
from typing import Any

from numpy.typing import NDArray

from engine.interface import MarketEngine
from engine.records import CommandKind, Phase
from gateway.ouch.streams import OuchStreams
from journal import JournalError
from node.core import far_prices, feed_prices
from node.core.clock_watch import ClockWatch
from node.core.control import OperationRefused, RefusedForNow, SubmissionResult
from node.core.market import Market


class CommandEntry:
    """Checks COMMAND rows and submits them to the market."""

    def __init__(self, market: Market, clock_watch: ClockWatch, streams: OuchStreams, engine: MarketEngine) -> None:
        self._market = market
        self._clock_watch = clock_watch
        self._streams = streams
        self._engine = engine
        #: True once the node ends: every command is refused.
        self.closed = False
        #: Reason for which every command is refused on this node: another one is primary; "" if none is.
        self.elsewhere = ""
        #: True while this node hands its reign over: the reason passes.
        self.handed_over = False
        #: True where a market data feed has to carry the prices of every instrument.
        self.has_feed = False

    async def submit(self, rows: NDArray[Any]) -> SubmissionResult:
        """Submit rows; done when they are durable. Raises OperationRefused."""
        self._check_open()
        complaint = self._clock_watch.complaint()
        if complaint is not None and opens_phase(rows):
            raise OperationRefused(f"nothing is opened: {complaint}")
        far_prices.check_commands(rows, self._streams, self._engine)
        if self.has_feed:
            feed_prices.check_definitions(rows)
        while not self._market.has_room:
            await asyncio.sleep(0.001)
            self._check_open()
        try:
            return await self._market.submit(rows)
        except JournalError as error:
            raise OperationRefused(str(error)) from error

    def _check_open(self) -> None:
        if self.closed:
            raise RefusedForNow("the node is ending")
        if self.elsewhere:
            raise (RefusedForNow if self.handed_over else OperationRefused)(self.elsewhere)


def opens_phase(rows: NDArray[Any]) -> bool:
    """True if a command among these begins a phase in which orders are entered.

    The end that a halt was given is not one: it is in the journal already.
    """
    opening = (rows["kind"] == CommandKind.PHASE) & (rows["phase"] != Phase.CLOSED)
    return bool((opening | (rows["kind"] == CommandKind.RESUME)).any())
