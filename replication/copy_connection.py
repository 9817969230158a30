"""Connection of a copy, at the primary: its positions, and bytes to send to it. ``replication.primary`` decides."""

from typing import Final, Literal

from replication import link
from replication.comparison import Comparison
from replication.link import FrameReader, Kind, Position
from replication.standstill import Standstill

#: Event digests that wait at most for a frame of them.
DIGESTS_MAX: Final = 64


class Copy:
    """A connection of a copy, at the primary's end. ``state``: greeting, live or closed; ``why`` it was closed.

    ``directory``: id of its data directory.

    ``sent_seq``: last command put on the connection in a block. ``ahead_seq``: last one sent ahead of its block.
    ``received_seq``, ``journaled_seq``: what the copy has in memory and on its disk. ``unsent_bytes``: set by the
    shell, what the connection has not taken yet. ``slice_number``: newest slice that it has, or was told of.
    ``stalled``: sentence on its disk, if answers do not wait for it for that reason. ``has_greeted``: it has sent a
    HELLO. ``was_live``: it was welcome. ``is_refused``: this node has refused it.
    ``disk_still_ns``: time for which its disk has written nothing that was sent.
    """

    def __init__(self, nonce: bytes, epoch: int, now_ns: int) -> None:
        self.nonce = nonce
        self._epoch = epoch
        #: Nonce of the copy, from its HELLO.
        self.peer_nonce = b""
        self.reader = FrameReader()
        self.state: Literal["greeting", "live", "closed"] = "greeting"
        self.why = ""
        self.has_greeted = self.was_live = self.is_refused = False
        self.name = ""
        self.role: str = ""
        self.directory = b""
        #: This node as the arbiter's record names it.
        self.member = ""
        self.sent_seq = self.ahead_seq = self.received_seq = self.journaled_seq = 0
        self.slice_number = 0
        #: It takes rows ahead of their block; an earlier release ends a connection on which they come.
        self.takes_rows = False
        #: It knows the pieces of the ids in use; an earlier release ends a connection on which they come.
        self.gathers_ids = False
        self.heard_ns = now_ns
        self.beaten_ns = now_ns
        self.unsent_bytes = 0
        self.comparison = Comparison(0)
        self.caught_up = False
        self.disk = Standstill()
        self.disk_still_ns = 0
        self.stalled = ""
        self.synced: bool | None = None
        self.ready: Position | None = None
        #: Event digests that are to be sent.
        self.digests: list[Position] = []
        self._out: list[bytes] = []
        self._out_bytes = 0

    def put(self, *pieces: bytes) -> None:
        """Queue bytes for the connection."""
        self._out.extend(pieces)
        self._out_bytes += sum(map(len, pieces))

    @property
    def waiting_bytes(self) -> int:
        """Bytes that the connection has not taken."""
        return self._out_bytes + self.unsent_bytes

    def take_out(self) -> list[bytes]:
        """Bytes to send now, in order, all digests among them."""
        if self.digests and self.state == "live":
            self.put(link.encode(Kind.DIGESTS, self._epoch, link.pack_positions(self.digests)))
            self.digests = []
        return self.take_urgent()

    def take_urgent(self) -> list[bytes]:
        """Bytes to send now without the digests: nobody waits for those, so that one frame may have many."""
        if len(self.digests) >= DIGESTS_MAX:
            return self.take_out()
        out, self._out, self._out_bytes = self._out, [], 0
        return out
