"""Link of a primary to the standby whose memory answers wait for, as the compiled turn uses it.

The turn reads and writes the descriptor by itself (``sequencer.rows_ahead``): rows leave before their block is sealed,
and acknowledgements are seen before Python reads them. Between two calls of the turn Python goes on as if it had sent
and received all of it.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from node.pair.connections import FromCopy
from replication.copy_connection import Copy
from replication.link import Kind, head
from replication.primary import Primary
from replication.tenure import Tenure

if TYPE_CHECKING:
    from node.node import Node


class PairLine:
    """The link of one reign (``gateway.direct.StandbyLine``). ``connections``: those of the copies."""

    heads = head(Kind.ROWS, 0, 0)[:8], head(Kind.ACK, 0, 0)[:8]

    def __init__(
        self,
        node: "Node",
        primary: Primary,
        tenure: Tenure,
        connections: Mapping[Copy, FromCopy],
    ) -> None:
        self._node, self._primary, self._tenure = node, primary, tenure
        self._connections = connections
        self._copy: Copy | None = None
        #: The connection that the turn reads.
        self._reads: FromCopy | None = None

    def descriptor(self) -> int:
        """Descriptor of the link to the standby that follows; -1: none follows, or its link has ended."""
        copy = self._primary.ahead_copy() or self._copy
        connection = None if copy is None or copy.state != "live" else self._connections.get(copy)
        if connection is not self._reads:
            self.leave()
        if copy is None or connection is None or not connection.is_open:
            self.leave()
            return -1
        self._copy, self._reads = copy, connection
        return connection.lend()

    def lease_until_ns(self) -> int:
        """Time until which an acknowledgement alone decides on answers; 0: it does not now."""
        copy = self._primary.ahead_copy()
        if copy is None or copy is not self._copy or self._reads is None or self._tenure.why:
            return 0
        if self._node.market.pipeline.held_rows or not self._reads.is_idle:
            return 0
        return self._tenure.lease.ends_ns

    def epoch(self) -> int:
        """Epoch of the reign."""
        return self._primary.epoch

    def on_sent(self, last_seq: int, rest: bytes) -> None:
        """Note that rows up to ``last_seq`` were sent ahead of their block, but for ``rest`` of the last frame."""
        if self._copy is not None and self._reads is not None:
            self._primary.on_rows_sent(self._copy, last_seq)
            if rest:
                self._reads.write(rest)

    def on_received(self, told_seq: int, data: bytes, stopped: bool) -> None:
        """Take what came, now that the blocks are on their way. Clients were told of all up to ``told_seq``."""
        if told_seq:
            self._primary.on_told(told_seq)
        if self._reads is None:
            return
        if data:
            self._reads.data_received(data)
        if stopped:
            self.leave()

    def leave(self) -> None:
        """Let the event loop read the link again: it finds out what is wrong, if anything is."""
        reads, self._reads, self._copy = self._reads, None, None
        if reads is not None:
            reads.take_back()
