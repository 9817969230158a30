"""Outcomes of a run as a copy after which the journal is put right and the node starts again."""

from replication.link import Position


class TailApart(Exception):
    """The journal has blocks after ``common`` that are not of the primary's history: set them aside, start again.

    ``common``: a common position, perhaps not the last one. ``address``: host and port of the primary's history; port
    0: it serves none.
    """

    def __init__(self, common: Position, address: tuple[str, int]) -> None:
        super().__init__(
            f"the journal has blocks that are not of the primary's history, after command {common.seq} or later"
        )
        self.common, self.address = common, address


class TooFarBehind(Exception):
    """The primary does not keep the next block at hand: fetch its history from ``address``, then start again.

    ``address``: host and port.
    """

    def __init__(self, address: tuple[str, int]) -> None:
        super().__init__("this journal ends too far behind the primary's; the blocks between are fetched")
        self.address = address
