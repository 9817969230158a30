"""Outbound streams of native order entry: reports in packets of SoupBinTCP, as they go over the line."""

from gateway.native.streams import NativeStreams
from gateway.outbox import Outbox
from wire.soup import packet_bytes


class NativeOutbox(Outbox[NativeStreams]):
    """Users' streams of reports and their spools, as one projection."""

    name = "native streams"
    #: Rises with the layout of messages, and with the arrays of ``image``.
    version = 3
    folder = "native-streams"

    @staticmethod
    def message_bytes(data: bytes, at: int = 0, /) -> int:
        """Bytes of the packet at ``at`` in a stream; 0 where not all of it is there."""
        return packet_bytes(data, at)

    def _new_streams(self) -> NativeStreams:
        return NativeStreams(self._capacity, self._deliver, self._new_session, self._on_login_end)
