"""Outbound streams of OUCH: messages in packets of SoupBinTCP, as they go over the line."""

from collections.abc import Iterator
from typing import Final

from gateway.ouch.streams import OuchStreams
from gateway.outbox import Outbox
from gateway.streams import Segment
from wire.soup import packet_bytes, packets

#: Folder of the spools in a data directory.
FOLDER: Final = "streams"


class OuchOutbox(Outbox[OuchStreams]):
    """Users' streams in OUCH and their spools, as one projection."""

    name = "streams"
    #: Rises with TABLES_VERSION, and with the arrays of ``image`` and of ``Spool.image``.
    version = 3
    #: Of version 1 are images with CRC-32 as checksums of spools, and of digests; of 1 and 2, those
    #: without an entry delay.
    earlier_versions = (1, 2)
    folder = FOLDER

    @staticmethod
    def message_bytes(data: bytes, at: int = 0, /) -> int:
        """Bytes of the packet at ``at`` in a stream; 0 where not all of it is there."""
        return packet_bytes(data, at)

    def _new_streams(self) -> OuchStreams:
        return OuchStreams(self._capacity, self._deliver, self._new_session, self._on_login_end)


def payloads(segment: Segment) -> Iterator[bytes]:
    """The messages of a segment, without their packets."""
    return (payload for _, payload in packets(segment.data))
