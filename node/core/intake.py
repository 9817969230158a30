"""Permission for the gateway's next turn: room in the market and on the disk, and no checkpoint about to begin."""

import time

from journal import Journal
from node.core.checkpointing import CheckpointSchedule
from node.core.market import Market
from node.core.scarcity import Scarcity


class Intake:
    """``open``: True until the sessions of clients are ended. ``reigns``: False while another node is primary."""

    def __init__(self, journal: Journal, market: Market, checkpointing: CheckpointSchedule, scarcity: Scarcity) -> None:
        self._journal = journal
        self._market = market
        self._checkpointing = checkpointing
        self._scarcity = scarcity
        self.open = True
        self.reigns = True

    def has_room(self) -> bool:
        """True if the gateway may take messages now."""
        return (
            self._market.has_room
            and self.open
            and self.reigns
            and not self._checkpointing.wanted
            and (self._scarcity.takes_all or self._scarcity.may_take(self._journal.durable_seq, time.monotonic_ns()))
        )
