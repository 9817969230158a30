"""Projections for tests: traded quantity by symbol, one that counts blocks and may not, and both beside the users'
streams."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from checkpoints import Projection, Projections
from engine.digest import part_digest
from engine.names import unpack
from engine.records import CommandKind, EventKind
from gateway.ouch.outbox import OuchOutbox
from journal import Journal
from tests.golden.made import CAPACITY


class Volumes(Projection):
    """Traded quantity by symbol. ``seen``: commands that this object was shown."""

    name = "volumes"
    version = 1

    def __init__(self) -> None:
        self.synced = 0
        self.clear()

    def clear(self) -> None:
        self._symbols = np.zeros(0, np.int64)
        self._qty = np.zeros(0, np.int64)
        self.seq = self.seen = 0
        self.asked: list[int] = []

    @property
    def by_symbol(self) -> dict[str, int]:
        """Traded quantity of each symbol."""
        return dict(zip(map(unpack, self._symbols.tolist()), self._qty.tolist(), strict=True))

    def observe(self, first_seq: int, commands: NDArray[Any], events: NDArray[Any]) -> None:
        assert first_seq == self.seq + 1, "a block is left out or comes twice"
        refused = events["seq"][events["kind"] == EventKind.REJECTED]
        numbers = np.arange(first_seq, first_seq + len(commands))
        defined = (commands["kind"] == CommandKind.INSTRUMENT) & ~np.isin(numbers, refused)
        self._symbols = np.append(self._symbols, commands["name"][defined])
        self._qty = np.append(self._qty, np.zeros(int(defined.sum()), np.int64))
        trades = events[events["kind"] == EventKind.TRADE]
        np.add.at(self._qty, trades["instrument"].astype(np.int64) - 1, trades["qty"].astype(np.int64))
        self.seq += len(commands)
        self.seen += len(commands)

    def image(self) -> dict[str, NDArray[Any]]:
        return {"symbols": self._symbols, "qty": self._qty, "seq": np.array([self.seq])}

    def digest(self) -> bytes:
        return part_digest(self.image())

    def restore(self, arrays: Mapping[str, NDArray[Any]], seq: int) -> None:
        self._symbols, self._qty, self.seq = arrays["symbols"], arrays["qty"], int(arrays["seq"][0])
        if self.seq != seq:
            raise ValueError(f"it is of command {self.seq}")


class Blocks(Volumes):
    """A projection with a fault: its result depends on block boundaries."""

    name = "blocks"

    def observe(self, first_seq: int, commands: NDArray[Any], events: NDArray[Any]) -> None:
        super().observe(first_seq, commands, events)
        self._qty = self._qty + 1


def all_of(directory: Path, journal: Journal) -> tuple[Volumes, OuchOutbox, Projections]:
    """Both projections of a node in ``directory``, as before the first command."""
    volumes, outbox = Volumes(), OuchOutbox(directory, CAPACITY, journal.journal_id)
    return volumes, outbox, Projections([outbox, volumes])


def streams_of(outbox: OuchOutbox) -> dict[tuple[str, int], bytes]:
    """Bytes of every stream that is kept, by session and user."""
    return {
        (spool.session, user): spool.read(user, 0, 1 << 30)
        for spool in outbox.spools()
        for user, _ in outbox.streams.users()
    }
