"""The reign of a primary over a journal: its first command is an EPOCH row (rulebook section 13, 29).

The epoch is the revision that the arbiter gave. It is in the state of the market and in the header of each block from
then on, so whoever receives something of an earlier reign can refuse it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.bounds import EPOCH_MAX
from engine.interface import MarketEngine
from engine.names import is_name, pack
from engine.records import COMMAND
from engine.row_bytes import epoch_row
from journal import Journal


class ReignRefused(ValueError):
    """A reign that may not begin; nothing was sequenced."""


def name_in_row(node_name: str) -> int:
    """The name of a node (A-Z a-z 0-9 . _ -) as the number that an EPOCH row has room for: the first 8 characters,
    letters as capitals, - for _. Raises ReignRefused for what is no name.

    >>> from engine.names import unpack
    >>> unpack(name_in_row("london_1a"))
    'LONDON-1'
    """
    text = node_name.upper().replace("_", "-")[:8]
    if not node_name.isascii() or not text or not text.isprintable() or not is_name(pack(text)):
        raise ReignRefused(f"{node_name[:80]!r} is no name of a node; use A-Z a-z 0-9 . _ -")
    return pack(text)


def begin_reign(
    journal: Journal, engine: MarketEngine, take: Callable[[NDArray[Any]], object], epoch: int, node_name: str
) -> int:
    """Sequence the EPOCH row of a new primary; gives its sequence number.

    take: ``Pipeline.take`` of that journal and engine, before any other command of the reign. The row is the first of
    its block behind the CLOCK row, and the block is the first of its epoch. ``node_name``: as ``name_in_row``. Raises
    ReignRefused for an epoch that is not above every one before, or not from 1 to 2^62, and for what is no name; what
    ``take`` raises.
    """
    name = name_in_row(node_name)
    for what, now in (("journal", journal.epoch), ("market", engine.epoch)):
        if epoch <= now:
            raise ReignRefused(
                f"epoch {epoch} cannot begin: the {what} is in epoch {now}, and a reign needs a higher one; ask the "
                "arbiter for a new revision"
            )
    if epoch > EPOCH_MAX:
        raise ReignRefused(f"epoch {epoch} cannot begin: it is above 2^62, and no arbiter counts so far")
    take(np.frombuffer(bytearray(epoch_row(epoch, name)), COMMAND))
    return engine.seq
